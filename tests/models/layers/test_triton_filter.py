"""The filter's kernels for GPUs against its definition: interpreted, compiled and, with one, run.

Triton decides on import whether it interprets, so what is interpreted runs in another process.
"""

from __future__ import annotations

import itertools
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
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.testing import assert_close

triton = pytest.importorskip("triton", reason="Triton is not installed here")

from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.runtime.jit import JITFunction  # noqa: E402

from planetcr_models.errors import InputError  # noqa: E402
from planetcr_models.layers import dynamic_filter, triton_filter  # noqa: E402
from planetcr_models.layers.triton_filter import filter_backward, filter_forward  # noqa: E402

SLOPE = 0.1
LAYOUTS = ("channels first", "channels last", "tap-major")
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


def lay_out(image: Tensor, layout: str) -> Tensor:
    last = layout != "channels first"
    return image.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


def problem(
    shape: tuple[int, int, int, int],
    dtype: torch.dtype = torch.float64,
    layout: str = "channels first",
    *,
    taps: int = 25,
    device: str = "cpu",
) -> Three:
    """Features, raw kernels and the gradient of the result."""
    generator = torch.Generator().manual_seed(0)
    batch, channels, height, width = shape
    draws = [
        torch.randn(batch, count * channels, height, width, generator=generator)
        for count in (1, taps, 1)
    ]
    features, raw, gradient = (lay_out(draw.to(device, dtype), layout) for draw in draws)
    if layout == "tap-major":
        raw = raw.unflatten(1, (taps, channels)).transpose(1, 2)
    return features, raw, gradient


def defined(features: Tensor, raw: Tensor, gradient: Tensor) -> Three:
    """Result and gradients, in float64, of the image unfolded."""
    features, raw = (tensor.detach().double().requires_grad_() for tensor in (features, raw))
    kernels = F.leaky_relu(raw, SLOPE).reshape(*features.shape[:2], -1, *features.shape[2:])
    size = math.isqrt(kernels.shape[2])
    windows = F.unfold(F.pad(features, (size // 2,) * 4, mode="replicate"), size)
    out = (kernels * windows.view_as(kernels)).sum(2)
    return out.detach(), *torch.autograd.grad(out, (features, raw), gradient.double())


def ours(features: Tensor, raw: Tensor, gradient: Tensor, *, reuse: bool = False) -> Three:
    out = filter_forward(features, raw, SLOPE)
    return out, *filter_backward(gradient, features, raw, SLOPE, reuse=reuse)


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
    ("layout", "shape"),
    [
        *itertools.product(LAYOUTS[:1], [(2, 1, 5, 7), (1, 2, 16, 16)]),
        *itertools.product(LAYOUTS[1:], [(2, 3, 5, 7), (1, 2, 16, 16)]),
        pytest.param(LAYOUTS[0], (1, 1, 33, 20), marks=pytest.mark.slow),
        *(pytest.param(layout, (1, 3, 33, 20), marks=pytest.mark.slow) for layout in LAYOUTS[1:]),
        *itertools.product(LAYOUTS[1:], [(1, 40, 2, 1)]),  # more channels than a tile has
    ],
)
def test_result_and_gradients_are_as_defined(
    interpret: Interpret, shape: tuple[int, int, int, int], layout: str
) -> None:
    answers = interpret(solve, shape, torch.float64, layout)
    features, raw, gradient = problem(shape, torch.float64, layout)
    assert_agree(answers, defined(features, raw, gradient), torch.float64)
    assert answers[0].stride() == answers[1].stride() == features.stride()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES[1:])
def test_every_type_is_summed_in_single_precision(
    interpret: Interpret, dtype: torch.dtype, layout: str
) -> None:
    shape = (1, 2, 9, 6)
    answers = interpret(solve, shape, dtype, layout)
    assert_agree(answers, defined(*problem(shape, dtype, layout)), dtype)


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


def solve_crops() -> Three:
    """Rows with gaps, channels with gaps, and a gradient that repeats one number."""
    features, raw, _ = crops()
    return ours(features, raw, torch.ones(()).double().expand_as(features), reuse=True)


def crops() -> Three:
    features, raw, gradient = problem((2, 4, 8, 9))
    return (
        features[:, ::2, 1:6, 2:8],
        raw[:, 20:70, 1:6, 2:8],
        torch.ones_like(gradient[:, ::2, 1:6, 2:8]),
    )


def test_crops_are_read_rightly(interpret: Interpret) -> None:
    assert_agree(interpret(solve_crops), defined(*crops()), torch.float64)


def solve_in_place(layout: str) -> tuple[bool, Three]:
    features, raw, gradient = problem((1, 2, 5, 7), layout=layout)
    answers = ours(features, raw, gradient, reuse=True)
    return answers[2].data_ptr() == raw.data_ptr(), answers


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_gradient_may_take_the_place_of_the_kernels(interpret: Interpret, layout: str) -> None:
    in_place, answers = interpret(solve_in_place, layout)
    assert in_place
    assert_agree(answers, defined(*problem((1, 2, 5, 7), layout=layout)), torch.float64)


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
        return forwards, ours(*tensors, reuse=True)


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
        return ours(*problem((2, 3, 5, 7), layout="tap-major"))
    finally:
        triton_filter.SHORT_REACH = short


def test_long_offsets_change_nothing(interpret: Interpret) -> None:
    expected = defined(*problem((2, 3, 5, 7), layout="tap-major"))
    assert_agree(interpret(solve_far), expected, torch.float64)


class Filter(torch.autograd.Function):
    """Predicts kernels, filters, and predicts them again for the gradient."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, hidden: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(features, hidden, weight)
        return filter_forward(features, F.conv2d(hidden, weight), SLOPE)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Three:
        features, hidden, weight = ctx.saved_tensors
        raw = F.conv2d(hidden, weight)
        to_features, to_raw = filter_backward(gradient, features, raw, SLOPE, reuse=True)
        to_hidden = torch.einsum("bnyx,nh->bhyx", to_raw, weight[:, :, 0, 0])
        to_weight = torch.einsum("bnyx,bhyx->nh", to_raw, hidden)
        return to_features, to_hidden, to_weight.view_as(weight)


def filter_and_double(*inputs: Tensor) -> Tensor:
    return 2 * Filter.apply(*inputs)


def train(device: str, dtype: torch.dtype, backend: str | None) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    shapes = (2, 2, 5, 4), (2, 3, 5, 4), (50, 3, 1, 1)
    inputs = [torch.randn(shape, generator=generator).to(device, dtype) for shape in shapes]
    inputs = [tensor.requires_grad_() for tensor in inputs]
    torch.compiler.reset()
    step = filter_and_double
    if backend:
        step = torch.compile(step, backend=backend, fullgraph=True)
    step(*inputs).square().sum().backward()
    return tuple(tensor.grad for tensor in inputs)


def gradcheck() -> bool:
    generator = torch.Generator().manual_seed(2)
    shapes = (1, 2, 4, 3), (1, 2, 4, 3), (50, 2, 1, 1)
    inputs = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    return torch.autograd.gradcheck(
        Filter.apply, [tensor.requires_grad_() for tensor in inputs], fast_mode=True
    )


@pytest.mark.slow
def test_the_gradient_is_that_of_finite_differences(interpret: Interpret) -> None:
    assert interpret(gradcheck)


@pytest.mark.slow
def test_a_compiled_graph_goes_through(interpret: Interpret) -> None:
    plain, compiled = (interpret(train, "cpu", torch.float64, b) for b in (None, "aot_eager"))
    for got, expected in zip(compiled, plain, strict=True):
        assert_close(got, expected)


def check_operators() -> None:
    features, raw, gradient = problem((1, 2, 4, 3), layout="channels last")
    taps = raw.unflatten(1, (2, 25)).flatten(-2)
    torch.library.opcheck(triton_filter._forward, (features, taps, SLOPE))
    torch.library.opcheck(triton_filter._backward, (gradient, features, taps, SLOPE))
    torch.library.opcheck(triton_filter._backward_in_place, (gradient, features, taps, SLOPE))


@pytest.mark.slow
def test_the_operators_are_well_behaved(interpret: Interpret) -> None:
    interpret(check_operators)


@pytest.mark.parametrize("shape", [(2, 74, 5, 7), (2, 75, 5, 8), (1, 75, 5, 7), (2, 3, 24, 5, 7)])
def test_kernels_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    features, _, _ = problem((2, 3, 5, 7))
    with pytest.raises(InputError, match=r"expected kernels for features of shape \(2, 3, 5, 7\)"):
        filter_forward(features, torch.zeros(shape).double(), SLOPE)


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
    found = re.search(r"STACK:(\d+)", done.stdout)
    assert found
    return int(found[1])


@pytest.mark.parametrize("layout", ["channels first", "tap-major"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("capability", [80, 90])
def test_kernels_compile_as_they_would_be_launched(
    capability: int,
    dtype: torch.dtype,
    layout: str,
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
    ours(*problem((1, 96, 16, 16), dtype, layout))
    assert set(compiled) == {"_filter_tile", "_gradient_tile", "_fold_tile"}
    for kernel in compiled.values():
        assert f".target sm_{capability}" in kernel.asm["ptx"]
        if layout == "tap-major":
            assert spilled_bytes(kernel.asm["cubin"], tmp_path) == 0
            loads = set(re.findall(r"[ls]d\.global\S*", kernel.asm["ptx"]))
            assert all(".v4.b32" in load for load in loads), loads


# --- run ------------------------------------------------------------------------------------------

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@on_gpu
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (2, 96, 33, 20), (3, 100, 16, 16)])
def test_a_gpu_agrees(shape: tuple[int, int, int, int], dtype: torch.dtype, layout: str) -> None:
    tensors = problem(shape, dtype, layout, device="cuda")
    expected = defined(*tensors)
    first, second, in_place = ours(*tensors), ours(*tensors), ours(*tensors, reuse=True)
    assert_agree(first, expected, dtype)
    for one, other in itertools.chain(
        zip(first, second, strict=True), zip(first, in_place, strict=True)
    ):
        assert torch.equal(one, other)


@on_gpu
def test_a_gpu_counts_beyond_two_billion() -> None:
    if torch.cuda.mem_get_info()[0] < 16 * 2**30:
        pytest.skip("needs 16 GiB of free GPU memory")
    features = torch.randn(2, 96, 680, 680, device="cuda", dtype=torch.bfloat16)
    raw = torch.randn(2, 2400, 680, 680, device="cuda", dtype=torch.bfloat16)
    whole = ours(features, raw, features)
    second = ours(features[1:], raw[1:], features[1:])
    for one, other in zip(whole, second, strict=True):
        assert torch.equal(one[1:], other)


@on_gpu
def test_a_gpu_runs_a_compiled_graph() -> None:
    plain, compiled = (train("cuda", torch.float64, b) for b in (None, "inductor"))
    for got, expected in zip(compiled, plain, strict=True):
        assert_close(got, expected)
