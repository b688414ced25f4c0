"""Seam solver at full size: how many tiles find their place, how many a wrong one, time, memory.

Made-up scenes of the official shapes (3,799 tiles of 14 bands), shuffled, whole and with a third of
the tiles missing; real tiles where ``L4S_REAL_DATA`` names their folder. The last line is JSON.

Run ``python -m benchmarks.seams [--quick]``.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.data.sensor import L4S
from l4s_ensemble.scenes.harmonise import gains, seam_steps
from l4s_ensemble.scenes.placement import Placement
from l4s_ensemble.scenes.seams import solve

OFFICIAL = ((74, 41), (10, 15), (11, 11), (19, 26))
SMALL = ((12, 15), (6, 7))
SIDE = 128
SPECTRAL = np.arange(14) < 12


def field(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """Random ground: noise at eight doubling scales, rougher than most land."""
    levels = 8
    total = np.zeros([-(-n // 2**levels) + 2 for n in shape], np.float32)
    for level in range(levels, -1, -1):
        total += 2 ** (0.8 * level) * rng.standard_normal(total.shape, np.float32)
        if level:
            total = finer(finer(total).T).T
    total = total[: shape[0], : shape[1]]
    return total / total.std()


def finer(grid: NDArray[np.float32]) -> NDArray[np.float32]:
    """Twice as many rows, by linear interpolation."""
    out = np.empty((2 * len(grid) - 2, grid.shape[1]), np.float32)
    out[0::2] = 0.75 * grid[:-1] + 0.25 * grid[1:]
    out[1::2] = 0.25 * grid[:-1] + 0.75 * grid[1:]
    return out


def made_up(
    scenes: tuple[tuple[int, int], ...], rng: np.random.Generator
) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
    """Tiles (tile, 14, y, x) in raster order, and their (scene, row, column)."""
    total = sum(r * c for r, c in scenes)
    images = np.empty((total, 14, SIDE, SIDE), np.uint16)
    where = []
    start = 0
    for s, (rows, cols) in enumerate(scenes, start=1):
        shape = (rows * SIDE, cols * SIDE)
        grounds = [field(shape, rng) for _ in range(4)]
        for band in range(14):
            noise = rng.standard_normal(shape, np.float32)
            own = grounds[1 + band % 3]
            if SPECTRAL[band]:
                values = 800 * np.exp(0.3 * grounds[0] + (0.1 + 0.01 * band) * own) + 25 * noise
            elif band == 12:
                values = 15 + 8 * own + noise
            else:
                values = 900 + 300 * own
            tiles = values.clip(0).reshape(rows, SIDE, cols, SIDE).swapaxes(1, 2)
            images[start : start + rows * cols, band] = tiles.reshape(-1, SIDE, SIDE)
        where += [(s, r, c) for r in range(rows) for c in range(cols)]
        start += rows * cols
    return images, np.array(where)


def wrong(placement: Placement, truth: NDArray[np.int64]) -> int:
    """Tiles that lie otherwise, relative to most of their scene, than in truth."""
    bad = 0
    for scene in np.unique(placement.scene[placement.placed]):
        here = placement.scene == scene
        at = np.column_stack([0 * placement.row, placement.row, placement.col])[here]
        shift = truth[here] - at
        bad += int(here.sum() - np.unique(shift, axis=0, return_counts=True)[1].max())
    return bad


def possible(truth: NDArray[np.int64]) -> float:
    """Share of tiles with at least one neighbour present: no solver places the others."""
    cells = {tuple(t) for t in truth.tolist()}
    steps = ((0, 1), (1, 0), (0, -1), (-1, 0))
    return float(np.mean([any((s, r + i, c + j) in cells for i, j in steps) for s, r, c in cells]))


class Picked:
    """Some of the tiles in some order, without a copy of them all."""

    def __init__(self, images: NDArray[Any], order: NDArray[np.intp]) -> None:
        self.images, self.order = images, order
        self.shape = (len(order), *images.shape[1:])

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, part: slice) -> NDArray[Any]:
        return np.asarray(self.images[self.order[part]])


def measure(name: str, images: Any, truth: NDArray[np.int64], **options: Any) -> dict[str, Any]:
    """Solve and judge."""
    started = time.perf_counter()
    placement = solve(images, **options)
    row = {
        "case": name,
        "tiles": len(truth),
        "possible": round(possible(truth), 4),
        "placed": round(float(placement.placed.mean()), 4),
        "wrong": wrong(placement, truth),
        "scenes": len(placement.summary()["scenes"]),
        "widths": sorted(placement.raster_width.values()),
        "seconds": round(time.perf_counter() - started, 1),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
    }
    print("{case:38} {tiles:5d} {possible:8.4f} {placed:8.4f} {wrong:5d} {scenes:6d} "
          "{seconds:7.1f} {peak_gb:7.2f}  {widths}".format(**row), flush=True)  # fmt: skip
    return row


def official(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Scene, row, column of official training ids."""
    first = np.array([1, 3035, 3185, 3306])
    width = np.array([41, 15, 11, 26])
    scene = np.searchsorted(first, ids, side="right") - 1
    row, col = np.divmod(ids - first[scene], width[scene])
    return np.column_stack([scene + 1, row, col])


def read_real(folder: Path, factor: Any) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Tiles (tile, band, y, x) of a folder in the official layout, in the order of their ids."""
    import h5py

    paths = {int(p.stem.split("_")[1]): p for p in folder.glob("TrainData/img/image_*.h5")}
    ids = np.array(sorted(paths))
    images = []
    for i in ids.tolist():
        with h5py.File(paths[i]) as file:
            stored = file["img"][()]
        images.append(stored if factor is None else np.rint(stored * factor).astype(np.uint16))
    return np.stack(images).transpose(0, 3, 1, 2), ids


def make_file(scenes: tuple[tuple[int, int], ...], path: str) -> None:
    """Write made-up tiles; in a process of its own, so that its memory does not count."""
    rng = np.random.default_rng([0, 5])
    images, truth = made_up(scenes, rng)
    np.savez(path, images=images, truth=truth)  # uncompressed


def main() -> None:
    """Run all cases."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="222 made-up tiles instead of 3,799")
    args = parser.parse_args()
    print(f"{'case':38} {'tiles':>5} {'possible':>8} {'placed':>8} {'wrong':>5} {'scenes':>6} "
          f"{'seconds':>7} {'peak GB':>7}  widths")  # fmt: skip
    rows = []
    rng = np.random.default_rng([0, 6])
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/tiles.npz"
        child = multiprocessing.get_context("spawn").Process(
            target=make_file, args=(SMALL if args.quick else OFFICIAL, path)
        )
        child.start()
        child.join()
        made = np.load(path)
        images, truth = made["images"], made["truth"]
    n = len(truth)
    cases = (("whole", 1.0), ("a third missing", 2 / 3), ("two thirds missing", 1 / 3))
    for name, share in cases:
        order = rng.permutation(n)[: round(share * n)]
        rows.append(measure(f"made up, shuffled, {name}", Picked(images, order), truth[order],
                            spectral=SPECTRAL))  # fmt: skip
    order = np.sort(rng.permutation(n)[: round(2 / 3 * n)])
    rows.append(measure("made up, ids, a third missing", Picked(images, order), truth[order],
                        ids=order + 1, spectral=SPECTRAL))  # fmt: skip
    steps = None
    real = os.environ.get("L4S_REAL_DATA")
    if real:
        del images
        images, ids = read_real(Path(real) / "l4s-14band", L4S.stored_to_count)
        rows.append(measure("real, 14 bands, no ids", images, official(ids), spectral=SPECTRAL))
        images, ids = read_real(Path(real) / "l4s-rgb", None)
        truth = official(ids)
        order = rng.permutation(len(ids))
        rows.append(measure("real, true colour, shuffled, no ids", Picked(images, order),
                            truth[order], relative=True))  # fmt: skip
        rows.append(measure("real, true colour, ids", images, truth, ids=ids, relative=True))
        found = seam_steps(images, Placement.known(ids, *truth.T))
        before, after = (float(np.exp(np.median(np.abs(step)))) for step in
                         (found.log_ratio, found.after(gains(found, len(ids)))))  # fmt: skip
        steps = {"seams": len(found.pairs), "before": round(before, 4), "after": round(after, 4)}
        print("step of brightness at {seams} seams, median: {before} before harmonising, {after} "
              "after".format(**steps))  # fmt: skip
    print(json.dumps({"benchmark": "seams", "cases": rows, "harmonise": steps}))


if __name__ == "__main__":
    main()
