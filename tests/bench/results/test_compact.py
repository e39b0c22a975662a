"""Test that a compact ledger gives the numbers of its ledger of scenes, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal

from boards import put
from ledgers import make_ledger, with_further
from paths import RUNS
from planetcr_bench.analysis.error_analysis import ErrorAnalysis
from planetcr_bench.analysis.segmentation import without_segmenters
from planetcr_bench.analysis.significance import MetricComparison, metric_comparisons
from planetcr_bench.constants import OPTICAL_BANDS
from planetcr_bench.errors import LedgerError, ScenesError
from planetcr_bench.leaderboard.compacting import compact_run
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.metrics.registry import HEADLINE, further
from planetcr_bench.report.run_tables import RunTables
from planetcr_bench.report.scores import summary
from planetcr_bench.results.aggregate import (
    check_comparable,
    group_sums,
    of_protocol,
    scene_scores,
    score_groups,
    seen_classes,
)
from planetcr_bench.results.compact import KEYS, CompactLedger, is_count
from planetcr_bench.results.compact_file import compact_table, read_any_ledger, split_groups
from planetcr_bench.results.compaction import compact
from planetcr_bench.results.files import COMPACT, LEDGER
from planetcr_bench.results.ledger import Ledger, read_ledger, write_ledger

REAL = ("align_cr-small", "mean-fill")


def make_full(name: str = "made", **facts) -> Ledger:
    """A ledger with all that one can have; 9 AOIs."""
    facts = {"scenes": 27, "floor": True, "segmenters": ("one",), **facts}
    return with_further(make_ledger(name, **facts))


def through_file(ledger: Ledger, folder: Path) -> CompactLedger:
    """The compact ledger of a run, written and read again."""
    made = compact(ledger, "0" * 64)
    write_ledger(folder / f"{ledger.name}.parquet", compact_table(made), made.provenance)
    read = read_any_ledger(folder / f"{ledger.name}.parquet")
    assert isinstance(read, CompactLedger)
    return read


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Ledger, CompactLedger]]:
    """A generated run and two of real scores, each with its compact form."""
    folder = tmp_path_factory.mktemp("compact")
    full = [make_full("made")]
    full += [without_segmenters(read_ledger(RUNS / name)) for name in REAL]
    return [(ledger, through_file(ledger, folder)) for ledger in full]


def numbers(comparisons: list[MetricComparison]) -> list[object]:
    """Every number and letter of comparisons."""
    return [
        [
            (each.metric, each.segmenter, each.aois, each.letters),
            [vars_of(estimate) for estimate in each.estimates.values()],
            [vars_of(pair) for pair in each.pairs],
        ]
        for each in comparisons
    ]


def vars_of(value: object) -> dict[str, object]:
    return {name: getattr(value, name) for name in value.__slots__}


def assert_alike(first: object, second: object) -> None:
    """Whether two nests of numbers and texts are the same to 1e-9."""
    if isinstance(first, dict):
        assert list(first) == list(second)
        first, second = list(first.values()), list(second.values())
    if isinstance(first, (list, tuple)):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_alike(one, other)
    else:
        expected = pytest.approx(first, rel=1e-9, nan_ok=True) if is_number(first) else first
        assert second == expected


def is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def test_tables_of_a_comparison_are_the_same(pairs: list[tuple[Ledger, CompactLedger]]) -> None:
    for chosen in (pairs[:1], pairs[1:]):
        full, compacted = (RunTables(ledgers) for ledgers in zip(*chosen, strict=True))
        for tables in ("table2_tables", "table3_tables", "group_tables", "statistic_tables"):
            assert getattr(full, tables) == getattr(compacted, tables)
        assert_frame_equal(full.table2_frame(), compacted.table2_frame(), rtol=1e-12)
        assert_frame_equal(full.table3_frame(), compacted.table3_frame(), rtol=1e-12)
        assert_frame_equal(full.statistic_frame(), compacted.statistic_frame(), rtol=1e-9)


def test_one_of_each_kind_is_compared(pairs: list[tuple[Ledger, CompactLedger]]) -> None:
    (first, _), (second, compacted) = pairs[1:]
    for protocol in PROTOCOLS.values():
        alike, mixed = (
            metric_comparisons(
                [first, other], protocol, metrics=(*HEADLINE, *further(OPTICAL_BANDS))
            )
            for other in (second, compacted)
        )
        assert_alike(numbers(alike), numbers(mixed))


def test_scores_of_a_run_are_the_same(pairs: list[tuple[Ledger, CompactLedger]]) -> None:
    for ledger, compacted in pairs[:2]:
        assert_alike(summary(ledger), summary(compacted))


@pytest.mark.parametrize("pool", ["pixels", "scene-mean"])
def test_classes_are_averaged_both_ways(
    pairs: list[tuple[Ledger, CompactLedger]], pool: str
) -> None:
    for ledger, compacted in pairs[:1]:
        full, looked_up = (RunTables([each], pool=pool) for each in (ledger, compacted))
        assert full.table2_tables == looked_up.table2_tables


def test_errors_are_the_same_but_for_scenes(pairs: list[tuple[Ledger, CompactLedger]]) -> None:
    for ledger, compacted in pairs[:2]:
        for protocol in PROTOCOLS.values():
            full, looked_up = (ErrorAnalysis([each], protocol) for each in (ledger, compacted))
            for table in ("regions", "paste_back", "triangle", "aois"):
                own, other = getattr(full, table), getattr(looked_up, table)
                assert_frame_equal(own, other, rtol=1e-9, atol=1e-12)
            for by in ((), ("season",), ("land_cover", "cover_bin")):
                assert_frame_equal(full.failures(*by), looked_up.failures(*by), rtol=1e-9)
            assert full.with_scenes is full
            assert looked_up.with_scenes is None
            with pytest.raises(ScenesError, match="needs the ledger of scenes"):
                _ = looked_up.scenes


def test_sums_of_the_page_are_rounded_to_a_hundred_thousandth(
    pairs: list[tuple[Ledger, CompactLedger]],
) -> None:
    by, columns = ["aoi", "cover_bin", "land_cover", "region"], ["absolute_error", "ssim", "pixels"]
    for ledger, compacted in pairs:
        full, cells = (
            group_sums(each, PROTOCOLS["full"], by, columns) for each in (ledger, compacted)
        )
        keys = full.index.to_frame().astype(str).astype(object)
        full.index = pd.MultiIndex.from_frame(keys)
        assert_frame_equal(full, cells[list(full)], rtol=1e-5, check_dtype=False)
        assert (cells["ssim"].astype(np.float32) == cells["ssim"]).all()


def test_perfect_scenes_and_scenes_without_angle_or_ssim_count_as_they_do(tmp_path: Path) -> None:
    ledger = make_ledger(scenes=12)
    frame = ledger.frame.copy()
    first, second, third = list(dict.fromkeys(frame["scene"]))[:3]
    perfect = frame["scene"] == first
    frame.loc[perfect, ["absolute_error", "squared_error", "angle_deg", "worse_pixels"]] = 0
    frame.loc[perfect, "prediction_cloudy"] = frame.loc[perfect, "cloudy_clear"]
    frame.loc[perfect, "ssim"] = frame.loc[perfect, "pixels"].astype(float)
    dark = (frame["scene"] == second) & (frame["protocol"] == "full")
    frame.loc[dark, ["angle_deg", "angle_pixels"]] = 0
    frame.loc[frame["scene"] == third, ["ssim", "input_ssim", "ssim_pixels"]] = 0
    ledger = replace(ledger, frame=frame)
    compacted = through_file(ledger, tmp_path)
    for protocol in PROTOCOLS.values():
        for by in ([], ["land_cover"]):
            for of in ("prediction", "input"):
                for pool in ("pixels", "scene-mean"):
                    full, looked_up = (
                        score_groups(each, protocol, by, of=of, pool=pool)
                        for each in (ledger, compacted)
                    )
                    full.index = full.index.astype(str).astype(object)
                    looked_up = looked_up.loc[full.index]
                    assert_frame_equal(
                        full.reset_index(drop=True), looked_up.reset_index(drop=True), rtol=1e-12
                    )
    assert score_groups(compacted, PROTOCOLS["full"], pool="scene-mean")["psnr"].iloc[0] == np.inf
    alike = [metric_comparisons([each], PROTOCOLS["full"]) for each in (ledger, compacted)]
    assert_alike(*map(numbers, alike))


def test_a_run_of_centre_crops_alone_is_compacted(tmp_path: Path) -> None:
    ledger = make_ledger("crops", protocols=("official",))
    compacted = through_file(ledger, tmp_path)
    full, looked_up = (RunTables([each]) for each in (ledger, compacted))
    assert full.table2_tables == looked_up.table2_tables
    assert full.group_tables == looked_up.group_tables


def test_a_protocol_is_taken_from_a_compact_ledger(
    pairs: list[tuple[Ledger, CompactLedger]],
) -> None:
    _, compacted = pairs[0]
    part = of_protocol(compacted, "full")
    assert part.protocols == {"full"}
    assert RunTables([part]).protocols == [PROTOCOLS["full"]]


def test_what_groups_do_not_say_needs_scenes(pairs: list[tuple[Ledger, CompactLedger]]) -> None:
    _, compacted = pairs[0]
    full = PROTOCOLS["full"]
    for ask in (
        lambda: compacted.frame,
        lambda: score_groups(compacted, full, ["scene"]),
        lambda: score_groups(compacted, full, ["thickness"]),
        lambda: score_groups(compacted, full, ["land_cover", "region"]),
        lambda: score_groups(compacted, full, ["aoi"], pool="scene-mean"),
        lambda: group_sums(compacted, full, ["aoi", "cover_bin"], ["squared_error"]),
        lambda: group_sums(compacted, full, KEYS[1:5], ["input_squared_error"]),
        lambda: scene_scores(compacted, PROTOCOLS["official"], KEYS[1:3], ["mae"], "input"),
        lambda: seen_classes(compacted, full, "one", "cloudy"),
        lambda: compact(compacted, "0" * 64),
    ):
        with pytest.raises(ScenesError, match=r"made: .* needs the ledger of scenes"):
            ask()


def test_simulations_are_compared_by_aoi_and_bin() -> None:
    name = "sim-v1 standard, seed 0, size demo"
    first = make_ledger("first", simulation=name)
    other = make_ledger("other", simulation=name, fingerprint="e" * 64)
    check_comparable([first, compact(other, "0" * 64)])
    brighter = other.frame["cloudy_clear"] * 1.02
    brighter = replace(other, frame=other.frame.assign(cloudy_clear=brighter))
    with pytest.raises(LedgerError, match="expected the same fingerprint"):
        check_comparable([first, compact(brighter, "0" * 64)])


# --- Files that no run has written ---------------------------------------------------------------

Damage = Callable[[pd.DataFrame], pd.DataFrame]


def rows_by(frame: pd.DataFrame, *by: str) -> pd.Series:
    """Rows of a grouping in protocol full."""
    split = frame[list(KEYS)].astype(str) != "all"
    return (split == [key in by for key in KEYS]).all(axis=1) & (frame["protocol"] == "full")


def scaled(column: str, factor: float, *by: str) -> Damage:
    return lambda frame: frame.assign(
        **{column: frame[column].where(~rows_by(frame, *by), frame[column] * factor)}
    )


DAMAGES: dict[str, Damage] = {
    "a grouping is missing": lambda frame: frame[~rows_by(frame, "region")],
    "a group is missing": lambda frame: frame.drop(rows_by(frame, "aoi").idxmax()),
    "a group comes twice": lambda frame: pd.concat([frame, frame[rows_by(frame, "region")]]),
    "no rows": lambda frame: frame[:0],
    "unknown grouping": lambda frame: frame.assign(season="summer"),
    "unknown class": lambda frame: frame.replace({"land_cover": {"forest": "moon"}}),
    "unknown protocol": lambda frame: frame.replace({"protocol": {"full": "other"}}),
    "negative error": scaled("absolute_error", -1, "region"),
    "errors that do not add up": scaled("absolute_error", 1.001, "region"),
    "too large an angle": scaled("score_prediction_sam_deg", 1000, "land_cover"),
    "too large a score": scaled("score_prediction_psnr", 1e300, "land_cover"),
    "scores that do not add up": scaled("score_prediction_psnr", 1.001, "cover_bin"),
    "more scenes than the run": scaled("scenes", 10, "land_cover"),
    "no scenes": scaled("scenes", 0, "region"),
    "fewer AOIs": scaled("aois", 0, "region"),
    "no pixels": scaled("pixels", 0, "region"),
    "more worse pixels than pixels": scaled("worse_pixels", 1000, "land_cover"),
    "more pixels than can be added": lambda frame: frame.assign(
        **{
            name: frame[name] * 10**10
            for name in frame
            if name.endswith("pixels") or name.startswith(("segmenter_", "seen_"))
        }
    ),
    "an infinite sum": scaled("squared_error", np.inf, "aoi"),
    "segmenter's counts": scaled(
        "segmenter_one_prediction_forest_forest", 2, "cover_bin", "land_cover"
    ),
    "seen classes": scaled("seen_one_prediction_forest", 2, "aoi", "cover_bin", "land_cover"),
    "a gap": scaled("squared_error", np.nan, "region"),
    "a sum where none belongs": lambda frame: frame.assign(squared_error=1.0),
    "a place off the globe": scaled("latitude", 90, "aoi"),
}


@pytest.fixture(scope="module")
def made() -> tuple[pd.DataFrame, dict]:
    """Rows and metadata of a sound file."""
    compacted = compact(make_ledger(scenes=6, segmenters=("one",)), "0" * 64)
    frame = compact_table(compacted).to_pandas(ignore_metadata=True)
    texts = ["protocol", *KEYS]
    return frame.astype(dict.fromkeys(texts, object)), dict(compacted.provenance)


@pytest.mark.parametrize("damage", DAMAGES)
def test_impossible_groups_are_refused(made: tuple[pd.DataFrame, dict], damage: str) -> None:
    frame, provenance = made
    with pytest.raises(LedgerError, match=r"some\.parquet: expected"):
        split_groups(Path("some.parquet"), DAMAGES[damage](frame), provenance)


@pytest.mark.parametrize("value", [np.nan, -np.inf, 1e300])
def test_no_cell_may_be_spoilt(made: tuple[pd.DataFrame, dict], value: float) -> None:
    frame, provenance = made
    rng = np.random.default_rng(0)
    columns = [name for name in frame if name not in ("protocol", *KEYS)]
    if not np.isnan(value):
        columns = [name for name in columns if not is_count(name)]
    filled = np.argwhere(frame[columns].notna().to_numpy())
    row, number = rng.choice(filled)
    column = columns[number]
    spoilt = frame.astype({column: float})
    spoilt.iloc[row, spoilt.columns.get_loc(column)] = value
    with pytest.raises(LedgerError, match=r"some\.parquet: expected"):
        split_groups(Path("some.parquet"), spoilt, provenance)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"compact_schema": 2}, "expected compact schema 1, got 2; write it again"),
        ({"compact_schema": True}, "expected compact schema 1"),
        ({"full_ledger_sha256": "x"}, "SHA-256 as full_ledger_sha256"),
        ({"predictions_sha256": None}, "SHA-256 as predictions_sha256"),
        ({"ledger_schema": 99}, "expected ledger schema"),
        ({"scenes": 26}, "no more than the run has"),
        ({"scenes": 28, "expected_scenes": 28}, "28 scenes as its record says"),
        ({"protocols": {}}, "expected rows of its record's protocols"),
        ({"segmenters": {}}, "expected the columns"),
        ({"name": "../x"}, "expected a name"),
    ],
)
def test_other_metadata_are_refused(
    pairs: list[tuple[Ledger, CompactLedger]], tmp_path: Path, changes: dict, reason: str
) -> None:
    _, compacted = pairs[0]
    file = tmp_path / COMPACT
    write_ledger(file, compact_table(compacted), {**compacted.provenance, **changes})
    with pytest.raises(LedgerError, match=reason):
        read_any_ledger(file)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda table: table.drop_columns(["ssim"]),
        lambda table: table.append_column("more", pa.nulls(len(table), pa.float64())),
        lambda table: table.set_column(
            table.column_names.index("scenes"), "scenes", table["scenes"].cast(pa.float64())
        ),
    ],
)
def test_other_columns_are_refused(
    pairs: list[tuple[Ledger, CompactLedger]], tmp_path: Path, spoil: Callable[[pa.Table], pa.Table]
) -> None:
    _, compacted = pairs[0]
    file = tmp_path / COMPACT
    write_ledger(file, spoil(compact_table(compacted)), compacted.provenance)
    with pytest.raises(LedgerError, match="expected the columns"):
        read_any_ledger(file)


def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path) -> None:
    (tmp_path / COMPACT).write_bytes(b"PAR1 and nothing else")
    with pytest.raises(LedgerError, match="cannot read it"):
        read_any_ledger(tmp_path / COMPACT)
    with pytest.raises(LedgerError, match=r"expected run\.json"):
        read_any_ledger(tmp_path)


def test_a_compact_ledger_is_of_the_ledger_beside_it(tmp_path: Path) -> None:
    run = put(tmp_path / "full", make_ledger("method"))
    folder = compact_run(run, tmp_path / "small")
    record = json.loads((folder / "run.json").read_text())
    (folder / LEDGER).write_bytes((run / LEDGER).read_bytes())
    assert not isinstance(read_any_ledger(folder), CompactLedger)
    (folder / LEDGER).write_bytes((put(tmp_path, make_ledger("b")) / LEDGER).read_bytes())
    for path in (folder, folder / COMPACT):
        with pytest.raises(LedgerError, match="got one of another ledger"):
            read_any_ledger(path)
    assert len(record["full_ledger_sha256"]) == 64


def test_scenes_are_not_read_from_a_compact_ledger(tmp_path: Path) -> None:
    folder = compact_run(put(tmp_path / "full", make_ledger("method")), tmp_path / "small")
    for path in (folder, folder / COMPACT):
        with pytest.raises(ScenesError, match="ledger of scenes"):
            read_ledger(path)
