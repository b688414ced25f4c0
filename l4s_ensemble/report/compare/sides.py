"""The two runs of a comparison, and what each has scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.errors import ConfigError, RunError
from l4s_ensemble.metrics.counts import Counts
from l4s_ensemble.report.headline import MODEL_NAMES, kind_of
from l4s_ensemble.report.source import RunSource

TRAIN = "train"
"""Place of the out-of-fold scores; every other place is a predicted split."""

_BASES = ("pixel", "unet")


@dataclass(frozen=True)
class Side:
    """One of the two runs.

    Attributes
    ----------
    letter : {'A', 'B'}
        Differences are B minus A.
    name : str
        Of the run folder; with folders above it where both are called alike.
    source : RunSource
    """

    letter: str
    name: str
    source: RunSource

    @property
    def places(self) -> list[str]:
        """Where this run has scores, splits that nobody fitted on first."""
        found = [s for s in self.source.predicted if self.rows(s)]
        order = ("test", "valid", "holdout")
        found.sort(key=lambda s: (order.index(s) if s in order else len(order), s))
        return found + ([TRAIN] if self.rows(TRAIN) else [])

    def rows(self, place: str) -> dict[str, Mapping[str, Any]]:
        """Row of scores of each model at a place."""
        if place != TRAIN:
            summary = self.source.summary(f"predict/{place}/scores")
        else:
            summary = self.source.summary("stack")
        found = {str(r["model"]): r for r in summary.get("ledger", [])}
        if place == TRAIN:
            for name in _BASES:
                row = self.source.summary(name).get("oof")
                if row and name not in found:
                    found[name] = row
        return {name: found[name] for name in MODEL_NAMES if name in found}

    def kind(self, place: str) -> str:
        """``out-of-fold``, ``holdout``, ``fitted`` or ``split``, as headlines have it."""
        return "out-of-fold" if place == TRAIN else kind_of(self.source, place)

    def counts(self, place: str, model: str) -> tuple[NDArray[np.int64], Counts] | None:
        """Ids and pixel counts tile by tile, at the threshold of the model's row.

        Of the stack on a split the masks as handed in are counted, for its row is theirs.
        None where the run keeps no such file.
        """
        listed = self.source.summary(f"predict/{place}/scores").get("tiles")
        if place != TRAIN and model == "stack" and listed:
            column = {k: np.array([t[k] for t in listed], np.int64) for k in ("patch", *_KINDS)}
            return column["patch"], Counts(*(column[k] for k in _KINDS))
        stage = f"predict/{place}/scores" if place != TRAIN else "stack"
        tiles = self.source.tiles(stage, f"tiles_{model}.npz")
        if tiles is None and place == TRAIN and model in _BASES:
            tiles = self.source.tiles(model)
        if tiles is None:
            return None
        return tiles.patch, tiles.counts(float(self.rows(place)[model]["threshold"]))

    def hashes(self, place: str) -> dict[int, str]:
        """Content hash of each tile that a place's tiles come from; empty where none is known."""
        stage = self.source.data_stage(place)
        if stage == "data/train" and "scenes" in self.source:
            from l4s_ensemble.scenes.folds import load_folds

            folds = load_folds(self.source["scenes"].folder)
            return dict(zip(folds.patch.tolist(), folds.content_hash.tolist(), strict=True))
        if stage not in self.source:
            return {}
        from l4s_ensemble.data.store import hashes_of

        return hashes_of(self.source.store(place))


_KINDS = ("tp", "fp", "fn", "tn")


def open_sides(first: Path, second: Path) -> tuple[Side, Side]:
    """Open the two runs of a comparison.

    Raises
    ------
    ConfigError
        If both are the same folder.
    RunError
        If one is not there, holds no finished stage, or has no scores.
    """
    if first.resolve() == second.resolve():
        raise ConfigError(
            "the same run twice", where="--compare", found=f"{first} and {second}",
            fix="name two run folders",
        )  # fmt: skip
    for path in (first, second):
        if not path.is_dir():
            raise RunError("no such run folder", where=path, fix="check --compare")
    names = names_of(first, second)
    sides = [
        Side(letter, name, RunSource(path))
        for letter, name, path in zip("AB", names, (first, second), strict=True)
    ]
    for side in sides:
        if not side.places:
            raise RunError(
                "this run has no scores to compare", where=side.source.run,
                fix=f"run `l4s-ensemble fit-all --run {side.source.run}` first",
            )  # fmt: skip
    return sides[0], sides[1]


def names_of(first: Path, second: Path) -> tuple[str, str]:
    """Names of two folders: the last parts of their paths that tell them apart."""
    one, other = first.resolve().parts, second.resolve().parts
    n = 1
    while one[-n:] == other[-n:]:
        n += 1
    return "/".join(one[-n:]), "/".join(other[-n:])
