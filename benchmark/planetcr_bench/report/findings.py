"""Say in five lines what the tables of a run or of a comparison show."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from planetcr_bench.analysis.error_analysis import ErrorAnalysis
from planetcr_bench.analysis.gains import Gain
from planetcr_bench.analysis.intervals import LEVEL
from planetcr_bench.analysis.significance import MetricComparison
from planetcr_bench.metrics.registry import HEADLINE, METRICS
from planetcr_bench.report.error_analysis_tables import percent
from planetcr_bench.report.run_tables import RunTables
from planetcr_bench.report.significance import p_text
from planetcr_bench.report.table import DIGITS, number
from planetcr_bench.results.aggregate import clusters_of, in_paper_order, method_label
from planetcr_bench.results.ledger import Ledger

_PLACES: Final = {
    "cloud": "under cloud",
    "edge": "at the edge of cloud",
    "clear": "in clear pixels",
}
_NAMED: Final = 3
"""Methods that a finding lists by name; of more, it says how many there are."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line.

    Attributes:
        title: What it is about.
        text: Plain text, whatever the names of methods are.
    """

    title: str
    text: str


def findings(tables: RunTables) -> list[Finding]:
    """Five lines: on one run, or on several, which are compared."""
    return _of_one(tables) if len(tables.ledgers) == 1 else _of_several(tables)


def findings_note(tables: RunTables) -> str:
    """How the figures of the findings are computed."""
    name, clusters = tables.errors.protocol.name, clusters_of(tables.ledgers)
    several = (
        ", against the input; between methods for all pairs" if len(tables.ledgers) > 1 else ""
    )
    return (
        f"Protocol {name}, pooled over pixels; MAE in reflectance. *Significant*: paired over "
        f"{clusters}, p < {LEVEL:g} after Holm's correction for the scores of a method{several}."
    )


def _of_one(tables: RunTables) -> list[Finding]:
    analysis, (ledger,) = tables.errors, tables.ledgers
    name = method_label(ledger)
    best, worst = (_extremes(analysis, name, highest=highest) for highest in (False, True))
    return [
        Finding("Against the input", _against(tables, ledger)),
        Finding("Best", _best(best, analysis)),
        Finding("Worst", " ".join([_worst(worst, analysis), *_losses(analysis, name)])),
        Finding("Clear pixels", _clear(tables, ledger)),
        Finding("Where the error is", _error(analysis, name)),
    ]


# --- Against the input ---------------------------------------------------------------------------


def _unchanged(analysis: ErrorAnalysis, name: str) -> bool:
    """Whether the predictions are the input."""
    return bool(_row(analysis.failures(), name)["changed"] == 0)


def _against(tables: RunTables, ledger: Ledger) -> str:
    if _unchanged(tables.errors, method_label(ledger)):
        return "The predictions are the cloudy input itself: no score differs from it."
    gains = tables.gains[ledger.name]
    measured = [gain for gain in gains if not math.isnan(gain.after)]
    if not measured:
        return "Nothing was measured."
    if not any(gain.aois > 1 for gain in measured):
        scores = ", ".join(map(_change, measured))
        return f"{scores}. There is one {_cluster(tables)}, so nothing can be tested."
    groups: dict[str, list[Gain]] = {}
    for gain in measured:
        groups.setdefault(_verdict(gain), []).append(gain)
    texts = [
        f"{verdict} {', '.join(_change(gain, p=True) for gain in groups[verdict])}"
        for verdict in (_BETTER, _WORSE, _SAME, _UNTESTED)
        if verdict in groups
    ]
    text = "; ".join(texts)
    aois = max(gain.aois for gain in measured)
    return f"{text[0].upper()}{text[1:]} ({aois} {clusters_of(tables.ledgers)})."


_BETTER: Final = "significantly better in"
_WORSE: Final = "significantly worse in"
_SAME: Final = "not significantly different in"
_UNTESTED: Final = "not tested in"


def _verdict(gain: Gain) -> str:
    if math.isnan(gain.pair.p_holm):
        return _UNTESTED
    if gain.pair.p_holm >= LEVEL:
        return _SAME
    return _BETTER if gain.better else _WORSE


def _change(gain: Gain, *, p: bool = False) -> str:
    """``PSNR (12.90 → 26.65 dB, p < 0.001)``."""
    metric = METRICS[gain.metric]
    before, after = (number(value, digits=metric.digits) for value in (gain.before, gain.after))
    unit = {"": "", "°": "°"}.get(metric.unit, f" {metric.unit}")
    tested = p and not math.isnan(gain.pair.p_holm)
    chance = f", p {p_text(gain.pair.p_holm)}" if tested else ""
    return f"{metric.label} ({before} → {after}{unit}{chance})"


def _cluster(tables: RunTables) -> str:
    return tables.ledgers[0].imagery.cluster


# --- Best and worst ------------------------------------------------------------------------------


def _groupings(analysis: ErrorAnalysis) -> list[tuple[str, pd.DataFrame]]:
    """By what errors can be told apart: land cover, cloud cover and region, else by place."""
    known = analysis.known
    names = ["land_cover"] * known.land_cover + ["cover_bin", "region"] * known.masks
    if names:
        return [(name, analysis.failures(name)) for name in names]
    return [("aoi", analysis.aois)]


def _group_words(analysis: ErrorAnalysis, by: str, group: str) -> str:
    if by == "cover_bin":
        return f"at {group.replace('-', '–')} % cloud cover"
    if by == "region":
        return _PLACES[group]
    return (
        f"on {group}" if by == "land_cover" else f"in {analysis.ledgers[0].imagery.cluster} {group}"
    )


def _measured(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """Groups of one run that have pixels."""
    return frame[(frame["row"] == name) & (frame["pixels"] > 0) & frame["mae"].notna()]


def _extremes(analysis: ErrorAnalysis, name: str, *, highest: bool) -> list[str]:
    """Of each grouping, the groups with the lowest or highest MAE as it is printed."""
    texts = []
    for by, frame in _groupings(analysis):
        own = _measured(frame, name)
        printed = own["mae"].map(number)
        if len(own) < 2 or printed.nunique() < 2:
            continue
        end = printed == number(float(own["mae"].max() if highest else own["mae"].min()))
        groups = [_group_words(analysis, by, str(group)) for group in own.loc[end, by]]
        texts.append(f"{_listed(groups)} ({printed[end].iloc[0]})")
    return texts


def _listed(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and 4 others``."""
    if len(names) > _NAMED:
        return f"{', '.join(names[: _NAMED - 1])} and {len(names) - _NAMED + 1} others"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _best(texts: Sequence[str], analysis: ErrorAnalysis) -> str:
    return f"MAE is lowest {', '.join(texts)}." if texts else _nowhere(analysis)


def _worst(texts: Sequence[str], analysis: ErrorAnalysis) -> str:
    return f"MAE is highest {', '.join(texts)}." if texts else _nowhere(analysis)


def _nowhere(analysis: ErrorAnalysis) -> str:
    counts = [len(set(frame.loc[frame["pixels"] > 0, by])) for by, frame in _groupings(analysis)]
    if max(counts) > 1:
        return "Nowhere: MAE is the same in all groups of pixels."
    return f"There is one {analysis.ledgers[0].imagery.cluster}: nothing to compare it with."


def _losses(analysis: ErrorAnalysis, name: str) -> list[str]:
    """Where the input is better; nothing if it never is."""
    places = [
        (float(row["gain_mae"]), _group_words(analysis, by, str(row[by])))
        for by, frame in _groupings(analysis)
        for row in _measured(frame, name).to_dict("records")
        if round(row["gain_mae"], DIGITS) < 0
    ]
    places.sort(key=lambda place: place[0])  # groups that lose most come first
    shown = [f"{words} ({number(-gain, sign=True)})" for gain, words in places]
    return [f"MAE is above the input's {_listed(shown)}."] if places else []


# --- Clear pixels --------------------------------------------------------------------------------


def _clear(tables: RunTables, ledger: Ledger) -> str:
    if not tables.known.masks:
        return "The dataset has no cloud masks: whether clear pixels are harmed is not known."
    name = method_label(ledger)
    row = _row(tables.errors.regions, name, region="clear")
    if not row["pixels"] or math.isnan(row["mae"] - row["input_mae"]):
        return "Nothing was measured in clear pixels."
    if _unchanged(tables.errors, name):
        return "They are the input's own: nothing is harmed."
    change = row["mae"] - row["input_mae"]
    made = f"{percent(row['worse'])} % of the pixels are worse than in the input"
    if round(change, DIGITS) == 0:
        return f"Neither harmed nor improved on average: MAE stays {number(row['mae'])}; {made}."
    verdict, interval = _harm(tables, ledger, change)
    amounts = f"MAE goes from {number(row['input_mae'])} to {number(row['mae'])}"
    return f"{verdict}: {amounts} ({interval}); {made}."


def _harm(tables: RunTables, ledger: Ledger, change: float) -> tuple[str, str]:
    """Verdict on a change of the MAE of clear pixels, and its interval in words."""
    verdict = "Harmed on average" if change > 0 else "Improved on average"
    gains = tables.clear_gains[ledger.name]
    if not gains:
        return verdict, "an interval needs the ledger of scenes, this one is compact"
    low, high = gains[0].pair.low, gains[0].pair.high
    if not math.isfinite(high - low):
        return verdict, f"one {_cluster(tables)}: no interval"
    if low <= 0 <= high:
        verdict = "No significant harm or benefit"
    ends = " to ".join(number(end, sign=True) for end in (low, high))
    return verdict, f"{number(change, sign=True)}, 95 % interval {ends}"


# --- Where the error is --------------------------------------------------------------------------


def _error(analysis: ErrorAnalysis, name: str) -> str:
    overall = _row(analysis.failures(), name)
    if math.isnan(overall["mae"]):
        return "Nothing was measured."
    if overall["mae"] == 0:
        return "Nowhere: every value is that of the clear image."
    texts = []
    own = _measured(analysis.failures("region"), name) if analysis.known.masks else pd.DataFrame()
    if len(own):
        error, pixels = own["mae"] * own["pixels"], own["pixels"]
        cloud = own["region"] == "cloud"
        texts.append(
            f"{percent(float(error[cloud].sum() / error.sum()))} % of the absolute error is under "
            f"cloud, where {percent(float(pixels[cloud].sum() / pixels.sum()))} % of the pixels are"
        )
    split = overall["residual"] + overall["hallucination"]
    if split > 0:
        share = percent(float(overall["hallucination"] / split))
        texts.append(f"{share} % of all error is hallucination, the rest residual cloud")
    places = _measured(analysis.aois, name)
    if len(places) > 1:
        worst = places.sort_values("mae", ascending=False, kind="stable").to_dict("records")[0]
        cluster = analysis.ledgers[0].imagery.cluster
        texts.append(
            f"the {cluster} with the highest MAE is {worst['aoi']} ({number(worst['mae'])})"
        )
    text = "; ".join(texts)
    return f"{text[0].upper()}{text[1:]}." if text else "Not known: no scene has a cloud mask."


def _row(table: pd.DataFrame, name: str, **chosen: str) -> dict[Any, Any]:
    for column, value in {"row": name, **chosen}.items():
        table = table[table[column] == value]
    (row,) = table.to_dict("records")
    return row


# --- Several runs --------------------------------------------------------------------------------


def _of_several(tables: RunTables) -> list[Finding]:
    analysis, runs = tables.errors, in_paper_order(tables.ledgers)
    ranked = analysis.failures().sort_values("mae", kind="stable")
    name = str(ranked["row"].tolist()[0])
    best, worst = (_extremes(analysis, name, highest=highest) for highest in (False, True))
    where = [_best(best, analysis), _worst(worst, analysis)] if best else [_nowhere(analysis)]
    return [
        Finding("Best", _leaders(tables.comparisons[analysis.protocol.name])),
        Finding("Against the input", _against_each(tables, runs)),
        Finding("Best and worst places", " ".join([f"Of {name}:", *where, _winners(analysis)])),
        Finding("Clear pixels", _clear_each(tables, runs)),
        Finding("Where the error is", f"Of {name}: {_lower(_error(analysis, name))}"),
    ]


def _lower(text: str) -> str:
    return f"{text[0].lower()}{text[1:]}"


def _leaders(comparisons: Sequence[MetricComparison]) -> str:
    """Which method is best in which score, and who ties with it."""
    leads: dict[tuple[str, ...], list[str]] = {}
    for comparison in comparisons:
        if comparison.metric not in HEADLINE or not comparison.letters:
            continue
        metric, first = METRICS[comparison.metric], next(iter(comparison.letters))
        tied = sorted(set(comparison.best) - {first})
        value = number(comparison.estimates[first].value, digits=metric.digits)
        unit = {"": "", "°": "°"}.get(metric.unit, f" {metric.unit}")
        leads.setdefault((first, *tied), []).append(f"{metric.label} ({value}{unit})")
    texts = [f"{first} in {_all(scores)}{_ties(tied)}" for (first, *tied), scores in leads.items()]
    if not texts:
        return "Fewer than two runs are complete: none is ranked."
    return f"{'; '.join(texts)}."


def _all(scores: Sequence[str]) -> str:
    return ", ".join(scores)


def _ties(tied: Sequence[str]) -> str:
    return (
        f", not significantly different from {_listed(tied)}"
        if tied
        else ", significantly ahead of all others"
    )


def _against_each(tables: RunTables, runs: Iterable[Ledger]) -> str:
    groups: dict[str, list[str]] = {}
    for run in runs:
        groups.setdefault(_against_in_words(tables, run), []).append(method_label(run))
    text = "; ".join(f"{words}: {_listed(names)}" for words, names in groups.items())
    return f"{text[0].upper()}{text[1:]}."


def _against_in_words(tables: RunTables, run: Ledger) -> str:
    """What a run is, beside its input, in words that group runs."""
    if _unchanged(tables.errors, method_label(run)):
        return "the input itself"
    gains = [gain for gain in tables.gains[run.name] if not math.isnan(gain.after)]
    verdicts = {gain.metric: _verdict(gain) for gain in gains}
    if not gains or set(verdicts.values()) == {_UNTESTED}:
        return f"not tested, for want of {clusters_of(tables.ledgers)}"
    if len(set(verdicts.values())) == 1:
        return f"{next(iter(verdicts.values()))} all {len(gains)} scores"
    return ", ".join(
        f"{verdict} {', '.join(METRICS[m].label for m, own in verdicts.items() if own == verdict)}"
        for verdict in dict.fromkeys(verdicts.values())
    )


def _winners(analysis: ErrorAnalysis) -> str:
    """Which method has the lowest MAE in how many groups of each grouping."""
    counts: dict[str, int] = {}
    total = 0
    for by, frame in _groupings(analysis):
        own = frame[(frame["pixels"] > 0) & frame["mae"].notna()]
        for _, group in own.groupby(by, sort=False):
            total += 1
            lowest = group["mae"].map(number) == number(float(group["mae"].min()))
            for name in group.loc[lowest, "row"]:
                counts[str(name)] = counts.get(str(name), 0) + 1
    ranked = sorted(counts.items(), key=lambda item: -item[1])
    first = ", ".join(f"{name} in {count}" for name, count in ranked[:_NAMED])
    return f"Of {total} groups of pixels, the lowest MAE: {first}."


def _clear_each(tables: RunTables, runs: Sequence[Ledger]) -> str:
    if not tables.known.masks:
        return _clear(tables, runs[0])
    rows = [(run, _row(tables.errors.regions, method_label(run), region="clear")) for run in runs]
    rows = [(run, row) for run, row in rows if row["pixels"]]
    if not rows:
        return "No pixel is clear."
    harmed = [(run, row) for run, row in rows if round(row["mae"] - row["input_mae"], DIGITS) > 0]
    if not harmed:
        return f"MAE is not above the input's for any of the {len(rows)} methods."
    run, _ = max(harmed, key=lambda pair: pair[1]["mae"] - pair[1]["input_mae"])
    names = _listed([method_label(one) for one, _ in harmed])
    return (
        f"MAE is above the input's for {len(harmed)} of {len(rows)} methods ({names}). "
        f"Most for {method_label(run)}: {_lower(_clear(tables, run))}"
    )
