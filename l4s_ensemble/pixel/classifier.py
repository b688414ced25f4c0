"""The pixel classifier: gradient-boosted trees on the features of single pixels."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from joblib import effective_n_jobs
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import (
    _check_n_features,
    _check_sample_weight,
    check_array,
    check_is_fitted,
    check_X_y,
    validate_data,
)

from l4s_ensemble.config import PixelConfig
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.pixel.boosters import CLASSIFIER_FILE, Boosters, damaged, load_with_json

SETTINGS = (
    "trees", "seeds", "constraints", "views", "leaves", "learning_rate", "min_child_samples",
    "feature_fraction", "bagging_fraction", "l2", "max_bin",
)  # fmt: skip
"""Settings that the classifier shares with `PixelConfig`: names, ranges and defaults."""

PREDICTED_ROWS = 1 << 16
"""Rows that are copied at a time for prediction."""

_DEFAULT = PixelConfig()
_STREAM = 1703
_SECOND_VIEW = 1 << 20
"""Number of the second view's booster, beyond those of any seed."""


class PixelClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Gradient-boosted trees that separate landslide pixels from others.

    The logit is the mean over several LightGBM boosters: `seeds` for each of one or two views. It
    is the same on every run, whatever the number of threads. LightGBM is only needed to fit,
    see `l4s_ensemble.pixel.boosters`.

    Parameters
    ----------
    trees, ..., max_bin
        As in `l4s_ensemble.config.PixelConfig`. With two views there are boosters with the
        constraints of physics, and others without them that only read `relational` features: what
        either learns by heart of the scenes that it is fitted on, the other does not.
    expected : sequence of {-1, 0, 1}, shape (feature,), optional
        Sign of each feature's effect on the logit; 0: not known.
    relational : sequence of bool, shape (feature,), optional
        Whether the gain of the scene cancels in a feature. There is one view without it, or where
        it is the same for all features.
    relative : bool
        Whether the levels of the sensor are relative, with an unknown gain for each tile.
    random_state : int
        Seed, 0 or more.
    n_jobs : int, optional
        Threads of the fit; predictions use one.

    Attributes
    ----------
    boosters_ : tuple of str
        LightGBM's text of each booster.
    classes_ : array, shape (2,)
        The second one is that of landslides.
    n_features_in_ : int
    feature_names_in_ : object array, shape (feature,)
        Names in the order of the columns; ``x0, x1, ...`` where none were given.

    Examples
    --------
    >>> import numpy as np
    >>> from l4s_ensemble.pixel.classifier import PixelClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(2000, 3)).astype(np.float32)
    >>> y = X[:, 0] + X[:, 1] > 1
    >>> classifier = PixelClassifier(trees=20, leaves=8).fit(X, y)
    >>> classifier.score(X, y) > 0.9
    True
    >>> image = rng.normal(size=(3, 64, 48)).astype(np.float32)
    >>> classifier.predict_logit_image(image).shape
    (64, 48)
    """

    def __init__(
        self,
        *,
        trees: int = _DEFAULT.trees,
        seeds: int = _DEFAULT.seeds,
        constraints: str = _DEFAULT.constraints,
        views: str = _DEFAULT.views,
        leaves: int = _DEFAULT.leaves,
        learning_rate: float = _DEFAULT.learning_rate,
        min_child_samples: int = _DEFAULT.min_child_samples,
        feature_fraction: float = _DEFAULT.feature_fraction,
        bagging_fraction: float = _DEFAULT.bagging_fraction,
        l2: float = _DEFAULT.l2,
        max_bin: int = _DEFAULT.max_bin,
        expected: Sequence[int] | None = None,
        relational: Sequence[bool] | None = None,
        relative: bool = False,
        random_state: int = 0,
        n_jobs: int | None = 1,
    ) -> None:
        self.trees = trees
        self.seeds = seeds
        self.constraints = constraints
        self.views = views
        self.leaves = leaves
        self.learning_rate = learning_rate
        self.min_child_samples = min_child_samples
        self.feature_fraction = feature_fraction
        self.bagging_fraction = bagging_fraction
        self.l2 = l2
        self.max_bin = max_bin
        self.expected = expected
        self.relational = relational
        self.relative = relative
        self.random_state = random_state
        self.n_jobs = n_jobs

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        feature_names: Sequence[str] | None = None,
    ) -> Self:
        """Fit the boosters.

        Parameters
        ----------
        X : array_like, shape (row, feature)
            Finite; read as float32. Of a memory-mapped float32 file only the bins are held.
        y : array_like, shape (row,)
            Two classes; the second in ascending order is that of landslides.
        sample_weight : array_like of float, shape (row,), optional
            Only ratios count. Rows of weight 0 are left out.
        feature_names : sequence of str, optional
            Without them those of a data frame's columns.

        Returns
        -------
        PixelClassifier
            Itself.

        Raises
        ------
        ValueError
            If the data or a setting are not as described.
        """
        import lightgbm as lgb

        rows, label = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(label)
        weight = _check_sample_weight(
            sample_weight, rows, dtype=np.float64, ensure_non_negative=True
        )
        kept = np.flatnonzero(weight)
        self.classes_ = np.unique(label[kept])
        if len(self.classes_) > 2:
            kind = type_of_target(label)
            raise ValueError(f"Only binary classification is supported. The target is {kind}.")
        if len(self.classes_) < 2:
            raise ValueError("the rows to fit on are of one class only")
        self._name_features(feature_names)
        config = PixelConfig(**{name: getattr(self, name) for name in SETTINGS})
        parameters = self._parameters(config)
        data = lgb.Dataset(
            _on_demand(rows, kept),
            label=label[kept] == self.classes_[1],
            # Mean 1: then the regularisation means the same whatever share of pixels was drawn.
            weight=weight[kept] / weight[kept].mean(),
            feature_name=list(self.feature_names_in_),
            params=parameters[0],
        )
        self.boosters_ = tuple(
            lgb.train(one, data, num_boost_round=config.trees).model_to_string()
            for one in parameters
        )
        return self

    def refit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike, *, decay: float) -> Self:
        """Fit the leaves of all trees anew to rows of another place; splits stay as they are.

        Parameters
        ----------
        X, y, sample_weight
            As of `fit`.
        decay : float
            Share of the old value that a leaf keeps; a leaf without rows keeps all of it.

        Returns
        -------
        PixelClassifier
            Another one.
        """
        import lightgbm as lgb

        check_is_fitted(self)
        rows, label = check_X_y(X, y, dtype=np.float32)
        weight = _check_sample_weight(sample_weight, rows, dtype=np.float64)
        made = copy.copy(self)
        made.boosters_ = tuple(
            lgb.Booster(model_str=text)
            .refit(
                rows,
                label == self.classes_[1],
                decay_rate=decay,
                weight=weight / weight.mean(),
                lambda_l2=self.l2,
                verbosity=-1,
            )
            .model_to_string()
            for text in self.boosters_
        )
        return made

    def predict_logit(self, X: ArrayLike) -> NDArray[np.float32]:
        """Predict the log-odds of the landslide class.

        Parameters
        ----------
        X : array_like, shape (row, feature)
            Finite; read as float32. May be a memory-mapped file.

        Returns
        -------
        float32 array, shape (row,)
        """
        check_is_fitted(self)
        if hasattr(X, "columns"):  # their names are compared with those of the fit
            rows = validate_data(self, X, reset=False, dtype=np.float32)
        else:
            rows = check_array(X, dtype=np.float32)
            _check_n_features(self, rows, reset=False)
        fitted, logit = self.fitted_, np.empty(len(rows), np.float32)
        for start in range(0, len(rows), PREDICTED_ROWS):
            part = rows[start : start + PREDICTED_ROWS]
            # Trees are evaluated on squares of 8 x 8 pixels: lines of eight rows fill them.
            lines = -(-len(part) // 8)
            image = np.zeros((rows.shape[1], lines * 8), np.float32)
            image[:, : len(part)] = part.T
            found = fitted.predict_logit_image(image.reshape(-1, lines, 8))
            logit[start : start + len(part)] = found.ravel()[: len(part)]
        return logit

    def predict_logit_image(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Predict the log-odds of every pixel of an image, on one thread.

        Parameters
        ----------
        features : float32 array, shape (feature, y, x)
            Finite.

        Returns
        -------
        float32 array, shape (y, x)
        """
        return self.fitted_.predict_logit_image(features)

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float32]:
        """Predict the probability of both classes, float32 (row, 2)."""
        p = sigmoid(self.predict_logit(X))
        return np.column_stack([1 - p, p])

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Predict the more probable class of each row, shape (row,)."""
        most = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[most])

    @property
    def fitted_(self) -> Boosters:
        """What predicts, without scikit-learn."""
        check_is_fitted(self)
        return Boosters(tuple(self.feature_names_in_), self.boosters_)

    def save(self, folder: Path) -> None:
        """Write ``classifier.json`` and one LightGBM text for each booster."""
        self.fitted_.save(folder, classes=self.classes_, settings=self.get_params())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        ModelError
            If it is not a pixel classifier, of another version, damaged or incomplete.
        """
        fitted, value = load_with_json(folder)
        try:
            made = cls(**value["settings"])
            made.classes_ = np.array(value["classes"])
        except (KeyError, TypeError) as error:
            raise damaged(folder / CLASSIFIER_FILE, error) from None
        made.feature_names_in_ = np.array(fitted.names, dtype=object)
        made.n_features_in_ = len(fitted.names)
        made.boosters_ = fitted.texts
        return made

    def _name_features(self, names: Sequence[str] | None) -> None:
        count = self.n_features_in_
        if names is None:
            names = getattr(self, "feature_names_in_", [f"x{i}" for i in range(count)])
        if any(len(g) != count for g in (names, self.expected, self.relational) if g is not None):
            raise ValueError(f"names, expected and relational need a value for {count} features")
        if any(len(name.split()) != 1 for name in names):
            raise ValueError("names of features must not be empty or hold spaces")
        self.feature_names_in_ = np.array(names, dtype=object)

    def _parameters(self, config: PixelConfig) -> list[dict[str, Any]]:
        """LightGBM's parameters of each booster."""
        free = {
            "objective": "binary",
            "learning_rate": config.learning_rate,
            "num_leaves": config.leaves,
            "min_data_in_leaf": config.min_child_samples,
            "feature_fraction": config.feature_fraction,
            "bagging_fraction": config.bagging_fraction,
            "bagging_freq": 1 if config.bagging_fraction < 1 else 0,
            "lambda_l2": config.l2,
            "max_bin": config.max_bin,
            "seed": int(self.random_state),
            "deterministic": True,
            # Else LightGBM times both ways and picks one: not the same on every run.
            "force_row_wise": True,
            "num_threads": self.n_jobs if (self.n_jobs or 0) > 0 else effective_n_jobs(self.n_jobs),
            "verbosity": -1,
        }
        ruled, expected = free, [] if self.expected is None else [int(s) for s in self.expected]
        if any(expected):
            ruled = free | {
                "monotone_constraints": expected,
                # Forbids no more splits than the order needs; the basic method does.
                "monotone_constraints_method": "intermediate",
            }
        views = [ruled if config.constraints == "physics" else free]
        two = config.views == "two" or (config.views == "auto" and self.relative)
        kept = np.flatnonzero([] if self.relational is None else self.relational)
        if two and 0 < len(kept) < self.n_features_in_:
            second = _other_draw(free, _SECOND_VIEW)
            views = [ruled, second | {"interaction_constraints": [kept.tolist()]}]
        return [_other_draw(view, n) for n in range(config.seeds) for view in views]


def _other_draw(parameters: dict[str, Any], number: int) -> dict[str, Any]:
    """Give booster `number` other rows and columns, but the same bins; number 0 is unchanged."""
    if number == 0:
        return parameters
    rng = np.random.default_rng([parameters["seed"], _STREAM, number])
    rows, columns = rng.integers(1, 2**31 - 1, 2).tolist()
    return parameters | {"bagging_seed": rows, "feature_fraction_seed": columns}


def _on_demand(rows: NDArray[np.float32], kept: NDArray[np.int64]) -> Any:
    """Rows as LightGBM asks for them, a few at a time: only their bins are held."""
    import lightgbm as lgb

    class Rows(lgb.Sequence):  # type: ignore[misc]
        batch_size = 8192

        def __getitem__(self, index: int | slice | list[int]) -> NDArray[np.float64]:
            return np.asarray(rows[kept[index]], dtype=np.float64)

        def __len__(self) -> int:
            return len(kept)

    return Rows()
