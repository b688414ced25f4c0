"""The stack's page: what it adds, how it was chosen and decides, and why that may be believed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from l4s_ensemble.metrics.histogram import ScoreHistogram
from l4s_ensemble.report import words
from l4s_ensemble.report.headline import MODEL_NAMES
from l4s_ensemble.report.page import Page, figure, of_fit, section
from l4s_ensemble.report.parts import comparison, threshold, uncertainty
from l4s_ensemble.report.parts.scores import READ_RELIABILITY, gain_sentence
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import Column, key_figures, table
from l4s_ensemble.stack.threshold import lost_at

LEARNERS = {"plain": "plain mean", "weighted": "weighted mean"}

_MAPS = {"none": "as scored", "beta": "beta map", "isotonic": "isotonic map"}
_TRIED: tuple[Column, ...] = (
    ("name", "model", "text"), ("chosen", "text"), ("f1", "F1", "score"),
    ("behind", "best of them minus this", "gain"), ("interval", "95 % interval", "text"),
    ("calibration_error", "calibration error", "number"), ("why", "text"),
)  # fmt: skip
_RIGHT = (
    ("only_unet", "only the U-Net is right", "unet"),
    ("only_pixel", "only the pixel classifier", "pixel"),
    ("both_right", "both", "good"), ("both_wrong", "neither", "bad"),
)  # fmt: skip
"""Who is right about a pixel: key, words, colour."""


def stack(source: RunSource) -> Page:
    """Make the stack's page."""
    summary = source.summary("stack")
    figures = comparison.figures(source, "stack")
    figures |= _calibration(summary) | _agreement(summary) | uncertainty.figures(summary)
    tables = comparison.tables(source, "stack", "out-of-fold on training tiles")
    tables |= _tried(summary) | _agreement_by_size(summary, source.pixel_m())
    return {
        "lead": f"The {name_of(summary['learner'])} of both models' log-odds; "
        f"each tile is scored here by a fit on the other folds. "
        f"{gain_sentence(summary['gain'])}",
        "key_figures": _key_figures(summary),
        "figures": figures,
        "tables": tables,
        "decide": threshold.of_stage(source, "stack", "train"),
        "sections": [
            section("comparison", "Model comparison", comparison.mean_sentence(summary),
                    "comparison", "adds", "pr", "reliability"),
            section("threshold", "The threshold as a decision", "", "decide"),
            section("whole-landslides", "Whole landslides", "", "whole", "landslides_by_size",
                    "whole_size"),
            section("joined", "How they are joined", "", "key_figures", "tried"),
            section("decision", "From probability to mask", decision_sentence(summary),
                    "calibration"),
            section("agreement", "Where the two models disagree", _agreement_sentence(summary),
                    "agreement", "agreement_size"),
            section("uncertainty", "Whether uncertainty finds errors",
                    uncertainty.sentence(summary), "risk"),
            section("leaks", "Whether anything leaked", _leaks(summary)),
            section("tiles", "Tiles, the worst first", "", "gallery"),
        ],
    }  # fmt: skip


PAGE = of_fit(50, "stack", "Stack", stack)


def name_of(learner: Any) -> str:
    """A meta-learner in words."""
    return LEARNERS.get(str(learner), str(learner))


def _key_figures(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    return key_figures(
        [
            ("meta-learner", name_of(summary["learner"]), "text"),
            ("weight of the pixel classifier", summary["weight_pixel"], "share"),
            ("threshold", summary["threshold"], "score"),
            ("plateau from", summary["plateau"][0], "score"),
            ("plateau to", summary["plateau"][1], "score"),
        ]
    )


def _tried(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Table of the meta-learners that were tried."""
    rows = []
    for row in summary["learners"]:
        behind, alone = row["behind"], MODEL_NAMES.get(row["name"])
        span = words.gain_interval(behind) if behind["low"] != behind["high"] else None
        name = f"{alone} alone" if alone else name_of(row["name"])
        chosen = "chosen" if row["chosen"] else None
        more = {"name": name, "behind": behind["value"], "interval": span, "chosen": chosen}
        rows.append({**row, **more})
    note = (
        "Every learner is fitted on all folds but one and scored on that one. The simplest that "
        "is not shown to be worse than the best is taken; a gain below 0.002 does not count, nor "
        "one below 0.01 without an interval. The best of them is the best meta-learner: below "
        "zero, a base model alone beats it."
    )
    return {"tried": table("Which meta-learner, and why", _TRIED, rows, note=note)}


def _calibration(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Figure of calibration, where a map was kept."""
    found = summary["decision"]["calibration"]
    if found["chosen"] == "none":
        return {}
    drawn = (("before", "as scored", "pixel", "solid"), ("after", "after the map", "stack", "dash"))
    series = [
        {"name": name, "colour": colour, "dash": dash, **words.sigfig(found[key]["reliability"])}
        for key, name, colour, dash in drawn
    ]
    read = (
        f"{READ_RELIABILITY} Out of fold: the map that a tile is shown with was fitted on other "
        "folds."
    )
    title = "Whether the stack's probability is calibrated, before and after"
    return {"calibration": figure("reliability", title, read, {"series": series, "height": 430})}


def decision_sentence(summary: Mapping[str, Any]) -> str:
    """Say how a mask is made of a probability."""
    decision = summary["decision"]
    parts = [_calibrated(decision["calibration"])]
    histogram = ScoreHistogram.from_dict(dict(summary["histogram"]))
    lost = [lost_at(histogram, summary["threshold"], factor) for factor in (0.5, 2.0)]
    if None not in lost:
        parts.append(
            f"The threshold is {words.score(summary['threshold'])}; it loses "
            f"{words.score(lost[0])} of F1 against the best one where landslides are half as "
            f"frequent, and {words.score(lost[1])} where they are twice as frequent."
        )
    if decision["adapt_threshold"]:
        parts.append("It is adapted where the scores of a place are unlike those of training.")
    done = decision["postprocess"]
    said = f"No landslide is removed for its size: {done['reason']}."
    if done["smallest_px"]:
        said = (
            f"Landslides below {words.plural(done['smallest_px'], 'pixel')} are removed: F1 moves "
            f"by {words.gain(done['gain'])} out-of-fold."
        )
    return " ".join([*parts, said])


def _calibrated(found: Mapping[str, Any]) -> str:
    if found["chosen"] == "none":
        return "The probability is left as it is scored: no map is shown to calibrate it better."
    before, after = (words.number(found[k]["calibration_error"]) for k in ("before", "after"))
    name = _MAPS.get(found["chosen"], found["chosen"])
    return f"A {name} brings the mean gap of predicted and observed from {before} to {after}."


def _agreement(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Figure of who is right."""
    pixels = {key: summary["agreement"][key] for key, *_ in _RIGHT}
    total = max(1, sum(pixels.values()))
    series = [
        {"name": name, "colour": colour, "values": [round(pixels[key] / total, 4)],
         "told": [f"{pixels[key]:,} pixels"]}
        for key, name, colour in _RIGHT
    ]  # fmt: skip
    panel = {"names": ["pixels"], "axis": "share of these pixels", "series": series,
             "percent": True, "range": [0, 1]}  # fmt: skip
    read = (
        "Pixels that are landslide, or that either model predicts so. The stack can win only "
        "where one of the two is right."
    )
    return {"agreement": figure("rows", "Who is right where something is at stake", read, panel)}


def _agreement_by_size(summary: Mapping[str, Any], pixel_m: float) -> dict[str, Any]:
    """Table by size of the reference landslide."""
    rows = []
    for row in summary["agreement_by_size"]:
        pixels = sum(row[key] for key, *_ in _RIGHT)
        shares = {key: row[key] / pixels if pixels else None for key, *_ in _RIGHT}
        size = comparison.area(row, pixel_m)
        rows.append({"size": size, "landslides": row["landslides"], "pixels": pixels, **shares})
    columns = [
        ("size", "size (hectares)", "text"), ("landslides", "landslides", "count"),
        ("pixels", "count"), *((key, name, "share") for key, name, _ in _RIGHT),
    ]  # fmt: skip
    note = "Of the pixels of reference landslides. Out of fold, each model at its own threshold."
    title = "Who finds the pixels of landslides of a size"
    return {"agreement_size": table(title, columns, rows, note=note)}


def _agreement_sentence(summary: Mapping[str, Any]) -> str:
    """Say what each model alone finds."""
    rows = summary["agreement_by_size"]
    pixels = sum(row[key] for row in rows for key, *_ in _RIGHT)
    if not pixels:
        return ""
    unet, pixel = (
        words.share(sum(row[key] for row in rows) / pixels) for key in ("only_unet", "only_pixel")
    )
    return (
        f"Of the pixels of landslides the U-Net alone finds {unet}, the pixel classifier alone "
        f"{pixel}."
    )


def _leaks(summary: Mapping[str, Any]) -> str:
    """Say how much was looked at before the fit and what held; a leak would have stopped it."""
    found = summary["leaks"]
    bad = "; ".join(dict.fromkeys(d["said"] for d in found["details"] if not d["passed"]))
    held = f"{found['passed']} of {words.plural(found['checked'], 'thing')} that were checked hold"
    return f"{held}; not so: {bad}." if bad else f"{held}."
