"""Check what an entry says about its run: in the ledger, and once more in ``run.json``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

from pydantic import ConfigDict, model_validator

from planetcr_bench.constants import PLANET_CR, PLANET_CR_TEST_SCENES, UNNAMED
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
from planetcr_bench.utils.validation import collect_errors, shown, validate

NAME_IT: Final = (
    'expected a dataset that has a name, got none; write track = "name" into its dataset.toml '
    f'(track = "{PLANET_CR}" for a copy of the release) and evaluate again'
)

_SIMULATION: Final = re.compile(
    r"(?P<version>sim-v[0-9]{1,3}) (?P<preset>standard|misaligned), seed (?P<seed>[0-9]{1,19}), "
    rf"size (?P<size>{'|'.join(TEST_SCENES)})"
)


class SentRecord(Record):
    """What the ledger of an entry says about its run: known keys, and a track of its own."""

    model_config = ConfigDict(extra="forbid")

    bands: Any = None  # these are checked by imagery_errors
    cluster: Any = None
    resolution_m: Any = None
    size: Any = None
    description: Any = None
    masks: Any = None
    masks_sha256: Any = None

    @model_validator(mode="after")
    def _check_track(self) -> Self:
        """Each simulation has a track and a number of test scenes, and so has Planet-CR."""
        test_scenes = PLANET_CR_TEST_SCENES if self.track == PLANET_CR else None
        if self.simulation is not None:
            simulation = _simulation(self.simulation)
            test_scenes = simulation.test_scenes
            track = simulation.track + ("" if self.split == "test" else f"-{self.split}")
            if self.track != track:
                raise ValueError(f"track: expected {track} by its simulation, got {self.track!r}")
        elif self.track.startswith("sim-"):
            raise ValueError(f"track: expected a simulation, or another track than {self.track!r}")
        elif self.track == UNNAMED or self.track.startswith(f"{UNNAMED}-"):
            raise ValueError(f"track: {NAME_IT}")
        if self.split == "test" and test_scenes not in (None, self.expected_scenes):
            raise ValueError(
                f"expected_scenes: expected {test_scenes} in its track, got {self.expected_scenes}"
            )
        return self


def _simulation(identity: str) -> Simulation:
    known = _SIMULATION.fullmatch(identity)
    if known is None:
        expected = "its version, preset, seed and size"
        raise ValueError(f"simulation: expected {expected}, got {shown(identity)}")
    facts = {**known.groupdict(), "seed": int(known["seed"]), "train_scenes": 0}
    return Simulation.model_validate({**facts, "test_scenes": TEST_SCENES[known["size"]]})


class SentFacts(RunFacts):
    """What ``run.json`` of an entry adds to the record of its ledger: known keys."""

    model_config = ConfigDict(extra="forbid", title="the record of the ledger's run")


def read_sent_run(path: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """Read ``run.json`` of an entry.

    Args:
        path: The file.
        record: What the ledger says about the run; ``run.json`` must say the same.

    Raises:
        SubmissionError: Lists everything that is wrong with it.
    """
    run = read_json(path, LARGEST_RECORD, error=SubmissionError)
    facts = {key: value for key, value in run.items() if key not in record}
    lines = [*differing_keys(run, record), *nested_text_errors(facts, depth=3)]
    if record["complete"] and facts.get("problems"):
        lines.append("problems: expected none of a complete run")
    errors = [f"{path}: {line}" for line in lines]
    collect_errors(errors, validate, SentFacts, facts, str(path), error=SubmissionError)
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
