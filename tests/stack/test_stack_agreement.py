"""Where one model is right and the other is not, by brute force."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt, gaussian_filter, label

from l4s_ensemble.metrics.failures import INSIDE_PX, OUTSIDE_PX, SIZE_PX
from l4s_ensemble.stack import agreement
from l4s_ensemble.stack.agreement import KINDS

EDGE = 40


def tile(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth and two calls that are often right."""
    rng = np.random.default_rng(seed)
    smooth = gaussian_filter(rng.normal(size=(EDGE, EDGE)), 2)
    truth = smooth > 0.12
    calls = [smooth + 0.06 * rng.normal(size=truth.shape) > 0.12 for _ in range(2)]
    return truth, calls[0], calls[1]


@pytest.fixture(scope="module")
def counted() -> agreement._Tallies:
    out = agreement._Tallies()
    for seed in range(5):
        agreement.count(out, *tile(seed))
    return out


def by_eye(pixel: np.ndarray, unet: np.ndarray, truth: np.ndarray) -> dict[str, int]:
    """Who is right where either model or the truth says landslide."""
    return dict(zip(KINDS, kinds(pixel | unet | truth, truth, pixel, unet), strict=True))


def kinds(own: np.ndarray, truth: np.ndarray, pixel: np.ndarray, unet: np.ndarray) -> list[int]:
    p, u = pixel == truth, unet == truth
    return [int((own & k).sum()) for k in (p & u, p & ~u, ~p & u, ~p & ~u)]


def test_all_pixels_of_interest_are_counted_once(counted: agreement._Tallies) -> None:
    found = dict.fromkeys(KINDS, 0)
    for seed in range(5):
        truth, pixel, unet = tile(seed)
        for key, n in by_eye(pixel, unet, truth).items():
            found[key] += n
    both = counted.inside.sum(axis=0) + counted.outside.sum(axis=0)
    assert dict(zip(KINDS, both.tolist(), strict=True)) == found
    assert agreement.total(agreement.rows_of(counted)) == found
    np.testing.assert_array_equal(counted.size.sum(axis=0), counted.inside.sum(axis=0))
    assert counted.outside[:, 0].sum() == 0 < found["only_unet"]


def test_by_size_and_distance(counted: agreement._Tallies) -> None:
    size, inside = np.zeros((len(SIZE_PX) - 1, 4)), np.zeros((len(INSIDE_PX) - 1, 4))
    outside, slides = np.zeros((len(OUTSIDE_PX) - 1, 4)), np.zeros(len(SIZE_PX) - 1)
    for seed in range(5):
        truth, pixel, unet = tile(seed)
        calls = (truth, pixel, unet)
        labels, n = label(truth, structure=np.ones((3, 3)))
        for k in range(1, n + 1):
            own = labels == k
            at = next(i for i, top in enumerate(SIZE_PX[1:]) if own.sum() < top)
            size[at] += kinds(own, *calls)
            slides[at] += 1
        here, there = distance_transform_edt(truth), distance_transform_edt(~truth)
        for i, (low, high) in enumerate(pairwise(INSIDE_PX)):
            inside[i] += kinds(truth & (here > low) & (here <= high), *calls)
        told = (pixel | unet) & ~truth
        for i, (low, high) in enumerate(pairwise(OUTSIDE_PX)):
            outside[i] += kinds(told & (there > low) & (there <= high), *calls)
    np.testing.assert_array_equal(counted.size, size)
    np.testing.assert_array_equal(counted.slides, slides)
    np.testing.assert_array_equal(counted.inside, inside)
    np.testing.assert_array_equal(counted.outside[:-1], outside)


def test_tiles_without_a_rim() -> None:
    none, some = np.zeros((EDGE, EDGE), bool), np.zeros((EDGE, EDGE), bool)
    some[:2, :5] = True
    out = agreement._Tallies()
    agreement.count(out, none, some, none)
    assert out.outside[-1].tolist() == [0, 0, 10, 0] and out.inside.sum() == 0
    agreement.count(out, ~none, some, ~none)
    assert out.inside[-1].tolist() == [10, 0, EDGE**2 - 10, 0]
