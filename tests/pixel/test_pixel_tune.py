"""The search: it scores as the stage does, goes on after a kill, and writes a preset that loads."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fit_world import world
from pixel_world import config_of
from sklearn.base import clone
from sklearn.metrics import f1_score

from l4s_ensemble import config as configuration
from l4s_ensemble.config import PixelConfig
from l4s_ensemble.errors import ConfigError
from l4s_ensemble.pixel.classifier import PixelClassifier
from l4s_ensemble.pixel.tune import SPACE, held_out_f1, require_optuna, tune
from l4s_ensemble.run.files import write_json

pytest.importorskip("optuna")


def test_a_trial_scores_what_each_fold_holds_out(tmp_path: Path) -> None:
    given = world(tmp_path, trees=8)
    pixels, tiles = given.pixels, given.pixels.tile[:100]
    f1 = held_out_f1(clone(given.classifier).set_params(leaves=4), *given[1:], tiles)
    # By hand: folds fitted on these tiles, with these settings.
    y, p, weight = [], [], []
    rows, some = np.load(given.rows), np.isin(pixels.patch, tiles)
    for k in range(3):
        classifier = clone(given.classifier).set_params(leaves=4, random_state=7 + k)
        train = some & np.isin(pixels.patch, given.folds.train_ids(k))
        classifier.fit(
            rows[train],
            pixels.landslide[train],
            pixels.weights_of(np.unique(pixels.patch[train]))[train],
        )
        own = some & (given.folds.of(pixels.patch, "fold") == k)
        p.append(classifier.predict_proba(rows[own])[:, 1])
        y.append(pixels.landslide[own])
        weight.append(pixels.weights_of(pixels.tile)[own])
    y, p, weight = (np.concatenate(a) for a in (y, p, weight))
    best = max(
        f1_score(y, p >= t, sample_weight=weight) for t in np.quantile(p, np.arange(99) / 99)
    )
    assert best <= f1 + 1e-6 and f1 == pytest.approx(best, abs=0.02)


def test_without_optuna_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"l4s_ensemble\[tune\]") as error:
        require_optuna()
    assert error.value.exit_code == 2


def test_a_killed_search_goes_on_and_writes_a_preset_that_loads(
    fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(fitted, run)
    mark = {"fingerprint": "f" * 32, "digest": "", "ingredients": {}}
    write_json(run / "pixel/manifest.json", mark)
    config = config_of(l2=0)  # not in the space
    tried: list[dict[str, Any]] = []

    class Killed(BaseException):
        """Ends a search as a signal does."""

    def scored(classifier: PixelClassifier, *_: Any) -> float:
        settings = {name: getattr(classifier, name) for name in SPACE}
        if len(tried) == 2:
            tried.append({})
            raise Killed
        tried.append(settings)
        return 1 - abs(np.log(settings["learning_rate"] / 0.08)) / 9

    monkeypatch.setattr("l4s_ensemble.pixel.tune.held_out_f1", scored)
    with pytest.raises(Killed):
        tune(run, config, trials=4)
    told = tune(run, config, trials=4, out=tmp_path / "found.yaml")
    assert len(told["trials"]) == 4 and len(tried) == 5
    assert [t["own"] for t in told["trials"]].count(True) == 1
    assert tried[0] == {n: getattr(config.pixel, n) for n in SPACE} | {
        "l2": 0.1,
        "trees": 60,
        "leaves": 15,
        "learning_rate": 0.2,
    }
    f1 = [t["f1"] for t in told["trials"]]
    assert f1 == sorted(f1, reverse=True)
    assert tune(run, config, trials=4)["trials"] == told["trials"]  # nothing is left to do
    found = configuration.load(tmp_path / "found.yaml")
    assert found.name == "found" and found.data.holdout == config.data.holdout
    for name, value in told["trials"][0]["settings"].items():
        assert getattr(found.pixel, name) == value
    assert found.pixel.positives_max == config.pixel.positives_max != PixelConfig().positives_max


def test_a_search_learns_on_a_real_run(fitted: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(fitted, run)
    write_json(
        run / "pixel/manifest.json", {"fingerprint": "a" * 32, "digest": "", "ingredients": {}}
    )
    told = tune(run, config_of(trees=60), trials=1, share=1.0)
    assert told["trials"][0]["f1"] > 0.8
    assert told["trials"][0]["settings"]["trees"] == 60
