"""Content of a file against a model: every error at once, in our own words."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import ConfigDict, Field, field_validator

from planetcr_bench.errors import PredictionError
from planetcr_bench.utils.validation import FileModel, shown, validate


class Part(FileModel):
    """A nested table."""

    name: str
    bytes: Annotated[int, Field(gt=0)] = 1


class Content(FileModel):
    """One key of each kind."""

    model_config = ConfigDict(title="a good file")

    method: Annotated[str, Field(max_length=5)]
    scale: Annotated[float, Field(gt=0)] | None = None
    window: Literal["whole", "official"] | None = None
    parts: list[Part] = Field(default_factory=list)
    steps: dict[str, Part] = Field(default_factory=dict)
    ready: bool = False

    @field_validator("method")
    @classmethod
    def _plain(cls, text: str) -> str:
        if "<" in text:
            raise ValueError("expected plain text, got what looks like HTML")
        return text


def errors(**data: object) -> list[str]:
    with pytest.raises(PredictionError) as refused:
        validate(Content, {"method": "net", **data}, "a.toml", error=PredictionError)
    return list(refused.value.problems or [refused.value.message])


def test_content_becomes_a_model() -> None:
    content = validate(Content, {"method": "net", "scale": 1, "parts": [{"name": "a"}]}, "a.toml")
    assert (content.method, content.scale, content.parts[0].name) == ("net", 1.0, "a")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"method": 3}, "a.toml: method: expected text, got 3"),
        ({"method": "longer"}, "a.toml: method: expected at most 5 characters, got 6"),
        ({"method": "<b>"}, "a.toml: method: expected plain text, got what looks like HTML"),
        ({"scale": True}, "a.toml: scale: expected a number, got true"),
        ({"scale": float("nan")}, "a.toml: scale: expected a finite number, got nan"),
        ({"scale": -1}, "a.toml: scale: expected a number above 0.0, got -1"),
        ({"window": "all"}, "a.toml: window: expected 'whole' or 'official', got 'all'"),
        ({"ready": 1}, "a.toml: ready: expected true or false, got 1"),
        ({"parts": {}}, "a.toml: parts: expected a list, got {}"),
        ({"parts": [1]}, "a.toml: parts[0]: expected a table of keys and values, got 1"),
        ({"parts": [{}]}, "a.toml: parts[0].name: expected this key, found none"),
        ({"parts": [{"name": "a", "bytes": 0}]},
         "a.toml: parts[0].bytes: expected a number above 0, got 0"),
        ({"parts": [{"name": "a", "byte": 1}]},
         "a.toml: parts[0]: unknown key 'byte'; did you mean 'bytes'?"),
        ({"steps": {"x": {"name": "a", "byte": 1}}},
         "a.toml: steps.x: unknown key 'byte'; did you mean 'bytes'?"),
        ({"scales": 1}, "a.toml: unknown key 'scales'; did you mean 'scale'?"),
        ({"zzz": 1},
         "a.toml: unknown key 'zzz'; known are method, scale, window, parts, steps, ready"),
        ({"window": "x" * 999}, "a.toml: window: expected 'whole' or 'official', got 'xxx"),
    ],
)  # fmt: skip
def test_each_error_says_where_what_and_what_instead(
    data: dict[str, object], expected: str
) -> None:
    (line,) = errors(**data)
    assert line.startswith(expected)
    assert len(line) < 200


def test_values_are_shown_as_files_write_them() -> None:
    assert shown({"a": [None, True, "b"], "c": False}) == "{'a': [none, true, 'b'], 'c': false}"


def test_all_errors_are_listed_under_one_message() -> None:
    with pytest.raises(PredictionError) as refused:
        validate(Content, {"scale": "1", "metod": "a"}, "a.toml", error=PredictionError)
    assert refused.value.message == "a.toml: expected a good file, got 3 errors"
    assert refused.value.problems == (
        "a.toml: method: expected this key, found none",
        "a.toml: scale: expected a number, got '1'",
        "a.toml: unknown key 'metod'; did you mean 'method'?",
    )
