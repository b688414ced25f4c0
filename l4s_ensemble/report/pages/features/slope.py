"""Slope as the files give it, against slope recomputed from their elevation."""

from __future__ import annotations

from typing import Any

import numpy as np

from l4s_ensemble.report import words
from l4s_ensemble.report.pages.features.alike import sample
from l4s_ensemble.report.pieces import figure
from l4s_ensemble.report.source import RunSource

GIVEN, RECOMPUTED = "slope_deg", "slope_dem_deg"

BIN_DEG = 2.0
HIGHEST_DEG = 70.0
LEAST_ROWS = 20
"""Sampled pixels of a column that has a median."""


def compared(source: RunSource) -> dict[str, Any] | None:
    """Both slopes compared on the sampled pixels; None where a sensor has only one.

    Returns
    -------
    dict or None
        ``correlation``; ``difference`` (median of recomputed less given, degrees); ``pixels``;
        ``edges`` of the bins, degrees; ``share`` (recomputed, given): share of the pixels of a
        column; ``middle``, ``p25``, ``p50``, ``p75`` of each column with enough pixels. All at
        the true share of landslides.
    """
    found: dict[str, Any] | None = source.once("slopes", lambda: _compared(source))
    return found


def _compared(source: RunSource) -> dict[str, Any] | None:
    from l4s_ensemble.features.statistics import quartiles

    rows = sample(source)
    given = rows.column(GIVEN) if rows is not None else None
    recomputed = rows.column(RECOMPUTED) if rows is not None else None
    if rows is None or given is None or recomputed is None:
        return None
    good = np.isfinite(given) & np.isfinite(recomputed)
    x, y, weight = given[good], recomputed[good], rows.weight[good]
    if len(x) < LEAST_ROWS or not (np.ptp(x) > 0 and np.ptp(y) > 0):
        return None
    edges = np.arange(0, HIGHEST_DEG + BIN_DEG, BIN_DEG)
    bins = len(edges) - 1
    row, column = (np.clip((v / BIN_DEG).astype(int), 0, bins - 1) for v in (y, x))
    count = np.bincount(row * bins + column, weight, minlength=bins * bins).reshape(bins, bins)
    share = count / np.maximum(count.sum(axis=0, keepdims=True), 1e-12)
    lines: dict[str, list[float]] = {"middle": [], "p25": [], "p50": [], "p75": []}
    for k in range(bins):
        here = column == k
        if np.count_nonzero(here) < LEAST_ROWS:
            share[:, k] = 0
            continue
        lines["middle"].append(float(edges[k] + BIN_DEG / 2))
        for name, v in zip(("p25", "p50", "p75"), quartiles(y[here], weight[here]), strict=True):
            lines[name].append(v)
    middle = quartiles((y - x).astype(np.float32), weight)[1]
    covariance = np.cov(x, y, aweights=weight)
    rho = float(covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]))
    return {
        "correlation": rho, "difference": middle, "pixels": len(x), "edges": edges.tolist(),
        "share": share.tolist(), **lines,
    }  # fmt: skip


def figures(source: RunSource) -> dict[str, Any]:
    """Draw the comparison, if there are two slopes."""
    found = compared(source)
    if found is None:
        return {}
    return {
        "slopes": figure(
            "slopes", "Slope of the files against slope recomputed from elevation",
            "Each column holds the pixels of one given slope: darker, more of them; the line is "
            "their median, the band the middle half, dashes are where both would agree. A line "
            "below the dashes on steep ground means that recomputed slopes are smoothed; scatter "
            "on flat ground, that elevation comes in whole metres. Correlation "
            f"{words.score(found['correlation'])}, median difference "
            f"{words.signed(found['difference'])}°.",
            words.sigfig(found),
        )
    }  # fmt: skip
