"""Pooled histograms of probability by class: every threshold's score from one pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

TINY = 1e-6
"""Probabilities are kept this far from 0 and 1 before their log-odds are taken."""

GROUPS = 20
"""Bins of probability in which calibration is measured."""


@dataclass
class ScoreHistogram:
    """Counts of landslide and other pixels in equal bins of probability in [0, 1]."""

    positive: NDArray[np.int64]  # (bins,): pixels of the landslide class
    negative: NDArray[np.int64]  # (bins,): and of the rest

    @classmethod
    def empty(cls, bins: int = 1000) -> ScoreHistogram:
        """Make one with no pixel in it."""
        return cls(np.zeros(bins, np.int64), np.zeros(bins, np.int64))

    @property
    def bins(self) -> int:
        """Number of bins."""
        return len(self.positive)

    @property
    def edges(self) -> NDArray[np.float64]:
        """Lower edges of the bins: the thresholds that can be chosen, shape (bins,)."""
        return np.arange(self.bins) / self.bins

    def add(self, probability: ArrayLike, reference: ArrayLike) -> None:
        """Add pixels. A pixel is predicted landslide at threshold t if its probability >= t."""
        p = np.asarray(probability).ravel()
        t = np.asarray(reference).ravel().astype(bool)
        index = bin_index(p, self.bins)
        self.positive += np.bincount(index[t], minlength=self.bins)
        self.negative += np.bincount(index[~t], minlength=self.bins)

    def curve(self) -> dict[str, NDArray[np.float64]]:
        """Precision, recall, F1 and IoU at every threshold in `edges`, shape (bins,) each."""
        tp = self.positive[::-1].cumsum()[::-1].astype(np.float64)
        fp = self.negative[::-1].cumsum()[::-1].astype(np.float64)
        total = float(self.positive.sum())
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.where(tp + fp > 0, tp / (tp + fp), 1.0)
            recall = np.where(total > 0, tp / total, 0.0)
            f1 = np.where(total + tp + fp > 0, 2 * tp / (total + tp + fp), 0.0)
            iou = np.where(total + fp > 0, tp / (total + fp), 0.0)
        scores = {"precision": precision, "recall": recall, "f1": f1, "iou": iou}
        return {"threshold": self.edges, **scores}

    def best(self) -> Threshold:
        """Threshold of the highest pooled F1, with the plateau around it."""
        f1 = self.curve()["f1"]
        k = int(np.argmax(f1))
        bad = np.flatnonzero(f1 < f1[k] - 0.01)
        low = int(bad[bad < k].max(initial=-1)) + 1
        high = int(bad[bad > k].min(initial=self.bins)) - 1
        return Threshold(k / self.bins, float(f1[k]), low / self.bins, high / self.bins)

    def average_precision(self) -> float:
        """Area under the step-wise precision-recall curve (as scikit-learn defines it)."""
        c = self.curve()
        recall = np.append(c["recall"], 0.0)
        return float(np.sum((recall[:-1] - recall[1:]) * c["precision"]))

    def _grouped(self) -> NDArray[np.float64]:
        """Pixels, mean probability and observed frequency in `GROUPS` equal bins, shape (3, bin).

        Without a pixel the latter two are 0.
        """
        group = np.minimum(np.arange(self.bins) * GROUPS // self.bins, GROUPS - 1)
        total = self.positive + self.negative
        columns = (total, (np.arange(self.bins) + 0.5) * total, self.positive)
        n, predicted, observed = (np.bincount(group, c, minlength=GROUPS) for c in columns)
        there = np.maximum(n, 1)
        return np.stack([n, predicted / there / self.bins, observed / there])

    def reliability(self) -> dict[str, list[float | int | None]]:
        """Mean predicted probability and observed frequency in equal bins of probability."""
        n, *rates = self._grouped()
        predicted, observed = (
            [float(v) if k else None for v, k in zip(r, n, strict=True)] for r in rates
        )
        return {"predicted": predicted, "observed": observed, "pixels": [int(k) for k in n]}

    def expected_calibration_error(self) -> float:
        """Mean absolute gap between predicted and observed, weighted by pixels."""
        n, predicted, observed = self._grouped()
        return float((n * np.abs(predicted - observed)).sum() / max(n.sum(), 1))

    def as_dict(self) -> dict[str, list[int]]:
        """Plain lists, for a summary."""
        return {"positive": self.positive.tolist(), "negative": self.negative.tolist()}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> ScoreHistogram:
        """Read back what `as_dict` gave."""
        return cls(np.array(value["positive"], np.int64), np.array(value["negative"], np.int64))


@dataclass(frozen=True)
class Threshold:
    """A chosen threshold, its F1, and the plateau: F1 within one point of the best."""

    value: float
    f1: float
    plateau_low: float
    plateau_high: float


def bin_index(probability: NDArray[Any], bins: int) -> NDArray[np.int64]:
    """Bin of each probability, such that ``p >= k / bins`` exactly when its bin is >= k."""
    p = np.asarray(probability, dtype=np.float64)
    index: NDArray[np.int64] = np.clip(np.floor(p * bins), 0, bins - 1).astype(np.int64)
    return index


def bin_middles(bins: int) -> NDArray[np.float64]:
    """Probability in the middle of each bin, shape (bins,)."""
    return (np.arange(bins) + 0.5) / bins


def sigmoid(logit: ArrayLike) -> NDArray[np.float32]:
    """Logistic function in float32, without overflow."""
    from scipy.special import expit

    return np.asarray(expit(np.asarray(logit, dtype=np.float32)), dtype=np.float32)
