"""Say what kind of images the scores of a ledger are of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from planetcr_bench.constants import (
    BAND_NAME,
    CLUSTER_NAME,
    EDGE_M,
    EDGE_PX,
    LONGEST_SOURCE,
    OPTICAL_BANDS,
    OPTICAL_RESOLUTION_M,
    OPTICAL_SIZE,
)

MOST_BANDS: Final = 256

SCENE: Final = "scene"
"""Word for clusters of one scene each."""


@dataclass(frozen=True, slots=True)
class Imagery:
    """What decides which columns a ledger has, and what its rows and intervals mean.

    Attributes:
        bands: Names of the bands, in the order of the files.
        cluster: What groups scenes that are not independent, in a word: over these are intervals.
        resolution_m: Of a pixel; None if it is not known.
        size: Height and width in pixels of all scenes; None if they differ.
        masks: What made the cloud masks; empty if they are the dataset's own.
        masks_sha256: Of these masks; empty likewise.
        description: Digest of what the description of the dataset says of the values of pixels;
            None as of Planet-CR, or if it is not known.
    """

    bands: tuple[str, ...] = OPTICAL_BANDS
    cluster: str = "AOI"
    resolution_m: float | None = OPTICAL_RESOLUTION_M
    size: tuple[int, int] | None = (OPTICAL_SIZE, OPTICAL_SIZE)
    masks: str = ""
    masks_sha256: str = ""
    description: str | None = None

    @classmethod
    def of(cls, provenance: Mapping[str, Any]) -> Self:
        """What the provenance of a ledger says; it leaves out what Planet-CR has."""
        usual = cls()
        size = provenance.get("size", usual.size)
        return cls(
            tuple(provenance.get("bands", usual.bands)),
            provenance.get("cluster", usual.cluster),
            provenance.get("resolution_m", usual.resolution_m),
            None if size is None else (size[0], size[1]),
            provenance.get("masks", usual.masks),
            provenance.get("masks_sha256", usual.masks_sha256),
            provenance.get("description"),
        )

    def facts(self) -> dict[str, Any]:
        """What a provenance says of it: only where it is not as Planet-CR."""
        usual = type(self)()
        values = {
            "bands": list(self.bands),
            "cluster": self.cluster,
            "resolution_m": self.resolution_m,
            "size": None if self.size is None else list(self.size),
            "masks": self.masks,
            "masks_sha256": self.masks_sha256,
            "description": self.description,
        }
        return {
            key: value for key, value in values.items() if getattr(self, key) != getattr(usual, key)
        }

    @property
    def is_planet_cr(self) -> bool:
        """Whether the images are those of Planet-CR, whatever the masks."""
        return replace(self, masks="", masks_sha256="") == type(self)()

    @property
    def masks_note(self) -> str:
        """A sentence about masks that are not the dataset's own; empty for those."""
        return f"Cloud masks, for cloud cover and regions: {self.masks}." if self.masks else ""

    @property
    def clusters(self) -> str:
        """The word for several clusters."""
        return f"{self.cluster}s"

    @property
    def one_scene_each(self) -> bool:
        """Whether each scene counts as independent of all others, which it may not be."""
        return self.cluster == SCENE

    @property
    def counted(self) -> str:
        """What counts of a score are of, such as ``scenes / AOIs``; see :meth:`counts`."""
        return "scenes" if self.one_scene_each else f"scenes / {self.clusters}"

    def counts(self, scenes: float, clusters: float) -> str:
        """Scenes and clusters behind a score, such as ``12 / 3``."""
        return f"{scenes:.0f}" if self.one_scene_each else f"{scenes:.0f} / {clusters:.0f}"

    @property
    def haze(self) -> str:
        """What is known of haze outside the mask: that of Planet-CR misses it."""
        known = self.is_planet_cr and not self.masks
        return "the mask misses haze" if known else "the mask may miss haze"

    @property
    def edge(self) -> str:
        """Width of the region at the edge of cloud, such as ``30 m``."""
        if self.resolution_m is None:
            return f"{EDGE_PX:g} pixels (the resolution is not known)"
        return f"{EDGE_M:g} m"


def same_masks(imagery: Imagery, other: Imagery) -> bool:
    """Whether the cloud cover and the regions of two ledgers are of the same masks."""
    return (imagery.masks, imagery.masks_sha256) == (other.masks, other.masks_sha256)


def masks_words(imagery: Imagery) -> str:
    """What made the masks, and a part of their digest."""
    if not imagery.masks:
        return "the dataset's own or none"
    return f"{imagery.masks} (sha256 {imagery.masks_sha256[:12]})"


def imagery_errors(record: Mapping[str, Any]) -> list[str]:
    """What of a provenance cannot be of images, one line each."""
    bands, cluster = record.get("bands", list(OPTICAL_BANDS)), record.get("cluster", "AOI")
    resolution, size = record.get("resolution_m"), record.get("size")
    signature = record.get("description")
    is_signature = isinstance(signature, str) and re.fullmatch(r"[0-9a-f]{12}", signature)
    named = isinstance(bands, list) and all(
        isinstance(band, str) and re.fullmatch(BAND_NAME, band) for band in bands
    )
    is_word = isinstance(cluster, str) and re.fullmatch(CLUSTER_NAME, cluster)
    is_length = resolution is None or (
        type(resolution) in (int, float) and 0 < resolution < float("inf")
    )
    masks, digest = record.get("masks", ""), record.get("masks_sha256", "")
    is_text = isinstance(masks, str) and len(masks) <= LONGEST_SOURCE and masks.isprintable()
    is_digest = isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}" if masks else "", digest)
    is_size = size is None or (
        isinstance(size, list) and len(size) == 2 and all(type(n) is int and n > 0 for n in size)
    )
    rules = {
        f"bands: expected 1 to {MOST_BANDS} different names": named
        and 0 < len(set(bands)) == len(bands) <= MOST_BANDS,
        "cluster: expected a word": is_word,
        "resolution_m: expected metres or null": is_length,
        "size: expected height and width in pixels, or null": is_size,
        f"masks: expected a text of at most {LONGEST_SOURCE} characters": is_text,
        "masks_sha256: expected 64 hexadecimal digits beside masks": is_digest,
        "description: expected 12 digits of a digest": signature is None or is_signature,
    }
    return [rule for rule, holds in rules.items() if not holds]
