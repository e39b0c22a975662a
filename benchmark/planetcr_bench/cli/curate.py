"""``planetcr-bench curate``: make a dataset from AOIs of one's own."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from planetcr_bench.cli import options

if TYPE_CHECKING:
    import pandas as pd


def curate(
    table: Annotated[
        Path,
        typer.Argument(
            metavar="AOIS",
            help="Table of AOIs, CSV or GeoPackage: columns cloudy, clear, udm, sar and landcover, "
            "with paths from its folder.",
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="Folder of the dataset: new, empty, or begun by this command.")
    ],
    train: Annotated[
        int | None,
        typer.Option(min=0, help="Training patches.", show_default="60,000 for 660 AOIs"),
    ] = None,
    test: Annotated[
        int | None, typer.Option(min=0, help="Test patches.", show_default="3,000 for 120 AOIs")
    ] = None,
    test_aois: Annotated[
        int | None,
        typer.Option(min=0, help="AOIs for testing, at most.", show_default="120 of 780"),
    ] = None,
    min_distance: Annotated[
        float, typer.Option(min=0, help="Kilometres between AOIs of different splits.")
    ] = 10.0,
    stride: Annotated[
        int,
        typer.Option(min=10, help="Pixels of 3 m from one window to the next, a multiple of 10."),
    ] = 300,
    max_nodata: Annotated[
        float,
        typer.Option(min=0, max=0.99, help="Largest share of a window that a product may lack."),
    ] = 0.0,
    max_days: Annotated[
        float | None,
        typer.Option(
            min=0, help="Drop AOIs with more days between the dates.", show_default="keep all"
        ),
    ] = None,
    max_shift: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Drop AOIs whose dates are displaced by more metres.",
            show_default="keep all",
        ),
    ] = None,
    max_change: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Drop windows whose clear pixels differ by more reflectance between the dates.",
            show_default="keep all",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed chooses others.")] = 0,
    product: Annotated[
        Literal["planet-sr", "planet-radiance", "planet-toa"] | None,
        typer.Option(help="What the scenes are.", show_default="recognised"),
    ] = None,
    mask_rule: Annotated[
        str | None,
        typer.Option(
            metavar="RULE",
            help="What counts as cloud in UDM2, such as udm2:cloud.",
            show_default="udm2:shadow,light-haze,heavy-haze,cloud",
        ),
    ] = None,
    layer: Annotated[
        str | None, typer.Option(help="Layer of a GeoPackage.", show_default="its only one")
    ] = None,
    track: Annotated[str, typer.Option(help="Name of the track of results.")] = "curated",
    workers: options.Workers = None,
    cluster: options.Cluster = None,
    as_json: options.Json = False,
) -> None:
    """Make a dataset like Planet-CR from your own AOIs: patches, splits, even distributions.

    The same command resumes a stopped run; finished AOIs are not done again.
    """
    from planetcr_bench.curation.curate import curate as run
    from planetcr_bench.curation.record import CurateSettings
    from planetcr_bench.errors import UsageError
    from planetcr_bench.restoration.masks import CLOUDY
    from planetcr_bench.utils.validation import validate

    settings = validate(
        CurateSettings,
        {
            "train": train, "test": test, "test_aois": test_aois, "stride": stride,
            "max_nodata": max_nodata, "min_distance_km": min_distance, "max_days": max_days,
            "max_shift_m": max_shift, "max_change": max_change, "seed": seed, "product": product,
            "mask_rule": mask_rule or CLOUDY, "layer": layer, "track": track,
        },
        "options", error=UsageError,
    )  # fmt: skip
    if cluster is not None:  # paths that are the same to all workers
        table, out = table.absolute(), out.absolute()

    def say(line: str) -> None:
        if not as_json:
            typer.echo(line, err=True)

    made = run(
        table, out, settings, workers=options.one_of(workers, cluster), quiet=as_json, say=say
    )
    result = made.record.result
    assert result is not None
    if as_json:
        facts = {"out": str(out), "new": made.anew, **result.model_dump()}
        typer.echo(json.dumps(facts))
        return
    for split, histogram in made.histograms.items():
        _print(split, histogram)
    command = shlex.join(["planetcr-bench", "check", str(out)])
    typer.echo(
        f"{result.train:,} training and {result.test:,} test patches in {out}, fingerprint "
        f"{result.fingerprint[:12]}; next: {command}"
    )


def _print(split: str, histogram: pd.DataFrame) -> None:
    """The chosen windows by cloud cover and class, with what even shares would be."""
    grid = histogram.pivot_table(
        index="cover", columns="class", values="chosen", sort=False, aggfunc="sum"
    )
    ideal = float(histogram["ideal"].iloc[0])
    rows = [[str(cover), *(f"{int(value):,}" for value in row)] for cover, row in
            zip(grid.index, grid.to_numpy(), strict=True)]  # fmt: skip
    pixels = histogram.loc[histogram["cover"] == "all", "pixels"]
    shares = ["pixels", *("" if none else f"{value:.0%}" for value, none in
                          zip(pixels, pixels.isna(), strict=True))]  # fmt: skip
    header = ["cover, %", *map(str, grid.columns)]
    table = [header, *rows, *([shares] if any(shares[1:]) else [])]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    typer.echo(f"{split}: patches by cloud cover and dominant class (even: {ideal:,.0f} in each)")
    for row in table:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        typer.echo("  ".join(["", *cells]))
