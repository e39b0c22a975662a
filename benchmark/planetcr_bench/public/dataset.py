"""Open a dataset: a sequence of scenes, and what PyTorch trains on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, overload

from planetcr_bench.data.description import Description
from planetcr_bench.data.layout import find_scenes
from planetcr_bench.data.reading import read_scene
from planetcr_bench.data.scene import Scene
from planetcr_bench.data.scene_files import SceneFiles
from planetcr_bench.errors import DatasetError
from planetcr_bench.evaluation.inputs import data_folder
from planetcr_bench.utils.extras import need_networks

if TYPE_CHECKING:
    from planetcr_bench.torch.scenes import TorchScenes


class SceneDataset(Sequence[Scene]):
    """The scenes of a split, each read when it is asked for; made by :func:`open_dataset`.

    A position, a name or a slice chooses scenes: ``scenes[0]``, ``scenes["summer_33_p_1"]``,
    ``scenes[:10]``.

    Attributes:
        path: Folder of the dataset.
        split: Name of the split.
        dataset: Name or file of its description, if one was given.
        files: The files of each scene.
        is_whole: Whether it has all scenes of the split.
    """

    def __init__(
        self,
        path: Path,
        split: str,
        dataset: str | Path | None,
        files: Sequence[SceneFiles],
        *,
        is_whole: bool = True,
    ) -> None:
        self.path, self.split, self.dataset, self.files = path, split, dataset, files
        self.is_whole = is_whole

    @property
    def description(self) -> Description:
        """What the dataset is: bands, products, resolution."""
        return self.files[0].description

    @cached_property
    def names(self) -> list[str]:
        """Name of each scene."""
        return [files.name for files in self.files]

    def __len__(self) -> int:
        return len(self.files)

    @overload
    def __getitem__(self, index: int | str) -> Scene: ...

    @overload
    def __getitem__(self, index: slice) -> SceneDataset: ...

    def __getitem__(self, index: int | str | slice) -> Scene | SceneDataset:
        if isinstance(index, slice):
            chosen = self.files[index]
            whole = self.is_whole and len(chosen) == len(self)
            return SceneDataset(self.path, self.split, self.dataset, chosen, is_whole=whole)
        if isinstance(index, str):
            if index not in self.names:
                raise DatasetError(
                    f"{self.path}: expected a scene of the split {self.split!r}, such as "
                    f"{self.names[0]}, got {index!r}"
                )
            index = self.names.index(index)
        return read_scene(self.files[index])

    def __iter__(self) -> Iterator[Scene]:
        return map(read_scene, self.files)

    def __repr__(self) -> str:
        title = self.description.title
        return f"<{len(self)} scenes of {title}, split {self.split!r}, in {self.path}>"

    def torch(
        self, crop: int | None = None, *, augment: bool = False, seed: int = 0
    ) -> TorchScenes:
        """The scenes as a map-style ``torch.utils.data.Dataset`` of dicts.

        Args:
            crop: Side of a random crop in optical pixels, such as 160: a multiple of what keeps
                optical and SAR pixels whole, 10 of Planet-CR; by default whole scenes.
            augment: Turn and flip at random.
            seed: Of crops and turns, which follow from seed, epoch and scene alone.

        Raises:
            MissingExtraError: PyTorch is not installed.
            ModelError: The crop is larger than the scenes, or off their grid.
        """
        need_networks()
        from planetcr_bench.torch.scenes import TorchScenes  # PyTorch is an extra

        return TorchScenes(self.files, crop=crop, augment=augment, seed=seed)


def open_dataset(
    path: str | Path | None = None,
    split: str = "test",
    dataset: str | Path | None = None,
    *,
    scene_list: str | Path | None = None,
) -> SceneDataset:
    """Open a dataset.

    Args:
        path: Its folder, of Planet-CR the one that holds ``train/`` and ``test/``; by default what
            the environment variable ``PLANETCR_DATA`` names.
        split: Name of the split.
        dataset: Name in the catalogue or TOML file of its description, if ``dataset.toml`` in the
            folder does not say it.
        scene_list: CSV list to take the scenes from.

    Raises:
        DatasetError: No such folder or split, or scenes without all their files.
    """
    folder = data_folder(None if path is None else Path(path))
    if not folder.is_dir():
        raise DatasetError(f"{folder}: expected the folder of a dataset, found no such folder")
    listed = None if scene_list is None else Path(scene_list)
    files = find_scenes(folder, split, listed, dataset=dataset)
    return SceneDataset(folder, split, dataset, files, is_whole=scene_list is None)
