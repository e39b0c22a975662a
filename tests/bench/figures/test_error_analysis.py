"""Pictures of failures: what is drawn is what the sums say, in every case and on the page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from numpy.testing import assert_allclose, assert_array_equal

from ledgers import make_ledger
from paths import files_in
from planetcr_bench.analysis.error_analysis import ErrorAnalysis
from planetcr_bench.constants import COVER_BINS, LAND_COVER, PAPER_METHODS, REGIONS, THICKNESS
from planetcr_bench.figures.aoi_map import aoi_figure
from planetcr_bench.figures.error_analysis import (
    class_cover_figure,
    region_figure,
    thickness_figure,
)
from planetcr_bench.figures.ternary import CORNERS, position_of, triangle_figure
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.metrics.sums import SUMS
from planetcr_bench.report.error_analysis import (
    _SECTIONS,
    ERROR_ANALYSIS_FILES,
    results,
    write_error_analysis,
)
from planetcr_bench.report.error_analysis_tables import (
    aoi_tables,
    paste_back_table,
    scene_tables,
    season_table,
)
from planetcr_bench.report.page import Page, Part, Picture, Section, to_report
from planetcr_bench.results.ledger import Ledger

OFFICIAL, FULL = PROTOCOLS["official"], PROTOCOLS["full"]
FIGURES = (region_figure, class_cover_figure, triangle_figure, aoi_figure, thickness_figure)


def with_truth(ledger: Ledger) -> Ledger:
    """A ledger whose every scene has one thickness."""
    bins = [THICKNESS[1 + patch % 8] for patch in ledger.frame["patch"]]
    frame = ledger.frame.assign(thickness=pd.Categorical(bins, list(THICKNESS)))
    return Ledger(frame, ledger.provenance)


def changed(ledger: Ledger, **columns: object) -> Ledger:
    return Ledger(ledger.frame.assign(**columns), ledger.provenance)


def with_error(ledger: Ledger, error: pd.Series) -> Ledger:
    """A ledger of other errors, all of them hallucination."""
    way = ledger.frame["cloudy_clear"]
    return changed(ledger, absolute_error=error, prediction_cloudy=error + way)


def only(ledger: Ledger, column: str, *values: str) -> Ledger:
    return Ledger(ledger.frame[ledger.frame[column].isin(values)], ledger.provenance)


def rows_of(ledger: Ledger, **chosen: str) -> pd.Series:
    """Sums of the rows of ``full`` in which columns have these values."""
    rows = ledger.frame[ledger.frame["protocol"] == "full"]
    for column, value in chosen.items():
        rows = rows[rows[column] == value]
    return rows[list(SUMS)].sum()


def drawn(axes: Axes, label: str) -> np.ndarray:
    (line,) = [line for line in axes.lines if line.get_label() == label]
    return np.stack(line.get_data(), axis=-1).astype(float)


def caption(figure: Figure) -> str:
    return " ".join(figure.get_supxlabel().split())


def boxes_of(figure: Figure) -> list[Bbox]:
    """What panels with all that belongs to them, legends and the caption take up, less a pixel."""
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    boxes += [legend.get_window_extent() for legend in figure.legends]
    boxes += [text.get_window_extent() for text in figure.texts]
    return [box.padded(-1) for box in boxes if box is not None and box.width]


@pytest.fixture(scope="module")
def two() -> list[Ledger]:
    return [with_truth(make_ledger(name, scenes=16, seed=seed)) for seed, name in enumerate("ab")]


@pytest.fixture(scope="module")
def both(two: list[Ledger]) -> ErrorAnalysis:
    """Read only, as ``first``: its tables are computed once."""
    return ErrorAnalysis(two, FULL)


@pytest.fixture(scope="module")
def first(two: list[Ledger]) -> ErrorAnalysis:
    return ErrorAnalysis(two[:1], FULL)


CASES = {
    "one scene": lambda: [with_truth(make_ledger(scenes=1))],
    "no cloud": lambda: [only(with_truth(make_ledger(scenes=4)), "region", "clear")],
    "all cloud": lambda: [only(with_truth(make_ledger(scenes=4)), "region", "cloud")],
    "one class": lambda: [only(with_truth(make_ledger(scenes=4)), "land_cover", "water")],
    "unknown land": lambda: [only(with_truth(make_ledger(scenes=4)), "land_cover", "unknown")],
    "perfect": lambda: [
        changed(
            with_truth(make_ledger(scenes=4)),
            absolute_error=0.0,
            squared_error=0.0,
            angle_deg=0.0,
            worse_pixels=0,
            prediction_cloudy=make_ledger(scenes=4).frame["cloudy_clear"],
        )
    ],
    "three equal images": lambda: [
        changed(
            with_truth(make_ledger(scenes=4)),
            **dict.fromkeys((n for n in SUMS if "error" in n or "cloudy" in n), 0.0),
            worse_pixels=0,
        )
    ],
    "no angle": lambda: [
        changed(
            with_truth(make_ledger(scenes=4)),
            **dict.fromkeys((name for name in SUMS if "angle" in name), 0),
        )
    ],
    "incomplete": lambda: [
        with_truth(make_ledger("part", scenes=4, complete=False, expected_scenes=9)),
        with_truth(make_ledger("whole", scenes=9)),
    ],
    "crops": lambda: [with_truth(make_ledger(scenes=3, protocols=("official",)))],
    "eight": lambda: [
        with_truth(make_ledger(f"{name} with a long name $x_1$", scenes=3, seed=index))
        for index, name in enumerate(PAPER_METHODS)
    ],
}


@pytest.mark.parametrize("case", list(CASES))
def test_every_case_is_described_and_drawn_on_the_page(case: str) -> None:
    ledgers = CASES[case]()
    protocol = OFFICIAL if case == "crops" else FULL
    analysis = ErrorAnalysis(ledgers, protocol)
    for table in (table for section in _SECTIONS for table in section.tables(analysis)):
        assert all(len(row) == len(table.header) for row in table.rows), table.title
        assert "nan" not in " ".join(cell for row in table.rows for cell in row)
        assert any("pool:pixels" in note for note in table.notes)
        if case == "incomplete":
            assert any(row[0] == "part (4 of 9 scenes)" for row in table.rows)
    for draw in FIGURES:
        figure = draw(analysis)
        assert figure is not None
        assert figure.get_figwidth() == 7
        assert "pool:pixels" in caption(figure)
        assert " n = " in caption(figure)
        assert min(text.get_fontsize() for text in figure.findobj(Text)) >= 6
        boxes = boxes_of(figure)
        for index, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[index + 1 :]), draw
            assert box.x0 >= 0, draw
            assert box.y0 >= 0, draw
            assert box.x1 <= figure.bbox.x1, draw
            assert box.y1 <= figure.bbox.y1, draw


def test_dots_by_region_are_the_errors_of_the_sums(two: list[Ledger], both: ErrorAnalysis) -> None:
    errors, worse, gains = region_figure(both).axes
    assert [label.get_text() for label in errors.get_yticklabels()] == ["a", "b"]
    for region in REGIONS:
        sums = [rows_of(ledger, region=region) for ledger in two]
        expected = [part["absolute_error"] / part["values"] for part in sums]
        assert_allclose(drawn(errors, region)[:, 0], expected)
        expected = [part["cloudy_clear"] / part["values"] for part in sums]
        assert_allclose(drawn(errors, f"_input {region}")[:, 0], expected)
        expected = [100 * part["worse_pixels"] / part["pixels"] for part in sums]
        assert_allclose(drawn(worse, region)[:, 0], expected)
        assert_allclose(drawn(errors, region)[:, 1], np.arange(2) + (REGIONS.index(region) - 1) / 4)
    harmed = [
        part["absolute_error"] - part["cloudy_clear"]
        for part in (rows_of(ledger, region="clear") for ledger in two)
    ]
    thousandths = [
        1000 * regions / rows_of(run)["values"] for regions, run in zip(harmed, two, strict=True)
    ]
    assert_allclose(drawn(gains, "clear")[:, 0], thousandths)


def test_numbers_in_the_heat_map_are_those_of_the_sums(
    two: list[Ledger], first: ErrorAnalysis
) -> None:
    figure = class_cover_figure(first)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["Cloudy (input): MAE", "a: MAE", "a: gain in PSNR [dB]"]
    rows = two[0].frame[two[0].frame["protocol"] == "full"]
    bins = np.minimum((rows["cloud_cover"] * 5).astype(int), 4)
    for number, (column, panel) in enumerate((("cloudy_clear", 0), ("absolute_error", 1))):
        cells = {text.get_position(): text.get_text() for text in figure.axes[panel].texts}
        for row, land_cover in enumerate(LAND_COVER):
            for cover in range(len(COVER_BINS)):
                part = rows[(rows["land_cover"] == land_cover) & (bins == cover)]
                if not len(part):
                    assert (cover, row - 0.02) not in cells
                    continue
                mae = 1000 * part[column].sum() / part["values"].sum()
                assert cells[cover, row - 0.02] == f"{mae:.1f}", number
                assert cells[cover, row + 0.08] == f"{part['scene'].nunique()}"
    assert "Hatched" not in caption(figure)
    hatched = class_cover_figure(ErrorAnalysis([only(two[0], "land_cover", "water")], FULL))
    assert "Hatched: no such pixels." in caption(hatched)
    assert sum(patch.get_hatch() is not None for patch in hatched.axes[0].patches) == 25


def colours_of(axes: Axes) -> np.ndarray:
    """Red, green and blue of the cells that have pixels, in the order of the table."""
    filled = [patch for patch in axes.patches if patch.get_fill() and not patch.get_hatch()]
    return np.array([patch.get_facecolor()[:3] for patch in filled])


def test_a_larger_error_is_darker_in_one_scale_of_all_panels(both: ErrorAnalysis) -> None:
    table = both.failures("land_cover", "cover_bin")
    table = table[table["scenes"] > 0]
    panels = class_cover_figure(both).axes
    widest = table.groupby("row")["pixels"].sum().idxmax()
    errors = [table.loc[table["row"] == widest, "input_mae"]]
    errors += [table.loc[table["row"] == name, "mae"] for name in "ab"]
    light = np.concatenate([colours_of(axes).sum(axis=1) for axes in panels[:3]])
    order = np.argsort(np.concatenate(errors))
    assert (np.diff(light[order]) <= 1e-9).all()
    assert light[order[0]] - light[order[-1]] > 0.5


def test_gains_are_blue_and_losses_red(two: list[Ledger]) -> None:
    frame = two[0].frame
    forest = (frame["land_cover"] == "forest").to_numpy()
    factor = np.where(forest, 4.0, 0.25)  # times the input's squared error
    run = changed(two[0], squared_error=factor * frame["input_squared_error"])
    analysis = ErrorAnalysis([run], FULL)
    table = analysis.failures("land_cover", "cover_bin")
    table = table[table["scenes"] > 0]
    red, _, blue = colours_of(class_cover_figure(analysis).axes[2]).T
    assert ((blue > red) == (table["land_cover"] != "forest")).all()
    assert ((red > blue) == (table["land_cover"] == "forest")).all()


def test_the_grid_labels_of_a_side_follow_their_lines() -> None:
    axes = triangle_figure(ErrorAnalysis([make_ledger(scenes=2)], FULL)).axes[0]
    lines = [line.get_xydata() for line in axes.lines if line.get_label() == "_grid"]
    numbers = [text for text in axes.texts if text.get_text().isdigit()]
    assert len(lines) == len(numbers) == 12
    for (start, end), text in zip(lines, numbers, strict=True):
        right, up = end - start
        tilt = np.degrees(np.arctan2(up, right))
        assert abs(tilt - text.get_rotation()) % 180 == pytest.approx(0, abs=1e-6)
        beyond = np.subtract(text.get_position(), start)
        assert np.dot(beyond, end - start) < 0
        assert abs(beyond[0] * up - beyond[1] * right) < 1e-9


def test_panels_say_their_unit(both: ErrorAnalysis) -> None:
    thick = thickness_figure(both)
    assert thick is not None
    for axes in (region_figure(both).axes[0], thick.axes[0]):
        assert axes.get_title().startswith("MAE ↓ [reflectance]")
    assert region_figure(both).axes[2].get_title() == "MAE gain of pasting [10⁻³]"


def test_corners_are_pure_shares_and_the_middle_is_even() -> None:
    assert_allclose(position_of(np.eye(3)), list(CORNERS.values()))
    assert_allclose(position_of([1 / 3, 1 / 3, 1 / 3]), [0.5, np.sqrt(0.75) / 3])


def expected_place(sums: pd.Series) -> np.ndarray:
    a, b, d = sums["absolute_error"], sums["prediction_cloudy"], sums["cloudy_clear"]
    recovery, hallucination = (b + d - a) / (a + b + d), (a + b - d) / (a + b + d)
    return np.array([hallucination + recovery / 2, recovery * np.sqrt(0.75)])


def test_scenes_of_one_method_and_all_its_pixels_lie_where_the_sums_say(
    two: list[Ledger], first: ErrorAnalysis
) -> None:
    left, right = triangle_figure(first).axes
    rows = two[0].frame[two[0].frame["protocol"] == "full"]
    for index, name in enumerate(COVER_BINS):
        scenes = rows[(rows["cloud_cover"] * 5).astype(int) == index]["scene"].unique()
        expected = [expected_place(rows_of(two[0], scene=scene)) for scene in scenes]
        points = drawn(left, name)
        assert_allclose(sorted(points.tolist()), sorted(map(list, expected)))
    assert_allclose(drawn(left, "all pixels"), [expected_place(rows_of(two[0]))])
    for region in REGIONS:
        assert_allclose(drawn(right, region), [expected_place(rows_of(two[0], region=region))])


def test_trails_of_methods_go_from_little_cloud_to_much(
    two: list[Ledger], both: ErrorAnalysis
) -> None:
    left, right = triangle_figure(both).axes
    for ledger in two:
        regions = [expected_place(rows_of(ledger, region=region)) for region in reversed(REGIONS)]
        assert_allclose(drawn(right, ledger.name), regions)
        bins = np.minimum((ledger.frame["cloud_cover"] * 5).astype(int), 4)
        parts = [Ledger(ledger.frame[bins == index], {}) for index in range(5)]
        assert_allclose(drawn(left, ledger.name), [expected_place(rows_of(p)) for p in parts])
    sizes = [c.get_sizes() for c in left.collections if isinstance(c, PathCollection)]
    assert all((np.diff(size) > 0).all() for size in sizes)


def test_the_map_shows_each_aoi_at_its_location_and_in_its_colour(
    two: list[Ledger], first: ErrorAnalysis
) -> None:
    figure = aoi_figure(first)
    assert figure is not None
    (points,) = figure.axes[0].collections
    counts = two[0].frame.groupby("aoi", observed=True)["scene"].nunique().sort_index()
    aois = counts.sort_values(ascending=False, kind="stable").index  # small points on top
    where = [[10 + int(aoi[7:]), 47 - int(aoi[7:])] for aoi in aois]
    assert_array_equal(np.asarray(points.get_offsets()), where)
    errors = [rows_of(two[0], aoi=aoi) for aoi in aois]
    expected = [part["absolute_error"] / part["values"] for part in errors]
    assert_allclose(np.asarray(points.get_array()), expected)
    assert (np.diff(points.get_sizes()) <= 0).all()
    assert "1 to 3" in caption(figure)


@pytest.mark.parametrize("scenes", [1, 6])
def test_aois_at_one_location_are_inside_the_map(scenes: int) -> None:
    alone = changed(make_ledger(scenes=scenes), longitude=10.0, latitude=47.0)
    figure = aoi_figure(ErrorAnalysis([alone], FULL))
    assert figure is not None
    axes = figure.axes[0]
    assert_array_equal(np.unique(axes.collections[0].get_offsets(), axis=0), [[10, 47]])
    assert_allclose([np.mean(axes.get_xlim()), np.mean(axes.get_ylim())], [10, 47])
    assert_allclose(axes.get_aspect(), 1 / np.cos(np.radians(47)))


def test_all_maps_show_the_same_part_of_the_earth(two: list[Ledger]) -> None:
    part = only(two[1], "aoi", "summer_0", "summer_3")
    figure = aoi_figure(ErrorAnalysis([two[0], part], FULL))
    assert figure is not None
    every, some = figure.axes[:2]
    assert_allclose(every.get_xlim(), some.get_xlim(), atol=1e-3)
    assert_allclose(every.get_ylim(), some.get_ylim(), atol=1e-3)


def test_circles_have_the_colours_of_the_bar(two: list[Ledger]) -> None:
    for factor, scale in ((1.0, "linear"), (9.0, "log")):
        worse = with_error(two[1], factor * two[1].frame["absolute_error"])
        figure = aoi_figure(ErrorAnalysis([two[0], worse], FULL))
        assert figure is not None
        figure.draw_without_rendering()  # gives points their colours
        *maps, bar = figure.axes
        errors = np.concatenate([np.asarray(axes.collections[0].get_array()) for axes in maps])
        assert_allclose(bar.get_ylim(), (errors.min(), errors.max()))
        assert bar.get_yscale() == scale
        assert bar.get_ylabel() == "MAE [reflectance]"
        (solid,) = [mesh for mesh in bar.collections if mesh.get_array() is not None]
        colours = np.concatenate([axes.collections[0].get_facecolors() for axes in maps])
        assert_allclose(colours, solid.cmap(solid.norm(errors), alpha=solid.get_alpha()))
        assert colours[errors.argmin()].sum() > colours[errors.argmax()].sum()


def test_without_coordinates_there_is_no_map_and_without_truth_no_thickness(
    two: list[Ledger],
) -> None:
    nowhere = changed(make_ledger(scenes=2), longitude=np.nan, latitude=np.nan)
    assert aoi_figure(ErrorAnalysis([nowhere], FULL)) is None
    assert thickness_figure(ErrorAnalysis([nowhere], FULL)) is None
    figure = thickness_figure(ErrorAnalysis([nowhere, two[0]], FULL))
    assert figure is not None
    assert "Without optical thickness, so not drawn: method." in caption(figure)


def test_lines_over_thickness_are_those_of_the_sums(two: list[Ledger], both: ErrorAnalysis) -> None:
    figure = thickness_figure(both)
    assert figure is not None
    mae, residual, recovery, hallucination = figure.axes
    for ledger in two:
        sums = [rows_of(ledger, thickness=name) for name in THICKNESS[1:]]
        expected = [part["absolute_error"] / part["values"] for part in sums]
        assert_allclose(drawn(mae, ledger.name)[:, 1], expected)
        total = sum(drawn(axes, ledger.name)[:, 1] for axes in (residual, recovery, hallucination))
        assert_allclose(total, 100)
        left = [
            part["absolute_error"] + part["cloudy_clear"] - part["prediction_cloudy"]
            for part in sums
        ]
        way = [part[["absolute_error", "cloudy_clear", "prediction_cloudy"]].sum() for part in sums]
        assert_allclose(drawn(residual, ledger.name)[:, 1], 100 * np.divide(left, way))
    labels = [label.get_text() for label in hallucination.get_xticklabels()]
    assert labels[0].startswith("0–0.25\n2\n")
    assert labels[-1].startswith("≥ 16\n")


def test_the_chapter_links_what_it_writes_and_the_same_ledgers_give_the_same_bytes(
    two: list[Ledger], tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    analysis = ErrorAnalysis(two[:1], FULL)
    parts = write_error_analysis(first, analysis)
    assert files_in(first) == sorted(ERROR_ANALYSIS_FILES)
    assert linked(parts) == ["regions", "triangle", "class_cover", "thickness", "aois"]
    assert parts[0] == results(analysis)
    text = words(parts)
    assert "protocol full" in text
    assert "(a + d − b) / 2" in text
    assert "the part that was made" in text
    assert "the mask misses haze" in text
    assert write_error_analysis(second, ErrorAnalysis(two[:1], FULL)) == parts
    for name in ERROR_ANALYSIS_FILES:
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_the_short_chapter_has_the_results_and_the_errors_by_region(
    both: ErrorAnalysis, tmp_path: Path
) -> None:
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures/aois.png").write_bytes(b"of a full report")
    short = write_error_analysis(tmp_path, both, full=False)
    assert files_in(tmp_path) == ["figures/regions.png", "figures/regions.svg"]
    assert linked(short) == ["regions"]
    assert short[0] == results(both)
    assert "`planetcr-bench report`" in str(short[-1])


@pytest.mark.usefixtures("nothing_is_drawn")
def test_figures_that_no_longer_apply_are_removed(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    for name in ("aois.png", "thickness.svg", "fig5.png"):
        (tmp_path / "figures" / name).touch()
    nowhere = changed(make_ledger(scenes=2), longitude=np.nan, latitude=np.nan)
    parts = write_error_analysis(tmp_path, ErrorAnalysis([nowhere], FULL))
    assert linked(parts) == ["regions", "triangle", "class_cover"]
    left = {Path(name).stem for name in files_in(tmp_path)}
    assert left == {"regions", "triangle", "class_cover", "error_analysis", "fig5"}


def test_the_chapter_begins_with_the_result_of_each_run(
    two: list[Ledger], both: ErrorAnalysis
) -> None:
    lines = results(both).splitlines()
    assert len(lines) == 2
    for ledger, line in zip(two, lines, strict=True):
        clear, every = rows_of(ledger, region="clear"), rows_of(ledger)
        before, after = clear[["cloudy_clear", "absolute_error"]] / clear["values"]
        pasted = (clear["absolute_error"] - clear["cloudy_clear"]) / every["values"]
        a, b, d = every[["absolute_error", "prediction_cloudy", "cloudy_clear"]]
        shares = 100 * np.array([a + d - b, b + d - a, a + b - d]) / (a + b + d)
        residual, recovery, hallucination = shares
        share = 100 * clear["worse_pixels"] / clear["pixels"]
        assert line == (
            f"- **{ledger.name}**: In clear pixels MAE goes from {before:.4f} to {after:.4f}, and "
            f"{share:.1f} % of these pixels are made worse. "
            "Keeping the input's pixels there would "
            f"{'lower' if pasted > 0 else 'raise'} the MAE of all pixels by {abs(pasted):.4f}. "
            f"Of all pixels together: residual cloud {residual:.1f} %, recovery {recovery:.1f} %, "
            f"hallucination {hallucination:.1f} %."
        )
    overcast = results(ErrorAnalysis([only(two[0], "region", "cloud")], FULL))
    assert "clear region" not in overcast
    assert "residual cloud" in overcast
    equal = results(ErrorAnalysis(CASES["three equal images"](), FULL))
    assert "would not change the MAE of all pixels" in equal
    assert "residual" not in equal
    way = two[0].frame["cloudy_clear"]
    better, worse = with_error(two[0], 0 * way), with_error(two[0], 1.1 * way)
    assert "would raise" in results(ErrorAnalysis([better], FULL))
    assert "would lower" in results(ErrorAnalysis([worse], FULL))


@pytest.fixture
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take seconds, and other tests look at them."""
    monkeypatch.setattr("planetcr_bench.report.error_analysis._picture", lambda *_: [])


@pytest.mark.usefixtures("_no_pictures")
def test_one_scene_is_neither_the_worst_nor_the_best(tmp_path: Path) -> None:
    parts = write_error_analysis(tmp_path, ErrorAnalysis([make_ledger(scenes=1)], FULL))
    text = words(parts)
    assert "There is one scene: none is the worst or the best." in text
    assert "There is one AOI: none is the worst or the best." in text
    assert "orst and best scenes" not in text
    assert "highest PSNR" not in text
    of_one_aoi = write_error_analysis(tmp_path, ErrorAnalysis([make_ledger(scenes=3)], FULL))
    assert "There is one AOI: none is the worst or the best." in of_one_aoi
    assert "Worst and best scenes" in words(of_one_aoi)
    of_two = write_error_analysis(tmp_path, ErrorAnalysis([make_ledger()], FULL))
    assert "There is one" not in words(of_two)


def test_perfect_scenes_are_not_the_worst() -> None:
    analysis = ErrorAnalysis(CASES["perfect"](), FULL)
    assert not aoi_tables(analysis)
    assert not scene_tables(analysis)


def test_tables_have_titles_and_signatures(first: ErrorAnalysis) -> None:
    assert paste_back_table(first).notes[0] == (
        "mae|window:patch|pool:pixels|v1, psnr|window:patch|pool:pixels|range:1|perfect:inf|v1, "
        "sam_deg|window:patch|pool:pixels|zeros:skip|v1"
    )
    season = season_table(first)
    assert season.header[-2:] == ["scenes", "AOIs"]
    assert [row[-2:] for row in season.rows] == [["0", "0"], ["16", "6"], ["0", "0"], ["0", "0"]]


@pytest.mark.usefixtures("_no_pictures")
def test_tables_are_written_at_full_precision(both: ErrorAnalysis, tmp_path: Path) -> None:
    write_error_analysis(tmp_path, both)
    tables = json.loads((tmp_path / "tables/error_analysis.json").read_text(encoding="utf-8"))
    assert [table["table"] for table in tables] == [
        "regions", "paste_back", "triangle", "class_cover", "season", "aois", "scenes", "thickness",
    ]  # fmt: skip
    regions, aois = tables[0], tables[5]
    assert regions["signature"] == "mae|window:patch|pool:pixels|v1"
    assert regions["protocol"] == "full"
    assert [row["mae"] for row in regions["rows"]] == both.regions["mae"].tolist()
    assert aois["signature"].startswith("full|window:patch|pool:pixels|")
    assert [row["psnr"] for row in aois["rows"]] == both.aois["psnr"].tolist()
    assert [row["aoi"] for row in aois["rows"]] == both.aois["aoi"].tolist()
    assert tables[4]["rows"][0]["mae"] is None
    assert {row["by"] for row in tables[6]["rows"]} == {"psnr", "gain_psnr"}


def linked(parts: Sequence[Part]) -> list[str]:
    return [Path(part.path).stem for part in parts if isinstance(part, Picture)]


def words(parts: Sequence[Part]) -> str:
    """The chapter in Markdown."""
    return to_report(Page("", [], [], [], [Section("", parts)]))
