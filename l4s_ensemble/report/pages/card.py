"""The model card's page: the run's ``model_card.json``, laid out for a reader."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from l4s_ensemble.report import commands, words
from l4s_ensemble.report.headline import name_of
from l4s_ensemble.report.page import Page, PageKind, lines, section, stat
from l4s_ensemble.report.parts import scores
from l4s_ensemble.report.source import FITS, RunSource
from l4s_ensemble.report.table import Column, key_figures, table

_SPLITS: tuple[Column, ...] = (
    ("split", "text"), ("patches", "tiles", "count"),
    ("landslide_patches", "with a landslide", "count"),
    ("prevalence", "share of landslide pixels", "share"), ("masks", "text"),
)  # fmt: skip
_SCORES: tuple[Column, ...] = (
    ("on", "measured on", "text"), ("model", "text"), ("f1", "F1", "score"),
    ("interval", "95 % interval", "interval"), ("precision", "score"), ("recall", "score"),
    ("threshold", "score"),
)  # fmt: skip


def card(source: RunSource, page: str) -> Page:
    """Lay the model card out; nothing is computed here."""
    made = source.card
    data, protocol, licence = made["data"], made["protocol"], made["licence"]
    measured = [s for s in made["scores"] if s["measured"]]
    stats = []
    for score in measured:
        row = next((r for r in score["models"] if r["model"] == "stack"), None)
        if row:
            stats.append(stat(f"F1, {score['on']}", row["f1"], "score", _ends(row)))
    fitted = f"Fitted on patches of sensor {data['sensor']}"
    return {
        "lead": "Fitted on synthetic patches: for trying the program only."
        if data["synthetic"]
        else f"{fitted}. {made['limits'][0]}",
        "picture": "places",
        "figures": {"places": scores.where_it_was_scored(source, "stack")},
        "stats": [
            *stats,
            stat("licence of the models", licence["data"]["name"], "text", licence["code"]["name"]),
        ],
        "blocks": {
            "misuse": lines(made["misuse"], "Not for"),
            "limits": lines(made["limits"], "Limits"),
            "licences": lines([_licence(of, licence[of.lower()]) for of in ("Code", "Data")]),
            "models": key_figures(
                [
                    ("model", made["name"], "text"),
                    ("version of l4s_ensemble", made["version"], "text"),
                    ("made", str(made["made"] or "").replace("T", " ")[:19], "text"),
                    ("meta-learner", made["learner"], "text"),
                    ("bands", data["bands"], "text"),
                    ("pixel (m)", data["pixel_m"], "number"),
                    ("folds", protocol["folds"], "count"),
                    ("folds are", protocol["folds_are"], "text"),
                    ("places known by", protocol["grid"], "text"),
                    ("tiles of the holdout", protocol["holdout_tiles"], "count"),
                ]
            ),
        },
        "tables": {
            "splits": table("The patches", _SPLITS, data["splits"]),
            "card_scores": _scores(made["scores"]),
        },
        "sections": [
            section("use", "What it is not for, and its limits", "", "misuse", "limits"),
            section("scores", "Scores", "", "card_scores"),
            section("licence", "Licence", "", "licences"),
            section("data", "Data and protocol", "", "models", "splits", folded=True),
        ],
        "card": dict(made),
    }


PAGE = PageKind(
    order=80,
    name="card",
    title="Model card",
    question="May I use these models, and for what?",
    stages=lambda source: (
        {"card": [n for n in ("data/train", *FITS) if n in source]} if source.card else {}
    ),
    make=card,
    commands=commands.everything,
)


def _ends(row: Mapping[str, Any]) -> str:
    low, high = row["f1_low"], row["f1_high"]
    if low is None or high is None:
        return words.no_interval(row["blocks"])
    return f"95\u202f% interval {words.score(low)} to {words.score(high)}"


def _scores(scores: list[Mapping[str, Any]]) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for score in scores:
        if not score["measured"]:
            rows.append({"on": score["on"], "model": f"{score['note']}: {score['why']}"})
            continue
        for r in score["models"]:
            ends = None if r["f1_low"] is None else [r["f1_low"], r["f1_high"]]
            name = name_of(r["model"], r["adapted_to"])
            rows.append({**r, "on": score["on"], "model": name, "interval": ends})
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
