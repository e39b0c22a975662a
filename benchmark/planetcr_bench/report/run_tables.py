"""Compute every table of a run or of a comparison once, for files, page and terminal alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, get_args

import pandas as pd

from planetcr_bench.analysis.error_analysis import ErrorAnalysis, widest_protocol
from planetcr_bench.analysis.gains import Gain, gains_over_input
from planetcr_bench.analysis.segmentation import (
    OVERALL,
    segmenters_of,
    signature,
    without_segmenters,
)
from planetcr_bench.analysis.segmentation_tables import over_segmenters, published_rows, table3
from planetcr_bench.analysis.significance import MetricComparison, metric_comparisons
from planetcr_bench.metrics.protocols import PROTOCOLS, Pool, Protocol
from planetcr_bench.metrics.registry import HEADLINE, METRICS
from planetcr_bench.report.scores import (
    cover_table,
    further_table,
    pool_table,
    region_table,
    table2_and_floor,
    table2_tables,
)
from planetcr_bench.report.segmentation import segmenter_table, table3_tables
from planetcr_bench.report.significance import (
    best_of,
    gain_table,
    statistic_frame,
    statistic_tables,
)
from planetcr_bench.report.table import Table, number
from planetcr_bench.results.aggregate import (
    cover_scores,
    coverage,
    further_metrics,
    independence_note,
    input_window,
    measured_protocols,
    method_label,
    overall_scores,
)
from planetcr_bench.results.known import Known
from planetcr_bench.results.ledger import Ledger
from planetcr_bench.results.published import published_table2, refuse_published
from planetcr_bench.utils.validation import check_choice

_MIOU: Final = "mIoU ↑ [%]"


@dataclass(frozen=True, eq=False)
class RunTables:
    """Tables of one run, or of several on one dataset, each computed when first asked for.

    Attributes:
        ledgers: Runs on one dataset.
        pool: How per-class figures are averaged, if not as in each protocol.
        published: Add the paper's rows, in the ``official`` protocol.

    Raises:
        UsageError: ``pool`` is unknown.
        LedgerError: The runs have different segmenters, or published figures do not fit them.
    """

    ledgers: Sequence[Ledger]
    pool: Pool | None = None
    published: bool = False

    def __post_init__(self) -> None:
        check_choice("pool", self.pool, get_args(Pool))
        if self.published:
            refuse_published(self.ledgers)
        segmenters_of(self.ledgers)

    @cached_property
    def protocols(self) -> list[Protocol]:
        """Those that every run was measured in."""
        return measured_protocols(self.ledgers)

    @cached_property
    def known(self) -> Known:
        """What is known of the scenes, and so which tables there are."""
        return Known.of(self.ledgers)

    @property
    def limits(self) -> list[str]:
        """What is left out and why, and whether intervals are too narrow: a sentence each."""
        return [*self.known.missing, *independence_note(self.ledgers)]

    @property
    def segmented(self) -> bool:
        """Whether any run has a segmenter, and the land cover is known."""
        return self.known.land_cover and bool(segmenters_of(self.ledgers))

    @cached_property
    def comparisons(self) -> dict[str, list[MetricComparison]]:
        """Intervals and paired differences of every score, per protocol."""
        return {
            protocol.name: metric_comparisons(self.ledgers, protocol) for protocol in self.protocols
        }

    @cached_property
    def further(self) -> dict[str, list[MetricComparison]]:
        """The same of the further metrics; their intervals are Student's t alone."""
        runs, metrics = [*map(without_segmenters, self.ledgers)], further_metrics(self.ledgers)
        return {
            protocol.name: metric_comparisons(runs, protocol, metrics=metrics, resamples=0)
            for protocol in self.protocols
        }

    @cached_property
    def errors(self) -> ErrorAnalysis:
        """Where and how the runs fail."""
        return ErrorAnalysis(self.ledgers, widest_protocol(self.ledgers))

    @cached_property
    def gains(self) -> dict[str, list[Gain]]:
        """What each run gains over its input, by its name, in the protocol of :attr:`errors`."""
        protocol = self.errors.protocol
        return {run.name: gains_over_input(run, protocol) for run in self.ledgers}

    @cached_property
    def clear_gains(self) -> dict[str, list[Gain]]:
        """The same of the MAE of clear pixels; empty for compact ledgers."""
        protocol = self.errors.protocol
        return {
            run.name: gains_over_input(run, protocol, region="clear", metrics=["mae"])
            for run in self.ledgers
        }

    @cached_property
    def gain_table(self) -> Table:
        """Scores of each run beside its input's."""
        return gain_table(self.ledgers, self.errors.protocol, self.gains)

    @cached_property
    def cover(self) -> dict[str, pd.DataFrame]:
        """Scores over cloud-cover bins, per protocol: Fig. 5."""
        return {protocol.name: cover_scores(self.ledgers, protocol) for protocol in self.protocols}

    @cached_property
    def table2(self) -> dict[str, pd.DataFrame]:
        """Tab. 2 with SAM's noise floor, per protocol."""
        return {
            protocol.name: table2_and_floor(self.ledgers, protocol, pool=self.pool)
            for protocol in self.protocols
        }

    @cached_property
    def table3(self) -> dict[str, pd.DataFrame]:
        """Tab. 3 of every segmenter, per protocol."""
        return {protocol.name: table3(self.ledgers, protocol) for protocol in self.protocols}

    @property
    def table2_tables(self) -> list[Table]:
        """Tab. 2 and what belongs to it, in every protocol."""
        return [table for tables in self.table2_by_protocol for table in tables]

    @cached_property
    def table2_by_protocol(self) -> list[list[Table]]:
        """Tab. 2 (a) and (b), then its noise floor and counts, of each protocol.

        Of several runs the best and all tied with it are bold.
        """
        tables = []
        several = len(self.ledgers) > 1
        for protocol in self.protocols:
            own = table2_tables(
                self.ledgers,
                protocol,
                pool=self.pool,
                published=self.published,
                best=best_of(self.comparisons[protocol.name]) if several else {},
                scores=self.table2[protocol.name],
            )
            tables.append(own)
        return tables

    @cached_property
    def group_tables(self) -> list[Table]:
        """Scores by region and cloud cover, pooled in two ways, and further metrics."""
        tables = []
        for protocol, table in zip(self.protocols, self.further_tables, strict=True):
            if self.known.masks:
                tables += [
                    region_table(self.ledgers, protocol),
                    cover_table(self.ledgers, protocol, scores=self.cover[protocol.name]),
                ]
            tables += [pool_table(self.ledgers, protocol), table]
        return tables

    @cached_property
    def further_tables(self) -> list[Table]:
        """Further metrics in every protocol."""
        return [
            further_table(self.ledgers, protocol, self.further[protocol.name])
            for protocol in self.protocols
        ]

    @cached_property
    def table3_tables(self) -> list[Table]:
        """Tab. 3 and what belongs to it, in every protocol; none without a segmenter."""
        tables: list[Table] = []
        if not self.segmented:
            return tables
        for protocol in self.protocols:
            tables += table3_tables(
                self.ledgers,
                protocol,
                scores=self.table3[protocol.name],
                published=self.published,
                details=True,
            )
        return tables + segmenter_table(self.ledgers)

    @cached_property
    def statistic_tables(self) -> list[Table]:
        """Intervals and paired differences in every protocol."""
        tables = []
        for name, comparisons in self.comparisons.items():
            tables += statistic_tables(self.ledgers, PROTOCOLS[name], comparisons)
        return tables

    def table2_frame(self) -> pd.DataFrame:
        """Tab. 2 of all protocols at full precision, and how per-class figures were averaged."""
        frames = []
        for protocol in self.protocols:
            frame = self.table2[protocol.name]
            if self.published and protocol.name == "official":
                frame = pd.concat([frame, published_table2()], ignore_index=True)
            pool = self.pool or protocol.pool
            frames.append(_led_by(frame, protocol=protocol.name, class_average=pool))
        return pd.concat(frames, ignore_index=True)

    def table3_frame(self) -> pd.DataFrame:
        """Tab. 3 of all protocols at full precision, per segmenter and over several."""
        frames = [self._table3_frame(protocol) for protocol in self.protocols]
        return pd.concat(frames, ignore_index=True)

    def _table3_frame(self, protocol: Protocol) -> pd.DataFrame:
        frame = self.table3[protocol.name]
        frame = frame[frame["cover_bin"].isin([*self.known.bins, OVERALL])]
        segmenters = list(segmenters_of(self.ledgers))
        spread = [over_segmenters(frame)] if len(segmenters) > 1 else []
        frame = pd.concat([frame, *spread], ignore_index=True)
        frame[["absent", "unpredicted"]] = frame[["absent", "unpredicted"]].map(", ".join)
        frame = frame.astype(dict.fromkeys(("pixels", "scenes", "aois"), "Int64"))
        signatures = {key: signature("mIoU", protocol, [key]) for key in segmenters}
        over_all = signature("mIoU", protocol, segmenters)
        windows = {method_label(run): input_window(run) for run in self.ledgers}
        named = frame["row"].where(frame["kind"] == "measured")
        frame = _led_by(
            frame,
            signature=frame["segmenter"].map(signatures).fillna(over_all),
            input_window=named.map(windows).astype(object),
        )
        if self.published and protocol.name == "official":
            frame = pd.concat([frame, published_rows()], ignore_index=True)
        return _led_by(frame, protocol=protocol.name)

    def statistic_frame(self) -> pd.DataFrame:
        """Intervals and differences at full precision, with input windows and coverage."""
        frames = [
            statistic_frame(PROTOCOLS[name], [*comparisons, *self.further[name]])
            for name, comparisons in self.comparisons.items()
        ]
        frame = pd.concat(frames, ignore_index=True)
        windows = {run.name: input_window(run) for run in self.ledgers}
        frame = frame.assign(
            input_window=frame["run"].map(windows),
            coverage=frame["run"].map({run.name: coverage(run) for run in self.ledgers}),
        )
        if "minus" in frame:
            frame["minus_input_window"] = frame["minus"].map(windows)
        return frame

    def headlines(self) -> list[Table]:
        """Overall scores of each run beside the input's, a table per protocol, for the terminal."""
        return [self._headline(protocol) for protocol in self.protocols]

    def _headline(self, protocol: Protocol) -> Table:
        lines = overall_scores(self.ledgers, protocol, protocol.pool).to_dict("records")
        header = [protocol.name, *(METRICS[metric].title for metric in HEADLINE)]
        rows = [[line["row"], *(number(line[name]) for name in HEADLINE)] for line in lines]
        kinds = [line["kind"] for line in lines]
        if self.segmented:
            header.append(_MIOU)
            miou = self._mean_miou(protocol)
            for row, kind in zip(rows, kinds, strict=True):
                row.append(number(miou.get(row[0] if kind == "measured" else kind), digits=1))
        if len(self.ledgers) == 1:
            before, after = lines
            gains = (METRICS[name].gain(after[name], before[name]) for name in HEADLINE)
            cells = ["gain", *(number(float(better), sign=True) for better in gains)]
            rows.append(cells + [""] * self.segmented)
            kinds.append("gain")
        return Table("", header, rows, kinds)

    def _mean_miou(self, protocol: Protocol) -> dict[str, float]:
        """Overall mIoU, the mean over segmenters, of each method by name and of the ``input``."""
        table = over_segmenters(self.table3[protocol.name])
        table = table[(table["segmenter"] == "mean") & (table["cover_bin"] == OVERALL)]
        return {
            str(line["row"] if line["kind"] == "measured" else line["kind"]): line["miou"]
            for line in table.to_dict("records")
        }


def _led_by(frame: pd.DataFrame, **columns: str | pd.Series[Any]) -> pd.DataFrame:
    """A table with these columns before all others."""
    return frame.assign(**columns)[[*columns, *frame]]
