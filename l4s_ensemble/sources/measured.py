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
    """Spectra, atmosphere and landslide sizes of real tiles."""

    bands: tuple[str, ...]  # the ten that have spectra: all but B9 and B10
    classes: tuple[str, ...]
    mean: Floats  # (class, band): log of DN without path, in mean light
    between: Floats  # (class, band, component): factors of the covariance between tiles
    coarse: Floats  # the same within a tile, above 4 px
    fine: Floats  # and below
    shade_exponent: Floats  # (band,): log signal per log illumination
    path_dn: Floats  # (band,): path at sea level; 0 where there is none
    path_per_km: Floats  # (band,): its change per km of elevation
    knots_km: Floats  # elevations of the two tables that follow
    log_b9_over_b8: Floats  # water vapour
    b10_dn: Floats  # the cirrus band
    landslides: dict[str, Any]  # quantiles of size and elongation

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
    arrays = {k: [r[k] for r in rows.values()] for k in ("mean", "between", "coarse", "fine")}
    arrays |= {k: air[k] for k in ("knots_km", "log_b9_over_b8", "b10_dn")}
    arrays |= {"path_dn": [p["at_sea"] for p in path], "path_per_km": [p["per_km"] for p in path]}
    arrays["shade_exponent"] = table["shade_exponent"]
    return Measured(
        bands=tuple(table["bands"]),
        classes=tuple(rows),
        landslides=table["landslides"],
        **{name: np.asarray(values, np.float32) for name, values in arrays.items()},
    )
