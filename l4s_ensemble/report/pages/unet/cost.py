"""What the network costs: seconds of training and scoring, memory on a GPU."""

from __future__ import annotations

from typing import Any

from l4s_ensemble.report import words
from l4s_ensemble.report.pages.unet.progress import epochs_of
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import table


def tables(source: RunSource) -> dict[str, Any]:
    """Table of costs, as far as the run knows them."""
    summary = source.summary("unet")
    folds, rows = summary["folds"], []
    epochs = [e for f in folds for e in epochs_of(f)]
    if train := sum(e["seconds"] for e in epochs):
        speed = sum(e["seconds"] * e["patches_per_s"] for e in epochs) / train
        about = f"{words.number(speed)} patches/s; {words.seconds(train / len(folds))} a fold"
        rows.append(("training, all folds", words.seconds(train), about))
    if scoring := sum(f.get("seconds_score") or 0.0 for f in folds):
        tiles = sum(f["held_tiles"] for f in folds)
        about = f"{words.number(tiles / scoring)} tiles/s"
        rows.append(("scoring tiles out of fold", words.seconds(scoring), about))
    if (peak := summary.get("bytes_peak")) is not None:
        rows.append(("most memory on the GPU", words.megabytes(peak / 1024**2), ""))
    if not rows:
        return {}
    return {
        "cost": table(
            "Time and memory",
            [("what", "what", "text"), ("value", "takes", "text"), ("about", "that is", "text")],
            [dict(zip(("what", "value", "about"), r, strict=True)) for r in rows],
            note="Times of this run on its machine; scoring averages over symmetries if "
            "unet.tta is on.",
        )
    }
