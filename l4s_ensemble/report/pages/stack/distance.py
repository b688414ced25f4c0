"""F1 against the distance to the nearest training tile: what a leak would show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from l4s_ensemble.report import words
from l4s_ensemble.report.pieces import figure
from l4s_ensemble.report.table import table

_VERDICTS = {
    "falls": "tiles near training tiles are scored better, as a leak would show, or ground that is "
    "alike close by",
    "rises": "tiles far from training tiles are scored better: no leak shows here",
    "none shown": "no difference is shown: scores do not lean on the nearness of training tiles",
    "unknown": "too few blocks of tiles to tell",
}
_AWAY = "a scene without training tiles"


def figures(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Figure of F1 by distance; none where it was not counted."""
    rows = (summary.get("distance") or {}).get("rows") or []
    if not rows:
        return {}
    return {
        "distance": figure(
            "distance",
            "F1 by distance to the nearest training tile",
            "Each tile is scored by models that were not trained on it; the distance is that to "
            "the nearest tile they were trained on. The dotted line takes out that landslides are "
            "more frequent at some distances. A dotted line that falls would look like a leak.",
            {
                "bin": [_bin(r) for r in rows],
                "tiles": [r["tiles"] for r in rows],
                **{
                    new: words.sigfig([r[old] for r in rows])
                    for new, old in (
                        ("f1", "f1"), ("low", "f1_low"), ("high", "f1_high"),
                        ("f1_even", "f1_even"),
                    )
                },
            },
        )
    }  # fmt: skip


def tables(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Table of scores by distance."""
    rows = (summary.get("distance") or {}).get("rows") or []
    if not rows:
        return {}
    return {
        "distances": table(
            "Scores by distance to the nearest training tile",
            [("bin", "distance (tiles)", "text"), ("tiles", "tiles", "count"),
             ("landslide", "landslide, share of pixels", "share"), ("f1", "F1", "score"),
             ("interval", "95 % interval", "interval"), ("precision", "precision", "score"),
             ("recall", "recall", "score"), ("f1_even", "F1 at one prevalence", "score")],
            [
                {**r, "bin": _bin(r),
                 "interval": None if r["f1_low"] is None or r["f1_high"] is None
                 else [r["f1_low"], r["f1_high"]]}
                for r in rows
            ],
            note="Distance as a king moves on a chessboard: 1 touches, corners too. At one "
            "prevalence: recall and false alarm rate of the row with the share of landslides "
            "of all.",
            folded=True,
        )
    }  # fmt: skip


def sentence(summary: Mapping[str, Any]) -> str:
    """Say what near and far tiles score, and what follows."""
    trend = (summary.get("distance") or {}).get("trend")
    if not trend:
        return ""
    near, far, even = trend["near"], trend["far"], trend["even"]
    low, high = even["low"], even["high"]
    span = "" if low is None or high is None else f" ({words.gain(low)} to {words.gain(high)})"
    return (
        f"At {_reach(near)} from training tiles F1 is {words.score(near['f1'])}, at "
        f"{_reach(far)} it is {words.score(far['f1'])}. With landslides equally frequent the near "
        f"ones differ by {words.gain(even['value'])}{span}: {verdict(trend['verdict'])}."
    )


def verdict(name: str) -> str:
    """What a verdict of `metrics.distance` means."""
    return _VERDICTS.get(name, name)


def _reach(part: Mapping[str, Any]) -> str:
    low, high = part["low"], part["high"]
    span = str(low) if low == high else f"{low} to {high}"
    return f"a distance of {span} tiles"


def _bin(row: Mapping[str, Any]) -> str:
    low, high = row["low"], row["high"]
    if low is None:
        return _AWAY
    if high is None:
        return f"≥ {low}"
    return str(low) if low == high else f"{low}–{high}"
