"""Draw the tiles of a page of the browser, and describe them for its script."""

from __future__ import annotations

import logging
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.report.browser import packing
from l4s_ensemble.report.browser.photos import THUMB_PX, layers_of, photographs, thumbnail
from l4s_ensemble.report.browser.scored import ScoredTiles, Tile, chosen
from l4s_ensemble.report.headline import MODEL_NAMES
from l4s_ensemble.report.pictures import draw as pictures
from l4s_ensemble.report.source import PLACE, RunSource
from l4s_ensemble.run.files import write_text
from l4s_ensemble.run.progress import track

log = logging.getLogger("l4s_ensemble")

FOLDER = "browser"
"""Below the assets; each page has a folder of its own there."""

PHOTO_QUALITY = 84

UNCERTAINTY = "nearness to the threshold"
"""What the uncertainty is, in a few words."""


def build(source: RunSource, scored: ScoredTiles, assets: Path) -> dict[str, Any]:
    """Write all files of one page into ``assets/browser/<page>`` and describe them.

    Parameters
    ----------
    assets : Path
        Folder of the report's files. What an older report left in the page's folder goes.

    Returns
    -------
    dict
        ``folder, split, stage`` (of the data), ``out_of_fold, total`` (tiles scored), ``size``
        (y, x), ``pixel_m, models, photos, uncertainty, has_reference, threshold, palettes, colours,
        sheets, tiles`` (columns: ``patch, cell`` of the sheets, ``scene, row, col``, ``fold, tp,
        fp, fn, predicted, uncertainty, threshold`` as far as known).
    """
    from l4s_ensemble.data.store import sensor_of

    started = time.monotonic()
    folder = assets / FOLDER / scored.page
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    sensor = sensor_of(scored.store)
    at = chosen(scored, source.config.report.browser_tiles)
    columns: dict[str, list[Any]] = {k: [] for k in ("predicted", "uncertainty", "tp", "fp", "fn")}
    small = {k: np.zeros((len(at), THUMB_PX, THUMB_PX, 3), np.uint8) for k in ("colour", "errors")}
    size = (0, 0)
    for n, tile in enumerate(track(scored.tiles(at), f"report: {scored.page}", len(at))):
        size = (tile.predicted.shape[0], tile.predicted.shape[1])
        photos = photographs(tile.units, sensor)
        strip = np.concatenate(photos, axis=1)
        pictures.save(strip, folder / f"p{tile.patch}.webp", PHOTO_QUALITY)
        write_text(folder / f"t{tile.patch}.js", tile_script(tile))
        small["colour"][n] = thumbnail(photos[0])
        small["errors"][n] = thumbnail(pictures.errors(tile.predicted, tile.reference, photos[0]))
        mean = None if tile.uncertainty is None else float(tile.uncertainty.mean())
        for key, value in {**tile.counted, "uncertainty": mean}.items():
            if key in columns and value is not None:
                columns[key].append(value)
    # What is looked at first stands together: few sheets are read.
    first = [columns[k] for k in (("fp", "fn") if scored.has_reference else ("predicted",))]
    order = np.argsort(-np.sum(first, axis=0, dtype=np.int64), kind="stable")
    files = {name: packing.write_sheets(t, order, folder, name) for name, t in small.items()}
    log.info("report: %s, %d tiles in %.1f s", scored.page, len(at), time.monotonic() - started)
    info = {
        "folder": f"assets/{FOLDER}/{scored.page}",
        "split": scored.split,
        "stage": source.data_stage(scored.split),
        "out_of_fold": scored.out_of_fold,
        "total": len(scored.patch),
        "size": size,
        "pixel_m": sensor.pixel_m,
        "models": [{"key": m, "name": MODEL_NAMES[m]} for m in scored.scores],
        "photos": [{"key": k, "name": name, "note": note} for k, name, note in layers_of(sensor)],
        "uncertainty": UNCERTAINTY if columns["uncertainty"] else None,
        "has_reference": scored.has_reference,
        "threshold": float(np.median(scored.threshold[at])) if len(at) else None,
        "palettes": {
            "probability": pictures.SCALE.tolist(),
            "uncertainty": pictures.UNCERTAINTY_SCALE.tolist(),
        },
        "colours": {
            "found": pictures.FOUND,
            "false": pictures.FALSE_ALARM,
            "missed": pictures.MISSED,
        },
        "sheets": {"edge_tiles": packing.EDGE_TILES, "edge_px": THUMB_PX, "files": files},
        "tiles": _places(scored, at, order) | {k: v for k, v in columns.items() if v},
    }
    write_text(folder / "index.js", packing.call("L4S.index", info))
    return info


def tile_script(tile: Tile) -> str:
    """Write the script of a tile: ``L4S.tile(patch, bytes)``, one plane after the other.

    Each model's probability in 1/255, the uncertainty likewise where it is known, then bits of
    reference and prediction.
    """
    planes = [packing.in_steps(p) for p in tile.probability.values()]
    if tile.uncertainty is not None:
        planes.append(packing.in_steps(tile.uncertainty))
    planes.append(packing.flags(tile.predicted, tile.reference))
    return packing.call("L4S.tile", tile.patch, packing.deflated(planes))


def _places(
    scored: ScoredTiles, at: NDArray[np.int64], order: NDArray[np.int64]
) -> dict[str, list[Any]]:
    """Columns of where tiles are: in the sheets, the scene, the folds."""
    cell = np.empty(len(at), np.int64)
    cell[order] = np.arange(len(at))
    ids = [int(p) for p in scored.patch[at]]
    out: dict[str, list[Any]] = {"patch": ids, "cell": cell.tolist()}
    places = [scored.place.get(p, dict.fromkeys(PLACE, -1)) for p in ids]
    if any(place["scene"] >= 0 for place in places):
        out |= {key: [place[key] for place in places] for key in PLACE}
    if scored.fold is not None:
        out["fold"] = [int(f) for f in scored.fold[at]]
    own = [float(t) for t in scored.threshold[at]]
    if len(set(own)) > 1:
        out["threshold"] = own
    return out
