"""Define one training step: regression by a loss, or adversarial."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from lightning.fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import SGD, Adam, NAdam, Optimizer

from planetcr_models.errors import ModelError
from planetcr_models.networks.base import SAR_BANDS, Restorer, upsample
from planetcr_models.segmentation.deeplab import Segmenter
from planetcr_models.segmentation.loss import (
    CLASSES,
    class_weights,
    on_label_grid,
    segmentation_loss,
)
from planetcr_models.training import losses
from planetcr_models.training.discriminators import PatchDiscriminator, TwoStemDiscriminator
from planetcr_models.training.loader import Batch
from planetcr_models.training.patches import Patches
from planetcr_models.training.recipes import (
    L1,
    REGRESSION,
    Adversarial,
    Carl,
    Charbonnier,
    CrossEntropy,
    Recipe,
)

Terms = dict[str, Tensor]
"""Name of a loss to its value, a scalar."""


class Objective(ABC):
    """Networks in training, their optimizers, and the training step.

    Attributes:
        network: The network that is the result of training.
        main: Name of the term that decreases when training goes well.
        divisible: Whether a batch may be split into micro-batches.
    """

    main: str
    divisible: bool = True

    def __init__(self, network: nn.Module, recipe: Recipe) -> None:
        self.network, self.recipe = network, recipe
        unused = set(getattr(network, "unused_parameters", ()))
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name not in unused)
        self.networks: dict[str, nn.Module] = {"network": network}
        self.optimizers: dict[str, Optimizer] = {}
        self.running: dict[str, Any] = {}
        self.fabric: Fabric

    def prepare(
        self, fabric: Fabric, compiled: Callable[[nn.Module], nn.Module] | None = None
    ) -> None:
        """Move networks and optimizers to the device, and synchronise them with other processes.

        On a GPU weights are stored channels-last, as its convolutions compute fastest. On a CPU
        that gains nothing.

        Args:
            fabric: Devices.
            compiled: Compiles a network for training; its weights stay where and what they are.
        """
        self.fabric = fabric
        for name, network in self.networks.items():
            if fabric.world_size > 1 and fabric.device.type == "cuda":
                nn.SyncBatchNorm.convert_sync_batchnorm(network)  # of one batch on all devices
            if fabric.device.type == "cuda":
                to_channels_last(network)
            scales = self.recipe.scales if name == "network" else {}
            optimizer = optimizer_of(network, self.recipe, scales)
            run = network if compiled is None else compiled(network)
            self.running[name], self.optimizers[name] = fabric.setup(run, optimizer)

    def set_rate(self, factor: float) -> None:
        """Set the learning rates, as a factor of the highest rate of the recipe."""
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = self.recipe.learning_rate * group["scale"] * factor

    @abstractmethod
    def step(self, batch: Batch, *, micro_batches: int = 1) -> Terms:
        """Train on a batch.

        Args:
            batch: Batch on the device.
            micro_batches: Number of equal parts to split it into, to save memory.

        Returns:
            Detached losses of this process's share of the batch, before the step.
        """

    def state_dict(self) -> dict[str, Any]:
        """Weights and optimizers, for resuming."""
        return {
            "networks": {name: network.state_dict() for name, network in self.networks.items()},
            "optimizers": {name: value.state_dict() for name, value in self.optimizers.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state from :meth:`state_dict`."""
        for name, network in self.networks.items():
            network.load_state_dict(state["networks"][name])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])

    def _descend(self, name: str) -> None:
        """Apply the accumulated gradient, and reset it."""
        network, optimizer = self.running[name], self.optimizers[name]
        if self.recipe.clip:
            self.fabric.clip_gradients(
                network, optimizer, max_norm=self.recipe.clip, error_if_nonfinite=False
            )
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


class Supervised(Objective):
    """One network, one loss: Align-CR and its ablations, DSen2-CR, GLF-CR, the segmenter.

    Args:
        network: Network to train.
        recipe: Its recipe.
        loss: Function of the network and a batch.
    """

    main = "loss"

    def __init__(
        self, network: nn.Module, recipe: Recipe, loss: Callable[[nn.Module, Batch], Tensor]
    ) -> None:
        super().__init__(network, recipe)
        self.loss = loss

    def step(self, batch: Batch, *, micro_batches: int = 1) -> Terms:
        """See :meth:`Objective.step`."""
        network = self.running["network"]
        total = torch.zeros((), device=self.fabric.device)
        for number, part in enumerate(_split(batch, micro_batches), start=1):
            with self.fabric.no_backward_sync(network, enabled=number < micro_batches):
                loss = self.loss(network, part) / micro_batches
                self.fabric.backward(loss)
            total += loss.detach()
        self._descend("network")
        return {"loss": total}


class AdversarialObjective(Objective):
    """Adversarial training of a generator and a discriminator: McGAN, SpA GAN, SAR-Opt-cGAN.

    Each step updates the discriminator first, then the generator, on the same restored images.

    Args:
        network: The generator.
        recipe: Its loss is ``Adversarial``.
        sar_bands: Bands of SAR in the batches, which a ``patch`` discriminator sees; 0 for none.
    """

    main = "l1"
    divisible = False

    def __init__(self, network: Restorer, recipe: Recipe, *, sar_bands: int = SAR_BANDS) -> None:
        super().__init__(network, recipe)
        assert isinstance(recipe.loss, Adversarial)
        self.loss = recipe.loss
        self.networks["network"] = self.generator = _Generator(
            network, attentive=self.loss.attention_weight > 0
        )
        self.networks["discriminator"] = self.discriminator = make_discriminator(
            network, self.loss, sar_bands=sar_bands
        )

    def step(self, batch: Batch, *, micro_batches: int = 1) -> Terms:
        """See :meth:`Objective.step`; in one part only."""
        assert micro_batches == 1
        restored, attention = self.running["network"](batch["cloudy"], batch.get("sar"))
        condition = self._condition(batch)
        clear, fake = self._shown(batch["clear"]), self._shown(restored)

        discriminate = self.running["discriminator"]
        fake_logits = discriminate(*condition, fake.detach())
        real_logits = discriminate(*condition, clear)
        discriminator_loss = losses.adversarial_discriminator(
            fake_logits, real_logits, halved=self.loss.halved
        )
        self.fabric.backward(discriminator_loss)
        self._descend("discriminator")

        self.discriminator.requires_grad_(requires_grad=False)
        with self.fabric.autocast():
            fake_logits = self.discriminator(*condition, fake)
        terms = {
            "adversarial": losses.adversarial_generator(fake_logits.float()),
            "l1": losses.l1(fake, clear),
        }
        loss = terms["adversarial"] + self.loss.l1_weight * terms["l1"]
        if attention is not None:
            terms["attention"] = losses.attention(
                attention,
                batch["clear"],
                batch["cloudy"],
                target=self.loss.attention_target,
                cloud_mask=batch.get("cloud_mask"),
            )
            loss = loss + self.loss.attention_weight * terms["attention"]
        self.fabric.backward(loss)
        self._descend("network")
        self.discriminator.requires_grad_(requires_grad=True)
        return {
            name: term.detach()
            for name, term in {"loss": loss, **terms, "discriminator": discriminator_loss}.items()
        }

    def _condition(self, batch: Batch) -> tuple[Tensor, ...]:
        """Inputs of the discriminator beside the image to classify."""
        cloudy = batch["cloudy"]
        if self.loss.discriminator == "two_stem" or "sar" not in batch:
            return (self._shown(cloudy),)
        size = cloudy.shape[-2], cloudy.shape[-1]
        return self._shown(cloudy), self._shown(upsample(batch["sar"], size))

    def _shown(self, image: Tensor) -> Tensor:
        return 2 * image - 1 if self.loss.symmetric else image


class _Generator(nn.Module):
    """A network that also returns its attention map, if it has one."""

    def __init__(self, network: Restorer, *, attentive: bool) -> None:
        super().__init__()
        if attentive and not hasattr(network, "restore_with_attention"):
            raise ModelError(
                f"recipe: expected attention_weight=0 for {network.method}, which has no attention"
            )
        self.network, self.attentive = network, attentive

    def forward(self, cloudy: Tensor, sar: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        if self.attentive:
            restore: Any = self.network.restore_with_attention
            restored, attention = restore(cloudy, sar)
            return restored, attention
        return self.network(cloudy, sar), None


def make_discriminator(
    network: Restorer, loss: Adversarial, *, sar_bands: int = SAR_BANDS
) -> nn.Module:
    """Make the discriminator of a recipe; one of patches sees SAR, if there is any."""
    if loss.discriminator == "two_stem":
        return TwoStemDiscriminator(
            condition_bands=network.bands, image_bands=network.bands, width=loss.width
        )
    return PatchDiscriminator(channels=2 * network.bands + sar_bands, width=loss.width)


def objective_of(network: Restorer, recipe: Recipe, *, sar_bands: int = SAR_BANDS) -> Objective:
    """Make the objective of a network that removes clouds.

    Args:
        network: The network.
        recipe: Its recipe.
        sar_bands: Bands of SAR in the batches; 0 for none.

    Raises:
        ModelError: The loss of the recipe is not for such a network.
    """
    if isinstance(recipe.loss, Adversarial):
        return AdversarialObjective(network, recipe, sar_bands=sar_bands)
    return regression_objective(network, recipe)


def regression_objective(network: nn.Module, recipe: Recipe) -> Objective:
    """Make the objective of any network of cloudy images and SAR, with a loss of its images.

    Raises:
        ModelError: The loss of the recipe is another one.
    """
    loss = recipe.loss
    if isinstance(loss, Adversarial | CrossEntropy):
        raise ModelError(f"{loss.name}: expected one of the losses {', '.join(REGRESSION)}")

    def regression(network: nn.Module, batch: Batch) -> Tensor:
        restored = network(batch["cloudy"], batch.get("sar"))
        match loss:
            case Charbonnier():
                return losses.charbonnier(
                    restored,
                    batch["clear"],
                    batch.get("cloud_mask"),
                    cloud_weight=loss.cloud_weight,
                    epsilon=loss.epsilon,
                    alpha=loss.alpha,
                )
            case Carl():
                return losses.carl(
                    restored,
                    batch["clear"],
                    batch["cloudy"],
                    batch.get("cloud_mask"),
                    target_weight=loss.target_weight,
                )
            case L1():
                return losses.l1(restored, batch["clear"])

    return Supervised(network, recipe, regression)


def objective_of_segmenter(segmenter: Segmenter, recipe: Recipe, patches: Patches) -> Objective:
    """Make the objective of a segmenter, whose normalisation is computed from the patches.

    Args:
        segmenter: Its buffers ``mean`` and ``std`` are set.
        recipe: Its loss is ``CrossEntropy``.
        patches: Training patches; at most 500 of them, evenly spaced, are read here.

    Raises:
        ModelError: A batch of one image, which batch normalisation cannot take, or another loss.
    """
    if not isinstance(recipe.loss, CrossEntropy) or recipe.batch < 2:
        raise ModelError("segmenter: expected the loss cross_entropy and a batch of 2 or more")
    mean, std, counts = statistics_of(patches)
    segmenter.set_normalisation(mean, std)
    weights = class_weights(counts) if recipe.loss.class_weights != "none" else None
    coarse = recipe.loss.label_grid == "10m"

    @functools.cache
    def on(device: torch.device) -> Tensor | None:
        return None if weights is None else weights.to(device)

    def entropy(network: nn.Module, batch: Batch) -> Tensor:
        image, land_cover = batch["clear"], batch["land_cover"]
        logits = network(image)
        if coarse:
            size = batch["sar"].shape[-2], batch["sar"].shape[-1]  # land cover has SAR's grid
            logits, land_cover = on_label_grid(logits, land_cover, size)
        return segmentation_loss(logits, land_cover, class_weights=on(image.device))

    return Supervised(segmenter, recipe, entropy)


def statistics_of(
    patches: Patches,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Mean and standard deviation of each band of the clear images, and pixels of each class."""
    sums, squares, pixels = 0.0, 0.0, 0
    counts = np.zeros(256, np.int64)
    for index in np.linspace(0, len(patches) - 1, min(len(patches), 500)).astype(int):
        patch = patches.read(int(index))
        clear = patch.clear.astype(np.float64)
        sums, squares = sums + clear.sum((1, 2)), squares + np.square(clear).sum((1, 2))
        assert patch.land_cover is not None
        pixels += patch.land_cover.size
        counts += np.bincount(patch.land_cover.ravel(), minlength=256)
    mean = np.asarray(sums / pixels)
    deviation = np.sqrt(np.maximum(squares / pixels - mean**2, 1e-8))
    return mean, deviation, counts[:CLASSES]


def optimizer_of(network: nn.Module, recipe: Recipe, scales: Mapping[str, float]) -> Optimizer:
    """Make the optimizer of a recipe over all trainable weights, grouped by their rates.

    It updates all weights in a few operations (``fused``, or ``foreach``) instead of ten each.

    Args:
        network: Weights that require gradients are trained.
        recipe: Names the optimizer and its settings.
        scales: Part of the network to factor of its rate, kept as ``scale`` of its group.

    Raises:
        ModelError: The network has no such part.
    """
    groups: dict[str, list[nn.Parameter]] = {part: [] for part in ("", *scales)}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            parts = [part for part in scales if f".{part}." in f".{name}."]
            groups[parts[0] if parts else ""].append(parameter)
    for part in scales:
        if not groups[part]:
            raise ModelError(f"recipe: scale.{part}: the network has no part of this name")
    weights = [
        {"params": parameters, "scale": scales.get(part, 1.0)}
        for part, parameters in groups.items()
        if parameters
    ]
    rate, decay = recipe.learning_rate, recipe.weight_decay
    if recipe.optimizer == "sgd":
        return SGD(weights, lr=rate, momentum=recipe.betas[0], weight_decay=decay, fused=True)
    if recipe.optimizer == "adam":
        return Adam(weights, lr=rate, betas=recipe.betas, weight_decay=decay, fused=True)
    return NAdam(weights, lr=rate, betas=recipe.betas, weight_decay=decay, foreach=True)


def to_channels_last(network: nn.Module) -> None:
    """Store kernels of 2-D convolutions channels-last; those of 3-D ones have no such format."""
    for value in (*network.parameters(), *network.buffers()):
        if value.dim() == 4:
            value.data = value.data.contiguous(memory_format=torch.channels_last)


def initialise(network: nn.Module) -> None:
    """Initialise with He-uniform kernels, zero biases, and the last convolution at a tenth.

    As DSen2-CR's authors do, except for the tenth: with reflectance in [0, 1] the initial
    correction would be as large as the image.

    Args:
        network: Changed in place.

    Raises:
        ModelError: It has no convolution and no linear layer.
    """
    layers = [
        module
        for module in network.modules()
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)
    ]
    for layer in layers:
        nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    if not layers:
        raise ModelError("initialisation: expected convolutions or linear layers for he_uniform")
    with torch.no_grad():
        layers[-1].weight.mul_(0.1)


def _split(batch: Batch, count: int) -> list[Batch]:
    if count == 1:
        return [batch]
    cut = {name: values.chunk(count) for name, values in batch.items()}
    return [{name: values[i] for name, values in cut.items()} for i in range(count)]
