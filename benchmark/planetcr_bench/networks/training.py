"""Train a network or the segmenter: put scenes, network, recipe and validation together."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import tomli_w
import torch
import typer
from torch import nn

from planetcr_bench import __version__
from planetcr_bench.data.description import Description
from planetcr_bench.data.descriptions import describe
from planetcr_bench.data.discovery import find_splits
from planetcr_bench.data.fingerprint import fingerprint_of
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.patch_cache import CachedPatches, build_cache
from planetcr_bench.data.patches import FilePatches
from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.data.splits import hold_out, remark, some_scenes
from planetcr_bench.data.tracks import read_track
from planetcr_bench.errors import BenchError, BenchWarning, UsageError
from planetcr_bench.evaluation.inputs import data_folder
from planetcr_bench.networks.images import expect_one_date, facts_of, fitted, is_planet_cr
from planetcr_bench.networks.loading import (
    UserNetwork,
    build_user_network,
    is_user_file,
    known_options,
    parse_options,
    user_function,
)
from planetcr_bench.networks.methods import SEGMENTER_OPTIONS, check_method
from planetcr_bench.networks.trial import try_network
from planetcr_bench.networks.validation import (
    NetworkValidation,
    SceneValidation,
    SegmenterValidation,
)
from planetcr_bench.report.table import number
from planetcr_bench.utils.devices import choose_device
from planetcr_bench.utils.files import atomic_write, exclusive_lock, file_sha256
from planetcr_bench.utils.json_values import to_json_value
from planetcr_bench.utils.parallel import processors
from planetcr_bench.utils.untrusted import parse_toml, read_text, read_toml
from planetcr_models.errors import ModelError, TrainingError
from planetcr_models.inference import Precision
from planetcr_models.networks.base import OPTICAL_BANDS, Restorer
from planetcr_models.networks.registry import build_model
from planetcr_models.segmentation.deeplab import Segmenter, load_encoder, save_segmenter
from planetcr_models.training.checkpoint import (
    CHECKPOINT,
    RECIPE,
    expect_same_run,
    read_checkpoint,
)
from planetcr_models.training.devices import TrainingSettings, make_fabric
from planetcr_models.training.loader import Crops
from planetcr_models.training.logger import EPOCHS
from planetcr_models.training.objectives import (
    Objective,
    initialise,
    objective_of,
    objective_of_segmenter,
    regression_objective,
)
from planetcr_models.training.recipes import (
    RECIPES,
    REGRESSION,
    USER_RECIPE,
    Adversarial,
    Carl,
    Charbonnier,
    CrossEntropy,
    Recipe,
)
from planetcr_models.training.trainer import Validation, train
from planetcr_models.weights.files import TRAINED_ON, save_model, save_state
from planetcr_models.weights.paths import expect_file
from planetcr_models.weights.pretrained import SEGMENTER
from planetcr_models.weights.sources import BEST, LAST

SET: Final = "--set"
"""Option that changes a recipe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The options of ``planetcr-bench train``, which explains them."""

    name: str
    data: Path | None
    out: Path
    dataset: str | Path | None = None
    recipe: Path | None = None
    changes: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    encoder_weights: str | None = None
    val_share: float = 0.05
    val_scenes: int = 200
    scene_list: Path | None = None
    cache: Path | None = None
    device: str = "auto"
    devices: int = 1
    nodes: int = 1
    precision: Precision = "32"
    micro_batches: int = 1
    workers: int | None = None
    compile: bool = False
    cuda_graphs: bool = False
    quiet: bool = False
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Everything a run needs, made from a request."""

    objective: Objective
    patches: FilePatches | CachedPatches
    validation: Validation | None
    identity: Mapping[str, Any]
    save: Callable[[nn.Module, Path, Mapping[str, float]], object]
    settings: TrainingSettings


def run(request: Request) -> dict[str, Any] | None:
    """Train, or resume a run that was stopped.

    Returns:
        ``name``, ``out``, ``steps``, ``minutes`` of training, ``best_epoch`` and its ``scores``;
        None in all processes of a run but the first.

    Raises:
        BenchError: Invalid dataset, options, recipe or folder.
        ModelError: Invalid network, or training failed.
    """
    prepared = prepare(request)
    fabric = make_fabric(prepared.settings)
    fabric.launch()
    with ExitStack() as stack:
        refusal: Exception | None = None
        if fabric.is_global_zero:
            try:
                stack.enter_context(_claim(request, prepared))
            except (BenchError, ModelError, OSError) as error:
                refusal = error
        if fabric.broadcast(refusal is not None):  # all processes leave, one says why
            if refusal is not None:
                raise refusal
            return None
        outcome = train(
            prepared.objective,
            prepared.patches,
            request.out,
            save=prepared.save,
            identity=prepared.identity,
            validation=prepared.validation,
            settings=prepared.settings,
            fabric=fabric,
        )
    if not fabric.is_global_zero:
        return None
    recipe = prepared.objective.recipe
    if recipe.minutes and outcome.steps < recipe.epochs:
        message = (
            f"the budget of {recipe.minutes:g} minutes ended after {outcome.steps} of at least "
            f"{recipe.epochs} steps, one for each part; the network has hardly been trained"
        )
        warnings.warn(message, BenchWarning, stacklevel=2)
    return {
        "name": request.name,
        "out": str(request.out),
        "steps": outcome.steps,
        "minutes": outcome.seconds / 60,
        "best_epoch": outcome.epoch,
        "scores": outcome.scores,
    }


def format_outcome(request: Request, outcome: Mapping[str, Any]) -> str:
    """Describe the outcome of a run, and name the next command."""
    best = request.out / BEST
    minutes = outcome["minutes"]
    time = f"{minutes:,.1f} minutes" if minutes >= 1 else f"{60 * minutes:.1f} s"
    steps = "1 step" if outcome["steps"] == 1 else f"{outcome['steps']} steps"
    text = f"{steps} in all, {time} of training; best: epoch "
    text += str(outcome["best_epoch"])
    if outcome["scores"]:
        shown = NetworkValidation.shown if request.name != SEGMENTER else SegmenterValidation.shown
        scores = outcome["scores"]
        known = [key for key in shown if key in scores]
        text += f" ({', '.join(f'{key} {scores[key]:.4g}' for key in known)})"
    else:
        text += ", the last one, as there was no validation"
    if request.name == SEGMENTER:
        classes = {
            key.removeprefix("iou_"): value
            for key, value in outcome["scores"].items()
            if key.startswith("iou_")
        }
        if classes:
            each = (f"{name} {number(iou, digits=2)}" for name, iou in classes.items())
            text += f"\nIoU on held-out clear images: {', '.join(each)}"
        return f"{text}\nSegmenter: {best}, with its card beside it"
    words = ["planetcr-bench", "predict", request.name]
    words += ["--data", str(request.data)] if request.data is not None else []
    words += ["--weights", str(best)]
    if request.dataset is not None:
        words += ["--dataset", str(request.dataset)]
    if is_user_file(request.name):  # its weights do not say how it was made
        words += [word for option in request.options for word in ("--model-arg", option)]
    return f"{text}\nWeights: {best}; next: {shlex.join(words)}"


def run_name(name: str) -> str:
    """Name of a method's run and folder: its own, or ``net`` for ``net.py:build``."""
    return user_function(name)[0].stem if is_user_file(name) else name


def prepare(request: Request) -> Prepared:
    """Find the scenes, make the network and its recipe.

    Raises:
        BenchError: Invalid dataset, option or recipe.
        ModelError: Weights that do not fit.
    """
    choose_device(request.device)
    recipe, identity, training, held_out = identify(request)
    if held_out and held_out[0].split == training[0].split and not request.quiet:
        message = remark(training, held_out, share=request.val_share)
        if message and os.environ.get("LOCAL_RANK", "0") == "0":  # one process of a run prints it
            typer.echo(message, err=True)
    patches: FilePatches | CachedPatches = FilePatches(training)
    if request.cache is not None:
        name = identity["training_fingerprint"][:16]
        patches = build_cache(training, request.cache, name=name, quiet=request.quiet)
    Crops(
        patches, crop=recipe.crop, turns=recipe.turns, seed=recipe.seed
    )  # refused here, if at all
    torch.manual_seed(recipe.seed)
    described = training[0].description
    for note in _notes(recipe, described) if not request.quiet else ():
        if os.environ.get("LOCAL_RANK", "0") == "0":
            typer.echo(note, err=True)
    segmenter = request.name == SEGMENTER
    scenes = some_scenes(held_out, request.val_scenes)
    kind = SegmenterValidation if segmenter else NetworkValidation
    validation = kind(scenes, request.precision) if scenes else None
    make: Callable[..., Objective] = _segmenter if segmenter else _network
    save: Callable[..., object] = _save_network
    if segmenter:
        save = partial(_save_segmenter, identity, described.bands, validation)
    elif is_user_file(request.name):
        make = partial(_user_network, whole=bool(scenes))
        save = partial(_save_user_network, identity, facts_of(described))
    return Prepared(
        objective=make(request, recipe, patches, described),
        patches=patches,
        validation=validation,
        identity=identity,
        save=save,
        settings=TrainingSettings(
            device=request.device,
            devices=request.devices,
            nodes=request.nodes,
            precision=request.precision,
            micro_batches=request.micro_batches,
            workers=_workers(request),
            compile=request.compile,
            cuda_graphs=request.cuda_graphs,
            quiet=request.quiet,
        ),
    )


def identify(
    request: Request,
) -> tuple[Recipe, dict[str, Any], list[SceneFiles], list[SceneFiles]]:
    """Find the recipe and the scenes of a run, and everything that determines its result.

    Returns:
        Recipe, identity, scenes to train on, and held-out scenes, some of which are validated.

    Raises:
        BenchError: Invalid dataset, option or recipe.
    """
    user_file = is_user_file(request.name)
    if not user_file:
        check_method(request.name, others=(SEGMENTER,))
    if request.name != SEGMENTER and request.encoder_weights is not None:
        raise UsageError(f"--encoder-weights is for the segmenter, not for {request.name}")
    recipe = recipe_of(request.name, request.changes, request.recipe)
    data = data_folder(request.data)
    described = describe(data, request.dataset)
    options = _options(request, described)
    _expect_products(request.name, recipe, described)
    training, held_out = _scenes(request, data)
    validation = some_scenes(held_out, request.val_scenes)
    fingerprint = fingerprint_of(validation, quiet=request.quiet) if validation else "none"
    identity: dict[str, Any] = {
        "name": request.name,
        "track": read_track(data, dataset=request.dataset),
        "training_scenes": len(training),
        "training_fingerprint": fingerprint_of(training, quiet=request.quiet),
        "validation_scenes": len(validation),
        "validation_fingerprint": fingerprint,
        "precision": request.precision,
        "micro_batches": request.micro_batches,
        **recipe.plain(),
        **{f"option.{key}": _toml_value(value) for key, value in options.items()},
    }
    if not is_planet_cr(described):
        text = described.model_dump_json(exclude={"splits"}, exclude_none=True)
        identity["dataset"] = described.title
        identity["description"] = hashlib.sha256(text.encode()).hexdigest()
    if request.encoder_weights is not None:
        identity["encoder_weights"] = _origin(request.encoder_weights)
    if user_file:
        file, function = user_function(request.name)
        identity |= {"name": f"{file.name}:{function}", "code": file_sha256(file)}
    return recipe, identity, training, held_out


def _toml_value(value: object) -> object:
    """A value that TOML can hold: of an option such as ``None``, its text."""
    plain = to_json_value(value)
    try:
        tomli_w.dumps({"value": plain})
    except TypeError:
        return repr(value)
    return plain


def _origin(encoder_weights: str) -> str:
    """What identifies the initial weights of an encoder: a file's hash, or ``imagenet``."""
    if encoder_weights == "imagenet":
        return encoder_weights
    expect_file(Path(encoder_weights), "a file of weights")
    return file_sha256(Path(encoder_weights))


def _options(request: Request, described: Description) -> dict[str, Any]:
    """Options of the network, checked; those of a user's network are checked by its function."""
    expect_one_date(request.name, described)
    if is_user_file(request.name):
        file, _ = user_function(request.name)
        expect_file(file, "a file that makes a network")
        return parse_options(request.options, "--model-arg")
    if request.name != SEGMENTER:
        return fitted(request.name, known_options(request.name, request.options), described)
    options = known_options(request.name, request.options, SEGMENTER_OPTIONS)
    count = len(described.bands)
    return options if count == OPTICAL_BANDS else options | {"bands": count}


def _expect_products(name: str, recipe: Recipe, described: Description) -> None:
    """Raise UsageError for training that needs what the dataset does not have."""
    lacks = f"{described.title} has none"
    loss = recipe.loss
    if isinstance(loss, CrossEntropy) and described.land_cover is None:
        raise UsageError(f"{name}: learns from land cover, and {lacks}")
    if isinstance(loss, CrossEntropy) and loss.label_grid != "3m":
        grids = {described.read_size_of(product) for product in ("sar", "land_cover")}
        if described.sar is None or len(grids) > 1:
            raise UsageError(
                f"--set: label_grid={loss.label_grid} needs SAR on the grid of land cover, which "
                f"{described.title} does not have; use label_grid=3m, the grid of the images"
            )
    if (
        isinstance(loss, Adversarial)
        and loss.attention_target == "mask"
        and described.cloud_mask is None
    ):
        raise UsageError(f"--set: attention_target=mask needs cloud masks, and {lacks}")


def _notes(recipe: Recipe, described: Description) -> Iterator[str]:
    """What a loss does where the dataset has no cloud masks, one line."""
    if described.cloud_mask is not None:
        return
    if isinstance(recipe.loss, Charbonnier) and recipe.loss.cloud_weight:
        yield (
            f"loss charbonnier: {described.title} has no cloud masks, so all pixels have one weight"
        )
    if isinstance(recipe.loss, Carl):
        yield (
            f"loss carl: {described.title} has no cloud masks, so all pixels count as cloud, and "
            f"the loss is {1 + recipe.loss.target_weight:g} × the mean absolute error"
        )


def recipe_of(name: str, changes: Sequence[str], file: Path | None = None) -> Recipe:
    """The recipe of a method or a user's network, with changes.

    Args:
        name: As ``train`` takes it.
        changes: ``key=value`` each; they come after those of the file.
        file: TOML table of changes, which may name another recipe as ``base``; the recipe.toml of a
            run; or the name of a recipe, such as ``cloudseg``.

    Raises:
        UsageError: A change that is not ``key=value``, or that the recipe does not accept, or a
            loss that is not for such a network.
    """
    table = {} if file is None else _recipe_table(file)
    base = table.pop("base", name)
    recipe = RECIPES.get(base, USER_RECIPE)
    recipe = _changed(recipe, table, f"{file}: ")
    loss = recipe.loss.name
    if is_user_file(name) and loss not in REGRESSION:
        raise UsageError(
            f"{file}: expected one of the losses {', '.join(REGRESSION)} for a network of your "
            f"own, got {loss}"
        )
    if (name == SEGMENTER) != (loss == CrossEntropy.name):
        raise UsageError(f"{file}: expected a recipe for {name}, got one with the loss {loss}")
    return _changed(recipe, parse_options(changes, SET), f"{SET}: recipe of {name}: ")


def _recipe_table(file: Path) -> dict[str, Any]:
    """Changes to a recipe, and perhaps its ``base``; the name of a recipe is its base alone."""
    if str(file) in RECIPES:
        return {"base": str(file)}
    content = read_toml(file, error=UsageError)
    if isinstance(content.get("recipe"), dict):  # of a run
        content = content["recipe"]
    base = content.get("base")
    if base is not None and (not isinstance(base, str) or base not in RECIPES):
        raise UsageError(f"{file}: expected base to be one of {', '.join(RECIPES)}, got {base!r}")
    return content


def _changed(recipe: Recipe, changes: Mapping[str, Any], where: str) -> Recipe:
    try:
        return recipe.changed(**changes)
    except ModelError as error:
        raise UsageError(where + error.message.removeprefix("recipe: ")) from error


def _scenes(request: Request, data: Path) -> tuple[list[SceneFiles], list[SceneFiles]]:
    """Scenes to train on and held-out ones; never of the test split."""
    scenes = find_scenes(data, "train", request.scene_list, dataset=request.dataset)
    if request.val_share == 0:
        return scenes, []
    if request.scene_list is None and "val" in find_splits(data, scenes[0].description):
        return scenes, find_scenes(data, "val", dataset=request.dataset)
    return hold_out(scenes, share=request.val_share)


def _workers(request: Request) -> int:
    if request.workers is not None:
        return request.workers
    on_gpu = choose_device(request.device) != "cpu"
    # on a CPU they would compete with the training
    return min(processors() // request.devices, 16) if on_gpu else 0


def _network(
    request: Request,
    recipe: Recipe,
    patches: FilePatches | CachedPatches,
    described: Description,
) -> Objective:
    del patches
    network = build_model(request.name, **_options(request, described))
    network.trained_on = facts_of(described)
    if recipe.initialisation == "he_uniform":
        initialise(network)
    sar_bands = 0 if described.sar is None else len(described.sar.bands)
    return objective_of(network, recipe, sar_bands=sar_bands)


def _user_network(
    request: Request,
    recipe: Recipe,
    patches: FilePatches | CachedPatches,
    described: Description,
    *,
    whole: bool,
) -> Objective:
    del described
    network = build_user_network(request.name, request.options).train()
    if recipe.initialisation == "he_uniform":
        initialise(network)
    if os.environ.get("LOCAL_RANK", "0") == "0":  # one process of a run says what is wrong
        device, processes = choose_device(request.device), request.devices * request.nodes
        try_network(network, recipe, patches, device=device, processes=processes, whole=whole)
    return regression_objective(network, recipe)


def _segmenter(
    request: Request,
    recipe: Recipe,
    patches: FilePatches | CachedPatches,
    described: Description,
) -> Objective:
    segmenter = Segmenter(**_options(request, described))
    if recipe.initialisation == "he_uniform":
        initialise(segmenter)
    if request.encoder_weights is not None:
        source = request.encoder_weights
        load_encoder(segmenter, source if source == "imagenet" else Path(source))
    return objective_of_segmenter(segmenter, recipe, patches)


def _save_network(network: nn.Module, path: Path, scores: Mapping[str, float]) -> None:
    del scores
    assert isinstance(network, Restorer)
    save_model(network, path)


def _save_user_network(
    identity: Mapping[str, Any],
    images: Mapping[str, Any],
    network: nn.Module,
    path: Path,
    scores: Mapping[str, float],
) -> None:
    del scores
    assert isinstance(network, UserNetwork)
    stated = {"network": identity["name"], "code": identity["code"]}
    save_state(network.network, path, **stated, **{TRAINED_ON: json.dumps(images)})


def _save_segmenter(
    identity: Mapping[str, Any],
    bands: Sequence[str],
    validation: SceneValidation | None,
    segmenter: nn.Module,
    path: Path,
    scores: Mapping[str, float],
) -> None:
    """Save a segmenter; its card has the scores of each class, and the pixels behind them."""
    assert isinstance(segmenter, Segmenter)
    data = (
        "training_fingerprint",
        "training_scenes",
        "validation_fingerprint",
        "validation_scenes",
    )
    card = {key: identity[key] for key in ("track", *data)} | {"bands": [*bands]}
    card["scores"] = to_json_value(scores)
    if isinstance(validation, SegmenterValidation):
        card["class_pixels"] = validation.class_pixels
    card["encoder_weights"] = identity.get("encoder_weights", "random")
    save_segmenter(segmenter, path, card)


# --- The folder of a run --------------------------------------------------------------------


@contextmanager
def _claim(request: Request, prepared: Prepared) -> Iterator[None]:
    """Lock the folder of a run, or refuse; write what the run is."""
    out = request.out
    if out.exists() and not out.is_dir():
        raise BenchError(f"{out}: expected a folder, found a file; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(
        out / ".lock", f"{out}: another run is training there; wait, or choose another --out"
    ):
        _expect_ours(out, prepared.identity)
        content = {
            "version": __version__,
            "command": shlex.join(request.command),
            "recipe": prepared.objective.recipe.plain(),
            "identity": dict(prepared.identity),
        }
        atomic_write(out / RECIPE, tomli_w.dumps(content).encode())
        yield


def _expect_ours(out: Path, identity: Mapping[str, Any]) -> None:
    """Raise TrainingError unless a folder is new, empty, or belongs to this very run."""
    checkpoint = out / CHECKPOINT
    if checkpoint.exists():
        expect_same_run(checkpoint, read_checkpoint(checkpoint)["identity"], identity)
        return
    if any((out / name).exists() for name in (BEST, LAST)) and not _was_killed_early(out, identity):
        raise TrainingError(
            f"{out}: contains weights but no {CHECKPOINT}, so their run cannot be resumed; "
            "choose another --out"
        )
    if not (out / RECIPE).exists() and any(not path.name.startswith(".") for path in out.iterdir()):
        raise TrainingError(
            f"{out}: expected a new or empty folder, or one that this command started, found "
            "other files; choose another --out"
        )


def _was_killed_early(out: Path, identity: Mapping[str, Any]) -> bool:
    """Whether this very run was killed here before its first checkpoint: nothing else is lost."""
    try:
        written = read_toml(out / RECIPE).get("identity")
        epochs = read_text(out / EPOCHS).count("\n") if (out / EPOCHS).exists() else 0
    except BenchError:
        return False
    header = 1
    return written == parse_toml(tomli_w.dumps(dict(identity)), RECIPE) and epochs <= header + 1
