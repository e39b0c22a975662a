"""Define the contract of every network: ``forward(cloudy, sar) -> clear``, at any size."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from planetcr_models.errors import InputError

OPTICAL_BANDS = 4
"""Default of every network: blue, green, red, near-infrared, PlanetScope's order."""

SAR_BANDS = 2
"""Default of every network that takes SAR: VV, VH, Sentinel-1's order."""

SAR_PER_OPTICAL = (3, 10)
"""Of Planet-CR, for what needs images of some size: 3 SAR pixels of 10 m over 10 optical of 3 m."""

SMALLEST = 32
"""Smallest height and width of an image."""


class Restorer(nn.Module, ABC):
    """A network that removes clouds from one image, with or without SAR.

    A subclass implements :meth:`restore`, which receives images on one grid whose sides are
    multiples of ``multiple``. This class does the rest: it resamples SAR to the optical grid by
    nearest neighbour, pads images by reflection up to the next multiple, and crops them again.

    Args:
        bands: Optical bands, of the input and of the output.
        sar_bands: Bands of SAR.

    Attributes:
        uses_sar: False if SAR is accepted and ignored.
        multiple: The sides of the images for :meth:`restore` are multiples of this.
        unused_parameters: Names of parameters without a gradient by design: the authors' networks
            and their checkpoints have them.
        method: Name under which ``build_model`` made it.
        options: Options with which it was made.
        trained_on: What the images were that its weights learnt from, such as ``bands``, the names
            of their bands; empty where that is not known.
    """

    uses_sar: bool = True
    multiple: int = 1
    unused_parameters: tuple[str, ...] = ()

    def __init__(self, *, bands: int = OPTICAL_BANDS, sar_bands: int = SAR_BANDS) -> None:
        super().__init__()
        self.bands, self.sar_bands = bands, sar_bands
        self.method: str = ""
        self.options: Mapping[str, Any] = {}
        self.trained_on: Mapping[str, Any] = {}

    def forward(self, cloudy: Tensor, sar: Tensor | None = None) -> Tensor:
        """Restore a batch of images.

        Args:
            cloudy: Reflectance in [0, 1], shape (B, bands, H, W), H and W at least 32.
            sar: Such as VV and VH in [0, 1] over the same extent, shape (B, sar_bands, h, w), on
                their native grid or already on the optical grid; may be left out if the network
                does not use it.

        Returns:
            Reflectance, not clipped, of the shape and dtype of ``cloudy``.

        Raises:
            InputError: A wrong shape, or values that are not floats.
        """
        self._check(cloudy, sar)
        height, width = cloudy.shape[-2:]
        image = reflect_pad(cloudy, self.multiple)
        radar = image[:, :0]
        if self.uses_sar and sar is not None:
            radar = reflect_pad(upsample(sar, (height, width)), self.multiple).to(cloudy.dtype)
        restored = self.restore(image, radar)
        return _cut(restored, (height, width)).to(cloudy.dtype)

    @abstractmethod
    def restore(self, cloudy: Tensor, sar: Tensor) -> Tensor:
        """Restore images on one grid: (B, bands, H, W), (B, sar_bands, H, W) to (B, bands, H, W).

        Args:
            cloudy: Reflectance in [0, 1]; H and W are multiples of ``multiple``.
            sar: On the optical grid; without bands if the network does not use it.
        """

    def _check(self, cloudy: Tensor, sar: Tensor | None) -> None:
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
        if not self.uses_sar:
            return
        if sar is None:
            raise InputError(f"{who}: expected SAR images, got none")
        if not (isinstance(sar, Tensor) and sar.is_floating_point()):
            got = f"a tensor of {sar.dtype}" if isinstance(sar, Tensor) else type(sar).__name__
            raise InputError(f"{who}: expected SAR in [0, 1] as a tensor of floats, got {got}")
        expected = (cloudy.shape[0], self.sar_bands)
        if sar.ndim != 4 or tuple(sar.shape[:2]) != expected or 0 in sar.shape:
            raise InputError(
                f"{who}: expected SAR images of shape ({expected[0]}, {self.sar_bands}, h, w), got "
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
    """Resample an image to another grid of the same extent by nearest neighbour.

    The rule of GDAL, as for SAR in the paper (Sec. 5.1): source pixel
    floor((i + 1/2) · source / size), in integers. torch's plain ``nearest`` picks a different pixel
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
    """Pad both sides of each axis evenly, by reflection, up to the next multiple.

    Unlike :func:`torch.nn.functional.pad`, it reflects repeatedly if the padding is wider than the
    image.

    Args:
        image: Shape (B, C, H, W).
        multiple: The sides of the result are multiples of this.

    Returns:
        Shape (B, C, H', W'); if the sum of the two margins is odd, the second is the wider one.
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
