"""Ratios of sums, and counts of classes as others count them."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score, recall_score
from torchmetrics.functional import classification

from planetcr_bench import constants as vocabulary
from planetcr_bench.analysis import segmentation as semantics
from planetcr_bench.data import scene
from planetcr_bench.errors import BenchError
from planetcr_bench.metrics import protocols, scores
from planetcr_bench.metrics.registry import HEADLINE, METRICS
from planetcr_bench.metrics.scores import (
    confusion,
    iou,
    miou,
    miou_absent_zero,
    pixel_accuracy,
    recall,
)

positive = st.floats(1e-6, 1e6)

CLASSES = len(vocabulary.LAND_COVER)
UNKNOWN = vocabulary.UNKNOWN


def labels(*size: int, seed: int = 0, high: int = CLASSES + 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, high, size, dtype=np.uint8)


def test_examples_in_docstrings_hold() -> None:
    for module in (scores, scene, semantics, vocabulary, protocols):
        outcome = doctest.testmod(module)
        assert outcome.attempted
        assert not outcome.failed


def test_nothing_summed_gives_nan() -> None:
    for name in HEADLINE:
        assert np.isnan(METRICS[name].score(0.0, 0))


@given(positive, st.integers(1, 10**9))
def test_psnr_inverts_to_the_mean_squared_error(squared_error: float, values: int) -> None:
    assert_allclose(
        10 ** (-METRICS["psnr"].score(squared_error, values) / 10), squared_error / values
    )


def test_a_perfect_match_has_the_decibels_of_the_protocol() -> None:
    assert METRICS["psnr"].score(0.0, 4) == np.inf
    assert METRICS["psnr"].score(0.0, 4, perfect=100.0) == 100.0
    assert np.isnan(METRICS["psnr"].score(0.0, 0, perfect=100.0))


@given(st.lists(st.tuples(positive, st.integers(1, 1000)), min_size=1, max_size=5))
def test_the_score_of_a_pool_is_the_ratio_of_its_sums(parts: list[tuple[float, int]]) -> None:
    errors, values = (sum(column) for column in zip(*parts, strict=True))
    assert_allclose(METRICS["mae"].score(errors, values), errors / values)


# --- counts of classes ---------------------------------------------------------------------------


@pytest.mark.parametrize("high", [CLASSES, 3])  # 3: classes that are predicted and never true
def test_counts_and_scores_are_those_of_torchmetrics_and_scikit_learn(high: int) -> None:
    cover = labels(3, 20, 30, seed=1)
    cover[(cover >= high) & (cover < UNKNOWN)] = UNKNOWN
    guess = np.where(labels(3, 20, 30, seed=2, high=3) > 0, cover, labels(3, 20, 30, seed=3))
    guess = np.minimum(guess, CLASSES - 1).astype(np.uint8)
    known = cover != UNKNOWN
    matrix = confusion(guess, cover)
    assert matrix.dtype == np.int64
    pair = cover[known], guess[known]
    assert_array_equal(matrix, confusion_matrix(*pair, labels=range(CLASSES)))
    tensors = [torch.from_numpy(x).long() for x in (guess, cover)]
    theirs = classification.multiclass_confusion_matrix(
        *tensors, num_classes=CLASSES, ignore_index=UNKNOWN
    )
    assert_array_equal(matrix, theirs)
    index = classification.multiclass_jaccard_index(
        *tensors, num_classes=CLASSES, average="none", ignore_index=UNKNOWN
    )
    assert_allclose(iou(matrix)[:high], index[:high], rtol=1e-6)
    recalled = classification.multiclass_accuracy(
        *tensors, num_classes=CLASSES, average="none", ignore_index=UNKNOWN
    )
    assert_allclose(recall(matrix)[:high], recalled[:high], rtol=1e-6)
    assert np.isnan(recall(matrix)[high:]).all()
    assert np.isnan(iou(matrix)[high:]).all()
    occurs = np.unique(pair[0])
    assert miou(matrix) == pytest.approx(jaccard_score(*pair, labels=occurs, average="macro"))
    in_either = jaccard_score(*pair, average="macro", zero_division=0)
    assert miou_absent_zero(matrix) == pytest.approx(in_either)
    assert (in_either < miou(matrix)) == (high < CLASSES)
    recalls = recall_score(*pair, labels=occurs, average=None)
    assert_allclose(recall(matrix)[occurs], recalls)
    assert pixel_accuracy(matrix) == pytest.approx(accuracy_score(*pair))


MAPS = arrays(np.uint8, 24, elements=st.integers(0, 8))
GUESSES = arrays(np.uint8, 24, elements=st.integers(0, CLASSES - 1))


@settings(max_examples=40, deadline=None)
@given(GUESSES, MAPS, st.integers(0, 24))
def test_counts_of_parts_sum_to_the_whole_and_scores_lie_between_0_and_1(
    guess: np.ndarray, cover: np.ndarray, cut: int
) -> None:
    matrix = confusion(guess, cover)
    assert_array_equal(
        matrix, confusion(guess[:cut], cover[:cut]) + confusion(guess[cut:], cover[cut:])
    )
    assert matrix.sum() == (cover < CLASSES).sum()
    if not matrix.any():
        assert math.isnan(miou(matrix))
        assert math.isnan(pixel_accuracy(matrix))
    else:
        assert 0 <= miou(matrix) <= 1
        assert 0 <= pixel_accuracy(matrix) <= 1
        assert (miou(matrix) == 1) == (pixel_accuracy(matrix) == 1)


@settings(max_examples=20, deadline=None)
@given(GUESSES, MAPS, st.permutations(range(CLASSES)))
def test_scores_do_not_depend_on_the_order_of_classes(
    guess: np.ndarray, cover: np.ndarray, order: list[int]
) -> None:
    to = np.array([*order, 6, 7, 8], np.uint8)
    before, after = confusion(guess, cover), confusion(to[guess], to[cover])
    assert miou(after) == pytest.approx(miou(before), nan_ok=True)
    assert_array_equal(after[np.ix_(order, order)], before)


def test_a_map_is_its_own_best_prediction() -> None:
    cover = labels(2, 30, 30)
    matrix = confusion(cover, cover)  # names no class where none is known: no harm
    assert miou(matrix) == pixel_accuracy(matrix) == 1


@pytest.mark.parametrize(
    ("guess", "cover", "words"),
    [
        (np.zeros((2, 3), int), np.zeros((3, 2), int), r"expected the shape of land_cover, \(3, 2"),
        (np.zeros(3), np.zeros(3, int), "^prediction: .* whole numbers, got float64"),
        (np.zeros(3, int), np.zeros(3), "^land_cover: .* whole numbers, got float64"),
        (np.array([0, 6, 1]), np.array([0, 1, 1]), "indices from 0 to 5, got 0 to 6"),
        (np.array([0, -1, 1]), np.array([0, 1, 1]), "indices from 0 to 5, got -1 to 1"),
    ],
)
def test_maps_of_different_shapes_or_classes_are_refused(
    guess: np.ndarray, cover: np.ndarray, words: str
) -> None:
    with pytest.raises(BenchError, match=words):
        confusion(guess, cover)


@settings(max_examples=20, deadline=None)
@given(arrays(np.int64, (2, 3, CLASSES, CLASSES), elements=st.integers(0, 5)))
def test_scores_of_many_matrices_are_those_of_each(matrices: np.ndarray) -> None:
    for score in (iou, recall, miou, pixel_accuracy):
        whole = score(matrices)
        for place in np.ndindex(2, 3):
            assert_array_equal(whole[place], score(matrices[place]))
