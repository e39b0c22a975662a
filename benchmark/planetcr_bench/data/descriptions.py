"""Find the description of a dataset: in the catalogue, in a user's file, or in its folder."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import tomli_w

from planetcr_bench.constants import PLANET_CR
from planetcr_bench.data.description import Description, Split
from planetcr_bench.data.metadata import METADATA, read_metadata
from planetcr_bench.data.pairs import describe_pairs
from planetcr_bench.data.variants import CATALOGUE, catalogue, completed
from planetcr_bench.errors import DatasetError
from planetcr_bench.utils.untrusted import printable, read_toml
from planetcr_bench.utils.validation import validate


def load_description(dataset: str | Path) -> Description:
    """Read the description of a dataset.

    Args:
        dataset: A name in the catalogue, or a TOML file.

    Raises:
        DatasetError: There is no such name and no such file, or the file is no description.
    """
    name = str(dataset)
    if name in catalogue():
        return _built_in(name)
    if not name.endswith(".toml"):
        raise DatasetError(
            f"expected a dataset of the catalogue ({', '.join(catalogue())}) or a TOML file that "
            f"describes one, got {printable(name)!r}"
        )
    return _read(Path(dataset))


@lru_cache
def _built_in(name: str) -> Description:
    return _read(CATALOGUE / f"{name}.toml")


def _read(path: Path) -> Description:
    content = completed(read_toml(path, error=DatasetError), path)
    described = validate(Description, content, str(path), error=DatasetError)
    return described.model_copy(update={"splits": _with_lists(described.splits, path.parent)})


def _with_lists(splits: dict[str, Split], folder: Path) -> dict[str, Split]:
    """Splits whose lists that lie beside the description are found from everywhere."""
    lists = {name: folder.resolve() / split.file for name, split in splits.items() if split.file}
    return {
        name: split.model_copy(update={"file": str(lists[name])})
        if name in lists and lists[name].exists()
        else split
        for name, split in splits.items()
    }


def is_built_in(described: Description) -> bool:
    """Whether a description is one of the catalogue."""
    return any(load_description(name) == described for name in catalogue())


def to_text(described: Description) -> str:
    """A description as TOML for others: complete, and without folders of this machine."""
    content = described.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
    for split in content.get("splits", {}).values():
        if "file" in split:  # which was made absolute where it lies beside the description
            split["file"] = Path(split["file"]).name
    return tomli_w.dumps(content)


def describe(data: Path, dataset: str | Path | None = None) -> Description:
    """Find the description of the dataset in a folder.

    Args:
        data: Folder of the dataset.
        dataset: A name in the catalogue or a TOML file; by default what ``dataset.toml`` in the
            folder says, else pairs of images in ``cloudy/`` and ``clear/``, else Planet-CR.

    Raises:
        DatasetError: ``dataset.toml`` or the description cannot be read.
    """
    if dataset is not None:
        return load_description(dataset)
    metadata = read_metadata(data)
    if metadata.description is not None:
        return metadata.description
    if metadata.dataset is not None:
        return _named_beside(data, metadata.dataset)
    planet_cr = load_description(PLANET_CR)
    return describe_pairs(data, planet_cr) or planet_cr


def _named_beside(data: Path, dataset: str) -> Description:
    """The description that ``dataset.toml`` names; a file lies in the same folder."""
    if dataset in catalogue():
        return load_description(dataset)
    if dataset.endswith(".toml") and (data / dataset).name != METADATA:
        return load_description(data / dataset)
    raise DatasetError(
        f"{data / METADATA}: dataset: expected a name of the catalogue "
        f"({', '.join(catalogue())}) or another TOML file, got {dataset!r}"
    )
