"""Choose the device that a network runs on."""

from __future__ import annotations

import ctypes.util
import importlib.util
import re

from planetcr_bench.errors import (
    BenchError,
    MissingExtraError,
    UsageError,
)


def choose_device(device: str) -> str:
    """Turn ``auto``, ``cpu``, ``cuda`` or ``cuda:N`` into an available device.

    Raises:
        MissingExtraError: CUDA is requested and PyTorch is not installed.
        UsageError: An unknown device.
        BenchError: CUDA is requested and not available.
    """
    if device == "cpu":
        return device
    if device == "auto":
        driver = ctypes.util.find_library("cuda") is not None
        if not driver or importlib.util.find_spec("torch") is None:
            return "cpu"
    elif re.fullmatch(r"cuda(:\d+)?", device) is None:
        raise UsageError(f"--device: expected auto, cpu, cuda or cuda:N, got {device!r}")
    elif importlib.util.find_spec("torch") is None:
        raise MissingExtraError(
            "--device cuda needs PyTorch: pip install 'planetcr-bench[models]', or use --device cpu"
        )
    import torch

    available = torch.cuda.is_available()
    if device == "auto":
        return "cuda" if available else "cpu"
    number = int(device.partition(":")[2] or 0)
    if not available or number >= torch.cuda.device_count():
        raise BenchError(
            f"--device: expected {device}, PyTorch finds no such GPU; use --device cpu"
        )
    return device
