"""Load, train, validate and apply networks: the only bridge to ``planetcr_models``."""

from planetcr_models.errors import ModelError

__all__ = ["ModelError"]
