"""Make Tab. 3 of the paper, the land cover that is recovered, and all tables that belong to it."""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from planetcr_bench.analysis.segmentation import (
    ABSENT_ZERO,
    LEAST_DIFFERENCE,
    LEAST_IOU,
    OVERALL,
    SCORES,
    segmenters_of,
    signature,
)
from planetcr_bench.analysis.segmentation_tables import (
    CLEAR,
    CLOUDY,
    class_table,
    hardly_known,
    left_out,
    over_segmenters,
    published_rows,
    rank_table,
    swapped,
    table3,
)
from planetcr_bench.constants import LAND_COVER
from planetcr_bench.metrics.protocols import Protocol
from planetcr_bench.report.table import Table, coverage_notes, number, shared_heads
from planetcr_bench.results.known import Known
from planetcr_bench.results.ledger import Ledger
from planetcr_bench.results.published import SEEN, SOURCE, refuse_published

DIGITS: Final = 2
"""Digits after the point, as in the paper's Tab. 3."""

NAME: Final = {
    "miou": "mIoU",
    "pa": "PA",
    "iou": "IoU",
    "recall": "recall",
    ABSENT_ZERO: "mIoU, absent as 0",
}

_MOST_PAIRS: Final = 6  # of methods that segmenters rank differently, in one sentence

_METHODS: Final = ("measured", "published")

_FIXED: Final = {"": (), "_discrepancy": (CLEAR,), "_recovery": (CLEAR, CLOUDY), "_agreement": ()}
"""Rows of the paper that a measure sets to 0 or 100 by its definition."""


def table3_tables(
    ledgers: Sequence[Ledger],
    protocol: Protocol,
    *,
    scores: pd.DataFrame | None = None,
    published: bool = False,
    details: bool = False,
) -> list[Table]:
    """Tab. 3, what each method recovers, and with several segmenters how they rank the methods.

    Args:
        ledgers: Runs on one dataset.
        protocol: Which to report.
        scores: What ``table3`` returns for them, if already computed.
        published: Add the paper's rows; only the ``official`` protocol can be put beside them.
        details: Add Fig. 6 as a table, agreement, classes, and Tab. 3 of each of several
            segmenters.

    Returns:
        Nothing without a segmenter or without land cover; ranks of two runs or more.

    Raises:
        LedgerError: The runs have different segmenters.
    """
    if not (segmenters_of(ledgers) and Known.of(ledgers).land_cover):
        return []
    if scores is None:
        scores = table3(ledgers, protocol)
    runs = _SegmentedRuns.of(ledgers, protocol, scores, published)
    recovery_notes = [
        "Recovery: 100 (method − Cloudy) / (Cloud-Free − Cloudy), on the method's scenes.",
        *(["Recovery is the mean over the segmenters' recoveries."] if runs.several else []),
        *_nothing_to_recover(scores),
    ]
    tables = [
        runs.over_bins("Tab. 3: mIoU and PA in %", "", ("clear", "input", *_METHODS)),
        runs.over_bins(
            "Recovery in %: from Cloudy (0) to Cloud-Free (100)",
            "_recovery",
            _METHODS,
            notes=recovery_notes,
        ),
    ]
    ranks = rank_table(ledgers, scores)
    tables += [_rank_table(runs, ranks)] if min(ranks.shape) > 1 else []
    return tables + (_detail_tables(runs) if details else [])


def _detail_tables(runs: _SegmentedRuns) -> list[Table]:
    images = ("clear", "input", "measured")
    return [
        runs.over_bins(
            "Fig. 6 as a table: points below Cloud-Free, on the same scenes",
            "_discrepancy",
            ("input", *_METHODS),
        ),
        runs.over_bins(
            "Agreement in % with the segmenter's prediction for the clear image",
            "_agreement",
            ("input", "measured"),
            notes=_unpredicted_notes(runs),
        ),
        _class_table(runs),
        *(
            runs.over_bins("Tab. 3: mIoU and PA in %", "", images, segmenter)
            for segmenter in runs.segmenters
            if runs.several
        ),
    ]


@dataclass(frozen=True, slots=True)
class _SegmentedRuns:
    """What all tables of one protocol are made from.

    Attributes:
        ledgers: Runs on one dataset.
        protocol: Which to report.
        segmenters: Keys to names.
        scores: Tab. 3, per segmenter.
        spread: Its mean, lowest and highest figures over segmenters.
        paper: The paper's rows; empty if they are not asked for.
        hardly_known: Classes that each segmenter hardly knows, and their IoU on clear images.
    """

    ledgers: Sequence[Ledger]
    protocol: Protocol
    segmenters: Mapping[str, str]
    scores: pd.DataFrame
    spread: pd.DataFrame
    paper: pd.DataFrame
    hardly_known: Mapping[str, Mapping[str, float]]

    @classmethod
    def of(
        cls, ledgers: Sequence[Ledger], protocol: Protocol, scores: pd.DataFrame, published: bool
    ) -> _SegmentedRuns:
        paper = published_rows()
        if published and protocol.name == "official":
            refuse_published(ledgers)
        else:
            paper = paper.iloc[:0]
        spread = over_segmenters(scores)
        unknown = hardly_known(ledgers, protocol)
        return cls(ledgers, protocol, segmenters_of(ledgers), scores, spread, paper, unknown)

    @property
    def bins(self) -> tuple[str, ...]:
        """Cloud-cover bins, none without masks, and all scenes."""
        return (*Known.of(self.ledgers).bins, OVERALL)

    @property
    def several(self) -> bool:
        return len(self.segmenters) > 1

    def title(self, text: str, segmenter: str | None = None) -> str:
        if segmenter is not None:
            text += f", segmenter {self.segmenters[segmenter]}"
        elif self.several:
            text += f", mean of {len(self.segmenters)} segmenters"
        return f"{text}, protocol {self.protocol.name}"

    def notes(self, metrics: Sequence[str], segmenter: str | None = None) -> list[str]:
        """Signatures, segmenters, scenes, absent classes, coverage."""
        keys = self._keys(segmenter)
        scores = self.scores[self.scores["segmenter"] == keys[0]]
        clear = scores[scores["kind"] == "clear"].set_index("cover_bin")
        imagery = self.ledgers[0].imagery
        counts = (
            f"{_bin(name)} {imagery.counts(clear.scenes[name], clear.aois[name])}"
            for name in self.bins
        )
        unsegmented = [run.name for run in self.ledgers if not run.segmenters]
        return [
            *(signature(metric, self.protocol, keys) for metric in metrics),
            f"Segmenter{'s' * (len(keys) > 1)}: {', '.join(self.segmenters[key] for key in keys)}.",
            f"{imagery.counted.replace('s', 'S', 1)} of known land: {', '.join(counts)}.",
            *_left_out_notes(scores, "absent", "Excluded from means (not in the truth)"),
            *(
                f"{name} was not segmented; evaluate it again with --segmenter."
                for name in unsegmented
            ),
            *coverage_notes(self.ledgers),
        ]

    def hardly_known_notes(self, segmenter: str | None = None) -> list[str]:
        """One line for each segmenter that ranks methods by noise in some classes."""
        return [
            f"Hardly known to {self.segmenters[key]} (IoU below {LEAST_IOU:g} % on the clear "
            f"images): {_with_iou(self.hardly_known[key])}. Differences between methods in these "
            "classes are mostly the segmenter's own errors."
            for key in self._keys(segmenter)
            if self.hardly_known[key]
        ]

    def _keys(self, segmenter: str | None) -> list[str]:
        return list(self.segmenters) if segmenter is None else [segmenter]

    def over_bins(
        self,
        title: str,
        measure: str,
        kinds: Collection[str],
        segmenter: str | None = None,
        *,
        notes: Sequence[str] = (),
    ) -> Table:
        """MIoU and PA per bin and overall; with several segmenters also their spread."""
        rows = self.spread
        if segmenter is not None:
            rows = self.scores[self.scores["segmenter"] == segmenter]
        rows = rows[rows["kind"].isin(kinds)]
        paper = self.paper if "published" in kinds else self.paper.iloc[:0]
        paper = paper[~paper["row"].isin([f"{name} (published)" for name in _FIXED[measure]])]
        shown = [(name, score) for name in self.bins for score in SCORES]
        columns = [(name, f"{score}{measure}") for name, score in shown]
        scores = list(SCORES)
        if not measure:  # Tab. 3 itself
            notes = [*self.hardly_known_notes(segmenter), *notes]
            shown.append((OVERALL, ABSENT_ZERO))
            columns.append((OVERALL, ABSENT_ZERO))
            scores.append(ABSENT_ZERO)
        prefix = "agreement " if measure == "_agreement" else ""
        return Table(
            self.title(title, segmenter),
            ["Method", *(f"{_bin(name)} {NAME[score]}" for name, score in shown)],
            *_cells(pd.concat([rows, paper]), "cover_bin", columns, spread=self.several),
            [
                *self.notes([f"{prefix}{NAME[score]}" for score in scores], segmenter),
                *notes,
                *([f"Rows marked (published): {SOURCE}. {SEEN}"] if len(paper) else []),
            ],
            heads=shared_heads([_bin(name) for name, _ in shown]),
        )


def _cells(
    table: pd.DataFrame, by: str, columns: Sequence[tuple[str, str]], *, spread: bool
) -> tuple[list[list[str]], list[str]]:
    """Rows and kinds of a table: a method's figures, then their lowest and highest if asked for.

    Args:
        table: Of the form of ``over_segmenters``, or one segmenter's.
        by: Column whose values make up the columns.
        columns: A value of ``by`` and the figure to take.
        spread: Whether to show the spread over segmenters.
    """
    rows, kinds = [], []
    parts: dict[tuple[str, str], dict[str, dict[str, dict[Hashable, float]]]] = {}
    for line in table.to_dict("records"):
        row = parts.setdefault((line["kind"], line["row"]), {})
        row.setdefault(line["segmenter"], {})[line[by]] = line
    for (kind, name), row in parts.items():
        for segmenter, lines in row.items():
            extreme = segmenter in ("lowest", "highest")
            values = [lines[group][figure] for group, figure in columns]
            if extreme and (not spread or pd.isna(values).all()):
                continue
            cells = [number(value, digits=DIGITS) for value in values]
            rows.append([f"{name}: {segmenter}" if extreme else name, *cells])
            kinds.append("spread" if extreme else kind)
    return rows, kinds


def _bin(name: str) -> str:
    return "Overall" if name == OVERALL else f"{name.replace('-', '–')} %"


def _left_out_notes(scores: pd.DataFrame, column: str, words: str) -> list[str]:
    """One line for the dataset, and one for each run whose scenes lack other classes."""
    by_row = left_out(scores, column)
    usual = next(iter(by_row.values()))  # of the clear images, which come first
    lines = {words: usual}
    lines |= {f"{words}, {row}": bins for row, bins in by_row.items() if bins != usual}
    return [f"{text}: {_in_bins(bins)}." for text, bins in lines.items() if bins]


def _in_bins(classes: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{_bin(name)} {', '.join(names)}" for name, names in classes.items())


def _with_iou(classes: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {number(iou, digits=1)}" for name, iou in classes.items())


def _unpredicted_notes(runs: _SegmentedRuns) -> list[str]:
    return [
        note
        for segmenter, name in runs.segmenters.items()
        for note in _left_out_notes(
            runs.scores[runs.scores["segmenter"] == segmenter],
            "unpredicted",
            f"Excluded from means (never predicted by {name} in a clear image)",
        )
    ]


def _nothing_to_recover(scores: pd.DataFrame) -> list[str]:
    """A line for each segmenter that scores hardly better on clear images than on cloudy ones."""
    cloudy = scores[(scores["kind"] == "input") & (scores["scenes"] > 0)]
    lines = []
    for segmenter, rows in cloudy.groupby("segmenter", sort=False):
        missing = [
            f"{_bin(line['cover_bin'])} {NAME[score]}"
            for line in rows.to_dict("records")
            for score in SCORES
            if pd.isna(line[f"{score}_recovery"])
        ]
        if missing:
            lines.append(
                f"No recovery in {', '.join(missing)}: there segmenter {segmenter} scores less "
                f"than {LEAST_DIFFERENCE:g} point higher on Cloud-Free than on Cloudy."
            )
    return lines


def _class_table(runs: _SegmentedRuns) -> Table:
    """IoU and recall per class."""
    scores = class_table(runs.ledgers, runs.protocol)
    columns = [(name, score) for name in LAND_COVER for score in ("iou", "recall")]
    clear = scores[scores["kind"] == "clear"].drop_duplicates("land_cover")
    counts = zip(clear["land_cover"], clear["pixels"], strict=True)
    pixels = ", ".join(f"{name} {count}" for name, count in counts)
    return Table(
        runs.title("IoU and recall of each class in %, all scenes"),
        ["Method", *(f"{name} {NAME[score]}" for name, score in columns)],
        *_cells(over_segmenters(scores), "land_cover", columns, spread=runs.several),
        [
            *runs.notes(["IoU", "recall"]),
            *runs.hardly_known_notes(),
            f"Pixels in the truth: {pixels}.",
        ],
        heads=shared_heads([name for name, _ in columns]),
    )


def segmenter_table(ledgers: Sequence[Ledger]) -> list[Table]:
    """Scores of the segmenters on the clear images held out from their training, of their cards.

    Args:
        ledgers: Runs on one dataset.

    Returns:
        One table; none if no card has scores.
    """
    names = segmenters_of(ledgers)
    segmented = (run.provenance["segmenters"] for run in ledgers if run.segmenters)
    facts: Mapping[str, Any] = next(segmented, {})
    columns = {
        **{key: NAME[key] for key in ("miou", ABSENT_ZERO)},
        "pixel_accuracy": NAME["pa"],
        **{f"iou_{name}": f"{name} IoU" for name in LAND_COVER},
    }
    rows, notes = [], []
    for key, name in names.items():
        scores, pixels = (_card_part(facts[key], part) for part in ("scores", "class_pixels"))
        figures = [_percent(scores.get(column)) for column in columns]
        if any(pd.notna(figures)):
            rows.append([name, *(number(figure, digits=DIGITS) for figure in figures)])
        if pixels:
            counts = ", ".join(f"{land} {_count(pixels.get(land))}" for land in LAND_COVER)
            notes.append(f"Pixels held out by {name}: {counts}.")
    title = "Segmenters on clear images held out from their training, in %, as their cards state"
    header = ["Segmenter", *columns.values()]
    return [Table(title, header, rows, ["clear"] * len(rows), notes)] if rows else []


def _card_part(facts: Mapping[str, object], part: str) -> Mapping[str, object]:
    """A table of a segmenter's card; empty if the card, which anyone can write, has another."""
    value = facts.get(part)
    return value if isinstance(value, Mapping) else {}


def _percent(share: object) -> float:
    """A score of a card in percent; nan if it is none."""
    return 100 * share if isinstance(share, float | int) and 0 <= share <= 1 else math.nan


def _count(pixels: object) -> str:
    return str(pixels) if type(pixels) is int and 0 <= pixels < 10**12 else "–"


def _rank_table(runs: _SegmentedRuns, ranks: pd.DataFrame) -> Table:
    """Ranks by overall mIoU with each segmenter, and whether they agree."""
    rows = [[str(name), *map(str, own)] for name, *own in ranks.itertuples()]
    pairs = swapped(ranks)
    more = f"; and {len(pairs) - _MOST_PAIRS} more pairs" if len(pairs) > _MOST_PAIRS else ""
    verdict = (
        f"The ranking depends on the segmenter: {'; '.join(pairs[:_MOST_PAIRS])}{more}."
        if pairs
        else "All segmenters rank the methods alike."
    )
    unranked = len(runs.ledgers) - len(ranks)
    return Table(
        f"Rank by overall mIoU with each segmenter, protocol {runs.protocol.name}",
        ["Method", *runs.segmenters.values()],
        rows,
        ["measured"] * len(rows),
        [
            verdict,
            *(["Incomplete runs and runs without a segmenter have no rank."] if unranked else []),
            *runs.hardly_known_notes(),
            *runs.notes(["mIoU"]),
        ],
    )
