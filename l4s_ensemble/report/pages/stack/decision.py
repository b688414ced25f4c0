"""From probability to mask, in words and one figure: calibration, threshold, clean-up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from l4s_ensemble.metrics.histogram import ScoreHistogram
from l4s_ensemble.report import words
from l4s_ensemble.report.pieces import READ_RELIABILITY, figure
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.stack.threshold import lost_at

_MAPS = {"none": "as scored", "beta": "beta map", "isotonic": "isotonic map"}


def figures(source: RunSource) -> dict[str, Any]:
    """Figure of calibration, where a map was kept."""
    calibration = (source.summary("stack").get("decision") or {}).get("calibration") or {}
    before, after = (calibration.get(k) or {} for k in ("before", "after"))
    if not before.get("reliability") or calibration.get("chosen") in (None, "none"):
        return {}
    return {
        "calibration": figure(
            "corrections", "Whether the stack's probability can be believed, before and after",
            READ_RELIABILITY + " Out of fold: the map that a tile is shown with was learnt on "
            "other folds.",
            [
                {"name": name, **words.sigfig(told["reliability"])}
                for name, told in (("as scored", before), ("after the map", after))
            ],
        )
    }  # fmt: skip


def sentence(source: RunSource) -> str:
    """Say how a mask is made of a probability."""
    summary = source.summary("stack")
    decision = summary.get("decision") or {}
    if not decision:
        return ""
    parts = [_calibrated(decision.get("calibration") or {})]
    lost = lost_elsewhere(summary)
    if lost:
        parts.append(
            f"The threshold is {words.score(summary['threshold'])}; it loses "
            f"{words.score(lost[0.5])} of F1 against the best one where landslides are half as "
            f"frequent, and {words.score(lost[2.0])} where they are twice as frequent."
        )
    if decision.get("follow") == "unlike":
        parts.append("It moves where the scores of a place are unlike those of training.")
    done = decision.get("postprocess") or {}
    if done.get("smallest_px"):
        parts.append(
            f"Landslides below {words.plural(done['smallest_px'], 'pixel')} are removed: F1 moves "
            f"by {words.gain(done['gain'])} out-of-fold."
        )
    elif done:
        parts.append(f"No landslide is removed for its size: {done.get('reason')}.")
    return " ".join(p for p in parts if p)


def lost_elsewhere(summary: Mapping[str, Any]) -> dict[float, float]:
    """F1 that the threshold loses at half and at double prevalence; empty where not known."""
    if not summary.get("histogram"):
        return {}
    histogram = ScoreHistogram.from_dict(dict(summary["histogram"]))
    lost = {f: lost_at(histogram, summary["threshold"], f) for f in (0.5, 2.0)}
    return {f: v for f, v in lost.items() if v is not None} if None not in lost.values() else {}


def _calibrated(told: Mapping[str, Any]) -> str:
    if not told:
        return ""
    if told["chosen"] == "none":
        return "The probability is left as it is scored: no map is shown to make it truer."
    before, after = (told[k]["calibration_error"] for k in ("before", "after"))
    name = _MAPS.get(told["chosen"], told["chosen"])
    return (
        f"A {name} brings the mean gap between predicted and observed from {words.number(before)} "
        f"to {words.number(after)}."
    )
