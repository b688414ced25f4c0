"""Choose the tiles of a place that are worth a label."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy.special import logit

from l4s_ensemble.data.store import open_store, sensor_of
from l4s_ensemble.predict.applicability import TABLE
from l4s_ensemble.predict.result import open_masks, open_probability
from l4s_ensemble.run.files import read_json
from l4s_ensemble.scenes.applicability import describe
from l4s_ensemble.scenes.layout import known_layout

MAPPED_SHARE = 0.75
"""Share of the chosen tiles on which the map shows landslides, where there are so many."""

NEAR = 1.0
"""A pixel is uncertain whose log-odds are nearer to those of the threshold."""

SPREAD = 0.5
"""Weight of the place in the scene against the look of a tile."""


@dataclass(frozen=True)
class Candidates:
    """What is known of the tiles of a split before any label.

    Attributes
    ----------
    patch : int64 array, shape (tile,)
    uncertain : float64 array, shape (tile,)
        Share of its pixels that are uncertain.
    mapped : int64 array, shape (tile,)
        Pixels mapped as landslide.
    dissimilarity : float64 array, shape (tile,)
        Index against the training tiles; NaN where not known.
    look : float64 array, shape (tile, feature)
        Standardised description of each tile and, where known, of its place.
    """

    patch: NDArray[np.int64]
    uncertain: NDArray[np.float64]
    mapped: NDArray[np.int64]
    dissimilarity: NDArray[np.float64]
    look: NDArray[np.float64]


@dataclass(frozen=True)
class Choice:
    """A chosen tile and the reason."""

    patch: int
    reason: str


def candidates(data: Path, result: Path) -> Candidates:
    """Read what a prediction left.

    Parameters
    ----------
    data, result : Path
        Folders of the stages of the patches and of their prediction.
    """
    store, found = open_store(data), open_probability(result)
    threshold = float(read_json(result / "summary.json")["threshold"])
    patch = found["patch"].values.astype(np.int64)
    tiles = store.sel(patch=patch)
    uncertain = np.array([uncertain_share(p.values, threshold) for p in found["probability"]])
    mapped = np.array([open_masks(result, [number]).sum() for number in patch], np.int64)
    far = np.full(len(patch), np.nan)
    if (result / TABLE).is_file():
        with (result / TABLE).open(encoding="utf-8", newline="") as file:
            known = {int(row["patch"]): float(row["distance"]) for row in csv.DictReader(file)}
        far = np.array([known.get(int(p), np.nan) for p in patch])
    return Candidates(patch, uncertain, mapped, far, look_of(tiles))


def uncertain_share(probability: NDArray[np.float32], threshold: float) -> float:
    """Share of pixels that are uncertain, see `NEAR`."""
    away = logit(probability.astype(np.float64)) - logit(threshold)
    return float((np.abs(away) < NEAR).mean())


def choose(found: Candidates, tiles: int) -> list[Choice]:
    """Choose tiles that are uncertain, unlike training, and unlike each other.

    A tile's value is the mean of its ranks by uncertainty and by dissimilarity. After the most
    valuable tile comes the one with the largest product of its value and its distance to the
    nearest one chosen. Three in four show mapped landslides, the others none: there the map may
    have missed some.

    Returns
    -------
    list of Choice
        In the order of choice; all tiles where there are no more.
    """
    n = len(found.patch)
    value = value_of(found.uncertain, found.dissimilarity)
    nearest = np.full(n, np.inf)
    free, has = np.ones(n, bool), found.mapped > 0
    made: list[Choice] = []
    while len(made) < min(tiles, n):
        done = [has[np.searchsorted(found.patch, c.patch)] for c in made]
        wants_mapped = sum(done) <= MAPPED_SHARE * len(done)
        pool = free & (has == wants_mapped)
        pool = pool if pool.any() else free
        gain = np.where(pool, value if not made else value * nearest, -1.0)
        i = int(np.argmax(gain))
        made.append(Choice(int(found.patch[i]), _reason(found, i)))
        free[i] = False
        nearest = np.minimum(nearest, np.linalg.norm(found.look - found.look[i], axis=1))
    return made


def value_of(
    uncertain: NDArray[np.float64], dissimilarity: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What a label of each tile is worth: the mean of its ranks, from near 0 to 1."""
    return (_rank(uncertain) + _rank(np.nan_to_num(dissimilarity))) / 2


def look_of(tiles: xr.Dataset) -> NDArray[np.float64]:
    """Describe tiles by their look and, where known, their place; see `Candidates`."""
    _, described = describe(tiles, sensor_of(tiles))
    columns = described.astype(np.float64)
    weight = np.full(columns.shape[1], 1 / np.sqrt(columns.shape[1]))
    place = known_layout(tiles, sensor_of(tiles))
    if (place.scene >= 0).all():
        columns = np.column_stack([columns, place.row, place.col])
        weight = np.append(weight, [SPREAD, SPREAD])
    spread = columns.std(axis=0)
    return np.asarray((columns - columns.mean(axis=0)) / np.where(spread > 0, spread, 1) * weight)


def _rank(values: ArrayLike) -> NDArray[np.float64]:
    """Ranks of values, from near 0 to 1; ties share theirs."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(values) / max(np.size(values), 1), np.float64)


def _reason(found: Candidates, i: int) -> str:
    mapped = found.mapped[i] > 0
    parts = ["landslides are mapped" if mapped else "no landslide is mapped: look for missed ones"]
    share, more = found.uncertain[i], (found.uncertain < found.uncertain[i]).mean()
    if more >= 0.5:
        parts.append(
            f"{100 * share:.0f} % of its pixels are near the threshold, more than on "
            f"{100 * more:.0f} % of the tiles"
        )
    else:
        parts.append("unlike the tiles chosen before it")
    if np.isfinite(found.dissimilarity[i]):
        parts.append(f"dissimilarity to training {found.dissimilarity[i]:.1f}")
    return "; ".join(parts)
