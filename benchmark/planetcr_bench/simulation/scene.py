"""Render the five products of a patch, and its hidden truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.simulation.land_cover import fine_codes, worldcover
from planetcr_bench.simulation.noise import Field
from planetcr_bench.simulation.optical import (
    changed_surface,
    clear_image,
    clouds_over,
    cloudy_image,
)
from planetcr_bench.simulation.place import Place
from planetcr_bench.simulation.radar import displacement_m, sar_image
from planetcr_bench.simulation.sky import mask_on
from planetcr_bench.simulation.surface import surface_of
from planetcr_bench.simulation.survey import Survey, survey_of, window_of


@dataclass(frozen=True, slots=True)
class Quartet:
    """The products of one scene, as in the official files.

    Attributes:
        clear: Cloud-free image, digital numbers, uint16, shape (4, 300, 300).
        cloudy: Cloudy image, likewise.
        sar: VV and VH, dB, float64, shape (2, 90, 90).
        land_cover: WorldCover codes, uint8, shape (90, 90).
        cloud_mask: True where cloudy, bool, shape (300, 300).
    """

    clear: NDArray[np.uint16]
    cloudy: NDArray[np.uint16]
    sar: NDArray[np.float64]
    land_cover: NDArray[np.uint8]
    cloud_mask: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Truth:
    """Hidden truth of a scene; for tests and diagnostics, never for a method.

    Attributes:
        cloud_thickness: Optical thickness of the clouds, shape (300, 300).
        haze_thickness: Optical thickness of the haze in blue, shape (300, 300).
        sunlight: Share of the direct sunlight that reaches the ground, 1 outside shadows.
        displacement_m: Displacement of SAR, in metres down and right of each optical pixel, shape
            (2, 300, 300).
        codes: True WorldCover code of each 3 m pixel, shape (300, 300).
        change: Reflectance of the ground on the cloudy date minus that on the clear date, without
            cloud, haze and noise, shape (4, 300, 300).
    """

    cloud_thickness: Field
    haze_thickness: Field
    sunlight: Field
    displacement_m: Field
    codes: NDArray[np.uint8]
    change: Field


def quartet_of(survey: Survey, patch: int) -> Quartet:
    """Render the products of one patch.

    Args:
        survey: Of the patch's AOI.
        patch: Number of the patch, 1 … 144.
    """
    surface = surface_of(survey, patch)
    window = window_of(patch)
    clouds = clouds_over(survey.place, window)
    return Quartet(
        clear=clear_image(surface),
        cloudy=cloudy_image(surface, changed_surface(surface), clouds),
        sar=sar_image(surface),
        land_cover=worldcover(surface),
        cloud_mask=mask_on(survey.mask, window),
    )


def truth_of(place: Place, patch: int) -> Truth:
    """Compute the hidden truth of one patch from its seed.

    Args:
        place: AOI of the patch.
        patch: Number of the patch, 1 … 144.
    """
    surface = surface_of(survey_of(place), patch)
    clouds = clouds_over(place, window_of(patch))
    inner = surface.inner
    change = changed_surface(surface) - surface.reflectance
    return Truth(
        cloud_thickness=clouds.thickness,
        haze_thickness=clouds.haze,
        sunlight=clouds.sunlight,
        displacement_m=displacement_m(surface),
        codes=fine_codes(surface)[inner],
        change=change[:, *inner],
    )
