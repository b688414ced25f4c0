"""Checks of the U-Net: did it train, and which bands does it need."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from l4s_ensemble.report import words
from l4s_ensemble.report.checks.check import Check
from l4s_ensemble.report.pages.unet.progress import epochs_of, runs_of
from l4s_ensemble.report.source import RunSource

FLAT = 0.05
"""Share of the loss that the last quarter of the epochs may still take away."""

NEEDED = 0.005
"""F1 that hiding a group must cost to count as needed."""


def loss_finite(source: RunSource) -> Iterator[Check]:
    """Every loss of every epoch must be a number."""
    folds = source.summary("unet").get("folds", [])
    told = [(f["fold"], e.get("loss")) for f in folds for e in epochs_of(f)]
    if not told:
        return
    bad = sorted({k for k, loss in told if loss is None or not math.isfinite(loss)})
    yield Check(
        "unet", "finite-loss", "issue" if bad else "passed",
        "A loss is no number" if bad else "Every loss is a number",
        f"In fold {', '.join(map(str, bad))}. Lower unet.lr, or set unet.precision to float32."
        if bad else f"In all {words.plural(len(told), 'epoch')} of all folds.",
    )  # fmt: skip


def loss_settled(source: RunSource) -> Iterator[Check]:
    """At the end the loss should be flat."""
    ends = []
    for fold in source.summary("unet").get("folds", []):
        for run in runs_of(fold):
            losses = [v for v in run.get("loss", []) if v is not None]
            if len(losses) >= 4:
                before = losses[-1 - max(1, len(losses) // 4)]
                ends.append((before - losses[-1]) / before if before > 0 else 0.0)
    if not ends:
        return
    falls = float(np.mean(ends))
    falling = falls > FLAT
    yield Check(
        "unet", "settled-loss", "tip" if falling else "passed",
        "The loss was still falling" if falling else "The loss lies flat at the end",
        f"The last quarter of the epochs took away {words.share(max(falls, 0.0))} of it"
        + (": more epochs (unet.epochs) may help." if falling else ", on average over folds."),
    )  # fmt: skip


def bands_needed(source: RunSource) -> Iterator[Check]:
    """Say which groups of bands can be hidden without a loss."""
    rows = (source.summary("explain/unet").get("occlusion") or {}).get("groups") or []
    rows = [r for r in rows if not r["whole"]]
    if len(rows) < 2:
        return
    idle = [
        r["group"] for r in rows if r["loss"] < NEEDED or (r["low"] is not None and r["low"] <= 0)
    ]
    first = max(rows, key=lambda r: r["loss"])
    text = (
        f"Hiding {first['group']} costs most, {words.score(first['loss'])} of F1 on unseen tiles."
    )
    if idle:
        text += f" No loss is shown without {words.some(idle, 3)}: what others say, or nothing."
    yield Check(
        "unet", "bands-unet", "tip" if idle else "passed",
        "Some bands could be left out" if idle else "Every group of bands is needed", text,
    )  # fmt: skip
