"""Test crops: aligned with both grids, reproducible, one per patch and epoch."""

from __future__ import annotations

import errno
import gc
import multiprocessing
from collections import Counter
from collections.abc import Iterator
from multiprocessing import forkserver
from multiprocessing.context import BaseContext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from fake_patches import Failing, MadeUp
from planetcr_models.errors import ModelError, TrainingError
from planetcr_models.networks.base import upsample
from planetcr_models.training.loader import Batch, Batches, Crops, dihedral, load, reading
from planetcr_models.training.patches import PRODUCTS, Patch

OPTICAL = ("cloudy", "clear", "cloud_mask", "land_cover")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", autouse=True)
def _readers_that_start_at_once() -> Iterator[None]:
    """A server of their own forks them, which has imported torch already.

    No other worker may come from it: torch takes more addresses than one that is confined may have.
    """
    server = forkserver._forkserver
    before = server._preload_modules
    server._stop()
    server.set_forkserver_preload(["planetcr_models.training.loader"])
    yield
    server._stop()
    server.set_forkserver_preload(before)


def coordinates(side: int = 40) -> MadeUp:
    """A patch whose first clear bands are its rows and columns, and whose SAR are those of SAR."""
    patches = MadeUp(1, side=side)
    patches.clear[:, 0], patches.clear[:, 1] = np.mgrid[:side, :side]
    patches.sar[:] = np.mgrid[: 3 * side // 10, : 3 * side // 10]
    return patches


def radar_of_optical() -> MadeUp:
    """Patches whose first two clear bands are their SAR, brought to the optical grid."""
    patches = MadeUp(3, seed=1)
    noise = torch.rand(3, 2, 12, 12, generator=torch.Generator().manual_seed(5))
    patches.sar[:] = noise.numpy()
    patches.clear[:, :2] = upsample(noise, (40, 40)).numpy()
    return patches


def corner(crop: Batch) -> tuple[int, int]:
    return int(crop["clear"][0, 0, 0]), int(crop["clear"][1, 0, 0])


def same(first: Batch, second: Batch) -> bool:
    return set(first) == set(second) and all(
        torch.equal(first[name], second[name]) for name in first
    )


# --- where a crop lies ----------------------------------------------------------------------------


@pytest.mark.parametrize("crop", [10, 20, 30, 40])
def test_a_crop_is_a_cut_of_its_patch_on_both_grids(crop: int) -> None:
    patches, places = MadeUp(2), coordinates()
    crops = Crops(patches, crop=crop, turns=False, seed=7)
    where = Crops(places, crop=crop, turns=False, seed=7)
    for epoch in range(12):
        top, left = corner(where[epoch, 0])
        assert top % 10 == left % 10 == 0
        cut = crops[epoch, 0]
        assert tuple(cut) == PRODUCTS
        rows, columns = slice(top, top + crop), slice(left, left + crop)
        for name in OPTICAL:
            whole = getattr(patches.read(0), name)
            assert_array_equal(cut[name].numpy(), whole[..., rows, columns], name)
        high, wide = slice(top * 3 // 10, (top + crop) * 3 // 10), 3 * crop // 10
        first = left * 3 // 10
        assert_array_equal(cut["sar"].numpy(), patches.sar[0, :, high, first : first + wide])
        assert cut["sar"].shape == (2, wide, wide)
        assert where[epoch, 0]["sar"][:, 0, 0].tolist() == [0.3 * top, 0.3 * left]


def test_products_keep_their_types() -> None:
    crop = Crops(MadeUp(1), crop=20, turns=True, seed=0)[0, 0]
    kinds = {name: values.dtype for name, values in crop.items()}
    floats = dict.fromkeys(("cloudy", "clear", "sar"), torch.float32)
    assert kinds == floats | {"cloud_mask": torch.bool, "land_cover": torch.uint8}


@pytest.mark.parametrize("crop", [10, 20, 30])
def test_every_position_is_equally_likely(crop: int) -> None:
    crops = Crops(coordinates(), crop=crop, turns=False, seed=7)
    cells = (40 - crop) // 10 + 1
    draws = 100 * cells**2
    seen = Counter(corner(crops[epoch, 0]) for epoch in range(draws))
    assert set(seen) == {(10 * y, 10 * x) for y in range(cells) for x in range(cells)}
    chi_square = sum((count - 100) ** 2 / 100 for count in seen.values())
    assert chi_square < cells**2 - 1 + 4 * np.sqrt(2 * (cells**2 - 1))


def test_a_crop_as_large_as_its_patch_is_the_patch() -> None:
    patches = MadeUp(1)
    crop, whole = Crops(patches, crop=40, turns=False, seed=7)[3, 0], patches.read(0)
    assert all(np.array_equal(crop[name], getattr(whole, name)) for name in PRODUCTS)


def test_a_patch_that_ends_between_the_grids_is_cropped_before_its_end() -> None:
    patches = coordinates()
    patches.side = 38
    crops = Crops(patches, crop=20, turns=False, seed=7)
    assert {corner(crops[epoch, 0]) for epoch in range(60)} == {
        (y, x) for y in (0, 10) for x in (0, 10)
    }


class Various:
    """Patches without SAR and masks, whose pixels are their row and column; of two sizes."""

    cell, smallest = 1, 33
    sizes = ((33, 40), (50, 45))

    def __len__(self) -> int:
        return 2

    def size(self, index: int) -> tuple[int, int]:
        return self.sizes[index]

    def read(self, index: int, *, top: int = 0, left: int = 0, size: int | None = None) -> Patch:
        assert size is not None
        image = np.mgrid[top : top + size, left : left + size].astype(np.float32)
        assert top + size <= self.sizes[index][0]
        assert left + size <= self.sizes[index][1]
        return SimpleNamespace(
            cloudy=image, clear=image, sar=None, cloud_mask=None, land_cover=None
        )


def test_patches_of_several_sizes_are_cropped_anywhere_and_lack_what_they_lack() -> None:
    crops = Crops(Various(), crop=31, turns=False, seed=7)
    assert [*crops[0, 0]] == ["cloudy", "clear"]
    for index, (height, width) in enumerate(Various.sizes):
        seen = {corner(crops[epoch, index]) for epoch in range(400)}
        tops, lefts = ({place[axis] for place in seen} for axis in (0, 1))
        assert tops == {*range(height - 30)}
        assert lefts == {*range(width - 30)}
    batch = next(iter(load(crops, Batches(2, batch=2, seed=0, last=1), workers=0, pin=False)))
    assert batch["clear"].shape == (2, 2, 31, 31)
    with pytest.raises(ModelError, match=r"at most 33 pixels, the side of the smallest .* got 34"):
        Crops(Various(), crop=34, turns=False, seed=7)


# --- how a crop is turned -------------------------------------------------------------------------


def ways(image: np.ndarray) -> list[np.ndarray]:
    """The eight images of a square, by mirroring rows, columns and the diagonal."""
    both = (image, image.swapaxes(-2, -1))
    return [
        image_or_transpose[..., ::y, ::x]
        for image_or_transpose in both
        for y in (1, -1)
        for x in (1, -1)
    ]


def test_the_eight_dihedral_transforms_are_the_symmetries_of_a_square() -> None:
    image = np.arange(18).reshape(2, 3, 3)
    done = [dihedral(image, turn).tobytes() for turn in range(8)]
    assert len(set(done)) == 8
    assert set(done) == {np.ascontiguousarray(way).tobytes() for way in ways(image)}
    assert_array_equal(dihedral(image, 0), image)
    assert_array_equal(dihedral(image, 1), np.rot90(image, axes=(1, 2)))
    assert_array_equal(dihedral(image, 4), image[..., ::-1])


@pytest.mark.parametrize("crop", [20, 40])
def test_all_products_get_the_same_dihedral_transform_each_equally_likely(crop: int) -> None:
    patches = radar_of_optical()
    straight = Crops(patches, crop=crop, turns=False, seed=7)
    crops = Crops(patches, crop=crop, turns=True, seed=7)
    seen: Counter[int] = Counter()
    for epoch in range(400):
        turn, plain = crops[epoch, 0], straight[epoch, 0]
        fits = [
            all(
                np.array_equal(turn[name], way)
                for name, way in zip(PRODUCTS, products, strict=True)
            )
            for products in zip(*(ways(plain[name].numpy()) for name in PRODUCTS), strict=True)
        ]
        assert sum(fits) == 1
        seen[fits.index(True)] += 1
    assert len(seen) == 8
    assert sum((count - 50) ** 2 / 50 for count in seen.values()) < 7 + 4 * np.sqrt(14)


def test_radar_and_optical_pixels_stay_aligned_in_all_dihedral_transforms() -> None:
    crops = Crops(radar_of_optical(), crop=20, turns=True, seed=7)
    for epoch in range(60):
        crop = crops[epoch, epoch % 3]
        assert torch.equal(upsample(crop["sar"][None], (20, 20))[0], crop["clear"][:2])


# --- what decides a crop --------------------------------------------------------------------------


def test_seed_epoch_and_patch_decide_a_crop_and_nothing_else() -> None:
    patches = MadeUp(5, side=60)
    crops = Crops(patches, crop=20, turns=True, seed=7)
    draws = [(epoch, index) for epoch in range(4) for index in range(5)]
    first = [crops[draw] for draw in draws]
    np.random.seed(3)  # noqa: NPY002  to show that it has no say
    torch.manual_seed(3)
    again = Crops(MadeUp(5, side=60), crop=20, turns=True, seed=7)
    for draw, crop in reversed([*zip(draws, first, strict=True)]):
        assert same(again[draw], crop)


def test_positions_differ_by_seed_epoch_and_patch() -> None:
    patches = MadeUp(1, side=200)
    patches.clear[:, 0], patches.clear[:, 1] = np.mgrid[:200, :200]
    for name in ("clear", "cloudy", "sar", "mask", "land_cover"):  # the same land thrice
        setattr(patches, name, np.repeat(getattr(patches, name), 3, axis=0))
    places = {
        (seed, epoch, index): corner(
            Crops(patches, crop=20, turns=False, seed=seed)[epoch, index],
        )
        for seed in range(3)
        for epoch in range(3)
        for index in range(3)
    }
    assert len(set(places.values())) > 20  # of 27 out of 361


def test_dihedral_transforms_do_not_move_a_crop() -> None:
    patches = MadeUp(1, side=100)
    turning, straight = (Crops(patches, crop=20, turns=turns, seed=7) for turns in (True, False))
    for epoch in range(10):
        sums = [crops[epoch, 0]["clear"].double().sum().item() for crops in (turning, straight)]
        assert sums[0] == pytest.approx(sums[1], rel=1e-12)


def test_batches_are_the_same_with_any_number_of_workers() -> None:
    crops = Crops(MadeUp(5), crop=20, turns=True, seed=7)
    batches = Batches(5, batch=2, seed=7, first=1, last=6)
    alone, shared = ([*load(crops, batches, workers=workers, pin=False)] for workers in (0, 2))
    assert len(alone) == len(shared) == 5
    assert all(same(*pair) for pair in zip(alone, shared, strict=True))
    for batch, draws in zip(alone, batches, strict=True):
        assert batch["cloudy"].shape == (2, 4, 20, 20)
        each = [crops[draw] for draw in draws]
        assert same(
            batch, {name: torch.stack([patch[name] for patch in each]) for name in PRODUCTS}
        )


# --- who is in a batch ----------------------------------------------------------------------------


def test_an_epoch_shows_every_patch_at_most_once_and_drops_the_rest() -> None:
    batches = [*Batches(11, batch=4, seed=7, last=6)]
    assert [len(batch) for batch in batches] == [4] * 6
    for epoch in range(3):
        draws = [draw for batch in batches[2 * epoch : 2 * epoch + 2] for draw in batch]
        assert {number for number, _ in draws} == {epoch}
        indices = [index for _, index in draws]
        assert len(set(indices)) == 8
        assert set(indices) <= set(range(11))
        assert all(type(index) is int for index in indices)


def test_other_patches_are_dropped_in_other_epochs() -> None:
    batches = Batches(11, batch=10, seed=7, last=60)
    dropped = {*range(11)}.difference
    left = Counter(next(iter(dropped(i for _, i in batch))) for batch in batches)
    assert set(left) == set(range(11))


def test_the_order_depends_on_seed_and_epoch() -> None:
    orders = {
        (seed, epoch): tuple(
            index
            for batch in Batches(30, batch=10, seed=seed, first=3 * epoch, last=3 * epoch + 3)
            for _, index in batch
        )
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(set(orders.values())) == 9
    assert all(sorted(order) == [*range(30)] for order in orders.values())


def test_every_patch_is_equally_likely_in_every_position() -> None:
    first = Counter(batch[0][1] for batch in Batches(5, batch=5, seed=7, last=500))
    assert sum((count - 100) ** 2 / 100 for count in first.values()) < 4 + 4 * np.sqrt(8)


@given(
    st.integers(1, 4), st.integers(1, 3), st.integers(0, 9), st.integers(0, 20), st.integers(0, 30)
)
def test_processes_share_the_batch_that_one_process_sees(
    world: int, share: int, surplus: int, first: int, more: int
) -> None:
    batch = world * share
    patches, last = batch + surplus, first + more
    alone = [*Batches(patches, batch=batch, seed=7, first=first, last=last)]
    each = [
        [*Batches(patches, batch=batch, seed=7, first=first, last=last, rank=rank, world=world)]
        for rank in range(world)
    ]
    together = [[draw for part in step for draw in part] for step in zip(*each, strict=True)]
    assert together == alone
    assert all(len(part) == share for process in each for part in process)


@given(st.integers(1, 20), st.integers(0, 6), st.integers(0, 40))
def test_a_resumed_run_sees_the_batches_it_would_have_seen(
    batch: int, surplus: int, first: int
) -> None:
    whole = Batches(batch + surplus, batch=batch, seed=7, last=41)
    rest = Batches(batch + surplus, batch=batch, seed=7, first=first, last=41)
    assert [*rest] == [*whole][first:]
    assert len(rest) == len([*rest]) == 41 - first
    assert [*rest] == [*rest]


def test_steps_of_an_epoch_are_its_complete_batches() -> None:
    steps = [Batches(n, batch=12, seed=0, last=0).steps_per_epoch for n in (12, 23, 24, 660)]
    assert steps == [1, 1, 2, 55]


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("crop", [5, 15, 39, 41, 50, 256])
def test_a_crop_off_the_grid_or_larger_than_its_patch_is_refused(crop: int) -> None:
    expected = rf"^crop: expected a multiple of 10 pixels up to 40, .* got {crop}$"
    with pytest.raises(ModelError, match=expected):
        Crops(MadeUp(1), crop=crop, turns=False, seed=0)


def test_the_message_names_the_largest_possible_crop() -> None:
    patches = MadeUp(1)
    patches.side = 38
    with pytest.raises(ModelError, match=r"multiple of 10 pixels up to 30, .* got 40"):
        Crops(patches, crop=40, turns=False, seed=0)


def test_a_batch_of_more_patches_than_there_are_is_refused() -> None:
    with pytest.raises(ModelError, match="scenes for a batch of 12, got 11; use a smaller --batch"):
        Batches(11, batch=12, seed=0, last=1)


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(ModelError, match=r"batch: expected a multiple of the 5 devices .* got 12"):
        Batches(20, batch=12, seed=0, last=1, world=5)


# --- what goes wrong in a reader ------------------------------------------------------------------

NO_ROOM = RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: Success (0)")


@pytest.mark.parametrize(
    ("problem", "raised", "words"),
    [
        (ModelError("p.tif: is broken"), ModelError, "^p.tif: is broken$"),
        (NO_ROOM, TrainingError, r"--loader-workers 2: .*shared memory\(shm\)\).*--shm-size"),
    ],
)
def test_an_error_in_a_reader_is_one_line_and_leaves_no_process(
    problem: Exception, raised: type[Exception], words: str
) -> None:
    crops = Crops(Failing(problem), crop=20, turns=False, seed=7)
    loader = load(crops, Batches(6, batch=2, seed=7, last=9), workers=2, pin=False)
    with pytest.raises(raised, match=words) as kept, reading(loader) as read:
        next(read)
    assert kept.value.__traceback__ is not None  # as a traceback that is shown holds on to all
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("queues", [0, 1, 2])
def test_readers_that_cannot_start_are_reported_in_one_line(
    queues: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whichever queue there is no room for."""
    made = iter(range(queues))
    make = BaseContext.Queue

    def refuse(*arguments: object, **options: object) -> object:
        if next(made, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        return make(*arguments, **options)

    monkeypatch.setattr(BaseContext, "Queue", refuse)
    crops = Crops(MadeUp(6), crop=20, turns=False, seed=7)
    loader = load(crops, Batches(6, batch=2, seed=7, last=9), workers=2, pin=False)
    unraisable: list[object] = []
    monkeypatch.setattr("sys.unraisablehook", unraisable.append)
    with pytest.raises(TrainingError, match="No space left on device"), reading(loader) as read:
        next(read)
    gc.collect()
    assert unraisable == []
    assert capsys.readouterr().err == ""
