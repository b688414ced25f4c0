"""s2cloudless, a published LightGBM pixel classifier for Sentinel-2; used by ``pixel``.

``pip install --no-deps s2cloudless`` puts its model, 170 trees of 770 leaves over 10 bands, beside
the package; it is not a dependency. That model is scored by s2cloudless's own
``PixelClassifier.image_predict_proba`` (one thread) and by our trees, on made-up reflectances:
smooth as an image, and pure noise, which is the worst for us, for no two pixels of a block go
together. Both give the same probabilities. Nothing is said of its accuracy: it finds clouds.
"""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.pixel.trees import bit_trees

Floats = NDArray[np.float32]

BANDS, EDGE = 10, 256


def busy(action: Callable[[], Any]) -> tuple[float, Any]:
    """Processor seconds of a call, and what it gave."""
    start = time.process_time()
    given = action()
    return time.process_time() - start, given


def nanoseconds(seconds: float, pixels: int, trees: int) -> float:
    """Nanoseconds a pixel and tree."""
    return round(1e9 * seconds / pixels / trees, 3)


def against_s2cloudless(repeats: int) -> dict[str, Any] | None:
    """Seconds a pixel and tree of a published model, by its own classifier and by ours.

    None where s2cloudless is not installed. Its package also downloads images, with libraries that
    are of no use here; only the file of the classifier is imported.
    """
    found = importlib.util.find_spec("s2cloudless")
    if found is None or not found.submodule_search_locations:
        return None
    import lightgbm as lgb

    folder = Path(found.submodule_search_locations[0])
    path = next((folder / "models").glob("*.txt"))
    file = folder / "pixel_classifier.py"
    spec = importlib.util.spec_from_file_location("s2cloudless_pixel", file)
    if spec is None or spec.loader is None:
        return None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    booster = lgb.Booster(model_file=str(path))
    classifier = module.PixelClassifier(booster)
    trees = bit_trees(path, path.stat().st_mtime_ns)
    result: dict[str, Any] = {"model": path.stem, "trees": booster.num_trees(), "fast_form": False}
    if trees is None:
        return result
    result |= {"fast_form": True, "leaves": len(trees.leaf), "leaves_per_tree": 0}
    result["leaves_per_tree"] = round(len(trees.leaf) / booster.num_trees())
    for name, image in reflectances().items():
        stack = np.moveaxis(image, 0, -1)[None]
        trees.score(image[:, :8, :8])
        spent = []
        for _ in range(repeats):
            a, theirs = busy(partial(classifier.image_predict_proba, stack, num_threads=1))
            b, ours = busy(partial(trees.score, image))
            spent.append((a, b))
        away = np.abs(1 / (1 + np.exp(-ours)) - theirs[0, ..., 1]).max()
        pixels = image[0].size
        result[name] = {
            "ratio": round(statistics.median(a / b for a, b in spent), 2),
            "own_ns_per_pixel_and_tree": nanoseconds(
                statistics.median(a for a, _ in spent), pixels, booster.num_trees()
            ),
            "ns_per_pixel_and_tree": nanoseconds(
                statistics.median(b for _, b in spent), pixels, booster.num_trees()
            ),
            "max_probability_difference": float(away),
        }
    return result


def reflectances() -> dict[str, Floats]:
    """Ten made-up bands: smooth over some pixels with a little noise, and noise alone."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(0)
    shape = (BANDS, EDGE, EDGE)
    noise = rng.normal(size=shape)
    bright = gaussian_filter(rng.normal(size=shape[1:]), 12)
    own = gaussian_filter(noise, (0, 4, 4))
    smooth = 0.6 * bright / bright.std() + 0.3 * own / own.std() + 0.02 * noise
    return {
        "smooth": (0.15 * np.exp(smooth)).astype(np.float32),
        "noise": rng.uniform(0, 0.6, shape).astype(np.float32),
    }


def print_clouds(clouds: dict[str, Any] | None, own_ns: float) -> None:
    """Show the comparison with s2cloudless."""
    if clouds is None:
        print("\ns2cloudless: not installed")
        return
    if not clouds["fast_form"]:
        print("\ns2cloudless: its model has no fast form here")
        return
    print(
        f"\ns2cloudless, {clouds['trees']} trees of {clouds['leaves_per_tree']} leaves, "
        "nanoseconds a pixel and tree\n"
    )
    print("| image | its own classifier | ours | times |")
    print("|---|--:|--:|--:|")
    for name in ("smooth", "noise"):
        row = clouds[name]
        print(
            f"| {name} | {row['own_ns_per_pixel_and_tree']} | {row['ns_per_pixel_and_tree']} "
            f"| {row['ratio']:.1f} |"
        )
    print(f"| our own model, real tiles | | {own_ns} | |")
