"""Numbered checks of a run: passed, tip or issue.

Each says what it measured, the bound it was held against, and what to do. A tip is worth knowing;
an issue means that a number of the report cannot be trusted or that the data are at fault. A check
whose input is not there is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from l4s_ensemble.errors import LeakError
from l4s_ensemble.metrics.bootstrap import FEWEST_BLOCKS
from l4s_ensemble.metrics.histogram import ScoreHistogram
from l4s_ensemble.report import headline, words
from l4s_ensemble.report.pages import features, likeness
from l4s_ensemble.report.pages.data.faults import check_result, copies
from l4s_ensemble.report.pages.data.shift import LARGE, shifts
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.run.files import read_json

if TYPE_CHECKING:
    from l4s_ensemble.scenes.folds import Folds

Level = Literal["passed", "tip", "issue"]

DEGENERATE = (0.1, 0.5)
LOSS_FLAT = 0.05
FOLDS_APART = 0.5
PLATEAU = 0.05
AREA = (0.1, 0.3)
"""Relative error of the mapped area against that of the reference: passed up to, tip up to."""

CALIBRATION_GAP = (0.01, 0.03)
"""Mean difference of predicted and observed probability."""

THRESHOLD_COST = (0.01, 0.05)
UNLIKE = (0.1, 0.5)
SHARE_RATIO = (3.0, 10.0)
ERROR_AUC = (0.8, 0.65)


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes
    ----------
    page : str
        Page it belongs to; the index shows all.
    key : str
        Stable name.
    level : {'passed', 'tip', 'issue'}
    title : str
        The finding in a few words.
    explanation : str
        What was measured, against which bound, and what to do.
    """

    page: str
    key: str
    level: Level
    title: str
    explanation: str


def run_checks(source: RunSource) -> list[dict[str, Any]]:
    """Make all checks that the run's stages allow, numbered, as plain dicts."""
    found = [check for function in CHECKS for check in function(source)]
    return [{"number": n, **asdict(check)} for n, check in enumerate(found, start=1)]


def _level(value: float, bounds: tuple[float, float]) -> Level:
    """Passed up to the first bound, a tip up to the second."""
    return "passed" if value <= bounds[0] else "tip" if value <= bounds[1] else "issue"


def _check(
    page: str, key: str, level: Level, titles: tuple[str, str], measured: str, advice: str = ""
) -> Check:
    """A check with the title for passed or the other one; the advice only where it is needed."""
    good = level == "passed"
    text = measured if good or not advice else f"{measured} {advice}"
    return Check(page, key, level, titles[0] if good else titles[1], text)


# Data


def _scan(source: RunSource) -> Iterator[Check]:
    """What ``data check`` found, if its result was kept with the run."""
    found = check_result(source)
    if found is None:
        return
    errors = sum(f["level"] == "error" for f in found["faults"])
    warnings = len(found["faults"]) - errors
    kinds = ", ".join(sorted({str(f["code"]) for f in found["faults"]})) or "none"
    counted = f"{words.plural(errors, 'error')} and {words.plural(warnings, 'warning')}"
    yield _check(
        "data", "scan", "issue" if errors else "tip" if warnings else "passed",
        ("The files have no fault", f"The scan of the files found {counted}"),
        f"The command data check read every file: {counted} (kinds: {kinds}).",
        "All are in the table below. Mend or remove files with errors before fitting.",
    )  # fmt: skip


def _units(source: RunSource) -> Iterator[Check]:
    """Stored values must be exact in the sensor's units."""
    for split in source.splits:
        summary = source.summary(f"data/{split}")
        share, inexact = summary.get("exact_share"), summary.get("inexact", [])
        if share is None:
            continue
        some = words.some([str(p) for p in inexact], 3)
        yield _check(
            "data", f"units-{split}", "passed" if share >= 1 and not inexact else "issue",
            (f"Units of {split} are exact", f"Units of {split} are not those of the sensor"),
            f"{words.share(share)} of the stored values times their band's divisor are whole "
            "numbers; all are in the released files.",
            f"Not exact: {some}. The files were resampled or rescaled, so indices and terrain may "
            "be wrong: describe them with a sensor YAML.",
        )  # fmt: skip


def _copies(source: RunSource) -> Iterator[Check]:
    """Tiles of the same content: across splits a score leaks, within one they share a fold."""
    found = copies(source)
    if not source.splits:
        return
    across = [c for c in found if c[0] != c[2]]
    some = "; ".join(f"tile {p} of {s} is tile {q} of {t}" for s, p, t, q in (across or found)[:3])
    advice = "They count twice; folds keep copies together, so no score leaks."
    if across:
        advice = "A score on a split that holds training tiles is too high: take them out."
    yield _check(
        "data", "copies", "issue" if across else "tip" if found else "passed",
        ("No tile is there twice",
         f"{words.plural(len(across or found), 'tile')} "
         + ("in two splits" if across else "stored twice")),
        f"Contents were compared within and between splits: {some or 'all differ'}.", advice,
    )  # fmt: skip


def _degenerate(source: RunSource) -> Iterator[Check]:
    """Tiles without terrain."""
    for split in source.splits:
        summary = source.summary(f"data/{split}")
        n = len(summary.get("degenerate", []))
        share = n / max(1, int(summary["patches"]))
        yield _check(
            "data", f"degenerate-{split}", _level(share, DEGENERATE),
            (f"Few tiles of {split} lack terrain", f"Many tiles of {split} lack terrain"),
            f"{words.plural(n, 'tile')} ({words.share(share)}) with constant elevation or no "
            f"slope; up to {words.share(DEGENERATE[0])} pass. They are not fitted on.",
            "Check the elevation that these tiles were made with.",
        )  # fmt: skip


def _folds(source: RunSource) -> Iterator[Check]:
    """Neither the folds nor what the pixel classifier was fitted on may share a tile."""
    if "scenes" not in source or "data/train" not in source:
        return
    from l4s_ensemble.data.store import hashes_of
    from l4s_ensemble.scenes.folds import load_folds

    folds, hashes = load_folds(source["scenes"].folder), hashes_of(source.store("train"))
    numbers = range(folds.n_folds)
    leak = _leak_of(folds, [folds.train_ids(k) for k in numbers], hashes)
    unknown = folds.grid == "none"
    yield _check(
        "data", "folds-leak", "issue" if leak else "tip" if unknown else "passed",
        ("Folds are free of leaks", "Folds leak" if leak else "Positions of tiles are unknown"),
        leak or "In every fold the training tiles share no id and no content with the held-out "
        "tiles" + ("." if unknown else " or their neighbours."),
        "Out-of-fold scores are too high: run the scenes stage again on these data, then fit again."
        if leak else "Neighbours cannot be kept apart, so out-of-fold scores may be too high by "
        "several points. Give their positions in scenes.csv.",
    )  # fmt: skip
    paths = [source.run / "pixel" / f"fold_{k}.json" for k in numbers]
    if "pixel" not in source or not all(path.is_file() for path in paths):
        return
    leak = _leak_of(folds, [read_json(path)["trained"] for path in paths], hashes)
    yield _check(
        "pixel", "trained-tiles", "issue" if leak else "passed",
        ("The pixel classifier saw only its training tiles",
         "The pixel classifier saw tiles it must not see"),
        leak or "The tiles recorded with each fold's model are none of those it was scored on, "
        "nor their neighbours.",
        "Its out-of-fold scores are too high: fit it again.",
    )  # fmt: skip


def _leak_of(folds: Folds, trained: list[Any], hashes: dict[int, str]) -> str:
    """What the first leaking fold shares; empty where none leaks."""
    try:
        for k, ids in enumerate(trained):
            folds.check(k, ids, hashes)
    except LeakError as leak:
        return f"{leak.what}: {leak.found}."
    return ""


def _shift(source: RunSource) -> Iterator[Check]:
    """Bands of the splits to predict should have about the medians of training."""
    found = shifts(source)
    if not found:
        return
    most = found[0]
    yield _check(
        "data", "shift-splits", "passed" if abs(most["shift"]) <= LARGE else "tip",
        ("Bands of the splits are alike", "Bands of the splits differ"),
        f"The median that lies farthest from training is {most['band']} in {most['split']}, "
        f"{words.signed(most['shift'])} interquartile ranges; up to {words.number(LARGE)} passes.",
        "Scores measured on one may not hold on the other: see the map of shifts.",
    )  # fmt: skip


def _features(source: RunSource) -> Iterator[Check]:
    """Features must be finite, and what separates here should do so elsewhere."""
    found = [r for r in features.rows(source) if r.get("nonfinite") is not None]
    bad = [r["name"] for r in found if r["nonfinite"]]
    if found:
        yield _check(
            "features", "features-finite", "issue" if bad else "passed",
            ("Every feature is finite", f"{words.plural(len(bad), 'feature')} not finite"),
            f"{len(bad)} of {words.plural(len(found), 'feature')} have sampled pixels without a "
            "value; none should.",
            f"Leave them out with features.exclude: {words.some(bad, 4)}.",
        )  # fmt: skip
    kind = features.kind_of_place(source)
    strong = [r for r in features.rows(source) if (r["auc_seen"] or 0) >= features.SEPARATES]
    if kind is None or not strong:
        return
    turned = [r["name"] for r in features.turning(source)]
    yield _check(
        "features", "features-carry", "tip" if turned else "passed",
        (f"What separates in one {kind} does so in the others",
         f"{words.plural(len(turned), 'feature')} separate{'s' if len(turned) == 1 else ''} the "
         f"other way in some {kind}"),
        f"Of {words.plural(len(strong), 'feature')} with an AUC from {features.SEPARATES}, "
        f"{len(turned)} have landslides on the other side in some {kind}.",
        f"A model may learn the wrong side of them: {words.some(turned, 4)}.",
    )  # fmt: skip


# Models


def _baselines(source: RunSource) -> Iterator[Check]:
    """The classifier must beat one feature, and the rule of NDVI and slope."""
    summary = source.summary("pixel")
    oof, rule = summary.get("oof"), summary.get("rule") or {}
    if not oof:
        return
    simple = [
        (r["best_f1"], f"one threshold on {r['name']}")
        for r in source.summary("features").get("features", [])
        if r.get("best_f1") is not None
    ]
    if not rule.get("lacks", True):
        simple.append((rule["f1"], "the rule of NDVI and slope"))
    if not simple:
        return
    f1, name = max(simple)
    yield _check(
        "pixel", "baseline", "passed" if oof["f1"] > f1 else "issue",
        ("Better than any simple rule", "No better than a simple rule"),
        f"The pixel classifier has F1 {words.score(oof['f1'])} out-of-fold; the best of "
        f"{words.plural(len(simple), 'simple rule')} has {words.score(f1)} ({name}).",
        "It has learnt nothing that the rule does not say: check masks, units and features.",
    )  # fmt: skip


def _training(source: RunSource) -> Iterator[Check]:
    """Losses of the U-Net must be numbers that fall and end flat."""
    losses = {
        f["fold"]: [e.get("loss") for e in f.get("epochs", [])]
        for f in source.summary("unet").get("folds", [])
    }
    losses = {k: v for k, v in losses.items() if len(v) > 1}
    if not losses:
        return
    bad = [k for k, v in losses.items() if any(e is None or not math.isfinite(e) for e in v)]
    flat = [k for k, v in losses.items() if k not in bad and not v[-1] < v[0]]
    ends = [
        (v[-1 - max(1, len(v) // 4)] - v[-1]) / v[0]
        for k, v in losses.items()
        if k not in bad and v[0] > 0
    ]
    falling = max(0.0, float(np.mean(ends))) if ends else 0.0
    level: Level = "issue" if bad or flat else "tip" if falling > LOSS_FLAT else "passed"
    advice = "More epochs (unet.epochs) may help."
    if level == "issue":
        advice = "Lower unet.lr, or set unet.precision to float32."
    yield _check(
        "unet", "loss", level,
        ("Training loss fell and ends flat",
         "Training loss did not fall" if level == "issue" else "Training loss was still falling"),
        f"Folds with a loss that is no number: {len(bad)}; with a last epoch no better than the "
        f"first: {len(flat)}. The last quarter of the epochs took away {words.share(falling)} of "
        f"the first loss; up to {words.share(LOSS_FLAT)} passes.",
        advice,
    )  # fmt: skip


def _spread(source: RunSource) -> Iterator[Check]:
    """No fold should fall far behind the others."""
    for model in ("pixel", "unet"):
        scores = [
            f["f1"] for f in source.summary(model).get("folds", []) if f.get("f1") is not None
        ]
        if len(scores) > 1:
            low, high = min(scores), max(scores)
            yield _check(
                model, f"spread-{model}", "passed" if low >= FOLDS_APART * high else "tip",
                ("Folds agree", "Folds differ widely"),
                f"F1 by fold is {words.score(low)} to {words.score(high)}; the lowest passes from "
                f"{words.share(FOLDS_APART)} of the highest.",
                "A part of another kind, or few landslides in it: look at its tiles.",
            )  # fmt: skip


def _plateau(source: RunSource) -> Iterator[Check]:
    """The threshold should lie where F1 is flat."""
    for page, key, name, row, _ in scored_rows(source):
        if page.startswith("prediction") or row.get("plateau_low") is None:
            continue
        low, high, at = row["plateau_low"], row["plateau_high"], row["threshold"]
        inside = low <= at <= high
        level: Level = "issue" if not inside else "tip" if high - low < PLATEAU else "passed"
        yield _check(
            page, f"plateau-{key}", level,
            (f"Threshold of {name} is on a plateau",
             f"Threshold of {name} is "
             + ("on a narrow peak" if inside else "not where F1 is best")),
            f"{words.score(at)} is in use. F1 is within 0.01 of its best from {words.score(low)} "
            f"to {words.score(high)}; a width of {PLATEAU} passes.",
            "Elsewhere the same threshold may fail." if inside else "Choose it again.",
        )  # fmt: skip


def _calibration(source: RunSource) -> Iterator[Check]:
    """Probabilities should add up to the area of the reference and hold bin by bin.

    The one check of calibration: both measures decide together, so that no two checks of the same
    probabilities can disagree.
    """
    for page, key, name, row, histogram in scored_rows(source):
        h = ScoreHistogram.from_dict(dict(histogram)) if histogram else None
        if h is None or row.get("calibration_error") is None or not h.positive.sum():
            continue
        real = float(h.positive.sum())
        said = float(((h.positive + h.negative) * (np.arange(h.bins) + 0.5) / h.bins).sum())
        off, gap = said / real - 1, float(row["calibration_error"])
        levels = {_level(abs(off), AREA), _level(gap, CALIBRATION_GAP)}
        level: Level = "issue" if "issue" in levels else "tip" if "tip" in levels else "passed"
        yield _check(
            page, f"calibration-{key}", level,
            (f"Probabilities of {name} are calibrated",
             f"Probabilities of {name} are not calibrated"),
            f"They add up to {_percent(off)} against the reference area (within "
            f"{words.share(AREA[0])} passes), and differ from the observed share of landslides by "
            f"{words.number(gap)} on average (up to {words.number(CALIBRATION_GAP[0])} passes).",
            "Masks do not depend on this; areas and risks computed from probabilities do.",
        )  # fmt: skip


def _area(source: RunSource) -> Iterator[Check]:
    """The mapped area against the reference; without masks, its share against training."""
    for page, key, name, row, _ in scored_rows(source):
        real = row["tp"] + row["fn"]
        if page in ("pixel", "unet") or not real:
            continue
        off = (row["tp"] + row["fp"]) / real - 1
        yield _check(
            page, f"area-{key}", _level(abs(off), AREA),
            (f"Mapped area of {name} is that of the reference",
             f"Mapped area of {name} is {'larger' if off > 0 else 'smaller'} than the reference"),
            f"{_percent(off)} against the reference; within {words.share(AREA[0])} passes.",
            "F1 weighs both errors; an area wants precision and recall to be equal. Correct for "
            "it, or choose another threshold, before you report an area.",
        )  # fmt: skip
    base = source.summary("data/train").get("prevalence")
    for split in source.predicted:
        share = source.summary(f"predict/{split}/result").get("predicted_share")
        if share is None or not base or f"predict/{split}/scores" in source:
            continue
        ratio = max(share, 1e-9) / base
        yield _check(
            f"prediction-{split}", f"area-{split}",
            _level(max(ratio, 1 / ratio), SHARE_RATIO),
            (f"Mapped area of {split} is plausible", f"Mapped area of {split} is unusual"),
            f"{words.share(share)} of the pixels are predicted, {words.share(base)} are landslide "
            f"in training; a factor of {SHARE_RATIO[0]:.0f} passes.",
            "The place may be unlike the training scenes: look at the tiles before you use it.",
        )  # fmt: skip


def _blocks(source: RunSource) -> Iterator[Check]:
    """Intervals need blocks: once for all out-of-fold scores, which share theirs, and by split."""
    rows = {page: (key, row) for page, key, _, row, _ in scored_rows(source)}
    fitted = [page for page in ("stack", "unet", "pixel") if page in rows]
    for page in fitted[:1] + [p for p in rows if p.startswith("prediction")]:
        key, row = rows[page]
        if row.get("blocks") is None:
            continue
        alone = source.summary(f"predict/{key}/scores").get("block_kind") == "tile"
        few = row["blocks"] < FEWEST_BLOCKS
        where = f"on {key}" if page.startswith("prediction") else "out-of-fold"
        yield _check(
            page, f"interval-{key}", "tip" if few or alone else "passed",
            (f"Intervals {where} resample enough blocks",
             f"No interval {where}" if few else f"Intervals {where} are too narrow"),
            f"There are {words.plural(int(row['blocks']), 'block')} of tiles; from {FEWEST_BLOCKS} "
            "an interval is printed.",
            "With fewer, nobody can tell how far a score would move elsewhere." if few
            else "Positions of the tiles are unknown, so each is resampled by itself.",
        )  # fmt: skip


def _gain(source: RunSource) -> Iterator[Check]:
    """The stack should be better than the better model, and each model should add something."""
    for stage, page, where in _places(source):
        summary = source.summary(stage)
        gains = [(g, "gain") for g in [summary.get("gain")] if g]
        gains += [(row, f"adds-{row['part']}") for row in summary.get("marginal") or []]
        for gain, key in gains:
            model = gain.get("over") or gain["part"]
            name = headline.MODEL_NAMES.get(model, model)
            over = key == "gain"
            low, high = gain["low"], gain["high"]
            known = low is not None and high is not None
            if known and low == high == 0:  # the plain mean against itself
                continue
            level: Level = "tip" if not known or low <= 0 <= high else "passed"
            level = "issue" if known and high < 0 else level
            what = f"Stacking over the {name}" if over else f"The {name} in the stack"
            worse = "worse than without" if not over else f"worse than the {name} alone"
            span = f" ({words.gain(low)} to {words.gain(high)})" if known else ""
            yield _check(
                page, f"{key}-{page}", level,
                (f"{what}: a gain {where}",
                 f"{what}: {worse if level == 'issue' else 'no gain shown'} {where}"),
                f"F1 moves by {words.gain(gain['value'])}{span}; an interval above zero passes"
                + ("." if known else ", and there are too few blocks for one."),
                f"Use the {name} alone." if over and level == "issue" else "",
            )  # fmt: skip


def _error_auc(source: RunSource) -> Iterator[Check]:
    """The uncertainty map should be high where the stack is wrong."""
    for stage, page, where in _places(source):
        told = source.summary(stage).get("uncertainty") or {}
        area = (told.get("auc") or {}).get("all")
        if area is None:
            continue
        yield _check(
            page, f"uncertainty-{page}", _level(-area, (-ERROR_AUC[0], -ERROR_AUC[1])),
            (f"The uncertainty map finds errors {where}",
             f"The uncertainty map finds errors poorly {where}"),
            f"A wrong pixel is less certain than a right one in {words.share(area)} of all pairs; "
            f"{words.share(ERROR_AUC[0])} passes, half is chance.",
            "Do not use it to choose what a person looks at.",
        )  # fmt: skip


# Predictions


def _threshold(source: RunSource) -> Iterator[Check]:
    """The threshold of the training tiles should be near the best one on a split."""
    for page, key, _, row, _ in scored_rows(source):
        if not page.startswith("prediction") or row.get("f1_best") is None:
            continue
        cost = row["f1_best"] - row["f1"]
        yield _check(
            page, f"threshold-{key}", _level(cost, THRESHOLD_COST),
            (f"The threshold holds on {key}", f"The threshold does not hold on {key}"),
            f"{words.score(row['threshold'])} is in use; the best there, "
            f"{words.score(row['threshold_best'])}, would give {words.score(cost)} more F1; up to "
            f"{THRESHOLD_COST[0]} passes.",
            "It must not be chosen on these masks; a few labelled tiles of the place may do.",
        )  # fmt: skip


def _like_training(source: RunSource) -> Iterator[Check]:
    """Tiles should be like some that the run's scores were measured on."""
    for split in source.predicted:
        told = likeness.told(source, split)
        if not told:
            continue
        yield _check(
            f"prediction-{split}", f"likeness-{split}",
            _level(told["unlike"] / told["patches"], UNLIKE),
            (f"Tiles of {split} are like those of training",
             f"Many tiles of {split} are unlike those of training"),
            f"{likeness.sentence(told)} Up to {words.share(UNLIKE[0])} passes.",
            "The file tiles.csv beside the prediction names them.",
        )  # fmt: skip


def _submission(source: RunSource) -> Iterator[Check]:
    """The file to send must have been read back."""
    for split in source.predicted:
        told = source.summary(f"predict/{split}/result").get("submission")
        if not told:
            continue
        yield _check(
            f"prediction-{split}", f"submission-{split}",
            "passed" if told.get("verified") else "issue",
            (f"Submission of {split} reads back as written",
             f"Submission of {split} was not verified"),
            f"{told['path']} holds {words.plural(int(told['files']), 'mask')}; each must be read "
            "back and equal what was written.",
            "Predict again before you send it.",
        )  # fmt: skip


def scored_rows(source: RunSource) -> Iterator[tuple[str, str, str, Mapping[str, Any], Any]]:
    """Page, key, words, row of scores and histogram of everything that was scored."""
    for model in ("pixel", "unet"):
        summary = source.summary(model)
        if summary.get("oof"):
            name = f"the {headline.MODEL_NAMES[model]}"
            yield model, model, name, summary["oof"], summary.get("histogram")
    for stage, page, _ in _places(source):
        summary = source.summary(stage)
        row = headline.ledger_row(summary, "stack")
        if row is not None:
            split = page.removeprefix("prediction-")
            name = "the stack" if page == "stack" else f"the stack on {split}"
            yield page, split, name, row, summary.get("histogram")


def _places(source: RunSource) -> list[tuple[str, str, str]]:
    """Stage, page and words of everything that the stack was scored on."""
    out = [("stack", "stack", "out-of-fold")]
    return out + [(f"predict/{s}/scores", f"prediction-{s}", f"on {s}") for s in source.predicted]


def _percent(value: float) -> str:
    return f"{100 * value:+.0f}\u202f%".replace("-", "\u2212")


CHECKS: tuple[Callable[[RunSource], Iterator[Check]], ...] = (
    _scan, _units, _copies, _degenerate, _folds, _shift, _features, _baselines,
    _training, _spread, _plateau, _calibration, _area, _blocks, _gain, _error_auc,
    _threshold, _like_training, _submission,
)  # fmt: skip
"""In the order of their numbers."""
