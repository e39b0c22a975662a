"""Tests of the gallery on other datasets than Planet-CR."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.testing import assert_array_equal

from described import S2, description, write_description, write_png, write_s2
from pages import caption, panels, texts_of, titles
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.masks import OtherMasks
from planetcr_bench.errors import UsageError
from planetcr_bench.gallery.figure import PageContent, PanelRow, ScenePanels, draw_page
from planetcr_bench.gallery.gallery import gallery, gallery_figure, input_columns
from planetcr_bench.gallery.panels import LONGEST_SIDE, Panel, sar_limits, small_enough
from planetcr_bench.gallery.scenes import DrawnScene
from planetcr_bench.gallery.selection import spread_scenes
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.predictions.predict import predict

FULL = PROTOCOLS["full"]

RGB = description(
    title="Pairs",
    bands=["red", "green", "blue"],
    scene="{n}",
    cluster=None,
    fields={},
    splits={"test": {}},
    optical={"clear": "clear/{n}.png", "cloudy": "cloudy/{n}.png", "scale": 255.0},
    sar=None,
)


def drawn(size: tuple[int, int] = (40, 48), *, described=RGB, dates: int = 1) -> DrawnScene:
    rng = np.random.default_rng(3)
    bands = len(described.bands)
    clear = rng.uniform(0.02, 0.2, (bands, *size)).astype(np.float32)
    return DrawnScene(
        scene="a",
        cloud_cover=np.nan,
        cloudy=clear + np.float32(0.3),
        sar_db=None,
        land_cover=None,
        clear=clear,
        predictions=[clear + np.float32(0.01)],
        scores=[(0.3, 10.4), (0.01, 40.0)],
        other_dates=[clear + np.float32(0.1 * date) for date in range(1, dates)],
        description=described,
    )


def boxes(figure: Figure) -> list[tuple[int, int]]:
    """Height and width of each panel in pixels of the page."""
    page = figure.get_size_inches() * figure.dpi
    found = [axes.get_position() for axes in figure.axes if axes.images]
    return [(round(box.height * page[1]), round(box.width * page[0])) for box in found]


def test_scenes_of_sentinel_have_sar_and_no_land_cover(tmp_path: Path) -> None:
    write_s2(tmp_path / "data")
    toml = write_description(tmp_path / "s2.toml", S2)
    predict("copy-cloudy", tmp_path / "data", tmp_path / "copy", dataset=toml, quiet=True)
    out = tmp_path / "g.svg"
    names = gallery(tmp_path / "data", [tmp_path / "copy"], out, described=toml, quiet=True)
    text = texts_of(out)
    assert names == ["ROIs2017_fall_7_p1"]
    for part in ("of thirteen (split test)", "VV −22 to −2 dB", "over all 13 bands", "SAR VH"):
        assert part in text
    for word in ("cloud cover", "Land cover", "WorldCover", "nan"):
        assert word not in text
    (tmp_path / "masks").mkdir()
    np.save(tmp_path / f"masks/{names[0]}.npy", np.eye(40, 48, dtype=bool))
    options = {"select": "worst", "masks": OtherMasks(tmp_path / "masks"), "panels": ["mask"]}
    gallery(tmp_path / "data", [tmp_path / "copy"], out, described=toml, quiet=True, **options)
    text = texts_of(out)
    for part in ("Cloud masks: folder masks.", "Mask: cloud is white", "cloud cover 2 %"):
        assert part in text


def test_a_folder_of_pairs_of_several_sizes_is_drawn(tmp_path: Path) -> None:
    for number, size in enumerate(((40, 48), (64, 32))):
        for name in ("clear", "cloudy"):
            write_png(tmp_path / "data" / name / f"{number}.png", number, size=size)
    predict("copy-cloudy", tmp_path / "data", tmp_path / "copy", quiet=True)
    gallery(tmp_path / "data", [tmp_path / "copy"], tmp_path / "g.svg", quiet=True)
    assert "Shown are all 2 scenes of pairs of images (split test)" in texts_of(tmp_path / "g.svg")


def test_panels_keep_the_shape_of_their_scene_in_whole_pixels() -> None:
    figure = gallery_figure([drawn((40, 48)), drawn((64, 32))], ["a"], FULL, panels=["error"])
    assert boxes(figure)[:5] == [(40 * 6, 48 * 6)] * 5
    assert boxes(figure)[5:] == [(64 * 5, 32 * 5)] * 5


def test_large_images_are_drawn_smaller_and_the_caption_says_so() -> None:
    panel = Panel(np.arange(4.0)[:, None].repeat(2 * LONGEST_SIDE, axis=1))
    assert_array_equal(small_enough(panel).pixels[:, 0], [0.5, 2.5])
    assert small_enough(panel).pixels.shape == (2, LONGEST_SIDE)
    scene = drawn((16, LONGEST_SIDE + 1))
    assert "drawn smaller, each pixel the mean" in caption(gallery_figure([scene], ["a"], FULL))


def test_all_dates_are_drawn_and_the_first_is_scored() -> None:
    scenes = [drawn(dates=2), drawn(dates=3)]
    figure = gallery_figure(scenes, ["a"], FULL, panels=[])
    assert titles(figure)[:4] == ["Cloudy 1", "Cloudy 2", "a", "Clear"]
    assert len(panels(figure)) == 4 + 5
    assert "of several cloudy images for the first" in caption(figure)


def test_other_bands_than_red_green_and_blue_are_named() -> None:
    liss = RGB.model_copy(
        update={"bands": ["green", "red", "nir"], "picture": ["nir", "red", "green"]}
    )
    text = caption(gallery_figure([drawn(described=liss)], ["a"], FULL))
    assert "Optical images show nir, red and green as red, green and blue" in text
    grey = RGB.model_copy(update={"bands": ["grey"]})
    text = caption(gallery_figure([drawn(described=grey)], ["a"], FULL, panels=["error"]))
    assert "Optical images are grey" in text
    assert "Error: |image − clear|. " in text


def test_columns_are_those_of_the_dataset() -> None:
    assert input_columns(RGB, 1) == ["Cloudy"]
    assert input_columns(description(), 2) == ["Cloudy 1", "Cloudy 2", "SAR VV", "SAR VH"]
    hh = description(sar={"path": S2["sar"]["path"], "bands": ["hh"], "range": [[-20, 5]]}).sar
    assert sar_limits(hh) == {"hh": (-20, 5)}


def test_a_bar_has_room_where_a_dataset_has_only_images() -> None:
    panel = Panel(np.zeros((50, 50)), limits=(0, 1))
    rows = [[panel] * 10, [*[panel] * 9, None]]
    content = PageContent("abcdefghij", [PanelRow(), PanelRow("Error", "Error")],
                          [ScenePanels("", rows)])  # fmt: skip
    figure = draw_page(content)
    (bar,) = (axes for axes in figure.axes if not axes.images)
    others = [axes.get_position() for axes in figure.axes if axes.images]
    assert not any(bar.get_position().overlaps(box) for box in others)


def test_scenes_of_unknown_cloud_cover_are_spread_over_clusters(tmp_path: Path) -> None:
    for roi, patch in ((7, 1), (7, 2), (8, 1)):
        write_s2(tmp_path, roi, patch, size=(8, 8))
    toml = write_description(tmp_path / "s2.toml", S2)
    covers = dict.fromkeys(find_scenes(tmp_path, "test", dataset=toml), float("nan"))
    assert len({files.aoi for files in spread_scenes(covers, 2)}) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"select": "classes"}, "--select classes: expected land cover, pairs of images has none"),
        (
            {"panels": ["mask"]},
            "--panels mask: expected cloud masks, pairs of images has none; --masks",
        ),
        ({"panels": ["infrared"]}, "expected the bands nir, red, green, pairs of images has red"),
    ],
)
def test_what_a_dataset_does_not_have_is_refused(
    tmp_path: Path, options: dict[str, object], message: str
) -> None:
    for name in ("clear", "cloudy"):
        write_png(tmp_path / "data" / name / "a.png")
    (tmp_path / "preds").mkdir()
    with pytest.raises(UsageError, match=message):
        gallery(tmp_path / "data", [tmp_path / "preds"], tmp_path / "g.png", quiet=True, **options)
