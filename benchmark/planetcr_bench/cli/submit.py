"""``planetcr-bench submit``: pack predictions as an entry, or check and accept one."""

from __future__ import annotations

import json
import secrets
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from planetcr_bench.cli import options
from planetcr_bench.errors import UsageError
from planetcr_bench.utils.extras import need_segmenters

if TYPE_CHECKING:  # --help must start fast
    from planetcr_bench.evaluation.segmenters import Segmenter

_PACK = "Pack"
_CHECK = "Check (--check)"


def submit(
    predictions: Annotated[
        Path | None, typer.Argument(help="Folder of predictions to pack.", show_default=False)
    ] = None,
    card: Annotated[
        Path | None,
        typer.Option(
            help="Who made the method and how: card.toml.",
            rich_help_panel=_PACK,
        ),
    ] = None,
    template: Annotated[
        bool,
        typer.Option("--template", help="Print a card to fill in.", rich_help_panel=_PACK),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder or .zip to write.",
            show_default="submissions/<name>",
            rich_help_panel=_PACK,
        ),
    ] = None,
    with_predictions: Annotated[
        bool,
        typer.Option(
            "--with-predictions",
            help="Pack the images too, for the board to measure again.",
            rich_help_panel=_PACK,
        ),
    ] = False,
    name: Annotated[
        str | None,
        typer.Option(
            help="Name of the run.", show_default="the folder's name", rich_help_panel=_PACK
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="Split to score: train, val or test.", show_default="test", rich_help_panel=_PACK
        ),
    ] = None,
    allow_missing: Annotated[
        bool,
        typer.Option(
            "--allow-missing",
            help="Pack what is usable: shown with its coverage, never ranked.",
            rich_help_panel=_PACK,
        ),
    ] = False,
    optical_thickness: options.OpticalThickness = None,
    check: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER|ARCHIVE",
            help="Entry to check: a folder, .zip, .tar, .tar.gz, .tgz or .tar.xz.",
            rich_help_panel=_CHECK,
        ),
    ] = None,
    sample: Annotated[
        str | None,
        typer.Option(
            metavar="N|all",
            help="Scenes to measure again where the dataset is given; all: the entry becomes "
            "verified if its predictions were sent.",
            show_default="32",
            rich_help_panel=_CHECK,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=2**63 - 1,
            help="Of the choice of these scenes.",
            show_default="random, and printed",
            rich_help_panel=_CHECK,
        ),
    ] = None,
    accept: Annotated[
        bool,
        typer.Option(
            "--accept",
            help="Put a sound entry into the results, for the leaderboard.",
            rich_help_panel=_CHECK,
        ),
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Dataset: the folder that holds train/ and test/. To pack, else the environment "
            "variable PLANETCR_DATA, else what predictions.toml names; --check without it "
            "measures nothing again.",
        ),
    ] = None,
    scene_list: options.SceneList = None,
    results: Annotated[
        Path | None,
        typer.Option(
            help="Folder of results. To pack: the run goes there too. --check: the entry is held "
            "against its runs. --accept: the entry goes there.",
            show_default="results, to accept; else none",
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace an entry or a run of the same name.")
    ] = False,
    segmenter: options.Segmenters = None,
    device: options.Device = "auto",
    workers: options.Workers = None,
    as_json: options.Json = False,
) -> None:
    """Pack predictions and a card as an entry for the leaderboard, or check one that was sent.

    An entry holds the card, the list of predictions with their digests, the ledger and a report.
    The check trusts nothing and lists every reason at once.
    """
    if [predictions is not None, check is not None, template].count(True) != 1:
        raise UsageError("submit: expected one of a folder of predictions, --check or --template")
    packing: dict[str, Any] = {"--card": card, "--out": out, "--name": name, "--split": split}
    packing |= {"--with-predictions": with_predictions, "--allow-missing": allow_missing}
    packing |= {"--optical-thickness": optical_thickness}
    checking = {"--sample": sample, "--seed": seed, "--accept": accept}
    given: dict[str, Any] = {"data": data, "scene_list": scene_list, "workers": workers}
    given |= {"results": results, "segmenters": _segmenters(segmenter, device)}
    if template:
        _refuse({**packing, **checking}, "is not for --template")
        from planetcr_bench.leaderboard.card import TEMPLATE

        typer.echo(TEMPLATE, nl=False)
    elif check is not None:
        _refuse(packing, "is for packing, not for --check")
        _check(
            check,
            accept=accept,
            replace=replace,
            as_json=as_json,
            sample=_sample(sample),
            seed=secrets.randbelow(2**32) if seed is None else seed,
            **given,
        )
    else:
        _refuse(checking, "is for --check")
        _pack(
            predictions,
            card,
            out,
            as_json=as_json,
            with_predictions=with_predictions,
            replace_old=replace,
            name=name,
            split=split,
            allow_missing=allow_missing,
            optical_thickness=optical_thickness,
            **given,
        )


def _refuse(given: dict[str, Any], reason: str) -> None:
    for option, value in given.items():
        if value is not None and value is not False:
            raise UsageError(f"{option}: {reason}")


def _sample(text: str | None) -> int | None:
    from planetcr_bench.submission.check import SAMPLE

    if text in (None, "all"):
        return SAMPLE if text is None else None
    if not text.isascii() or not text.isdigit():
        raise UsageError(f"--sample: expected a number of scenes or all, got {text!r}")
    return int(text)


def _segmenters(files: list[Path] | None, device: str) -> Sequence[Segmenter]:
    if not files:
        return []
    need_segmenters()
    from planetcr_bench.networks.segmenter import load_all  # PyTorch is an extra

    return load_all(files, device=device, precision="32")


def _pack(
    predictions: Path | None,
    card: Path | None,
    out: Path | None,
    *,
    results: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    from planetcr_bench.submission.pack import pack
    from planetcr_bench.utils.untrusted import printable

    if card is None:
        raise UsageError("--card: expected a card; `planetcr-bench submit --template` prints one")
    if predictions is None:
        raise UsageError("submit: expected a folder of predictions")
    command = ["planetcr-bench", *sys.argv[1:]]
    written, ledger, problems = pack(
        predictions, card, out, results=results, command=command, quiet=as_json, **options
    )
    for problem in problems:
        typer.echo(f"left out: {printable(problem)}", err=True)
    told = {"entry": str(written), "name": ledger.name, "track": ledger.provenance["track"]}
    if as_json:
        typer.echo(json.dumps(told, ensure_ascii=False))
        return
    typer.echo(f"Entry: {written} ({told['name']}, track {told['track']}). It passes")
    typer.echo(f"  planetcr-bench submit --check {written}")


def _check(
    entry: Path,
    *,
    accept: bool,
    replace: bool,
    results: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    from planetcr_bench.submission import pack as submission
    from planetcr_bench.submission.check import CheckConfig, check
    from planetcr_bench.utils.untrusted import printable

    if replace and not accept:
        raise UsageError("--replace: is for packing and for --accept")
    if accept and results is None:
        results = Path("results")
    witness = results if results is not None and results.is_dir() else None
    new = accept and results is not None and not results.exists()
    if witness is None and results is not None and not new:
        raise UsageError(f"--results: expected a folder of results, {results} is none")
    if accept and results is not None:
        submission.check_results(entry, results)
    command = ["planetcr-bench", *sys.argv[1:]]
    scrutiny = CheckConfig(results=witness, command=command, quiet=as_json, **options)
    with tempfile.TemporaryDirectory(prefix="planetcr-entry-") as work:
        found = check(entry, Path(work), scrutiny)
    told: dict[str, Any] = {
        "name": found.ledger.name,
        "track": found.run["track"],
        "method": found.card.method,
        "status": found.status,
        "complete": found.run["complete"],
        "checked": found.told,
    }
    if accept and results is not None:
        told["accepted"] = str(submission.accept(found, results, replace_old=replace))
    if as_json:
        typer.echo(json.dumps(told, ensure_ascii=False))
        return
    from planetcr_bench.results.aggregate import coverage

    ranked = "" if told["complete"] else ", incomplete: never ranked"
    typer.echo(
        f"{told['name']} ({told['track']}): sound, {found.status}; {coverage(found.ledger)}{ranked}"
    )
    for line in found.told:
        typer.echo(f"  {printable(line)}")
    if accept:
        typer.echo(f"Accepted: {told['accepted']}")
