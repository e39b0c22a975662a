"""Check the content of a file against a pydantic model, and list every error in our own words."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, ParamSpec, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from planetcr_bench.errors import BenchError, UsageError

_LONGEST_SHOWN: Final = 100
"""Characters of a wrong value in a message."""

_EXPECTED: Final = {
    "string_type": "text",
    "string_too_short": "text",
    "string_too_long": "at most {max_length} characters",
    "string_pattern_mismatch": "what matches {pattern}",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a table of keys and values",
    "model_type": "a table of keys and values",
    "model_attributes_type": "a table of keys and values",
    "literal_error": "{expected}",
    "greater_than": "a number above {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "less_than": "a number below {lt}",
    "multiple_of": "a multiple of {multiple_of}",
    "less_than_equal": "a number of at most {le}",
    "too_short": "at least {min_length} of them",
    "too_long": "at most {max_length} of them",
}
"""pydantic's type of an error to what was expected."""

_COUNTED: Final = {
    "string_too_long": lambda value: f"{len(value)}",
    "too_short": lambda value: f"{len(value)}",
    "too_long": lambda value: f"{len(value)}",
}
"""Errors whose value is shown by its length."""


class FileModel(BaseModel):
    """A file's content: unknown keys, other types and numbers that are not finite are errors.

    ``model_config = ConfigDict(title="a card of an entry")`` says what is expected, for messages.
    A validator's ``ValueError`` should say "expected X, got Y".
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


M = TypeVar("M", bound=BaseModel)


def validate(
    model: type[M], data: Mapping[str, Any], where: str, *, error: type[BenchError] = BenchError
) -> M:
    """Make a model of a file's content.

    Args:
        model: Expected content; its title is used in messages.
        data: What was parsed, with ``utils.untrusted`` if the file may come from a stranger.
        where: Path of the file.
        error: Class of what is raised.

    Raises:
        BenchError: Lists every key that is unknown or missing and every value that is wrong.
    """
    try:
        return model.model_validate(data)
    except ValidationError as invalid:
        lines = [f"{where}: {line}" for line in errors_of(invalid, model)]
    if len(lines) == 1:
        raise error(lines[0])
    expected = model.model_config.get("title") or "other content"
    raise error(f"{where}: expected {expected}, got {len(lines)} errors", lines)


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Refuse a value of an argument that type checkers alone would refuse; None passes.

    Raises:
        UsageError: It is not one of the choices.
    """
    if value is not None and value not in choices:
        raise UsageError(f"{name}: expected {' or '.join(choices)}, got {shown(value)}")


P = ParamSpec("P")
R = TypeVar("R")


def collect_errors(
    errors: list[str], step: Callable[P, R], *arguments: P.args, **options: P.kwargs
) -> R | None:
    """Call a function; if it refuses, add its reasons to ``errors`` and return None."""
    try:
        return step(*arguments, **options)
    except BenchError as error:
        errors += error.problems or [error.message]
        return None


def errors_of(invalid: ValidationError, model: type[BaseModel]) -> list[str]:
    """One line for each error that pydantic found, without the file's name."""
    return [_line(error, model) for error in invalid.errors(include_url=False)]


def _line(error: ErrorDetails, model: type[BaseModel]) -> str:
    kind, where, context = error["type"], _location(error["loc"]), error.get("ctx", {})
    prefix = f"{where}: " if where else ""
    if kind == "extra_forbidden":
        above, key = _location(error["loc"][:-1]), str(error["loc"][-1])
        return f"{above}: " * bool(above) + unknown_key(key, _keys_at(model, error["loc"][:-1]))
    if kind == "missing":
        return f"{prefix}expected this key, found none"
    if kind in ("value_error", "assertion_error"):
        return f"{prefix}{context['error']}"
    if kind not in _EXPECTED:
        return f"{prefix}{error['msg']}, got {shown(error['input'])}"
    expected = _EXPECTED[kind].format(**context)
    got = _COUNTED.get(kind, shown)(error["input"])
    return f"{prefix}expected {expected}, got {got}"


def unknown_key(key: str, known: Sequence[str]) -> str:
    """Refusal of a key, with the nearest known one or all of them."""
    near = difflib.get_close_matches(key, known, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
    return f"unknown key {shown(key)}; {hint}"


def shown(value: object) -> str:
    """A value as files write it, such as ``true``, cut to what fits into a line."""
    text = _written(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def _written(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        pairs = (f"{_written(key)}: {_written(inner)}" for key, inner in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_written, value))}]"
    return repr(value)


def _location(loc: Sequence[int | str]) -> str:
    """Where in a file: ``files[3].sha256``."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def _keys_at(model: type[BaseModel], loc: Sequence[int | str]) -> list[str]:
    """Keys that a file may have at a place: those of the models to which the place leads."""
    models = [model]
    for part in loc:
        fields = [known.model_fields[part] for known in models if part in known.model_fields]
        if fields:  # else the key of a dictionary, the index of a list or the tag of a union
            models = [inner for field in fields for inner in _models_in(field.annotation)]
    return list(
        dict.fromkeys(
            field.alias or name for known in models for name, field in known.model_fields.items()
        )
    )


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    """Models anywhere in a hint such as ``list[Model] | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)
