"""How the networks were trained, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from l4s_ensemble.report import words
from l4s_ensemble.report.pieces import figure
from l4s_ensemble.report.source import RunSource

KEYS = ("loss", "validation_loss", "lr", "gradient_norm", "seconds")


def figures(source: RunSource) -> dict[str, Any]:
    """Figure of the progress; none in a run without epochs."""
    series = [one for fold in source.summary("unet")["folds"] for one in runs_of(fold)]
    series = [one for one in series if one["epoch"]]
    if not series:
        return {}
    return {
        "progress": figure(
            "progress",
            "Training, epoch by epoch",
            "Loss should fall and then lie flat, in all folds alike. Validation loss is that of a "
            "few held-out tiles and of the weights before they are averaged: it is reported and "
            "chooses nothing. The learning rate is a schedule. A step in the seconds means that "
            "the machine had other work.",
            words.sigfig(series),
        )
    }


def runs_of(fold: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Curves of a fold, one for each of its networks.

    Returns
    -------
    list of dict
        ``name, fold, epoch`` (from 1) and those of `KEYS` that an epoch has.
    """
    networks = fold.get("networks") or [{"number": 0, "epochs": fold.get("epochs") or []}]
    out = []
    for network in networks:
        own = network.get("epochs") or []
        number = network.get("number") or 0
        one: dict[str, Any] = {
            "name": f"fold {fold['fold']}" + (f", network {number}" if number else ""),
            "fold": fold["fold"],
            "epoch": list(range(1, len(own) + 1)),
        }
        for key in KEYS:
            values = [e.get(key) for e in own]
            if any(v is not None for v in values):
                one[key] = values
        out.append(one)
    return out
