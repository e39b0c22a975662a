"""Compare two ledgers of the same scenes: an entry's, and one that is believed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pandas as pd

from planetcr_bench.metrics.sums import FLOOR_SUMS, SUMS, segmenter_columns
from planetcr_bench.results.ledger import Ledger, further_columns
from planetcr_bench.submission.plausibility import CELL, ROUNDING

DRIFT: Final = 1e-4
"""Relative difference of a sum that other hardware explains."""

TIPPED: Final = 2
"""Pixels of a cell that other hardware may put on the other side of a threshold."""

ALIKE: Final = 0.01
"""Relative difference of sums between two machines that simulated the same; and of segmenters'
counts, which threads and devices move at ties."""

OF_THE_INPUT: Final = (
    "pixels", "cloudy_clear", "input_squared_error", "input_angle_deg", "input_angle_pixels",
    "ssim_pixels", "input_ssim",
)  # fmt: skip
"""Columns that follow from the dataset, whatever was predicted."""


def same_dataset(ledger: Ledger, other: Ledger) -> bool:
    """Whether two ledgers are of one dataset, but for rounding."""
    ours, theirs = ledger.provenance, other.provenance
    return bool(ours["track"] == theirs["track"]) and (
        ours["fingerprint"] == theirs["fingerprint"]
        or (ours["simulation"] is not None and ours["simulation"] == theirs["simulation"])
    )


def digests_of(ledger: Ledger) -> dict[str, str]:
    """Scene to SHA-256 of its prediction's decoded pixels."""
    digests = ledger.frame.groupby("scene", observed=True)["prediction_sha256"].first()
    return {str(scene): str(digest) for scene, digest in digests.items()}


def shared_segmenters(ledger: Ledger, other: Ledger) -> list[str]:
    """Keys of the segmenters that both runs have."""
    ours, theirs = ledger.provenance["segmenters"], other.provenance["segmenters"]
    return [key for key in ours if key in theirs and ours[key]["sha256"] == theirs[key]["sha256"]]


def differences(sent: Ledger, known: Ledger, *, whole: bool) -> list[str]:
    """Where two ledgers of one dataset differ, one line each.

    Args:
        sent: The entry's.
        known: Measured, or believed; only scenes and protocols of both are compared.
        whole: Compare all sums, not only those that follow from the dataset.
    """
    same = sent.provenance["fingerprint"] == known.provenance["fingerprint"]
    sums = ["cloud_cover", *(SUMS if whole else OF_THE_INPUT)]
    if sent.has_floor and known.has_floor:
        # the angle of a pixel leaps where its norm is at the floor: after another rounding, only
        # the number of such pixels can be compared
        sums += FLOOR_SUMS if same else ["floored_pixels"]
    sums += further_columns(sent, known, of_input=not whole)
    drift = DRIFT if same else ALIKE
    counts = segmenter_counts(shared_segmenters(sent, known), of_input=not whole)
    return [
        *differing(sent, known, sums, drift=drift),
        *differing(sent, known, counts, drift=ALIKE),
    ]


def segmenter_counts(segmenters: Sequence[str], *, of_input: bool) -> list[str]:
    """Columns of segmenters; of the input, what they take the cloudy image for."""
    return [
        name
        for key in segmenters
        for name in segmenter_columns(key)
        if not of_input or name.startswith(f"segmenter_{key}_cloudy_")
    ]


def differing(
    sent: Ledger, known: Ledger, columns: Sequence[str], *, drift: float = DRIFT
) -> list[str]:
    """Columns in which two ledgers differ by more than other hardware explains.

    Args:
        sent: The entry's.
        known: Measured, or believed; only scenes and protocols of both are compared.
        columns: Sums that both have, or ``cloud_cover``.
        drift: Relative difference that is let pass in the sum of a cell (scene × class × region);
            of counts, this share of its pixels and :data:`TIPPED` more.

    Returns:
        One line for each column that differs, or one for cells that only one of the two has.
    """
    got, expected = (_cells(rows, columns) for rows in _shared_rows(sent, known))
    lacking = expected.index.symmetric_difference(got.index)
    if len(lacking):
        return [f"cells: {len(lacking)} are in one of the two only, first {_cell_name(lacking[0])}"]
    got, pixels = got.reindex(expected.index), expected["pixels"].astype(float)
    errors = []
    for column in columns:
        theirs, ours = got[column].astype(float), expected[column].astype(float)
        if column == "cloud_cover":
            allowed = pd.Series(drift, ours.index)
        elif expected[column].dtype.kind == "f":
            allowed = drift * ours.abs() + ROUNDING * pixels
        elif column in ("pixels", "values"):
            allowed = ours * (0 if drift <= DRIFT else drift)  # 0: the very same scenes
        else:
            allowed = drift * pixels + TIPPED
        off = ~((ours - theirs).abs() <= allowed)  # nan differs from everything
        if column == "cloud_cover":  # except where a dataset has no masks
            off &= ours.notna() | theirs.notna()
        if off.any():
            cell = off.index[off][0]
            errors.append(
                f"{column}: {int(off.sum())} cells differ, first {_cell_name(cell)}: expected "
                f"{ours[cell]:.8g}, got {theirs[cell]:.8g}"
            )
    return errors


def _shared_rows(sent: Ledger, known: Ledger) -> list[pd.DataFrame]:
    """Rows of each ledger, of the scenes and protocols that both have."""
    scenes = set(sent.frame["scene"].unique()) & set(known.frame["scene"].unique())
    protocols = sent.provenance["protocols"].keys() & known.provenance["protocols"].keys()
    frames = (sent.frame, known.frame)
    return [
        frame[frame["scene"].isin(scenes) & frame["protocol"].isin(protocols)] for frame in frames
    ]


def _cells(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    keys = [frame[name].astype(str) for name in ("protocol", *CELL)]  # any optical thickness
    how = {name: "first" if name == "cloud_cover" else "sum" for name in ("pixels", *columns)}
    return frame.groupby(keys).agg(how)


def _cell_name(cell: tuple[str, ...]) -> str:
    protocol, scene, land_cover, region = cell
    return f"{scene} ({protocol}, {land_cover}, {region})"
