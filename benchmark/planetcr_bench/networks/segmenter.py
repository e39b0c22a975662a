"""Load segmenters from files and run them; needs PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.constants import LAND_COVER
from planetcr_bench.data.scene import Image
from planetcr_bench.networks.loading import find
from planetcr_bench.utils.devices import choose_device
from planetcr_bench.utils.files import file_sha256
from planetcr_models.errors import CheckpointError
from planetcr_models.inference import InferencePrecision
from planetcr_models.segmentation.deeplab import (
    Segmenter,
    classify,
    load_segmenter,
)
from planetcr_models.weights.cards import read_card
from planetcr_models.weights.pretrained import SEGMENTER

CARD_KEYS: Final = (
    "track",
    "bands",
    "training_fingerprint",
    "training_scenes",
    "validation_scenes",
    "scores",
    "class_pixels",
)
"""Entries of a segmenter's card that go into the provenance of a ledger."""

_AT_ONCE: Final = {"cpu": 4, "cuda": 32}
"""Images in a batch: more are no faster, and take memory."""


class FileSegmenter:
    """A segmenter loaded from a file, on a device.

    Args:
        path: As ``planetcr-bench train segmenter`` wrote it.
        device: As PyTorch names it.
        precision: ``bf16`` counts as a different segmenter from ``32``: some pixels get another
            class.
    """

    def __init__(self, path: Path, device: str, precision: InferencePrecision) -> None:
        self._segmenter: Segmenter = load_segmenter(path)
        options = self._segmenter.options
        if options["classes"] != len(LAND_COVER):
            raise CheckpointError(
                f"{path}: expected a segmenter of {len(LAND_COVER)} classes, got "
                f"{options['classes']}; `planetcr-bench train segmenter` makes one"
            )
        self._device, self._precision = device, precision
        self._sha256 = file_sha256(path)
        card: Mapping[str, Any] = {}
        with suppress(CheckpointError):  # the card is optional
            card = read_card(path)
        self._card = {key: card[key] for key in CARD_KEYS if key in card}

    @property
    def key(self) -> str:
        """First eight digits of the file's SHA-256, with ``-bf16`` in that precision."""
        return self._sha256[:8] + ("-bf16" if self._precision == "bf16" else "")

    @property
    def name(self) -> str:
        """Encoder and key."""
        return f"{self._segmenter.options['encoder']} {self.key}"

    @property
    def facts(self) -> Mapping[str, Any]:
        """Name, hash, options, and entries of its card."""
        options = {**self._segmenter.options, "rates": list(self._segmenter.options["rates"])}
        return {"name": self.name, "sha256": self._sha256, "options": options, **self._card}

    def classify(self, images: Image) -> NDArray[np.uint8]:
        """Class index of each pixel of images of shape (B, bands, H, W)."""
        many = _AT_ONCE[self._device.partition(":")[0]]
        parts = [
            classify(
                self._segmenter,
                images[at : at + many],
                device=self._device,
                precision=self._precision,
            )
            for at in range(0, len(images), many)
        ]
        return np.concatenate(parts)


def load(
    weights: str | Path, *, device: str = "auto", precision: InferencePrecision = "32"
) -> FileSegmenter:
    """Load a segmenter.

    Args:
        weights: See ``find_weights``.
        device: See :func:`choose_device`.
        precision: ``32`` or ``bf16``.

    Raises:
        ModelError: There is no such segmenter, or it is damaged, or of other classes than the
            benchmark's.
        BenchError: The device is not available.
    """
    path = find(SEGMENTER, weights).path
    if not path.is_file():
        raise CheckpointError(
            f"{path}: expected the file of a segmenter, found none; `planetcr-bench train "
            "segmenter` writes it as best.safetensors"
        )
    return FileSegmenter(path, choose_device(device), precision)


def load_all(
    weights: Sequence[str | Path], *, device: str = "auto", precision: InferencePrecision = "32"
) -> list[FileSegmenter]:
    """Load several segmenters: see :func:`load`."""
    return [load(each, device=device, precision=precision) for each in weights]
