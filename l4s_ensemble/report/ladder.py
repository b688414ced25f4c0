"""The ladder of known scores on Landslide4Sense as a page draws it, and where ours stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from l4s_ensemble.metrics.ladder import OFFICIAL_TILES, RUNGS, why_not_comparable

__all__ = ["OFFICIAL_TILES", "RUNGS", "place", "why_not_comparable"]


def place(headline: Mapping[str, Any] | None) -> dict[str, Any]:
    """Put our score on the ladder.

    Returns
    -------
    dict
        ``axis`` (low, high), ``rungs`` sorted by score (ours has ``ours: True`` and an interval),
        ``comparable`` and ``note``.
    """
    rungs = [{**r, "ours": False} for r in RUNGS]
    note = "Published scores of the landslide class, F1 × 100 pooled over all pixels of a split."
    comparable = True
    if headline is not None:
        comparable = not headline["not_comparable"]
        low, high = headline["f1_low"], headline["f1_high"]
        rungs.append(
            {
                "name": f"This run, {headline['model']}",
                "on": headline["split"] + (" "
                "(out-of-fold)" if headline["kind"] == "out-of-fold" else ""),
                "low": low if low is not None else headline["f1"],
                "high": high if high is not None else headline["f1"],
                "value": headline["f1"],
                "ours": True,
            }
        )  # fmt: skip
        if not comparable:
            note = (
                f"Our score does not compare with the others: {headline['not_comparable']}. "
                "It is drawn hollow."
            )
    rungs.sort(key=lambda r: r.get("value", (r["low"] + r["high"]) / 2))
    least = min([0.5, *(r["low"] for r in rungs)])
    most = max([0.8, *(r["high"] for r in rungs)])
    axis = (max(0.0, int(least * 10) / 10), min(1.0, -int(-most * 10 // 1) / 10))
    span = axis[1] - axis[0]
    for r in rungs:
        r["left"] = round(100 * (r["low"] - axis[0]) / span, 2)
        r["width"] = round(100 * (r["high"] - r["low"]) / span, 2)
        middle = r.get("value", (r["low"] + r["high"]) / 2)
        r["at"] = round(100 * (middle - axis[0]) / span, 2)
    ticks = [round(axis[0] + 0.1 * k, 1) for k in range(round(span * 10) + 1)]
    places = [{"value": t, "at": round(100 * (t - axis[0]) / span, 2)} for t in ticks]
    return {
        "axis": list(axis), "ticks": places, "rungs": rungs, "comparable": comparable, "note": note,
    }  # fmt: skip
