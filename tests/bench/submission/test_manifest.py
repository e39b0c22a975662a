"""Lists of predictions: what is written is read, what a stranger writes is sound or named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from paths import RUNS
from planetcr_bench.errors import SubmissionError
from planetcr_bench.results.ledger import Ledger, read_ledger
from planetcr_bench.submission.manifest import (
    LARGEST_MANIFEST,
    MOST_FILES,
    Listed,
    digests_of,
    list_predictions,
    manifest_errors,
    read_manifest,
    write_manifest,
)

GOOD = {"scene": "fall_1_p_2", "name": "fall_1_p_2.tif", "bytes": 9, "sha256": "0a" * 32}


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    return read_ledger(RUNS / "mean-fill")


@pytest.fixture(scope="module")
def listed(ledger: Ledger) -> list[Listed]:
    digests = sorted(digests_of(ledger).items())
    return [Listed(scene=scene, name=f"{scene}.tif", bytes=9, sha256=sha) for scene, sha in digests]


def sent(folder: Path, *files: object, **head: object) -> Path:
    path = folder / "manifest.json"
    path.write_text(json.dumps({"manifest": 1, "files": files, **head}))
    return path


def refusal(path: Path) -> list[str]:
    """Why a manifest is refused, a line for each error."""
    with pytest.raises(SubmissionError) as refused:
        read_manifest(path)
    lines = refused.value.problems or [refused.value.message]
    assert all(line.startswith(f"{path}: ") and len(line) < 400 for line in lines)
    return [line.removeprefix(f"{path}: ") for line in lines]


def test_what_is_written_is_read_and_written_alike(tmp_path: Path, listed: list[Listed]) -> None:
    path = tmp_path / "manifest.json"
    write_manifest(path, listed)
    first = path.read_bytes()
    assert read_manifest(path) == listed
    write_manifest(path, read_manifest(path))
    assert path.read_bytes() == first
    assert len(first.splitlines()) == len(listed) + 2
    assert len(first) / len(listed) * MOST_FILES < LARGEST_MANIFEST
    write_manifest(path, [])
    assert read_manifest(path) == []


def test_predictions_are_listed_by_scene_with_their_sizes_and_digests(
    tmp_path: Path, ledger: Ledger, listed: list[Listed]
) -> None:
    scenes = [one.scene for one in listed]
    names = {scenes[2]: "b.TIF", scenes[0]: "c.npy", scenes[1]: "a.Tiff"}
    for size, name in enumerate(names.values(), 1):
        (tmp_path / name).write_bytes(bytes(size))
    found = list_predictions(ledger, {scene: tmp_path / name for scene, name in names.items()})
    assert [(one.name, one.bytes, one.sha256) for one in found] == [
        (f"{scenes[0]}.npy", 2, listed[0].sha256),
        (f"{scenes[1]}.tiff", 3, listed[1].sha256),
        (f"{scenes[2]}.tif", 1, listed[2].sha256),
    ]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"more": 1}, "files[1]: unknown key 'more'"),
        ({"scene": None}, "files[1].scene: expected text"),
        ({"scene": "../x"}, "files[1].scene: expected what matches"),
        ({"scene": "fall_1_p_٢"}, "files[1].scene: expected what matches"),
        ({"scene": "fall_1_p_" + "9" * 300}, "files[1].scene: expected what matches"),
        ({"scene": "fall_1_p_3"}, "files[1]: expected a file <scene>.tif"),
        ({"name": "../fall_1_p_2.tif"}, "files[1]: expected a file <scene>.tif"),
        ({"name": "fall_1_p_2.tif\n"}, "files[1]: expected a file <scene>.tif"),
        ({"name": "x" * 100_000}, "files[1]: expected a file <scene>.tif"),
        ({"bytes": True}, "files[1].bytes: expected a whole number"),
        ({"bytes": 0}, "files[1].bytes: expected a number above 0"),
        ({"sha256": "0A" * 32}, "files[1].sha256: expected what matches"),
        ({"sha256": "0a" * 32 + "\n"}, "files[1].sha256: expected what matches"),
        ({"sha256": "\x1b[31m" * 100_000}, "files[1].sha256: expected what matches"),
    ],
)
def test_an_error_of_a_file_is_named(tmp_path: Path, change: dict, reason: str) -> None:
    (line,) = refusal(sent(tmp_path, GOOD, {**GOOD, **change}))
    assert line.startswith(reason)
    assert line.isprintable()


def test_every_error_is_listed_at_once(tmp_path: Path) -> None:
    bad = {"scene": "Fall", "name": "../x.tif", "bytes": -1, "sha256": "x"}
    lines = refusal(sent(tmp_path, bad, GOOD, {}, []))
    places = [line.partition(": ")[0] for line in lines]
    assert places == [
        *(f"files[0].{key}" for key in ("scene", "bytes", "sha256")),
        *(f"files[2].{key}" for key in GOOD),
        "files[3]",
    ]


@pytest.mark.parametrize("order", [[0, 0], [1, 0], [0, 1, 0], [0, 2, 1]])
def test_scenes_come_once_and_in_order(tmp_path: Path, order: list[int]) -> None:
    files = [{**GOOD, "scene": f"fall_1_p_{n}", "name": f"fall_1_p_{n}.tif"} for n in range(3)]
    (line,) = refusal(sent(tmp_path, *(files[index] for index in order)))
    assert "each scene once and in order" in line


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"manifest": 2, "files": []}', "manifest: expected a number of at most 1"),
        ('{"manifest": true, "files": []}', "manifest: expected a whole number"),
        ('{"manifest": 1, "files": {}}', "files: expected a list"),
        ('{"manifest": 1}', "files: expected this key, found none"),
        ('{"manifest": 1, "files": [], "more": 1}', "unknown key 'more'"),
        ('{"manifest": 1, "files": [0' + ", 0" * MOST_FILES + "]}", "files: expected at most"),
        (" " * (LARGEST_MANIFEST + 1), "expected at most"),
    ],
)
def test_what_is_no_manifest_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    (line,) = refusal(tmp_path / "manifest.json")
    assert line.startswith(reason)


def test_every_way_of_not_fitting_a_ledger_is_named_at_once(
    ledger: Ledger, listed: list[Listed]
) -> None:
    assert manifest_errors(listed, ledger) == []
    first, second, third, *others = listed
    swapped = [
        second.model_copy(update={"sha256": third.sha256}),
        third.model_copy(update={"sha256": second.sha256}),
    ]
    surplus = first.model_copy(update={"scene": "fall_0_p_999"})
    assert manifest_errors([*swapped, *others, surplus], ledger) == [
        f"1 scenes are in the ledger alone, first {first.scene}",
        "1 scenes are in the manifest alone, first fall_0_p_999",
        f"2 of both have another SHA-256 in the ledger, first {second.scene}",
    ]
