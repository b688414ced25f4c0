"""What each setting of the pixel classifier is worth, out of fold on real tiles.

    python -m benchmarks.pixel_choices --rgb L4S_RGB_FOLDER [--work runs/pixel-choices]
        [--folds 0,2] [--only "label;label"] [--full]

Every choice changes one setting, is fitted on the training tiles of some spatial folds as the
pixel stage does it, and scores the same random pixels of the tiles that these hold out: pooled F1
at the best threshold of its own scores. A gain is over the settings as they are, with a paired
bootstrap over spatial blocks. By default a quarter of the rows is drawn; ``--full`` fits as large
as the stage.

Tiles set aside are not read. What has been fitted is kept in the work folder, and a second run
goes on where the first was stopped. The last line is JSON, the table is written to ``--out`` too.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.choices import Table, print_rows
from l4s_ensemble.config import PixelConfig
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.pipeline import open_run
from l4s_ensemble.run.files import read_json, write_json
from l4s_ensemble.run.fingerprint import digest
from l4s_ensemble.run.log import start_logging
from l4s_ensemble.run.tasks import in_processes

log = logging.getLogger("l4s_ensemble")

QUARTER = 60_000
"""Landslide rows without ``--full``."""

SCORED_PIXELS = 1024
"""Drawn at random from each tile."""

SAMPLING = (
    "positives_max", "negatives_per_positive", "rim_share", "hard_share", "patch_power", "edge",
    "edge_px", "balance",
)  # fmt: skip
"""Settings that choose the rows; choices that share them share the file."""

BASE = "as it is"
CHOICES: dict[str, dict[str, Any]] = {
    BASE: {},
    "one view": {"views": "one"},
    "one view, ruled by physics": {"views": "one", "constraints": "physics"},
    "edge left out": {"edge": "ignore"},
    "edge at half weight": {"edge": "soft"},
    "look-alikes: a quarter": {"hard_share": 0.25},
    "look-alikes: half": {"hard_share": 0.5},
    "no rim stratum": {"rim_share": 0.0},
    "half at the rim": {"rim_share": 0.5},
    "tiles all alike": {"patch_power": 0.0},
    "tiles by their pixels": {"patch_power": 1.0},
    "scenes balanced": {"balance": "scene"},
    "two negatives a positive": {"negatives_per_positive": 2.0},
    "eight negatives a positive": {"negatives_per_positive": 8.0},
    "stops early": {"trees": 900, "early_stop_rounds": 50},
    "stops early, average precision": {
        "trees": 900, "early_stop_rounds": 50, "early_stop_on": "average_precision",
    },
    "three boosters": {"seeds": 3},
    "half the trees": {"trees": 150},
    "twice the trees, half the rate": {"trees": 600, "learning_rate": 0.03},
}  # fmt: skip
"""Settings that differ from the preset's, by label."""


class World:
    """The fitting tiles of a run, with the features of the pixels to score.

    Parameters
    ----------
    work : Path
    data : Path
    preset : str
    folds : list of int
        Those that are fitted and scored.
    jobs : int
    """

    def __init__(self, work: Path, data: Path, preset: str, folds: list[int], jobs: int) -> None:
        from l4s_ensemble.data.store import open_store, sensor_of
        from l4s_ensemble.pixel.train import feature_source, tiles_to_fit
        from l4s_ensemble.scenes.folds import load_folds

        run = open_run(work / "run", source=preset, data=data, jobs=jobs)
        run.fit(until=("features",))
        self.config, self.jobs, self.work, self.asked = run.config, jobs, work, folds
        self.folds = load_folds(run.folder / "scenes")
        self.source = feature_source(run.folder)
        dataset = open_store(run.folder / "data" / "train" / "patches.zarr")
        self.sensor = sensor_of(dataset)
        self.ids, self.masks = tiles_to_fit(dataset, self.folds)
        flat = self.masks.reshape(len(self.ids), -1)
        self.drawn = np.stack(
            [
                np.sort(
                    np.random.default_rng([run.config.seed, 0xC401CE, int(i)]).choice(
                        flat.shape[1], SCORED_PIXELS, replace=False
                    )
                )
                for i in self.ids
            ]
        ).astype(np.int32)
        self.truth = np.take_along_axis(flat, self.drawn.astype(np.int64), 1)
        self.scored = self._scored()

    def _scored(self) -> NDArray[np.float32]:
        from l4s_ensemble.pixel.blocks import write_sampled_rows
        from l4s_ensemble.pixel.sampling import PixelPlan

        path = self.work / "scored.npy"
        if not path.is_file():
            n = self.drawn.size
            every = PixelPlan(
                np.repeat(self.ids, SCORED_PIXELS), self.drawn.ravel(), np.zeros(n, np.uint8),
                np.ones(n), self.ids, np.zeros((len(self.ids), 3), int),
            )  # fmt: skip
            write_sampled_rows(path, self.source, every, self.jobs)
        found: NDArray[np.float32] = np.load(path, mmap_mode="r")
        return found

    def fit_and_score(self, config: PixelConfig, folder: Path) -> tuple[TileHistograms, Any]:
        """Fit every fold with these settings and score the drawn pixels of its held tiles."""
        from l4s_ensemble.features.build import plan_from_file
        from l4s_ensemble.pixel.blocks import write_sampled_rows
        from l4s_ensemble.pixel.fit import fit_fold, fit_job
        from l4s_ensemble.pixel.model import PixelModel
        from l4s_ensemble.pixel.sampling import plan_pixels

        seed = self.config.seed
        features = plan_from_file(self.source.plan)
        plan = plan_pixels(self.ids, self.masks, config, seed, self.folds.of(self.ids, "scene"))
        asked = {name: getattr(config, name) for name in SAMPLING}
        rows = self.work / f"rows-{digest(asked)[:12]}.npy"
        if not rows.is_file():
            write_sampled_rows(rows, self.source.to_train(), plan, self.jobs)
        model = PixelModel(
            folder, features.names, tuple(f.group for f in features.features), self.sensor,
            self.folds.n_folds, features.support_px, seed,
        )  # fmt: skip
        job = fit_job(self.folds, plan, rows, model, config, features)
        threads = max(1, self.jobs // len(self.asked))
        fits = list(in_processes(fit_fold, [(job, k, threads) for k in self.asked], self.jobs))
        fold = self.folds.of(self.ids, "fold").astype(int)
        held = np.flatnonzero(np.isin(fold, self.asked))
        tiles = TileHistograms.empty(self.ids[held], 1000)
        for k in self.asked:
            trees = model.trees(k)
            for at, i in enumerate(held):
                if fold[i] != k:
                    continue
                x = np.asarray(self.scored[i * SCORED_PIXELS : (i + 1) * SCORED_PIXELS])
                if trees is None:
                    raw = np.asarray(model.booster(k).predict(x, raw_score=True))
                else:
                    raw = trees.score(np.ascontiguousarray(x.T)[:, np.newaxis])[0]
                tiles.add(at, sigmoid(raw), self.truth[i])
        return tiles, fits


def measure(world: World, only: list[str], full: bool) -> list[dict[str, Any]]:
    """Rows of the table; what is in the work folder already is not fitted again."""
    held = world.ids[np.isin(world.folds.of(world.ids, "fold"), world.asked)]
    table = Table(world.folds.of(held, "block"), world.config.seed)
    for label, settings in CHOICES.items():
        if only and label not in {BASE, *only}:
            continue
        size = {} if full else {"positives_max": QUARTER}
        config = PixelConfig.model_validate({**world.config.pixel.model_dump(), **size, **settings})
        stem = label.replace(" ", "_").replace(",", "").replace(":", "")
        kept, note = (world.work / f"{stem}{end}" for end in (".npz", ".json"))
        if not (kept.is_file() and note.is_file()):
            folder = world.work / "fit"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            started = time.monotonic()
            tiles, fits = world.fit_and_score(config, folder)
            tiles.save(kept)
            trees = [f["trees"] for f in fits]
            write_json(note, {"seconds": time.monotonic() - started, "trees": trees})
            shutil.rmtree(folder)
        tiles = TileHistograms.load(kept)
        row = table.add(label, tiles, {"settings": settings, **read_json(note)})
        log.info("%s: F1 %.4f, gain %s, %.0f s", label, row["f1"], row["gain"], row["seconds"])
    return table.rows


def main() -> None:
    """Fit, score, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rgb", type=Path, help="true-colour tiles, preset l4s-rgb")
    parser.add_argument("--bands14", type=Path, help="pairs with all bands, preset default")
    parser.add_argument("--work", type=Path, default=Path("runs/pixel-choices"))
    parser.add_argument("--folds", default="0,2")
    parser.add_argument("--only", default="", help="labels, separated by ;")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path)
    words = parser.parse_args()
    start_logging(logging.INFO)
    preset, data = ("l4s-rgb", words.rgb) if words.rgb else ("default", words.bands14)
    folds = [int(k) for k in words.folds.split(",")]
    world = World(words.work, data, preset, folds, words.jobs)
    rows = measure(world, [w for w in words.only.split(";") if w], words.full)
    if words.out is not None:
        words.out.parent.mkdir(parents=True, exist_ok=True)
        write_json(words.out, {"rows": rows, "full": words.full, "folds": folds})
    print_rows(rows)
    print(json.dumps({r["choice"]: [r["f1"], r["gain"]] for r in rows}))


if __name__ == "__main__":
    main()
