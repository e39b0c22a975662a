"""Define the exceptions of planetcr_models, as one hierarchy.

::

    ModelError              what a user can mend
    ├── InputError          images that a network cannot take; also a ValueError
    ├── CheckpointError     a file of weights that is not what it should be
    ├── ExportError         a network that another runtime cannot express
    └── TrainingError       a run that cannot begin, go on, or be gone on with
"""

from __future__ import annotations

from collections.abc import Sequence


class ModelError(Exception):
    """Something that the user can mend.

    Args:
        message: Who: expected what, got what; then the remedy if one exists.
        problems: One line per offending thing, printed under the message.
    """

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.problems = tuple(problems)

    def __reduce__(self) -> tuple[type[ModelError], tuple[str, tuple[str, ...]]]:
        return type(self), (self.message, self.problems)

    def __str__(self) -> str:
        return "\n  ".join((self.message, *self.problems))


class InputError(ModelError, ValueError):
    """An image has a shape that the network cannot take."""


class CheckpointError(ModelError):
    """A file of weights is unreadable, or does not hold this network's weights."""


class ExportError(ModelError):
    """A network cannot be expressed in the form that was asked for."""


class TrainingError(ModelError):
    """A training run cannot begin or go on; what it has kept so far is intact."""
