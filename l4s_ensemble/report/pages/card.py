"""The model card's page: the run's ``model_card.json``, laid out for a reader."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from l4s_ensemble.report import headline, words
from l4s_ensemble.report.pieces import Page, section
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import SCORES, facts, score_row, table


def card(source: RunSource) -> Page:
    """Lay the model card out; nothing is computed here."""
    made = source.card
    data, protocol = made["data"], made["protocol"]
    licence = made["licence"]
    return {
        "lead": f"What these models are, what they were measured on, and what they are not for. "
        f"Fitted on {data['sensor'] or 'patches'}"
        + (", which are made up." if data["made_up"] else "."),
        "facts": facts(
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
                ("tiles set aside", protocol["holdout_tiles"], "count"),
            ]
        ),
        "figures": {},
        "tables": {
            "splits": _splits(data),
            "card_scores": _scores(made["scores"]),
            "thresholds": table(
                "Thresholds, chosen out-of-fold",
                [("model", "model", "text"), ("threshold", "threshold", "score")],
                [
                    {"model": headline.name_of({"model": name}), "threshold": value}
                    for name, value in made["thresholds"].items()
                ],
            ),
        },
        "lines": {
            "misuse": made["misuse"],
            "limits": made["limits"],
            "licences": [_licence("Code", licence["code"]), _licence("Data", licence["data"])],
        },
        "sections": [
            section("misuse", "What it is not for", "", "misuse"),
            section("limits", "Limits", "", "limits"),
            section("scores", "Scores", "", "card_scores", "thresholds"),
            section("data", "Data and protocol", "", "facts", "splits"),
            section("licence", "Licence", "", "licences"),
        ],
        "card": dict(made),
    }


def _splits(data: Mapping[str, Any]) -> dict[str, Any]:
    return table(
        "The patches",
        [
            ("split", "split", "text"), ("patches", "tiles", "count"),
            ("landslide_patches", "with a landslide", "count"),
            ("prevalence", "share of landslide pixels", "share"),
            ("degenerate", "without terrain", "count"), ("masks", "masks", "text"),
        ],
        data["splits"],
    )  # fmt: skip


def _scores(scores: list[Mapping[str, Any]]) -> dict[str, Any]:
    rows = []
    for score in scores:
        if not score["measured"]:
            rows.append({"on": score["on"], "model": f"{score['told']}: {score['why']}"})
            continue
        rows += [
            {**score_row(row), "on": score["on"], "model": headline.name_of(row)}
            for row in score["models"]
        ]
    kept = [c for c in SCORES if c[0] != "iou"]
    return table(
        "Every score of these models",
        [("on", "measured on", "text"), ("model", "model", "text"), *kept],
        rows,
        note="Thresholds were chosen out-of-fold, so those rows are a little too good. "
        + words.some(_why_not(scores), 3),
    )


def _why_not(scores: list[Mapping[str, Any]]) -> list[str]:
    return [
        f"{s['on']} does not compare with published scores: {s['not_comparable']}"
        for s in scores
        if s["measured"] and s["not_comparable"] and s["kind"] == "split"
    ]


def _licence(of: str, licence: Mapping[str, str]) -> str:
    told = f"{of}: {licence['name']} ({licence['covers']})."
    told += f" {licence['source']}." if "source" in licence else ""
    return told + (f" Cite {licence['cite']}" if "cite" in licence else "")
