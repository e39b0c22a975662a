"""``planetcr-bench pairs``: cut two dates of one place into patches."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from planetcr_bench.cli import options


def pairs(
    cloudy: Annotated[Path, typer.Argument(help="PlanetScope scene with clouds, 3 m.")],
    clear: Annotated[Path, typer.Argument(help="Scene of the same place without clouds.")],
    out: Annotated[Path, typer.Option(help="Folder of the dataset; areas are added to it.")],
    udm: Annotated[
        Path | None, typer.Option(help="Usable data mask of the cloudy scene, UDM2 or UDM.")
    ] = None,
    sar: Annotated[
        Path | None, typer.Option(help="Sentinel-1 image, VV and VH in dB or linear power.")
    ] = None,
    landcover: Annotated[Path | None, typer.Option(help="WorldCover map.")] = None,
    product: Annotated[
        Literal["planet-sr", "planet-radiance", "planet-toa"] | None,
        typer.Option(help="What the scenes are.", show_default="recognised"),
    ] = None,
    split: Annotated[
        Literal["train", "val", "test"], typer.Option(help="Split to add the patches to.")
    ] = "test",
    season: Annotated[
        Literal["spring", "summer", "fall", "winter"] | None,
        typer.Option(help="Season in names.", show_default="of the cloudy scene's date"),
    ] = None,
    aoi: Annotated[
        int | None,
        typer.Option(min=0, help="Number of the area.", show_default="the next free one"),
    ] = None,
    max_nodata: Annotated[
        float,
        typer.Option(
            min=0, max=0.99, help="Largest share of pixels of a patch that a date may lack."
        ),
    ] = 0.0,
    per_bin: Annotated[
        int | None,
        typer.Option(min=1, help="Most patches of each cloud-cover bin.", show_default="all"),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Cut two dates of one place into patches, to evaluate and train on your own scenes.

    The patches lie in the layout of Planet-CR; what no file is given for is left out.
    """
    from planetcr_bench.curation.cutting import PairSettings, cut_pair

    settings = PairSettings(
        mask=udm, sar=sar, land_cover=landcover, product=product, split=split, season=season,
        aoi=aoi, max_nodata=max_nodata, per_bin=per_bin,
    )  # fmt: skip

    def say(line: str) -> None:
        if not as_json:
            typer.echo(line, err=True)

    made = cut_pair(cloudy, clear, out, settings, say=say)
    if as_json:
        facts = {"out": str(out), "scenes": made.scenes, "nodata": made.nodata,
                 "full": made.full, "bins": made.bins, "lacking": made.lacking}  # fmt: skip
        typer.echo(json.dumps(facts))
        return
    counts = ", ".join(f"{count} of {name} %" for name, count in made.bins.items())
    left_out = [
        f"{count} {why}"
        for count, why in ((made.nodata, "for lack of data"), (made.full, "of full bins"))
        if count
    ]
    noun = "patch" if len(made.scenes) == 1 else "patches"
    covers = f", cloud cover: {counts}" if udm else ""
    without = f"; left out: {', '.join(left_out)}" if left_out else ""
    command = shlex.join(["planetcr-bench", "check", str(out)])
    typer.echo(f"{len(made.scenes)} {noun} in {out}{covers}{without}; next: {command}")
