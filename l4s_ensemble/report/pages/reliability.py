"""Whether a model's probabilities mean what they say, and where its threshold lies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from l4s_ensemble.report import words
from l4s_ensemble.report.pieces import READ_RELIABILITY, READ_THRESHOLD, figure, scored
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import table

Part = tuple[dict[str, Any], dict[str, Any]]
"""Figures and tables."""

NAMES = {"as scored": "as scored", "beta": "after beta calibration", "isotonic": "after isotonic"}


def parts(source: RunSource, model: str) -> Part:
    """Precision and recall, threshold, reliability before and after, and their table.

    Parameters
    ----------
    model : {'pixel', 'unet'}
        Also the name of its stage.
    """
    summary = source.summary(model)
    figures = scored(summary["oof"], {model: summary["histogram"]}, model)
    maps = (summary.get("calibration") or {}).get("maps") or []
    half = maps[0] if maps else halved(summary["oof"])
    if half is not None:
        was = figures["threshold"]
        figures["threshold"] = figure(
            "threshold_half", was["title"],
            READ_THRESHOLD + " The diamond marks half of the best F1: where the best threshold "
            "lies if probabilities mean what they say.",
            {**was["data"], "half": words.sigfig(half["half_f1"]),
             "f1_at_half": words.sigfig(half.get("f1_at_half"))},
        )  # fmt: skip
    if not maps:
        return figures, {}
    figures["reliability"] = figure(
        "corrections",
        "Whether probabilities can be believed, before and after",
        READ_RELIABILITY + " A correction is learnt on the other folds and tried on this one; it "
        "is not part of the model.",
        [
            {
                "name": NAMES.get(m["name"], m["name"]),
                **{k: words.sigfig(m["reliability"][k]) for k in ("predicted", "observed")},
                "pixels": m["reliability"]["pixels"],
            }
            for m in maps
        ],
    )
    return figures, {"calibration": _table(maps)}


def halved(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Half of the best F1 from a row of scores, for a run without ``calibration``."""
    best = row.get("f1_best")
    if best is None:
        return None
    return {
        "half_f1": best / 2,
        "off_half": row["threshold_best"] - best / 2 if "threshold_best" in row else None,
        "f1_best": best,
    }


def _table(maps: list[dict[str, Any]]) -> dict[str, Any]:
    return table(
        "Probabilities before and after a correction",
        [
            ("name", "probabilities", "text"),
            ("expected_calibration_error", "calibration error", "number"),
            ("brier", "Brier score", "number"), ("log_loss", "log loss (nats)", "number"),
            ("f1_best", "best F1", "score"), ("threshold_best", "its threshold", "score"),
            ("half_f1", "half the best F1", "score"), ("off_half", "apart by", "gain"),
            ("f1_at_half", "F1 at half", "score"),
        ],
        [{**m, "name": NAMES.get(m["name"], m["name"])} for m in maps],
        note="The first three are better when smaller. The best threshold of calibrated "
        "probabilities is half the best F1 (Lipton, Elkan and Narayanaswamy 2014): far from it, "
        "they do not mean what they say.",
    )  # fmt: skip
