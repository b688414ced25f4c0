"""The page of a predicted split: the map, its area, its landslides, and how far to trust it."""

from __future__ import annotations

import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from l4s_ensemble.metrics.counts import Counts, f1_pooled
from l4s_ensemble.predict.summary import (
    LandslidesSummary,
    ResultSummary,
    ScoresSummary,
)
from l4s_ensemble.report import commands, headline, words
from l4s_ensemble.report.browser import scored
from l4s_ensemble.report.browser.links import link
from l4s_ensemble.report.browser.scored import ScoredTiles
from l4s_ensemble.report.page import Page, PageKind, figure, section, split_of, stat
from l4s_ensemble.report.parts import applicability, baselines, comparison, threshold, uncertainty
from l4s_ensemble.report.parts.scores import histogram
from l4s_ensemble.report.pictures import gallery, mosaics
from l4s_ensemble.report.pictures.crops import crop
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import Column, key_figures, table

LISTED = 8
"""Landslides with a picture, and missed ones."""

DOWNLOADS = (
    ("landslides/landslides.csv", "landslides, a row each (CSV)"),
    ("landslides/landslides.json", "the same with reasons (JSON)"),
    ("result/tiles.csv", "dissimilarity of each tile (CSV)"),
    ("result/submission.zip", "masks in the official form (ZIP)"),
)
"""Files of the prediction that are copied beside the pages."""

_LARGEST: tuple[Column, ...] = (
    ("picture", "", "picture"), ("id", "no.", "count"), ("area_m2", "area", "area"),
    ("mean_probability", "mean probability", "score"),
    ("true_share", "landslide in the reference", "share"),
    ("mean_slope_deg", "mean slope (°)", "number"),
    ("reason", "why, to the pixel classifier (log-odds)", "text"), ("tile", "tile", "link"),
)  # fmt: skip
_MISSED: tuple[Column, ...] = (
    ("picture", "", "picture"), ("area_m2", "area", "area"),
    ("left_m2", "not mapped", "area"), ("mapped_share", "of it mapped", "share"),
    ("tile", "tile", "link"),
)  # fmt: skip
_SCENES: tuple[Column, ...] = (
    ("scene", "text"), ("tiles", "count"), ("f1", "F1", "score"), ("precision", "score"),
    ("recall", "score"), ("mapped", "mapped", "area"), ("reference", "in the reference", "area"),
)  # fmt: skip
_MOVED: tuple[Column, ...] = (
    ("scene", "text"), ("threshold", "score"), ("carried", "carried over", "score"),
    ("prior_here", "landslides, as estimated", "share"),
    ("kept_because", "not moved because", "text"),
)  # fmt: skip


def prediction(source: RunSource, page: str) -> Page:
    """Make the page of one predicted split."""
    split = split_of(page)
    result, scores = source.need(ResultSummary, split), source.get(ScoresSummary, split)
    listed = source.get(LandslidesSummary, split)
    figures = applicability.figures(result.applicability)
    figures |= _frequency(listed, scores, source.pixel_m(split))
    tables = applicability.tables(scores) | _thresholds(result)
    how_good = ""
    if scores:
        stage, score = f"predict/{split}/scores", headline.on_split(source, split)
        assert score is not None
        how_good = score.sentence()
        counts = histogram(scores.histogram)
        figures |= comparison.figures(source, stage, scores)
        figures |= uncertainty.figures(scores.uncertainty)
        figures |= {
            "baselines": baselines.drawn(source, score),
            "curve": threshold.curve(counts, scores.threshold),
        }
        tables |= comparison.tables(source, scores, f"on {split}") | _by_scene(source, scores)
        tables["costs"] = threshold.costs(counts, scores.threshold, source.pixel_m(split))
    else:
        tables["predicted"] = threshold.predicted(source, result)
    inside = applicability.sentence(result.applicability)
    sure = uncertainty.sentence(scores.uncertainty) if scores else ""
    return {
        "lead": f"{area_sentence(source, split)} {inside}",
        "split": split,
        "stats": _stats(source, result, scores, listed),
        "picture": "map",
        "blocks": {"how": _key_figures(result)},
        "figures": figures,
        "tables": tables,
        "sections": [
            section("downloads", "Downloads", "", "downloads"),
            section("scores", "How good it is", how_good, "baselines", "scenes"),
            section(
                "landslides", "Largest landslides", _landslides_text(listed, scores), "largest"
            ),
            section("missed", "Largest misses", "", "missed", folded=True),
            section("maps", "Uncertainty", sure, "maps", "risk", folded=True),
            section(
                "compared",
                "Models compared",
                "",
                "comparison",
                "adds",
                "whole",
                "whole_size",
                folded=True,
            ),
            section(
                "threshold",
                "Threshold",
                "",
                "curve",
                "costs",
                "predicted",
                "thresholds",
                folded=True,
            ),
            section("size", "Sizes", "", "frequency", "by_size", folded=True),
            section(
                "seen", "Applicability", inside, "applicability", "inside_and_outside", folded=True
            ),
            section("curves", "Curves", "", "pr", "reliability", folded=True),
            section("tiles", "Tiles", "", "gallery"),
            section("how", "How it was made", "", "how", folded=True),
        ],
    }


def area_sentence(source: RunSource, split: str) -> str:
    """Say how much is mapped, and against the reference: ``77 ha mapped, 56 ha in it: +36 %``."""
    result, scores = source.need(ResultSummary, split), source.get(ScoresSummary, split)
    pixel = source.pixel_m(split) ** 2
    said = f"{words.area(result.predicted_pixels * pixel)} mapped as landslide"
    if scores is None:
        return f"{said}, {words.share(result.predicted_share)} of all pixels. No score: no masks."
    m = scores.masks
    real = (m.tp + m.fn) * pixel
    off = (m.tp + m.fp) / (m.tp + m.fn) - 1 if m.tp + m.fn else None
    more = "" if off is None else f": {words.percent(off)}"
    return f"{said}, {words.area(real)} in the reference{more}."


def _stats(
    source: RunSource,
    result: ResultSummary,
    scores: ScoresSummary | None,
    listed: LandslidesSummary | None,
) -> list[dict[str, Any]]:
    pixel = source.pixel_m(result.split) ** 2
    bins = np.array(result.histogram)
    expected = float((bins * (np.arange(len(bins)) + 0.5) / len(bins)).sum()) * pixel
    of = f"probabilities add up to {words.area(expected)}"
    made = [stat("mapped", result.predicted_pixels * pixel, "area", of)]
    if scores:
        m, whole = scores.masks, scores.masks.objects
        made.append(stat("F1", m.f1, "score", words.interval_of(m)))
        of = f"of {whole.reference:,} in the reference, by {whole.predicted:,} mapped ones"
        made.append(stat("landslides matched", whole.found, "count", of))
    elif listed:
        of = f"on {words.plural(result.landslide_patches, 'tile')}"
        made.append(stat("landslides mapped", listed.landslides, "count", of))
    if result.applicability:
        of = f"of {result.patches:,} are outside the area of applicability"
        made.append(stat("tiles to distrust", result.applicability.outside, "count", of))
    return made


def _draw(source: RunSource, page: str, assets: Path, drawn: set[str]) -> dict[str, Any]:
    split = split_of(page)
    made = map_of(source, page, assets, drawn)
    made = {**made, **gallery.of_prediction(source, page, assets, drawn)}
    shown = scored.of_prediction(source, split)
    if shown is not None:
        made |= _largest(source, split, shown, assets, drawn)
        made |= _missed(source, split, shown, assets, drawn)
    return made | {"downloads": _downloads(source, split, assets)}


def map_of(source: RunSource, page: str, assets: Path, drawn: set[str]) -> dict[str, Any]:
    """Blocks of the maps, made once: the overview shows one, too."""
    made: dict[str, Any] = source.once(
        f"map {page}", lambda: mosaics.of_prediction(source, page, assets, drawn)
    )
    return made


PAGE = PageKind(
    order=60,
    name="prediction",
    title="Prediction of {}",
    question="What was mapped, how sure is it, and what should be looked at?",
    stages=lambda source: {
        f"prediction-{split}": [s for s in source.stages if s.startswith(f"predict/{split}/")]
        for split in source.predicted
    },
    make=prediction,
    commands=lambda source, page: [commands.predict(source, split_of(page))],
    settings=("data", "stack"),
    draw=_draw,
)


def _largest(
    source: RunSource, split: str, shown: ScoredTiles, assets: Path, drawn: set[str]
) -> dict[str, Any]:
    """Table of the largest mapped landslides."""
    listed = source.get(LandslidesSummary, split)
    height, width = shown.store.sizes["y"], shown.store.sizes["x"]
    at = {(p["scene"], p["row"], p["col"]): i for i, p in shown.place.items()}
    rows = []
    for r in listed.largest[:LISTED] if listed else []:
        y, x, patch = r.centre_row_px, r.centre_col_px, r.tiles[0]
        if r.centre_in == "scene":
            cell = (int(y // height), int(x // width))
            patch = at.get((-1 if r.scene is None else r.scene, *cell), patch)
            if patch in r.tiles:
                y, x = y - cell[0] * height, x - cell[1] * width
            else:  # its centre lies beside it, in another tile
                patch = r.tiles[0]
                y, x = (
                    min(max(v - shown.place[patch][k] * n, 0), n)
                    for v, k, n in ((y, "row", height), (x, "col", width))
                )
        picture = crop(shown, patch, (y, x), r.pixels, assets, drawn)
        to = {"text": words.some([str(t) for t in r.tiles], 2), "href": link(source, split, patch)}
        rows.append({**r.model_dump(), "picture": picture, "tile": to})
    if not rows:
        return {}
    white = ", white that of the reference" if shown.has_reference else ""
    note = f"Orange is the boundary of what was mapped{white}. A click leads to the tile."
    return {"largest": {"kind": "table", **table("Mapped landslides", _LARGEST, rows, note=note)}}


def _missed(
    source: RunSource, split: str, shown: ScoredTiles, assets: Path, drawn: set[str]
) -> dict[str, Any]:
    """Table of the largest reference landslides without a match."""
    scores, area = source.get(ScoresSummary, split), source.pixel_m(split) ** 2
    rows = []
    for r in scores.missed[:LISTED] if scores else []:
        picture = crop(shown, r.patch, (r.row, r.col), r.pixels, assets, drawn)
        to = {"text": str(r.patch), "href": link(source, split, r.patch)}
        own = {"area_m2": r.pixels * area, "left_m2": r.pixels * area * (1 - r.mapped_share)}
        rows.append({**r.model_dump(), "picture": picture, "tile": to, **own})
    if not rows:
        return {}
    note = "Reference landslides that no mapped one matches, the largest unmapped area first."
    return {"missed": {"kind": "table", **table("Missed landslides", _MISSED, rows, note=note)}}


def _downloads(source: RunSource, split: str, assets: Path) -> dict[str, Any]:
    """Copy files of the prediction beside the pages."""
    files = []
    for name, label in DOWNLOADS:
        path = source.run / "predict" / split / name
        if path.is_file():
            to = assets / "downloads" / split / path.name
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, to)
            files.append({"href": f"assets/downloads/{split}/{path.name}", "label": label})
    return {"kind": "downloads", "files": files}


def _landslides_text(listed: LandslidesSummary | None, scores: ScoresSummary | None) -> str:
    if listed is None:
        return ""
    joined = (
        f"{words.plural(listed.landslides, 'landslide')} of {words.area(listed.area_m2)} in all; "
        f"one over the boundary of tiles whose places are known counts once "
        f"({listed.over_seams:,} such)."
    )
    if scores is None:
        return joined
    whole = scores.masks.objects
    return f"{joined} {whole.reference - whole.found:,} of {whole.reference:,} are not matched."


def _key_figures(result: ResultSummary) -> dict[str, Any]:
    return key_figures(
        [
            ("tiles", result.patches, "count"),
            ("threshold", result.threshold, "score"),
            ("threshold adapted to the scene", result.adapt_threshold, "text"),
            ("smallest landslide kept (pixels)", result.smallest_px, "count"),
            ("fold models averaged", result.fold_models, "count"),
            ("U-Net adapted to the images of", _places(result), "text"),
            ("masks in the submission", result.submission.files, "count"),
            ("read back and verified", result.submission.verified, "text"),
            ("time", result.seconds, "seconds"),
        ]
    )


def _places(result: ResultSummary) -> str | None:
    """Say which images the U-Net was adapted to."""
    if result.adapted_to is None or result.places is None:
        return None
    sizes = words.some([str(n) for n in result.places], 4)
    return f"{result.adapted_to}: {words.plural(len(result.places), 'place')} of {sizes} tiles"


def _by_scene(source: RunSource, scores: ScoresSummary) -> dict[str, Any]:
    """Table of precision, recall and F1 in each scene; none where places are not known."""
    place, area = source.places(scores.split), source.pixel_m(scores.split) ** 2
    by: dict[int, list[list[int]]] = defaultdict(list)
    for t in scores.tiles:
        by[place.get(t.patch, {}).get("scene", -1)].append([t.tp, t.fp, t.fn, t.tn])
    if set(by) == {-1}:
        return {}
    rows = []
    for scene, counts in sorted(by.items()):
        tp, fp, fn, _ = (int(n) for n in np.sum(counts, axis=0))
        rows.append(
            {
                "scene": "not known" if scene < 0 else str(scene),
                "tiles": len(counts),
                "f1": f1_pooled(Counts(*np.array(counts, np.int64).T).pooled()),
                "precision": tp / (tp + fp) if tp + fp else None,
                "recall": tp / (tp + fn) if tp + fn else None,
                "mapped": (tp + fp) * area,
                "reference": (tp + fn) * area,
            }
        )
    return {"scenes": table("Scene by scene", _SCENES, rows)}


def _thresholds(result: ResultSummary) -> dict[str, Any]:
    """Table of the threshold of each scene, where one was moved."""
    if not any(t.adapted for t in result.thresholds):
        return {}
    rows = [
        {**(t.adapted.model_dump() if t.adapted else {}), **t.model_dump(exclude={"adapted"})}
        for t in result.thresholds
    ]
    note = "Estimated from the scores of the scene alone, without its masks."
    return {"thresholds": table("The threshold of each scene", _MOVED, rows, note=note)}


def _frequency(
    listed: LandslidesSummary | None, scores: ScoresSummary | None, pixel_m: float
) -> dict[str, Any]:
    """Figure of how many landslides are at least of a size, mapped and in the reference."""
    hectare, whole = pixel_m**2 / 10_000, scores.masks.objects if scores else None
    found: list[tuple[str, str, list[tuple[int, int]]]] = []
    if whole is not None:
        found.append(
            ("in the reference", "other", [(b.low_px, b.reference) for b in whole.by_size])
        )
        found.append(("mapped", "stack", [(b.low_px, b.predicted) for b in whole.by_size]))
    elif listed is not None:
        found.append(("mapped", "stack", [(b.from_px, b.landslides) for b in listed.by_size]))
    series = []
    for name, colour, bins in found:
        from_px, counts = (np.array(column) for column in zip(*bins, strict=True))
        at_least = counts[::-1].cumsum()[::-1]
        there = at_least > 0
        x, y = words.sigfig((from_px[there] * hectare).tolist()), at_least[there].tolist()
        series.append({"name": name, "colour": colour, "x": x, "y": y})
    if not any(one["y"] for one in series):
        return {}
    axes = ("size (hectares)", "landslides of at least this size")
    panel = {"x": [], "axes": axes, "height": 300, "log": True, "series": series}
    read = (
        "Both axes are logarithmic. Where the line of the mapped ones bends away from the other, "
        "landslides of that size are missed, cut into pieces or merged."
    )
    return {"frequency": figure("lines", "Size and frequency", read, panel)}
