"""Make PROJ use rasterio's own database, whatever the environment names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import rasterio
from rasterio.crs import CRS
from rasterio.errors import CRSError

from planetcr_bench.errors import BenchError

VARIABLES: Final = ("PROJ_LIB", "PROJ_DATA")
"""Variables by which QGIS, PostGIS or conda point every PROJ to their own database."""


def use_own_database() -> None:
    """Let PROJ read the database shipped with rasterio, in this process and its children.

    Raises:
        BenchError: rasterio ships none, and the one that the environment names cannot be read.
    """
    named = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    if not named:
        return
    if (Path(rasterio.__file__).parent / "proj_data" / "proj.db").is_file():
        for name in named:
            del os.environ[name]
        with rasterio.Env():  # sets the search path of PROJ, which may have used another one before
            return
    try:
        CRS.from_epsg(4326)
    except CRSError as error:
        variables = ", ".join(f"{name}={value}" for name, value in named.items())
        raise BenchError(
            f"{variables}: expected the folder of a database that rasterio's PROJ can read, got "
            f"another; unset {' and '.join(named)}"
        ) from error
