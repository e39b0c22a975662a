"""Find weights by name, by path or on the Hugging Face Hub; imports no PyTorch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from planetcr_models.errors import CheckpointError, ModelError
from planetcr_models.weights import hub
from planetcr_models.weights.pretrained import (
    SUFFIX,
    is_pretrained,
    packaged_weights,
    suggestion,
)

_WEB: Final = re.compile("hf:|https?:", re.IGNORECASE)

BEST: Final = f"best{SUFFIX}"
"""Weights of the best epoch, in the folder of a training run."""

LAST: Final = f"last{SUFFIX}"
"""Weights of the last checkpoint, in the folder of a training run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where weights come from.

    Attributes:
        path: The file.
        origin: Name or address, with the revision on the Hub; None if all that is known is a path.
    """

    path: Path
    origin: str | None = None


def find_weights(method: str, source: str | Path) -> Source:
    """Find the file of weights that a user names.

    Text that is the name of weights of this package means these, even if a file has that name too;
    ``./NAME`` or a ``Path`` means the file.

    Args:
        method: One of ``list_models``, or ``segmenter``.
        source: A name of ``list_pretrained``; a file; the folder of a training run, with
            ``best.safetensors``; or an address on the Hugging Face Hub, ``hf://OWNER/NAME`` (the
            file ``<method>.safetensors`` there) or ``hf://OWNER/NAME/FILE``, either with
            ``@REVISION``. Files of the Hub are kept in its local cache and found there offline.

    Raises:
        ModelError: No such name, a malformed address, or no text and no path.
        CheckpointError: No such file, in the package, on the Hub or elsewhere.
    """
    if not isinstance(source, str | Path):
        raise ModelError(
            f"weights: expected a name, a file or an address, got {source!r}; {suggestion('')}"
        )
    if isinstance(source, str) and source.startswith(hub.PREFIX):
        path, origin = hub.download(source, f"{method}{SUFFIX}")
        return Source(path=path, origin=origin)
    if isinstance(source, str) and is_pretrained(source):
        return Source(path=packaged_weights(source, method), origin=source)
    path = Path(source)
    if not str(source):
        raise ModelError("weights: expected a name, a file or an address, got an empty text")
    if _WEB.match(str(source)):
        raise ModelError(f"{source}: write the address of weights on the Hub as hf://OWNER/NAME")
    try:
        is_folder = path.is_dir()
    except OSError as error:  # such as a name that is too long
        raise CheckpointError(f"{str(source)[:80]}…: no such file ({error.strerror})") from error
    if is_folder:
        if not (path / BEST).is_file():
            last = path / LAST
            hint = f"; its run has not been validated yet, give {last}" if last.is_file() else ""
            raise CheckpointError(
                f"{path}: expected a file of weights or the folder of a training run, found a "
                f"folder without {BEST}{hint}"
            )
        path /= BEST
    elif _is_name(source) and not path.exists():
        raise ModelError(
            f"{source}: no such file, and no pretrained weights of this name; "
            f"{suggestion(str(source))}"
        )
    return Source(path=path)


def hidden_file(source: str) -> bool:
    """Whether a name of weights of this package is that of a file or folder, too."""
    return is_pretrained(source) and Path(source).exists()


def _is_name(source: str | Path) -> bool:
    """Whether text looks like a name and not like a path."""
    return isinstance(source, str) and "/" not in source and not Path(source).suffix
