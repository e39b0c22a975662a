"""Time the simulator, part by part, in milliseconds of one core per scene.

make speed
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from planetcr_bench.data.reading import read_scene
from planetcr_bench.simulation.land_cover import worldcover
from planetcr_bench.simulation.optical import (
    changed_surface,
    clear_image,
    clouds_over,
    cloudy_image,
)
from planetcr_bench.simulation.place import Place
from planetcr_bench.simulation.radar import sar_image
from planetcr_bench.simulation.scene import quartet_of
from planetcr_bench.simulation.sky import mask_on
from planetcr_bench.simulation.surface import surface_of
from planetcr_bench.simulation.survey import survey_of, window_of
from planetcr_bench.simulation.writer import scene_files, write_quartet
from planetcr_bench.utils.parallel import start_worker

Clock = dict[str, list[float]]
PATCHES = 25


def timed(clock: Clock, part: str, function: Callable[[], object]) -> object:
    start = time.process_time()
    result = function()
    clock.setdefault(part, []).append(1e3 * (time.process_time() - start))
    return result


def one_scene(clock: Clock, place: Place, rank: int, folder: Path) -> None:
    survey = survey_of(place)
    patch = survey.patches[rank]
    files = scene_files(folder, place, patch)
    window = window_of(patch)
    surface = timed(clock, "surface", lambda: surface_of(survey, patch))
    timed(clock, "clear image", lambda: clear_image(surface))
    clouds = timed(clock, "clouds", lambda: clouds_over(place, window))
    timed(clock, "cloudy image", lambda: cloudy_image(surface, changed_surface(surface), clouds))
    timed(clock, "SAR", lambda: sar_image(surface))
    timed(clock, "land cover", lambda: worldcover(surface))
    timed(clock, "mask", lambda: mask_on(survey.mask, window))
    quartet = timed(clock, "all of the above", lambda: quartet_of(survey, patch))
    timed(clock, "write five files", lambda: write_quartet(files, quartet, place))
    timed(clock, "read five files", lambda: read_scene(files))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--aois", type=int, default=16, help="one deck has every landscape")
    parser.add_argument("--scenes", type=int, default=4, help="per AOI")
    options = parser.parse_args()
    clock: Clock = {}
    start_worker()  # as the processes that simulate do: memory that is freed is kept
    with tempfile.TemporaryDirectory() as name:
        one_scene({}, Place(1, 1), 0, Path(name))  # compiles
        for number in range(661, 661 + options.aois):
            place = Place(0, number)
            timed(clock, "survey of an AOI", lambda place=place: survey_of(place))
            for rank in range(options.scenes):
                one_scene(clock, place, rank, Path(name))
    mean = {part: float(np.mean(times)) for part, times in clock.items()}
    print(f"Milliseconds of one core per scene, means of {len(clock['surface'])} scenes")
    for part, value in mean.items():
        print(f"  {part:20s} {value:8.2f}")
    whole = mean["survey of an AOI"] / PATCHES + mean["all of the above"] + mean["write five files"]
    print(
        f"A scene, written, with its part of the survey ({PATCHES} scenes an AOI): {whole:.1f} ms"
    )
    print(f"Making and writing / reading the same files: {whole / mean['read five files']:.1f}")


if __name__ == "__main__":
    main()
