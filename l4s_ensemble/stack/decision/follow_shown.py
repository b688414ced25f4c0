"""Whether a threshold that follows beats the one carried over, on places whose masks are known.

Each place in turn is taken to be new: the threshold and the reference come from all others, the
place gives its scores alone, and its masks only judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.metrics.bootstrap import f1_gain_interval
from l4s_ensemble.metrics.counts import Counts, f1_pooled
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.stack.decision.follow import FEWEST_PIXELS, METHODS, Followed, follow

WORSE = 0.002
"""A place may lose that much F1 by following; more, and following is not shown to help."""


def places(
    scene: ArrayLike | None, fold: ArrayLike, pixels: ArrayLike
) -> tuple[NDArray[np.int64], str]:
    """What is left out in turn: scenes where there are several, else spatial folds.

    Parameters
    ----------
    scene, fold : array_like of int, shape (row,)
        A scene below zero is not known.
    pixels : array_like of int, shape (row,)

    Returns
    -------
    place : int64 array, shape (row,)
        -1 for rows that belong to no place of `follow.FEWEST_PIXELS` pixels.
    kind : {'unseen scene', 'scene', 'fold'}
        ``unseen scene``: no fold shares a scene with another, so that the models' scores too are
        those of a scene never seen.
    """
    of_fold, n = np.asarray(fold, np.int64), np.asarray(pixels)
    if scene is not None:
        of_scene = np.asarray(scene, np.int64)
        names, index = np.unique(of_scene, return_inverse=True)
        enough = (np.bincount(index, weights=n) >= FEWEST_PIXELS) & (names >= 0)
        if enough.sum() > 1:
            whole = all(len(np.unique(of_fold[of_scene == s])) == 1 for s in names[enough])
            kind = "unseen scene" if whole else "scene"
            return np.where(enough[index], of_scene, -1), kind
    return of_fold, "fold"


def compare(
    tiles: TileHistograms,
    place: ArrayLike,
    block: ArrayLike,
    *,
    methods: Sequence[str] = METHODS,
    resamples: int = 1000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Compare methods with the threshold carried over, one place left out at a time.

    Parameters
    ----------
    tiles : TileHistograms
        Out-of-fold probabilities, a row a tile or a group of tiles.
    place, block : array_like of int, shape (row,)
        Rows of a place below zero serve as training only.

    Returns
    -------
    list of dict
        A row a method: ``method, f1, f1_carried, gain, low, high, blocks, shown, places``; the
        last is a list of ``place, f1_carried, f1_followed, f1_best, threshold_best`` with all of
        `Followed`. ``shown``: the interval of the gain is above zero and no place loses more than
        `WORSE`.
    """
    of_row = np.asarray(place)
    names = [int(p) for p in np.unique(of_row) if p >= 0]
    of_block = np.asarray(block)
    if len(names) < 2:
        return []
    out = []
    for method in methods:
        told, before, after, blocks = [], [], [], []
        for name in names:
            here = tiles.subset(of_row == name)
            row, pair = judged(tiles.subset(of_row != name), here, method)
            told.append({"place": name, **row})
            before.append(pair[0])
            after.append(pair[1])
            blocks.append(of_block[of_row == name])
        carried, followed = _joined(before), _joined(after)
        gain = f1_gain_interval(
            followed, carried, np.concatenate(blocks), resamples=resamples, seed=seed
        )
        safe = all(r["f1_followed"] >= r["f1_carried"] - WORSE for r in told)
        out.append(
            {
                "method": method,
                "f1": f1_pooled(followed),
                "f1_carried": f1_pooled(carried),
                "gain": gain.value, "low": gain.low, "high": gain.high, "blocks": gain.blocks,
                "shown": gain.is_above_zero and safe,
                "places": told,
            }
        )  # fmt: skip
    return out


def judged(
    training: TileHistograms, here: TileHistograms, method: str, *, guarded: bool = True
) -> tuple[dict[str, Any], tuple[Counts, Counts]]:
    """Follow one place and score it with its masks.

    Returns
    -------
    dict
        ``f1_carried, f1_followed, f1_best, threshold_best`` and all of `Followed`.
    tuple of Counts
        At the threshold carried over and at the followed one, a value a row.
    """
    reference, pooled = training.pooled(), here.pooled()
    found: Followed = follow(
        reference, pooled.positive + pooled.negative, reference.best().value, method,
        guarded=guarded,
    )  # fmt: skip
    pair = (here.counts(found.carried), here.counts(found.threshold))
    best = pooled.best()
    return {
        "f1_carried": f1_pooled(pair[0]),
        "f1_followed": f1_pooled(pair[1]),
        "f1_best": best.f1,
        "threshold_best": best.value,
        **asdict(found),
    }, pair


def chosen(table: list[dict[str, Any]], kind: str) -> tuple[str | None, str]:
    """The method that is shown to help, and why it or none is taken.

    Only scenes that the models never saw can show it: where they saw other parts of a scene, its
    scores are those of a known one.
    """
    if not table:
        return None, "there is one place only"
    good = [row for row in table if row["shown"]]
    if not good:
        return None, "no method is shown to be better than the threshold carried over"
    if kind != "unseen scene":
        return None, (
            "the models saw other parts of these places; only folds of whole scenes "
            "(scenes.by=scenes) can show that following helps"
        )
    best = max(good, key=lambda row: float(row["low"]))
    return str(best["method"]), "shown on scenes that the models never saw"


def _joined(parts: list[Counts]) -> Counts:
    return Counts(
        *(np.concatenate([getattr(c, a) for c in parts]) for a in ("tp", "fp", "fn", "tn"))
    )
