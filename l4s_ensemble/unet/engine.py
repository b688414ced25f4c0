"""Training of one fold: a fixed schedule, keyed draws, a checkpoint every epoch."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from l4s_ensemble.config import UNetConfig
from l4s_ensemble.errors import L4SError
from l4s_ensemble.run.files import atomic_path
from l4s_ensemble.unet.average import Average, recalibrate
from l4s_ensemble.unet.batches import Batches
from l4s_ensemble.unet.hardware import Hardware
from l4s_ensemble.unet.inputs import Normalisation, TileSet
from l4s_ensemble.unet.losses import bce_dice
from l4s_ensemble.unet.model import FoldModel
from l4s_ensemble.unet.network import build

log = logging.getLogger("l4s_ensemble")

WARM_UP = 0.3
"""Share of the steps in which the learning rate rises."""

LR_START, LR_END = 0.04, 0.001
"""Learning rate of the first and the last step, as shares of the peak."""

RECALIBRATION_TILES = 256
"""Training tiles that set the batch statistics of the averaged network."""

CHECK_EVERY = 25
"""On a GPU, steps between two looks at the loss: each look waits for the device."""

Epoch = dict[str, Any]


class FoldTrainer:
    """Trains the network of one fold.

    Parameters
    ----------
    tiles : TileSet
        On the device.
    positions : array_like of int
        Training tiles of the fold, positions in `tiles`.
    config : UNetConfig
    seed, fold : int
        Key of all draws.
    hardware : Hardware

    Attributes
    ----------
    epochs : list of dict
        ``epoch, loss, lr, seconds, patches_per_s`` of the epochs done.
    """

    def __init__(
        self,
        tiles: TileSet,
        positions: ArrayLike,
        config: UNetConfig,
        *,
        seed: int,
        fold: int,
        hardware: Hardware,
    ) -> None:
        self.tiles = tiles
        self.positions: NDArray[np.int64] = np.asarray(positions, np.int64)
        self.config = config
        self.key = (seed, fold)
        self.hardware = hardware
        self.normalisation = Normalisation.fit(tiles, self.positions)
        self.batches = Batches(tiles, self.positions, self.normalisation, config, self.key)
        self.arguments: dict[str, Any] = {
            "name": config.network,
            "bands": len(tiles.sensor.bands),
            "width": config.width,
            "depth": config.depth,
            "norm": config.norm,
        }
        # Every fold starts elsewhere: their average is then worth more.
        self.network = hardware.place(build(**self.arguments, seed=seed * 1009 + fold))
        self.average = Average(self.network, config.ema)
        self.optimiser = _optimiser(self.network, config)
        self.batch = min(config.batch, len(self.positions))
        self.steps_an_epoch = len(self.positions) // self.batch
        self.epochs: list[Epoch] = []

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return self.steps_an_epoch * self.config.epochs

    def run(self, after_epoch: Callable[[FoldTrainer], None] | None = None) -> FoldModel:
        """Train the epochs that are left, and return the averaged network.

        Raises
        ------
        L4SError
            If the loss or a gradient is not finite.
        """
        while len(self.epochs) < self.config.epochs:
            self.epochs.append(self._epoch(len(self.epochs)))
            if after_epoch is not None:
                after_epoch(self)
        return self._finish()

    def _epoch(self, epoch: int) -> Epoch:
        started = time.monotonic()
        self.network.train()
        shuffled = self.batches.order(epoch)
        losses: list[torch.Tensor] = []
        every = 1 if self.hardware.device.type == "cpu" else CHECK_EVERY
        for i in range(self.steps_an_epoch):
            step = epoch * self.steps_an_epoch + i
            lr = learning_rate(step, self.steps, self.config.lr)
            for group in self.optimiser.param_groups:
                group["lr"] = lr
            losses.append(self._step(epoch, shuffled[i * self.batch : (i + 1) * self.batch]))
            if self.config.ema > 0:
                self.average.update(self.network, step + 1)
            if (i + 1) % every == 0 or i + 1 == self.steps_an_epoch:
                self._look(losses[-every:], epoch, i)
        mean = float(torch.stack(losses).double().mean())
        seconds = time.monotonic() - started
        return {
            "epoch": epoch,
            "loss": mean,
            "lr": lr,
            "seconds": seconds,
            "patches_per_s": self.steps_an_epoch * self.batch / seconds,
        }

    def _step(self, epoch: int, where: NDArray[np.int64]) -> torch.Tensor:
        config = self.config
        batch = self.batches.make(epoch, where)
        self.optimiser.zero_grad(set_to_none=True)
        with self.hardware.autocast():
            logit = self.network(self._laid_out(batch.x))
        loss = bce_dice(logit, batch.target, batch.weight, label_smoothing=config.label_smoothing)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), config.grad_clip)
        self.optimiser.step()
        # A gradient that is not finite shows in the same number.
        return loss.detach() + 0 * norm.detach()

    def _look(self, losses: list[torch.Tensor], epoch: int, last: int) -> None:
        finite = torch.isfinite(torch.stack(losses)).cpu().numpy()
        if not finite.all():
            step = last - len(losses) + 1 + int(np.argmin(finite))
            raise L4SError(
                "the loss of the U-Net is not finite",
                where=f"fold {self.key[1]}, epoch {epoch}, step {step}",
                found=float(losses[int(np.argmin(finite))]),
                fix="lower unet.lr, or set unet.precision=float32; data check tells whether the "
                "tiles hold values that are not finite",
            )

    def _finish(self) -> FoldModel:
        network = self.average.network if self.config.ema > 0 else self.network
        with self.hardware.autocast():
            recalibrate(
                network, map(self._laid_out, self.batches.plain(RECALIBRATION_TILES, self.batch))
            )
        return FoldModel(network, self.arguments, self.normalisation, self.key[1])

    def _laid_out(self, x: torch.Tensor) -> torch.Tensor:
        return x.contiguous(memory_format=self.hardware.memory_format)

    def save(self, path: Path) -> None:
        """Write a checkpoint, atomically: all that `resume` needs to go on bit for bit."""
        state = {
            "key": self._identity(),
            "network": self.network.state_dict(),
            "average": self.average.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "epochs": self.epochs,
        }
        with atomic_path(path) as partial:
            torch.save(state, partial)

    def resume(self, path: Path) -> bool:
        """Go on from a checkpoint; False if there is none that fits."""
        if not path.is_file():
            return False
        try:
            state = torch.load(path, map_location=self.hardware.device, weights_only=True)
        except Exception as error:  # torch raises many kinds for a damaged file
            log.warning(
                "unet fold %d: %s cannot be read (%s); starting over", self.key[1], path.name, error
            )
            return False
        if state["key"] != self._identity():
            log.warning(
                "unet fold %d: %s is of another training; starting over", self.key[1], path.name
            )
            return False
        self.network.load_state_dict(state["network"])
        self.average.network.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.epochs = list(state["epochs"])
        return True

    def _identity(self) -> dict[str, Any]:
        return {
            "config": self.config.model_dump(mode="json"),
            "key": list(self.key),
            "patches": self.tiles.patch[self.positions].tolist(),
            "normalisation": self.normalisation.as_dict(),
        }


def learning_rate(step: int, steps: int, peak: float) -> float:
    """One-cycle schedule: half a cosine up, half a cosine down.

    After Smith and Topin 2017, https://arxiv.org/abs/1708.07120. A pure function of the step, so
    there is no state to lose.
    """
    top = max(1.0, WARM_UP * steps)
    if step < top:
        low, share = LR_START, step / top
    else:
        low, share = LR_END, 1 - (step - top) / max(1.0, steps - 1 - top)
    return peak * (low + (1 - low) * 0.5 * (1 - math.cos(math.pi * share)))


def _optimiser(network: nn.Module, config: UNetConfig) -> torch.optim.Optimizer:
    """AdamW; norms and biases do not decay."""
    parameters = list(network.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr, fused=True)
