"""``planetcr-bench paper``: make the tables and figures of a paper."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer


def paper(
    runs: Annotated[
        list[Path], typer.Argument(help="Results folders (results/<track>/<name>) or ledgers.")
    ],
    out: Annotated[
        Path, typer.Option(help="Folder to write: new, empty, or made by this command.")
    ] = Path("paper"),
    style: Annotated[
        Literal["ieee", "isprs", "plain"],
        typer.Option(help="Whose column and page widths tables and figures fit."),
    ] = "ieee",
    label: Annotated[
        list[str] | None,
        typer.Option(
            metavar='RUN="LABEL"',
            help="What a run is called, by default as its card says; repeatable.",
        ),
    ] = None,
    protocol: Annotated[
        Literal["official", "full"] | None,
        typer.Option(
            help="How scores are measured.", show_default="full where all runs were measured so"
        ),
    ] = None,
    published: Annotated[
        bool,
        typer.Option(
            "--published",
            help="Add the rows of the Planet-CR paper, set apart: for runs on all 3,000 test "
            "scenes of Planet-CR with input window 160, in protocol official.",
        ),
    ] = False,
    intervals: Annotated[
        bool,
        typer.Option("--intervals", help="Print the 95 % intervals of overall scores."),
    ] = False,
    digits: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC=N",
            help="Digits after the point of mae, psnr, sam, ssim, miou or pa; repeatable.",
        ),
    ] = None,
    ablation: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RUN",
            help="A row of the ablation table, the complete method last; repeatable.",
            show_default="runs such as NAME_no_sar before NAME",
        ),
    ] = None,
    order: Annotated[
        Literal["year", "given"],
        typer.Option(help="Methods by the year of their cards, or as they are given."),
    ] = "year",
    data: Annotated[
        Path | None,
        typer.Option(help="Dataset of the runs, to draw scenes (Fig. 4) from their predictions."),
    ] = None,
    scene: Annotated[
        list[str] | None,
        typer.Option(
            help="Name of a scene of Fig. 4; repeatable.", show_default="4 over cloud cover"
        ),
    ] = None,
) -> None:
    """Make the tables and figures of a paper, and documents that include them.

    Everything follows from the runs' ledgers, compact ones too, and their cards.
    """
    from planetcr_bench.errors import UsageError
    from planetcr_bench.paper.paper import check_out, write_paper
    from planetcr_bench.paper.runs import read_runs
    from planetcr_bench.paper.tables import parse_digits, parse_labels
    from planetcr_bench.utils.untrusted import printable

    if scene and data is None:
        raise UsageError("--scene: names scenes of Fig. 4, which needs --data")
    labels, counts = parse_labels(label or []), parse_digits(digits or [])
    check_out(out)
    read = read_runs(runs, labels=labels, protocol=protocol, published=published, order=order)
    remarks = write_paper(
        out,
        read,
        style=style,
        intervals=intervals,
        digits=counts,
        ablation=ablation or (),
        data=data,
        scenes=scene or (),
        command=["planetcr-bench", *sys.argv[1:]],
    )
    for remark in remarks:
        typer.secho("note: ", fg="yellow", err=True, nl=False)
        typer.echo(printable(remark), err=True)
    typer.echo(f"Paper: {out / 'paper.tex'}")
    typer.echo(f"Supplement: {out / 'supplement.tex'}")
