"""Test that simulated and real scenes agree with the documented calibration."""

from __future__ import annotations

import numpy as np
import pytest

from paths import ROOT
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.simulation.place import Place
from planetcr_bench.simulation.scene import quartet_of
from planetcr_bench.simulation.survey import survey_of
from simulation.calibrate import clear_figures, cloudy_figures, sar_figures, statistics

SAMPLES = ROOT.parent / "shared" / "data" / "planet-cr-sample"
REAL = slice(0, 2)
LOW, MIDDLE, HIGH = 2, 3, 4


@pytest.fixture(scope="module")
def documented() -> dict[str, list[float]]:
    """Figure to: real training and test sample; 5th, 50th, 95th percentile of the simulation."""
    text = (ROOT / "docs" / "simulation.md").read_text()
    lines = text[text.index("| Figure |") :].split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: [float(value) for value in row[1:6]] for row in cells}


def test_simulated_scenes_are_as_the_table_says(documented: dict[str, list[float]]) -> None:
    """Other scenes of the same world: each documented median lies in the middle of theirs."""
    rows = []
    for number in range(1, 17):
        survey = survey_of(Place(5, number))
        for patch in survey.patches[:2]:
            scene = quartet_of(survey, patch)
            clear, cloudy = scene.clear.astype(float), scene.cloudy.astype(float)
            rows.append(
                clear_figures(clear)
                | sar_figures(scene.sar, clear)
                | cloudy_figures(cloudy, clear, scene.cloud_mask)
            )
    assert rows[0].keys() == documented.keys()
    for name, figures in documented.items():
        values = np.array([row[name] for row in rows])
        values = values[np.isfinite(values)]
        below = ((values < figures[MIDDLE]).mean() + (values <= figures[MIDDLE]).mean()) / 2
        assert 0.2 < below < 0.8, name  # 16 AOIs: three standard errors of a rank


def test_nine_of_ten_real_figures_lie_within_the_simulated_ones_and_none_far_outside(
    documented: dict[str, list[float]],
) -> None:
    table = np.array(list(documented.values()))
    real, low, high = table[:, REAL], table[:, [LOW]], table[:, [HIGH]]
    assert ((low <= real) & (real <= high)).mean() > 0.9
    span = high - low
    assert ((low - span / 2 <= real) & (real <= high + span / 2)).all()


@pytest.mark.real
@pytest.mark.skipif(not SAMPLES.is_dir(), reason="Planet's pixels may not be redistributed")
@pytest.mark.parametrize(("column", "split"), [(0, "train"), (1, "test")])
def test_the_real_columns_are_those_of_the_samples(
    documented: dict[str, list[float]], column: int, split: str
) -> None:
    figures = statistics(find_scenes(SAMPLES, split)[0])
    for name, row in documented.items():
        assert row[column] == pytest.approx(figures[name], rel=6e-3, abs=5e-4), name
