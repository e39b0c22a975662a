"""Convert numbers to JSON values; null means not measured."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np


def to_json_value(value: object) -> object:
    """Convert a value of a table to JSON; of a mapping or list, all values in it.

    Returns:
        None for nan and for missing values of pandas; ``"inf"`` or ``"-inf"`` for infinite numbers;
        a plain number for one of numpy; anything else unchanged.

    Example:
        >>> [to_json_value(value) for value in (1.5, math.nan, math.inf, -math.inf)]
        [1.5, None, 'inf', '-inf']
    """
    if isinstance(value, Mapping):
        return {str(key): to_json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json_value(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("inf" if value > 0 else "-inf")
    return None if type(value).__name__ in ("NAType", "NaTType") else value


def from_json_value(value: object) -> float:
    """Read a number that :func:`to_json_value` wrote.

    Raises:
        ValueError: It is not a number.
    """
    return math.nan if value is None else float(str(value))
