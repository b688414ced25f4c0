"""Two views of a fold: one ruled by physics, one that reads what holds at any level."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fit_world import boosters_of, job_of

from l4s_ensemble.pixel.fit import fit_fold
from l4s_ensemble.pixel.infer import score_tile


@pytest.mark.parametrize(
    ("asked", "relative", "number"),
    [("auto", True, 2), ("auto", False, 1), ("two", False, 2), ("one", True, 1)],
)
def test_how_many_views(asked: str, relative: bool, number: int, tmp_path: Path) -> None:
    job = replace(job_of(tmp_path, views=asked), relative=relative)
    assert len(replace(job, relational=(False, True, True)).views(0, 1)) == number
    # Where every column or none is relational, a second view would be the first one again.
    assert len(replace(job, relational=(True,) * 3).views(0, 1)) == 1
    assert len(replace(job, relational=(False,) * 3).views(0, 1)) == 1


def test_two_views_are_the_mean_of_both(tmp_path: Path) -> None:
    job = job_of(tmp_path, views="two", trees=20)
    job = replace(job, expected=(1, 0, 0), relational=(False, True, True))
    assert fit_fold(job, 0)["views"] == 2
    one, two = boosters_of(job, 0)
    # Sharing bins does not carry a rule from one view to the other.
    assert two.feature_importance()[0] == 0 and (two.feature_importance()[1:] > 0).all()
    assert one.feature_importance()[0] > 0
    rows = np.load(job.rows)[:500]
    known = [b.predict(rows, raw_score=True) for b in (one, two)]
    assert np.abs(known[0] - known[1]).max() > 0.1
    image = np.ascontiguousarray(rows.T[:, None])
    found = score_tile(replace(job.model, boosters=2), 0, image)[0]
    np.testing.assert_allclose(found, np.mean(known, axis=0), atol=1e-6)
