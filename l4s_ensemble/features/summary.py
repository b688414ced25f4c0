"""What the report is told about the features: each one alone, in all places and in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.features.statistics import by_place, univariate

if TYPE_CHECKING:
    from l4s_ensemble.features.definition import Feature
    from l4s_ensemble.scenes.folds import Folds

MOST_PLACES = 12
LEAST_TILES = {"scene": 5, "fold": 3}
LEAST_ROWS = 200
"""Sampled rows of a place that is compared."""


@dataclass(frozen=True)
class Places:
    """Where the sampled rows lie: scenes, or folds where only one scene has enough of them.

    Attributes
    ----------
    kind : {'scene', 'fold'}
    names : tuple of str
    of_row : int64 array, shape (row,)
        Position in `names`, -1 for rows of no place.
    tiles : tuple of int
        Sampled tiles of each place.
    """

    kind: str
    names: tuple[str, ...]
    of_row: NDArray[np.int64]
    tiles: tuple[int, ...]

    def as_dict(self, reference: NDArray[np.uint8]) -> dict[str, Any]:
        """Plain values for the summary: ``kind``, ``rows`` (name, tiles, pixels, landslides)."""
        rows = [
            {
                "name": name,
                "tiles": self.tiles[k],
                "pixels": int(np.count_nonzero(self.of_row == k)),
                "landslide_pixels": int(reference[self.of_row == k].sum()),
            }
            for k, name in enumerate(self.names)
        ]
        return {"kind": self.kind, "rows": rows}


def places_of(folds: Folds, patch: NDArray[np.int64]) -> Places:
    """Find the places of sampled rows.

    Parameters
    ----------
    folds : Folds
    patch : int64 array, shape (row,)
        Patch of each row.
    """
    found = _places(folds, patch, "scene")
    return found if len(found.names) > 1 else _places(folds, patch, "fold")


def _places(folds: Folds, patch: NDArray[np.int64], kind: str) -> Places:
    number = folds.of(patch, kind).astype(np.int64)
    rows = {int(k): int(np.count_nonzero(number == k)) for k in np.unique(number) if k >= 0}
    tiles = {k: len(np.unique(patch[number == k])) for k in rows}
    enough = [k for k in rows if rows[k] >= LEAST_ROWS and tiles[k] >= LEAST_TILES[kind]]
    kept = sorted(sorted(enough, key=lambda k: -rows[k])[:MOST_PLACES])
    of_row = np.full(len(patch), -1, np.int64)
    for i, k in enumerate(kept):
        of_row[number == k] = i
    return Places(kind, tuple(f"{kind} {k}" for k in kept), of_row, tuple(tiles[k] for k in kept))


def describe(
    features: Sequence[Feature],
    values: NDArray[np.float32],
    reference: NDArray[np.uint8],
    weight: NDArray[np.float64],
    places: Places,
) -> list[dict[str, Any]]:
    """Describe every feature by its sampled rows.

    Parameters
    ----------
    features : sequence of Feature
    values : float32 array, shape (row, feature)
    reference : uint8 array, shape (row,)
    weight : float64 array, shape (row,)
        How many pixels a row stands for.
    places : Places

    Returns
    -------
    list of dict
        One a feature: its declaration, the attributes of `Univariate`, ``lowest, highest``,
        ``nonfinite`` (rows that are not finite, left out of everything else), ``auc_places``,
        ``worst_in`` (name of the place) and ``auc_worst``, see `by_place`.
    """
    return [
        asdict(feature) | _one(values[:, i], reference, weight, places)
        for i, feature in enumerate(features)
    ]


def _one(
    values: NDArray[np.float32],
    reference: NDArray[np.uint8],
    weight: NDArray[np.float64],
    places: Places,
) -> dict[str, Any]:
    good = np.isfinite(values)
    bad = int(len(values) - np.count_nonzero(good))
    if bad == len(values):
        none = ("auc", "best_f1", "mean_landslide", "mean_other", "p01", "p50", "p99")
        return dict.fromkeys((*none, "lowest", "highest", "worst_in", "auc_worst")) | {
            "nonfinite": bad, "auc_places": [None] * len(places.names),
        }  # fmt: skip
    v, y, w = values[good], reference[good], weight[good]
    auc, worst, lowest = by_place(v, y, w, places.of_row[good], len(places.names))
    return asdict(univariate(v, y, w)) | {
        "lowest": float(v.min()),
        "highest": float(v.max()),
        "nonfinite": bad,
        "auc_places": auc,
        "worst_in": None if worst is None else places.names[worst],
        "auc_worst": lowest,
    }
