"""Checks of models and predictions.

Those with an optional split look at the stack out of fold without one, and at that split with it.
"""

from __future__ import annotations

import math

import numpy as np

from l4s_ensemble.metrics.bootstrap import FEWEST_BLOCKS
from l4s_ensemble.pixel.summary import PixelSummary
from l4s_ensemble.predict.summary import ResultSummary, ScoresSummary
from l4s_ensemble.report import commands, headline, words
from l4s_ensemble.report.checks.finding import Finding, Level, level_of
from l4s_ensemble.report.headline import MODEL_NAMES
from l4s_ensemble.report.parts import applicability, baselines
from l4s_ensemble.report.parts.scores import histogram
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.stack.summary import StackSummary
from l4s_ensemble.unet.summary import UNetSummary

# Bounds: passed up to the first, a tip up to the second.
AREA = (0.1, 0.3)  # relative error of the mapped area against the reference
CALIBRATION_GAP = (0.01, 0.03)  # mean difference of predicted and observed probability
THRESHOLD_COST = (0.01, 0.05)  # F1
OUTSIDE = (0.1, 0.5)  # share of tiles outside the area of applicability
SHARE_RATIO = (3.0, 10.0)  # of the mapped share to that of training
ERROR_AUC = (0.8, 0.65)
LOSS_FLAT = 0.05
FOLDS_APART = 0.5
PLATEAU = 0.05


def baseline(source: RunSource) -> Finding | None:
    """The classifier must beat the rule of NDVI and slope."""
    summary = source.get(PixelSummary)
    if summary is None or summary.rule.f1 is None:
        return None
    return Finding(
        "passed" if summary.oof.f1 > summary.rule.f1 else "issue",
        "Better than NDVI and slope alone | No better than NDVI and slope alone",
        f"Out of fold the pixel classifier has F1 {words.score(summary.oof.f1)}, two thresholds on "
        f"NDVI and slope have {words.score(summary.rule.f1)}; it must have more.",
        "It has learnt nothing that the rule does not say: check masks, units and features.",
    )


def loss(source: RunSource) -> Finding | None:
    """Losses of the U-Net must be numbers that fall and end flat."""
    summary = source.get(UNetSummary)
    folds = summary.folds if summary else ()
    losses = [[e.loss for e in fold.epochs] for fold in folds if len(fold.epochs) > 1]
    if not losses:
        return None
    good = [v for v in losses if all(math.isfinite(e) for e in v)]
    flat = [v for v in good if not v[-1] < v[0]]
    ends = [(v[-1 - max(1, len(v) // 4)] - v[-1]) / v[0] for v in good if v[0] > 0]
    falling = max(0.0, float(np.mean(ends))) if ends else 0.0
    wrong = len(good) < len(losses) or bool(flat)
    advice = "Lower unet.lr, or set unet.precision to float32."
    return Finding(
        "issue" if wrong else "tip" if falling > LOSS_FLAT else "passed",
        "Training loss fell and ends flat | Training loss "
        + ("did not fall" if wrong else "was still falling"),
        f"{len(flat)} of {words.plural(len(losses), 'fold')} end no lower than they began. The "
        f"last quarter of the epochs took away {words.share(falling)} of the first loss; up to "
        f"{words.share(LOSS_FLAT)} passes.",
        advice if wrong else "More epochs (unet.epochs) may help.",
    )


def folds(source: RunSource) -> Finding | None:
    """No fold should fall far behind the others."""
    found = [s for s in (source.get(PixelSummary), source.get(UNetSummary)) if s is not None]
    if not found:
        return None
    names = [MODEL_NAMES["pixel" if isinstance(s, PixelSummary) else "unet"] for s in found]
    ends = [(min(f.f1 for f in s.folds), max(f.f1 for f in s.folds)) for s in found]
    said = ", ".join(
        f"{words.score(low)} to {words.score(high)} ({name})"
        for name, (low, high) in zip(names, ends, strict=True)
    )
    return Finding(
        "passed" if all(low >= FOLDS_APART * high for low, high in ends) else "tip",
        "Folds agree | Folds differ widely",
        f"F1 by fold is {said}; the lowest passes from {words.share(FOLDS_APART)} of the highest.",
        "A part of another kind, or few landslides in it: look at its tiles.",
    )


def plateau(source: RunSource) -> Finding | None:
    """The threshold should lie where F1 is flat."""
    summary = source.get(StackSummary)
    if summary is None:
        return None
    (low, high), at = summary.plateau, summary.threshold
    inside = low <= at <= high
    bad = "on a narrow peak" if inside else "not where F1 is best"
    return Finding(
        "issue" if not inside else "tip" if high - low < PLATEAU else "passed",
        f"The threshold is on a plateau | The threshold is {bad}",
        f"{words.score(at)} is in use. F1 is within 0.01 of its best from {words.score(low)} to "
        f"{words.score(high)}; a width of {PLATEAU} passes.",
        "Elsewhere the same threshold may fail." if inside else "Choose it again.",
    )


def rules(source: RunSource, split: str) -> Finding | None:
    """The stack must beat simple rules on the same tiles."""
    score = headline.on_split(source, split)
    best = baselines.best_rule(baselines.rows(source, score)) if score else None
    if score is None or best is None:
        return None
    return Finding(
        "passed" if score.row.f1 > best["value"] else "issue",
        f"Better than simple rules on {split} | No better than a simple rule on {split}",
        f"The stack has F1 {words.score(score.row.f1)}; {best['name']} ({best['how']}) has "
        f"{words.score(best['value'])} on the same tiles; it must have more.",
        "Use the rule, or look for what differs from training: units, season, ground.",
    )


def gain(source: RunSource, split: str | None = None) -> Finding | None:
    """The stack should be better than the better model."""
    summary = _scored(source, split)
    if summary is None:
        return None
    row, where = summary.gain, _where(split)
    span = words.gain_interval(row)
    level: Level = "passed" if row.shown else "tip"
    level = "issue" if row.high is not None and row.high < 0 else level
    name = MODEL_NAMES[row.over]
    bad = f"is worse than the {name} alone" if level == "issue" else "shows no gain"
    few = f" ({span})" if span else f"; {words.no_interval(row.blocks)}"
    return Finding(
        level,
        f"Combining shows a gain {where} | Combining {bad} {where}",
        f"Over the {name} alone F1 moves by {words.gain(row.value)}{few}. A 95\u202f% interval "
        "above zero passes.",
        f"Use the {name} alone." if level == "issue" else "The simpler model may do as well.",
    )


def calibration(source: RunSource, split: str | None = None) -> Finding | None:
    """Probabilities should add up to the area of the reference and hold bin by bin."""
    summary = _scored(source, split)
    if summary is None:
        return None
    h, gap = histogram(summary.histogram), headline.stack_row(summary).calibration_error
    real = float(h.positive.sum())
    if not real:
        return None
    said = float(((h.positive + h.negative) * (np.arange(h.bins) + 0.5) / h.bins).sum())
    levels = {level_of(abs(said / real - 1), AREA), level_of(gap, CALIBRATION_GAP)}
    where = _where(split)
    return Finding(
        "issue" if "issue" in levels else "tip" if "tip" in levels else "passed",
        f"Probabilities are calibrated {where} | Probabilities are not calibrated {where}",
        f"They add up to {words.percent(said / real - 1)} against the reference area (within "
        f"{words.share(AREA[0])} passes), and differ from the observed share of landslides by "
        f"{words.number(gap)} on average (up to {words.number(CALIBRATION_GAP[0])} passes).",
        "Masks do not depend on this; areas and risks computed from probabilities do.",
    )


def blocks(source: RunSource, split: str | None = None) -> Finding | None:
    """Intervals need blocks."""
    summary = _scored(source, split)
    if summary is None:
        return None
    n, where = headline.stack_row(summary).blocks, _where(split)
    few = n < FEWEST_BLOCKS
    alone = isinstance(summary, ScoresSummary) and summary.block_kind == "tile"
    bad = f"No interval {where}" if few else f"Intervals {where} are too narrow"
    advice = "With fewer, nobody can tell how far a score would move elsewhere."
    return Finding(
        "tip" if few or alone else "passed",
        f"Intervals {where} resample enough blocks | {bad}",
        f"There are {words.plural(n, 'block')} of tiles; from {FEWEST_BLOCKS} an interval is "
        "printed.",
        advice if few else "Positions of the tiles are unknown, so each is resampled by itself.",
    )


def area(source: RunSource, split: str) -> Finding | None:
    """The mapped area should be that of the reference, else plausible."""
    scores = source.get(ScoresSummary, split)
    if scores is None:
        return _plausible(source, split)
    m = scores.masks
    if not m.tp + m.fn:
        return None
    off = (m.tp + m.fp) / (m.tp + m.fn) - 1
    size = "larger" if off > 0 else "smaller"
    return Finding(
        level_of(abs(off), AREA),
        f"The mapped area of {split} is that of the reference | The mapped area of {split} is "
        f"{size} than the reference",
        f"{words.percent(off)} against the reference; within {words.share(AREA[0])} passes.",
        "Correct for it, or choose another threshold, before you report an area.",
    )


def _plausible(source: RunSource, split: str) -> Finding | None:
    train, result = source.data("train"), source.need(ResultSummary, split)
    if train is None or not train.prevalence:
        return None
    ratio = max(result.predicted_share, 1e-9) / train.prevalence
    return Finding(
        level_of(max(ratio, 1 / ratio), SHARE_RATIO),
        f"The mapped area of {split} is plausible | The mapped area of {split} is unusual",
        f"{words.share(result.predicted_share)} of the pixels are mapped, "
        f"{words.share(train.prevalence)} are landslide in training; a factor of "
        f"{SHARE_RATIO[0]:.0f} passes.",
        "The place may differ from the training scenes: look at the tiles before you use it.",
    )


def threshold(source: RunSource, split: str) -> Finding | None:
    """The threshold of the training tiles should be near the best one on a split."""
    scores = source.get(ScoresSummary, split)
    if scores is None:
        return None
    row = headline.stack_row(scores)
    cost = max(0.0, row.f1_best - row.f1)
    return Finding(
        level_of(cost, THRESHOLD_COST),
        f"The threshold holds on {split} | The threshold does not hold on {split}",
        f"{words.score(row.threshold)} is in use; the best there, "
        f"{words.score(row.threshold_best)}, would give {words.score(cost)} more F1; up to "
        f"{THRESHOLD_COST[0]} passes.",
        "It must not be chosen on these masks; a few labelled tiles of the place may do.",
    )


def uncertainty(source: RunSource, split: str) -> Finding | None:
    """The uncertainty should be high where the stack is wrong."""
    scores = source.get(ScoresSummary, split)
    value = scores.uncertainty.auc["all"] if scores else None
    if value is None:
        return None
    return Finding(
        level_of(-value, (-ERROR_AUC[0], -ERROR_AUC[1])),
        f"Uncertainty finds errors on {split} | Uncertainty finds errors poorly on {split}",
        f"A wrong pixel is less certain than a right one in {words.share(value)} of all pairs; "
        f"{words.share(ERROR_AUC[0])} passes, half is chance.",
        "Do not use it to choose what a person looks at.",
    )


def applicable(source: RunSource, split: str) -> Finding | None:
    """Tiles should be inside the area of applicability of the run's scores."""
    found = source.need(ResultSummary, split).applicability
    if found is None:
        return None
    return Finding(
        level_of(found.outside / found.patches, OUTSIDE),
        f"Tiles of {split} are inside the area of applicability | Many tiles of {split} are "
        "outside the area of applicability",
        f"{applicability.sentence(found)} Up to {words.share(OUTSIDE[0])} passes.",
        f"tiles.csv beside the prediction names them; label 20: {commands.label(source, split)}",
    )


def submission(source: RunSource, split: str) -> Finding:
    """The submitted file must have been read back."""
    found = source.need(ResultSummary, split).submission
    return Finding(
        "passed" if found.verified else "issue",
        f"The submission of {split} reads back as written | The submission of {split} was not "
        "verified",
        f"{found.path} holds {words.plural(found.files, 'mask')}; each must be read back and "
        "equal what was written.",
        "Predict again before you send it.",
    )


def _scored(source: RunSource, split: str | None) -> StackSummary | ScoresSummary | None:
    return source.get(StackSummary) if split is None else source.get(ScoresSummary, split)


def _where(split: str | None) -> str:
    return "out-of-fold" if split is None else f"on {split}"
