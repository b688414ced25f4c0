"""Training of one network: a fixed schedule, keyed draws, a checkpoint every epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from l4s_ensemble.config import UNetConfig
from l4s_ensemble.errors import ConfigError
from l4s_ensemble.unet.hardware import Hardware
from l4s_ensemble.unet.inputs.batches import Batch, Batches
from l4s_ensemble.unet.inputs.normalisation import Normalisation, TileSet
from l4s_ensemble.unet.inputs.sampling import read_tickets
from l4s_ensemble.unet.model import FoldModel
from l4s_ensemble.unet.networks.network import arguments_of, build
from l4s_ensemble.unet.training import checkpoint
from l4s_ensemble.unet.training.average import Average, recalibrate
from l4s_ensemble.unet.training.captured import capture
from l4s_ensemble.unet.training.compiled import compiled
from l4s_ensemble.unet.training.losses import loss_by_name
from l4s_ensemble.unet.training.not_finite import not_finite
from l4s_ensemble.unet.training.schedule import learning_rate, optimiser_of, restore, set_rate
from l4s_ensemble.unet.training.stopwatch import Stopwatch
from l4s_ensemble.unet.training.watch import Inner, watch

RECALIBRATION_TILES = 256
"""Training tiles that set the batch statistics of the averaged network."""

WATCH_RECALIBRATION_TILES = 64
"""The same where it is only watched, every epoch: a quarter of the work, nearly the same score."""

CHECK_EVERY = 25
"""On a GPU, steps between two looks at the loss: each look waits for the device."""

PARTS = ("batches", "network", "optimiser")
"""Of a step: making the batch, forward and backward, the rest. In an epoch ``seconds_<part>``.

Where a step is captured the optimiser counts with the network."""

Epoch = dict[str, Any]
Learn = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
Mark = Callable[[str], None]


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
    inner : Inner, optional
        Tiles to watch, where ``config.checkpoint`` is ``inner``; without them the last state is
        kept.

    Attributes
    ----------
    epochs : list of dict
        Of the epochs done: ``epoch, loss, lr, steps, seconds, patches_per_s``, ``seconds_<part>``
        for `PARTS` and ``seconds_watch``, and ``inner_f1, inner_threshold, inner_loss``, None where
        nothing is watched. ``seconds`` is all of it.
    best_epoch : int or None
        The epoch whose state is the best on the inner block so far.

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
        inner: Inner | None = None,
    ) -> None:
        self.positions: NDArray[np.int64] = np.asarray(positions, np.int64)
        self.config = config
        self.fold, self.number = fold, number
        # The first network of a fold has the key that a single one has.
        self.key: tuple[int, ...] = (seed, fold) if number == 0 else (seed, fold, number)
        self.hardware = hardware
        self.inner = inner if config.checkpoint == "inner" else None
        self.normalisation = Normalisation.fit(tiles, self.positions, config)
        self.batches = Batches(tiles, self.positions, self.normalisation, config, self.key)
        self.tiles = self.batches.tiles
        shown = len(self.batches.order(0))
        self.batch = min(config.batch, len(self.positions), shown)
        self.steps_an_epoch = shown // self.batch
        self.arguments = arguments_of(config, len(self.normalisation.channels))
        network = build(
            **self.arguments, seed=_first_weights(seed, fold, number),
            weights=config.weights, channels=self.normalisation.channels,
        )  # fmt: skip
        self.deep = _deep_weights(network, config)
        self.network = hardware.place(network)
        self.average = Average(self.network, config.ema)
        self.optimiser = optimiser_of(self.network, config)
        smoothing = config.label_smoothing
        self.loss = loss_by_name(config.loss, label_smoothing=smoothing)
        self._learn: Learn | None = None
        self._clock = Stopwatch(hardware.device)
        self._best: dict[str, torch.Tensor] = {}
        self.best_epoch: int | None = None
        self.epochs: list[Epoch] = []

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
            If the loss or a gradient is not finite.
        """
        while len(self.epochs) < self.epochs_planned:
            self.epochs.append(self._epoch(len(self.epochs)))
            if after_epoch is not None:
                after_epoch(self)
        if self._best:
            self.average.network.load_state_dict(self._best)
        else:
            self._follow()
        return self._settled(RECALIBRATION_TILES)

    def _epoch(self, epoch: int) -> Epoch:
        started = time.monotonic()
        self.network.train()
        shuffled = self.batches.order(epoch)
        before = epoch * self.steps_an_epoch
        count = min(self.steps_an_epoch, self.steps - before)
        losses: list[torch.Tensor] = []
        every = 1 if self.hardware.device.type == "cpu" else CHECK_EVERY
        for i in range(count):
            lr = learning_rate(before + i, self.steps, self.config.lr, self.config.schedule)
            set_rate(self.optimiser, lr)
            losses.append(self._step(epoch, shuffled[i * self.batch : (i + 1) * self.batch]))
            if self.config.ema > 0:
                self.average.update(self.network, before + i + 1)
            self._clock.mark("optimiser")
            if (i + 1) % every == 0 or i + 1 == count:
                self._look(losses[-every:], epoch, i, shuffled)
        mean = float(torch.stack(losses).double().mean())
        trained = time.monotonic() - started
        parts = self._clock.seconds()
        watched = self._watch(epoch)
        seconds = time.monotonic() - started
        return {
            "epoch": epoch,
            "loss": mean,
            "lr": lr,
            "steps": count,
            "seconds": seconds,
            "patches_per_s": count * self.batch / trained,
            **{f"seconds_{name}": parts.get(name, 0.0) for name in PARTS},
            "seconds_watch": seconds - trained,
            **watched,
        }

    def _step(self, epoch: int, where: NDArray[np.int64]) -> torch.Tensor:
        self._clock.start()
        batch = self.batches.make(epoch, where)
        x = self._laid_out(batch.x)
        if self._learn is None:
            self._learn = self._make_step(x, batch)
            self._clock.start()  # compiling and capturing are no part of a step
        self._clock.mark("batches")
        return self._learn(x, batch.target, batch.weight)

    def _learn_from(
        self, x: torch.Tensor, target: torch.Tensor, weight: torch.Tensor, *, run: Any, mark: Mark
    ) -> torch.Tensor:
        """One step on a batch: forward, backward, optimiser; the loss before it."""
        self.optimiser.zero_grad(set_to_none=True)
        with self.hardware.autocast():
            logits = run(x, deep=True) if len(self.deep) > 1 else [run(x)]
        terms = [self.loss(z, target, weight) for z in logits]
        loss = terms[0]
        if len(terms) > 1:
            loss = torch.stack([w * t for w, t in zip(self.deep, terms, strict=True)]).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        mark("network")
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.config.grad_clip)
        self.optimiser.step()
        # A gradient that is not finite shows in the same number.
        return loss.detach() + 0 * norm.detach()

    def _make_step(self, x: torch.Tensor, batch: Batch) -> Learn:
        """What learns from a batch; on a GPU a captured step, where that works."""
        run = self._make_runner(x)
        plain = partial(self._learn_from, run=run, mark=self._clock.mark)
        if self.hardware.device.type != "cuda":
            return plain
        silent = partial(self._learn_from, run=run, mark=lambda _: None)
        tensors = (x, batch.target, batch.weight)
        captured = capture(silent, tensors, self.network, self.optimiser)
        if captured is None:
            return plain

        def replay(*inputs: torch.Tensor) -> torch.Tensor:
            loss = captured(*inputs)
            self._clock.mark("network")  # the optimiser is in it
            return loss

        return replay

    def _make_runner(self, x: torch.Tensor) -> Any:
        if not self.config.compile:
            return self.network
        words = {"deep": True} if len(self.deep) > 1 else {}
        return compiled(self.network, x, self.hardware, **words)

    def _look(
        self, losses: list[torch.Tensor], epoch: int, last: int, shuffled: NDArray[np.int64]
    ) -> None:
        finite = torch.isfinite(torch.stack(losses)).cpu().numpy()
        if finite.all():
            return
        at = int(np.argmin(finite))
        step = last - len(losses) + 1 + at
        where = shuffled[step * self.batch : (step + 1) * self.batch]
        raise not_finite(
            f"fold {self.fold}, epoch {epoch}, step {step}"
            + (f", network {self.number} of the fold" if self.number else ""),
            float(losses[at]),
            self.tiles.patch[read_tickets(where, len(self.tiles))[0]],
            # A batch depends on its key alone: this is the one that was seen.
            self.batches.make(epoch, where).x,
        )

    def _watch(self, epoch: int) -> dict[str, float | None]:
        if self.inner is None:
            return {"inner_f1": None, "inner_threshold": None, "inner_loss": None}
        self._follow()
        model = self._settled(WATCH_RECALIBRATION_TILES)
        found = watch(model, self.tiles, self.inner, self.loss, self.hardware, self.batch)
        so_far = -1.0 if self.best_epoch is None else self.epochs[self.best_epoch]["inner_f1"]
        if found.f1 > so_far:
            self.best_epoch = epoch
            self._best = {k: v.clone() for k, v in model.network.state_dict().items()}
        return dict(found.as_dict())

    def _follow(self) -> None:
        """Bring the averaged network to the present one, where nothing is averaged."""
        if self.config.ema == 0:
            self.average.network.load_state_dict(self.network.state_dict())

    def _settled(self, tiles: int) -> FoldModel:
        """The averaged network with the batch statistics of its own weights.

        Where nothing is averaged, the statistics are those that training left.
        """
        network = self.average.network
        if self.config.ema > 0:
            inputs = map(self._laid_out, self.batches.plain(tiles, self.batch))
            with self.hardware.autocast():
                recalibrate(network, inputs)
        return FoldModel(network, self.arguments, self.normalisation, self.fold, self.number)

    def _laid_out(self, x: torch.Tensor) -> torch.Tensor:
        return x.contiguous(memory_format=self.hardware.memory_format)

    def save(self, path: Path) -> None:
        """Write a checkpoint, atomically: all that `resume` needs to go on bit for bit."""
        state = {
            "network": self.network.state_dict(),
            "average": self.average.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "epochs": self.epochs,
            "best": self._best,
            "best_epoch": self.best_epoch,
        }
        checkpoint.write(path, self._identity(), state)

    def resume(self, path: Path) -> bool:
        """Go on from a checkpoint; False if there is none that fits."""
        state = checkpoint.read(path, self._identity(), self.hardware.device)
        if state is not None:
            self.network.load_state_dict(state["network"])
            self.average.network.load_state_dict(state["average"])
            restore(self.optimiser, state["optimiser"])
            self._learn = None  # a captured step has its own state
            self.epochs = list(state["epochs"])
            self._best, self.best_epoch = state["best"], state["best_epoch"]
        return state is not None

    def _identity(self) -> dict[str, Any]:
        inner = np.empty(0, np.int64) if self.inner is None else self.inner.positions
        return {
            "config": self.config.model_dump(mode="json"),
            "key": list(self.key),
            "patches": self.tiles.patch[self.positions].tolist(),
            "inner": self.tiles.patch[inner].tolist(),
            "normalisation": self.normalisation.as_dict(),
        }


def _first_weights(seed: int, fold: int, number: int) -> int:
    """Seed of a network's first weights: each starts elsewhere, so an average is worth more."""
    if number == 0:
        return seed * 1009 + fold
    return int(np.random.SeedSequence([seed, fold, number]).generate_state(1)[0])


def _deep_weights(network: nn.Module, config: UNetConfig) -> tuple[float, ...]:
    """Share of the loss of each level, full resolution first: each coarser one has half of it.

    As in nnU-Net (Isensee et al. 2021, https://doi.org/10.1038/s41592-020-01008-z) the shares add
    up to 1, so that losses can be compared.

    Raises
    ------
    ConfigError
        If the network has no coarser levels to supervise.
    """
    levels = int(getattr(network, "deep_levels", 0))
    if config.deep_supervision == 0:
        return (1.0,)
    if not levels:
        raise ConfigError(
            "the network has no coarser levels that give logits", where="unet.deep_supervision",
            found=f"{config.deep_supervision} with unet.network={config.network}", allowed=0,
            fix="set unet.deep_supervision=0, or unet.network=unet",
        )  # fmt: skip
    weights = [1.0] + [config.deep_supervision / 2**level for level in range(levels)]
    return tuple(w / sum(weights) for w in weights)
