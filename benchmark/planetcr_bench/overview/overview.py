"""Write the overview of datasets: figures, Tab. 1, statistics and one page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd
from matplotlib.figure import Figure

from planetcr_bench.data.masks import OtherMasks
from planetcr_bench.errors import UsageError
from planetcr_bench.figures.style import save_figure
from planetcr_bench.gallery.gallery import check_out
from planetcr_bench.overview.charts import (
    alikeness_figure,
    backscatter_figure,
    class_cover_figure,
    cover_and_class_figure,
    days_figure,
    distance_figure,
    reflectance_figure,
    season_figure,
)
from planetcr_bench.overview.distributions import class_shares, cover_counts, season_counts
from planetcr_bench.overview.leakage import Leakage, audit
from planetcr_bench.overview.maps import map_figure
from planetcr_bench.overview.page import Part, Section, page
from planetcr_bench.overview.scene_panels import choice, chosen_scenes, scenes_figure
from planetcr_bench.overview.spatial import intraclass, label_of
from planetcr_bench.overview.statistics import Statistics, measure_dataset
from planetcr_bench.overview.table1 import table1, table1_frame
from planetcr_bench.report.latex import latex_file
from planetcr_bench.report.table import Table, to_markdown
from planetcr_bench.utils.files import atomic_write
from planetcr_bench.utils.parallel import Workers

PAGE: Final = "overview.html"

FORMATS: Final = ("png", "pdf")

FIGURES: Final[dict[str, tuple[str, Callable[[Statistics], Figure | str]]]] = {
    "fig1_map": ("Places (Fig. 1a)", map_figure),
    "fig2": ("Cloud cover and land cover (Fig. 2)", cover_and_class_figure),
    "class_cover": ("Land cover under cloud cover", class_cover_figure),
    "seasons": ("Seasons by hemisphere", season_figure),
    "reflectance": ("Reflectance by band and class", reflectance_figure),
    "backscatter": ("Backscatter by class", backscatter_figure),
    "days": ("Days between the dates", days_figure),
    "alikeness": ("How alike patches of one place are", alikeness_figure),
    "distance": ("Distance from test to training", distance_figure),
}
"""Stem of a file to the title and the function of a figure."""

SCENES: Final = ("fig1_scenes", "Scenes (Fig. 1b to e)")


@dataclass(frozen=True, slots=True)
class Overview:
    """What was written about one dataset.

    Attributes:
        statistics: Of the dataset.
        leakage: What two of its splits share.
        missing: Title of a figure that was left out to the reason.
    """

    statistics: Statistics
    leakage: Leakage
    missing: dict[str, str]


def overview(
    data: Sequence[Path],
    out: Path,
    *,
    described: Sequence[str | Path] = (),
    masks: OtherMasks | None = None,
    count: int = 4,
    names: Sequence[str] = (),
    workers: Workers = None,
    batch: int = 16,
    quiet: bool = False,
) -> list[Overview]:
    """Measure datasets and write ``overview.html``, figures, tables and statistics.

    Args:
        data: Their folders.
        out: Folder to write to; files of the same names are replaced, each in one step.
        described: Names or files of their descriptions: none, one for all, or one for each.
        masks: From elsewhere, of a single dataset.
        count: Scenes to draw of each dataset; 0 draws none.
        names: Scenes to draw of a single dataset, instead.
        workers: See ``Workers``.
        batch: Scenes sent to a worker at a time.
        quiet: Show no progress.

    Raises:
        UsageError: Options do not fit each other.
        DatasetError: A dataset is incomplete or cannot be read; nothing is written.
    """
    _check_options(data, out, described, masks, names)
    descriptions = list(described) if len(described) > 1 else [*described, None][:1] * len(data)
    measured = [
        measure_dataset(
            each, dataset=dataset, masks=masks, workers=workers, batch=batch, quiet=quiet
        )
        for each, dataset in zip(data, descriptions, strict=True)
    ]
    pictures = [_scenes(each, count, names) for each in measured]
    audits = [audit(each) for each in measured]  # nothing is written before all is read
    folders = [out] if len(data) == 1 else [out / name for name in folder_names(data)]
    sections, written = [], []
    for statistics, picture, leakage, folder in zip(
        measured, pictures, audits, folders, strict=True
    ):
        stem, title = SCENES
        first, *others = (
            _part(folder / "figures" / name, heading, draw(statistics), _numbers(name, statistics))
            for name, (heading, draw) in FIGURES.items()
        )
        parts = [first, _part(folder / "figures" / stem, title, picture), *others]
        _write(folder / "tables/leakage.csv", leakage.pairs.to_csv(index=False))
        _write_scenes(folder / "scenes.parquet", statistics)
        findings = (folder / "tables/leakage.csv").relative_to(out).as_posix()
        sections.append(Section(statistics, parts, leakage, findings))
        missing = {part.title: part.reason for part in parts if part.reason}
        written.append(Overview(statistics, leakage, missing))
    datasets = table1(measured)
    _write(out / "tables/table1.md", to_markdown(datasets))
    _write(out / "tables/table1.tex", latex_file([datasets], "table1"))
    _write(out / "tables/table1.csv", table1_frame(measured).to_csv(index=False))
    _write(out / PAGE, page(sections, datasets))
    return written


def _scenes(statistics: Statistics, count: int, names: Sequence[str]) -> Figure | str:
    if not (count or names):
        return "not asked for"
    scenes = chosen_scenes(statistics, count, names)
    return scenes_figure(statistics, scenes, reason=choice(statistics, count, names))


def _check_options(
    data: Sequence[Path],
    out: Path,
    described: Sequence[str | Path],
    masks: OtherMasks | None,
    names: Sequence[str],
) -> None:
    if len(described) not in (0, 1, len(data)):
        raise UsageError(
            f"--dataset: expected one for all or one for each of {len(data)} datasets, got "
            f"{len(described)}"
        )
    for option, given in (("--masks", masks), ("--scene", names)):
        if given and len(data) > 1:
            raise UsageError(f"{option}: expected a single dataset with it, got {len(data)}")
    if len({each.resolve() for each in data}) < len(data):
        raise UsageError("expected different datasets, got one twice")
    inside = [each for each in data if out.resolve().is_relative_to(each.resolve())]
    if inside:
        raise UsageError(f"--out: expected a folder outside {inside[0]}, got {out}")
    check_out(out / f"{SCENES[0]}.png")


def folder_names(data: Sequence[Path]) -> list[str]:
    """A name for each folder: its own, with a number where several have the same."""
    names = [each.resolve().name or "data" for each in data]
    return [
        name if names.count(name) == 1 else f"{name}-{names[: index + 1].count(name)}"
        for index, name in enumerate(names)
    ]


def _part(path: Path, title: str, figure: Figure | str, tables: Sequence[Table] = ()) -> Part:
    """Write one figure; remove an old one where there is none any more."""
    if isinstance(figure, str):
        for ending in FORMATS:
            path.with_name(f"{path.name}.{ending}").unlink(missing_ok=True)
        return Part(title, reason=figure)
    save_figure(figure, path, FORMATS)
    caption = figure.get_supxlabel() or figure.texts[-1].get_text()
    words = " ".join(f"{title}: {caption}".split())
    return Part(title, path.with_name(f"{path.name}.png").read_bytes(), words, tables=tables)


def _numbers(stem: str, statistics: Statistics) -> list[Table]:
    """The numbers of a figure, for those who cannot see it."""
    described = statistics.description
    if stem == "fig2":
        covers = cover_counts(statistics) if statistics.has_masks else pd.DataFrame()
        classes = class_shares(statistics) if described.land_cover else pd.DataFrame()
        return [
            *_frame_table("Scenes by cloud cover [%]", "Cloud cover", covers, "{:,.0f}"),
            *_frame_table("Pixels by land cover [%]", "Class", classes, "{:.2f}"),
        ]
    if stem == "seasons":
        counts = season_counts(statistics)
        counts.index = pd.Index([" ".join(map(str, key)) for key in counts.index])
        return _frame_table("Scenes by season", "Season", counts, "{:,.0f}")
    if stem == "alikeness":
        table = intraclass(statistics).rename(index=lambda name: label_of(str(name)))
        return _frame_table("Intraclass correlation", "Variable", table, "{:,.3g}")
    return []


def _frame_table(title: str, first: str, frame: pd.DataFrame, form: str) -> list[Table]:
    if frame.empty:
        return []
    rows = [
        [str(name), *(form.format(value) for value in row)]
        for name, row in zip(frame.index, frame.to_numpy(), strict=True)
    ]
    return [Table(title, [first, *map(str, frame.columns)], rows, ["measured"] * len(rows))]


def _write_scenes(path: Path, statistics: Statistics) -> None:
    """Write the statistics of all scenes for further use."""
    _write_bytes(path, statistics.scenes.to_parquet(index=False, compression="zstd"))


def _write(path: Path, text: str) -> None:
    _write_bytes(path, text.encode())


def _write_bytes(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, content)
