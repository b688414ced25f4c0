"""The saved model, the explanation, and predictions of other tiles."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from pixel_world import SENSOR, save, synthetic

from l4s_ensemble.data.sensor import SensorBand
from l4s_ensemble.errors import ModelError
from l4s_ensemble.features.source import FeatureSource, source_to_predict
from l4s_ensemble.pixel.blocks import score_tiles
from l4s_ensemble.pixel.model import PixelModel
from l4s_ensemble.run.files import read_json
from l4s_ensemble.run.scores import ScoreFile


@pytest.fixture
def model(fitted: Path) -> PixelModel:
    return PixelModel.load(fitted / "pixel")


def test_a_saved_model_reads_back_as_it_was(model: PixelModel, fitted: Path) -> None:
    assert len(model.folds) == 3 and model.sensor == SENSOR and model.seed == 3
    for k, classifier in enumerate(model.folds):
        assert classifier.names == model.plan.names
        saved = read_json(fitted / f"pixel/fold_{k}/classifier.json")["settings"]
        assert saved["random_state"] == 3 + k and saved["trees"] == 30
    model.require(model.plan.names, SENSOR)
    # Another process reads it from its folder: no megabytes go with each task.
    assert len(pickle.dumps(model)) < 1000
    load, arguments = model.__reduce__()
    assert load(*arguments).folds == model.folds


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
        ("band names", {"bands": SENSOR.bands[::-1]}),
        ("bands", {"bands": (SensorBand(name="B2", count_to_unit=2.0), *SENSOR.bands[1:])}),
        ("radiometry", {"radiometry": "relative"}),
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


def test_every_fold_scores_the_tiles_of_another_split(model: PixelModel, tmp_path: Path) -> None:
    tiles = synthetic(2, 5, seed=9, first_id=501)
    save(tiles, tmp_path, "data/valid")
    store = tmp_path / "data/valid/patches.zarr"
    source = source_to_predict(
        store, model.folder, tmp_path, np.arange(10), is_training_store=False, jobs=1
    )
    size = tiles.sizes["y"], tiles.sizes["x"]
    every = []
    for k in range(3):
        scores = ScoreFile(tmp_path / f"pixel_{k}.zarr", tiles["patch"].values, size)
        score_tiles(scores, source, model, np.full(10, k), 1)
        every.append(xr.open_zarr(scores.path, chunks=None, consolidated=False)["logit"])
    logit = xr.concat(every, "fold_model")
    np.testing.assert_array_equal(logit["patch"], tiles["patch"])
    tile = FeatureSource(store, model.folder / "features.json").tiles([7])[0]
    for k in range(3):
        wanted = model.folds[k].predict_logit_image(tile)
        np.testing.assert_array_equal(logit.sel(patch=508).values[k], wanted)
    # They generalise to tiles drawn by the same law.
    predicted = logit.mean("fold_model").values > 0
    reference = tiles["mask"].values.astype(bool)
    assert (predicted & reference).sum() > 0.8 * (predicted | reference).sum()
