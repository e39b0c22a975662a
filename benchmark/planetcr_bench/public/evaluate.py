"""Evaluate predictions of any kind: a folder, a function of a scene, or a network."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from planetcr_bench import api
from planetcr_bench.data.masks import other_masks
from planetcr_bench.data.scene import Scene
from planetcr_bench.errors import UsageError
from planetcr_bench.evaluation.functions import Restore, measure_function, one_by_one
from planetcr_bench.evaluation.inputs import find_dataset
from planetcr_bench.evaluation.runner import protocols_of
from planetcr_bench.evaluation.segmenters import Segmenter
from planetcr_bench.predictions.card import Card
from planetcr_bench.predictions.folder import Predictions
from planetcr_bench.public.dataset import SceneDataset
from planetcr_bench.public.run import Run
from planetcr_bench.results.ledger import Ledger, ledger_table
from planetcr_bench.utils.extras import need_networks
from planetcr_bench.utils.validation import shown

if TYPE_CHECKING:
    from torch.nn import Module

Method: TypeAlias = "str | Path | Callable[[Scene], Any] | Module"
"""What is evaluated: a folder of predictions, a function of a scene, or a network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """Where scenes come from, and how they are scored."""

    path: Path | None
    split: str | None
    dataset: str | Path | None
    masks: Path | None
    mask_rule: str | None
    workers: int | None
    batch: int | None
    device: str
    segmenters: Sequence[Segmenter]
    quiet: bool


def evaluate(
    predictions: Method,
    data: str | Path | SceneDataset | None = None,
    *,
    results: str | Path | None = None,
    split: str | None = None,
    dataset: str | Path | None = None,
    masks: str | Path | None = None,
    mask_rule: str | None = None,
    name: str | None = None,
    segmenters: Sequence[Segmenter] = (),
    allow_missing: bool = False,
    device: str = "auto",
    batch: int | None = None,
    workers: int | None = None,
    quiet: bool = True,
) -> Run:
    """Evaluate predictions on all scenes of a split.

    Args:
        predictions: A folder of predictions; a function of a :class:`Scene` that returns the
            restored image, reflectance, shape (B, H, W), as an array or a tensor; or a
            ``torch.nn.Module`` that takes ``(cloudy, sar)`` batches, as every network of
            ``planetcr_models`` does. A function and a network run in this process.
        data: Folder of the dataset, or what ``open_dataset`` returned, all of it or a slice; by
            default what the predictions' card or the environment variable ``PLANETCR_DATA`` names.
        results: Folder of all results, to write what `planetcr-bench evaluate` writes, into
            ``<results>/<track>/<name>``; by default nothing is written.
        split: Split to score, by default ``test``.
        dataset: Name or file of the dataset's description; see ``open_dataset``.
        masks: Folder of cloud masks in place of the dataset's own.
        mask_rule: Which bands and values of them mean cloud.
        name: Of the run; by default the folder's or the function's.
        segmenters: Networks that predict land cover from the predictions (Tab. 3).
        allow_missing: Score the usable files of a folder, and mark the run as incomplete.
        device: That a network runs on: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        batch: Scenes at a time; by default 16 for a folder, and for a network 1 on the CPU and 8
            on a GPU.
        workers: Processes that read and measure; by default one per processor for 32 scenes or
            more. A script that starts them needs ``if __name__ == "__main__":``; 0 starts none.
        quiet: Show no progress.

    Raises:
        DatasetError: The dataset is not found or broken.
        PredictionError: A prediction is missing, surplus or unusable.
        UsageError: Options that contradict each other.
    """
    opened = data if isinstance(data, SceneDataset) else None
    if opened is not None and (split, dataset) != (None, None):
        raise UsageError("evaluate: expected an opened dataset or a split and a description of one")
    options = _Options(
        path=_path(data),
        split=opened.split if opened else split,
        dataset=opened.dataset if opened else dataset,
        masks=None if masks is None else Path(masks),
        mask_rule=mask_rule,
        workers=workers,
        batch=batch,
        device=device,
        segmenters=sorted(segmenters, key=lambda segmenter: segmenter.key),
        quiet=quiet,
    )
    if isinstance(predictions, str | Path):
        if opened is not None and not opened.is_whole:
            raise UsageError(
                "evaluate: expected all scenes of a split for a folder of predictions, got a slice"
            )
        return _folder(Path(predictions), options, results, name, allow_missing=allow_missing)
    if not callable(predictions):
        raise UsageError(
            "evaluate: expected a folder of predictions, a function of a scene or a network, got "
            f"{shown(predictions)}"
        )
    return _function(predictions, options, opened, results, name)


def _path(data: str | Path | SceneDataset | None) -> Path | None:
    if isinstance(data, SceneDataset):
        return data.path
    return None if data is None else Path(data)


def _folder(
    folder: Path,
    options: _Options,
    results: str | Path | None,
    name: str | None,
    *,
    allow_missing: bool,
) -> Run:
    with tempfile.TemporaryDirectory(prefix="planetcr-bench-") as nowhere:
        ledger, out, problems = api.evaluate(
            folder,
            nowhere if results is None else results,
            data=options.path,
            dataset=options.dataset,
            split=options.split,
            masks=options.masks,
            mask_rule=options.mask_rule,
            name=name,
            workers=options.workers,
            batch=options.batch or 16,
            allow_missing=allow_missing,
            segmenters=options.segmenters,
            tables=results is not None,
            quiet=options.quiet,
        )
    return Run(ledger, None if results is None else out, problems)


def _function(
    method: Callable[..., Any],
    options: _Options,
    opened: SceneDataset | None,
    results: str | Path | None,
    name: str | None,
) -> Run:
    started = datetime.now(UTC)
    target = find_dataset(
        Path("predictions"),
        Card(),
        data=options.path,
        split=options.split,
        dataset=options.dataset,
        masks=other_masks(options.masks, options.mask_rule),
        workers=options.workers,
        quiet=options.quiet,
    )
    method_name = _name_of(method)
    name = name or method_name
    api.check_name(name)
    grid = target.imagery.size
    size = 0 if grid is None else min(grid)
    protocols = protocols_of(size, target.protocols, whole=size or None)
    wanted = None if opened is None or opened.is_whole else set(opened.names)
    files = [each for each in target.scenes if wanted is None or each.name in wanted]
    restore, batch = _restore(method, options)
    measured = measure_function(
        restore,
        files,
        protocols,
        pool=api.segmenter_pool(options.segmenters, target, protocols),
        workers=options.workers,
        batch=batch,
        quiet=options.quiet,
    )
    table = ledger_table(measured, [segmenter.key for segmenter in options.segmenters])
    made = Predictions(Path(method_name), Card(method=method_name, window="whole"), {}, size)
    identity = api.identity_of(target, made, protocols, options.segmenters, None)
    provenance = api.provenance_of(
        name, target, identity, options.segmenters, method=method_name, input_window="whole",
        scenes=len(files),
    )  # fmt: skip
    ledger = Ledger(table.to_pandas(ignore_metadata=True), provenance)
    if results is None:
        return Run(ledger)
    out = Path(results) / target.track / name
    run = {
        **provenance,
        "problems": [],
        "dataset": str(target.folder),
        "predictions": method_name,
        "command": "",
        "environment": api.environment(),
        "started": started.isoformat(timespec="seconds"),
        "seconds": round((datetime.now(UTC) - started).total_seconds(), 3),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=out.parent) as staged:
        api.publish(Path(staged) / "run", out, ledger, table, run, None, b"", tables=True)
    return Run(ledger, out)


def _restore(method: Callable[..., Any], options: _Options) -> tuple[Restore, int]:
    """A method as a function of several scenes, and how many it takes at a time."""
    if not _is_module(method):
        return one_by_one(method), options.batch or 1
    need_networks()
    from planetcr_bench.torch.inference import network_function  # PyTorch is an extra

    return network_function(method, options.device, options.batch)


def _is_module(method: object) -> bool:
    """Whether something is a ``torch.nn.Module``; found without PyTorch."""
    return any(
        kind.__name__ == "Module" and kind.__module__ == "torch.nn.modules.module"
        for kind in type(method).__mro__
    )


def _name_of(method: Callable[..., Any]) -> str:
    """Name of a function, or of a network's method or class."""
    name = getattr(method, "method", "") or getattr(method, "__name__", "")
    name = str(name or type(method).__name__)
    return "lambda" if name == "<lambda>" else name
