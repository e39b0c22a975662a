"""Publish the weights of a training run: a small file, and a card with their origin and scores.

::

    python -m planetcr_models.training.publish runs/dsen2_cr --out weights

writes ``weights/dsen2_cr.safetensors`` and ``weights/dsen2_cr.json``. Uploaded to the Hugging Face
Hub, they are what ``pretrained="hf://OWNER/NAME"`` loads.
"""

from __future__ import annotations

import argparse
import csv
import math
import re
import shlex
import sys
import tomllib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import torch
from torch import Tensor

from planetcr_models.errors import CheckpointError, ModelError
from planetcr_models.networks.base import Restorer
from planetcr_models.segmentation.deeplab import Segmenter, load_segmenter
from planetcr_models.training.checkpoint import RECIPE
from planetcr_models.training.logger import EPOCHS
from planetcr_models.weights.cards import card_path, card_text, read_card
from planetcr_models.weights.checkpoint import read_safetensors, write_safetensors
from planetcr_models.weights.files import load_model
from planetcr_models.weights.paths import atomic_path, expect_file, file_sha256
from planetcr_models.weights.pretrained import SEGMENTER, SUFFIX
from planetcr_models.weights.sources import BEST

LIMIT: Final = 1e-3
"""Accepted root mean square effect of float16 on reflectance. An error of this size that is
independent of a network's own takes less than 0.005 dB off a PSNR of 30 dB:
10 lg(1 + 1e-6 / 1e-3)."""

SEGMENTER_LIMIT: Final = 1e-2
"""The same on the probability of a class: only pixels between two classes change theirs."""

FACTS: Final = (
    "track",
    "training_scenes",
    "training_fingerprint",
    "validation_scenes",
    "validation_fingerprint",
)
"""Entries of a run's identity that say what it was trained on; the others are its recipe."""

_SIDE: Final = 160


def publish(
    run: Path | str,
    out: Path | str,
    *,
    precision: Literal["float16", "float32"] = "float16",
    licence: str = "Apache-2.0",
) -> dict[str, Any]:
    """Write the best weights of a training run, and their card.

    Args:
        run: Folder of ``planetcr-bench train``: ``best.safetensors``, ``recipe.toml`` and
            ``epochs.csv``.
        out: Folder to write ``<method>.safetensors`` and ``<method>.json`` to; files of these names
            are replaced.
        precision: ``float16`` halves the file: kernels and matrices are rounded, vectors (biases,
            normalisation and its statistics) are not. They are loaded in float32 in either case.
        licence: Of the weights.

    Returns:
        The card: ``method``, ``track`` and fingerprints of the data, of a segmenter also its
        ``class_pixels``, ``recipe``, ``command``
        without the folders of absolute paths, ``minutes`` of all training steps, ``steps`` of the
        whole run, ``epoch`` of these weights and their validation ``scores``, ``seed``,
        ``options``, ``parameters``, ``precision``, ``largest_difference``, ``licence``, ``date``,
        ``version`` and ``sha256``. ``largest_difference`` is the largest absolute effect of the
        rounding on a random image, in reflectance; of the segmenter, in probability.

    Raises:
        CheckpointError: A file of the run is missing or damaged.
        ModelError: The rounding has too large an effect: see :data:`LIMIT`.
        OSError: The files cannot be written.
    """
    run, out = Path(run), Path(out)
    recipe, epochs = _recipe(run / RECIPE), _epochs(run / EPOCHS)
    identity: dict[str, Any] = recipe["identity"]
    method = str(identity["name"])
    weights = run / BEST
    model = load_segmenter(weights) if method == SEGMENTER else load_model(weights, method=method)
    rounded = {
        key: _rounded(value) if precision == "float16" else value
        for key, value in model.state_dict().items()
    }
    before = _output(model)
    model.load_state_dict(rounded)
    difference = _output(model) - before
    effect = float(difference.square().mean().sqrt())
    limit = SEGMENTER_LIMIT if method == SEGMENTER else LIMIT
    if not effect <= limit:
        raise ModelError(
            f"{weights}: float16 changes a random image by {effect:.2g} (root mean square), more "
            f"than {limit:g}; publish it in float32"
        )
    best = _best(method, epochs)
    card = {
        "method": method,
        **{key: identity.get(key) for key in FACTS},
        **(_pixels(weights) if method == SEGMENTER else {}),
        "recipe": {
            key: value
            for key, value in identity.items()
            if key not in ("name", *FACTS) and not key.startswith("option.")
        },
        "command": _without_folders(recipe["command"]),
        "minutes": round(_minutes(epochs, int(identity["batch"])), 1),
        "steps": int(epochs[-1]["step"]),
        "epoch": int(best["epoch"]),
        "seed": identity.get("seed"),
        "scores": _scores(best),
        "options": dict(model.options),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "precision": precision,
        "largest_difference": float(difference.abs().max()),
        "licence": licence,
        "date": datetime.fromtimestamp(weights.stat().st_mtime, UTC).date().isoformat(),
        "version": recipe["version"],
    }
    path = out / f"{method}{SUFFIX}"
    metadata = read_safetensors(weights)[1]
    out.mkdir(parents=True, exist_ok=True)
    # The weights take their place first: left by the inner context.
    with atomic_path(card_path(path)) as card_file, atomic_path(path) as weights_file:
        write_safetensors(weights_file, rounded, metadata)
        card["sha256"] = file_sha256(weights_file)
        card_file.write_text(card_text(card), encoding="utf-8")
    return card


def _pixels(weights: Path) -> dict[str, Any]:
    """Held-out pixels of each class, if the card beside a segmenter of a run has them."""
    card = read_card(weights) if card_path(weights).exists() else {}
    return {key: card[key] for key in ("class_pixels",) if key in card}


def _rounded(value: Tensor) -> Tensor:
    return value.half() if value.is_floating_point() and value.ndim > 1 else value


@torch.no_grad()
def _output(model: Restorer | Segmenter) -> Tensor:
    """Reflectance, or the probability of each class, of a random image."""
    generator = torch.Generator().manual_seed(0)
    bands = model.options["bands"] if isinstance(model, Segmenter) else model.bands
    dtype = next(model.parameters()).dtype
    image = torch.rand(1, bands, _SIDE, _SIDE, generator=generator).to(dtype)
    if isinstance(model, Segmenter):
        return model(image).softmax(1)
    return model(image, torch.rand(1, model.sar_bands, 48, 48, generator=generator).to(dtype))


def _recipe(path: Path) -> dict[str, Any]:
    expect_file(path, "the recipe of a training run")
    try:
        recipe = tomllib.loads(path.read_text(encoding="utf-8"))
        identity = recipe["identity"]
        if {"name", "batch"} <= identity.keys() and {"command", "version"} <= recipe.keys():
            return recipe
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path}: not the recipe of a training run, or damaged") from error
    raise CheckpointError(f"{path}: expected command, version, name and batch of a training run")


def _epochs(path: Path) -> list[dict[str, float]]:
    """Rows of the table of epochs; an empty cell is NaN."""
    expect_file(path, "the table of epochs of a training run")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [
                {key: float(value) if value else math.nan for key, value in row.items()}
                for row in csv.DictReader(file)
            ]
        if rows and {"step", "epoch", "samples_per_second"} <= rows[0].keys():
            return rows
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: not the table of epochs, or damaged") from error
    raise CheckpointError(f"{path}: expected a finished epoch, found none; train further")


def _best(method: str, epochs: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
    """The epoch whose weights are the best, as training chooses it: the last without validation."""
    criterion = "miou" if method == SEGMENTER else "psnr_full"
    best = epochs[0]
    if criterion not in best:
        return epochs[-1]
    for row in epochs[1:]:
        if row[criterion] > best[criterion] or math.isnan(best[criterion]):
            best = row
    return best


def _scores(row: Mapping[str, float]) -> dict[str, float | None]:
    others = ("step", "epoch", "samples_per_second", "waited_for_data", "minutes")
    return {
        key: value if math.isfinite(value) else None
        for key, value in row.items()
        if key not in others
    }


def _minutes(epochs: Sequence[Mapping[str, float]], batch: int) -> float:
    """Time of all training steps, as logged where it limits a run, else by each epoch's pace."""
    if "minutes" in epochs[-1]:
        return epochs[-1]["minutes"]
    steps = [row["step"] for row in epochs]
    each = [after - before for before, after in zip([0.0, *steps], steps, strict=False)]
    paces = (row["samples_per_second"] for row in epochs)
    return sum(count * batch / pace / 60 for count, pace in zip(each, paces, strict=True))


def _without_folders(command: str) -> str:
    """A command whose absolute paths are shortened to names: they tell of a machine."""
    words = (re.fullmatch(r"([^/=]*=)?(.*)", word, re.DOTALL) for word in shlex.split(command))
    parts = [(word[1] or "", word[2]) for word in words if word]
    return shlex.join(key + (Path(v).name if v.startswith("/") else v) for key, v in parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run :func:`publish` from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m planetcr_models.training.publish",
        description="Write the best weights of a training run, and their card.",
    )
    parser.add_argument("run", type=Path, help="folder of `planetcr-bench train`")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--precision", choices=("float16", "float32"), default="float16")
    parser.add_argument("--licence", default="Apache-2.0", help="of the weights (Apache-2.0)")
    given = parser.parse_args(arguments)
    try:
        card = publish(given.run, given.out, precision=given.precision, licence=given.licence)
    except (ModelError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    path = given.out / f"{card['method']}{SUFFIX}"
    print(
        f"{path}: {path.stat().st_size / 1e6:.2f} MB, {card['parameters']:,} parameters; "
        f"{card['precision']} changes a random image by at most {card['largest_difference']:.1e}. "
        f"Card: {card_path(path)}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
