"""Networks fit the images of a dataset, or one line says why they do not."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomli_w

from described import S2, S2_BANDS, description
from planetcr_bench.data.description import Description
from planetcr_bench.data.descriptions import load_description
from planetcr_bench.errors import BenchError, BenchWarning, UsageError
from planetcr_bench.networks.images import expect_fit, facts_of, fitted, is_planet_cr
from planetcr_models import create_model, load_model
from planetcr_models.networks.methods import METHODS
from planetcr_models.weights.files import save_model

RGB = {"bands": ["red", "green", "blue"], "sar": None}


def test_planet_cr_needs_no_options_and_keeps_its_identity() -> None:
    planet_cr = load_description("planet-cr")
    assert is_planet_cr(planet_cr)
    assert all(fitted(name, {}, planet_cr) == {} for name in METHODS)
    facts = facts_of(planet_cr)
    assert (facts["bands"], facts["sar_bands"]) == (["blue", "green", "red", "nir"], ["vv", "vh"])
    assert facts["sar_pixel"] == pytest.approx(10 / 3, abs=1e-4)


@pytest.mark.parametrize("name", METHODS)
def test_every_network_takes_the_bands_of_a_dataset(name: str) -> None:
    radar = {**S2["sar"], "bands": ["hh", "hv", "vv"], "range": [[-25.0, 0.0]] * 3}
    options = fitted(name, {}, description(sar=radar))
    expected = {"bands": 13} | ({"sar_bands": 3} if METHODS[name].uses_sar else {})
    assert options == expected
    assert create_model(name, **options, width=8).bands == 13


def test_without_sar_the_methods_without_it_are_named() -> None:
    rgb = description(**RGB)
    assert fitted("spa_gan", {}, rgb) == {"bands": 3}
    assert fitted("dsen2_cr", {"use_sar": False}, rgb) == {"use_sar": False, "bands": 3}
    assert fitted("align_cr", {"zero_sar": True}, rgb) == {"zero_sar": True, "bands": 3}
    expected = "glf_cr: takes SAR images, and .* has none; without SAR there are mcgan, spa_gan, al"
    with pytest.raises(UsageError, match=expected):
        fitted("glf_cr", {}, rgb)


def test_a_number_of_bands_that_contradicts_the_dataset_is_refused() -> None:
    with pytest.raises(UsageError, match=r"expected bands=13 for .*, got bands=4; it need not"):
        fitted("spa_gan", {"bands": 4}, description())


def test_several_dates_are_refused() -> None:
    with pytest.raises(
        UsageError, match=r"spa_gan: takes one cloudy image, and scenes of .* several"
    ):
        fitted("spa_gan", {}, load_description("sen2-mtc-new"))


# --- Weights --------------------------------------------------------------------------------


def weights(tmp_path: Path, described: Description) -> Path:
    model = create_model("dsen2_cr", width=4, blocks=1, **fitted("dsen2_cr", {}, described))
    model.trained_on = facts_of(described)
    return save_model(model, tmp_path / "w.safetensors")


def test_weights_remember_their_images(tmp_path: Path) -> None:
    model = load_model(weights(tmp_path, description()))
    assert model.trained_on == {
        "dataset": "Sentinel-2 with 13 bands", "bands": S2_BANDS, "sar_bands": ["vv", "vh"],
        "sar_pixel": 1.0,
    }  # fmt: skip
    expect_fit(model, "w", description())


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"bands": S2_BANDS[:4]}, "w: expected a network of 4 bands, as the dataset has, got"),
        ({"bands": S2_BANDS[::-1]}, r"w: learnt from the bands coastal, .* of Sentinel-2"),
        ({"sar": None}, "w: this dsen2_cr takes SAR images, and .* has none; without"),
        (
            {"sar": {**S2["sar"], "bands": ["hh", "hv"]}},
            "w: learnt from the bands of SAR vv, vh of .*, and .* has hh, hv; use weights",
        ),
    ],
)  # fmt: skip
def test_weights_of_other_images_are_refused(
    changes: dict[str, object], says: str, tmp_path: Path
) -> None:
    model = load_model(weights(tmp_path, description()))
    with pytest.raises(BenchError, match=says):
        expect_fit(model, "w", description(**changes))


def test_another_grid_of_sar_is_a_warning(tmp_path: Path) -> None:
    model = load_model(weights(tmp_path, description()))
    coarse = description(sar={**S2["sar"], "resolution": 20.0})
    with pytest.warns(BenchWarning, match="SAR pixels 1 optical pixels wide .* are 2 wide"):
        expect_fit(model, "w", coarse)


def test_weights_that_state_nothing_are_checked_by_their_number_of_bands() -> None:
    expect_fit(create_model("spa_gan", bands=3, width=8), "w", description(**RGB))


def test_a_variant_of_planet_cr_is_another_dataset(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(tomli_w.dumps({"like": "planet-cr", "title": "Ours"}))
    assert not is_planet_cr(load_description(file))
