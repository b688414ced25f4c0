"""The small tables measured on real tiles, as arrays.

``measured.json`` beside this module is written by ``benchmarks/measure_classes.py`` from nine
Landslide4Sense training tiles (Ghorbanzadeh et al. 2022, Zenodo record 10463239, CC BY 4.0).
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

BETWEEN, COARSE, FINE = 2, 3, 4
"""Number of components kept of each covariance: 90 % of the variance or more."""


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
    slides : dict
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
    slides: dict[str, Any]

    def code(self, name: str) -> np.uint8:
        """Number of a class."""
        return np.uint8(self.classes.index(name))


@cache
def load() -> Measured:
    """Read the tables of the package."""
    text = resources.files("l4s_ensemble.sources").joinpath("measured.json").read_text("utf-8")
    table = json.loads(text)
    bands, rows, air = tuple(table["bands"]), table["classes"], table["atmosphere"]
    path = [air["path_dn"].get(b, {"at_sea": 0.0, "per_km": 0.0}) for b in bands]
    # Water vapour is measured on few elevations, close together: a line says as much.
    knots = np.array(air["knots_km"])
    vapour = np.polyval(np.polyfit(knots, air["log_b9_over_b8"], 1), knots)
    return Measured(
        bands=bands,
        classes=tuple(rows),
        mean=_float([r["mean"] for r in rows.values()]),
        between=_float([_factor(r["between"], BETWEEN) for r in rows.values()]),
        coarse=_float([_factor(r["coarse"], COARSE) for r in rows.values()]),
        fine=_float([_factor(r["fine"], FINE) for r in rows.values()]),
        shade_exponent=_float(table["shade_exponent"]),
        path_dn=_float([p["at_sea"] for p in path]),
        path_per_km=_float([p["per_km"] for p in path]),
        knots_km=_float(knots),
        log_b9_over_b8=_float(vapour),
        b10_dn=_float(air["b10_dn"]),
        slides=table["slides"],
    )


def _float(value: Any) -> Floats:
    return np.asarray(value, dtype=np.float32)


def _factor(lower: list[list[float]], rank: int) -> NDArray[np.float64]:
    """Factor L, shape (band, rank), with L·Lᵀ near the covariance of the given lower triangle."""
    n = len(lower)
    full = np.zeros((n, n))
    for i, row in enumerate(lower):
        full[i, : i + 1] = row
        full[: i + 1, i] = row
    values, vectors = np.linalg.eigh(full)
    keep = np.argsort(values)[::-1][:rank]
    factor = vectors[:, keep] * np.sqrt(np.clip(values[keep], 0, None))
    # A component has no sign of its own: make the signs agree between classes.
    factor *= np.where(factor.sum(0) < 0, -1.0, 1.0)
    lost = np.clip(np.diag(full) - (factor**2).sum(1), 0, None)
    scale = np.sqrt(1 + lost / np.maximum((factor**2).sum(1), 1e-12))
    return np.asarray(factor * np.minimum(scale, 1.5)[:, None])
