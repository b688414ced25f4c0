"""Reading patches: the store against the plain h5py loop over the released float64 files.

Both sides end with the same: all patches of the split in one array, every value looked at once (its
maximum). The h5py loop is given the faster of its two usual forms, and its files are warm. The
store's own counts are compared; turning them into units or copying them is shown beside it. The
last line is JSON.

Run ``python -m benchmarks.data [--data DIR] [--sensor l4s] [--patches 400] [--repeats 5]``. Without
``--data`` patches of 14 bands are made up in a temporary folder.
"""

from __future__ import annotations

import argparse
import gc
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from l4s_ensemble.data.check import check
from l4s_ensemble.data.patches import PatchFiles, find_patches, write_mask, write_patch
from l4s_ensemble.data.sensor import L4S, Sensor, load_sensor
from l4s_ensemble.data.store import build_store, open_store, units


def make_files(root: Path, patches: int) -> None:
    """Write random whole numbers in the released form: what a value is costs no reader anything."""
    rng = np.random.default_rng(0)
    edge, bands = L4S.patch_pixels, len(L4S.bands)
    for i in range(1, patches + 1):
        counts = rng.integers(0, 90, (edge, edge, bands))
        write_patch(root / f"TrainData/img/image_{i}.h5", counts / L4S.stored_to_count, L4S)
        mask = rng.random((edge, edge)) < 0.02
        write_mask(root / f"TrainData/mask/mask_{i}.h5", mask.astype(np.uint8))


def loop(files: Sequence[PatchFiles], key: str) -> float:
    """Read each file and drop it: no array of all patches, so less than the other ways give."""
    largest = -np.inf
    for file in files:
        with h5py.File(file.image, "r") as opened:
            largest = max(largest, opened[key][:].max())
    return float(largest)


def loop_stacked(files: Sequence[PatchFiles], key: str) -> float:
    """Read each file into a list and stack it, as most published loaders do."""
    images = []
    for file in files:
        with h5py.File(file.image, "r") as opened:
            images.append(opened[key][:])
    return float(np.stack(images).max())


def loop_filled(files: Sequence[PatchFiles], key: str) -> float:
    """Read each file into its place of one array."""
    with h5py.File(files[0].image, "r") as opened:
        first = opened[key]
        images = np.empty((len(files), *first.shape), first.dtype)
    for n, file in enumerate(files):
        with h5py.File(file.image, "r") as opened:
            images[n] = opened[key][:]
    return float(images.max())


def store_counts(store: Path) -> float:
    """All patches in one array, which is a view of the store's file."""
    return float(open_store(store)["image"].values.max())


def store_copied(store: Path) -> float:
    """All patches in one array of its own memory, free to be changed."""
    return float(np.array(open_store(store)["image"].values).max())


def store_units(store: Path) -> float:
    """All patches in one float32 array, in units."""
    return float(units(open_store(store)).max())


def measure(ways: dict[str, Callable[[], float]], repeats: int) -> dict[str, tuple[float, float]]:
    """Least wall and processor seconds of each way; they take turns, so load hits them alike."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            gc.collect()
            wall, busy = time.perf_counter(), time.process_time()
            way()
            spent = time.perf_counter() - wall, time.process_time() - busy
            seconds[name].append(spent)
    return {n: (min(w for w, _ in s), min(b for _, b in s)) for n, s in seconds.items()}


def compare(root: Path, split: str, sensor: Sensor, wanted: int, repeats: int) -> dict[str, Any]:
    """Build a store of the files, read both, print the table.

    A folder of fewer patches than wanted is read several times over, on both sides.
    """
    found = find_patches(root, split, sensor)
    files = [replace(found[n % len(found)], id=n) for n in range(wanted)]
    n, key = len(files), sensor.image_key
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "patches.zarr"
        started = time.perf_counter()
        built = build_store(files, sensor, store, 1, split=split, root=root)
        build_s = time.perf_counter() - started
        ways: dict[str, Callable[[], float]] = {
            "h5py loop, each patch dropped": lambda: loop(files, key),
            "h5py loop, stacked from a list": lambda: loop_stacked(files, key),
            "h5py loop, into one array": lambda: loop_filled(files, key),
            "store, counts": lambda: store_counts(store),
            "store, counts, copied": lambda: store_copied(store),
            "store, units (float32)": lambda: store_units(store),
        }
        best = measure(ways, repeats)
    wall = {name: w for name, (w, _) in best.items()}
    fair = min(wall["h5py loop, stacked from a list"], wall["h5py loop, into one array"])
    print(f"{n} patches ({len(found)} files) of {len(sensor.bands)} bands, {built['dtype']} stored")
    print(f"{'':34} {'ms/patch':>9} {'CPU ms':>8} {'fairest h5py / this':>20}")
    for name, (w, b) in best.items():
        print(f"{name:34} {w / n * 1e3:9.3f} {b / n * 1e3:8.3f} {fair / w:19.1f}x")
    return {
        "patches": n,
        "files": min(n, len(found)),
        "read_ratio_vs_h5": round(fair / wall["store, counts"], 1),
        "read_ratio_copied": round(fair / wall["store, counts, copied"], 1),
        "read_ratio_units": round(fair / wall["store, units (float32)"], 1),
        "read_ratio_vs_dropped": round(
            wall["h5py loop, each patch dropped"] / wall["store, counts"], 1
        ),
        "h5_ms_per_patch": round(fair / n * 1e3, 4),
        "store_ms_per_patch": round(wall["store, counts"] / n * 1e3, 4),
        "build_s": round(build_s, 2),
    }


def main() -> None:
    """Run the comparison and the check of the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder in the official or Hugging Face layout")
    parser.add_argument("--split", default="train")
    parser.add_argument("--sensor", default="l4s")
    parser.add_argument("--patches", type=int, default=400, help="patches to read")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1, help="processes of the check")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = asked.data or Path(folder)
        if asked.data is None:
            make_files(root, asked.patches)
        sensor = load_sensor(asked.sensor)
        result = compare(root, asked.split, sensor, asked.patches, asked.repeats)
        found = check(root, sensor, jobs=asked.jobs)
        scanned = sum(s.images for s in found.splits.values())
        result |= {
            "check_patches": scanned,
            "check_s": round(found.seconds, 2),
            "check_ms_per_patch": round(found.seconds / scanned * 1e3, 2),
            "check_jobs": asked.jobs,
        }
        print(f"check of {scanned} patches: {found.seconds:.1f} s with {asked.jobs} process(es)")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
