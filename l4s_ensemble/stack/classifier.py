"""The stack: an estimator that joins the logits of both base models into one landslide mask."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, ValidationError

from l4s_ensemble.config import StackConfig
from l4s_ensemble.errors import ConfigError, DataError, ModelError
from l4s_ensemble.estimator import Estimator
from l4s_ensemble.metrics.histogram import ScoreHistogram
from l4s_ensemble.metrics.summary import Histogram
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.run.files import read_json, write_json
from l4s_ensemble.run.stage import SummaryModel
from l4s_ensemble.stack.calibration import Calibration, choose_calibration
from l4s_ensemble.stack.learners import (
    LEARNERS,
    Learner,
    OutOfFold,
    choose_learner,
    cross_fit,
    score_learners,
)
from l4s_ensemble.stack.threshold import (
    SceneThreshold,
    choose_smallest,
    remove_small,
    scene_threshold,
)
from l4s_ensemble.stack.uncertainty import uncertainty

FORMAT = 5
MODEL_FILE = "model.json"
AGAIN = "run `l4s-ensemble fit stack` again"

Float = NDArray[np.float32]


class Stack(Estimator):
    """Meta-learner, calibration and threshold on the logits of two base models.

    The steps are chosen on out-of-fold logits and cross-fitted over the folds: what scores a tile
    was fitted on other folds.

    Parameters
    ----------
    learner : str
        ``plain`` mean of both logits, or ``weighted`` for the best F1 (see
        `l4s_ensemble.stack.learners.LEARNERS`). ``auto``: weighted only where its cross-fitted F1
        is shown to be better.
    calibrate : {'auto', 'none'}
        Whether a rising map corrects probabilities, where shown to help.
    adapt_threshold : bool
        In a scene whose scores no share of landslides explains, the threshold moves
        until the same share of pixels is predicted landslide as in training.
    postprocess : {'auto', 'none'}
        Whether small landslides are removed, where shown to help.
    random_state : int
        Seed of the bootstrap.

    Attributes
    ----------
    learner_ : Learner
        Fitted on all folds.
    of_fold_ : dict of int to Learner
        The one that scores each fold.
    calibration_ : Calibration
    threshold_ : float
        Of calibrated probability, with the best pooled out-of-fold F1.
    smallest_px_ : int
        Smallest landslide that is kept, pixels; 0 keeps all.
    reference_ : ScoreHistogram
        Calibrated out-of-fold probabilities by class.
    candidates_, calibrations_, removal_ : list of dict, dict, dict
        How learner, calibration and smallest landslide were chosen. Not saved, like the next two.
    histograms_ : dict of str to TileHistograms
        Out-of-fold probabilities of ``pixel``, ``unet``, ``mean`` and ``stack``.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = np.zeros((12, 32, 32), np.uint8)
    >>> y[:, 8:20, 10:24] = 1
    >>> pixel, unet = (6.0 * y - 3 + rng.normal(0, noise, y.shape) for noise in (2, 3))
    >>> stack = Stack(learner="weighted").fit(pixel, unet, y, groups=np.arange(12) % 3)
    >>> stack.learner_.weight_pixel > 0.5
    True
    >>> probability = stack.predict_proba(pixel[0], unet[0])
    >>> mask = stack.predict(probability)
    >>> mask.shape, bool((mask == y[0]).mean() > 0.9)
    ((32, 32), True)
    """

    def __init__(
        self,
        *,
        learner: str = "auto",
        calibrate: Literal["auto", "none"] = "auto",
        adapt_threshold: bool = False,
        postprocess: Literal["auto", "none"] = "auto",
        random_state: int = 0,
    ) -> None:
        self.learner = learner
        self.calibrate = calibrate
        self.adapt_threshold = adapt_threshold
        self.postprocess = postprocess
        self.random_state = random_state

    def fit(
        self,
        pixel: Any,
        unet: Any,
        y: Any,
        groups: ArrayLike,
        blocks: ArrayLike | None = None,
        allowed: Mapping[int, ArrayLike] | None = None,
        tiles: ArrayLike | None = None,
    ) -> Stack:
        """Fit the meta-learner and choose calibration, threshold and smallest landslide.

        Parameters
        ----------
        pixel, unet : array, shape (tile, y, x)
            Out-of-fold logits of the base models. Like `y` of numpy, zarr or xarray: a few tiles
            are in memory at a time.
        y : array, shape (tile, y, x)
            Reference masks, 1 = landslide.
        groups : array_like of int, shape (tile,)
            Fold of each tile.
        blocks : array_like of int, shape (tile,), optional
            Spatial block of each tile, for intervals; without it the folds, and then fewer than
            ten of them give no interval, so that nothing that needs one is kept.
        allowed : mapping of int to array_like of int, optional
            Ids of the tiles that may be fitted on to score a fold; without it, all of other folds.
        tiles : array_like of int, shape (tile,), optional
            Ids; without them, positions.

        Raises
        ------
        ConfigError
            If there is no such learner.
        DataError
            If shapes differ, or the pixels are of one class only.
        """
        fold = np.asarray(groups, dtype=np.int64)
        block = fold if blocks is None else np.asarray(blocks)
        ids = np.arange(len(fold)) if tiles is None else np.asarray(tiles, dtype=np.int64)
        shapes = {tuple(a.shape) for a in (pixel, unet, y)}
        if len(shapes) != 1 or {len(fold), len(block), len(ids)} != {pixel.shape[0]}:
            raise DataError("logits, masks and folds are not of the same tiles", found=shapes)
        data = OutOfFold(pixel, unet, y, fold, ids)
        scored = self._fit_learner(data, block, allowed)
        kind, seed = self.learner_.kind, self.random_state
        if not scored[kind].positive.any():
            raise DataError(
                "there is no landslide to choose a threshold by", fix="give tiles with landslides"
            )
        self.calibration_, table = choose_calibration(scored[kind], fold, block, seed=seed)
        if self.calibrate == "none":
            self.calibration_ = Calibration()
            table |= {"chosen": "none", "after": table["before"]}
        self.calibrations_ = table
        final = TileHistograms.empty(ids)
        for i, probability, reference in self._out_of_fold(data):
            final.add(i, probability, reference)
        self.histograms_ = {name: scored[name] for name in ("pixel", "unet", "mean")}
        self.histograms_["stack"] = final
        self.reference_ = final.pooled()
        self.threshold_ = self.reference_.best().value
        self.removal_: dict[str, Any] = {"smallest_px": 0, "reason": "not asked for"}
        if self.postprocess == "auto":
            # In float64, as histograms count: a bin's edge in float32 may lie on its other side.
            masks = (
                (probability.astype(np.float64) >= self.threshold_, reference)
                for _, probability, reference in self._out_of_fold(data)
            )
            self.removal_ = choose_smallest(masks, fold, block, seed=seed)
        self.smallest_px_: int = self.removal_["smallest_px"]
        return self

    def _fit_learner(
        self, data: OutOfFold, block: NDArray[Any], allowed: Mapping[int, ArrayLike] | None
    ) -> dict[str, TileHistograms]:
        """Fit the candidates and choose one; histograms of them and of the base models."""
        if self.learner not in {"auto", *LEARNERS}:
            raise ConfigError(
                "no such meta-learner",
                where="stack.learner",
                found=self.learner,
                allowed=", ".join(["auto", *LEARNERS]),
            )
        fits = cross_fit(data, LEARNERS if self.learner == "auto" else [self.learner], allowed)
        scored = score_learners(data, {kind: of_fold for kind, (_, of_fold) in fits.items()})
        compared = {name: one for name, one in scored.items() if name != "mean"}
        self.candidates_ = choose_learner(compared, block, seed=self.random_state)
        kind = next(row["name"] for row in self.candidates_ if row["chosen"])
        self.learner_, self.of_fold_ = fits[kind]
        return scored

    def _out_of_fold(self, data: OutOfFold) -> Iterator[tuple[int, Float, NDArray[np.bool_]]]:
        """Position, calibrated out-of-fold probability and reference mask of each tile."""
        for at, pixel, unet, masks in data.batches("stack: joining"):
            final = self.cross_predict_proba(pixel, unet, data.fold[at])
            yield from zip(range(at.start, at.stop), final, masks, strict=True)

    def predict_proba(
        self, pixel: ArrayLike, unet: ArrayLike, *, fold_axis: int | None = None
    ) -> Float:
        """Calibrated probability of landslide from logits of both models.

        Parameters
        ----------
        pixel, unet : array_like, shape (...)
        fold_axis : int, optional
            Axis of fold models. The meta-learner was fitted on the logits of single models, not
            on an average's: it is applied to each fold's pair, then probabilities are averaged.

        Returns
        -------
        float32 array, shape (...) without `fold_axis`
        """
        self._require_fitted("calibration_")
        probability = self.learner_.predict_proba(pixel, unet)
        if fold_axis is not None:
            probability = probability.mean(axis=fold_axis)
        return self.calibration_(probability)

    def cross_predict_proba(self, pixel: ArrayLike, unet: ArrayLike, groups: ArrayLike) -> Float:
        """Calibrated probability of tiles, each by the learner of its fold, (tile, y, x)."""
        self._require_fitted("calibration_")
        pairs = zip(np.asarray(groups).tolist(), np.asarray(pixel), np.asarray(unet), strict=True)
        each = [self.of_fold_[fold].predict_proba(p, u) for fold, p, u in pairs]
        return self.calibration_(np.stack(each))

    def predict(self, probability: ArrayLike, threshold: float | None = None) -> NDArray[np.uint8]:
        """Masks of calibrated probabilities, uint8 (..., y, x), 1 = landslide.

        Parameters
        ----------
        probability : array_like, shape (..., y, x)
            From `predict_proba`.
        threshold : float, optional
            Instead of `threshold_`; of `scene_threshold`, say.
        """
        self._require_fitted("calibration_")
        p = np.asarray(probability, dtype=np.float32)
        mask = p >= np.float32(self.threshold_ if threshold is None else threshold)
        for at in np.ndindex(p.shape[:-2]):
            mask[at] = remove_small(mask[at], self.smallest_px_)
        return mask.astype(np.uint8)

    def uncertainty(self, probability: ArrayLike) -> Float:
        """Nearness of calibrated probabilities to the threshold, 0 (certain) to 1."""
        self._require_fitted("calibration_")
        return uncertainty(probability, self.threshold_)

    def scene_threshold(self, histogram: ArrayLike, *, seen: bool = False) -> SceneThreshold | None:
        """Threshold of a scene with these scores; None where `threshold_` is kept unexamined.

        Parameters
        ----------
        histogram : array_like of int, shape (bins,)
            Pixels by bin of calibrated probability, as many bins as `reference_` has.
        seen : bool
            Whether the models were fitted on other tiles of that scene: then its probabilities
            keep their meaning.

        Raises
        ------
        ModelError
            If the bins are others.
        """
        self._require_fitted("calibration_")
        if not self.adapt_threshold or seen:
            return None
        return scene_threshold(self.reference_, histogram, self.threshold_)

    def save(self, folder: Path) -> None:
        """Write ``model.json``: settings and what `predict_proba` and `predict` need."""
        self._require_fitted("calibration_")
        settings = self.get_params()
        saved = _Saved(
            format=FORMAT,
            random_state=settings.pop("random_state"),
            settings=StackConfig(**settings),
            learner=self.learner_,
            of_fold=self.of_fold_,
            calibration=self.calibration_,
            threshold=self.threshold_,
            smallest_px=self.smallest_px_,
            reference=Histogram(**self.reference_.as_dict()),
        )
        write_json(folder / MODEL_FILE, saved)

    @classmethod
    def load(cls, folder: Path) -> Stack:
        """Read what `save` wrote.

        Raises
        ------
        ModelError
            If the file is of another version or damaged.
        """
        path = folder / MODEL_FILE
        try:
            saved = _Saved.model_validate(read_json(path))
        except ValidationError as error:
            first = error.errors()[0]
            raise ModelError(
                "the stack was saved by another version, or its file is damaged",
                where=path,
                found=": ".join((*map(str, first["loc"]), first["msg"])),
                fix=AGAIN,
            ) from None
        stack = cls(**saved.settings.model_dump(), random_state=saved.random_state)
        stack.learner_, stack.of_fold_ = saved.learner, saved.of_fold
        stack.calibration_ = saved.calibration
        stack.threshold_, stack.smallest_px_ = saved.threshold, saved.smallest_px
        stack.reference_ = ScoreHistogram.from_dict(saved.reference.model_dump())
        return stack


class _Saved(SummaryModel):
    """What ``model.json`` holds."""

    format: Literal[5]
    random_state: int
    settings: StackConfig
    learner: Learner
    of_fold: dict[int, Learner]
    calibration: Calibration
    threshold: float = Field(ge=0, le=1)
    smallest_px: int = Field(ge=0)
    reference: Histogram
