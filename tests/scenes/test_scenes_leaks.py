"""The leak check that every fit shares."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from l4s_ensemble.config import Holdout, ScenesConfig
from l4s_ensemble.errors import LeakError
from l4s_ensemble.scenes.assign import make_folds
from l4s_ensemble.scenes.folds import Folds
from l4s_ensemble.scenes.grid import Grid
from l4s_ensemble.scenes.leaks import check_fits, check_stack, copies_across

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


def bases_of(folds: Folds) -> dict[str, dict]:
    ids = folds.fit_ids
    return {
        name: {"patch": ids, "fold": folds.of(ids, "fold"), "seed": 7} for name in ("pixel", "unet")
    }


def fitted_of(folds: Folds, *, strict: bool = False) -> dict[int, list[int]]:
    ids = folds.fit_ids
    if strict:
        return {k: folds.train_ids(k).tolist() for k in range(folds.n_folds)}
    return {k: ids[folds.of(ids, "fold") != k].tolist() for k in range(folds.n_folds)}


def test_clean_fits_pass(folds: Folds) -> None:
    told = check_fits(folds, hashes_of(folds))
    assert told["checked"] == told["passed"] == folds.n_folds + 1
    assert [d["fold"] for d in told["details"]] == [0, 1, 2, None]


@pytest.mark.parametrize("which", ["held_ids", "buffer_ids", "holdout"])
def test_a_fit_that_saw_too_much_is_caught(folds: Folds, which: str) -> None:
    trained = fitted_of(folds, strict=True)
    extra = folds.holdout_ids if which == "holdout" else getattr(folds, which)(1)
    trained[1] = [*trained[1], int(extra[0])]
    with pytest.raises(LeakError, match="fold 1 trains on tiles"):
        check_fits(folds, hashes_of(folds), trained)


def test_a_copy_of_a_held_tile_is_caught(folds: Folds) -> None:
    hashes = hashes_of(folds)
    hashes[int(folds.train_ids(2)[0])] = hashes[int(folds.held_ids(2)[0])]
    with pytest.raises(LeakError, match="copies"):
        check_fits(folds, hashes)


def test_a_clean_stack_passes_and_its_neighbours_are_told(folds: Folds) -> None:
    told = check_stack(folds, hashes_of(folds), bases_of(folds), fitted_of(folds, strict=True),
                       allow_neighbours=False)  # fmt: skip
    assert told["checked"] == told["passed"] == len(told["details"])
    loose = check_stack(folds, hashes_of(folds), bases_of(folds), fitted_of(folds))
    beside = [d for d in loose["details"] if not d["passed"]]
    assert [d["check"] for d in beside] == ["neighbours"] * folds.n_folds
    assert loose["checked"] - loose["passed"] == folds.n_folds
    n = len(folds.buffer_ids(0))
    assert n > 0 and beside[0]["said"].startswith(f"{n} of its tiles")
    with pytest.raises(LeakError, match="trains on tiles"):
        check_stack(
            folds, hashes_of(folds), bases_of(folds), fitted_of(folds), allow_neighbours=False
        )


def test_a_stack_fitted_on_what_it_scores_is_caught(folds: Folds) -> None:
    fitted = fitted_of(folds)
    fitted[2] = [*fitted[2], int(folds.held_ids(2)[3])]
    with pytest.raises(LeakError, match="fold 2 was fitted on tiles that it scores"):
        check_stack(folds, hashes_of(folds), bases_of(folds), fitted)
    fitted = fitted_of(folds)
    fitted[0] = [*fitted[0], int(folds.holdout_ids[0])]
    with pytest.raises(LeakError, match="fit nothing"):
        check_stack(folds, hashes_of(folds), bases_of(folds), fitted)


def test_bases_that_differ_are_caught(folds: Folds) -> None:
    for key, value, words in (
        ("seed", 8, "differ in seeds"),
        ("patch", folds.fit_ids[::-1], "other folds|differ in tiles"),
        ("fold", np.roll(folds.of(folds.fit_ids, "fold"), 1), "of other folds"),
    ):
        bases = bases_of(folds)
        bases["unet"][key] = value
        with pytest.raises(LeakError, match=words):
            check_stack(folds, hashes_of(folds), bases, fitted_of(folds))
    bases = bases_of(folds)
    fewer = {k: v[:-1] for k, v in bases["unet"].items() if k != "seed"}
    with pytest.raises(LeakError, match="differ in tiles"):
        check_stack(
            folds, hashes_of(folds), {**bases, "unet": {**fewer, "seed": 7}}, fitted_of(folds)
        )


def test_copies_in_two_folds_are_reported(folds: Folds) -> None:
    hashes = hashes_of(folds)
    one, same, other = (int(folds.held_ids(k)[i]) for k, i in ((0, 0), (0, 1), (1, 0)))
    hashes[same] = hashes[one]
    ids = folds.fit_ids
    assert copies_across(ids, folds.of(ids, "fold"), hashes) == []
    hashes[other] = hashes[one]
    assert [set(c) for c in copies_across(ids, folds.of(ids, "fold"), hashes)] == [
        {one, same, other}
    ]
    told = check_stack(folds, hashes, bases_of(folds), fitted_of(folds))
    (found,) = [d for d in told["details"] if d["check"] == "copies"]
    assert not found["passed"] and str(other) in found["said"]


def test_unknown_places_are_told(folds: Folds) -> None:
    told = check_fits(replace(folds, grid="none"), hashes_of(folds), {0: [], 1: [], 2: []})
    assert [d["check"] for d in told["details"] if not d["passed"]] == ["places"]
