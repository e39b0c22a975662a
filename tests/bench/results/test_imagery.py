"""Ledgers of any bands, with and without masks and land cover: rules, file, scores, comparison."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal

from boards import put
from ledgers import make_ledger
from other_datasets import DATASETS, each_dataset, made_run, made_scene
from planetcr_bench.errors import LedgerError
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.metrics.registry import HEADLINE, further
from planetcr_bench.report.run_tables import RunTables
from planetcr_bench.results.aggregate import check_comparable, score_groups
from planetcr_bench.results.compact_file import compact_table, read_any_ledger
from planetcr_bench.results.compaction import compact
from planetcr_bench.results.imagery import Imagery, imagery_errors
from planetcr_bench.results.known import Known
from planetcr_bench.results.ledger import read_ledger, write_ledger
from planetcr_bench.results.rules import broken_rules

FULL = PROTOCOLS["full"]


@each_dataset
def test_a_ledger_keeps_all_rules_and_survives_the_disk(dataset: str, tmp_path: Path) -> None:
    run = made_run(dataset)
    assert broken_rules(run.frame, bands=run.bands) == []
    again = read_ledger(put(tmp_path, run))
    assert_frame_equal(again.frame, run.frame)
    assert again.imagery == DATASETS[dataset].imagery
    assert again.provenance == run.provenance


@each_dataset
def test_what_is_not_known_is_unknown_in_every_row(dataset: str) -> None:
    run, kind = made_run(dataset), DATASETS[dataset]
    assert ("unknown" in set(run.frame["region"])) == run.frame["cloud_cover"].isna().all()
    assert Known.of([run]) == Known(land_cover=kind.land_cover, masks=kind.masks, seasons=False)
    assert (run.frame["values"] == len(run.bands) * run.frame["pixels"]).all()


@each_dataset
def test_scores_are_those_of_numpy(dataset: str) -> None:
    run = made_run(dataset)
    scenes = [made_scene(dataset, index) for index in range(run.scenes)]
    errors = [(s.images[0].astype(float) - s.clear).reshape(len(run.bands), -1) for s in scenes]
    together = np.concatenate(errors, axis=1)
    names = (*HEADLINE, *further(run.bands))
    scores = score_groups(run, FULL, metrics=names).iloc[0]
    assert_allclose(scores["mae"], abs(together).mean())
    assert_allclose(scores["psnr"], -10 * np.log10((together**2).mean()))
    squares = (together**2).mean(1)
    for index, band in enumerate(run.bands):
        assert_allclose(scores[f"bias_{band}"], together[index].mean(), atol=1e-12)
        assert_allclose(scores[f"rmse_{band}"], np.sqrt(squares[index]))
    clear = np.concatenate([s.clear.astype(float).reshape(len(run.bands), -1) for s in scenes], 1)
    assert_allclose(scores["ergas"], 100 * np.sqrt((squares / clear.mean(1) ** 2).mean()))
    assert scores.notna().all()


@each_dataset
def test_a_compact_ledger_gives_the_same_tables(dataset: str, tmp_path: Path) -> None:
    runs = [made_run(dataset), made_run(dataset, "other", 1)]
    compacted = []
    for run in runs:
        made = compact(run, "0" * 64)
        write_ledger(tmp_path / f"{run.name}.parquet", compact_table(made), made.provenance)
        compacted.append(read_any_ledger(tmp_path / f"{run.name}.parquet"))
    check_comparable([runs[0], compacted[1]])
    full, small = RunTables(runs), RunTables(compacted)
    for tables in ("table2_tables", "group_tables", "statistic_tables"):
        assert getattr(full, tables) == getattr(small, tables)
    assert Known.of(compacted) == Known.of(runs)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"bands": ["red", "green", "blue", "nir"]}, "the bands as of a, blue, green, red, nir"),
        ({"cluster": "tile"}, "the clusters for intervals as of a, AOI, got tile"),
        ({"resolution_m": None}, "a resolution in metres as of a, 3.0, got not known"),
        ({"size": [256, 256]}, "a size of scenes as of a, 300, 300, got 256, 256"),
    ],
)
def test_runs_on_other_images_are_never_compared(facts: dict, words: str) -> None:
    with pytest.raises(LedgerError, match=words):
        check_comparable([make_ledger("a"), make_ledger("b", **facts)])


def test_planet_cr_says_nothing_of_its_images() -> None:
    assert Imagery().facts() == {}
    assert Imagery.of({}) == Imagery()
    other = DATASETS["3 bands alone"].imagery
    assert Imagery.of(other.facts()) == other
    assert imagery_errors(other.facts()) == []


@pytest.mark.parametrize(
    ("facts", "error"),
    [
        ({"bands": []}, "bands: expected 1 to 256 different names"),
        ({"bands": ["red", "red"]}, "bands: expected 1 to 256 different names"),
        ({"bands": ["<b>"]}, "bands: expected 1 to 256 different names"),
        ({"bands": "red"}, "bands: expected 1 to 256 different names"),
        ({"cluster": "AOI<b>"}, "cluster: expected a word"),
        ({"resolution_m": -1}, "resolution_m: expected metres or null"),
        ({"size": [300]}, "size: expected height and width in pixels, or null"),
        ({"masks": "a\nb", "masks_sha256": "0" * 64}, "masks: expected a text of at most 200"),
        ({"masks": "ours"}, "masks_sha256: expected 64 hexadecimal digits beside masks"),
        ({"masks_sha256": "0" * 64}, "masks_sha256: expected 64 hexadecimal digits beside masks"),
    ],
)
def test_a_record_of_impossible_images_is_refused(facts: dict, error: str, tmp_path: Path) -> None:
    (found,) = imagery_errors(facts)
    assert found.startswith(error)
    run = make_ledger(scenes=2)
    table = pa.Table.from_pandas(run.frame, preserve_index=False)
    write_ledger(tmp_path / "x.parquet", table, {**run.provenance, **facts})
    with pytest.raises(LedgerError, match=error.partition(":")[0]):
        read_ledger(tmp_path / "x.parquet")


def test_a_region_is_unknown_exactly_where_the_cover_is() -> None:
    rule = "a region unknown where the cloud cover is, and only there"
    masked, unmasked = made_run("13 bands"), made_run("3 bands alone")
    frame = masked.frame.assign(cloud_cover=np.nan)
    assert rule in broken_rules(frame, bands=masked.bands)
    frame = unmasked.frame.assign(cloud_cover=0.5)
    assert rule in broken_rules(frame, bands=unmasked.bands)
