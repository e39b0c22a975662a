"""Test loading DSen2-CR from the Keras files of its authors: their layout, made from a seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from planetcr_models import create_model
from planetcr_models.errors import CheckpointError
from planetcr_models.networks.base import Restorer
from planetcr_models.weights.authors import load_checkpoint
from planetcr_models.weights.files import load_weights

h5py: Any = pytest.importorskip("h5py", reason="needs the extra keras")


def write_keras(path: Path, model: Restorer, *, group: str = "") -> Path:
    """Write weights as Keras does: ``conv2d_1`` to the last, kernels (height, width, in, out)."""
    state = model.state_dict()
    modules = list(dict.fromkeys(key.rpartition(".")[0] for key in state))
    with h5py.File(path, "w") as file:
        root = file.create_group(group) if group else file
        names = [f"conv2d_{number}" for number in range(1, len(modules) + 1)]
        root.attrs["layer_names"] = [name.encode() for name in ("input_1", *names)]
        for name, module in zip(names, modules, strict=True):
            kernel = state[f"{module}.weight"].permute(2, 3, 1, 0)
            for part, weight in (("kernel:0", kernel), ("bias:0", state[f"{module}.bias"])):
                data = None if weight.is_meta else weight.numpy()  # zeros, which take no space
                root.create_dataset(f"{name}/{name}/{part}", tuple(weight.shape), "f4", data)
    return path


@pytest.fixture
def small() -> Restorer:
    torch.manual_seed(3)
    return create_model("dsen2_cr", bands=13, width=4, blocks=3).eval()


@pytest.mark.parametrize("group", ["", "model_weights"])
def test_images_in_0_1_give_what_theirs_in_0_5_give_in_keras(
    small: Restorer, group: str, tmp_path: Path
) -> None:
    loaded = load_checkpoint("dsen2_cr", write_keras(tmp_path / "w.hdf5", small, group=group))
    assert dict(loaded.options) == {"bands": 13, "width": 4, "blocks": 3}
    cloudy, sar = torch.rand(2, 13, 40, 32), torch.rand(2, 2, 40, 32)
    with torch.no_grad():
        theirs = small(5 * cloudy, 2 * sar) / 5
        torch.testing.assert_close(loaded(cloudy, sar), theirs, rtol=0, atol=1e-5)


def test_without_sar_the_shapes_say_so(tmp_path: Path) -> None:
    model = create_model("dsen2_cr", bands=13, width=4, blocks=1, use_sar=False)
    loaded = load_weights("dsen2_cr", write_keras(tmp_path / "w.h5", model))
    assert (loaded.bands, loaded.uses_sar) == (13, False)


def test_the_published_size_needs_no_options_but_bands(tmp_path: Path) -> None:
    with torch.device("meta"):
        model = create_model("dsen2_cr", bands=13)
    loaded = load_checkpoint("dsen2_cr", write_keras(tmp_path / "w.hdf5", model))
    assert dict(loaded.options) == {"bands": 13}
    assert sum(parameter.numel() for parameter in loaded.parameters()) == 18_947_341


def test_other_contents_are_refused(small: Restorer, tmp_path: Path) -> None:
    path = write_keras(tmp_path / "w.hdf5", small)
    with pytest.raises(CheckpointError, match=r"expected a PyTorch checkpoint .* found a Keras"):
        load_checkpoint("glf_cr", path)
    with h5py.File(path, "a") as file:
        del file["conv2d_2/conv2d_2/bias:0"]
    with pytest.raises(CheckpointError, match="does not hold the weights of dsen2_cr"):
        load_checkpoint("dsen2_cr", path)
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=np.zeros(3))
    with pytest.raises(CheckpointError, match="does not hold the weights of dsen2_cr"):
        load_checkpoint("dsen2_cr", path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="not a Keras file, or damaged"):
        load_checkpoint("dsen2_cr", path)


def test_a_file_that_points_to_other_files_is_refused(small: Restorer, tmp_path: Path) -> None:
    path = write_keras(tmp_path / "w.hdf5", small)
    (tmp_path / "other.bin").write_bytes(bytes(4 * 4))
    with h5py.File(path, "a") as file:
        del file["conv2d_1/conv2d_1/bias:0"]
        file.create_dataset(
            "conv2d_1/conv2d_1/bias:0",
            (4,),
            "f4",
            external=[(str(tmp_path / "other.bin"), 0, 16)],
        )
    with pytest.raises(CheckpointError, match="does not hold the weights of dsen2_cr"):
        load_checkpoint("dsen2_cr", path)
