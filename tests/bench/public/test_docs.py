"""Run the code of the page on Python as a reader would: top to bottom, in one session."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib as mpl
import pytest

from paths import ROOT


def test_the_code_of_the_page_runs(
    simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "SIM").symlink_to(simulated)
    (tmp_path / "results").symlink_to(ROOT / "results")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/python.md").read_text(), re.DOTALL)
    assert len(blocks) > 8
    session: dict[str, object] = {}
    with mpl.rc_context({"backend": "agg"}):
        for block in blocks:
            exec(block, session)
    assert session["run"].ledger.provenance["complete"]
