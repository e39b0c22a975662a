"""Restore images of any size with a network, in batches or in tiles."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any, Final, Literal, Protocol, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from planetcr_models.errors import InputError, ModelError
from planetcr_models.layers.blending import window_weight
from planetcr_models.networks.base import SMALLEST, margins, refuse_small

Precision = Literal["32", "tf32", "bf16", "fp16"]
"""``32``: IEEE float32. ``tf32``: convolutions and matrix products of a GPU round their inputs to
TF32, with 10 bits of mantissa. ``bf16``, ``fp16``: mixed precision by autocast."""

InferencePrecision = Literal["32", "bf16"]
"""Precisions of published predictions: ``32`` is the same on every device."""

_AUTOCAST: Final = {"bf16": torch.bfloat16, "fp16": torch.float16}

TILE: Final = 512
"""Default side of a tile, in pixels."""

OVERLAP: Final = 96
"""Default overlap of neighbouring tiles; exact for DSen2-CR, whose reach is 34 pixels."""

BLENDED: Final = 1 / 4
"""Share of an overlap in which two tiles are blended; the rest is margin."""


LOWEST: Final = -0.5
HIGHEST: Final = 2.0
"""Accepted range of images in [0, 1]: haze and glint may lie outside [0, 1]; digital numbers,
decibels and images in [-1, 1] lie far outside."""


class Sliceable(Protocol):
    """Anything that can be sliced: an array, a memory map, a tensor, an opened file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Bands, height, width."""

    def __getitem__(self, index: Any, /) -> Any:
        """A part, as an array or a tensor."""


def choose_device(device: str | torch.device) -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda`` or ``cuda:N`` into an available device.

    Raises:
        ModelError: CUDA is requested and not available, or a device of another kind.
    """
    name = str(device)
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name != "cpu" and not re.fullmatch(r"cuda(:\d+)?", name):
        raise ModelError(f"device: expected auto, cpu, cuda or cuda:N, got {name!r}")
    number = int(name.partition(":")[2] or 0)
    if name != "cpu" and (not torch.cuda.is_available() or number >= torch.cuda.device_count()):
        raise ModelError(f"device: expected {name}, PyTorch finds no such GPU; use cpu")
    return torch.device(name)


def restore_batch(
    model: nn.Module,
    cloudy: NDArray[np.floating],
    sar: NDArray[np.floating] | None = None,
    *,
    device: str | torch.device | None = None,
    precision: Precision = "32",
) -> NDArray[np.float32]:
    """Restore whole images of one size.

    Args:
        model: Runs in evaluation mode; its own mode is restored.
        cloudy: Reflectance in [0, 1], shape (B, bands, H, W).
        sar: Such as VV and VH in [0, 1] over the same extent, shape (B, sar_bands, h, w), on any
            grid; None for a network that does not use it.
        device: See :func:`choose_device`; the network stays there. By default its own.
        precision: See :data:`Precision`. ``bf16`` is faster on a GPU; it changes the third digit,
            so it is never the default.

    Returns:
        Reflectance, shape (B, bands, H, W), as output by the network: neither clipped nor checked
        for NaN.

    Raises:
        InputError: A shape that the network cannot take, values that are not finite or far outside
            [0, 1].
        ModelError: No such device, or too little memory on it.
    """
    with ready(model, device, precision) as run:
        images, radar = _tensor(cloudy), None if sar is None else _tensor(sar)
        expect_range("cloudy", images)
        if radar is not None:
            expect_range("sar", radar)
        return _array(run(images, radar))


def restore_tiled(
    model: nn.Module,
    cloudy: Sliceable,
    sar: Sliceable | None = None,
    *,
    tile: int = TILE,
    overlap: int | None = None,
    batch: int = 1,
    device: str | torch.device | None = None,
    precision: Precision = "32",
    out: NDArray[np.float32] | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> NDArray[np.float32]:
    """Restore an image of any size in overlapping tiles that are blended.

    The image is padded as for an untiled run, SAR is resampled to its grid by the same rule, and
    tiles start at multiples of the network's ``multiple``, so that its attention windows are those
    of the untiled run. In the middle quarter of each overlap two tiles are blended linearly; the
    outer three eighths on either side are not used.

    A network that looks no further than three eighths of the overlap gives the untiled result, to
    1e-5; DSen2-CR does, with the default overlap. Align-CR and GLF-CR look at the whole image, but
    less and less with distance: with new weights and the default overlap they are below 1e-5 too.
    McGAN and SAR-Opt-cGAN process an image as a whole by design, and a tile as a separate image.

    Memory is bounded by ``batch`` tiles where ``cloudy``, ``sar`` and ``out`` lie on disk.

    Args:
        model: Runs in evaluation mode; its own mode is restored.
        cloudy: Reflectance in [0, 1], shape (bands, H, W); read in parts.
        sar: Such as VV and VH in [0, 1] over the same extent, shape (sar_bands, h, w), on any grid;
            None for a network that does not use it.
        tile: Side of a tile, rounded up to a multiple that the network can take.
        overlap: Minimum overlap of neighbouring tiles, rounded up likewise; by default 96, or a
            quarter of a tile if that is less.
        batch: Tiles per batch, 1 or more.
        device: See :func:`choose_device`; the network stays there. By default its own.
        precision: See :func:`restore_batch`.
        out: Array to write to, shape (bands, H, W), such as a ``numpy.memmap``; by default a new
            array.
        progress: Called with the number of finished tiles and of all tiles.

    Returns:
        ``out``: reflectance, not clipped.

    Raises:
        InputError: An invalid shape, type, tile, overlap or batch, values that are not finite or
            far outside [0, 1], or an ``out`` that shares memory with an input. Each tile is
            checked when it is read; the message says if ``out`` is incomplete.
        ModelError: No such device, or too little memory on it.
    """
    ignores_sar = not getattr(model, "uses_sar", True)
    sar_bands = None if ignores_sar else getattr(model, "sar_bands", None)
    bands, *size = _checked_shape(cloudy, sar, getattr(model, "bands", None), sar_bands)
    given = out is not None
    if out is None:
        out = np.empty((bands, *size), np.float32)
    if out.shape != (bands, *size) or out.dtype.kind != "f":
        raise InputError(
            f"out: expected floats of shape {(bands, *size)}, got {out.dtype} of shape {out.shape}"
        )
    if batch < 1:
        raise InputError(f"batch: expected 1 tile or more at a time, got {batch}")
    given_images = {"cloudy": cloudy} | ({} if sar is None else {"sar": sar})
    for name, image in given_images.items():
        array = image.numpy(force=True) if isinstance(image, Tensor) else image
        if isinstance(array, np.ndarray) and np.may_share_memory(out, array):
            raise InputError(f"out: expected memory of its own, got that of {name}")
    overlap = min(OVERLAP, tile // 4) if overlap is None else overlap
    multiple = int(getattr(model, "multiple", 1))
    rows, columns = (TileAxis.of(side, tile, overlap, multiple) for side in size)
    tiles = list(product(range(len(rows.starts)), range(len(columns.starts))))
    out[...] = 0
    done = 0
    with (
        _incomplete(lambda: done if given else 0, len(tiles)),
        ready(model, device, precision) as run,
    ):
        while chunk := tiles[done : done + batch]:
            images = torch.stack(
                [read_tile("cloudy", cloudy, rows, columns, index) for index in chunk]
            )
            radar = None
            if sar is not None:
                radar = torch.stack(
                    [read_tile("sar", sar, rows, columns, index) for index in chunk]
                )
            for index, image in zip(chunk, _array(run(images, radar)), strict=True):
                _blend_in(out, image, rows, columns, index)
            done += len(chunk)
            if progress is not None:
                progress(done, len(tiles))
    return out


class TileAxis:
    """Division of one axis of an image into tiles.

    Args:
        size: Pixels of the image.
        before: Pixels of padding before them.
        side: Pixels of a tile.
        starts: First pixels of the tiles on the padded axis.
        ramp: Pixels over which two tiles are blended.
    """

    def __init__(self, size: int, before: int, side: int, starts: list[int], ramp: int) -> None:
        self.size, self.before, self.side, self.starts = size, before, side, starts
        self._ramp = ramp

    @classmethod
    def of(cls, size: int, tile: int, overlap: int, multiple: int, *, margin: int = 0) -> TileAxis:
        """Cover the axis with the fewest tiles, evenly spaced.

        Args:
            size: Pixels of the image.
            tile: Side of a tile; rounded up to a multiple, like the overlap.
            overlap: Least overlap of neighbouring tiles.
            multiple: Tiles start and end at multiples of it.
            margin: Least padding on either side, reflected: the zeros with which convolutions pad
                an image brighten or darken its border, as far as they reach.

        Raises:
            InputError: Tiles would not be larger than their overlap.
        """
        before, after = (margin + pixels for pixels in margins(size + 2 * margin, multiple))
        whole = before + size + after
        side, least = (-(-pixels // multiple) * multiple for pixels in (tile, overlap))
        side = min(side, whole)
        if side < whole and not 0 <= least < side:
            rounded = (side, least) != (tile, overlap)
            raise InputError(
                f"expected tiles larger than their overlap, got {tile} and {overlap} pixels"
                f"{f', rounded up to {side} and {least}' if rounded else ''}"
            )
        steps = -(-(whole - side) // (side - least)) if side < whole else 0
        units = (whole - side) // multiple
        starts = [units * i // steps * multiple for i in range(steps + 1)] if steps else [0]
        return cls(size, before, side, starts, max(1, round(least * BLENDED)))

    def pixels(self, tile: int) -> NDArray[np.intp]:
        """Pixels of the image in a tile, reflected at the borders as by ``reflect_pad``."""
        period = max(1, 2 * (self.size - 1))
        position = (np.arange(self.side) + self.starts[tile] - self.before) % period
        return np.minimum(position, period - position)

    def weight(self, tile: int) -> tuple[slice, slice, NDArray[np.float32]]:
        """Slices of a tile and of the image, and the weights of the tile there."""
        weight = window_weight(self.starts, tile, side=self.side, ramp=self._ramp).numpy()
        inside = np.arange(self.side) + self.starts[tile] - self.before
        used = np.flatnonzero((weight > 0) & (inside >= 0) & (inside < self.size))
        first, last = int(used[0]), int(used[-1]) + 1
        start = self.starts[tile] - self.before
        in_image = slice(start + first, start + last)
        return slice(first, last), in_image, weight[first:last].astype(np.float32)


@contextmanager
def _incomplete(done: Callable[[], int], tiles: int) -> Iterator[None]:
    """Add to an error how many tiles of ``out`` are complete."""
    try:
        yield
    except ModelError as error:
        if not done():
            raise
        raise type(error)(
            f"{error.message}; out is incomplete: {done()} of {tiles} tiles are in it"
        ) from error


def expect_range(who: str, image: Tensor) -> None:
    """Refuse an image, or a part of one, in units that networks do not take.

    Values slightly outside [0, 1] pass, since reflectance can have them.

    Args:
        who: ``cloudy`` or ``sar``.
        image: Of any shape.

    Raises:
        InputError: Values that are not finite, or far outside of [0, 1].
    """
    low, high = (float(value) for value in torch.aminmax(image.detach()))
    if not (math.isfinite(low) and math.isfinite(high)):
        count = int((~image.isfinite()).sum())
        raise InputError(
            f"{who}: expected a number for every pixel, got nan or infinity {count} times; fill "
            "holes and borders first, as numpy.nan_to_num does, and leave them out of the result"
        )
    if low >= LOWEST and high <= HIGHEST:
        return
    if who == "cloudy":
        likely = (
            "probably reflectance times 10,000: divide by 10,000"
            if high > HIGHEST
            else "probably images scaled to [-1, 1]: (image + 1) / 2"
        )
    else:
        likely = (
            "probably digital numbers or linear power: convert them to dB, then to [0, 1]"
            if high > HIGHEST
            else "probably dB: clip VV to [-25, 0] and VH to [-32.5, 0], then (VV + 25) / 25 and "
            "(VH + 32.5) / 32.5"
        )
    raise InputError(f"{who}: expected values in [0, 1], got {low:.4g} to {high:.4g}: {likely}")


def read_tile(
    who: str, image: Sliceable, rows: TileAxis, columns: TileAxis, index: tuple[int, int]
) -> Tensor:
    """Read one tile of an image, or of SAR on its own grid.

    Args:
        who: ``cloudy`` or ``sar``.
        image: Shape (bands, H, W), in [0, 1]; only the part that the tile needs is read.
        rows: Division of the rows into tiles.
        columns: Division of the columns.
        index: Of the tile: its row and column.

    Returns:
        Shape (bands, side, side) on the optical grid, reflected at the image's borders.

    Raises:
        InputError: Values that are not finite, or far outside [0, 1].
    """
    part: list[slice] = []
    indices = []
    for axis, tile, source in zip((rows, columns), index, image.shape[-2:], strict=True):
        pixels = (2 * axis.pixels(tile) + 1) * source // (2 * axis.size)  # as in upsample
        first = int(pixels.min())
        part.append(slice(first, int(pixels.max()) + 1))
        indices.append(torch.from_numpy(pixels - first))
    block = _tensor(image[:, part[0], part[1]])
    try:
        expect_range(who, block)
    except InputError as error:
        where = ", ".join(
            f"{name} {at.start} to {at.stop - 1}"
            for name, at in zip(("rows", "columns"), part, strict=True)
        )
        raise InputError(f"{error.message} ({where})") from error
    row, column = (index.to(block.device) for index in indices)
    return block.index_select(1, row).index_select(2, column)


def _array(images: Tensor) -> NDArray[np.float32]:
    return images.float().cpu().numpy()


def _tensor(values: NDArray[Any] | Tensor) -> Tensor:
    kind = values.dtype
    is_float = kind.is_floating_point if isinstance(kind, torch.dtype) else kind.kind == "f"
    if not is_float:
        raise InputError(f"expected reflectance and SAR in [0, 1] as floats, got {kind}")
    if isinstance(values, Tensor):
        return values
    return torch.from_numpy(np.array(values, values.dtype.newbyteorder("=")))  # of any byte order


def _blend_in(
    out: NDArray[np.float32],
    image: NDArray[np.float32],
    rows: TileAxis,
    columns: TileAxis,
    index: tuple[int, int],
) -> None:
    down, row, high = rows.weight(index[0])
    across, column, wide = columns.weight(index[1])
    out[:, row, column] += image[:, down, across] * (high[:, None] * wide)


def _checked_shape(
    cloudy: Sliceable, sar: Sliceable | None, bands: int | None, sar_bands: int | None
) -> tuple[int, ...]:
    """Shape of an image, once it and SAR have the expected bands, which may be unknown."""
    shape = tuple(cloudy.shape)
    wanted = "bands" if bands is None else bands
    if len(shape) != 3:
        raise InputError(f"cloudy: expected an image of shape ({wanted}, H, W), got {shape}")
    images: list[tuple[str, tuple[int, ...], int | None]] = [("cloudy", shape, bands)]
    if sar is not None:
        images.append(("sar", tuple(sar.shape), sar_bands))
    for who, size, count in images:
        last = size[-1] == count if count is not None else size[-1] < min(SMALLEST, size[0])
        if len(size) == 3 and last and size[0] != count:
            raise InputError(
                f"{who}: expected an image of shape ({count or wanted}, H, W), got {size}; put the "
                "bands first, as numpy.moveaxis(image, -1, 0) does"
            )
    if bands is not None and shape[0] != bands:
        raise InputError(f"cloudy: expected an image of shape ({bands}, H, W), got {shape}")
    refuse_small("cloudy", shape[1:])
    if sar is not None and (
        len(sar.shape) != 3 or sar.shape[0] != (sar_bands or sar.shape[0]) or 0 in sar.shape
    ):
        raise InputError(
            f"sar: expected an image of shape ({sar_bands or 'bands'}, h, w), got "
            f"{tuple(sar.shape)}"
        )
    return shape


@contextmanager
def ready(
    model: nn.Module, device: str | torch.device | None, precision: Precision
) -> Iterator[Callable[..., Tensor]]:
    """Provide a network as a function of tensors, in evaluation mode on its device.

    Args:
        model: Its mode is restored afterwards; it stays on the device.
        device: See :func:`choose_device`; by default its own.
        precision: See :func:`restore_batch`.

    Yields:
        A function of batches of images, on any device and in any precision.

    Raises:
        ModelError: No such device or precision, or too little memory.
    """
    if precision not in get_args(Precision):
        choices = ", ".join(get_args(Precision))
        raise ModelError(f"precision: expected one of {choices}, got {precision!r}")
    weights = next(model.parameters(), torch.empty(0))
    target = weights.device if device is None else choose_device(device)
    model.to(target)

    def run(*images: Tensor) -> Tensor:
        try:
            with torch.autocast(target.type, _AUTOCAST.get(precision), precision in _AUTOCAST):
                return model(*(x if x is None else x.to(target, weights.dtype) for x in images))
        except torch.OutOfMemoryError as error:
            raise ModelError(
                f"{target}: {len(images[0])} images of "
                f"{' x '.join(map(str, images[0].shape[-2:]))} pixels do not fit its memory; use "
                "fewer at a time, or smaller tiles"
            ) from error

    with evaluating(model), torch.inference_mode(), tf32(enabled=precision == "tf32"):
        yield run


@contextmanager
def tf32(*, enabled: bool) -> Iterator[None]:
    """Allow a GPU to compute convolutions and matrix products in TF32, or forbid it.

    By default PyTorch allows it in convolutions and forbids it in matrix products.
    """
    convolutions, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = convolutions.allow_tf32, products.allow_tf32
    convolutions.allow_tf32 = products.allow_tf32 = enabled
    try:
        yield
    finally:
        convolutions.allow_tf32, products.allow_tf32 = before


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Set a network to evaluation mode, and restore the mode of each of its parts afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
