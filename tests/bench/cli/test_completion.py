"""Test that shells complete commands and options."""

from __future__ import annotations

import pytest

from conftest import Cli


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(
    ("typed", "completed"),
    [("doc", "doctor"), ("evaluate --seg", "--segmenter"), ("demo --size t", "tiny")],
)
def test_a_shell_completes_commands_options_and_choices(
    cli: Cli, shell: str, typed: str, completed: str
) -> None:
    line = f"planetcr-bench {typed}"
    environment = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}
    environment |= {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    done = cli(**environment, _PLANETCR_BENCH_COMPLETE=f"complete_{shell}")
    assert completed in done.stdout, (done.stdout, done.stderr)
    assert "simulate" not in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_is_for_this_command(cli: Cli, shell: str) -> None:
    done = cli(_PLANETCR_BENCH_COMPLETE=f"source_{shell}")
    assert "_PLANETCR_BENCH_COMPLETE" in done.stdout
    assert "planetcr-bench" in done.stdout
