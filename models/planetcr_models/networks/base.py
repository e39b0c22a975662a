"""Define the contract of every network: ``forward(cloudy, sar) -> clear``, at any size."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from planetcr_models.errors import InputError

OPTICAL_BANDS = 4
"""Blue, green, red, near-infrared: PlanetScope's order."""

SAR_BANDS = 2
"""VV, VH: Sentinel-1's order."""

SAR_PER_OPTICAL = (3, 10)
"""A SAR pixel of 10 m is 10/3 optical pixels of 3 m wide."""

SMALLEST = 32
"""Least height and width of an image."""


class Restorer(nn.Module, ABC):
    """A network that removes clouds from one image, with or without the help of SAR.

    A subclass writes :meth:`restore`, which sees images on one grid whose sides are multiples of
    ``multiple``. This class does the rest: it brings SAR to the optical grid by nearest neighbour,
    mirrors the borders outwards where a side is no multiple, and cuts them off again.

    Args:
        bands: Optical bands, of the input and of the output.

    Attributes:
        uses_sar: False where SAR is taken and ignored.
        multiple: The sides of what :meth:`restore` sees are multiples of this.
        unused_parameters: Names of the parameters that get no gradient by design: the authors'
            networks hold them, and so do their checkpoints.
        method: Name under which ``create_model`` made it.
        options: Options with which it was made.
    """

    uses_sar: bool = True
    multiple: int = 1
    unused_parameters: tuple[str, ...] = ()

    def __init__(self, *, bands: int = OPTICAL_BANDS) -> None:
        super().__init__()
        self.bands = bands
        self.method: str = ""
        self.options: Mapping[str, Any] = {}

    def forward(self, cloudy: Tensor, sar: Tensor) -> Tensor:
        """Restore a batch of images.

        Args:
            cloudy: Reflectance in [0, 1], shape (B, bands, H, W), H and W at least 32.
            sar: VV and VH in [0, 1] over the same extent, shape (B, 2, h, w), on a grid of its own:
                at its native 10 m, or already on the optical grid.

        Returns:
            Reflectance, not clipped, of the shape and dtype of ``cloudy``.

        Raises:
            InputError: A shape that does not fit, or numbers that are no floats.
        """
        self._check(cloudy, sar)
        height, width = cloudy.shape[-2:]
        image = reflect_pad(cloudy, self.multiple)
        radar = sar
        if self.uses_sar:
            radar = reflect_pad(upsample(sar, (height, width)), self.multiple).to(cloudy.dtype)
        restored = self.restore(image, radar)
        return _cut(restored, (height, width)).to(cloudy.dtype)

    @abstractmethod
    def restore(self, cloudy: Tensor, sar: Tensor) -> Tensor:
        """Restore images on one grid: (B, bands, H, W) and (B, 2, H, W) to (B, bands, H, W).

        Args:
            cloudy: Reflectance in [0, 1]; H and W are multiples of ``multiple``.
            sar: On the optical grid; untouched, on its own, where the network does not use it.
        """

    def _check(self, cloudy: Tensor, sar: Tensor) -> None:
        who = self.method or type(self).__name__
        if not cloudy.is_floating_point():
            raise InputError(
                f"{who}: expected reflectance in [0, 1] as floats, got cloudy images of "
                f"{cloudy.dtype}"
            )
        if cloudy.ndim != 4 or cloudy.shape[1] != self.bands:
            raise InputError(
                f"{who}: expected cloudy images of shape (B, {self.bands}, H, W), got "
                f"{tuple(cloudy.shape)}"
            )
        refuse_small(who, tuple(cloudy.shape[-2:]))
        if self.uses_sar and not (isinstance(sar, Tensor) and sar.is_floating_point()):
            got = f"a tensor of {sar.dtype}" if isinstance(sar, Tensor) else type(sar).__name__
            raise InputError(f"{who}: expected SAR in [0, 1] as a tensor of floats, got {got}")
        expected = (cloudy.shape[0], SAR_BANDS)
        if self.uses_sar and (sar.ndim != 4 or tuple(sar.shape[:2]) != expected or 0 in sar.shape):
            raise InputError(
                f"{who}: expected SAR images of shape ({expected[0]}, {SAR_BANDS}, h, w), got "
                f"{tuple(sar.shape)}"
            )


def refuse_small(who: str, size: tuple[int, ...]) -> None:
    """Raise InputError for an image of less than 32 pixels in height or width."""
    if min(size) < SMALLEST:
        raise InputError(
            f"{who}: expected images of {SMALLEST} x {SMALLEST} pixels or more, got "
            f"{' x '.join(map(str, size))}"
        )


def upsample(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring an image to another grid of the same extent by nearest neighbour, centre rule.

    The rule of GDAL, by which the paper's SAR reaches the optical grid (Sec. 5.1): source pixel
    floor((i + 1/2) · source / size), in integers. torch's plain ``nearest`` takes another pixel
    for 19 % of the SAR image.

    Args:
        image: Shape (B, C, h, w).
        size: (H, W) of the result.

    Returns:
        Shape (B, C, H, W).
    """
    for axis, pixels in zip((-2, -1), size, strict=True):
        source = image.shape[axis]
        if source != pixels:
            target = torch.arange(pixels, device=image.device)
            nearest = (2 * target + 1) * source // (2 * pixels)
            image = image.index_select(axis, nearest)
    return image


def reflect_pad(image: Tensor, multiple: int) -> Tensor:
    """Extend both sides of each axis evenly, by mirroring, up to the next multiple.

    Unlike :func:`torch.nn.functional.pad`, it mirrors again where the extension is wider than the
    image itself.

    Args:
        image: Shape (B, C, H, W).
        multiple: Of which the sides of the result are multiples.

    Returns:
        Shape (B, C, H', W'); where the sum of the two margins is odd, the second is the wider.
    """
    for axis in (-2, -1):
        size = image.shape[axis]
        before, after = margins(size, multiple)
        if before or after:
            period = 2 * (size - 1)
            position = torch.arange(-before, size + after, device=image.device) % period
            image = image.index_select(axis, torch.minimum(position, period - position))
    return image


def margins(size: int, multiple: int) -> tuple[int, int]:
    """Pixels that :func:`reflect_pad` adds before and after an axis of this size."""
    missing = -size % multiple
    return missing // 2, missing - missing // 2


def _cut(image: Tensor, size: tuple[int, int]) -> Tensor:
    top, left = ((have - want) // 2 for have, want in zip(image.shape[-2:], size, strict=True))
    return image[..., top : top + size[0], left : left + size[1]]
