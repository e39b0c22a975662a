"""Land lies where it should."""

from __future__ import annotations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from planetcr_bench.figures.land import draw_land

LAND = {"Germany": (10, 50), "Australia": (134, -25), "Kansas": (-100, 40)}
WATER = {"Atlantic": (-30, 30), "Caspian Sea": (51, 42), "Hudson Bay": (-85, 60)}


def test_land_is_where_it_should_be_and_inland_seas_are_empty() -> None:
    figure = Figure(figsize=(3.6, 1.8), dpi=100)  # a pixel is a degree
    axes = figure.add_axes((0, 0, 1, 1), frame_on=False)
    axes.set(xlim=(-180, 180), ylim=(-90, 90))
    draw_land(axes)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    white = (np.asarray(canvas.buffer_rgba())[..., :3] == 255).all(-1)
    empty = {name for name, (x, y) in {**LAND, **WATER}.items() if white[90 - y, x + 180]}
    assert empty == set(WATER)
