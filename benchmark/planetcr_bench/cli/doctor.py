"""``planetcr-bench doctor``: what this machine has, and what is wrong with it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Final

import typer

from planetcr_bench.cli import options

_COLOURS: Final = {"ok": "green", "warn": "yellow", "fail": "red"}


def doctor(as_json: options.Json = False) -> None:
    """Say what this machine has: versions, GPU, memory, writable folders, extras.

    Exits with 1 only if what every command needs is broken. Reports of bugs begin with its output.
    """
    from planetcr_bench.utils.doctor import examine

    findings = examine()
    broken = any(finding.status == "fail" for finding in findings)
    if as_json:
        typer.echo(json.dumps({"ok": not broken, "findings": [*map(asdict, findings)]}))
        raise typer.Exit(int(broken))
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        typer.secho(f"{finding.status:6}", fg=_COLOURS[finding.status], nl=False)
        typer.echo(f"{finding.name:{width}}  {_printable(finding.text)}")
        if finding.remedy:
            typer.echo(f"{'':{width + 8}}{finding.remedy}")
    raise typer.Exit(int(broken))


def _printable(text: str) -> str:
    """Without control characters; the function for untrusted texts needs a sound NumPy."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
