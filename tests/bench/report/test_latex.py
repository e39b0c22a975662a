"""Tables in LaTeX: they compile, fit a page of two columns, and lose nothing."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest

from ledgers import make_ledger
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.report.latex import escape_latex, latex_file, to_latex
from planetcr_bench.report.run_tables import RunTables
from planetcr_bench.report.scores import table2_tables
from planetcr_bench.report.table import Table
from tex import compile_tex, need_tex, overfull

EVIL = r"a_b & 50 % <x> #1 ~ ^ \foo{ $ | `q' “é” 中文 α ₂ --"

DOCUMENT = r"""\documentclass[twocolumn]{article}
\usepackage{booktabs}
\usepackage[letterpaper,textwidth=516pt,columnsep=12pt,textheight=9in]{geometry}
\begin{document}
\input{tables}
\end{document}
"""


def table(rows: list[list[str]], header: list[str], **more) -> Table:
    return Table("T", header, rows, ["measured"] * len(rows), **more)


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("a_b & 50 %", r"a\_\allowbreak{}b \& 50 \%"),
        ("p < 0.001", r"p \textless{} 0.001"),
        ("a--b", "a-{}-b"),
        ("1–2", "1--2"),
        ("10⁶ × 2 °", r"10$^{6}$ $\times$ 2 $^\circ$"),
        ("Straße", "Straße"),
        ("Ａ", "A"),
        ("中", r"\otherletter{4E2D}{中}"),
        ("a\nb", r"a\textbackslash{}nb"),
    ],
)
def test_text_is_escaped(text: str, latex: str) -> None:
    assert escape_latex(text) == latex


def test_best_scores_are_bold_and_second_ones_underlined() -> None:
    one = table(
        [["x", "12.34"], ["y", "-0.5"], ["z", "–"]],
        ["Method", "PSNR ↑ [dB]"],
        bold=frozenset({(0, 1)}),
        second=frozenset({(1, 1)}),
        label="tab:x",
        caption="Words & more",
    )
    text = to_latex(one, one.label)
    assert r"x & \bestscore{12}{34} \\" in text
    assert r"y & \secondscore{$-$0.5} \\" in text
    assert r"z & -- \\" in text
    assert r"\caption{Words \& more}" in text
    assert r"\label{tab:x}" in text
    assert r"\shortstack[r]{PSNR\\{}$\uparrow$ [dB]}" in text
    assert r"\begin{table}[t]" in text


def test_the_number_of_a_table_is_latex_s_own() -> None:
    (a, *_) = table2_tables([make_ledger()], PROTOCOLS["full"])
    assert a.title.startswith("Tab. 2 (a)")
    assert r"\caption{MAE and PSNR, protocol full}" in to_latex(a)


def test_a_table_is_as_wide_as_it_must_be() -> None:
    narrow, wide, widest = (
        to_latex(table([["m", *["0.1234"] * count]], ["Method", *["MAE"] * count]))
        for count in (3, 12, 40)
    )
    assert r"\begin{table}" in narrow
    assert r"\begin{table*}" in wide
    assert wide.count(r"\begin{tabular}") == 1
    assert widest.count(r"\begin{tabular}") > 1
    assert widest.count("0.1234") == 40


def test_a_long_table_becomes_several_and_only_the_first_has_the_label() -> None:
    rows = [[f"r{number}", f"{number}"] for number in range(200)]
    text = to_latex(table(rows, ["Method", "n"]), "tab:long")
    assert text.count(r"\begin{table}") > 3
    assert text.count(r"\label{tab:long}") == 1
    assert re.findall(r"^r(\d+) & (\d+) ", text, re.MULTILINE) == [
        (str(n), str(n)) for n in range(200)
    ]


def test_columns_with_one_head_share_it() -> None:
    one = table(
        [["m", "1.0", "2.0", "3.0"]],
        ["Method", "0–20 % mIoU", "0–20 % PA", "All"],
        heads=[("0–20 %", 2), ("", 1)],
    )
    text = to_latex(one)
    assert r" & \multicolumn{2}{c}{0--20 \%} &  \\" in text
    assert r"\cmidrule(lr){2-3}" in text
    assert r"Method & mIoU & PA & All \\" in text


def test_every_table_compiles_and_fits_whatever_it_holds(tmp_path: Path) -> None:
    need_tex()
    names = [EVIL, string.printable, "w" * 60, "中" * 60, "x" * 5]
    many = [[name, *["-0.1234"] * 12, "12.3 [11.9, 12.7] ab"] for name in names]
    heads = ["Method", *[f"PSNR, {n} ↑ [dB]" for n in range(12)], EVIL]
    evil = table(many, heads, notes=[EVIL], caption=EVIL)
    turned = table([["MAE", *["0.1234 ab"] * 5]] * 20, ["Metric", *names])
    column = table([[name, "0.1", "0.2", "0.3"] for name in names], ["Method", *"abc"])
    runs = [make_ledger(name, segmenters=("j1",), seed=n) for n, name in enumerate("ab")]
    tables = RunTables(runs)
    every = [
        evil,
        turned,
        column,
        *tables.table2_tables,
        *tables.table3_tables,
        *tables.statistic_tables,
    ]
    (tmp_path / "tables.tex").write_text(latex_file(every, "t"), encoding="utf-8")
    (tmp_path / "doc.tex").write_text(DOCUMENT)
    log = compile_tex(tmp_path / "doc.tex")
    assert max(overfull(log), default=0) <= 5
