r"""Analyse where and how a method fails: regions, classes, AOIs, residual cloud.

All figures here are ratios of pooled pixels, whatever the protocol's own pool, so that parts add up
to the whole: the signature says ``pool:pixels``. Only SAM and SSIM exclude pixels, where they are
not defined.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from planetcr_bench.constants import (
    COVER_BINS,
    LAND_COVER,
    LAND_COVER_NAMES,
    REGIONS,
    SEASONS,
    THICKNESS,
)
from planetcr_bench.errors import LedgerError
from planetcr_bench.metrics import scores
from planetcr_bench.metrics.protocols import PROTOCOLS, Pool, Protocol
from planetcr_bench.metrics.registry import HEADLINE, METRICS, Of
from planetcr_bench.metrics.sums import INPUT_COLUMN, SUMS
from planetcr_bench.results.aggregate import (
    aoi_positions,
    clusters_of,
    group_sums,
    in_paper_order,
    measured_protocols,
    method_label,
)
from planetcr_bench.results.compact import CompactLedger
from planetcr_bench.results.known import Known
from planetcr_bench.results.ledger import Ledger
from planetcr_bench.results.rules import DISTANCE_ROUNDING
from planetcr_bench.results.schema import COLUMNS, cover_bins

POOL: Final[Pool] = "pixels"
"""Of every figure here."""

TRIANGLE: Final = ("residual", "recovery", "hallucination")
"""Shares that :func:`triangle` gives, in this order."""

ORDER: Final = {
    "region": REGIONS,
    "land_cover": LAND_COVER,
    "cover_bin": COVER_BINS,
    "season": SEASONS,
    "thickness": THICKNESS[1:],
}
"""Groups of the columns that have a fixed order; those without pixels are listed all the same."""

PASTE_BACKS: Final[dict[str, tuple[str, ...]]] = {
    "nothing": (),
    "clear": ("clear",),
    "clear and edge": ("clear", "edge"),
}
"""Regions in which a composite keeps the input's pixels."""

ADDITIVE: Final = HEADLINE[:3]
"""Metrics of a composite that follow from the sums of its parts; SSIM's window reaches across."""


def triangle(
    absolute_error: ArrayLike, prediction_cloudy: ArrayLike, cloudy_clear: ArrayLike
) -> NDArray[np.float64]:
    r"""Split errors into residual cloud and hallucination, and measure the recovery.

    With the :math:`L_1` distances between prediction :math:`p`, cloudy input :math:`c` and truth
    :math:`t`, :math:`a = \sum|p-t|`, :math:`b = \sum|p-c|`, :math:`d = \sum|c-t|`, the Gromov
    products

    .. math:: \mathrm{residual} = \tfrac{a+d-b}{2}, \quad \mathrm{recovery} = \tfrac{b+d-a}{2},
              \quad \mathrm{hallucination} = \tfrac{a+b-d}{2}

    split the error, :math:`a = \mathrm{residual} + \mathrm{hallucination}`, and the distance from
    cloudy to clear, :math:`d = \mathrm{residual} + \mathrm{recovery}`. None is negative, and all
    are additive over values. A value between cloudy and true is part residual cloud, part recovery,
    and no hallucination; what lies outside the two is hallucination. Returned are their shares of
    :math:`(a+b+d)/2`, the sum of the three.

    Args:
        absolute_error: :math:`a`, any unit, shape (...).
        prediction_cloudy: :math:`b`, of the same values.
        cloudy_clear: :math:`d`, of the same values.

    Returns:
        Shares of residual cloud, recovery and hallucination, each in [0, 1] and 1 together, shape
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
            "expected distances between prediction, cloudy and clear that satisfy the triangle "
            "inequality, got others"
        )
    shares = np.full(twice.shape, np.nan)
    np.divide(np.maximum(twice, 0), total, out=shares, where=total > 0)
    return shares


def widest_protocol(ledgers: Sequence[Ledger]) -> Protocol:
    """The protocol to analyse: ``full`` where all runs were measured in it, else ``official``."""
    full = PROTOCOLS["full"]
    return full if full in measured_protocols(ledgers) else PROTOCOLS["official"]


def signature(protocol: Protocol, metric: str = "all") -> str:
    """Signature of the figures of this module."""
    return protocol.signature(metric, POOL)


def gain(metric: str, after: ArrayLike, before: ArrayLike) -> NDArray[np.float64]:
    """How much better the first is, positive for better; 0 between two perfect PSNR.

    Args:
        metric: Name of a metric.
        after: Scores, shape (...).
        before: Scores, shape (...).
    """
    return METRICS[metric].gain(after, before)


@dataclass(frozen=True, eq=False)
class ErrorAnalysis:
    """Runs on one dataset in one protocol, and tables of their errors, each computed once.

    Attributes:
        ledgers: Runs on one dataset.
        protocol: Which to report.
    """

    ledgers: Sequence[Ledger]
    protocol: Protocol
    _made: dict[tuple[str, ...], pd.DataFrame] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def _runs(self) -> list[tuple[str, Ledger]]:
        """Name in tables and ledger of each run, in the paper's order."""
        return [(method_label(run), run) for run in in_paper_order(self.ledgers)]

    def _group_sums(self, *by: str) -> pd.DataFrame:
        """Sums of groups of each run's pixels, and how many scenes and AOIs they come from.

        Raises:
            ScenesError: A ledger is compact and has no such groups.
        """
        parts = []
        for name, run in self._runs:
            sums = group_sums(run, self.protocol, by, list(SUMS))[[*SUMS, "scenes", "aois"]]
            if by and all(key in ORDER for key in by):
                groups = [ORDER[key] for key in by]
                every = (
                    pd.MultiIndex.from_product(groups, names=by)
                    if len(by) > 1
                    else pd.Index(groups[0], name=by[0])
                )
                sums = sums.reindex(every, fill_value=0)
            parts.append(sums.reset_index().astype(dict.fromkeys(by, object)).assign(row=name))
        return pd.concat(parts, ignore_index=True)

    @cached_property
    def known(self) -> Known:
        """What is known of the scenes, and so which tables there are."""
        return Known.of(self.ledgers)

    @property
    def clusters(self) -> str:
        """Word for what groups scenes, such as ``AOIs``."""
        return clusters_of(self.ledgers)

    @property
    def edge(self) -> str:
        """Width of the region at the edge of cloud."""
        return self.ledgers[0].imagery.edge

    @property
    def complete(self) -> bool:
        """Whether all runs were scored on all scenes of the dataset."""
        return all(run.provenance["complete"] for run in self.ledgers)

    def failures(self, *by: str) -> pd.DataFrame:
        """Scores and errors of each method and its input, by groups of ledger rows.

        Args:
            by: Columns that name a group; also ``cover_bin``. None: one group, ``all``.

        Returns:
            ``row`` and the columns of ``by``; each metric of the prediction (``mae``), of the input
            (``input_mae``) and the gain (``gain_mae``, positive where the method is better);
            ``changed``, mean absolute difference to cloudy, reflectance; ``worse``, share of pixels
            whose error exceeds the input's; shares of :func:`triangle`; ``pixels``, ``scenes``,
            ``aois``. Columns of :data:`ORDER` hold its groups in its order, those without pixels
            with nan and zero, and no others: pixels of unknown land count elsewhere. Other columns
            hold the groups that the method has. Shared: not to be changed.
        """
        if by not in self._made:
            keys = by or ("all",)
            sums = self._group_sums(*by)
            self._made[by] = sums[["row", *keys]].join(_figures(sums, self.protocol))
        return self._made[by]

    @cached_property
    def regions(self) -> pd.DataFrame:
        """Errors of each method under cloud, at its edge, in clear pixels and overall.

        ``row``, ``region`` (``cloud``, ``edge``, ``clear``, ``all``), ``input_mae``, ``mae``,
        ``changed``, ``worse``, ``pixels``, ``scenes``.
        """
        names = ["row", "region", "input_mae", "mae", "changed", "worse", "pixels", "scenes"]
        overall = self.failures().rename(columns={"all": "region"})
        return _run_by_run([self.failures("region"), overall])[names]

    @cached_property
    def paste_back(self) -> pd.DataFrame:
        """Gain of keeping the input's pixels in clear regions, for each method.

        Exact: :data:`ADDITIVE` metrics of the composite follow from the sums of its parts. A line
        per method and key of :data:`PASTE_BACKS`: ``row``, ``pasted``, ``share`` (of pixels that
        the composite takes from the input), ``mae``, ``psnr``, ``sam_deg``, and ``gain_…`` of each
        over pasting nothing, positive where pasting helps.
        """
        lines = []
        for name, by_region in self._group_sums("region").groupby("row", sort=False):
            for pasted, regions in PASTE_BACKS.items():
                lines.append({"row": name, "pasted": pasted, **_composite(by_region, regions)})
        table = pd.DataFrame(lines)
        table[list(ADDITIVE)] = _scores(table, self.protocol)[list(ADDITIVE)]
        nothing = table[table["pasted"] == "nothing"].set_index("row").loc[table["row"]]
        for metric in ADDITIVE:
            table[f"gain_{metric}"] = gain(metric, table[metric], nothing[metric])
        gains = [f"gain_{metric}" for metric in ADDITIVE]
        return table[["row", "pasted", "share", *ADDITIVE, *gains]]

    @cached_property
    def scenes(self) -> pd.DataFrame:
        """Figures of each scene.

        As :meth:`failures` by ``scene``, with ``cloud_cover``, ``cover_bin`` and ``land_cover``,
        the prevailing class.

        Raises:
            ScenesError: A ledger is compact; see :attr:`with_scenes`.
        """
        facts: list[pd.DataFrame] = []
        known: set[str] = set()
        for _, run in self._runs:
            rows = _rows_of(run.frame, self.protocol)
            new = rows[~rows["scene"].isin(known)]
            facts += [_scene_facts(new)] if len(new) else []
            known |= set(new["scene"].unique())
        return self.failures("scene").merge(
            pd.concat(facts), left_on="scene", right_index=True, how="left"
        )

    @cached_property
    def aois(self) -> pd.DataFrame:
        """Figures of each area of interest.

        As :meth:`failures` by ``aoi``, with the means over its scenes of ``longitude`` and
        ``latitude`` (degrees, nan where unknown) and ``cloud_cover``.
        """
        means = [
            aoi_positions(run, self.protocol).reset_index().assign(row=row)
            for row, run in self._runs
        ]
        every = pd.concat(means).astype({"aoi": object})
        return self.failures("aoi").merge(every, on=["row", "aoi"], how="left")

    @cached_property
    def triangle(self) -> pd.DataFrame:
        """Shares of residual cloud, recovery and hallucination of each method and of its parts.

        A line per method and group: ``row``, ``by`` (``all``, ``region``, ``land_cover`` or
        ``cover_bin``, as far as they are known), ``group``, the shares of :func:`triangle`,
        ``mae``, ``pixels``, ``scenes``.
        """
        groups = {
            "region": self.known.masks,
            "land_cover": self.known.land_cover,
            "cover_bin": self.known.masks,
        }
        parts = [self.failures().rename(columns={"all": "group"}).assign(by="all")]
        parts += [
            self.failures(by).rename(columns={by: "group"}).assign(by=by)
            for by, known in groups.items()
            if known
        ]
        return _run_by_run(parts)[["row", "by", "group", *TRIANGLE, "mae", "pixels", "scenes"]]

    @cached_property
    def with_optical_thickness(self) -> ErrorAnalysis | None:
        """The same for ledgers of scenes with optical thickness; None without any."""
        runs = self.with_scenes.ledgers if self.with_scenes else ()
        return self._only([run for run in runs if run.has_thickness])

    @cached_property
    def with_scenes(self) -> ErrorAnalysis | None:
        """The same for ledgers of scenes, which compact ones are not; None without any."""
        return self._only([run for run in self.ledgers if not isinstance(run, CompactLedger)])

    def _only(self, ledgers: Sequence[Ledger]) -> ErrorAnalysis | None:
        if len(ledgers) == len(self.ledgers):
            return self
        return ErrorAnalysis(ledgers, self.protocol) if ledgers else None


def _rows_of(frame: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
    rows = frame.loc[frame["protocol"] == protocol.name, list(COLUMNS)]
    return rows.assign(cover_bin=cover_bins(rows))


def _figures(sums: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
    """Scores of each line of sums: the columns of :meth:`ErrorAnalysis.failures`."""
    figures = _scores(sums, protocol)
    before = _scores(sums, protocol, "input")
    for metric in HEADLINE:
        figures[f"input_{metric}"] = before[metric]
        figures[f"gain_{metric}"] = gain(metric, figures[metric], before[metric])
    figures["changed"] = scores.ratio(sums["prediction_cloudy"], sums["values"])
    figures["worse"] = sums["worse_pixels"] / sums["pixels"]
    figures[list(TRIANGLE)] = triangle(
        sums["absolute_error"], sums["prediction_cloudy"], sums["cloudy_clear"]
    )
    return figures.join(sums[["pixels", "scenes", "aois"]])


def _scores(sums: pd.DataFrame, protocol: Protocol, of: Of = "prediction") -> pd.DataFrame:
    """The metrics of each line of sums, pooled over pixels."""
    columns = {name: sums[name] for name in SUMS}
    figures = {name: METRICS[name].of_sums(columns, protocol, of) for name in HEADLINE}
    return pd.DataFrame(figures, index=sums.index)


def _run_by_run(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Lines of all tables, those of one run together, runs in the order of the first table."""
    runs = list(dict.fromkeys(parts[0]["row"]))
    return pd.concat(parts, ignore_index=True).sort_values(
        "row", key=lambda rows: rows.map(runs.index), kind="stable", ignore_index=True
    )


def _composite(by_region: pd.DataFrame, regions: Sequence[str]) -> dict[str, float]:
    """Sums of a prediction with the input's pixels in some regions, and the share of those."""
    kept = by_region["region"].isin(regions)
    taken = {
        ours: by_region[ours].mask(kept, by_region[its])
        for ours, its in INPUT_COLUMN.items()
        if ours in SUMS and its in SUMS
    }
    sums = by_region.assign(**taken)[list(SUMS)].sum()
    share = by_region.loc[kept, "pixels"].sum() / by_region["pixels"].sum()
    return {"share": float(share), **{str(name): value for name, value in sums.items()}}


def _scene_facts(rows: pd.DataFrame) -> pd.DataFrame:
    pixels = rows.pivot_table(
        index="scene", columns="land_cover", values="pixels", aggfunc="sum", observed=True
    )
    pixels.columns = pixels.columns.astype(str)
    prevailing = (
        pixels.reindex(columns=list(LAND_COVER_NAMES), fill_value=0).fillna(0).idxmax(axis=1)
    )
    facts = rows.groupby("scene", observed=True)[["cloud_cover", "cover_bin"]].first()
    return facts.astype({"cover_bin": object}).assign(land_cover=prevailing)


def extremes(table: pd.DataFrame, by: str, *, name: str = "scene", count: int = 5) -> pd.DataFrame:
    """Lines with the lowest and with the highest figure of each method.

    Args:
        table: :attr:`ErrorAnalysis.scenes` or :attr:`ErrorAnalysis.aois`.
        by: A figure of which more is better, such as ``psnr`` or ``gain_psnr``.
        name: Column that settles ties.
        count: Lines of each end, at most.

    Returns:
        The table's lines with ``end``: of each method the ``worst``, from the worst on, then the
        ``best``, from the best on; no line and no figure at both ends, so none where all are equal.
    """
    parts = []
    for _, lines in table[table[by].notna()].groupby("row", sort=False):
        rising = lines.sort_values([by, name], ascending=[True, True])
        beaten = rising[rising[by] < rising[by].iloc[-1]]
        worst = beaten.head(min(count, -(-len(rising) // 2)))
        falling = lines.sort_values([by, name], ascending=[False, True])
        best = falling[falling[by] > worst[by].max()].head(count)
        parts += [worst.assign(end="worst"), best.assign(end="best")]
    return pd.concat(parts, ignore_index=True) if parts else table.head(0).assign(end="")
