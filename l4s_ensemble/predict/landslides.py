"""The predicted landslides, one row each: where, how large, how sure, who says so, and why.

``landslides.csv`` has one row a landslide and the columns of `landslides_table.COLUMNS`, units in
their names; a cell is empty where a value is not known. ``landslides.json`` has the same rows, the
meaning of each column, and for the largest landslides all words of the reasons.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.errors import RunError
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.predict.landslides_table import (
    COLUMNS,
    FORMAT,
    LANDSLIDES_CSV,
    LANDSLIDES_JSON,
    as_csv,
    rounded,
    why,
)
from l4s_ensemble.predict.result import open_logits, open_probability, open_uncertainty
from l4s_ensemble.run.files import write_json, write_text
from l4s_ensemble.run.progress import track
from l4s_ensemble.run.scores import CHUNK_TILES
from l4s_ensemble.scenes.landslides import Outlines, Place


@dataclass(frozen=True)
class TileMaps:
    """What is known of the pixels of one tile; each array has shape (y, x)."""

    probability: NDArray[np.floating[Any]]  # of the stack
    pixel: NDArray[np.floating[Any]]  # of each base model alone, as the next
    unet: NDArray[np.floating[Any]]
    uncertainty: NDArray[np.floating[Any]] | None = None  # without it 1 - |2 p - 1|
    slope_deg: NDArray[np.floating[Any]] | None = None  # where the sensor has it, as the next
    elevation_m: NDArray[np.floating[Any]] | None = None
    reference: NDArray[np.uint8] | None = None  # where masks exist


def landslides_of(
    outlines: Outlines,
    maps: Callable[[int], TileMaps],
    patch: ArrayLike,
    place: Place,
    thresholds: Mapping[str, float],
    *,
    pixel_m: float,
) -> list[dict[str, Any]]:
    """Describe each predicted landslide.

    Tiles are read one after the other, and only those that hold a landslide.

    Parameters
    ----------
    outlines : Outlines
    maps : callable
        Gives the maps of the tile at a position.
    patch : array_like of int, shape (tile,)
    place : tuple of array_like of int, each of shape (tile,)
        Scene, row, column; a scene below 0 means that the place is not known.
    thresholds : mapping
        Of ``pixel`` and ``unet`` alone.
    pixel_m : float
        Edge of a pixel, metres.

    Returns
    -------
    list of dict
        Keys of `landslides_table.COLUMNS` up to ``true_share``; the largest landslide first.
    """
    ids = np.asarray(patch)
    scene, row, col = (np.asarray(p) for p in place)
    total, high, low = _Tally(len(outlines)), _Tally(len(outlines)), _Tally(len(outlines))
    tiles: list[list[int]] = [[] for _ in range(len(outlines))]
    with_landslides = outlines.with_objects()
    for tile in track(with_landslides, "predict: landslides", len(with_landslides)):
        labels, seen = outlines.labels(tile), maps(tile)
        inside = labels > 0
        numbers, part = np.unique(labels[inside], return_inverse=True)
        for n in numbers:
            tiles[n - 1].append(tile)
        y, x = np.nonzero(inside)
        known = scene[tile] >= 0
        p = np.asarray(seen.probability, np.float64)
        uncertainty = 1 - np.abs(2 * p - 1) if seen.uncertainty is None else seen.uncertainty
        summed = {
            "y": y + (row[tile] * labels.shape[0] if known else 0),
            "x": x + (col[tile] * labels.shape[1] if known else 0),
            "probability": p[inside],
            "uncertainty": uncertainty[inside],
            "pixel": seen.pixel[inside],
            "unet": seen.unet[inside],
            "predicted_pixel": seen.pixel[inside] >= thresholds["pixel"],
            "predicted_unet": seen.unet[inside] >= thresholds["unet"],
        }
        high.most("probability", numbers, part, p[inside])
        if seen.slope_deg is not None:
            summed["slope"] = seen.slope_deg[inside]
            high.most("slope", numbers, part, seen.slope_deg[inside])
        if seen.elevation_m is not None:
            high.most("elevation", numbers, part, seen.elevation_m[inside])
            low.most("elevation", numbers, part, -seen.elevation_m[inside])
        if seen.reference is not None:
            summed["true"] = seen.reference[inside] > 0
        for key, values in summed.items():
            total.add(key, numbers, part, values)
    rows = []
    for i, own in enumerate(tiles):
        pixels = int(outlines.pixels[i])
        mean = {key: float(values[i]) / pixels for key, values in total.by.items()}
        peak = {key: float(values[i]) for key, values in high.by.items()}
        known = bool(scene[own[0]] >= 0)
        deep = low.by.get("elevation")
        rows.append(
            {
                "id": i + 1,
                "tiles": [int(ids[t]) for t in own],
                "scene": int(scene[own[0]]) if known else None,
                "centre_in": "scene" if known else "tile",
                "centre_row_px": round(mean["y"], 2),
                "centre_col_px": round(mean["x"], 2),
                "pixels": pixels,
                "area_m2": pixels * pixel_m**2,
                "cut_by_edge": bool(outlines.cut[i]),
                "mean_slope_deg": rounded(mean.get("slope"), 2),
                "max_slope_deg": rounded(peak.get("slope"), 2),
                "lowest_m": None if deep is None else rounded(-float(deep[i]), 2),
                "highest_m": rounded(peak.get("elevation"), 2),
                "mean_probability": rounded(mean["probability"]),
                "peak_probability": rounded(peak["probability"]),
                "mean_uncertainty": rounded(mean["uncertainty"]),
                "share_predicted_pixel": rounded(mean["predicted_pixel"]),
                "share_predicted_unet": rounded(mean["predicted_unet"]),
                "mean_probability_pixel": rounded(mean["pixel"]),
                "mean_probability_unet": rounded(mean["unet"]),
                "true_share": rounded(mean.get("true")),
            }
        )
    return rows


def write_landslides(
    out: Path,
    rows: list[dict[str, Any]],
    reasons: Mapping[int, Mapping[str, Any]],
    outside: set[int] | None,
    **head: Any,
) -> None:
    """Write ``landslides.json`` and ``landslides.csv``; see the module.

    Parameters
    ----------
    out : Path
        Folder of both.
    rows : list of dict
        From `landslides_of`; they get the columns that say why.
    reasons : mapping of int to mapping
        `l4s_ensemble.pixel.landslide_words.reason` by the landslide's number.
    outside : set of int or None
        Tiles outside the area of applicability; None where that is not known.
    **head
        More keys of ``landslides.json``.
    """
    for row in rows:
        row["inside_applicability"] = None if outside is None else outside.isdisjoint(row["tiles"])
        row.update(why(reasons.get(row["id"])))
    listed = [{**r, "words": _words(reasons.get(r["id"]))} for r in rows]
    described = {"format": FORMAT, **head, "columns": COLUMNS, "landslides": listed}
    write_json(out / LANDSLIDES_JSON, described)
    write_text(out / LANDSLIDES_CSV, as_csv(rows))


class _Tally:
    """Arrays over landslides by name, filled tile by tile."""

    def __init__(self, landslides: int) -> None:
        self.by: dict[str, NDArray[np.float64]] = {}
        self._landslides = landslides

    def add(
        self, key: str, numbers: NDArray[np.int64], part: NDArray[np.intp], values: ArrayLike
    ) -> None:
        """Add a tile's values to its landslides; `part` tells which of `numbers` a value is of."""
        target = self.by.setdefault(key, np.zeros(self._landslides))
        target[numbers - 1] += np.bincount(part, weights=np.asarray(values, np.float64))

    def most(
        self, key: str, numbers: NDArray[np.int64], part: NDArray[np.intp], values: ArrayLike
    ) -> None:
        """Keep the largest value of each landslide."""
        target = self.by.setdefault(key, np.full(self._landslides, -np.inf))
        np.maximum.at(target, numbers[part] - 1, np.asarray(values, np.float64))


def tile_maps(
    folder: Path, data: xr.Dataset, patch: NDArray[np.int64]
) -> Callable[[int], TileMaps]:
    """Make the function that reads the maps of a tile by its position in `patch`.

    Parameters
    ----------
    folder : Path
        Of the result.
    data : xarray.Dataset
        The patches.
    patch : int64 array, shape (tile,)

    Raises
    ------
    RunError
        If the result is of other tiles.
    """
    from l4s_ensemble.data.store import positions_of, sensor_of, units

    result, uncertainty = open_probability(folder), open_uncertainty(folder)
    pixel, unet = open_logits(folder, "pixel"), open_logits(folder, "unet")
    for found in (result, uncertainty, pixel, unet):
        if not np.array_equal(found["patch"].values, patch):
            raise RunError("the prediction holds other tiles", fix="run the prediction again")
    unit, at = {b.name: b.unit for b in sensor_of(data).bands}, positions_of(data, patch)
    wanted = {"slope_deg": ("slope", "degree"), "elevation_m": ("dem", "metre")}
    names = [name for name, (band, own) in wanted.items() if unit.get(band) == own]
    bands = [str(b) for b in data["band"].values]
    terrain = [bands.index(wanted[name][0]) for name in names]

    @lru_cache(maxsize=1)
    def read(first: int) -> dict[str, NDArray[Any]]:
        """Read the tiles of a chunk of the scores, which is read whole in any case."""
        some = slice(first, first + CHUNK_TILES)
        found = {
            "probability": result["probability"][some].values,
            "pixel": sigmoid(pixel["logit"][:, some].values).mean(axis=0),
            "unet": sigmoid(unet["logit"][:, some].values).mean(axis=0),
            "uncertainty": uncertainty["probability"][some].values,
        }
        if names:
            found |= zip(names, np.moveaxis(units(data, at[some])[:, terrain], 1, 0), strict=True)
        if "mask" in data:
            found["reference"] = data["mask"].isel(patch=at[some]).values
        return found

    def maps(tile: int) -> TileMaps:
        inside = tile % CHUNK_TILES
        return TileMaps(**{name: a[inside] for name, a in read(tile - inside).items()})

    return maps


def _words(reason: Mapping[str, Any] | None) -> list[dict[str, Any]] | None:
    """All words of a reason."""
    if reason is None:
        return None
    return [{"word": w["word"], "log_odds": rounded(w["log_odds"])} for w in reason["words"]]
