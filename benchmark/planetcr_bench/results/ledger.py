"""Store the additive sums of every scene in Parquet files.

One row per scene × protocol × land-cover class × region × optical thickness that has pixels. Rows
of disjoint scenes merge by concatenation; every score is a ratio of sums of rows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from planetcr_bench.constants import (
    COVER_BINS,
    LAND_COVER,
    LAND_COVER_NAMES,
    OPTICAL_BANDS,
    REGIONS,
    RUN_NAME,
    THICKNESS,
    cover_bin,
)
from planetcr_bench.errors import LedgerError
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.metrics.sums import (
    FLOOR_SUMS,
    FURTHER_SUMS,
    PLAIN_GROUPS,
    SEGMENTED_IMAGES,
    SEGMENTER_WIDTH,
    SUMS,
    Column,
    SceneSums,
    segmenter_columns,
)
from planetcr_bench.utils.untrusted import check_regular, parse_json, printable

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
    "split": Column("text", "train, val or test."),
    "season": Column("text", "Season of the AOI."),
    "aoi": Column("text", "Area of interest; patches of one AOI are not independent."),
    "patch": Column("int64", "Number of the patch within its AOI, from 0."),
    "cloud_cover": Column("float64", "Cloudy share of the whole patch, 0 to 1, in any protocol."),
    "longitude": Column("float64", "Of the patch's centre, degrees east; nan if unknown."),
    "latitude": Column("float64", "Of the patch's centre, degrees north; nan if unknown."),
    "prediction_sha256": Column("text", "Of the prediction's decoded pixels, dtype and shape."),
    "protocol": Column("text", "official or full."),
    "land_cover": Column("text", "One of the six classes, or unknown."),
    "region": Column("text", "cloud, edge (clear, within 30 m of cloud) or clear."),
    "thickness": Column("text", "Bin of the optical thickness of cloud; unknown without truth."),
}


COLUMNS: Final = {**IDENTITY, **SUMS}
"""Columns of every ledger; each segmenter adds :func:`segmenter_columns`."""


ROW_ORDER: Final[dict[str, Sequence[str]]] = {
    "protocol": tuple(PROTOCOLS),
    "thickness": THICKNESS,
    "land_cover": LAND_COVER_NAMES,
    "region": REGIONS,
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

LARGEST_LEDGER: Final = 1_000_000_000
"""Largest size of a file in bytes."""

LARGEST_UNPACKED: Final = 2_000_000_000
"""Largest declared size of all columns in bytes; a few bytes may unpack to a text of any length."""


DISTANCE_ROUNDING: Final = 1e-9
"""Tolerance of the triangle inequality between the sums of a row, relative to their total: more
than adding the values of a patch in float64 can lose."""

METADATA_KEY = b"planetcr_bench"


def schema_of(
    segmenters: Sequence[str] = (), *, floor: bool = False, further: bool = False
) -> pa.Schema:
    """Columns and types of a ledger, with those of the segmenters behind the others.

    Args:
        segmenters: Keys of its segmenters.
        floor: Whether it has :data:`FLOOR_SUMS`.
        further: Whether it has :data:`FURTHER_SUMS`.
    """
    columns = {**COLUMNS, **_optional_sums(floor=floor, further=further)}
    for segmenter in segmenters:
        columns |= segmenter_columns(segmenter)
    return pa.schema(
        [
            pa.field(name, ARROW_TYPES[column.type], nullable=False)
            for name, column in columns.items()
        ]
    )


def _optional_sums(*, floor: bool, further: bool) -> dict[str, Column]:
    return {**(FLOOR_SUMS if floor else {}), **(FURTHER_SUMS if further else {})}


def sums_in(frame: pd.DataFrame) -> list[str]:
    """Names of all sums that rows of a ledger have, but for those of segmenters."""
    return [name for name in {**SUMS, **FLOOR_SUMS, **FURTHER_SUMS} if name in frame]


def further_columns(one: Ledger, other: Ledger, *, of_input: bool = False) -> list[str]:
    """Columns of :data:`FURTHER_SUMS` in which two ledgers of one dataset can be compared.

    Args:
        one: A ledger.
        other: Another one.
        of_input: Only those that depend on the dataset alone, whatever was predicted.

    Returns:
        Empty if either was measured without them.
    """
    if not (one.has_further and other.has_further):
        return []
    kept = ("clear_", "cloudy_", "input_") if of_input else ""
    return [name for name in FURTHER_SUMS if name.startswith(kept)]


@dataclass(frozen=True, slots=True)
class Ledger:
    """Rows of one method on one dataset, and their provenance.

    Attributes:
        frame: One row per scene × protocol × class × region × thickness, columns as
            :data:`COLUMNS`; sorted by :func:`in_order`, so that no figure depends on the order of
            the rows in the file.
        provenance: Content of ``run.json``.
    """

    frame: pd.DataFrame
    provenance: Mapping[str, Any]

    def __post_init__(self) -> None:
        """Sort the rows."""
        object.__setattr__(self, "frame", in_order(self.frame))

    @property
    def name(self) -> str:
        """Name of the method's run."""
        return str(self.provenance["name"])

    @property
    def segmenters(self) -> tuple[str, ...]:
        """Keys of its segmenters, in the order of their columns."""
        return tuple(sorted(self.provenance["segmenters"]))

    @property
    def has_floor(self) -> bool:
        """Whether the noise floor of SAM was measured."""
        return FLOOR_SUMS.keys() <= set(self.frame.columns)

    @property
    def has_further(self) -> bool:
        """Whether the sums behind the further metrics were measured."""
        return FURTHER_SUMS.keys() <= set(self.frame.columns)


def in_order(frame: pd.DataFrame) -> pd.DataFrame:
    """Sort the rows and categories of a ledger in the order in which scoring writes them.

    The same rows give the same bits, whatever the order of rows and dictionaries in a file: rows by
    scene (numbers within a name by their value), then by :data:`ROW_ORDER`; categories of texts in
    the order of the rows, without unused ones.

    Args:
        frame: Rows of a ledger; missing columns are ignored.

    Returns:
        The same frame if it is sorted, else a new one, numbered from 0.
    """
    texts = {
        name: pd.Categorical(frame[name])
        for name, column in IDENTITY.items()
        if column.type == "text" and name in frame
    }
    keys = [name for name in ("scene", "split", *ROW_ORDER) if name in texts]
    ranks = [_ranks(texts[name], ROW_ORDER.get(name, ())) for name in keys]
    order = np.lexsort(ranks[::-1]) if ranks else np.arange(len(frame))
    numbered = pd.RangeIndex(len(frame))
    if (order != numbered).any() or not frame.index.equals(numbered):
        frame = frame.take(order).reset_index(drop=True)
    for name, text in texts.items():
        kind, named = frame[name].dtype, _named_in_order(text[order])
        if isinstance(kind, pd.CategoricalDtype) and not (
            kind.categories.equals(named.categories) and not kind.ordered
        ):
            frame = frame.assign(**{name: named})
    return frame


def _ranks(texts: pd.Categorical, order: Sequence[str]) -> NDArray[np.int64]:
    """Rank of each text by the given order, then by its letters and numbers; -1 for none."""
    place = {name: at for at, name in enumerate(order)}
    names = sorted(texts.categories, key=lambda name: (place.get(name, len(place)), _key(name)))
    rank = {name: at for at, name in enumerate(names)}
    ranks = np.array([*(rank[name] for name in texts.categories), -1], np.int64)
    found: NDArray[np.int64] = ranks[texts.codes]
    return found


def _key(name: str) -> tuple[object, ...]:
    """Sort key of texts: numbers within them count by their value, which may be of any size."""
    parts: list[object] = list(re.split(r"([0-9]+)", str(name)))
    for at in range(1, len(parts), 2):
        digits = str(parts[at]).lstrip("0")
        parts[at] = (len(digits), digits)
    return tuple(parts), str(name)


def _named_in_order(texts: pd.Categorical) -> pd.Categorical:
    """The same texts, with categories in order of appearance, and no others."""
    used = pd.unique(texts.codes)
    used = used[used >= 0]
    rank = np.full(len(texts.categories) + 1, -1)
    rank[used] = np.arange(len(used))
    return pd.Categorical.from_codes(rank[texts.codes], texts.categories.take(used))


def ledger_table(scenes: Sequence[SceneSums], segmenters: Sequence[str] = ()) -> pa.Table:
    """Build typed rows of scored scenes: one per protocol and group that has pixels, in this order.

    They have :data:`FLOOR_SUMS` and :data:`FURTHER_SUMS` where all scenes have.
    """
    floor = bool(scenes) and all(scene.floor for scene in scenes)
    further = bool(scenes) and all(scene.further for scene in scenes)
    schema = schema_of(segmenters, floor=floor, further=further)
    columns = {**SUMS, **_optional_sums(floor=floor, further=further)}
    chunks: list[NDArray[np.float64]] = []
    segmented = [np.empty((0, SEGMENTER_WIDTH * len(segmenters)), np.int64)]
    identities: dict[str, list[object]] = {name: [] for name in IDENTITY}
    for scene in scenes:
        for protocol, sums in scene.sums.items():
            groups = np.flatnonzero(sums[:, 0])
            parts = [sums, *([scene.floor[protocol]] if floor else [])]
            parts += [scene.further[protocol]] if further else []
            chunks.append(np.concatenate([part[groups] for part in parts], 1))
            if segmenters:
                segmented.append(scene.segmented[protocol][groups])
            for group in groups.tolist():
                thickness, plain = divmod(group, PLAIN_GROUPS)
                land_cover, region = divmod(plain, len(REGIONS))
                for name, value in scene.identity.items():
                    identities[name].append(value)
                identities["protocol"].append(protocol)
                identities["land_cover"].append(LAND_COVER_NAMES[land_cover])
                identities["region"].append(REGIONS[region])
                identities["thickness"].append(THICKNESS[thickness])
    values = np.concatenate(chunks) if chunks else np.empty((0, len(columns)))
    arrays = [
        pa.array(identities[name], ARROW_TYPES[column.type]) for name, column in IDENTITY.items()
    ]
    for index, column in enumerate(columns.values()):
        arrays.append(pa.array(values[:, index].astype(column.type)))
    arrays += [pa.array(column) for column in np.concatenate(segmented).T]
    return pa.table(arrays, schema=schema)


def write_ledger(path: Path, table: pa.Table, provenance: Mapping[str, object]) -> None:
    """Write a ledger with its provenance as metadata; the same rows give the same data pages."""
    text = json.dumps(provenance, ensure_ascii=False, sort_keys=True)
    pq.write_table(
        table.replace_schema_metadata({METADATA_KEY: text.encode()}),
        path,
        compression="zstd",
        compression_level=9,
        use_dictionary=[one.name for one in table.schema if pa.types.is_dictionary(one.type)],
        # byte stream split: a quarter smaller
        use_byte_stream_split=[one.name for one in table.schema if _is_number(one.type)],
    )


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def read_ledger(path: Path) -> Ledger:
    """Read a ledger, given as its file or as the results folder that holds it.

    Raises:
        LedgerError: It is missing, not a ledger, of another schema version, or breaks a rule of its
            columns.
    """
    file = path / "ledger.parquet" if path.is_dir() else path
    if not file.is_file():
        raise LedgerError(f"{path}: expected a results folder with ledger.parquet, found none")
    if path.is_dir() and not (path / "run.json").is_file():
        raise LedgerError(
            f"{path}: expected run.json beside the ledger, found none: the evaluation did not "
            "finish; run the same evaluate command again"
        )
    check_regular(file, LARGEST_LEDGER, error=LedgerError)
    try:
        with pq.ParquetFile(file) as stored:
            provenance = _provenance(file, stored)
            table = stored.read()
            frame = table.to_pandas(ignore_metadata=True)
    except (OSError, pa.ArrowException, KeyError, ValueError, MemoryError) as error:
        raise LedgerError(f"{file}: expected a ledger of planetcr-bench, cannot read it") from error
    check_rows(frame, str(file), list(provenance["segmenters"]))
    return Ledger(frame, provenance)


def _provenance(file: Path, stored: pq.ParquetFile) -> dict[str, Any]:
    """Read and check the metadata of a ledger, and check its columns."""
    metadata = stored.metadata
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    if sum(group.total_byte_size for group in groups) > LARGEST_UNPACKED:
        raise LedgerError(f"{file}: expected at most {LARGEST_UNPACKED:,} bytes unpacked, got more")
    where = f"{file}: what it says of its run"
    said = (stored.schema_arrow.metadata or {})[METADATA_KEY]
    provenance = parse_json(said, where, error=LedgerError)
    version = provenance.get("ledger_schema")
    if version != SCHEMA_VERSION:
        raise LedgerError(
            f"{file}: expected ledger schema {SCHEMA_VERSION}, got {printable(version)[:80]}; "
            "evaluate again with this version"
        )
    odd = [key for key, kinds in RECORD.items() if type(provenance.get(key)) not in kinds]
    if odd:
        raise LedgerError(f"{where}: expected a value of its type for each of {', '.join(odd)}")
    if re.fullmatch(RUN_NAME, provenance["name"]) is None:
        raise LedgerError(f"{where}: expected a name as --name takes it, got another")
    for facts in provenance["segmenters"].values():
        if not isinstance(facts, dict) or not {"name", "sha256"} <= facts.keys():
            raise LedgerError(f"{where}: expected name and sha256 of each segmenter, got others")
    names = set(stored.schema_arrow.names)
    floor, further = FLOOR_SUMS.keys() <= names, FURTHER_SUMS.keys() <= names
    schema = schema_of(sorted(provenance["segmenters"]), floor=floor, further=further)
    if not stored.schema_arrow.equals(schema):
        raise LedgerError(
            f"{file}: expected the columns {', '.join(COLUMNS)}, and those of its segmenters"
        )
    return provenance


def cover_bins(frame: pd.DataFrame) -> pd.Series[Any]:
    """Cloud-cover bin of each row, named as in ``COVER_BINS``."""
    covers = frame["cloud_cover"]
    bins = covers.map({cover: cover_bin(cover) for cover in covers.unique()})
    return bins.astype(pd.CategoricalDtype(list(COVER_BINS), ordered=True))


def segmenter_counts(frame: pd.DataFrame, segmenter: str, image: str) -> NDArray[np.int64]:
    """Confusion counts of a segmenter for the rows of a ledger.

    Args:
        frame: Rows of a ledger with this segmenter.
        segmenter: Its key.
        image: One of :data:`SEGMENTED_IMAGES`.

    Returns:
        Shape (rows, 6, 6): class in the clear image × class in this image.
    """
    prefix = f"segmenter_{segmenter}_{image}_"
    names = [name for name in segmenter_columns(segmenter) if name.startswith(prefix)]
    pixels = frame[names].to_numpy(np.int64)
    return pixels.reshape(-1, len(LAND_COVER), len(LAND_COVER))


def check_rows(frame: pd.DataFrame, where: str, segmenters: Sequence[str] = ()) -> None:
    """Refuse rows that scoring cannot have written.

    Raises:
        LedgerError: Names the ledger and the first broken rule.
    """
    for rule in broken_rules(frame, segmenters):
        raise LedgerError(f"{where}: expected {rule}, found otherwise")


def broken_rules(frame: pd.DataFrame, segmenters: Sequence[str] = ()) -> list[str]:
    """Describe the rules for single rows that a ledger breaks."""
    numbers = frame[list(SUMS)].to_numpy(np.float64)
    distances = frame[["absolute_error", "prediction_cloudy", "cloudy_clear"]]
    rules = {
        "at least one row": len(frame) > 0,
        "finite sums": bool(np.isfinite(numbers).all()),
        "sums of at least zero, save ssim": bool(
            (frame[[name for name in SUMS if "ssim" not in name]] >= 0).all(axis=None)
        ),
        "pixels in every row, and 4 values for each": bool(
            (frame["pixels"] > 0).all() and (frame["values"] == 4 * frame["pixels"]).all()
        ),
        "known protocols, classes, regions and thickness": bool(
            frame["protocol"].isin(list(PROTOCOLS)).all()
            and frame["land_cover"].isin(LAND_COVER_NAMES).all()
            and frame["region"].isin(REGIONS).all()
            and frame["thickness"].isin(THICKNESS).all()
        ),
        "each scene × protocol × class × region × thickness once": not bool(
            frame.duplicated(
                ["split", "scene", "protocol", "land_cover", "region", "thickness"]
            ).any()
        ),
        "a cloud cover between 0 and 1": bool(frame["cloud_cover"].between(0, 1).all()),
        "longitude and latitude in degrees, both or none": bool(
            (
                (frame["longitude"].between(-180, 180) & frame["latitude"].between(-90, 90))
                | (frame["longitude"].isna() & frame["latitude"].isna())
            ).all()
        ),
        "distances between prediction, cloudy and clear that none exceeds the other two": bool(
            (2 * distances.max(axis=1) <= (1 + DISTANCE_ROUNDING) * distances.sum(axis=1)).all()
        ),
        "no more worse pixels than pixels": bool((frame["worse_pixels"] <= frame["pixels"]).all()),
        "a noise floor of 0 to 90° at the pixels under it, and only there": _is_floor(frame),
        **_further_rules(frame),
        "one reading of every pixel by each segmenter": all(
            _is_read_once(frame, segmenter) for segmenter in segmenters
        ),
    }
    return [rule for rule, holds in rules.items() if not holds]


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


def _further_rules(frame: pd.DataFrame) -> dict[str, bool]:
    """Rules of :data:`FURTHER_SUMS`; none where they were not measured."""
    if not FURTHER_SUMS.keys() <= set(frame.columns):
        return {}
    sums = {name: frame[name].to_numpy(np.float64) for name in sums_in(frame)}
    pixels, more = sums["pixels"], 1 + MOMENT_ROUNDING
    gradients = [
        (sums["gradient_error"], sums["prediction_gradient"], sums["clear_gradient"]),
        (sums["input_gradient_error"], sums["cloudy_gradient"], sums["clear_gradient"]),
    ]
    return {
        "finite sums of the further metrics": all(
            bool(np.isfinite(sums[name]).all()) for name in FURTHER_SUMS
        ),
        "(Σi)² ≤ n·Σi² of each image in each band": all(
            _at_most(sums[f"{image}_sum_{band}"] ** 2, pixels * sums[f"{image}_square_{band}"])
            for image, band in product(("prediction", "clear", "cloudy"), OPTICAL_BANDS)
        ),
        "(Σit)² ≤ Σi²·Σt² of prediction and cloudy in each band": all(
            _at_most(
                sums[f"{image}_clear_product_{band}"] ** 2,
                sums[f"{image}_square_{band}"] * sums[f"clear_square_{band}"],
            )
            for image, band in product(("prediction", "cloudy"), OPTICAL_BANDS)
        ),
        "squared errors that follow from the moments of the bands": all(
            _are_squared_errors(sums, image, error)
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


def _are_squared_errors(sums: Mapping[str, NDArray[np.float64]], image: str, error: str) -> bool:
    """Whether Σ(i² − 2it + t²) over bands is a sum of squared errors, within rounding."""
    columns = [f"{each}_square_{band}" for each in (image, "clear") for band in OPTICAL_BANDS]
    squares = np.sum([sums[name] for name in columns], axis=0)
    products = np.sum([sums[f"{image}_clear_product_{band}"] for band in OPTICAL_BANDS], axis=0)
    return _at_most(np.abs(squares - 2 * products - sums[error]), MOMENT_ROUNDING * squares)


def _is_read_once(frame: pd.DataFrame, segmenter: str) -> bool:
    """Whether a segmenter's counts agree with the pixels of the rows and with each other."""
    prediction, cloudy = (segmenter_counts(frame, segmenter, image) for image in SEGMENTED_IMAGES)
    return bool(
        (prediction >= 0).all()
        and (cloudy >= 0).all()
        and (prediction.sum((1, 2)) == frame["pixels"].to_numpy()).all()
        and (prediction.sum(2) == cloudy.sum(2)).all()
    )
