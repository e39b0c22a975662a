r"""Ledgers in, tables of where and how a method fails out: skies, classes, places, the triangle.

All figures here are ratios of pooled pixels, whatever the protocol's own pool, so that parts add up
to the whole: the signature says ``pool:pixels``. Only SAM and SSIM leave pixels out, where they are
not defined.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from planetcr_bench import scores
from planetcr_bench.errors import LedgerError
from planetcr_bench.ledger import DISTANCE_ROUNDING, SUMS, Ledger
from planetcr_bench.protocols import PROTOCOLS, Pool, Protocol
from planetcr_bench.tables import (
    HIGHER_IS_BETTER,
    METRICS,
    SUMS_OF_INPUT,
    in_paper_order,
    measured_protocols,
    method_label,
    score_groups,
)
from planetcr_bench.vocabulary import (
    COVER_BINS,
    LAND_COVER,
    LAND_COVER_NAMES,
    SEASONS,
    SKY,
    THICKNESS,
    cover_bin,
)

POOL: Final[Pool] = "pixels"
"""Of every figure here."""

TRIANGLE: Final = ("residual", "recovery", "invention")
"""Shares that :func:`triangle` gives, in this order."""

ORDER: Final = {
    "sky": SKY,
    "land_cover": LAND_COVER,
    "cover_bin": COVER_BINS,
    "season": SEASONS,
    "thickness": THICKNESS[1:],
}
"""Groups of the columns that have a fixed order; those without pixels are listed all the same."""

PASTES: Final[dict[str, tuple[str, ...]]] = {
    "nothing": (),
    "clear": ("clear",),
    "clear and rim": ("clear", "rim"),
}
"""Skies under which a composite keeps the input's pixels."""

_ADDITIVE: Final = METRICS[:3]  # SSIM of a composite does not follow from its parts


def triangle(
    absolute_error: ArrayLike, prediction_cloudy: ArrayLike, cloudy_clear: ArrayLike
) -> NDArray[np.float64]:
    r"""Where a prediction lies between the cloudy image and the truth, or off the way.

    With the :math:`L_1` distances between prediction :math:`p`, cloudy input :math:`c` and truth
    :math:`t`, :math:`a = \sum|p-t|`, :math:`b = \sum|p-c|`, :math:`d = \sum|c-t|`, the Gromov
    products

    .. math:: \mathrm{residual} = \tfrac{a+d-b}{2}, \quad \mathrm{recovery} = \tfrac{b+d-a}{2},
              \quad \mathrm{invention} = \tfrac{a+b-d}{2}

    split the error, :math:`a = \mathrm{residual} + \mathrm{invention}`, and the way that there was
    to go, :math:`d = \mathrm{residual} + \mathrm{recovery}`. None is negative, and all are additive
    over values. A value between cloudy and true is part residual cloud, part recovery, and no
    invention; what lies beyond either is invention. Returned are their shares of
    :math:`(a+b+d)/2`, the sum of the three.

    Args:
        absolute_error: :math:`a`, any unit, shape (...).
        prediction_cloudy: :math:`b`, of the same values.
        cloudy_clear: :math:`d`, of the same values.

    Returns:
        Shares of residual cloud, recovery and invention, each in [0, 1] and 1 together, shape
        (..., 3); nan where all three images agree.

    Raises:
        LedgerError: One distance is greater than the other two together, beyond rounding.

    Example:
        >>> triangle([0.5, 0.0, 0.0], [0.0, 0.5, 0.0], [0.5, 0.5, 0.0])  # a copy, perfect, clear
        array([[ 1.,  0.,  0.],
               [ 0.,  1.,  0.],
               [nan, nan, nan]])
    """
    a, b, d = (
        np.asarray(sums, np.float64)
        for sums in np.broadcast_arrays(absolute_error, prediction_cloudy, cloudy_clear)
    )
    twice = np.stack([a + d - b, b + d - a, a + b - d], axis=-1)
    total = (a + b + d)[..., None]
    if (twice < -DISTANCE_ROUNDING * total).any():
        raise LedgerError(
            "expected distances between prediction, cloudy and clear of which none is greater than "
            "the other two together, found otherwise"
        )
    shares = np.full(twice.shape, np.nan)
    np.divide(np.maximum(twice, 0), total, out=shares, where=total > 0)
    return shares


def widest_protocol(ledgers: Sequence[Ledger]) -> Protocol:
    """The protocol to diagnose: ``full`` where all runs were measured in it, else ``official``."""
    full = PROTOCOLS["full"]
    return full if full in measured_protocols(ledgers) else PROTOCOLS["official"]


def signature(protocol: Protocol, metric: str = "all") -> str:
    """What says how the figures of this file were computed."""
    return protocol.signature(metric, POOL)


def gain(metric: str, after: ArrayLike, before: ArrayLike) -> NDArray[np.float64]:
    """How much better the first is, positive for better; 0 between two perfect PSNR.

    Args:
        metric: One of ``METRICS``.
        after: Scores, shape (...).
        before: Scores, shape (...).
    """
    after, before = np.asarray(after, np.float64), np.asarray(before, np.float64)
    with np.errstate(invalid="ignore"):
        difference = np.where(after == before, 0.0, after - before)
    return difference if HIGHER_IS_BETTER[metric] else 0.0 - difference


def group_figures(frame: pd.DataFrame, protocol: Protocol, by: Sequence[str] = ()) -> pd.DataFrame:
    """Everything that the sums of groups of ledger rows tell of a method and its input.

    Args:
        frame: Rows of a ledger, all protocols.
        protocol: Which to report.
        by: Columns that name a group; also ``cover_bin``. None: one group, ``all``.

    Returns:
        One row per group that has pixels, indexed by ``by``: each metric of the prediction
        (``mae``), of the input (``input_mae``) and the gain (``gain_mae``, positive where the
        method is better); ``changed``, mean absolute difference to cloudy, reflectance; ``worse``,
        share of pixels whose error exceeds the input's; shares of :func:`triangle`; ``pixels``,
        ``scenes``, ``aois``.
    """
    figures = score_groups(frame, protocol, by, pool=POOL)
    before = score_groups(frame, protocol, by, of="input", pool=POOL)
    for metric in METRICS:
        figures[f"input_{metric}"] = before[metric]
        figures[f"gain_{metric}"] = gain(metric, figures[metric], before[metric])
    rows = frame[frame["protocol"] == protocol.name]
    rows = rows.assign(all="all", cover_bin=[cover_bin(cover) for cover in rows["cloud_cover"]])
    sums = rows.groupby(list(by) or ["all"], observed=True)[list(SUMS)].sum()
    figures["changed"] = scores.mae(sums["prediction_cloudy"], sums["values"])
    figures["worse"] = sums["worse_pixels"] / sums["pixels"]
    figures[list(TRIANGLE)] = triangle(
        sums["absolute_error"], sums["prediction_cloudy"], sums["cloudy_clear"]
    )
    return figures


def failure_table(
    ledgers: Sequence[Ledger], protocol: Protocol, by: Sequence[str] = ()
) -> pd.DataFrame:
    """:func:`group_figures` of each method.

    Args:
        ledgers: Runs on one dataset.
        protocol: Which to report.
        by: Columns that name a group; none: ``all``.

    Returns:
        ``row``, the columns of ``by``, then all figures. Columns of :data:`ORDER` hold its groups
        in its order, those without pixels with nan and zero, and no others: pixels of unknown land
        count elsewhere. Other columns hold the groups that the method has.
    """
    keys = list(by) or ["all"]
    parts = []
    for run in in_paper_order(ledgers):
        figures = group_figures(run.frame, protocol, by)
        if all(key in ORDER for key in keys):
            figures = figures.reindex(_every([ORDER[key] for key in keys], keys))
        part = figures.reset_index().assign(row=method_label(run))
        parts.append(part.astype(dict.fromkeys(keys, object)))
    table = pd.concat(parts, ignore_index=True)
    behind = ["pixels", "scenes", "aois"]
    table[behind] = table[behind].fillna(0).astype(int)
    return table[["row", *(name for name in table if name != "row")]]


def _every(orders: Sequence[Sequence[str]], keys: Sequence[str]) -> pd.Index:
    """All groups of the columns, as an index of the kind that ``groupby`` makes."""
    if len(keys) == 1:
        return pd.Index(list(orders[0]), name=keys[0])
    return pd.MultiIndex.from_tuples(list(product(*orders)), names=list(keys))


def harm_table(ledgers: Sequence[Ledger], protocol: Protocol) -> pd.DataFrame:
    """What each method did under cloud, on its rim and under clear sky, and to all pixels.

    Returns:
        ``row``, ``sky`` (``cloud``, ``rim``, ``clear``, ``all``), ``input_mae``, ``mae``,
        ``changed``, ``worse``, ``pixels``, ``scenes``.
    """
    by_sky = failure_table(ledgers, protocol, ["sky"])
    overall = failure_table(ledgers, protocol).rename(columns={"all": "sky"})
    names = ["row", "sky", "input_mae", "mae", "changed", "worse", "pixels", "scenes"]
    table = pd.concat([by_sky, overall], ignore_index=True)[names]
    runs = list(overall["row"])  # a method's skies, then its whole
    return table.sort_values(
        "row", key=lambda rows: rows.map(runs.index), kind="stable", ignore_index=True
    )


def paste_table(ledgers: Sequence[Ledger], protocol: Protocol) -> pd.DataFrame:
    """What keeping the input's pixels where the sky is clear would gain each method.

    Exact: MAE, PSNR and SAM of the composite follow from the sums of its parts. SSIM does not, its
    window reaches across their border.

    Returns:
        A line per method and key of :data:`PASTES`: ``row``, ``pasted``, ``share`` (of pixels that
        the composite takes from the input), ``mae``, ``psnr``, ``sam_deg``, and ``gain_…`` of each
        over pasting nothing, positive where pasting helps.
    """
    parts = []
    for run in in_paper_order(ledgers):
        rows = run.frame[run.frame["protocol"] == protocol.name]
        for name, skies in PASTES.items():
            pasted = rows["sky"].isin(skies)
            taken = {
                ours: rows[ours].mask(pasted, rows[theirs])
                for ours, theirs in SUMS_OF_INPUT.items()
            }
            figures = score_groups(rows.assign(**taken), protocol, pool=POOL)[list(_ADDITIVE)]
            share = rows.loc[pasted, "pixels"].sum() / rows["pixels"].sum()
            parts.append(figures.assign(row=method_label(run), pasted=name, share=share))
    table = pd.concat(parts, ignore_index=True)
    nothing = table[table["pasted"] == "nothing"].set_index("row").loc[table["row"]]
    for metric in _ADDITIVE:
        table[f"gain_{metric}"] = gain(metric, table[metric], nothing[metric])
    gains = [f"gain_{metric}" for metric in _ADDITIVE]
    return table[["row", "pasted", "share", *_ADDITIVE, *gains]]


def scene_table(ledgers: Sequence[Ledger], protocol: Protocol) -> pd.DataFrame:
    """Figures of each scene.

    Returns:
        As :func:`failure_table` by ``scene``, with ``cloud_cover``, ``cover_bin`` and
        ``land_cover``, the class of most of its pixels.
    """
    table = failure_table(ledgers, protocol, ["scene"])
    facts = pd.concat([_scene_facts(run.frame, protocol) for run in in_paper_order(ledgers)])
    facts = facts[~facts.index.duplicated()]
    return table.merge(facts, left_on="scene", right_index=True, how="left")


def _scene_facts(frame: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
    rows = frame[frame["protocol"] == protocol.name]
    pixels = rows.pivot_table(
        index="scene", columns="land_cover", values="pixels", aggfunc="sum", observed=True
    )
    pixels.columns = pixels.columns.astype(str)
    prevailing = (
        pixels.reindex(columns=list(LAND_COVER_NAMES), fill_value=0).fillna(0).idxmax(axis=1)
    )
    cover = rows.groupby("scene", observed=True)["cloud_cover"].first()
    bins = cover.map(cover_bin)
    return pd.DataFrame({"cloud_cover": cover, "cover_bin": bins, "land_cover": prevailing})


def extremes(table: pd.DataFrame, by: str, *, name: str = "scene", count: int = 5) -> pd.DataFrame:
    """Lines with the lowest and with the highest figure of each method.

    Args:
        table: Of :func:`scene_table` or :func:`aoi_table`.
        by: A figure of which more is better, such as ``psnr`` or ``gain_psnr``.
        name: Column that settles ties.
        count: Lines of each end, at most.

    Returns:
        The table's lines with ``end``: of each method the ``worst``, from the worst on, then the
        ``best``, from the best on; no line twice.
    """
    parts = []
    for _, lines in table[table[by].notna()].groupby("row", sort=False):
        rising = lines.sort_values([by, name], ascending=[True, True])
        worst = rising.head(min(count, -(-len(rising) // 2)))
        rest = lines.drop(worst.index).sort_values([by, name], ascending=[False, True])
        parts += [worst.assign(end="worst"), rest.head(count).assign(end="best")]
    return pd.concat(parts, ignore_index=True) if parts else table.head(0).assign(end="")


def aoi_table(ledgers: Sequence[Ledger], protocol: Protocol) -> pd.DataFrame:
    """Figures of each area of interest.

    Returns:
        As :func:`failure_table` by ``aoi``, with the means over its scenes of ``longitude`` and
        ``latitude`` (degrees, nan where no scene has a place) and ``cloud_cover``.
    """
    table = failure_table(ledgers, protocol, ["aoi"])
    names = ["longitude", "latitude", "cloud_cover"]
    for run in in_paper_order(ledgers):
        rows = run.frame[run.frame["protocol"] == protocol.name].drop_duplicates("scene")
        means = rows.groupby("aoi", observed=True)[names].mean()
        mine = table["row"] == method_label(run)
        table.loc[mine, names] = means.loc[table.loc[mine, "aoi"]].to_numpy()
    return table


def triangle_table(ledgers: Sequence[Ledger], protocol: Protocol) -> pd.DataFrame:
    """Shares of residual cloud, recovery and invention of each method, overall and in its parts.

    Returns:
        A line per method and group: ``row``, ``by`` (``all``, ``sky``, ``land_cover`` or
        ``cover_bin``), ``group``, the shares of :func:`triangle`, ``mae``, ``pixels``, ``scenes``.
    """
    parts = []
    for run in in_paper_order(ledgers):
        for by in ("all", "sky", "land_cover", "cover_bin"):
            table = failure_table([run], protocol, [] if by == "all" else [by])
            parts.append(table.rename(columns={by: "group"}).assign(by=by))
    names = ["row", "by", "group", *TRIANGLE, "mae", "pixels", "scenes"]
    return pd.concat(parts, ignore_index=True)[names]


def told_truth(ledgers: Sequence[Ledger]) -> list[Ledger]:
    """Runs whose evaluation knew how thick the simulated clouds are."""
    return [run for run in ledgers if (run.frame["thickness"] != THICKNESS[0]).any()]


def thickness_table(ledgers: Sequence[Ledger], protocol: Protocol) -> pd.DataFrame | None:
    """Figures per bin of the optical thickness of cloud, of the runs that were told the truth.

    Returns:
        As :func:`failure_table` by ``thickness``; None where no run knows any.
    """
    told = told_truth(ledgers)
    return failure_table(told, protocol, ["thickness"]) if told else None
