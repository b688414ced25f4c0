"""Checks of the fitted models: do they learn, can they be believed, do they add anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from l4s_ensemble.metrics.bootstrap import FEWEST_BLOCKS
from l4s_ensemble.metrics.histogram import ScoreHistogram
from l4s_ensemble.report import headline, words
from l4s_ensemble.report.checks.check import Check, Level
from l4s_ensemble.report.source import RunSource

PLATEAU_MIN = 0.05
"""A plateau narrower than this is a ridge: the threshold may not carry over."""

AREA_RATIO = ((0.8, 1.25), (0.5, 2.0))
"""Predicted over true landslide area by the sum of probabilities: passed, tip."""


def beats_one_feature(source: RunSource) -> Iterator[Check]:
    """The classifier must beat one cut on its best feature."""
    rows = [
        r for r in source.summary("features").get("features", []) if r.get("best_f1") is not None
    ]
    oof = source.summary("pixel").get("oof")
    if not rows or not oof:
        return
    best = max(rows, key=lambda r: r["best_f1"])
    better = oof["f1"] > best["best_f1"]
    yield Check(
        "pixel", "one-feature", "passed" if better else "issue",
        "Better than any single feature" if better else "No better than a single feature",
        f"F1 {words.score(oof['f1'])} out-of-fold against {words.score(best['best_f1'])} for one "
        f"cut on "
        f"{best['name']}, chosen on the sampled pixels themselves.",
    )  # fmt: skip


def loss_fell(source: RunSource) -> Iterator[Check]:
    """Training must have learnt something."""
    folds = [f for f in source.summary("unet").get("folds", []) if len(f.get("epochs", [])) > 1]
    if not folds:
        return
    bad = [f["fold"] for f in folds if not f["epochs"][-1]["loss"] < f["epochs"][0]["loss"]]
    yield Check(
        "unet", "loss", "issue" if bad else "passed",
        "Training loss did not fall" if bad else "Training loss fell in every fold",
        f"In fold {', '.join(map(str, bad))} the last epoch is no better than the first. Lower "
        f"unet.lr."
        if bad else "From the first epoch to the last it fell in all folds.",
    )  # fmt: skip


def fold_spread(source: RunSource) -> Iterator[Check]:
    """No fold should fall far behind the others."""
    for model in ("pixel", "unet"):
        scores = [
            f["f1"] for f in source.summary(model).get("folds", []) if f.get("f1") is not None
        ]
        if len(scores) < 2:
            continue
        low, high = min(scores), max(scores)
        uneven = low < 0.5 * high
        yield Check(
            model, f"spread-{model}", "tip" if uneven else "passed",
            "Folds differ widely" if uneven else "Folds agree",
            f"F1 by fold from {words.score(low)} to {words.score(high)}. "
            + ("A place of its own kind, or too few landslides in it: look at its tiles." if uneven
               else "No fold falls far behind the others."),
        )  # fmt: skip


def plateau(source: RunSource) -> Iterator[Check]:
    """The threshold should stand where F1 is flat."""
    for page, key, name, row, _ in scored_rows(source):
        if page.startswith("prediction") or row.get("plateau_low") is None:
            continue
        low, high, at = row["plateau_low"], row["plateau_high"], row["threshold"]
        span = f"from {words.score(low)} to {words.score(high)}"
        if not low <= at <= high:
            level: Level = "issue"
            title = f"Threshold of {name} is off the plateau"
            text = (
                f"F1 is within 0.01 of its best {span}, and the threshold in use is "
                f"{words.score(at)}. Choose it again."
            )
        elif high - low < PLATEAU_MIN:
            level, title = "tip", f"Threshold of {name} stands on a ridge"
            text = (
                f"F1 is within 0.01 of its best only {span}: elsewhere the same threshold may fail."
            )
        else:
            level, title = "passed", f"Threshold of {name} is on a plateau"
            text = f"F1 is within 0.01 of its best {span}; {words.score(at)} is in use."
        yield Check(page, f"plateau-{key}", level, title, text)


def calibration(source: RunSource) -> Iterator[Check]:
    """Probabilities should add up to the true area."""
    for page, key, name, row, histogram in scored_rows(source):
        if not histogram:
            continue
        h = ScoreHistogram.from_dict(dict(histogram))
        real = int(h.positive.sum())
        if real == 0:
            continue
        said = float(((h.positive + h.negative) * (np.arange(h.bins) + 0.5) / h.bins).sum())
        ratio = said / real
        level: Level = "issue"
        if AREA_RATIO[0][0] <= ratio <= AREA_RATIO[0][1]:
            level = "passed"
        elif AREA_RATIO[1][0] <= ratio <= AREA_RATIO[1][1]:
            level = "tip"
        what = {
            "passed": "keeps its word", "tip": "is a little off",
            "issue": "cannot be taken at its word",
        }[level]  # fmt: skip
        error = row.get("calibration_error")
        yield Check(
            page, f"calibration-{key}", level, f"Probability of {name} {what}",
            f"Its probabilities add up to {words.number(ratio)} times the true landslide area"
            + (f"; mean gap between said and seen "
            f"{words.score(error)}." if error is not None else ".")
            + ("" if level == "passed" else " The threshold is not touched by this, areas "
               "computed from probabilities are."),
        )  # fmt: skip


def interval(source: RunSource) -> Iterator[Check]:
    """Once for all out-of-fold scores, which share their blocks, and once a split."""
    rows = {page: (key, row) for page, key, _, row, _ in scored_rows(source)}
    fitted = [page for page in ("stack", "unet", "pixel") if page in rows]
    for page in fitted[:1] + [p for p in rows if p.startswith("prediction")]:
        key, row = rows[page]
        if row.get("blocks") is None:
            continue
        where = f"on {key}" if page.startswith("prediction") else "out-of-fold"
        alone = source.summary(f"predict/{key}/scores").get("block_kind") == "tile"
        few = row["blocks"] < FEWEST_BLOCKS
        blocks = words.plural(int(row["blocks"]), "spatial block")
        title, text = f"Intervals {where} are sound", f"They resample {blocks} of tiles."
        if alone:
            title = f"Intervals {where} are too narrow"
            text = (
                f"Nobody knows where the {row['tiles']} tiles lie, so each is resampled by itself, "
                "though neighbours are alike."
            )
        elif few:
            title = f"There is no interval {where}"
            text = f"{blocks} of tiles: too few to say how far a score would move elsewhere."
        yield Check(page, f"interval-{key}", "tip" if few or alone else "passed", title, text)


def gain(source: RunSource) -> Iterator[Check]:
    """Stacking should show a gain over the better model."""
    places = [("stack", "stack", "out-of-fold")]
    places += [(f"predict/{s}/scores", f"prediction-{s}", f"on {s}") for s in source.predicted]
    for stage, page, where in places:
        gain = source.summary(stage).get("gain")
        if not gain:
            continue
        over = headline.MODEL_NAMES.get(gain["over"], gain["over"])
        low, high = gain["low"], gain["high"]
        moved = f"F1 moves by {words.gain(gain['value'])}"
        if low is None or high is None:
            yield Check(
                page, f"gain-{page}", "tip", f"No gain can be shown {where}",
                f"{moved} against the {over}; too few spatial blocks for an interval.",
            )  # fmt: skip
            continue
        text = f"{moved} ({words.gain(low)} to {words.gain(high)}) against the {over}"
        level: Level = "tip"
        title = f"No gain shown by stacking {where}"
        if low > 0:
            level, title = "passed", f"Stacking shows a gain {where}"
            text += "; the interval excludes zero."
        elif high < 0:
            level, title = "issue", f"Stacking loses {where}"
            text += f": the {over} alone is better here."
        else:
            text += "; the interval includes zero."
        yield Check(page, f"gain-{page}", level, title, text)


def scored_rows(source: RunSource) -> Iterator[tuple[str, str, str, Mapping[str, Any], Any]]:
    """Page, key, words, row of scores and histogram of everything that was scored."""
    for model in ("pixel", "unet"):
        summary = source.summary(model)
        if summary.get("oof"):
            name = f"the {headline.MODEL_NAMES[model]}"
            yield model, model, name, summary["oof"], summary.get("histogram")
    stack = source.summary("stack")
    row = headline.ledger_row(stack, "stack")
    if row is not None:
        yield "stack", "stack", "the stack", row, stack.get("histogram")
    for split in source.predicted:
        scores = source.summary(f"predict/{split}/scores")
        row = headline.ledger_row(scores, "stack")
        if row is not None:
            name = f"the stack on {split}"
            yield f"prediction-{split}", split, name, row, scores.get("histogram")
