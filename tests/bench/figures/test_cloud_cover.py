"""Fig. 5 drawn from small tables: what is in it, what is left out, and the same bytes each time."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.testing import assert_array_equal

from cover_tables import FULL, OFFICIAL, make_row, make_table
from planetcr_bench.constants import PAPER_METHODS
from planetcr_bench.figures.cloud_cover import CROWD, cover_figure, printed_cover_figure
from planetcr_bench.figures.style import FEW_SCENES, method_styles, save_figure, take_caption
from planetcr_bench.results.aggregate import INPUT


def lines(axes: Axes, label: str) -> list[Line2D]:
    return [line for line in axes.lines if line.get_label() == label and np.size(line.get_xdata())]


def tick_labels(axes: Axes) -> list[str]:
    return [label.get_text() for label in axes.get_xticklabels()]


def caption(figure: Figure) -> str:
    return figure.get_supxlabel()


@pytest.fixture(scope="module")
def two_methods() -> pd.DataFrame:
    return make_table(make_row(INPUT, worse=3), make_row("align_cr"), make_row("_a$b$", worse=1.2))


@pytest.fixture(scope="module")
def plain(two_methods: pd.DataFrame) -> Figure:
    """The figure of two complete methods, to look at."""
    return cover_figure(two_methods, OFFICIAL)


@pytest.fixture(scope="module")
def saved(plain: Figure, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the figure's files."""
    folder = tmp_path_factory.mktemp("plain")
    save_figure(plain, folder / "fig5")
    return folder


def test_four_panels_say_which_way_is_better(plain: Figure) -> None:
    titles = [axes.get_title() for axes in plain.axes]
    assert titles == ["MAE ↓, log scale", "PSNR ↑ [dB]", "SAM ↓ [°], log scale", "SSIM ↑"]


def test_each_row_is_one_line_in_each_panel_and_one_entry_of_the_one_legend(
    two_methods: pd.DataFrame, plain: Figure
) -> None:
    for axes, metric in zip(plain.axes, ("mae", "psnr", "sam_deg", "ssim"), strict=True):
        for name, part in two_methods.groupby("row"):
            (line,) = lines(axes, str(name))
            assert_array_equal(np.asarray(line.get_ydata()), part[metric])
    (legend,) = plain.legends
    assert [text.get_text() for text in legend.get_texts()] == [INPUT, "align_cr", "_a$b$"]


def test_the_input_is_the_only_dashed_line(plain: Figure) -> None:
    for axes in plain.axes:
        dashed = [line.get_label() for line in axes.lines if line.get_linestyle() == "--"]
        assert dashed == [INPUT]


def test_bins_are_named_in_every_panel_and_counted_in_the_lower_two(plain: Figure) -> None:
    axes = plain.axes
    assert tick_labels(axes[0]) == ["0–20 %", "20–40 %", "40–60 %", "60–80 %", "80–100 %"]
    for panel in axes[2:]:
        assert tick_labels(panel)[0] == "0–20 %\nn = 612\nAOIs = 39"


def test_a_method_has_the_same_colour_and_marker_whatever_is_beside_it() -> None:
    names = ["mine", *PAPER_METHODS, "mean-fill"]
    rows = [make_row(name, worse=1 + number / 10) for number, name in enumerate(names)]
    axes = cover_figure(make_table(make_row(INPUT, worse=3), *rows), OFFICIAL).axes[0]
    for name in names:
        (line,) = lines(axes, name)
        drawn = {"color": line.get_color(), "marker": line.get_marker()}
        assert method_styles([name]) == {name: drawn}


def test_forty_methods_differ_in_colour_or_marker() -> None:
    names = [*PAPER_METHODS, "align_cr-small", *(f"m{number}" for number in range(30))]
    styles = method_styles(names)
    assert len({tuple(own.values()) for own in styles.values()}) == len(names)
    assert styles["align_cr"] == method_styles(["Align-CR, small"])["Align-CR, small"]


def test_a_point_with_few_scenes_is_hollow_and_the_caption_says_so(plain: Figure) -> None:
    few = make_row("few", scenes=(612, FEW_SCENES, FEW_SCENES - 1, 297, 1))
    figure = cover_figure(make_table(make_row(INPUT, worse=3), few), OFFICIAL)
    for axes in figure.axes:
        (hollow,) = lines(axes, "_few")
        assert_array_equal(np.asarray(hollow.get_xdata()), [2, 4])
        assert hollow.get_markerfacecolor() == "white"
        assert_array_equal(lines(axes, "few")[0].get_markevery(), [1, 1, 0, 1, 0])
    assert "Hollow marker: fewer than 10 scenes." in caption(figure)
    assert "Hollow" not in caption(plain)


def test_a_bin_without_scenes_has_no_point_and_no_line_across() -> None:
    gap = make_row("gap", scenes=(612, 431, 0, 297, 174))
    figure = cover_figure(make_table(make_row(INPUT, worse=3), gap), OFFICIAL)
    for axes in figure.axes:
        drawn = np.asarray(lines(axes, "gap")[0].get_ydata(), float)
        assert_array_equal(np.isnan(drawn), [False, False, True, False, False])
        assert not lines(axes, "_few")


def test_fewer_scenes_than_the_input_are_pointed_out(plain: Figure) -> None:
    part = make_row("part (1800 of 1902 scenes)", scenes=(612, 431, 388, 297, 72))
    figure = cover_figure(make_table(make_row(INPUT, worse=3), part), OFFICIAL)
    assert tick_labels(figure.axes[3])[4].startswith("80–100 %\nn = 174\n")
    assert "coverage" in caption(figure)
    assert "coverage" not in caption(plain)


def test_an_infinite_psnr_is_a_marker_at_the_top_of_its_panel(tmp_path: Path) -> None:
    perfect = make_row("perfect").assign(mae=0.0, psnr=np.inf, sam_deg=0.0, ssim=1.0)
    figure = cover_figure(make_table(make_row(INPUT, worse=3), perfect), FULL)
    psnr = figure.axes[1]
    (marks,) = lines(psnr, "_perfect")
    assert_array_equal(np.asarray(marks.get_xdata()), range(5))
    assert [text.get_text() for text in psnr.texts] == ["∞"] * 5
    assert psnr.get_ylim()[1] < 40
    assert "∞: perfect match." in caption(figure)
    save_figure(figure, tmp_path / "fig5", ["png"])


@pytest.mark.parametrize("psnr", [np.inf, np.nan, 20.0])
def test_one_scene_in_one_bin_can_be_drawn(psnr: float, tmp_path: Path) -> None:
    rows = [make_row(name, scenes=(0, 0, 1, 0, 0)).assign(psnr=psnr) for name in (INPUT, "copy")]
    save_figure(cover_figure(make_table(*rows), FULL), tmp_path / "fig5", ["png"])


@pytest.mark.parametrize(("worse", "scale"), [(2, "linear"), (9, "log")])
def test_errors_get_a_logarithmic_axis_where_the_input_is_far_away(worse: int, scale: str) -> None:
    table = make_table(make_row(INPUT, worse=worse), make_row("align_cr"))
    scales = [axes.get_yscale() for axes in cover_figure(table, OFFICIAL).axes]
    assert scales == [scale, "linear", scale, "linear"]


def test_with_many_methods_the_axes_span_them_and_the_input_is_named_at_the_edge() -> None:
    methods = [make_row(f"m{number}", worse=1 + number / 10) for number in range(CROWD + 1)]
    figure = cover_figure(make_table(make_row(INPUT, worse=9), *methods), OFFICIAL)
    mae, psnr, *_ = figure.axes
    assert mae.get_ylim()[1] < 0.05
    assert mae.texts[0].get_text() == "↑ 0.189"
    assert psnr.texts[0].get_text() == "↓ -20"
    assert "beyond the axis" in " ".join(caption(figure).split())


def test_the_caption_carries_signature_and_note(two_methods: pd.DataFrame) -> None:
    text = caption(cover_figure(two_methods, OFFICIAL, note="Planet-CR, test | 2 scenes"))
    assert OFFICIAL.signature("all") in text.replace("\n", "")
    assert text.endswith("Planet-CR, test | 2 scenes")


def test_nothing_overlaps_or_leaves_the_page() -> None:
    rows = [make_row(name, worse=1 + rank / 9) for rank, name in enumerate(PAPER_METHODS.values())]
    part = make_row("my_method (1700 of 1902 scenes)", scenes=(612, 431, 388, 297, 5))
    figure = cover_figure(
        make_table(make_row(INPUT, worse=9), part, *rows), OFFICIAL, note="n" * 99
    )
    (legend,) = figure.legends
    panels = [axes.get_tightbbox() for axes in figure.axes]
    texts = [text.get_window_extent() for text in figure.texts]
    boxes = [box for box in (*panels, legend.get_window_extent(), *texts) if box and box.width]
    assert len(boxes) == 6
    for index, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[index + 1 :])
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1


def test_the_same_table_gives_the_same_bytes(
    two_methods: pd.DataFrame, saved: Path, tmp_path: Path
) -> None:
    again = cover_figure(two_methods, OFFICIAL)
    for folder in ("second", "third"):
        with mpl.rc_context({"font.size": 20, "svg.fonttype": "none"}):
            save_figure(again, tmp_path / folder / "fig5")
    for name in ("fig5.png", "fig5.svg"):
        first, second, third = (
            (folder / name).read_bytes()
            for folder in (saved, tmp_path / "second", tmp_path / "third")
        )
        assert first == second == third


def test_files_hold_no_date_and_svg_draws_its_text(saved: Path) -> None:
    assert sorted(path.name for path in saved.iterdir()) == ["fig5.png", "fig5.svg"]
    svg = (saved / "fig5.svg").read_text(encoding="utf-8")
    assert "<text" not in svg  # another font would not fit
    assert "DejaVuSans-" in svg
    assert "<dc:date>" not in svg
    assert b"Software" not in (saved / "fig5.png").read_bytes()


def test_a_figure_of_a_paper_has_letters_bands_and_no_caption() -> None:
    table = make_table(make_row(INPUT, worse=9), make_row("align_cr"), make_row("mean-fill"))
    table["kind"] = table["kind"].where(table["row"] != "mean-fill", "baseline")
    table = table.assign(mae_low=table["mae"] - 0.001, mae_high=table["mae"] + 0.001)
    for width, columns in ((7.1, 4), (3.5, 2)):
        figure = printed_cover_figure(table, width_inch=width)
        assert figure.get_size_inches()[0] == width
        titles = [axes.get_title(loc="left") for axes in figure.axes]
        assert titles == ["(a) MAE ↓", "(b) PSNR ↑ [dB]", "(c) SAM ↓ [°]", "(d) SSIM ↑"]
        assert len({round(axes.get_position().x0, 2) for axes in figure.axes}) == columns
        assert caption(figure) == ""
        mae = figure.axes[0]
        assert len(mae.collections) == 3  # a band of each row
        assert mae.get_ylim()[1] < 0.05  # the input does not press the methods together
        assert np.asarray(lines(mae, "_beyond")[0].get_xdata()).tolist() == [0, 1, 2, 3, 4]


def test_a_caption_can_be_taken_out_of_a_figure(two_methods: pd.DataFrame) -> None:
    figure = cover_figure(two_methods, OFFICIAL, note="a note")
    width, height = figure.get_size_inches()
    assert take_caption(figure).endswith("a note")
    assert figure.get_size_inches()[0] == width
    assert figure.get_size_inches()[1] < height
    assert caption(figure) == ""


def test_settings_of_the_caller_are_kept_and_have_no_effect(
    two_methods: pd.DataFrame, saved: Path, tmp_path: Path
) -> None:
    with mpl.rc_context({"font.size": 20, "lines.linewidth": 9, "figure.facecolor": "red"}):
        before = dict(mpl.rcParams)
        save_figure(cover_figure(two_methods, OFFICIAL), tmp_path / "fig5", ["png"])
        assert dict(mpl.rcParams) == before
    assert (tmp_path / "fig5.png").read_bytes() == (saved / "fig5.png").read_bytes()
