"""Leak check of the stack: what the meta-learner was fitted on shares nothing with what it scores.

`Folds.check` is the check of one fit; `check_stack` adds that both base models were scored out of
fold on the same tiles. It raises on a leak, and returns what it looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from l4s_ensemble.errors import LeakError
from l4s_ensemble.scenes.folds import Folds

AGAIN = "run `l4s-ensemble fit-all` again with this run folder"


def check_stack(
    folds: Folds,
    hashes: Mapping[int, str],
    bases: Mapping[str, Mapping[str, Any]],
    fitted: Mapping[int, Iterable[int]],
) -> dict[str, Any]:
    """Check a cross-fitted meta-learner and the out-of-fold scores that it was fitted on.

    Parameters
    ----------
    folds : Folds
    hashes : mapping of int to str
        Content hash of every tile.
    bases : mapping of str to mapping
        Of each base model ``patch`` and ``fold`` (int arrays, shape (tile,)) and ``seed`` of its
        out-of-fold scores. `about_scores` gives it of a score file.
    fitted : mapping of int to iterable of int
        Ids that the meta-learner of each fold was fitted on; it scores the tiles of that fold.

    Returns
    -------
    dict
        ``details``, a list of ``{check, fold (or None), passed, said}``; ``checked``, their number;
        ``passed``, how many of them hold. What does not hold is no leak by itself.

    Raises
    ------
    LeakError
        If a base model was scored on tiles that fit nothing, or in other folds, the base models
        differ in tiles, folds or seeds, or a meta-learner was fitted on tiles that its fold must
        not see (see `Folds.check`).
    """
    details: list[dict[str, Any]] = []

    def note(check: str, fold: int | None, said: str, *, passed: bool = True) -> None:
        details.append({"check": check, "fold": fold, "passed": passed, "said": said})

    first = next(iter(bases))
    for name, base in bases.items():
        ids = np.asarray(base["patch"], dtype=np.int64)
        wrong = ids[folds.of(ids, "fold") != np.asarray(base["fold"])]
        if len(wrong):
            raise LeakError(
                f"out-of-fold scores of {name} are of other folds, or of tiles that fit nothing",
                found=f"patches {wrong[:10].tolist()}", fix=AGAIN,
            )  # fmt: skip
        note("folds of scores", None, f"{name}: {len(ids)} tiles, each of its own fold")
        for key, what in (("patch", "tiles"), ("fold", "folds"), ("seed", "seeds")):
            if not np.array_equal(np.asarray(bases[first].get(key)), np.asarray(base.get(key))):
                raise LeakError(
                    f"out-of-fold scores of {first} and {name} differ in {what}", fix=AGAIN
                )
        if name != first:
            note("same scores", None, f"{first} and {name} have the same tiles, folds and seed")
    fold = np.asarray(bases[first]["fold"])
    for k in np.unique(fold).tolist():
        ids = np.array(sorted(fitted[k]), np.int64)
        folds.check(k, ids.tolist(), hashes)
        note(
            "fitted on other folds", k,
            f"{len(ids)} tiles fitted it; it scores {(fold == k).sum()} others, none of which, nor "
            "a neighbour or a copy of one, is among them",
        )  # fmt: skip
    known = folds.grid != "none"
    note(
        "places", None,
        "the places of the tiles are known" if known else
        "nobody knows where the tiles lie: neighbours cannot be kept apart",
        passed=known,
    )  # fmt: skip
    held = sum(bool(d["passed"]) for d in details)
    return {"checked": len(details), "passed": held, "details": details}


def about_scores(scores: Any) -> dict[str, Any]:
    """``patch``, ``fold`` and ``seed`` of out-of-fold scores.

    Parameters
    ----------
    scores : xarray.Dataset
        From `l4s_ensemble.run.scores.open_scores`.
    """
    return {
        "patch": scores["patch"].values,
        "fold": scores["fold"].values,
        "seed": scores.attrs.get("seed"),
    }
