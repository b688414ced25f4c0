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

FORMAT = "l4s-ensemble landslides 1"
LANDSLIDES_JSON, LANDSLIDES_CSV = "landslides.json", "landslides.csv"
LEADING = 3
"""Features of a landslide that have columns of their own."""

COLUMNS: dict[str, str] = {
    "id": "number of the landslide, the largest is 1",
    "tiles": "ids of the tiles it lies in, joined by ;",
    "scene": "scene of these tiles, where their places are known",
    "centre_in": "scene: rows and columns of the centre count from the scene's first tile; "
    "tile: from the corner of the tile",
    "centre_row_px": "row of the centre, pixels",
    "centre_col_px": "column of the centre, pixels",
    "pixels": "size, pixels",
    "area_m2": "size, square metres, by the pixel size of the sensor",
    "cut_by_edge": "whether it reaches a boundary beyond which nothing was predicted: it may go on",
    "mean_slope_deg": "mean slope, degrees",
    "max_slope_deg": "largest slope, degrees",
    "lowest_m": "lowest elevation, metres",
    "highest_m": "highest elevation, metres",
    "mean_probability": "mean probability of its pixels",
    "peak_probability": "largest probability of its pixels",
    "mean_uncertainty": "mean uncertainty of its pixels, 0 sure; landslides.json names the measure",
    "share_predicted_pixel": "share of its pixels that the pixel classifier alone calls, at the "
    "threshold of its own",
    "share_predicted_unet": "share of its pixels that the U-Net alone calls, at its own threshold",
    "mean_probability_pixel": "mean probability by the pixel classifier alone",
    "mean_probability_unet": "mean probability by the U-Net alone",
    "true_share": "share of its pixels that are landslide, where masks exist",
    "inside_applicability": "whether all its tiles are within the area of applicability",
    "reason": "what speaks for it and against it to the pixel classifier, log-odds",
    **{
        key: text
        for n in range(1, LEADING + 1)
        for key, text in (
            (f"feature_{n}", f"feature with contribution {n} in size"),
            (
                f"feature_{n}_log_odds",
                "what it adds to the log-odds, mean over its pixels",
            ),
        )
    },
}
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
