"""BibTeX of a paper: from cards, else from what is known, and LaTeX can print it."""

from __future__ import annotations

from pathlib import Path

from boards import make_card, put
from ledgers import make_ledger
from planetcr_bench.paper.references import references
from planetcr_bench.paper.runs import read_runs

OWN = '''bibtex = """
@article{key,
  title = {Clouds & snow, 50 % off 中},
  url = {https://example.org/a_b#c}
}
"""
'''


def test_every_method_is_cited_and_no_key_is_used_twice(tmp_path: Path) -> None:
    bare = make_card("x").rpartition("bibtex")[0]
    cards = {
        "one": bare.replace('"x"', '"One"') + OWN,
        "two": bare.replace('"x"', '"Two"') + OWN.replace("snow", "ice"),
        "three": bare.replace('"x"', '"Three"') + OWN,
        "glf_cr-small": bare.replace('"x"', '"GLF"'),
        "plain": bare.replace('"x"', '"Plain"') + 'paper = "A title {of} 100 %"\n',
    }
    folders = [
        put(tmp_path, make_ledger(name, seed=seed), card=card)
        for seed, (name, card) in enumerate(cards.items())
    ]
    text, cites = references(read_runs(folders, labels={}))
    assert cites["One"] == cites["Three"] == "key"
    assert cites["Two"] == "key_2"
    assert cites["GLF"] == "xu2022glfcr"
    assert cites["Plain"] == "plain"
    assert r"Clouds \& snow, 50 \% off ?" in text
    assert "https://example.org/a_b#c" in text
    assert r"A title  of  100 \%" in text
    assert text.count("@") == 5
