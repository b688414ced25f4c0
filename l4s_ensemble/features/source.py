"""Features of the patches of a data set, with their neighbours and the statistics of their scenes.

One way for the features stage, the pixel classifier's training, its out-of-fold scores and its
predictions, on disk and in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.config import FeaturesConfig
from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.data.store import open_store, positions_of, sensor_of, units
from l4s_ensemble.errors import ModelError
from l4s_ensemble.features.registry import (
    FEATURES_FILE,
    FeaturePlan,
    all_fields,
    compute_window,
    plan_from_file,
    reach_of,
    select,
)
from l4s_ensemble.features.scene_statistics import SceneStatistics, measure
from l4s_ensemble.features.tile_context import TileContext, sample_tile
from l4s_ensemble.features.window import Alone, Joined, Window
from l4s_ensemble.run.files import read_json, write_json
from l4s_ensemble.run.progress import track
from l4s_ensemble.run.tasks import in_processes
from l4s_ensemble.scenes.neighbourhood import (
    NEIGHBOURHOOD_FILE,
    Neighbourhood,
    load_neighbourhood,
    measure_neighbourhood,
)

STATISTICS_FILE = "scene_statistics.json"

MEASURED_TILES = 400
"""Most tiles of a scene that are measured: evenly spaced in the order of the patches."""

BLOCK_TILES = 8
"""Tiles of one task."""

T = TypeVar("T")


@dataclass(frozen=True)
class FeatureSource:
    """Patches with the plan, neighbours and scene statistics that their features need.

    Each part is an object, or the path of a file that holds it. To another process paths go as
    paths: it opens what it needs, once. Objects go as they are, with every task.

    Attributes
    ----------
    patches : xarray.Dataset or Path
        As `l4s_ensemble.data.store.open_store` and `l4s_ensemble.data.store.in_memory` give it; or
        the path of a ``patches.zarr``.
    plan : FeaturePlan or Path
        The features to compute; or a ``features.json``.
    neighbourhood : Neighbourhood or Path, optional
        Of the same patches, see `l4s_ensemble.scenes.neighbourhood.measure_neighbourhood`; or a
        ``neighbourhood.npz``. Without it every patch stands alone.
    statistics : mapping of int to SceneStatistics, or Path, optional
        Of the scenes by their number, see `measure_scenes`; or a ``scene_statistics.json``. Patches
        of a scene that it lacks are measured by themselves.
    training : bool
        Compute the share of the patches that `Neighbourhood.dropped` draws as if they stood alone,
        without neighbours and without statistics of their scene: a model that meets such patches
        must have seen some.
    """

    patches: xr.Dataset | Path
    plan: FeaturePlan | Path
    neighbourhood: Neighbourhood | Path | None = None
    statistics: Mapping[int, SceneStatistics] | Path | None = None
    training: bool = False

    @classmethod
    def beside(
        cls, folder: Path, patches: xr.Dataset | Path, measured: Path | None = None
    ) -> FeatureSource:
        """Take plan, neighbourhood and statistics from the folder of a features stage or a model.

        Parameters
        ----------
        measured : Path, optional
            Folder of a prediction, see `source_to_predict`. Neighbourhood and statistics that stand
            in it count.

        Raises
        ------
        RunError
            When it is used, if the plan is missing.
        """
        neighbourhood, statistics = (
            next((f / name for f in (measured, folder) if f and (f / name).is_file()), None)
            for name in (NEIGHBOURHOOD_FILE, STATISTICS_FILE)
        )
        return cls(patches, folder / FEATURES_FILE, neighbourhood, statistics)

    def to_train(self) -> FeatureSource:
        """Give the same source, with some patches drawn to stand alone."""
        return replace(self, training=True)

    def dataset(self) -> xr.Dataset:
        """Return the patches; a store is kept open in each process."""
        return _read(self.patches, _opened)

    def feature_plan(self) -> FeaturePlan:
        """Return the plan of the features."""
        return _read(self.plan, _plan)

    def features(self) -> int:
        """Return the number of features."""
        return len(self.feature_plan().names)

    def positions(self, ids: ArrayLike) -> NDArray[np.int64]:
        """Positions of patches along ``patch``, in the order of their `ids`."""
        return positions_of(self.dataset(), ids)

    def tiles(self, positions: ArrayLike) -> NDArray[np.float32]:
        """Features of the patches at `positions`, float32 (patch, feature, y, x)."""
        size, at = self.dataset().sizes, np.asarray(positions)
        out = np.empty((len(at), self.features(), size["y"], size["x"]), np.float32)
        for target, made in zip(out, self.each(at), strict=True):
            target[...] = made
        return out

    def each(self, positions: ArrayLike) -> Iterator[NDArray[np.float32]]:
        """Features of one patch after the other, float32 (feature, y, x).

        Cheaper than `tiles`: the memory of one patch serves the next, and nothing is copied.
        """
        sensor, plan = sensor_of(self.dataset()), self.feature_plan()
        at = np.asarray(positions)
        for tile, window in zip(at.tolist(), self.windows(at), strict=True):
            yield compute_window(window, sensor, plan, self.statistics_of(tile))

    def windows(self, positions: ArrayLike) -> list[Window]:
        """Patches with their neighbours, as a `TileContext` reads them."""
        dataset, at = self.dataset(), np.asarray(positions)
        sensor = sensor_of(dataset)
        made: list[Window] = []
        for tile, image in zip(at.tolist(), units(dataset, at), strict=True):
            found = self._neighbours(tile, sensor)
            made.append(Joined(image, sensor, found) if found else Alone(image, sensor))
        return made

    def _neighbours(
        self, tile: int, sensor: Sensor
    ) -> dict[tuple[int, int], tuple[NDArray[np.generic], NDArray[np.float32]]]:
        """Values of the known neighbours, and the factors that make them units of this patch."""
        known = self._known(tile)
        if known is None:
            return {}
        dataset = self.dataset()
        images = dataset["image"].variable
        spectral = np.isin(sensor.band_names, sensor.spectral)
        in_units = dataset.attrs.get("values") == "unit"
        made = {}
        for step, other in known.neighbours(tile).items():
            factor = np.ones(len(spectral)) if in_units else sensor.count_to_unit.astype(np.float64)
            factor[spectral] *= known.gain_factor(tile, other)
            made[step] = (images[other].values, factor.astype(np.float32))
        return made

    def statistics_of(self, position: int) -> SceneStatistics | None:
        """Statistics of the scene that a patch lies in; None where they are not known.

        A training patch that is drawn to stand alone knows nothing of its scene either: most
        patches to predict come without a place, and a rank in the patch is not one in the scene.
        """
        known = self._known(position)
        if known is None or self.statistics is None:
            return None
        return _read(self.statistics, _statistics).get(int(known.scene[position]))

    def _known(self, position: int) -> Neighbourhood | None:
        """The neighbourhood, unless there is none or the patch is drawn to stand alone."""
        if self.neighbourhood is None:
            return None
        known = _read(self.neighbourhood, _neighbourhood)
        return None if self.training and known.dropped(position) else known


def load_statistics(path: Path) -> dict[int, SceneStatistics]:
    """Read ``scene_statistics.json``: the statistics of each scene, by its number.

    Raises
    ------
    RunError
        If the file is missing or not JSON.
    ModelError
        If it holds something else.
    """
    value = read_json(path)
    if not isinstance(value, dict) or not isinstance(value.get("scenes"), dict):
        raise ModelError(
            "these are not the statistics of scenes", where=path, fix="run the features stage again"
        )
    found = value["scenes"].items()
    return {int(scene): SceneStatistics.from_dict(item, path) for scene, item in found}


_opened = lru_cache(maxsize=4)(open_store)
_plan = lru_cache(maxsize=4)(plan_from_file)
_neighbourhood = lru_cache(maxsize=4)(load_neighbourhood)
_statistics = lru_cache(maxsize=4)(load_statistics)


def _read(given: T | Path, read: Callable[[Path], T]) -> T:
    """Return an object as it is, or read it from a path."""
    return read(given) if isinstance(given, Path) else given


def save_statistics(path: Path, statistics: Mapping[int, SceneStatistics]) -> None:
    """Write ``scene_statistics.json``."""
    scenes = {str(scene): item.as_dict() for scene, item in sorted(statistics.items())}
    write_json(path, {"scenes": scenes})


def measure_scenes(
    source: FeatureSource, positions: ArrayLike, jobs: int
) -> dict[int, SceneStatistics]:
    """Measure the scenes that some patches lie in, once each; no label is read.

    Parameters
    ----------
    source : FeatureSource
        With a neighbourhood: it says which scene a patch lies in.
    positions : array_like of int, shape (patch,)
        Patches that may be read.
    jobs : int
        Worker processes; the result does not depend on it.

    Returns
    -------
    dict of int to SceneStatistics
        By the number of the scene; patches without a known scene count for none.
    """
    if source.neighbourhood is None:
        return {}
    at = np.sort(np.asarray(positions, dtype=np.int64))
    scene = _read(source.neighbourhood, _neighbourhood).scene[at]
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
    sensor, fields = sensor_of(source.dataset()), all_fields()
    names = source.feature_plan().scene_fields
    margin = reach_of(names)
    return [
        sample_tile(TileContext(window, sensor, margin, fields), names)
        for window in source.windows(positions)
    ]


def source_to_predict(
    patches: xr.Dataset | Path,
    model: Path,
    out: Path | None,
    positions: ArrayLike,
    *,
    is_training_store: bool,
    jobs: int,
    statistics: Mapping[int, SceneStatistics] | None = None,
) -> FeatureSource:
    """Find where the features of patches to predict come from, and measure what is not known.

    Patches that the model was fitted on have neighbours and statistics from the fit. Others are
    measured from their own pixels, for scenes whose places are known; no label is read. A scene
    that the fit had no patch of (a whole scene held out) is measured likewise.

    Parameters
    ----------
    patches : xarray.Dataset or Path
        The patches to predict; or a ``patches.zarr``.
    model : Path
        Folder with ``features.json`` and, where the fit used them, ``neighbourhood.npz`` and
        ``scene_statistics.json``.
    out : Path or None
        Folder that gets ``neighbourhood.npz`` and ``scene_statistics.json``, as measured here;
        without one they stay in memory.
    positions : array_like of int, shape (patch,)
        Patches to predict.
    is_training_store : bool
        Whether the patches are those of the fit.
    statistics : mapping of int to SceneStatistics, optional
        Of scenes that need not be measured.
    """
    fitted = FeatureSource.beside(model, patches)
    if fitted.neighbourhood is None:
        return fitted
    known, source, scenes = _read(fitted.neighbourhood, _neighbourhood), fitted, {}
    dataset = fitted.dataset()
    if is_training_store and np.array_equal(known.patch, dataset["patch"].values):
        scenes = dict(_read(fitted.statistics, _statistics)) if fitted.statistics else {}
    else:
        known = measure_neighbourhood(dataset, cross=known.cross)
        if out is not None:
            known.save(out / NEIGHBOURHOOD_FILE)
        source = replace(fitted, neighbourhood=known if out is None else out / NEIGHBOURHOOD_FILE)
    if fitted.statistics is None:
        return source
    scenes |= statistics or {}
    at = np.asarray(positions, dtype=np.int64)
    scene = known.scene[at]
    missing = at[(scene >= 0) & ~np.isin(scene, list(scenes))]
    if not len(missing) and source is fitted:
        return source
    scenes |= measure_scenes(replace(source, statistics=None), missing, jobs)
    if out is not None:
        save_statistics(out / STATISTICS_FILE, scenes)
    return replace(source, statistics=scenes if out is None else out / STATISTICS_FILE)


def features_of(dataset: xr.Dataset, names: Sequence[str] | None = None) -> xr.DataArray:
    """Compute features of a dataset's patches, for a notebook. All in memory: take a few patches.

    Parameters
    ----------
    dataset : xarray.Dataset
        From ``open_patches`` or ``open_store``, or a selection of it.
    names : sequence of str, optional
        Features wanted, in this order; all that the sensor allows without it.

    Returns
    -------
    xarray.DataArray
        Dims ``(patch, feature, y, x)``, float32. Coordinates ``feature`` (name), ``group`` and
        ``unit`` along ``feature``, and those of the dataset along ``patch``. Attributes
        ``version``, ``sensor``, ``support_px``.

    Raises
    ------
    ConfigError
        If a name is not among the features of the sensor.

    Examples
    --------
    >>> ndvi = features_of(patches, ["ndvi", "slope_deg"])  # doctest: +SKIP
    """
    sensor = sensor_of(dataset)
    plan = select(sensor, FeaturesConfig())
    if names is not None:
        plan = plan.only(list(names))
    along = {n: found for n, found in dataset.coords.items() if found.dims == ("patch",)}
    made = FeatureSource(dataset, plan).tiles(np.arange(dataset.sizes["patch"]))
    return xr.DataArray(
        made,
        dims=("patch", "feature", "y", "x"),
        coords={
            **along,
            "feature": list(plan.names),
            "group": ("feature", [f.group for f in plan.features]),
            "unit": ("feature", [f.unit for f in plan.features]),
        },
        name="features",
        attrs={"version": plan.version, "sensor": sensor.name, "support_px": plan.support_px},
    )
