"""The ensemble in memory, against what the command line left on disk."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from l4s_ensemble.data.patches import open_patches
from l4s_ensemble.errors import DataError, ModelError, RunError
from l4s_ensemble.features.window import continue_band
from l4s_ensemble.predict.ensemble import Ensemble
from l4s_ensemble.predict.raster import Raster, continued, margin_px
from l4s_ensemble.predict.result import (
    open_masks,
    open_probability,
    open_uncertainty,
)
from l4s_ensemble.predict.submission import read_mask
from l4s_ensemble.run.export import export_run, opened
from l4s_ensemble.run.files import read_json
from l4s_ensemble.run.scores import open_scores

SUPPORT = 33
"""Pixels that the features of the tiny run reach."""


@pytest.fixture(scope="module")
def ensemble(tiny_run: Path) -> Ensemble:
    return Ensemble.load(tiny_run, device="cpu")


@pytest.fixture(scope="module")
def valid(tiny_run: Path) -> xr.Dataset:
    """The valid patches, in units, with their places."""
    root = read_json(tiny_run / "config.json")["data"]["root"]
    patches = open_patches(root, "valid")
    with (Path(root) / "scenes.csv").open() as file:
        lines = [line.strip().split(",") for line in file if line.startswith("valid,")]
    place = {int(p): tuple(map(int, rest)) for _, p, *rest in lines}
    where = np.array([place[int(p)] for p in patches["patch"].values], np.int32)
    names = ("scene", "row", "col")
    return patches.assign_coords({n: ("patch", where[:, i]) for i, n in enumerate(names)})


def test_patches_in_memory_give_the_bits_of_the_command(tiny_run, ensemble, valid):
    found = ensemble.predict(valid, logits=True)
    folder = tiny_run / "predict" / "valid" / "result"
    patch = found["patch"].values
    np.testing.assert_array_equal(found["mask"], open_masks(folder, patch))
    for name, saved in (
        ("probability", open_probability(folder)["probability"]),
        ("uncertainty", open_uncertainty(folder)["probability"]),
        ("logit_pixel", open_scores(folder / "pixel.zarr")["logit"]),
        ("logit_unet", open_scores(folder / "unet.zarr")["logit"]),
    ):
        np.testing.assert_array_equal(found[name], saved, err_msg=name)
    summary = read_json(folder / "summary.json")
    assert found.attrs["threshold"] == summary["threshold"]
    assert found.attrs["dissimilarity_limit"] == summary["applicability"]["limit"]
    written = [summary["applicability"]["distance"][str(p)] for p in patch]
    np.testing.assert_allclose(found["dissimilarity"], written, atol=6e-4)


def test_a_worker_process_loads_it_from_its_folder(ensemble, valid):
    sent = pickle.dumps(ensemble)
    assert len(sent) < 1000
    one = valid.isel(patch=[0])
    again = pickle.loads(sent).predict(one)  # noqa: S301
    xr.testing.assert_identical(again, ensemble.predict(one))


def test_an_exported_file_predicts_the_same_elsewhere(tiny_run, ensemble, valid, tmp_path):
    path = ensemble.export(tmp_path / "tiny.zip")
    xr.testing.assert_identical(
        Ensemble.load(path, device="cpu").predict(valid), ensemble.predict(valid)
    )
    assert read_json(opened(path) / "config.json")["data"]["root"] is None
    with pytest.raises(RunError, match="exists"):
        export_run(tiny_run, path)


def test_the_command_predicts_with_an_exported_file(tiny_run, tmp_path, monkeypatch):
    from tiny_run import _in_this_process

    from l4s_ensemble.cli.app import app
    from l4s_ensemble.run.execute import Executor

    monkeypatch.setattr(Executor, "_run_child", _in_this_process)
    monkeypatch.chdir(tmp_path)
    data = read_json(tiny_run / "config.json")["data"]["root"]
    for command in (
        ["export", str(tiny_run), "tiny.zip"],
        ["predict", "--run", "tiny.zip", "--data", data, "--out", "masks", "--device", "cpu"],
    ):
        ended = CliRunner().invoke(app, command)
        assert ended.exit_code == 0, (ended.output, ended.exception)
    for written in (tiny_run / "predict" / "valid" / "result" / "masks").glob("*.h5"):
        np.testing.assert_array_equal(
            read_mask(tmp_path / "masks" / written.name), read_mask(written)
        )


@pytest.mark.parametrize("at", [0.1, 0.5, 0.9])
def test_a_damaged_export_is_refused(ensemble, tmp_path, at):
    path = ensemble.export(tmp_path / "tiny.zip")
    data = bytearray(path.read_bytes())
    for i in range(40):
        data[int(at * len(data)) + i] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(RunError, match="export"):
        Ensemble.load(path)


def test_a_raster_of_one_tile_has_the_features_of_the_patch(ensemble, valid):
    tile = valid.isel(patch=[0]).drop_vars(["scene", "row", "col"])
    raster = tile.isel(patch=0)[["image"]]
    raster.attrs.clear()
    found = ensemble.predict(raster, logits=True)
    assert found["probability"].dims == ("y", "x")
    assert found["logit_pixel"].dims == ("fold_model", "y", "x")
    alone = ensemble.predict(tile, logits=True)
    # At the corners alone elevation is continued in another way.
    inner = np.s_[:, SUPPORT:-SUPPORT]
    for cut in (inner, np.s_[:, :, SUPPORT:-SUPPORT]):
        np.testing.assert_array_equal(
            found["logit_pixel"].values[cut], alone["logit_pixel"].values[:, 0][cut]
        )


def test_a_raster_of_adjoining_tiles_has_their_pixel_logits(ensemble, valid):
    """Rows and columns of the four valid tiles make one raster."""
    grid = [[None, None], [None, None]]
    for i in range(4):
        one = valid.isel(patch=i)
        grid[int(one["row"])][int(one["col"])] = one["image"].values
    raster = xr.Dataset({"image": (("band", "y", "x"), np.block(grid))})
    found = ensemble.predict(raster, logits=True)["logit_pixel"].values
    logit = ensemble.predict(valid, logits=True)["logit_pixel"]
    for i in range(4):
        y, x = (128 * int(valid[n].values[i]) for n in ("row", "col"))
        one, inner = (
            found[:, y : y + 128, x : x + 128],
            np.s_[:, SUPPORT:-SUPPORT, SUPPORT:-SUPPORT],
        )
        np.testing.assert_array_equal(one[inner], logit.values[:, i][inner])


def test_scores_do_not_depend_on_the_part_of_a_scene_that_is_in_memory(ensemble, valid):
    """Two blocks of the same tiles, one of which begins a tile later, beside missing pixels."""
    sensor, margin = ensemble.sensor, margin_px(ensemble.sensor, SUPPORT)
    scene = np.tile(valid["image"].values[0], (1, 2, 4))
    scene[:12, 90:200, 200:230] = np.nan  # reflectance only: a cloud
    scene[:, :, 400:] = np.nan
    wide = np.pad(scene, ((0, 0), (margin, margin), (margin, margin)), constant_values=np.nan)
    whole = Raster(wide, sensor, margin)
    statistics = ensemble.measure(whole)
    all_of_it = ensemble.score_raster(whole, statistics)
    part = np.s_[:, 128:256, 128:384]
    cut = wide[:, 128 : 256 + 2 * margin, 128 : 384 + 2 * margin]
    found = ensemble.score_raster(Raster(cut, sensor, margin), statistics)
    for name, limit in (("logit_pixel", 0), ("logit_unet", 2e-3), ("probability", 1e-4)):
        wanted = all_of_it[name].values[..., *part[1:]]
        assert np.isfinite(wanted).any() and np.isnan(wanted).any()
        np.testing.assert_allclose(found[name], wanted, rtol=0, atol=limit, err_msg=name)
    few = np.zeros((128, 256), bool)
    few[100:, 100:150] = True
    some = ensemble.score_raster(Raster(cut, sensor, margin, few), statistics)
    np.testing.assert_array_equal(
        some["logit_pixel"].values[:, few], found["logit_pixel"].values[:, few]
    )
    assert np.isnan(some["probability"].values[~few]).all()


def test_what_was_not_observed_is_continued_as_at_the_edge_of_a_tile(ensemble):
    rng = np.random.default_rng(0)
    image = rng.uniform(100, 2000, (14, 60, 50)).astype(np.float32)
    hole = np.pad(image, ((0, 0), (0, 0), (20, 0)), constant_values=np.nan)
    made = continued(hole, ensemble.sensor)
    for band, one, of in zip(ensemble.sensor.bands, made, image, strict=True):
        np.testing.assert_array_equal(one, continue_band(of, band.unit, 20)[20:-20, :-20])


def test_pixels_that_are_not_valid_are_neither_predicted_nor_read(ensemble, valid):
    image = valid["image"].values[0, :, :100, :90].copy()
    image[:, 20:40, 30:60] = np.nan
    other = image.copy()
    other[:, 70:] = 65_000.0  # clouds
    clear = np.ones((100, 90), bool)
    clear[70:] = False
    dims = ("band", "y", "x")
    found = [
        ensemble.predict(xr.Dataset({"image": (dims, data), "valid": (("y", "x"), clear)}))
        for data in (image, other)
    ]
    xr.testing.assert_identical(*found)
    one = found[0]
    assert (one["mask"].values[~clear] == 0).all()
    valid_pixels = clear & np.isfinite(image[0])
    np.testing.assert_array_equal(np.isfinite(one["probability"].values), valid_pixels)


def test_the_first_fold_alone_gives_the_logits_of_that_fold(ensemble, valid):
    options = {"adapt": False, "logits": True}
    one, every = (e.predict(valid, **options) for e in (ensemble.first_fold(), ensemble))
    for name in ("logit_pixel", "logit_unet"):  # the U-Net of this run averages nothing
        assert one[name].sizes["fold_model"] == 1 and every[name].sizes["fold_model"] == 2
        np.testing.assert_array_equal(one[name][0], every[name][0])
    assert not ensemble.first_fold().unet.folds[0].symmetries


def test_other_data_are_refused(ensemble, valid):
    with pytest.raises(DataError, match="bands"):
        ensemble.predict(valid.isel(patch=0, band=slice(3))[["image"]])
    with pytest.raises(DataError, match="patches"):
        ensemble.predict(valid[["mask"]])
    other = ensemble.sensor.model_copy(update={"pixel_m": 30.0})
    with pytest.raises(ModelError, match="pixel"):
        ensemble.predict(valid.assign_attrs(sensor=other.model_dump_json()))
    empty = xr.Dataset({"image": (("band", "y", "x"), np.full((14, 9, 9), np.nan))})
    with pytest.raises(DataError, match="valid"):
        ensemble.predict(empty)
    with pytest.raises(RunError, match="no run"):
        Ensemble.load("nowhere")


def test_loading_imports_torch_and_xarray_and_nothing_else_that_takes_long(tiny_run):
    slow = ("lightgbm", "sklearn", "scipy", "numba", "zarr", "h5py", "l4s_ensemble.report")
    code = (
        "import sys; from l4s_ensemble import Ensemble; "
        f"Ensemble.load({str(tiny_run)!r}); "
        f"print([m for m in sys.modules if m.startswith({slow})])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
