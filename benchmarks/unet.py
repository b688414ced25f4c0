"""The U-Net side by side: the official loop, the official prediction, and an smp U-Net.

    python -m benchmarks.unet [--only train,predict,race] [--rgb L4S_RGB_FOLDER]
        [--work runs/bench-unet] [--batch 32] [--steps 2] [--turns 3] [--minutes 18] [--jobs 2]

1. **train**: steps of the official network (14 bands, the same batch) in this package's engine
   against the plain float32 loop of `benchmarks.unet_official`, in turns on made-up tiles, and the
   share of the measured rate of a bf16 matrix product that ours reaches.
2. **predict**: masks of a split with the same weights, reading included.
3. **race**: minutes to the F1 that ``smp:unet/resnet34`` reaches on real tiles
   (`benchmarks.unet_race`); needs ``--rgb`` and segmentation-models-pytorch, and takes minutes.
   What has been trained is kept in the work folder, so that a race that was stopped goes on.
4. **forms**, only where asked for: the same step in each precision and layout.
5. **large**, only where asked for: our own network, 128 channels wide and 5 levels deep, and the
   share of the matrix product's rate that it reaches.

``--compiled`` compiles the networks of our engine.

The official loop's workers read ahead, up to 8 batches: on a GPU blocks have many steps, so that
this gift of theirs is small. The last line is JSON. Ratios of speed are ours / theirs; the ratio of
times is ours / theirs too, so that smaller is better there.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.unet_choices import World as RealTiles
from benchmarks.unet_compute import compare_forms, print_forms
from benchmarks.unet_race import print_race, race, runners
from benchmarks.unet_speed import (
    World,
    compare_prediction,
    compare_training,
    fresh_model,
    print_large,
    print_prediction,
    print_training,
    train_large,
)
from l4s_ensemble.pipeline import default_jobs
from l4s_ensemble.run.log import start_logging
from l4s_ensemble.sources.synth import make_dataset
from l4s_ensemble.unet.hardware import choose

PARTS = ("train", "predict", "race", "forms", "large")
STEPS = {"cpu": 2, "cuda": 100}
"""Steps of a block."""

TILES = {"cpu": 32, "cuda": 400}
"""Patches to predict."""


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print."""
    asked = _parser().parse_args(words)
    parts = asked.only.split(",")
    unknown = sorted(set(parts) - set(PARTS))
    if unknown or ("race" in parts and asked.rgb is None and asked.only != _USUAL):
        raise SystemExit(f"--only takes {', '.join(PARTS)}; race needs --rgb")
    hardware = choose(asked.device, "auto", asked.jobs)
    kind = hardware.device.type
    told: dict[str, Any] = dict.fromkeys(PARTS)
    print(
        f"{hardware.device} ({hardware.reason}): {hardware.precision}"
        f"{', channels last' if hardware.channels_last else ''}; "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"load {os.getloadavg()[0]:.1f}"
    )
    with tempfile.TemporaryDirectory() as name:
        if {"train", "predict", "large"} & set(parts):
            world = made_up(Path(name), asked.tiles, asked.jobs)
            model = None
            if "train" in parts:
                told["train"], model = compare_training(
                    world, hardware, batch=asked.batch, steps=asked.steps or STEPS.get(kind, 2),
                    turns=asked.turns, compiled=asked.compiled,
                )  # fmt: skip
                print_training(told["train"])
            if "large" in parts:
                told["large"] = train_large(
                    world, hardware, batch=asked.batch, steps=asked.steps or STEPS.get(kind, 2),
                    turns=asked.turns, compiled=asked.compiled,
                )  # fmt: skip
                print_large(told["large"])
            if "predict" in parts:
                told["predict"] = compare_prediction(
                    world, hardware, model or fresh_model(world, hardware),
                    patches=min(asked.tiles, TILES.get(kind, 32)), turns=asked.turns,
                )  # fmt: skip
                print_prediction(told["predict"])
    if "forms" in parts:
        told["forms"] = compare_forms(
            hardware.device, bands=14, edge_px=128, batch=min(asked.batch, 8), turns=asked.turns,
            compiled=asked.compiled,
        )  # fmt: skip
        print_forms(told["forms"])
    if "race" in parts and asked.rgb is not None:
        tiles = RealTiles(asked.work, asked.rgb, "l4s-rgb", asked.set, asked.jobs)
        pair = runners(tiles.config.unet, asked.device, asked.jobs, asked.smp)
        told["race"] = race(tiles, asked.fold, asked.minutes, pair)
        print_race(told["race"])
    about = {
        "device": str(hardware.device), "hardware": hardware.reason,
        "precision": hardware.precision, "threads": torch.get_num_threads(),
        "torch": torch.__version__, "load": os.getloadavg()[0],
    }  # fmt: skip
    print(json.dumps({**headline(told), **told, **about}))


def headline(told: dict[str, Any]) -> dict[str, Any]:
    """The three numbers; None for what was not measured or, in the race, not reached."""
    names = {
        "train_ratio_vs_official": "train",
        "predict_ratio_vs_official": "predict",
        "time_to_f1_ratio_vs_smp": "race",
    }
    return {name: (told[part] or {}).get("ratio") for name, part in names.items()}


def made_up(folder: Path, tiles: int, jobs: int) -> World:
    """Made-up patches in the released form, and their store."""
    make_dataset(folder / "made-up", train=tiles, valid=0, jobs=jobs)
    return World.of(folder / "made-up", folder / "patches.zarr")


_USUAL = "train,predict,race"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=_USUAL, help=f"parts: {', '.join(PARTS)}")
    parser.add_argument("--rgb", type=Path, help="true-colour tiles for the race")
    parser.add_argument("--work", type=Path, default=Path("runs/bench-unet"))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--jobs", type=int, default=default_jobs(), help="threads")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, help="of a block: 2 on a CPU, 100 on a GPU")
    parser.add_argument("--turns", type=int, default=3, help="blocks of each way that count")
    parser.add_argument("--tiles", type=int, default=96, help="made-up patches")
    parser.add_argument("--fold", type=int, default=0, help="of the race")
    parser.add_argument("--minutes", type=float, default=18.0, help="of each in the race, at most")
    parser.add_argument("--set", action="append", default=[], help="section.key=value, of the race")
    parser.add_argument("--smp", action="append", default=[], help="key=value, for smp alone")
    parser.add_argument("--compiled", action="store_true", help="by torch.compile too")
    return parser


if __name__ == "__main__":
    # Four workers are the official number, on few cores too.
    warnings.filterwarnings("ignore", message="This DataLoader will create")
    start_logging(logging.INFO)
    main()
