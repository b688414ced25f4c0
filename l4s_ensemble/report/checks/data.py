"""Checks of data, folds and features."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from l4s_ensemble.errors import LeakError
from l4s_ensemble.features.summary import FeaturesSummary
from l4s_ensemble.report import words
from l4s_ensemble.report.checks.finding import Finding, level_of
from l4s_ensemble.report.pages import features
from l4s_ensemble.report.parts import faults
from l4s_ensemble.report.source import RunSource

if TYPE_CHECKING:
    from l4s_ensemble.data.summary import DataSummary
    from l4s_ensemble.scenes.folds import Folds

DEGENERATE = (0.1, 0.5)
"""Share of the tiles without terrain: passed up to, tip up to."""


def scan(source: RunSource) -> Finding | None:
    """What ``data check`` found, if its result was kept with the run."""
    found = faults.check_result(source)
    if found is None:
        return None
    errors, counted = faults.counted(found)
    kinds = ", ".join(sorted({str(f["code"]) for f in found})) or "none"
    return Finding(
        "issue" if errors else "tip" if found else "passed",
        f"The files have no fault | The scan of the files found {counted}",
        f"The command data check read every file: {counted} (kinds: {kinds}).",
        "Mend or remove files with errors before fitting.",
    )


def units(source: RunSource) -> Finding | None:
    """Stored values must be exact in the sensor's units."""
    splits = _splits(source)
    if not splits:
        return None
    bad = {s: d for s, d in splits.items() if d.exact_share < 1 or d.inexact}
    least = min(d.exact_share for d in splits.values())
    files = [str(name) for d in bad.values() for name in d.inexact]
    return Finding(
        "issue" if bad else "passed",
        f"Values are exact in the sensor's units | Values of {', '.join(bad)} are not exact",
        f"At least {words.share(least)} of the stored values of each split times their band's "
        "divisor are whole numbers; all are in the released files.",
        f"Not exact: {words.some(files, 3)}. The files were resampled or rescaled, so indices and "
        "terrain may be wrong: describe them with a sensor YAML.",
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


def degenerate(source: RunSource) -> Finding | None:
    """Tiles without terrain."""
    shares = {s: len(d.degenerate) / max(1, d.patches) for s, d in _splits(source).items()}
    if not shares:
        return None
    worst = max(shares, key=lambda s: shares[s])
    return Finding(
        level_of(shares[worst], DEGENERATE),
        f"Few tiles lack terrain | Many tiles of {worst} lack terrain",
        f"Constant elevation or no slope: {words.share(shares[worst])} of the tiles of {worst}, "
        f"the most of any split; up to {words.share(DEGENERATE[0])} pass. They are not fitted on.",
        "Check the elevation that these tiles were made with.",
    )


def leaks(source: RunSource) -> Finding | None:
    """Training and held-out tiles share no id, no content and no neighbours."""
    folds = source.folds
    if folds is None or "data/train" not in source:
        return None
    planned = [folds.train_ids(k) for k in range(folds.n_folds)]
    notes = [source.json(f"pixel/fold_{k}.json") for k in range(folds.n_folds)]
    trained = [note["trained"] for note in notes if note]
    leak = _leak_of(source, folds, planned) or _leak_of(source, folds, trained)
    unknown = folds.grid == "none"
    bad = "Training and held-out tiles overlap" if leak else "Positions of tiles are unknown"
    advice = (
        "Neighbours cannot be kept apart, so out-of-fold scores may be too high by several "
        "points. Give their positions in scenes.csv."
    )
    if leak:
        advice = "Out-of-fold scores are too high: run the scenes stage again, then fit again."
    return Finding(
        "issue" if leak else "tip" if unknown else "passed",
        f"Held-out tiles are apart from training tiles | {bad}",
        leak
        or "In every fold, as planned and as recorded with the pixel classifier, training tiles "
        "share no id and no content with held-out tiles"
        + ("." if unknown else " or their neighbours."),
        advice,
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
    found = faults.shifts(source)
    if not found:
        return None
    most = found[0]
    return Finding(
        "passed" if abs(most["shift"]) <= faults.LARGE else "tip",
        "Bands of the splits are alike | Bands of the splits differ",
        f"The median that lies farthest from training is {most['band']} in {most['split']}, "
        f"{words.signed(most['shift'])} interquartile ranges; up to {words.number(faults.LARGE)} "
        "passes.",
        "Scores measured on one may not hold on the other.",
    )


def finite(source: RunSource) -> Finding | None:
    """Features must be finite."""
    summary = source.get(FeaturesSummary)
    if summary is None or not summary.features:
        return None
    bad = [r.name for r in summary.features if r.nonfinite]
    return Finding(
        "issue" if bad else "passed",
        f"Every feature is finite | {words.plural(len(bad), 'feature')} not finite",
        f"{len(bad)} of {words.plural(len(summary.features), 'feature')} have sampled pixels "
        "without a value; none should.",
        f"Leave them out with features.exclude: {words.some(bad, 4)}.",
    )


def carry(source: RunSource) -> Finding | None:
    """What separates here should do so elsewhere."""
    summary = source.get(FeaturesSummary)
    kind = features.kind_of_place(summary) if summary else None
    if summary is None or kind is None or not features.strong(summary):
        return None
    turned, strong = (f(summary) for f in (features.turning, features.strong))
    separate = "separates" if len(turned) == 1 else "separate"
    return Finding(
        "tip" if turned else "passed",
        f"What separates in one {kind} does so in the others | "
        f"{words.plural(len(turned), 'feature')} {separate} the other way in some {kind}",
        f"Of {words.plural(len(strong), 'feature')} with an AUC from {features.SEPARATES}, "
        f"{len(turned)} have landslides on the other side in some {kind}; none should.",
        f"A model may learn the wrong side of them: {words.some([r.name for r in turned], 4)}.",
    )


def _splits(source: RunSource) -> dict[str, DataSummary]:
    return {s: d for s in source.splits if (d := source.data(s))}
