"""Hashes of what a stage depends on, and in plain words what has changed since last time."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from l4s_ensemble.config import Config
from l4s_ensemble.errors import RunError
from l4s_ensemble.run.stage import Stage


def digest(value: Any) -> str:
    """Hash a JSON value, 16 hex digits, independent of key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def section_value(config: Config, dotted: str) -> Any:
    """Value of ``section`` or ``section.key`` as JSON."""
    value: Any = config.model_dump(mode="json")
    for part in dotted.split("."):
        if not isinstance(value, dict) or part not in value:
            raise RunError("a stage declares a config section that does not exist", found=dotted)
        value = value[part]
    return value


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
    return {
        "target": stage.target,
        "code": code,
        "seed": config.seed,
        "sections": {name: section_value(config, name) for name in stage.sections},
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
