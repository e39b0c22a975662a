"""The filter's kernels for GPUs against its definition: interpreted, compiled and, with one, run.

Triton decides on import whether it interprets, so what is interpreted runs in another process.
"""

from __future__ import annotations

import math
import multiprocessing
import re
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from on_devices import needs_gpu

triton = pytest.importorskip("triton", reason="Triton is not installed here")

from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.runtime.jit import JITFunction  # noqa: E402

from planetcr_models.layers import dynamic_filter, triton_filter  # noqa: E402
from planetcr_models.layers.triton_filter import filter_backward, filter_forward  # noqa: E402

SLOPE = 0.1
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
Three = tuple[Tensor, Tensor, Tensor]
Interpret = Callable[..., Any]

LOAD = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location(name, path)
sys.modules[name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules[name])
"""


def without_overflow_checks() -> None:
    """Leave out the slow checks for integer overflow, which only debug mode reports."""
    from triton.runtime.interpreter import interpreter_builder as builder

    builder.options = replace(builder.options, sanitize_overflow=False)


@pytest.fixture(scope="module")
def interpret() -> Iterator[Interpret]:
    """Calls a function of this file where Triton's kernels run on numpy."""
    with ProcessPoolExecutor(
        1,
        multiprocessing.get_context("spawn"),
        initializer=exec,
        initargs=(LOAD, {"name": __name__, "path": __file__}),
    ) as process:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TRITON_INTERPRET", "1")
            process.submit(without_overflow_checks).result()  # starts it
        yield lambda function, *arguments: process.submit(function, *arguments).result()


# --- problems and their answers -------------------------------------------------------------------


def problem(
    shape: tuple[int, int, int, int],
    dtype: torch.dtype = torch.float64,
    *,
    taps: int = 25,
    device: str = "cpu",
) -> Three:
    """Features, raw kernels and the gradient of the result, channels innermost in memory."""
    generator = torch.Generator().manual_seed(0)
    batch, channels, height, width = shape
    features, raw, gradient = (
        torch.randn(batch, height, width, count * channels, generator=generator)
        .to(device, dtype)
        .permute(0, 3, 1, 2)
        for count in (1, taps, 1)
    )
    return features, raw.unflatten(1, (taps, channels)).transpose(1, 2), gradient


def defined(features: Tensor, raw: Tensor, gradient: Tensor) -> Three:
    """Result and gradients, in float64, of the image unfolded."""
    features, raw = (tensor.detach().double().requires_grad_() for tensor in (features, raw))
    kernels = F.leaky_relu(raw, SLOPE).reshape(*features.shape[:2], -1, *features.shape[2:])
    size = math.isqrt(kernels.shape[2])
    windows = F.unfold(F.pad(features, (size // 2,) * 4, mode="replicate"), size)
    out = (kernels * windows.view_as(kernels)).sum(2)
    return out.detach(), *torch.autograd.grad(out, (features, raw), gradient.double())


def ours(features: Tensor, raw: Tensor, gradient: Tensor) -> Three:
    raw = raw.clone()  # the backward pass overwrites it
    out = filter_forward(features, raw, SLOPE)
    return out, *filter_backward(gradient, features, raw, SLOPE)


def assert_agree(got: Three, expected: Three, dtype: torch.dtype) -> None:
    """As near as one rounding, up or down, of a sum in float32 comes."""
    wide = torch.promote_types(dtype, torch.float32)
    for mine, exact in zip(got, expected, strict=True):
        assert mine.dtype == dtype
        rtol, atol = torch.finfo(dtype).eps, 100 * torch.finfo(wide).eps
        assert_close(mine.double(), exact, rtol=rtol, atol=atol)


# --- interpreted ----------------------------------------------------------------------------------


def solve(*arguments: Any) -> Three:
    return ours(*problem(*arguments))


@pytest.mark.parametrize(
    "shape",
    [
        (2, 3, 5, 7),
        (1, 2, 16, 16),
        (1, 40, 2, 1),  # more channels than a tile has
        pytest.param((1, 3, 33, 20), marks=pytest.mark.slow),
    ],
)
def test_result_and_gradients_are_as_defined(
    interpret: Interpret, shape: tuple[int, int, int, int]
) -> None:
    answers = interpret(solve, shape)
    features, raw, gradient = problem(shape)
    assert_agree(answers, defined(features, raw, gradient), torch.float64)
    assert answers[0].stride() == answers[1].stride() == features.stride()


@pytest.mark.parametrize("dtype", DTYPES[1:])
def test_every_type_is_summed_in_single_precision(interpret: Interpret, dtype: torch.dtype) -> None:
    shape = (1, 2, 9, 6)
    assert_agree(interpret(solve, shape, dtype), defined(*problem(shape, dtype)), dtype)


def solve_with(taps: int, shape: tuple[int, int, int, int]) -> Three:
    return ours(*problem(shape, taps=taps))


@pytest.mark.parametrize(
    ("taps", "shape"), [(1, (1, 2, 3, 4)), (9, (2, 2, 4, 5)), (49, (1, 1, 3, 2))]
)
def test_other_sizes_of_kernels(
    interpret: Interpret, taps: int, shape: tuple[int, int, int, int]
) -> None:
    expected = defined(*problem(shape, taps=taps))
    assert_agree(interpret(solve_with, taps, shape), expected, torch.float64)


def solve_backwards() -> tuple[Three, Three]:
    """The same with the programs in the opposite order."""
    from triton.runtime.interpreter import interpreter_builder as builder

    start = builder.set_grid_idx
    tensors = problem((1, 2, 18, 20), torch.float32)
    forwards = ours(*tensors)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            builder, "set_grid_idx", lambda x, y, z: start(builder.grid_dim[0] - 1 - x, y, z)
        )
        return forwards, ours(*tensors)


def predicting(fused: bool) -> list[Tensor]:
    """Result and gradients of the whole step that networks take, by these kernels or without."""
    generator = torch.Generator().manual_seed(0)
    tensors = [
        torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        for shape in ((2, 3, 5, 7), (2, 6, 5, 7), (75, 6, 1, 1), (75,))
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dynamic_filter, "_fused", lambda _: fused)
        out = dynamic_filter.predict_and_filter(*tensors, slope=SLOPE)
        gradients = torch.autograd.grad(out.square().sum(), tensors)
    return [out.detach(), *gradients]


def test_networks_that_predict_the_kernels_get_the_same(interpret: Interpret) -> None:
    for got, want in zip(interpret(predicting, True), predicting(False), strict=True):
        assert_close(got, want, rtol=0, atol=1e-10)


@pytest.mark.slow
def test_the_order_of_the_programs_changes_no_bit(interpret: Interpret) -> None:
    for forwards, backwards in zip(*interpret(solve_backwards), strict=True):
        assert torch.equal(forwards, backwards)


def solve_far() -> Three:
    triton_filter.SHORT_REACH, short = 0, triton_filter.SHORT_REACH
    try:
        return ours(*problem((2, 3, 5, 7)))
    finally:
        triton_filter.SHORT_REACH = short


def test_long_offsets_change_nothing(interpret: Interpret) -> None:
    expected = defined(*problem((2, 3, 5, 7)))
    assert_agree(interpret(solve_far), expected, torch.float64)


# --- compiled without a GPU -----------------------------------------------------------------------


class NoGpu:
    """What Triton asks of a driver before it compiles."""

    def __init__(self, capability: int) -> None:
        self.capability = capability

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", self.capability, 32)

    def get_current_device(self) -> int:
        return -self.capability

    def get_current_stream(self, device: int) -> int:  # noqa: ARG002
        return 0


def spilled_bytes(cubin: bytes, folder: Path) -> int:
    file = folder / "kernel.cubin"
    file.write_bytes(cubin)
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    done = subprocess.run([tool, "-res-usage", file], capture_output=True, text=True, check=True)
    match = re.search(r"STACK:(\d+)", done.stdout)
    assert match
    return int(match[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("capability", [80, 90])
def test_kernels_compile_as_they_would_be_launched(
    capability: int,
    dtype: torch.dtype,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    compiled = {}
    run = JITFunction.run

    def compile_only(kernel: Any, *args: Any, **options: Any) -> None:
        compiled[kernel.__name__] = run(kernel, *args, **(options | {"warmup": True}))

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(triton.runtime.driver, "_active", NoGpu(capability))
    monkeypatch.setattr(JITFunction, "run", compile_only)
    ours(*problem((1, 96, 16, 16), dtype))
    assert set(compiled) == {"_filter_tile", "_gradient_tile", "_fold_tile"}
    for kernel in compiled.values():
        assert f".target sm_{capability}" in kernel.asm["ptx"]
        assert spilled_bytes(kernel.asm["cubin"], tmp_path) == 0
        loads = set(re.findall(r"[ls]d\.global\S*", kernel.asm["ptx"]))
        assert all(".v4.b32" in load for load in loads), loads


# --- run ------------------------------------------------------------------------------------------


@needs_gpu
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (2, 96, 33, 20), (3, 100, 16, 16)])
def test_a_gpu_agrees(shape: tuple[int, int, int, int], dtype: torch.dtype) -> None:
    tensors = problem(shape, dtype, device="cuda")
    first, second = ours(*tensors), ours(*tensors)
    assert_agree(first, defined(*tensors), dtype)
    for result, again in zip(first, second, strict=True):
        assert torch.equal(result, again)


@needs_gpu
def test_a_gpu_counts_beyond_two_billion() -> None:
    if torch.cuda.mem_get_info()[0] < 24 * 2**30:  # kernels and gradients, 4.4 GB each, and copies
        pytest.skip("needs 24 GiB of free GPU memory")
    features, gradient = (
        torch.randn(2, 680, 680, 96, device="cuda", dtype=torch.bfloat16).permute(0, 3, 1, 2)
        for _ in range(2)
    )
    raw = torch.randn(2, 680, 680, 25, 96, device="cuda", dtype=torch.bfloat16)
    raw = raw.permute(0, 4, 3, 1, 2)
    whole = ours(features, raw, gradient)
    second = ours(features[1:], raw[1:], gradient[1:])
    for result, alone in zip(whole, second, strict=True):
        assert torch.equal(result[1:], alone)
