"""Training of one network: a fixed schedule, keyed draws, a checkpoint every epoch."""

from __future__ import annotations

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
from l4s_ensemble.unet.hardware import LAYOUT, Hardware
from l4s_ensemble.unet.inputs.batches import Batch, Batches, plain_batches, spread
from l4s_ensemble.unet.inputs.normalisation import Normalisation, TileSet
from l4s_ensemble.unet.model import FoldModel
from l4s_ensemble.unet.networks.network import arguments_of, build
from l4s_ensemble.unet.training import checkpoint
from l4s_ensemble.unet.training.average import Average, recalibrate
from l4s_ensemble.unet.training.captured import capture
from l4s_ensemble.unet.training.compiled import compiled
from l4s_ensemble.unet.training.losses import loss_by_name
from l4s_ensemble.unet.training.schedule import learning_rate, optimiser_of, restore, set_rate

RECALIBRATION_TILES = 256
"""Training tiles that set the batch statistics of the averaged network."""

VALIDATION_TILES = 16
"""Most held-out tiles whose loss is reported after every epoch."""

CHECK_EVERY = 25
"""On a GPU, steps between two looks at the loss: each look waits for the device."""

SKIPPED_IN_A_ROW = 10
"""Steps without a finite gradient, one after the other, that end a training."""

Epoch = dict[str, Any]
Learn = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class FoldTrainer:
    """Trains one network of one fold.

    Parameters
    ----------
    tiles : TileSet
        On the device, with masks.
    positions : array_like of int
        Training tiles of the fold, positions in `tiles`.
    config : UNetConfig
    seed, fold : int
        Key of all draws.
    hardware : Hardware
    number : int
        Of the network in its fold, from 0: the seeds of a fold differ by it.
    held : array_like of int
        Held-out tiles; the loss of `VALIDATION_TILES` of them is reported after every epoch and
        chooses nothing.

    Attributes
    ----------
    epochs : list of dict
        Of the epochs done: ``epoch, steps, skipped_steps, seconds, patches_per_s, lr, loss,
        gradient_norm`` (mean over steps, before clipping) and ``validation_loss`` (None without
        held-out tiles).
    captured : bool, str or None
        Whether steps are captured as a CUDA graph, or why not; None on a CPU and before a step.

    Raises
    ------
    ConfigError
        If the settings do not fit each other or the network.
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
        number: int = 0,
        held: ArrayLike = (),
    ) -> None:
        self.positions: NDArray[np.int64] = np.asarray(positions, np.int64)
        self.config = config
        self.fold, self.number = fold, number
        # The first network of a fold has the key that a single one has.
        self.key: tuple[int, ...] = (seed, fold) if number == 0 else (seed, fold, number)
        self.hardware = hardware
        self.normalisation = Normalisation.fit(tiles, self.positions, config)
        self.batches = Batches(tiles, self.positions, self.normalisation, config, self.key)
        self.tiles = self.batches.tiles
        self.held = spread(np.asarray(held, np.int64), VALIDATION_TILES)
        self.batch = min(config.batch, len(self.positions))
        self.steps_an_epoch = len(self.positions) // self.batch
        self.arguments = arguments_of(config, len(self.normalisation.channels))
        network = build(
            **self.arguments, seed=_first_weights(seed, fold, number), weights=config.weights,
            channels=self.normalisation.channels,
        )  # fmt: skip
        self.network = hardware.place(network)
        self.average = Average(self.network, config.ema)
        self.optimiser = optimiser_of(self.network, config)
        self.loss = loss_by_name(config.loss)
        self.epochs: list[Epoch] = []
        self.captured: bool | str | None = None
        self._learn: Learn | None = None
        self._skipped_in_a_row = 0

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return self.config.steps or self.steps_an_epoch * self.config.epochs

    @property
    def epochs_planned(self) -> int:
        """Epochs of the whole training; the last one may be cut short by ``config.steps``."""
        return math.ceil(self.steps / self.steps_an_epoch)

    def run(self, after_epoch: Callable[[FoldTrainer], None] | None = None) -> FoldModel:
        """Train the epochs that are left, and return the averaged network.

        Raises
        ------
        L4SError
            If a loss is not finite, or `SKIPPED_IN_A_ROW` gradients are not.
        """
        while len(self.epochs) < self.epochs_planned:
            self.epochs.append(self._epoch(len(self.epochs)))
            if after_epoch is not None:
                after_epoch(self)
        return self._settled()

    def _epoch(self, epoch: int) -> Epoch:
        started = time.monotonic()
        self.network.train()
        shuffled = self.batches.order(epoch)
        before = epoch * self.steps_an_epoch
        count = min(self.steps_an_epoch, self.steps - before)
        told: list[torch.Tensor] = []
        every = 1 if self.hardware.device.type == "cpu" else CHECK_EVERY
        for i in range(count):
            lr = learning_rate(before + i, self.steps, self.config.lr, self.config.schedule)
            set_rate(self.optimiser, lr)
            told.append(self._step(epoch, shuffled[i * self.batch : (i + 1) * self.batch]))
            if self.config.ema > 0:
                self.average.update(self.network, before + i + 1)
            if (i + 1) % every == 0 or i + 1 == count:
                self._look(told[-(i % every + 1) :], epoch, i, shuffled)
        losses, norms = torch.stack(told).double().cpu().numpy().T
        finite = norms[np.isfinite(norms)]
        trained = time.monotonic() - started
        validation = self._validation_loss()
        return {
            "epoch": epoch,
            "steps": count,
            "skipped_steps": count - len(finite),
            "seconds": time.monotonic() - started,
            "patches_per_s": count * self.batch / trained,
            "lr": lr,
            "loss": float(losses.mean()),
            "gradient_norm": float(finite.mean()) if len(finite) else None,
            "validation_loss": validation,
        }

    def _step(self, epoch: int, where: NDArray[np.int64]) -> torch.Tensor:
        """One step; its loss and the norm of its gradient, (2,)."""
        batch = self.batches.make(epoch, where)
        x = self._laid_out(batch.x)
        if self._learn is None:
            self._learn = self._make_step(x, batch)
        return self._learn(x, batch.target)

    def _make_step(self, x: torch.Tensor, batch: Batch) -> Learn:
        """What learns from a batch; on a GPU a captured step, where that works."""
        run: Any = self.network
        if self.config.compile:
            run = compiled(self.network, x, self.hardware)

        def learn(x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            self.optimiser.zero_grad(set_to_none=True)
            with self.hardware.autocast():
                logit = run(x)
            loss = self.loss(logit, target)
            loss.backward()  # type: ignore[no-untyped-call]
            norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.config.grad_clip)
            self._move(norm.detach())
            return torch.stack([loss.detach(), norm.detach()])

        if self.hardware.device.type != "cuda":
            return learn
        made = capture(learn, (x, batch.target), self.network, self.optimiser)
        self.captured = made if isinstance(made, str) else True
        return learn if isinstance(made, str) else made

    def _move(self, norm: torch.Tensor) -> None:
        """Move the weights, unless the gradient is not finite: then nothing changes."""
        if self.hardware.device.type == "cpu":
            if torch.isfinite(norm):
                self.optimiser.step()
            return
        # A captured step cannot ask: its optimiser skips where this is 1, as for a GradScaler.
        self.optimiser.found_inf = (~torch.isfinite(norm)).float()  # type: ignore[attr-defined]
        self.optimiser.step()

    def _look(
        self, told: list[torch.Tensor], epoch: int, last: int, shuffled: NDArray[np.int64]
    ) -> None:
        """Stop if a loss is not finite, or too many gradients in a row are not."""
        values = torch.stack(told).cpu().numpy()
        for at, (loss, norm) in enumerate(values):
            self._skipped_in_a_row = 0 if np.isfinite(norm) else self._skipped_in_a_row + 1
            if np.isfinite(loss) and self._skipped_in_a_row < SKIPPED_IN_A_ROW:
                continue
            step = last - len(values) + 1 + at
            where = shuffled[step * self.batch : (step + 1) * self.batch]
            # A batch depends on its key alone: this is the one that was seen.
            finite = torch.isfinite(self.batches.make(epoch, where).x).flatten(1).all(dim=1)
            patch, bad = self.tiles.patch[where], ~finite.cpu().numpy()
            inputs = f"no, not those of patch {_listed(patch[bad])}" if bad.any() else "yes"
            raise L4SError(
                "the loss of the U-Net, or its gradient step after step, is not finite",
                where=f"fold {self.fold}, network {self.number}, epoch {epoch}, step {step}",
                found=f"loss {loss:g}; inputs finite: {inputs}; batch: patch {_listed(patch)}",
                fix="data check tells which values of the patches are not finite"
                if bad.any()
                else "lower unet.lr, or set unet.precision=float32",
            )

    @torch.inference_mode()
    def _validation_loss(self) -> float | None:
        """Loss of some held-out tiles, of the network as it is; it chooses nothing."""
        if not len(self.held) or self.tiles.mask is None:
            return None
        self.network.eval()
        index = torch.from_numpy(self.held).to(self.tiles.counts.device)
        x = self._laid_out(self.normalisation.inputs(self.tiles, index))
        with self.hardware.autocast():
            logit = self.network(x)
        return float(self.loss(logit, self.tiles.mask[index][:, None].float()))

    def _settled(self) -> FoldModel:
        """The averaged network with the batch statistics of its own weights.

        Where nothing is averaged, it is the network as training left it.
        """
        network = self.average.network
        if self.config.ema > 0:
            inputs = plain_batches(
                self.tiles, self.positions, self.normalisation,
                most=RECALIBRATION_TILES, batch=self.batch,
            )  # fmt: skip
            with self.hardware.autocast():
                recalibrate(network, inputs)
        else:
            network.load_state_dict(self.network.state_dict())
        return FoldModel(network, self.arguments, self.normalisation, self.fold, self.number)

    def _laid_out(self, x: torch.Tensor) -> torch.Tensor:
        return x.contiguous(memory_format=LAYOUT)

    def save(self, path: Path) -> None:
        """Write a checkpoint, atomically: all that `resume` needs to go on bit for bit."""
        state = {
            "network": self.network.state_dict(),
            "average": self.average.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "epochs": self.epochs,
            "skipped_in_a_row": self._skipped_in_a_row,
        }
        checkpoint.write(path, self._identity(), state)

    def resume(self, path: Path) -> bool:
        """Go on from a checkpoint; False if there is none that fits."""
        state = checkpoint.read(path, self._identity(), self.hardware.device)
        if state is None:
            return False
        self.network.load_state_dict(state["network"])
        self.average.network.load_state_dict(state["average"])
        restore(self.optimiser, state["optimiser"])
        self._learn = None  # a captured step has its own state
        self.epochs = list(state["epochs"])
        self._skipped_in_a_row = state["skipped_in_a_row"]
        return True

    def _identity(self) -> dict[str, Any]:
        return {
            "config": self.config.model_dump(mode="json"),
            "key": list(self.key),
            "patches": self.tiles.patch[self.positions].tolist(),
            "normalisation": self.normalisation.as_dict(),
        }


def _listed(patch: NDArray[np.int64]) -> str:
    return ", ".join(map(str, patch))


def _first_weights(seed: int, fold: int, number: int) -> int:
    """Seed of a network's first weights: each starts elsewhere, so an average is worth more."""
    if number == 0:
        return seed * 1009 + fold
    return int(np.random.SeedSequence([seed, fold, number]).generate_state(1)[0])
