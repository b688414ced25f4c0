"""The page of an adapted run: what was labelled, what it changed, and whether it helped."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np

from l4s_ensemble.adapt.run import TILES
from l4s_ensemble.adapt.summary import UNKNOWN_PLACES, AdaptationSummary
from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.report import words
from l4s_ensemble.report.headline import MODEL_NAMES
from l4s_ensemble.report.page import Page, PageKind, figure, lines, section, stat
from l4s_ensemble.report.pictures import draw
from l4s_ensemble.report.pictures.gallery import scale_of
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import Column, table

_MODELS: tuple[Column, ...] = (
    ("name", "model", "text"), ("f1_before", "F1 before", "score"), ("f1_after", "after", "score"),
    ("gain", "gain", "gain"), ("interval", "95 % interval", "text"),
    ("average_precision_before", "average precision before", "score"),
    ("average_precision_after", "after", "score"),
)  # fmt: skip
_DECIDED: tuple[Column, ...] = (
    ("name", "", "text"), ("before", "before", "score"), ("after", "after", "score"),
)  # fmt: skip


def adaptation(source: RunSource, page: str) -> Page:
    """Lay the summary of the adaptation out."""
    found = source.need(AdaptationSummary)
    stack, place = found.models[-1], found.split or Path(found.scene or "").name
    verdict = "The labels help" if found.helps else "It is not shown that the labels help"
    use = "predicts with the adapted models" if found.in_use else "predicts as before"
    few = f"none: {words.plural(stack.blocks, 'block')}" if stack.low is None else ""
    scored = "Each tile is scored by models of one fold that were adapted without its group; its "
    scored += "threshold after is chosen without the group too."
    if found.block_kind == "tile":
        scored += f" {UNKNOWN_PLACES[:1].upper()}{UNKNOWN_PLACES[1:]}."
    models = [
        m.model_dump() | {"name": MODEL_NAMES[m.model], "interval": few or _interval(m.low, m.high)}
        for m in found.models
    ]
    return {
        "lead": f"{verdict}, and this run {use}. {found.reason[:1].upper()}{found.reason[1:]}.",
        "picture": "change",
        "stats": [
            stat("labelled tiles", len(found.tiles), "count", f"of {place}" if place else ""),
            stat("F1 of the stack before", stack.f1_before, "score", "on the labelled tiles"),
            stat("F1 after", stack.f1_after, "score", "adapted without the tile's group"),
        ],
        "figures": {"change": _change(found), **({"curve": _curve(found)} if found.curve else {})},
        "tables": {
            "models": table("Each model on the labelled tiles", _MODELS, models),
            "decided": table("What changed in the stack", _DECIDED, _decided(found)),
        },
        "blocks": {"lineage": lines(_lineage(found)), "more": lines([_curve_command(source)])},
        "sections": [
            section("models", "Before and after", scored, "models"),
            section("tiles", "The labelled tiles", "", "gallery"),
            section("curve", "How many labels", "", "curve" if found.curve else "more"),
            section("stack", "Weight and thresholds", "", "decided"),
            section("lineage", "Where these models come from", "", "lineage"),
        ],
    }


def _change(found: AdaptationSummary) -> dict[str, Any]:
    panel = {
        "names": [f"group {k + 1}" for k in range(len(found.gain_of_groups))],
        "axis": "gain of the stack in F1",
        "series": [{"name": "gain", "values": found.gain_of_groups, "colour": "stack"}],
        "dots": True,
        "against": 0,
    }
    read = "Each group was scored by models adapted to the others. Right of zero: better."
    return figure("rows", "What the labels change, group by group", read, panel)


def _curve(found: AdaptationSummary) -> dict[str, Any]:
    ends = {"lowest draw": min, "highest draw": max}
    each = [p.average_precision for p in found.curve]
    mean = {"name": "mean of the draws", "colour": "stack", "y": [p.mean for p in found.curve]}
    others = [
        {"name": name, "colour": "axis", "dash": "dot", "y": [of(v) for v in each]}
        for name, of in ends.items()
    ]
    panel = {
        "x": [p.tiles for p in found.curve],
        "axes": ("labelled tiles", "average precision of the stack"),
        "series": [mean, *others],
    }
    read = (
        f"Models of one fold, adapted to some of the tiles and scored on others: "
        f"{words.plural(len(each[0]), 'draw')}. Where the line still rises, label more."
    )
    return figure("lines", "What more labels bring", read, panel, wide=True)


def _decided(found: AdaptationSummary) -> list[dict[str, Any]]:
    weight = {"before": found.weight_pixel_before, "after": found.weight_pixel_after}
    thresholds = [
        {
            "name": f"threshold of the {MODEL_NAMES[m.model]}",
            "before": m.threshold_before,
            "after": m.threshold_after,
        }
        for m in reversed(found.models)
    ]
    return [{"name": "weight of the pixel classifier in the stack", **weight}, *thresholds]


def _lineage(found: AdaptationSummary) -> list[str]:
    return [
        f"Adapted from {found.base}, which stays as it is.",
        f"Labels: {found.labels}.",
        "U-Nets were fine-tuned on the labelled tiles, the leaves of the pixel classifiers' trees "
        "refitted; weight and thresholds were moved towards the best of the labelled tiles, the "
        "further the more there are.",
    ]


def _curve_command(source: RunSource) -> str:
    commands = [f"{c} --curve 3" for c in _commands(source, "", "-curve")]
    how = f": {commands[0]}" if commands else " with curve=3"
    return f"Whether more labels would help is shown by adapting again{how}"


def _gallery(source: RunSource, page: str, assets: Path, drawn: set[str]) -> dict[str, Any]:
    """Draw image, reference, and errors before and after of each labelled tile."""
    found, arrays = source.need(AdaptationSummary), source.arrays("adapt", TILES)
    if arrays is None:
        return {}
    sensor = Sensor.model_validate_json(str(arrays["sensor"]))
    layers = {"colour": draw.colour_name(sensor), "reference": "label"}
    layers |= {"before": "before", "after": "after"}
    tiles = []
    for i, row in enumerate(found.tiles):
        colour = draw.true_colour(arrays["image"][i].astype(np.float32), sensor)
        reference, before, after = (
            arrays[k][i].astype(bool) for k in ("reference", "before", "after")
        )
        made = {
            "colour": colour,
            "reference": draw.reference(reference, colour),
            "before": draw.errors(before, reference, colour),
            "after": draw.errors(after, reference, colour),
        }
        files = {}
        for layer, picture in made.items():
            suffix = "webp" if layer == "colour" else "png"
            name = f"tiles/adapt-{row.patch}-{layer}.{suffix}"
            draw.save(picture, assets / name)
            drawn.add(name)
            files[layer] = f"assets/{name}"
        score = " → ".join(words.score(v) for v in (row.f1_before, row.f1_after))
        said = f"F1 {score}; {words.plural(row.landslide_pixels, 'landslide pixel')}"
        why = f". Chosen because {row.reason}." if row.reason else "."
        tiles.append(
            {
                "patch": row.patch,
                "link": None,
                "why": f"group {row.group + 1}",
                "said": said + why,
                "pictures": files,
            }
        )
    metres = arrays["image"].shape[-1] * sensor.pixel_m
    note = "Before: the stack as the run predicts here; after: adapted without the tile's group."
    gallery = {
        "kind": "gallery",
        "layers": [{"key": k, "label": text} for k, text in layers.items()],
        "tiles": tiles,
        "has_reference": True,
        "ramp": False,
        "more": None,
        "scale": scale_of(metres),
        "note": note,
    }
    return {"gallery": gallery}


def _interval(low: float | None, high: float | None) -> str:
    return f"{words.signed(low)} to {words.signed(high)}"


def _commands(source: RunSource, page: str, suffix: str = "") -> list[str]:
    found = source.need(AdaptationSummary)
    if found.split is None and found.scene is None:
        return []
    place = ("--scene", found.scene) if found.scene else ("--split", str(found.split))
    parts = ("--labels", found.labels, *place, "--run", found.base)
    return [shlex.join(["l4s-ensemble", "adapt", *parts, "--out", f"{source.run}{suffix}"])]


PAGE = PageKind(
    order=55,
    name="adaptation",
    title="Adaptation",
    question="Did the labels help here?",
    stages=lambda source: {"adaptation": ["adapt"]} if "adapt" in source else {},
    make=adaptation,
    commands=_commands,
    draw=_gallery,
)
