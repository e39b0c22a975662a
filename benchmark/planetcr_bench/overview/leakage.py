"""Audit a dataset for leaks: what of one split is also in another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.warp import transform
from scipy.spatial import KDTree

from planetcr_bench.data.reading import read_product
from planetcr_bench.data.resizing import shrink
from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.overview.spatial import EARTH_KM, unit_vectors
from planetcr_bench.overview.statistics import Statistics

HASH_BITS: Final = 6
"""Bits of 64 in which perceptual hashes of near-identical images may differ."""

CORRELATION: Final = 0.95
"""Least correlation of two images that count as near-identical; their hashes only propose them."""

MOST_CANDIDATES: Final = 500
"""Pairs of alike hashes that are compared pixel by pixel, those of most alike hashes first."""

COLUMNS: Final = ("check", "first_split", "first", "second_split", "second", "measure")


@dataclass(frozen=True, slots=True)
class Leakage:
    """What the audit found.

    Attributes:
        pairs: One row per finding, :data:`COLUMNS`: the check, both splits, both scenes (or the
            AOI), and how strong it is.
        counts: Each check to how many findings it has; None where it cannot be made.
        notes: Why a check could not be made, or what it left out.
    """

    pairs: pd.DataFrame
    counts: dict[str, int | None]
    notes: list[str]

    @property
    def found(self) -> bool:
        """Whether there is any."""
        return len(self.pairs) > 0


IDENTICAL: Final = "identical clear images"
NEAR: Final = "near-identical clear images"
OVERLAP: Final = "overlapping footprints"
SAME_SCENE: Final = "scenes in both splits"


def audit(statistics: Statistics) -> Leakage:
    """Look for scenes, AOIs, ground and images that two splits share.

    Identical clear images have the same pixels. Near-identical ones have hashes that differ in at
    most :data:`HASH_BITS` bits and correlate by :data:`CORRELATION`; an image that is turned or
    shifted by more than a little is not found, but where there are coordinates its footprint is.

    Raises:
        DatasetError: An image has become unreadable since it was measured.
    """
    scenes, described = statistics.scenes, statistics.description
    same_aoi = f"{statistics.cluster}s in both splits"
    splits = list(combinations(statistics.splits, 2))
    if not splits:
        return Leakage(
            pd.DataFrame(columns=COLUMNS), {}, ["There is one split: nothing to compare."]
        )
    rows: list[tuple[object, ...]] = []
    notes: list[str] = []
    counts: dict[str, int | None] = {SAME_SCENE: 0}
    counts |= {same_aoi: 0 if described.cluster else None, IDENTICAL: 0, NEAR: 0}
    counts |= {OVERLAP: 0 if scenes["longitude"].notna().any() else None}
    if not described.cluster:
        notes.append("The description does not say which scenes are of one place.")
    if counts[OVERLAP] is None:
        notes.append("Images have no coordinates, so footprints cannot be compared.")
    for first, second in splits:
        a, b = (scenes[scenes["split"] == split] for split in (first, second))
        shared = sorted(set(a["scene"]) & set(b["scene"]))
        rows += [(SAME_SCENE, first, name, second, name, np.nan) for name in shared]
        if described.cluster:
            aois = sorted(set(a["aoi"]) & set(b["aoi"]))
            rows += [(same_aoi, first, name, second, name, np.nan) for name in aois]
        rows += [(IDENTICAL, first, x, second, y, 1.0) for x, y in _identical(a, b)]
        alike = _candidates(a, b)
        if len(alike) > MOST_CANDIDATES:
            notes.append(
                f"{len(alike):,} pairs of {first} and {second} have alike hashes; the "
                f"{MOST_CANDIDATES} most alike were compared."
            )
        rows += [(NEAR, first, x, second, y, r) for x, y, r in _near(statistics, alike)]
        rows += [(OVERLAP, first, x, second, y, share) for x, y, share in _overlapping(a, b)]
    pairs = pd.DataFrame(rows, columns=list(COLUMNS))
    for check, number in pairs["check"].value_counts().items():
        counts[str(check)] = int(number)
    return Leakage(pairs, counts, notes)


# --- Images -----------------------------------------------------------------------------------


def _identical(a: pd.DataFrame, b: pd.DataFrame) -> list[tuple[str, str]]:
    """Scenes whose clear images have the same pixels."""
    merged = a[["digest", "scene"]].merge(b[["digest", "scene"]], on="digest")
    return list(zip(merged["scene_x"], merged["scene_y"], strict=True))


def _candidates(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """Pairs of rows with alike hashes and different pixels, the most alike first."""
    few, many, swapped = (a, b, False) if len(a) <= len(b) else (b, a, True)
    hashes = many["hash"].to_numpy(np.uint64)
    parts = []
    for row, value in zip(few.index, few["hash"].to_numpy(np.uint64), strict=True):
        bits = np.bitwise_count(hashes ^ value)
        near = np.flatnonzero(bits <= HASH_BITS)
        if near.size:
            parts.append(pd.DataFrame({"few": row, "many": many.index[near], "bits": bits[near]}))
    if not parts:
        return pd.DataFrame(columns=["first", "second", "bits"])
    found = pd.concat(parts, ignore_index=True)
    different = (
        few["digest"].loc[found["few"]].to_numpy() != many["digest"].loc[found["many"]].to_numpy()
    )
    names = {"few": "second", "many": "first"} if swapped else {"few": "first", "many": "second"}
    found = found[different].rename(columns=names)
    ordered: pd.DataFrame = found.sort_values(["bits", "first", "second"], kind="stable")
    return ordered


def _near(statistics: Statistics, candidates: pd.DataFrame) -> Iterator[tuple[str, str, float]]:
    """Candidates whose images correlate, with their correlation."""
    scenes = statistics.scenes
    files = {(split, each.name): each for split, own in statistics.files.items() for each in own}
    columns = (candidates[name].head(MOST_CANDIDATES) for name in ("first", "second"))
    for first, second in zip(*columns, strict=True):
        names = [(scenes["split"][index], scenes["scene"][index]) for index in (first, second)]
        correlation = _correlation(*(files[name] for name in names))
        if correlation >= CORRELATION:
            yield names[0][1], names[1][1], correlation


def _correlation(first: SceneFiles, second: SceneFiles) -> float:
    """Of two clear images, after the mean of each band is taken away; 0 for different shapes."""
    a, b = (read_product(files, "clear").pixels.astype(np.float64) for files in (first, second))
    if a.shape != b.shape:
        return 0.0
    a, b = (image - image.mean((1, 2), keepdims=True) for image in (_smooth(a), _smooth(b)))
    size = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / size if size else float(not (a.any() or b.any()))


def _smooth(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means of squares, so that noise does not count: about 64 pixels a side."""
    factor = max(min(image.shape[-2:]) // 64, 1)
    return image if factor == 1 else shrink(image, factor, "")


# --- Ground -----------------------------------------------------------------------------------


def _overlapping(a: pd.DataFrame, b: pd.DataFrame) -> list[tuple[str, str, float]]:
    """Scenes whose footprints overlap, with the share of the first that the second covers.

    The border counts for nothing: an overlap is more than 1 % of the smaller side.
    """
    a, b = (part.dropna(subset=["longitude", "latitude"]) for part in (a, b))
    if a.empty or b.empty:
        return []
    first, second = _close(a, b)
    found: list[tuple[str, str, float]] = []
    pairs = pd.DataFrame({"first": first, "second": second})
    systems = [a["crs"].loc[first].to_numpy(), b["crs"].loc[second].to_numpy()]
    for (crs, other), part in pairs.groupby(systems):
        left, right = a.loc[part["first"]], b.loc[part["second"]]
        x, y = ((right[low] + right[high]).to_numpy() / 2 for low, high in _ENDS)
        if crs != other:  # neighbouring UTM zones are turned by little against each other
            x, y = np.asarray(transform(other, crs, x.tolist(), y.tolist())[:2])
        overlap, smaller = np.ones(len(part)), np.full(len(part), np.inf)
        for centre, (low, high) in zip((x, y), _ENDS, strict=True):
            half = (right[high] - right[low]).to_numpy() / 2
            ends = left[low].to_numpy(), left[high].to_numpy()
            shared = np.minimum(ends[1], centre + half) - np.maximum(ends[0], centre - half)
            smaller = np.minimum(
                smaller, np.maximum(shared, 0) / np.minimum(2 * half, ends[1] - ends[0])
            )
            overlap *= np.maximum(shared, 0) / (ends[1] - ends[0])
        for index in np.flatnonzero(smaller > 0.01):
            names = left["scene"].iloc[index], right["scene"].iloc[index]
            found.append((*names, float(overlap[index])))
    return sorted(found)


_ENDS: Final = (("left", "right"), ("bottom", "top"))


def _close(a: pd.DataFrame, b: pd.DataFrame) -> tuple[list[int], list[int]]:
    """Rows of pairs of scenes that are near enough to overlap."""
    reach = max(_diagonal(part) for part in (a, b))
    near = KDTree(unit_vectors(a)).query_ball_tree(KDTree(unit_vectors(b)), 1.05 * reach)
    first = [a.index[i] for i, others in enumerate(near) for _ in others]
    second = [b.index[j] for others in near for j in others]
    return first, second


def _diagonal(part: pd.DataFrame) -> float:
    """Largest diagonal of a footprint, on the unit sphere."""
    diagonal = np.hypot(*((part[high] - part[low]).to_numpy() for low, high in _ENDS))
    degrees = {crs: CRS.from_string(crs).is_geographic for crs in part["crs"].unique()}
    angle = np.where(part["crs"].map(degrees), np.radians(diagonal), diagonal / EARTH_KM / 1000)
    return float(angle.max())
