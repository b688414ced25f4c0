"""A place never seen, without labels: every model on scenes that it was not fitted on.

    python -m benchmarks.transfer --real FOLDER --work DIR --out FILE
        [--transfers 1:2 2:1 1+4:2] [--known 1] [--shares 0.5 1] [--one-look]
        [--set unet.epochs=12 ...]

`FOLDER` holds ``l4s-rgb`` and ``l4s-rgb-scene4``. ``1+4:2`` is fitted on scenes 1 and 4 and scored
on scene 2; fits and predictions that stand in the work folder are taken as they are. The settings
are `QUICK` unless ``--set`` says otherwise.

Thresholds are those chosen out of fold. Rows: pixel classifier, U-Net, mean, stack; as they are,
and with batch statistics of the place's images: with the share that a prediction takes, and with
each of ``--shares``. Ceilings: the best threshold of each model here, and the better base model.
``--known 1`` measures on scene 1 of a run fitted on it, out of fold, what adaptation costs where
the place is known: the model of each fold is adapted to the tiles that it has not seen.

``--one-look`` scores each tile as it lies, not turned and mirrored: an eighth of the time.
Gains are paired; intervals resample blocks of 3 x 3 tiles. F1 of a block is compared with what the
probabilities alone would let one expect: 2 E[TP] / (mapped + E[landslide]).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from benchmarks.rgb_scenes import TARGET_COLUMNS, blocks_of, fitted, link
from l4s_ensemble.data.store import open_store, positions_of
from l4s_ensemble.metrics.bootstrap import f1_gain_interval, f1_interval
from l4s_ensemble.metrics.counts import Counts
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.pipeline import Run, load_run
from l4s_ensemble.predict.ensemble import Ensemble
from l4s_ensemble.predict.result import open_logits
from l4s_ensemble.run.files import read_json, write_text
from l4s_ensemble.run.log import start_logging
from l4s_ensemble.run.scores import open_scores
from l4s_ensemble.scenes.folds import load_folds
from l4s_ensemble.stack.comparison import MODELS, thresholds_of
from l4s_ensemble.unet.inputs.tileset import TileSet, load

QUICK = ("scenes.folds=2", "unet.epochs=12", "unet.optimiser=adamw")
Tiles = dict[str, TileHistograms]


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--real", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--transfers", nargs="*", default=["1:2", "2:1", "1+4:2"])
    parser.add_argument("--known", nargs="*", default=[])
    parser.add_argument("--shares", type=float, nargs="*", default=[])
    parser.add_argument("--one-look", action="store_true")
    parser.add_argument("--set", nargs="*", default=QUICK)
    parser.add_argument("--jobs", type=int, default=1)
    asked = parser.parse_args()
    start_logging()
    found: dict[str, Any] = json.loads(asked.out.read_text()) if asked.out.is_file() else {}
    for name, measure in [
        *((t, partial(transfer, asked, *t.split(":"))) for t in asked.transfers),
        *((f"{k} out of fold", partial(known, asked, k)) for k in asked.known),
    ]:
        words = [Path(w).name if Path(w).is_absolute() else w for w in sys.argv[1:]]
        made = {"command": " ".join(words), "commit": commit(), **measure()}
        found[name] = made
        write_text(asked.out, json.dumps(found, separators=(",", ":")) + "\n")
        show(name, made)


def transfer(asked: argparse.Namespace, sources: str, target: str) -> dict[str, Any]:
    """Score a run on a scene that it was not fitted on, as it is and adapted."""
    run, place = run_of(asked, sources), asked.work / f"scene-{target}"
    folder = next((run.folder / "predict").glob(f"train-scene-{target}-*"), None)
    if folder is None or not (folder / "result" / "manifest.json").is_file():
        link(asked.real, place, [int(target)], TARGET_COLUMNS)
        folder = Path(run.predict("train", data=place, adapt=False).attrs["folder"]).parent
    result = read_json(folder / "result" / "summary.json")
    assert result["adapted_to"] is None
    store = open_store(folder / "data")
    patch = store["patch"].values.astype(np.int64)
    ensemble = Ensemble.load(run.folder, device=run.device, jobs=run.jobs)
    pixel, unet = (open_logits(folder / "result", m)["logit"].values for m in ("pixel", "unet"))
    tiles, reference = load(store, masks=False), store["mask"].values
    if asked.one_look:
        looking_once(ensemble)
        unet = np.stack([model.predict_logit(tiles) for model in ensemble.unet.folds])

    def scored(logit: NDArray[np.float32]) -> Tiles:
        return count(patch, reference, {
            "pixel": sigmoid(pixel).mean(axis=0),
            "unet": sigmoid(logit).mean(axis=0),
            "mean": sigmoid((pixel + logit) / 2).mean(axis=0),
            "stack": ensemble.stack.predict_proba(pixel, logit, fold_axis=0),
        })  # fmt: skip

    variants = {"plain": scored(unet)}
    for name, share in shares_of(asked):
        variants[name] = scored(
            np.stack([adapted(model, tiles, share) for model in ensemble.unet.folds])
        )
    return {
        "tiles": len(patch),
        "outside": result["applicability"]["outside"],
        "dissimilarity": result["applicability"]["median"] / result["applicability"]["limit"],
        "weight_pixel": ensemble.stack.learner_.weight_pixel,
        **summarise(variants, thresholds_of(run.folder / "stack"), blocks_of(patch)),
    }


def known(asked: argparse.Namespace, sources: str) -> dict[str, Any]:
    """Score a run out of fold, each fold's model as it is and adapted to the fold's tiles."""
    run = run_of(asked, sources)
    ensemble = Ensemble.load(run.folder, device=run.device, jobs=run.jobs)
    folds, store = load_folds(run.folder / "scenes"), open_store(run.folder / "data/train")
    patch = np.sort(folds.fit_ids)
    fold, scene, block = (folds.of(patch, name) for name in ("fold", "scene", "block"))
    pixel, unet = (
        open_scores(run.folder / m / "oof.zarr")["logit"].values for m in ("pixel", "unet")
    )
    tiles = load(store, positions_of(store, patch), masks=False)
    reference = store["mask"].sel(patch=patch).values

    def scored(logit: NDArray[np.float32]) -> Tiles:
        return count(patch, reference, {
            "pixel": sigmoid(pixel),
            "unet": sigmoid(logit),
            "mean": sigmoid((pixel + logit) / 2),
            "stack": ensemble.stack.cross_predict_proba(pixel, logit, fold),
        })  # fmt: skip

    if asked.one_look:
        looking_once(ensemble)
        unet = np.empty(unet.shape, np.float32)
        for k, model in enumerate(ensemble.unet.folds):
            unet[fold == k] = model.predict_logit(tiles.at(np.flatnonzero(fold == k)))
    variants = {"plain": scored(unet)}
    for name, share in shares_of(asked):
        logit = unet.copy()
        for k, s in sorted({*zip(fold.tolist(), scene.tolist(), strict=True)}):
            own = np.flatnonzero((fold == k) & (scene == s))
            logit[own] = adapted(ensemble.unet.folds[k], tiles.at(own), share)
        variants[name] = scored(logit)
    reach = ensemble.applicability
    assert reach is not None
    return {
        "tiles": len(patch),
        "outside": int((reach.held_out > reach.limit).sum()),
        "dissimilarity": float(np.median(reach.held_out) / reach.limit),
        "weight_pixel": ensemble.stack.learner_.weight_pixel,
        **summarise(variants, thresholds_of(run.folder / "stack"), block),
    }


def run_of(asked: argparse.Namespace, sources: str) -> Run:
    """Run fitted on some scenes: that of the work folder, or a new one."""
    scenes = [int(s) for s in sources.split("+")]
    folder = asked.work / f"run-scenes-{'-'.join(map(str, scenes))}"
    if (folder / "stack" / "manifest.json").is_file():
        return load_run(folder, jobs=asked.jobs, device="cpu")
    return fitted(asked.real, asked.work, scenes, asked.set, asked.jobs)


def looking_once(ensemble: Ensemble) -> None:
    """Score each tile as it lies."""
    for model in ensemble.unet.folds:
        model.symmetries = False


def shares_of(asked: argparse.Namespace) -> Iterator[tuple[str, float | None]]:
    """Names and shares of the batch statistics; None is what a prediction takes."""
    yield "adapted", None
    for share in asked.shares:
        yield f"share {share:g}", share


def adapted(model: Any, tiles: TileSet, share: float | None) -> NDArray[np.float32]:
    """Logits of the tiles of a place by a model that is adapted to them."""
    words = {} if share is None else {"share": share}
    logit: NDArray[np.float32] = model.adapt_statistics(tiles, **words).predict_logit(tiles)
    return logit


def count(
    patch: NDArray[np.int64], reference: NDArray[np.uint8], maps: Mapping[str, NDArray[np.float32]]
) -> Tiles:
    """Count the pixels of each tile by probability and class, for each model."""
    made = {name: TileHistograms.empty(patch) for name in maps}
    for name, probability in maps.items():
        for i, mask in enumerate(reference):
            made[name].add(i, probability[i], mask)
    return made


def summarise(
    variants: Mapping[str, Tiles], thresholds: Mapping[str, float], block: NDArray[np.int64]
) -> dict[str, Any]:
    """Scores of all models and variants, and paired gains."""
    rows, counts = {}, {}
    for variant, tiles in variants.items():
        for model in MODELS:
            at = tiles[model].counts(thresholds[model])
            f1, pooled = f1_interval(at, block), tiles[model].pooled()
            counts[variant, model] = at
            rows[f"{model}, {variant}"] = {
                "f1": f1.value, "low": f1.low, "high": f1.high,
                "threshold": thresholds[model], "best_f1": pooled.best().f1,
                "average_precision": pooled.average_precision(),
                **expected(tiles[model], at, thresholds[model], block),
            }  # fmt: skip
    pairs = [((v, m), ("plain", m)) for v in variants for m in MODELS[1:] if v != "plain"]
    pairs += [((v, a), (v, b)) for v in variants for a, b in (
        ("mean", "stack"), ("stack", "pixel"), ("stack", "unet"), ("mean", "pixel"),
    )]  # fmt: skip
    gains = {}
    for one, other in pairs:
        gain = f1_gain_interval(counts[one], counts[other], block)
        name = f"{one[1]}, {one[0]} over {other[1]}, {other[0]}"
        gains[name] = [gain.value, gain.low, gain.high]
    return {"blocks": len(np.unique(block)), "models": rows, "gains": gains}


def expected(
    tiles: TileHistograms, at: Counts, threshold: float, block: NDArray[np.int64]
) -> dict[str, Any]:
    """F1 that probabilities let one expect, of all tiles and by block, against what was found."""
    pixels = (tiles.positive + tiles.negative).astype(np.float64)
    first, middle = round(threshold * tiles.bins), (np.arange(tiles.bins) + 0.5) / tiles.bins
    hits, mapped = pixels[:, first:] @ middle[first:], pixels[:, first:].sum(axis=1)
    landslide = pixels @ middle
    _, index = np.unique(block, return_inverse=True)
    sums = [np.bincount(index, v) for v in (hits, mapped + landslide, at.tp, at.fp + at.fn)]
    told, found = 2 * sums[0] / sums[1], 2 * sums[2] / np.maximum(2 * sums[2] + sums[3], 1)
    return {
        "expected_f1": float(2 * hits.sum() / (landslide.sum() + mapped.sum())),
        "error_by_block": float(np.abs(told - found).mean()),
        "rank_correlation": float(spearmanr(told, found).statistic),
    }


def commit() -> str:
    """Commit of this checkout; ``-dirty`` where files were changed."""
    words = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()


def show(name: str, made: Mapping[str, Any]) -> None:
    """Print a measurement."""
    print(f"\n{name}: {made['tiles']} tiles, {made['outside']} outside, {made['blocks']} blocks")
    for row, value in made["models"].items():
        print(
            f"  {row}: F1 {value['f1']:.3f} (best {value['best_f1']:.3f}), average precision "
            f"{value['average_precision']:.3f}; expected {value['expected_f1']:.3f}, rank "
            f"correlation {value['rank_correlation']:.2f}"
        )
    for row, (gain, low, high) in made["gains"].items():
        span = "" if low is None else f" [{low:+.4f}, {high:+.4f}]"
        print(f"  {row}: {gain:+.4f}{span}", flush=True)


if __name__ == "__main__":
    main()
