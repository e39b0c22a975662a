"""Read what the pages of a gallery show."""

from __future__ import annotations

import re
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.image import AxesImage


def panels(figure: Figure) -> list[AxesImage]:
    return [image for axes in figure.axes for image in axes.images]


def titles(figure: Figure) -> list[str]:
    """Titles of panels, from left to right in each line."""
    return [" ".join(axes.get_title().split()) for axes in figure.axes if axes.images]


def caption(figure: Figure) -> str:
    return str(figure.get_label())


def texts_of(svg: Path) -> str:
    """All texts of a picture, which comments beside its paths spell, and its caption."""
    drawn = re.findall(r"<!-- (.*?) -->", svg.read_text("utf-8"))
    return " ".join([*drawn, svg.with_suffix(".txt").read_text("utf-8")])
