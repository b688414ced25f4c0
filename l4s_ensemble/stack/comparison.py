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
from l4s_ensemble.run.execute import read_manifest
from l4s_ensemble.run.files import read_json
from l4s_ensemble.stack.learners import BASE_MODELS

MODELS = (*BASE_MODELS, "mean", "stack")

PARTS = (("unet", "pixel"), ("pixel", "unet"), ("weights", "mean"))
"""Part of the stack, and the model that is left without it."""

_FIT: dict[str, tuple[str, ...]] = {"pixel": ("features", "pixel"), "unet": ("unet",)}
_FIT["mean"] = (*_FIT["pixel"], *_FIT["unet"])
_FIT["stack"] = (*_FIT["mean"], "stack")
_PREDICT = {"pixel": ("pixel",), "unet": ("unet",), "mean": ("pixel", "unet")}
_PREDICT["stack"] = (*_PREDICT["mean"], "stack")


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
    seconds: Mapping[str, Mapping[str, float | None]] | None = None,
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
    seconds : mapping of model name to mapping, optional
        From `seconds_of`.

    Returns
    -------
    dict
        ``comparison``: a row of each model: ``model, adapted_to``, what `metrics.tiles.summarise`
        gives, ``objects`` (what `metrics.objects.summarise_objects` gives, or None), ``fit_s,
        predict_s``. ``gain``, over the better base model: ``over, value, low, high, blocks, level,
        shown`` (whether the interval is above zero) and, with `objects` of both, the same of the
        F1 of whole landslides. ``marginal``: such a gain of each part of `PARTS`. A stack of two
        models without one of them is the other model: a rising map changes no F1.
    """
    counted = objects or {}
    rows = []
    for name, scored in histograms.items():
        whole = counted.get(name)
        took = (seconds or {}).get(name) or {}
        rows.append(
            {
                "model": name,
                "adapted_to": None if name == "pixel" else adapted_to,
                **summarise(scored, blocks, threshold=(thresholds or {}).get(name), seed=seed),
                "objects": None if whole is None else summarise_objects(whole, blocks, seed=seed),
                "fit_s": took.get("fit_s"),
                "predict_s": took.get("predict_s"),
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


def seconds_of(
    run: Path, *, predicted: Mapping[str, float] | None = None, stack_s: float | None = None
) -> dict[str, dict[str, float | None]]:
    """Wall-clock seconds of each model, from the manifests of a run folder.

    Parameters
    ----------
    run : Path
        The run folder.
    predicted : mapping of str to float, optional
        Seconds of the steps of a prediction: ``pixel``, ``unet``, ``stack``.
    stack_s : float, optional
        What the stack's fit took, where its manifest is not written yet.

    Returns
    -------
    dict
        Model to ``{fit_s, predict_s}``; None where a stage has not been run. All folds are in it,
        and of the pixel classifier its features; data and scenes are needed by all.
    """

    def took(stage: str) -> float | None:
        if stage == "stack" and stack_s is not None:
            return stack_s
        known = (run / stage / "manifest.json").is_file()
        seconds = read_manifest(run / stage).get("seconds") if known else None
        return None if seconds is None else float(seconds)

    def total(stages: tuple[str, ...]) -> float | None:
        known = [seconds for stage in stages if (seconds := took(stage)) is not None]
        return float(sum(known)) if len(known) == len(stages) else None

    return {
        name: {
            "fit_s": total(_FIT[name]),
            "predict_s": sum(predicted[s] for s in _PREDICT[name]) if predicted else None,
        }
        for name in MODELS
    }
