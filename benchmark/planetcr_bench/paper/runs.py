"""Read the runs of a paper: what each is called, how it is cited, and in which order they stand."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from planetcr_bench.analysis.error_analysis import widest_protocol
from planetcr_bench.analysis.segmentation import check_segmenters, without_segmenters
from planetcr_bench.constants import INPUT_WINDOWS, PAPER_METHODS
from planetcr_bench.errors import LedgerError, UsageError
from planetcr_bench.figures.style import Styles, method_styles
from planetcr_bench.leaderboard.card import EntryCard, read_entry_card
from planetcr_bench.metrics.protocols import PROTOCOLS, Protocol
from planetcr_bench.results.aggregate import (
    check_comparable,
    group_sums,
    input_window,
    marked,
    of_protocol,
)
from planetcr_bench.results.compact_file import read_any_ledger
from planetcr_bench.results.files import CARD, RUN
from planetcr_bench.results.ledger import Ledger
from planetcr_bench.results.published import refuse_published
from planetcr_bench.utils.untrusted import printable, read_json

Order = Literal["year", "given"]

Kind = Literal["baseline", "measured"]

LONGEST_LABEL: Final = 60


@dataclass(frozen=True, slots=True)
class Method:
    """One row of the tables.

    Attributes:
        run: Name of its run.
        ledger: Its sums, under the name that it has in the paper.
        card: Who made it and how; None where no card lies beside the run.
        facts: What ``run.json`` says; empty where there is none.
        path: As it was given.
    """

    run: str
    ledger: Ledger
    card: EntryCard | None
    facts: Mapping[str, Any]
    path: Path

    @property
    def label(self) -> str:
        """What it is called."""
        return self.ledger.name

    @property
    def kind(self) -> Kind:
        """A ``baseline`` learns nothing."""
        card = self.card
        learns = card is None or card.parameters != 0 or not card.training_data.startswith("none")
        return "measured" if learns else "baseline"


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs of a paper.

    Attributes:
        methods: At least one, in their order: baselines, then the others.
        copy: A run that copies the input, which has the input's row instead of one of its own.
        protocol: In which they are reported.
        published: Whether the rows of the dataset's paper are added.
        remarks: What the user should know, a line each.
    """

    methods: Sequence[Method]
    copy: Method | None
    protocol: Protocol
    published: bool
    remarks: Sequence[str]

    @property
    def ledgers(self) -> list[Ledger]:
        """Of the methods."""
        return [method.ledger for method in self.methods]

    @property
    def every(self) -> list[Method]:
        """The methods, and the run that copies the input."""
        return [*self.methods, *([self.copy] if self.copy else [])]

    @property
    def segmented(self) -> bool:
        """Whether all have the same segmenters, and land cover is known."""
        return all(ledger.segmenters and ledger.has_land_cover for ledger in self.ledgers)

    @property
    def styles(self) -> Styles:
        """Label to colour and marker: those that the run has in other figures."""
        styles = method_styles([method.run for method in self.methods])
        return {method.label: styles[method.run] for method in self.methods}

    def kind_of(self, label: str) -> str:
        """Of a method by its label."""
        return next(method.kind for method in self.methods if method.label == label)


def read_runs(
    paths: Sequence[Path],
    *,
    labels: Mapping[str, str],
    protocol: str | None = None,
    published: bool = False,
    order: Order = "year",
) -> Runs:
    """Read runs on one dataset.

    Args:
        paths: Results folders or ledgers, of scenes or compact.
        labels: Name of a run, or its path as given, to its label; else its card's name.
        protocol: In which they are reported; by default ``full`` where all were measured in it,
            ``official`` with ``published``.
        published: Add the rows of the dataset's paper.
        order: Methods by the year of their cards, those without a card last; or as given.

    Raises:
        UsageError: No run or only copies of the input, a run twice, or labels that do not fit.
        LedgerError: A run cannot be read, the runs are not on one dataset, or published figures do
            not fit them.
        SubmissionError: A card is broken.
    """
    if published and protocol == "full":
        raise UsageError("--published: the paper's figures are of protocol official alone")
    methods = [_read(path) for path in paths]
    _refuse_repeats(methods)
    check_comparable([method.ledger for method in methods])
    chosen = protocol or ("official" if published else None)
    chosen = chosen or widest_protocol([method.ledger for method in methods]).name
    methods = [replace(method, ledger=of_protocol(method.ledger, chosen)) for method in methods]
    unnamed = [
        f"{printable(method.path)}: has no {CARD}, so its rows are called {_plain_label(method)}; "
        f'give it a card, or --label {method.run}="…"'
        for method in methods
        if method.card is None
        and not _copies(method.ledger, PROTOCOLS[chosen])
        and labels.keys().isdisjoint((method.run, str(method.path), f"{method.path}/"))
    ]
    methods = _labelled(methods, labels)
    copies = [method for method in methods if _copies(method.ledger, PROTOCOLS[chosen])]
    shown = _ordered([method for method in methods if method not in copies], order)
    if not shown:
        raise UsageError("expected a run beside those that copy the input, got none")
    if published:
        refuse_published([method.ledger for method in shown])
        _refuse_window(shown)
    remarks = unnamed + [
        f"{method.run}: copies the input and is shown as the input's row" for method in copies
    ]
    shown, unsegmented = _segmented(shown)
    remarks += unsegmented
    copy = copies[0] if copies else None
    return Runs(_told_apart(shown), copy, PROTOCOLS[chosen], published, remarks)


def _read(path: Path) -> Method:
    ledger = read_any_ledger(path)
    card, facts = path / CARD, path / RUN
    return Method(
        ledger.name,
        ledger,
        read_entry_card(card) if path.is_dir() and os.path.lexists(card) else None,
        read_json(facts, error=LedgerError) if path.is_dir() and facts.is_file() else {},
        path,
    )


def _refuse_repeats(methods: Sequence[Method]) -> None:
    if not methods:
        raise UsageError("runs: expected one run or more, got none")
    seen: dict[Path, Path] = {}
    for method in methods:
        real = method.path.resolve()
        if real in seen:
            raise UsageError(f"{printable(method.path)}: expected each run once, got it twice")
        seen[real] = method.path


def _labelled(methods: Sequence[Method], labels: Mapping[str, str]) -> list[Method]:
    """Methods whose ledgers are named as the paper calls them."""
    keys = {str(method.path): method.run for method in methods}
    keys |= {method.run: method.run for method in methods}
    keys |= {f"{path}/": run for path, run in keys.items()}
    for key, label in labels.items():
        if key not in keys:
            names = ", ".join(method.run for method in methods)
            raise UsageError(f"--label: expected one of the runs {names}, got {printable(key)}")
        if not 0 < len(label.strip()) <= LONGEST_LABEL or not label.isprintable():
            raise UsageError(
                f"--label {printable(key)}: expected 1 to {LONGEST_LABEL} characters of text, got "
                f"{printable(label)!r}"
            )
    by_run = {keys[key]: label.strip() for key, label in labels.items()}
    named: dict[str, Method] = {}
    for method in methods:
        label = by_run.get(method.run) or _plain_label(method)
        if label in named:
            raise UsageError(
                f"{named[label].run} and {method.run}: expected different names in the paper, both "
                f'are {printable(label)}; give --label {method.run}="…"'
            )
        named[label] = replace(method, ledger=method.ledger.with_provenance(name=label))
    return list(named.values())


def _plain_label(method: Method) -> str:
    """The name that the card has, else the paper's for its networks, else the run's."""
    return method.card.method if method.card else PAPER_METHODS.get(method.run, method.run)


def _copies(ledger: Ledger, protocol: Protocol) -> bool:
    change = group_sums(ledger, protocol, (), ["prediction_cloudy"])["prediction_cloudy"]
    return not change.any()


def _ordered(methods: Sequence[Method], order: Order) -> list[Method]:
    """Baselines first; a method without a card is new and comes last."""

    def rank(method: Method) -> tuple[bool, int]:
        year = 9999 if method.card is None else method.card.year
        return method.kind != "baseline", year if order == "year" else 0

    return sorted(methods, key=rank)


def _refuse_window(methods: Sequence[Method]) -> None:
    """Refuse published rows beside networks that saw more of a patch than theirs."""
    centre = INPUT_WINDOWS["official"]
    for method in methods:
        if (seen := input_window(method.ledger)) != centre:
            raise LedgerError(
                f"{method.run}: published figures are of networks that saw the centre "
                f"{centre} × {centre}, this run has input window {seen}; predict with --window "
                "official, or leave out --published"
            )


def _segmented(methods: Sequence[Method]) -> tuple[list[Method], list[str]]:
    """The methods without segmenters, and why, unless all have the same."""
    ledgers = [method.ledger for method in methods]
    if not ledgers[0].has_land_cover:
        return list(methods), []  # which the runs' limits say
    without = [method.run for method in methods if not method.ledger.segmenters]
    reason = ""
    if without:
        reason = f"{', '.join(without)}: evaluated without a segmenter; evaluate with --segmenter"
    else:
        try:
            check_segmenters(ledgers)
        except LedgerError as error:
            reason = error.message.partition(";")[0]
    if not reason:
        return list(methods), []
    bare = [replace(method, ledger=without_segmenters(method.ledger)) for method in methods]
    return bare, [f"{reason}: mIoU and PA, so Tab. 3 and Fig. 6, are left out"]


def _told_apart(methods: Sequence[Method]) -> list[Method]:
    """Labels carry the input window where the networks saw different ones."""
    ledgers = {ledger.name: ledger for ledger in marked([method.ledger for method in methods])}
    result = []
    for method in methods:
        mark = f"{method.label} (input {input_window(method.ledger)})"
        result.append(replace(method, ledger=ledgers.get(method.label) or ledgers[mark]))
    return result
