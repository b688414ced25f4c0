"""What a scene consists of: the file of each band, and how its values become units.

A scene is a GeoTIFF or VRT, a folder of single-band files, a Sentinel-2 product or a STAC item.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from l4s_ensemble.errors import DataError

COMMON = {
    "coastal": "B1", "blue": "B2", "green": "B3", "red": "B4", "rededge1": "B5",
    "rededge2": "B6", "rededge3": "B7", "nir": "B8", "nir08": "B8A", "nir09": "B9",
    "cirrus": "B10", "swir16": "B11", "swir22": "B12", "elevation": "dem", "dsm": "dem",
}  # fmt: skip
"""Common names of STAC, and other names of terrain, to names of the band table."""

TERRAIN = ("slope", "dem")
DN_PER_REFLECTANCE = 10_000.0

SCL_CLOUDS = (0, 1, 3, 8, 9, 10)
"""Classes of the scene classification: no data, saturated, cloud shadow, clouds, thin cirrus."""


@dataclass(frozen=True)
class BandFile:
    """Where a band lies, and how its values become units.

    Attributes
    ----------
    name : str
        Of the band table, such as ``B4``.
    path : str
        As GDAL opens it.
    index : int
        From 1.
    scale, offset : float
        ``value x scale + offset`` is in the band's unit: reflectance x 10,000, degrees, metres.
    nodata : float or None
        Value that is no data; None: what the file says, or 0 where all bands are.
    """

    name: str
    path: str
    index: int = 1
    scale: float = 1.0
    offset: float = 0.0
    nodata: float | None = None


@dataclass(frozen=True)
class Mask:
    """A raster of classes, and those that hide the ground; without `classes` all but 0."""

    path: str
    classes: tuple[int, ...] = ()
    index: int = 1


@dataclass(frozen=True)
class Scene:
    """A scene as it lies on disk.

    Attributes
    ----------
    path : str
    bands : tuple of BandFile
    level : {'L1C', 'L2A', None}
        Reflectance above the atmosphere or at the surface; None where not known.
    source : str
        Where scale and offset come from, for a person.
    masks : tuple of Mask
        Clouds that the product itself knows.
    observed : str or None
        When it was taken, ISO 8601; None where not known.
    """

    path: str
    bands: tuple[BandFile, ...]
    level: Literal["L1C", "L2A"] | None = None
    source: str = "values as they are: nothing is said of scale and offset"
    masks: tuple[Mask, ...] = ()
    observed: str | None = None

    def band(self, name: str) -> BandFile | None:
        """A band by name; None where there is none."""
        return next((b for b in self.bands if b.name == name), None)

    def scaled(self, scale: float | None, offset: float | None) -> Scene:
        """The same with another scale and offset of reflectance, where one is given."""
        if scale is None and offset is None:
            return self
        factors = {"scale": scale, "offset": offset}
        given = {k: float(v) for k, v in factors.items() if v is not None}
        bands = [b if b.name in TERRAIN else replace(b, **given) for b in self.bands]  # type: ignore[arg-type]
        said = ", ".join(f"{k} {v:g}" for k, v in given.items())
        return replace(self, bands=tuple(bands), source=f"{said}, as given")


def band_name(text: str | None) -> str | None:
    """Name of the band table that a description means; None if it means none.

    Examples
    --------
    >>> [band_name(t) for t in ("B04", "b8a", "Band 11", "red", "elevation", "quality")]
    ['B4', 'B8A', 'B11', 'B4', 'dem', None]
    """
    plain = (text or "").strip().lower()
    if plain in TERRAIN:
        return plain
    if plain in COMMON:
        return COMMON[plain]
    found = re.fullmatch(r"b(?:and)?[ _]?0?(\d{1,2})(a?)", plain)
    return f"B{int(found[1])}{found[2].upper()}" if found else None


def opened(path: str):  # type: ignore[no-untyped-def]
    """Open a raster with rasterio.

    Raises
    ------
    DataError
        If it is no raster or is damaged, or rasterio is not installed.
    """
    try:
        import rasterio
    except ImportError:
        raise DataError(
            "reading a scene needs rasterio", fix="pip install 'l4s_ensemble[geo]'"
        ) from None
    try:
        return rasterio.open(path)
    except rasterio.errors.RasterioIOError as error:
        raise DataError(
            "this is not a raster that GDAL reads",
            where=path,
            found=error,
            fix="download or export it again",
        ) from None
