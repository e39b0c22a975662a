"""Test the files of the board: reproducible, without network access or injected markup."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from boards import make_card, put, twins
from ledgers import make_ledger
from planetcr_bench.cli.app import app
from planetcr_bench.leaderboard.entries import read_entries
from planetcr_bench.leaderboard.page import FILES, STATUS_WORDS, write_board
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.results.aggregate import score_groups


def board(*arguments: object):
    return CliRunner().invoke(app, ["leaderboard", *map(str, arguments)])


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs; read only."""
    folder = tmp_path_factory.mktemp("given") / "results"
    put(folder, make_ledger("plain"))
    put(folder, make_ledger("carded", seed=1), card=make_card("Carded"), status="verified")
    put(folder, make_ledger("part", scenes=4, complete=False, expected_scenes=10))
    return folder


@pytest.fixture
def results(given: Path, tmp_path: Path) -> Path:
    """The three runs, free to be changed."""
    return Path(shutil.copytree(given, tmp_path / "results"))


@pytest.fixture(scope="module")
def site(given: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The board of the three runs; read only."""
    out = tmp_path_factory.mktemp("site")
    assert board(given, "--out", out).exit_code == 0
    return out


@pytest.fixture(scope="module")
def twin_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The board of runs of the same images; read only."""
    folder = tmp_path_factory.mktemp("twins")
    twins(folder / "results")
    assert board(folder / "results", "--out", folder).exit_code == 0
    return folder


def test_the_same_results_give_the_same_bytes_and_a_killed_command_leaves_nothing(
    given: Path, site: Path, tmp_path: Path
) -> None:
    for name in FILES:
        (tmp_path / name).write_bytes(b"old")
        (tmp_path / f".{name}.partial").write_bytes(b"half")
    assert board(given, "--out", tmp_path).exit_code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (site / name).read_bytes()


def test_json_holds_the_scores_and_ranks_only_what_is_complete(site: Path) -> None:
    boards = json.loads((site / "leaderboard.json").read_text())["boards"]
    assert [one["id"] for one in boards] == ["fake/official", "fake/full"]
    for one in boards:
        entries = {entry["name"]: entry for entry in one["entries"]}
        assert sorted(entry["rank"] or 0 for entry in entries.values()) == [0, 1, 2]
        assert entries["part"]["rank"] is None
        assert entries["part"]["coverage"] == "4 of 10 scenes"
        frame = make_ledger("carded", seed=1).frame
        psnr = score_groups(frame, PROTOCOLS[one["protocol"]])["psnr"].iloc[0]
        assert entries["carded"]["scores"]["psnr"] == pytest.approx(psnr)


def test_markdown_shows_coverage_and_sets_published_figures_apart(site: Path) -> None:
    text = (site / "leaderboard.md").read_text()
    assert "4 of 10 scenes" in text
    measured, published = text.split("published, not measured here**")
    assert "(published)" not in measured
    assert "Align-CR (published)" in published


def test_bibtex_has_the_paper_and_every_card_once(results: Path, tmp_path: Path) -> None:
    put(results, make_ledger("again", seed=2), card=make_card("Carded"))
    board(results, "--out", tmp_path)
    text = (tmp_path / "leaderboard.bib").read_text()
    assert text.count("@article{xu2024m3rcr") == 1
    assert text.count("@misc{Carded") == 1


def test_a_broken_folder_is_named_and_left_out(results: Path, tmp_path: Path) -> None:
    broken = put(results, make_ledger("broken"))
    (broken / "ledger.parquet").write_bytes(b"PAR1")
    result = board(results, "--out", tmp_path / "site")
    assert result.exit_code == 0
    assert f"left out: {broken / 'ledger.parquet'}" in result.stderr
    assert "3 entries, 1 left out" in result.stdout
    assert "broken" not in (tmp_path / "site" / "leaderboard.json").read_text()


def test_without_any_result_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    result = board(tmp_path / "results", "--out", tmp_path / "site")
    assert result.exit_code == 1
    assert "nothing is written" in result.stderr
    assert not (tmp_path / "site").exists()


def test_only_the_page_s_own_script_and_style_may_run(site: Path) -> None:
    page = (site / "index.html").read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1]
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        (body,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy
    assert not re.search(r'src="https?:', page)
    assert re.findall(r'<(\w+) href="https?:', page) == ["a", "a"]  # links, which nothing loads
    assert not re.search(r"\son[a-z]+=|\sstyle=", page)


def test_text_of_cards_cannot_close_the_data_or_open_a_tag(given: Path, tmp_path: Path) -> None:
    entries, _ = read_entries(given)
    evil = "</script><script>alert(1)</script><!--"
    (carded,) = (entry for entry in entries if entry.card)
    carded = replace(carded, card=carded.card.model_copy(update={"method": evil, "hardware": evil}))
    write_board(tmp_path, [carded])
    page = (tmp_path / "index.html").read_text()
    assert "alert(1)" in page
    assert page.count("<script") == 2
    assert "<!--" not in page
    data = re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1]
    assert [entry["method"] for entry in json.loads(data)["entries"].values()] == [evil]


def test_the_page_links_to_a_repository_if_there_is_one(given: Path, tmp_path: Path) -> None:
    address = "https://example.org/owner/name"
    assert board(given, "--out", tmp_path, "--source", address).exit_code == 0
    page = (tmp_path / "index.html").read_text()
    assert f'<a href="{address}" rel="noopener">Code</a>' in page
    assert f'href="{address}/blob/main/docs/submissions.md"' in page
    result = board(given, "--out", tmp_path, "--source", "javascript:alert(1)")
    assert result.exit_code == 2
    assert "--source: expected an address that begins with https://" in result.stderr


def test_the_schema_of_the_json_is_described(site: Path) -> None:
    """Every key of the file has its line in the documentation, and every line a key."""
    told = json.loads((site / "leaderboard.json").read_text())
    entry = next(each for each in told["boards"][0]["entries"] if each["card"])
    objects = [told, told["boards"][0], entry]
    text = (Path(__file__).parents[3] / "docs/submissions.md").read_text()
    part = text.partition("### leaderboard.json")[2].partition("\n## ")[0]
    described = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", part, re.MULTILINE)
    names = [name for names in described for name in re.findall(r"\w+", names)]
    assert names == [key for one in objects for key in one]
    assert told["schema"] == 1


# --- What a reader must see at first sight ------------------------------------------------------


def told_of(folder: Path, out: Path, *options: str) -> dict[str, dict]:
    assert board(folder, "--out", out, *options).exit_code == 0
    return boards_in(out)


def boards_in(out: Path) -> dict[str, dict]:
    boards = json.loads((out / "leaderboard.json").read_text())["boards"]
    return {one["id"]: {entry["name"]: entry for entry in one["entries"]} for one in boards}


def test_the_same_predictions_are_one_rank_and_a_verified_run_speaks_for_them(
    twin_site: Path,
) -> None:
    full = boards_in(twin_site)["fake/full"]
    assert {name: entry["rank"] for name, entry in full.items()} == {
        "best": 1,
        "right": 2,
        "forged": 2,
        "worse": 3,
    }
    assert list(full) == ["best", "right", "forged", "worse"]
    assert full["forged"]["same_predictions"] == ["right"]
    assert full["worse"]["same_predictions"] == []
    text = (twin_site / "leaderboard.md").read_text()
    assert "| 2 | Forged (same predictions as right: one rank) |" in text


def test_another_scale_makes_other_predictions_of_the_same_files(tmp_path: Path) -> None:
    for name, scale in (("a", None), ("b", 1.0)):
        put(tmp_path / "results", make_ledger(name, scenes=3, scale=scale))
    full = told_of(tmp_path / "results", tmp_path)["fake/full"]
    assert [entry["same_predictions"] for entry in full.values()] == [[], []]


def test_verified_entries_can_be_ranked_alone(tmp_path: Path) -> None:
    twins(tmp_path / "results")
    full = told_of(tmp_path / "results", tmp_path, "--verified")["fake/full"]
    assert {name: entry["rank"] for name, entry in full.items()} == {"right": 1}
    assert json.loads((tmp_path / "leaderboard.json").read_text())["verified_only"] is True
    assert "Verified entries only" in (tmp_path / "leaderboard.md").read_text()
    (tmp_path / "results/fake/right/status.json").unlink()
    result = board(tmp_path / "results", "--out", tmp_path, "--verified")
    assert result.exit_code == 1
    assert "expected verified results" in result.stderr


def test_what_each_status_proves_is_said_on_the_page_and_in_markdown(site: Path) -> None:
    for name in ("index.html", "leaderboard.md"):
        text = (site / name).read_text()
        for words in STATUS_WORDS.values():
            assert words[1:] in text


def test_what_was_simulated_and_how_it_was_trained_is_shown(tmp_path: Path) -> None:
    card = make_card("Narrow") + 'training = "narrow, [3](x) minutes"\n'
    ledger = make_ledger("n", scenes=3, track="sim-v1", simulation="sim-v1 standard, seed 0")
    put(tmp_path / "results", ledger, card=card)
    full = told_of(tmp_path / "results", tmp_path)["sim-v1/full"]
    assert (full["n"]["simulated"], full["n"]["training"]) == (True, "narrow, [3](x) minutes")
    text = (tmp_path / "leaderboard.md").read_text()
    assert "**Track sim-v1 (simulated), protocol full**" in text
    assert r"| narrow, \[3\](x) minutes |" in text


def test_official_figures_say_what_the_network_was_shown(twin_site: Path) -> None:
    told = boards_in(twin_site)
    crops = {name: entry["input_window"] for name, entry in told["fake/official"].items()}
    assert crops == {"right": "unknown", "forged": "unknown", "worse": "unknown", "best": "whole"}
    official = (twin_site / "leaderboard.md").read_text().partition("protocol official")[2]
    assert "| Input window |" in official
    assert re.search(r"best .*\| whole \|", official)
    published = official.partition("published, not measured here**")[2]
    assert re.search(r"Align-CR \(published\).*\| 160 \|", published)


def test_infinity_is_not_what_was_not_measured(tmp_path: Path) -> None:
    ledger = make_ledger("perfect", scenes=3)
    put(tmp_path / "results", replace(ledger, frame=ledger.frame.assign(squared_error=0.0)))
    put(tmp_path / "results", make_ledger("other", scenes=3, seed=1))
    full = told_of(tmp_path / "results", tmp_path)["fake/full"]
    assert full["perfect"]["scores"]["psnr"] == "inf"
    assert full["perfect"]["rank"] == 1
    assert "| 1 | perfect |" in (tmp_path / "leaderboard.md").read_text()
    assert "∞" in (tmp_path / "leaderboard.md").read_text()
