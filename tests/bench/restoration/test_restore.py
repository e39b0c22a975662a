"""Test that a scene is restored on its own grid, whatever its size and holes."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from numpy.testing import assert_allclose
from rasterio.crs import CRS
from rio_cogeo.cogeo import cog_validate
from skimage.metrics import structural_similarity
from torch import nn

from conftest import Cli
from narrow_networks import narrow
from orders import (
    COEFFICIENTS,
    CORNER,
    NAME,
    ground,
    swath,
    write_image,
    write_metadata,
    write_order,
    write_sar,
    write_udm2,
)
from planetcr_bench.errors import UsageError
from planetcr_bench.restoration.inputs import Network, RestoreSettings
from planetcr_bench.restoration.output import PROVENANCE
from planetcr_bench.restoration.rasters import SceneFileError
from planetcr_bench.restoration.restore import Restored, restore_scene
from planetcr_models.inference import restore_batch

from .conftest import Echo, network

SMALL = RestoreSettings(tile=128, overlap=32, quiet=True)


def restored(
    scene: Path, out: Path, net: Network, settings: RestoreSettings = SMALL, **changes: object
) -> Restored:
    return restore_scene(scene, out, net, replace(settings, **changes))


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as image:
        return image.read()


def test_a_network_that_changes_nothing_gives_the_scene_again(
    tmp_path: Path, echo: Network
) -> None:
    inside = swath(301, 417)
    scene = write_order(tmp_path, ground(301, 417), inside)
    done = restored(scene, tmp_path / "out", echo)
    with rasterio.open(done.path) as image, rasterio.open(scene) as before:
        assert (image.crs, image.transform, image.shape) == (
            before.crs, before.transform, before.shape,
        )  # fmt: skip
        assert image.nodata == 0
        assert image.dtypes == ("uint16",) * 4
        assert image.descriptions == ("blue", "green", "red", "nir")
        assert [colour.name for colour in image.colorinterp[:3]] == ["blue", "green", "red"]
        assert (image.read() == before.read()).all()
        tags = image.tags()
    assert tags["NETWORK"] == "echo"
    assert tags["WEIGHTS_SHA256"] == "0" * 64
    assert tags["SOURCE"] == scene.name
    assert tags["TIFFTAG_DATETIME"] == "2022:06:14 10:15:30"
    assert done.shares == {"kept": 0, "restored": 1, "filled": 0}
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == [
        f"{NAME}_quicklook.png", f"{NAME}_restored.tif",
    ]  # fmt: skip


def test_what_is_written_is_cloud_optimised(tmp_path: Path, echo: Network) -> None:
    done = restored(write_order(tmp_path, ground(1100, 700)), tmp_path, echo)
    valid, errors, warnings = cog_validate(done.path, strict=True)
    assert (valid, errors, warnings) == (True, [], [])
    with rasterio.open(done.path) as image:
        assert image.overviews(1)


def test_nodata_never_reaches_a_network(tmp_path: Path) -> None:
    """Of land of one brightness it sees this brightness alone, whatever lies outside the swath."""
    inside = swath(301, 417)
    scene = write_order(tmp_path, np.full((4, 301, 417), 0.2, np.float32), inside)
    model = Echo()
    restored(scene, tmp_path / "out", network(model))
    assert len(model.seen) >= 6
    for image in model.seen:
        assert_allclose(image.numpy(), 0.2, atol=1e-4)


class Blur(nn.Module):
    """Shows what lies within 15 pixels, and zeros outside of an image, as convolutions do."""

    multiple = 1

    def forward(self, cloudy: torch.Tensor, _sar: torch.Tensor) -> torch.Tensor:
        return nn.functional.avg_pool2d(cloudy, 31, 1, 15)


def test_there_is_no_line_along_the_edge_of_a_swath_or_of_the_image(tmp_path: Path) -> None:
    """The pixels at an edge would lose half of their brightness."""
    inside = swath(301, 417)
    image = np.full((4, 301, 417), 0.2, np.float32)
    scene = write_order(tmp_path, image, inside)
    done = restored(scene, tmp_path / "out", network(Blur()), tile=192, overlap=96)
    numbers = read(done.path)
    assert (numbers[:, ~inside] == 0).all()
    assert_allclose(numbers[:, inside], 2000, atol=1)


def test_tiles_give_what_the_whole_image_gives(tmp_path: Path) -> None:
    image = ground(301, 417)
    scene = write_order(tmp_path, image)
    model = narrow("dsen2_cr", use_sar=False).eval()
    done = restored(scene, tmp_path / "out", network(model), tile=192, overlap=96, batch=3)
    shown = (np.rint(image * 10_000) / 10_000).astype(np.float32)
    whole = restore_batch(model, shown[None], np.zeros((1, 2, 90, 125), np.float32))[0]
    expected = np.clip(np.rint(whole * 10_000), 1, None)
    inner = (slice(None), slice(24, -24), slice(24, -24))  # a whole image has zeros around it
    assert np.abs(read(done.path) - expected)[inner].max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (20, 30), (33, 700), (128, 128), (129, 128)])
def test_any_size_is_restored(tmp_path: Path, echo: Network, size: tuple[int, int]) -> None:
    scene = write_order(tmp_path, ground(*size))
    assert (read(restored(scene, tmp_path / "out", echo).path) == read(scene)).all()


# --- What it is -----------------------------------------------------------------------------------


def test_eight_bands_become_the_four_that_a_network_takes(tmp_path: Path, echo: Network) -> None:
    image = ground(64, 64, bands=8)
    scene = write_order(tmp_path, image, name="20220614_3B_AnalyticMS_SR_8b_clip")
    expected = np.rint(image[[1, 3, 5, 7]] * 10_000)
    assert (read(restored(scene, tmp_path / "out", echo).path) == expected).all()


def test_radiance_is_written_as_reflectance(tmp_path: Path, echo: Network) -> None:
    numbers = np.full((4, 64, 64), 8000, np.uint16)
    scene = write_image(tmp_path / "a_3B_AnalyticMS.tif", numbers)
    write_metadata(tmp_path / "a_3B_AnalyticMS_metadata.xml")
    said: list[str] = []
    done = restore_scene(scene, tmp_path / "out", echo, SMALL, say=said.append)
    expected = [round(8000 * value * 10_000) for value in COEFFICIENTS]
    assert read(done.path)[:, 5, 5].tolist() == expected
    assert "top of the atmosphere" in said[0]
    assert any("surface reflectance" in line for line in said)


def test_a_band_without_a_value_is_filled_and_said_so(tmp_path: Path, echo: Network) -> None:
    image = np.full((4, 64, 64), 0.2, np.float32)
    numbers = np.rint(image * 10_000).astype(np.uint16)
    numbers[2, 20:22] = 0
    scene = write_image(tmp_path / f"{NAME}.tif", numbers)
    done = restored(scene, tmp_path / "out", echo, provenance=True)
    assert (read(done.path)[:4] == 2000).all()
    origin = read(done.path)[4]
    assert (origin[20:22] == PROVENANCE.index("filled")).all()
    assert done.shares["filled"] == pytest.approx(2 / 64)


def test_a_dark_band_is_no_hole(tmp_path: Path, echo: Network) -> None:
    """Over deep water surface reflectance is often 0 in near-infrared."""
    numbers = np.full((4, 64, 64), 150, np.uint16)
    numbers[3] = 0
    scene = write_image(tmp_path / f"{NAME}.tif", numbers)
    done = restored(scene, tmp_path / "out", echo)
    assert done.shares["filled"] == 0
    assert read(done.path)[:, 0, 0].tolist() == [150, 150, 150, 1]


# --- Masks ----------------------------------------------------------------------------------------


class Grey(nn.Module):
    """Restores everything to 0.3."""

    multiple = 1

    def forward(self, cloudy: torch.Tensor, _sar: torch.Tensor) -> torch.Tensor:
        return torch.full_like(cloudy, 0.3)


def test_clear_pixels_are_kept_where_asked(tmp_path: Path) -> None:
    inside, cloud = swath(200, 300), np.zeros((200, 300), bool)
    cloud[60:140, 180:260] = True
    scene = write_order(tmp_path, np.full((4, 200, 300), 0.1, np.float32), inside)
    mask = write_udm2(tmp_path, cloud & inside, inside)
    done = restored(
        scene, tmp_path / "out", network(Grey()), mask=mask, paste_m=30.0, provenance=True
    )
    numbers, origin = np.split(read(done.path), [4])
    assert (origin[0][~inside] == 0).all()
    assert (origin[0][cloud & inside] == 2).all()
    assert (numbers[:, cloud & inside] == 3000).all()
    kept = origin[0] == 1
    assert kept[inside].mean() > 0.5
    assert (numbers[:, kept] == 1000).all()
    row = numbers[0, 100, 258:275].astype(int)  # out of the cloud: 10 pixels of 3 m
    assert (np.diff(row) <= 0).all()
    assert np.abs(np.diff(row)).max() <= 201
    with rasterio.open(done.path) as image:
        assert image.descriptions[-1] == "provenance"
        assert "kept" in image.tags()["PASTE"]


def test_what_is_written_does_not_depend_on_the_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, cloud = swath(150, 200), np.zeros((150, 200), bool)
    cloud[40:90, 120:170] = True
    scene = write_order(tmp_path, ground(150, 200), inside)
    mask = write_udm2(tmp_path, cloud & inside, inside)
    made = []
    for name, high, wide in (("whole", 512, 2048), ("parts", 64, 48)):
        monkeypatch.setattr("planetcr_bench.restoration.writing._HIGH", high)
        monkeypatch.setattr("planetcr_bench.restoration.writing._WIDE", wide)
        more = {"mask": mask, "paste_m": 30.0, "provenance": True}
        done = restored(scene, tmp_path / name, network(Blur()), **more)
        made.append((read(done.path), done.shares))
    assert (made[0][0] == made[1][0]).all()
    assert made[0][1] == made[1][1]


def test_the_old_mask_of_one_band_is_read(tmp_path: Path) -> None:
    bits = np.zeros((1, 64, 64), np.uint8)
    bits[0, :20], bits[0, 20:30], bits[0, 30:32] = 1, 2, 4  # no data; cloud; blue is missing
    scene = write_order(tmp_path, np.full((4, 64, 64), 0.1, np.float32))
    mask = write_image(tmp_path / "a_DN_udm.tif", bits, nodata=None)
    done = restored(
        scene, tmp_path / "out", network(Grey()), mask=mask, paste_m=0.0, provenance=True
    )
    origin = read(done.path)[4]
    assert [int(origin[row, 5]) for row in (10, 25, 31, 60)] == [0, 2, 3, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"transform": CORNER @ Affine.translation(1, 0)}, "expected the grid of the scene"),
        ({"crs": CRS.from_epsg(32633)}, "expected the grid of the scene"),
        ({"bands": 3}, "expected a UDM2 file of 8 bands"),
        ({"size": 63}, "expected the grid of the scene"),
    ],
)
def test_a_mask_of_another_grid_is_refused(
    tmp_path: Path, echo: Network, change: dict, message: str
) -> None:
    size = change.pop("size", 64)
    numbers = np.ones((change.pop("bands", 8), size, 64), np.uint8)
    mask = write_image(tmp_path / "a_udm2.tif", numbers, nodata=None, **change)
    scene = write_order(tmp_path, ground(64, 64))
    with pytest.raises(SceneFileError, match=message):
        restored(scene, tmp_path / "out", echo, mask=mask)


def test_pasting_needs_a_mask(tmp_path: Path, echo: Network) -> None:
    with pytest.raises(UsageError, match="give --udm"):
        restored(write_order(tmp_path, ground(64, 64)), tmp_path / "out", echo, paste_m=1.0)


# --- SAR ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("linear", [False, True])
def test_sar_is_shown_in_the_units_of_training(tmp_path: Path, linear: bool) -> None:
    scene = write_order(tmp_path, ground(300, 300))
    sar = write_sar(tmp_path / "s1.tif", 300, 300, linear=linear)
    model = Echo()
    said: list[str] = []
    settings = replace(SMALL, sar=sar, tile=512)
    restore_scene(scene, tmp_path / "out", network(model, uses_sar=True), settings, say=said.append)
    (radar,) = model.radar
    decibels = read(write_sar(tmp_path / "dB.tif", 300, 300))
    expected = np.stack([(decibels[0] + 25) / 25, (decibels[1] + 32.5) / 32.5])
    rows = (2 * np.arange(300) + 1) * 90 // 600
    inner = radar.numpy()[:, 12:-12, 12:-12]  # around it, the scene is continued
    assert_allclose(inner, expected[:, rows][:, :, rows], atol=1e-4)
    assert ("linear power" if linear else "dB") in said[-1]


def test_sar_of_another_projection_is_put_onto_the_scene(tmp_path: Path) -> None:
    from rasterio.warp import Resampling, calculate_default_transform, reproject

    scene = write_order(tmp_path, ground(300, 300))
    near = write_sar(tmp_path / "near.tif", 360, 360, transform=Affine(
        10, 0, CORNER.c - 60, 0, -10, CORNER.f + 60))  # fmt: skip
    with rasterio.open(near) as source:
        crs = CRS.from_epsg(4326)
        transform, width, height = calculate_default_transform(
            source.crs, crs, source.width, source.height, *source.bounds
        )
        far = np.full((2, height, width), np.nan, np.float32)
        reproject(
            source.read(), far, src_transform=source.transform, src_crs=source.crs,
            dst_transform=transform, dst_crs=crs, dst_nodata=np.nan, resampling=Resampling.bilinear,
        )  # fmt: skip
    degrees = write_image(
        tmp_path / "far.tif", far, transform=transform, crs=crs, nodata=float("nan")
    )
    shown = []
    for path in (near, degrees):
        model = Echo()
        restored(scene, tmp_path / path.stem, network(model, uses_sar=True), sar=path, tile=512)
        shown.append(model.radar[0].numpy())
    assert np.abs(shown[0] - shown[1]).mean() < 0.01


def test_far_from_sar_a_network_is_shown_its_median(tmp_path: Path) -> None:
    """And not 0 dB, which is brighter than any land."""
    scene = write_order(tmp_path, ground(64, 1000))
    sar = write_sar(tmp_path / "s1.tif", 64, 60)
    model = Echo()
    said: list[str] = []
    settings = replace(SMALL, sar=sar)
    restore_scene(scene, tmp_path / "out", network(model, uses_sar=True), settings, say=said.append)
    assert said[-1].endswith("covers 6 % of the scene; elsewhere its nearest values are shown")
    median = np.median(read(sar), axis=(1, 2))
    expected = (median - [-25, -32.5]) / [25, 32.5]
    far = model.radar[-1].numpy()
    assert_allclose(far, np.broadcast_to(expected[:, None, None], far.shape), atol=0.02)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: write_sar(path, 64, 64, transform=Affine(10, 0, 0, 0, -10, 0)),
         "expected an image that overlaps the scene"),
        (lambda path: write_image(path, np.full((2, 30, 30), 900, np.uint16)), "calibrate"),
        (lambda path: write_image(path, np.full((1, 30, 30), -9, np.float32)), "two bands"),
        (lambda path: write_image(path, np.full((2, 30, 30), -9, np.float32), names=("HH", "HV")),
         "two bands, VV and VH"),
    ],
)  # fmt: skip
def test_another_sar_image_is_refused(tmp_path: Path, make, message: str) -> None:
    scene, sar = write_order(tmp_path, ground(64, 64)), make(tmp_path / "s1.tif")
    with pytest.raises(SceneFileError, match=message):
        restored(scene, tmp_path / "out", network(Echo(), uses_sar=True), sar=sar)
    assert not list((tmp_path / "out").glob("*"))


# --- Stopped and refused --------------------------------------------------------------------------


def test_a_stopped_run_goes_on_from_its_tiles(tmp_path: Path) -> None:
    scene = write_order(tmp_path, ground(301, 417))
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        restored(scene, out, network(Echo(stop_after=5)))
    assert not list(out.glob("*.tif"))
    second = Echo()
    done = restored(scene, out, network(second))
    assert len(second.seen) == 20 - 5
    assert (read(done.path) == read(scene)).all()


def test_tiles_of_another_run_are_not_taken(tmp_path: Path) -> None:
    scene = write_order(tmp_path, ground(301, 417))
    with pytest.raises(KeyboardInterrupt):
        restored(scene, tmp_path / "out", network(Echo(stop_after=5)))
    second = Echo()
    write_order(tmp_path, ground(301, 417, seed=1))
    done = restored(scene, tmp_path / "out", network(second))
    assert len(second.seen) == 20
    assert (read(done.path) == read(scene)).all()


def test_a_killed_command_leaves_no_output_and_goes_on(tmp_path: Path, cli: Cli) -> None:
    scene = write_order(tmp_path, ground(301, 417))
    net = tmp_path / "net.py"
    net.write_text(
        "import time, torch\n"
        "class Slow(torch.nn.Module):\n"
        "    uses_sar = False\n"
        "    def forward(self, cloudy, sar):\n"
        "        time.sleep(0.2)\n"
        "        return cloudy\n"
        "def build():\n"
        "    return Slow()\n"
    )
    words = ["restore", str(scene), "--method", f"{net}:build", "--out", str(tmp_path / "out"),
             "--tile", "128", "--overlap", "32", "--json"]  # fmt: skip
    work = tmp_path / "out" / f".{NAME}_restored.unfinished"
    process = subprocess.Popen([sys.executable, "-m", "planetcr_bench", *words])
    end = time.monotonic() + 60
    while time.monotonic() < end and len(list(work.glob("*_*.npy"))) < 3:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert len(list(work.glob("*_*.npy"))) >= 3
    assert not list((tmp_path / "out").glob("*.tif"))
    net.write_text(net.read_text().replace("time.sleep(0.2)", "raise SystemExit"))
    refused = cli(*words)  # the code of a network is part of what it is
    assert refused.returncode == 1
    net.write_text(net.read_text().replace("raise SystemExit", "time.sleep(0)"))
    (entry,) = json.loads(cli(*words).stdout)
    assert (read(Path(entry["restored"])) == read(scene)).all()
    assert not work.exists()


def test_an_existing_output_is_kept(tmp_path: Path, echo: Network) -> None:
    scene = write_order(tmp_path, ground(64, 64))
    done = restored(scene, tmp_path / "out", echo)
    before = done.path.read_bytes()
    with pytest.raises(SceneFileError, match="exists already; --overwrite replaces it"):
        restored(scene, tmp_path / "out", network(Grey()))
    assert done.path.read_bytes() == before
    restored(scene, tmp_path / "out", network(Grey()), overwrite=True)
    assert (read(done.path) == 3000).all()


@pytest.mark.parametrize(("as_type", "scale"), [(np.float32, 10_000), (np.uint16, 60_000)])
def test_numbers_of_another_scale_are_refused(
    tmp_path: Path, echo: Network, as_type: type, scale: int
) -> None:
    """Clipped to 1 they would be a white image, without a word."""
    numbers = (scale * np.full((4, 64, 64), 0.9, np.float32)).astype(as_type)
    scene = write_image(tmp_path / "a_SR.tif", numbers)
    with pytest.raises(SceneFileError, match=r"a_SR.tif: expected reflectance, about 0 to 1"):
        restored(scene, tmp_path / "out", echo)
    assert not (tmp_path / "out").exists()


def test_a_scene_of_nodata_is_refused(tmp_path: Path, echo: Network) -> None:
    scene = write_order(tmp_path, ground(64, 64), np.zeros((64, 64), bool))
    with pytest.raises(SceneFileError, match="all its pixels are nodata"):
        restored(scene, tmp_path / "out", echo)
    assert not list((tmp_path / "out").glob("*.tif"))


@pytest.mark.parametrize("most", [20_000, 300_000])
def test_a_full_disk_is_one_line_and_keeps_the_tiles(tmp_path: Path, most: int) -> None:
    """The system refuses to write more: of the first tile, or of the image, which is noise."""
    image = np.random.default_rng(0).uniform(0.02, 0.4, (4, 300, 300)).astype(np.float32)
    scene, out = write_order(tmp_path, image), tmp_path / "out"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        with pytest.raises(
            SceneFileError, match=r"cannot be written \(.*tiles that are finished"
        ) as told:
            restored(scene, out, network(Echo()))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "\n" not in str(told.value)
    kept = [] if most == 20_000 else [f".{NAME}_restored.unfinished"]
    assert [path.name for path in out.iterdir()] == kept
    again = Echo()
    done = restored(scene, out, network(again))
    assert len(again.seen) == (16 if most == 20_000 else 0)
    assert (read(done.path) == read(scene)).all()


def test_what_a_disk_has_no_room_for_is_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = write_order(tmp_path, ground(64, 64))
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=100_000))
    model = Echo()
    with pytest.raises(SceneFileError, match=r"GB of free space on its disk .* found 0.0001 GB"):
        restored(scene, tmp_path / "out", network(model))
    assert model.seen == []


# --- Against a clear image ------------------------------------------------------------------------


def test_scores_against_a_clear_image_are_those_of_scikit_image(tmp_path: Path) -> None:
    clear, inside = ground(150, 200), swath(150, 200)
    cloud = np.zeros((150, 200), bool)
    cloud[40:90, 120:170] = True
    cloudy = np.where(cloud, 0.7, clear + 0.01).astype(np.float32)
    scene = write_order(tmp_path, cloudy, inside)
    reference = write_order(tmp_path / "clear", clear, name="b_SR")
    mask = write_udm2(tmp_path, cloud & inside, inside)
    done = restored(scene, tmp_path / "out", network(Grey()), reference=reference, mask=mask)
    truth = np.rint(clear * 10_000) / 10_000
    for at, image in ((0, np.full_like(truth, 0.3)), (1, np.rint(cloudy * 10_000) / 10_000)):
        error = (image - truth)[:, inside]
        scores = done.scores["overall"]
        assert scores.pixels == inside.sum()
        assert scores.mae[at] == pytest.approx(np.abs(error).mean(), rel=1e-5)
        assert scores.psnr[at] == pytest.approx(-10 * np.log10((error**2).mean()), rel=1e-5)
        under = (image - truth)[:, inside & cloud]
        assert done.scores["cloud"].mae[at] == pytest.approx(np.abs(under).mean(), rel=1e-5)
    assert done.scores["cloud"].pixels == (cloud & inside).sum()
    _, similarity = structural_similarity(
        truth, np.full_like(truth, 0.3), channel_axis=0, data_range=1, gaussian_weights=True,
        sigma=1.5, use_sample_covariance=False, full=True,
    )  # fmt: skip
    from scipy.ndimage import binary_erosion

    near = binary_erosion(inside, np.ones((11, 11)), border_value=0)
    assert done.scores["overall"].ssim[0] == pytest.approx(
        similarity.mean(0)[near].mean(), abs=1e-5
    )


def test_scores_do_not_depend_on_the_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = write_order(tmp_path, ground(150, 200))
    reference = write_order(tmp_path / "clear", ground(150, 200, seed=1), name="b_SR")
    made = []
    for side in (1024, 64):
        monkeypatch.setattr("planetcr_bench.restoration.writing._WINDOW", side)
        net = network(Echo())
        made.append(restored(scene, tmp_path / str(side), net, reference=reference).scores)
    first, second = (each["overall"] for each in made)
    assert first.pixels == second.pixels == 150 * 200
    for name in ("mae", "psnr", "sam_deg", "ssim"):
        assert getattr(first, name) == pytest.approx(getattr(second, name), rel=1e-9)


def test_a_reference_elsewhere_is_refused(tmp_path: Path, echo: Network) -> None:
    scene = write_order(tmp_path, ground(64, 64))
    far = CORNER @ Affine.translation(1000, 0)
    reference = write_order(tmp_path / "clear", ground(64, 64), name="b_SR", transform=far)
    with pytest.raises(SceneFileError, match="overlaps the scene"):
        restored(scene, tmp_path / "out", echo, reference=reference)


# --- The command ----------------------------------------------------------------------------------


def test_the_command_restores_with_weights_of_the_package(tmp_path: Path, cli: Cli) -> None:
    inside = swath(96, 128)
    scene = write_order(tmp_path, ground(96, 128), inside)
    mask = write_udm2(tmp_path, np.zeros((96, 128), bool), inside)
    done = cli(
        "restore", scene, "--method", "spa_gan", "--pretrained", "sim-v1-small", "--out", "out",
        "--udm", mask, "--paste", "clear", "--feather", 0, "--provenance", "--stac",
        "--precision", "bf16", "--batch", 2, "--tile", 64, "--reference", scene,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "PlanetScope surface reflectance, 4 bands; 128 × 96 pixels of 3 m" in done.stderr
    assert "mask: UDM2" in done.stderr
    assert "% kept" in done.stdout
    assert "PSNR" in done.stdout
    numbers = read(tmp_path / f"out/{NAME}_restored.tif")
    kept = numbers[4] == PROVENANCE.index("kept")
    assert kept.sum() > 0.9 * inside.sum()
    assert (numbers[:4, kept] == read(scene)[:, kept]).all()
    with rasterio.open(tmp_path / f"out/{NAME}_restored.tif") as image:
        tags = image.tags()
    assert tags["NETWORK"] == "spa_gan"
    assert tags["WEIGHTS"] == "sim-v1-small"
    assert tags["COMMAND"].startswith("planetcr-bench restore ")
    item = json.loads((tmp_path / f"out/{NAME}_restored.json").read_text())
    assert item["properties"]["datetime"] == "2022-06-14T10:15:30Z"
    assert {asset["href"] for asset in item["assets"].values()} == {
        f"{NAME}_restored.tif", f"{NAME}_quicklook.png",
    }  # fmt: skip
    assert (tmp_path / f"out/{NAME}_quicklook.png").is_file()


NO_SAR = ("--pretrained", "sim-v1-small-no-sar", "--out", "out")


def test_several_scenes_are_restored_and_what_is_wrong_with_one_stops_no_other(
    tmp_path: Path, cli: Cli
) -> None:
    first, second, third = (
        write_order(tmp_path, ground(40, 40, seed=seed), inside, name=f"{seed}_SR")
        for seed, inside in ((1, None), (2, np.zeros((40, 40), bool)), (3, None))
    )
    done = cli("restore", first, second, third, *NO_SAR)
    assert done.returncode == 1
    (*_, headline, reason) = done.stderr.splitlines()
    assert headline == "error: 1 of 3 scenes is not restored; the same command goes on with them"
    assert reason == f"  {second}: all its pixels are nodata"
    assert [path.name for path in sorted((tmp_path / "out").glob("*.tif"))] == [
        "1_SR_restored.tif", "3_SR_restored.tif",
    ]  # fmt: skip
    write_order(tmp_path, ground(40, 40), name="2_SR")
    (tmp_path / "out/3_SR_restored.tif").unlink()
    done = cli("restore", first, second, third, *NO_SAR, "--json")
    assert done.returncode == 0, done.stderr
    restored = [Path(entry["restored"]).name for entry in json.loads(done.stdout)]
    assert restored == ["2_SR_restored.tif", "3_SR_restored.tif"]
    done = cli("restore", first, second, third, *NO_SAR)
    assert done.returncode == 1
    assert done.stderr.count("exists already; --overwrite replaces it") == 6
    done = cli("restore", first, *NO_SAR, "--overwrite")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--weights", "sim-v2"], 1, "sim-v2: no such file, and no pretrained weights of this"),
        (["--weights", "sim-v1-small", "--method", "dsen2_cr"], 2, "dsen2_cr: looks at SAR; give"),
        (["--weights", "sim-v1-small"], 2, "choose one with --method; without SAR there are"),
        ([], 2, "expected --weights"),
        (["--weights", "sim-v1-small-no-sar", "--udm", "a", "--udm", "b"], 2, "expected 1 masks"),
        (["--weights", "sim-v1-small-no-sar", "--paste", "clear"], 2, "give --udm too"),
        (["--weights", "sim-v1-small-no-sar", "--tile", "64", "--overlap", "64"], 1,
         "tiles larger than their overlap"),
    ],
)  # fmt: skip
def test_wrong_options_are_refused_in_one_line(
    tmp_path: Path, cli: Cli, words: list[str], code: int, message: str
) -> None:
    scene = write_order(tmp_path, ground(40, 40))
    done = cli("restore", scene, "--out", "out", *words)
    assert done.returncode == code, done.stderr
    assert message in done.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_scenes_of_one_name_are_refused(tmp_path: Path, cli: Cli) -> None:
    scenes = [write_order(tmp_path / folder, ground(40, 40)) for folder in "ab"]
    done = cli("restore", *scenes, *NO_SAR)
    assert done.returncode == 2
    assert f"got {NAME} 2 times" in done.stderr
