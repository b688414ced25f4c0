"""Windows of a scene on the grid of its map, in the sensor's units."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.errors import DataError
from l4s_ensemble.maps.grid import Bounds, Grid, dilated, grid_of
from l4s_ensemble.maps.scene import TERRAIN, BandFile, Mask, Scene, opened

CLOUD_BUFFER_PX = 10
"""Pixels around clouds that count as clouds: their edges and most of what haze surrounds them."""

SLOPE_SIGMA_PX = 1.5
"""Gaussian that elevation is smoothed with before its slope is taken.

On 31 real tiles slope made so correlates .94 with the given one, with .98 of its spread and a
median 1 degree above; without smoothing .80, 1.24 and 0.6.
"""

_SLOPE_REACH_PX = 16
_CACHE_BYTES = 128 << 20
_KEPT = threading.local()
"""Opened files of each thread: GDAL's must not be shared."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Reader:
    """Reads a scene on a grid; it can be sent to another process.

    Attributes
    ----------
    scene : Scene
    grid : Grid
    sensor : Sensor
    dem : str, optional
        Elevation in metres, where the scene has none or another one is wanted.
    masks : tuple of Mask
        Clouds.
    gain : float
        Factor of all reflectance: what brings a scene to the level of a relative sensor.
    """

    scene: Scene
    grid: Grid
    sensor: Sensor
    dem: str | None = None
    masks: tuple[Mask, ...] = ()
    gain: float = 1.0

    @classmethod
    def of(
        cls, scene: Scene, sensor: Sensor, dem: str | None = None, mask: str | None = None
    ) -> Reader:
        """Choose the grid, and look for all bands of the sensor.

        Raises
        ------
        DataError
            If bands are missing, the scene has no CRS, or the elevation does not cover it.
        """
        have = [b.name for b in scene.bands] + ([] if dem is None else ["dem"])
        needed = [n for n in sensor.band_names if n != "slope" or "dem" not in have]
        _require(scene, sensor, [n for n in needed if n not in have], have)
        spectral = [b for n in sensor.spectral if (b := scene.band(n)) is not None]
        grid = _finest_grid(spectral, sensor)
        masks = scene.masks if mask is None else (*scene.masks, Mask(mask))
        return cls(scene, grid, sensor, dem, masks)

    def extent(self) -> Bounds:
        """Bounds of the first reflectance on the grid's CRS."""
        from rasterio.warp import transform_bounds

        band = self.scene.band(self.sensor.spectral[0])
        assert band is not None
        with opened(band.path) as file:
            found: Bounds = transform_bounds(file.crs, self.grid.crs, *file.bounds)
        return found

    def with_gain(self, gain: float) -> Reader:
        """The same, all reflectance multiplied."""
        return replace(self, gain=gain)

    def read(self, rows: slice, columns: slice, margin: int = 0) -> Floats:
        """Read a window and `margin` pixels around it.

        Returns
        -------
        float32 array, shape (band, y + 2 margin, x + 2 margin)
            In the sensor's units; reflectance is NaN under clouds and where there is no data.
        """
        import rasterio

        y, x = (slice(s.start - margin, s.stop + margin) for s in (rows, columns))
        with rasterio.Env(GDAL_CACHEMAX=_CACHE_BYTES):
            seen = np.maximum(self.reflectance(y, x), 0)
            made = dict(zip(self.sensor.spectral, seen, strict=True))
            if set(TERRAIN) & set(self.sensor.band_names):
                made |= self.terrain(y, x)
        return np.stack([made[name] for name in self.sensor.band_names])

    def _dem(self) -> BandFile | None:
        return self.scene.band("dem") if self.dem is None else BandFile("dem", self.dem)

    def reflectance(self, y: slice, x: slice) -> Floats:
        """Spectral bands in the sensor's order and units, (band, y, x); NaN where not observed.

        Values below zero are kept: they tell of a wrong offset.
        """
        bands = [b for n in self.sensor.spectral if (b := self.scene.band(n)) is not None]
        image = self._bands(bands, y, x)
        hole = np.isnan(image)
        # Where only B10 is 0, or a band of a file that does not say what is no data, it is dark.
        dark = np.array([b.name == "B10" or b.nodata is None for b in bands])
        lost = hole.all(axis=0) | hole[~dark].any(axis=0) | self._clouds(y, x)
        image[hole & ~lost] = 0
        for one, band in zip(image, bands, strict=True):
            one *= np.float32(band.scale * self.gain)
            one += np.float32(band.offset * self.gain)
        image[:, lost] = np.nan
        return np.asarray(image, np.float32)

    def terrain(self, y: slice, x: slice) -> dict[str, Floats]:
        """``slope`` in degrees and ``dem`` in metres, (y, x), as far as they are known."""
        made: dict[str, Floats] = {}
        given, dem, reach = self.scene.band("slope"), self._dem(), _SLOPE_REACH_PX
        if given is not None:
            made["slope"] = self._bands([given], y, x)[0]
        if dem is not None:
            wide = [slice(s.start - reach, s.stop + reach) for s in (y, x)]
            z = self._bands([dem], *wide)[0]
            made["dem"] = z[reach:-reach, reach:-reach]
            if given is None:
                slope = slope_degrees(z, self.grid.pixel_m)[reach:-reach, reach:-reach]
                made["slope"] = np.where(np.isnan(made["dem"]), np.float32(np.nan), slope)
        return made

    def _clouds(self, y: slice, x: slice) -> NDArray[np.bool_]:
        r = CLOUD_BUFFER_PX
        y, x = slice(y.start - r, y.stop + r), slice(x.start - r, x.stop + r)
        found = np.zeros((y.stop - y.start, x.stop - x.start), bool)
        for mask in self.masks:
            read = _read(mask.path, [mask.index], self.grid, (y, x), "nearest", 0.0)
            classes = np.nan_to_num(read[0])
            found |= np.isin(classes, mask.classes) if mask.classes else classes != 0
        return dilated(found, r)[r:-r, r:-r]

    def _bands(self, bands: Sequence[BandFile], y: slice, x: slice) -> Floats:
        """Bands as stored, bilinear on the grid, float32 (band, y, x); NaN where no data."""
        out = np.empty((len(bands), y.stop - y.start, x.stop - x.start), np.float32)
        for path in dict.fromkeys(b.path for b in bands):
            own = [i for i, b in enumerate(bands) if b.path == path]
            first, indexes = bands[own[0]], [bands[i].index for i in own]
            zero = first.name not in TERRAIN
            out[own] = _read(path, indexes, self.grid, (y, x), "bilinear", first.nodata, zero)
        return out


def slope_degrees(z: Floats, pixel_m: float) -> Floats:
    """Slope of smoothed elevation by Horn's (1981) weights, degrees, shape (y, x)."""
    hole = np.isnan(z)
    if hole.all():
        return z
    if hole.any():
        near = ndimage.distance_transform_edt(hole, return_distances=False, return_indices=True)
        z = z[tuple(near)]
    # Differences of 3000 m in float32 would be steps of a quarter millimetre.
    smooth = ndimage.gaussian_filter(z.astype(np.float64), SLOPE_SIGMA_PX)
    south, east = (ndimage.sobel(smooth, axis) / (8 * pixel_m) for axis in (0, 1))
    return np.asarray(np.degrees(np.arctan(np.hypot(south, east))), np.float32)


def _require(scene: Scene, sensor: Sensor, missing: list[str], have: list[str]) -> None:
    if not missing:
        return
    what = "the scene lacks bands of the run's sensor"
    fix = "add them to the scene, or map with a run of a sensor that does without"
    if scene.level == "L2A" and "B10" in missing:
        what = "this is a product of level L2A, which has no B10; the run was fitted on L1C"
        fix = "download the same scene as L1C (S2MSI1C)"
    elif set(TERRAIN) & set(missing):
        fix = "give an elevation model with --dem FILE (metres; slope is computed from it)"
    raise DataError(
        what,
        where=scene.path,
        found=f"{', '.join(have)}; missing: {', '.join(missing)}",
        allowed=", ".join(sensor.band_names),
        fix=fix,
    )


def _finest_grid(bands: Sequence[BandFile], sensor: Sensor) -> Grid:
    from rasterio.warp import transform_bounds

    grids: list[tuple[float, int, Grid]] = []
    for i, path in enumerate(dict.fromkeys(b.path for b in bands)):
        with opened(path) as file:
            grid = grid_of(file, sensor.pixel_m, sensor.patch_pixels)
            left, bottom, right, top = transform_bounds(file.crs, grid.crs, *file.bounds)
            pixel = ((right - left) * (top - bottom) / (file.width * file.height)) ** 0.5
            grids.append((pixel, i, grid))
    return min(grids, key=lambda found: found[:2])[2]


def _read(
    path: str,
    indexes: Sequence[int],
    grid: Grid,
    window: tuple[slice, slice],
    resampling: str = "bilinear",
    nodata: float | None = None,
    zero_is_none: bool = False,
) -> Floats:
    """Read bands of a file on the grid, (band, y, x); beyond two tiles around it is no data."""
    import rasterio
    from rasterio.windows import Window

    kept: dict[object, Any] = _KEPT.__dict__.setdefault("files", {})
    key = path, grid, resampling, repr(nodata), zero_is_none
    if key not in kept:
        if len(kept) > 64:
            kept.clear()
        kept[key] = _warped(path, grid, resampling, nodata, zero_is_none)
    vrt, pad = kept[key], 2 * grid.edge
    y, x = window
    out = np.full((len(indexes), y.stop - y.start, x.stop - x.start), np.nan, np.float32)
    top, left = y.start + pad, x.start + pad
    y0, x0 = max(top, 0), max(left, 0)
    y1, x1 = min(y.stop + pad, vrt.height), min(x.stop + pad, vrt.width)
    if y1 <= y0 or x1 <= x0:
        return out
    try:
        found = vrt.read(list(indexes), window=Window(x0, y0, x1 - x0, y1 - y0))
    except rasterio.errors.RasterioIOError as error:
        raise DataError(
            "the file is damaged or cut short", where=path, found=error, fix="download it again"
        ) from None
    out[:, y0 - top : y1 - top, x0 - left : x1 - left] = found
    return out


def _warped(path: str, grid: Grid, resampling: str, nodata: float | None, zero: bool) -> Any:
    """A file on the grid and two tiles around it."""
    from rasterio.enums import Resampling
    from rasterio.vrt import WarpedVRT

    file = opened(path)
    if file.crs is None:
        raise DataError(
            "the file has no coordinate reference system",
            where=path,
            fix="assign the one it is in: gdal_edit.py -a_srs EPSG:32654 FILE",
        )
    missing = file.nodata if nodata is None else nodata
    if missing is None and zero:
        missing = 0.0
    pad = 2 * grid.edge
    height, width = grid.shape
    options: dict[str, Any] = {"nodata": 0.0}
    if resampling == "bilinear":
        options = {"dtype": "float32", "nodata": float("nan")}
        if missing is None:
            missing = float("nan")
    return WarpedVRT(
        file,
        crs=grid.crs,
        transform=grid.transform(-pad, -pad),
        height=height + 2 * pad,
        width=width + 2 * pad,
        resampling=Resampling[resampling],
        src_nodata=missing,
        # Next to nothing: an approximate transformer would depend on the window.
        tolerance=1e-6,
        # Else a pixel is no data only if it is so in terrain, too, where a file holds both.
        UNIFIED_SRC_NODATA="NO",
        **options,
    )
