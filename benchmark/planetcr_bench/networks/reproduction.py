"""A dataset in, the plan of its reference tables out: steps that are commands of this program."""

from __future__ import annotations

import difflib
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from planetcr_bench import __version__
from planetcr_bench.constants import PLANET_CR, PLANET_CR_TEST_SCENES
from planetcr_bench.data.fingerprint import fingerprint_of
from planetcr_bench.data.layout import find_scenes, read_track
from planetcr_bench.errors import BenchError, PredictionError, UsageError
from planetcr_bench.networks import training
from planetcr_bench.networks.methods import SEGMENTER, check_method
from planetcr_bench.networks.plan import Row, Step, describe
from planetcr_bench.predictions.baselines import METHODS as UNTRAINED
from planetcr_bench.predictions.format import CARD, read_card
from planetcr_bench.predictions.predict import Window
from planetcr_bench.results.ledger import SCHEMA_VERSION
from planetcr_bench.utils.files import file_sha256
from planetcr_bench.utils.untrusted import read_toml
from planetcr_models.errors import ModelError
from planetcr_models.networks.methods import list_models
from planetcr_models.training.checkpoint import BEST, CHECKPOINT, read_checkpoint
from planetcr_models.training.devices import Precision
from planetcr_models.training.recipes import RECIPES

MEMORY: Final = "plan.json"
"""File of the working folder that knows which steps are done."""

CENTRE: Final = "-window160"
"""Put behind the name of a run whose network saw the centre 160 × 160 alone."""

SETTINGS: Final = ("methods", "untrained", "suffix", "all")
"""Keys of a plan's file beside the names of methods."""

_FURTHER_SEGMENTER: Final = re.compile(rf"{SEGMENTER}-([2-9])")
"""Tables of segmenters beside the first, which show whether a ranking hangs on the segmenter."""

RUN: Final = {
    "encoder_weights": "encoder_weights",
    "val_share": "val_share",
    "val_scenes": "val_scenes",
    "micro_batches": "parts",
}
"""Options of ``train`` that a table may hold beside the recipe's keys, and a request's word."""

KINDS: Final = {
    "encoder_weights": str,
    "val_share": float | int,
    "val_scenes": int,
    "micro_batches": int,
    "seed": int,
    "options": dict,
}

Table = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReproductionConfig:
    """What is to be reproduced, and how; see the options of ``planetcr-bench reproduce``."""

    data: Path
    out: Path
    results: Path
    config: Path | None = None
    methods: tuple[str, ...] = ()
    device: str = "auto"
    devices: int = 1
    precision: Precision = "32"
    workers: int | None = None
    cache: bool = True
    optical_thickness: Path | None = None
    tables: Table = field(default_factory=dict)


def load_config(wish: ReproductionConfig) -> ReproductionConfig:
    """The same with what its file says.

    The file has ``methods`` and ``untrained`` (names), ``suffix`` (put behind the names of runs,
    for networks that are not the published ones), and a table for ``segmenter``, for a method, or
    for ``all`` of them, with changes of the recipe and ``options`` of the network. A table
    ``segmenter-2``, ``segmenter-3``, … adds a segmenter, which differs from the first by its seed
    and by what the table says.

    Raises:
        UsageError: The file cannot be read, or says something unknown.
    """
    said: dict[str, Any] = {}
    if wish.config is not None:
        said = read_toml(wish.config, error=UsageError)
    for key, value in said.items():
        _expect_entry(wish.config, key, value)
    methods = tuple(dict.fromkeys(wish.methods or said.get("methods", list_models())))
    for name in methods:
        check_method(name, own=False)
    for name in said.get("untrained", ()):
        if name not in UNTRAINED:
            raise UsageError(
                f"{wish.config}: untrained: expected {', '.join(UNTRAINED)}, got {name}"
            )
    return replace(wish, methods=methods, tables=said)


def _expect_entry(file: Path | None, key: str, value: Any) -> None:
    """Raise UsageError unless a plan's file may say this."""
    known = [*SETTINGS, *RECIPES]
    if key not in known and not _FURTHER_SEGMENTER.fullmatch(key):
        near = difflib.get_close_matches(key, known, 1)
        hint = f"did you mean {near[0]!r}? It" if near else "it"
        raise UsageError(f"{file}: has {key!r}; {hint} may have {', '.join(known)}")
    kind = {"methods": list, "untrained": list, "suffix": str}.get(key, dict)
    if not isinstance(value, kind):
        raise UsageError(f"{file}: expected {key} to be a {kind.__name__}")
    if kind is list and not all(isinstance(name, str) for name in value):
        raise UsageError(f"{file}: expected {key} to be names")
    for word, like in KINDS.items() if kind is dict else ():
        if word in value and not isinstance(value[word], like):
            raise UsageError(f"{file}: {key}.{word}: got {value[word]!r}")


def plan_of(wish: ReproductionConfig, hours: Mapping[str, float] | None = None) -> list[Step]:
    """Every step from the dataset to the tables, in order.

    A network predicts twice, from whole patches and from the centre that the authors' testers show
    it (:data:`CENTRE`): tables of ``full`` are made from the former runs, of ``official`` from the
    latter.

    Args:
        wish: As :func:`load_config` gives it.
        hours: Name of a step to how long it takes.

    Raises:
        BenchError: The dataset lacks a split, or an option makes no sense.
        ModelError: A recipe makes no sense.
    """
    hours = hours or {}
    track = read_track(wish.data, "test")
    scenes = find_scenes(wish.data, "test")
    seen = fingerprint_of(scenes)
    untrained = {name: name for name in wish.tables.get("untrained", ("copy-cloudy", "mean-fill"))}
    whole, centre = (
        {runs_of(wish, name)[window]: name for name in wish.methods}
        for window in ("whole", "official")
    )
    segmenters = {name: wish.out / "train" / name / BEST for name in segmenters_of(wish)}
    steps = []
    for name in (*segmenters, *wish.methods):
        request = request_of(wish, name)
        _, identity, _, _ = training.identify(request)
        weights = request.out / BEST
        made = (weights, weights.with_suffix(".json")) if name in segmenters else (weights,)
        steps.append(
            Step(
                name=f"train {name}",
                run=_Train(request, identity, train_arguments(request)),
                inputs={key: str(value) for key, value in identity.items()},
                reads=_encoder_file(request),
                writes=made,
                hours=hours.get(f"train {name}"),
            )
        )
    for run, name in {**untrained, **whole, **centre}.items():
        predictions, result = wish.out / "preds" / run, wish.results / track / run
        arguments = ["predict", name, "--data", str(wish.data), "--out", str(predictions)]
        trained = name in RECIPES
        window: Window = "official" if run in centre else "whole"
        weights = wish.out / "train" / name / BEST
        if trained:
            arguments += ["--weights", str(weights), "--device", wish.device]
            arguments += ["--window", window]
        steps.append(
            Step(
                name=f"predict {run}",
                run=_Predict(predictions, seen, weights if trained else None, window, arguments),
                inputs={"test": seen, "version": __version__, "window": window},
                reads=(weights,) if trained else (),
                writes=(predictions,),
                hours=hours.get(f"predict {name}"),
            )
        )
        thickness = wish.optical_thickness
        arguments = [
            "evaluate", str(predictions), "--data", str(wish.data), "--results",
            str(wish.results), "--name", run, "--device", wish.device,
            *(word for file in segmenters.values() for word in ("--segmenter", str(file))),
            *(("--optical-thickness", str(thickness)) if thickness is not None else ()),
        ]  # fmt: skip
        steps.append(
            Step(
                name=f"evaluate {run}",
                run=_Command(arguments),
                inputs={
                    "version": __version__,
                    "schema": str(SCHEMA_VERSION),
                    "optical_thickness": str(wish.optical_thickness is not None),
                },
                reads=(predictions, *segmenters.values()),
                writes=(result / "ledger.parquet", result / "run.json"),
            )
        )
    published = track == PLANET_CR and len(scenes) == PLANET_CR_TEST_SCENES
    for protocol, networks in (("official", centre), ("full", whole)):
        ledgers = [wish.results / track / run for run in (*untrained, *networks)]
        comparison = comparison_of(wish.results, protocol)
        arguments = ["compare", *map(str, ledgers)]
        arguments += ["--protocol", protocol, "--out", str(comparison)]
        if published and protocol == "official":
            arguments.append("--published")
        steps.append(
            Step(
                name=f"tables and figures, {protocol}",
                run=_Command(arguments),
                inputs={"runs": ", ".join((*untrained, *networks)), "version": __version__},
                reads=tuple(ledger / "ledger.parquet" for ledger in ledgers),
                writes=(comparison,),
            )
        )
    return steps


def comparison_of(results: Path, protocol: str) -> Path:
    """Folder of the tables and figures of all runs in one protocol."""
    return results / "comparison" / protocol


def runs_of(wish: ReproductionConfig, name: str) -> dict[Window, str]:
    """Window that a method's network sees to the name of its run; none for a segmenter."""
    run = f"{name}{wish.tables.get('suffix', '')}"
    return {"whole": run, "official": f"{run}{CENTRE}"} if name in wish.methods else {}


def segmenters_of(wish: ReproductionConfig) -> list[str]:
    """Names of the segmenters: ``segmenter``, and those that the file adds."""
    return [SEGMENTER, *sorted(filter(_FURTHER_SEGMENTER.fullmatch, wish.tables))]


def request_of(wish: ReproductionConfig, name: str) -> training.Request:
    """The request to train one method, or a segmenter."""
    own_table = wish.tables.get(name, {})
    if further := _FURTHER_SEGMENTER.fullmatch(name):
        first = wish.tables.get(SEGMENTER, {})
        seed = first.get("seed", RECIPES[SEGMENTER].seed) + int(further[1]) - 1
        table = {**first, "seed": seed, **own_table}
    elif name == SEGMENTER:
        table = dict(own_table)
    else:
        table = {**wish.tables.get("all", {}), **own_table}
    options = table.pop("options", {})
    own = {RUN[key]: table.pop(key) for key in RUN if key in table}
    return training.Request(
        name=SEGMENTER if further else name,
        data=wish.data,
        out=wish.out / "train" / name,
        changes=tuple(f"{key}={value}" for key, value in table.items()),
        options=tuple(f"{key}={value}" for key, value in options.items()),
        cache=wish.out / "cache" if wish.cache else None,
        device=wish.device,
        devices=wish.devices,
        precision=wish.precision,
        workers=wish.workers,
        **own,
    )


def _encoder_file(request: training.Request) -> tuple[Path, ...]:
    source = request.encoder_weights
    return () if source in (None, "imagenet") else (Path(str(source)),)


def train_arguments(request: training.Request) -> list[str]:
    """A request as a command."""
    given: dict[str, Any] = {
        "--data": request.data,
        "--out": request.out,
        "--cache": request.cache,
        "--encoder-weights": request.encoder_weights,
        "--val-share": request.val_share,
        "--val-scenes": request.val_scenes,
        "--micro-batches": request.parts,
        "--device": request.device,
        "--devices": request.devices,
        "--precision": request.precision,
        "--workers": request.workers,
    }
    return [
        "train",
        request.name,
        *(word for key, value in given.items() if value is not None for word in (key, str(value))),
        *(word for change in request.changes for word in ("--set", change)),
        *(word for option in request.options for word in ("--model-arg", option)),
    ]


def estimate(wish: ReproductionConfig, steps: Sequence[Step]) -> dict[str, float]:
    """Hours of training and predicting that a plan has before it, from a few steps of each.

    Predicting from the centre is taken to last as long as from whole patches; it lasts less. A
    network whose steps cannot be measured, for lack of memory as a rule, has none.
    """
    waiting = {row.name for row in describe(steps, wish.out / MEMORY) if row.state != "done"}
    scenes = len(find_scenes(wish.data, "test"))
    hours: dict[str, float] = {}
    for name in (*segmenters_of(wish), *wish.methods):
        if not waiting & {
            f"train {name}",
            *(f"predict {run}" for run in runs_of(wish, name).values()),
        }:
            continue
        try:
            request = replace(request_of(wish, name), cache=None, quiet=True)
            found = training.estimate_throughput(request, cached=wish.cache)
        except ModelError:
            continue
        hours[f"train {name}"] = found["hours"]
        if found["scene_seconds"]:
            hours[f"predict {name}"] = found["scene_seconds"] * scenes / 3600
    return hours


def as_lines(rows: Sequence[Row]) -> list[str]:
    """A plan in words, one line a step, and the hours of all that is to be done."""
    width = max(len(row.name) for row in rows)
    lines = []
    for row in rows:
        about = f"{row.hours:8.2f} h" if row.hours is not None and row.state != "done" else " " * 10
        lines.append(f"{row.name:{width}}  {about}  {row.state}{f': {row.why}' if row.why else ''}")
    known = [row.hours for row in rows if row.hours is not None and row.state != "done"]
    lines.append(f"{'all that is measured':{width}}  {sum(known):8.2f} h")
    return lines


# --- What a step does -----------------------------------------------------------------------


@dataclass(frozen=True)
class _Command:
    """A command of this program, in a process of its own."""

    arguments: list[str]

    def __call__(self) -> None:
        print(f"$ planetcr-bench {shlex.join(self.arguments)}", file=sys.stderr, flush=True)
        done = subprocess.run(  # noqa: S603  # this program, with arguments made above
            [sys.executable, "-m", "planetcr_bench", *self.arguments],
            check=False,
            stdout=subprocess.DEVNULL,
        )
        if done.returncode == 130:
            raise KeyboardInterrupt
        if done.returncode:
            raise BenchError(
                f"planetcr-bench {shlex.join(self.arguments)}: failed, see above; what was done "
                "before is kept, the same command goes on from here"
            )


@dataclass(frozen=True)
class _Train:
    request: training.Request
    identity: Mapping[str, Any]
    arguments: list[str]

    def __call__(self) -> None:
        """Train; a run of another recipe or dataset is put aside, for it took long to make."""
        checkpoint = self.request.out / CHECKPOINT
        if checkpoint.exists():
            there = read_checkpoint(checkpoint)["identity"]
            if dict(there) != dict(self.identity):
                _put_aside(self.request.out)
        _Command(self.arguments)()


@dataclass(frozen=True)
class _Predict:
    folder: Path
    fingerprint: str
    weights: Path | None
    window: Window
    arguments: list[str]

    def __call__(self) -> None:
        """Predict; those of other weights, scenes or windows are thrown away."""
        if (self.folder / CARD).exists():
            weights = None if self.weights is None else file_sha256(self.weights)
            try:
                card = read_card(self.folder)
                there = (card.weights, card.fingerprint, card.window)
                same = there == (weights, self.fingerprint, self.window)
            except PredictionError:
                same = False
            if not same:
                shutil.rmtree(self.folder)
        _Command(self.arguments)()


def _put_aside(folder: Path) -> None:
    number = 1
    while folder.with_name(f"{folder.name}.old-{number}").exists():
        number += 1
    folder.rename(folder.with_name(f"{folder.name}.old-{number}"))
