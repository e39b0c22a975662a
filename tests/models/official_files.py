"""Checkpoints as the authors' scripts write them, filled by the rules of the parity fixtures."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from parity.fill import rule_a, rule_b

PARITY = Path(__file__).parent / "parity"
SIZE_BOUND = ("attn_mask", "relative_position_index")


def read_json(name: str) -> Any:
    return json.loads((PARITY / name).read_text())


def shapes_of(name: str) -> dict[str, tuple[int, ...]]:
    """Every entry of the authors' state_dict, buffers and all."""
    if name == "align_cr":
        return {key: tuple(shape) for key, (shape, _) in read_json("align_cr_keys.json").items()}
    return {key: tuple(shape) for key, shape in read_json("glf.json")["keys"]}


def fill(name: str) -> Callable[[str, tuple[int, ...]], Tensor]:
    """The rule of a network's fixture: key and shape to values."""

    def value(key: str, shape: tuple[int, ...]) -> Tensor:
        if key.endswith(SIZE_BOUND):
            return torch.full((7, 5), 3.5)  # of a size that fits nothing, and wrong
        if name == "align_cr":
            return torch.from_numpy(rule_b(key, shape)).float()
        return torch.from_numpy(rule_a(key, shape, gain=0.7))

    return value


def write_checkpoint(name: str, path: Path, shapes: Mapping[str, tuple[int, ...]]) -> Path:
    """The file that the authors' training writes, names wrapped by data parallelism."""
    value = fill(name)
    network = {f"module.{key}": value(key, shape) for key, shape in shapes.items()}
    torch.save({"network": network, "epoch": 30, "optimizer": {}, "lr_scheduler": {}}, path)
    return path
