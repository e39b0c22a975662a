"""Draw land under a map, without a network."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path

SOURCE: Final = "Land: Natural Earth 1:110m, public domain."
"""For captions; ``land.json`` says how it was made."""

_LAND: Final = "#EDEBE4"
_COAST: Final = "#A8A59A"


def draw_land(axes: Axes) -> None:
    """Fill land behind everything, in axes of longitude and latitude in degrees."""
    axes.add_patch(
        PathPatch(_land(), facecolor=_LAND, edgecolor=_COAST, linewidth=0.35, zorder=0.4)
    )


@cache
def _land() -> Path:
    """Outlines of land; those of inland seas run the other way round, so they stay empty."""
    text = (files("planetcr_bench.figures") / "land.json").read_text(encoding="utf-8")
    rings = [np.reshape(ring, (-1, 2)) / 100 for ring in json.loads(text)["rings"]]
    return Path.make_compound_path(
        *(Path(np.vstack([ring, ring[:1]]), closed=True) for ring in rings)
    )
