"""Test tiles: layout, blending, and agreement with an untiled run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from torch import Tensor

from narrow_networks import images, narrow
from planetcr_models.errors import InputError, ModelError
from planetcr_models.inference import (
    Sliceable,
    TileAxis,
    choose_device,
    restore_batch,
    restore_tiled,
)
from planetcr_models.networks.base import Restorer, upsample


class Grid(Restorer):
    """Tells where each pixel lies in the network's windows, and what SAR it sees."""

    def __init__(self, multiple: int) -> None:
        super().__init__()
        self.multiple = multiple

    def restore(self, cloudy: Tensor, sar: Tensor) -> Tensor:
        row, column = (torch.arange(side) % self.multiple for side in cloudy.shape[-2:])
        window = (row[:, None] * self.multiple + column).expand_as(cloudy[:, :1])
        return torch.cat((cloudy[:, :1], window, sar), 1)


class Offset(Restorer):
    """Adds a number that differs from tile to tile: the mean of what it sees."""

    def restore(self, cloudy: Tensor, sar: Tensor) -> Tensor:  # noqa: ARG002
        return cloudy + cloudy.mean((1, 2, 3), keepdim=True)


class Watched:
    """An array that remembers the largest part of it that was read."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.largest = array, 0

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    def __getitem__(self, index: Any) -> np.ndarray:
        part = self.array[index]
        self.largest = max(self.largest, part.size)
        return part


def scene(*size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noise, and SAR at its native grid."""
    cloudy, sar = images(1, size, seed=seed)
    return cloudy[0].numpy(), sar[0].numpy()


def smooth(*size: int) -> tuple[np.ndarray, np.ndarray]:
    """Reflectance that rises evenly along both axes, and even SAR."""
    rows, columns = np.linspace(0, 0.4, size[0]), np.linspace(0.1, 0.5, size[1])
    plane = (rows[:, None] + columns).astype(np.float32)
    return np.stack([plane] * 4), np.full((2, 10, 10), 0.5, np.float32)


def untiled(model: torch.nn.Module, cloudy: np.ndarray, sar: np.ndarray) -> np.ndarray:
    return restore_batch(model, cloudy[None], sar[None])[0]


def bend(image: np.ndarray) -> np.ndarray:
    """How much the slope along the rows changes at each column, at most."""
    return np.abs(np.diff(image.astype(np.float64), 2, axis=-1)).max((0, 1))


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(32, 150), st.integers(32, 150)),
    multiple=st.sampled_from([1, 2, 16, 48]),
    tile=st.integers(64, 110),
    overlap=st.integers(0, 48),
    batch=st.integers(1, 3),
)
def test_tiles_start_at_windows_of_the_padded_image_with_their_sar(
    size: tuple[int, int], multiple: int, tile: int, overlap: int, batch: int
) -> None:
    cloudy, sar = scene(*size)
    model = Grid(multiple)
    tiled = restore_tiled(model, cloudy, sar, tile=tile, overlap=overlap, batch=batch)
    assert_allclose(tiled, untiled(model, cloudy, sar), rtol=1e-6)
    assert_allclose(tiled[2:], upsample(torch.from_numpy(sar)[None], size)[0], rtol=1e-6)


@given(
    size=st.integers(1, 2000),
    multiple=st.sampled_from([1, 16, 128]),
    tile=st.integers(32, 600),
    overlap=st.integers(0, 300),
    padded=st.booleans(),
)
def test_weights_sum_to_one_and_leave_out_the_margins(
    size: int, multiple: int, tile: int, overlap: int, *, padded: bool
) -> None:
    rounded_tile, rounded_overlap = (-(-x // multiple) * multiple for x in (tile, overlap))
    if rounded_overlap >= rounded_tile:
        overlap, rounded_overlap = 0, 0
    around = 3 * overlap // 8 if padded else 0
    axis = TileAxis.of(size, tile, overlap, multiple, margin=around)
    assert axis.before >= around
    total = np.zeros(size)
    for index, start in enumerate(axis.starts):
        inside, there, weight = axis.weight(index)
        total[there] += weight
        assert start % multiple == 0
        assert there.start - inside.start == start - axis.before
        margin = 3 * rounded_overlap // 8 - 1
        assert index == 0 or inside.start >= margin
        assert index == len(axis.starts) - 1 or axis.side - inside.stop >= margin
    assert_allclose(total, 1, rtol=1e-6)
    assert axis.starts[-1] + axis.side - axis.before >= size + around
    assert all(np.diff(axis.starts) <= axis.side - rounded_overlap)


@pytest.mark.parametrize("size", [(130, 131), (64, 200), (33, 97)])
@pytest.mark.parametrize(("tile", "overlap"), [(48, 16), (64, 31), (500, 96)])
def test_a_receptive_field_within_the_margin_gives_the_untiled_result(
    size: tuple[int, int], tile: int, overlap: int
) -> None:
    model, (cloudy, sar) = narrow("dsen2_cr"), scene(*size)
    tiled = restore_tiled(model, cloudy, sar, tile=tile, overlap=overlap, batch=3)
    assert_allclose(tiled, untiled(model, cloudy, sar), rtol=0, atol=1e-5)


def test_a_larger_receptive_field_does_not() -> None:
    model, (cloudy, sar) = narrow("dsen2_cr"), scene(64, 130)
    tiled = restore_tiled(model, cloudy, sar, tile=48, overlap=0)
    assert np.abs(tiled - untiled(model, cloudy, sar)).max() > 1e-4


@pytest.mark.parametrize("name", ["align_cr", "align_cr_no_sar", "glf_cr"])
def test_attention_networks_are_near_the_untiled_result(name: str) -> None:
    """With the default overlap, on noise, where neighbours say least about each other."""
    model, (cloudy, sar) = narrow(name), scene(40, 285)
    expected = untiled(model, cloudy, sar)
    tiled = restore_tiled(model, cloudy, sar, tile=192)
    assert_allclose(tiled, expected, rtol=0, atol=1e-5)
    careless = restore_tiled(model, cloudy, sar, tile=144, overlap=0)
    assert np.abs(careless - expected).max() > 1e-3


def test_there_is_no_seam_where_tiles_differ() -> None:
    """The offset of a tile is about a tenth; blended, the slope bends less than it is steep."""
    cloudy, sar = smooth(64, 400)
    slope = 0.4 / 399
    blended = bend(restore_tiled(Offset(), cloudy, sar, tile=128, overlap=64))
    hard = bend(restore_tiled(Offset(), cloudy, sar, tile=128, overlap=0))
    assert hard.max() > 50 * slope
    assert blended.max() < 6 * slope


def test_a_smooth_image_stays_smooth_across_tiles() -> None:
    model, (cloudy, sar) = narrow("dsen2_cr"), smooth(64, 300)
    once = bend(untiled(model, cloudy, sar)[..., 10:-10])
    tiled = bend(restore_tiled(model, cloudy, sar, tile=64, overlap=32)[..., 10:-10])
    hard = bend(restore_tiled(model, cloudy, sar, tile=64, overlap=0)[..., 10:-10])
    assert tiled.max() < once.max() + 1e-6
    assert hard.max() > 10 * once.max()


def test_only_a_tile_is_read_at_a_time_and_a_file_is_written(tmp_path: Path) -> None:
    cloudy, sar = (Watched(image) for image in scene(300, 200))
    out = np.lib.format.open_memmap(tmp_path / "out.npy", "w+", np.float32, (4, 300, 200))
    out[...] = np.nan
    seen: list[tuple[int, int]] = []
    given_back = restore_tiled(
        Grid(16), cloudy, sar, tile=64, overlap=16, batch=3, out=out,
        progress=lambda done, tiles: seen.append((done, tiles)),
    )  # fmt: skip
    assert given_back is out
    assert cloudy.largest <= 4 * 64 * 64
    assert sar.largest <= 2 * 21 * 21
    assert seen == [(done, 24) for done in range(3, 25, 3)]
    assert_allclose(out[0], cloudy.array[0], rtol=1e-6)


@pytest.mark.parametrize("kind", ["tensor", "float64", ">f4", "read-only"])
def test_images_come_in_many_forms(kind: str) -> None:
    cloudy, sar = scene(80, 40)
    expected = restore_tiled(narrow("dsen2_cr"), cloudy, sar, tile=48, overlap=16)
    forms: dict[str, tuple[Sliceable, Sliceable]] = {
        "tensor": (torch.from_numpy(cloudy), torch.from_numpy(sar)),
        "float64": (cloudy.astype("f8"), sar.astype("f8")),
        ">f4": (cloudy.astype(">f4"), sar.astype(">f4")),
        "read-only": (np.broadcast_to(cloudy, cloudy.shape), np.broadcast_to(sar, sar.shape)),
    }
    again = restore_tiled(narrow("dsen2_cr"), *forms[kind], tile=48, overlap=16)
    assert_array_equal(again, expected)


def test_the_network_is_left_in_its_mode_and_gets_no_gradient() -> None:
    model = narrow("mcgan").train()
    model.down[0].eval()
    cloudy, sar = images(2, (64, 64))
    before = model.down[1].norm.running_mean.clone()
    restored = restore_batch(model, cloudy.numpy(), sar.numpy())
    assert model.training
    assert not model.down[0].training
    assert torch.equal(model.down[1].norm.running_mean, before)
    with torch.no_grad():
        assert_array_equal(restored, model.eval()(cloudy, sar))


def test_precision_is_float32_unless_bf16_is_given() -> None:
    model, (cloudy, sar) = narrow("dsen2_cr"), (image.numpy() for image in images(2))
    exact = restore_batch(model, cloudy, sar)
    rough = restore_batch(model, cloudy, sar, precision="bf16")
    assert exact.dtype == rough.dtype == np.float32
    assert 0 < np.abs(exact - rough).max() < 0.05
    with pytest.raises(ModelError, match=r"^precision: expected one of 32, .* fp16, got 'fp8'"):
        restore_batch(model, cloudy, sar, precision="fp8")  # type: ignore[arg-type]


def test_a_missing_device_is_refused() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ModelError, match="expected auto, cpu, cuda or cuda:N, got 'tpu'"):
        choose_device("tpu")
    with pytest.raises(ModelError, match="expected cuda:99, PyTorch finds no such GPU"):
        choose_device("cuda:99")


def test_invalid_arguments_are_refused() -> None:
    model, (cloudy, sar) = Grid(16), scene(64, 64)
    refused: list[tuple[str, dict[str, Any]]] = [
        (r"cloudy: expected an image of shape \(4, H, W\)", {"cloudy": cloudy[None]}),
        ("cloudy: expected images of 32 x 32 pixels or more", {"cloudy": cloudy[:, :31]}),
        (r"sar: expected an image of shape \(2, h, w\), got \(1, 19", {"sar": sar[:1]}),
        ("expected reflectance and SAR .* as floats, got uint16", {"cloudy": cloudy.astype("u2")}),
        (r"out: expected floats of shape \(4, 64, 64\)", {"out": np.empty((4, 64, 60), "f4")}),
        ("tiles larger than their overlap, got 32 and 30 pixels, rounded", {"overlap": 30}),
        ("tiles larger than their overlap", {"tile": 0}),
        ("tiles larger than their overlap", {"overlap": -16}),
    ]
    for words, change in refused:
        given = {"cloudy": cloudy, "sar": sar, "tile": 32, "overlap": 0} | change
        with pytest.raises(InputError, match=words):
            restore_tiled(model, given.pop("cloudy"), given.pop("sar"), **given)


def test_arguments_that_would_give_wrong_results_are_refused() -> None:
    model = narrow("dsen2_cr").eval()
    cloudy, sar = (image[0].numpy() for image in images(1, (64, 48)))
    for batch in (0, -1):
        with pytest.raises(
            InputError, match=f"batch: expected 1 tile or more at a time, got {batch}"
        ):
            restore_tiled(model, cloudy, sar, batch=batch)
    kept = cloudy.copy()
    with pytest.raises(InputError, match="out: expected memory of its own, got that of cloudy"):
        restore_tiled(model, cloudy, sar, out=cloudy)
    assert np.array_equal(cloudy, kept)
    assert restore_tiled(model, cloudy, sar, tile=32).shape == cloudy.shape  # overlap follows


@pytest.mark.parametrize(
    ("words", "change"),
    [
        (r"cloudy: expected values .* divide by 10,000 \(rows", {"cloudy": lambda x: x * 10_000}),
        (r"cloudy: .*\(image \+ 1\) / 2", {"cloudy": lambda x: x * 2 - 1.2}),
        ("sar: expected values .* probably dB", {"sar": lambda x: x * -20}),
        ("sar: .* linear power", {"sar": lambda x: x * 255}),
        ("cloudy: expected a number for every pixel", {"cloudy": lambda x: x / (x > x.mean())}),
        ("sar: expected a number for every pixel", {"sar": lambda x: x * np.float32(np.nan)}),
        ("cloudy: .* put the bands first", {"cloudy": lambda x: np.moveaxis(x, 0, -1)}),
        ("sar: .* put the bands first", {"sar": lambda x: np.moveaxis(x, 0, -1)}),
        (r"cloudy: expected an image of shape \(4, H, W\)", {"cloudy": lambda x: x[:3]}),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_images_in_other_units_or_orders_are_refused_with_the_likely_cause(
    words: str, change: dict[str, Any]
) -> None:
    cloudy, sar = scene(64, 64)
    given = {"cloudy": cloudy, "sar": sar}
    given |= {name: act(given[name]) for name, act in change.items()}
    with pytest.raises(InputError, match=words):
        restore_tiled(Grid(16), given["cloudy"], given["sar"], tile=32, overlap=0)


def test_reflectance_a_little_outside_of_its_range_passes() -> None:
    cloudy, sar = scene(64, 64)
    cloudy[:, 0, 0], cloudy[:, 1, 1] = 1.4, -0.02
    assert restore_tiled(Grid(16), cloudy, sar, tile=32, overlap=0).shape == cloudy.shape


def test_an_error_says_that_the_output_is_incomplete() -> None:
    cloudy, sar = scene(64, 64)
    cloudy[:, 40:, 40:] = np.nan
    out = np.empty_like(cloudy)
    with pytest.raises(InputError, match="out is incomplete: 3 of 4 tiles are in it"):
        restore_tiled(Grid(16), cloudy, sar, tile=32, overlap=0, out=out)
