"""Where scores fail, by brute force; and whether probabilities mean what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from pixel_world import SIZE, save

from l4s_ensemble.data.build import FORMAT
from l4s_ensemble.data.sensor import Sensor, SensorBand
from l4s_ensemble.data.store import open_store, units
from l4s_ensemble.metrics.histogram import ScoreHistogram, sigmoid
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.metrics.failures import INSIDE_PX, OUTSIDE_PX, SIZE_PX, failures
from l4s_ensemble.metrics.reliability import calibration, fit_beta, fit_isotonic
from l4s_ensemble.run.scores import ScoreFile

TILES = 9


def world(folder: Path, seed: int = 0) -> tuple[Path, Path, xr.Dataset, np.ndarray]:
    """Tiles with slope and elevation, blots of landslide, and scores that are often right."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    sensor = Sensor(
        name="mini", patch_pixels=SIZE, bands=(
            SensorBand(name="B2"), SensorBand(name="B3"), SensorBand(name="B4"),
            SensorBand(name="slope", unit="degree"), SensorBand(name="dem", unit="metre"),
        ),
    )  # fmt: skip
    image = rng.integers(300, 900, (TILES, 5, SIZE, SIZE)).astype(np.uint16)
    image[:, 3] = rng.integers(0, 60, (TILES, SIZE, SIZE))
    noise = gaussian_filter(rng.normal(size=(TILES, SIZE, SIZE)), (0, 2, 2))
    mask = (noise > 0.12).astype(np.uint8)
    mask[4] = 0
    dataset = xr.Dataset(
        {"image": (("patch", "band", "y", "x"), image), "mask": (("patch", "y", "x"), mask)},
        coords={
            "patch": np.arange(1, TILES + 1), "band": list(sensor.band_names),
            "content_hash": ("patch", [f"{i:016d}" for i in range(TILES)]),
            "degenerate": ("patch", np.zeros(TILES, bool)),
            "scene": ("patch", np.ones(TILES, np.int32)),
            "row": ("patch", np.zeros(TILES, np.int32)),
            "col": ("patch", np.arange(TILES, dtype=np.int32)),
        },
        attrs={"sensor": sensor.model_dump_json(), "split": "train", "root": "made-up",
               "format": FORMAT},
    )  # fmt: skip
    save(dataset, folder)
    # A tile of the store that was not scored must not be counted.
    ids = np.arange(1, TILES)
    shown = gaussian_filter(noise + 0.1 * rng.normal(size=noise.shape), (0, 1, 1))[:-1]
    logit = (30 * (shown - 0.12)).astype(np.float32)
    scores = ScoreFile(folder / "oof.zarr", ids, (SIZE, SIZE), fold=ids % 3)
    for block in scores.blocks():
        scores.write(block, logit[block])
    return folder / "data/train/patches.zarr", folder / "oof.zarr", dataset, logit


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("failures")
    store, scores, _, logit = world(folder)
    dataset = open_store(store)
    return {
        "told": failures(store, scores, 0.4),
        "twice": failures(store, scores, 0.4, jobs=2),
        "image": units(dataset)[:-1],
        "truth": dataset["mask"].values[:-1].astype(bool),
        "called": sigmoid(logit).astype(np.float64) >= 0.4,
    }


def test_by_slope_elevation_brightness_and_place(told: dict[str, Any]) -> None:
    truth, called, image = told["truth"], told["called"], told["image"]
    light = image[:, :3].mean(axis=1)
    level = np.median(light, axis=(1, 2))
    place = np.arange(SIZE)
    to_edge = np.minimum(place, SIZE - 1 - place)
    values = {
        "slope_deg": image[:, 3], "dem_m": image[:, 4], "brightness": light,
        "tile_brightness": np.broadcast_to(level[:, None, None], truth.shape),
        "tile_edge_px": np.broadcast_to(np.minimum(to_edge[:, None], to_edge), truth.shape),
    }  # fmt: skip
    tables = {t["key"]: t["rows"] for t in told["told"]["by"]}
    assert set(tables) == set(values)
    for key, rows in tables.items():
        for row in rows:
            low = -np.inf if row["low"] is None else row["low"]
            high = np.inf if row["high"] is None else row["high"]
            own = (values[key] >= low) & (values[key] < high)
            assert row["pixels"] == own.sum()
            assert row["tp"] == (own & truth & called).sum()
            assert row["fp"] == (own & ~truth & called).sum()
            assert row["fn"] == (own & truth & ~called).sum()
            if row["tp"]:
                p, r = row["precision"], row["recall"]
                assert row["f1"] == pytest.approx(2 * p * r / (p + r))
        assert sum(row["pixels"] for row in rows) == truth.size
    shares = [row["pixels"] / truth.size for row in tables["brightness"]]
    np.testing.assert_allclose(shares, 0.2, atol=0.03)
    assert len(tables["tile_brightness"]) == 5


def test_by_size_of_the_landslide(told: dict[str, Any]) -> None:
    from skimage.measure import label

    for name, of, other, agreed in (
        ("slides_true", told["truth"], told["called"], "found_px"),
        ("slides_called", told["called"], told["truth"], "true_px"),
    ):
        objects = [
            (labels == n, other[i])
            for i, labels in enumerate(label(m, connectivity=2) for m in of)
            for n in range(1, labels.max() + 1)
        ]
        assert len(objects) > 20
        rows = told["told"][name]
        for row, low, high in zip(rows, SIZE_PX[:-1], SIZE_PX[1:], strict=True):
            own = [(m, o) for m, o in objects if low <= m.sum() < high]
            assert row["slides"] == len(own)
            assert row["pixels"] == sum(int(m.sum()) for m, _ in own)
            assert row[agreed] == sum(int((m & o).sum()) for m, o in own)
            assert row["touched"] == sum(bool((m & o).any()) for m, o in own)
            half = "half_found" if name == "slides_true" else "half_true"
            assert row[half] == sum(2 * (m & o).sum() >= m.sum() for m, o in own)
        assert rows[-1]["high_px"] is None


def test_by_distance_to_the_edge_of_the_truth(told: dict[str, Any]) -> None:
    from scipy.spatial.distance import cdist

    inside, outside = [], []
    alone = [0, 0]
    for truth, called in zip(told["truth"], told["called"], strict=True):
        yes, no = np.argwhere(truth), np.argwhere(~truth)
        if not len(yes):
            alone = [alone[0] + truth.size, alone[1] + int(called.sum())]
            continue
        apart = cdist(yes, no)
        inside += list(zip(apart.min(axis=1), ~called[truth], strict=True))
        outside += list(zip(apart.min(axis=0), called[~truth], strict=True))
    edge = told["told"]["edge"]
    assert [edge["outside"][-1][k] for k in ("pixels", "wrong")] == alone
    assert edge["outside"][-1]["low"] is None
    for rows, pairs, bins in (
        (edge["inside"], np.array(inside), INSIDE_PX),
        (edge["outside"][:-1], np.array(outside), OUTSIDE_PX),
    ):
        for row, low, high in zip(rows, bins[:-1], bins[1:], strict=True):
            own = (pairs[:, 0] > low) & (pairs[:, 0] <= high)
            assert row["pixels"] == own.sum()
            assert row["wrong"] == pairs[own, 1].sum()
    for rows in edge.values():
        assert sum(row["share_of_errors"] for row in rows) == pytest.approx(1)


def test_failures_do_not_depend_on_the_number_of_jobs(told: dict[str, Any]) -> None:
    assert told["twice"] == told["told"]


def test_tiles_that_are_all_landslide_have_no_edge(tmp_path: Path) -> None:
    store, _, dataset, _ = world(tmp_path)
    dataset["mask"][:] = 1
    save(dataset, tmp_path)
    found = failures(store, tmp_path / "oof.zarr", 0.4)["edge"]
    assert found["inside"][-1]["pixels"] == (TILES - 1) * SIZE**2
    assert all(row["pixels"] == 0 and row["error_rate"] is None for row in found["outside"])


def skewed(folds: int = 4, tiles: int = 24) -> tuple[TileHistograms, np.ndarray]:
    """Scores whose logits are twice too far from zero."""
    rng = np.random.default_rng(0)
    found = TileHistograms.empty(np.arange(tiles))
    for i in range(tiles):
        z = rng.normal(-2.5, 2, 4000)
        y = rng.random(4000) < 1 / (1 + np.exp(-z))
        found.add(i, 1 / (1 + np.exp(-2 * z)), y)
    return found, np.arange(tiles) % folds


def test_a_cross_fitted_correction_repairs_what_is_skewed() -> None:
    tiles, fold = skewed()
    told = calibration(tiles, fold)
    maps = {m["name"]: m for m in told["maps"]}
    assert list(maps) == ["as scored", "beta", "isotonic"]
    before = maps["as scored"]
    for name in ("beta", "isotonic"):
        after = maps[name]
        assert after["expected_calibration_error"] < 0.25 * before["expected_calibration_error"]
        assert after["brier"] < before["brier"]
        assert after["log_loss"] < before["log_loss"]
        # Lipton et al.: of calibrated scores the best threshold is half the best F1.
        assert abs(after["off_half"]) < 0.03 < abs(before["off_half"])
        assert after["f1_at_half"] > after["f1_best"] - 0.005
    assert len(told["curve"]["beta"]) == len(told["curve"]["probability"]) == 101


def test_numbers_before_are_those_of_scikit_learn() -> None:
    from sklearn.calibration import calibration_curve
    from sklearn.metrics import brier_score_loss, log_loss

    tiles, fold = skewed(tiles=4)
    before = calibration(tiles, fold)["maps"][0]
    pooled = tiles.pooled()
    middle = (np.arange(pooled.bins) + 0.5) / pooled.bins
    p = np.concatenate([np.repeat(middle, pooled.positive), np.repeat(middle, pooled.negative)])
    y = np.repeat([1, 0], [pooled.positive.sum(), pooled.negative.sum()])
    assert before["brier"] == pytest.approx(brier_score_loss(y, p))
    assert before["log_loss"] == pytest.approx(log_loss(y, p))
    observed, predicted = calibration_curve(y, p, n_bins=20)
    told = before["reliability"]
    there = [i for i, n in enumerate(told["pixels"]) if n]
    np.testing.assert_allclose([told["observed"][i] for i in there], observed)
    np.testing.assert_allclose([told["predicted"][i] for i in there], predicted)


def test_corrections_are_those_of_scikit_learn() -> None:
    from sklearn.isotonic import IsotonicRegression
    from sklearn.linear_model import LogisticRegression

    tiles, _ = skewed(tiles=3)
    pooled = tiles.pooled()
    middle = (np.arange(pooled.bins) + 0.5) / pooled.bins
    p = np.concatenate([np.repeat(middle, pooled.positive), np.repeat(middle, pooled.negative)])
    y = np.repeat([1, 0], [pooled.positive.sum(), pooled.negative.sum()])
    grid = np.linspace(0.01, 0.99, 50)
    isotonic = IsotonicRegression(out_of_bounds="clip").fit(p, y)
    np.testing.assert_allclose(fit_isotonic(pooled)(grid), isotonic.predict(grid), atol=1e-9)
    terms = np.stack([np.log(p), -np.log1p(-p)], axis=1)
    beta = LogisticRegression(C=1e9, tol=1e-9, max_iter=2000).fit(terms, y)
    known = beta.predict_proba(np.stack([np.log(grid), -np.log1p(-grid)], axis=1))[:, 1]
    np.testing.assert_allclose(fit_beta(pooled)(grid), known, atol=1e-4)


def test_no_tile_corrects_itself() -> None:
    tiles, fold = skewed()
    changed = TileHistograms(tiles.patch, tiles.positive.copy(), tiles.negative.copy())
    own = fold == 2
    changed.positive[own], changed.negative[own] = tiles.negative[own], tiles.positive[own]
    others = tiles.subset(~own).pooled()
    for fit in (fit_beta, fit_isotonic):
        curve = fit(changed.subset(~own).pooled())(np.linspace(0, 1, 11))
        np.testing.assert_array_equal(curve, fit(others)(np.linspace(0, 1, 11)))
    # One fold of tiles whose labels are turned round is not set right by its own labels.
    assert calibration(changed, fold)["maps"][2]["brier"] > 0.15


def test_a_histogram_of_one_class_is_left_alone() -> None:
    one = ScoreHistogram.empty(10)
    one.add(np.array([0.2, 0.7]), np.zeros(2))
    assert fit_beta(one)(np.array([0.3]))[0] == 0.3
    assert fit_isotonic(ScoreHistogram.empty(10))(np.array([0.3]))[0] == 0.3
