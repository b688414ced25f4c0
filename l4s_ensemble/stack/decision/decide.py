"""The stack's decision: from a map of probability to a mask. Chosen out-of-fold, saved as JSON.

The order at prediction::

    probability = decision.final(mean of the fold models' probabilities)       # tile by tile
    threshold   = decision.followed(histogram of that over the scene), or decision.threshold
    mask        = decision.called(probability, threshold)                      # tile by tile
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.errors import ModelError
from l4s_ensemble.metrics.histogram import ScoreHistogram
from l4s_ensemble.run.files import read_json, write_json
from l4s_ensemble.stack.decision.calibrate import Calibration
from l4s_ensemble.stack.decision.follow import Followed, follow
from l4s_ensemble.stack.decision.smallest import without_small

FORMAT = 2
_FIX = "run `l4s-ensemble fit stack` again"

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Decision:
    """How probability becomes a mask.

    Attributes
    ----------
    threshold : float
        Of calibrated probability, where the scene is not followed.
    follow : bool
        Whether the threshold moves where the scores of a scene are unlike those of training.
    smallest_px : int
        Smallest landslide that is kept; 0 keeps all.
    calibration : Calibration
    reference : ScoreHistogram
        Calibrated out-of-fold probabilities of training, by class.
    """

    threshold: float
    follow: bool = False
    smallest_px: int = 0
    calibration: Calibration = field(default_factory=Calibration)
    reference: ScoreHistogram = field(default_factory=ScoreHistogram.empty, compare=False)

    def final(self, probability: ArrayLike) -> Float:
        """Calibrated probability, which the threshold is for, of what the meta-learner gives."""
        return self.calibration(probability)

    def called(self, final: Float, threshold: float) -> NDArray[np.uint8]:
        """Mask of one tile from what `final` gave, uint8 (y, x): 1 = landslide."""
        return without_small(final >= np.float32(threshold), self.smallest_px).astype(np.uint8)

    def followed(self, histogram: ArrayLike, *, seen: bool = False) -> Followed | None:
        """Threshold of a scene with these probabilities; None where it does not follow.

        Parameters
        ----------
        histogram : array_like of int, shape (bins,)
            Pixels by bin of final probability, as many bins as `reference` has.
        seen : bool
            Whether the models were fitted on other tiles of that scene: then its probabilities
            keep their meaning.

        Raises
        ------
        ModelError
            If the bins are others.
        """
        if not self.follow or seen:
            return None
        return follow(self.reference, histogram, self.threshold)

    def save(self, path: Path) -> None:
        """Write JSON."""
        write_json(
            path,
            {
                "format": FORMAT,
                "kind": "decision",
                "threshold": self.threshold,
                "follow": self.follow,
                "smallest_px": self.smallest_px,
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
                smallest_px=int(known["smallest_px"]),
                calibration=Calibration(
                    str(known["calibration"]["kind"]),
                    tuple(float(v) for v in known["calibration"]["scored"]),
                    tuple(float(v) for v in known["calibration"]["true"]),
                ),
                reference=ScoreHistogram.from_dict(known["reference"]),
            )
            decision._check()
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelError(
                "the decision's file is not whole", where=path, found=error, fix=_FIX
            ) from None
        return decision

    def _check(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"a threshold of {self.threshold}")
        if not isinstance(self.follow, bool) or self.smallest_px < 0:
            raise ValueError(f"to follow {self.follow!r}, to keep from {self.smallest_px} pixels")
        if self.reference.positive.shape != self.reference.negative.shape:
            raise ValueError("a reference of two lengths")
        knots = (np.array(self.calibration.scored), np.array(self.calibration.true))
        if knots[0].shape != knots[1].shape or any((np.diff(k) <= 0).any() for k in knots):
            raise ValueError("a calibration that does not rise")
