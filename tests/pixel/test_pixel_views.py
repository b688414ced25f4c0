"""Two views of a fold: one ruled by physics, one that reads what holds at any level."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pytest
from fit_world import ground, job_of

from l4s_ensemble.config import PixelConfig
from l4s_ensemble.pixel.boost import boost, dataset
from l4s_ensemble.pixel.fit import fit_fold
from l4s_ensemble.pixel.settings import views


@pytest.mark.parametrize(
    ("asked", "relative", "number"),
    [("auto", True, 2), ("auto", False, 1), ("two", False, 2), ("one", True, 1)],
)
def test_how_many_views(asked: str, relative: bool, number: int) -> None:
    config = PixelConfig(views=asked)  # type: ignore[arg-type]
    found = views(config, 0, 1, (1, 0, 0), (False, True, True), relative)
    assert len(found) == number
    # Where every column or none is relational, a second view would be the first one again.
    assert len(views(config, 0, 1, (1, 0), (True, True), relative)) == 1
    assert len(views(config, 0, 1, (1, 0), (False, False), relative)) == 1


def test_two_views_are_the_mean_of_both(tmp_path: Path) -> None:
    job = job_of(tmp_path, views="two", trees=20)
    job = replace(job, expected=(1, 0, 0), relational=(False, True, True))
    assert fit_fold(job, 0)["views"] == 2
    bag, exact = job.model.booster(0), job.model.trees(0)
    ruled, free = job.views(job.model.seed, 1)
    ids = job.folds.train_ids(0)
    chosen = job.plan.rows_of(ids)
    y, weight = job.plan.landslide[chosen], job.plan.weights_of(ids)
    # Each on bins of its own: sharing them must not carry a rule from one view to the other.
    alone = [
        lgb.Booster(
            model_str=boost(
                dataset(job.rows, chosen, y, weight, job.model.features, settings), settings, 20
            )
        )
        for settings in (ruled, free)
    ]
    assert alone[1].feature_importance()[0] == 0 and (alone[1].feature_importance()[1:] > 0).all()
    rows = np.load(job.rows)[:500]
    one, two = (b.predict(rows, raw_score=True) for b in alone)
    both = bag.predict(rows, raw_score=True)
    np.testing.assert_allclose(both, (one + two) / 2, atol=1e-12)
    assert np.abs(one - two).max() > 0.1
    assert exact is not None
    tile = np.ascontiguousarray(ground()[1][8])
    by_lightgbm = bag.predict(tile.reshape(3, -1).T, raw_score=True).reshape(tile.shape[1:])
    np.testing.assert_array_equal(exact.score(tile), by_lightgbm)
