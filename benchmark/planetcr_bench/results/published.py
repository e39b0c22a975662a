"""Provide the paper's published figures (`official` protocol only)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final

import pandas as pd

from planetcr_bench.constants import (
    INPUT_WINDOWS,
    LAND_COVER,
    PLANET_CR,
    PLANET_CR_TEST_SCENES,
    UNKNOWN_INPUT,
)
from planetcr_bench.errors import LedgerError
from planetcr_bench.results.ledger import Ledger

SOURCE: Final = "published by Xu et al. (arXiv 2301.03432, 2023), not measured here"

SEEN: Final = (
    "Input window of published figures: 160 for Align-CR and GLF-CR, by the authors' testers; "
    "unknown for the others."
)
"""Input windows of the published networks."""

_SEEN_CENTRE: Final = ("Align-CR", "GLF-CR")

_METRIC: Final = {"MAE": "mae", "PSNR": "psnr", "SAM": "sam_deg", "SSIM": "ssim"}


def published_table1() -> pd.DataFrame:
    """Load Tab. 1 of the paper, its datasets.

    Returns:
        One line per dataset in the paper's order, all cells as text: ``dataset``, ``citation``,
        ``source``, ``resolution_m``, ``aois``, ``width_px``, ``images``, ``sar``, ``land_cover``
        and ``note``; empty where the paper says nothing.
    """
    return _read("table1.csv", dtype=str, keep_default_na=False)


def published_table2() -> pd.DataFrame:
    """Load Tab. 2 of the paper in the form of ``table2``.

    Returns:
        One line per method in the paper's order: ``row``, ``kind`` (``published``),
        ``input_window``, the four metrics and ``<metric>_<class>``; PSNR and SSIM have no figures
        per class.
    """
    long = _read("table2.csv")
    rows = []
    for method, figures in long.groupby("method", sort=False):
        row: dict[str, object] = {"row": f"{method} (published)", "kind": "published"}
        row["input_window"] = _input_window(str(method))
        for figure in figures.to_dict("records"):
            metric = _METRIC[str(figure["metric"])]
            row[metric] = figure["overall"]
            row |= {f"{metric}_{name}": figure[name] for name in LAND_COVER}
        rows.append(row)
    return pd.DataFrame(rows)


def published_table3() -> pd.DataFrame:
    """Load Tab. 3 of the paper in the form of ``table3``.

    Returns:
        One line per image or method and bin of cloud cover, in the paper's order: ``row``,
        ``input_window``, ``kind`` and ``segmenter`` (both ``published``), ``cover_bin`` (a bin or
        ``overall``), ``miou`` and ``pa`` in percent.
    """
    names = {"input": "row", "cloud_cover": "cover_bin", "mIoU": "miou", "PA": "pa"}
    table = _read("table3.csv").rename(columns=names)
    table["input_window"] = table["row"].map(_input_window)
    table["row"] += " (published)"
    return table.assign(kind="published", segmenter="published")


def _input_window(method: str) -> str | None:
    """Input window of a published row; None for an image of the dataset itself."""
    if method in ("Cloud-Free", "Cloudy"):
        return None
    return INPUT_WINDOWS["official"] if method in _SEEN_CENTRE else UNKNOWN_INPUT


def refuse_published(ledgers: Sequence[Ledger]) -> None:
    """Refuse to show published figures beside runs that were not scored on the same scenes.

    Raises:
        LedgerError: A run is not of the test split of Planet-CR, or not of all its scenes.
    """
    for run in ledgers:
        provenance = run.provenance
        requirements = {
            f"track {PLANET_CR!r}": (provenance["track"] == PLANET_CR, f"{provenance['track']!r}"),
            "split 'test'": (provenance["split"] == "test", f"{provenance['split']!r}"),
            f"all {PLANET_CR_TEST_SCENES:,} scenes": (
                provenance["complete"] and provenance["scenes"] == PLANET_CR_TEST_SCENES,
                f"{provenance['scenes']:,} of {provenance['expected_scenes']:,}"
                + ("" if provenance["complete"] else ", an incomplete run"),
            ),
        }
        for expected, (holds, got) in requirements.items():
            if not holds:
                raise LedgerError(
                    f"{run.name}: published figures are of other scenes: expected {expected}, got "
                    f"{got}; leave out --published"
                )


def _read(name: str, **options: Any) -> pd.DataFrame:
    with (files("planetcr_bench.results") / "published_tables" / name).open(
        encoding="utf-8"
    ) as stream:
        table: pd.DataFrame = pd.read_csv(stream, **options)
    return table
