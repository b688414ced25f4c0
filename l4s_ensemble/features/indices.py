"""Spectral indices of one pixel, from reflectance (or from levels relative to the tile).

An index on the stored values of the files is a different quantity; these are made of restored
units only. Denominators are floored and unbounded ratios clipped, so that zero, constant and odd
input stay finite. In formulas a band's name stands for its reflectance.

Trees see only the order of the pixels. An index that orders them as another one does is left out:
NDWI of McFeeters is −GNDVI; the snow index NDSI and NDPonI are ±MNDWI; NDBI, MSI and NDII are NDMI;
the tillage and clay ratios B11 / B12, NDTI of van Deventer and NSDSI are NBR2; B12 / B8 alone is
−NBR; the iron oxide ratio B4 / B2 is IKAW; NGRDI, NDGlaI and the turbidity index are ±RI;
G / (R + G + B) is GLI; SAVI orders real pixels as EVI2 and MSAVI do (rank correlation above .999).
BAIS2 and NBR+ need B8A, which the files do not have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from l4s_ensemble.data.bands import SPECTRAL
from l4s_ensemble.features.recipe import Feature, Field, FloatImage, Recipe

Light = Callable[[str], FloatImage]
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
class Index:
    """One index: what it reads, how it is made, and who proposed it.

    Attributes
    ----------
    level : {'any', 'absolute', 'relative'}
        ``any``: a common factor of all bands does not change it, or only its scale.
    superseded_by : tuple of str
        Not a feature of its own where the sensor has these bands.
    """

    name: str
    needs: tuple[str, ...]
    formula: str
    source: str
    image: Callable[[Light], FloatImage]
    level: Literal["any", "absolute", "relative"] = "any"
    superseded_by: tuple[str, ...] = ()
    unit: str = "1"


def _normalised(name: str, a: str, b: str, source: str) -> Index:
    return Index(
        name,
        (a, b),
        f"({a} − {b}) / ({a} + {b})",
        source,
        lambda light: contrast(light(a), light(b)),
    )


def _weighted(name: str, weights: dict[str, float], source: str) -> Index:
    def image(light: Light) -> FloatImage:
        total: FloatImage | None = None
        for band, weight in weights.items():
            term = np.float32(weight) * light(band)
            total = term if total is None else total + term
        return total if total is not None else light("")

    words = " ".join(f"{'+' if w >= 0 else '−'} {abs(w)} {b}" for b, w in weights.items())
    return Index(name, tuple(weights), words.removeprefix("+ "), source, image, level="absolute")


def _msavi(light: Light) -> FloatImage:
    nir, red = light("B8"), light("B4")
    lead = 2 * nir + 1
    # lead² − 8 (nir − red) = (2 nir − 1)² + 8 red is never negative.
    return 0.5 * (lead - np.sqrt(np.square(2 * nir - 1) + 8 * red))


def _s2rep(light: Light) -> FloatImage:
    middle = 0.5 * (light("B7") + light("B4"))
    return 705 + ratio(35 * (middle - light("B5")), light("B6") - light("B5"), -15, 55)


def _mcari(light: Light) -> FloatImage:
    edge = light("B5")
    depth = (edge - light("B4")) - 0.2 * (edge - light("B3"))
    return depth * ratio(edge, light("B4"), 0, 20)


def _s3(light: Light) -> FloatImage:
    nir, red, swir = light("B8"), light("B4"), light("B11")
    # Two quotients: the product of two small denominators would fall below the floor.
    return share(nir, nir + red) * share(red - swir, nir + swir)


def _ferrous(light: Light) -> FloatImage:
    return ratio(light("B12"), light("B8"), 0, 5) + ratio(light("B3"), light("B4"), 0, 5)


def _bright(light: Light) -> FloatImage:
    squares = np.square(light("B4")) + np.square(light("B3")) + np.square(light("B2"))
    return np.sqrt(squares / np.float32(3))


_VISIBLE = ("B4", "B3", "B2")
_TASSELLED = "Shi & Xu 2019, doi:10.1109/JSTARS.2019.2938388, six bands of Sentinel-2"
_MATHIEU = "Mathieu et al. 1998, doi:10.1016/S0034-4257(98)00030-3"
INDICES: tuple[Index, ...] = (
    # Vegetation
    _normalised("ndvi", "B8", "B4", "Rouse et al. 1974, NASA 19740022614"),
    Index(
        "evi2", ("B8", "B4"), "2.5 (B8 − B4) / (B8 + 2.4 B4 + 1)",
        "Jiang et al. 2008, doi:10.1016/j.rse.2008.06.006",
        lambda b: 2.5 * (b("B8") - b("B4")) / (b("B8") + 2.4 * b("B4") + 1),
        level="absolute",
    ),
    Index(
        "msavi", ("B8", "B4"), "(2 B8 + 1 − √((2 B8 + 1)² − 8 (B8 − B4))) / 2",
        "Qi et al. 1994, doi:10.1016/0034-4257(94)90134-1", _msavi, level="absolute",
    ),
    _normalised("gndvi", "B8", "B3", "Gitelson et al. 1996, doi:10.1016/S0034-4257(96)00072-7"),
    _normalised("ndre", "B8", "B5", "Gitelson & Merzlyak 1994, doi:10.1016/1011-1344(93)06963-4"),
    _normalised("nd705", "B6", "B5", "Sims & Gamon 2002, doi:10.1016/S0034-4257(02)00010-X"),
    _normalised("ndci", "B5", "B4", "Mishra & Mishra 2012, doi:10.1016/j.rse.2011.10.016"),
    Index(
        "cire", ("B7", "B5"), "B7 / B5 − 1, clipped to −1 … 20",
        "Gitelson et al. 2003, doi:10.1078/0176-1617-00887",
        lambda b: ratio(b("B7"), b("B5"), 0, 21) - 1,
    ),
    Index(
        "s2rep_nm", ("B4", "B5", "B6", "B7"),
        "705 + 35 ((B7 + B4) / 2 − B5) / (B6 − B5), clipped to 690 … 760",
        "Frampton et al. 2013, doi:10.1016/j.isprsjprs.2013.04.007",
        _s2rep, unit="nm",
    ),
    Index(
        "psri", ("B4", "B2", "B6"), "(B4 − B2) / B6, clipped to −1 … 1",
        "Merzlyak et al. 1999, doi:10.1034/j.1399-3054.1999.106119.x",
        lambda b: ratio(b("B4") - b("B2"), b("B6"), -1, 1),
    ),
    Index(
        "osavi", ("B8", "B4"), "(B8 − B4) / (B8 + B4 + 0.16)",
        "Rondeaux et al. 1996, doi:10.1016/0034-4257(95)00186-7",
        lambda b: (b("B8") - b("B4")) / (b("B8") + b("B4") + 0.16), level="absolute",
    ),
    Index(
        "mtci", ("B6", "B5", "B4"), "(B6 − B5) / (B5 − B4), clipped to −20 … 20",
        "Dash & Curran 2004, doi:10.1080/0143116042000274015",
        lambda b: ratio(b("B6") - b("B5"), b("B5") - b("B4"), -20, 20),
    ),
    Index(
        "mcari", ("B5", "B4", "B3"),
        "((B5 − B4) − 0.2 (B5 − B3)) B5 / B4, the quotient clipped to 0 … 20",
        "Daughtry et al. 2000, doi:10.1016/S0034-4257(00)00113-9", _mcari, level="absolute",
    ),
    # Moisture, burn, water, snow
    _normalised("ndmi", "B8", "B11", "Jin & Sader 2005, doi:10.1016/S0034-4257(01)00318-2"),
    Index(
        "nmdi", ("B8", "B11", "B12"),
        "(B8 − (B11 − B12)) / (B8 + (B11 − B12)), clipped to −2 … 2",
        "Wang & Qu 2007, doi:10.1029/2007GL031021",
        lambda b: ratio(
            b("B8") - (b("B11") - b("B12")), b("B8") + (b("B11") - b("B12")), -2, 2
        ),
    ),
    _normalised("nbr", "B8", "B12", "Key & Benson 2006, doi:10.3133/ofr0211"),
    _normalised("nbr2", "B11", "B12", "USGS Landsat Normalized Burn Ratio 2"),
    Index(
        "nbrswir", ("B12", "B11"), "(B12 − B11 − 0.02) / (B12 + B11 + 0.1)",
        "Liu et al. 2020, doi:10.1080/22797254.2020.1738900",
        lambda b: (b("B12") - b("B11") - 0.02) / (b("B12") + b("B11") + 0.1), level="absolute",
    ),
    Index(
        "mirbi", ("B12", "B11"), "10 B12 − 9.8 B11 + 2",
        "Trigg & Flasse 2001, doi:10.1080/01431160110053185",
        lambda b: 10 * b("B12") - 9.8 * b("B11") + 2, level="absolute",
    ),
    _normalised("mndwi", "B3", "B11", "Xu 2006, doi:10.1080/01431160600589179"),
    Index(
        "aweish", ("B2", "B3", "B8", "B11", "B12"),
        "B2 + 2.5 B3 − 1.5 (B8 + B11) − 0.25 B12",
        "Feyisa et al. 2014, doi:10.1016/j.rse.2013.08.029",
        lambda b: b("B2") + 2.5 * b("B3") - 1.5 * (b("B8") + b("B11")) - 0.25 * b("B12"),
        level="absolute",
    ),
    Index(
        "andwi", ("B2", "B3", "B4", "B8", "B11", "B12"),
        "(B2 + B3 + B4 − B8 − B11 − B12) / (B2 + B3 + B4 + B8 + B11 + B12)",
        "Rad et al. 2021, doi:10.1016/j.envsoft.2021.105030",
        lambda b: contrast(b("B2") + b("B3") + b("B4"), b("B8") + b("B11") + b("B12")),
    ),
    _normalised("ndsii", "B4", "B11", "snow and ice: Xiao et al. 2001, doi:10.1080/01431160119766"),
    Index(
        "s3", ("B8", "B4", "B11"), "B8 (B4 − B11) / ((B8 + B4) (B8 + B11))",
        "snow: Saito & Yamazaki 1999, doi:10.3178/jjshwr.12.28", _s3,
    ),
    # Bare ground and iron
    Index(
        "bsi", ("B11", "B4", "B8", "B2"),
        "((B11 + B4) − (B8 + B2)) / ((B11 + B4) + (B8 + B2))",
        "Rikimaru et al. 2002, Tropical Ecology 43(1)",
        lambda b: contrast(b("B11") + b("B4"), b("B8") + b("B2")),
    ),
    Index(
        "dbsi", ("B11", "B3", "B8", "B4"),
        "(B11 − B3) / (B11 + B3) − (B8 − B4) / (B8 + B4)",
        "Rasul et al. 2018, doi:10.3390/land7030081",
        lambda b: contrast(b("B11"), b("B3")) - contrast(b("B8"), b("B4")),
    ),
    _normalised("ndsoi", "B12", "B3", "Deng et al. 2015, doi:10.1016/j.jag.2015.02.010"),
    Index(
        "mbi", ("B11", "B12", "B8"), "(B11 − B12 − B8) / (B11 + B12 + B8) + 0.5",
        "Nguyen et al. 2021, doi:10.3390/land10030231",
        lambda b: share(b("B11") - b("B12") - b("B8"), b("B11") + b("B12") + b("B8")) + 0.5,
    ),
    Index(
        "bai", ("B4", "B11", "B8"), "B4 + B11 − B8",
        "Lin et al. 2005, doi:10.1109/IGARSS.2005.1525743",
        lambda b: b("B4") + b("B11") - b("B8"), level="absolute",
    ),
    Index(
        "bi", ("B3", "B4"), "√((B3² + B4²) / 2)", _MATHIEU,
        lambda b: np.sqrt((np.square(b("B3")) + np.square(b("B4"))) / np.float32(2)),
        level="absolute",
    ),
    Index(
        "ferrous_iron", ("B12", "B8", "B3", "B4"), "B12 / B8 + B3 / B4, each clipped to 0 … 5",
        "van der Meer et al. 2014, doi:10.1016/j.rse.2014.03.022", _ferrous,
    ),
    _weighted(
        "tc_brightness",
        {"B2": 0.3510, "B3": 0.3813, "B4": 0.3437, "B8": 0.7196, "B11": 0.2396, "B12": 0.1949},
        _TASSELLED,
    ),
    _weighted(
        "tc_greenness",
        {"B2": -0.3599, "B3": -0.3533, "B4": -0.4734, "B8": 0.6633, "B11": 0.0087, "B12": -0.2856},
        _TASSELLED,
    ),
    _weighted(
        "tc_wetness",
        {"B2": 0.2578, "B3": 0.2305, "B4": 0.0883, "B8": 0.1071, "B11": -0.7611, "B12": -0.5308},
        _TASSELLED,
    ),
    # Colour: all that true-colour tiles have
    Index("bright", _VISIBLE, "√((B4² + B3² + B2²) / 3)", _MATHIEU, _bright),
    _normalised("ri", "B4", "B3", "Escadafal & Huete 1991; redness, −NGRDI"),
    _normalised("ikaw", "B4", "B2", "Kawashima & Nakatani 1998, doi:10.1006/anbo.1997.0544"),
    Index(
        "gli", _VISIBLE, "(2 B3 − B4 − B2) / (2 B3 + B4 + B2)",
        "Louhaichi et al. 2001, doi:10.1080/10106040108542184",
        lambda b: contrast(2 * b("B3"), b("B4") + b("B2")),
    ),
    Index(
        "vari", _VISIBLE, "(B3 − B4) / (B3 + B4 − B2), clipped to −2 … 2",
        "Gitelson et al. 2002, doi:10.1016/S0034-4257(01)00289-9",
        lambda b: ratio(b("B3") - b("B4"), b("B3") + b("B4") - b("B2"), -2, 2),
        superseded_by=("B8",),
    ),
    Index(
        "rgbvi", _VISIBLE, "(B3² − B4 B2) / (B3² + B4 B2)",
        "Bendig et al. 2015, doi:10.1016/j.jag.2015.02.012",
        lambda b: contrast(np.square(b("B3")), b("B4") * b("B2")), superseded_by=("B8",),
    ),
)  # fmt: skip


def fields() -> list[Field]:
    """Every index as a picture over the canvas."""
    return [
        Field(i.name, i.needs, 0, lambda canvas, i=i: i.image(canvas.field), i.unit)  # type: ignore[misc]
        for i in INDICES
    ]


def recipes() -> list[Recipe]:
    """The groups ``reflectance`` and ``indices``."""
    return [*_reflectance(), *(_recipe(i) for i in INDICES)]


def _reflectance() -> list[Recipe]:
    out = []
    for band in SPECTRAL:
        feature = Feature(
            f"refl_{band.lower()}", "reflectance", "1", (band,), f"{band}",
            "band of the file, DN / 10,000", 0, level="absolute",
        )  # fmt: skip
        out.append(Recipe(feature, lambda canvas, band=band: canvas.value(band)))  # type: ignore[misc]
    for band in _VISIBLE:
        feature = Feature(
            f"level_{band.lower()}", "reflectance", "1", (band,), f"{band} / level of the tile",
            "band of the file against the tile's median brightness", 0, level="relative",
        )  # fmt: skip
        out.append(Recipe(feature, lambda canvas, band=band: canvas.value(band)))  # type: ignore[misc]
    return out


def _recipe(index: Index) -> Recipe:
    feature = Feature(
        index.name, "indices", index.unit, index.needs, index.formula, index.source, 0,
        level=index.level, superseded_by=index.superseded_by,
    )  # fmt: skip
    return Recipe(feature, lambda canvas: canvas.value(index.name))
