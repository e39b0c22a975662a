"""Compare coordinate systems and grids, and describe them in messages.

Only what determines the position of a pixel counts: the horizontal part of a system, in any
notation. An unknown datum does not differ from a known one.
"""

from __future__ import annotations

import json
import math
from functools import lru_cache
from typing import Any, Final

from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import RasterioError

from planetcr_bench.utils.untrusted import printable

_LONGEST_NAME: Final = 80

Json = dict[str, Any]


def crs_text(crs: CRS | None) -> str:
    """Horizontal part of a coordinate system as text; empty if there is none.

    Returns:
        ``EPSG:…`` if it has such a code, else its definition.
    """
    return _text_of(crs.to_wkt()) if crs else ""


@lru_cache(maxsize=512)
def _text_of(wkt: str) -> str:
    crs = CRS.from_wkt(wkt)
    try:
        flat = CRS.from_user_input(json.dumps(_without_heights(crs.to_dict(projjson=True))))
        code = flat.to_epsg()
        return f"EPSG:{code}" if code and CRS.from_epsg(code) == flat else str(flat.to_wkt())
    except (RasterioError, ValueError, KeyError, TypeError):
        return str(crs.to_string())


@lru_cache(maxsize=512)
def same_crs(first: str, second: str) -> bool:
    """Whether two texts of :func:`crs_text` name the same coordinate system, according to PROJ."""
    if first == second or not (first and second):
        return first == second
    systems = [CRS.from_user_input(text) for text in (first, second)]
    if systems[0] == systems[1]:
        return True
    try:
        a, b = (_east_first(_without_heights(crs.to_dict(projjson=True))) for crs in systems)
        _share_datum(a, b)
        return bool(CRS.from_user_input(json.dumps(a)) == CRS.from_user_input(json.dumps(b)))
    except (RasterioError, ValueError, KeyError, TypeError):
        return False


def crs_name(text: str) -> str:
    """Short name of a coordinate system: its code, its name, or its projection."""
    if len(text) <= _LONGEST_NAME and "[" not in text:
        return printable(text) or "none"
    try:
        crs = CRS.from_user_input(text).to_dict(projjson=True)
        crs = crs.get("source_crs", crs)
    except (RasterioError, ValueError):
        return "an unknown one"
    name = str(crs.get("name") or "")
    if not name or _is_unknown(name):
        parts = (crs.get("conversion", {}).get("name"), _datum(crs).get("name"))
        known = [str(part) for part in parts if part and part != "unnamed"]
        name = f"one without a name ({', '.join(known)})" if known else "one without a name"
    shown = printable(name)
    return shown if len(shown) <= _LONGEST_NAME else f"{shown[:_LONGEST_NAME]}…"


def grid_name(transform: Affine) -> str:
    """Corner, pixel size and rotation of a grid, in short."""
    pixel = f"pixel {transform.a:g}, {transform.e:g} m"
    if rotated := rotation_name(transform):
        width, height = math.hypot(transform.a, transform.d), math.hypot(transform.b, transform.e)
        pixel = f"pixel {width:g}, {-height:g} m, {rotated}"
    return f"(corner {transform.c:.2f}, {transform.f:.2f}; {pixel})"


def rotation_name(transform: Affine) -> str:
    """Describe the rotation or skew of a grid; empty if it has none."""
    if not (transform.b or transform.d):
        return ""
    rows = math.degrees(math.atan2(transform.d, transform.a))
    columns = math.degrees(math.atan2(transform.b, -transform.e))
    if abs(rows - columns) < 1e-6:
        return f"rotated by {rows:.3g}°"
    return f"rows rotated by {rows:.3g}°, columns by {columns:.3g}°"


# --- PROJJSON -------------------------------------------------------------------------------


def _without_heights(crs: Json) -> Json:
    """Horizontal part of a system, without a null shift of its datum."""
    if crs["type"] == "CompoundCRS":
        return _without_heights(crs["components"][0])
    if crs["type"] == "BoundCRS" and not any(
        parameter["value"] for parameter in crs["transformation"]["parameters"]
    ):
        return _without_heights(crs["source_crs"])
    flat = {key: _flat(value) if key == "base_crs" else value for key, value in crs.items()}
    return _flat(flat)


def _flat(crs: Json) -> Json:
    axes = crs.get("coordinate_system", {}).get("axis", [])
    flat = [axis for axis in axes if axis["direction"] not in ("up", "down")]
    return crs if len(flat) == len(axes) else _with_axes(crs, flat)


def _east_first(crs: Json) -> Json:
    """The same system with its axes in the order of images."""
    axes = crs.get("coordinate_system", {}).get("axis", [])
    ordered = sorted(axes, key=lambda axis: axis["direction"] not in ("east", "west"))
    return crs if ordered == axes else _with_axes(crs, ordered)


def _with_axes(crs: Json, axes: list[Json]) -> Json:
    system = {**crs["coordinate_system"], "axis": axes}
    plain = {key: value for key, value in crs.items() if key != "id"}  # the code no longer applies
    return {**plain, "coordinate_system": system}


def _share_datum(first: Json, second: Json) -> None:
    """Give a system of unknown datum that of the other if their ellipsoids agree."""
    for crs, other in ((first, second), (second, first)):
        datum, known = _datum(crs), _datum(other)
        if _is_unknown(str(datum.get("name", ""))) and _ellipsoid(datum) == _ellipsoid(known):
            base, other_base = crs.get("base_crs", crs), other.get("base_crs", other)
            for key in ("datum", "datum_ensemble"):
                base.pop(key, None)
                if key in other_base:
                    base[key] = other_base[key]


def _datum(crs: Json) -> Json:
    base = crs.get("base_crs", crs)
    datum: Json = base.get("datum") or base.get("datum_ensemble") or {}
    return datum


def _is_unknown(name: str) -> bool:
    words = name.lower().replace("_", " ")
    return words.startswith(("unknown", "unnamed", "not specified", "user defined"))


def _ellipsoid(datum: Json) -> tuple[float, float]:
    ellipsoid = datum["ellipsoid"]
    axis = _number(ellipsoid.get("semi_major_axis", ellipsoid.get("radius", 0)))
    if "inverse_flattening" in ellipsoid:
        return axis, round(float(ellipsoid["inverse_flattening"]), 6)
    minor = _number(ellipsoid.get("semi_minor_axis", axis))
    return axis, round(axis / (axis - minor), 6) if axis != minor else 0.0


def _number(value: Any) -> float:
    return float(value["value"] if isinstance(value, dict) else value)
