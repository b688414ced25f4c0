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
    fix = "name its bands: assets as B04 or red"
    if products.is_safe(where):
        scene = products.open_safe(where)
    elif where.suffix.lower() in {".json", ".geojson"}:
        scene = products.open_stac(where)
    else:
        if where.is_dir():
            files = sorted(p for p in where.iterdir() if p.suffix.lower() in RASTERS)
            bands = [b for p in files if (n := name_in(p.stem)) for b in _bands_of(p, [n])]
            fix = "name the files as B04.tif or scene_B8A.tif"
        else:
            bands = _bands_of(where, names)
            fix = "name them in order with --bands B2,B3,B4, or set the descriptions of the file"
        scene = Scene(str(path), tuple(bands))
        if any((b.scale, b.offset) != (1, 0) for b in bands if b.name not in TERRAIN):
            scene = replace(scene, source="scale and offset of the file")
    if not scene.bands:
        raise DataError("no band of the scene is named", where=where, fix=fix)
    for i, band in enumerate(scene.bands):
        if other := next((b for b in scene.bands[:i] if b.name == band.name), None):
            raise DataError(
                f"band {band.name} is there twice",
                where=where,
                found=" and ".join(f"{Path(b.path).name} band {b.index}" for b in (other, band)),
                fix="leave one of them out",
            )
    return scene


def name_in(stem: str) -> str | None:
    """Name of the band that a file's name holds: ``T54TWN_20180910T012651_B02_10m`` is B2.

    Examples
    --------
    >>> name_in("T54TWN_20180910T012651_B8A"), name_in("slope_deg"), name_in("preview")
    ('B8A', 'slope', None)
    """
    found = [n for n in map(band_name, reversed(re.split(r"[_\-. ]+", stem))) if n]
    return found[0] if found else None


def _bands_of(path: Path, said: Sequence[str] | None) -> list[BandFile]:
    """Bands of a file by names or by its descriptions; what is no band is left out.

    Its scale and offset count; a scale of a thousandth or less makes reflectance from 0 to 1.
    """
    bands = []
    with opened(str(path)) as file:
        names = file.descriptions if said is None else said
        if len(names) != file.count:
            raise DataError(
                "as many names as bands are needed",
                where=path,
                found=", ".join(map(str, names)),
                allowed=f"{file.count} names",
            )
        for i, name in enumerate(map(band_name, names)):
            if name is not None:
                scale, offset = file.scales[i], file.offsets[i]
                small = name not in TERRAIN and scale <= 1e-3
                unit = DN_PER_REFLECTANCE if small else 1.0
                kept = scale * unit, offset * unit, file.nodatavals[i]
                bands.append(BandFile(name, str(path), i + 1, *kept))
    return bands
