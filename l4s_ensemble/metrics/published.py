"""Published scores on Landslide4Sense, and their comparison with a score of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OFFICIAL_TILES = {"valid": 245, "test": 800}

RUNGS: tuple[dict[str, Any], ...] = (
    {"name": "Official baseline, U-Net", "on": "valid", "low": 0.5782, "high": 0.5782},
    {"name": "Official baseline, U-Net", "on": "test", "low": 0.5992, "high": 0.5992},
    {"name": "Single modern models", "on": "test", "low": 0.62, "high": 0.67},
    {"name": "Winner of the competition", "on": "test", "low": 0.7454, "high": 0.7454},
)
"""Published F1 of the landslide class, pooled over all pixels of the split."""


def why_not_comparable(split: str, kind: str, data: Mapping[str, Any], grid: str | None) -> str:
    """Say why a score may not be compared with the published ones; empty if it may.

    Parameters
    ----------
    split : str
        Where the score was measured.
    kind : {'out-of-fold', 'holdout', 'fitted', 'split'}
    data : mapping
        Summary of the data stage of the tiles.
    grid : str or None
        How the scenes were known: ``official``, ``manifest`` or ``none``.
    """
    reasons = []
    if data.get("synthetic"):
        reasons.append("the data are synthetic")
    elif grid == "manifest":
        reasons.append("these tiles bring their own scene list, so they are not the release")
    if kind == "out-of-fold":
        reasons.append("it is out-of-fold on training tiles")
    elif kind == "holdout":
        reasons.append("it is on training tiles held out of every fit")
    elif kind == "fitted":
        reasons.append("the models were fitted on these very tiles")
    elif split not in OFFICIAL_TILES:
        reasons.append(f"{split} is not an official split")
    elif data.get("patches") not in (None, OFFICIAL_TILES[split]):
        reasons.append(
            f"it is on {data['patches']} tiles and the official split has {OFFICIAL_TILES[split]}"
        )
    if data.get("sensor", "l4s") != "l4s":
        reasons.append(f"the files are of sensor {data['sensor']}, not the 14 released bands")
    return ", and ".join(reasons)


def place(headline: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Put a score of a run among the published ones.

    Parameters
    ----------
    headline : mapping or None
        ``model, split, f1, f1_low, f1_high`` and ``not_comparable`` (see `why_not_comparable`).

    Returns
    -------
    dict or None
        ``ticks``, ``rungs`` sorted by score (that of the run has ``ours: True`` and an interval)
        and ``note``; places are in percent of the axis. None where there is no score, or it does
        not compare.
    """
    if headline is None or headline["not_comparable"]:
        return None
    f1 = headline["f1"]
    ends = {k: f1 if headline[f"f1_{k}"] is None else headline[f"f1_{k}"] for k in ("low", "high")}
    own = {"name": f"This run, {headline['model']}", "on": headline["split"], "value": f1, **ends}
    rungs = [{**r, "ours": False} for r in RUNGS] + [{**own, "ours": True}]
    rungs.sort(key=_middle)
    least = min([0.5, *(r["low"] for r in rungs)])
    most = max([0.8, *(r["high"] for r in rungs)])
    first, last = max(0.0, int(least * 10) / 10), min(1.0, -int(-most * 10 // 1) / 10)
    span = last - first

    def at(score: float) -> float:
        return round(100 * (score - first) / span, 2)

    for r in rungs:
        r |= {"left": at(r["low"]), "width": round(100 * (r["high"] - r["low"]) / span, 2)}
        r["at"] = at(_middle(r))
    ticks = [round(first + 0.1 * k, 1) for k in range(round(span * 10) + 1)]
    return {
        "ticks": [{"value": t, "at": at(t)} for t in ticks],
        "rungs": rungs,
        "note": "F1 of the landslide class × 100, pooled over all pixels of a split.",
    }


def _middle(rung: Mapping[str, Any]) -> float:
    return float(rung.get("value", (rung["low"] + rung["high"]) / 2))
