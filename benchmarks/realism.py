"""How real are the made-up scenes? Two tests, on real tiles that the generator never saw.

    python -m benchmarks.realism [L4S_14BAND_FOLDER] [--scenes 12] [--seed 1000]

1. A pixel classifier trained on made-up tiles alone is scored on eight real tiles (`SCORED`),
   beside a rule on NDVI and slope, on the same tiles.
2. A table of two samples: quantiles of bands and of NDVI by class, autocorrelation, landslide
   sizes; made-up against the nine tiles whose statistics the generator was given (`SEEN`).

The folder is given, or read from ``L4S_REAL_DATA`` (the folder above ``l4s-14band``). The last
line on standard output is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from l4s_ensemble.data.bands import L4S_BANDS
from l4s_ensemble.sources.scene import make_scene

SEEN = (1, 2, 3, 4, 16, 27, 28, 45, 72)
SCORED = (150, 253, 300, 461, 512, 600, 700, 800)
NAMES = [b.name for b in L4S_BANDS]
LAGS = (1, 2, 5, 10)
SIZE_EDGES = (1, 8, 32, 128, 512, 2048, 10**9)

Floats = NDArray[np.float32]
Tile = tuple[Floats, NDArray[np.uint8]]


def main() -> None:
    """Run both tests and print them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="folder that holds TrainData")
    parser.add_argument("--scenes", type=int, default=12, help="made-up scenes of 3 x 4 tiles")
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--no-score", action="store_true", help="the table only")
    args = parser.parse_args()
    folder = args.folder or real_folder()
    started = time.process_time()
    made = made_up(args.scenes, args.seed)
    rate = len(made) / (time.process_time() - started)
    result: dict[str, Any] = {"made_up_tiles": len(made), "patches_per_cpu_s": round(rate, 1)}
    seen = [read(folder, i) for i in SEEN]
    result["distance"] = compare(seen, made)
    result["prevalence"] = round(float(np.mean([m.mean() for _, m in made])), 4)
    result["empty_share"] = round(float(np.mean([m.sum() == 0 for _, m in made])), 3)
    if not args.no_score:
        result |= score(made, [read(folder, i) for i in SCORED])
    print(json.dumps(result))


def real_folder() -> Path:
    """Folder of the 14-band tiles from the environment; ends the program if there is none."""
    root = os.environ.get("L4S_REAL_DATA")
    if not root:
        sys.exit("give the folder of the real tiles, or set L4S_REAL_DATA")
    inner = Path(root) / "l4s-14band"
    return inner if inner.is_dir() else Path(root)


def read(folder: Path, patch: int) -> Tile:
    """One real tile in units: image (band, y, x), mask (y, x)."""
    divisor = np.array([b.divisor for b in L4S_BANDS])
    with h5py.File(folder / "TrainData" / "img" / f"image_{patch}.h5") as file:
        image = np.moveaxis(np.rint(file["img"][:] * divisor), -1, 0).astype(np.float32)
    with h5py.File(folder / "TrainData" / "mask" / f"mask_{patch}.h5") as file:
        return image, file["mask"][:]


def made_up(scenes: int, seed: int) -> list[Tile]:
    """Tiles of some scenes of 3 × 4 tiles."""
    tiles = []
    for number in range(scenes):
        scene = make_scene(3, 4, [seed, number])
        for row in range(3):
            for col in range(4):
                image, mask = scene.tile(row, col)
                tiles.append((image.astype(np.float32), mask))
    return tiles


def ndvi(image: Floats) -> Floats:
    """Normalised difference of B8 and B4."""
    red, infrared = image[3], image[7]
    return np.asarray((infrared - red) / np.maximum(infrared + red, 1), dtype=np.float32)


def features(image: Floats) -> Floats:
    """Per-pixel features (y·x, feature): plain indices, slope, and NDVI against its surroundings.

    Levels of single bands are left out: they change with season, haze and elevation.
    """
    b = dict(zip(NAMES, image, strict=True))

    def ratio(p: Floats, q: Floats) -> Floats:
        return np.asarray((p - q) / np.maximum(p + q, 1), dtype=np.float32)

    green = ndvi(image)
    slope = ndimage.gaussian_filter(b["slope"], 1.0)
    visible = np.log(b["B2"] + b["B3"] + b["B4"])
    columns = [
        green, ratio(b["B8"], b["B11"]), ratio(b["B3"], b["B11"]), ratio(b["B11"], b["B12"]),
        ratio(b["B4"], b["B2"]), ratio(b["B5"], b["B4"]), ratio(b["B7"], b["B5"]),
        visible - ndimage.uniform_filter(visible, 63), np.log(b["B11"] / b["B8"]),
        b["slope"], slope, ndimage.uniform_filter(b["slope"], 15),
    ]  # fmt: skip
    columns += [green - ndimage.uniform_filter(green, n) for n in (5, 15, 63)]
    columns += [ndimage.uniform_filter(green, n) for n in (3, 9)]
    return np.stack([c.ravel() for c in columns], 1)


def score(made: list[Tile], real: list[Tile]) -> dict[str, Any]:
    """Train on `made`, score on `real`; thresholds come from made-up tiles only."""
    import lightgbm

    rng = np.random.default_rng(0)
    fit, held = made[: 3 * len(made) // 4], made[3 * len(made) // 4 :]
    rows, labels, weights = [], [], []
    for image, mask in fit:
        flat = mask.ravel() > 0
        chosen = flat | (rng.random(flat.size) < 0.08)
        rows.append(features(image)[chosen])
        labels.append(flat[chosen])
        weights.append(np.where(flat[chosen], 1.0, 1 / 0.08))
    model = lightgbm.LGBMClassifier(
        n_estimators=250, num_leaves=31, learning_rate=0.05, min_child_samples=200,
        colsample_bytree=0.6, n_jobs=1, random_state=0, verbose=-1,
    )  # fmt: skip
    model.fit(np.concatenate(rows), np.concatenate(labels), np.concatenate(weights))

    def proba(tiles: list[Tile]) -> Floats:
        booster = model.booster_
        return np.concatenate([booster.predict(features(i), num_threads=1) for i, _ in tiles])

    truth_held, truth = (np.concatenate([m.ravel() for _, m in t]) > 0 for t in (held, real))
    p_held, p = proba(held), proba(real)
    threshold = best_threshold(p_held, truth_held)
    rule_at, slope_at = best_rule(made)

    def rule(tiles: list[Tile]) -> NDArray[np.bool_]:
        parts = [((ndvi(i) < rule_at) & (i[12] > slope_at)).ravel() for i, _ in tiles]
        return np.concatenate(parts)

    n = 128 * 128
    per_tile = [
        round(f1(p[k : k + n] > threshold, truth[k : k + n]), 3) for k in range(0, len(p), n)
    ]
    best = best_threshold(p, truth)
    out = {
        "classifier_made_up": round(f1(p_held > threshold, truth_held), 3),
        "classifier_real": round(f1(p > threshold, truth), 3),
        "classifier_real_own_threshold": round(f1(p > best, truth), 3),
        "rule_made_up": round(f1(rule(held), truth_held), 3),
        "rule_real": round(f1(rule(real), truth), 3),
        "rule": f"NDVI < {rule_at:.2f} and slope > {slope_at:.0f}",
        "per_tile": dict(zip(SCORED, per_tile, strict=True)),
    }
    for key, value in out.items():
        print(f"{key:30s} {value}")
    return out


def f1(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """F1 of pooled pixels."""
    hits = float((predicted & truth).sum())
    return 2 * hits / max(float(predicted.sum() + truth.sum()), 1.0)


def best_threshold(p: Floats, truth: NDArray[np.bool_]) -> float:
    """Threshold of the highest pooled F1."""
    edges = np.linspace(0.02, 0.95, 94)
    return float(edges[np.argmax([f1(p > e, truth) for e in edges])])


def best_rule(tiles: list[Tile]) -> tuple[float, float]:
    """NDVI and slope of the rule with the highest pooled F1 on `tiles`."""
    green = np.concatenate([ndvi(i).ravel() for i, _ in tiles])
    steep = np.concatenate([i[12].ravel() for i, _ in tiles])
    truth = np.concatenate([m.ravel() for _, m in tiles]) > 0
    grid = [(g, s) for g in np.arange(0.2, 0.6, 0.04) for s in np.arange(0, 40, 5)]
    scores = [f1((green < g) & (steep > s), truth) for g, s in grid]
    return grid[int(np.argmax(scores))]


def compare(real: list[Tile], made: list[Tile]) -> dict[str, float]:
    """Print the two-sample table; return mean distances."""
    q = (5, 25, 50, 75, 95)
    print(f"{'':26s}" + f"{'real (nine tiles)':>36s}{'made up':>36s}")

    def row(name: str, a: NDArray[np.float64], b: NDArray[np.float64], form: str) -> None:
        cells = "".join(format(v, form) for v in a) + "   " + "".join(format(v, form) for v in b)
        print(f"{name:26s}{cells}")

    gaps = []
    for band, name in enumerate(NAMES):
        a, b = (np.percentile([i[band] for i, _ in t], q) for t in (real, made))
        row(f"{name} quantiles {q}" if band == 0 else name, a, b, "7.0f")
        if band < 12:
            gaps.append(np.abs(np.log(a / b)).mean())
    ndvi_gaps = []
    for label, name in ((0, "NDVI, other"), (1, "NDVI, landslide")):
        a, b = (np.percentile(np.concatenate([ndvi(i)[m == label] for i, m in t]), q)
                for t in (real, made))  # fmt: skip
        row(name, a, b, "7.2f")
        ndvi_gaps.append(np.abs(a - b).mean())
    for label, name in ((0, "slope, other"), (1, "slope, landslide")):
        a, b = (np.percentile(np.concatenate([i[12][m == label] for i, m in t]), q)
                for t in (real, made))  # fmt: skip
        row(name, a, b, "7.1f")
    lag_gaps = []
    for band, name in enumerate(NAMES):
        a, b = (autocorrelation([i[band] for i, _ in t]) for t in (real, made))
        row(f"{name} autocorrelation {LAGS}" if band == 0 else name, a, b, "7.3f")
        lag_gaps.append(np.abs(a - b)[[0, 2]].mean())
    a, b = (autocorrelation([ndvi(i) for i, _ in t]) for t in (real, made))
    row("NDVI", a, b, "7.3f")
    a, b = (slide_sizes([m for _, m in t]) for t in (real, made))
    row(f"slide size {SIZE_EDGES[:-1]}", a, b, "7.3f")
    return {
        "band_log_quantiles": round(float(np.mean(gaps)), 3),
        "ndvi_quantiles": round(float(np.mean(ndvi_gaps)), 3),
        "autocorrelation_1_5": round(float(np.mean(lag_gaps)), 3),
    }


def autocorrelation(layers: list[Floats]) -> NDArray[np.float64]:
    """Autocorrelation along rows at `LAGS`, about the mean of each tile."""
    x = np.stack(layers).astype(np.float64)
    x -= x.mean((1, 2), keepdims=True)
    power = (x**2).mean()
    return np.array([(x[:, :, k:] * x[:, :, :-k]).mean() / power for k in LAGS])


def slide_sizes(masks: list[NDArray[np.uint8]]) -> NDArray[np.float64]:
    """Share of the components of the masks in each class of size."""
    sizes = []
    for mask in masks:
        labels, _ = ndimage.label(mask, np.ones((3, 3)))
        sizes.append(np.bincount(labels.ravel())[1:])
    found = np.histogram(np.concatenate(sizes), SIZE_EDGES)[0]
    return np.asarray(found / max(found.sum(), 1))


if __name__ == "__main__":
    main()
