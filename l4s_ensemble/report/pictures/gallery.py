"""The gallery of a page: the worst and the best tiles, their counts, their pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from l4s_ensemble.metrics.telling import most_called, telling_tiles
from l4s_ensemble.report import words
from l4s_ensemble.report.browser.scored import ScoredTiles, Tile
from l4s_ensemble.report.headline import MODEL_NAMES
from l4s_ensemble.report.pictures import draw as pictures
from l4s_ensemble.report.source import RunSource


def build(
    source: RunSource, scored: ScoredTiles, n: int, assets: Path, drawn: set[str]
) -> dict[str, Any]:
    """Draw the pictures into ``assets/tiles`` and describe the gallery.

    Parameters
    ----------
    n : int
        Most tiles to show; which ones, `metrics.telling` says.
    drawn : set of str
        Names of pictures that this report holds already; they are not drawn again. Grows.

    Returns
    -------
    dict
        ``split, model, threshold, layers`` (key, label), ``tiles`` (patch, why, place, counts, F1,
        pictures by layer), ``total, has_truth, note``.
    """
    from l4s_ensemble.data.store import sensor_of

    sensor = sensor_of(scored.store)
    counts = scored.counts
    chosen = telling_tiles(counts, n) if counts is not None else most_called(scored.areas(), n)
    bands, is_true = pictures.colour_bands(sensor)
    layers = [("colour", "true colour" if is_true else "colour from " + ", ".join(bands))]
    layers += [("truth", "reference")] if scored.has_truth else []
    layers += [(m, f"{MODEL_NAMES[m]}, probability") for m in scored.scores]
    layers.append(("errors", "errors") if scored.has_truth else ("called", "predicted landslide"))
    # The holdout's tiles are training tiles: one picture serves both pages.
    prefix = source.data_stage(scored.split).replace("/", "-")
    tiles = []
    for position, why in chosen:
        tile = scored.tile(int(scored.patch[position]))
        colour = pictures.true_colour(tile.units, sensor)
        files = {}
        for layer, _ in layers:
            own = "" if layer in {"colour", "truth"} else f"-{scored.split}-{scored.main}"
            if layer in scored.scores:
                own = f"-{scored.split}"
            suffix = "png" if layer in {"truth", "errors"} else "webp"
            name = f"tiles/{prefix}-{tile.patch}-{layer}{own}.{suffix}"
            files[layer] = f"assets/{name}"
            if name not in drawn:
                pictures.save(_draw(layer, tile, colour), assets / name)
                drawn.add(name)
        place = scored.place.get(tile.patch, {})
        tiles.append({"patch": tile.patch, "why": why, **place, **tile.counted, "pictures": files})
    return {
        "split": scored.split,
        "model": MODEL_NAMES[scored.main],
        "threshold": float(np.median(scored.threshold)),
        "layers": [{"key": k, "label": text} for k, text in layers],
        "tiles": tiles,
        "total": len(scored.patch),
        "has_truth": scored.has_truth,
        "note": _note(scored, len(tiles), sensor.pixel_m),
    }


def _draw(layer: str, tile: Tile, colour: pictures.Picture) -> pictures.Picture:
    if layer == "colour":
        return colour
    if layer in tile.probability:
        return pictures.probability(tile.probability[layer])
    if tile.truth is None:
        return pictures.outline(tile.called, colour)
    if layer == "truth":
        return pictures.truth(tile.truth, colour)
    return pictures.errors(tile.called, tile.truth, colour)


def _note(scored: ScoredTiles, n: int, pixel_m: float) -> str:
    of = f"{words.plural(n, 'tile')} of {len(scored.patch):,}"
    if not scored.has_truth:
        return f"{of}: those with most predicted pixels. There are no masks to compare with."
    return (
        f"{of}: those with most wrong pixels, which cost most in the pooled F1; the highest F1 "
        "among tiles with at least a median landslide; the largest landslides. A tile is stretched "
        f"by its own colours; a pixel is {words.number(pixel_m)}\u202fm wide."
    )
