"""GitHub workflows and forms are valid and give pull requests no privileges."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from paths import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))


def steps_of(workflow: Path) -> list[dict]:
    jobs = yaml.safe_load(workflow.read_text())["jobs"].values()
    return [step for job in jobs for step in job["steps"]]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_reads_only_and_trusts_no_pull_request(workflow: Path) -> None:
    value = yaml.safe_load(workflow.read_text())
    assert "pull_request_target" not in workflow.read_text()
    assert value["permissions"] == {"contents": "read"}
    for step in steps_of(workflow):
        assert "${{" not in step.get("run", "")  # texts of strangers would become commands
        if step.get("uses", "").startswith("actions/checkout"):
            assert step["with"]["persist-credentials"] is False
    for name, job in value["jobs"].items():
        assert "permissions" not in job or job["if"] == (
            "github.event_name != 'pull_request' && !github.event.repository.fork"
        ), name


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_commands_of_a_workflow_are_sound_and_of_this_program(workflow: Path) -> None:
    commands = [step["run"] for step in steps_of(workflow) if "run" in step]
    ours = ("planetcr-bench", "check_new.sh", "make ")
    assert any(word in command for command in commands for word in ours)
    for command in commands:
        subprocess.run(["bash", "-n"], input=command, text=True, check=True)
    script = ROOT / "submissions/check_new.sh"
    assert script.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", script], check=True)


def test_pull_requests_are_linted_and_tested_on_every_supported_python() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())
    assert "pull_request" in workflow[True]  # YAML 1.1 reads the key "on" as a boolean
    jobs = workflow["jobs"]
    commands = [step.get("run", "") for job in jobs.values() for step in job["steps"]]
    targets = re.findall(r"^make (\w+)$", "\n".join(commands), re.MULTILINE)
    assert targets == ["lint", "test"]
    makefile = (ROOT / "Makefile").read_text()
    assert all(f"\n{target}: " in makefile for target in targets)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    supported = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    assert jobs["test"]["strategy"]["matrix"]["python-version"] == supported


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        (["submissions/new/card.toml"], 0),
        (["submissions/new/card.toml", "results/submissions/evil/status.json"], 1),
        (["submissions/new/card.toml", "benchmark/submissions/code.py"], 1),
        (["submissions/new/card.toml", "submissions.py"], 1),
        (["submissions/check_new.sh"], 1),
        (["submissions"], 1),
    ],
)
def test_a_pull_request_is_checked_by_the_branch_that_it_goes_to(
    tmp_path: Path, changed: list[str], status: int
) -> None:
    """The commands of the workflow, on a merge as GitHub makes it."""
    sent, head = tmp_path / "sent", ["git", "-c", "user.name=a", "-c", "user.email=a@b"]

    def git(*words: str) -> None:
        subprocess.run([*head, *words], cwd=sent, check=True, capture_output=True)

    def commit(*names: str) -> None:
        for name in names:
            if (sent / name).is_dir():  # a file, or a link, in the place of all entries
                shutil.rmtree(sent / name)
            (sent / name).parent.mkdir(parents=True, exist_ok=True)
            (sent / name).write_text("")
        git("add", "-A")
        git("commit", "-m", "one")

    sent.mkdir()
    git("init", "-b", "main")
    commit("tool", "submissions/old/card.toml")
    git("checkout", "-b", "theirs")
    commit(*changed)
    git("checkout", "main")
    commit("results/later")  # what came to the branch since is no change of theirs
    git("merge", "--no-ff", "theirs", "-m", "both")
    checkout, *steps = steps_of(ROOT / ".github/workflows/submission.yml")
    assert checkout["with"]["path"] == "sent"
    assert checkout["with"]["fetch-depth"] == 2
    worktree, guard = (step["run"] for step in steps if "git -C sent" in step.get("run", ""))
    subprocess.run(["bash", "-e", "-c", worktree], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "board/results/later").exists()
    assert not (tmp_path / "board/submissions/new").exists()
    done = subprocess.run(
        ["bash", "-e", "-c", guard], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stderr
    for name in changed:
        assert (f"\t{name}\n" in done.stdout) == (not name.startswith("submissions/new/"))
    text = (ROOT / ".github/workflows/submission.yml").read_text()
    assert "sent/" not in text.replace("board/submissions/check_new.sh board sent", "")


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_a_form_asks_for_what_github_knows(form: Path) -> None:
    value = yaml.safe_load(form.read_text())
    assert {"name", "description", "body"} <= value.keys()
    kinds = {"markdown", "input", "textarea", "dropdown", "checkboxes"}
    assert {part["type"] for part in value["body"]} <= kinds
    ids = [part["id"] for part in value["body"] if part["type"] != "markdown"]
    assert len(set(ids)) == len(ids)
