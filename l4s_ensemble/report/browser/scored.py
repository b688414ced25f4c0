"""The scored tiles of a split: probabilities of all models, doubt, truth, and what was called."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.metrics.counts import Counts
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.report.source import RunSource

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
    doubt : float32 array or None
        0 to 1.
    called : bool array
        What the main model calls landslide.
    truth : bool array or None
    """

    patch: int
    units: NDArray[np.float32]
    probability: dict[str, Map]
    doubt: Map | None
    called: NDArray[np.bool_]
    truth: NDArray[np.bool_] | None

    @property
    def counted(self) -> dict[str, Any]:
        """Pixels ``called``, and with a mask ``tp, fp, fn, f1`` (None without a landslide)."""
        called = int(self.called.sum())
        if self.truth is None:
            return {"called": called}
        tp, real = int((self.called & self.truth).sum()), int(self.truth.sum())
        f1 = 2 * tp / (called + real) if real else None
        return {"called": called, "tp": tp, "fp": called - tp, "fn": real - tp, "f1": f1}


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
        Of the last model; it may follow the scene.
    place : dict
        Tile id to ``scene, row, col``.
    fold : int64 array, shape (tile,), or None
    has_truth : bool
        Whether masks may be shown: a split's only after it was scored.
    counts : Counts or None
        Of each tile at the median threshold; None where masks may not be shown.
    doubt : xarray.DataArray or None
        As it was written; without it, what `measure` names is computed.
    measure : str
        What doubt measures; empty where there is none.
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
    fold: NDArray[np.int64] | None
    has_truth: bool
    counts: Counts | None
    doubt: xr.DataArray | None = None
    measure: str = ""
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

        ids = self.patch[at]
        stored = positions_of(self.store, ids)
        images = units(self.store, stored)
        truth = self.store["mask"].isel(patch=stored).values == 1 if self.has_truth else None
        probability: dict[str, Map] = {}
        logit: dict[str, Map] = {}
        for name, array in self.scores.items():
            values = array.sel(patch=ids).values
            if array.name == "logit":
                logit[name] = _mean(values)
                values = sigmoid(values)
            probability[name] = _mean(values)
        doubt = self._doubt(ids, probability)
        for i, patch in enumerate(ids):
            final = probability[self.main][i]
            yield Tile(
                patch=int(patch),
                units=images[i],
                probability={m: p[i] for m, p in probability.items()},
                doubt=None if doubt is None else doubt[i],
                called=self._called(int(patch), final, float(self.threshold[at[i]])),
                truth=None if truth is None else truth[i],
            )

    def _called(self, patch: int, final: Map, threshold: float) -> NDArray[np.bool_]:
        from l4s_ensemble.predict.submission import read_mask

        path = None if self.masks is None else self.masks / f"mask_{patch}.h5"
        if path is not None and path.is_file():
            return np.asarray(read_mask(path) == 1)
        return np.asarray(final >= np.float32(threshold))

    def _doubt(self, ids: NDArray[np.int64], probability: dict[str, Map]) -> Map | None:
        from l4s_ensemble.stack.uncertainty import uncertainty

        if self.doubt is not None:
            return np.asarray(self.doubt.sel(patch=ids).values, np.float32)
        if not self.measure:
            return None
        return uncertainty(probability["stack"], float(self.threshold[0]))


def _mean(values: NDArray[np.floating]) -> Map:
    """Scores (tile, y, x) of scores with or without an axis of fold models."""
    whole = values.mean(axis=0) if values.ndim == 4 else values
    return np.asarray(whole, np.float32)


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
    scores = {}
    for name in ("pixel", "unet", "stack") if model == "stack" else (model,):
        array = source.array(name, "oof.zarr") if name in source else None
        if array is not None:
            scores[name] = array["probability" if name == "stack" else "logit"]
    if not scores or "data/train" not in source:
        return None
    main = list(scores)[-1]
    summary = source.summary(main)
    threshold = float(summary["threshold"] if main == "stack" else summary["oof"]["threshold"])
    patch = _common(scores)
    fold = scores[main].sel(patch=patch).coords.get("fold")
    measure = (source.summary("stack").get("uncertainty") or {}).get("measure", "")
    store = source.store("train")
    return ScoredTiles(
        page="tiles-train",
        split="train",
        out_of_fold=True,
        store=store,
        scores=scores,
        patch=patch,
        threshold=np.full(len(patch), threshold),
        place=places_of(source, "train", store),
        fold=None if fold is None else fold.values.astype(np.int64),
        has_truth="mask" in store,
        counts=_counts(source, main, patch, threshold),
        measure=measure if main == "stack" else "",
    )


def of_prediction(source: RunSource, split: str) -> ScoredTiles | None:
    """Scores of a predicted split."""
    stage = f"predict/{split}/result"
    result = source.array(stage, "probability.zarr")
    if result is None or source.data_stage(split) not in source:
        return None
    scores = {}
    for name in ("pixel", "unet"):
        array = source.array(f"predict/{split}/{name}", "logit.zarr")
        if array is not None:
            scores[name] = array["logit"]
    scores["stack"] = result["probability"]
    patch = _common(scores)
    summary = source.summary(stage)
    store = source.store(split)
    place = places_of(source, split, store)
    by_scene = {int(t["scene"]): float(t["threshold"]) for t in summary.get("thresholds") or []}
    usual = float(summary["threshold"])
    doubt = source.array(stage, "uncertainty.zarr")
    masks = source.run / stage / "masks"
    threshold = np.array(
        [by_scene.get(place.get(int(p), {}).get("scene", -1), usual) for p in patch]
    )
    has_truth = f"predict/{split}/scores" in source and "mask" in store
    scored_at = float(np.median(threshold)) if len(threshold) else usual
    return ScoredTiles(
        page="tiles-train-predicted" if split == "train" else f"tiles-{split}",
        split=split,
        out_of_fold=False,
        store=store,
        scores=scores,
        patch=patch,
        threshold=threshold,
        place=place,
        fold=None,
        has_truth=has_truth,
        counts=_counts(source, f"predict/{split}/scores", patch, scored_at) if has_truth else None,
        doubt=None if doubt is None else doubt["probability"],
        measure=str(summary.get("uncertainty") or ""),
        masks=masks if masks.is_dir() else None,
    )


def _counts(
    source: RunSource, stage: str, patch: NDArray[np.int64], threshold: float
) -> Counts | None:
    """Counts of tiles from the histograms of a stage, in the order of `patch`."""
    tiles = source.tiles(stage)
    if tiles is None or not np.isin(patch, tiles.patch).all():
        return None
    order = np.argsort(tiles.patch)
    return tiles.subset(order[np.searchsorted(tiles.patch[order], patch)]).counts(threshold)


def places_of(source: RunSource, split: str, store: xr.Dataset) -> dict[int, dict[str, int]]:
    """Scene, row and column of tiles by id: the folds know them best, else the store."""
    if source.data_stage(split) == "data/train" and "scenes" in source:
        from l4s_ensemble.scenes.folds import load_folds

        folds = load_folds(source["scenes"].folder)
        columns = {k: getattr(folds, k) for k in ("patch", "scene", "row", "col")}
    else:
        columns = {k: store[k].values for k in ("patch", "scene", "row", "col")}
    ids = columns.pop("patch")
    return {int(p): {k: int(v[i]) for k, v in columns.items()} for i, p in enumerate(ids)}


def _common(scores: dict[str, xr.DataArray]) -> NDArray[np.int64]:
    """Ids that all models scored, ascending."""
    ids, *others = (array["patch"].values.astype(np.int64) for array in scores.values())
    for other in others:
        ids = np.intersect1d(ids, other)
    return np.unique(ids)
