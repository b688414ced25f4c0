"""The README's real-tile numbers: fit the preset ``l4s-rgb``, score its holdout, print the tables.

    python -m benchmarks.holdout --data L4S_RGB_FOLDER [--run runs/l4s-rgb] [--out FILE]

The folder holds the training tiles as true colour; ``benchmarks/rgb_tiles.py`` makes it of the
official release. What the run folder holds already is not done again. ``--out`` writes all that is
printed, and the scores out of fold, as JSON. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.metrics.bootstrap import f1_gain_interval, f1_interval
from l4s_ensemble.metrics.counts import Counts
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.pipeline import Run, open_run
from l4s_ensemble.run.execute import read_manifest
from l4s_ensemble.run.files import write_json
from l4s_ensemble.run.log import start_logging
from l4s_ensemble.scenes.folds import load_folds

STAGES = ("data/train", "scenes", "features", "pixel", "unet", "stack")
PREDICTION = tuple(f"predict/holdout/{name}" for name in ("pixel", "unet", "result"))

BARE_ROWS = 12
"""Rows of the holdout, from the top, that are high bare ground."""

KEPT = (
    "model", "f1", "f1_low", "f1_high", "precision", "recall", "iou", "average_precision",
    "threshold", "f1_best", "threshold_best",
)  # fmt: skip


def main() -> None:
    """Fit, score, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, default=Path("runs/l4s-rgb"))
    parser.add_argument("--set", action="append", default=[], help="section.key=value")
    parser.add_argument("--out", type=Path)
    words = parser.parse_args()
    start_logging(logging.INFO)
    run = open_run(words.run, source="l4s-rgb", overrides=words.set, data=words.data)
    run.fit()
    scores = run.evaluate("holdout")
    print("| model | F1 | 95 % interval | precision | recall | average precision | F1 of slides |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for row in scores["ledger"]:
        slides = row.get("objects")
        print(
            f"| {row['model']} | {row['f1']:.3f} | {row['f1_low']:.3f}–{row['f1_high']:.3f} "
            f"| {row['precision']:.3f} | {row['recall']:.3f} | {row['average_precision']:.3f} "
            f"| {'' if slides is None else format(slides['f1'], '.3f')} |"
        )
    places = areas(run, {row["model"]: row["threshold"] for row in scores["ledger"]})
    show_parts(places, "stack")
    print()
    costs = [_cost(run, stage) for stage in (*STAGES, *PREDICTION)]
    print("| stage | seconds | peak memory, MiB |")
    print("|---|--:|--:|")
    for stage, seconds, memory in costs:
        print(f"| {stage} | {seconds:.0f} | {memory:.0f} |")
    if words.out is not None:
        write_json(words.out, {
            "command": "python -m benchmarks.holdout",
            "holdout": _told(scores) | {"areas": places, "likeness": scores["likeness"]},
            "out of fold": _told(run.summary("stack")),
            "seconds": {stage: seconds for stage, seconds, _ in costs},
        })  # fmt: skip
    print(
        json.dumps(
            {
                "f1": {row["model"]: round(row["f1"], 4) for row in scores["ledger"]},
                "gain": scores["gain"],
                "seconds": round(sum(cost[1] for cost in costs), 1),
            }
        )
    )


def areas(run: Run, thresholds: dict[str, float]) -> dict[str, Any]:
    """Score all of the holdout, its high bare ground, and the rest: each model, and the gains.

    The split was made after scores had been seen: it explains, it claims nothing.
    """
    folder = run.folder / "predict/holdout/scores"
    tiles = {
        m: TileHistograms.load(folder / f"tiles_{m.replace(' ', '_')}.npz") for m in thresholds
    }
    folds = load_folds(run.folder / "scenes")
    row, block = (folds.of(tiles["stack"].patch, name) for name in ("row", "block"))
    return in_parts(
        row, block, "stack",
        lambda own: {m: tiles[m].subset(own).counts(thresholds[m]) for m in thresholds},
    )  # fmt: skip


def in_parts(
    row: NDArray[Any],
    block: NDArray[Any],
    first: str,
    counts_of: Callable[[NDArray[np.bool_]], dict[str, Counts]],
) -> dict[str, Any]:
    """Score the parts of the holdout: F1 of each model, and the gains of the `first` of them.

    Parameters
    ----------
    row, block : int array, shape (tile,)
    first : str
    counts_of : callable
        Counts of each model on the tiles chosen.
    """
    told: dict[str, Any] = {}
    for name, own in parts_of(row).items():
        if not own.any():
            continue
        counts = counts_of(own)
        f1 = {m: f1_interval(c, block[own]) for m, c in counts.items()}
        over = {
            m: f1_gain_interval(counts[first], c, block[own])
            for m, c in counts.items() if m != first
        }  # fmt: skip
        told[name] = {
            "tiles": int(own.sum()),
            "f1": {m: [v.value, v.low, v.high] for m, v in f1.items()},
            f"{first} over": {m: [v.value, v.low, v.high] for m, v in over.items()},
        }
    return told


def show_parts(parts: dict[str, Any], first: str) -> None:
    """Print what `in_parts` found."""
    for name, told in parts.items():
        each = ", ".join(f"{m} {_span(v)}" for m, v in told["f1"].items())
        print(f"\n{name}, {told['tiles']} tiles: {each}")
        for model, value in told[f"{first} over"].items():
            print(f"  {first} over {model}: {_span(value, '+.3f')}")


def parts_of(row: NDArray[Any]) -> dict[str, NDArray[np.bool_]]:
    """Which tiles of the holdout, of the rows given, are in each of its parts."""
    return {
        "all": row >= 0,
        f"rows 0 to {BARE_ROWS - 1}": row < BARE_ROWS,
        "the rest": row >= BARE_ROWS,
    }


def _told(summary: dict[str, Any]) -> dict[str, Any]:
    rows = [
        {k: row[k] for k in KEPT if k in row}
        | ({"f1_of_slides": row["objects"]["f1"]} if row.get("objects") else {})
        for row in summary["ledger"]
    ]
    return {"ledger": rows, "gain": summary["gain"], "marginal": summary["marginal"]}


def _span(value: list[float], form: str = ".3f") -> str:
    found, low, high = (format(v, form) for v in value)
    return f"{found} [{low}, {high}]"


def _cost(run: Run, stage: str) -> tuple[str, float, float]:
    told = read_manifest(run.folder / stage)
    return stage, told["seconds"], max(told["peak_memory_mb"], told["peak_worker_memory_mb"])


if __name__ == "__main__":
    main()
