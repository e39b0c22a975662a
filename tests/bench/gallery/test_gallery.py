"""Tests of the gallery: what its panels hold, which scenes it shows, what it refuses."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import rasterio
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from conftest import Cli
from pages import caption, panels, texts_of, titles
from planetcr_bench.api import evaluate
from planetcr_bench.cli.gallery import Panels
from planetcr_bench.cli.gallery import gallery as command
from planetcr_bench.constants import LAND_COVER, LAND_COVER_NAMES, PAPER_METHODS, UNKNOWN
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.reading import read_product, read_scene
from planetcr_bench.data.scene import upsample
from planetcr_bench.errors import DatasetError, PredictionError, UsageError
from planetcr_bench.figures.style import save_figure
from planetcr_bench.gallery.figure import PAGE_INCH
from planetcr_bench.gallery.gallery import (
    FORMATS,
    MOST_FOLDERS,
    MOST_SCENES,
    PANELS,
    gallery,
    gallery_figure,
    method_titles,
)
from planetcr_bench.gallery.panels import (
    ANGLE_SCALES,
    ERROR_SCALES,
    INFRARED,
    LAND_COVER_COLOURS,
    SAR_DB,
    TRUE_COLOUR,
    Zoom,
    angle_map,
    error_map,
    land_cover_panel,
    stretch_limits,
    stretched,
    upper_end,
)
from planetcr_bench.gallery.scenes import DrawnScene, drawn_scene, find_all_predictions, read_drawn
from planetcr_bench.gallery.selection import cloud_cover, scene_scores
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.networks.validation import draw_maps, draw_restored
from planetcr_bench.predictions.card import Card, write_card
from planetcr_bench.predictions.predict import predict
from planetcr_bench.report.scores import summary
from planetcr_bench.results.aggregate import score_groups

pytestmark = pytest.mark.usefixtures("ledgers_alone")

OFFICIAL, FULL = PROTOCOLS["official"], PROTOCOLS["full"]

SMALL = 50
"""Side of images whose panels are as large as those of 300 × 300 pixels, each pixel a square."""


class Brightness:
    """A segmenter to whom each class is a step of near-infrared."""

    key = "1a2b3c4d"
    name = "brightness 1a2b3c4d"
    facts: Mapping[str, Any] = {"name": name, "sha256": "1a2b3c4d" * 8}

    def classify(self, images: np.ndarray) -> np.ndarray:
        return (images[:, 3] * 20).clip(0, 5).astype(np.uint8)


def make_drawn(
    scene: str = "summer_1_p_1", *, folders: int = 2, seed: int = 0, size: int = 300
) -> DrawnScene:
    rng = np.random.default_rng(seed)
    clear = rng.uniform(0.02, 0.2, (4, size, size)).astype(np.float32)
    return DrawnScene(
        scene=scene,
        cloud_cover=0.374,
        cloudy=clear + np.float32(0.3),
        sar_db=rng.uniform(-30, 0, (2, size, size)).astype(np.float32),
        land_cover=rng.integers(0, 7, (size, size), np.uint8),
        clear=clear,
        predictions=[clear + np.float32(0.005 * (1 + number)) for number in range(folders)],
        scores=[(0.3, 10.4), *((0.01, 40.0) for _ in range(folders))],
        cloud_mask=rng.random((size, size)) < 0.4,
    )


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def row_names(figure: Figure) -> list[str]:
    return [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()]


def bars(figure: Figure) -> list[tuple[str, list[str]]]:
    """Labels and ticks of the colour bars."""
    return [
        (axes.get_title(), [tick.get_text() for tick in axes.get_xticklabels()])
        for axes in figure.axes
        if not axes.images
    ]


@pytest.fixture(scope="module")
def drawn() -> tuple[list[DrawnScene], Figure]:
    """Two scenes, two methods, every row."""
    scenes = [make_drawn(), make_drawn("winter_12_p_345", seed=1)]
    figure = gallery_figure(
        scenes,
        ["net", "_a$b$"],
        FULL,
        panels=list(PANELS),
        segmenter=Brightness(),
        note="Two scenes.",
    )
    return scenes, figure


@pytest.fixture(scope="module")
def folders(data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Predictions of two methods for the six test scenes; read only."""
    root = tmp_path_factory.mktemp("folders")
    for method in ("mean-fill", "copy-cloudy"):
        predict(method, data, root / method, quiet=True)
    return [root / "mean-fill", root / "copy-cloudy"]


# --- What the panels hold -------------------------------------------------------------------


def test_a_scene_is_cloudy_sar_land_cover_predictions_clear_and_panels_below(
    drawn: tuple[list[DrawnScene], Figure],
) -> None:
    scenes, figure = drawn
    images = [panel.get_array() for panel in panels(figure)]
    assert len(images) == 2 * (7 + 4 + 3 + 3 + 4 + 1)
    for scene, part in zip(scenes, (images[:22], images[22:]), strict=True):
        optical = [scene.cloudy, *scene.predictions, scene.clear]
        for bands, shown in ((TRUE_COLOUR, [part[0], *part[4:7]]), (INFRARED, part[7:11])):
            limits = stretch_limits(scene.clear, bands)
            for panel, image in zip(shown, optical, strict=True):
                assert_array_equal(panel, stretched(image, limits, bands))
        assert_array_equal(part[1:3], scene.sar_db)
        assert_array_equal(part[3], land_cover_panel(scene.land_cover).pixels)
        clear = scene.clear.astype(float)
        for error, angle, image in zip(part[11:14], part[14:17], optical[:3], strict=True):
            assert_allclose(error, np.abs(image.astype(float) - clear).mean(axis=0), rtol=1e-6)
            lengths = np.linalg.norm(image.astype(float), axis=0) * np.linalg.norm(clear, axis=0)
            cosine = np.einsum("bhw,bhw->hw", image.astype(float), clear) / lengths
            assert_allclose(np.cos(np.radians(angle.astype(float))), cosine, atol=1e-9)
        for seen, image in zip(part[17:21], optical, strict=True):
            assert_array_equal(seen, land_cover_panel(Brightness().classify(image[None])[0]).pixels)
        assert_array_equal(part[21], scene.cloud_mask)


def test_panels_are_drawn_only_on_request_and_in_one_order() -> None:
    scene = make_drawn(size=SMALL)
    plain = gallery_figure([scene], ["a", "b"], FULL, panels=[])
    assert len(panels(plain)) == 7
    assert bars(plain) == []
    assert row_names(plain) == []
    figure = gallery_figure([scene], ["a", "b"], FULL, panels=["angle", "infrared"])
    assert row_names(figure) == ["Infrared", "Angle"]


def test_land_cover_has_the_colours_of_worldcover_and_unknown_land_is_striped() -> None:
    classes = np.repeat(np.arange(7, dtype=np.uint8), 40)[:, None].repeat(280, axis=1)
    shown = land_cover_panel(classes).pixels
    for number, colour in enumerate(LAND_COVER_COLOURS[:UNKNOWN]):
        assert {mpl.colors.to_hex(pixel) for pixel in shown[classes == number]} == {colour}
    stripes = (shown[classes == UNKNOWN] < 0.9).all(axis=1).mean()
    assert 0.1 < stripes < 0.5
    figure = gallery_figure([make_drawn(size=SMALL)], ["a", "b"], FULL)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(LAND_COVER_NAMES)


def test_the_legend_has_the_classes_that_are_drawn() -> None:
    scene = make_drawn(size=SMALL)
    scene.land_cover[:] = 3
    for segmenter, classes in ((None, ["urban"]), (Brightness(), [*LAND_COVER])):
        figure = gallery_figure([scene], ["a", "b"], FULL, segmenter=segmenter)
        assert [text.get_text() for text in figure.legends[0].get_texts()] == classes


def test_sar_errors_and_angles_have_one_scale_in_the_whole_figure(
    drawn: tuple[list[DrawnScene], Figure],
) -> None:
    scenes, figure = drawn
    images = panels(figure)
    assert [images[at].get_clim() for at in (1, 23, 2, 24)] == [SAR_DB["vv"]] * 2 + [
        SAR_DB["vh"]
    ] * 2
    assert {image.get_clim() for image in images[11:14] + images[33:36]} == {(0, 0.02)}
    angles = [angle_map(i, scene.clear) for scene in scenes for i in scene.predictions]
    middle = sorted(np.percentile(angle, 98) for angle in angles)[1]
    end = next(scale for scale in ANGLE_SCALES if middle <= scale)
    assert {image.get_clim() for image in images[14:17] + images[36:39]} == {(0, end)}
    assert bars(figure) == [  # once, beside the first scene
        ("Absolute error [reflectance]", ["0", "0.01", "0.02"]),
        ("Spectral angle [°]", ["0", f"{end / 2:g}", f"{end:g}"]),
    ]


def test_a_method_that_fails_does_not_darken_the_others() -> None:
    """One of two, or two of four; with three of five most of the figure is what they do."""
    flat = [np.full((10, 10), error) for error in (0.04, 0.9, 0.03, 0.8, 0.7)]
    assert [upper_end(flat[:count], ERROR_SCALES) for count in (2, 4, 5)] == [0.05, 0.05, 1]
    scene = make_drawn(folders=2)
    scene.predictions[1][:] = 0.9
    figure = gallery_figure([scene], ["good", "white"], FULL, panels=["error"])
    assert {image.get_clim() for image in panels(figure)[7:]} == {(0, 0.02)}


def test_the_untouched_input_sets_a_scale_only_where_there_is_nothing_else() -> None:
    scene = make_drawn(folders=3)
    for prediction in scene.predictions[1:]:
        prediction[:] = np.rint(scene.cloudy * 1e4) / 1e4  # as copy-cloudy is stored
    figure = gallery_figure([scene], ["good", "copy", "copy again"], FULL, panels=["error"])
    assert {image.get_clim() for image in panels(figure)[8:]} == {(0, 0.02)}
    scene.predictions[0][:] = scene.cloudy
    figure = gallery_figure([scene], ["a", "b", "c"], FULL, panels=["error"])
    assert {image.get_clim() for image in panels(figure)[8:]} == {(0, 0.5)}


def test_pixels_without_an_angle_are_grey_and_the_caption_says_so() -> None:
    scene = make_drawn()
    scene.predictions[0][:, :10] = 0
    angle = angle_map(scene.predictions[0], scene.clear)
    assert_array_equal(np.isnan(angle), np.arange(300)[:, None].repeat(300, axis=1) < 10)
    assert np.isfinite(angle_map(scene.predictions[0], scene.clear, floor=2.0**-10)).all()
    assert "(grey: a spectrum of zeros has none)" in caption(
        gallery_figure([scene], ["a", "b"], FULL, panels=["angle"])
    )


@pytest.mark.parametrize(
    ("folders", "count", "size"), [(2, 1, 300), (8, 2, 300), (3, 5, 300), (1, 5, 160)]
)
def test_panels_are_not_resampled(folders: int, count: int, size: int, tmp_path: Path) -> None:
    """The pixels of the page are those of the images, or whole squares of them."""
    scenes = [make_drawn(folders=folders, size=size, seed=seed) for seed in range(count)]
    names = [f"m{number}" for number in range(folders)]
    protocol = FULL if size == 300 else OFFICIAL
    figure = gallery_figure(scenes, names, protocol, panels=["error"])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    page = np.asarray(canvas.buffer_rgba())
    if count == 1:  # a PNG holds what was drawn
        save_figure(figure, tmp_path / "g", ["png"])
        assert_array_equal(page, np.asarray(Image.open(tmp_path / "g.png")))
    times = -(-300 // size)
    side = times * size
    for axes in figure.axes:
        if axes.images and axes.images[0].get_array().ndim == 3:
            box = axes.get_position()
            left, top = round(box.x0 * page.shape[1]), round((1 - box.y1) * page.shape[0])
            expected = axes.images[0].get_array().repeat(times, axis=0).repeat(times, axis=1)
            shown = page[top : top + side, left : left + side, :3] / 255
            assert_allclose(shown, expected, atol=1.01 / 255)


def test_svg_and_pdf_hold_the_pixels_unchanged_and_embed_their_fonts(
    tmp_path: Path,
) -> None:
    figure = gallery_figure([make_drawn("winter_12_p_345")], ["a", "b"], FULL, panels=["error"])
    save_figure(figure, tmp_path / "g", ["svg", "pdf"])
    svg = (tmp_path / "g.svg").read_text(encoding="utf-8")
    assert len(re.findall('<image[^>]* width="300" height="300"', svg)) == 7 + 3
    assert "winter_12_p_345, cloud cover 37 %" in svg
    assert "<text" not in svg  # a reader without the font would see another one
    pdf = (tmp_path / "g.pdf").read_bytes()
    assert pdf.count(b"/Width 300") == 7 + 3
    assert b"/FontFile2" in pdf  # TrueType, as publishers ask for
    assert b"/Type3" not in pdf


def test_texts_name_columns_and_rows_and_give_scores(
    drawn: tuple[list[DrawnScene], Figure],
) -> None:
    columns = ["Cloudy", "SAR VV", "SAR VH", "Land cover", "net", "_a$b$", "Clear"]
    assert titles(drawn[1])[:7] == columns
    assert not any(titles(drawn[1])[7:])  # the second scene has the same columns
    assert row_names(drawn[1]) == 2 * [*PANELS.values()]
    texts = words(drawn[1])
    assert "summer_1_p_1, cloud cover 37 %" in texts
    assert "winter_12_p_345, cloud cover 37 %" in texts
    scores = [axes.get_xlabel() for axes in drawn[1].axes if axes.get_xlabel()]
    assert scores == 2 * ["MAE 0.3000\n10.40 dB", *2 * ["MAE 0.0100\n40.00 dB"]]
    wide = words(gallery_figure([make_drawn(size=SMALL, folders=1)], ["a"], FULL))
    assert wide.count("MAE 0.0100 | 40.00 dB") == 1


def test_the_caption_says_how_everything_is_drawn(
    drawn: tuple[list[DrawnScene], Figure],
) -> None:
    text = caption(drawn[1])
    assert text.startswith("Two scenes. Optical images are in true colour, all of a scene with one")
    for part in (
        "taken from its clear image: the 2nd percentile of its red, green and blue values is black",
        "the 98th has 85 % of white, and the shades above it are for what is brighter",
        "VV −22 to −2 dB, VH −29 to −9 dB",
        "MAE [reflectance] and PSNR [dB] against the clear image",
        "the whole patch (protocol full)",
        "each band stretched between the same percentiles of its own in the clear image",
        "Error: |image − clear|, mean over the four bands.",
        "Angle: spectral angle between image and clear image.",
        "Errors and angles have one scale each in all scenes, whose end is the first round number",
        "that at most 2 % of pixels exceed in at least half of the methods' panels",
        "larger values have the last colour.",
        "Segmenter: land cover that brightness 1a2b3c4d predicts from the image.",
        "Mask: cloud is white.",
    ):
        assert part in text
    scene = make_drawn(size=SMALL)
    plain = caption(gallery_figure([scene], ["a", "b"], FULL, panels=[]))
    assert not any(f"{name}: " in plain for name in PANELS.values())
    assert "scale" not in plain
    figure = gallery_figure([scene], ["a", "b"], FULL, panels=["error"])
    assert "Errors have one scale in" in caption(figure)
    assert not any(text.startswith("Optical images") for text in words(figure))  # in a file


@pytest.mark.parametrize(
    ("folders", "count", "rows"),
    [
        (1, 2, list(PANELS)),
        (1, 5, ["error", "angle"]),
        (2, 5, ["error", "segmenter"]),
        (3, 6, ["error"]),
        (MOST_FOLDERS, 5, ["error"]),
        (MOST_FOLDERS, 2, list(PANELS)),
        (MOST_FOLDERS, MOST_SCENES - 1, []),
    ],
)
def test_nothing_overlaps_or_leaves_the_page(folders: int, count: int, rows: list[str]) -> None:
    scenes = [make_drawn("summer_1234_p_1234", folders=folders, size=SMALL)] * count
    names = [f"a_rather_long_name_of-a-method{number}" for number in range(folders)]
    if folders == MOST_FOLDERS:
        names = list(PAPER_METHODS.values())
    segmenter = Brightness() if "segmenter" in rows else None
    figure = gallery_figure(
        scenes, names, OFFICIAL, panels=rows, segmenter=segmenter, note="Long. " * 20
    )
    renderer = RendererAgg(1, 1, figure.dpi)  # measures texts as one of the page's size does
    figure.draw_without_rendering()  # titles and labels find their places
    drawn = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    boxes = [artist.get_window_extent(renderer) for artist in [*drawn, *figure.axes]]
    boxes += [patch.get_window_extent(renderer) for patch in figure.legends[0].get_patches()]
    edges = np.array([box.extents for box in boxes])
    low, high = edges[:, None, :2], edges[:, None, 2:]
    apart = ((high <= edges[:, :2]) | (low >= edges[:, 2:])).any(axis=2)
    assert (apart | np.eye(len(edges), dtype=bool)).all()
    assert edges.min() >= 0
    assert (edges[:, 2:] <= figure.bbox.max).all()
    assert figure.get_figwidth() <= PAGE_INCH[0]
    assert figure.get_figheight() <= PAGE_INCH[1]
    assert {text.get_fontsize() for text in drawn} in ({5.0}, {6.0})
    assert figure.dpi >= 300


@pytest.mark.parametrize(
    ("folders", "count", "rows", "inch"),
    [(1, 5, ["error"], 0.8), (1, 5, ["error", "angle"], 0.6), (3, 6, ["error"], 0.5)],
)
def test_panels_stand_beside_the_scene_where_that_makes_them_larger(
    folders: int, count: int, rows: list[str], inch: float
) -> None:
    names = [f"method {number}" for number in range(folders)]
    figure = gallery_figure(
        [make_drawn(folders=folders, size=SMALL)] * count, names, FULL, panels=rows
    )
    assert figure.get_figwidth() > 6.8
    assert 300 / figure.dpi > inch
    columns = len(names) + 5
    assert titles(figure)[columns : columns + 2] == ["Error: Cloudy", "Error: method 0"]
    assert len(bars(figure)) == len(rows)  # below the last scene
    maps = panels(figure)[columns : columns + folders + 1]
    assert all(image.get_cmap().name == "magma" for image in maps)
    tops = {round(axes.get_position().y1, 6) for axes in figure.axes if axes.images}
    assert len(tops) == count


def test_many_columns_are_folded_where_that_makes_panels_larger() -> None:
    names = [f"m{number}" for number in range(MOST_FOLDERS)]
    figure = gallery_figure(
        [make_drawn(folders=MOST_FOLDERS, size=SMALL)] * 2, names, FULL, panels=["error"]
    )
    assert 300 / figure.dpi > 0.8
    lefts = {round(axes.get_position().x0, 6) for axes in figure.axes if axes.images}
    assert len(lefts) == 7
    for name in ("Cloudy", *names, "Clear"):
        assert titles(figure).count(name) == 2
    assert row_names(figure) == 4 * ["Error"]


def test_a_figure_too_large_for_a_page_is_refused_before_anything_is_read(
    data: Path, folders: list[Path], tmp_path: Path
) -> None:
    scene, names = make_drawn(folders=3, size=SMALL), ["a", "b", "c"]
    with pytest.raises(UsageError, match=r"got 6 scenes with 8 columns and 3 rows .* draw fewer"):
        gallery_figure([scene] * 6, names, FULL, panels=["error", "angle"])
    with pytest.raises(UsageError, match="got 1 scene with 6 columns"):
        gallery_figure([make_drawn(folders=1, size=SMALL)], ["long " * 999], FULL)
    (nothing := tmp_path / "nothing").mkdir()  # would be missed next
    request = {"count": 6, "panels": ["infrared", "error", "angle"], "quiet": True}
    with pytest.raises(UsageError, match="expected a figure that fits a page"):
        gallery(data, [*folders, nothing], tmp_path / "g.png", select="best", **request)


def test_a_square_is_shown_larger_in_a_corner_that_does_not_hide_it() -> None:
    for x, y, corner in ((10, 20, (180, 180)), (250, 250, (0, 180))):
        zoom = Zoom.parse(f"{x},{y},40")
        figure = gallery_figure([make_drawn()], ["a", "b"], FULL, panels=["error"], zoom=zoom)
        plain = gallery_figure([make_drawn()], ["a", "b"], FULL, panels=["error"])
        for panel, before in zip(panels(figure), panels(plain), strict=True):
            shown, known = panel.get_array(), before.get_array()
            left, top = corner
            part = known[y : y + 40, x : x + 40].repeat(3, axis=0).repeat(3, axis=1)
            assert_array_equal(shown[top : top + 120, left : left + 120], part)
            changed = np.argwhere(np.asarray(shown != known).reshape(300, 300, -1).any(axis=2))
            assert (changed >= (top, left)).all()
            assert len(panel.axes.patches) == 4  # two frames, white on black
    assert "The framed square of 40 pixels, 250 pixels from the left" in caption(figure)
    for text in ("1,2", "1,2,0", "a,1,2", "-1,2,3"):
        with pytest.raises(UsageError, match="--zoom: expected X,Y,SIZE in whole pixels"):
            Zoom.parse(text)
    for zoom in (Zoom(270, 0, 40), Zoom(0, 0, 70)):
        with pytest.raises(UsageError, match=r"at most 67 pixels within 300 × 300"):
            gallery_figure([make_drawn()], ["a", "b"], FULL, zoom=zoom)


# --- Which scenes ---------------------------------------------------------------------------


def test_crops_are_ranked_by_the_official_protocol(
    data: Path, folders: list[Path], tmp_path: Path
) -> None:
    errors = {}
    for files in find_scenes(data, "test"):
        with rasterio.open(folders[0] / f"{files.name}.tif") as source:
            crop = source.read()[:, 70:230, 70:230]
        (tmp_path / "crops").mkdir(exist_ok=True)
        np.save(tmp_path / "crops" / f"{files.name}.npy", crop)
        clear = read_scene(files).clear[:, 70:230, 70:230]
        errors[files.name] = np.abs(crop / 1e4 - clear).mean()
    out = tmp_path / "g.svg"
    drawn = gallery(
        data, [tmp_path / "crops"], out, select="worst", rank_by="mae", count=3, quiet=True
    )
    assert drawn == sorted(errors, key=lambda name: -errors[name])[:3]
    assert "MAE of crops (protocol official)" in texts_of(out)
    assert "Input window: crops unknown." in texts_of(out)


def test_scenes_selected_by_score_are_ranked_as_by_evaluate(
    data: Path, folders: list[Path], tmp_path: Path
) -> None:
    preds, out = folders[0], tmp_path / "g.svg"
    ledger, _, _ = evaluate(preds, tmp_path / "results", data=data, quiet=True)
    table = score_groups(ledger.frame, FULL, ["scene"])
    (found,) = find_all_predictions([preds], find_scenes(data, "test"), "ranked")
    measured = scene_scores(found, FULL, "sam", quiet=True)
    assert measured.to_dict() == table["sam_deg"].to_dict()
    scores = table["ssim"].to_dict()
    middle = np.median(list(scores.values()))
    drawn = gallery(
        data, [preds], out, select="median", rank_by="ssim", count=2, panels=[], quiet=True
    )
    assert drawn == sorted(scores, key=lambda name: (abs(scores[name] - middle), name))[:2]
    assert "nearest to the median SSIM of mean-fill (protocol full), the nearest first" in texts_of(
        out
    )
    drawn = gallery(data, [preds], out, select="worst", count=1, panels=[], quiet=True)
    assert drawn == [table["psnr"].idxmin()]
    assert "Shown is 1 of the 6 scenes of fake (split test), with the lowest" in texts_of(out)


# --- From folders to a file -----------------------------------------------------------------


def test_scores_are_those_of_evaluate(data: Path, folders: list[Path], tmp_path: Path) -> None:
    """One scene alone in a list: its scores below the panels are the run's."""
    (name,) = gallery(data, folders, tmp_path / "one.svg", count=1, quiet=True)
    scene = next(files for files in find_scenes(data, "test") if files.name == name)
    products = ("clear", "cloudy", "sar", "land_cover", "cloud_mask")
    row = ",".join(str(scene.path(product).relative_to(data)) for product in products)
    (tmp_path / "list.csv").write_text(row + "\n")
    only = tmp_path / "only"
    only.mkdir()
    shutil.copy(folders[0] / f"{name}.tif", only)
    ledger, _, _ = evaluate(only, tmp_path, data=data, scene_list=tmp_path / "list.csv", quiet=True)
    overall = summary(ledger)["protocols"]["full"]["overall"]
    expected = f"MAE {overall['mae']:.4f} {overall['psnr']:.2f} dB"
    assert expected in texts_of(tmp_path / "one.svg")


def test_scores_below_the_cloudy_image_are_its_own(
    data: Path, folders: list[Path], tmp_path: Path
) -> None:
    """Computed from the files by scikit-image; the methods' follow in the order of columns."""
    files = find_scenes(data, "test")[0]
    gallery(data, folders, tmp_path / "g.svg", names=[files.name], panels=[], quiet=True)
    with (
        rasterio.open(files.path("clear")) as clear,
        rasterio.open(files.path("cloudy")) as cloudy,
        rasterio.open(folders[0] / f"{files.name}.tif") as filled,
    ):
        truth, *images = (
            np.clip(source.read().astype(float) / 1e4, 0, 1) for source in (clear, cloudy, filled)
        )
    expected = [
        f"MAE {np.abs(image - truth).mean():.4f} "
        f"{peak_signal_noise_ratio(truth, image, data_range=1):.2f} dB"
        for image in (images[0], images[1], images[0])  # the second folder holds the input
    ]
    shown = re.findall(r"MAE \d\.\d{4} \d+\.\d\d dB", texts_of(tmp_path / "g.svg"))
    assert shown == expected
    assert shown[0] != shown[1]


def test_a_drawn_scene_has_the_pixels_of_the_files(data: Path, folders: list[Path]) -> None:
    files = find_scenes(data, "test")[0]
    drawn = read_drawn(files, find_all_predictions(folders, [files], "drawn"), FULL)
    assert_allclose(drawn.scores[0], drawn.scores[2], atol=2e-3)  # copy-cloudy, rounded to uint16
    for folder, image, (absolute, decibels) in zip(
        folders, drawn.predictions, drawn.scores[1:], strict=True
    ):
        with rasterio.open(folder / f"{files.name}.tif") as source:
            assert_allclose(image, source.read() / 1e4, atol=1e-6)
        error = image.astype(np.float64) - drawn.clear
        assert_allclose(error_map(image, drawn.clear).mean(), absolute, rtol=1e-9)
        assert_allclose(-10 * np.log10((error**2).mean()), decibels, rtol=1e-9)
    scene, decibels = read_scene(files), read_product(files, "sar").pixels
    expected = [decibels[0].clip(-25, 0), decibels[1].clip(-32.5, 0)]
    assert_allclose(drawn.sar_db, upsample(np.stack(expected), (300, 300)), atol=1e-5)
    assert_array_equal(drawn.land_cover, scene.land_cover)
    assert drawn.cloud_cover == scene.cloud_cover


def test_the_mean_of_an_angle_panel_is_sam(data: Path, folders: list[Path], tmp_path: Path) -> None:
    ledger, _, _ = evaluate(folders[0], tmp_path, data=data, quiet=True)
    files = find_scenes(data, "test")[1]
    for protocol in (FULL, OFFICIAL):
        expected = score_groups(ledger.frame, protocol, ["scene"], pool="pixels")["sam_deg"]
        drawn = read_drawn(files, find_all_predictions(folders, [files], "drawn"), protocol)
        angle = angle_map(drawn.predictions[0], drawn.clear, floor=protocol.sam_norm_floor)
        assert_allclose(np.nanmean(angle), expected[files.name], rtol=1e-6)


def test_a_centre_crop_cuts_all_panels(data: Path, folders: list[Path], tmp_path: Path) -> None:
    scene = find_scenes(data, "test")[1]
    whole = read_scene(scene)
    cut = whole.clear[:, 70:230, 70:230]
    np.save(tmp_path / f"{scene.name}.npy", cut)
    predictions = find_all_predictions([tmp_path, folders[0]], [scene], "drawn")
    drawn = read_drawn(scene, predictions, OFFICIAL)
    assert_array_equal(drawn.clear, cut)
    images = [drawn.cloudy, drawn.clear, *drawn.predictions]
    assert {image.shape for image in images} == {(4, 160, 160)}
    assert drawn.sar_db.shape == (2, 160, 160)
    assert_array_equal(drawn.land_cover, whole.land_cover[70:230, 70:230])
    assert drawn.scores[1] == (0, 100)
    figure = gallery_figure([drawn], ["perfect", "mean-fill"], OFFICIAL)
    assert "the centre 160 × 160 pixels (protocol official)" in caption(figure)
    gallery(data, [tmp_path], tmp_path / "crop.png", names=[scene.name], quiet=True)


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_same_input_gives_the_same_bytes(
    data: Path, folders: list[Path], tmp_path: Path, suffix: str
) -> None:
    first, second = tmp_path / f"a{suffix}", tmp_path / "new" / f"b{suffix}"
    draw = {"count": 1, "panels": list(PANELS), "segmenter": Brightness(), "quiet": True}
    gallery(data, folders[:1], first, **draw)
    with mpl.rc_context({"font.size": 20, "image.cmap": "jet", "svg.fonttype": "none"}):
        before = dict(mpl.rcParams)
        gallery(data, folders[:1], second, **draw)
        assert dict(mpl.rcParams) == before
    assert first.read_bytes() == second.read_bytes()
    assert first.with_suffix(".txt").read_text() == second.with_suffix(".txt").read_text()
    assert {path.name for path in tmp_path.iterdir()} == {first.name, "a.txt", "new"}


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    figure = gallery_figure([make_drawn(size=SMALL)], ["a", "b"], FULL, panels=[])
    (tmp_path / "g.svg").write_text("old")
    (tmp_path / ".g.svg.partial").mkdir()  # in the way, as a full disk would be
    with pytest.raises(OSError, match="partial"):
        save_figure(figure, tmp_path / "g", ["svg"])
    assert (tmp_path / "g.svg").read_text() == "old"


def test_training_draws_its_pictures_in_the_same_way(data: Path, tmp_path: Path) -> None:
    scenes = [read_scene(files) for files in find_scenes(data, "test")[:2]]
    drawn = drawn_scene(scenes[0], scenes[0].cloudy)
    assert drawn.scores[0] == drawn.scores[1]
    draw_restored(scenes, [scene.cloudy for scene in scenes], tmp_path / "restored.png")
    maps = [scene.land_cover for scene in scenes]
    draw_maps(scenes, maps, ["red", "green", "blue"], tmp_path / "maps.png")
    assert mpl.image.imread(tmp_path / "restored.png").std() > 0.05
    page = mpl.image.imread(tmp_path / "maps.png")
    assert page.shape[1] == pytest.approx(3 * 300, rel=0.1)


# --- Refusals -------------------------------------------------------------------------------


def test_a_missing_prediction_is_named_and_others_do_not_matter(
    data: Path, preds: Path, folders: list[Path], tmp_path: Path
) -> None:
    first, second, *_ = (files.name for files in find_scenes(data, "test"))
    (preds / f"{first}.tif").unlink()
    gallery(data, [preds], tmp_path / "g.png", names=[second], quiet=True)
    with pytest.raises(PredictionError) as refusal:
        gallery(data, [*folders, preds], tmp_path / "h.png", names=[second, first], quiet=True)
    assert refusal.value.problems == (
        f"{preds / first}.tif: expected a prediction, found no such file",
    )
    assert not (tmp_path / "h.png").exists()


def test_a_rank_needs_every_prediction_of_all_folders_before_it_begins(
    data: Path,
    preds: Path,
    folders: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = [files.name for files in find_scenes(data, "test")]
    (other := tmp_path / "other").mkdir()
    for name in names[1:]:
        shutil.copy(folders[0] / f"{name}.tif", other)
    (preds / f"{names[2]}.tif").unlink()
    monkeypatch.setattr(
        "planetcr_bench.gallery.gallery.scene_scores", lambda *_, **__: pytest.fail("ranks")
    )
    with pytest.raises(PredictionError, match="of each scene that is ranked or drawn") as refusal:
        gallery(data, [folders[0], preds, other], tmp_path / "g.png", select="worst", quiet=True)
    assert refusal.value.problems == (
        f"{preds / names[2]}.tif: expected a prediction, found no such file",
        f"{other / names[0]}.tif: expected a prediction, found no such file",
    )


def test_a_file_that_was_cut_off_is_named_with_what_to_do(
    data: Path, preds: Path, tmp_path: Path
) -> None:
    name = find_scenes(data, "test")[0].name
    path = preds / f"{name}.tif"
    path.write_bytes(path.read_bytes()[:-2000])
    again = "write these files again, or choose other scenes with --scene"
    with pytest.raises(PredictionError, match=rf"; {again}\n.*{name}\.tif: cannot be read"):
        gallery(data, [preds], tmp_path / "g.png", names=[name], quiet=True)
    with pytest.raises(PredictionError, match="write these files again, or choose scenes without"):
        gallery(data, [preds], tmp_path / "g.png", select="best", quiet=True)


def test_a_prediction_that_turns_out_broken_is_named_where_scenes_are_ranked(
    data: Path, preds: Path, tmp_path: Path
) -> None:
    name = find_scenes(data, "test")[2].name
    (preds / f"{name}.tif").unlink()
    np.save(preds / f"{name}.npy", np.full((4, 300, 300), np.nan, np.float32))
    with pytest.raises(PredictionError, match="by whose scores scenes are chosen") as refusal:
        gallery(data, [preds], tmp_path / "g.png", select="best", count=1, quiet=True)
    assert len(refusal.value.problems) == 1
    assert f"{name}.npy: expected numbers" in refusal.value.problems[0]


def test_predictions_of_another_dataset_are_refused(
    data: Path, preds: Path, folders: list[Path], tmp_path: Path
) -> None:
    write_card(preds, Card(split="test", fingerprint="f" * 64))
    with pytest.raises(DatasetError, match=r"expected the dataset of .*; give as DATA") as refusal:
        gallery(data, [folders[0], preds], tmp_path / "g.png", quiet=True)
    assert "--data" not in str(refusal.value)
    with pytest.raises(
        DatasetError, match="expected the folder of a dataset, found no such folder"
    ) as refusal:
        gallery(tmp_path / "nowhere", [preds], tmp_path / "g.png", quiet=True)
    assert "--data" not in str(refusal.value)
    write_card(preds, Card(split="train"))
    with pytest.raises(PredictionError, match="expected predictions of the split 'test'"):
        gallery(data, [folders[0], preds], tmp_path / "g.png", quiet=True)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("g.jpg", r"--out: expected a file that ends in \.png, \.pdf, \.svg, got .*g\.jpg"),
        ("g", r"--out: expected a file that ends in \.png, \.pdf"),
        ("folder.png", r"--out: expected a file, .*folder\.png is a folder; give a file in it"),
        ("file/g.png", r"cannot write .*file/g\.png, .*file is not a folder; choose another file"),
        ("file/deep/g.png", r"cannot write .*g\.png, .*file is not a folder; choose another file"),
        ("locked/new/g.png", r"new/g\.png, .*locked is not writable; choose a file elsew"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str, message: str
) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "locked").mkdir()
    (tmp_path / "file").touch()
    before, access = sorted(tmp_path.rglob("*")), os.access

    def access_of_a_user(path: Path, mode: int) -> bool:  # root may write everywhere
        return access(path, mode) and not (path == tmp_path / "locked" and mode & os.W_OK)

    monkeypatch.setattr(os, "access", access_of_a_user)
    with pytest.raises(UsageError, match=message):
        gallery(tmp_path, [tmp_path / "nowhere"], tmp_path / out)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("folders", "options", "message"),
    [
        (9, {}, "expected 1 to 8 folders of predictions, got 9"),
        (1, {"count": 11}, "expected 1 to 10 scenes, got 11"),
        (1, {"names": list("abcdefghijk")}, "expected 1 to 10 scenes, got 11"),
        (1, {"names": ["a"], "count": 5}, "--scenes: expected no number together with --scene"),
        (1, {"names": ["a"], "select": "best"}, "--select: expected no choice together with"),
        (
            1,
            {"rank_by": "mae"},
            "--rank-by: expected --select best, median, worst with it, got no --select",
        ),
        (1, {"rank_by": "mae", "select": "classes"}, "got --select classes"),
        (
            1,
            {"panels": ["segmenter"]},
            "--panels segmenter: expected a segmenter; give its file with --segmenter",
        ),
        (
            1,
            {"panels": ["haze"]},
            "--panels: expected infrared, error, angle, segmenter, mask, got haze",
        ),
    ],
)
def test_invalid_requests_are_refused(
    tmp_path: Path, folders: int, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        gallery(tmp_path, [tmp_path] * folders, tmp_path / "g.png", **options)


def test_folders_of_one_name_are_distinguished_by_their_parents() -> None:
    assert method_titles([Path("a/net"), Path("b/other")]) == ["net", "other"]
    assert method_titles([Path("a/net"), Path("b/net")]) == ["a/net", "b/net"]
    assert method_titles([Path("a/net"), Path("a/net")]) == ["net", "net"]


def test_a_folder_named_as_a_run_of_the_paper_s_has_the_paper_s_name() -> None:
    assert method_titles([Path(f"a/{name}") for name in PAPER_METHODS]) == [*PAPER_METHODS.values()]


# --- The command ----------------------------------------------------------------------------


def test_the_command_draws_and_says_where(
    cli: Cli, data: Path, folders: list[Path], tmp_path: Path
) -> None:
    name = find_scenes(data, "test")[3].name
    rows = ("--panels", "angle", "--panels", "infrared")
    done = cli("gallery", data, folders[0], "--scene", name, *rows, "--out", "deep/er/fig4.png")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "1 scene in deep/er/fig4.png\n"
    assert (tmp_path / "deep/er/fig4.png").stat().st_size > 50_000
    options = ("--select", "worst", "--rank-by", "sam", "--panels", "none", "--scenes", 2)
    done = cli("gallery", data, *folders, *options, "--out", "worst.svg")
    assert done.stdout == "2 scenes in worst.svg\n", done.stderr
    text = texts_of(tmp_path / "worst.svg")
    assert "with the highest SAM of mean-fill (protocol full), the highest first" in text
    assert "Error" not in text


def test_a_single_scene_is_written_in_the_singular(
    data: Path, folders: list[Path], tmp_path: Path
) -> None:
    out, covers = tmp_path / "g.svg", {f.name: cloud_cover(f) for f in find_scenes(data, "test")}
    (name,) = gallery(data, folders[:1], out, count=1, panels=[], quiet=True)
    assert abs(covers[name] - 0.5) == min(abs(cover - 0.5) for cover in covers.values())
    assert "(split test), that with the cloud cover nearest to 50 %." in texts_of(out)
    gallery(data, folders[:1], out, count=1, select="classes", panels=[], quiet=True)
    assert "chosen for its land cover, of a cloud cover near the median." in texts_of(out)
    gallery(data, folders[:1], out, count=2, select="classes", panels=[], quiet=True)
    assert "evenly over the classes of land cover, of a cloud cover near the median." in texts_of(
        out
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"panels": [Panels.none], "segmenter": Path("a.safe")},
            "--panels none: .* which adds panels, got a.s",
        ),
        ({"device": "cpu"}, "--device: applies to segmenters; give one with --segmenter, got cpu"),
        (
            {"segmenter": Path("no.safe"), "out": Path("g.gif")},
            "--out: expected a file that ends in",
        ),
        ({"scene": ["a"], "scenes": 2}, "--scenes: expected no number together with --scene"),
        ({"panels": [Panels.segmenter]}, "give its file with --segmenter"),
    ],
)
def test_options_that_exclude_each_other_are_refused_before_anything_is_read(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        command(tmp_path, [tmp_path], **{"out": tmp_path / "g.png"} | options)


def test_mistakes_end_in_one_clear_message(
    cli: Cli, data: Path, preds: Path, tmp_path: Path
) -> None:
    name = min(path.stem for path in preds.glob("*.tif"))
    (preds / f"{name}.tif").unlink()
    for arguments, code, expected in (
        ([preds, "--scene", name], 1, f"{name}.tif: expected a prediction, found no such file"),
        (
            [preds, "--panels", "none", "--panels", "error"],
            2,
            "--panels none: expected no other panels",
        ),
        ([preds, "--segmenter", "no.safetensors"], 1, "no.safetensors"),
        (["nowhere"], 1, "no such folder"),
    ):
        done = cli("gallery", data, *arguments)
        assert done.returncode == code, done.stderr
        assert expected in " ".join(done.stderr.split())
        assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*.png"))
