"""Score a restored scene against a clear image of the same place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion

from planetcr_bench.constants import REGIONS
from planetcr_bench.data.scene import Image
from planetcr_bench.metrics.kernels import measure, region_of
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.metrics.scores import decibels, ratio
from planetcr_bench.metrics.ssim_map import TAPS
from planetcr_bench.metrics.sums import GROUPS, SUMS, Floats

_OUTSIDE: Final = GROUPS - 1
"""Group of pixels that one of the images lacks; not counted."""

FULL: Final = PROTOCOLS["full"]

BORDER: Final = TAPS // 2
"""Pixels at the border of a window that have no SSIM: windows overlap by them."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores under protocol ``full``, of the prediction and of the input.

    Attributes:
        pixels: That count.
        mae: Reflectance; of the prediction, then of the input, like the others.
        psnr: Decibels.
        sam_deg: Degrees.
        ssim: In [-1, 1].
    """

    pixels: int
    mae: tuple[float, float]
    psnr: tuple[float, float]
    sam_deg: tuple[float, float]
    ssim: tuple[float, float]


def measure_window(
    images: Image,
    clear: Image,
    common: NDArray[np.bool_],
    cloud: NDArray[np.bool_] | None,
    pixel_m: float,
    bands: tuple[str, ...],
    inner: tuple[slice, slice],
) -> Floats:
    """Sums of one window of a scene, as :func:`scores_of` takes them.

    Args:
        images: Prediction and input, shape (2, bands, H, W).
        clear: Shape (bands, H, W).
        common: Pixels that all of them have, shape (H, W).
        cloud: Pixels under cloud; None where that is not known.
        pixel_m: Size of a pixel in metres.
        bands: Their names.
        inner: Rows and columns that count; those around them are context of SSIM and of regions.

    Returns:
        Shape (groups, sums).
    """
    region = (
        np.zeros(common.shape, np.uint8) if cloud is None else region_of(cloud, pixel_m)
    ).astype(np.uint8)
    counted = np.zeros(common.shape, bool)
    counted[inner] = common[inner]
    images, clear = np.where(common, images, 0), np.where(common, clear, 0)
    images, clear = images.astype(np.float32), clear.astype(np.float32)
    sums = measure(images, clear, np.where(counted, region, _OUTSIDE).astype(np.uint8), FULL, bands)
    near = binary_erosion(common, np.ones((TAPS, TAPS), bool), border_value=0) & counted
    similar = measure(images, clear, np.where(near, region, _OUTSIDE).astype(np.uint8), FULL, bands)
    for name in ("ssim", "ssim_pixels", "input_ssim"):
        at = list(SUMS).index(name)
        sums[:, at] = similar[:, at]
    sums[_OUTSIDE] = 0
    return sums


def scores_of(sums: Floats, *, regions: bool) -> dict[str, Scores]:
    """Scores overall and, where a mask is known, under cloud, near it and away from it.

    Args:
        sums: Of all windows.
        regions: Whether there was a mask.
    """
    parts = {"overall": sums.sum(0)}
    if regions:
        parts |= {name: sums[at] for at, name in enumerate(REGIONS)}
    return {name: _score(dict(zip(SUMS, part, strict=True))) for name, part in parts.items()}


def _score(sums: dict[str, float]) -> Scores:
    values, angles = sums["values"], (sums["angle_pixels"], sums["input_angle_pixels"])
    first, second = _pair(sums["squared_error"], sums["input_squared_error"], values, values)
    return Scores(
        pixels=int(sums["pixels"]),
        mae=_pair(sums["absolute_error"], sums["cloudy_clear"], values, values),
        psnr=(float(decibels(first)), float(decibels(second))),
        sam_deg=_pair(sums["angle_deg"], sums["input_angle_deg"], *angles),
        ssim=_pair(sums["ssim"], sums["input_ssim"], *[sums["ssim_pixels"]] * 2),
    )


def _pair(first: float, second: float, count: float, count2: float) -> tuple[float, float]:
    return float(ratio(first, count)), float(ratio(second, count2))
