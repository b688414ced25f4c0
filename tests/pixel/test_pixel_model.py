"""The saved model, the explanation, and predictions of other tiles."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from pixel_world import SENSOR, config_of, made_up, run_stage, save

from l4s_ensemble.data.sensor import SensorBand
from l4s_ensemble.errors import ModelError
from l4s_ensemble.features.source import FeatureSource
from l4s_ensemble.pixel.model import PixelModel
from l4s_ensemble.run.scores import ScoreFile

PREDICT = "l4s_ensemble.pixel.stage:predict_stage"


@pytest.fixture
def model(fitted: Path) -> PixelModel:
    return PixelModel.load(fitted / "pixel")


def test_a_saved_model_reads_back_as_it_was(model: PixelModel, fitted: Path) -> None:
    assert len(model.folds) == 3 and model.sensor == SENSOR and model.seed == 3
    for k, classifier in enumerate(model.folds):
        assert tuple(classifier.feature_names_in_) == model.plan.names
        assert classifier.random_state == 3 + k and classifier.trees == 30
    model.require(model.plan.names, SENSOR)
    # Another process reads it from its folder: no megabytes go with each task.
    assert len(pickle.dumps(model)) < 1000
    load, arguments = model.__reduce__()
    assert [c.boosters_ for c in load(*arguments).folds] == [c.boosters_ for c in model.folds]


def test_other_columns_are_refused(model: PixelModel) -> None:
    names = list(model.plan.names)
    for found, match in (
        ([names[1], names[0], *names[2:]], "column 0"),
        (names[:-1], names[-1]),
        ([*names, "surprise"], "surprise"),
    ):
        with pytest.raises(ModelError, match=match):
            model.require(found, SENSOR)


@pytest.mark.parametrize(
    ("match", "change"),
    [
        ("bands", {"bands": SENSOR.bands[::-1]}),
        ("bands", {"bands": (SensorBand(name="B2", count_to_unit=2.0), *SENSOR.bands[1:])}),
        ("level", {"level": "relative"}),
    ],
)
def test_files_of_another_sensor_are_refused(
    match: str, change: dict[str, object], model: PixelModel
) -> None:
    with pytest.raises(ModelError, match=match):
        model.require(model.plan.names, SENSOR.model_copy(update=change))


def test_damaged_or_foreign_models_are_refused(model: PixelModel, tmp_path: Path) -> None:
    folder = tmp_path / "pixel"
    shutil.copytree(model.folder, folder)
    for name, match, change in (
        ("model.json", "version", {"version": 99}),
        ("model.json", "not a pixel model", {"kind": "something else"}),
        ("fold_1/classifier.json", "features of fold 1", {"features": model.plan.names[::-1]}),
    ):
        text = (folder / name).read_text()
        (folder / name).write_text(json.dumps(json.loads(text) | change))
        with pytest.raises(ModelError, match=match):
            PixelModel.load(folder)
        (folder / name).write_text(text)
    shutil.rmtree(folder / "fold_0")
    with pytest.raises(ModelError, match="fold_0"):
        PixelModel.load(folder)
    with pytest.raises(ModelError, match="cannot be read"):
        PixelModel.load(tmp_path / "nowhere")


def test_every_fold_scores_the_tiles_of_another_split(
    fitted: Path, model: PixelModel, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(fitted, run)
    tiles = made_up(2, 5, seed=9, first_id=501)
    save(tiles, run, "data/valid")
    params = {"data": "data/valid", "holdout": False}
    needs = ("data/valid", "pixel")
    told = run_stage(run, "predict/valid/pixel", PREDICT, config_of(), needs, params)
    assert told["patches"] == 10 and told["patches_per_s"] > 0
    out = run / "predict/valid/pixel/logit.zarr"
    logit = xr.open_zarr(out, chunks=None, consolidated=False)["logit"]
    assert logit.dims == ("fold_model", "patch", "y", "x")
    assert logit.sizes["fold_model"] == 3
    np.testing.assert_array_equal(logit["patch"], tiles["patch"])
    source = FeatureSource(run / "data/valid/patches.zarr", model.folder / "features.json")
    tile = source.tiles([7])[0]
    for k in range(3):
        wanted = model.folds[k].predict_logit_image(tile)
        np.testing.assert_array_equal(logit.sel(patch=508).values[k], wanted)
    # They generalise to tiles drawn by the same law.
    called = logit.mean("fold_model").values > 0
    truth = tiles["mask"].values.astype(bool)
    assert (called & truth).sum() > 0.8 * (called | truth).sum()


def test_the_holdout_comes_from_the_training_store(fitted: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(fitted, run)
    params = {"data": "data/train", "holdout": True}
    needs = ("data/train", "pixel", "scenes")
    told = run_stage(run, "predict/holdout/pixel", PREDICT, config_of(), needs, params)
    assert told["patches"] == 1
    out = run / "predict/holdout/pixel/logit.zarr"
    assert xr.open_zarr(out, chunks=None, consolidated=False)["patch"].values.tolist() == [6]


def test_predicting_another_sensor_says_what_differs(fitted: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(fitted, run)
    other = SENSOR.model_copy(update={"pixel_m": 30.0, "name": "coarse"})
    tiles = made_up(1, 2, first_id=501).assign_attrs(sensor=other.model_dump_json())
    save(tiles, run, "data/valid")
    params = {"data": "data/valid", "holdout": False}
    with pytest.raises(ModelError, match="pixel_m differs"):
        run_stage(run, "predict/valid/pixel", PREDICT, config_of(), ("data/valid", "pixel"), params)


def test_a_score_file_knows_what_is_missing_and_starts_anew_for_other_tiles(
    tmp_path: Path,
) -> None:
    path = tmp_path / "oof.zarr"
    first = ScoreFile(path, np.arange(10), (4, 5), fold=np.zeros(10))
    assert len(first.missing()) == len(first.blocks()) == 3
    first.write(first.blocks()[1], np.ones((4, 4, 5)))
    again = ScoreFile(path, np.arange(10), (4, 5), fold=np.zeros(10))
    assert [b.start for b in again.missing()] == [0, 8]
    assert (again.read(slice(4, 8)) == 1).all()
    other = ScoreFile(path, np.arange(1, 11), (4, 5), fold=np.zeros(10))
    assert len(other.missing()) == 3
