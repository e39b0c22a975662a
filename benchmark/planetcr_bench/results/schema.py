"""Define the columns, types and metadata of a ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from planetcr_bench.constants import (
    COVER_BIN_NAMES,
    LAND_COVER,
    LAND_COVER_NAMES,
    OPTICAL_BANDS,
    REGION_NAMES,
    THICKNESS,
    cover_bin,
)
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.metrics.sums import (
    FLOOR_SUMS,
    SUMS,
    Column,
    bands_of,
    further_sums,
    segmenter_columns,
)

SCHEMA_VERSION: Final = 3
"""Raised when a column changes its meaning; ledgers of different versions do not compare."""

ARROW_TYPES: Final = {
    "text": pa.dictionary(pa.int32(), pa.string()),
    "int64": pa.int64(),
    "float64": pa.float64(),
}
"""Type of a column in a file, by its name."""

IDENTITY: Final[dict[str, Column]] = {
    "scene": Column("text", "Name of the scene, <season>_<aoi>_p_<patch>."),
    "split": Column("text", "Of the dataset, such as test or train."),
    "season": Column("text", "Season of the AOI."),
    "aoi": Column("text", "Area of interest; patches of one AOI are not independent."),
    "patch": Column("int64", "Number of the patch within its AOI, from 0."),
    "cloud_cover": Column("float64", "Cloudy share of the whole patch, 0 to 1; nan if unknown."),
    "longitude": Column("float64", "Of the patch's centre, degrees east; nan if unknown."),
    "latitude": Column("float64", "Of the patch's centre, degrees north; nan if unknown."),
    "prediction_sha256": Column("text", "Of the prediction's decoded pixels, dtype and shape."),
    "protocol": Column("text", "official or full."),
    "land_cover": Column("text", "One of the six classes, or unknown."),
    "region": Column("text", "cloud, edge (clear, within 30 m of cloud), clear, or unknown."),
    "thickness": Column("text", "Bin of the optical thickness of cloud; unknown without truth."),
}

COLUMNS: Final = {**IDENTITY, **SUMS}
"""Columns of every ledger; each segmenter adds :func:`segmenter_columns`."""

ROW_ORDER: Final[dict[str, Sequence[str]]] = {
    "protocol": tuple(PROTOCOLS),
    "thickness": THICKNESS,
    "land_cover": LAND_COVER_NAMES,
    "region": REGION_NAMES,
}
"""Order of the rows of one scene, by the first of these columns first."""

RECORD: Final[Mapping[str, tuple[type, ...]]] = {
    "name": (str,),
    "track": (str,),
    "split": (str,),
    "complete": (bool,),
    "scenes": (int,),
    "expected_scenes": (int,),
    "method": (str, type(None)),
    "tool_version": (str,),
    "ledger_schema": (int,),
    "protocols": (dict,),
    "fingerprint": (str,),
    "simulation": (str, type(None)),
    "scale": (int, float, type(None)),
    "segmenters": (dict,),
    "optical_thickness": (bool,),
}
"""Metadata of a ledger and their types."""


def schema_of(
    segmenters: Sequence[str] = (),
    *,
    floor: bool = False,
    further: bool = False,
    bands: Sequence[str] = OPTICAL_BANDS,
) -> pa.Schema:
    """Columns and types of a ledger, with those of the segmenters behind the others.

    Args:
        segmenters: Keys of its segmenters.
        floor: Whether it has :data:`FLOOR_SUMS`.
        further: Whether it has ``further_sums``.
        bands: Names of the bands of its images.
    """
    columns = {**COLUMNS, **optional_sums(floor=floor, further=further, bands=bands)}
    for segmenter in segmenters:
        columns |= segmenter_columns(segmenter)
    return pa.schema(
        [
            pa.field(name, ARROW_TYPES[column.type], nullable=False)
            for name, column in columns.items()
        ]
    )


def column_errors(got: pa.Schema, expected: pa.Schema) -> list[str]:
    """Where the columns of a file are not those of a ledger, one line each."""
    names = set(expected.names)
    surplus = [f"{name[:80]!r}: unknown column" for name in got.names if name not in names]
    lacking = [f"{name}: expected this column, found none" for name in names - set(got.names)]
    other = [
        f"{field.name}: expected {field.type}, got {str(got.field(field.name).type)[:80]}"
        for field in expected
        if got.names.count(field.name) == 1 and got.field(field.name).type != field.type
    ]
    if not (surplus or lacking or other) and got.names != expected.names:
        other = ["expected the columns in the order of a ledger, each once"]
    return [*surplus, *sorted(lacking), *other]


def optional_sums(*, floor: bool, further: bool, bands: Sequence[str]) -> dict[str, Column]:
    """Columns that not every ledger has."""
    return {**(FLOOR_SUMS if floor else {}), **(further_sums(bands) if further else {})}


def sums_in(frame: pd.DataFrame) -> list[str]:
    """Names of all sums that rows of a ledger have, except those of segmenters."""
    sums = {**SUMS, **FLOOR_SUMS, **further_sums(bands_of(frame.columns))}
    return [name for name in sums if name in frame]


def cover_bins(frame: pd.DataFrame) -> pd.Series[Any]:
    """Cloud-cover bin of each row, named as in ``COVER_BIN_NAMES``."""
    covers = frame["cloud_cover"]
    bins = covers.map({cover: cover_bin(cover) for cover in covers.unique()})
    return bins.astype(pd.CategoricalDtype(list(COVER_BIN_NAMES), ordered=True))


def segmenter_counts(frame: pd.DataFrame, segmenter: str, image: str) -> NDArray[np.int64]:
    """Confusion counts of a segmenter for the rows of a ledger.

    Args:
        frame: Rows of a ledger with this segmenter.
        segmenter: Its key.
        image: One of ``sums.SEGMENTED_IMAGES``.

    Returns:
        Shape (rows, 6, 6): class in the clear image × class in this image.
    """
    prefix = f"segmenter_{segmenter}_{image}_"
    names = [name for name in segmenter_columns(segmenter) if name.startswith(prefix)]
    pixels = frame[names].to_numpy(np.int64)
    return pixels.reshape(-1, len(LAND_COVER), len(LAND_COVER))
