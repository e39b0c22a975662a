"""Test that valid entries pass and every attack is named."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import rasterio
import tomli_w

from fake_segmenters import ShadeSegmenter
from paths import RUNS
from planetcr_bench.api import evaluate
from planetcr_bench.constants import PRODUCTS
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.errors import SubmissionError
from planetcr_bench.predictions.predict import predict
from planetcr_bench.results.ledger import Ledger, read_ledger, write_ledger
from planetcr_bench.results.schema import schema_of
from planetcr_bench.submission.accept import accept
from planetcr_bench.submission.check import CheckConfig, CheckResult, check
from planetcr_bench.submission.pack import pack
from scenes import write_dataset

CARD = RUNS / "mean-fill/card.toml"
Tamper = Callable[[Path], None]

pytestmark = [
    pytest.mark.usefixtures("ledgers_alone", "ledgers_decoded_here"),
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]


@pytest.fixture(scope="module")
def packed(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An honest entry with its predictions; read only. ``results`` lies beside it."""
    folder = tmp_path_factory.mktemp("packed")
    predict("mean-fill", simulated, folder / "honest", quiet=True)
    options = {"data": simulated, "with_predictions": True, "quiet": True, "workers": 0}
    pack(folder / "honest", CARD, folder / "entry", results=folder / "results", **options)
    return folder / "entry"


@pytest.fixture
def entry(packed: Path, tmp_path: Path) -> Path:
    """The honest entry, free to be broken."""
    return Path(shutil.copytree(packed, tmp_path / "sent"))


def checked(path: Path, **config: object) -> CheckResult:
    work = path.parent / f"work-{len(list(path.parent.iterdir()))}"
    work.mkdir()
    return check(path, work, CheckConfig(workers=0, quiet=True, **config))


def refusal(path: Path, **config: object) -> str:
    """Why an entry is refused, a line each."""
    with pytest.raises(SubmissionError) as refused:
        checked(path, **config)
    assert str(path) in refused.value.message
    assert all(line.isprintable() for line in refused.value.problems)
    return "\n".join(refused.value.problems)


def first_image(entry: Path) -> Path:
    return min((entry / "predictions").glob("*.tif"))


def first_digest(entry: Path) -> str:
    return str(read_ledger(entry).frame["prediction_sha256"].iloc[0])


def rewrite(entry: Path, change: Callable[[Ledger], object]) -> None:
    """Change a ledger as a forger would: with the record made to match.

    Args:
        entry: Folder.
        change: Alters rows and record, or returns other rows.
    """
    ledger = read_ledger(entry)
    ledger = Ledger(
        ledger.frame.astype({"scene": str, "prediction_sha256": str}), {**ledger.provenance}
    )
    frame = change(ledger)
    frame = frame if isinstance(frame, pd.DataFrame) else ledger.frame
    table = pa.Table.from_pandas(frame, schema_of(ledger.segmenters), preserve_index=False)
    write_ledger(entry / "ledger.parquet", table, ledger.provenance)
    run = json.loads((entry / "run.json").read_text())
    (entry / "run.json").write_text(json.dumps({**run, **ledger.provenance}))


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# --- Honest entries ---------------------------------------------------------------------------


def test_an_honest_entry_is_sound_and_only_read(packed: Path, tmp_path: Path) -> None:
    before = tree(packed)
    work = tmp_path / "work"
    work.mkdir()
    result = check(packed, work, CheckConfig(workers=0, quiet=True))
    assert (result.status, result.card.method) == ("claimed", "mean-fill")
    assert "predictions of 10 scenes" in result.checked[0]
    assert "not compared with the dataset" in result.checked[1]
    assert result.ledger.frame.equals(read_ledger(packed).frame)
    assert tree(packed) == before


def test_predictions_need_not_be_sent(entry: Path, simulated: Path) -> None:
    shutil.rmtree(entry / "predictions")
    result = checked(entry, data=simulated, sample=None)
    assert result.status == "claimed"
    assert "no predictions were sent" in result.checked[0]
    assert "all 10 scenes were compared with the dataset's input" in result.checked


def test_a_seeded_sample_is_measured_again(entry: Path, simulated: Path) -> None:
    result = checked(entry, data=simulated, sample=3, seed=7)
    assert result.status == "claimed"
    assert "3 scenes, drawn with seed 7, were measured again from the predictions" in result.checked


def test_measuring_all_again_verifies_and_gives_the_boards_own_ledger(
    entry: Path, simulated: Path
) -> None:
    command = ["planetcr-bench", "submit", "check", str(entry)]
    result = checked(entry, data=simulated, sample=None, command=command)
    assert result.status == "verified"
    assert result.samples.startswith(b"\xff\xd8\xff")
    assert result.run["command"] == "planetcr-bench submit check sent"
    assert result.ledger.frame.equals(read_ledger(entry).frame)


def test_an_incomplete_entry_passes_as_incomplete(
    simulated: Path, packed: Path, tmp_path: Path
) -> None:
    few = Path(shutil.copytree(packed / "predictions", tmp_path / "few"))
    for path in sorted(few.glob("*.tif"))[:4]:
        path.unlink()
    options = {"data": simulated, "allow_missing": True, "with_predictions": True, "workers": 0}
    out, ledger, problems = pack(
        few, CARD, tmp_path / "e", results=tmp_path / "results", quiet=True, **options
    )
    assert not ledger.provenance["complete"]
    assert len(problems) == 4
    assert str(tmp_path) not in (out / "run.json").read_text()
    for sample in (2, None):
        assert checked(out, data=simulated, sample=sample).run["scenes"] == 6


def test_a_centre_crop_passes(simulated: Path, packed: Path, tmp_path: Path) -> None:
    crops = tmp_path / "crops"
    crops.mkdir()
    for path in (packed / "predictions").glob("*.tif"):
        with rasterio.open(path) as source:
            np.save(crops / f"{path.stem}.npy", source.read()[:, 70:230, 70:230])
    out, *_ = pack(
        crops, CARD, tmp_path / "e.zip", results=tmp_path / "results", data=simulated,
        with_predictions=True, workers=0, quiet=True,
    )  # fmt: skip
    result = checked(out, data=simulated, sample=3)
    assert list(result.ledger.provenance["protocols"]) == ["official"]
    assert checked(out, data=simulated, sample=None).status == "verified"


def test_a_segmenter_that_is_at_hand_is_asked_again(
    packed: Path, simulated: Path, tmp_path: Path
) -> None:
    segmenter = ShadeSegmenter()
    options = {"data": simulated, "segmenters": [segmenter], "workers": 0, "quiet": True}
    out, *_ = pack(
        packed / "predictions", CARD, tmp_path / "e", results=tmp_path / "r", name="segmented",
        with_predictions=True, **options,
    )  # fmt: skip
    not_run = f"segmenter {segmenter.name} was not run again; give it with --segmenter"
    assert not_run in checked(out, data=simulated, sample=2).checked
    assert not_run not in checked(out, data=simulated, sample=2, segmenters=[segmenter]).checked
    column = f"segmenter_{segmenter.key}_prediction_"

    def swap(ledger: Ledger) -> None:
        """Let the segmenter be right about everything."""
        names = [name for name in ledger.frame if name.startswith(column)]
        truth = [name.removeprefix(column).split("_") for name in names]
        seen = ledger.frame[names].copy()
        for name in names:
            ledger.frame[name] = 0
        for name, (before, _) in zip(names, truth, strict=True):
            ledger.frame[f"{column}{before}_{before}"] += seen[name]

    rewrite(out, swap)
    assert checked(out, data=simulated, sample=2).status == "claimed"
    assert "measured again, segmenter_" in refusal(
        out, data=simulated, sample=2, segmenters=[segmenter]
    )


def test_runs_on_the_board_are_witnesses_of_the_input(packed: Path, entry: Path) -> None:
    results = packed.parent / "results"
    lines = "\n".join(checked(entry, results=results).checked)
    assert f"no other run in {results} is on its dataset" in lines  # no witness of itself
    rewrite(entry, lambda ledger: ledger.provenance.update(name="other"))
    compared = f"its input was compared with {results / 'sim-v1-tiny/honest'}"
    assert compared in checked(entry, results=results).checked
    rewrite(entry, lambda ledger: ledger.provenance.update(name="honest"))
    digest = first_digest(entry)
    rewrite(entry, lambda ledger: ledger.frame.replace({digest: "0" * 64}, inplace=False))
    shutil.rmtree(entry / "predictions")
    assert compared in checked(entry, results=results).checked  # a name does not choose its witness


# --- Files ------------------------------------------------------------------------------------


def remove(name: str) -> Tamper:
    return lambda entry: (entry / name).unlink()


def put(name: str, content: bytes) -> Tamper:
    def tamper(entry: Path) -> None:
        (entry / name).parent.mkdir(exist_ok=True, parents=True)
        (entry / name).write_bytes(content)

    return tamper


def card_with(**changes: object) -> Tamper:
    def tamper(entry: Path) -> None:
        fields = {
            "method": "x", "authors": ["A"], "licence": "MIT", "year": 2026, "inputs": ["optical"],
            "training_data": "none", "extra_data": "none", "hardware": "none", **changes,
        }  # fmt: skip
        (entry / "card.toml").write_text(tomli_w.dumps(fields))

    return tamper


def without_input_window(entry: Path) -> None:
    run = json.loads((entry / "run.json").read_text())
    del run["input_window"]
    (entry / "run.json").write_text(json.dumps(run))


def swapped_file(entry: Path) -> None:
    first, second, *_ = sorted((entry / "predictions").glob("*.tif"))
    shutil.copyfile(first, second)


def second_image(entry: Path) -> None:
    image = first_image(entry)
    shutil.copyfile(image, image.with_suffix(".npy"))


@pytest.mark.parametrize(
    ("tamper", "reason"),
    [
        (remove("card.toml"), "card.toml: expected this file, found none"),
        (remove("ledger.parquet"), "ledger.parquet: expected this file, found none"),
        (remove("run.json"), "run.json: expected this file, found none"),
        (put("notes.md", b"x"), "'notes.md': expected only"),
        (put("ledger.parquet", b"PAR1 no"), "ledger.parquet: expected a ledger"),
        (put("run.json", b"[" * 100_000), "run.json: expected JSON"),
        (put("run.json", b"{}"), "run.json: name: expected 'honest' as in the ledger, got none"),
        (without_input_window, "input_window: expected 'whole' as in the ledger, got none"),
        (put("run.json", b"[]"), "run.json: expected an object"),
        (put("card.toml", b"a = " + b"[" * 50_000), "card.toml: expected at most 50 levels"),
        (put("card.toml", b"a = \xff\xfe"), "card.toml: expected text in UTF-8"),
        (card_with(methud="x"), "did you mean 'method'?"),
        (card_with(notes="<script>alert(1)</script>"), "notes: expected plain text, got what"),
        (card_with(code="javascript:alert(1)"), "code: expected an address"),
        (card_with(method='x" onclick="y'), "method: expected letters"),
        (card_with(authors=["A\x1b[31m"]), "authors[0]: expected no control characters"),
        (
            put("predictions/evil_1_p_1.npy", b"x"),
            "evil_1_p_1.npy: expected one image of each scene",
        ),
        (
            lambda entry: first_image(entry).unlink(),
            ".tif: expected an image of this scene of the ledger, found none",
        ),
        (swapped_file, "expected pixels of SHA-256"),
        (second_image, ".tif: expected one image of each scene of the ledger alone"),
        (put("predictions/predictions.toml", b'method = "mean-fill"\ndataset = "/etc"'), "dataset"),
        (put("predictions/predictions.toml", b'method = "x"'), "expected method = 'mean-fill'"),
        (put("predictions/predictions.toml", b"scale = 1.0"), "expected scale = none"),
        (put("predictions/predictions.toml", b'split = "val"'), "expected split = 'test'"),
        (put("predictions/predictions.toml", b'fingerprint = "f"'), "expected fingerprint = "),
        (put("predictions/predictions.toml", b'simulation = "s"'), "expected simulation = "),
        (put("predictions/predictions.toml", b"#" * 70_000), "expected at most 64,000 bytes"),
    ],
)
def test_a_file_that_is_not_as_it_must_be_is_named(
    entry: Path, tamper: Tamper, reason: str
) -> None:
    tamper(entry)
    assert reason in refusal(entry)


def test_everything_that_is_wrong_is_listed_at_once(entry: Path, simulated: Path) -> None:
    card_with(licence="<b>", colour="red")(entry)
    run = json.loads((entry / "run.json").read_text())
    (entry / "run.json").write_text(json.dumps({**run, "surprise": 1, "device": "<i>"}))
    swapped_file(entry)
    first_image(entry).rename(entry / "predictions/fall_0_p_0.tif")
    lines = refusal(entry, data=simulated)
    for reason in (
        "unknown key 'colour'", "licence: expected plain text", "unknown key 'surprise'",
        "device: expected plain text", "SHA-256", "expected an image of this scene",
        "fall_0_p_0.tif: expected one image of each scene",
    ):  # fmt: skip
        assert reason in lines, reason


# --- Images -----------------------------------------------------------------------------------


class Pickled:
    """What would run on unpickling."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch pickle-was-opened",)


def pickled(path: Path) -> None:
    np.save(path, np.array([Pickled()], object), allow_pickle=True)


def huge(path: Path) -> None:
    """Six kilobytes that declare 80 gigabytes."""
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint16", count=4, width=100_000, height=100_000,
        tiled=True, blockxsize=16_384, blockysize=16_384, sparse_ok=True, bigtiff="yes",
    ):  # fmt: skip
        pass


def huge_tiles(path: Path) -> None:
    """300 × 300 pixels in one tile of two gigabytes."""
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint16", count=4, width=300, height=300,
        tiled=True, blockxsize=16_384, blockysize=16_384, sparse_ok=True,
    ):  # fmt: skip
        pass


def reference(path: Path) -> None:
    """A virtual raster that reads any other file."""
    path.write_text(
        '<VRTDataset rasterXSize="300" rasterYSize="300"><VRTRasterBand dataType="UInt16" band="1">'
        "<SimpleSource><SourceFilename>/etc/passwd</SourceFilename></SimpleSource>"
        "</VRTRasterBand></VRTDataset>"
    )


def negative(path: Path) -> None:
    header = {"descr": "<u2", "fortran_order": False, "shape": (4, -300, 300)}
    with path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)


@pytest.mark.parametrize(
    ("write", "ending", "reason"),
    [
        (pickled, ".npy", "expected numbers, got object"),
        (huge, ".tif", "expected shape (4, 300, 300)"),
        (huge_tiles, ".tif", "expected tiles of at most 2048"),
        (reference, ".tif", "cannot be read"),
        (negative, ".npy", "its header is broken"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_an_image_that_is_an_attack_is_refused_by_its_header(
    entry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Tamper, ending: str,
    reason: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    image = first_image(entry)
    image.unlink()
    image = image.with_suffix(ending)
    write(image)
    assert f"predictions/{image.name}: " in refusal(entry)
    assert reason in refusal(entry)
    assert not (tmp_path / "pickle-was-opened").exists()


# --- Ledgers ----------------------------------------------------------------------------------


def better(ledger: Ledger) -> None:
    """Two percent better in everything that an error is measured by."""
    frame = ledger.frame
    for name, factor in (("absolute_error", 0.98), ("squared_error", 0.98**2), ("angle_deg", 0.98)):
        frame[name] *= factor
    distances = frame[["absolute_error", "prediction_cloudy", "cloudy_clear"]]
    frame["prediction_cloudy"] = distances["prediction_cloudy"].clip(
        (distances["cloudy_clear"] - distances["absolute_error"]).abs(),
        distances["cloudy_clear"] + distances["absolute_error"],
    )


def test_sums_that_are_too_good_are_caught_by_measuring_again(entry: Path, simulated: Path) -> None:
    rewrite(entry, better)
    assert checked(entry).status == "claimed"  # the sums alone could be
    lines = refusal(entry, data=simulated, sample=2)
    assert "ledger.parquet: measured again, absolute_error:" in lines
    assert "ledger.parquet: measured again, squared_error:" in lines
    assert "measured again, absolute_error:" in refusal(entry, data=simulated, sample=None)


def easier(ledger: Ledger) -> None:
    """Thinner clouds than the dataset has."""
    for name in ("cloudy_clear", "absolute_error", "prediction_cloudy"):
        ledger.frame[name] *= 0.9
    for name in ("input_squared_error", "squared_error"):
        ledger.frame[name] *= 0.81


def test_an_input_that_is_not_the_datasets_is_caught_without_predictions(
    entry: Path, simulated: Path, packed: Path
) -> None:
    shutil.rmtree(entry / "predictions")
    rewrite(entry, easier)
    assert checked(entry).status == "claimed"
    lines = refusal(entry, data=simulated)
    assert "measured again, cloudy_clear:" in lines
    assert "measured again, absolute_error:" not in lines  # nobody can know
    rewrite(entry, lambda ledger: ledger.provenance.update(name="other"))
    lines = refusal(entry, results=packed.parent / "results")
    assert "a run on the same dataset: cloudy_clear:" in lines


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({}, "track: expected 'sim-v1-tiny' by the dataset, got 'mine'"),
        ({"fingerprint": "0" * 64}, "fingerprint: expected"),
        ({"expected_scenes": 11, "complete": False}, "expected_scenes: expected 10 by the dataset"),
    ],
)
def test_a_record_that_is_not_the_datasets_is_refused(
    entry: Path, simulated: Path, facts: dict, reason: str
) -> None:
    other = {"track": "mine", "simulation": None, **facts}
    shutil.rmtree(entry / "predictions")
    rewrite(entry, lambda ledger: ledger.provenance.update(other))
    assert checked(entry).status == "claimed"
    assert reason in refusal(entry, data=simulated)


def test_easy_scenes_alone_are_no_complete_run(entry: Path, simulated: Path) -> None:
    """Leaving out the hard half, and saying that this is the dataset."""
    half = sorted(files.name for files in find_scenes(simulated, "test"))[:5]

    def change(ledger: Ledger) -> pd.DataFrame:
        ledger.provenance.update(scenes=5, expected_scenes=5, name="other")
        return ledger.frame[ledger.frame["scene"].isin(half)]

    shutil.rmtree(entry / "predictions")
    rewrite(entry, change)
    assert "expected_scenes: expected 10 in its track, got 5" in refusal(entry)
    rewrite(entry, lambda ledger: ledger.provenance.update(track="mine", simulation=None))
    assert checked(entry).run["complete"]
    assert "expected_scenes: expected 10 by the dataset" in refusal(entry, data=simulated)


def test_predictions_of_another_run_are_named(packed: Path, entry: Path) -> None:
    rewrite(entry, lambda ledger: ledger.provenance.update(name="mine"))
    results = packed.parent / "results"
    shared = f"of its 10 predictions are those of {results / 'sim-v1-tiny/honest'}"
    assert f"10 {shared}" in checked(entry, results=results).checked
    digest = first_digest(entry)
    rewrite(entry, lambda ledger: ledger.frame.replace({digest: "0" * 64}, inplace=False))
    shutil.rmtree(entry / "predictions")
    assert f"9 {shared}" in checked(entry, results=results).checked


def test_a_track_has_the_dataset_of_its_verified_runs(entry: Path, tmp_path: Path) -> None:
    shutil.rmtree(entry / "predictions")
    other = {"track": "mine", "simulation": None, "fingerprint": "1" * 64}
    rewrite(entry, lambda ledger: ledger.provenance.update(other))
    honest = accept(replace(checked(entry), status="verified"), tmp_path / "board")
    forged = {"name": "forged", "fingerprint": "0" * 64}
    rewrite(entry, lambda ledger: ledger.provenance.update(forged))
    claimed = accept(checked(entry), tmp_path / "board")  # without a look at the others
    for name in ("forged", "another"):
        rewrite(entry, lambda ledger, name=name: ledger.provenance.update(name=name))
        lines = refusal(entry, results=tmp_path / "board")
        assert f"fingerprint: expected 111111111111… of {honest}, verified" in lines
    shutil.rmtree(claimed)
    (honest / "status.json").unlink()  # then it is claimed itself
    lines = "\n".join(checked(entry, results=tmp_path / "board").checked)
    assert f"no other run in {tmp_path / 'board'} is on its dataset" in lines


def test_a_track_may_have_a_list_of_scenes_and_the_whole_dataset(
    data: Path, tmp_path: Path
) -> None:
    """The dataset itself says which runs are of it, and a verified one lets others in."""
    options = {"data": data, "with_predictions": True, "quiet": True, "workers": 0}
    predict("mean-fill", data, tmp_path / "whole", quiet=True)
    whole, *_ = pack(tmp_path / "whole", CARD, tmp_path / "sent-whole", **options)
    scenes = [[files.path(product) for product in PRODUCTS] for files in find_scenes(data, "test")]
    lines = [",".join(str(path.relative_to(data / "test")) for path in paths) for paths in scenes]
    (tmp_path / "two.csv").write_text("\n".join(lines[:2]))
    two = {"scene_list": tmp_path / "two.csv"}
    predict("mean-fill", data, tmp_path / "part", quiet=True, **two)
    part, *_ = pack(tmp_path / "part", CARD, tmp_path / "sent-part", **options, **two)
    board = tmp_path / "board"
    accept(checked(part, data=data, sample=None, results=None, **two), board)
    assert "fingerprint: expected" in refusal(whole, results=board)
    other = write_dataset(tmp_path / "other", test=6, seed=5)
    assert "fingerprint: expected" in refusal(whole, results=board, data=other)
    verified = checked(whole, results=board, data=data, sample=None)
    assert verified.status == "verified"
    accept(verified, board)
    rewrite(whole, lambda ledger: ledger.provenance.update(name="later"))
    shutil.rmtree(whole / "predictions")
    assert checked(whole, results=board).status == "claimed"


def test_an_entry_is_not_compared_with_the_run_that_it_replaces(entry: Path, packed: Path) -> None:
    results = packed.parent / "results"
    assert any("are those of" in line for line in checked(entry, results=results).checked)
    again = checked(entry, results=results, replace_old=True)
    assert not any("are those of" in line for line in again.checked)


def test_a_verified_run_is_a_witness_of_its_own_predictions(entry: Path, tmp_path: Path) -> None:
    """Sent again, it is sound; with the same predictions, nobody sends other sums."""
    accept(replace(checked(entry), status="verified"), tmp_path / "board")
    again = checked(entry, results=tmp_path / "board")
    assert f"its input was compared with {tmp_path / 'board/sim-v1-tiny/honest'}" in again.checked
    accept(replace(again, status="verified"), tmp_path / "board", replace_old=True)

    def better(ledger: Ledger) -> None:
        ledger.frame["ssim"] = (ledger.frame["ssim"] + ledger.frame["ssim_pixels"]) / 2

    rewrite(entry, better)
    shutil.rmtree(entry / "predictions")
    assert checked(entry).status == "claimed"
    assert "ssim: 192 cells differ" in refusal(entry, results=tmp_path / "board")


def test_sums_of_images_that_the_board_has_measured_are_never_others(
    entry: Path, tmp_path: Path
) -> None:
    """However many other verified runs there are, and whichever scenes were exchanged or left."""
    board, honest = tmp_path / "board", Path(shutil.copytree(entry, tmp_path / "honest"))
    shutil.rmtree(entry / "predictions")
    known = read_ledger(honest).frame["prediction_sha256"].astype(str).unique().tolist()
    for name in ("a", "b", "c"):
        rewrite(entry, lambda ledger, name=name: ledger.provenance.update(name=name))
        fresh = {digest: name + digest[1:] for digest in known}
        rewrite(entry, lambda ledger, fresh=fresh: ledger.frame.replace(fresh))
        accept(replace(checked(entry), status="verified"), board)
        known = list(fresh.values())
    accept(replace(checked(honest), status="verified"), board)
    shutil.rmtree(honest / "predictions")

    def better(ledger: Ledger) -> pd.DataFrame:
        frame = ledger.frame
        frame["ssim"] = (frame["ssim"] + frame["ssim_pixels"]) / 2
        return frame.replace({first_digest(honest): "0" * 64})

    def fewer(ledger: Ledger) -> pd.DataFrame:
        frame = ledger.frame
        ledger.provenance.update(name="fewer", complete=False, scenes=9)
        return frame[frame["scene"] != frame["scene"].iloc[0]]

    assert checked(honest, results=board).status == "claimed"
    what = "honest, verified, of the same images (--sample all overrules it): ssim: "
    rewrite(honest, better)
    assert checked(honest).status == "claimed"
    assert what in refusal(honest, results=board)
    rewrite(honest, fewer)
    assert checked(honest).status == "claimed"
    assert what in refusal(honest, results=board)


def test_what_the_board_measures_itself_overrules_what_it_knew(
    simulated: Path, entry: Path, packed: Path, tmp_path: Path
) -> None:
    """A wrong scale was verified; the right one makes other sums of the same images."""
    board = tmp_path / "board"
    preds = Path(shutil.copytree(packed.parent / "honest", tmp_path / "honest"))
    card = preds / "predictions.toml"
    card.write_text(f"scale = 12000.0\n{card.read_text()}")
    wrong, *_ = pack(preds, CARD, tmp_path / "wrong", data=simulated, with_predictions=True,
                     quiet=True, workers=0)  # fmt: skip
    everything = {"data": simulated, "sample": None}
    accept(checked(wrong, **everything), board)
    lines = refusal(entry, results=board, data=simulated)
    assert "(--sample all overrules it): absolute_error: " in lines
    right = checked(entry, results=board, **everything)
    where = board / "sim-v1-tiny/honest"
    assert f"10 of its 10 predictions are those of {where}, verified" in right.checked
    assert right.status == "verified"
    accept(right, board, replace_old=True)
    assert read_ledger(where).provenance["scale"] is None


def test_scenes_that_the_dataset_has_not_are_named(
    entry: Path, simulated: Path, packed: Path
) -> None:
    def change(ledger: Ledger) -> None:
        frame, old = ledger.frame, ledger.frame.loc[0, "scene"]
        rows = frame["scene"] == old
        new = f"{frame.loc[0, 'season']}_77777_p_1"
        frame["aoi"] = frame["aoi"].astype(str)
        frame.loc[rows, ["scene", "aoi", "patch"]] = new, new.partition("_p_")[0], 1

    shutil.rmtree(entry / "predictions")
    rewrite(entry, change)
    assert "1 scenes are not in the dataset, first" in refusal(entry, data=simulated)
    rewrite(entry, lambda ledger: ledger.provenance.update(name="other"))
    lines = refusal(entry, results=packed.parent / "results")
    assert "a run on the same dataset: 1 scenes are not in it, first" in lines


def test_predictions_that_cannot_be_scored_are_no_traceback(
    packed: Path, simulated: Path, tmp_path: Path
) -> None:
    """Digests may be right and the image still not be one that evaluate takes."""
    floats = tmp_path / "floats"
    floats.mkdir()
    for path in (packed / "predictions").glob("*.tif"):
        with rasterio.open(path) as source:
            np.save(floats / f"{path.stem}.npy", source.read().astype(np.float32))
    (floats / "predictions.toml").write_text("scale = 10000")
    ledger, *_ = evaluate(floats, tmp_path / "r", data=simulated, quiet=True, workers=0)
    assert ledger.provenance["scale"] == 10000
    options = {"data": simulated, "with_predictions": True, "workers": 0, "quiet": True}
    out, *_ = pack(floats, CARD, tmp_path / "e", results=tmp_path / "r", **options)
    (out / "predictions/predictions.toml").unlink()
    rewrite(out, lambda ledger: ledger.provenance.update(scale=None))
    assert "looks like digital numbers" in refusal(out, data=simulated, sample=2)
    assert "looks like digital numbers" in refusal(out, data=simulated, sample=None)
