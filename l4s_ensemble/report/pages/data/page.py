"""The data page: what the tiles hold, what is wrong with them, where they lie, how they differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from l4s_ensemble.report import words
from l4s_ensemble.report.pages.data import faults as data_faults
from l4s_ensemble.report.pages.data import scenes as data_scenes
from l4s_ensemble.report.pages.data import shift as data_shift
from l4s_ensemble.report.pieces import Page, figure, section
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import facts, table

_SCENES = (
    "Tiles where they lie on the ground. Neighbours share a border, so tiles are held out in "
    "blocks, never one by one."
)


def data(source: RunSource) -> Page:
    """Counts, units, bands, slides and folds."""
    splits = {s: source.summary(f"data/{s}") for s in source.splits}
    first = next(iter(splits.values()))
    figures: dict[str, Any] = {}
    shift_figures, shift_tables = data_shift.parts(source)
    sizes = [
        {"split": s, "edges": d["slide_sizes_px"]["edges"], "counts": d["slide_sizes_px"]["counts"]}
        for s, d in splits.items()
        if d.get("slide_sizes_px") and sum(d["slide_sizes_px"]["counts"]) > 0
    ]
    if sizes:
        figures["sizes"] = figure(
            "sizes",
            "How large landslides are",
            "Landslides by area: pixels of the class that touch. They are counted tile by tile; a "
            "landslide over a tile boundary counts in each tile.",
            sizes,
        )
    tables = {
        "splits": _splits_table(splits),
        "bands": _bands_table(first, str(first.get("split", "train"))),
    }
    figures |= shift_figures
    faults_text, faults_table = data_faults.faults(source)
    whole = faults_text if faults_table is None else ""
    tables |= shift_tables | ({} if faults_table is None else {"faults": faults_table})
    sections = [
        section("counts", "What there is", whole, "splits", "facts", "sizes"),
        section("faults", "Faults", faults_text, "faults"),
        section("units", "Units", units_sentence(first), "bands"),
        section(
            "shifts", "Shift between splits",
            "A model is only at home where values are like those it was trained on.",
            "shift", "shifts",
        ),
        section("scenes", "Scenes", _SCENES, "mosaics"),
    ]  # fmt: skip
    if "scenes" in source:
        folds_section, folds_tables = data_scenes.folds(source)
        tables |= folds_tables
        sections.append(folds_section)
    return {
        "lead": _lead(splits),
        "facts": facts(
            [
                ("sensor", first.get("sensor"), "text"),
                ("folder", first.get("root"), "text"),
                ("stored as", first.get("dtype"), "text"),
                ("stored size", _total_mb(splits), "megabytes"),
            ]
        ),
        "figures": figures,
        "tables": tables,
        "sections": sections,
    }


def units_sentence(summary: Mapping[str, Any]) -> str:
    """Say what the unit check found, and what a wrong unit would have done to NDVI."""
    exact = summary.get("exact_share")
    text = ""
    if exact is not None:
        known = (
            ", as in the released Landslide4Sense files" if summary.get("sensor") == "l4s" else ""
        )
        share = words.share(exact)
        text = f"Stored value × divisor is an exact whole number for {share} of the values"
        text += f"{known}: units are restored without loss." if exact == 1 else "."
    ndvi = summary.get("ndvi")
    if ndvi:
        text += (
            f" The median NDVI is {words.score(ndvi['restored'])}; computed on the stored values "
            f"it would have been {words.score(ndvi['as_stored'])}."
        )
    return text.strip()


def _lead(splits: Mapping[str, Mapping[str, Any]]) -> str:
    parts = []
    for name, d in splits.items():
        part = f"{words.plural(int(d['patches']), 'tile')} of {name}"
        if d.get("masks") and d.get("prevalence") is not None:
            part += f" ({words.share(d['prevalence'])} of pixels landslide)"
        parts.append(part)
    return ", ".join(parts) + "."


def _splits_table(splits: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    rows = [
        {
            **d,
            "split": s,
            "n_degenerate": len(d.get("degenerate", [])),
            "n_inexact": len(d.get("inexact", [])),
        }
        for s, d in splits.items()
    ]
    return table(
        "Splits",
        [
            ("split", "split", "text"), ("patches", "tiles", "count"), ("masks", "masks", "text"),
            ("landslide_patches", "tiles with landslide", "count"),
            ("landslide_pixels", "landslide pixels", "count"),
            ("prevalence", "share of pixels", "share"), ("n_degenerate", "degenerate tiles",
            "count"),
            ("exact_share", "exact values", "share"), ("n_inexact", "files not exact", "count"),
        ],
        rows,
        note="Degenerate tiles have constant elevation or no slope at all; they fit nothing.",
    )  # fmt: skip


def _bands_table(summary: Mapping[str, Any], split: str) -> dict[str, Any]:
    keys = ("min", "p01", "p25", "p50", "p75", "p99", "max", "mean", "std")
    heads = {"p01": "p1", "p50": "median"}
    note = "Medians and quartiles say more than means where a band has a heavy tail."
    if any(b["unit"] == "DN" for b in summary.get("bands", [])):
        note = f"DN is reflectance × 10,000. {note}"
    if summary.get("level") == "relative":
        note = f"Relative: every tile is brought to a common level of 1,000. {note}"
    return table(
        f"Bands of {split} in their units",
        [
            ("name", "band", "text"),
            ("unit", "unit", "text"),
            *((k, heads.get(k, k), "number") for k in keys),
        ],
        summary.get("bands", []),
        note=note,
    )


def _total_mb(splits: Mapping[str, Mapping[str, Any]]) -> float | None:
    found = [d["bytes"] for d in splits.values() if d.get("bytes") is not None]
    return sum(found) / 2**20 if found else None
