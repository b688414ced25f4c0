"""How far the bands of other splits lie from those of training, by the percentiles of the build."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from l4s_ensemble.report import words
from l4s_ensemble.report.page import figure
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import Column, table

LARGE, MEDIUM = 1.0, 0.5
"""Standardised shifts that are flagged."""

MOST_ROWS = 12


def shifts(source: RunSource) -> list[dict[str, Any]]:
    """Shift of every band of every split against training, the largest first.

    Returns
    -------
    list of dict
        ``split``, ``band``, ``tiles``, ``p50``, ``p50_train``, ``shift`` (see `standardised`) and
        ``flag``. Empty without a training split; a band without a shift is left out.
    """
    if "train" not in source.splits:
        return []
    summaries = {s: source.summary(f"data/{s}") for s in source.splits}
    train = {b["name"]: b for b in summaries["train"]["bands"]}
    rows = [
        {
            "split": split, "band": band["name"], "tiles": summary["patches"], "p50": band["p50"],
            "p50_train": train[band["name"]]["p50"], "shift": shift, "flag": flag(shift),
        }
        for split, summary in summaries.items() if split != "train"
        for band in summary["bands"] if band["name"] in train
        if (shift := standardised(band, train[band["name"]])) is not None
    ]  # fmt: skip
    return sorted(rows, key=lambda r: -abs(r["shift"]))


def standardised(one: Mapping[str, float], other: Mapping[str, float]) -> float | None:
    """Difference of medians over the root mean square of both interquartile ranges.

    None if neither band varies.
    """
    spread = float(np.hypot(one["p75"] - one["p25"], other["p75"] - other["p25"]) / np.sqrt(2))
    step = one["p50"] - other["p50"]
    if spread <= 0:
        return 0.0 if step == 0 else None
    return step / spread


def flag(shift: float) -> str:
    """Word for a standardised shift."""
    size = abs(shift)
    return "large" if size > LARGE else "medium" if size > MEDIUM else ""


_COLUMNS: tuple[Column, ...] = (
    ("split", "text"), ("band", "text"), ("p50", "median", "number"),
    ("p50_train", "median of training", "number"), ("shift", "shift (IQR)", "signed"),
    ("flag", "text"), ("tiles", "count"),
)  # fmt: skip


def parts(source: RunSource) -> tuple[dict[str, Any], dict[str, Any]]:
    """Figure and table of the shifts; empty where nothing is compared."""
    rows = shifts(source)
    if not rows:
        return {}, {}
    value = {(r["split"], r["band"]): r["shift"] for r in rows}
    bands = [b["name"] for b in source.summary("data/train")["bands"]]
    splits = [s for s in source.splits if s != "train"]
    most = max([1.0, *(min(abs(v), 3.0) for v in value.values())])
    panel = {
        "z": [[words.sigfig(value.get((s, b)), 3) for b in bands] for s in splits],
        "text": [[_short(value.get((s, b))) for b in bands] for s in splits],
        "hover": [[f"{s} against train, {b}: {value.get((s, b)) or 0:+.2f} interquartile ranges"
                  for b in bands] for s in splits],
        "scale": ("low", "paper", "high"), "ends": (-most, most), "bar": "IQR",
        "names": (bands, splits),
    }  # fmt: skip
    drawn = figure(
        "heatmap",
        "How far each band lies from training, in interquartile ranges",
        "Every cell is a difference of medians over the pooled interquartile range. Orange is "
        "brighter or higher than in training, blue darker or lower; beyond ±1 is flagged.",
        panel,
        wide=True,
    )
    note = f"Large is beyond {words.number(LARGE)}, medium beyond {words.number(MEDIUM)}."
    if len(rows) > MOST_ROWS:
        note += f" The first {MOST_ROWS} of {len(rows)}; all are in the figure above."
    title = "Largest shifts of a band against training"
    listed = table(title, _COLUMNS, rows[:MOST_ROWS], note=note, sortable=True)
    return {"shift": drawn}, {"shifts": listed}


def _short(value: float | None) -> str:
    """One digit and a sign, for a cell."""
    if value is None:
        return ""
    return "0" if abs(value) < 0.05 else f"{value:+.1f}".replace("-", "\u2212")
