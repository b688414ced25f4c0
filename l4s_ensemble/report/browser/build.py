"""Draw the tiles of a page of the browser, and describe them for its script."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.report.browser import packing, sheets
from l4s_ensemble.report.browser.photos import THUMB_PX, layers_of, photographs, thumbnail
from l4s_ensemble.report.browser.scored import ScoredTiles, Tile
from l4s_ensemble.report.headline import MODEL_NAMES
from l4s_ensemble.report.pictures import draw as pictures
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.run.files import write_text
from l4s_ensemble.run.progress import track

log = logging.getLogger("l4s_ensemble")

FOLDER = "browser"
"""Below the assets; each page has a folder of its own there."""

PHOTO_QUALITY = 84

DOUBT_WORDS = {"near_threshold": "nearness to the threshold"}
"""What the measure of uncertainty is, in a few words."""


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
        (y, x), ``pixel_m, models, photos, doubt, has_truth, threshold, palettes, colours, sheets,
        tiles`` (columns: ``patch, cell`` of the sheets, ``scene, row, col``, ``fold, tp, fp, fn,
        called, doubt, threshold`` as far as known).
    """
    from l4s_ensemble.data.store import sensor_of

    started = time.monotonic()
    folder = assets / FOLDER / scored.page
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    sensor = sensor_of(scored.store)
    at = chosen(scored, source.config.report.browser_tiles)
    columns: dict[str, list[Any]] = {k: [] for k in ("called", "doubt", "tp", "fp", "fn")}
    small = {k: np.zeros((len(at), THUMB_PX, THUMB_PX, 3), np.uint8) for k in ("colour", "errors")}
    size = (0, 0)
    for n, tile in enumerate(track(scored.tiles(at), f"report: {scored.page}", len(at))):
        size = (tile.called.shape[0], tile.called.shape[1])
        colour, *others = photographs(tile.units, sensor)
        strip = np.concatenate([colour, *others], axis=1)
        pictures.save(strip, folder / f"p{tile.patch}.webp", PHOTO_QUALITY)
        write_text(folder / f"t{tile.patch}.js", tile_script(tile))
        small["colour"][n] = thumbnail(colour)
        small["errors"][n] = thumbnail(
            pictures.outline(tile.called, colour) if tile.truth is None
            else pictures.errors(tile.called, tile.truth, colour)
        )  # fmt: skip
        mean = None if tile.doubt is None else float(tile.doubt.mean())
        for key, value in {**tile.counted, "doubt": mean}.items():
            if key in columns and value is not None:
                columns[key].append(value)
    # What is looked at first stands together: few sheets are read.
    first = [columns[k] for k in (("fp", "fn") if scored.has_truth else ("called",))]
    order = np.argsort(-np.sum(first, axis=0, dtype=np.int64), kind="stable")
    files = {name: sheets.write_sheets(t, order, folder, name) for name, t in small.items()}
    log.info("report: %s, %d tiles in %.1f s", scored.page, len(at), time.monotonic() - started)
    told = {
        "folder": f"assets/{FOLDER}/{scored.page}",
        "split": scored.split,
        "stage": source.data_stage(scored.split),
        "out_of_fold": scored.out_of_fold,
        "total": len(scored.patch),
        "size": size,
        "pixel_m": sensor.pixel_m,
        "models": [{"key": m, "name": MODEL_NAMES[m]} for m in scored.scores],
        "photos": [{"key": k, "name": name, "note": note} for k, name, note in layers_of(sensor)],
        "doubt": DOUBT_WORDS.get(scored.measure, scored.measure) if columns["doubt"] else None,
        "has_truth": scored.has_truth,
        "threshold": float(np.median(scored.threshold[at])) if len(at) else None,
        "palettes": {
            "probability": pictures.SCALE.tolist(), "doubt": pictures.DOUBT_SCALE.tolist(),
        },
        "colours": {
            "found": pictures.FOUND, "false": pictures.FALSE_ALARM, "missed": pictures.MISSED,
        },
        "sheets": sheets.described(files),
        "tiles": _columns(scored, at, order, columns),
    }  # fmt: skip
    write_text(folder / "index.js", packing.call("L4S.index", told))
    return told


def tile_script(tile: Tile) -> str:
    """Write the script of a tile: ``L4S.tile(patch, bytes)``, one plane after the other.

    Each model's probability in 1/255, doubt likewise where it is known, then bits of truth and of
    what was called.
    """
    planes = [packing.in_steps(p) for p in tile.probability.values()]
    if tile.doubt is not None:
        planes.append(packing.in_steps(tile.doubt))
    planes.append(packing.flags(tile.called, tile.truth))
    return packing.call("L4S.tile", tile.patch, packing.deflated(planes))


def chosen(scored: ScoredTiles, most: int) -> NDArray[np.int64]:
    """Positions of the tiles shown, ascending: all, or those with most wrong (or called) pixels."""
    if len(scored.patch) <= most:
        return np.arange(len(scored.patch))
    c = scored.counts
    size = scored.areas() if c is None else c.fp + c.fn
    return np.sort(np.argsort(-size, kind="stable")[:most])


def _columns(
    scored: ScoredTiles,
    at: NDArray[np.int64],
    order: NDArray[np.int64],
    counted: Mapping[str, list[Any]],
) -> dict[str, list[Any]]:
    cell = np.empty(len(at), np.int64)
    cell[order] = np.arange(len(at))
    ids = [int(p) for p in scored.patch[at]]
    out: dict[str, list[Any]] = {"patch": ids, "cell": cell.tolist()}
    if any(scored.place.get(p, {}).get("scene", -1) >= 0 for p in ids):
        for key in ("scene", "row", "col"):
            out[key] = [scored.place.get(p, {}).get(key, -1) for p in ids]
    if scored.fold is not None:
        out["fold"] = [int(f) for f in scored.fold[at]]
    out |= {k: v for k, v in counted.items() if v}
    own = [float(t) for t in scored.threshold[at]]
    if len(set(own)) > 1:
        out["threshold"] = own
    return out
