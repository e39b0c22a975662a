"""What is known of the methods, by name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from planetcr_bench.errors import UsageError
from planetcr_bench.networks.methods import check_method, describe, summaries
from planetcr_models import list_models


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
    assert "options" not in describe("segmenter")


def test_an_unknown_method_is_refused_with_the_nearest() -> None:
    check_method("mean-fill", others=["mean-fill"])
    with pytest.raises(UsageError, match=r"did you mean 'align_cr'\?.*net.py:build"):
        check_method("align-cr")
    with pytest.raises(UsageError, match="no such method; there are") as refused:
        check_method("magic", user_files=False)
    assert "net.py" not in str(refused.value)
