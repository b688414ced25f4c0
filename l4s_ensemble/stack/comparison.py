"""The model comparison: each base model alone, their mean, the stack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from l4s_ensemble.metrics.bootstrap import f1_gain_interval, score_interval
from l4s_ensemble.metrics.objects import ObjectCounts, f1_objects, summarise_objects
from l4s_ensemble.metrics.tiles import TileHistograms, summarise
from l4s_ensemble.run.files import read_json
from l4s_ensemble.stack.learners import BASE_MODELS

MODELS = (*BASE_MODELS, "mean", "stack")

PARTS = (("unet", "pixel"), ("pixel", "unet"), ("weights", "mean"))
"""Part of the stack, and the model that is left without it."""


def thresholds_of(folder: Path) -> dict[str, float]:
    """Threshold of each model of the comparison, chosen out of fold.

    Parameters
    ----------
    folder : Path
        Of the stage ``stack``.
    """
    summary = read_json(folder / "summary.json")
    chosen = {row["model"]: float(row["threshold"]) for row in summary["comparison"]}
    return chosen | {"stack": float(summary["threshold"])}


def compare(
    histograms: Mapping[str, TileHistograms],
    blocks: ArrayLike,
    *,
    thresholds: Mapping[str, float] | None = None,
    objects: Mapping[str, ObjectCounts] | None = None,
    adapted_to: str | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Score every model on the same tiles, and the stack's paired gain over the others.

    Parameters
    ----------
    histograms : mapping of model name to TileHistograms
    blocks : array_like, shape (tile,)
        Spatial blocks for the intervals.
    thresholds : mapping of model name to float, optional
        Chosen out of fold. Without it each model's best on these tiles is taken, which only
        out-of-fold scores allow.
    objects : mapping of model name to ObjectCounts, optional
        Whole landslides of the same tiles, counted at the thresholds.
    adapted_to : str, optional
        Split whose unlabelled images the U-Net used. Rows that it has a part in say so, for they
        are no rows of a model that saw nothing of that split.

    Returns
    -------
    dict
        ``comparison``: a row of each model: ``model, adapted_to``, what `metrics.tiles.summarise`
        gives, ``objects`` (what `metrics.objects.summarise_objects` gives, or None). ``gain``, over
        the better base model: ``over, value, low, high, blocks, level, shown`` (whether the
        interval is above zero) and, with `objects` of both, the same of the F1 of whole landslides.
        ``marginal``: such a gain of each part of `PARTS`. A stack of two models without one of them
        is the other model: a rising map changes no F1.
    """
    counted = objects or {}
    rows = []
    for name, scored in histograms.items():
        whole = counted.get(name)
        rows.append(
            {
                "model": name,
                "adapted_to": None if name == "pixel" else adapted_to,
                **summarise(scored, blocks, threshold=(thresholds or {}).get(name), seed=seed),
                "objects": None if whole is None else summarise_objects(whole, blocks, seed=seed),
            }
        )
    by_name = {row["model"]: row for row in rows}

    def gain(over: str) -> dict[str, Any]:
        pair = ("stack", over)
        one, other = (histograms[name].counts(by_name[name]["threshold"]) for name in pair)
        found = f1_gain_interval(one, other, blocks, seed=seed)
        out = {"over": over, **asdict(found), "shown": found.is_above_zero}
        if all(name in counted for name in pair):
            columns = np.concatenate([counted[name].table() for name in pair], axis=1)
            whole = score_interval(
                lambda sums: f1_objects(sums[..., :4]) - f1_objects(sums[..., 4:]),
                columns,
                blocks,
                seed=seed,
            )
            out["objects"] = {**asdict(whole), "shown": whole.is_above_zero}
        return out

    return {
        "comparison": rows,
        "gain": gain(max(BASE_MODELS, key=lambda name: by_name[name]["f1"])),
        "marginal": [{"part": part, **gain(over)} for part, over in PARTS if over in by_name],
    }
