"""The data page: what the tiles hold, what is wrong with them, where they lie, how they differ."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from l4s_ensemble.report import commands, words
from l4s_ensemble.report.page import Page, PageKind, figure, section
from l4s_ensemble.report.parts import faults, shift
from l4s_ensemble.report.pictures import mosaics
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import Column, key_figures, table

_SCENES_TEXT = (
    "Tiles where they lie on the ground. Neighbours share a boundary, so tiles are held out in "
    "blocks, never one by one."
)
_SPLITS: tuple[Column, ...] = (
    ("split", "text"), ("patches", "tiles", "count"), ("masks", "text"),
    ("landslide_patches", "tiles with landslide", "count"),
    ("landslide_pixels", "landslide pixels", "count"), ("prevalence", "share of pixels", "share"),
    ("n_degenerate", "degenerate tiles", "count"), ("exact_share", "exact values", "share"),
    ("n_inexact", "files not exact", "count"),
)  # fmt: skip
_BANDS: tuple[Column, ...] = (
    ("name", "band", "text"), ("unit", "text"), ("min", "number"), ("p01", "p1", "number"),
    ("p25", "number"), ("p50", "median", "number"), ("p75", "number"), ("p99", "number"),
    ("max", "number"), ("mean", "number"), ("std", "number"),
)  # fmt: skip
_FOLDS: tuple[Column, ...] = (
    ("fold", "count"), ("train_tiles", "tiles fitted", "count"),
    ("tiles", "tiles held out", "count"), ("buffer_tiles", "tiles in the buffer", "count"),
    ("prevalence", "landslide pixels, held out", "share"),
)  # fmt: skip
_SCENES: tuple[Column, ...] = (
    ("scene", "count"), ("tiles", "count"), ("rows", "count"), ("cols", "columns", "count"),
    ("fitted_tiles", "tiles fitted", "count"), ("prevalence", "landslide pixels", "share"),
)  # fmt: skip


def data(source: RunSource, page: str = "data") -> Page:
    """Make the data page."""
    splits = {s: source.summary(f"data/{s}") for s in source.splits}
    first = next(iter(splits.values()))
    shift_figures, shift_tables = shift.parts(source)
    faults_text, faults_table = faults.faults(source)
    folds_text, folds_tables = _folds(source.summary("scenes"))
    stored = sum(d["bytes"] for d in splits.values()) / 2**20
    return {
        "lead": _lead(splits),
        "key_figures": key_figures(
            [
                ("sensor", first["sensor"], "text"),
                ("folder", first["root"], "text"),
                ("stored as", first["dtype"], "text"),
                ("stored size", stored, "megabytes"),
            ]
        ),
        "figures": _sizes(splits) | shift_figures,
        "tables": {"splits": _splits_table(splits), "bands": _bands_table(first)}
        | shift_tables
        | faults_table
        | folds_tables,
        "sections": [
            section("counts", "What there is", "" if faults_table else faults_text,
                    "splits", "key_figures", "sizes"),
            section("faults", "Faults", faults_text, "faults"),
            section("units", "Units", units_sentence(first), "bands"),
            section("shifts", "Shift between splits",
                    "A model is only at home where values are like those it was trained on.",
                    "shift", "shifts"),
            section("scenes", "Scenes", _SCENES_TEXT, "mosaics"),
            section("folds", "Folds", folds_text, *folds_tables),
        ],
    }  # fmt: skip


def _stages(source: RunSource) -> dict[str, list[str]]:
    stages = [f"data/{s}" for s in source.splits] + ["scenes"]
    return {"data": [s for s in stages if s in source]} if source.splits else {}


PAGE = PageKind(
    order=10,
    name="data",
    title="Data",
    stages=_stages,
    make=data,
    commands=lambda source, page: [
        commands.fit(source, "data check", run=False),
        commands.fit(source, "features"),
    ],
    settings=("data", "scenes"),
    pictures=(("mosaics", mosaics.build),),
)


def _sizes(splits: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Figure of landslides by size; none without masks."""
    found = {s: d["landslide_sizes_px"] for s, d in splits.items() if d["landslide_pixels"]}
    if not found:
        return {}
    edges = next(iter(found.values()))["edges"]
    panel = {
        "x": [f"{a:,}" if b - a == 1 else f"{a:,}–{b - 1:,}" for a, b in pairwise(edges)],
        "axes": ("area of the landslide (pixels)", "landslides"),
        "series": [
            {"name": split, "y": sizes["counts"], "colour": f"fold{i}", "as": "bar"}
            for i, (split, sizes) in enumerate(found.items())
        ],
        "height": 340,
    }
    read = (
        "Landslides by area: pixels of the class that touch. They are counted tile by tile; a "
        "landslide over a tile boundary counts in each tile."
    )
    return {"sizes": figure("lines", "How large landslides are", read, panel)}


def units_sentence(summary: Mapping[str, Any]) -> str:
    """Say what the unit check found, and what a wrong unit would have done to NDVI."""
    exact, ndvi = summary["exact_share"], summary["ndvi"]
    like = ", as in the released Landslide4Sense files" if summary["sensor"] == "l4s" else ""
    end = f"{like}: units are restored without loss." if exact == 1 else "."
    share = words.share(exact)
    text = f"Stored value × divisor is an exact whole number for {share} of the values{end}"
    if ndvi:
        text += (
            f" The median NDVI is {words.score(ndvi['restored'])}; computed on the stored values "
            f"it would have been {words.score(ndvi['as_stored'])}."
        )
    return text


def _lead(splits: Mapping[str, Mapping[str, Any]]) -> str:
    parts = []
    for name, d in splits.items():
        part = f"{words.plural(int(d['patches']), 'tile')} of {name}"
        if d["masks"]:
            part += f" ({words.share(d['prevalence'])} of pixels landslide)"
        parts.append(part)
    return ", ".join(parts) + "."


def _splits_table(splits: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    rows = []
    for split, d in splits.items():
        numbers = {f"n_{k}": len(d[k]) for k in ("degenerate", "inexact")}
        rows.append({**d, "split": split, **numbers})
    note = "Degenerate tiles have constant elevation or no slope at all; they fit nothing."
    return table("Splits", _SPLITS, rows, note=note)


def _bands_table(summary: Mapping[str, Any]) -> dict[str, Any]:
    bands = summary["bands"]
    note = "Medians and quartiles say more than means where a band has a heavy tail."
    if any(b["unit"] == "DN" for b in bands):
        note = f"DN is reflectance × 10,000. {note}"
    if summary["radiometry"] == "relative":
        note = f"Relative: every tile is normalised to a median of 1,000. {note}"
    title = f"Bands of {summary['split']} in their units"
    return table(title, _BANDS, bands, note=note)


def _folds(summary: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Say how the folds were made; tables of them and of the scenes."""
    if not summary:
        return "", {}
    roles = dict(summary["roles"])
    text = f"{summary['folds']} spatial folds over {words.plural(roles.pop('fit'), 'tile')}; "
    text += (
        "the places of the tiles are not known, so neighbours may be on both sides of a fold."
        if summary["grid"] == "none"
        else f"places are known from the {summary['grid']} grid."
    )
    others = ", ".join(f"{words.plural(n, 'tile')} {r}" for r, n in roles.items() if n)
    text += f" Besides: {others}." if others else ""
    folds = table(
        "Folds",
        _FOLDS,
        summary["per_fold"],
        note="The eight neighbours of held-out tiles are the buffer: they train nothing in that "
        "fold and are scored in their own.",
    )
    scenes = [s for s in summary["scenes"] if s["scene"] >= 0]
    note = "A threshold chosen where landslides are common fits badly where they are rare."
    listed = table("Scenes of training", _SCENES, scenes, note=note, sortable=True)
    return text, {"folds": folds} | ({"scenes": listed} if scenes else {})
