"""What is wrong with the data, from ``data check`` where its result was kept; copies of tiles."""

from __future__ import annotations

from typing import Any

from l4s_ensemble.errors import RunError
from l4s_ensemble.report import words
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import Column, table

CHECK_FILE = "check.json"
"""What ``data check`` found, as its ``--json`` says it, beside the stored split or in ``data/``."""

MOST_ROWS = 100

Copy = tuple[str, int, str, int]
"""Split and id of a tile, split and id of the earlier tile that holds the same."""

_COLUMNS: tuple[Column, ...] = (
    ("level", "text"), ("code", "kind", "text"), ("split", "text"), ("where", "text"),
    ("message", "found", "text"),
)  # fmt: skip


def check_result(source: RunSource) -> dict[str, Any] | None:
    """Read the kept result of ``data check``, or None.

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
                where=source.asked_last,
                allowed="what `l4s-ensemble data check --json` says",
                fix="delete it",
            )
        return found
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


def counted(rows: list[dict[str, Any]]) -> tuple[int, str]:
    """Number of errors among faults, and errors and warnings in words."""
    errors = sum(f["level"] == "error" for f in rows)
    warnings = words.plural(len(rows) - errors, "warning")
    return errors, f"{words.plural(errors, 'error')} and {warnings}"


def faults(source: RunSource) -> tuple[str, dict[str, Any]]:
    """Say how many faults ``data check`` found, and make their table, if any."""
    checked = check_result(source)
    if checked is None:
        return "The command l4s-ensemble data check scans every file for every fault.", {}
    rows = checked["faults"]
    found = counted(rows)[1] if rows else "no fault"
    text = f"The command data check read every file and found {found}."
    if not rows:
        return text, {}
    ranked = sorted(rows, key=lambda f: (f["level"] != "error", str(f.get("code"))))
    note = "Errors would stop a fit or make a score worthless; warnings are things to know."
    if len(rows) > MOST_ROWS:
        note += f" The first {MOST_ROWS} of {len(rows):,}."
    return text, {"faults": table("Faults of the data", _COLUMNS, ranked[:MOST_ROWS], note=note)}
