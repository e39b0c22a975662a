"""Make a network from a method's name or a user's file, and load its weights; needs PyTorch."""

from __future__ import annotations

import ast
import difflib
import importlib.util
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from planetcr_bench.data.description import Description
from planetcr_bench.data.scene import Image
from planetcr_bench.errors import BenchError, BenchWarning, UsageError
from planetcr_bench.networks.images import expect_fit, expect_known, expect_one_date, fitted
from planetcr_bench.networks.methods import check_method
from planetcr_bench.predictions.baselines import METHODS as BASELINES
from planetcr_bench.predictions.card import Card
from planetcr_bench.predictions.predict import Restore
from planetcr_bench.utils.files import file_sha256
from planetcr_bench.utils.validation import shown
from planetcr_models.errors import ModelError
from planetcr_models.inference import InferencePrecision, restore_batch, restore_tiled
from planetcr_models.networks.base import Restorer
from planetcr_models.networks.methods import METHODS
from planetcr_models.networks.registry import build_model, default_options, is_like
from planetcr_models.weights.files import load_state, load_weights, read_trained_on
from planetcr_models.weights.pretrained import pretrained_cards
from planetcr_models.weights.sources import Source, find_weights, hidden_file

RANDOM: Final = "random"
"""Given in place of weights: use none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceSettings:
    """How a network runs; everything but device and batch changes its output.

    Attributes:
        device: As torch names it.
        batch: Images, or tiles, at a time.
        precision: ``32`` or ``bf16``.
        tile: Side of tiles in pixels; None for whole images.
        overlap: Of tiles, in pixels.
    """

    device: str = "cpu"
    batch: int = 1
    precision: InferencePrecision = "32"
    tile: int | None = None
    overlap: int = 0


def is_user_file(name: str) -> bool:
    """Whether a name is a user's file, such as ``net.py:build``."""
    return name.endswith(".py") or ":" in name


def open_network(
    name: str,
    *,
    weights: str | Path | None,
    options: Sequence[str],
    seed: int,
    settings: InferenceSettings,
    described: Description,
) -> tuple[nn.Module, Card]:
    """Make a network and load its weights.

    Args:
        name: A method, or a user's file and function.
        weights: See ``find_weights``, or ``random``; a user's function may load its own.
        options: ``key=value`` each.
        seed: Of weights that come from no file.
        settings: Written into the card.
        described: The dataset that it will restore.

    Returns:
        The network, and the card of its predictions.

    Raises:
        UsageError: No such method or option, or no weights.
        BenchError: The user's file does not make a network, or weights are of other bands.
        ModelError: There are no such weights, or they are not this network's.
    """
    torch.manual_seed(seed)
    model, card = (_user_network if is_user_file(name) else _package_network)(
        name, weights, options, seed, described
    )
    tile = settings.tile
    return model, card.model_copy(
        update={
            "precision": None if settings.precision == "32" else settings.precision,
            "tiles": None if tile is None else f"{tile}, overlap {settings.overlap}",
        }
    )


def as_function(model: nn.Module, settings: InferenceSettings) -> Restore:
    """The network as a function of numpy batches, on the device, in float32 throughout."""
    if settings.tile is None:
        return partial(restore_batch, model, device=settings.device, precision=settings.precision)
    return partial(_restore_in_tiles, model, settings)


def _restore_in_tiles(
    model: nn.Module, settings: InferenceSettings, cloudy: Image, sar: Image | None
) -> Image:
    assert settings.tile is not None
    radar = [None] * len(cloudy) if sar is None else sar
    restored = [
        restore_tiled(
            model, *scene, tile=settings.tile, overlap=settings.overlap, batch=settings.batch,
            device=settings.device, precision=settings.precision,
        )
        for scene in zip(cloudy, radar, strict=True)
    ]  # fmt: skip
    return np.stack(restored)


# --- Networks of the package ----------------------------------------------------------------


def _package_network(
    name: str,
    weights: str | Path | None,
    options: Sequence[str],
    seed: int,
    described: Description,
) -> tuple[Restorer, Card]:
    check_method(name, others=[*BASELINES] if weights is None else ())
    wanted = known_options(name, options)
    if weights is None:
        ours = " or ".join([*pretrained_cards(name), "FILE"])
        raise UsageError(
            f"{name}: expected --weights {ours}; known weights of its authors: "
            f"{METHODS[name].weights}. Use --weights random to try the command without trained "
            "weights"
        )
    source = None
    if str(weights) == RANDOM:
        model = build_model(name, **fitted(name, wanted, described))
        digest, shown = f"random, seed {seed}", name
        shown += " (untrained)"
    else:
        source = find(name, weights)
        model = load_weights(name, source.path, **wanted)
        digest, shown = file_sha256(source.path), name
        expect_fit(model, weights, described)
    return model, Card(
        method=shown,
        weights=digest,
        pretrained=source.origin if source else None,
        options=_as_text(model.options),
    )


def find(method: str, weights: str | Path) -> Source:
    """Find weights as ``find_weights`` does; warn of a file that has the name of other weights."""
    source = find_weights(method, weights)
    if isinstance(weights, str) and hidden_file(weights):
        warnings.warn(
            f"{weights}: taken as the weights of this name that ship with planetcr-bench; for the "
            f"file or folder write ./{weights}",
            BenchWarning,
            stacklevel=2,
        )
    return source


def known_options(
    name: str, options: Sequence[str], defaults: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Parse the options of a network; each has the type of its default.

    Args:
        name: A method; with ``defaults``, any network.
        options: ``key=value`` each.
        defaults: Options and their defaults; by default those of the method.

    Raises:
        UsageError: An unknown option, or a value of another type.
    """
    defaults = default_options(name) if defaults is None else defaults
    values = parse_options(options, "--model-arg")
    for key, value in values.items():
        if key not in defaults:
            near = difflib.get_close_matches(key, defaults, 1)
            hint = f"did you mean {near[0]!r}? It" if near else "it"
            raise UsageError(
                f"--model-arg: {name} has no {key!r}; {hint} has {', '.join(defaults)}"
            )
        if not is_like(value, defaults[key]):
            like, got = shown(defaults[key]), shown(value)
            raise UsageError(f"--model-arg: expected {key} like {like}, got {got}")
    return values


def parse_options(options: Sequence[str], word: str) -> dict[str, Any]:
    """Parse ``key=value`` pairs; a value that is not a Python literal stays text.

    Args:
        options: As the user gave them.
        word: Name of the option, for messages.

    Raises:
        UsageError: An option is not such a pair, or a key is repeated.
    """
    values: dict[str, Any] = {}
    for option in options:
        key, sign, text = option.partition("=")
        if not sign or not key.replace(".", "_").isidentifier():
            raise UsageError(f"{word}: expected key=value, such as width=32, got {option!r}")
        if key in values:
            raise UsageError(f"{word}: expected {key} once, got it twice")
        try:
            values[key] = ast.literal_eval(text.title() if text in ("true", "false") else text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            values[key] = text
    return values


def _as_text(options: Mapping[str, Any]) -> str | None:
    return ", ".join(f"{key}={options[key]}" for key in sorted(options)) or None


# --- Users' networks ------------------------------------------------------------------------


class UserNetwork(nn.Module):
    """A user's network, whose errors become one message that says where they are.

    Args:
        network: Called with cloudy images and SAR.
        name: For messages.
        file: The user's file.
    """

    def __init__(self, network: nn.Module, name: str, file: Path) -> None:
        super().__init__()
        self.network, self.name, self.file = network, name, file
        self.multiple = getattr(network, "multiple", 1)
        if type(self.multiple) is not int or self.multiple < 1:
            raise BenchError(
                f"{name}: expected its multiple to be a whole number of 1 or more, got "
                f"{self.multiple!r}"
            )
        state = network.state_dict()
        others = [key for key, value in state.items() if not isinstance(value, Tensor)]
        if others:
            raise BenchError(f"{name}: expected only tensors in its state_dict, {others[0]} is not")
        if any(tensor.is_meta for tensor in state.values()):
            raise BenchError(f"{name}: expected a network with weights, got one on 'meta'")
        lazy = [key for key, value in state.items() if is_lazy(value)]
        if lazy:
            raise BenchError(
                f"{name}: expected layers of known sizes, got a lazy one without weights, {lazy[0]}"
            )

    @property
    def unused_parameters(self) -> list[str]:
        """Names of weights that are not trained: those that the network lists, and frozen ones.

        Raises:
            BenchError: It lists something else.
        """
        listed = getattr(self.network, "unused_parameters", ())
        known = dict(self.network.named_parameters())
        listed = [*listed] if isinstance(listed, Iterable) else [listed]
        wrong = [name for name in listed if name not in [*known]]
        if wrong:
            raise BenchError(
                f"{self.name}: expected names of its parameters in unused_parameters, got "
                f"{wrong[0]!r}"
            )
        return [
            f"network.{name}"
            for name, parameter in known.items()
            if name in listed or not parameter.requires_grad
        ]

    def error(self, error: BaseException, what: str) -> BenchError:
        """A user's error as one line, which says where it is."""
        return BenchError(_where(error, self.file, f"{self.name}: {what}"))

    def forward(self, cloudy: Tensor, sar: Tensor | None = None) -> Tensor:
        """(B, bands, H, W) and (B, sar_bands, h, w) to (B, bands, H, W); SAR may be None."""
        try:
            restored = self.network(cloudy, sar)
        except (BenchError, ModelError, torch.OutOfMemoryError):
            raise
        except (Exception, SystemExit) as error:
            raise self.error(error, "forward") from error
        if not isinstance(restored, Tensor) or not restored.is_floating_point():
            kind = restored.dtype if isinstance(restored, Tensor) else type(restored).__name__
            raise BenchError(
                f"{self.name}: expected forward to return a tensor of floats, got {kind}"
            )
        if restored.shape != cloudy.shape:
            raise BenchError(
                f"{self.name}: expected forward to return images of shape {tuple(cloudy.shape)}, "
                f"got {tuple(restored.shape)}"
            )
        return restored


def _user_network(
    name: str,
    weights: str | Path | None,
    options: Sequence[str],
    seed: int,
    described: Description,
) -> tuple[nn.Module, Card]:
    expect_one_date(name, described)
    file, function = user_function(name)
    if str(weights) == RANDOM:
        raise UsageError(
            f"{name}: expected a file of weights or no --weights; without, the network keeps the "
            f"weights that {function}() gives it"
        )
    network = build_user_network(name, options)
    source = None if weights is None else find(function, weights)
    if source is not None:
        load_state(network.network, source.path)
        stated = read_trained_on(source.path)
        expect_known(stated, source.path, described, uses_sar=True)
    return network, Card(
        method=f"{file.name}:{function}",
        weights=f"of {function}(), seed {seed}" if source is None else file_sha256(source.path),
        pretrained=source.origin if source else None,
        code=file_sha256(file),
        options=_as_text(parse_options(options, "--model-arg")),
    )


def user_function(name: str) -> tuple[Path, str]:
    """Split ``net.py:build`` into a file, which may not exist, and the name of a function.

    Raises:
        UsageError: It is anything else.
    """
    path, _, function = name.rpartition(":") if ":" in name else (name, "", "")
    if Path(path).suffix != ".py" or not function.isidentifier():
        raise UsageError(f"{name}: expected a file and a function in it, such as net.py:build")
    return Path(path), function


def build_user_network(name: str, options: Sequence[str]) -> UserNetwork:
    """Make a user's network, with the weights that its function gives it.

    Args:
        name: File and function.
        options: Arguments of the function, ``key=value`` each.

    Raises:
        UsageError: Not a file and a function, or an option that is no ``key=value``.
        BenchError: The file does not make a network.
    """
    file, function = user_function(name)
    values = parse_options(options, "--model-arg")
    if not file.is_file():
        raise BenchError(f"{file}: no such file")
    return UserNetwork(_call(_function(_run(file), function, file), values, name, file), name, file)


def _run(file: Path) -> ModuleType:
    """Import a user's file under a unique name; it can import its neighbours as a script can."""
    spec = importlib.util.spec_from_file_location(f"_own_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(file.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise BenchError(_where(error, file, str(file))) from error
    return module


def _function(module: ModuleType, function: str, file: Path) -> Callable[..., object]:
    value: object = getattr(module, function, None)
    if not callable(value):
        functions = [
            name
            for name, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", "") == module.__name__
        ]
        near = difflib.get_close_matches(function, functions, 1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; it has {', '.join(functions)}"
        raise BenchError(f"{file}: has no function {function!r}{hint if functions else ''}")
    return value


def _call(
    build: Callable[..., object], values: Mapping[str, Any], name: str, file: Path
) -> nn.Module:
    try:
        network = build(**values)
    except (Exception, SystemExit) as error:
        raise BenchError(_where(error, file, name)) from error
    if not isinstance(network, nn.Module):
        raise BenchError(f"{name}: expected it to return a torch.nn.Module, got {network!r:.80}")
    return network


def _where(error: BaseException, file: Path, what: str) -> str:
    """A user's error in one line: the innermost line in the user's files, and the error."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}: {type(error).__name__}: {error.msg}"
    folder = str(file.resolve().parent)
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if str(Path(frame.filename).resolve()).startswith(folder)]
    own = [frame for frame in own if "site-packages" not in frame.filename]
    where = f"{own[-1].filename}, line {own[-1].lineno}" if own else what
    text = " ".join(str(error).split())
    return f"{where}: {type(error).__name__}{f': {text}' if text else ''}"
