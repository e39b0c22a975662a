"""Describe a dataset: where its files lie, and what their pixels mean.

A description is a TOML file: one of the catalogue, or a user's own. docs/data.md lists its keys.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, ConfigDict, Field, field_validator, model_validator

from planetcr_bench.constants import CLUSTER_NAME, PRODUCTS, TRACK_NAME
from planetcr_bench.data.description_checks import faults_of
from planetcr_bench.data.encodings import (
    OPTICAL,
    SPLIT,
    CloudMask,
    LandCover,
    Metres,
    Name,
    Optical,
    Radar,
    Size,
)
from planetcr_bench.data.templates import (
    INTEGER,
    Template,
    Value,
    compile_template,
    field_names,
)
from planetcr_bench.data.variants import LIKE
from planetcr_bench.utils.validation import FileModel, shown

_FEW: Final = 100
"""Most texts of a field that a pattern lists."""


class Split(FileModel):
    """Which scenes belong to a split; all if nothing is said.

    Attributes:
        folder: What ``{split}`` stands for.
        file: List with a scene's name, or the name of one of its files, in any column of each line;
            beside the description or in the dataset's folder.
        first: Only lines of the list with this in their first column.
        field: Name of a field that decides.
        values: Its values in this split.
        clusters: The clusters of this split; where there is a ``file`` too, only without it.
    """

    folder: str | None = None
    file: str | None = None
    first: str | None = None
    field: str | None = None
    values: list[int | str] = Field(default_factory=list)
    clusters: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _check(self) -> Split:
        rules = [self.folder, self.field, self.file or self.clusters or None]
        if sum(rule is not None for rule in rules) > 1:
            raise ValueError("expected one of folder, file, field and clusters, got several")
        if (self.field is None) != (not self.values):
            raise ValueError("expected field and values together, got one of them")
        if self.first is not None and self.file is None:
            raise ValueError("expected first together with file, got it alone")
        return self


def _full() -> list[Literal["official", "full"]]:
    return ["full"]


def _as_splits(value: object) -> object:
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return {name: {"folder": name} for name in value}
    return value


class KnownScene(FileModel):
    """A published scene by which a copy of the dataset is recognised.

    Attributes:
        scene: Name.
        sha256: Of its decoded pixels; see ``fingerprint.scene_digest``.
    """

    scene: str
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Description(FileModel):
    """What a dataset is.

    Attributes:
        title: Its name in texts.
        layout: What messages call its layout.
        track: Name of the track of results on it; ``unnamed`` if it has none.
        citation: Of its paper.
        doi: Of its paper or its data.
        licence: Terms of use.
        homepage: Where it is had.
        sensor: Of the optical images.
        resolution: Of an optical pixel in metres; None if it is not known.
        bands: Names of the optical bands, in file order.
        picture: Three of them for red, green and blue of a picture.
        size: Height and width of the optical images, if all have one.
        resize: Share of its width that an image keeps when it is read, such as 0.5.
        protocols: Which apply.
        fields: Name of a field to ``int`` or a regular expression; others match any text.
        scene: Template of a scene's name; its fields identify the scene within a split, and across
            splits with ``{split}`` among them.
        cluster: Template of what groups scenes that are not independent; by default each is alone.
        cluster_name: What such a group is called, such as ``ROI``.
        splits: Name of a split to what belongs to it.
        known: Split to a published scene of it.
        optical: The clear and the cloudy image.
        sar: The SAR image, if there is one.
        land_cover: The land-cover map, if there is one.
        cloud_mask: The cloud mask, if there is one.
    """

    model_config = ConfigDict(title="a description of a dataset")

    title: str
    layout: str = ""
    track: str | None = None
    citation: str = ""
    doi: str = ""
    licence: str = ""
    homepage: str = ""
    sensor: str = ""
    resolution: Metres | None = None
    bands: Annotated[list[Name], Field(min_length=1)]
    picture: Annotated[list[Name], Field(min_length=3, max_length=3)] | None = None
    size: Size | None = None
    resize: Annotated[float, Field(gt=0, le=1)] = 1.0
    protocols: Annotated[list[Literal["official", "full"]], Field(min_length=1)] = Field(
        default_factory=_full
    )
    fields: dict[str, str] = Field(default_factory=dict)
    scene: str = ""
    cluster: str | None = None
    cluster_name: Annotated[str, Field(pattern=f"^{CLUSTER_NAME}$")] = "cluster"
    splits: Annotated[dict[str, Split], BeforeValidator(_as_splits)] = Field(
        default_factory=lambda: {"test": Split()}
    )
    known: dict[str, KnownScene] = Field(default_factory=dict)
    optical: Optical
    sar: Radar | None = None
    land_cover: LandCover | None = None
    cloud_mask: CloudMask | None = None

    def __reduce__(self) -> tuple[Callable[[str], Description], tuple[str]]:
        return _restored, (self.text,)  # thousands of scenes come home from workers: one object

    @cached_property
    def text(self) -> str:
        """Everything that it says, as JSON."""
        return self.model_dump_json(exclude_none=True)

    # --- Products -----------------------------------------------------------------------------

    @cached_property
    def products(self) -> tuple[str, ...]:
        """The products that it has, in the order of ``PRODUCTS``."""
        return tuple(product for product in PRODUCTS if self._encoding(product) is not None)

    def templates(self, product: str) -> tuple[Template, ...]:
        """Templates of the files of a product."""
        return tuple(compile_template(path, self._fields) for path in self.paths(product))

    @property
    def all_templates(self) -> list[tuple[str, Template]]:
        """Each product with each of its templates."""
        return [(product, each) for product in self.products for each in self.templates(product)]

    def paths(self, product: str) -> list[str]:
        """Templates of the files of a product, as they are written."""
        if product in OPTICAL:
            paths: list[str] = getattr(self.optical, product)
            return paths
        encoding = self._encoding(product)
        assert not isinstance(encoding, Optical | None)
        return encoding.path

    def dtypes(self, product: str) -> Sequence[str]:
        """Accepted data types of a product's files; any if empty."""
        encoding = self._encoding(product)
        return encoding.dtype if encoding is not None else ()

    def bands_of(self, product: str) -> list[str]:
        """Names of the bands of a product; one that has no bands has one without a name."""
        if product in OPTICAL:
            return self.bands
        return self.sar.bands if product == "sar" and self.sar is not None else [""]

    def size_of(self, product: str) -> tuple[int, int] | None:
        """Height and width of a product's files; None if they differ from scene to scene."""
        own = self._own_grid(product)
        return own.size if own is not None else self.size

    def read_size_of(self, product: str) -> tuple[int, int] | None:
        """Height and width of a product as it is read; None if they differ."""
        size = self.size_of(product)
        if size is None or self._own_grid(product) is not None:
            return size
        factor = round(1 / self.resize)
        return size[0] // factor, size[1] // factor

    def resolution_of(self, product: str) -> float | None:
        """Size of a product's pixel in metres; None if it is not known."""
        own = self._own_grid(product)
        resolution = own.resolution if own is not None else None
        return resolution or (self.resolution if own is None else None)

    @property
    def pixel_size(self) -> float | None:
        """Size of an optical pixel as it is read, in metres; None if it is not known."""
        return self.resolution / self.resize if self.resolution else None

    def read_resolution_of(self, product: str) -> float | None:
        """Size of a product's pixel as it is read, in metres; None if it is not known."""
        resolution = self.resolution_of(product)
        return self.pixel_size if self._own_grid(product) is None else resolution

    def has_own_grid(self, product: str) -> bool:
        """Whether a product has another grid than the optical images."""
        return self._own_grid(product) is not None

    def _own_grid(self, product: str) -> Radar | LandCover | None:
        """The product, if its grid is another than that of the optical images."""
        encoding = self._encoding(product)
        if isinstance(encoding, Radar | LandCover) and (encoding.size or encoding.resolution):
            return encoding
        return None

    def _encoding(self, product: str) -> Optical | Radar | LandCover | CloudMask | None:
        return {
            "clear": self.optical, "cloudy": self.optical, "sar": self.sar,
            "land_cover": self.land_cover, "cloud_mask": self.cloud_mask,
        }[product]  # fmt: skip

    # --- Names --------------------------------------------------------------------------------

    @cached_property
    def _fields(self) -> tuple[tuple[str, str], ...]:
        return tuple(self.fields.items())

    @cached_property
    def scene_template(self) -> str:
        """Template of a scene's name; by default the fields of the clear image, joined."""
        names = [name for name in field_names(self.optical.clear[0]) if name != SPLIT]
        return self.scene or "_".join(f"{{{name}}}" for name in names)

    @property
    def scene_fields(self) -> tuple[str, ...]:
        """Fields that identify a scene within a split, in the order of their values."""
        return field_names(self.scene_template)

    @cached_property
    def own_fields(self) -> dict[str, tuple[str, ...]]:
        """Product to the fields that do not identify its scene, such as dates; most have none."""
        common = {*self.scene_fields, SPLIT}
        names = {
            product: tuple(n for n in field_names(self.paths(product)[0]) if n not in common)
            for product in self.products
        }
        return {product: own for product, own in names.items() if own}

    @cached_property
    def file_starts(self) -> tuple[str, ...]:
        """What stands before the scene's name in the names of files, such as ``S1_``."""
        stems = (template.parts[-1].rpartition(".")[0] for _, template in self.all_templates)
        starts = (
            stem.removesuffix(self.scene_template)
            for stem in stems
            if stem.endswith(self.scene_template)
        )
        return tuple(start for start in starts if start and "{" not in start)

    def scene_pattern(self, values: Iterable[tuple[Value, ...]]) -> re.Pattern[str]:
        """Pattern of the names of scenes, with the texts that occur where they are few.

        Args:
            values: Of the fields of scenes.
        """
        fields = dict(self.fields)
        for name, column in zip(self.scene_fields, zip(*values, strict=True), strict=False):
            texts = sorted({value for value in column if isinstance(value, str)}, key=len)
            if 0 < len(texts) <= _FEW:
                fields[name] = "|".join(map(re.escape, reversed(texts)))
        return compile_template(self.scene_template, tuple(fields.items())).pattern(0, {})

    @property
    def has_dates(self) -> bool:
        """Whether a scene has several cloudy images."""
        return "cloudy" in self.own_fields

    def values_of(self, scene: str) -> tuple[Value, ...] | None:
        """Values of the fields in a scene's name; None if it is not the name of one."""
        values = compile_template(self.scene_template, self._fields).match(scene, {})
        return None if values is None else tuple(values[name] for name in self.scene_fields)

    def is_cluster(self, name: str) -> bool:
        """Whether a text can be the name of a cluster by its template."""
        if self.cluster is None:
            return False
        return compile_template(self.cluster, self._fields).match(name, {}) is not None

    def split_values(self, split: str) -> dict[str, Value]:
        """The field of a split's folder, if there is one."""
        return {SPLIT: self.splits[split].folder or split}

    @property
    def has_split_folders(self) -> bool:
        """Whether each split has a folder of its own."""
        return SPLIT in field_names(self.optical.clear[0])

    def is_optional(self, split: str) -> bool:
        """Whether a copy of the dataset may have no scene of a split: a rule decides, no folder."""
        rule = self.splits[split]
        return rule.field is not None or rule.file is not None or bool(rule.clusters)

    @property
    def layout_name(self) -> str:
        """What messages call the layout."""
        return self.layout or f"the layout of {self.title}"

    @cached_property
    def signature(self) -> str:
        """Digest of what it says of the values of pixels, on which scores depend: 12 digits."""
        apart = {"clear": True, "cloudy": True, "dtype": True}
        says = {
            "bands": self.bands,
            "resize": self.resize,
            "optical": self.optical.model_dump(exclude=apart),
            "codes": self.land_cover and self.land_cover.codes,
            "cloud": self.cloud_mask and self.cloud_mask.cloud,
        }
        return hashlib.sha256(json.dumps(says, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def picture_bands(self) -> list[str]:
        """The bands of a picture: as described, else red, green and blue, else the first ones."""
        usual = ["red", "green", "blue"]
        first = [*self.bands[:3], *[self.bands[-1]] * (3 - len(self.bands))]
        return self.picture or (usual if set(usual) <= set(self.bands) else first)

    # --- Checks -------------------------------------------------------------------------------

    @field_validator("track")
    @classmethod
    def _check_track(cls, track: str | None) -> str | None:
        return check_track(track)

    @field_validator("fields")
    @classmethod
    def _check_fields(cls, fields: dict[str, str]) -> dict[str, str]:
        for name, kind in fields.items():
            if name == SPLIT or field_names(f"{{{name}}}") != (name,):
                raise ValueError(f"expected names in lower case other than split, got {name!r}")
            try:
                re.compile(INTEGER if kind == INTEGER else f"(?P<{name}>{kind})")
            except re.error as error:
                raise ValueError(
                    f'{name}: expected "int" or a regular expression, got {kind!r} ({error})'
                ) from error
        return fields

    @model_validator(mode="after")
    def _check(self) -> Description:
        fault = next(faults_of(self), "")
        if fault:
            raise ValueError(fault)
        return self


@lru_cache(maxsize=64)
def _restored(text: str) -> Description:
    """The description of a text, one object for each."""
    return Description.model_validate(json.loads(text))


def check_track(track: str | None) -> str | None:
    """Refuse a name of a track that is not plain.

    Raises:
        ValueError: It is not in lower case, or too long.
    """
    if track is not None and not re.fullmatch(TRACK_NAME, track):
        raise ValueError(f"expected a name in lower case, such as our-pairs, got {shown(track)}")
    return track


def is_description(content: Mapping[str, Any]) -> bool:
    """Whether the content of a TOML file has keys of a description."""
    keys = {LIKE, *Description.model_fields} - {"track"}
    return not content.keys().isdisjoint(keys)
