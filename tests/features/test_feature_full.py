"""``l4s-ensemble features --full``: whole arrays on disk, by the true command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from l4s_ensemble.features import full
from l4s_ensemble.features.full import to_float16, write_full
from l4s_ensemble.features.source import FeatureSource
from l4s_ensemble.run.files import read_json, write_json

SMALL = [
    "--set", "scenes.folds=2", "--set", "scenes.block_tiles=2",
    "--set", "features.sample_pixels=1000",
    "--set", "features.groups=[reflectance,terrain]",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder after ``features --full``."""
    folder = tmp_path_factory.mktemp("full") / "run"
    words = ["features", "--full", "--data", tiny_root, "--run", folder, "--jobs", "2", *SMALL]
    done = subprocess.run(
        [sys.executable, "-m", "l4s_ensemble", *map(str, words)],
        capture_output=True, text=True, timeout=280, check=False,
        env={k: v for k, v in os.environ.items() if not k.startswith("L4S_")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert str(folder / "features" / "full.zarr") in done.stdout
    return folder


def test_the_arrays_are_those_of_the_patches(run):
    made = xr.open_zarr(run / "features" / "full.zarr")
    assert made["features"].dims == ("patch", "feature", "y", "x")
    assert made["features"].dtype == np.float16
    assert made["patch"].values.tolist() == list(range(1, 13))
    assert made["unit"].sel(feature="slope_deg").item() == "degree"
    assert set(np.unique(made["group"].values)) == {"reflectance", "terrain"}
    assert made.attrs["sensor"] == "l4s" and made["features"].attrs["clipped_values"] == 0
    source = FeatureSource.beside(run / "features", run / "data/train/patches.zarr")
    for at in (0, 7, 11):
        expected = source.tiles([at])[0]
        found = made["features"].isel(patch=at).values
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found, expected, rtol=6e-4, atol=1e-6)
    assert [p.name for p in (run / "features").glob(".*")] == []


def test_what_was_interrupted_goes_on_and_what_is_there_is_kept(run, tmp_path, monkeypatch):
    import shutil

    other = tmp_path / "run"
    shutil.copytree(run, other)
    final, partial = (other / "features" / n for n in ("full.zarr", ".full.zarr.partial"))
    expected = xr.open_zarr(final)["features"].load()
    plain, blocks = full._write_block, []

    def broken(source, path, start):
        if len(blocks) == 2:
            raise KeyboardInterrupt
        blocks.append(start)
        return plain(source, path, start)

    shutil.rmtree(final)
    monkeypatch.setattr(full, "_write_block", broken)
    with pytest.raises(KeyboardInterrupt):
        write_full(other, 1)
    assert partial.is_dir() and not final.exists() and blocks == [0, 4]
    monkeypatch.setattr(full, "_write_block", lambda *a: blocks.append(a[2]) or plain(*a))
    assert write_full(other, 1) == final
    assert blocks == [0, 4, 8] and not partial.exists()
    xr.testing.assert_identical(xr.open_zarr(final)["features"].load(), expected)
    write_full(other, 1)
    assert blocks == [0, 4, 8]


def test_what_is_left_of_other_features_is_not_gone_on_with(run, tmp_path):
    import shutil

    other = tmp_path / "run"
    shutil.copytree(run, other)
    final, partial = (other / "features" / n for n in ("full.zarr", ".full.zarr.partial"))
    expected = xr.open_zarr(final)["features"].load()
    final.rename(partial)
    write_json(partial / "progress.json", {"done": 12, "clipped": 0, "inputs": "of another plan"})
    write_full(other, 1)
    xr.testing.assert_identical(xr.open_zarr(final)["features"].load(), expected)
    assert read_json(other / "features" / "manifest.json")["stage"] == "features"


def test_values_beyond_float16_are_clipped_and_counted():
    halves, beyond = to_float16(np.array([0, 1.5, -7e4, 1e30, 65504, -65504], np.float32))
    assert beyond == 2 and halves.dtype == np.float16
    np.testing.assert_array_equal(halves.astype(float), [0, 1.5, -65504, 65504, 65504, -65504])
