"""What is wrong with the data, from ``data check`` where its result was kept; copies of tiles."""

from __future__ import annotations

from typing import Any

from l4s_ensemble.errors import RunError
from l4s_ensemble.report import words
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import table
from l4s_ensemble.run.files import read_json

CHECK_FILE = "check.json"
"""What ``data check`` found, as its ``--json`` says it, beside the stored split or in ``data/``."""

MOST_ROWS = 100

Copy = tuple[str, int, str, int]
"""Split and id of a tile, split and id of the earlier tile that holds the same."""


def check_result(source: RunSource) -> dict[str, Any] | None:
    """Read the kept result of ``data check``, or None.

    Raises
    ------
    RunError
        If the file is damaged.
    """
    base = source.run / "data"
    for path in (base / CHECK_FILE, *(base / s / CHECK_FILE for s in source.splits)):
        if path.is_file():
            found = read_json(path)
            if not isinstance(found, dict) or not isinstance(found.get("faults"), list):
                raise RunError(
                    "a file of the run is damaged", where=path,
                    allowed="what `l4s-ensemble data check --json` says", fix="delete it",
                )  # fmt: skip
            return found
    return None


def copies(source: RunSource) -> list[Copy]:
    """Tiles of the stored splits with the same content as an earlier tile."""

    def find() -> list[Copy]:
        from l4s_ensemble.data.store import hashes_of

        first: dict[str, tuple[str, int]] = {}
        found = []
        for split in source.splits:
            for patch, content in hashes_of(source.store(split)).items():
                other = first.setdefault(content, (split, patch))
                if other != (split, patch):
                    found.append((split, patch, *other))
        return found

    found: list[Copy] = source.once("copies", find)
    return found


def faults(source: RunSource) -> tuple[str, dict[str, Any] | None]:
    """Say how many faults ``data check`` found, and make their table, if any."""
    checked = check_result(source)
    if checked is None:
        return "The command l4s-ensemble data check scans every file for every fault.", None
    rows = checked["faults"]
    errors = sum(f["level"] == "error" for f in rows)
    n = f"{words.plural(errors, 'error')} and {words.plural(len(rows) - errors, 'warning')}"
    text = f"The command data check read every file and found {n if rows else 'no fault'}."
    if not rows:
        return text, None
    ranked = sorted(rows, key=lambda f: (f["level"] != "error", str(f.get("code"))))
    note = "Errors would stop a fit or make a score worthless; warnings are things to know."
    if len(rows) > MOST_ROWS:
        note += f" The first {MOST_ROWS} of {len(rows):,}."
    columns = [
        ("level", "level", "text"), ("code", "kind", "text"), ("split", "split", "text"),
        ("where", "where", "text"), ("message", "found", "text"),
    ]  # fmt: skip
    return text, table("Faults of the data", columns, ranked[:MOST_ROWS], note=note)
