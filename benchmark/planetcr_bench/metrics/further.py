"""Measure the sums behind the further metrics of a scene, per group of pixels, on the CPU.

The cache of compiled code is as old as this file: touch it when ``kernels.ndvi`` changes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.metrics.kernels import centre_crop, expect_bands, ndvi
from planetcr_bench.metrics.protocols import Protocol
from planetcr_bench.metrics.sums import GROUPS, Floats, Images, further_sums, ndvi_bands
from planetcr_bench.utils.compiled import compiled

_MOMENTS: Final = 8
"""Columns of one band in ``further_sums``: Σp, Σt, Σc, Σp², Σt², Σc², Σpt, Σct."""


@compiled
def _add_further(
    images: Images, clear: Images, group: NDArray[np.uint8], red: int, nir: int, sums: Floats
) -> None:
    """Add ``further_sums``, row by row in runs of one group: images (2, B, H, W)."""
    bands, height, width = clear.shape
    gradients = np.empty((5, width))
    change = np.empty(width)
    for y in range(height):
        gradients[:] = 0.0
        if y < height - 1:
            for band in range(bands):
                _add_gradients(
                    images[0, band, y : y + 2],
                    images[1, band, y : y + 2],
                    clear[band, y : y + 2],
                    gradients,
                )
        for x in range(width):
            change[x] = ndvi(images[1, red, y, x], images[1, nir, y, x]) - ndvi(
                clear[red, y, x], clear[nir, y, x]
            )
        start = 0
        while start < width:
            stop = start + 1
            while stop < width and group[y, stop] == group[y, start]:
                stop += 1
            row = sums[group[y, start]]
            for band in range(bands):
                _add_moments(images, clear, band, y, start, stop, row)
            _add_run(gradients, change, start, stop, row[_MOMENTS * bands :])
            start = stop


@compiled
def _add_gradients(prediction: Images, cloudy: Images, clear: Images, gradients: Floats) -> None:
    """Add |∇p − ∇t|, |∇p|, |∇t|, |∇c − ∇t| and |∇c| of one of two lines of a band, per pixel."""
    for x in range(clear.shape[1] - 1):
        p, c, t = np.float64(prediction[0, x]), np.float64(cloudy[0, x]), np.float64(clear[0, x])
        p_x, p_y = prediction[0, x + 1] - p, prediction[1, x] - p
        c_x, c_y = cloudy[0, x + 1] - c, cloudy[1, x] - c
        t_x, t_y = clear[0, x + 1] - t, clear[1, x] - t
        gradients[0, x] += abs(p_x - t_x) + abs(p_y - t_y)
        gradients[1, x] += abs(p_x) + abs(p_y)
        gradients[2, x] += abs(t_x) + abs(t_y)
        gradients[3, x] += abs(c_x - t_x) + abs(c_y - t_y)
        gradients[4, x] += abs(c_x) + abs(c_y)


@compiled
def _add_run(gradients: Floats, change: Floats, start: int, stop: int, row: Floats) -> None:
    """Add gradients of a run of pixels, and NDVI errors of those that have one: row (7,)."""
    g0, g1, g2, g3, g4, error, pixels = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for x in range(start, stop):
        g0 += gradients[0, x]
        g1 += gradients[1, x]
        g2 += gradients[2, x]
        g3 += gradients[3, x]
        g4 += gradients[4, x]
        known = not math.isnan(change[x])
        error += abs(change[x]) if known else 0.0
        pixels += 1.0 if known else 0.0
    row[0] += g0
    row[1] += g1
    row[2] += g2
    row[3] += g3
    row[4] += g4
    row[5] += error
    row[6] += pixels


@compiled
def _add_moments(
    images: Images, clear: Images, band: int, y: int, start: int, stop: int, row: Floats
) -> None:
    """Add Σp, Σt, Σc, Σp², Σt², Σc², Σpt and Σct of a run of pixels of one band."""
    p1, t1, c1, p2, t2, c2, pt, ct = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for x in range(start, stop):
        p = np.float64(images[0, band, y, x])
        c = np.float64(images[1, band, y, x])
        t = np.float64(clear[band, y, x])
        p1 += p
        t1 += t
        c1 += c
        p2 += p * p
        t2 += t * t
        c2 += c * c
        pt += p * t
        ct += c * t
    first = _MOMENTS * band
    row[first] += p1
    row[first + 1] += t1
    row[first + 2] += c1
    row[first + 3] += p2
    row[first + 4] += t2
    row[first + 5] += c2
    row[first + 6] += pt
    row[first + 7] += ct


def measure_further(
    images: Images,
    clear: Images,
    group: NDArray[np.uint8],
    protocol: Protocol,
    bands: Sequence[str],
) -> Floats:
    r"""Sums behind the further metrics: moments of each band, gradients, the input's NDVI error.

    The gradient of a band at a pixel is the forward difference to the right and downwards,
    :math:`|\nabla i| = |i_{y,x+1} - i_{y,x}| + |i_{y+1,x} - i_{y,x}|`, in reflectance per pixel,
    and :math:`|\nabla p - \nabla t|` the same of :math:`p - t`. Pixels in the last row or column of
    the protocol's window have no gradient. A pixel counts for its own group, whatever its
    neighbours are.

    Args:
        images: Prediction (not clipped) and cloudy input, reflectance, shape (2, B, H, W).
        clear: Shape (B, H, W).
        group: Of each pixel, as ``GROUPS`` says, shape (H, W).
        protocol: Its window is cut out of the centre of all arrays.
        bands: Their names; without ``red`` and ``nir`` no pixel has an NDVI.

    Returns:
        Shape (``GROUPS``, len(``further_sums``)), columns in the order of ``further_sums``.

    Raises:
        BenchError: The images have another number of bands.
    """
    expect_bands(clear, bands)
    sums = np.zeros((GROUPS, len(further_sums(bands))))
    positions = ndvi_bands(bands)
    arrays = (centre_crop(array, protocol.window) for array in (images, clear, group))
    _add_further(*arrays, *(positions or (0, 0)), sums)
    if positions is None:
        sums[:, -2:] = 0
    return sums
