"""The pixel classifier alone on real tiles: seen place, unseen scene, all 14 bands.

    python -m benchmarks.pixel_scores --rgb L4S_RGB_FOLDER --bands14 L4S_FOLDER
        [--work runs/pixel-scores] [--against OTHER_WORK] [--only holdout,scene2,bands14]
        [--set section.key=value]

* ``out of fold``: true colour, spatial folds, its own best threshold.
* ``holdout``: columns 24-30 of scene 1, threshold chosen out of fold.
* ``scene 2``: fitted on scene 1, scored on scene 2, threshold chosen out of fold on scene 1.
* ``14 bands``: leave-block-out over the pairs with all bands, its own best threshold.

Beside each F1 stands the one at the best threshold of the scored tiles, which needs their masks.
``--against`` names the work folder of another version or other settings: then every line also
has the paired gain over it. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from l4s_ensemble.metrics.bootstrap import f1_gain_interval
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.metrics.tiles import TileHistograms, summarise
from l4s_ensemble.pipeline import Run, open_run
from l4s_ensemble.run.execute import Executor
from l4s_ensemble.run.log import start_logging
from l4s_ensemble.run.scores import open_scores
from l4s_ensemble.scenes.folds import load_folds
from l4s_ensemble.stages import predict_stages

SCENE_2 = "data.holdout={scene: 2, columns: [0, 99]}"


@dataclass(frozen=True)
class World:
    """One fit: preset, overrides, and what its two score lines are called."""

    preset: str
    overrides: tuple[str, ...]
    inside: str
    outside: str | None


WORLDS = {
    "holdout": World("l4s-rgb", (), "out of fold", "holdout"),
    "scene2": World("l4s-rgb", (SCENE_2,), "out of fold, scene 1", "scene 2"),
    "bands14": World("default", ("scenes.folds=4", "scenes.block_tiles=3"), "14 bands", None),
}


def score(run: Run, world: World) -> dict[str, dict[str, Any]]:
    """Fit until the pixel classifier and score; keep the histograms in the run folder."""
    run.fit(until=("pixel",))
    folds = load_folds(run.folder / "scenes")
    tiles = TileHistograms.load(run.folder / "pixel" / "tiles.npz")
    inside = summarise(tiles, folds.of(tiles.patch, "block"))
    tiles.save(run.folder / f"{world.inside}.npz")
    seconds = run.summary("pixel")["seconds"]
    rows = {world.inside: {**inside, "seconds": seconds}}
    if world.outside is not None:
        stages = predict_stages(run.config, run.data_root, "holdout")[:2]
        Executor(run.folder, run.config, jobs=run.jobs).execute(stages)
        tiles = _histograms(run)
        tiles.save(run.folder / f"{world.outside}.npz")
        block = folds.of(tiles.patch, "block")
        rows[world.outside] = summarise(tiles, block, threshold=inside["threshold"])
    return rows


def _histograms(run: Run) -> TileHistograms:
    from l4s_ensemble.data.store import open_store

    scores = open_scores(run.folder / "predict" / "holdout" / "pixel" / "logit.zarr")
    data = open_store(run.folder / "data" / "train" / "patches.zarr")
    known = {int(p): i for i, p in enumerate(data["patch"].values)}
    ids = scores["patch"].values
    tiles = TileHistograms.empty(ids, 1000)
    for i, patch in enumerate(ids):
        logit = scores["logit"][:, i].values
        tiles.add(i, sigmoid(logit).mean(axis=0), data["mask"][known[int(patch)]].values)
    return tiles


def gain(here: Path, there: Path, name: str, row: dict[str, Any], other: dict[str, Any]) -> str:
    """Paired gain of one line over the same line of another work folder, as words."""
    block = load_folds(here / "scenes")
    words = []
    for key in ("threshold", "threshold_best"):
        a, b = (TileHistograms.load(folder / f"{name}.npz") for folder in (here, there))
        if not np.array_equal(a.patch, b.patch):
            return "other tiles"
        found = f1_gain_interval(
            a.counts(row[key]), b.counts(other[key]), block.of(a.patch, "block")
        )
        low, high = found.low or float("nan"), found.high or float("nan")
        words.append(f"{found.value:+.3f} [{low:+.3f}, {high:+.3f}]")
    return " best: ".join(words)


def main() -> None:
    """Fit, score, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rgb", type=Path)
    parser.add_argument("--bands14", type=Path)
    parser.add_argument("--work", type=Path, default=Path("runs/pixel-scores"))
    parser.add_argument("--against", type=Path)
    parser.add_argument("--only", default="holdout,scene2,bands14")
    parser.add_argument("--set", action="append", default=[], help="section.key=value")
    words = parser.parse_args()
    start_logging(logging.INFO)
    told: dict[str, dict[str, Any]] = {}
    print("| tiles | F1 | 95 % interval | at the best threshold | average precision | gain |")
    print("|---|--:|--:|--:|--:|--:|")
    for name in words.only.split(","):
        world = WORLDS[name]
        data = words.bands14 if name == "bands14" else words.rgb
        if data is None:
            continue
        folder = words.work / name
        run = open_run(
            folder, source=world.preset, overrides=[*world.overrides, *words.set], data=data
        )
        rows = score(run, world)
        (folder / "rows.json").write_text(json.dumps(rows))
        for line, row in rows.items():
            compared = ""
            if words.against is not None:
                there = words.against / name
                other = json.loads((there / "rows.json").read_text())
                compared = gain(folder, there, line, row, other[line])
            low, high = row["f1_low"], row["f1_high"]
            width = "" if low is None else f"{low:.3f}–{high:.3f}"
            print(
                f"| {line} | {row['f1']:.3f} | {width} | {row['f1_best']:.3f} "
                f"| {row['average_precision']:.3f} | {compared} |",
                flush=True,
            )
            told[line] = {
                k: row[k] for k in ("f1", "f1_low", "f1_high", "f1_best", "average_precision")
            } | {"seconds": row.get("seconds")}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
