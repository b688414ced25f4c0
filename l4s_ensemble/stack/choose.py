"""Which meta-learner: the simplest whose cross-fitted F1 is within noise of the best."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from numpy.typing import ArrayLike

from l4s_ensemble.metrics.bootstrap import Interval, f1_gain_interval, f1_interval
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.stack.model import KINDS

COUNTS = 0.002
"""Smallest gain in F1 that is worth a less simple learner.

Learners of the same two maps differ by so little, and so evenly, that an interval can exclude zero
where nobody would see a difference.
"""

COUNTS_ALONE = 0.01
"""Likewise where there are too few blocks for an interval."""


def choose(
    tiles: Mapping[str, TileHistograms],
    block: ArrayLike,
    *,
    bases: Mapping[str, TileHistograms] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Score candidates on the same tiles and choose one.

    Each is scored at its own best pooled threshold. The best one's paired gain over each other is
    resampled over spatial blocks; where its interval includes zero, or it is below `COUNTS`, no
    gain is shown, and the simpler of the two is preferred. Without an interval a gain of
    `COUNTS_ALONE` counts. Each is scored on all tiles by learners that never saw them, but the
    choice is made on those tiles too: the chosen one's score is a little too good.

    Parameters
    ----------
    tiles : mapping of kind to TileHistograms
        Of cross-fitted probabilities, over the same tiles.
    block : array_like, shape (tile,)
        Spatial blocks.
    bases : mapping of name to TileHistograms, optional
        Models that are told beside the candidates and never chosen.

    Returns
    -------
    list of dict
        From the simplest, bases first: ``name, f1, threshold, low, high`` (F1 and its interval),
        ``average_precision, calibration_error``, ``behind`` (the best candidate's gain
        over this one: ``value, low, high, shown``), ``gain`` (this one's gain over the chosen
        one, likewise), ``within_noise, chosen, why``.

    Raises
    ------
    ValueError
        If there is no candidate.
    """
    if not tiles:
        raise ValueError("there is no candidate to choose from")
    options: dict[str, Any] = {"resamples": resamples, "seed": seed}
    ranked = {name: tiles[name] for name in KINDS if name in tiles}
    others = dict(bases or {})
    together = {**others, **ranked}
    cut = {name: one.pooled().best() for name, one in together.items()}
    counts = {name: one.counts(cut[name].value) for name, one in together.items()}

    def paired(name: str, over: str) -> dict[str, Any]:
        found = f1_gain_interval(counts[name], counts[over], block, **options)
        value = asdict(found)
        kept = {k: value[k] for k in ("value", "low", "high")}
        return {"over": over, **kept, "shown": _counts(found)}

    best = max(ranked, key=lambda name: cut[name].f1)
    behind = {name: paired(best, name) for name in together}
    # Whether it is simpler decides between those that cannot be told apart: the first in order.
    chosen = next(name for name in ranked if name == best or not behind[name]["shown"])
    rows = []
    for name, one in together.items():
        pooled = one.pooled()
        interval = f1_interval(counts[name], block, **options)
        rows.append(
            {
                "name": name,
                "f1": cut[name].f1,
                "threshold": cut[name].value,
                "low": interval.low,
                "high": interval.high,
                "average_precision": pooled.average_precision(),
                "calibration_error": pooled.expected_calibration_error(),
                "behind": behind[name],
                "gain": paired(name, chosen),
                "within_noise": name == best or not behind[name]["shown"],
                "chosen": name == chosen,
                "why": _why(name, chosen, best, behind[name], others),
            }
        )
    return rows


def _counts(found: Interval) -> bool:
    if found.low is None:
        return found.value >= COUNTS_ALONE
    return found.is_above_zero and found.value >= COUNTS


def _why(
    name: str, chosen: str, best: str, behind: Mapping[str, Any], bases: Mapping[str, object]
) -> str:
    points = f"{100 * behind['value']:.1f} points"
    if name in bases:
        return "a base alone, to compare with"
    if name == chosen:
        if name == best:
            return "the best, and no simpler one is within noise of it"
        return f"the simplest within noise of the best ({best}, {points} ahead)"
    if name == best:
        return f"the best, but {chosen} is simpler and no gain over it is shown"
    if behind["shown"]:
        return f"{best} is better by {points}"
    return f"within noise of the best, but {chosen} is simpler"
