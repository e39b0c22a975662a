"""``planetcr-bench gallery``: draw predictions beside the clear images."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from planetcr_bench.cli import completion, options
from planetcr_bench.errors import UsageError
from planetcr_bench.utils.extras import need_segmenters


class Panels(StrEnum):
    """Panels under each scene; typer accepts no list of literals."""

    infrared = "infrared"
    error = "error"
    angle = "angle"
    segmenter = "segmenter"
    mask = "mask"
    none = "none"


def gallery(
    data: options.Data,
    predictions: Annotated[
        list[Path], typer.Argument(help="One to eight folders of predictions; one column each.")
    ],
    out: Annotated[
        Path,
        typer.Option(help="File to write: .png, .pdf or .svg; its caption goes to .txt beside it."),
    ] = Path("gallery.png"),
    scenes: Annotated[
        int | None,
        typer.Option(
            min=1, help="How many scenes to choose.", show_default="5, with --select classes 6"
        ),
    ] = None,
    scene: Annotated[
        list[str] | None,
        typer.Option(help="Name of a scene to draw, instead of choosing scenes; repeatable."),
    ] = None,
    select: Annotated[
        Literal["spread", "classes", "best", "median", "worst"] | None,
        typer.Option(
            help="spread: evenly over cloud cover (5 scenes are one per bin of Fig. 5), seasons "
            "and places. classes: scenes in which each land-cover class in turn prevails, near the "
            "median cloud cover. The others: by a score of the first folder.",
            show_default="spread",
        ),
    ] = None,
    rank_by: Annotated[
        Literal["mae", "psnr", "sam", "ssim"] | None,
        typer.Option(help="Score for best, median or worst.", show_default="psnr"),
    ] = None,
    dataset: options.Description = None,
    split: Annotated[
        str | None, typer.Option(help="Split of the dataset.", show_default="test")
    ] = None,
    scene_list: options.SceneList = None,
    masks: options.Masks = None,
    mask_rule: options.MaskRule = None,
    panels: Annotated[
        list[Panels] | None,
        typer.Option(
            help="Panels under each scene: false colour, absolute error, spectral angle, "
            "the segmenter's maps, cloud mask; repeatable.",
            show_default="none",
        ),
    ] = None,
    zoom: Annotated[
        str | None,
        typer.Option(
            metavar="X,Y,SIZE",
            help="Square that is also shown larger in a corner of each panel: left and upper edge "
            "and side, in pixels.",
        ),
    ] = None,
    segmenter: Annotated[
        str | None,
        typer.Option(
            metavar="WEIGHTS",
            autocompletion=completion.segmenters,
            help="Segmenter of land cover, as for `evaluate`; adds its panels.",
        ),
    ] = None,
    device: options.Device = "auto",
) -> None:
    """Draw scenes as Fig. 4 of the paper does: cloudy, SAR, land cover, predictions, clear.

    SAR and land cover are drawn where the dataset has them.
    """
    _check_options(panels or [], segmenter, device)
    from planetcr_bench.data.masks import other_masks
    from planetcr_bench.gallery.gallery import check_out
    from planetcr_bench.gallery.gallery import gallery as run
    from planetcr_bench.gallery.panels import Zoom

    check_out(out)  # before the segmenter is read
    square = Zoom.parse(zoom) if zoom is not None else None
    loaded = None
    if segmenter is not None:
        need_segmenters()
        from planetcr_bench.networks.segmenter import load  # PyTorch is an extra

        loaded = load(segmenter, device=device)
    drawn = run(
        data,
        predictions,
        out,
        split=split,
        scene_list=scene_list,
        names=scene or (),
        count=scenes,
        select=select,
        rank_by=rank_by,
        panels=[name.value for name in panels or [] if name is not Panels.none],
        zoom=square,
        segmenter=loaded,
        described=dataset,
        masks=other_masks(masks, mask_rule),
    )
    typer.echo(f"{len(drawn)} {'scene' if len(drawn) == 1 else 'scenes'} in {out}")


def _check_options(panels: Sequence[Panels], segmenter: str | None, device: str) -> None:
    if Panels.none in panels and len(panels) > 1:
        raise UsageError(f"--panels none: expected no other panels, got {', '.join(panels)}")
    if Panels.none in panels and segmenter:
        raise UsageError(
            f"--panels none: expected no --segmenter, which adds panels, got {segmenter}"
        )
    if device != "auto" and segmenter is None:
        raise UsageError(
            f"--device: applies to segmenters; give one with --segmenter, got {device}"
        )
