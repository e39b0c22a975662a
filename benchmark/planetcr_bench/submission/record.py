"""Check what an entry says about its run: in the ledger, and once more in ``run.json``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self

from pydantic import ConfigDict, model_validator

from planetcr_bench.constants import PLANET_CR, PLANET_CR_TEST_SCENES, SPLITS, UNNAMED
from planetcr_bench.data.metadata import TEST_SCENES, Simulation
from planetcr_bench.errors import SubmissionError
from planetcr_bench.leaderboard.ledgers import (
    LARGEST_RECORD,
    Record,
    RunFacts,
    differing_keys,
    nested_text_errors,
)
from planetcr_bench.utils.untrusted import read_json
from planetcr_bench.utils.validation import collect_errors, validate

NAME_IT: Final = (
    'expected a dataset that has a name, got none; write track = "name" into its dataset.toml '
    f'(track = "{PLANET_CR}" for a copy of the release) and evaluate again'
)

_SIMULATION: Final = re.compile(
    r"(sim-v[0-9]{1,3}) (standard|misaligned), seed ([0-9]{1,19}), size "
    rf"({'|'.join(TEST_SCENES)})"
)


class SentRecord(Record):
    """What the ledger of an entry says about its run: known keys, and a track of its own."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="after")
    def _check_track(self) -> Self:
        if errors := list(_track_errors(self)):
            raise ValueError("; ".join(errors))
        return self


def _track_errors(record: SentRecord) -> Iterator[str]:
    """Each simulation has a track and a number of test scenes of its own, and so has Planet-CR."""
    track, test_scenes = record.track, None
    if record.simulation is not None:
        known = _SIMULATION.fullmatch(record.simulation)
        if known is None:
            yield (
                "simulation: expected its version, preset, seed and size, got "
                f"{record.simulation[:100]!r}"
            )
            return
        version, preset, seed, size = known.groups()
        test_scenes = TEST_SCENES[size]
        expected = Simulation(
            version=version,
            preset=preset,
            seed=int(seed),
            size=size,
            test_scenes=test_scenes,
            train_scenes=0,
        ).track
        expected += "" if record.split == "test" else f"-{record.split}"
        if track != expected:
            yield f"track: expected {expected} by its simulation, got {track!r}"
    elif track.startswith("sim-"):
        yield f"track: expected a simulation, or another track than {track!r}"
    elif track in (UNNAMED, *(f"{UNNAMED}-{split}" for split in SPLITS)):
        yield f"track: {NAME_IT}"
    elif track == PLANET_CR:
        test_scenes = PLANET_CR_TEST_SCENES
    if record.split == "test" and test_scenes not in (None, record.expected_scenes):
        yield f"expected_scenes: expected {test_scenes} in its track, got {record.expected_scenes}"


class SentRun(SentRecord, RunFacts):
    """What ``run.json`` of an entry says."""

    model_config = ConfigDict(extra="forbid", title="the record of the ledger's run")

    @model_validator(mode="after")
    def _check_problems(self) -> Self:
        if self.complete and self.problems:
            raise ValueError("problems: expected none of a complete run")
        return self


def read_sent_run(path: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """Read ``run.json`` of an entry.

    Args:
        path: The file.
        record: What the ledger says about the run; ``run.json`` must say the same.

    Raises:
        SubmissionError: Lists everything that is wrong with it.
    """
    run = read_json(path, LARGEST_RECORD, error=SubmissionError)
    facts = {key: run[key] for key in RunFacts.model_fields if key in run}
    shared = {  # of a required key that is missing, the model below says so
        key: record.get(key)
        for key, field in Record.model_fields.items()
        if key in run or (key in record and not field.is_required())
    }
    lines = [*differing_keys(run, shared), *nested_text_errors(facts, depth=3)]
    errors = [f"{path}: {line}" for line in lines]
    collect_errors(errors, validate, SentRun, run, str(path), error=SubmissionError)
    if errors:
        raise SubmissionError(f"{path}: expected the record of the ledger's run", errors)
    return run


def public_run(run: Mapping[str, Any]) -> dict[str, Any]:
    """What ``run.json`` says, without the folders of the machine that it was made on."""
    return {
        key: _without_folders(value) if key in RunFacts.model_fields else value
        for key, value in run.items()
    }


def _without_folders(value: Any) -> Any:
    """The same value with all paths cut to their last part, and no odd characters or markup."""
    if isinstance(value, Mapping):
        return {key: _without_folders(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_folders(inner) for inner in value]
    if not isinstance(value, str):
        return value
    text = " ".join(word.rstrip("/").rpartition("/")[2] for word in value.split(" "))[:1000]
    return "".join("?" if sign in "<>&`[]|" or not sign.isprintable() else sign for sign in text)
