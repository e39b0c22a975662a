"""Test the evaluation of a folder of predictions, with interruptions and errors."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_allclose
from skimage.metrics import structural_similarity

from paths import RUNS
from planetcr_bench.api import compare, evaluate
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.reading import read_product, read_scene
from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.errors import BenchError, DatasetError, LedgerError, PredictionError, UsageError
from planetcr_bench.evaluation import runner as measuring
from planetcr_bench.predictions.card import read_card
from planetcr_bench.predictions.predict import predict
from planetcr_bench.report.run_tables import RunTables
from planetcr_bench.report.scores import summary
from planetcr_bench.results.ledger import Ledger, read_ledger
from scenes import write_dataset, write_scene


def run(preds: Path, results: Path, **options) -> tuple[Ledger, Path, list[str]]:
    return evaluate(preds, results, quiet=True, **{"workers": 0, **options})


def rows(folder: Path) -> pd.DataFrame:
    return read_ledger(folder).frame


@pytest.fixture
def reports(nothing_is_drawn: None) -> None:
    """For tests that look at a report or its tables."""


@pytest.fixture(autouse=True)
def _nothing_is_drawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports take seconds a run, and test_report.py looks at them."""
    if "reports" in request.fixturenames:
        monkeypatch.setattr(
            "planetcr_bench.report.report.write_error_analysis", lambda *_, **__: []
        )
    else:
        monkeypatch.setattr("planetcr_bench.report.report.write_report", lambda *_, **__: None)


def test_scores_are_those_of_libraries_on_the_same_images(
    data: Path, preds: Path, tmp_path: Path
) -> None:
    ledger, _, _ = run(preds, tmp_path / "results")
    maes, mses, similarities, angles = [], [], [], []
    for files in find_scenes(data, "test"):
        scene = read_scene(files)
        stored = read_product_of(preds, files)
        p, t = stored.astype(np.float32) / np.float32(1e4), scene.clear
        p, t = p.astype(np.float64), t.astype(np.float64)
        maes.append(np.abs(p - t).mean())
        mses.append(((p - t) ** 2).mean())
        cosine = (p * t).sum(0) / np.sqrt((p * p).sum(0) * (t * t).sum(0))
        angles.append(np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean())
        similarities.append(
            structural_similarity(
                p, t, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
                data_range=1.0, channel_axis=0,
            )
        )  # fmt: skip
    overall = summary(ledger)["protocols"]["full"]["overall"]
    assert_allclose(overall["mae"], np.mean(maes), rtol=1e-10)
    assert_allclose(overall["psnr"], -10 * np.log10(np.mean(mses)), rtol=1e-10)
    assert_allclose(overall["sam_deg"], np.mean(angles), rtol=1e-9)
    assert_allclose(overall["ssim"], np.mean(similarities), rtol=1e-10)


def read_product_of(preds: Path, files: SceneFiles) -> np.ndarray:
    import rasterio

    with rasterio.open(preds / f"{files.name}.tif") as source:
        return source.read()


def test_copying_the_input_gains_nothing(data: Path, tmp_path: Path) -> None:
    predict("copy-cloudy", data, tmp_path / "copy", quiet=True)
    ledger, _, _ = run(tmp_path / "copy", tmp_path / "results")
    frame = ledger.frame
    assert (frame["absolute_error"] == frame["cloudy_clear"]).all()
    assert (frame["ssim"] == frame["input_ssim"]).all()
    assert (frame["angle_deg"] == frame["input_angle_deg"]).all()
    assert (frame["prediction_cloudy"] == 0).all()


def test_workers_batch_and_order_change_nothing(preds: Path, tmp_path: Path) -> None:
    first, _, _ = run(preds, tmp_path / "a", workers=0)
    second, _, _ = run(preds, tmp_path / "b", workers=2, batch=1)
    third, _, _ = run(preds, tmp_path / "c", workers=1, batch=5)
    pd.testing.assert_frame_equal(first.frame, second.frame)
    pd.testing.assert_frame_equal(first.frame, third.frame)


# --- Cloudless, all cloud, perfect, black ------------------------------------------------------


@pytest.fixture
def odd(tmp_path: Path) -> tuple[Path, Path, list[SceneFiles]]:
    """A scene without cloud and one of nothing else, and an empty folder for predictions."""
    data = tmp_path / "odd"
    scenes = [write_scene(data, patch=1, cover=0.0), write_scene(data, patch=2, cover=1.0)]
    (tmp_path / "p").mkdir()
    return data, tmp_path / "p", scenes


def test_perfect_predictions_of_odd_scenes(
    odd: tuple[Path, Path, list[SceneFiles]], tmp_path: Path
) -> None:
    data, preds, scenes = odd
    for files in scenes:
        np.save(preds / f"{files.name}.npy", read_scene(files).clear)
    ledger, _, _ = run(preds, tmp_path / "results", data=data)
    result = summary(ledger)["protocols"]
    assert result["official"]["overall"]["mae"] == 0
    assert result["official"]["overall"]["psnr"] == 100
    assert result["full"]["overall"]["psnr"] == "inf"
    assert_allclose(result["full"]["overall"]["ssim"], 1, rtol=1e-12)
    assert result["full"]["overall"]["sam_deg"] == 0
    assert [result["full"]["by_cover"][name]["scenes"] for name in ("0-20", "80-100")] == [1, 1]
    regions = ledger.frame.groupby("scene", observed=True)["region"].agg(set)
    assert regions.to_dict() == {scenes[0].name: {"clear"}, scenes[1].name: {"cloud"}}


def test_black_predictions_of_odd_scenes(
    odd: tuple[Path, Path, list[SceneFiles]], tmp_path: Path
) -> None:
    data, preds, scenes = odd
    for files in scenes:
        np.save(preds / f"{files.name}.npy", np.zeros((4, 300, 300), np.float32))
    ledger, _, _ = run(preds, tmp_path / "results", data=data)
    result = summary(ledger)["protocols"]
    assert result["official"]["overall"]["sam_deg"] == pytest.approx(90, abs=1e-9)
    assert result["full"]["overall"]["sam_deg"] is None
    assert result["full"]["overall"]["mae"] > 0


@pytest.mark.usefixtures("reports")
def test_a_centre_crop_is_measured_in_official_alone_and_alike(
    data: Path, preds: Path, tmp_path: Path
) -> None:
    whole, _, _ = run(preds, tmp_path / "results")
    crops = tmp_path / "crops"
    crops.mkdir()
    for files in find_scenes(data, "test"):
        np.save(crops / f"{files.name}.npy", read_product_of(preds, files)[:, 70:230, 70:230])
    ledger, out, _ = run(crops, tmp_path / "results", data=data)
    ours, theirs = summary(ledger)["protocols"], summary(whole)["protocols"]
    assert ours["official"] == theirs["official"]
    assert set(ours["full"]["overall"].values()) == {None}
    assert "only the `official` protocol is measured" in (out / "report.md").read_text()


# --- Fail closed --------------------------------------------------------------------------------


def break_folder(preds: Path) -> list[str]:
    """One missing, one unreadable, one that is not finite, one surplus file; the names of four."""
    missing, unreadable, infinite = sorted(preds.glob("*.tif"))[:3]
    missing.unlink()
    unreadable.write_bytes(unreadable.read_bytes()[:-100_000])
    infinite.unlink()
    np.save(infinite.with_suffix(".npy"), np.full((4, 300, 300), np.nan, np.float32))
    (preds / "fall_9_p_9.tif").touch()
    return [missing.stem, unreadable.stem, infinite.stem, "fall_9_p_9"]


def test_nothing_is_scored_unless_every_scene_has_its_prediction(
    preds: Path, tmp_path: Path
) -> None:
    names = break_folder(preds)
    with pytest.raises(PredictionError, match="nothing is scored") as refusal:
        run(preds, tmp_path / "results")
    text = "\n".join(refusal.value.problems)
    for name in names:  # headers and pixels in one pass
        assert name in text
    assert len(refusal.value.problems) == len(names)
    assert not (tmp_path / "results").exists()


def test_problems_that_only_pixels_show_are_all_named(preds: Path, tmp_path: Path) -> None:
    for path in sorted(preds.glob("*.tif"))[:2]:
        path.unlink()
        np.save(path.with_suffix(".npy"), np.full((4, 300, 300), np.nan, np.float32))
    with pytest.raises(PredictionError, match="nothing is scored") as refusal:
        run(preds, tmp_path / "results")
    assert len(refusal.value.problems) == 2
    assert not list((tmp_path / "results").rglob("run.json"))


@pytest.mark.usefixtures("reports")
def test_an_incomplete_run_is_marked_for_good(preds: Path, tmp_path: Path) -> None:
    names = break_folder(preds)
    ledger, out, problems = run(preds, tmp_path / "results", allow_missing=True)
    assert all(any(name in line for line in problems) for name in names)
    assert summary(ledger)["complete"] is False
    assert summary(ledger)["scenes"] == 3
    assert read_ledger(out).provenance["complete"] is False
    for name in ("report.md", "tables/table2.tex", "tables/table2.csv"):
        assert "3 of 6 scenes" in (out / name).read_text()
    assert json.loads((out / "run.json").read_text())["problems"] == problems


def test_without_a_usable_prediction_there_is_no_run(preds: Path, tmp_path: Path) -> None:
    for path in preds.glob("*.tif"):
        path.unlink()
    with pytest.raises(PredictionError, match="expected a usable prediction, found none"):
        run(preds, tmp_path / "results", allow_missing=True)
    assert not list((tmp_path / "results").rglob("run.json"))


def test_a_broken_scene_is_an_error_of_the_dataset_and_not_skipped(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", test=2)
    predict("copy-cloudy", data, tmp_path / "preds", quiet=True)
    (tmp_path / "preds" / "predictions.toml").unlink()
    files = find_scenes(data, "test")[1]
    files.path("land_cover").write_bytes(b"nonsense")
    with pytest.raises(DatasetError, match=files.path("land_cover").name):
        run(tmp_path / "preds", tmp_path / "results", data=data, allow_missing=True)


# --- Interruptions ------------------------------------------------------------------------------


SLOWLY = """
import time
from planetcr_bench.cli import main
from planetcr_bench.evaluation import runner

measure = runner.measure_scene

def slowly(*arguments):
    time.sleep(0.2)
    return measure(*arguments)

runner.FLUSH_SECONDS, runner.measure_scene = 0.0, slowly
if __name__ == "__main__":
    main()
"""
"""The command, which writes a part for each scene and leaves time to be killed between two."""


def test_a_killed_run_resumes_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", test=12)
    predict("mean-fill", data, tmp_path / "preds", quiet=True)
    _, whole, _ = run(tmp_path / "preds", tmp_path / "whole")
    results = tmp_path / "results"
    (tmp_path / "script.py").write_text(SLOWLY)
    command = [sys.executable, tmp_path / "script.py", "evaluate", tmp_path / "preds"]
    options = ["--results", results, "--workers", "0", "--batch", "1"]
    process = subprocess.Popen([*command, *options], start_new_session=True)
    parts = results / "fake" / ".preds.unfinished" / "parts"
    while len(list(parts.glob("part-*.parquet"))) < 3:
        assert process.poll() is None, "finished before it could be killed"
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not list(results.rglob("run.json"))
    kept = len(list(parts.glob("part-*.parquet")))
    (parts / ".part-9.parquet.partial").write_bytes(b"half")
    measured = []
    original = measuring.measure_scene
    try:
        measuring.measure_scene = lambda *a: measured.append(1) or original(*a)
        _, out, _ = run(tmp_path / "preds", results, workers=0)
    finally:
        measuring.measure_scene = original
    assert len(measured) <= 12 - kept
    assert pq.read_table(out / "ledger.parquet").equals(pq.read_table(whole / "ledger.parquet"))
    assert (out / "ledger.parquet").read_bytes() == (whole / "ledger.parquet").read_bytes()
    assert not parts.exists()


def test_a_prediction_that_changed_after_the_interruption_is_measured_again(
    preds: Path, tmp_path: Path
) -> None:
    first, second = sorted(preds.glob("*.tif"))[:2]
    good = second.read_bytes()
    second.write_bytes(good[:-100_000])
    with pytest.raises(PredictionError):
        run(preds, tmp_path / "results")
    second.write_bytes(good)
    first.unlink()
    np.save(first.with_suffix(".npy"), np.full((4, 300, 300), 2000, np.uint16))
    resumed, _, _ = run(preds, tmp_path / "results")
    fresh, _, _ = run(preds, tmp_path / "fresh")
    pd.testing.assert_frame_equal(resumed.frame, fresh.frame)


def test_what_a_refused_run_left_goes_when_all_is_scored_already(
    preds: Path, tmp_path: Path
) -> None:
    _, out, _ = run(preds, tmp_path / "results", tables=False)
    path = min(preds.glob("*.tif"))
    path.rename(tmp_path / "good.tif")
    broken = path.with_suffix(".npy")
    np.save(broken, np.full((4, 300, 300), np.nan, np.float32))
    unfinished = out.with_name(".preds.unfinished")

    def restored() -> None:
        broken.unlink(missing_ok=True)
        if not path.exists():
            (tmp_path / "good.tif").rename(path)
        run(preds, tmp_path / "results", tables=False)

    with pytest.raises(PredictionError):
        run(preds, tmp_path / "results", tables=False)
    assert unfinished.is_dir()
    restored()
    assert not unfinished.exists()
    (unfinished / "parts").mkdir(parents=True)
    (unfinished / "parts/identity.json").write_text("{}")  # with a segmenter, to be resumed
    restored()
    assert (unfinished / "parts").is_dir()


def test_parts_of_other_settings_are_not_reused(preds: Path, tmp_path: Path) -> None:
    path = min(preds.glob("*.tif"))
    good = path.read_bytes()
    path.write_bytes(good[:-100_000])
    with pytest.raises(PredictionError):
        run(preds, tmp_path / "results")
    path.write_bytes(good)
    card = (preds / "predictions.toml").read_text().replace("scale = 10000", "scale = 20000")
    (preds / "predictions.toml").write_text(card)
    resumed, _, _ = run(preds, tmp_path / "results")
    fresh, _, _ = run(preds, tmp_path / "fresh")
    pd.testing.assert_frame_equal(resumed.frame, fresh.frame)


def test_an_unknown_average_is_refused_before_anything_is_scored(
    preds: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="class_average: expected scene-mean or pixels, got 'foo'"):
        run(preds, tmp_path / "results", class_average="foo")
    assert not (tmp_path / "results").exists()
    with pytest.raises(UsageError, match="pool: expected scene-mean or pixels, got 'foo'"):
        RunTables([read_ledger(RUNS / "mean-fill")], pool="foo")


def test_two_runs_never_write_to_one_folder(preds: Path, tmp_path: Path) -> None:
    import filelock

    unfinished = tmp_path / "results" / "fake" / ".preds.unfinished"
    unfinished.mkdir(parents=True)
    with (
        filelock.FileLock(unfinished / "lock"),
        pytest.raises(BenchError, match="another evaluation writes there"),
    ):
        run(preds, tmp_path / "results")


@pytest.mark.usefixtures("reports")
def test_a_second_run_replaces_the_first_and_leaves_other_files(
    preds: Path, tmp_path: Path
) -> None:
    _, out, _ = run(preds, tmp_path / "results")
    (out / "notes.txt").write_text("mine")
    before = rows(out)
    first, second = sorted(preds.glob("*.tif"))[:2]
    data = first.read_bytes()
    first.write_bytes(second.read_bytes())
    with pytest.raises(PredictionError, match="expected the scene's grid"):
        run(preds, tmp_path / "results")
    pd.testing.assert_frame_equal(rows(out), before)
    first.write_bytes(data)
    run(preds, tmp_path / "results", class_average="pixels")
    assert (out / "notes.txt").read_text() == "mine"
    assert "pool:pixels" in (out / "tables/table2.tex").read_text().replace("\\", "")


# --- Which dataset ------------------------------------------------------------------------------


def test_the_dataset_is_given_by_option_environment_or_card_in_this_order(
    data: Path, preds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = write_dataset(tmp_path / "other", test=1, seed=1)
    run(preds, tmp_path / "a")
    monkeypatch.setenv("PLANETCR_DATA", str(other))
    with pytest.raises(DatasetError, match="fingerprint") as refusal:
        run(preds, tmp_path / "b")
    assert len(refusal.value.problems) == 3
    run(preds, tmp_path / "b", data=data)


def test_predictions_of_a_simulation_are_scored_where_it_was_simulated_anew(
    simulated: Path, tmp_path: Path
) -> None:
    """Another machine rounds some values otherwise: other fingerprint, same simulation."""
    predict("copy-cloudy", simulated, tmp_path / "preds", quiet=True)
    card = tmp_path / "preds" / "predictions.toml"
    text = card.read_text().replace(read_card(tmp_path / "preds").fingerprint, "0" * 64)
    card.write_text(text)
    ledger, _, _ = run(tmp_path / "preds", tmp_path / "results")
    assert ledger.provenance["simulation"] == "sim-v1 standard, seed 0, size tiny"
    with pytest.raises(DatasetError, match="fingerprint"):  # a list is a choice of scenes
        run(tmp_path / "preds", tmp_path / "results", scene_list=simulated / "test.csv")
    card.write_text(text.replace("seed 0", "seed 1"))
    with pytest.raises(DatasetError, match="fingerprint"):
        run(tmp_path / "preds", tmp_path / "results")


def test_a_missing_dataset_lists_the_three_ways_to_give_it(preds: Path, tmp_path: Path) -> None:
    card = preds / "predictions.toml"
    text = card.read_text()
    card.write_text(text.replace(str(read_card(preds).dataset), "/gone"))
    with pytest.raises(DatasetError, match="no such folder, although") as gone:
        run(preds, tmp_path / "results")
    card.unlink()
    with pytest.raises(DatasetError, match="none is named") as nothing:
        run(preds, tmp_path / "results")
    for refusal in (gone, nothing):
        ways = "\n".join(refusal.value.problems)
        assert all(way in ways for way in ("--data", "PLANETCR_DATA", "predictions.toml"))


def test_the_split_of_the_option_must_be_that_of_the_card(
    data: Path, preds: Path, tmp_path: Path
) -> None:
    with pytest.raises(PredictionError, match="expected predictions of the split 'train'"):
        run(preds, tmp_path / "results", split="train")
    predict("copy-cloudy", data, tmp_path / "t", split="train", quiet=True)
    _, out, _ = run(tmp_path / "t", tmp_path / "results")
    assert out == tmp_path / "results" / "fake-train" / "t"


def test_a_list_of_scenes_scores_these_alone(data: Path, preds: Path, tmp_path: Path) -> None:
    chosen = find_scenes(data, "test")[:2]
    lines = []
    for files in chosen:
        paths = [files.path(product) for product in read_order()]
        lines.append(",".join(str(path.relative_to(data / "test")) for path in paths))
    (tmp_path / "list.csv").write_text("\n".join(lines))
    with pytest.raises(DatasetError, match="fingerprint"):
        run(preds, tmp_path / "results", scene_list=tmp_path / "list.csv")
    out = tmp_path / "two"
    predict("mean-fill", data, out, scene_list=tmp_path / "list.csv", quiet=True)
    ledger, _, _ = run(out, tmp_path / "results", scene_list=tmp_path / "list.csv")
    assert sorted(ledger.frame["scene"].unique()) == sorted(files.name for files in chosen)


def read_order() -> tuple[str, ...]:
    from planetcr_bench.constants import PRODUCTS

    return PRODUCTS


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden"])
def test_a_name_that_would_leave_the_results_is_refused(
    preds: Path, tmp_path: Path, name: str
) -> None:
    with pytest.raises(BenchError, match="--name"):
        run(preds, tmp_path / "results", name=name)


def test_grids_are_compared_while_measuring(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", test=1)
    predict("copy-cloudy", data, tmp_path / "preds", quiet=True)
    (tmp_path / "preds" / "predictions.toml").unlink()
    files = find_scenes(data, "test")[0]
    cloudy = read_product(files, "cloudy")
    from scenes import write_tif

    corner = (cloudy.transform.c + 3, cloudy.transform.f)
    write_tif(files.path("cloudy"), cloudy.pixels, corner, 3, cloudy.crs)
    with pytest.raises(DatasetError, match=r"planet_cloudy_.*got 3\.00 m"):
        run(tmp_path / "preds", tmp_path / "results", data=data)


@pytest.mark.usefixtures("nothing_is_drawn")
def test_compare_takes_paths_as_text_and_refuses_what_it_cannot_compare(tmp_path: Path) -> None:
    run = str(RUNS / "mean-fill")
    ledgers, tables, folder = compare([run], out=str(tmp_path / "out"), protocol="full")
    assert [ledger.name for ledger in ledgers] == ["mean-fill"]
    assert [protocol.name for protocol in tables.protocols] == ["full"]
    assert (folder / "report.md").exists()
    assert (folder / "report.md").read_text().startswith("# Comparison of 1 run\n")
    assert [ledger.name for ledger in compare(run, out=tmp_path / "out")[0]] == ["mean-fill"]
    with pytest.raises(UsageError, match="class_average: expected scene-mean or pixels, got 'foo'"):
        compare(run, class_average="foo")
    with pytest.raises(UsageError, match="expected one run or more, got none"):
        compare([])
    with pytest.raises(UsageError, match="the paper's figures are of protocol official alone"):
        compare([run], published=True, protocol="full")
    with pytest.raises(LedgerError, match=r"only beside|published"):
        compare([run], published=True, out=tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.usefixtures("nothing_is_drawn")
@pytest.mark.parametrize(
    ("here", "run", "expected"),
    [
        (".", "r/{track}/mean-fill", "r/comparison"),
        (".", "r/{track}/mean-fill/ledger.parquet", "r/comparison"),
        ("r", "{track}/mean-fill", "comparison"),
        ("r/{track}", "mean-fill", "../comparison"),
        ("r/{track}/mean-fill", ".", "../../comparison"),
        ("r/{track}/mean-fill", "ledger.parquet", "../../comparison"),
        ("r/{track}/mean-fill", "../mean-fill", "../../comparison"),
    ],
)
def test_a_comparison_lies_beside_the_tracks_from_wherever_it_is_made(
    here: str, run: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    track = read_ledger(RUNS / "mean-fill").provenance["track"]
    shutil.copytree(RUNS / "mean-fill", tmp_path / "r" / track / "mean-fill")
    monkeypatch.chdir(tmp_path / here.format(track=track))
    monkeypatch.setattr("planetcr_bench.report.report.write_comparison", lambda *_, **__: None)
    _, _, folder = compare([run.format(track=track)])
    assert str(folder) == expected
    assert folder.resolve() == tmp_path / "r/comparison"
