"""The list of an entry's predictions: file, bytes and digest of decoded pixels of each scene."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Final

from planetcr_bench.errors import SubmissionError
from planetcr_bench.results.ledger import Ledger
from planetcr_bench.utils.files import atomic_write
from planetcr_bench.utils.untrusted import read_json

MANIFEST: Final = "manifest.json"
LARGEST_MANIFEST: Final = 2_000_000
"""Bytes."""

MOST_FILES: Final = 10_000
"""Predictions of one entry; the test split has 3,000 scenes."""

_VERSION: Final = 1
_NAME: Final = r"(?P<scene>[a-z]{1,20}_[0-9]{1,6}_p_[0-9]{1,6})\.(?:tif|tiff|npy)"


@dataclass(frozen=True, slots=True)
class Listed:
    """One prediction.

    Attributes:
        scene: Name of its scene.
        name: Of its file, ``<scene>.tif``, ``.tiff`` or ``.npy``.
        bytes: Size of the file.
        sha256: Of the decoded pixels, dtype and shape, as in the ledger.
    """

    scene: str
    name: str
    bytes: int
    sha256: str


def list_predictions(ledger: Ledger, files: Iterable[tuple[str, Path]]) -> list[Listed]:
    """List the predictions that a ledger was measured from, by scene.

    Args:
        ledger: Of these predictions.
        files: Scene and file of each, and of any other.
    """
    digests = digests_of(ledger)
    return sorted(
        (
            Listed(scene, f"{scene}{path.suffix.lower()}", path.stat().st_size, digests[scene])
            for scene, path in files
            if scene in digests
        ),
        key=lambda one: one.scene,
    )


def digests_of(ledger: Ledger) -> dict[str, str]:
    """Scene to SHA-256 of its prediction's decoded pixels."""
    digests = ledger.frame.groupby("scene", observed=True)["prediction_sha256"].first()
    return {str(scene): str(digest) for scene, digest in digests.items()}


def write_manifest(path: Path, listed: Sequence[Listed]) -> None:
    """Write a manifest, a line for each file."""
    lines = ",\n".join("  " + json.dumps(asdict(one)) for one in listed)
    atomic_write(path, f'{{"manifest": {_VERSION}, "files": [\n{lines}\n]}}\n'.encode())


def read_manifest(path: Path) -> list[Listed]:
    """Read a stranger's manifest.

    Raises:
        SubmissionError: Lists everything that is wrong with it.
    """
    value = read_json(path, LARGEST_MANIFEST, error=SubmissionError)
    version, files = value.get("manifest"), value.get("files")
    known = value.keys() == {"manifest", "files"}
    if not known or version is True or version != _VERSION or not isinstance(files, list):
        raise SubmissionError(f'{path}: expected {{"manifest": {_VERSION}, "files": […]}}')
    if len(files) > MOST_FILES:
        raise SubmissionError(f"{path}: expected at most {MOST_FILES} files, got {len(files)}")
    found = [
        f"{path}: file {number}: {fault}"
        for number, one in enumerate(files, 1)
        for fault in _faults(one)
    ]
    if found:
        raise SubmissionError(f"{path}: expected a manifest as `submit` writes it", found)
    listed = [Listed(**one) for one in files]
    scenes = [one.scene for one in listed]
    if scenes != sorted(set(scenes)):
        raise SubmissionError(f"{path}: expected each scene once and in order of names")
    return listed


def _faults(one: object) -> list[str]:
    kinds = {"scene": str, "name": str, "bytes": int, "sha256": str}
    assert kinds.keys() == {field.name for field in fields(Listed)}
    if not isinstance(one, dict) or one.keys() != kinds.keys():
        return [f"expected {', '.join(kinds)}"]
    wrong = [name for name, kind in kinds.items() if type(one[name]) is not kind]
    if wrong:
        return [f"{name}: expected {kinds[name].__name__}" for name in wrong]
    matched = re.fullmatch(_NAME, one["name"])
    found = []
    if matched is None or matched["scene"] != one["scene"]:
        found.append(f"expected a scene and its file <scene>.tif or .npy, got {one['name'][:80]!r}")
    if one["bytes"] <= 0:
        found.append(f"bytes: expected more than none, got {one['bytes']!r:.80}")
    if re.fullmatch(r"[0-9a-f]{64}", one["sha256"]) is None:
        found.append(f"sha256: expected 64 hexadecimal digits, got {one['sha256'][:80]!r}")
    return found


def manifest_faults(listed: Sequence[Listed], ledger: Ledger) -> list[str]:
    """Where a manifest is not of the predictions that a ledger was measured from."""
    told, measured = {one.scene: one.sha256 for one in listed}, digests_of(ledger)
    found = []
    for scenes, where in ((measured.keys() - told, "ledger"), (told.keys() - measured, "manifest")):
        if scenes:
            found.append(f"{len(scenes)} scenes are in the {where} alone, first {min(scenes)}")
    other = sorted(scene for scene in told.keys() & measured if told[scene] != measured[scene])
    if other:
        found.append(f"sha256: {len(other)} are not the ledger's, first of {other[0]}")
    return found
