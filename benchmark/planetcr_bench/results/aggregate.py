"""Aggregate ledgers into scores by class, cloud-cover bin, region or any other group."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from planetcr_bench.constants import COVER_BINS, LAND_COVER, PAPER_METHODS, REGIONS, UNKNOWN_INPUT
from planetcr_bench.errors import LedgerError
from planetcr_bench.metrics.protocols import PROTOCOLS, Pool, Protocol
from planetcr_bench.metrics.registry import HEADLINE, METRICS, Metric, Of, further, ratio_of
from planetcr_bench.metrics.sums import bands_of, segmenter_columns
from planetcr_bench.results.compact import POSITION, SEEN_BY, CompactLedger, seen_columns
from planetcr_bench.results.imagery import masks_words, same_masks
from planetcr_bench.results.known import Known
from planetcr_bench.results.ledger import Ledger
from planetcr_bench.results.schema import cover_bins

if TYPE_CHECKING:
    from pandas.core.groupby import DataFrameGroupBy  # generic in the stubs alone

SCENE_MEAN: Final = "psnr_scene_mean"
"""Column of the mean over scenes of each scene's PSNR, where a protocol pools pixels."""

SCENE_MEAN_LABEL: Final = "PSNR, scene mean ↑ [dB]"

FLOOR: Final = "Cloud-Free against itself"
"""Name of the row with the noise floor of SAM."""

INPUT: Final = "Cloudy (input)"
"""Name of the row that scores the cloudy image."""

_COUNTS: Final = ["pixels", "scenes", "aois"]

# --- What ledgers are asked for: a compact one looks it up, one of scenes adds its rows ---------


def group_sums(
    ledger: Ledger, protocol: Protocol, by: Sequence[str] = (), columns: Sequence[str] = ()
) -> pd.DataFrame:
    """Sums over the pixels of each group.

    Args:
        ledger: Of one run.
        protocol: Which to report.
        by: Columns that name a group; also ``cover_bin``, and ``known``: whether land is. None: one
            group, ``all``.
        columns: Sums of the ledger; those that it lacks are left out.

    Returns:
        One row per group that has pixels, indexed by ``by``, in the order of the ledger: the
        columns, and ``pixels``, ``scenes`` and ``aois``; ``pixels`` may be missing where not asked.

    Raises:
        ScenesError: The ledger is compact and has no such groups.
    """
    if isinstance(ledger, CompactLedger):
        return ledger.group_sums(protocol, by, columns)
    rows = _rows(ledger.frame, protocol, by, dict(zip(columns, columns, strict=True)))
    grouped = rows.groupby(list(by) or ["all"], observed=True, sort=False)
    own = [name for name in columns if name in rows and name not in _COUNTS]
    return grouped[own].sum().join(_counts(grouped))


def scene_scores(
    ledger: Ledger,
    protocol: Protocol,
    by: Sequence[str] = (),
    metrics: Sequence[str] = HEADLINE,
    of: Of = "prediction",
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Sums over scenes of each scene's scores in the pixels of a group.

    Args:
        ledger: See :func:`group_sums`, like ``protocol``, ``by`` and what is raised.
        protocol: Which to report.
        by: Columns that name a group.
        metrics: Names of metrics.
        of: The prediction, or the cloudy input.

    Returns:
        A row per group and a column per metric each: the sums, and how many scenes have a score.
    """
    if isinstance(ledger, CompactLedger):
        return ledger.scene_scores(protocol, by, metrics, of)
    keys, ratios = list(by) or ["all"], _ratios(metrics, ledger.bands)
    rows = _rows(ledger.frame, protocol, by, _sources(ratios, of))
    figures = _figures(rows.groupby([*keys, "scene"], observed=True), protocol, ratios)
    by_group = figures.groupby(level=keys, observed=True)
    return by_group.sum(), by_group.count()


def seen_classes(ledger: Ledger, protocol: Protocol, segmenter: str, image: str) -> pd.DataFrame:
    """Pixels of known land by the class that a segmenter predicts for them in one image.

    Args:
        ledger: Of a run with this segmenter.
        protocol: Whose window it saw.
        segmenter: Its key.
        image: ``clear``, ``cloudy`` or ``prediction``.

    Returns:
        One row per AOI, cloud-cover bin and true class, indexed by :data:`SEEN_BY`; a column per
        predicted class.

    Raises:
        ScenesError: The ledger is compact, and the image ``cloudy``.
    """
    if isinstance(ledger, CompactLedger):
        names = seen_columns(segmenter, image)
        seen = ledger.chosen(protocol, SEEN_BY, names).set_axis(list(LAND_COVER), axis=1)
    else:
        source = "cloudy" if image == "cloudy" else "prediction"
        names = [name for name in segmenter_columns(segmenter) if f"_{source}_" in name]
        counts = group_sums(ledger, protocol, SEEN_BY, names)[names]
        cube = counts.to_numpy().reshape(len(counts), len(LAND_COVER), len(LAND_COVER))
        pixels = cube.sum(2 if image == "clear" else 1)
        seen = pd.DataFrame(pixels, counts.index, list(LAND_COVER))
    return seen[seen.index.get_level_values("land_cover").isin(LAND_COVER)]


def aoi_positions(ledger: Ledger, protocol: Protocol) -> pd.DataFrame:
    """Means over the scenes of each AOI of :data:`POSITION`, indexed by ``aoi``."""
    if isinstance(ledger, CompactLedger):
        return ledger.group(protocol, ["aoi"])[list(POSITION)]
    rows = ledger.frame[ledger.frame["protocol"] == protocol.name]
    by_aoi = rows.drop_duplicates("scene").groupby("aoi", observed=True)
    return by_aoi[list(POSITION)].mean()


# --- Scores -------------------------------------------------------------------------------------


def score_groups(
    ledger: Ledger | pd.DataFrame,
    protocol: Protocol,
    by: Sequence[str] = (),
    *,
    of: Of = "prediction",
    pool: Pool | None = None,
    metrics: Sequence[str] = HEADLINE,
) -> pd.DataFrame:
    """Scores of each group of pixels.

    Args:
        ledger: Of one run, or its rows of all protocols.
        protocol: Which to report.
        by: Columns that name a group, such as ``land_cover``; also ``cover_bin``. None: one group.
        of: The prediction, or the cloudy input measured on the same pixels.
        pool: Other pooling than the protocol's own.
        metrics: Names of metrics; of one whose sums the rows lack, every score is nan.

    Returns:
        One row per group that has pixels, indexed by ``by``: a column for each metric, and their
        ``pixels``, ``scenes`` and ``aois``.

    Raises:
        ScenesError: The ledger is compact and has no such groups.
    """
    if isinstance(ledger, CompactLedger):
        return _compact_scores(ledger, protocol, by, of, pool, metrics)
    frame = ledger.frame if isinstance(ledger, Ledger) else ledger
    ratios = _ratios(metrics, bands_of(frame.columns))
    rows = _rows(frame, protocol, by, _sources(ratios, of))
    return _scores(rows, list(by) or ["all"], protocol, pool, ratios)


def _compact_scores(
    ledger: CompactLedger,
    protocol: Protocol,
    by: Sequence[str],
    of: Of,
    pool: Pool | None,
    metrics: Sequence[str],
) -> pd.DataFrame:
    counts = group_sums(ledger, protocol, by, ["pixels"])[_COUNTS]
    if (pool or protocol.pool) == "scene-mean":
        totals, scenes = scene_scores(ledger, protocol, by, metrics, of)
        return (totals / scenes).join(counts)
    ratios = _ratios(metrics, ledger.bands)
    names = [name for ratio in ratios.values() for name in ratio.columns_of(of)]
    sums = group_sums(ledger, protocol, by, list(dict.fromkeys(names)))
    columns = {str(name): values for name, values in sums.items()}
    figures = {name: ratio.of_sums(columns, protocol, of) for name, ratio in ratios.items()}
    return pd.DataFrame(figures, counts.index, dtype=np.float64).join(counts)


def score_images(
    images: Sequence[tuple[Ledger, Of]],
    protocol: Protocol,
    by: str | None = None,
    groups: Sequence[str] = (),
    *,
    pool: Pool | None = None,
    metrics: Sequence[str] = HEADLINE,
) -> pd.DataFrame:
    """Scores of several predictions and inputs at once, as :func:`score_groups` has them of one.

    Args:
        images: Runs, and which image of each is scored.
        protocol: Which to report.
        by: Column that names a group.
        groups: To show, in this order; those without pixels with nan and zero.
        pool: Other pooling than the protocol's own.
        metrics: Names of metrics.

    Returns:
        One row per image, or per image and group, indexed by ``image``, its position, and ``by``.
    """
    keys, ratios = [by] if by else [], _ratios(metrics, images[0][0].bands)
    parts, tables = [], []
    for position, (ledger, of) in enumerate(images):
        if isinstance(ledger, CompactLedger):
            table = _compact_scores(ledger, protocol, keys, of, pool, metrics)
            tables.append(table.reset_index(drop=not by).assign(image=position))
            continue
        rows = _rows(ledger.frame, protocol, keys, _sources(ratios, of))
        # numbers: the order in which a mean adds up scenes must not depend on the other images
        places = {name: pd.factorize(rows[name])[0] for name in ("scene", "aoi")}
        parts.append(rows.assign(image=position, **places))
    if parts:
        rows = pd.concat(parts, ignore_index=True)
        tables.append(_scores(rows, ["image", *keys], protocol, pool, ratios).reset_index())
    scores = pd.concat(tables).set_index(["image", *keys]).sort_index()
    if by:
        every = pd.MultiIndex.from_product([range(len(images)), groups], names=["image", by])
        scores = scores.reindex(every)
        scores[_COUNTS] = scores[_COUNTS].fillna(0).astype(int)
    return scores


def _ratios(metrics: Sequence[str], bands: Sequence[str]) -> dict[str, Metric]:
    return {name: ratio_of(name, bands) for name in metrics}


def _sources(ratios: Mapping[str, Metric], of: Of) -> dict[str, str]:
    """Columns of the prediction that metrics need, to those of the image."""
    sources: dict[str, str] = {}
    for ratio in ratios.values():
        sources |= zip(ratio.columns, ratio.columns_of(of), strict=True)
    return sources


def _rows(
    frame: pd.DataFrame, protocol: Protocol, by: Sequence[str], sources: Mapping[str, str]
) -> pd.DataFrame:
    """Rows of a protocol: what groups them, and some columns under other names."""
    keys = ("pixels", "scene", "aoi", "cloud_cover", "land_cover", *by)
    every = {**{name: name for name in keys}, **sources}
    names = [name for name, source in every.items() if source in frame]
    rows = frame.loc[frame["protocol"] == protocol.name, [every[name] for name in names]]
    rows = rows.set_axis(names, axis=1)
    if not by:
        return rows.assign(all="all")
    if "known" in by:
        known = rows["land_cover"].isin(LAND_COVER)
        rows = rows.assign(known=np.where(known, "known", "unknown"))
    if "cover_bin" not in by:
        return rows
    return pd.concat([rows, cover_bins(rows).rename("cover_bin")], axis=1)


def _scores(
    rows: pd.DataFrame,
    keys: Sequence[str],
    protocol: Protocol,
    pool: Pool | None,
    ratios: Mapping[str, Metric],
) -> pd.DataFrame:
    """Scores of each group of rows, and what they come from."""
    grouped = rows.groupby(list(keys), observed=True)
    counts = _counts(grouped)
    if (pool or protocol.pool) == "pixels":
        return _figures(grouped, protocol, ratios).join(counts)
    by_scene = rows.groupby(list(dict.fromkeys([*keys, "scene"])), observed=True)
    figures = _figures(by_scene, protocol, ratios)
    return figures.groupby(level=list(keys), observed=True).mean().join(counts)


def _counts(grouped: DataFrameGroupBy[Any, Any]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "pixels": grouped["pixels"].sum(),
            "scenes": grouped["scene"].nunique(),
            "aois": grouped["aoi"].nunique(),
        }
    )


def _figures(
    grouped: DataFrameGroupBy[Any, Any], protocol: Protocol, ratios: Mapping[str, Metric]
) -> pd.DataFrame:
    names = dict.fromkeys(name for ratio in ratios.values() for name in ratio.columns)
    known = [name for name in names if name in grouped.obj.columns]
    sums = grouped[known].sum(min_count=1).reindex(columns=list(names))  # nan where rows lack them
    columns = {str(name): values for name, values in sums.items()}
    figures = {name: ratio.of_sums(columns, protocol) for name, ratio in ratios.items()}
    return pd.DataFrame(figures, index=sums.index)


def psnr_scene_mean(
    ledger: Ledger | pd.DataFrame,
    protocol: Protocol,
    by: Sequence[str] = (),
    *,
    of: Of = "prediction",
) -> pd.Series[float]:
    """Mean over scenes of each scene's PSNR, of each group of pixels.

    The PSNR of pooled pixels depends on the scenes with the largest errors, so the two may rank
    methods differently. Scenes without pixels of a group do not count in it; a perfect scene
    makes the mean infinite, unless the protocol assigns a finite value to a perfect match.

    Args:
        ledger: See :func:`score_groups`, like ``protocol``, ``by`` and ``of``.
        protocol: Which to report.
        by: Columns that name a group.
        of: The prediction, or the cloudy input.

    Returns:
        Decibels, indexed by ``by``.
    """
    return score_groups(ledger, protocol, by, of=of, pool="scene-mean", metrics=["psnr"])["psnr"]


def floor_groups(
    ledger: Ledger | pd.DataFrame,
    protocol: Protocol,
    by: Sequence[str] = (),
    *,
    pool: Pool | None = None,
) -> pd.DataFrame:
    """Noise floor of SAM: the score of the clear image against itself where norms are floored.

    Args:
        ledger: With ``FLOOR_SUMS``; see :func:`score_groups`.
        protocol: See :func:`score_groups`, like ``by`` and ``pool``.
        by: Columns that name a group.
        pool: Of the angle.

    Returns:
        One row per group: ``sam_deg``, pooled as a method's; ``under_floor``, share of all pixels
        of the group whose squared norm is under the floor; and ``scenes`` and ``aois``.
    """
    angle = score_groups(ledger, protocol, by, pool=pool, metrics=["sam_floor"])
    share = score_groups(ledger, protocol, by, pool="pixels", metrics=["under_floor"])
    figures = angle.rename(columns={"sam_floor": "sam_deg"})[["sam_deg", "scenes", "aois"]]
    return figures.assign(under_floor=share["under_floor"])


def floor_row(
    ledgers: Sequence[Ledger], protocol: Protocol, *, pool: Pool | None = None
) -> dict[str, object] | None:
    """Row of Tab. 2 with the noise floor of SAM, a property of the dataset.

    Args:
        ledgers: Runs on one dataset; the one with most scenes is used.
        protocol: Which to report.
        pool: How per-class figures are averaged, if not as in the protocol.

    Returns:
        ``row``, ``kind`` (``floor``), ``scenes``, ``aois``, ``sam_deg``, ``under_floor``, and each
        of these for each class; None where the protocol has no floor or no run has measured it.
    """
    measured = [ledger for ledger in ledgers if ledger.has_floor]
    if not (protocol.sam_norm_floor and measured):
        return None
    run = widest(measured)
    row = covered(FLOOR, run)
    (overall,) = floor_groups(run, protocol).to_dict("records")
    classes = Known.of(ledgers).classes
    by_class = floor_groups(run, protocol, ["land_cover"], pool=pool)
    by_class = by_class.reindex(list(classes))
    counts = ["scenes", "aois"]
    by_class[counts] = by_class[counts].fillna(0).astype(int)
    figures = {
        f"{name}_{land_cover}": value
        for land_cover, line in zip(classes, by_class.to_dict("records"), strict=True)
        for name, value in line.items()
    }
    return {"row": row, "kind": "floor", **{str(n): x for n, x in overall.items()}, **figures}


def input_window(ledger: Ledger) -> str:
    """Input window of a run: ``160``, ``whole``, or ``unknown``."""
    return str(ledger.provenance.get("input_window", UNKNOWN_INPUT))


def marked(ledgers: Sequence[Ledger], *, always: bool = False) -> list[Ledger]:
    """Add the input window to the names of runs where it differs between them.

    So no table or figure mixes input windows without a mark.

    Args:
        ledgers: Runs on one dataset.
        always: Mark all runs, as beside published figures.

    Returns:
        Runs in the order of the paper's table, such as ``align_cr (input 160)``.
    """
    runs = in_paper_order(ledgers)
    if not always and len({input_window(run) for run in runs}) == 1:
        return runs
    return [
        run
        if _MARK.search(run.name)  # marked before: names of runs have no brackets
        else run.with_provenance(name=f"{run.name} {_mark(run)}")
        for run in runs
    ]


_MARK: Final = re.compile(r" \(input \w+\)$")


def _mark(run: Ledger) -> str:
    return f"(input {input_window(run)})"


def input_note(ledgers: Sequence[Ledger]) -> str:
    """A sentence under every table of runs: the networks' input windows."""
    names_by_tag: dict[str, list[str]] = {}
    for run in in_paper_order(ledgers):
        names = names_by_tag.setdefault(input_window(run), [])
        names += [] if _MARK.search(run.name) else [run.name]
    if len(names_by_tag) == 1:
        return f"Input window: {_SEEN[next(iter(names_by_tag))]}."
    parts = [
        f"{_SEEN[tag]}{': ' * bool(names)}{', '.join(names)}" for tag, names in names_by_tag.items()
    ]
    return f"Input windows differ, which moves official figures. {'; '.join(parts)}."


def figure_note(ledgers: Sequence[Ledger]) -> str:
    """What stands under figures: the input windows, and masks that are not the dataset's own."""
    return " ".join(filter(None, [input_note(ledgers), ledgers[0].imagery.masks_note]))


_SEEN: Final = {
    "160": "160 (the network saw the centre 160 × 160 alone)",
    "whole": "whole (it saw whole patches)",
    UNKNOWN_INPUT: "unknown (the predictions' card does not say what the network saw)",
}


def clusters_of(ledgers: Sequence[Ledger]) -> str:
    """Word for what intervals are over: ``AOIs`` of Planet-CR."""
    return ledgers[0].imagery.clusters


DEPENDENT: Final = (
    "The dataset does not say which scenes are of one place, so each counts as independent: "
    "intervals will be too narrow, for scenes of one place are not."
)


def independence_note(ledgers: Sequence[Ledger]) -> list[str]:
    """A warning where each scene counts as independent of all others."""
    return [DEPENDENT] if ledgers[0].imagery.one_scene_each else []


def coverage(ledger: Ledger) -> str:
    """``12 of 20 scenes``, from the provenance of a run."""
    return f"{ledger.provenance['scenes']} of {ledger.provenance['expected_scenes']} scenes"


def method_label(ledger: Ledger) -> str:
    """Name of a run in tables and figures; with its coverage if it is incomplete."""
    return covered(ledger.name, ledger)


def covered(name: str, ledger: Ledger) -> str:
    """Name of a row, with the number of its scenes unless the run is complete."""
    return name if ledger.provenance["complete"] else f"{name} ({coverage(ledger)})"


def in_paper_order(ledgers: Iterable[Ledger]) -> list[Ledger]:
    """Other methods in the order given, then those of the paper in its order."""
    rank = {name: position for position, name in enumerate(PAPER_METHODS)}
    return sorted(ledgers, key=lambda run: rank.get(re.sub(r"\W+", "_", run.name.lower()), -1))


def widest(ledgers: Iterable[Ledger]) -> Ledger:
    """The first run with most scenes: it represents the images of the dataset."""
    return max(ledgers, key=lambda ledger: int(ledger.provenance["scenes"]))


def check_comparable(ledgers: Sequence[Ledger]) -> None:
    """Refuse to compare runs that did not score the same dataset in the same way.

    Simulated datasets count as the same if version, preset, seed, size and the number of scenes
    agree: another machine may round a value by 1 DN, which :func:`rounding_note` then states.

    Raises:
        LedgerError: Names the two runs and the setting in which they differ.
    """
    first = ledgers[0]
    for other in ledgers[1:]:
        for key in ("track", "split", "fingerprint"):
            if other.provenance[key] != first.provenance[key] and not (
                key == "fingerprint" and _simulated_alike(first, other)
            ):
                raise LedgerError(
                    f"{other.name}: expected the same {key} as {first.name}, "
                    f"{first.provenance[key]!r}, got {other.provenance[key]!r}; only runs on one "
                    "dataset can be compared"
                )
        _check_imagery(first, other)
        _check_masks(first, other)
        theirs, ours = other.provenance["protocols"], first.provenance["protocols"]
        for protocol in theirs.keys() & ours.keys():
            if theirs[protocol] != ours[protocol]:
                raise LedgerError(
                    f"{other.name}: expected protocol {protocol} as of {first.name}, "
                    f"{ours[protocol]}, got {theirs[protocol]}; evaluate both with one version"
                )
    names = [ledger.name for ledger in ledgers]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise LedgerError(f"expected runs of different names, got twice: {', '.join(repeated)}")


def _check_imagery(first: Ledger, other: Ledger) -> None:
    """Refuse runs whose images differ in what the columns and the intervals mean."""
    for key, words in _IMAGERY.items():
        ours, theirs = (getattr(ledger.imagery, key) for ledger in (first, other))
        if ours != theirs:
            raise LedgerError(
                f"{other.name}: expected {words} as of {first.name}, {_words(ours)}, got "
                f"{_words(theirs)}; only runs on one dataset, described alike, can be compared"
            )


def _check_masks(first: Ledger, other: Ledger) -> None:
    """Refuse runs whose cloud cover and regions are of different masks."""
    if same_masks(first.imagery, other.imagery):
        return
    expected, got = masks_words(first.imagery), masks_words(other.imagery)
    raise LedgerError(
        f"{other.name}: expected the cloud masks of {first.name}, {expected}, got {got}; evaluate "
        "both with the same --masks"
    )


_IMAGERY: Final = {
    "bands": "the bands",
    "cluster": "the clusters for intervals",
    "resolution_m": "a resolution in metres",
    "size": "a size of scenes",
    "description": "the same description of the pixels' values",
}


def _words(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value or "not known")


ROUNDING: Final = 0.01
"""Largest relative difference of the input's error that rounding explains: in a scene or, of
compact ledgers, in the scenes of one AOI and cloud-cover bin."""


def _simulated_alike(first: Ledger, other: Ledger) -> bool:
    """Whether two runs scored the same simulation, by its name and the error of the input."""
    keys = ("simulation", "expected_scenes")
    if first.provenance.get("simulation") is None or any(
        first.provenance[key] != other.provenance.get(key) for key in keys
    ):
        return False
    compact = any(isinstance(ledger, CompactLedger) for ledger in (first, other))
    by = ["aoi", "cover_bin"] if compact else ["scene"]
    parts = []
    for protocol in PROTOCOLS.values():
        ours, theirs = (
            group_sums(ledger, protocol, by, ["cloudy_clear"])[["cloudy_clear", "scenes"]]
            if protocol.name in ledger.protocols
            else pd.DataFrame(columns=["cloudy_clear", "scenes"])
            for ledger in (first, other)
        )
        parts.append(ours.join(theirs.add_suffix("_of_other"), how="inner"))
    both = pd.concat(parts)
    both = both[both["scenes"] == both["scenes_of_other"]]
    difference = (both["cloudy_clear"] - both["cloudy_clear_of_other"]).abs()
    return not both.empty and bool((difference <= ROUNDING * both["cloudy_clear"]).all())


def rounding_note(ledgers: Sequence[Ledger]) -> str | None:
    """Note for runs on one dataset simulated on two machines; None for all others."""
    if len({ledger.provenance["fingerprint"] for ledger in ledgers}) == 1:
        return None
    return (
        f"Simulated on more than one machine ({ledgers[0].provenance['simulation']}): version, "
        "seed and size agree, the fingerprints do not; values may differ by rounding, by 1 DN in "
        "single pixels."
    )


def of_protocol(ledger: Ledger, name: str) -> Ledger:
    """Restrict a run to one protocol.

    Raises:
        LedgerError: It was not scored in this protocol.
    """
    protocols = ledger.provenance["protocols"]
    if name not in protocols:
        raise LedgerError(
            f"{ledger.name}: expected protocol {name}, it was measured in {', '.join(protocols)}"
        )
    return ledger.in_protocol(name).with_provenance(protocols={name: protocols[name]})


def measured_protocols(ledgers: Sequence[Ledger]) -> list[Protocol]:
    """Protocols that every ledger has rows of."""
    return [
        protocol
        for protocol in PROTOCOLS.values()
        if all(protocol.name in ledger.protocols for ledger in ledgers)
    ]


def table2(
    ledgers: Sequence[Ledger], protocol: Protocol, *, pool: Pool | None = None
) -> pd.DataFrame:
    """Build Tab. 2: scores per class and overall of the input, each method, and its gain.

    Args:
        ledgers: Runs on one dataset.
        protocol: Which to report.
        pool: How per-class figures are averaged, if not as in the protocol.

    Returns:
        One line per row of the table: ``row`` (its name), ``kind`` (``input``, ``measured`` or
        ``gain``), ``input_window`` (of a method), ``scenes``, ``aois``, the four metrics, and for
        each class ``<metric>_<class>``, ``scenes_<class>`` and ``aois_<class>``, none where no land
        cover is known; where the protocol
        pools pixels, also ``psnr_scene_mean``, overall and per class. Gains are positive where the
        method is better.
    """
    runs, whole = in_paper_order(ledgers), widest(ledgers)
    of: tuple[Of, Of] = ("prediction", "input")
    figures = _table2_figures([(whole, "input"), *product(runs, of)], protocol, pool)
    rows = [{"row": covered(INPUT, whole), "kind": "input", "input_window": None, **figures[0]}]
    for run, after, before in zip(runs, figures[1::2], figures[2::2], strict=True):
        label, tag = method_label(run), input_window(run)
        rows.append({"row": label, "kind": "measured", "input_window": tag, **after})
        gain = _gain(after, before)
        rows.append({"row": f"{label}: gain", "kind": "gain", "input_window": tag, **gain})
    return pd.DataFrame(rows)


def _table2_figures(
    images: Sequence[tuple[Ledger, Of]], protocol: Protocol, pool: Pool | None
) -> list[dict[Hashable, Any]]:
    names = [*HEADLINE, "scenes", "aois"]
    classes = list(Known.of([ledger for ledger, _ in images]).classes)
    parts = [score_images(images, protocol)[["scenes", "aois", *HEADLINE]]]
    if classes:
        by_class = score_images(images, protocol, "land_cover", classes, pool=pool)
        parts += _class_by_class(by_class[names])
    if protocol.pool == "pixels":
        psnr = partial(score_images, images, protocol, pool="scene-mean", metrics=["psnr"])
        parts += [psnr()[["psnr"]].set_axis([SCENE_MEAN], axis=1)]
        if classes:
            by_class = psnr("land_cover", classes)
            parts += _class_by_class(by_class[["psnr"]].set_axis([SCENE_MEAN], axis=1))
    return pd.concat(parts, axis=1).to_dict("records")


def _class_by_class(scores: pd.DataFrame) -> list[pd.DataFrame]:
    """Scores of each class, a line per image."""
    classes = scores.index.get_level_values("land_cover")
    return [
        scores[classes == name].droplevel("land_cover").add_suffix(f"_{name}")
        for name in LAND_COVER
    ]


def _gain(after: Mapping[Hashable, Any], before: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
    gain = dict(after)
    for name in after:
        for metric in HEADLINE:
            if name == metric or str(name).startswith(f"{metric}_"):
                gain[name] = float(METRICS[metric].gain(after[name], before[name]))
    return gain


def _images(
    ledgers: Sequence[Ledger], inputs: Sequence[Ledger] = ()
) -> tuple[list[tuple[Ledger, Of]], pd.DataFrame]:
    """The input, of the run with most scenes, and each run's prediction; and their names.

    Args:
        ledgers: Runs.
        inputs: Those that may represent the input, if not all.
    """
    runs, whole = in_paper_order(ledgers), widest(inputs or ledgers)
    names = [covered(INPUT, whole), *map(method_label, runs)]
    labels = pd.DataFrame({"row": names, "kind": ["input", *["measured"] * len(runs)]})
    return [(whole, "input"), *((run, "prediction") for run in runs)], labels


def overall_scores(ledgers: Sequence[Ledger], protocol: Protocol, pool: Pool) -> pd.DataFrame:
    """Overall scores of the input and of each method, pooled as asked.

    Returns:
        Columns ``row``, ``kind``, the four metrics, ``pixels``, ``scenes``, ``aois``.
    """
    images, labels = _images(ledgers)
    return labels.join(score_images(images, protocol, pool=pool))


def further_metrics(ledgers: Sequence[Ledger]) -> tuple[str, ...]:
    """Metrics beside the paper's whose sums some run has: older ledgers have those of two alone."""
    columns, bands = [ledger.columns for ledger in ledgers], ledgers[0].bands
    return tuple(
        name
        for name in further(bands)
        if any(own.issuperset(ratio_of(name, bands).columns) for own in columns)
    )


def further_scores(ledgers: Sequence[Ledger], protocol: Protocol) -> pd.DataFrame:
    """Overall scores in the metrics beside the paper's, of the input and of each method.

    Returns:
        Columns ``row``, ``kind`` and :func:`further_metrics`; nan in those whose sums a ledger does
        not have.
    """
    images, labels = _images(ledgers, [run for run in ledgers if run.has_further])
    names = further_metrics(ledgers)
    return labels.join(score_images(images, protocol, metrics=names)[list(names)])


def group_scores(
    ledgers: Sequence[Ledger], protocol: Protocol, by: str, order: Sequence[str]
) -> pd.DataFrame:
    """Scores per group of one column, of the input and of each method.

    Args:
        ledgers: Runs on one dataset.
        protocol: Which to report.
        by: ``cover_bin``, ``region``, ``land_cover``, ``season`` or another identity column.
        order: Groups to show, in this order; groups without pixels stay, with nan and zero.

    Returns:
        Columns ``row``, ``kind``, ``by``, the four metrics, ``pixels``, ``scenes``, ``aois``.
    """
    images, labels = _images(ledgers)
    scores = score_images(images, protocol, by, order)
    return labels.join(scores.reset_index(by)).reset_index(drop=True)


def cover_scores(ledgers: Sequence[Ledger], protocol: Protocol) -> pd.DataFrame:
    """Fig. 5 as a table: :func:`group_scores` over the five cloud-cover bins."""
    return group_scores(ledgers, protocol, "cover_bin", COVER_BINS)


def region_scores(ledgers: Sequence[Ledger], protocol: Protocol) -> pd.DataFrame:
    """Scores under cloud, at its edge and in clear pixels: :func:`group_scores` over regions."""
    return group_scores(ledgers, protocol, "region", REGIONS)
