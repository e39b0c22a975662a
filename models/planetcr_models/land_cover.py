"""Maps of land cover in; how far they are from each other out, to learn from and to score by."""

from __future__ import annotations

from typing import Any, Final, overload

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from planetcr_models.errors import InputError

CLASSES: Final = 6
"""Forest, rangeland, agriculture, urban, barren, water; a map's other indices are unknown land."""

_NO_CLASS: Final = -100  # what torch's cross-entropy leaves out


@overload
def ignored(labels: Tensor, classes: int = ...) -> Tensor: ...
@overload
def ignored(labels: NDArray[Any], classes: int = ...) -> NDArray[np.bool_]: ...
def ignored(labels: Tensor | NDArray[Any], classes: int = CLASSES) -> Tensor | NDArray[np.bool_]:
    """Where the land is unknown, by any index that is no class: True there, of the same shape.

    It has no part in the loss, nor in :func:`confusion`. Whether the authors trained on such
    pixels is unknown.
    """
    unknown: Tensor | NDArray[np.bool_] = (labels < 0) | (labels >= classes)
    return unknown


def segmentation_loss(
    logits: Tensor, land_cover: Tensor, *, class_weights: Tensor | None = None
) -> Tensor:
    """Mean cross-entropy over the pixels whose class is known.

    The paper does not name its loss. Unlike torch's, this one is 0 where no pixel is known, not
    nan.

    Args:
        logits: Shape (B, classes, H, W).
        land_cover: Class indices as whole numbers, shape (B, H, W); see :func:`ignored`.
        class_weights: Of :func:`class_weights`, shape (classes,): the mean becomes one that is
            weighted by the weight of each pixel's true class.

    Returns:
        A single number, with its gradient.

    Raises:
        InputError: Shapes that do not fit each other, or land cover that is no index.
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


def class_weights(counts: ArrayLike | Tensor) -> Tensor:
    """Weights that let rare classes count: one over the square root of their frequency.

    Args:
        counts: Pixels of each class in the training images, shape (classes,).

    Returns:
        Float32, shape (classes,), with mean 1 over the classes that occur. A class that does not
        occur gets 0: nothing can be learnt of it.

    Raises:
        InputError: Another shape, negative numbers, or no pixel at all.

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


def confusion(
    prediction: NDArray[np.integer], land_cover: NDArray[np.integer], classes: int = CLASSES
) -> NDArray[np.int64]:
    """Count how often each class was taken for each; counts of several images may be added.

    Args:
        prediction: Class indices, any shape.
        land_cover: The true ones, of the same shape; pixels of unknown land are left out.
        classes: How many there are.

    Returns:
        Pixels, shape (classes, classes): a row per true class, a column per predicted one.

    Raises:
        InputError: Shapes that differ, numbers that are no indices, or known land of which the
            prediction names no class.
    """
    if prediction.shape != land_cover.shape:
        raise InputError(
            f"prediction: expected the shape of land_cover, {land_cover.shape}, got "
            f"{prediction.shape}"
        )
    for name, labels in (("prediction", prediction), ("land_cover", land_cover)):
        if labels.dtype.kind not in "iu":
            raise InputError(f"{name}: expected class indices as whole numbers, got {labels.dtype}")
    known = ~ignored(land_cover, classes)
    truth, guess = land_cover[known].astype(np.int64), prediction[known]
    if ignored(guess, classes).any():
        raise InputError(
            f"prediction: expected class indices from 0 to {classes - 1}, got {guess.min()} to "
            f"{guess.max()}"
        )
    pairs = np.bincount(truth * classes + guess.astype(np.int64), minlength=classes**2)
    return pairs.reshape(classes, classes).astype(np.int64)


def iou(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """Intersection over union of each class.

    Args:
        matrix: Of :func:`confusion`, shape (classes, classes), summed over all that is to count.

    Returns:
        Shape (classes,), in [0, 1]; nan for classes that do not occur in the truth.
    """
    hits, truth = np.diag(matrix), matrix.sum(axis=1)
    union = np.where(truth > 0, truth + matrix.sum(axis=0) - hits, 0)
    with np.errstate(invalid="ignore"):
        return np.where(truth > 0, hits, 0) / union


def miou(matrix: NDArray[np.int64]) -> float:
    """Mean intersection over union of the classes that occur in the truth (Tab. 3).

    How the authors take the mean is not said; this one is of the pool, and a class that is
    predicted where none of it is costs the others only.

    Args:
        matrix: Of :func:`confusion`, summed over all that is to count.

    Returns:
        In [0, 1]; nan where nothing was counted.

    Example:
        >>> miou(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]]))
        0.775
    """
    each = iou(matrix)
    occurs = np.isfinite(each)
    return float(each[occurs].mean()) if occurs.any() else float("nan")


def pixel_accuracy(matrix: NDArray[np.int64]) -> float:
    """Share of the pixels of known land whose class is right (Tab. 3).

    Args:
        matrix: Of :func:`confusion`, summed over all that is to count.

    Returns:
        In [0, 1]; nan where nothing was counted.
    """
    pixels = int(matrix.sum())
    return int(np.trace(matrix)) / pixels if pixels else float("nan")
