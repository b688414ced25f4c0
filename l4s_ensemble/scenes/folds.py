"""Spatial folds: made once, saved, read by every stage that fits.

A fold is a set of square blocks of tiles, or of whole scenes. For each fold the tiles that touch a
held-out tile, and tiles with the same content as one of those, are its buffer: they leave its
training, and are scored in their own fold. Holdout tiles, their neighbours and tiles without
terrain fit nothing. `Folds.check` is the assertion that every fit makes, `check_stack` that of a
meta-learner.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.data.store import open_store, positions_of
from l4s_ensemble.errors import DataError, LeakError, RunError
from l4s_ensemble.run.files import read_json, write_json, write_text
from l4s_ensemble.run.stage import StageContext
from l4s_ensemble.scenes.layout import Layout

TABLE = "patches.csv"
HEAD = "folds.json"
FoldsBy = Literal["blocks", "scenes"]
ROLES: tuple[str, ...] = ("fit", "holdout", "guard", "degenerate")

AGAIN = "run `l4s-ensemble fit-all` again with this run folder"

_COLUMNS: dict[str, Any] = {
    "patch": np.int64,
    "scene": np.int32,
    "row": np.int32,
    "col": np.int32,
    "role": np.str_,
    "fold": np.int32,
    "block": np.int32,
    "landslide_pixels": np.int64,
    "content_hash": np.str_,
}


@dataclass(frozen=True)
class Folds(Layout):
    """Place, role, fold and bootstrap block of every training tile, in the order of the store.

    Attributes
    ----------
    role : str array, shape (tile,)
        ``fit``, ``holdout`` (held out), ``guard`` (beside the holdout, or a copy of such a tile)
        or ``degenerate`` (no terrain).
    fold : int32 array, shape (tile,)
        Fold that holds the tile, -1 for tiles that are not ``fit``.
    block : int32 array, shape (tile,)
        Block of tiles that the bootstrap draws as one; every tile has one.
    landslide_pixels : int64 array, shape (tile,)
    content_hash : str array, shape (tile,)
    block_tiles : int
        Edge of a fold's block, tiles, after shrinking; 0 where folds are whole scenes.
    by : {'blocks', 'scenes'}
        What a fold is made of.
    """

    role: NDArray[np.str_]
    fold: NDArray[np.int32]
    block: NDArray[np.int32]
    landslide_pixels: NDArray[np.int64]
    content_hash: NDArray[np.str_]
    n_folds: int
    block_tiles: int
    by: FoldsBy = "blocks"

    def train_ids(self, fold: int) -> NDArray[np.int64]:
        """Ids that model `fold` may train on."""
        return self.patch[self._may_train(fold)]

    def held_out_ids(self, fold: int) -> NDArray[np.int64]:
        """Ids held out of model `fold`: it scores them and never sees them."""
        return self.patch[self._held(fold)]

    def buffer_ids(self, fold: int) -> NDArray[np.int64]:
        """Ids that touch a held-out tile of `fold`, or copy one that does."""
        return self.patch[self._buffer(fold)]

    @property
    def fit_ids(self) -> NDArray[np.int64]:
        """Ids of all tiles that take part in fitting, in one fold or another."""
        return self.patch[self._is_fit]

    @property
    def holdout_ids(self) -> NDArray[np.int64]:
        """Ids of the holdout, which no fit, fold or threshold reads."""
        held_out: NDArray[np.int64] = self.patch[self.role == "holdout"]
        return held_out

    def of(self, ids: ArrayLike, field: str) -> NDArray[Any]:
        """Values of a field (``fold``, ``block``, ``role`` …) for patch ids, in their order.

        Raises
        ------
        DataError
            If an id is unknown.
        """
        wanted = np.asarray(ids, dtype=np.int64).ravel()
        missing = [int(i) for i in wanted if int(i) not in self._position]
        if missing:
            raise DataError("patches that the folds do not know", found=missing[:20])
        values: NDArray[Any] = getattr(self, field)
        return values[[self._position[int(i)] for i in wanted]]

    def check(self, fold: int, ids_trained: Iterable[int], hashes: Mapping[int, str]) -> None:
        """Assert that what was trained on shares nothing with what model `fold` must not see.

        Parameters
        ----------
        ids_trained : iterable of int
            Ids whose pixels reach the fit: training, normalisation, early stopping.
        hashes : mapping of int to str
            Content hash of every tile, from the store that the fit reads.

        Raises
        ------
        LeakError
            If an id or a content hash is also that of a tile held out, in the buffer, holdout,
            guard or degenerate, or an id is unknown.
        """
        trained = {int(i) for i in ids_trained}
        allowed = {int(i) for i in self.patch[self._may_train(fold)]}
        wrong = sorted(trained - allowed)
        if wrong:
            raise LeakError(
                f"fold {fold} trains on tiles that it must not see",
                found="; ".join(f"patch {i}: {self._why(fold, i)}" for i in wrong[:10])
                + (f" and {len(wrong) - 10} more" if len(wrong) > 10 else ""),
                allowed=f"the {len(allowed)} training tiles of the fold",
                fix="take the ids from Folds.train_ids",
            )
        forbidden = {hashes[i]: i for i in map(int, self.patch) if i not in allowed and i in hashes}
        copies = sorted(i for i in trained if hashes.get(i) in forbidden)
        if copies:
            raise LeakError(
                f"fold {fold} trains on copies of tiles that it must not see",
                found="; ".join(
                    f"patch {i} equals patch {forbidden[hashes[i]]}, "
                    f"{self._why(fold, forbidden[hashes[i]])}"
                    for i in copies[:10]
                ),
                fix="run the scenes stage again on these data",
            )

    def save(self, folder: Path) -> None:
        """Write ``patches.csv`` and ``folds.json``."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(zip(*(getattr(self, name).tolist() for name in _COLUMNS), strict=True))
        write_text(folder / TABLE, text.getvalue())
        head = ("n_folds", "grid", "block_tiles", "by")
        write_json(folder / HEAD, {name: getattr(self, name) for name in head})

    @cached_property
    def _position(self) -> dict[int, int]:
        return {int(patch): n for n, patch in enumerate(self.patch)}

    @cached_property
    def _is_fit(self) -> NDArray[np.bool_]:
        is_fit: NDArray[np.bool_] = self.role == "fit"
        return is_fit

    def _held(self, fold: int) -> NDArray[np.bool_]:
        if not 0 <= fold < self.n_folds:
            raise ValueError(f"fold {fold} is not in 0 … {self.n_folds - 1}")
        held: NDArray[np.bool_] = self._is_fit & (self.fold == fold)
        return held

    def _may_train(self, fold: int) -> NDArray[np.bool_]:
        return self._is_fit & ~self._held(fold) & ~self._buffer(fold)

    def _buffer(self, fold: int) -> NDArray[np.bool_]:
        held = self._held(fold)
        touching = self.touching(held)
        copies = np.isin(self.content_hash, self.content_hash[touching | held])
        return self._is_fit & ~held & (touching | copies)

    def _why(self, fold: int, patch: int) -> str:
        """Describe the part that a tile has in a fold."""
        position = self._position.get(patch)
        if position is None:
            return "unknown to the folds"
        if not self._is_fit[position]:
            return f"role {self.role[position]}"
        return "held out" if self.fold[position] == fold else "buffer beside held-out tiles"


def load_folds(folder: str | Path) -> Folds:
    """Read what the stage ``scenes`` wrote.

    Raises
    ------
    RunError
        If a file is missing or damaged.
    """
    folder = Path(folder)
    head = read_json(folder / HEAD)
    path = folder / TABLE
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        columns = {
            name: np.array([row[name] for row in rows], kind) for name, kind in _COLUMNS.items()
        }
        return Folds(
            grid=head["grid"],
            n_folds=int(head["n_folds"]),
            block_tiles=int(head["block_tiles"]),
            by=head["by"],
            **columns,
        )
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise RunError(
            "the table of folds is missing or damaged",
            where=path,
            found=error,
            fix="delete the folder and run the scenes stage again",
        ) from None


def check_stack(
    folds: Folds,
    hashes: Mapping[int, str],
    scores: Mapping[str, xr.Dataset],
    fitted: Mapping[int, Iterable[int]],
) -> dict[str, Any]:
    """Check a cross-fitted meta-learner and the out-of-fold scores that it is fitted on.

    Parameters
    ----------
    hashes : mapping of int to str
        Content hash of every tile.
    scores : mapping of str to xarray.Dataset
        Of each base model, from `l4s_ensemble.run.scores.open_scores`: coordinates ``patch`` and
        ``fold``, attribute ``seed``.
    fitted : mapping of int to iterable of int
        Ids that the meta-learner of each fold is fitted on; it scores the tiles of that fold.

    Returns
    -------
    dict
        ``details``, a list of ``{check, fold (or None), passed, said}``; ``checked``, their number;
        ``passed``, how many of them hold. What does not hold is no leak by itself.

    Raises
    ------
    LeakError
        If a base model was scored on tiles that fit nothing, or in other folds, the base models
        differ in tiles, folds or seeds, or a meta-learner is fitted on tiles that its fold must
        not see (see `Folds.check`).
    """
    details: list[dict[str, Any]] = []

    def note(check: str, fold: int | None, said: str, *, passed: bool = True) -> None:
        details.append({"check": check, "fold": fold, "passed": passed, "said": said})

    first, *_ = scores
    for name, one in scores.items():
        ids, own = one["patch"].values, one["fold"].values
        wrong = ids[folds.of(ids, "fold") != own]
        if len(wrong):
            raise LeakError(
                f"out-of-fold scores of {name} are of other folds, or of tiles that fit nothing",
                found=f"patches {wrong[:10].tolist()}",
                fix=AGAIN,
            )
        note("folds of scores", None, f"{name}: {len(ids)} tiles, each of its own fold")
        other = scores[first]
        same = {
            "tiles": np.array_equal(ids, other["patch"].values),
            "folds": np.array_equal(own, other["fold"].values),
            "seeds": one.attrs.get("seed") == other.attrs.get("seed"),
        }
        for what, equal in same.items():
            if not equal:
                text = f"out-of-fold scores of {first} and {name} differ in {what}"
                raise LeakError(text, fix=AGAIN)
        if name != first:
            note("same scores", None, f"{first} and {name} have the same tiles, folds and seed")
    fold = scores[first]["fold"].values
    for k in np.unique(fold).tolist():
        fits = [int(i) for i in fitted[k]]
        folds.check(k, fits, hashes)
        said = (
            f"{len(fits)} tiles fitted it; it scores {(fold == k).sum()} others, none of which, "
            "nor a neighbour or a copy of one, is among them"
        )
        note("fitted on other folds", k, said)
    known = folds.grid != "none"
    said = "nobody knows where the tiles lie: neighbours cannot be kept apart"
    note("places", None, "the places of the tiles are known" if known else said, passed=known)
    held = sum(bool(d["passed"]) for d in details)
    return {"checked": len(details), "passed": held, "details": details}


def patches_to_predict(ctx: StageContext) -> xr.Dataset:
    """Open the patches that a prediction stage is asked for.

    ``ctx.params["data"]`` names the data stage; with ``ctx.params["holdout"]`` only its tiles of
    role ``holdout`` are given.

    Raises
    ------
    RunError
        If the holdout is asked for and the run has none.
    """
    dataset = open_store(ctx.input(str(ctx.params["data"])))
    if not ctx.params.get("holdout"):
        return dataset
    ids = load_folds(ctx.input("scenes")).holdout_ids
    if not len(ids):
        raise RunError(
            "the run has no holdout tiles",
            where=ctx.run,
            fix="set data.holdout before fitting, or name another split",
        )
    return dataset.isel(patch=positions_of(dataset, ids))
