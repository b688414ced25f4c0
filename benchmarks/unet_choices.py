"""What each setting of the U-Net is worth, out of fold on real tiles.

    python -m benchmarks.unet_choices --rgb L4S_RGB_FOLDER [--work runs/unet-choices]
        [--folds 0,2] [--only "label;label"] [--set unet.key=value]

Every choice changes some settings of the preset, is trained on the training tiles of some spatial
folds, and scores the tiles that these hold out: pooled F1 at the best threshold of its own scores.
A gain is over the settings as they are, with a paired bootstrap over spatial blocks. Choices that
only differ in how tiles are scored share their networks.

Tiles set aside are not read. What has been trained is kept in the work folder, and a second run
goes on where the first was stopped. The last line is JSON, the table is written to ``--out`` too.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.choices import Table, print_rows
from l4s_ensemble.config import UNetConfig
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.pipeline import open_run
from l4s_ensemble.run.files import read_json, write_json
from l4s_ensemble.run.fingerprint import digest
from l4s_ensemble.run.log import start_logging

log = logging.getLogger("l4s_ensemble")

SCORING = ("tta", "halo_px", "neighbours")
"""Settings that training does not read."""

BASE = "as it is"
CHOICES: dict[str, dict[str, Any]] = {
    BASE: {},
    "no D4 averaging": {"tta": False},
    "no halo": {"halo_px": 0},
    "halo of 32 px": {"halo_px": 32},
    "light as it is, level kept, no shift, no halo": {
        "light": "plain",
        "level": "keep",
        "shift_px": 0,
        "halo_px": 0,
    },
    "12 epochs of 16, as it was": {
        "epochs": 12,
        "batch": 16,
        "light": "plain",
        "level": "keep",
        "shift_px": 0,
        "halo_px": 0,
    },
    "12 epochs of 16": {"epochs": 12, "batch": 16},
    "24 epochs of 16": {"epochs": 24, "batch": 16},
    "48 epochs of 16": {"epochs": 48, "batch": 16},
    "24 epochs of 4": {"batch": 4},
    "log of light": {"light": "log"},
    "log of light, level of the tile": {"light": "log", "level": "tile"},
    "log of light, level of the scene": {"light": "log", "level": "scene"},
    "scored alone": {"neighbours": False, "halo_px": 0},
    "no shifted windows": {"shift_px": 0},
    "depth 5": {"depth": 5},
    "width 24": {"width": 24},
    "two networks a fold": {"seeds": 2},
    "AdamW": {"optimiser": "adamw"},
    "Muon": {"optimiser": "muon"},
    "BCE alone": {"loss": "bce"},
    "BCE and Lovász": {"loss": "bce+lovasz"},
    "focal and Dice": {"loss": "focal+dice"},
    "Tversky": {"loss": "bce+tversky"},
    "landslides in 80 % of the tiles": {"landslide_share": 0.8},
    "cut-mix": {"cut_mix": 0.5},
    "band dropout": {"band_dropout": 0.1},
    "stronger jitter": {"jitter_gain": 0.2, "jitter_band": 0.1},
    "jitter by scene": {"jitter_scene": 0.1},
    "deep supervision": {"deep_supervision": 0.4},
    "group norm": {"norm": "group"},
}
"""Settings that differ from the preset's, by label."""


class World:
    """The fitting tiles of a run, on the device.

    Parameters
    ----------
    work : Path
    data : Path
    preset : str
    overrides : list of str
    jobs : int
    """

    def __init__(self, work: Path, data: Path, preset: str, overrides: list[str], jobs: int):
        from l4s_ensemble.data.store import open_store, positions_of
        from l4s_ensemble.scenes.folds import load_folds
        from l4s_ensemble.scenes.surroundings import measure_surroundings
        from l4s_ensemble.unet.hardware import choose
        from l4s_ensemble.unet.inputs.normalisation import load

        run = open_run(work / "run", source=preset, overrides=overrides, data=data, jobs=jobs)
        run.fit(until=("scenes",))
        self.config, self.jobs, self.work = run.config, jobs, work
        self.folds = load_folds(run.folder / "scenes")
        dataset = open_store(run.folder / "data" / "train" / "patches.zarr")
        self.ids: NDArray[np.int64] = np.sort(self.folds.fit_ids).astype(np.int64)
        self.dataset, self.around = dataset, measure_surroundings(dataset, self.folds)
        tiles = load(dataset, positions_of(dataset, self.ids), surroundings=self.around)
        self.tiles = tiles.to(choose("auto", "auto", jobs).device)

    def networks(self, config: UNetConfig, fold: int) -> tuple[Any, float]:
        """Networks of a fold, trained or found, and the seconds that training took."""
        from l4s_ensemble.unet.hardware import choose
        from l4s_ensemble.unet.model import FoldModel
        from l4s_ensemble.unet.training.engine import FoldTrainer

        asked = {k: v for k, v in config.model_dump(mode="json").items() if k not in SCORING}
        config = config.model_copy(update={n: getattr(self.config.unet, n) for n in SCORING})
        stem = self.work / f"{digest(asked)[:16]}-{fold}"
        path, note = stem.with_suffix(".safetensors"), stem.with_suffix(".json")
        if not (path.is_file() and note.is_file()):
            train = np.searchsorted(self.ids, np.sort(self.folds.train_ids(fold)))
            trainer = FoldTrainer(
                self.tiles, train, config, seed=self.config.seed, fold=fold,
                hardware=choose("auto", config.precision, self.jobs),
            )  # fmt: skip
            model = trainer.run()
            model.save(path)
            write_json(note, {"seconds": sum(e["seconds"] for e in trainer.epochs)})
        return FoldModel.load(path), float(read_json(note)["seconds"])

    def score(self, config: UNetConfig, folds: list[int]) -> tuple[TileHistograms, dict[str, Any]]:
        """Histograms of the tiles that some folds hold out."""
        from l4s_ensemble.unet.hardware import choose
        from l4s_ensemble.unet.infer import Predictor

        hardware = choose("auto", config.precision, self.jobs)
        fold = self.folds.of(self.ids, "fold")
        held = np.flatnonzero(np.isin(fold, folds))
        tiles = TileHistograms.empty(self.ids[held], 1000)
        if self.tiles.mask is None:
            raise ValueError("scores need masks")
        mask = self.tiles.mask.cpu().numpy()
        known = self.tiles
        if not config.neighbours:  # each tile as if nothing was known of its place
            known = replace(known, around=None, scene=None)
        seconds = scoring = 0.0
        for k in folds:
            model, spent = self.networks(config, k)
            seconds += spent
            own = np.flatnonzero(fold == k)
            started = time.monotonic()
            predictor = Predictor(model, hardware, tta=config.tta, halo_px=config.halo_px)
            logit = predictor(known, own)
            scoring += time.monotonic() - started
            for i, z in zip(own, logit, strict=True):
                tiles.add(int(np.searchsorted(held, i)), sigmoid(z), mask[i])
        return tiles, {"seconds": seconds, "seconds_scoring": scoring}


def measure(world: World, folds: list[int], only: list[str]) -> list[dict[str, Any]]:
    """Rows of the table; what is in the work folder already is not trained again."""
    held = world.ids[np.isin(world.folds.of(world.ids, "fold"), folds)]
    table = Table(world.folds.of(held, "block"), world.config.seed)
    for label, settings in CHOICES.items():
        if only and label not in {BASE, *only}:
            continue
        config = UNetConfig.model_validate({**world.config.unet.model_dump(), **settings})
        tiles, told = world.score(config, folds)
        row = table.add(label, tiles, {"settings": settings, **told})
        log.info("%s: F1 %.4f, gain %s", label, row["f1"], row["gain"])
    return table.rows


def main() -> None:
    """Train, score, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rgb", type=Path, help="true-colour tiles, preset l4s-rgb")
    parser.add_argument("--bands14", type=Path, help="pairs with all bands, preset default")
    parser.add_argument("--work", type=Path, default=Path("runs/unet-choices"))
    parser.add_argument("--folds", default="0,2")
    parser.add_argument("--only", default="", help="labels, separated by ;")
    parser.add_argument("--set", action="append", default=[], help="unet.key=value")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path)
    words = parser.parse_args()
    start_logging(logging.INFO)
    preset, data = ("l4s-rgb", words.rgb) if words.rgb else ("default", words.bands14)
    world = World(words.work, data, preset, words.set, words.jobs)
    folds = [int(k) for k in words.folds.split(",")]
    rows = measure(world, folds, [w for w in words.only.split(";") if w])
    if words.out is not None:
        write_json(words.out, {"rows": rows, "folds": folds, "set": words.set})
    print_rows(rows)
    print(json.dumps({r["choice"]: [r["f1"], r["gain"]] for r in rows}))


if __name__ == "__main__":
    main()
