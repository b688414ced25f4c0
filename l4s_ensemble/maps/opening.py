"""Scenes of any form by their path: files, folders, products and items."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from l4s_ensemble.errors import DataError
from l4s_ensemble.maps import products
from l4s_ensemble.maps.scene import (
    DN_PER_REFLECTANCE,
    TERRAIN,
    BandFile,
    Scene,
    band_name,
    once,
    opened,
)

RASTERS = (".tif", ".tiff", ".vrt", ".jp2")


def open_scene(path: str | Path, names: Sequence[str] | None = None) -> Scene:
    """Find the bands of a scene.

    Parameters
    ----------
    path : str or Path
        A GeoTIFF or VRT, bands by description; a folder of single-band files, bands by file name;
        a Sentinel-2 ``.SAFE`` folder or its zip; a STAC item (JSON).
    names : sequence of str, optional
        Names of the bands of a file, in order, where its descriptions do not say them.

    Raises
    ------
    DataError
        If it is none of these, cannot be read, or its bands are not named.
    """
    where = Path(path)
    if not where.exists():
        raise DataError("no such scene", where=where, fix="give a file or a folder that exists")
    if products.is_safe(where):
        return products.open_safe(where)
    if where.suffix.lower() in {".json", ".geojson"}:
        return products.open_stac(where)
    if where.is_dir():
        return _folder(where)
    return _file(where, names)


def name_in(stem: str) -> str | None:
    """Name of the band that a file's name holds: ``T54TWN_20180910_B02_10m`` is B2.

    Examples
    --------
    >>> name_in("T54TWN_20180910T012651_B8A"), name_in("slope_deg"), name_in("preview")
    ('B8A', 'slope', None)
    """
    parts = re.split(r"[_\-. ]+", stem)
    found = [n for n in map(band_name, reversed(parts)) if n]
    return found[0] if found else None


def _file(path: Path, names: Sequence[str] | None) -> Scene:
    with opened(str(path)) as file:
        said = list(names) if names is not None else list(file.descriptions)
        if len(said) != file.count:
            raise DataError(
                "as many names as bands are needed",
                where=path,
                found=", ".join(map(str, said)),
                allowed=f"{file.count} names",
            )
        known = [band_name(text) for text in said]
        if not any(known):
            raise DataError(
                "the bands of the file are not named",
                where=path,
                found=said,
                fix="name them in order with --bands B2,B3,B4, or set the descriptions of the file",
            )
        bands = [
            _scaled(BandFile(name, str(path), i), file.scales[i - 1], file.offsets[i - 1])
            for i, name in enumerate(known, start=1)
            if name
        ]
    return _said(Scene(str(path), once(bands, path)))


def _folder(path: Path) -> Scene:
    bands = []
    for file in sorted(p for p in path.iterdir() if p.suffix.lower() in RASTERS):
        name = name_in(file.stem)
        if name is not None:
            with opened(str(file)) as raster:
                band = BandFile(name, str(file))
                bands.append(_scaled(band, raster.scales[0], raster.offsets[0]))
    if not bands:
        raise DataError(
            "no file of the folder has the name of a band",
            where=path,
            found=", ".join(sorted(p.name for p in path.iterdir())[:10]) or "nothing",
            allowed="names such as B04.tif or scene_B8A.tif",
        )
    return _said(Scene(str(path), once(bands, path)))


def _scaled(band: BandFile, scale: float, offset: float) -> BandFile:
    """Take the scale of a file; one of a thousandth or less makes reflectance from 0 to 1."""
    if band.name in TERRAIN or (scale, offset) == (1, 0):
        return replace(band, scale=scale, offset=offset)
    unit = DN_PER_REFLECTANCE if scale <= 1e-3 else 1.0
    return replace(band, scale=scale * unit, offset=offset * unit)


def _said(scene: Scene) -> Scene:
    stored = [(b.scale, b.offset) for b in scene.bands if b.name not in TERRAIN]
    if all(one == (1, 0) for one in stored):
        return scene
    return replace(scene, source="scale and offset of the file")
