"""Keep in ``curation.toml`` how a dataset was made, and refuse a folder that is not its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import tomli_w
from pydantic import ConfigDict, Field, field_validator

from planetcr_bench import __version__
from planetcr_bench.curation.steps import WORK
from planetcr_bench.data.completeness import CURATION
from planetcr_bench.data.description import check_track
from planetcr_bench.data.mask_rules import UDM2, UDM2_BANDS, rule_fault
from planetcr_bench.errors import DatasetError
from planetcr_bench.restoration.masks import CLOUDY
from planetcr_bench.restoration.products import ProductName
from planetcr_bench.utils.files import atomic_write
from planetcr_bench.utils.untrusted import printable, read_toml
from planetcr_bench.utils.validation import FileModel, validate

_HEADER: Final = "# Written by `planetcr-bench curate`: how this dataset was made.\n"

Count = Annotated[int, Field(ge=0)]


class CurateSettings(FileModel):
    """What a curated dataset depends on beside its input.

    Attributes:
        train: Training patches; None: 60,000 for 660 AOIs (paper, Sec. 3.1), or all there are.
        test: Test patches; None: 3,000 for 120 AOIs, likewise.
        test_aois: AOIs for testing, at most; None: 120 of 780.
        stride: Optical pixels from one window to the next.
        max_nodata: Largest share of a window that one of the products may lack.
        min_distance_km: Smallest gap between AOIs of different splits.
        max_days: AOIs with more days between the dates are dropped.
        max_shift_m: AOIs whose dates are displaced by more metres are dropped.
        max_change: Windows whose clear pixels differ by more reflectance are dropped.
        seed: Another seed chooses other AOIs and windows.
        product: What all scenes are; None where their names say it.
        mask_rule: What counts as cloud in UDM2.
        layer: Of a GeoPackage.
        track: Of results on the dataset.
    """

    model_config = ConfigDict(title="settings of `curate`")

    train: Count | None = None
    test: Count | None = None
    test_aois: Count | None = None
    stride: Annotated[int, Field(ge=10, multiple_of=10)] = 300
    max_nodata: Annotated[float, Field(ge=0, lt=1)] = 0.0
    min_distance_km: Annotated[float, Field(ge=0)] = 10.0
    max_days: Annotated[float, Field(ge=0)] | None = None
    max_shift_m: Annotated[float, Field(ge=0)] | None = None
    max_change: Annotated[float, Field(ge=0)] | None = None
    seed: Count = 0
    product: ProductName | None = None
    mask_rule: str = CLOUDY
    layer: str | None = None
    track: str = "curated"

    @field_validator("track")
    @classmethod
    def _check_track(cls, track: str) -> str:
        check_track(track)
        return track

    @field_validator("mask_rule")
    @classmethod
    def _check_rule(cls, rule: str) -> str:
        if rule.partition(":")[0] != UDM2 or rule_fault(rule):
            names = ",".join(UDM2_BANDS[1:])
            raise ValueError(f"expected {UDM2}, or {UDM2}: with some of {names}, got {rule!r}")
        return rule


class Result(FileModel):
    """What came out.

    Attributes:
        product: What the scenes are, such as ``planet-sr``.
        reflectance: ``surface`` or ``top of the atmosphere``.
        train: Training patches.
        test: Test patches.
        fingerprint: Of all splits together, as `check` prints it.
        fingerprints: Of each split.
    """

    product: str
    reflectance: str
    train: int
    test: int
    fingerprint: str
    fingerprints: dict[str, str]


class Record(FileModel):
    """Content of ``curation.toml``.

    Attributes:
        version: Of planetcr-bench.
        table: Name of the table of AOIs.
        table_sha256: Of its bytes.
        settings: What else the dataset depends on.
        result: None until it is complete.
    """

    model_config = ConfigDict(title="what `curate` writes")

    version: str
    table: str
    table_sha256: str
    settings: CurateSettings
    result: Result | None = None


def claim(out: Path, table: Path, sha256: str, settings: CurateSettings) -> Record:
    """Make the folder of a dataset, or refuse one that holds anything else.

    While a dataset is not complete, table and settings may change: what they do not concern is not
    done again.

    Args:
        out: New, empty, or of this command; a complete dataset must be of this table and these
            settings.
        table: Of AOIs.
        sha256: Of the table.
        settings: What else the dataset depends on.

    Raises:
        DatasetError: The folder holds something else, or a dataset that was made otherwise.
    """
    path = out / CURATION
    record = Record(version=__version__, table=table.name, table_sha256=sha256, settings=settings)
    if out.exists() and not out.is_dir():
        raise DatasetError(f"{printable(out)}: expected a folder, found a file")
    if path.exists():
        there = validate(Record, read_toml(path, error=DatasetError), str(path), error=DatasetError)
        if there.result is not None:
            _refuse_others(path, there, record)
            return there
        write_record(out, record)
        return record
    if out.exists() and any(out.iterdir()):
        raise DatasetError(
            f"{printable(out)}: expected a new or empty folder, or one that this command has "
            "begun, found other files there; choose another --out"
        )
    (out / WORK).mkdir(parents=True, exist_ok=True)
    write_record(out, record)
    return record


def _refuse_others(path: Path, there: Record, record: Record) -> None:
    own, other = record.settings.model_dump(), there.settings.model_dump()
    differing = [name for name in own if own[name] != other[name]]
    if differing:
        words = ", ".join(f"{name} = {other[name]}, not {own[name]}" for name in differing)
        raise DatasetError(
            f"{printable(path)}: this dataset was made with {words}; choose another --out"
        )
    if there.table_sha256 != record.table_sha256:
        raise DatasetError(
            f"{printable(path)}: this dataset was made from another table of AOIs "
            f"({printable(there.table)}); choose another --out"
        )


def write_record(out: Path, record: Record) -> None:
    """Write ``curation.toml``."""
    content = record.model_dump(exclude_none=True)
    atomic_write(out / CURATION, (_HEADER + tomli_w.dumps(content)).encode())
