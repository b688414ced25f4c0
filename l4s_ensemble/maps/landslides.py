"""The landslides of a map: attributes, outlines, reasons, and which of them should be looked at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.features.registry import compute_window
from l4s_ensemble.features.scene_statistics import SceneStatistics
from l4s_ensemble.features.window import Alone
from l4s_ensemble.maps.area import Area
from l4s_ensemble.maps.before import BARE_SHARE
from l4s_ensemble.maps.blocks import Block, read_block
from l4s_ensemble.maps.reader import Reader
from l4s_ensemble.maps.result import MapResult
from l4s_ensemble.maps.write import length_m, polygons
from l4s_ensemble.pixel.landslides import (
    draw_pixels,
    explain_landslides,
    features_of_draws,
    found_by,
    sum_over,
)
from l4s_ensemble.pixel.shap import CONTRIBUTIONS_FILE, Ground
from l4s_ensemble.predict.ensemble import Ensemble
from l4s_ensemble.predict.landslides import TileMaps, landslides_of
from l4s_ensemble.predict.landslides_table import rounded, why
from l4s_ensemble.stack.comparison import thresholds_of
from l4s_ensemble.stack.learners import BASE_MODELS

EXPLAINED = 200
"""Most landslides that get a reason, the largest ones."""


@dataclass(frozen=True)
class MapFeatures:
    """Features of the tiles of a map, for `explain_landslides`."""

    ensemble: Ensemble
    reader: Reader
    area: Area
    statistics: SceneStatistics | None

    def positions(self, ids: ArrayLike) -> NDArray[np.int64]:
        """Numbers of tiles, as they are: see `MapResult.patch`."""
        return np.asarray(ids, np.int64)

    def each(self, positions: ArrayLike) -> Iterator[NDArray[np.float32]]:
        """Features of one tile after the other, float32 (feature, y, x)."""
        model = self.ensemble.pixel
        for number in np.asarray(positions).tolist():
            r, c = divmod(number, self.reader.grid.columns)
            raster = read_block(self.ensemble, self.reader, Block(r, c, r + 1, c + 1), self.area)
            reach = self.ensemble.reach
            window = Alone(raster.window((0, 0), reach), model.sensor, reach)
            yield compute_window(window, model.sensor, model.plan, self.statistics)


def describe_landslides(
    ensemble: Ensemble,
    reader: Reader,
    area: Area,
    result: MapResult,
    statistics: SceneStatistics | None,
    bare: NDArray[np.float64] | None = None,
    *,
    jobs: int,
) -> tuple[list[dict[str, Any]], dict[int, list[Any]]]:
    """Describe the landslides of a map.

    Returns
    -------
    rows : list of dict
        Keys of `l4s_ensemble.maps.write.COLUMNS` and more, the largest landslide first.
    outlines : dict of int to list of Polygon
        By the ``id`` of a row.
    """
    grid, outlines = reader.grid, result.outlines
    threshold = thresholds_of(ensemble.folder / "stack")

    def maps(i: int) -> TileMaps:
        tile = result.tiles[i]
        terrain = reader.terrain(*Block(*tile[1:], tile[1] + 1, tile[2] + 1).pixels(grid.edge))
        p = result.raster("probability", tile)
        return TileMaps(
            probability=p,
            pixel=result.raster("pixel", tile),
            unet=result.raster("unet", tile),
            uncertainty=ensemble.stack.uncertainty(p),
            slope_deg=terrain.get("slope"),
            elevation_m=terrain.get("dem"),
        )

    every = landslides_of(
        outlines, maps, result.patch, result.place, threshold, pixel_m=grid.pixel_m
    )
    left_out = set(result.left_out)
    rows = [row for row in every[: result.kept] if row["id"] not in left_out]
    found: dict[int, list[Any]] = {}
    for i in outlines.with_objects():
        _, r, c = result.tiles[i]
        polygons(result.labels(i), grid.transform(r * grid.edge, c * grid.edge), found)
    index = sum_over(outlines, lambda i: result.raster("dissimilarity", result.tiles[i]))
    index /= outlines.pixels
    reasons = _reasons(ensemble, reader, area, result, statistics, jobs)
    known = ensemble.applicability
    for row in rows:
        number = row["id"]
        own = index[number - 1]
        row["dissimilarity"] = rounded(own) if np.isfinite(own) else None
        row["length_m"] = round(length_m(found[number]), 1)
        share = np.nan if bare is None else bare[number - 1]
        row["bare_before"] = rounded(share) if np.isfinite(share) else None
        own_reason = reasons.get(number)
        row.update(why(own_reason and own_reason | found_by(row, threshold)))
        because = _because(row, None if known is None else known.limit)
        row["needs_review"], row["review_because"] = bool(because), "; ".join(because)
    return rows, found


def _because(row: dict[str, Any], limit: float | None) -> list[str]:
    """Why a landslide should be looked at; empty if nothing speaks for it."""
    because = []
    if limit is not None and row["dissimilarity"] is not None and row["dissimilarity"] > limit:
        because.append("outside the area of applicability")
    pixel, unet = (row[f"share_predicted_{m}"] >= 0.5 for m in BASE_MODELS)
    if pixel != unet:
        because.append(f"predicted by the {'pixel classifier' if pixel else 'U-Net'} only")
    if (row["bare_before"] or 0) >= BARE_SHARE:
        because.append("bare before the event")
    if row["cut_by_edge"]:
        because.append("cut by the edge of what was predicted")
    return because


def _reasons(
    ensemble: Ensemble,
    reader: Reader,
    area: Area,
    result: MapResult,
    statistics: SceneStatistics | None,
    jobs: int,
) -> dict[int, dict[str, Any]]:
    """Reasons of the largest landslides by number; none where the run has no contributions."""
    folder, outlines = ensemble.pixel.folder, result.outlines
    numbers = range(1, min(result.kept, EXPLAINED) + 1)
    if not numbers or not (folder / CONTRIBUTIONS_FILE).is_file():
        return {}
    model = ensemble.pixel
    drawn = draw_pixels(outlines, numbers, len(model.folds), result.patch, seed=model.seed)
    source = MapFeatures(ensemble, reader, area, statistics)
    values = features_of_draws(source, result.patch, drawn, jobs)
    return explain_landslides(model, Ground.load(folder), drawn, values, jobs=jobs)
