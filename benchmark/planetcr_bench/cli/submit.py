"""``planetcr-bench submit``: pack predictions as an entry, check one, accept one."""

from __future__ import annotations

import json
import secrets
import shlex
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
    from planetcr_bench.submission.check import CheckResult

app = typer.Typer(
    no_args_is_help=True,
    help="Pack predictions as an entry for the leaderboard, check one that was sent, or accept it.",
)


def _print_template(value: bool) -> None:
    if value:
        from planetcr_bench.leaderboard.card import TEMPLATE

        typer.echo(TEMPLATE, nl=False)
        raise typer.Exit


Entry = Annotated[
    Path, typer.Argument(metavar="FOLDER|ZIP", help="Entry that was sent.", show_default=False)
]
Sample = Annotated[
    str,
    typer.Option(
        metavar="N|all",
        help="Scenes to measure again where the dataset is given; all: the entry becomes verified "
        "if its predictions were sent.",
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=2**63 - 1,
        help="Seed that chooses these scenes.",
        show_default="random, and printed",
    ),
]
CheckData = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="Folder of the dataset. Without it, nothing is measured again.",
    ),
]
Replace = Annotated[bool, typer.Option("--replace", help="Replace what is there of the same name.")]


@app.command()
def pack(
    predictions: Annotated[Path, typer.Argument(help="Folder of predictions.", show_default=False)],
    card: Annotated[
        Path,
        typer.Option(
            help="Who made the method and how: card.toml; --template prints one.",
            show_default=False,
        ),
    ],
    template: Annotated[  # noqa: ARG001  # its callback does it all
        bool,
        typer.Option(
            "--template", callback=_print_template, is_eager=True, help="Print a card to fill in."
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder or .zip to write.", show_default="submissions/<name>"),
    ] = None,
    with_predictions: Annotated[
        bool,
        typer.Option(
            "--with-predictions", help="Pack the images too, for the board to measure again."
        ),
    ] = False,
    name: Annotated[
        str | None, typer.Option(help="Name of the run.", show_default="the folder's name")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Split to score.", show_default="test"),
    ] = None,
    allow_missing: Annotated[
        bool,
        typer.Option(
            "--allow-missing",
            help="Pack what is usable: shown with its coverage, never ranked.",
        ),
    ] = False,
    optical_thickness: options.OpticalThickness = None,
    data: options.DataOption = None,
    dataset: options.Description = None,
    scene_list: options.SceneList = None,
    masks: options.Masks = None,
    mask_rule: options.MaskRule = None,
    results: Annotated[
        Path | None,
        typer.Option(help="Folder of results that the run goes to, too.", show_default="none"),
    ] = None,
    replace: Replace = False,
    segmenter: options.Segmenters = None,
    device: options.Device = "auto",
    workers: options.Workers = None,
    as_json: options.Json = False,
) -> None:
    """Score predictions and pack them with a card as an entry for the leaderboard.

    An entry holds the card, the ledger with the digest of every prediction, and a report.
    """
    from planetcr_bench.data.masks import other_masks
    from planetcr_bench.submission import pack as packing
    from planetcr_bench.utils.untrusted import printable

    written, ledger, problems = packing.pack(
        predictions,
        card,
        out,
        data=data,
        described=dataset,
        split=split,
        scene_list=scene_list,
        masks=other_masks(masks, mask_rule),
        name=name,
        results=results,
        with_predictions=with_predictions,
        allow_missing=allow_missing,
        optical_thickness=optical_thickness,
        segmenters=_segmenters(segmenter, device),
        workers=workers,
        command=["planetcr-bench", *sys.argv[1:]],
        replace_old=replace,
        quiet=as_json,
    )
    for problem in problems:
        typer.echo(f"left out: {printable(problem)}", err=True)
    facts = {"entry": str(written), "name": ledger.name, "track": ledger.provenance["track"]}
    if as_json:
        typer.echo(json.dumps(facts, ensure_ascii=False))
        return
    typer.echo(f"Entry: {written} ({facts['name']}, track {facts['track']}). It passes")
    typer.echo(f"  {shlex.join(['planetcr-bench', 'submit', 'check', str(written)])}")


@app.command()
def check(
    entry: Entry,
    sample: Sample = "32",
    seed: Seed = None,
    data: CheckData = None,
    dataset: options.Description = None,
    scene_list: options.SceneList = None,
    masks: options.Masks = None,
    mask_rule: options.MaskRule = None,
    results: Annotated[
        Path | None,
        typer.Option(help="Folder of results whose runs the entry is compared with."),
    ] = None,
    segmenter: options.Segmenters = None,
    device: options.Device = "auto",
    workers: options.Workers = None,
    as_json: options.Json = False,
) -> None:
    """Check a submitted entry without trusting it, and list everything that is wrong."""
    if results is not None and not results.is_dir():
        raise UsageError(f"--results: expected a folder of results, got {results}")
    result = _check(
        entry, sample, seed, data, dataset, scene_list, results, _segmenters(segmenter, device),
        workers, masks=masks, mask_rule=mask_rule, quiet=as_json,
    )  # fmt: skip
    _print_result(result, as_json=as_json)


@app.command()
def accept(
    entry: Entry,
    results: options.Results = Path("results"),
    sample: Sample = "32",
    seed: Seed = None,
    data: CheckData = None,
    dataset: options.Description = None,
    scene_list: options.SceneList = None,
    masks: options.Masks = None,
    mask_rule: options.MaskRule = None,
    replace: Replace = False,
    segmenter: options.Segmenters = None,
    device: options.Device = "auto",
    workers: options.Workers = None,
    as_json: options.Json = False,
) -> None:
    """Check an entry and put it into the results that the leaderboard is built from."""
    from planetcr_bench.submission import accept as accepting

    if results.exists() and not results.is_dir():
        raise UsageError(f"--results: expected a folder of results, got {results}")
    accepting.check_results(entry, results)
    result = _check(
        entry, sample, seed, data, dataset, scene_list, results if results.exists() else None,
        _segmenters(segmenter, device), workers, masks=masks, mask_rule=mask_rule,
        replace_old=replace, quiet=as_json,
    )  # fmt: skip
    folder = accepting.accept(result, results, replace_old=replace)
    _print_result(result, as_json=as_json, accepted=str(folder))


def _segmenters(given: list[str] | None, device: str) -> Sequence[Segmenter]:
    if not given:
        return []
    need_segmenters()
    from planetcr_bench.networks.segmenter import load_all  # PyTorch is an extra

    return load_all(given, device=device, precision="32")


def _check(
    entry: Path,
    sample: str,
    seed: int | None,
    data: Path | None,
    dataset: str | None,
    scene_list: Path | None,
    results: Path | None,
    segmenters: Sequence[Segmenter],
    workers: int | None,
    *,
    masks: Path | None,
    mask_rule: str | None,
    replace_old: bool = False,
    quiet: bool,
) -> CheckResult:
    from planetcr_bench.data.masks import other_masks
    from planetcr_bench.submission import check as checking

    if sample != "all" and not (sample.isascii() and sample.isdigit()):
        raise UsageError(f"--sample: expected a number of scenes or all, got {sample!r}")
    config = checking.CheckConfig(
        data=data,
        described=dataset,
        scene_list=scene_list,
        masks=other_masks(masks, mask_rule),
        results=results,
        replace_old=replace_old,
        sample=None if sample == "all" else int(sample),
        seed=secrets.randbelow(2**32) if seed is None else seed,
        segmenters=segmenters,
        workers=workers,
        command=["planetcr-bench", *sys.argv[1:]],
        quiet=quiet,
    )
    with tempfile.TemporaryDirectory(prefix="planetcr-entry-") as work:
        return checking.check(entry, Path(work), config)


def _print_result(result: CheckResult, *, as_json: bool, accepted: str = "") -> None:
    from planetcr_bench.results.aggregate import coverage
    from planetcr_bench.utils.untrusted import printable

    facts: dict[str, Any] = {
        "name": result.ledger.name,
        "track": result.run["track"],
        "method": result.card.method,
        "status": result.status,
        "complete": result.run["complete"],
        "checked": result.checked,
        **({"accepted": accepted} if accepted else {}),
    }
    if as_json:
        typer.echo(json.dumps(facts, ensure_ascii=False))
        return
    ranked = "" if facts["complete"] else ", incomplete: never ranked"
    sound = f"sound, {result.status}; {coverage(result.ledger)}{ranked}"
    typer.echo(f"{facts['name']} ({facts['track']}): {sound}")
    for line in result.checked:
        typer.echo(f"  {printable(line)}")
    if accepted:
        typer.echo(f"Accepted: {accepted}")
