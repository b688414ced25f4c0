"""A fold's networks go to a place they never saw: they are shown its images, never its masks.

Two means, each a setting of ``unet.adapt``:

* Statistics. Batch norm is told mean and deviation of the place's own tiles instead of those of the
  training tiles (Li et al. 2016, https://arxiv.org/abs/1603.04779). A network then has two sets of
  statistics, and tiles are scored with those of their place: out-of-fold scores with those of
  training tiles, the split that was adapted to with its own. Inputs stay what they are, for an
  absolute sensor because levels of light mean something, for a relative one because every tile is
  brought to one level before it comes here.
* Rounds. In a round the networks of a fold, and of no other, label what they are sure of in the
  place's tiles (`l4s_ensemble.unet.adapting.pseudo`), and train on from their averaged weights on
  training tiles and these. Labels that look like a collapse end the rounds.

Every round leaves files, so a killed run goes on with the round it was in.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from l4s_ensemble.config import UNetConfig
from l4s_ensemble.run.files import atomic_path
from l4s_ensemble.unet.adapting.mixed import MixedBatches
from l4s_ensemble.unet.adapting.pseudo import PseudoLabels, expected_share
from l4s_ensemble.unet.adapting.target import Target, joined
from l4s_ensemble.unet.hardware import Hardware
from l4s_ensemble.unet.infer import Predictor
from l4s_ensemble.unet.inputs.normalisation import TileSet
from l4s_ensemble.unet.model import FoldModel, fold_file, fold_name
from l4s_ensemble.unet.training.average import recalibrate
from l4s_ensemble.unet.training.engine import FoldTrainer

log = logging.getLogger("l4s_ensemble")

STATISTICS_TILES = 1024
"""Tiles, at most, that a place's batch statistics come from."""

TARGET = "target"
"""State of a network whose batch statistics are those of the place to predict."""

Note = dict[str, Any]


@dataclass(frozen=True)
class Adapted:
    """What adaptation makes of a fold's networks.

    Attributes
    ----------
    models : tuple of FoldModel
        By number; for tiles of the training scenes.
    target : tuple of FoldModel
        The same for the place that was adapted to.
    told : dict
        ``split, tiles, statistics``, ``rounds`` (of each ``round, tiles, sure_share,
        landslide_share, expected_share, ratio, networks``), ``stopped`` (why there are fewer rounds
        than asked for, or None), ``files, target_files`` and ``finished``.
    """

    models: tuple[FoldModel, ...]
    target: tuple[FoldModel, ...]
    told: Note


@dataclass(frozen=True)
class Adaptation:
    """Adaptation of the networks of one fold.

    Attributes
    ----------
    out : Path
        Holds the fold's trained networks, and gets the adapted ones.
    config : UNetConfig
    seed, fold : int
        Key of all draws.
    hardware : Hardware
    tiles : TileSet
        As the networks were trained on.
    train : int64 array
        Training tiles of the fold, positions in `tiles`.
    target : Target
    """

    out: Path
    config: UNetConfig
    seed: int
    fold: int
    hardware: Hardware
    tiles: TileSet
    train: NDArray[np.int64]
    target: Target

    def run(
        self, before: Note | None = None, tell: Callable[[Note], None] = lambda _: None
    ) -> Adapted:
        """Adapt, going on from what an earlier process left.

        Parameters
        ----------
        before : dict, optional
            What `tell` was told last by a killed process.
        tell : callable
            Gets ``Adapted.told`` as far as it is known, whenever a network is trained.
        """
        adapt = self.config.adapt
        told: Note = {
            "split": self.target.split,
            "tiles": len(self.target),
            "statistics": adapt.statistics,
            "rounds": list((before or {}).get("rounds", [])),
            "stopped": None,
            "finished": False,
        }
        models = self._load("")
        if any(m.fold != self.fold for m in models):
            raise ValueError("networks of another fold must not label tiles for this one")
        if adapt.statistics and not _norms(models[0].network):
            log.warning("unet fold %d: the network has no batch norm to adapt", self.fold)
            told["statistics"] = False
        done = 0
        for number in range(1, adapt.rounds + 1):
            labels = self._labels(models, number)
            if labels.doubt is not None:
                told["stopped"] = f"round {number}: {labels.doubt}"
                log.warning("unet fold %d: adaptation stops, %s", self.fold, told["stopped"])
                break
            models, done = self._round(number, labels, models, told, tell), number
        target = self._of_target(models)
        told["files"] = [m.file for m in models]
        told["target_files"] = [m.file for m in target]
        if adapt.statistics:
            for model in target:
                model.save(self.out / model.file)
        told |= {"rounds_done": done, "finished": True}
        tell(told)
        return Adapted(models, target, told)

    def _load(self, state: str) -> tuple[FoldModel, ...]:
        files = (fold_file(self.fold, s, state) for s in range(self.config.seeds))
        return tuple(FoldModel.load(self.out / name) for name in files)

    def _labels(self, models: Sequence[FoldModel], number: int) -> PseudoLabels:
        """What the fold's networks are sure of before a round."""
        path = self.out / labels_file(self.fold, number)
        if not path.is_file():
            config = self.config
            predictor = Predictor(
                self._of_target(models), self.hardware, tta=config.tta, halo_px=config.halo_px
            )
            logit = predictor(self.target.tiles, range(len(self.target)))
            label = PseudoLabels.of(logit, config.adapt, 1.0).label
            with atomic_path(path) as partial_, partial_.open("wb") as file:
                np.save(file, label)
        expected = expected_share(self.tiles, self.train, self.config.landslide_share)
        return PseudoLabels(np.load(path, allow_pickle=False), expected)

    def _round(
        self, number: int, labels: PseudoLabels, models: Sequence[FoldModel], told: Note,
        tell: Callable[[Note], None],
    ) -> tuple[FoldModel, ...]:  # fmt: skip
        """Train every network of the fold on, on training tiles and the sure pixels."""
        if len(told["rounds"]) < number:
            told["rounds"].append({"round": number, **labels.as_dict(), "networks": []})
        noted = told["rounds"][number - 1]["networks"]
        tiles = joined(self.tiles, labels.apply(self.target.tiles), models[0].normalisation)
        log.info(
            "unet fold %d: round %d on %d tiles of %s, %.2f %% of their sure pixels landslides",
            self.fold, number, len(labels.usable), self.target.split, 100 * labels.landslide_share,
        )  # fmt: skip
        state = f"round_{number}"
        for start in models:
            path = self.out / fold_file(self.fold, start.number, state)
            # A note without its file, or a file without its note, is of a killed process.
            if len(noted) > start.number and path.is_file():
                continue
            del noted[start.number :]
            noted.append(self._train(number, start, tiles, labels, path))
            tell(told)
        return self._load(state)

    def _train(
        self, number: int, start: FoldModel, tiles: TileSet, labels: PseudoLabels, path: Path
    ) -> Note:
        adapt = self.config.adapt
        config = self.config.model_copy(
            update={
                "epochs": adapt.epochs, "steps": None, "lr": self.config.lr * adapt.lr_share,
                "checkpoint": "last",
            }
        )  # fmt: skip
        positions = np.concatenate([self.train, len(self.tiles) + labels.usable])
        trainer = FoldTrainer(
            tiles, positions, config, seed=self.seed, fold=self.fold, hardware=self.hardware,
            number=start.number, start=start, round_=number,
            batches=partial(MixedBatches, first_target=len(self.tiles)),
        )  # fmt: skip
        checkpoint = path.with_suffix(".checkpoint.pt")
        trainer.resume(checkpoint)

        def after_epoch(at: FoldTrainer) -> None:
            at.save(checkpoint)
            last = at.epochs[-1]
            log.info(
                "unet fold %d, round %d: epoch %d/%d, loss %.4f",
                self.fold, number, len(at.epochs), at.epochs_planned, last["loss"],
            )  # fmt: skip

        model = trainer.run(after_epoch)
        if adapt.statistics:
            model = remeasured(model, self.tiles, self.train, config.batch, self.hardware)
        replace(model, state=f"round_{number}").save(path)
        checkpoint.unlink(missing_ok=True)
        seconds = sum(e["seconds"] for e in trainer.epochs)
        return {"number": start.number, "seconds": seconds, "epochs": trainer.epochs}

    def _of_target(self, models: Sequence[FoldModel]) -> tuple[FoldModel, ...]:
        """The networks as they score the place: with its statistics, where that is asked for."""
        if not self.config.adapt.statistics or not _norms(models[0].network):
            return tuple(models)
        place = self.target.tiles
        every = np.arange(len(place))
        return tuple(
            replace(remeasured(m, place, every, self.config.batch, self.hardware), state=TARGET)
            for m in models
        )


def remeasured(
    model: FoldModel,
    tiles: TileSet,
    positions: NDArray[np.int64],
    batch: int,
    hardware: Hardware,
) -> FoldModel:
    """A network whose batch statistics are those of some tiles; the weights stay.

    Parameters
    ----------
    model : FoldModel
        Left as it is.
    tiles : TileSet
        On the device of `hardware`; masks are not read.
    positions : int64 array
        Of the tiles; `STATISTICS_TILES` of them, spread evenly, where there are more.
    batch : int
        Tiles shown at once.
    hardware : Hardware
    """
    network = hardware.place(copy.deepcopy(model.network))
    batch = min(batch, len(positions))
    count = min(STATISTICS_TILES, len(positions)) // batch * batch
    spread = np.linspace(0, len(positions) - 1, count).round().astype(np.int64)
    ready = model.normalisation.prepare(tiles)

    def inputs(where: NDArray[np.int64]) -> torch.Tensor:
        index = torch.from_numpy(where).to(ready.counts.device)
        shown = model.normalisation.inputs(ready, index)
        return shown.contiguous(memory_format=hardware.memory_format)

    with hardware.autocast():
        recalibrate(network, map(inputs, np.split(positions[spread], count // batch)))
    return replace(model, network=network)


def labels_file(fold: int, number: int) -> str:
    """Name of the labels of a round; gone when the stage is whole."""
    return f"{fold_name(fold)}.round_{number}.labels.npy"


def remove_rounds(out: Path, fold: int, kept: Sequence[str]) -> None:
    """Remove what rounds of a fold left and nobody reads any more."""
    for pattern in (f"fold_{fold}.round_*", f"fold_{fold}_seed_*.round_*"):
        for path in out.glob(pattern):
            if path.name not in kept:
                path.unlink()


def _norms(network: nn.Module) -> bool:
    return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in network.modules())
