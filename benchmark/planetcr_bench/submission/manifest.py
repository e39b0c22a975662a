"""Write and read the list of an entry's predictions: file, size and digest of each."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import ConfigDict, Field, model_validator

from planetcr_bench.errors import SubmissionError
from planetcr_bench.results.ledger import Ledger
from planetcr_bench.submission.plausibility import SCENE
from planetcr_bench.utils.files import atomic_write
from planetcr_bench.utils.untrusted import read_json
from planetcr_bench.utils.validation import FileModel, shown, validate

LARGEST_MANIFEST: Final = 2_000_000
"""Bytes."""

MOST_FILES: Final = 10_000
"""Predictions of one entry; the test split has 3,000 scenes."""


class Listed(FileModel):
    """One prediction.

    Attributes:
        scene: Name of its scene.
        name: Of its file, ``<scene>.tif``, ``.tiff`` or ``.npy``.
        bytes: Size of the file.
        sha256: Of the decoded pixels, dtype and shape, as in the ledger.
    """

    scene: Annotated[str, Field(pattern=f"^{SCENE}$")]
    name: str
    bytes: Annotated[int, Field(gt=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

    @model_validator(mode="after")
    def _check_name(self) -> Self:
        if not re.fullmatch(rf"{self.scene}\.(?:tif|tiff|npy)", self.name):
            raise ValueError(f"expected a file <scene>.tif, .tiff or .npy, got {shown(self.name)}")
        return self


class Manifest(FileModel):
    """What ``manifest.json`` says."""

    model_config = ConfigDict(title="a manifest as `planetcr-bench submit pack` writes it")

    manifest: Annotated[int, Field(ge=1, le=1)]
    files: Annotated[list[Listed], Field(max_length=MOST_FILES)]

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        scenes = [listing.scene for listing in self.files]
        if scenes != sorted(set(scenes)):
            raise ValueError("expected each scene once and in order of names")
        return self


def list_predictions(ledger: Ledger, files: Mapping[str, Path]) -> list[Listed]:
    """List the predictions that a ledger was measured from, given scene and file of each."""
    digests = digests_of(ledger)
    return [
        Listed(
            scene=scene,
            name=f"{scene}{path.suffix.lower()}",
            bytes=path.stat().st_size,
            sha256=digests[scene],
        )
        for scene, path in sorted(files.items())
    ]


def digests_of(ledger: Ledger) -> dict[str, str]:
    """Scene to SHA-256 of its prediction's decoded pixels."""
    digests = ledger.frame.groupby("scene", observed=True)["prediction_sha256"].first()
    return {str(scene): str(digest) for scene, digest in digests.items()}


def write_manifest(path: Path, listed: Sequence[Listed]) -> None:
    """Write a manifest, a line for each file."""
    lines = ",\n".join("  " + json.dumps(listing.model_dump()) for listing in listed)
    atomic_write(path, f'{{"manifest": 1, "files": [\n{lines}\n]}}\n'.encode())


def read_manifest(path: Path) -> list[Listed]:
    """Read a stranger's manifest.

    Raises:
        SubmissionError: Lists everything that is wrong with it.
    """
    content = read_json(path, LARGEST_MANIFEST, error=SubmissionError)
    return validate(Manifest, content, str(path), error=SubmissionError).files


def manifest_errors(listed: Sequence[Listed], ledger: Ledger) -> list[str]:
    """Where a manifest is not of the predictions that a ledger was measured from."""
    sent, measured = {listing.scene: listing.sha256 for listing in listed}, digests_of(ledger)
    groups = {
        "scenes are in the ledger alone, first": measured.keys() - sent,
        "scenes are in the manifest alone, first": sent.keys() - measured,
        "of both have another SHA-256 in the ledger, first": {
            scene for scene in sent.keys() & measured if sent[scene] != measured[scene]
        },
    }
    return [f"{len(scenes)} {what} {min(scenes)}" for what, scenes in groups.items() if scenes]
