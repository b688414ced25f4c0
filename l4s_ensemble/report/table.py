"""Tables as plain dicts: columns say how a value is written, rows hold raw values.

Values are rounded once, where they are written: rounded before, a score of 0.57046 would be
0.571 here and 0.570 where it is not rounded before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from l4s_ensemble.report.words import KINDS

Column = tuple[str, ...]
"""Key, heading (with unit; without one it is the key), kind of number (see `words.KINDS`)."""


def table(
    title: str, columns: Iterable[Column], rows: Iterable[Mapping[str, Any]], **more: Any
) -> dict[str, Any]:
    """Make a table.

    Parameters
    ----------
    title : str
        What it shows.
    columns : iterable of Column
    rows : iterable of mapping
        Missing keys are shown as a dash.
    **more
        ``note`` (one sentence on how to read it) and ``sortable`` (by its headings).
    """
    heads = [{"key": c[0], "label": c[-2], "kind": c[-1]} for c in columns]
    for head in heads:
        if head["kind"] not in KINDS:
            raise ValueError(f"no such kind of column: {head['kind']}")
    kept = [{h["key"]: row.get(h["key"]) for h in heads} for row in rows]
    how = {"note": "", "sortable": False, **more}
    return {"title": title, "columns": heads, "rows": kept, **how}


def key_figures(pairs: Iterable[tuple[str, Any, str]]) -> dict[str, Any]:
    """Make the block of key figures (label, value, kind); those without a value are left out."""
    values = [{"label": la, "value": v, "kind": k} for la, v, k in pairs if v is not None]
    return {"kind": "key_figures", "values": values}


def known(columns: Iterable[Column], rows: Iterable[Mapping[str, Any]]) -> list[Column]:
    """Columns in which at least one row has a value."""
    listed = list(rows)
    return [c for c in columns if any(r.get(c[0]) is not None for r in listed)]


def write(value: Any, kind: str) -> str:
    """Write a value as its kind wants."""
    return KINDS[kind](value)


SCORES: tuple[Column, ...] = (
    ("f1", "F1", "score"), ("interval", "95 % interval", "interval"), ("precision", "score"),
    ("recall", "score"), ("iou", "IoU", "score"), ("threshold", "score"),
    ("average_precision", "average precision", "score"),
)  # fmt: skip
"""Columns of a row of scores, see `score_row`."""


def score_row(row: Any) -> dict[str, Any]:
    """Row of scores (a summary with ``f1_low`` and ``f1_high``), its interval as one value."""
    ends = [row.f1_low, row.f1_high]
    return {**row.model_dump(exclude={"objects"}), "interval": None if None in ends else ends}
