"""One small real run: data in the official layout, fitted, predicted and scored in one process.

``python tests/tiny_run.py FOLDER`` makes ``FOLDER/data`` and ``FOLDER/run``; with the folder of
such a run behind it, a run of the same data whose U-Net has learnt less. Training is one scene
of three rows by six columns, each tile its own bootstrap block; valid has four tiles with masks,
test two without.
"""

from __future__ import annotations

import csv
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

GRIDS = {"train": (3, 6), "valid": (2, 2), "test": (1, 2)}
"""Rows and columns of the scene of each split."""

EMPTY, DEGENERATE = 3, 18
"""Training tiles without a landslide, and without terrain."""

SEAM = {1: np.s_[50:62, -9:], 2: np.s_[50:62, :9]}
"""Where a landslide lies over the seam of the first two tiles of each scene."""

SETTINGS: dict[str, Any] = {
    "name": "tiny",
    "seed": 0,
    "scenes": {"folds": 2, "block_tiles": 3, "bootstrap_tiles": 1},
    "features": {"groups": ["indices", "terrain", "context"], "sample_pixels": 4000},
    "pixel": {"trees": 30, "leaves": 15, "positives_max": 3000},
    "unet": {"epochs": 6, "batch": 4, "width": 8, "depth": 3},
    "report": {"gallery_tiles": 4},
}


WEAKER = {"unet": {**SETTINGS["unet"], "epochs": 1}}
"""Settings of a second run of the same data and folds, with a U-Net that has learnt less."""


def main(folder: Path, base: Path | None = None) -> None:
    """Make the data and the run below `folder`; with the folder of another: a weaker run of it."""
    from l4s_ensemble.config import build
    from l4s_ensemble.pipeline import Run
    from l4s_ensemble.run.execute import Executor

    Executor._run_child = _in_this_process  # type: ignore[method-assign]
    data = {"root": str(((base or folder) / "data").resolve())}
    if base is None:
        write_data(folder / "data")
        config = build({**SETTINGS, "data": data})
    else:
        shutil.copytree(base / "run", folder / "run")
        config = build({**SETTINGS, **WEAKER, "data": data})
    run = Run(folder / "run", config, jobs=1, device="cpu")
    run.fit()
    run.predict("valid")
    run.evaluate("valid")
    if base is None:
        run.predict("test")


def write_data(root: Path) -> None:
    """Write patches in the official layout, and where they lie."""
    from tiny_patches import tiny_patch

    from l4s_ensemble.data.bands import L4S_BANDS
    from l4s_ensemble.data.patches import write_mask, write_patch
    from l4s_ensemble.data.sensor import L4S

    names = [b.name for b in L4S_BANDS]
    lines: list[tuple[Any, ...]] = [("split", "patch", "scene", "row", "col")]
    for scene, (split, (rows, cols)) in enumerate(GRIDS.items(), start=1):
        base = root / f"{split.capitalize()}Data"
        for n in range(rows * cols):
            patch = n + 1
            counts, mask = tiny_patch([scene, patch])
            # Bare ground that did not landslide, and slopes that hardly tell: there are errors.
            other, bare = tiny_patch([scene, patch, 1])
            counts[:12, bare == 1] = other[:12, bare == 1]
            counts[names.index("slope")][mask == 1] -= 9
            if patch in SEAM:
                slid = counts[:12, mask == 1]
                counts[:12][:, *SEAM[patch]] = slid[:, : 12 * 9].reshape(12, 12, 9)
                mask[SEAM[patch]] = 1
            if split == "train" and patch == EMPTY:
                mask = np.zeros_like(mask)
            if split == "train" and patch == DEGENERATE:
                counts[names.index("slope")], counts[names.index("dem")] = 0, 900
            stored = np.moveaxis(counts, 0, -1) / L4S.stored_to_count
            write_patch(base / "img" / f"image_{patch}.h5", stored, L4S)
            if split != "test":
                write_mask(base / "mask" / f"mask_{patch}.h5", mask)
            lines.append((split, patch, scene, n // cols, n % cols))
    with (root / "scenes.csv").open("w", newline="") as file:
        csv.writer(file).writerows(lines)


def _in_this_process(executor: Any, stage: Any, work: Path) -> dict[str, Any]:
    """Run a stage here: a dozen processes that import torch anew take longer than the run."""
    from l4s_ensemble.run.child import usage
    from l4s_ensemble.run.files import write_json
    from l4s_ensemble.run.stage import StageContext

    context = StageContext(
        executor.run.resolve(),
        work.resolve(),
        executor.config,
        stage.params,
        stage.needs,
        executor.jobs,
        executor.device,
    )
    summary = stage.function()(context)
    write_json(work / "summary.json", summary)
    return {"digest": summary.get("digest"), **usage()}


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # The package beside these tests, wherever another one is installed.
    sys.path[:0] = [str(folder) for folder in Path(__file__).resolve().parents[:2]]
    main(*map(Path, sys.argv[1:]))
