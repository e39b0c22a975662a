"""Say in the caption of a gallery which scenes it shows and how they are drawn."""

from __future__ import annotations

from collections.abc import Sequence

from planetcr_bench.constants import UNNAMED
from planetcr_bench.data.description import Description
from planetcr_bench.data.encodings import LEGEND
from planetcr_bench.data.scene_files import CLOUD_MASK, SceneFiles
from planetcr_bench.data.scene_lists import count_word
from planetcr_bench.evaluation.inputs import Dataset
from planetcr_bench.gallery.panels import (
    LONGEST_SIDE,
    PERCENTILES,
    WHITE,
    Zoom,
    is_true_colour,
    sar_limits,
)
from planetcr_bench.gallery.selection import BY_SCORE, COLUMN, By, Select
from planetcr_bench.metrics.protocols import Protocol
from planetcr_bench.metrics.registry import METRICS
from planetcr_bench.predictions.folder import Predictions, input_window_of


def selection(
    select: Select | None,
    rank_by: By,
    method: str,
    protocol: Protocol,
    count: int,
    first: SceneFiles,
) -> str:
    """Say how scenes were chosen; ``first`` is one of them."""
    described, has_masks = first.description, CLOUD_MASK in first.products
    if select == "classes":
        over = "for its land cover" if count == 1 else "evenly over the classes of land cover"
        near = ", of a cloud cover near the median" if has_masks else ""
        return f"chosen {over}{near}"
    if select not in BY_SCORE and not has_masks:
        over = f", evenly over {described.cluster_name}s" if described.cluster and count > 1 else ""
        return f"chosen by the hashes of their names{over}" if count > 1 else "chosen by its hash"
    if select not in BY_SCORE:
        if count == 1:
            return "that with the cloud cover nearest to 50 %"
        return "chosen evenly over cloud cover, seasons and areas"
    score = f"{rank_by.upper()} of {method} (protocol {protocol.name})"
    if select == "median":
        return f"nearest to the median {score}" + ", the nearest first" * (count > 1)
    end = (
        "highest"
        if (METRICS[COLUMN[rank_by]].better == "higher") == (select == "best")
        else "lowest"
    )
    return f"with the {end} {score}" + f", the {end} first" * (count > 1)


def shown_scenes(dataset: Dataset, count: int, reason: str) -> str:
    """Say which scenes of a dataset are shown, and why these."""
    total, described = len(dataset.scenes), dataset.scenes[0].description
    track = dataset.track.removesuffix(f"-{dataset.split}")
    unnamed = track == UNNAMED and not described.known  # else it may be a copy of what is known
    origin = f"{described.title if unnamed else track} (split {dataset.split})"
    if count < total:
        verb = "is" if count == 1 else "are"
        return f"Shown {verb} {count} of the {total} scenes of {origin}, {reason}."
    return f"Shown {'is the only scene' if count == 1 else f'are all {count} scenes'} of {origin}."


def input_windows(titles: Sequence[str], predictions: Sequence[Predictions]) -> str:
    """Say what part of a patch each network saw."""
    windows = [
        f"{title} {input_window_of(own)}" for title, own in zip(titles, predictions, strict=True)
    ]
    return f"Input window: {', '.join(windows)}."


def caption(
    described: Description,
    protocol: Protocol,
    panels: Sequence[str],
    segmenter: str,
    *,
    dates: int = 1,
    undefined_angles: bool,
    shrunk: bool = False,
    zoom: Zoom | None = None,
) -> str:
    """Say how panels are drawn.

    Args:
        described: The dataset.
        protocol: Of the scores.
        panels: Further panels, in their order.
        segmenter: Its name, if its panels are drawn.
        dates: Largest number of cloudy images of a scene.
        undefined_angles: Whether some pixels have no spectral angle.
        shrunk: Whether some images are drawn smaller than they are.
        zoom: Square that is also shown larger.
    """
    side, count = protocol.window, len(described.bands)
    window = f"the centre {side} × {side} pixels" if side else "the whole patch"
    bands = f"{count_word(count)} bands" if count > 1 else "band"
    grey = " (grey: a spectrum of zeros has none)" if undefined_angles else ""
    of_panel = {
        "infrared": "Infrared: near-infrared, red and green as red, green and blue, each band "
        "stretched between the same percentiles of its own in the clear image.",
        "error": f"Error: |image − clear|{f', mean over the {bands}' if count > 1 else ''}.",
        "angle": f"Angle: spectral angle between image and clear image{grey}.",
        "segmenter": f"Segmenter: land cover that {segmenter} predicts from the image.",
        "mask": "Mask: cloud is white.",
    }
    over = f"all {bands}" if count > 1 else f"its {bands}"
    first = ", of several cloudy images for the first" if dates > 1 else ""
    scores = (
        f"Below the images: MAE [reflectance] and PSNR [dB] against the clear image, over {over} "
        f"and {window} (protocol {protocol.name}){first}."
    )
    sentences = [
        *drawing_notes(described, shrunk=shrunk),
        *_zoom(zoom),
        scores,
        *(of_panel[name] for name in panels),
    ]
    if scaled := [f"{name}s" for name in ("error", "angle") if name in panels]:
        sentences.append(
            f"{' and '.join(scaled).capitalize()} have one scale{' each' * (len(scaled) > 1)} in "
            "all scenes, whose end is the first round number that at most 2 % of pixels exceed in "
            "at least half of the methods' panels (those that are the cloudy image left out, "
            "unless all are); larger values have the last colour."
        )
    return " ".join(sentences)


def drawing_notes(described: Description, *, shrunk: bool = False) -> list[str]:
    """Say how the products of a scene are drawn.

    Args:
        described: The dataset.
        shrunk: Whether some images are drawn smaller than they are.
    """
    return [
        _optical(described.picture_bands),
        *_shrinking(shrunk=shrunk),
        *_radar(described),
        *_land_cover(described),
    ]


def _optical(bands: Sequence[str]) -> str:
    """Say what colours optical images have."""
    low, high = PERCENTILES
    stretch = (
        f"the {low:g}nd percentile of {{}} is black, the {high:g}th has {100 * WHITE:g} % "
        "of white, and the shades above it are for what is brighter, such as clouds, compressed."
    )
    one = "all of a scene with one stretch, taken from its clear image"
    if is_true_colour(bands):
        values = stretch.format("its red, green and blue values")
        return f"Optical images are in true colour, {one}: {values}"
    if len(set(bands)) == 1:
        return f"Optical images are grey, {one}: {stretch.format('its values')}"
    red, green, blue = bands
    return (
        f"Optical images show {red}, {green} and {blue} as red, green and blue, {one}: "
        f"{stretch.format('each band')}"
    )


def _shrinking(*, shrunk: bool) -> list[str]:
    smaller = "drawn smaller, each pixel the mean of a square"
    return [f"Images of more than {LONGEST_SIDE} pixels a side are {smaller}."] if shrunk else []


def _zoom(zoom: Zoom | None) -> list[str]:
    if zoom is None:
        return []
    where = f"{zoom.x} pixels from the left and {zoom.y} from the top"
    return [f"The framed square of {zoom.size} pixels, {where}, is shown larger in a corner."]


def _radar(described: Description) -> list[str]:
    if described.sar is None:
        return []
    limits = sar_limits(described.sar).items()
    bands = (f"{band.upper()} {low:g} to {high:g} dB" for band, (low, high) in limits)
    return [f"SAR: backscatter from black to white, {', '.join(bands)}.".replace("-", "−")]


def _land_cover(described: Description) -> list[str]:
    if described.land_cover is None:
        return []
    legend = described.land_cover.legend
    own = legend == "WorldCover"
    source = "from ESA WorldCover, in its colours" if own else "in WorldCover's colours"
    source = source if own or legend == LEGEND else f"from {legend}, {source}"
    return [f"Land cover: classes {source} (rangeland in that of shrubland)."]
