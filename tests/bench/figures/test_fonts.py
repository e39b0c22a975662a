"""Names in any script: letters come from a font that has them, and nobody is warned."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from cover_tables import OFFICIAL, make_row, make_table
from planetcr_bench.figures import fonts
from planetcr_bench.figures.cloud_cover import cover_figure
from planetcr_bench.figures.style import save_figure
from planetcr_bench.results.aggregate import INPUT


def rare_letter() -> tuple[str, str]:
    """A letter that our font lacks and another installed one has, and that font's family."""
    ours = fonts._letters(fonts._default_path())
    for family, path in sorted(fonts._installed()):
        for number in sorted(fonts._letters(path) - ours):
            if chr(number).isalpha() and fonts._is_missing(chr(number)):
                return chr(number), family
    pytest.skip("no other font is installed")


def test_letters_of_our_font_need_no_other() -> None:
    assert fonts.font_families("Align-CR × µ é Ж") == [fonts.DEFAULT_FAMILY]


def test_letters_missing_from_our_font_come_from_another() -> None:
    letter, family = rare_letter()
    assert fonts.font_families(f"a{letter}") == [fonts.DEFAULT_FAMILY, family]
    assert fonts.text_width(letter) > 0


def test_names_in_any_script_are_drawn_and_missing_letters_reported_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fonts._reported.clear()
    fonts._fallbacks.cache_clear()
    letter, family = rare_letter()
    names = [INPUT, f"去云 {letter}", "إزالة", "हटाना", "😀"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = make_table(*(make_row(name) for name in names))
        figure = cover_figure(table, OFFICIAL)
        save_figure(figure, tmp_path / "cover")
        save_figure(figure, tmp_path / "again")
    families = [text.get_fontfamily() for text in figure.findobj(fonts.Text)]
    assert any(family in names_of_file for names_of_file in families)
    printed = capfd.readouterr().err.splitlines()
    assert all("no installed font has" in line for line in printed)
    assert len(printed) == len(set(printed)) <= len(names)
    assert (tmp_path / "cover.png").read_bytes() == (tmp_path / "again.png").read_bytes()


def test_a_letter_that_no_font_has_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fonts._reported.clear()
    fonts._fallbacks.cache_clear()
    monkeypatch.setattr(fonts, "_installed", frozenset)
    try:
        for text in ("去", "去", "a去"):
            assert fonts.font_families(text) == [fonts.DEFAULT_FAMILY]
    finally:
        fonts._fallbacks.cache_clear()
    assert len(capsys.readouterr().err.splitlines()) == 1
