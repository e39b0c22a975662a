"""Build the tables of scores (Tab. 2, bins, regions, pools) and a run's ``scores.json``."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Final

import pandas as pd

from planetcr_bench.analysis.segmentation import segmentation_summary
from planetcr_bench.analysis.significance import MetricComparison
from planetcr_bench.constants import COVER_BINS, LAND_COVER, REGIONS
from planetcr_bench.metrics.protocols import PROTOCOLS, Pool, Protocol
from planetcr_bench.metrics.registry import HEADLINE, METRICS, further
from planetcr_bench.report.significance import SHARED_LETTERS, interval
from planetcr_bench.report.table import Table, number, run_table
from planetcr_bench.results.aggregate import (
    FLOOR,
    SCENE_MEAN,
    SCENE_MEAN_LABEL,
    clusters_of,
    cover_scores,
    floor_groups,
    floor_row,
    further_scores,
    in_paper_order,
    input_window,
    overall_scores,
    psnr_scene_mean,
    region_scores,
    score_groups,
    table2,
)
from planetcr_bench.results.known import Known
from planetcr_bench.results.ledger import Ledger
from planetcr_bench.results.published import SEEN, SOURCE, published_table2, refuse_published
from planetcr_bench.utils.json_values import to_json_value


def _classes(ledgers: Sequence[Ledger]) -> list[str]:
    """Heads of the columns of land-cover classes."""
    return [name.capitalize() for name in Known.of(ledgers).classes]


def table2_tables(
    ledgers: Sequence[Ledger],
    protocol: Protocol,
    *,
    pool: Pool | None = None,
    published: bool = False,
    best: Mapping[str, Collection[str]] = MappingProxyType({}),
    scores: pd.DataFrame | None = None,
) -> list[Table]:
    """Tab. 2 (a) and (b), SAM's noise floor, and the scenes and AOIs behind each cell.

    Args:
        ledgers: Runs on one dataset.
        protocol: Which to report.
        pool: How per-class figures are averaged, if not as in the protocol.
        published: Add the paper's rows; only the ``official`` protocol can be put beside them.
        best: Metric to the runs that are best overall or tied with it; bold in LaTeX.
        scores: What :func:`table2_and_floor` returns for them, if already computed.
    """
    if scores is None:
        scores = table2_and_floor(ledgers, protocol, pool=pool)
    floors = scores[scores["kind"] == "floor"].to_dict("records")
    frame = scores[scores["kind"] != "floor"]
    source = []
    if published and protocol.name == "official":
        refuse_published(ledgers)
        frame = pd.concat([frame, published_table2()], ignore_index=True)
        source = [f"Rows marked (published): {SOURCE}. {SEEN}"]
    tables, classes = [], Known.of(ledgers).classes
    for title, by_class, other in (
        ("Tab. 2 (a) MAE and PSNR", "mae", "psnr"),
        ("Tab. 2 (b) SAM and SSIM", "sam_deg", "ssim"),
    ):
        means = [SCENE_MEAN] if other == "psnr" and SCENE_MEAN in frame else []
        signatures = [
            *(f"per class: {protocol.signature(by_class, pool)}" for _ in classes[:1]),
            f"overall: {protocol.signature(by_class)}, {protocol.signature(other)}",
            *(f"scene mean: {protocol.signature(other, 'scene-mean')}" for _ in means),
        ]
        labels = [METRICS[by_class].title, METRICS[other].title, *(SCENE_MEAN_LABEL for _ in means)]
        tables.append(
            run_table(
                title,
                ["Method", *_classes(ledgers), *labels],
                [
                    _figures(row, classes, by_class, other, *means)
                    for row in frame.to_dict("records")
                ],
                ledgers=ledgers,
                protocol=protocol,
                notes=[*signatures, *source],
                kinds=frame["kind"].tolist(),
                bold=_bold(frame, classes, [by_class, other], best),
            )
        )
    tables += [_floor_table(row, ledgers, protocol, pool) for row in floors]
    return [*tables, _counts_table(frame, ledgers, protocol)]


def table2_and_floor(
    ledgers: Sequence[Ledger], protocol: Protocol, *, pool: Pool | None = None
) -> pd.DataFrame:
    """Tab. 2, then a row of SAM's noise floor where that is known."""
    frame = table2(ledgers, protocol, pool=pool)
    floor = floor_row(ledgers, protocol, pool=pool)
    return frame if floor is None else pd.concat([frame, pd.DataFrame([floor])], ignore_index=True)


_UNDER_FLOOR: Final = (
    "A perfect prediction scores these angles: equal spectra whose squared norm is under the floor "
    "are not at 0° (a brighter one comes nearer). Shares are of all pixels of a class, and of all."
)


def _floor_table(
    row: Mapping[Hashable, Any], ledgers: Sequence[Ledger], protocol: Protocol, pool: Pool | None
) -> Table:
    """SAM of the clear images against themselves."""
    classes = Known.of(ledgers).classes
    columns = [*(f"_{name}" for name in classes), ""]
    angles = [number(row[f"sam_deg{column}"]) for column in columns]
    shares = [number(100 * float(row[f"under_floor{column}"]), digits=2) for column in columns]
    part = str(row["row"]).removeprefix(FLOOR)  # " (n of N scenes)" of an incomplete run
    return run_table(
        "Noise floor of SAM",
        ["", *_classes(ledgers), "Overall"],
        [[f"{row['row']} [°]", *angles], [f"pixels under the floor{part} [%]", *shares]],
        ledgers=ledgers,
        protocol=protocol,
        notes=[
            *(f"per class: {protocol.signature('sam_deg', pool)}" for _ in classes[:1]),
            f"overall: {protocol.signature('sam_deg')}",
            _UNDER_FLOOR,
        ],
        kinds=["floor", "floor"],
    )


def _bold(
    frame: pd.DataFrame,
    classes: Sequence[str],
    metrics: Sequence[str],
    best: Mapping[str, Collection[str]],
) -> frozenset[tuple[int, int]]:
    """Cells with the overall figures of the best runs, in the columns after those of classes."""
    return frozenset(
        (row, 1 + len(classes) + column)
        for column, metric in enumerate(metrics)
        for row, (name, kind) in enumerate(zip(frame["row"], frame["kind"], strict=True))
        if kind == "measured" and name in best.get(metric, ())
    )


def _figures(
    row: Mapping[Hashable, object], classes: Sequence[str], by_class: str, *others: str
) -> list[str]:
    names = [*(f"{by_class}_{land_cover}" for land_cover in classes), by_class, *others]
    sign = row["kind"] == "gain"
    return [str(row["row"]), *(number(row.get(name), sign=sign) for name in names)]


def _counts_table(frame: pd.DataFrame, ledgers: Sequence[Ledger], protocol: Protocol) -> Table:
    columns = [*(f"_{name}" for name in Known.of(ledgers).classes), ""]
    imagery = ledgers[0].imagery
    rows = [
        [row["row"], *(imagery.counts(row[f"scenes{c}"], row[f"aois{c}"]) for c in columns)]
        for row in frame[frame["kind"] == "measured"].to_dict("records")
    ]
    title = f"{imagery.counted.replace('s', 'S', 1)} behind each cell of Tab. 2"
    header = ["Method", *_classes(ledgers), "Overall"]
    return run_table(title, header, rows, ledgers=ledgers, protocol=protocol)


def pool_table(ledgers: Sequence[Ledger], protocol: Protocol) -> Table:
    """Overall figures pooled both ways: as the mean of scenes' figures, and over all pixels."""
    pools: tuple[Pool, ...] = ("scene-mean", "pixels")
    lines = [
        (pool, row)
        for pool in pools
        for row in overall_scores(ledgers, protocol, pool).to_dict("records")
    ]
    return run_table(
        "Overall, scenes pooled in two ways",
        ["Method", "pool", *(METRICS[name].title for name in HEADLINE)],
        [[row["row"], pool, *(number(row[metric]) for metric in HEADLINE)] for pool, row in lines],
        ledgers=ledgers,
        protocol=protocol,
        notes=[f"{pool}: {protocol.signature('all', pool)}" for pool in pools],
        kinds=[row["kind"] for _, row in lines],
    )


def further_table(
    ledgers: Sequence[Ledger], protocol: Protocol, comparisons: Sequence[MetricComparison]
) -> Table:
    """Metrics beside the paper's four: a row each, of the input and of each method.

    Args:
        ledgers: Runs on one dataset.
        protocol: Which to report.
        comparisons: Of each further metric. Of one run its interval is printed, of several the
            letters of those that are not significantly different.
    """
    scores = further_scores(ledgers, protocol)
    runs = in_paper_order(ledgers)
    rows = []
    for comparison in comparisons:
        metric = METRICS[comparison.metric]
        of_input, *values = (number(value, digits=metric.digits) for value in scores[metric.name])
        if len(runs) == 1:
            values = [interval(comparison.estimates[runs[0].name], metric.name)]
        letters = [comparison.letters.get(run.name, "") for run in runs]
        cells = (" ".join(cell).rstrip() for cell in zip(values, letters, strict=True))
        rows.append([metric.title, of_input, *cells])
    return run_table(
        "Further metrics",
        ["Metric", *scores["row"]],
        rows,
        ledgers=ledgers,
        protocol=protocol,
        notes=[protocol.signature("further"), _FURTHER_NOTE, _letters_note(runs)],
    )


def _letters_note(runs: Sequence[Ledger]) -> str:
    how = f"over {clusters_of(runs)}, jackknife and Student's t, not widened"
    if len(runs) == 1:
        return f"[low, high]: 95 % interval {how}."
    return f"{SHARED_LETTERS} `tables/statistics.csv` has the 95 % intervals {how}."


_FURTHER_NOTE: Final = (
    "Bias: mean of prediction − clear. ERGAS: Wald (2000), with a ratio of pixel sizes of 1. "
    "Gradient error: Σ|∇prediction − ∇clear| / Σ|∇clear|, 1 for a flat image. Sharpness: "
    "Σ|∇prediction| / Σ|∇clear|, below 1 where a method smooths. A dash: not measured."
)


def region_table(ledgers: Sequence[Ledger], protocol: Protocol) -> Table:
    """Scores under the cloud mask, at its edge and in clear pixels."""
    scores = region_scores(ledgers, protocol)
    return _group_table("Under cloud, at its edge and clear", scores, "region", ledgers, protocol)


def cover_table(
    ledgers: Sequence[Ledger], protocol: Protocol, *, scores: pd.DataFrame | None = None
) -> Table:
    """Scores per cloud-cover bin, as in Fig. 5, from ``cover_scores`` if already computed."""
    scores = cover_scores(ledgers, protocol) if scores is None else scores
    title = "Fig. 5 as a table: cloud cover of the whole patch in %"
    return _group_table(title, scores, "cover_bin", ledgers, protocol)


def _group_table(
    title: str, scores: pd.DataFrame, by: str, ledgers: Sequence[Ledger], protocol: Protocol
) -> Table:
    imagery = ledgers[0].imagery
    rows = [
        [
            row["row"],
            row[by],
            *(number(row[metric]) for metric in HEADLINE),
            imagery.counts(row["scenes"], row["aois"]),
            f"{row['pixels']}",
        ]
        for row in scores.to_dict("records")
    ]
    titles = [METRICS[name].title for name in HEADLINE]
    return run_table(
        title,
        ["Method", by.replace("_", " "), *titles, imagery.counted, "pixels"],
        rows,
        ledgers=ledgers,
        protocol=protocol,
        notes=[protocol.signature("all")],
        kinds=scores["kind"].tolist(),
    )


def summary(ledger: Ledger) -> dict[str, object]:
    """All scores of a run as one object of plain numbers: ``scores.json``.

    Returns:
        ``name``, ``track``, ``complete``, ``input_window``, ``expected_scenes``, ``scenes``,
        ``aois`` and ``protocols``, each with the scores overall (``psnr_scene_mean`` where pixels
        are pooled), the ``further`` metrics, scores by class, cover and region, segmentation
        scores, and ``sam_floor`` where norms are floored, None of a ledger that has not measured
        it; a number that was not measured is None, an infinite one is ``"inf"``. Scores by class
        are None without land cover, those by cover and region without cloud masks.
    """
    return {
        "name": ledger.name,
        "track": ledger.provenance["track"],
        "complete": ledger.provenance["complete"],
        "input_window": input_window(ledger),
        "expected_scenes": ledger.provenance["expected_scenes"],
        "scenes": ledger.scenes,
        "aois": len(ledger.aois),
        "protocols": {
            name: _protocol_summary(ledger, protocol) for name, protocol in PROTOCOLS.items()
        },
    }


def _protocol_summary(ledger: Ledger, protocol: Protocol) -> dict[str, object]:
    errors = ("mae", "sam_deg", "pixels")
    overall = _scores(ledger, protocol)["all"]
    if protocol.pool == "pixels":
        mean = psnr_scene_mean(ledger, protocol).get("all")
        overall[SCENE_MEAN] = to_json_value(mean)
    known = Known.of([ledger])
    by_cover = partial(_scores, ledger, protocol, "cover_bin", COVER_BINS, ("scenes", *HEADLINE))
    by_region = partial(_scores, ledger, protocol, "region", REGIONS, (*HEADLINE, "pixels"))
    return {
        "signature": protocol.signature("all"),
        "overall": overall,
        "further": _scores(ledger, protocol, names=further(ledger.bands))["all"],
        "by_class": _scores(ledger, protocol, "land_cover", LAND_COVER, errors)
        if known.land_cover
        else None,
        "by_cover": by_cover() if known.masks else None,
        "by_region": by_region() if known.masks else None,
        **({"sam_floor": _noise_floor(ledger, protocol)} if protocol.sam_norm_floor else {}),
        "segmenters": segmentation_summary(ledger, protocol),
    }


_COUNTS: Final = ("pixels", "scenes")


def _scores(
    ledger: Ledger,
    protocol: Protocol,
    by: str = "all",
    groups: Sequence[str] = ("all",),
    names: Sequence[str] = HEADLINE,
) -> dict[str, Any]:
    """Group to its scores and counts, as JSON values."""
    metrics = [name for name in names if name not in _COUNTS]
    keys = [] if by == "all" else [by]
    table = score_groups(ledger, protocol, keys, metrics=metrics)
    table = table.reindex(list(groups))[list(names)]
    counts = {name: table[name].fillna(0).astype(int) for name in names if name in _COUNTS}
    return _json_rows(table.assign(**counts))


def _noise_floor(ledger: Ledger, protocol: Protocol) -> dict[str, Any] | None:
    """Noise floor of SAM, overall and per class."""
    if not ledger.has_floor:
        return None
    names = ["sam_deg", "under_floor"]
    overall = floor_groups(ledger, protocol).reindex(["all"])[names]
    by_class = floor_groups(ledger, protocol, ["land_cover"]).reindex(list(LAND_COVER))[names]
    return {"overall": _json_rows(overall)["all"], "by_class": _json_rows(by_class)}


def _json_rows(table: pd.DataFrame) -> dict[str, Any]:
    return {str(group): to_json_value(row) for group, row in table.to_dict("index").items()}
