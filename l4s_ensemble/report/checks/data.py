"""Checks of data, folds and features."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from l4s_ensemble.errors import LeakError
from l4s_ensemble.report import words
from l4s_ensemble.report.checks.finding import Finding, level_of
from l4s_ensemble.report.pages import features
from l4s_ensemble.report.parts import faults
from l4s_ensemble.report.parts.shift import LARGE, shifts
from l4s_ensemble.report.source import RunSource

if TYPE_CHECKING:
    from l4s_ensemble.scenes.folds import Folds

DEGENERATE = (0.1, 0.5)  # share of tiles
"""Share of the tiles without terrain: passed up to, tip up to."""


def scan(source: RunSource) -> Finding | None:
    """What ``data check`` found, if its result was kept with the run."""
    found = faults.check_result(source)
    if found is None:
        return None
    errors, counted = faults.counted(found["faults"])
    kinds = ", ".join(sorted({str(f["code"]) for f in found["faults"]})) or "none"
    return Finding(
        "issue" if errors else "tip" if found["faults"] else "passed",
        f"The files have no fault | The scan of the files found {counted}",
        f"The command data check read every file: {counted} (kinds: {kinds}).",
        "All are in the table below. Mend or remove files with errors before fitting.",
    )


def units(source: RunSource, split: str) -> Finding:
    """Stored values must be exact in the sensor's units."""
    summary = source.summary(f"data/{split}")
    share, inexact = summary["exact_share"], summary["inexact"]
    return Finding(
        "passed" if share >= 1 and not inexact else "issue",
        f"Units of {split} are exact | Units of {split} are not those of the sensor",
        f"{words.share(share)} of the stored values times their band's divisor are whole numbers; "
        "all are in the released files.",
        f"Not exact: {words.some([str(p) for p in inexact], 3)}. The files were resampled or "
        "rescaled, so indices and terrain may be wrong: describe them with a sensor YAML.",
    )


def copies(source: RunSource) -> Finding | None:
    """Tiles of the same content: across splits a score leaks, within one they share a fold."""
    if not source.splits:
        return None
    found = faults.copies(source)
    across = [c for c in found if c[0] != c[2]]
    some = "; ".join(f"tile {p} of {s} is tile {q} of {t}" for s, p, t, q in (across or found)[:3])
    n = words.plural(len(across or found), "tile")
    advice = "They count twice; folds keep copies together, so no score leaks."
    if across:
        advice = "A score on a split that holds training tiles is too high: take them out."
    return Finding(
        "issue" if across else "tip" if found else "passed",
        f"No tile is there twice | {n} {'in two splits' if across else 'stored twice'}",
        f"Contents were compared within and between splits: {some or 'all differ'}.",
        advice,
    )


def degenerate(source: RunSource, split: str) -> Finding:
    """Tiles without terrain."""
    summary = source.summary(f"data/{split}")
    n = len(summary["degenerate"])
    share = n / max(1, int(summary["patches"]))
    return Finding(
        level_of(share, DEGENERATE),
        f"Few tiles of {split} lack terrain | Many tiles of {split} lack terrain",
        f"{words.plural(n, 'tile')} ({words.share(share)}) with constant elevation or no slope; up "
        f"to {words.share(DEGENERATE[0])} pass. They are not fitted on.",
        "Check the elevation that these tiles were made with.",
    )


def folds(source: RunSource) -> Finding | None:
    """Folds may not share a tile, nor have neighbours on both sides."""
    folds = source.folds
    if folds is None or "data/train" not in source:
        return None
    leak = _leak_of(source, folds, [folds.train_ids(k) for k in range(folds.n_folds)])
    unknown = folds.grid == "none"
    bad = "Folds leak" if leak else "Positions of tiles are unknown"
    advice = (
        "Neighbours cannot be kept apart, so out-of-fold scores may be too high by several "
        "points. Give their positions in scenes.csv."
    )
    if leak:
        advice = (
            "Out-of-fold scores are too high: run the scenes stage again on these data, then fit "
            "again."
        )
    return Finding(
        "issue" if leak else "tip" if unknown else "passed",
        f"Folds are free of leaks | {bad}",
        leak
        or "In every fold the training tiles share no id and no content with the held-out tiles"
        + ("." if unknown else " or their neighbours."),
        advice,
    )


def trained(source: RunSource) -> Finding | None:
    """What the pixel classifier was fitted on may not be what it was scored on."""
    folds = source.folds
    if folds is None or not {"data/train", "pixel"} <= set(source.stages):
        return None
    notes = [source.json(f"pixel/fold_{k}.json") for k in range(folds.n_folds)]
    if None in notes:
        return None
    leak = _leak_of(source, folds, [note["trained"] for note in notes if note])
    return Finding(
        "issue" if leak else "passed",
        "The pixel classifier saw only its training tiles | The pixel classifier saw tiles it must "
        "not see",
        leak
        or "The tiles recorded with each fold's model are none of those it was scored on, nor "
        "their neighbours.",
        "Its out-of-fold scores are too high: fit it again.",
    )


def _leak_of(source: RunSource, folds: Folds, trained: Iterable[Any]) -> str:
    """What the first leaking fold shares; empty where none leaks."""
    from l4s_ensemble.data.store import hashes_of

    hashes = hashes_of(source.store("train"))
    try:
        for k, ids in enumerate(trained):
            folds.check(k, ids, hashes)
    except LeakError as leak:
        return f"{leak.what}: {leak.found}."
    return ""


def shift(source: RunSource) -> Finding | None:
    """Bands of the splits to predict should have about the medians of training."""
    found = shifts(source)
    if not found:
        return None
    most = found[0]
    return Finding(
        "passed" if abs(most["shift"]) <= LARGE else "tip",
        "Bands of the splits are alike | Bands of the splits differ",
        f"The median that lies farthest from training is {most['band']} in {most['split']}, "
        f"{words.signed(most['shift'])} interquartile ranges; up to {words.number(LARGE)} passes.",
        "Scores measured on one may not hold on the other: see the map of shifts.",
    )


def finite(source: RunSource) -> Finding | None:
    """Features must be finite."""
    found = features.rows(source)
    if not found:
        return None
    bad = [r["name"] for r in found if r["nonfinite"]]
    return Finding(
        "issue" if bad else "passed",
        f"Every feature is finite | {words.plural(len(bad), 'feature')} not finite",
        f"{len(bad)} of {words.plural(len(found), 'feature')} have sampled pixels without a "
        "value; none should.",
        f"Leave them out with features.exclude: {words.some(bad, 4)}.",
    )


def carry(source: RunSource) -> Finding | None:
    """What separates here should do so elsewhere."""
    kind = features.kind_of_place(source)
    strong = [r for r in features.rows(source) if (r["auc_seen"] or 0) >= features.SEPARATES]
    if kind is None or not strong:
        return None
    turned = [r["name"] for r in features.turning(source)]
    separate = "separates" if len(turned) == 1 else "separate"
    return Finding(
        "tip" if turned else "passed",
        f"What separates in one {kind} does so in the others | "
        f"{words.plural(len(turned), 'feature')} {separate} the other way in some {kind}",
        f"Of {words.plural(len(strong), 'feature')} with an AUC from {features.SEPARATES}, "
        f"{len(turned)} have landslides on the other side in some {kind}.",
        f"A model may learn the wrong side of them: {words.some(turned, 4)}.",
    )
