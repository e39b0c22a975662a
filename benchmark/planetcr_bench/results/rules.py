"""List the rules for the rows of a ledger, and refuse a ledger that breaks one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from planetcr_bench.constants import LAND_COVER_NAMES, OPTICAL_BANDS, REGION_NAMES, THICKNESS
from planetcr_bench.errors import LedgerError
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.metrics.sums import FLOOR_SUMS, SEGMENTED_IMAGES, SUMS, further_sums
from planetcr_bench.results.schema import segmenter_counts, sums_in

DISTANCE_ROUNDING: Final = 1e-9
"""Tolerance of the triangle inequality between the sums of a row, relative to their total: more
than adding the values of a patch in float64 can lose."""


def check_rows(
    frame: pd.DataFrame,
    where: str,
    segmenters: Sequence[str] = (),
    bands: Sequence[str] = OPTICAL_BANDS,
) -> None:
    """Refuse rows that scoring cannot have written.

    Raises:
        LedgerError: Names the ledger and the first broken rule.
    """
    for rule in broken_rules(frame, segmenters, bands):
        raise LedgerError(f"{where}: expected {rule}, found otherwise")


def broken_rules(
    frame: pd.DataFrame, segmenters: Sequence[str] = (), bands: Sequence[str] = OPTICAL_BANDS
) -> list[str]:
    """Describe the rules for single rows that a ledger breaks."""
    unmasked = frame["cloud_cover"].isna()
    rules = {
        "at least one row": len(frame) > 0,
        "known protocols, classes, regions and thickness": bool(
            frame["protocol"].isin(list(PROTOCOLS)).all()
            and frame["land_cover"].isin(LAND_COVER_NAMES).all()
            and frame["region"].isin(REGION_NAMES).all()
            and frame["thickness"].isin(THICKNESS).all()
        ),
        "each scene × protocol × class × region × thickness once": not bool(
            frame[["split", "scene", "protocol", "land_cover", "region", "thickness"]]
            .duplicated()  # which looks at every column of a frame, many of segmenters
            .any()
        ),
        "a cloud cover between 0 and 1": bool(
            (frame["cloud_cover"].between(0, 1) | unmasked).all()
        ),
        "a region unknown where the cloud cover is, and only there": bool(
            ((frame["region"] == REGION_NAMES[-1]) == unmasked).all()
        ),
        "longitude and latitude in degrees, both or none": bool(
            (
                (frame["longitude"].between(-180, 180) & frame["latitude"].between(-90, 90))
                | (frame["longitude"].isna() & frame["latitude"].isna())
            ).all()
        ),
        **sum_rules(frame, segmenters, bands),
    }
    return [rule for rule, holds in rules.items() if not holds]


def sum_rules(
    frame: pd.DataFrame, segmenters: Sequence[str] = (), bands: Sequence[str] = OPTICAL_BANDS
) -> dict[str, bool]:
    """Rules for the sums of groups of pixels, however large, and whether they hold."""
    numbers = frame[list(SUMS)].to_numpy(np.float64)
    distances = frame[["absolute_error", "prediction_cloudy", "cloudy_clear"]]
    return {
        "finite sums": bool(np.isfinite(numbers).all()),
        "sums of at least zero, save ssim": bool(
            (frame[[name for name in SUMS if "ssim" not in name]] >= 0).all(axis=None)
        ),
        f"pixels in every row, and {len(bands)} values for each": bool(
            (frame["pixels"] > 0).all() and (frame["values"] == len(bands) * frame["pixels"]).all()
        ),
        "distances between prediction, cloudy and clear that satisfy the triangle inequality": bool(
            (2 * distances.max(axis=1) <= (1 + DISTANCE_ROUNDING) * distances.sum(axis=1)).all()
        ),
        "no more worse pixels than pixels": bool((frame["worse_pixels"] <= frame["pixels"]).all()),
        "a noise floor of 0 to 90° at the pixels under it, and only there": _is_floor(frame),
        **_further_rules(frame, bands),
        "one predicted class for every pixel by each segmenter": all(
            _is_classified_once(frame, segmenter) for segmenter in segmenters
        ),
    }


def _is_floor(frame: pd.DataFrame) -> bool:
    """Whether the angles of the clear image to itself are possible; true if not measured."""
    if not FLOOR_SUMS.keys() <= set(frame.columns):
        return True
    angle, floored = frame["self_angle_deg"], frame["floored_pixels"]
    exact = [name for name, protocol in PROTOCOLS.items() if not protocol.sam_norm_floor]
    return bool(
        np.isfinite(angle.to_numpy(np.float64)).all()
        and ((angle > 0) == (floored > 0)).all()
        and (angle >= 0).all()
        and (angle <= (90 + 1e-9) * floored).all()
        and (floored <= frame["pixels"]).all()
        and not floored[frame["protocol"].isin(exact)].any()
    )


MOMENT_ROUNDING: Final = 1e-9
"""Relative difference of two ways to add up the moments of a patch's values in float64."""


def _further_rules(frame: pd.DataFrame, bands: Sequence[str]) -> dict[str, bool]:
    """Rules of ``further_sums``; none where they were not measured."""
    if not further_sums(bands).keys() <= set(frame.columns):
        return {}
    sums = {name: frame[name].to_numpy(np.float64) for name in sums_in(frame)}
    pixels, more = sums["pixels"], 1 + MOMENT_ROUNDING
    gradients = [
        (sums["gradient_error"], sums["prediction_gradient"], sums["clear_gradient"]),
        (sums["input_gradient_error"], sums["cloudy_gradient"], sums["clear_gradient"]),
    ]
    return {
        "finite sums of the further metrics": all(
            bool(np.isfinite(sums[name]).all()) for name in further_sums(bands)
        ),
        "(Σi)² ≤ n·Σi² of each image in each band": all(
            _at_most(sums[f"{image}_sum_{band}"] ** 2, pixels * sums[f"{image}_square_{band}"])
            for image, band in product(("prediction", "clear", "cloudy"), bands)
        ),
        "(Σit)² ≤ Σi²·Σt² of prediction and cloudy in each band": all(
            _at_most(
                sums[f"{image}_clear_product_{band}"] ** 2,
                sums[f"{image}_square_{band}"] * sums[f"clear_square_{band}"],
            )
            for image, band in product(("prediction", "cloudy"), bands)
        ),
        "squared errors that follow from the moments of the bands": all(
            _are_squared_errors(sums, image, error, bands)
            for image, error in (
                ("prediction", "squared_error"),
                ("cloudy", "input_squared_error"),
            )
        ),
        "gradients of at least zero, none above the sum of the other two": all(
            bool((np.min(three, axis=0) >= 0).all())
            and _at_most(2 * np.max(three, axis=0), np.sum(three, axis=0))
            for three in gradients
        ),
        "NDVI errors of the input of 0 to 2 at no more than all pixels": bool(
            (sums["input_ndvi_pixels"] <= pixels).all()
            and (sums["input_ndvi_error"] >= 0).all()
            and (sums["input_ndvi_error"] <= 2 * more * sums["input_ndvi_pixels"]).all()
        ),
    }


def _at_most(values: NDArray[np.float64], limits: NDArray[np.float64]) -> bool:
    return bool((values <= (1 + MOMENT_ROUNDING) * limits).all())


def _are_squared_errors(
    sums: Mapping[str, NDArray[np.float64]], image: str, error: str, bands: Sequence[str]
) -> bool:
    """Whether Σ(i² − 2it + t²) over bands is a sum of squared errors, within rounding."""
    columns = [f"{each}_square_{band}" for each in (image, "clear") for band in bands]
    squares = np.sum([sums[name] for name in columns], axis=0)
    products = np.sum([sums[f"{image}_clear_product_{band}"] for band in bands], axis=0)
    return _at_most(np.abs(squares - 2 * products - sums[error]), MOMENT_ROUNDING * squares)


def _is_classified_once(frame: pd.DataFrame, segmenter: str) -> bool:
    """Whether a segmenter's counts agree with the pixels of the rows and with each other."""
    prediction, cloudy = (segmenter_counts(frame, segmenter, image) for image in SEGMENTED_IMAGES)
    return bool(
        (prediction >= 0).all()
        and (cloudy >= 0).all()
        and (prediction.sum((1, 2)) == frame["pixels"].to_numpy()).all()
        and (prediction.sum(2) == cloudy.sum(2)).all()
    )
