"""Test that valid archives are unpacked exactly and every attack is named."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import shutil
import stat
import struct
import tarfile
import tempfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from planetcr_bench.errors import SubmissionError
from planetcr_bench.submission.archive import Limits, extract, inspect

ENTRY = {
    "entry/card.toml": b"method = 'x'\n",
    "entry/ledger/part-0.parquet": bytes(range(256)) * 700,
    "entry/ledger/empty.json": b"",
    "entry/Åsa 李雷.md": b"words",
}
FEW = Limits(files=5, total_bytes=3_000_000, file_bytes=2_000_000, ratio=50)

pytestmark = pytest.mark.filterwarnings("ignore:Duplicate name")


def zipped(path: Path, files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def zip_of(path: Path, *members: zipfile.ZipInfo) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for member in members:
            archive.writestr(member, b"content")
    return path


def tarred(path: Path, files: Mapping[str, bytes]) -> Path:
    mode = {".gz": "w:gz", ".tgz": "w:gz", ".xz": "w:xz", ".tar": "w:"}[path.suffix]
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def tar_of(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as archive:
        for member in members:
            archive.addfile(member)
    return path


def tar_member(name: str, **fields: object) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(member, field, value)
    return member


def patched(path: Path, signature: bytes, offset: int, value: bytes) -> Path:
    """Overwrite bytes of the first header of a kind, as an attacker with an editor would."""
    content = bytearray(path.read_bytes())
    start = content.index(signature) + offset
    content[start : start + len(value)] = value
    path.write_bytes(content)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def refusal(archive: Path, limits: Limits = FEW) -> str:
    """What is said of an archive that must leave nothing behind, within the target or beside it."""
    target = archive.parent / "deep" / "target"
    target.mkdir(parents=True)
    before = sorted(archive.parent.rglob("*"))
    with pytest.raises(SubmissionError) as refused:
        extract(archive, target, limits=limits)
    assert sorted(archive.parent.rglob("*")) == before
    assert str(archive) in refused.value.message
    assert refused.value.problems
    return "\n".join(refused.value.problems)


@pytest.mark.parametrize("name", ["a.zip", "a.ZIP", "a.tar", "a.tar.gz", "a.tgz", "a.tar.xz"])
def test_an_honest_archive_comes_out_byte_for_byte(tmp_path: Path, name: str) -> None:
    pack = zipped if name.lower().endswith("zip") else tarred
    (tmp_path / "out").mkdir()
    extract(pack(tmp_path / name, ENTRY), tmp_path / "out")
    assert contents(tmp_path / "out") == ENTRY
    inspect(tmp_path / "out" / "entry")


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.xz"])
def test_what_systems_leave_in_archives_is_passed_over_and_never_unpacked(
    tmp_path: Path, kind: str
) -> None:
    litter = {
        "__MACOSX/entry/._card.toml": b"\0\5\26\7", "entry/.DS_Store": b"Bud1",
        "entry/._card.toml": b"", "entry/Thumbs.db": b"", "entry/desktop.ini": b"",
        "entry/__MACOSX/../../../run.py": b"import os", "entry/a.tif.aux.xml": b"<PAMDataset/>",
    }  # fmt: skip
    (tmp_path / "out").mkdir()
    pack = zipped if kind == "zip" else tarred
    archive = pack(tmp_path / f"a.{kind}", {**litter, "entry/card.toml": b"x", "entry/a.TIF": b"y"})
    extract(archive, tmp_path / "out")
    assert contents(tmp_path / "out") == {"entry/card.toml": b"x", "entry/a.TIF": b"y"}
    assert not list(tmp_path.rglob("run.py"))


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_too_much_of_what_systems_leave_is_refused(tmp_path: Path, kind: str) -> None:
    litter = {f"__MACOSX/._{number}": b"" for number in range(FEW.files + 1)}
    pack = zipped if kind == "zip" else tarred
    archive = pack(tmp_path / f"a.{kind}", {**litter, "card.toml": b"x"})
    assert "more than 5 files that systems leave behind" in refusal(archive)


@pytest.mark.parametrize("kind", ["zip", "gztar", "xztar"])
def test_an_archive_with_entries_for_its_folders_comes_out(tmp_path: Path, kind: str) -> None:
    for name, content in ENTRY.items():
        (tmp_path / "from" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "from" / name).write_bytes(content)
    (tmp_path / "from/entry/card.toml").chmod(0o4755)
    packed = shutil.make_archive(str(tmp_path / "a"), kind, tmp_path / "from", "entry")
    (tmp_path / "out").mkdir()
    extract(Path(packed), tmp_path / "out")
    assert contents(tmp_path / "out") == ENTRY
    assert not (tmp_path / "out/entry/card.toml").stat().st_mode & 0o7111


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/etc/card.toml", "absolute"),
        ("../card.toml", "hidden part"),
        ("a/../../card.toml", "hidden part"),
        (".//card.toml", "part that is empty"),
        (".", "hidden part"),
        (".hidden.toml", "hidden part"),
        (".git/card.toml", "hidden part"),
        ("..\\card.toml", "between folders"),
        ("C:/card.toml", "between folders"),
        ("a//card.toml", "part that is empty"),
        ("a /card.toml", "a blank or a dot"),
        ("a./card.toml", "a blank or a dot"),
        ("a\n.toml", "can be seen"),
        ("a\x1b[31m.toml", "can be seen"),
        ("a\u202elmot.toml", "can be seen"),
        ("ä" * 128 + ".toml", "255 bytes a part"),
        ("a" * 251 + ".toml", "255 bytes a part"),
        ("/".join(["a" * 200] * 5) + ".toml", "1000 in all"),
        ("a/" * 16 + "a.toml", "16 parts"),
        ("run.py", "an ending of"),
        ("card", "an ending of"),
        ("card.TOML", "an ending of"),
        ("inner.zip", "an ending of"),
        ("inner.tar.gz", "an ending of"),
    ],
)
def test_a_name_that_is_not_plain_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    for pack, archive in ((zipped, tmp_path / "zip/a.zip"), (tarred, tmp_path / "tar/a.tar")):
        archive.parent.mkdir()
        (problem,) = refusal(pack(archive, {name: b"x", "good.toml": b"y"})).splitlines()
        assert reason in problem


def test_a_tar_of_what_a_folder_holds_comes_out(tmp_path: Path) -> None:
    """``tar -C entry .`` names the folder itself, and begins all names with it."""
    (tmp_path / "from/predictions").mkdir(parents=True)
    (tmp_path / "from/card.toml").write_bytes(b"x")
    (tmp_path / "from/predictions/a.npy").write_bytes(b"y")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(tmp_path / "from", ".")
    (tmp_path / "out").mkdir()
    extract(tmp_path / "a.tar", tmp_path / "out")
    assert contents(tmp_path / "out") == {"card.toml": b"x", "predictions/a.npy": b"y"}


def test_a_name_that_goes_on_after_a_nul_is_refused(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {"a.tomlX.py": b"x"})
    archive.write_bytes(archive.read_bytes().replace(b"a.tomlX.py", b"a.toml\0.py"))
    assert "can be seen" in refusal(archive)


@pytest.mark.parametrize("name", ["", "/"])
def test_a_member_without_a_name_is_refused(tmp_path: Path, name: str) -> None:
    assert "part that is empty" in refusal(tar_of(tmp_path / "a.tar", tarfile.TarInfo(name)))


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["a.toml", "a.toml"], "each name once"),
        (["a.toml", "A.toml"], "clashes with 'a.toml'"),
        (["ä.toml", "a\u0308.toml"], "clashes with 'ä.toml'"),
        (["ß.toml", "SS.toml"], "clashes with 'ß.toml'"),
        (["a.toml", "a.toml/b.toml"], "clashes with 'a.toml'"),
        (["a.toml/b.toml", "a.toml"], "clashes with 'a.toml'"),
        (["a/b.toml", "A/c.toml"], "clashes with 'a'"),
        (["a/", "a/"], "each name once"),
    ],
)
def test_two_members_of_one_place_are_refused(
    tmp_path: Path, names: list[str], reason: str
) -> None:
    archive = zip_of(tmp_path / "a.zip", *(zipfile.ZipInfo(name) for name in names))
    if names[0].endswith("/"):
        with zipfile.ZipFile(archive, "w") as folders:
            for name in names:
                folders.writestr(name, b"")
    assert reason in refusal(archive)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFDIR])
def test_a_member_of_a_zip_that_is_no_plain_file_is_refused(tmp_path: Path, kind: int) -> None:
    member = zipfile.ZipInfo("link.toml")
    member.external_attr = (kind | 0o777) << 16
    assert "a link" in refusal(zip_of(tmp_path / "a.zip", member))


@pytest.mark.parametrize(
    "kind",
    [
        tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE,
        tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE, b"Z",
    ],
)  # fmt: skip
def test_a_member_of_a_tar_that_is_no_plain_file_is_refused(tmp_path: Path, kind: bytes) -> None:
    first = tar_member("first.toml")
    odd = tar_member("odd.toml", type=kind, linkname="first.toml")
    assert "'odd.toml': expected a plain file" in refusal(tar_of(tmp_path / "a.tar", first, odd))


def test_a_file_with_holes_by_pax_is_refused(tmp_path: Path) -> None:
    headers = {"GNU.sparse.map": "0,0", "GNU.sparse.size": "0"}
    member = tar_member("odd.toml", pax_headers=headers)
    assert "with holes" in refusal(tar_of(tmp_path / "a.tar", member))


def test_a_folder_with_bytes_of_its_own_is_refused(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", zipfile.ZipInfo("entry/"))
    assert "nothing in the entry of a folder, got 7 bytes" in refusal(archive)


@pytest.mark.parametrize("bit", [0x1, 0x40, 0x2000])
def test_an_encrypted_member_is_refused(tmp_path: Path, bit: int) -> None:
    archive = zipped(tmp_path / "a.zip", {"card.toml": b"x"})
    assert "encrypted" in refusal(patched(archive, b"PK\1\2", 8, struct.pack("<H", bit)))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_method_other_than_deflate_is_refused(tmp_path: Path, method: int) -> None:
    assert "another method" in refusal(zipped(tmp_path / "a.zip", {"card.toml": b"x"}, method))


def test_an_unknown_method_is_refused(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {"card.toml": b"x"})
    assert "another method" in refusal(patched(archive, b"PK\1\2", 10, b"\x63\0"))


def test_too_many_members_are_refused(tmp_path: Path) -> None:
    many = {f"{number}.toml": b"" for number in range(6)}
    assert "at most 5 files" in refusal(zipped(tmp_path / "a.zip", many))
    (tmp_path / "tar").mkdir()
    assert "at most 5 files" in refusal(tarred(tmp_path / "tar/a.tar", many))


def test_an_archive_without_members_is_refused(tmp_path: Path) -> None:
    assert "got none" in refusal(tarred(tmp_path / "a.tar", {}))


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.xz"])
def test_sizes_beyond_the_limits_are_refused(tmp_path: Path, name: str) -> None:
    pack = zipped if name == "a.zip" else tarred
    noise = os.urandom(20_001)
    archive = pack(tmp_path / name, {"a.npy": noise, "b.npy": noise[:-1]})
    first, second = refusal(archive, Limits(total_bytes=30_000, file_bytes=20_000)).splitlines()
    assert first == "'a.npy': expected at most 20000 bytes, got 20001"
    assert second == "expected at most 30000 bytes in all, got 40001"


def test_a_member_that_is_packed_too_well_is_refused(tmp_path: Path) -> None:
    assert "50 times" in refusal(zipped(tmp_path / "a.zip", {"a.npy": bytes(1_000_001)}))
    (tmp_path / "out").mkdir()
    small = {"a.npy": bytes(1_000_000)}
    extract(zipped(tmp_path / "small.zip", small), tmp_path / "out", limits=FEW)
    assert contents(tmp_path / "out") == small


def test_a_bomb_of_zeros_in_a_tar_is_stopped_by_its_real_bytes(tmp_path: Path) -> None:
    """The header asks for 40 GB and the stream has 20 MB: reading ends at 3 MB."""
    header = tar_member("a.npy", size=40 * 10**9).tobuf()
    bomb = header + bytes(20_000_000)
    for name, packed in (
        ("a.tar.gz", gzip.compress(bomb, mtime=0)),
        ("a.tar.xz", lzma.compress(bomb, preset=0)),
    ):
        (tmp_path / name).mkdir()
        archive = tmp_path / name / name
        archive.write_bytes(packed)
        assert "50 times the archive, got more" in refusal(archive)


def test_a_tar_is_refused_for_its_ratio_alone(tmp_path: Path) -> None:
    files = {f"{number}.npy": bytes(5_000_000) for number in range(3)}
    assert "50 times" in refusal(tarred(tmp_path / "a.tgz", files), Limits(ratio=50))


def test_a_tar_is_refused_for_its_real_bytes_alone(tmp_path: Path) -> None:
    plain = tarred(tmp_path / "a.tar", {"a.toml": b"x"}).read_bytes()
    (tmp_path / "a.tgz").write_bytes(gzip.compress(plain + bytes(9_000_000), mtime=0))
    limits = Limits(files=5, ratio=10**6, total_bytes=2_000_000)
    assert "2000000 bytes and" in refusal(tmp_path / "a.tgz", limits)


def test_a_bomb_behind_the_end_of_a_tar_is_stopped(tmp_path: Path) -> None:
    archive = tarred(tmp_path / "a.tar", {"a.toml": b"x"})
    bomb = tmp_path / "a.tgz"
    bomb.write_bytes(gzip.compress(archive.read_bytes() + bytes(20_000_000)))
    assert "50 times the archive, got more" in refusal(bomb)


def test_a_header_of_a_tar_that_fills_the_memory_is_stopped(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    for kind in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE):
        archive.write_bytes(tar_member("x", type=kind, size=900_000).tobuf() + bytes(900_096))
        text = refusal(archive)
        (tmp_path / "deep/target").rmdir()
        (tmp_path / "deep").rmdir()
        assert "a header of more than" in text


def test_a_chain_of_headers_is_stopped(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    archive.write_bytes(tar_member("x", type=tarfile.XHDTYPE, size=0).tobuf() * 2_000)
    assert "a header of more than" in refusal(archive)


def test_headers_for_all_files_do_not_pile_up(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    with archive.open("wb") as file:
        for number in range(80):
            record = b"60000 a%d=" % number
            record = record.ljust(59_999, b"x") + b"\n"
            file.write(tar_member("g", type=tarfile.XGLTYPE, size=60_000).tobuf())
            file.write(record.ljust(60_416, b"\0"))
            file.write(tar_member(f"{number}.toml").tobuf())
        file.write(bytes(1_024))
    (tmp_path / "out").mkdir()
    tracemalloc.start()
    try:
        extract(archive, tmp_path / "out")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(contents(tmp_path / "out")) == 80
    assert most < 2_000_000  # of 4.8 MB


def test_a_stream_that_asks_for_gigabytes_of_memory_is_refused(tmp_path: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0}]
    packed = bytearray(lzma.compress(bytes(10_240), filters=filters))
    packed[16] = 39  # of the dictionary: 3 GiB
    packed[20:24] = struct.pack("<I", zlib.crc32(packed[12:20]))
    (tmp_path / "a.tar.xz").write_bytes(packed)
    assert "Memory usage limit" in refusal(tmp_path / "a.tar.xz")


@pytest.mark.parametrize("claimed", [10, 1_900_000])
def test_a_size_that_lies_is_refused(tmp_path: Path, claimed: int) -> None:
    """Of 50 MB the header says 10 bytes, and has the checksum that those would have."""
    archive = zipped(tmp_path / "a.zip", {"good.toml": b"x", "a.npy": bytes(50_000_000)})
    crc = struct.pack("<L", zlib.crc32(bytes(claimed)))
    content = bytearray(archive.read_bytes())
    for start, at in ((content.rindex(b"PK\3\4"), 14), (content.rindex(b"PK\1\2"), 16)):
        content[start + at : start + at + 4] = crc
        content[start + at + 8 : start + at + 12] = struct.pack("<L", claimed)
    archive.write_bytes(content)
    assert f"'a.npy': expected {claimed} bytes, got more" in refusal(archive)


def test_a_size_that_promises_too_much_is_refused(tmp_path: Path) -> None:
    archive = patched(zipped(tmp_path / "a.zip", {"a.npy": b"x" * 99}), b"PK\1\2", 24, b"\x64")
    assert "expected 100 bytes, got more or fewer" in refusal(archive)


def test_members_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {"a.toml": b"x", "b.toml": b"x"})
    second = archive.read_bytes().rindex(b"PK\1\2")
    content = bytearray(archive.read_bytes())
    content[second + 42 : second + 46] = bytes(4)  # begins where the first does
    archive.write_bytes(content)
    text = refusal(archive)
    assert "'a.toml': expected bytes of its own" in text
    assert "'b.toml': expected bytes of its own" in text


def test_a_member_that_swallows_the_next_is_refused(tmp_path: Path) -> None:
    """The first is stored and holds the whole second, header and all: a bomb without nesting."""
    archive = zipped(tmp_path / "a.zip", {"a.toml": b"x", "b.toml": b"x"}, zipfile.ZIP_STORED)
    long = struct.pack("<LL", 38, 38)
    assert "'a.toml': expected bytes of its own" in refusal(patched(archive, b"PK\1\2", 20, long))


def test_a_member_that_runs_into_the_list_of_members_is_refused(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {"a.toml": b"x"}, zipfile.ZIP_STORED)
    long = struct.pack("<LL", 2, 2)
    assert "expected bytes of its own" in refusal(patched(archive, b"PK\1\2", 20, long))


def test_a_list_of_millions_of_members_is_not_read(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {"a.toml": b"x"})
    content = bytearray(archive.read_bytes())
    listed, end = content.index(b"PK\1\2"), content.index(b"PK\5\6")
    content[end:end] = content[listed:end] * 170_000
    start = content.rindex(b"PK\5\6")
    content[start + 12 : start + 16] = struct.pack("<L", start - listed)
    archive.write_bytes(content)
    assert "a list of members of" in refusal(archive)


def test_a_wrong_checksum_is_named_and_takes_the_good_files_along(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {"good.toml": b"x", "bad.toml": b"y"}, zipfile.ZIP_STORED)
    archive.write_bytes(archive.read_bytes().replace(b"bad.tomly", b"bad.tomlz"))
    (problem,) = refusal(archive).splitlines()
    assert problem.startswith("'bad.toml': cannot be read (Bad CRC-32")


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tar.xz"])
def test_an_archive_cut_off_anywhere_is_refused(tmp_path: Path, name: str) -> None:
    whole = (zipped if name == "a.zip" else tarred)(tmp_path / name, ENTRY).read_bytes()
    padding = len(whole) - len(whole.rstrip(b"\0")) if name == "a.tar" else 1  # nobody misses it
    end = len(whole) - padding
    for kept in {min(kept, end) for kept in (0, 1, 512, 1024, end // 2, end // 1024 * 512, end)}:
        folder = tmp_path / str(kept)
        folder.mkdir()
        (folder / name).write_bytes(whole[:kept])
        assert "cannot be read" in refusal(folder / name)


def test_a_tar_that_goes_on_after_its_end_is_refused(tmp_path: Path) -> None:
    archive = tarred(tmp_path / "a.tar", {"a.toml": b"x"})
    archive.write_bytes(archive.read_bytes() * 2)
    assert "nothing after the end" in refusal(archive)


def test_a_tar_with_a_broken_header_is_refused(tmp_path: Path) -> None:
    archive = tarred(tmp_path / "a.tar", {"a.toml": b"x", "b.toml": b"y"})
    archive.write_bytes(archive.read_bytes().replace(b"b.toml", b"c.toml"))
    assert "expected an empty block" in refusal(archive)


def test_a_second_stream_after_the_first_is_refused(tmp_path: Path) -> None:
    archive = tarred(tmp_path / "a.tar.xz", {"a.toml": b"x"})
    archive.write_bytes(archive.read_bytes() + lzma.compress(b"y"))
    assert "more than one stream" in refusal(archive)


def test_a_negative_size_in_a_tar_is_refused(tmp_path: Path) -> None:
    header = bytearray(tar_member("a.npy", size=0).tobuf())
    header[124:136] = b"\xff" * 10 + b"\xfc\x00"  # -1024 to base 256
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "a.tar").write_bytes(bytes(header) + bytes(1024))
    first, second = refusal(tmp_path / "a.tar").splitlines()
    assert first.endswith("got -1024")
    assert second.endswith("(a member of fewer than no bytes)")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.rar", b"PK\3\4"),
        ("a.7z", b""),
        ("a.zip", gzip.compress(b"x", mtime=0)),
        ("a.zip", b""),
        ("a.tar", gzip.compress(b"x", mtime=0)),
        ("a.tar.gz", bytes(10_240)),
        ("a.tgz", b"PK\3\4"),
        ("a.tar.xz", gzip.compress(b"x", mtime=0)),
    ],
)
def test_what_is_no_archive_of_its_ending_is_refused(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    assert "cannot be read" in refusal(tmp_path / name)


def test_a_program_with_a_zip_at_its_end_is_refused(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {"a.toml": b"x"})
    archive.write_bytes(b"#!/bin/sh\n" + archive.read_bytes())
    assert "not a zip" in refusal(archive)


def test_an_archive_that_is_a_folder_or_missing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zip").mkdir()
    assert "expected a file" in refusal(tmp_path / "a.zip")
    (tmp_path / "b").mkdir()
    assert "expected a file" in refusal(tmp_path / "b/missing.tar")


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_every_problem_is_listed_at_once(
    tmp_path: Path, pack: Callable[[Path, Mapping[str, bytes]], Path]
) -> None:
    archive = tmp_path / ("a.zip" if pack is zipped else "a.tar")
    bad = {"../up.py": b"", "a.toml": b"", "A.toml": b"", "b.npy": bytes(2_000_001), "c.md": b""}
    first, second, third = refusal(pack(archive, bad)).splitlines()
    assert first.startswith("'../up.py': ")
    assert "hidden part" in first
    assert "an ending of" in first
    assert second.startswith("'A.toml': clashes with 'a.toml'")
    assert third.startswith("'b.npy': expected at most 2000000 bytes")


def test_what_can_be_read_is_segmented_although_the_archive_breaks_off(tmp_path: Path) -> None:
    archive = tarred(tmp_path / "a.tar", {"run.py": b"x", "b.npy": bytes(40_000)})
    archive.write_bytes(archive.read_bytes()[:20_000])
    first, second = refusal(archive).splitlines()
    assert "an ending of" in first
    assert "unexpected end" in second


def test_a_target_with_files_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.toml").write_bytes(b"x")
    with pytest.raises(SubmissionError, match="an empty folder"):
        extract(zipped(tmp_path / "a.zip", ENTRY), tmp_path / "out")
    assert contents(tmp_path / "out") == {"mine.toml": b"x"}


ODD = st.sampled_from("a.b/\\A: \0\nä~") | st.characters()


@settings(max_examples=60, deadline=None)
@given(names=st.lists(st.text("abä/", min_size=1) | st.text(ODD), min_size=1, max_size=3))
@example(names=["a/b", "ä"])
def test_any_name_is_refused_or_stays_within_the_target(names: list[str]) -> None:
    files = {f"{name}.toml": name.encode("utf-8", "replace") for name in names}
    for ending, pack in ((".zip", zipped), (".tar", tarred)):
        with tempfile.TemporaryDirectory() as folder, suppress(ValueError, IndexError):
            archive = pack(Path(folder) / f"a{ending}", files)  # some names cannot be packed
            target = Path(folder) / "deep" / "target"
            target.mkdir(parents=True)
            try:
                extract(archive, target)
            except SubmissionError:
                assert not list(target.iterdir())
            else:
                assert sorted(contents(target).values()) == sorted(files.values())
            assert set(Path(folder).iterdir()) == {archive, target.parent}
            assert set(target.parent.iterdir()) == {target}


def test_what_systems_leave_in_a_folder_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "card.toml").touch()
    for name in (".DS_Store", "._card.toml", "Thumbs.db", "desktop.ini"):
        (tmp_path / name).touch()
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "run.py").touch()
    inspect(tmp_path)


def faults_of(folder: Path) -> str:
    with pytest.raises(SubmissionError) as refused:
        inspect(folder, limits=FEW)
    return "\n".join(refused.value.problems)


def test_a_folder_is_segmented_by_the_same_rules(tmp_path: Path) -> None:
    folder = tmp_path / "entry"
    (folder / "in").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    (folder / ".hidden/unseen.toml").write_bytes(b"")
    (folder / "in/link.toml").symlink_to("/etc/passwd")
    os.mkfifo(folder / "in/pipe.toml")
    (folder / "run.py").write_bytes(bytes(2_000_001))
    hidden, link, pipe, program = faults_of(folder).splitlines()
    assert hidden.startswith("'.hidden': ")
    assert link.startswith("'in/link.toml': expected a plain file")
    assert pipe.startswith("'in/pipe.toml': expected a plain file")
    assert "an ending of" in program
    assert "at most 2000000 bytes" in program


def test_a_folder_with_too_much_in_it_is_refused(tmp_path: Path) -> None:
    for number in range(6):
        with (tmp_path / f"{number}.npy").open("wb") as file:
            file.truncate(1_000_000)
    text = faults_of(tmp_path)
    assert "at most 5 files" in text
    assert "in all, got 6000000" in text


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/run.py").write_bytes(b"")
    (tmp_path / "entry").mkdir()
    (tmp_path / "entry/link").symlink_to(tmp_path / "outside")
    (problem,) = faults_of(tmp_path / "entry").splitlines()
    assert problem.startswith("'link': expected a plain file")


@pytest.mark.parametrize("kind", ["link", "file", "missing"])
def test_what_is_no_folder_is_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "true").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "true")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SubmissionError, match=f"{kind}: (expected a folder|cannot be read)"):
        inspect(tmp_path / kind)
