"""Score predictions and compare scored runs: what the commands call, and scripts may call too.

Where a number comes from: ``evaluation/runner.py`` measures scene by scene; each metric is a row of
``metrics/registry.py``; its sums over pixels are added up in ``metrics/kernels.py`` (MAE, PSNR,
SAM), ``metrics/ssim_map.py`` (SSIM) and ``metrics/further.py`` (the others); ``metrics/scores.py``
divides them.
"""

from __future__ import annotations

import importlib.util
import json
import platform
import re
import shlex
import shutil
import sys
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, get_args

import pyarrow as pa

from planetcr_bench import __version__
from planetcr_bench.analysis.segmentation import check_segmenters, without_segmenters
from planetcr_bench.constants import RUN_NAME
from planetcr_bench.data.masks import other_masks
from planetcr_bench.data.metadata import read_simulation
from planetcr_bench.errors import (
    BenchError,
    BenchWarning,
    DatasetError,
    PredictionError,
    UsageError,
)
from planetcr_bench.evaluation.inputs import Dataset, find_dataset
from planetcr_bench.evaluation.runner import (
    holds_other_scenes,
    measure_scenes,
    pixel_problems,
    protocols_of,
)
from planetcr_bench.evaluation.scored import is_scored, remember_scored, results_digest, scored_mark
from planetcr_bench.evaluation.segmenters import Segmenter, SegmenterPool, expect_bands
from planetcr_bench.metrics.protocols import Pool, Protocol
from planetcr_bench.predictions.card import read_card
from planetcr_bench.predictions.folder import Predictions, find_predictions, input_window_of
from planetcr_bench.predictions.units import swapped_colours
from planetcr_bench.results.aggregate import check_comparable, of_protocol
from planetcr_bench.results.compact_file import read_any_ledger
from planetcr_bench.results.files import COMPACT, LEDGER, RUN, SAMPLES
from planetcr_bench.results.ledger import Ledger, read_ledger, write_ledger
from planetcr_bench.results.published import refuse_published
from planetcr_bench.results.schema import SCHEMA_VERSION
from planetcr_bench.utils.files import atomic_write, exclusive_lock
from planetcr_bench.utils.parallel import Workers
from planetcr_bench.utils.untrusted import read_json
from planetcr_bench.utils.validation import check_choice

if TYPE_CHECKING:
    from planetcr_bench.report.run_tables import RunTables

_PACKAGES: Final = ("numpy", "numba", "pandas", "pyarrow", "rasterio", "torch")


def evaluate(
    folder: str | Path,
    results: str | Path,
    *,
    data: str | Path | None = None,
    dataset: str | Path | None = None,
    split: str | None = None,
    scene_list: str | Path | None = None,
    masks: str | Path | None = None,
    mask_rule: str | None = None,
    name: str | None = None,
    workers: Workers = None,
    batch: int = 16,
    class_average: Pool | None = None,
    allow_missing: bool = False,
    segmenters: Sequence[Segmenter] = (),
    optical_thickness: str | Path | None = None,
    command: Sequence[str] = (),
    tables: bool = True,
    force: bool = False,
    quiet: bool = False,
) -> tuple[Ledger, Path, list[str]]:
    """Score a folder of predictions and publish the results.

    What was scored before with the same settings, and has not changed since, is not scored again.

    Args:
        folder: Folder of predictions.
        results: Folder of all results; this run's go to ``<results>/<track>/<name>/``.
        data: See :func:`find_dataset`, like ``dataset``, ``split`` and ``scene_list``.
        dataset: Name or file of the dataset's description.
        split: Split to score.
        scene_list: Authors' CSV list to take the scenes from.
        masks: Folder of cloud masks, images named as scenes, in place of the dataset's own.
        mask_rule: Which bands and values of them mean cloud; see ``data/mask_rules.py``.
        name: Name of the run; by default the folder's.
        workers: See ``Workers``.
        batch: Scenes sent to a worker at a time.
        class_average: How the report averages per-class figures, if not as each protocol does.
        allow_missing: Score what is there, and mark the run as incomplete.
        segmenters: Networks that predict land cover from the predictions (Tab. 3).
        optical_thickness: Folder that `simulate --truth` wrote, for errors by optical thickness.
        command: Written into ``run.json``.
        tables: Write tables, figures and the report, not the ledger alone.
        force: Score again what was scored before.
        quiet: Show no progress.

    Returns:
        The ledger, the folder it was published to, and the problems that ``allow_missing`` let
        pass, one line each.

    Raises:
        DatasetError: The dataset is not found or broken.
        PredictionError: A prediction is missing, surplus or unusable and ``allow_missing`` is not
            given, or none is usable.
        UsageError: The name is not allowed, ``class_average`` is unknown, or a segmenter is given
            twice.
        BenchError: Another process writes to the same results.

    Warns:
        BenchWarning: Red and blue of the predictions are probably swapped.
    """
    check_choice("class_average", class_average, get_args(Pool))
    folder, results = Path(folder), Path(results)
    started = datetime.now(UTC)
    clock = time.monotonic()
    data, scene_list, optical_thickness = (
        None if path is None else Path(path) for path in (data, scene_list, optical_thickness)
    )
    segmenters = sorted(segmenters, key=lambda segmenter: segmenter.key)
    card = read_card(folder)
    target = find_dataset(
        folder,
        card,
        data=data,
        split=split,
        scene_list=scene_list,
        dataset=dataset,
        masks=other_masks(None if masks is None else Path(masks), mask_rule),
        workers=workers,
        quiet=quiet,
    )
    name = name or folder.resolve().name
    check_name(name)
    predictions = find_predictions(folder, card, target.scenes)
    if predictions.problems and not allow_missing:  # nothing is scored, so name all there is
        others = pixel_problems(predictions, workers=workers, batch=batch, quiet=quiet)
        _refuse_incomplete(predictions, target, [*predictions.problems, *others])
    input_window = input_window_of(predictions)
    _check_thickness(optical_thickness, target)
    protocols = _protocols(target, predictions)
    pool = segmenter_pool(segmenters, target, protocols)
    out = results / target.track / name
    identity = identity_of(target, predictions, protocols, segmenters, optical_thickness)
    settings = {
        **identity,
        "card": card.model_dump(),
        "problems": predictions.problems,
        "segmenters": [dict(segmenter.facts) for segmenter in segmenters],
        "class_average": class_average,
        "allow_missing": allow_missing,
        "tables": tables,
    }
    mark = scored_mark(out, predictions, settings)
    unfinished = out.with_name(f".{name}.unfinished")
    refusal = f"{out}: another evaluation writes there; wait, or choose --name"
    if not force and is_scored(mark, out, tables=tables):
        if unfinished.is_dir() and not holds_other_scenes(unfinished / "parts", identity):
            with suppress(BenchError), exclusive_lock(unfinished / "lock", refusal):
                shutil.rmtree(unfinished)  # of a refused evaluation, which nobody will resume
        return _read_published(out, quiet=quiet)
    unfinished.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(unfinished / "lock", refusal):
        table, problems = measure_scenes(
            predictions,
            identity,
            unfinished / "parts",
            protocols=protocols,
            bands=target.imagery.bands,
            optical_thickness=optical_thickness,
            pool=pool,
            workers=workers,
            batch=batch,
            quiet=quiet,
        )
        problems = [*predictions.problems, *problems]
        if problems and not allow_missing:
            _refuse_incomplete(predictions, target, problems)
        scored = len(set(table["scene"].to_pylist()))
        if not scored:
            raise PredictionError(f"{folder}: expected a usable prediction, found none", problems)
        provenance = provenance_of(
            name, target, identity, segmenters, method=card.method, input_window=input_window,
            scenes=scored, whole=not problems,
        )  # fmt: skip
        swapped = swapped_colours(predictions)
        run = {
            **provenance,
            "problems": problems,
            "dataset": str(target.folder),
            "predictions": str(folder),
            "command": shlex.join(command),
            "environment": environment(),
            "started": started.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - clock, 3),
            **({"notes": [swapped]} if swapped else {}),
        }
        ledger = Ledger(table.to_pandas(ignore_metadata=True), provenance)
        strip = _strip(target, predictions, ledger)
        staged = unfinished / "staged"
        publish(staged, out, ledger, table, run, class_average, strip, tables=tables)
        digest = results_digest(out)
        shutil.rmtree(unfinished)
    remember_scored(mark, digest)  # last: a run that is killed before cleans up when it goes on
    if swapped:
        warnings.warn(swapped, BenchWarning, stacklevel=2)
    return ledger, out, problems


def provenance_of(
    name: str,
    target: Dataset,
    identity: dict[str, Any],
    segmenters: Sequence[Segmenter],
    *,
    method: str | None,
    input_window: str,
    scenes: int,
    whole: bool = True,
) -> dict[str, Any]:
    """What a ledger says of its run.

    Args:
        name: Of the run.
        target: What was scored.
        identity: See :func:`identity_of`.
        segmenters: Of Tab. 3.
        method: What made the predictions, if it is known.
        input_window: What a method saw of each scene.
        scenes: How many were scored.
        whole: False if something of them was left out.
    """
    return {
        "name": name,
        "track": target.track,
        "split": target.split,
        "complete": whole and scenes == len(target.scenes),
        "scenes": scenes,
        "expected_scenes": len(target.scenes),
        "method": method,
        "input_window": input_window,
        **identity,
        "segmenters": {segmenter.key: dict(segmenter.facts) for segmenter in segmenters},
    }


def compare(
    runs: str | Path | Sequence[str | Path],
    *,
    out: str | Path | None = None,
    protocol: str | None = None,
    class_average: Pool | None = None,
    published: bool = False,
    segmented: bool = True,
    full: bool = False,
) -> tuple[list[Ledger], RunTables, Path]:
    """Compare runs on one dataset, and write a report of them.

    Args:
        runs: Results folders, or ledgers, of scenes or compact; or one of them.
        out: Folder of the report; by default ``comparison`` in the folder of all results.
        protocol: Only this protocol; by default all that every run was measured in.
        class_average: How per-class figures are averaged, if not as each protocol does.
        published: Add the paper's rows.
        segmented: Include Tab. 3 and Fig. 6 of segmented runs.
        full: Add the full error analysis and all figures.

    Returns:
        The ledgers, all tables, and the folder of the report.

    Raises:
        UsageError: No run is given, ``class_average`` is unknown, or published figures beside
            protocol ``full``.
        LedgerError: A run cannot be read, or the runs cannot be compared.
    """
    from planetcr_bench.report.report import write_comparison  # matplotlib takes a second to import

    check_choice("class_average", class_average, get_args(Pool))
    runs = [runs] if isinstance(runs, str | Path) else runs
    if not runs:
        raise UsageError("runs: expected one run or more, got none")
    if published and protocol == "full":
        raise UsageError("--published: the paper's figures are of protocol official alone")
    ledgers = [read_any_ledger(Path(run)) for run in runs]
    check_comparable(ledgers)
    if published:
        refuse_published(ledgers)
    if protocol is not None:
        ledgers = [of_protocol(ledger, protocol) for ledger in ledgers]
    if not segmented:
        ledgers = [without_segmenters(ledger) for ledger in ledgers]
    check_segmenters(ledgers)
    if out is None:
        out = _results_folder(Path(runs[0]), ledgers[0].provenance["track"]) / "comparison"
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    tables = write_comparison(out, ledgers, pool=class_average, published=published, full=full)
    return ledgers, tables, out


def _results_folder(run: Path, track: str) -> Path:
    """Folder of all results that a run belongs to: <results>/<track>/<name>."""
    parent = _above(run if run.is_dir() else run.parent)
    return _above(parent) if parent.resolve().name == track else parent


def _above(folder: Path) -> Path:
    """The folder that holds another, which may be ``.`` or end in ``..``."""
    return folder / ".." if folder.name in ("", "..") else folder.parent


def _read_published(out: Path, *, quiet: bool) -> tuple[Ledger, Path, list[str]]:
    """Return what :func:`evaluate` published before, and repeat its warnings."""
    if not quiet:
        print(f"{out}: already scored; --force scores it again", file=sys.stderr)
    run = read_json(out / RUN, 10**7)
    for note in run.get("notes", []):
        warnings.warn(note, BenchWarning, stacklevel=3)
    return read_ledger(out), out, run["problems"]


def check_name(name: str) -> None:
    """Refuse a name of a run that could not be a folder everywhere.

    Raises:
        UsageError: See ``RUN_NAME``.
    """
    if not re.fullmatch(RUN_NAME, name):
        raise UsageError(
            "--name: expected at most 80 letters of English, digits, blanks and . + - _, with no "
            f"blank or dot at an end, got {name!r}"
        )


def _check_thickness(optical_thickness: Path | None, dataset: Dataset) -> None:
    """Refuse the hidden truth of another simulation."""
    if optical_thickness is None:
        return
    simulation = read_simulation(dataset.folder)
    if simulation is None:
        raise UsageError(
            f"--optical-thickness: is of simulated datasets, which {dataset.folder} is not"
        )
    truth = read_simulation(optical_thickness)
    if truth is None or truth.identity != simulation.identity:
        raise DatasetError(
            f"{optical_thickness}: expected the hidden truth of {simulation.identity}, found "
            f"{truth.identity if truth else 'none'}; `planetcr-bench simulate --truth` writes it"
        )


def _protocols(dataset: Dataset, predictions: Predictions) -> list[Protocol]:
    """Protocols that apply to a dataset and to predictions of this size."""
    grid = dataset.imagery.size
    whole = min(grid) if grid is not None and predictions.size else None
    return protocols_of(predictions.size, dataset.protocols, whole=whole)


def segmenter_pool(
    segmenters: Sequence[Segmenter], dataset: Dataset, protocols: Sequence[Protocol]
) -> SegmenterPool | None:
    """Segmenters that fit a dataset, ready to run; None if there are none.

    Raises:
        UsageError: One is given twice.
        BenchError: One takes other bands.
    """
    for first, second in pairwise(segmenters):  # in the order of their keys
        if first.key == second.key:
            raise UsageError(f"--segmenter: expected each segmenter once, got {first.name} twice")
    for segmenter in segmenters:
        expect_bands(segmenter, dataset.imagery.bands)
    if not segmenters:
        return None
    return SegmenterPool(segmenters, dataset.fingerprint, protocols)


def identity_of(
    dataset: Dataset,
    predictions: Predictions,
    protocols: Sequence[Protocol],
    segmenters: Sequence[Segmenter],
    optical_thickness: Path | None,
) -> dict[str, object]:
    """Every setting that changes a number, and no other: never device, workers or batch."""
    return {
        "tool_version": __version__,
        "ledger_schema": SCHEMA_VERSION,
        "protocols": {protocol.name: protocol.signature("all") for protocol in protocols},
        "fingerprint": dataset.fingerprint,
        "simulation": dataset.simulation,
        "scale": predictions.card.scale,
        "segmenters": {segmenter.key: segmenter.facts["sha256"] for segmenter in segmenters},
        "optical_thickness": optical_thickness is not None,
        **dataset.imagery.facts(),
    }


def _refuse_incomplete(
    predictions: Predictions, dataset: Dataset, problems: Sequence[str]
) -> NoReturn:
    raise PredictionError(
        f"{predictions.folder}: expected one usable prediction for each of "
        f"{len(dataset.scenes)} scenes, nothing is scored; fix these files, or score the rest "
        "as an incomplete run with --allow-missing",
        problems,
    )


def environment() -> dict[str, str]:
    """Versions of what scores depend on, for ``run.json``."""
    versions = {
        package: version(package)
        for package in _PACKAGES
        if importlib.util.find_spec(package) is not None
    }
    return {"python": platform.python_version(), "platform": platform.platform(), **versions}


def _strip(dataset: Dataset, predictions: Predictions, ledger: Ledger) -> bytes:
    """Sample pictures for the leaderboard; none of images that may not be passed on."""
    if dataset.simulation is None:
        return b""
    from planetcr_bench.gallery.thumbnails import sample_strip

    covers = dict(ledger.frame.groupby("scene", observed=True)["cloud_cover"].first())
    by_name = {files.name: files for files in predictions.files}
    return sample_strip(predictions, {by_name[name]: cover for name, cover in covers.items()})


def publish(
    staged: Path,
    out: Path,
    ledger: Ledger,
    table: pa.Table,
    run: dict[str, Any],
    class_average: Pool | None,
    strip: bytes,
    *,
    tables: bool,
) -> None:
    """Write all files of a run elsewhere, then move them; run.json comes last: the run is whole."""
    from planetcr_bench.report.report import (  # matplotlib takes a second to import
        SOMETIMES,
        write_report,
    )

    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir()
    write_ledger(staged / LEDGER, table, ledger.provenance)
    if tables:
        write_report(staged, ledger, run, pool=class_average)
    text = json.dumps(run, indent=2, ensure_ascii=False) + "\n"
    atomic_write(staged / RUN, text.encode())
    if strip:
        (staged / SAMPLES).write_bytes(strip)
    out.mkdir(exist_ok=True)
    (out / RUN).unlink(missing_ok=True)
    for name in (*SOMETIMES, SAMPLES, COMPACT):
        if not (staged / name).exists():
            (out / name).unlink(missing_ok=True)  # of an earlier run
    files = (path for path in staged.rglob("*") if path.is_file())
    for file in sorted(files, key=lambda file: file.name == RUN):
        target = out / file.relative_to(staged)
        target.parent.mkdir(exist_ok=True)
        file.replace(target)
