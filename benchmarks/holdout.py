"""The README's real-tile numbers: fit the preset ``l4s-rgb``, score its holdout, print the tables.

    python -m benchmarks.holdout --data L4S_RGB_FOLDER [--run runs/l4s-rgb]

The folder holds the training tiles as true colour; ``benchmarks/rgb_tiles.py`` makes it of the
official release. What the run folder holds already is not done again. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path

from l4s_ensemble.pipeline import Run, open_run
from l4s_ensemble.run.execute import read_manifest
from l4s_ensemble.run.log import start_logging

STAGES = ("data/train", "scenes", "features", "pixel", "unet", "stack")
PREDICTION = tuple(f"predict/holdout/{name}" for name in ("pixel", "unet", "result"))


def main() -> None:
    """Fit, score, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, default=Path("runs/l4s-rgb"))
    parser.add_argument("--set", action="append", default=[], help="section.key=value")
    words = parser.parse_args()
    start_logging(logging.INFO)
    run = open_run(words.run, source="l4s-rgb", overrides=words.set, data=words.data)
    run.fit()
    scores = run.evaluate("holdout")
    print("| model | F1 | 95 % interval | precision | recall | average precision |")
    print("|---|--:|--:|--:|--:|--:|")
    for row in scores["ledger"]:
        print(
            f"| {row['model']} | {row['f1']:.3f} | {row['f1_low']:.3f}–{row['f1_high']:.3f} "
            f"| {row['precision']:.3f} | {row['recall']:.3f} | {row['average_precision']:.3f} |"
        )
    gain = scores["gain"]
    print(
        f"\nstack over {gain['over']}: {gain['value']:+.3f} "
        f"[{gain['low']:+.3f}, {gain['high']:+.3f}], {gain['blocks']} blocks\n"
    )
    costs = [_cost(run, stage) for stage in (*STAGES, *PREDICTION)]
    print("| stage | seconds | peak memory, MiB |")
    print("|---|--:|--:|")
    for stage, seconds, memory in costs:
        print(f"| {stage} | {seconds:.0f} | {memory:.0f} |")
    print(
        json.dumps(
            {
                "f1": {row["model"]: round(row["f1"], 4) for row in scores["ledger"]},
                "gain": gain,
                "seconds": round(sum(cost[1] for cost in costs), 1),
            }
        )
    )


def _cost(run: Run, stage: str) -> tuple[str, float, float]:
    told = read_manifest(run.folder / stage)
    return stage, told["seconds"], max(told["peak_memory_mb"], told["peak_worker_memory_mb"])


if __name__ == "__main__":
    main()
