"""Small tables of scores per cloud-cover bin, for figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from planetcr_bench.constants import COVER_BINS
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.results.aggregate import INPUT

SCENES = (612, 431, 388, 297, 174)


OFFICIAL, FULL = PROTOCOLS["official"], PROTOCOLS["full"]


def make_row(name: str, *, worse: float = 1.0, scenes: Sequence[int] = SCENES) -> pd.DataFrame:
    """Scores that fall with cloud cover, nan in bins without scenes, as cover_scores gives them."""
    cover = np.arange(5.0)
    row = pd.DataFrame(
        {
            "row": name,
            "kind": "input" if name == INPUT else "measured",
            "cover_bin": COVER_BINS,
            "mae": worse * (0.021 + 0.002 * cover),
            "psnr": 34.0 - 6 * worse - cover,
            "sam_deg": worse * (2.6 + 0.3 * cover),
            "ssim": 0.99 - 0.05 * worse - 0.02 * cover,
            "pixels": 25_600 * np.array(scenes),
            "scenes": scenes,
            "aois": [-(-count // 16) for count in scenes],
        }
    )
    row.loc[row["scenes"] == 0, ["mae", "psnr", "sam_deg", "ssim"]] = np.nan
    return row


def make_table(*rows: pd.DataFrame) -> pd.DataFrame:
    return pd.concat(rows, ignore_index=True)
