"""``planetcr-bench overview``: show what datasets look like."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from planetcr_bench.cli import completion, options


def overview(
    data: Annotated[
        list[Path], typer.Argument(help="Datasets: the folders that hold train/ and test/.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("overview"),
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|FILE",
            autocompletion=completion.datasets,
            help="What the datasets are, as for `check`; one for all, or repeated, one for each.",
        ),
    ] = None,
    masks: options.Masks = None,
    mask_rule: options.MaskRule = None,
    scenes: Annotated[
        int, typer.Option(min=0, max=10, help="How many scenes of each to draw; 0: none.")
    ] = 4,
    scene: Annotated[
        list[str] | None,
        typer.Option(help="Name of a scene to draw, instead of choosing scenes; repeatable."),
    ] = None,
    workers: options.Workers = None,
    cluster: options.Cluster = None,
    batch: options.Batch = 16,
) -> None:
    """Show datasets as the paper's Sec. 3 does: Fig. 1, Fig. 2, Tab. 1, and leaks between splits.

    Writes overview.html, which loads nothing, and its figures, tables and statistics.
    """
    from planetcr_bench.data.masks import other_masks
    from planetcr_bench.overview.overview import PAGE
    from planetcr_bench.overview.overview import overview as run

    if cluster is not None:
        data, masks = [each.absolute() for each in data], masks and masks.absolute()
    written = run(
        data,
        out,
        described=dataset or (),
        masks=other_masks(masks, mask_rule),
        count=scenes,
        names=scene or (),
        workers=options.one_of(workers, cluster),
        batch=batch,
    )
    for each in written:
        counts = ", ".join(f"{split} {len(own):,}" for split, own in each.statistics.files.items())
        typer.echo(f"{each.statistics.label}: {counts} scenes, {each.statistics.fingerprint[:12]}")
        for title, reason in each.missing.items():
            typer.echo(f"  left out: {title}: {reason}")
        for check, number in each.leakage.counts.items():
            if number:
                typer.echo(f"  between splits: {number:,} {check}")
    typer.echo(f"{out / PAGE}")
