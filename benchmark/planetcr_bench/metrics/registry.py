"""Define every metric in one row: its name, unit and direction, and the sums that it divides.

Tables, JSON, reports, confidence intervals and the leaderboard take their metrics from
:data:`METRICS`. Of a new row, only columns that ``sums`` lacks need more: a line there and one in
``further`` or ``kernels``. The metrics of single bands are made for whatever bands a ledger has.

Example:
    A ratio of two columns is one row::

        Metric("worse", "Worse than the input", unit="%", better="lower", table="further",
               numerator="worse_pixels", denominator="pixels", digits=1, possible=(0, 100),
               finish=lambda worse, pixels: 100 * ratio(worse, pixels))
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import ArrayLike

from planetcr_bench.metrics import scores
from planetcr_bench.metrics.protocols import Protocol
from planetcr_bench.metrics.scores import ratio
from planetcr_bench.metrics.sums import Floats, input_column, ndvi_bands

Of = Literal["prediction", "input"]
"""The image that is scored: what a method returned, or the cloudy image that it was given."""

Scale = Literal["linear", "sqrt", "log"]
"""What turns a ratio of sums into a score: nothing, its square root, or −10 · log10, decibels."""

Better = Literal["higher", "lower", "zero", "one"]
"""Which scores are better: higher ones, lower ones, or those near 0 or 1."""

Section = Literal["headline", "further", "segmentation"]
"""Where a metric is printed: Tab. 2 and all that follows it, the further metrics, or Tab. 3. The
first and the last are the paper's metrics, to which none is added."""

_ARROWS: Final = {"higher": "↑", "lower": "↓", "zero": "→ 0", "one": "→ 1"}


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: all that anything else needs to know of it.

    Attributes:
        name: Key in tables, JSON and options.
        label: Printed name.
        numerator: Columns of the ledger above the line, one name or several.
        denominator: Columns below it; the last one is the weight of a group of pixels.
        unit: Printed in brackets; empty for reflectance and for ratios.
        better: Direction.
        scale: From the ratio to the score.
        finish: Sums of the columns, in their order, to the ratio; None for first / last.
        digits: After the point, where scores are printed with their intervals.
        possible: Lowest and highest value; no interval goes beyond.
        log_interval: Whether intervals are symmetric on a log scale.
        table: Where it is printed.
        of_each_band: Whether the columns above the line are of each band in turn: their names end
            in the band's; see :meth:`of_bands`.
    """

    name: str
    label: str
    numerator: str | tuple[str, ...] = ()
    denominator: str | tuple[str, ...] = ()
    unit: str = ""
    better: Better = "lower"
    scale: Scale = "linear"
    finish: Callable[..., Floats] | None = None
    digits: int = 4
    possible: tuple[float, float] = (-np.inf, np.inf)
    log_interval: bool = False
    table: Section = "further"
    of_each_band: bool = False

    def of_bands(self, bands: Sequence[str]) -> Metric:
        """The metric of images of these bands: no other, but for one made :attr:`of_each_band`."""
        if not (self.of_each_band and bands):
            return self
        names = _names(self.numerator)
        return replace(self, numerator=tuple(f"{name}_{b}" for b in bands for name in names))

    @property
    def title(self) -> str:
        """Head of a column, such as ``PSNR ↑ [dB]``."""
        return f"{self.label} {_ARROWS[self.better]}{f' [{self.unit}]' if self.unit else ''}"

    @property
    def difference_unit(self) -> str:
        """What follows a difference of two scores: percentages differ by points."""
        return {"": "", "°": "°", "%": " points"}.get(self.unit, f" {self.unit}")

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the prediction that it is made of."""
        return (*_names(self.numerator), *_names(self.denominator))

    def columns_of(self, of: Of) -> tuple[str, ...]:
        """Columns that it is made of for one of the two images."""
        return tuple(map(input_column, self.columns)) if of == "input" else self.columns

    def gain(self, after: ArrayLike, before: ArrayLike) -> Floats:
        """How much better the first score is; 0 between two that are equal, such as perfect ones.

        Args:
            after: Scores, shape (...).
            before: Scores, shape (...).
        """
        after, before = np.asarray(after, np.float64), np.asarray(before, np.float64)
        with np.errstate(invalid="ignore"):
            return np.where(after == before, 0.0, self.badness(before) - self.badness(after))

    def badness(self, score: ArrayLike) -> Floats:
        """By which scores are sorted, best first."""
        values = np.asarray(score, np.float64)
        if self.better == "higher":
            return -values
        if self.better == "lower":
            return values
        target: Floats = np.abs(values - (self.better == "one"))
        return target

    def score(self, *sums: ArrayLike, perfect: float = np.inf) -> Floats:
        """Scores of groups of pixels.

        Args:
            *sums: Sum of each of :attr:`columns`, shape (...).
            perfect: Decibels of a perfect match, for ``log``.

        Returns:
            Shape (...); nan where nothing was summed.
        """
        value = self.ratio(*sums)
        if self.scale == "log":
            return scores.decibels(value, perfect=perfect)
        return np.sqrt(value) if self.scale == "sqrt" else value

    def ratio(self, *sums: ArrayLike) -> Floats:
        """The same before :attr:`scale`: what pixels have on average, such as a squared error."""
        return self.finish(*sums) if self.finish else ratio(sums[0], sums[-1])

    def errors(self, value: ArrayLike, weight: ArrayLike) -> Floats:
        """What groups of pixels add to the error: how far each is from the best value, weighed.

        Args:
            value: Ratios, see :meth:`ratio`, shape (...).
            weight: What they are divided by, shape (...).

        Returns:
            At least 0, shape (...); 0 where a ratio is not known.
        """
        values = np.asarray(value, np.float64)
        if self.better == "higher" and self.scale == "linear":
            distance = np.maximum(self.possible[1] - values, 0)
        else:
            distance = np.abs(values - (self.better == "one"))
        errors = distance * np.asarray(weight, np.float64)
        return np.where(np.isfinite(errors), errors, 0.0)

    def of_sums(
        self, sums: Mapping[str, Any], protocol: Protocol, of: Of = "prediction"
    ) -> Floats | None:
        """Scores from named columns of a ledger, or None where it lacks one of them."""
        names = self.columns_of(of)
        if any(name not in sums for name in names):
            return None
        columns = (np.asarray(sums[name], np.float64) for name in names)
        return self.score(*columns, perfect=protocol.perfect_psnr)


def _names(columns: str | tuple[str, ...]) -> tuple[str, ...]:
    return (columns,) if isinstance(columns, str) else columns


# --- Metrics that are more than a ratio of two sums -------------------------------------------


def bias(prediction: ArrayLike, clear: ArrayLike, pixels: ArrayLike) -> Floats:
    r"""Mean error of one band, :math:`\sum (p - t) / n`: positive where it is too bright.

    Args:
        prediction: Σp, reflectance, shape (...).
        clear: Σt.
        pixels: n.

    Example:
        >>> bias([1.2, 0], [1.0, 0], [4, 0])
        array([0.05,  nan])
    """
    return ratio(np.subtract(prediction, clear), pixels)


def mean_squared_error(
    prediction_square: ArrayLike, clear_square: ArrayLike, product: ArrayLike, pixels: ArrayLike
) -> Floats:
    r"""Mean squared error of one band from its moments, :math:`\sum (p^2 + t^2 - 2 p t) / n`.

    The three sums cancel: an error below 1e-7 of the band's brightness drowns in their rounding.

    Args:
        prediction_square: Σp², reflectance², shape (...).
        clear_square: Σt².
        product: Σpt.
        pixels: n.

    Example:
        >>> mean_squared_error([0.09], [0.01], [0.03], [1])
        array([0.04])
    """
    squares = np.add(prediction_square, clear_square) - 2 * np.asarray(product, np.float64)
    return ratio(np.maximum(squares, 0), pixels)


def correlation(
    prediction: ArrayLike,
    clear: ArrayLike,
    prediction_square: ArrayLike,
    clear_square: ArrayLike,
    product: ArrayLike,
    pixels: ArrayLike,
) -> Floats:
    r"""Pearson's correlation of one band over pixels, from its moments.

    .. math:: \frac{n \sum p t - \sum p \sum t}
        {\sqrt{(n \sum p^2 - (\sum p)^2) (n \sum t^2 - (\sum t)^2)}}

    Args:
        prediction: Σp, reflectance, shape (...).
        clear: Σt.
        prediction_square: Σp².
        clear_square: Σt².
        product: Σpt.
        pixels: n.

    Returns:
        In [-1, 1], shape (...); nan where one of the images is constant.

    Example:
        >>> correlation([3.0], [6.0], [5.0], [20.0], [10.0], [2])
        array([1.])
    """
    p, t, pp, tt, pt, n = (
        np.asarray(sums, np.float64)
        for sums in (prediction, clear, prediction_square, clear_square, product, pixels)
    )
    covariance, p_variance, t_variance = n * pt - p * t, n * pp - p * p, n * tt - t * t
    varied = (p_variance > _CONSTANT * n * pp) & (t_variance > _CONSTANT * n * tt)
    with np.errstate(invalid="ignore"):
        norm = np.where(varied, np.sqrt(p_variance * t_variance), 0)
    return np.clip(ratio(covariance, norm), -1, 1)


_CONSTANT: Final = 1e-10
"""Share of its mean square below which the variance of an image is rounding."""


def ergas(*sums: ArrayLike) -> Floats:
    r"""Relative dimensionless global error of synthesis (ERGAS; Wald 2000).

    .. math:: 100 \, \frac{h}{l} \sqrt{\frac{1}{B} \sum_b \frac{RMSE_b^2}{\mu_b^2}}

    with :math:`\mu_b` the mean of band b of the clear image. The ratio h / l of the pixel sizes of
    the sharp and the coarse image is 1, for cloud removal does not change the resolution: figures
    of pansharpening, with 1/4, are that much smaller. L. Wald, "Quality of high resolution
    synthesised images: Is there a simple criterion?", Fusion of Earth Data, 2000, pp. 99-103.

    Args:
        *sums: Σp², Σt², Σpt and Σt of each band, band after band, and n, shape (...) each.

    Returns:
        The squared relative error, 100² times the mean over bands, shape (...), of which the row's
        scale takes the root; nan where the clear image is black in some band.

    Example:
        >>> round(float(np.sqrt(ergas(0.09, 0.01, 0.03, 0.1, 1))), 9)
        200.0
    """
    *moments, pixels = (np.asarray(each, np.float64) for each in sums)
    parts = []
    for first in range(0, len(moments), 4):
        prediction_square, clear_square, product, clear = moments[first : first + 4]
        squared_error = mean_squared_error(prediction_square, clear_square, product, pixels)
        parts.append(ratio(squared_error, ratio(clear, pixels) ** 2))
    relative: Floats = 100.0**2 * np.mean(parts, axis=0)
    return relative


@lru_cache(maxsize=256)
def _of_band(band: str) -> dict[str, Metric]:
    """Metrics of one band, by what their names begin with."""
    p, t = f"prediction_sum_{band}", f"clear_sum_{band}"
    pp, tt = f"prediction_square_{band}", f"clear_square_{band}"
    pt = f"prediction_clear_product_{band}"
    squares = (pp, tt, pt)
    return {
        "bias": Metric(
            f"bias_{band}", f"Bias, {band}", (p, t), "pixels", better="zero", finish=bias
        ),
        "rmse": Metric(
            f"rmse_{band}", f"RMSE, {band}", squares, "pixels",
            scale="sqrt", finish=mean_squared_error, possible=(0, np.inf), log_interval=True,
        ),
        "psnr": Metric(
            f"psnr_{band}", f"PSNR, {band}", squares, "pixels", unit="dB", better="higher",
            scale="log", finish=mean_squared_error, digits=2,
        ),
        "correlation": Metric(
            f"correlation_{band}", f"Correlation, {band}", (p, t, *squares), "pixels",
            better="higher", finish=correlation, possible=(-1, 1),
        ),
    }  # fmt: skip


_ERGAS_COLUMNS: Final = (
    "prediction_square", "clear_square", "prediction_clear_product", "clear_sum",
)  # fmt: skip

_ROWS: Final = [
    Metric(
        "mae", "MAE", "absolute_error", "values",
        possible=(0, np.inf), log_interval=True, table="headline",
    ),
    Metric(
        "psnr", "PSNR", "squared_error", "values",
        unit="dB", better="higher", scale="log", digits=2, table="headline",
    ),
    Metric(
        "sam_deg", "SAM", "angle_deg", "angle_pixels",
        unit="°", digits=2, possible=(0, 180), table="headline",
    ),
    Metric(
        "ssim", "SSIM", "ssim", "ssim_pixels",
        better="higher", possible=(-1, 1), table="headline",
    ),
    Metric("miou", "mIoU", unit="%", better="higher", digits=1, possible=(0, 100),
           table="segmentation"),
    Metric("pa", "PA", unit="%", better="higher", digits=1, possible=(0, 100),
           table="segmentation"),
    Metric(
        "rmse", "RMSE", "squared_error", "values",
        scale="sqrt", possible=(0, np.inf), log_interval=True,
    ),
    Metric(
        "ergas", "ERGAS", _ERGAS_COLUMNS, "pixels",
        scale="sqrt", finish=ergas, digits=2, possible=(0, np.inf), log_interval=True,
        of_each_band=True,
    ),
    Metric("ndvi_error", "NDVI error", "ndvi_error", "ndvi_pixels", possible=(0, 2)),
    Metric(
        "gradient_error", "Gradient error", "gradient_error", "clear_gradient",
        possible=(0, np.inf),
    ),
    Metric(
        "sharpness", "Sharpness", "prediction_gradient", "clear_gradient",
        better="one", possible=(0, np.inf),
    ),
]  # fmt: skip


class _Metrics(dict[str, Metric]):
    """Metrics by name; those of single bands, such as ``bias_red``, are not listed, but known."""

    def __missing__(self, name: str) -> Metric:
        kind, _, band = name.partition("_")
        if band and kind in _of_band(band):
            return _of_band(band)[kind]
        raise KeyError(name)


METRICS: Final[dict[str, Metric]] = _Metrics({metric.name: metric for metric in _ROWS})
"""Every metric by its name, in the order in which they are printed; then come those of bands.

With the error e = prediction − clear of each of n values (paper, Sec. 5.2): *MAE* is Σ|e| / n,
*PSNR* −10 · log10(Σe² / n), *SAM* the mean angle of the pixels that have one, and *SSIM* the mean
of the map of ``ssim_map.ssim_maps``. *Gradient error* is Σ|∇p − ∇t| / Σ|∇t|, 0 for equal images and
1 for a flat one. *Sharpness* is Σ|∇p| / Σ|∇t|: below 1 where a method smooths, above 1 where it
adds noise or edges. For the gradient see ``further.measure_further``. mIoU and PA come from
confusion matrices, not from sums of these columns."""


FLOOR_METRICS: Final = {
    "sam_floor": Metric(
        "sam_floor", "Noise floor of SAM", "self_angle_deg", "pixels", unit="°", possible=(0, 90)
    ),
    "under_floor": Metric("under_floor", "Pixels under the floor", "floored_pixels", "pixels"),
}
"""Ratios that describe the clear images of a dataset in a protocol whose SAM has a noise floor; not
scores of a method."""

RATIOS: Final = ChainMap(METRICS, FLOOR_METRICS)
"""All ratios of a ledger's sums, by name."""


def ratio_of(name: str, bands: Sequence[str]) -> Metric:
    """A ratio of the sums of images of these bands, by its name."""
    return RATIOS[name].of_bands(bands)


def _named(table: Section) -> tuple[str, ...]:
    return tuple(name for name, metric in METRICS.items() if metric.table == table)


HEADLINE: Final = _named("headline")
"""The paper's four metrics (Sec. 5.2), by which methods are ranked and compared."""

SEGMENTATION: Final = _named("segmentation")
"""The paper's two metrics of land-cover segmentation (Tab. 3)."""

if (len(HEADLINE), len(SEGMENTATION)) != (4, 2):
    raise ValueError(
        'METRICS: expected the paper\'s metrics alone in "headline" and "segmentation"'
    )


def further(bands: Sequence[str]) -> tuple[str, ...]:
    """Names of the metrics that the paper does not have, of images of these bands."""
    has_ndvi = ndvi_bands(bands) is not None
    names = [name for name in _named("further") if has_ndvi or name != "ndvi_error"]
    kinds = ("bias", "rmse", "psnr", "correlation")
    return (*names, *(f"{kind}_{band}" for kind in kinds for band in bands))
