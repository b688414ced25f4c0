"""Pictures of whole scenes: every tile in its place, plain and with the colours of the folds.

Colours of folds are those of the fold map. What fits nothing has no colour but a pattern, so that
it is told apart without colour as well.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.report import words
from l4s_ensemble.report.pictures import draw as pictures
from l4s_ensemble.report.pictures.draw import Picture
from l4s_ensemble.report.pictures.scene import draw_scene, thumbnails
from l4s_ensemble.report.source import PLACE, RunSource

if TYPE_CHECKING:
    from l4s_ensemble.data.sensor import Sensor
    from l4s_ensemble.scenes.folds import Folds
    from l4s_ensemble.scenes.layout import Layout

MOST_PIXELS = 1_000_000
"""Of one picture."""

MOST_BYTES = 400_000
"""Of one picture; its quality is lowered until it fits."""

LARGE_PIXELS, LARGE_BYTES = 6_000_000, 1_500_000
"""Likewise of the picture that is looked at closely."""

MOST_SCENES, MOST_OTHERS = 8, 3
"""Scenes shown of the training split, and of each other: those with most tiles."""

FOLD_TINTS = (
    (68, 119, 170), (221, 122, 79), (34, 136, 85), (201, 162, 39), (95, 183, 216),
    (166, 68, 111), (122, 106, 79), (141, 132, 198),
)  # fmt: skip
"""The fold colours of the style, light; the picture is the same on a dark page."""

_NO_TILE = -9
INK, CHALK = (16, 18, 20), (250, 248, 240)
PATTERNS = {
    "holdout": ("holdout, held out of every fit",
                "repeating-linear-gradient(135deg, #faf8f0 0 3px, #101214 3px 5px)"),
    "guard": ("guard beside the holdout",
              "radial-gradient(#faf8f0 0.8px, #585c62 1.1px) 0 0 / 5px 5px"),
    "degenerate": ("degenerate, no terrain",
                   "linear-gradient(45deg, #0000 44%, #101214 44% 56%, #0000 56%), "
                   "linear-gradient(135deg, #faf8f0 44%, #101214 44% 56%, #faf8f0 56%)"),
}  # fmt: skip
"""Label and CSS pattern of each role, for the key."""


def build(source: RunSource, page: str, assets: Path, drawn: set[str]) -> dict[str, Any] | None:
    """Draw the scenes of all stored splits whose tiles have known places.

    Parameters
    ----------
    assets : Path
        Folder of the pictures, ``mosaic-<split>-<scene>-<what>.webp``.
    drawn : set of str
        Names of pictures drawn; grows.

    Returns
    -------
    dict or None
        ``scenes`` (split, scene, tiles, rows, cols, tile_km, grid, pictures), ``legend`` (label,
        css), ``note``. A grid says ``row, col`` of its first cell and ``ids`` of all cells, row by
        row, -1 where no tile is known. None if no tile has a known place.
    """
    shown: list[dict[str, Any]] = []
    left_out = 0
    for split in source.splits:
        placement = _placement(source, split)
        if placement is None:
            continue
        chosen = largest_scenes(placement.scene, MOST_SCENES if split == "train" else MOST_OTHERS)
        shown += [_scene(source, split, placement, s, assets, drawn) for s in chosen]
        left_out += len(np.unique(placement.scene[placement.placed])) - len(chosen)
    if not shown:
        return None
    more = f" {words.plural(left_out, 'smaller scene')} not shown." if left_out else ""
    return {
        "kind": "mosaics",
        "assets": ["scenes.css", "zoom.js", "scenes.js"],
        "scenes": shown,
        "legend": _legend(source.folds),
        "note": f"North is not known to be up: tiles lie as their ids and places say.{more}",
    }


def largest_scenes(scene: NDArray[np.integer[Any]], most: int) -> list[int]:
    """Numbers of the scenes with most tiles, in order; tiles without a scene (-1) are left out."""
    numbers, tiles = np.unique(scene[scene >= 0], return_counts=True)
    return sorted(numbers[np.argsort(-tiles, kind="stable")[:most]].tolist())


def _placement(source: RunSource, split: str) -> Layout | None:
    """Places of the tiles in the order of the store, or None if none is known."""
    from l4s_ensemble.errors import DataError
    from l4s_ensemble.scenes.layout import layout_of

    ids, places = source.store(split)["patch"].values, source.places(split)
    known = [places.get(i, dict.fromkeys(PLACE, -1)) for i in ids.tolist()]
    scene, row, col = (np.array([place[key] for place in known]) for key in PLACE)
    scene = np.where((row < 0) | (col < 0), -1, scene)
    if not (scene >= 0).any():
        return None
    try:
        return layout_of(ids, scene, row, col)
    except DataError:  # two tiles in one place: the page of data must still be made
        return None


def _scene(
    source: RunSource, split: str, placement: Layout, scene: int, assets: Path, drawn: set[str]
) -> dict[str, Any]:
    """Draw one scene and describe it."""
    from l4s_ensemble.data.store import sensor_of
    from l4s_ensemble.scenes.layout import layout_of

    store = source.store(split)
    sensor, here = sensor_of(store), np.flatnonzero(placement.scene == scene)
    own = layout_of(*(getattr(placement, k)[here] for k in ("patch", *PLACE)))
    rows, cols = int(np.ptp(own.row)) + 1, int(np.ptp(own.col)) + 1
    edge = tile_edge_px(sensor.patch_pixels, rows * cols)
    closer = tile_edge_px(sensor.patch_pixels, rows * cols, LARGE_PIXELS)
    closer = closer if closer % edge == 0 else edge
    large, small, levelled = _tiles(store["image"].isel(patch=here), sensor, own, edge, closer)
    km = sensor.patch_pixels * sensor.pixel_m / 1000
    dark = ", the rest is dark" if len(own) < rows * cols else ""
    level = ", each brought to the level of its neighbours" if levelled else ""
    read = (
        f"{rows} × {cols} tiles, {rows * km:.0f} × {cols * km:.0f} km; "
        f"{words.plural(len(own), 'tile')} known{level}{dark}. A road or a river that breaks at a "
        "seam would betray a wrong place."
    )
    plain = draw_scene(small, own, scene)
    title = f"Scene {scene} of {split} in {pictures.colour_name(sensor)}"
    file = f"mosaic-{split}-{scene}-{{}}.webp"
    made = [_picture(plain, file.format("plain"), title, read, assets, drawn)]
    if closer > edge:
        name = file.format("large")
        _save(draw_scene(large, own, scene), name, LARGE_BYTES, assets, drawn)
        made[0]["large"] = f"assets/{name}"
    if split == "train" and source.folds is not None:
        fold, role = (source.folds.of(own.patch, key) for key in ("fold", "role"))
        title = f"Scene {scene}: which tiles are scored together"
        read = (
            "Tiles of one colour are held out in one fold; lines are the boundaries between "
            "folds. Patterned tiles fit nothing."
        )
        tinted = _marked(plain.copy(), own, fold, role, edge)
        made.append(_picture(tinted, file.format("folds"), title, read, assets, drawn))
    return {
        "split": split, "stage": f"data/{split}", "scene": scene, "tiles": len(own),
        "rows": rows, "cols": cols, "tile_km": km, "pictures": made, "grid": _grid(own, rows, cols),
    }  # fmt: skip


def _tiles(
    images: Any, sensor: Sensor, place: Layout, edge: int, closer: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], bool]:
    """Tiles in both sizes, and whether they were brought to the level of their neighbours."""
    from l4s_ensemble.scenes.neighbourhood import harmonise

    bands = tuple(sensor.band_names.index(b) for b in pictures.colour_bands(sensor)[0])
    large, step = thumbnails(images, bands, closer), closer // edge
    levelled = sensor.radiometry == "relative" and edge >= 8
    if levelled:
        # To a common level first: seams say nothing about parts that do not touch.
        level = np.median(large, axis=(1, 2, 3), keepdims=True)
        large /= np.where(level > 0, level / 1000, 1)
        gain = harmonise(_shrunk(large, step).transpose(0, 3, 1, 2), place)
        large *= np.exp(gain.astype(np.float32))[:, None, None, None]
    return large, _shrunk(large, step), levelled


def _grid(placement: Layout, rows: int, cols: int) -> dict[str, Any]:
    """First cell of a scene and the tiles of all cells."""
    row, col = int(placement.row.min()), int(placement.col.min())
    ids = np.full((rows, cols), -1)
    ids[placement.row - row, placement.col - col] = placement.patch
    return {"row": row, "col": col, "ids": ids.ravel().tolist()}


def tile_edge_px(patch_pixels: int, cells: int, most: int = MOST_PIXELS) -> int:
    """Edge of a tile in the picture: the largest whole part of its own that keeps it small."""
    whole = [d for d in range(4, 65) if patch_pixels % d == 0] or [patch_pixels]
    fitting = [d for d in whole if d * d * cells <= most]
    return fitting[-1] if fitting else whole[0]


def _shrunk(tiles: NDArray[np.float32], step: int) -> NDArray[np.float32]:
    """Means over squares of `step` pixels of thumbnails (tile, y, x, band)."""
    n, edge = tiles.shape[0], tiles.shape[1] // step
    means: NDArray[np.float32] = tiles.reshape(n, edge, step, edge, step, -1).mean(axis=(2, 4))
    return means


def _marked(panel: Picture, placement: Layout, fold: Any, role: Any, edge: int) -> Picture:
    """Colours of the folds, patterns on tiles that fit nothing, lines between folds."""
    first = int(placement.row.min()), int(placement.col.min())
    shape = panel.shape[0] // edge, panel.shape[1] // edge
    code = np.full(shape, _NO_TILE)
    y, x = np.mgrid[:edge, :edge]
    for row, col, f, what in zip(
        placement.row - first[0], placement.col - first[1], fold, role, strict=True
    ):
        tile = panel[row * edge : (row + 1) * edge, col * edge : (col + 1) * edge]
        tint = FOLD_TINTS[f % len(FOLD_TINTS)] if f >= 0 else CHALK
        tile[:] = 0.6 * tile + 0.4 * np.array(tint)
        if what == "holdout":
            tile[(x + y) % 8 < 2] = INK
        elif what == "guard":
            tile[:] = (tile * 0.4 + 30).astype(np.uint8)
            tile[(x % 4 == 1) & (y % 4 == 1)] = CHALK
        elif what == "degenerate":
            thick = max(1, edge // 12)
            tile[(np.abs(x - y) <= thick) | (np.abs(x + y - edge + 1) <= thick)] = INK
        code[row, col] = f if what == "fit" else -2
    for row, col in np.argwhere(_border(code[:, 1:], code[:, :-1])):
        panel[row * edge : (row + 1) * edge, (col + 1) * edge - 1 : (col + 1) * edge + 1] = CHALK
    for row, col in np.argwhere(_border(code[1:], code[:-1])):
        panel[(row + 1) * edge - 1 : (row + 1) * edge + 1, col * edge : (col + 1) * edge] = CHALK
    return panel


def _border(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Where two tiles that are both there are of different folds."""
    return np.asarray((one != other) & (one > _NO_TILE) & (other > _NO_TILE))


def _picture(
    picture: Picture, name: str, title: str, read: str, assets: Path, drawn: set[str]
) -> dict[str, Any]:
    """Write a picture and describe it."""
    _save(picture, name, MOST_BYTES, assets, drawn)
    height, width = picture.shape[:2]
    size = {"width": width, "height": height}
    return {"file": f"assets/{name}", "title": title, "read": read, **size}


def _save(picture: Picture, name: str, most: int, assets: Path, drawn: set[str]) -> None:
    """Write a picture of at most so many bytes, if any quality will do."""
    for quality in (84, 72, 58, 40, 20):
        pictures.save(picture, assets / name, quality)
        if (assets / name).stat().st_size <= most:
            break
    drawn.add(name)


def _legend(folds: Folds | None) -> list[dict[str, str]]:
    """Label and CSS background of what the tinted pictures show."""
    if folds is None:
        return []
    made = []
    for k in range(folds.n_folds):
        r, g, b = FOLD_TINTS[k % len(FOLD_TINTS)]
        made.append({"label": f"fold {k}", "css": f"rgb({r} {g} {b})"})
    present = set(folds.role.tolist())
    roles = [(label, css) for role, (label, css) in PATTERNS.items() if role in present]
    return made + [{"label": label, "css": css} for label, css in roles]
