"""Make the tables of a paper from the frames that reports are made of."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
import pandas as pd

from planetcr_bench.analysis.groups import group_comparisons
from planetcr_bench.analysis.intervals import LEVEL, RESAMPLES, Estimate, estimate, score_sums
from planetcr_bench.analysis.segmentation import OVERALL, segmenters_of
from planetcr_bench.analysis.segmentation_tables import CLOUDY, over_segmenters, published_rows
from planetcr_bench.analysis.significance import MetricComparison
from planetcr_bench.constants import LAND_COVER
from planetcr_bench.errors import UsageError
from planetcr_bench.metrics.registry import HEADLINE, METRICS, SEGMENTATION
from planetcr_bench.paper.references import PAPER_KEY
from planetcr_bench.paper.runs import Method, Runs
from planetcr_bench.paper.words import (
    dataset_words,
    incomplete_words,
    protocol_words,
    tie_words,
)
from planetcr_bench.report.run_tables import RunTables
from planetcr_bench.report.table import Table, number, shared_heads
from planetcr_bench.results.aggregate import INPUT, clusters_of, input_note, method_label
from planetcr_bench.results.published import SEEN, SOURCE, published_table2
from planetcr_bench.utils.untrusted import printable

METRIC_NAMES: Final = {
    "mae": "mae", "psnr": "psnr", "sam": "sam_deg", "ssim": "ssim", "miou": "miou", "pa": "pa",
}  # fmt: skip
"""Names of metrics in options to those in tables."""

MOST_DIGITS: Final = 6

_IMAGES: Final = ("clear", "input")  # rows of the dataset's own images


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of scores.

    Attributes:
        head: What it has in common with its neighbours.
        title: Its own name.
        scores: Name of a row to its score.
        metric: Name of the metric.
        comparisons: Of the methods, by each segmenter or once.
    """

    head: str
    title: str
    scores: Mapping[str, float]
    metric: str
    comparisons: Sequence[MetricComparison] = ()


@dataclass(frozen=True, eq=False)
class PaperTables:
    """The tables of a paper, each computed when first asked for.

    Attributes:
        runs: What is reported.
        cites: Label of a method to the key under which it is cited.
        intervals: Print the 95 % intervals of overall scores.
        digits: Metric to digits after the point, where they are not the usual ones.
        ablation: Groups of runs, the last of each being the complete method.
    """

    runs: Runs
    cites: Mapping[str, str] = field(default_factory=dict)
    intervals: bool = False
    digits: Mapping[str, int] = field(default_factory=dict)
    ablation: Sequence[Sequence[Method]] = ()

    @cached_property
    def tables(self) -> RunTables:
        """Those of a comparison of the runs."""
        return RunTables(self.runs.ledgers)

    @cached_property
    def segmenters(self) -> list[str]:
        """Keys of the segmenters; none unless all runs have them."""
        return list(segmenters_of(self.runs.ledgers)) if self.runs.segmented else []

    @cached_property
    def by_cover(self) -> dict[str, list[MetricComparison]]:
        """Comparisons in each cloud-cover bin."""
        runs = self.runs
        return group_comparisons(
            runs.ledgers, runs.protocol, "cover_bin", segmenters=self.segmenters
        )

    @cached_property
    def overall(self) -> dict[str, list[MetricComparison]]:
        """Metric to its comparisons over all scenes, by each segmenter or one."""
        comparisons = self.tables.comparisons[self.runs.protocol.name]
        return {
            metric: [each for each in comparisons if each.metric == metric]
            for metric in (HEADLINE + SEGMENTATION if self.segmenters else HEADLINE)
        }

    @cached_property
    def _scores(self) -> pd.DataFrame:
        """Tab. 2 without gains, with published rows if they are shown."""
        frame = self.tables.table2[self.runs.protocol.name]
        frame = frame[frame["kind"].isin(["input", "measured"])]
        published = [published_table2()] * self.runs.published
        return pd.concat([frame, *published], ignore_index=True).set_index("row")

    @cached_property
    def _land_cover(self) -> pd.DataFrame:
        """Tab. 3, the mean over segmenters, likewise, without recovery."""
        frame = over_segmenters(self.tables.table3[self.runs.protocol.name])
        frame = frame[frame["segmenter"] == "mean"]
        published = [published_rows()] * self.runs.published
        return pd.concat([frame, *published], ignore_index=True)

    def _rows(self, frame: pd.DataFrame) -> list[tuple[str, str]]:
        """Name and kind of the rows of a table, in the order of the paper."""
        kinds = dict(zip(frame.get("row", frame.index), frame["kind"], strict=True))
        own = {method_label(method.ledger): method.kind for method in self.runs.methods}
        first = [(name, kind) for name, kind in kinds.items() if kind in _IMAGES]
        published = [(name, kind) for name, kind in kinds.items() if kind == "published"]
        return [*first, *((name, str(kind)) for name, kind in own.items()), *published]

    # --- Tables of scores -------------------------------------------------------------------

    @cached_property
    def main(self) -> Table:
        """Overall scores: the table to begin with."""
        columns = [self._overall(metric) for metric in self.overall]
        what = "Reconstruction and land-cover scores" if self.segmenters else "Scores"
        table = self._table(f"{what} on {{dataset}}, {{protocol}}.", self._scores, columns)
        table = self._with_intervals(table, columns) if self.intervals else table
        if self.segmenters:
            table = _noted(table, self._segmenter_words())
        return replace(table, label="tab:main")

    @cached_property
    def table2(self) -> Table:
        """Tab. 2: MAE and SAM per class, and all four metrics over all scenes."""
        runs = self.runs
        has_classes = self.tables.known.land_cover
        by_class = group_comparisons(runs.ledgers, runs.protocol, "land_cover")
        columns: list[_Column] = []
        for metric, other in (("mae", "psnr"), ("sam_deg", "ssim")):
            title = METRICS[metric].title
            for name in LAND_COVER * has_classes:
                own = [each for each in by_class[name] if each.metric == metric]
                scores = self._scores[f"{metric}_{name}"]
                columns.append(_Column(title, name.capitalize(), _by_row(scores), metric, own))
            overall = self._overall(metric)
            columns.append(replace(overall, head=title, title="All") if has_classes else overall)
            columns.append(self._overall(other))
        caption = "MAE and SAM by land cover, and all metrics, on {dataset}, {protocol}."
        if not has_classes:
            caption = "Scores on {dataset}, {protocol}."
        table = self._table(caption, self._scores, columns)
        if has_classes:
            table = _noted(table, "All: also pixels of unknown land cover.")
        return replace(table, label="tab:reconstruction")

    @cached_property
    def table3(self) -> Table:
        """Tab. 3: mIoU and PA per cloud-cover bin and over all scenes."""
        frame, columns = self._land_cover, []
        for name in (*self.tables.known.bins, OVERALL):
            part = frame[frame["cover_bin"] == name].set_index("row")
            head = "All" if name == OVERALL else f"{name.replace('-', '–')} %"
            for metric in SEGMENTATION:
                own = self.overall[metric]
                if name != OVERALL:
                    own = [each for each in self.by_cover[name] if each.metric == metric]
                columns.append(
                    _Column(head, METRICS[metric].label, _by_row(part[metric]), metric, own)
                )
        caption = (
            "Land cover that a segmenter recognises: mIoU and pixel accuracy (PA) in % by cloud "
            "cover on {dataset}, {protocol}."
        )
        table = _noted(self._table(caption, frame, columns), self._segmenter_words())
        return replace(table, label="tab:landcover")

    def _overall(self, metric: str) -> _Column:
        comparisons = self.overall[metric]
        if metric in HEADLINE:
            values = _by_row(self._scores[metric])
        else:
            frame = self._land_cover[self._land_cover["cover_bin"] == OVERALL]
            named = np.where(
                frame["kind"] == "input", frame["row"].str.replace(CLOUDY, INPUT), frame["row"]
            )
            values = _by_row(frame.set_index(named)[metric])
        return _Column("", METRICS[metric].title, values, metric, comparisons)

    def _table(self, caption: str, frame: pd.DataFrame, columns: Sequence[_Column]) -> Table:
        rows = self._rows(frame)
        cells = [
            [name, *(self._number(column, column.scores.get(name)) for column in columns)]
            for name, _ in rows
        ]
        places = {method_label(method.ledger): method.label for method in self.runs.methods}
        labels = [places.get(name) for name, _ in rows]
        bold, second = set(), set()
        for position, column in enumerate(columns, 1):
            best, next_best = best_and_second(column.comparisons)
            bold |= {(row, position) for row, label in enumerate(labels) if label in best}
            next_texts = {
                cells[row][position] for row, label in enumerate(labels) if label in next_best
            }
            second |= {
                (row, position)
                for row, label in enumerate(labels)
                if label and label not in best and cells[row][position] in next_texts
            }
        return Table(
            caption,
            ["Method", *(column.title for column in columns)],
            cells,
            [kind for _, kind in rows],
            self._notes(marks=bool(bold)),
            bold=frozenset(bold),
            second=frozenset(second),
            heads=shared_heads([column.head for column in columns])
            if any(column.head for column in columns)
            else (),
            caption=self._caption(caption),
            cites=self._row_cites(labels, [kind for _, kind in rows]),
            rules=rules_between(["image" if kind in _IMAGES else kind for _, kind in rows]),
        )

    def _number(self, column: _Column, value: object) -> str:
        metric = METRICS[column.metric]
        return number(value, digits=self.digits.get(metric.name, metric.digits))

    def _caption(self, text: str) -> str:
        runs = self.runs
        return text.format(dataset=dataset_words(runs), protocol=protocol_words(runs.protocol))

    def _notes(self, *, marks: bool) -> list[str]:
        """What stands under a table, in one paragraph."""
        runs = self.runs
        notes = [
            tie_words(runs, several=marks),
            f"Rows marked (published): {SOURCE}. {SEEN}" if runs.published else "",
            incomplete_words(runs.ledgers),
            input_note(runs.ledgers) if "differ" in input_note(runs.ledgers) else "",
        ]
        text = " ".join(filter(None, notes))
        return [text] if text else []

    def _segmenter_words(self) -> str:
        names = segmenters_of(self.runs.ledgers)
        several = f"s {' and '.join(names.values())}, whose mean is shown" if len(names) > 1 else ""
        return f"Segmenter{several or f': {next(iter(names.values()))}'}."

    def _row_cites(self, labels: Sequence[str | None], kinds: Sequence[str]) -> dict[int, str]:
        cites = {
            row: rf"~\cite{{{self.cites[label]}}}"
            for row, label in enumerate(labels)
            if label is not None and label in self.cites
        }
        published = {row for row, kind in enumerate(kinds) if kind == "published"}
        return cites | dict.fromkeys(published, rf"~\cite{{{PAPER_KEY}}}")

    # --- Intervals --------------------------------------------------------------------------

    def _with_intervals(self, table: Table, columns: Sequence[_Column]) -> Table:
        """The table with a small row of intervals below each measured one."""
        estimates = self._estimates(columns)
        rows: list[Sequence[str]] = []
        kinds, moved = [], {}
        for index, (row, kind) in enumerate(zip(table.rows, table.kinds, strict=True)):
            moved[index] = len(rows)
            rows.append(row)
            kinds.append(kind)
            if own := estimates.get(row[0]):
                cells = [self._interval(each, own.get(each.metric)) for each in columns]
                rows.append(["", *cells])
                kinds.append("interval")
        return replace(
            _noted(table, f"Small: 95 % intervals over {clusters_of(self.runs.ledgers)}."),
            rows=rows,
            kinds=kinds,
            bold=frozenset((moved[row], column) for row, column in table.bold),
            second=frozenset((moved[row], column) for row, column in table.second),
            cites={moved[row]: cite for row, cite in table.cites.items()},
            rules=[moved[row] for row in table.rules],
        )

    def _estimates(self, columns: Sequence[_Column]) -> dict[str, dict[str, Estimate]]:
        """Row to metric to its estimate; with several segmenters none of their metrics."""
        result: dict[str, dict[str, Estimate]] = {}
        for method in self.runs.methods:
            own = result.setdefault(method_label(method.ledger), {})
            for column in columns:
                if len(column.comparisons) == 1:
                    own[column.metric] = column.comparisons[0].estimates[method.label]
        if self.runs.copy is not None:
            name = next(name for name, kind in self._rows(self._scores) if kind == "input")
            result[name] = self._estimates_of_input(self.runs.copy)
        return result

    def _estimates_of_input(self, copy: Method) -> dict[str, Estimate]:
        segmenters = self.segmenters if len(self.segmenters) == 1 else []
        keys = [key for key in segmenters if key in copy.ledger.segmenters]
        sums = score_sums(copy.ledger, self.runs.protocol, keys)
        return {metric: estimate(own, resamples=RESAMPLES) for (metric, _), own in sums.items()}

    def _interval(self, column: _Column, own: Estimate | None) -> str:
        if own is None or not np.isfinite(own.high - own.low):
            return ""
        return "–".join(self._number(column, end) for end in (own.low, own.high))

    # --- Ablation ---------------------------------------------------------------------------

    @cached_property
    def ablation_table(self) -> Table | None:
        """Variants of methods beside the complete ones; None without any."""
        if not self.ablation:
            return None
        columns = [self._overall(metric) for metric in self.overall]
        methods = [method for group in self.ablation for method in group]
        rows = [
            self._ablation_row(method, group[-1], columns)
            for group in self.ablation
            for method in group
        ]
        labels = [method.label for method in methods]
        groups = [str(number) for number, group in enumerate(self.ablation) for _ in group]
        caption = "Ablation on {dataset}, {protocol}."
        note = (
            "Δ: difference to the complete method, the last row"
            f"{' of a group' if len(self.ablation) > 1 else ''}. *: significant (paired on "
            f"{clusters_of(self.runs.ledgers)}, Holm-corrected, 5 %)."
        )
        heads = [(column.title, 2) for column in columns]
        return Table(
            caption,
            ["Method", *(name for _ in columns for name in ("score", "Δ"))],
            rows,
            ["measured"] * len(rows),
            [note, *self._notes(marks=False)],
            heads=heads,
            label="tab:ablation",
            caption=self._caption(caption),
            cites=self._row_cites(labels, ["measured"] * len(rows)),
            rules=rules_between(groups),
        )

    def _ablation_row(
        self, method: Method, complete: Method, columns: Sequence[_Column]
    ) -> list[str]:
        cells = [method_label(method.ledger)]
        whole = method_label(complete.ledger)
        for column in columns:
            value, other = column.scores[cells[0]], column.scores[whole]
            digits = self.digits.get(column.metric, METRICS[column.metric].digits)
            difference = number(value - other, sign=True, digits=digits)
            names = {method.label, complete.label}
            differs = bool(column.comparisons) and all(
                any(
                    {pair.first, pair.second} == names and pair.p_holm < LEVEL
                    for pair in each.pairs
                )
                for each in column.comparisons
            )
            mark = "*" if differs else ""
            cells += [
                self._number(column, value),
                "" if method is complete else f"{difference}{mark}",
            ]
        return cells

    # --- Methods ----------------------------------------------------------------------------

    @cached_property
    def methods(self) -> Table | None:
        """What the cards say of the methods; None without cards."""
        carded = [method for method in self.runs.methods if method.card]
        if not carded:
            return None
        rows = []
        for method in carded:
            card = method.card
            assert card is not None  # mypy does not see the list above
            rows.append([
                method.label, f"{card.year}", " + ".join(card.inputs).replace("sar", "SAR"),
                number(None if card.parameters is None else card.parameters / 1e6, digits=2),
                number(None if card.macs is None else card.macs / 1e9, digits=1),
                card.training or "–", card.training_data, card.extra_data,
            ])  # fmt: skip
        header = ["Method", "Year", "Inputs", "Parameters [10⁶]", "MACs [10⁹]", "Training"]
        labels = [method.label for method in carded]
        return Table(
            "Methods",
            [*header, "Training data", "Other data"],
            rows,
            [method.kind for method in carded],
            caption="The methods, as their cards describe them. MACs: multiply-adds for a patch of "
            "300 × 300 pixels.",
            label="tab:methods",
            cites=self._row_cites(labels, ["measured"] * len(rows)),
        )


def _noted(table: Table, sentence: str) -> Table:
    """The table with one more sentence under it."""
    return replace(table, notes=[" ".join([*table.notes, sentence])])


def _by_row(scores: pd.Series[Any]) -> dict[str, float]:
    values: dict[Hashable, Any] = scores.to_dict()
    return {str(name): float(value) for name, value in values.items()}


def best_and_second(comparisons: Sequence[MetricComparison]) -> tuple[set[str], set[str]]:
    """Runs that are best or tied with the best, and the next best; empty of fewer than two.

    Args:
        comparisons: Of one score, by each segmenter or once: ties hold by all of them.
    """
    if not comparisons or not all(each.letters for each in comparisons):
        return set(), set()
    badness = METRICS[comparisons[0].metric].badness
    mean = {
        name: float(badness(np.mean([each.estimates[name].value for each in comparisons])))
        for name in comparisons[0].letters
    }
    best = set.intersection(*(set(each.best) for each in comparisons))
    best |= {name for name in mean if mean[name] == min(mean.values())}
    rest = {name: value for name, value in mean.items() if name not in best}
    return best, {name for name, value in rest.items() if value == min(rest.values())}


def rules_between(groups: Sequence[str]) -> list[int]:
    """Rows before which a line is drawn: where the group changes."""
    return [row for row in range(1, len(groups)) if groups[row] != groups[row - 1]]


def ablation_groups(runs: Runs, chosen: Sequence[str]) -> list[list[Method]]:
    """Variants of each method, then the method itself.

    Args:
        runs: Of the paper.
        chosen: Names of the runs of one group, the complete method last; none: runs that are named
            after another, such as ``align_cr_no_sar-small`` after ``align_cr-small``.

    Raises:
        UsageError: A chosen run is not one of the paper, or there is only one.
    """
    by_run = {method.run: method for method in runs.methods}
    by_run |= {str(method.path): method for method in runs.methods}
    if chosen:
        if unknown := [name for name in chosen if name not in by_run]:
            names = ", ".join(method.run for method in runs.methods)
            raise UsageError(
                f"--ablation: expected runs of the paper, {names}; got {printable(unknown[0])}"
            )
        if len(set(chosen)) < max(2, len(chosen)):
            raise UsageError(
                "--ablation: expected variants of a method, then the method itself, each once; "
                f"got {', '.join(map(printable, chosen))}"
            )
        return [[by_run[name] for name in chosen]]
    groups: dict[str, list[Method]] = {}
    for method in runs.methods:
        whole = re.sub(r"[_-]no[_-][A-Za-z0-9]+", "", method.run)
        if whole != method.run and whole in by_run:
            groups.setdefault(whole, []).append(method)
    return [[*variants, by_run[whole]] for whole, variants in groups.items()]


def parse_digits(texts: Sequence[str]) -> dict[str, int]:
    """``METRIC=N`` to the metric's name in tables and digits after the point.

    Raises:
        UsageError: An unknown metric, or no small number.
    """
    digits = {}
    for text in texts:
        name, _, count = text.partition("=")
        if name not in METRIC_NAMES or not re.fullmatch(rf"[0-{MOST_DIGITS}]", count):
            raise UsageError(
                f"--digits: expected METRIC=N with {', '.join(METRIC_NAMES)} and 0 to "
                f"{MOST_DIGITS}, got {printable(text)}"
            )
        digits[METRIC_NAMES[name]] = int(count)
    return digits


def parse_labels(texts: Sequence[str]) -> dict[str, str]:
    """``RUN=LABEL`` to a dict.

    Raises:
        UsageError: There is no ``=``, or a run has two labels.
    """
    labels: dict[str, str] = {}
    for text in texts:
        run, equals, label = text.partition("=")
        if not (run and equals):
            raise UsageError(f'--label: expected RUN="LABEL", got {printable(text)}')
        if run in labels:
            raise UsageError(f"--label: expected one label for {printable(run)}, got two")
        labels[run] = label
    return labels
