"""How well the uncertainty map tells errors, and what a person gains who looks where it is high."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from l4s_ensemble.report import words
from l4s_ensemble.report.pieces import figure


def figures(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Figure of what a person's look is worth; none where it was not counted."""
    rows = (summary.get("uncertainty") or {}).get("risk") or []
    if not rows:
        return {}
    return {
        "risk": figure(
            "risk",
            "What it is worth to look at the least sure pixels",
            "A person looks at so many pixels, the least sure first. The solid line is F1 of all "
            "pixels if the person is always right, the dotted one F1 of the pixels that nobody "
            "looked at, the dashed one how many of all errors are among those looked at. The "
            "steeper the solid line rises, the better the map knows where it is wrong.",
            {
                "share": [words.share(r["share"]).replace("\u202f", " ") for r in rows],
                **{k: words.sigfig([r[k] for r in rows])
                   for k in ("f1_helped", "f1_rest", "errors_seen")},
            },
        )
    }  # fmt: skip


def sentence(summary: Mapping[str, Any]) -> str:
    """Say how well the map tells errors and what a look at one pixel in a hundred is worth."""
    told = summary.get("uncertainty") or {}
    area = (told.get("auc") or {}).get("all")
    if area is None:
        return ""
    text = (
        "Uncertainty is nearness to the threshold: a wrong pixel is less sure than a right one in "
        f"{words.share(area)} of all pairs."
    )
    risk = told.get("risk") or []
    plain = next((r for r in risk if r["share"] == 0), None)
    look = next((r for r in risk if r["share"] == 0.01), None)
    if plain and look and look["f1_helped"] is not None and plain["f1_helped"] is not None:
        text += (
            f" A person who puts right the least sure {words.share(look['share'])} of all pixels "
            f"brings F1 from {words.score(plain['f1_helped'])} to {words.score(look['f1_helped'])}"
            f" and sees {words.share(look['errors_seen'])} of all errors."
        )
    return text
