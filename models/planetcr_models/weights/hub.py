"""Download weights from the Hugging Face Hub; its client is imported only when asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from planetcr_models.errors import CheckpointError, ModelError

PREFIX: Final = "hf://"
"""What an address on the Hub starts with."""


@dataclass(frozen=True, slots=True)
class Address:
    """A file on the Hub.

    Attributes:
        repository: ``owner/name``.
        file: Path in the repository.
        revision: Branch, tag or commit; None is the default branch.
    """

    repository: str
    file: str
    revision: str | None = None

    @classmethod
    def parse(cls, text: str, default: str) -> Address:
        """Parse ``hf://OWNER/NAME[/FILE][@REVISION]``.

        Args:
            text: The address.
            default: The file, if the address names none.

        Raises:
            ModelError: It is malformed.
        """
        path, at, revision = text.removeprefix(PREFIX).partition("@")
        owner, name, file = [*path.split("/", 2), "", ""][:3]
        up = ".." in f"{path}/{revision}".split("/")
        if not owner or not name or up or bool(at) != bool(revision):
            raise ModelError(
                f"{text}: expected hf://OWNER/NAME or hf://OWNER/NAME/FILE.safetensors, each with "
                "or without @REVISION"
            )
        return cls(f"{owner}/{name}", file.strip("/") or default, revision or None)

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"{PREFIX}{self.repository}/{self.file}{revision}"


def download(text: str, default: str) -> tuple[Path, str]:
    """Download a file of weights, with its card if there is one, or find it in the local cache.

    Args:
        text: ``hf://OWNER/NAME[/FILE][@REVISION]``.
        default: The file, if the address names none.

    Returns:
        The file, and its address with the commit that it is of.

    Raises:
        ModelError: A malformed address.
        CheckpointError: No such repository, revision or file, no permission, or no connection and
            no such file in the cache.
    """
    address = Address.parse(text, default)
    with _explained(address):
        online = _answers(address)
        path = _fetch(address, online=online)
    commit = path.parents[len(PurePosixPath(address.file).parts) - 1].name
    card = str(PurePosixPath(address.file).with_suffix(".json"))
    with suppress(Exception):  # the card is optional; what fails has been reported for the weights
        _fetch(Address(address.repository, card, commit), online=online)
    return path, str(Address(address.repository, address.file, commit))


def _fetch(address: Address, *, online: bool) -> Path:
    import huggingface_hub

    return Path(
        huggingface_hub.hf_hub_download(
            address.repository,
            address.file,
            revision=address.revision,
            local_files_only=not online,
        )
    )


def _answers(address: Address) -> bool:
    """Whether the Hub answers at once; a download would try again for half a minute."""
    import huggingface_hub
    from huggingface_hub import errors

    url = huggingface_hub.hf_hub_url(address.repository, address.file, revision=address.revision)
    try:
        huggingface_hub.get_hf_file_metadata(url)
    except errors.HfHubHTTPError as error:
        return bool(error.response.status_code < 500)
    except errors.HFValidationError:
        raise
    except Exception:  # noqa: BLE001  # of an HTTP library that depends on the client's version
        return False
    return True


@contextmanager
def _explained(address: Address) -> Iterator[None]:
    """Turn the errors of the Hub's client into one line with the remedy."""
    try:
        from huggingface_hub import constants, errors
    except ImportError as error:
        raise ModelError(
            f"{address}: the Hub needs huggingface_hub: pip install 'planetcr-bench[models]'"
        ) from error
    try:
        yield
    except errors.GatedRepoError as error:
        reason = "its owner has to admit you: ask on the repository's page, then log in"
        raise CheckpointError(f"{address}: {reason} with `hf auth login`") from error
    except errors.RepositoryNotFoundError as error:
        raise CheckpointError(
            f"{address}: no repository {address.repository}, or a private one; check its name, or "
            "log in with `hf auth login` (or set HF_TOKEN)"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise CheckpointError(
            f"{address}: {address.repository} has no revision {address.revision}; give a branch, "
            "tag or commit, or none"
        ) from error
    except errors.LocalEntryNotFoundError as error:  # before its base class
        offline = os.environ.get("HF_HUB_OFFLINE")
        state = "is not asked, since HF_HUB_OFFLINE is set" if offline else "does not answer"
        raise CheckpointError(
            f"{address}: {constants.ENDPOINT} {state}, and the file is not in the local cache; "
            f"{'unset it' if offline else 'check the connection'}, or give the path of a file"
        ) from error
    except errors.EntryNotFoundError as error:
        raise CheckpointError(
            f"{address}: {address.repository} has no file {address.file}{_others(address)}"
        ) from error
    except errors.HFValidationError as error:
        raise ModelError(f"{address}: not a valid name of a repository: {_line(error)}") from error
    except Exception as error:  # of the HTTP library, which depends on the client's version
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403):
            raise CheckpointError(
                f"{address}: no permission to read it; log in with `hf auth login` (or set "
                "HF_TOKEN)"
            ) from error
        raise CheckpointError(f"{address}: cannot be downloaded: {_line(error)}") from error


def _others(address: Address) -> str:
    """Say which weights a repository has, if it can be asked."""
    import huggingface_hub

    names: list[str] = []
    with suppress(Exception):  # only for a better message
        names = huggingface_hub.HfApi().list_repo_files(
            address.repository, revision=address.revision
        )
    weights = [name for name in names if name.endswith(".safetensors")]
    if not weights:
        return ""
    return f"; it has {', '.join(weights[:8])}: add one to the address"


def _line(error: Exception) -> str:
    """The first line of an error's text."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
