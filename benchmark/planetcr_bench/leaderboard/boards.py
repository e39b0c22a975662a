"""Sort entries into boards that may be ranked, and collect the sums that the page draws from.

A board is one track, one dataset and one protocol. Boards are never mixed.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from planetcr_bench.analysis.intervals import (
    AoiSums,
    averaged_sums,
    estimate,
    pooled_sums,
    score_sums,
)
from planetcr_bench.constants import (
    COVER_BINS,
    LAND_COVER,
    LAND_COVER_NAMES,
    PLANET_CR,
    PLANET_CR_TEST_SCENES,
    REGIONS,
)
from planetcr_bench.errors import LedgerError
from planetcr_bench.leaderboard.arrays import ArrayStore
from planetcr_bench.leaderboard.entries import Entry
from planetcr_bench.metrics.protocols import PROTOCOLS, Protocol
from planetcr_bench.metrics.registry import HEADLINE, METRICS, Of
from planetcr_bench.results.aggregate import (
    check_comparable,
    group_sums,
    scene_scores,
    score_groups,
    seen_classes,
    widest,
)
from planetcr_bench.results.compact import ALL, CompactLedger
from planetcr_bench.results.imagery import Imagery
from planetcr_bench.results.known import Known
from planetcr_bench.results.ledger import Ledger
from planetcr_bench.utils.json_values import to_json_value

AXES: Final = {"land_cover": LAND_COVER_NAMES, "cover_bin": COVER_BINS, "region": REGIONS}
"""What the page can filter by, and the values of each in their order."""


@dataclass(frozen=True, slots=True)
class Board:
    """Entries that were measured on one dataset in one way.

    Attributes:
        track: Name of the track, with the dataset's fingerprint where one track has several, or
            where it is not the dataset that the track's name stands for.
        protocol: How they were measured.
        entries: In the order of their folders.
    """

    track: str
    protocol: Protocol
    entries: tuple[Entry, ...]

    @property
    def simulated(self) -> bool:
        """Whether the scenes were simulated."""
        return any(entry.simulated for entry in self.entries)

    @property
    def ledgers(self) -> list[Ledger]:
        """Of the entries, in their order."""
        return [entry.ledger for entry in self.entries]

    @property
    def imagery(self) -> Imagery:
        """What the images of the dataset are."""
        return self.entries[0].ledger.imagery

    @property
    def known(self) -> Known:
        """What is known of the scenes."""
        return Known.of(self.ledgers)


def boards_of(entries: Sequence[Entry]) -> list[Board]:
    """Sort entries into boards.

    Returns:
        Boards in the order of their tracks, the protocols of each in the order of ``PROTOCOLS``.
        Runs of one track on different datasets get separate boards. The one with most
        verified runs, else with most, keeps the track's name; each of the others is named by its
        fingerprint too, and so is a dataset called Planet-CR with another number of test scenes. An
        entry that was not measured in a protocol is only on the board of the other.
    """
    by_track: dict[str, list[list[Entry]]] = {}
    for entry in entries:
        groups = by_track.setdefault(_track(entry), [])
        for group in groups:
            if _alike(group[0], entry):
                group.append(entry)
                break
        else:
            groups.append([entry])
    boards = []
    for track, groups in sorted(by_track.items()):
        names: set[str] = set()
        for group in sorted(groups, key=_weight, reverse=True):
            name = _free_name(track, group, names)
            names.add(name)
            boards += [
                Board(name, protocol, tuple(members))
                for protocol in PROTOCOLS.values()
                if (
                    members := [
                        member for member in group if protocol.name in member.run["protocols"]
                    ]
                )
            ]
    return boards


def _weight(group: Sequence[Entry]) -> tuple[bool, int, int]:
    verified = sum(entry.status == "verified" for entry in group)
    return _matches_track_name(group), verified, len(group)


def _matches_track_name(group: Sequence[Entry]) -> bool:
    """Whether runs are of the dataset that their track is named after, as far as can be known.

    A board cannot know the pixels of Planet-CR, only that its test split has 3,000 scenes.
    """
    scenes = int(group[0].run["expected_scenes"])
    own = not group[0].ledger.imagery.masks
    return _track(group[0]) != PLANET_CR or (scenes == PLANET_CR_TEST_SCENES and own)


def _free_name(track: str, group: Sequence[Entry], taken: set[str]) -> str:
    """Name of a board that no other has: links lead to boards by their names."""
    if not taken and _matches_track_name(group):
        return track
    fingerprint = str(group[0].run["fingerprint"])[:8]
    names = (
        f"{track} ({fingerprint}{more})" for more in ("", *(f", {n}" for n in range(2, 10**6)))
    )
    return next(name for name in names if name not in taken)


def _track(entry: Entry) -> str:
    split = str(entry.run["split"])
    track = str(entry.run["track"])
    return track if split == "test" or track.endswith(f"-{split}") else f"{track}-{split}"


def _alike(first: Entry, other: Entry) -> bool:
    """Whether two runs can share a table; segmenters have columns of their own."""
    if first.run["expected_scenes"] != other.run["expected_scenes"]:
        return False
    try:
        check_comparable([first.ledger, other.ledger])
    except LedgerError:
        return False
    return True


def cells_of(board: Board, arrays: ArrayStore) -> dict[str, Any]:
    """Sums of every entry of a board by AOI and by what the page filters.

    Pooled over pixels, a cell is AOI × class × bin × region, and any selection adds its cells. As a
    mean over scenes, selections do not add: there is one cell per AOI without a filter and with
    each single one, with ``all`` for what is not split.

    Returns:
        ``aois`` (names), ``additive``, ``index`` (key of an array: 4 × cells, positions of AOI,
        class, bin and region; the number of values stands for all), and per entry, and for
        ``input`` if a run has it, keys of arrays under ``top_<metric>`` and ``bottom_<metric>``,
        one number per cell: what a metric of ``HEADLINE`` divides, and by what. Under
        ``estimates`` what Python finds without a filter, by name and metric, see ``Estimate``, and
        under ``values`` the scores with a single one, by name, axis, value and metric.
    """
    additive = board.protocol.pool == "pixels"
    runs: list[tuple[str, Ledger, Of]] = [
        (entry.name, entry.ledger, "prediction") for entry in board.entries
    ]
    if (known := _with_input(board.ledgers)) is not None:
        runs.append(("input", *known))
    cut = _added if additive else _averaged
    tables = {name: cut(ledger, board.protocol, of) for name, ledger, of in runs}
    index = _all_cells(tables)
    aois = pd.Index(sorted(set(index.get_level_values("aoi"))))
    sums = {
        name: _sums_of(tables[name], board.protocol)
        if of == "input"
        else {metric: own for (metric, _), own in score_sums(ledger, board.protocol).items()}
        for name, ledger, of in runs
    }
    return {
        "aois": list(aois),
        "additive": additive,
        "index": arrays.whole(_positions(index).T),
        "sums": {
            name: _kept_sums(table.reindex(index, fill_value=0.0), arrays)
            for name, table in tables.items()
        },
        "estimates": {
            name: to_json_value(_kept_estimates(own, aois, arrays)) for name, own in sums.items()
        },
        "values": {
            name: to_json_value(_filtered(ledger, board.protocol, of)) for name, ledger, of in runs
        },
    }


def _kept_sums(table: pd.DataFrame, arrays: ArrayStore) -> dict[str, str]:
    keys: dict[str, str] = {}
    for metric in HEADLINE:
        top, bottom = f"top_{metric}", f"bottom_{metric}"
        like = keys.get(f"bottom_{HEADLINE[0]}")
        keys[bottom] = arrays.whole(table[bottom].to_numpy(), like)
        keys[top] = arrays.real(table[top].to_numpy())
    return keys


def _kept_estimates(
    sums: Mapping[str, AoiSums], aois: pd.Index[Any], arrays: ArrayStore
) -> dict[str, dict[str, Any]]:
    """Estimates of all pixels, with the score without each AOI, and whether it was measured."""
    kept = {}
    for metric, own in sums.items():
        places = aois.get_indexer(pd.Index(own.aois))
        without, measured = np.full(len(aois), own.value), np.zeros(len(aois), bool)
        without[places], measured[places] = own.leave_one_out, own.measured
        keys = {"without": arrays.real(without, np.float64), "measured": arrays.whole(measured)}
        kept[metric] = {**asdict(estimate(own)), **keys}
    return kept


def _filtered(ledger: Ledger, protocol: Protocol, of: Of) -> dict[str, Any]:
    """Scores by axis, value on it, and metric: the cells of a compact ledger have fewer digits."""
    return {
        axis: score_groups(ledger, protocol, [axis], of=of)[list(HEADLINE)].to_dict("index")
        for axis in AXES
    }


def _sums_of(table: pd.DataFrame, protocol: Protocol) -> dict[str, AoiSums]:
    """Sums per AOI of all pixels, from cells."""
    additive = protocol.pool == "pixels"
    sums_of = pooled_sums if additive else averaged_sums
    if not additive:
        table = table[(table.index.to_frame()[list(AXES)] == ALL).all(axis=1)]
    by_aoi = table.groupby(level="aoi").sum()
    return {
        metric: sums_of(metric, by_aoi[[f"top_{metric}", f"bottom_{metric}"]])
        for metric in HEADLINE
    }


def _with_input(ledgers: Sequence[Ledger]) -> tuple[Ledger, Of] | None:
    """The run with most scenes that has the input by cells, and the image under which it has it.

    A compact ledger has them of predictions alone: it must be of a run that copies the input.
    """
    known: list[tuple[Ledger, Of]] = []
    for ledger in ledgers:
        if not isinstance(ledger, CompactLedger):
            known.append((ledger, "input"))
        elif ledger.copies_input:
            known.append((ledger, "prediction"))
    return max(known, key=lambda each: int(each[0].provenance["scenes"]), default=None)


def _all_cells(tables: Mapping[str, pd.DataFrame | pd.Series[Any]]) -> pd.Index[Any]:
    """The cells of all tables."""
    indices = [table.index for table in tables.values()]
    return functools.reduce(lambda all_cells, own: all_cells.union(own), indices)


def _cells(table: pd.DataFrame) -> pd.DataFrame:
    """A table with an index of AOI, class, bin and region, ``all`` for what does not split it."""
    keys = ["aoi", *AXES]
    rows = table.reset_index()
    rows = rows.assign(**{key: ALL for key in keys if key not in table.index.names})
    return rows.astype(dict.fromkeys(keys, object)).set_index(keys)


def _added(ledger: Ledger, protocol: Protocol, of: Of) -> pd.DataFrame:
    """Sums of pixels per AOI × class × bin × region, as ``<numerator or denominator>_<metric>``."""
    names = [name for metric in HEADLINE for name in METRICS[metric].columns_of(of)]
    sums = _cells(group_sums(ledger, protocol, ["aoi", *AXES], list(dict.fromkeys(names))))
    parts = {}
    for metric in HEADLINE:
        top, bottom = METRICS[metric].columns_of(of)
        parts[f"top_{metric}"], parts[f"bottom_{metric}"] = sums[top], sums[bottom]
    return pd.DataFrame(parts).astype(float).sort_index()


def _averaged(ledger: Ledger, protocol: Protocol, of: Of) -> pd.DataFrame:
    """Sums of scenes' scores per AOI, and how many scenes have one, for every single filter."""
    tables = []
    for axis in ((), ("land_cover",), ("region",)):
        totals, counts = scene_scores(ledger, protocol, ["aoi", "cover_bin", *axis], of=of)
        by_bin = _cells(totals.add_prefix("top_").join(counts.add_prefix("bottom_")))
        any_bin = by_bin.droplevel("cover_bin").groupby(level=["aoi", "land_cover", "region"]).sum()
        tables += [_cells(any_bin), *([] if axis else [by_bin])]
    return pd.concat(tables).astype(float).sort_index()


def counts_of(board: Board, arrays: ArrayStore) -> dict[str, Any]:
    """How many scenes of every AOI any selection of the page covers.

    Returns:
        ``index`` (key of an array: 4 × cells, positions of AOI, class, bin and region; of class and
        region the number of values stands for all), and under ``scenes`` per entry the key of an
        array, scenes per cell. Bins add up, for a scene is in one.
    """
    tables = {entry.name: _counted(entry.ledger, board.protocol) for entry in board.entries}
    index = _all_cells(tables)
    return {
        "index": arrays.whole(_positions(index).T),
        "scenes": {
            name: arrays.whole(table.reindex(index, fill_value=0).to_numpy())
            for name, table in tables.items()
        },
    }


def _counted(ledger: Ledger, protocol: Protocol) -> pd.Series[Any]:
    parts = [
        _cells(group_sums(ledger, protocol, ["aoi", "cover_bin", *axes]))["scenes"]
        for axes in ((), ("land_cover",), ("region",), ("land_cover", "region"))
    ]
    counts: pd.Series[Any] = pd.concat(parts).sort_index()
    return counts


def _positions(index: pd.Index[Any]) -> NDArray[Any]:
    """Of AOI, class, bin and region of each cell, among the names in their order.

    An unknown bin or region has the position -1: it only counts where nothing is chosen.
    """
    aois = sorted(set(index.get_level_values("aoi")))
    axes = [pd.Index(aois), *(pd.Index([*values, ALL]) for values in AXES.values())]
    return np.stack(
        [
            values_of_axis.get_indexer(pd.Index(index.get_level_values(level)))
            for level, values_of_axis in enumerate(axes)
        ],
        1,
    )


def segmentation_cells_of(board: Board, arrays: ArrayStore) -> dict[str, Any]:
    """Of the classes that each segmenter predicts, what mIoU and PA need, by AOI × class × bin.

    Returns:
        Per segmenter of an entry: ``name``, ``index`` (key of an array: 3 × cells), and
        ``predicted``: for ``clear``, ``cloudy`` if a run has it, and each of its entries, the keys
        of ``truth`` (pixels of the class), ``hits`` (those that are predicted as it) and ``seen``
        (all of the AOI and the bin that are). Empty without land cover.
    """
    result: dict[str, Any] = {}
    if not board.known.land_cover:
        return result
    aois = sorted({aoi for ledger in board.ledgers for aoi in ledger.aois})
    axes = [pd.Index(aois), pd.Index(LAND_COVER), pd.Index(COVER_BINS)]
    for segmenter, name in _segmenters(board).items():
        segmented = [entry for entry in board.entries if segmenter in entry.ledger.segmenters]
        ledgers = [entry.ledger for entry in segmented]
        runs = [("clear", widest(ledgers), "clear")]
        if (known := _with_input(ledgers)) is not None:
            runs.append(("cloudy", known[0], "cloudy" if known[1] == "input" else "prediction"))
        runs += [(entry.name, entry.ledger, "prediction") for entry in segmented]
        tables = {
            name: _segmented_counts(ledger, board.protocol, segmenter, image)
            for name, ledger, image in runs
        }
        index = _all_cells(tables)
        positions = np.stack(
            [
                axis.get_indexer(pd.Index(index.get_level_values(level)))
                for level, axis in enumerate(axes)
            ],
            1,
        )
        result[segmenter] = {"name": name, "index": arrays.whole(positions.T), "predicted": {}}
        for key, table in tables.items():
            counts = table.reindex(index, fill_value=0)
            result[segmenter]["predicted"][key] = {
                what: arrays.whole(counts[what].to_numpy()) for what in ("truth", "hits", "seen")
            }
    return result


def _segmenters(board: Board) -> dict[str, str]:
    """Key to name of every segmenter, in the order of the keys."""
    facts: dict[str, Mapping[str, Any]] = {}
    for ledger in board.ledgers:
        facts |= ledger.provenance["segmenters"]
    return {key: str(facts[key]["name"]) for key in sorted(facts)}


def _segmented_counts(
    ledger: Ledger, protocol: Protocol, segmenter: str, image: str
) -> pd.DataFrame:
    """``truth``, ``hits`` and ``seen`` of AOI × class × bin."""
    keys = ["aoi", "land_cover", "cover_bin"]
    rows = seen_classes(ledger, protocol, segmenter, image).reset_index()
    rows = rows.astype(dict.fromkeys(keys, object))
    predicted = rows[list(LAND_COVER)].to_numpy()
    classes = pd.Index(LAND_COVER).get_indexer(pd.Index(rows["land_cover"]))
    hits = predicted[np.arange(len(rows)), classes]
    of_class = rows[keys].assign(truth=predicted.sum(1), hits=hits).set_index(keys)
    totals = rows.groupby(["aoi", "cover_bin"])[list(LAND_COVER)].sum().reset_index()
    seen = totals.melt(["aoi", "cover_bin"], list(LAND_COVER), "land_cover", "seen")
    return of_class.join(seen.set_index(keys), how="outer").fillna(0).sort_index()
