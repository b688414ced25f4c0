"""Contributions in words: "bare soil +1.9, slope +0.8, fresh edge +0.4, but flat −0.7".

Numbers are log-odds: +0.7 doubles the odds, −0.7 halves them. Features of one topic are added up,
vegetation and its lack, say. A feature's word depends on whether its value is high or low against
what is typical, so that a lack of vegetation is called by its name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

FEATURES, WORDS = 5, 8
"""Most features and words of a reason."""

LEAST, MOST = 3, 5
"""Words of a sentence."""

SMALL = 0.1
"""Beyond the first few, what is less than this share of the largest is not told."""

_GREEN = (
    "(ndvi|evi2|msavi|gndvi|ndre|nd705|ndci|cire|s2rep_nm|osavi|mtci|mcari|gli|vari|rgbvi|nbr|"
    "tc_greenness)"
)
_BARE = "(bsi|dbsi|ndsoi|mbi|ri|psri|ikaw|ferrous_iron|ferrous|bai)"
_BRIGHT = "(bright|tc_brightness|bi)"
_AROUND = "(_minus_mean|_minus_ring|_minus_neighbours|_segment_minus_neighbours|_minus_aspect).*"
_SCENE = "(_scene_z|_scene_rank|_tile_z|_tile_rank)"
_BUMP = "(_tophat|_bothat).*"

# Pattern of the whole name; word for a high value, for a low one, and where it is not known.
# The first that fits counts: pictures of surroundings stand before the picture they are made of.
_RULES: tuple[tuple[str, str, str, str], ...] = (
    (r".*_(std|variation|roughness|segment_std)(_\d+)?", "mixed surroundings",
     "even surroundings", "surroundings"),
    (r".*_fineness.*", "fine grain", "coarse grain", "grain"),
    (r".*_(gradient|energy)_.*", "fresh edge", "no edge", "edge"),
    (r".*_coherence_.*", "streaks", "no streaks", "streaks"),
    (r".*_(along_slope|downhill)(_.*)?", "runs downhill", "runs across the slope",
     "direction against the slope"),
    (r".*_log2_px|.*_narrow_\d+", "patch of its own", "no patch of its own", "patch"),
    (f"{_GREEN}_dog_.*", "greener than around", "barer than around", "green against around"),
    (f"{_BARE}_dog_.*", "barer than around", "greener than around", "bare against around"),
    (f"{_BRIGHT}_dog_.*", "brighter than around", "darker than around", "light against around"),
    (f"{_GREEN}_bothat_.*", "gap in the vegetation", "no gap in the vegetation", "gap"),
    (f"{_BARE}_tophat_.*", "bare patch", "no bare patch", "patch"),
    (f"{_BRIGHT}_tophat_.*", "bright patch", "no bright patch", "patch"),
    (f".*{_BUMP}", "patch of its own", "no patch of its own", "patch"),
    (f"{_GREEN}{_AROUND}", "greener than around", "barer than around", "green against around"),
    (f"{_BARE}{_AROUND}", "barer than around", "greener than around", "bare against around"),
    (f"{_BRIGHT}{_AROUND}", "brighter than around", "darker than around", "light against around"),
    (f"{_GREEN}{_SCENE}", "green for this scene", "bare for this scene", "green in the scene"),
    (f"{_BARE}{_SCENE}", "bare for this scene", "green for this scene", "bare in the scene"),
    (f"{_BRIGHT}{_SCENE}", "bright for this scene", "dark for this scene", "light in the scene"),
    (f"slope{_SCENE}", "steep for this scene", "flat for this scene", "slope in the scene"),
    (f"ndmi{_SCENE}", "moist for this scene", "dry for this scene", "moisture in the scene"),
    (r"upslope_slope_.*", "steep above", "flat above", "slope above"),
    (r"upslope_height_.*", "tall slope above", "little slope above", "slope above"),
    (r"slope_to_drainage_.*", "steep down to the stream", "gentle down to the stream",
     "slope to the stream"),
    (r"(segment_)?slope_.*", "slope", "flat", "slope"),
    (r"(segment_)?(relief|ruggedness)_.*", "rugged ground", "smooth ground", "ruggedness"),
    (r"tpi_.*", "ridge", "hollow", "ridge or hollow"),
    (r"curv_.*", "bulging ground", "hollow ground", "curvature"),
    (r"(above_low|relative_height|segment_relative_height).*", "high on the slope",
     "low on the slope", "height on the slope"),
    (r"above_drainage_.*", "high above streams", "near a stream's level", "height above streams"),
    (r"to_drainage_.*", "far from streams", "near a stream", "distance to streams"),
    (r"(flow|wetness)_.*", "water gathers", "little water gathers", "water from above"),
    (r"stream_power_.*", "strong run-off", "little run-off", "run-off"),
    (r"northness", "faces north", "faces south", "aspect"),
    (r"eastness", "faces east", "faces west", "aspect"),
    (r"sun_cosine", "sunlit", "turned from the sun", "sunlight"),
    (r"sunward_horizon_.*", "in the hills' shadow", "open to the sun", "shadow"),
    (r"sky_view_.*", "open sky", "narrow valley", "sky in view"),
    (r"segment_area_.*", "large patch", "small patch", "patch size"),
    (r"segment_elongation", "long patch", "round patch", "patch shape"),
    (r"segment_compactness", "compact patch", "ragged patch", "patch shape"),
    (r"segment_reach_.*", "steep runout", "gentle runout", "runout"),
    (f"{_GREEN}(_.*)?", "vegetation", "vegetation missing", "vegetation"),
    (f"{_BARE}(_.*)?", "bare soil", "little bare soil", "bare soil"),
    (f"{_BRIGHT}(_.*)?", "brightness", "darkness", "brightness"),
    (r"(ndmi|nmdi|nbr2|tc_wetness)(_.*)?", "moist ground", "dry ground", "moisture"),
    (r"(nbrswir|mirbi)(_.*)?", "dry ground", "moist ground", "moisture"),
    (r"(mndwi|aweish|andwi)(_.*)?", "water", "no water", "water"),
    (r"(ndsii|s3)(_.*)?", "snow or cloud", "no snow", "snow"),
    *(
        (rf"(refl_|level_)?{band}(_.*)?", f"much {light}", f"little {light}", light)
        for band, light in (
            ("b1", "violet light"), ("b2", "blue light"), ("b3", "green light"),
            ("b4", "red light"), ("b[567]", "red-edge light"), ("b8", "near infrared"),
            ("b9", "water-vapour band"), ("b10", "cirrus band"), ("b1[12]", "short-wave infrared"),
        )
    ),
)  # fmt: skip


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


@lru_cache(maxsize=1024)
def _words_of(name: str) -> tuple[str, str, str]:
    for pattern, high, low, plain in _RULES:
        if re.fullmatch(pattern, name):
            return high, low, plain
    return name, name, name


def feature_word(name: str, value: float | None = None, typical: float | None = None) -> str:
    """Word for a feature at a value, against a typical value; its name if no word is known."""
    high, low, plain = _words_of(name)
    if value is None or typical is None or not np.isfinite([value, typical]).all():
        return plain
    return high if value >= typical else low


def weighed_words(
    contributions: ArrayLike,
    names: Sequence[str],
    values: ArrayLike | None = None,
    typical: ArrayLike | None = None,
) -> list[Told]:
    """Add up contributions by word.

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
        Largest size first.
    """
    added = np.asarray(contributions, dtype=np.float64)
    here, usual = _column(values, len(names)), _column(typical, len(names))
    topics: dict[frozenset[str], list[int]] = {}
    for i in np.argsort(-np.abs(added), kind="stable"):
        topics.setdefault(frozenset(_words_of(names[i])[:2]), []).append(int(i))
    told = []
    for own in topics.values():
        # Of two opposite words the one is said that most of the weight is on.
        votes: dict[str, float] = {}
        for i in own:
            word = feature_word(names[i], here[i], usual[i])
            votes[word] = votes.get(word, 0.0) + abs(float(added[i]))
        word = max(votes, key=lambda w: votes[w])
        told.append(Told(word, float(added[own].sum()), tuple(names[i] for i in own)))
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
