"""Test the scoring of datasets of other bands, sizes and products than Planet-CR's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from conftest import Cli
from described import S2, S2_BANDS, write_description, write_png, write_s2
from paths import SHARED
from planetcr_bench.results.ledger import read_ledger

SEN12 = SHARED / "data/sen12mscr"


def scored(cli: Cli, folder: Path, *options: object) -> dict:
    """Scores of the input as a prediction, by protocol."""
    assert cli("predict", "copy-cloudy", *options, "--out", folder / "preds").returncode == 0
    done = cli("evaluate", folder / "preds", "--results", folder / "results")
    assert done.returncode == 0, done.err
    (path,) = folder.glob("results/*/preds/scores.json")
    return json.loads(path.read_text())["protocols"]


def test_a_folder_of_pairs_is_scored_without_a_description(cli: Cli, tmp_path: Path) -> None:
    errors = []
    for number, size in enumerate(((40, 56), (56, 40), (48, 48))):
        cloudy, clear = (
            write_png(tmp_path / "data" / name / f"{number}.png", seed, size=size)
            for name, seed in (("cloudy", number), ("clear", 10 + number))
        )
        errors.append(np.abs(cloudy / 255 - clear / 255).ravel())
    scores = scored(cli, tmp_path, "--data", tmp_path / "data")
    expected = np.concatenate(errors).mean()
    assert scores["full"]["overall"]["mae"] == pytest.approx(expected, rel=1e-6)
    ledger = read_ledger(tmp_path / "results/unnamed/preds")
    assert set(ledger.frame["protocol"].astype(str)) == {"full"}
    assert set(ledger.frame["region"].astype(str)) == {"unknown"}
    changed = ledger.frame[["prediction_cloudy", "worse_pixels"]]  # of a copy, bytes stay bytes
    assert (changed == 0).all(axis=None)
    assert ledger.provenance["bands"] == ["red", "green", "blue"]
    report = (tmp_path / "results/unnamed/preds/report.md").read_text()
    for line in ("no land cover", "no cloud masks", "intervals will be too narrow"):
        assert line in report


@pytest.mark.parametrize("beside", [True, False])
def test_thirteen_bands_are_scored(cli: Cli, tmp_path: Path, beside: bool) -> None:
    for roi, patch in ((7, 1), (7, 2), (8, 1)):
        write_s2(tmp_path / "data", roi, patch)
    file = write_description(tmp_path / ("data/dataset.toml" if beside else "mine.toml"), S2)
    named = () if beside else ("--dataset", file)
    scores = scored(cli, tmp_path, "--data", tmp_path / "data", *named)
    assert scores["full"]["overall"]["mae"] > 0
    ledger = read_ledger(tmp_path / "results/thirteen/preds")
    assert ledger.provenance["bands"] == S2_BANDS
    assert ledger.provenance["resolution_m"] == 10
    assert (ledger.frame["values"] == 13 * ledger.frame["pixels"]).all()
    assert ledger.frame["aoi"].nunique() == 2


@pytest.fixture
def masked(cli: Cli, tmp_path: Path) -> Path:
    """Two pairs, predictions of them, and two folders of masks of which half is cloud."""
    for name in "ab":
        for seed, product in enumerate(("cloudy", "clear")):
            write_png(tmp_path / "data" / product / f"{name}.png", seed, size=(40, 40))
        for folder, first in (("one", 0), ("other", 20)):
            mask = np.zeros((40, 40), bool)
            mask[first : first + 20] = True
            (tmp_path / folder).mkdir(exist_ok=True)
            np.save(tmp_path / folder / f"{name}.npy", mask)
    done = cli("predict", "mean-fill", "--data", tmp_path / "data", "--masks", tmp_path / "one",
               "--out", tmp_path / "preds")  # fmt: skip
    assert done.stdout.endswith(f"evaluate {tmp_path / 'preds'} --masks {tmp_path / 'one'}\n")
    return tmp_path


def test_masks_from_elsewhere_are_part_of_a_run(cli: Cli, masked: Path) -> None:
    evaluate = ("evaluate", masked / "preds", "--results", masked / "results", "--name")
    for name in ("one", "other"):
        done = cli(*evaluate, name, "--masks", masked / name)
        assert done.returncode == 0, done.stderr
        assert f"Cloud masks, for cloud cover and regions: folder {name}." in done.stdout
    assert cli(*evaluate, "none").returncode == 0
    runs = {name: masked / "results/unnamed" / name for name in ("one", "other", "none")}
    ledgers = {name: read_ledger(run) for name, run in runs.items()}
    assert ledgers["one"].provenance["masks"] == "folder one"
    assert "masks" not in ledgers["none"].provenance
    assert len({ledger.provenance["fingerprint"] for ledger in ledgers.values()}) == 1
    assert set(ledgers["one"].frame["cloud_cover"]) == {0.5}
    report = (runs["one"] / "report.md").read_text()
    tables = report.split("**Fig. 5 as a table")[1]
    assert "_Cloud masks, for cloud cover and regions: folder one._" in tables
    for first, second in (("one", "other"), ("one", "none"), ("none", "other")):
        done = cli("compare", runs[first], runs[second])
        assert done.returncode == 1
        assert f"{second}: expected the cloud masks of {first}, " in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_run_with_other_masks_is_scored_anew(cli: Cli, masked: Path) -> None:
    evaluate = ("evaluate", masked / "preds", "--results", masked / "results", "--masks")
    covers = []
    for rule in ("1", "0"):
        done = cli(*evaluate, masked / "one", "--mask-rule", rule)
        assert done.returncode == 0, done.stderr
        ledger = read_ledger(masked / "results/unnamed/preds")
        covers.append(ledger.frame.loc[ledger.frame["region"] == "cloud", "absolute_error"].sum())
        assert ledger.provenance["masks"] == f"folder one, values {rule}"
    assert covers[0] != covers[1]


@pytest.mark.real
@pytest.mark.skipif(not SEN12.is_dir(), reason="real scenes; the test above has the same kind")
def test_real_scenes_of_sen12ms_cr_are_scored(cli: Cli, tmp_path: Path) -> None:
    options = ("--data", SEN12, "--dataset", "sen12ms-cr-flat")
    scores = scored(cli, tmp_path, *options)
    assert scores["full"]["overall"]["psnr"] == pytest.approx(15.9562, abs=1e-3)
