"""The model card's page: the run's ``model_card.json``, laid out for a reader."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from l4s_ensemble.report import commands, words
from l4s_ensemble.report.headline import name_of
from l4s_ensemble.report.page import Page, PageKind, lines, section
from l4s_ensemble.report.source import FITS, RunSource
from l4s_ensemble.report.table import SCORES, Column, key_figures, score_row, table

_SPLITS: tuple[Column, ...] = (
    ("split", "text"), ("patches", "tiles", "count"),
    ("landslide_patches", "with a landslide", "count"),
    ("prevalence", "share of landslide pixels", "share"),
    ("degenerate", "without terrain", "count"), ("masks", "text"),
)  # fmt: skip
_SCORES: tuple[Column, ...] = (
    ("on", "measured on", "text"), ("model", "text"), *(c for c in SCORES if c[0] != "iou"),
)  # fmt: skip


def card(source: RunSource, page: str) -> Page:
    """Lay the model card out; nothing is computed here."""
    made = source.card
    data, protocol, licence = made["data"], made["protocol"], made["licence"]
    return {
        "lead": f"What these models are, what they were measured on, and what they are not for. "
        f"Fitted on {data['sensor'] or 'patches'}"
        + (", which are synthetic." if data["synthetic"] else "."),
        "key_figures": key_figures(
            [
                ("model", made["name"], "text"),
                ("version of l4s_ensemble", made["version"], "text"),
                ("made", str(made["made"] or "").replace("T", " ")[:19], "text"),
                ("meta-learner", made["learner"], "text"),
                ("seed", made["seed"], "text"),
                ("bands", data["bands"], "text"),
                ("pixel (m)", data["pixel_m"], "number"),
                ("edge of a tile (pixels)", data["tile_px"], "count"),
                ("folds", protocol["folds"], "count"),
                ("folds are", protocol["folds_are"], "text"),
                ("places known by", protocol["grid"], "text"),
                ("tiles of the holdout", protocol["holdout_tiles"], "count"),
            ]
        ),
        "tables": {
            "splits": table("The patches", _SPLITS, data["splits"]),
            "card_scores": _scores(made["scores"]),
        },
        "misuse": lines(made["misuse"]),
        "limits": lines(made["limits"]),
        "licences": lines([_licence(of, licence[of.lower()]) for of in ("Code", "Data")]),
        "sections": [
            section("misuse", "What it is not for", "", "misuse"),
            section("limits", "Limits", "", "limits"),
            section("scores", "Scores", "", "card_scores"),
            section("data", "Data and protocol", "", "key_figures", "splits"),
            section("licence", "Licence", "", "licences"),
        ],
        "card": dict(made),
    }


PAGE = PageKind(
    order=80,
    name="card",
    title="Model card",
    stages=lambda source: (
        {"card": [n for n in ("data/train", *FITS) if n in source]} if source.card else {}
    ),
    make=card,
    commands=commands.everything,
)


def _scores(scores: list[Mapping[str, Any]]) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for score in scores:
        if not score["measured"]:
            rows.append({"on": score["on"], "model": f"{score['note']}: {score['why']}"})
            continue
        rows += [{**score_row(r), "on": score["on"], "model": name_of(r)} for r in score["models"]]
    why_not = [
        f"{s['on']} does not compare with published scores: {s['not_comparable']}"
        for s in scores
        if s["measured"] and s["not_comparable"] and s["kind"] == "split"
    ]
    note = "Thresholds were chosen out-of-fold, so those rows are a little too good. "
    return table("Every score of these models", _SCORES, rows, note=note + words.some(why_not, 3))


def _licence(of: str, licence: Mapping[str, str]) -> str:
    said = f"{of}: {licence['name']} ({licence['covers']})."
    said += f" {licence['source']}." if "source" in licence else ""
    return said + (f" Cite {licence['cite']}" if "cite" in licence else "")
