"""Score one scene in all metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import pandas as pd

from planetcr_bench.constants import OPTICAL_BANDS, OPTICAL_RESOLUTION_M
from planetcr_bench.data.scene import Scene
from planetcr_bench.errors import ArrayError, UsageError
from planetcr_bench.evaluation.loading import ScenePixels, plain_groups, scene_pixels
from planetcr_bench.evaluation.runner import measure_scene, protocols_of
from planetcr_bench.metrics.arrays import (
    Array,
    image_of,
    land_cover_of,
    mask_of,
    pair_of,
)
from planetcr_bench.metrics.protocols import PROTOCOLS, Protocol
from planetcr_bench.metrics.registry import HEADLINE, METRICS, Of, further
from planetcr_bench.metrics.sums import Images
from planetcr_bench.results.aggregate import score_groups
from planetcr_bench.results.ledger import ledger_table
from planetcr_bench.utils.validation import check_choice


class Scores:
    """Scores of one scene; made by :func:`score`.

    A metric is an item: ``scores["psnr"]``.

    Attributes:
        frame: Its rows, as in a ledger.
        bands: Names of its bands.
        has_input: Whether the cloudy image is known.
    """

    def __init__(self, frame: pd.DataFrame, bands: Sequence[str], *, has_input: bool) -> None:
        self.frame, self.bands, self.has_input = frame, tuple(bands), has_input

    @cached_property
    def protocols(self) -> list[str]:
        """Names of the protocols that it was measured in: ``official`` needs 160 pixels a side."""
        return [name for name in PROTOCOLS if (self.frame["protocol"] == name).any()]

    def __getitem__(self, metric: str) -> float:
        return self.to_dict()[metric]

    def to_dict(self, protocol: str | None = None, *, of: Of = "prediction") -> dict[str, float]:
        """Scores by the names of the metrics; those of bands are called ``rmse_red`` and so on.

        Args:
            protocol: ``full`` or ``official``; by default ``full``.
            of: ``prediction``, or ``input`` for the cloudy image.

        Raises:
            UsageError: It was not measured in this protocol, or the cloudy image is not known.
        """
        names = (*HEADLINE, *further(self.bands))
        row = self._by((), protocol, of, names).iloc[0]
        return {name: float(row[name]) for name in names}

    def by(self, *groups: str, protocol: str | None = None, of: Of = "prediction") -> pd.DataFrame:
        """Scores of groups of pixels in the paper's four metrics.

        Args:
            *groups: ``region`` or ``land_cover``, or both.
            protocol: See :meth:`to_dict`, like ``of``.
            of: The prediction, or the input.

        Returns:
            A row per group, a column per metric, and ``pixels``.
        """
        for name in groups:
            check_choice("by", name, ["region", "land_cover"])
        return self._by(groups, protocol, of, HEADLINE)[[*HEADLINE, "pixels"]]

    def _by(
        self, groups: Sequence[str], protocol: str | None, of: Of, metrics: Sequence[str]
    ) -> pd.DataFrame:
        check_choice("of", of, ["prediction", "input"])
        if of == "input" and not self.has_input:
            raise UsageError("of: expected the cloudy image for scores of the input, got none")
        return score_groups(self.frame, self._protocol(protocol), groups, of=of, metrics=metrics)

    def _protocol(self, name: str | None) -> Protocol:
        check_choice("protocol", name, self.protocols)
        return PROTOCOLS[name or ("full" if "full" in self.protocols else self.protocols[0])]

    def __repr__(self) -> str:
        lines = []
        for name in self.protocols:
            values = self._by((), name, "prediction", HEADLINE).iloc[0]
            shown = (_with_unit(metric, float(values[metric])) for metric in HEADLINE)
            lines.append(f"{name}: {', '.join(shown)}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        table = pd.DataFrame({
            name: {METRICS[m].title: self.to_dict(name)[m] for m in HEADLINE}
            for name in self.protocols
        }).T  # fmt: skip
        return str(table.to_html(float_format="{:.4f}".format))


def _with_unit(name: str, value: float) -> str:
    metric = METRICS[name]
    unit = {"": "", "°": "°"}.get(metric.unit, f" {metric.unit}")
    return f"{metric.label} {value:.{metric.digits}f}{unit}"


def score(
    prediction: Array,
    clear: Array | Scene,
    cloudy: Array | None = None,
    cloud_mask: Array | None = None,
    land_cover: Array | None = None,
    *,
    bands: Sequence[str] | None = None,
    resolution_m: float | None = None,
) -> Scores:
    """Score one scene in all metrics and in all protocols that it is large enough for.

    Args:
        prediction: Reflectance in [0, 1], shape (B, H, W): a numpy array, or a tensor on any
            device.
        clear: The cloud-free image, of the same shape; or a :class:`Scene` of ``open_dataset``,
            which has all that follows.
        cloudy: The image with clouds, of the same shape, for scores of the input.
        cloud_mask: True where cloudy, shape (H, W), for scores by region.
        land_cover: Index into forest, rangeland, agriculture, urban, barren, water, unknown; shape
            (H, W).
        bands: Names of the bands; by default blue, green, red, nir of four.
        resolution_m: Of a pixel, for the width of clouds' edges, 30 m; by default 3 m.

    Raises:
        ArrayError: An array cannot be scored: another shape, bands last, digital numbers, NaN.

    Example:
        >>> import numpy as np
        >>> clear = np.full((4, 200, 200), 0.2, np.float32)
        >>> score(clear + np.float32(0.1), clear)
        official: MAE 0.1000, PSNR 20.00 dB, SAM 0.00°, SSIM 0.9172
        full: MAE 0.1000, PSNR 20.00 dB, SAM 0.00°, SSIM 0.9231
    """
    if isinstance(clear, Scene):
        given = (cloudy, cloud_mask, land_cover, bands, resolution_m)
        if any(value is not None for value in given):
            raise UsageError("score: expected a scene or arrays, got both; the scene has the rest")
        image = _one(image_of("prediction", prediction, clear.bands), clear.clear.shape)
        pixels, has_input = scene_pixels(clear, image.astype(np.float32, copy=False)), True
    else:
        pixels = _pixels(prediction, clear, cloudy, cloud_mask, land_cover, bands, resolution_m)
        has_input = cloudy is not None
    size = min(pixels.clear.shape[-2:])
    protocols = protocols_of(size, list(PROTOCOLS), whole=size)
    frame = ledger_table([measure_scene(pixels, protocols)]).to_pandas(ignore_metadata=True)
    return Scores(frame, pixels.bands, has_input=has_input)


def _pixels(
    prediction: Array,
    clear: Array,
    cloudy: Array | None,
    cloud_mask: Array | None,
    land_cover: Array | None,
    bands: Sequence[str] | None,
    resolution_m: float | None,
) -> ScenePixels:
    pair = pair_of(prediction, clear, bands=bands)
    target = _one(pair.clear, None)
    image, grid = pair.prediction[0], target.shape[-2:]
    before = image
    if cloudy is not None:
        before = _one(image_of("cloudy", cloudy, pair.bands), target.shape, "cloudy")
    mask = None if cloud_mask is None else mask_of("cloud_mask", cloud_mask, grid)[0]
    classes = None if land_cover is None else land_cover_of(land_cover, grid)[0]
    cover = math.nan if mask is None else float(mask.mean())
    identity: dict[str, object] = {
        "scene": "scene", "split": "", "season": "", "aoi": "scene", "patch": 0,
        "cloud_cover": cover, "longitude": math.nan, "latitude": math.nan,
        "prediction_sha256": "",
    }  # fmt: skip
    usual = OPTICAL_RESOLUTION_M if pair.bands == OPTICAL_BANDS else None
    group = plain_groups(grid, classes, mask, resolution_m or usual)
    return ScenePixels(identity, np.stack([image, before]), target, group, pair.bands)


def _one(images: Images, shape: tuple[int, ...] | None, name: str = "prediction") -> Images:
    """The image of a batch of one."""
    if len(images) != 1:
        raise ArrayError(
            f"{name}: expected one scene, shape (B, H, W), got {len(images)}; metrics of "
            "planetcr_bench.metrics take batches"
        )
    if shape is not None and images.shape[1:] != shape:
        raise ArrayError(f"{name}: expected the shape of clear, {shape}, got {images.shape[1:]}")
    image: Images = images[0]
    return image
