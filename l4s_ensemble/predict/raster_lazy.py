"""A raster of dask chunks: predicted when it is computed, on whatever cluster that is."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from l4s_ensemble.features.registry import reach_of
from l4s_ensemble.features.scene_statistics import SceneStatistics, measure
from l4s_ensemble.features.source import MEASURED_TILES
from l4s_ensemble.predict.raster import Raster, margin_px, require_bands, spaced
from l4s_ensemble.predict.raster_scores import sample_fields, sample_images

CHUNK_PX = 1024
"""Least edge of a chunk: what lies around a smaller one would cost more than itself."""


def predict_lazily(
    ensemble: Any, data: xr.Dataset, statistics: SceneStatistics | None, adapt: bool
) -> xr.Dataset:
    """Build the graph that predicts a raster; see `Ensemble.predict`.

    Statistics of the scene that the models read, and batch statistics, are measured now, on at most
    `MEASURED_TILES` tiles.

    Parameters
    ----------
    ensemble : Ensemble
    data : xarray.Dataset
        ``image (band, y, x)`` of dask chunks, and optionally ``valid (y, x)``.
    statistics : SceneStatistics or None
    adapt : bool

    Raises
    ------
    DataError
        If the bands are not those of the sensor.
    """
    import dask.array as da

    sensor = ensemble.sensor
    require_bands(data, sensor)
    margin = margin_px(sensor, ensemble.pixel.plan.support_px)
    image = data["image"].data.astype(np.float32)
    if "valid" in data:
        image = da.where(da.asarray(data["valid"].data).astype(bool), image, np.float32(np.nan))
    edge, shape = sensor.patch_pixels, image.shape[1:]
    image = da.pad(image, [(0, 0), *((0, -n % edge) for n in shape)], constant_values=np.nan)
    sizes = [_sizes(n, edge, max(margin, CHUNK_PX)) for n in image.shape[1:]]
    image = image.rechunk((-1, *sizes))
    if adapt or (statistics is None and ensemble.scene_fields):
        measured, images = _measured(ensemble, image)
        statistics = statistics or measured
        ensemble = ensemble.adapted(images) if adapt else ensemble
    made = da.map_overlap(
        _score,
        image,
        depth={0: 0, 1: margin, 2: margin},
        boundary=np.nan,
        trim=False,
        dtype=np.float32,
        chunks=((3,), *sizes),
        meta=np.zeros((0, 0, 0), np.float32),
        ensemble=ensemble,
        margin=margin,
        statistics=statistics,
    )
    names = ("probability", "uncertainty", "dissimilarity")
    found = {name: (("y", "x"), made[i, : shape[0], : shape[1]]) for i, name in enumerate(names)}
    attrs = {"threshold": ensemble.stack.threshold_}
    if ensemble.applicability is None:
        del found["dissimilarity"]
    else:
        attrs["dissimilarity_limit"] = ensemble.applicability.limit
    probability = found["probability"][1]
    stack = ensemble.stack
    mask = da.map_overlap(
        stack.predict,
        probability,
        depth=max(stack.smallest_px_, 1),  # a landslide that is too small is seen whole
        boundary=np.nan,
        dtype=np.uint8,
    )
    along = {n: c for n, c in data.coords.items() if set(c.dims) <= {"y", "x"}}
    return xr.Dataset({**found, "mask": (("y", "x"), mask)}, coords=along, attrs=attrs)


def _sizes(pixels: int, edge: int, least: int) -> tuple[int, ...]:
    """Chunks of whole tiles, each of `least` pixels or more where there are as many."""
    tiles, each = pixels // edge, -(-least // edge)
    count = max(tiles // each, 1)
    return tuple(len(part) * edge for part in np.array_split(np.arange(tiles), count))


def _score(
    image: NDArray[np.float32],
    ensemble: Any,
    margin: int,
    statistics: SceneStatistics | None,
) -> NDArray[np.float32]:
    raster = Raster(image, ensemble.sensor, margin)
    out = np.full((3, *raster.shape), np.nan, np.float32)
    if raster.tiles():
        scored = ensemble.score_raster(raster, statistics)
        for part, name in zip(out, ("probability", "uncertainty", "dissimilarity"), strict=True):
            if name in scored:
                part[:] = scored[name].values
    return out


def _measured(ensemble: Any, image: Any) -> tuple[SceneStatistics | None, NDArray[np.float32]]:
    """Statistics of the scene from some of its tiles, which are read now, and their images."""
    names, edge = ensemble.scene_fields, ensemble.sensor.patch_pixels
    margin = reach_of(names)
    rows, columns = (n // edge for n in image.shape[1:])
    samples, images = [], []
    for place in spaced([(r, c) for r in range(rows) for c in range(columns)], MEASURED_TILES):
        starts = [n * edge - margin for n in place]
        stops = [n + edge + 2 * margin for n in starts]
        part = np.asarray(image[:, max(starts[0], 0) : stops[0], max(starts[1], 0) : stops[1]])
        before = [max(-n, 0) for n in starts]
        after = [edge + 2 * margin - b - n for b, n in zip(before, part.shape[1:], strict=True)]
        around = [(0, 0), *zip(before, after, strict=True)]
        raster = Raster(np.pad(part, around, constant_values=np.nan), ensemble.sensor, margin)
        images.append(sample_images(raster, [(0, 0)]))
        if names and raster.tiles():
            samples += sample_fields(raster, names, [(0, 0)])
    return measure(samples) if samples else None, np.concatenate(images)
