"""Divide the scenes of a split into training and validation scenes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.errors import DatasetError, UsageError


def hold_out(
    scenes: Sequence[SceneFiles], *, share: float = 0.05, seed: int = 0
) -> tuple[list[SceneFiles], list[SceneFiles]]:
    """Divide scenes into training and validation scenes, by whole AOIs.

    Patches of an AOI are not independent. Within each season the AOIs are put in the order of
    SHA-256 of ``"<seed> <aoi>"``, and the first round(share · AOIs) are held out; if this is none
    in every season, the first AOI of the season with most AOIs is. A larger share holds out the
    same AOIs and more, and neither the order of the scenes nor their number per AOI matters.

    Args:
        scenes: Scenes of one split.
        share: Part of the AOIs of each season to hold out, in [0, 1); 0 holds out nothing.
        seed: Another seed holds out other AOIs.

    Returns:
        Scenes to train on and scenes to validate on, both sorted.

    Raises:
        UsageError: The share is outside [0, 1), or leaves nothing to train on.
        DatasetError: There is only one AOI, and the share is not 0.
    """
    if not 0 <= share < 1:
        raise UsageError(f"--val-share: expected a share of at least 0 and below 1, got {share}")
    if share == 0:
        return sorted(scenes), []
    areas = {(files.season, files.aoi) for files in scenes}
    if len(areas) < 2:
        where = f"{scenes[0].split_folder}: " if scenes else ""
        words = _clusters(scenes)
        raise DatasetError(
            f"{where}expected scenes of two {words} or more, to hold out whole {words} for "
            f"validation, got {len(areas)}; train without validation: --val-share 0"
        )
    seasons: dict[str, list[str]] = {}
    for season, aoi in sorted(areas, key=lambda area: _hash(seed, area[1])):
        seasons.setdefault(season, []).append(aoi)
    held_out = {aoi for aois in seasons.values() for aoi in aois[: round(share * len(aois))]}
    if not held_out:
        held_out = {max(seasons.values(), key=len)[0]}
    if len(held_out) == len(areas):
        raise UsageError(
            f"--val-share: expected a share that leaves {_clusters(scenes)} to train on, got "
            f"{share}, which is all of the {len(areas)}"
        )
    return (
        sorted(files for files in scenes if files.aoi not in held_out),
        sorted(files for files in scenes if files.aoi in held_out),
    )


def remark(training: Sequence[SceneFiles], held_out: Sequence[SceneFiles], *, share: float) -> str:
    """Warn of a division that is far from the requested share; empty for any other.

    Args:
        training: Scenes to train on.
        held_out: Scenes that :func:`hold_out` has held out.
        share: The requested share.
    """
    scenes = len(training) + len(held_out)
    if len(held_out) < max(0.2, 2 * share) * scenes:
        return ""
    areas = {(files.season, files.aoi) for files in (*training, *held_out)}
    words = _clusters(training)
    return (
        f"validation: {len(held_out)} of {scenes} training scenes are held out "
        f"({len(held_out) / scenes:.0%}, where {share:.0%} was requested): whole {words} are held "
        f"out, and there are only {len(areas)}; --val-share 0 trains on all of them"
    )


def _clusters(scenes: Sequence[SceneFiles]) -> str:
    """What is held out as a whole: AOIs, ROIs, tiles, … or scenes."""
    if not scenes:
        return "AOIs"
    described = scenes[0].description
    return f"{described.cluster_name}s" if described.cluster else "scenes"


def some_scenes(scenes: Sequence[SceneFiles], count: int, *, seed: int = 0) -> list[SceneFiles]:
    """Select a fixed subset of the scenes, spread over their AOIs.

    The AOIs take turns in the order of their SHA-256, and so do the scenes within each; a larger
    count selects the same scenes and more.

    Args:
        scenes: Scenes of one split, in any order.
        count: How many to select at most.
        seed: Another seed selects other scenes.

    Returns:
        The scenes, sorted.

    Raises:
        UsageError: The count is negative.
    """
    if count < 0:
        raise UsageError(f"expected a number of scenes of at least 0, got {count}")
    turns: list[tuple[int, str, SceneFiles]] = []
    taken: dict[str, int] = {}
    for files in sorted(scenes, key=lambda files: _hash(seed, files.name)):
        turn = taken.get(files.aoi, 0)
        turns.append((turn, _hash(seed, files.aoi), files))
        taken[files.aoi] = turn + 1
    return sorted(files for _, _, files in sorted(turns)[:count])


def _hash(seed: int, name: str) -> str:
    return hashlib.sha256(f"{seed} {name}".encode()).hexdigest()
