"""From probability to mask: calibration, threshold, whether it follows a scene, clean-up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from l4s_ensemble.metrics.histogram import ScoreHistogram
from l4s_ensemble.report import words
from l4s_ensemble.report.pages.stack.ledger import known
from l4s_ensemble.report.pieces import READ_RELIABILITY, figure
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import table
from l4s_ensemble.stack.decision import prevalence

POINTS = 200
"""Of a curve over the threshold."""

_FACTORS = {0.5: "landslides half as frequent", 1.0: "as in training", 2.0: "twice as frequent"}
_MAPS = {"none": "as scored", "beta": "beta map", "isotonic": "isotonic map"}
_METHODS = {
    "em": "best expected F1, frequency estimated from the scene",
    "expected": "best expected F1 of the probabilities",
    "quantile": "same share called as in training",
    "share": "share called by the mean probability",
    "shrunk": "half way to the best expected F1",
    "unlike": "same share called, where scores are unlike those of training",
}
_STEPS = {
    "smooth": "smoothing", "guided": "guided filter", "hysteresis": "hysteresis",
    "smallest": "smallest landslide", "holes": "filling of holes",
}  # fmt: skip
_PLACES = {"unseen scene": "scenes that no model saw", "scene": "scenes", "fold": "spatial folds"}


def figures(source: RunSource) -> dict[str, Any]:
    """Figures of another prevalence, and of calibration, as far as the summary has them."""
    summary = source.summary("stack")
    decision = summary.get("decision") or {}
    out: dict[str, Any] = {}
    if at_prevalences(summary):
        out["prevalence"] = _prevalence(summary)
    calibration = decision.get("calibration") or {}
    before, after = (calibration.get(k) or {} for k in ("before", "after"))
    if before.get("reliability") and after.get("reliability"):
        kind = _MAPS.get(calibration["chosen"], calibration["chosen"])
        both = [("as scored", before)]
        both += [(f"after the {kind}", after)] if calibration["chosen"] != "none" else []
        out["calibration"] = figure(
            "corrections", "Whether the stack's probability can be believed, before and after",
            READ_RELIABILITY + " Out of fold: the map that a tile is shown with was learnt on "
            "other folds. " + _calibrated(calibration),
            [
                {"name": name, **words.sigfig(told["reliability"])} for name, told in both
            ],
        )  # fmt: skip
    return out


def tables(source: RunSource) -> dict[str, Any]:
    """Tables of prevalence, calibration, what follows a scene, and post-processing."""
    decision = source.summary("stack").get("decision") or {}
    rows = at_prevalences(source.summary("stack"))
    out: dict[str, Any] = {}
    if rows:
        out["prevalences"] = table(
            "What is lost if landslides are rarer or commoner than in training",
            [("name", "landslides", "text"), ("prevalence", "share of pixels", "share"),
             ("f1", "F1 at the threshold in use", "score"), ("f1_best", "best F1", "score"),
             ("lost", "lost", "score"), ("threshold_best", "best threshold", "score"),
             ("plateau", "plateau", "interval")],
            [
                {**r, "name": _factor(r["factor"]),
                 "plateau": [r["plateau_low"], r["plateau_high"]]}
                for r in rows
            ],
            note="The scores of either class are taken to stay as they are. The plateau is within "
            "0.01 of the best F1.",
        )  # fmt: skip
    tried = (decision.get("calibration") or {}).get("tried") or []
    if tried:
        out["calibrations"] = _calibrations(decision["calibration"])
    follow = decision.get("follow") or {}
    if follow.get("methods"):
        out["follow"] = _follow(follow)
        out["follow_places"] = _places(follow)
    steps = (decision.get("postprocess") or {}).get("tried") or []
    if steps:
        out["postprocess"] = table(
            "Post-processing that was tried",
            [("step", "step", "text"), ("on", "after", "text"),
             ("best", "its best form", "text"), ("f1", "F1", "score"),
             ("gain", "gain", "gain"), ("interval", "95 % interval", "text"),
             ("agree", "folds agree", "text"), ("kept", "kept", "text")],
            [_step_row(r) for r in steps],
            note="Each fold is cleaned as was best on the other folds, and so is its rival without "
            "the step. A step is kept where its gain's interval is above zero and the folds agree.",
        )  # fmt: skip
    return out


def sentence(source: RunSource) -> str:
    """Say how a mask is made of a probability."""
    decision = source.summary("stack").get("decision") or {}
    if not decision:
        return ""
    parts = [_calibrated(decision.get("calibration") or {})]
    lost = {r["factor"]: r["lost"] for r in at_prevalences(source.summary("stack"))}
    at = words.score(source.summary("stack").get("threshold"))
    if 0.5 in lost and 2.0 in lost:
        parts.append(
            f"The threshold is {at}; the same one loses {words.score(lost[0.5])} of F1 against the "
            f"best where landslides are half as frequent, and {words.score(lost[2.0])} where they "
            "are twice as frequent."
        )
    follow = decision.get("follow") or {}
    if follow.get("chosen"):
        parts.append(
            f"It follows the scene by {_METHODS.get(follow['chosen'], follow['chosen'])}: "
            f"{follow['why']}."
        )
    elif follow:
        parts.append(f"It does not follow the scene: {follow['why']}.")
    done = decision.get("postprocess") or {}
    kept = done.get("kept") or []
    if kept:
        parts.append(f"Post-processing kept: {', then '.join(step_words(s) for s in kept)}.")
    elif done:
        tried = len({r["step"] for r in done.get("tried") or []})
        parts.append(
            f"No post-processing: {done['reason']}." if done.get("reason")
            else f"No post-processing: none of {words.plural(tried, 'kind')} that were tried is "
            "shown to help."
        )  # fmt: skip
    return " ".join(p for p in parts if p)


def at_prevalences(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the threshold in use is worth at other prevalences; empty in an older run.

    Reckoned from the final probabilities, for the decision's own rows are from before its steps.
    """
    told = (summary.get("decision") or {}).get("prevalence") or []
    if not told or not summary.get("histogram"):
        return []
    histogram = ScoreHistogram.from_dict(dict(summary["histogram"]))
    return prevalence.rows(histogram, summary["threshold"], [r["factor"] for r in told])


def step_words(step: Mapping[str, Any]) -> str:
    """A step and its parameters, ``smallest landslide (pixels 16, spare edge)``."""
    name = _STEPS.get(str(step.get("name")), str(step.get("name")))
    told = _form({k: v for k, v in step.items() if k != "name"})
    return f"{name} ({told})" if told else name


def _prevalence(summary: Mapping[str, Any]) -> dict[str, Any]:
    histogram = ScoreHistogram.from_dict(dict(summary["histogram"]))
    rows = at_prevalences(summary)
    now = rows[0]["prevalence"] / rows[0]["factor"]
    every = max(1, histogram.bins // POINTS)
    threshold = [round(k / histogram.bins, 4) for k in range(0, histogram.bins, every)]
    curves = []
    for r in rows:
        curve = prevalence.f1_curve(histogram, prevalence.weight_of(now, r["prevalence"]))[::every]
        curves.append(
            {
                "name": _factor(r["factor"]),
                "f1": words.sigfig(curve.tolist()),
                "best": words.sigfig([r["threshold_best"], r["f1_best"]]),
            }
        )
    return figure(
        "prevalence",
        "F1 where landslides are rarer or commoner",
        "Each line is F1 over the threshold if landslides were so frequent and looked the same. "
        "Diamonds mark the best of each, the dashed line the threshold in use, the shade its "
        "plateau. The farther a diamond stands above the dashed line's crossing, the more is lost.",
        {
            "threshold": threshold,
            "curves": curves,
            "chosen": words.sigfig(float(summary["threshold"])),
            "plateau": words.sigfig(list(summary["plateau"])),
        },
    )


def _factor(factor: float) -> str:
    return _FACTORS.get(float(factor), f"{words.number(factor)} times as frequent")


def _calibrated(told: Mapping[str, Any]) -> str:
    if not told:
        return ""
    if told["chosen"] == "none":
        return "The probability is left as it is scored: no map is shown to make it truer."
    before, after = (told[k]["calibration_error"] for k in ("before", "after"))
    name = _MAPS.get(told["chosen"], told["chosen"])
    return (
        f"A {name} brings the mean gap between said and seen from {words.number(before)} to "
        f"{words.number(after)}."
    )


def _calibrations(told: Mapping[str, Any]) -> dict[str, Any]:
    rows = [
        {"name": _MAPS["none"], **{k: told["before"][k] for k in ("calibration_error", "log_loss")},
         "chosen": "chosen" if told["chosen"] == "none" else None}
    ]  # fmt: skip
    rows += [
        {**r, "name": _MAPS.get(r["kind"], r["kind"]),
         "interval": _span(r["saved_low"], r["saved_high"], words.number),
         "chosen": "chosen" if r["kind"] == told["chosen"] else None}
        for r in told["tried"]
    ]  # fmt: skip
    return table(
        "Maps that were tried to make probabilities true",
        [("name", "probability", "text"), ("calibration_error", "calibration error", "number"),
         ("log_loss", "log loss (nats)", "number"), ("saved", "log loss saved", "number"),
         ("interval", "95 % interval", "text"), ("chosen", "chosen", "text")],
        rows,
        note="Learnt on the other folds. A map is kept where what it saves is above zero with its "
        "interval and the calibration error falls too.",
    )  # fmt: skip


def _follow(told: Mapping[str, Any]) -> dict[str, Any]:
    place = _PLACES.get(told.get("kind", ""), "places")
    return table(
        "Thresholds that follow the scene, against the one carried over",
        [("name", "method", "text"), ("f1", "F1, followed", "score"),
         ("f1_carried", "F1, carried over", "score"), ("gain", "gain", "gain"),
         ("interval", "95 % interval", "text"), ("shown", "shown to help", "text")],
        [
            {**r, "name": _METHODS.get(r["method"], r["method"]),
             "interval": _span(r["low"], r["high"])}
            for r in told["methods"]
        ],
        note=f"Each of the {place} in turn is taken as new: it gives its scores and no mask. Shown "
        "to help: the interval is above zero and no place loses more than 0.002.",
    )  # fmt: skip


def _places(told: Mapping[str, Any]) -> dict[str, Any]:
    """The method in use, or the one that gains most, place by place."""
    rows = told["methods"]
    best = next((r for r in rows if r["method"] == told.get("chosen")), None)
    best = best or max(rows, key=lambda r: r["gain"])
    return table(
        f"Place by place: {_METHODS.get(best['method'], best['method'])}",
        known(
        [("place", told.get("kind") or "place", "text"),
         ("carried", "threshold carried over", "score"), ("threshold", "followed", "score"),
         ("threshold_best", "best there", "score"), ("f1_carried", "F1, carried over", "score"),
         ("f1_followed", "F1, followed", "score"), ("f1_best", "best F1", "score"),
         ("prior_here", "landslides, as estimated", "share"),
         ("kept_because", "not moved because", "text")],
            best["places"],
        ),
        best["places"],
        note="The best threshold of a place is known from its masks, which nobody has for a new "
        "one.",
    )  # fmt: skip


def _step_row(row: Mapping[str, Any]) -> dict[str, Any]:
    before = [_STEPS.get(s["name"], s["name"]) for s in row.get("on_top_of") or []]
    return {
        **row,
        "step": _STEPS.get(row["step"], row["step"]),
        "on": ", ".join(before) or None,
        "best": _form(row.get("chosen") or {}),
        "interval": _span(row["low"], row["high"]),
        "kept": "kept" if row["kept"] else None,
    }


def _form(parameters: Mapping[str, Any]) -> str:
    told = []
    for key, value in parameters.items():
        name = key.replace("_px", "").replace("_", " ")
        if isinstance(value, bool):
            told += [name] if value else []
        else:
            told.append(f"{name} {value if isinstance(value, str) else words.number(value)}")
    return ", ".join(told)


def _span(low: float | None, high: float | None, write: Any = words.gain) -> str | None:
    return None if low is None or high is None else f"{write(low)} to {write(high)}"
