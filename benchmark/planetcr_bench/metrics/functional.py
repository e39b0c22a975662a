"""Score arrays and tensors: the metrics of the registry as functions.

A score is that of a ledger of the same images: it comes from the same sums, by the same row of
``registry.METRICS``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, get_args, overload

import numpy as np

from planetcr_bench.constants import LAND_COVER
from planetcr_bench.errors import ArrayError
from planetcr_bench.metrics.arrays import Array, class_sums, pair_of, protocol_of
from planetcr_bench.metrics.protocols import Pool, Protocol
from planetcr_bench.metrics.registry import METRICS, Metric
from planetcr_bench.metrics.sums import Floats
from planetcr_bench.utils.validation import check_choice


class ArrayMetric:
    """A metric of images: call it with a prediction and the clear image.

    Args:
        name: Of a row of ``METRICS``.
        meaning: What it measures, in one sentence.

    Example:
        >>> import numpy as np
        >>> clear = np.full((4, 32, 32), 0.2)
        >>> round(mae(clear + 0.1, clear), 6), round(psnr(clear + 0.1, clear), 6)
        (0.1, 20.0)
    """

    def __init__(self, name: str, meaning: str) -> None:
        self.name, self.__name__ = name, name
        self.__doc__ = f"{meaning}\n\n{type(self).__call__.__doc__}"

    def __repr__(self) -> str:
        return f"<metric {METRICS[self.name].title}>"

    @overload
    def __call__(
        self,
        prediction: Array,
        clear: Array,
        *,
        mask: Array | None = None,
        land_cover: None = None,
        protocol: str = "full",
        bands: Sequence[str] | None = None,
        pool: Pool | None = None,
    ) -> float: ...

    @overload
    def __call__(
        self,
        prediction: Array,
        clear: Array,
        *,
        mask: Array | None = None,
        land_cover: Array,
        protocol: str = "full",
        bands: Sequence[str] | None = None,
        pool: Pool | None = None,
    ) -> dict[str, float]: ...

    def __call__(
        self,
        prediction: Array,
        clear: Array,
        *,
        mask: Array | None = None,
        land_cover: Array | None = None,
        protocol: str = "full",
        bands: Sequence[str] | None = None,
        pool: Pool | None = None,
    ) -> float | dict[str, float]:
        """Score an image, or a batch of images.

        Args:
            prediction: Reflectance in [0, 1], shape (B, H, W) or (N, B, H, W): a numpy array, or a
                tensor on any device.
            clear: The cloud-free image, of the same shape.
            mask: True where a pixel counts, shape (H, W) or (N, H, W); by default everywhere.
            land_cover: Class of each pixel, index into forest, rangeland, agriculture, urban,
                barren, water, unknown; shape (H, W) or (N, H, W).
            protocol: ``full``, of the whole image, or ``official``, of its centre 160 × 160 as the
                authors' released tester has it.
            bands: Names of the bands; by default blue, green, red, nir of four.
            pool: Of a batch, ``pixels``: one ratio of the sums of all images; ``scene-mean``: the
                mean of the images' scores. By default as the protocol has it: ``full`` pools
                pixels, ``official`` takes the mean. Of one image both are the same.

        Returns:
            The score; with ``land_cover`` that of each class. nan where nothing is counted.

        Raises:
            ArrayError: An array cannot be scored: another shape, bands last, digital numbers, NaN.
            UsageError: There is no such protocol or pool.
        """
        chosen = protocol_of(protocol)
        check_choice("pool", pool, get_args(Pool))
        pair = pair_of(prediction, clear, mask=mask, land_cover=land_cover, bands=bands)
        metric = METRICS[self.name].of_bands(pair.bands)
        if self.name == "ndvi_error" and not {"red", "nir"} <= set(pair.bands):
            raise ArrayError(
                f"ndvi_error: expected bands called red and nir, got {', '.join(pair.bands)}; name "
                "them with bands="
            )
        sums = class_sums(pair, chosen, metric.columns)
        if land_cover is None:
            whole = {name: sums[name].sum(1, keepdims=True) for name in metric.columns}
            return float(_scores(metric, whole, chosen, pool)[0])
        scores = _scores(metric, sums, chosen, pool)
        return dict(zip(LAND_COVER, map(float, scores), strict=False))


def _scores(
    metric: Metric, sums: dict[str, Floats], protocol: Protocol, pool: Pool | None
) -> Floats:
    """Scores of columns of sums, shape (images, groups), over the images: shape (groups,)."""
    columns = [sums[name] for name in metric.columns]
    if (pool or protocol.pool) == "pixels":
        columns = [column.sum(0) for column in columns]
        return metric.score(*columns, perfect=protocol.perfect_psnr)
    each = metric.score(*columns, perfect=protocol.perfect_psnr)
    known = ~np.isnan(each)
    total = np.where(known, each, 0).sum(0)
    count = known.sum(0)
    means: Floats = np.full(total.shape, np.nan)
    np.divide(total, count, out=means, where=count > 0)
    return means


mae: Final = ArrayMetric("mae", "Mean absolute error, in reflectance.")
rmse: Final = ArrayMetric("rmse", "Root of the mean squared error, in reflectance.")
psnr: Final = ArrayMetric("psnr", "Peak signal-to-noise ratio for a peak of 1, in dB.")
sam: Final = ArrayMetric("sam_deg", "Spectral angle, the mean over pixels, in degrees.")
ssim: Final = ArrayMetric("ssim", "Structural similarity (Wang et al., 2004), mean over bands.")
ndvi_error: Final = ArrayMetric("ndvi_error", "Mean absolute error of the NDVI.")
ergas: Final = ArrayMetric("ergas", "Relative global error over bands (Wald, 2000).")
gradient_error: Final = ArrayMetric("gradient_error", "Error of gradients over those of clear.")
sharpness: Final = ArrayMetric("sharpness", "Gradients over those of the clear image; 1 is best.")
