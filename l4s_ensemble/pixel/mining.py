"""Hard negatives: ground that looks like a landslide to models that have not been told of it.

The training tiles of a fold are split in two halves of whole blocks. A small model of each half
scores the pixels without landslide of the other half. Of a pool of such pixels, more than will be
learnt from, those with a high score are then drawn more often, each with a known chance; its row
carries the inverse of that chance, so that the prevalence, and the sum over pixels of anything one
may measure on them, come out as without mining (Horvitz and Thompson 1952,
doi:10.1080/01621459.1952.10483446). Only the ground elsewhere is mined: beside a landslide a high
score tells of a boundary that nobody can place, and `rim_share` says how much of it is learnt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.config import PixelConfig
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.pixel.boost import dataset
from l4s_ensemble.pixel.sampling import HARD_POOL, PixelPlan
from l4s_ensemble.pixel.settings import parameters
from l4s_ensemble.pixel.strata import ELSEWHERE, LANDSLIDE
from l4s_ensemble.scenes.inner import halves

if TYPE_CHECKING:
    from l4s_ensemble.scenes.folds import Folds

TREES = 100
"""Trees of a model that looks for look-alikes, at most."""

LEARNING_RATE = 0.1
"""Of such a model, at least."""

ALIKE_LEAST, ALIKE_MOST = 0.01, 0.5
"""Probabilities below and above are taken for these, so that no pixel is 50 times as likely as
another to be drawn: a row's weight is as bounded as its chance."""

_SCORED_ROWS = 65_536
_STREAM = 1704


@dataclass(frozen=True)
class Mined:
    """Rows of one fold, look-alikes among them.

    Attributes
    ----------
    at : int64 array, shape (row,)
        Position of each row in the plan (and the file of features) that it was drawn from.
    plan : PixelPlan
        These rows, with the inverse of their chance in the weights.
    summary : dict
        ``pool, drawn`` (pixels elsewhere), ``probability_pool, probability_drawn`` (their mean).
    """

    at: NDArray[np.int64]
    plan: PixelPlan
    summary: dict[str, float]


def mine(
    folds: Folds,
    ids: NDArray[np.int64],
    plan: PixelPlan,
    rows: Path,
    names: Sequence[str],
    config: PixelConfig,
    expected: Sequence[int],
    seed: int,
    threads: int,
) -> Mined:
    """Choose the rows of some tiles to learn from.

    Parameters
    ----------
    folds : Folds
        Read for the blocks of the tiles.
    ids : int64 array, shape (tile,)
        Tiles to train on: nothing else is read.
    plan : PixelPlan
        Made with ``hard_share``: it offers `HARD_POOL` times the pixels elsewhere.
    rows : Path
        Features of the plan's rows.
    names : sequence of str
        Of the columns.
    config : PixelConfig
    expected : sequence of {-1, 0, 1}
    seed : int
    threads : int
    """
    rng = np.random.default_rng([seed, _STREAM])
    settings = parameters(
        config.model_copy(update={"learning_rate": max(config.learning_rate, LEARNING_RATE)}),
        seed, threads, expected,
    )  # fmt: skip
    chance = np.full(len(plan), np.nan)
    for fitted, scored in _turns(halves(folds, ids, rng)):
        pool = _elsewhere(plan, scored)
        booster = _small_model(fitted, plan, rows, names, config, settings, rng)
        if booster is not None:
            chance[pool] = _probability(booster, rows, pool, threads)
    pool = _elsewhere(plan, ids)
    others = np.setdiff1d(plan.rows_of(ids), pool)
    score = chance[pool]
    # A half without a landslide taught nothing of the other: its pixels are drawn as they come.
    score[np.isnan(score)] = ALIKE_LEAST
    positives = int((plan.stratum[others] == LANDSLIDE).sum())
    negatives = round(config.negatives_per_positive * positives)
    rim = len(others) - positives
    wanted = min(max(negatives - rim, 1), len(pool))
    share = min(1.0, config.hard_share * negatives / max(wanted, 1))
    inclusion = inclusion_chances(score, wanted, share)
    taken = draw(inclusion, rng)
    weight = plan.weight.copy()
    weight[pool] /= inclusion
    at = np.sort(np.concatenate([others, pool[taken]]))
    return Mined(
        at,
        plan.take(at, weight[at]),
        {
            "pool": len(pool),
            "drawn": len(taken),
            "probability_pool": float(score.mean()) if len(pool) else 0.0,
            "probability_drawn": float(score[taken].mean()) if len(taken) else 0.0,
        },
    )


def inclusion_chances(
    probability: NDArray[np.float64], wanted: int, hard_share: float
) -> NDArray[np.float64]:
    """Chance of each pixel to be drawn, in (0, 1], with the sum `wanted`.

    Parameters
    ----------
    probability : float64 array, shape (pixel,)
        Of landslide, by a model that has not seen the pixel.
    wanted : int
        At most the number of pixels.
    hard_share : float
        Share of the draws whose chance grows with the probability; the rest fall anywhere.
    """
    n = len(probability)
    if wanted >= n:
        return np.ones(n)
    alike = np.clip(probability, ALIKE_LEAST, ALIKE_MOST)
    wish = (1 - hard_share) / n + hard_share * alike / alike.sum()
    # Where the wish is more than one draw, the pixel is taken, and the others share the rest.
    sure = np.zeros(n, bool)
    while True:
        rest = wanted - int(sure.sum())
        chance = np.where(sure, 1.0, rest * wish / wish[~sure].sum())
        more = ~sure & (chance >= 1)
        if not more.any():
            return chance
        sure |= more


def draw(chance: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw positions without replacement, each with its chance, as many as the chances sum to.

    Systematic sampling (Madow 1949, doi:10.1214/aoms/1177729988): the chances are laid on a line,
    and every unit of it hits one, from a random start. Neighbours in the order share their luck,
    so that the draws spread over the tiles.
    """
    line = np.concatenate([[0.0], np.cumsum(chance)])
    # Rounding would else move the last hit over the end of the line.
    line *= round(line[-1]) / line[-1] if line[-1] else 1.0
    hits = np.ceil(line - rng.random())
    taken: NDArray[np.int64] = np.flatnonzero(np.diff(hits) > 0)
    return taken


def _turns(
    parts: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> tuple[tuple[NDArray[np.int64], NDArray[np.int64]], ...]:
    one, other = parts
    return (one, other), (other, one)


def _elsewhere(plan: PixelPlan, ids: NDArray[np.int64]) -> NDArray[np.int64]:
    there = plan.rows_of(ids)
    elsewhere: NDArray[np.int64] = there[plan.stratum[there] == ELSEWHERE]
    return elsewhere


def _small_model(
    ids: NDArray[np.int64],
    plan: PixelPlan,
    rows: Path,
    names: Sequence[str],
    config: PixelConfig,
    settings: dict[str, Any],
    rng: np.random.Generator,
) -> lgb.Booster | None:
    """Fit on the rows of one half, of the pool only as many as would be drawn; None if it cannot.

    The halves may touch: what a neighbour gives away makes a few look-alikes look less so, and
    costs nothing else.
    """
    there = plan.rows_of(ids)
    keep = (plan.stratum[there] != ELSEWHERE) | (rng.random(len(there)) < 1 / HARD_POOL)
    at = there[keep]
    own = plan.take(at)
    if not 0 < int(own.landslide.sum()) < len(own):
        return None
    data = dataset(rows, at, own.landslide, own.weights_of(ids), names, settings)
    return lgb.train(settings, data, num_boost_round=min(config.trees, TREES))


def _probability(
    booster: lgb.Booster, rows: Path, at: NDArray[np.int64], threads: int
) -> NDArray[np.float64]:
    values = np.load(rows, mmap_mode="r")
    out = np.empty(len(at))
    for i in range(0, len(at), _SCORED_ROWS):
        part = values[at[i : i + _SCORED_ROWS]]
        raw = booster.predict(part, raw_score=True, num_threads=threads, validate_features=False)
        out[i : i + len(part)] = sigmoid(np.asarray(raw))
    return out
