"""Numbered checks of a run: passed, tip or issue.

Each says what it measured, the bound it was held against, and what to do. A tip is worth knowing;
an issue means that a number of the report cannot be trusted or that the data are at fault. A check
whose input is not there is left out.
"""

from __future__ import annotations

from typing import Any

from l4s_ensemble.report.checks import data, models
from l4s_ensemble.report.checks.finding import Finding
from l4s_ensemble.report.source import RunSource


def run_checks(source: RunSource) -> list[dict[str, Any]]:
    """Make all checks that the run's stages allow.

    Returns
    -------
    list of dict
        ``number, page`` (the index shows all), ``key`` (a stable name), ``level, title`` and
        ``explanation``.
    """
    found: list[dict[str, Any]] = source.once("checks", lambda: _all(source))
    return found


def _all(source: RunSource) -> list[dict[str, Any]]:
    made: list[tuple[str, str, Finding | None]] = [
        (page, name, check(source)) for page, name, check in OF_RUN
    ]
    for split in source.predicted:
        page = f"prediction-{split}"
        made += [(page, f"{name}-{split}", check(source, split)) for name, check in OF_SPLIT]
    found: list[dict[str, Any]] = []
    for page, key, finding in made:
        if finding is not None:
            passed = finding.level == "passed"
            said = [finding.measured] if passed else [finding.measured, finding.advice]
            found.append(
                {
                    "number": len(found) + 1,
                    "page": page,
                    "key": key,
                    "level": finding.level,
                    "title": finding.titles.split(" | ")[0 if passed else 1],
                    "explanation": " ".join(filter(None, said)),
                }
            )
    return found


OF_RUN = (
    ("data", "scan", data.scan),
    ("data", "units", data.units),
    ("data", "copies", data.copies),
    ("data", "degenerate", data.degenerate),
    ("data", "leaks", data.leaks),
    ("data", "shift", data.shift),
    ("features", "finite", data.finite),
    ("features", "carry", data.carry),
    ("pixel", "baseline", models.baseline),
    ("unet", "loss", models.loss),
    ("stack", "folds", models.folds),
    ("stack", "plateau", models.plateau),
    ("stack", "calibration-stack", models.calibration),
    ("stack", "gain-stack", models.gain),
    ("stack", "interval-stack", models.blocks),
)
"""Page, key and function of each check of the fit, in the order of their numbers."""

OF_SPLIT = (
    ("baselines", models.rules),
    ("gain", models.gain),
    ("calibration", models.calibration),
    ("area", models.area),
    ("threshold", models.threshold),
    ("interval", models.blocks),
    ("uncertainty", models.uncertainty),
    ("applicability", models.applicable),
    ("submission", models.submission),
)
"""Key and function of each check of a predicted split."""
