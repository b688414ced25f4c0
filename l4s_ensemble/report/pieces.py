"""Pieces that several pages are made of: sections, figures of scores, ledgers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from l4s_ensemble.metrics.histogram import ScoreHistogram
from l4s_ensemble.report import curves, headline, words
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import SCORES, score_row, table

Page = dict[str, Any]

BLOCKS = (
    "gallery", "mosaics", "slides", "decide", "browser",
)  # fmt: skip
"""Blocks of a page that have a template of their own, under their key."""

READ_PR = (
    "Each point of a line is one threshold; up and to the right is better. Dotted lines join "
    "points of equal F1, the marker is the threshold in use."
)

READ_THRESHOLD = (
    "The higher F1 stays around the dashed line, the less the exact threshold matters. The "
    "shaded plateau is within 0.01 of the best F1."
)

READ_RELIABILITY = (
    "A point on the diagonal keeps its word: of the pixels called 30\u202f% likely, 30\u202f% "
    "are landslide. Below it the model says too much. Larger points stand for more pixels."
)


def bare() -> Page:
    """What any page may have and none needs: facts, tables, figures, blocks of its own kind."""
    return {"facts": [], "tables": {}, "figures": {}, "missing": [], **dict.fromkeys(BLOCKS)}


def section(key: str, title: str, text: str, *items: str) -> dict[str, Any]:
    """Make a section: items are ids of figures, tables, fact lists or the gallery."""
    return {"id": key, "title": title, "text": text, "items": list(items)}


def figure(kind: str, title: str, read: str, data: Any) -> dict[str, Any]:
    """Describe a figure: what kind, what it shows, how to read it, and its numbers."""
    return {"kind": kind, "title": title, "read": read, "data": data}


def scored(
    row: Mapping[str, Any],
    histograms: Mapping[str, Mapping[str, Any]],
    main: str,
    thresholds: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Make the three figures of a scored model: precision-recall, threshold, reliability."""
    read = {m: ScoreHistogram.from_dict(dict(h)) for m, h in histograms.items() if h}
    cut = {main: row["threshold"], **(thresholds or {})}
    plateau = (row["plateau_low"], row["plateau_high"]) if "plateau_low" in row else None
    return {
        "pr": figure(
            "pr", "Precision and recall at every threshold", READ_PR,
            [
                {"model": m, "name": headline.MODEL_NAMES[m], **curves.precision_recall(h, cut[m])}
                for m, h in read.items()
            ],
        ),
        "threshold": figure(
            "threshold", "How much the threshold matters", READ_THRESHOLD,
            curves.by_threshold(read[main], row["threshold"], plateau),
        ),
        "reliability": figure(
            "reliability", "Whether probabilities can be believed", READ_RELIABILITY,
            [
                {"model": m, "name": headline.MODEL_NAMES[m], **words.sigfig(h.reliability())}
                for m, h in read.items() if m != "mean"
            ],
        ),
    }  # fmt: skip


def ranked(title: str, read: str, axis: str, rows: Any, key: str, n: int = 20) -> dict[str, Any]:
    """Describe bars of the first `n` rows."""
    kept = [
        {"name": r["name"], "group": r["group"], "value": words.sigfig(r[key])} for r in rows[:n]
    ]
    return figure("bars", title, read, {"axis": axis, "rows": kept})


def ledger_table(rows: list[Mapping[str, Any]], where: str) -> dict[str, Any]:
    """Table of the ledger's four rows."""
    named = [{**score_row(r), "model": headline.name_of(r)} for r in rows]
    return table(
        f"Each model alone, their mean, and the stack, {where}",
        [("model", "model", "text"), *SCORES], named,
        note="Intervals resample spatial blocks of tiles. Rows whose intervals overlap may still "
        "differ: the paired gain in the first sentence decides.",
    )  # fmt: skip


def ledger_histograms(
    source: RunSource, stage: str, summary: Mapping[str, Any]
) -> dict[str, Mapping[str, Any]]:
    """Pooled histograms of the four models, as far as their files are there."""
    found: dict[str, Mapping[str, Any]] = {}
    for row in summary["ledger"]:
        model = row["model"]
        tiles = source.tiles(stage, f"tiles_{model}.npz")
        if tiles is not None:
            found[model] = tiles.pooled().as_dict()
    found.setdefault("stack", summary["histogram"])
    return found


def gain_sentence(gain: Mapping[str, Any] | None) -> str:
    """Say what the stack gains over the better of the two, or that no gain is shown."""
    if not gain:
        return ""
    value = gain["value"]
    over = headline.MODEL_NAMES.get(gain["over"], gain["over"])
    if gain["low"] is None or gain["high"] is None:
        told = words.no_interval(int(gain.get("blocks") or 0))
        return f"Against the {over} alone F1 moves by {words.gain(value)}; {told}."
    shown = "a gain" if gain["low"] > 0 else "no gain shown"
    return (
        f"Against the {over} alone F1 moves by {words.gain(value)} "
        f"({words.gain(gain['low'])} to {words.gain(gain['high'])}): {shown}."
    )


def fold_table(folds: list[Mapping[str, Any]], *more: tuple[str, str, str]) -> dict[str, Any]:
    """Make the table of a model's folds."""
    return table(
        "Fold by fold",
        [
            ("fold", "fold", "count"), ("held_tiles", "tiles held out", "count"),
            ("buffer_tiles", "tiles in the buffer", "count"), *more,
            ("f1", "F1", "score"), ("precision", "precision", "score"), ("recall", "recall",
            "score"),
        ],
        folds,
        note="Scores on the held tiles at the threshold of all folds together. Buffer tiles touch "
        "held tiles and train nothing.",
    )  # fmt: skip
