"""Fig. 4 drawn from small images: what its panels hold, which scenes it shows, what it refuses."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.testing import assert_allclose, assert_array_equal

from conftest import Cli
from planetcr_bench.dataset import SceneFiles, find_scenes, read_product, read_scene
from planetcr_bench.errors import DatasetError, PredictionError, UsageError
from planetcr_bench.gallery import (
    ERROR_SCALES,
    FORMATS,
    INFRARED,
    MOST_FOLDERS,
    TRUE_COLOUR,
    VV_DB,
    Row,
    _predictions_of,
    _titles,
    choose_scenes,
    error_map,
    gallery,
    gallery_figure,
    named_scenes,
    read_row,
    save_gallery,
    stretch_limits,
    stretched,
)
from planetcr_bench.predict import predict
from planetcr_bench.predictions import Card, write_card
from planetcr_bench.protocols import PROTOCOLS
from planetcr_bench.scene import upsample
from planetcr_bench.vocabulary import COVER_BINS, SEASONS, cover_bin

OFFICIAL, FULL = PROTOCOLS["official"], PROTOCOLS["full"]


def make_row(scene: str = "summer_1_p_1", *, folders: int = 2, seed: int = 0) -> Row:
    rng = np.random.default_rng(seed)
    clear = rng.uniform(0.02, 0.2, (4, 300, 300)).astype(np.float32)
    return Row(
        scene=scene,
        cloud_cover=0.374,
        cloudy=clear + np.float32(0.3),
        vv=rng.uniform(-25, 0, (300, 300)).astype(np.float32),
        clear=clear,
        predictions=[clear + np.float32(0.005 * (1 + number)) for number in range(folders)],
        scores=[(0.3, 10.4), *((0.01, 40.0) for _ in range(folders))],
    )


def panels(figure: Figure) -> list[AxesImage]:
    return [image for axes in figure.axes for image in axes.images]


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


@pytest.fixture(scope="module")
def drawn() -> tuple[list[Row], Figure]:
    """Two scenes, two methods."""
    rows = [make_row(), make_row("winter_12_p_345", seed=1)]
    return rows, gallery_figure(rows, ["align_cr", "_a$b$"], FULL, note="Dataset: fake.")


@pytest.fixture(scope="module")
def folders(data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Predictions of two methods for the six test scenes; read only."""
    root = tmp_path_factory.mktemp("folders")
    for method in ("mean-fill", "copy-cloudy"):
        predict(method, data, root / method, quiet=True)
    return [root / "mean-fill", root / "copy-cloudy"]


# --- What the panels hold -------------------------------------------------------------------


def test_a_row_is_cloudy_sar_predictions_clear_errors(drawn: tuple[list[Row], Figure]) -> None:
    rows, figure = drawn
    images = panels(figure)
    assert len(images) == 2 * 7
    for row, part in zip(rows, (images[:7], images[7:]), strict=True):
        limits = stretch_limits(row.clear, TRUE_COLOUR)
        optical = [row.cloudy, *row.predictions, row.clear]
        for panel, image in zip([part[0], *part[2:5]], optical, strict=True):
            assert_array_equal(panel.get_array(), stretched(image, limits, TRUE_COLOUR))
        assert_array_equal(part[1].get_array(), row.vv)
        for panel, image in zip(part[5:], row.predictions, strict=True):
            expected = np.abs(image.astype(float) - row.clear).mean(axis=0)
            assert_allclose(panel.get_array(), expected, rtol=1e-12)


def test_the_stretch_of_a_row_comes_from_its_clear_image_alone() -> None:
    row = make_row()
    black, white = stretch_limits(row.clear, TRUE_COLOUR)
    low, high = np.percentile(row.clear[:3], [2, 98])
    assert_allclose(black, low)
    assert_allclose(white - high, high - low)
    assert len(set(black)) == len(set(white)) == 1  # one range for all three keeps the hue
    colours = stretched(row.clear, (black, white), TRUE_COLOUR)
    assert colours.shape == (300, 300, 3)
    assert ((colours == 0).mean(), (colours == 1).mean()) == (pytest.approx(0.02, abs=0.001), 0)
    assert_array_equal(np.argsort(colours[0, 0]), np.argsort(row.clear[[2, 1, 0], 0, 0]))


def test_infrared_colours_are_nir_red_green_each_with_its_own_range() -> None:
    clear = make_row().clear * np.array([1, 1, 1, 4], np.float32)[:, None, None]
    limits = stretch_limits(clear, INFRARED)
    assert limits[1][0] > 3 * limits[1][1]
    colours = stretched(clear, limits, INFRARED)
    for shade, band in zip(colours.transpose(2, 0, 1), (3, 2, 1), strict=True):
        assert np.corrcoef(shade.ravel(), clear[band].ravel())[0, 1] > 0.97
    assert "infrared colour (near-infrared, red, green)" in " ".join(
        words(gallery_figure([make_row()], ["a", "b"], FULL, infrared=True))[-1].split()
    )


def test_a_flat_clear_image_can_be_drawn() -> None:
    flat = np.full((4, 300, 300), 0.1, np.float32)
    limits = stretch_limits(flat, TRUE_COLOUR)
    assert np.isfinite(stretched(flat, limits, TRUE_COLOUR)).all()


def test_sar_and_errors_have_one_scale_in_the_whole_figure(
    drawn: tuple[list[Row], Figure],
) -> None:
    images = panels(drawn[1])
    assert {image.get_clim() for image in (images[1], images[8])} == {VV_DB}
    assert {image.get_clim() for image in images[5:7] + images[12:]} == {(0, ERROR_SCALES[0])}
    bar = drawn[1].axes[-1]
    assert bar.get_xlabel() == "error [reflectance]"
    assert [label.get_text() for label in bar.get_xticklabels()] == ["0", "0.01", "0.02"]


def test_panels_are_not_resampled(drawn: tuple[list[Row], Figure]) -> None:
    """The pixels of the PNG are those of the images, one for one."""
    rows, figure = drawn
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=300)
    page = mpl.image.imread(io.BytesIO(stream.getvalue()))
    box = figure.axes[4].get_position()
    left, top = round(box.x0 * page.shape[1]), round((1 - box.y1) * page.shape[0])
    clear = stretched(rows[0].clear, stretch_limits(rows[0].clear, TRUE_COLOUR), TRUE_COLOUR)
    assert_allclose(page[top : top + 300, left : left + 300, :3], clear, atol=1.01 / 255)


def test_texts_name_columns_and_rows_and_give_scores(drawn: tuple[list[Row], Figure]) -> None:
    texts = words(drawn[1])
    titles = ["Cloudy", "SAR (VV)", "align_cr", "_a$b$", "Clear", "Error of\nalign_cr"]
    assert texts[:6] == titles
    assert "winter_12_p_345\ncloud 37 %" in texts
    assert texts.count("0.0100 | 40.00 dB") == 4
    assert texts.count("0.3000 | 10.40 dB") == 2
    caption = " ".join(texts[-1].split())
    assert "taken from its clear image: from the 2nd percentile of its three bands" in caption
    assert "−22 dB (black) to −2 dB (white)" in caption
    assert "the whole patch (protocol full)" in caption
    assert caption.endswith("Dataset: fake.")


@pytest.mark.parametrize("folders", [1, 2, MOST_FOLDERS])
def test_nothing_overlaps_or_leaves_the_page(folders: int) -> None:
    rows = [make_row("summer_1234_p_1234", folders=folders), make_row(folders=folders)]
    names = [f"a_rather_long_name_of_a_method_{number}" for number in range(folders)]
    figure = gallery_figure(rows, names, OFFICIAL, note="Dataset: planet-cr, split test.")
    boxes = [text.get_window_extent() for text in figure.texts]
    boxes += [axes.get_tightbbox() for axes in figure.axes]
    for index, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[index + 1 :])
        assert min(box.x0, box.y0) >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1


# --- Which scenes ---------------------------------------------------------------------------


def make_covers(count: int, seed: int = 0) -> dict[SceneFiles, float]:
    """Scenes of four seasons, ten patches to an AOI, of any cloud cover."""
    covers = np.random.default_rng(seed).random(count)
    return {
        SceneFiles(SEASONS[index // 10 % 4], index // 10, index % 10, "d/test"): float(cover)
        for index, cover in enumerate(covers)
    }


def test_five_scenes_are_one_per_bin_near_its_middle_and_spread() -> None:
    covers = make_covers(400)
    chosen = choose_scenes(covers, 5)
    assert [cover_bin(covers[files]) for files in chosen] == list(COVER_BINS)
    assert_allclose([covers[files] for files in chosen], [0.1, 0.3, 0.5, 0.7, 0.9], atol=0.05)
    assert len({files.aoi for files in chosen}) == 5
    assert {files.season for files in chosen} == set(SEASONS)


@pytest.mark.parametrize("count", [1, 5, 12])
def test_the_choice_depends_on_the_scenes_alone_not_on_their_order(count: int) -> None:
    covers = make_covers(60)
    backwards = dict(reversed(covers.items()))
    chosen = choose_scenes(covers, count)
    assert choose_scenes(backwards, count) == chosen
    assert len(set(chosen)) == count


def test_few_scenes_are_all_drawn_and_empty_bins_take_the_nearest() -> None:
    covers = make_covers(3)
    assert set(choose_scenes(covers, 5)) == set(covers)
    low = {files: cover / 5 for files, cover in make_covers(40).items()}
    chosen = choose_scenes(low, 5)
    assert len(chosen) == 5
    assert max(low.values()) == low[chosen[-1]]


def test_scenes_are_found_by_name_in_the_order_given() -> None:
    scenes = list(make_covers(40))
    assert named_scenes(scenes, ["fall_2_p_1", "spring_0_p_3", "fall_2_p_1"]) == [
        scenes[21],
        scenes[3],
    ]
    with pytest.raises(DatasetError, match=r"got 'fall_2_p_11'; did you mean fall_2_p_1,"):
        named_scenes(scenes, ["fall_2_p_11"])
    with pytest.raises(DatasetError, match="got 'zzz', such as fall_2_p_0"):
        named_scenes(scenes, ["zzz"])


# --- From folders to a file -----------------------------------------------------------------


def test_scores_are_those_of_evaluate(
    data: Path, folders: list[Path], tmp_path: Path, scores: Callable[..., dict]
) -> None:
    """One scene alone in a list: its scores below the panels are the run's."""
    (name,) = gallery(folders, tmp_path / "one.svg", data=data, count=1, quiet=True)
    scene = next(files for files in find_scenes(data, "test") if files.name == name)
    products = ("planet_cloudfree", "planet_cloudy", "S1", "landcover", "cloudmask")
    row = ",".join(str(scene.path(product).relative_to(data)) for product in products)
    (tmp_path / "list.csv").write_text(row + "\n")
    only = tmp_path / "only"
    only.mkdir()
    shutil.copy(folders[0] / f"{name}.tif", only)
    result = scores(only, "--data", data, "--list", tmp_path / "list.csv")
    overall = result["protocols"]["full"]["overall"]
    svg = (tmp_path / "one.svg").read_text(encoding="utf-8")
    assert f"{overall['mae']:.4f} | {overall['psnr']:.2f} dB" in svg


def test_the_error_panel_s_mean_is_the_mae_below_the_image(data: Path, folders: list[Path]) -> None:
    scene = find_scenes(data, "test")[0]
    found = [_predictions_of(folder, [scene]) for folder in folders]
    row = read_row(scene, found, FULL, 300)
    assert_allclose(row.scores[0], row.scores[2], atol=2e-3)  # copy-cloudy, rounded to uint16
    for image, (absolute, decibels) in zip(row.predictions, row.scores[1:], strict=True):
        error = image.astype(np.float64) - row.clear
        assert_allclose(error_map(image, row.clear).mean(), absolute, rtol=1e-9)
        assert_allclose(-10 * np.log10((error**2).mean()), decibels, rtol=1e-9)
    decibels = read_product(scene, "S1").pixels[0]
    assert_allclose(row.vv, upsample(decibels.clip(-25, 0), (300, 300)), atol=1e-5)
    assert row.cloud_cover == read_scene(scene).cloud_cover


def test_a_centre_crop_cuts_all_panels(data: Path, folders: list[Path], tmp_path: Path) -> None:
    scene = find_scenes(data, "test")[1]
    cut = read_scene(scene).clear[:, 70:230, 70:230]
    np.save(tmp_path / f"{scene.name}.npy", cut)
    found = [_predictions_of(folder, [scene]) for folder in (tmp_path, folders[0])]
    row = read_row(scene, found, OFFICIAL, 160)
    assert_array_equal(row.clear, cut)
    images = [row.cloudy, row.clear, *row.predictions]
    assert {image.shape for image in images} == {(4, 160, 160)}
    assert row.vv.shape == (160, 160)
    assert row.scores[1] == (0, 100)
    figure = gallery_figure([row], ["perfect", "mean-fill"], OFFICIAL)
    assert "the centre 160 × 160 pixels (protocol official)" in " ".join(words(figure)[-1].split())
    gallery([tmp_path], tmp_path / "crop.png", data=data, names=[scene.name], quiet=True)


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_same_input_gives_the_same_bytes(
    data: Path, folders: list[Path], tmp_path: Path, suffix: str
) -> None:
    first, second = tmp_path / f"a{suffix}", tmp_path / "new" / f"b{suffix}"
    gallery(folders, first, data=data, count=2, quiet=True)
    with mpl.rc_context({"font.size": 20, "image.cmap": "jet", "svg.fonttype": "path"}):
        before = dict(mpl.rcParams)
        gallery(folders, second, data=data, count=2, quiet=True)
        assert dict(mpl.rcParams) == before
    assert first.read_bytes() == second.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {first.name, "new"}


def test_a_file_that_cannot_be_written_leaves_the_old_one(
    drawn: tuple[list[Row], Figure], tmp_path: Path
) -> None:
    (tmp_path / "g.png").write_text("old")
    (tmp_path / ".g.png.partial").mkdir()  # in the way, as a full disk would be
    with pytest.raises(OSError, match="partial"):
        save_gallery(drawn[1], tmp_path / "g.png")
    assert (tmp_path / "g.png").read_text() == "old"


# --- Refusals -------------------------------------------------------------------------------


def test_a_missing_prediction_is_named_and_others_do_not_matter(
    data: Path, preds: Path, folders: list[Path], tmp_path: Path
) -> None:
    first, second, *_ = (files.name for files in find_scenes(data, "test"))
    (preds / f"{first}.tif").unlink()
    gallery([preds], tmp_path / "g.png", data=data, names=[second], quiet=True)
    with pytest.raises(PredictionError) as refusal:
        gallery([*folders, preds], tmp_path / "h.png", data=data, names=[second, first], quiet=True)
    assert refusal.value.problems == (
        f"{preds / first}.tif: expected a prediction, found no such file",
    )
    assert not (tmp_path / "h.png").exists()


def test_predictions_of_another_dataset_are_refused(
    data: Path, preds: Path, folders: list[Path], tmp_path: Path
) -> None:
    write_card(preds, Card(split="test", fingerprint="f" * 64))
    with pytest.raises(DatasetError, match="expected the dataset of"):
        gallery([folders[0], preds], tmp_path / "g.png", data=data, quiet=True)
    write_card(preds, Card(split="train"))
    with pytest.raises(PredictionError, match="expected predictions of the split 'test'"):
        gallery([folders[0], preds], tmp_path / "g.png", data=data, quiet=True)


@pytest.mark.parametrize("out", ["g.jpg", "g", "folder.png"])
def test_an_unknown_format_is_refused_before_anything_is_read(tmp_path: Path, out: str) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UsageError, match=r"--out: expected a file that ends in \.png, \.pdf"):
        gallery([tmp_path / "nowhere"], tmp_path / out)


def test_too_many_folders_or_scenes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected 1 to 6 folders of predictions, got 7"):
        gallery([tmp_path] * 7, tmp_path / "g.png")
    with pytest.raises(UsageError, match="expected 1 to 20 scenes, got 21"):
        gallery([tmp_path], tmp_path / "g.png", count=21)


def test_folders_of_one_name_are_told_apart_by_their_parents() -> None:
    assert _titles([Path("a/net"), Path("b/other")]) == ["net", "other"]
    assert _titles([Path("a/net"), Path("b/net")]) == ["a/net", "b/net"]
    assert _titles([Path("a/net"), Path("a/net")]) == ["net", "net"]


# --- The command ----------------------------------------------------------------------------


def test_the_command_draws_and_says_where(
    cli: Cli, data: Path, folders: list[Path], tmp_path: Path
) -> None:
    done = cli("gallery", *folders, "--data", data, "--out", "deep/er/fig4.png")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "5 scenes in deep/er/fig4.png\n"
    assert (tmp_path / "deep/er/fig4.png").stat().st_size > 50_000
    done = cli("gallery", folders[0], "--scene", find_scenes(data, "test")[3].name, "--infrared")
    assert done.stdout == "1 scene in gallery.png\n", done.stderr


def test_mistakes_end_in_one_clear_message(
    cli: Cli, data: Path, preds: Path, tmp_path: Path
) -> None:
    name = min(path.stem for path in preds.glob("*.tif"))
    (preds / f"{name}.tif").unlink()
    for arguments, code, expected in (
        ([preds, "--scene", name], 1, f"{name}.tif: expected a prediction, found no such file"),
        ([preds, "--scene", f"{name}0"], 1, f"did you mean {name}"),
        ([preds, "--out", "g.jpg"], 2, "expected a file that ends in .png, .pdf, .svg"),
        ([preds, "--scenes", 0], 2, "--scenes"),
        (["nowhere"], 1, "no such folder"),
    ):
        done = cli("gallery", *arguments, "--data", data)
        assert done.returncode == code, done.stderr
        assert expected in " ".join(done.stderr.split())
        assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*.png"))
