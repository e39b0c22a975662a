"""Take the cloud masks of scenes from another folder, and say where they are from."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from pydantic import ConfigDict, Field

from planetcr_bench.constants import LONGEST_SOURCE
from planetcr_bench.data.encodings import KINDS
from planetcr_bench.data.fingerprint import pixel_digest, split_fingerprint
from planetcr_bench.data.mask_rules import rule_fault, rule_words
from planetcr_bench.data.reading import read_product
from planetcr_bench.data.scene_files import CLOUD_MASK, MaskFile, SceneFiles
from planetcr_bench.errors import DatasetError, UsageError
from planetcr_bench.utils.folders import ending, image_files
from planetcr_bench.utils.parallel import Workers, run_ordered, track
from planetcr_bench.utils.untrusted import printable, read_toml
from planetcr_bench.utils.validation import FileModel, validate

MASK_RECORD: Final = "masks.toml"
"""What ``planetcr-bench masks`` writes beside the masks."""


class MaskRecord(FileModel):
    """Content of ``masks.toml``.

    Attributes:
        detector: Name of the detector that made the masks.
        version: Of the detector; empty if it has none of its own.
        threshold: Above which a pixel is cloud.
        source: How texts call these masks.
        dataset: Title of the dataset.
        fingerprints: Split to the fingerprint of its scenes.
    """

    model_config = ConfigDict(title="a record of masks")

    detector: str
    version: str
    threshold: float
    source: str
    dataset: str
    fingerprints: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OtherMasks:
    """A folder of masks in place of a dataset's own.

    Attributes:
        folder: Holds images that are named as scenes.
        rule: Which bands and values mean cloud; see ``mask_rules``.
    """

    folder: Path
    rule: str = ""

    @property
    def source(self) -> str:
        """What made the masks: as their record says, or the name of their folder."""
        record = read_mask_record(self.folder)
        words = f"folder {self.folder.resolve().name}" if record is None else record.source
        text = ", ".join(filter(None, [words, rule_words(self.rule)]))
        return printable(text)[:LONGEST_SOURCE]


def other_masks(folder: Path | None, rule: str | None) -> OtherMasks | None:
    """The masks that the options of a command name; None without ``--masks``.

    Raises:
        UsageError: The rule is unknown, or given without a folder.
    """
    if rule is not None and (fault := rule_fault(rule)):
        raise UsageError(f"--mask-rule: {fault}")
    if folder is None and rule is not None:
        raise UsageError("--mask-rule: says how to read --masks; give both")
    return None if folder is None else OtherMasks(folder, rule or "")


def read_mask_record(folder: Path) -> MaskRecord | None:
    """Read ``masks.toml``; None if the masks are not those of ``planetcr-bench masks``.

    Raises:
        DatasetError: It cannot be read, or is no such record.
    """
    path = folder / MASK_RECORD
    if not os.path.lexists(path):
        return None
    return validate(MaskRecord, read_toml(path, error=DatasetError), str(path), error=DatasetError)


def with_masks(
    scenes: Sequence[SceneFiles], masks: OtherMasks | None, *, complete: bool = True
) -> list[SceneFiles]:
    """Scenes with masks from elsewhere, matched by name; files of other scenes do not matter.

    A scene of several dates has one file, or one for each date.

    Args:
        scenes: Of a dataset.
        masks: None leaves the scenes as they are.
        complete: Refuse scenes without a mask; otherwise the path of the mask says what lacks.

    Raises:
        DatasetError: There is no such folder, or not one mask of each scene.
    """
    if masks is None:
        return list(scenes)
    if not masks.folder.is_dir():
        raise DatasetError(f"{printable(masks.folder)}: expected a folder of masks, found none")
    by_stem: dict[str, list[Path]] = {}
    for path in image_files(masks.folder.absolute(), error=DatasetError):
        if ending(path) in KINDS:
            by_stem.setdefault(path.stem, []).append(path)
    problems: list[str] = []
    chosen = [replace(files, mask=_mask_of(files, masks, by_stem, problems)) for files in scenes]
    if problems and complete:
        raise DatasetError(
            f"{printable(masks.folder)}: expected a mask for each of {len(chosen)} scenes, in "
            "images named as the scenes",
            problems,
        )
    return chosen


def _mask_of(
    files: SceneFiles, masks: OtherMasks, by_stem: Mapping[str, list[Path]], problems: list[str]
) -> MaskFile:
    """The mask of a scene; what is wrong with its files is added to the problems."""
    starts, names = files.description.file_starts, [files.name]
    if not _of_name(files.name, starts, by_stem) and any(map(by_stem.get, files.date_names)):
        names = files.date_names
    paths = []
    for name in names:
        found = _of_name(name, starts, by_stem)
        usual = masks.folder.absolute() / f"{name}.tif"
        if not found:
            problems.append(f"{usual}: expected the mask of the scene, found no such file")
        elif len(found) > 1:
            problems.append(f"{found[1]}: expected one mask of {name}, got also {found[0]}")
        paths.append(str(found[0] if found else usual))
    return MaskFile(tuple(paths), masks.rule)


def _of_name(name: str, starts: Iterable[str], by_stem: Mapping[str, list[Path]]) -> list[Path]:
    """Files of a scene, or of one of its dates, with or without a product before its name."""
    return [path for start in ("", *starts) for path in by_stem.get(f"{start}{name}", [])]


def masks_digest(
    scenes: Sequence[SceneFiles], *, workers: Workers = None, quiet: bool = False
) -> str:
    """SHA-256 over the decoded masks of scenes, whatever their files are like.

    Args:
        scenes: With masks.
        workers: See ``Workers``.
        quiet: Show no progress.

    Raises:
        DatasetError: A mask cannot be read.
    """
    folders = {folder for files in scenes for folder in files.folders}
    digests = run_ordered(_digest, scenes, workers=workers, folders=folders, batch=16)
    return split_fingerprint(track(digests, "Read masks", len(scenes), quiet=quiet))


def _digest(files: SceneFiles) -> tuple[str, bytes]:
    return files.name, pixel_digest(read_product(files, CLOUD_MASK).pixels)


def masks_identity(source: str, digest: str) -> str:
    """Short text that identifies masks, for cards: who made them, and a part of their digest."""
    return f"{source} (sha256 {digest[:12]})"
