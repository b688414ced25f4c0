"""Pictures of the map of a scene: its layers in small, and its landslides in full size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.maps.area import Area
from l4s_ensemble.maps.grid import Grid
from l4s_ensemble.maps.reader import CLOUD_BUFFER_PX, Reader
from l4s_ensemble.maps.written import WrittenMap
from l4s_ensemble.report.browser.photos import shade_of
from l4s_ensemble.report.pictures import draw as pictures
from l4s_ensemble.report.pictures.crops import ROOM_PX, cut_out, outlined
from l4s_ensemble.report.pictures.draw import Picture
from l4s_ensemble.report.pictures.mosaics import CHALK, HATCH

OVERVIEW_PX = 1600
"""Most pixels of the longer side of a picture of the map."""

MOST_CROP_PX = 400
NOT_PREDICTED = (122, 126, 132)
INK = (16, 18, 20)

DISSIMILARITY_SCALE = np.array(
    [(10, 14, 40), (38, 52, 120), (76, 104, 178), (140, 164, 214), (228, 234, 250)], np.float64
)
"""Blue, so that it is taken neither for probability nor for uncertainty."""

Floats = NDArray[np.float32]
Levels = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Overview:
    """A map in small; arrays have shape (y, x).

    Attributes
    ----------
    grid : Grid
        Its tiles are its pixels.
    rgb : float32 array, shape (y, x, 3)
        Reflectance to show; NaN without data, clouds as they are.
    dem_m : float32 array or None
    probability, uncertainty, dissimilarity : float32 array
        NaN where not predicted.
    missing : dict of str to bool array
        Pixels that were wanted and not predicted, by the reason.
    outside : bool array
        Pixels that were not asked for.
    """

    grid: Grid
    rgb: Floats
    dem_m: Floats | None
    probability: Floats
    uncertainty: Floats
    dissimilarity: Floats
    missing: dict[str, NDArray[np.bool_]]
    outside: NDArray[np.bool_]

    @cached_property
    def levels(self) -> Levels:
        """Levels of the colours, of what was predicted."""
        seen = np.isfinite(self.rgb).all(axis=-1)
        predicted = seen & np.isfinite(self.probability)
        return pictures.levels_of(self.rgb[predicted if predicted.any() else seen])

    @cached_property
    def colour(self) -> Picture:
        """True colour, uint8 (y, x, 3)."""
        return _picture(self.rgb, self.levels)

    @cached_property
    def ground(self) -> NDArray[np.float64]:
        """Hillshade where elevation is known, else the grey scene; dark, (y, x, 1)."""
        if self.dem_m is None or not np.isfinite(self.dem_m).any():
            return np.asarray(pictures.dimmed(self.colour)[..., :1], np.float64)
        shade, _ = shade_of(self.dem_m, self.grid.pixel_m)
        return 84 * np.clip(shade, 0, 1.3)[..., np.newaxis]


def overview_of(found: WrittenMap) -> Overview:
    """Read a map and its scene in small."""
    import rasterio

    with rasterio.open(found.folder / "probability.tif") as file:
        step = -(-max(file.shape) // OVERVIEW_PX)
        rows, columns = (max(n // step, 1) for n in file.shape)
        left, top = file.transform.c, file.transform.f
    pixel = found.summary.pixel_m * step
    grid = Grid(found.summary.crs, left, top, pixel, 1, rows, columns)
    p, uncertainty, index = (
        _small(found.folder / f"{name}.tif", grid, step)
        for name in ("probability", "uncertainty", "applicability")
    )
    y, x = slice(0, rows), slice(0, columns)
    reader = colour_reader(replace(found.reader, grid=grid))
    rgb, dem = _colours(reader, y, x), reader.terrain(y, x).get("dem")
    wanted = Area((y, x), found.area.shapes).inside(grid, y, x)
    missing: dict[str, NDArray[np.bool_]] = {}
    left_over = wanted & np.isnan(p)
    metres = CLOUD_BUFFER_PX * found.summary.pixel_m
    hidden = f"clouds and their shadows, with {metres:.0f} m around them"
    for why, where in (
        ("no data in the scene", np.isnan(rgb).any(axis=-1)),
        ("no elevation", np.zeros_like(wanted) if dem is None else np.isnan(dem)),
        (hidden if found.reader.masks else "no data beside", wanted),
    ):
        if (left_over & where).any():
            missing[why] = left_over & where
        left_over &= ~where
    return Overview(grid, rgb, dem, p, uncertainty, index, missing, ~wanted)


def colour_reader(reader: Reader) -> Reader:
    """The same scene with the bands to show as red, green, blue; clouds are seen."""
    names, _ = pictures.colour_bands(reader.sensor)
    bands = tuple(b for b in reader.sensor.bands if b.name in names)
    return replace(reader, sensor=reader.sensor.model_copy(update={"bands": bands}), masks=())


def _colours(reader: Reader, y: slice, x: slice) -> Floats:
    names, _ = pictures.colour_bands(reader.sensor)
    image = reader.reflectance(y, x)
    order = [reader.sensor.spectral.index(n) for n in names]
    return np.moveaxis(image[order], 0, -1)


def _picture(rgb: Floats, levels: Levels) -> Picture:
    made = pictures.stretched(np.nan_to_num(rgb), *levels)
    made[~np.isfinite(rgb).all(axis=-1)] = NOT_PREDICTED
    return made


def _small(path: Path, grid: Grid, step: int) -> Floats:
    """Means over `step` pixels each way; less than one of these is left out at the edge."""
    import rasterio
    from rasterio.enums import Resampling
    from rasterio.windows import Window

    rows, columns = grid.shape
    with rasterio.open(path) as file:
        window = Window(0, 0, min(columns * step, file.width), min(rows * step, file.height))
        values = file.read(
            1, window=window, out_shape=grid.shape, resampling=Resampling.average, masked=False
        )
    return np.asarray(values, np.float32)


def layers_of(shown: Overview, limit: float | None) -> list[dict[str, Any]]:
    """Pictures of a map: ``key, label, picture, legend``.

    Parameters
    ----------
    shown : Overview
    limit : float or None
        Largest dissimilarity inside the area of applicability; None: not known.
    """
    low, high = np.nanquantile(shown.uncertainty, [0.02, 0.999])
    part = (shown.uncertainty - low) / max(float(high - low), 1e-6)
    ends = f"{low:.2f}", f"{high:.2f}; 1 is at the threshold"
    layers = [
        ("probability", "Probability", shown.probability, pictures.SCALE, ("0", "1")),
        ("uncertainty", "Uncertainty", part, pictures.UNCERTAINTY_SCALE, ends),
    ]
    if limit is not None:
        ends = ("as in training", "twice the limit of applicability")
        index = shown.dissimilarity / (2 * limit)
        layers.append(("applicability", "Applicability", index, DISSIMILARITY_SCALE, ends))
    gone = {"label": "not predicted", "css": f"rgb{NOT_PREDICTED}"}
    made = [{"key": "colour", "label": "True colour", "picture": shown.colour, "legend": []}]
    for key, label, values, scale, ends in layers:
        picture = _on_ground(values, scale, shown.ground)
        ramp = {"before": ends[0], "label": ends[1], "css": pictures.scale_css(scale), "ramp": True}
        legend = [ramp, gone]
        if key == "applicability":
            _hatch(picture, values > 0.5)
            legend.insert(1, {"label": "outside the area of applicability", "css": HATCH})
        made.append({"key": key, "label": label, "picture": picture, "legend": legend})
    return made


def _on_ground(values: Floats, scale: NDArray[np.float64], ground: NDArray[np.float64]) -> Picture:
    """Colours of values in [0, 1] with the ground below: light adds up."""
    colour = pictures.on_scale(values, scale)
    made = np.asarray(255 - (255 - colour) * (1 - ground / 255), np.uint8)
    made[np.isnan(values)] = NOT_PREDICTED
    return made


def _hatch(picture: Picture, where: NDArray[np.bool_]) -> None:
    y, x = np.indices(where.shape)
    width = max(1, max(where.shape) // 600)
    for k, hue in enumerate((CHALK, INK)):  # seen on dark and on light
        picture[where & ((x + y) // width % 8 == k)] = hue


def crops_of(
    found: WrittenMap,
    levels: Levels,
    shapes: Mapping[int, Any],
    folder: Path,
) -> dict[int, dict[str, Any]]:
    """Draw landslides in true colour with their boundary, a file each.

    Parameters
    ----------
    found : WrittenMap
    levels : tuple of array
        See `Overview.levels`.
    shapes : mapping of int to geometry
        By number, in the CRS of the map.
    folder : Path
        Gets ``NUMBER.webp``.

    Returns
    -------
    dict of int to dict
        ``file``, ``size``, ``alt`` by number.
    """
    from rasterio.features import rasterize

    reader, grid = colour_reader(found.reader), found.reader.grid
    made = {}

    def place(item: tuple[int, Any]) -> tuple[int, int]:
        west, _, _, north = item[1].bounds
        return round((grid.top - north) / (1024 * grid.pixel_m)), round(west)

    # Neighbours one after the other: a compressed scene is unpacked once.
    for number, shape in sorted(shapes.items(), key=place):
        west, south, east, north = shape.bounds
        centre = (
            (grid.top - (south + north) / 2) / grid.pixel_m,
            ((west + east) / 2 - grid.left) / grid.pixel_m,
        )
        edge = round(max(east - west, north - south) / grid.pixel_m) + 2 * ROOM_PX
        y, x = cut_out(centre, min(edge, MOST_CROP_PX), grid.shape)
        size = y.stop - y.start, x.stop - x.start
        mask = rasterize([shape], size, transform=grid.transform(y.start, x.start)) == 1
        colour = _picture(_colours(reader, y, x), levels)
        large = outlined(colour, [(mask, pictures.FALSE_ALARM)])
        path = folder / f"{number}.webp"
        pictures.save(large, path, 80)
        made[number] = {"file": path, "size": len(large), "alt": f"Landslide {number}"}
    return made
