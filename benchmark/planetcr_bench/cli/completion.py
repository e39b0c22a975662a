"""Names that a shell completes; without a match it offers files, which are allowed there too."""

from __future__ import annotations

import typer


def datasets() -> list[str]:
    """Names of the catalogue."""
    from planetcr_bench.data.variants import catalogue

    return catalogue()


def networks() -> list[str]:
    """Names of networks."""
    from planetcr_bench.networks.methods import list_models

    return [*list_models()]


def trainable() -> list[str]:
    """Names of networks, and the segmenter's."""
    from planetcr_bench.networks.methods import SEGMENTER

    return [*networks(), SEGMENTER]


def methods() -> list[str]:
    """Names of baselines and networks."""
    from planetcr_bench.predictions.baselines import METHODS

    return [*METHODS, *networks()]


def weights(context: typer.Context) -> list[str]:
    """Names of the weights that ship: those of the method, if the line names it already."""
    from planetcr_bench.networks.methods import pretrained_names

    return pretrained_names(context.params.get("method"))


def segmenters() -> list[str]:
    """Names of the segmenter's weights that ship."""
    from planetcr_bench.networks.methods import SEGMENTER, pretrained_names

    return pretrained_names(SEGMENTER)
