"""The page of a predicted split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from l4s_ensemble.report import headline, words
from l4s_ensemble.report.pages import decision as threshold_decision
from l4s_ensemble.report.pages import likeness
from l4s_ensemble.report.pages.stack import elsewhere as stack_elsewhere
from l4s_ensemble.report.pages.stack import ledger as stack_ledger
from l4s_ensemble.report.pages.stack import uncertainty as stack_uncertainty
from l4s_ensemble.report.pieces import (
    Page,
    figure,
    gain_sentence,
    ledger_histograms,
    scored,
    section,
)
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import facts, table


def prediction(source: RunSource, split: str) -> Page:
    """The page of one predicted split."""
    result = source.summary(f"predict/{split}/result")
    submission = result.get("submission") or {}
    lead = (
        f"{words.plural(int(result['patches']), 'tile')} predicted; "
        f"{words.share(result['predicted_share'])} "
        f"of their pixels are called landslide at threshold {words.score(result['threshold'])}."
    )
    scores = source.summary(f"predict/{split}/scores")
    figures: dict[str, Any] = {}
    tables: dict[str, Any] = {}
    if scores:
        row = headline.ledger_row(scores, "stack") or {}
        chosen = {r["model"]: r["threshold"] for r in scores["ledger"]}
        histograms = ledger_histograms(source, f"predict/{split}/scores", scores)
        figures = scored(row, histograms, "stack", chosen)
        del figures["threshold"]  # the slider shows the same, and moves
        stage = f"predict/{split}/scores"
        figures |= stack_ledger.figures(source, stage)
        tables = stack_ledger.tables(
            source, stage, f"on {split}, at the thresholds chosen out-of-fold"
        )
        figures |= stack_uncertainty.figures(scores)
        if scores.get("tiles"):
            figures["by_size"] = figure(
                "by_size",
                "Which tiles are hard",
                "Each dot is a tile with a landslide. Few landslide pixels make a tile hard; a "
                "large tile far below is worth a look in the gallery.",
                _by_size(scores["tiles"]),
            )
        lead += f" {gain_sentence(scores.get('gain'))}"
    else:
        lead += " Without masks it has no score."
        called = threshold_decision.called_table(source, split)
        tables = {} if called is None else {"called": called}
    tables |= stack_elsewhere.tables(source, split)
    alike = likeness.told(source, split)
    figures |= likeness.figures(alike)
    tables |= likeness.tables(alike, scores)
    listed = source.summary(f"predict/{split}/slides")
    if listed:
        tables["slides_sizes"], tables["slides_largest"] = _slides(listed)
    listed_in = ""
    if listed:
        listed_in = (
            f"{words.plural(listed['slides'], 'landslide')}, "
            f"{words.count(listed['area_m2'] / 1e4)} ha; {listed['note']}. A landslide over "
            "the boundary of tiles whose places are known is one "
            f"({words.count(listed.get('over_seams') or 0)} are). All of them: "
            f"predict/{split}/slides/slides.csv in the run folder."
        )
    size = {k: submission.get(k) for k in ("path", "files", "sha256", "verified")}
    return {
        "lead": lead.strip(),
        "split": split,
        "facts": facts(
            [
                ("tiles", result["patches"], "count"),
                ("tiles with a predicted landslide", result.get("landslide_patches"), "count"),
                ("tiles unlike all of training", alike.get("unlike"), "count"),
                ("predicted pixels", result["predicted_pixels"], "count"),
                ("predicted share", result["predicted_share"], "share"),
                ("threshold", result["threshold"], "score"),
                ("submission file", size["path"], "text"),
                ("masks in it", size["files"], "count"),
                ("read back and verified", size["verified"], "text"),
                ("SHA-256", size["sha256"], "text"),
            ]
        )
        + stack_elsewhere.more_facts(result),
        "figures": figures,
        "tables": tables,
        "decide": threshold_decision.of_prediction(source, split),
        "sections": [
            section("result", "The result", "", "facts", "thresholds"),
            section("scores", "Scores", stack_ledger.mean_sentence(scores),
                    "ledger", "adds", "pr", "reliability", "masks"),
            section("threshold", "The threshold as a decision", "", "decide", "called"),
            section("slides", "Whole landslides", "", "whole", "slides_by_size", "whole_size",
                    "by_size"),
            section("seen", "Here, and where it was fitted",
                    likeness.sentence(alike), "likeness", "likenesses"),
            section("doubt", "Whether it knows where it is wrong",
                    stack_uncertainty.sentence(scores), "risk"),
            section("landslides", "Predicted landslides", listed_in, "slides_largest",
            "slides_sizes"),
            section("tiles", "Tiles", "", "gallery"),
        ],
    }  # fmt: skip


def _slides(listed: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tables of predicted landslides: by size, and the largest ones."""
    sizes = [
        {
            **row,
            "size": f"{row['from_px']:,} to {row['below_px'] - 1:,}"
            if row["below_px"]
            else f"{row['from_px']:,} and more",
        }
        for row in listed["by_size"]
    ]
    by_size = table(
        "By size",
        [("size", "pixels", "text"), ("slides", "landslides", "count"),
        ("area_m2", "area (m²)", "count")],
        sizes,
    )  # fmt: skip
    largest = table(
        "The largest",
        [
            ("id", "no.", "count"), ("tiles", "tiles", "text"), ("area_m2", "area (m²)", "count"),
            ("reason", "why, to the pixel classifier (log-odds)", "text"),
            ("mean_slope_deg", "mean slope (°)", "number"),
            ("mean_probability", "mean probability", "score"),
            ("mean_uncertainty", "uncertainty", "score"),
            ("share_called_pixel", "pixel classifier calls", "share"),
            ("share_called_unet", "U-Net calls", "share"),
            ("true_share", "share that is true", "share"),
        ],
        listed["largest"],
        note="Uncertainty is 0 where the answer is sure. A base calls "
        "a pixel by a threshold of its own.",
    )  # fmt: skip
    return by_size, largest


def _by_size(tiles: list[Mapping[str, Any]]) -> dict[str, list[Any]]:
    rows = [t for t in tiles if t["tp"] + t["fn"] > 0]
    return {
        "patch": [t["patch"] for t in rows],
        "pixels": [t["tp"] + t["fn"] for t in rows],
        "f1": [2 * t["tp"] / (2 * t["tp"] + t["fp"] + t["fn"]) for t in rows],
    }
