"""One meta-learner over the spatial folds: each tile scored by a fit on the other folds.

Pixels are drawn and tiles read once for all folds. LightGBM and torch each bring an OpenMP: what
needs either is fitted in a process of its own (`cross_fit_apart`).
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.config import StackConfig
from l4s_ensemble.errors import L4SError, RunError
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.run.files import read_json, write_json
from l4s_ensemble.run.progress import track
from l4s_ensemble.run.scores import ScoreFile
from l4s_ensemble.stack.inputs import Seen
from l4s_ensemble.stack.learners import neighbourhood
from l4s_ensemble.stack.model import Learner
from l4s_ensemble.stack.tiles import BLOCK_TILES, Block, OutOfFold

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

APART = ("trees", "convolution")
"""Kinds that are fitted in a process of their own."""

CONVOLUTION_TILES = 2000
"""Most tiles that a convolution is fitted on: they are held in memory, as float16."""

SCORES, TILES, TOLD, FAULT = "oof.zarr", "tiles.npz", "told.json", "fault.json"


@dataclass(frozen=True)
class Sample:
    """What a learner is fitted on; the first axis is of pixels, or of tiles for the convolution.

    Attributes
    ----------
    x : float array, shape (pixel, input) or (tile, 2, y, x)
    truth : bool array, shape (pixel,) or (tile, y, x)
    fold, patch : int64 array, shape (pixel,) or (tile,)
        Fold and id of the tile that each belongs to.
    terrain : tuple of str
        Which of `neighbourhood.TERRAIN` is among the inputs.
    """

    x: NDArray[np.floating]
    truth: NDArray[np.bool_]
    fold: NDArray[np.int64]
    patch: NDArray[np.int64]
    terrain: tuple[str, ...] = ()

    def without(self, fold: int, allowed: NDArray[np.int64] | None = None) -> Sample:
        """All but one fold; of the others only tiles that are allowed, where that is said."""
        keep = self.fold != fold
        if allowed is not None:
            keep &= np.isin(self.patch, allowed)
        return Sample(
            self.x[keep], self.truth[keep], self.fold[keep], self.patch[keep], self.terrain
        )


def cross_fit(
    kind: str,
    paths: tuple[Path, Path, Path],
    folder: Path,
    settings: StackConfig,
    *,
    allowed: Mapping[int, NDArray[np.int64]] | None = None,
    seed: int = 0,
    jobs: int = 1,
) -> dict[str, Any]:
    """Fit a learner on all folds but one, for each, and on all.

    Parameters
    ----------
    kind : str
        One of `l4s_ensemble.stack.model.KINDS`.
    paths : tuple of Path
        ``oof.zarr`` of the pixel model, of the U-Net, and ``patches.zarr``.
    folder : Path
        Gets the learner of all folds, ``oof.zarr`` (``probability (patch, y, x)``, each tile by
        a learner that was fitted on the other folds), ``tiles.npz`` and ``told.json``.
    allowed : mapping of int to int64 array, optional
        Ids that may be fitted on to score a fold; all tiles of the other folds by default.
    jobs : int
        Threads.

    Returns
    -------
    dict
        What ``told.json`` holds: ``rows, seconds`` and what the learner's `told` says.

    Raises
    ------
    RunError
        If the folds without one have pixels of one class only.
    """
    started = time.monotonic()
    source = OutOfFold(*paths)
    sample = draw(kind, source, settings, seed)
    one = _fitter(kind, settings, seed, jobs)
    cross: Mapping[int, Learner] = {
        int(k): one(sample.without(int(k), None if allowed is None else allowed[int(k)]))
        for k in np.unique(source.fold)
    }
    final = one(sample)
    rows = int(sample.truth.size)
    del sample
    score(kind, cross, source, folder, settings, seed)
    final.save(folder)
    told = {"rows": rows, **final.told(), "seconds": round(time.monotonic() - started, 2)}
    write_json(folder / TOLD, told)
    return told


def cross_fit_apart(
    kind: str,
    paths: tuple[Path, Path, Path],
    folder: Path,
    settings: StackConfig,
    *,
    allowed: Mapping[int, NDArray[np.int64]] | None = None,
    seed: int = 0,
    jobs: int = 1,
) -> dict[str, Any]:
    """`cross_fit`, in a process of its own where the kind needs LightGBM or torch."""
    folder.mkdir(parents=True, exist_ok=True)
    if kind not in APART:
        return cross_fit(kind, paths, folder, settings, allowed=allowed, seed=seed, jobs=jobs)
    from multiprocessing import get_context

    worker = get_context("spawn").Process(
        target=_worker, args=(kind, paths, folder, settings, allowed, seed, jobs), daemon=True
    )
    worker.start()
    try:
        worker.join()
    finally:
        worker.kill()  # a command that was stopped leaves no worker behind
    if worker.exitcode != 0:
        known = read_json(folder / FAULT) if (folder / FAULT).is_file() else {}
        raise (
            RunError(**known)
            if known
            else RunError(
                f"the meta-learner {kind!r} could not be fitted",
                found=f"its process ended with {worker.exitcode}",
                fix="see the lines above, or choose another with --set stack.learner=logistic",
            )
        )
    told: dict[str, Any] = read_json(folder / TOLD)
    return told


def draw(kind: str, source: OutOfFold, settings: StackConfig, seed: int) -> Sample:
    """Draw what a learner is fitted on, at the true prevalence: the same pixels for all kinds.

    Parameters
    ----------
    kind : str
    source : OutOfFold
    settings : StackConfig
        ``rows_max`` pixels, equally many of every tile; the convolution takes whole tiles.
    """
    if kind == "convolution":
        return _draw_tiles(source, seed)
    rows_of = _module(kind).rows_of
    tiles, pixels = len(source.patch), source.size[0] * source.size[1]
    each = max(1, min(pixels, settings.rows_max // max(tiles, 1)))
    x: NDArray[np.float32] | None = None
    truth = np.empty(tiles * each, bool)
    terrain: tuple[str, ...] = ()
    for i, seen, mask in _each(source, f"stack: drawing pixels for {kind}"):
        rng = np.random.default_rng([seed, int(source.patch[i])])
        chosen = rng.choice(pixels, each, replace=False)
        layers = rows_of(seen, settings)
        if x is None:
            x = np.empty((tiles * each, len(layers)), np.float32)
            terrain = neighbourhood.terrain_of(seen) if kind == "trees" else ()
        part = slice(i * each, (i + 1) * each)
        x[part] = layers.reshape(len(layers), -1)[:, chosen].T
        truth[part] = mask.ravel()[chosen]
    found = x if x is not None else np.empty((0, 0), np.float32)
    fold, patch = (np.repeat(a, each) for a in (source.fold, source.patch))
    return Sample(found, truth, fold, patch, terrain)


def score(
    kind: str,
    cross: Mapping[int, Learner],
    source: OutOfFold,
    folder: Path,
    settings: StackConfig,
    seed: int,
) -> TileHistograms:
    """Score each tile by the learner of its fold; write ``oof.zarr`` and ``tiles.npz``."""
    tiles = TileHistograms.empty(source.patch, settings.bins)
    scores = ScoreFile(
        folder / SCORES, source.patch, source.size, name="probability", fold=source.fold,
        attrs={"seed": seed, "learner": kind},
    )  # fmt: skip
    for block in _blocks(source, f"stack: scoring {kind} out-of-fold"):
        positions = range(block.at.start, block.at.stop)
        probability = np.stack(
            [
                cross[int(source.fold[i])].probability(seen)
                for i, seen in zip(positions, block.seen, strict=True)
            ]
        )
        scores.write(block.at, probability)
        for i, one, mask in zip(positions, probability, block.truth, strict=True):
            tiles.add(i, one, mask)
    tiles.save(folder / TILES)
    return tiles


def _fitter(kind: str, settings: StackConfig, seed: int, jobs: int) -> Callable[[Sample], Learner]:
    module = _module(kind)

    def fit(sample: Sample) -> Learner:
        more: dict[str, Any] = {"seed": seed, "jobs": jobs} if kind in APART else {}
        if kind == "trees":
            more["terrain"] = sample.terrain
        made: Learner = module.fit(sample.x, sample.truth, settings, **more)
        return made

    return fit


def _module(kind: str) -> Any:
    from importlib import import_module

    return import_module(f"l4s_ensemble.stack.learners.{kind}")


def _draw_tiles(source: OutOfFold, seed: int) -> Sample:
    tiles = len(source.patch)
    rng = np.random.default_rng(seed)
    taken = np.sort(rng.permutation(tiles)[:CONVOLUTION_TILES])
    place = {int(i): n for n, i in enumerate(taken)}
    x = np.empty((len(taken), 2, *source.size), np.float16)
    truth = np.empty((len(taken), *source.size), bool)
    for i, seen, mask in _each(source, "stack: reading tiles"):
        if i in place:
            x[place[i]], truth[place[i]] = np.stack(seen.clipped()), mask
    return Sample(x, truth, source.fold[taken], source.patch[taken])


def _blocks(source: OutOfFold, label: str) -> Iterator[Block]:
    return track(source.blocks(), label, -(-len(source.patch) // BLOCK_TILES))


def _each(source: OutOfFold, label: str) -> Iterator[tuple[int, Seen, NDArray[np.bool_]]]:
    for block in _blocks(source, label):
        yield from zip(range(block.at.start, block.at.stop), block.seen, block.truth, strict=True)


def _worker(
    kind: str,
    paths: tuple[Path, Path, Path],
    folder: Path,
    settings: StackConfig,
    allowed: Mapping[int, NDArray[np.int64]] | None,
    seed: int,
    jobs: int,
) -> None:
    """Fit here and leave files; a fault that the user can mend is left as a file too."""
    from multiprocessing import parent_process

    above = parent_process()
    if above is not None:
        threading.Thread(target=_stop_after, args=(above,), daemon=True).start()
    try:
        cross_fit(kind, paths, folder, settings, allowed=allowed, seed=seed, jobs=jobs)
    except L4SError as error:
        told = {k: getattr(error, k) for k in ("what", "where", "found", "allowed", "fix")}
        write_json(folder / FAULT, {k: None if v is None else str(v) for k, v in told.items()})
        sys.exit(1)


def _stop_after(above: BaseProcess) -> None:
    """Stop this process once the one that waits for it is gone."""
    above.join()
    os._exit(130)
