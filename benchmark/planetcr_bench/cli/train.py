"""``planetcr-bench train``: train a network or the segmenter."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Annotated

import typer

from planetcr_bench.cli import completion, options
from planetcr_bench.errors import UsageError


def train(
    name: Annotated[
        str,
        typer.Argument(
            autocompletion=completion.trainable,
            help="A network of `planetcr-bench models`, segmenter, or a network of your own, "
            "net.py:build: a file and a function in it that returns a torch.nn.Module.",
        ),
    ],
    data: options.DatasetOption = None,
    dataset: options.Description = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the run.", show_default="runs/NAME; runs/net for net.py:build"
        ),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Another recipe, such as cloudseg for the segmenter; or a TOML file of changes, "
            "such as a whole recipe as `planetcr-bench models NAME` prints it, or the recipe.toml "
            'of a run; base = "dsen2_cr" in it starts from the recipe of that method.',
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Passes over the training scenes; short for --set epochs=N.",
            show_default="recipe",
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            help="Train for this long instead, without start-up, validation and saving; the "
            "recipe's schedule is fitted to it. Short for --set minutes=N.",
            show_default="no limit",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            help="Train for this many steps instead; the recipe's schedule is fitted to it. Short "
            "for --set steps=N.",
            show_default="no limit",
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Images per step, over all devices together; short for --set batch=N.",
            show_default="recipe",
        ),
    ] = None,
    crop: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Side of the random crops in pixels, at most that of the smallest image; a "
            "multiple of 10 where SAR is at 10 m and the images at 3 m. Short for --set crop=N.",
            show_default="recipe",
        ),
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change the recipe, such as learning_rate=5e-5, clip=1 or ema=0.999; repeatable. "
            "`planetcr-bench models NAME` shows the recipe.",
        ),
    ] = None,
    model_arg: options.ModelArgs = None,
    encoder_weights: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|imagenet",
            help="Initial weights of the segmenter's encoder: a file, or imagenet for those in the "
            "local cache; nothing is downloaded.",
            show_default="random",
        ),
    ] = None,
    val_share: Annotated[
        float,
        typer.Option(
            help="Share of the training AOIs, or of other clusters, to hold out for validation; 0: "
            "no validation. A split val of the dataset is used instead, unless --list is given.",
        ),
    ] = 0.05,
    val_scenes: Annotated[
        int, typer.Option(min=1, help="Validate on at most this many scenes.")
    ] = 200,
    scene_list: options.SceneList = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            help="Decode the training scenes once, into a memory-mapped file in this folder "
            "(1.6 MB per scene), which is read about 20 times as fast as the GeoTIFFs.",
        ),
    ] = None,
    device: options.Device = "auto",
    devices: options.Devices = 1,
    num_nodes: Annotated[
        int, typer.Option(min=1, help="Machines, as torchrun or Slurm starts them.")
    ] = 1,
    precision: options.Precision = "32",
    micro_batches: Annotated[
        int,
        typer.Option(min=1, help="Split each batch into this many parts, to save memory."),
    ] = 1,
    workers: options.LoaderWorkers = None,
    compiled: options.Compile = False,
    cuda_graphs: Annotated[
        bool,
        typer.Option(
            "--cuda-graphs",
            help="On a GPU: compile, and record the steps' kernels into CUDA graphs.",
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Show the recipe, the data and the measured speed, without training; --cache is "
            "still built.",
        ),
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Train a network as in its paper, a network of your own, or the segmenter of Tab. 3.

    The same command resumes a stopped run.

    The folder of the run contains best.safetensors and last.safetensors for `predict NAME
    --weights`, the recipe, steps.csv, epochs.csv, TensorBoard curves and pictures of a few
    validation scenes.
    """
    from planetcr_bench.utils.extras import need_training

    need_training()
    from planetcr_bench.networks import training
    from planetcr_bench.utils.json_values import to_json_value

    request = training.Request(
        name=name,
        data=data,
        dataset=dataset,
        out=out or Path("runs", training.run_name(name)),
        recipe=recipe,
        changes=_changes(
            change,
            **_budget(epochs=epochs, minutes=minutes, steps=steps),
            batch=batch,
            crop=crop,
        ),
        options=tuple(model_arg or ()),
        encoder_weights=encoder_weights,
        val_share=val_share,
        val_scenes=val_scenes,
        scene_list=scene_list,
        cache=cache,
        device=device,
        devices=devices,
        nodes=num_nodes,
        precision=precision,
        micro_batches=micro_batches,
        workers=workers,
        compile=compiled,
        cuda_graphs=cuda_graphs,
        quiet=as_json,
        command=("planetcr-bench", *sys.argv[1:]),
    )
    if dry_run:
        from planetcr_bench.networks.dry_run import estimate_throughput, format_dry_run

        estimate = estimate_throughput(request)
        typer.echo(
            json.dumps(to_json_value(estimate), allow_nan=False)
            if as_json
            else format_dry_run(estimate)
        )
        return
    outcome = training.run(request)
    if outcome is None:  # another process of the same run prints it
        return
    if as_json:
        typer.echo(json.dumps(to_json_value(outcome), allow_nan=False))
        return
    typer.echo(training.format_outcome(request, outcome))


def _budget(**limits: float | None) -> dict[str, float]:
    """The one budget that is given, if any."""
    given = {name: value for name, value in limits.items() if value is not None}
    if len(given) > 1:
        names = " and ".join(f"--{name}" for name in given)
        raise UsageError(
            f"expected one of --epochs, --minutes and --steps, got {names}; --set epochs=N divides "
            "minutes or steps into N epochs"
        )
    for name, value in given.items():
        if not 0 < value < math.inf:
            raise UsageError(f"--{name}: expected a number above 0, got {value:g}")
    return given


def _changes(given: list[str] | None, **short: float | None) -> tuple[str, ...]:
    return (
        *(given or ()),
        *(f"{key}={value}" for key, value in short.items() if value is not None),
    )
