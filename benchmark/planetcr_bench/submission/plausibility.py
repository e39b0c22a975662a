"""Find sums that no measurement can have given, by a ledger alone or by a second one.

Every rule here follows by arithmetic from what the columns are: none guesses what is likely. No
file is opened.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from planetcr_bench.constants import (
    OPTICAL_SIZE,
    PLANET_CR,
    PLANET_CR_TEST_SCENES,
    SPLITS,
    THICKNESS,
    UNNAMED,
)
from planetcr_bench.data.metadata import TEST_SCENES, Simulation
from planetcr_bench.leaderboard.ledgers import Record, record_errors
from planetcr_bench.metrics.protocols import PROTOCOLS, Protocol
from planetcr_bench.metrics.sums import FLOOR_SUMS, SUMS, segmenter_columns
from planetcr_bench.results.ledger import Ledger
from planetcr_bench.results.rules import broken_rules

ROUNDING: Final = 1e-6
"""Relative error of a sum that adding up cannot exceed."""

SSIM_ROUNDING: Final = 1e-3
"""By which a value of the SSIM map may leave [−1, 1]: variances are differences of float32."""

DRIFT: Final = 1e-4
"""Relative difference of a sum that other hardware explains."""

TIPPED: Final = 2
"""Pixels of a cell that other hardware may put on the other side of a threshold."""

NAME_IT: Final = (
    'expected a dataset that has a name, got none; write track = "name" into its dataset.toml '
    f'(track = "{PLANET_CR}" for a copy of the release) and evaluate again'
)

SCENE: Final = r"[a-z]{1,20}_[0-9]{1,6}_p_[0-9]{1,6}"
"""Name of a scene, <season>_<aoi>_p_<patch>."""

OF_THE_INPUT: Final = (
    "pixels", "cloudy_clear", "input_squared_error", "input_angle_deg", "input_angle_pixels",
    "ssim_pixels", "input_ssim",
)  # fmt: skip
"""Columns that follow from the dataset, whatever was predicted; :func:`floor_columns` too."""

_PARTS: Final = (
    "pixels", "absolute_error", "squared_error", "ndvi_error", "ndvi_pixels", "out_of_range",
    "worse_pixels", "prediction_cloudy", "cloudy_clear", "input_squared_error",
)  # fmt: skip
"""Columns that grow with every pixel and mean the same in both protocols."""

_CELL: Final = ["scene", "land_cover", "region"]
Flags = NDArray[np.bool_]


# --- What a ledger says of its run ----------------------------------------------------------


def sent_record_errors(record: Mapping[str, Any]) -> list[str]:
    """Everything that is wrong with what a sent ledger says of its run, one line each."""
    unknown = [f"{key}: unknown" for key in record if key not in Record.model_fields]
    return sorted(unknown) + (record_errors(record) or list(_track_errors(record)))


def _track_errors(record: Mapping[str, Any]) -> Iterator[str]:
    """Tracks do not mix: a simulation has its own and so many scenes, and so has Planet-CR."""
    said, track, split = record["simulation"], record["track"], record["split"]
    expected, scenes = record["expected_scenes"], None
    if said is not None:
        sizes = "|".join(TEST_SCENES)
        known = re.fullmatch(
            rf"(sim-v[0-9]{{1,3}}) (standard|misaligned), seed ([0-9]{{1,19}}), size ({sizes})",
            said,
        )
        if known is None:
            yield f"simulation: expected its version, preset, seed and size, got {said[:100]!r}"
            return
        version, preset, seed, size = known.groups()
        test = TEST_SCENES[size]
        own = Simulation(version, preset, int(seed), size, test, train_scenes=0).track
        own, scenes = (own, test) if split == "test" else (f"{own}-{split}", None)
        if track != own:
            yield f"track: expected {own} by its simulation, got {track[:60]!r}"
    elif track.startswith("sim-"):
        yield f"track: expected a simulation, or another track than {track[:60]!r}"
    elif track in (UNNAMED, *(f"{UNNAMED}-{one}" for one in SPLITS)):
        yield f"track: {NAME_IT}"
    elif (track, split) == (PLANET_CR, "test"):
        scenes = PLANET_CR_TEST_SCENES
    if scenes not in (None, expected):
        yield f"expected_scenes: expected {scenes} in its track, got {expected}"


# --- What sums can be -----------------------------------------------------------------------


def ledger_errors(ledger: Ledger) -> list[str]:
    """Everything in a ledger's rows that no measurement can have given, one line each.

    Args:
        ledger: Of known columns, with a record without errors.
    """
    frame = ledger.frame
    found = [f"expected {rule}" for rule in broken_rules(frame, ledger.segmenters)]
    if found:
        return found  # the rules below take those for granted
    for rule, broken in {**_row_rules(ledger), **_identity_rules(ledger)}.items():
        if broken.any():
            found.append(_row_line(frame, rule, broken))
    found += _scene_errors(ledger)
    if "full" in ledger.provenance["protocols"]:
        found += _part_errors(frame)
    return found + _cover_errors(frame)


def _row_line(frame: pd.DataFrame, rule: str, broken: Flags) -> str:
    first = frame.loc[broken].iloc[0]
    cell = ", ".join(str(first[name]) for name in ("protocol", "land_cover", "region"))
    return f"expected {rule}; broken in {int(broken.sum())} rows, first {first['scene']} ({cell})"


def _row_rules(ledger: Ledger) -> dict[str, Flags]:
    """Rule to the rows that break it."""
    frame = ledger.frame
    segmented = [name for segmenter in ledger.segmenters for name in segmenter_columns(segmenter)]
    counts = frame[["pixels", *segmented]].to_numpy(np.int64)
    sums = {name: frame[name].to_numpy(np.float64) for name in SUMS}
    more, pixels, values = 1 + ROUNDING, sums["pixels"], sums["values"]
    error, square = sums["absolute_error"], sums["squared_error"]
    given, given_square = sums["cloudy_clear"], sums["input_squared_error"]
    worse, copied = sums["worse_pixels"], sums["prediction_cloudy"] == 0
    official = (frame["protocol"] == "official").to_numpy()  # its norms have a floor
    ssim_bound = (1 + SSIM_ROUNDING) * sums["ssim_pixels"]
    rules = {
        # so large that their sums would wrap around
        "no count above a patch's pixels": (counts > OPTICAL_SIZE**2).any(1),
        "an error above the input's only with worse pixels": (worse == 0) & (error > given * more),
        "an error below the input's only with better pixels": (worse == pixels)
        & (error * more < given),
        "the input's own errors of what is the input": copied
        & ~(
            np.isclose(square, given_square, ROUNDING, ROUNDING * ROUNDING)
            & np.isclose(sums["angle_deg"], sums["input_angle_deg"], ROUNDING, ROUNDING * pixels)
        ),
        "an angle of every pixel in protocol official": official
        & ((sums["angle_pixels"] != pixels) | (sums["input_angle_pixels"] != pixels)),
        "no more values out of range than values": sums["out_of_range"] > values,
        "NDVI errors of 0 to 2 at no more than all pixels": (sums["ndvi_pixels"] > pixels)
        | (sums["ndvi_error"] > 2 * sums["ndvi_pixels"] * more),
        "SSIM of −1 to 1 at no more than all pixels": (sums["ssim_pixels"] > pixels)
        | (np.abs(sums["ssim"]) > ssim_bound)
        | (np.abs(sums["input_ssim"]) > ssim_bound),
    }
    for what, total, squares, prefix in (
        ("prediction", error, square, ""),
        ("input", given, given_square, "input_"),
    ):
        angles = sums[f"{prefix}angle_pixels"]
        rules |= {
            f"Σe² of the {what} from (Σ|e|)² / n to (Σ|e|)²": (total**2 > values * squares * more)
            | (squares > total**2 * more),
            f"angles of the {what} of 0 to 180° at no more than all pixels": (angles > pixels)
            | (sums[f"{prefix}angle_deg"] > 180 * angles * more),
        }
    if ledger.has_floor:
        rules["the clear image's own angle of what is clear"] = _own_angle(frame, sums)
    return rules


def _own_angle(frame: pd.DataFrame, sums: Mapping[str, NDArray[np.float64]]) -> Flags:
    """Rows in which an image that is the clear one has another angle to it than that to itself."""
    own = frame["self_angle_deg"].to_numpy(np.float64)
    room = 10 * ROUNDING * sums["pixels"]  # of a cosine of 1, an angle keeps half the digits
    broken = np.zeros(len(frame), np.bool_)
    for error, angle in (("absolute_error", "angle_deg"), ("cloudy_clear", "input_angle_deg")):
        broken |= (sums[error] == 0) & ~np.isclose(sums[angle], own, ROUNDING, room)
    return broken


def _identity_rules(ledger: Ledger) -> dict[str, Flags]:
    frame = ledger.frame
    scenes = frame["scene"].astype(str)
    season, aoi, patch = (frame[name].astype(str) for name in ("season", "aoi", "patch"))
    named = (scenes == aoi + "_p_" + patch) & (aoi.str.rpartition("_")[0] == season)
    plain = scenes.str.fullmatch(SCENE)
    digest = frame["prediction_sha256"].astype(str).str.fullmatch(r"[0-9a-f]{64}")
    untold = (frame["thickness"] == THICKNESS[0]).to_numpy()
    return {
        "scenes named <season>_<aoi>_p_<patch> after their columns": ~(named & plain).to_numpy(),
        "scenes of the record's split": (
            frame["split"].astype(str) != ledger.provenance["split"]
        ).to_numpy(),
        "a SHA-256 of each prediction": ~digest.to_numpy(),
        "an optical thickness where the truth was given, and only there": untold
        == ledger.provenance["optical_thickness"],
    }


def _scene_errors(ledger: Ledger) -> list[str]:
    """What is wrong with whole scenes: who they are, and how many pixels they have."""
    frame, record = ledger.frame, ledger.provenance
    facts = ["split", "season", "aoi", "patch", "cloud_cover", "longitude", "latitude"]
    facts.append("prediction_sha256")
    kinds = frame.groupby("scene", observed=True)[facts].nunique(dropna=False)
    found = _scene_lines("one identity in all its rows", (kinds > 1).any(axis=1))
    if len(kinds) != record["scenes"]:
        found.append(f"expected {record['scenes']} scenes by its record, found {len(kinds)}")
    odd = set(frame["protocol"].unique()) - record["protocols"].keys()
    if odd:
        found.append(f"expected the protocols of its record, found {', '.join(sorted(odd))} too")
    for name in record["protocols"]:
        protocol = PROTOCOLS[name]
        rows = frame[frame["protocol"] == name]
        sums = rows.groupby("scene", observed=True)[["pixels", "ssim_pixels"]].sum()
        sums = sums.reindex(kinds.index, fill_value=0)
        pixels, ssim_pixels = _pixels_of(protocol)
        what = f"{pixels} pixels in protocol {name}"
        found += _scene_lines(what, sums["pixels"] != pixels)
        what = f"SSIM at {ssim_pixels} pixels in protocol {name}"
        found += _scene_lines(what, sums["ssim_pixels"] != ssim_pixels)
    return found


def _pixels_of(protocol: Protocol) -> tuple[int, int]:
    """Pixels of a scene, and those at which SSIM is defined."""
    side = protocol.window or OPTICAL_SIZE
    return side**2, (side - 2 * (5 - protocol.ssim_padding)) ** 2


def _scene_lines(what: str, broken: pd.Series[Any]) -> list[str]:
    names = broken.index[broken].tolist()
    if not names:
        return []
    return [f"expected each scene to have {what}; {len(names)} have not, first {names[0]}"]


def _part_errors(frame: pd.DataFrame) -> list[str]:
    """The centre of a scene has no more of anything than all of it."""
    keys = [*_CELL, "thickness"]
    centre, whole = (
        frame[frame["protocol"] == name].groupby(keys, observed=True)[list(_PARTS)].sum()
        for name in ("official", "full")
    )
    above = centre > (1 + ROUNDING) * whole.reindex(centre.index).fillna(0)
    return [
        f"expected no more {name} in the centre (official) than in the whole (full); broken in "
        f"{int(above[name].sum())} cells, first {above.index[above[name]][0][0]}"
        for name in _PARTS
        if above[name].any()
    ]


def _cover_errors(frame: pd.DataFrame) -> list[str]:
    """Cloud cover is the share of pixels under cloud, be they in the protocol's window or not."""
    name = max(frame["protocol"].unique(), key=lambda name: _pixels_of(PROTOCOLS[name])[0])
    rows = frame[frame["protocol"] == name]
    cloudy = (
        rows["pixels"].where(rows["region"] == "cloud", 0).groupby(rows["scene"], observed=True)
    )
    covers = rows.groupby("scene", observed=True)["cloud_cover"].first()
    unseen = covers - cloudy.sum() / OPTICAL_SIZE**2
    most = 1 - _pixels_of(PROTOCOLS[name])[0] / OPTICAL_SIZE**2
    off = (unseen < -ROUNDING) | (unseen > most + ROUNDING)
    return _scene_lines("the cloud cover that its pixels under cloud give", off)


# --- Two ledgers of the same scenes ---------------------------------------------------------


def differing(
    sent: Ledger, known: Ledger, columns: Sequence[str], *, drift: float = DRIFT
) -> list[str]:
    """Columns in which two ledgers differ by more than other hardware explains.

    Args:
        sent: The stranger's.
        known: Measured, or believed; only scenes and protocols of both are compared.
        columns: Some of ``SUMS``, or counts of a segmenter that both have.
        drift: Relative difference that is let pass in the sum of a cell (scene × class × region);
            of counts, this share of its pixels and :data:`TIPPED` more.

    Returns:
        One line for each column that differs, or one for cells that only one of the two has.
    """
    theirs, ours = (_cells(ledger, columns) for ledger in _shared(sent, known))
    lacking = ours.index.symmetric_difference(theirs.index)
    if len(lacking):
        return [f"cells: {len(lacking)} are in one of the two only, first {_place(lacking[0])}"]
    theirs = theirs.reindex(ours.index)
    pixels = ours["pixels"].astype(np.float64)
    found = []
    for column in columns:
        right, told = ours[column].astype(np.float64), theirs[column].astype(np.float64)
        if ours[column].dtype.kind == "f":
            allowed = drift * right.abs() + ROUNDING * pixels
        elif column in ("pixels", "values"):
            allowed = 0 * right if drift <= DRIFT else drift * right  # 0: the very same scenes
        else:
            allowed = drift * pixels + TIPPED
        off = (right - told).abs() > allowed
        if off.any():
            first = off.index[off][0]
            found.append(
                f"{column}: {int(off.sum())} cells differ, first {_place(first)}: expected "
                f"{right[first]:.8g}, got {told[first]:.8g}"
            )
    return found


def misplaced(sent: Ledger, known: Ledger, *, drift: float = DRIFT) -> list[str]:
    """Facts of scenes, but for their sums, in which two ledgers differ.

    Args:
        sent: The stranger's.
        known: Measured, or believed; only scenes of both are compared.
        drift: Difference of the cloud cover that is let pass.
    """
    facts = ["cloud_cover", "longitude", "latitude"]
    theirs, ours = (
        frame.groupby(frame["scene"].astype(str))[facts].first() for frame in _shared(sent, known)
    )
    theirs = theirs.reindex(ours.index)
    limits = {"cloud_cover": drift, "longitude": _DEGREES, "latitude": _DEGREES}
    found = []
    for fact, limit in limits.items():
        off = ~np.isclose(theirs[fact], ours[fact], 0, limit, equal_nan=True)
        if off.any():
            found.append(f"{fact}: {int(off.sum())} scenes differ, first {ours.index[off][0]}")
    return found


def floor_columns(sent: Ledger, known: Ledger) -> list[str]:
    """Columns of the noise floor of SAM in which two ledgers can be compared.

    The angle of a pixel leaps where its norm is at the floor, so images that another machine has
    rounded otherwise agree in the number of such pixels alone.
    """
    if not (sent.has_floor and known.has_floor):
        return []
    same = sent.provenance["fingerprint"] == known.provenance["fingerprint"]
    return list(FLOOR_SUMS) if same else ["floored_pixels"]


_DEGREES: Final = 1e-4
"""A few metres."""


def segmenter_input(segmenters: Sequence[str]) -> list[str]:
    """Columns of segmenters that follow from the dataset: what they take the cloudy image for."""
    return [
        name
        for segmenter in segmenters
        for name in segmenter_columns(segmenter)
        if name.startswith(f"segmenter_{segmenter}_cloudy_")
    ]


def _shared(sent: Ledger, known: Ledger) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of the scenes and protocols that both have."""
    scenes = set(sent.frame["scene"].unique()) & set(known.frame["scene"].unique())
    protocols = sent.provenance["protocols"].keys() & known.provenance["protocols"].keys()
    sent_rows, known_rows = (
        ledger.frame[ledger.frame["scene"].isin(scenes) & ledger.frame["protocol"].isin(protocols)]
        for ledger in (sent, known)
    )
    return sent_rows, known_rows


def _cells(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    keys = [frame[name].astype(str) for name in ("protocol", *_CELL)]  # any optical thickness
    return frame.groupby(keys)[list(dict.fromkeys(["pixels", *columns]))].sum()


def _place(cell: tuple[str, ...]) -> str:
    protocol, scene, land_cover, region = cell
    return f"{scene} ({protocol}, {land_cover}, {region})"
