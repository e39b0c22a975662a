"""Read and write predictions.toml, the card of a folder of predictions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final, Literal

import tomli_w
from pydantic import ConfigDict, Field

from planetcr_bench.errors import PredictionError
from planetcr_bench.utils.files import atomic_write
from planetcr_bench.utils.untrusted import printable, read_toml
from planetcr_bench.utils.validation import FileModel, validate

CARD: Final = "predictions.toml"
"""Optional file in the folder of predictions that describes where they come from."""

PATHS: Final = ("dataset", "description")
"""Keys of what lies on the machine that predicted."""

LARGEST_CARD: Final = 64_000
"""Bytes of it."""


class Card(FileModel):
    """Content of ``predictions.toml``.

    Attributes:
        method: Name of the method.
        split: Split that was predicted.
        scale: Value in the files that means a reflectance of 1; by default 10 000 for uint16
            and 1 for float.
        dataset: Folder of the dataset.
        description: Of the dataset, where it was named: in the catalogue, or a TOML file.
        fingerprint: Of the split, as ``planetcr-bench check`` prints it.
        simulation: Identity of a simulated split, which another machine simulates again.
        weights: SHA-256 of the weight file, or how else the weights were made.
        pretrained: Name or address of these weights, if they have one.
        code: SHA-256 of the user's file that defines the network.
        options: Options of the network, ``key=value``, separated by commas.
        window: What the network saw, a key of ``INPUT_WINDOWS``.
        precision: Lower precision in which the network ran.
        tiles: Side and overlap of the tiles in which it saw an image.
    """

    model_config = ConfigDict(title="a card of predictions")

    method: str | None = None
    split: str | None = None
    scale: Annotated[float, Field(gt=0, lt=1e9)] | None = None
    dataset: str | None = None
    description: str | None = None
    fingerprint: str | None = None
    simulation: str | None = None
    weights: str | None = None
    pretrained: str | None = None
    code: str | None = None
    options: str | None = None
    window: Literal["whole", "official"] | None = None
    precision: str | None = None
    tiles: str | None = None


def read_card(folder: Path) -> Card:
    """Read ``predictions.toml``; if it is missing, all values are unknown.

    Raises:
        PredictionError: It cannot be read, has an unknown key, or a value of the wrong type.
    """
    path = folder / CARD
    if not folder.is_dir():
        raise PredictionError(f"{folder}: expected a folder of predictions, found no such folder")
    if not os.path.lexists(path):
        return Card()
    entries = read_toml(path, LARGEST_CARD, error=PredictionError)
    return validate(Card, entries, str(path), error=PredictionError)


def write_card(folder: Path, card: Card) -> None:
    """Write ``predictions.toml`` atomically."""
    entries = card.model_dump(exclude_none=True)
    try:
        atomic_write(folder / CARD, tomli_w.dumps(entries).encode())
    except OSError as error:
        raise unwritable(folder / CARD, error) from error


def unwritable(path: Path, error: OSError) -> PredictionError:
    """Error about a file that cannot be written."""
    return PredictionError(f"{printable(path)}: cannot be written ({error.strerror}); remove it")
