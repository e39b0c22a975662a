"""``planetcr-bench restore``: remove the clouds of a user's own scene."""

from __future__ import annotations

import json
import math
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from planetcr_bench.cli import completion, options
from planetcr_bench.errors import BenchError, UsageError
from planetcr_bench.networks import ModelError

if TYPE_CHECKING:
    from planetcr_bench.restoration.agreement import Scores
    from planetcr_bench.restoration.inputs import Network, RestoreSettings
    from planetcr_bench.restoration.restore import Restored


def restore(
    scenes: Annotated[
        list[Path],
        typer.Argument(
            metavar="SCENE",
            help="GeoTIFFs as Planet delivers them, or .SAFE folders of Sentinel-2.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder to write to.")],
    method: Annotated[
        str | None,
        typer.Option(
            autocompletion=completion.networks,
            help="A network of `planetcr-bench models`, or one of your own, net.py:build.",
            show_default="what the weights are for",
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            "--pretrained",
            metavar="WEIGHTS",
            autocompletion=completion.weights,
            help="A name that `planetcr-bench models` lists; a file; the folder of a training run; "
            "hf://OWNER/NAME on the Hugging Face Hub.",
        ),
    ] = None,
    sar: Annotated[
        Path | None,
        typer.Option(
            help="Sentinel-1 image, VV and VH in dB or linear power, on any grid; for networks "
            "that look at SAR."
        ),
    ] = None,
    udm: Annotated[
        list[Path] | None,
        typer.Option(
            help="Planet's usable data mask of the scene, UDM2 or UDM; repeatable, one per scene."
        ),
    ] = None,
    paste: Annotated[
        Literal["clear"] | None,
        typer.Option(help="clear: keep the pixels that the mask calls clear."),
    ] = None,
    feather: Annotated[
        float,
        typer.Option(min=0, help="Metres over which kept pixels are blended with restored ones."),
    ] = 60.0,
    provenance: Annotated[
        bool,
        typer.Option("--provenance", help="Add a band: 0 nodata, 1 kept, 2 restored, 3 filled."),
    ] = False,
    reference: Annotated[
        Path | None,
        typer.Option(help="Clear image of the same place, to score the result on their overlap."),
    ] = None,
    product: Annotated[
        Literal["planet-sr", "planet-radiance", "planet-toa", "sentinel-2"] | None,
        typer.Option(help="What the scenes, and the reference, are.", show_default="recognised"),
    ] = None,
    metadata: Annotated[
        Path | None,
        typer.Option(
            help="Planet's metadata of radiance.", show_default="…_metadata.xml beside it"
        ),
    ] = None,
    stac: Annotated[
        bool, typer.Option("--stac", help="Write a STAC item too; needs the extra stac.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace existing outputs.")
    ] = False,
    tile: Annotated[int, typer.Option(min=64, help="Side of tiles, in pixels.")] = 512,
    overlap: options.Overlap = None,
    batch: Annotated[int, typer.Option(min=1, help="Tiles that the network gets at a time.")] = 1,
    cluster: options.Cluster = None,
    device: options.Device = "auto",
    precision: options.InferencePrecision = None,
    model_arg: options.ModelArgs = None,
    as_json: options.Json = False,
) -> None:
    """Remove the clouds of your own scenes: cloud-optimised GeoTIFFs on the same grid.

    The same command resumes a stopped run. What results are worth is in docs/restore.md.
    """
    from planetcr_bench.utils.extras import need_networks, need_stac

    need_networks()
    if stac:
        need_stac()
    masks = udm or []
    if masks and len(masks) != len(scenes):
        raise UsageError(
            f"--udm: expected {len(scenes)} masks, one per scene in this order, got {len(masks)}"
        )
    names = [scene.stem for scene in scenes]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(
            f"expected scenes of different names, which the outputs have too, got {twice[0]} "
            f"{len(twice)} times; restore them one by one, each with another --out"
        )
    if len(scenes) > 1 and metadata is not None:
        raise UsageError("--metadata: applies to one scene; others have theirs beside them")
    from planetcr_bench.networks.loading import InferenceSettings
    from planetcr_bench.restoration.inputs import RestoreSettings
    from planetcr_bench.restoration.network import load_network
    from planetcr_bench.utils.devices import choose_device

    chosen = device if cluster else choose_device(device)  # that of workers is chosen there
    network = load_network(
        method, weights, options=model_arg or (), has_sar=sar is not None,
        settings=InferenceSettings(precision=precision or "32"),
    )  # fmt: skip
    if sar is not None and not network.uses_sar:
        _note(f"--sar is not used: {network.card.method} looks at none", quiet=as_json)
    jobs = [
        (
            scene,
            RestoreSettings(
                product=product, metadata=metadata, sar=sar,
                mask=masks[number] if masks else None,
                paste_m=feather if paste else None, provenance=provenance, reference=reference,
                tile=tile, overlap=overlap, batch=batch, device=chosen,
                precision=precision or "32", stac=stac, overwrite=overwrite, cluster=cluster,
                quiet=as_json, command=_command(),
            ),
        )
        for number, scene in enumerate(scenes)
    ]  # fmt: skip
    written, failed = _restore_all(jobs, out, network, quiet=as_json)
    if as_json:
        typer.echo(json.dumps([_as_json(done) for done in written]))
    if failed:
        raise BenchError(
            f"{len(failed)} of {len(scenes)} scenes {'is' if len(failed) == 1 else 'are'} not "
            "restored; the same command goes on with them", failed
        )  # fmt: skip


def _restore_all(
    jobs: Sequence[tuple[Path, RestoreSettings]], out: Path, network: Network, *, quiet: bool
) -> tuple[list[Restored], list[str]]:
    """Restore scenes one after another; what is wrong with one of several stops no other."""
    from planetcr_bench.restoration.restore import is_finished, restore_scene, target_of

    finished = [
        scene for scene, settings in jobs
        if not settings.overwrite and is_finished(scene, out, network, settings)
    ]  # fmt: skip
    if len(finished) == len(jobs):  # nothing is left to do, so that it is said, not resumed
        finished = []
    written, failed = [], []
    for scene, settings in jobs:
        if scene in finished:
            _note(f"{target_of(scene, out)}: finished before", quiet=quiet)
            continue
        try:
            done = restore_scene(
                scene, out, network, settings, say=lambda line: _note(line, quiet=quiet)
            )
        except (BenchError, ModelError) as error:
            if len(jobs) == 1 or isinstance(error, UsageError):
                raise
            failed.append(error.message)
            _note(f"failed: {error.message}", quiet=quiet)
            continue
        written.append(done)
        if not quiet:
            _print(done)
    return written, failed


def _command() -> str:
    return shlex.join(["planetcr-bench", *sys.argv[1:]])


def _note(line: str, *, quiet: bool) -> None:
    if not quiet:
        typer.echo(line, err=True)


def _print(done: Restored) -> None:
    shares = ", ".join(
        f"{100 * share:.1f} % {name}" for name, share in done.shares.items() if share
    )
    typer.echo(f"{done.path}: {shares}; picture: {done.quicklook}")
    if done.scores:
        typer.echo("against the reference (input in brackets), protocol full:")
    for name, score in done.scores.items():
        if score.pixels:
            typer.echo(f"  {name:8} {_in_words(score)}; {score.pixels:,} pixels")


def _in_words(score: Scores) -> str:
    """All scores that are defined: SSIM needs 11 × 11 pixels without a gap."""
    texts = {
        "PSNR": (score.psnr, "{:.2f} dB ({:.2f})"),
        "MAE": (score.mae, "{:.4f} ({:.4f})"),
        "SAM": (score.sam_deg, "{:.2f}° ({:.2f}°)"),
        "SSIM": (score.ssim, "{:.3f} ({:.3f})"),
    }
    return ", ".join(
        f"{name} {text.format(*pair)}"
        for name, (pair, text) in texts.items()
        if not any(map(math.isnan, pair))
    )


def _as_json(done: Restored) -> dict[str, object]:
    from planetcr_bench.utils.json_values import to_json_value

    scores = {
        region: {
            name: to_json_value(getattr(score, name))
            for name in ("pixels", "mae", "psnr", "sam_deg", "ssim")
        }
        for region, score in done.scores.items()
    }
    return {
        "restored": str(done.path), "quicklook": str(done.quicklook), "shares": done.shares,
        "scores": scores,
    }  # fmt: skip
