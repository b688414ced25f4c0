"""Which features earn their place: backward elimination, scored on places that were not fitted.

    python -m benchmarks.choices --rgb L4S_RGB_FOLDER --bands14 L4S_FOLDER --work DIR --out FILE
        [--sizes 120 90 70 60 50 40 30] [--keep FILE]

All features of the plan are computed once, on a weighted sample of pixels (the features stage makes
it). Regimes, each with fits of its own:

* ``out of fold``: two spatial folds, without the tiles beside them;
* ``1 to 2``, ``2 to 1``: fitted on one scene, scored on the other;
* ``unlike``: the band of columns of scene 1 whose features lie furthest from the rest of the scene
  (no label is read for that), fitted on the rest without the columns beside it;
* ``14 bands``: groups of adjoining tiles, one left out after the other.

A fit is that of the pixel classifier (for relative levels two boosters: one with the expected
signs, one on features in which the gain cancels), with fewer trees. A quarter of the blocks of its
fitting tiles chooses the threshold, which is carried over. Scored are weighted rows: F1, and
average precision. From one size to the next those features go whose contribution to the logit
(TreeSHAP), taken away, costs the least average precision, as the mean over the regimes. Of two
features with a rank correlation above .98 the weaker goes first.
Gains are over all features; intervals are a paired bootstrap over blocks of 3 x 3 tiles.

Tiles of a holdout are not read: give a folder without them, or name them in the preset. The last
line is JSON.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, precision_recall_curve

from l4s_ensemble.metrics.bootstrap import score_interval
from l4s_ensemble.pipeline import open_run
from l4s_ensemble.run.files import read_json, write_json
from l4s_ensemble.scenes.folds import load_folds

SIZES = (90, 60, 45, 30)
COPIES = 0.98
TREES, FIT_ROWS, EXPLAINED_ROWS = 90, 60_000, 2500
GROUPS = r"hat_|_coherence_|_energy_|_along_slope_|_downhill_|_minus_aspect_|^refl_|^level_"
"""Names of the groups that are left out together first."""
BANDS = ((0, 4), (5, 9), (10, 14), (15, 18), (19, 22))
"""Columns of scene 1 that may be the band left out."""
SETTINGS: dict[str, Any] = {
    "objective": "binary", "learning_rate": 0.1, "num_leaves": 31, "max_bin": 63,
    "min_data_in_leaf": 50, "lambda_l2": 30.0, "feature_fraction": 0.5, "bagging_fraction": 0.7,
    "bagging_freq": 1, "seed": 0, "deterministic": True, "force_row_wise": True,
    "num_threads": 1, "verbosity": -1,
}  # fmt: skip


@dataclass(frozen=True)
class Rows:
    """Sampled pixels with all features, and where they lie."""

    values: NDArray[np.float32]
    reference: NDArray[np.uint8]
    weight: NDArray[np.float64]
    scene: NDArray[np.int64]
    col: NDArray[np.int64]
    folds: list[tuple[NDArray[np.intp], NDArray[np.intp]]]
    block: NDArray[np.int64]
    names: list[str]
    expected: dict[str, int]
    relational: dict[str, bool]
    relative: bool


Regime = tuple[str, list[tuple[NDArray[np.intp], NDArray[np.intp]]]]
"""Name, and of each fit the rows to fit on and the rows to score."""


def load(work: Path, preset: str, data: Path, overrides: list[str]) -> Rows:
    """Make the sample of rows in a run folder, or read it again."""
    if not (work / "features" / "sample.npz").is_file():
        open_run(work, source=preset, overrides=overrides, data=data, jobs=1).fit(
            until=("features",)
        )
    folds, plan = load_folds(work / "scenes"), read_json(work / "features" / "features.json")
    with np.load(work / "features" / "sample.npz") as kept:
        patch, columns = kept["patch"], [str(n) for n in kept["names"]]
        scene, row, col = (folds.of(patch, n).astype(np.int64) for n in ("scene", "row", "col"))
        block = np.unique(scene * 10**6 + row // 3 * 1000 + col // 3, return_inverse=True)[1]
        parts = [
            tuple(
                np.flatnonzero(np.isin(patch, of(k)))
                for of in (folds.train_ids, folds.held_out_ids)
            )
            for k in range(folds.n_folds)
        ]
        return Rows(
            kept["X"],
            kept["y"],
            kept["weight"],
            scene,
            col,
            parts,
            block,
            columns,
            {f["name"]: f["expected"] for f in plan["features"]},
            {f["name"]: f["relational"] for f in plan["features"]},
            any(f["level"] == "relative" for f in plan["features"]) or "rgb" in preset,
        )


def regimes(rows: Rows, name: str) -> list[Regime]:
    """Divide the rows for every regime."""
    at = np.arange(len(rows.reference))
    if name == "14 bands":
        return [(name, rows.folds)]
    one, two = rows.scene == 1, rows.scene == 2
    low, high = max(BANDS, key=lambda b: _unlike(rows, one, *b))
    band = one & (rows.col >= low) & (rows.col <= high)
    rest = one & ((rows.col < low - 1) | (rows.col > high + 1))
    return [
        ("out of fold", rows.folds[:2]),
        ("1 to 2", [(at[one], at[two])]),
        ("2 to 1", [(at[two], at[one])]),
        (f"unlike: columns {low} to {high}", [(at[rest], at[band])]),
    ]


def _unlike(rows: Rows, scene: NDArray[np.bool_], low: int, high: int) -> float:
    """Mean distance of the medians of a band of columns from the rest, in quartile ranges."""
    other = rows.reference == 0
    band = (rows.col >= low) & (rows.col <= high)
    here, there = (rows.values[scene & other & part][::7] for part in (band, ~band))
    q25, q50, q75 = np.quantile(there, (0.25, 0.5, 0.75), axis=0)
    return float(np.mean(np.abs(np.median(here, axis=0) - q50) / np.maximum(q75 - q25, 1e-9)))


def fit_and_score(
    rows: Rows, fit: NDArray[np.intp], score: NDArray[np.intp], names: list[str], explain: bool
) -> tuple[NDArray[np.float64], float, dict[str, float]]:
    """Give the logit of the rows to score, the threshold, and what each feature is worth."""
    watch = rows.block[fit] % 4 == 0
    train, watch = fit[~watch], fit[watch]
    train = train[:: max(1, round(len(train) / FIT_ROWS))]
    views = [list(names)]
    if rows.relative:
        views.append([n for n in names if rows.relational[n]])
    logit, watched = np.zeros(len(score)), np.zeros(len(watch))
    some = score[:: max(1, len(score) // EXPLAINED_ROWS)]
    added = np.zeros((len(some), len(names) + 1))
    weight = rows.weight[train]
    for view, own in enumerate(v for v in views if v):
        columns = [rows.names.index(n) for n in own]
        settings = {**SETTINGS, "seed": view}
        if rows.relative and view == 0:
            settings["monotone_constraints"] = [rows.expected[n] for n in own]
        data = lgb.Dataset(
            rows.values[np.ix_(train, columns)],
            rows.reference[train],
            weight=weight / weight.mean(),
            params=settings,
        )
        booster = lgb.train(settings, data, TREES)
        logit += booster.predict(rows.values[np.ix_(score, columns)], raw_score=True) / len(views)
        watched += booster.predict(rows.values[np.ix_(watch, columns)], raw_score=True) / len(views)
        if explain:
            parts = booster.predict(rows.values[np.ix_(some, columns)], pred_contrib=True)
            added[:, [*(names.index(n) for n in own), -1]] += parts / len(views)
    precision, recall, at = precision_recall_curve(
        rows.reference[watch], watched, sample_weight=rows.weight[watch]
    )
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
    loss = {}
    if explain:
        y, w, total = rows.reference[some], rows.weight[some], added.sum(axis=1)
        best = average_precision_score(y, total, sample_weight=w)
        for i, name in enumerate(names):
            without = average_precision_score(y, total - added[:, i], sample_weight=w)
            loss[name] = float(best - without)
    return logit, float(at[min(int(np.argmax(f1)), len(at) - 1)]), loss


def measure(
    rows: Rows, regime: Regime, names: list[str], explain: bool = False
) -> tuple[dict[str, Any], dict[str, float]]:
    """Score one set of features in one regime; see `fit_and_score`."""
    blocks = int(rows.block.max()) + 1
    sums = np.zeros((blocks, 3))
    precision, losses = [], []
    for fit, score in regime[1]:
        logit, threshold, loss = fit_and_score(rows, fit, score, names, explain)
        y, w = rows.reference[score], rows.weight[score]
        predicted = logit >= threshold
        for k, chosen in enumerate(
            (predicted & (y > 0), predicted & (y == 0), ~predicted & (y > 0))
        ):
            sums[:, k] += np.bincount(rows.block[score], w * chosen, blocks)
        precision.append(average_precision_score(y, logit, sample_weight=w))
        losses.append(loss)
    used = sums.sum(axis=1) > 0
    found = {
        "sums": sums[used],
        "f1": float(_f1(sums.sum(axis=0))),
        "average_precision": float(np.mean(precision)),
    }
    return found, {n: float(np.mean([each[n] for each in losses])) for n in names if explain}


def _f1(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    hit, false, missed = np.moveaxis(sums, -1, 0)
    score: NDArray[np.float64] = 2 * hit / np.maximum(2 * hit + false + missed, 1e-9)
    return score


def shrink(rows: Rows, worth: dict[str, float], size: int) -> list[str]:
    """Keep the `size` features that are worth most; weaker near copies go first."""
    order = sorted(worth, key=lambda n: -worth[n])
    some = rows.values[:: max(1, len(rows.values) // 4000)]
    ranks = rankdata(some[:, [rows.names.index(n) for n in order]], axis=0)
    close = np.abs(np.corrcoef(ranks, rowvar=False))
    chosen: list[int] = []
    for i in range(len(order)):
        if not chosen or close[i, chosen].max() < COPIES:
            chosen.append(i)
    left = [i for i in range(len(order)) if i not in chosen]
    return [order[i] for i in [*chosen, *left][:size]]


def eliminate(rows: Rows, name: str, sizes: list[int], kept: list[str] | None) -> dict[str, Any]:
    """Score all features, and smaller and smaller sets of them, in every regime."""
    everywhere = regimes(rows, name)
    tried: list[list[str]] = [list(rows.names)] + ([kept] if kept else [])
    if not kept:
        tried.append([n for n in rows.names if not re.search(GROUPS, n)])
    pending = [] if kept else [n for n in sizes if n < len(tried[-1])]
    table, base = [], {}
    while tried:
        names = tried.pop(0)
        started, worth = time.monotonic(), dict.fromkeys(names, 0.0)
        for regime in everywhere:
            found, losses = measure(rows, regime, names, explain=bool(pending) and not tried)
            base.setdefault(regime[0], found)
            pair = np.concatenate([found["sums"], base[regime[0]]["sums"]], axis=1)
            gain = score_interval(
                lambda s: _f1(s[..., :3]) - _f1(s[..., 3:]), pair, np.arange(len(pair))
            )
            for n, loss in losses.items():
                worth[n] += loss / found["average_precision"] / len(everywhere)
            table.append(
                {
                    "regime": regime[0],
                    "features": len(names),
                    "f1": found["f1"],
                    "average_precision": found["average_precision"],
                    "gain": gain.value,
                    "gain_low": gain.low,
                    "gain_high": gain.high,
                    "blocks": len(pair),
                }
            )
            print(json.dumps(table[-1]), flush=True)
        print(f"{len(names)} features: {time.monotonic() - started:.0f} s", flush=True)
        if pending and not tried:
            tried.append(shrink(rows, worth, pending.pop(0)))
            print(" ".join(tried[-1]), flush=True)
    return {"rows": len(rows.reference), "table": table, "kept": sorted(names)}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rgb", type=Path, help="true-colour training tiles")
    parser.add_argument("--bands14", type=Path, help="tiles with all bands")
    parser.add_argument("--work", type=Path, default=Path("runs/choices"))
    parser.add_argument("--out", type=Path, help="JSON file for the tables")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--keep", type=Path, help="text file with names: score these, choose none")
    asked = parser.parse_args()
    kept = asked.keep.read_text().split() if asked.keep else None
    told: dict[str, Any] = {}
    if asked.bands14 is not None:
        overrides = ["scenes.folds=4", "scenes.block_tiles=3", "features.sample_pixels=60000"]
        rows = load(asked.work / "bands14", "default", asked.bands14, overrides)
        told["14 bands"] = eliminate(rows, "14 bands", asked.sizes, kept)
    if asked.rgb is not None:
        overrides = ["features.sample_pixels=520000"]
        rows = load(asked.work / "rgb", "l4s-rgb", asked.rgb, overrides)
        told["true colour"] = eliminate(rows, "true colour", asked.sizes, kept)
    if asked.out is not None:
        write_json(asked.out, told)
    print(json.dumps({name: part["table"][-1]["f1"] for name, part in told.items()}))


if __name__ == "__main__":
    main()
