"""The pixel classifier side by side: LightGBM's own predict, scikit-learn, s2cloudless.

    python -m benchmarks.pixel [--run RUN_FOLDER] [--data FOLDER] [--preset default]
        [--tiles 16] [--repeats 5] [--quick]

With a fitted run (its stages up to ``pixel``) the real feature matrices of out-of-fold tiles are
scored: each tile with the booster that never saw it. Without one a small model is fitted first, on
the patches of ``--data`` or on made-up ones.

1. **Speed of the same trees.** LightGBM's ``predict`` (one thread, raw score, rows already in its
   own order) and the function that the stage scores with, in turns; processor seconds, so that
   load by others counts little. How the second is faster: `l4s_ensemble.pixel.trees`. It is exact;
   scores are written as float32, which is the difference shown. ``f1_loss`` is in F1 points.
2. **Whole path**, block by block, one core: features, trees, calibration shift; memory at the end.
3. **Accuracy and seconds at equal data**: see `benchmarks.pixel_rivals`.
4. **s2cloudless**, a published classifier of the same kind: see `benchmarks.pixel_clouds`.

The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.pixel_clouds import against_s2cloudless, busy, nanoseconds, print_clouds
from benchmarks.pixel_rivals import QUICK, USUAL, compare, print_rivals
from l4s_ensemble.data.store import open_store
from l4s_ensemble.features.source import FeatureSource
from l4s_ensemble.metrics.counts import count, f1_pooled
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.pixel.blocks import BLOCK_TILES
from l4s_ensemble.pixel.infer import score_block, score_own_fold, score_tile
from l4s_ensemble.pixel.model import PixelModel
from l4s_ensemble.run.files import read_json
from l4s_ensemble.run.log import start_logging
from l4s_ensemble.scenes.folds import Folds, load_folds

Floats = NDArray[np.float32]

MOST_HELD = 16
"""Tiles whose features are in memory at once."""


@dataclass(frozen=True)
class Fitted:
    """What a finished pixel stage left behind."""

    run: Path
    model: PixelModel
    source: FeatureSource
    folds: Folds

    @classmethod
    def open(cls, run: Path) -> Fitted:
        """Read a run folder."""
        store = run / "data" / "train" / "patches.zarr"
        source = FeatureSource.beside(run / "pixel", store)
        return cls(run, PixelModel.load(run / "pixel"), source, load_folds(run / "scenes"))

    def draw(self, tiles: int) -> NDArray[np.int64]:
        """Ids of tiles with landslides and without, evenly over the folds and over their places."""
        ids = self.folds.fit_ids[self.folds.of(self.folds.fit_ids, "fold") >= 0]
        order = np.lexsort((ids, self.folds.of(ids, "fold")))
        spaced = np.linspace(0, len(ids) - 1, min(tiles, len(ids))).round().astype(np.int64)
        return ids[order][spaced]

    def masks(self, ids: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Masks uint8 (tile, y, x)."""
        dataset = open_store(self.source.store)
        return np.asarray(dataset["mask"].isel(patch=self.source.positions(ids)).values)


def against_lightgbm(fitted: Fitted, tiles: int, repeats: int) -> dict[str, Any]:
    """Pixels a second of both ways through the same trees, and what differs."""
    ids = fitted.draw(min(tiles, MOST_HELD))
    fold = fitted.folds.of(ids, "fold").astype(int).tolist()
    cube = fitted.source.tiles(fitted.source.positions(ids))
    # In LightGBM's own order: turning the cube is not counted against it.
    rows = [np.ascontiguousarray(tile.reshape(len(tile), -1).T) for tile in cube]
    model = fitted.model
    boosters = [model.booster(k) for k in fold]
    if any(model.trees(k) is None for k in fold):
        print("These boosters have no fast form: the stage scores them with LightGBM too.")
    score_tile(model, fold[0], cube[0])

    def theirs() -> list[Any]:
        return [
            b.predict(r, raw_score=True, num_threads=1, validate_features=False)
            for b, r in zip(boosters, rows, strict=True)
        ]

    def ours() -> list[Floats]:
        return [score_tile(model, k, tile) for k, tile in zip(fold, cube, strict=True)]

    spent = []
    for _ in range(repeats):
        a, told = busy(theirs)
        b, made = busy(ours)
        spent.append((a, b))
    logit = np.stack(made)
    exact = np.stack(told).reshape(logit.shape) + model.logit_shift
    threshold = read_json(fitted.run / "pixel" / "summary.json")["oof"]["threshold"]
    truth = fitted.masks(ids)
    f1 = [f1_pooled(count(sigmoid(s) >= threshold, truth)) for s in (exact, logit)]
    pixels = logit.size
    booster = boosters[0]
    return {
        "features": len(model.features),
        "trees": booster.num_trees(),
        "tiles": len(ids),
        "lightgbm_pixels_per_s_core": round(pixels / statistics.median(a for a, _ in spent)),
        "pixels_per_s_core": round(pixels / statistics.median(b for _, b in spent)),
        "ratio_vs_lightgbm_predict": round(statistics.median(a / b for a, b in spent), 2),
        "ratios": [round(a / b, 2) for a, b in spent],
        "max_logit_difference": float(np.abs(exact - logit).max()),
        "identical_as_float32": bool(np.array_equal(exact.astype(np.float32), logit)),
        "f1_loss": 100 * (f1[0] - f1[1]),
        "f1_at_threshold": round(f1[1], 4),
        "ns_per_pixel_and_tree": nanoseconds(
            statistics.median(b for _, b in spent), pixels, booster.num_trees()
        ),
    }


def whole_path(fitted: Fitted, tiles: int) -> dict[str, Any]:
    """Patches a second from the store to the logits, on one core, a block at a time."""
    ids = fitted.draw(tiles)
    positions = fitted.source.positions(ids)
    fold = fitted.folds.of(ids, "fold").astype(np.int64)
    every = tuple(range(fitted.model.folds))
    blocks = [slice(i, i + BLOCK_TILES) for i in range(0, len(ids), BLOCK_TILES)]
    score_block(fitted.source, fitted.model, positions[blocks[0]], every)  # compiles, reads
    seconds = {"features": 0.0, "own": 0.0, "every": 0.0}
    peak = []
    for b in blocks:
        at, own = positions[b], fold[b]
        actions: dict[str, Callable[[], Any]] = {
            "features": partial(fitted.source.tiles, at),
            "own": partial(score_own_fold, fitted.source, fitted.model, at, own),
            "every": partial(score_block, fitted.source, fitted.model, at, every),
        }
        for name, action in actions.items():
            seconds[name] += busy(action)[0]
        peak.append(memory_mib())
    n = len(ids)
    return {
        "patches": n,
        "patches_per_s": round(n / seconds["own"], 1),
        "patches_per_s_all_folds": round(n / seconds["every"], 1),
        "fold_models": fitted.model.folds,
        "features_ms_per_patch": round(1e3 * seconds["features"] / n, 2),
        "trees_ms_per_patch": round(1e3 * (seconds["own"] - seconds["features"]) / n, 2),
        "memory_mib_first_block": round(peak[0]),
        "memory_mib_last_block": round(peak[-1]),
    }


def memory_mib() -> float:
    """Memory of this process now; NaN where the system does not tell."""
    status = Path("/proc/self/statm")
    if not status.is_file():
        return float("nan")
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def small_run(folder: Path, data: Path | None, preset: str, quick: bool) -> Path:
    """Fit a pixel classifier until its stage is done, and give the run folder."""
    from l4s_ensemble.pipeline import open_run

    if data is None:
        from l4s_ensemble.sources.synth import make_dataset

        data = folder / "made-up"
        make_dataset(data, train=24 if quick else 96, valid=0)
    small = ["scenes.folds=3", "scenes.block_tiles=2", "pixel.positives_max=30000"]
    if quick:
        small += [
            "pixel.positives_max=4000", "pixel.trees=60", "features.sample_pixels=10000",
            "features.groups=[reflectance,indices,terrain]",
        ]  # fmt: skip
    run = open_run(folder / "run", source=preset, overrides=small, data=data)
    run.fit(until=("pixel",))
    return run.folder


def print_speed(speed: dict[str, Any], path: dict[str, Any]) -> None:
    """Show the first two comparisons."""
    print(
        f"The same {speed['trees']} trees on {speed['features']} features of {speed['tiles']} "
        "out-of-fold tiles, one core\n"
    )
    print("| way | pixels/s | times |")
    print("|---|--:|--:|")
    print(f"| LightGBM predict | {speed['lightgbm_pixels_per_s_core']:,} | 1.0 |")
    print(
        f"| blocks of 64 pixels | {speed['pixels_per_s_core']:,} "
        f"| {speed['ratio_vs_lightgbm_predict']:.1f} |"
    )
    print(
        f"\nLargest difference of a logit {speed['max_logit_difference']:.1e} (float32), "
        f"F1 lost {speed['f1_loss']:.4f} points"
    )
    print(
        f"Whole path: {path['patches_per_s']} patches/s with a tile's own fold, "
        f"{path['patches_per_s_all_folds']} with {path['fold_models']} folds; features "
        f"{path['features_ms_per_patch']} ms, trees {path['trees_ms_per_patch']} ms; memory "
        f"{path['memory_mib_first_block']} MiB after the first block, "
        f"{path['memory_mib_last_block']} after the last\n"
    )


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print."""
    from threadpoolctl import threadpool_limits

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, help="run folder with a finished pixel stage")
    parser.add_argument("--data", type=Path, help="patches to fit a small model on, without --run")
    parser.add_argument("--preset", default="default", help="settings of that small model")
    parser.add_argument("--tiles", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a minute, for a first look")
    asked = parser.parse_args(words)
    repeats = 2 if asked.quick else asked.repeats
    with tempfile.TemporaryDirectory() as name, threadpool_limits(1):
        run = asked.run or small_run(Path(name), asked.data, asked.preset, asked.quick)
        fitted = Fitted.open(run)
        speed = against_lightgbm(fitted, min(asked.tiles, 4 if asked.quick else 10**6), repeats)
        path = whole_path(fitted, asked.tiles)
        print_speed(speed, path)
        rivals = compare(fitted, QUICK if asked.quick else USUAL)
        print_rivals(rivals)
        clouds = against_s2cloudless(repeats)
        print_clouds(clouds, speed["ns_per_pixel_and_tree"])
    print(
        json.dumps(
            {**speed, "path": path, **rivals, "s2cloudless": clouds, "load": os.getloadavg()[0]}
        )
    )


if __name__ == "__main__":
    start_logging(logging.INFO)
    main()
