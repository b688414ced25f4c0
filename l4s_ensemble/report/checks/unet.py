"""Checks of the U-Net: did it train, does its inner block tell the truth, do its seeds agree."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from l4s_ensemble.report import words
from l4s_ensemble.report.checks.check import Check, Level
from l4s_ensemble.report.pages.unet.page import inner_f1
from l4s_ensemble.report.pages.unet.progress import epochs_of, runs_of
from l4s_ensemble.report.source import RunSource

FLAT = 0.05
"""Share of the loss that the last quarter of the epochs may still take away."""

INNER_APART = 0.1
"""F1 by which the inner block may differ from the tiles held out."""

SEEDS_APART = 0.03
"""F1 between seeds that is noise on these data."""

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


def inner_agrees(source: RunSource) -> Iterator[Check]:
    """F1 on the inner block should be near that on the tiles held out."""
    rows = [
        (f["fold"], inner_f1(f), f["f1"])
        for f in source.summary("unet").get("folds", [])
        if f.get("f1") is not None and inner_f1(f) is not None
    ]
    if not rows:
        return
    inner, outer = (float(np.mean([r[i] for r in rows])) for i in (1, 2))
    apart = inner - outer
    level: Level = "passed" if abs(apart) <= INNER_APART else "tip"
    title = "Inner blocks tell what held tiles tell"
    if level == "tip":
        title = (
            "Inner blocks are easier than held tiles" if apart > 0
            else "Inner blocks are harder than held tiles"
        )  # fmt: skip
    yield Check(
        "unet", "inner-unet", level, title,
        f"Mean F1 {words.score(inner)} on the inner blocks that chose the checkpoint, "
        f"{words.score(outer)} on the tiles held out."
        + ("" if level == "passed" else " The choice may not carry over; only the second counts."),
    )  # fmt: skip


def seeds_agree(source: RunSource) -> Iterator[Check]:
    """Networks that differ by their seed should score alike."""
    told = source.summary("unet").get("seeds_alone") or {}
    if len(told.get("f1") or []) < 2:
        return
    low, high = min(told["f1"]), max(told["f1"])
    wide = high - low > SEEDS_APART
    yield Check(
        "unet", "seeds-unet", "tip" if wide else "passed",
        "Seeds differ by more than noise" if wide else "Seeds agree",
        f"Alone they reach F1 {words.score(low)} to {words.score(high)} on "
        f"{words.plural(told['tiles'], 'unseen tile')}, together {words.score(told['together'])}."
        + (" A single one is luck: keep several (unet.seeds)." if wide else ""),
    )  # fmt: skip


def bands_needed(source: RunSource) -> Iterator[Check]:
    """Say which groups of bands can be hidden without a loss."""
    rows = (source.summary("unet").get("occlusion") or {}).get("groups") or []
    rows = [r for r in rows if not r["whole"]]
    if len(rows) < 2:
        return
    idle = [
        r["group"]
        for r in rows
        if max(r["mean"]["loss"], r["swap"]["loss"]) < NEEDED
        or all(r[w]["low"] is not None and r[w]["low"] <= 0 for w in ("mean", "swap"))
    ]
    first = max(rows, key=lambda r: r["mean"]["loss"])
    text = (
        f"Hiding {first['group']} costs most, {words.score(first['mean']['loss'])} of F1 on "
        "unseen tiles."
    )
    if idle:
        text += f" No loss is shown without {words.some(idle, 3)}: what others say, or nothing."
    yield Check(
        "unet", "bands-unet", "tip" if idle else "passed",
        "Some bands could be left out" if idle else "Every group of bands is needed", text,
    )  # fmt: skip


def looks_around(source: RunSource) -> Iterator[Check]:
    """A network that looks as far as its window would like to see more."""
    field = source.summary("unet").get("receptive_field") or {}
    near, reach = field.get("radius_90_px"), field.get("reach_px")
    if near is None or not reach:
        return
    cut = near >= 0.9 * reach
    yield Check(
        "unet", "reach-unet", "tip" if cut else "passed",
        "The window cuts off what it looks at" if cut else "The window is wide enough",
        f"Nine tenths of what moves a pixel's logit lie within {near:.0f} px; the window reaches "
        f"{reach} px from the middle of a tile."
        + (" Neighbours (unet.neighbours, unet.halo_px) may help." if cut else ""),
    )  # fmt: skip
