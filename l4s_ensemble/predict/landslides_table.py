"""The table of predicted landslides: its columns, its rows as CSV, and its sums by size."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from l4s_ensemble.metrics.objects import SIZE_PX, size_of
from l4s_ensemble.predict.summary import Landslide

FORMAT = "l4s-ensemble landslides 1"
LANDSLIDES_JSON, LANDSLIDES_CSV = "landslides.json", "landslides.csv"
LEADING = 3
"""Features of a landslide that have columns of their own."""

COLUMNS = {name: field.description for name, field in Landslide.model_fields.items()}
"""Columns of ``landslides.csv``, in order, and what they mean."""


def by_size(pixels: ArrayLike, pixel_m: float) -> list[dict[str, Any]]:
    """Count landslides and their area by size.

    Parameters
    ----------
    pixels : array_like of int, shape (landslide,)
    pixel_m : float
        Edge of a pixel, metres.

    Returns
    -------
    list of dict
        ``from_px`` (inclusive), ``below_px`` (None: no limit), ``landslides``, ``area_m2``.
    """
    size = np.asarray(pixels, np.int64)
    bins = size_of(size)
    rows = []
    for k, (first, last) in enumerate(pairwise(SIZE_PX)):
        own = size[bins == k]
        rows.append(
            {
                "from_px": int(first),
                "below_px": int(last) if np.isfinite(last) else None,
                "landslides": len(own),
                "area_m2": float(own.sum()) * pixel_m**2,
            }
        )
    return rows


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write landslides as CSV: the columns of `COLUMNS` in their order, empty where not known."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_cell(row.get(key)) for key in COLUMNS])
    return out.getvalue()


def why(reason: Mapping[str, Any] | None) -> dict[str, Any]:
    """Columns that tell why; None where a landslide has no reason."""
    leading = [] if reason is None else reason["features"][:LEADING]
    out: dict[str, Any] = {"reason": None if reason is None else reason["sentence"]}
    for n in range(LEADING):
        one = leading[n] if n < len(leading) else {}
        out[f"feature_{n + 1}"] = one.get("name")
        out[f"feature_{n + 1}_log_odds"] = rounded(one.get("log_odds"))
    return out


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        return ";".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else value


def rounded(value: float | None, digits: int = 4) -> float | None:
    """Round for a file; None stays None."""
    return None if value is None else round(float(value), digits)
