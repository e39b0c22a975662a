"""Ledgers of datasets that are not Planet-CR, measured from made images."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest

from ledgers import make_ledger, make_segmenter_counts
from planetcr_bench.constants import UNKNOWN
from planetcr_bench.data.scene import cover_of
from planetcr_bench.evaluation.loading import ScenePixels, plain_groups
from planetcr_bench.evaluation.runner import measure_scene
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.results.imagery import Imagery
from planetcr_bench.results.ledger import Ledger, ledger_table

SENTINEL = ("coastal", "blue", "green", "red", "rededge1", "rededge2", "rededge3", "nir",
            "nir_narrow", "water_vapour", "cirrus", "swir1", "swir2")  # fmt: skip


@dataclass(frozen=True)
class Dataset:
    """What a dataset has.

    Attributes:
        imagery: Bands, clusters, resolution and size.
        masks: Whether it has cloud masks.
        land_cover: Whether it has land cover.
    """

    imagery: Imagery
    masks: bool
    land_cover: bool


DATASETS = {
    "13 bands": Dataset(Imagery(SENTINEL, "ROI", 10.0, (32, 32)), masks=True, land_cover=True),
    "3 bands alone": Dataset(
        Imagery(("red", "green", "blue"), "scene", None, None), masks=False, land_cover=False
    ),
    "without masks": Dataset(
        Imagery(("blue", "green", "red", "nir"), "tile", 4.0, (24, 40)),
        masks=False,
        land_cover=True,
    ),
    "without land cover": Dataset(
        Imagery(("nir", "b-1", "red"), "tile", 30.0, None), masks=True, land_cover=False
    ),
}

each_dataset = pytest.mark.parametrize("dataset", DATASETS)


def made_scene(dataset: str, index: int, seed: int = 0) -> ScenePixels:
    """Images of a scene; the noise of the prediction depends on the seed, the others do not."""
    kind, rng = DATASETS[dataset], np.random.default_rng([index, 7])
    bands, size = kind.imagery.bands, kind.imagery.size or (20 + index % 3, 25 + index % 4)
    clear = rng.uniform(0.05, 0.8, (len(bands), *size)).astype(np.float32)
    cloudy = clear + rng.uniform(0.1, 0.4, size).astype(np.float32)
    noise = np.random.default_rng([index, seed]).normal(0, 0.02 + 0.02 * seed, clear.shape)
    prediction = clear + noise.astype(np.float32)
    mask = rng.random(size) < index % 5 / 5 + 0.1 if kind.masks else None
    classes = rng.integers(0, UNKNOWN + 1, size, np.uint8) if kind.land_cover else None
    alone = kind.imagery.cluster == "scene"
    identity = {
        "scene": f"scene {index}",
        "split": "test",
        "season": "",
        "aoi": f"scene {index}" if alone else f"place {index // 3}",
        "patch": 0,
        "cloud_cover": cover_of(mask),
        "longitude": math.nan,
        "latitude": math.nan,
        "prediction_sha256": f"{seed:032x}{index:032x}",
    }
    group = plain_groups(size, classes, mask, kind.imagery.resolution_m)
    return ScenePixels(identity, np.stack([prediction, cloudy]), clear, group, bands)


@cache
def made_run(
    dataset: str,
    name: str = "method",
    seed: int = 0,
    scenes: int = 12,
    segmenters: tuple[str, ...] = (),
) -> Ledger:
    """A complete run in protocol full; segmenters are one or none."""
    full, rng = [PROTOCOLS["full"]], np.random.default_rng(seed)
    measured = []
    for index in range(scenes):
        sums = measure_scene(made_scene(dataset, index, seed), full)
        counts = make_segmenter_counts(sums.sums["full"][:, 0].astype(int), rng)
        measured.append(replace(sums, segmented={"full": counts} if segmenters else {}))
    table = ledger_table(measured, segmenters)
    facts = {
        **make_ledger(name, scenes=1, protocols=("full",), segmenters=segmenters).provenance,
        "scenes": scenes,
        "expected_scenes": scenes,
        "track": dataset.replace(" ", "-"),
        **DATASETS[dataset].imagery.facts(),
    }
    return Ledger(table.to_pandas(ignore_metadata=True), facts)
