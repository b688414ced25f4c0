"""``l4s-ensemble features --full``: whole arrays on disk, by the true command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from l4s_ensemble.features.source import FeatureSource

SMALL = [
    "--set", "scenes.folds=2", "--set", "scenes.block_tiles=2",
    "--set", "features.sample_pixels=1000",
    "--set", "features.groups=[indices,terrain]",
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
    assert set(np.unique(made["group"].values)) == {"indices", "terrain"}
    assert made.attrs["sensor"] == "l4s"
    source = FeatureSource.beside(run / "features", run / "data/train/patches.zarr")
    for at in (0, 7, 11):
        expected = source.tiles([at])[0]
        found = made["features"].isel(patch=at).values
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found, expected, rtol=6e-4, atol=1e-6)
    assert [p.name for p in (run / "features").glob(".*")] == []
