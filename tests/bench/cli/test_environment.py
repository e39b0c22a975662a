"""Test foreign terminals, a foreign PROJ database, and a home without write access."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import pytest
import typer

from planetcr_bench.cli.environment import adapt
from planetcr_bench.utils.compiled import compiled


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("ascii", "x MAE v PSNR ^ 3deg e ? a-b ...\n"),
        ("cp1252", "× MAE v PSNR ^ 3° é ? a–b …\n"),
        ("utf-8", "× MAE ↓ PSNR ↑ 3° é 名 a–b …\n"),
    ],
)
def test_letters_that_a_terminal_lacks_are_replaced(
    encoding: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    adapt()
    typer.echo("× MAE ↓ PSNR ↑ 3° é 名 a–b …")
    sys.stdout.flush()
    assert written.getvalue().decode(encoding) == expected


def test_a_name_that_is_in_no_encoding_is_written_as_escapes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(written, encoding="utf-8"))
    adapt()
    typer.echo("caf\udce9.tif", err=True)
    sys.stderr.flush()
    assert written.getvalue() == b"caf\\udce9.tif\n"


def test_a_command_prints_ascii_where_the_terminal_has_no_more(data: Path) -> None:
    done = run("-m", "planetcr_bench", "check", str(data), PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert "-----" in done.stdout  # a table, whose lines are others elsewhere


@pytest.mark.parametrize("name", ["PROJ_LIB", "PROJ_DATA"])
def test_rasterio_reads_its_own_database_of_projections(name: str, tmp_path: Path) -> None:
    (tmp_path / "proj.db").write_text("of another kind")
    code = (
        "import planetcr_bench.data.layout\nfrom rasterio.crs import CRS\n"
        "print(CRS.from_epsg(32648).to_epsg())"
    )
    done = run("-c", code, **{name: str(tmp_path)})
    assert done.stdout == "32648\n", done.stderr


def test_loops_are_compiled_where_no_cache_can_be_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[bool] = []

    def njit(*, cache: bool = False, **_: Any) -> Any:
        asked.append(cache)
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda loop: loop

    monkeypatch.setattr(numba, "njit", njit)
    assert compiled(abs) is abs
    assert asked == [True, False]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True, text=True, check=False, env=os.environ | environment,
    )  # fmt: skip
