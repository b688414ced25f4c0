"""A raster as adjoining tiles of one scene.

Everything that a tile is shown lies within its own window, so that a result does not depend on
which part of a scene was in memory. Where a window holds pixels that were not observed, it is
continued from those that were.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.errors import DataError

Place = tuple[int, int]
"""Row and column of a tile."""


def halo_px(sensor: Sensor) -> int:
    """Neighbourhood that the U-Net sees on each side of a tile, and blends over, pixels."""
    return sensor.patch_pixels // 4


def margin_px(sensor: Sensor, support_px: int) -> int:
    """Pixels around the tiles of a raster that say all that is read: those beside, and a halo."""
    return sensor.patch_pixels + max(halo_px(sensor), support_px)


@dataclass(frozen=True, eq=False)
class Raster:
    """A raster of whole tiles, and what lies around it.

    Attributes
    ----------
    image : float32 array, shape (band, y + 2 margin, x + 2 margin)
        In the sensor's units; NaN where not observed.
    sensor : Sensor
    margin : int
        Pixels of the neighbourhood on each side, see `margin_px`.
    wanted : bool array, shape (y, x), optional
        Pixels to predict; all that were observed by default.
    """

    image: NDArray[np.float32]
    sensor: Sensor
    margin: int
    wanted: NDArray[np.bool_] | None = None

    @classmethod
    def of(cls, data: xr.Dataset, sensor: Sensor, support_px: int) -> Raster:
        """Bring a raster of any size to whole tiles; the first starts at its first pixel.

        Parameters
        ----------
        data : xarray.Dataset
            ``image (band, y, x)`` in the sensor's units and optionally ``valid (y, x)``: pixels
            that were observed.

        Raises
        ------
        DataError
            If the bands are not those of the sensor, or no pixel was observed.
        """
        require_bands(data, sensor)
        image = np.asarray(data["image"].values, np.float32)
        if "valid" in data:
            if data["valid"].dims != ("y", "x"):
                raise DataError("valid pixels are not over (y, x)", found=data["valid"].dims)
            image = np.where(data["valid"].values.astype(bool), image, np.float32(np.nan))
        if not np.isfinite(image).all(axis=0).any():
            raise DataError("no pixel of the raster is valid", fix="check its nodata and its mask")
        edge, margin = sensor.patch_pixels, margin_px(sensor, support_px)
        around = [(margin, margin + -size % edge) for size in image.shape[1:]]
        wide = np.pad(image, ((0, 0), *around), constant_values=np.nan)
        return cls(wide, sensor, margin)

    @property
    def edge(self) -> int:
        """Edge of a tile, pixels."""
        return self.sensor.patch_pixels

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width without the margin, pixels."""
        height, width = self.image.shape[1:]
        return height - 2 * self.margin, width - 2 * self.margin

    @cached_property
    def _observed(self) -> NDArray[np.bool_]:
        """All bands are known, with the margin."""
        return np.asarray(np.isfinite(self.image).all(axis=0))

    @cached_property
    def valid(self) -> NDArray[np.bool_]:
        """Pixels to predict, (y, x)."""
        inside = tuple(slice(self.margin, self.margin + n) for n in self.shape)
        known = self._observed[inside]
        return known if self.wanted is None else known & self.wanted

    def tiles(self) -> list[Place]:
        """Tiles with a pixel to predict."""
        edge = self.edge
        rows, columns = (n // edge for n in self.shape)
        return [
            (r, c)
            for r in range(rows)
            for c in range(columns)
            if self.valid[r * edge : (r + 1) * edge, c * edge : (c + 1) * edge].any()
        ]

    def seen(self) -> list[Place]:
        """Tiles with an observed pixel that lie beside or among those to predict.

        Rows and columns start at -1: windows of the tiles around a raster reach into it.
        """
        near = {(r + i, c + j) for r, c in self.tiles() for i in (-1, 0, 1) for j in (-1, 0, 1)}
        found = []
        for r, c in sorted(near):
            y, x = (self.margin + n * self.edge for n in (r, c))
            if self._observed[y : y + self.edge, x : x + self.edge].any():
                found.append((r, c))
        return found

    def window(self, place: Place, reach: int) -> NDArray[np.float32]:
        """A tile and `reach` pixels around it, float32 (band, y, x), all finite."""
        y, x = (self.margin + n * self.edge - reach for n in place)
        size = self.edge + 2 * reach
        return continued(self.image[:, y : y + size, x : x + size], self.sensor)

    def part(self, place: Place) -> tuple[slice, slice]:
        """Where a tile lies in arrays without the margin."""
        y, x = (n * self.edge for n in place)
        return slice(y, y + self.edge), slice(x, x + self.edge)


def require_bands(data: xr.Dataset, sensor: Sensor) -> None:
    """Refuse a raster ``image (band, y, x)`` whose bands are not those of a sensor.

    Raises
    ------
    DataError
    """
    names = tuple(map(str, data["band"].values)) if "band" in data.coords else sensor.band_names
    if names != sensor.band_names or data.sizes["band"] != len(names):
        raise DataError(
            "the raster has other bands than the sensor",
            where=f"sensor {sensor.name}",
            found=", ".join(names),
            allowed=", ".join(sensor.band_names),
        )


def continued(image: NDArray[np.float32], sensor: Sensor) -> NDArray[np.float32]:
    """Continue reflectance and terrain where they were not observed, from the nearest pixels.

    As `l4s_ensemble.features.window.continue_band` does at a straight edge: reflectance is
    mirrored, elevation reflected oddly; the nearest pixel counts where its mirror is not known.

    Parameters
    ----------
    image : float32 array, shape (band, y, x)
        NaN where not observed. Some pixel must have all reflectance, and some all terrain.
    """
    from scipy.ndimage import distance_transform_edt

    spectral = np.isin(sensor.band_names, sensor.spectral)
    out = image
    for group in (np.flatnonzero(spectral), np.flatnonzero(~spectral)):
        hole = np.asarray(~np.isfinite(image[group]).all(axis=0))
        if not hole.any():
            continue
        out = image.copy() if out is image else out
        at = np.array(np.nonzero(hole))
        near = distance_transform_edt(hole, return_distances=False, return_indices=True)[:, *at]
        for band in group:
            odd = sensor.bands[band].unit == "metre"
            mirror = 2 * near - at - (0 if odd else np.sign(near - at))
            size = np.array(hole.shape)[:, None]
            inside = ((mirror >= 0) & (mirror < size)).all(axis=0)
            mirror = np.where(inside, mirror, near)
            mirror = np.where(hole[*mirror], near, mirror)
            beyond = image[band][*mirror]
            out[band][*at] = 2 * image[band][*near] - beyond if odd else beyond
    return out


class Blend:
    """Windows that overlap become one raster: each counts less towards its edges.

    Parameters
    ----------
    raster : Raster
    models : int
        Values of a pixel.
    """

    def __init__(self, raster: Raster, models: int) -> None:
        self.raster = raster
        self.halo = halo_px(raster.sensor)
        half = raster.edge / 2 + self.halo
        away = np.abs(np.arange(2 * half) + 0.5 - half)
        ramp = np.clip((half - away) / (2 * self.halo), 0, 1).astype(np.float32)
        self.weight = ramp[:, None] * ramp
        self._sum = np.zeros((models, *raster.shape), np.float32)
        self._total = np.zeros(raster.shape, np.float32)

    def add(self, place: Place, values: NDArray[np.float32]) -> None:
        """Add the window of a tile, (model, y, x)."""
        into, of = [], []
        for n, size in zip(place, self.raster.shape, strict=True):
            start = n * self.raster.edge - self.halo
            stop = start + len(self.weight)
            into.append(slice(max(start, 0), min(stop, size)))
            of.append(slice(max(-start, 0), len(self.weight) - max(stop - size, 0)))
        if any(s.start >= s.stop for s in into):
            return
        weight = self.weight[*of]
        self._sum[:, *into] += weight * values[:, *of]
        self._total[*into] += weight

    def result(self) -> NDArray[np.float32]:
        """Weighted means, (model, y, x); NaN where no window lies."""
        self._total[self._total == 0] = np.nan
        return np.divide(self._sum, self._total, dtype=np.float32)


def spaced(places: list[Place], most: int) -> Iterator[Place]:
    """Some of the tiles, evenly spaced in their order."""
    chosen = np.linspace(0, len(places) - 1, min(len(places), most)).round()
    return (places[int(i)] for i in chosen)
