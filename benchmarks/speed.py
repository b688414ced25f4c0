"""What our own code gains in speed over the library or the official code that it replaces.

    python -m benchmarks.speed [--only reading kernels trees training prediction] [--rounds 5]

Synthetic patches of 14 bands in a temporary folder. Both sides take turns in one run, after a turn
that is not counted; the ratio is theirs / ours, the median with the smallest and the largest.

* ``reading``: patches of a split into one array: our store against a loop over HDF5 files.
* ``kernels``: window mean and deviation, Gaussian: against scipy.ndimage, one core.
* ``trees``: the same boosted trees: our evaluator against LightGBM's predict, one core.
* ``training``, ``prediction``: the official network in our engine against the official float32 loop
  (`benchmarks.official`), which has a process of its own. Reading is included.

The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import h5py
import lightgbm
import numpy as np
import torch
from scipy import ndimage
from threadpoolctl import threadpool_limits
from torch.utils.data import DataLoader

from benchmarks.official import OfficialLoop, OfficialTiles, loader
from benchmarks.official import predict as official_predict
from l4s_ensemble.config import load as load_settings
from l4s_ensemble.data.build import build_store
from l4s_ensemble.data.patches import find_patches
from l4s_ensemble.data.sensor import L4S
from l4s_ensemble.data.store import open_store
from l4s_ensemble.features import kernels
from l4s_ensemble.features.tile_context import gaussian_radius, gaussian_weights
from l4s_ensemble.pixel.bit_trees import bit_trees
from l4s_ensemble.pixel.trees import read_trees
from l4s_ensemble.sources.synth import make_dataset
from l4s_ensemble.unet.classifier import UNetClassifier
from l4s_ensemble.unet.inputs.tileset import load
from l4s_ensemble.unet.networks.official import OfficialUNet

TILES, BATCH, STEPS = 64, 32, 2
Way = Callable[[], object]


def main() -> None:
    """Measure the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        make_dataset(root / "patches", train=TILES, valid=0)
        build_store(find_patches(root / "patches", "train", L4S), L4S, root / "store.zarr")
        for part in asked.only:
            for label, (ours, theirs) in PARTS[part](root).items():
                found[label] = in_turns(ours, theirs, asked.rounds)
                low, middle, high = found[label]["ratio"]
                print(
                    f"{label}: {found[label]['ours_s'] * 1e3:.1f} ms, theirs "
                    f"{found[label]['theirs_s'] * 1e3:.1f} ms: {middle:.1f} times "
                    f"({low:.1f} to {high:.1f})"
                )
    print(json.dumps(found))


def in_turns(ours: Way, theirs: Way, rounds: int) -> dict[str, Any]:
    """Median seconds of both, and their ratio: lowest, median, highest."""
    pairs = [(_seconds(ours), _seconds(theirs)) for _ in range(rounds + 1)][1:]
    ratio = sorted(b / a for a, b in pairs)
    return {
        "ours_s": statistics.median(a for a, _ in pairs),
        "theirs_s": statistics.median(b for _, b in pairs),
        "ratio": [ratio[0], statistics.median(ratio), ratio[-1]],
    }


def reading(root: Path) -> dict[str, tuple[Way, Way]]:
    """All patches of a split in one array."""
    files = find_patches(root / "patches", "train", L4S)

    def loop() -> float:
        images = []
        for file in files:
            with h5py.File(file.image, "r") as opened:
                images.append(opened["img"][:])
        return float(np.stack(images).max())

    def ours() -> float:
        return float(open_store(root / "store.zarr")["image"].values.max())

    return {f"reading {len(files)} patches": (ours, loop)}


def feature_kernels(root: Path) -> dict[str, tuple[Way, Way]]:
    """Window statistics and smoothing of one picture of a tile with its margin."""
    del root
    edge, margin, sigma = 33, 40, 4.0
    image = np.random.default_rng(0).random((128 + 2 * margin,) * 2, np.float32)
    weights, reach = gaussian_weights(sigma), gaussian_radius(sigma)
    near = np.ascontiguousarray(
        image[margin - reach : reach - margin, margin - reach : reach - margin]
    )
    core = (slice(margin, -margin), slice(margin, -margin))

    def ours() -> None:
        tables = kernels.summed_area(image)
        kernels.window_mean(tables[0], margin, margin, 128, 128, edge // 2)
        kernels.window_deviation(*tables, margin, margin, 128, 128, edge // 2)

    def scipy_windows() -> None:
        mean = ndimage.uniform_filter(image, edge)
        square = ndimage.uniform_filter(image.astype(np.float64) ** 2, edge)
        np.sqrt(np.maximum(square - mean.astype(np.float64) ** 2, 0))[core]

    def scipy_smooth() -> None:
        ndimage.gaussian_filter(image, sigma)[core]

    return {
        "kernels: mean and deviation of 33 px": (ours, scipy_windows),
        "kernels: Gaussian of 4 px": (lambda: kernels.smooth(near, weights), scipy_smooth),
    }


def trees(root: Path) -> dict[str, tuple[Way, Way]]:
    """300 trees of 63 leaves on 60 features of one tile."""
    del root
    rng = np.random.default_rng(0)
    rows = rng.random((20_000, 60), np.float32)
    label = (rows[:, :5].sum(axis=1) + rng.normal(0, 0.3, len(rows)) > 3).astype(int)
    settings = {"objective": "binary", "num_leaves": 63, "verbose": -1, "num_threads": 1}
    booster = lightgbm.train(settings, lightgbm.Dataset(rows, label), 300)
    fast = bit_trees(read_trees([booster.model_to_string()]))
    tile = rng.random((60, 128, 128), np.float32)
    as_rows = np.ascontiguousarray(tile.reshape(60, -1).T)
    theirs = booster.predict(as_rows, raw_score=True).reshape(128, 128)
    if np.abs(fast.score(tile) - theirs).max() > 1e-6:
        raise SystemExit("the two ways through the trees differ")
    return {
        "trees: a tile": (
            lambda: fast.score(tile),
            lambda: booster.predict(as_rows, raw_score=True, num_threads=1),
        )
    }


def _official_model(steps: int) -> UNetClassifier:
    """The estimator with the settings of the official network and its training."""
    settings = load_settings("baseline").unet.model_dump()
    return UNetClassifier(**{**settings, "steps": steps, "batch": BATCH}, n_jobs=None)


def training(root: Path) -> dict[str, tuple[Way, Way]]:
    """Steps of the official network."""
    tiles = load(open_store(root / "store.zarr")).at(np.resize(np.arange(TILES), STEPS * BATCH))
    model = _official_model(STEPS)

    def ours() -> None:
        model.fit(tiles)

    return {f"training, {STEPS} steps of {BATCH}": (ours, _apart(_official_steps, root))}


def prediction(root: Path) -> dict[str, tuple[Way, Way]]:
    """Masks of all patches, reading included."""
    model = _official_model(1).fit(load(open_store(root / "store.zarr")))

    def ours() -> None:
        some = load(open_store(root / "store.zarr"), masks=False)
        (model.predict_logit(some) > 0).astype(np.uint8)

    return {f"prediction, {TILES} patches": (ours, _apart(_official_masks, root))}


PARTS: dict[str, Callable[[Path], dict[str, tuple[Way, Way]]]] = {
    "reading": reading,
    "kernels": feature_kernels,
    "trees": trees,
    "training": training,
    "prediction": prediction,
}


def _official_steps(root: Path) -> None:
    files = find_patches(root / "patches", "train", L4S)
    order = np.resize(np.arange(TILES), STEPS * BATCH)
    feed = loader(OfficialTiles(files, L4S.band_names), order, batch=BATCH)
    network = OfficialUNet(len(L4S.bands))
    OfficialLoop(network, torch.device("cpu")).run(iter(feed), STEPS)


def _official_masks(root: Path) -> None:
    official_predict(*_official_predictor(root), torch.device("cpu"))


@lru_cache
def _official_predictor(root: Path) -> tuple[OfficialUNet, DataLoader[Any]]:
    """Network and loader; they and the loader's workers stay from turn to turn."""
    files = find_patches(root / "patches", "train", L4S)
    feed = loader(OfficialTiles(files, L4S.band_names, masks=False), range(TILES), batch=1)
    return OfficialUNet(len(L4S.bands)), feed


def _apart(function: Callable[[Path], None], root: Path) -> Way:
    """Call a function in a process as torch leaves it: ours sets how memory is kept."""
    pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
    return lambda: pool.submit(function, root).result()


def _seconds(way: Way) -> float:
    with threadpool_limits(None):
        started = time.perf_counter()
        way()
        return time.perf_counter() - started


if __name__ == "__main__":
    main()
