"""Test what segmenters see, how it is counted, and that no image is seen twice."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from typer.testing import CliRunner

from fake_segmenters import ShadeSegmenter
from other_datasets import made_scene
from planetcr_bench.api import evaluate
from planetcr_bench.cli.app import app
from planetcr_bench.constants import LAND_COVER, LAND_COVER_NAMES, REGIONS
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.reading import read_scene
from planetcr_bench.errors import LedgerError, PredictionError, UsageError
from planetcr_bench.evaluation.loading import Job, ScenePixels, read_pixels
from planetcr_bench.evaluation.segmenters import SegmenterPool, confusion_counts
from planetcr_bench.metrics.protocols import PROTOCOLS
from planetcr_bench.metrics.sums import GROUPS, SEGMENTER_WIDTH
from planetcr_bench.predictions.card import read_card
from planetcr_bench.predictions.predict import predict
from planetcr_bench.results.ledger import read_ledger
from planetcr_bench.results.schema import segmenter_counts
from planetcr_bench.utils import files as storage
from scenes import write_dataset

BOTH = list(PROTOCOLS.values())

pytestmark = pytest.mark.usefixtures("ledgers_alone")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(storage.platformdirs, "user_cache_path", lambda name: tmp_path / name)
    return tmp_path / "planetcr-bench" / "segmented"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three test scenes; read only."""
    return write_dataset(tmp_path_factory.mktemp("data"), test=3)


@pytest.fixture(scope="module")
def predicted(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Predictions of mean-fill for them; read only."""
    folder = tmp_path_factory.mktemp("predicted") / "preds"
    predict("mean-fill", data, folder, quiet=True)
    return folder


@pytest.fixture(scope="module")
def segmented(predicted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of these predictions with a segmenter; read only."""
    with pytest.MonkeyPatch.context() as patch:
        cache = tmp_path_factory.mktemp("cache")
        patch.setattr(storage.platformdirs, "user_cache_path", lambda name: cache / name)
        return run(predicted, tmp_path_factory.mktemp("r"), segmenters=[ShadeSegmenter()])[1]


@pytest.fixture
def scenes(data: Path, preds: Path) -> list[ScenePixels]:
    card = read_card(preds)
    return [
        read_pixels(Job(files, preds / f"{files.name}.tif"), card)
        for files in find_scenes(data, "test")
    ]


def run(preds: Path, results: Path, **options):
    return evaluate(preds, results, quiet=True, **{"workers": 0, **options})


def refused(*arguments: object) -> tuple[int, str]:
    """Exit code and message of a command in this process."""
    done = CliRunner().invoke(app, [str(word) for word in arguments])
    assert not isinstance(done.exception, Exception), done.exception
    return done.exit_code, done.stderr


def window(image: np.ndarray, protocol: str) -> np.ndarray:
    return image[..., 70:230, 70:230] if protocol == "official" else image


# --- Counts ---------------------------------------------------------------------------------


def test_pixels_are_counted_by_group_and_by_the_classes_of_three_images() -> None:
    rng = np.random.default_rng(0)
    group = rng.integers(0, GROUPS, (40, 40)).astype(np.uint8)
    clear, cloudy, seen = rng.integers(0, 6, (3, 40, 40)).astype(np.uint8)
    expected = np.zeros((GROUPS, 2, 6, 6), np.int64)
    for y in range(40):
        for x in range(40):
            expected[group[y, x], 0, clear[y, x], seen[y, x]] += 1
            expected[group[y, x], 1, clear[y, x], cloudy[y, x]] += 1
    counted = confusion_counts(group, np.stack([clear, cloudy]), seen)
    assert_array_equal(counted, expected.reshape(GROUPS, SEGMENTER_WIDTH))


def test_the_ledger_holds_the_counts_of_each_segmenter_in_each_window(
    data: Path, preds: Path, tmp_path: Path
) -> None:
    segmenters = [ShadeSegmenter(20), ShadeSegmenter(7)]
    _, out, _ = run(preds, tmp_path / "results", segmenters=segmenters)
    ledger = read_ledger(out)
    assert ledger.segmenters == tuple(sorted(segmenter.key for segmenter in segmenters))
    assert dict(ledger.provenance["segmenters"]) == {
        segmenter.key: segmenter.facts for segmenter in segmenters
    }
    for files in find_scenes(data, "test"):
        scene = read_scene(files)
        stored = read_pixels(Job(files, preds / f"{files.name}.tif"), read_card(preds)).images[0]
        for protocol in ("official", "full"):
            rows = ledger.frame[
                (ledger.frame["scene"] == files.name) & (ledger.frame["protocol"] == protocol)
            ]
            cover = window(scene.land_cover, protocol)
            for segmenter in segmenters:
                maps = {
                    name: segmenter.classify(window(image, protocol)[None])[0]
                    for name, image in (
                        ("clear", scene.clear), ("cloudy", scene.cloudy), ("prediction", stored)
                    )
                }  # fmt: skip
                for name in ("cloudy", "prediction"):
                    pixels = segmenter_counts(rows, segmenter.key, name)
                    for truth, word in enumerate(LAND_COVER_NAMES):
                        mine = pixels[(rows["land_cover"] == word).to_numpy()].sum(axis=0)
                        there = cover == truth
                        theirs, _, _ = np.histogram2d(
                            maps["clear"][there], maps[name][there], bins=(range(7), range(7))
                        )
                        assert_array_equal(mine, theirs)


def test_columns_of_a_segmenter_are_named_by_clear_class_and_class(
    segmented: Path,
) -> None:
    segmenter = ShadeSegmenter()
    ledger = read_ledger(segmented)
    pixels = segmenter_counts(ledger.frame, segmenter.key, "prediction")
    water, urban = LAND_COVER.index("water"), LAND_COVER.index("urban")
    named = ledger.frame[f"segmenter_{segmenter.key}_prediction_water_urban"]
    assert_array_equal(named, pixels[:, water, urban])


def test_a_copy_of_the_input_is_classified_as_the_input(data: Path, tmp_path: Path) -> None:
    predict("copy-cloudy", data, tmp_path / "copies", quiet=True)
    segmenter = ShadeSegmenter()
    ledger, _, _ = run(tmp_path / "copies", tmp_path / "results", segmenters=[segmenter])
    assert_array_equal(
        segmenter_counts(ledger.frame, segmenter.key, "prediction"),
        segmenter_counts(ledger.frame, segmenter.key, "cloudy"),
    )


def test_scores_are_those_without_a_segmenter(segmented: Path, preds: Path, tmp_path: Path) -> None:
    plain = read_ledger(run(preds, tmp_path / "a")[1])
    frame = read_ledger(segmented).frame
    pd.testing.assert_frame_equal(frame[list(plain.frame)], plain.frame)


def test_a_centre_crop_is_segmented_as_the_centre_of_a_whole(
    data: Path, preds: Path, tmp_path: Path
) -> None:
    segmenter = ShadeSegmenter()
    whole, _, _ = run(preds, tmp_path / "results", segmenters=[segmenter])
    crops = tmp_path / "crops"
    crops.mkdir()
    for files in find_scenes(data, "test"):
        stored = read_pixels(Job(files, preds / f"{files.name}.tif"), read_card(preds)).images[0]
        cut = np.rint(stored[:, 70:230, 70:230] * 10_000).astype(np.uint16)
        np.save(crops / f"{files.name}.npy", cut)
    cropped, _, _ = run(crops, tmp_path / "results", data=data, segmenters=[segmenter])
    official = whole.frame[whole.frame["protocol"] == "official"].reset_index(drop=True)
    for image in ("prediction", "cloudy"):
        assert_array_equal(
            segmenter_counts(official, segmenter.key, image),
            segmenter_counts(cropped.frame, segmenter.key, image),
        )


def test_workers_and_batch_size_change_nothing(preds: Path, tmp_path: Path) -> None:
    segmenters = [ShadeSegmenter()]
    first, _, _ = run(preds, tmp_path / "a", workers=0, segmenters=segmenters)
    second, _, _ = run(preds, tmp_path / "b", workers=2, batch=4, segmenters=segmenters)
    pd.testing.assert_frame_equal(first.frame, second.frame)


@pytest.mark.parametrize("allow_missing", [True, False])
def test_a_batch_without_a_usable_prediction_is_skipped(
    preds: Path, tmp_path: Path, allow_missing: bool
) -> None:
    first = min(preds.glob("*.tif"))
    first.write_bytes(first.read_bytes()[:-100_000])
    options = {"batch": 1, "segmenters": [ShadeSegmenter()], "allow_missing": allow_missing}
    if allow_missing:
        ledger, _, problems = run(preds, tmp_path / "results", **options)
        assert (len(problems), ledger.frame["scene"].nunique()) == (1, 2)
    else:
        with pytest.raises(PredictionError, match=first.name):
            run(preds, tmp_path / "results", **options)


def test_a_segmenter_twice_is_refused(preds: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="each segmenter once"):
        run(preds, tmp_path / "results", segmenters=[ShadeSegmenter(), ShadeSegmenter()])


def test_parts_of_another_segmenter_are_not_reused(preds: Path, tmp_path: Path) -> None:
    path = min(preds.glob("*.tif"))
    good = path.read_bytes()
    path.write_bytes(good[:-100_000])
    with pytest.raises(PredictionError):
        run(preds, tmp_path / "results", segmenters=[ShadeSegmenter(7)])
    path.write_bytes(good)
    resumed, _, _ = run(preds, tmp_path / "results", segmenters=[ShadeSegmenter(20)])
    fresh, _, _ = run(preds, tmp_path / "fresh", segmenters=[ShadeSegmenter(20)])
    pd.testing.assert_frame_equal(resumed.frame, fresh.frame)


@pytest.mark.parametrize("card", [{}, {"scores": {"miou": 0.5}}])
def test_parts_of_the_same_segmenter_are_reused_whatever_its_card_says(
    preds: Path, tmp_path: Path, card: dict
) -> None:
    path = max(preds.glob("*.tif"))
    good = path.read_bytes()
    path.write_bytes(good[:-100_000])
    with pytest.raises(PredictionError):
        run(preds, tmp_path / "results", segmenters=[ShadeSegmenter()])
    path.write_bytes(good)
    segmenter = ShadeSegmenter()
    segmenter.facts = {**segmenter.facts, **card}
    resumed, _, _ = run(preds, tmp_path / "results", segmenters=[segmenter])
    assert (
        sum(shape[0] for shape in segmenter.shown) == 2 * 3
    )  # one scene: three images, two windows
    fresh, _, _ = run(preds, tmp_path / "fresh", segmenters=[segmenter])
    pd.testing.assert_frame_equal(resumed.frame, fresh.frame)


# --- Memory ---------------------------------------------------------------------------------


def test_clear_and_cloudy_are_classified_once_per_dataset_and_segmenter(
    scenes: list[ScenePixels],
) -> None:
    segmenter = ShadeSegmenter()
    first = SegmenterPool([segmenter], "a" * 64, BOTH).count(scenes)
    assert sum(shape[0] for shape in segmenter.shown) == 3 * 3 * 2
    segmenter.shown.clear()
    again = SegmenterPool([segmenter], "a" * 64, BOTH).count(scenes)
    assert segmenter.shown == [(3, 4, 160, 160), (3, 4, 300, 300)]  # the predictions
    for counts, cached in zip(first, again, strict=True):
        for name in counts:
            assert_array_equal(counts[name], cached[name])
    for pool in (
        SegmenterPool([segmenter], "b" * 64, BOTH),
        SegmenterPool([ShadeSegmenter(7)], "a" * 64, BOTH),
        SegmenterPool([ShadeSegmenter(key=f"{segmenter.key}-bf16")], "a" * 64, BOTH),
    ):
        seen = pool.segmenters[0]
        seen.shown.clear()
        pool.count(scenes)
        assert sum(shape[0] for shape in seen.shown) == 3 * 3 * 2


@pytest.mark.parametrize("damage", ["cut", "empty", "recounted", "classes", "shape"])
def test_a_damaged_cache_is_computed_again(
    scenes: list[ScenePixels], cache: Path, damage: str
) -> None:
    segmenter = ShadeSegmenter()
    pool = SegmenterPool([segmenter], "a" * 64, BOTH)
    expected = pool.count(scenes)
    file = min(cache.rglob("*.npz"))
    if damage in ("cut", "empty"):
        file.write_bytes(file.read_bytes()[: 100 if damage == "cut" else 0])
    else:
        maps = {"official": np.zeros((2, 160, 160), np.uint8)}
        if damage != "other":
            side, kind = (300, 6) if damage == "classes" else (299, 0)
            maps["full"] = np.full((2, side, side), kind, np.uint8)
        np.savez(file, **maps)
    segmenter.shown.clear()
    for counts, recounted in zip(expected, pool.count(scenes), strict=True):
        for name in counts:
            assert_array_equal(counts[name], recounted[name])
    assert sum(shape[0] for shape in segmenter.shown) == 3 * 2 + 2 * 2


def test_a_cache_that_cannot_be_written_costs_only_time(
    scenes: list[ScenePixels], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr(storage.platformdirs, "user_cache_path", lambda _: tmp_path / "file")
    segmenter = ShadeSegmenter()
    for _ in range(2):
        segmenter.shown.clear()
        SegmenterPool([segmenter], "a" * 64, BOTH).count(scenes)
        assert sum(shape[0] for shape in segmenter.shown) == 3 * 3 * 2


# --- Ledgers that no segmenter can have written --------------------------------------------------


@pytest.mark.parametrize("mistake", ["lost", "two classes", "negative", "unnamed"])
def test_impossible_segmenter_counts_are_refused(
    segmented: Path, tmp_path: Path, mistake: str
) -> None:
    from planetcr_bench.results.ledger import write_ledger
    from planetcr_bench.results.schema import schema_of

    segmenter = ShadeSegmenter()
    ledger = read_ledger(segmented)
    frame, facts = ledger.frame.copy(), dict(ledger.provenance)
    prefix = f"segmenter_{segmenter.key}_cloudy_"
    columns = [name for name in frame if name.startswith(prefix)]
    row = frame[columns].sum(axis=1).idxmax()
    full = next(name for name in columns if frame.loc[row, name] > 0)
    if mistake == "lost":
        frame.loc[row, full] -= 1
    elif mistake == "two classes":
        before = full.removeprefix(prefix).split("_")[0]
        other = next(name for name in columns if not name.startswith(f"{prefix}{before}_"))
        frame.loc[row, [full, other]] += [-1, 1]
    elif mistake == "negative":
        sibling = full.rpartition("_")[0]
        other = next(name for name in columns if name.startswith(f"{sibling}_") and name != full)
        count = frame.loc[row, other] + 1
        frame.loc[row, [full, other]] += [count, -count]
    else:
        facts["segmenters"] = {}
    import pyarrow as pa

    table = pa.Table.from_pandas(frame, schema=schema_of([segmenter.key]), preserve_index=False)
    out = Path(shutil.copytree(segmented, tmp_path / "out"))
    write_ledger(out / "ledger.parquet", table, facts)
    expected = "unknown column" if mistake == "unnamed" else "one predicted class for every pixel"
    with pytest.raises(LedgerError, match=expected):
        read_ledger(out)


# --- Files of segmenters, through the command -----------------------------------------------------


@pytest.fixture(scope="module")
def segmenter_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    from planetcr_models.segmentation.deeplab import Segmenter, save_segmenter

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("segmenter") / "small.safetensors"
    save_segmenter(
        Segmenter(encoder="resnet18"), path, {"track": "made-up", "scores": {"miou": 0.5}}
    )
    return path


def test_the_command_takes_a_segmenter_from_a_file(
    cli, segmenter_file: Path, tmp_path: Path
) -> None:
    from planetcr_models.segmentation.deeplab import classify, load_segmenter
    from planetcr_models.weights.cards import read_card

    data = write_dataset(tmp_path / "data", test=2)
    predict("mean-fill", data, tmp_path / "preds", quiet=True)
    done = cli("evaluate", "preds", "--segmenter", segmenter_file)
    assert done.returncode == 0, done.stderr
    ledger = read_ledger(tmp_path / "results" / "fake" / "preds")
    digest = read_card(segmenter_file)["sha256"]
    assert ledger.segmenters == (digest[:8],)
    facts = ledger.provenance["segmenters"][digest[:8]]
    assert facts["name"] == f"resnet18 {digest[:8]}"
    assert (facts["sha256"], facts["track"], facts["scores"]) == (digest, "made-up", {"miou": 0.5})
    files = find_scenes(data, "test")[0]
    scene = read_scene(files)
    segmenter = load_segmenter(segmenter_file)
    clear, cloudy = classify(segmenter, np.stack([scene.clear, scene.cloudy]))
    rows = ledger.frame[
        (ledger.frame["scene"] == files.name) & (ledger.frame["protocol"] == "full")
    ]
    theirs, _, _ = np.histogram2d(clear.ravel(), cloudy.ravel(), bins=(range(7), range(7)))
    counted = segmenter_counts(rows, digest[:8], "cloudy").sum(axis=0)
    assert np.abs(counted - theirs).sum() <= 20  # pixels at a tie of two classes


@pytest.mark.slow
def test_another_precision_is_another_segmenter(
    cli, preds: Path, segmenter_file: Path, tmp_path: Path
) -> None:
    path = sorted(preds.glob("*.tif"))
    for extra in path[1:]:
        extra.unlink()
    done = cli(
        "evaluate", preds, "--segmenter", segmenter_file, "--precision", "bf16", "--allow-missing",
        "--device", "cpu", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["name"] == "preds"
    (key,) = read_ledger(tmp_path / "results" / "fake" / "preds").segmenters
    assert key.endswith("-bf16")


def test_anything_but_a_segmenter_ends_in_one_clear_message(
    preds: Path, segmenter_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    odd = tmp_path / "odd.safetensors"
    odd.write_bytes(b"nothing")
    twin = tmp_path / "twin.safetensors"
    twin.write_bytes(segmenter_file.read_bytes())
    for arguments, code, says in (
        (("--segmenter", tmp_path / "none.safetensors"), 1, "none.safetensors"),
        (("--segmenter", odd), 1, "odd.safetensors"),
        (("--segmenter", segmenter_file, "--segmenter", twin), 2, "each segmenter once"),
        (("--segmenter", tmp_path), 1, "found a folder"),
        (("--precision", "bf16"), 2, "--segmenter"),
        (("--device", "cpu"), 2, "--device: applies to segmenters; give one with --segmenter"),
        (("--segmenter", segmenter_file, "--device", "cuda"), 1, "cpu"),
    ):
        done = refused("evaluate", preds, *arguments)
        assert (done[0], says in done[1]) == (code, True), done[1]
        assert not (tmp_path / "results" / "fake" / "preds").exists()


def test_a_segmenter_of_other_bands_or_classes_is_refused(preds: Path, tmp_path: Path) -> None:
    from planetcr_models.segmentation.deeplab import Segmenter, save_segmenter

    path = tmp_path / "rgb.safetensors"
    save_segmenter(Segmenter(encoder="resnet18", bands=3), path, {})
    code, says = refused("evaluate", preds, "--segmenter", path)
    assert code == 1
    assert "takes images of 3 bands, the dataset has 4; `planetcr-bench train segmenter`" in says
    save_segmenter(Segmenter(encoder="resnet18"), path, {"bands": ["red", "green", "blue", "nir"]})
    code, says = refused("evaluate", preds, "--segmenter", path)
    assert (code, "learned from red, green, blue, nir, the dataset has blue, green" in says) == (
        1, True,
    )  # fmt: skip
    save_segmenter(Segmenter(encoder="resnet18", classes=5), path, {})
    code, says = refused("evaluate", preds, "--segmenter", path)
    assert (code, "expected a segmenter of 6 classes, got 5" in says) == (1, True)


# --- Hidden truth ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The tiny simulation and its hidden truth."""
    from planetcr_bench.simulation.writer import simulate

    root = tmp_path_factory.mktemp("told")
    simulate(root / "data", size="tiny", train=0, truth=root / "truth", workers=0, quiet=True)
    return root / "data", root / "truth"


def test_rows_are_split_by_optical_thickness_where_it_is_given(
    truth: tuple[Path, Path], tmp_path: Path
) -> None:
    data, hidden = truth
    predict("mean-fill", data, tmp_path / "preds", quiet=True)
    plain, _, _ = run(tmp_path / "preds", tmp_path / "a")
    with_thickness, out, _ = run(tmp_path / "preds", tmp_path / "b", optical_thickness=hidden)
    assert set(plain.frame["thickness"]) == {"unknown"}
    assert (
        plain.provenance["optical_thickness"],
        with_thickness.provenance["optical_thickness"],
    ) == (
        False,
        True,
    )
    edges = (0.25, 0.5, 1, 2, 4, 8, 16, np.inf)
    words = ("0-0.25", "0.25-0.5", "0.5-1", "1-2", "2-4", "4-8", "8-16", "16-")
    frame = read_ledger(out).frame
    for files in find_scenes(data, "test"):
        thickness = np.load(hidden / f"{files.name}.npz")["cloud_thickness"]
        rows = frame[(frame["scene"] == files.name) & (frame["protocol"] == "full")]
        for low, high, word in zip((0, *edges), edges, words, strict=False):
            there = (thickness >= low) & (thickness < high)
            assert rows.loc[rows["thickness"] == word, "pixels"].sum() == there.sum()
    keys = ["scene", "protocol", "land_cover", "region"]
    told_sums, plain_sums = (
        ledger.frame.astype(dict.fromkeys(keys, str)).groupby(keys)["squared_error"].sum()
        for ledger in (with_thickness, plain)
    )
    pd.testing.assert_series_equal(told_sums, plain_sums, rtol=1e-12)


def test_hidden_truth_of_another_dataset_is_refused(
    truth: tuple[Path, Path], preds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data, hidden = truth
    predict("copy-cloudy", data, tmp_path / "told", quiet=True)
    (tmp_path / "x").mkdir()
    other = (hidden / "dataset.toml").read_text().replace("seed = 0", "seed = 5")
    (tmp_path / "x" / "dataset.toml").write_text(other)
    lacking = tmp_path / "lacking"
    lacking.mkdir()
    (lacking / "dataset.toml").write_bytes((hidden / "dataset.toml").read_bytes())
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in hidden.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    name = find_scenes(data, "test")[0].name
    (broken / f"{name}.npz").write_bytes(b"nothing")
    for folder, where, code, says in (
        (preds, hidden, 2, "is of simulated datasets"),
        (tmp_path / "told", tmp_path / "nowhere", 1, "found none"),
        (tmp_path / "told", tmp_path / "x", 1, "seed 5"),
        (tmp_path / "told", lacking, 1, f"{name}.npz"),
        (tmp_path / "told", broken, 1, f"{name}.npz"),
    ):
        done = refused("evaluate", folder, "--optical-thickness", where)
        assert (done[0], says in done[1]) == (code, True), done[1]
    assert not list(tmp_path.rglob("results/**/run.json"))


# --- Where scenes lie ------------------------------------------------------------------------


def test_scenes_carry_their_centre_in_degrees(truth: tuple[Path, Path], tmp_path: Path) -> None:
    import rasterio
    from rasterio.warp import transform_bounds

    data, _ = truth
    predict("copy-cloudy", data, tmp_path / "preds", quiet=True)
    ledger, _, _ = run(tmp_path / "preds", tmp_path / "results")
    for files in find_scenes(data, "test"):
        with rasterio.open(files.path("clear")) as source:
            west, south, east, north = transform_bounds(source.crs, "EPSG:4326", *source.bounds)
        row = ledger.frame[ledger.frame["scene"] == files.name].iloc[0]
        assert west < row["longitude"] < east
        assert south < row["latitude"] < north
        assert abs(row["longitude"] - (west + east) / 2) < 1e-4
        assert abs(row["latitude"] - (south + north) / 2) < 1e-4


def test_a_scene_without_georeference_has_no_centre() -> None:
    from affine import Affine

    from planetcr_bench.data.reading import Raster, centre_of

    pixels = np.zeros((4, 300, 300), np.uint16)
    step = Affine(3, 0, 499_550, 0, -3, 450)
    assert centre_of(Raster(pixels, "EPSG:32632", step)) == (9.0, 0.0)  # on the central meridian
    for raster in (
        Raster(pixels),
        Raster(pixels, "EPSG:32632"),
        Raster(pixels, "", step),
        Raster(pixels, 'LOCAL_CS["somewhere",UNIT["metre",1]]', step),
    ):
        assert np.isnan(centre_of(raster)).all()


def test_groups_are_class_and_region_of_scenes_without_truth(scenes: list[ScenePixels]) -> None:
    assert max(int(scene.group.max()) for scene in scenes) < len(LAND_COVER_NAMES) * len(REGIONS)


def test_scenes_of_different_sizes_are_counted_as_each_alone() -> None:
    scenes = [made_scene("without land cover", index) for index in range(6)]
    full = [PROTOCOLS["full"]]
    together = SegmenterPool([ShadeSegmenter()], "together", full)
    alone = SegmenterPool([ShadeSegmenter()], "alone", full)
    counted = together.count(scenes)
    for scene, own in zip(scenes, counted, strict=True):
        (expected,) = alone.count([scene])
        assert_array_equal(own["full"], expected["full"])
        assert own["full"].sum() == 2 * scene.group.size
    for one, again in zip(together.count(scenes), counted, strict=True):  # from the cache
        assert_array_equal(one["full"], again["full"])
