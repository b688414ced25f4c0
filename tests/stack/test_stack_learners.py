"""The learners' laws: what may move them, what may not, and that their files are they."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit

from l4s_ensemble.config import StackConfig
from l4s_ensemble.errors import ModelError, RunError
from l4s_ensemble.metrics.histogram import ScoreHistogram
from l4s_ensemble.stack.inputs import Seen
from l4s_ensemble.stack.learners import linear, logistic, mean, neighbourhood
from l4s_ensemble.stack.model import KINDS, Learner, load_learner

EDGE = 48
SETTINGS = StackConfig(windows_px=(3, 9), trees=40, leaves=8, epochs=12)


def scene(rng: np.random.Generator) -> tuple[Seen, np.ndarray]:
    """A tile where the pixel model is blind in the left half and the U-Net in the right one.

    Where a model is blind its logit is low and noisy; where it sees, noise is small.
    """
    truth = np.zeros((EDGE, EDGE), bool)
    for y, x in rng.integers(2, EDGE - 14, (6, 2)):
        truth[y : y + 8, x : x + 10] = True
    left = np.arange(EDGE) < EDGE / 2
    clear = np.where(truth, 2.0, -4.0) + rng.normal(0, 1.5, truth.shape)
    blind = rng.normal(-4, 1.0, truth.shape)
    pixel, unet = np.where(left, blind, clear), np.where(left, clear, blind)
    return Seen(pixel.astype(np.float32), unet.astype(np.float32)), truth


def fitted(kind: str, seed: int = 5) -> Learner:
    rng = np.random.default_rng(seed)
    tiles = [scene(rng) for _ in range(16)]
    module = import_module(f"l4s_ensemble.stack.learners.{kind}")
    maps = np.stack([module.rows_of(seen, SETTINGS) for seen, _ in tiles])
    truth = np.stack([mask for _, mask in tiles])
    if kind == "convolution":
        return module.fit(maps, truth, SETTINGS, seed=1)
    rows = np.moveaxis(maps, 1, -1).reshape(-1, maps.shape[1])
    return module.fit(rows, truth.ravel(), SETTINGS)


@pytest.fixture(scope="module", params=KINDS)
def learner(request: pytest.FixtureRequest) -> Learner:
    return fitted(request.param)


@pytest.fixture
def told() -> tuple[Seen, np.ndarray]:
    return scene(np.random.default_rng(99))


def best_f1(probability: np.ndarray, truth: np.ndarray) -> float:
    histogram = ScoreHistogram.empty()
    histogram.add(probability, truth)
    return histogram.best().f1


def test_it_is_better_than_either_base_where_each_is_right_elsewhere(learner, told):
    seen, truth = told
    stacked = best_f1(learner.probability(seen), truth)
    assert stacked > best_f1(expit(seen.logit_pixel), truth) + 0.1
    assert stacked > best_f1(expit(seen.logit_unet), truth) + 0.1


def test_its_probability_holds(learner):
    rng = np.random.default_rng(7)
    tiles = [scene(rng) for _ in range(8)]
    p = np.stack([learner.probability(seen) for seen, _ in tiles])
    assert p.dtype == np.float32 and p.min() >= 0 and p.max() <= 1
    assert p.mean() == pytest.approx(np.mean([t.mean() for _, t in tiles]), rel=0.15)


def test_a_turned_or_mirrored_tile_gives_the_turned_answer(learner, told):
    seen, _ = told
    straight = learner.probability(seen)
    for turns in range(4):
        for flip in (lambda a: a, np.fliplr):

            def moved(a: np.ndarray, turns=turns, flip=flip) -> np.ndarray:
                return np.ascontiguousarray(flip(np.rot90(a, turns)))

            other = learner.probability(Seen(moved(seen.logit_pixel), moved(seen.logit_unet)))
            # Sums of a window in another order differ in the last bit: a tree may then split.
            same = np.isclose(other, moved(straight), atol=1e-4)
            assert same.mean() > 0.999


@pytest.mark.parametrize("kind", ["mean", "logistic", "trees"])
@pytest.mark.parametrize("base", ["pixel", "unet"])
def test_more_of_either_logit_never_lowers_the_answer_there(kind, base, told):
    learner, (seen, _) = fitted(kind), told
    raised = {f"logit_{m}": getattr(seen, f"logit_{m}").copy() for m in ("pixel", "unet")}
    # Pixels farther apart than any window reaches: each is raised alone.
    at = (slice(3, None, 11), slice(2, None, 11))
    raised[f"logit_{base}"][at] += 3.0
    if kind == "trees":
        names = neighbourhood.names(learner.windows_px)
        before, after = (
            neighbourhood.compute(s, learner.windows_px) for s in (seen, Seen(**raised))
        )
        of_tile = [n.startswith("tile_") for n in names]
        after[of_tile] = before[of_tile]
        low, high = learner.probability_of(before), learner.probability_of(after)
    else:
        low, high = learner.probability(seen), learner.probability(Seen(**raised))
    assert (high[at] >= low[at] - 1e-7).all()
    assert (high[at] > low[at] + 1e-3).any()


def test_the_surroundings_leave_the_pixel_out(rng):
    a, b = (rng.normal(-3, 2, (30, 30)).astype(np.float32) for _ in range(2))
    c = a.copy()
    c[12, 17] += 5
    names = neighbourhood.names((3, 9))
    one, other = (neighbourhood.compute(Seen(x, b), (3, 9)) for x in (a, c))
    for name, x, y in zip(names, one, other, strict=True):
        if name.startswith(("around", "spread", "apart")):
            assert y[12, 17] == pytest.approx(x[12, 17], abs=2e-3), name
        if neighbourhood.rises(name):
            assert (y >= x).all(), name


def test_the_neighbourhood_is_what_its_names_say(rng):
    a, b = (rng.normal(-3, 2, (20, 20)).astype(np.float32) for _ in range(2))
    found = neighbourhood.compute(Seen(a, b), (3, 9))
    layers = dict(zip(neighbourhood.names((3, 9)), found, strict=True))
    for y, x in ((10, 11), (0, 0), (19, 3)):
        part = slice(max(y - 4, 0), y + 5), slice(max(x - 4, 0), x + 5)
        keep = np.ones(a[part].shape, bool)
        keep[y - part[0].start, x - part[1].start] = False
        p, u = a[part][keep], b[part][keep]
        assert layers["around9_pixel"][y, x] == pytest.approx(p.mean(), abs=1e-3)
        assert layers["spread9_unet"][y, x] == pytest.approx(u.std(), abs=2e-3)
        assert layers["apart9"][y, x] == pytest.approx(np.abs(p - u).mean(), abs=1e-3)
        assert layers["max9_pixel"][y, x] == a[part].max()
        assert layers["min9_unet"][y, x] == b[part].min()
    assert layers["tile_q90_pixel"][0, 0] == pytest.approx(np.quantile(a, 0.9), abs=1e-5)


def test_it_survives_its_file(learner, told, tmp_path):
    seen, _ = told
    learner.save(tmp_path)
    again = load_learner(tmp_path)
    assert again.kind == learner.kind
    np.testing.assert_array_equal(again.probability(seen), learner.probability(seen))
    assert again.told() == learner.told()


def edit(folder: Path, **values: object) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_it_refuses_another_version_and_other_inputs(learner, tmp_path):
    learner.save(tmp_path)
    if learner.kind in {"logistic", "trees"}:
        edit(tmp_path, names=json.loads((tmp_path / "model.json").read_text())["names"][::-1])
        with pytest.raises(ModelError, match="inputs are not those"):
            load_learner(tmp_path)
    edit(tmp_path, format=1)
    with pytest.raises(ModelError, match="another version"):
        load_learner(tmp_path)


@pytest.mark.parametrize(
    ("kind", "file"), [("trees", "trees.txt"), ("convolution", "convolution.safetensors")]
)
def test_a_file_that_is_missing_or_cut_is_told(kind, file, told, tmp_path):
    fitted(kind).save(tmp_path)
    content = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(content[: len(content) // 20])
    with pytest.raises(ModelError):
        load_learner(tmp_path).probability(told[0])
    (tmp_path / file).unlink()
    with pytest.raises(ModelError, match="not whole"):
        load_learner(tmp_path)


def test_trees_fitted_on_terrain_refuse_tiles_without(rng, told):
    from l4s_ensemble.stack.learners import trees

    seen, truth = told
    slope = np.where(truth, 30.0, 10.0).astype(np.float32)
    with_slope = Seen(seen.logit_pixel, seen.logit_unet, slope_deg=slope)
    layers = trees.rows_of(with_slope, SETTINGS)
    rows = layers.reshape(len(layers), -1).T
    learner = trees.fit(rows, truth.ravel(), SETTINGS, terrain=("slope_deg",))
    assert learner.told()["importances"][0]["name"] == "slope_deg"
    with pytest.raises(ModelError, match="no slope_deg"):
        learner.probability(seen)


def test_a_seed_gives_the_same_convolution_again(told):
    one, two = (fitted("convolution").probability(told[0]) for _ in range(2))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("kind", KINDS)
def test_one_class_alone_is_refused(kind, rng):
    module = import_module(f"l4s_ensemble.stack.learners.{kind}")
    x = rng.normal(size=(4, 2, 8, 8) if kind == "convolution" else (100, 9)).astype(np.float32)
    labels = np.zeros((4, 8, 8) if kind == "convolution" else 100, bool)
    with pytest.raises(RunError, match="both classes"):
        module.fit(x, labels, SETTINGS)


def test_where_no_weight_is_bounded_the_fit_is_scikit_learns(rng):
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    truth = rng.random(4000) < 0.2
    rows = (truth[:, None] * [2.0, 1.0, 0.5] + rng.normal(size=(4000, 3))).astype(np.float32)
    found = logistic.fit(rows, truth, StackConfig(windows_px=()))
    scaled = StandardScaler().fit_transform(rows)
    oracle = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(scaled, truth)
    np.testing.assert_allclose(found.coefficient, oracle.coef_[0], rtol=2e-3)
    assert found.intercept == pytest.approx(oracle.intercept_[0], rel=2e-3)


def test_a_model_that_misleads_gets_weight_zero(rng):
    truth = rng.random(4000) < 0.2
    good = truth * 2.0 + rng.normal(size=4000)
    bad = truth * -1.0 + rng.normal(size=4000)
    rows = np.stack([good, bad], axis=1).astype(np.float32)
    assert mean.fit(rows, truth, SETTINGS).weight_pixel == 1.0
    assert mean.fit(rows[:, ::-1], truth, SETTINGS).weight_pixel == 0.0


def test_the_smooth_f1_is_higher_where_it_was_fitted_and_its_probability_still_holds(rng):
    # Two inputs of which no line is the truth: here log-loss and F1 want different ones.
    x = rng.normal(size=(20000, 2)).astype(np.float32)
    truth = rng.random(20000) < expit(3 * np.maximum(x[:, 0], 0.3 * x[:, 1] + 1) - 6)
    p = {}
    for objective in ("log_loss", "smooth_f1"):
        found = linear.fit_weights(x, truth, l2=1.0, objective=objective)
        weight, intercept = found.plain()
        p[objective] = expit(x @ weight + intercept)
        assert p[objective].mean() == pytest.approx(truth.mean(), rel=1e-3)
    assert best_f1(p["smooth_f1"], truth) >= best_f1(p["log_loss"], truth) - 1e-3
    # Of all lines the fit by log-loss has the lowest.
    loss = {k: -np.mean(np.log(np.where(truth, v, 1 - v))) for k, v in p.items()}
    assert loss["log_loss"] <= loss["smooth_f1"] + 1e-9


def test_the_gradient_of_the_smooth_f1_is_its_slope(rng):
    x = rng.normal(size=(300, 3))
    truth = rng.random(300) < 0.3
    loss = linear._smooth_loss(x, truth, 0.5)
    at = np.array([0.4, 0.2, 0.9, -0.7])
    for i in range(4):
        step = np.eye(4)[i] * 1e-6
        slope = (loss(at + step)[0] - loss(at - step)[0]) / 2e-6
        assert loss(at)[1][i] == pytest.approx(slope, abs=1e-7)
