"""A map on a cluster that loses a worker, and a raster that is predicted when it is computed."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

pytest.importorskip("rasterio", reason="the extra geo is not installed")
pytest.importorskip("distributed", reason="the extra dask is not installed")

import distributed
import rasterio
from map_world import counts, write_scene

from l4s_ensemble import Ensemble
from l4s_ensemble.maps.scene_map import BLOCKS, map_scene


@pytest.mark.slow
def test_a_map_is_the_same_on_processes_and_on_a_cluster_that_loses_a_worker(tiny_run, tmp_path):
    tif, dem = write_scene(tmp_path, counts(2, 4))

    def mapped(name: str, jobs: int) -> np.ndarray:
        out = tmp_path / name
        map_scene(tif, tiny_run, out, dem=dem, block_tiles=1, jobs=jobs, device="cpu")
        with rasterio.open(out / "probability.tif") as file:
            return np.asarray(file.read(1))

    one = mapped("one", 1)
    np.testing.assert_allclose(mapped("two", 2), one, rtol=0, atol=1e-3)
    with (
        distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        killed: list[int] = []

        def kill() -> None:
            blocks = tmp_path / "cluster" / BLOCKS
            for _ in range(6000):
                if blocks.is_dir() and list(blocks.glob("*.npz")):
                    break
                time.sleep(0.05)
            killed.append(min(client.run(os.getpid).values()))
            os.kill(killed[0], signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        found = mapped("cluster", 1)
        killer.join()
        assert killed and killed[0] != os.getpid()
    np.testing.assert_allclose(found, one, rtol=0, atol=1e-3)


def test_a_raster_of_chunks_is_predicted_when_it_is_computed(tiny_run: Path, monkeypatch):
    """As in memory; the number of chunks shows in nothing."""
    import dask.array as da

    from l4s_ensemble.predict import raster_lazy

    monkeypatch.setattr(raster_lazy, "CHUNK_PX", 128)
    ensemble = Ensemble.load(tiny_run, device="cpu")
    image = counts(2, 4)[:, :, :450]
    valid = np.ones(image.shape[1:], bool)
    valid[30:60, 70:90] = False
    bands = {"band": list(ensemble.sensor.band_names), "x": np.arange(450.0)}
    whole = xr.Dataset(
        {"image": (("band", "y", "x"), image), "valid": (("y", "x"), valid)}, coords=bands
    )
    wanted = ensemble.predict(whole)
    found = ensemble.predict(whole.chunk({"x": 200}))
    assert isinstance(found["probability"].data, da.Array)
    assert found["probability"].data.numblocks == (1, 2)
    assert found.attrs == wanted.attrs
    found = found.compute(scheduler="synchronous")
    np.testing.assert_array_equal(found["x"], wanted["x"])
    for name in ("probability", "uncertainty", "dissimilarity"):
        np.testing.assert_allclose(found[name], wanted[name], rtol=0, atol=1e-3, err_msg=name)
    assert np.isnan(found["probability"].values[~valid]).all()
    threshold = ensemble.stack.threshold_
    near = np.abs(found["probability"].values - threshold) < 1e-3
    own = ensemble.stack.predict(wanted["probability"].values)
    assert (found["mask"].values == own)[~near].mean() > 0.999
    assert own.any()
