"""Lists of predictions: what is written is read, what a stranger writes is sound or named."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paths import RUNS
from planetcr_bench.errors import SubmissionError
from planetcr_bench.results.ledger import Ledger, read_ledger
from planetcr_bench.submission.manifest import (
    LARGEST_MANIFEST,
    MOST_FILES,
    Listed,
    digests_of,
    list_predictions,
    manifest_faults,
    read_manifest,
    write_manifest,
)

RUN = RUNS / "mean-fill"
GOOD = {"scene": "fall_1_p_2", "name": "fall_1_p_2.tif", "bytes": 9, "sha256": "0a" * 32}


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    return read_ledger(RUN)


def listed_of(ledger: Ledger) -> list[Listed]:
    digests = sorted(digests_of(ledger).items())
    return [Listed(scene, f"{scene}.tif", 9, digest) for scene, digest in digests]


def sent(folder: Path, *files: object, **head: object) -> Path:
    path = folder / "manifest.json"
    path.write_text(json.dumps({"manifest": 1, "files": files, **head}))
    return path


def refusal(path: Path) -> str:
    """Why a manifest is refused, a line for each fault."""
    with pytest.raises(SubmissionError) as refused:
        read_manifest(path)
    assert str(path) in refused.value.message
    assert all(line.startswith(f"{path}: file ") for line in refused.value.problems)
    assert all(len(line) < 300 for line in refused.value.problems)
    return "\n".join(refused.value.problems) or refused.value.message


# --- Honest ones --------------------------------------------------------------------------------


def test_what_is_written_is_read_and_written_alike(tmp_path: Path, ledger: Ledger) -> None:
    path = tmp_path / "manifest.json"
    listed = listed_of(ledger)
    write_manifest(path, listed)
    first = path.read_bytes()
    assert read_manifest(path) == listed
    write_manifest(path, read_manifest(path))
    assert path.read_bytes() == first
    assert len(first.splitlines()) == len(listed) + 2
    assert len(first) / len(listed) * MOST_FILES < LARGEST_MANIFEST
    assert list(tmp_path.iterdir()) == [path]


def test_a_manifest_of_nothing_is_read(tmp_path: Path) -> None:
    write_manifest(tmp_path / "manifest.json", [])
    assert read_manifest(tmp_path / "manifest.json") == []


@pytest.mark.parametrize("ending", ["tif", "tiff", "npy"])
def test_each_kind_of_image_may_be_listed(tmp_path: Path, ending: str) -> None:
    (one,) = read_manifest(sent(tmp_path, {**GOOD, "name": f"fall_1_p_2.{ending}"}))
    assert one == Listed("fall_1_p_2", f"fall_1_p_2.{ending}", 9, "0a" * 32)


def test_predictions_are_listed_by_scene_with_their_sizes_and_digests(
    tmp_path: Path, ledger: Ledger
) -> None:
    scenes = sorted(digests_of(ledger))[:3]
    files = [(scenes[2], "b.TIF"), (scenes[0], "c.npy"), ("fall_0_p_999", "d.tif"),
             (scenes[1], "a.Tiff")]  # fmt: skip
    for number, (_, name) in enumerate(files):
        (tmp_path / name).write_bytes(bytes(number + 1))
    listed = list_predictions(ledger, ((scene, tmp_path / name) for scene, name in files))
    assert [(one.name, one.bytes) for one in listed] == [
        (f"{scenes[0]}.npy", 2), (f"{scenes[1]}.tiff", 4), (f"{scenes[2]}.tif", 1),
    ]  # fmt: skip
    frame = ledger.frame.astype({"scene": str, "prediction_sha256": str})
    for one in listed:
        assert set(frame.loc[frame["scene"] == one.scene, "prediction_sha256"]) == {one.sha256}
    write_manifest(tmp_path / "manifest.json", listed)
    assert read_manifest(tmp_path / "manifest.json") == listed


# --- Strangers' ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"more": 1}, "expected scene, name, bytes, sha256"),
        ({"__class__": "x"}, "expected scene, name, bytes, sha256"),
        ({"scene": None}, "scene: expected str"),
        ({"name": ["fall_1_p_2.tif"]}, "name: expected str"),
        ({"bytes": True}, "bytes: expected int"),
        ({"bytes": 9.0}, "bytes: expected int"),
        ({"bytes": "9"}, "bytes: expected int"),
        ({"sha256": {}}, "sha256: expected str"),
        ({"sha256": 10**29}, "sha256: expected str"),
        ({"bytes": 0}, "bytes: expected more than none, got 0"),
        ({"bytes": -(10**29)}, "bytes: expected more than none, got -1000"),
        ({"bytes": -1}, "bytes: expected more than none, got -1"),
        ({"sha256": "0A" * 32}, "sha256: expected 64 hexadecimal digits"),
        ({"sha256": "0a" * 31}, "sha256: expected 64 hexadecimal digits"),
        ({"sha256": "0a" * 32 + "\n"}, "sha256: expected 64 hexadecimal digits"),
        ({"sha256": ""}, "sha256: expected 64 hexadecimal digits"),
        ({"sha256": "\x1b[31m" * 100_000}, "sha256: expected 64 hexadecimal digits"),
        ({"scene": "fall_1_p_3"}, "expected a scene and its file"),
        ({"scene": ""}, "expected a scene and its file"),
    ],
)
def test_a_fault_of_a_file_is_named(tmp_path: Path, change: dict, reason: str) -> None:
    text = refusal(sent(tmp_path, GOOD, {**GOOD, **change}))
    assert f"manifest.json: file 2: {reason}" in text
    assert len(text.splitlines()) == 1
    assert text.isprintable()


@pytest.mark.parametrize("key", GOOD)
def test_a_file_without_one_of_its_facts_is_named(tmp_path: Path, key: str) -> None:
    one = {name: value for name, value in GOOD.items() if name != key}
    assert "file 1: expected scene, name, bytes, sha256" in refusal(sent(tmp_path, one))


@pytest.mark.parametrize(
    "name",
    [
        "../fall_1_p_2.tif",
        "/etc/fall_1_p_2.tif",
        "/etc/passwd",
        "a/fall_1_p_2.tif",
        "..\\fall_1_p_2.tif",
        "fall_1_p_2.exe",
        "fall_1_p_2.tif.exe",
        "fall_1_p_2.TIF",
        "fall_1_p_2.tif\n",
        "fall_1_p_2.tif\0",
        "fall_1_p_2",
        ".tif",
        "",
        "x" * 100_000,
    ],
)
def test_a_name_that_is_not_of_its_scene_is_named(tmp_path: Path, name: str) -> None:
    assert "expected a scene and its file" in refusal(sent(tmp_path, {**GOOD, "name": name}))


@pytest.mark.parametrize(
    "scene",
    [
        "",
        "../x",
        "/etc/x",
        "Fall_1_p_2",
        "fall_1_p_٢",
        "fall_1_p_-1",
        "fall_1",
        "x" * 300 + "_1_p_2",
        "fall_1_p_" + "9" * 300,
    ],
)
def test_a_scene_that_cannot_be_one_is_named(tmp_path: Path, scene: str) -> None:
    """A name longer than file systems take is one, and digits of other scripts are none."""
    one = {**GOOD, "scene": scene, "name": f"{scene}.tif"}
    assert "expected a scene and its file" in refusal(sent(tmp_path, one))


def test_every_fault_is_listed_at_once(tmp_path: Path) -> None:
    bad = {"scene": "fall_1_p_3", "name": "../x.tif", "bytes": -1, "sha256": "x"}
    wrong_types = dict.fromkeys(GOOD, False)
    lines = refusal(sent(tmp_path, bad, GOOD, wrong_types, [], None)).splitlines()
    numbers = [line.split("file ")[1].split(":")[0] for line in lines]
    assert numbers == ["1"] * 3 + ["3"] * 4 + ["4", "5"]


@pytest.mark.parametrize("order", [[0, 0], [1, 0], [0, 1, 0], [0, 2, 1]])
def test_scenes_come_once_and_in_order(tmp_path: Path, order: list[int]) -> None:
    files = [{**GOOD, "scene": f"fall_1_p_{n}", "name": f"fall_1_p_{n}.tif"} for n in range(3)]
    text = refusal(sent(tmp_path, *(files[index] for index in order)))
    assert "each scene once and in order" in text


def test_a_scene_with_files_of_two_kinds_is_refused(tmp_path: Path) -> None:
    text = refusal(sent(tmp_path, {**GOOD, "name": "fall_1_p_2.npy"}, GOOD))
    assert "each scene once and in order" in text


@pytest.mark.parametrize(
    "head",
    [
        {"manifest": 2},
        {"manifest": 0},
        {"manifest": "1"},
        {"manifest": True},
        {"manifest": None},
        {"manifest": [1]},
        {"manifest": {"1": 1}},
        {"more": 1},
        {"files": {}},
        {"files": None},
        {"files": "files"},
        {"files": 10**29},
    ],
)
def test_another_version_or_head_is_refused(tmp_path: Path, head: dict) -> None:
    assert 'expected {"manifest": 1, "files": […]}' in refusal(sent(tmp_path, GOOD, **head))


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{}", b'{"manifest": 1}', b"\xff", b" " * (LARGEST_MANIFEST + 1)]
)
def test_what_is_no_manifest_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "manifest.json").write_bytes(text)
    assert refusal(tmp_path / "manifest.json").startswith(f"{tmp_path}/manifest.json: expected")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text() | st.sampled_from(list(GOOD.values())),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from([*GOOD, "more"]) | st.text(), inner, max_size=5)
    | st.fixed_dictionaries(dict.fromkeys(GOOD, inner)),
    max_leaves=12,
)  # fmt: skip


@given(st.data())
def test_any_files_are_sound_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    one = {key: st.just(value) | VALUES for key, value in GOOD.items()}
    files = data.draw(st.lists(VALUES | st.fixed_dictionaries(one), max_size=4) | VALUES)
    path = tmp_path_factory.getbasetemp() / "manifest.json"
    path.write_text(json.dumps({"manifest": data.draw(st.just(1) | VALUES), "files": files}))
    try:
        listed = read_manifest(path)
    except SubmissionError:
        return
    assert [asdict(one) for one in listed] == files


# --- Beside a ledger ----------------------------------------------------------------------------


def test_the_manifest_of_a_ledger_fits_it(ledger: Ledger) -> None:
    assert manifest_faults(listed_of(ledger), ledger) == []


def test_a_scene_of_the_ledger_alone_is_named(ledger: Ledger) -> None:
    first, second, *others = listed_of(ledger)
    assert manifest_faults([second, *others], ledger) == [
        f"1 scenes are in the ledger alone, first {first.scene}"
    ]
    (line,) = manifest_faults([], ledger)
    assert line == f"{len(others) + 2} scenes are in the ledger alone, first {first.scene}"


def test_every_way_of_not_fitting_is_named_at_once(ledger: Ledger) -> None:
    first, second, third, *others = listed_of(ledger)
    swapped = [
        Listed(second.scene, second.name, 9, third.sha256),
        Listed(third.scene, third.name, 9, second.sha256),
    ]
    surplus = Listed("fall_0_p_999", "fall_0_p_999.tif", 9, first.sha256)
    assert manifest_faults([*swapped, *others, surplus], ledger) == [
        f"1 scenes are in the ledger alone, first {first.scene}",
        "1 scenes are in the manifest alone, first fall_0_p_999",
        f"sha256: 2 are not the ledger's, first of {second.scene}",
    ]


def test_a_list_without_end_is_refused_in_one_line(tmp_path: Path) -> None:
    text = json.dumps({"manifest": 1, "files": [0] * (MOST_FILES + 1)})
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(SubmissionError, match=f"expected at most {MOST_FILES} files") as refused:
        read_manifest(tmp_path / "manifest.json")
    assert refused.value.problems == ()
