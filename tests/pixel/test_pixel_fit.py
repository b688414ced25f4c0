"""The fits of all folds: nothing leaks, threads change nothing, what is fitted is kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fit_world import NAMES, World, world

from l4s_ensemble.pixel import fit
from l4s_ensemble.pixel.classifier import PixelClassifier


def fold(folder: Path, k: int) -> tuple[list[str], list[bytes]]:
    """Trees of a fold's boosters, without the parameters that their texts end with."""
    made = PixelClassifier.load(folder / f"fold_{k}")
    return [text.split("parameters:")[0] for text in made.boosters_]


def nonsense(given: World, k: int, folder: Path) -> World:
    """The same world with nonsense in all that fold `k` must not read."""
    rng = np.random.default_rng(0)
    rows, stratum = np.load(given.rows), given.pixels.stratum.copy()
    secret = ~np.isin(given.pixels.patch, given.folds.train_ids(k))
    rows[secret] = rng.normal(size=(int(secret.sum()), rows.shape[1]))
    stratum[secret] = rng.permutation(stratum[secret])
    np.save(folder / "other.npy", rows)
    return given._replace(rows=folder / "other.npy", pixels=replace(given.pixels, stratum=stratum))


def test_held_out_tiles_choose_nothing(tmp_path: Path) -> None:
    given = world(tmp_path, constraints="physics", seeds=2)
    other = nonsense(given, 1, tmp_path)
    for name, some in (("a", given), ("b", other)):
        ids = some.folds.train_ids(1)
        fit.fit_fold(
            some.classifier, some.rows, some.pixels, ids, NAMES, tmp_path / name / "fold_1"
        )
    assert fold(tmp_path / "a", 1) == fold(tmp_path / "b", 1)


def test_folds_side_by_side_are_those_of_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = world(tmp_path, trees=3, leaves=4, seeds=2)
    parts = (given.classifier, given.rows, given.pixels, NAMES, given.folds)
    told = fit.fit_folds(*parts, tmp_path / "one", 1)
    pixels = given.folds.landslide_pixels
    for k in range(3):
        about = json.loads((tmp_path / f"one/fold_{k}.json").read_text())
        assert told[k].items() <= about.items() and told[k]["rows"] > told[k]["positives"] > 0
        trained = np.isin(given.folds.patch, about["trained"])
        assert not trained[given.folds.fold == k].any()
        assert about["prevalence"] == pytest.approx(pixels[trained].sum() / trained.sum() / 24**2)
    # Folds differ in their seed, too; two threads give the same trees.
    assert PixelClassifier.load(tmp_path / "one/fold_2").random_state == 9
    monkeypatch.setattr(fit, "at_most", lambda _: 1)
    fit.fit_folds(*parts, tmp_path / "two", 2)
    assert [fold(tmp_path / "one", k) for k in range(3)] == [
        fold(tmp_path / "two", k) for k in range(3)
    ]


def test_fits_side_by_side_stay_within_memory(tmp_path: Path) -> None:
    for shape, most in (((1_250_000, 110), 3), ((10**7, 110), 1)):
        # A file with a hole: it takes no room.
        np.lib.format.open_memmap(tmp_path / "rows.npy", "w+", np.float32, shape)
        assert fit.at_most(tmp_path / "rows.npy") == most
