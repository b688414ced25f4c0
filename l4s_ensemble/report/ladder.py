"""Known scores on Landslide4Sense, and where ours stands, and whether it may stand there at all."""

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
    if data.get("made_up"):
        reasons.append("the data are made up")
    elif grid == "manifest":
        reasons.append("these tiles bring their own scene list, so they are not the release")
    if kind == "out-of-fold":
        reasons.append("it is out-of-fold on training tiles")
    elif kind == "holdout":
        reasons.append("it is on training tiles set aside, beside the scenes that were learnt from")
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
