"""Time networks, Align-CR and GLF-CR next to their published form, which is written out plainly.

Both forms hold the same weights, through a file as the authors write it. Ours is trained as `train`
does: weights channels-last on a GPU, fused Adam; of a GAN, the generator alone is. Times are
medians of calls, which take turns on a CPU; memory is what a call needs on top of weights and
optimiser state, gradients included.

    PYTHONPATH=tests/models .venv/bin/python tests/speed/networks.py
"""

from __future__ import annotations

import argparse
import functools
import gc
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from parity.fill import rule_a, rule_b
from plain import PlainAlignCR, PlainGLFCR
from planetcr_models import create_model
from planetcr_models.inference import tf32
from planetcr_models.networks.methods import list_models
from planetcr_models.weights.authors import load_checkpoint

PLAIN: dict[str, Callable[[], nn.Module]] = {
    "align_cr": PlainAlignCR,
    "glf_cr": functools.partial(PlainGLFCR, drop_path=0.2),  # as ours is trained
}
RULES: dict[str, Callable] = {"align_cr": rule_b, "glf_cr": functools.partial(rule_a, gain=0.7)}
TINY = 32

# A fresh process per figure, and an allocator that gives each tensor of 64 KiB or more pages of its
# own and returns them at once: the high-water mark is then what lived at the same time, not what
# the heap kept. This slows allocation down, so times are taken without it.
RETURN_FREED_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": "65536",  # set by hand, it no longer grows by itself
    "MALLOC_MMAP_MAX_": "1000000",
    "MALLOC_TRIM_THRESHOLD_": "65536",
    "MALLOC_ARENA_MAX": "1",
}


AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """Plain or ours; in IEEE float32, TF32 or by autocast; compiled, or with CUDA graphs too."""

    name: str
    ours: bool = True
    precision: str = "32"
    compiled: bool = False
    graphs: bool = False


PUBLISHED = Variant(name="plain-32", ours=False)
OURS = Variant(name="ours-32")
VARIANTS = {
    "cpu": (PUBLISHED, OURS),
    "cuda": (  # the most important first, should time run out
        PUBLISHED,
        Variant(name="ours-bf16", precision="bf16"),
        OURS,
        Variant(name="ours-tf32", precision="tf32"),
        Variant(name="plain-tf32", ours=False, precision="tf32"),
        Variant(name="plain-bf16", ours=False, precision="bf16"),
        Variant(name="ours-fp16", precision="fp16"),
        Variant(name="ours-32-compiled", compiled=True),
        Variant(name="ours-bf16-compiled", precision="bf16", compiled=True),
        Variant(name="ours-bf16-graphs", precision="bf16", compiled=True, graphs=True),
    ),
}

# --- what is measured -----------------------------------------------------------------------------


def write_weights(network: str, path: Path) -> None:
    """A file as the authors' training writes it; its offsets and gates do something."""
    state = PLAIN[network]().state_dict()
    filled = {
        key: torch.from_numpy(RULES[network](key, tuple(t.shape))) for key, t in state.items()
    }
    torch.save({"network": {f"module.{key}": t.float() for key, t in filled.items()}}, path)


def build(network: str, variant: Variant, path: Path) -> nn.Module:
    if network not in PLAIN:
        torch.manual_seed(0)
        return create_model(network)
    if variant.ours:
        return load_checkpoint(network, path)
    model = PLAIN[network]()
    state = torch.load(path, weights_only=True)["network"]
    model.load_state_dict({key.removeprefix("module."): t for key, t in state.items()})
    return model


def images(batch: int, size: int, device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Cloudy, SAR on the optical grid, clear: smooth noise, of a seed."""
    generator = torch.Generator().manual_seed(batch * 1000 + size)
    coarse = torch.rand(batch, 10, size // 8, size // 8, generator=generator)
    fine = nn.functional.interpolate(coarse, scale_factor=8, mode="bilinear")
    cloudy, sar, clear = fine.to(device).split((4, 2, 4), dim=1)
    return cloudy, sar, clear


class Subject:
    """A network in one variant, and the two things that are done with it."""

    def __init__(self, network: str, variant: Variant, path: Path, device: str) -> None:
        self.variant, self.device = variant, device
        self.model = build(network, variant, path).to(device)
        if variant.ours and device == "cuda":
            self.model = self.model.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=1e-5, fused=True if variant.ours else None
        )
        mode = "reduce-overhead" if variant.graphs else None
        self.call = torch.compile(self.model, mode=mode) if variant.compiled else self.model

    def predict(self, cloudy: Tensor, sar: Tensor) -> Tensor:
        dtype = AUTOCAST.get(self.variant.precision)
        with torch.autocast(self.device, dtype, enabled=dtype is not None):
            return self.call(cloudy, sar)

    def forward(self, cloudy: Tensor, sar: Tensor, _clear: Tensor) -> Tensor:
        self.model.eval()
        with torch.no_grad(), tf32(enabled=self.variant.precision == "tf32"):
            return self.predict(cloudy, sar)

    def step(self, cloudy: Tensor, sar: Tensor, clear: Tensor) -> None:
        self.model.train()
        self.optimizer.zero_grad()
        with tf32(enabled=self.variant.precision == "tf32"):
            (self.predict(cloudy, sar).float() - clear).abs().mean().backward()
        self.optimizer.step()

    def action(self, name: str) -> Callable[..., Tensor | None]:
        return {"forward": self.forward, "step": self.step}[name]


# --- time and memory ------------------------------------------------------------------------------


def seconds(call: Callable[[], object], device: str) -> float:
    if device == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start.record()
        call()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / 1000
    start_s = time.perf_counter()
    call()
    return time.perf_counter() - start_s


def median_seconds(subjects: list[Subject], action: str, options: argparse.Namespace, device: str):
    """Of each subject; they take turns, so that a busy moment meets all of them."""
    data = images(batch_size(options, device), options.size, device)
    warm_up = images(1, TINY, device) if device == "cpu" else data
    for subject in subjects:
        for _ in range(1 if device == "cpu" else 3):  # the GPU's first calls compile and choose
            subject.action(action)(*warm_up)
    taken: dict[str, list[float]] = {subject.variant.name: [] for subject in subjects}
    for _ in range(options.repeats):
        for subject in subjects:
            call = functools.partial(subject.action(action), *data)
            taken[subject.variant.name].append(seconds(call, device))
    return {name: statistics.median(times) for name, times in taken.items()}


def cuda_mebibytes(subject: Subject, action: str, options: argparse.Namespace) -> float:
    data = images(batch_size(options, "cuda"), options.size, "cuda")
    subject.optimizer.zero_grad()
    gc.collect()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    subject.action(action)(*data)
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def resident_mebibytes(line: str) -> float:
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(entry.split()[1]) for entry in status if entry.startswith(line)) / 1024


def print_own_mebibytes(job: dict) -> None:
    """What a fresh process does: one small call, then the one that counts (Linux only)."""
    torch.set_num_threads(job["threads"])
    subject = Subject(job["network"], Variant(**job["variant"]), Path(job["path"]), "cpu")
    call, data = subject.action(job["action"]), images(job["batch"], job["size"], "cpu")
    call(*images(1, TINY, "cpu"))
    subject.optimizer.zero_grad()
    gc.collect()
    before = resident_mebibytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    call(*data)
    sys.stdout.write(json.dumps(resident_mebibytes("VmHWM") - before))


def cpu_mebibytes(
    network: str, variant: Variant, action: str, path: Path, options: argparse.Namespace
) -> float:
    if not Path("/proc/self/clear_refs").exists():
        return math.nan
    job = {
        "network": network,
        "variant": asdict(variant),
        "action": action,
        "path": str(path),
        "batch": batch_size(options, "cpu"),
        "size": options.size,
        "threads": torch.get_num_threads(),
    }
    done = subprocess.run(
        [sys.executable, __file__, "--job", json.dumps(job)],
        env=os.environ | RETURN_FREED_MEMORY,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return float(json.loads(done.stdout))


# --- the table ------------------------------------------------------------------------------------


@dataclass(slots=True)
class Row:
    """One variant of a network; ``difference`` is that of its output from the first variant's."""

    device: str
    network: str
    variant: Variant
    difference: float = math.nan
    seconds: dict[str, float] = field(default_factory=dict)
    mebibytes: dict[str, float] = field(default_factory=dict)
    error: str = ""


def ratio(row: Row, rows: list[Row], unit: str, action: str) -> float:
    """How many times less than the plain form in float32, or than ours where there is none."""
    peers = [other for other in rows if other.network == row.network]
    kind = PUBLISHED if row.network in PLAIN else OURS
    plain = next((other for other in peers if other.variant is kind), row)
    if plain is row:
        return math.nan
    return getattr(plain, unit).get(action, math.nan) / getattr(row, unit).get(action, math.nan)


def cells(row: Row, rows: list[Row], actions: list[str]) -> list[str]:
    made = [row.network, row.variant.name]
    for unit, digits in (("seconds", 3), ("mebibytes", 0)):
        for action in actions:
            less = ratio(row, rows, unit, action)
            made.append(f"{getattr(row, unit).get(action, math.nan):.{digits}f}")
            made.append("" if math.isnan(less) else f"{less:.2f} ×")
    return [*made, row.error or f"{row.difference:.1e}"]


def print_table(rows: list[Row], actions: list[str]) -> None:
    header = ["network", "variant"]
    header += [cell for action in actions for cell in (f"{action} s", "faster")]
    header += [cell for action in actions for cell in (f"peak MiB {action}", "smaller")]
    header.append("max abs difference")
    body = [cells(row, rows, actions) for row in rows]
    widths = [max(len(line[i]) for line in [header, *body]) for i in range(len(header))]
    ruler = ["-" * width for width in widths]
    for line in (header, ruler, *body):
        print("| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |")


def without_nan(line: dict[str, object]) -> dict[str, object]:
    """JSON has no NaN."""
    return {key: v for key, v in line.items() if not (isinstance(v, float) and math.isnan(v))}


def write_json(rows: list[Row], options: argparse.Namespace) -> None:
    """Write all rows so far, with their ratios."""
    table = [
        {
            "device": torch.cuda.get_device_name() if row.device == "cuda" else processor(),
            "network": row.network,
            "variant": row.variant.name,
            "batch": batch_size(options, row.device),
            "size": options.size,
            **{f"{action}_seconds": value for action, value in row.seconds.items()},
            **{f"{action}_mebibytes": value for action, value in row.mebibytes.items()},
            **{f"{action}_faster": ratio(row, rows, "seconds", action) for action in row.seconds},
            **{
                f"{action}_smaller": ratio(row, rows, "mebibytes", action) for action in row.seconds
            },
            "max_abs_difference": row.difference,
            "error": row.error,
        }
        for row in rows
    ]
    partial = options.json.with_suffix(".partial")
    partial.write_text(json.dumps([without_nan(line) for line in table], indent=1))
    partial.replace(options.json)


def batch_size(options: argparse.Namespace, device: str) -> int:
    return options.batch or (1 if device == "cpu" else 12)


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def print_machine(options: argparse.Namespace) -> None:
    print(f"{options.size} × {options.size} pixels, {options.repeats} repeats, torch", end=" ")
    print(f"{torch.__version__}, Python {platform.python_version()}")
    name = f"{processor()}, {torch.get_num_threads()} threads"
    if options.device == "cuda":
        name = torch.cuda.get_device_name()
    print(f"{options.device}: {name}, batch {batch_size(options, options.device)}\n")


def measure(network: str, path: Path, options: argparse.Namespace) -> Iterator[Row]:
    """Rows of a network: on a GPU one after the other, on a CPU all at the end."""
    device, names = options.device, options.variants or [v.name for v in VARIANTS[options.device]]
    variants = [v for v in VARIANTS["cuda"] if v.name in names and (v.ours or network in PLAIN)]
    groups = [[variant] for variant in variants]
    if device == "cpu" and variants:
        groups = [variants]
    reference: list[Tensor] = []
    for group in groups:
        rows = [Row(device, network, variant) for variant in group]
        try:
            measure_together(rows, reference, path, options)
        except torch.OutOfMemoryError:
            for row in rows:
                row.error = "out of memory"
        gc.collect()
        if device == "cuda":
            torch.cuda.empty_cache()
        for row in rows:
            for action in options.actions if device == "cpu" else ():
                row.mebibytes[action] = cpu_mebibytes(network, row.variant, action, path, options)
            yield row


def measure_together(
    rows: list[Row], reference: list[Tensor], path: Path, options: argparse.Namespace
) -> None:
    """Fill rows of one network; ``reference`` takes the first output, for the others to compare."""
    torch.compiler.reset()  # networks share a forward, which is compiled a few times only
    network, device = rows[0].network, rows[0].device
    subjects = [Subject(network, row.variant, path, device) for row in rows]
    data = images(batch_size(options, device), options.size, device)
    for row, subject in zip(rows, subjects, strict=True):
        output = subject.forward(*data).float()
        if not reference:
            reference.append(output.clone())
        row.difference = float((output - reference[0]).abs().max())
    for action in options.actions:
        times = median_seconds(subjects, action, options, device)
        for row, subject in zip(rows, subjects, strict=True):
            row.seconds[action] = times[row.variant.name]
            if device == "cuda":
                row.mebibytes[action] = cuda_mebibytes(subject, action, options)


def parse() -> argparse.Namespace:
    names = [variant.name for variant in VARIANTS["cuda"]]
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--size", type=int, default=160, help="multiple of 16")
    parser.add_argument("--batch", type=int, help="default: 1 on the CPU, 12 on a GPU")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, help="default: PyTorch's")
    parser.add_argument("--networks", nargs="+", choices=list_models(), default=list(PLAIN))
    parser.add_argument(
        "--variants", nargs="+", choices=names, help="default: all on a GPU, else plain-32, ours-32"
    )
    parser.add_argument(
        "--actions", nargs="+", choices=["forward", "step"], default=["forward", "step"]
    )
    parser.add_argument("--json", type=Path, help="file for the rows, written as they come")
    parser.add_argument("--job", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.size < TINY or options.size % 16:
        parser.error("the plain networks take sizes that are multiples of 16, from 32 up")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: PyTorch finds no GPU")
    return options


def measure_all(options: argparse.Namespace) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        for network in options.networks:
            path = Path(folder) / f"{network}.pth"
            if network in PLAIN:
                write_weights(network, path)
            yield from measure(network, path, options)


def main() -> None:
    options = parse()
    if options.job:
        print_own_mebibytes(options.job)
        return
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.backends.cudnn.benchmark = True  # as `train` does
    print_machine(options)
    rows: list[Row] = []
    for row in measure_all(options):
        rows.append(row)
        if options.json:
            write_json(rows, options)
    print_table(rows, options.actions)


if __name__ == "__main__":
    main()
