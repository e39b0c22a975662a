"""Compute the losses that each method's authors minimise.

Images are reflectance in [0, 1], shape (B, C, H, W); cloud masks are (B, H, W) or (B, 1, H, W),
boolean or in [0, 1], true for cloud; None where the dataset has none. Every loss is a scalar of the
inputs' type, the mean over the images of a batch. A wrong shape raises InputError: nothing is
broadcast silently.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from planetcr_models.errors import InputError, ModelError

ATTENTION_TARGETS = ("l1", "signed", "mask")


def charbonnier(
    prediction: Tensor,
    target: Tensor,
    cloud_mask: Tensor | None,
    *,
    cloud_weight: float = 5.0,
    epsilon: float = 1e-3,
    alpha: float = 0.45,
) -> Tensor:
    r"""Charbonnier loss with a higher weight on clouds, of Align-CR (paper, eq. 8).

    .. math:: \frac{1}{n} \sum (1 + w M) \left((\hat y - y)^2 + \epsilon^2\right)^\alpha

    The sum of weighted terms is divided by their number, as in the authors' code, not by the sum of
    weights. A perfect prediction of clear sky costs epsilon ** (2 alpha), not zero.

    Args:
        prediction: Shape (B, C, H, W).
        target: The clear image.
        cloud_mask: M; without one all pixels have the weight 1.
        cloud_weight: w.
        epsilon: Error, in reflectance, below which the loss flattens.
        alpha: Half the power of large errors.
    """
    _expect_same_shape("charbonnier", prediction=prediction, target=target)
    penalty = ((prediction - target).square() + epsilon**2) ** alpha
    if cloud_mask is None:
        return penalty.mean()
    cloud = _cloud("charbonnier", cloud_mask, prediction)
    return ((1 + cloud_weight * cloud) * penalty).mean()


def carl(
    prediction: Tensor,
    target: Tensor,
    cloudy: Tensor,
    cloud_mask: Tensor | None,
    *,
    target_weight: float = 1.0,
) -> Tensor:
    r"""Cloud-adaptive regularised loss, of DSen2-CR (Meraner et al. 2020).

    .. math:: \frac{1}{n} \sum \left(M |\hat y - y| + (1 - M) |\hat y - x|\right)
        + \lambda \frac{1}{n} \sum |\hat y - y|

    In clear pixels the cloudy image x is to be kept. Without a mask no pixel is known to be clear:
    all count as cloud, and the loss is 1 + lambda times the mean absolute error. The mask of the
    original covers clouds and shadows; that of the Planet-CR authors only clouds.

    Args:
        prediction: Shape (B, C, H, W).
        target: The clear image, y.
        cloudy: The input image, x.
        cloud_mask: M.
        target_weight: Lambda.
    """
    _expect_same_shape("carl", prediction=prediction, target=target, cloudy=cloudy)
    error, change = (prediction - target).abs(), (prediction - cloudy).abs()
    if cloud_mask is None:
        return (1 + target_weight) * error.mean()
    cloud = _cloud("carl", cloud_mask, prediction)
    return (cloud * error + (1 - cloud) * change).mean() + target_weight * error.mean()


def l1(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error: the loss of GLF-CR, and with weight 100 a part of that of every GAN.

    McGAN and SAR-Opt-cGAN compute it on images in [-1, 1], where it is twice as large as in [0, 1].
    """
    _expect_same_shape("l1", prediction=prediction, target=target)
    return (prediction - target).abs().mean()


def adversarial_generator(fake_logits: Tensor) -> Tensor:
    r"""Non-saturating adversarial loss of a generator.

    .. math:: \frac{1}{n} \sum \log(1 + e^{-D(\hat y)})

    McGAN's and SpA GAN's softplus; pix2pix's cross-entropy with the label "real" is the same.

    Args:
        fake_logits: Logits of the discriminator for restored images, any shape.
    """
    return F.softplus(-fake_logits).mean()


def adversarial_discriminator(
    fake_logits: Tensor, real_logits: Tensor, *, halved: bool = False
) -> Tensor:
    r"""Adversarial loss of a discriminator.

    .. math:: \frac{1}{n} \sum \log(1 + e^{D(\hat y)}) + \frac{1}{n} \sum \log(1 + e^{-D(y)})

    McGAN's and SpA GAN's softplus; half of it is pix2pix's, which averages the cross-entropies of
    both halves so that the discriminator learns more slowly.

    Args:
        fake_logits: Logits for restored images, detached from the generator; any shape.
        real_logits: Logits for true images, of the same shape.
        halved: Halve the loss, as in pix2pix.
    """
    _expect_same_shape(
        "adversarial_discriminator", fake_logits=fake_logits, real_logits=real_logits
    )
    loss = F.softplus(fake_logits).mean() + F.softplus(-real_logits).mean()
    return loss / 2 if halved else loss


def attention(
    attention_map: Tensor,
    clear: Tensor,
    cloudy: Tensor,
    *,
    target: str = "l1",
    cloud_mask: Tensor | None = None,
) -> Tensor:
    r"""Attention loss of SpA GAN: distance of the last map from where the images differ.

    .. math:: \frac{1}{n} \sum (A_4 - M)^2

    Args:
        attention_map: A4, of ``SpAGAN.restore_with_attention``, shape
            (B, 1, H, W).
        clear: The clear image, shape (B, C, H, W).
        cloudy: The input image.
        target: Definition of M; see :func:`attention_target`.
        cloud_mask: Needed if ``target`` is ``mask``.
    """
    wanted = attention_target(clear, cloudy, target=target, cloud_mask=cloud_mask)
    _expect_same_shape("attention", attention_map=attention_map, target=wanted)
    return (attention_map - wanted).square().mean()


def attention_target(
    clear: Tensor, cloudy: Tensor, *, target: str = "l1", cloud_mask: Tensor | None = None
) -> Tensor:
    """Target of the attention of SpA GAN.

    ``l1``
        Sum over bands of the absolute difference, at most 1: the formula of the authors' README.
    ``signed``
        Sum over bands of clear minus cloudy, in units of 1/255, within 0 and 1: what their code
        does. It marks where the cloudy image is *darker*: shadows. On PlanetScope images it is zero
        almost everywhere, and closes the gate of 12 of 17 blocks.
    ``mask``
        The dataset's cloud mask.

    Args:
        clear: The clear image, shape (B, C, H, W).
        cloudy: The input image.
        target: One of the three.
        cloud_mask: Needed for ``mask``, otherwise ignored.

    Returns:
        In [0, 1], shape (B, 1, H, W).

    Raises:
        InputError: A wrong shape, or a missing mask.
        ModelError: Unknown target.
    """
    _expect_same_shape("attention_target", clear=clear, cloudy=cloudy)
    if target == "l1":
        return (clear - cloudy).abs().sum(1, keepdim=True).clamp(max=1)
    if target == "signed":
        return (255 * (clear - cloudy)).sum(1, keepdim=True).clamp(0, 1)
    if target != "mask":
        raise ModelError(
            f"attention_target: expected one of {', '.join(ATTENTION_TARGETS)}, got {target!r}"
        )
    if cloud_mask is None:
        raise InputError("attention_target: the target 'mask' needs a cloud_mask")
    return _cloud("attention_target", cloud_mask, clear)


def _cloud(who: str, cloud_mask: Tensor, image: Tensor) -> Tensor:
    """Cloud mask as a factor of the image: shape (B, 1, H, W), of its type."""
    batch, _, height, width = image.shape
    if tuple(cloud_mask.shape) not in {(batch, height, width), (batch, 1, height, width)}:
        raise InputError(
            f"{who}: expected a cloud_mask of shape {(batch, height, width)} or "
            f"{(batch, 1, height, width)}, got {tuple(cloud_mask.shape)}"
        )
    return cloud_mask.reshape(batch, 1, height, width).to(image.dtype)


def _expect_same_shape(who: str, **tensors: Tensor) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    images = not who.startswith("adversarial")
    if len(set(shapes.values())) > 1 or (images and len(next(iter(shapes.values()))) != 4):
        got = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        wanted = "images of one shape (B, C, H, W)" if images else "logits of one shape"
        raise InputError(f"{who}: expected {wanted}, got {got}")
