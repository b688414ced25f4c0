"""Pictures of whole scenes: every tile in its place, with the folds, or with what was mapped.

What is told by colour is told by a pattern or by words as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.report import words
from l4s_ensemble.report.browser import scored
from l4s_ensemble.report.browser.links import pages_of
from l4s_ensemble.report.browser.scored import ScoredTiles
from l4s_ensemble.report.page import split_of
from l4s_ensemble.report.pictures import draw as pictures
from l4s_ensemble.report.pictures.draw import Picture
from l4s_ensemble.report.pictures.scene import EMPTY, draw_scene, place_tiles, thumbnails
from l4s_ensemble.report.source import PLACE, RunSource

if TYPE_CHECKING:
    from l4s_ensemble.data.sensor import Sensor
    from l4s_ensemble.scenes.folds import Folds
    from l4s_ensemble.scenes.layout import Layout

MOST_PIXELS = 1_500_000
"""Of a picture."""

MOST_BYTES = 500_000
"""Of a picture; its quality is lowered until it fits."""

MOST_SCENES, MOST_OTHERS = 4, 2
"""Scenes shown of the training split, and of each other: those with most tiles."""

FOLD_TINTS = (
    (68, 119, 170), (221, 122, 79), (34, 136, 85), (201, 162, 39), (95, 183, 216),
    (166, 68, 111), (122, 106, 79), (141, 132, 198),
)  # fmt: skip
"""The fold colours of the style, light; the picture is the same on a dark page."""

_NO_TILE = -9
CHALK = (250, 248, 240)
HATCH = "repeating-linear-gradient(135deg, #faf8f0 0 3px, #101214 3px 5px)"
Legend = list[dict[str, str]]
OUTSIDE = {"label": "tile outside the area of applicability", "css": HATCH}
UNSURE = {"label": "sure to uncertain", "css": pictures.scale_css(pictures.UNCERTAINTY_SCALE)}


def of_data(source: RunSource, page: str, assets: Path, drawn: set[str]) -> dict[str, Any]:
    """Draw the scenes of all stored splits whose tiles have known places.

    Returns
    -------
    dict
        Block ``scene``: that of the largest training scene, with its folds, and ``scenes``: the
        others. Without known places there is none.
    """
    shown: list[dict[str, Any]] = []
    for split in source.splits:
        layout = layout_of_split(source, split)
        most = MOST_SCENES if split == "train" else MOST_OTHERS
        for scene in largest_scenes(layout.scene, most) if layout is not None else []:
            assert layout is not None
            own, small, read = _scene(source, split, layout, scene)
            panel, what = draw_scene(small, own, scene), "plain"
            if split == "train" and source.folds is not None:
                fold, role = (source.folds.of(own.patch, key) for key in ("fold", "role"))
                panel, what = _marked(panel, own, fold, role, small.shape[1]), "folds"
                read += " Tiles of one colour are held out together."
            name = f"mosaic-{split}-{scene}-{what}.webp"
            made = _picture(source, split, panel, own, name, assets, drawn)
            shown.append({**made, "title": f"Scene {scene} of {split}", "read": read})
    return _blocks(("scene", "scenes"), shown, _legend(source.folds))


def of_prediction(source: RunSource, page: str, assets: Path, drawn: set[str]) -> dict[str, Any]:
    """Draw what was mapped in the scenes of a predicted split, and how uncertain it is.

    Returns
    -------
    dict
        Block ``map``: that of the largest scene; ``maps``: the others. Without known places there
        is none.
    """
    split = split_of(page)
    found, layout = scored.of_prediction(source, split), layout_of_split(source, split)
    if found is None or layout is None:
        return {}
    outside = _outside(source, split)
    maps: list[dict[str, Any]] = []
    unsure: list[dict[str, Any]] = []
    for scene in largest_scenes(layout.scene, MOST_OTHERS):
        own, small, read = _scene(source, split, layout, scene)
        grey = pictures.dimmed(draw_scene(small, own, scene))
        mapped, uncertainty = _overlays(found, own, small.shape[1])
        hatched = np.isin(own.patch, outside)
        for what, title, panel, into in (
            (
                "map",
                f"What was mapped in scene {scene} of {split}",
                _tinted(grey, own, mapped, hatched),
                maps,
            ),
            (
                "unsure",
                f"How uncertain it is in scene {scene} of {split}",
                _coloured(own, uncertainty, hatched),
                unsure,
            ),
        ):
            name = f"mosaic-{split}-{scene}-{what}.webp"
            into.append(
                {
                    **_picture(source, split, panel, own, name, assets, drawn),
                    "title": title,
                    "read": read if into is maps else "Bright is near the threshold, dark is sure.",
                }
            )
    marks, hatch = _map_legend(found.has_reference), [OUTSIDE] if len(outside) else []
    made = _blocks(("map", "maps"), maps + unsure, [*marks, *hatch])
    if "maps" in made:
        made["maps"]["legend"] = [*(marks if maps[1:] else []), UNSURE, *hatch]
    return made


def largest_scenes(scene: NDArray[np.integer[Any]], most: int) -> list[int]:
    """Numbers of the scenes with most tiles, the largest first; -1 is no scene."""
    numbers, tiles = np.unique(scene[scene >= 0], return_counts=True)
    return [int(n) for n in numbers[np.argsort(-tiles, kind="stable")[:most]]]


def layout_of_split(source: RunSource, split: str) -> Layout | None:
    """Places of a split's tiles in the order of their store, or None if none is known."""
    from l4s_ensemble.errors import DataError
    from l4s_ensemble.scenes.layout import layout_of

    ids, places = source.store(split)["patch"].values, source.places(split)
    known = [places.get(i, dict.fromkeys(PLACE, -1)) for i in ids.tolist()]
    scene, row, col = (np.array([place[key] for place in known]) for key in PLACE)
    scene = np.where((row < 0) | (col < 0), -1, scene)
    if split == "holdout" and source.folds is not None:
        scene = np.where(np.isin(ids, source.folds.holdout_ids), scene, -1)
    if not (scene >= 0).any():
        return None
    try:
        return layout_of(ids, scene, row, col)
    except DataError:  # two tiles in one place: the page must still be made
        return None


def tile_edge_px(patch_pixels: int, cells: int) -> int:
    """Edge of a tile in the picture: the largest whole part of its own that keeps it small."""
    whole = [d for d in range(4, 129) if patch_pixels % d == 0] or [patch_pixels]
    fitting = [d for d in whole if d * d * cells <= MOST_PIXELS]
    return fitting[-1] if fitting else whole[0]


def _scene(
    source: RunSource, split: str, layout: Layout, scene: int
) -> tuple[Layout, NDArray[np.float32], str]:
    """Layout of a scene, its tiles in small, and a sentence on it."""
    from l4s_ensemble.data.store import sensor_of
    from l4s_ensemble.scenes.layout import layout_of

    store, here = source.store(split), np.flatnonzero(layout.scene == scene)
    sensor = sensor_of(store)
    own = layout_of(*(getattr(layout, k)[here] for k in ("patch", *PLACE)))
    rows, cols = int(np.ptp(own.row)) + 1, int(np.ptp(own.col)) + 1
    km = sensor.patch_pixels * sensor.pixel_m / 1000
    small = _tiles(store["image"].isel(patch=here), sensor, own, rows * cols)
    read = f"{words.plural(len(own), 'tile')}, {rows * km:.0f} × {cols * km:.0f}\u202fkm."
    return own, small, read


def _tiles(images: Any, sensor: Sensor, own: Layout, cells: int) -> NDArray[np.float32]:
    """Tiles in small, those of unknown gain brought to the level of their neighbours."""
    from l4s_ensemble.scenes.neighbourhood import harmonise

    bands = tuple(sensor.band_names.index(b) for b in pictures.colour_bands(sensor)[0])
    small = thumbnails(images, bands, tile_edge_px(sensor.patch_pixels, cells))
    if sensor.radiometry == "relative" and small.shape[1] >= 8:
        # To a common level first: seams say nothing about parts that do not touch.
        level = np.median(small, axis=(1, 2, 3), keepdims=True)
        small /= np.where(level > 0, level / 1000, 1)
        gain = harmonise(small.transpose(0, 3, 1, 2), own)
        small *= np.exp(gain.astype(np.float32))[:, None, None, None]
    return small


def _overlays(
    found: ScoredTiles, own: Layout, edge: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Shares of found, false and missed (or mapped) pixels, and uncertainty, in small.

    Returns
    -------
    mapped : float32 array, shape (tile, edge, edge, 3)
    uncertainty : float32 array, shape (tile, edge, edge)
    """
    mapped = np.zeros((len(own), edge, edge, 3), np.float32)
    unsure = np.zeros((len(own), edge, edge), np.float32)
    position = {int(p): n for n, p in enumerate(own.patch)}
    at = np.flatnonzero(np.isin(found.patch, own.patch))
    for tile in found.tiles(at):
        n, p = position[tile.patch], tile.predicted
        r = p if tile.reference is None else tile.reference
        kinds = (p & r, p & ~r, ~p & r) if tile.reference is not None else (p & ~p, p, p & ~p)
        for k, kind in enumerate(kinds):
            mapped[n, ..., k] = _shrunk(kind, edge)
        if tile.uncertainty is not None:
            unsure[n] = _shrunk(tile.uncertainty, edge)
    return mapped, unsure


def _shrunk(values: NDArray[Any], edge: int) -> NDArray[np.float32]:
    step = values.shape[0] // edge
    cut = values[: step * edge, : step * edge].astype(np.float32)
    return np.asarray(cut.reshape(edge, step, edge, step).mean(axis=(1, 3)), np.float32)


def _tinted(
    grey: Picture, own: Layout, mapped: NDArray[np.float32], hatched: NDArray[np.bool_]
) -> Picture:
    """Colours of what was mapped over a grey scene; tiles outside applicability are hatched."""
    hues = np.array([pictures.FOUND, pictures.FALSE_ALARM, pictures.MISSED], np.float32)
    total = mapped.sum(axis=-1, keepdims=True)
    colour = (mapped / np.maximum(total, 1e-6)) @ hues
    strength = np.minimum(1.0, 2.5 * total)
    tiles = place_tiles(np.concatenate([colour, strength], axis=-1), own.row, own.col, 0.0)
    out = grey * (1 - tiles[..., 3:]) + tiles[..., :3] * tiles[..., 3:]
    return _hatch(out.astype(np.uint8), own, hatched, mapped.shape[1])


def _coloured(own: Layout, unsure: NDArray[np.float32], hatched: NDArray[np.bool_]) -> Picture:
    """Uncertainty from dark to bright between its own quantiles."""
    low, high = np.quantile(unsure, [0.02, 0.999])
    part = np.clip((unsure - low) / max(float(high - low), 1e-6), 0, 1)
    tiles = pictures.on_scale(part, pictures.UNCERTAINTY_SCALE)
    panel = place_tiles(tiles, own.row, own.col, EMPTY)
    return _hatch(panel, own, hatched, unsure.shape[1])


def _hatch(panel: Picture, own: Layout, hatched: NDArray[np.bool_], edge: int) -> Picture:
    y, x = np.mgrid[:edge, :edge]
    lines = (x + y) % max(6, edge // 4) < max(1, edge // 32)
    for row, col in zip(own.row[hatched], own.col[hatched], strict=True):
        top, left = (int(row - own.row.min())) * edge, (int(col - own.col.min())) * edge
        panel[top : top + edge, left : left + edge][lines] = CHALK
    return panel


def _outside(source: RunSource, split: str) -> NDArray[np.int64]:
    from l4s_ensemble.predict.summary import ResultSummary

    result = source.get(ResultSummary, split)
    known = result.applicability if result else None
    return np.array(sorted(known.tiles_outside()) if known else [], np.int64)


def _marked(panel: Picture, own: Layout, fold: Any, role: Any, edge: int) -> Picture:
    """Colours of the folds, lines between them; tiles that fit nothing are hatched."""
    panel = panel.copy()
    shape = panel.shape[0] // edge, panel.shape[1] // edge
    code, thick = np.full(shape, _NO_TILE), max(1, edge // 32)
    y, x = np.mgrid[:edge, :edge]
    for row, col, f, what in zip(
        own.row - own.row.min(), own.col - own.col.min(), fold, role, strict=True
    ):
        tile = panel[row * edge : (row + 1) * edge, col * edge : (col + 1) * edge]
        if what == "fit":
            tile[:] = 0.6 * tile + 0.4 * np.array(FOLD_TINTS[f % len(FOLD_TINTS)])
        else:
            tile[(x + y) % max(8, edge // 4) < max(2, edge // 16)] = CHALK
        code[row, col] = f if what == "fit" else -2
    for row, col in np.argwhere(_border(code[:, 1:], code[:, :-1])):
        at = (col + 1) * edge
        panel[row * edge : (row + 1) * edge, at - thick : at + thick] = CHALK
    for row, col in np.argwhere(_border(code[1:], code[:-1])):
        at = (row + 1) * edge
        panel[at - thick : at + thick, col * edge : (col + 1) * edge] = CHALK
    return panel


def _border(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Where two tiles that are both there are of different folds."""
    return np.asarray((one != other) & (one > _NO_TILE) & (other > _NO_TILE))


def _picture(
    source: RunSource,
    split: str,
    panel: Picture,
    own: Layout,
    name: str,
    assets: Path,
    drawn: set[str],
) -> dict[str, Any]:
    """Write a picture; describe it, its scale bar and the tiles of its cells."""
    for quality in (84, 72, 58, 40, 20):
        pictures.save(panel, assets / name, quality)
        if (assets / name).stat().st_size <= MOST_BYTES:
            break
    drawn.add(name)
    rows, cols = int(np.ptp(own.row)) + 1, int(np.ptp(own.col)) + 1
    ids = np.full((rows, cols), -1)
    ids[own.row - own.row.min(), own.col - own.col.min()] = own.patch
    km = cols * source.store(split).sizes["x"] * source.pixel_m(split) / 1000
    bar = max(s * 10**e for e in (-1, 0, 1, 2) for s in (1, 2, 5) if s * 10**e <= km / 3)
    return {
        "file": f"assets/{name}",
        "width": panel.shape[1],
        "height": panel.shape[0],
        "rows": rows,
        "cols": cols,
        "scale": {"km": bar, "percent": round(100 * bar / km, 2)},
        **_cells(source, split, ids.ravel().tolist()),
    }


def _cells(source: RunSource, split: str, ids: list[int]) -> dict[str, Any]:
    """Tiles of the cells, -1 where there is none, and the page of each in the browser."""
    # The holdout's tiles lie in a training scene and have a page of their own.
    stage = source.data_stage(split)
    pages: Mapping[str, tuple[str, frozenset[int]]] = pages_of(source)
    here = [pages[s] for s in (split, *pages) if s in pages and source.data_stage(s) == stage]
    page = [next((n for n, (_, shown) in enumerate(here) if i in shown), -1) for i in ids]
    return {"ids": ids, "pages": [file for file, _ in here], "page": page}


def _blocks(keys: tuple[str, str], shown: list[dict[str, Any]], legend: Legend) -> dict[str, Any]:
    """One block of the first picture, one of the rest."""
    note = "North is not known to be up. A click leads to the tile."
    made = {"kind": "mosaics", "assets": ["scenes.js"], "legend": legend, "note": note}
    parts = zip(keys, (shown[:1], shown[1:]), strict=True)
    return {key: {**made, "pictures": some} for key, some in parts if some}


def _legend(folds: Folds | None) -> Legend:
    """Label and CSS background of what the tinted pictures show."""
    if folds is None:
        return []
    made = []
    for k in range(folds.n_folds):
        r, g, b = FOLD_TINTS[k % len(FOLD_TINTS)]
        made.append({"label": f"fold {k}", "css": f"rgb({r} {g} {b})"})
    others = sorted(set(folds.role.tolist()) - {"fit"})
    hatch = [{"label": f"fits nothing ({', '.join(others)})", "css": HATCH}]
    return made + (hatch if others else [])


def _map_legend(has_reference: bool) -> Legend:
    marks = [("mapped", pictures.FALSE_ALARM)]
    if has_reference:
        marks = [
            ("mapped and in the reference", pictures.FOUND),
            ("mapped, not in the reference", pictures.FALSE_ALARM),
            ("in the reference, missed", pictures.MISSED),
        ]
    return [{"label": label, "css": f"rgb({r} {g} {b})"} for label, (r, g, b) in marks]
