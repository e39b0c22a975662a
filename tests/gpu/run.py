"""Measure a GPU and train all methods on it, within a budget: by default nine minutes.

In order: step time and memory of Align-CR and GLF-CR next to their published form; the GPU tests,
while a dataset is simulated; step times of the other networks; the segmenter and all networks at
full width, each for the same number of seconds, their predictions, ledgers, and Tab. 2 and 3.

    python3 tests/gpu/run.py --out OUT

OUT receives summary.md, summary.json and results.tar.gz, which are written again after every part.
The same command resumes; finished parts are not repeated. `--toy --device cpu` tries the script on
a CPU.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib.util
import io
import json
import math
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import carried
from parts import Part, Result, Runner, last_json, write_json

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "benchmark"), str(ROOT / "models")]

from planetcr_models.networks.methods import list_models  # noqa: E402  # of this checkout
from planetcr_models.training.recipes import RECIPES  # noqa: E402  # likewise

STAGES = ("speed", "tests", "simulate", "others", "train", "results")
"""In the order in which they run: what is worth most comes first, should time run out."""

BUDGET = 540.0
LIMITS = {
    "environment": 60,
    "speed": 60,
    "tests": 75,
    "others": 30,
    "simulate": 75,
    "cache": 45,
    "segmenter": 55,
    "results": 90,
}
"""Seconds per part with the whole budget; what these leave is for training."""

PLAIN = ("align_cr", "glf_cr")
"""Networks whose published form is written out in tests/models/plain.py."""

VARIANTS = ("plain-32", "ours-bf16", "ours-32", "ours-tf32", "plain-tf32", "plain-bf16")
SEGMENTER_SECONDS = 25.0
LEAST_SECONDS = 3
SHORTENED = 5
"""Recipes are divided into this many times fewer epochs: validations take time, too."""

TOY = {
    "dsen2_cr": ("--model-arg", "width=8", "--model-arg", "blocks=2"),
    "mcgan": ("--model-arg", "width=4", "--model-arg", "depth=5", "--set", "width=4"),
    "segmenter": ("--model-arg", "encoder=resnet18"),
}
SHOWN = 11_500
"""Characters of the summary that the terminal shows: some keep the last 12,000 only."""


def fail(message: str) -> NoReturn:
    print(f"run.py: {message}", file=sys.stderr)
    sys.exit(1)


# --- options --------------------------------------------------------------------------------------


def positive(text: str) -> float:
    """A finite number above zero."""
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError(text)
    return value


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    add = parser.add_argument
    add("--budget", type=positive, default=BUDGET, metavar="SECONDS", help="of all; default: 540")
    add("--seconds", type=positive, help="of training per network; default: what the budget leaves")
    add("--out", type=Path, help="folder of the results; default: WORK/out")
    add("--work", type=Path, help="folder of all else; default: build/gpu, with --toy build/toy")
    add("--device", choices=["cuda", "cpu"], default="cuda", help="default: cuda")
    add("--precision", choices=["32", "tf32", "bf16", "fp16"], help="of training; default: bf16")
    add("--batch", type=int, default=12, help="of training and steps; default: 12")
    add("--methods", nargs="+", choices=list_models(), help="default: all eight")
    add("--variants", nargs="+", help=f"whose steps are timed; default: {' '.join(VARIANTS)}")
    add("--parts", nargs="+", choices=STAGES, default=STAGES, help="default: all")
    add("--toy", action="store_true", help="narrow networks, ten scenes, to try the script")
    options = parser.parse_args(arguments)
    if options.batch < 1:
        parser.error("--batch: expected 1 or more")
    if options.device == "cpu" and not options.toy:
        parser.error("--device cpu: networks of full width are not for a CPU; add --toy")
    options.methods = options.methods or [*(TOY if options.toy else list_models()[::-1])]
    options.methods = [name for name in dict.fromkeys(options.methods) if name != "segmenter"]
    if options.toy and not set(options.methods) <= set(TOY):
        parser.error("--toy has dsen2_cr and mcgan only")
    if options.variants is None:
        options.variants = VARIANTS if options.device == "cuda" else ("plain-32", "ours-32")
    options.precision = options.precision or ("32" if options.device == "cpu" else "bf16")
    options.work = (options.work or ROOT / "build" / ("toy" if options.toy else "gpu")).resolve()
    options.out = (options.out or options.work / "out").resolve()
    return options


def check_python() -> list[Path]:
    """Folders of carried packages; an end with one line if this Python lacks others."""
    folders = carried.provide()
    if old := carried.outdated():
        print(f"run.py: versions are older than this package asks for: {', '.join(old)}")
    if missing := carried.lacks():
        archive = carried.ARCHIVE.relative_to(ROOT)
        advice = "" if carried.ARCHIVE.exists() else f", or bring {archive} (make gpu-packages)"
        fail(f"{sys.executable} lacks {', '.join(missing)}: install them{advice}")
    return folders


def environment(folders: Sequence[Path]) -> dict[str, str]:
    """Of all commands: this checkout's code first, then carried packages."""
    tests = ROOT / "tests"
    own = [ROOT / "benchmark", ROOT / "models", tests, tests / "bench", tests / "models"]
    given = os.environ.get("PYTHONPATH", "")
    path = os.pathsep.join([*map(str, [*own, *folders]), *filter(None, [given])])
    return os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "MPLBACKEND": "Agg"}


# --- what runs ------------------------------------------------------------------------------------


class Plan:
    """The parts of each stage.

    Args:
        options: See :func:`parse`.
        gpu: Short name of the device, such as ``h200``.
        cores: Processors of this machine.
    """

    def __init__(self, options: argparse.Namespace, gpu: str, cores: int) -> None:
        self.options, self.gpu, self.cores = options, gpu, cores
        self.work: Path = options.work
        self.scale = options.budget / BUDGET
        self.data, self.results = self.work / "sim", self.work / "results"
        self.together = max(1, min(4, cores // 2))

    def limit(self, name: str) -> float:
        return LIMITS[name] * self.scale

    def bench(self, *words: object) -> tuple[str, ...]:
        return (sys.executable, "-m", "planetcr_bench", *map(str, words))

    def run_name(self, method: str, seconds: float) -> str:
        width = "toy" if self.options.toy else "full"
        return f"{method}-{width}-{seconds:g}s-{self.gpu}"

    # step times

    def _speed(self, name: str, networks: Sequence[str], limit: float) -> Part:
        options, file = self.options, self.work / f"{name.replace(' ', '-')}.json"
        size, repeats = (32, 1) if options.toy else (160, 5)
        command = [sys.executable, ROOT / "tests/speed/networks.py", "--device", options.device]
        command += ["--networks", *networks, "--variants", *options.variants, "--json", file]
        command += ["--batch", 1 if options.toy else options.batch, "--size", size]
        command += ["--repeats", repeats, "--actions", "step"]
        return Part(
            name=name,
            command=tuple(map(str, command)),
            limit=limit,
            says=functools.partial(say_speed, file),
        )

    def speed(self) -> list[Part]:
        """Networks that have a published form: a part each."""
        limit = self.limit("speed")
        wanted = [name for name in PLAIN if name in self.options.methods]
        return [self._speed(f"speed {name}", [name], limit) for name in wanted]

    def others(self) -> list[Part]:
        """The other networks, all in one part."""
        names = [name for name in self.options.methods if name not in PLAIN]
        names = ["spa_gan"] if self.options.toy else names  # small at full width
        return [self._speed("speed others", names, self.limit("others"))] if names else []

    # GPU tests

    def tests(self) -> list[Part]:
        files = gpu_tests()
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--color=no"]
        command += ["--junitxml", str(self.work / "tests.xml")]
        if self.options.toy:
            command += [file for file in files if "dynamic_filter" in file]
        else:
            command += ["-m", "gpu", *files]
        if self.together > 1 and importlib.util.find_spec("xdist"):
            command += ["-n", str(self.together)]
        return [
            Part(name="tests", command=tuple(command), limit=self.limit("tests"), says=say_tests)
        ]

    # training

    def simulate(self) -> list[Part]:
        size = ("tiny",) if self.options.toy else ("demo", "--train", 2000)
        command = self.bench("simulate", self.data, "--size", *size)
        return [Part(name="simulate", command=command, limit=self.limit("simulate"))]

    def _train(self, method: str, *words: object) -> tuple[str, ...]:
        options, recipe = self.options, RECIPES[method]
        fitted: list[object] = ["--set", f"epochs={max(1, recipe.epochs // SHORTENED)}"]
        if method == "segmenter":
            fitted = ["--set", "epochs=3"]  # its rate follows the share of the budget
        else:
            fitted += ["--set", f"constant_epochs={recipe.constant_epochs // SHORTENED}"]
            fitted += ["--set", f"halve_every={max(1, recipe.halve_every // SHORTENED)}"]
            fitted += ["--batch", options.batch]
        if options.toy:
            fitted = ["--set", "epochs=1", "--batch", 2, "--crop", 40, "--val-share", 0]
            fitted += ["--loader-workers", 0, *TOY[method]]
        else:
            fitted += ["--val-scenes", 8]
        return self.bench(
            "train", method, "--data", self.data, "--cache", self.work / "cache", "--device",
            options.device, "--precision", options.precision, *fitted, "--json", *words,
        )  # fmt: skip

    def cache(self) -> list[Part]:
        """Decode the training scenes for all trainings."""
        method = self.options.methods[0]
        command = self._train(method, "--dry-run", "--out", self.work / "dry-run")
        limit = self.limit("cache")
        return [Part(name="cache", command=command, limit=limit, needs=("simulate",), says=say_dry)]

    def segmenter(self) -> list[Part]:
        minutes = (0.5 if self.options.toy else SEGMENTER_SECONDS * self.scale) / 60
        out = self.work / "train/segmenter"
        command = self._train("segmenter", "--minutes", f"{minutes:.6g}", "--out", out)
        return [
            Part(
                name="train segmenter",
                command=command,
                limit=self.limit("segmenter"),
                needs=("simulate",),
                says=say_training,
            )
        ]

    def seconds(self, runner: Runner) -> float:
        """Equal training time of every network, chosen once and kept for a resumed run."""
        file = self.work / "seconds.json"
        if self.options.seconds:
            return self.options.seconds
        with contextlib.suppress(FileNotFoundError):
            return float(json.loads(file.read_text()))
        after = self.limit("results") if "results" in self.options.parts else 0
        each = (runner.left() - after) / len(self.options.methods)
        seconds = max(LEAST_SECONDS, math.floor(each - overhead(runner)))
        write_json(file, seconds)
        return seconds

    def train(self, seconds: float, extra: float) -> list[Part]:
        parts = []
        for method in self.options.methods:
            out = self.work / "train" / self.run_name(method, seconds)
            command = self._train(method, "--minutes", f"{seconds / 60:.6g}", "--out", out)
            parts.append(
                Part(
                    name=f"train {method}",
                    command=command,
                    limit=seconds + max(20.0, 2 * extra),
                    needs=("simulate",),
                    says=say_training,
                )
            )
        return parts

    # results

    def predict_and_evaluate(self, seconds: float, runner: Runner) -> list[Part]:
        """Predict and evaluate every network and a baseline, with the segmenter if it is there."""
        options, parts = self.options, []
        workers = 0 if options.toy else max(0, self.cores // self.together - 1)
        runs = {} if options.toy else {"mean-fill": "mean-fill"}
        runs |= {self.run_name(method, seconds): method for method in options.methods}
        segmenter: list[object] = []
        if runner.ok("train segmenter"):
            segmenter = ["--segmenter", self.work / "train/segmenter/best.safetensors"]
            segmenter += ["--device", options.device]
        for run, method in runs.items():
            predictions, trained = self.work / "preds" / run, method in options.methods
            words: list[object] = ["predict", method, "--data", self.data, "--out", predictions]
            if trained:
                words += ["--weights", self.work / "train" / run / "best.safetensors"]
                words += ["--device", options.device]
                words += ["--precision", "32" if options.precision in ("32", "tf32") else "bf16"]
            else:
                words += ["--workers", workers]
            parts.append(
                Part(
                    name=f"predict {method}",
                    command=self.bench(*words, "--json"),
                    limit=self.limit("results"),
                    needs=(f"train {method}",) if trained else ("simulate",),
                )
            )
            words = ["evaluate", predictions, "--data", self.data, "--results", self.results]
            words += ["--name", run, "--workers", workers, *segmenter]
            parts.append(
                Part(
                    name=f"evaluate {method}",
                    command=self.bench(*words, "--json"),
                    limit=self.limit("results"),
                    needs=(f"predict {method}",),
                    says=say_scores,
                )
            )
        return parts

    def compare(self, evaluated: Sequence[Part], runner: Runner) -> list[Part]:
        """Tab. 2 and 3 of all runs that are evaluated."""
        done = [part for part in evaluated if part.name[:8] == "evaluate" and runner.ok(part.name)]
        names = [part.command[part.command.index("--name") + 1] for part in done]
        ledgers = sorted(path for name in names for path in self.results.glob(f"*/{name}"))
        if not ledgers:
            return []
        command = self.bench("compare", *ledgers, "--out", self.results / "comparison")
        return [Part(name="compare", command=command, limit=self.limit("results"))]


def overhead(runner: Runner) -> float:
    """Seconds that a training takes beside its steps, by that of the segmenter."""
    result = runner.results.get("train segmenter")
    with contextlib.suppress(ValueError, KeyError, TypeError, OSError):
        trained = 60 * last_json(runner.log("train segmenter").read_text())["minutes"]
        if result is not None and result.verdict == "ok":
            return 1.2 * max(0.0, result.seconds - trained)
    return 15.0


def gpu_tests() -> list[str]:
    """Files with tests for a GPU; others may import what a bare machine lacks."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return [str(file) for file in files if "\nfrom on_devices import" in file.read_text()]


# --- what the logs say ----------------------------------------------------------------------------


def say_speed(file: Path, _: str) -> str:
    rows = json.loads(file.read_text()) if file.exists() else []
    told = [
        f"{row['network']} {row['variant']} {1000 * row['step_seconds']:.0f} ms"
        + (f" ({row['step_faster']:.2f} × faster" if "step_faster" in row else "")
        + (f", {row['step_smaller']:.2f} × smaller)" if "step_faster" in row else "")
        for row in rows
        if row["variant"] in ("plain-32", "ours-32", "ours-bf16") and "step_seconds" in row
    ]
    return "; ".join(told)


def say_tests(log: str) -> str:
    lines = [line.strip("= ") for line in log.splitlines() if re.search(r" in [\d.]+s", line)]
    failed = re.findall(r"^(?:FAILED|ERROR) \S*?([^/\s]+?)(?: - |$)", log, re.MULTILINE)
    return "; ".join([*lines[-1:], *failed[:8]])


def say_dry(log: str) -> str:
    estimate = last_json(log)
    return f"{estimate['step']:.0f} samples/s, loader alone {estimate['loader']:.0f}"


def say_training(log: str) -> str:
    outcome = last_json(log)
    scores = ", ".join(f"{key} {value:.4g}" for key, value in list(outcome["scores"].items())[:4])
    return f"{outcome['steps']} steps in {60 * outcome['minutes']:.1f} s; {scores}".rstrip("; ")


def say_scores(log: str) -> str:
    scores = last_json(log)["protocols"]["full"]["overall"]
    return f"full: MAE {scores['mae']:.4f}, PSNR {scores['psnr']:.2f} dB, SSIM {scores['ssim']:.3f}"


# --- results --------------------------------------------------------------------------------------


class Report:
    """Writes the results so far: ``summary.json``, ``summary.md`` and ``results.tar.gz``."""

    def __init__(self, options: argparse.Namespace, machine: dict[str, Any]) -> None:
        self.options, self.machine = options, machine
        self.seconds: float | None = None
        options.out.mkdir(parents=True, exist_ok=True)

    def write(self, results: Sequence[Result]) -> None:
        content = {
            "machine": self.machine,
            "options": {key: str(value) for key, value in vars(self.options).items()},
            "seconds_of_training": self.seconds,
            "parts": [asdict(result) for result in results],
            "speed": self.speed(),
        }
        write_json(self.options.out / "summary.json", content)
        (self.options.out / "summary.md").write_text(self.text(results))
        self._pack()

    def speed(self) -> list[dict[str, Any]]:
        files = sorted(self.options.work.glob("speed-*.json"))
        return [row for file in files for row in json.loads(file.read_text())]

    def text(self, results: Sequence[Result]) -> str:
        """The summary as Markdown."""
        gpu, versions = self.machine["gpu"], self.machine["versions"]
        name = f"{gpu['name']}, {gpu['gib']} GiB" if gpu else "no GPU"
        blocks = [f"# {name}", ", ".join(f"{key} {value}" for key, value in versions.items())]
        speed = [
            [row["network"], row["variant"], row.get("error") or f"{row['step_seconds']:.4f}"]
            + [f"{row[key]:.2f} ×" if key in row else "" for key in ("step_faster",)]
            + [f"{row['step_mebibytes']:,.0f}" if "step_mebibytes" in row else ""]
            + [f"{row[key]:.2f} ×" if key in row else "" for key in ("step_smaller",)]
            for row in self.speed()
            if row.get("error") or "step_seconds" in row
        ]
        if speed:
            header = ["Network", "Variant", "Step [s]", "Faster", "Peak [MiB]", "Smaller"]
            blocks += [f"## Training step, batch {self._batch()}", table(header, speed)]
        blocks += [aim(row) for row in self.speed() if "step_faster" in row and is_target(row)]
        rows = [[part.name, part.verdict, f"{part.seconds:.0f}", part.note] for part in results]
        blocks += ["## Parts", table(["Part", "Verdict", "Seconds", ""], rows)]
        log = self.options.work / "logs/compare.log"
        if any(part.name == "compare" and part.verdict == "ok" for part in results):
            told = log.read_text().partition("\n")[2].partition("\nReport:")[0]
            title = "All networks" if self.options.toy else "All networks at full width"
            blocks += [f"## {title}, {self.seconds:g} s of training each", f"```\n{told}```"]
        return "\n\n".join(blocks) + "\n"

    def _batch(self) -> int:
        return 1 if self.options.toy else self.options.batch

    def _pack(self) -> None:
        """Ledgers, comparison, learning curves, step times and logs."""
        work, partial = self.options.work, self.options.out / "results.tar.gz.partial"
        patterns = (
            "logs/*.log", "speed-*.json", "tests.xml", "train/*/steps.csv", "train/*/epochs.csv",
            "train/*/recipe.toml", "train/segmenter/*.json", "train/segmenter/*.toml",
            "results/*/*/ledger.parquet", "results/*/*/run.json", "results/*/*/card.toml",
            "results/comparison/report.md", "results/comparison/*/*",
        )  # fmt: skip
        files = {path for pattern in patterns for path in work.glob(pattern) if path.is_file()}
        with tarfile.open(partial, "w:gz") as archive:
            for path in sorted(files):
                with contextlib.suppress(FileNotFoundError):  # a part may be replacing it
                    content = path.read_bytes()
                    entry = tarfile.TarInfo(str(path.relative_to(work)))
                    entry.size, entry.mtime = len(content), int(path.stat().st_mtime)
                    archive.addfile(entry, io.BytesIO(content))
        partial.replace(self.options.out / "results.tar.gz")


def is_target(row: dict[str, Any]) -> bool:
    """Whether a step time is of the form that `train --precision bf16` runs."""
    return row["variant"] == "ours-bf16" and row["network"] in PLAIN


def aim(row: dict[str, Any]) -> str:
    """How a training step in bf16 compares with the published form in float32."""
    return (
        f"{row['network']}: in bf16 a training step is {row['step_faster']:.2f} × as fast as the "
        f"published form in float32 (aim: at least 3) and takes {1 / row['step_smaller']:.2f} of "
        "its memory (aim: at most 0.5)."
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["--"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# --- the whole ------------------------------------------------------------------------------------


def examine(environment: dict[str, str], limit: float) -> dict[str, Any]:
    """Versions, the GPU, and what does not work, from a process of its own."""
    command = [sys.executable, str(ROOT / "tests/gpu/environment.py")]
    try:
        done = subprocess.run(
            command, env=environment, timeout=limit, capture_output=True, text=True, check=False
        )
        return dict(last_json(done.stdout))
    except subprocess.TimeoutExpired:
        fail(f"importing PyTorch took more than {limit:.0f} s; try again with a longer --budget")
    except ValueError:
        fail(f"this Python does not work: {done.stderr.strip()[-500:]}")


def run_stages(plan: Plan, runner: Runner, report: Report) -> None:
    parts = plan.options.parts
    if "speed" in parts:
        runner.run(plan.speed())
    both = [*(plan.tests() if "tests" in parts else ())]
    both += plan.simulate() if "simulate" in parts else ()  # it needs processors, no GPU
    runner.run(both, together=min(2, plan.together))
    if "others" in parts:
        runner.run(plan.others())
    if "train" in parts:
        runner.run([*plan.cache(), *plan.segmenter()])
        report.seconds = plan.seconds(runner)
        runner.run(plan.train(report.seconds, overhead(runner)))
    if "results" in parts:
        report.seconds = report.seconds or plan.seconds(runner)
        evaluated = plan.predict_and_evaluate(report.seconds, runner)
        runner.run(evaluated, together=plan.together)
        runner.run(plan.compare(evaluated, runner))


def interrupted(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    start = time.monotonic()
    options = parse(arguments)
    surroundings = environment(check_python())
    signal.signal(signal.SIGTERM, interrupted)
    machine = examine(surroundings, LIMITS["environment"] * max(1.0, options.budget / BUDGET))
    gpu = machine["gpu"]
    if options.device == "cuda" and gpu is None:
        fail("PyTorch finds no GPU; --toy --device cpu tries the script without one")
    for name, error in machine["errors"].items():
        print(f"run.py: {name} does not work here: {error}; parts that need it will fail")
    short = re.sub(r"^nvidia\W*|\W.*$", "", gpu["name"], flags=re.IGNORECASE) if gpu else "cpu"
    plan = Plan(options, short.lower(), machine["versions"]["cores"])
    try:
        report = Report(options, machine)
        runner = Runner(options.work, start + options.budget, surroundings, report.write)
    except OSError as error:
        fail(f"--out, --work: {error.filename}: {error.strerror}; choose folders to write to")
    code = 0
    try:
        run_stages(plan, runner, report)
    except KeyboardInterrupt:
        runner.stop()
        print("run.py: interrupted; the same command resumes")
        code = 130
    results = [*runner.results.values()]
    print(f"\n{report.text(results)[-SHOWN:]}\nResults: {options.out}")
    return code or int(any(result.verdict != "ok" for result in results))


if __name__ == "__main__":
    sys.exit(main())
