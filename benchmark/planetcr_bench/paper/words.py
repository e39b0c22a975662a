"""Say in words what the captions of a paper must say: dataset, protocol, ties, intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from planetcr_bench.constants import PLANET_CR
from planetcr_bench.metrics.protocols import Protocol
from planetcr_bench.paper.runs import Runs
from planetcr_bench.results.aggregate import clusters_of, coverage, widest
from planetcr_bench.results.ledger import Ledger

_NAMES: Final = {PLANET_CR: "Planet-CR (M3R-CR)"}

_PROTOCOLS: Final = {
    "official": "on the centre 160 × 160 pixels of each scene, as means over scenes",
    "full": "on whole scenes, all pixels pooled",
}


def is_simulated(ledger: Ledger) -> bool:
    """Whether its scenes are simulated."""
    return bool(ledger.provenance.get("simulation"))


def track_name(ledger: Ledger) -> str:
    """Name of the dataset, for readers."""
    track = str(ledger.provenance["track"])
    return _NAMES.get(track, track)


def dataset_words(runs: Runs) -> str:
    """``the test split of sim-v1 (simulated, 3,000 scenes from 120 AOIs)``."""
    ledger = widest(runs.ledgers)
    scenes, clusters = int(ledger.provenance["scenes"]), len(ledger.aois)
    facts = [
        *(["simulated"] if is_simulated(ledger) else []),
        f"{scenes:,} scenes"
        + ("" if ledger.imagery.one_scene_each else f" from {clusters} {ledger.imagery.clusters}"),
    ]
    return f"the {ledger.provenance['split']} split of {track_name(ledger)} ({', '.join(facts)})"


def protocol_words(protocol: Protocol) -> str:
    """How scores are measured."""
    return _PROTOCOLS[protocol.name]


def tie_words(runs: Runs, *, several: bool) -> str:
    """What bold and underlined mean; nothing of a single method.

    Args:
        runs: Those of the table.
        several: Whether several methods are compared.
    """
    if not several:
        return ""
    return (
        "Bold: the best method and all that do not differ significantly from it (differences "
        f"paired on {clusters_of(runs.ledgers)}, Holm-corrected, 5 %). Underlined: the best of "
        "the others."
    )


def incomplete_words(ledgers: Sequence[Ledger]) -> str:
    """Which runs do not cover the dataset; they are in no comparison."""
    parts = [
        f"{ledger.name}: {coverage(ledger)}"
        for ledger in ledgers
        if not ledger.provenance["complete"]
    ]
    return f"Not compared, because incomplete: {'; '.join(parts)}." if parts else ""
