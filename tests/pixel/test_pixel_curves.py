"""Learning curves in trees and in tiles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pixel_world import config_of
from sklearn.metrics import average_precision_score, f1_score, log_loss

from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.pixel import curves
from l4s_ensemble.pixel.curves import block_parts, learning_curves, tree_points
from l4s_ensemble.pixel.fit import FitJob, fit_job
from l4s_ensemble.pixel.model import PixelModel
from l4s_ensemble.pixel.sampling import PixelPlan
from l4s_ensemble.run.files import read_json
from l4s_ensemble.run.scores import ScoreFile
from l4s_ensemble.scenes.folds import Folds, load_folds


def job_of(run: Path) -> tuple[FitJob, ScoreFile]:
    """What the stage hands over, read back from its folder."""
    from l4s_ensemble.features.build import plan_from_file

    model, folds, plan, rows, scores = parts_of(run)
    features = plan_from_file(run / "pixel/features.json")
    return fit_job(folds, plan, rows, model, config_of().pixel, features), scores


def parts_of(run: Path) -> tuple[PixelModel, Folds, PixelPlan, Path, ScoreFile]:
    """The same in its parts."""
    from l4s_ensemble.data.store import open_store
    from l4s_ensemble.pixel.sampling import plan_pixels
    from l4s_ensemble.pixel.train import tiles_to_fit

    folds, config = load_folds(run / "scenes"), config_of()
    ids, masks = tiles_to_fit(open_store(run / "data/train/patches.zarr"), folds)
    plan = plan_pixels(ids, masks, config.pixel, config.seed)
    scores = ScoreFile(run / "pixel/oof.zarr", ids, masks.shape[1:])
    return PixelModel.load(run / "pixel"), folds, plan, run / "pixel/rows.npy", scores


@pytest.fixture(scope="module")
def told(fitted: Path) -> dict[str, Any]:
    return learning_curves(*job_of(fitted))


def test_the_stage_writes_the_same(fitted: Path, told: dict[str, Any]) -> None:
    written = read_json(fitted / "pixel/summary.json")["learning_curve"]
    del written["seconds"]
    assert written == {k: v for k, v in told.items() if k != "seconds"}


def test_more_trees_fit_better_what_they_saw(fitted: Path, told: dict[str, Any]) -> None:
    points = told["trees"]
    assert [p["trees"] for p in points] == [10, 20, 30]
    for p in points:
        assert 0 <= p["f1_low"] <= p["f1_high"] <= 1
    seen = [p["log_loss_seen"] for p in points]
    assert seen == sorted(seen, reverse=True)
    assert points[-1]["log_loss_seen"] <= points[-1]["log_loss"]


def test_a_curve_ends_at_the_whole_model(fitted: Path) -> None:
    model, _, _, rows, _ = parts_of(fitted)
    values = np.load(rows)[:200]
    cut = curves._staged(model, 1, values, [10, 30, 99], 1)
    booster = model.booster(1)
    np.testing.assert_allclose(cut[0], booster.predict(values, raw_score=True, num_iteration=10))
    np.testing.assert_allclose(cut[1], booster.predict(values, raw_score=True))
    np.testing.assert_array_equal(cut[1], cut[2])


def test_more_tiles_are_counted_and_all_of_them_are_the_model(
    fitted: Path, told: dict[str, Any]
) -> None:
    patches = told["patches"]
    points = patches["points"]
    assert patches["fold"] == 0 and patches["trees"] == 30 and patches["rows_share"] == 1
    assert [p["share"] for p in points] == [0.125, 0.25, 0.5, 1.0]
    assert points[-1]["tiles"] == len(load_folds(fitted / "scenes").train_ids(0))
    for key in ("tiles", "blocks", "rows"):
        counted = [p[key] for p in points]
        assert counted == sorted(counted)
    assert all(p["f1_low"] <= p["f1"] <= p["f1_high"] for p in points)
    # Nothing is thinned and nothing left out: it is the fold's own booster again.
    model, folds, plan, rows, scores = parts_of(fitted)
    given = curves.probability_of_rows(scores, plan)
    rng = np.random.default_rng([model.seed, curves._STREAM])
    fold = folds.of(plan.patch, "fold").astype(np.int64)
    sample = curves.draw_unseen(plan, np.load(rows), fold, given, curves.ROWS, rng)
    own = sample.fold == 0
    logit = model.booster(0).predict(sample.values[own], raw_score=True)
    known = curves._scores(np.asarray(logit), sample.y[own], sample.weight[own])
    assert points[-1]["f1"] == pytest.approx(known["f1"], abs=1e-9)


def test_scores_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    y = (rng.random(600) < 0.3).astype(np.uint8)
    logit = np.round(rng.normal(size=600) + 1.5 * y, 1)
    weight = rng.uniform(0.5, 4, 600)
    told = curves._scores(logit, y, weight)
    best = max(f1_score(y, logit >= t, sample_weight=weight) for t in np.unique(logit))
    assert told["f1"] == pytest.approx(best)
    known = average_precision_score(y, logit, sample_weight=weight)
    assert told["average_precision"] == pytest.approx(known)
    known = log_loss(y, sigmoid(logit).astype(float), sample_weight=weight)
    assert told["log_loss"] == pytest.approx(known, rel=1e-6)


def test_parts_are_whole_blocks() -> None:
    ids = np.arange(100, 180)
    block = np.repeat(np.arange(20), 4)
    rng = np.random.default_rng(1)
    parts = block_parts(ids, block, 0.25, 2, rng)
    assert [len(p) for p in parts] == [20, 20]
    assert not set(parts[0]) & set(parts[1])  # there are blocks enough
    for part in parts:
        kept = np.isin(ids, part).reshape(20, 4)
        assert (kept.all(axis=1) | ~kept.any(axis=1)).all()
    assert len(block_parts(ids, block, 0.001, 3, rng)[0]) == 4
    np.testing.assert_array_equal(block_parts(ids, block, 1.0, 1, rng)[0], ids)


@pytest.mark.parametrize(
    ("most", "points"), [(300, [10, 20, 40, 80, 160, 300]), (10, [10]), (4, [4]), (20, [10, 20])]
)
def test_points_double(most: int, points: list[int]) -> None:
    assert tree_points(most) == points


def test_a_fold_of_few_tiles_has_no_curve(fitted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "LEAST_TILES", 1000)
    assert learning_curves(*job_of(fitted))["patches"] is None


def test_trees_of_a_bag_are_counted_for_one_booster(fitted: Path) -> None:
    model, folds, plan, rows, scores = parts_of(fitted)
    fold = folds.of(plan.patch, "fold").astype(np.int64)
    given = curves.probability_of_rows(scores, plan)
    rng = np.random.default_rng(0)
    sample = curves.draw_unseen(plan, np.load(rows), fold, given, 600, rng)
    one, two = (curves.curve_in_trees(model, folds, sample, n) for n in (1, 2))
    assert [p["trees"] for p in two] == [10, 15]
    assert two[0]["f1"] == one[1]["f1"] and two[-1] == {**one[-1], "trees": 15}
