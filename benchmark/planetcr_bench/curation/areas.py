"""Read the table of AOIs: a CSV file, or a layer of a GeoPackage."""

from __future__ import annotations

import csv
import io
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, ConfigDict, Field

from planetcr_bench.curation.dates import Season
from planetcr_bench.curation.pair import PairFiles
from planetcr_bench.errors import DatasetError
from planetcr_bench.restoration.masks import CLOUDY
from planetcr_bench.restoration.products import ProductName
from planetcr_bench.utils.untrusted import check_regular, printable, read_text
from planetcr_bench.utils.validation import FileModel, validate

GEOPACKAGES: Final = (".gpkg",)

_FILES: Final = ("cloudy", "clear", "udm", "sar", "landcover")
"""Columns of files, relative to the folder of the table."""

_LARGEST: Final = 1 << 30
"""Bytes of the largest GeoPackage; it holds outlines, not images."""

_SHOWN: Final = 20
"""Problems that a message lists."""


def _stripped(value: object) -> object:
    """A cell without blanks around it; an empty one is no value."""
    if isinstance(value, str):
        value = value.strip()
    return None if value == "" else value


def _as_number(value: object) -> object:
    value = _stripped(value)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _as_date(value: object) -> object:
    value = _stripped(value)
    if not isinstance(value, str):
        return value
    try:
        date = datetime.fromisoformat(value)
    except ValueError as problem:
        raise ValueError(f"expected a date such as 2022-06-14T10:15:30, got {value!r}") from problem
    return date.astimezone(UTC) if date.tzinfo else date.replace(tzinfo=UTC)


Text = Annotated[str | None, BeforeValidator(_stripped)]
Date = Annotated[datetime | None, BeforeValidator(_as_date)]


class _Row(FileModel):
    """One row; columns of other names are ignored."""

    model_config = ConfigDict(title="a row of AOIs", extra="ignore")

    aoi: Annotated[int | None, BeforeValidator(_as_number), Field(ge=0)] = None
    cloudy: Annotated[str, BeforeValidator(_stripped)]
    clear: Annotated[str, BeforeValidator(_stripped)]
    udm: Text = None
    sar: Text = None
    landcover: Text = None
    product: Annotated[ProductName | None, BeforeValidator(_stripped)] = None
    season: Annotated[Season | None, BeforeValidator(_stripped)] = None
    split: Annotated[str | None, BeforeValidator(_stripped), Field(pattern="train|test")] = None
    cloudy_date: Date = None
    clear_date: Date = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """One AOI of the table.

    Attributes:
        number: In names of scenes.
        files: Its products.
        season: Where the table says it.
        split: Where the table says it.
        cloudy_date: Where the table says it.
        clear_date: Where the table says it.
    """

    number: int
    files: PairFiles
    season: Season | None = None
    split: str | None = None
    cloudy_date: datetime | None = None
    clear_date: datetime | None = None

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"AOI {self.number}"


def read_areas(
    path: Path, *, layer: str | None = None, product: ProductName | None = None,
    mask_rule: str = CLOUDY,
) -> list[Area]:  # fmt: skip
    """Read the table of AOIs.

    Columns are ``cloudy`` and ``clear``; ``udm``, ``sar`` and ``landcover``, each filled in all
    rows or in none; and, where wanted, ``aoi``, ``season``, ``split``, ``product``,
    ``cloudy_date`` and ``clear_date``. Paths are relative to the folder of the table.

    Args:
        path: CSV with a header, or GeoPackage.
        layer: Of a GeoPackage that has several.
        product: What all scenes are, where the table does not say it.
        mask_rule: What counts as cloud in UDM2.

    Returns:
        In the order of the table.

    Raises:
        DatasetError: The table cannot be read, has a wrong value, lacks a product of one AOI, or
            names a file that does not exist or is both dates; all such lines are listed.
    """
    columns, rows = _read(path, layer)
    repeated = [name for name, count in Counter(columns).items() if name and count > 1]
    if repeated:
        raise DatasetError(
            f"{printable(path)}: expected each column once, got {printable(repeated[0])} "
            f"{columns.count(repeated[0])} times"
        )
    missing = [name for name in ("cloudy", "clear") if name not in columns]
    if missing:
        raise DatasetError(
            f"{printable(path)}: expected columns {', '.join(_FILES)}, got "
            f"{printable(', '.join(columns)) or 'none'}"
        )
    if not rows:
        raise DatasetError(f"{printable(path)}: expected a row for each AOI, found none")
    parsed = [
        validate(_Row, row, f"{path}, row {number}", error=DatasetError)
        for number, row in enumerate(rows, 1)
    ]
    _refuse_gaps(path, parsed)
    areas = [
        _area(row, number, path.parent, product, mask_rule) for number, row in enumerate(parsed, 1)
    ]
    twice = [number for number, count in Counter(a.number for a in areas).items() if count > 1]
    if twice:
        raise DatasetError(
            f"{printable(path)}: expected each aoi once, got number {twice[0]} "
            f"{Counter(a.number for a in areas)[twice[0]]} times"
        )
    lost = [
        f"{area.name}: {printable(file)}: no such file"
        for area in areas
        for file in area.files.given
        if not file.exists()
    ]
    refuse(lost, f"{printable(path)}: expected files that exist")
    alike = [
        f"{area.name}: {printable(area.files.clear)}: expected another image than the cloudy one"
        for area in areas
        if area.files.clear.samefile(area.files.cloudy)
    ]
    refuse(alike, f"{printable(path)}: expected a cloudy and a clear date")
    return areas


def refuse(problems: Sequence[str], summary: str) -> None:
    """Raise an error with one line for each problem; nothing where there is none.

    Raises:
        DatasetError: There are problems.
    """
    if len(problems) == 1:
        raise DatasetError(problems[0])
    if problems:
        shown = list(problems[:_SHOWN])
        if len(problems) > _SHOWN:
            shown.append(f"… and {len(problems) - _SHOWN} more")
        raise DatasetError(f"{summary}, got {len(problems)} problems", shown)


def _area(
    row: _Row, number: int, folder: Path, product: ProductName | None, mask_rule: str
) -> Area:
    paths = {name: getattr(row, name) for name in _FILES}
    files = {name: None if value is None else folder / value for name, value in paths.items()}
    cloudy, clear = files["cloudy"], files["clear"]
    assert cloudy is not None
    assert clear is not None
    return Area(
        number=number if row.aoi is None else row.aoi,
        files=PairFiles(
            cloudy=cloudy, clear=clear, mask=files["udm"], sar=files["sar"],
            land_cover=files["landcover"], product=row.product or product, mask_rule=mask_rule,
        ),
        season=row.season, split=row.split, cloudy_date=row.cloudy_date,
        clear_date=row.clear_date,
    )  # fmt: skip


def _refuse_gaps(path: Path, rows: Sequence[_Row]) -> None:
    """Refuse columns that some rows leave empty."""
    problems = []
    for name in ("aoi", "udm", "sar", "landcover", "split"):
        empty = [number for number, row in enumerate(rows, 1) if getattr(row, name) is None]
        if 0 < len(empty) < len(rows):
            problems += [f"{printable(path)}, row {number}: expected {name}, which other rows have,"
                         " got nothing" for number in empty]  # fmt: skip
    refuse(problems, f"{printable(path)}: expected every AOI to have the same products")


# --- Tables ---------------------------------------------------------------------------------


def _read(path: Path, layer: str | None) -> tuple[list[str], list[dict[str, Any]]]:
    if path.suffix.lower() in GEOPACKAGES:
        columns, rows = _read_geopackage(path, layer)
    elif layer is not None:
        raise DatasetError(f"{printable(path)}: expected a GeoPackage, which has layers, got CSV")
    else:
        columns, rows = _read_csv(path)
    columns = [name.strip().lower() for name in columns]
    return columns, [dict(zip(columns, row, strict=False)) for row in rows]


def _read_csv(path: Path) -> tuple[list[str], list[Sequence[Any]]]:
    text = read_text(path, error=DatasetError)
    first = text.split("\n", 1)[0]
    separator = ";" if first.count(";") > first.count(",") else ","
    try:
        rows = [row for row in csv.reader(io.StringIO(text), delimiter=separator) if any(row)]
    except csv.Error as problem:
        raise DatasetError(f"{printable(path)}: expected a CSV table ({problem})") from problem
    columns = rows[0] if rows else []
    for number, row in enumerate(rows[1:], 1):
        if len(row) != len(columns):
            raise DatasetError(
                f"{printable(path)}, row {number}: expected {len(columns)} cells, as the header "
                f"has, got {len(row)}"
            )
    return columns, list(rows[1:])


def _read_geopackage(path: Path, layer: str | None) -> tuple[list[str], list[Sequence[Any]]]:
    """Attributes of a layer; a GeoPackage is an SQLite database, and outlines are not needed."""
    check_regular(path, _LARGEST, error=DatasetError)
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            layers = [
                str(name)
                for (name,) in database.execute(
                    "SELECT table_name FROM gpkg_contents"
                    " WHERE data_type IN ('features', 'attributes') ORDER BY table_name"
                )
            ]
            chosen = _choose(path, layers, layer)
            quoted = chosen.replace('"', '""')
            found = database.execute(f'SELECT * FROM "{quoted}"')  # noqa: S608 quoted above
            return [str(column[0]) for column in found.description], found.fetchall()
    except sqlite3.Error as problem:
        raise DatasetError(
            f"{printable(path)}: expected a GeoPackage with a layer of AOIs ({problem})"
        ) from problem


def _choose(path: Path, layers: Sequence[str], layer: str | None) -> str:
    if layer is None and len(layers) == 1:
        return layers[0]
    if layer in layers:
        return str(layer)
    words = printable(", ".join(layers)) or "none"
    raise DatasetError(
        f"{printable(path)}: expected {'one layer' if layer is None else repr(layer)}, found "
        f"{words}; choose one with --layer"
    )
