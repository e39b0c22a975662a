"""Choose the parameters that the patches of an AOI share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from planetcr_bench.constants import OPTICAL_RESOLUTION_M, OPTICAL_SIZE, SEASONS
from planetcr_bench.simulation.catalogue import (
    CLOUDS,
    LANDSCAPES,
    PRESETS,
    SHIFT_LIMIT_M,
    SOILS,
    WATERS,
    CloudFamily,
    Landscape,
    Spectrum,
)
from planetcr_bench.simulation.noise import Draws, key_of

WINDOWS: Final = 12
"""Patches along one side of an AOI, which is 10.8 km wide; only some of them are used."""

AOI_PX: Final = WINDOWS * OPTICAL_SIZE

SAR_SIZE: Final = 90
"""Pixels along one side of a SAR or land-cover patch at 10 m (paper, Sec. 3.1)."""

SAR_RESOLUTION_M: Final = 10.0

TRAIN_AOIS: Final = 660
"""AOIs 1 … 660 are for training, 661 … 780 for testing (paper, Sec. 3.1)."""

TEST_AOIS: Final = 120

_GREENING: Final = dict(zip(SEASONS, (1.0, 1.1, 0.75, 0.6), strict=True))
_LEAF: Final = dict(zip(SEASONS, (0.9, 1.0, 0.8, 0.62), strict=True))
_SUN_DECLINATION_DEG: Final = dict(zip(SEASONS, (10.0, 20.0, -5.0, -19.0), strict=True))
"""Northern hemisphere; the signs change in the southern one, which has opposite seasons."""

_HOUR_ANGLE_DEG: Final = 30.0  # PlanetScope passes at about ten o'clock
_BLOCK_KM: Final = 11.5
_BLOCKS: Final = 28


@dataclass(frozen=True, slots=True)
class Site:
    """Location and sun of an AOI.

    Attributes:
        epsg: UTM zone on WGS 84.
        east: Easting of the upper left corner of the 10 m grid, a multiple of 10.
        north: Northing of that corner, a multiple of 10.
        sun_azimuth: Radians clockwise from north.
        sun_elevation: Radians above the horizon.
    """

    epsg: int
    east: int
    north: int
    sun_azimuth: float
    sun_elevation: float

    @property
    def optical_corner(self) -> tuple[int, int]:
        """East and north of the corner of the 3 m grid, snapped outwards as in the data."""
        return 3 * (self.east // 3), 3 * -(-self.north // 3)

    @property
    def coarse_offset_px(self) -> tuple[float, float]:
        """Offset of the 10 m grid down and right of the 3 m grid, in optical pixels."""
        east, north = self.optical_corner
        return (
            (north - self.north) / OPTICAL_RESOLUTION_M,
            (self.east - east) / OPTICAL_RESOLUTION_M,
        )

    @property
    def to_sun(self) -> tuple[float, float]:
        """Unit vector down and right on the image that points to the sun."""
        return -math.cos(self.sun_azimuth), math.sin(self.sun_azimuth)


@dataclass(frozen=True, slots=True)
class CropState:
    """Fields of one crop at one stage.

    Attributes:
        green: Share of the ground under green leaves.
        dry: Share under dry plants.
        soil_gain: Brightness of the soil between them.
        nir_gain: Near-infrared brightness of the leaves.
        flooded: Whether it stands in water.
        db: Backscatter that its structure adds to VV and VH.
    """

    green: float
    dry: float
    soil_gain: float
    nir_gain: float
    flooded: bool
    db: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """A river or a road across the AOI.

    Attributes:
        angle: Direction of its normal in radians.
        y: Row of a point on it.
        x: Column of a point on it.
        half_width: Pixels.
        bend: Amplitude of its bends, pixels.
        cell: Pixels between bends; rivers only.
        paved: Roads only.
        belt: Pixels of trees along it; rivers only.
    """

    angle: float
    y: float
    x: float
    half_width: float
    bend: float
    cell: float = 0.0
    paved: bool = False
    belt: float = 0.0


@dataclass(frozen=True)
class Place:
    """The parameters of one AOI; each is drawn by its name, so that none affects another.

    Attributes:
        seed: Of the whole dataset.
        number: 1 … 780.
        preset: Key of ``PRESETS``.
    """

    seed: int
    number: int
    preset: str = "standard"

    def key(self, stream: str) -> int:
        """Key of a random field of this AOI."""
        return key_of(self.seed, self.number, stream)

    @property
    def split(self) -> str:
        """``train`` or ``test``."""
        return "train" if self.number <= TRAIN_AOIS else "test"

    @property
    def draws(self) -> Draws:
        """Random numbers of this AOI."""
        return Draws(f"{self.seed}/{self.number}")

    def _card(self, what: str, cards: list[str]) -> str:
        """Draw without replacement from a deck, so that even a few AOIs have every kind."""
        round_, position = divmod((self.number - 1) % TRAIN_AOIS, len(cards))
        return Draws(f"{self.seed}/{self.split}/{what}/{round_}").shuffled("deck", cards)[position]

    @cached_property
    def landscape_name(self) -> str:
        """Key of ``LANDSCAPES``."""
        deck = [name for name, landscape in LANDSCAPES.items() for _ in range(landscape.cards)]
        return self._card("landscape", deck)

    @property
    def landscape(self) -> Landscape:
        """Landscape of the AOI."""
        return LANDSCAPES[self.landscape_name]

    @cached_property
    def season(self) -> str:
        """Season of both dates; all are equally frequent."""
        return self._card("season", list(SEASONS))

    @property
    def name(self) -> str:
        """``<season>_<number>``."""
        return f"{self.season}_{self.number}"

    # --- Where ------------------------------------------------------------------------------

    @cached_property
    def site(self) -> Site:
        """A place on Earth with such a landscape, away from every other AOI."""
        regions = self.landscape.regions
        longitude, latitude = regions[int(self.draws.uniform("region") * len(regions))]
        block_row, block_column = divmod(self.number - 1, _BLOCKS)
        up = (block_row - _BLOCKS / 2) * _BLOCK_KM + self.draws.uniform("up", 0, 0.6)
        right = (block_column - _BLOCKS / 2) * _BLOCK_KM + self.draws.uniform("right", 0, 0.6)
        latitude += up / 110.6
        longitude += right / (111.3 * math.cos(math.radians(latitude)))
        zone = int((longitude + 180) // 6) + 1
        beyond = math.radians(longitude - (6 * zone - 183)) * math.cos(math.radians(latitude))
        north = 0.9996 * _meridian_m(latitude)
        azimuth, elevation = _sun(latitude, self.season)
        south = latitude < 0.15  # an AOI across the equator counts as southern: no negative north
        return Site(
            epsg=(32700 if south else 32600) + zone,
            east=int(500_000 + 0.9996 * 6_378_000 * beyond) // 10 * 10,
            north=int(north + (1e7 if south else 0)) // 10 * 10,
            sun_azimuth=azimuth,
            sun_elevation=elevation,
        )

    # --- Ground -----------------------------------------------------------------------------

    @cached_property
    def shares(self) -> NDArray[np.float64]:
        """Shares of crop, range, forest, town, bare land and water; they sum to one."""
        spread = np.exp(self.draws.normals("shares", 6, 0.6))
        parts = np.array(self.landscape.shares) * spread
        return np.asarray(parts / parts.sum())

    @cached_property
    def greenness(self) -> float:
        """Plant cover of open land, 0 to 1."""
        spring = self.draws.uniform("greenness", *self.landscape.greenness)
        return min(max(spring * _GREENING[self.season], 0.04), 0.98)

    @cached_property
    def soil(self) -> Spectrum:
        """Reflectance of the soil."""
        soils = self.landscape.soils
        kind = soils[int(self.draws.uniform("soil") * len(soils))]
        gain = np.exp(self.draws.normal("soil gain", 0, 0.12) + self.draws.normals("tint", 4, 0.06))
        return np.asarray(SOILS[kind] * gain, np.float32)

    @cached_property
    def crops(self) -> list[CropState]:
        """Four to seven kinds of fields."""
        return [self._crop(f"crop/{i}") for i in range(4 + int(self.draws.uniform("crops") * 4))]

    def _crop(self, what: str) -> CropState:
        draws = Draws(f"{self.draws.name}/{what}")
        green = min(1.5 * self.greenness * _arched(draws.uniform("green"), 0.7, 0.7), 0.97)
        wet = 0.25 if self.landscape_name == "smallholder" else 0.03
        structure = draws.normal("structure")
        tall = 2.0 if green > 0.6 and draws.happens("tall", 0.5) else 0.0
        return CropState(
            green=green,
            dry=0.8 * (1 - green) * _arched(draws.uniform("dry"), 0.6, 1.6),
            soil_gain=math.exp(draws.normal("soil", 0, 0.16)),
            nir_gain=math.exp(draws.normal("nir", 0, 0.10)),
            flooded=draws.happens("flood", wet) and green < 0.45,
            db=(1.8 * structure - tall, 1.3 * structure + 0.8 * draws.normal("vh")),
        )

    @cached_property
    def parcel_px(self) -> tuple[float, float]:
        """Width and length of parcels."""
        width = self.draws.log_uniform("parcel", *self.landscape.parcel_px)
        return width, width * self.draws.log_uniform("aspect", *self.landscape.aspect)

    @cached_property
    def parcel_angle(self) -> float:
        """Direction of the parcels in radians."""
        return self.draws.uniform("parcel angle", 0, math.pi)

    @cached_property
    def street_angle(self) -> float:
        """Direction of the streets in radians; most towns are nearly aligned with north."""
        along = self.draws.happens("compass", 0.7)
        return self.draws.uniform("streets", -0.5, 0.5 if along else math.pi - 0.5)

    @cached_property
    def leaf(self) -> float:
        """Leaves on the trees, 0 to 1."""
        dry = 0.65 if self.landscape_name in ("savanna", "arid") else 1.0
        return min(max(_LEAF[self.season] * dry * self.draws.uniform("leaf", 0.8, 1.1), 0.3), 1.0)

    @cached_property
    def tree_kind(self) -> str:
        """Key of ``LEAVES``."""
        conifer = self.landscape_name == "forest" and self.draws.happens("conifer", 0.35)
        return "conifer" if conifer else "broadleaf"

    @cached_property
    def water(self) -> Spectrum:
        """Reflectance of open water."""
        kind = self.draws.one_of("water", {"clear": 0.4, "green": 0.3, "turbid": 0.3})
        gain = np.exp(self.draws.normal("water", 0, 0.25) + self.draws.normals("water/", 4, 0.05))
        return np.asarray(WATERS[kind] * gain, np.float32)

    @cached_property
    def rivers(self) -> list[Line]:
        """Rivers; one across the AOI touches about a tenth of its patches."""
        count = round(10 * self.landscape.rivers * self.draws.uniform("rivers", 0.4, 1.6))
        return [self._river(Draws(f"{self.draws.name}/river/{i}")) for i in range(count)]

    @staticmethod
    def _river(draws: Draws) -> Line:
        return Line(
            angle=draws.uniform("angle", 0, math.pi),
            y=draws.uniform("y", 0, AOI_PX),
            x=draws.uniform("x", 0, AOI_PX),
            half_width=draws.log_uniform("width", 1.2, 11),
            bend=draws.uniform("bend", 10, 55),
            cell=draws.uniform("cell", 90, 200),
            belt=draws.uniform("belt", 1, 9),
        )

    @cached_property
    def roads(self) -> list[Line]:
        """Roads, half of them along the parcels."""
        count = round(10 * self.landscape.roads * self.draws.uniform("roads", 0.6, 1.4))
        return [self._road(Draws(f"{self.draws.name}/road/{i}")) for i in range(count)]

    def _road(self, draws: Draws) -> Line:
        narrow = draws.happens("narrow", 0.6)
        along = self.parcel_angle + math.pi / 2 * int(draws.happens("across", 0.5))
        free = draws.happens("free", 0.5)
        return Line(
            angle=draws.uniform("angle", 0, math.pi) if free else along,
            y=draws.uniform("y", 0, AOI_PX),
            x=draws.uniform("x", 0, AOI_PX),
            half_width=draws.uniform("width", *((0.5, 1.0) if narrow else (1.2, 2.2))),
            bend=draws.uniform("bend", 0, 14),
            paved=not narrow,
        )

    @cached_property
    def relief(self) -> float:
        """Steepness: 0.1 shades slopes by some percent."""
        hilly = 1.6 if self.landscape_name in ("forest", "savanna") else 0.5
        return abs(self.draws.normal("relief", 0, 0.10)) * hilly

    @cached_property
    def tree_height_m(self) -> float:
        """Height of the trees."""
        low = 0.6 if self.landscape_name in ("savanna", "arid") else 1.0
        return self.draws.uniform("tree height", 6, 22) * low

    @cached_property
    def building_height_m(self) -> float:
        """Height of the buildings."""
        tall = 2.0 if self.landscape.settlement == "city" else 1.0
        return self.draws.uniform("building height", 4, 12) * tall

    # --- Radar ------------------------------------------------------------------------------

    @cached_property
    def look(self) -> int:
        """+1 where the radar stands to the right of the image, −1 where to the left.

        High objects lean towards it (layover).
        """
        return 1 if self.draws.happens("look", 0.5) else -1

    @cached_property
    def cot_incidence(self) -> float:
        """Cotangent of the incidence angle: layover per height."""
        return 1 / math.tan(math.radians(self.draws.uniform("incidence", 31, 45)))

    @cached_property
    def sar_shift_m(self) -> tuple[float, float]:
        """Metres by which the SAR image is displaced up and left."""
        preset = PRESETS[self.preset]
        if preset.shift_m is None:
            down, right = self.draws.normals("shift", 2, preset.shift_std_m).tolist()
            return _limited(down, SHIFT_LIMIT_M), _limited(right, SHIFT_LIMIT_M)
        low, high = preset.shift_m
        signs = [-1 if self.draws.happens(f"sign/{i}", 0.5) else 1 for i in range(2)]
        sizes = [self.draws.uniform(f"shift/{i}", low, high) for i in range(2)]
        return signs[0] * sizes[0], signs[1] * sizes[1]

    @cached_property
    def parallax_px(self) -> float:
        """Displacement of SAR in columns per standard deviation of elevation.

        High ground appears nearer to the radar, so a column shows ground farther away from it.
        """
        return min(abs(self.draws.normal("parallax", 0, 1.0)), 2.0) * -self.look

    # --- Dates and sky ----------------------------------------------------------------------

    @cached_property
    def cloudy_to_sun(self) -> tuple[float, float]:
        """Unit vector down and right to the sun of the cloudy date, a few degrees away."""
        azimuth = self.site.sun_azimuth + math.radians(self.draws.normal("sun turn", 0, 6))
        return -math.cos(azimuth), math.sin(azimuth)

    @cached_property
    def clear_haze(self) -> float:
        """Path reflectance that remains in the clear image, in blue."""
        return max(0.0, self.draws.normal("clear haze", 0.003, 0.005))

    @cached_property
    def cloud_family_name(self) -> str:
        """Key of ``CLOUDS``."""
        return self.draws.one_of("cloud", {name: family.weight for name, family in CLOUDS.items()})

    @property
    def cloud_family(self) -> CloudFamily:
        """Appearance of its clouds."""
        return CLOUDS[self.cloud_family_name]


def _sun(latitude: float, season: str) -> tuple[float, float]:
    """Azimuth and elevation of the sun at about ten o'clock, in radians."""
    sign = -1 if latitude < 0 else 1
    phi, delta, hour = map(
        math.radians, (latitude, sign * _SUN_DECLINATION_DEG[season], -_HOUR_ANGLE_DEG)
    )
    sine = math.sin(phi) * math.sin(delta) + math.cos(phi) * math.cos(delta) * math.cos(hour)
    elevation = math.asin(sine)
    east = -math.cos(delta) * math.sin(hour)
    north = math.cos(phi) * math.sin(delta) - math.sin(phi) * math.cos(delta) * math.cos(hour)
    return math.atan2(east, north), max(elevation, math.radians(18))


def _meridian_m(latitude: float) -> float:
    """Metres from the equator along a meridian of WGS 84."""
    return 111_132.95 * latitude - 16_038.5 * math.sin(math.radians(2 * latitude))


def _arched(share: float, a: float, b: float) -> float:
    """Kumaraswamy (1980) number in (0, 1), similar to a beta number of the same parameters."""
    return float((1 - (1 - share) ** (1 / b)) ** (1 / a))


def _limited(value: float, limit: float) -> float:
    return min(max(value, -limit), limit)
