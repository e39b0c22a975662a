"""``planetcr-bench describe``: draft the description of a dataset."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer


def describe(
    folder: Annotated[Path, typer.Argument(help="Folder of a dataset.")],
    out: Annotated[
        Path | None,
        typer.Option(help="TOML file to write.", show_default="print it"),
    ] = None,
) -> None:
    """Draft a dataset.toml from what a folder holds: products, splits, bands and scale.

    The names of folders and files say what the images are, a few of them are opened. Each line
    says what it was guessed from: read them, and then run `check`.
    """
    from planetcr_bench.data.draft import draft_description
    from planetcr_bench.errors import DatasetError
    from planetcr_bench.utils.files import atomic_write
    from planetcr_bench.utils.untrusted import printable

    if out is not None and (out.suffix != ".toml" or out.exists()):
        what = "it exists; choose another, or delete it" if out.exists() else "choose another"
        raise DatasetError(f"{printable(out)}: expected a new file that ends in .toml; {what}")
    draft = draft_description(folder)
    for line in draft.unknown:
        typer.echo(f"not found out: {printable(line)}", err=True)
    if out is None:
        typer.echo(draft.text, nl=False)
        return
    atomic_write(out, draft.text.encode())
    command = shlex.join(["planetcr-bench", "check", str(folder), "--dataset", str(out)])
    typer.echo(f"{out}: read it, correct it; next: {command}")
