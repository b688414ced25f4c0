"""Checks of the features."""

from __future__ import annotations

from collections.abc import Iterator

from l4s_ensemble.report import words
from l4s_ensemble.report.checks.check import Check
from l4s_ensemble.report.pages.features import SEPARATES, kind_of_place, rows, turning
from l4s_ensemble.report.source import RunSource

NAMED = 4
"""Features named in an explanation."""


def finite(source: RunSource) -> Iterator[Check]:
    """Every feature must be finite."""
    found = [r for r in rows(source) if r.get("nonfinite") is not None]
    if not found:
        return
    bad = [r["name"] for r in found if r["nonfinite"]]
    yield Check(
        "features", "features-finite", "issue" if bad else "passed",
        f"{words.plural(len(bad), 'feature')} not finite" if bad else "Every feature is finite",
        f"Sampled pixels without a value: {words.some(bad, NAMED)}. A model would take them for "
        "missing."
        if bad else "No sampled pixel has a feature without a value.",
    )  # fmt: skip


def carried(source: RunSource) -> Iterator[Check]:
    """What separates landslides here should do so elsewhere, from the same side."""
    kind = kind_of_place(source)
    found = [r for r in rows(source) if (r["auc_seen"] or 0) >= SEPARATES]
    if kind is None or not found:
        return
    bad = [r["name"] for r in turning(source)]
    yield Check(
        "features", "features-carry", "tip" if bad else "passed",
        f"{words.plural(len(bad), 'feature')} {'turns' if len(bad) == 1 else 'turn'} round in some "
        f"{kind}" if bad else f"What separates in one {kind} does so in the others",
        f"Of {words.plural(len(found), 'feature')} with an AUC from {SEPARATES}, {len(bad)} have "
        f"landslides on the other side in some {kind}"
        f"{': ' + words.some(bad, NAMED) if bad else ''}.",
    )  # fmt: skip
