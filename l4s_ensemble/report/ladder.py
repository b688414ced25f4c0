"""Published scores on Landslide4Sense beside ours, where ours compares with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from l4s_ensemble.metrics.ladder import RUNGS, why_not_comparable

__all__ = ["place", "why_not_comparable"]


def place(headline: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Put our score among the published ones.

    Returns
    -------
    dict or None
        ``ticks``, ``rungs`` sorted by score (ours has ``ours: True`` and an interval) and
        ``note``. None where there is no score, or it does not compare.
    """
    if headline is None or headline["not_comparable"]:
        return None
    rungs = [{**r, "ours": False} for r in RUNGS]
    low, high = headline["f1_low"], headline["f1_high"]
    rungs.append(
        {
            "name": f"This run, {headline['model']}",
            "on": headline["split"],
            "low": low if low is not None else headline["f1"],
            "high": high if high is not None else headline["f1"],
            "value": headline["f1"],
            "ours": True,
        }
    )
    rungs.sort(key=lambda r: float(r.get("value", (r["low"] + r["high"]) / 2)))
    least = min([0.5, *(r["low"] for r in rungs)])
    most = max([0.8, *(r["high"] for r in rungs)])
    first, last = max(0.0, int(least * 10) / 10), min(1.0, -int(-most * 10 // 1) / 10)
    span = last - first

    def at(score: float) -> float:
        return round(100 * (score - first) / span, 2)

    for r in rungs:
        r["left"], r["width"] = at(r["low"]), round(100 * (r["high"] - r["low"]) / span, 2)
        r["at"] = at(r.get("value", (r["low"] + r["high"]) / 2))
    ticks = [round(first + 0.1 * k, 1) for k in range(round(span * 10) + 1)]
    return {
        "ticks": [{"value": t, "at": at(t)} for t in ticks],
        "rungs": rungs,
        "note": "F1 of the landslide class × 100, pooled over all pixels of a split.",
    }
