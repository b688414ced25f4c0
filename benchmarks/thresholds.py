"""F1 at the carried-over, the followed and the best threshold, from one labelled scene to another.

``python -m benchmarks.thresholds --transfer NAME FROM TO`` (repeatable) reads score files: FROM
holds the out-of-fold scores of the scenes a model was fitted on, TO its scores of a scene it never
saw. Each is a ``tiles.npz`` that a run wrote (`TileHistograms`). ``--run DIR`` adds what one run
says of itself: each scene in turn, or each fold, out-of-fold. Masks choose nothing in TO.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.run.files import write_json
from l4s_ensemble.scenes.folds import load_folds
from l4s_ensemble.stack.decision import follow_shown, prevalence
from l4s_ensemble.stack.decision.follow import METHODS

MODELS = ("pixel", "unet", "mean", "stack")


def transfer(source: TileHistograms, target: TileHistograms) -> list[dict[str, Any]]:
    """A row a method: F1 at the carried-over, followed and best threshold, and why.

    ``f1_unguarded, threshold_unguarded``: where the method is believed in any case.
    """
    out = []
    for method in METHODS:
        free = follow_shown.judged(source, target, method, guarded=False)[0]
        out.append(
            {
                **follow_shown.judged(source, target, method)[0],
                "f1_unguarded": free["f1_followed"],
                "threshold_unguarded": free["threshold"],
            }
        )
    return out


def within(run: Path, model: str, seed: int = 0) -> tuple[str, list[dict[str, Any]]]:
    """What is left out in turn in a run, and a row a method with its paired gain."""
    tiles = TileHistograms.load(run / "stack" / f"tiles_{model}.npz")
    folds = load_folds(run / "scenes")
    pixels = (tiles.positive + tiles.negative).sum(axis=1)
    scene, fold, block = (folds.of(tiles.patch, n) for n in ("scene", "fold", "block"))
    place, kind = follow_shown.places(scene, fold, pixels)
    return kind, follow_shown.compare(tiles, place, block, seed=seed)


def sensitivity(tiles: TileHistograms) -> list[dict[str, Any]]:
    """What the best threshold loses at half and at double the prevalence."""
    pooled = tiles.pooled()
    return prevalence.rows(pooled, pooled.best().value)


def main() -> None:
    """Read, follow, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--transfer", nargs=3, action="append", default=[],
                        metavar=("NAME", "FROM", "TO"))  # fmt: skip
    parser.add_argument("--without", type=Path, help="folds of a run whose holdout leaves FROM")
    parser.add_argument("--run", type=Path, action="append", default=[])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    words = parser.parse_args()
    told: dict[str, Any] = {"transfers": {}, "within": {}}
    for name, source_file, target_file in words.transfer:
        source, target = (TileHistograms.load(Path(f)) for f in (source_file, target_file))
        if words.without is not None:
            folds = load_folds(words.without)
            aside = folds.patch[folds.role == "holdout"]
            keep = ~np.isin(source.patch, aside[~np.isin(aside, target.patch)])
            source = source.subset(keep)
        rows = transfer(source, target)
        told["transfers"][name] = {"rows": rows, "prevalence": sensitivity(source)}
        print(f"\n{name}: {len(source.patch)} tiles to {len(target.patch)}\n")
        print("| method | threshold | F1 | gain | without guards | distance | kept because |")
        print("|---|--:|--:|--:|--:|--:|---|")
        first = rows[0]
        print(f"| carried over | {first['carried']:.3f} | {first['f1_carried']:.4f} | | | | |")
        for r in rows:
            gain = r["f1_followed"] - r["f1_carried"]
            free = f"{r['f1_unguarded'] - r['f1_carried']:+.4f} at {r['threshold_unguarded']:.3f}"
            print(
                f"| {r['method']} | {r['threshold']:.3f} | {r['f1_followed']:.4f} | {gain:+.4f} | "
                f"{free} | {r['distance']:.3f} | {r['kept_because'] or ''} |"
            )
        print(f"| best there | {first['threshold_best']:.3f} | {first['f1_best']:.4f} | | | | |")
    for run in words.run:
        for model in MODELS:
            kind, table = within(run, model, words.seed)
            told["within"][f"{run.name} {model}"] = {"kind": kind, "rows": table}
            print(f"\n{run.name}, {model}: each {kind} in turn\n")
            print("| method | F1 | carried over | gain | interval | shown |")
            print("|---|--:|--:|--:|--:|---|")
            for r in table:
                low, high = (
                    "" if r[k] is None else f"{r[k]:+.4f}" for k in ("low", "high")
                )  # fmt: skip
                print(
                    f"| {r['method']} | {r['f1']:.4f} | {r['f1_carried']:.4f} | {r['gain']:+.4f} | "
                    f"{low} to {high} | {'yes' if r['shown'] else 'no'} |"
                )
    if words.out is not None:
        write_json(words.out, told)
    print(json.dumps({n: {r["method"]: r["f1_followed"] for r in t["rows"]}
                      for n, t in told["transfers"].items()}))  # fmt: skip


if __name__ == "__main__":
    main()
