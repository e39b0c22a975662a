"""Test recipes: rates of every epoch, facts of every method, and changes."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planetcr_models import list_models
from planetcr_models.errors import ModelError
from planetcr_models.training.recipes import (
    CHOICES,
    L1,
    LOSSES,
    RECIPES,
    SOURCES,
    Carl,
    Charbonnier,
    CrossEntropy,
    Recipe,
)

GANS = ("mcgan", "spa_gan", "sar_opt_cgan")
REGRESSIONS = ("dsen2_cr", "glf_cr", "align_cr_no_sar", "align_cr_no_align", "align_cr")
ALL = (*GANS, *REGRESSIONS, "segmenter", "cloudseg")


def near(values: list[float]) -> object:
    return pytest.approx(values, rel=1e-12)


def factor(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    return recipe.factor(recipe.budget(steps_per_epoch).progress(step))


def rates(name: str, *, steps_per_epoch: int = 1) -> list[float]:
    """Learning rate at the first step of each epoch."""
    recipe = RECIPES[name]
    steps = range(0, recipe.epochs * steps_per_epoch, steps_per_epoch)
    return [recipe.learning_rate * factor(recipe, step, steps_per_epoch) for step in steps]


# --- rates ----------------------------------------------------------------------------------------

HALVED = [
    *(1e-4, 1e-4, 1e-4, 1e-4, 1e-4, 1e-4, 1e-4, 1e-4, 1e-4, 1e-4),
    *(5e-5, 5e-5, 5e-5, 5e-5, 5e-5),
    *(2.5e-5, 2.5e-5, 2.5e-5, 2.5e-5, 2.5e-5),
    *(1.25e-5, 1.25e-5, 1.25e-5, 1.25e-5, 1.25e-5),
    *(6.25e-6, 6.25e-6, 6.25e-6, 6.25e-6, 6.25e-6),
]
"""Paper, Sec. 5.1, as the authors' scheduler has it."""

SIXTEENTHS = [
    *(16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16),
    *(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1),
]
"""Of the highest rate: constant for half of the epochs, then on the line that ends at zero."""


@pytest.mark.parametrize("steps_per_epoch", [1, 55])
@pytest.mark.parametrize("name", [*REGRESSIONS, "cloudseg"])
def test_rates_of_regressions_are_the_papers_in_every_epoch(
    name: str, steps_per_epoch: int
) -> None:
    assert rates(name, steps_per_epoch=steps_per_epoch) == near(HALVED)


def test_alignment_learns_at_a_tenth_of_the_papers_rates() -> None:
    assert RECIPES["align_cr"].scales == {"align": 0.1}
    tenth = [RECIPES["align_cr"].scales["align"] * rate for rate in rates("align_cr")]
    assert tenth == near(
        [1e-5] * 10 + [5e-6] * 5 + [2.5e-6] * 5 + [1.25e-6] * 5 + [6.25e-7] * 5,
    )
    assert not any(RECIPES[name].scales for name in ALL if name != "align_cr")


@pytest.mark.parametrize("steps_per_epoch", [1, 55])
@pytest.mark.parametrize(
    ("name", "highest"), [("mcgan", 2e-4), ("spa_gan", 4e-4), ("sar_opt_cgan", 2e-4)]
)
def test_rates_of_gans_are_constant_then_linear_in_every_epoch(
    name: str, highest: float, steps_per_epoch: int
) -> None:
    expected = [highest * share / 16 for share in SIXTEENTHS]
    assert rates(name, steps_per_epoch=steps_per_epoch) == near(expected)


@pytest.mark.parametrize("name", [*GANS, *REGRESSIONS])
def test_all_steps_of_an_epoch_have_one_rate(name: str) -> None:
    recipe = RECIPES[name]
    for epoch in range(30):
        steps = range(7 * epoch, 7 * epoch + 7)
        assert {factor(recipe, step, 7) for step in steps} == {factor(recipe, epoch, 1)}


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 0.01 / 1001),
        (499, 0.01 * 500 / 1001 * math.exp(0.9 * math.log(59_501 / 60_000))),
        (999, 0.01 * 1000 / 1001 * math.exp(0.9 * math.log(59_001 / 60_000))),
        (1000, 0.01 * math.exp(0.9 * math.log(59 / 60))),
        (30_000, 0.01 * math.exp(-0.9 * math.log(2))),
        (59_999, 0.01 * math.exp(-0.9 * math.log(60_000))),
    ],
)
def test_the_segmenters_rate_rises_in_a_thousand_steps_and_falls_in_each(
    step: int, expected: float
) -> None:
    segmenter = RECIPES["segmenter"]
    assert segmenter.learning_rate * factor(segmenter, step, 1000) == pytest.approx(
        expected, rel=1e-12
    )


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 1 / 247), (122, 123 / 247 * (1 - 122 / 2460) ** 0.9), (246, 0.9**0.9)],
)
def test_a_short_run_rises_in_a_tenth_of_its_steps(step: int, expected: float) -> None:
    assert factor(RECIPES["segmenter"], step, 41) == pytest.approx(expected, rel=1e-12)


RUNS = st.builds(
    Recipe,
    loss=st.just(L1()),
    epochs=st.integers(1, 60),
    decay=st.sampled_from(CHOICES["decay"]),
    constant_epochs=st.integers(0, 70),
    halve_every=st.integers(1, 12),
    warmup_steps=st.integers(0, 40),
)


@given(recipe=RUNS, steps_per_epoch=st.integers(1, 6))
def test_factors_rise_to_the_end_of_warm_up_and_never_after(
    recipe: Recipe, steps_per_epoch: int
) -> None:
    steps = recipe.epochs * steps_per_epoch
    factors = [factor(recipe, step, steps_per_epoch) for step in range(steps)]
    assert all(0 < factor <= 1 for factor in factors)
    warmup = min(recipe.warmup_steps, steps // 10)
    later = factors[warmup:]
    assert all(now <= before for before, now in itertools.pairwise(later))
    cold = dataclasses.replace(recipe, warmup_steps=0)
    for step in range(steps):
        rise = (step + 1) / (warmup + 1) if step < warmup else 1.0
        assert factors[step] == pytest.approx(rise * factor(cold, step, steps_per_epoch))


@pytest.mark.parametrize("decay", CHOICES["decay"])
def test_every_decay_begins_at_the_height_where_nothing_warms_up(decay: str) -> None:
    assert factor(Recipe(loss=L1(), decay=decay), 0, 3) == 1


def test_without_decay_the_rate_stays() -> None:
    recipe = Recipe(loss=L1(), decay="none", constant_epochs=0, halve_every=1)
    assert {factor(recipe, step, 2) for step in range(60)} == {1.0}


# --- budgets --------------------------------------------------------------------------------------


@given(recipe=RUNS, steps_per_epoch=st.integers(1, 6))
def test_as_many_steps_as_the_epochs_have_are_the_same_run(
    recipe: Recipe, steps_per_epoch: int
) -> None:
    steps = recipe.epochs * steps_per_epoch
    limited = dataclasses.replace(recipe, steps=steps)
    for step in range(steps):
        assert factor(limited, step, 17) == factor(recipe, step, steps_per_epoch)


@pytest.mark.parametrize("decay", CHOICES["decay"])
def test_minutes_decay_the_rate_as_epochs_do(decay: str) -> None:
    recipe = dataclasses.replace(RECIPES["align_cr"], decay=decay)
    limited = recipe.changed(minutes=2.0).budget(steps_per_epoch=17)
    for step in range(120):  # of a second each: four an epoch
        expected = factor(recipe, step, 4)
        assert recipe.factor(limited.progress(step, seconds=float(step))) == expected


def test_minutes_warm_up_in_their_steps_or_in_a_tenth_of_the_time() -> None:
    recipe = Recipe(loss=L1(), minutes=1.0, warmup_steps=9)
    budget = recipe.budget(steps_per_epoch=17)

    def rise(step: int, seconds: float) -> float:
        return recipe.factor(budget.progress(step, seconds))

    assert [rise(step, 0.001 * step) for step in (0, 4, 9)] == [0.1, 0.5, 1.0]
    assert [rise(step, 2.0 * step) for step in (0, 1, 2, 3)] == pytest.approx(
        [0.1, 1 / 3, 2 / 3, 1]
    )


def test_one_budget_at_a_time() -> None:
    with pytest.raises(ModelError, match=r"expected minutes or steps, got both, 5 and 300; set on"):
        RECIPES["glf_cr"].changed(minutes=5.0, steps=300)
    with pytest.raises(ModelError, match=r"at least as many steps as epochs, 30, .* got 29; use"):
        RECIPES["glf_cr"].changed(steps=29)
    assert RECIPES["glf_cr"].changed(steps=30).steps == 30
    assert RECIPES["glf_cr"].changed(steps=29, epochs=29).steps == 29


# --- facts ----------------------------------------------------------------------------------------

PAPER: dict[str, Any] = {
    "epochs": 30,
    "minutes": 0.0,
    "steps": 0,
    "batch": 12,
    "crop": 160,
    "turns": False,
    "optimizer": "adam",
    "learning_rate": 1e-4,
    "beta1": 0.9,
    "beta2": 0.999,
    "weight_decay": 0.0,
    "decay": "halve",
    "constant_epochs": 10,
    "halve_every": 5,
    "warmup_steps": 0,
    "initialisation": "authors",
    "clip": 0.0,
    "ema": 0.0,
    "seed": 7,
}
CHARBONNIER = {"loss": "charbonnier", "cloud_weight": 5.0, "epsilon": 1e-3, "alpha": 0.45}
GAN = PAPER | {
    "loss": "adversarial",
    "discriminator": "two_stem",
    "width": 64,
    "symmetric": True,
    "halved": False,
    "l1_weight": 100.0,
    "attention_weight": 0.0,
    "attention_target": "l1",
    "crop": 250,
    "learning_rate": 2e-4,
    "beta1": 0.5,
    "decay": "linear",
    "constant_epochs": 15,
}
FACTS: dict[str, dict[str, Any]] = {
    "mcgan": GAN,
    "spa_gan": GAN
    | {"symmetric": False, "attention_weight": 1.0, "learning_rate": 4e-4, "crop": 160},
    "sar_opt_cgan": GAN | {"discriminator": "patch", "halved": True},
    "dsen2_cr": PAPER | {"loss": "carl", "target_weight": 1.0},
    "glf_cr": PAPER | {"loss": "l1"},
    "align_cr_no_sar": PAPER | CHARBONNIER,
    "align_cr_no_align": PAPER | CHARBONNIER,
    "align_cr": PAPER | CHARBONNIER | {"scale.align": 0.1},
    "segmenter": PAPER
    | {
        "loss": "cross_entropy",
        "class_weights": "none",
        "label_grid": "3m",
        "epochs": 60,
        "batch": 16,
        "crop": 250,
        "turns": True,
        "optimizer": "sgd",
        "learning_rate": 0.01,
        "weight_decay": 1e-4,
        "decay": "poly",
        "constant_epochs": 0,
        "warmup_steps": 1000,
    },
    # facts of the training script in its authors' repository
    "cloudseg": PAPER
    | {
        "loss": "cross_entropy",
        "class_weights": "none",
        "label_grid": "10m",
        "epochs": 30,
        "batch": 32,
        "crop": 160,
        "learning_rate": 1e-4,
    },
}


@pytest.mark.parametrize("name", ALL)
def test_a_recipe_is_what_the_papers_and_their_code_say(name: str) -> None:
    assert RECIPES[name].plain() == FACTS[name]


def test_every_method_and_the_segmenter_have_a_recipe_and_its_source() -> None:
    assert set(RECIPES) == set(SOURCES) == {*list_models(), "segmenter", "cloudseg"} == set(ALL)
    assert all(SOURCES.values())


@pytest.mark.parametrize("name", ALL)
def test_crops_are_whole_pixels_of_the_ten_metre_grid(name: str) -> None:
    assert RECIPES[name].crop % 10 == 0
    assert RECIPES[name].crop <= 300


@pytest.mark.parametrize("name", ALL)
def test_text_values_of_a_recipe_are_among_its_choices(name: str) -> None:
    table = RECIPES[name].plain()
    assert table["loss"] in LOSSES
    assert all(table[key] in CHOICES[key] for key in CHOICES if key in table)


def test_losses_are_found_by_their_names() -> None:
    assert list(LOSSES) == ["charbonnier", "carl", "l1", "adversarial", "cross_entropy"]
    assert all(loss.name == name for name, loss in LOSSES.items())


# --- changes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_a_recipe_comes_back_from_its_own_table(name: str) -> None:
    recipe = RECIPES[name]
    assert recipe.changed(**recipe.plain()) == recipe == recipe.changed()


@pytest.mark.parametrize("name", ALL)
def test_a_table_begins_with_the_loss_and_its_own_weights(name: str) -> None:
    recipe = RECIPES[name]
    own = [field.name for field in dataclasses.fields(recipe.loss)]
    assert list(recipe.plain())[: len(own) + 2] == ["loss", *own, "epochs"]


def test_a_change_affects_nothing_else() -> None:
    before = RECIPES["align_cr"]
    for key, value in {"epochs": 3, "turns": True, "beta1": 0.5, "alpha": 0.5, "seed": 8}.items():
        after = before.changed(**{key: value}).plain()
        assert after == before.plain() | {key: value}
    assert before.plain() == FACTS["align_cr"]


def test_betas_and_loss_weights_reach_their_fields() -> None:
    recipe = RECIPES["align_cr"].changed(beta1=0.5, beta2=0.9, cloud_weight=2.0)
    assert recipe.betas == (0.5, 0.9)
    assert recipe.loss == Charbonnier(cloud_weight=2.0)


def test_integers_are_accepted_for_floats() -> None:
    recipe = RECIPES["mcgan"].changed(l1_weight=10, clip=1, **{"scale.leave": 2})
    table = recipe.plain()
    for key in ("l1_weight", "clip", "scale.leave"):
        assert isinstance(table[key], float), key


def test_parts_may_have_their_own_learning_rates() -> None:
    recipe = RECIPES["align_cr"].changed(**{"scale.align": 0.5, "scale.stem": 0.0})
    assert recipe.scales == {"align": 0.5, "stem": 0.0}
    assert recipe.changed(epochs=1).scales == recipe.scales
    assert RECIPES["glf_cr"].changed(**{"scale.stages": 2.0}).scales == {"stages": 2.0}


@pytest.mark.parametrize("before", ["charbonnier", "carl", "l1"])
@pytest.mark.parametrize("after", ["charbonnier", "carl", "l1"])
def test_a_regression_may_minimise_another(before: str, after: str) -> None:
    recipe = Recipe(loss=LOSSES[before](), epochs=3, scales={"align": 0.1}, betas=(0.8, 0.9))
    changed = recipe.changed(loss=after)
    assert changed == dataclasses.replace(recipe, loss=LOSSES[after]())


def test_weights_of_the_new_loss_may_be_set_and_those_of_the_old_may_not() -> None:
    recipe = RECIPES["align_cr"].changed(loss="carl", target_weight=2.0)
    assert recipe.loss == Carl(target_weight=2.0)
    assert recipe.scales == {"align": 0.1}
    with pytest.raises(ModelError, match="recipe: has no 'cloud_weight'"):
        RECIPES["align_cr"].changed(loss="carl", cloud_weight=2.0)


def test_a_loss_that_is_kept_keeps_its_weights() -> None:
    recipe = RECIPES["align_cr"].changed(cloud_weight=2.0)
    assert recipe.changed(loss="charbonnier").loss == Charbonnier(cloud_weight=2.0)


@pytest.mark.parametrize("name", [*GANS, "segmenter"])
@pytest.mark.parametrize("loss", ["l1", "charbonnier", "nonsense", 3])
def test_gans_and_the_segmenter_keep_their_loss(name: str, loss: Any) -> None:
    kept = RECIPES[name].loss.name
    with pytest.raises(ModelError, match=f"^recipe: expected loss={kept}, got {loss!r}$"):
        RECIPES[name].changed(loss=loss)


@pytest.mark.parametrize("loss", ["adversarial", "cross_entropy", "l2", 3])
def test_a_regression_cannot_become_adversarial(loss: Any) -> None:
    expected = f"expected loss=l1 or another of charbonnier, carl, l1, got {loss!r}$"
    with pytest.raises(ModelError, match=expected):
        RECIPES["glf_cr"].changed(loss=loss)


def test_a_wrong_key_is_refused_with_the_nearest_and_all_keys() -> None:
    with pytest.raises(ModelError) as caught:
        RECIPES["glf_cr"].changed(lerning_rate=1e-3)
    keys = ", ".join(FACTS["glf_cr"])
    start = "recipe: has no 'lerning_rate'; did you mean 'learning_rate'? It has "
    assert str(caught.value).startswith(start)
    assert sorted(str(caught.value).removeprefix(start).split(", ")) == sorted(keys.split(", "))


@pytest.mark.parametrize("key", ["qqq", "betas", "scales", "scale.", "align"])
def test_a_key_like_none_is_refused_without_a_guess(key: str) -> None:
    with pytest.raises(ModelError, match=rf"^recipe: has no '{key}'; (did you mean|it has loss)"):
        RECIPES["glf_cr"].changed(**{key: 1.0})
    with pytest.raises(ModelError, match=r"^recipe: has no 'qqq'; it has loss, epochs, "):
        RECIPES["glf_cr"].changed(qqq=1)


@pytest.mark.parametrize(
    ("key", "value", "there"),
    [
        ("epochs", 3.0, "30"),
        ("epochs", "3", "30"),
        ("epochs", True, "30"),
        ("learning_rate", "1e-4", "0.0001"),
        ("learning_rate", True, "0.0001"),
        ("turns", 1, "False"),
        ("decay", 1, "'halve'"),
        ("scale.align", "a tenth", "1.0"),
        ("scale.align", False, "1.0"),
        ("cloud_weight", "5", "5.0"),
        ("beta1", None, "0.9"),
    ],
)
def test_a_value_of_another_type_is_refused(key: str, value: Any, there: str) -> None:
    expected = f"^recipe: expected {key} like {there}, got {value!r}$"
    with pytest.raises(ModelError, match=expected):
        RECIPES["align_cr"].changed(**{key: value})


@pytest.mark.parametrize(
    ("key", "value", "limits"),
    [
        *((key, 0, "1 or more") for key in ("epochs", "batch", "crop", "halve_every", "width")),
        *((key, -1, "0 or more") for key in ("seed", "constant_epochs", "steps")),
        *(
            (key, value, "0 or more")
            for key in ("learning_rate", "weight_decay", "clip", "minutes", "scale.leave")
            for value in (-1e-9, math.nan, math.inf)
        ),
        *(
            (key, value, r"\[0, 1\)")
            for key in ("ema", "beta1", "beta2")
            for value in (-0.1, 1.0, math.nan)
        ),
    ],
)
def test_a_number_out_of_range_is_refused(key: str, value: float, limits: str) -> None:
    with pytest.raises(ModelError, match=f"^recipe: expected {key} to be {limits}, got {value}$"):
        RECIPES["mcgan"].changed(**{key: value})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((key, 1) for key in ("epochs", "batch", "crop", "halve_every", "width")),
        *((key, 0) for key in ("seed", "constant_epochs", "warmup_steps")),
        *((key, 0.0) for key in ("learning_rate", "clip", "ema", "beta1", "scale.leave")),
        ("ema", 0.999),
    ],
)
def test_the_smallest_valid_number_is_accepted(key: str, value: float) -> None:
    assert RECIPES["mcgan"].changed(**{key: value}).plain()[key] == value


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("align_cr", "optimizer"),
        ("align_cr", "decay"),
        ("align_cr", "initialisation"),
        ("mcgan", "discriminator"),
        ("mcgan", "attention_target"),
        ("segmenter", "class_weights"),
        ("segmenter", "label_grid"),
    ],
)
def test_text_values_must_be_among_the_choices(name: str, key: str) -> None:
    for word in CHOICES[key]:
        assert RECIPES[name].changed(**{key: word}).plain()[key] == word
    listed = ", ".join(CHOICES[key])
    with pytest.raises(ModelError, match=f"expected {key} to be one of {listed}, got 'other'$"):
        RECIPES[name].changed(**{key: "other"})


def test_choices_are_what_the_documentation_says() -> None:
    assert CHOICES == {
        "optimizer": ("adam", "nadam", "sgd"),
        "decay": ("none", "halve", "linear", "poly"),
        "initialisation": ("authors", "he_uniform"),
        "discriminator": ("two_stem", "patch"),
        "attention_target": ("l1", "signed", "mask"),
        "class_weights": ("none", "inverse_sqrt"),
        "label_grid": ("3m", "10m"),
    }
    assert CrossEntropy().class_weights == CHOICES["class_weights"][0]
