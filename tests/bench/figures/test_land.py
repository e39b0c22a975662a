"""Land lies where it should."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from planetcr_bench.figures.land import draw_land


@pytest.mark.parametrize(
    ("place", "dry"),
    [
        ((10.0, 50.0), True),  # Germany
        ((134.0, -25.0), True),  # Australia
        ((-100.0, 40.0), True),  # North America
        ((-30.0, 30.0), False),  # Atlantic
        ((51.0, 42.0), False),  # Caspian Sea
    ],
)
def test_points_are_on_land_or_water(place: tuple[float, float], dry: bool) -> None:
    axes = Figure(figsize=(3.6, 1.8), dpi=100).subplots()
    axes.set_position((0, 0, 1, 1))
    axes.set(xlim=(-180, 180), ylim=(-90, 90))
    axes.axis("off")
    draw_land(axes)
    (x, y), canvas = place, axes.figure.canvas.switch_backends
    del canvas
    axes.figure.canvas.draw()
    pixels = axes.figure.canvas.buffer_rgba()
    colour = pixels[int(90 - y), int(x + 180)]
    assert (tuple(colour)[2] < 240) == dry
