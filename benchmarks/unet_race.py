"""Time to the F1 that an smp U-Net with a ResNet-34 encoder reaches, on real true-colour tiles.

Both train on the training tiles of one spatial fold, from random weights, with the same inputs,
augmentation, losses, optimiser, precision and threads, one after the other in this process. After
every epoch the averaged network scores the tiles that the fold holds out, pooled, at the best
threshold of these very scores: they are the yardstick of the race and nothing else. Scoring costs
both the same and is not counted.

Ours has the settings of its preset. smp has its own learning rate, and as many epochs of a
one-cycle schedule as its minutes allow; its input is not upsampled, as its users leave it, which
is the faster way. Settings that only our network has are off for it.

A line is written after each epoch. A race that was killed goes on after the last whole one.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from benchmarks.unet_choices import World
from l4s_ensemble.config import UNetConfig
from l4s_ensemble.run.files import read_json, write_json
from l4s_ensemble.unet.hardware import Hardware, choose
from l4s_ensemble.unet.training.engine import FoldTrainer
from l4s_ensemble.unet.training.watch import Inner

log = logging.getLogger("l4s_ensemble")

RIVAL = "smp:unet/resnet34"
RIVAL_SETTINGS: dict[str, Any] = {
    "network": RIVAL, "weights": None, "upsample": False,
    "optimiser": "adamw", "lr": 1e-3, "schedule": "one_cycle", "epochs": 30, "steps": None,
    "deep_supervision": 0.0, "compile": False,
}  # fmt: skip
"""What differs from our preset. The peak is the usual one of AdamW for a ResNet from random
weights; the epochs are the most it may have, however fast the machine."""

ALIKE = {"checkpoint": "inner", "seeds": 1, "tta": False, "halo_px": 0}
"""Settings of both. The engine scores a fold's inner block after each epoch; here it is given the
tiles that the fold holds out, which no fit of the package does."""

TRIAL_STEPS = 4
"""Steps that tell how fast a network trains here; as many before them are not timed."""


@dataclass(frozen=True)
class Runner:
    """One of the two.

    Attributes
    ----------
    name : str
    config : UNetConfig
        `epochs` are the most it may have.
    hardware : Hardware
    """

    name: str
    config: UNetConfig
    hardware: Hardware


def runners(
    config: UNetConfig, device: str, threads: int, rival: Sequence[str] = ()
) -> tuple[Runner, Runner]:
    """Ours as its preset says, and smp with the same inputs, augmentation and losses.

    `rival` holds ``key=value`` for smp alone.
    """
    settings = {"ours": ALIKE, "smp": {**ALIKE, **rival_settings(rival)}}
    made = {
        name: UNetConfig.model_validate({**config.model_dump(), **change})
        for name, change in settings.items()
    }
    ours, smp = (
        Runner(name, made[name], choose(device, made[name].precision, threads)) for name in made
    )
    return ours, smp


def rival_settings(words: Sequence[str] = ()) -> dict[str, Any]:
    """`RIVAL_SETTINGS`, changed by ``key=value`` words."""
    own = dict(word.split("=", 1) for word in words)
    return {**RIVAL_SETTINGS, **{k: yaml.safe_load(v) for k, v in own.items()}}


def race(world: World, fold: int, minutes: float, pair: tuple[Runner, Runner]) -> dict[str, Any]:
    """Train both and compare their minutes.

    Parameters
    ----------
    world : World
        Tiles and folds; its work folder holds what is written.
    fold : int
    minutes : float
        Of training for each, at most; decides their number of epochs.
    pair : tuple of Runner
        Ours and smp.

    Returns
    -------
    dict
        As of `compare`, and ``ours`` and ``smp`` with their rows.
    """
    ours, smp = pair
    ran = {r.name: run(r, world, fold, minutes) for r in (smp, ours)}
    plain = Hardware(smp.hardware.device, "float32", channels_last=False, reason="plain")
    trial = world.work / f"race_{fold}_plain.json"
    if not trial.is_file():
        rate = patches_per_s(Runner("plain", smp.config, plain), world, fold)
        write_json(trial, {"patches_per_s": rate})
    plain_rate = float(read_json(trial)["patches_per_s"])
    return {"fold": fold, **compare(ran["ours"], ran["smp"], plain_rate), **ran}


def compare(ours: dict[str, Any], smp: dict[str, Any], plain_rate: float) -> dict[str, Any]:
    """What two finished runs say of each other.

    Returns
    -------
    dict
        ``ratio`` is ours / smp's minutes to smp's best F1, None where ours did not reach it;
        ``ratio_plain`` is what it would be had smp trained at the speed of float32 in torch's own
        layout (`plain_rate`, patches/s).
    """
    best = max(smp["rows"], key=lambda row: row["f1"])
    met = next((row for row in ours["rows"] if row["f1"] >= best["f1"]), None)
    ratio = None if met is None else met["seconds"] / best["seconds"]
    return {
        "f1_to_reach": best["f1"],
        "smp_minutes": best["seconds"] / 60,
        "minutes": None if met is None else met["seconds"] / 60,
        "ratio": ratio,
        "ratio_plain": None if ratio is None else ratio * plain_rate / smp["patches_per_s"],
        "f1_best": max(row["f1"] for row in ours["rows"]),
        "smp_patches_per_s_plain": plain_rate,
    }


def run(runner: Runner, world: World, fold: int, minutes: float) -> dict[str, Any]:
    """Train one of the two, or go on with it.

    Returns
    -------
    dict
        ``epochs``, ``patches_per_s``, and ``rows``: for each epoch ``epoch``, ``seconds`` of
        training from the start, ``f1``, ``threshold``, ``loss``, and the machine's ``load``.
    """
    note = world.work / f"race_{fold}_{runner.name}.json"
    asked = {"settings": runner.config.model_dump(mode="json"), "minutes": minutes}
    told: dict[str, Any] = read_json(note) if note.is_file() else {}
    if told.get("asked") != asked:
        # Measured once and kept: another number of epochs would be another schedule.
        rate, tiles = patches_per_s(runner, world, fold), len(training(world, fold))
        epochs = epochs_within(minutes, rate, tiles, runner.config.epochs)
        told = {"asked": asked, "epochs": epochs, "rows": [], "done": False}
        write_json(note, told)
        log.info(
            "race, %s: %.1f patches/s, %d epochs of %d tiles", runner.name, rate, epochs, tiles
        )
    if not told["done"]:
        _train(runner, world, fold, told, note)
    return told


def _train(runner: Runner, world: World, fold: int, told: dict[str, Any], note: Path) -> None:
    config = runner.config.model_copy(update={"epochs": told["epochs"]})
    held = np.flatnonzero(world.folds.of(world.ids, "fold") == fold)
    trainer = FoldTrainer(
        world.tiles.to(runner.hardware.device), training(world, fold), config,
        seed=world.config.seed, fold=fold, hardware=runner.hardware, inner=Inner(held),
    )  # fmt: skip
    checkpoint = note.with_suffix(".checkpoint.pt")
    trainer.resume(checkpoint)
    rows = told["rows"]
    del rows[len(trainer.epochs) :]

    def after_epoch(at: FoldTrainer) -> None:
        last = at.epochs[-1]
        rows.append(
            {
                "epoch": len(at.epochs),
                "seconds": sum(e["seconds"] - e["seconds_watch"] for e in at.epochs),
                "f1": last["inner_f1"], "threshold": last["inner_threshold"],
                "loss": last["loss"], "load": os.getloadavg()[0],
            }
        )  # fmt: skip
        # The row first: a kill between the two writes repeats the epoch, and drops its row.
        write_json(note, told)
        at.save(checkpoint)
        log.info(
            "race, %s: epoch %d/%d, %.1f min, loss %.3f, F1 %.4f", runner.name, len(at.epochs),
            config.epochs, rows[-1]["seconds"] / 60, last["loss"], last["inner_f1"],
        )  # fmt: skip

    trainer.run(after_epoch)
    rate = float(np.median([e["patches_per_s"] for e in trainer.epochs]))
    told |= {"patches_per_s": rate, "done": True}
    write_json(note, told)
    checkpoint.unlink(missing_ok=True)


def training(world: World, fold: int) -> NDArray[np.int64]:
    """Positions of the tiles that a fold trains on."""
    return np.searchsorted(world.ids, np.sort(world.folds.train_ids(fold)))


def patches_per_s(runner: Runner, world: World, fold: int) -> float:
    """Training speed of a few steps, after as many that are not timed."""
    tiles = np.resize(training(world, fold), TRIAL_STEPS * runner.config.batch)
    config = runner.config.model_copy(update={"epochs": 2, "steps": None})
    trainer = FoldTrainer(
        world.tiles.to(runner.hardware.device), tiles, config, seed=0, fold=fold,
        hardware=runner.hardware,
    )  # fmt: skip
    trainer.run()
    return float(trainer.epochs[-1]["patches_per_s"])


def epochs_within(minutes: float, rate: float, tiles: int, most: int) -> int:
    """Epochs that a budget allows at a speed in patches/s: at least one, at most `most`."""
    return max(1, min(most, int(60 * minutes * rate / tiles)))


def print_race(told: dict[str, Any]) -> None:
    """Show who reached what, and when."""
    print(f"\nThe race on the held-out tiles of fold {told['fold']}, best threshold\n")
    print("| network | epochs | minutes | patches/s | best F1 | minutes to smp's best |")
    print("|---|--:|--:|--:|--:|--:|")
    for name, minutes in (("smp", told["smp_minutes"]), ("ours", told["minutes"])):
        rows = told[name]["rows"]
        print(
            f"| {name} | {len(rows)} | {rows[-1]['seconds'] / 60:.1f} "
            f"| {told[name]['patches_per_s']:.1f} | {max(r['f1'] for r in rows):.3f} "
            f"| {'not reached' if minutes is None else f'{minutes:.2f}'} |"
        )
    if told["ratio"] is not None:
        print(
            f"\nOurs took {told['ratio']:.2f} of smp's time; it would be {told['ratio_plain']:.2f} "
            f"of it with smp in plain float32 ({told['smp_patches_per_s_plain']:.1f} patches/s)"
        )
