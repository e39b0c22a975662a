"""Define the training recipe of each method: loss, optimizer, rates, batch, crop, epochs.

The paper states one setting (Sec. 5.1): 30 epochs, batches of 12, random crops of 160 pixels, Adam
at 1e-4, at 1e-5 in the alignment blocks, halved every 5 epochs after the first 10. It
applies here to Align-CR and to every network that is trained by a regression loss alone. The
paper states no settings for its baselines, so losses, optimizers and weights are those of their own
papers and code, with the same number of epochs and the same batch.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Final

from planetcr_models.errors import ModelError
from planetcr_models.training.budget import Budget, Progress

Scalar = bool | int | float | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Charbonnier:
    """Loss of Align-CR: ``charbonnier`` (paper, eq. 8)."""

    name: ClassVar[str] = "charbonnier"
    cloud_weight: float = 5.0
    epsilon: float = 1e-3
    alpha: float = 0.45


@dataclass(frozen=True, slots=True, kw_only=True)
class Carl:
    """Loss of DSen2-CR: ``carl``."""

    name: ClassVar[str] = "carl"
    target_weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class L1:
    """Loss of GLF-CR: mean absolute error."""

    name: ClassVar[str] = "l1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Adversarial:
    """Loss of a GAN: adversarial loss + ``l1_weight`` × L1 + ``attention_weight`` × attention loss.

    Attributes:
        discriminator: ``two_stem``, of McGAN and SpA GAN, or ``patch``, of pix2pix, which sees SAR.
        width: Width of the discriminator.
        symmetric: L1 and discriminator use images in [-1, 1] instead of [0, 1]; L1 is then twice
            as large.
        halved: The discriminator minimises half of its loss, as in pix2pix.
        l1_weight: Weight of the mean absolute error.
        attention_weight: Weight of ``attention``; 0 for networks without.
        attention_target: ``l1``, ``signed`` or ``mask``.
    """

    name: ClassVar[str] = "adversarial"
    discriminator: str = "two_stem"
    width: int = 64
    symmetric: bool = True
    halved: bool = False
    l1_weight: float = 100.0
    attention_weight: float = 0.0
    attention_target: str = "l1"


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossEntropy:
    """Loss of the segmenter: ``segmentation_loss``; unknown land is ignored.

    Attributes:
        class_weights: ``none``, or ``inverse_sqrt`` of the frequency of a class in training.
        label_grid: ``3m``, that of the image, or ``10m``, that of the labels as they are
            distributed, onto which logits are then interpolated.
    """

    name: ClassVar[str] = "cross_entropy"
    class_weights: str = "none"
    label_grid: str = "3m"


Loss = Charbonnier | Carl | L1 | Adversarial | CrossEntropy
LOSSES: Final[dict[str, type[Loss]]] = {
    loss.name: loss for loss in (Charbonnier, Carl, L1, Adversarial, CrossEntropy)
}
REGRESSION: Final = ("charbonnier", "carl", "l1")
"""Losses of a restored image alone, with which any network can be trained."""

LARGEST_SEED: Final = 2**31 - 1

CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "optimizer": ("adam", "nadam", "sgd"),
    "decay": ("none", "halve", "linear", "poly"),
    "initialisation": ("authors", "he_uniform"),
    "discriminator": ("two_stem", "patch"),
    "attention_target": ("l1", "signed", "mask"),
    "class_weights": ("none", "inverse_sqrt"),
    "label_grid": ("3m", "10m"),
}
"""Choices of the keys of a recipe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a network is trained: everything that determines its weights, except data and precision.

    Attributes:
        loss: Loss and its weights.
        epochs: Passes over the training scenes, with one random crop of each scene; with
            ``minutes`` or ``steps``, equal parts of that budget, along which the rates decay.
        minutes: Training time, without start-up, validation and saving; 0 for no such limit.
        steps: Number of steps; 0 for no such limit.
        batch: Images per step, over all devices together; the last incomplete batch is dropped.
        crop: Side of the random crops, in pixels of 3 m: a multiple of 10, so that crops of the
            10 m grid have whole pixels.
        turns: Flip and rotate crops by quarter turns, at random.
        optimizer: ``adam``, ``nadam`` or ``sgd`` with momentum ``betas[0]``.
        learning_rate: Highest rate, of all parts that ``scales`` does not name.
        scales: Part of the network, as in the names of its weights, to factor of its rate.
        betas: Of the optimizer.
        weight_decay: Of the optimizer.
        decay: Decay of the learning rate after the first ``constant_epochs``: ``halve`` every
            ``halve_every`` epochs; ``linear``, to zero at the end; ``none``; or ``poly``, from the
            first step on as (1 - step / steps) ** 0.9.
        constant_epochs: Epochs before ``halve`` or ``linear`` starts.
        halve_every: Epochs between halvings.
        warmup_steps: Steps in which the rate rises linearly to its maximum; at most a tenth of the
            run.
        initialisation: ``authors``, that of ``create_model``; or
            ``he_uniform``, with zero biases and the last convolution at a tenth.
        clip: Largest Euclidean norm of the gradient of a network; 0 for no limit.
        ema: Decay per step of the exponential moving average of the weights, which is then
            validated and saved; 0 for none.
        seed: Of weights, order, crops, dropout.
    """

    loss: Loss
    epochs: int = 30
    minutes: float = 0.0
    steps: int = 0
    batch: int = 12
    crop: int = 160
    turns: bool = False
    optimizer: str = "adam"
    learning_rate: float = 1e-4
    scales: Mapping[str, float] = field(default_factory=dict)
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    decay: str = "halve"
    constant_epochs: int = 10
    halve_every: int = 5
    warmup_steps: int = 0
    initialisation: str = "authors"
    clip: float = 0.0
    ema: float = 0.0
    seed: int = 7

    def budget(self, steps_per_epoch: int) -> Budget:
        """What a run of this recipe may spend.

        Args:
            steps_per_epoch: Steps per pass over the training scenes.
        """
        if self.minutes:
            return Budget(epochs=self.epochs, seconds=60 * self.minutes)
        return Budget(epochs=self.epochs, steps=self.steps or self.epochs * steps_per_epoch)

    def factor(self, progress: Progress) -> float:
        """Factor of the learning rate of the next step (paper, Sec. 5.1, for ``halve``).

        Args:
            progress: Before that step.

        Example:
            >>> recipe = RECIPES["align_cr"]
            >>> budget = recipe.budget(steps_per_epoch=1)
            >>> [recipe.factor(budget.progress(epoch)) for epoch in (0, 9, 10, 14, 15, 29)]
            [1.0, 1.0, 0.5, 0.5, 0.25, 0.0625]
        """
        rise = self._rise(progress)
        late = progress.epoch - self.constant_epochs
        if self.decay == "poly":
            return rise * (1 - progress.fraction) ** 0.9
        if self.decay == "halve" and late >= 0:
            return rise * 0.5 ** (late // self.halve_every + 1)
        if self.decay == "linear" and late >= 0:
            return rise * (1 - (late + 1) / (self.epochs - self.constant_epochs + 1))
        return rise

    def _rise(self, progress: Progress) -> float:
        """Factor of the warm-up."""
        if progress.steps is not None:
            warmup = min(self.warmup_steps, progress.steps // 10)
            return min(1.0, (progress.step + 1) / (warmup + 1))
        rise = (progress.step + 1) / (self.warmup_steps + 1)
        return min(1.0, max(rise, 10 * progress.fraction))

    def plain(self) -> dict[str, Scalar]:
        """Flat table of the recipe, as it is printed and saved.

        ``loss`` is its name, followed by its weights; ``scales`` and ``betas`` become
        ``scale.align`` and ``beta1``, ``beta2``.
        """
        table: dict[str, Scalar] = {"loss": self.loss.name, **dataclasses.asdict(self.loss)}
        for name in _names(self):
            value = getattr(self, name)
            if name == "betas":
                table |= {"beta1": value[0], "beta2": value[1]}
            elif name == "scales":
                table |= {f"scale.{part}": factor for part, factor in value.items()}
            elif name != "loss":
                table[name] = value
        return table

    def changed(self, /, **changes: Scalar) -> Recipe:
        """Return the recipe with other values.

        Args:
            **changes: Keys as in :meth:`plain`; ``loss`` may name another regression loss, whose
                weights may follow; ``scale.PART`` may name any part.

        Raises:
            ModelError: Unknown key, a value of another type, or an invalid one.
        """
        loss, table = self.loss, self.plain()
        name = changes.get("loss", loss.name)
        if name != loss.name:
            if name not in REGRESSION or loss.name not in REGRESSION:
                regression = loss.name in REGRESSION
                others = f" or another of {', '.join(REGRESSION)}" if regression else ""
                raise ModelError(f"recipe: expected loss={loss.name}{others}, got {name!r}")
            loss = LOSSES[str(name)]()
            table = dataclasses.replace(self, loss=loss).plain()
        for key, value in changes.items():
            table[key] = _fit(key, value, table)
        weights: dict[str, Any] = {name: table[name] for name in _names(loss)}
        scales = {
            key.removeprefix("scale."): float(value)
            for key, value in table.items()
            if key.startswith("scale.")
        }
        common: dict[str, Any] = {name: table[name] for name in _names(self) if name in table}
        betas = float(table["beta1"]), float(table["beta2"])
        recipe = Recipe(
            **{**common, "loss": type(loss)(**weights), "scales": scales, "betas": betas}
        )
        _expect_valid(recipe.plain())
        return recipe


def _names(table: Recipe | Loss) -> list[str]:
    return [entry.name for entry in fields(table)]


def _fit(key: str, value: Scalar, table: Mapping[str, Scalar]) -> Scalar:
    """Check a changed value against the type of the old one."""
    old = 1.0 if key.startswith("scale.") and key != "scale." else table.get(key)
    if old is None:
        near = difflib.get_close_matches(key, table, 1)
        hint = f"did you mean {near[0]!r}? It has" if near else "it has"
        raise ModelError(f"recipe: has no {key!r}; {hint} {', '.join(table)}")
    if isinstance(old, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not type(old):
        raise ModelError(f"recipe: expected {key} like {old!r}, got {value!r}")
    return value


def _expect_valid(table: Mapping[str, Any]) -> None:
    for key, choices in CHOICES.items():
        if key in table and table[key] not in choices:
            raise ModelError(
                f"recipe: expected {key} to be one of {', '.join(choices)}, got {table[key]!r}"
            )
    least = {"epochs": 1, "batch": 1, "crop": 1, "halve_every": 1, "width": 1}
    for key, value in table.items():
        if isinstance(value, bool | str):
            continue
        low = least.get(key, 0)
        below_one = key in ("ema", "beta1", "beta2")
        if key == "seed" and value > LARGEST_SEED:
            raise ModelError(f"recipe: expected seed to be up to {LARGEST_SEED}, got {value!r}")
        if not math.isfinite(value) or value < low or (below_one and value >= 1):
            limits = "[0, 1)" if below_one else f"{low} or more"
            raise ModelError(f"recipe: expected {key} to be {limits}, got {value!r}")
    minutes, steps, epochs = (table[key] for key in ("minutes", "steps", "epochs"))
    if minutes and steps:
        raise ModelError(
            f"recipe: expected minutes or steps, got both, {minutes:g} and {steps}; set one to 0"
        )
    if 0 < steps < epochs:
        raise ModelError(
            f"recipe: expected at least as many steps as epochs, {epochs}, into which they are "
            f"divided, got {steps}; use more steps, or epochs={steps}"
        )


_GAN: Final[dict[str, Any]] = {
    "crop": 250,
    "betas": (0.5, 0.999),
    "decay": "linear",
    "constant_epochs": 15,
}
"""Common settings of the GANs. Their papers crop 256 pixels, which does not fit the 10 m grid;
250 is padded to 256 inside the networks. Rates are constant for half of the epochs, then decay
linearly."""

RECIPES: Final[dict[str, Recipe]] = {
    "mcgan": Recipe(loss=Adversarial(), learning_rate=2e-4, **_GAN),
    "spa_gan": Recipe(
        loss=Adversarial(symmetric=False, attention_weight=1.0),
        learning_rate=4e-4,
        **(_GAN | {"crop": 160}),
    ),
    "sar_opt_cgan": Recipe(
        loss=Adversarial(discriminator="patch", halved=True), learning_rate=2e-4, **_GAN
    ),
    "dsen2_cr": Recipe(loss=Carl()),
    "glf_cr": Recipe(loss=L1()),
    "align_cr_no_sar": Recipe(loss=Charbonnier()),
    "align_cr_no_align": Recipe(loss=Charbonnier()),
    "align_cr": Recipe(loss=Charbonnier(), scales={"align": 0.1}),
    "segmenter": Recipe(
        loss=CrossEntropy(),
        epochs=60,
        batch=16,
        crop=250,
        turns=True,
        optimizer="sgd",
        learning_rate=0.01,
        weight_decay=1e-4,
        decay="poly",
        constant_epochs=0,
        warmup_steps=1000,
    ),
    "cloudseg": Recipe(loss=CrossEntropy(label_grid="10m"), batch=32),
}
"""Recipes of every method of ``list_models``, and two of the segmenter (Sec. 5.3)."""

USER_RECIPE: Final = Recipe(loss=L1())
"""Recipe of a user's network: mean absolute error, and the paper's setting (Sec. 5.1)."""

SOURCES: Final[dict[str, str]] = {
    "mcgan": "loss, optimizer and initialisation of its authors' first code, which has no weight "
    "decay; epochs, batch and schedule are ours; the Planet-CR paper states none",
    "spa_gan": "loss, optimizer and initialisation of its author's code, without its weight decay "
    "of 1e-5 and with the attention target of its README; epochs, batch and schedule are ours",
    "sar_opt_cgan": "pix2pix's, which it extends; epochs, batch and schedule are ours",
    "dsen2_cr": "the Planet-CR authors' code, at the paper's batch; the original: NAdam at 7e-5, 8 "
    "epochs, batch 16",
    "glf_cr": "the Planet-CR authors' code, at the paper's batch",
    "align_cr_no_sar": "paper, Sec. 4.2.3 and 5.1",
    "align_cr_no_align": "paper, Sec. 4.2.3 and 5.1",
    "align_cr": "paper, Sec. 4.2.3 and 5.1",
    "segmenter": "network of the paper's Sec. 5.3, which does not state its training; ours "
    "follows the DeepLab papers: SGD, polynomial decay",
    "cloudseg": "another recipe for the segmenter: that of the code of CloudSeg (Xu et al., ISPRS "
    "Journal 214, 2024), by the paper's first author on the same data, for its network of "
    "cloud-free images: no flips, loss on the 10 m grid; there the encoder starts from ImageNet, "
    "here with --encoder-weights",
}
"""Origin of each recipe."""
