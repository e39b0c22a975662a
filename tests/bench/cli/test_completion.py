"""Test that shells complete commands and options."""

from __future__ import annotations

import pytest
import typer

from conftest import Cli
from planetcr_bench.cli import completion
from planetcr_bench.cli.app import app


def completed(cli: Cli, shell: str, typed: str) -> str:
    """What a shell gets for the last word of a line."""
    line = f"planetcr-bench {typed}"
    environment = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}
    environment |= {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    done = cli(**environment, _PLANETCR_BENCH_COMPLETE=f"complete_{shell}")
    assert not done.stderr
    return done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(
    ("typed", "expected"),
    [("doc", "doctor"), ("evaluate --seg", "--segmenter"), ("demo --size t", "tiny")],
)
def test_a_shell_completes_commands_options_and_choices(
    cli: Cli, shell: str, typed: str, expected: str
) -> None:
    offered = completed(cli, shell, typed)
    assert expected in offered
    assert "simulate" not in offered


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("predict sar-", "sar-regression"),
        ("predict align_cr_no_a", "align_cr_no_align"),
        ("predict dsen2_cr --weights sim-v1-small-", "sim-v1-small-no-sar"),
        ("restore --method mcg", "mcgan"),
        ("train seg", "segmenter"),
        ("models glf", "glf_cr"),
        ("evaluate --dataset sen12ms-cr-", "sen12ms-cr-flat"),
        ("overview --dataset sen12ms-cr-", "sen12ms-cr-flat"),
        ("evaluate --segmenter sim", "sim-v1-small"),
        ("gallery --segmenter sim", "sim-v1-small"),
        ("predict net.py", ""),  # the shell then offers files
    ],
)
def test_methods_weights_and_datasets_are_completed_by_name(
    cli: Cli, typed: str, expected: str
) -> None:
    assert completed(cli, "bash", typed).strip() == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_is_for_this_command(cli: Cli, shell: str) -> None:
    done = cli(_PLANETCR_BENCH_COMPLETE=f"source_{shell}")
    assert "_PLANETCR_BENCH_COMPLETE" in done.stdout
    assert "planetcr-bench" in done.stdout


def test_weights_are_those_of_the_method_that_the_line_names() -> None:
    context = typer.Context(typer.main.get_command(app))
    assert {"sim-v1-small", "sim-v1-small-no-sar"} <= {*completion.weights(context)}
    context.params["method"] = "mcgan"
    assert completion.weights(context) == ["sim-v1-small"]
