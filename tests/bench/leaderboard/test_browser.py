"""Test the page in a real browser against what Python computes."""

from __future__ import annotations

import itertools
import json
import random
import re
import shutil
from collections.abc import Collection, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import stats

from aoi_scores import aoi_sums
from boards import make_card, put, twins
from ledgers import copying_input, make_ledger, with_further
from other_datasets import DATASETS, each_dataset, made_run
from planetcr_bench.analysis.intervals import (
    AoiSums,
    Estimate,
    averaged_sums,
    estimate,
    pooled_sums,
    segmenter_sums,
)
from planetcr_bench.analysis.segmentation import segmentation_scores, without_segmenters
from planetcr_bench.analysis.significance import (
    Difference,
    detectable_difference,
    differences,
    metric_comparisons,
    tie_letters,
)
from planetcr_bench.constants import OPTICAL_BANDS
from planetcr_bench.leaderboard.boards import AXES, _added, _averaged, boards_of
from planetcr_bench.leaderboard.compacting import compact_run
from planetcr_bench.leaderboard.entries import read_entries
from planetcr_bench.leaderboard.page import write_board
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.metrics.registry import HEADLINE, METRICS, further
from planetcr_bench.report.table import number
from planetcr_bench.results.aggregate import score_groups
from planetcr_bench.results.ledger import Ledger
from planetcr_bench.results.schema import cover_bins

EVIL = "<img src=x onerror=alert(1)>"
SCENES = 24


@pytest.fixture(scope="module")
def runs() -> dict[str, Ledger]:
    near = make_ledger("near", scenes=SCENES, segmenters=("j1",))
    apart = near.frame.copy()
    apart["prediction_sha256"] = "other images"
    apart["squared_error"] *= 1 + 0.02 * (apart["patch"] // 3)
    return {
        "near": with_further(near),
        "nearly": with_further(Ledger(apart, {**near.provenance, "name": "nearly"})),
        "other": make_ledger("other", scenes=SCENES, seed=4, segmenters=("j1",)),
        "part": make_ledger("part", scenes=9, seed=5, complete=False, expected_scenes=SCENES),
    }


@pytest.fixture(scope="module")
def site(runs: dict[str, Ledger], tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("board")
    for name, ledger in runs.items():
        put(folder / "results", ledger, card=make_card(name, sar=name == "other"))
    put(folder / "results", make_ledger("alone", track="sim-v1", scenes=6))
    entries, problems = read_entries(folder / "results")
    assert problems == []
    evil = [
        replace(entry, card=entry.card.model_copy(update={"hardware": EVIL, "notes": EVIL}))
        if entry.card
        else entry
        for entry in entries
    ]
    write_board(folder, evil)
    return (folder / "index.html").as_uri()


@pytest.fixture(scope="module")
def tab(browser) -> Iterator[tuple]:
    """A page, and what it says to its console, in dialogs and to the network."""
    page = browser.new_page()
    noise: list[str] = []
    page.on("console", lambda message: noise.append(message.text))
    page.on("pageerror", lambda error: noise.append(str(error)))
    page.on("dialog", lambda dialog: noise.append(dialog.message))
    page.on(
        "request",
        lambda request: (
            noise.append(request.url)
            if "file:" not in request.url and "data:" not in request.url
            else None
        ),
    )
    yield page, noise
    page.close()


def go(page, address: str) -> None:
    """Open a board and wait until its arrays are unpacked and everything is drawn."""
    page.goto(address)
    page.wait_for_function("performance.getEntriesByName('shown').length")


def choose(page, track: str, protocol: str) -> None:
    page.select_option("#track", track)
    page.select_option("#protocol", protocol)


def opened(tab: tuple, site: str) -> Iterator:
    """The board as its address alone has it, without what an earlier test chose."""
    page, noise = tab
    noise.clear()  # of the test before, which has failed of it
    if page.url.partition("#")[0] == site:
        page.evaluate("history.replaceState(null, '', '#track=fake'); readAddress(); show()")
    else:
        go(page, site + "#track=fake")
    yield page
    page.evaluate("0")  # what it has said until now has come
    assert noise == []


@pytest.fixture
def page(tab: tuple, site: str) -> Iterator:
    yield from opened(tab, site)


@pytest.fixture(scope="module")
def functions(browser, site: str) -> Iterator:
    """A page whose functions are called, and which nobody changes."""
    page = browser.new_page()
    go(page, site)
    yield page
    page.close()


def column(page, metric: str) -> dict[str, str]:
    cells = page.locator(f"#table tbody tr td[data-metric={metric}]").all_inner_texts()
    rows = [name for name in names(page) if name not in (None, "input")]
    return dict(zip(rows, cells, strict=True))


def figure(text: str) -> float:
    return float(re.match(r"[−\d.]+", text)[0].replace("−", "-"))


def ends(text: str) -> list[float]:
    """The interval of a cell."""
    return [figure(end) for end in re.search(r"\[(.*)\]", text)[1].split(", ")]


def names(page) -> list[str]:
    rows = page.locator("#table tbody tr")
    return rows.evaluate_all("(all) => all.map((row) => row.getAttribute('data-name'))")


def test_columns_sort_both_ways_by_mouse_and_keyboard_and_incomplete_stay_last(page) -> None:
    values = {name: figure(text) for name, text in column(page, "psnr").items()}
    whole = sorted((name for name in values if name != "part"), key=values.get, reverse=True)
    assert names(page) == [*whole, "part", "input"]
    header = page.locator("#table th[data-key=psnr]")
    assert header.get_attribute("aria-sort") == "descending"
    header.locator("button").press("Enter")
    assert names(page) == [*whole[::-1], "part", "input"]
    assert page.locator("#table th[data-key=psnr]").get_attribute("aria-sort") == "ascending"
    page.locator("#table th[data-key=mae] button").click()
    mae = {name: figure(text) for name, text in column(page, "mae").items() if name != "part"}
    assert names(page)[:3] == sorted(mae, key=mae.get)
    assert page.locator("#table tr[data-name=part] td").first.inner_text() == "–"


FILTERS = [
    {},
    {"land_cover": "water"},
    {"cover_bin": "40-60"},
    {"land_cover": "forest", "cover_bin": "80-100", "region": "cloud"},
    {"region": "clear"},
]


CASES = [
    (protocol, wanted)
    for protocol in ("full", "official")
    for wanted in FILTERS
    if protocol == "full" or len(wanted) < 2  # more are not offered
]


@pytest.mark.parametrize(("protocol", "wanted"), CASES)
def test_filters_show_the_scores_of_the_rows_they_name(page, runs, protocol, wanted) -> None:
    choose(page, "fake", protocol)
    for axis, value in wanted.items():
        page.select_option(f"#{axis}", value)
    digits = {"mae": 4, "psnr": 2, "sam_deg": 2, "ssim": 4}
    shown = {metric: column(page, metric) for metric in digits}
    for name, ledger in runs.items():
        frame = ledger.frame.assign(cover_bin=cover_bins(ledger.frame))
        for axis, value in wanted.items():
            frame = frame[frame[axis] == value]
        known = score_groups(frame, PROTOCOLS[protocol]).iloc[0]
        for metric, places in digits.items():
            assert shown[metric][name].startswith(f"{known[metric]:.{places}f}")


@pytest.mark.slow
def test_shipped_runs_have_the_digits_of_python_under_any_filter_and_pair(
    browser, tmp_path: Path
) -> None:
    entries = read_entries(Path(__file__).parents[3] / "results")[0]
    write_board(tmp_path, entries)
    page = browser.new_page()
    for board in boards_of(entries):
        additive = board.protocol.pool == "pixels"
        address = (tmp_path / "index.html").as_uri()
        page.goto("about:blank")
        go(page, f"{address}#track={board.track}&protocol={board.protocol.name}")
        wanted = [
            dict(zip(AXES, choice, strict=True))
            for choice in itertools.product(*(["all", *values] for values in AXES.values()))
            if choice.count("all") in ([1, 2] if additive else [2])
        ]
        for entry in board.entries:
            shown = javascript(
                page,
                "given[1].map((chosen) => given[2].map((metric) => { "
                "const { digits } = METRICS[metric], score = scoreOf(given[0], metric, chosen); "
                "return [text(score.value, digits), range(score, digits)]; }))",
                entry.name, wanted, HEADLINE,
            )  # fmt: skip
            table = (_added if additive else _averaged)(entry.ledger, board.protocol, "prediction")
            every = sorted(set(table.index.get_level_values("aoi")))
            labels = table.index.to_frame()
            single = {axis: score_groups(entry.ledger, board.protocol, [axis]) for axis in AXES}
            for chosen, scores in zip(wanted, shown, strict=True):
                own = labels.aoi.notna()
                for axis, value in chosen.items():
                    own &= (labels[axis] == value) | (additive and value == "all")
                sums = table[own].groupby(level="aoi").sum().reindex(every, fill_value=0)
                for metric, (value, interval) in zip(HEADLINE, scores, strict=True):
                    parts = sums[[f"top_{metric}", f"bottom_{metric}"]]
                    known = estimate((pooled_sums if additive else averaged_sums)(metric, parts))
                    digits = METRICS[metric].digits
                    axes = [axis for axis in AXES if chosen[axis] != "all"]
                    of_one = single[axes[0]][metric].get(chosen[axes[0]], np.nan)
                    exact = of_one if len(axes) == 1 else known.value
                    assert value == number(exact, digits=digits), (entry.name, chosen, metric)
                    low, high = (number(end, digits=digits) for end in (known.low, known.high))
                    assert interval == ("" if "–" in (low, high) else f"[{low}, {high}]")
    page.close()


NUMBERS = ("value", "low", "high", "freedom", "aois", "effective")


def facts(estimated: Estimate) -> list[float]:
    return [getattr(estimated, name) for name in NUMBERS]


def made_sums(seed: int, *, additive: bool) -> dict[str, np.ndarray]:
    """Sums above and below every score in AOIs of very different sizes, one of them empty."""
    rng = np.random.default_rng(seed)
    sizes = np.round(np.append(rng.lognormal(3, 1, 11), 0)) * (1e5 if additive else 1)
    scores = {"mae": 0.05, "psnr": 0.003 if additive else 25, "sam_deg": 8, "ssim": 0.7}
    return {
        metric: np.stack([sizes * scale * rng.uniform(0.5, 1.4, 12), sizes], 1)
        for metric, scale in scores.items()
    }


def python_sums(metric: str, parts: np.ndarray, *, additive: bool) -> AoiSums:
    """As ``aoi_sums`` makes them of a ledger."""
    frame = pd.DataFrame(parts, [f"aoi {place:02}" for place in range(len(parts))])
    return (pooled_sums if additive else averaged_sums)(metric, frame)


def javascript(page, expression: str, *arguments: object) -> object:
    return page.evaluate(f"(given) => {expression}", arguments)


@pytest.mark.parametrize("additive", [True, False])
@pytest.mark.parametrize("metric", HEADLINE)
def test_intervals_are_those_of_python(functions, metric: str, additive: bool) -> None:
    for seed in range(3):
        parts = made_sums(seed, additive=additive)[metric]
        on_page = javascript(functions, "estimate(ratios(given[0], given[1], given[2]))",
                          parts.tolist(), metric, additive)  # fmt: skip
        known = estimate(python_sums(metric, parts, additive=additive))
        assert known.freedom < 10.5
        assert known.aois == 11
        assert [on_page[name] for name in NUMBERS] == pytest.approx(facts(known), rel=1e-8)


@pytest.mark.parametrize("metric", ["miou", "pa"])
def test_intervals_of_segmenters_are_those_of_python(functions, metric: str) -> None:
    rng = np.random.default_rng(5)
    matrices = rng.poisson(rng.lognormal(4, 1, (9, 6, 6)) * (1 + 5 * np.eye(6))).astype(float)
    matrices[3, 2] = 0  # a class that is not there
    counts = (matrices.sum(2), matrices.diagonal(axis1=1, axis2=2), matrices.sum(1))
    on_page = javascript(functions, "estimate(segmented(given[0], given[1], -1))",
                      np.concatenate(counts, 1).tolist(), metric)  # fmt: skip
    known = estimate(segmenter_sums(map(str, range(9)), matrices, metric))
    assert [on_page[name] for name in NUMBERS] == pytest.approx(facts(known), rel=1e-8)


@pytest.mark.parametrize("additive", [True, False])
@pytest.mark.parametrize("metric", HEADLINE)
def test_comparisons_are_those_of_python(functions, metric: str, additive: bool) -> None:
    """Differences, their p, letters and detectable differences; the last two runs are one."""
    runs = {f"run {seed}": made_sums(seed, additive=additive)[metric] for seed in range(5)}
    runs["run 0 again"] = runs["run 0"]
    sums = {name: python_sums(metric, parts, additive=additive) for name, parts in runs.items()}
    better = -1 if METRICS[metric].better == "higher" else 1
    ranked = sorted(sums, key=lambda name: better * sums[name].value)
    known = differences({name: sums[name] for name in ranked})
    on_page = javascript(
        functions,
        "compared(given[0].map((parts) => estimate(ratios(parts, given[1], given[2]))))",
        [runs[name].tolist() for name in ranked],
        metric,
        additive,
    )
    for pair, expected in zip(on_page["pairs"], known, strict=True):
        shown = [pair[name] for name in ("value", "error", "freedom", "p")]
        assert shown == pytest.approx(
            [expected.value, expected.error, expected.freedom, expected.p], rel=1e-7, abs=1e-12
        )
    assert 1 in [pair["p"] for pair in on_page["pairs"]]
    assert on_page["letters"] == list(tie_letters(ranked, known).values())
    assert on_page["alone"] == pytest.approx(detectable_difference(known), rel=1e-8)
    assert on_page["corrected"] == pytest.approx(
        detectable_difference(known, corrected=True), rel=1e-8
    )


def test_few_and_odd_aois_are_those_of_python(functions) -> None:
    """None, one and two AOIs; no error at all, and none without one AOI."""
    for tops in ([], [3], [3, 4], [0, 0, 0], [0, 0, 1]):
        parts = np.stack([tops, np.ones(len(tops))], 1) if tops else np.zeros((0, 2))
        for metric in HEADLINE:
            on_page = javascript(functions, "estimate(ratios(given[0], given[1], true))",
                              parts.tolist(), metric)  # fmt: skip
            known = estimate(python_sums(metric, parts, additive=True)) if tops else None
            expected = facts(known) if known else [np.nan, np.nan, np.nan, np.nan, 0, np.nan]
            assert [on_page[name] for name in NUMBERS] == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("protocol", ["official", "full"])
def test_the_page_and_the_other_files_say_the_same(page, site: str, protocol: str) -> None:
    go(page, f"{site}#track=fake&protocol={protocol}")
    folder = Path(site.removeprefix("file://")).parent
    boards = json.loads((folder / "leaderboard.json").read_text())["boards"]
    (board,) = [candidate for candidate in boards if candidate["id"] == f"fake/{protocol}"]
    lines = (folder / "leaderboard.md").read_text().partition(f"fake, protocol {protocol}")[2]
    for metric, digits in (("mae", 4), ("psnr", 2), ("sam_deg", 2), ("ssim", 4)):
        page.locator(f"#table th[data-key={metric}] button").click()  # letters stand there alone
        shown = column(page, metric)
        for entry in board["entries"]:
            low, high = entry["intervals"][metric]
            text = shown[entry["name"]]
            assert f"[{low:.{digits}f}, {high:.{digits}f}]" in text
            effective = entry["effective_aois"][metric]
            known = [entry["scores"][metric], low, high, entry["freedom"][metric], effective]
            own = "scored().rows.find((row) => row.entry.name === given[0]).scores[given[1]]"
            on_page = javascript(page, own, entry["name"], metric)
            on_page = [on_page[name] for name in ("value", "low", "high", "freedom", "effective")]
            assert on_page == pytest.approx(known, rel=1e-14)  # the order of adding up
            cell = page.locator(f"#table tr[data-name='{entry['name']}'] td[data-metric={metric}]")
            assert f"{on_page[4]:.1f} of {entry['aois']} AOIs" in cell.get_attribute("title")
            letters = entry["ties"][metric]
            row = page.locator(f"#table tr[data-name='{entry['name']}'] .letters")
            assert row.all_inner_texts() == [letters] * entry["complete"]
            assert bool(letters) == entry["complete"]
            interval = f"[{low:.{digits}f}, {high:.{digits}f}]"
            line = f"{entry['scores'][metric]:.{digits}f} {interval} n {effective:.1f} {letters}"
            assert f"| {line.rstrip()} |" in lines
        gaps = board["detectable"][metric]
        note = page.locator("#detectable").text_content()
        for kind in ("alone", "corrected"):
            assert f"{gaps[kind]:.{digits}f}" in re.findall(r"below ([\d.]+)", note)
            assert f"{gaps[kind]:.{digits}f}" in lines
        assert gaps["pairs"] == 3
        assert "all 3 pairs corrected" in note


@pytest.mark.parametrize("protocol", ["official", "full"])
def test_further_metrics_have_a_table_of_their_own(page, site: str, runs, protocol: str) -> None:
    go(page, f"{site}#track=fake&protocol={protocol}")
    text = (Path(site.removeprefix("file://")).parent / "leaderboard.md").read_text()
    lines = text.partition(f"fake, protocol {protocol}: further metrics")[2]
    heads = page.locator("#further thead th").all_inner_texts()[1:]
    assert "part (9 of 24 scenes)" in heads
    assert all(f"| {head} |" in lines for head in heads)
    methods = [head.partition(" ")[0] for head in heads]
    assert set(methods) == set(runs)
    titles = page.locator("#further tbody th").all_inner_texts()
    assert titles == [METRICS[name].title for name in further(OPTICAL_BANDS)]
    compared = [ledger for ledger in runs.values() if ledger.provenance["complete"]]
    comparisons = metric_comparisons(
        [*map(without_segmenters, compared)],
        PROTOCOLS[protocol],
        metrics=further(OPTICAL_BANDS),
        resamples=0,
    )
    for row, comparison in enumerate(comparisons):
        digits = METRICS[comparison.metric].digits
        cells = page.locator("#further tbody tr").nth(row).locator("td")
        shown = dict(zip(methods, cells.all_inner_texts(), strict=True))
        for name, known in comparison.estimates.items():
            if np.isnan(known.value):
                assert shown[name] == "–"
                continue
            score, letters = f"{known.value:.{digits}f}".replace("-", "−"), comparison.letters[name]
            interval = f"[{known.low:.{digits}f}, {known.high:.{digits}f}]".replace("-", "−")
            assert "".join(shown[name].split()) == "".join(f"{score}{letters}{interval}".split())
            line = f"{score} {interval} {letters}"
            assert f"| {line.replace('−', '-')} |" in lines
    assert comparisons[0].letters
    assert shown["other"] == shown["part"] == "–"  # older ledgers, without these sums
    page.select_option("#land_cover", "forest")
    assert page.locator("#further tbody tr").nth(row).locator("td").all_inner_texts() == list(
        shown.values()
    )


def test_a_pair_has_its_difference_interval_and_p(page, runs) -> None:
    full = PROTOCOLS["full"]
    sums = {name: aoi_sums(runs[name], full, "psnr") for name in ("near", "nearly")}
    (known,) = differences(sums)
    page.select_option("#a", "near")
    page.select_option("#b", "nearly")
    cells = page.locator("#pair tr[data-metric=psnr] td").all_inner_texts()
    assert cells[2] == f"+{known.value:.2f} ± {known.half_width():.2f}"
    assert cells[3] == ("< 0.001" if known.p < 0.001 else f"{known.p:.3f}")
    assert known.p < 0.05
    assert cells[4] == "near"
    words = page.locator("#pair-words").inner_text().replace("\xa0", " ")
    assert words.startswith("near is better in PSNR (by 0.30 dB, p = 0.003). Not significantly")
    assert "SAM (p = 1.00)" in words


@pytest.mark.parametrize("freedom", [1, 2, 7, 30, 119, 6.37])
def test_student_s_t_is_scipy_s(functions, freedom: float) -> None:
    for t in (0.0, 0.3, 1.0, 2.5, 8.0, 40.0):
        probability = functions.evaluate(f"tTail({t}, {freedom})")
        assert probability == pytest.approx(2 * stats.t.sf(t, freedom), rel=1e-9)
    for level in (0.05, 0.05 / 28, 0.05 / 19_900):
        assert functions.evaluate(f"student({level}, {freedom})") == pytest.approx(
            stats.t.isf(level / 2, freedom), rel=1e-8
        )


def test_holm_is_the_step_down_rule(functions) -> None:
    assert functions.evaluate("holm([0.01, 0.04, 0.03, 0.9])") == pytest.approx(
        [0.04, 0.09, 0.09, 0.9]
    )


def letters_of(runs: int, apart: Collection[tuple[int, int]]) -> list[str]:
    """By Python."""
    names = [f"run {index}" for index in range(runs)]
    pairs = [
        Difference(names[first], names[second], 0, 0, 9, 0, 0 if (first, second) in apart else 1)
        for first, second in itertools.combinations(range(runs), 2)
    ]
    return list(tie_letters(names, pairs).values())


@pytest.mark.parametrize("seed", range(6))
def test_letters_are_those_of_python(functions, seed: int) -> None:
    """Of eight runs, and of so many with so few ties that insertion is given up."""
    chance = random.Random(seed)
    runs, share = (8, 0.4) if seed < 3 else (40, 0.3)
    both = list(itertools.combinations(range(runs), 2))
    apart = {pair for pair in both if chance.random() < share}
    letters = functions.evaluate(f"lettersOf({runs}, {json.dumps(sorted(apart))})")
    assert letters == letters_of(runs, apart)


def test_letters_of_200_methods_take_no_time(functions) -> None:
    apart = {(i, j) for i, j in itertools.combinations(range(200), 2) if j - i > 30}
    letters, milliseconds = javascript(
        functions,
        "{ const start = performance.now(); const told = lettersOf(200, given[0]); "
        "return [told, performance.now() - start]; }",
        sorted(apart),
    )
    assert letters == letters_of(200, apart)
    assert milliseconds < 3000
    assert functions.evaluate("[sharesLetter('a1', 'a'), sharesLetter('ba1', 'a1')]") == [
        False,
        True,
    ]


def test_complete_runs_over_other_aois_are_not_compared(browser, tmp_path: Path) -> None:
    """As a claim may have it: an interval each, no letters, no differences, and the page agrees."""
    put(tmp_path / "results", make_ledger("many", scenes=24))
    few = make_ledger("few", scenes=24, seed=1)
    frame = few.frame.assign(aoi="summer_" + (few.frame["patch"] // 4).astype(str))
    put(tmp_path / "results", replace(few, frame=frame))
    write_board(tmp_path, read_entries(tmp_path / "results")[0])
    (told,) = [
        candidate
        for candidate in json.loads((tmp_path / "leaderboard.json").read_text())["boards"]
        if candidate["id"] == "fake/full"
    ]
    assert told["comparable"] is False
    page = browser.new_page()
    go(page, (tmp_path / "index.html").as_uri() + "#track=fake")
    for entry in told["entries"]:
        assert entry["ties"] == dict.fromkeys([*HEADLINE, "rmse", "ndvi_error"], "")
        known = [round(end, 2) for end in entry["intervals"]["psnr"]]
        assert ends(column(page, "psnr")[entry["name"]]) == known
    assert page.locator("#table .letters").count() == 0
    assert "no difference is taken" in page.locator("#pair-words").inner_text()
    page.close()


def test_the_input_of_compact_ledgers_is_that_of_the_run_that_copies_it(
    browser, tmp_path: Path
) -> None:
    facts = {"segmenters": ("j1",), "scenes": 12}
    runs = [make_ledger("method", **facts), copying_input(make_ledger("copy", seed=1, **facts))]
    for run in runs:
        compact_run(put(tmp_path / "full", run), tmp_path / run.name)
    shutil.copytree(tmp_path / "method", tmp_path / "both")
    shutil.copytree(tmp_path / "copy", tmp_path / "both", dirs_exist_ok=True)
    for folder, expected in (("method", ["method"]), ("both", ["copy", "method", "input"])):
        entries, problems = read_entries(tmp_path / folder)
        assert problems == []
        write_board(tmp_path / folder, entries)
        page = browser.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error, errors=errors: errors.append(str(error)))
        go(page, (tmp_path / folder / "index.html").as_uri())
        assert sorted(names(page)) == sorted(expected)
        page.select_option("#land_cover", "water")
        shown = column(page, "psnr")
        assert ("Cloudy (input)" in page.locator("#legend").inner_text()) == ("copy" in shown)
        if "copy" in shown:
            cells = page.locator("#table tr[data-name=input] td").all_inner_texts()
            assert figure(shown["copy"]) in [figure(text) for text in cells if text]
        assert errors == []
        page.close()


def test_inputs_filter_and_reset(page) -> None:
    page.select_option("#inputs", "sar")
    assert names(page) == ["other", "input"]
    page.select_option("#inputs", "optical")
    assert set(names(page)) == {"near", "nearly", "part", "input"}
    page.click("#reset")
    assert len(names(page)) == 5


def test_segmenter_s_columns_are_tab_3(page, runs) -> None:
    for name in ("near", "other"):
        table = segmentation_scores(runs[name], "j1", PROTOCOLS["full"], "prediction")
        for metric in ("miou", "pa"):
            known = f"{table.loc['overall', metric]:.{METRICS[metric].digits}f}"
            assert column(page, metric)[name].startswith(known)
    assert column(page, "miou")["part"] == "–"


def test_charts_follow_the_filter(page, runs) -> None:
    page.select_option("#land_cover", "urban")
    title = page.locator("#fig5 path[data-name=other] title").text_content()
    frame = runs["other"].frame
    frame = frame[frame["land_cover"] == "urban"]
    known = score_groups(frame, PROTOCOLS["full"], ["cover_bin"])["psnr"]
    shown = [float(value) for value in re.findall(r"%: ([\d.]+)", title)]
    assert shown == known.round(2).tolist()
    assert page.locator("#fig6 > svg").count() == 1


def test_an_address_leads_back_to_what_was_shown(page) -> None:
    page.select_option("#cover_bin", "20-40")
    page.locator("#table th[data-key=ssim] button").click()
    page.locator("#table tr[data-name=other] .name").click()
    address, shown = page.url, page.locator("#table").inner_text()
    page.goto("about:blank")
    go(page, address)
    assert page.locator("#table").inner_text() == shown
    assert page.locator("#entry").input_value() == "other"


@pytest.mark.parametrize(
    "address",
    [
        "track=none",
        "sort=x&region=y&segmenter=z&entry=%3Cimg%3E",
        "track=fake&protocol=official&region=cloud&land_cover=water",
        "%",
    ],
)
def test_a_wrong_address_shows_the_board_all_the_same(page, site: str, address: str) -> None:
    page.goto("about:blank")
    go(page, f"{site}#{address}")
    assert page.locator("#table tbody tr").count() > 1


def test_text_of_cards_stays_text(page) -> None:
    page.select_option("#entry", "near")
    assert EVIL in page.locator("#card").inner_text()
    assert page.locator("#card img").count() == 0


def test_published_rows_stand_apart_on_their_own_board(page) -> None:
    assert not page.locator("#published-figures").is_visible()
    choose(page, "planet-cr", "official")
    assert page.locator("#published tbody tr").count() == 8
    assert "30.4785" in page.locator("#published").inner_text()
    assert page.locator("#table tbody tr").count() == 0


def test_every_control_has_a_name_and_tables_have_captions(page) -> None:
    for control in page.locator("select, button").all():
        assert control.evaluate("(one) => one.labels?.length || one.textContent.trim().length")
    for table in page.locator("table:visible").all():
        assert table.locator("caption").count() == 1
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator("h1").count() == 1


@pytest.mark.parametrize(
    ("size", "scheme"),
    [((1400, 900), "light"), ((768, 1024), "light"), ((390, 844), "light"), ((390, 844), "dark")],
)
def test_axe_finds_no_violation_and_nothing_scrolls_sideways(
    browser, site: str, size: tuple[int, int], scheme: str
) -> None:
    axe = Path(str(find_spec("axe_playwright_python").origin)).parent / "axe.min.js"
    width, height = size
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    go(page, site)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate("at('how').open = true")
    page.evaluate(axe.read_text(encoding="utf-8"))  # no script element, which the policy forbids
    found = page.evaluate("axe.run().then((told) => told.violations)")
    assert [(one["id"], one["impact"], one["nodes"][0]["html"][:200]) for one in found] == []
    page.close()


# --- What a reader must see at first sight ------------------------------------------------------


def counts(page, name: str) -> tuple[str, str]:
    row = page.locator(f"#table tr[data-name='{name}']")
    scenes, aois = (row.locator(f"[data-count={what}]").inner_text() for what in ("scenes", "aois"))
    return scenes, aois


@pytest.mark.parametrize("protocol", ["official", "full"])
def test_counts_are_those_of_what_the_filters_choose(page, runs, protocol: str) -> None:
    choose(page, "fake", protocol)
    assert counts(page, "near") == (str(SCENES), str(SCENES // 3))
    assert counts(page, "part") == ("9", "3")
    assert f"9 of {SCENES} scenes in all, not ranked" in page.locator("#table").inner_text()
    wanted = {"land_cover": "water"} | ({"cover_bin": "40-60"} if protocol == "full" else {})
    for axis, value in wanted.items():
        page.select_option(f"#{axis}", value)
    for name in ("near", "other", "part"):
        frame = runs[name].frame.assign(cover_bin=cover_bins(runs[name].frame))
        for axis, value in wanted.items():
            frame = frame[frame[axis] == value]
        frame = frame[frame["protocol"] == protocol]
        scenes, aois = counts(page, name)
        assert int(scenes) == frame["scene"].nunique()
        assert int(aois) == frame["aoi"].nunique()
    assert f"out of {SCENES} scenes of {SCENES // 3} " in page.locator("#about").inner_text()
    assert f"{SCENES} scenes" not in page.locator("#table caption").inner_text()


@pytest.fixture(scope="module")
def odd_site(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Twins, a simulated track, and runs of the oddest values that the board takes."""
    folder = tmp_path_factory.mktemp("odd")
    twins(folder / "results")
    card = make_card("Narrow") + 'training = "narrow, trained for 3 minutes on a CPU"\n'
    made = make_ledger("n", scenes=3, track="sim-v1", simulation="sim-v1 standard, seed 0")
    put(folder / "results", made, card=card)
    odd = make_ledger("odd", scenes=3, track="odd", segmenters=("j1",))
    errors = ["squared_error", "angle_deg", "ssim"]
    none = ["angle_pixels", "ssim_pixels", "angle_deg", "ssim"]
    for name, change in (
        ("zero", dict.fromkeys(errors, 0.0)),
        ("large", {"squared_error": 1e29, "ssim": -1e29, "angle_deg": 1e29}),
        ("tiny", dict.fromkeys(errors, 1e-300)),
        ("unmeasured", dict.fromkeys(none, 0)),
        ("names", {"aoi": "</script>\x1b[2J"}),
    ):
        facts = {**odd.provenance, "name": name}
        put(folder / "results", Ledger(odd.frame.assign(**change), facts))
    entries, problems = read_entries(folder / "results")
    assert problems == []
    write_board(folder, entries)
    return (folder / "index.html").as_uri()


@pytest.fixture
def odd_page(tab: tuple, odd_site: str) -> Iterator:
    yield from opened(tab, odd_site)


def ranks(page) -> dict[str, str]:
    first = "(all) => all.map((row) => row.querySelector('td span')?.innerText ?? '')"
    rows = page.locator("#table tbody tr[data-name]")
    return dict(zip(names(page), rows.evaluate_all(first), strict=True))


def test_identical_predictions_share_a_rank_on_the_page(odd_page) -> None:
    expected = {"best": "1", "right": "2", "forged": "2", "worse": "3", "input": ""}
    assert list(ranks(odd_page).items()) == list(expected.items())
    forged = odd_page.locator("#table tr[data-name=forged] th").inner_text()
    assert "same predictions as Right: one rank" in forged
    odd_page.locator("#table th[data-key=psnr] button").click()
    assert list(ranks(odd_page)) == ["worse", "right", "forged", "best", "input"]


def test_verified_entries_are_ranked_alone_by_a_switch(odd_page) -> None:
    odd_page.check("#verified")
    assert ranks(odd_page) == {"right": "1", "input": ""}
    assert "verified=1" in odd_page.url
    assert "Claimed:" not in odd_page.locator("#notes").inner_text()
    odd_page.click("#reset")
    assert len(ranks(odd_page)) == 5
    assert "Claimed: only the sums were sent" in odd_page.locator("#notes").inner_text()


def test_badges_say_what_was_simulated_how_it_was_trained_and_shown(odd_page) -> None:
    assert "input window" not in odd_page.locator("#table").inner_text()
    choose(odd_page, "fake", "official")
    assert "input window whole" in odd_page.locator("#table tr[data-name=best] th").inner_text()
    assert "input window unknown" in odd_page.locator("#table tr[data-name=right] th").inner_text()
    assert "rows of different input windows" in odd_page.locator("#notes").inner_text()
    assert "(input whole)" in odd_page.locator("#legend").inner_text()
    assert "(input " in odd_page.locator("#pair th:nth-child(2)").first.inner_text()
    choose(odd_page, "sim-v1", "full")
    assert odd_page.locator("#badges .warned").inner_text() == "simulated"
    badges = odd_page.locator("#table tr[data-name=n] th .badge").all_inner_texts()
    assert badges == ["claimed", "optical", "narrow, trained for 3 minutes on a CPU"]


def test_the_page_shows_every_value_of_the_board(odd_page) -> None:
    for protocol in ("official", "full"):
        choose(odd_page, "odd", protocol)
        assert len(ranks(odd_page)) == 6
        for metric in ("mae", "psnr", "sam_deg", "ssim", "miou"):
            odd_page.locator(f"#table th[data-key={metric}] button").click()
            assert odd_page.locator("#fig5 figcaption").count() == 1
        odd_page.select_option("#cover_bin", "80-100")
        assert {counts(odd_page, name) for name in ("zero", "large")} == {("0", "0")}
        odd_page.select_option("#cover_bin", "all")
    assert "∞" in odd_page.locator("#table tr[data-name=zero] td[data-metric=psnr]").inner_text()


# --- Other datasets ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mixed_site(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Boards of datasets of other bands, without masks, without land cover."""
    folder = tmp_path_factory.mktemp("mixed")
    for dataset in DATASETS:
        for seed, name in enumerate(("first", "second")):
            put(folder / "results", made_run(dataset, name, seed))
    put(folder / "results", make_ledger("plain", scenes=6))
    write_board(folder, read_entries(folder / "results")[0])
    return (folder / "index.html").as_uri()


@pytest.fixture
def mixed(tab: tuple, mixed_site: str) -> Iterator:
    yield from opened(tab, mixed_site)


@each_dataset
def test_a_board_has_the_filters_and_words_of_its_dataset(mixed, dataset: str) -> None:
    kind = DATASETS[dataset]
    mixed.evaluate("readAddress()")
    mixed.evaluate("change({ region: 'cloud', land_cover: 'water', cover_bin: '0-20' })")
    track = dataset.replace(" ", "-")
    mixed.evaluate(f"change({{ track: '{track}' }})")
    assert mixed.locator("#region").is_visible() == kind.masks
    assert mixed.locator("#cover_bin").is_visible() == kind.masks
    assert mixed.locator("#land_cover").is_visible() == kind.land_cover
    assert mixed.locator("#fig5").is_visible() == kind.masks
    about = mixed.locator("#about").inner_text()
    assert ("no cloud masks" in about, "no land cover" in about) == (
        not kind.masks, not kind.land_cover,
    )  # fmt: skip
    heads = mixed.locator("#table thead th").all_inner_texts()
    counted = kind.imagery.clusters
    assert heads[-1] == ("Scenes" if counted == "scenes" else f"Scenes, {counted}")
    mixed.locator("#reset").click()
    shown = {name: figure(text) for name, text in column(mixed, "psnr").items()}
    for seed, name in enumerate(("first", "second")):
        scores = score_groups(made_run(dataset, name, seed), PROTOCOLS["full"])
        assert shown[name] == round(scores["psnr"].iloc[0], 2)
    further_rows = mixed.locator("#further tbody th").all_inner_texts()
    assert f"Bias, {kind.imagery.bands[0]} → 0" in further_rows


# --- Head, table and charts -------------------------------------------------------------------


def test_the_head_says_which_method_is_best_by_how_much_and_how_sure_that_is(page, runs) -> None:
    full = PROTOCOLS["full"]
    sums = {name: aoi_sums(run, full, "psnr") for name, run in runs.items() if name != "part"}
    best, second, _ = sorted(sums, key=lambda name: -sums[name].value)
    pairs = differences(sums)
    known = next(pair for pair in pairs if {pair.first, pair.second} == {best, second})
    said = page.locator("#answer").inner_text().replace("\xa0", " ")
    assert said.startswith(f"{best} has the best PSNR, {sums[best].value:.2f} dB: ")
    assert f"{abs(known.value):.2f} dB above {second}" in said
    assert f"The lead is {'not ' * (known.p_holm >= 0.05)}significant (p " in said
    assert page.locator("#badges li").all_inner_texts()[:4] == [
        "fake", f"{SCENES} scenes", f"{SCENES // 3} AOIs", "4 methods",
    ]  # fmt: skip


def test_rank_ranges_count_who_is_significantly_better_and_worse(page, runs) -> None:
    full = PROTOCOLS["full"]
    sums = {name: aoi_sums(run, full, "psnr") for name, run in runs.items() if name != "part"}
    apart = [
        (pair.first, pair.second) if pair.value > 0 else (pair.second, pair.first)
        for pair in differences(sums)
        if pair.p_holm < 0.05
    ]
    best = max(sums, key=lambda name: sums[name].value)
    for name in sums:
        low = 1 + sum(worse == name for _, worse in apart)
        high = len(sums) - sum(better == name for better, _ in apart)
        row = page.locator(f"#table tr[data-name={name}]")
        shown = row.locator(".rank .pm").all_inner_texts()
        assert shown == ([f"{low}–{high}"] if low < high else [])
        tied = row.evaluate("(row) => row.classList.contains('tied')")
        assert tied == ((best, name) not in apart)
    assert page.locator("#table tr.tied").count() < page.locator("#table tbody tr").count()


def test_the_table_is_saved_as_it_is_shown(page, tmp_path: Path) -> None:
    page.select_option("#land_cover", "water")
    page.locator("#table th[data-key=mae] button").click()
    with page.expect_download() as saved:
        page.click("#csv")
    assert saved.value.suggested_filename == "fake-full-water.csv"
    saved.value.save_as(tmp_path / "table.csv")
    frame = pd.read_csv(tmp_path / "table.csv")
    assert frame["name"].tolist() == names(page)
    shown = column(page, "mae")
    for row in frame.iloc[:-1].itertuples():
        assert f"{row.mae:.4f}" == shown[row.name][:6]
        assert ends(shown[row.name]) == pytest.approx([row.mae_low, row.mae_high], abs=6e-5)
    assert frame["scenes"].max() == int(counts(page, "near")[0])


def test_a_phone_shows_the_method_and_the_ranking_score_however_far_it_scrolls(
    browser, site: str
) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    for metric in ("mae", "miou"):
        go(page, f"{site}#track=fake&sort={metric}")
        for left in (0, 80, 10_000):
            page.evaluate(f"document.querySelector('.scroll').scrollLeft = {left}")
            row = page.locator("#table tr[data-name=near]")
            for cell in (row.locator("th"), row.locator(f"td[data-metric={metric}]")):
                box = cell.bounding_box()
                assert 0 <= box["x"] < box["x"] + box["width"] <= 390
        page.goto("about:blank")
    page.close()


def test_charts_give_their_values_to_the_keyboard_and_have_bands(page) -> None:
    target = page.locator("#fig5 .target").nth(2)
    target.focus()
    tip = page.locator("#fig5 .tip")
    assert "Cloud cover 40–60 %" in tip.inner_text()
    score = page.evaluate("scoreOf('near', 'psnr', { ...EVERYTHING, cover_bin: '40-60' })")
    interval = f"{score['value']:.2f} [{score['low']:.2f}, {score['high']:.2f}]"
    assert f"near {interval}" in target.get_attribute("aria-label")
    assert interval.replace(" [", "[") in "".join(tip.inner_text().split()).replace(",", ", ")
    page.keyboard.press("Escape")
    assert not tip.is_visible()
    assert page.locator("#fig5 .band").count() == len(names(page)) - 1  # not of what is incomplete
    assert page.locator("#fig5 text.axis").all_text_contents() == [
        "Cloud cover of the patch [%]", "PSNR ↑ [dB]",
    ]  # fmt: skip


def test_at_most_eight_lines_have_colours_of_their_own_and_keep_them(functions) -> None:
    first, second = functions.evaluate(
        """() => { slots.clear(); const all = [...Array(12).keys()].map((i) => `m${i}`);
          const orders = [all, [...all].reverse()];
          return orders.map((names) => Object.fromEntries(stylesOf(names))); }"""
    )
    for styles in (first, second):
        colours = [style for style in styles.values() if style != "other"]
        assert sorted(colours) == [f"k{slot}" for slot in range(8)]
    for name in ("m4", "m5", "m6", "m7"):  # among the first eight both times
        assert first[name] == second[name]


def test_the_handle_of_a_picture_moves_by_keys(browser, tmp_path: Path) -> None:
    picture = tmp_path / "fake/near/samples.jpg"
    for name in ("near", "far"):
        folder = put(tmp_path, make_ledger(name, scenes=6, seed=len(name)))
        Image.new("RGB", (90, 30), "green").save(folder / "samples.jpg")
    assert picture.exists()
    write_board(tmp_path, read_entries(tmp_path)[0])
    page = browser.new_page()
    go(page, (tmp_path / "index.html").as_uri())
    for figure_of in ("before-after", "pair-picture"):
        handle = page.locator(f"#{figure_of} input")
        handle.focus()
        page.keyboard.press("End")
        box = page.locator(f"#{figure_of} .compare")
        assert box.evaluate("(box) => box.style.getPropertyValue('--at')") == "100%"
    page.click("#before-after button:has-text('cloud-free')")
    assert page.locator("#before-after .tag.right").inner_text() == "cloud-free"
    sizes = page.locator("#samples .shot").evaluate_all(
        "(all) => all.map((one) => one.offsetWidth)"
    )
    assert len(sizes) == 3
    assert min(sizes) >= 300
    assert page.locator("#samples figcaption").all_inner_texts() == [
        "Cloudy",
        "Prediction",
        "Cloud-free",
    ]
    page.close()
