"""Features of the tiles of a store, with their neighbours and the statistics of their scenes.

One way for the features stage, the pixel classifier's training, its out-of-fold scores and its
predictions. A source is a few paths, small enough to be sent to another process, which opens what
it needs there, once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.features.compute import compute_window
from l4s_ensemble.features.registry import FEATURES_FILE, all_fields, plan_from_file
from l4s_ensemble.features.scene_statistics import SceneStatistics, measure
from l4s_ensemble.features.tile_context import TileContext, sample_tile
from l4s_ensemble.features.window import Alone, Joined, Window
from l4s_ensemble.run.files import read_json, write_json
from l4s_ensemble.run.progress import track
from l4s_ensemble.run.tasks import in_processes
from l4s_ensemble.scenes.surroundings import (
    SURROUNDINGS_FILE,
    Surroundings,
    load_surroundings,
    measure_surroundings,
)

if TYPE_CHECKING:
    import xarray as xr

    from l4s_ensemble.data.sensor import Sensor
    from l4s_ensemble.features.registry import FeaturePlan

STATISTICS_FILE = "scene_statistics.json"

MEASURED_TILES = 400
"""Most tiles of a scene that are measured: evenly spaced in the order of the store."""

BLOCK_TILES = 8
"""Tiles of one task."""


@dataclass(frozen=True)
class FeatureSource:
    """Where the features of tiles come from: a store of tiles and a plan of features.

    Attributes
    ----------
    store : Path
        A ``patches.zarr``.
    plan : Path
        A ``features.json``.
    surroundings : Path, optional
        A ``surroundings.npz`` of the same store. Without it every tile stands alone.
    statistics : Path, optional
        A ``scene_statistics.json``. Tiles of a scene that it lacks are measured by themselves.
    training : bool
        Compute the share of the tiles that `Surroundings.dropped` draws as if they stood alone,
        without neighbours and without statistics of their scene: a model that meets such tiles must
        have seen some.
    """

    store: Path
    plan: Path
    surroundings: Path | None = None
    statistics: Path | None = None
    training: bool = False

    @classmethod
    def beside(cls, folder: Path, store: Path) -> FeatureSource:
        """Take plan, surroundings and statistics from the folder of a features stage.

        Raises
        ------
        RunError
            When it is used, if the plan is missing.
        """
        surroundings, statistics = (
            path if (path := folder / name).is_file() else None
            for name in (SURROUNDINGS_FILE, STATISTICS_FILE)
        )
        return cls(store, folder / FEATURES_FILE, surroundings, statistics)

    def to_train(self) -> FeatureSource:
        """Give the same source, with tiles drawn to stand alone."""
        return replace(self, training=True)

    def dataset(self) -> xr.Dataset:
        """Return the opened store; kept open in each process."""
        return _opened(self.store)[0]

    def features(self) -> int:
        """Return the number of features."""
        return len(_plan(self.plan).names)

    def positions(self, ids: ArrayLike) -> NDArray[np.int64]:
        """Positions of tiles in the store, in the order of their `ids`."""
        from l4s_ensemble.data.store import positions_of

        return positions_of(_opened(self.store)[0], ids)

    def tiles(self, positions: ArrayLike) -> NDArray[np.float32]:
        """Features of the tiles at `positions` of the store, float32 (tile, feature, y, x)."""
        dataset = self.dataset()
        at = np.asarray(positions)
        shape = (len(at), self.features(), dataset.sizes["y"], dataset.sizes["x"])
        out = np.empty(shape, np.float32)
        for target, made in zip(out, self.each(at), strict=True):
            target[...] = made
        return out

    def each(self, positions: ArrayLike) -> Iterator[NDArray[np.float32]]:
        """Features of one tile after the other, float32 (feature, y, x).

        Cheaper than `tiles`: the memory of one tile serves the next, and nothing is copied.
        """
        _, sensor = _opened(self.store)
        plan = _plan(self.plan)
        at = np.asarray(positions)
        for tile, window in zip(at.tolist(), self.windows(at), strict=True):
            yield compute_window(window, sensor, plan, self.statistics_of(tile))

    def windows(self, positions: ArrayLike) -> list[Window]:
        """Tiles with what surrounds them, as a `TileContext` reads them."""
        from l4s_ensemble.data.store import units

        dataset, sensor = _opened(self.store)
        at = np.asarray(positions)
        made: list[Window] = []
        for tile, image in zip(at.tolist(), units(dataset, at), strict=True):
            found = self._neighbours(tile)
            joined = Joined(image, sensor, found) if found else Alone(image, sensor)
            made.append(joined)
        return made

    def _neighbours(
        self, tile: int
    ) -> dict[tuple[int, int], tuple[NDArray[np.generic], NDArray[np.float32]]]:
        """Counts of the known neighbours, and the factors that make them units of this tile."""
        if self.surroundings is None:
            return {}
        known = _surroundings(self.surroundings)
        if self.training and known.dropped(tile):
            return {}
        dataset, sensor = _opened(self.store)
        images = dataset["image"].variable
        light = np.isin(sensor.band_names, sensor.spectral)
        made = {}
        for step, other in known.neighbours(tile).items():
            factor = sensor.count_to_unit.astype(np.float64)
            factor[light] *= known.light_factor(tile, other)
            made[step] = (images[other].values, factor.astype(np.float32))
        return made

    def statistics_of(self, position: int) -> SceneStatistics | None:
        """Statistics of the scene that a tile lies in; None where they are not known.

        A training tile that is drawn to stand alone knows nothing of its scene either: most tiles
        to predict come without a place, and a rank in the tile is not a rank in the scene.
        """
        if self.statistics is None or self.surroundings is None:
            return None
        known = _surroundings(self.surroundings)
        if self.training and known.dropped(position):
            return None
        return _statistics(self.statistics).get(int(known.scene[position]))


@lru_cache(maxsize=4)
def _opened(store: Path) -> tuple[xr.Dataset, Sensor]:
    from l4s_ensemble.data.store import open_store, sensor_of

    dataset = open_store(store)
    return dataset, sensor_of(dataset)


@lru_cache(maxsize=4)
def _plan(path: Path) -> FeaturePlan:
    return plan_from_file(path)


@lru_cache(maxsize=4)
def _surroundings(path: Path) -> Surroundings:
    return load_surroundings(path)


@lru_cache(maxsize=4)
def _statistics(path: Path) -> dict[int, SceneStatistics]:
    return load_statistics(path)


def load_statistics(path: Path) -> dict[int, SceneStatistics]:
    """Read ``scene_statistics.json``: the statistics of each scene, by its number.

    Raises
    ------
    RunError
        If the file is missing or not JSON.
    ModelError
        If it holds something else.
    """
    from l4s_ensemble.errors import ModelError

    value = read_json(path)
    if not isinstance(value, dict) or not isinstance(value.get("scenes"), dict):
        raise ModelError(
            "these are not the statistics of scenes", where=path,
            fix="run the features stage again",
        )  # fmt: skip
    found = value["scenes"].items()
    return {int(scene): SceneStatistics.from_dict(item, path) for scene, item in found}


def save_statistics(path: Path, statistics: Mapping[int, SceneStatistics]) -> None:
    """Write ``scene_statistics.json``."""
    scenes = {str(scene): item.as_dict() for scene, item in sorted(statistics.items())}
    write_json(path, {"scenes": scenes})


def measure_scenes(
    source: FeatureSource, positions: ArrayLike, jobs: int
) -> dict[int, SceneStatistics]:
    """Measure the scenes that some tiles lie in, once each; no label is read.

    Parameters
    ----------
    source : FeatureSource
        With surroundings.
    positions : array_like of int, shape (tile,)
        Tiles of the store that may be read.
    jobs : int

    Returns
    -------
    dict of int to SceneStatistics
        By the number of the scene; tiles without a known scene count for none.
    """
    if source.surroundings is None:
        return {}
    at = np.sort(np.asarray(positions, dtype=np.int64))
    scene = _surroundings(source.surroundings).scene[at]
    chosen = []
    for number in np.unique(scene[scene >= 0]).tolist():
        tiles = at[scene == number]
        spaced = np.linspace(0, len(tiles) - 1, min(len(tiles), MEASURED_TILES)).round()
        chosen += [(number, int(t)) for t in tiles[spaced.astype(np.int64)]]
    tasks = [
        (source, [t for _, t in chosen[i : i + BLOCK_TILES]])
        for i in range(0, len(chosen), BLOCK_TILES)
    ]
    made = in_processes(_samples, tasks, jobs)
    made = track(made, "features: statistics of the scenes", len(tasks))
    samples = [sample for block in made for sample in block]
    numbers = [number for number, _ in chosen]
    return {
        number: measure([s for n, s in zip(numbers, samples, strict=True) if n == number])
        for number in sorted(set(numbers))
    }


def _samples(source: FeatureSource, positions: list[int]) -> list[dict[str, NDArray[np.float32]]]:
    sensor, fields = _opened(source.store)[1], all_fields()
    names = _plan(source.plan).scene_fields
    margin = max(fields[name].support_px for name in names)
    return [
        sample_tile(TileContext(window, sensor, margin, fields), names)
        for window in source.windows(positions)
    ]


def source_to_predict(
    store: Path, model: Path, out: Path, positions: ArrayLike, *, is_training_store: bool, jobs: int
) -> FeatureSource:
    """Find where the features of tiles to predict come from, and measure what is not known.

    Tiles of the store that the model was fitted on have neighbours and statistics from the fit.
    Another store's are measured from its own pixels, for scenes whose places are known; no label is
    read. A scene that the fit had no tile of (a whole scene set aside) is measured likewise.

    Parameters
    ----------
    store : Path
        The ``patches.zarr`` to predict.
    model : Path
        Folder with ``features.json`` and, where the fit used them, ``surroundings.npz`` and
        ``scene_statistics.json``.
    out : Path
        Folder that gets ``surroundings.npz`` and ``scene_statistics.json``, as measured here.
    positions : array_like of int, shape (tile,)
        Tiles to predict.
    is_training_store : bool
        Whether the store is the one of the fit.
    jobs : int
    """
    fitted = FeatureSource.beside(model, store)
    if fitted.surroundings is None:
        return fitted
    known = _surroundings(fitted.surroundings)
    dataset, _ = _opened(store)
    if is_training_store and np.array_equal(known.patch, dataset["patch"].values):
        source, known_scenes = (
            fitted,
            load_statistics(fitted.statistics) if fitted.statistics else {},
        )
    else:
        source, known_scenes = replace(fitted, surroundings=out / SURROUNDINGS_FILE), {}
        measure_surroundings(dataset, cross=known.cross).save(out / SURROUNDINGS_FILE)
    if fitted.statistics is None:
        return source
    at = np.asarray(positions, dtype=np.int64)
    scene = _surroundings(source.surroundings or fitted.surroundings).scene[at]
    missing = at[(scene >= 0) & ~np.isin(scene, list(known_scenes))]
    if not len(missing) and source is fitted:
        return source
    found = measure_scenes(replace(source, statistics=None), missing, jobs)
    save_statistics(out / STATISTICS_FILE, known_scenes | found)
    return replace(source, statistics=out / STATISTICS_FILE)
