"""The data page: what the tiles hold, what is wrong with them, where they lie, how they differ."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from l4s_ensemble.data.summary import DataSummary
from l4s_ensemble.report import checks, commands, words
from l4s_ensemble.report.page import Page, PageKind, figure, lines, section, stat
from l4s_ensemble.report.parts import faults
from l4s_ensemble.report.pictures import mosaics
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import Column, key_figures, table
from l4s_ensemble.scenes.summary import ScenesSummary

_SPLITS: tuple[Column, ...] = (
    ("split", "text"), ("patches", "tiles", "count"), ("masks", "text"),
    ("landslide_patches", "tiles with landslide", "count"),
    ("prevalence", "landslide pixels", "share"), ("n_degenerate", "without terrain", "count"),
    ("exact_share", "exact values", "share"),
)  # fmt: skip
_BANDS: tuple[Column, ...] = (
    ("name", "band", "text"), ("unit", "text"), ("min", "number"), ("p25", "number"),
    ("p50", "median", "number"), ("p75", "number"), ("max", "number"), ("std", "number"),
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
    splits = {s: found for s in source.splits if (found := source.data(s))}
    first, scenes = next(iter(splits.values())), source.get(ScenesSummary)
    moved = faults.shifts(source)
    stop = blockers(source)
    tables = {"splits": _splits_table(splits), "bands": _bands_table(first)}
    tables |= faults.fault_table(source) | faults.shift_table(source) | _folds(scenes)
    tiles = sum(d.patches for d in splits.values())
    stats = [
        stat("tiles", tiles, "count", ", ".join(f"{d.patches:,} {s}" for s, d in splits.items()))
    ]
    if first.prevalence is not None:
        of = f"of pixels of {first.split}; {first.landslide_patches:,} tiles have one"
        stats.append(stat("landslide", first.prevalence, "share", of))
    stats.append(stat("values in exact units", first.exact_share, "share", _ndvi(first)))
    if moved:
        of = f"interquartile ranges, {moved[0]['band']} in {moved[0]['split']}"
        stats.append(stat("largest shift of a band", moved[0]["shift"], "signed", of))
    return {
        "lead": _lead(splits, stop),
        "stats": stats,
        "picture": "scene",
        "blocks": {
            "stop": lines(stop) if stop else None,
            "stored": key_figures(
                [
                    ("sensor", first.sensor, "text"),
                    ("folder", first.root, "text"),
                    ("stored as", first.dtype, "text"),
                ]
            ),
        },
        "figures": _sizes(splits, source.pixel_m() ** 2 / 10_000),
        "tables": tables,
        "sections": [
            section("stop", "What would stop a fit", "", "stop", "faults"),
            section("counts", "What there is", "", "splits"),
            section("shifts", "Whether the splits are alike", "", "shifts"),
            section("sizes", "How large landslides are", "", "sizes", folded=True),
            section(
                "folds", "Scenes and folds", _folds_text(scenes), "folds", "places", folded=True
            ),
            section("scenes", "The other scenes", "", "scenes", folded=True),
            section(
                "units", "Units and bands", units_sentence(first), "stored", "bands", folded=True
            ),
        ],
    }


def _stages(source: RunSource) -> dict[str, list[str]]:
    stages = [f"data/{s}" for s in source.splits] + ["scenes"]
    return {"data": [s for s in stages if s in source]} if source.splits else {}


PAGE = PageKind(
    order=10,
    name="data",
    title="Data",
    question="Are the data sound and alike, and would anything stop a fit?",
    stages=_stages,
    make=data,
    commands=lambda source, page: [
        commands.fit(source, "data check", run=False),
        commands.fit(source, "features"),
    ],
    settings=("data", "scenes"),
    draw=mosaics.of_data,
)


def blockers(source: RunSource) -> list[str]:
    """What would stop a fit, or make its scores worthless: the issues of the data's checks."""
    found = [c for c in checks.run_checks(source) if c["page"] == "data" and c["level"] == "issue"]
    said = [f"{c['title']}. {c['explanation']}" for c in found]
    train = source.data("train") if "train" in source.splits else None
    if train is None:
        said.insert(0, "There are no training tiles.")
    elif not train.landslide_pixels:
        said.insert(0, "The training tiles have no landslide, or no masks.")
    return said


def units_sentence(summary: DataSummary) -> str:
    """Say what the unit check found, and what a wrong unit would have done to NDVI."""
    exact, ndvi = summary.exact_share, summary.ndvi
    like = ", as in the released Landslide4Sense files" if summary.sensor == "l4s" else ""
    end = f"{like}: units are restored without loss." if exact == 1 else "."
    text = f"Stored value × divisor is a whole number for {words.share(exact)} of the values{end}"
    if ndvi:
        text += (
            f" The median NDVI is {words.score(ndvi.restored)}; computed on the stored values it "
            f"would have been {words.score(ndvi.as_stored)}."
        )
    return text


def _ndvi(summary: DataSummary) -> str:
    return f"median NDVI {words.score(summary.ndvi.restored)}" if summary.ndvi else ""


def _lead(splits: dict[str, DataSummary], stop: list[str]) -> str:
    alone = [s for s, d in splits.items() if not d.masks]
    said = f"{stop[0].partition('. ')[0]}." if stop else "Nothing would stop a fit."
    if len(stop) > 1:
        said = f"{len(stop)} things would stop a fit, or make its scores worthless."
    if alone:
        said += f" Without masks, so without a score: {', '.join(alone)}."
    return said


def _splits_table(splits: dict[str, DataSummary]) -> dict[str, Any]:
    rows = [
        {**d.model_dump(), "split": s, "n_degenerate": len(d.degenerate)} for s, d in splits.items()
    ]
    note = "Tiles without terrain have constant elevation or no slope at all; they fit nothing."
    return table("Splits", _SPLITS, rows, note=note)


def _bands_table(summary: DataSummary) -> dict[str, Any]:
    note = "DN is reflectance × 10,000." if any(b.unit == "DN" for b in summary.bands) else ""
    if summary.radiometry == "relative":
        note = "Relative: every tile is normalised to a median of 1,000."
    title = f"Bands of {summary.split} in their units"
    return table(title, _BANDS, [b.model_dump() for b in summary.bands], note=note)


def _sizes(splits: dict[str, DataSummary], hectare: float) -> dict[str, Any]:
    """Figure of landslides by size, a pixel so many hectares; none without masks."""
    found = {s: d.landslide_sizes_px for s, d in splits.items() if d.landslide_sizes_px}
    if not found:
        return {}
    edges = next(iter(found.values())).edges
    panel = {
        "x": [
            f"{words.number(a * hectare)}–{words.number(b * hectare)}" for a, b in pairwise(edges)
        ],
        "axes": ("area of the landslide (hectares)", "landslides"),
        "series": [
            {"name": split, "y": list(sizes.counts), "colour": f"fold{i}", "as": "bar"}
            for i, (split, sizes) in enumerate(found.items())
        ],
        "height": 300,
    }
    read = "Counted tile by tile: a landslide over a tile boundary counts in each tile."
    return {"sizes": figure("lines", "Landslides by size", read, panel)}


def _folds_text(scenes: ScenesSummary | None) -> str:
    """Say how the folds were made."""
    if scenes is None:
        return ""
    roles = dict(scenes.roles)
    text = f"{scenes.folds} spatial folds over {words.plural(roles.pop('fit', 0), 'tile')}; "
    text += (
        "the places of the tiles are not known, so neighbours may be on both sides of a fold."
        if scenes.grid == "none"
        else f"places are known from the {scenes.grid} grid."
    )
    others = ", ".join(f"{words.plural(n, 'tile')} {r}" for r, n in roles.items() if n)
    return text + (f" Besides: {others}." if others else "")


def _folds(scenes: ScenesSummary | None) -> dict[str, Any]:
    """Tables of the folds and of the scenes."""
    if scenes is None:
        return {}
    note = (
        "The eight neighbours of held-out tiles are the buffer: they train nothing in that fold "
        "and are scored in their own."
    )
    made = {"folds": table("Folds", _FOLDS, [f.model_dump() for f in scenes.per_fold], note=note)}
    known = [s.model_dump() for s in scenes.scenes if s.scene >= 0]
    note = "A threshold chosen where landslides are common fits badly where they are rare."
    listed = table("Scenes of training", _SCENES, known, note=note, sortable=True)
    return made | ({"places": listed} if known else {})
