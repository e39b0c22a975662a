"""Find sums in a ledger that no measurement can have given.

Every rule follows by arithmetic from what the columns are; none guesses what is likely.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd

from planetcr_bench.constants import OPTICAL_SIZE, THICKNESS
from planetcr_bench.metrics.protocols import PROTOCOLS, Protocol
from planetcr_bench.metrics.sums import SUMS, segmenter_columns
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

_FACTS: Final = [
    "split", "season", "aoi", "patch", "cloud_cover", "longitude", "latitude", "prediction_sha256",
]  # fmt: skip
"""Columns with one value for each scene."""

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
    if broken := broken_rules(ledger.frame, ledger.segmenters):
        return [f"expected {rule}" for rule in broken]  # the rules below take those for granted
    return [
        *_row_errors(ledger),
        *_scene_errors(ledger),
        *_part_errors(ledger),
        *_cover_errors(ledger.frame),
    ]


# --- Rows: each rule, and the rows that break it --------------------------------------------


def _row_errors(ledger: Ledger) -> list[str]:
    frame, errors = ledger.frame, []
    for rules in (_count_rules, _error_rules, _equality_rules, _identity_rules):
        for rule, broken in rules(ledger).items():
            if broken.any():
                first = frame.loc[broken].iloc[0]
                cell = f"{first['protocol']}, {first['land_cover']}, {first['region']}"
                where = f"{int(broken.sum())} rows, first {first['scene']} ({cell})"
                errors.append(f"expected {rule}; broken in {where}")
    return errors


def _count_rules(ledger: Ledger) -> Flags:
    """Counts of pixels are bounded by each other."""
    frame = ledger.frame
    segmented = [name for segmenter in ledger.segmenters for name in segmenter_columns(segmenter)]
    official = frame["protocol"] == "official"  # its norms have a floor
    angles = frame[["angle_pixels", "input_angle_pixels"]]
    return {
        # so large that their sums would wrap around
        "no count above a patch's pixels": (frame[["pixels", *segmented]] > OPTICAL_SIZE**2).any(
            axis=1
        ),
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
    """Rows say who their scene is, as the record says."""
    frame, record = ledger.frame, ledger.provenance
    scene, season, aoi, patch, split, digest = (
        frame[name].astype(str)
        for name in ("scene", "season", "aoi", "patch", "split", "prediction_sha256")
    )
    named = (scene == aoi + "_p_" + patch) & (aoi.str.rpartition("_")[0] == season)
    unknown = frame["thickness"] == THICKNESS[0]
    return {
        "scenes named <season>_<aoi>_p_<patch> after their columns": ~named
        | ~scene.str.fullmatch(SCENE),
        "scenes of the record's split": split != record["split"],
        "a SHA-256 of each prediction": ~digest.str.fullmatch(r"[0-9a-f]{64}"),
        "an optical thickness where the truth was given, and only there": unknown
        == record["optical_thickness"],
    }


# --- Scenes -----------------------------------------------------------------------------------


def _scene_errors(ledger: Ledger) -> list[str]:
    """What is wrong with whole scenes: who they are, and how many pixels they have."""
    frame, record = ledger.frame, ledger.provenance
    values = frame.groupby("scene", observed=True)[_FACTS].nunique(dropna=False)
    errors = _scene_lines("one identity in all its rows", (values > 1).any(axis=1))
    if len(values) != record["scenes"]:
        errors.append(f"expected {record['scenes']} scenes by its record, found {len(values)}")
    odd = set(frame["protocol"].unique()) - record["protocols"].keys()
    if odd:
        errors.append(f"expected the protocols of its record, found {', '.join(sorted(odd))} too")
    for name in record["protocols"]:
        rows = frame[frame["protocol"] == name]
        sums = rows.groupby("scene", observed=True)[["pixels", "ssim_pixels"]].sum()
        sums = sums.reindex(values.index, fill_value=0)
        pixels, ssim_pixels = _pixels_of(PROTOCOLS[name])
        for what, broken in (
            (f"{pixels} pixels", sums["pixels"] != pixels),
            (f"SSIM at {ssim_pixels} pixels", sums["ssim_pixels"] != ssim_pixels),
        ):
            errors += _scene_lines(f"{what} in protocol {name}", broken)
    return errors


def _pixels_of(protocol: Protocol) -> tuple[int, int]:
    """Pixels of a scene, and those at which SSIM is defined."""
    side = protocol.window or OPTICAL_SIZE
    return side**2, (side - 2 * (5 - protocol.ssim_padding)) ** 2


def _scene_lines(what: str, broken: pd.Series[Any]) -> list[str]:
    names = broken.index[broken].tolist()
    if not names:
        return []
    return [f"expected each scene to have {what}; {len(names)} have not, first {names[0]}"]


def _part_errors(ledger: Ledger) -> list[str]:
    """The centre of a scene has no more of anything than all of it."""
    if "full" not in ledger.provenance["protocols"]:
        return []
    frame, keys = ledger.frame, [*CELL, "thickness"]
    centre, whole = (
        frame[frame["protocol"] == name].groupby(keys, observed=True)[_PARTS].sum()
        for name in ("official", "full")
    )
    above = centre > (1 + ROUNDING) * whole.reindex(centre.index).fillna(0)
    return [
        f"expected no more {name} in the centre (official) than in the whole (full); broken in "
        f"{int(cells.sum())} cells, first {cells.index[cells][0][0]}"
        for name, cells in above.items()
        if cells.any()
    ]


def _cover_errors(frame: pd.DataFrame) -> list[str]:
    """Cloud cover is the share of pixels under cloud, be they in the protocol's window or not."""
    pixels, name = max((_pixels_of(PROTOCOLS[name])[0], name) for name in set(frame["protocol"]))
    rows = frame[frame["protocol"] == name]
    covers = rows.groupby("scene", observed=True)["cloud_cover"].first()
    cloudy = rows["pixels"].where(rows["region"] == "cloud", 0)
    outside = covers - cloudy.groupby(rows["scene"], observed=True).sum() / OPTICAL_SIZE**2
    most = 1 - pixels / OPTICAL_SIZE**2
    off = ~outside.between(-ROUNDING, most + ROUNDING)
    return _scene_lines("the cloud cover that its pixels under cloud give", off)
