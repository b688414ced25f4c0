"""The pages of the two base models: pixel classifier and U-Net."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from l4s_ensemble.report import curves, words
from l4s_ensemble.report.pieces import (
    Page,
    figure,
    fold_table,
    ranked,
    scored,
    section,
)
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import facts


def pixel(source: RunSource) -> Page:
    """The pixel classifier's page."""
    summary = source.summary("pixel")
    groups = {g["name"]: g["group"] for g in summary.get("gain", [])}
    figures = scored(summary["oof"], {"pixel": summary["histogram"]}, "pixel")
    if summary.get("gain"):
        figures["gain"] = ranked(
            "Where the trees cut",
            "Share of the loss that all splits on a feature remove. Of two features that say the "
            "same, one may take it all.",
            "share of gain", summary["gain"], "share",
        )  # fmt: skip
    if summary.get("contribution"):
        figures["contribution"] = ranked(
            "What moves the answer",
            "Mean size of what a feature adds to the log-odds of a pixel (exact TreeSHAP, each "
            "pixel by the model that never saw its tile).",
            "mean |contribution| to the logit", summary["contribution"], "mean_abs",
        )  # fmt: skip
    found = source.arrays("pixel", "contributions.npz")
    if found is not None and {"values", "contributions", "names"} <= set(found):
        figures["beeswarm"] = figure(
            "beeswarm",
            "In which direction a feature pushes",
            "Each dot is a pixel: to the right the feature pushes towards landslide. Colour is "
            "the feature's own value, from low to high among the sampled pixels.",
            _beeswarm(found, groups),
        )
    rows = summary.get("rows", {})
    return {
        "lead": f"LightGBM judges each pixel alone by "
        f"{words.plural(len(summary['features']), 'feature')}, "
        f"with one model for each of {len(summary['folds'])} spatial folds.",
        "facts": facts(
            [
                ("features", len(summary["features"]), "count"),
                ("pixels sampled for training", rows.get("pixels"), "count"),
                ("of them landslide", rows.get("positives"), "count"),
                ("folds", len(summary["folds"]), "count"),
                ("tiles scored per second", summary.get("patches_per_s"), "number"),
            ]
        ),
        "figures": figures,
        "tables": {
            "folds": fold_table(
                summary["folds"],
                ("rows", "rows fitted", "count"), ("positives", "of them landslide", "count"),
                ("seconds_fit", "fit", "seconds"), ("seconds_score", "score", "seconds"),
            )
        },
        "sections": [
            section("overview", "At a glance", "", "facts"),
            section("scores", "How well it does", "", "pr", "threshold", "reliability", "folds"),
            section("why", "Why it says so", "", "gain", "contribution", "beeswarm"),
            section("tiles", "Tiles", "", "gallery"),
        ],
    }  # fmt: skip


def unet(source: RunSource) -> Page:
    """The U-Net's page."""
    summary = source.summary("unet")
    figures = scored(summary["oof"], {"unet": summary["histogram"]}, "unet")
    series = [
        {
            "name": f"fold {f['fold']}",
            **{k: [e.get(k) for e in f["epochs"]] for k in ("epoch", "loss", "lr")},
        }
        for f in summary["folds"]
        if f.get("epochs")
    ]
    if series:
        figures["loss"] = figure(
            "loss",
            "Training loss by epoch",
            "It should fall and then lie flat; folds should fall alike. It says nothing about "
            "tiles not seen, the scores above do.",
            words.sigfig(series),
        )
        figures["lr"] = figure(
            "lr",
            "Learning rate by epoch",
            "The schedule is fixed before training: up, then down to nearly nothing.",
            words.sigfig(series),
        )
    known = ("network", "parameters", "width", "depth", "precision", "channels_last", "device")
    labels = {"channels_last": "channels-last memory"}
    pairs = [
        (labels.get(k, k), summary.get(k), "count" if k == "parameters" else "text") for k in known
    ]
    name = str(summary.get("network", "unet"))
    return {
        "lead": f"A network ({name}) with {words.count(summary.get('parameters'))} parameters "
        f"judges "
        f"each pixel by shape and surroundings, one model for each of {len(summary['folds'])} "
        "spatial folds.",
        "facts": facts([*pairs, ("bands", summary.get("bands"), "text")]),
        "figures": figures,
        "tables": {
            "folds": fold_table(
                [{**f, "n_epochs": len(f.get("epochs", []))} for f in summary["folds"]],
                ("train_tiles", "tiles fitted", "count"), ("n_epochs", "epochs", "count"),
                ("seconds", "time", "seconds"),
            )
        },
        "sections": [
            section("overview", "The network", "", "facts"),
            section("scores", "How well it does", "", "pr", "threshold", "reliability", "folds"),
            section("training", "How it was trained", "", "loss", "lr"),
            section("tiles", "Tiles", "", "gallery"),
        ],
    }  # fmt: skip


def _beeswarm(found: Mapping[str, Any], groups: Mapping[str, str], n: int = 12) -> Any:
    """Contributions of the features that move most, with each value's rank among the rows."""
    size = np.abs(found["contributions"]).mean(axis=0)
    step = max(1, len(found["contributions"]) // 500)
    rows = []
    for i in np.argsort(-size)[:n]:
        value, push = found["values"][::step, i], found["contributions"][::step, i]
        rank = np.argsort(np.argsort(value, kind="stable")) / max(1, len(value) - 1)
        name = str(found["names"][i])
        rows.append(
            {
                "name": name,
                "group": groups.get(name, ""),
                "contribution": curves.plain(push, 3),
                "rank": curves.plain(rank, 2),
                "value": curves.plain(value, 3),
            }
        )
    return rows
