"""Define the exceptions of planetcr-bench, as one hierarchy, and its warning.

::

    BenchError              what a user can fix; the commands print it and exit with 1
    ├── UsageError          an option that makes no sense; exit with 2
    ├── DatasetError        a dataset folder, a list of scenes or one of their files
    │   └── SceneError      one scene whose products do not fit together
    ├── PredictionError     a folder of predictions or one of its files
    ├── ArrayError          an array that is scored from Python
    ├── LedgerError         a ledger or a results folder
    │   └── ScenesError     a compact ledger is asked what only scenes can answer
    ├── SubmissionError     a submitted entry
    └── MissingExtraError   a package that is installed by an extra
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class BenchError(Exception):
    """An error that the user can fix.

    Args:
        message: Who: expected what, got what; then the remedy if one exists.
        problems: One line per offending file, printed under the message.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.problems = tuple(problems)

    def __reduce__(self) -> tuple[type[BenchError], tuple[str, tuple[str, ...]]]:
        return type(self), (self.message, self.problems)  # worker processes send errors home

    def __str__(self) -> str:
        return "\n  ".join((self.message, *self.problems))


class UsageError(BenchError):
    """An option has a value that makes no sense."""

    exit_code: ClassVar[int] = 2


class DatasetError(BenchError):
    """A dataset folder, a list of scenes or one of their files is invalid."""


class SceneError(DatasetError):
    """The products of one scene do not fit together."""


class PredictionError(BenchError):
    """A folder of predictions, or one of its files, cannot be scored."""


class ArrayError(BenchError, ValueError):
    """An array or a tensor cannot be scored."""


class LedgerError(BenchError):
    """A ledger or a results folder cannot be read, or ledgers cannot be put side by side."""


class ScenesError(LedgerError):
    """A compact ledger is asked for what only the ledger of scenes can answer."""


class SubmissionError(BenchError):
    """A submitted entry, its card or its archive, cannot be trusted."""


class MissingExtraError(BenchError):
    """A package is missing that an extra installs."""


class BenchWarning(UserWarning):
    """Something that is scored unchanged and that the user should know; the commands print it."""
