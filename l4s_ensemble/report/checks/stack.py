"""Checks of the stack: is its gain real, does its decision hold, does it know where it is wrong.

That a gain is shown, that the threshold stands on a plateau and that the predicted area is
plausible are asked of every model or split alike: see `checks_models`, `checks_predictions`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from l4s_ensemble.report import headline, words
from l4s_ensemble.report.checks.check import Check, Level
from l4s_ensemble.report.pages.stack import learners as stack_learners
from l4s_ensemble.report.pages.stack import uncertainty as doubt
from l4s_ensemble.report.pages.stack.decision import lost_elsewhere
from l4s_ensemble.report.source import RunSource

LOST = (0.01, 0.03)
"""F1 lost by the threshold at half or double prevalence: passed, tip."""

AUC = (0.8, 0.65)
"""Area under the curve for error: passed, tip."""

CALIBRATION = (0.005, 0.02)
"""Mean gap between said and seen on a split: passed, tip."""

HARM = 0.005
"""F1 that the masks may lose against the threshold alone before it is worth a tip."""


def leak_free(source: RunSource) -> Iterator[Check]:
    """What the meta-learner is fitted on must share nothing with what it scores."""
    told = source.summary("stack").get("leaks")
    if not told:
        return
    bad = [d for d in told["details"] if not d["passed"]]
    found = "; ".join(dict.fromkeys(d["said"] for d in bad))
    yield Check(
        "stack", "leaks-stack", "tip" if bad else "passed",
        "The leak check has something to tell" if bad else "Nothing leaked into the stack",
        f"{found}. A leak would have stopped the fit; look at it before you claim a gain."
        if bad else f"{words.plural(told['checked'], 'thing')} were checked in every fold: tiles, "
        "their neighbours, copies, folds and seeds of both bases.",
    )  # fmt: skip


def learner_beats_bases(source: RunSource) -> Iterator[Check]:
    """No base alone should score better than the learner that joins them."""
    rows = source.summary("stack").get("learners") or []
    chosen = next((r for r in rows if r["chosen"]), None)
    if chosen is None:
        return
    name = stack_learners.name_of(chosen["name"])
    better = [
        (r, r["gain"]) for r in rows
        if stack_learners.is_base(r) and (r["gain"].get("low") or 0) > 0
    ]  # fmt: skip
    told = "; ".join(
        f"the {headline.MODEL_NAMES[r['name']]} has {words.gain(g['value'])} "
        f"({words.gain(g['low'])} to {words.gain(g['high'])})" for r, g in better
    )  # fmt: skip
    yield Check(
        "stack", "learner", "tip" if better else "passed",
        f"A base alone scores better than the {name}" if better
        else f"No base alone is shown to be better than the {name}",
        f"Against its F1 {told}, out-of-fold." if better
        else f"F1 {words.score(chosen['f1'])} out-of-fold; it is {words.text(chosen.get('why'))}.",
    )  # fmt: skip


def parts_add(source: RunSource) -> Iterator[Check]:
    """Each base should add something, here and on a split."""
    for stage, page, where in _places(source):
        for row in source.summary(stage).get("marginal") or []:
            low, high = row.get("low"), row.get("high")
            if low is None or high is None or row["part"] not in headline.MODEL_NAMES:
                continue
            part = headline.MODEL_NAMES[row["part"]]
            over = headline.MODEL_NAMES[row["over"]]
            level: Level = "passed" if low > 0 else "issue" if high < 0 else "tip"
            title = {
                "passed": f"The {part} adds to the stack {where}",
                "tip": f"The {part} is not shown to add anything {where}",
                "issue": f"The stack is better without the {part} {where}",
            }[level]  # fmt: skip
            yield Check(
                page, f"adds-{row['part']}-{page}", level, title,
                f"With it F1 moves by {words.gain(row['value'])} ({words.gain(low)} to "
                f"{words.gain(high)}) against the {over} alone.",
            )  # fmt: skip


def calibrated(source: RunSource) -> Iterator[Check]:
    """The map that makes probabilities true should not make them worse."""
    told = (source.summary("stack").get("decision") or {}).get("calibration") or {}
    if not told.get("before") or not told.get("after"):
        return
    before, after = (told[k]["calibration_error"] for k in ("before", "after"))
    level = _level(after, CALIBRATION)
    yield Check(
        "stack", "calibrated-stack", level,
        {"passed": "Probabilities of the stack hold out-of-fold",
         "tip": "Probabilities of the stack are a little off out-of-fold",
         "issue": "Probabilities of the stack do not hold out-of-fold"}[level],
        f"The mean gap between said and seen is {words.number(after)}"
        + (f", and was {words.number(before)} before a {told['chosen']} map that was learnt on "
           "other folds." if told["chosen"] != "none"
           else "; no map is shown to make it smaller."),
    )  # fmt: skip


def prevalence_moves(source: RunSource) -> Iterator[Check]:
    """The threshold should do where landslides are rarer or commoner."""
    lost = lost_elsewhere(source.summary("stack"))
    if not lost:
        return
    level = _level(max(lost.values()), LOST)
    told = "; ".join(
        f"{words.score(v)} where landslides are {words.number(f)} times as frequent"
        for f, v in lost.items()
    )
    yield Check(
        "stack", "other-prevalence", level,
        {"passed": "The threshold bears another prevalence",
         "tip": "The threshold loses a little at another prevalence",
         "issue": "The threshold does not bear another prevalence"}[level],
        f"Against the best threshold it loses {told}"
        + ("." if level == "passed" else ". Where you know how frequent landslides are, choose it "
           "anew."),
    )  # fmt: skip


def knows_errors(source: RunSource) -> Iterator[Check]:
    """The uncertainty map should be high where the stack is wrong."""
    for stage, page, where in _places(source):
        told = source.summary(stage).get("uncertainty") or {}
        area = (told.get("auc") or {}).get("all")
        if area is None:
            continue
        level: Level = "passed" if area >= AUC[0] else "tip" if area >= AUC[1] else "issue"
        yield Check(
            page, f"doubt-{page}", level,
            {"passed": f"The uncertainty map tells errors {where}",
             "tip": f"The uncertainty map tells errors roughly {where}",
             "issue": f"The uncertainty map does not tell errors {where}"}[level],
            doubt.sentence(source.summary(stage)),
        )  # fmt: skip


def masks(source: RunSource) -> Iterator[Check]:
    """Masks as handed in should not be worse than the threshold alone."""
    for split in source.predicted:
        over = (source.summary(f"predict/{split}/scores").get("masks") or {}).get("over_threshold")
        result = source.summary(f"predict/{split}/result")
        # Without a step and without following a scene there is nothing to compare.
        if not over or not (result.get("smallest_px") or result.get("follow")):
            continue
        harm = over["value"] < -HARM
        yield Check(
            f"prediction-{split}", f"masks-{split}", "tip" if harm else "passed",
            f"Masks of {split} are {'worse than' if harm else 'as good as'} the threshold alone",
            "Following the scene and removing small landslides move F1 by "
            f"{words.gain(over['value'])}"
            + (": what helped out-of-fold does not here." if harm else "."),
        )  # fmt: skip


def keeps_word(source: RunSource) -> Iterator[Check]:
    """Probabilities should hold where they were not fitted."""
    for split in source.predicted:
        scores = source.summary(f"predict/{split}/scores")
        row = headline.ledger_row(scores, "stack")
        if not row or row.get("calibration_error") is None or "reliability_of" not in scores:
            continue
        error = row["calibration_error"]
        level = _level(error, CALIBRATION)
        yield Check(
            f"prediction-{split}", f"word-{split}", level,
            {"passed": f"Probabilities of the stack hold on {split}",
             "tip": f"Probabilities of the stack are a little off on {split}",
             "issue": f"Probabilities of the stack do not hold on {split}"}[level],
            f"The mean gap between said and seen is {words.number(error)} there, on a scale where "
            f"{words.share(_landslide(row))} of the pixels are landslide.",
        )  # fmt: skip


def _places(source: RunSource) -> list[tuple[str, str, str]]:
    """Stage, page and words of everything that the stack was scored on."""
    out = [("stack", "stack", "out-of-fold")]
    return out + [(f"predict/{s}/scores", f"prediction-{s}", f"on {s}") for s in source.predicted]


def _level(value: float, bounds: tuple[float, float]) -> Level:
    """Up to the first bound passed, up to the second a tip."""
    return "passed" if value <= bounds[0] else "tip" if value <= bounds[1] else "issue"


def _landslide(row: Mapping[str, Any]) -> float | None:
    whole = sum(row[k] for k in ("tp", "fp", "fn", "tn"))
    return (row["tp"] + row["fn"]) / whole if whole else None
