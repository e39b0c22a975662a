"""Identify a scene and name its files."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from planetcr_bench.data.description import Description
from planetcr_bench.data.templates import Value, existing

CLOUD_MASK: Final = "cloud_mask"
"""Product that may be from elsewhere."""


@dataclass(frozen=True, slots=True)
class MaskFile:
    """The mask of a scene from elsewhere, in place of the dataset's own.

    Attributes:
        paths: Of its file; or of one file for each date.
        rule: Which bands and values mean cloud; see ``mask_rules``.
    """

    paths: tuple[str, ...]
    rule: str


@dataclass(frozen=True, slots=True, order=True)
class SceneFiles:
    """Identity of one scene and the paths of its files, without pixels.

    Sorts by the values of its fields, such as season, AOI and patch number.

    Attributes:
        values: Of ``description.scene_fields``.
        folder: Of the dataset.
        split: Its split.
        description: Of the dataset.
        found: Product to the paths of its files within the folder, where the scene's fields do not
            determine them: one for each date.
        mask: From elsewhere, in place of the dataset's own; see ``masks.with_masks``.
    """

    values: tuple[Value, ...]
    folder: str
    split: str
    description: Description = field(compare=False, repr=False)
    found: tuple[tuple[str, tuple[str, ...]], ...] = field(default=(), compare=False, repr=False)
    mask: MaskFile | None = field(default=None, compare=False, repr=False)

    @property
    def fields(self) -> dict[str, Value]:
        """Fields by name, with that of the split's folder."""
        names = self.description.scene_fields
        own = dict(zip(names, self.values, strict=True))
        return own | self.description.split_values(self.split)

    @property
    def name(self) -> str:
        """Name of the scene, such as ``summer_33_p_1``."""
        return self.description.scene_template.format_map(self.fields)

    @property
    def aoi(self) -> str:
        """What groups scenes that are not independent, such as the AOI ``summer_33``."""
        cluster = self.description.cluster
        return self.name if cluster is None else cluster.format_map(self.fields)

    @property
    def season(self) -> str:
        """Field of this name; empty if the dataset has none."""
        return str(self.fields.get("season", ""))

    @property
    def patch(self) -> int:
        """Field of this name; 0 if the dataset has no such number."""
        patch = self.fields.get("patch", 0)
        return patch if isinstance(patch, int) else 0

    @property
    def products(self) -> tuple[str, ...]:
        """The products that it has, in the order of ``PRODUCTS``."""
        own = self.description.products
        return own if self.mask is None else (*(p for p in own if p != CLOUD_MASK), CLOUD_MASK)

    @property
    def own(self) -> SceneFiles:
        """The scene as the dataset has it, without a mask from elsewhere."""
        return replace(self, mask=None)

    @property
    def folders(self) -> list[Path]:
        """Folders that its files lie in, at any depth."""
        masks = () if self.mask is None else self.mask.paths
        return [Path(self.split_folder), *(Path(path).parent for path in masks)]

    @property
    def split_folder(self) -> str:
        """Folder that holds the scenes of its split."""
        return str(split_folder(Path(self.folder), self.split, self.description))

    def path(self, product: str) -> Path:
        """The product's file, the first if there are several; see :meth:`paths`."""
        return self.paths(product)[0][0]

    def paths(self, product: str) -> list[list[Path]]:
        """Files of one product: dates, and for each date the files that are put together.

        Their extensions are in any case; the usual name stands for a file that does not exist.
        """
        if product == CLOUD_MASK and self.mask is not None:
            return [[Path(path)] for path in self.mask.paths]
        templates = self.description.templates(product)
        for name, relative in self.found:
            if name == product:
                files = [Path(self.folder, path) for path in relative]
                starts = range(0, len(files), len(templates))
                return [files[start : start + len(templates)] for start in starts]
        values = self.fields | dict.fromkeys(self.description.own_fields.get(product, ()), "…")
        return [[existing(Path(self.folder, template.format(values))) for template in templates]]

    @property
    def dates(self) -> str:
        """What tells the cloudy images of the scene apart, such as ``t = 0, 1, 2``; else empty."""
        names = self.description.own_fields.get("cloudy", ())
        columns = zip(*self._date_values, strict=True)
        return "; ".join(
            f"{name} = {', '.join(column)}" for name, column in zip(names, columns, strict=True)
        )

    @property
    def date_names(self) -> list[str]:
        """Name of each of its dates, such as ``T12TUR_R027_0_2``; none if it has no dates."""
        return ["_".join([self.name, *values]) for values in self._date_values]

    @property
    def _date_values(self) -> list[list[str]]:
        """Fields that tell each of its cloudy images from the others."""
        names = self.description.own_fields.get("cloudy", ())
        template = self.description.templates("cloudy")[0]
        files = [paths[0].relative_to(self.folder) for paths in self.paths("cloudy") if names]
        values = [template.match(file.as_posix(), self.fields) or {} for file in files]
        return [[str(each.get(name, "")) for name in names] for each in values]

    @property
    def date_fault(self) -> str:
        """Explain that the scene has another number of cloudy images than described, or nothing."""
        expected = self.description.optical.dates
        dates = self.paths("cloudy") if expected is not None else []
        if len(dates) == (expected or 0):
            return ""
        return f"{dates[0][0]}: expected {expected} cloudy images of the scene, got {len(dates)}"


def split_folder(data: Path, split: str, description: Description) -> Path:
    """Folder that holds the scenes of a split: the dataset's if splits have none."""
    first = description.templates("clear")[0].parts[0]
    return data / str(description.split_values(split)["split"]) if first == "{split}" else data
