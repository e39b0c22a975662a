"""Statistics of datasets that were never measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from planetcr_bench.data.descriptions import load_description
from planetcr_bench.overview.statistics import Statistics


def made_statistics(scenes: pd.DataFrame) -> Statistics:
    """Scenes of Planet-CR with these columns; the others have plain values."""
    described = load_description("planet-cr")
    plain = {"split": "test", "season": "summer", "cloud_cover": np.nan, "days": np.nan}
    plain |= {f"clear_{band}": 0.1 for band in described.bands}
    rows = scenes.assign(**{name: plain[name] for name in plain if name not in scenes})
    splits = list(dict.fromkeys(rows["split"]))
    return Statistics(
        data=Path("made"),
        description=described,
        name="made",
        simulated=False,
        files={split: [] for split in splits},
        scenes=rows,
        counts={},
        fingerprints=dict.fromkeys(splits, "0" * 64),
    )
