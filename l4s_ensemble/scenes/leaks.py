"""One leak check for every fit: what was trained on shares nothing with what is scored.

`check_fits` is for a model that is fitted once a fold on the tiles that the fold allows, and
`check_stack` for the meta-learner, which is fitted on the scores of such models. Both raise on a
leak, and tell what they looked at. The summary is a dict::

    checked     how many things were looked at
    passed      how many of them held; the others are reported, for they are no leak by themselves
    details     list of {check, fold (or None), passed, said}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.errors import LeakError
from l4s_ensemble.scenes.folds import Folds

Details = list[dict[str, Any]]


def check_fits(
    folds: Folds, hashes: Mapping[int, str], trained: Mapping[int, Iterable[int]] | None = None
) -> dict[str, Any]:
    """Check each fold's training tiles against its held tiles, their buffer and the holdout.

    Parameters
    ----------
    folds : Folds
    hashes : mapping of int to str
        Content hash of every tile, from the store that the fit reads.
    trained : mapping of int to iterable of int, optional
        Ids whose pixels reached the fit of each fold; without it those that the fold allows.

    Returns
    -------
    dict
        See the module.

    Raises
    ------
    LeakError
        As `Folds.check` says.
    """
    details: Details = []
    for k in range(folds.n_folds):
        ids = folds.train_ids(k) if trained is None else np.array(sorted(trained[k]), np.int64)
        folds.check(k, ids.tolist(), hashes)
        _note(
            details, "training tiles", k,
            f"{len(ids)} training tiles share no id and no content with {len(folds.held_ids(k))} "
            f"held tiles, {len(folds.buffer_ids(k))} beside them and {len(folds.holdout_ids)} set "
            "aside",
        )  # fmt: skip
    _note_places(details, folds)
    return told(details)


def check_stack(
    folds: Folds,
    hashes: Mapping[int, str],
    bases: Mapping[str, Mapping[str, Any]],
    fitted: Mapping[int, Iterable[int]],
    *,
    allow_neighbours: bool = True,
) -> dict[str, Any]:
    """Check a cross-fitted meta-learner and the out-of-fold scores that it was fitted on.

    Parameters
    ----------
    folds : Folds
    hashes : mapping of int to str
        Content hash of every tile.
    bases : mapping of str to mapping
        Of each base ``patch`` and ``fold`` (int arrays, shape (tile,)) and ``seed`` of its
        out-of-fold scores. `about_scores` gives it of a score file.
    fitted : mapping of int to iterable of int
        Ids that the meta-learner of each fold was fitted on; it scores the tiles of that fold.
    allow_neighbours : bool
        A meta-learner on a few numbers learns no place by heart, so tiles beside held ones, or
        copies of held ones in another fold, are reported. Without this they are a leak.

    Returns
    -------
    dict
        See the module.

    Raises
    ------
    LeakError
        If a base was scored on tiles that fit nothing, or in other folds, the bases differ in
        tiles, folds or seeds, or a meta-learner was fitted on a tile that it scores.
    """
    details: Details = []
    patch, fold = _same_scores(details, folds, bases)
    for k in sorted({int(f) for f in fold}):
        held = {int(p) for p in patch[fold == k]}
        ids = {int(i) for i in fitted[k]}
        scored = sorted(ids & held)
        if scored:
            raise LeakError(
                f"the meta-learner of fold {k} was fitted on tiles that it scores",
                found=f"patches {scored[:10]}" + (" and more" if len(scored) > 10 else ""),
                fix="fit it on the tiles of the other folds",
            )
        aside = sorted(ids - {int(i) for i in folds.fit_ids})
        if aside:
            raise LeakError(
                f"the meta-learner of fold {k} was fitted on tiles that fit nothing",
                found="; ".join(f"patch {i}: {folds._why(k, i)}" for i in aside[:10]),
                fix="take the ids from Folds.fit_ids",
            )
        _note(
            details, "fitted on other folds", k,
            f"{len(ids)} tiles fitted it, and it scores {len(held)} others",
        )  # fmt: skip
        if not allow_neighbours:
            folds.check(k, sorted(ids), hashes)
        near = len(ids & {int(i) for i in folds.buffer_ids(k)})
        _note(
            details, "neighbours", k,
            f"{near} of its tiles touch a tile that it scores, or copy one that does",
            passed=near == 0,
        )  # fmt: skip
    split = copies_across(patch, fold, hashes)
    if split and not allow_neighbours:
        raise LeakError(
            "tiles of one content are in several folds",
            found="; ".join(f"patches {', '.join(map(str, ids))}" for ids in split[:10]),
            fix="run the scenes stage again on these data",
        )
    _note(
        details, "copies", None,
        "no tile has a copy in another fold" if not split
        else f"{len(split)} contents are in several folds: "
        + "; ".join(f"patches {', '.join(map(str, ids))}" for ids in split[:10]),
        passed=not split,
    )  # fmt: skip
    _note_places(details, folds)
    return told(details)


def copies_across(patch: ArrayLike, fold: ArrayLike, hashes: Mapping[int, str]) -> list[list[int]]:
    """Ids of tiles with one content that lie in several folds, a list for each content.

    Parameters
    ----------
    patch, fold : array_like of int, shape (tile,)
    hashes : mapping of int to str
        Tiles without a hash are passed over.
    """
    by_content: dict[str, list[tuple[int, int]]] = {}
    pairs = zip(np.asarray(patch).tolist(), np.asarray(fold).tolist(), strict=True)
    for p, f in pairs:
        if p in hashes:
            by_content.setdefault(hashes[p], []).append((p, f))
    return [[p for p, _ in same] for same in by_content.values() if len({f for _, f in same}) > 1]


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


def told(details: Details) -> dict[str, Any]:
    """Make the summary of what was checked."""
    return {
        "checked": len(details),
        "passed": sum(bool(d["passed"]) for d in details),
        "details": details,
    }


def _same_scores(
    details: Details, folds: Folds, bases: Mapping[str, Mapping[str, Any]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Tiles and folds of the bases, after a look at whether they agree."""
    first, *others = bases
    patch = np.asarray(bases[first]["patch"], dtype=np.int64)
    fold = np.asarray(bases[first]["fold"], dtype=np.int64)
    for name, base in bases.items():
        ids = np.asarray(base["patch"], dtype=np.int64)
        wrong = ids[folds.of(ids, "fold") != np.asarray(base["fold"])]
        if len(wrong):
            raise LeakError(
                f"out-of-fold scores of {name} are of other folds, or of tiles that fit nothing",
                found=f"patches {wrong[:10].tolist()}",
                fix="run `l4s-ensemble fit-all` again with this run folder",
            )
        _note(details, "folds of scores", None, f"{name}: {len(ids)} tiles, each of its own fold")
    for name in others:
        base = bases[name]
        for key, wanted, found in (
            ("tiles", patch, base["patch"]), ("folds", fold, base["fold"]),
            ("seeds", bases[first].get("seed"), base.get("seed")),
        ):  # fmt: skip
            if not np.array_equal(np.asarray(wanted), np.asarray(found)):
                raise LeakError(
                    f"out-of-fold scores of {first} and {name} differ in {key}",
                    found=None if key != "seeds" else f"{wanted} and {found}",
                    fix="run `l4s-ensemble fit-all` again with this run folder",
                )
        _note(
            details, "same scores", None, f"{first} and {name} have the same tiles, folds and seed"
        )
    return patch, fold


def _note_places(details: Details, folds: Folds) -> None:
    known = folds.grid != "none"
    _note(
        details, "places", None,
        "the places of the tiles are known" if known else
        "nobody knows where the tiles lie: neighbours cannot be kept apart",
        passed=known,
    )  # fmt: skip


def _note(
    details: Details, check: str, fold: int | None, said: str, *, passed: bool = True
) -> None:
    details.append({"check": check, "fold": fold, "passed": passed, "said": said})
