"""Training of one network: a fixed schedule, keyed draws, a checkpoint every epoch."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from l4s_ensemble.config import UNetConfig
from l4s_ensemble.errors import L4SError
from l4s_ensemble.run.files import atomic_path
from l4s_ensemble.unet.hardware import LAYOUT, Hardware
from l4s_ensemble.unet.inputs import augment
from l4s_ensemble.unet.inputs.normalisation import Normalisation, plain_batches, spread
from l4s_ensemble.unet.inputs.tileset import TileSet, sent
from l4s_ensemble.unet.networks.network import build
from l4s_ensemble.unet.training.average import follow, recalibrate
from l4s_ensemble.unet.training.faster import capture, compiled
from l4s_ensemble.unet.training.losses import loss_by_name
from l4s_ensemble.unet.training.schedule import learning_rate, optimiser_of, restore, set_rate

RECALIBRATION_TILES = 256
"""Training tiles that set the batch statistics of the averaged network."""

VALIDATION_TILES = 16
"""Most validation tiles whose loss is reported after every epoch."""

CHECK_EVERY = 25
"""On a GPU, steps between two looks at the loss: each look waits for the device."""

LOGGED_EPOCHS = 40
"""About so many epochs of a long training are logged."""

SKIPPED_IN_A_ROW = 10
"""Steps without a finite gradient, one after the other, that end a training."""

_ORDER = 2  # first word of a key: what the draw is for

Epoch = dict[str, Any]
Learn = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

log = logging.getLogger("l4s_ensemble")


class Trainer:
    """Trains one network.

    Parameters
    ----------
    tiles : TileSet
        Training tiles, with masks.
    config : UNetConfig
    key : tuple of int
        Seed and fold: the key of all draws.
    hardware : Hardware
    number : int
        Of the network, from 0: the networks of a key differ by it.
    validation : TileSet, optional
        Tiles with masks; the loss of `VALIDATION_TILES` of them is reported after every epoch and
        chooses nothing.
    start : tuple of (Module, Normalisation), optional
        A trained network to go on from, and how its inputs are normalised.

    Attributes
    ----------
    epochs : list of dict
        Of the epochs done, with the keys of `l4s_ensemble.unet.summary.EpochSummary`.
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
        config: UNetConfig,
        key: tuple[int, int],
        hardware: Hardware,
        *,
        number: int = 0,
        validation: TileSet | None = None,
        start: tuple[nn.Module, Normalisation] | None = None,
    ) -> None:
        self.tiles, self.config, self.hardware = tiles.to(hardware.device), config, hardware
        # The first network of a fold has the key that a single one has.
        self.key: tuple[int, ...] = key if number == 0 else (*key, number)
        self.normalisation = start[1] if start else Normalisation.fit(self.tiles, config)
        held_out = validation and validation.at(spread(len(validation), VALIDATION_TILES))
        self.validation = held_out and held_out.to(hardware.device)
        self.batch = min(config.batch, len(tiles))
        self.steps_an_epoch = len(tiles) // self.batch
        network = (
            copy.deepcopy(start[0]).requires_grad_()
            if start
            else build(config, self.normalisation.channels, seed=_first_weights(self.key))
        )
        self.network = hardware.place(network)
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
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

    def run(self, checkpoint: Path | None = None) -> nn.Module:
        """Train the epochs that are left, and return the averaged network, in evaluation mode.

        Parameters
        ----------
        checkpoint : Path, optional
            File that is rewritten after every epoch. If it holds the state of this training, that
            is gone on from, to the same result bit for bit.

        Raises
        ------
        L4SError
            If a loss is not finite, or `SKIPPED_IN_A_ROW` gradients are not.
        """
        parts = (
            (checkpoint.parent.name, checkpoint.name.split(".")[0]) if checkpoint else ("network",)
        )
        name = "/".join(parts)
        if checkpoint and self.resume(checkpoint):
            log.info("unet %s: going on after epoch %d", name, len(self.epochs))
        while len(self.epochs) < self.epochs_planned:
            self.epochs.append(self._epoch(len(self.epochs)))
            if len(self.epochs) == self.epochs_planned:
                self._settle()
            if checkpoint:
                self.save(checkpoint)
            last, done = self.epochs[-1], len(self.epochs)
            if done % max(1, self.epochs_planned // LOGGED_EPOCHS) and done < self.epochs_planned:
                continue
            log.info(
                "unet %s: epoch %d/%d, loss %.4f, %.1f patches/s",
                name,
                len(self.epochs),
                self.epochs_planned,
                last["loss"],
                last["patches_per_s"],
            )
        return self.average

    def _settle(self) -> None:
        """Give the averaged network its batch statistics, or all of the network as it is."""
        if self.config.ema == 0:
            self.average.load_state_dict(self.network.state_dict())
            return
        inputs = plain_batches(
            self.tiles, self.normalisation, most=RECALIBRATION_TILES, batch=self.batch
        )
        with self.hardware.autocast():
            recalibrate(self.average, inputs)

    def _epoch(self, epoch: int) -> Epoch:
        started = time.monotonic()
        self.network.train()
        shuffled = self.order(epoch)
        before = epoch * self.steps_an_epoch
        count = min(self.steps_an_epoch, self.steps - before)
        found: list[torch.Tensor] = []
        every = 1 if self.hardware.device.type == "cpu" else CHECK_EVERY
        for i in range(count):
            lr = learning_rate(before + i, self.steps, self.config.lr, self.config.schedule)
            set_rate(self.optimiser, lr)
            found.append(self._step(epoch, shuffled[i * self.batch : (i + 1) * self.batch]))
            if self.config.ema > 0:
                follow(self.average, self.network, self.config.ema, before + i + 1)
            if (i + 1) % every == 0 or i + 1 == count:
                self._look(found[-(i % every + 1) :], epoch, i, shuffled)
        losses, norms = torch.stack(found).double().cpu().numpy().T
        finite = norms[np.isfinite(norms)]
        trained = time.monotonic() - started
        validation = self.validation_loss()
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

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Positions of the tiles in the order in which an epoch shows them."""
        return np.random.default_rng([_ORDER, *self.key, epoch]).permutation(len(self.tiles))

    def make_batch(self, epoch: int, where: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        """Augment the tiles at `where`; each sample depends on its key alone.

        Returns
        -------
        x, target : float32 Tensor, shape (n, channel, y, x) and (n, 1, y, x)
        """
        tiles, device = self.tiles, self.tiles.counts.device
        assert tiles.mask is not None
        patch, index = tiles.patch[where], sent(where, device)
        symmetry, gain = augment.draw(self.key, epoch, patch, tiles.spectral, self.config)
        counts, mask = tiles.counts[index], tiles.mask[index]
        if symmetry.any():
            counts, mask = (augment.apply_symmetries(v, symmetry) for v in (counts, mask))
        x = self.normalisation.inputs(tiles, index, counts, sent(gain, device))
        return x.contiguous(memory_format=LAYOUT), mask[:, None].float()

    def _step(self, epoch: int, where: NDArray[np.int64]) -> torch.Tensor:
        """One step; its loss and the norm of its gradient, (2,)."""
        x, target = self.make_batch(epoch, where)
        if self._learn is None:
            self._learn = self._make_step(x, target)
        return self._learn(x, target)

    def _make_step(self, x: torch.Tensor, target: torch.Tensor) -> Learn:
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
        made = capture(learn, (x, target), self.network, self.optimiser)
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
        self, found: list[torch.Tensor], epoch: int, last: int, shuffled: NDArray[np.int64]
    ) -> None:
        """Stop if a loss is not finite, or too many gradients in a row are not."""
        values = torch.stack(found).cpu().numpy()
        for at, (loss, norm) in enumerate(values):
            self._skipped_in_a_row = 0 if np.isfinite(norm) else self._skipped_in_a_row + 1
            if np.isfinite(loss) and self._skipped_in_a_row < SKIPPED_IN_A_ROW:
                continue
            step = last - len(values) + 1 + at
            where = shuffled[step * self.batch : (step + 1) * self.batch]
            # A batch depends on its key alone: this is the one that was seen.
            finite = torch.isfinite(self.make_batch(epoch, where)[0]).flatten(1).all(dim=1)
            patch, bad = self.tiles.patch[where], ~finite.cpu().numpy()
            inputs = f"no, not those of patch {_listed(patch[bad])}" if bad.any() else "yes"
            raise L4SError(
                "the loss of the U-Net, or its gradient step after step, is not finite",
                where=f"network of key {self.key}, epoch {epoch}, step {step}",
                found=f"loss {loss:g}; inputs finite: {inputs}; batch: patch {_listed(patch)}",
                fix="data check tells which values of the patches are not finite"
                if bad.any()
                else "lower unet.lr, or set unet.precision=float32",
            )

    @torch.inference_mode()
    def validation_loss(self) -> float | None:
        """Loss of some validation tiles, of the network as it is; it chooses nothing."""
        tiles = self.validation
        if not tiles or tiles.mask is None:
            return None
        self.network.eval()
        x = self.normalisation.inputs(tiles, torch.arange(len(tiles), device=tiles.counts.device))
        with self.hardware.autocast():
            logit = self.network(x.contiguous(memory_format=LAYOUT))
        return float(self.loss(logit, tiles.mask[:, None].float()))

    def save(self, path: Path) -> None:
        """Write a checkpoint, atomically: all that `resume` needs to go on bit for bit."""
        state = {
            "identity": self._identity(),
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "epochs": self.epochs,
            "captured": self.captured,
            "skipped_in_a_row": self._skipped_in_a_row,
        }
        with atomic_path(path) as partial:
            torch.save(state, partial)

    def resume(self, path: Path) -> bool:
        """Go on from a checkpoint; False if there is none of this training, or half of one."""
        if not path.is_file():
            return False
        try:
            state = torch.load(path, map_location=self.hardware.device, weights_only=True)
        except Exception as error:  # torch raises many kinds for a damaged file
            log.warning("unet: %s cannot be read (%s); starting over", path.name, error)
            return False
        if state.get("identity") != self._identity():
            log.warning("unet: %s is of another training; starting over", path.name)
            return False
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        restore(self.optimiser, state["optimiser"])
        self._learn = None  # a captured step has its own state
        self.epochs, self.captured = list(state["epochs"]), state["captured"]
        self._skipped_in_a_row = state["skipped_in_a_row"]
        return True

    def _identity(self) -> dict[str, Any]:
        return {
            "config": self.config.model_dump(mode="json"),
            "key": list(self.key),
            "patches": self.tiles.patch.tolist(),
            "landslide_px": None if self.tiles.mask is None else int(self.tiles.mask.sum()),
            "normalisation": self.normalisation.model_dump(mode="json"),
        }


def _listed(patch: NDArray[np.int64]) -> str:
    return ", ".join(map(str, patch))


def _first_weights(key: tuple[int, ...]) -> int:
    """Seed of a network's first weights: each starts elsewhere, so an average is worth more."""
    if len(key) == 2:
        return key[0] * 1009 + key[1]
    return int(np.random.SeedSequence(key).generate_state(1)[0])
