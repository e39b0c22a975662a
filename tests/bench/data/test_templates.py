"""Test templates of paths: what they match, and what they leave alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planetcr_bench.data.templates import compile_template, template_fault

FIELDS = (("roi", "int"), ("patch", "int"), ("season", "[a-z]+"))
S2 = "ROIs_{season}_s2/s2_{roi}/ROIs_{season}_s2_{roi}_p{patch}.tif"


def touch(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()


def test_a_walk_finds_the_files_and_their_fields(tmp_path: Path) -> None:
    touch(tmp_path, "ROIs_fall_s2/s2_7/ROIs_fall_s2_7_p30.tif")
    touch(tmp_path, "ROIs_fall_s2_cloudy/s2_cloudy_7/ROIs_fall_s2_cloudy_7_p30.tif")
    (match,), strays = compile_template(S2, FIELDS).walk(str(tmp_path), {})
    assert match.values == {"season": "fall", "roi": 7, "patch": 30}
    assert match.path == str(tmp_path / "ROIs_fall_s2/s2_7/ROIs_fall_s2_7_p30.tif")
    assert not strays


def test_a_field_that_occurs_again_has_the_same_value(tmp_path: Path) -> None:
    touch(tmp_path, "ROIs_fall_s2/s2_7/ROIs_fall_s2_8_p1.tif")
    touch(tmp_path, "ROIs_fall_s2/s2_7/ROIs_spring_s2_7_p1.tif", "ROIs_fall_s2/s2_7/Thumbs.db")
    matches, strays = compile_template(S2, FIELDS).walk(str(tmp_path), {})
    assert not matches
    assert [path.name for path in sorted(strays)] == [
        "ROIs_fall_s2_8_p1.tif", "ROIs_spring_s2_7_p1.tif",
    ]  # fmt: skip
    template = compile_template("{roi}-{roi}.npy", FIELDS)
    assert template.match("4-4.npy", {}) == {"roi": 4}
    assert template.match("4-5.npy", {}) is None


def test_whole_numbers_have_one_spelling(tmp_path: Path) -> None:
    template = compile_template("{roi}.npy", FIELDS)
    assert [template.match(name, {}) for name in ("0.npy", "7.NPY", "07.npy", "-7.npy")] == [
        {"roi": 0}, {"roi": 7}, None, None,
    ]  # fmt: skip
    touch(tmp_path, "07.npy")
    assert template.walk(str(tmp_path), {}) == ([], [tmp_path / "07.npy"])


def test_text_may_hold_what_separates_fields() -> None:
    template = compile_template("{scene}_{patch}.png", FIELDS)
    assert template.match("a_b_12.png", {}) == {"scene": "a_b", "patch": 12}
    assert template.match("a/b_12.png", {}) is None


def test_a_file_of_known_name_needs_no_listing(tmp_path: Path) -> None:
    touch(tmp_path, "3/clear.PNG", "3/other.png", "4/cloudy.png")
    (match,), strays = compile_template("{roi}/clear.png", FIELDS).walk(str(tmp_path), {})
    assert match.path == f"{tmp_path}/3/clear.PNG"
    assert not strays


def test_a_split_is_known_beforehand(tmp_path: Path) -> None:
    touch(tmp_path, "train/1.png", "test/2.png")
    template = compile_template("{split}/{roi}.png", FIELDS)
    (match,), _ = template.walk(str(tmp_path), {"split": "test"})
    assert match.values["roi"] == 2
    assert template.walk(str(tmp_path), {"split": "val"}) == ([], [])


@settings(deadline=None)  # the first example compiles the template
@given(season=st.from_regex("[a-z]+", fullmatch=True), roi=st.integers(0, 999_999_999))
def test_what_is_formatted_matches(season: str, roi: int) -> None:
    template = compile_template(S2, FIELDS)
    values = {"season": season, "roi": roi, "patch": 0}
    assert template.match(template.format(values), {}) == values


@pytest.mark.parametrize("text", ["../{a}.tif", "/a/{b}.tif", "a//{b}.tif", "{A}.tif", "{a}}.tif"])
def test_a_text_that_is_no_path_is_refused(text: str) -> None:
    assert template_fault(text)
    assert not template_fault("{a}/b_{a}.tif")
