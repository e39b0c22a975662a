"""Test descriptions that say only how they differ from one of the catalogue."""

from __future__ import annotations

from pathlib import Path

import pytest

from described import write_description
from planetcr_bench.data.descriptions import describe, load_description
from planetcr_bench.errors import DatasetError


@pytest.mark.parametrize("name", ["dataset.toml", "mine.toml"])
def test_a_variant_says_only_what_differs(tmp_path: Path, name: str) -> None:
    content = {
        "like": "planet-cr",
        "track": "half",
        "resize": 0.5,
        "splits": ["test"],
        "protocols": ["full"],
        "optical": {"dtype": "int16"},
    }
    path = write_description(tmp_path / name, content)
    described = describe(tmp_path) if name == "dataset.toml" else load_description(path)
    base = load_description("planet-cr")
    assert (described.track, described.resize, [*described.splits]) == ("half", 0.5, ["test"])
    assert described.optical.dtype == ["int16"]
    assert described.optical.clear == base.optical.clear
    assert (described.fields, described.sar) == (base.fields, base.sar)


def test_the_track_is_not_taken_over(tmp_path: Path) -> None:
    write_description(tmp_path / "dataset.toml", {"like": "planet-cr"})
    assert describe(tmp_path).track is None
    assert describe(tmp_path).title == "Planet-CR"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"like": "plant"}, "like: expected a name of the catalogue (.*planet-cr.*), got 'plant'"),
        ({"like": 3}, "like: expected a name of the catalogue (.*), got 3"),
        ({"like": "planet-cr", "optical": {"scal": 1.0}}, "optical: unknown key 'scal'; did you"),
        ({"like": "planet-cr", "sar": 1}, "sar: expected a table of keys and values, got 1"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, content: dict[str, object], message: str) -> None:
    write_description(tmp_path / "dataset.toml", content)
    with pytest.raises(DatasetError, match=message) as refused:
        describe(tmp_path)
    assert "\n" not in refused.value.message
