"""The metrics of ``kernels.py`` written independently as tensor operations: a reference for tests.

No loop over pixels, no shared code but the constants of the definitions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from planetcr_bench.evaluation.loading import ScenePixels
from planetcr_bench.metrics.protocols import Protocol
from planetcr_bench.metrics.ssim_map import SSIM_C1, SSIM_C2, TAPS, gaussian_taps
from planetcr_bench.metrics.sums import GROUPS, SUMS


def measure(scene: ScenePixels, protocol: Protocol) -> np.ndarray:
    """Sums of one scene under one protocol, shape (groups, columns)."""
    images, clear = (
        torch.from_numpy(array)[None].double() for array in (scene.images, scene.clear)
    )
    return _measure(images, clear, torch.from_numpy(scene.group)[None], protocol)[0].numpy()


def _measure(images: Tensor, clear: Tensor, group: Tensor, protocol: Protocol) -> Tensor:
    """Images (N, 2, 4, H, W), clear (N, 4, H, W), group (N, H, W) in; (N, groups, columns) out."""
    images, clear, group = (_crop(tensor, protocol.window) for tensor in (images, clear, group))
    prediction, cloudy = images.unbind(1)
    angle = _angles_deg(images, clear, protocol.sam_norm_floor)
    ndvi_error = (_ndvi(prediction) - _ndvi(clear)).abs()
    ssim = _ssim_maps(images, clear, protocol)
    border = (group.shape[-1] - ssim.shape[-1]) // 2
    ssim = torch.nn.functional.pad(ssim, (border,) * 4, value=math.nan)
    absolute, input_absolute = ((image - clear).abs().sum(1) for image in (prediction, cloudy))
    ones = torch.ones_like(angle[:, 0])
    maps = {
        "pixels": ones,
        "values": ones * clear.shape[1],
        "absolute_error": absolute,
        "squared_error": (prediction - clear).square().sum(1),
        "angle_deg": angle[:, 0].nan_to_num(),
        "angle_pixels": _counted(angle[:, 0]),
        "ssim": ssim[:, 0].nan_to_num(),
        "ssim_pixels": _counted(ssim[:, 0]),
        "ndvi_error": ndvi_error.nan_to_num(),
        "ndvi_pixels": _counted(ndvi_error),
        "out_of_range": ((prediction < 0) | (prediction > 1)).double().sum(1),
        "worse_pixels": (absolute > input_absolute).double(),
        "prediction_cloudy": (prediction - cloudy).abs().sum(1),
        "cloudy_clear": input_absolute,
        "input_squared_error": (cloudy - clear).square().sum(1),
        "input_angle_deg": angle[:, 1].nan_to_num(),
        "input_angle_pixels": _counted(angle[:, 1]),
        "input_ssim": ssim[:, 1].nan_to_num(),
    }
    stacked = torch.stack([maps[name] for name in SUMS], -1).flatten(1, 2)
    groups = torch.arange(GROUPS, device=group.device)[:, None]
    return torch.stack(
        [
            (scene == groups).double() @ values
            for scene, values in zip(group.flatten(1), stacked, strict=True)
        ]
    )


def _crop(tensor: Tensor, size: int) -> Tensor:
    if not size:
        return tensor
    top, left = ((side - size) // 2 for side in tensor.shape[-2:])
    return tensor[..., top : top + size, left : left + size].contiguous()


def _counted(values: Tensor) -> Tensor:
    return (~values.isnan()).double()


def _angles_deg(images: Tensor, clear: Tensor, floor: float) -> Tensor:
    dot = (images * clear[:, None]).sum(2)
    image_norm = images.square().sum(2).clamp(min=floor)
    clear_norm = clear.square().sum(1).clamp(min=floor)[:, None]
    return (dot / (image_norm * clear_norm).sqrt()).clamp(-1, 1).acos() * (180 / math.pi)


def _ndvi(image: Tensor) -> Tensor:
    red, near_infrared = image[:, 2], image[:, 3]
    total = red + near_infrared
    return ((near_infrared - red) / total).clamp(-1, 1).masked_fill(total <= 0, math.nan)


def _ssim_maps(images: Tensor, clear: Tensor, protocol: Protocol) -> Tensor:
    taps = gaussian_taps(protocol.ssim_centre).tolist()
    target = clear[:, None]
    planes = torch.stack(
        [images, target.expand_as(images), images.square() + target.square(), images * target]
    )
    planes = torch.nn.functional.pad(planes, (protocol.ssim_padding,) * 4)
    image_mean, target_mean, squares, products = _filter(_filter(planes, taps, -2), taps, -1)
    means = image_mean * target_mean
    mean_squares = image_mean.square() + target_mean.square()
    similarity = (2 * means + SSIM_C1) * (2 * (products - means) + SSIM_C2)
    similarity /= (mean_squares + SSIM_C1) * (squares - mean_squares + SSIM_C2)
    maps: Tensor = similarity.mean(2)
    return maps


def _filter(planes: Tensor, taps: Sequence[float], dim: int) -> Tensor:
    size = planes.shape[dim] - TAPS + 1
    filtered = planes.narrow(dim, 0, size) * taps[0]
    for offset, weight in enumerate(taps[1:], start=1):
        filtered.add_(planes.narrow(dim, offset, size), alpha=weight)
    return filtered
