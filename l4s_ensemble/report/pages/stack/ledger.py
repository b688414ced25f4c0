"""The ledger of a stack: every model with slides and seconds, and what each part adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from l4s_ensemble.report import headline, words
from l4s_ensemble.report.pages.failures import area
from l4s_ensemble.report.pieces import figure, ledger_table
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import table

_LINES = headline.MODEL_NAMES
"""Models with a colour of their own."""


def tables(source: RunSource, stage: str, where: str) -> dict[str, Any]:
    """Tables of scores, of slides and seconds, and of slides by size.

    Parameters
    ----------
    stage : str
        ``stack`` or ``predict/<split>/scores``.
    where : str
        What was scored, in words.
    """
    summary = source.summary(stage)
    rows = summary.get("ledger") or []
    out = {"ledger": ledger_table(rows, where)}
    told_rows = [_whole(r) for r in rows if r.get("objects") or r.get("fit_s") is not None]
    if told_rows:
        out["whole"] = table(
            f"Whole landslides, and the time each model takes, {where}",
            known(
                [("model", "model", "text"), ("reference", "reference", "count"),
                 ("found", "found", "count"), ("recall", "recall", "share"),
                 ("predicted", "predicted", "count"), ("false", "false", "count"),
                 ("precision", "precision", "share"), ("f1", "F1", "score"),
                 ("interval", "95 % interval", "interval"), ("fit_s", "to fit", "seconds"),
                 ("predict_s", "to predict", "seconds")],
                told_rows,
            ),
            told_rows,
            note="A predicted and a reference landslide match, one to one, where their "
            "intersection over union is at least 0.5, or 0.1 for a reference of fewer than 10 "
            "pixels. A landslide over the boundary of tiles whose places are known is one. Times "
            "are those of all folds; a joined model's hold those of its parts. A dash: not "
            "counted, or not run.",
        )  # fmt: skip
    told = (headline.ledger_row(summary, "stack") or {}).get("objects")
    if told:
        pixel_m = width_m(source)
        out["whole_size"] = table(
            f"The stack's landslides by size, {where}",
            [("size", "size (hectares)", "text"), ("reference", "reference", "count"),
             ("found", "found", "count"), ("recall", "recall", "share"),
             ("predicted", "predicted", "count"), ("false", "false", "count"),
             ("precision", "precision", "share")],
            [{**r, "size": area(r["low_px"], r["high_px"], pixel_m)} for r in told["by_size"]],
            note="Reference landslides stand in the row of their own size, predicted ones in that "
            "of theirs.",
            folded=True,
        )  # fmt: skip
    return out


def figures(source: RunSource, stage: str) -> dict[str, Any]:
    """Figures of what each part adds, and of slides by size; those that the summary allows."""
    summary = source.summary(stage)
    out: dict[str, Any] = {}
    gains = _gains(summary)
    if gains:
        out["adds"] = figure(
            "intervals",
            "What joining adds over each model alone, and over their plain mean",
            "How much F1 the stack has more than each rival, on the same tiles, with a 95 % "
            "interval over blocks of tiles. Right of the line with the whole interval: a gain is "
            "shown. A rival whose row reaches the line would do as well.",
            {"axis": "F1 gained by the stack", "against": 0, "rows": gains},
        )
    panels = _by_size(summary.get("ledger") or [], width_m(source))
    if panels:
        out["slides_by_size"] = figure(
            "slides_by_size",
            "Landslides found and false ones, by size",
            "First: of reference landslides of a size, the share that has a match. Second: of "
            "predicted ones of a size, the share that has one. Higher is better; small ones are "
            "hard for every model.",
            panels,
        )
    return out


def known(
    columns: Sequence[tuple[str, str, str]], rows: Sequence[Mapping[str, Any]]
) -> list[tuple[str, str, str]]:
    """Columns in which at least one row has a value."""
    return [c for c in columns if any(r.get(c[0]) is not None for r in rows)]


def width_m(source: RunSource) -> float:
    """Width of a pixel in metres."""
    for model in ("unet", "pixel"):
        told = source.summary(model).get("failures") or {}
        if told.get("pixel_m"):
            return float(told["pixel_m"])
    return 10.0


def _whole(row: Mapping[str, Any]) -> dict[str, Any]:
    told = row.get("objects") or {}
    known = told.get("f1_low") is not None and told.get("f1_high") is not None
    return {
        **{
            k: told.get(k)
            for k in ("reference", "found", "recall", "predicted", "false", "precision", "f1")
        },
        "interval": [told["f1_low"], told["f1_high"]] if known else None,
        "model": headline.name_of(row),
        "fit_s": row.get("fit_s"),
        "predict_s": row.get("predict_s"),
    }


def _gains(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    gain = summary.get("gain")
    if gain:
        name = f"{_LINES.get(gain['over'], gain['over'])} alone"
        rows.append(_gain(name, gain, str(gain["over"])))
        if gain.get("objects"):
            rows.append(_gain("the same, whole landslides", gain["objects"], str(gain["over"])))
    for part in summary.get("marginal") or []:
        if not gain or part["over"] != gain["over"]:
            alone = "" if part["over"] == "mean" else " alone"
            name = f"{_LINES.get(part['over'], part['over'])}{alone}"
            rows.append(_gain(name, part, str(part["over"])))
    return rows


def _gain(name: str, told: Mapping[str, Any], part: str) -> dict[str, Any]:
    kept = words.sigfig({k: told[k] for k in ("value", "low", "high")})
    return {"name": name, **kept, "colour": part if part in _LINES else "mean"}


def _by_size(rows: Sequence[Mapping[str, Any]], pixel_m: float) -> list[dict[str, Any]]:
    counted = [r for r in rows if r.get("objects") and r["model"] in _LINES]
    if not counted:
        return []
    panels = []
    for label, x, y, share, part, whole in (
        ("reference landslides that are found", "size of the reference landslide (hectares)",
         "recall", "recall", "found", "reference"),
        ("predicted landslides that are right", "size of the predicted landslide (hectares)",
         "precision", "precision", "false", "predicted"),
    ):  # fmt: skip
        first = counted[0]["objects"]["by_size"]
        panels.append(
            {
                "label": label, "axis": x, "share": y,
                "bin": [area(b["low_px"], b["high_px"], pixel_m) for b in first],
                "models": [
                    {
                        "model": r["model"], "name": headline.name_of(r),
                        "share": words.sigfig([b[share] for b in r["objects"]["by_size"]]),
                        "told": [f"{b[part]:,} {part} of {b[whole]:,}"
                                 for b in r["objects"]["by_size"]],
                    }
                    for r in counted
                ],
            }
        )  # fmt: skip
    return panels


def mean_sentence(summary: Mapping[str, Any]) -> str:
    """Say how the plain mean of both models compares with the stack."""
    rows = {r["model"]: r for r in summary.get("ledger") or []}
    if not {"mean", "stack"} <= set(rows):
        return ""
    mean, stack = ({**rows[m], "whole": _whole(rows[m])["f1"]} for m in ("mean", "stack"))
    names = {
        "f1": "F1",
        "average_precision": "average precision",
        "whole": "F1 of whole landslides",
    }
    told = [
        f"{name} {words.score(mean[key])} against {words.score(stack[key])}"
        for key, name in names.items()
        if mean.get(key) is not None and stack.get(key) is not None
    ]
    return f"The plain mean of both models against the stack: {', '.join(told)}."
