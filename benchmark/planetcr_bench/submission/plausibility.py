"""Find sums in a ledger that no measurement can have given.

Every rule follows by arithmetic from what the columns are; none guesses what is likely.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

import numpy as np
import pandas as pd

from planetcr_bench.constants import THICKNESS
from planetcr_bench.leaderboard.entries import broken_ledger_rules
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.metrics.sums import SUMS, ndvi_bands, segmenter_columns
from planetcr_bench.results.ledger import Ledger
from planetcr_bench.results.rules import broken_rules

ROUNDING: Final = 1e-6
"""Relative error of a sum that adding up cannot exceed."""

SSIM_ROUNDING: Final = 1e-3
"""By which a value of the SSIM map may leave [−1, 1]: variances are differences of float32."""

SCENE: Final = r"[a-z]{1,20}_[0-9]{1,6}_p_[0-9]{1,6}"
"""Name of a scene, <season>_<aoi>_p_<patch>."""

CELL: Final = ("scene", "land_cover", "region")
Flags: TypeAlias = "dict[str, pd.Series[bool]]"
"""Rule to the rows that break it."""

MOST_PIXELS: Final = 10**9
"""Of a scene, where scenes have no common size."""

_PARTS: Final = [
    "pixels", "absolute_error", "squared_error", "ndvi_error", "ndvi_pixels", "out_of_range",
    "worse_pixels", "prediction_cloudy", "cloudy_clear", "input_squared_error",
]  # fmt: skip
"""Columns that grow with every pixel and mean the same in both protocols."""


def ledger_errors(ledger: Ledger) -> list[str]:
    """Everything in a ledger's rows that no measurement can have given, one line each.

    Args:
        ledger: With known columns and a record without errors.
    """
    frame = ledger.frame
    if broken := broken_rules(frame, ledger.segmenters, ledger.bands):
        return [f"expected {rule}" for rule in broken]  # the rules below take those for granted
    errors = [f"expected {rule}" for rule in broken_ledger_rules(ledger)]
    for rules in _RULES:
        for rule, rows in rules(ledger).items():
            if rows.any():
                first = frame.loc[rows].iloc[0]
                cell = f"{first['protocol']}, {first['land_cover']}, {first['region']}"
                where = f"{int(rows.sum())} rows, first {first['scene']} ({cell})"
                errors.append(f"expected {rule}; broken in {where}")
    return errors


def _count_rules(ledger: Ledger) -> Flags:
    """Counts of pixels are bounded by each other."""
    frame = ledger.frame
    segmented = [name for segmenter in ledger.segmenters for name in segmenter_columns(segmenter)]
    official = frame["protocol"] == "official"  # its norms have a floor
    angles = frame[["angle_pixels", "input_angle_pixels"]]
    size = ledger.imagery.size
    most = MOST_PIXELS if size is None else size[0] * size[1]
    return {
        # so large that their sums would wrap around
        "no count above a patch's pixels": (frame[["pixels", *segmented]] > most).any(axis=1),
        "an angle of every pixel in protocol official": official
        & angles.ne(frame["pixels"], axis=0).any(axis=1),
        "no more values out of range than values": frame["out_of_range"] > frame["values"],
    }


def _error_rules(ledger: Ledger) -> Flags:
    """Sums of errors, angles and SSIM are bounded by the number of their pixels and each other."""
    sums = ledger.frame[list(SUMS)].astype(float)
    error, given, worse = sums["absolute_error"], sums["cloudy_clear"], sums["worse_pixels"]
    more, pixels, ssim_pixels = 1 + ROUNDING, sums["pixels"], sums["ssim_pixels"]
    ssim = sums[["ssim", "input_ssim"]].abs().max(axis=1)
    rules = {
        "an error above the input's only with worse pixels": (worse == 0) & (error > given * more),
        "an error below the input's only with better pixels": (worse == pixels)
        & (error * more < given),
        "SSIM of −1 to 1 at no more than all pixels": (ssim_pixels > pixels)
        | (ssim > (1 + SSIM_ROUNDING) * ssim_pixels),
        "NDVI errors of 0 to 2 at no more than all pixels": (sums["ndvi_pixels"] > pixels)
        | (sums["ndvi_error"] > 2 * sums["ndvi_pixels"] * more),
        "an NDVI of red and near-infrared alone": (sums["ndvi_pixels"] > 0)
        & (ndvi_bands(ledger.bands) is None),
    }
    for image, absolute, prefix in (
        ("prediction", error, ""),
        ("input", given, "input_"),
    ):
        square, angles = sums[f"{prefix}squared_error"], sums[f"{prefix}angle_pixels"]
        rules |= {
            f"Σe² of the {image} from (Σ|e|)² / n to (Σ|e|)²": (
                absolute**2 > sums["values"] * square * more
            )
            | (square > absolute**2 * more),
            f"angles of the {image} of 0 to 180° at no more than all pixels": (angles > pixels)
            | (sums[f"{prefix}angle_deg"] > 180 * angles * more),
        }
    return rules


def _equality_rules(ledger: Ledger) -> Flags:
    """Images that are the same have the same errors."""
    frame = ledger.frame
    equal = [
        ("prediction_cloudy", "squared_error", "input_squared_error"),
        ("prediction_cloudy", "angle_deg", "input_angle_deg"),
    ]
    if ledger.has_floor:
        equal.append(("absolute_error", "angle_deg", "self_angle_deg"))
        equal.append(("cloudy_clear", "input_angle_deg", "self_angle_deg"))
    room = 10 * ROUNDING * frame["pixels"]  # of a cosine of 1, an angle keeps half the digits
    return {
        f"{error} to be {other} where {distance} is 0": (frame[distance] == 0)
        & ~np.isclose(frame[error], frame[other], ROUNDING, room if "angle" in error else 0)
        for distance, error, other in equal
    }


def _identity_rules(ledger: Ledger) -> Flags:
    """Rows say who their scene is, as the record says; names of other datasets are free."""
    frame, record = ledger.frame, ledger.provenance
    scene, season, aoi, patch, split, digest = (
        frame[name].astype(str)
        for name in ("scene", "season", "aoi", "patch", "split", "prediction_sha256")
    )
    named = (scene == aoi + "_p_" + patch) & (aoi.str.rpartition("_")[0] == season)
    named &= scene.str.fullmatch(SCENE)
    unknown = frame["thickness"] == THICKNESS[0]
    return {
        "scenes named <season>_<aoi>_p_<patch> after their columns": ~named
        & ledger.imagery.is_planet_cr,
        "scenes of the record's split": split != record["split"],
        "a SHA-256 of each prediction": ~digest.str.fullmatch(r"[0-9a-f]{64}"),
        "an optical thickness where the truth was given, and only there": unknown
        == record["optical_thickness"],
    }


def _scene_rules(ledger: Ledger) -> Flags:
    """A scene has one place, all its pixels, and the cloud cover that they give."""
    frame = ledger.frame
    protocol = frame["protocol"].astype(str)
    counts = frame[["pixels", "ssim_pixels"]].assign(
        cloudy=frame["pixels"].where(frame["region"] == "cloud", 0)
    )
    sums = counts.groupby([frame["scene"], protocol], observed=True).transform("sum")
    scenes = frame.groupby("scene", observed=True)
    places = scenes[["longitude", "latitude"]].transform("nunique", dropna=False)
    whole = sums["pixels"].where(protocol == "full").groupby(frame["scene"], observed=True)
    size = ledger.imagery.size
    area = whole.transform("max") if size is None else size[0] * size[1]
    # cloud may lie outside the protocol's window, but no more than there are pixels
    outside = frame["cloud_cover"] - sums["cloudy"] / area
    most = 1 - protocol.map(_pixels(size)).fillna(sums["pixels"]) / area
    rules = {"one longitude and latitude of each scene": (places > 1).any(axis=1)}
    for column, words, own in (
        ("pixels", "pixels", _pixels(size)),
        ("ssim_pixels", "SSIM pixels", _ssim_pixels(size)),
    ):
        expected = protocol.map(own)
        rules[f"{words} of each scene: {_listed(own)}"] = expected.notna() & (
            sums[column] != expected
        )
    rules["the cloud cover that the pixels of a scene under cloud give"] = (
        outside.notna() & ~outside.between(-ROUNDING, most + ROUNDING)
    )
    return rules


def _pixels(size: tuple[int, int] | None) -> dict[str, int]:
    """Pixels of a scene in each protocol, as far as they are the same for all scenes."""
    return {name: height * width for name, (height, width) in _grids(size).items()}


def _ssim_pixels(size: tuple[int, int] | None) -> dict[str, int]:
    """Pixels at which SSIM is defined, likewise."""
    counts = {}
    for name, (height, width) in _grids(size).items():
        border = 2 * (5 - PROTOCOLS[name].ssim_padding)
        counts[name] = (height - border) * (width - border)
    return counts


def _grids(size: tuple[int, int] | None) -> dict[str, tuple[int, int]]:
    """Height and width that each protocol measures, if all scenes have the same."""
    windows = {name: each.window for name, each in PROTOCOLS.items()}
    grids = {name: (window, window) if window else size for name, window in windows.items()}
    return {name: grid for name, grid in grids.items() if grid is not None}


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} in protocol {name}" for name, count in counts.items())


def _centre_rules(ledger: Ledger) -> Flags:
    """The centre of a scene has no more of anything than all of it."""
    frame, keys = ledger.frame, [*CELL, "thickness"]
    if "full" not in ledger.provenance["protocols"]:
        return {}
    centre, whole = (frame[frame["protocol"] == name] for name in ("official", "full"))
    limits = centre[keys].merge(whole, "left", keys)[_PARTS].fillna(0).set_axis(centre.index)
    above = (centre[_PARTS] > (1 + ROUNDING) * limits).reindex(frame.index, fill_value=False)
    return {
        f"no more {name} in the centre (official) than in the whole (full)": above[name]
        for name in _PARTS
    }


_RULES: Final = (
    _count_rules, _error_rules, _equality_rules, _identity_rules, _scene_rules, _centre_rules,
)  # fmt: skip
