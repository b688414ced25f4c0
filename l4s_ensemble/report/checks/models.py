"""Checks of models and predictions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from l4s_ensemble.metrics.bootstrap import FEWEST_BLOCKS
from l4s_ensemble.metrics.histogram import ScoreHistogram
from l4s_ensemble.report import words
from l4s_ensemble.report.checks.finding import Finding, Level, Place, level_of
from l4s_ensemble.report.headline import MODEL_NAMES
from l4s_ensemble.report.pages import features
from l4s_ensemble.report.parts import applicability
from l4s_ensemble.report.source import RunSource

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
    """The classifier must beat one feature, and the rule of NDVI and slope."""
    summary = source.summary("pixel")
    simple = [(r["best_f1"], f"one threshold on {r['name']}") for r in features.rows(source)]
    simple = [rule for rule in simple if rule[0] is not None]
    if summary and not summary["rule"]["lacks"]:
        simple.append((summary["rule"]["f1"], "the rule of NDVI and slope"))
    if not simple or not summary:
        return None
    oof, (f1, name) = summary["oof"], max(simple)
    return Finding(
        "passed" if oof["f1"] > f1 else "issue",
        "Better than any simple rule | No better than a simple rule",
        f"The pixel classifier has F1 {words.score(oof['f1'])} out-of-fold; the best of "
        f"{words.plural(len(simple), 'simple rule')} has {words.score(f1)} ({name}).",
        "It has learnt nothing that the rule does not say: check masks, units and features.",
    )


def loss(source: RunSource) -> Finding | None:
    """Losses of the U-Net must be numbers that fall and end flat."""
    folds = source.summary("unet").get("folds", [])
    losses = [[e["loss"] for e in fold["epochs"]] for fold in folds if len(fold["epochs"]) > 1]
    if not losses:
        return None
    good = [v for v in losses if not any(e is None or not math.isfinite(e) for e in v)]
    flat = [v for v in good if not v[-1] < v[0]]
    ends = [(v[-1 - max(1, len(v) // 4)] - v[-1]) / v[0] for v in good if v[0] > 0]
    falling = max(0.0, float(np.mean(ends))) if ends else 0.0
    wrong = len(good) < len(losses) or bool(flat)
    advice = "Lower unet.lr, or set unet.precision to float32."
    return Finding(
        "issue" if wrong else "tip" if falling > LOSS_FLAT else "passed",
        "Training loss fell and ends flat | Training loss "
        + ("did not fall" if wrong else "was still falling"),
        f"Folds with a loss that is no number: {len(losses) - len(good)}; with a last epoch no "
        f"better than the first: {len(flat)}. The last quarter of the epochs took away "
        f"{words.share(falling)} of the first loss; up to {words.share(LOSS_FLAT)} passes.",
        advice if wrong else "More epochs (unet.epochs) may help.",
    )


def spread(place: Place) -> Finding | None:
    """No fold should fall far behind the others."""
    if place.kind != "base":
        return None
    scores = [f["f1"] for f in place.summary["folds"]]
    low, high = min(scores), max(scores)
    return Finding(
        "passed" if low >= FOLDS_APART * high else "tip",
        "Folds agree | Folds differ widely",
        f"F1 by fold is {words.score(low)} to {words.score(high)}; the lowest passes from "
        f"{words.share(FOLDS_APART)} of the highest.",
        "A part of another kind, or few landslides in it: look at its tiles.",
    )


def plateau(place: Place) -> Finding | None:
    """The threshold should lie where F1 is flat."""
    row = place.row
    if place.kind == "split":
        return None
    low, high, at = row["plateau_low"], row["plateau_high"], row["threshold"]
    inside = low <= at <= high
    bad = "on a narrow peak" if inside else "not where F1 is best"
    return Finding(
        "issue" if not inside else "tip" if high - low < PLATEAU else "passed",
        f"Threshold of {place.name} is on a plateau | Threshold of {place.name} is {bad}",
        f"{words.score(at)} is in use. F1 is within 0.01 of its best from {words.score(low)} "
        f"to {words.score(high)}; a width of {PLATEAU} passes.",
        "Elsewhere the same threshold may fail." if inside else "Choose it again.",
    )


def calibration(place: Place) -> Finding | None:
    """Probabilities should add up to the area of the reference and hold bin by bin.

    The one check of calibration: both measures decide together, so that no two checks of the same
    probabilities can disagree.
    """
    h = ScoreHistogram.from_dict(dict(place.summary["histogram"]))
    if not h.positive.sum():
        return None
    real = float(h.positive.sum())
    said = float(((h.positive + h.negative) * (np.arange(h.bins) + 0.5) / h.bins).sum())
    off, gap = said / real - 1, float(place.row["calibration_error"])
    levels = {level_of(abs(off), AREA), level_of(gap, CALIBRATION_GAP)}
    of = f"Probabilities of {place.name}"
    return Finding(
        "issue" if "issue" in levels else "tip" if "tip" in levels else "passed",
        f"{of} are calibrated | {of} are not calibrated",
        f"They add up to {_percent(off)} against the reference area (within "
        f"{words.share(AREA[0])} passes), and differ from the observed share of landslides by "
        f"{words.number(gap)} on average (up to {words.number(CALIBRATION_GAP[0])} passes).",
        "Masks do not depend on this; areas and risks computed from probabilities do.",
    )


def area(place: Place) -> Finding | None:
    """The mapped area should be that of the reference."""
    row = place.row
    real = row["tp"] + row["fn"]
    if place.kind == "base" or not real:
        return None
    off = (row["tp"] + row["fp"]) / real - 1
    of = f"Mapped area of {place.name} is"
    return Finding(
        level_of(abs(off), AREA),
        f"{of} that of the reference | {of} {'larger' if off > 0 else 'smaller'} than the "
        "reference",
        f"{_percent(off)} against the reference; within {words.share(AREA[0])} passes.",
        "F1 weighs both errors; an area wants precision and recall to be equal. Correct for it, or "
        "choose another threshold, before you report an area.",
    )


def plausible(source: RunSource, split: str) -> Finding | None:
    """Without masks, the mapped share should be about that of training."""
    base = source.summary("data/train").get("prevalence")
    share = source.summary(f"predict/{split}/result")["predicted_share"]
    if not base or f"predict/{split}/scores" in source:
        return None
    ratio = max(share, 1e-9) / base
    return Finding(
        level_of(max(ratio, 1 / ratio), SHARE_RATIO),
        f"Mapped area of {split} is plausible | Mapped area of {split} is unusual",
        f"{words.share(share)} of the pixels are predicted, {words.share(base)} are landslide "
        f"in training; a factor of {SHARE_RATIO[0]:.0f} passes.",
        "The place may differ from the training scenes: look at the tiles before you use it.",
    )


def blocks(place: Place) -> Finding:
    """Intervals need blocks."""
    blocks, where = place.row["blocks"], place.where
    few, alone = blocks < FEWEST_BLOCKS, place.summary.get("block_kind") == "tile"
    bad = f"No interval {where}" if few else f"Intervals {where} are too narrow"
    advice = "With fewer, nobody can tell how far a score would move elsewhere."
    return Finding(
        "tip" if few or alone else "passed",
        f"Intervals {where} resample enough blocks | {bad}",
        f"There are {words.plural(int(blocks), 'block')} of tiles; from {FEWEST_BLOCKS} an "
        "interval is printed.",
        advice if few else "Positions of the tiles are unknown, so each is resampled by itself.",
    )


def gain(place: Place, row: Mapping[str, Any], part: str | None) -> Finding | None:
    """The stack should be better than the better model, and each part should add something."""
    low, high, span = row["low"], row["high"], words.gain_interval(row)
    if span and low == high == 0:  # the plain mean against itself
        return None
    level: Level = "tip" if span is None or low <= 0 <= high else "passed"
    level = "issue" if span and high < 0 else level
    name = MODEL_NAMES[row["over"]]
    what, worse = f"Stacking over the {name}", f"worse than the {name} alone"
    if part is not None:
        what, worse = f"The {MODEL_NAMES.get(part, part)} in the stack", "worse than without"
    bad = worse if level == "issue" else "no gain shown"
    few = "" if span else ", and there are too few blocks for one"
    return Finding(
        level,
        f"{what}: a gain {place.where} | {what}: {bad} {place.where}",
        f"F1 moves by {words.gain(row['value'])}{f' ({span})' if span else ''}; an interval above "
        f"zero passes{few}.",
        f"Use the {name} alone." if part is None and level == "issue" else "",
    )


def uncertainty(place: Place) -> Finding | None:
    """The uncertainty should be high where the stack is wrong."""
    area = place.summary["uncertainty"]["auc"]["all"]
    if area is None:
        return None
    return Finding(
        level_of(-area, (-ERROR_AUC[0], -ERROR_AUC[1])),
        f"Uncertainty finds errors {place.where} | Uncertainty finds errors poorly {place.where}",
        f"A wrong pixel is less certain than a right one in {words.share(area)} of all pairs; "
        f"{words.share(ERROR_AUC[0])} passes, half is chance.",
        "Do not use it to choose what a person looks at.",
    )


def threshold(place: Place) -> Finding | None:
    """The threshold of the training tiles should be near the best one on a split."""
    row, on = place.row, place.where
    if place.kind != "split":
        return None
    cost = row["f1_best"] - row["f1"]
    return Finding(
        level_of(cost, THRESHOLD_COST),
        f"The threshold holds {on} | The threshold does not hold {on}",
        f"{words.score(row['threshold'])} is in use; the best there, "
        f"{words.score(row['threshold_best'])}, would give {words.score(cost)} more F1; up to "
        f"{THRESHOLD_COST[0]} passes.",
        "It must not be chosen on these masks; a few labelled tiles of the place may do.",
    )


def applicable(source: RunSource, split: str) -> Finding | None:
    """Tiles should be inside the area of applicability of the run's scores."""
    found = applicability.known(source, split)
    if not found:
        return None
    return Finding(
        level_of(found["outside"] / found["patches"], OUTSIDE),
        f"Tiles of {split} are inside the area of applicability | Many tiles of {split} are "
        "outside the area of applicability",
        f"{applicability.sentence(found)} Up to {words.share(OUTSIDE[0])} passes.",
        "The file tiles.csv beside the prediction names them.",
    )


def submission(source: RunSource, split: str) -> Finding:
    """The submitted file must have been read back."""
    found = source.summary(f"predict/{split}/result")["submission"]
    return Finding(
        "passed" if found["verified"] else "issue",
        f"Submission of {split} reads back as written | Submission of {split} was not verified",
        f"{found['path']} holds {words.plural(int(found['files']), 'mask')}; each must be read "
        "back and equal what was written.",
        "Predict again before you send it.",
    )


def _percent(value: float) -> str:
    return f"{100 * value:+.0f}\u202f%".replace("-", "\u2212")
