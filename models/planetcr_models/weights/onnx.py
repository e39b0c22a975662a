"""Export networks to ONNX."""

from __future__ import annotations

import copy
import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import torch

from planetcr_models.errors import ExportError
from planetcr_models.networks.base import SAR_PER_OPTICAL, Restorer, refuse_small
from planetcr_models.weights.paths import atomic_path


def export_onnx(
    model: Restorer,
    path: Path,
    *,
    size: tuple[int, int] = (160, 160),
    sar_size: tuple[int, int] | None = None,
    batch: int = 1,
) -> Path:
    """Write a network, in evaluation mode, as an ONNX file for images of one size.

    Its inputs are called ``cloudy`` and ``sar``, its output ``clear``, as in
    ``Restorer.forward``. An optical-only method keeps its SAR input
    and ignores it.

    Args:
        model: Left unchanged.
        path: File to write, atomically.
        size: Height and width of the images.
        sar_size: Height and width of the SAR images; by default 3 pixels for 10 of the
            images, as in Planet-CR.
        batch: Images per batch.

    Returns:
        ``path``.

    Raises:
        ExportError: The package ``onnx`` is not installed, or the network uses an operator that
            ONNX does not have.
        InputError: A size that the network cannot take.
    """
    if any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript")):
        raise ExportError("ONNX export needs two more packages: pip install 'planetcr-bench[onnx]'")
    refuse_small(model.method or type(model).__name__, size)
    few, many = SAR_PER_OPTICAL
    height, width = sar_size or tuple(round(side * few / many) for side in size)
    frozen = copy.deepcopy(model).cpu().float().eval()
    example = (
        torch.rand(batch, model.bands, *size),
        torch.rand(batch, model.sar_bands, height, width),
    )
    try:
        with atomic_path(path) as beside, torch.no_grad(), _quiet():
            torch.onnx.export(
                frozen,
                example,
                beside,
                input_names=["cloudy", "sar"],
                output_names=["clear"],
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise ExportError(
            f"{model.method or type(model).__name__}: cannot be written as ONNX: {reason}"
        ) from error
    return path


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the exporter's progress, advice and dumps; errors are still raised."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            redirect_stdout(io.StringIO()),
            redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
