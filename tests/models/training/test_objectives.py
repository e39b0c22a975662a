"""Test training steps against steps written by hand."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from fake_patches import MadeUp
from narrow_networks import narrow
from planetcr_models.errors import ModelError
from planetcr_models.networks.base import upsample
from planetcr_models.segmentation.deeplab import Segmenter
from planetcr_models.training.devices import TrainingSettings, make_fabric
from planetcr_models.training.discriminators import PatchDiscriminator, TwoStemDiscriminator
from planetcr_models.training.loader import Batch, Batches, Crops, load
from planetcr_models.training.objectives import (
    AdversarialObjective,
    Objective,
    Supervised,
    initialise,
    objective_of,
    objective_of_segmenter,
    optimizer_of,
    statistics_of,
    to_channels_last,
)
from planetcr_models.training.recipes import (
    L1,
    RECIPES,
    Adversarial,
    Carl,
    Charbonnier,
    CrossEntropy,
    Recipe,
)

GANS = ("mcgan", "spa_gan", "sar_opt_cgan")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    fabric = make_fabric(TrainingSettings(device="cpu"))
    fabric.launch()
    return fabric


@pytest.fixture(scope="module")
def batches() -> list[Batch]:
    """Three batches of four, in float64, where two ways to add give one answer."""
    crops = Crops(MadeUp(12), crop=40, turns=False, seed=7)
    loader = load(crops, Batches(12, batch=4, seed=7, last=3), workers=0, pin=False)
    return [
        {name: x.double() if x.is_floating_point() else x for name, x in batch.items()}
        for batch in loader
    ]


def prepared(objective: Objective, fabric: Fabric) -> Objective:
    for network in objective.networks.values():
        network.double()
    objective.prepare(fabric)
    return objective


def weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def learnt(before: dict[str, Tensor], network: nn.Module) -> set[str]:
    """Names of the parameters that are no longer what they were."""
    return {
        name for name, value in network.named_parameters() if not torch.equal(before[name], value)
    }


def same_weights(first: nn.Module, second: nn.Module, *, within: float = 1e-9) -> None:
    assert_close(dict(first.state_dict()), dict(second.state_dict()), rtol=0, atol=within)


# --- one network, one loss ------------------------------------------------------------------------


def charbonnier_by_hand(restored: Tensor, batch: Batch) -> Tensor:
    cloud = batch["cloud_mask"].double()[:, None].expand_as(restored)
    error = (restored - batch["clear"]) ** 2 + 0.02**2
    return torch.mean((1 + 3 * cloud) * error**0.4)


def carl_by_hand(restored: Tensor, batch: Batch) -> Tensor:
    wanted = torch.where(batch["cloud_mask"][:, None], batch["clear"], batch["cloudy"])
    return F.l1_loss(restored, wanted) + 0.7 * F.l1_loss(restored, batch["clear"])


def l1_by_hand(restored: Tensor, batch: Batch) -> Tensor:
    return F.l1_loss(restored, batch["clear"])


@pytest.mark.parametrize(
    ("loss", "by_hand"),
    [
        (Charbonnier(cloud_weight=3.0, epsilon=0.02, alpha=0.4), charbonnier_by_hand),
        (Carl(target_weight=0.7), carl_by_hand),
        (L1(), l1_by_hand),
    ],
    ids=["charbonnier", "carl", "l1"],
)
def test_three_steps_are_a_loop_by_hand(
    loss: Any, by_hand: Callable[[Tensor, Batch], Tensor], fabric: Fabric, batches: list[Batch]
) -> None:
    network = narrow("dsen2_cr")
    start, alone = weights(network), copy.deepcopy(network).double()
    recipe = Recipe(loss=loss, learning_rate=1e-3, betas=(0.8, 0.99), weight_decay=0.01)
    objective = prepared(objective_of(network, recipe), fabric)
    assert isinstance(objective, Supervised)
    assert (objective.main, objective.divisible) == ("loss", True)
    optimizer = torch.optim.Adam(
        alone.parameters(), lr=1e-3, betas=(0.8, 0.99), eps=1e-8, weight_decay=0.01
    )
    for factor, batch in zip((0.1, 1.0, 0.5), batches, strict=True):
        objective.set_rate(factor)
        terms = objective.step(batch)
        optimizer.param_groups[0]["lr"] = 1e-3 * factor
        optimizer.zero_grad()
        value = by_hand(alone(batch["cloudy"], batch["sar"]), batch)
        value.backward()
        optimizer.step()
        assert list(terms) == ["loss"]
        assert not terms["loss"].requires_grad
        assert terms["loss"].item() == pytest.approx(value.item(), rel=1e-6)
    same_weights(network, alone)
    assert len(learnt(start, network.float())) == len([*network.parameters()])


@pytest.mark.parametrize("micro_batches", [2, 4])
@pytest.mark.parametrize("loss", [Charbonnier(), Carl(), L1()], ids=lambda loss: loss.name)
def test_micro_batches_give_the_gradients_of_the_batch(
    loss: Any, micro_batches: int, fabric: Fabric, batches: list[Batch]
) -> None:
    recipe = Recipe(loss=loss, optimizer="sgd", learning_rate=0.1)
    whole, cut = (prepared(objective_of(narrow("dsen2_cr"), recipe), fabric) for _ in range(2))
    for batch in batches:
        terms, cut_terms = whole.step(batch), cut.step(batch, micro_batches=micro_batches)
        assert terms["loss"].item() == pytest.approx(cut_terms["loss"].item(), rel=1e-6)
    same_weights(whole.network, cut.network)


def test_the_loss_is_computed_per_micro_batch(fabric: Fabric, batches: list[Batch]) -> None:
    seen: list[Batch] = []

    def loss(network: nn.Module, part: Batch) -> Tensor:
        seen.append(part)
        return network(part["cloudy"], part["sar"]).mean()

    objective = prepared(Supervised(narrow("dsen2_cr"), Recipe(loss=L1()), loss), fabric)
    objective.step(batches[0], micro_batches=2)
    assert [part["cloudy"].shape[0] for part in seen] == [2, 2]
    for name, whole in batches[0].items():
        assert torch.equal(torch.cat([part[name] for part in seen]), whole)


def test_gradients_are_reset_after_each_step(fabric: Fabric, batches: list[Batch]) -> None:
    objective = prepared(objective_of(narrow("dsen2_cr"), Recipe(loss=L1())), fabric)
    objective.step(batches[0])
    assert all(parameter.grad is None for parameter in objective.network.parameters())


# --- who learns, and how fast ---------------------------------------------------------------------

HALVED = [1.0] * 10 + [0.5] * 5 + [0.25] * 5 + [0.125] * 5 + [0.0625] * 5


def test_the_alignment_of_align_cr_and_nothing_else_learns_at_a_tenth(fabric: Fabric) -> None:
    network, recipe = narrow("align_cr"), RECIPES["align_cr"]
    objective = objective_of(network, recipe)
    objective.prepare(fabric)
    (optimizer,) = objective.optimizers.values()
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    groups = {
        group["scale"]: {names[id(parameter)] for parameter in group["params"]}
        for group in optimizer.param_groups
    }
    live = {*names.values()} - {*network.unused_parameters}
    aligning = {name for name in live if "align" in name.split(".")}
    assert 0 < len(aligning) < len(live)
    assert groups == {1.0: live - aligning, 0.1: aligning}
    for epoch, factor in enumerate(HALVED):
        objective.set_rate(recipe.factor(recipe.budget(55).progress(epoch * 55)))
        rates = {group["scale"]: group["lr"] for group in optimizer.param_groups}
        assert rates == pytest.approx({1.0: 1e-4 * factor, 0.1: 1e-5 * factor}, rel=1e-12)


def test_alignment_moves_a_tenth_as_far_in_the_first_step(
    fabric: Fabric, batches: list[Batch]
) -> None:
    objective = prepared(objective_of(narrow("align_cr"), RECIPES["align_cr"]), fabric)
    before = weights(objective.network)
    objective.set_rate(1.0)
    objective.step({name: values[:1] for name, values in batches[0].items()})
    moved = {
        name: (value - before[name]).abs().max().item()
        for name, value in objective.network.named_parameters()
    }
    for name, farthest in moved.items():  # Adam's first step is the rate itself
        tenth = "align" in name.split(".")
        assert farthest <= (1e-5 if tenth else 1e-4) * (1 + 1e-6), name
        if name not in objective.network.unused_parameters:
            assert farthest > (5e-6 if tenth else 5e-5), name


def test_a_scaled_part_is_a_whole_component_of_a_weights_name() -> None:
    network = nn.ModuleDict({"lign": nn.Linear(2, 2), "align": nn.Linear(2, 2)})
    optimizer = optimizer_of(network, Recipe(loss=L1()), {"lign": 0.5, "align.bias": 0.0})
    shapes = {
        group["scale"]: [tuple(parameter.shape) for parameter in group["params"]]
        for group in optimizer.param_groups
    }
    assert shapes == {1.0: [(2, 2)], 0.5: [(2, 2), (2,)], 0.0: [(2,)]}


def test_a_scaled_part_may_be_the_whole_network() -> None:
    network = nn.Sequential(nn.Linear(2, 2))
    optimizer = optimizer_of(network, Recipe(loss=L1()), {"0": 0.5})
    assert [group["scale"] for group in optimizer.param_groups] == [0.5]


@pytest.mark.parametrize(
    ("word", "kind", "settings"),
    [
        ("adam", torch.optim.Adam, {"betas": (0.8, 0.9), "eps": 1e-8}),
        ("nadam", torch.optim.NAdam, {"betas": (0.8, 0.9), "momentum_decay": 0.004}),
        ("sgd", torch.optim.SGD, {"momentum": 0.8, "nesterov": False, "dampening": 0}),
    ],
)
def test_an_optimizer_is_the_one_that_is_named(
    word: str, kind: type, settings: dict[str, Any]
) -> None:
    recipe = Recipe(
        loss=L1(), optimizer=word, learning_rate=0.3, betas=(0.8, 0.9), weight_decay=0.02
    )
    optimizer = optimizer_of(nn.Linear(2, 2), recipe, {})
    assert type(optimizer) is kind
    (group,) = optimizer.param_groups
    expected = settings | {"lr": 0.3, "weight_decay": 0.02, "scale": 1.0}
    assert {key: group[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("name", "options"),
    [("align_cr", {}), ("spa_gan", {}), ("spa_gan", {"directional": True})],
    ids=["align_cr", "spa_gan", "spa_gan_directional"],
)
def test_unused_parameters_stay_as_they_are_and_all_others_learn(
    name: str, options: dict[str, Any], fabric: Fabric, batches: list[Batch]
) -> None:
    network = narrow(name, **options)
    unused = set(network.unused_parameters)
    assert unused
    recipe = RECIPES[name].changed(weight_decay=0.1)
    objective = prepared(objective_of(network, recipe), fabric)
    before = weights(network)
    gradients: list[str] = []
    for key, parameter in network.named_parameters():
        if parameter.requires_grad:
            parameter.register_hook(lambda _, key=key: gradients.append(key))
    objective.step({key: values[:2] for key, values in batches[0].items()})
    everyone = {key for key, _ in network.named_parameters()}
    assert {
        key for key, parameter in network.named_parameters() if not parameter.requires_grad
    } == unused
    assert set(gradients) == everyone - unused
    assert learnt(before, network) == everyone - unused


def test_frozen_parameters_learn_again() -> None:
    network = narrow("dsen2_cr").requires_grad_(requires_grad=False)
    objective_of(network, Recipe(loss=L1()))
    assert all(parameter.requires_grad for parameter in network.parameters())


def gradient(network: nn.Module, batch: Batch) -> Tensor:
    alone = copy.deepcopy(network)
    l1_by_hand(alone(batch["cloudy"], batch["sar"]), batch).backward()
    return torch.cat([parameter.grad.flatten() for parameter in alone.parameters()])


@pytest.mark.parametrize("share", [0.25, 4.0])
def test_the_norm_of_a_gradient_is_clipped(
    share: float, fabric: Fabric, batches: list[Batch]
) -> None:
    network = narrow("dsen2_cr").double()
    steep = gradient(network, batches[0])
    length = steep.norm().item()
    recipe = Recipe(
        loss=L1(), optimizer="sgd", betas=(0, 0), learning_rate=1.0, clip=share * length
    )
    objective = prepared(objective_of(network, recipe), fabric)
    before = nn.utils.parameters_to_vector(network.parameters()).clone()
    objective.step(batches[0])
    moved = before - nn.utils.parameters_to_vector(network.parameters())
    assert_close(moved, min(share, 1) * steep, rtol=1e-4, atol=1e-12)


def test_generator_and_discriminator_are_clipped_separately(
    fabric: Fabric, batches: list[Batch]
) -> None:
    clip = 1e-3
    recipe = RECIPES["mcgan"].changed(optimizer="sgd", beta1=0, learning_rate=1, clip=clip, width=4)
    objective = prepared(objective_of(narrow("mcgan"), recipe), fabric)
    before = {
        name: nn.utils.parameters_to_vector(network.parameters()).clone()
        for name, network in objective.networks.items()
    }
    objective.step(batches[0])
    assert set(before) == {"network", "discriminator"}
    for name, network in objective.networks.items():
        moved = before[name] - nn.utils.parameters_to_vector(network.parameters())
        assert moved.norm().item() == pytest.approx(clip, rel=1e-3)


def test_a_nan_gradient_is_left_to_the_check_of_the_loss(
    fabric: Fabric, batches: list[Batch]
) -> None:
    recipe = Recipe(loss=Charbonnier(), clip=1.0)
    objective = prepared(objective_of(narrow("dsen2_cr"), recipe), fabric)
    batch = batches[0] | {"clear": torch.full_like(batches[0]["clear"], math.nan)}
    assert math.isnan(objective.step(batch)["loss"].item())


# --- adversarial training -------------------------------------------------------------------------

ADVERSARIAL_CASES = {
    "mcgan": RECIPES["mcgan"].changed(width=4),
    "spa_gan": RECIPES["spa_gan"].changed(width=4),
    "spa_gan_mask": RECIPES["spa_gan"].changed(
        width=4, attention_target="mask", attention_weight=3.0, l1_weight=20.0
    ),
    "sar_opt_cgan": RECIPES["sar_opt_cgan"].changed(width=4),
}
ATTENTION = {
    "spa_gan": lambda batch: (batch["clear"] - batch["cloudy"]).abs().sum(1).clamp(max=1),
    "spa_gan_mask": lambda batch: batch["cloud_mask"].double(),
}


def adversarial_objective(case: str, fabric: Fabric) -> AdversarialObjective:
    name = case.removesuffix("_mask")
    objective = prepared(objective_of(narrow(name), ADVERSARIAL_CASES[case]), fabric)
    assert isinstance(objective, AdversarialObjective)
    return objective


def of_label(logits: Tensor, label: float) -> Tensor:
    """Cross-entropy with a label: softplus by another name."""
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


@pytest.mark.parametrize("case", ADVERSARIAL_CASES)
def test_adversarial_training_is_a_loop_by_hand(
    case: str, fabric: Fabric, batches: list[Batch]
) -> None:
    objective = adversarial_objective(case, fabric)
    assert (objective.main, objective.divisible) == ("l1", False)
    generator = copy.deepcopy(objective.network)
    discriminator = copy.deepcopy(objective.networks["discriminator"])
    spa, patch = case.startswith("spa_gan"), case == "sar_opt_cgan"
    rate, loss = (4e-4 if spa else 2e-4), ADVERSARIAL_CASES[case].loss
    of_generator, of_discriminator = (
        torch.optim.Adam(network.parameters(), lr=rate, betas=(0.5, 0.999))
        for network in (generator, discriminator)
    )

    def shown(image: Tensor) -> Tensor:
        return image if spa else 2 * image - 1

    objective.set_rate(1.0)
    for number, batch in enumerate(batches[:2]):
        torch.manual_seed(number)  # of dropout
        terms = objective.step(batch)

        torch.manual_seed(number)
        if spa:
            restored, attention = generator.restore_with_attention(batch["cloudy"], batch["sar"])
        else:
            restored = generator(batch["cloudy"], batch["sar"])
        seen = [shown(batch["cloudy"])]
        seen += [shown(upsample(batch["sar"], (40, 40)))] if patch else []
        fake, real = shown(restored), shown(batch["clear"])

        of_discriminator.zero_grad()
        against = of_label(discriminator(*seen, fake.detach()), 0) + of_label(
            discriminator(*seen, real), 1
        )
        against = against / 2 if patch else against
        against.backward()
        of_discriminator.step()

        of_generator.zero_grad()
        adversarial, l1 = of_label(discriminator(*seen, fake), 1), F.l1_loss(fake, real)
        expected = {"adversarial": adversarial, "l1": l1}
        total = adversarial + loss.l1_weight * l1
        if spa:
            expected["attention"] = F.mse_loss(attention[:, 0], ATTENTION[case](batch))
            total = total + loss.attention_weight * expected["attention"]
        total.backward()
        of_generator.step()

        expected = {"loss": total, **expected, "discriminator": against}
        assert list(terms) == list(expected)
        assert not any(term.requires_grad for term in terms.values())
        for name, value in expected.items():
            assert terms[name].item() == pytest.approx(value.item(), rel=1e-6), name
    # Biases before a normalisation have gradients of rounding alone, which Adam makes larger.
    same_weights(objective.network, generator, within=1e-6)
    same_weights(objective.networks["discriminator"], discriminator, within=1e-6)


@pytest.mark.parametrize("case", GANS)
def test_only_the_discriminators_own_loss_teaches_it(
    case: str, fabric: Fabric, batches: list[Batch]
) -> None:
    objective = adversarial_objective(case, fabric)
    discriminator = objective.networks["discriminator"]
    gradients: list[str] = []
    for name, parameter in discriminator.named_parameters():
        parameter.register_post_accumulate_grad_hook(lambda _, name=name: gradients.append(name))
    before = weights(discriminator)
    objective.step(batches[0])
    everyone = [name for name, _ in discriminator.named_parameters()]
    assert sorted(gradients) == sorted(everyone)  # once each, from one backward pass
    assert learnt(before, discriminator) == set(everyone)
    for parameter in discriminator.parameters():
        assert parameter.requires_grad
        assert parameter.grad is None


@pytest.mark.parametrize("case", GANS)
def test_adversarial_training_restores_images_once_a_step(
    case: str, fabric: Fabric, batches: list[Batch]
) -> None:
    objective = adversarial_objective(case, fabric)
    count = []
    first = next(module for module in objective.network.modules() if isinstance(module, nn.Conv2d))
    first.register_forward_hook(lambda *_: count.append(1))
    objective.step(batches[0])
    assert len(count) == 1


def test_discriminators_are_the_authors() -> None:
    made = {name: objective_of(narrow(name), RECIPES[name]) for name in GANS}
    discriminators = {name: objective.networks["discriminator"] for name, objective in made.items()}
    for name in ("mcgan", "spa_gan"):
        assert isinstance(discriminators[name], TwoStemDiscriminator)
        assert discriminators[name].image.out_channels == 32
    assert isinstance(discriminators["sar_opt_cgan"], PatchDiscriminator)
    assert discriminators["sar_opt_cgan"].channels == 4 + 2 + 4
    assert discriminators["sar_opt_cgan"].layers[0].out_channels == 64


@pytest.mark.parametrize(("discriminator", "seen"), [("two_stem", (3, 3)), ("patch", 3 + 2 + 3)])
def test_discriminators_have_as_many_bands_as_the_network(discriminator: str, seen: Any) -> None:
    recipe = RECIPES["mcgan"].changed(width=4, discriminator=discriminator)
    network = objective_of(narrow("mcgan", bands=3), recipe).networks["discriminator"]
    assert (network.bands if discriminator == "two_stem" else network.channels) == seen


def test_learning_rates_by_part_apply_to_the_generator_alone(fabric: Fabric) -> None:
    recipe = RECIPES["mcgan"].changed(width=4, **{"scale.leave": 0.5})
    objective = objective_of(narrow("mcgan"), recipe)
    objective.prepare(fabric)
    objective.set_rate(0.5)
    rates = {
        name: [group["lr"] for group in optimizer.param_groups]
        for name, optimizer in objective.optimizers.items()
    }
    assert rates == {"network": [1e-4, 5e-5], "discriminator": [1e-4]}  # both have a "leave"


def test_adversarial_training_trains_the_given_network() -> None:
    network = narrow("mcgan")
    objective = objective_of(network, ADVERSARIAL_CASES["mcgan"])
    assert objective.network is network
    own = {id(parameter) for parameter in objective.networks["network"].parameters()}
    assert own == {id(parameter) for parameter in network.parameters()}


# --- what lasts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["mcgan", "align_cr"])
def test_an_objective_resumes_from_its_state(
    case: str, fabric: Fabric, batches: list[Batch]
) -> None:
    def fresh(seed: int) -> Objective:
        name, recipe = (
            ("dsen2_cr", Recipe(loss=L1()))
            if case == "align_cr"
            else (case, ADVERSARIAL_CASES[case])
        )
        return prepared(objective_of(narrow(name, seed=seed), recipe), fabric)

    first, second = fresh(0), fresh(1)
    first.set_rate(0.5)
    first.step(batches[0])
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for objective in (first, second):
        torch.manual_seed(0)
        objective.step(batches[1])
    for name, network in first.networks.items():
        same_weights(network, second.networks[name])


# --- initialisation -------------------------------------------------------------------------------


def test_he_uniform_fills_kernels_and_zeroes_biases() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(4, 64, 3),
        nn.BatchNorm2d(64),
        nn.Linear(32, 512),
        nn.Conv2d(64, 64, 3, bias=False),
    )
    nn.init.constant_(network[1].bias, 3)
    initialise(network)
    for layer, inputs, share in ((network[0], 36, 1), (network[2], 32, 1), (network[3], 576, 0.1)):
        bound = share * math.sqrt(6 / inputs)
        kernel = layer.weight.detach()
        assert kernel.abs().max().item() == pytest.approx(bound, rel=0.01)
        assert kernel.abs().max() <= bound
        assert kernel.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
        assert layer.bias is None or not layer.bias.any()
    assert network[1].bias.eq(3).all()


@pytest.mark.parametrize("name", ["dsen2_cr", "spa_gan", "mcgan", "align_cr"])
def test_the_layer_that_makes_the_image_is_the_one_at_a_tenth(
    name: str, batches: list[Batch]
) -> None:
    network = narrow(name).double()
    last: list[nn.Module] = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            module.register_forward_hook(lambda layer, *_: last.append(layer))
    with torch.no_grad():
        network(batches[0]["cloudy"][:2], batches[0]["sar"][:2])
    torch.manual_seed(3)
    initialise(network)
    kernel = last[-1].weight
    transposed = isinstance(last[-1], nn.ConvTranspose2d)
    inputs = kernel[0].numel() if not transposed else kernel.shape[1] * kernel[0, 0].numel()
    assert kernel.abs().max().item() == pytest.approx(0.1 * math.sqrt(6 / inputs), rel=0.15)


# --- the segmenter
# ------------------------------------------------------------------------------------


def small_segmenter() -> Segmenter:
    torch.manual_seed(0)
    return Segmenter(encoder="resnet18")


def segmenting(**changes: Any) -> Recipe:
    return RECIPES["segmenter"].changed(batch=4, **changes)


def test_normalisation_is_that_of_all_pixels() -> None:
    patches, segmenter = MadeUp(7), small_segmenter()
    objective_of_segmenter(segmenter, segmenting(), patches)
    pixels = patches.clear.astype(np.float64).transpose(1, 0, 2, 3).reshape(4, -1)
    assert_close(segmenter.mean.double().numpy(), pixels.mean(1), rtol=1e-6, atol=0)
    assert_close(segmenter.std.double().numpy(), pixels.std(1), rtol=1e-5, atol=0)
    mean, deviation, _ = statistics_of(patches)
    assert_close(mean, pixels.mean(1), rtol=1e-12, atol=0)
    assert_close(deviation, pixels.std(1), rtol=1e-9, atol=0)


def test_classes_are_counted_and_unknown_land_is_not() -> None:
    patches = MadeUp(7)
    patches.land_cover[0, :5] = 255
    _, _, counts = statistics_of(patches)
    assert counts.tolist() == [int((patches.land_cover == index).sum()) for index in range(6)]
    assert counts.sum() < patches.land_cover.size


def test_a_band_without_contrast_causes_no_division_by_zero() -> None:
    patches, segmenter = MadeUp(2), small_segmenter()
    patches.clear[:, 1] = 0.1
    objective_of_segmenter(segmenter, segmenting(), patches)
    assert segmenter.std[1].item() == pytest.approx(1e-4, rel=1e-6)


def test_five_hundred_evenly_spaced_patches_are_used() -> None:
    class Counted(MadeUp):
        def __init__(self) -> None:
            super().__init__(1, side=20)
            self.read_ones: list[int] = []

        def __len__(self) -> int:
            return 1200

        def read(self, index: int, **_: Any) -> Any:
            self.read_ones.append(index)
            return super().read(0)

    patches = Counted()
    statistics_of(patches)
    gaps = np.diff(patches.read_ones)
    assert len(patches.read_ones) == 500
    assert (patches.read_ones[0], patches.read_ones[-1]) == (0, 1199)
    assert set(gaps.tolist()) == {2, 3}


@pytest.mark.parametrize("weighting", ["none", "inverse_sqrt"])
def test_the_segmenters_loss_is_the_cross_entropy_of_known_land(
    weighting: str, fabric: Fabric, batches: list[Batch]
) -> None:
    patches, segmenter = MadeUp(12), small_segmenter()
    patches.land_cover[:] = np.minimum(patches.land_cover, 4)  # and no water
    batch = {name: values.clone() for name, values in batches[0].items()}
    batch["land_cover"].clamp_(max=4)[:, :3] = 6
    objective = prepared(
        objective_of_segmenter(segmenter, segmenting(class_weights=weighting), patches), fabric
    )
    alone = copy.deepcopy(segmenter)
    torch.manual_seed(0)  # of dropout
    logits = alone(batch["clear"])
    truth = batch["land_cover"].long()
    truth[truth == 6] = -100
    weight = None
    if weighting == "inverse_sqrt":
        counts = np.array([(patches.land_cover == index).sum() for index in range(5)])
        raw = 1 / np.sqrt(counts)
        weight = torch.tensor([*(raw / raw.mean()), 0.0])
    expected = F.cross_entropy(logits, truth, weight, ignore_index=-100)
    torch.manual_seed(0)
    assert objective.step(batch)["loss"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_loss_on_the_label_grid_is_that_of_interpolated_logits(
    fabric: Fabric, batches: list[Batch]
) -> None:
    segmenter, batch = small_segmenter(), batches[0]
    recipe = segmenting(label_grid="10m")
    objective = prepared(objective_of_segmenter(segmenter, recipe, MadeUp(12)), fabric)
    alone = copy.deepcopy(segmenter)
    torch.manual_seed(0)  # of dropout
    size = batch["sar"].shape[-2:]
    logits = F.interpolate(alone(batch["clear"]), size, mode="bilinear")
    centres = ((2 * torch.arange(size[0]) + 1) * batch["clear"].shape[-1] // (2 * size[0])).long()
    truth = batch["land_cover"][:, centres][:, :, centres].long()
    expected = F.cross_entropy(logits, truth, ignore_index=6)
    torch.manual_seed(0)
    assert objective.step(batch)["loss"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_segmenter_learns(fabric: Fabric) -> None:
    patches = MadeUp(4)
    recipe = segmenting(warmup_steps=0)
    objective = objective_of_segmenter(small_segmenter(), recipe, patches)
    objective.prepare(fabric)
    (optimizer,) = objective.optimizers.values()
    assert isinstance(optimizer, torch.optim.SGD)
    crops = Crops(patches, crop=40, turns=False, seed=7)
    (batch,) = load(crops, Batches(4, batch=4, seed=7, last=1), workers=0, pin=False)
    torch.manual_seed(0)
    losses = [objective.step(batch)["loss"].item() for _ in range(12)]
    assert np.mean(losses[-3:]) < 0.85 * losses[0]


# --- refusals -------------------------------------------------------------------------------------


def test_kernels_of_two_dimensions_alone_are_stored_channels_last() -> None:
    flat, solid = nn.Conv2d(4, 4, 3), nn.Conv3d(2, 2, 3)
    tied = nn.Conv2d(4, 4, 3)
    tied.weight = flat.weight
    before = [value.clone() for value in (flat.weight, solid.weight)]
    to_channels_last(nn.ModuleList([flat, solid, tied]))
    assert flat.weight.is_contiguous(memory_format=torch.channels_last)
    assert solid.weight.is_contiguous()
    assert tied.weight is flat.weight
    assert all(map(torch.equal, before, (flat.weight, solid.weight)))


def test_an_unknown_part_is_refused(fabric: Fabric) -> None:
    objective = objective_of(narrow("dsen2_cr"), Recipe(loss=L1(), scales={"align": 0.1}))
    expected = r"^recipe: scale\.align: the network has no part of this name$"
    with pytest.raises(ModelError, match=expected):
        objective.prepare(fabric)


@pytest.mark.parametrize("name", ["mcgan", "sar_opt_cgan"])
def test_an_attention_loss_for_a_network_without_attention_is_refused(name: str) -> None:
    expected = f"^recipe: expected attention_weight=0 for {name}, which has no attention$"
    with pytest.raises(ModelError, match=expected):
        objective_of(narrow(name), RECIPES[name].changed(attention_weight=1.0))


def test_a_network_with_attention_may_do_without_its_loss(
    fabric: Fabric, batches: list[Batch]
) -> None:
    recipe = RECIPES["spa_gan"].changed(attention_weight=0.0, width=4)
    objective = prepared(objective_of(narrow("spa_gan"), recipe), fabric)
    terms = objective.step({name: values[:2] for name, values in batches[0].items()})
    assert list(terms) == ["loss", "adversarial", "l1", "discriminator"]


def test_the_segmenters_loss_is_refused_for_other_networks() -> None:
    with pytest.raises(ModelError, match="cross_entropy: expected one of the losses"):
        objective_of(narrow("dsen2_cr"), RECIPES["segmenter"])


@pytest.mark.parametrize(
    "recipe",
    [
        dataclasses.replace(RECIPES["segmenter"], batch=1),
        dataclasses.replace(RECIPES["segmenter"], loss=L1()),
        Recipe(loss=Adversarial()),
    ],
    ids=["batch_of_one", "l1", "adversarial"],
)
def test_a_segmenter_that_cannot_learn_is_refused(recipe: Recipe) -> None:
    segmenter = small_segmenter()
    expected = "^segmenter: expected the loss cross_entropy and a batch of 2 or more$"
    with pytest.raises(ModelError, match=expected):
        objective_of_segmenter(segmenter, recipe, MadeUp(2))
    assert segmenter.mean.eq(0).all()


def test_a_segmenter_learns_from_two() -> None:
    recipe = Recipe(loss=CrossEntropy(), batch=2)
    assert isinstance(objective_of_segmenter(small_segmenter(), recipe, MadeUp(2)), Supervised)


def test_without_sar_a_discriminator_of_patches_sees_the_images_alone(
    fabric: Fabric, batches: list[Batch]
) -> None:
    network = narrow("sar_opt_cgan", use_sar=False, bands=4)
    objective = prepared(
        objective_of(network, RECIPES["sar_opt_cgan"].changed(width=4), sar_bands=0), fabric
    )
    batch = {name: value for name, value in batches[0].items() if name != "sar"}
    assert isinstance(objective, AdversarialObjective)
    assert objective.discriminator.channels == 8
    before = weights(objective.discriminator)
    assert math.isfinite(objective.step(batch)["loss"])
    assert learnt(before, objective.discriminator)
