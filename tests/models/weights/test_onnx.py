"""Test that an impossible export is refused in one message and leaves no file."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import Tensor

from narrow_networks import narrow
from planetcr_models.errors import ExportError, InputError
from planetcr_models.networks.base import Restorer
from planetcr_models.weights.onnx import export_onnx


class Decomposes(Restorer):
    """Uses an operator that ONNX does not have."""

    def restore(self, cloudy: Tensor, sar: Tensor) -> Tensor:
        return cloudy + torch.linalg.svdvals(sar).sum()


class Decides(Restorer):
    """Takes a road that depends on the image."""

    def restore(self, cloudy: Tensor, sar: Tensor) -> Tensor:
        return cloudy if cloudy.sum() > 0 else sar[:, :1].expand_as(cloudy)


@pytest.mark.parametrize("network", [Decomposes, Decides])
def test_a_network_that_onnx_cannot_express_is_refused_and_nothing_printed(
    network: type[Restorer], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ExportError, match=rf"^{network.__name__}: cannot be written as ONNX: \w"):
        export_onnx(network(), tmp_path / "model.onnx", size=(32, 32))
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")


def test_a_size_too_small_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="dsen2_cr: expected images of 32 x 32 pixels or more"):
        export_onnx(narrow("dsen2_cr"), tmp_path / "model.onnx", size=(31, 64))


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ExportError, match=r"pip install 'planetcr-bench\[onnx\]'"):
        export_onnx(narrow("dsen2_cr"), tmp_path / "model.onnx")


def test_a_missing_folder_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        export_onnx(narrow("dsen2_cr"), tmp_path / "none" / "model.onnx", size=(32, 32))
