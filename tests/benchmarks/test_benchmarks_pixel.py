"""The benchmark of the pixel classifier, on a fitted run of a few made-up tiles."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[1] / "pixel"))

from pixel_world import config_of, made_up, prepare, run_pixel

from benchmarks import pixel, pixel_clouds, pixel_rivals
from l4s_ensemble.run.files import write_json

FEW = pixel_rivals.Size(rows=400, tiles=12, pixels=256, trees=10)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = config_of(trees=12)
    folder = prepare(tmp_path_factory.mktemp("bench"), config, made_up())
    run_pixel(folder, config)
    write_json(folder / "config.json", config.model_dump(mode="json"))
    return folder


def test_tiles_are_of_every_fold_and_in_none_twice(run: Path) -> None:
    fitted = pixel.Fitted.open(run)
    ids = fitted.draw(6)
    assert len(set(ids.tolist())) == 6
    assert set(fitted.folds.of(ids, "fold").tolist()) == {0, 1, 2}
    assert len(fitted.draw(10**6)) == len(fitted.folds.fit_ids)


def test_rivals_see_the_same_rows_and_none_of_the_tiles_they_score(run: Path) -> None:
    fitted = pixel.Fitted.open(run)
    sample = pixel_rivals.collect(fitted, FEW)
    assert sample.x.shape[1] == len(fitted.model.features) and sample.bands.shape[1] == 4
    assert len(sample.x) == len(sample.bands) == len(sample.y) == len(sample.patch)
    for k in range(fitted.model.folds):
        rows = pixel_rivals._rows(fitted, sample, k, FEW.rows)
        held = sample.scored[fitted.folds.of(sample.scored, "fold") == k]
        assert 0 < len(rows) <= FEW.rows and len(held)
        assert not set(sample.patch[rows].tolist()) & set(held.tolist())
    # The plain bands are those of the same pixels: red tells a landslide in these tiles.
    red = sample.bands[:, 2]
    assert red[sample.y == 1].mean() > red[sample.y == 0].mean() + 500


def test_the_last_line_is_json_with_what_was_asked_for(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pixel, "QUICK", FEW)
    monkeypatch.setitem(sys.modules, "s2cloudless", None)  # as if it were not installed
    pixel.main(["--run", str(run), "--quick", "--tiles", "6"])
    out = capsys.readouterr().out
    told = json.loads(out.splitlines()[-1])
    assert told["ratio_vs_lightgbm_predict"] > 1
    assert told["identical_as_float32"] and told["max_logit_difference"] < 1e-5
    assert abs(told["f1_loss"]) <= 0.1
    assert told["path"]["patches"] == 6 and told["path"]["patches_per_s"] > 0
    names = [rival.name for rival in pixel_rivals.rivals()]
    assert set(told["f1"]) == {*names, pixel_rivals.ALL_ROWS}
    assert all(0 <= f1 <= 1 for f1 in told["f1"].values())
    assert told["s2cloudless"] is None and "s2cloudless: not installed" in out


def test_a_published_model_is_scored_as_its_own_classifier_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    import lightgbm as lgb

    x = rng.random((3000, 10), dtype=np.float32)
    settings = {"objective": "binary", "num_leaves": 100, "verbosity": -1, "num_threads": 1}
    booster = lgb.train(settings, lgb.Dataset(x, x[:, 0] > x[:, 1]), num_boost_round=3)
    package = tmp_path / "s2cloudless"
    (package / "models").mkdir(parents=True)
    (package / "models" / "m.txt").write_text(booster.model_to_string())
    (package / "__init__.py").write_text("raise ImportError('needs more than is here')\n")
    (package / "pixel_classifier.py").write_text(
        "import numpy as np\n"
        "class PixelClassifier:\n"
        "    def __init__(self, classifier):\n"
        "        self.classifier = classifier\n"
        "    def image_predict_proba(self, data, **kwargs):\n"
        "        p = self.classifier.predict(data.reshape(-1, data.shape[-1]), **kwargs)\n"
        "        return np.stack([1 - p, p], -1).reshape(*data.shape[:-1], 2)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(pixel_clouds, "EDGE", 32)
    told = pixel_clouds.against_s2cloudless(1)
    assert told is not None and told["trees"] == 3 and told["leaves_per_tree"] <= 100
    for name in ("smooth", "noise"):
        assert told[name]["max_probability_difference"] < 1e-12
        assert told[name]["ns_per_pixel_and_tree"] > 0
