"""The model comparison: every model, whole landslides, and what each part adds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from l4s_ensemble.metrics.histogram import ScoreHistogram
from l4s_ensemble.metrics.summary import ObjectsOfSize
from l4s_ensemble.predict.summary import ScoresSummary
from l4s_ensemble.report import headline, words
from l4s_ensemble.report.figures import DASH
from l4s_ensemble.report.headline import MODEL_NAMES, name_of
from l4s_ensemble.report.page import figure
from l4s_ensemble.report.parts.scores import intervals, scored
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import SCORES, Column, score_row, table
from l4s_ensemble.stack.summary import ModelRow, StackSummary

_OBJECTS: tuple[Column, ...] = (
    ("reference", "in the reference", "count"), ("found", "matched", "count"), ("recall", "share"),
    ("predicted", "mapped", "count"), ("false", "not matched", "count"), ("precision", "share"),
)  # fmt: skip
_PANELS = (
    ("reference landslides that are matched", "size of the reference landslide (hectares)",
     "recall", "reference"),
    ("mapped landslides that are matched", "size of the mapped landslide (hectares)",
     "precision", "predicted"),
)  # fmt: skip

Summary = StackSummary | ScoresSummary


def histograms(source: RunSource, stage: str, summary: Summary) -> dict[str, ScoreHistogram]:
    """Pooled histograms of the models of a comparison."""
    models = [row.model for row in summary.comparison]
    return {m: source.tiles(stage, f"tiles_{m}.npz").pooled() for m in models}


def tables(source: RunSource, summary: Summary, where: str) -> dict[str, Any]:
    """Tables of scores, of whole landslides, and of landslides by size; `where` in words."""
    rows, pixel_m = summary.comparison, source.pixel_m()
    stack = headline.stack_row(summary).objects
    bins = stack.by_size if stack else []
    return {
        "comparison": table(
            f"Simple rules, each model alone, their mean, and the stack, {where}",
            [("model", "text"), *SCORES],
            [
                *({**score_row(b), "model": f"{b.name} ({b.rule})"} for b in summary.baselines),
                *({**score_row(r), "model": name_of(r.model, r.adapted_to)} for r in rows),
            ],
            note="Rows whose intervals overlap may still differ: the paired gain decides.",
        ),
        "whole": table(
            f"Whole landslides, {where}",
            [
                ("model", "text"),
                *_OBJECTS,
                ("f1", "F1", "score"),
                ("interval", "95 % interval", "interval"),
            ],
            [
                {**score_row(r.objects), "model": name_of(r.model, r.adapted_to)}
                for r in rows
                if r.objects
            ],
            note="Matched: one to one, with an intersection over union of at least 0.5, or "
            "0.1 for a reference of fewer than 10 pixels. A landslide over the boundary of tiles "
            "whose places are known is one.",
        ),
        "whole_size": table(
            f"The stack's landslides by size, {where}",
            [("size", "size (hectares)", "text"), *_OBJECTS],
            [{**r.model_dump(), "size": size(r, pixel_m)} for r in bins],
        ),
    }


def figures(source: RunSource, stage: str, summary: Summary) -> dict[str, Any]:
    """Figures of the models' scores, of what each part adds, and of landslides by size."""
    thresholds = {r.model: r.threshold for r in summary.comparison} | {"stack": summary.threshold}
    return scored(histograms(source, stage, summary), thresholds) | {
        "adds": figure(
            "rows",
            "What combining adds, on the same tiles",
            "F1 that the stack has more than each model alone and than their plain mean. A gain is "
            "shown where the whole 95\u202f% interval over blocks of tiles is right of the line.",
            intervals("F1 gained by the stack", _gains(summary), against=0),
        ),
        "by_size": figure(
            "lines",
            "Landslides that are matched, by size",
            "Of reference landslides of a size, the share that has a match; of mapped ones of a "
            "size, the share that has one.",
            _by_size(summary.comparison, source.pixel_m()),
        ),
    }


def size(row: ObjectsOfSize, pixel_m: float) -> str:
    """Bin of sizes in hectares."""
    hectare = pixel_m**2 / 10_000
    low = words.number(row.low_px * hectare)
    if row.high_px is None:
        return f"≥ {low}"
    return f"{low}–{words.number((row.high_px + 1) * hectare)}"


def mean_sentence(summary: Summary) -> str:
    """Say how the plain mean of both models compares with the stack."""
    mean, stack = headline.row_of(summary, "mean"), headline.stack_row(summary)
    if mean is None:
        return ""
    whole = [None if r.objects is None else r.objects.f1 for r in (mean, stack)]
    both = (("F1", mean.f1, stack.f1), ("F1 of whole landslides", *whole))
    said = [f"{n} {words.score(a)} against {words.score(b)}" for n, a, b in both]
    return f"The plain mean of both models against the stack: {', '.join(said)}."


def _gains(summary: Summary) -> list[dict[str, Any]]:
    gains = (summary.gain, *(p for p in summary.marginal if p.over != summary.gain.over))
    rows = [
        {"name": f"over the {MODEL_NAMES[g.over]}", "colour": g.over, **_ends(g)} for g in gains
    ]
    if summary.gain.objects:
        whole = {"name": "the same, of whole landslides", "colour": summary.gain.over}
        rows.insert(1, {**whole, **_ends(summary.gain.objects)})
    return rows


def _ends(gain: Any) -> dict[str, Any]:
    return {k: getattr(gain, k) for k in ("value", "low", "high")}


def _by_size(rows: Sequence[ModelRow], pixel_m: float) -> list[dict[str, Any]]:
    models = [(r, r.objects.by_size) for r in rows if r.objects]
    return [
        {
            "label": label,
            "x": [size(b, pixel_m) for b in models[0][1]] if models else [],
            "axes": (axis, share),
            "range": [0, 1.03],
            "percent": True,
            "series": [
                {
                    "name": name_of(r.model, r.adapted_to),
                    "colour": r.model,
                    "dash": DASH[r.model],
                    "y": words.sigfig([getattr(b, share) for b in bins]),
                    "hover": [
                        f"{b.found if share == 'recall' else b.predicted - b.false:,} of "
                        f"{getattr(b, whole):,}"
                        for b in bins
                    ],
                }
                for r, bins in models
            ],
        }
        for label, axis, share, whole in _PANELS
    ]
