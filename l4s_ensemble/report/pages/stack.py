"""The stack's page: what combining adds, which threshold to use, and why it may be believed."""

from __future__ import annotations

from typing import Any

from l4s_ensemble.metrics.histogram import ScoreHistogram
from l4s_ensemble.report import headline, words
from l4s_ensemble.report.headline import MODEL_NAMES
from l4s_ensemble.report.page import Page, lines, of_fit, section, stat
from l4s_ensemble.report.parts import comparison, threshold, uncertainty
from l4s_ensemble.report.parts.scores import gain_sentence, histogram
from l4s_ensemble.report.pictures import gallery
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import Column, key_figures, table
from l4s_ensemble.stack.summary import CalibrationChoice, StackSummary
from l4s_ensemble.stack.threshold import lost_at

LEARNERS = {"plain": "plain mean", "weighted": "weighted mean"}

_MAPS = {"none": "as scored", "beta": "beta map", "isotonic": "isotonic map"}
_TRIED: tuple[Column, ...] = (
    ("name", "model", "text"), ("chosen", "text"), ("f1", "F1", "score"),
    ("behind", "best of them minus this", "gain"), ("interval", "95 % interval", "text"),
    ("why", "text"),
)  # fmt: skip
_RIGHT = (
    ("only_unet", "only the U-Net"), ("only_pixel", "only the pixel classifier"),
    ("both_right", "both"), ("both_wrong", "neither"),
)  # fmt: skip
"""Who is right about a pixel: key, words."""


def stack(source: RunSource) -> Page:
    """Make the stack's page."""
    summary = source.need(StackSummary)
    counts = histogram(summary.histogram)
    row, mean = headline.stack_row(summary), headline.row_of(summary, "mean")
    tables = comparison.tables(source, summary, "out-of-fold on training tiles")
    tables |= {
        "tried": _tried(summary),
        "agreement": _agreement(summary, source.pixel_m()),
        "costs": threshold.costs(counts, summary.threshold, source.pixel_m()),
    }
    alone = {m: r.f1 for m in ("pixel", "unet") if (r := headline.row_of(summary, m))}
    return {
        "lead": f"{gain_sentence(summary.gain)} {comparison.mean_sentence(summary)}",
        "stats": [
            stat("F1 of the stack", row.f1, "score", words.interval_of(row)),
            *(stat(f"F1, {MODEL_NAMES[m]}", f1, "score", "alone") for m, f1 in alone.items()),
            *([stat("F1, plain mean", mean.f1, "score", "of both")] if mean else []),
            stat("threshold", summary.threshold, "score", _lost(summary, counts)),
        ],
        "picture": "adds",
        "blocks": {
            "joined": _key_figures(summary),
            "leaks": lines([_leaks(summary), decision_sentence(summary)]),
        },
        "figures": comparison.figures(source, "stack", summary)
        | uncertainty.figures(summary.uncertainty)
        | {"curve": threshold.curve(counts, summary.threshold)},
        "tables": tables,
        "sections": [
            section("comparison", "Models compared", "", "comparison"),
            section("threshold", "Threshold", "", "curve", "costs"),
            section(
                "whole-landslides",
                "Whole landslides",
                "",
                "whole",
                "by_size",
                "whole_size",
                folded=True,
            ),
            section("joined", "How they are joined", "", "joined", "tried", "leaks", folded=True),
            section("curves", "Curves", "", "pr", "reliability", folded=True),
            section("agreement", "Disagreement", "", "agreement", folded=True),
            section(
                "uncertainty",
                "Uncertainty",
                uncertainty.sentence(summary.uncertainty),
                "risk",
                folded=True,
            ),
            section("tiles", "Tiles", "", "gallery"),
        ],
    }


PAGE = of_fit(50, "stack", "Stack", "Does combining the two models help?", stack, gallery.of_fit)


def name_of(learner: str) -> str:
    """A meta-learner in words."""
    return LEARNERS.get(learner, learner)


def _key_figures(summary: StackSummary) -> dict[str, Any]:
    of_fold = ", ".join(f"{w:.2f}" for w in summary.weight_pixel_of_fold.values())
    return key_figures(
        [
            ("meta-learner", name_of(summary.learner), "text"),
            ("weight of the pixel classifier", summary.weight_pixel, "share"),
            ("the same without each fold", of_fold, "text"),
        ]
    )


def _tried(summary: StackSummary) -> dict[str, Any]:
    """Table of the meta-learners that were tried."""
    rows = []
    for row in summary.learners:
        alone = MODEL_NAMES.get(row.name)
        rows.append(
            {
                **row.model_dump(),
                "name": f"{alone} alone" if alone else name_of(row.name),
                "behind": row.behind.value,
                "interval": words.gain_interval(row.behind) if row.behind.value else None,
                "chosen": "chosen" if row.chosen else None,
            }
        )
    note = (
        "Each is fitted on all folds but one and scored on that one. A weight of its own is taken "
        "only where it gains 2 points of F1: chosen beside the training tiles, it does not travel."
    )
    return table("Which meta-learner, and why", _TRIED, rows, note=note)


def decision_sentence(summary: StackSummary) -> str:
    """Say how a mask is made of a probability."""
    decision = summary.decision
    parts = [_calibrated(decision.calibration)]
    if decision.adapt_threshold:
        parts.append("The threshold is adapted where the scores of a place differ from training.")
    done = decision.postprocess
    said = f"No landslide is removed for its size: {done.reason}."
    if done.smallest_px:
        said = (
            f"Landslides below {words.plural(done.smallest_px, 'pixel')} are removed: F1 moves by "
            f"{words.gain(done.gain)} out-of-fold."
        )
    return " ".join([*parts, said])


def _lost(summary: StackSummary, counts: ScoreHistogram) -> str:
    """What the threshold loses where landslides are rarer or more common."""
    half, twice = (lost_at(counts, summary.threshold, factor) for factor in (0.5, 2.0))
    if half is None or twice is None:
        return "chosen out-of-fold"
    return (
        f"loses {words.score(half)} of F1 where landslides are half as frequent, "
        f"{words.score(twice)} where twice"
    )


def _calibrated(found: CalibrationChoice) -> str:
    if found.chosen == "none":
        return "The probability is left as it is scored: no map is shown to calibrate it better."
    before, after = (words.number(c.calibration_error) for c in (found.before, found.after))
    name = _MAPS.get(found.chosen, found.chosen)
    return f"A {name} brings the mean gap of predicted and observed from {before} to {after}."


def _agreement(summary: StackSummary, pixel_m: float) -> dict[str, Any]:
    """Table of who is right, of all pixels at stake and by size of the reference landslide."""
    found: list[tuple[str, int | None, Any]] = [("all", None, summary.agreement)]
    for size in summary.agreement_by_size:
        low, high = (
            None if n is None else words.number(n * pixel_m**2 / 1e4)
            for n in (size.low_px, size.high_px)
        )
        name = f"≥ {low} ha" if high is None else f"{low}–{high} ha"
        found.append((name, size.landslides, size))
    rows = []
    for name, landslides, row in found:
        pixels = sum(getattr(row, key) for key, _ in _RIGHT)
        shares = {key: getattr(row, key) / pixels if pixels else None for key, _ in _RIGHT}
        rows.append({"size": name, "landslides": landslides, "pixels": pixels, **shares})
    columns = [
        ("size", "pixels of", "text"),
        ("landslides", "landslides", "count"),
        ("pixels", "count"),
        *((key, name, "share") for key, name in _RIGHT),
    ]
    note = (
        "All: pixels that are landslide, or that either model maps. By size: pixels of reference "
        "landslides. The stack can win only where one of the two is right."
    )
    return table("Which model is right", columns, rows, note=note)


def _leaks(summary: StackSummary) -> str:
    """Say how much was looked at before the fit and what held; a leak would have stopped it."""
    found = summary.leaks
    bad = "; ".join(dict.fromkeys(d.said for d in found.details if not d.passed))
    held = f"{found.passed} of {words.plural(found.checked, 'check')} for leaks hold"
    return f"{held}; not so: {bad}." if bad else f"{held}."
