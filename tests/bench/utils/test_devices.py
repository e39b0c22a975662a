"""A device is used if it is there, and refused if not."""

from __future__ import annotations

import pytest
import torch

from planetcr_bench.errors import BenchError
from planetcr_bench.utils.devices import choose_device


def test_missing_devices_are_refused() -> None:
    assert choose_device("cpu") == "cpu"
    with pytest.raises(BenchError, match="expected auto, cpu, cuda"):
        choose_device("tpu")
    if not torch.cuda.is_available():
        assert choose_device("auto") == "cpu"
        with pytest.raises(BenchError, match="no such GPU"):
            choose_device("cuda")
