"""Test what the doctor prints and how it exits."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml

from conftest import Cli
from paths import ROOT
from planetcr_bench import __version__
from planetcr_bench.utils import doctor
from planetcr_bench.utils.doctor import Finding


@pytest.mark.parametrize(("status", "code"), [("ok", 0), ("warn", 0), ("fail", 1)])
def test_only_what_every_command_needs_is_a_failure(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, status: doctor.Status, code: int
) -> None:
    findings = [Finding("one", "ok", "good"), Finding("other", status, "b\x1b[2Jd", "do this")]
    monkeypatch.setattr(doctor, "examine", lambda: findings)
    done = cli("doctor")
    assert done.returncode == code
    assert done.stdout.splitlines() == [
        "ok    one    good", f"{status:6}other  b?[2Jd", "             do this",
    ]  # fmt: skip
    done = cli("doctor", "--json")
    assert done.returncode == code
    value = json.loads(done.stdout)
    assert value["ok"] == (code == 0)
    assert value["findings"][1]["remedy"] == "do this"


def test_a_broken_numpy_does_not_keep_the_doctor_from_saying_so(
    program: Cli, tmp_path: Path
) -> None:
    (tmp_path / "numpy.py").write_text("raise ImportError('wrong processor')")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = program("doctor", PYTHONPATH=path)
    assert done.returncode == 1, done.stderr
    assert f"planetcr-bench  {__version__}" in done.stdout
    assert "fail  NumPy           ImportError: wrong processor" in done.stdout
    assert "--force-reinstall" in done.stdout
    assert "PROJ_DATA" not in done.stdout  # which would be another fault
    assert "Traceback" not in done.stderr


def test_reports_of_bugs_ask_for_it_first() -> None:
    form = yaml.safe_load((ROOT / ".github/ISSUE_TEMPLATE/bug.yml").read_text())
    assert "planetcr-bench doctor" in form["body"][0]["attributes"]["label"]
    assert form["body"][0]["validations"] == {"required": True}
