"""Fixtures that tests of several packages share."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from filelock import FileLock
from tiny_patches import tiny_patch


@pytest.fixture(autouse=True)
def _log_of_the_test_runner() -> Iterator[None]:
    """Take off what a command of a test has set: a handler on its stream would outlive it."""
    yield
    log = logging.getLogger("l4s_ensemble")
    log.handlers.clear()
    log.propagate = True
    log.setLevel(logging.NOTSET)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real tiles; a test that wants it skips without it."""
    folder = os.environ.get("L4S_REAL_DATA", "")
    if not folder:
        pytest.skip("L4S_REAL_DATA is not set: no real tiles on this machine")
    if not Path(folder).is_dir():
        pytest.skip(f"L4S_REAL_DATA names no folder: {folder}")
    return Path(folder)


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in the official layout: 12 train tiles and 4 valid with masks, 3 test without.

    Counts are plausible whole numbers, stored as float64 count / divisor. Landslides are bright,
    bare and steep. Training ids 1-12 lie in one row of the official grid. Do not write into it.
    """
    from l4s_ensemble.data.patches import write_mask, write_patch
    from l4s_ensemble.data.sensor import L4S

    root = tmp_path_factory.mktemp("tiny")
    for seed, (folder, tiles, masked) in enumerate(
        (("TrainData", 12, True), ("ValidData", 4, True), ("TestData", 3, False))
    ):
        for patch in range(1, tiles + 1):
            counts, mask = tiny_patch([seed, patch])
            stored = np.moveaxis(counts, 0, -1) / L4S.stored_to_count
            write_patch(root / folder / "img" / f"image_{patch}.h5", stored, L4S)
            if masked:
                write_mask(root / folder / "mask" / f"mask_{patch}.h5", mask)
    return root


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of `tiny_run.py`, made once for all test processes. Copy it to change it."""
    return _made_once(tmp_path_factory, "tiny", _make_run) / "run"


@pytest.fixture(scope="session")
def weaker_run(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second run of the same tiles, whose U-Net has learnt less."""
    made = _made_once(tmp_path_factory, "weaker", lambda out: _make_run(out, tiny_run.parent))
    return made / "run"


@pytest.fixture(scope="session")
def tiny_report(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the rendered report of `tiny_run`; do not write into it."""
    from l4s_ensemble.report.render import render_report

    return _made_once(tmp_path_factory, "tiny-report", lambda out: render_report(tiny_run, out))


@pytest.fixture(scope="session")
def tiny_map(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the map of a tiny scene by `tiny_run`, with its page; do not write into it."""
    pytest.importorskip("rasterio", reason="the extra geo is not installed")
    from l4s_ensemble.maps.scene_map import map_scene
    from l4s_ensemble.report.map_page import write_map_page
    from l4s_ensemble.sources.raster import write_raster_scene

    def make(out: Path) -> None:
        tiles = [[tiny_patch([9, 10 * r + c])[0] for c in range(3)] for r in range(2)]
        scene, clouds = write_raster_scene(out / "scene", np.block(tiles))
        map_scene(scene, tiny_run, out / "map", mask=clouds, device="cpu")
        write_map_page(out / "map")

    return _made_once(tmp_path_factory, "tiny-map", make) / "map"


def _make_run(*folders: Path) -> None:
    words = [sys.executable, str(Path(__file__).with_name("tiny_run.py")), *map(str, folders)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _made_once(
    tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]
) -> Path:
    """A folder that several test processes share; the first one that asks makes it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    if "L4S_TINY" in os.environ:  # kept between calls of pytest
        shared = Path(os.environ["L4S_TINY"])
    folder, done = shared / name, shared / f"{name}.done"
    with FileLock(shared / f"{name}.lock"):
        if not done.exists():
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def _tiny_store(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from l4s_ensemble.data.build import build_store
    from l4s_ensemble.data.patches import find_patches
    from l4s_ensemble.data.sensor import L4S

    out = tmp_path_factory.mktemp("store") / "patches.zarr"
    build_store(find_patches(tiny_root, "train", L4S), L4S, out, split="train", root=tiny_root)
    return out


@pytest.fixture
def tiny_dataset(_tiny_store: Path) -> xr.Dataset:
    """The opened store of `tiny_root`'s training split."""
    from l4s_ensemble.data.store import open_store

    return open_store(_tiny_store)
