"""How well the uncertainty finds errors, and what a look at the least certain pixels is worth."""

from __future__ import annotations

from typing import Any

from l4s_ensemble.metrics.summary import Uncertainty
from l4s_ensemble.report import words
from l4s_ensemble.report.page import figure
from l4s_ensemble.report.parts.scores import series

_LINES = (
    ("f1_helped", "F1 of all, if the person is right", "stack", "solid"),
    ("f1_rest", "F1 of what is left to the model", "unet", "dot"),
    ("errors_seen", "share of all errors that the person sees", "pixel", "dash"),
)


def figures(found: Uncertainty) -> dict[str, Any]:
    """Figure of what a person's look is worth."""
    rows = found.risk
    panel = {
        "x": [words.share(r.share).replace("\u202f", " ") for r in rows],
        "axes": ("share of all pixels that a person looks at, the least certain", "F1, share"),
        "range": [0, 1.03],
        "series": series(
            {k: words.sigfig([getattr(r, k) for r in rows]) for k, *_ in _LINES}, _LINES
        ),
    }
    read = (
        "A person looks at the least certain pixels first and is always right. The steeper the "
        "solid line rises, the better the uncertainty finds errors."
    )
    title = "What it is worth to look at the least certain pixels"
    return {"risk": figure("lines", title, read, panel)}


def sentence(found: Uncertainty) -> str:
    """Say how well it finds errors, and what a look at one pixel in a hundred is worth."""
    area = found.auc["all"]
    if area is None:
        return ""
    text = (
        "Uncertainty is nearness to the threshold: a wrong pixel is less certain than a right one "
        f"in {words.share(area)} of all pairs."
    )
    rows = {r.share: r for r in found.risk if r.f1_helped is not None}
    if {0, 0.01} <= set(rows):
        plain, look = (words.score(rows[share].f1_helped) for share in (0, 0.01))
        text += (
            f" A person who puts right the least certain {words.share(0.01)} of all pixels brings "
            f"F1 from {plain} to {look} and sees {words.share(rows[0.01].errors_seen)} of all "
            "errors."
        )
    return text
