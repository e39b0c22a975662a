"""Provide generated patches: smooth land, translucent clouds, informative radar."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from torch.nn import functional as F

from planetcr_models.training.patches import Patch


class MadeUp:
    """Patches in memory, from a seed.

    Args:
        count: How many.
        side: In optical pixels, a multiple of the cell.
        cell: Optical pixels over the same extent as a whole number of radar pixels.
    """

    def __init__(self, count: int, *, side: int = 40, cell: int = 10, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)

        def smooth(bands: int, size: int) -> torch.Tensor:
            coarse = torch.rand(
                count, bands, max(2, side // 10), max(2, side // 10), generator=generator
            )
            return F.interpolate(coarse, (size, size), mode="bicubic", align_corners=False).clamp(
                0, 1
            )

        self.side, self.cell = side, cell
        land = smooth(4, side)
        scale = torch.tensor([0.08, 0.12, 0.16, 0.4]).view(1, 4, 1, 1)
        self.clear = ((0.5 + land) / 1.5 * scale).float().numpy()
        cover = smooth(1, side)
        thick = ((cover - 0.4) * 3).clamp(0, 0.6).numpy()
        self.mask = thick[:, 0] > 0
        self.cloudy = (self.clear * (1 - thick) + 0.8 * thick).astype(np.float32)
        radar = F.interpolate(land[:, :2], (side // cell * (3 * cell // 10),) * 2, mode="area")
        self.sar = radar.float().numpy()
        self.land_cover = (land[:, 0] * 6.99).byte().numpy()

    def __len__(self) -> int:
        return len(self.clear)

    @property
    def smallest(self) -> int:
        return self.side

    def size(self, index: int) -> tuple[int, int]:
        assert 0 <= index < len(self)
        return self.side, self.side

    def read(self, index: int, *, top: int = 0, left: int = 0, size: int | None = None) -> Patch:
        size = size or self.side
        rows, columns = slice(top, top + size), slice(left, left + size)
        radar = 3 * self.cell // 10  # pixels of a cell
        coarse = tuple(
            slice(x // self.cell * radar, (x + size) // self.cell * radar) for x in (top, left)
        )
        return SimpleNamespace(
            cloudy=self.cloudy[index, :, rows, columns],
            clear=self.clear[index, :, rows, columns],
            sar=self.sar[index, :, coarse[0], coarse[1]],
            cloud_mask=self.mask[index, rows, columns],
            land_cover=self.land_cover[index, rows, columns],
        )


class Failing(MadeUp):
    """Patches that cannot be read.

    Args:
        error: Why.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(6)
        self.error = error

    def read(self, *_: int, **__: int | None) -> Patch:
        raise self.error
