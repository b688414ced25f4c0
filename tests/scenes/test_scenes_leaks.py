"""The leak check of the stack."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from l4s_ensemble.config import Holdout, ScenesConfig
from l4s_ensemble.errors import LeakError
from l4s_ensemble.scenes.assign import make_folds
from l4s_ensemble.scenes.folds import Folds
from l4s_ensemble.scenes.grid import Grid
from l4s_ensemble.scenes.leaks import check_stack

N = 12 * 12


@pytest.fixture(scope="module")
def folds() -> Folds:
    row, col = (v.ravel().astype(np.int32) for v in np.mgrid[:12, :12])
    grid = Grid("manifest", np.arange(1, N + 1), np.ones(N, np.int32), row, col)
    return make_folds(
        grid, np.full(N, 300), np.array([f"{i:016x}" for i in range(N)]), np.zeros(N, bool),
        ScenesConfig(folds=3, block_tiles=3), holdout=Holdout(scene=1, columns=(10, 11)),
        holdout_guard=True, seed=0,
    )  # fmt: skip


def hashes_of(folds: Folds) -> dict[int, str]:
    return dict(zip(folds.patch.tolist(), folds.content_hash.tolist(), strict=True))


def bases_of(folds: Folds) -> dict[str, dict[str, Any]]:
    ids = folds.fit_ids
    return {
        name: {"patch": ids, "fold": folds.of(ids, "fold"), "seed": 7} for name in ("pixel", "unet")
    }


def fitted_of(folds: Folds) -> dict[int, list[int]]:
    return {k: folds.train_ids(k).tolist() for k in range(folds.n_folds)}


def test_a_clean_stack_passes(folds: Folds) -> None:
    told = check_stack(folds, hashes_of(folds), bases_of(folds), fitted_of(folds))
    assert told["checked"] == told["passed"] == len(told["details"])
    assert {0, 1, 2} <= {d["fold"] for d in told["details"]}


@pytest.mark.parametrize("which", ["held_ids", "buffer_ids", "holdout_ids"])
def test_a_meta_learner_that_saw_too_much_is_caught(folds: Folds, which: str) -> None:
    fitted = fitted_of(folds)
    extra = folds.holdout_ids if which == "holdout_ids" else getattr(folds, which)(1)
    fitted[1] = [*fitted[1], int(extra[0])]
    with pytest.raises(LeakError, match="fold 1 trains on tiles"):
        check_stack(folds, hashes_of(folds), bases_of(folds), fitted)


def test_a_copy_of_a_held_tile_is_caught(folds: Folds) -> None:
    hashes = hashes_of(folds)
    hashes[int(folds.train_ids(2)[0])] = hashes[int(folds.held_ids(2)[0])]
    with pytest.raises(LeakError, match="copies"):
        check_stack(folds, hashes, bases_of(folds), fitted_of(folds))


@pytest.mark.parametrize(
    ("key", "change", "words"),
    [
        ("seed", lambda seed: seed + 1, "differ in seeds"),
        ("patch", lambda ids: ids[::-1], "of other folds"),
        ("fold", lambda fold: np.roll(fold, 1), "of other folds"),
        ("both", lambda values: values[:-1], "differ in tiles"),
    ],
)
def test_bases_that_differ_are_caught(folds: Folds, key: str, change: Any, words: str) -> None:
    bases = bases_of(folds)
    for name in ("patch", "fold") if key == "both" else (key,):
        bases["unet"][name] = change(bases["unet"][name])
    with pytest.raises(LeakError, match=words):
        check_stack(folds, hashes_of(folds), bases, fitted_of(folds))


def test_unknown_places_are_told(folds: Folds) -> None:
    told = check_stack(
        replace(folds, grid="none"), hashes_of(folds), bases_of(folds), {0: [], 1: [], 2: []}
    )
    assert [d["check"] for d in told["details"] if not d["passed"]] == ["places"]
