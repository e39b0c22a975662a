"""Say what is known of the scenes of runs, and so which tables and figures they can have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from planetcr_bench.constants import COVER_BINS, LAND_COVER
from planetcr_bench.results.ledger import Ledger

NO_LAND_COVER: Final = (
    "The dataset has no land cover: scores by class and of segmenters are left out."
)
NO_MASKS: Final = (
    "The dataset has no cloud masks: scores by region and by cloud cover (Fig. 5) are left out."
)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of any scene of some runs.

    Attributes:
        land_cover: Whether the land cover.
        masks: Whether the cloud mask.
        seasons: Whether the season.
        masks_note: A sentence about masks that are not the dataset's own, or nothing.
    """

    land_cover: bool
    masks: bool
    seasons: bool
    masks_note: str = ""

    @classmethod
    def of(cls, ledgers: Sequence[Ledger]) -> Self:
        """What is known of the scenes of runs."""
        return cls(
            any(ledger.has_land_cover for ledger in ledgers),
            any(ledger.has_masks for ledger in ledgers),
            any(ledger.has_seasons for ledger in ledgers),
            ledgers[0].imagery.masks_note,
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """Land-cover classes that tables have columns for."""
        return LAND_COVER if self.land_cover else ()

    @property
    def bins(self) -> tuple[str, ...]:
        """Cloud-cover bins that tables have columns for."""
        return COVER_BINS if self.masks else ()

    @property
    def missing(self) -> list[str]:
        """What is left out and why, or not the dataset's own: a sentence each."""
        return [
            *([] if self.land_cover else [NO_LAND_COVER]),
            *([] if self.masks else [NO_MASKS]),
            *([self.masks_note] if self.masks_note else []),
        ]
