"""Test weights on the Hugging Face Hub, which a server on this machine stands for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hub_server import COMMIT, serve
from planetcr_models import create_model
from planetcr_models.errors import ModelError
from planetcr_models.weights.hub import Address
from stand_ins import write_network

FIND = """
import json, sys
from planetcr_models.errors import CheckpointError, ModelError
from planetcr_models.weights.sources import find_weights

for address in sys.argv[1:]:
    try:
        source = find_weights("dsen2_cr", address)
        print(json.dumps([source.origin, str(source.path)]))
    except ModelError as error:
        print(json.dumps([type(error).__name__, str(error)]))
assert "torch" not in sys.modules
"""


def find(endpoint: str, home: Path, *addresses: str, **environment: str) -> list[list[str]]:
    """What ``find_weights`` gives or raises for addresses, in a process with that endpoint."""
    others = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        [sys.executable, "-c", FIND, *addresses],
        env={**os.environ, **others, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_weights_are_downloaded_with_their_card_and_found_again_offline(tmp_path: Path) -> None:
    path = write_network(tmp_path, "dsen2_cr")
    weights, card = path.read_bytes(), path.with_suffix(".json").read_bytes()
    files = {"dsen2_cr.safetensors": weights, "dsen2_cr.json": card, "sub/a.safetensors": weights}
    home = tmp_path / "home"
    with serve({"me/weights": files}) as (endpoint, asked):
        named = find(
            endpoint, home, "hf://me/weights", "hf://me/weights@v1", "hf://me/weights/sub/a.safetensors"
        )  # fmt: skip
    origin = f"hf://me/weights/dsen2_cr.safetensors@{COMMIT}"
    assert [name for name, _ in named[:2]] == [origin, origin]
    assert named[2][0] == f"hf://me/weights/sub/a.safetensors@{COMMIT}"
    downloaded = Path(named[0][1])
    assert downloaded.read_bytes() == Path(named[2][1]).read_bytes() == weights
    assert downloaded.with_suffix(".json").read_bytes() == card
    assert sum(line == "GET me/weights/resolve/main/dsen2_cr.safetensors" for line in asked) == 1
    model = create_model("dsen2_cr", pretrained=downloaded)
    assert torch.equal(model.head.weight, create_model("dsen2_cr", pretrained=path).head.weight)
    # the server is gone
    again = find(endpoint, home, "hf://me/weights", "hf://me/weights/sub/a.safetensors")
    assert again == [named[0], named[2]]
    offline = find(endpoint, home, "hf://me/weights", "hf://me/none", HF_HUB_OFFLINE="1")
    assert offline[0] == named[0]
    assert (
        "since HF_HUB_OFFLINE is set, and the file is not in the local cache; uns" in offline[1][1]
    )


REFUSED = {
    "hf://me/other": "me/other has no file dsen2_cr.safetensors; it has a.safetensors: add one",
    "hf://me/empty": "me/empty has no file dsen2_cr.safetensors",
    "hf://me/other@v9": "me/other has no revision v9; give a branch, tag or commit, or none",
    "hf://no/where": "no repository no/where, or a private one; check its name, or log in with",
    "hf://someone/private": "no permission to read it; log in with `hf auth login` (or set HF_",
    "hf://someone/gated": "its owner has to admit you: ask on the repository's page",
    "hf://someone/down": "does not answer, and the file is not in the local cache; check the conn",
    "hf://a b/c": "not a valid name of a repository",
}


def test_each_refusal_of_the_hub_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    repositories = {"me/other": {"a.safetensors": b"a"}, "me/empty": {"README.md": b"a"}}
    with serve(repositories) as (endpoint, _):
        answers = find(endpoint, tmp_path, *REFUSED)
    (gone,) = find(endpoint, tmp_path, "hf://me/other")
    for (address, words), (kind, message) in zip(
        [*REFUSED.items(), ("hf://me/other", f"{endpoint} does not answer")],
        [*answers, gone],
        strict=True,
    ):
        assert kind == ("ModelError" if " " in address else "CheckpointError"), message
        assert message.startswith(address.partition("@")[0])
        assert words in message
        assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("hf://a/b", ("a/b", "net.safetensors", None)),
        ("hf://a/b/", ("a/b", "net.safetensors", None)),
        ("hf://a/b@refs/pr/1", ("a/b", "net.safetensors", "refs/pr/1")),
        ("hf://a/b/c/d.safetensors@v1", ("a/b", "c/d.safetensors", "v1")),
    ],
)
def test_an_address_is_repository_file_and_revision(
    text: str, parts: tuple[str, str, str | None]
) -> None:
    assert Address.parse(text, "net.safetensors") == Address(*parts)


@pytest.mark.parametrize(
    "text",
    [
        "hf://",
        "hf://a",
        "hf://a/",
        "hf:///b",
        "hf://a/b@",
        "hf://a/b/../c",
        "hf://a/b@../c",
        "hf://@v1",
    ],
)
def test_a_malformed_address_is_refused_without_asking_anybody(text: str) -> None:
    with pytest.raises(ModelError, match="expected hf://OWNER/NAME or hf://OWNER/NAME/FILE"):
        create_model("dsen2_cr", pretrained=text)
