"""Test datasets on disk: official layout, reproducible bytes, nothing half-written."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio

from conftest import Cli
from planetcr_bench.constants import COVER_BINS, PRODUCTS
from planetcr_bench.data.integrity import check_dataset
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.metadata import Simulation
from planetcr_bench.data.reading import read_product
from planetcr_bench.data.tracks import read_track, simulated_identity
from planetcr_bench.errors import BenchError, DatasetError, UsageError
from planetcr_bench.simulation import writer
from planetcr_bench.simulation.place import Place
from planetcr_bench.simulation.scene import truth_of
from planetcr_bench.simulation.writer import SIZES, jobs_of, simulate


@pytest.fixture
def own(simulated: Path, tmp_path: Path) -> Path:
    """The tiny dataset, free to be broken."""
    return Path(shutil.copytree(simulated, tmp_path / "own"))


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_check_finds_nothing_wrong_and_every_bin_filled(simulated: Path) -> None:
    report = check_dataset(simulated, workers=0)
    assert report.ok, report.problems
    assert report.warnings == []
    assert (report.splits["test"].scenes, report.splits["train"].scenes) == (10, 4)
    assert report.splits["test"].cloud_cover == dict.fromkeys(COVER_BINS, 2)
    assert report.track == "sim-v1-tiny"


def test_files_are_stored_as_in_the_official_release(simulated: Path) -> None:
    files = find_scenes(simulated, "test")[0]
    sizes = {"clear": 721_006, "cloudy": 721_006, "sar": 130_080,
             "land_cover": 8_460, "cloud_mask": 90_128}  # fmt: skip
    assert {product: files.path(product).stat().st_size for product in PRODUCTS} == sizes
    assert sizes == writer.FILE_BYTES
    with rasterio.open(files.path("cloudy")) as image:
        assert (image.nodata, image.compression, image.interleaving.value) == (0, None, "PIXEL")
        assert image.descriptions == (None,) * 4
        left, top = image.transform.c, image.transform.f
    assert left % 3 == top % 3 == 0
    with rasterio.open(files.path("sar")) as image:
        assert (image.nodata, image.dtypes) == (None, ("float64", "float64"))
        assert 0 <= image.transform.c - left <= 2
        assert 0 <= top - image.transform.f <= 2
        assert image.transform.c % 10 == image.transform.f % 10 == 0


def test_patches_of_an_aoi_lie_where_their_numbers_say(simulated: Path) -> None:
    corners = {}
    for files in find_scenes(simulated, "test"):
        transform = read_product(files, "clear").transform
        assert transform is not None
        row, column = divmod(files.patch - 1, 12)
        corners.setdefault(files.aoi, set()).add(
            (transform.c - 900 * column, transform.f + 900 * row)
        )
    assert all(len(names) == 1 for names in corners.values())


def test_lists_are_the_authors(simulated: Path) -> None:
    for split in ("train", "test"):
        path = simulated / f"{split}.csv"
        assert find_scenes(simulated, split, path) == find_scenes(simulated, split)
        assert path.read_bytes().count(b"\r\n") == len(find_scenes(simulated, split))


def test_workers_do_not_change_a_byte(simulated: Path, tmp_path: Path) -> None:
    simulate(tmp_path / "two", size="tiny", workers=2, quiet=True)
    assert snapshot(tmp_path / "two") == snapshot(simulated)


def test_an_interrupted_run_resumes_and_ends_with_the_same_bytes(own: Path) -> None:
    whole = snapshot(own)
    files = find_scenes(own, "test")
    files[0].path("cloud_mask").unlink()
    shutil.rmtree(files[-1].path("sar").parent)
    (own / "test.csv").unlink()
    with files[1].path("cloudy").open("r+b") as cut_off:
        cut_off.truncate(1000)  # as a power failure may leave it, under its final name
    mask = files[0].path("cloud_mask")
    half = mask.with_name(f".{mask.name}.12ab34cd.partial")
    half.write_bytes(b"half")
    with pytest.raises(DatasetError, match=r"expected 10 scenes by dataset.toml, found"):
        find_scenes(own, "test")
    before = files[2].path("sar").stat().st_mtime_ns
    simulate(own, size="tiny", workers=0, quiet=True)
    assert snapshot(own) == whole  # what was begun is gone too
    assert files[2].path("sar").stat().st_mtime_ns == before  # what was there was left alone


def test_the_check_names_an_unfinished_dataset(own: Path) -> None:
    files = find_scenes(own, "train")[0]
    for product in PRODUCTS:
        files.path(product).unlink()
    report = check_dataset(own, workers=0)
    assert any("expected 4 scenes by dataset.toml, found 3" in line for line in report.problems)


def test_a_smaller_dataset_is_a_subset_of_a_larger_one(own: Path) -> None:
    small = snapshot(own)
    simulate(own, size="tiny", train=7, workers=0, quiet=True)
    large = snapshot(own)
    assert len(find_scenes(own, "train")) == 7
    changed = {name for name in small if small[name] != large[name]}
    assert changed == {"dataset.toml", "train.csv"}
    with pytest.raises(DatasetError, match="give --train 7"):
        simulate(own, size="tiny", train=6, quiet=True)


def of_size(size: str, test: int, train: int) -> Simulation:
    return Simulation(
        version="v", preset="standard", seed=0, size=size, test_scenes=test, train_scenes=train
    )


def test_sizes_nest() -> None:
    def scenes(size: str) -> set[tuple[int, int]]:
        counts = SIZES[size]
        jobs = jobs_of(of_size(size, counts.test_scenes, counts.train_scenes))
        return {(job.place.number, rank) for job in jobs for rank in range(job.scenes)}

    tiny, demo, full = map(scenes, SIZES)
    assert tiny <= demo <= full
    assert (len(tiny), len(demo), len(full)) == (14, 168, 9_600)
    most = jobs_of(of_size("full", 3_000, 60_000))
    assert sum(job.scenes for job in most) == 63_000
    assert {job.scenes for job in most if job.place.split == "test"} == {25}
    assert max(job.scenes for job in most) <= 144


def test_a_folder_with_other_files_is_refused_and_left_alone(own: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"seed 0, size tiny, expected .*seed 1"):
        simulate(own, size="tiny", seed=1, quiet=True)
    with pytest.raises(DatasetError, match=r"expected .*misaligned"):
        simulate(own, size="tiny", preset="misaligned", quiet=True)
    text = (own / "dataset.toml").read_text()
    (own / "dataset.toml").write_text(text.replace('version = "sim-v1"', 'version = "sim-v0"'))
    with pytest.raises(DatasetError, match=r"of sim-v0, this version .* writes sim-v1"):
        simulate(own, size="tiny", quiet=True)
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("mine")
    with pytest.raises(DatasetError, match="new or empty folder"):
        simulate(other, size="tiny", quiet=True)
    assert snapshot(other) == {"thesis.tex": b"mine"}
    with pytest.raises(DatasetError, match="found a file"):
        simulate(other / "thesis.tex", size="tiny", quiet=True)


def test_invalid_settings_are_refused(tmp_path: Path) -> None:
    for settings, words in (
        ({"size": "huge"}, "tiny or demo or full"),
        ({"preset": "easy"}, "standard or misaligned"),
        ({"seed": -1}, "--seed"),
        ({"train": -1}, "--train"),
        ({"size": "full", "train": 60_001}, "0 to 60000"),
        ({"truth": tmp_path / "sim" / "truth"}, "outside the dataset"),
    ):
        with pytest.raises(UsageError, match=words):
            simulate(tmp_path / "sim", quiet=True, **settings)
    assert not (tmp_path / "sim").exists()


def test_a_disk_that_is_too_small_is_reported_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=10**9)
    monkeypatch.setattr(writer.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(BenchError, match=r"16,039 MB of free disk space, found 1,000"):
        simulate(tmp_path / "sim", size="full", quiet=True)
    assert not (tmp_path / "sim").exists()


def test_a_full_disk_leaves_no_half_written_file(simulated: Path, tmp_path: Path) -> None:
    """The kernel refuses bytes beyond 500 kB of a file, as a full disk does in the midst of one."""
    code = "import resource, sys; from planetcr_bench.cli import main\n"
    code += "resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, resource.RLIM_INFINITY))\n"
    code += "sys.argv = ['', 'simulate', 'sim', '--size', 'tiny', '--workers', '0']; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 500_000
    assert done.returncode == 1
    assert "cannot be written" in done.stderr
    assert "planet_cloudfree" in done.stderr
    assert "Traceback" not in done.stderr
    assert set(snapshot(tmp_path / "sim")) == {"dataset.toml"}
    simulate(tmp_path / "sim", size="tiny", workers=0, quiet=True)
    assert snapshot(tmp_path / "sim") == snapshot(simulated)


def test_the_truth_is_complete_and_outside_the_dataset(own: Path, tmp_path: Path) -> None:
    simulate(own, size="tiny", truth=tmp_path / "truth", workers=0, quiet=True)
    scenes = [files for split in ("test", "train") for files in find_scenes(own, split)]
    stems = sorted(path.stem for path in (tmp_path / "truth").glob("*.npz"))
    assert stems == sorted(files.name for files in scenes)
    files = scenes[0]
    expected = truth_of(Place(0, files.fields["aoi"]), files.patch)
    with np.load(tmp_path / "truth" / f"{files.name}.npz") as stored:
        for name in expected.__slots__:
            np.testing.assert_array_equal(stored[name], getattr(expected, name))
    assert not [path for path in own.rglob("*") if "truth" in path.name or path.suffix == ".npz"]
    for other in ({"preset": "misaligned"}, {"seed": 1}):  # whose scenes have the same names
        with pytest.raises(DatasetError, match=r"truth: holds .*, expected"):
            simulate(tmp_path / "b", size="tiny", truth=tmp_path / "truth", quiet=True, **other)
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match="file: expected a folder, found a file"):
        simulate(tmp_path / "b", size="tiny", truth=tmp_path / "file", quiet=True)
    assert not (tmp_path / "b").exists()


def test_other_presets_and_seeds_are_other_tracks(tmp_path: Path) -> None:
    simulate(tmp_path / "a", size="tiny", train=0, preset="misaligned", seed=3, quiet=True)
    assert read_track(tmp_path / "a") == "sim-v1-tiny-misaligned-seed3"
    assert simulated_identity(tmp_path / "a", "test") == "sim-v1 misaligned, seed 3, size tiny"
    assert not (tmp_path / "a" / "train").exists()
    assert check_dataset(tmp_path / "a", workers=0).ok


def test_the_command_line(cli: Cli, own: Path, tmp_path: Path) -> None:
    own.rename(tmp_path / "sim")
    find_scenes(tmp_path / "sim", "test")[0].path("sar").unlink()
    done = cli("simulate", "sim", "--size", "tiny", "--json")
    assert done.returncode == 0, done.stderr
    assert '"track": "sim-v1-tiny"' in done.stdout
    assert cli("check", "sim").returncode == 0
    for wrong in (["--size", "big"], ["--seed", "-1"], ["--train", "-3"], ["--workers", "-1"]):
        done = cli("simulate", "sim", *wrong)
        assert done.returncode == 2, (wrong, done.stderr)
        assert "Traceback" not in done.stderr
    done = cli("simulate", "sim", "--size", "tiny", "--seed", "4")
    assert (done.returncode, done.stdout) == (1, "")
    assert "choose a new folder" in done.stderr
    (tmp_path / "file").touch()
    done = cli("simulate", "file/sim", "--size", "tiny")
    assert done.returncode == 1
    assert "file" in done.stderr
    assert "Traceback" not in done.stderr
