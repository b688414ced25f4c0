"""The estimator: its grammar, what it accepts and refuses, saving, and adaptation to a place."""

from __future__ import annotations

import doctest
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from safetensors import safe_open
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from unet_world import SENSOR, cpu, f1, model_of, same, synthetic, tiny

from l4s_ensemble.config import UNetConfig
from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.data.store import units
from l4s_ensemble.errors import ConfigError, DataError, ModelError
from l4s_ensemble.unet import classifier
from l4s_ensemble.unet.classifier import SETTINGS, UNetClassifier
from l4s_ensemble.unet.inputs.tileset import TileSet, load
from l4s_ensemble.unet.predictor import Predictor

LEARNT = tiny(width=8, epochs=25, lr=1e-2, ema=0.9, batch=2)
FAR = (1.6, 0.5)
"""Gains of red and near infrared at which the whole place looks like one landslide."""


def elsewhere() -> xr.Dataset:
    """Other tiles, in another light."""
    ds = synthetic(seed=9)
    image = ds["image"].values.astype(float)
    image[:, :2] *= np.reshape(FAR, (2, 1, 1))
    ds["image"] = ds["image"].dims, image.round().astype(np.uint16)
    return ds


def numbered() -> tuple[xr.Dataset, np.ndarray, np.ndarray]:
    """Tiles as a dataset, and as units and masks: ids are positions."""
    ds = synthetic().assign_coords(patch=np.arange(16))
    return ds, units(ds), ds["mask"].values


@pytest.fixture(scope="module")
def fitted() -> UNetClassifier:
    """A model that knows the synthetic world in its own light."""
    return model_of(LEARNT, random_state=3).fit(load(synthetic()))


def test_the_example_of_the_documentation_runs() -> None:
    finder = doctest.DocTestFinder(recurse=False)
    (example,) = finder.find(UNetClassifier, globs={"UNetClassifier": UNetClassifier})
    assert len(example.examples) >= 8
    assert doctest.DocTestRunner().run(example).failed == 0


def test_settings_are_those_of_the_config() -> None:
    model = UNetClassifier()
    assert {k: getattr(model, k) for k in SETTINGS} == UNetConfig().model_dump()
    assert set(model.get_params()) == {*SETTINGS, "random_state", "device", "n_jobs", "sensor"}
    twin = clone(model_of(bands=("B4", "dem"), random_state=(3, 1)))
    assert twin.bands == ("B4", "dem") and twin.random_state == (3, 1)
    with pytest.raises(NotFittedError):
        twin.predict_logit(synthetic())
    with pytest.raises(ConfigError, match=r"unet\.lr = -1"):
        model_of(lr=-1).fit(synthetic())


def test_arrays_datasets_and_tiles_are_one_input() -> None:
    ds, X, y = numbered()
    models = [model_of().fit(given) for given in (ds, load(ds))]
    models += [model_of(random_state=(0, 0)).fit(X, y), model_of().fit(ds.drop_vars("mask"), y)]
    logits = [m.predict_logit(given) for m, given in zip(models, (X, ds, X, load(ds)), strict=True)]
    for model, logit in zip(models[1:], logits[1:], strict=True):
        assert same(model.networks_[0], models[0].networks_[0])
        np.testing.assert_array_equal(logit, logits[0])
    assert logits[0].shape == y.shape and logits[0].dtype == np.float32
    np.testing.assert_allclose(models[0].predict_proba(X), 1 / (1 + np.exp(-logits[0])), rtol=1e-5)
    assert models[0].n_bands_in_ == 4 and models[0].sensor_ == SENSOR
    other = model_of(random_state=(0, 1)).fit(X, y)
    assert not same(other.networks_[0], models[0].networks_[0])


def test_networks_of_all_seeds_count_and_validation_chooses_nothing() -> None:
    _, X, y = numbered()
    model = model_of(seeds=2).fit(X[:12], y[:12], validation=(X[12:], y[12:]))
    alone = model_of().fit(X[:12], y[:12])
    assert same(model.networks_[0], alone.networks_[0])
    assert not same(*model.networks_)
    assert [e["validation_loss"] is None for e in model.history_[0]] == [False, False]
    assert [e["validation_loss"] for e in alone.history_[0]] == [None, None]
    assert not np.allclose(model.predict_logit(X), alone.predict_logit(X), atol=1e-3)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda X, y: (X[:, :3], y), "B4, B8, B10, dem"),
        (lambda X, y: (X[0], y[0]), "does not hold tiles"),
        (lambda X, y: (X, None), "no masks"),
        (lambda X, y: (X, y[:3]), "no masks of the tiles"),
        (lambda X, y: (X, 255 * y), "values 0 to 255"),
        (lambda X, y: (X, 0 * y), "no landslide to train on"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(change: Any, says: str) -> None:
    with pytest.raises(DataError, match=says):
        model_of().fit(*change(*numbered()[1:]))


def test_another_sensor_is_refused(fitted: UNetClassifier) -> None:
    ds = synthetic()
    other = Sensor(name="rgb", bands=SENSOR.bands[:3])
    few = ds.isel(band=slice(3)).assign_attrs(sensor=other.model_dump_json())
    for predict in (fitted.predict_logit, fitted.adapt_statistics):
        with pytest.raises(ModelError, match="band names differ"):
            predict(few)
    scaled = SENSOR.model_copy(update={"radiometry": "relative"})
    with pytest.raises(ModelError, match="radiometry differ"):
        fitted.predict_proba(ds.assign_attrs(sensor=scaled.model_dump_json()))


def test_saved_and_loaded_it_is_the_same(fitted: UNetClassifier, tmp_path: Path) -> None:
    fitted.save(tmp_path / "a")
    back = UNetClassifier.load(tmp_path / "a", device="cpu")
    for name in ("history_", "captured_", "normalisation_", "sensor_", "n_bands_in_"):
        assert getattr(back, name) == getattr(fitted, name), name
    assert {k: getattr(back, k) for k in SETTINGS} == LEARNT.model_dump()
    ds = synthetic()
    np.testing.assert_array_equal(back.predict_logit(ds), fitted.predict_logit(ds))
    back.save(tmp_path / "b")
    assert len(list((tmp_path / "b").iterdir())) == 2
    for file in (tmp_path / "b").iterdir():
        assert file.read_bytes() == (tmp_path / "a" / file.name).read_bytes()
    # Metadata would be written in any order.
    with safe_open(tmp_path / "a/network_0.safetensors", framework="pt") as file:
        assert not file.metadata()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("network_0.safetensors", b"no", "cannot be read"),
        ("network_0.safetensors", None, "cannot be read"),
        ("model.json", b"{", "cannot be read"),
        ("model.json", None, "cannot be read"),
        ("model.json", b"[1]", "cannot be read"),
        ("model.json", {"kind": "pixel"}, "kind\n.*l4s_ensemble U-Net"),
        ("model.json", {"version": 3}, "version\n.*4"),
        ("model.json", {"settings": {"widht": 3}}, "widht"),
        ("model.json", {"normalisation": {}}, "normalisation"),
        ("model.json", {"sensor": None}, "sensor"),
    ],
)
def test_damage_is_named(
    fitted: UNetClassifier, tmp_path: Path, name: str, content: Any, says: str
) -> None:
    fitted.save(tmp_path)
    path = tmp_path / name
    if isinstance(content, dict):
        content = json.dumps({**json.loads(path.read_text()), **content}).encode()
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(ModelError, match=says) as error:
        UNetClassifier.load(tmp_path)
    assert error.value.where == path and error.value.fix


def test_weights_of_another_network_are_refused(fitted: UNetClassifier, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    value = json.loads((tmp_path / "model.json").read_text())
    value["settings"]["width"] = 4
    (tmp_path / "model.json").write_text(json.dumps(value))
    with pytest.raises(ModelError, match="size mismatch"):
        UNetClassifier.load(tmp_path)


def test_statistics_of_the_place_mend_what_another_light_broke(fitted: UNetClassifier) -> None:
    ds = elsewhere()
    place, mask = ds.drop_vars("mask"), ds["mask"].values
    assert f1(fitted.predict_logit(place), mask) < 0.3
    adapted = fitted.adapt_statistics(place)
    assert f1(adapted.predict_logit(place), mask) > 0.95
    assert f1(fitted.predict_logit(place), mask) < 0.3  # as it was
    weights = dict(adapted.networks_[0].named_parameters())
    own = fitted.networks_[0].named_parameters()
    assert all(torch.equal(weights[name], value) for name, value in own)
    assert same(adapted.networks_[0], fitted.adapt_statistics(ds).networks_[0])  # masks


def test_statistics_are_mixed_by_their_share(fitted: UNetClassifier) -> None:
    place = elsewhere()
    none, half, whole = (fitted.adapt_statistics(place, share=s) for s in (0.0, 0.5, 1.0))
    assert same(none.networks_[0], fitted.networks_[0])
    pairs = zip(
        *(dict(m.networks_[0].named_buffers()).items() for m in (none, half, whole)), strict=True
    )
    for (name, of_training), (_, mixed), (_, of_place) in pairs:
        if name.endswith(("mean", "var")):
            assert torch.allclose(mixed, (of_training + of_place) / 2, atol=1e-6)


def test_few_tiles_are_enough_to_adapt_to(fitted: UNetClassifier) -> None:
    few = fitted.adapt_statistics(load(synthetic(), [3]))
    assert not same(few.networks_[0], fitted.networks_[0])
    assert np.isfinite(few.predict_logit(synthetic())).all()


def test_without_batch_norm_nothing_is_adapted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fitted: UNetClassifier
) -> None:
    monkeypatch.setattr(classifier, "recalibrate", lambda network, inputs, share: False)
    with caplog.at_level("WARNING", logger="l4s_ensemble"):
        adapted = fitted.adapt_statistics(elsewhere())
    assert "no batch norm" in caplog.text and same(adapted.networks_[0], fitted.networks_[0])


def test_bf16_is_close_to_float32(fitted: UNetClassifier) -> None:
    tiles: TileSet = load(synthetic())
    exact, rough = (
        Predictor(fitted.networks_, fitted.normalisation_, cpu(precision))(tiles)
        for precision in ("float32", "bfloat16")
    )
    assert (rough - exact).abs().mean() < 0.05 * exact.std()
    assert ((rough > 0) == (exact > 0)).float().mean() > 0.99


def test_real_tiles_are_learned(real_data: Path) -> None:
    """Two real colour tiles, learned by heart: units, levels and masks belong together."""
    from l4s_ensemble.data.patches import open_patches

    ds = open_patches(real_data / "l4s-rgb", sensor="l4s-rgb").isel(patch=[100, 400])
    model = model_of(tiny(width=8, depth=3, epochs=60, batch=2, lr=1e-2, ema=0.9)).fit(ds)
    assert f1(model.predict_logit(ds), ds["mask"].values) > 0.7
