"""The gallery of a page: two tiles that cost most and a good one, with their pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from l4s_ensemble.metrics.notable import most_predicted, notable_tiles
from l4s_ensemble.report.browser import scored
from l4s_ensemble.report.browser.links import link, pages_of
from l4s_ensemble.report.browser.scored import ScoredTiles, Tile
from l4s_ensemble.report.headline import MODEL_NAMES
from l4s_ensemble.report.page import split_of
from l4s_ensemble.report.pictures import draw as pictures
from l4s_ensemble.report.source import RunSource

SCALE_KM = 0.5
"""Length of the scale bar."""


def of_fit(source: RunSource, page: str, assets: Path, drawn: set[str]) -> dict[str, Any]:
    """Gallery of the page of a model, see `build`."""
    return build(source, scored.of_fit(source, page), assets, drawn)


def of_prediction(source: RunSource, page: str, assets: Path, drawn: set[str]) -> dict[str, Any]:
    """Gallery of the page of a predicted split, see `build`."""
    return build(source, scored.of_prediction(source, split_of(page)), assets, drawn)


def build(
    source: RunSource, shown: ScoredTiles | None, assets: Path, drawn: set[str]
) -> dict[str, Any]:
    """Draw the pictures into ``assets/tiles`` and describe the gallery.

    Parameters
    ----------
    shown : ScoredTiles or None
        The tiles to choose from; `metrics.notable` chooses.
    drawn : set of str
        Names of pictures that this report holds already; they are not drawn again. Grows.

    Returns
    -------
    dict
        Block ``gallery``: ``split, threshold, layers`` (key, label), ``tiles`` (patch, why, place,
        counts, F1, pictures by layer, link), ``has_reference, note, more``. Empty without tiles.
    """
    if shown is None or not len(shown.patch):
        return {}
    from l4s_ensemble.data.store import sensor_of

    sensor, counts = sensor_of(shown.store), shown.counts
    n = source.config.report.gallery_tiles
    chosen = notable_tiles(counts, n) if counts is not None else most_predicted(shown.areas(), n)
    layers = {"colour": pictures.colour_name(sensor)}
    layers |= {"reference": "reference"} if shown.has_reference else {}
    layers |= {shown.main: f"{MODEL_NAMES[shown.main]}, probability"}
    last = ("errors", "errors") if shown.has_reference else ("predicted", "mapped landslide")
    layers |= [last]
    # The holdout's tiles are training tiles: one picture serves both pages.
    prefix = source.data_stage(shown.split).replace("/", "-")
    tiles = []
    for position, why in chosen:
        tile = shown.tile(int(shown.patch[position]))
        colour = pictures.true_colour(tile.units, sensor)
        files = {}
        for layer in layers:
            own = "" if layer in {"colour", "reference"} else f"-{shown.split}"
            own += f"-{shown.main}" if layer in {"errors", "predicted"} else ""
            suffix = "png" if layer in {"reference", "errors"} else "webp"
            name = f"tiles/{prefix}-{tile.patch}-{layer}{own}.{suffix}"
            files[layer] = f"assets/{name}"
            if name not in drawn:
                pictures.save(_draw(layer, tile, colour), assets / name)
                drawn.add(name)
        place = shown.place.get(tile.patch, {})
        to = {"link": link(source, shown.split, tile.patch)}
        tiles.append(
            {"patch": tile.patch, "why": why, **place, **tile.counted, "pictures": files, **to}
        )
    metres = shown.store.sizes["x"] * sensor.pixel_m
    made = {
        "kind": "gallery",
        "pixel_m2": sensor.pixel_m**2,
        "ramp": True,
        "scale": scale_of(metres),
        "split": shown.split,
        "threshold": float(np.median(shown.threshold)),
        "layers": [{"key": k, "label": text} for k, text in layers.items()],
        "tiles": tiles,
        "has_reference": shown.has_reference,
        "note": _note(shown),
        "more": pages_of(source).get(shown.split, (None,))[0],
    }
    return {"gallery": made}


def scale_of(metres: float) -> dict[str, float]:
    """Scale bar of tiles that are so wide."""
    return {"km": SCALE_KM, "percent": round(100_000 * SCALE_KM / metres, 2)}


def _draw(layer: str, tile: Tile, colour: pictures.Picture) -> pictures.Picture:
    if layer == "colour":
        return colour
    if layer in tile.probability:
        return pictures.probability(tile.probability[layer])
    if layer == "reference" and tile.reference is not None:
        return pictures.reference(tile.reference, colour)
    return pictures.errors(tile.predicted, tile.reference, colour)


def _note(shown: ScoredTiles) -> str:
    if not shown.has_reference:
        return "The tiles with the largest mapped area; there are no masks to compare with."
    return (
        "Most wrong: the tiles with most wrong pixels, which cost most in F1. Best: the highest F1 "
        "of a tile with at least a median landslide."
    )
