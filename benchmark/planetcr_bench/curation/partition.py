"""Divide AOIs into training and test AOIs, with a distance between the two."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from planetcr_bench.errors import DatasetError

TRAIN, TEST = "train", "test"

TEST_SHARE: Final = 120 / 780
"""Part of the AOIs that are for testing (paper, Sec. 3.1)."""

_EARTH_KM: Final = 6371.0


@dataclass(frozen=True, slots=True)
class Footprint:
    """Where an AOI lies: the circle around it.

    Attributes:
        number: Of the AOI.
        longitude: Of its centre, degrees.
        latitude: Of its centre, degrees.
        radius_km: Half of its diagonal.
        split: Where the table says it.
    """

    number: int
    longitude: float
    latitude: float
    radius_km: float
    split: str | None = None


def clusters_of(footprints: Sequence[Footprint], distance_km: float) -> NDArray[np.int64]:
    """Number the clusters of AOIs that are linked by gaps below a distance.

    A gap is that between the circles around two AOIs, which is at most that between the AOIs.

    Args:
        footprints: The AOIs.
        distance_km: Smallest gap between two clusters.

    Returns:
        Number of the cluster of each AOI, shape (n,).
    """
    radii = np.array([each.radius_km for each in footprints])
    points = _on_sphere(footprints)
    reach = distance_km + 2 * radii.max()
    chord = 2 * np.sin(min(reach / _EARTH_KM, np.pi) / 2)
    near = KDTree(points).query_pairs(chord, output_type="ndarray")
    angles = 2 * np.arcsin(
        np.minimum(np.linalg.norm(points[near[:, 0]] - points[near[:, 1]], axis=1) / 2, 1)
    )
    linked = near[angles * _EARTH_KM - radii[near].sum(1) < distance_km]
    size = len(footprints)
    graph = coo_array((np.ones(len(linked)), (linked[:, 0], linked[:, 1])), shape=(size, size))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def _on_sphere(footprints: Sequence[Footprint]) -> NDArray[np.float64]:
    east, north = np.radians([(each.longitude, each.latitude) for each in footprints]).T
    return np.stack(
        [np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)], axis=1
    )


def divide(
    footprints: Sequence[Footprint], *, distance_km: float, test_aois: int | None, seed: int
) -> dict[int, str]:
    """Choose the split of every AOI.

    Clusters of AOIs stay together. In the order of SHA-256 of ``"<seed> <smallest AOI number>"``,
    each cluster goes to the test split if it has still room for all of it. Where the table says the
    splits, they are only checked.

    Args:
        footprints: The AOIs.
        distance_km: Smallest gap between AOIs of different splits.
        test_aois: How many AOIs the test split has, at most; by default 120 of 780.
        seed: Another seed chooses other AOIs.

    Returns:
        Number of an AOI to ``train`` or ``test``.

    Raises:
        DatasetError: All AOIs are near each other; no cluster is small enough; or splits of the
            table are too near each other.
    """
    cluster = clusters_of(footprints, distance_km)
    if footprints[0].split is not None:
        return _as_given(footprints, cluster, distance_km)
    members: dict[int, list[int]] = {}
    for each, index in zip(footprints, cluster.tolist(), strict=True):
        members.setdefault(index, []).append(each.number)
    room = round(TEST_SHARE * len(footprints)) if test_aois is None else test_aois
    if test_aois is None and len(footprints) > 1:
        room = max(room, 1)
    wanted = room
    splits = {each.number: TRAIN for each in footprints}
    if not wanted:
        return splits
    for numbers in sorted(members.values(), key=lambda numbers: _hash(seed, min(numbers))):
        if len(numbers) <= room:
            splits |= dict.fromkeys(numbers, TEST)
            room -= len(numbers)
    if room == wanted:
        smallest = min(map(len, members.values()))
        raise DatasetError(
            f"expected AOIs for the test split that are {distance_km:g} km away from all others, "
            f"at most {wanted} of them; the smallest of {len(members)} clusters has {smallest}: "
            "give a smaller --min-distance, more --test-aois, or a column split in the table"
        )
    return splits


def _as_given(
    footprints: Sequence[Footprint], cluster: NDArray[np.int64], distance_km: float
) -> dict[int, str]:
    splits = {each.number: str(each.split) for each in footprints}
    first: dict[int, Footprint] = {}
    for each, index in zip(footprints, cluster.tolist(), strict=True):
        other = first.setdefault(index, each)
        if other.split != each.split:
            raise DatasetError(
                f"expected AOIs of different splits to be {distance_km:g} km apart; AOI "
                f"{other.number} ({other.split}) and AOI {each.number} ({each.split}) are linked "
                "by AOIs nearer to each other: change the column split, or give a smaller "
                "--min-distance"
            )
    return splits


def _hash(seed: int, number: int) -> str:
    return hashlib.sha256(f"{seed} {number}".encode()).hexdigest()
