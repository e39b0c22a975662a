"""Say in the caption of a gallery which scenes it shows and how they are drawn."""

from __future__ import annotations

from collections.abc import Sequence

from planetcr_bench.constants import OPTICAL_SIZE, SAR_BANDS
from planetcr_bench.data.tracks import read_track
from planetcr_bench.evaluation.inputs import Dataset
from planetcr_bench.gallery.panels import PERCENTILES, SAR_DB
from planetcr_bench.gallery.selection import BY_SCORE, COLUMN, By, Select
from planetcr_bench.metrics.protocols import Protocol
from planetcr_bench.metrics.registry import METRICS
from planetcr_bench.predictions.folder import Predictions, input_window_of


def selection(
    select: Select | None, rank_by: By, method: str, protocol: Protocol, count: int
) -> str:
    """Say how scenes were chosen."""
    if select == "classes":
        over = "for its land cover" if count == 1 else "evenly over the classes of land cover"
        return f"chosen {over}, of a cloud cover near the median"
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
    total, track = len(dataset.scenes), read_track(dataset.folder, dataset.split)
    origin = f"{track} (split {dataset.split})"
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
    size: int,
    protocol: Protocol,
    panels: Sequence[str],
    segmenter: str,
    *,
    undefined_angles: bool,
) -> str:
    """Say how panels are drawn.

    Args:
        size: Width of panels in pixels of the image.
        protocol: Of the scores.
        panels: Further panels, in their order.
        segmenter: Its name, if its panels are drawn.
        undefined_angles: Whether some pixels have no spectral angle.
    """
    window = "the whole patch" if size == OPTICAL_SIZE else f"the centre {size} × {size} pixels"
    low, high = PERCENTILES
    vv, vh = (f"{SAR_DB[band][0]:g} to {SAR_DB[band][1]:g} dB" for band in SAR_BANDS)
    grey = " (grey: a spectrum of zeros has none)" if undefined_angles else ""
    of_panel = {
        "infrared": "Infrared: near-infrared, red and green as red, green and blue, each band "
        "stretched between the same percentiles of its own in the clear image.",
        "error": "Error: |image − clear|, mean over the four bands.",
        "angle": f"Angle: spectral angle between image and clear image{grey}.",
        "segmenter": f"Segmenter: land cover that {segmenter} predicts from the image.",
    }
    optical = (
        "Optical images are in true colour, all of a scene with one stretch, taken from its clear "
        f"image: the {low:g}nd percentile of its red, green and blue values is black, the "
        f"{high:g}th white."
    )
    sar = f"SAR: backscatter from black to white, VV {vv}, VH {vh}.".replace("-", "−")
    classes = "classes from ESA WorldCover, in its colours (rangeland in that of shrubland)"
    scores = (
        "Below the images: MAE [reflectance] and PSNR [dB] against the clear image, over all four "
        f"bands and {window} (protocol {protocol.name})."
    )
    sentences = [
        optical,
        sar,
        f"Land cover: {classes}.",
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
