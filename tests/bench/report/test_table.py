"""The same table in Markdown and on the terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from ledgers import as_planet_cr, make_ledger
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.report.scores import cover_table, pool_table, region_table, table2_tables
from planetcr_bench.report.table import Table, number, to_markdown, to_rich
from planetcr_bench.results.published import published_table2, published_table3

OFFICIAL, FULL = PROTOCOLS["official"], PROTOCOLS["full"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.12345, "0.1235"),
        (-1e-9, "0.0000"),
        (float("nan"), "–"),
        (None, "–"),
        (float("inf"), "∞"),
        (float("-inf"), "−∞"),
    ],
)
def test_numbers_print_as_in_the_paper(value: float | None, text: str) -> None:
    assert number(value) == text


def test_tables_carry_their_signatures_and_counts() -> None:
    a, b, counts = table2_tables([make_ledger()], OFFICIAL, pool="pixels")
    assert a.notes[0] == "per class: mae|window:centre160|pool:pixels|v1"
    assert "sam_deg|window:centre160|pool:scene-mean|floor:2^-10|v1" in b.notes[1]
    assert counts.rows[0][-1] == "10 / 4"
    assert [len(row) for row in a.rows] == [len(a.header)] * 3


def test_published_rows_stand_apart_and_only_beside_official() -> None:
    ledgers = [as_planet_cr(make_ledger())]
    a = table2_tables(ledgers, OFFICIAL, published=True)[0]
    assert a.kinds == ["input", "measured", "gain", *["published"] * 8]
    assert a.breaks() == [3]
    assert all("(published)" in row[0] for row in a.rows[3:])
    assert any("not measured here" in note for note in a.notes)
    assert a.rows[-1][1:] == [
        "0.0219",
        "0.0243",
        "0.0277",
        "0.0324",
        "0.0311",
        "0.0257",
        "0.0238",
        "30.4785",
    ]
    assert "published" not in table2_tables(ledgers, FULL, published=True)[0].kinds


def test_the_paper_s_tables_are_whole() -> None:
    assert len(published_table2()) == 8
    assert published_table2().set_index("row").at["McGAN (published)", "sam_deg_water"] == 15.6362
    assert published_table3().groupby("row").size().tolist() == [6] * 10
    best = published_table3().set_index(["row", "cover_bin"]).loc["Align-CR (published)"]
    assert best.loc["overall", ["miou", "pa"]].tolist() == [30.51, 45.78]


def test_every_table_of_an_incomplete_run_says_so() -> None:
    ledgers = [make_ledger("half", complete=False, expected_scenes=20)]
    tables = [
        *table2_tables(ledgers, FULL),
        *(f(ledgers, FULL) for f in (region_table, cover_table, pool_table)),
    ]
    for table in tables:
        assert "half is incomplete: 10 of 20 scenes." in table.notes


def test_markdown_keeps_its_columns_whatever_a_name_holds() -> None:
    table = Table("T", ["a", "b"], [["x|y", "1"]], ["measured"], ["p|q"])
    lines = to_markdown(table).splitlines()
    assert lines[4] == "| x\\|y | 1 |"
    assert lines[6] == "_p|q_"


def test_the_terminal_shows_every_cell() -> None:
    table = table2_tables([as_planet_cr(make_ledger())], OFFICIAL, published=True)[1]
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(to_rich(table))
    text = console.export_text()
    assert all(cell in text for row in table.rows for cell in row)
