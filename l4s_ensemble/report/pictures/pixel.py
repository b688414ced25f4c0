"""Pictures that explain: contributions on a tile as maps, and called landslides in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.report import words
from l4s_ensemble.report.pages.pixel.importance import colours
from l4s_ensemble.report.pictures import draw as pictures
from l4s_ensemble.report.pictures import gallery
from l4s_ensemble.report.pictures.draw import Picture
from l4s_ensemble.report.pictures.features import (
    RIM_LIGHT,
    TWO_SIDED,
    ZOOM,
    coloured,
    css,
    rimmed,
)
from l4s_ensemble.report.source import RunSource

FILE = "contribution_maps.npz"

REACH = 0.995
"""Share of the values of all groups of a tile that the colour scale holds."""

TICKS = (-1.0, -0.25, 0.0, 0.25, 1.0)
"""Values told beside the scale, in its ends' size: evenly spaced on a scale of roots."""

CROP_PX = 40
"""Least edge of the picture of a landslide, pixels."""

CROP_ROOM_PX = 6
CROP_PICTURE_PX = 160
"""Least edge of the file."""

KINDS = {"median": "near the median F1", "worst": "among the lowest F1"}


def build(source: RunSource, assets: Path, drawn: set[str]) -> dict[str, Any] | None:
    """Draw the explained tiles of the pixel stage; None in a run without them.

    Parameters
    ----------
    assets : Path
        Gets ``tiles/explained-<patch>-<name>``.
    drawn : set of str
        Names of pictures drawn; grows.

    Returns
    -------
    dict or None
        ``note``, ``scale`` (CSS gradient) and ``tiles``: each ``patch, told, expected, ticks`` (of
        the scale, log-odds), ``first, groups`` (pictures: ``name, file, alt`` and for
        contributions ``colour, on, off``: mean on true landslides and elsewhere).
    """
    found = source.arrays("pixel", FILE)
    if found is None or "data/train" not in source:
        return None
    shown = gallery.of_fit(source, "pixel")
    if shown is None or not len(found["patch"]):
        return None
    from l4s_ensemble.data.store import positions_of, sensor_of, units

    store = source.store("train")
    sensor = sensor_of(store)
    bands, is_true = pictures.colour_bands(sensor)
    label = "true colour" if is_true else "colour from " + ", ".join(bands)
    (assets / "tiles").mkdir(parents=True, exist_ok=True)
    told = {t["patch"]: t for t in (source.summary("pixel").get("slides") or {}).get("tiles", [])}
    groups = [str(g) for g in found["groups"]]
    colour = colours(source, groups)
    tiles = []
    for n, patch in enumerate(int(p) for p in found["patch"]):
        at = [int(positions_of(store, [patch])[0])]
        image = pictures.true_colour(units(store, at)[0], sensor)
        mask = store["mask"][at[0]].values == 1
        called = shown.maps["pixel"](patch) >= shown.threshold

        def saved(picture: Picture, key: str, patch: int = patch) -> str:
            return _written(picture, f"explained-{patch}-{key}", assets, drawn)

        first = [
            (label, "colour.webp", image.repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)),
            ("truth", "truth.png", pictures.truth(mask, image)),
            ("probability", "probability.webp", pictures.probability(shown.maps["pixel"](patch))),
            ("errors", "errors.png", pictures.errors(called, mask, image)),
        ]
        by_group = found["by_group"][n].astype(np.float64)
        most = _most(by_group)
        stride = int(found["stride_px"])
        maps = [(g, by_group[i], colour[g]) for i, g in enumerate(groups)]
        maps.sort(key=lambda m: -float(np.abs(m[1]).mean()))
        tiles.append(
            {
                "patch": patch,
                "told": _told(str(found["kind"][n]), told.get(patch)),
                "ticks": [words.sigfig(t * most, 2) for t in TICKS],
                "expected": words.sigfig(float(found["expected"][n]), 3),
                "first": [
                    {"name": name, "file": saved(picture, key), "alt": f"Tile {patch}, {name}"}
                    for name, key, picture in first
                ],
                "groups": [
                    _map(patch, name, value, hue, most, mask, stride, assets, drawn)
                    for name, value, hue in maps
                ],
            }
        )
    return {
        "scale": css(TWO_SIDED),
        "tiles": tiles,
        "note": "What each group of features adds to the log-odds of every second pixel, against "
        "the mean pixel of the ground, by the model that did not see the tile. Orange "
        "speaks for a landslide, purple against. All maps of a tile have one scale, drawn finer "
        "near zero. Lines are the rim of the true landslides. Groups and the start add up to the "
        "logit: where it is wrong, one sees which group misled it.",
    }


def slides(source: RunSource, assets: Path, drawn: set[str]) -> dict[str, Any] | None:
    """Table of called landslides in words, each with a small picture; None without them."""
    rows = (source.summary("pixel").get("slides") or {}).get("rows") or []
    if not rows:
        return None
    explained = source.arrays("pixel", FILE)
    linked = {int(p) for p in explained["patch"]} if explained is not None else set()
    crops = _crops(source, rows, assets, drawn)
    return {
        "title": "The largest called landslides",
        "note": "Those called on the explained tiles below. Numbers are log-odds, mean "
        "over the landslide: +0.7 doubles the odds, −0.7 halves them. In the pictures the orange "
        "line is the rim of what was called, the white line that of the truth.",
        "rows": [
            {
                **{k: r[k] for k in ("patch", "sentence", "kind", "words")},
                **words.sigfig(
                    {k: r[k] for k in ("probability", "true_share", "area_m2", "logit")}
                ),
                "linked": int(r["patch"]) in linked,
                "picture": crop,
            }
            for r, crop in zip(rows, crops, strict=True)
        ],
    }


def cut_out(called: NDArray[np.bool_], y: float, x: float, pixels: int) -> tuple[slice, slice]:
    """Square around the called landslide whose middle and size are given.

    Parameters
    ----------
    called : bool array, shape (y, x)
    y, x : float
        Its middle, pixels.
    pixels : int
        Its size.
    """
    from scipy.ndimage import find_objects, label

    height, width = called.shape
    labels, n = label(called, structure=np.ones((3, 3)))
    box = (slice(int(y), int(y) + 1), slice(int(x), int(x) + 1))
    if n:
        area = np.bincount(labels.ravel(), minlength=n + 1)[1:]
        middle = [np.argwhere(labels == i + 1).mean(axis=0) for i in range(n)]
        off = [abs(m[0] - y) + abs(m[1] - x) for m in middle]
        best = min(range(n), key=lambda i: (abs(int(area[i]) - pixels), off[i]))
        found = find_objects(labels)[best]
        box = (found[0], found[1])
    edge = max(box[0].stop - box[0].start, box[1].stop - box[1].start) + 2 * CROP_ROOM_PX
    edge = min(max(edge, CROP_PX), height, width)
    out = []
    for own, size in zip(box, (height, width), strict=True):
        start = (own.start + own.stop - edge) // 2
        start = min(max(start, 0), size - edge)
        out.append(slice(start, start + edge))
    return out[0], out[1]


def _crops(
    source: RunSource, rows: list[dict[str, Any]], assets: Path, drawn: set[str]
) -> list[dict[str, Any] | None]:
    """Pictures of the landslides; None where the tiles are not there."""
    shown = gallery.of_fit(source, "pixel")
    if shown is None:
        return [None] * len(rows)
    from l4s_ensemble.data.store import positions_of, sensor_of, units

    store = source.store("train")
    sensor = sensor_of(store)
    (assets / "tiles").mkdir(parents=True, exist_ok=True)
    out: list[dict[str, Any] | None] = []
    for n, r in enumerate(rows, start=1):
        patch = int(r["patch"])
        at = int(positions_of(store, [patch])[0])
        called = shown.maps["pixel"](patch) >= shown.threshold
        box = cut_out(called, float(r["y"]), float(r["x"]), int(r["pixels"]))
        zoom = -(-CROP_PICTURE_PX // (box[0].stop - box[0].start))
        large = _enlarged(pictures.true_colour(units(store, [at])[0], sensor)[box], zoom)
        for mask, hue in (
            (store["mask"][at].values == 1, RIM_LIGHT),
            (called, pictures.FALSE_ALARM),
        ):
            large[_rim(_enlarged(mask[box], zoom))] = hue
        out.append(
            {
                "file": _written(large, f"slide-{patch}-{n}.webp", assets, drawn),
                "size": len(large),
                "alt": f"Called landslide {n}, on tile {patch}",
            }
        )
    return out


def _map(
    patch: int,
    name: str,
    value: NDArray[np.float64],
    hue: str,
    most: float,
    mask: NDArray[np.bool_],
    stride: int,
    assets: Path,
    drawn: set[str],
) -> dict[str, Any]:
    """Draw one map of contributions and say its means on and off the landslides."""
    whole = _enlarged(value, stride)[: mask.shape[0], : mask.shape[1]]
    # Roots: one scale for all maps of a tile, and small contributions are still seen.
    rooted = np.sign(whole) * np.sqrt(np.abs(whole) / most)
    picture = rimmed(coloured(rooted, (-1.0, 1.0), True), mask)
    some = mask[::stride, ::stride][: value.shape[0], : value.shape[1]]
    on = float(value[some].mean()) if some.any() else None
    off = float(value[~some].mean()) if (~some).any() else None
    file = f"explained-{patch}-g-{name}.webp"
    return {
        "name": name,
        "colour": hue,
        "on": _two_digits(on),
        "off": _two_digits(off),
        "file": _written(picture, file, assets, drawn),
        "alt": f"Tile {patch}: what {name} adds, mean {words.signed(on)} on landslides and "
        f"{words.signed(off)} elsewhere",
    }


def _most(values: NDArray[np.float64]) -> float:
    """End of a scale around zero."""
    most = float(np.quantile(np.abs(values), REACH))
    return most if most > 0 else 1.0


def _two_digits(value: float | None) -> float | None:
    """Round; nothing is never below zero."""
    return None if value is None else round(value, 2) + 0.0


def _told(kind: str, row: dict[str, Any] | None) -> str:
    said = KINDS.get(kind, kind)
    if row is None:
        return said
    return (
        f"{said}: F1 {words.score(row['f1'])}, {words.count(row['tp'])} px found, "
        f"{words.count(row['fn'])} missed, {words.count(row['fp'])} false"
    )


def _rim(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    from scipy.ndimage import binary_erosion

    inner: NDArray[np.bool_] = mask & ~binary_erosion(mask, iterations=2, border_value=1)
    return inner


def _enlarged(values: NDArray[Any], times: int) -> NDArray[Any]:
    return values.repeat(times, axis=0).repeat(times, axis=1)


def _written(picture: Picture, name: str, assets: Path, drawn: set[str]) -> str:
    pictures.save(picture, assets / "tiles" / name)
    drawn.add(f"tiles/{name}")
    return f"assets/tiles/{name}"
