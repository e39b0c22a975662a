"""Metrics for training loops: torchmetrics whose states are the sums of a ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric as TorchMetric
from torchmetrics import MetricCollection

from planetcr_bench.errors import ArrayError
from planetcr_bench.metrics.arrays import Pair, class_sums, pair_of, protocol_of
from planetcr_bench.metrics.protocols import Protocol
from planetcr_bench.metrics.registry import HEADLINE, METRICS
from planetcr_bench.metrics.sums import Floats

DEFAULT: Final = (*HEADLINE, "rmse")


class RatioMetric(TorchMetric):
    """One metric, whose states are its sums over all that was seen, in float64.

    Where the protocol averages scenes, they are the sum of the scenes' scores and their number.
    Processes add their states, so the result does not depend on how scenes were shared.

    Args:
        name: Of a row of ``METRICS``.
        protocol: ``full`` or ``official``.
        bands: Names of the bands; by default blue, green, red, nir of four.
    """

    full_state_update = False
    is_differentiable = False
    sums: Tensor

    def __init__(
        self, name: str, *, protocol: str = "full", bands: Sequence[str] | None = None
    ) -> None:
        super().__init__()
        self.name, self._bands = name, bands
        self._protocol: Protocol = protocol_of(protocol)
        count = 2 if self._protocol.pool == "scene-mean" else len(METRICS[name].columns)
        self.add_state("sums", torch.zeros(count, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor, mask: Tensor | None = None) -> None:
        """Add a batch.

        Args:
            preds: Reflectance, shape (N, B, H, W) or (B, H, W).
            target: The clear images, of the same shape.
            mask: True where a pixel counts, shape (N, H, W) or (H, W).

        Raises:
            ArrayError: Tensors that cannot be scored.
        """
        pair = pair_of(preds, target, mask=mask, bands=self._bands)
        self.sums += torch.from_numpy(self._sums(pair)).to(self.sums.device)

    def _sums(self, pair: Pair) -> Floats:
        metric, protocol = METRICS[self.name], self._protocol
        sums = class_sums(pair, protocol, metric.columns)
        columns = np.array([sums[column].sum(1) for column in metric.columns])
        if protocol.pool == "pixels":
            total: Floats = columns.sum(1)
            return total
        scores = metric.score(*columns, perfect=protocol.perfect_psnr)
        known = ~np.isnan(scores)
        return np.array([scores[known].sum(), known.sum()], np.float64)

    def compute(self) -> Tensor:
        """The score, float64; nan if nothing was seen."""
        sums = self.sums.cpu().numpy()
        if self._protocol.pool == "scene-mean":
            score = sums[0] / sums[1] if sums[1] else np.nan
        else:
            score = float(METRICS[self.name].score(*sums, perfect=self._protocol.perfect_psnr))
        return torch.tensor(score, dtype=torch.float64)


class CloudRemovalMetrics(MetricCollection):
    """The paper's four metrics and RMSE, for training and validation loops.

    Scores are those of a ledger of the same images. Update it with a batch of any size, compute it
    at the end of an epoch; with several processes torchmetrics adds their sums first, and the
    result is that of one process.

    Args:
        protocol: ``full`` (one ratio over all pixels) or ``official`` (the mean of scenes).
        metrics: Names of metrics of the ledger's plain sums: ``mae``, ``psnr``, ``sam_deg``,
            ``ssim``, ``rmse``, ``ndvi_error``.
        bands: Names of the bands; by default blue, green, red, nir of four.
        prefix: Before the names of results, such as ``val_``.

    Raises:
        ArrayError: A metric is not one of these.
    """

    def __init__(
        self,
        protocol: str = "full",
        *,
        metrics: Sequence[str] = DEFAULT,
        bands: Sequence[str] | None = None,
        prefix: str | None = None,
    ) -> None:
        known = (*DEFAULT, "ndvi_error")
        for name in metrics:
            if name not in known:
                raise ArrayError(f"metrics: expected {', '.join(known)}, got {name!r}")
        each = {name: RatioMetric(name, protocol=protocol, bands=bands) for name in metrics}
        super().__init__(dict(each), prefix=prefix, compute_groups=False)
