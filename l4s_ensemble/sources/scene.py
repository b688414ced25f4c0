"""One made-up scene: ground, cover, landslides and what a satellite sees, cut into tiles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.data.bands import L4S_BANDS, PATCH_PIXELS
from l4s_ensemble.errors import ConfigError
from l4s_ensemble.sources import climate as climates
from l4s_ensemble.sources.climate import Climate
from l4s_ensemble.sources.compiled import compiled
from l4s_ensemble.sources.cover import Ground, make_cover
from l4s_ensemble.sources.light import cast_shadow, illumination
from l4s_ensemble.sources.measured import load
from l4s_ensemble.sources.noise import Floats, enlarge
from l4s_ensemble.sources.optics import GROUP, look
from l4s_ensemble.sources.rivers import draw_beds
from l4s_ensemble.sources.slides import make_slides
from l4s_ensemble.sources.terrain import CELL_M, make_terrain

CELL_10M = 10.0
DEM_CELL_M = 12.5
SLOPE_DETAIL = 0.3
"""Share of the gullies that the given slope shows: it fits the given elevation only in part."""
MARGIN_M = 330.0
"""Ground around the tiles, so that no rim of the made-up world is seen."""
PIXEL_STEP_M = 9.78
"""Spacing of the released pixels on the ground, from how often rows occur twice."""


@dataclass(frozen=True)
class Scene:
    """A rectangular grid of adjoining tiles.

    Attributes
    ----------
    image : ndarray of uint16, shape (band, y, x)
        Raw integers in the order of the band table: DN, degrees, metres.
    mask : ndarray of uint8, shape (y, x)
        1 where the map shows a landslide.
    bare : ndarray of float32, shape (y, x)
        Share of bare ground by landslides, mapped or not: the truth behind the map.
    rows, cols : int
        Size of the grid in tiles.
    climate : Climate
        What was drawn for this scene.
    """

    image: NDArray[np.uint16]
    mask: NDArray[np.uint8]
    bare: Floats
    rows: int
    cols: int
    climate: Climate

    def tile(self, row: int, col: int) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
        """Cut out one tile: image (band, 128, 128) and mask (128, 128), as views."""
        n = PATCH_PIXELS
        y, x = slice(row * n, (row + 1) * n), slice(col * n, (col + 1) * n)
        return self.image[:, y, x], self.mask[y, x]


def make_scene(
    rows: int, cols: int, seed: int | list[int] = 0, climate: Climate | None = None
) -> Scene:
    """Make a seeded scene of `rows` × `cols` tiles.

    Parameters
    ----------
    rows, cols : int
        At least 1 each; about 8 MB of memory are used for each tile.
    seed : int or list of int
        Same seed, same scene.
    climate : Climate, optional
        What differs from scene to scene; drawn from the seed when it is not given.

    Raises
    ------
    ConfigError
        If a size is below 1.
    """
    from scipy import ndimage

    if rows < 1 or cols < 1:
        raise ConfigError("a scene needs tiles", found=(rows, cols), allowed="1 or more each")
    rng = np.random.default_rng(seed)
    climate = climate or climates.draw(rng)
    measured = load()
    tilt = rng.uniform(-0.03, 0.03)
    pixels = (rows * PATCH_PIXELS, cols * PATCH_PIXELS)
    extent_m, corner_m = _extent(pixels, tilt)
    terrain = make_terrain(_cells(extent_m, CELL_M), climate, rng)
    shape = _cells(extent_m, CELL_10M)
    dem_m = enlarge(terrain.fine_m, shape, CELL_10M / DEM_CELL_M)
    model_m = _resample(terrain.dem_m, CELL_M, terrain.fine_m.shape, DEM_CELL_M)
    slope_deg = _slope_deg(model_m + SLOPE_DETAIL * (terrain.fine_m - model_m), DEM_CELL_M)
    above = enlarge(terrain.above_river_m, shape, CELL_10M / CELL_M).clip(0)
    hollow = ndimage.laplace(ndimage.gaussian_filter(terrain.dem_m, 1.5))
    hollow = enlarge((hollow / hollow.std()).astype(np.float32), shape, CELL_10M / CELL_M)
    sun = (climate.sun_azimuth_deg, climate.sun_elevation_deg)
    shadow = enlarge(cast_shadow(terrain.dem_m, CELL_M, *sun), model_m.shape, DEM_CELL_M / CELL_M)
    light = enlarge(
        illumination(terrain.fine_m, DEM_CELL_M, shadow, *sun), shape, CELL_10M / DEM_CELL_M
    )
    inside = np.zeros(shape, np.uint8)
    _mark(inside, corner_m, tilt, pixels)
    slides = make_slides(dem_m, hollow, above, inside > 0, climate, measured.slides, rng)
    bed = draw_beds(terrain, shape, climate.river_km2, rng)
    slope_10m = enlarge(slope_deg, shape, CELL_10M / DEM_CELL_M)
    ground = Ground(dem_m, slope_10m, light, above, bed)
    cover = make_cover(ground, slides.bare, climate, measured, rng)
    raw = look(cover, dem_m, light, climate, measured, rng)
    image = np.empty((len(L4S_BANDS), *pixels), np.uint16)
    for i, band in enumerate(L4S_BANDS[:-2]):
        step = PIXEL_STEP_M / (CELL_10M * GROUP[band.name])
        _nearest(_counts(raw[band.name]), image[i], corner_m, tilt, step)
    step = PIXEL_STEP_M / DEM_CELL_M
    _nearest(_counts(slope_deg, 0), image[-2], corner_m, tilt, step)
    _nearest(_counts(model_m, 0), image[-1], corner_m, tilt, step)
    mask, bare = np.empty(pixels, np.uint8), np.empty(pixels, np.float32)
    _nearest(slides.mapped, mask, corner_m, tilt, PIXEL_STEP_M / CELL_10M)
    _nearest(slides.bare, bare, corner_m, tilt, PIXEL_STEP_M / CELL_10M)
    return Scene(image, mask, bare, rows, cols, climate)


def _extent(
    pixels: tuple[int, int], tilt: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Size of the ground in metres, whole multiples of 300, and place of the first pixel."""
    high, wide = pixels[0] * PIXEL_STEP_M, pixels[1] * PIXEL_STEP_M
    c, s = np.cos(tilt), np.sin(tilt)
    corners_y = np.array([0, c * high, s * wide, c * high + s * wide])
    corners_x = np.array([0, -s * high, c * wide, -s * high + c * wide])
    size_y, size_x = np.ptp(corners_y), np.ptp(corners_x)
    grow = [300.0 * np.ceil((v + 2 * MARGIN_M) / 300.0) for v in (size_y, size_x)]
    corner = (MARGIN_M - corners_y.min(), MARGIN_M - corners_x.min())
    return (float(grow[0]), float(grow[1])), (float(corner[0]), float(corner[1]))


def _cells(extent_m: tuple[float, float], cell_m: float) -> tuple[int, int]:
    return round(extent_m[0] / cell_m), round(extent_m[1] / cell_m)


def _resample(field: Floats, cell_m: float, shape: tuple[int, int], target_m: float) -> Floats:
    """Cubic interpolation onto finer cells that share the outer edge."""
    from scipy import ndimage

    scale = target_m / cell_m
    offset = 0.5 * scale - 0.5
    out: Floats = ndimage.affine_transform(
        field, [scale, scale], offset, output_shape=shape, order=3, mode="nearest"
    )
    return out


def _slope_deg(dem_m: Floats, cell_m: float) -> Floats:
    """Slope by Horn's (1981) 3 × 3 weights, degrees."""
    from scipy import ndimage

    gy = ndimage.sobel(dem_m, 0) / np.float32(8 * cell_m)
    gx = ndimage.sobel(dem_m, 1) / np.float32(8 * cell_m)
    return np.asarray(np.degrees(np.arctan(np.hypot(gy, gx))), dtype=np.float32)


def _counts(field: Floats, low: int = 1) -> NDArray[np.uint16]:
    return np.clip(np.rint(field), low, 65535).astype(np.uint16)


@compiled
def _nearest(
    source: NDArray[np.generic],
    out: NDArray[np.generic],
    corner_m: tuple[float, float],
    tilt: float,
    step: float,
) -> None:
    """Fill `out` from the nearest cells of `source`; `step` is source cells per pixel."""
    c, s = np.cos(tilt), np.sin(tilt)
    first_y, first_x = corner_m[0] / PIXEL_STEP_M, corner_m[1] / PIXEL_STEP_M
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            y = (first_y + c * (i + 0.5) + s * (j + 0.5)) * step
            x = (first_x - s * (i + 0.5) + c * (j + 0.5)) * step
            out[i, j] = source[int(y), int(x)]


@compiled
def _mark(
    inside: NDArray[np.uint8], corner_m: tuple[float, float], tilt: float, pixels: tuple[int, int]
) -> None:
    """Mark the 10 m cells that some pixel is taken from."""
    c, s = np.cos(tilt), np.sin(tilt)
    step = PIXEL_STEP_M / CELL_10M
    for i in range(pixels[0]):
        for j in range(pixels[1]):
            y = corner_m[0] / CELL_10M + (c * (i + 0.5) + s * (j + 0.5)) * step
            x = corner_m[1] / CELL_10M + (-s * (i + 0.5) + c * (j + 0.5)) * step
            inside[int(y), int(x)] = 1
