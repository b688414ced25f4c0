"""The small tables measured on real tiles, as arrays.

``measured.json`` beside this module was made from nine Landslide4Sense training tiles
(Ghorbanzadeh et al. 2022, Zenodo record 10463239, CC BY 4.0), sizes of landslides from the masks of
1,186.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Measured:
    """Spectra, atmosphere and landslide sizes of real tiles.

    Attributes
    ----------
    bands : tuple of str
        Names of the ten bands that have spectra: all but B9 and B10.
    classes : tuple of str
    mean : ndarray, shape (class, band)
        Log of DN without path, in mean light.
    between, coarse, fine : ndarray, shape (class, band, component)
        Factors of the covariance: between tiles, and within a tile above and below 4 px.
    shade_exponent : ndarray, shape (band,)
        Log signal per log illumination.
    path_dn, path_per_km : ndarray, shape (band,)
        Path at sea level and its change per km of elevation; 0 where there is none.
    knots_km, log_b9_over_b8, b10_dn : ndarray
        Water vapour and cirrus band at elevations.
    landslides : dict
        Quantiles of size and elongation of real landslides.
    """

    bands: tuple[str, ...]
    classes: tuple[str, ...]
    mean: Floats
    between: Floats
    coarse: Floats
    fine: Floats
    shade_exponent: Floats
    path_dn: Floats
    path_per_km: Floats
    knots_km: Floats
    log_b9_over_b8: Floats
    b10_dn: Floats
    landslides: dict[str, Any]

    def code(self, name: str) -> np.uint8:
        """Number of a class."""
        return np.uint8(self.classes.index(name))


@cache
def load() -> Measured:
    """Read the tables of the package."""
    text = resources.files("l4s_ensemble.sources").joinpath("measured.json").read_text("utf-8")
    table = json.loads(text)
    rows, air = table["classes"], table["atmosphere"]
    path = [air["path_dn"][b] for b in table["bands"]]
    return Measured(
        bands=tuple(table["bands"]),
        classes=tuple(rows),
        mean=_float([r["mean"] for r in rows.values()]),
        between=_float([r["between"] for r in rows.values()]),
        coarse=_float([r["coarse"] for r in rows.values()]),
        fine=_float([r["fine"] for r in rows.values()]),
        shade_exponent=_float(table["shade_exponent"]),
        path_dn=_float([p["at_sea"] for p in path]),
        path_per_km=_float([p["per_km"] for p in path]),
        knots_km=_float(air["knots_km"]),
        log_b9_over_b8=_float(air["log_b9_over_b8"]),
        b10_dn=_float(air["b10_dn"]),
        landslides=table["landslides"],
    )


def _float(value: Any) -> Floats:
    return np.asarray(value, dtype=np.float32)
