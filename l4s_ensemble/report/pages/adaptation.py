"""The page of an adapted run: what was labelled, what it changed, and whether it helped."""

from __future__ import annotations

import shlex
from typing import Any

from l4s_ensemble.adapt.summary import AdaptationSummary
from l4s_ensemble.report import words
from l4s_ensemble.report.headline import MODEL_NAMES
from l4s_ensemble.report.page import Page, PageKind, figure, lines, section, stat
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import Column, table

_MODELS: tuple[Column, ...] = (
    ("name", "model", "text"), ("f1_before", "F1 before", "score"), ("f1_after", "after", "score"),
    ("gain", "gain", "gain"), ("interval", "95 % interval", "text"),
    ("average_precision_before", "average precision before", "score"),
    ("average_precision_after", "after", "score"),
    ("threshold_before", "threshold before", "score"), ("threshold_after", "after", "score"),
)  # fmt: skip
_TILES: tuple[Column, ...] = (
    ("patch", "tile", "text"), ("landslide_pixels", "landslide pixels", "count"),
    ("group", "group", "count"), ("f1_before", "F1 before", "score"),
    ("f1_after", "after", "score"),
)  # fmt: skip


def adaptation(source: RunSource, page: str) -> Page:
    """Lay the summary of the adaptation out."""
    found = source.need(AdaptationSummary)
    stack = found.models[-1]
    few = f"none: {stack.blocks} blocks" if stack.low is None else ""
    place = f"of {found.split}" if found.split else ""
    use = "Predictions of this run use the adapted models."
    if not found.in_use:
        use = "Predictions of this run use the models as they were."
    return {
        "lead": f"{found.reason[:1].upper()}{found.reason[1:]}. {use}",
        "picture": "change",
        "stats": [
            stat("labelled tiles", len(found.tiles), "count", place),
            stat("F1 of the stack before", stack.f1_before, "score", "on the labelled tiles"),
            stat("F1 after", stack.f1_after, "score", "adapted without the tile's group"),
            stat(
                "weight of the pixel classifier",
                found.weight_pixel_after,
                "share",
                f"{words.share(found.weight_pixel_before)} before",
            ),
        ],
        "figures": {"change": _change(found)},
        "tables": {
            "models": table(
                "Each model before and after",
                _MODELS,
                [
                    m.model_dump()
                    | {"name": MODEL_NAMES[m.model], "interval": few or _interval(m.low, m.high)}
                    for m in found.models
                ],
                note="On the labelled tiles. Each tile is scored by models of one fold that were "
                "adapted without its group; its threshold after is chosen without the group too.",
            ),
            "tiles": table(
                "The labelled tiles",
                _TILES,
                [t.model_dump() for t in found.tiles],
                sortable=True,
                note="F1 of the stack; none where neither mask nor prediction has a landslide.",
            ),
        },
        "blocks": {
            "lineage": lines(
                [
                    f"Adapted from {found.base}, which stays as it is.",
                    f"Labels: {found.labels}.",
                    "U-Nets were fine-tuned on the labelled tiles, the leaves of the pixel "
                    "classifiers' trees refitted; weight and thresholds were moved towards the "
                    "best of the labelled tiles, the further the more there are.",
                    "Pages of the fit show the run before the adaptation.",
                ]
            ),
        },
        "sections": [
            section("models", "Before and after", "", "models"),
            section("tiles", "Tiles", "", "tiles", folded=True),
            section("lineage", "Where these models come from", "", "lineage"),
        ],
    }


def _change(found: AdaptationSummary) -> dict[str, Any]:
    panel = {
        "names": [f"group {k + 1}" for k in range(found.groups)],
        "axis": "gain of the stack in F1",
        "series": [{"name": "gain", "values": found.gain_of_groups, "colour": "stack"}],
        "dots": True,
        "against": 0,
    }
    read = "Each group was scored by models adapted to the others. Right of zero: better."
    return figure("rows", "What the labels change, group by group", read, panel)


def _interval(low: float | None, high: float | None) -> str:
    return f"{words.signed(low)} to {words.signed(high)}"


def _commands(source: RunSource, page: str) -> list[str]:
    found = source.need(AdaptationSummary)
    if found.split is None:
        return []
    parts = ("--labels", found.labels, "--split", found.split, "--run", found.base)
    return [shlex.join(["l4s-ensemble", "adapt", *parts, "--out", str(source.run)])]


PAGE = PageKind(
    order=55,
    name="adaptation",
    title="Adaptation",
    question="Did the labels help here?",
    stages=lambda source: {"adaptation": ["adapt"]} if "adapt" in source else {},
    make=adaptation,
    commands=_commands,
)
