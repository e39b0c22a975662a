"""Lay out heat maps: panels side by side, names of cells, legible ink."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

MOST_COLUMNS: Final = 3
"""Panels side by side, across a page."""

_LIGHTNESS: Final = (0.299, 0.587, 0.114)  # of red, green and blue, to the eye


def columns_for(panels: int) -> int:
    """Columns of a grid of panels; two for four."""
    return 2 if panels == 4 else min(panels, MOST_COLUMNS)


def ink(colour: ArrayLike) -> str:
    """Black or white, whichever shows on a colour.

    Args:
        colour: Red, green and blue in [0, 1], and what follows them.
    """
    return "white" if np.asarray(colour)[:3] @ _LIGHTNESS < 0.5 else "black"


def name_cells(
    axes: Axes,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    left: bool,
    below: bool,
    across: str,
    down: str = "",
) -> None:
    """Name the cells of a panel at the edge of the page, without frame and tick marks.

    Args:
        axes: With cells at 0, 1, … of each axis.
        rows: Names from the top down.
        columns: Names from left to right.
        left: Whether the panel is the first of its line and carries the names of rows.
        below: Whether it is the last of its column and carries the names of columns.
        across: What columns are.
        down: What rows are.
    """
    for axis, names, shown, title in (
        (axes.yaxis, rows, left, down),
        (axes.xaxis, columns, below, across),
    ):
        axis.set_ticks(range(len(names)), labels=names if shown else [""] * len(names))
        if shown and title:
            axis.set_label_text(title, fontsize=7)
    axes.tick_params(length=0, labelsize=6.5)
    axes.spines[:].set_visible(False)
