"""Read a run: its scores as tables, figures and LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from planetcr_bench.errors import UsageError
from planetcr_bench.metrics.protocols import Protocol
from planetcr_bench.metrics.registry import HEADLINE, METRICS, Of
from planetcr_bench.report.run_tables import RunTables
from planetcr_bench.report.table import Table
from planetcr_bench.results.aggregate import coverage, score_groups
from planetcr_bench.results.compact_file import read_any_ledger
from planetcr_bench.results.ledger import Ledger
from planetcr_bench.utils.validation import check_choice

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


class Scored:
    """What one run and several have in common: tables of ledgers.

    Attributes:
        ledgers: Of the runs.
        tables: All tables, each computed when it is first asked for.
    """

    def __init__(self, ledgers: Sequence[Ledger]) -> None:
        self.ledgers, self.tables = list(ledgers), RunTables(ledgers)

    @cached_property
    def protocols(self) -> list[str]:
        """Names of the protocols that it was measured in."""
        return [protocol.name for protocol in self.tables.protocols]

    def protocol(self, name: str | None = None) -> Protocol:
        """A protocol by its name; by default ``full``, or the only one.

        Raises:
            UsageError: It was not measured in it.
        """
        check_choice("protocol", name, self.protocols)
        known = {protocol.name: protocol for protocol in self.tables.protocols}
        return known[name or ("full" if "full" in known else self.protocols[0])]

    def table2(self, protocol: str | None = None) -> pd.DataFrame:
        """Tab. 2 at full precision: the input, each method and its gain, overall and per class.

        Args:
            protocol: ``full`` or ``official``; by default ``full``.
        """
        return self.tables.table2[self.protocol(protocol).name]

    def table3(self, protocol: str | None = None) -> pd.DataFrame:
        """Tab. 3 at full precision: land-cover segmentation of the predictions.

        Args:
            protocol: See :meth:`table2`.

        Raises:
            UsageError: It was scored without a segmenter.
        """
        chosen = self.protocol(protocol).name
        if not self.tables.segmented:
            raise UsageError(
                "table3: expected a run that was scored with a segmenter, got one without; "
                "evaluate it again with one"
            )
        return self.tables.table3[chosen]

    def fig5(
        self,
        protocol: str | None = None,
        *,
        ax: Axes | Sequence[Axes] | NDArray[Any] | None = None,
        metric: str = "psnr",
    ) -> Figure:
        """Fig. 5: the four metrics over cloud-cover bins.

        Args:
            protocol: See :meth:`table2`.
            ax: Where to draw: four axes, such as those of ``plt.subplots(2, 2)``, or one, on which
                ``metric`` is drawn; by default a figure of its own.
            metric: One of the four, for one axes.

        Returns:
            The figure.

        Raises:
            UsageError: No cloud masks are known, or ``ax`` is neither one nor four axes.
        """
        from planetcr_bench.figures.cloud_cover import cover_figure, draw_cover
        from planetcr_bench.results.aggregate import clusters_of, figure_note

        chosen = self.protocol(protocol)
        check_choice("metric", metric, HEADLINE)
        if not self.tables.known.masks:
            raise UsageError("fig5: expected scenes with cloud masks, the dataset has none")
        table = self.tables.cover[chosen.name]
        if ax is None:
            note, clusters = figure_note(self.ledgers), clusters_of(self.ledgers)
            return cover_figure(table, chosen, note=note, clusters=clusters)
        panels: list[Any] = np.ravel(np.array(ax, object)).tolist()
        if len(panels) not in (1, len(HEADLINE)):
            raise UsageError(
                f"ax: expected one axes, or {len(HEADLINE)}, one for each metric, such as those of "
                f"plt.subplots(2, 2), got {len(panels)}"
            )
        draw_cover(panels, table, [metric] if len(panels) == 1 else HEADLINE)
        figure: Figure = panels[0].figure
        return figure

    def to_latex(self, protocol: str | None = None) -> str:
        """Tab. 2 in LaTeX, for ``booktabs``.

        Args:
            protocol: See :meth:`table2`.
        """
        from planetcr_bench.report.latex import latex_file

        name = self.protocol(protocol).name
        wanted = [t for t in self.tables.table2_tables if t.title.endswith(f"protocol {name}")]
        return latex_file(wanted[:2], "table2")

    def _headlines(self) -> list[Table]:
        return self.tables.headlines()

    def _repr_html_(self) -> str:
        return "".join([f"<p>{escape(repr(self))}</p>", *map(_html, self._headlines())])


def _html(table: Table) -> str:
    """A table for notebooks."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in table.header)
    rows = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in table.rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


class Run(Scored):
    """A scored run; made by ``evaluate`` and :func:`load_run`.

    Attributes:
        ledger: Its sums.
        folder: Of its results; None of a run that was not written.
        problems: What was left out, one line each.
    """

    def __init__(
        self, ledger: Ledger, folder: Path | None = None, problems: Sequence[str] = ()
    ) -> None:
        super().__init__([ledger])
        self.ledger, self.folder, self.problems = ledger, folder, list(problems)

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.ledger.name

    def by(
        self,
        *groups: str,
        protocol: str | None = None,
        metrics: Sequence[str] = HEADLINE,
        of: Of = "prediction",
    ) -> pd.DataFrame:
        """Scores of groups of pixels.

        Args:
            *groups: Columns of the ledger, such as ``land_cover``, ``region``, ``season``, ``aoi``,
                ``scene``; also ``cover_bin``. None: all pixels.
            protocol: See :meth:`table2`.
            metrics: Names of metrics.
            of: ``prediction``, or ``input`` for the cloudy image.

        Returns:
            A row per group, a column per metric, and ``pixels``, ``scenes`` and ``aois``.

        Raises:
            UsageError: No such group or metric.
            ScenesError: The ledger is compact and has no such groups.
        """
        chosen = self.protocol(protocol)
        for name in groups:
            check_choice("by", name, ["cover_bin", *_GROUPS])
        for name in metrics:
            try:
                METRICS[name]
            except KeyError:
                check_choice("metrics", name, list(METRICS))
        check_choice("of", of, ["prediction", "input"])
        return score_groups(self.ledger, chosen, groups, of=of, metrics=metrics)

    def scores(self, protocol: str | None = None) -> dict[str, float]:
        """Overall scores in the paper's four metrics.

        Args:
            protocol: See :meth:`table2`.
        """
        row = self.by(protocol=protocol).iloc[0]
        return {name: float(row[name]) for name in HEADLINE}

    def __repr__(self) -> str:
        chosen = self.protocol()
        values = (f"{METRICS[n].title} {v:.4f}" for n, v in self.scores().items())
        return f"<{self.name}: {coverage(self.ledger)}, {chosen.name}: {', '.join(values)}>"


_GROUPS = (
    "land_cover", "region", "thickness", "season", "aoi", "scene", "patch", "split",
)  # fmt: skip


def load_run(path: str | Path) -> Run:
    """Read a run that was scored before.

    Args:
        path: Its results folder, or its ledger, of scenes or compact.

    Raises:
        LedgerError: It cannot be read.
    """
    path = Path(path)
    return Run(read_any_ledger(path), path if path.is_dir() else path.parent)
