"""Contributions in words: "bare soil +1.9, slope +0.8, fresh edge +0.4, but flat −0.7".

Numbers are log-odds: +0.7 doubles the odds, −0.7 halves them. Features of one topic are added up.
The words themselves are declared with the features (`l4s_ensemble.features.definition.Words`): one
for a high value and one for a low one, so that a lack of vegetation is called by its name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.features.definition import Words
from l4s_ensemble.features.registry import FeaturePlan, catalogue

FEATURES, WORDS = 5, 8
"""Most features and words of a reason."""

LEAST, MOST = 3, 5
"""Words of a sentence."""

SMALL = 0.1
"""Beyond the first few, what is less than this share of the largest is left out."""


def _words_of(name: str) -> Words:
    known = catalogue().get(name)
    return Words(name, name, name) if known is None else known.feature.words


def feature_word(name: str, value: float, typical: float) -> str:
    """Word for a feature at a value, against a typical value."""
    words = _words_of(name)
    return words.high if value >= typical else words.low


def weighed_words(
    contributions: ArrayLike, names: Sequence[str], values: ArrayLike, typical: ArrayLike
) -> list[dict[str, Any]]:
    """Add up contributions (log-odds) by topic, the largest size first.

    Each argument is of shape (feature,): `values` are those of the features here, `typical` what
    they usually are. The fields are those of `l4s_ensemble.pixel.summary.Word`. The word of a topic
    is that of the feature that adds most to its sum.
    """
    added = np.asarray(contributions, dtype=np.float64)
    here, usual = np.asarray(values, dtype=np.float64), np.asarray(typical, dtype=np.float64)
    topics: dict[str, list[int]] = {}
    for i in np.argsort(-np.abs(added), kind="stable"):
        topics.setdefault(_words_of(names[i]).topic, []).append(int(i))
    found = []
    for own in topics.values():
        total = float(added[own].sum())
        first = max(own, key=lambda i: added[i] * (1 if total >= 0 else -1))
        word = feature_word(names[first], here[first], usual[first])
        found.append({"word": word, "log_odds": total, "features": [names[i] for i in own]})
    return sorted(found, key=lambda one: -abs(one["log_odds"]))


def reason(
    plan: FeaturePlan,
    typical: NDArray[np.floating[Any]],
    pixels: NDArray[np.floating[Any]],
    added: NDArray[np.floating[Any]],
    expected: float,
) -> dict[str, Any]:
    """Explain the logit of a landslide.

    Parameters
    ----------
    plan : FeaturePlan
    typical : float array, shape (feature,)
        What each feature usually is.
    pixels : float array, shape (pixel, feature)
        Features of the landslide's pixels.
    added : float array, shape (feature,)
        Log-odds that each feature adds, mean over the pixels.
    expected : float
        Where the sum of contributions starts.

    Returns
    -------
    dict
        Fields of `l4s_ensemble.pixel.summary.Reason`; the largest words and features.
    """
    values = np.median(pixels, axis=0)
    words = weighed_words(added, plan.names, values, typical)
    return {
        "logit": float(added.sum() + expected),
        "expected": float(expected),
        "sentence": sentence(words),
        "words": words[:WORDS],
        "features": [
            {
                "name": plan.features[i].name,
                "group": plan.features[i].group,
                "log_odds": float(added[i]),
                "value": float(values[i]),
                "typical": float(typical[i]),
            }
            for i in np.argsort(-np.abs(added), kind="stable")[:FEATURES]
        ],
    }


def sentence(words: Sequence[Mapping[str, Any]]) -> str:
    """Put the three to five largest of `weighed_words` in a line, those against at the end."""
    largest = max((abs(one["log_odds"]) for one in words), default=0.0)
    parts: dict[bool, list[str]] = {True: [], False: []}
    for i, one in enumerate(words[:MOST]):
        size = abs(one["log_odds"])
        if size >= 0.05 and (i < LEAST or size >= SMALL * largest):
            number = f"{one['log_odds']:+.1f}".replace("-", "−")
            parts[one["log_odds"] > 0].append(f"{one['word']} {number}")
    line = ", but ".join(", ".join(some) for some in parts.values() if some)
    return line or "nothing stands out"
