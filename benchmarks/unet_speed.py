"""Training and predicting with the official network: its own way against this package's."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.apart import Apart
from benchmarks.clocks import Spent, clocked
from benchmarks.unet_compute import flops_per_patch, matmul_flops_per_s
from benchmarks.unet_official import (
    WORKERS,
    OfficialTiles,
    loader,
    prediction_in_turns,
    training_in_turns,
)
from l4s_ensemble.config import UNetConfig
from l4s_ensemble.config import load as load_settings
from l4s_ensemble.data.patches import PatchFiles, find_patches
from l4s_ensemble.data.sensor import L4S, Sensor
from l4s_ensemble.data.store import build_store, open_store
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.unet.hardware import Hardware
from l4s_ensemble.unet.infer import Predictor
from l4s_ensemble.unet.inputs.normalisation import Normalisation, TileSet, load
from l4s_ensemble.unet.model import FoldModel
from l4s_ensemble.unet.networks.network import arguments_of, build
from l4s_ensemble.unet.networks.official import OfficialUNet
from l4s_ensemble.unet.training.engine import FoldTrainer

COMPARED = 2
"""Tiles whose probabilities are compared between the two ways."""

BLOCK_TILES = 64
"""Tiles read from the store at once, as the prediction stage does it."""


@dataclass(frozen=True)
class World:
    """The same tiles twice: as released files and as a store.

    Attributes
    ----------
    files : tuple of PatchFiles
    store : Path
    sensor : Sensor
    seconds_store : float
        What it took to make the store of the files, once.
    """

    files: tuple[PatchFiles, ...]
    store: Path
    sensor: Sensor
    seconds_store: float

    @classmethod
    def of(cls, root: Path, store: Path, sensor: Sensor = L4S) -> World:
        """Make the store of the training tiles in a folder."""
        files = tuple(find_patches(root, "train", sensor))
        started = time.perf_counter()
        build_store(files, sensor, store)
        return cls(files, store, sensor, time.perf_counter() - started)

    def tiles(self) -> TileSet:
        """All tiles, in memory."""
        return load(open_store(self.store))


def settings(*overrides: str) -> UNetConfig:
    """The official recipe, as this package's engine takes it."""
    fixed = ("unet.steps=null", "unet.checkpoint=last", "unet.seeds=1", "unet.tta=false")
    return load_settings("baseline", [*fixed, *overrides]).unet


def official_network(bands: int) -> OfficialUNet:
    """The official network with seeded weights, float32, in torch's own layout."""
    network = build("baseline", bands, seed=0)
    if not isinstance(network, OfficialUNet):
        raise TypeError("the network called baseline is not the official one")
    return network


def compare_training(
    world: World,
    hardware: Hardware,
    *,
    batch: int,
    steps: int,
    turns: int,
    workers: int = WORKERS,
    compiled: bool = False,
) -> tuple[dict[str, Any], FoldModel]:
    """Blocks of steps, ours and the official ones in turns, on the same tiles.

    One epoch of our engine is one block, and the official loop has its turn after each epoch, in a
    process as torch leaves it: ours sets how memory is kept. A first block of each is not counted.
    The processor's seconds leave out the official loop's worker processes, so their ratio is a
    lower bound.
    """
    tiles = world.tiles().to(hardware.device)
    where = np.resize(np.arange(len(tiles)), steps * batch)
    config = settings(
        f"unet.batch={batch}", f"unet.epochs={turns + 1}", f"unet.compile={str(compiled).lower()}"
    )
    trainer = FoldTrainer(tiles, where, config, seed=0, fold=0, hardware=hardware)
    bands = len(world.sensor.bands)
    read = OfficialTiles(world.files, world.sensor.band_names)
    feed = loader(read, np.tile(where, turns + 1), batch=batch, workers=workers)
    told: list[Spent] = []
    ours: list[Spent] = []
    since = time.process_time()

    def turn(at: FoldTrainer) -> None:
        nonlocal since
        ours.append(Spent(at.epochs[-1]["seconds"], time.process_time() - since))
        told.append(theirs.turn()[0])
        since = time.process_time()

    network, threads = official_network(bands), torch.get_num_threads()
    with Apart(training_in_turns, network, hardware.device, feed, steps, threads) as theirs:
        model = trainer.run(turn)
    ratio = [a.wall / b.wall for a, b in zip(told[1:], ours[1:], strict=True)]
    busy = [a.busy / b.busy for a, b in zip(told[1:], ours[1:], strict=True)]
    patches = steps * batch
    rate = patches / statistics.median(s.wall for s in ours[1:])
    edge = int(tiles.counts.shape[-1])
    flops = flops_per_patch("baseline", bands, edge)
    return {
        "batch": batch,
        "steps_a_block": steps,
        "blocks": turns,
        "compiled": compiled,
        "official_patches_per_s": _rounded(patches / statistics.median(s.wall for s in told[1:])),
        "patches_per_s": _rounded(rate),
        "ratio": round(statistics.median(ratio), 2),
        "ratios": [round(r, 2) for r in ratio],
        "ratio_processor": round(statistics.median(busy), 2),
        **_arithmetic(flops, rate, hardware.device),
    }, model


def _arithmetic(flops: int, rate: float, device: torch.device) -> dict[str, float]:
    """What a training at a rate in patches/s computes, and its share of a matrix product's rate."""
    possible = matmul_flops_per_s(device)
    return {
        "gflops_per_patch": _rounded(flops / 1e9),
        "tflops_per_s": _rounded(flops * rate / 1e12),
        "matmul_tflops_per_s": _rounded(possible / 1e12),
        "share_of_matmul": round(flops * rate / possible, 3),
    }


LARGE = {"width": 128, "depth": 5, "tta": False}
"""Our network at a size that a GPU is bought for."""


def train_large(
    world: World, hardware: Hardware, *, batch: int, steps: int, turns: int, compiled: bool
) -> dict[str, Any]:
    """How much of the machine the training of a large network uses; the first block is not counted.

    Its seconds are those of the whole step: batches, augmentation, optimiser and averaged weights.
    """
    tiles = world.tiles().to(hardware.device)
    where = np.resize(np.arange(len(tiles)), steps * batch)
    config = UNetConfig.model_validate(
        {**LARGE, "batch": batch, "epochs": turns + 1, "compile": compiled}
    )
    trainer = FoldTrainer(tiles, where, config, seed=0, fold=0, hardware=hardware)
    trainer.run()
    rate = statistics.median(e["patches_per_s"] for e in trainer.epochs[1:])
    bands, edge = len(world.sensor.bands), int(tiles.counts.shape[-1])
    flops = flops_per_patch("unet", bands, edge, width=config.width, depth=config.depth)
    return {
        **LARGE,
        "batch": batch,
        "compiled": compiled,
        "patches_per_s": _rounded(rate),
        **_arithmetic(flops, rate, hardware.device),
    }


def print_large(told: dict[str, Any]) -> None:
    """Show the large network."""
    print(
        f"\nOurs, {told['width']} wide, {told['depth']} levels, batch {told['batch']}: "
        f"{told['patches_per_s']} patches/s, {_of_matmul(told)}"
    )


def _of_matmul(told: dict[str, Any]) -> str:
    return (
        f"{told['tflops_per_s']} TFLOP/s, {100 * told['share_of_matmul']:.0f} % of the "
        f"{told['matmul_tflops_per_s']} of a bf16 matrix product here"
    )


def fresh_model(world: World, hardware: Hardware) -> FoldModel:
    """The official network with its first weights, for its speed alone."""
    tiles = world.tiles()
    normalisation = Normalisation.fit(tiles, np.arange(len(tiles)), settings())
    bands = len(world.sensor.bands)
    arguments = arguments_of(settings(), bands)
    return FoldModel(hardware.place(build(**arguments)).eval(), arguments, normalisation, 0)


def compare_prediction(
    world: World,
    hardware: Hardware,
    model: FoldModel,
    *,
    patches: int,
    turns: int,
    workers: int = WORKERS,
) -> dict[str, Any]:
    """Masks of the same tiles with the same weights, both ways in turns, reading included.

    Ours: tiles from the store, batches as the code chooses them, no averaging over symmetries.
    Theirs: image files through the same workers, one tile at a time. Neither writes its masks.
    """
    files = world.files[:patches]
    official = official_network(len(world.sensor.bands))
    official.load_state_dict(model.network.state_dict())
    feed = loader(
        OfficialTiles(files, world.sensor.band_names, masks=False),
        range(len(files)), batch=1, workers=min(workers, len(files)),
    )  # fmt: skip
    predictor = Predictor(model, hardware, tta=False)
    found: dict[str, NDArray[np.uint8]] = {}

    def ours() -> None:
        found["ours"] = predict_from_store(world.store, predictor, len(files))

    told, made = [], []
    threads = torch.get_num_threads()
    with Apart(prediction_in_turns, official, hardware.device, feed, threads) as theirs:
        for _ in range(turns + 1):
            spent, found["theirs"] = theirs.turn()
            told.append(spent)
            made.append(clocked(ours))
    ratio = [a.wall / b.wall for a, b in zip(told[1:], made[1:], strict=True)]
    busy = [a.busy / b.busy for a, b in zip(told[1:], made[1:], strict=True)]
    official_s = statistics.median(s.wall for s in told[1:])
    ours_s = statistics.median(s.wall for s in made[1:])
    store_s = world.seconds_store * len(files) / len(world.files)
    return {
        "patches": len(files),
        "turns": turns,
        "batch": predictor.batch,
        "official_patches_per_s": _rounded(len(files) / official_s),
        "patches_per_s": _rounded(len(files) / ours_s),
        "ratio": round(statistics.median(ratio), 2),
        "ratios": [round(r, 2) for r in ratio],
        "ratio_processor": round(statistics.median(busy), 2),
        "ratio_with_store_made": round(official_s / (ours_s + store_s), 2),
        "same_class_share": float(np.mean(found["ours"] == found["theirs"])),
        "max_probability_difference": _difference(
            world, files, official.to(hardware.device).eval(), predictor
        ),
    }


def _difference(
    world: World, files: Sequence[PatchFiles], official: OfficialUNet, predictor: Predictor
) -> float:
    """Largest difference of a probability between the two ways, over a few tiles."""
    few = OfficialTiles(files[:COMPARED], world.sensor.band_names, masks=False)
    device = predictor.hardware.device
    image = torch.from_numpy(np.stack([few[i][0] for i in range(len(few))])).to(device)
    with torch.no_grad():
        theirs = torch.sigmoid(official(image)[:, 0]).cpu().numpy()
    tiles = load(open_store(world.store), np.arange(len(few)), masks=False).to(device)
    ours = sigmoid(predictor(tiles, np.arange(len(few))))
    return float(np.abs(ours - theirs).max())


def predict_from_store(store: Path, predictor: Predictor, patches: int) -> NDArray[np.uint8]:
    """Classes (n, y, x) of the first tiles of a store: opened, read and scored block by block."""
    dataset = open_store(store)
    device = predictor.hardware.device
    parts = []
    for start in range(0, patches, BLOCK_TILES):
        block = np.arange(start, min(start + BLOCK_TILES, patches))
        tiles = load(dataset, block, masks=False).to(device)
        logit = predictor(tiles, np.arange(len(tiles)))
        parts.append((logit > 0).astype(np.uint8))
    return np.concatenate(parts)


def print_training(told: dict[str, Any]) -> None:
    """Show the first comparison."""
    print(
        f"\nTraining the official network, batch {told['batch']}, {told['blocks']} blocks of "
        f"{told['steps_a_block']} steps in turns\n"
    )
    _print_rates("float32 loop, files, 4 workers", told)
    print(f"\n{told['gflops_per_patch']} GFLOP a patch: {_of_matmul(told)}")


def print_prediction(told: dict[str, Any]) -> None:
    """Show the second comparison."""
    print(f"\nMasks of {told['patches']} patches with the same weights, reading included\n")
    _print_rates("one by one, float32, files", told)
    print(
        f"\nSame class in {100 * told['same_class_share']:.3f} % of the pixels, probabilities "
        f"within {told['max_probability_difference']:.4f}; with the making of the store "
        f"{told['ratio_with_store_made']:.2f} times"
    )


def _print_rates(their_way: str, told: dict[str, Any]) -> None:
    print("| way | patches/s | times | spread | by processor seconds |")
    print("|---|--:|--:|--:|--:|")
    print(f"| official: {their_way} | {told['official_patches_per_s']} | 1.00 | | 1.00 |")
    print(
        f"| ours | {told['patches_per_s']} | {told['ratio']:.2f} | {_spread(told['ratios'])} "
        f"| {told['ratio_processor']:.2f} |"
    )


def _spread(ratios: Sequence[float]) -> str:
    return f"{min(ratios):.2f}–{max(ratios):.2f}"


def _rounded(value: float, digits: int = 3) -> float:
    """Some significant digits."""
    return round(value, digits - 1 - math.floor(math.log10(value))) if value > 0 else value
