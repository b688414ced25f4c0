"""The page of a predicted split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from l4s_ensemble.report import commands, headline, words
from l4s_ensemble.report.page import Page, PageKind, figure, section, split_of
from l4s_ensemble.report.parts import applicability, comparison, threshold, uncertainty
from l4s_ensemble.report.parts.scores import gain_sentence
from l4s_ensemble.report.pictures import gallery
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import MAIN_SCORES, Column, key_figures, score_row, table

_SIZES: tuple[Column, ...] = (
    ("size", "pixels", "text"), ("landslides", "landslides", "count"),
    ("area_m2", "area (m²)", "count"),
)  # fmt: skip
_LARGEST: tuple[Column, ...] = (
    ("id", "no.", "count"), ("tiles", "text"), ("area_m2", "area (m²)", "count"),
    ("reason", "why, to the pixel classifier (log-odds)", "text"),
    ("mean_slope_deg", "mean slope (°)", "number"),
    ("mean_probability", "mean probability", "score"),
    ("mean_uncertainty", "uncertainty", "score"),
    ("share_predicted_pixel", "predicted by the pixel classifier", "share"),
    ("share_predicted_unet", "predicted by the U-Net", "share"),
    ("true_share", "landslide in the reference", "share"),
)  # fmt: skip
_MASKS: tuple[Column, ...] = (
    ("name", "masks", "text"),
    *(c for c in MAIN_SCORES if c[0] not in {"threshold", "tiles"}),
    ("found", "landslides found", "count"), ("false", "false landslides", "count"),
    ("gain", "gain in F1", "gain"), ("span", "its 95 % interval", "text"),
)  # fmt: skip
_MOVED: tuple[Column, ...] = (
    ("scene", "text"), ("threshold", "score"), ("carried", "carried over", "score"),
    ("prior_here", "landslides, as estimated", "share"),
    ("kept_because", "not moved because", "text"),
)  # fmt: skip


def prediction(source: RunSource, page: str) -> Page:
    """Make the page of one predicted split."""
    split = split_of(page)
    stage = f"predict/{split}/scores"
    result = source.summary(f"predict/{split}/result")
    lead = (
        f"{words.plural(int(result['patches']), 'tile')}, "
        f"{words.share(result['predicted_share'])} of their pixels predicted landslide at "
        f"threshold {words.score(result['threshold'])}."
    )
    scores = source.summary(stage)
    inside = applicability.known(source, split)
    figures = applicability.figures(inside)
    tables = applicability.tables(inside, scores) | _thresholds(result)
    if scores:
        figures |= comparison.figures(source, stage) | uncertainty.figures(scores)
        figures |= _by_size(scores["tiles"])
        where = f"on {split}, at the thresholds chosen out-of-fold"
        tables |= comparison.tables(source, stage, where) | _masks(scores)
    else:
        tables["predicted"] = threshold.predicted_table(source, split)
    listed, landslides = _landslides(source.summary(f"predict/{split}/landslides"), split)
    gain = gain_sentence(scores["gain"]) if scores else "Without masks it has no score."
    return {
        "lead": f"{lead} {gain}",
        "split": split,
        "key_figures": _key_figures(result, inside),
        "figures": figures,
        "tables": tables | landslides,
        "decide": threshold.of_stage(source, stage, split),
        "sections": [
            section("result", "The result", "", "key_figures", "thresholds"),
            section("scores", "Scores", comparison.mean_sentence(scores) if scores else "",
                    "comparison", "adds", "pr", "reliability", "masks"),
            section("threshold", "The threshold as a decision", "", "decide", "predicted"),
            section("whole-landslides", "Whole landslides", "", "whole", "landslides_by_size",
                    "whole_size", "by_size"),
            section("seen", "Here, and where it was fitted", applicability.sentence(inside),
                    "applicability", "inside_and_outside"),
            section("uncertainty", "Whether uncertainty finds errors",
                    uncertainty.sentence(scores) if scores else "", "risk"),
            section("landslides", "Predicted landslides", listed, "landslides_largest",
                    "landslides_sizes"),
            section("tiles", "Tiles", "", "gallery"),
        ],
    }  # fmt: skip


PAGE = PageKind(
    order=60,
    name="prediction",
    title="Prediction of {}",
    stages=lambda source: {
        f"prediction-{split}": [s for s in source.stages if s.startswith(f"predict/{split}/")]
        for split in source.predicted
    },
    make=prediction,
    commands=lambda source, page: [commands.predict(source, split_of(page))],
    settings=("data", "stack"),
    headline=lambda source, page: headline.on_split(source, split_of(page)),
    pictures=(("gallery", gallery.of_prediction),),
)


def _key_figures(result: Mapping[str, Any], inside: Mapping[str, Any]) -> list[dict[str, Any]]:
    submission = result["submission"]
    return key_figures(
        [
            ("tiles", result["patches"], "count"),
            ("tiles with a predicted landslide", result["landslide_patches"], "count"),
            ("tiles outside the area of applicability", inside.get("outside"), "count"),
            ("predicted pixels", result["predicted_pixels"], "count"),
            ("predicted share", result["predicted_share"], "share"),
            ("threshold", result["threshold"], "score"),
            ("submission file", submission["path"], "text"),
            ("masks in it", submission["files"], "count"),
            ("read back and verified", submission["verified"], "text"),
            ("fold models averaged", result["fold_models"], "count"),
            ("threshold adapted", result["adapt_threshold"], "text"),
            ("smallest landslide kept (pixels)", result["smallest_px"], "count"),
        ]
    )


def _landslides(listed: Mapping[str, Any], split: str) -> tuple[str, dict[str, Any]]:
    """Say how many landslides are predicted; tables of them by size, and of the largest ones."""
    if not listed:
        return "", {}
    text = (
        f"{words.plural(listed['landslides'], 'landslide')}, "
        f"{words.count(listed['area_m2'] / 1e4)} ha; {listed['note']}. A landslide over the "
        "boundary of tiles whose places are known is one "
        f"({words.count(listed['over_seams'])} are). All of them: "
        f"predict/{split}/landslides/landslides.csv in the run folder."
    )
    sizes = []
    for row in listed["by_size"]:
        last = row["below_px"]
        to = f" to {last - 1:,}" if last else " and more"
        sizes.append({**row, "size": f"{row['from_px']:,}{to}"})
    note = (
        "Uncertainty is 0 where the answer is sure. A base model predicts a pixel by a threshold "
        "of its own."
    )
    return text, {
        "landslides_sizes": table("By size", _SIZES, sizes),
        "landslides_largest": table("The largest", _LARGEST, listed["largest"], note=note),
    }


def _masks(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Table of the submitted masks against the threshold alone, where they differ."""
    row, masks = headline.comparison_row(scores, "stack"), scores["masks"]
    over, objects = masks["over_threshold"], masks["objects"]
    if not row or not over["value"]:
        return {}
    submitted = {
        **score_row(masks), "name": "as submitted", "gain": over["value"],
        "span": words.gain_interval(over), **{k: objects[k] for k in ("found", "false")},
    }  # fmt: skip
    note = (
        "As submitted: after the threshold was adapted to each scene and small landslides were "
        "removed, where the stack's decision does either."
    )
    title = "The masks as they are submitted, against the threshold alone"
    rows = [{**score_row(row), "name": "threshold alone"}, submitted]
    return {"masks": table(title, _MASKS, rows, note=note)}


def _thresholds(result: Mapping[str, Any]) -> dict[str, Any]:
    """Table of the threshold of each scene, where one was moved."""
    scenes = result["thresholds"]
    if not any(t["adapted"] for t in scenes):
        return {}
    rows = [{**(t["adapted"] or {}), **t} for t in scenes]
    note = "Estimated from the scores of the scene alone, without its masks."
    return {"thresholds": table("The threshold of each scene", _MOVED, rows, note=note)}


def _by_size(tiles: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Figure of F1 over the landslide pixels of each tile."""
    rows = [t for t in tiles if t["tp"] + t["fn"] > 0]
    pixels = [t["tp"] + t["fn"] for t in rows]
    f1 = [2 * t["tp"] / (2 * t["tp"] + t["fp"] + t["fn"]) for t in rows]
    hover = [
        f"tile {t['patch']}<br>{n:,} landslide pixels<br>F1 {words.score(s)}"
        for t, n, s in zip(rows, pixels, f1, strict=True)
    ]
    group = {"name": "tiles", "colour": "stack", "x": pixels, "y": words.sigfig(f1), "hover": hover}
    panel = {
        "axes": ("landslide pixels in the tile", "F1 of the tile"),
        "log": True,
        "groups": [group],
        "ranges": (None, [-0.03, 1.03]),
    }
    read = (
        "Each dot is a tile with a landslide. Few landslide pixels make a tile hard; a large tile "
        "far below is worth a look in the gallery."
    )
    return {"by_size": figure("scatter", "Which tiles are hard", read, panel)}
