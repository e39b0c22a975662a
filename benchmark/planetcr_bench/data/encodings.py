"""Describe the products of a dataset: their files, and what the stored values mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, model_validator

from planetcr_bench.constants import BAND_NAME, LAND_COVER_NAMES
from planetcr_bench.data.mask_rules import rule_fault
from planetcr_bench.utils.validation import FileModel, shown

KINDS: Final = {
    ".tif": "GTiff", ".tiff": "GTiff", ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG",
    ".npy": "npy",
}  # fmt: skip
"""Extension of a file to GDAL's driver of its format; arrays have none."""

SPLIT: Final = "split"
"""Field for the folder of a split."""

OPTICAL: Final = ("clear", "cloudy")
"""Products of the optical sensor."""


def as_list(value: object) -> object:
    """A list of one for a value that may be given alone."""
    return value if isinstance(value, list) else [value]


def _as_size(value: object) -> object:
    sides = value if isinstance(value, list) else [value, value]
    return tuple(sides) if len(sides) == 2 else value


def _as_pair(value: object) -> object:
    return tuple(value) if isinstance(value, list) and len(value) == 2 else value


Dtype = Literal["bool", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"]
Dtypes = Annotated[list[Dtype], BeforeValidator(as_list)]
Paths = Annotated[list[str], BeforeValidator(as_list), Field(min_length=1)]
FileBands = Annotated[list[Annotated[int, Field(ge=1, le=1000)]], Field(min_length=1)]
Side = Annotated[int, Field(ge=8, le=10_000)]
Size = Annotated[tuple[Side, Side], BeforeValidator(_as_size)]
Pair = Annotated[tuple[float, float], BeforeValidator(_as_pair)]
Metres = Annotated[float, Field(gt=0)]
Name = Annotated[str, Field(pattern=f"^{BAND_NAME}$")]


@dataclass(frozen=True, slots=True)
class Scaling:
    """How stored values become reflectance: (value clipped to the limits + offset) / scale.

    Attributes:
        scale: Value that stands for reflectance 1, from the offset on.
        offset: Added to stored values.
        limits: Smallest and largest stored value that counts.
    """

    scale: float
    offset: float
    limits: tuple[float, float]


class Optical(FileModel):
    """The two optical images of a scene, which share one grid and one encoding.

    Reflectance is (stored value clipped to ``clip`` + ``offset``) / ``scale``.

    Attributes:
        clear: Template of its path; several files are put together in this order.
        cloudy: Likewise. A field that only this one has counts dates.
        dates: How many cloudy images each scene has; any number if it is not said.
        file_bands: For each of these files, the numbers of its bands that are read, from 1 on; all
            bands of each file if empty.
        dtype: Accepted data types; any if empty.
        scale: Value that stands for reflectance 1, from the offset on.
        offset: Added to stored values.
        clip: Stored values outside are clipped; by default those outside reflectance [0, 1].
        nodata: Stored value of pixels without data, which are read as reflectance 0.
    """

    clear: Paths
    cloudy: Paths
    dates: Annotated[int, Field(ge=1)] | None = None
    file_bands: list[FileBands] = Field(default_factory=list)
    dtype: Dtypes = Field(default_factory=list)
    scale: Annotated[float, Field(gt=0)] = 1.0
    offset: float = 0.0
    clip: Pair | None = None
    nodata: float | None = None

    @property
    def scaling(self) -> Scaling:
        """How stored values become reflectance."""
        limits = self.clip or (0.0 - self.offset, self.scale - self.offset)
        return Scaling(self.scale, self.offset, limits)

    @model_validator(mode="after")
    def _check(self) -> Optical:
        low, high = self.scaling.limits
        if not low < high:
            raise ValueError(f"expected clip = [low, high], got {shown([low, high])}")
        counts = {len(self.clear), len(self.cloudy), len(self.file_bands)}
        if self.file_bands and len(counts) > 1:
            raise ValueError(
                "expected file_bands with one list for each file of clear and of cloudy, got "
                f"{len(self.file_bands)} for {len(self.clear)} and {len(self.cloudy)} files"
            )
        return self


class Radar(FileModel):
    """The SAR image.

    Attributes:
        path: Template of its path; several files are put together in this order.
        dtype: Accepted data types; any if empty.
        bands: Their names, in file order.
        unit: ``dB``, or ``power`` (linear).
        range: In dB, of each band: where the values for networks are 0 and 1.
        size: Height and width in pixels, where it has another grid than the optical images.
        resolution: Of a pixel in metres, likewise.
    """

    path: Paths
    dtype: Dtypes = Field(default_factory=list)
    bands: Annotated[list[Name], Field(min_length=1)] = Field(default_factory=lambda: ["vv", "vh"])
    unit: Literal["dB", "power"] = "dB"
    range: list[Pair]
    size: Size | None = None
    resolution: Metres | None = None

    @model_validator(mode="after")
    def _check(self) -> Radar:
        if len(self.range) != len(self.bands) or any(low >= high for low, high in self.range):
            raise ValueError(
                f"expected range = one [low, high] in dB for each of {', '.join(self.bands)}, got "
                f"{shown(self.range)}"
            )
        return self


LEGEND: Final = "land-cover"
"""Product of land cover that has no name."""

Byte = Literal["uint8"]


def _bytes() -> list[Byte]:
    return ["uint8"]


class LandCover(FileModel):
    """The land-cover map.

    Attributes:
        path: Template of its path.
        legend: Name of the product that the codes are of, for messages.
        codes: Class to its codes in the file.
        nodata: Code of pixels without data; one of ``unknown``.
        dtype: Accepted data types.
        size: Height and width in pixels, where it has another grid than the optical images.
        resolution: Of a pixel in metres, likewise.
    """

    path: Annotated[list[str], BeforeValidator(as_list), Field(min_length=1, max_length=1)]
    legend: str = LEGEND
    codes: dict[str, list[Annotated[int, Field(ge=0, le=255)]]]
    nodata: Annotated[int, Field(ge=0, le=255)] = 0
    dtype: Annotated[list[Byte], BeforeValidator(as_list)] = Field(default_factory=_bytes)
    size: Size | None = None
    resolution: Metres | None = None

    @property
    def classes(self) -> tuple[tuple[int, int], ...]:
        """Pairs of a code and the index of its class in ``LAND_COVER_NAMES``."""
        return tuple(
            (code, LAND_COVER_NAMES.index(name))
            for name, codes in self.codes.items()
            for code in codes
        )

    @model_validator(mode="after")
    def _check(self) -> LandCover:
        unknown = [name for name in self.codes if name not in LAND_COVER_NAMES]
        if unknown:
            expected = ", ".join(LAND_COVER_NAMES)
            raise ValueError(f"codes: expected classes of {expected}, got {shown(unknown[0])}")
        codes = [code for codes in self.codes.values() for code in codes]
        twice = sorted({code for code in codes if codes.count(code) > 1})
        if twice:
            raise ValueError(f"codes: expected each code once, got {twice[0]} twice")
        return self


class CloudMask(FileModel):
    """The mask of clouds, on the grid of the optical images.

    Attributes:
        path: Template of its path.
        cloud: Values that mean cloud, in any band, and colours, such as ``[255, 255, 255]``, one
            value for each band; by default all but 0.
        rule: In place of ``cloud``: see ``mask_rules``.
        dtype: Accepted data types; any if empty.
    """

    path: Annotated[list[str], BeforeValidator(as_list), Field(min_length=1, max_length=1)]
    cloud: list[int | list[int]] = Field(default_factory=list)
    rule: str = ""
    dtype: Dtypes = Field(default_factory=list)

    @model_validator(mode="after")
    def _check(self) -> CloudMask:
        if fault := rule_fault(self.rule):
            raise ValueError(f"rule: {fault}")
        if self.rule and self.cloud:
            raise ValueError("expected cloud or rule, got both")
        return self
