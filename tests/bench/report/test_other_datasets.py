"""Reports of datasets without masks, land cover or clusters leave out what these are needed for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from other_datasets import DATASETS, each_dataset, made_run
from planetcr_bench.report.report import write_comparison, write_report
from planetcr_bench.report.run_tables import RunTables
from planetcr_bench.report.scores import summary
from planetcr_bench.results.aggregate import DEPENDENT
from planetcr_bench.results.known import NO_LAND_COVER, NO_MASKS


@each_dataset
@pytest.mark.usefixtures("nothing_is_drawn")
def test_a_report_leaves_out_what_is_not_known_and_says_so(dataset: str, tmp_path: Path) -> None:
    kind, runs = DATASETS[dataset], [made_run(dataset), made_run(dataset, "other", 1)]
    one, both = tmp_path / "one", tmp_path / "both"
    for folder in (one, both):
        folder.mkdir()
    write_report(one, runs[0], runs[0].provenance, full=True)
    write_comparison(both, runs, full=True)
    for folder in (one, both):
        text = (folder / "report.md").read_text()
        assert (text.count(NO_MASKS), text.count(NO_LAND_COVER)) == (
            not kind.masks, not kind.land_cover,
        )  # fmt: skip
        assert (DEPENDENT in text) == (kind.imagery.cluster == "scene")
        assert not re.search("AOI|Planet-CR|WorldCover", text)
        alone = kind.imagery.one_scene_each
        assert (f"/ {kind.imagery.clusters}" in text) == (not alone)
        assert not re.search(r"[Ss]cenes (and|/) scenes|scenes, \d+ scenes|scene and scene", text)
        assert "misses haze" not in text
        assert "–, –" not in text  # a column of unknown coordinates
        assert (f"within {kind.imagery.edge} of it" in text) == kind.masks
        assert ("| Forest |" in text) == kind.land_cover
        shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
        assert {Path(name).stem for name in shown} == {path.stem for path in folder.rglob("*.png")}
        assert ("figures/fig5.png" in shown) == ("figures/regions.png" in shown) == kind.masks
        assert ("figures/class_cover.png" in shown) == (kind.masks and kind.land_cover)
    assert "| Bands | " in (one / "report.md").read_text() or len(kind.imagery.bands) == 4


@each_dataset
def test_no_column_of_a_table_is_all_dashes(dataset: str) -> None:
    tables = RunTables([made_run(dataset), made_run(dataset, "other", 1)])
    for table in (*tables.table2_tables, *tables.group_tables, *tables.statistic_tables):
        for cells in zip(*table.rows, strict=True):
            assert set(cells) != {"–"}, table.title
        assert all(len(row) == len(table.header) for row in table.rows)


@each_dataset
def test_scores_that_need_masks_or_land_cover_are_null(dataset: str) -> None:
    kind, scores = DATASETS[dataset], summary(made_run(dataset))["protocols"]["full"]
    assert (scores["by_class"] is None) == (not kind.land_cover)
    assert (scores["by_cover"] is None) == (scores["by_region"] is None) == (not kind.masks)
    assert None not in scores["further"].values()
    assert ("ndvi_error" in scores["further"]) == ({"red", "nir"} <= set(kind.imagery.bands))


@each_dataset
@pytest.mark.usefixtures("nothing_is_drawn")
def test_segmenters_are_scored_overall_where_the_land_is_known(
    dataset: str, tmp_path: Path
) -> None:
    kind, run = DATASETS[dataset], made_run(dataset, segmenters=("aaaaaaaa",))
    write_report(tmp_path, run, run.provenance, full=True)
    text = (tmp_path / "report.md").read_text()
    assert ("Tab. 3" in text) == (tmp_path / "tables/table3.csv").exists() == kind.land_cover
    assert ("fig6.png" in text) == (kind.land_cover and kind.masks)
    if kind.land_cover:
        table = RunTables([run]).table3_tables[0]
        bins = {name.partition(" mIoU")[0] for name in table.header if name.endswith(" mIoU")}
        assert bins == {"Overall", *["0–20 %", "20–40 %", "40–60 %", "60–80 %", "80–100 %"]
                        * kind.masks}  # fmt: skip
