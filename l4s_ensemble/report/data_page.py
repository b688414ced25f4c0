"""The data page: what the tiles hold, in which units, and how they are folded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from l4s_ensemble.report import words
from l4s_ensemble.report.figures_data import ROLES
from l4s_ensemble.report.pieces import Page, figure, section
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import facts, table

if TYPE_CHECKING:
    from l4s_ensemble.scenes.folds import Folds


def data(source: RunSource) -> Page:
    """Counts, units, bands, slides and folds."""
    splits = {s: source.summary(f"data/{s}") for s in source.splits}
    first = next(iter(splits.values()))
    figures: dict[str, Any] = {}
    sizes = [
        {"split": s, "edges": d["slide_sizes_px"]["edges"], "counts": d["slide_sizes_px"]["counts"]}
        for s, d in splits.items()
        if d.get("slide_sizes_px") and sum(d["slide_sizes_px"]["counts"]) > 0
    ]
    if sizes:
        figures["sizes"] = figure(
            "sizes",
            "How large landslides are",
            "Landslides by area: pixels of the class that touch, within one tile. A pixel is "
            "100 m²; one cut by a tile's edge counts as two.",
            sizes,
        )
    tables = {
        "splits": _splits_table(splits),
        "bands": _bands_table(first, str(first.get("split", "train"))),
    }
    sections = [
        section("counts", "What there is", "", "splits", "facts", "sizes"),
        section("units", "Units", units_sentence(first), "bands"),
    ]
    if "scenes" in source:
        folds_section, more_figures, more_tables = _folds(source)
        figures |= more_figures
        tables |= more_tables
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


def _folds(source: RunSource) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Section, figures and table of the folds."""
    from l4s_ensemble.scenes.folds import load_folds

    folds = load_folds(source["scenes"].folder)
    figures = {}
    for scene in np.unique(folds.scene):
        here = folds.scene == scene
        known = bool(scene >= 0 and (folds.row[here] >= 0).all())
        if not known:
            continue
        figures[f"folds_{scene}"] = figure(
            "foldmap",
            f"Scene {scene}: which tile is held out in which fold",
            "Every square is a tile where it lies on the ground. Tiles of one colour are scored "
            "together by models that saw neither them nor the tiles that touch them.",
            _fold_map(folds, here),
        )
    rows = []
    for k in range(folds.n_folds):
        held = folds.held_ids(k)
        rows.append(
            {
                "fold": k,
                "held": len(held),
                "train": len(folds.train_ids(k)),
                "buffer": len(folds.buffer_ids(k)),
                "scenes": sorted({int(s) for s in folds.scene[folds.fold == k] if s >= 0}),
            }
        )
    tables = {
        "folds": table(
            "Folds",
            [
                ("fold", "fold", "count"), ("train", "tiles fitted", "count"),
                ("held", "tiles held out", "count"), ("buffer", "tiles in the buffer", "count"),
                ("scenes", "held in scenes", "text"),
            ],
            rows,
            note="The eight neighbours of held tiles are the buffer: they train nothing in that "
            "fold and are scored in their own.",
        )
    }  # fmt: skip
    counts = {r: int((folds.role == r).sum()) for r in ROLES}
    told = ", ".join(f"{words.plural(n, 'tile')} {r}" for r, n in counts.items() if n)
    text = (
        f"{folds.n_folds} spatial folds over "
        f"{words.plural(int((folds.role == 'fit').sum()), 'tile')}; "
        f"places are known from the {folds.grid} grid."
        if folds.grid != "none"
        else f"{folds.n_folds} folds; nobody knows where the tiles lie, so neighbours may be on "
        f"both "
        "sides of a fold."
    ) + (f" Besides: {told}." if told else "")
    return section("folds", "Folds", text, *figures, "folds"), figures, tables


def _fold_map(folds: Folds, here: Any) -> dict[str, Any]:
    """Codes of one scene's cells: -1 no tile, k fold k, then holdout, guard, degenerate."""
    row, col = folds.row[here], folds.col[here]
    first = (int(row.min()), int(col.min()))
    code = np.full((int(np.ptp(row)) + 1, int(np.ptp(col)) + 1), -1)
    patch = np.full(code.shape, -1)
    special = {r: folds.n_folds + i for i, r in enumerate(ROLES)}
    at = (row - first[0], col - first[1])
    code[at] = [
        special.get(str(r), int(f)) for r, f in zip(folds.role[here], folds.fold[here], strict=True)
    ]
    patch[at] = folds.patch[here]
    return {
        "n_folds": folds.n_folds,
        "first_row": first[0],
        "first_col": first[1],
        "code": code.tolist(),
        "patch": patch.tolist(),
    }
