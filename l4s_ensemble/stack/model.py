"""The saved meta-learner: a ``model.json`` that says its kind, never a pickle.

A learner of more than a few numbers keeps them beside it: LightGBM's text, safetensors.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.errors import ModelError
from l4s_ensemble.run.files import read_json, write_json
from l4s_ensemble.stack.inputs import Seen

FORMAT = 2
FILE = "model.json"
KINDS = ("mean", "logistic", "trees", "convolution")
"""From the simplest."""

AGAIN = "run `l4s-ensemble fit stack` again"


class Learner(Protocol):
    """Joins the two logits of a tile to one probability."""

    @property
    def kind(self) -> str:
        """One of `KINDS`."""

    def probability(self, seen: Seen) -> NDArray[np.float32]:
        """Probability of landslide of one tile, float32 (y, x)."""

    def save(self, folder: Path) -> None:
        """Write ``model.json`` and what belongs to it."""

    def told(self) -> dict[str, Any]:
        """What it listens to, for a summary: ``inputs``, and what its kind has."""


def load_learner(folder: Path) -> Learner:
    """Read what a learner's `save` wrote.

    Raises
    ------
    ModelError
        If the files are of another version, not whole, or of other inputs.
    """
    value = read_json(folder / FILE)
    kind = value.get("kind") if isinstance(value, dict) else None
    if kind == "mean":
        from l4s_ensemble.stack.learners.mean import MeanLearner

        return MeanLearner.load(folder)
    if kind == "trees":
        from l4s_ensemble.stack.learners.trees import TreesLearner

        return TreesLearner.load(folder)
    if kind == "convolution":
        from l4s_ensemble.stack.learners.convolution import ConvolutionLearner

        return ConvolutionLearner.load(folder)
    from l4s_ensemble.stack.learners.logistic import LogisticLearner

    return LogisticLearner.load(folder)


def write_model(folder: Path, kind: str, values: dict[str, Any]) -> None:
    """Write ``model.json``."""
    write_json(folder / FILE, {"format": FORMAT, "kind": kind, **values})


def read_model(folder: Path, kind: str) -> dict[str, Any]:
    """Values of a ``model.json`` of this version; lists become tuples.

    Raises
    ------
    ModelError
        If the file is of another form or kind.
    """
    path = folder / FILE
    value = read_json(path)
    if not isinstance(value, dict):
        value = {}
    if value.pop("format", None) != FORMAT or value.pop("kind", None) != kind:
        raise ModelError("the meta-learner was saved by another version", where=path, fix=AGAIN)
    return {k: tuple(v) if isinstance(v, list) else v for k, v in value.items()}


def not_whole(path: Path, found: object) -> ModelError:
    """The error for a file that lacks something."""
    return ModelError("the meta-learner's file is not whole", where=path, found=found, fix=AGAIN)


def check_inputs(path: Path, found: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    """Refuse a model whose inputs are not those that this version computes.

    Raises
    ------
    ModelError
        With both lists.
    """
    if tuple(found) != tuple(allowed):
        raise ModelError(
            "the meta-learner's inputs are not those of this version", where=path,
            found=found, allowed=allowed, fix=AGAIN,
        )  # fmt: skip
