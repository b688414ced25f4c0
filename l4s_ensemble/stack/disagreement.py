"""Pixels that only one model gets right: by slope, elevation and brightness, tile by tile, mapped.

`l4s_ensemble.stack.agreement` counts them by size and distance in the same pass. Only pixels count
that are landslide, or that either model calls so. Added to the summary's ``agreement_where``::

    by      list of {key, title, unit, rows}, as far as the sensor has them: slope_deg, dem_m,
            brightness, tile_edge_px. Rows: low, high (None = no bound) and the four kinds, pixels
    tiles   {patch, both_right, only_pixel, only_unet, both_wrong}: a list each, one value a tile
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.metrics.pictures import TITLES, count_kinds, finite, to_tile_edge

KINDS = ("both_right", "only_pixel", "only_unet", "both_wrong")

NOT_TOLD = 255
"""On a map: neither landslide nor called so."""

Bool = NDArray[np.bool_]


def kind_map(truth: Bool, pixel: Bool, unet: Bool) -> NDArray[np.uint8]:
    """Map who is right, shape (y, x): position in `KINDS`, or `NOT_TOLD`.

    Parameters
    ----------
    truth, pixel, unet : bool array, shape (y, x)
        Landslide, and what either model calls.
    """
    kind = 2 * (pixel != truth).astype(np.uint8) + (unet != truth).astype(np.uint8)
    return np.where(truth | pixel | unet, kind, NOT_TOLD).astype(np.uint8)


def count_pictures(
    kind: NDArray[np.uint8],
    pictures: Mapping[str, NDArray[Any]],
    edges: Mapping[str, Sequence[float]],
) -> dict[str, NDArray[np.int64]]:
    """Count one tile's kinds by what it looks like.

    Parameters
    ----------
    kind : uint8 array, shape (y, x)
        From `kind_map`.
    pictures : mapping of str to array, shape (y, x)
        From `l4s_ensemble.metrics.pictures.pictures_of`.
    edges : mapping of str to sequence of float
        Bins; of ``tile_edge_px`` too.

    Returns
    -------
    dict of str to int64 array, shape (bin, 4)
    """
    told = kind != NOT_TOLD
    values = {**pictures, "tile_edge_px": to_tile_edge(*kind.shape)}
    return {
        key: count_kinds(values[key][told], edges[key], kind[told].astype(np.int64))
        for key in edges
    }


def picture_rows(
    by: Mapping[str, NDArray[np.int64]], edges: Mapping[str, Sequence[float]]
) -> list[dict[str, Any]]:
    """Tables of what was counted, one a picture; see the module."""
    return [
        {
            "key": key,
            "title": TITLES[key][0],
            "unit": TITLES[key][1],
            "rows": [
                {"low": finite(low), "high": finite(high), **kinds_row(counts)}
                for (low, high), counts in zip(pairwise(edges[key]), by[key], strict=True)
            ],
        }
        for key in by
    ]


def tile_columns(patch: Sequence[int], counts: Sequence[NDArray[np.int64]]) -> dict[str, list[int]]:
    """Counts of each tile, a list a kind; see the module."""
    table = np.array(counts, dtype=np.int64).reshape(len(patch), len(KINDS))
    columns = {kind: table[:, i].tolist() for i, kind in enumerate(KINDS)}
    return {"patch": [int(p) for p in patch], **columns}


def most_disagreed(tiles: Mapping[str, Sequence[int]], most: int) -> list[dict[str, int]]:
    """Tiles with most pixels that only one model gets right, the first is the worst.

    Parameters
    ----------
    tiles : mapping
        The summary's ``agreement_where["tiles"]``.
    most : int
        Tiles without such a pixel are never among them.

    Returns
    -------
    list of dict
        ``patch`` and the four kinds.
    """
    one = np.asarray(tiles["only_pixel"]) + np.asarray(tiles["only_unet"])
    order = np.argsort(-one, kind="stable")[:most]
    return [{key: int(tiles[key][i]) for key in ("patch", *KINDS)} for i in order if one[i] > 0]


def kinds_row(counts: NDArray[np.int64]) -> dict[str, int]:
    """One row of the four kinds."""
    return dict(zip(KINDS, (int(n) for n in counts), strict=True))
