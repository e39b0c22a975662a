"""Run a test on the CPU, and on a GPU where there is one."""

from __future__ import annotations

import pytest
import torch

on_gpu = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]
"""Marks of a parameter, or by :func:`needs_gpu` of a whole test."""

every_device = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=on_gpu)])
"""On the CPU the test compares it with itself, so that the test itself has been run."""

PRECISIONS = {
    "cpu": {"32": 0.0, "bf16": 0.05},
    "cuda": {"32": 1e-4, "tf32": 0.02, "bf16": 0.05, "fp16": 0.02},
}
"""Largest difference from float32 on the CPU, in standard deviations of the result."""

every_precision = pytest.mark.parametrize(
    ("device", "precision"),
    [
        pytest.param(device, precision, marks=() if device == "cpu" else on_gpu)
        for device, precisions in PRECISIONS.items()
        for precision in precisions
    ],
)


def needs_gpu(test):
    """Skip a test without a GPU."""
    for mark in on_gpu:
        test = mark(test)
    return test
