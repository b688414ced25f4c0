"""The U-Net's page: how well it does, what it looks at, where it fails."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from l4s_ensemble.report import words
from l4s_ensemble.report.pages import failures
from l4s_ensemble.report.pages.unet import occlusion as unet_occlusion
from l4s_ensemble.report.pages.unet import progress as unet_progress
from l4s_ensemble.report.pieces import Page, figure, fold_table, scored, section
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import facts

_SEES = (
    "All of it on tiles that the networks did not see: each is judged by those of the fold that "
    "holds it out."
)


def unet(source: RunSource) -> Page:
    """Make the U-Net's page; parts that a run does not know are left out and named."""
    summary = source.summary("unet")
    figures = scored(summary["oof"], {"unet": summary["histogram"]}, "unet")
    for part in (unet_progress, unet_occlusion):
        figures |= part.figures(source)
    figures |= failures.figures(source, "unet")
    if summary.get("logits"):
        figures["logits"] = _logits(summary["logits"], summary["oof"]["threshold"])
    folds = fold_table(
        [_fold(f) for f in summary["folds"]],
        ("train_tiles", "tiles fitted", "count"), ("n_epochs", "epochs", "count"),
        ("loss", "last loss", "number"), ("seconds", "time", "seconds"),
    )  # fmt: skip
    name = str(summary.get("network", "unet"))
    return {
        "lead": f"A network ({name}) with {words.count(summary.get('parameters'))} parameters "
        f"judges each pixel by shape and surroundings, {_members(summary)}.",
        "facts": _facts(source),
        "figures": figures,
        "tables": {"folds": folds},
        "missing": _missing(source),
        "sections": [
            section("overview", "The network", "", "facts"),
            section("scores", "How well it does", "", "pr", "threshold", "folds"),
            section("probabilities", "What its probabilities are worth", "", "reliability",
                    "logits"),
            section("training", "How it was trained", "", "progress"),
            section("sees", "What it looks at", _SEES, "occlusion"),
            section("failures", "Where it fails", "", "rim", "failures"),
            section("tiles", "Tiles, the worst first", "", "gallery"),
        ],
    }  # fmt: skip


def _members(summary: Mapping[str, Any]) -> str:
    folds = len(summary["folds"])
    seeds = int(summary.get("seeds") or 1)
    each = "one model" if seeds == 1 else f"the mean of {seeds} seeds"
    return f"{each} for each of {folds} spatial folds"


def _fold(fold: Mapping[str, Any]) -> dict[str, Any]:
    epochs = fold.get("epochs") or []
    last = epochs[-1].get("loss") if epochs else None
    return {**fold, "n_epochs": len(epochs), "loss": last}


def _facts(source: RunSource) -> list[dict[str, Any]]:
    summary = source.summary("unet")
    return facts(
        [
            ("network", summary.get("network"), "text"),
            ("parameters", summary.get("parameters"), "count"),
            ("networks of all folds", summary.get("networks"), "count"),
            ("loss", summary.get("loss"), "text"), ("optimiser", summary.get("optimiser"), "text"),
            ("schedule", summary.get("schedule"), "text"),
            *_adapted(summary),
            ("one epoch", summary.get("seconds_per_epoch"), "seconds"),
            ("precision", summary.get("precision"), "text"),
            ("device", summary.get("device"), "text"),
            ("hardware", summary.get("hardware"), "text"),
            ("steps captured as a CUDA graph", summary.get("captured"), "text"),
            ("steps skipped: gradient not finite", summary.get("skipped_steps"), "count"),
            ("shown", summary.get("channels") or summary.get("bands"), "text"),
        ]
    )  # fmt: skip


def _adapted(summary: Mapping[str, Any]) -> list[tuple[str, Any, str]]:
    """What the networks were shown of a split to predict; nothing where they were not."""
    told = summary.get("adapt")
    if not told:
        return []
    return [("batch statistics adapted to the images of", told["split"], "text")]


def _logits(found: Mapping[str, Any], threshold: float) -> dict[str, Any]:
    return figure(
        "logits",
        "Logits of landslides and of all else",
        "Share of each class's pixels by the network's log-odds, out of fold. The dashed line is "
        "the threshold: landslides left of it are missed, all else right of it is a false alarm. "
        "Two hills far apart would be easy; a single one that straddles the line is doubt.",
        {"threshold": words.sigfig(threshold), **found},
    )


def _missing(source: RunSource) -> list[dict[str, str]]:
    """What a run without these stages does not know, and the command that tells."""
    out = []
    if not source.summary("explain/unet"):
        out.append(
            {
                "stage": "What it looks at",
                "command": f"l4s-ensemble fit unet --run {source.run} --set report.occlusion=true",
            }
        )
    return out
