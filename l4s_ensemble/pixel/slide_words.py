"""Contributions in words: "bare soil +1.9, slope +0.8, fresh edge +0.4, but flat −0.7".

Numbers are log-odds: +0.7 doubles the odds, −0.7 halves them. Features of one topic are added up.
The words themselves are declared with the features (`l4s_ensemble.features.definition.Words`): one
for a high value and one for a low one, so that a lack of vegetation is called by its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.features.definition import Words
from l4s_ensemble.features.registry import catalogue

FEATURES, WORDS = 5, 8
"""Most features and words of a reason."""

LEAST, MOST = 3, 5
"""Words of a sentence."""

SMALL = 0.1
"""Beyond the first few, what is less than this share of the largest is not told."""


@dataclass(frozen=True)
class Told:
    """A word and what it weighs.

    Attributes
    ----------
    word : str
    log_odds : float
        Sum over the features that the word stands for.
    features : tuple of str
        Their names, the largest contribution first.
    """

    word: str
    log_odds: float
    features: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a summary."""
        return {"word": self.word, "log_odds": self.log_odds, "features": list(self.features)}


def _words_of(name: str) -> Words:
    known = catalogue().get(name)
    return Words(name, name, name) if known is None else known.feature.words


def feature_word(name: str, value: float | None = None, typical: float | None = None) -> str:
    """Word for a feature at a value, against a typical value; its topic where they are unknown."""
    words = _words_of(name)
    if value is None or typical is None or not np.isfinite([value, typical]).all():
        return words.topic
    return words.high if value >= typical else words.low


def weighed_words(
    contributions: ArrayLike,
    names: Sequence[str],
    values: ArrayLike | None = None,
    typical: ArrayLike | None = None,
) -> list[Told]:
    """Add up contributions by topic.

    Parameters
    ----------
    contributions : array_like of float, shape (feature,)
        Log-odds.
    names : sequence of str
    values, typical : array_like of float, shape (feature,), optional
        Value of each feature here, and what it usually is.

    Returns
    -------
    list of Told
        Largest size first. The word of a topic is that of the feature that adds most to its sum.
    """
    added = np.asarray(contributions, dtype=np.float64)
    here, usual = _column(values, len(names)), _column(typical, len(names))
    topics: dict[str, list[int]] = {}
    for i in np.argsort(-np.abs(added), kind="stable"):
        topics.setdefault(_words_of(names[i]).topic, []).append(int(i))
    told = []
    for own in topics.values():
        total = float(added[own].sum())
        first = max(own, key=lambda i: added[i] * (1 if total >= 0 else -1))
        word = feature_word(names[first], here[first], usual[first])
        told.append(Told(word, total, tuple(names[i] for i in own)))
    return sorted(told, key=lambda t: -abs(t.log_odds))


def slide_words(
    contributions: ArrayLike,
    names: Sequence[str],
    values: ArrayLike | None = None,
    typical: ArrayLike | None = None,
) -> str:
    """Say in one line what speaks for a landslide here and what against.

    Parameters
    ----------
    contributions : array_like of float, shape (feature,)
        Log-odds, of a pixel or the mean over a landslide's pixels.
    names : sequence of str
    values, typical : array_like of float, shape (feature,), optional
        Value of each feature here, and what it usually is; without them words do not tell high
        from low.

    Returns
    -------
    str
        For example ``bare soil +1.9, slope +0.8, but water −0.7``.
    """
    return sentence(weighed_words(contributions, names, values, typical))


def reason(
    added: NDArray[np.floating[Any]],
    expected: float,
    names: Sequence[str],
    groups: Sequence[str],
    values: NDArray[np.floating[Any]],
    typical: NDArray[np.floating[Any]],
) -> dict[str, Any]:
    """Say why a landslide has the logit that it has.

    Parameters
    ----------
    added : float array, shape (feature,)
        Log-odds that each feature adds, mean over the landslide's pixels.
    expected : float
        Where the sum of contributions starts.
    names, groups : sequence of str
        Of the features.
    values, typical : float array, shape (feature,)
        Value of each feature here, and what it usually is.

    Returns
    -------
    dict
        ``logit, expected, sentence``, the largest ``words`` and ``features`` (``name, group,
        log_odds, value, typical``).
    """
    told = weighed_words(added, names, values, typical)
    return {
        "logit": float(added.sum()) + expected,
        "expected": expected,
        "sentence": sentence(told),
        "words": [t.as_dict() for t in told[:WORDS]],
        "features": [
            {
                "name": names[i],
                "group": groups[i],
                "log_odds": float(added[i]),
                "value": float(values[i]),
                "typical": float(typical[i]),
            }
            for i in np.argsort(-np.abs(added), kind="stable")[:FEATURES]
        ],
    }


def sentence(told: Sequence[Told]) -> str:
    """Put the three to five largest words in a line, those against at the end."""
    largest = max((abs(t.log_odds) for t in told), default=0.0)
    kept = [
        t
        for i, t in enumerate(told[:MOST])
        if abs(t.log_odds) >= 0.05 and (i < LEAST or abs(t.log_odds) >= SMALL * largest)
    ]
    if not kept:
        return "nothing stands out"
    line = ", ".join(_written(t) for t in kept if t.log_odds > 0)
    against = ", ".join(_written(t) for t in kept if t.log_odds <= 0)
    if line and against:
        return f"{line}, but {against}"
    return line or against


def _written(told: Told) -> str:
    return f"{told.word} " + f"{told.log_odds:+.1f}".replace("-", "−")


def _column(values: ArrayLike | None, n: int) -> NDArray[Any]:
    return np.full(n, None) if values is None else np.asarray(values, dtype=np.float64)
