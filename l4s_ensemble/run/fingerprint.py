"""Hashes of what a stage depends on, and a list of changes since its last run."""

from __future__ import annotations

import hashlib
import json
from functools import reduce
from operator import getitem
from typing import Any

from l4s_ensemble.config import Config
from l4s_ensemble.run.stage import Stage


def digest(value: Any) -> str:
    """Hash a JSON value, 16 hex digits, independent of key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def ingredients(
    stage: Stage, config: Config, inputs: dict[str, str], code: dict[str, str]
) -> dict[str, Any]:
    """All that decides a stage's result, each part by name.

    Parameters
    ----------
    inputs : dict
        Digest of every stage in ``stage.needs``.
    code : dict
        Hash of each module that the stage depends on; see `l4s_ensemble.run.code`.
    """
    settings = config.model_dump(mode="json")
    return {
        "target": stage.target,
        "code": code,
        "seed": config.seed,
        "sections": {name: reduce(getitem, name.split("."), settings) for name in stage.sections},
        "params": dict(stage.params),
        "state": dict(stage.state),
        "inputs": inputs,
    }


def changes(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """Name the keys whose values differ, such as ``sections.unet.epochs``."""
    found: list[str] = []
    for key in sorted({*old, *new}):
        name = f"{prefix}{key}"
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += changes(a, b, f"{name}.")
        elif a != b:
            found.append(name)
    return found
