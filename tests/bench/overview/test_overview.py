"""The overview of any dataset, from the command to its page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from conftest import Cli
from described import write_png
from planetcr_bench.errors import UsageError
from planetcr_bench.overview import overview as module
from planetcr_bench.overview.overview import FIGURES, PAGE, SCENES, overview

ALL = [*FIGURES, SCENES[0]]


@pytest.fixture(scope="module")
def written(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("overview")
    overview([data], out, count=1, workers=0, quiet=True)
    return out


def test_figures_are_fit_for_print_and_for_the_page(written: Path) -> None:
    drawn = sorted(path.stem for path in (written / "figures").glob("*.pdf"))
    assert drawn == sorted(set(ALL) - {"days"})
    assert drawn == sorted(path.stem for path in (written / "figures").glob("*.png"))
    assert b"/FontFile2" in (written / "figures/fig2.pdf").read_bytes()  # the fonts are inside


def test_the_page_loads_nothing_and_says_what_it_left_out(written: Path) -> None:
    page = (written / PAGE).read_text()
    assert "default-src 'none'; img-src data:; style-src 'sha256-" in page
    assert "<script" not in page
    sources = re.findall(r'src="([^"]{5})', page)
    assert sources == ["data:"] * (len(ALL) - 1)
    assert len(re.findall(r'alt="[^"]{20}', page)) == len(sources)
    assert "<li>Days between the dates: no dates in file names or TIFF tags.</li>" in page
    assert "pass it on only if the terms of the data allow" in page


def test_text_keeps_a_distance_from_the_border_of_the_window(written: Path) -> None:
    page = (written / PAGE).read_text()
    assert re.search(r"\.wide \{[^}]*padding: 0 1\.5rem", page)
    assert re.search(r'<header>\s*<div class="wide head">', page)
    assert '<main id="main" class="wide">' in page


def test_simulated_scenes_are_not_said_to_be_the_authors(
    simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIGURES", {"fig2": FIGURES["fig2"]})
    overview([simulated], tmp_path, count=0, workers=0, quiet=True)
    page = (tmp_path / PAGE).read_text()
    assert "<dd>simulated, in the layout of Planet-CR</dd>" in page
    assert "<dt>Citation" not in page
    assert "<dt>Terms" not in page
    row = (tmp_path / "tables/table1.csv").read_text().splitlines()[-1]
    assert ",,simulated PlanetScope,3," in row


def test_numbers_stand_beside_the_figures(written: Path) -> None:
    names = {path.relative_to(written).as_posix() for path in written.rglob("*") if path.is_file()}
    tables = {f"tables/{name}" for name in ("table1.md", "table1.tex", "table1.csv", "leakage.csv")}
    assert tables | {"scenes.parquet", PAGE} == {n for n in names if not n.startswith("figures/")}


def test_pairs_without_anything_else_have_an_overview(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "<b>pairs"
    for number, folder in enumerate(("cloudy", "clear")):
        write_png(root / folder / "a.png", number)
    monkeypatch.setattr(module, "FORMATS", ("png",))
    stale = tmp_path / "out/figures/fig1_map.png"
    stale.parent.mkdir(parents=True)
    stale.touch()
    (made,) = overview([root], tmp_path / "out", workers=0, quiet=True)
    assert set(made.missing) == {
        title for stem, (title, _) in FIGURES.items() if stem != "reflectance"
    }
    assert not stale.exists()
    page = (tmp_path / "out" / PAGE).read_text()
    assert "&lt;b&gt;pairs" in page
    assert "<b>" not in page


def test_the_command_sums_up_in_a_few_lines(
    cli: Cli, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIGURES", {"fig2": FIGURES["fig2"]})
    done = cli("overview", data, "--scenes", 0, "--workers", 0)
    assert done.returncode == 0, done.stderr
    first, second, last = done.stdout.splitlines()
    assert "train 2, test 6 scenes" in first
    assert second == "  left out: Scenes (Fig. 1b to e): not asked for"
    assert last == "overview/overview.html"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"described": ["rice1", "rice2"]}, "one for all or one for each of 1"),
        ({"out": "inside"}, "a folder outside"),
        ({"out": "file"}, "is not a folder"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_reading(
    options: dict, message: str, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    out = {"inside": data / "out", "file": tmp_path / "file"}.get(options.pop("out", ""), tmp_path)
    with pytest.raises(UsageError, match=message):
        overview([data], out, workers=0, quiet=True, **options)
