"""Reproduce the reference tables: run ``train``, ``predict``, ``evaluate`` and ``compare`` in turn.

Each command skips what is finished and resumes what is not, so the same reproduction can be started
again at any time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, get_args

import torch
from pydantic import ConfigDict, Field, create_model, field_validator

from planetcr_bench.constants import PLANET_CR, PLANET_CR_TEST_SCENES, RUN_NAME
from planetcr_bench.data.description import Description
from planetcr_bench.data.descriptions import describe
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.tracks import read_track
from planetcr_bench.errors import UsageError
from planetcr_bench.networks import training
from planetcr_bench.networks.dry_run import estimate_throughput
from planetcr_bench.networks.images import takes_sar
from planetcr_bench.networks.loading import is_user_file
from planetcr_bench.networks.methods import check_method
from planetcr_bench.networks.steps import Step, run_steps
from planetcr_bench.predictions.baselines import DATED
from planetcr_bench.predictions.baselines import METHODS as BASELINES
from planetcr_bench.utils.devices import choose_device
from planetcr_bench.utils.files import exclusive_lock
from planetcr_bench.utils.untrusted import read_toml
from planetcr_bench.utils.validation import FileModel, validate
from planetcr_models.errors import ModelError
from planetcr_models.inference import Precision
from planetcr_models.networks.methods import list_models
from planetcr_models.training.checkpoint import CHECKPOINT, read_checkpoint
from planetcr_models.training.recipes import RECIPES
from planetcr_models.weights.hub import PREFIX
from planetcr_models.weights.pretrained import SEGMENTER
from planetcr_models.weights.sources import BEST, find_weights

OFFICIAL_SUFFIX: Final = "-window160"
"""Appended to the name of a run whose network saw only the centre 160 × 160."""

Window = Literal["whole", "official"]

PROTOCOL_WINDOWS: Final[Mapping[str, Window]] = {"official": "official", "full": "whole"}
"""Input window of the networks in the tables of each protocol, if they predicted so."""

Stage = Literal["train", "evaluate", "compare"]
STAGES: Final[tuple[Stage, ...]] = get_args(Stage)
"""Kinds of steps: all training first, then predictions and their scores, then tables."""

_TRAIN, _EVALUATE, _COMPARE = range(len(STAGES))

_FURTHER_SEGMENTER: Final = re.compile(rf"{SEGMENTER}-([2-9])")
"""Segmenters besides the first, which show whether a ranking depends on the segmenter."""


class TrainingTable(FileModel):
    """Table of a method, or of a segmenter: changes to its training.

    Further keys change the recipe, and are checked against it.

    Attributes:
        method: Of a table of another name, which is a variant: the method that it trains.
        pretrained: Weights that ``--no-train`` takes, as ``predict --weights`` has them.
    """

    model_config = ConfigDict(extra="allow")

    method: str | None = None
    pretrained: str | None = None
    encoder_weights: str | None = None
    val_share: float | None = None
    val_scenes: int | None = None
    micro_batches: int | None = None
    compile: bool | None = None
    seed: int | None = None
    options: dict[str, Any] = Field(default_factory=dict)


class ConfigFile(FileModel):
    """A TOML file of ``--config``; it also has a :class:`TrainingTable` for each method.

    ``all`` applies to every method. ``segmenter-2``, ``segmenter-3``, … add segmenters, which
    differ from the first by their seed and their table.

    Attributes:
        methods: Networks to train: methods, networks of your own, such as ``net.py:build``, and
            variants, tables of any other name with a ``method``.
        baselines: Baselines without training.
        suffix: Appended to the names of runs, to mark networks that differ from the published ones.
        windows: What the networks see: ``whole`` patches, ``official`` centres, or both.
        pretrained: Weights of all methods that ``--no-train`` takes.
    """

    model_config = ConfigDict(
        title="methods, baselines, suffix, windows, pretrained and tables of methods"
    )

    methods: list[str] = Field(default_factory=lambda: [*list_models()])
    baselines: list[str] = Field(default_factory=lambda: ["copy-cloudy", "mean-fill"])
    suffix: str = ""
    windows: list[Window] = Field(default=["whole", "official"], min_length=1)
    pretrained: str | None = None

    @field_validator("baselines")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        for name in names:
            if name not in BASELINES or name in DATED:
                known = ", ".join(method for method in BASELINES if method not in DATED)
                raise ValueError(f"expected {known}, got {name}")
        return names


@dataclass(frozen=True, slots=True, kw_only=True)
class ReproductionConfig:
    """The options of ``planetcr-bench reproduce``, and the settings of its file.

    Attributes:
        file: Where the settings come from, for messages.
        tables: Changes to the training of each method, see :class:`TrainingTable`.
        train: False to use the weights that the file names as ``pretrained``.
        jobs: Steps to run at a time.
        until: The last of the ``STAGES`` to run.
        dataset: Name or file of the dataset's description.
        compile: Compile the networks for training.
        protocols: Those that the dataset has, of which tables are made.
        land_cover: Whether it has land cover, which segmenters learn from.
    """

    data: Path
    out: Path
    results: Path
    dataset: str | None = None
    compile: bool = False
    protocols: tuple[str, ...] = ("official", "full")
    land_cover: bool = True
    file: Path | None = None
    methods: tuple[str, ...] = ()
    baselines: tuple[str, ...] = ("copy-cloudy", "mean-fill")
    suffix: str = ""
    windows: tuple[Window, ...] = ("whole", "official")
    pretrained: str | None = None
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    device: str = "auto"
    devices: int = 1
    precision: Precision = "32"
    workers: int | None = None
    cache: bool = True
    optical_thickness: Path | None = None
    train: bool = True
    jobs: int = 1
    until: Stage = "compare"

    @property
    def segmenters(self) -> list[str]:
        """Names of the segmenters: ``segmenter``, and those that the file adds."""
        if not self.land_cover:
            return []
        return [SEGMENTER, *sorted(filter(_FURTHER_SEGMENTER.fullmatch, self.tables))]

    @property
    def all_networks(self) -> list[str]:
        """Names of all that is trained: segmenters, then methods."""
        return [*self.segmenters, *self.methods]


def load_config(file: Path | None, options: ReproductionConfig) -> ReproductionConfig:
    """Add the settings of a file to the options of the command line; ``--method`` overrides it.

    Raises:
        UsageError: The file cannot be read, or has an unknown key, method or baseline, or names
            that runs cannot have; or options that exclude each other.
    """
    _check_options(options)
    content: dict[str, Any] = {}
    if file is not None:
        content = read_toml(file, error=UsageError)
    further = filter(_FURTHER_SEGMENTER.fullmatch, content)
    own = filter(is_user_file, content)
    known = ["all", SEGMENTER, *list_models(), *further, *own]
    variants = [
        name
        for name, table in content.items()
        if isinstance(table, dict)
        and "method" in table
        and re.fullmatch(RUN_NAME, name)
        and name not in (*known, *ConfigFile.model_fields)
    ]
    tables = [*known, *variants]
    fields: dict[str, Any] = {  # under names of ours, as pydantic takes only some
        f"table_{number}": (TrainingTable | None, Field(None, alias=name))
        for number, name in enumerate(tables)
    }
    model = create_model("ConfigFile", __base__=ConfigFile, **fields)
    checked = validate(model, content, str(file), error=UsageError)
    for name in known:
        _check_table(f"{file}: [{name}]", name, content.get(name, {}))
    methods = tuple(dict.fromkeys(options.methods or checked.methods))
    for name in methods:
        trained = content[name]["method"] if name in variants else name
        if not is_user_file(trained):
            check_method(trained, others=() if name in variants else variants)
    _check_runs(methods, checked.suffix, str(file or "--method"))
    config = replace(
        options,
        file=file,
        methods=methods,
        baselines=tuple(checked.baselines),
        suffix=checked.suffix,
        windows=tuple(dict.fromkeys(checked.windows)),
        pretrained=checked.pretrained,
        tables={name: content[name] for name in tables if name in content},
    )
    given = {*content, *(["methods"] if options.methods else [])}
    return _for_dataset(config, describe(config.data, config.dataset), given)


def _for_dataset(
    config: ReproductionConfig, described: Description, given: Collection[str]
) -> ReproductionConfig:
    """Leave out what the dataset does not allow, unless it was asked for.

    Args:
        config: With the defaults of Planet-CR.
        described: The dataset.
        given: Settings that the user gave, which are kept, or refused when the steps are made.

    Raises:
        UsageError: A segmenter or window is asked for that the dataset does not allow.
    """
    where, title = config.file or "--config", described.title
    if described.land_cover is None and any(map(is_segmenter, config.tables)):
        raise UsageError(f"{where}: [{SEGMENTER}] learns from land cover, and {title} has none")
    methods, baselines, windows = config.methods, config.baselines, config.windows
    if "methods" not in given and described.sar is None:
        methods = tuple(name for name in methods if not takes_sar(name, _options_of(config, name)))
    if "baselines" not in given and described.cloud_mask is None:
        baselines = tuple(name for name in baselines if name != "mean-fill")
    if "official" in windows and "official" not in described.protocols:
        if "windows" in given:
            raise UsageError(
                f"{where}: windows: official is of the protocol official, which {title} does not "
                "have; leave it out"
            )
        windows = ("whole",)
    return replace(
        config,
        methods=methods,
        baselines=baselines,
        windows=windows,
        protocols=tuple(described.protocols),
        land_cover=described.land_cover is not None,
    )


def is_segmenter(name: str) -> bool:
    """Whether a table is that of a segmenter."""
    return name == SEGMENTER or _FURTHER_SEGMENTER.fullmatch(name) is not None


def _options_of(config: ReproductionConfig, name: str) -> dict[str, Any]:
    """Options of a method's network, from the tables of the file."""
    tables = (config.tables.get(table, {}) for table in ("all", name))
    return {key: value for table in tables for key, value in table.get("options", {}).items()}


def _check_options(options: ReproductionConfig) -> None:
    """Refuse options that exclude each other."""
    if options.until == "train" and not options.train:
        raise UsageError("--until train: leaves nothing to do with --no-train")
    if options.jobs > 1 and options.devices > 1 and choose_device(options.device) != "cpu":
        raise UsageError(
            f"--jobs {options.jobs}: gives each job one GPU; leave out --devices or --jobs"
        )


def _check_table(where: str, name: str, table: Mapping[str, Any]) -> None:
    """Refuse keys that the table of a method, a segmenter or ``all`` does not have."""
    if "method" in table:
        raise UsageError(f"{where}: method is for variants, which are tables of other names")
    if name == "all" and "pretrained" in table:
        raise UsageError(f"{where}: for all methods put pretrained at the top of the file")


def _check_runs(methods: Sequence[str], suffix: str, where: str) -> None:
    """Refuse names that runs cannot have, before anything is trained."""
    names = [training.run_name(name) for name in methods]
    for name in names:
        longest = f"{name}{suffix}{OFFICIAL_SUFFIX}"
        if not (re.fullmatch(RUN_NAME, name) and re.fullmatch(RUN_NAME, longest)):
            raise UsageError(
                f"{where}: expected names of runs of at most 80 letters of English, digits, blanks "
                f"and . + - _, got {longest!r}"
            )
        if names.count(name) > 1 or (name in RECIPES and name not in methods):
            raise UsageError(
                f"{where}: expected files of your networks with different names, as their runs are "
                f"named after them; two runs would be {name!r}"
            )


# --- Steps ----------------------------------------------------------------------------------


def build_steps(config: ReproductionConfig) -> list[Step]:
    """All steps from the dataset to the tables, in order.

    A network predicts twice, from whole patches and, as in the authors' testers, from their centre
    (:data:`OFFICIAL_SUFFIX`): the former runs make the tables of ``full``, the latter those of
    ``official``.

    Raises:
        BenchError: The dataset lacks a split, or an option or recipe is invalid.
    """
    return [step for step in _all_steps(config) if step.stage <= STAGES.index(config.until)]


def _all_steps(config: ReproductionConfig) -> list[Step]:
    track = read_track(config.data, "test", dataset=config.dataset)
    scenes = len(find_scenes(config.data, "test", dataset=config.dataset))
    steps = [] if not config.train else [_train(config, name) for name in config.all_networks]
    runs = {
        window: {_run_of(config, name, window): name for name in config.methods}
        for window in config.windows
    }
    baselines = {name: name for name in config.baselines}
    for window in (None, *config.windows):
        for run, name in (runs[window] if window else baselines).items():
            predictions = config.out / "preds" / run
            arguments = _predict_arguments(config, name, predictions, window)
            steps.append(Step(f"predict {run}", arguments, _EVALUATE, run))
            arguments = _evaluate_arguments(config, predictions, run)
            steps.append(Step(f"evaluate {run}", arguments, _EVALUATE, run))
    published = track == PLANET_CR and scenes == PLANET_CR_TEST_SCENES
    for protocol, window in PROTOCOL_WINDOWS.items():
        if protocol not in config.protocols:
            continue
        networks = runs.get(window, runs[config.windows[0]])
        ledgers = [str(config.results / track / run) for run in (*baselines, *networks)]
        arguments = ["compare", *ledgers, "--protocol", protocol]
        arguments += ["--out", str(config.results / "comparison" / protocol)]
        arguments += ["--published"] if published and protocol == "official" else []
        steps.append(Step(f"compare {protocol}", arguments, _COMPARE, protocol))
    return steps


def _run_of(config: ReproductionConfig, name: str, window: Window) -> str:
    suffix = OFFICIAL_SUFFIX if window == "official" else ""
    return f"{training.run_name(name)}{config.suffix}{suffix}"


def _train(config: ReproductionConfig, name: str) -> Step:
    request = training_request(config, name)
    try:
        training.identify(request)  # refuse a recipe now, not after days of work
    except UsageError as error:
        raise UsageError(_where(config, name) + _OPTION.sub("", error.message)) from error
    return Step(f"train {training.run_name(name)}", train_arguments(request), _TRAIN, name)


def _predict_arguments(
    config: ReproductionConfig, name: str, predictions: Path, window: Window | None
) -> list[str]:
    """Arguments of ``predict``; without a window, of a baseline."""
    request = None if window is None else training_request(config, name)
    method = name if request is None else request.name
    arguments = ["predict", method, "--data", str(config.data), "--out", str(predictions)]
    arguments += [] if config.dataset is None else ["--dataset", config.dataset]
    if request is not None:
        arguments += ["--weights", weights_of(config, name)]
        if is_user_file(method):  # its weights do not say how it was made
            arguments += [word for arg in request.options for word in ("--model-arg", arg)]
        arguments += ["--device", config.device, "--window", str(window)]
    return arguments


def weights_of(config: ReproductionConfig, name: str) -> str:
    """Weights of a method or segmenter: those that are trained, or pretrained ones.

    Raises:
        UsageError: No pretrained weights are named.
        ModelError: There are no such weights.
    """
    if config.train:
        return str(training_request(config, name).out / BEST)
    own = config.tables.get(name, {}).get("pretrained")
    shared = config.pretrained if name in (SEGMENTER, *list_models()) else None
    if own is None and shared is None:
        raise UsageError(
            f'{config.file or "--no-train"}: expected pretrained = "NAME" for {name}, as it is not '
            "to be trained; name its weights in the file of --config, or leave out --no-train"
        )
    weights = str(own or shared)
    if not weights.startswith(PREFIX):  # refuse others now, not after hours of work
        find_weights(training_request(config, name).name, weights)
    return weights


_OPTION: Final = re.compile("--(set|model-arg): ")
"""Begins messages about what a file says in its own way."""


def _where(config: ReproductionConfig, name: str) -> str:
    """File and tables that change the training of a method."""
    tables = [table for table in _tables_of(name) if table in config.tables]
    return f"{config.file}: {', '.join(f'[{table}]' for table in tables)}: " if tables else ""


def _tables_of(name: str) -> list[str]:
    """Tables that change the training of a method or segmenter; each overrides those before it."""
    if name == SEGMENTER:
        return [name]
    return [SEGMENTER if _FURTHER_SEGMENTER.fullmatch(name) else "all", name]


def _evaluate_arguments(config: ReproductionConfig, predictions: Path, run: str) -> list[str]:
    arguments = ["evaluate", str(predictions), "--data", str(config.data)]
    arguments += [] if config.dataset is None else ["--dataset", config.dataset]
    arguments += ["--results", str(config.results), "--name", run, "--device", config.device]
    for name in config.segmenters:
        arguments += ["--segmenter", weights_of(config, name)]
    if config.optical_thickness is not None:
        arguments += ["--optical-thickness", str(config.optical_thickness)]
    return arguments


def training_request(config: ReproductionConfig, name: str) -> training.Request:
    """The request to train a method, or a segmenter."""
    table = dict(config.tables.get(name, {}))
    if further := _FURTHER_SEGMENTER.fullmatch(name):
        first = config.tables.get(SEGMENTER, {})
        seed = first.get("seed", RECIPES[SEGMENTER].seed) + int(further[1]) - 1
        table = {**first, "seed": seed, **table}
    elif name != SEGMENTER:
        table = {**config.tables.get("all", {}), **table}
    options = table.pop("options", {})
    method = table.pop("method", SEGMENTER if further else name)
    table.pop("pretrained", None)
    own = {
        key: table.pop(key)
        for key in ("encoder_weights", "val_share", "val_scenes", "micro_batches", "compile")
        if key in table
    }
    own.setdefault("compile", config.compile)
    return training.Request(
        name=method,
        data=config.data,
        dataset=config.dataset,
        out=config.out / "train" / training.run_name(name),
        changes=tuple(f"{key}={value}" for key, value in table.items()),
        options=tuple(f"{key}={value}" for key, value in options.items()),
        cache=config.out / "cache" if config.cache else None,
        device=config.device,
        devices=config.devices,
        precision=config.precision,
        workers=config.workers,
        **own,
    )


def train_arguments(request: training.Request) -> list[str]:
    """A request as arguments of ``planetcr-bench``."""
    given: dict[str, Any] = {
        "--data": request.data,
        "--dataset": request.dataset,
        "--out": request.out,
        "--cache": request.cache,
        "--encoder-weights": request.encoder_weights,
        "--val-share": request.val_share,
        "--val-scenes": request.val_scenes,
        "--micro-batches": request.micro_batches,
        "--device": request.device,
        "--devices": request.devices,
        "--precision": request.precision,
        "--loader-workers": request.workers,
    }
    return [
        "train",
        request.name,
        *(word for key, value in given.items() if value is not None for word in (key, str(value))),
        *(["--compile"] if request.compile else []),
        *(word for change in request.changes for word in ("--set", change)),
        *(word for option in request.options for word in ("--model-arg", option)),
    ]


# --- Running --------------------------------------------------------------------------------


def reproduce(
    config: ReproductionConfig, steps: Sequence[Step], *, say: Callable[[str], None]
) -> None:
    """Run each step in a process of its own; a finished step takes seconds.

    Args:
        config: Names the working folder, in which one reproduction runs at a time.
        steps: As :func:`build_steps` gives them.
        say: Called with the number, name and command of each step.

    Raises:
        BenchError: A step failed, and those before it are done; or another reproduction is
            running.
        KeyboardInterrupt: The user stopped it.
    """
    config.out.mkdir(parents=True, exist_ok=True)
    refusal = f"{config.out}: another reproduction is running there; wait, or choose another --out"
    gpus = torch.cuda.device_count() if config.device in ("auto", "cuda") else 0
    with exclusive_lock(config.out / ".lock", refusal):
        run_steps(steps, say, jobs=config.jobs, logs=config.out / "logs", gpus=gpus)


def estimate_hours(config: ReproductionConfig) -> dict[str, float]:
    """Estimate the remaining hours of training and predicting, by step, from a few steps of each.

    Predicting the centre is assumed to take as long as predicting whole patches; it takes less. A
    network whose steps cannot be measured, usually for lack of memory, has no estimate.
    """
    scenes = len(find_scenes(config.data, "test", dataset=config.dataset))
    hours: dict[str, float] = {}
    for name in config.all_networks if config.train else ():
        request = replace(training_request(config, name), cache=None, quiet=True)
        try:
            estimate = estimate_throughput(request, cached=config.cache)
        except ModelError:
            continue
        done = _fraction_done(request.out / CHECKPOINT, estimate)
        run_name = training.run_name(name)
        hours[f"train {run_name}"] = estimate["hours"] * max(0.0, 1 - done)
        if name in config.methods and estimate["scene_seconds"]:
            for run in (_run_of(config, name, window) for window in config.windows):
                left = scenes - len([*(config.out / "preds" / run).glob("*.tif")])
                hours[f"predict {run}"] = estimate["scene_seconds"] * max(0, left) / 3600
    return hours


def _fraction_done(checkpoint: Path, estimate: Mapping[str, Any]) -> float:
    """Share of this very run that is done."""
    if not checkpoint.exists():
        return 0.0
    state = read_checkpoint(checkpoint)
    if dict(state["identity"]) != dict(estimate["identity"]):
        return 0.0
    if estimate["minutes"]:
        return float(state["seconds"] / (60 * estimate["minutes"]))
    return float(state["step"] / estimate["steps"])


def format_dry_run(steps: Sequence[Step], hours: Mapping[str, float]) -> str:
    """The steps and the hours of each, one line a step, and their sum."""
    total = "total of these"
    width = max(len(total), *(len(step.name) for step in steps))
    lines = [
        f"{step.name:{width}}" + (f"  {hours[step.name]:8.2f} h" if step.name in hours else "")
        for step in steps
    ]
    return "\n".join([*lines, f"{total:{width}}  {sum(hours.values()):8.2f} h"])
