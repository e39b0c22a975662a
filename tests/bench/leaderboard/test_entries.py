"""Test that valid entries are shown and broken ones are named."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from boards import make_card, put
from ledgers import make_ledger
from paths import ROOT
from planetcr_bench.errors import LedgerError, SubmissionError
from planetcr_bench.leaderboard.card import read_entry_card
from planetcr_bench.leaderboard.entries import read_entries, runs_named
from planetcr_bench.leaderboard.ledgers import LARGEST_LEDGER, _decode, record_errors
from planetcr_bench.results.files import SAMPLES
from planetcr_models.weights.pretrained import FOLDER


def test_entries_come_with_card_and_status_in_the_order_of_their_folders(tmp_path: Path) -> None:
    put(tmp_path, make_ledger("b"), card=make_card("Bee", sar=True), status="verified")
    put(tmp_path, make_ledger("a"))
    entries, problems = read_entries(tmp_path)
    assert problems == []
    assert [(entry.name, entry.method, entry.status) for entry in entries] == [
        ("a", "a", "claimed"),
        ("b", "Bee", "verified"),
    ]


def spoil_ledger(folder: Path) -> None:
    data = bytearray((folder / "ledger.parquet").read_bytes())
    data[len(data) // 3] ^= 255
    (folder / "ledger.parquet").write_bytes(bytes(data[: len(data) // 2]))


def swap_run(folder: Path) -> None:
    run = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**run, "complete": False}))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (spoil_ledger, "cannot be read"),
        (swap_run, "complete: expected true as in the ledger"),
        (lambda folder: (folder / "run.json").unlink(), "did not finish"),
        (lambda folder: (folder / "ledger.parquet").unlink(), "found none"),
        (lambda folder: (folder / "run.json").write_text("{"), "expected JSON"),
        (lambda folder: (folder / "run.json").write_bytes(b"\xff"), "expected text in UTF-8"),
        (lambda folder: (folder / "run.json").write_text("[]"), "expected an object"),
        (lambda folder: (folder / "card.toml").write_text("methd = 1"), "method"),
        (lambda folder: (folder / "status.json").write_text('{"status": "best"}'), "'best'"),
        (
            lambda folder: (folder / "status.json").write_text('{"status": "verified"}'),
            "of another one",
        ),
        (lambda folder: (folder / "samples.jpg").write_text("<svg>"), "expected a JPEG"),
    ],
)
def test_a_broken_folder_is_named_and_left_out(tmp_path: Path, spoil, reason) -> None:
    put(tmp_path, make_ledger("good"))
    folder = put(tmp_path, make_ledger("broken"))
    spoil(folder)
    entries, problems = read_entries(tmp_path)
    assert [entry.name for entry in entries] == ["good"]
    assert len(problems) == 1
    assert str(folder) in problems[0]
    assert reason in problems[0]


def test_two_runs_of_one_name_in_a_track_are_both_left_out(tmp_path: Path) -> None:
    put(tmp_path / "x", make_ledger("same"))
    put(tmp_path / "y", make_ledger("same", seed=1))
    put(tmp_path / "y", make_ledger("same", track="other"))
    entries, problems = read_entries(tmp_path)
    assert [entry.run["track"] for entry in entries] == ["other"]
    assert "expected one run same in track fake" in problems[0]


def test_unfinished_runs_are_not_entries(tmp_path: Path) -> None:
    put(tmp_path, make_ledger("good"))
    put(tmp_path / ".hidden", make_ledger("other"))
    assert len(read_entries(tmp_path)[0]) == 1


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="no such folder"):
        read_entries(tmp_path / "none")


# --- Folders from strangers -------------------------------------------------------------------

RECORD_OF_ONE = make_ledger("odd", scenes=1, segmenters=("j1",)).provenance
ODD_VALUES = [None, True, -1, 10**25, 1e300, "", "\x1b[31m", "x" * 2000, [[]], {"a": {"b": 1}}]
PASSES = {
    ("simulation", None), ("simulation", ""), ("scale", None), ("method", None), ("method", ""),
    ("complete", True), ("optical_thickness", True),
}  # fmt: skip
"""Odd values that mean something."""


@pytest.mark.parametrize("key", sorted(RECORD_OF_ONE))
def test_every_key_of_a_record_has_a_type_and_a_rule(key: str) -> None:
    assert record_errors(RECORD_OF_ONE) == []
    less = {name: value for name, value in RECORD_OF_ONE.items() if name != key}
    assert record_errors(less)
    for value in ODD_VALUES:
        passes = any(key == name and value is known for name, known in PASSES)
        assert bool(record_errors({**RECORD_OF_ONE, key: value})) != passes, (key, value)


@pytest.mark.parametrize(
    "change",
    [
        {"protocols": {"official": 1}},
        {"protocols": {"none": "such"}},
        {"protocols": {}},
        {"segmenters": {"j1": None}},
        {"segmenters": {"j1": {"name": [], "sha256": {}}}},
        {"segmenters": {"../j": {"name": "x", "sha256": "x"}}},
        {"scenes": 2},
        {"scenes": 0, "expected_scenes": 0},
        {"expected_scenes": 10**9, "complete": False},
        {"scale": 0},
        {"input_window": "170"},
        {"input_window": ["160"]},
        {"simulation": "<script>"},
    ],
)
def test_values_within_a_record_are_looked_at(change: dict) -> None:
    assert record_errors({**RECORD_OF_ONE, **change})


def test_every_column_has_its_type(tmp_path: Path) -> None:
    """In this process, which is quicker."""
    folder = put(tmp_path, make_ledger("odd", scenes=1))
    table = pq.read_table(folder / "ledger.parquet")
    count = len(table)
    others = [
        pa.array([{"a": 1}] * count), pa.array([[1]] * count), pa.array(["x"] * count),
        pa.array([True] * count), pa.array([1.5] * count, pa.float32()), pa.nulls(count),
        pa.array([b"\xff"] * count),
    ]  # fmt: skip
    for index, name in enumerate(table.column_names):
        for other in [others[index % len(others)], others[(index + 3) % len(others)]]:
            column = pa.field(name, other.type)
            pq.write_table(table.set_column(index, column, other), folder / "ledger.parquet")
            with pytest.raises(SubmissionError) as refused:
                _decode(folder / "ledger.parquet")
            assert any(f"{name}: expected" in line for line in refused.value.problems)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"aoi": "one", "scene": "one"}, "expected 3 scenes as its record says"),
        (
            {"prediction_sha256": [str(row) for row in range(10**4)]},
            "one AOI, cloud cover and pred",
        ),
        ({"squared_error": 1e31}, "expected sums of at most 1e+30"),
        ({"ndvi_pixels": 2**62}, "expected counts of at most 1e+12"),
        ({"ssim": float("inf")}, "expected finite sums"),
    ],
)
def test_rows_that_cannot_be_shown_are_named(tmp_path: Path, change: dict, reason: str) -> None:
    ledger = make_ledger("odd", scenes=3)
    rows = len(ledger.frame)
    columns = {
        name: values[:rows] if isinstance(values, list) else values
        for name, values in change.items()
    }
    frame = ledger.frame.assign(**columns)
    if "scene" in change:
        frame = frame.drop_duplicates(["scene", "protocol", "land_cover", "region", "thickness"])
    put(tmp_path, replace(ledger, frame=frame))
    entries, (problem,) = read_entries(tmp_path)
    assert entries == []
    assert reason in problem


def test_each_scene_is_measured_in_every_protocol(tmp_path: Path) -> None:
    """Else an AOI would be on the page of one protocol, and its segmenters not."""
    ledger = make_ledger("odd", scenes=6)
    frame = ledger.frame[(ledger.frame["protocol"] == "official") | (ledger.frame["patch"] < 3)]
    put(tmp_path, replace(ledger, frame=frame))
    assert "each scene in every protocol" in read_entries(tmp_path)[1][0]


def fifo(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def directory(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


def device(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/zero")


def link_to_itself(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(path.name)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no FIFOs")
@pytest.mark.parametrize(
    "name", ["ledger.parquet", "run.json", "card.toml", "status.json", SAMPLES]
)
@pytest.mark.parametrize("make", [fifo, directory, device, link_to_itself])
def test_anything_but_a_regular_file_is_named_and_never_read(
    tmp_path: Path, name: str, make
) -> None:
    folder = put(tmp_path, make_ledger("odd", scenes=1), card=make_card("Odd"))
    make(folder / name)
    entries, (problem,) = read_entries(tmp_path)
    assert entries == []
    assert str(folder / name) in problem
    assert "expected a regular file" in problem or "cannot be read" in problem
    assert runs_named(tmp_path, "fake", "odd") == ([] if name == "run.json" else [folder])


@pytest.mark.parametrize(
    "text",
    [
        b'{"name": NaN}', b'{"a": ' + b"9" * 5000 + b"}", b'{"a": ' + b"[" * 10_000,
        b'{"a": "\\ud800"}', b" " * 3_000_000, b"\x00",
    ],
)  # fmt: skip
def test_a_bomb_in_place_of_a_record_is_named(tmp_path: Path, text: bytes) -> None:
    folder = put(tmp_path, make_ledger("odd", scenes=1))
    for name in ("status.json", "run.json"):
        (folder / name).write_bytes(text)
        _, (problem,) = read_entries(tmp_path)
        assert name in problem
        assert len(problem) < 600
    assert runs_named(tmp_path, "fake", "odd") == []


def test_links_to_folders_are_named_and_not_followed(tmp_path: Path) -> None:
    put(tmp_path / "results", make_ledger("good", scenes=1))
    put(tmp_path / "elsewhere", make_ledger("linked", scenes=1))
    for name, target in (("here", "."), ("up", ".."), ("other", "../elsewhere"), ("me", "me")):
        (tmp_path / "results" / name).symlink_to(target)
    (tmp_path / "results" / "notes.md").symlink_to("fake/good/run.json")
    entries, problems = read_entries(tmp_path / "results")
    assert [entry.name for entry in entries] == ["good"]
    reasons = {Path(line.partition(": ")[0]).name: line for line in problems}
    assert sorted(reasons) == ["here", "me", "other", "up"]
    assert "leads nowhere" in reasons.pop("me")
    assert all("does not follow" in line for line in reasons.values())


def test_a_ledger_is_decoded_under_the_limits_of_submitted_entries(tmp_path: Path) -> None:
    folder = put(tmp_path, make_ledger("bomb", scenes=1))
    table = pq.read_table(folder / "ledger.parquet")
    texts = pa.DictionaryArray.from_arrays(np.zeros(len(table), np.int32), ["x" * 200])
    index = table.column_names.index("aoi")
    table = table.set_column(index, pa.field("aoi", texts.type), texts)
    pq.write_table(table, folder / "ledger.parquet")
    assert "aoi: expected texts of at most 100 bytes" in read_entries(tmp_path)[1][0]
    with (folder / "ledger.parquet").open("wb") as stream:
        stream.truncate(LARGEST_LEDGER + 1)
    assert f"expected at most {LARGEST_LEDGER:,} bytes" in read_entries(tmp_path)[1][0]


def test_names_of_folders_are_printed_without_control_characters(tmp_path: Path) -> None:
    odd = tmp_path / "a\x1b[2J\nb"
    put(odd, make_ledger("shown", scenes=1))
    (put(odd, make_ledger("broken", scenes=1)) / "run.json").write_text("{\x1b")
    (entry,), (problem,) = read_entries(tmp_path)
    assert entry.folder == "a\\x1b[2J\\nb/fake/shown"
    assert problem.isprintable()


def test_run_json_of_other_types_is_another_run(tmp_path: Path) -> None:
    folder = put(tmp_path, make_ledger("odd", scenes=1))
    run = json.loads((folder / "run.json").read_text())
    for change, reason in (({"complete": 1}, "complete"), ({"command": ["x"]}, "command")):
        (folder / "run.json").write_text(json.dumps({**run, **change}))
        assert f"{reason}" in read_entries(tmp_path)[1][0]


REFERENCE = ROOT / "results/sim-v1"


@pytest.mark.parametrize("run", sorted(REFERENCE.glob("*-small")), ids=lambda path: path.name)
def test_reference_runs_say_what_the_cards_of_their_weights_say(run: Path) -> None:
    method = run.name.removesuffix("-small")
    folder = FOLDER / ("sim-v1-small-no-sar" if method == "dsen2_cr_no_sar" else "sim-v1-small")
    file = "dsen2_cr" if method == "dsen2_cr_no_sar" else method
    weights = json.loads((folder / f"{file}.json").read_text())
    minutes, steps = f"{weights['minutes']:.0f} minutes", f"{weights['steps']:,} steps"
    card = read_entry_card(run / "card.toml")
    assert card.training == f"small, trained for {minutes} on one CPU core ({steps})"
    assert card.parameters == weights["parameters"]
    assert f"{weights['training_scenes']:,} scenes" in card.training_data
    segmenter = json.loads((FOLDER / "sim-v1-small/segmenter.json").read_text())
    assert segmenter["sha256"] in (run / "run.json").read_text()


def test_every_run_of_the_repository_is_on_the_board() -> None:
    entries, problems = read_entries(ROOT / "results")
    assert problems == []
    assert {entry.status for entry in entries} == {"verified"}
    assert len(entries) == len(list(REFERENCE.glob("*/run.json"))) == 12
