"""The ledger: each base alone, their mean, the stack; scores, intervals and the paired gain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from numpy.typing import ArrayLike

from l4s_ensemble.metrics.bootstrap import f1_gain_interval
from l4s_ensemble.metrics.tiles import TileHistograms, summarise

MODELS = ("pixel", "unet", "mean", "stack")
BASES = ("pixel", "unet")


def rows(
    tiles: Mapping[str, TileHistograms],
    block: ArrayLike,
    *,
    thresholds: Mapping[str, float] | None = None,
    adapted_to: str | None = None,
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
    """
    chosen = thresholds or {}
    return [
        {
            "model": name,
            "adapted_to": adapted_to if name != "pixel" else None,
            **summarise(scored, block, threshold=chosen.get(name), resamples=resamples, seed=seed),
        }
        for name, scored in tiles.items()
    ]


def gain(
    tiles: Mapping[str, TileHistograms],
    ledger: list[dict[str, Any]],
    block: ArrayLike,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Paired gain of the stack over the better base, each at its own threshold of the ledger.

    Returns
    -------
    dict
        ``over`` (name of the better base), ``value, low, high, blocks, level, shown`` where
        ``shown`` says whether the interval excludes zero from below.
    """
    by_name = {row["model"]: row for row in ledger}
    better = max(BASES, key=lambda name: by_name[name]["f1"])
    interval = f1_gain_interval(
        tiles["stack"].counts(by_name["stack"]["threshold"]),
        tiles[better].counts(by_name[better]["threshold"]),
        block,
        resamples=resamples,
        seed=seed,
    )
    return {"over": better, **asdict(interval), "shown": interval.is_above_zero}
