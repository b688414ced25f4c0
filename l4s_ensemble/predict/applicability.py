"""How like the training tiles the tiles of a split are: a table of tiles, and what differs.

`l4s_ensemble.scenes.applicability` says what the distance is. No mask is read.
"""

from __future__ import annotations

import csv
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from l4s_ensemble.data.store import sensor_of
from l4s_ensemble.predict.summary import Applicability, Difference
from l4s_ensemble.run.files import write_text
from l4s_ensemble.scenes.applicability import Applicability as Reference
from l4s_ensemble.scenes.applicability import describe

TABLE = "tiles.csv"
COLUMNS = ("patch", "scene", "distance", "inside_applicability")

_MOST_NAMED = 5
_BINS = 10  # up to the limit, and as many beyond


def compare_with_training(
    patches: xr.Dataset, reference: Reference | None, out: Path, *, trained: bool
) -> Applicability | None:
    """Measure each tile's dissimilarity to the training tiles.

    Writes ``tiles.csv``: ``patch``, ``scene`` (-1: not known), ``distance`` (dissimilarity index: 1
    is the median of a tile held out by its fold; a training tile's own is that),
    ``inside_applicability`` (1: within the area of applicability).

    Parameters
    ----------
    patches : xarray.Dataset
        The tiles.
    reference : scenes.applicability.Applicability or None
        Of the training tiles.
    out : Path
        Folder of the table.
    trained : bool
        Whether the tiles are of the training split.

    Returns
    -------
    Applicability or None
        None without a reference of the same bands.
    """
    if reference is None:
        return None
    patch, scene = patches["patch"].values, patches["scene"].values
    names, described = describe(patches, sensor_of(patches))
    if names != reference.names:
        return None
    found = reference.index(described)
    if trained:
        own = {int(p): d for p, d in zip(reference.patch, reference.held_out, strict=True)}
        found = np.array([own.get(int(p), d) for p, d in zip(patch, found, strict=True)])
    distance = np.round(found.astype(np.float64), 3)  # as written: the verdict is of that
    like = distance <= reference.limit
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in zip(patch, scene, distance, like, strict=True):
        writer.writerow([int(row[0]), int(row[1]), f"{row[2]:.3f}", int(row[3])])
    write_text(out / TABLE, text.getvalue())
    edges = np.append(np.linspace(0, 2 * reference.limit, 2 * _BINS + 1), np.inf)
    return Applicability(
        patches=len(patch),
        limit=reference.limit,
        outside=int((~like).sum()),
        median=float(np.median(distance)),
        edges=edges[:-1].tolist(),
        here=_shares(distance, edges),
        held_out=_shares(reference.held_out, edges),
        distance={int(p): float(d) for p, d in zip(patch, distance, strict=True)},
        differs=_differs(reference, described[~like] if (~like).any() else described),
    )


def _shares(distance: NDArray[np.floating[Any]], edges: NDArray[np.float64]) -> list[float]:
    """Share of the tiles in each bin."""
    counts, _ = np.histogram(distance, edges)
    return [float(n) / len(distance) for n in counts]


def _differs(reference: Reference, described: NDArray[np.float32]) -> list[Difference]:
    """What differs most: the median of the tiles in standard deviations of the training tiles."""
    moved = np.median(reference.standard(described), axis=0)
    first: dict[str, Difference] = {}
    for i in np.argsort(-np.abs(moved)):
        band = reference.names[i].partition(" ")[0]
        first.setdefault(band, Difference(what=reference.names[i], by=float(moved[i])))
    return list(first.values())[:_MOST_NAMED]
