"""Test descriptions: what they say, and which are refused with one line."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from described import S2, description
from planetcr_bench.data.description import Description
from planetcr_bench.data.descriptions import load_description
from planetcr_bench.errors import DatasetError
from planetcr_bench.utils.validation import validate


def test_a_description_says_which_products_have_which_grid() -> None:
    described = description(size=[40, 48])
    assert described.products == ("clear", "cloudy", "sar")
    assert described.size_of("sar") == described.size_of("clear") == (40, 48)
    assert described.resolution_of("sar") == 10
    coarse = copy.deepcopy(S2["sar"]) | {"size": 20, "resolution": 20.0}
    described = description(size=[40, 48], sar=coarse)
    assert (described.size_of("sar"), described.resolution_of("sar")) == ((20, 20), 20)


def test_fields_of_a_scene_are_those_of_its_name() -> None:
    assert description().scene_fields == ("year", "season", "roi", "patch")
    assert description().values_of("ROIs2017_fall_7_p1") == (2017, "fall", 7, 1)
    assert description().values_of("ROIs2017_fall_7") is None
    without = description(scene="", cluster="{season}_{roi}")
    assert without.scene_template == "{year}_{season}_{roi}_{patch}"


def test_the_picture_is_red_green_blue_where_nothing_is_said() -> None:
    assert description().picture_bands == ["red", "green", "blue"]
    assert description(bands=["x", "y"]).picture_bands == ["x", "y", "y"]
    assert description(picture=["nir", "red", "green"]).picture_bands[0] == "nir"


def test_reflectance_is_clipped_to_zero_and_one_by_default() -> None:
    shifted = {**S2["optical"], "offset": -1000.0}
    assert description(optical=shifted).optical.scaling.limits == (1000, 11_000)
    clipped = {**S2["optical"], "clip": [0.0, 2000.0]}
    assert description(optical=clipped).optical.scaling.limits == (0, 2000)


@pytest.mark.parametrize("size", [159, [160, 300]])
def test_a_protocol_of_centres_needs_square_images_with_room(size: object) -> None:
    assert description(protocols=["official", "full"], size=160).protocols == ["official", "full"]
    with pytest.raises(ValueError, match="protocols: expected size = a side of 160 pixels or more"):
        description(protocols=["official", "full"], size=size)


def test_a_description_survives_pickling() -> None:
    described = description()
    assert described.products
    again = [pickle.loads(pickle.dumps(described)) for _ in range(2)]
    assert again[0] is again[1]  # of many scenes, too
    assert again[0] == described == description()
    planet_cr = load_description("planet-cr")
    assert pickle.loads(pickle.dumps(planet_cr)) == planet_cr


def changed(path: str, value: object) -> dict[str, Any]:
    """The content of a description with one entry set; None removes it."""
    content = copy.deepcopy(S2)
    *above, key = path.split(".")
    table: Any = content
    for name in above:
        table = table[name]
    table[key] = value
    if value is None:
        del table[key]
    return content


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("band", ["red"], "unknown key 'band'; did you mean 'bands'?"),
        ("optical.scal", 1.0, "optical: unknown key 'scal'; did you mean 'scale'?"),
        ("title", None, "title: expected this key, found none"),
        ("optical.clear", None, "optical.clear: expected this key, found none"),
        ("optical.clear", "clear/a.tif", "optical.clear: expected a template with {year} and"),
        ("optical.clear", "../{year}.tif", "optical.clear: expected a path from the dataset's"),
        ("sar.path", "{year}_{season}_{roi}_{patch}.jp2", "sar.path: expected a file name in .tif"),
        ("picture", ["red", "green", "bleu"], "picture: expected three of coastal, blue"),
        ("picture", ["red"], "picture: expected at least 3 of them, got 1"),
        ("cluster", "{tile}", "cluster: expected fields of the scene (year, season, roi, patch)"),
        ("scene", "{split}_{roi}", "optical.clear: expected a template with {split}, got"),
        ("fields.roi", "[0-9", "fields: roi: expected \"int\" or a regular expression"),
        ("fields.ROI", "int", "fields: expected names in lower case"),
        ("fields.tile", "int", "fields: expected fields of the templates, got 'tile'"),
        ("sar.range", [[-25.0, 0.0]], "sar: expected range = one [low, high] in dB for each of"),
        ("sar.unit", "amplitude", "sar.unit: expected 'dB' or 'power', got 'amplitude'"),
        ("optical.dtype", "float16", "optical.dtype[0]: expected"),
        ("optical.clip", [1.0, 0.0], "optical: expected clip = [low, high]"),
        ("optical.dates", 3, "optical.dates: expected a field that only optical.cloudy has, got"),
        ("optical.cloudy", S2["optical"]["clear"], "optical: expected other files of cloudy than"),
        ("protocols", ["official"], "protocols: expected size = a side of 160 pixels or more"),
        ("optical.file_bands", [[1], [1]], "optical: expected file_bands with one list for"),
        ("optical.file_bands", [[4, 3, 2]], "optical.file_bands: expected 13 bands in all, got 3"),
        ("optical.file_bands", [[0]], "optical.file_bands[0][0]: expected a number of at least 1"),
        ("resize", 0.4, "resize: expected 1, 1/2, 1/3, …, got 0.4"),
        ("bands", ["red", "red"], "bands: expected different names"),
        ("splits.test", {"field": "tile", "values": [1]}, "splits.test: expected a field of the"),
        ("splits.test", {"field": "roi", "values": ["7"]}, "splits.test.values: expected whole"),
        ("splits.test", {"field": "roi"}, "splits.test: expected field and values together"),
        ("splits.test", {"field": "roi", "values": [1], "clusters": ["a"]}, "got several"),
        ("splits.test", {"clusters": ["ROIs1_fall"]}, "splits.test: expected clusters, ROIs"),
        ("splits.test", {"folder": "a"}, "splits: expected {split} in the templates"),
        ("track", "A B", "track: expected a name in lower case"),
        ("land_cover", {"path": "a.tif", "codes": {"wood": [1]}}, "codes: expected classes of"),
        ("known", {"test": {"scene": "x", "sha256": "0" * 64}}, "known.test: expected a scene's"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(path: str, value: object, message: str) -> None:
    with pytest.raises(DatasetError) as refused:
        validate(Description, changed(path, value), "a.toml", error=DatasetError)
    assert refused.value.message.startswith("a.toml: "), refused.value
    assert message in str(refused.value)
    assert "\n" not in refused.value.message


def test_files_of_one_product_have_the_same_fields() -> None:
    clear = S2["optical"]["clear"]
    optical = {**S2["optical"], "clear": [clear, clear.replace("_s2/", "_s2_{tile}/")]}
    with pytest.raises(ValueError, match="expected the same fields in all its files"):
        description(optical=optical)
