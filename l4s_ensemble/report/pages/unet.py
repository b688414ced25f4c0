"""The U-Net's page: how well it does, how it was trained, what it looks at, where it fails."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from l4s_ensemble.report import words
from l4s_ensemble.report.figures import FOLD_COLOURS, middles
from l4s_ensemble.report.page import Page, figure, of_fit, section
from l4s_ensemble.report.parts import failures, scores
from l4s_ensemble.report.parts.comparison import intervals
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import key_figures

_SEES = (
    "All of it on tiles that the networks did not see: each is judged by those of the fold that "
    "holds it out."
)
_EPOCHS = (
    ("loss", "loss", "loss of the training tiles"),
    ("validation_loss", "validation loss", "loss of held-out tiles"),
    ("lr", "learning rate", "learning rate"),
    ("gradient_norm", "gradient", "norm before clipping"),
    ("seconds", "time", "seconds per epoch"),
)
"""What is known of an epoch: key, title of the panel, and of its axis."""


def unet(source: RunSource) -> Page:
    """Make the U-Net's page; parts that a run does not know are left out and named."""
    summary = source.summary("unet")
    figures = scores.of_model(summary, "unet") | _progress(summary) | _logits(summary)
    figures |= _occlusion(source) | failures.figures(summary)
    last = [(fold, fold["epochs"][-1]) for fold in summary["folds"]]
    folds = scores.fold_table(
        [{**fold, "n_epochs": epoch["epoch"], "loss": epoch["loss"]} for fold, epoch in last],
        ("train_tiles", "tiles fitted", "count"), ("n_epochs", "epochs", "count"),
        ("loss", "last loss", "number"), ("seconds", "time", "seconds"),
    )  # fmt: skip
    seeds = summary["seeds"]
    each = "one model" if seeds == 1 else f"the mean of {seeds} seeds"
    again = f"l4s-ensemble fit unet --run {source.run} --set report.occlusion=true"
    return {
        "lead": f"A network ({summary['network']}) with "
        f"{words.count(summary['parameters'])} parameters judges each pixel by shape and "
        f"neighbourhood, {each} for each of {len(summary['folds'])} spatial folds.",
        "key_figures": _key_figures(summary),
        "figures": figures,
        "tables": {"folds": folds},
        "missing": []
        if source.summary("explain/unet")
        else [{"stage": "What it looks at", "command": again}],
        "sections": [
            section("overview", "The network", "", "key_figures"),
            section("scores", "How well it does", "", "pr", "threshold", "folds"),
            section("probabilities", "What its probabilities are worth", "", "reliability",
                    "logits"),
            section("training", "How it was trained", "", "progress"),
            section("sees", "What it looks at", _SEES, "occlusion"),
            section("failures", "Where it fails", "", "boundary", "failures"),
            section("tiles", "Tiles, the worst first", "", "gallery"),
        ],
    }  # fmt: skip


PAGE = of_fit(40, "unet", "U-Net", unet)


def _key_figures(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    adapted = summary["adapt"]
    return key_figures(
        [
            ("network", summary["network"], "text"),
            ("parameters", summary["parameters"], "count"),
            ("networks of all folds", summary["networks"], "count"),
            *((key, summary[key], "text") for key in ("loss", "optimiser", "schedule")),
            ("adapted to the images of", adapted["split"] if adapted else None, "text"),
            ("one epoch", summary["seconds_per_epoch"], "seconds"),
            *((key, summary[key], "text") for key in ("precision", "device", "hardware")),
            ("steps captured as a CUDA graph", summary["captured"], "text"),
            ("steps skipped: gradient not finite", summary["skipped_steps"], "count"),
            ("shown", summary["channels"], "text"),
        ]
    )


def _progress(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Figure of the training."""
    runs = []
    for n, fold in enumerate(summary["folds"]):
        for network in fold["networks"]:
            number = f", network {network['number']}" if network["number"] else ""
            look = {"name": f"fold {fold['fold']}{number}", "colour": f"fold{n % FOLD_COLOURS}"}
            runs.append((look, network["epochs"]))
    most = max(len(epochs) for _, epochs in runs)
    panels = []
    for key, label, axis in _EPOCHS:
        drawn = [
            {**look, "x": list(range(1, len(epochs) + 1)),
             "y": words.sigfig([e[key] for e in epochs])}
            for look, epochs in runs if any(e[key] is not None for e in epochs)
        ]  # fmt: skip
        if drawn:
            panel = {"label": label, "axes": ("epoch", axis), "height": 270, "series": drawn}
            panels.append({**panel, "x": list(range(1, most + 1))})
    read = (
        "Loss should fall and then lie flat, in all folds alike. Validation loss is that of a few "
        "held-out tiles and of the weights before they are averaged: it is reported and chooses "
        "nothing. The learning rate is a schedule. A step in the seconds means that the machine "
        "had other work."
    )
    # Three in a row, but four in one row.
    few = len(panels) != 4
    return {"progress": figure("lines", "Training, epoch by epoch", read, panels, few=few)}


def _logits(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Figure of the log-odds of both classes."""
    found = summary["logits"]
    at = min(max(summary["oof"]["threshold"], 1e-6), 1 - 1e-6)
    middle = middles(found["edges"])
    counted = np.flatnonzero(np.add(found["landslide"], found["other"]))
    # Bars beyond the axis would be drawn beside the figure.
    own = slice(counted[0], counted[-1] + 1) if len(counted) else slice(0)
    kinds = (("other", "all else", "other"), ("landslide", "landslide", "landslide"))
    series = [
        {"name": name, "colour": colour, "as": "bar",
         "y": [round(n / max(1, sum(found[key])), 6) for n in found[key][own]],
         "hover": [f"{n:,} pixels" for n in found[key][own]]}
        for key, name, colour in kinds
    ]  # fmt: skip
    panel = {
        "x": middle[own], "percent": True, "series": series, "bars": "overlay",
        "axes": ("logit (log-odds of a landslide)", "share of the class's pixels"),
        "at": math.log(at / (1 - at)),
    }  # fmt: skip
    read = (
        "Share of each class's pixels by the network's log-odds, out of fold. The dashed line is "
        "the threshold: landslides left of it are missed, all else right of it is a false alarm. "
        "Two hills far apart would be easy; one that straddles the line is uncertain."
    )
    return {"logits": figure("lines", "Logits of landslides and of all else", read, panel)}


def _occlusion(source: RunSource) -> dict[str, Any]:
    """Figure of F1 lost by groups of bands; none in a run that has not measured it."""
    if "explain/unet" not in source:
        return {}
    found = source.summary("explain/unet")["occlusion"]
    rows = found["groups"]
    panel = intervals("F1 lost", [{**r, "name": r["group"], "value": r["loss"], "colour": "unet"}
                                  for r in rows], dots=False)  # fmt: skip
    panel["series"][0]["hover"] = [", ".join(r["channels"]) for r in rows]
    read = (
        f"F1 lost on {words.plural(found['tiles'], 'unseen tile')} "
        f"({found['landslide_tiles']} with landslides; F1 {words.score(found['f1'])} with nothing "
        "hidden) when a group is hidden by its mean from the first network of each fold, without "
        "averaging over symmetries. Lines are 95\u202f% intervals, spatial blocks resampled: one "
        "that touches zero shows no loss. Bands that say the same stand in for each other."
    )
    return {"occlusion": figure("rows", "What each group of bands is worth", read, panel)}
