"""From the config to LightGBM's parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from l4s_ensemble.config import PixelConfig

_STREAM = 1703
_SECOND = 1 << 20
"""Number of the second view's booster, beyond those of any bag."""


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


def views(
    config: PixelConfig,
    seed: int,
    threads: int,
    expected: Sequence[int] = (),
    relational: Sequence[bool] = (),
    relative: bool = False,
) -> list[dict[str, Any]]:
    """Give the parameters of each booster whose mean logit is the classifier's.

    One booster on all columns learns the colours of its own scene by heart. Of two, the first may
    only follow the directions that physics expects, and the second only reads columns in which
    the level of the scene cancels: what either learnt by heart, the other has not.

    Parameters
    ----------
    config, seed, threads, expected
        See `parameters`.
    relational : sequence of bool
        Of each column, whether the level of the scene cancels (`Feature.relational`).
    relative : bool
        Whether the levels of the sensor are relative: then ``views: auto`` means two.
    """
    two = config.views == "two" or (config.views == "auto" and relative)
    kept = [i for i, cancels in enumerate(relational) if cancels]
    if not two or not kept or len(kept) == len(relational):
        return [parameters(config, seed, threads, expected)]
    ruled = config.model_copy(update={"constraints": "physics"})
    free = config.model_copy(update={"constraints": "none"})
    return [
        parameters(ruled, seed, threads, expected),
        other_seed(parameters(free, seed, threads), _SECOND) | {"interaction_constraints": [kept]},
    ]


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
