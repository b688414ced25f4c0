"""The model comparison: each base alone, their mean, the stack.

A row holds the scores of pixels, their interval, the scores of whole slides where they were
counted, and the seconds that fitting and predicting took; `gain` and `marginal` are paired.
"""

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

MODELS = ("pixel", "unet", "mean", "stack")
BASES = ("pixel", "unet")

_STAGES = {"pixel": ("features", "pixel"), "unet": ("unet",)}
"""Stages that a base needs for itself; data and scenes are needed by all."""


def rows(
    tiles: Mapping[str, TileHistograms],
    block: ArrayLike,
    *,
    thresholds: Mapping[str, float] | None = None,
    adapted_to: str | None = None,
    objects: Mapping[str, ObjectCounts] | None = None,
    seconds: Mapping[str, Mapping[str, float | None]] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Score every model, as `metrics.tiles.summarise` does, with its name under ``model``.

    Parameters
    ----------
    tiles : mapping of model name to TileHistograms
        Over the same tiles.
    block : array_like, shape (tile,)
        Spatial blocks for the intervals.
    thresholds : mapping, optional
        One a model, chosen out-of-fold. Without it each model's best on these tiles is taken,
        which only out-of-fold scores allow.
    adapted_to : str, optional
        Split whose unlabelled images the U-Net used. Rows that it has a part in say so, for they
        are no rows of a model that saw nothing of that split.
    objects : mapping of model name to ObjectCounts, optional
        Whole slides of the same tiles, counted at the row's threshold: ``objects`` of a row is
        what `metrics.objects.summarise_objects` says, None where they were not counted.
    seconds : mapping of model name to mapping, optional
        From `seconds_of`: ``fit_s`` and ``predict_s`` of a row, None where they are not known.
    """
    chosen = thresholds or {}
    options: dict[str, Any] = {"resamples": resamples, "seed": seed}
    out = []
    for name, scored in tiles.items():
        counted = (objects or {}).get(name)
        took = (seconds or {}).get(name) or {}
        out.append(
            {
                "model": name,
                "adapted_to": None if name == "pixel" else adapted_to,
                **summarise(scored, block, threshold=chosen.get(name), **options),
                "objects": None
                if counted is None
                else summarise_objects(counted, block, **options),
                "fit_s": took.get("fit_s"),
                "predict_s": took.get("predict_s"),
            }
        )
    return out


def gain(
    tiles: Mapping[str, TileHistograms],
    ledger: list[dict[str, Any]],
    block: ArrayLike,
    *,
    objects: Mapping[str, ObjectCounts] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Paired gain of the stack over the better base, each at its own threshold of the ledger.

    Returns
    -------
    dict
        ``over`` (name of the better base), ``value, low, high, blocks, level, shown`` where
        ``shown`` says whether the interval excludes zero from below. With ``objects``, the same
        (without ``over``) of the F1 of whole slides under ``objects``.
    """
    by_name = {row["model"]: row for row in ledger}
    better = max(BASES, key=lambda name: by_name[name]["f1"])
    return {
        "over": better,
        **_paired(tiles, by_name, ("stack", better), block, objects, resamples, seed),
    }


def marginal(
    tiles: Mapping[str, TileHistograms],
    ledger: list[dict[str, Any]],
    block: ArrayLike,
    *,
    objects: Mapping[str, ObjectCounts] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Paired gain of each part: the stack minus the other model alone, and minus the plain mean.

    A stack of two models without one of them is the other model: a rising map changes no F1.

    Parameters
    ----------
    tiles, ledger, block
        As `gain` takes them.

    Returns
    -------
    list of dict
        ``part`` (``unet``, ``pixel``, or ``weights``: over the plain mean), ``over`` (the model
        that it is compared with), ``value, low, high, blocks, level, shown``, and ``objects`` as
        in `gain`.
    """
    by_name = {row["model"]: row for row in ledger}
    return [
        {
            "part": part,
            "over": over,
            **_paired(tiles, by_name, ("stack", over), block, objects, resamples, seed),
        }
        for part, over in (("unet", "pixel"), ("pixel", "unet"), ("weights", "mean"))
        if over in tiles
    ]


def seconds_of(
    run: Path, *, predicted: str | None = None, stack_s: float | None = None
) -> dict[str, dict[str, float | None]]:
    """Wall-clock seconds of each model of the ledger, from the manifests of a run folder.

    Parameters
    ----------
    run : Path
        The run folder.
    predicted : str, optional
        Folder of a prediction below it, for example ``predict/valid``.
    stack_s : float, optional
        What the stack's fit took, where its manifest is not written yet.

    Returns
    -------
    dict
        Model to ``{fit_s, predict_s}``; None where a stage has not been run. All folds are in it,
        and of the pixel classifier its features; of the mean both bases, of the stack all three.
    """
    fit: dict[str, float | None] = {
        name: _sum(_seconds(run / stage) for stage in stages) for name, stages in _STAGES.items()
    }
    own = _seconds(run / "stack") if stack_s is None else stack_s
    predict: dict[str, float | None] = dict.fromkeys(MODELS)
    result = None
    if predicted is not None:
        predict |= {name: _seconds(run / predicted / name) for name in BASES}
        result = _seconds(run / predicted / "result")
    for took, last in ((fit, own), (predict, result)):
        took["mean"] = _sum(took[name] for name in BASES)
        took["stack"] = _sum((took["mean"], last))
    return {name: {"fit_s": fit[name], "predict_s": predict[name]} for name in MODELS}


def _paired(
    tiles: Mapping[str, TileHistograms],
    by_name: Mapping[str, Mapping[str, Any]],
    names: tuple[str, str],
    block: ArrayLike,
    objects: Mapping[str, ObjectCounts] | None,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    options: dict[str, Any] = {"resamples": resamples, "seed": seed}
    one, other = (tiles[name].counts(by_name[name]["threshold"]) for name in names)
    found = f1_gain_interval(one, other, block, **options)
    out = {**asdict(found), "shown": found.is_above_zero}
    if objects is not None and all(name in objects for name in names):
        columns = np.concatenate([objects[name].table() for name in names], axis=1)
        half = columns.shape[1] // 2
        whole = score_interval(
            lambda sums: f1_objects(sums[..., :half]) - f1_objects(sums[..., half:]),
            columns, block, **options,
        )  # fmt: skip
        out["objects"] = {**asdict(whole), "shown": whole.is_above_zero}
    return out


def _seconds(folder: Path) -> float | None:
    if not (folder / "manifest.json").is_file():
        return None
    took = read_manifest(folder).get("seconds")
    return None if took is None else float(took)


def _sum(values: Any) -> float | None:
    each = list(values)
    return None if any(v is None for v in each) else float(sum(each))
