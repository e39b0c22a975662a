"""The paper's own figures, as data. Published, never measured here; `official` protocol only."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

import pandas as pd

from planetcr_bench.vocabulary import LAND_COVER

SOURCE: Final = "published by Xu et al. (2023), not measured here"

_METRIC: Final = {"MAE": "mae", "PSNR": "psnr", "SAM": "sam_deg", "SSIM": "ssim"}


def published_table2() -> pd.DataFrame:
    """Tab. 2 of the paper in the form of :func:`~planetcr_bench.tables.table2`.

    Returns:
        One line per method in the paper's order: ``row``, ``kind`` (``published``), the four
        metrics and ``<metric>_<class>``; PSNR and SSIM have no figures per class.
    """
    long = _read("published_table2.csv")
    rows = []
    for method, figures in long.groupby("method", sort=False):
        row: dict[str, object] = {"row": f"{method} (published)", "kind": "published"}
        for figure in figures.to_dict("records"):
            metric = _METRIC[str(figure["metric"])]
            row[metric] = figure["overall"]
            row |= {f"{metric}_{name}": figure[name] for name in LAND_COVER}
        rows.append(row)
    return pd.DataFrame(rows)


def published_table3() -> pd.DataFrame:
    """Tab. 3 of the paper in the form of :func:`~planetcr_bench.semantic_tables.table3`.

    Returns:
        One line per image or method and bin of cloud cover, in the paper's order: ``row``, ``kind``
        and ``judge`` (both ``published``), ``cover_bin`` (a bin or ``overall``), ``miou`` and
        ``pa`` in percent.
    """
    names = {"input": "row", "cloud_cover": "cover_bin", "mIoU": "miou", "PA": "pa"}
    table = _read("published_table3.csv").rename(columns=names)
    table["row"] += " (published)"
    return table.assign(kind="published", judge="published")


def _read(name: str) -> pd.DataFrame:
    with (files("planetcr_bench") / "data" / name).open(encoding="utf-8") as stream:
        return pd.read_csv(stream)
