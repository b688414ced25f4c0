"""What the report is told about the features: each one by place, and held against a split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.features.contact import CONTACT_FILE, for_contact, median_tile, write_contact
from l4s_ensemble.features.statistics import elsewhere, quartiles, stability_index, univariate
from l4s_ensemble.run.files import atomic_path

if TYPE_CHECKING:
    from l4s_ensemble.features.recipe import Feature
    from l4s_ensemble.features.sample import Rows
    from l4s_ensemble.scenes.folds import Folds

SPLIT_SAMPLE_FILE = "features_sample.npz"

MOST_PLACES = 12
LEAST_TILES = {"scene": 5, "fold": 3}
LEAST_ROWS = 200
"""Sampled rows of a place that is compared."""

SPLIT_TILES, SPLIT_PIXELS = 60, 100
"""Tiles of a predicted split, and pixels of each, that are kept for comparison."""


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
    truth: NDArray[np.uint8],
    weight: NDArray[np.float64],
    places: Places,
) -> list[dict[str, Any]]:
    """Describe every feature by its sampled rows.

    Parameters
    ----------
    features : sequence of Feature
    values : float32 array, shape (row, feature)
    truth : uint8 array, shape (row,)
    weight : float64 array, shape (row,)
        How many pixels a row stands for.
    places : Places

    Returns
    -------
    list of dict
        One a feature: its own fields, those of `Univariate`, and ``lowest, highest``,
        ``mode_share`` (share of the pixels that have the most common value), ``nonfinite``
        (rows that are not finite, left out of everything else), ``places`` (one a place:
        ``auc, p25, p50, p75``, ``shift`` of the median against the other places in
        interquartile ranges, ``psi`` against them), and ``elsewhere``: ``auc_lowest``,
        ``lowest_in`` (name of the place), ``auc_spread``, ``best_f1``.
    """
    return [
        asdict(feature) | _one(values[:, i], truth, weight, places)
        for i, feature in enumerate(features)
    ]


def _one(
    values: NDArray[np.float32],
    truth: NDArray[np.uint8],
    weight: NDArray[np.float64],
    places: Places,
) -> dict[str, Any]:
    good = np.isfinite(values)
    bad = int(len(values) - np.count_nonzero(good))
    at = places.of_row
    if bad:
        values, truth, weight, at = values[good], truth[good], weight[good], at[good]
    if not len(values):
        none = dict.fromkeys(("auc", "best_f1", "mean_landslide", "mean_other"))
        return {**none, "p01": None, "p50": None, "p99": None, "nonfinite": bad}
    found = elsewhere(values, truth, weight, at, len(places.names))
    same, times = np.unique(values, return_inverse=True)
    by_value = np.bincount(times, weight)
    return asdict(univariate(values, truth, weight)) | {
        "lowest": float(same[0]),
        "highest": float(same[-1]),
        "mode_share": float(by_value.max() / by_value.sum()),
        "nonfinite": bad,
        "places": _by_place(values, weight, at, found.auc),
        "elsewhere": {
            "auc_lowest": found.auc_lowest,
            "lowest_in": None if found.lowest_in is None else places.names[found.lowest_in],
            "auc_spread": found.auc_spread,
            "best_f1": found.best_f1,
        },
    }


def _by_place(
    values: NDArray[np.float32],
    weight: NDArray[np.float64],
    at: NDArray[np.int64],
    auc: Sequence[float | None],
) -> list[dict[str, float | None]]:
    made: list[dict[str, float | None]] = []
    for k, own_auc in enumerate(auc):
        here, there = at == k, (at >= 0) & (at != k)
        if not here.any():
            made.append({"auc": None, "p25": None, "p50": None, "p75": None})
            continue
        told = compared(values[here], weight[here], values[there], weight[there])
        made.append({"auc": own_auc, **told})
    return made


def compared(
    values: NDArray[np.float32],
    weight: NDArray[np.float64],
    others: NDArray[np.float32],
    others_weight: NDArray[np.float64],
) -> dict[str, float | None]:
    """Hold one feature's values in one place against those in others.

    Returns
    -------
    dict
        ``p25, p50, p75``; ``shift``: the difference of the medians over the root mean square of
        the two interquartile ranges, None where neither varies; ``psi``, see `stability_index`.
        The last two are None without others.
    """
    low, middle, high = quartiles(values, weight)
    made: dict[str, float | None] = {"p25": low, "p50": middle, "p75": high}
    if not len(others):
        return {**made, "shift": None, "psi": None}
    other_low, other_middle, other_high = quartiles(others, others_weight)
    spread = float(np.hypot(high - low, other_high - other_low) / np.sqrt(2))
    step = middle - other_middle
    shift = step / spread if spread > 0 else 0.0 if step == 0 else None
    return {**made, "shift": shift, "psi": stability_index(values, weight, others, others_weight)}


def write_split_sample(
    path: Path,
    read: Callable[[NDArray[np.int64]], NDArray[np.float32]],
    positions: NDArray[np.int64],
    names: Sequence[str],
    seed: int,
) -> None:
    """Keep a few pixels of a split to predict, so that the report can hold it against training.

    Takes about as long as scoring `SPLIT_TILES` tiles. Every pixel of a chosen tile has the same
    chance, so rows need no weight. The file holds ``X`` float32 (row, feature), ``names``.

    Parameters
    ----------
    path : Path
    read : callable
        Positions in, features float32 (tile, feature, y, x) out.
    positions : int64 array, shape (tile,)
        Of all tiles to predict.
    names : sequence of str
        Of the features.
    seed : int
    """
    rng = np.random.default_rng([abs(seed), 0xFEA8])
    if len(positions) > SPLIT_TILES:
        positions = np.sort(rng.choice(positions, SPLIT_TILES, replace=False))
    rows = []
    for position in positions:
        tile = read(np.array([position]))[0]
        flat = tile.reshape(len(tile), -1)
        drawn = rng.choice(flat.shape[1], min(SPLIT_PIXELS, flat.shape[1]), replace=False)
        rows.append(flat[:, drawn].T)
    values = np.concatenate(rows) if rows else np.empty((0, len(names)), np.float32)
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, X=values.astype(np.float32), names=np.array(list(names)))


def report_parts(
    out: Path,
    features: Sequence[Feature],
    rows: Rows,
    weight: NDArray[np.float64],
    folds: Folds,
    tile: Callable[[int], tuple[NDArray[np.float32], NDArray[Any]]],
) -> dict[str, Any]:
    """Describe the features for the summary, and write ``contact.npz``.

    Parameters
    ----------
    out : Path
        Folder of the features stage.
    features : sequence of Feature
        Of the plan, in order.
    rows : Rows
    weight : float64 array, shape (row,)
    folds : Folds
    tile : callable
        Patch id in; its features float32 (feature, y, x) and mask (y, x) out.

    Returns
    -------
    dict
        ``features`` (see `describe`), ``places`` (``kind``, ``rows``: name, tiles, pixels,
        landslide_pixels) and ``contact`` (patch and number of pictures; None without a landslide).
    """
    places = places_of(folds, rows.patch)
    described = describe(features, rows.values, rows.truth, weight, places)
    patch = median_tile(folds)
    contact = None
    if patch is not None:
        step = max(1, len(rows.values) // 4000)
        chosen = for_contact(described, np.nan_to_num(rows.values[::step]))
        pictures, mask = tile(patch)
        names = [features[i].name for i in chosen]
        write_contact(out / CONTACT_FILE, patch, names, pictures[chosen], mask)
        contact = {"patch": patch, "pictures": len(chosen)}
    here = [places.of_row == k for k in range(len(places.names))]
    return {
        "features": described,
        "places": {
            "kind": places.kind,
            "rows": [
                {
                    "name": name, "tiles": places.tiles[k], "pixels": int(here[k].sum()),
                    "landslide_pixels": int(rows.truth[here[k]].sum()),
                }
                for k, name in enumerate(places.names)
            ],
        },
        "contact": contact,
    }  # fmt: skip
