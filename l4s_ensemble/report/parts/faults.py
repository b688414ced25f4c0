"""What is wrong with the data: faults of files, copies of tiles, and bands that moved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from l4s_ensemble.data.summary import BandSummary
from l4s_ensemble.errors import RunError
from l4s_ensemble.report import words
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import Column, table

CHECK_FILE = "check.json"
"""What ``data check`` found, as its ``--json`` says it, beside the stored split or in ``data/``."""

MOST_ROWS, MOST_SHIFTS = 12, 6

LARGE = 1.0
"""Standardised shift from which a band is flagged."""

Copy = tuple[str, int, str, int]
"""Split and id of a tile, split and id of the earlier tile that holds the same."""

_FAULTS: tuple[Column, ...] = (
    ("level", "text"), ("code", "kind", "text"), ("split", "text"), ("where", "text"),
    ("message", "found", "text"),
)  # fmt: skip
_SHIFTS: tuple[Column, ...] = (
    ("split", "text"), ("band", "text"), ("p50", "median", "number"),
    ("p50_train", "median of training", "number"), ("shift", "shift (IQR)", "signed"),
)  # fmt: skip


def check_result(source: RunSource) -> list[Mapping[str, Any]] | None:
    """Faults that ``data check`` found; None where its result was not kept.

    Raises
    ------
    RunError
        If the file is damaged.
    """
    for folder in ("data", *(f"data/{s}" for s in source.splits)):
        found = source.json(f"{folder}/{CHECK_FILE}")
        if found is None:
            continue
        if not isinstance(found.get("faults"), list):
            raise RunError(
                "a file of the run is damaged",
                where=source.run / folder / CHECK_FILE,
                allowed="what `l4s-ensemble data check --json` says",
                fix="delete it",
            )
        return list(found["faults"])
    return None


def copies(source: RunSource) -> list[Copy]:
    """Tiles of the stored splits with the same content as an earlier tile."""
    from l4s_ensemble.data.store import hashes_of

    first: dict[str, tuple[str, int]] = {}
    found = []
    for split in source.splits:
        for patch, content in hashes_of(source.store(split)).items():
            other = first.setdefault(content, (split, patch))
            if other != (split, patch):
                found.append((split, patch, *other))
    return found


def counted(faults: list[Mapping[str, Any]]) -> tuple[int, str]:
    """Number of errors among faults, and errors and warnings in words."""
    errors = sum(f["level"] == "error" for f in faults)
    warnings = words.plural(len(faults) - errors, "warning")
    return errors, f"{words.plural(errors, 'error')} and {warnings}"


def fault_table(source: RunSource) -> dict[str, Any]:
    """Table of the faults, errors first; empty without any."""
    faults = check_result(source)
    if not faults:
        return {}
    ranked = sorted(faults, key=lambda f: (f["level"] != "error", str(f.get("code"))))
    note = "Errors would stop a fit or make a score worthless; warnings are things to know."
    if len(faults) > MOST_ROWS:
        note += f" The first {MOST_ROWS} of {len(faults):,}; `l4s-ensemble data check` lists all."
    return {"faults": table("Faults of the files", _FAULTS, ranked[:MOST_ROWS], note=note)}


def shifts(source: RunSource) -> list[dict[str, Any]]:
    """Shift of every band of every split against training, the largest first.

    Returns
    -------
    list of dict
        ``split``, ``band``, ``p50``, ``p50_train`` and ``shift`` (see `standardised`). Empty
        without a training split; a band without a shift is left out.
    """
    train = source.data("train") if "train" in source.splits else None
    if train is None:
        return []
    of_train = {b.name: b for b in train.bands}
    rows = []
    for split in source.splits:
        data = source.data(split)
        for band in data.bands if data and split != "train" else ():
            other = of_train.get(band.name)
            shift = None if other is None else standardised(band, other)
            if other is not None and shift is not None:
                both = {"p50": band.p50, "p50_train": other.p50}
                rows.append({"split": split, "band": band.name, **both, "shift": shift})
    return sorted(rows, key=lambda r: -abs(r["shift"]))


def standardised(one: BandSummary, other: BandSummary) -> float | None:
    """Difference of medians over the root mean square of both interquartile ranges.

    None if neither band varies.
    """
    spread = float(np.hypot(one.p75 - one.p25, other.p75 - other.p25) / np.sqrt(2))
    step = one.p50 - other.p50
    if spread <= 0:
        return 0.0 if step == 0 else None
    return step / spread


def shift_table(source: RunSource) -> dict[str, Any]:
    """Table of the largest shifts; empty where nothing is compared."""
    rows = shifts(source)
    if not rows:
        return {}
    note = (
        "Difference of medians over the pooled interquartile range. Beyond "
        f"±{words.number(LARGE)} a model may not hold."
    )
    title = "Bands that lie farthest from training"
    return {"shifts": table(title, _SHIFTS, rows[:MOST_SHIFTS], note=note)}
