"""Summary of the stage ``features``: each feature by itself, in all places and in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.features.definition import Feature
from l4s_ensemble.features.registry import LeftOut
from l4s_ensemble.features.statistics import Univariate, by_place, univariate
from l4s_ensemble.run.stage import SummaryModel
from l4s_ensemble.scenes.folds import Folds

MOST_PLACES = 12
LEAST_TILES = {"scene": 5, "fold": 3}
LEAST_ROWS = 200
"""Sampled rows of a place that is compared."""


class FeatureRow(Univariate):
    """One feature, and what its sampled rows say; ``features.json`` has its declaration."""

    name: str
    group: str
    unit: str
    nonfinite: int  # rows, left out of everything else
    worst_in: str | None = None  # name of the place where it separates least
    auc_worst: float | None = None  # AUC there, read from the side that the other places say


class PlaceRow(SummaryModel):
    """A place: its sampled tiles, and the sampled rows in it."""

    name: str
    tiles: int
    pixels: int
    landslide_pixels: int


class PlacesSummary(SummaryModel):
    """The places that features are compared in."""

    kind: Literal["scene", "fold"]
    rows: tuple[PlaceRow, ...]


class SampleSize(SummaryModel):
    """Sampled pixels, and those of them that are landslide."""

    pixels: int
    positives: int


class FeaturesSummary(SummaryModel):
    """What the stage made."""

    digest: str  # hash of the files that later stages read, 16 hex digits
    version: int  # of the features, `l4s_ensemble.features.registry.VERSION`
    sensor: str
    features: tuple[FeatureRow, ...]
    places: PlacesSummary
    left_out: tuple[LeftOut, ...]
    sample: SampleSize


@dataclass(frozen=True)
class Places:
    """Where the sampled rows lie: scenes, or folds where only one scene has enough of them."""

    kind: Literal["scene", "fold"]
    names: tuple[str, ...]
    of_row: NDArray[np.int64]  # (row,): position in `names`, -1 for rows of no place
    tiles: tuple[int, ...]  # sampled tiles of each place

    def summary(self, reference: NDArray[np.uint8]) -> PlacesSummary:
        """Count the rows of each place; `reference` is 1 for landslide, shape (row,)."""
        rows = [
            PlaceRow(
                name=name,
                tiles=self.tiles[k],
                pixels=int(np.count_nonzero(self.of_row == k)),
                landslide_pixels=int(reference[self.of_row == k].sum()),
            )
            for k, name in enumerate(self.names)
        ]
        return PlacesSummary(kind=self.kind, rows=tuple(rows))


def places_of(folds: Folds, patch: NDArray[np.int64]) -> Places:
    """Find the places of sampled rows.

    Parameters
    ----------
    patch : int64 array, shape (row,)
        Patch of each row.
    """
    found = _places(folds, patch, "scene")
    return found if len(found.names) > 1 else _places(folds, patch, "fold")


def _places(folds: Folds, patch: NDArray[np.int64], kind: Literal["scene", "fold"]) -> Places:
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
) -> tuple[FeatureRow, ...]:
    """Describe every feature by its sampled rows.

    Parameters
    ----------
    values : float32 array, shape (row, feature)
    reference : uint8 array, shape (row,)
    weight : float64 array, shape (row,)
        How many pixels a row stands for.
    """
    rows = []
    for feature, value in zip(features, values.T, strict=True):
        good = np.isfinite(value)
        v, y, w = value[good], reference[good], weight[good]
        worst, lowest = by_place(v, y, w, places.of_row[good], len(places.names))
        rows.append(
            FeatureRow(
                name=feature.name,
                group=feature.group,
                unit=feature.unit,
                **dict(univariate(v, y, w)),
                nonfinite=int(np.count_nonzero(~good)),
                worst_in=None if worst is None else places.names[worst],
                auc_worst=lowest,
            )
        )
    return tuple(rows)
