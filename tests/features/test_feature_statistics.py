from __future__ import annotations

import numpy as np
import pytest

from l4s_ensemble.features.definition import Feature, Words
from l4s_ensemble.features.statistics import by_place, strong_and_distinct, univariate
from l4s_ensemble.features.summary import Places, describe, places_of
from l4s_ensemble.scenes.folds import Folds


def sampled(rng: np.random.Generator, n: int = 2000):
    reference = (rng.random(n) < 0.3).astype(np.uint8)
    values = np.round(rng.normal(size=n) + 1.2 * reference, 1).astype(np.float32)
    weight = np.where(reference > 0, 0.5, 4.0)
    place = rng.integers(-1, 4, n)
    values[place == 2] *= -1  # there landslides lie on the other side
    return values, reference, weight, place


def test_a_place_is_read_from_the_side_that_the_others_say(rng):
    values, reference, weight, place = sampled(rng)
    worst, lowest = by_place(values, reference, weight, place, 4)
    here = place == 2
    auc = univariate(values[here], reference[here], weight[here]).auc
    assert worst == 2 and lowest == pytest.approx(auc) and lowest < 0.5


def test_too_few_rows_or_places_say_nothing(rng):
    values, reference, weight, _ = sampled(rng, 400)
    few = np.where(np.arange(400) < 30, 1, 0)
    for place, places in ((np.zeros(400, np.int64), 1), (np.full(400, -1), 2), (few, 2)):
        assert by_place(values, reference, weight, place, places) == (None, None)


def test_the_strongest_come_first_and_copies_of_them_do_not(rng):
    values = rng.normal(size=(800, 6)).astype(np.float32)
    values[:, 1] = -np.exp(values[:, 0])  # orders the rows as a stronger one
    values[:, 5] = 3
    assert strong_and_distinct(values, [0.4, 0.3, 0.1, 0.2, 0.0, 0.35], most=4) == [0, 5, 3, 2]
    assert strong_and_distinct(values[:, :1], [0.4], most=4) == [0]


def folds_of(scene: list[int], landslide: list[int]) -> Folds:
    n = len(scene)
    return Folds(
        patch=np.arange(10, 10 + n),
        scene=np.array(scene, np.int32),
        row=np.zeros(n, np.int32),
        col=np.arange(n, dtype=np.int32),
        role=np.array(["fit"] * (n - 1) + ["holdout"]),
        fold=np.array([i % 2 for i in range(n - 1)] + [-1], np.int32),
        block=np.arange(n, dtype=np.int32),
        landslide_pixels=np.array(landslide),
        content_hash=np.array([str(i) for i in range(n)]),
        n_folds=2,
        grid="manifest",
        block_tiles=1,
    )


def test_places_are_scenes_or_else_folds():
    two = folds_of([1] * 6 + [2] * 6 + [3, 3], [5] * 14)
    patch = np.repeat(two.fit_ids, 60)
    found = places_of(two, patch)
    assert found.kind == "scene" and found.names == ("scene 1", "scene 2")
    assert found.tiles == (6, 6)
    assert (found.of_row[patch == two.fit_ids[-1]] == -1).all()  # a scene of one tile
    told = found.summary(np.ones(len(patch), np.uint8))
    assert [row.landslide_pixels for row in told.rows] == [360, 360]
    one = folds_of([1] * 14, [5] * 14)
    found = places_of(one, np.repeat(one.fit_ids, 60))
    assert found.kind == "fold" and found.names == ("fold 0", "fold 1")
    assert places_of(one, one.fit_ids[:1]).names == ()


def test_description_leaves_out_what_is_not_finite(rng):
    values = rng.normal(size=(900, 3)).astype(np.float32)
    values[:, 1] = 7
    values[::9, 2] = np.nan
    reference = (np.arange(900) % 3 == 0).astype(np.uint8)
    places = Places("scene", ("scene 1", "scene 2"), np.arange(900) % 2, (5, 5))
    words = Words("a", "b", "c")
    plan = [Feature(n, "indices", "1", ("B4",), "B4", "textbook", 0, words) for n in "abc"]
    a, b, c = describe(plan, values, reference, np.ones(900), places)
    assert a.nonfinite == 0 and a.group == "indices"
    assert a.worst_in in places.names
    assert b.auc == 0.5
    assert c.nonfinite == 100 and np.isfinite([c.auc, c.mean_other]).all()
    values[:, 0] = np.nan
    assert describe(plan, values, reference, np.ones(900), places)[0].auc is None
