"""Which real tiles are told to be unlike all of training: another part of a scene, another scene.

    python -m benchmarks.likeness --data L4S_RGB_FOLDER [--run FOLDER] [--work runs/likeness]

No model is fitted and no mask is looked at. Columns 24 to 30 of scene 1 are held against all other
tiles, and scene 2 against scene 1. With ``--run`` the holdout scores of that run are told for
tiles alike and unlike. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np

from l4s_ensemble.data.store import open_store, positions_of, sensor_of
from l4s_ensemble.pipeline import load_run, open_run
from l4s_ensemble.run.log import start_logging
from l4s_ensemble.scenes.folds import load_folds
from l4s_ensemble.scenes.likeness import describe, load_likeness

HELD = {
    "columns 24-30 of scene 1": {"scene": 1, "columns": [24, 30]},
    "scene 2": {"scene": 2, "columns": [0, 99]},
}


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--work", type=Path, default=Path("runs/likeness"))
    words = parser.parse_args()
    start_logging(logging.WARNING)
    rows = [measured(words.data, words.work, name, where) for name, where in HELD.items()]
    print("| held out | tiles | unlike all of training | median distance | unlike, of folds |")
    print("|---|--:|--:|--:|--:|")
    for row in rows:
        print(
            f"| {row['held']} | {row['tiles']} | {row['unlike']:.1%} | {row['median']:.2f} "
            f"| {row['unlike_of_folds']:.1%} |"
        )
    scores = [] if words.run is None else load_run(words.run).evaluate("holdout")["likeness"]
    for row in scores:
        each = ", ".join(f"{m} {row[m]['value']:.3f}" for m in ("pixel", "unet", "stack"))
        print(f"{'like' if row['like'] else 'unlike'} training, {row['tiles']} tiles: {each}")
    print(json.dumps({"held": rows, "scores": scores}))


def measured(data: Path, work: Path, name: str, where: dict[str, Any]) -> dict[str, Any]:
    """Hold some tiles out, and measure them against the others."""
    folder = work / name.replace(" ", "-")
    run = open_run(folder, source="l4s-rgb", overrides=[f"data.holdout={json.dumps(where)}"],
                   data=data)  # fmt: skip
    run.fit(until=("scenes",))
    held, folds = load_likeness(folder / "scenes"), load_folds(folder / "scenes")
    if held is None:
        raise SystemExit(f"{folder} is of an earlier version: delete it")
    store = open_store(folder / "data/train")
    asked = store.isel(patch=positions_of(store, folds.holdout_ids))
    distance = held.distance(describe(asked, sensor_of(store))[1])
    return {
        "held": name,
        "tiles": len(distance),
        "limit": held.limit,
        "unlike": float((distance > held.limit).mean()),
        "median": float(np.median(distance)),
        "unlike_of_folds": float((held.held_out > held.limit).mean()),
    }


if __name__ == "__main__":
    main()
