"""Which learner is chosen, and that a tile's fold has no part in the learner that scores it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from l4s_ensemble.config import StackConfig
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.run.files import read_json
from l4s_ensemble.run.scores import open_scores
from l4s_ensemble.stack import crossfit
from l4s_ensemble.stack.choose import choose
from l4s_ensemble.stack.inputs import Seen
from l4s_ensemble.stack.model import load_learner
from l4s_ensemble.stack.tiles import Block

TILES, EDGE = 24, 24
FOLD = np.arange(TILES) % 3


def scored(truth: np.ndarray, noise: float, seed: int) -> TileHistograms:
    rng = np.random.default_rng(seed)
    out = TileHistograms.empty(range(len(truth)), 100)
    for i, mask in enumerate(truth):
        out.add(i, np.clip(0.5 * mask + noise * rng.random(mask.shape), 0, 1), mask)
    return out


@pytest.fixture
def truth(rng: np.random.Generator) -> np.ndarray:
    return rng.random((TILES, EDGE, EDGE)) < 0.1


def chosen(rows: list[dict[str, object]]) -> str:
    return next(str(row["name"]) for row in rows if row["chosen"])


def test_the_simplest_within_noise_of_the_best_is_chosen(truth):
    tiles = {
        "convolution": scored(truth, 0.8, 1), "trees": scored(truth, 0.8, 11),
        "logistic": scored(truth, 0.8, 21), "mean": scored(truth, 1.0, 31),
    }  # fmt: skip
    rows = choose(tiles, np.arange(TILES), resamples=300)
    assert [row["name"] for row in rows] == ["mean", "logistic", "trees", "convolution"]
    by_name = {row["name"]: row for row in rows}
    assert chosen(rows) == "logistic"
    assert by_name["mean"]["behind"]["shown"] and not by_name["mean"]["within_noise"]
    assert by_name["logistic"]["gain"]["value"] == 0
    assert by_name["mean"]["gain"]["value"] < 0


def test_a_better_one_wins_however_complicated(truth):
    tiles = {"mean": scored(truth, 0.9, 1), "convolution": scored(truth, 0.55, 2)}
    assert chosen(choose(tiles, np.arange(TILES), resamples=300)) == "convolution"


def test_a_base_is_told_but_never_chosen(truth):
    rows = choose(
        {"logistic": scored(truth, 0.9, 1), "trees": scored(truth, 0.9, 2)}, np.arange(TILES),
        bases={"pixel": scored(truth, 0.5, 3)}, resamples=300,
    )  # fmt: skip
    assert rows[0]["name"] == "pixel" and rows[0]["f1"] > rows[1]["f1"] + 0.1
    assert chosen(rows) == "logistic"
    assert rows[0]["gain"]["shown"]


def test_where_blocks_are_too_few_to_tell_the_simplest_is_taken(truth):
    tiles = {"mean": scored(truth, 0.9, 1), "trees": scored(truth, 0.55, 2)}
    assert chosen(choose(tiles, np.arange(TILES) % 2, resamples=300)) == "mean"


class Source:
    """Out-of-fold scores in memory. In fold 0 the truth is what the pixel model calls no slide."""

    def __init__(self, turned: int | None) -> None:
        rng = np.random.default_rng(3)
        self.patch, self.fold, self.size = np.arange(TILES), FOLD, (EDGE, EDGE)
        self.truth = rng.random((TILES, EDGE, EDGE)) < 0.2
        self.logits = np.where(self.truth, 2.0, -2.0) + rng.normal(0, 2, (2, *self.truth.shape))
        if turned is not None:
            self.truth[turned == FOLD] ^= True

    def blocks(self):
        for i in range(0, TILES, 16):
            at = slice(i, min(i + 16, TILES))
            seen = [Seen(p, u) for p, u in zip(*self.logits[:, at].astype(np.float32), strict=True)]
            yield Block(at, seen, self.truth[at])


@pytest.mark.parametrize("kind", ["mean", "logistic", "trees", "convolution"])
def test_a_fold_s_truth_has_no_part_in_its_own_scores(kind, tmp_path, monkeypatch):
    settings = StackConfig(windows_px=(3,), trees=5, leaves=4, epochs=1, rows_max=4000)
    found = {}
    for turned in (None, 0):
        monkeypatch.setattr(crossfit, "OutOfFold", lambda *_, t=turned: Source(t))
        folder = tmp_path / str(turned)
        folder.mkdir()
        told = crossfit.cross_fit(kind, (Path(), Path(), Path()), folder, settings)
        assert told["inputs"] and told["seconds"] >= 0
        found[turned] = open_scores(folder / "oof.zarr")["probability"].values
    np.testing.assert_array_equal(found[None][FOLD == 0], found[0][FOLD == 0])
    assert np.abs(found[None][FOLD == 1] - found[0][FOLD == 1]).max() > 0.01


def test_pixels_of_a_tile_do_not_depend_on_the_learner(monkeypatch):
    settings = StackConfig(windows_px=(3,), rows_max=2000)
    one, other = (crossfit.draw(kind, Source(None), settings, 4) for kind in ("mean", "trees"))
    np.testing.assert_array_equal(one.x, other.x[:, :2])
    np.testing.assert_array_equal(one.truth, other.truth)
    assert set(one.without(1).fold) == {0, 2}
    assert len(one.without(1).x) == len(one.x) * 2 // 3
    few = one.without(1, np.unique(one.patch)[:1])
    assert set(few.patch) <= set(np.unique(one.patch)[:1])
    assert 1 not in few.fold


def real_scores(folder: Path, empty: bool) -> tuple[Path, Path, Path]:
    """The same on disk, as the earlier stages leave it."""
    from l4s_ensemble.data.build import build_store
    from l4s_ensemble.data.patches import find_patches, write_mask, write_patch
    from l4s_ensemble.data.sensor import Sensor, SensorBand
    from l4s_ensemble.run.scores import ScoreFile

    source = Source(None)
    sensor = Sensor(name="grey", bands=(SensorBand(name="B4"),), patch_pixels=EDGE)
    for i in range(TILES):
        mask = source.truth[i] & (not empty)
        write_patch(
            folder / f"TrainData/img/image_{i}.h5", np.full((EDGE, EDGE, 1), 9.0 + i), sensor
        )
        write_mask(folder / f"TrainData/mask/mask_{i}.h5", mask.astype(np.uint8))
    store = folder / "patches.zarr"
    build_store(find_patches(folder, "train", sensor), sensor, store, root=folder)
    paths = []
    for name, logits in zip(("pixel", "unet"), source.logits, strict=True):
        scores = ScoreFile(folder / f"{name}.zarr", source.patch, source.size, fold=FOLD)
        for block in scores.blocks():
            scores.write(block, logits[block])
        paths.append(scores.path)
    return paths[0], paths[1], store


def test_trees_are_fitted_in_a_process_of_their_own(tmp_path):
    settings = StackConfig(windows_px=(3,), trees=5, leaves=4, rows_max=4000)
    paths = real_scores(tmp_path / "sound", empty=False)
    told = crossfit.cross_fit_apart("trees", paths, tmp_path / "out", settings)
    assert told["importances"][0]["share"] > 0
    learner = load_learner(tmp_path / "out")
    source = Source(None)
    seen = next(source.blocks()).seen[0]
    assert learner.probability(seen)[source.truth[0]].mean() > source.truth.mean()


def test_a_fault_in_that_process_is_left_as_a_file(tmp_path):
    settings = StackConfig(windows_px=(3,), trees=5, leaves=4, rows_max=4000)
    paths = real_scores(tmp_path / "empty", empty=True)
    with pytest.raises(SystemExit):
        crossfit._worker("trees", paths, tmp_path, settings, None, 0, 1)
    assert "both classes" in read_json(tmp_path / "fault.json")["what"]
