"""Tables in, text out: Markdown, LaTeX, CSV, JSON and the terminal, all from the same blocks."""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import pandas as pd
from rich.table import Table
from rich.text import Text

from planetcr_bench.constants import LAND_COVER
from planetcr_bench.metrics.protocols import Pool, Protocol
from planetcr_bench.results.aggregate import (
    FLOOR,
    LABEL,
    METRICS,
    SCENE_MEAN,
    SCENE_MEAN_LABEL,
    cover_table,
    coverage,
    floor_row,
    in_paper_order,
    input_note,
    rounding_note,
    score_table,
    sky_table,
    table2,
)
from planetcr_bench.results.ledger import Ledger
from planetcr_bench.results.published import SEEN, SOURCE, published_table2, refuse_published
from planetcr_bench.utils.untrusted import printable

DIGITS: Final = 4
"""Digits after the point, as in the paper's tables."""


@dataclass(frozen=True, slots=True)
class Block:
    """A table of ready-made text.

    Attributes:
        title: Printed above it.
        header: Names of the columns; the first names the rows.
        rows: Cells, one list per row.
        kinds: Kind of each row; a line is drawn where it turns into or out of ``published``.
        notes: Lines printed under it: signatures, coverage, sources.
        bold: Positions (row, column) of the best cells and of all tied with them, for LaTeX.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    kinds: Sequence[str]
    notes: Sequence[str] = field(default_factory=list)
    bold: frozenset[tuple[int, int]] = frozenset()

    def breaks(self) -> list[int]:
        """Rows before which a line separates published figures from measured ones."""
        return [
            index
            for index in range(1, len(self.rows))
            if (self.kinds[index] == "published") != (self.kinds[index - 1] == "published")
        ]


def number(value: object, *, sign: bool = False, digits: int = DIGITS) -> str:
    """A figure as text: a dash where nothing was measured, ∞ for a perfect match."""
    if not isinstance(value, int | float) or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    rounded = round(value, digits) + 0.0  # no negative zero
    return f"{rounded:+.{digits}f}" if sign else f"{rounded:.{digits}f}"


def table2_blocks(
    ledgers: Sequence[Ledger],
    protocol: Protocol,
    *,
    pool: Pool | None = None,
    published: bool = False,
    best: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> list[Block]:
    """Tab. 2 (a) and (b), SAM's noise floor, and the scenes and AOIs behind each cell.

    Args:
        ledgers: Runs on one dataset.
        protocol: Which to report.
        pool: How per-class figures are put together, if not as the protocol does.
        published: Add the paper's rows; only the ``official`` protocol can be put beside them.
        best: Metric to the runs that are best overall or tied with it; bold in LaTeX.
    """
    frame = table2(ledgers, protocol, pool=pool)
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
        labels = [LABEL[by_class], LABEL[other], *(SCENE_MEAN_LABEL for _ in means)]
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
    blocks += _floor_blocks(ledgers, protocol, pool)
    return [*blocks, _counts(frame, protocol, coverage_notes(ledgers))]


_UNDER_FLOOR: Final = (
    "A perfect prediction scores these angles: equal spectra whose squared norm is under the floor "
    "are not at 0° (a brighter one comes nearer). Shares are of all pixels of a class, and of all."
)


def _floor_blocks(ledgers: Sequence[Ledger], protocol: Protocol, pool: Pool | None) -> list[Block]:
    """What SAM gives for equal images; none where the protocol has no floor or it is not known."""
    row = floor_row(ledgers, protocol, pool=pool)
    if row is None:
        return []
    angles = [row[name] for name in (*(f"sam_deg_{name}" for name in LAND_COVER), "sam_deg")]
    shares = [row[name] for name in (*(f"under_floor_{n}" for n in LAND_COVER), "under_floor")]
    part = str(row["row"]).removeprefix(FLOOR)  # " (n of N scenes)" of an incomplete run
    notes = [
        f"per class: {protocol.signature('sam_deg', pool)}",
        f"overall: {protocol.signature('sam_deg')}",
        _UNDER_FLOOR,
    ]
    return [
        Block(
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
    ]


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
            rows.append([str(row["row"]), pool, *(number(row[metric]) for metric in METRICS)])
            kinds.append(str(row["kind"]))
    notes = [f"{pool}: {protocol.signature('all', pool)}" for pool in pools]
    title = f"Overall, scenes pooled in two ways, protocol {protocol.name}"
    header = ["Method", "pool", *(LABEL[name] for name in METRICS)]
    return Block(title, header, rows, kinds, [*notes, *coverage_notes(ledgers)])


def sky_block(ledgers: Sequence[Ledger], protocol: Protocol) -> Block:
    """Scores under the cloud mask, on its rim (30 m) and under clear sky."""
    return _group_block(
        "Under cloud, on its rim and clear", sky_table(ledgers, protocol), "sky", ledgers, protocol
    )


def cover_block(ledgers: Sequence[Ledger], protocol: Protocol) -> Block:
    """Scores per cloud-cover bin: the figures of Fig. 5."""
    return _group_block(
        "Fig. 5 as a table: cloud cover of the whole patch in %",
        cover_table(ledgers, protocol),
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
            *(number(row[metric]) for metric in METRICS),
            f"{row['scenes']} / {row['aois']}",
            f"{row['pixels']}",
        ]
        for row in table.to_dict("records")
    ]
    header = [
        "Method",
        by.replace("_", " "),
        *(LABEL[name] for name in METRICS),
        "scenes / AOIs",
        "pixels",
    ]
    notes = [protocol.signature("all"), *coverage_notes(ledgers)]
    return Block(f"{title}, protocol {protocol.name}", header, rows, table["kind"].tolist(), notes)


def coverage_notes(ledgers: Sequence[Ledger]) -> list[str]:
    """What stands under every table of runs: input crops, incomplete runs, other machines."""
    rounding = rounding_note(ledgers)
    incomplete = [
        f"{run.name} is incomplete: {coverage(run)}."
        for run in in_paper_order(ledgers)
        if not run.provenance["complete"]
    ]
    return [input_note(ledgers), *incomplete, *([rounding] if rounding else [])]


def _title(word: str) -> str:
    return word.capitalize()


def to_markdown(block: Block) -> str:
    """A block as a Markdown table under its title."""
    lines = [f"**{block.title}**", "", _pipes(block.header)]
    lines.append(_pipes([":--", *["--:"] * (len(block.header) - 1)]))
    lines += [_pipes(row) for row in block.rows]
    lines += ["", *(f"_{note}_  " for note in block.notes)]
    return "\n".join(lines).rstrip() + "\n"


def _pipes(cells: Sequence[str]) -> str:
    return "| " + " | ".join(printable(cell).replace("|", "\\|") for cell in cells) + " |"


_LATEX: Final = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "|": r"\textbar{}",
        "↓": r"$\downarrow$",
        "↑": r"$\uparrow$",
        "°": r"\textdegree{}",
        "∞": r"$\infty$",
        "−": "$-$",
        "–": "--",
        "±": r"$\pm$",
    }
)


def to_latex(block: Block) -> str:
    """A block as a LaTeX table; needs the package booktabs."""
    breaks = block.breaks()
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{block.title.translate(_LATEX)}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(block.header) - 1)}}}",
        r"\toprule",
        _ampersands(block.header),
        r"\midrule",
    ]
    for index, row in enumerate(block.rows):
        bold = {column for line, column in block.bold if line == index}
        lines += [r"\midrule"] * (index in breaks) + [_ampersands(row, bold)]
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\footnotesize {note.translate(_LATEX)}" for note in block.notes]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _ampersands(cells: Sequence[str], bold: Collection[int] = ()) -> str:
    texts = [printable(cell).translate(_LATEX) for cell in cells]
    shown = [rf"\textbf{{{text}}}" if at in bold else text for at, text in enumerate(texts)]
    return " & ".join(shown) + r" \\"


def to_rich(block: Block) -> Table:
    """A block for the terminal."""
    table = Table(
        title=Text(printable(block.title)),
        caption=Text("\n".join(map(printable, block.notes))),
        title_justify="left",
        caption_justify="left",
        title_style="bold",
    )
    for index, name in enumerate(block.header):
        table.add_column(Text(printable(name)), justify="right" if index else "left", no_wrap=True)
    breaks = {index - 1 for index in block.breaks()}
    styles = {"published": "dim italic", "gain": "cyan", "input": "dim", "spread": "dim"}
    for index, (row, kind) in enumerate(zip(block.rows, block.kinds, strict=True)):
        cells = [Text(printable(cell)) for cell in row]
        table.add_row(*cells, style=styles.get(kind), end_section=index in breaks)
    return table
