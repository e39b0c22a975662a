"""Which runs a paper may hold, and what is said of those that it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from boards import make_card, put
from ledgers import as_planet_cr, copying_input, make_ledger
from planetcr_bench.errors import BenchError, LedgerError, UsageError
from planetcr_bench.paper.runs import read_runs
from planetcr_bench.paper.tables import (
    PaperTables,
    ablation_groups,
    best_and_second,
    parse_digits,
    parse_labels,
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    results = tmp_path_factory.mktemp("results")
    runs = [
        make_ledger("a", segmenters=("j1",)),
        make_ledger("b", seed=1),
        make_ledger("c", seed=2, segmenters=("j2",)),
        make_ledger("twin", seed=3),
        make_ledger("other", seed=4, track="elsewhere", fingerprint="e" * 64),
        copying_input(make_ledger("copy")),
    ]
    folders = {run.name: put(results, run) for run in runs}
    for name in ("b", "twin"):
        (folders[name] / "card.toml").write_text(make_card("Same"))
    return folders


@pytest.mark.parametrize(
    ("names", "labels", "error", "message"),
    [
        ([], {}, UsageError, "one run or more"),
        (["a", "a"], {}, UsageError, "expected each run once"),
        (["copy"], {}, UsageError, "beside those that copy the input"),
        (["a", "other"], {}, LedgerError, "expected the same track"),
        (["a"], {"z": "Z"}, UsageError, "--label: expected one of the runs a, got z"),
        (["a"], {"a": " "}, UsageError, "1 to 60 characters"),
        (["a"], {"a": "x\x1b[2J"}, UsageError, r"got 'x\\\\x1b\[2J'"),
        (["b", "twin"], {}, UsageError, "both are Same; give --label twin"),
    ],
)
def test_runs_that_make_no_paper(
    folders: dict[str, Path],
    names: list[str],
    labels: dict[str, str],
    error: type[BenchError],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        read_runs([folders[name] for name in names], labels=labels)


@pytest.mark.parametrize(
    ("names", "remark"),
    [
        (["a", "b"], "b: evaluated without a segmenter; evaluate with --segmenter: mIoU and PA"),
        (["a", "c"], "c: expected the same segmenters as a"),
        (["a"], "has no card.toml, so its rows are called a; give it a card, or --label a"),
        (["a", "copy"], "copy: copies the input and is shown as the input's row"),
    ],
)
def test_what_is_left_out_is_said_in_a_line(
    folders: dict[str, Path], names: list[str], remark: str
) -> None:
    runs = read_runs([folders[name] for name in names], labels={})
    assert any(remark in line and "\n" not in line for line in runs.remarks)
    assert runs.segmented == (names in (["a"], ["a", "copy"]))


def test_a_label_is_for_a_run_by_its_name_or_its_path(folders: dict[str, Path]) -> None:
    for key in ("a", str(folders["a"]), f"{folders['a']}/"):
        (method,) = read_runs([folders["a"]], labels={key: "Ours"}).methods
        assert (method.label, method.run) == ("Ours", "a")


def test_published_rows_stand_only_beside_networks_that_saw_as_much(tmp_path: Path) -> None:
    seen = {"whole": "whole", "centre": "160"}
    runs = {
        name: put(tmp_path, as_planet_cr(make_ledger(name), input_window=window))
        for name, window in seen.items()
    }
    with pytest.raises(LedgerError, match=r"centre 160 × 160, this run has input window whole"):
        read_runs([runs["whole"]], labels={}, published=True)
    read = read_runs([runs["centre"]], labels={}, published=True)
    assert read.protocol.name == "official"
    table = PaperTables(read).main
    assert table.kinds == ["input", "measured", *["published"] * 8]
    assert table.rules == [1, 2]
    assert table.cites[2] == r"~\cite{xu2024m3rcr}"
    assert table.rows[-1][1:] == ["0.0238", "30.48", "5.42", "0.9124"]
    with pytest.raises(UsageError, match="official alone"):
        read_runs([runs["centre"]], labels={}, published=True, protocol="full")


def test_ties_with_the_best_are_best_and_the_next_is_second() -> None:
    far = make_ledger("far", scenes=30, seed=2)
    far = type(far)(
        far.frame.assign(absolute_error=3 * far.frame["absolute_error"]), far.provenance
    )
    from planetcr_bench.analysis.significance import metric_comparisons
    from planetcr_bench.metrics.protocols import PROTOCOLS

    runs = [make_ledger("a", scenes=30), make_ledger("b", scenes=30, seed=1), far]
    mae = metric_comparisons(runs, PROTOCOLS["full"], metrics=["mae"], resamples=0)
    assert best_and_second(mae) == ({"a", "b"}, {"far"})
    assert best_and_second([]) == (set(), set())


def test_digits_are_chosen_by_metric(folders: dict[str, Path]) -> None:
    runs = read_runs([folders["a"]], labels={})
    table = PaperTables(runs, digits=parse_digits(["sam=1", "mae=2"])).main
    assert [len(cell.partition(".")[2]) for cell in table.rows[1][1:]] == [2, 2, 1, 4, 1, 1]


@pytest.mark.parametrize(
    ("parse", "text", "message"),
    [
        (parse_digits, ["mae"], "expected METRIC=N"),
        (parse_digits, ["bias=2"], "mae, psnr, sam, ssim, miou, pa"),
        (parse_digits, ["mae=99"], "0 to 6"),
        (parse_labels, ["a"], 'expected RUN="LABEL", got a'),
        (parse_labels, ["a=x", "a=y"], "one label for a, got two"),
    ],
)
def test_options_that_make_no_sense(parse, text: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse(text)


def test_an_ablation_names_its_runs(folders: dict[str, Path]) -> None:
    runs = read_runs([folders["a"], folders["b"]], labels={"b": "B"})
    assert ablation_groups(runs, []) == []
    ((first, last),) = ablation_groups(runs, ["b", "a"])
    assert (first.label, last.label) == ("B", "a")
    for chosen, message in ((["z", "a"], "got z"), (["a"], "variants of a method")):
        with pytest.raises(UsageError, match=message):
            ablation_groups(runs, chosen)
