"""Test that valid archives are unpacked exactly and every attack is named."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from planetcr_bench.errors import SubmissionError
from planetcr_bench.submission.archive import FILES, Limits, is_entry, open_entry

IMAGE = "predictions/fall_1_p_2.npy"
ENTRY = {
    "card.toml": b"method = 'x'\n",
    "ledger.parquet": bytes(range(256)) * 700,
    "run.json": b"{}",
    "report.md": b"",
    "predictions/predictions.toml": b"",
    IMAGE: b"y",
}
LITTER = {
    "__MACOSX/entry/._card.toml": b"\0\5\26\7", "entry/.DS_Store": b"Bud1",
    "entry/Thumbs.db": b"", "__MACOSX/../../../run.py": b"import os",
}  # fmt: skip
FEW = Limits(files=8, total_bytes=3_000_000, file_bytes=2_000_000, ratio=50)

pytestmark = pytest.mark.filterwarnings("ignore:Duplicate name")


def inside(files: Mapping[str, bytes], folder: str = "entry") -> dict[str, bytes]:
    return {f"{folder}/{name}": content for name, content in files.items()}


def zipped(path: Path, files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def written(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def patched(path: Path, signature: bytes, offset: int, value: bytes) -> Path:
    """Overwrite bytes of the last header of a kind, as an attacker with an editor would."""
    content = bytearray(path.read_bytes())
    start = content.rindex(signature) + offset
    content[start : start + len(value)] = value
    path.write_bytes(content)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def refusal(path: Path, limits: Limits = FEW) -> str:
    """Why a folder or archive is refused, which must write nothing beside the target."""
    target = path.parent / "target"
    before = sorted(path.parent.rglob("*"))
    with pytest.raises(SubmissionError) as refused:
        open_entry(path, target, limits=limits)
    after = sorted(path.parent.rglob("*"))
    assert [file for file in after if target not in (file, *file.parents)] == before
    assert str(path) in refused.value.message
    assert refused.value.message.isprintable()
    return "\n".join(refused.value.problems) or refused.value.message


@pytest.mark.parametrize("files", [ENTRY, inside(ENTRY), {**LITTER, **inside(ENTRY)}])
@pytest.mark.parametrize("name", ["a.zip", "a.ZIP", "folder"])
def test_an_entry_comes_out_byte_for_byte(
    tmp_path: Path, name: str, files: dict[str, bytes]
) -> None:
    make = zipped if name != "folder" else written
    files = files if name != "folder" else {key: files[key] for key in files if ".." not in key}
    folder = open_entry(make(tmp_path / name, files), tmp_path / "out")
    unpacked = contents(folder)
    assert {**unpacked, **ENTRY} == unpacked
    assert unpacked.keys() - ENTRY <= {".DS_Store", "Thumbs.db"}
    if name != "folder":
        assert contents(tmp_path / "out") == ENTRY  # litter is never unpacked
    assert not list(tmp_path.parent.rglob("run.py"))


@pytest.mark.parametrize(
    "name",
    [
        "/etc/card.toml", "../card.toml", "a/../../card.toml", "..\\card.toml", "C:/card.toml",
        "./card.toml", "a//card.toml", ".git/card.toml", "card.toml\0.py", "c\x1b[31m/card.toml",
        "run.py", "CARD.TOML", "notes.md", "inner.zip", "more/notes.md", "predictions/evil.py",
        "predictions/sub/fall_1_p_2.npy", "predictions/fall_1_p_2.npy.exe",
        "predictions/" + "a" * 300 + "_1_p_2.npy", "predictions/fall_1_p_٢.npy",
    ],
)  # fmt: skip
def test_a_name_that_no_entry_has_is_refused(tmp_path: Path, name: str) -> None:
    archive = zipped(tmp_path / "a.zip", {**ENTRY, name.replace("\0", "X"): b"x"})
    if "\0" in name:
        archive.write_bytes(archive.read_bytes().replace(b"card.tomlX.py", b"card.toml\0.py"))
    (line,) = refusal(archive, Limits()).splitlines()
    assert "expected only card.toml, ledger.parquet" in line
    assert line.isprintable()


@pytest.mark.parametrize("name", ["../card.toml", "/etc/card.toml", ".git/card.toml"])
def test_a_folder_that_is_none_is_no_folder_of_an_entry(tmp_path: Path, name: str) -> None:
    assert "expected only card.toml" in refusal(zipped(tmp_path / "a.zip", {name: b"x"}))
    assert not (tmp_path / "card.toml").exists()


@pytest.mark.parametrize("other", [IMAGE, IMAGE.replace("npy", "NPY")])
def test_two_files_of_one_name_are_refused(tmp_path: Path, other: str) -> None:
    archive = zipped(tmp_path / "a.zip", {**ENTRY, "predictions/fall_1_p_3.npy": b""})
    with zipfile.ZipFile(archive, "a") as more:
        more.writestr(other, b"x")
    assert "expected each name once" in refusal(archive)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFDIR])
def test_a_member_that_is_no_plain_file_is_refused(tmp_path: Path, kind: int) -> None:
    member = zipfile.ZipInfo("card.toml")
    member.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(member, b"content")
    assert "expected a plain file, got a link" in refusal(tmp_path / "a.zip")


def lie(claimed: int) -> Callable[[Path], Path]:
    """The last member says another size, and has the checksum that so many zeros would have."""

    def change(path: Path) -> Path:
        crc = struct.pack("<L", zlib.crc32(bytes(claimed)))
        for signature, at in ((b"PK\3\4", 14), (b"PK\1\2", 16)):
            patched(path, signature, at, crc)
            patched(path, signature, at + 8, struct.pack("<L", claimed))
        return path

    return change


def many_members(path: Path) -> Path:
    content = bytearray(path.read_bytes())
    listed, end = content.index(b"PK\1\2"), content.index(b"PK\5\6")
    content[end:end] = content[listed:end] * 40_000
    start = content.rindex(b"PK\5\6")
    content[start + 12 : start + 16] = struct.pack("<L", start - listed)
    path.write_bytes(content)
    return path


def rewritten(change: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    def apply(path: Path) -> Path:
        path.write_bytes(change(path.read_bytes()))
        return path

    return apply


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda path: patched(path, b"PK\1\2", 8, b"\1\0"), "cannot be read"),  # encrypted
        (lambda path: patched(path, b"PK\1\2", 10, b"\x63\0"), "another method"),
        (lambda path: patched(path, b"PK\1\2", 10, b"\x0e\0"), "another method"),  # LZMA
        (lie(30_000), "cannot be read"),
        (lie(200_000), "cannot be read"),
        (lambda path: patched(path, b"PK\1\2", 24, b"\0\0\3"), "expected 196608 bytes, got 179200"),
        (many_members, "a list of members of"),
        (rewritten(lambda content: content[:-1]), "cannot be read"),
        (rewritten(lambda content: content[: len(content) // 2]), "cannot be read"),
        (rewritten(lambda content: content.replace(b"\0\1\2\3", b"\0\1\2\4")), "cannot be read"),
        (rewritten(lambda content: b"#!/bin/sh\n" + content), "not a zip"),
        (rewritten(lambda _: b""), "not a zip"),
        (rewritten(lambda _: b"\x1f\x8b" + bytes(100)), "not a zip"),
    ],
)
def test_a_broken_archive_is_refused(
    tmp_path: Path, change: Callable[[Path], Path], reason: str
) -> None:
    others = {name: b"x" for name in FILES if name != "ledger.parquet"}
    files = {**others, "ledger.parquet": ENTRY["ledger.parquet"]}  # the last one is changed
    archive = zipped(tmp_path / "a.zip", files, zipfile.ZIP_STORED)
    assert reason in refusal(change(archive))


@pytest.mark.parametrize("make", [zipped, written])
def test_sizes_and_numbers_beyond_the_limits_are_named_at_once(
    tmp_path: Path, make: Callable[[Path, Mapping[str, bytes]], Path]
) -> None:
    files = {f"predictions/fall_1_p_{number}.npy": b"" for number in range(7)}
    noise = os.urandom(2_000_001)
    path = make(tmp_path / "a.zip", {"ledger.parquet": noise, "report.md": noise[1:], **files})
    lines = refusal(path).splitlines()
    assert lines[0].endswith("expected at most 2000000 bytes, got 2000001")
    assert lines[-2:] == [
        "expected at most 8 files, got more",
        "expected at most 3000000 bytes in all, got 4000001",
    ]


def test_a_bomb_is_refused_by_its_ratio(tmp_path: Path) -> None:
    bomb = zipped(tmp_path / "a.zip", {"ledger.parquet": bytes(1_000_001)})
    assert "expected at most 50 times its" in refusal(bomb)
    small = {**ENTRY, "report.md": bytes(1_000_000)}
    open_entry(zipped(tmp_path / "small.zip", small), tmp_path / "out", limits=FEW)


def test_members_without_end_are_refused(tmp_path: Path) -> None:
    litter = {f"__MACOSX/._{number}": b"" for number in range(3 * FEW.files)}
    assert "expected at most 8 files, got 25" in refusal(
        zipped(tmp_path / "a.zip", {**litter, "card.toml": b""})
    )


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.rar", "card.toml", "missing", "pipe.zip"])
def test_what_is_neither_a_folder_nor_a_zip_is_refused(tmp_path: Path, name: str) -> None:
    if name == "pipe.zip":
        os.mkfifo(tmp_path / name)
    elif name != "missing":
        zipped(tmp_path / name, ENTRY)
    assert "expected the folder of an entry or a .zip, got " in refusal(tmp_path / name)


def test_links_and_devices_of_a_folder_are_named_and_never_read(tmp_path: Path) -> None:
    folder = written(tmp_path / "entry", {"card.toml": b"", ".hidden/unseen.toml": b""})
    (folder / "predictions").symlink_to(tmp_path)
    (folder / "ledger.parquet").symlink_to("/etc/passwd")
    os.mkfifo(folder / "run.json")
    lines = refusal(folder)
    for name in ("predictions", "ledger.parquet", "run.json"):
        assert f"'{name}': expected " in lines
    assert lines.count("expected a plain file, got a link") == 3
    assert "'.hidden/unseen.toml': expected only" in lines
    (tmp_path / "link").symlink_to(folder)
    assert "expected the folder of an entry" in refusal(tmp_path / "link")


def test_an_empty_folder_is_no_entry(tmp_path: Path) -> None:
    (tmp_path / "entry").mkdir()
    assert "run.json: expected this file, found none" in refusal(tmp_path / "entry")


def test_a_report_may_be_left_out_and_nothing_else(tmp_path: Path) -> None:
    for name in FILES:
        others = {key: content for key, content in ENTRY.items() if key != name}
        assert is_entry(written(tmp_path / f"no {name}", others)) == (name == "report.md")


def test_only_an_entry_and_nothing_else_is_an_entry(tmp_path: Path) -> None:
    assert is_entry(written(tmp_path / "folder", ENTRY))
    assert is_entry(zipped(tmp_path / "a.zip", inside(ENTRY)))
    (tmp_path / "empty").mkdir()
    assert not is_entry(tmp_path / "empty")
    for name in ("thesis.txt", "predictions/holiday.tif", "notes/deep/a.toml"):
        assert not is_entry(written(tmp_path / name.replace("/", "-"), {**ENTRY, name: b"years"}))
        assert not is_entry(zipped(tmp_path / "b.zip", {**inside(ENTRY), f"entry/{name}": b""}))
    for kept in FILES:
        assert not is_entry(written(tmp_path / f"only {kept.replace('/', '-')}", {kept: b"x"}))
    whole = (tmp_path / "a.zip").read_bytes()
    for content in (b"years" + whole, whole[:-9], b"years", b""):
        (tmp_path / "c.zip").write_bytes(content)
        assert not is_entry(tmp_path / "c.zip")


def test_images_of_other_datasets_are_those_of_the_ledger(tmp_path: Path) -> None:
    table = pa.table({"scene": pa.array(["0001", "0002"]).dictionary_encode()})
    pq.write_table(table, tmp_path / "ledger")
    entry = {**ENTRY, "ledger.parquet": (tmp_path / "ledger").read_bytes()}
    for name, expected in (("0001", True), ("holiday", False)):
        files = {**entry, f"predictions/{name}.tif": b"x"}
        assert is_entry(written(tmp_path / name, files)) == expected
        assert is_entry(zipped(tmp_path / f"{name}.zip", inside(files))) == expected
