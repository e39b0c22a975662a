"""Cut two dates of one place into patches in the layout of Planet-CR."""

from __future__ import annotations

import math
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from planetcr_bench.constants import COVER_BINS, OPTICAL_SIZE, PLANET_CR, cover_bin
from planetcr_bench.curation.dates import Season, season_on, taken_on
from planetcr_bench.curation.pair import Pair, PairFiles, open_pair, read_patch
from planetcr_bench.curation.patch_files import describe_folder, publish, write_patch
from planetcr_bench.data.descriptions import load_description
from planetcr_bench.data.metadata import METADATA
from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.restoration.output import explained
from planetcr_bench.restoration.products import ProductName
from planetcr_bench.restoration.rasters import SceneFileError
from planetcr_bench.utils.untrusted import printable


@dataclass(frozen=True, slots=True, kw_only=True)
class PairSettings:
    """What patches are cut from, and which are kept.

    Attributes:
        mask: Usable data mask of the cloudy scene.
        sar: Sentinel-1 image.
        land_cover: WorldCover map.
        product: What the scenes are; None where their names say it.
        split: ``train``, ``val`` or ``test``.
        season: By default that of the cloudy scene's date.
        aoi: Number of the area; by default the next free one.
        max_nodata: Largest share of pixels of a patch that one of the dates lacks.
        per_bin: Most patches of each cloud-cover bin; None for all.
    """

    mask: Path | None = None
    sar: Path | None = None
    land_cover: Path | None = None
    product: ProductName | None = None
    split: str = "test"
    season: Season | None = None
    aoi: int | None = None
    max_nodata: float = 0.0
    per_bin: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What was written.

    Attributes:
        scenes: Names of the patches.
        nodata: Patches left out for lack of data.
        full: Patches left out because their bin was full.
        bins: Patches of each cloud-cover bin.
        lacking: Products that no file was given for.
    """

    scenes: list[str]
    nodata: int
    full: int
    bins: dict[str, int]
    lacking: list[str]


def cut_pair(
    cloudy: Path,
    clear: Path,
    out: Path,
    settings: PairSettings,
    *,
    say: Callable[[str], object] = lambda _: None,
) -> Cut:
    """Write the patches of two scenes that both dates cover, as one area of a dataset.

    Patches of 300 × 300 pixels lie side by side from the upper left corner of the cloudy scene; the
    clear one is resampled to its grid where it has another. Products without a file are left out,
    and the dataset's ``dataset.toml`` then describes it without them.

    Args:
        cloudy: PlanetScope scene.
        clear: Scene of the same place on a date without clouds.
        out: Folder of the dataset, made where it does not exist.
        settings: What else, and which patches.
        say: Receives one line for each thing that was recognised.

    Raises:
        SceneFileError: A file cannot be used, the scenes do not overlap, the area exists, no patch
            is left, or the folder cannot be written.
    """
    if settings.per_bin is not None and settings.mask is None:
        raise SceneFileError("--per-bin: the cloud cover of a patch is not known; give --udm too")
    files = PairFiles(
        cloudy=cloudy, clear=clear, mask=settings.mask, sar=settings.sar,
        land_cover=settings.land_cover, product=settings.product,
    )  # fmt: skip
    with ExitStack() as stack:
        pair = open_pair(files, stack, like_cloudy=True, say=say)
        season = settings.season or _season_of(pair, cloudy)
        if (out / METADATA).exists():
            _describe(out, files)
        aoi = settings.aoi or _next_area(out, settings.split, season)
        staged = out / f".{season}_{aoi}.unfinished"
        stack.enter_context(explained(out))
        stack.callback(_remove_empty, out)
        stack.callback(shutil.rmtree, staged, ignore_errors=True)
        shutil.rmtree(staged, ignore_errors=True)
        made = _write_patches(pair, staged, settings, season, aoi)
        if not made.scenes:
            raise SceneFileError(
                f"{printable(cloudy)}: no patch is left: {made.nodata} of them lack data; allow "
                "some with --max-nodata 0.1"
            )
        _describe(out, files)
        publish(staged, out)
    return Cut(
        scenes=made.scenes, nodata=made.nodata, full=made.full, bins=made.bins,
        lacking=files.lacking,
    )  # fmt: skip


def _describe(out: Path, files: PairFiles) -> None:
    describe_folder(out, files.lacking, title="Pairs of own scenes", track="own-pairs")


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _season_of(pair: Pair, cloudy: Path) -> Season:
    date = taken_on(cloudy, pair.tags[0])
    if date is None:
        raise SceneFileError(
            f"{printable(cloudy)}: neither its tags nor its name say when it was taken; give "
            "--season"
        )
    return season_on(date, pair.frame.centre[1])


def _write_patches(
    pair: Pair, staged: Path, settings: PairSettings, season: Season, aoi: int
) -> Cut:
    down, across = pair.frame.windows()
    described = load_description(PLANET_CR)
    bins: Counter[str] = Counter()
    scenes: list[str] = []
    nodata = full = 0
    for index in range(down * across):
        top, left = (OPTICAL_SIZE * part for part in divmod(index, across))
        patch = read_patch(pair, top, left)
        if patch.missing > settings.max_nodata:
            nodata += 1
            continue
        cloud = patch.cloud_mask
        name = cover_bin(math.nan if cloud is None else float(cloud.mean()))
        if settings.per_bin is not None and bins[name] >= settings.per_bin:
            full += 1
            continue
        bins[name] += 1
        files = SceneFiles((season, aoi, index + 1), str(staged), settings.split, described)
        write_patch(files, patch, pair.frame, top, left)
        scenes.append(files.name)
    ordered = {name: bins[name] for name in (*COVER_BINS, "unknown") if bins[name]}
    return Cut(scenes=scenes, nodata=nodata, full=full, bins=ordered, lacking=[])


def _next_area(out: Path, split: str, season: str) -> int:
    folder = out / split / f"planet_cloudfree_{season}"
    numbers = [
        int(number)
        for path in folder.glob(f"planet_cloudfree_{season}_*")
        if (number := path.name.rpartition("_")[2]).isdigit()
    ]
    return max(numbers, default=0) + 1
