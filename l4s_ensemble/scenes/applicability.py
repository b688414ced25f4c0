"""The area of applicability: how dissimilar a tile is to the training tiles.

After Meyer & Pebesma 2021, https://doi.org/10.1111/2041-210X.13650. The dissimilarity index of a
tile is its distance to the training tiles in the space of what its bands look like, in units of
that of a tile held out by its fold from the models of that fold. Beyond the upper whisker of the
latter (upper quartile and 1.5 times the interquartile range) a tile lies outside the area of
applicability: no score of the run was measured on such a tile. No mask is read.

A tile is described by the logarithm of its reflectance, band by band (mean, spread, quantiles,
roughness), and without what all bands share (colour), by its slope and, since altitude says
nothing of landslides, by the relief of its terrain. An unknown gain of a tile is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.errors import DataError
from l4s_ensemble.run.files import load_fields, save_fields
from l4s_ensemble.scenes.folds import Folds

FILE = "applicability.npz"

NEAREST = 5
"""Training tiles whose mean distance is a tile's: one alone may be a chance find."""

WHISKER = 1.5
"""Interquartile ranges above the upper quartile at which a distance is out of the ordinary."""

TILES = 64
"""Tiles that are read at once."""

_EVERY = 4  # quantiles are of every 4th pixel each way: 1,024 of a tile of 128
_QUANTILES = (0.05, 0.5, 0.95)


@dataclass(frozen=True)
class Applicability:
    """The training tiles as described, and their dissimilarity indices."""

    names: tuple[str, ...]  # what describes a tile, such as "B4 mean"
    patch: NDArray[np.int64]  # (tile,): ids of the training tiles
    tiles: NDArray[np.float32]  # (tile, description): standard deviations from their mean
    mean: NDArray[np.float32]  # (description,): of the training tiles, before
    spread: NDArray[np.float32]  # (description,)
    # (tile,): dissimilarity index of each against those that its fold's models were trained on.
    held_out: NDArray[np.float32]
    unit: float  # median distance of these, standard deviations: an index of 1

    @property
    def limit(self) -> float:
        """Largest dissimilarity index inside the area of applicability."""
        low, high = np.quantile(self.held_out, (0.25, 0.75))
        return float(high + WHISKER * (high - low))

    def standard(self, described: NDArray[np.float32]) -> NDArray[np.float32]:
        """Bring descriptions to standard deviations of the training tiles."""
        return (described - self.mean) / self.spread

    def index(self, described: NDArray[np.float32]) -> NDArray[np.float32]:
        """Dissimilarity index of tiles, shape (tile,): 1 is the median of held-out tiles."""
        return distances(self.tiles, self.standard(described)) / np.float32(self.unit)

    def save(self, folder: Path) -> None:
        """Write `FILE`."""
        save_fields(folder / FILE, self)


def load_applicability(folder: Path) -> Applicability | None:
    """Read what `Applicability.save` wrote; None where a run has no such table.

    Raises
    ------
    RunError
        If it is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    found = load_fields(path, Applicability, "delete the folder and run fit-all: models are kept")
    return replace(found, names=tuple(map(str, found.names)))


def measure_applicability(dataset: xr.Dataset, sensor: Sensor, folds: Folds) -> Applicability:
    """Describe the tiles that fit, and measure each against those its fold trains on.

    Parameters
    ----------
    dataset : xarray.Dataset
        The store of the training split.
    """
    patch = folds.fit_ids
    names, described = describe(dataset.sel(patch=patch), sensor)
    mean, spread = described.mean(axis=0), described.std(axis=0)
    spread[spread <= 1e-6 * np.maximum(np.abs(mean), 1)] = 1
    tiles = (described - mean) / spread
    fold = folds.of(patch, "fold")
    apart = np.zeros(len(patch), np.float32)
    for k in range(folds.n_folds):
        trained, held = np.isin(patch, folds.train_ids(k)), fold == k
        if trained.any() and held.any():
            apart[held] = distances(tiles[trained], tiles[held])
    unit = float(np.median(apart)) or 1.0
    return Applicability(names, patch, tiles, mean, spread, apart / np.float32(unit), unit)


def describe(dataset: xr.Dataset, sensor: Sensor) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """Describe tiles by what their bands look like.

    Parameters
    ----------
    dataset : xarray.Dataset
        ``image (patch, band, y, x)`` counts, or units where the attribute ``values`` is ``unit``.

    Returns
    -------
    names : tuple of str
    described : float32 array, shape (patch, description)
        Reflectance in logarithms of counts, terrain in counts.

    Raises
    ------
    DataError
        If the bands are not the sensor's.
    """
    bands = tuple(str(b) for b in dataset["band"].values)
    if bands != sensor.band_names:
        raise DataError("the bands are not the sensor's", found=bands, allowed=sensor.band_names)
    names: tuple[str, ...] = ()
    parts = []
    for start in range(0, dataset.sizes["patch"], TILES):
        image = dataset["image"].isel(patch=slice(start, start + TILES)).values.astype(np.float32)
        if dataset.attrs.get("values") == "unit":
            image = _counts(image, sensor)
        names, found = _describe(image, sensor)
        parts.append(found)
    return names, np.concatenate(parts)


def _counts(units: NDArray[np.float32], sensor: Sensor) -> NDArray[np.float32]:
    """Units as counts; those of a relative sensor as an 8-bit file has them."""
    counts = units / sensor.count_to_unit[:, None, None]
    if sensor.radiometry == "relative":
        spectral = np.isin(sensor.band_names, sensor.spectral)
        highest = counts[:, spectral].max(axis=(1, 2, 3), keepdims=True)
        counts[:, spectral] *= 255 / np.maximum(highest, np.float32(1e-6))
    return counts


def distances(tiles: NDArray[np.float32], asked: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean distance to the `NEAREST` of some tiles: root mean square over descriptions.

    Parameters
    ----------
    tiles : float32 array, shape (tile, description)
    asked : float32 array, shape (asked, description)

    Returns
    -------
    float32 array, shape (asked,)
    """
    from scipy.spatial import cKDTree

    near = min(NEAREST, len(tiles))
    found, _ = cKDTree(tiles).query(asked, k=near)
    mean = np.asarray(found, np.float32).reshape(len(asked), near).mean(axis=1)
    out: NDArray[np.float32] = mean / np.float32(np.sqrt(tiles.shape[1]))
    return out


def _describe(
    image: NDArray[np.float32], sensor: Sensor
) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    spectral = np.array([b.name in sensor.spectral for b in sensor.bands])
    reflectance = np.log1p(image[:, spectral])
    if sensor.radiometry == "relative" and spectral.any():
        reflectance -= reflectance.mean(axis=(1, 2, 3), keepdims=True)
    image[:, spectral] = reflectance
    columns: dict[str, NDArray[np.float32]] = {}
    few = image[:, :, ::_EVERY, ::_EVERY].reshape(*image.shape[:2], -1)
    low, middle, high = np.quantile(few, _QUANTILES, axis=2)
    mean, spread = image.mean(axis=(2, 3)), image.std(axis=(2, 3))
    rough = sum(np.abs(np.diff(image, axis=a)).mean(axis=(2, 3)) for a in (2, 3)) / 2
    for i, band in enumerate(sensor.bands):
        if band.unit == "metre":
            columns[f"{band.name} relief"] = high[:, i] - low[:, i]
        else:
            columns[f"{band.name} mean"] = mean[:, i]
            for name, values in (("low", low), ("median", middle), ("high", high)):
                columns[f"{band.name} {name}"] = values[:, i]
        columns[f"{band.name} spread"] = spread[:, i]
        columns[f"{band.name} roughness"] = rough[:, i]
    if spectral.sum() > 1:
        colour = reflectance - reflectance.mean(axis=1, keepdims=True)
        mean, spread = colour.mean(axis=(2, 3)), colour.std(axis=(2, 3))
        for i, name in enumerate(sensor.spectral):
            columns[f"{name} colour"] = mean[:, i]
            columns[f"{name} spread of colour"] = spread[:, i]
    return tuple(columns), np.stack(list(columns.values()), axis=1).astype(np.float32)
