"""Why the pixel classifier speaks for or against each predicted landslide.

A stage of a prediction, after its result. Contributions are exact but not free, so that only the
largest landslides are explained, each on a few of its pixels, drawn at random; the folds' models
take turns. Contributions are relative to the ground, see `shap`. A landslide that the pixel
classifier alone would not map is not explained by it: the sentence says who found it. What a
landslide's pixels say on average is written to ``reasons.json``::

    unit            'log-odds'
    slides          number of predicted landslides
    explained       number of those in `rows`: the largest
    pixels_a_slide  most pixels drawn of one
    rows            list, the largest landslide first:
        id              number of the landslide, as `l4s_ensemble.scenes.landslides` counts
        pixels          its size
        pixels_explained
        logit           mean of the classifier's logit over the drawn pixels
        expected        where the sum of contributions starts
        probability     {pixel, unet}: mean of each base model over all its pixels
        sentence        for example 'bare soil +1.9, slope +0.8, but water −0.7', or 'found by the
                        U-Net; the pixel classifier gives p=0.12'
        words           list of {word, log_odds, features}, largest size first; of a landslide
                        that the pixel classifier would not map: empty, as the next
        features        list of {name, group, log_odds, value, typical}, the five largest
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.features.source import FeatureSource
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.pixel.model import PixelModel
from l4s_ensemble.pixel.shap import Ground
from l4s_ensemble.pixel.slide_words import reason
from l4s_ensemble.run.files import digest_of, read_json, write_json
from l4s_ensemble.run.progress import track
from l4s_ensemble.run.scores import open_scores
from l4s_ensemble.run.stage import StageContext, Summary
from l4s_ensemble.run.tasks import in_processes
from l4s_ensemble.scenes.landslides import Outlines, predicted_outlines

if TYPE_CHECKING:
    import xarray as xr

REASONS_FILE = "reasons.json"
SLIDES = 500
"""Most slides explained, the largest ones."""
PIXELS = 30
"""Most pixels of a slide that are explained: their mean is known to a fifth of their spread."""
BLOCK_TILES = 4
_STREAM = 2203


def stage(ctx: StageContext) -> Summary:
    """Explain the largest predicted slides; see the module."""
    started = time.monotonic()
    from l4s_ensemble.data.store import STORE

    patch, _, outlines = predicted_outlines(ctx)
    model = PixelModel.load(ctx.input("pixel"))
    drawn = draw_pixels(outlines, model.folds, seed=ctx.config.seed)
    folder = ctx.params["folder"]
    # As the scores of this prediction were made: nothing is measured again.
    source = FeatureSource.beside(
        model.folder, ctx.input(ctx.params["data"]) / STORE, ctx.input(f"{folder}/pixel")
    )
    ground = Ground.load(model.folder)
    rows = _explained(ctx, source, model, ground, patch, drawn)
    ledger = read_json(ctx.input("stack") / "summary.json")["ledger"]
    threshold = {row["model"]: float(row["threshold"]) for row in ledger}
    mean = {
        name: mean_probability(
            outlines, open_scores(ctx.input(f"{folder}/{name}") / "logit.zarr")["logit"]
        )
        for name in ("pixel", "unet")
    }
    written = []
    for slide in sorted(rows):
        probability = {name: float(p[slide - 1]) for name, p in mean.items()}
        written.append(
            {
                "id": slide,
                "pixels": int(outlines.pixels[slide - 1]),
                "pixels_explained": len(rows[slide][0]),
                "probability": probability,
                **reason(
                    model, ground, rows[slide][0],
                    rows[slide][1].mean(axis=0, dtype=np.float64),
                    float(rows[slide][2].mean(dtype=np.float64)),
                ),
                **found_by(probability, threshold),
            }
        )  # fmt: skip
    head = {
        "unit": "log-odds",
        "slides": len(outlines),
        "explained": len(written),
        "pixels_a_slide": PIXELS,
    }
    write_json(ctx.out / REASONS_FILE, {**head, "rows": written})
    return {
        **head,
        "pixels": sum(len(r[0]) for r in rows.values()),
        "seconds": round(time.monotonic() - started, 3),
        "digest": digest_of(ctx.out / REASONS_FILE),
    }


def mean_probability(outlines: Outlines, logit: xr.DataArray) -> NDArray[np.float64]:
    """Mean probability of each landslide by one base model, shape (landslide,).

    Parameters
    ----------
    outlines : Outlines
    logit : DataArray, dims (fold_model, patch, y, x)
        Of the tiles of `outlines`, in their order.
    """
    total = np.zeros(len(outlines) + 1)
    for tile in outlines.with_objects():
        labels = outlines.labels(tile).ravel()
        p = sigmoid(logit.isel(patch=tile).values).mean(axis=0, dtype=np.float64)
        total += np.bincount(labels, weights=p.ravel(), minlength=len(total))
    return np.asarray(total[1:] / np.maximum(outlines.pixels, 1))


def found_by(probability: Mapping[str, float], threshold: Mapping[str, float]) -> dict[str, Any]:
    """Say who found a landslide that the pixel classifier alone would not map.

    Parameters
    ----------
    probability, threshold : mapping
        Mean probability over the landslide, and threshold, of ``pixel`` and ``unet`` alone.

    Returns
    -------
    dict
        Other ``sentence``, ``words`` and ``features`` of its reason; empty where the pixel
        classifier would map it.
    """
    p = {name: f"p={value:.2f}" for name, value in probability.items()}
    if probability["pixel"] >= threshold["pixel"]:
        return {}
    sentence = f"found by the U-Net; the pixel classifier gives {p['pixel']}"
    if probability["unet"] < threshold["unet"]:
        sentence = (
            f"found by neither model alone: the U-Net gives {p['unet']}, the pixel classifier "
            f"{p['pixel']}"
        )
    return {"sentence": sentence, "words": [], "features": []}


def draw_pixels(outlines: Outlines, folds: int, *, seed: int) -> NDArray[np.int64]:
    """Draw pixels of the largest slides, and give each to one fold's model.

    Parameters
    ----------
    outlines : Outlines
    folds : int
        Number of models. Each has its say on every slide: a slide of fewer pixels than models is
        drawn from more than once.
    seed : int

    Returns
    -------
    int64 array, shape (draw, 4)
        Slide, position of the tile, pixel in it (row by row), fold; sorted by tile.
    """
    found = [np.zeros((0, 3), np.int64)]
    for tile in outlines.with_objects():
        labels = outlines.labels(tile).ravel()
        inside = np.flatnonzero((labels > 0) & (labels <= SLIDES))
        found.append(np.column_stack([labels[inside], np.full(len(inside), tile), inside]))
    pixels = np.concatenate(found)
    pixels = pixels[np.argsort(pixels[:, 0], kind="stable")]
    drawn = [np.zeros((0, 4), np.int64)]
    for own in np.split(pixels, np.flatnonzero(np.diff(pixels[:, 0])) + 1):
        if not len(own):
            continue
        rng = np.random.default_rng([seed, _STREAM, int(own[0, 0])])
        some = own[rng.permutation(len(own))[:PIXELS]]
        turn = np.arange(max(len(some), folds))
        drawn.append(np.column_stack([some[turn % len(some)], turn % folds]))
    rows = np.concatenate(drawn)
    return rows[np.argsort(rows[:, 1], kind="stable")]


def explain_pixels(
    source: FeatureSource,
    model: PixelModel,
    ground: Ground,
    positions: NDArray[np.int64],
    drawn: list[NDArray[np.int64]],
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Features of drawn pixels, and what each adds to the logit of the pixel's model.

    Parameters
    ----------
    positions : int64 array, shape (tile,)
        Positions in the store.
    drawn : list of int64 array, shape (draw, 2)
        For each tile: pixel, fold.

    Returns
    -------
    values, added : float32 array, shape (draw, feature)
    expected : float32 array, shape (draw,)
    """
    values = np.concatenate(
        [
            tile.reshape(len(tile), -1)[:, own[:, 0]].T
            for tile, own in zip(source.each(positions), drawn, strict=True)
        ]
    ).astype(np.float32)
    fold = np.concatenate([own[:, 1] for own in drawn])
    added, expected = np.empty_like(values), np.empty(len(values), np.float32)
    for k in np.unique(fold):
        own = fold == k
        added[own], expected[own] = ground.contributions(model, int(k), values[own])
    return values, added, expected


Rows = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


def _explained(
    ctx: StageContext,
    source: FeatureSource,
    model: PixelModel,
    ground: Ground,
    patch: NDArray[np.int64],
    drawn: NDArray[np.int64],
) -> dict[int, Rows]:
    """Values, contributions and expected logit of each landslide's drawn pixels."""
    if not len(drawn):
        return {}
    tiles = np.unique(drawn[:, 1])
    at = source.positions(patch[tiles])
    blocks = [slice(i, i + BLOCK_TILES) for i in range(0, len(tiles), BLOCK_TILES)]
    of_tile = [drawn[drawn[:, 1] == tile, 2:] for tile in tiles]
    tasks = [(source, model, ground, at[b], of_tile[b]) for b in blocks]
    made = track(in_processes(explain_pixels, tasks, ctx.jobs), "pixel: reasons", len(tasks))
    values, added, expected = (np.concatenate(a) for a in zip(*made, strict=True))
    # Draws are sorted by tile, as the blocks are.
    owns = {int(one): drawn[:, 0] == one for one in np.unique(drawn[:, 0])}
    return {one: (values[own], added[own], expected[own]) for one, own in owns.items()}
