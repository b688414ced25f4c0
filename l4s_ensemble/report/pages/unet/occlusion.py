"""What the network looks at: groups of bands hidden from it."""

from __future__ import annotations

from typing import Any

from l4s_ensemble.report import words
from l4s_ensemble.report.pieces import figure
from l4s_ensemble.report.source import RunSource


def figures(source: RunSource) -> dict[str, Any]:
    """Figure of occlusion; none in a run that has not measured it."""
    found = source.summary("explain/unet").get("occlusion") or {}
    if not found.get("groups"):
        return {}
    rows = [
        {
            "name": r["group"], "channels": ", ".join(r["channels"]),
            **words.sigfig({k: r[k] for k in ("loss", "low", "high")}),
        }
        for r in found["groups"]
    ]  # fmt: skip
    return {
        "occlusion": figure(
            "occlusion",
            "What each group of bands is worth",
            f"F1 lost on {words.plural(found['tiles'], 'unseen tile')} "
            f"({found['landslide_tiles']} with landslides; F1 {words.score(found['f1'])} with "
            "nothing hidden) when a group is hidden by its mean from the first network of each "
            "fold, without averaging over symmetries. Lines are 95\u202f% intervals, "
            "spatial blocks resampled: one that touches zero shows no loss. Bands that say the "
            "same stand in for each other.",
            {"rows": rows},
        )
    }
