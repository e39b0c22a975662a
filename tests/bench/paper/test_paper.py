"""The folder of a paper: it compiles, fits its columns, and is never written over."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from boards import make_card, put
from ledgers import copying_input, make_ledger
from paths import files_in
from planetcr_bench.errors import UsageError
from planetcr_bench.figures.style import finish_figure, new_figure
from planetcr_bench.leaderboard.compacting import compact_run
from planetcr_bench.paper.paper import README, check_out, write_paper
from planetcr_bench.paper.runs import Runs, read_runs
from tex import compile_tex, need_tex, overfull

EVIL = r"Ours & <b> 50 % #1 ~^ \foo{ 网络 é_--"

SCENES = 24


@pytest.fixture(scope="module", autouse=True)
def _small_figures_of_the_supplement() -> Iterator[None]:
    """Each is tested where it is drawn, which takes a second."""

    def draw(*_: object, **__: object) -> Figure:
        with new_figure() as figure:
            figure.subplots()
            finish_figure(figure, [], f"A caption. {EVIL}", height_inch=1)
        return figure

    patch = pytest.MonkeyPatch()
    for name in ("region_figure", "triangle_figure", "class_cover_figure", "aoi_figure"):
        patch.setattr(f"planetcr_bench.paper.figures.{name}", draw)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Runs with cards, one without, one compact, and one that copies the input."""
    results = tmp_path_factory.mktemp("results")
    made = {
        name: make_ledger(name, scenes=SCENES, seed=seed, segmenters=("j1",))
        for seed, name in enumerate(("align_cr", "align_cr_no_sar", "mcgan", "bare", "copy", "x"))
    }
    made["copy"] = copying_input(made["copy"])
    cards = {
        "align_cr": make_card("Align-CR", sar=True),
        "align_cr_no_sar": make_card("Align-CR without SAR"),
        "mcgan": make_card("McGAN").replace("2026\n", "2017\n", 1),
        "copy": make_card("copy"),
        "x": make_card("A method of 60 characters, such as a board may be shown it"),
    }
    runs = [put(results, ledger, card=cards.get(name)) for name, ledger in made.items()]
    runs[2] = compact_run(runs[2], results.parent / "compact")
    return runs


def read(folders: list[Path], **options) -> Runs:
    return read_runs(folders, **{"labels": {"bare": EVIL}, **options})


@pytest.fixture(scope="module")
def paper(folders: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("papers") / "paper"
    notes = write_paper(out, read(folders), intervals=True, formats=["pdf"], command=["x", "y z"])
    assert [note.partition(":")[0] for note in notes] == ["copy", "bare"]
    return out


def test_the_documents_compile_and_nothing_leaves_its_column(paper: Path) -> None:
    need_tex()
    for name in ("paper.tex", "supplement.tex"):
        log = compile_tex(paper / name)
        assert max(overfull(log), default=0) <= 5
        assert "Float too large" not in log
    assert b"/Subtype /Type3" not in (paper / "figures/fig5-page.pdf").read_bytes()


def test_the_readme_lists_every_file_and_the_command(paper: Path) -> None:
    text = (paper / README).read_text()
    listed = re.findall(r"^[0-9a-f]{12}  (\S+)", text, re.MULTILINE)
    made = [name for name in files_in(paper) if not name.endswith((".aux", ".log", ".pdf"))]
    assert {*made} - {README} <= {*listed}
    assert {name for name in listed if name.startswith("figures/")} == {
        f"figures/{stem}.pdf"
        for stem in ("fig5-column", "fig5-page", "fig6-column", "fig6-page", "regions", "triangle",
                     "class_cover", "aois")
    }  # fmt: skip
    assert "Command: x 'y z'" in text
    assert "planetcr-bench evaluate mcgan" in text


def rows_of(paper: Path, name: str) -> list[str]:
    """First cells of the rows of scores."""
    lines = (paper / f"tables/{name}.tex").read_text().splitlines()
    cells = [line.partition(" & ")[0] for line in lines if line.endswith(r"\\")]
    return [cell.partition("~")[0] for cell in cells if cell]


def test_rows_are_named_by_cards_in_the_order_of_years_and_the_input_stands_once(
    paper: Path,
) -> None:
    rows = rows_of(paper, "table3")
    assert rows[:6] == [
        "Method",
        "Cloud-Free",
        "Cloudy",
        "McGAN",
        "Align-CR",
        "Align-CR without SAR",
    ]
    assert r"\strut Ours \& " in rows[-1]  # without a card it is new
    main = (paper / "tables/main.tex").read_text()
    assert main.count("Cloudy (input)") == 1
    assert "copy" not in main
    assert r"Ours \& \textless{}b\textgreater{} 50 \%" in main
    assert "gain" not in main


def test_tables_say_what_is_best_and_what_that_means(paper: Path) -> None:
    for name in ("main", "table2", "table3"):
        text = (paper / f"tables/{name}.tex").read_text()
        assert r"\usepackage{booktabs}" in text.splitlines()[0]
        assert r"\label{tab:" in text
        assert r"\bestscore{" in text
        assert "do not differ significantly" in text
    caption = r"\caption{Reconstruction and land-cover scores on the test split of fake (24 scenes "
    assert caption in (paper / "tables/main.tex").read_text()
    assert "window:patch" in (paper / "tables/signatures.tex").read_text()


def test_the_ablation_is_found_by_the_names_of_runs(paper: Path) -> None:
    assert rows_of(paper, "ablation") == ["Method", "Align-CR without SAR", "Align-CR"]


def test_a_method_is_cited_as_its_card_says(paper: Path) -> None:
    assert r"McGAN~\cite{McGAN}" in (paper / "tables/main.tex").read_text()
    keys = re.findall(r"^@\w+\{(\S+),", (paper / "references.bib").read_text(), re.MULTILINE)
    assert "McGAN" in keys
    assert len(keys) == len(set(keys))


@pytest.mark.usefixtures("nothing_is_drawn")
def test_what_a_user_changed_is_not_written_over(folders: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "paper"
    runs = read(folders[:2], labels={})
    write_paper(out, runs, formats=["pdf"])
    before = (out / README).read_text()
    assert "tables/ablation.tex" in before
    write_paper(out, read(folders[:1], labels={}), formats=["pdf"])
    assert not (out / "tables/ablation.tex").exists()
    (out / "mine.txt").write_text("a user's own")
    (out / "paper.tex").write_text("changed")
    with pytest.raises(UsageError, match=r"paper.tex: changed since"):
        check_out(out)
    assert (out / "mine.txt").exists()


def test_a_folder_of_others_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    for readme in ("", "Read me", "Made by hand"):
        (tmp_path / README).write_text(readme)
        with pytest.raises(UsageError, match="holds other files"):
            check_out(tmp_path)
    with pytest.raises(UsageError, match="is a file"):
        check_out(tmp_path / README)


@pytest.mark.usefixtures("nothing_is_drawn")
def test_the_command_says_what_it_made_and_what_is_wrong(
    folders: list[Path], cli, tmp_path: Path
) -> None:
    done = cli("paper", folders[3], "--out", "p", "--label", "bare=中", "--style", "isprs")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "Paper: p/paper.tex"
    assert "pdfLaTeX has no 中 of its label" in done.stderr
    for options, code, message in (
        (["--scene", "x"], 2, "--scene: names scenes of Fig. 4, which needs --data"),
        (["--digits", "mae"], 2, "--digits: expected METRIC=N"),
        (["--label", "z=Z"], 2, "--label: expected one of the runs bare, got z"),
        (["--published"], 1, "expected track 'planet-cr'"),
    ):
        done = cli("paper", folders[3], "--out", "q", *options)
        assert done.returncode == code
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert not (tmp_path / "q").exists()
