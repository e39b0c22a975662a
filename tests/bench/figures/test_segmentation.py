"""Fig. 6 and the transitions: what is drawn is what was counted, and fits on the page."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.testing import assert_allclose

from ledgers import make_ledger
from planetcr_bench.analysis.segmentation import segmentation_scores, transitions
from planetcr_bench.analysis.segmentation_tables import table3
from planetcr_bench.constants import COVER_BINS, LAND_COVER, PAPER_METHODS
from planetcr_bench.errors import LedgerError
from planetcr_bench.figures.segmentation import (
    MOST_OVERLAID,
    discrepancies,
    discrepancy_figure,
    printed_discrepancy_figure,
    transition_figure,
)
from planetcr_bench.figures.style import save_figure
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.metrics.sums import segmenter_columns
from planetcr_bench.results.ledger import Ledger

OFFICIAL, FULL = PROTOCOLS["official"], PROTOCOLS["full"]
SEGMENTERS = ("aaaaaaaa", "bbbbbbbb", "cccccccc")
FIGURES = (discrepancy_figure, transition_figure)


@pytest.fixture(scope="module")
def runs() -> list[Ledger]:
    """Two methods and three segmenters, the last bin empty; not to be changed."""
    return [
        make_ledger(name, segmenters=SEGMENTERS, scenes=4, seed=seed)
        for seed, name in enumerate(("_a$b$", "align_cr"))
    ]


@pytest.fixture(scope="module")
def fig6(runs: list[Ledger]) -> Figure:
    return discrepancy_figure(runs, OFFICIAL)


@pytest.fixture(scope="module")
def matrices(runs: list[Ledger]) -> Figure:
    return transition_figure(runs, OFFICIAL)


def lines(axes: Axes, label: str) -> list[Line2D]:
    return [line for line in axes.lines if line.get_label() == label and np.size(line.get_xdata())]


def cells(axes: Axes) -> list[list[str]]:
    """Numbers in the panel of a matrix, row after row."""
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    return [[texts[column, row] for column in range(6)] for row in range(6)]


def caption(figure: Figure) -> str:
    return " ".join(figure.get_supxlabel().split())


# --- Fig. 6 ---------------------------------------------------------------------------------------


def test_points_and_bars_are_mean_and_spread_of_the_segmenters(
    runs: list[Ledger], fig6: Figure
) -> None:
    for axes, score in zip(fig6.axes, ("miou", "pa"), strict=True):
        bars = [box for box in axes.containers if box.get_label() == "_spread"]
        assert len(bars) == 3
        for name, run, image, bar in (
            ("Cloudy", runs[0], "cloudy", bars[0]),
            ("_a$b$", runs[0], "prediction", bars[1]),
            ("align_cr", runs[1], "prediction", bars[2]),
        ):
            each = np.array(
                [
                    segmentation_scores(run, segmenter, OFFICIAL, "clear")[score]
                    - segmentation_scores(run, segmenter, OFFICIAL, image)[score]
                    for segmenter in SEGMENTERS
                ]
            )[:, : len(COVER_BINS)]
            (line,) = lines(axes, name)
            assert_allclose(np.asarray(line.get_ydata(), float), each.mean(0), rtol=1e-9)
            (segments,) = bar[2]
            drawn = np.array(segments.get_segments()[:4])
            assert_allclose(drawn[:, :, 1], np.stack([each.min(0), each.max(0)], 1)[:4], rtol=1e-9)
            assert bar[0].get_color() == line.get_color()


def bars_at(axes: Axes) -> np.ndarray:
    """Where the bars of each row stand in the first bin."""
    bars = [box for box in axes.containers if box.get_label() == "_spread"]
    return np.array([bar[2][0].get_segments()[0][0, 0] for bar in bars])


def test_lines_stand_above_their_bins_and_bars_beside_each_other(fig6: Figure) -> None:
    for axes in fig6.axes:
        for name in ("Cloudy", "_a$b$", "align_cr"):
            assert_allclose(lines(axes, name)[0].get_xdata(), range(5))
        assert_allclose(bars_at(axes), (-0.09, 0, 0.09), atol=1e-12)
    many = [make_ledger(f"m{n}", segmenters=SEGMENTERS[:2], scenes=5) for n in range(12)]
    positions = bars_at(discrepancy_figure(many, OFFICIAL).axes[0])
    assert len(np.unique(positions)) == 13
    assert max(np.abs(positions)) < 0.4


def test_a_copy_of_the_input_lies_on_its_line(runs: list[Ledger]) -> None:
    frame = runs[0].frame.copy()
    for segmenter in SEGMENTERS:
        for name in segmenter_columns(segmenter):
            if "_prediction_" in name:
                frame[name] = frame[name.replace("_prediction_", "_cloudy_")]
    copy = Ledger(frame, {**runs[0].provenance, "name": "copy"})
    for axes in discrepancy_figure([copy], OFFICIAL).axes:
        cloudy, same = (lines(axes, name)[0].get_xydata() for name in ("Cloudy", "copy"))
        assert_allclose(np.asarray(same, float), np.asarray(cloudy, float))


def test_one_segmenter_has_points_above_their_bins_and_no_bars() -> None:
    figure = discrepancy_figure([make_ledger("a", segmenters=SEGMENTERS[:1], scenes=5)], FULL)
    for axes in figure.axes:
        assert not axes.containers
        assert_allclose(lines(axes, "a")[0].get_xdata(), range(5))
    assert "Bar beside" not in caption(figure)
    assert "PA|full|window:patch" in figure.get_supxlabel()


def test_in_a_paper_a_few_methods_share_panels_and_more_have_one_each() -> None:
    names = [f"m{number}" for number in range(MOST_OVERLAID + 2)]
    runs = [make_ledger(name, segmenters=("aa",), seed=seed) for seed, name in enumerate(names)]
    table = discrepancies(runs, table3(runs, OFFICIAL))
    few = printed_discrepancy_figure(
        table[table["row"].isin(["Cloudy", "m0", "m1"])], width_inch=3.5
    )
    assert [axes.get_title(loc="left")[:8] for axes in few.axes] == ["(a) mIoU", "(b) PA b"]
    assert few.get_supxlabel() == ""
    table = table.assign(miou_discrepancy_low=0.0, miou_discrepancy_high=9.0)
    many = printed_discrepancy_figure(table, width_inch=7.1)
    titles = [axes.get_title(loc="left") for axes in many.axes[: len(names)]]
    assert titles == [f"({letter}) {name}" for letter, name in zip("abcdef", names, strict=True)]
    for axes, name in zip(many.axes, names, strict=False):
        own = table[table["row"] == name].set_index("cover_bin").loc[list(COVER_BINS)]
        for score in ("miou", "pa"):
            (line,) = lines(axes, score)
            assert_allclose(np.asarray(line.get_ydata()), own[f"{score}_discrepancy"])
        assert len(axes.collections) == 1  # the band of mIoU
    assert len({axes.get_ylim() for axes in many.axes[: len(names)]}) == 1


def test_an_empty_bin_has_no_point(fig6: Figure) -> None:
    for axes in fig6.axes:
        assert np.isnan(np.asarray(lines(axes, "align_cr")[0].get_ydata(), float)[4])
        assert axes.get_xticklabels()[4].get_text() == "80–100 %\nn = 0\nAOIs = 0"


def test_the_caption_says_what_is_drawn_and_what_is_not(runs: list[Ledger], fig6: Figure) -> None:
    text = caption(fig6)
    assert "Point: mean of 3 segmenters. Bar beside it: from the lowest to the highest." in text
    assert "Hollow marker" in text
    assert "mIoU|official|window:centre160|pool:pixels|" in text
    assert "Not segmented" not in text
    beside = [*runs, make_ledger("other", scenes=4)]
    for figure in FIGURES:
        drawn = figure(beside, OFFICIAL, note="of a dataset")
        assert "Not segmented, so not drawn: other." in caption(drawn)
        assert caption(drawn).endswith("of a dataset")
    (legend,) = fig6.legends
    assert [text.get_text() for text in legend.get_texts()] == ["Cloudy", "_a$b$", "align_cr"]


# --- transitions ----------------------------------------------------------------------------------


def test_numbers_are_shares_of_the_rows_of_all_segmenters(
    runs: list[Ledger], matrices: Figure
) -> None:
    panels = (("Cloudy", runs[0], "cloudy"), ("_a$b$", runs[0], "prediction"),
              ("align_cr", runs[1], "prediction"))  # fmt: skip
    for axes, (name, run, image) in zip(matrices.axes, panels, strict=True):
        pixels = sum(transitions(run, segmenter, OFFICIAL, image) for segmenter in SEGMENTERS)
        share = 100 * pixels / pixels.sum(1, keepdims=True)
        assert cells(axes) == [[f"{value:.0f}" for value in row] for row in share]
        kept = 100 * np.trace(pixels) / pixels.sum()
        assert axes.get_title() == f"{name} ({kept:.1f}\N{NO-BREAK SPACE}%)"
        counts = [text.get_text() for text in axes.texts if text.get_position()[0] > 5.5]
        assert counts == [f"{count / 1000:.3g}k" for count in pixels.sum(1)]


def test_same_class_is_blue_other_is_orange_and_more_is_darker(matrices: Figure) -> None:
    image = np.asarray(matrices.axes[0].images[0].get_array())
    diagonal = np.eye(6, dtype=bool)
    red, blue = image[..., 0], image[..., 2]
    assert (blue > red)[diagonal].all()
    assert (red > blue)[~diagonal].all()
    better = np.asarray(matrices.axes[1].images[0].get_array())
    assert (better.sum(-1) < image.sum(-1))[diagonal].all()
    assert (better.sum(-1) > image.sum(-1))[~diagonal].all()


def test_classes_are_named_at_the_left_and_below(matrices: Figure) -> None:
    for index, axes in enumerate(matrices.axes):
        assert [text.get_text() for text in axes.get_xticklabels()] == list(LAND_COVER)
        named = [text.get_text() for text in axes.get_yticklabels()]
        assert named == (list(LAND_COVER) if index == 0 else [""] * 6)


def reread(ledger: Ledger, pixels: dict[tuple[str, str], int]) -> Ledger:
    """A run of one scene and row in which a segmenter made so many transitions."""
    frame = ledger.frame[ledger.frame["land_cover"] == "forest"].head(1).copy()
    frame[list(segmenter_columns(SEGMENTERS[0]))] = 0
    for (before, after), count in pixels.items():
        frame[f"segmenter_{SEGMENTERS[0]}_prediction_{before}_{after}"] = count
    return Ledger(frame, ledger.provenance)


def test_small_shares_are_not_0_and_large_ones_not_100() -> None:
    run = reread(
        make_ledger("a", segmenters=SEGMENTERS[:1], scenes=1),
        {("forest", "forest"): 2_000_000, ("forest", "water"): 1, ("water", "water"): 7},
    )
    figure = transition_figure([run], OFFICIAL)
    numbers = cells(figure.axes[1])
    assert numbers[0] == [">99", "0", "0", "0", "0", "<1"]
    assert numbers[5] == ["0", "0", "0", "0", "0", "100"]
    assert numbers[1] == ["–"] * 6
    grey = np.asarray(figure.axes[1].images[0].get_array())[1]
    assert_allclose(grey, 0.9)
    assert "Grey row: no such pixels." in caption(figure)
    counts = [text.get_text() for text in figure.axes[1].texts if text.get_position()[0] > 5.5]
    assert counts == ["2M", "0", "0", "0", "0", "7"]


# --- both -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("figure", FIGURES)
def test_runs_without_a_segmenter_cannot_be_drawn(figure) -> None:
    with pytest.raises(LedgerError, match="evaluate them again with --segmenter"):
        figure([make_ledger(scenes=1)], OFFICIAL)
    with pytest.raises(LedgerError, match="same segmenters"):
        figure([make_ledger(n, segmenters=(n * 8,), scenes=1) for n in "ab"], OFFICIAL)


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize("methods", [1, 3, 8])
def test_nothing_overlaps_or_leaves_the_page(figure, methods: int) -> None:
    names = list(PAPER_METHODS.values())[: methods - 1]
    runs = [make_ledger(name, segmenters=SEGMENTERS, scenes=5) for name in names]
    part = {"complete": False, "expected_scenes": 5}
    runs.append(make_ledger("my_method of a long name", segmenters=SEGMENTERS, scenes=4, **part))
    drawn = figure(runs, OFFICIAL, note="n" * 99)
    boxes = [axes.get_tightbbox() for axes in drawn.axes if axes.axison]
    boxes += [text.get_window_extent() for text in drawn.texts]
    boxes += [legend.get_window_extent() for legend in drawn.legends]
    boxes = [box for box in boxes if box.width]
    assert len(boxes) > 2
    assert drawn.get_size_inches()[0] == 7
    for index, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[index + 1 :])
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= drawn.bbox.x1
        assert box.y1 <= drawn.bbox.y1


def test_cells_are_about_square() -> None:
    for methods in (1, 2, 3, 4, 8):
        runs = [make_ledger(f"m{n}", segmenters=SEGMENTERS[:1], scenes=2) for n in range(methods)]
        box = transition_figure(runs, OFFICIAL).axes[0].get_window_extent()
        assert box.width / box.height == pytest.approx(1, abs=0.08)


@pytest.mark.parametrize("figure", FIGURES)
def test_the_same_ledgers_give_the_same_bytes(figure, runs: list[Ledger], tmp_path: Path) -> None:
    save_figure(figure(runs, OFFICIAL), tmp_path / "first" / "fig")
    with mpl.rc_context({"font.size": 20, "svg.fonttype": "none", "axes.grid": True}):
        save_figure(figure(runs, OFFICIAL), tmp_path / "second" / "fig")
    for name in ("fig.png", "fig.svg"):
        first, second = ((tmp_path / folder / name).read_bytes() for folder in ("first", "second"))
        assert first == second
    assert "<text" not in (tmp_path / "first" / "fig.svg").read_text(encoding="utf-8")
