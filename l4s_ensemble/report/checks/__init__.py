"""Numbered checks of a run: passed, tip or issue.

Each says what it measured, the bound it was held against, and what to do. A tip is worth knowing;
an issue means that a number of the report cannot be trusted or that the data are at fault. A check
whose input is not there is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from l4s_ensemble.report.checks import data, models
from l4s_ensemble.report.checks.finding import Finding, Place
from l4s_ensemble.report.headline import MODEL_NAMES, comparison_row
from l4s_ensemble.report.source import RunSource

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
                    "page": page,
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
        **{p: [(p, "", (source,))] for p in ("data", "features", "pixel", "unet")},
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
            row = own["oof"] if kind == "base" else comparison_row(own, "stack") or {}
            found.append(Place(kind, page, key, name, where, own, row))
    return found


CHECKS: tuple[tuple[str, str, Callable[..., Finding | None]], ...] = (
    ("scan", "data", data.scan), ("units", "split", data.units), ("copies", "data", data.copies),
    ("degenerate", "split", data.degenerate), ("folds-leak", "data", data.folds),
    ("trained-tiles", "pixel", data.trained), ("shift-splits", "data", data.shift),
    ("features-finite", "features", data.finite), ("features-carry", "features", data.carry),
    ("baseline", "pixel", models.baseline), ("loss", "unet", models.loss),
    ("spread", "scored", models.spread), ("plateau", "scored", models.plateau),
    ("calibration", "scored", models.calibration), ("area", "scored", models.area),
    ("area", "prediction", models.plausible), ("interval", "once", models.blocks),
    ("", "gain", models.gain), ("uncertainty", "stacked", models.uncertainty),
    ("threshold", "scored", models.threshold), ("applicability", "prediction", models.applicable),
    ("submission", "prediction", models.submission),
)  # fmt: skip
"""Key, kind of subject (`subjects_of`) and function, in the order of their numbers."""
