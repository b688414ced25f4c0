"""Spectral indices of one pixel, from reflectance (or from values relative to the tile).

An index on the stored values of the files is a different quantity; these are made of restored
units only. Denominators are floored and unbounded ratios clipped, so that zero, constant and odd
input stay finite. In formulas a band's name stands for its reflectance.

Trees see only the order of the pixels, so of indices that order them alike one is here. Forty
further ones were tried and added nothing (``benchmarks.choices``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from l4s_ensemble.features.definition import Feature, Words
from l4s_ensemble.features.tile_context import FeatureFunction, Field
from l4s_ensemble.features.window import FloatImage

Reflectance = Callable[[str], FloatImage]
"""Gives a band's reflectance by name, never negative."""

FLOOR = np.float32(1e-6)
"""Least denominator. Reflectance comes in steps of 1e-4."""


def share(part: FloatImage, whole: FloatImage) -> FloatImage:
    """Divide by a denominator of at least `FLOOR`; 0/0 is 0."""
    return part / np.maximum(whole, FLOOR)


def contrast(a: FloatImage, b: FloatImage) -> FloatImage:
    """Normalised difference (a − b) / (a + b) of non-negative pictures, within [−1, 1]."""
    return share(a - b, a + b)


def ratio(part: FloatImage, whole: FloatImage, low: float, high: float) -> FloatImage:
    """Quotient of any two pictures, clipped; `low` … `high` also where the denominator is 0.

    The denominator keeps its sign and is at least `FLOOR` in size.
    """
    size = np.maximum(np.abs(whole), FLOOR)
    return np.clip(part / np.where(whole < 0, -size, size), low, high)


@dataclass(frozen=True)
class Kind:
    """What several indices measure, in words: of a value, and of a comparison; see `Field`."""

    words: Words
    more: str
    less: str
    compared: str


VEGETATION = Kind(
    Words("vegetation", "vegetation", "vegetation missing"), "greener", "barer", "cover"
)
BARE = Kind(Words("bare soil", "bare soil", "little bare soil"), "barer", "greener", "cover")
BRIGHT = Kind(Words("brightness", "brightness", "darkness"), "brighter", "darker", "brightness")
MOIST = Kind(Words("moisture", "moist ground", "dry ground"), "moister", "drier", "moisture")
WATER = Kind(Words("water", "water", "no water"), "wetter", "drier", "moisture")


@dataclass(frozen=True)
class Index:
    """One index: what it reads, how it is made, who proposed it, and what it says.

    Attributes
    ----------
    expected : {-1, 0, 1}
        Where a landslide moves it, see `Feature`: it leaves less vegetation and less water in
        leaves, and brighter, redder, barer ground.
    radiometry : {'any', 'absolute', 'relative'}
        ``any``: a common factor of all bands does not change it, or only its scale.
    superseded_by : tuple of str
        Not a feature of its own where the sensor has these bands.
    """

    name: str
    needs: tuple[str, ...]
    formula: str
    source: str
    image: Callable[[Reflectance], FloatImage]
    kind: Kind
    expected: int = 0
    radiometry: Literal["any", "absolute", "relative"] = "any"
    superseded_by: tuple[str, ...] = ()


def _normalised(name: str, a: str, b: str, source: str, kind: Kind, expected: int) -> Index:
    return Index(
        name,
        (a, b),
        f"({a} − {b}) / ({a} + {b})",
        source,
        lambda reflectance: contrast(reflectance(a), reflectance(b)),
        kind,
        expected,
    )


def _weighted(
    name: str, weights: dict[str, float], source: str, kind: Kind, expected: int
) -> Index:
    def image(reflectance: Reflectance) -> FloatImage:
        total: FloatImage | None = None
        for band, weight in weights.items():
            term = np.float32(weight) * reflectance(band)
            total = term if total is None else total + term
        return total if total is not None else reflectance("")

    words = " ".join(f"{'+' if w >= 0 else '−'} {abs(w)} {b}" for b, w in weights.items())
    return Index(
        name, tuple(weights), words.removeprefix("+ "), source, image, kind, expected, "absolute"
    )


def _bright(reflectance: Reflectance) -> FloatImage:
    squares = (
        np.square(reflectance("B4")) + np.square(reflectance("B3")) + np.square(reflectance("B2"))
    )
    return np.sqrt(squares / np.float32(3))


_VISIBLE = ("B4", "B3", "B2")
_TASSELLED = "Shi & Xu 2019, doi:10.1109/JSTARS.2019.2938388, six bands of Sentinel-2"
INDICES: tuple[Index, ...] = (
    _normalised("ndvi", "B8", "B4", "Rouse et al. 1974, NASA 19740022614", VEGETATION, -1),
    _normalised(
        "ndre", "B8", "B5", "Gitelson & Merzlyak 1994, doi:10.1016/1011-1344(93)06963-4",
        VEGETATION, -1,
    ),
    Index(
        "cire", ("B7", "B5"), "B7 / B5 − 1, clipped to −1 … 20",
        "Gitelson et al. 2003, doi:10.1078/0176-1617-00887",
        lambda b: ratio(b("B7"), b("B5"), 0, 21) - 1, VEGETATION, -1,
    ),
    Index(
        "psri", ("B4", "B2", "B6"), "(B4 − B2) / B6, clipped to −1 … 1",
        "Merzlyak et al. 1999, doi:10.1034/j.1399-3054.1999.106119.x",
        lambda b: ratio(b("B4") - b("B2"), b("B6"), -1, 1), BARE, 1,
    ),
    _normalised(
        "ndmi", "B8", "B11", "Jin & Sader 2005, doi:10.1016/S0034-4257(01)00318-2", MOIST, -1
    ),
    Index(
        "nmdi", ("B8", "B11", "B12"),
        "(B8 − (B11 − B12)) / (B8 + (B11 − B12)), clipped to −2 … 2",
        "Wang & Qu 2007, doi:10.1029/2007GL031021",
        lambda b: ratio(
            b("B8") - (b("B11") - b("B12")), b("B8") + (b("B11") - b("B12")), -2, 2
        ), MOIST,
    ),
    _normalised("nbr", "B8", "B12", "Key & Benson 2006, doi:10.3133/ofr0211", VEGETATION, -1),
    _normalised("nbr2", "B11", "B12", "USGS Landsat Normalized Burn Ratio 2", MOIST, 0),
    _normalised("mndwi", "B3", "B11", "Xu 2006, doi:10.1080/01431160600589179", WATER, 0),
    Index(
        "bsi", ("B11", "B4", "B8", "B2"),
        "((B11 + B4) − (B8 + B2)) / ((B11 + B4) + (B8 + B2))",
        "Rikimaru et al. 2002, Tropical Ecology 43(1)",
        lambda b: contrast(b("B11") + b("B4"), b("B8") + b("B2")), BARE, 1,
    ),
    _weighted(
        "tc_brightness",
        {"B2": 0.3510, "B3": 0.3813, "B4": 0.3437, "B8": 0.7196, "B11": 0.2396, "B12": 0.1949},
        _TASSELLED, BRIGHT, 1,
    ),
    _weighted(
        "tc_greenness",
        {"B2": -0.3599, "B3": -0.3533, "B4": -0.4734, "B8": 0.6633, "B11": 0.0087, "B12": -0.2856},
        _TASSELLED, VEGETATION, -1,
    ),
    # Colour: all that true-colour tiles have
    Index(
        "bright", _VISIBLE, "√((B4² + B3² + B2²) / 3)",
        "Mathieu et al. 1998, doi:10.1016/S0034-4257(98)00030-3", _bright, BRIGHT, 1,
    ),
    _normalised("ri", "B4", "B3", "Escadafal & Huete 1991; redness, −NGRDI", BARE, 1),
    _normalised(
        "ikaw", "B4", "B2", "Kawashima & Nakatani 1998, doi:10.1006/anbo.1997.0544", BARE, 1
    ),
    Index(
        "gli", _VISIBLE, "(2 B3 − B4 − B2) / (2 B3 + B4 + B2)",
        "Louhaichi et al. 2001, doi:10.1080/10106040108542184",
        lambda b: contrast(2 * b("B3"), b("B4") + b("B2")), VEGETATION, -1,
        superseded_by=("B8",),
    ),
    Index(
        "vari", _VISIBLE, "(B3 − B4) / (B3 + B4 − B2), clipped to −2 … 2",
        "Gitelson et al. 2002, doi:10.1016/S0034-4257(01)00289-9",
        lambda b: ratio(b("B3") - b("B4"), b("B3") + b("B4") - b("B2"), -2, 2), VEGETATION, -1,
        superseded_by=("B8",),
    ),
)  # fmt: skip


def fields() -> list[Field]:
    """Every index as a picture over the tile context."""
    return [
        Field(
            i.name,
            i.needs,
            0,
            lambda context, i=i: i.image(context.field),  # type: ignore[misc]
            i.kind.words,
            more=i.kind.more,
            less=i.kind.less,
            compared=i.kind.compared,
            expected=i.expected,
        )
        for i in INDICES
    ]


def functions(_known: dict[str, Field]) -> list[FeatureFunction]:
    """The group ``indices``."""
    return [_function(i) for i in INDICES]


def _function(index: Index) -> FeatureFunction:
    feature = Feature(
        index.name,
        "indices",
        "1",
        index.needs,
        index.formula,
        index.source,
        0,
        index.kind.words,
        radiometry=index.radiometry,
        superseded_by=index.superseded_by,
        expected=index.expected,
    )
    return FeatureFunction(feature, lambda context: context.value(index.name))
