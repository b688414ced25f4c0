"""The rule of NDVI and slope: the best of all pairs of thresholds, chosen on other folds' tiles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from pixel_world import save, synthetic

from l4s_ensemble.data.store import units
from l4s_ensemble.metrics.counts import Counts, f1_pooled
from l4s_ensemble.pixel.rule import (
    NDVI_BINS,
    NDVI_STEP,
    SLOPE_BINS,
    best_thresholds,
    count_predicted,
    histograms_of,
    ndvi_slope,
)


class Halves:
    """Two folds, every second tile."""

    n_folds = 2

    def __init__(self, ids: np.ndarray) -> None:
        self._ids = ids

    def train_ids(self, fold: int) -> np.ndarray:
        return self._ids[np.arange(len(self._ids)) % 2 != fold]

    def of(self, ids: np.ndarray, name: str) -> np.ndarray:
        assert name == "fold"
        return np.searchsorted(self._ids, ids) % 2


def of_pixels(dataset: xr.Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """NDVI, slope in degrees and reference, each (tile, y, x)."""
    image = units(dataset).astype(np.float64)
    near, red = image[:, 7], image[:, 3]
    return (near - red) / (near + red), image[:, 12], dataset["mask"].values == 1


def test_histograms_count_what_thresholds_predict(
    _tiny_store: Path, tiny_dataset: xr.Dataset
) -> None:
    ids = tiny_dataset["patch"].values
    tiles = histograms_of(_tiny_store, ids)
    ndvi, slope, reference = of_pixels(tiny_dataset)
    assert (tiles.sum(axis=(2, 3))[:, 1] == reference.sum(axis=(1, 2))).all()
    below, above = 52, 17
    # Half a step off the edge: float32 and float64 may part at the edge itself.
    far = np.abs(ndvi - (-1 + below * NDVI_STEP)) > 1e-6
    predicted = (ndvi < -1 + below * NDVI_STEP) & (slope >= above)
    tp = (predicted & reference & far).sum(axis=(1, 2))
    found = count_predicted(tiles, below, above)
    assert np.abs(found[:, 0] - tp).max() <= (~far).sum()
    assert (found.sum(axis=1) == reference[0].size).all()


def test_no_other_pair_of_thresholds_is_better(rng: np.random.Generator) -> None:
    tiles = rng.integers(0, 9, (3, 2, NDVI_BINS, SLOPE_BINS)).astype(np.uint16)
    tiles[:, 0] += 30
    tiles[:, 1, :30, 20:] += 400
    below, above, f1 = best_thresholds(tiles)
    assert (below, above) == (30, 20)
    tries = [(b, a) for b in (0, 29, 30, 31, NDVI_BINS) for a in (0, 19, 20, 21)]
    scores = [f1_pooled(Counts(*count_predicted(tiles, b, a).T).pooled()) for b, a in tries]
    assert f1 == pytest.approx(max(scores))


def test_a_fold_is_scored_by_thresholds_of_the_other(
    _tiny_store: Path, tiny_dataset: xr.Dataset
) -> None:
    ids = tiny_dataset["patch"].values
    folds: Any = Halves(ids)
    told = ndvi_slope(_tiny_store, folds, ids)
    tiles = histograms_of(_tiny_store, ids)
    for row in told["folds"]:
        held = np.arange(len(ids)) % 2 == row["fold"]
        below, above, f1 = best_thresholds(tiles[~held])
        assert row["f1_train"] == pytest.approx(f1)
        assert row["slope_from_deg"] == above
        assert row["ndvi_below"] == pytest.approx(-1 + below * NDVI_STEP)
        own = Counts(*count_predicted(tiles[held], below, above).T).pooled()
        assert row["f1"] == pytest.approx(f1_pooled(own))
    assert told["f1"] > 0.8  # synthetic landslides are bare and steep
    assert told["lacks"] == []


def test_a_sensor_without_slope_says_so(tmp_path: Path) -> None:
    dataset = synthetic(2, 2)
    save(dataset, tmp_path)
    store = tmp_path / "data/train/patches.zarr"
    ids = dataset["patch"].values
    folds: Any = Halves(ids)
    assert ndvi_slope(store, folds, ids) == {"lacks": ["slope"], "folds": [], "f1": None}
