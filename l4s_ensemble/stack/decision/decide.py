"""The stack's decision: from a map of probability to a mask. Chosen out-of-fold, saved as JSON.

The order at prediction::

    probability = decision.final(mean of the fold models' probabilities)       # tile by tile
    threshold   = decision.threshold_for(histogram of that over the split or scene)
    mask        = decision.called(probability, threshold)                      # tile by tile
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.config import StackConfig
from l4s_ensemble.errors import ModelError, RunError
from l4s_ensemble.metrics.histogram import ScoreHistogram
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.run.files import read_json, write_json
from l4s_ensemble.stack.decision import calibrate, follow_shown, prevalence
from l4s_ensemble.stack.decision.calibrate import Calibration
from l4s_ensemble.stack.decision.follow import METHODS, Followed, follow
from l4s_ensemble.stack.decision.postprocess import Float, Step, cleaned, filtered
from l4s_ensemble.stack.decision.search import BLOCK_TILES, search

FORMAT = 1
_FIX = "run `l4s-ensemble fit stack` again"


class Readable(Protocol):
    """Scores of tiles, as `run.scores.ScoreFile` has them."""

    patch: NDArray[np.int64]

    def read(self, block: slice) -> NDArray[np.float32]:
        """Scores of a block, (tile, y, x)."""


@dataclass(frozen=True)
class Decision:
    """How probability becomes a mask.

    Attributes
    ----------
    threshold : float
        Of calibrated probability, after the steps that change it; where the scene is not followed.
    follow : str or None
        Method of `follow.METHODS` that moves the threshold with the scores to predict.
    reference : ScoreHistogram
        Calibrated out-of-fold probabilities of training, by class.
    steps : tuple of Step
        Post-processing, in order.
    calibration : Calibration
    """

    threshold: float
    follow: str | None = None
    reference: ScoreHistogram = field(default_factory=ScoreHistogram.empty, compare=False)
    steps: tuple[Step, ...] = ()
    calibration: Calibration = field(default_factory=Calibration)

    def calibrated(self, probability: ArrayLike) -> Float:
        """Probability that holds; all else here wants it calibrated."""
        return self.calibration(probability)

    def final(self, probability: ArrayLike, guide: NDArray[Any] | None = None) -> Float:
        """Probability of one tile that the threshold is for: calibrated and filtered, (y, x).

        Parameters
        ----------
        probability : array_like, shape (y, x)
            As the meta-learner gives it.
        guide : array, shape (y, x, channel), optional
            The tile's bands, for a step that reads them.
        """
        return filtered(self.calibrated(probability), self.on_probability, guide)

    def called(self, final: Float, threshold: float) -> NDArray[np.uint8]:
        """Mask of one tile from what `final` gave, uint8 (y, x): 1 = landslide."""
        on_mask = [s for s in self.steps if not s.on_probability]
        return cleaned(final >= np.float32(threshold), final, on_mask).astype(np.uint8)

    @property
    def on_probability(self) -> list[Step]:
        """Steps that change the probability."""
        return [s for s in self.steps if s.on_probability]

    def threshold_for(self, histogram_of_probability: ArrayLike) -> float:
        """Threshold for a split or scene with these calibrated probabilities.

        Parameters
        ----------
        histogram_of_probability : array_like of int, shape (bins,)
            Pixels by bin, as many bins as `reference` has.

        Raises
        ------
        ModelError
            If the bins are others and the threshold follows.
        """
        found = self.followed(histogram_of_probability)
        return self.threshold if found is None else found.threshold

    def followed(
        self, histogram_of_probability: ArrayLike, *, seen: bool = False
    ) -> Followed | None:
        """Likewise with how it came about; None where the threshold does not follow.

        `seen`: whether the models were fitted on other tiles of that scene. Then its probabilities
        keep their meaning, and ``unlike`` has nothing to mend.
        """
        if self.follow is None or (seen and self.follow == "unlike"):
            return None
        return follow(self.reference, histogram_of_probability, self.threshold, self.follow)

    def mask(
        self, probability: Float, threshold: float, guide: NDArray[Any] | None = None
    ) -> NDArray[np.uint8]:
        """Mask of one tile.

        Parameters
        ----------
        probability : float array, shape (y, x)
            Calibrated.
        threshold : float
        guide : array, shape (y, x, channel), optional
            The tile's bands, for a step that reads them.

        Returns
        -------
        uint8 array, shape (y, x)
            1 = landslide.
        """
        return self.called(filtered(probability, self.on_probability, guide), threshold)

    @property
    def wants_guide(self) -> bool:
        """Whether a step reads the tile's bands."""
        return any(s.name == "guided" and s["guide"] == "image" for s in self.steps)

    def save(self, path: Path) -> None:
        """Write JSON."""
        write_json(
            path,
            {
                "format": FORMAT,
                "kind": "decision",
                "threshold": self.threshold,
                "follow": self.follow,
                "steps": [s.as_dict() for s in self.steps],
                "calibration": {
                    "kind": self.calibration.kind,
                    "scored": list(self.calibration.scored),
                    "true": list(self.calibration.true),
                },
                "reference": self.reference.as_dict(),
            },
        )

    @classmethod
    def load(cls, path: Path) -> Decision:
        """Read what `save` wrote.

        Raises
        ------
        ModelError
            If the file is of another version, not whole, or holds what cannot be.
        """
        value = read_json(path)
        known = value if isinstance(value, Mapping) else {}
        if known.get("format") != FORMAT or known.get("kind") != "decision":
            raise ModelError(
                "the decision was saved by another version", where=path,
                found=known.get("format"), allowed=FORMAT, fix=_FIX,
            )  # fmt: skip
        try:
            decision = cls(
                threshold=float(known["threshold"]),
                follow=known["follow"],
                reference=ScoreHistogram.from_dict(known["reference"]),
                steps=tuple(Step.from_dict(s) for s in known["steps"]),
                calibration=Calibration(
                    str(known["calibration"]["kind"]),
                    tuple(float(v) for v in known["calibration"]["scored"]),
                    tuple(float(v) for v in known["calibration"]["true"]),
                ),
            )
            decision._check()
        except (KeyError, TypeError, ValueError, AttributeError, ModelError) as error:
            raise ModelError(
                "the decision's file is not whole", where=path, found=error, fix=_FIX
            ) from None
        return decision

    def _check(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"a threshold of {self.threshold}")
        if self.follow is not None and self.follow not in METHODS:
            raise ValueError(f"to follow by {self.follow!r}")
        if self.reference.positive.shape != self.reference.negative.shape:
            raise ValueError("a reference of two lengths")
        knots = (np.array(self.calibration.scored), np.array(self.calibration.true))
        if knots[0].shape != knots[1].shape or any((np.diff(k) <= 0).any() for k in knots):
            raise ValueError("a calibration that does not rise")


def decide(
    probabilities: Readable,
    truth: Any,
    fold: ArrayLike,
    block: ArrayLike,
    settings: StackConfig,
    seed: int = 0,
    *,
    scene: ArrayLike | None = None,
    guide: Any | None = None,
) -> tuple[Decision, dict[str, Any]]:
    """Choose calibration, threshold, whether it follows and post-processing, out-of-fold.

    Parameters
    ----------
    probabilities : Readable
        Out-of-fold, as scored.
    truth : array (tile, y, x)
        Anything that a slice of tiles can be taken of; 1 = landslide.
    fold, block : array_like of int, shape (tile,)
    settings : StackConfig
    seed : int
    scene : array_like of int, shape (tile,), optional
    guide : array (tile, y, x, channel), optional
        Bands for the guided filter; at prediction `Decision.mask` then wants them too.

    Returns
    -------
    Decision
    dict
        ``threshold, plateau, f1`` (at the threshold alone), ``prevalence`` (`prevalence.rows`),
        ``calibration`` (`calibrate.choose`), ``follow`` (``asked, chosen, why, kind, methods``:
        `follow_shown.compare`), ``postprocess`` (``asked`` and `search.Searched.told`).

    Raises
    ------
    RunError
        If there are no landslides.
    """
    places = np.zeros(len(probabilities.patch), np.int64) if scene is None else np.asarray(scene)
    keys = np.stack([np.asarray(fold, np.int64), np.asarray(block, np.int64), places])
    groups, group = np.unique(keys, axis=1, return_inverse=True)
    group = np.asarray(group, np.int64).ravel()
    of_fold, of_block, of_scene = groups
    options: dict[str, Any] = {"resamples": settings.resamples, "seed": seed}
    tiles = _OutOfFold(probabilities, truth, guide)
    counted = tiles.histograms(group, len(of_fold), settings.bins)
    if counted.positive.sum() == 0:
        raise RunError(
            "there is no landslide to choose a threshold by", where="out-of-fold scores",
            fix="give tiles with landslides",
        )  # fmt: skip
    calibration, told_calibration = calibrate.choose(counted, of_fold, of_block, **options)
    if settings.calibrate == "none":
        calibration = Calibration()
        told_calibration |= {"chosen": "none", "after": told_calibration["before"]}
    if calibration.scored:
        tiles.calibration = calibration
        counted = tiles.histograms(group, len(of_fold), settings.bins)
    reference = counted.pooled()
    best = reference.best()
    place, kind = follow_shown.places(
        None if scene is None else of_scene, of_fold,
        (counted.positive + counted.negative).sum(axis=1),
    )  # fmt: skip
    table = follow_shown.compare(counted, place, of_block, **options)
    method, why = follow_shown.chosen(table, kind)
    if settings.follow != "auto":
        method = None if settings.follow == "none" else settings.follow
        why = "asked for"
    steps: tuple[Step, ...] = ()
    threshold = best.value
    told_steps: dict[str, Any] = {"f1": None, "kept": [], "tried": [], "reason": "not asked for"}
    if settings.postprocess == "auto":
        found = search(
            tiles, group, of_fold, of_block, threshold=best.value, bins=settings.bins, **options
        )
        steps, threshold, told_steps = found.steps, found.threshold, found.told
    decision = Decision(threshold, method, reference, steps, calibration)
    return decision, {
        "threshold": threshold,
        "threshold_without_steps": best.value,
        "plateau": [best.plateau_low, best.plateau_high],
        "f1": best.f1,
        "prevalence": prevalence.rows(reference, best.value),
        "calibration": told_calibration,
        "follow": {
            "asked": settings.follow, "chosen": method, "why": why, "kind": kind, "methods": table,
        },
        "postprocess": {"asked": settings.postprocess, **told_steps},
    }  # fmt: skip


class _OutOfFold:
    """Tiles for the search: calibrated probability, truth, guide."""

    def __init__(self, probabilities: Readable, truth: Any, guide: Any | None) -> None:
        self._probabilities, self._truth, self._guide = probabilities, truth, guide
        self.calibration = Calibration()

    def __len__(self) -> int:
        return len(self._probabilities.patch)

    def read(self, block: slice) -> tuple[Float, NDArray[np.bool_], NDArray[Any] | None]:
        p = self.calibration(self._probabilities.read(block))
        guide = None if self._guide is None else np.asarray(self._guide[block])
        return p, np.asarray(self._truth[block]) == 1, guide

    def histograms(self, group: NDArray[np.int64], groups: int, bins: int) -> TileHistograms:
        """Pixels by class and bin, a row a group."""
        out = TileHistograms.empty(np.arange(groups), bins)
        for start in range(0, len(self), BLOCK_TILES):
            p, truth, _ = self.read(slice(start, min(start + BLOCK_TILES, len(self))))
            for j in range(len(p)):
                out.add(int(group[start + j]), p[j], truth[j])
        return out
