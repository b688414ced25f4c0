"""Checks of the data and the folds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from l4s_ensemble.errors import LeakError
from l4s_ensemble.report import words
from l4s_ensemble.report.check import Check
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.run.files import read_json

if TYPE_CHECKING:
    from l4s_ensemble.scenes.folds import Folds


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
