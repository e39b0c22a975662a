"""Test that untrusted files give one error line, at once, and no traceback."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from typer.testing import CliRunner

from ledgers import make_ledger, make_scene_sums
from paths import RUNS
from planetcr_bench.cli.app import app
from planetcr_bench.data.metadata import read_metadata
from planetcr_bench.errors import BenchError, LedgerError
from planetcr_bench.report.latex import to_latex
from planetcr_bench.report.table import Table, to_markdown, to_rich
from planetcr_bench.results.ledger import METADATA_KEY, ledger_table, read_ledger, write_ledger
from planetcr_bench.utils.parallel import track

EVIL = "[red]\x1b[2J\x1b]0;title\x07\r\u202e\x9b31m\udcff"
"""Of a file: markup, escape sequences, a direction of writing, and a byte that is no UTF-8."""

LONGEST = 60
"""Seconds that any of these commands may take, on a machine that has other work too."""


@pytest.fixture(autouse=True)
def _never_waits() -> Iterator[None]:
    """A command that hangs fails."""

    def give_up(*_: object) -> None:
        raise AssertionError("it waits for something that never comes")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(LONGEST)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def refused(*arguments: object) -> tuple[int, str]:
    """Exit code and standard error of a command."""
    done = CliRunner().invoke(app, [str(word) for word in arguments])
    assert not isinstance(done.exception, Exception), done.exception
    return done.exit_code, done.stderr


# --- Names --------------------------------------------------------------------------------------


def expect_plain(text: str) -> None:
    for line in text.split("\n"):
        assert line.isprintable(), repr(line)


@pytest.mark.parametrize(
    "words",
    [
        ["check", EVIL],
        ["overview", EVIL],
        ["compare", EVIL],
        ["leaderboard", EVIL],
        ["submit", "check", EVIL],
        ["submit", "pack", "preds", "--card", EVIL],
        ["evaluate", EVIL],
        ["gallery", EVIL, EVIL],
        ["predict", "mean-fill", "--data", EVIL, "--out", "out"],
        ["predict", "spa_gan", "--weights", EVIL, "--data", EVIL],
        ["train", "spa_gan", "--data", EVIL, "--out", "out"],
        ["simulate", EVIL, "--size", EVIL],
        ["evaluate", "preds", "--name", EVIL],
    ],
    ids=lambda words: " ".join(words[:2]).replace(EVIL, "EVIL"),
)
def test_an_untrusted_name_is_printed_in_one_line_without_control_characters(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, message = refused(*words)
    assert code in (1, 2)
    expect_plain(message)
    assert len(message.strip().split("\n")) <= 2


def test_files_with_malicious_names_are_listed_without_control_characters(
    preds: Path, data: Path
) -> None:
    name = f"{EVIL}.tif"
    (preds / name).write_bytes(b"no image")
    code, message = refused(
        "evaluate", preds, "--data", data, "--results", preds.parent / "results"
    )
    assert code == 1
    expect_plain(message)
    assert "[red]\\x1b[2J" in message
    assert "\\udcff.tif" in message


def test_a_newline_in_a_name_starts_no_new_line() -> None:
    shown = "\n".join(str(BenchError("first", ["a\nerror: b"])).splitlines())
    assert shown.count("\n") == 2  # as the library raises it; the command prints it in one
    code, message = refused("compare", "a\nerror: all is lost")
    assert code == 1
    assert message.count("\n") == 1


TABLE = Table(EVIL, ["Method", EVIL], [[EVIL, "1"]], ["measured"], [EVIL])


def test_tables_show_markup_and_escapes_as_they_are_written() -> None:
    stream = io.StringIO()
    Console(file=stream, force_terminal=True, color_system="truecolor", width=400).print(
        to_rich(TABLE)
    )
    text = stream.getvalue()
    assert text.count("[red]\\x1b[2J") == 4
    assert "\x1b[31m" not in text  # red
    assert "\x1b[2J" not in text
    assert "\x1b]0" not in text
    for text in (to_markdown(TABLE), to_latex(TABLE)):
        cells = [line for line in text.splitlines() if line.endswith(("1 |", "1 \\\\"))]
        assert len(cells) == 1
        expect_plain(cells[0])


def test_a_progress_bar_shows_a_method_s_name_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=200)
    monkeypatch.setattr("planetcr_bench.utils.parallel.Console", lambda **_: console)
    assert list(track(iter([1]), f"Predict {EVIL}[/]", 1)) == [1]
    assert "[red]\\x1b[2J" in stream.getvalue()
    assert "\x1b]0;title" not in stream.getvalue()


# --- Kinds of files -----------------------------------------------------------------------------


def pipe(path: Path) -> None:
    os.mkfifo(path)


def zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


def folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("make", [pipe, zeros, folder])
@pytest.mark.parametrize(
    "words",
    [
        ["submit", "pack", "preds", "--card", "FILE", "--data", "data"],
        ["submit", "check", "FILE"],
        ["submit", "check", "entry.zip"],
        ["compare", "FILE"],
        ["predict", "spa_gan", "--weights", "FILE", "--data", "data", "--out", "out"],
        ["predict", "FILE.py:build", "--data", "data", "--out", "out"],
        ["evaluate", "preds", "--data", "data", "--segmenter", "FILE"],
        ["gallery", "data", "preds", "--segmenter", "FILE", "--panels", "segmenter"],
        ["reproduce", "data", "--config", "FILE", "--out", "out"],
        ["check", "FILE"],
        ["leaderboard", "FILE"],
        ["evaluate", "FILE", "--data", "data"],
    ],
    ids=lambda words: " ".join(words[:3]),
)
def test_anything_but_a_regular_file_is_refused(
    make: Callable[[Path], None], words: list[str], tmp_path: Path, data: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").symlink_to(data)
    (tmp_path / "preds").mkdir()
    for name in ("FILE", "FILE.py", "entry.zip"):
        make(tmp_path / name)
    code, message = refused(*words)
    assert code in (1, 2)
    assert message.startswith("error: ")
    assert len(message.splitlines()) <= (
        8 if make is folder else 2
    )  # an empty folder lacks all scenes


@pytest.mark.parametrize("make", [pipe, zeros, folder])
def test_a_dataset_toml_that_is_not_a_regular_file_is_refused(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    make(tmp_path / "dataset.toml")
    with pytest.raises(BenchError, match="expected a regular file"):
        read_metadata(tmp_path)


# --- Ledgers ------------------------------------------------------------------------------------


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    ledger = make_ledger()
    table = ledger_table([make_scene_sums(index) for index in range(10)])
    write_ledger(tmp_path / "ledger.parquet", table, ledger.provenance)
    return tmp_path / "ledger.parquet"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        *(({key: None}, key) for key in ("name", "track", "split", "complete", "scenes",
                                         "segmenters", "protocols", "fingerprint",
                                         "expected_scenes")),
        ({"name": ["a"]}, "name"),
        ({"name": EVIL[:4] + "\x1b[2J"}, "as --name takes it"),
        ({"scenes": "1"}, "scenes"),
        ({"ledger_schema": "\x1b[2J" * 1000}, "expected ledger schema 3"),
        ({"segmenters": {"a": 1}}, "sha256 of each segmenter"),
        ({"segmenters": {"a": {"name": "a", "sha256": "b"}}}, "expected the columns"),
    ],
)  # fmt: skip
def test_a_ledger_with_an_invalid_record_is_refused(stored: Path, change: dict, words: str) -> None:
    table = pq.read_table(stored)
    record = {**make_ledger().provenance, **change}
    write_ledger(stored, table, {key: record[key] for key in record if record[key] is not None})
    with pytest.raises(LedgerError, match=words) as refused:
        read_ledger(stored)
    assert len(refused.value.message) < 1500


@pytest.mark.parametrize(
    "text",
    ["[]", "{", "[" * 100_000, '{"a": 1e999}', '{"a": "\\ud800"}', '{"a": ' + "9" * 99 + "}"],
)
def test_a_ledger_whose_record_is_not_json_is_refused(stored: Path, text: str) -> None:
    table = pq.read_table(stored).replace_schema_metadata({METADATA_KEY: text.encode()})
    pq.write_table(table, stored)
    with pytest.raises(LedgerError):
        read_ledger(stored)


def test_a_ledger_with_a_column_of_another_type_is_refused_before_it_is_read(stored: Path) -> None:
    table = pq.read_table(stored)
    for column in (table["pixels"].cast("string"), table["pixels"].cast("float64")):
        index = table.column_names.index("pixels")
        pq.write_table(table.set_column(index, "pixels", column), stored)
        with pytest.raises(LedgerError, match="expected the columns"):
            read_ledger(stored)


@pytest.mark.parametrize("make", [pipe, zeros, folder])
def test_a_ledger_that_is_not_a_regular_file_is_refused(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    make(tmp_path / "run" / "ledger.parquet")
    with pytest.raises(LedgerError):
        read_ledger(tmp_path / "run")


def test_a_pipe_in_place_of_run_json_is_refused(stored: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    shutil.move(stored, tmp_path / "run" / "ledger.parquet")
    os.mkfifo(tmp_path / "run" / "run.json")
    with pytest.raises(LedgerError, match=r"expected run\.json"):
        read_ledger(tmp_path / "run")


def test_a_ledger_is_read_as_it_was_written(stored: Path) -> None:
    assert json.loads(json.dumps(dict(read_ledger(stored).provenance))) == make_ledger().provenance


# --- Datasets and predictions -------------------------------------------------------------------

PREDICTION = "preds/spring_500_p_1.tif"
MASK = "data/test/cloudmask_spring/cloudmask_spring_500/cloudmask_spring_500_p_1.npy"
CLOUDY = "data/test/planet_cloudy_spring/planet_cloudy_spring_500/planet_cloudy_spring_500_p_1.tif"
EVALUATE = ["evaluate", "preds", "--data", "data", "--workers", "0"]


@pytest.fixture
def own(data: Path, preds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset and predictions of one's own, free to be broken."""
    assert preds.parent == tmp_path
    shutil.copytree(data, tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (PREDICTION, EVALUATE),
        (PREDICTION, ["gallery", "data", "preds", "--out", "g.png"]),
        (PREDICTION, ["submit", "pack", "preds", "--card", "card.toml", "--data", "data"]),
        ("preds/predictions.toml", EVALUATE),
        ("list.csv", [*EVALUATE, "--list", "list.csv"]),
        (MASK, EVALUATE),
        (MASK, ["check", "data", "--workers", "0"]),
        (CLOUDY, EVALUATE),
        (CLOUDY, ["predict", "mean-fill", "--data", "data", "--out", "out", "--workers", "0"]),
        ("data/dataset.toml", EVALUATE),
    ],
)
@pytest.mark.parametrize("make", [pipe, zeros])
def test_no_command_waits_for_special_files(
    own: Path, place: str, words: list[str], make: Callable[[Path], None]
) -> None:
    card = RUNS / "mean-fill/card.toml"
    shutil.copyfile(card, own / "card.toml")
    (own / place).unlink(missing_ok=True)
    make(own / place)
    code, message = refused(*words)
    assert code == 1
    if words[0] != "check":  # tells it on standard output
        assert message.startswith("error: ")
    expect_plain(message)


@pytest.mark.parametrize("kind", ["npz", "structured", "huge", "broken", "objects"])
@pytest.mark.parametrize(
    "words", [EVALUATE, ["submit", "pack", "preds", "--card", "c", "--data", "data"]]
)
def test_invalid_arrays_are_refused_per_file(own: Path, words: list[str], kind: str) -> None:
    card = RUNS / "mean-fill/card.toml"
    shutil.copyfile(card, own / "c")
    (own / PREDICTION).unlink()
    path = (own / PREDICTION).with_suffix(".npy")
    with path.open("wb") as stream:
        if kind == "npz":
            np.savez(stream, np.zeros(3))
        elif kind == "structured":
            np.save(stream, np.zeros(4, [("a", "u2")]))
        elif kind == "objects":
            np.save(stream, np.array([{}]), allow_pickle=True)
        else:
            shape = "(4, 20000, 20000)" if kind == "huge" else "(((("
            head = f"{{'descr': '<u2', 'fortran_order': False, 'shape': {shape}}}".encode()
            stream.write(b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head)
    code, message = refused(*words)
    assert code == 1
    assert len(message.splitlines()) == 2
    assert path.name in message
