"""What is known of the methods, by name."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from planetcr_bench.errors import UsageError
from planetcr_bench.networks.methods import check_method, describe, summaries
from planetcr_models import list_models
from planetcr_models.segmentation.deeplab import ENCODERS, Segmenter


def test_the_summary_of_all_methods_imports_no_pytorch() -> None:
    code = (
        "import sys; from planetcr_bench.networks.methods import summaries; summaries(); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_description_is_a_summary_with_options_and_recipe() -> None:
    assert [card["name"] for card in summaries()] == list(list_models())
    card = describe("mcgan")
    assert card.items() >= summaries()[0].items()
    assert card["options"]["width"] == 64
    assert card["recipe"]["loss"] == "adversarial"


def test_the_segmenter_is_described_with_its_options_encoders_and_both_recipes() -> None:
    card = describe("segmenter")
    with torch.device("meta"):
        options = Segmenter().options
    assert card["options"] == {
        name: value for name, value in options.items() if name not in ("bands", "classes")
    }
    assert card["encoders"] == list(ENCODERS)
    assert card["recipe"]["label_grid"] == "3m"
    assert card["other_recipes"]["cloudseg"]["recipe"]["label_grid"] == "10m"
    json.dumps(card, allow_nan=False)


def test_an_unknown_method_is_refused_with_the_nearest() -> None:
    check_method("mean-fill", others=["mean-fill"])
    with pytest.raises(UsageError, match=r"did you mean 'align_cr'\?.*net.py:build"):
        check_method("align-cr")
    with pytest.raises(UsageError, match="no such method; there are") as refused:
        check_method("magic", user_files=False)
    assert "net.py" not in str(refused.value)
