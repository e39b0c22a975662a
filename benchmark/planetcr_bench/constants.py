"""Define the benchmark's names and their order: products, bands, classes, bins, units.

Everything that prints a table or names a column takes its names from here.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Final

PRODUCTS: Final = ("clear", "cloudy", "sar", "land_cover", "cloud_mask")
"""What a scene may have, in the order of the authors' CSV lists and of a scene's digest."""

SPLIT_NAME: Final = r"[a-z0-9][a-z0-9_-]{0,30}"
"""Valid names of splits; scores of any other than ``test`` have a track of their own."""

TRACK_NAME: Final = r"[a-z0-9][a-z0-9.-]{0,47}"
"""Valid names of tracks, before that of a split."""

SPLITS: Final = ("train", "val", "test")
SEASONS: Final = ("spring", "summer", "fall", "winter")

OPTICAL_BANDS: Final = ("blue", "green", "red", "nir")
"""Planet-CR's, which a ledger has unless it says others, in the order of the files.

The paper writes "Blue, Red, Green"; the samples' spectra say otherwise.
"""

LONGEST_SOURCE: Final = 200
"""Characters that say what made cloud masks."""

BAND_NAME: Final = r"[A-Za-z][A-Za-z0-9_.-]{0,30}"
"""Valid names of bands. NDVI needs bands called ``red`` and ``nir``; others are free."""

CLUSTER_NAME: Final = r"[A-Za-z][A-Za-z ]{0,19}"
"""Valid words for what groups scenes that are not independent, such as ``AOI``."""

SAR_BANDS: Final = ("vv", "vh")

OPTICAL_SIZE: Final = 300
"""Pixels along one side of an optical patch of Planet-CR (paper, Sec. 3.1); likewise of a ledger
that says nothing else."""

OPTICAL_RESOLUTION_M: Final = 3.0
"""Of these pixels."""

DN_PER_REFLECTANCE: Final = 10_000
"""Digital numbers per unit of reflectance, of predictions of any dataset (paper, Sec. 5.1)."""

SAR_RANGE_DB: Final = ((-25.0, 0.0), (-32.5, 0.0))
"""Clip range of VV and of VH before rescaling to [0, 1] (paper, Sec. 5.1)."""

LAND_COVER: Final = ("forest", "rangeland", "agriculture", "urban", "barren", "water")
"""The six classes, in the order of Tab. 2; their position is their index in a land-cover map."""

UNKNOWN: Final = len(LAND_COVER)
"""Index of pixels of none of the six classes; they count in overall figures only."""

LAND_COVER_NAMES: Final = (*LAND_COVER, "unknown")

INPUT_WINDOWS: Final = {"official": "160", "whole": "whole"}
"""Values of ``window`` in a prediction card, what the network saw, and the tags of their figures:
the centre 160 × 160 alone, as in the authors' testers, or whole patches."""

UNKNOWN_INPUT: Final = "unknown"
"""Tag of figures of predictions whose card does not state the input window."""

REGIONS: Final = ("cloud", "edge", "clear")
"""A pixel is under the cloud mask, within :data:`EDGE_M` of it, or farther away."""

REGION_NAMES: Final = (*REGIONS, "unknown")
"""Regions, and that of the pixels of scenes without a cloud mask."""

EDGE_M: Final = 30.0

EDGE_PX: Final = 10.0
"""Width of the edge where the resolution is not known."""

PLANET_CR: Final = "planet-cr"
"""Track of the real release, and of a copy that names itself so in ``dataset.toml``."""

UNNAMED: Final = "unnamed"
"""Track of any other dataset that does not name itself."""

PLANET_CR_TEST_SCENES: Final = 3_000
"""Of the test split of Planet-CR (paper, Sec. 3)."""

RUN_NAME: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_.+ -]{0,78}[A-Za-z0-9_+-])?"
"""Valid names of runs: folder names on any disk that cannot be confused."""

THICKNESS_EDGES: Final = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Optical thickness of cloud between the bins of :data:`THICKNESS`."""

THICKNESS: Final = (
    "unknown",
    "0-0.25",
    *(f"{low:g}-{high:g}" for low, high in pairwise(THICKNESS_EDGES)),
    "16-",
)
"""Bins of the optical thickness over a pixel, [0, 0.25), …; known of simulated scenes only."""

COVER_BINS: Final = ("0-20", "20-40", "40-60", "60-80", "80-100")
"""Cloud-cover bins of Fig. 5 in percent of the whole patch: [0, 20), … [80, 100]."""

COVER_BIN_NAMES: Final = (*COVER_BINS, "unknown")
"""Bins, and that of scenes without a cloud mask."""


def cover_bin(cloud_cover: float) -> str:
    """Name the Fig. 5 bin of a cloud cover.

    Args:
        cloud_cover: Share of cloudy pixels of the whole patch, in [0, 1]; nan without a mask.

    Returns:
        One of :data:`COVER_BIN_NAMES`; a cover on a bin edge belongs to the bin above, 1.0 to the
        last.

    Example:
        >>> cover_bin(0.2), cover_bin(1.0), cover_bin(float("nan"))
        ('20-40', '80-100', 'unknown')
    """
    if math.isnan(cloud_cover):
        return COVER_BIN_NAMES[-1]
    return COVER_BINS[min(int(cloud_cover * 5), 4)]


PAPER_METHODS: Final = {
    "mcgan": "McGAN",
    "spa_gan": "SpA GAN",
    "sar_opt_cgan": "SAR-Opt-cGAN",
    "dsen2_cr": "DSen2-CR",
    "glf_cr": "GLF-CR",
    "align_cr_no_sar": "Align-CR w/o SAR",
    "align_cr_no_align": "Align-CR w/o Align",
    "align_cr": "Align-CR",
}
"""Name of a run to the paper's name of the method, in the order of its tables."""
