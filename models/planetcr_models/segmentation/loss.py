"""Compute the loss that segmenters are trained with."""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

from planetcr_models.errors import InputError

CLASSES: Final = 6
"""Forest, rangeland, agriculture, urban, barren, water; other indices are unknown land."""

_NO_CLASS: Final = -100  # ignored by torch's cross-entropy


def ignored(labels: Tensor, classes: int = CLASSES) -> Tensor:
    """Mask of unknown land, which has any index outside the classes.

    It is ignored by the loss. Whether the authors trained on such pixels is unknown.
    """
    return (labels < 0) | (labels >= classes)


def segmentation_loss(
    logits: Tensor, land_cover: Tensor, *, class_weights: Tensor | None = None
) -> Tensor:
    """Mean cross-entropy over the pixels whose class is known.

    The paper does not name its loss. Unlike torch's, this one is 0 if no pixel is known, not nan.

    Args:
        logits: Shape (B, classes, H, W).
        land_cover: Class indices as integers, shape (B, H, W); see :func:`ignored`.
        class_weights: See :func:`class_weights`, shape (classes,): the mean is weighted by the
            weight of each pixel's true class.

    Returns:
        A scalar, with its gradient.

    Raises:
        InputError: Inconsistent shapes, or land cover that is not an index.
    """
    classes = logits.shape[1]
    expected = (logits.shape[0], *logits.shape[2:])
    if land_cover.shape != expected or land_cover.is_floating_point():
        raise InputError(
            f"land_cover: expected class indices as whole numbers, of shape {tuple(expected)}, got "
            f"{land_cover.dtype} of shape {tuple(land_cover.shape)}"
        )
    if class_weights is not None and class_weights.shape != (classes,):
        raise InputError(
            f"class_weights: expected shape ({classes},), got {tuple(class_weights.shape)}"
        )
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    weights = logits.new_ones(classes) if class_weights is None else class_weights.to(logits)
    unknown = ignored(land_cover, classes)
    target = land_cover.long().masked_fill(unknown, _NO_CLASS)
    total = F.cross_entropy(logits, target, weights, ignore_index=_NO_CLASS, reduction="sum")
    share = weights[target.clamp(min=0)].masked_fill(unknown, 0).sum()
    return total / share.clamp(min=torch.finfo(share.dtype).tiny)


def on_label_grid(
    logits: Tensor, land_cover: Tensor, size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Resample logits and labels from the optical grid to the coarser one that labels came on.

    Logits are interpolated bilinearly at the centres of the coarse pixels, as in the code of
    CloudSeg (Xu et al., ISPRS Journal of Photogrammetry and Remote Sensing 214, 2024). Labels were
    brought to the optical grid by nearest neighbour, so the nearest one is the original.

    Args:
        logits: Shape (B, classes, H, W).
        land_cover: Class indices, shape (B, H, W).
        size: Height and width of the coarser grid over the same extent.

    Returns:
        Logits of shape (B, classes, *size) and labels of shape (B, *size).
    """
    coarse = F.interpolate(land_cover[:, None].float(), size, mode="nearest-exact")
    return (
        F.interpolate(logits, size, mode="bilinear", align_corners=False),
        coarse[:, 0].to(land_cover.dtype),
    )


def class_weights(counts: ArrayLike | Tensor) -> Tensor:
    """Weights in favour of rare classes: one over the square root of their frequency.

    Args:
        counts: Pixels of each class in the training images, shape (classes,).

    Returns:
        Float32, shape (classes,), with mean 1 over the classes that occur. A class that does not
        occur gets 0, since it cannot be learned.

    Raises:
        InputError: Another shape, negative numbers, or no pixels.

    Example:
        >>> class_weights([100, 400, 0])
        tensor([1.3333, 0.6667, 0.0000])
    """
    pixels = torch.as_tensor(counts, dtype=torch.float64)
    if pixels.ndim != 1 or not ((pixels >= 0) & pixels.isfinite()).all() or not pixels.any():
        raise InputError(
            "counts: expected pixels per class, 0 or more and not all 0, of shape (classes,), got "
            f"{pixels.tolist()}"
        )
    weights = torch.where(pixels > 0, pixels.clamp(min=1e-300).rsqrt(), 0)
    return (weights / weights[pixels > 0].mean()).float()
