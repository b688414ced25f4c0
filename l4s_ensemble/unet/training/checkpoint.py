"""State of a training on disk, with what it belongs to."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch

from l4s_ensemble.run.files import atomic_path

log = logging.getLogger("l4s_ensemble")


def write(path: Path, identity: dict[str, Any], state: dict[str, Any]) -> None:
    """Write a state atomically.

    Parameters
    ----------
    path : Path
    identity : dict
        Plain values that say which training it is the state of.
    state : dict
        Tensors and plain values.
    """
    with atomic_path(path) as partial:
        torch.save({**state, "key": identity}, partial)


def read(path: Path, identity: dict[str, Any], device: torch.device) -> dict[str, Any] | None:
    """Read the state of the training of that identity; None if there is none, or half of one."""
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        log.warning("unet: %s cannot be read (%s); starting over", path.name, error)
        return None
    if state.get("key") != identity:
        log.warning("unet: %s is of another training; starting over", path.name)
        return None
    return state
