"""The page of a predicted split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from l4s_ensemble.report import headline, words
from l4s_ensemble.report.pieces import (
    Page,
    figure,
    gain_sentence,
    ledger_histograms,
    ledger_table,
    scored,
    section,
)
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import facts


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
        tables["ledger"] = ledger_table(
            scores["ledger"], f"on {split}, at the thresholds chosen out-of-fold"
        )
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
    size = {k: submission.get(k) for k in ("path", "files", "sha256", "verified")}
    return {
        "lead": lead.strip(),
        "split": split,
        "facts": facts(
            [
                ("tiles", result["patches"], "count"),
                ("tiles with a predicted landslide", result.get("landslide_patches"), "count"),
                ("predicted pixels", result["predicted_pixels"], "count"),
                ("predicted share", result["predicted_share"], "share"),
                ("threshold", result["threshold"], "score"),
                ("submission file", size["path"], "text"),
                ("masks in it", size["files"], "count"),
                ("read back and verified", size["verified"], "text"),
                ("SHA-256", size["sha256"], "text"),
            ]
        ),
        "figures": figures,
        "tables": tables,
        "sections": [
            section("result", "The result", "", "facts"),
            *(
                [section("scores", "Scores", "", "ledger", "pr", "threshold", "reliability",
                "by_size")]
                if scores
                else []
            ),
            section("tiles", "Tiles", "", "gallery"),
        ],
    }  # fmt: skip


def _by_size(tiles: list[Mapping[str, Any]]) -> dict[str, list[Any]]:
    rows = [t for t in tiles if t["tp"] + t["fn"] > 0]
    return {
        "patch": [t["patch"] for t in rows],
        "pixels": [t["tp"] + t["fn"] for t in rows],
        "f1": [words.sigfig(2 * t["tp"] / (2 * t["tp"] + t["fp"] + t["fn"])) for t in rows],
    }
