"""How the log-odds move with a feature: partial dependence and accumulated local effects."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from l4s_ensemble.report import words
from l4s_ensemble.report.pictures.features import unit
from l4s_ensemble.report.pieces import figure
from l4s_ensemble.report.source import RunSource

TAIL = 0.15
"""How far a figure reaches beyond the inner grid, as a share of it: tails are long and empty."""


def figures(source: RunSource) -> dict[str, Any]:
    """Small figures of the telling features; none in a run without them."""
    found = source.summary("pixel").get("dependence") or {}
    rows = found.get("features") or []
    if not rows:
        return {}
    units = {r["name"]: r.get("unit", "") for r in source.summary("features").get("features", [])}
    return {
        "dependence": figure(
            "dependence",
            "How the answer moves with a feature",
            "Solid: accumulated local effect, how the log-odds change as the feature changes "
            "where pixels are (shaded: least and greatest fold). Dashed: partial dependence, all "
            "pixels given that value, even where it cannot be. Where the two differ, features "
            "lean on each other: trust the solid line. Below, where the pixels of each class are. "
            "+0.7 doubles the odds; all share one scale.",
            [_one(r, unit(units.get(r["name"], ""))) for r in rows if len(r["grid"]) > 1],
        )
    }


def _one(row: Mapping[str, Any], unit_name: str) -> dict[str, Any]:
    grid, mean = row["grid"], row["pd_mean"]
    widths = [max(b - a, 1e-12) for a, b in pairwise(grid)]
    density = {
        k: [s / w for s, w in zip(row[k], widths, strict=True)] for k in ("landslide", "other")
    }
    return {
        "name": row["name"],
        "group": row["group"],
        "unit": unit_name,
        "range": words.sigfig(_shown(grid)),
        **words.sigfig(
            {
                "grid": grid,
                **{k: row[k] for k in ("ale", "ale_low", "ale_high")},
                "pd": [v - mean for v in row["pd"]],
                **{k: [v / max(density[k]) if max(density[k]) > 0 else 0.0 for v in density[k]]
                   for k in density},
                "share": {k: row[k] for k in density},
            }
        ),
    }  # fmt: skip


def _shown(grid: list[float]) -> list[float]:
    """Part of the axis that is drawn: the outermost bins may be a hundred times as wide."""
    if len(grid) < 5:
        return [grid[0], grid[-1]]
    low, high = grid[1], grid[-2]
    more = TAIL * (high - low)
    return [max(grid[0], low - more), min(grid[-1], high + more)]
