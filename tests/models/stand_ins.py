"""Make narrow stand-ins for the weights that ship with the package."""

from __future__ import annotations

from pathlib import Path

import torch

from narrow_networks import narrow
from planetcr_models import list_models, save_model
from planetcr_models.segmentation.deeplab import Segmenter, save_segmenter
from planetcr_models.weights.cards import card_path, card_text
from planetcr_models.weights.paths import file_sha256

NAME = "stand-in"


def write_network(folder: Path, method: str, **facts: object) -> Path:
    """A narrow network and its card."""
    model = narrow(method).eval()
    path = save_model(model, folder / f"{method}.safetensors")
    parameters = sum(weights.numel() for weights in model.parameters())
    card = {"method": method, "track": "sim-v1-demo", "options": dict(model.options)}
    card |= {"parameters": parameters, "minutes": 1.5, "scores": {"psnr_full": 20.5}, **facts}
    card_path(path).write_text(card_text(card | {"sha256": file_sha256(path)}))
    return path


def write_segmenter(folder: Path) -> Path:
    """A small segmenter and its card."""
    torch.manual_seed(0)
    segmenter = Segmenter(encoder="tu-mobilenetv3_small_100", decoder_channels=16).eval()
    path = folder / "segmenter.safetensors"
    save_segmenter(segmenter, path, {"track": "sim-v1-demo", "scores": {}, "parameters": 1})
    return path


def write_stand_ins(folder: Path, *methods: str) -> Path:
    """Weights of methods, by default of all eight and the segmenter, under the name ``stand-in``.

    Returns:
        Folder of the weights of this name.
    """
    out = folder / NAME
    out.mkdir(parents=True)
    for method in methods or (*list_models(), "segmenter"):
        if method == "segmenter":
            write_segmenter(out)
        else:
            write_network(out, method)
    return out
