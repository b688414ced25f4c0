"""What the network looks at: groups of channels hidden from it, and its effective reach."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from l4s_ensemble.report import words
from l4s_ensemble.report.pieces import figure
from l4s_ensemble.report.source import RunSource


def figures(source: RunSource) -> dict[str, Any]:
    """Figures of occlusion and of the receptive field, as far as the run has them."""
    summary = source.summary("unet")
    out: dict[str, Any] = {}
    found = summary.get("occlusion") or {}
    if found.get("groups"):
        out["occlusion"] = figure(
            "occlusion",
            "What each group of bands is worth",
            f"F1 lost on {words.plural(found['tiles'], 'unseen tile')} "
            f"({found['landslide_tiles']} with landslides; F1 {words.score(found['f1'])} with "
            "nothing hidden) when a group is hidden by its mean, or swapped with another tile's. "
            "Lines are 95\u202f% intervals, spatial blocks resampled: one that touches zero shows "
            "no loss. Bands that say the same stand in for each other.",
            {"rows": [_row(r) for r in found["groups"]]},
        )
    field = summary.get("receptive_field") or {}
    if field.get("radius_90_px") is not None and field.get("share"):
        out["field"] = figure(
            "field",
            "How far it looks",
            "Share of what moves one pixel's logit (squared gradient, all bands) within a radius "
            f"around it. Half lies within {_length(field, 'radius_50_px')}, nine tenths within "
            f"{_length(field, 'radius_90_px')}. Much smaller than a landslide: it judges by "
            "texture; as large: by shape.",
            words.sigfig(
                {
                    "radius_px": field["radius_px"],
                    "share": field["share"],
                    "marks": [[field[f"radius_{p}_px"], p / 100] for p in (50, 90)],
                    "reach_px": field.get("reach_px"),
                }
            ),
        )
    return out


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": row["group"],
        "channels": ", ".join(row["channels"]),
        "whole": row["whole"],
        **{way: words.sigfig(row[way]) for way in ("mean", "swap")},
    }


def _length(field: Mapping[str, Any], key: str) -> str:
    metres = field[key] * float(field.get("pixel_m") or 10.0)
    return f"{field[key]:.1f} px ({words.count(metres)}\u202fm)"
