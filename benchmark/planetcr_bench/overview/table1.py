"""Compare datasets as Tab. 1 of the paper does: published, as described here, and as measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import pandas as pd

from planetcr_bench.data.description import Description
from planetcr_bench.data.descriptions import load_description
from planetcr_bench.data.variants import CATALOGUE, LIKE, catalogue
from planetcr_bench.errors import DatasetError
from planetcr_bench.overview.statistics import Statistics
from planetcr_bench.report.table import Table
from planetcr_bench.results.published import published_table1
from planetcr_bench.utils.untrusted import read_toml

IN_CATALOGUE: Final = {
    "RICE-I": "rice1",
    "RICE-II": "rice2",
    "SEN12MS-CR": "sen12ms-cr",
    "WHUS2-CR": "whus2-cr",
    "Planet-CR": "planet-cr",
}
"""Datasets of the paper's table that are built in, and their names for ``--dataset``."""

HEADER: Final = {
    "dataset": "Dataset",
    "source": "Source",
    "resolution_m": "Resolution [m]",
    "aois": "AOIs",
    "width_px": "Width [px]",
    "images": "Images",
    "sar": "SAR",
    "land_cover": "Land cover",
    "kind": "Figures are",
    "description": "--dataset",
}
"""Columns of the printed table; the CSV also has ``citation`` and ``note``."""

_COUNTS: Final = ("aois", "width_px", "images")

NOTES: Final = (
    "published: Tab. 1 of Xu et al. (arXiv 2301.03432, 2023), not measured here.",
    "described: from the descriptions that are built in; – is not described.",
    "measured: counted in the dataset at hand.",
)


def table1_frame(measured: Sequence[Statistics]) -> pd.DataFrame:
    """Tab. 1 as text: the paper's rows, other datasets of the catalogue, those at hand.

    Returns:
        The columns of ``published_table1``, then ``kind`` (``published``, ``described`` or
        ``measured``) and ``description``, the name for ``--dataset`` or empty.
    """
    published = published_table1()
    names = published["dataset"].map(lambda name: IN_CATALOGUE.get(name, ""))
    parts = [
        published.assign(kind="published", description=names),
        pd.DataFrame([_described(name) for name in _further_names()]),
        pd.DataFrame([_measured(each) for each in measured]),
    ]
    return pd.concat(parts, ignore_index=True).fillna("")


def table1(measured: Sequence[Statistics]) -> Table:
    """Tab. 1 for Markdown, LaTeX and the page."""
    frame = table1_frame(measured)
    records = frame.to_dict("records")
    notes = [f"{record['dataset']}: {record['note']}." for record in records if record["note"]]
    rows = [[_cell(column, record[column]) for column in HEADER] for record in records]
    return Table(
        "Datasets for cloud removal (Tab. 1)",
        list(HEADER.values()),
        rows,
        frame["kind"].tolist(),
        [*NOTES, *notes],
    )


def _cell(column: str, text: str) -> str:
    if column in _COUNTS and text.isdigit():
        return f"{int(text):,}"
    return text if text or column == "description" else "–"


def _further_names() -> list[str]:
    """Datasets of the catalogue that the paper's table lacks, without variants of others."""
    return [
        name
        for name in catalogue()
        if name not in IN_CATALOGUE.values()
        and LIKE not in read_toml(CATALOGUE / f"{name}.toml", error=DatasetError)
    ]


def _described(name: str) -> dict[str, str]:
    described = load_description(name)
    clusters = {cluster for split in described.splits.values() for cluster in split.clusters}
    width = described.read_size_of("clear")
    return {
        **_facts(described),
        "aois": str(len(clusters) or ""),
        "width_px": str(width[1]) if width else "",
        "kind": "described",
        "description": name,
    }


def _measured(statistics: Statistics) -> dict[str, str]:
    scenes, described = statistics.scenes, statistics.description
    low, high = int(scenes["width"].min()), int(scenes["width"].max())
    counts = ", ".join(f"{split} {len(own):,}" for split, own in statistics.files.items())
    simulated = {"source": f"simulated {described.sensor}", "citation": ""}
    return {
        **_facts(described),
        **(simulated if statistics.simulated else {}),
        "dataset": statistics.label,
        "aois": str(scenes["aoi"].nunique()) if described.cluster else "",
        "width_px": str(low) if low == high else f"{low}–{high}",
        "images": str(len(scenes)),
        "kind": "measured",
        "note": f"scenes of {counts}",
    }


def _facts(described: Description) -> Mapping[str, str]:
    return {
        "dataset": described.title,
        "citation": described.citation,
        "source": described.sensor,
        "resolution_m": f"{described.pixel_size:g}" if described.pixel_size else "",
        "sar": "yes" if described.sar else "no",
        "land_cover": "yes" if described.land_cover else "no",
    }
