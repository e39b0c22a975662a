"""Build the tables of scores (Tab. 2, bins, regions, pools) and a run's ``scores.json``."""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import pandas as pd

from planetcr_bench.analysis.segmentation import segmentation_summary
from planetcr_bench.constants import COVER_BINS, LAND_COVER, REGIONS
from planetcr_bench.metrics.protocols import PROTOCOLS, Pool, Protocol
from planetcr_bench.metrics.registry import HEADLINE, METRICS, further
from planetcr_bench.report.table import Block, number
from planetcr_bench.results.aggregate import (
    FLOOR,
    SCENE_MEAN,
    SCENE_MEAN_LABEL,
    cover_table,
    coverage,
    floor_groups,
    floor_row,
    further_table,
    in_paper_order,
    input_note,
    input_window,
    psnr_scene_mean,
    region_table,
    rounding_note,
    score_groups,
    score_table,
    table2,
)
from planetcr_bench.results.ledger import Ledger
from planetcr_bench.results.published import SEEN, SOURCE, published_table2, refuse_published
from planetcr_bench.utils.json_values import to_json_value


def table2_blocks(
    ledgers: Sequence[Ledger],
    protocol: Protocol,
    *,
    pool: Pool | None = None,
    published: bool = False,
    best: Mapping[str, Collection[str]] = MappingProxyType({}),
    table: pd.DataFrame | None = None,
) -> list[Block]:
    """Tab. 2 (a) and (b), SAM's noise floor, and the scenes and AOIs behind each cell.

    Args:
        ledgers: Runs on one dataset.
        protocol: Which to report.
        pool: How per-class figures are put together, if not as the protocol does.
        published: Add the paper's rows; only the ``official`` protocol can be put beside them.
        best: Metric to the runs that are best overall or tied with it; bold in LaTeX.
        table: What :func:`table2_and_floor` gives for them, if at hand.
    """
    if table is None:
        table = table2_and_floor(ledgers, protocol, pool=pool)
    floors = table[table["kind"] == "floor"].to_dict("records")
    frame = table[table["kind"] != "floor"]
    notes = coverage_notes(ledgers)
    if published and protocol.name == "official":
        refuse_published(ledgers)
        frame = pd.concat([frame, published_table2()], ignore_index=True)
        notes = [*notes, f"Rows marked (published): {SOURCE}. {SEEN}"]
    parts = [("(a) MAE and PSNR", "mae", "psnr"), ("(b) SAM and SSIM", "sam_deg", "ssim")]
    blocks = []
    for title, by_class, other in parts:
        means = [SCENE_MEAN] if other == "psnr" and SCENE_MEAN in frame else []
        signatures = [
            f"per class: {protocol.signature(by_class, pool)}",
            f"overall: {protocol.signature(by_class)}, {protocol.signature(other)}",
            *(f"scene mean: {protocol.signature(other, 'scene-mean')}" for _ in means),
        ]
        labels = [METRICS[by_class].title, METRICS[other].title, *(SCENE_MEAN_LABEL for _ in means)]
        blocks.append(
            Block(
                f"Tab. 2 {title}, protocol {protocol.name}",
                ["Method", *map(_title, LAND_COVER), *labels],
                [_figures(row, by_class, other, *means) for row in frame.to_dict("records")],
                frame["kind"].tolist(),
                [*signatures, *notes],
                _bold(frame, [(by_class, -2), (other, -1)], best),
            )
        )
    blocks += [_floor_block(row, ledgers, protocol, pool) for row in floors]
    return [*blocks, _counts(frame, protocol, coverage_notes(ledgers))]


def table2_and_floor(
    ledgers: Sequence[Ledger], protocol: Protocol, *, pool: Pool | None = None
) -> pd.DataFrame:
    """Tab. 2 as ``table2`` gives it, then a row of SAM's noise floor where that is known."""
    frame = table2(ledgers, protocol, pool=pool)
    floor = floor_row(ledgers, protocol, pool=pool)
    return frame if floor is None else pd.concat([frame, pd.DataFrame([floor])], ignore_index=True)


_UNDER_FLOOR: Final = (
    "A perfect prediction scores these angles: equal spectra whose squared norm is under the floor "
    "are not at 0° (a brighter one comes nearer). Shares are of all pixels of a class, and of all."
)


def _floor_block(
    row: Mapping[Hashable, object], ledgers: Sequence[Ledger], protocol: Protocol, pool: Pool | None
) -> Block:
    """What SAM gives for equal images."""
    angles = [row[name] for name in (*(f"sam_deg_{name}" for name in LAND_COVER), "sam_deg")]
    shares = [row[name] for name in (*(f"under_floor_{n}" for n in LAND_COVER), "under_floor")]
    part = str(row["row"]).removeprefix(FLOOR)  # " (n of N scenes)" of an incomplete run
    notes = [
        f"per class: {protocol.signature('sam_deg', pool)}",
        f"overall: {protocol.signature('sam_deg')}",
        _UNDER_FLOOR,
    ]
    return Block(
        f"Noise floor of SAM, protocol {protocol.name}",
        ["", *map(_title, LAND_COVER), "Overall"],
        [
            [f"{row['row']} [°]", *map(number, angles)],
            [
                f"pixels under the floor{part} [%]",
                *(number(100 * float(str(x)), digits=2) for x in shares),
            ],
        ],
        ["floor", "floor"],
        [*notes, *coverage_notes(ledgers)],
    )


def _bold(
    frame: pd.DataFrame, columns: Sequence[tuple[str, int]], best: Mapping[str, Collection[str]]
) -> frozenset[tuple[int, int]]:
    """Cells of overall figures of the best runs; columns are counted from the end."""
    width = len(LAND_COVER) + 1 + len(columns)
    return frozenset(
        (row, width + column)
        for metric, column in columns
        for row, name in enumerate(frame["row"])
        if frame["kind"].iloc[row] == "measured" and name in best.get(metric, ())
    )


def _figures(row: Mapping[Hashable, object], by_class: str, *others: str) -> list[str]:
    names = [*(f"{by_class}_{land_cover}" for land_cover in LAND_COVER), by_class, *others]
    sign = row["kind"] == "gain"
    return [str(row["row"]), *(number(row.get(name), sign=sign) for name in names)]


def _counts(frame: pd.DataFrame, protocol: Protocol, notes: Sequence[str]) -> Block:
    measured = frame[frame["kind"] == "measured"]
    rows = []
    for row in measured.to_dict("records"):
        cells = [f"{row[f'scenes_{name}']:.0f} / {row[f'aois_{name}']:.0f}" for name in LAND_COVER]
        rows.append([row["row"], *cells, f"{row['scenes']:.0f} / {row['aois']:.0f}"])
    return Block(
        f"Scenes / AOIs behind each cell of Tab. 2, protocol {protocol.name}",
        ["Method", *map(_title, LAND_COVER), "Overall"],
        rows,
        ["measured"] * len(rows),
        notes,
    )


def pool_block(ledgers: Sequence[Ledger], protocol: Protocol) -> Block:
    """Overall figures pooled both ways: as the mean of scenes' figures, and over all pixels."""
    rows, kinds = [], []
    pools: tuple[Pool, ...] = ("scene-mean", "pixels")
    for pool in pools:
        frame = score_table(ledgers, protocol, pool)
        for row in frame.to_dict("records"):
            rows.append([str(row["row"]), pool, *(number(row[metric]) for metric in HEADLINE)])
            kinds.append(str(row["kind"]))
    notes = [f"{pool}: {protocol.signature('all', pool)}" for pool in pools]
    title = f"Overall, scenes pooled in two ways, protocol {protocol.name}"
    header = ["Method", "pool", *(METRICS[name].title for name in HEADLINE)]
    return Block(title, header, rows, kinds, [*notes, *coverage_notes(ledgers)])


def further_block(ledgers: Sequence[Ledger], protocol: Protocol) -> Block:
    """Metrics beside the paper's four: a row each, of the input and of each method."""
    table = further_table(ledgers, protocol)
    rows = [
        [
            METRICS[name].title,
            *(number(value, digits=METRICS[name].digits) for value in table[name]),
        ]
        for name in further()
    ]
    return Block(
        f"Further metrics, protocol {protocol.name}",
        ["Metric", *table["row"]],
        rows,
        ["measured"] * len(rows),
        [protocol.signature("further"), _FURTHER_NOTE, *coverage_notes(ledgers)],
    )


_FURTHER_NOTE: Final = (
    "Bias: mean of prediction − clear. ERGAS: Wald (2000), with a ratio of pixel sizes of 1. "
    "Gradient error: Σ|∇prediction − ∇clear| / Σ|∇clear|, 1 for a flat image. Sharpness: "
    "Σ|∇prediction| / Σ|∇clear|, below 1 where a method smooths. A dash: not measured."
)


def region_block(ledgers: Sequence[Ledger], protocol: Protocol) -> Block:
    """Scores under the cloud mask, at its edge (30 m) and in clear pixels."""
    return _group_block(
        "Under cloud, at its edge and clear",
        region_table(ledgers, protocol),
        "region",
        ledgers,
        protocol,
    )


def cover_block(
    ledgers: Sequence[Ledger], protocol: Protocol, *, table: pd.DataFrame | None = None
) -> Block:
    """Scores per cloud-cover bin: the figures of Fig. 5, from ``cover_table`` if at hand."""
    return _group_block(
        "Fig. 5 as a table: cloud cover of the whole patch in %",
        cover_table(ledgers, protocol) if table is None else table,
        "cover_bin",
        ledgers,
        protocol,
    )


def _group_block(
    title: str, table: pd.DataFrame, by: str, ledgers: Sequence[Ledger], protocol: Protocol
) -> Block:
    rows = [
        [
            str(row["row"]),
            str(row[by]),
            *(number(row[metric]) for metric in HEADLINE),
            f"{row['scenes']} / {row['aois']}",
            f"{row['pixels']}",
        ]
        for row in table.to_dict("records")
    ]
    header = [
        "Method",
        by.replace("_", " "),
        *(METRICS[name].title for name in HEADLINE),
        "scenes / AOIs",
        "pixels",
    ]
    notes = [protocol.signature("all"), *coverage_notes(ledgers)]
    return Block(f"{title}, protocol {protocol.name}", header, rows, table["kind"].tolist(), notes)


def coverage_notes(ledgers: Sequence[Ledger]) -> list[str]:
    """What stands under every table of runs: input windows, incomplete runs, other machines."""
    rounding = rounding_note(ledgers)
    incomplete = [
        f"{run.name} is incomplete: {coverage(run)}."
        for run in in_paper_order(ledgers)
        if not run.provenance["complete"]
    ]
    return [input_note(ledgers), *incomplete, *([rounding] if rounding else [])]


def _title(word: str) -> str:
    return word.capitalize()


def summary(ledger: Ledger) -> dict[str, object]:
    """All scores of a run as one object of plain numbers: ``scores.json``.

    Returns:
        ``name``, ``track``, ``complete``, ``input_window``, ``expected_scenes``, ``scenes``,
        ``aois`` and ``protocols``, each with the scores overall (``psnr_scene_mean`` where pixels
        are pooled), the ``further`` metrics, scores by class, cover and region, what the segmenters
        tell, and ``sam_floor`` where norms are floored, None of a ledger that has not measured it;
        a number that was not measured is None, an infinite one is ``"inf"``.
    """
    return {
        "name": ledger.name,
        "track": ledger.provenance["track"],
        "complete": ledger.provenance["complete"],
        "input_window": input_window(ledger),
        "expected_scenes": ledger.provenance["expected_scenes"],
        "scenes": int(ledger.frame["scene"].nunique()),
        "aois": int(ledger.frame["aoi"].nunique()),
        "protocols": {
            name: {
                "signature": protocol.signature("all"),
                "overall": {
                    **_plain(ledger, protocol, [], ["all"], HEADLINE)["all"],
                    **_plain_scene_mean(ledger, protocol),
                },
                "further": _plain_further(ledger, protocol),
                "by_class": _plain(
                    ledger, protocol, ["land_cover"], LAND_COVER, ("mae", "sam_deg", "pixels")
                ),
                "by_cover": _plain(
                    ledger, protocol, ["cover_bin"], COVER_BINS, ("scenes", *HEADLINE)
                ),
                "by_region": _plain(ledger, protocol, ["region"], REGIONS, (*HEADLINE, "pixels")),
                **(
                    {"sam_floor": _plain_floor(ledger, protocol)} if protocol.sam_norm_floor else {}
                ),
                "segmenters": segmentation_summary(ledger, protocol),
            }
            for name, protocol in PROTOCOLS.items()
        },
    }


def _plain(
    ledger: Ledger,
    protocol: Protocol,
    by: Sequence[str],
    groups: Sequence[str],
    names: Sequence[str],
) -> dict[str, dict[str, object]]:
    table = score_groups(ledger.frame, protocol, by).reindex(list(groups))[list(names)]
    return {
        group: {
            str(name): _plain_number(value, count=name not in HEADLINE)
            for name, value in row.items()
        }
        for group, row in zip(groups, table.to_dict("records"), strict=True)
    }


def _plain_further(ledger: Ledger, protocol: Protocol) -> dict[str, object]:
    names = further()
    table = score_groups(ledger.frame, protocol, metrics=names).reindex(["all"])[list(names)]
    (line,) = table.to_dict("records")
    return {str(name): _plain_number(value, count=False) for name, value in line.items()}


def _plain_scene_mean(ledger: Ledger, protocol: Protocol) -> dict[str, object]:
    if protocol.pool != "pixels":
        return {}
    means = psnr_scene_mean(ledger.frame, protocol)
    return {SCENE_MEAN: _plain_number(means.get("all", math.nan), count=False)}


def _plain_floor(ledger: Ledger, protocol: Protocol) -> dict[str, object] | None:
    """Noise floor of SAM, overall and per class."""
    if not ledger.has_floor:
        return None
    names = ["sam_deg", "under_floor"]
    parts = {}
    for by, groups in (([], ["all"]), (["land_cover"], list(LAND_COVER))):
        table = floor_groups(ledger.frame, protocol, by).reindex(groups)[names]
        for group, line in zip(groups, table.to_dict("records"), strict=True):
            parts[group] = {str(n): _plain_number(x, count=False) for n, x in line.items()}
    return {"overall": parts.pop("all"), "by_class": parts}


def _plain_number(value: float, *, count: bool) -> object:
    if count:
        return 0 if math.isnan(value) else int(value)
    return to_json_value(float(value))
