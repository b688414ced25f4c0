"""Where the tiles of a folder lie, told by their pixels: for ``l4s-ensemble data scenes``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from l4s_ensemble.data.bands import TRUE_COLOUR
from l4s_ensemble.data.patches import find_patches
from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.scenes.between import Tile, TileFiles
from l4s_ensemble.scenes.drawing import draw_mosaic
from l4s_ensemble.scenes.harmonise import harmonise
from l4s_ensemble.scenes.placement import Placement
from l4s_ensemble.scenes.seams import solve


def survey(
    root: Path, split: str, sensor: Sensor, *, picture: Path | None = None
) -> dict[str, Any]:
    """Find which patches of a split adjoin, and draw the mosaics.

    Parameters
    ----------
    root : Path
        Folder in the official or the Hugging Face layout.
    split : {'train', 'valid', 'test'}
    sensor : Sensor
    picture : Path, optional
        PNG to draw; tiles of unknown level are harmonised in it.

    Returns
    -------
    dict
        ``tiles, placed, confidence_min, scenes``, and ``places``: for every placed tile ``patch,
        scene, row, col, confidence``.
    """
    files = find_patches(root, split, sensor)
    images = TileFiles([Tile(split, file.image) for file in files], sensor)
    light = set(sensor.spectral)
    spectral = [name in light for name in sensor.band_names]
    relative = sensor.level == "relative"
    placement = solve(images, ids=[f.id for f in files], spectral=spectral, relative=relative)
    if picture is not None:
        gains = harmonise(images, placement, spectral) if relative else None
        draw_mosaic(images, placement, picture, bands=_shown(sensor), log_gain=gains)
    return {**placement.summary(), "places": _places(placement)}


def _places(placement: Placement) -> list[dict[str, Any]]:
    return [
        {
            "patch": int(placement.ids[i]),
            "scene": int(placement.scene[i]),
            "row": int(placement.row[i]),
            "col": int(placement.col[i]),
            "confidence": round(float(placement.confidence[i]), 4),
        }
        for i in placement.placed.nonzero()[0]
    ]


def _shown(sensor: Sensor) -> tuple[int, int, int]:
    """Positions of the bands to show as red, green and blue; the first ones where these lack."""
    names = sensor.band_names
    if set(TRUE_COLOUR) <= set(names):
        red, green, blue = (names.index(name) for name in TRUE_COLOUR)
        return red, green, blue
    last = len(names) - 1
    return 0, min(1, last), min(2, last)
