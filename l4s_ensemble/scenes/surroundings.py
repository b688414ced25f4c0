"""What lies around a patch: its eight neighbours where they are known.

Neighbours and the protocol: no label is read across a seam. A tile to fit on may read the pixels
of a guard tile or of another fold's tiles; it never reads a tile that is set aside (holdout), which
matters where the guard is switched off. Tiles without terrain are no neighbours: their elevation
would make a cliff at the seam.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.errors import RunError
from l4s_ensemble.run.files import atomic_path
from l4s_ensemble.scenes.grid import AROUND, manifest_places, official_places

if TYPE_CHECKING:
    import xarray as xr

    from l4s_ensemble.scenes.folds import Folds
    from l4s_ensemble.scenes.placement import Placement

SURROUNDINGS_FILE = "surroundings.npz"

_KEY = 0x5EA4
"""Keeps these random numbers apart from others with the same seed."""

OPEN, ASIDE = 0, 1
"""Rows of `Surroundings.log_gain`: without tiles that are set aside, and for these."""


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Which tiles of a store adjoin, and how the light of one is expressed in that of another.

    Attributes
    ----------
    patch : int64 array, shape (tile,)
        Ids, in the order of the store.
    scene, row, col : int32 array, shape (tile,)
        Place; a scene below 0 means that the tile has no known neighbours.
    aside : bool array, shape (tile,)
        Set aside: read by tiles that are set aside too, and by no others.
    silent : bool array, shape (tile,)
        Without terrain: no neighbour to any tile, and no tile is one to it.
    level : float64 array, shape (tile,)
        Factor that `l4s_ensemble.data.counts.to_units` brings the tile's light to the common level
        with; 1 for absolute sensors.
    log_gain : float64 array, shape (2, tile)
        Log of the factor that brings counts of light to one level over all seams
        (`l4s_ensemble.scenes.harmonise`), measured without the tiles set aside, and with them. The
        second row is used for tiles set aside only. Zeros for absolute sensors.
    part : int64 array, shape (2, tile)
        Tiles whose gains seams connect have the same number.
    cross : bool
        Whether features read across seams at all.
    drop_share : float
        Share of the training tiles that are computed as if they stood alone.
    seed : int
        Of the draw of these.
    """

    patch: NDArray[np.int64]
    scene: NDArray[np.int32]
    row: NDArray[np.int32]
    col: NDArray[np.int32]
    aside: NDArray[np.bool_]
    silent: NDArray[np.bool_]
    level: NDArray[np.float64]
    log_gain: NDArray[np.float64]
    part: NDArray[np.int64]
    cross: bool = True
    drop_share: float = 0.0
    seed: int = 0

    @cached_property
    def _cells(self) -> dict[tuple[int, int, int], int]:
        places = np.column_stack([self.scene, self.row, self.col])
        known = np.flatnonzero((self.scene >= 0) & ~self.silent)
        return {
            (s, r, c): int(t) for (s, r, c), t in zip(places[known].tolist(), known, strict=True)
        }

    def neighbours(self, tile: int) -> dict[tuple[int, int], int]:
        """Positions of the known neighbours by their step in rows and columns."""
        if not self.cross or self.scene[tile] < 0 or self.silent[tile]:
            return {}
        scene, row, col = (int(a[tile]) for a in (self.scene, self.row, self.col))
        found = {}
        for down, right in AROUND:
            other = self._cells.get((scene, row + down, col + right))
            if other is not None and (self.aside[tile] or not self.aside[other]):
                found[down, right] = other
        return found

    def light_factor(self, tile: int, other: int) -> float:
        """Factor that expresses the counts of light of `other` in the units of `tile`.

        Where no seams connect the two, each keeps its own level.
        """
        row = ASIDE if self.aside[tile] else OPEN
        part, gain = self.part[row], self.log_gain[row]
        if part[tile] != part[other]:
            return float(self.level[other])
        return float(self.level[tile] * np.exp(gain[other] - gain[tile]))

    def dropped(self, tile: int) -> bool:
        """Whether the tile is fitted on as if it stood alone; depends on seed and id only."""
        if self.drop_share <= 0:
            return False
        draw = np.random.default_rng([self.seed, _KEY, int(self.patch[tile])])
        return bool(draw.random() < self.drop_share)

    def save(self, path: Path) -> None:
        """Write ``surroundings.npz``; the same bytes for the same content."""
        kept: dict[str, Any] = {f.name: np.asarray(getattr(self, f.name)) for f in fields(self)}
        with atomic_path(path) as partial, partial.open("wb") as file:
            np.savez(file, **kept)


def load_surroundings(path: Path) -> Surroundings:
    """Read what `Surroundings.save` wrote.

    Raises
    ------
    RunError
        If the file is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as kept:
            values: dict[str, Any] = {f.name: kept[f.name] for f in fields(Surroundings)}
    except (OSError, KeyError, ValueError, EOFError) as error:
        raise RunError(
            "the surroundings of the tiles cannot be read", where=path, found=error,
            fix="run fit-all again",
        ) from None  # fmt: skip
    for name, kind in (("cross", bool), ("drop_share", float), ("seed", int)):
        values[name] = kind(values[name])
    return Surroundings(**values)


def known_places(dataset: xr.Dataset, sensor: Sensor) -> tuple[NDArray[np.int32], ...]:
    """Scene, row and column of a store's tiles, as far as they are known without a search.

    Those of the manifest; else the official ones, for the training split of an official sensor
    whose ids are all official; else -1.
    """
    manifest = manifest_places(dataset)
    if (manifest[0] >= 0).any():
        return manifest
    official = official_places(dataset["patch"].values)
    is_official = sensor.grid == "official" and dataset.attrs.get("split") == "train"
    return official if is_official and (official[0] >= 0).all() else manifest


def measure_surroundings(
    dataset: xr.Dataset,
    folds: Folds | None = None,
    *,
    cross: bool = True,
    drop_share: float = 0.0,
    seed: int = 0,
) -> Surroundings:
    """Find the neighbours in a store and, for a relative sensor, the gains over its seams.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `l4s_ensemble.data.store.open_store` or `l4s_ensemble.data.store.in_memory`.
    folds : Folds, optional
        Of the same tiles, for a training split: places, and which tiles are set aside.
    cross, drop_share, seed
        See `Surroundings`.
    """
    from l4s_ensemble.data.store import sensor_of

    sensor, n = sensor_of(dataset), dataset.sizes["patch"]
    patch = dataset["patch"].values.astype(np.int64)
    aside = np.zeros(n, bool)
    if folds is None:
        scene, row, col = known_places(dataset, sensor)
    else:
        scene, row, col = (folds.of(patch, name) for name in ("scene", "row", "col"))
        aside = np.asarray(folds.of(patch, "role") == "holdout")
    level, log_gain, part = np.ones(n), np.zeros((2, n)), np.zeros((2, n), np.int64)
    silent = np.asarray(dataset["degenerate"].values, bool)
    if sensor.level == "relative" and cross and (scene >= 0).any():
        if dataset.attrs.get("values") != "unit":  # else every tile has the common level already
            level = _levels(dataset, sensor)
        log_gain, part = _gains(dataset, sensor, (scene, row, col), aside)
    return Surroundings(
        patch, scene, row, col, aside, silent, level, log_gain, part, cross, drop_share, seed
    )


def _levels(dataset: xr.Dataset, sensor: Sensor) -> NDArray[np.float64]:
    from l4s_ensemble.data.counts import level_factor

    light = [sensor.band_names.index(name) for name in sensor.spectral]
    scale = sensor.count_to_unit[light][:, np.newaxis, np.newaxis]
    images = dataset["image"].variable
    levels = np.ones(dataset.sizes["patch"])
    for t in range(len(levels)):
        counts = np.asarray(images[t].values)[light].astype(np.float32)
        counts *= scale
        levels[t] = np.float32(level_factor(counts))
    return levels


def _gains(
    dataset: xr.Dataset, sensor: Sensor, place: tuple[ArrayLike, ...], aside: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Log-gains and connected parts, without the tiles set aside and with them."""
    from l4s_ensemble.scenes.harmonise import SeamSteps, gains, seam_steps

    names = set(sensor.spectral)
    spectral = [name in names for name in sensor.band_names]
    steps = seam_steps(dataset["image"], _placement(dataset, place), spectral)
    n = len(aside)
    log_gain, part = np.zeros((2, n)), np.zeros((2, n), np.int64)
    for row, hidden in ((OPEN, aside), (ASIDE, np.zeros(n, bool))):
        if row == ASIDE and not aside.any():
            log_gain[row], part[row] = log_gain[OPEN], part[OPEN]
            break
        seen = ~hidden[steps.pairs].any(axis=1) if len(steps.pairs) else np.zeros(0, bool)
        used = SeamSteps(steps.pairs[seen], steps.log_ratio[seen], steps.spread[seen])
        log_gain[row], part[row] = gains(used, n)
    return log_gain, part


def _placement(dataset: xr.Dataset, place: tuple[ArrayLike, ...]) -> Placement:
    from l4s_ensemble.scenes.placement import Placement

    # A scene below -1 is that of one tile that stands alone.
    scene, row, col = (np.asarray(a, np.int64) for a in place)
    alone = scene < 0
    return Placement.known(
        dataset["patch"].values, *(np.where(alone, -1, a) for a in (scene, row, col))
    )
