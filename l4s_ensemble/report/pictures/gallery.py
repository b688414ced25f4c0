"""The gallery of a page: which tiles are shown, their counts, their pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from l4s_ensemble.metrics.counts import Counts
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.report import words
from l4s_ensemble.report.headline import MODEL_NAMES
from l4s_ensemble.report.pictures import draw as pictures
from l4s_ensemble.report.source import RunSource

BEST_SHARE = 0.25
"""Share of the gallery that shows the best tiles; the rest shows the worst."""

Map = NDArray[np.float32]


@dataclass(frozen=True)
class Shown:
    """What a gallery shows.

    Attributes
    ----------
    split : str
        Where the tiles are from; also the beginning of the pictures' names.
    model : str
        Whose errors are shown.
    threshold : float
    maps : dict
        Model to a function that gives the probability map of a tile id, (y, x).
    patch : int64 array, shape (tile,)
        Ids that may be shown.
    counts : Counts or None
        Of `model` at `threshold`, aligned with `patch`; None where there are no masks.
    area : int64 array or None
        Called pixels of each tile, where there are no counts.
    """

    split: str
    model: str
    threshold: float
    maps: dict[str, Callable[[int], Map]]
    patch: NDArray[np.int64]
    counts: Counts | None = None
    area: NDArray[np.int64] | None = None


def of_fit(source: RunSource, model: str) -> Shown | None:
    """Gallery of a fitted model's out-of-fold scores; None if its arrays are not there."""
    tiles = source.tiles(model)
    summary = source.summary(model)
    threshold = float(summary["threshold"] if model == "stack" else summary["oof"]["threshold"])
    names = ("pixel", "unet", "stack") if model == "stack" else (model,)
    maps = {}
    for name in names:
        found = source.array(name, "oof.zarr")
        if found is not None:
            maps[name] = _reader(found, logit=name != "stack")
    if tiles is None or model not in maps or "data/train" not in source:
        return None
    return Shown("train", model, threshold, maps, tiles.patch, tiles.counts(threshold))


def of_prediction(source: RunSource, split: str) -> Shown | None:
    """Gallery of a predicted split; without masks the tiles with most predicted area."""
    result = source.array(f"predict/{split}/result", "probability.zarr")
    if result is None or source.data_stage(split) not in source:
        return None
    threshold = float(source.summary(f"predict/{split}/result")["threshold"])
    maps = {}
    for name in ("pixel", "unet"):
        found = source.array(f"predict/{split}/{name}", "logit.zarr")
        if found is not None:
            maps[name] = _reader(found, logit=True)
    maps["stack"] = _reader(result, logit=False)
    tiles = source.tiles(f"predict/{split}/scores")
    if tiles is not None:
        return Shown(split, "stack", threshold, maps, tiles.patch, tiles.counts(threshold))
    patch = result["patch"].values.astype(np.int64)
    area = np.zeros(len(patch), np.int64)
    for start in range(0, len(patch), 64):
        part = slice(start, start + 64)
        area[part] = (result["probability"][part].values >= threshold).sum(axis=(1, 2))
    return Shown(split, "stack", threshold, maps, patch, area=area)


def choose(shown: Shown, n: int) -> list[tuple[int, str]]:
    """Positions of the tiles to show and why: ``worst``, ``best`` or ``largest``.

    The worst tiles are those with most wrong pixels, for these cost most in the pooled score.
    The best are those with the highest F1 among tiles with at least a middling landslide.
    """
    if shown.counts is None:
        if shown.area is None:
            return []
        order = np.argsort(-shown.area, kind="stable")[:n]
        return [(int(i), "largest") for i in order]
    c = shown.counts
    wrong, real = c.fp + c.fn, c.tp + c.fn
    n_best = round(BEST_SHARE * n) if n > 1 else 0
    f1 = 2 * c.tp / np.maximum(2 * c.tp + wrong, 1)
    with_slide = np.flatnonzero(real > 0)
    middling = (
        with_slide[real[with_slide] >= np.median(real[with_slide])] if len(with_slide) else []
    )
    best = sorted(middling, key=lambda i: -f1[i])[:n_best]
    worst = [i for i in np.argsort(-wrong, kind="stable") if i not in set(best)]
    worst = [i for i in worst if wrong[i] > 0][: n - len(best)]
    return [(int(i), "worst") for i in worst] + [(int(i), "best") for i in best]


def build(source: RunSource, shown: Shown, n: int, assets: Path, drawn: set[str]) -> dict[str, Any]:
    """Draw the pictures into ``assets/tiles`` and describe the gallery.

    Parameters
    ----------
    n : int
        Most tiles to show.
    drawn : set of str
        Names of pictures that this report holds already; they are not drawn again. Grows.

    Returns
    -------
    dict
        ``layers`` (key, label), ``tiles`` (patch, why, place, counts, F1, pictures by layer),
        ``note``, ``key`` (what the colours mean).
    """
    from l4s_ensemble.data.store import positions_of, sensor_of, units

    store = source.store(shown.split)
    sensor = sensor_of(store)
    chosen = choose(shown, n)
    ids = [int(shown.patch[i]) for i, _ in chosen]
    places = [int(p) for p in positions_of(store, ids)]
    bands, is_true = pictures.colour_bands(sensor)
    label = "true colour" if is_true else "colour from " + ", ".join(bands)
    has_mask = shown.counts is not None and "mask" in store
    layers = [("colour", label), *((("truth", "truth"),) if has_mask else ())]
    layers += [(m, f"{MODEL_NAMES[m]}, probability") for m in shown.maps]
    layers.append(("errors", "errors") if has_mask else ("called", "called landslide"))
    located = places_of(source, shown.split, store)
    # The holdout's tiles are training tiles: one picture serves both pages.
    prefix = source.data_stage(shown.split).replace("/", "-")
    tiles = []
    for (i, why), patch, at in zip(chosen, ids, places, strict=True):
        image = units(store, [at])[0]
        colour = pictures.true_colour(image, sensor)
        files = {}
        for layer, _ in layers:
            own = "" if layer in {"colour", "truth"} else f"-{shown.split}-{shown.model}"
            if layer in shown.maps:
                own = f"-{shown.split}"
            suffix = "webp" if layer in {"colour", "called", *shown.maps} else "png"
            name = f"tiles/{prefix}-{patch}-{layer}{own}.{suffix}"
            files[layer] = f"assets/{name}"
            if name not in drawn:
                picture = _draw(layer, shown, store, at, patch, colour)
                pictures.save(picture, assets / name)
                drawn.add(name)
        tiles.append(
            {**_described(shown, located.get(patch, {}), i, patch, why), "pictures": files}
        )
    return {
        "split": shown.split,
        "model": MODEL_NAMES[shown.model],
        "threshold": shown.threshold,
        "layers": [{"key": k, "label": text} for k, text in layers],
        "tiles": tiles,
        "total": len(shown.patch),
        "has_truth": has_mask,
        "note": _note(shown, len(tiles), has_mask),
    }


def _draw(
    layer: str, shown: Shown, store: xr.Dataset, at: int, patch: int, colour: pictures.Picture
) -> pictures.Picture:
    if layer == "colour":
        return colour
    if layer == "truth":
        return pictures.truth(store["mask"][at].values, colour)
    if layer in shown.maps:
        return pictures.probability(shown.maps[layer](patch))
    called = shown.maps[shown.model](patch) >= shown.threshold
    if layer == "errors":
        return pictures.errors(called, store["mask"][at].values, colour)
    return pictures.outline(called, colour)


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


def _described(shown: Shown, place: dict[str, int], i: int, patch: int, why: str) -> dict[str, Any]:
    told: dict[str, Any] = {"patch": patch, "why": why, **place}
    if shown.counts is not None:
        c = shown.counts
        tp, fp, fn = int(c.tp[i]), int(c.fp[i]), int(c.fn[i])
        below = 2 * tp + fp + fn
        told |= {"tp": tp, "fp": fp, "fn": fn}
        told["f1"] = words.sigfig(2 * tp / below) if tp + fn > 0 and below else None
    elif shown.area is not None:
        told["called"] = int(shown.area[i])
    return told


def _note(shown: Shown, n: int, has_mask: bool) -> str:
    of = f"{words.plural(n, 'tile')} of {len(shown.patch):,}"
    if has_mask:
        return (
            f"{of}: first those with most wrong pixels, which cost most in the pooled F1, then "
            "some of the best. Each tile is 128 × 128 pixels of 10\u202fm, stretched by its own "
            "colours."
        )
    return f"{of}: those with the largest area called landslide. There are no masks to compare."


def _reader(found: xr.Dataset, *, logit: bool) -> Callable[[int], Map]:
    """Return a function from tile id to probability; several fold models are averaged."""
    array = found["logit" if logit else "probability"]
    position = {int(p): i for i, p in enumerate(found["patch"].values)}

    def read(patch: int) -> Map:
        values = array.isel(patch=position[patch]).values
        if logit:
            values = sigmoid(values)
        if values.ndim == 3:  # (fold_model, y, x)
            values = values.mean(axis=0)
        return np.asarray(values, dtype=np.float32)

    return read
