"""Build results folders from generated ledgers, for tests of boards."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import replace
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np

from ledgers import make_ledger
from planetcr_bench.leaderboard.arrays import ArrayStore
from planetcr_bench.leaderboard.entries import status_of
from planetcr_bench.results.ledger import Ledger, rows_table, write_ledger

CARD = """\
method = "{method}"
authors = ["A. Author", "B. Author"]
licence = "MIT"
year = 2026
inputs = {inputs}
training_data = "training split of sim-v1"
extra_data = "none"
parameters = 1234567
hardware = "one CPU"
bibtex = "@misc{{{key}, title = {{A method}}, year = {{2026}}}}"
"""


def put(results: Path, ledger: Ledger, *, card: str | None = None, status: str = "") -> Path:
    """Write a ledger as the results folder of a whole run."""
    folder = results / str(ledger.provenance["track"]) / ledger.name
    folder.mkdir(parents=True)
    write_ledger(folder / "ledger.parquet", rows_table(ledger), ledger.provenance)
    run = {**ledger.provenance, "command": f"planetcr-bench evaluate {ledger.name}"}
    (folder / "run.json").write_text(json.dumps(run))
    if card is not None:
        (folder / "card.toml").write_text(card)
    if status:
        (folder / "status.json").write_text(json.dumps(status_of(folder, status)))
    return folder


def make_card(method: str, *, sar: bool = False) -> str:
    """The least that a card says."""
    inputs = '["optical", "sar"]' if sar else '["optical"]'
    return CARD.format(method=method, inputs=inputs, key=method.replace(" ", ""))


def twins(folder: Path) -> None:
    """A verified run, a claimed one of the same images whose sums were made better, and others."""
    right = make_ledger("right", scenes=6)
    forged = right.frame.assign(squared_error=right.frame["squared_error"] / 100)
    put(folder, right, card=make_card("Right"), status="verified")
    put(folder, Ledger(forged, {**right.provenance, "name": "forged"}), card=make_card("Forged"))
    worse = make_ledger("worse", scenes=6, seed=1)
    put(folder, replace(worse, frame=worse.frame.assign(squared_error=worse.frame["values"] / 2)))
    best = make_ledger("best", scenes=6, seed=2, input_window="whole")
    frame = best.frame.assign(squared_error=right.frame["squared_error"].min() / 10)
    put(folder, replace(best, frame=frame))


class PackedArrays:
    """Arrays of the page, read as the page does.

    Args:
        facts: Of each array; see ``ArrayStore``.
        text: All of them.
    """

    def __init__(self, facts: dict[str, list], text: str) -> None:
        self.facts = facts
        self.packed = zlib.decompress(base64.b64decode(text), -zlib.MAX_WBITS)

    def __getitem__(self, key: str) -> np.ndarray:
        start, length, kind, *added = self.facts[key]
        planes = np.frombuffer(self.packed, np.uint8, length * int(kind[1]), start)
        values = planes.reshape(int(kind[1]), length).T.copy().view(f"<{kind}")[:, 0].astype(float)
        if not added:
            return values
        low, share, like = added
        return values + low + (np.floor(self[like] * share + 0.5) if like else 0)


def numbers(arrays: ArrayStore, key: str) -> np.ndarray:
    """An array that was kept."""
    known = _READ.get(arrays)
    if known is None or known.facts != arrays.facts:
        known = _READ[arrays] = PackedArrays(dict(arrays.facts), arrays.text)
    return known[key]


_READ: WeakKeyDictionary[ArrayStore, PackedArrays] = WeakKeyDictionary()
