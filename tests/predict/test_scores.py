"""Baselines and missed landslides: against plain loops and masks worked out by hand."""

from __future__ import annotations

import numpy as np

from l4s_ensemble.features.source import FeatureSource
from l4s_ensemble.predict.score import missed_landslides
from l4s_ensemble.run.files import read_json
from l4s_ensemble.run.scores import open_scores
from l4s_ensemble.scenes.folds import load_folds
from l4s_ensemble.scenes.landslides import tile_objects
from l4s_ensemble.stack.baselines import Threshold, best_threshold


def test_the_best_threshold_is_that_of_trying_all(rng):
    n = 300
    y = (rng.random(n) < 0.3).astype(np.uint8)
    x = np.round(rng.normal(size=(n, 2)) - 1.5 * y[:, None] * [0, 1], 1).astype(np.float32)
    x[:5, 1] = np.nan
    weight = np.where(y, 0.5, 4.0)
    found = best_threshold(["a", "b"], {"X": x, "y": y, "weight": weight})

    def f1(k, value, above):
        predicted = Threshold("", value, above).applies(x[:, k])
        tp = weight[predicted & (y == 1)].sum()
        return 2 * tp / (weight[predicted].sum() + weight[y == 1].sum())

    tried = [(f1(k, v, up), "ab"[k]) for k in (0, 1) for v in x[:, k] for up in (True, False)]
    assert found.feature == max(tried)[1] == "b" and not found.above
    assert np.isclose(f1(1, found.value, found.above), max(tried)[0])
    assert best_threshold(["a"], {"X": x, "y": y * 0, "weight": weight}) is None


def test_missed_landslides_are_the_unmatched_ones_over_seams_the_largest_first():
    reference, mapped = np.zeros((2, 2, 20, 20), np.uint8)
    reference[0, 2:8, 15:] = reference[1, 2:8, :3] = 1  # one landslide over the seam, 48 pixels
    mapped[0, 2:4, 15:] = 1  # 10 of them: no match
    reference[1, 12:16, 10:14] = mapped[1, 12:16, 10:14] = 1
    reference[0, 15, 3] = 1
    tiles = [tile_objects(r, {"stack": m}) for r, m in zip(reference, mapped, strict=True)]
    place = tuple(np.array(v) for v in ([1, 1], [0, 0], [0, 1]))
    large, small = missed_landslides(tiles, np.array([7, 8]), place, lambda i: reference[i])
    assert (large.patch, large.tiles, large.pixels) == (7, 2, 48)
    assert (large.row, large.col) == (4.5, 17.0) and np.isclose(large.mapped_share, 10 / 48, 1e-3)
    assert (small.patch, small.pixels, small.mapped_share) == (7, 1, 0.0)


def test_baselines_stand_on_the_tiles_of_the_models(tiny_run):
    found = read_json(tiny_run / "predict/valid/scores/summary.json")
    assert [b["name"] for b in found["baselines"]] == ["NDVI and slope", "best single feature"]
    rule = found["baselines"][0]
    folds = read_json(tiny_run / "pixel/summary.json")["rule"]["folds"]
    assert f"NDVI below {np.median([f['ndvi_below'] for f in folds]):.2f}" in rule["rule"]
    assert 0 < rule["f1"] < 1 and rule["f1_low"] is None  # four tiles are too few blocks


def test_baselines_out_of_fold_are_chosen_on_the_training_tiles_of_each_fold(tiny_run):
    rule, single = read_json(tiny_run / "stack/summary.json")["baselines"]
    assert np.isclose(rule["f1"], read_json(tiny_run / "pixel/summary.json")["rule"]["f1"])
    folds = load_folds(tiny_run / "scenes")
    source = FeatureSource.beside(tiny_run / "pixel", tiny_run / "data/train/patches.zarr")
    names, ids = source.feature_plan().names, open_scores(tiny_run / "pixel/oof.zarr")["patch"]
    masks = source.dataset()["mask"]
    with np.load(tiny_run / "features/sample.npz") as file:
        sample = {key: file[key] for key in ("X", "y", "weight", "patch")}
    right = wrong = 0
    for k in range(folds.n_folds):
        rows = np.isin(sample["patch"], folds.train_ids(k))
        of_fold = {key: sample[key][rows] for key in ("X", "y", "weight")}
        threshold = best_threshold(names, of_fold)
        assert str(threshold) in single["rule"]
        for patch in ids.values[folds.of(ids.values, "fold") == k]:
            values = source.tiles(source.positions([patch]))[0, names.index(threshold.feature)]
            predicted, reference = threshold.applies(values), masks.sel(patch=patch).values == 1
            right += 2 * np.sum(predicted & reference)
            wrong += np.sum(predicted ^ reference)
    assert np.isclose(single["f1"], right / (right + wrong))
