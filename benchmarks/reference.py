"""Reference values of a commit: what every model scores, and what each stage costs.

    python -m benchmarks.reference --real FOLDER --work DIR --out FILE [--quick] [--only PART ...]
        [--patches FOLDER] [--against FILE]

`FOLDER` holds ``l4s-14band`` and ``l4s-rgb``. The parts:

* ``demo``: the preset ``demo`` on synthetic patches; out of fold, and on their valid split.
  ``--patches`` names patches that an earlier commit made, so that models are compared on the same.
* ``bands14``: the preset ``demo`` on the 17 real pairs of 14 bands, ``BANDS14`` settings; out of
  fold.
* ``rgb``: the preset ``l4s-rgb`` with ``QUICK`` settings; out of fold. The holdout is not read.
* ``transfer``: scene 1 without columns 24-30 to scene 2, ``QUICK`` settings, thresholds carried.
* ``full`` (not with ``--quick``): the preset as it is; out of fold, and on the holdout:
  the README's table, and the stack's paired gains on all of it, on its bare ground, on the rest.

Finished stages of the work folder are not run again. ``--against`` prints the paired difference to
another result, resampling spatial blocks.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.metrics.bootstrap import f1_gain_interval, f1_interval
from l4s_ensemble.metrics.counts import Counts
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.pipeline import Run, open_run
from l4s_ensemble.run.files import read_json, write_text
from l4s_ensemble.run.log import start_logging
from l4s_ensemble.scenes.folds import load_folds

MODELS = ("pixel", "unet", "mean", "stack")
QUICK = ("scenes.folds=2", "unet.epochs=6")
BANDS14 = ("scenes.block_tiles=1", "unet.epochs=60")
HELD_OUT_COLUMNS = (24, 30)
SCENE_1_COLUMNS, SCENE_1_TILES = 41, 3034
SCENE_2 = (3035, 3184)
BARE_ROWS = 12
"""Rows of the holdout, from the top, that are high bare ground. The split was made after scores had
been seen: it explains, it claims nothing."""


def main() -> None:
    """Measure the parts asked for, write them, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--real", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--patches", type=Path, help="synthetic patches that are there already")
    parser.add_argument("--against", type=Path, help="result of another commit")
    asked = parser.parse_args()
    start_logging()
    result: dict[str, Any] = json.loads(asked.out.read_text()) if asked.out.is_file() else {}
    for name in asked.only:
        if name == "full" and asked.quick:
            continue
        found = PARTS[name](asked)
        result[name] = {"commit": _commit(), "machine": platform.machine(), **found}
        write_text(asked.out, json.dumps(result, separators=(",", ":")) + "\n")
        _show(name, found)
    if asked.against is not None:
        compare(result, json.loads(asked.against.read_text()))


def demo(asked: argparse.Namespace) -> dict[str, Any]:
    """Synthetic patches, preset ``demo``."""
    patches = asked.patches or asked.work / "synthetic"
    if not patches.is_dir():
        from l4s_ensemble.sources.synth import make_dataset

        make_dataset(patches, seed=0, jobs=os.cpu_count() or 1)
    run = _fitted(asked.work / "demo", "demo", patches)
    return {"out_of_fold": out_of_fold(run), "valid": predicted(run, "valid"), "cost": cost(run)}


def bands14(asked: argparse.Namespace) -> dict[str, Any]:
    """17 real pairs of 14 bands, preset ``demo`` made for few tiles."""
    run = _fitted(asked.work / "bands14", "demo", asked.real / "l4s-14band", BANDS14)
    return {"out_of_fold": out_of_fold(run), "cost": cost(run)}


def rgb(asked: argparse.Namespace) -> dict[str, Any]:
    """True-colour tiles with quick settings, out of fold."""
    run = _fitted(asked.work / "rgb", "l4s-rgb", asked.real / "l4s-rgb", QUICK)
    return {"out_of_fold": out_of_fold(run), "cost": cost(run)}


def transfer(asked: argparse.Namespace) -> dict[str, Any]:
    """Scene 1 without the columns held out, to scene 2."""
    data = asked.work / "scenes-1-and-2"
    _link_tiles(asked.real / "l4s-rgb", data)
    first, last = SCENE_2
    holdout = json.dumps({"ids": [n for n in range(first, last + 1) if _tile(data, n).exists()]})
    run = _fitted(asked.work / "transfer", "l4s-rgb", data, (*QUICK, f"data.holdout={holdout}"))
    return {
        "out_of_fold": out_of_fold(run),
        "scene_2": predicted(run, "holdout"),
        "cost": cost(run),
    }


def full(asked: argparse.Namespace) -> dict[str, Any]:
    """The preset ``l4s-rgb`` as it is, and its holdout."""
    run = _fitted(asked.work / "full", "l4s-rgb", asked.real / "l4s-rgb")
    held_out = predicted(run, "holdout")
    patch = np.array(held_out["patch"])
    row = load_folds(run.folder / "scenes").of(patch, "row")
    print("| model | F1 | 95 % interval | precision | recall | average precision | landslides |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for name, one in held_out["models"].items():
        print(
            f"| {name} | {one['f1']:.3f} | {one['low']:.3f}–{one['high']:.3f} "
            f"| {one['precision']:.3f} | {one['recall']:.3f} | {one['average_precision']:.3f} "
            f"| {'' if one['landslides'] is None else format(one['landslides'], '.3f')} |"
        )
    for part, own in (
        ("all tiles", row >= 0),
        (f"rows 0 to {BARE_ROWS - 1}", row < BARE_ROWS),
        ("the rest", row >= BARE_ROWS),
    ):
        _show_gains(part, held_out, own)
    return {"out_of_fold": out_of_fold(run), "holdout": held_out, "cost": cost(run)}


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "demo": demo,
    "bands14": bands14,
    "rgb": rgb,
    "transfer": transfer,
    "full": full,
}


def out_of_fold(run: Run) -> dict[str, Any]:
    """Scores of all models on the training tiles."""
    return scores(run, run.folder / "stack", run.summary("stack")["comparison"])


def predicted(run: Run, split: str) -> dict[str, Any]:
    """Scores of all models on a split, at the thresholds chosen out of fold."""
    table = run.evaluate(split)["comparison"]
    return scores(run, run.folder / f"predict/{split}/scores", table)


def scores(run: Run, folder: Path, table: list[dict[str, Any]]) -> dict[str, Any]:
    """F1, its interval, threshold and average precision of each model, and the counts of tiles.

    Counts are TP, FP, FN of each tile one after the other, for paired comparisons.
    """
    rows = {row["model"]: row for row in table}
    threshold = {model: row["threshold"] for model, row in rows.items()}
    tiles = {m: TileHistograms.load(folder / f"tiles_{m}.npz") for m in MODELS}
    patch = tiles["stack"].patch
    block = _blocks(run, patch)
    models = {}
    for name, one in tiles.items():
        counts = one.counts(threshold[name])
        f1 = f1_interval(counts, block)
        models[name] = {
            "f1": f1.value,
            "low": f1.low,
            "high": f1.high,
            "precision": rows[name]["precision"],
            "recall": rows[name]["recall"],
            "landslides": (rows[name].get("objects") or {}).get("f1"),
            "threshold": threshold[name],
            "average_precision": one.pooled().average_precision(),
            "counts": np.stack([counts.tp, counts.fp, counts.fn], axis=1).ravel().tolist(),
        }
    return {"patch": patch.tolist(), "block": block.tolist(), "models": models}


def cost(run: Run) -> list[dict[str, Any]]:
    """Seconds and peak memory of each stage that has run; of a prediction, seconds a tile too."""
    rows = []
    for file in sorted(run.folder.glob("**/manifest.json")):
        stage = file.parent.relative_to(run.folder).as_posix()
        if stage.startswith("."):
            continue
        told = read_json(file)
        row = {
            "stage": stage,
            "seconds": round(told["seconds"], 2),
            "peak_memory_mb": max(told["peak_memory_mb"], told["peak_worker_memory_mb"]),
        }
        if stage.startswith("predict/"):
            masks = file.parents[1] / "result" / "masks"
            row["seconds_per_tile"] = round(told["seconds"] / len(list(masks.glob("*.h5"))), 4)
        rows.append(row)
    return rows


def compare(new: dict[str, Any], old: dict[str, Any]) -> None:
    """Print the paired gain of each model over the other result, and the ratio of seconds."""
    print("\n| part | model | before | now | gain | interval | AP before | now |")
    print("|---|---|--:|--:|--:|--:|--:|--:|")
    for part in PARTS:
        a, b = new.get(part, {}), old.get(part, {})
        for where in sorted({*a, *b} - {"cost", "commit", "machine"}):
            if where not in a or where not in b or a[where]["patch"] != b[where]["patch"]:
                print(f"| {part}, {where} | not of the same tiles |")
                continue
            block = np.array(a[where]["block"])
            for model in MODELS:
                one, other = a[where]["models"][model], b[where]["models"][model]
                gain = f1_gain_interval(_counts(one), _counts(other), block)
                span = "" if gain.low is None else f"{gain.low:+.4f} to {gain.high:+.4f}"
                print(
                    f"| {part}, {where} | {model} | {other['f1']:.4f} | {one['f1']:.4f} "
                    f"| {gain.value:+.4f} | {span} "
                    f"| {other['average_precision']:.3f} | {one['average_precision']:.3f} |"
                )
    print("\n| part | stage | seconds before | now | MiB before | now |")
    print("|---|---|--:|--:|--:|--:|")
    for part in PARTS:
        before = {row["stage"]: row for row in old.get(part, {}).get("cost", [])}
        for row in new.get(part, {}).get("cost", []):
            was = before.get(row["stage"])
            if was is not None and max(was["seconds"], row["seconds"]) >= 2:
                print(
                    f"| {part} | {row['stage']} | {was['seconds']:.1f} | {row['seconds']:.1f} "
                    f"| {was['peak_memory_mb']:.0f} | {row['peak_memory_mb']:.0f} |"
                )


def _fitted(folder: Path, preset: str, data: Path, overrides: Iterable[str] = ()) -> Run:
    run = open_run(folder, source=preset, overrides=list(overrides), data=data)
    run.fit()
    return run


def _blocks(run: Run, patch: NDArray[np.int64]) -> NDArray[np.int64]:
    """Spatial blocks; tiles of a split without places are a block each."""
    folds = load_folds(run.folder / "scenes")
    if set(patch.tolist()) <= set(folds.patch.tolist()):
        return folds.of(patch, "block").astype(np.int64)
    return np.arange(len(patch))


def _link_tiles(source: Path, out: Path) -> None:
    """Make a folder of links to the tiles of scenes 1 and 2, without the columns held out."""
    for kind, stem in (("img", "image"), ("mask", "mask")):
        folder = out / "TrainData" / kind
        folder.mkdir(parents=True, exist_ok=True)
        for file in (source / "TrainData" / kind).glob(f"{stem}_*.h5"):
            number = int(file.stem.split("_")[1])
            column = (number - 1) % SCENE_1_COLUMNS
            held = HELD_OUT_COLUMNS[0] <= column <= HELD_OUT_COLUMNS[1]
            if (number > SCENE_1_TILES or not held) and not (folder / file.name).exists():
                (folder / file.name).symlink_to(file.resolve())


def _tile(data: Path, number: int) -> Path:
    return data / "TrainData" / "img" / f"image_{number}.h5"


def _counts(model: dict[str, Any], own: NDArray[np.bool_] | slice = slice(None)) -> Counts:
    tp, fp, fn = np.array(model["counts"], np.int64).reshape(-1, 3)[own].T
    return Counts(tp, fp, fn, np.zeros_like(tp))


def _show_gains(part: str, scored: dict[str, Any], own: NDArray[np.bool_]) -> None:
    """Print F1 of each model on some tiles, and the stack's paired gain over each."""
    block = np.array(scored["block"])[own]
    counts = {name: _counts(one, own) for name, one in scored["models"].items()}
    print(f"\n{part}, {int(own.sum())} tiles")
    for name, one in counts.items():
        f1, gain = f1_interval(one, block), f1_gain_interval(counts["stack"], one, block)
        print(
            f"  {name} {f1.value:.3f} [{f1.low:.3f}, {f1.high:.3f}], stack over it "
            f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
        )


def _commit() -> str:
    words = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()


def _show(part: str, found: dict[str, Any]) -> None:
    for where, value in found.items():
        if where != "cost":
            for name, row in value["models"].items():
                print(
                    f"{part}, {where}: {name} F1 {row['f1']:.4f} at {row['threshold']:.3f}, "
                    f"average precision {row['average_precision']:.4f}"
                )
    seconds = sum(row["seconds"] for row in found["cost"])
    print(f"{part}: {seconds:.0f} s in stages")


if __name__ == "__main__":
    main()
