"""Objects of masks: 8-connected, and one over a seam where the places of tiles are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from l4s_ensemble.scenes.landslides import find_outlines

EDGE = 16


def tiles_of(whole: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Cut a mask into tiles; give them in a mixed order with their places."""
    rows, cols = whole.shape[0] // EDGE, whole.shape[1] // EDGE
    cut = whole.reshape(rows, EDGE, cols, EDGE).swapaxes(1, 2).reshape(-1, EDGE, EDGE)
    order = np.random.default_rng(1).permutation(rows * cols)
    row, col = np.divmod(order, cols)
    return cut[order], (np.ones(len(order), int), row, col)


def outlines(masks: np.ndarray, place: tuple[np.ndarray, ...]):
    return find_outlines(lambda i: masks[i], len(masks), place)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.42])
def test_over_known_seams_the_objects_are_those_of_the_whole_picture(rng, share):
    whole = (rng.random((3 * EDGE, 4 * EDGE)) < share).astype(np.uint8)
    masks, place = tiles_of(whole)
    found = outlines(masks, place)
    reference, count = ndimage.label(whole, structure=np.ones((3, 3)))
    assert len(found) == count
    joined = np.zeros_like(reference)
    for i, (r, c) in enumerate(zip(*place[1:], strict=True)):
        joined[r * EDGE : (r + 1) * EDGE, c * EDGE : (c + 1) * EDGE] = found.labels(i)
    # One to one: no object is split, none are mixed.
    pairs = np.unique(np.stack([joined.ravel(), reference.ravel()]), axis=1)
    assert pairs.shape[1] == count + 1
    np.testing.assert_array_equal(np.bincount(joined.ravel())[1:], found.pixels)
    assert (np.diff(found.pixels) <= 0).all()


def test_without_places_nothing_is_joined_and_what_reaches_an_edge_is_cut():
    whole = np.zeros((EDGE, 2 * EDGE), np.uint8)
    whole[4:6, EDGE - 3 : EDGE + 2] = 1
    whole[10, 5] = 1
    masks, place = tiles_of(whole)
    joined = outlines(masks, place)
    assert joined.pixels.tolist() == [10, 1] and joined.tiles.tolist() == [2, 1]
    assert not joined.cut.any()
    nowhere = tuple(np.full(2, -1) for _ in range(3))
    apart = outlines(masks, nowhere)
    assert apart.pixels.tolist() == [6, 4, 1]
    assert apart.cut.tolist() == [True, True, False]


def test_corners_of_tiles_touch_and_no_mask_is_no_fault():
    whole = np.zeros((2 * EDGE, 2 * EDGE), np.uint8)
    whole[EDGE - 1, EDGE] = whole[EDGE, EDGE - 1] = 1
    masks, place = tiles_of(whole)
    assert outlines(masks, place).pixels.tolist() == [2]
    none = outlines(np.zeros_like(masks), place)
    assert len(none) == 0 and none.with_objects() == [] and not none.labels(0).any()
