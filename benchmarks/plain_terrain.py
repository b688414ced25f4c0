"""Terrain, water and light of one patch, written straight from the documentation of libraries.

The first half of the plain features, see `benchmarks.plain_features`. Slope, aspect and curvature
are those of xarray-spatial. No library here routes water or looks for horizons within a bounded
window: these are whole-array steps of numpy, no loop over pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
import xarray as xr
import xrspatial
from numpy.typing import NDArray
from scipy import ndimage

Image = NDArray[np.floating[Any]]
Made = TypeVar("Made")

PIXEL_M = 10.0
SIGMA_PX = 1.5
UPSLOPE_PX, DOWNSLOPE_PX, HORIZON_PX = 16, 24, 30
NEIGHBOURS = [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)]


def moved(picture: Image, row: int, column: int) -> Image:
    """Value of the pixel that lies this many rows and columns away; edges repeat."""
    reach = max(abs(row), abs(column))
    wide = np.pad(picture, reach, mode="edge")
    height, width = picture.shape
    return wide[reach + row : reach + row + height, reach + column : reach + column + width]


class PlainTerrain:
    """What is made of the elevation; a base of `benchmarks.plain_features.PlainPatch`."""

    bands: dict[str, Image]
    memo: dict[Any, Any]

    def picture(self, name: str) -> Image:
        """A band of the terrain, or an index."""
        raise NotImplementedError

    def once(self, key: Any, make: Callable[[], Made]) -> Made:
        """Make something that several features share, once."""
        if key not in self.memo:
            self.memo[key] = make()
        return cast(Made, self.memo[key])

    def surface(self) -> xr.DataArray:
        """The smoothed elevation, metres."""
        return self.once("surface", self._surface)

    def _surface(self) -> xr.DataArray:
        smooth = ndimage.gaussian_filter(self.bands["dem"], SIGMA_PX)
        return xr.DataArray(smooth, dims=("y", "x"), attrs={"res": (PIXEL_M, PIXEL_M)})

    def height(self) -> Image:
        """The smoothed elevation as plain numbers."""
        return self.surface().values

    def slope(self) -> Image:
        """Slope of the smoothed elevation, degrees."""
        return self.once("slope", lambda: xrspatial.slope(self.surface()).values)

    def normal(self) -> tuple[Image, Image, Image]:
        """Unit normal of the surface: east, north, up."""
        return self.once("normal", self._normal)

    def _normal(self) -> tuple[Image, Image, Image]:
        faces = np.radians(xrspatial.aspect(self.surface()).values)
        steep = np.radians(self.slope())
        return np.sin(faces) * np.sin(steep), np.cos(faces) * np.sin(steep), np.cos(steep)

    def derivatives(self) -> tuple[Image, Image, Image, Image, Image]:
        """First and second derivatives of the surface: p, q, r, s, t."""
        return self.once("derivatives", self._derivatives)

    def _derivatives(self) -> tuple[Image, Image, Image, Image, Image]:
        z = self.height()
        p = ndimage.sobel(z, axis=1) / (8 * PIXEL_M)
        q = -ndimage.sobel(z, axis=0) / (8 * PIXEL_M)
        second = [1, -2, 1]
        r = ndimage.correlate1d(z, second, axis=1) / PIXEL_M**2
        t = ndimage.correlate1d(z, second, axis=0) / PIXEL_M**2
        across = ndimage.correlate1d(z, [-1, 0, 1], axis=1)
        s = -ndimage.correlate1d(across, [-1, 0, 1], axis=0) / (4 * PIXEL_M**2)
        return p, q, r, s, t

    def curvature(self, kind: str) -> Image:
        """Curvature of one kind, 1/km, convex positive."""
        if kind == "mean":
            # xarray-spatial: −100 × the Laplacian.
            return 5 * xrspatial.curvature(self.surface()).values
        p, q, r, s, t = self.derivatives()
        rise2 = np.maximum(p**2 + q**2, 1e-6)
        if kind == "profile":
            down = p * p * r + 2 * p * q * s + q * q * t
            made = -down / (rise2 * (1 + rise2) ** 1.5)
        else:
            contour = q * q * r - 2 * p * q * s + p * p * t
            below = rise2 * np.sqrt(1 + rise2) if kind == "tangential" else rise2**1.5
            made = -contour / below
        return np.clip(1000 * made, -200, 200)

    def ruggedness(self, edge: int) -> Image:
        """1 − length of the mean surface normal."""
        means = [ndimage.uniform_filter(np.nan_to_num(n), edge) for n in self.normal()]
        return 1 - np.sqrt(sum(m**2 for m in means))

    def lowest(self, edge: int) -> Image:
        """Lowest elevation in a window."""
        return self.once(("low", edge), lambda: ndimage.minimum_filter(self.height(), edge))

    def highest(self, edge: int) -> Image:
        """Highest elevation in a window."""
        return self.once(("high", edge), lambda: ndimage.maximum_filter(self.height(), edge))

    def relative_height(self, edge: int) -> Image:
        """Elevation between the lowest and the highest of a window, 0 … 1."""
        low, high = self.lowest(edge), self.highest(edge)
        return (self.height() - low) / np.maximum(high - low, 1)

    # Water

    def shares(self) -> list[Image]:
        """Share of a pixel's water that goes to each of its neighbours (Quinn et al. 1991)."""
        return self.once("shares", self._shares)

    def _shares(self) -> list[Image]:
        z = ndimage.gaussian_filter(self.bands["dem"].astype(float), SIGMA_PX)
        parts = []
        for row, column in NEIGHBOURS:
            away = np.hypot(row, column)
            fall = np.maximum(z - moved(z, row, column), 0)
            parts.append(fall / (away * PIXEL_M) * 0.5 / away)
        total = sum(parts) + 2e-3
        return [part / total for part in parts]

    def upslope(self) -> tuple[Image, Image, Image]:
        """Pixels whose water comes by, the sum of their slopes, and of their fall to here."""
        return self.once("upslope", self._upslope)

    def _upslope(self) -> tuple[Image, Image, Image]:
        z, shares = self.height(), self.shares()
        p, q, *_ = self.derivatives()
        slope = np.hypot(p, q)
        inflow = [moved(shares[7 - k], *NEIGHBOURS[k]) for k in range(8)]
        falls = [moved(z, *neighbour) - z for neighbour in NEIGHBOURS]
        cells, slopes, metres = np.ones_like(z), slope, np.zeros_like(z)
        for _ in range(UPSLOPE_PX):
            new = [np.ones_like(z), slope.copy(), np.zeros_like(z)]
            for share, fall, neighbour in zip(inflow, falls, NEIGHBOURS, strict=True):
                near = moved(cells, *neighbour)
                new[0] += share * near
                new[1] += share * moved(slopes, *neighbour)
                new[2] += share * (moved(metres, *neighbour) + fall * near)
            cells, slopes, metres = new
        return cells, slopes, metres

    def downslope(self) -> tuple[Image, Image]:
        """Fall and horizontal way down to where water gathers, metres."""
        return self.once("downslope", self._downslope)

    def _downslope(self) -> tuple[Image, Image]:
        z, shares, cells = self.height(), self.shares(), self.upslope()[0]
        goes_on = 1 - np.clip(np.log(cells / 50) / np.log(2), 0, 1)
        falls = [z - moved(z, *neighbour) for neighbour in NEIGHBOURS]
        metres, way = np.zeros_like(z), np.zeros_like(z)
        for _ in range(DOWNSLOPE_PX):
            new = [np.zeros_like(z), np.zeros_like(z)]
            for share, fall, neighbour in zip(shares, falls, NEIGHBOURS, strict=True):
                new[0] += share * (moved(metres, *neighbour) + fall)
                new[1] += share * (moved(way, *neighbour) + PIXEL_M * np.hypot(*neighbour))
            metres, way = (part * goes_on for part in new)
        return metres, way

    def water(self, name: str) -> Image:
        """One feature of the group ``water``."""
        cells, slopes, falls = self.upslope()
        area = cells * PIXEL_M
        p, q, *_ = self.derivatives()
        slope = np.maximum(np.hypot(p, q), 0.02)
        if name.startswith("flow"):
            return np.log(area)
        if name.startswith("wetness"):
            return np.log(area / slope)
        if name.startswith("stream"):
            return np.log(area * slope)
        if name.startswith("upslope_slope"):
            return np.degrees(np.arctan(slopes / cells))
        if name.startswith("upslope_height"):
            return falls / cells
        metres, way = self.downslope()
        if name.startswith("above"):
            return metres
        if name.startswith("to"):
            return way
        return np.degrees(np.arctan(metres / np.maximum(way, PIXEL_M)))

    # Light

    def facing(self) -> tuple[Image, Image, Image]:
        """Unit normal from the derivatives, which know the edge: east, north, up."""
        return self.once("facing", self._facing)

    def _facing(self) -> tuple[Image, Image, Image]:
        p, q, *_ = self.derivatives()
        up = 1 / np.sqrt(1 + p * p + q * q)
        return -p * up, -q * up, up

    def sun(self) -> NDArray[np.float64]:
        """Unit vector towards the light, by least squares of log brightness on the normal."""
        return self.once("sun", self._sun)

    def _sun(self) -> NDArray[np.float64]:
        log = np.log(np.maximum(self.picture("bright"), 1e-3)).ravel()
        log = np.clip(log, *np.quantile(log, (0.01, 0.99)))
        normals = np.stack([n.ravel() for n in self.facing()], axis=1)
        centred = normals - normals.mean(axis=0)
        east, north, up = np.linalg.lstsq(centred, log - log.mean(), rcond=None)[0]
        flat = np.hypot(east, north)
        height = max(np.arctan2(up, flat), np.radians(30))
        along = np.cos(height) / flat
        return np.array([east * along, north * along, np.sin(height)])

    def cosine(self) -> Image:
        """Cosine of the angle between the sun and the surface normal."""
        return self.once(
            "cosine", lambda: sum(s * n for s, n in zip(self.sun(), self.facing(), strict=True))
        )

    def without_sun(self, name: str) -> Image:
        """Light as if all ground faced the sun alike."""
        light, cosine = self.picture(name), self.cosine()
        log = np.log(np.maximum(light, 1e-3))
        y = np.clip(log, *np.quantile(log, (0.01, 0.99)))
        x = cosine - cosine.mean()
        gain = ((x * y).mean() + 1e-3 / (self.sun()[2] + 0.3)) / ((x * x).mean() + 1e-3)
        return light * np.exp(-np.clip(gain, 0, 3) * x)

    def sky_view(self) -> Image:
        """1 − mean sine of the horizon in eight directions."""
        z = self.height()
        view = np.ones_like(z)
        for row, column in NEIGHBOURS:
            away = np.hypot(row, column)
            rise = np.zeros_like(z)
            for step in range(1, int(HORIZON_PX / away) + 1):
                up = moved(z, step * row, step * column) - z
                np.maximum(rise, up / (step * away * PIXEL_M), out=rise)
            view -= np.sin(np.arctan(rise)) / 8
        return view

    def sunward(self) -> Image:
        """Elevation of the horizon towards the sun, degrees."""
        z = self.height()
        east, north = self.sun()[:2] / np.hypot(*self.sun()[:2])
        rise = np.zeros_like(z)
        for step in range(1, HORIZON_PX + 1):
            there = ndimage.shift(z, (north * step, -east * step), order=1, mode="nearest")
            np.maximum(rise, (there - z) / (step * PIXEL_M), out=rise)
        return np.degrees(np.arctan(rise))

    def aspect_mean(self, name: str, edge: int) -> Image:
        """Mean in a window, each pixel weighted by how much its aspect is like the centre's."""
        weights = self.once(("aspect", edge), lambda: self._weighted(np.float32(1), edge))
        return self._weighted(self.picture(name), edge) / weights

    def _weighted(self, value: Any, edge: int) -> Image:
        # ((1 + cos Δ) / 2)², written out as six products of the centre and the neighbour.
        east, north, _ = self.facing()
        size = np.sqrt(east * east + north * north + 0.1**2)
        e, n = east / size, north / size
        centre = (np.ones_like(e), 2 * e, 2 * n, e * e, 2 * e * n, n * n)
        terms = (np.ones_like(e), e, n, e * e, e * n, n * n)
        return sum(
            c * ndimage.uniform_filter(t * value, edge) for c, t in zip(centre, terms, strict=True)
        )
