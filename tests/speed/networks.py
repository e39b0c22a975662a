"""Time Align-CR and GLF-CR, and compare them with their published form.

Both hold the same weights, through a file as the authors write it. Times are medians of calls that
take turns; memory is what a call needs on top of weights and optimiser state, gradients included.

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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from parity.fill import rule_a, rule_b
from plain import PlainAlignCR, PlainGLFCR
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    name: str
    ours: bool = True
    bfloat16: bool = False
    channels_last: bool = False
    compiled: bool = False


PUBLISHED = Variant(name="plain", ours=False)
VARIANTS = {
    "cpu": (PUBLISHED, Variant(name="ours")),
    "cuda": (
        PUBLISHED,
        Variant(name="plain, bf16", ours=False, bfloat16=True),
        Variant(name="ours"),
        Variant(name="ours, compiled", compiled=True),
        Variant(name="ours, bf16", bfloat16=True),
        Variant(name="ours, bf16, channels last", bfloat16=True, channels_last=True),
        Variant(name="ours, bf16, compiled", bfloat16=True, compiled=True),
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
    if variant.ours:
        model: nn.Module = load_checkpoint(network, path)
    else:
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
        if variant.channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-5)
        self.call = torch.compile(self.model) if variant.compiled else self.model

    def predict(self, cloudy: Tensor, sar: Tensor) -> Tensor:
        if self.variant.channels_last:
            cloudy = cloudy.contiguous(memory_format=torch.channels_last)
            sar = sar.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.variant.bfloat16):
            return self.call(cloudy, sar)

    def forward(self, cloudy: Tensor, sar: Tensor, _clear: Tensor) -> Tensor:
        self.model.eval()
        with torch.no_grad():
            return self.predict(cloudy, sar)

    def step(self, cloudy: Tensor, sar: Tensor, clear: Tensor) -> None:
        self.model.train()
        self.optimizer.zero_grad()
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
        "variant": {"name": variant.name, "ours": variant.ours},
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
    device: str
    network: str
    variant: Variant
    difference: float
    seconds: dict[str, float]
    mebibytes: dict[str, float]


def aim(row: Row, action: str, unit: str) -> int | None:
    """How many times less time or memory than the plain float32 form we aim for."""
    if not row.variant.ours:
        return None
    if row.device == "cpu":
        return 2 if action == "forward" else None
    if action == "step" and row.variant.bfloat16:
        return 3 if unit == "seconds" else 2
    return None


def cells(row: Row, plain: Row, actions: list[str]) -> list[str]:
    made = [row.device, row.network, row.variant.name]
    for unit, digits in (("seconds", 3), ("mebibytes", 0)):
        for action in actions:
            mine, theirs = getattr(row, unit)[action], getattr(plain, unit)[action]
            target = aim(row, action, unit)
            goal = f" (aim {target})" if target else ""
            made += [f"{mine:.{digits}f}", "" if row is plain else f"{theirs / mine:.2f} ×{goal}"]
    return [*made, "" if row is plain else f"{row.difference:.1e}"]


def print_table(rows: list[Row], actions: list[str]) -> None:
    header = ["device", "network", "variant"]
    header += [cell for action in actions for cell in (f"{action} s", "faster")]
    header += [cell for action in actions for cell in (f"peak MiB {action}", "smaller")]
    header.append("max abs difference")
    body = []
    for row in rows:
        if row.variant is PUBLISHED:
            plain = row
        body.append(cells(row, plain, actions))
    widths = [max(len(line[i]) for line in [header, *body]) for i in range(len(header))]
    ruler = ["-" * width for width in widths]
    for line in (header, ruler, *body):
        print("| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |")


def batch_size(options: argparse.Namespace, device: str) -> int:
    return options.batch or (1 if device == "cpu" else 4)


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def print_machine(devices: list[str], options: argparse.Namespace) -> None:
    print(f"{options.size} × {options.size} pixels, {options.repeats} repeats, torch", end=" ")
    print(f"{torch.__version__}, Python {platform.python_version()}")
    for device in devices:
        batch = f"batch {batch_size(options, device)}"
        if device == "cpu":
            print(f"cpu: {processor()}, {torch.get_num_threads()} threads, {batch}, float32")
        else:
            tf32 = f"TF32 in convolutions {torch.backends.cudnn.allow_tf32}"
            tf32 += f", in products of matrices {torch.backends.cuda.matmul.allow_tf32}"
            print(f"cuda: {torch.cuda.get_device_name()}, {batch}, {tf32}")
    print()


def measure(
    network: str, device: str, path: Path, actions: list[str], options: argparse.Namespace
) -> list[Row]:
    torch.compiler.reset()  # both networks share a forward, and it is compiled a few times only
    subjects = [Subject(network, variant, path, device) for variant in VARIANTS[device]]
    data = images(batch_size(options, device), options.size, device)
    outputs = [subject.forward(*data).float() for subject in subjects]  # before any step
    rows = [
        Row(device, network, subject.variant, float((output - outputs[0]).abs().max()), {}, {})
        for subject, output in zip(subjects, outputs, strict=True)
    ]
    del outputs
    for action in actions:
        times = median_seconds(subjects, action, options, device)
        for row, subject in zip(rows, subjects, strict=True):
            row.seconds[action] = times[row.variant.name]
            if device == "cuda":
                row.mebibytes[action] = cuda_mebibytes(subject, action, options)
    if device == "cpu":
        subjects.clear()  # leaves the memory to the processes that count theirs
        for row in rows:
            for action in actions:
                peak = cpu_mebibytes(network, row.variant, action, path, options)
                row.mebibytes[action] = peak
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--size", type=int, default=160, help="multiple of 16")
    parser.add_argument("--batch", type=int, help="default: 1 on the CPU, 4 on a GPU")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, help="default: PyTorch's")
    parser.add_argument("--networks", nargs="+", choices=list(PLAIN), default=list(PLAIN))
    parser.add_argument("--train", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--job", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.size < TINY or options.size % 16:
        parser.error("the plain networks take sizes that are multiples of 16, from 32 up")
    if options.job:
        print_own_mebibytes(options.job)
        return
    if options.threads:
        torch.set_num_threads(options.threads)
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    if options.device != "auto":
        devices = [options.device]
    actions = ["forward", "step"] if options.train else ["forward"]
    print_machine(devices, options)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for network in options.networks:
            path = Path(folder) / f"{network}.pth"
            write_weights(network, path)
            for device in devices:
                rows += measure(network, device, path, actions, options)
    print_table(rows, actions)


if __name__ == "__main__":
    main()
