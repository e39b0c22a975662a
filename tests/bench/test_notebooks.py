"""Run the notebooks of the documents, cell by cell, on the tiny simulated dataset."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib as mpl
import pytest

from paths import ROOT

NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.py"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(
    notebook: Path, simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "SIM").symlink_to(simulated)
    monkeypatch.chdir(tmp_path)
    cells = re.split(r"^# %%.*$", notebook.read_text(), flags=re.MULTILINE)
    assert len(cells) > 8
    session: dict[str, object] = {"__name__": "notebook"}
    with mpl.rc_context({"backend": "agg"}):
        for cell in cells:
            exec(cell, session)  # text is comments
