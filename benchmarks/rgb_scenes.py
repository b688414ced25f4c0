"""The scenes of the true-colour tiles: their ids, folders of links to some, runs fitted on some."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.pipeline import Run, open_run

SCENES = {1: (1, 3034), 2: (3035, 3184), 4: (3306, 3799)}
COLUMNS = {1: 41, 2: 15, 4: 26}
"""Tiles in a row of each scene; ids run along the rows."""

TARGET_COLUMNS = 10
"""Of scene 1 as a target: columns 0 to 9. The columns that the preset holds out are not read."""

BLOCK_TILES = 3


def link(real: Path, folder: Path, scenes: Sequence[int], columns: int = COLUMNS[1]) -> None:
    """Link tiles of some scenes into a folder of the official layout; of scene 1 its columns."""
    for kind in ("img", "mask"):
        out = folder / "TrainData" / kind
        out.mkdir(parents=True, exist_ok=True)
        for source in ("l4s-rgb", "l4s-rgb-scene4"):
            for file in sorted((real / source / "TrainData" / kind).iterdir()):
                number = int(file.stem.split("_")[1])
                inside = any(SCENES[s][0] <= number <= SCENES[s][1] for s in scenes)
                if number <= SCENES[1][1] and (number - 1) % COLUMNS[1] >= columns:
                    continue
                if inside and not (out / file.name).exists():
                    os.link(file, out / file.name)


def fitted(
    real: Path, work: Path, scenes: Sequence[int], overrides: Sequence[str], jobs: int | None
) -> Run:
    """Fit the preset on some scenes, or take the run that is there."""
    name = "scenes-" + "-".join(map(str, scenes))
    link(real, work / name, scenes)
    # The preset holds columns of scene 1 out.
    held_out = [] if 1 in scenes else ["data.holdout=null"]
    run = open_run(
        work / f"run-{name}",
        source="l4s-rgb",
        overrides=["report.occlusion=false", *held_out, *overrides],
        data=work / name,
        jobs=jobs,
    )
    run.fit()
    return run


def places_of(patch: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and column of tiles of one scene."""
    scene = next(s for s, (first, last) in SCENES.items() if first <= patch[0] <= last)
    row, column = np.divmod(patch - SCENES[scene][0], COLUMNS[scene])
    return row, column


def blocks_of(patch: NDArray[np.int64]) -> NDArray[np.int64]:
    """Spatial block of each tile of one scene."""
    row, column = places_of(patch)
    return 1000 * (row // BLOCK_TILES) + column // BLOCK_TILES
