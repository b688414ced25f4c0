"""Small pictures of landslides, for the rows of a table."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.report.browser.scored import ScoredTiles
from l4s_ensemble.report.pictures import draw as pictures

CROP_PX = 40
"""Least edge of the picture of a landslide, pixels."""

ROOM_PX = 8
PICTURE_PX = 160
"""Least edge of the file."""

BOUNDARY = (255, 255, 255)


def crop(
    shown: ScoredTiles,
    patch: int,
    centre: tuple[float, float],
    pixels: int,
    assets: Path,
    drawn: set[str],
) -> dict[str, Any]:
    """Draw the neighbourhood of a point: boundary of the mapped in orange, of the reference white.

    Parameters
    ----------
    centre : (float, float)
        Row and column in the tile, pixels.
    pixels : int
        Size of the landslide: a larger one gets a larger cut.
    drawn : set of str
        Names of pictures drawn; grows.

    Returns
    -------
    dict
        ``file``, ``size`` (px) and ``alt``.
    """
    from l4s_ensemble.data.store import sensor_of

    tile = shown.tile(patch)
    box = cut_out(centre, 2 * int(np.sqrt(pixels)) + 2 * ROOM_PX, tile.predicted.shape)
    marks = ((tile.reference, BOUNDARY), (tile.predicted, pictures.FALSE_ALARM))
    large = outlined(
        pictures.true_colour(tile.units, sensor_of(shown.store))[box],
        [(mask[box], hue) for mask, hue in marks if mask is not None],
    )
    place = f"{patch}-{box[0].start}-{box[1].start}"
    name = f"tiles/landslide-{shown.split}-{place}.webp"
    pictures.save(large, assets / name)
    drawn.add(name)
    return {"file": f"assets/{name}", "size": len(large), "alt": f"Landslide on tile {patch}"}


def outlined(
    colour: pictures.Picture,
    masks: Iterable[tuple[NDArray[np.bool_], tuple[int, int, int]]],
) -> pictures.Picture:
    """Enlarge a cut (y, x, 3) to at least `PICTURE_PX`, with the boundary of masks in colours."""
    zoom = -(-PICTURE_PX // len(colour))
    large = _enlarged(colour, zoom)
    for mask, hue in masks:
        large[_boundary(_enlarged(mask, zoom))] = hue
    return large


def cut_out(centre: tuple[float, float], edge: int, size: tuple[int, ...]) -> tuple[slice, slice]:
    """Square around a point, inside its tile."""
    edge = min(max(edge, CROP_PX), *size)
    starts = [
        min(max(round(at - edge / 2), 0), n - edge) for at, n in zip(centre, size, strict=True)
    ]
    return slice(starts[0], starts[0] + edge), slice(starts[1], starts[1] + edge)


def _boundary(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    from scipy.ndimage import binary_erosion

    return np.asarray(mask & ~binary_erosion(mask, iterations=2, border_value=1))


def _enlarged(values: NDArray[Any], times: int) -> NDArray[Any]:
    return values.repeat(times, axis=0).repeat(times, axis=1)
