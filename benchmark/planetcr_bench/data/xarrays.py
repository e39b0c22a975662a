"""Give a scene to xarray, with coordinates as rioxarray reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from planetcr_bench.constants import LAND_COVER_NAMES
from planetcr_bench.utils.extras import need_xarray

if TYPE_CHECKING:
    import xarray

    from planetcr_bench.data.scene import Scene


def scene_to_xarray(scene: Scene) -> xarray.Dataset:
    """A scene as an ``xarray.Dataset`` on the optical grid; see ``Scene.to_xarray``."""
    need_xarray()
    import rioxarray  # noqa: F401  # gives datasets their .rio
    import xarray

    from planetcr_bench.data.scene import upsample

    grid, plane = scene.clear.shape[-2:], ("y", "x")
    image = ("band", *plane)
    dates = ("date",) if scene.cloudy.ndim == 4 else ()
    unit = {"units": "reflectance"}
    variables: dict[str, Any] = {
        "cloudy": ((*dates, *image), scene.cloudy, unit),
        "clear": (image, scene.clear, unit),
    }
    coordinates: dict[str, Any] = {"band": list(scene.bands), **_positions(scene)}
    if scene.sar is not None:
        variables["sar"] = (("sar_band", *plane), upsample(scene.sar, (grid[0], grid[1])))
        coordinates["sar_band"] = list(scene.sar_bands)
    if scene.land_cover is not None:
        classes = {"classes": ", ".join(LAND_COVER_NAMES)}
        variables["land_cover"] = (plane, scene.land_cover, classes)
    if scene.cloud_mask is not None:
        variables["cloud_mask"] = (plane, scene.cloud_mask)
    facts = {
        "name": scene.name, "split": scene.split, "season": scene.season, "aoi": scene.aoi,
    }  # fmt: skip
    dataset = xarray.Dataset(variables, coordinates, facts)
    if scene.crs:
        dataset = dataset.rio.write_crs(scene.crs).rio.write_transform(scene.transform)
    return dataset


def _positions(scene: Scene) -> dict[str, Any]:
    """Coordinates of the centres of pixels; none of a rotated grid, which rioxarray has as such."""
    grid = scene.transform
    if not scene.crs or grid.b or grid.d:
        return {}
    height, width = scene.clear.shape[-2:]
    return {
        "y": [grid.f + grid.e * (row + 0.5) for row in range(height)],
        "x": [grid.c + grid.a * (column + 0.5) for column in range(width)],
    }
