"""Provide narrow networks of every method, and images for them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from planetcr_models import create_model
from planetcr_models.networks.base import Restorer

_ALIGN = {"width": 16, "growth": 8, "stages": 2, "layers": 1, "extractors": 1}
NARROW: dict[str, dict[str, Any]] = {
    "mcgan": {"width": 4, "depth": 5},
    "spa_gan": {"width": 8},
    "sar_opt_cgan": {"width": 4, "depth": 5},
    "dsen2_cr": {"width": 8, "blocks": 2},
    "glf_cr": {"width": 16, "growth": 8, "stages": 2, "layers": 2, "drop_path": 0.0},
    "align_cr_no_sar": _ALIGN,
    "align_cr_no_align": _ALIGN,
    "align_cr": _ALIGN,
}


def narrow(name: str, *, seed: int = 0, **options: Any) -> Restorer:
    """A narrow network; what starts at zero is given values, so that it has a say."""
    torch.manual_seed(seed)
    model = create_model(name, **(NARROW[name] | options))
    for parameter in model.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, 0, 0.1)
    return model


def images(
    batch: int = 1, size: tuple[int, int] = (40, 52), *, bands: int = 4, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Cloudy images and SAR at its native grid, both uniform noise in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    native = tuple(round(0.3 * side) for side in size)
    cloudy = torch.rand(batch, bands, *size, generator=generator)
    return cloudy, torch.rand(batch, 2, *native, generator=generator)
