"""Define the discriminators of the GANs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from planetcr_models.errors import InputError, ModelError
from planetcr_models.layers.blocks import conv3
from planetcr_models.networks.base import OPTICAL_BANDS, SAR_BANDS
from planetcr_models.networks.mcgan import SLOPE, Down, initialise


class TwoStemDiscriminator(nn.Module):
    """Discriminator of McGAN and SpA GAN: cloudy image and image to classify have separate stems.

    Each logit sees 78 x 78 pixels. McGAN uses images in [-1, 1], SpA GAN in [0, 1]. Any number of
    bands is possible; the authors' code cuts its input at the fourth channel.

    Args:
        condition_bands: Bands of the cloudy image.
        image_bands: Bands of the image to classify.
        width: Channels after both stems together, even; deeper levels have up to 8 times as many.
    """

    def __init__(
        self,
        *,
        condition_bands: int = OPTICAL_BANDS,
        image_bands: int = OPTICAL_BANDS,
        width: int = 64,
    ) -> None:
        super().__init__()
        if min(condition_bands, image_bands) < 1 or width < 2 or width % 2:
            raise ModelError(
                "TwoStemDiscriminator: expected bands of 1 or more and an even width of 2 or more, "
                f"got condition_bands={condition_bands}, image_bands={image_bands}, width={width}"
            )
        self.bands = condition_bands, image_bands
        self.condition = nn.Conv2d(condition_bands, width // 2, 4, 2, 1)
        self.image = nn.Conv2d(image_bands, width // 2, 4, 2, 1)
        self.down = nn.Sequential(
            Down(width, 2 * width), Down(2 * width, 4 * width), Down(4 * width, 8 * width)
        )
        self.leave = conv3(8 * width, 1)
        initialise(self)

    def forward(self, condition: Tensor, image: Tensor) -> Tensor:
        """Classify images as real or restored.

        Args:
            condition: The cloudy images, shape (B, condition_bands, H, W).
            image: Restored or true ones, shape (B, image_bands, H, W).

        Returns:
            Logits, positive for real, shape (B, 1, H/16, W/16), rounded down.

        Raises:
            InputError: A shape that does not fit.
        """
        _expect_one_grid(type(self).__name__, (condition, image), 16)
        if (condition.shape[1], image.shape[1]) != self.bands:
            raise InputError(
                f"{type(self).__name__}: expected {self.bands[0]} bands of condition and "
                f"{self.bands[1]} of image, got {condition.shape[1]} and {image.shape[1]}"
            )
        stems = torch.cat((self.condition(condition), self.image(image)), 1)
        return self.leave(self.down(F.leaky_relu(stems, SLOPE)))


class PatchDiscriminator(nn.Module):
    """Discriminator of pix2pix, for SAR-Opt-cGAN: cloudy image, SAR and image to classify stacked.

    Isola, Zhu, Zhou, Efros: "Image-to-Image Translation with Conditional Adversarial Networks",
    CVPR 2017. Each logit sees 70 x 70 pixels. It uses images in [-1, 1].

    Args:
        channels: Channels of all images together; by default 4 cloudy, 2 SAR, 4 restored.
        width: Channels of the first level; deeper ones have up to 8 times as many.
    """

    def __init__(self, *, channels: int = 2 * OPTICAL_BANDS + SAR_BANDS, width: int = 64) -> None:
        super().__init__()
        if min(channels, width) < 1:
            raise ModelError(
                "PatchDiscriminator: expected channels and width of 1 or more, got "
                f"channels={channels}, width={width}"
            )
        self.channels = channels
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 4, 2, 1),
            nn.LeakyReLU(SLOPE),
            *_normalised(width, 2 * width, stride=2),
            *_normalised(2 * width, 4 * width, stride=2),
            *_normalised(4 * width, 8 * width, stride=1),
            nn.Conv2d(8 * width, 1, 4, 1, 1),
        )
        initialise(self)

    def forward(self, *images: Tensor) -> Tensor:
        """Classify images as real or restored.

        Args:
            *images: The cloudy images, SAR on their grid, and the restored or true ones, each of
                shape (B, C, H, W).

        Returns:
            Logits, positive for real, shape (B, 1, H/8 - 2, W/8 - 2), rounded down.

        Raises:
            InputError: A shape that does not fit.
        """
        _expect_one_grid(type(self).__name__, images, 24)
        got = sum(image.shape[1] for image in images)
        if got != self.channels:
            raise InputError(
                f"{type(self).__name__}: expected {self.channels} channels in all, got {got}"
            )
        return self.layers(torch.cat(images, 1))


def _normalised(channels: int, out: int, *, stride: int) -> tuple[nn.Module, ...]:
    conv = nn.Conv2d(channels, out, 4, stride, 1, bias=False)
    return conv, nn.BatchNorm2d(out), nn.LeakyReLU(SLOPE)


def _expect_one_grid(who: str, images: tuple[Tensor, ...], smallest: int) -> None:
    shapes = [tuple(image.shape) for image in images]
    if any(len(shape) != 4 for shape in shapes):
        raise InputError(f"{who}: expected images of shape (B, C, H, W), got {_listed(shapes)}")
    if len({(batch, height, width) for batch, _, height, width in shapes}) != 1:
        raise InputError(
            f"{who}: expected images of one batch size, height and width, got {_listed(shapes)}"
        )
    if min(shapes[0][2:]) < smallest:
        raise InputError(
            f"{who}: expected images of {smallest} x {smallest} pixels or more, got "
            f"{_listed(shapes)}"
        )


def _listed(shapes: list[tuple[int, ...]]) -> str:
    return " and ".join(map(str, shapes))
