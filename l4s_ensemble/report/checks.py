"""Numbered checks of a run: passed, tip or issue.

Each says what it measured, the bound it was held against, and what to do. A tip is worth knowing;
an issue means that a number of the report cannot be trusted or that the data are at fault. A check
whose input is not there is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from l4s_ensemble.errors import LeakError
from l4s_ensemble.metrics.bootstrap import FEWEST_BLOCKS
from l4s_ensemble.metrics.histogram import ScoreHistogram
from l4s_ensemble.report import words
from l4s_ensemble.report.headline import MODEL_NAMES, ledger_row
from l4s_ensemble.report.pages import features
from l4s_ensemble.report.parts import faults, likeness
from l4s_ensemble.report.parts.shift import LARGE, shifts
from l4s_ensemble.report.source import RunSource

if TYPE_CHECKING:
    from l4s_ensemble.scenes.folds import Folds

Level = Literal["passed", "tip", "issue"]

# Bounds: passed up to the first, a tip up to the second.
DEGENERATE = (0.1, 0.5)  # share of tiles
AREA = (0.1, 0.3)  # relative error of the mapped area against the reference
CALIBRATION_GAP = (0.01, 0.03)  # mean difference of predicted and observed probability
THRESHOLD_COST = (0.01, 0.05)  # F1
OUTSIDE = (0.1, 0.5)  # share of tiles outside the area of applicability
SHARE_RATIO = (3.0, 10.0)  # of the mapped share to that of training
ERROR_AUC = (0.8, 0.65)
LOSS_FLAT = 0.05
FOLDS_APART = 0.5
PLATEAU = 0.05


class Finding(NamedTuple):
    """What a check found; ``titles`` are that of a passed one, ``|``, and that of another."""

    level: Level
    titles: str
    measured: str
    advice: str = ""


class Place(NamedTuple):
    """Something that was scored.

    Attributes
    ----------
    kind : {'base', 'stack', 'split'}
        A base model or the stack out-of-fold, or the stack on a split.
    page, key : str
        Its page, and its name in those of the checks.
    name, where : str
        What was scored, and on what, in words.
    summary, row : mapping
        Of the stage that scored it, and its scores.
    """

    kind: str
    page: str
    key: str
    name: str
    where: str
    summary: Mapping[str, Any]
    row: Mapping[str, Any]


Subject = tuple[str, str, tuple[Any, ...]]
"""Page of a check, what its key ends with, and what it is called with."""


def run_checks(source: RunSource) -> list[dict[str, Any]]:
    """Make all checks that the run's stages allow.

    Returns
    -------
    list of dict
        ``number, page`` (the index shows all), ``key`` (a stable name), ``level, title`` and
        ``explanation``.
    """
    found: list[dict[str, Any]] = []
    subjects = subjects_of(source)
    for name, kind, check in CHECKS:
        for page, end, arguments in subjects[kind]:
            finding = check(*arguments)
            if finding is None:
                continue
            level, titles, measured, advice = finding
            passed = level == "passed"
            found.append(
                {
                    "number": len(found) + 1,
                    "page": page or PAGE_OF[name],
                    "key": "-".join(filter(None, (name, end))),
                    "level": level,
                    "title": titles.split(" | ")[0 if passed else 1],
                    "explanation": measured if passed or not advice else f"{measured} {advice}",
                }
            )
    return found


def subjects_of(source: RunSource) -> dict[str, list[Subject]]:
    """What there is to check, by kind."""
    scored = places(source)
    # All out-of-fold scores share their blocks.
    once = [p for p in scored if p.kind != "split"][-1:] + [p for p in scored if p.kind == "split"]
    stacked = [p for p in scored if p.kind != "base"]
    gains: list[Subject] = []
    for p in stacked:
        gain = p.summary["gain"]
        gains.append((p.page, f"gain-{p.page}", (p, gain, None)))
        parts = [row for row in p.summary["marginal"] if row["over"] != gain["over"]]
        gains += [(p.page, f"adds-{r['part']}-{p.page}", (p, r, r["part"])) for r in parts]
    return {
        "run": [("", "", (source,))],
        "split": [("data", s, (source, s)) for s in source.splits],
        "prediction": [(f"prediction-{s}", s, (source, s)) for s in source.predicted],
        "scored": [(p.page, p.key, (p,)) for p in scored],
        "once": [(p.page, p.key, (p,)) for p in once],
        "stacked": [(p.page, p.page, (p,)) for p in stacked],
        "gain": gains,
    }


def places(source: RunSource) -> list[Place]:
    """Everything that was scored; the stack comes after its parts."""
    listed = [("base", m, m, m, f"the {MODEL_NAMES[m]}", "out-of-fold") for m in ("pixel", "unet")]
    listed.append(("stack", "stack", "stack", "stack", "the stack", "out-of-fold"))
    for s in source.predicted:
        stage, page = f"predict/{s}/scores", f"prediction-{s}"
        listed.append(("split", stage, page, s, f"the stack on {s}", f"on {s}"))
    found = []
    for kind, stage, page, key, name, where in listed:
        own = source.summary(stage)
        if own:
            row = own["oof"] if kind == "base" else ledger_row(own, "stack") or {}
            found.append(Place(kind, page, key, name, where, own, row))
    return found


def _level(value: float, bounds: tuple[float, float]) -> Level:
    """Passed up to the first bound, a tip up to the second."""
    return "passed" if value <= bounds[0] else "tip" if value <= bounds[1] else "issue"


def _scan(source: RunSource) -> Finding | None:
    """What ``data check`` found, if its result was kept with the run."""
    found = faults.check_result(source)
    if found is None:
        return None
    errors, counted = faults.counted(found["faults"])
    kinds = ", ".join(sorted({str(f["code"]) for f in found["faults"]})) or "none"
    return Finding(
        "issue" if errors else "tip" if found["faults"] else "passed",
        f"The files have no fault | The scan of the files found {counted}",
        f"The command data check read every file: {counted} (kinds: {kinds}).",
        "All are in the table below. Mend or remove files with errors before fitting.",
    )


def _units(source: RunSource, split: str) -> Finding:
    """Stored values must be exact in the sensor's units."""
    summary = source.summary(f"data/{split}")
    share, inexact = summary["exact_share"], summary["inexact"]
    return Finding(
        "passed" if share >= 1 and not inexact else "issue",
        f"Units of {split} are exact | Units of {split} are not those of the sensor",
        f"{words.share(share)} of the stored values times their band's divisor are whole numbers; "
        "all are in the released files.",
        f"Not exact: {words.some([str(p) for p in inexact], 3)}. The files were resampled or "
        "rescaled, so indices and terrain may be wrong: describe them with a sensor YAML.",
    )


def _copies(source: RunSource) -> Finding | None:
    """Tiles of the same content: across splits a score leaks, within one they share a fold."""
    if not source.splits:
        return None
    found = faults.copies(source)
    across = [c for c in found if c[0] != c[2]]
    some = "; ".join(f"tile {p} of {s} is tile {q} of {t}" for s, p, t, q in (across or found)[:3])
    n = words.plural(len(across or found), "tile")
    advice = "They count twice; folds keep copies together, so no score leaks."
    if across:
        advice = "A score on a split that holds training tiles is too high: take them out."
    return Finding(
        "issue" if across else "tip" if found else "passed",
        f"No tile is there twice | {n} {'in two splits' if across else 'stored twice'}",
        f"Contents were compared within and between splits: {some or 'all differ'}.",
        advice,
    )


def _degenerate(source: RunSource, split: str) -> Finding:
    """Tiles without terrain."""
    summary = source.summary(f"data/{split}")
    n = len(summary["degenerate"])
    share = n / max(1, int(summary["patches"]))
    return Finding(
        _level(share, DEGENERATE),
        f"Few tiles of {split} lack terrain | Many tiles of {split} lack terrain",
        f"{words.plural(n, 'tile')} ({words.share(share)}) with constant elevation or no slope; up "
        f"to {words.share(DEGENERATE[0])} pass. They are not fitted on.",
        "Check the elevation that these tiles were made with.",
    )


def _folds(source: RunSource) -> Finding | None:
    """Folds may not share a tile, nor have neighbours on both sides."""
    folds = source.folds
    if folds is None or "data/train" not in source:
        return None
    leak = _leak_of(source, folds, [folds.train_ids(k) for k in range(folds.n_folds)])
    unknown = folds.grid == "none"
    bad = "Folds leak" if leak else "Positions of tiles are unknown"
    advice = (
        "Neighbours cannot be kept apart, so out-of-fold scores may be too high by several "
        "points. Give their positions in scenes.csv."
    )
    if leak:
        advice = (
            "Out-of-fold scores are too high: run the scenes stage again on these data, then fit "
            "again."
        )
    return Finding(
        "issue" if leak else "tip" if unknown else "passed",
        f"Folds are free of leaks | {bad}",
        leak
        or "In every fold the training tiles share no id and no content with the held-out tiles"
        + ("." if unknown else " or their neighbours."),
        advice,
    )


def _trained(source: RunSource) -> Finding | None:
    """What the pixel classifier was fitted on may not be what it was scored on."""
    folds = source.folds
    if folds is None or not {"data/train", "pixel"} <= set(source.stages):
        return None
    notes = [source.json(f"pixel/fold_{k}.json") for k in range(folds.n_folds)]
    if None in notes:
        return None
    leak = _leak_of(source, folds, [note["trained"] for note in notes if note])
    return Finding(
        "issue" if leak else "passed",
        "The pixel classifier saw only its training tiles | The pixel classifier saw tiles it must "
        "not see",
        leak
        or "The tiles recorded with each fold's model are none of those it was scored on, nor "
        "their neighbours.",
        "Its out-of-fold scores are too high: fit it again.",
    )


def _leak_of(source: RunSource, folds: Folds, trained: Iterable[Any]) -> str:
    """What the first leaking fold shares; empty where none leaks."""
    from l4s_ensemble.data.store import hashes_of

    hashes = hashes_of(source.store("train"))
    try:
        for k, ids in enumerate(trained):
            folds.check(k, ids, hashes)
    except LeakError as leak:
        return f"{leak.what}: {leak.found}."
    return ""


def _shift(source: RunSource) -> Finding | None:
    """Bands of the splits to predict should have about the medians of training."""
    found = shifts(source)
    if not found:
        return None
    most = found[0]
    return Finding(
        "passed" if abs(most["shift"]) <= LARGE else "tip",
        "Bands of the splits are alike | Bands of the splits differ",
        f"The median that lies farthest from training is {most['band']} in {most['split']}, "
        f"{words.signed(most['shift'])} interquartile ranges; up to {words.number(LARGE)} passes.",
        "Scores measured on one may not hold on the other: see the map of shifts.",
    )


def _finite(source: RunSource) -> Finding | None:
    """Features must be finite."""
    found = features.rows(source)
    if not found:
        return None
    bad = [r["name"] for r in found if r["nonfinite"]]
    return Finding(
        "issue" if bad else "passed",
        f"Every feature is finite | {words.plural(len(bad), 'feature')} not finite",
        f"{len(bad)} of {words.plural(len(found), 'feature')} have sampled pixels without a "
        "value; none should.",
        f"Leave them out with features.exclude: {words.some(bad, 4)}.",
    )


def _carry(source: RunSource) -> Finding | None:
    """What separates here should do so elsewhere."""
    kind = features.kind_of_place(source)
    strong = [r for r in features.rows(source) if (r["auc_seen"] or 0) >= features.SEPARATES]
    if kind is None or not strong:
        return None
    turned = [r["name"] for r in features.turning(source)]
    separate = "separates" if len(turned) == 1 else "separate"
    return Finding(
        "tip" if turned else "passed",
        f"What separates in one {kind} does so in the others | "
        f"{words.plural(len(turned), 'feature')} {separate} the other way in some {kind}",
        f"Of {words.plural(len(strong), 'feature')} with an AUC from {features.SEPARATES}, "
        f"{len(turned)} have landslides on the other side in some {kind}.",
        f"A model may learn the wrong side of them: {words.some(turned, 4)}.",
    )


def _baseline(source: RunSource) -> Finding | None:
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


def _loss(source: RunSource) -> Finding | None:
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


def _spread(place: Place) -> Finding | None:
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


def _plateau(place: Place) -> Finding | None:
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


def _calibration(place: Place) -> Finding | None:
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
    levels = {_level(abs(off), AREA), _level(gap, CALIBRATION_GAP)}
    of = f"Probabilities of {place.name}"
    return Finding(
        "issue" if "issue" in levels else "tip" if "tip" in levels else "passed",
        f"{of} are calibrated | {of} are not calibrated",
        f"They add up to {_percent(off)} against the reference area (within "
        f"{words.share(AREA[0])} passes), and differ from the observed share of landslides by "
        f"{words.number(gap)} on average (up to {words.number(CALIBRATION_GAP[0])} passes).",
        "Masks do not depend on this; areas and risks computed from probabilities do.",
    )


def _area(place: Place) -> Finding | None:
    """The mapped area should be that of the reference."""
    row = place.row
    real = row["tp"] + row["fn"]
    if place.kind == "base" or not real:
        return None
    off = (row["tp"] + row["fp"]) / real - 1
    of = f"Mapped area of {place.name} is"
    return Finding(
        _level(abs(off), AREA),
        f"{of} that of the reference | {of} {'larger' if off > 0 else 'smaller'} than the "
        "reference",
        f"{_percent(off)} against the reference; within {words.share(AREA[0])} passes.",
        "F1 weighs both errors; an area wants precision and recall to be equal. Correct for it, or "
        "choose another threshold, before you report an area.",
    )


def _plausible(source: RunSource, split: str) -> Finding | None:
    """Without masks, the mapped share should be about that of training."""
    base = source.summary("data/train").get("prevalence")
    share = source.summary(f"predict/{split}/result")["predicted_share"]
    if not base or f"predict/{split}/scores" in source:
        return None
    ratio = max(share, 1e-9) / base
    return Finding(
        _level(max(ratio, 1 / ratio), SHARE_RATIO),
        f"Mapped area of {split} is plausible | Mapped area of {split} is unusual",
        f"{words.share(share)} of the pixels are predicted, {words.share(base)} are landslide "
        f"in training; a factor of {SHARE_RATIO[0]:.0f} passes.",
        "The place may differ from the training scenes: look at the tiles before you use it.",
    )


def _blocks(place: Place) -> Finding:
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


def _gain(place: Place, row: Mapping[str, Any], part: str | None) -> Finding | None:
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


def _uncertainty(place: Place) -> Finding | None:
    """The uncertainty should be high where the stack is wrong."""
    area = place.summary["uncertainty"]["auc"]["all"]
    if area is None:
        return None
    return Finding(
        _level(-area, (-ERROR_AUC[0], -ERROR_AUC[1])),
        f"Uncertainty finds errors {place.where} | Uncertainty finds errors poorly {place.where}",
        f"A wrong pixel is less certain than a right one in {words.share(area)} of all pairs; "
        f"{words.share(ERROR_AUC[0])} passes, half is chance.",
        "Do not use it to choose what a person looks at.",
    )


def _threshold(place: Place) -> Finding | None:
    """The threshold of the training tiles should be near the best one on a split."""
    row, on = place.row, place.where
    if place.kind != "split":
        return None
    cost = row["f1_best"] - row["f1"]
    return Finding(
        _level(cost, THRESHOLD_COST),
        f"The threshold holds {on} | The threshold does not hold {on}",
        f"{words.score(row['threshold'])} is in use; the best there, "
        f"{words.score(row['threshold_best'])}, would give {words.score(cost)} more F1; up to "
        f"{THRESHOLD_COST[0]} passes.",
        "It must not be chosen on these masks; a few labelled tiles of the place may do.",
    )


def _applicable(source: RunSource, split: str) -> Finding | None:
    """Tiles should be inside the area of applicability of the run's scores."""
    found = likeness.known(source, split)
    if not found:
        return None
    return Finding(
        _level(found["unlike"] / found["patches"], OUTSIDE),
        f"Tiles of {split} are inside the area of applicability | Many tiles of {split} are "
        "outside the area of applicability",
        f"{likeness.sentence(found)} Up to {words.share(OUTSIDE[0])} passes.",
        "The file tiles.csv beside the prediction names them.",
    )


def _submission(source: RunSource, split: str) -> Finding:
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


CHECKS: tuple[tuple[str, str, Callable[..., Finding | None]], ...] = (
    ("scan", "run", _scan), ("units", "split", _units), ("copies", "run", _copies),
    ("degenerate", "split", _degenerate), ("folds-leak", "run", _folds),
    ("trained-tiles", "run", _trained), ("shift-splits", "run", _shift),
    ("features-finite", "run", _finite), ("features-carry", "run", _carry),
    ("baseline", "run", _baseline), ("loss", "run", _loss), ("spread", "scored", _spread),
    ("plateau", "scored", _plateau), ("calibration", "scored", _calibration),
    ("area", "scored", _area), ("area", "prediction", _plausible), ("interval", "once", _blocks),
    ("", "gain", _gain), ("uncertainty", "stacked", _uncertainty),
    ("threshold", "scored", _threshold), ("likeness", "prediction", _applicable),
    ("submission", "prediction", _submission),
)  # fmt: skip
"""Key, kind of subject (`subjects_of`) and function, in the order of their numbers."""

PAGE_OF = {
    "scan": "data", "copies": "data", "folds-leak": "data", "trained-tiles": "pixel",
    "shift-splits": "data", "features-finite": "features", "features-carry": "features",
    "baseline": "pixel", "loss": "unet",
}  # fmt: skip
"""Pages of the checks of a whole run."""
