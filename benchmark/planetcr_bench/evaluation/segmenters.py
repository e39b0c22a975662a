"""Segment scenes and predictions, and count the pixels of each pair of classes.

A segmenter is anything that predicts land cover from an image (paper, Sec. 5.3); no network is
loaded here. Its maps of the clear and the cloudy image of a scene are computed once per dataset and
segmenter, and kept in the user's cache folder.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.constants import LAND_COVER, OPTICAL_BANDS
from planetcr_bench.data.scene import Image
from planetcr_bench.errors import BenchError
from planetcr_bench.evaluation.loading import ScenePixels
from planetcr_bench.metrics import kernels, protocols
from planetcr_bench.metrics.sums import GROUPS, SEGMENTER_WIDTH
from planetcr_bench.utils.files import cache_folder, cache_write

CLASSES: Final = len(LAND_COVER)

VERSION: Final = 1
"""Of the cached maps; raised when images are shown to segmenters in another way."""

Maps = NDArray[np.uint8]


class Segmenter(Protocol):
    """Predicts the land cover of images; its weights are frozen."""

    @property
    def key(self) -> str:
        """Names its columns in a ledger: 8 digits of its hash, and how it runs if not in float32.

        Segmenters that could answer differently have different keys.
        """

    @property
    def name(self) -> str:
        """Short and readable, such as ``resnet50 1a2b3c4d``."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """Its entry in a run's provenance: ``name``, ``sha256`` and how it was trained."""

    def classify(self, images: Image) -> Maps:
        """Class index of each pixel.

        Args:
            images: Reflectance, shape (images, bands, H, W); may lie outside [0, 1].

        Returns:
            Index into ``LAND_COVER``, shape (images, H, W).
        """


def expect_bands(segmenter: Segmenter, bands: Sequence[str]) -> None:
    """Refuse a segmenter that learned from other bands than those of a dataset.

    Args:
        segmenter: One that states no bands, but four of them, learned from those of Planet-CR.
        bands: Of the dataset.

    Raises:
        BenchError: Their number or their order is another.
    """
    remedy = "`planetcr-bench train segmenter` on it makes one"
    count = segmenter.facts.get("options", {}).get("bands", len(bands))
    if count != len(bands):
        raise BenchError(
            f"--segmenter: {segmenter.name} takes images of {count} bands, the dataset has "
            f"{len(bands)}; {remedy}"
        )
    usual = OPTICAL_BANDS if "options" in segmenter.facts and count == len(OPTICAL_BANDS) else bands
    known = segmenter.facts.get("bands", usual)
    if [*known] != [*bands]:
        raise BenchError(
            f"--segmenter: {segmenter.name} learned from {', '.join(known)}, the dataset has "
            f"{', '.join(bands)}; {remedy}"
        )


class SegmenterPool:
    """Several segmenters, with a cache of their maps of a dataset.

    Args:
        segmenters: Of different keys.
        fingerprint: Of the scenes.
        allowed: Protocols that are measured.
    """

    def __init__(
        self,
        segmenters: Sequence[Segmenter],
        fingerprint: str,
        allowed: Sequence[protocols.Protocol],
    ) -> None:
        self.segmenters, self._protocols = segmenters, allowed
        self._folders = [_folder(segmenter, fingerprint, allowed) for segmenter in segmenters]

    @property
    def keys(self) -> list[str]:
        """Of the segmenters, in order."""
        return [segmenter.key for segmenter in self.segmenters]

    def count(self, scenes: Sequence[ScenePixels]) -> list[dict[str, NDArray[np.int64]]]:
        """Segment the predictions of some scenes with every segmenter, and count pixels.

        Under each protocol a segmenter sees that protocol's window alone, so that a prediction of
        the centre crop is segmented as the centre of a whole one is.

        Args:
            scenes: Decoded; a segmenter is shown those of one size together.

        Returns:
            Per scene, protocol to pixels, shape (:data:`GROUPS`, segmenters ×
            :data:`SEGMENTER_WIDTH`), in the order of ``segmenter_columns``.
        """
        counts: list[dict[str, NDArray[np.int64]]] = [{} for _ in scenes]
        by_size: dict[tuple[int, ...], list[int]] = {}
        for index, scene in enumerate(scenes):
            by_size.setdefault(scene.clear.shape, []).append(index)
        for indices in by_size.values():
            alike = self._count_alike([scenes[index] for index in indices])
            for index, own in zip(indices, alike, strict=True):
                counts[index] = own
        return counts

    def _count_alike(self, scenes: Sequence[ScenePixels]) -> list[dict[str, NDArray[np.int64]]]:
        """Count pixels of scenes of one size."""
        counts: list[dict[str, NDArray[np.int64]]] = [{} for _ in scenes]
        references = [
            self._references(segmenter, folder, scenes)
            for segmenter, folder in zip(self.segmenters, self._folders, strict=True)
        ]
        for protocol in self._protocols:
            images = np.stack([kernels.centre_crop(s.images[0], protocol.window) for s in scenes])
            seen = [segmenter.classify(images) for segmenter in self.segmenters]
            for index, scene in enumerate(scenes):
                group = kernels.centre_crop(scene.group, protocol.window)
                parts = [
                    confusion_counts(group, known[index][protocol.name], maps[index])
                    for known, maps in zip(references, seen, strict=True)
                ]
                counts[index][protocol.name] = np.concatenate(parts, axis=1)
        return counts

    def _references(
        self, segmenter: Segmenter, folder: Path, scenes: Sequence[ScenePixels]
    ) -> list[dict[str, Maps]]:
        """Maps of the clear and the cloudy image of scenes: protocol to shape (2, H, W)."""
        grids = {
            protocol.name: kernels.centre_crop(scenes[0].group, protocol.window).shape
            for protocol in self._protocols
        }
        files = [folder / f"{scene.identity['scene']}.npz" for scene in scenes]
        known = [_known_maps(file, grids) for file in files]
        new = [index for index, maps in enumerate(known) if maps is None]
        new_maps: dict[int, dict[str, Maps]] = {index: {} for index in new}
        for protocol in self._protocols if new else ():
            pairs = np.concatenate(
                [
                    kernels.centre_crop(
                        np.stack([scenes[index].clear, scenes[index].images[1]]), protocol.window
                    )
                    for index in new
                ]
            )
            maps = segmenter.classify(pairs)
            for position, index in enumerate(new):
                new_maps[index][protocol.name] = maps[2 * position : 2 * position + 2]
        for index, maps_of in new_maps.items():
            stream = io.BytesIO()
            np.savez_compressed(stream, allow_pickle=False, **maps_of)
            cache_write(files[index], stream.getvalue())
        return [new_maps[index] if maps is None else maps for index, maps in enumerate(known)]


def confusion_counts(group: NDArray[np.uint8], references: Maps, seen: Maps) -> NDArray[np.int64]:
    """Count pixels by the class that a segmenter predicts.

    Args:
        group: As in ``GROUPS``, shape (H, W).
        references: Class in the clear and in the cloudy image, shape (2, H, W).
        seen: Class in the prediction, shape (H, W).

    Returns:
        Pixels, shape (:data:`GROUPS`, :data:`SEGMENTER_WIDTH`): prediction, then cloudy; each by
        class in the clear image × class in this image.
    """
    clear, cloudy = references
    before = group.astype(np.int64) * CLASSES + clear
    counts = [
        np.bincount((before * CLASSES + image).ravel(), minlength=GROUPS * CLASSES**2)
        for image in (seen, cloudy)
    ]
    pixels = np.stack([count.reshape(GROUPS, CLASSES**2) for count in counts], axis=1)
    return pixels.reshape(GROUPS, SEGMENTER_WIDTH).astype(np.int64)


def _folder(segmenter: Segmenter, fingerprint: str, allowed: Sequence[protocols.Protocol]) -> Path:
    """Cache folder of a segmenter's maps of a dataset, named after all that decides them."""
    windows = " ".join(f"{protocol.name}:{protocol.window}" for protocol in allowed)
    text = f"v{VERSION} {fingerprint} {segmenter.facts['sha256']} {segmenter.key} {windows}"
    return cache_folder("segmented") / hashlib.sha256(text.encode()).hexdigest()[:32]


def _known_maps(file: Path, grids: Mapping[str, tuple[int, ...]]) -> dict[str, Maps] | None:
    """Cached maps; None if there are none, or others."""
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            maps = {name: stored[name] for name in grids}
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None
    sound = all(
        array.dtype == np.uint8 and array.shape == (2, *grid) and array.max() < CLASSES
        for array, grid in zip(maps.values(), grids.values(), strict=True)
    )
    return maps if sound else None
