"""Adaptation to the images of a place: which tiles share one, and that all ways agree."""

from __future__ import annotations

import pickle
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr
from tiny_run import _in_this_process

from l4s_ensemble.cli import console
from l4s_ensemble.data.patches import open_patches
from l4s_ensemble.data.store import in_memory
from l4s_ensemble.pipeline import load_run
from l4s_ensemble.predict import ensemble as ensembles
from l4s_ensemble.predict import place
from l4s_ensemble.predict.ensemble import Ensemble
from l4s_ensemble.predict.result import open_probability
from l4s_ensemble.run.execute import Executor
from l4s_ensemble.run.files import read_json, write_json
from l4s_ensemble.run.scores import open_scores


@pytest.fixture(scope="module")
def ensemble(tiny_run: Path) -> Ensemble:
    return Ensemble.load(tiny_run, device="cpu")


@pytest.fixture(scope="module")
def valid(tiny_run: Path) -> xr.Dataset:
    return open_patches(read_json(tiny_run / "config.json")["data"]["root"], "valid")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four tiles are enough for a place."""
    monkeypatch.setattr(place, "LEAST_TILES", 4)
    monkeypatch.setattr(ensembles, "LEAST_TILES", 4)


def tiles_of(valid: xr.Dataset, scene: list[int]) -> xr.Dataset:
    """Tiles of some scenes, -1 where it is not known; copies of the valid ones."""
    n = len(scene)
    made = valid.isel(patch=np.arange(n) % valid.sizes["patch"]).assign_coords(patch=np.arange(n))
    where = {"scene": scene, "row": np.arange(n), "col": np.zeros(n)}
    return in_memory(made.assign_coords({k: ("patch", np.int32(v)) for k, v in where.items()}))


def test_a_scene_of_enough_tiles_is_a_place(valid: xr.Dataset) -> None:
    scene = [4] * 20 + [2] * 19 + [5] * 21 + [-1] * 25
    found = place.group_tiles(tiles_of(valid, scene))
    assert found.tolist() == [2] * 20 + [0] * 19 + [3] * 21 + [1] * 25
    assert not place.group_tiles(tiles_of(valid, [-1] * 19)).any()


def test_the_command_and_memory_adapt_alike(
    tiny_run: Path,
    tmp_path: Path,
    valid: xr.Dataset,
    monkeypatch: pytest.MonkeyPatch,
    few: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Executor, "_run_child", _in_this_process)
    copy = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    run, result = load_run(copy, jobs=1, device="cpu"), copy / "predict/valid/result"
    before = open_scores(result / "unet.zarr")["logit"].values
    shutil.rmtree(copy / "predict")  # it is up to date: how few tiles are a place is no setting
    summary = run.predict("valid").attrs
    assert summary["adapted_to"] == "valid" and summary["places"] == [4]
    after = open_scores(result / "unet.zarr")["logit"].values
    assert (after != before).any()
    scene = {"scene": 2, "row": [0, 0, 1, 1], "col": [0, 1, 0, 1]}
    known = valid.assign_coords({k: ("patch", np.int32(np.full(4, v))) for k, v in scene.items()})
    ensemble = Ensemble.load(copy, device="cpu")
    turned = ensemble.predict(known.isel(patch=[2, 0, 3, 1]), logits=True).sortby("patch")
    np.testing.assert_array_equal(turned["logit_unet"].values, after)
    np.testing.assert_array_equal(
        turned["probability"].values, open_probability(result)["probability"]
    )
    scores = run.evaluate("valid")
    rows = {r["model"]: r["adapted_to"] for r in scores["comparison"]}
    assert rows == {"pixel": None, "unet": "valid", "mean": "valid", "stack": "valid"}
    console.comparison("", scores)
    assert re.search(r"^\s*stack, adapted to valid\s+0\.\d", capsys.readouterr().out, re.M)
    assert run.predict("valid", adapt=False).attrs["adapted_to"] is None
    np.testing.assert_array_equal(open_scores(result / "unet.zarr")["logit"], before)
    plain = ensemble.predict(known, adapt=False, logits=True)
    np.testing.assert_array_equal(plain["logit_unet"].values, before)
    for file in (result / "masks").glob("*.h5"):
        with h5py.File(file) as mask:
            said = dict(mask["mask"].attrs)
        inside = said["dissimilarity"] <= ensemble.applicability.limit
        assert said["inside_applicability"] == inside
    (copy / "adapt").mkdir()
    write_json(copy / "adapt/summary.json", {"in_use": True})  # models that learnt from labels
    xr.testing.assert_identical(
        Ensemble.load(copy, device="cpu").predict(known, logits=True), plain
    )


def test_tiles_that_were_fitted_on_are_never_adapted_to(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: None
) -> None:
    monkeypatch.setattr(Executor, "_run_child", _in_this_process)
    run = load_run(shutil.copytree(tiny_run, tmp_path / "run"), jobs=1, device="cpu")
    assert run.predict("train").attrs["adapted_to"] is None


def test_a_raster_is_a_place_and_its_adapted_models_travel(
    ensemble: Ensemble, valid: xr.Dataset, few: None
) -> None:
    raster = xr.Dataset({"image": (("band", "y", "x"), np.hstack(valid["image"].values[:2]))})
    raster = xr.concat([raster, raster], "x")
    found, plain = (ensemble.predict(raster, adapt=a, logits=True) for a in (True, False))
    assert not found["logit_unet"].equals(plain["logit_unet"])
    np.testing.assert_array_equal(found["logit_pixel"], plain["logit_pixel"])
    images = np.stack([raster["image"].values[:, :128, :128]] * 4)
    adapted = ensemble.adapted(images)
    assert ensemble.adapted(images[:3]) is ensemble
    again = pickle.loads(pickle.dumps(adapted))  # noqa: S301
    assert again.unet.statistics() == adapted.unet.statistics() != ensemble.unet.statistics()
    assert pickle.loads(pickle.dumps(ensemble)).unet.statistics() == ensemble.unet.statistics()  # noqa: S301
