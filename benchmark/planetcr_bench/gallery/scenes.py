"""Find, read and score the scenes that a gallery draws."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.constants import PLANET_CR
from planetcr_bench.data.description import Description
from planetcr_bench.data.descriptions import load_description
from planetcr_bench.data.reading import read_scene
from planetcr_bench.data.scene import Image, Scene, upsample
from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.errors import DatasetError, PredictionError
from planetcr_bench.evaluation.inputs import Dataset, find_dataset
from planetcr_bench.evaluation.loading import (
    Job,
    ScenePixels,
    first_date,
    read_pixels,
    scene_pixels,
)
from planetcr_bench.metrics import kernels
from planetcr_bench.metrics.protocols import PROTOCOLS, Protocol
from planetcr_bench.metrics.registry import METRICS, Of
from planetcr_bench.metrics.sums import SUMS
from planetcr_bench.predictions.card import read_card
from planetcr_bench.predictions.folder import Predictions, find_predictions
from planetcr_bench.predictions.format import CROP_SIZE


@dataclass(frozen=True, slots=True)
class DrawnScene:
    """One scene as it is drawn; all images have the same H and W.

    Attributes:
        scene: Its name.
        cloud_cover: Of the whole patch, in [0, 1]; nan without a mask.
        cloudy: Reflectance, shape (B, H, W); of several dates the first.
        sar_db: Backscatter in dB on the optical grid, shape (bands, H, W); None if there is none.
        land_cover: Index into ``LAND_COVER_NAMES``, shape (H, W); None if there is none.
        clear: Reflectance, shape (B, H, W).
        predictions: Reflectance of each folder's image, shape (B, H, W), not clipped.
        scores: MAE (reflectance) and PSNR (dB) of the cloudy image, then of each prediction.
        cloud_mask: True where cloudy, shape (H, W); None if there is none.
        other_dates: The cloudy images of other dates, as the first.
        dates: What tells the dates apart, in words.
        description: Of the dataset.
    """

    scene: str
    cloud_cover: float
    cloudy: Image
    sar_db: NDArray[np.float32] | None
    land_cover: NDArray[np.uint8] | None
    clear: Image
    predictions: Sequence[Image]
    scores: Sequence[tuple[float, float]]
    cloud_mask: NDArray[np.bool_] | None = None
    other_dates: Sequence[Image] = ()
    dates: str = ""
    description: Description = field(default_factory=lambda: load_description(PLANET_CR))

    @property
    def images(self) -> list[Image]:
        """The cloudy image, the predictions, and the clear image."""
        return [self.cloudy, *self.predictions, self.clear]


def find_common_dataset(
    data: Path,
    folders: Sequence[Path],
    split: str | None,
    scene_list: Path | None,
    *,
    described: str | Path | None = None,
    quiet: bool,
) -> Dataset:
    """Find the dataset that all folders hold predictions of; ``described`` says what it is.

    Raises:
        DatasetError: There is none.
        PredictionError: Predictions are of another split.
    """
    if not data.is_dir():
        raise DatasetError(f"{data}: expected the folder of a dataset, found no such folder")
    cards = [(folder, read_card(folder)) for folder in folders]
    for folder, card in cards:
        try:
            dataset = find_dataset(
                folder,
                card,
                data=data,
                split=split,
                scene_list=scene_list,
                dataset=described,
                quiet=quiet,
            )
        except DatasetError as error:
            if not any("--data" in problem for problem in error.problems):
                raise
            message, _, _ = error.message.partition("; if it lies")
            raise DatasetError(
                f"{message}; give as DATA the dataset that these predictions were made on"
            ) from error
        split = dataset.split
    return dataset


def find_all_predictions(
    folders: Sequence[Path], scenes: Sequence[SceneFiles], purpose: str
) -> list[Predictions]:
    """Find the predictions of scenes in all folders; other files in them are ignored.

    Raises:
        PredictionError: Folders lack scenes; the message says that these are to be ``purpose``.
    """
    predictions = [find_predictions(folder, read_card(folder), scenes) for folder in folders]
    problems: dict[Path, list[str]] = {}
    for own in predictions:
        if missing := [files.name for files in scenes if files not in own.files]:
            folder = re.escape(str(own.folder))  # begins lines about many of its files
            line = re.compile(rf"({'|'.join(missing)})(?!\d)|^{folder}: ")
            problems[own.folder] = [*filter(line.search, own.problems)]
    if problems:
        raise PredictionError(
            f"{', '.join(map(str, problems))}: expected a prediction of each scene that is "
            f"{purpose}; write these files again, or choose other scenes with --scene",
            [line for lines in problems.values() for line in lines],
        )
    return predictions


def common_protocol(predictions: Sequence[Predictions]) -> Protocol:
    """The protocol that all predictions allow: a centre crop has no whole patch."""
    return PROTOCOLS["official" if any(own.size == CROP_SIZE for own in predictions) else "full"]


def read_all(
    scenes: Sequence[SceneFiles], predictions: Sequence[Predictions], protocol: Protocol
) -> list[DrawnScene]:
    """Read what is drawn; all predictions that cannot be read are named at once."""
    drawn, problems = [], []
    for files in scenes:
        try:
            drawn.append(read_drawn(files, predictions, protocol))
        except PredictionError as error:
            problems.append(error.message)
    if problems:
        raise PredictionError(
            f"{', '.join(str(own.folder) for own in predictions)}: expected a usable "
            "prediction of each scene that is drawn; write these files again, or choose other "
            "scenes with --scene",
            problems,
        )
    return drawn


def read_drawn(
    files: SceneFiles, predictions: Sequence[Predictions], protocol: Protocol
) -> DrawnScene:
    """Read a scene and its predictions, cut to the protocol's window, and score them.

    Raises:
        DatasetError: The scene is broken.
        PredictionError: A prediction is.
    """
    arrays = [read_pixels(Job(files, own.files[files]), own.card) for own in predictions]
    return _score(read_scene(files), arrays, protocol, files.dates)


def drawn_scene(scene: Scene, prediction: Image) -> DrawnScene:
    """A scene and one prediction of the whole patch, both in memory, scored in ``full``."""
    return _score(scene, [scene_pixels(scene, prediction)], PROTOCOLS["full"])


def _score(
    scene: Scene, predicted: Sequence[ScenePixels], protocol: Protocol, dates: str = ""
) -> DrawnScene:
    sums = [
        dict(
            zip(
                SUMS,
                kernels.measure(p.images, p.clear, p.group, protocol, p.bands).sum(0),
                strict=True,
            )
        )
        for p in predicted
    ]
    window, cover, mask = protocol.window, scene.land_cover, scene.cloud_mask
    several = scene.cloudy.ndim == 4
    return DrawnScene(
        scene=scene.name,
        cloud_cover=scene.cloud_cover,
        cloudy=kernels.centre_crop(first_date(scene.cloudy), window),
        sar_db=decibels(scene, window),
        land_cover=None if cover is None else kernels.centre_crop(cover, window),
        cloud_mask=None if mask is None else kernels.centre_crop(mask, window),
        clear=kernels.centre_crop(scene.clear, window),
        other_dates=[kernels.centre_crop(d, window) for d in scene.cloudy[1:]] if several else [],
        dates=dates,
        description=scene.description,
        predictions=[kernels.centre_crop(p.images[0], protocol.window) for p in predicted],
        scores=[
            _scores(sums[0], protocol, "input"),
            *(_scores(own, protocol, "prediction") for own in sums),
        ],
    )


def decibels(scene: Scene, window: int = 0) -> NDArray[np.float32] | None:
    """Backscatter on the optical grid, within the range that its description gives.

    Args:
        scene: Of which SAR is drawn.
        window: Side of its centre; 0: the whole.

    Returns:
        dB, shape (bands, H, W); None if there is none.
    """
    radar = scene.description.sar
    if scene.sar is None or radar is None:
        return None
    low, high = np.array(radar.range, np.float32).T[..., None, None]
    on_grid = upsample(low + scene.sar * (high - low), scene.clear.shape[1:])
    return kernels.centre_crop(on_grid, window)


def _scores(sums: Mapping[str, float], protocol: Protocol, image: Of) -> tuple[float, float]:
    """MAE and PSNR from the sums of one scene, named as columns of the ledger."""
    mae, psnr = (
        metric.score(
            *(sums[column] for column in metric.columns_of(image)), perfect=protocol.perfect_psnr
        )
        for metric in (METRICS["mae"], METRICS["psnr"])
    )
    return float(mae), float(psnr)
