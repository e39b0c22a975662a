"""JSON from strangers in, an object of plain finite values out, or one clear refusal."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Final

from planetcr_bench.errors import SubmissionError

DEEPEST: Final = 50
"""Lists and objects within each other; of many more, printing fails where reading did not."""


def read_object(path: Path, most: int) -> dict[str, Any]:
    """Read a file.

    Args:
        path: The file.
        most: Bytes that it may have.

    Raises:
        SubmissionError: See :func:`parse_object`; or it cannot be read or is larger.
    """
    try:
        with path.open("rb") as stream:
            return parse_object(stream.read(most + 1), str(path), most)
    except OSError as error:
        raise SubmissionError(f"{path}: cannot be read ({error.strerror})") from error


def parse_object(text: bytes, where: str, most: int) -> dict[str, Any]:
    """Parse a text.

    Args:
        text: UTF-8.
        where: What it is, for messages.
        most: Bytes that it may have.

    Raises:
        SubmissionError: It is larger, no JSON, no object, nested too deep, or has a number that
            is not finite.
    """
    if len(text) > most:
        raise SubmissionError(f"{where}: expected at most {most} bytes")
    try:
        value = json.loads(text.decode(), parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise SubmissionError(f"{where}: expected JSON, cannot be read ({error})") from error
    if not isinstance(value, dict):
        raise SubmissionError(f"{where}: expected an object, got {type(value).__name__}")
    if _is_deep(value):
        raise SubmissionError(f"{where}: expected at most {DEEPEST} levels of nesting")
    return value


def _is_deep(value: object) -> bool:
    level: list[object] = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
    return any(isinstance(one, dict | list) for one in level)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is no finite number")
    return number
