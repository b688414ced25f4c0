"""The scored tiles of a split: probability of all models, uncertainty, reference, prediction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.metrics.counts import Counts
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.predict.summary import ResultSummary
from l4s_ensemble.report import headline
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.stack.learners import BASE_MODELS

if TYPE_CHECKING:
    import xarray as xr


BLOCK_TILES = 16
"""Tiles read at once: whole chunks of the scores."""

Map = NDArray[np.float32]


@dataclass(frozen=True)
class Tile:
    """One tile with all that the browser draws of it; maps have shape (y, x).

    Attributes
    ----------
    patch : int
    units : float32 array, shape (band, y, x)
    probability : dict of str to float32 array
        Of each model, fold models averaged.
    uncertainty : float32 array or None
        Of the stack, 0 to 1.
    predicted : bool array
        What the main model predicts as landslide.
    reference : bool array or None
    """

    patch: int
    units: NDArray[np.float32]
    probability: dict[str, Map]
    uncertainty: Map | None
    predicted: NDArray[np.bool_]
    reference: NDArray[np.bool_] | None

    @property
    def counted(self) -> dict[str, Any]:
        """Predicted pixels (``predicted``); with a mask ``tp, fp, fn, f1`` (None: no landslide)."""
        predicted = int(self.predicted.sum())
        if self.reference is None:
            return {"predicted": predicted}
        tp, real = int((self.predicted & self.reference).sum()), int(self.reference.sum())
        f1 = 2 * tp / (predicted + real) if real else None
        return {"predicted": predicted, "tp": tp, "fp": predicted - tp, "fn": real - tp, "f1": f1}


@dataclass(frozen=True, eq=False)
class ScoredTiles:
    """Scores of the tiles of one split, read a block at a time.

    Attributes
    ----------
    page : str
        Name of the split's page.
    split : str
    out_of_fold : bool
    store : xarray.Dataset
        Of patches.
    scores : dict
        Model to its scores, ``(patch, y, x)`` or ``(fold_model, patch, y, x)``; the last model is
        the one whose answer counts.
    patch : int64 array, shape (tile,)
        Tiles that all models scored, ascending.
    threshold : float64 array, shape (tile,)
        Of the last model; it may be adapted to the scene.
    place : dict
        Tile id to ``scene, row, col``.
    has_reference : bool
        Whether masks may be shown: a split's only after it was scored.
    counts : Counts or None
        Of each tile at the median threshold; None where masks may not be shown.
    usual : float
        The threshold that is not adapted to a scene.
    fold : int64 array, shape (tile,), or None
    masks : Path or None
        Folder of the masks that were submitted.
    """

    page: str
    split: str
    out_of_fold: bool
    store: xr.Dataset
    scores: dict[str, xr.DataArray]
    patch: NDArray[np.int64]
    threshold: NDArray[np.float64]
    place: dict[int, dict[str, int]]
    has_reference: bool
    counts: Counts | None
    usual: float
    fold: NDArray[np.int64] | None = None
    masks: Path | None = None

    @property
    def main(self) -> str:
        """The model whose answer counts."""
        return list(self.scores)[-1]

    def tile(self, patch: int) -> Tile:
        """One tile by its id."""
        return next(self.tiles(np.flatnonzero(self.patch == patch)))

    def areas(self) -> NDArray[np.int64]:
        """Predicted pixels of each tile, by probability alone."""
        out = np.zeros(len(self.patch), np.int64)
        for start in range(0, len(out), BLOCK_TILES):
            part = slice(start, start + BLOCK_TILES)
            values = self.scores[self.main].sel(patch=self.patch[part]).values
            out[part] = (values >= self.threshold[part, None, None]).sum(axis=(1, 2))
        return out

    def tiles(self, at: NDArray[np.int64]) -> Iterator[Tile]:
        """Tiles at some positions of `patch`, ascending for speed."""
        for start in range(0, len(at), BLOCK_TILES):
            yield from self._block(at[start : start + BLOCK_TILES])

    def _block(self, at: NDArray[np.int64]) -> Iterator[Tile]:
        from l4s_ensemble.data.store import positions_of, units
        from l4s_ensemble.stack.uncertainty import uncertainty

        ids = self.patch[at]
        stored = positions_of(self.store, ids)
        images = units(self.store, stored)
        masks = self.store["mask"].isel(patch=stored).values == 1 if self.has_reference else None
        probability = {name: _read(array, ids) for name, array in self.scores.items()}
        is_stack = self.main == "stack"
        unsure = uncertainty(probability["stack"], self.usual) if is_stack else None
        for i, patch in enumerate(ids):
            final = probability[self.main][i]
            yield Tile(
                patch=int(patch),
                units=images[i],
                probability={m: p[i] for m, p in probability.items()},
                uncertainty=None if unsure is None else unsure[i],
                predicted=self._predicted(int(patch), final, float(self.threshold[at[i]])),
                reference=None if masks is None else masks[i],
            )

    def _predicted(self, patch: int, final: Map, threshold: float) -> NDArray[np.bool_]:
        from l4s_ensemble.predict.submission import read_mask

        path = None if self.masks is None else self.masks / f"mask_{patch}.h5"
        if path is not None and path.is_file():
            return np.asarray(read_mask(path) == 1)
        return np.asarray(final >= np.float32(threshold))


def _read(array: xr.DataArray, ids: NDArray[np.int64]) -> Map:
    """Probability (tile, y, x) of scores with or without an axis of fold models."""
    values = array.sel(patch=ids).values
    if array.name == "logit":
        values = sigmoid(values)
    return np.asarray(values.mean(axis=0) if values.ndim == 4 else values, np.float32)


def chosen(scored: ScoredTiles, most: int) -> NDArray[np.int64]:
    """Positions of the tiles shown, ascending: all, or those with most wrong pixels.

    Without masks, those with most predicted pixels.
    """
    if len(scored.patch) <= most:
        return np.arange(len(scored.patch))
    c = scored.counts
    size = scored.areas() if c is None else c.fp + c.fn
    return np.sort(np.argsort(-size, kind="stable")[:most])


def all_scored(source: RunSource) -> list[ScoredTiles]:
    """Scored splits of a run: the training tiles out of fold, then each prediction."""
    found = [of_fit(source), *(of_prediction(source, split) for split in source.predicted)]
    return [one for one in found if one is not None]


def of_fit(source: RunSource, model: str = "stack") -> ScoredTiles | None:
    """Out-of-fold scores of the training tiles; None where nothing was scored.

    Parameters
    ----------
    model : {'stack', 'pixel', 'unet'}
        Of the stack the scores of both base models come with it, or alone where it was not fitted.
    """
    names = [n for n in ((*BASE_MODELS, "stack") if model == "stack" else (model,)) if n in source]
    scores = _scores({name: source.array(name, "oof.zarr") for name in names})
    if not scores or "data/train" not in source:
        return None
    main, patch, store = list(scores)[-1], _common(scores), source.store("train")
    own = headline.out_of_fold(source, main)
    if own is None:
        return None
    threshold = own.row.threshold
    fold = scores[main].sel(patch=patch).coords.get("fold")
    return ScoredTiles(
        page="tiles-train",
        split="train",
        out_of_fold=True,
        store=store,
        scores=scores,
        patch=patch,
        threshold=np.full(len(patch), threshold),
        place=source.places("train"),
        has_reference="mask" in store,
        counts=_counts(source, main, patch, threshold),
        usual=threshold,
        fold=None if fold is None else fold.values.astype(np.int64),
    )


def of_prediction(source: RunSource, split: str) -> ScoredTiles | None:
    """Scores of a predicted split; None where there are none."""
    stage, scored = f"predict/{split}/result", f"predict/{split}/scores"
    result = source.array(stage, "probability.zarr")
    if result is None or source.data_stage(split) not in source:
        return None
    logits = {name: source.array(stage, f"{name}.zarr") for name in BASE_MODELS}
    scores = _scores({**logits, "stack": result})
    patch, store, place = _common(scores), source.store(split), source.places(split)
    summary = source.need(ResultSummary, split)
    usual = summary.threshold
    by_scene = {t.scene: t.threshold for t in summary.thresholds}
    scene = [place.get(p, {}).get("scene", -1) for p in patch.tolist()]
    threshold = np.array([by_scene.get(s, usual) for s in scene])
    at = float(np.median(threshold)) if len(threshold) else usual
    has_reference = scored in source and "mask" in store
    masks = source.run / stage / "masks"
    return ScoredTiles(
        page="tiles-train-predicted" if split == "train" else f"tiles-{split}",
        split=split,
        out_of_fold=False,
        store=store,
        scores=scores,
        patch=patch,
        threshold=threshold,
        place=place,
        has_reference=has_reference,
        counts=_counts(source, scored, patch, at) if has_reference else None,
        usual=usual,
        masks=masks if masks.is_dir() else None,
    )


def _scores(found: Mapping[str, xr.Dataset | None]) -> dict[str, xr.DataArray]:
    """Scores of the models that have any."""
    name = {"stack": "probability"}
    return {m: f[name.get(m, "logit")] for m, f in found.items() if f is not None}


def _counts(source: RunSource, stage: str, patch: NDArray[np.int64], threshold: float) -> Counts:
    """Counts of tiles from the histograms of a stage, in the order of `patch`."""
    tiles = source.tiles(stage)
    order = np.argsort(tiles.patch)
    return tiles.subset(order[np.searchsorted(tiles.patch[order], patch)]).counts(threshold)


def _common(scores: dict[str, xr.DataArray]) -> NDArray[np.int64]:
    """Ids that all models scored, ascending."""
    ids, *others = (array["patch"].values.astype(np.int64) for array in scores.values())
    for other in others:
        ids = np.intersect1d(ids, other)
    return np.unique(ids)
