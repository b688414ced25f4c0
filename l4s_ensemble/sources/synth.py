"""A synthetic dataset in the true layout: scenes cut into adjoining tiles, with a manifest.

Everything is derived from one seed. Scenes are independent of each other, so they can be made in
parallel and the result does not depend on `jobs`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from l4s_ensemble.data.bands import PATCH_PIXELS
from l4s_ensemble.data.layout import OFFICIAL
from l4s_ensemble.data.places import MANIFEST, SYNTHETIC
from l4s_ensemble.data.sensor import L4S
from l4s_ensemble.errors import ConfigError, DataError
from l4s_ensemble.run.files import atomic_folder, write_json, write_text
from l4s_ensemble.run.progress import track
from l4s_ensemble.run.tasks import in_processes
from l4s_ensemble.sources.scene import make_scene

MANIFEST_COLUMNS = ("split", "patch", "scene", "row", "col")

_SCENE_TILES_MAX = 192
"""Most tiles of one scene: 3.1 million pixels, a gigabyte while it is made."""


@dataclass(frozen=True)
class ScenePlan:
    """Where one scene goes: its grid, its first patch id, and how many of its cells are used."""

    split: str
    scene: int
    first: int
    rows: int
    cols: int
    tiles: int
    seed: tuple[int, ...]

    def cells(self) -> list[tuple[int, int, int]]:
        """Patch id, row and column of every tile, in raster order."""
        return [(self.first + i, i // self.cols, i % self.cols) for i in range(self.tiles)]


def make_dataset(
    out: Path,
    *,
    train: int = 96,
    valid: int = 24,
    test: int = 0,
    seed: int = 0,
    jobs: int = 1,
) -> dict[str, Any]:
    """Write a synthetic dataset in the official layout.

    Parameters
    ----------
    out : Path
        Folder to make. It must not exist, or be empty.
    train, valid, test : int
        Number of patches of each split; 0 leaves the split out.
    seed : int
        Same seed, same files.
    jobs : int
        Processes; the result does not depend on it.

    Returns
    -------
    dict
        ``root``, ``seed``, ``seconds``, ``patches_per_s`` and ``splits``: for each its
        ``patches``, ``scenes``, ``landslide_patches``, ``landslide_pixels`` and ``prevalence``.

    Raises
    ------
    DataError
        If `out` is a file or a folder that is not empty. Nothing is written then.
    ConfigError
        If a number of patches is negative or all are zero.
    """
    out = Path(out)
    counts = {"train": int(train), "valid": int(valid), "test": int(test)}
    if min(counts.values()) < 0 or sum(counts.values()) == 0:
        raise ConfigError(
            "a synthetic dataset needs patches", found=counts, allowed="0 or more each, not all 0"
        )
    _refuse_to_overwrite(out)
    started = time.perf_counter()
    plans = plan_scenes(counts, seed)
    pixels: dict[tuple[str, int], int] = {}
    with atomic_folder(out) as partial:
        done = in_processes(write_scene, [(plan, partial) for plan in plans], jobs)
        for part in track(done, "synthetic scenes", len(plans)):
            pixels.update(part)
        write_text(partial / MANIFEST, _manifest(plans))
        # So that no score on these patches is ever taken for one on the release.
        write_json(partial / SYNTHETIC, {"synthetic": True, "seed": seed, "patches": counts})
    seconds = time.perf_counter() - started
    return {
        "root": str(out),
        "seed": seed,
        "seconds": round(seconds, 2),
        "patches_per_s": round(sum(counts.values()) / seconds, 1),
        "splits": _summary(plans, pixels),
    }


def plan_scenes(counts: Mapping[str, int], seed: int) -> list[ScenePlan]:
    """Divide every split into scenes of rectangular grids; scenes are numbered over all splits."""
    plans: list[ScenePlan] = []
    for split, total in counts.items():
        first = 1
        for tiles in _scene_sizes(total):
            rows, cols = _grid(tiles)
            scene = len(plans) + 1
            place = list(counts).index(split)
            plans.append(ScenePlan(split, scene, first, rows, cols, tiles, (seed, place, first)))
            first += tiles
    return plans


def write_scene(plan: ScenePlan, root: Path) -> dict[tuple[str, int], int]:
    """Make one scene and write its tiles; return the landslide pixels of (split, patch)."""
    from l4s_ensemble.data.patches import write_mask, write_patch

    scene = make_scene(plan.rows, plan.cols, list(plan.seed))
    folder = root / OFFICIAL[plan.split]
    pixels: dict[tuple[str, int], int] = {}
    for patch, row, col in plan.cells():
        counts, mask = scene.tile(row, col)
        stored = np.ascontiguousarray(np.moveaxis(counts, 0, -1)) / L4S.stored_to_count
        write_patch(folder / "img" / f"image_{patch}.h5", stored, L4S)
        write_mask(folder / "mask" / f"mask_{patch}.h5", mask)
        pixels[plan.split, patch] = int(mask.sum())
    return pixels


def _refuse_to_overwrite(out: Path) -> None:
    if out.is_dir() and not any(out.iterdir()):
        return
    if out.exists() or out.is_symlink():
        raise DataError(
            "the folder for the synthetic dataset is not empty",
            where=out,
            fix="name a new folder, or delete this one first",
        )


def _scene_sizes(total: int) -> list[int]:
    """Tiles of each scene: one for few tiles, else at least three, the first the largest."""
    if total < 48:
        return [total] if total > 0 else []
    if total < 2 * _SCENE_TILES_MAX:
        rest = total // 4
        return [total - 2 * rest, rest, rest]
    number = max(3, math.ceil(total / _SCENE_TILES_MAX))
    return [total // number + (i < total % number) for i in range(number)]


def _grid(tiles: int) -> tuple[int, int]:
    """Rows and columns of a scene: nearly square, wider than high; the last row may be short."""
    widest = math.ceil(2 * math.sqrt(tiles))
    exact = [c for c in range(math.ceil(math.sqrt(tiles)), widest + 1) if tiles % c == 0]
    cols = exact[0] if exact else math.ceil(math.sqrt(tiles))
    return math.ceil(tiles / cols), cols


def _manifest(plans: list[ScenePlan]) -> str:
    lines = [",".join(MANIFEST_COLUMNS)]
    for plan in plans:
        lines += [f"{plan.split},{p},{plan.scene},{row},{col}" for p, row, col in plan.cells()]
    return "\n".join(lines) + "\n"


def _summary(plans: list[ScenePlan], pixels: Mapping[tuple[str, int], int]) -> dict[str, Any]:
    splits: dict[str, Any] = {}
    for split in dict.fromkeys(p.split for p in plans):
        own = [n for (name, _), n in pixels.items() if name == split]
        splits[split] = {
            "patches": len(own),
            "scenes": [
                {"scene": p.scene, "rows": p.rows, "cols": p.cols, "patches": p.tiles}
                for p in plans
                if p.split == split
            ],
            "landslide_patches": sum(n > 0 for n in own),
            "landslide_pixels": sum(own),
            "prevalence": round(sum(own) / (len(own) * PATCH_PIXELS**2), 5),
        }
    return splits
