"""The estimator: scikit-learn's checks, LightGBM as an oracle, and what is saved."""

from __future__ import annotations

import doctest
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from l4s_ensemble.config import PixelConfig
from l4s_ensemble.errors import ModelError
from l4s_ensemble.pixel import classifier as module
from l4s_ensemble.pixel.classifier import PixelClassifier
from l4s_ensemble.pixel.shapley import contributions
from l4s_ensemble.pixel.trees import read_trees

QUICK: dict[str, Any] = {
    "trees": 20, "leaves": 8, "learning_rate": 0.2, "min_child_samples": 5, "random_state": 7,
}  # fmt: skip


def data(rows: int = 3000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, classes and weights; the first two features speak for a landslide, the third does not.

    The first one says most.
    """
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 3)).astype(np.float32)
    y = (1.5 * x[:, 0] + x[:, 1] + 0.7 * rng.normal(size=rows) > 1).astype(np.uint8)
    return x, y, rng.uniform(0.5, 2, rows)


def fitted(**settings: Any) -> PixelClassifier:
    return PixelClassifier(**QUICK | settings).fit(*data())


def raw(classifier: PixelClassifier, x: np.ndarray) -> list[np.ndarray]:
    """Logits by each booster, by LightGBM itself."""
    boosters = [lgb.Booster(model_str=text) for text in classifier.boosters_]
    return [b.predict(x, raw_score=True, num_threads=1) for b in boosters]


@parametrize_with_checks([PixelClassifier(**QUICK), PixelClassifier(**QUICK, seeds=2)])
def test_it_is_an_estimator_of_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)


def test_the_example_of_the_docstring_works() -> None:
    assert doctest.testmod(module).attempted > 5
    assert doctest.testmod(module).failed == 0


def test_settings_are_those_of_the_run() -> None:
    default = PixelConfig().model_dump()
    for name, value in PixelClassifier().get_params().items():
        assert value == default.get(name, value)
    assert set(module.SETTINGS) < set(PixelClassifier().get_params())
    with pytest.raises(ValueError, match="feature_fraction"):
        fitted(feature_fraction=2)
    with pytest.raises(ValueError, match="3 features"):
        fitted(expected=(1, 0))


def test_it_is_lightgbm_on_an_array() -> None:
    x, y, weight = data()
    settings = {
        "objective": "binary",
        "num_leaves": 8,
        "learning_rate": 0.2,
        "min_data_in_leaf": 5,
        "feature_fraction": 0.5,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "lambda_l2": 3.0,
        "seed": 7,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }
    set_ = lgb.Dataset(x, y, weight=weight / weight.mean(), feature_name=["x0", "x1", "x2"])
    known = lgb.train(settings, set_, 20)
    found = fitted(feature_fraction=0.5, bagging_fraction=0.8, l2=3.0)
    trees = found.boosters_[0].split("parameters:")[0]
    assert trees == known.model_to_string().split("parameters:")[0]
    logit = known.predict(x, raw_score=True, num_threads=1)
    np.testing.assert_array_equal(found.predict_logit(x), logit.astype(np.float32))
    np.testing.assert_allclose(found.predict_proba(x)[:, 1], known.predict(x), atol=1e-6)


def test_rows_of_an_array_of_a_file_and_of_an_image_are_predicted_alike(tmp_path: Path) -> None:
    x, y, weight = data()
    np.save(tmp_path / "x.npy", x)
    one, other = fitted(), PixelClassifier(**QUICK)
    other.fit(mapped := np.load(tmp_path / "x.npy", mmap_mode="r"), y, weight)
    assert one.boosters_ == other.boosters_
    logit = one.predict_logit(x)
    np.testing.assert_array_equal(other.predict_logit(mapped), logit)
    image = x[:2400].T.reshape(3, 40, 60)
    np.testing.assert_array_equal(one.predict_logit_image(image).ravel(), logit[:2400])
    np.testing.assert_array_equal(one.predict_logit(x[:13]), logit[:13])
    image[1, 3, 3] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        one.predict_logit_image(image)


def test_rows_of_weight_0_choose_nothing() -> None:
    x, y, weight = data()
    some = np.arange(len(y)) % 3 > 0
    known = PixelClassifier(**QUICK).fit(x[some], y[some], weight[some])
    x[~some], y[~some] = 1000, 1
    found = PixelClassifier(**QUICK).fit(x, y, weight * some)
    assert found.boosters_ == known.boosters_


def test_more_seeds_are_the_mean_of_boosters_that_differ() -> None:
    x = data()[0]
    many = fitted(seeds=3, bagging_fraction=0.5)
    each = raw(many, x)
    assert len(each) == 3 and np.abs(each[0] - each[1]).max() > 0.05
    assert fitted(bagging_fraction=0.5).boosters_[0] == many.boosters_[0]
    np.testing.assert_allclose(many.predict_logit(x), np.mean(each, axis=0), atol=1e-6)
    added, expected = contributions(many.fitted_.trees, x[:100])
    shap = np.mean(
        [
            lgb.Booster(model_str=t).predict(x[:100], pred_contrib=True, num_threads=1)
            for t in many.boosters_
        ],
        axis=0,
    )
    np.testing.assert_allclose(added, shap[:, :-1], atol=1e-9)
    assert expected == pytest.approx(shap[0, -1])


def test_boosters_that_do_not_belong_together_are_refused() -> None:
    (one,), (other,) = fitted(trees=3).boosters_, fitted(trees=2).boosters_
    with pytest.raises(ValueError, match="equally many"):
        read_trees([one, other])
    with pytest.raises(ValueError, match="equal columns"):
        read_trees([one, one.replace("feature_names=x0", "feature_names=x")])


def test_constraints_hold() -> None:
    # The wrong way round, so that there is something to forbid.
    found = fitted(constraints="physics", expected=(-1, 1, 0), trees=40, leaves=31)
    rows = np.repeat(data()[0][:50], 40, axis=0)
    for feature, sign in ((0, -1), (1, 1)):
        walked = rows.copy()
        walked[:, feature] = np.tile(np.linspace(-4, 4, 40), 50)
        logit = found.predict_logit(walked).reshape(50, 40)
        assert (sign * np.diff(logit, axis=1) >= -1e-6).all()
    free = fitted()
    assert fitted(expected=(1, 1, 0)).boosters_ == free.boosters_
    assert fitted(expected=(0, 0, 0), constraints="physics").boosters_ == free.boosters_


@pytest.mark.parametrize(
    ("views", "relative", "number"),
    [("auto", True, 2), ("auto", False, 1), ("two", False, 2), ("one", True, 1)],
)
def test_how_many_views(views: str, relative: bool, number: int) -> None:
    settings = {"views": views, "relative": relative, "trees": 2}
    assert len(fitted(**settings, relational=(False, True, True)).boosters_) == number
    # Where every feature or none is relational, a second view would be the first one again.
    assert len(fitted(**settings, relational=(True,) * 3).boosters_) == 1
    assert len(fitted(**settings, relational=(False,) * 3).boosters_) == 1


def test_two_views_are_the_mean_of_both() -> None:
    x = data()[0]
    found = fitted(views="two", expected=(1, 0, 0), relational=(False, True, True), seeds=2)
    boosters = [lgb.Booster(model_str=text) for text in found.boosters_]
    used = [b.feature_importance() for b in boosters]
    # Sharing bins does not carry a constraint from one view to the other.
    for one, two in (used[:2], used[2:]):
        assert one[0] > 0 == two[0] and (two[1:] > 0).all()
    each = raw(found, x)
    assert np.abs(each[0] - each[1]).max() > 0.1
    np.testing.assert_allclose(found.predict_logit(x), np.mean(each, axis=0), atol=1e-6)


def test_a_saved_classifier_predicts_as_before_and_can_be_fitted_again(tmp_path: Path) -> None:
    x, y, weight = data()
    settings = QUICK | {"seeds": 2, "expected": (1, 1, 0), "constraints": "physics"}
    made = PixelClassifier(**settings).fit(x, y, weight, feature_names=["bare", "steep", "noise"])
    made.save(tmp_path)
    again = PixelClassifier.load(tmp_path)
    assert again.feature_names_in_.tolist() == ["bare", "steep", "noise"]
    assert again.n_features_in_ == 3 and again.classes_.tolist() == [0, 1]
    assert again.boosters_ == made.boosters_
    np.testing.assert_array_equal(again.predict_logit(x), made.predict_logit(x))
    assert clone(again).fit(x, y, weight, feature_names=made.feature_names_in_).boosters_ == (
        made.boosters_
    )
    assert not list(tmp_path.glob("*.p*"))  # texts only
    with pytest.raises(ValueError, match="spaces"):
        made.fit(x, y, feature_names=["two words", "b", "c"])


def test_predicting_needs_no_lightgbm(tmp_path: Path) -> None:
    fitted().save(tmp_path)
    np.save(tmp_path / "x.npy", data()[0][:9])
    code = (
        "import sys, numpy as np; from pathlib import Path; sys.modules['lightgbm'] = None\n"
        "from l4s_ensemble.pixel.classifier import PixelClassifier\n"
        "print(PixelClassifier.load(Path(sys.argv[1])).predict_proba(np.load(sys.argv[2])).shape)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path, tmp_path / "x.npy"], capture_output=True, text=True
    )
    assert done.stdout.strip() == "(9, 2)", done.stderr


@pytest.mark.parametrize(
    ("match", "change"),
    [
        ("version", lambda v: v.update(version=99)),
        ("not a pixel classifier", lambda v: v.update(kind="cat")),
        ("settings", lambda v: v.pop("settings")),
        ("no_such", lambda v: v["settings"].update(no_such=1)),
        ("booster_9", lambda v: v.update(boosters=["booster_9.txt"])),
    ],
)
def test_damaged_and_foreign_files_are_refused(match: str, change: Any, tmp_path: Path) -> None:
    fitted(trees=2).save(tmp_path)
    path = tmp_path / "classifier.json"
    change(value := json.loads(path.read_text()))
    path.write_text(json.dumps(value))
    with pytest.raises(ModelError, match=match) as error:
        PixelClassifier.load(tmp_path)
    assert error.value.fix


def test_an_edited_booster_is_refused(tmp_path: Path) -> None:
    fitted(trees=2).save(tmp_path)
    path = tmp_path / "booster_0.txt"
    path.write_text(path.read_text().replace("leaf_value=", "leaf_value=1"))
    with pytest.raises(ModelError, match="not those that were saved"):
        PixelClassifier.load(tmp_path)
    with pytest.raises(ModelError, match="cannot be read"):
        PixelClassifier.load(tmp_path / "nowhere")
