"""Checks of the data and the folds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from l4s_ensemble.errors import LeakError
from l4s_ensemble.report import words
from l4s_ensemble.report.checks.check import Check, Level
from l4s_ensemble.report.pages.data.faults import check_result, copies
from l4s_ensemble.report.pages.data.scenes import prevalence_rows
from l4s_ensemble.report.pages.data.shift import LARGE, LEAST_TILES, Group, groups, largest
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.run.files import read_json

if TYPE_CHECKING:
    from l4s_ensemble.scenes.folds import Folds

PREVALENCE_RATIO = 2.0
"""Largest over smallest share of landslide pixels that is worth a tip."""


def units(source: RunSource) -> Iterator[Check]:
    """Stored values must be exact in the sensor's units."""
    for split in source.splits:
        summary = source.summary(f"data/{split}")
        share, inexact = summary.get("exact_share"), summary.get("inexact", [])
        if share is None:
            continue
        if share >= 1 and not inexact:
            yield Check(
                "data", f"units-{split}", "passed", f"Units of {split} are exact",
                "Every stored value times its band's divisor is a whole number: nothing was "
                "resampled or rescaled since the release.",
            )  # fmt: skip
            continue
        some = ", ".join(str(p) for p in inexact[:3])
        more = f" and {len(inexact) - 3} more" if len(inexact) > 3 else ""
        yield Check(
            "data", f"units-{split}", "issue", f"Units of {split} are not those of the sensor",
            f"Only {words.share(share)} of the values give exact whole numbers. Not exact: "
            f"{some}{more}. "
            "These are not released files, or were resampled; indices and terrain may be wrong. "
            "Describe the files with a sensor YAML.",
        )  # fmt: skip


def degenerate(source: RunSource) -> Iterator[Check]:
    """Tiles without terrain."""
    for split in source.splits:
        summary = source.summary(f"data/{split}")
        n, total = len(summary.get("degenerate", [])), int(summary["patches"])
        share = n / total if total else 0.0
        yield Check(
            "data", f"degenerate-{split}", "tip" if share > 0.1 else "passed",
            f"{words.plural(n, 'degenerate tile') if n else 'No degenerate tile'} in {split}",
            f"{words.share(share)} of the tiles have constant elevation or no slope; they fit "
            f"nothing."
            if n else "Every tile has an elevation and a slope that vary (or the sensor has none).",
        )  # fmt: skip


def scanned(source: RunSource) -> Iterator[Check]:
    """What ``data check`` found, if its result was kept with the run."""
    found = check_result(source)
    if found is None:
        return
    errors = [f for f in found["faults"] if f["level"] == "error"]
    warnings = len(found["faults"]) - len(errors)
    level: Level = "issue" if errors else "tip" if warnings else "passed"
    kinds = ", ".join(sorted({str(f["code"]) for f in found["faults"]}))
    yield Check(
        "data", "scan", level,
        f"The scan of the files found {words.plural(len(errors), 'error')} and "
        f"{words.plural(warnings, 'warning')}" if found["faults"] else "The files have no fault",
        f"Kinds: {kinds}. All are in the table below; errors would stop a fit or make a score "
        "worthless." if found["faults"] else "The command data check read every one.",
    )  # fmt: skip


def copied(source: RunSource) -> Iterator[Check]:
    """Tiles of the same content: across splits a score leaks, within one they share a fold."""
    found = copies(source)
    across = [c for c in found if c[0] != c[2]]
    some = "; ".join(f"tile {p} of {s} is tile {q} of {t}" for s, p, t, q in (across or found)[:3])
    if across:
        yield Check(
            "data", "copies", "issue", f"{words.plural(len(across), 'tile')} in two splits",
            f"{some}. A score on a split that holds training tiles is too good: take them out.",
        )  # fmt: skip
    elif found:
        yield Check(
            "data", "copies", "tip", f"{words.plural(len(found), 'tile')} stored twice",
            f"{some}. Copies go to one fold and leave the training of that fold together, so no "
            "score leaks; but they count twice.",
        )  # fmt: skip
    else:
        yield Check(
            "data", "copies", "passed", "No tile is there twice",
            "The contents of all tiles differ, within each split and between splits.",
        )  # fmt: skip


def splits_alike(source: RunSource) -> Iterator[Check]:
    """Train and target should be alike, band by band."""
    yield from _alike(
        [g for g in groups(source) if g["kind"] in {"split", "holdout"}],
        "shift-splits", "Train and target are {}",
        "Scores from training tiles may not hold there: see the map of shifts.",
    )  # fmt: skip


def scenes_alike(source: RunSource) -> Iterator[Check]:
    """The scenes of training should be alike, or folds should leave whole scenes out."""
    yield from _alike(
        [g for g in groups(source) if g["kind"] == "scene"],
        "shift-scenes", "The scenes of training are {}",
        "A score on other tiles of the same scene says little about a new scene.",
    )  # fmt: skip


def _alike(found: list[Group], key: str, title: str, meaning: str) -> Iterator[Check]:
    moved = [(g, largest(g)) for g in found if g["versus"]]
    if not moved:
        return
    far = [(g, m) for g, m in moved if m is not None and abs(m[1]) > LARGE]
    some = "; ".join(f"{g['name']}: {band} {words.signed(by)}" for g, (band, by) in far)
    if far:
        yield Check(
            "data", key, "tip", title.format("unlike"),
            f"Medians have moved by more than {words.number(LARGE)} interquartile range against "
            f"{far[0][0]['versus']}, most of all {some}. {meaning}",
        )  # fmt: skip
        return
    name, (band, by) = max(
        ((g["name"], m) for g, m in moved if m is not None), key=lambda r: abs(r[1][1])
    )
    yield Check(
        "data", key, "passed", title.format("alike"),
        f"No band's median has moved by more than {words.number(LARGE)} interquartile range; the "
        f"largest is {band} in {name}, {words.signed(by)}.",
    )  # fmt: skip


def prevalence_alike(source: RunSource) -> Iterator[Check]:
    """A threshold chosen where slides are common fits badly where they are rare."""
    rows = [
        r for r in prevalence_rows(source)
        if r["group"] != "fold" and r["tiles"] >= LEAST_TILES and r["value"] > 0
    ]  # fmt: skip
    if len(rows) < 2:
        return
    low, high = min(rows, key=lambda r: r["value"]), max(rows, key=lambda r: r["value"])
    ratio = high["value"] / low["value"]
    told = (
        f"{words.share(low['value'])} of the pixels are landslide in {low['name']}, "
        f"{words.share(high['value'])} in {high['name']}"
    )
    far = ratio > PREVALENCE_RATIO
    yield Check(
        "data", "prevalence", "tip" if far else "passed",
        f"Landslides are {'not equally' if far else 'about equally'} common everywhere",
        f"{told}, {ratio:.1f} times as many."
        + (" A threshold chosen on one may be wrong for the other, and precision will differ."
           if far else ""),
    )  # fmt: skip


def folds_leak(source: RunSource) -> Iterator[Check]:
    """Folds must not share a tile by id, by neighbourhood or by content."""
    opened = _folds_and_hashes(source)
    if opened is None:
        return
    folds, hashes = opened
    try:
        for k in range(folds.n_folds):
            folds.check(k, folds.train_ids(k), hashes)
    except LeakError as leak:
        yield Check(
            "data", "folds-leak", "issue", "Folds leak",
            f"{leak.what}: {leak.found}. Out-of-fold scores are too good. Run the scenes stage "
            "again on these data, then fit again.",
        )  # fmt: skip
        return
    if folds.grid == "none":
        yield Check(
            "data", "folds-leak", "tip", "Nobody knows where the tiles lie",
            "Folds share no tile by id or content, but neighbours cannot be kept apart: "
            "out-of-fold scores may be too good by several points.",
        )  # fmt: skip
        return
    yield Check(
        "data", "folds-leak", "passed", "Folds are free of leaks",
        "In every fold the training tiles, the held tiles and their neighbours are disjoint, by "
        "id and by content.",
    )  # fmt: skip


def trained_tiles(source: RunSource) -> Iterator[Check]:
    """What the pixel classifier says it was trained on must be what its folds allow."""
    opened = _folds_and_hashes(source)
    if opened is None or "pixel" not in source:
        return
    folds, hashes = opened
    notes = [(k, source["pixel"].folder / f"fold_{k}.json") for k in range(folds.n_folds)]
    if not all(path.is_file() for _, path in notes):
        return
    try:
        for k, path in notes:
            folds.check(k, read_json(path)["trained"], hashes)
    except LeakError as leak:
        yield Check(
            "pixel", "trained-tiles", "issue", "The pixel classifier saw tiles it must not see",
            f"{leak.what}: {leak.found}. Its out-of-fold scores are too good. Fit it again.",
        )  # fmt: skip
        return
    yield Check(
        "pixel", "trained-tiles", "passed", "The pixel classifier saw only its training tiles",
        "The tiles written down with each fold's model are none of those it was scored on, nor "
        "their neighbours.",
    )  # fmt: skip


def _folds_and_hashes(source: RunSource) -> tuple[Folds, dict[int, str]] | None:
    if "scenes" not in source or "data/train" not in source:
        return None
    from l4s_ensemble.data.store import hashes_of
    from l4s_ensemble.scenes.folds import load_folds

    return load_folds(source["scenes"].folder), hashes_of(source.store("train"))
