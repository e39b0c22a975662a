"""Define the exceptions of planetcr_models, as one hierarchy.

::

    ModelError              what a user can fix
    ├── InputError          images that a network cannot take; also a ValueError
    ├── CheckpointError     an invalid weight file
    ├── ExportError         a network that another runtime cannot express
    └── TrainingError       a run that cannot start, continue or be resumed
"""

from __future__ import annotations

from collections.abc import Sequence


class ModelError(Exception):
    """An error that the user can fix.

    Args:
        message: Who: expected what, got what; then the remedy if one exists.
        problems: One line per offending item, printed under the message.
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
    """A weight file is unreadable, or does not hold the weights of this network."""


class ExportError(ModelError):
    """A network cannot be expressed in the requested format."""


class TrainingError(ModelError):
    """A training run cannot start or continue; its previous checkpoint is intact."""
