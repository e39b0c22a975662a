"""Define the additive sums of one scene: what is measured, per group of pixels."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.constants import (
    LAND_COVER,
    LAND_COVER_NAMES,
    REGIONS,
    THICKNESS,
)

Floats = NDArray[np.float64]
Images = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the ledger: its type and what it holds."""

    type: str
    meaning: str


SUMS: Final[dict[str, Column]] = {
    "pixels": Column("int64", "Pixels of the row, at least 1."),
    "values": Column("int64", "Pixels × bands."),
    "absolute_error": Column("float64", "Σ |prediction − clear| over values, reflectance, ≥ 0."),
    "squared_error": Column("float64", "Σ (prediction − clear)² over values, reflectance², ≥ 0."),
    "angle_deg": Column(
        "float64", "Σ spectral angle to clear over pixels, degrees, 0 to 180 each."
    ),
    "angle_pixels": Column("int64", "Pixels whose angle is defined (both spectra non-zero)."),
    "ssim": Column("float64", "Σ band-mean SSIM map over pixels, −1 to 1 each."),
    "ssim_pixels": Column("int64", "Pixels at which the protocol defines SSIM."),
    "ndvi_error": Column(
        "float64", "Σ |NDVI of prediction − NDVI of clear| over pixels, 0 to 2 each."
    ),
    "ndvi_pixels": Column("int64", "Pixels where red + NIR > 0 in prediction and clear."),
    "out_of_range": Column("int64", "Values of the prediction below 0 or above 1; measured as is."),
    "worse_pixels": Column(
        "int64", "Pixels whose Σ |prediction − clear| over bands exceeds Σ |cloudy − clear|."
    ),
    "prediction_cloudy": Column(
        "float64", "Σ |prediction − cloudy| over values, reflectance, ≥ 0."
    ),
    "cloudy_clear": Column(
        "float64", "Σ |cloudy − clear| over values: absolute error of the input."
    ),
    "input_squared_error": Column("float64", "Σ (cloudy − clear)² over values, reflectance², ≥ 0."),
    "input_angle_deg": Column("float64", "Σ spectral angle of cloudy to clear, degrees."),
    "input_angle_pixels": Column("int64", "Pixels where the input's angle is defined."),
    "input_ssim": Column("float64", "Σ band-mean SSIM map of cloudy over the same ssim_pixels."),
}


FLOOR_SUMS: Final[dict[str, Column]] = {
    "self_angle_deg": Column(
        "float64",
        "Σ spectral angle of clear to itself, degrees, 0 to 90 each: 0 but under a floor.",
    ),
    "floored_pixels": Column(
        "int64", "Pixels whose squared norm in clear is under the protocol's floor."
    ),
}
"""Further columns, for the noise floor of SAM; missing in ledgers of earlier versions."""


def _band_columns(band: str) -> dict[str, Column]:
    """First and second moments of one band, of the prediction, the clear and the cloudy image."""
    images, pixels = ("prediction", "clear", "cloudy"), "over pixels of the band, reflectance"
    meanings = {
        **{f"{image}_sum_{band}": f"Σ {image} {pixels}." for image in images},
        **{f"{image}_square_{band}": f"Σ {image}² {pixels}², ≥ 0." for image in images},
        **{
            f"{image}_clear_product_{band}": f"Σ {image} × clear {pixels}²."
            for image in ("prediction", "cloudy")
        },
    }
    return {name: Column("float64", meaning) for name, meaning in meanings.items()}


_FURTHER_OF_ALL_BANDS: Final[dict[str, Column]] = {
    "gradient_error": Column(
        "float64",
        "Σ |∇prediction − ∇clear| over values, reflectance, ≥ 0: forward differences, |d/dx| + "
        "|d/dy|; pixels in the last row or column of the window have none.",
    ),
    "prediction_gradient": Column("float64", "Σ |∇prediction| over the same values."),
    "clear_gradient": Column("float64", "Σ |∇clear| over the same values."),
    "input_gradient_error": Column("float64", "Σ |∇cloudy − ∇clear| over the same values."),
    "cloudy_gradient": Column("float64", "Σ |∇cloudy| over the same values."),
    "input_ndvi_error": Column(
        "float64", "Σ |NDVI of cloudy − NDVI of clear| over pixels, 0 to 2 each."
    ),
    "input_ndvi_pixels": Column("int64", "Pixels where red + NIR > 0 in cloudy and clear."),
}


@lru_cache(maxsize=64)
def _further_sums(bands: tuple[str, ...]) -> dict[str, Column]:
    columns: dict[str, Column] = {}
    for band in bands:
        columns |= _band_columns(band)
    return columns | _FURTHER_OF_ALL_BANDS


def further_sums(bands: Sequence[str]) -> dict[str, Column]:
    """Columns of the further metrics: moments of each band, gradients, and the input's NDVI error.

    Ledgers of earlier versions have none of them, and then those metrics are not known.

    Args:
        bands: Names of the bands of the images, in their order.

    Returns:
        Shared: not to be changed.
    """
    return _further_sums(tuple(bands))


def ndvi_bands(bands: Sequence[str]) -> tuple[int, int] | None:
    """Positions of red and near-infrared among bands; None if one of them is not there."""
    known = {"red", "nir"} <= set(bands)
    return (bands.index("red"), bands.index("nir")) if known else None


def bands_of(columns: Collection[str]) -> tuple[str, ...]:
    """Names of the bands whose moments are among the columns of a ledger, in their order."""
    first = "prediction_sum_"
    return tuple(str(name).removeprefix(first) for name in columns if str(name).startswith(first))


_PREDICTION_ONLY: Final = ("out_of_range", "worse_pixels", "prediction_cloudy")
"""Columns that are measured of the prediction alone."""


INPUT_COLUMN: Final = {
    "absolute_error": "cloudy_clear",
    "squared_error": "input_squared_error",
    "angle_deg": "input_angle_deg",
    "angle_pixels": "input_angle_pixels",
    "ssim": "input_ssim",
    "ndvi_error": "input_ndvi_error",
    "ndvi_pixels": "input_ndvi_pixels",
    "gradient_error": "input_gradient_error",
    "prediction_gradient": "cloudy_gradient",
    **dict.fromkeys(_PREDICTION_ONLY, "not measured"),
}
"""Column of the prediction to the column that holds the same of the cloudy input, but for moments
of bands; see :func:`input_column`. The name ``not measured`` is in no ledger, so a metric of such a
column has no score for the input."""


def input_column(name: str) -> str:
    """Column that holds of the cloudy input what a column holds of the prediction.

    Columns that are the same for both, such as ``values``, stay.

    Example:
        >>> input_column("squared_error"), input_column("prediction_sum_red")
        ('input_squared_error', 'cloudy_sum_red')
    """
    for moment in ("sum", "square", "clear_product"):
        if name.startswith(f"prediction_{moment}_"):
            return f"cloudy_{name.removeprefix('prediction_')}"
    return INPUT_COLUMN.get(name, name)


SEGMENTED_IMAGES: Final = ("prediction", "cloudy")
"""Images whose segmentation is compared with that of the clear image."""


SEGMENTER_WIDTH: Final = len(SEGMENTED_IMAGES) * len(LAND_COVER) ** 2
"""Columns of one segmenter."""


PLAIN_GROUPS: Final = len(LAND_COVER_NAMES) * len(REGIONS)
"""Groups of pixels of one thickness: group = class index × 3 + region index."""


GROUPS: Final = PLAIN_GROUPS * len(THICKNESS)
"""Rows that a scene can have in one protocol; :data:`PLAIN_GROUPS` × thickness index is added."""


def segmenter_columns(segmenter: str) -> dict[str, Column]:
    """Columns that one segmenter adds: pixels by its classes of the clear and the segmented image.

    Their sums over the first class are the pixels per predicted class; those over the second, the
    pixels per class of the clear image.

    Args:
        segmenter: Its key in the provenance's ``segmenters``.

    Returns:
        ``segmenter_<segmenter>_<image>_<class in the clear image>_<class in this image>`` for each
        image of :data:`SEGMENTED_IMAGES`, in the order of an array (image, clear class, class).
    """
    return {
        f"segmenter_{segmenter}_{image}_{before}_{after}": Column(
            "int64",
            f"Pixels that segmenter {segmenter} classifies as {before} in the clear image and as "
            f"{after} in the {image}.",
        )
        for image, before, after in product(SEGMENTED_IMAGES, LAND_COVER, LAND_COVER)
    }


@dataclass(frozen=True, slots=True)
class SceneSums:
    """What measuring one scene yields.

    Attributes:
        identity: Values of the identity columns from ``scene`` to ``prediction_sha256``.
        sums: Protocol to sums, shape (:data:`GROUPS`, len(:data:`SUMS`)).
        segmented: Protocol to pixels, shape (:data:`GROUPS`, segmenters × :data:`SEGMENTER_WIDTH`).
        floor: Protocol to sums, shape (:data:`GROUPS`, len(:data:`FLOOR_SUMS`)); empty if the noise
            floor of SAM was not measured.
        further: Protocol to sums, shape (:data:`GROUPS`, len(:func:`further_sums`)); empty if they
            were not measured.
        bands: Names of the bands of the images.
    """

    identity: Mapping[str, object]
    sums: Mapping[str, NDArray[np.float64]]
    segmented: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    floor: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    further: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    bands: tuple[str, ...] = field(kw_only=True)
