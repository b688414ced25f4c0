"""Checks of the pixel classifier: is it better than chance, do its numbers mean what they say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from l4s_ensemble.report import words
from l4s_ensemble.report.checks.check import Check, Level
from l4s_ensemble.report.pages.reliability import halved
from l4s_ensemble.report.source import RunSource

HALF_APART = 0.05
"""Best threshold and half the best F1 may differ by this much."""

CORRECTED = 0.02
"""Share of the log loss that a correction must take away to be worth a word."""

CARRIES = 0.8
"""Share of the mean contributions, from which one group carries everything."""


def beats_chance(source: RunSource) -> Iterator[Check]:
    """Calling every pixel a landslide has a recall of 1 and the prevalence as precision."""
    summary = source.summary("pixel")
    oof, histogram = summary.get("oof"), summary.get("histogram")
    if not oof or not histogram or oof.get("f1_low") is None:
        return
    real, other = sum(histogram["positive"]), sum(histogram["negative"])
    if not real:
        return
    share = real / (real + other)
    chance = 2 * share / (1 + share)
    better = oof["f1_low"] > chance
    yield Check(
        "pixel", "chance-pixel", "passed" if better else "issue",
        "The pixel classifier beats chance" if better
        else "The pixel classifier is no better than chance",
        f"The interval of its F1 begins at {words.score(oof['f1_low'])}, spatial blocks "
        f"resampled; calling every pixel a landslide gives {words.score(chance)}, and no score "
        "without knowledge is higher.",
    )  # fmt: skip


def beats_rule(source: RunSource) -> Iterator[Check]:
    """Bare and steep: the classifier must know more than two cuts do."""
    summary = source.summary("pixel")
    rule, oof = summary.get("rule"), summary.get("oof")
    if not rule or not oof:
        return
    if rule["lacks"]:
        yield Check(
            "pixel", "rule-pixel", "tip", "The rule of NDVI and slope cannot be asked",
            f"The sensor has no {', '.join(rule['lacks'])}: what bare and steep ground alone "
            "would score is not known here.",
        )  # fmt: skip
        return
    gain = rule["gain"]
    known = gain["low"] is not None and gain["high"] is not None
    level: Level = "tip"
    title = "Not shown to be better than the rule of NDVI and slope"
    if known and gain["low"] > 0:
        level, title = "passed", "Better than the rule of NDVI and slope"
    elif gain["value"] <= 0:
        level, title = "issue", "No better than the rule of NDVI and slope"
    between = f" ({words.gain(gain['low'])} to {words.gain(gain['high'])})" if known else ""
    yield Check(
        "pixel", "rule-pixel", level, title,
        f"Calling every pixel with {_cuts(rule['folds'])} scores F1 {words.score(rule['f1'])} "
        f"out-of-fold, the cuts chosen on each fold's training tiles; the classifier scores "
        f"{words.score(oof['f1'])}, {words.gain(gain['value'])}{between}"
        + ("." if known else "; too few spatial blocks for an interval."),
    )  # fmt: skip


def corrected(source: RunSource) -> Iterator[Check]:
    """A correction learnt on the other folds should find nothing to correct."""
    maps = (source.summary("pixel").get("calibration") or {}).get("maps") or []
    if len(maps) < 2:
        return
    raw = maps[0]
    best = min(maps[1:], key=lambda m: m["log_loss"])
    gain = 1 - best["log_loss"] / raw["log_loss"] if raw["log_loss"] > 0 else 0.0
    worth = gain >= CORRECTED
    yield Check(
        "pixel", "corrected-pixel", "tip" if worth else "passed",
        "A correction would improve the probabilities" if worth
        else "Probabilities need no correction",
        f"Calibration error {words.number(raw['expected_calibration_error'])} as scored, "
        f"{words.number(best['expected_calibration_error'])} after {best['name']}; log loss "
        f"{words.number(raw['log_loss'])} and {words.number(best['log_loss'])}."
        + (" The stack corrects them; areas computed from this model alone are off." if worth
           else " Nothing learnt on the other folds makes them better."),
    )  # fmt: skip


def half(source: RunSource) -> Iterator[Check]:
    """The best threshold of calibrated scores is half the best F1."""
    summary = source.summary("pixel")
    maps = (summary.get("calibration") or {}).get("maps") or []
    told = maps[0] if maps else halved(summary.get("oof") or {})
    if told is None or told.get("off_half") is None:
        return
    at = told["half_f1"] + told["off_half"]
    near = abs(told["off_half"]) <= HALF_APART
    cost = ""
    if told.get("f1_at_half") is not None:
        cost = f" At half, F1 would be {words.score(told['f1_at_half'])}."
    yield Check(
        "pixel", "half-pixel", "passed" if near else "tip",
        "Best threshold is near half the best F1" if near
        else "Best threshold is not where calibrated scores would have it",
        f"It is {words.score(at)}; half of F1 {words.score(told['f1_best'])} is "
        f"{words.score(told['half_f1'])}.{cost}"
        + ("" if near else " Around it, probabilities do not mean what they say."),
    )  # fmt: skip


def one_group(source: RunSource) -> Iterator[Check]:
    """One group of features should not carry everything."""
    size: dict[str, float] = {}
    for row in source.summary("pixel").get("contribution") or []:
        size[row["group"]] = size.get(row["group"], 0.0) + row["mean_abs"]
    total = sum(size.values())
    if len(size) < 2 or total <= 0:
        return
    first, second, *_ = sorted(size, key=lambda g: -size[g])
    alone = size[first] / total >= CARRIES
    yield Check(
        "pixel", "group-pixel", "tip" if alone else "passed",
        f"One group carries everything: {first}" if alone
        else "Several groups of features carry the answer",
        f"{words.share(size[first] / total)} of what moves the log-odds comes from {first}, "
        f"{words.share(size[second] / total)} from {second}."
        + (" Where these features mislead, nothing else will correct them." if alone else ""),
    )  # fmt: skip


def _cuts(folds: list[dict[str, Any]]) -> str:
    """Say the cuts that the folds chose."""

    def span(key: str) -> str:
        low, high = min(f[key] for f in folds), max(f[key] for f in folds)
        return words.number(low) + (f" to {words.number(high)}" if high > low else "")

    return f"NDVI below {span('ndvi_below')} and slope from {span('slope_from_deg')}\u202f°"
