"""Entries on other datasets than Planet-CR: packed, checked, and refused by one clear line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from described import write_description, write_png
from paths import RUNS
from planetcr_bench.data.descriptions import is_built_in, load_description, to_text
from planetcr_bench.data.masks import OtherMasks
from planetcr_bench.errors import DatasetError, SubmissionError
from planetcr_bench.predictions.card import read_card
from planetcr_bench.predictions.predict import predict
from planetcr_bench.submission.check import CheckConfig, check
from planetcr_bench.submission.pack import pack

pytestmark = pytest.mark.usefixtures("ledgers_alone", "ledgers_decoded_here")

RGB: dict[str, Any] = {
    "title": "Our pairs",
    "track": "our-pairs",
    "bands": ["red", "green", "blue"],
    "scene": "{n}",
    "optical": {"clear": "t_{n}.png", "cloudy": "c_{n}.png", "scale": 255.0},
}


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pairs, their description, predictions, and the entry of these; read only."""
    root = tmp_path_factory.mktemp("ours")
    for number, size in ((1, (40, 48)), (2, (48, 40))):
        write_png(root / "data" / f"t_{number}.png", number, size=size)
        write_png(root / "data" / f"c_{number}.png", 9 + number, size=size)
    toml = write_description(root / "ours.toml", RGB)
    predict("copy-cloudy", root / "data", root / "copy", dataset=toml, workers=0, quiet=True)
    for name, options in (("alone", {}), ("whole", {"with_predictions": True})):
        pack(
            root / "copy", RUNS / "mean-fill/card.toml", root / name, workers=0, quiet=True,
            **options,
        )  # fmt: skip
    return root


def config(ours: Path, described: Path, **options: object) -> CheckConfig:
    return CheckConfig(data=ours / "data", described=described, workers=0, quiet=True, **options)


@pytest.mark.parametrize(("name", "status"), [("alone", "claimed"), ("whole", "verified")])
def test_an_entry_is_measured_again(ours: Path, tmp_path: Path, name: str, status: str) -> None:
    result = check(ours / name, tmp_path, config(ours, ours / "ours.toml", sample=None))
    assert result.status == status
    assert result.run["track"] == "our-pairs"
    assert any("all 2 scenes were" in line for line in result.checked)


def test_no_path_of_the_sender_is_packed(ours: Path) -> None:
    card = read_card(ours / "whole/predictions")
    assert (card.dataset, card.description) == (None, None)
    for name in ("run.json", "description.toml"):
        assert str(ours) not in (ours / "whole" / name).read_text()


def test_an_entry_brings_its_description_which_the_receiver_may_give(
    ours: Path, tmp_path: Path
) -> None:
    sent = ours / "alone/description.toml"
    assert load_description(sent) == load_description(ours / "ours.toml")
    unaware = CheckConfig(data=ours / "data", workers=0, quiet=True)
    with pytest.raises(DatasetError, match=r"the entry has a description\.toml: read it, and"):
        check(ours / "alone", tmp_path, unaware)
    assert check(ours / "alone", tmp_path, config(ours, sent)).status == "claimed"


def test_lists_are_named_without_their_folder(tmp_path: Path) -> None:
    (tmp_path / "test.txt").write_text("1\n")
    path = tmp_path / "lists.toml"
    write_description(path, {**RGB, "splits": {"test": {"file": "test.txt"}}})
    assert 'file = "test.txt"' in to_text(load_description(path))
    assert not is_built_in(load_description(path))
    assert is_built_in(load_description("rice1"))


def test_an_entry_with_masks_from_elsewhere(ours: Path, tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir()
    for number, size in ((1, (40, 48)), (2, (48, 40))):
        np.save(tmp_path / f"ours/{number}.npy", np.eye(*size, dtype=bool))
    masks, work = OtherMasks(tmp_path / "ours"), tmp_path / "work"
    work.mkdir()
    pack(ours / "copy", RUNS / "mean-fill/card.toml", tmp_path / "e", masks=masks, workers=0,
         quiet=True)  # fmt: skip
    with pytest.raises(SubmissionError) as refusal:
        check(tmp_path / "e", work, config(ours, ours / "ours.toml"))
    (line,) = refusal.value.problems
    assert "masks: expected the dataset's own or none, got folder ours (sha256 " in line
    result = check(tmp_path / "e", work, config(ours, ours / "ours.toml", masks=masks))
    assert result.run["masks"] == "folder ours"


def test_a_split_may_have_any_name(ours: Path, tmp_path: Path) -> None:
    toml = write_description(tmp_path / "own.toml", {**RGB, "splits": {"my_part": {}}})
    predict("copy-cloudy", ours / "data", tmp_path / "p", split="my_part", dataset=toml, workers=0,
            quiet=True)  # fmt: skip
    pack(tmp_path / "p", RUNS / "mean-fill/card.toml", tmp_path / "e", workers=0, quiet=True)
    (tmp_path / "work").mkdir()
    result = check(tmp_path / "e", tmp_path / "work", CheckConfig(workers=0, quiet=True))
    assert result.run["track"] == "our-pairs-my_part"


def test_an_entry_by_another_description_is_refused(ours: Path, tmp_path: Path) -> None:
    optical = {**RGB["optical"], "clip": [0.0, 200.0]}
    other = write_description(tmp_path / "other.toml", {**RGB, "optical": optical})
    (tmp_path / "work").mkdir()
    with pytest.raises(SubmissionError, match="expected an entry without errors") as refusal:
        check(ours / "whole", tmp_path / "work", config(ours, other))
    (line,) = refusal.value.problems
    assert line.startswith("ledger.parquet: expected the description of the dataset: description ")


def test_a_track_of_the_catalogue_has_its_description(ours: Path, tmp_path: Path) -> None:
    toml = write_description(tmp_path / "rice.toml", {**RGB, "track": "t-cloud"})
    with pytest.raises(SubmissionError, match="would refuse this") as refusal:
        pack(
            ours / "copy", RUNS / "mean-fill/card.toml", tmp_path / "entry", described=toml,
            workers=0, quiet=True,
        )  # fmt: skip
    (line,) = refusal.value.problems
    assert "expected the description of t-cloud of the catalogue: size" in line
