"""Define the simulated world: spectra, backscatter, landscapes, cloud types, presets.

Spectra are surface reflectance of blue, green, red and near-infrared (PlanetScope, about 490, 565,
665 and 865 nm); backscatter is sigma nought of VV and VH in dB. They are typical values of these
targets, checked against statistics of the two public samples of Planet-CR and of a few other
scenes; nothing is fitted pixel by pixel. docs/simulation.md shows how well they agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Spectrum = NDArray[np.float32]


def _vector(*values: float) -> Spectrum:
    return np.array(values, np.float32)


# --- Reflectance ----------------------------------------------------------------------------

CROP, GRASS, SHRUB, BARE = range(4)
"""Kinds of open land, in the order of all tables of four below."""

GREEN_PLANTS: Final = np.array(
    [
        (0.024, 0.060, 0.030, 0.440),  # crop
        (0.034, 0.072, 0.050, 0.340),  # grass
        (0.028, 0.052, 0.046, 0.260),  # shrub
        (0.034, 0.072, 0.050, 0.340),  # the few plants of bare land
    ],
    np.float32,
)
LEAVES: Final = {
    "broadleaf": _vector(0.021, 0.045, 0.030, 0.310),
    "conifer": _vector(0.020, 0.036, 0.026, 0.215),
}
DRY_PLANTS: Final = _vector(0.058, 0.094, 0.130, 0.265)
TWIGS: Final = _vector(0.036, 0.060, 0.078, 0.185)
SOILS: Final = {
    "dark": _vector(0.040, 0.058, 0.076, 0.125),
    "brown": _vector(0.058, 0.092, 0.122, 0.195),
    "red": _vector(0.034, 0.062, 0.120, 0.205),
    "pale": _vector(0.095, 0.145, 0.190, 0.270),
    "sand": _vector(0.120, 0.180, 0.245, 0.330),
    "grey": _vector(0.085, 0.105, 0.120, 0.160),
}
ASPHALT: Final = _vector(0.080, 0.090, 0.096, 0.120)
CONCRETE: Final = _vector(0.150, 0.170, 0.185, 0.225)
WATERS: Final = {
    "clear": _vector(0.020, 0.024, 0.014, 0.008),
    "green": _vector(0.028, 0.052, 0.034, 0.024),
    "turbid": _vector(0.055, 0.085, 0.085, 0.045),
}
ROOFS: Final = np.array(
    [
        (0.270, 0.280, 0.285, 0.300),  # metal
        (0.070, 0.095, 0.165, 0.225),  # tile
        (0.135, 0.145, 0.150, 0.175),  # grey
        (0.060, 0.065, 0.070, 0.095),  # dark
        (0.420, 0.440, 0.445, 0.455),  # white
        (0.150, 0.135, 0.100, 0.170),  # blue
        (0.100, 0.125, 0.150, 0.190),  # brown
    ],
    np.float32,
)
ROOF_SHARES: Final = {
    "city": (0.16, 0.10, 0.34, 0.18, 0.09, 0.03, 0.10),
    "village": (0.28, 0.24, 0.20, 0.08, 0.04, 0.04, 0.12),
}

# --- Backscatter ----------------------------------------------------------------------------

GROUND_DB: Final = np.array(
    [(-10.6, -20.2), (-13.4, -21.8), (-12.6, -20.2), (-12.8, -22.5)], np.float32
)
"""Open land without plants."""

CANOPY_DB: Final = np.array(
    [(-10.2, -15.6), (-11.8, -18.2), (-10.8, -16.6), (-11.8, -18.5)], np.float32
)
"""Open land under full cover of plants."""

TWIGS_DB: Final = _vector(-10.6, -17.2)
LEAVES_DB: Final = _vector(-8.4, -14.0)
STREET_DB: Final = _vector(-12.5, -21.5)
YARD_DB: Final = _vector(-10.5, -18.5)
PAVED_DB: Final = _vector(-14.0, -23.0)
WATER_DB: Final = _vector(-20.5, -28.0)
BEACH_DB: Final = _vector(-13.5, -22.0)
WETLAND_DB: Final = _vector(-12.0, -18.5)
BRIDGE_DB: Final = _vector(-8.0, -16.0)
BUILDING_DB: Final = _vector(-5.8, -13.2)
"""Backscatter that an average building adds to the ground."""

NOISE_DB: Final = _vector(-27.0, -28.5)
"""Noise that remains after thermal noise removal."""

LOOKS: Final = (6, 4)
"""Looks of VV and VH: their speckle as measured in the samples (equivalent numbers 5.8 and 4.4)."""

# --- Landscapes -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Landscape:
    """Landscape of an AOI; ranges are of log-uniform draws.

    Attributes:
        cards: AOIs of this kind in every sixteen, so that classes come out balanced.
        shares: Expected shares of crop, range, forest, town, bare land and water.
        parcel_px: Width of a parcel.
        aspect: Length of a parcel over its width.
        warp_px: Amplitude of the distortion of parcel borders.
        soils: Kinds of soil.
        greenness: Range of plant cover of open land in spring.
        trees: Trees on open land.
        rivers: Expected rivers across a patch.
        roads: Expected roads across a patch.
        hedges: Probability that parcels have hedges.
        settlement: ``city`` or ``village``.
        regions: Longitudes and latitudes where it is found.
    """

    cards: int
    shares: tuple[float, float, float, float, float, float]
    parcel_px: tuple[float, float]
    aspect: tuple[float, float]
    warp_px: float
    soils: tuple[str, ...]
    greenness: tuple[float, float]
    trees: float
    rivers: float
    roads: float
    hedges: float
    settlement: str = "village"
    regions: tuple[tuple[float, float], ...]


LANDSCAPES: Final = {
    "cropland": Landscape(
        cards=2, shares=(0.70, 0.10, 0.12, 0.05, 0.01, 0.02), parcel_px=(28, 80),
        aspect=(0.4, 2.2), warp_px=2, soils=("brown", "dark", "pale"), greenness=(0.15, 0.75),
        trees=0.05, rivers=0.35, roads=0.9, hedges=0.45,
        regions=((-93, 42), (33, 49), (-61, -34), (2, 48.5), (142, -35)),
    ),
    "smallholder": Landscape(
        cards=1, shares=(0.60, 0.12, 0.18, 0.07, 0.01, 0.02), parcel_px=(9, 24),
        aspect=(0.35, 2.8), warp_px=6, soils=("brown", "red", "dark"), greenness=(0.15, 0.70),
        trees=0.15, rivers=0.45, roads=0.7, hedges=0.25,
        regions=((81, 26), (112, 30), (38, 9), (7.5, 11), (107, -7)),
    ),
    "savanna": Landscape(
        cards=2, shares=(0.10, 0.62, 0.22, 0.02, 0.03, 0.01), parcel_px=(20, 60),
        aspect=(0.5, 2), warp_px=10, soils=("red", "brown"), greenness=(0.10, 0.45),
        trees=0.30, rivers=0.45, roads=0.4, hedges=0.10,
        regions=((35, -3), (-47, -14), (27, -15), (-3, 11), (133, -15)),
    ),
    "forest": Landscape(
        cards=2, shares=(0.12, 0.12, 0.70, 0.02, 0.01, 0.03), parcel_px=(20, 70),
        aspect=(0.5, 2), warp_px=8, soils=("brown", "dark", "red"), greenness=(0.45, 0.95),
        trees=0.50, rivers=0.50, roads=0.5, hedges=0.30,
        regions=((-63, -4), (22, 1), (26, 52), (-79, 46), (102, 3)),
    ),
    "city": Landscape(
        cards=3, shares=(0.14, 0.10, 0.10, 0.59, 0.02, 0.05), parcel_px=(20, 60),
        aspect=(0.5, 2), warp_px=3, soils=("brown", "grey", "pale"), greenness=(0.25, 0.75),
        trees=0.25, rivers=0.35, roads=1.0, hedges=0.30, settlement="city",
        regions=((-97, 31), (10, 50.5), (77, 28), (116, 38), (-47, -23), (31, 29.5)),
    ),
    "arid": Landscape(
        cards=3, shares=(0.06, 0.28, 0.02, 0.03, 0.59, 0.02), parcel_px=(25, 80),
        aspect=(0.5, 2), warp_px=4, soils=("sand", "pale", "red", "grey"), greenness=(0.05, 0.35),
        trees=0.03, rivers=0.35, roads=0.5, hedges=0,
        regions=((45, 24), (-112, 33), (5, 29), (132, -27), (-69, -24), (61, 39)),
    ),
    "coast": Landscape(
        cards=3, shares=(0.17, 0.13, 0.13, 0.10, 0.05, 0.42), parcel_px=(12, 50),
        aspect=(0.4, 2.4), warp_px=5, soils=("pale", "brown", "grey"), greenness=(0.20, 0.80),
        trees=0.15, rivers=0.20, roads=0.6, hedges=0.20,
        regions=((5, 53), (-76, 37), (121, 32), (151, -33), (-9, 39), (80, 13)),
    ),
}  # fmt: skip

# --- Sky ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudFamily:
    """Appearance of one type of cloud; ranges are of log-uniform draws unless stated.

    Attributes:
        weight: Relative frequency.
        cell_px: Width of the widest features.
        beta: Slope of the power spectrum.
        thickness: Optical thickness one standard deviation above the edge.
        power: Growth of the thickness from the edge inwards.
        haze: Range of haze, a uniform draw of optical thickness in blue.
        casts_shadow: Whether its shadow is visible beside it.
    """

    weight: float
    cell_px: tuple[float, float]
    beta: float
    thickness: tuple[float, float]
    power: float
    haze: tuple[float, float]
    casts_shadow: bool


CLOUDS: Final = {
    "cumulus": CloudFamily(
        weight=0.34, cell_px=(34, 64), beta=3.2, thickness=(7, 20), power=1.25,
        haze=(0, 0.5), casts_shadow=True,
    ),
    "stratocumulus": CloudFamily(
        weight=0.24, cell_px=(54, 110), beta=3.2, thickness=(4, 14), power=1.25,
        haze=(0.2, 1.3), casts_shadow=True,
    ),
    "altostratus": CloudFamily(
        weight=0.18, cell_px=(100, 170), beta=3.3, thickness=(2.5, 9), power=1.25,
        haze=(0.5, 2.6), casts_shadow=False,
    ),
    "cirrus": CloudFamily(
        weight=0.12, cell_px=(60, 130), beta=3.2, thickness=(1, 4.5), power=1.25,
        haze=(0.1, 0.9), casts_shadow=False,
    ),
    "overcast": CloudFamily(
        weight=0.12, cell_px=(100, 170), beta=3.3, thickness=(6, 18), power=0.75,
        haze=(0.6, 3), casts_shadow=False,
    ),
}  # fmt: skip

BACKSCATTERED: Final = 0.075
"""Share of light that a droplet scatters back: half of 1 − 0.85, the asymmetry parameter."""

HAZE_COLOUR: Final = _vector(1.0, 0.83, 0.67, 0.48)
"""Optical thickness of haze relative to blue: wavelength to the power −1.3."""

DIFFUSE_SHARE: Final = _vector(0.45, 0.34, 0.27, 0.20)
"""Share of the light that reaches a deep shadow, from the sky."""

# --- Presets --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Displacement of SAR on the optical grid.

    Attributes:
        shift_m: Smallest and largest offset along each axis; None: normal, see ``shift_std_m``.
        shift_std_m: Standard deviation of the offset along each axis where no range is given.
    """

    shift_m: tuple[float, float] | None
    shift_std_m: float


SHIFT_LIMIT_M: Final = 12.0

PRESETS: Final = {
    "standard": Preset(shift_m=None, shift_std_m=4.0),
    "misaligned": Preset(shift_m=(25.0, 40.0), shift_std_m=0.0),
}
"""``standard`` has the offsets found in the two public samples (0 to 4 m per axis); ``misaligned``
has offsets large enough to test alignment, and is never mixed with it."""
