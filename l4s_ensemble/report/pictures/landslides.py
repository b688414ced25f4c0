"""Pictures of mapped landslides, beside the words that explain them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.report import words
from l4s_ensemble.report.browser import scored
from l4s_ensemble.report.pictures import draw as pictures
from l4s_ensemble.report.source import RunSource

CROP_PX = 40
"""Least edge of the picture of a landslide, pixels."""

CROP_ROOM_PX = 6
CROP_PICTURE_PX = 160
"""Least edge of the file."""

BOUNDARY = (255, 255, 255)


def landslides(
    source: RunSource, page: str, assets: Path, drawn: set[str]
) -> dict[str, Any] | None:
    """Block of mapped landslides in words, each with a small picture; None without them.

    The pictures are ``assets/tiles/landslide-<patch>-<number>.webp``; their names are added to
    `drawn`.
    """
    rows = source.summary("pixel")["landslides"]
    if not rows:
        return None
    kept = ("patch", "sentence", "kind", "words", "probability", "true_share", "area_m2", "logit")
    crops = _crops(source, rows, assets, drawn)
    return {
        "kind": "landslides",
        "title": "The largest landslides found, and the largest false ones",
        "note": "Mapped out of fold, tile by tile: a landslide over a tile boundary is one in each "
        "tile. Numbers are log-odds against the mean pixel of the ground, mean over the landslide: "
        "+0.7 doubles the odds, −0.7 halves them. In the pictures the orange line is the boundary "
        "of what was mapped, the white line that of the reference.",
        "rows": [
            {**words.sigfig({k: r[k] for k in kept}), "picture": crop}
            for r, crop in zip(rows, crops, strict=True)
        ],
    }


def cut_out(box: list[int], size: tuple[int, int]) -> tuple[slice, slice]:
    """Square around a landslide, inside its tile.

    Parameters
    ----------
    box : list of int
        First and last row, first and last column.
    size : (int, int)
        Of the tile, pixels.
    """
    ends = ((box[0], box[1] + 1), (box[2], box[3] + 1))
    edge = max(stop - start for start, stop in ends) + 2 * CROP_ROOM_PX
    edge = min(max(edge, CROP_PX), *size)
    starts = [
        min(max((a + b - edge) // 2, 0), n - edge) for (a, b), n in zip(ends, size, strict=True)
    ]
    return slice(starts[0], starts[0] + edge), slice(starts[1], starts[1] + edge)


def _crops(
    source: RunSource, rows: list[dict[str, Any]], assets: Path, drawn: set[str]
) -> list[dict[str, Any] | None]:
    """Pictures of the landslides; None where the tiles are not there."""
    from l4s_ensemble.data.store import sensor_of

    shown = scored.of_fit(source, "pixel")
    if shown is None:
        return [None] * len(rows)
    sensor = sensor_of(shown.store)
    out: list[dict[str, Any] | None] = []
    for n, row in enumerate(rows, start=1):
        tile = shown.tile(int(row["patch"]))
        box = cut_out(row["box"], tile.predicted.shape)
        zoom = -(-CROP_PICTURE_PX // (box[0].stop - box[0].start))
        large = _enlarged(pictures.true_colour(tile.units, sensor)[box], zoom)
        for mask, hue in ((tile.reference, BOUNDARY), (tile.predicted, pictures.FALSE_ALARM)):
            if mask is not None:
                large[_boundary(_enlarged(mask[box], zoom))] = hue
        name = f"tiles/landslide-{tile.patch}-{n}.webp"
        pictures.save(large, assets / name)
        drawn.add(name)
        alt = f"Mapped landslide {n}, on tile {tile.patch}"
        out.append({"file": f"assets/{name}", "size": len(large), "alt": alt})
    return out


def _boundary(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    from scipy.ndimage import binary_erosion

    return np.asarray(mask & ~binary_erosion(mask, iterations=2, border_value=1))


def _enlarged(values: NDArray[Any], times: int) -> NDArray[Any]:
    return values.repeat(times, axis=0).repeat(times, axis=1)
