"""Fake scenes in the true folder structure, from a seed: `python tests/scenes.py OUT --test 20`.

Not a simulator: just plausible enough that every rule of the benchmark has something to act on.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from scipy import ndimage

from planetcr_bench.constants import SEASONS
from planetcr_bench.data.descriptions import load_description
from planetcr_bench.data.scene_files import SceneFiles

# WorldCover code to reflectance of blue, green, red, NIR and backscatter of VV, VH in dB.
COVER = {
    10: ((0.02, 0.045, 0.03, 0.30), (-8.5, -14.5)),
    20: ((0.03, 0.055, 0.05, 0.25), (-11.0, -17.0)),
    30: ((0.04, 0.075, 0.06, 0.32), (-12.5, -19.5)),
    40: ((0.05, 0.08, 0.09, 0.26), (-10.0, -17.0)),
    50: ((0.12, 0.13, 0.14, 0.20), (-5.5, -12.5)),
    60: ((0.10, 0.15, 0.20, 0.28), (-12.5, -20.0)),
    70: ((0.60, 0.62, 0.63, 0.60), (-13.0, -20.0)),
    80: ((0.03, 0.04, 0.03, 0.015), (-20.0, -27.0)),
    90: ((0.03, 0.06, 0.04, 0.16), (-12.0, -18.5)),
    95: ((0.02, 0.05, 0.03, 0.24), (-9.0, -15.0)),
}
CLOUD = np.array((0.52, 0.55, 0.57, 0.64))
COARSE, FINE = 90, 300
NEAREST = (2 * np.arange(FINE) + 1) * COARSE // (2 * FINE)


def write_dataset(
    root: Path, *, test: int = 4, train: int = 0, seed: int = 0, track: str | None = "fake"
) -> Path:
    """Write a dataset of AOIs of three patches; cloud cover walks through the five bins.

    Args:
        root: Made; holds ``train/`` and ``test/``.
        test: Scenes of the test split.
        train: Scenes of the training split; its AOIs are other ones.
        seed: Same seed, same pixels.
        track: Written to ``dataset.toml``; None writes none, as in the official release.

    Returns:
        The root.
    """
    root.mkdir(parents=True, exist_ok=True)
    if track is not None:
        (root / "dataset.toml").write_text(f'track = "{track}"\n')
    for split, count, first in (("test", test, 500), ("train", train, 1)):
        for index in range(count):
            aoi = first + index // 3
            write_scene(
                root,
                split,
                SEASONS[aoi % len(SEASONS)],
                aoi,
                index % 3 + 1,
                seed=seed,
                cover=(index % 5 + 0.5) / 5,
            )
    return root


def scene_files(folder: str | Path, season: str, aoi: int, patch: int) -> SceneFiles:
    """Files of a scene in the layout of Planet-CR; the folder is that of its split."""
    folder = Path(folder)
    values = (season, aoi, patch)
    return SceneFiles(values, str(folder.parent), folder.name, load_description("planet-cr"))


def write_scene(
    root: Path,
    split: str = "test",
    season: str = "summer",
    aoi: int = 500,
    patch: int = 1,
    *,
    seed: int = 0,
    cover: float = 0.4,
    compress: str | None = None,
) -> SceneFiles:
    """Write the five files of one scene.

    Args:
        root: Dataset folder.
        split: ``train`` or ``test``.
        season: Season of the AOI.
        aoi: Number of the AOI; decides where on Earth it lies.
        patch: Number of the patch; patches of an AOI lie side by side.
        seed: Same arguments, same pixels.
        cover: Cloudy share of the patch; 0 and 1 are exact.
        compress: Compression of the GeoTIFFs; the official files have none.

    Returns:
        Where the files lie.
    """
    rng = np.random.default_rng([seed, aoi, patch])
    codes = land_cover(rng)
    clear = surface(rng, codes)
    cloudy, mask = under_cloud(rng, clear, cover)
    files = scene_files(root / split, season, aoi, patch)
    east, north = 300_010 + 20_000 * (aoi % 25) + 900 * patch, 5_000_020 + 20_000 * (aoi // 25)
    optical_at = (3 * (east // 3), 3 * -(-north // 3))
    crs = f"EPSG:{32601 + aoi % 60}"
    for product, image in (("clear", clear), ("cloudy", cloudy)):
        digital = np.clip(np.rint(1e4 * image), 1, 65535).astype(np.uint16)
        write_tif(files.path(product), digital, optical_at, 3, crs, nodata=0, compress=compress)
    write_tif(files.path("sar"), radar(rng, codes), (east, north), 10, crs, compress=compress)
    write_tif(files.path("land_cover"), codes[None], (east, north), 10, crs, compress=compress)
    files.path("cloud_mask").parent.mkdir(parents=True, exist_ok=True)
    np.save(files.path("cloud_mask"), mask)
    return files


def write_tif(
    path: Path,
    pixels: np.ndarray,
    corner: tuple[float, float],
    size_m: float,
    crs: str | None,
    *,
    nodata: float | None = None,
    compress: str | None = None,
) -> None:
    """Write bands (B, H, W) as a GeoTIFF; without a CRS, without any georeference."""
    path.parent.mkdir(parents=True, exist_ok=True)
    grid = (
        {"crs": crs, "transform": Affine(size_m, 0, corner[0], 0, -size_m, corner[1])}
        if crs
        else {}
    )
    with (
        warnings.catch_warnings(action="ignore"),
        rasterio.open(
            path,
            "w",
            driver="GTiff",
            dtype=pixels.dtype,
            count=pixels.shape[0],
            height=pixels.shape[1],
            width=pixels.shape[2],
            nodata=nodata,
            compress=compress,
            **grid,
        ) as target,
    ):
        target.write(pixels)


def smooth(rng: np.random.Generator, shape: tuple[int, ...], cells: int) -> np.ndarray:
    """A smooth random field of unit variance on a grid, features about shape / cells wide."""
    coarse = rng.standard_normal((*shape[:-2], cells + 3, cells + 3))
    zoom = (*(1 for _ in shape[:-2]), shape[-2] / cells, shape[-1] / cells)
    field = ndimage.zoom(coarse, zoom, order=1)[..., : shape[-2], : shape[-1]]
    return field / field.std()


def land_cover(rng: np.random.Generator) -> np.ndarray:
    """WorldCover codes at 10 m in blobs; each patch has three to five of them."""
    codes = rng.choice(list(COVER), rng.integers(3, 6), replace=False)
    fields = smooth(rng, (len(codes), COARSE, COARSE), 6)
    return codes.astype(np.uint8)[fields.argmax(0)]


def surface(rng: np.random.Generator, codes: np.ndarray) -> np.ndarray:
    """Reflectance (4, 300, 300) at 3 m: spectra of the classes, texture and brightness."""
    table = np.zeros((101, 4))
    for code, (spectrum, _) in COVER.items():
        table[code] = spectrum
    image = table[codes[NEAREST[:, None], NEAREST]].transpose(2, 0, 1)
    image *= np.exp(0.15 * smooth(rng, (FINE, FINE), 12) + rng.normal(0, 0.06, (FINE, FINE)))
    return image


def under_cloud(
    rng: np.random.Generator, clear: np.ndarray, cover: float
) -> tuple[np.ndarray, np.ndarray]:
    """The cloudy image and its coarse mask of the wished cover."""
    field = smooth(rng, (FINE, FINE), 5)
    threshold = np.quantile(field, 1 - cover)
    opacity = np.clip((field - threshold + 0.15) / 1.2, 0, 0.95) if cover > 0 else 0 * field
    haze = 0.03 * np.abs(smooth(rng, (FINE, FINE), 3))
    cloudy = (1 - opacity) * clear * 0.97 + opacity * CLOUD[:, None, None] + haze
    cells = ndimage.zoom(opacity[5::10, 5::10], 10, order=0)
    limit = np.quantile(cells, 1 - cover) if 0 < cover < 1 else 2 - 3 * cover
    return cloudy, cells > limit


def radar(rng: np.random.Generator, codes: np.ndarray) -> np.ndarray:
    """VV and VH in dB (2, 90, 90) float64: class means and speckle, a few beyond the clip range."""
    table = np.zeros((101, 2))
    for code, (_, decibels) in COVER.items():
        table[code] = decibels
    image = table[codes].transpose(2, 0, 1) + rng.normal(0, 2.0, (2, COARSE, COARSE))
    image[0, 3, 3], image[1, 5, 5] = 4.0, -40.0
    return image


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--test", type=int, default=20)
    parser.add_argument("--train", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    write_dataset(options.out, test=options.test, train=options.train, seed=options.seed)
