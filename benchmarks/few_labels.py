"""What a few labelled tiles of a new place are worth: every model before and after adaptation.

    python -m benchmarks.few_labels --real FOLDER --work DIR --out FILE [--from 1] [--to 2]
        [--tiles 5 20] [--draws 3] [--how random halves] [--suggested] [--quick]
        [--set unet.epochs=12 ...]

`FOLDER` holds ``l4s-rgb`` and ``l4s-rgb-scene4``. A run is fitted on the scenes ``--from`` with the
preset ``l4s-rgb`` (or taken from ``--run``), and scored on scene ``--to``: before, and after
adaptation to labelled tiles of that scene. ``random`` takes them anywhere and scores the rest;
``halves`` takes them in the upper half of the rows and scores the lower half, a row of tiles
between them unused, and the reverse. ``--suggested`` adds the tiles that `l4s-ensemble label` would
choose to the random draws. ``--quick`` fits two folds for six epochs and draws 20 tiles once.
Thresholds are those that would be used: before, of the run; after, of the labelled tiles by models
adapted without them, and of the run. Tiles that gave a label are never scored.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import fields
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.rgb_scenes import TARGET_COLUMNS, blocks_of, fitted, link, places_of
from l4s_ensemble.adapt.adaptation import LabelledTiles, adapt_ensemble, score_pixel
from l4s_ensemble.adapt.choose import Candidates, candidates, choose
from l4s_ensemble.data.store import open_store
from l4s_ensemble.features.source import FeatureSource
from l4s_ensemble.metrics.bootstrap import f1_gain_interval
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.pipeline import Run, load_run
from l4s_ensemble.predict.ensemble import Ensemble
from l4s_ensemble.run.files import write_text
from l4s_ensemble.run.log import start_logging
from l4s_ensemble.unet.inputs.tileset import load

QUICK = ("scenes.folds=2", "unet.epochs=6")
MODELS = ("pixel", "unet", "stack")


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--real", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--from", dest="source", type=int, nargs="+", default=[1])
    parser.add_argument("--run", type=Path, help="a run fitted on these scenes already")
    parser.add_argument("--to", type=int, default=2)
    parser.add_argument("--tiles", type=int, nargs="+", default=[5, 20])
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--how", nargs="+", choices=["random", "halves"], default=["random"])
    parser.add_argument("--suggested", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--set", nargs="*", default=[])
    parser.add_argument("--jobs", type=int, default=None)
    asked = parser.parse_args()
    if asked.quick:
        asked.set, asked.tiles, asked.draws = [*QUICK, *asked.set], [20], 1
    start_logging()
    run = (
        fitted(asked.real, asked.work, asked.source, asked.set, asked.jobs)
        if asked.run is None
        else load_run(asked.run, jobs=asked.jobs)
    )
    target = asked.work / f"scene-{asked.to}"
    link(asked.real, target, [asked.to], TARGET_COLUMNS)
    run.evaluate("train", data=target)
    folder = next((run.folder / "predict").glob(f"train-scene-{asked.to}-*"))
    result: dict[str, Any] = json.loads(asked.out.read_text()) if asked.out.is_file() else {}
    key = f"{'+'.join(map(str, asked.source))} to {asked.to}"
    rows = result.setdefault(key, [])
    draws = [*range(asked.draws), *(["suggested"] if asked.suggested else [])]
    for how, tiles, draw in product(asked.how, asked.tiles, draws):
        for labelled, scored in chosen(folder, how, tiles, draw):
            row = {"how": how, "tiles": tiles, "draw": draw}
            rows.append(row | measure(run, folder, labelled, scored))
            write_text(asked.out, json.dumps(result) + "\n")
            show(key, rows[-1])


def chosen(
    folder: Path, how: str, tiles: int, draw: int | str
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Ids of labelled and of scored tiles; one pair, or one for each half."""
    patch = open_store(folder / "data")["patch"].values
    row, _ = places_of(patch)
    middle = int(np.median(row))
    halves = [
        (patch[row < middle], patch[row > middle]),
        (patch[row > middle], patch[row < middle]),
    ]
    rng = np.random.default_rng(0 if draw == "suggested" else [int(draw), tiles])
    for pool, scored in halves if how == "halves" else [(patch, patch)]:
        if draw == "suggested":
            labelled = np.sort([c.patch for c in choose(among(folder, pool), tiles)])
        else:
            labelled = np.sort(rng.choice(pool, min(tiles, len(pool)), replace=False))
        yield labelled, np.setdiff1d(scored, labelled)


def among(folder: Path, pool: NDArray[np.int64]) -> Candidates:
    """Candidates for a label among some tiles of the place."""
    found = candidates(folder / "data", folder / "result")
    inside = np.isin(found.patch, pool)
    return Candidates(**{f.name: getattr(found, f.name)[inside] for f in fields(found)})


def measure(
    run: Run, folder: Path, labelled: NDArray[np.int64], scored: NDArray[np.int64]
) -> dict[str, Any]:
    """Scores of every model on the tiles `scored`, before and after."""
    ensemble = Ensemble.load(run.folder, jobs=run.jobs)
    store = open_store(folder / "data")
    source = FeatureSource.beside(
        run.folder / "pixel", folder / "data" / "patches.zarr", folder / "result"
    )
    threshold = {
        row["model"]: row["threshold"]
        for row in run.evaluate("train", data=Path(store.attrs["root"]))["comparison"]
    }
    labels = store.sel(patch=labelled)
    started = time.monotonic()
    tiles = LabelledTiles.read(
        source, labelled, labels["mask"].values, seed=ensemble.pixel.seed, jobs=run.jobs
    )
    adapted = adapt_ensemble(ensemble, tiles, blocks_of(labelled), threshold)
    seconds = time.monotonic() - started
    pixel = score_pixel(adapted.pixel, source, scored, jobs=run.jobs)
    others = load(store, source.positions(scored), masks=False)
    unet = np.stack([m.predict_logit(others) for m in adapted.unet])
    after = {
        "pixel": sigmoid(pixel).mean(axis=0),
        "unet": sigmoid(unet).mean(axis=0),
        "stack": adapted.stack.predict_proba(pixel, unet, fold_axis=0),
    }
    reference = store["mask"].sel(patch=scored).values
    before = {m: TileHistograms.load(folder / f"scores/tiles_{m}.npz") for m in MODELS}
    before = {m: t.subset(np.isin(t.patch, scored)) for m, t in before.items()}
    block = blocks_of(scored)
    out: dict[str, Any] = {"seconds": seconds, "labelled": labelled.tolist(), "models": {}}
    out["weight"] = [ensemble.stack.learner_.weight_pixel, adapted.stack.learner_.weight_pixel]
    for m in MODELS:
        counted = TileHistograms.empty(scored)
        for i, (p, y) in enumerate(zip(after[m], reference, strict=True)):
            counted.add(i, p, y)
        pair = before[m].counts(threshold[m]), counted.counts(adapted.decision.thresholds[m])
        gain = f1_gain_interval(pair[1], pair[0], block)
        f1 = [2 * c.tp.sum() / (2 * c.tp + c.fp + c.fn).sum() for c in pair]
        pooled = [before[m].pooled(), counted.pooled()]
        out["models"][m] = {
            "f1": [float(v) for v in f1],
            "gain": [gain.value, gain.low, gain.high],
            "average_precision": [h.average_precision() for h in pooled],
            "best_f1": [h.best().f1 for h in pooled],
            "threshold": [threshold[m], adapted.decision.thresholds[m]],
        }
    return out


def show(key: str, row: dict[str, Any]) -> None:
    """Print a row."""
    words = [
        f"{m} {v['f1'][0]:.3f} -> {v['f1'][1]:.3f} (best {v['best_f1'][0]:.3f} -> "
        f"{v['best_f1'][1]:.3f}, AP {v['average_precision'][0]:.3f} -> "
        f"{v['average_precision'][1]:.3f})"
        for m, v in row["models"].items()
    ]
    print(
        f"{key} {row['how']} {row['tiles']} draw {row['draw']}: {'; '.join(words)}; "
        f"weight {row['weight'][0]:.2f} -> {row['weight'][1]:.2f}; {row['seconds']:.0f} s",
        flush=True,
    )


if __name__ == "__main__":
    main()
