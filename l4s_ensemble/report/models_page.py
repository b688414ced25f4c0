"""The page of the U-Net."""

from __future__ import annotations

from l4s_ensemble.report import words
from l4s_ensemble.report.pieces import (
    Page,
    figure,
    fold_table,
    scored,
    section,
)
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import facts


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
