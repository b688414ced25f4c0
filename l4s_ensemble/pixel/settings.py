"""From the config to LightGBM's parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from l4s_ensemble.config import PixelConfig

_STREAM = 1703


def parameters(
    config: PixelConfig, seed: int, threads: int, expected: Sequence[int] = ()
) -> dict[str, Any]:
    """Return LightGBM's parameters: the same model on every run and for any number of threads.

    Parameters
    ----------
    config : PixelConfig
    seed : int
    threads : int
    expected : sequence of {-1, 0, 1}, optional
        Direction in which a landslide moves each column (`Feature.expected`); only read where
        ``constraints`` asks for physics.
    """
    out: dict[str, Any] = {
        "objective": "binary",
        "learning_rate": config.learning_rate,
        "num_leaves": config.leaves,
        "min_data_in_leaf": config.min_child_samples,
        "feature_fraction": config.feature_fraction,
        "bagging_fraction": config.bagging_fraction,
        "bagging_freq": 1 if config.bagging_fraction < 1 else 0,
        "lambda_l2": config.l2,
        "max_bin": config.max_bin,
        "seed": seed,
        "deterministic": True,
        # Else LightGBM times both ways and picks one: not the same on every run.
        "force_row_wise": True,
        "num_threads": threads,
        "verbosity": -1,
    }
    if config.constraints == "physics" and any(expected):
        out["monotone_constraints"] = [int(sign) for sign in expected]
        # Forbids no more splits than the order needs; the basic method does, and is no faster.
        out["monotone_constraints_method"] = "intermediate"
    return out


def other_seed(settings: dict[str, Any], number: int) -> dict[str, Any]:
    """Give the parameters of the booster `number` of a bag: other rows and columns, the same bins.

    Number 0 is the booster that is fitted without a bag.
    """
    if number == 0:
        return settings
    drawn = np.random.default_rng([settings["seed"], _STREAM, number]).integers(1, 2**31 - 1, 2)
    return {
        **settings, "bagging_seed": int(drawn[0]), "feature_fraction_seed": int(drawn[1]),
    }  # fmt: skip
