"""Tiles of a scene that has a map: candidates for a label, their labels, their features.

A tile's id is the number of its cell on the grid of the map, row by row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.adapt.choose import Candidates, look_of, uncertain_share, value_of
from l4s_ensemble.adapt.labels import Labels
from l4s_ensemble.data.store import in_memory
from l4s_ensemble.errors import DataError
from l4s_ensemble.features.source import FeatureSource, source_to_predict
from l4s_ensemble.maps.blocks import Block
from l4s_ensemble.maps.polygons import rasterise
from l4s_ensemble.maps.reader import Reader
from l4s_ensemble.maps.scene import opened
from l4s_ensemble.maps.scene_map import scene_statistics
from l4s_ensemble.maps.written import WrittenMap
from l4s_ensemble.predict.ensemble import Ensemble
from l4s_ensemble.predict.raster import continued

CANDIDATES = 400
"""Most tiles of a scene whose images are read to choose among: those worth most by the map."""


def candidates_of_scene(found: WrittenMap) -> Candidates:
    """Read what a map says of the tiles of its scene that were observed as a whole.

    Raises
    ------
    DataError
        If there are fewer than two.
    """
    seen: list[tuple[int, float, int, float]] = []
    names = ("probability", "mask", "applicability")
    for patch, (p, mask, far) in _each_tile(found, names):
        if np.isfinite(p).all():
            uncertain = uncertain_share(p, found.summary.threshold)
            seen.append((patch, uncertain, int((mask == 1).sum()), float(far.mean())))
    if len(seen) < 2:
        raise DataError(
            "the map has too few whole tiles to label",
            where=found.folder,
            found=f"{len(seen)} without clouds and edges of the scene",
            allowed="2 or more",
        )
    ids, unsure, pixels, away = (np.array(column) for column in zip(*seen, strict=True))
    best = np.sort(np.argsort(-value_of(unsure, away), kind="stable")[:CANDIDATES])
    look = look_of(read_tiles(found.reader, ids[best]))
    return Candidates(ids[best], unsure[best], pixels[best], away[best], look)


def mapped_masks(found: WrittenMap, patch: ArrayLike) -> NDArray[np.uint8]:
    """What is mapped in some tiles, uint8 (tile, y, x), 1 = landslide."""
    return np.stack([m == 1 for _, (m,) in _each_tile(found, ("mask",), patch)]).astype(np.uint8)


def read_tiles(reader: Reader, patch: ArrayLike) -> xr.Dataset:
    """Read tiles of a scene by their ids, in order; those without any observed pixel are left out.

    Returns
    -------
    xarray.Dataset
        As `l4s_ensemble.data.store.in_memory` gives it, in units, with places and content hashes.
    """
    grid, sensor = reader.grid, reader.sensor
    images, coords = [], []
    for number in np.asarray(patch).tolist():
        row, col = divmod(number, grid.columns)
        image = reader.read(*Block(row, col, row + 1, col + 1).pixels(grid.edge))
        if not np.isfinite(image).all(axis=0).any():
            continue
        image = continued(image, sensor)
        whole = np.ascontiguousarray(np.rint(image).astype("<i4"))
        content = hashlib.blake2b(whole.data, digest_size=8).hexdigest()
        images.append(image)
        coords.append((number, 0, row, col, content))
    if not images:
        raise DataError("no such tiles of the scene", where=reader.scene.path)
    names = ("patch", "scene", "row", "col", "content_hash")
    columns = zip(names, zip(*coords, strict=True), strict=True)
    return in_memory(
        xr.Dataset(
            {"image": (("patch", "band", "y", "x"), np.stack(images))},
            coords={name: ("patch", np.array(values)) for name, values in columns},
            attrs={"values": "unit"},
        ),
        sensor,
    )


def polygon_labels(path: Path, found: WrittenMap) -> Labels:
    """Read polygons of landslides as labels of the tiles that they touch.

    In these tiles all that no polygon covers is labelled as no landslide. Tiles that were not
    observed as a whole get no label.

    Raises
    ------
    DataError
        If the polygons cannot be read, or touch no whole tile.
    """
    grid = found.reader.grid
    drawn = rasterise(path, tuple(grid.transform())[:6], grid.shape, grid.crs)
    tiles = drawn.reshape(grid.rows, grid.edge, grid.columns, grid.edge).swapaxes(1, 2)
    touched = np.flatnonzero(tiles.any(axis=(2, 3)))
    whole = [n for n, (p,) in _each_tile(found, ("probability",), touched) if np.isfinite(p).all()]
    if not whole:
        raise DataError(
            "the polygons touch no tile that the map shows as a whole",
            where=path,
            found=f"{len(touched)} tiles at the edge, under clouds or outside the map",
        )
    row, col = np.divmod(np.array(whole, np.int64), grid.columns)
    return Labels(np.array(whole, np.int64), np.ascontiguousarray(tiles[row, col]), str(path))


def source_of_scene(
    ensemble: Ensemble, reader: Reader, patch: NDArray[np.int64], jobs: int
) -> FeatureSource:
    """Read tiles of a scene and their neighbours, with the statistics of the scene."""
    row, col = np.divmod(patch, reader.grid.columns)
    near = [(row + i, col + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    cells = np.unique(np.concatenate([np.stack(cell, axis=1) for cell in near]), axis=0)
    inside = ((cells >= 0) & (cells < (reader.grid.rows, reader.grid.columns))).all(axis=1)
    tiles = read_tiles(reader, cells[inside] @ (reader.grid.columns, 1))
    measured, _ = scene_statistics(ensemble, reader, jobs)
    return source_to_predict(
        tiles,
        ensemble.pixel.folder,
        None,
        np.arange(tiles.sizes["patch"]),
        is_training_store=False,
        jobs=jobs,
        statistics=None if measured is None else {0: measured},
    )


def _each_tile(
    found: WrittenMap, names: Iterable[str], patch: ArrayLike | None = None
) -> Iterator[tuple[int, list[NDArray[Any]]]]:
    """Rasters of a map in tiles that lie in it as a whole; all, or some by their ids."""
    import rasterio
    from rasterio.windows import Window

    grid, (rows, columns) = found.reader.grid, found.area.window
    wanted = range(grid.rows * grid.columns) if patch is None else np.asarray(patch).tolist()
    files = [opened(str(found.folder / f"{name}.tif")) for name in names]
    with rasterio.Env():
        for number in wanted:
            y, x = (n * grid.edge for n in divmod(number, grid.columns))
            if y < rows.start or x < columns.start:
                continue
            if y + grid.edge > rows.stop or x + grid.edge > columns.stop:
                continue
            part = Window(x - columns.start, y - rows.start, grid.edge, grid.edge)
            yield number, [file.read(1, window=part) for file in files]
    for file in files:
        file.close()
