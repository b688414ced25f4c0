"""Where the two models disagree: by size, rim, ground, and the tiles with most of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from l4s_ensemble.report import words
from l4s_ensemble.report.pages.failures import between
from l4s_ensemble.report.pages.unet import beside as unet_beside
from l4s_ensemble.report.pieces import figure
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import table
from l4s_ensemble.stack.disagreement import KINDS, most_disagreed

MOST = 12
"""Tiles that the table names."""

_SHORT = {
    "slope_deg": ("by slope", "slope of the pixel (degrees)"),
    "dem_m": ("by elevation", "elevation of the pixel (m)"),
    "brightness": ("by brightness", "brightness (unit of the bands)"),
    "tile_edge_px": ("by distance to the edge of the tile", "distance to the edge (px)"),
}


def figures(source: RunSource) -> dict[str, Any]:
    """Figures of who is right in all, by size and rim, and by ground; as far as counted."""
    summary = source.summary("stack")
    out: dict[str, Any] = {}
    if summary.get("agreement"):
        out["agreement"] = figure(
            "agreement",
            "Who is right where something is at stake",
            "Pixels that are landslide, or that either model calls so. The stack can win only "
            "where one of the two is right.",
            summary["agreement"],
        )
    out |= unet_beside.figures(source)
    by = (summary.get("agreement_where") or {}).get("by") or []
    if by:
        out["only_where"] = figure(
            "only_one_where",
            "On what ground only one of the two is right",
            "Of the pixels of each kind that are landslide, or that either model calls so: the "
            "share that only the U-Net or only the pixel classifier gets right. Where one bar "
            "towers over the other, a stack that knows this ground can choose.",
            [_panel(b) for b in by],
        )
    return out


def tables(source: RunSource) -> dict[str, Any]:
    """Tables by size and rim, and of the tiles with most disagreement."""
    out = unet_beside.tables(source)
    tiles = (source.summary("stack").get("agreement_where") or {}).get("tiles")
    rows = most_disagreed(tiles, MOST) if tiles else []
    if rows:
        out["disagreed"] = table(
            "Tiles with most pixels that only one model gets right",
            [("patch", "tile", "text"), ("one", "only one is right (px)", "count"),
             ("only_unet", "only the U-Net", "count"),
             ("only_pixel", "only the pixel classifier", "count"),
             ("both_right", "both right", "count"), ("both_wrong", "both wrong", "count")],
            [{**r, "one": r["only_unet"] + r["only_pixel"]} for r in rows],
            note="Pixels that are landslide, or that either model calls so, out of fold.",
        )  # fmt: skip
    return out


def _panel(by: Mapping[str, Any]) -> dict[str, Any]:
    label, axis = _SHORT.get(by["key"], (f"by {by['title']}", f"{by['title']} ({by['unit']})"))
    rows: Sequence[Mapping[str, Any]] = by["rows"]
    pixels = [sum(r[k] for k in KINDS) for r in rows]
    whole = by["key"] == "tile_edge_px"
    return {
        "label": label,
        "axis": axis,
        "bin": [between(r["low"], r["high"], whole=whole) for r in rows],
        "pixels": pixels,
        **{
            k: words.sigfig([r[k] / n if n else None for r, n in zip(rows, pixels, strict=True)])
            for k in ("only_unet", "only_pixel")
        },
    }
