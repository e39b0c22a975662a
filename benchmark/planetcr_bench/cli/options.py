"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from planetcr_bench.cli import completion
from planetcr_bench.errors import UsageError

Data = Annotated[
    Path, typer.Argument(help="Folder of the dataset; Planet-CR's holds train/ and test/.")
]
Description = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        metavar="NAME|FILE",
        autocompletion=completion.datasets,
        help="What the dataset is: a name of the catalogue, or a TOML file that describes it. By "
        "default what dataset.toml in its folder says, else pairs of images in cloudy/ and clear/, "
        "else planet-cr.",
    ),
]
DatasetOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="Folder of the dataset; Planet-CR's holds train/ and test/. By default the "
        "environment variable PLANETCR_DATA.",
    ),
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="Folder of the dataset; Planet-CR's holds train/ and test/. By default the "
        "environment variable PLANETCR_DATA, or what predictions.toml names.",
    ),
]
Split = Annotated[str, typer.Option(help="Split of the dataset.")]
SceneList = Annotated[
    Path | None,
    typer.Option(
        "--list",
        help="CSV list of the scenes to use: the name or all files of one in each line, no header.",
    ),
]
Masks = Annotated[
    Path | None,
    typer.Option(
        help="Folder of cloud masks, images named as scenes, in place of the dataset's own; such "
        "as `planetcr-bench masks` writes."
    ),
]
MaskRule = Annotated[
    str | None,
    typer.Option(
        "--mask-rule",
        metavar="RULE",
        help="What means cloud in --masks: values of one band, such as 1,3; udm (cloud bit of "
        "Planet's UDM); udm2 (its cloud band), or some bands of it: udm2:cloud,light-haze.",
        show_default="one band of 0 and 1, or 0 and 255",
    ),
]
Results = Annotated[Path, typer.Option(help="Folder of all results: <results>/<track>/<name>/.")]
Workers = Annotated[
    int | None,
    typer.Option(min=0, help="Worker processes, by default one per processor; 0: none."),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Address of a Dask scheduler, such as tcp://node1:8786, whose workers do the work.",
    ),
]
Batch = Annotated[int, typer.Option(min=1, help="Scenes that a worker gets at a time.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
ClassAverage = Annotated[
    Literal["scene-mean", "pixels"] | None,
    typer.Option(
        "--class-average",
        help="Per-class figures as the mean over scenes or over all pixels; by default scene-mean "
        "in official, pixels in full.",
    ),
]
Segmenters = Annotated[
    list[str] | None,
    typer.Option(
        "--segmenter",
        metavar="WEIGHTS",
        autocompletion=completion.segmenters,
        help="Land-cover segmenter: a name that `planetcr-bench models segmenter` lists; the file "
        "or folder that `train segmenter` wrote; or hf://OWNER/NAME. Repeatable: several show "
        "whether the ranking depends on the segmenter.",
    ),
]
OpticalThickness = Annotated[
    Path | None,
    typer.Option(
        help="Hidden truth of a simulated dataset, from `simulate --truth`: reports then show "
        "errors by optical thickness of the cloud."
    ),
]
Verbose = Annotated[
    bool, typer.Option("--verbose", help="Print all tables of the report, not only overall scores.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]

# --- Training ----------------------------------------------------------------------------

Devices = Annotated[int, typer.Option(min=1, help="GPUs per machine, or processes on a CPU.")]
Precision = Annotated[
    Literal["32", "tf32", "bf16", "fp16"],
    typer.Option(
        help="Of training and validation. 32: float32 throughout; tf32: GPUs round the inputs of "
        "convolutions and matrix products to 10 bits; bf16, fp16: mixed precision, faster on a GPU."
    ),
]
LoaderWorkers = Annotated[
    int | None,
    typer.Option(
        "--loader-workers",
        min=0,
        help="Processes per device that read training scenes.",
        show_default="by number of processors",
    ),
]

Compile = Annotated[
    bool,
    typer.Option(
        "--compile",
        help="Compile the network with torch.compile: minutes at the start, then faster steps.",
    ),
]

# --- Networks ----------------------------------------------------------------------------

Weights = Annotated[
    str | None,
    typer.Option(
        metavar="WEIGHTS",
        autocompletion=completion.weights,
        help="Weights of the network: a name that `planetcr-bench models` lists; a file; the "
        "folder of a training run; hf://OWNER/NAME on the Hugging Face Hub; or random: untrained, "
        "for a trial run.",
    ),
]
ModelArgs = Annotated[
    list[str] | None,
    typer.Option(
        "--model-arg",
        metavar="KEY=VALUE",
        help="Option of the network, such as width=32; repeatable. `planetcr-bench models NAME` "
        "lists them.",
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(min=0, max=2**63 - 1, help="Seed of random weights.", show_default="0"),
]
InferencePrecision = Annotated[
    Literal["32", "bf16"] | None,
    typer.Option(
        help="bf16: less precise and faster on a GPU. 32: float32, the same on every device.",
        show_default="32",
    ),
]
Window = Annotated[
    Literal["whole", "official"] | None,
    typer.Option(
        help="official: the network sees only the centre 160 x 160, as in the authors' tester, and "
        "only that is written; whole: it sees the whole patch. Results are labelled accordingly.",
        show_default="whole",
    ),
]
Tile = Annotated[
    int | None,
    typer.Option(
        min=32,
        help="Side of overlapping tiles, if a whole image needs too much memory.",
        show_default="the whole image",
    ),
]
Overlap = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Minimum overlap of tiles, in pixels; attention networks need 96 to avoid seams.",
        show_default="a quarter",
    ),
]


def one_of(workers: int | None, cluster: str | None) -> int | str | None:
    """Who does the work: processes of this machine, or the workers of a cluster.

    Raises:
        UsageError: Both are given.
    """
    if workers is not None and cluster is not None:
        raise UsageError("--workers: counts processes of this machine; leave it out with --cluster")
    return workers if cluster is None else cluster
