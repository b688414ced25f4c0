"""The stack as an estimator: fit, predict, save, load; a fold has no part in what scores it."""

from __future__ import annotations

import doctest
import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from scipy.special import expit
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from l4s_ensemble.errors import ConfigError, DataError, ModelError
from l4s_ensemble.metrics.counts import f1_pooled, score
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.stack import classifier
from l4s_ensemble.stack.classifier import Stack

TILES, EDGE = 24, 24
FOLD = np.arange(TILES) % 3


def world() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits of both models, and the reference."""
    rng = np.random.default_rng(3)
    y = np.zeros((TILES, EDGE, EDGE), np.uint8)
    y[:, 4:14, 6:16] = 1
    noise = rng.normal(0, [[[[2.0]]], [[[4.0]]]], (2, *y.shape))
    pixel, unet = (np.where(y, 2.0, -2.0) + noise).astype(np.float32)
    return pixel, unet, y


def fitted(**settings: object) -> Stack:
    blocks = np.arange(TILES) // 2
    return Stack(learner="weighted", **settings).fit(*world(), FOLD, blocks=blocks)


@pytest.fixture(scope="module")
def stack() -> Stack:
    return fitted()


def test_the_lines_of_the_notebook_run() -> None:
    found = doctest.testmod(classifier)
    assert found.attempted >= 9 and found.failed == 0


def test_settings_are_kept_and_cloned(stack: Stack) -> None:
    copy = clone(stack.set_params(adapt_threshold=False))
    assert copy.get_params() == stack.get_params()
    with pytest.raises(NotFittedError):
        copy.predict_proba(0.0, 0.0)


def test_every_step_is_fitted_and_the_result_is_better_than_its_parts(stack: Stack) -> None:
    pixel, unet, y = world()
    assert stack.smallest_px_ > 0
    mask = stack.predict(stack.cross_predict_proba(pixel, unet, FOLD))
    assert mask.dtype == np.uint8 and mask.shape == y.shape
    best = {name: one.pooled().best().f1 for name, one in stack.histograms_.items()}
    assert score(mask, y)["f1"] > best["stack"] > max(best["pixel"], best["unet"])
    counted = TileHistograms.empty(range(TILES))
    for i in range(TILES):
        counted.add(i, expit(pixel[i]), y[i])
    np.testing.assert_array_equal(counted.positive, stack.histograms_["pixel"].positive)


def test_a_plain_mean_is_calibrated_where_it_is_wanted() -> None:
    pixel, unet, y = world()
    shifted, blocks = (pixel + 3, unet + 3, y, FOLD), np.arange(TILES) // 2
    found = Stack(learner="plain").fit(*shifted, blocks=blocks)
    assert found.calibration_.kind != "none"
    mean = found.cross_predict_proba(pixel + 3, unet + 3, FOLD).mean()
    assert mean == pytest.approx(y.mean(), rel=0.02)
    bare = Stack(learner="plain", calibrate="none", postprocess="none").fit(*shifted)
    assert (bare.calibration_.kind, bare.smallest_px_) == ("none", 0)
    mean = expit(np.clip([pixel, unet], -12, 12).mean(axis=0))
    np.testing.assert_allclose(bare.predict_proba(pixel, unet), mean, atol=1e-6)


def test_arrays_on_disk_are_read_as_those_in_memory(stack: Stack, tmp_path: Path) -> None:
    on_disk = []
    for name, values in zip(("pixel", "unet", "y"), world(), strict=True):
        on_disk.append(zarr.array(values, store=tmp_path / name, chunks=(4, EDGE, EDGE)))
    labelled = [xr.DataArray(a[...], dims=("patch", "y", "x")) for a in on_disk]
    for arrays in (on_disk, labelled):
        again = Stack(learner="weighted").fit(*arrays, FOLD, blocks=np.arange(TILES) // 2)
        again.save(tmp_path / "again")
        stack.save(tmp_path / "first")
        files = [(tmp_path / n / "model.json").read_text() for n in ("again", "first")]
        assert files[0] == files[1]


def test_the_reference_of_a_fold_has_no_part_in_its_own_scores(stack: Stack) -> None:
    pixel, unet, y = world()
    turned = Stack(learner="weighted").fit(pixel, unet, np.where(FOLD == 0, 1 - y.T, y.T).T, FOLD)
    assert turned.of_fold_[0] == stack.of_fold_[0]
    assert turned.of_fold_[1] != stack.of_fold_[1]
    scores = stack.cross_predict_proba(pixel, unet, FOLD)
    own = stack.calibration_(stack.of_fold_[1].predict_proba(pixel[1], unet[1]))
    np.testing.assert_array_equal(scores[1], own)


def test_fold_models_are_joined_pair_by_pair_then_averaged_then_calibrated(stack: Stack) -> None:
    pixel, unet, _ = world()
    found = stack.predict_proba(pixel[:3], unet[:3], fold_axis=0)
    single = [stack.learner_.predict_proba(p, u) for p, u in zip(pixel[:3], unet[:3], strict=True)]
    np.testing.assert_array_equal(found, stack.calibration_(np.mean(single, axis=0)))
    one = stack.predict_proba(pixel[:1], unet[:1], fold_axis=0)
    np.testing.assert_array_equal(one, stack.predict_proba(pixel[0], unet[0]))


def test_a_threshold_is_carried_moved_or_given(stack: Stack) -> None:
    strange = np.full(stack.reference_.bins, 200)
    follows = fitted(adapt_threshold=True)
    assert stack.scene_threshold(strange) is None
    assert follows.scene_threshold(strange, seen=True) is None
    moved = follows.scene_threshold(strange).threshold
    assert moved != follows.threshold_
    p = np.full((2, 8, 8), (moved + follows.threshold_) / 2)
    assert follows.predict(p).max() == (follows.threshold_ < moved)
    assert follows.predict(p, moved).min() == (moved < follows.threshold_)
    assert stack.uncertainty(stack.threshold_) == 1 > stack.uncertainty(0)


def test_an_unknown_learner_is_refused_with_those_that_are_there() -> None:
    with pytest.raises(ConfigError, match="auto, plain, weighted"):
        Stack(learner="trees").fit(*world(), FOLD)


@pytest.mark.parametrize("fault", ["shape", "fold", "no landslide"])
def test_what_cannot_be_fitted_is_refused(fault: str) -> None:
    pixel, unet, y = world()
    groups = FOLD[1:] if fault == "fold" else FOLD
    if fault == "shape":
        unet = unet[:, :8]
    with pytest.raises(DataError, match="landslide" if fault == "no landslide" else "same tiles"):
        Stack(learner="plain").fit(pixel, unet, y * (fault != "no landslide"), groups)


def test_it_survives_its_file(stack: Stack, tmp_path: Path) -> None:
    stack.save(tmp_path)
    found = Stack.load(tmp_path)
    pixel, unet, _ = world()
    assert found.get_params() == stack.get_params()
    scores = [s.cross_predict_proba(pixel, unet, FOLD) for s in (stack, found)]
    np.testing.assert_array_equal(*scores)
    np.testing.assert_array_equal(stack.predict(scores[0]), found.predict(scores[1]))
    np.testing.assert_array_equal(stack.reference_.negative, found.reference_.negative)


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("format", 99),
        ("settings.adapt_threshold", "guess"),
        ("settings.neighbourhood", 3),
        ("learner.intercept", 1.0),
        ("learner.weight_pixel", 1.5),
        ("threshold", 1.5),
        ("threshold", float("nan")),
        ("smallest_px", -1),
        ("calibration", {"kind": "beta", "scored": [0, 1], "true": [1, 0]}),
        ("calibration", {"kind": "beta", "scored": [0, 1], "true": [0]}),
        ("calibration", {"kind": "beta"}),
        ("learner.weight_pixel", None),
        ("reference", {"positive": [1]}),
        ("reference", {"positive": [1], "negative": [1, 2]}),
        ("reference", None),
    ],
)
def test_a_damaged_file_is_refused(stack: Stack, tmp_path: Path, where: str, value: object) -> None:
    stack.save(tmp_path)
    path = tmp_path / "model.json"
    content = part = json.loads(path.read_text())
    *parents, last = where.split(".")
    for key in parents:
        part = part[key]
    part[last] = value
    if value is None:
        del part[last]
    path.write_text(json.dumps(content))
    with pytest.raises(
        ModelError, match=r"(?s)another version, or .* damaged.*model.json.*fit stack"
    ):
        Stack.load(tmp_path)


def test_a_carried_threshold_suits_means_over_fold_models(rng: np.random.Generator) -> None:
    """Thresholds come from scores of single fold models and are used on their mean.

    Fold models share most of what they say of a pixel. Averaging their probabilities shrinks the
    extremes; that the threshold carries over all the same was measured on unseen tiles, and this
    holds it on scores of the same make.
    """
    z = rng.normal(-3, 2.5, (TILES, 64, 64))
    reference = rng.random(z.shape) < expit(z)
    models = z + rng.normal(0, 1.0, (3, *z.shape))
    single, mean = (TileHistograms.empty(range(TILES)) for _ in range(2))
    for i in range(TILES):
        single.add(i, expit(models[i % 3, i]), reference[i])
        mean.add(i, expit(models[:, i]).mean(axis=0), reference[i])
    carried = f1_pooled(mean.counts(single.pooled().best().value))
    assert carried > mean.pooled().best().f1 - 0.005
    assert carried > single.pooled().best().f1  # and the mean is better
