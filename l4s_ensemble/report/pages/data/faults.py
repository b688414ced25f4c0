"""What is wrong with the data: from ``data check`` where its result was kept, else from the build.

``data check`` reads every file. Without it there is what building the store found on its way:
values that are no whole numbers, tiles without terrain, copies.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from l4s_ensemble.errors import RunError
from l4s_ensemble.report import words
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import table
from l4s_ensemble.run.files import read_json

CHECK_FILE = "check.json"
"""What ``data check`` found, as its ``--json`` says it, beside the stored split or in ``data/``."""

MOST_ROWS = 100
MOST_NAMED = 8

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
    """Say where the faults are from and how many there are, and make their table, if any."""
    checked = check_result(source)
    if checked is not None:
        rows = checked["faults"]
        errors = sum(f["level"] == "error" for f in rows)
        n = f"{words.plural(errors, 'error')} and {words.plural(len(rows) - errors, 'warning')}"
        text = f"The command data check read every file and found {n if rows else 'no fault'}."
    else:
        rows = list(_from_build(source))
        found = "what the table lists" if rows else "no fault"
        text = (
            f"Building the store found {found}. "
            "To scan every file for every fault: l4s-ensemble data check."
        )
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


def _from_build(source: RunSource) -> Iterator[dict[str, Any]]:
    """Faults that the stores and their summaries know of, one row a kind and split."""
    for split in source.splits:
        summary = source.summary(f"data/{split}")
        inexact = [str(p).rsplit("/", 1)[-1] for p in summary.get("inexact", [])]
        if inexact:
            text = "values are no whole numbers in the sensor's units; kept as float32"
            yield _row("units", split, inexact, text, "file")
        degenerate = [str(i) for i in summary.get("degenerate", [])]
        if degenerate:
            text = "elevation is one value or slope is zero everywhere; left out of fitting"
            yield _row("degenerate", split, degenerate, text, "tile")
    found = copies(source)
    for split in source.splits:
        within = [f"{p} = {q}" for s, p, t, q in found if s == split == t]
        if within:
            yield _row("duplicate", split, within, "same content; both go to one fold", "tile")
        across = [f"{p} = {q} of {t}" for s, p, t, q in found if s == split != t]
        if across:
            text = "same content as a tile of another split; a score here would leak"
            yield {**_row("duplicate", split, across, text, "tile"), "level": "error"}


def _row(code: str, split: str, names: list[str], text: str, one: str) -> dict[str, Any]:
    where = f"{words.plural(len(names), one)}: {words.some(names, MOST_NAMED)}"
    return {"level": "warning", "code": code, "split": split, "where": where, "message": text}
