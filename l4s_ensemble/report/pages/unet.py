"""The U-Net's page: how well it does, how it was trained, what it looks at, where it fails."""

from __future__ import annotations

from typing import Any

from l4s_ensemble.report import headline, words
from l4s_ensemble.report.figures import FOLD_COLOURS
from l4s_ensemble.report.page import Page, figure, of_fit, section
from l4s_ensemble.report.pages.pixel import stats
from l4s_ensemble.report.parts import failures, scores
from l4s_ensemble.report.pictures import gallery
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import key_figures
from l4s_ensemble.unet.summary import ExplainSummary, UNetSummary

_EPOCHS = (
    ("validation_loss", "validation loss", "loss of held-out tiles"),
    ("loss", "training loss", "loss of the training tiles"),
)
"""What is shown of an epoch: key, title of the panel, and of its axis."""


def unet(source: RunSource) -> Page:
    """Make the U-Net's page; parts that a run does not know are left out and named."""
    summary = source.need(UNetSummary)
    score = headline.out_of_fold(source, "unet")
    assert score is not None
    histogram = {"unet": scores.histogram(summary.histogram)}
    figures = scores.scored(histogram, {"unet": summary.oof.threshold})
    figures |= _progress(summary) | failures.figures(summary.failures)
    figures |= {"places": scores.where_it_was_scored(source, "unet")}
    explained = source.get(ExplainSummary)
    figures |= _occlusion(explained) if explained else {}
    folds = scores.fold_table(
        [{**f.model_dump(), "n_epochs": len(f.epochs)} for f in summary.folds],
        ("train_tiles", "tiles fitted", "count"),
        ("n_epochs", "epochs", "count"),
    )
    again = f"l4s-ensemble fit unet --run {source.run} --set report.occlusion=true"
    return {
        "lead": score.sentence(),
        "stats": stats(source, "unet"),
        "picture": "places",
        "blocks": {"network": _key_figures(summary)},
        "figures": figures,
        "tables": {"folds": folds},
        "missing": [] if explained else [{"stage": "What it looks at", "command": again}],
        "sections": [
            section("why", "Why: which bands it needs", "", "occlusion"),
            section("training", "How it was trained", "", "progress"),
            section("failures", "Where it is wrong", "", "boundary", "failures"),
            section("tiles", "Tiles", "", "gallery"),
            section("network", "The network", "", "network", folded=True),
            section("scores", "Curves and folds", "", "pr", "reliability", "folds", folded=True),
        ],
    }


PAGE = of_fit(
    40,
    "unet",
    "U-Net",
    "How good is the U-Net in a known and in a new place, why, and where is it wrong?",
    unet,
    gallery.of_fit,
)


def _key_figures(summary: UNetSummary) -> dict[str, Any]:
    return key_figures(
        [
            ("network", summary.network, "text"),
            ("parameters", summary.parameters, "count"),
            ("networks of all folds", summary.networks, "count"),
            ("loss", summary.loss, "text"),
            ("optimiser", summary.optimiser, "text"),
            ("schedule", summary.schedule, "text"),
            ("one epoch", summary.seconds_per_epoch, "seconds"),
            ("precision", summary.precision, "text"),
            ("hardware", f"{summary.device}, {summary.hardware}", "text"),
            ("steps captured as a CUDA graph", summary.captured, "text"),
            ("steps skipped: gradient not finite", summary.skipped_steps, "count"),
            ("channels", summary.channels, "text"),
        ]
    )


def _progress(summary: UNetSummary) -> dict[str, Any]:
    """Figure of the training: a line for each network."""
    runs = []
    for n, fold in enumerate(summary.folds):
        for network in fold.networks:
            number = f", network {network.number}" if network.number else ""
            look = {"name": f"fold {fold.fold}{number}", "colour": f"fold{n % FOLD_COLOURS}"}
            runs.append((look, network.epochs))
    most, panels = max(len(epochs) for _, epochs in runs), []
    for key, label, axis in _EPOCHS:
        drawn = []
        for look, epochs in runs:
            values = [getattr(e, key) for e in epochs]
            if any(v is not None for v in values):
                x = list(range(1, len(values) + 1))
                drawn.append({**look, "x": x, "y": words.sigfig(values)})
        if drawn:
            panel = {"label": label, "axes": ("epoch", axis), "height": 250, "series": drawn}
            panels.append({**panel, "x": list(range(1, most + 1))})
    read = (
        "Loss should fall and then lie flat, in all folds alike. Validation loss is that of a few "
        "held-out tiles, of the weights before they are averaged; it chooses nothing."
    )
    return {"progress": figure("lines", "Loss, epoch by epoch", read, panels, few=True)}


def _occlusion(explained: ExplainSummary) -> dict[str, Any]:
    """Figure of F1 lost by groups of bands."""
    found = explained.occlusion
    rows = [
        {"name": g.group, "value": g.loss, "low": g.low, "high": g.high, "colour": "unet"}
        for g in found.groups
    ]
    panel = scores.intervals("F1 lost", rows, dots=False)
    panel["series"][0]["hover"] = [", ".join(g.channels) for g in found.groups]
    few = "" if any(g.low is not None for g in found.groups) else words.no_interval(found.blocks)
    read = (
        f"F1 lost on {words.plural(found.tiles, 'unseen tile')} ({found.landslide_tiles} with "
        f"landslides; F1 {words.score(found.f1)} with nothing hidden) when a group of bands is "
        "replaced by its mean. Bands that say the same stand in for each other. "
    ) + (f"{few[0].upper()}{few[1:]}." if few else "Lines are 95\u202f% intervals.")
    return {"occlusion": figure("rows", "What each group of bands is worth", read, panel)}
