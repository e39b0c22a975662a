"""Say where scenes lie, how alike those of one place are, and how far test is from training.

Distances are along the surface of a sphere.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import KDTree
from scipy.spatial.distance import pdist

from planetcr_bench.analysis.intervals import AoiSums, estimate
from planetcr_bench.constants import OPTICAL_BANDS
from planetcr_bench.overview.statistics import Statistics

EARTH_KM: Final = 6371.0

LAGS: Final = 10
"""Classes of distance of a correlogram, each as wide as neighbours are apart."""

FEWEST_PAIRS: Final = 10
"""Pairs of patches below which a distance has no correlation."""

MOST_VARIABLES: Final = 5

_NEAR_KM: Final = 1e-3  # scenes of one footprint have no lag between them

Floats = NDArray[np.float64]


def places(statistics: Statistics) -> pd.DataFrame:
    """One row per AOI of a split: ``split``, ``aoi``, ``season``, position in degrees, ``scenes``.

    AOIs of unknown coordinates are left out.
    """
    known = statistics.scenes.dropna(subset=["longitude", "latitude"])
    xyz = pd.DataFrame(unit_vectors(known), known.index, ["x", "y", "z"])
    grouped = known.assign(**xyz).groupby(["split", "aoi"], sort=False)
    mean = grouped[["x", "y", "z"]].mean()
    table = pd.DataFrame({
        "season": grouped["season"].first(),
        "longitude": np.degrees(np.arctan2(mean["y"], mean["x"])),
        "latitude": np.degrees(np.arctan2(mean["z"], np.hypot(mean["x"], mean["y"]))),
        "scenes": grouped.size(),
    })  # fmt: skip
    return table.reset_index()


def unit_vectors(positions: pd.DataFrame) -> Floats:
    """Points on the unit sphere, shape (N, 3), of columns ``longitude`` and ``latitude``."""
    longitude, latitude = (np.radians(positions[name]) for name in ("longitude", "latitude"))
    return np.stack(
        [
            np.cos(latitude) * np.cos(longitude),
            np.cos(latitude) * np.sin(longitude),
            np.sin(latitude),
        ],
        1,
    )


def _arc_km(chords: Floats) -> Floats:
    return 2 * EARTH_KM * np.arcsin(np.clip(chords / 2, 0, 1))


def nearest_training(statistics: Statistics) -> pd.DataFrame:
    """Distance from each AOI that is not for training to the nearest one that is.

    Returns:
        Columns ``split``, ``aoi``, ``nearest`` and ``km`` between their centres; empty where either
        kind is missing or has no coordinates.
    """
    table = places(statistics)
    train, others = table[table["split"] == "train"], table[table["split"] != "train"]
    if train.empty or others.empty:
        return pd.DataFrame(columns=["split", "aoi", "nearest", "km"])
    chords, index = KDTree(unit_vectors(train)).query(unit_vectors(others))
    nearest = train["aoi"].to_numpy()[index]
    return others[["split", "aoi"]].assign(nearest=nearest, km=_arc_km(np.asarray(chords)))


# --- Patches of one AOI ---------------------------------------------------------------------


def variables(statistics: Statistics) -> list[str]:
    """Columns of which alikeness is measured: mean reflectance of some bands, and cloud cover."""
    bands = statistics.description.bands
    usual = [band for band in OPTICAL_BANDS if band in bands]
    chosen = [f"clear_{band}" for band in (usual or bands)[: MOST_VARIABLES - 1]]
    return [*chosen, *(["cloud_cover"] if statistics.has_masks else [])]


def standardised(statistics: Statistics) -> pd.DataFrame:
    """Variables of all scenes with mean 0 and variance 1; a constant one is left out."""
    values = statistics.scenes[variables(statistics)]
    varied = values.loc[:, values.max() > values.min()]
    return (varied - varied.mean()) / varied.std(ddof=0)


def intraclass(statistics: Statistics) -> pd.DataFrame:
    r"""Intraclass correlation of patches of an AOI, by one-way analysis of variance.

    With :math:`m` patches of an AOI (:math:`m_0 = (n - \sum m_i^2 / n) / (k - 1)` where they
    differ) and mean squares between and within :math:`k` AOIs, it is
    :math:`\rho = (B - W) / (B + (m_0 - 1) W)`. A mean over :math:`n` patches is as uncertain as
    that over :math:`n / (1 + (m_0 - 1) \rho)` independent ones (Kish 1965).

    Returns:
        Indexed by variable: ``correlation``, ``patches`` (:math:`m_0`), ``scenes`` and
        ``independent``; empty unless some AOIs have several patches.
    """
    scenes, values = statistics.scenes, standardised(statistics)
    rows = {}
    for name, column in values.items():
        known = column.dropna()
        groups = known.groupby(scenes.loc[known.index, "aoi"])
        sizes, total = groups.size(), len(known)
        k = len(sizes)
        if k < 2 or total <= k:
            continue
        m0 = (total - float((sizes**2).sum()) / total) / (k - 1)
        means = groups.transform("mean")
        within = float(((known - means) ** 2).sum()) / (total - k)
        between = float(((means - known.mean()) ** 2).sum()) / (k - 1)
        rho = (between - within) / (between + (m0 - 1) * within)
        effective = min(total / (1 + (m0 - 1) * rho), total)
        rows[name] = {
            "correlation": rho, "patches": m0, "scenes": total, "independent": effective,
        }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index")


def correlogram(statistics: Statistics) -> pd.DataFrame:
    """Correlation of patches of one AOI by the distance between them.

    A variable is standardised over all scenes. Its correlation at a distance is the sum of products
    over pairs by the sum of their mean squares: 0 as between patches of different places, 1 where
    both are equal. Intervals are over AOIs.

    Returns:
        Columns ``variable``, ``km`` (mean distance of the pairs), ``value``, ``low``, ``high`` (nan
        for fewer than two AOIs), ``pairs`` and ``aois``; empty without coordinates or with fewer
        than :data:`FEWEST_PAIRS` pairs.
    """
    empty = pd.DataFrame(columns=["variable", "km", "value", "low", "high", "pairs", "aois"])
    known = statistics.scenes.dropna(subset=["longitude", "latitude"])
    values = standardised(statistics).loc[known.index]
    groups = [group for _, group in known.groupby("aoi") if len(group) > 1]
    spacings = [_spacing(group) for group in groups]
    width = float(np.nanmedian(spacings)) if np.isfinite(spacings).any() else 0.0
    if not width:
        return empty
    sums = np.stack([_pair_sums(group, values.loc[group.index], width) for group in groups])
    rows = []
    for number, name in enumerate(values):
        for lag in range(LAGS):
            products, squares, distances, pairs = sums[:, :, number, lag].T
            if pairs.sum() < FEWEST_PAIRS:
                continue
            parts = np.stack([products, squares], 1)
            found = estimate(
                AoiSums(tuple(map(str, range(len(pairs)))), parts, _ratio, pairs, np.abs(products))
            )
            rows.append((name, distances.sum() / pairs.sum(), found.value, found.low, found.high,
                         int(pairs.sum()), found.aois))  # fmt: skip
    return pd.DataFrame(rows, columns=empty.columns) if rows else empty


def _ratio(sums: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio: Floats = sums[..., 0] / sums[..., 1]
    return ratio


def _spacing(group: pd.DataFrame) -> float:
    """Median distance of a patch to the nearest one that is not in the same place, in km."""
    distances, _ = KDTree(unit_vectors(group)).query(unit_vectors(group), k=min(len(group), 8))
    km = _arc_km(np.asarray(distances))
    nearest = np.where(km > _NEAR_KM, km, np.inf).min(1)
    finite = nearest[np.isfinite(nearest)]
    return float(np.median(finite)) if finite.size else np.nan


def _pair_sums(group: pd.DataFrame, values: pd.DataFrame, width: float) -> Floats:
    """Sums over pairs of patches of an AOI: products, mean squares, distances and number.

    Returns:
        Shape (4, variables, LAGS).
    """
    km = _arc_km(pdist(unit_vectors(group)))
    lag = np.floor(km / width - 0.5).astype(int)  # the first around one width
    first, second = np.triu_indices(len(group), 1)
    sums = np.zeros((4, values.shape[1], LAGS))
    for number, column in enumerate(values.to_numpy(np.float64).T):
        product = column[first] * column[second]
        usable = (lag >= 0) & (lag < LAGS) & np.isfinite(product)
        square = (column[first] ** 2 + column[second] ** 2) / 2
        for kind, weights in enumerate((product, square, km, np.ones_like(km))):
            sums[kind, number] = np.bincount(lag[usable], weights[usable], LAGS)
    return sums


def label_of(variable: str) -> str:
    """A variable in words: the band, or cloud cover."""
    return variable.removeprefix("clear_").replace("cloud_cover", "cloud cover")
