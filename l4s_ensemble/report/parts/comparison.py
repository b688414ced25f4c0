"""The model comparison: every model with whole landslides and seconds, and what each part adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from l4s_ensemble.report import words
from l4s_ensemble.report.figures import DASH
from l4s_ensemble.report.headline import MODEL_NAMES, name_of
from l4s_ensemble.report.page import figure
from l4s_ensemble.report.parts import scores
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import SCORES, Column, known, score_row, table

_OBJECTS: tuple[Column, ...] = (
    ("reference", "count"), ("found", "count"), ("recall", "share"), ("predicted", "count"),
    ("false", "count"), ("precision", "share"),
)  # fmt: skip
_WHOLE: tuple[Column, ...] = (
    ("model", "text"), *_OBJECTS, ("f1", "F1", "score"), ("interval", "95 % interval", "interval"),
    ("fit_s", "to fit", "seconds"), ("predict_s", "to predict", "seconds"),
)  # fmt: skip

_PANELS = (
    ("reference landslides that are found", "size of the reference landslide (hectares)",
     "recall", "found", "reference"),
    ("predicted landslides that are right", "size of the predicted landslide (hectares)",
     "precision", "false", "predicted"),
)  # fmt: skip


def tables(source: RunSource, stage: str, where: str) -> dict[str, Any]:
    """Tables of scores, of whole landslides and seconds, and of landslides by size.

    Parameters
    ----------
    stage : str
        ``stack`` or ``predict/<split>/scores``.
    where : str
        What was scored, in words.
    """
    summary = source.summary(stage)
    rows, pixel_m = summary["comparison"], source.pixel_m()
    whole = [_whole(r) for r in rows]
    by_size = next(r for r in rows if r["model"] == "stack")["objects"]["by_size"]
    return {
        "comparison": table(
            f"Each model alone, their mean, and the stack, {where}",
            [("model", "text"), *SCORES],
            [{**score_row(r), "model": name_of(r)} for r in rows],
            note="Intervals resample spatial blocks of tiles. Rows whose intervals overlap may "
            "still differ: the paired gain in the first sentence decides.",
        ),
        "whole": table(
            f"Whole landslides, and the time each model takes, {where}",
            known(_WHOLE, whole),
            whole,
            note="A predicted and a reference landslide match, one to one, where their "
            "intersection over union is at least 0.5, or 0.1 for a reference of fewer than 10 "
            "pixels. A landslide over the boundary of tiles whose places are known is one. Times "
            "are those of all folds; a joined model's hold those of its parts. A dash: not run.",
        ),
        "whole_size": table(
            f"The stack's landslides by size, {where}",
            [("size", "size (hectares)", "text"), *_OBJECTS],
            [{**r, "size": area(r, pixel_m)} for r in by_size],
            note="Reference landslides stand in the row of their own size, predicted ones in that "
            "of theirs.",
            folded=True,
        ),
    }


def figures(source: RunSource, stage: str) -> dict[str, Any]:
    """Figures of the models' scores, of what each part adds, and of landslides by size."""
    summary = source.summary(stage)
    thresholds = {r["model"]: r["threshold"] for r in summary["comparison"]}
    thresholds["stack"] = summary["threshold"]
    return scores.scored(scores.pooled(source, stage), thresholds) | {
        "adds": figure(
            "rows",
            "What joining adds over each model alone, and over their plain mean",
            "How much F1 the stack has more than each rival, on the same tiles, with a 95 % "
            "interval over blocks of tiles. Right of the line with the whole interval: a gain is "
            "shown. A rival whose row reaches the line would do as well.",
            intervals("F1 gained by the stack", _gains(summary), against=0),
        ),
        "landslides_by_size": figure(
            "lines",
            "Landslides found and false ones, by size",
            "First: of reference landslides of a size, the share that has a match. Second: of "
            "predicted ones of a size, the share that has one. Higher is better; small ones are "
            "hard for every model.",
            _by_size(summary["comparison"], source.pixel_m()),
        ),
    }


def intervals(axis: str, rows: Sequence[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
    """Panel of dots with intervals; a row has ``name, value, low, high, colour``."""
    spans = [words.gain_interval(r) for r in rows]
    own = {
        "name": "",
        "values": [r["value"] for r in rows],
        "hover": [f"interval {s}" if s else "interval unknown" for s in spans],
        **{k: [r[k] for r in rows] for k in ("low", "high", "colour")},
    }
    return {"names": [r["name"] for r in rows], "axis": axis, "series": [own], "dots": True, **more}


def area(row: Mapping[str, Any], pixel_m: float) -> str:
    """Bin of sizes (``low_px`` to ``high_px``, None: no limit) in hectares."""
    hectare = pixel_m**2 / 10_000
    low = words.number(row["low_px"] * hectare)
    if row["high_px"] is None:
        return f"≥ {low}"
    return f"{low}–{words.number((row['high_px'] + 1) * hectare)}"


def mean_sentence(summary: Mapping[str, Any]) -> str:
    """Say how the plain mean of both models compares with the stack."""
    rows = {r["model"]: {**r, "whole": r["objects"]["f1"]} for r in summary["comparison"]}
    names = (("f1", "F1"), ("average_precision", "average precision"),
             ("whole", "F1 of whole landslides"))  # fmt: skip
    both = [(name, rows["mean"][key], rows["stack"][key]) for key, name in names]
    said = [f"{n} {words.score(a)} against {words.score(b)}" for n, a, b in both
            if a is not None and b is not None]  # fmt: skip
    return f"The plain mean of both models against the stack: {', '.join(said)}."


def _whole(row: Mapping[str, Any]) -> dict[str, Any]:
    seconds = {k: row[k] for k in ("fit_s", "predict_s")}
    return {**score_row(row["objects"]), "model": name_of(row), **seconds}


def _gains(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    gain = summary["gain"]
    named = [(f"{MODEL_NAMES[gain['over']]} alone", gain, gain["over"])]
    if gain["objects"]:
        named.append(("the same, whole landslides", gain["objects"], gain["over"]))
    for part in summary["marginal"]:
        over = part["over"]
        if over != gain["over"]:
            alone = "" if over == "mean" else " alone"
            named.append((f"{MODEL_NAMES[over]}{alone}", part, over))
    return [
        {"name": name, "colour": over, **words.sigfig({k: g[k] for k in ("value", "low", "high")})}
        for name, g, over in named
    ]


def _by_size(rows: Sequence[Mapping[str, Any]], pixel_m: float) -> list[dict[str, Any]]:
    bins = [area(b, pixel_m) for b in rows[0]["objects"]["by_size"]]
    return [
        {
            "label": label, "x": bins, "axes": (axis, share), "range": [0, 1.03], "percent": True,
            "series": [
                {
                    "name": name_of(r), "colour": r["model"], "dash": DASH[r["model"]],
                    "y": words.sigfig([b[share] for b in r["objects"]["by_size"]]),
                    "hover": [f"{b[part]:,} {part} of {b[whole]:,}"
                             for b in r["objects"]["by_size"]],
                }
                for r in rows
            ],
        }
        for label, axis, share, part, whole in _PANELS
    ]  # fmt: skip
