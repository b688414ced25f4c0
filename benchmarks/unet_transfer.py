"""What helps a U-Net at a place it never saw: transfers between labelled scenes.

    python -m benchmarks.unet_transfer --rgb L4S_RGB_FOLDER [--work runs/unet-transfer]
        [--minutes 60] [--only "label;label"] [--set unet.key=value]

Scene 1 is cut into `BANDS` bands of columns. For every band and every band of the sensor (light,
and elevation and slope where there are any) the median over the band's tiles is compared with that
over the others, in deviations over all tiles. The band with the largest distance is left out of
training, with one column on either side. What was trained on the rest is scored on two places:

* ``scene 2``: all its tiles.
* ``band of scene 1``: the band that was left out.

Columns 24 to 30 of scene 1 are the project's holdout: they are neither trained on nor scored here.
One network an arm, that of one fold (drawn with the seed among those that hold out enough): its
held tiles, in the place it was trained in, give the threshold that is carried over to the target.
F1 on the target is told at that threshold and at the best one, with intervals over blocks of 3 x 3
tiles, and the paired gain over the first arm. One network is little: differences under 3 points
need other seeds (``--seed``).

Masks of the target are read for its scores alone. What has been trained is kept in the work folder,
and a second run goes on where the first was stopped. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
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

NEVER = (24, 30)
"""Columns of scene 1 that stay unseen: the holdout of the project's claims."""

BANDS = 4
"""Bands of columns that scene 1 is cut into."""

HELD_SHARE = 0.1
"""Share of the tiles that a fold must hold out to give a threshold."""

SCORING = ("tta", "halo_px", "adapt")
"""Settings that training does not read."""

FIRST = "nothing"
ARMS: dict[str, dict[str, Any]] = {
    FIRST: {},
    "statistics of the target": {"adapt": {"statistics": True}},
    "log of light": {"light": "log"},
    "log of light, level of the tile": {"light": "log", "level": "tile"},
    "log of light, level of the scene": {"light": "log", "level": "scene"},
    "log, level of the scene, statistics of the target": {
        "light": "log",
        "level": "scene",
        "adapt": {"statistics": True},
    },
    "log, level of the scene, jitter of the level": {
        "light": "log",
        "level": "scene",
        "jitter_gain": 0.3,
    },
    "ratios of bands beside them": {"indices": ["B4/B3", "B3/B2"]},
    "jitter of the level": {"jitter_gain": 0.3},
    "jitter of each band": {"jitter_band": 0.1},
    "strong jitter": {"jitter_gain": 0.3, "jitter_band": 0.1},
    "jitter, band dropout, cut-mix": {
        "jitter_gain": 0.3,
        "jitter_band": 0.1,
        "band_dropout": 0.1,
        "cut_mix": 0.5,
    },
    "pseudo-labels, 1 round": {"adapt": {"rounds": 1}},
    "pseudo-labels, 2 rounds": {"adapt": {"rounds": 2}},
    "statistics, pseudo-labels, 2 rounds": {"adapt": {"statistics": True, "rounds": 2}},
}
"""Settings of the U-Net that differ from the preset's, by label."""


@dataclass(frozen=True)
class Transfer:
    """From one place to another; ids ascend.

    Attributes
    ----------
    name : str
    train, held, target : int64 array
        Ids to train on, to choose the threshold on (same place, not trained on), to predict.
    block : int64 array, shape (target tile,)
        Spatial blocks of the target.
    note : str
        How it was chosen.
    """

    name: str
    train: NDArray[np.int64]
    held: NDArray[np.int64]
    target: NDArray[np.int64]
    block: NDArray[np.int64]
    note: str


class World:
    """The labelled tiles of two scenes.

    Parameters
    ----------
    work, data : Path
    overrides : list of str
    seed, jobs : int
    """

    def __init__(self, work: Path, data: Path, overrides: list[str], seed: int, jobs: int) -> None:
        from l4s_ensemble.data.store import open_store
        from l4s_ensemble.scenes.folds import load_folds
        from l4s_ensemble.scenes.surroundings import measure_surroundings

        settings = ["data.holdout={scene: 2, columns: [0, 99]}", f"seed={seed}", *overrides]
        run = open_run(work / "run", source="l4s-rgb", overrides=settings, data=data, jobs=jobs)
        run.fit(until=("scenes",))
        self.work, self.config, self.jobs = work, run.config, jobs
        self.dataset = open_store(run.folder / "data" / "train")
        self.folds = load_folds(run.folder / "scenes")
        self.around = measure_surroundings(self.dataset, self.folds)

    def load(self, ids: NDArray[np.int64], *, masks: bool) -> Any:
        """Tiles of some ids."""
        from l4s_ensemble.data.store import positions_of
        from l4s_ensemble.unet.inputs.normalisation import load

        return load(
            self.dataset, positions_of(self.dataset, ids), masks=masks, surroundings=self.around
        )

    def load_target(self, ids: NDArray[np.int64]) -> Any:
        """Tiles of a place never seen, without masks: all that is known of it comes from them.

        Neighbours and the levels of light are those among these tiles alone.
        """
        from l4s_ensemble.data.store import positions_of
        from l4s_ensemble.scenes.surroundings import measure_surroundings
        from l4s_ensemble.unet.inputs.normalisation import load

        place = self.dataset.isel(patch=positions_of(self.dataset, ids))
        around = measure_surroundings(place, self.folds)
        return load(place, np.arange(len(ids)), masks=False, surroundings=around)

    def transfers(self) -> Iterator[Transfer]:
        """Both transfers, from the same tiles."""
        fit = np.sort(self.folds.fit_ids).astype(np.int64)
        column = self.folds.of(fit, "col")
        at_one = self.folds.of(fit, "scene") == 1
        open_ = fit[at_one & ((column < NEVER[0]) | (column > NEVER[1]))]
        band, distance = self._bands(open_)
        farthest = int(np.argmax(distance))
        target = open_[band == farthest]
        column = self.folds.of(open_, "col")
        first, last = (int(f(self.folds.of(target, "col"))) for f in (np.min, np.max))
        source = open_[(column < first - 1) | (column > last + 1)]
        note = f"columns {first} to {last}; distances of the bands " + ", ".join(
            f"{d:.2f}" for d in distance
        )
        other = np.sort(self.folds.holdout_ids).astype(np.int64)
        yield self._transfer("scene 2", source, other, f"{len(other)} tiles")
        yield self._transfer("band of scene 1", source, target, note)

    def _transfer(
        self, name: str, source: NDArray[np.int64], target: NDArray[np.int64], note: str
    ) -> Transfer:
        folds = range(self.folds.n_folds)
        held = [np.intersect1d(source, self.folds.held_ids(k)) for k in folds]
        enough = [k for k in folds if len(held[k]) >= HELD_SHARE * len(source)]
        chosen = int(np.random.default_rng([self.config.seed, len(source)]).choice(enough))
        train = np.intersect1d(source, self.folds.train_ids(chosen))
        edge = self.config.scenes.bootstrap_tiles
        place = [self.folds.of(target, n) for n in ("scene", "row", "col")]
        keys = np.stack([place[0], place[1] // edge, place[2] // edge])
        block = np.unique(keys, axis=1, return_inverse=True)[1].ravel()
        return Transfer(name, train, held[chosen], target, block, note)

    def _bands(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Band of columns of each tile, and how far each band is from the others."""
        import torch

        from l4s_ensemble.unet.inputs.tileset import BLOCK_TILES, sparse

        tiles = replace(self.load(ids, masks=False), own=None)  # light at the level of the scene
        tiles = tiles.prepared("keep", relief=False)
        index = torch.split(torch.arange(len(tiles)), BLOCK_TILES)
        parts = [sparse(tiles, i, 4).flatten(2).median(dim=2).values for i in index]
        median = torch.cat(parts).numpy().astype(np.float64)
        column = self.folds.of(ids, "col").astype(np.int64)
        edges = np.linspace(column.min(), column.max() + 1, BANDS + 1)
        band = np.searchsorted(edges, column, side="right") - 1
        spread = median.std(axis=0)
        spread[spread == 0] = 1
        distance = np.zeros(BANDS)
        for b in range(BANDS):
            inside = band == b
            if inside.any() and not inside.all():
                step = np.median(median[inside], axis=0) - np.median(median[~inside], axis=0)
                distance[b] = np.sqrt(np.mean((step / spread) ** 2))
        return band, distance


def arm(world: World, transfer: Transfer, settings: dict[str, Any]) -> dict[str, Any]:
    """Train, adapt and score one arm, or find its scores.

    Returns
    -------
    dict
        ``held, target`` (`TileHistograms`), ``seconds, adapt``, ``scores`` (folder below the work
        folder that keeps both as ``.npz``, for `benchmarks.thresholds`).
    """
    values = world.config.unet.model_dump()
    adapt = {**values["adapt"], "statistics": False, **settings.get("adapt", {})}
    config = UNetConfig.model_validate({**values, **settings, "adapt": adapt, "seeds": 1})
    plain = config.model_copy(update={"adapt": world.config.unet.adapt})
    out = world.work / digest([transfer.train.tolist(), world.config.seed, _trained(plain)])
    scoring = {k: v for k, v in config.model_dump(mode="json").items() if k in SCORING}
    kept = out / digest([transfer.name, scoring])
    if not (kept / "told.json").is_file():
        kept.mkdir(parents=True, exist_ok=True)
        scored, told = _scored(world, transfer, config, plain, out)
        for name, tiles in scored.items():
            tiles.save(kept / f"{name}.npz")
        write_json(kept / "told.json", told)
    return {
        **{n: TileHistograms.load(kept / f"{n}.npz") for n in ("held", "target")},
        **read_json(kept / "told.json"),
        "scores": kept.relative_to(world.work).as_posix(),
    }


def _scored(
    world: World, transfer: Transfer, config: UNetConfig, plain: UNetConfig, out: Path
) -> tuple[dict[str, TileHistograms], dict[str, Any]]:
    """Train in `out`, or go on; adapt if `config` says so; score both places."""
    from l4s_ensemble.unet.adapting.adapt import Adaptation
    from l4s_ensemble.unet.adapting.target import Target
    from l4s_ensemble.unet.hardware import choose
    from l4s_ensemble.unet.infer import Predictor
    from l4s_ensemble.unet.model import FoldModel, fold_file
    from l4s_ensemble.unet.training.engine import FoldTrainer

    hardware, seed = choose("auto", config.precision, world.jobs), world.config.seed
    adapt = config.adapt.model_dump()
    ids = np.union1d(transfer.train, transfer.held)
    tiles = world.load(ids, masks=True).to(hardware.device)
    train, held = np.searchsorted(ids, transfer.train), np.searchsorted(ids, transfer.held)
    if not (out / "plain.json").is_file():
        trainer = FoldTrainer(tiles, train, plain, seed=seed, fold=0, hardware=hardware)
        trainer.resume(out / "checkpoint.pt")
        model = trainer.run(lambda at: at.save(out / "checkpoint.pt"))
        model.save(out / fold_file(0))
        write_json(out / "plain.json", {"seconds": sum(e["seconds"] for e in trainer.epochs)})
        (out / "checkpoint.pt").unlink(missing_ok=True)
    seconds, told = float(read_json(out / "plain.json")["seconds"]), None
    place = Target("target", world.load_target(transfer.target).to(hardware.device))
    models: tuple[FoldModel, ...] = (FoldModel.load(out / fold_file(0)),)
    target_models = models
    if adapt["statistics"] or adapt["rounds"]:
        # Arms that differ in the number of rounds share the rounds that both have.
        name = digest([transfer.name, {**adapt, "rounds": None}])
        folder = out / name
        folder.mkdir(exist_ok=True)
        shutil.copy(out / fold_file(0), folder / fold_file(0))
        note = folder / "adapt.json"
        job = Adaptation(folder, config, seed, 0, hardware, tiles, train, place)
        found = job.run(
            read_json(note) if note.is_file() else None, lambda told: write_json(note, told)
        )
        models, target_models, told = found.models, found.target, found.told
        spent = [n["seconds"] for r in told["rounds"][: adapt["rounds"]] for n in r["networks"]]
        seconds += sum(spent)
    predict: dict[str, Any] = {"tta": config.tta, "halo_px": config.halo_px}
    scored = {
        "held": Predictor(models, hardware, **predict)(tiles, held),
        "target": Predictor(target_models, hardware, **predict)(
            place.tiles, range(len(place.tiles))
        ),
    }
    asked = {"held": transfer.held, "target": transfer.target}
    tiles_of = {name: _histograms(world, asked[name], scored[name]) for name in scored}
    return tiles_of, {"seconds": seconds, "adapt": told}


def measure(world: World, transfer: Transfer, only: list[str], until: float) -> tuple[Table, Table]:
    """Rows at the threshold carried over, and rows at the best one; no arm begins after `until`."""
    carried, best = (Table(transfer.block, world.config.seed) for _ in range(2))
    for label, settings in ARMS.items():
        if only and label not in {FIRST, *only}:
            continue
        if time.monotonic() > until:
            log.warning("%s: no time for %s", transfer.name, label)
            continue
        found = arm(world, transfer, settings)
        threshold = found["held"].pooled().best().value
        told = {
            "seconds": found["seconds"],
            "held_f1": found["held"].pooled().best().f1,
            "stopped": found["adapt"] and found["adapt"]["stopped"],
            "scores": found["scores"],
        }
        for table, at in ((carried, threshold), (best, None)):
            row = table.add(label, found["target"], told, threshold=at)
            log.info("%s, %s: F1 %.4f at %.3f", transfer.name, label, row["f1"], row["threshold"])
    return carried, best


def _trained(config: UNetConfig) -> dict[str, Any]:
    """What training reads of the settings."""
    return {k: v for k, v in config.model_dump(mode="json").items() if k not in SCORING}


def _histograms(world: World, ids: NDArray[np.int64], logit: NDArray[np.float32]) -> TileHistograms:
    mask = world.dataset["mask"].sel(patch=ids).values
    tiles = TileHistograms.empty(ids, 1000)
    for i in range(len(ids)):
        tiles.add(i, sigmoid(logit[i]), mask[i])
    return tiles


def main() -> None:
    """Train, adapt, score, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rgb", type=Path, required=True, help="true-colour tiles")
    parser.add_argument("--work", type=Path, default=Path("runs/unet-transfer"))
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no arm after")
    parser.add_argument("--only", default="", help="labels, separated by ;")
    parser.add_argument("--transfer", default="", help="part of the name of one, both by default")
    parser.add_argument("--set", action="append", default=[], help="section.key=value")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path)
    words = parser.parse_args()
    start_logging(logging.INFO)
    until = time.monotonic() + 60 * words.minutes
    world = World(words.work, words.rgb, words.set, words.seed, words.jobs)
    told: dict[str, Any] = {}
    for transfer in world.transfers():
        if words.transfer and words.transfer not in transfer.name:
            continue
        only = [w for w in words.only.split(";") if w]
        carried, best = measure(world, transfer, only, until)
        told[transfer.name] = {
            "train": len(transfer.train), "held": len(transfer.held),
            "target": len(transfer.target), "blocks": len(np.unique(transfer.block)),
            "note": transfer.note, "carried": carried.rows, "best": best.rows,
        }  # fmt: skip
        print(
            f"\n{transfer.name}: {len(transfer.train)} tiles trained on, {len(transfer.held)} for "
            f"the threshold, {len(transfer.target)} to predict ({transfer.note})"
        )
        for title, table in (("carried over", carried), ("the best there", best)):
            print(f"\nThreshold {title}:\n")
            print_rows(table.rows)
        for row in carried.rows:
            if row["stopped"]:
                print(f"\n{row['choice']}: stopped in {row['stopped']}")
    if words.out is not None:
        write_json(words.out, {"transfers": told, "set": words.set, "seed": words.seed})
    print(
        json.dumps(
            {
                name: {
                    kind: {r["choice"]: [r["f1"], r["gain"]] for r in t[kind]}
                    for kind in ("carried", "best")
                }
                for name, t in told.items()
            }
        )
    )


if __name__ == "__main__":
    main()
