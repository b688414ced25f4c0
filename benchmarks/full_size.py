"""A full Landslide4Sense: seconds and memory of each stage, and how long ``fit-all`` would take.

    python -m benchmarks.full_size [--work runs/full-size] [--train 3799] [--valid 245]
        [--test 800] [--config default] [--epochs 2] [--small 160] [--jobs 2]

Patches are made up, in the true layout and number. Measured, each stage in a process of its own:

* ``features``, with the stages of the data and the scenes before it, whole;
* the pixel classifier: its rows and its first folds (as many as are fitted side by side), then it
  is stopped;
* the U-Net: its first fold with a few epochs, then it is stopped; an epoch always takes the same;
* ``fit-all`` on a few tiles, for the two stages below and for the scoring out of fold and the
  stack, which grow with the number of tiles;
* ``predict`` of both splits with those models: they have as many trees, folds and weights as models
  of all tiles.

Seconds are those of the wall, memory is the largest sum over all processes of a command, sampled
twice a second. What has been measured is kept in the work folder. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from l4s_ensemble.config import Config, load
from l4s_ensemble.run.files import read_json, write_json

POLL_S = 0.5


class Bench:
    """The work folder, and what was measured in it.

    Parameters
    ----------
    asked : argparse.Namespace
        Words of the command line.
    """

    def __init__(self, asked: argparse.Namespace) -> None:
        self.asked, self.work = asked, Path(asked.work)
        self.work.mkdir(parents=True, exist_ok=True)
        self.note = self.work / "measured.json"
        self.found: dict[str, Any] = read_json(self.note) if self.note.is_file() else {}

    def measure(
        self, name: str, words: list[str], until: Callable[[], bool] | None = None
    ) -> dict[str, Any]:
        """Run a command, or find that it was run; end it as soon as `until` says so.

        Raises
        ------
        SystemExit
            If the command fails.
        """
        if name not in self.found:
            command = [sys.executable, "-m", "l4s_ensemble", *words]
            began, most = time.monotonic(), 0.0
            with (self.work / f"{name}.log").open("w") as log:
                child = subprocess.Popen(command, stdout=log, stderr=log)
                stopped = False
                while child.poll() is None:
                    most = max(most, memory_mib(child.pid))
                    if until is not None and not stopped and until():
                        stopped = True
                        child.send_signal(signal.SIGTERM)
                    time.sleep(POLL_S)
            if child.returncode != 0 and not stopped:
                raise SystemExit(f"{' '.join(words)} failed, see {self.work / name}.log")
            self.keep(name, {"seconds": time.monotonic() - began, "memory_mib": most})
        told: dict[str, Any] = self.found[name]
        return told

    def keep(self, name: str, told: dict[str, Any]) -> None:
        """Write down what was measured."""
        self.found[name] = told
        write_json(self.note, self.found)


def memory_mib(pid: int) -> float:
    """Resident memory of a process and all below it, MiB; pages they share count each time."""
    total, todo = 0, [pid]
    while todo:
        one = todo.pop()
        try:
            total += int(Path(f"/proc/{one}/statm").read_text().split()[1])
            for task in Path(f"/proc/{one}/task").iterdir():
                todo += [int(c) for c in (task / "children").read_text().split()]
        except (OSError, ValueError):  # it has ended
            continue
    return total * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    """Measure, extrapolate, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", default="runs/full-size")
    parser.add_argument("--train", type=int, default=3799)
    parser.add_argument("--valid", type=int, default=245)
    parser.add_argument("--test", type=int, default=800)
    parser.add_argument("--small", type=int, default=160, help="tiles of the small fit")
    parser.add_argument("--config", default="default")
    parser.add_argument("--epochs", type=int, default=2, help="of the U-Net's fold")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path)
    bench = Bench(parser.parse_args())
    told = {"stages": stages(bench)}
    told["fit_all"] = extrapolated(bench, load(bench.asked.config))
    if bench.asked.out is not None:
        write_json(bench.asked.out, told)
    show(told)


def stages(bench: Bench) -> dict[str, dict[str, Any]]:
    """Run every command."""
    asked, work = bench.asked, bench.work
    sizes = {"train": asked.train, "valid": asked.valid, "test": asked.test}
    data, few = work / "patches", work / "few"
    made = [f"--{k}={v}" for k, v in sizes.items()]
    common = ["--config", asked.config, "--jobs", str(asked.jobs)]
    run, small = ["--run", str(work / "run")], ["--run", str(work / "small")]
    out = {
        "made-up patches": bench.measure(
            "synth", ["data", "synth", str(data), *made, "--jobs", str(asked.jobs)]
        ),
        "features": bench.measure("features", ["features", *common, *run, "--data", str(data)]),
    }
    side = {"folds": min(asked.jobs, load(asked.config).scenes.folds)}
    rows = Watch(work / "run", "pixel", "rows.npz")
    fitted = Watch(work / "run", "pixel", *(f"fold_{k}.txt" for k in range(side["folds"])))
    if "pixel" not in bench.found:
        bench.measure("pixel", ["fit", "pixel", *common, *run, "--data", str(data)], fitted)
        bench.keep("pixel", {**bench.found["pixel"], **side, "rows_s": fitted.after(rows)})
    out["pixel, rows and first folds"] = bench.found["pixel"]
    scored = Watch(work / "run", "unet", "fold_0.oof.npy")
    few_epochs = ["--set", f"unet.epochs={asked.epochs}"]
    if "unet" not in bench.found:
        words = ["fit", "unet", *common, *run, "--data", str(data), *few_epochs]
        bench.measure("unet", words, scored)
        log = read_json(scored.folder() / "fold_0.progress.json")
        each = [e["seconds"] for n in log["networks"] for e in n["epochs"]]
        bench.keep("unet", {**bench.found["unet"], "epoch_s": sorted(each)[len(each) // 2]})
    out["unet, first fold, few epochs"] = bench.found["unet"]
    made = [f"--train={asked.small}", "--valid=0", "--test=0", "--jobs", str(asked.jobs)]
    bench.measure("synth-few", ["data", "synth", str(few), *made])
    short = ["--set", "unet.epochs=1"]
    out["fit-all, few tiles"] = bench.measure(
        "small", ["fit-all", *common, *small, "--data", str(few), *short]
    )
    for split in ("valid", "test"):
        words = ["predict", "--split", split, *small, "--data", str(data)]
        out[f"predict {split}"] = {
            **bench.measure(f"predict-{split}", [*words, "--jobs", str(asked.jobs)]),
            "tiles": sizes[split],
        }
    out["features"]["tiles"] = asked.train
    return out


class Watch:
    """Waits for files of a stage that is being made.

    Parameters
    ----------
    run : Path
    stage : str
    files : str
        All must be there.
    """

    def __init__(self, run: Path, stage: str, *files: str) -> None:
        self.run, self.stage, self.files = run, stage, files

    def folder(self) -> Path:
        """Where the stage works; the run's own folder if it is done."""
        at = sorted((self.run / ".work").glob(f"{self.stage}-*"), key=lambda p: p.stat().st_mtime)
        return at[-1] if at else self.run / self.stage

    def __call__(self) -> bool:
        """Whether all files are there."""
        return all((self.folder() / name).is_file() for name in self.files)

    def after(self, other: Watch) -> float:
        """Seconds from the stage's first file to those of `other`."""
        folder = self.folder()
        first = min(p.stat().st_mtime for p in folder.iterdir() if p.is_file())
        return max((folder / n).stat().st_mtime for n in other.files) - first


def extrapolated(bench: Bench, config: Config) -> dict[str, float]:
    """Seconds of a whole ``fit-all``, part by part."""
    found, asked = bench.found, bench.asked
    folds = config.scenes.folds
    small = {
        s: read_json(bench.work / "small" / s / "manifest.json")["seconds"]
        for s in ("pixel", "stack")
    }
    told = read_json(bench.work / "small" / "pixel" / "summary.json")
    pixel, unet = found["pixel"], found["unet"]
    fold_s = (pixel["seconds"] - pixel["rows_s"]) / pixel["folds"]
    beside_epochs = unet["seconds"] - asked.epochs * unet["epoch_s"]
    parts = {
        "data, scenes, features": found["features"]["seconds"],
        "pixel rows": pixel["rows_s"],
        "pixel folds": folds * fold_s,
        "pixel scoring": asked.train / told["patches_per_s"],
        "unet": folds * (beside_epochs + config.unet.epochs * config.unet.seeds * unet["epoch_s"]),
        "stack": small["stack"] * asked.train / asked.small,
    }
    return {**parts, "all": sum(parts.values())}


def show(told: dict[str, Any]) -> None:
    """Print both tables and the line of JSON."""
    print("| measured | s | MiB |\n|---|--:|--:|")
    for name, row in told["stages"].items():
        print(f"| {name} | {row['seconds']:.0f} | {row['memory_mib']:.0f} |")
    print("\n| a whole fit-all, extrapolated | min |\n|---|--:|")
    for name, seconds in told["fit_all"].items():
        print(f"| {name} | {seconds / 60:.1f} |")
    print(json.dumps({k: round(v) for k, v in told["fit_all"].items()}))


if __name__ == "__main__":
    main()
