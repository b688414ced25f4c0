"""What the stage leaves to explain itself, and that contributions are exact."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
from pixel_world import config_of, run_pixel, synthetic

from l4s_ensemble.pixel import shap
from l4s_ensemble.pixel.landslides import found_by, sum_over
from l4s_ensemble.pixel.model import PixelModel
from l4s_ensemble.pixel.shapley import contributions
from l4s_ensemble.pixel.trees import read_trees
from l4s_ensemble.run.scores import open_scores
from l4s_ensemble.scenes.landslides import find_outlines


def boosted(leaves: int = 31) -> tuple[lgb.Booster, np.ndarray]:
    """A booster on five features that depend on each other, and rows."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(3000, 5)).astype(np.float32)
    x[:, 1] += x[:, 0]
    x[:, 4] = np.round(x[:, 4])
    y = (x[:, 0] + x[:, 2] * x[:, 1] + 0.3 * x[:, 4] > 0.7).astype(int)
    settings = {"objective": "binary", "num_leaves": leaves, "verbosity": -1, "num_threads": 1}
    settings |= {"bagging_fraction": 0.7, "bagging_freq": 1, "seed": 1, "min_data_in_leaf": 5}
    weight = rng.uniform(0.5, 2, len(y))
    return lgb.train(settings, lgb.Dataset(x, y, weight=weight), 15), x


@pytest.mark.parametrize("leaves", [2, 31, 100])
def test_contributions_are_those_of_lightgbm_and_sum_to_the_logit(leaves: int) -> None:
    booster, x = boosted(leaves)
    rows, trees = x[:333], read_trees([booster.model_to_string()])
    added, expected = contributions(trees, rows)
    told = booster.predict(rows, pred_contrib=True)
    np.testing.assert_allclose(added, told[:, :-1], rtol=1e-9, atol=1e-11)
    assert expected == pytest.approx(told[0, -1], abs=1e-11)
    logit = booster.predict(rows, raw_score=True)
    np.testing.assert_allclose(added.sum(axis=1) + expected, logit, rtol=1e-9, atol=1e-9)
    nothing, same = contributions(trees, rows[:0])
    assert nothing.shape == (0, 5)
    assert same == expected


def test_contributions_of_two_features_by_hand() -> None:
    """One tree, two features: the Shapley value is the mean over both orders."""
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 50, np.float32)
    y = x[:, 0] * x[:, 1] + 0.1 * x[:, 0]
    settings = {"objective": "regression", "num_leaves": 4, "verbosity": -1, "learning_rate": 1.0}
    settings |= {"min_data_in_leaf": 1, "num_threads": 1}
    booster = lgb.train(settings, lgb.Dataset(x, y), 1)
    trees = read_trees([booster.model_to_string()])
    f = booster.predict(np.array([[0, 0], [0, 1], [1, 0], [1, 1]])).reshape(2, 2)
    added, expected = contributions(trees, np.array([[1, 1]], np.float32))
    u_first, u_last = f[1].mean() - f.mean(), f[1, 1] - f[:, 1].mean()
    # The tree splits u first and v only below u = 1, where paths lead either way.
    assert expected == pytest.approx(f.mean())
    assert added[0].sum() == pytest.approx(f[1, 1] - f.mean())
    assert added[0, 0] == pytest.approx((u_first + u_last) / 2, abs=1e-6)


def test_the_stage_explains_itself(fitted: Path) -> None:
    folder = fitted / "pixel"
    told = json.loads((folder / "summary.json").read_text())
    json.dumps(told, allow_nan=False)
    assert {"contribution", "failures", "landslides"} <= set(told)
    threshold = told["oof"]["threshold"]
    assert sorted(r["name"] for r in told["contribution"]) == sorted(told["features"])
    size = [r["mean_abs"] for r in told["contribution"]]
    assert size == sorted(size, reverse=True) and size[0] > 0.1
    for table in told["failures"]["by"]:
        for key in ("tp", "fp", "fn"):
            total = sum(row[key] for row in table["rows"])
            assert total == pytest.approx(told["oof"][key], abs=1)
    assert all(row["probability"] >= threshold for row in told["landslides"])


def test_contributions_sum_to_the_raw_logit_out_of_fold(fitted: Path) -> None:
    folder = fitted / "pixel"
    model, told = PixelModel.load(folder), np.load(folder / "contributions.npz")
    n = len(told["y"])
    assert told["values"].shape == told["contributions"].shape == (n, len(model.plan.names))
    assert told["names"].tolist() == list(model.plan.names)
    assert 0 < told["y"].sum() < n
    for k in range(3):
        own = told["fold"] == k
        trained = json.loads((folder / f"fold_{k}.json").read_text())["trained"]
        assert own.any() and not set(told["patch"][own].tolist()) & set(trained)
        booster = lgb.Booster(model_file=str(folder / f"fold_{k}/booster_0.txt"))
        raw = booster.predict(told["values"][own], raw_score=True)
        total = told["contributions"][own].sum(axis=1) + told["expected"][own]
        np.testing.assert_allclose(total, raw, atol=1e-4)


def test_contributions_start_at_the_ground_as_it_is(fitted: Path) -> None:
    """The mean contribution of a pixel of the ground is nothing; the sums start at its logit."""
    told = np.load(fitted / "pixel" / "contributions.npz")
    weight = told["weight"]
    np.testing.assert_allclose(
        np.average(told["contributions"].astype(float), axis=0, weights=weight), 0, atol=1e-4
    )
    # Weighted rows are the training tiles: their prevalence, and their mean logit.
    oof = open_scores(fitted / "pixel" / "oof.zarr")
    masks = synthetic()["mask"].sel(patch=oof["patch"].values).values
    assert np.average(told["y"], weights=weight) == pytest.approx(masks.mean(), rel=1e-6)
    logit = oof["logit"].values
    start = np.average(told["expected"], weights=weight)
    assert start == pytest.approx(float(logit.mean()), abs=0.05 * float(logit.std()))
    # LightGBM's own base is the mean of the sample, in which landslides are many.
    model = PixelModel.load(fitted / "pixel")
    base = np.mean([contributions(c.trees, told["values"][:1])[1] for c in model.folds])
    assert base - start > 0.5


def test_a_direction_is_the_sign_of_what_high_values_add(fitted: Path) -> None:
    """A landslide is made red and bare: much red speaks for it, much vegetation against."""
    rows = json.loads((fitted / "pixel" / "summary.json").read_text())["contribution"]
    direction = {r["name"]: r["direction"] for r in rows[:4]}
    known = {"ndvi": -1, "bsi": 1, "ri": 1, "nbr": -1}
    seen = [n for n in direction if n in known]
    assert seen
    for name in seen:
        assert np.sign(direction[name]) == known[name] and abs(direction[name]) > 0.3


def test_the_same_for_two_jobs_whose_workers_have_one_thread_each(
    prepared: Path, fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With two jobs at most two functions compute at a time, and none has threads of its own."""
    import threading

    active: list[int] = []
    running, lock = [0], threading.Lock()

    def spied(*args: Any, **more: Any) -> Any:
        assert not more and len(args) == 2, "a worker must not be given threads"
        with lock:
            running[0] += 1
            active.append(running[0])
        try:
            return contributions(*args)
        finally:
            with lock:
                running[0] -= 1

    monkeypatch.setattr(shap, "contributions", spied)
    monkeypatch.setattr(lgb.Booster, "predict", lambda *a, **k: pytest.fail("LightGBM was asked"))
    # Has processes of its own, and reads the scores only.
    none = {"threshold": 0.5, "pixel_m": 10.0, "by": [], "boundary": []}
    monkeypatch.setattr("l4s_ensemble.pixel.stage.failures", lambda *a, **k: none)
    run = tmp_path / "run"
    shutil.copytree(prepared, run)
    run_pixel(run, config_of(), jobs=2)
    assert active and max(active) <= 2
    # Another run, with another number of jobs, gives the same scores.
    one, two = (open_scores(r / "pixel" / "oof.zarr")["logit"] for r in (fitted, run))
    np.testing.assert_array_equal(one, two)


def test_the_largest_landslides_are_explained_by_the_model_that_did_not_see_them(
    fitted: Path,
) -> None:
    from skimage.measure import label, regionprops

    folder = fitted / "pixel"
    told = json.loads((folder / "summary.json").read_text())
    oof = open_scores(folder / "oof.zarr")
    p = 1 / (1 + np.exp(-oof["logit"].values.astype(float)))
    masks = synthetic()["mask"].sel(patch=oof["patch"].values).values
    areas: dict[str, list[int]] = {"found": [], "false": []}
    for one, mask in zip(p, masks, strict=True):
        for region in regionprops(label(one >= told["oof"]["threshold"], connectivity=2)):
            share = mask[tuple(region.coords.T)].mean()
            if share >= 0.5 or share == 0:
                areas["found" if share else "false"].append(int(region.area))
    for kind, known in areas.items():
        rows = [r for r in told["landslides"] if r["kind"] == kind]
        assert [r["pixels"] for r in rows] == sorted(known, reverse=True)[:6]
    assert sum(r["kind"] == "found" for r in told["landslides"]) == 6
    for row in told["landslides"]:
        tile = oof.sel(patch=row["patch"])
        assert int(tile["fold"]) == row["fold"] and row["area_m2"] == row["pixels"] * 100
        top, bottom, left, right = row["box"]
        inside = tile["logit"].values[top : bottom + 1, left : right + 1]
        assert inside.min() <= row["logit"] <= inside.max()
        if len(row["words"]) < 8:
            every = sum(w["log_odds"] for w in row["words"]) + row["expected"]
            assert every == pytest.approx(row["logit"], abs=1e-4)


def test_a_landslide_of_the_unet_alone_is_not_explained_by_the_pixel_classifier() -> None:
    threshold = {"pixel": 0.32, "unet": 0.5}

    def of(pixel: float, unet: float) -> dict[str, float]:
        return {"mean_probability_pixel": pixel, "mean_probability_unet": unet}

    assert found_by(of(0.4, 0.1), threshold) == {}
    told = found_by(of(0.118, 0.9), threshold)
    assert told["sentence"] == "found by the U-Net; the pixel classifier gives p=0.12"
    assert told["words"] == told["features"] == []
    told = found_by(of(0.3, 0.45), threshold)
    assert "neither model alone" in told["sentence"] and "p=0.45" in told["sentence"]


def test_sums_over_landslides() -> None:
    masks = np.zeros((2, 6, 6), np.uint8)
    masks[0, :2, :2] = masks[1, 3:, 3:] = 1
    outlines = find_outlines(lambda i: masks[i], 2, (np.full(2, -1),) * 3)
    image = np.random.default_rng(0).normal(size=(2, 6, 6))
    known = [image[1, 3:, 3:].sum(), image[0, :2, :2].sum()]  # the largest first
    np.testing.assert_allclose(sum_over(outlines, lambda i: image[i]), known)
