"""Pictures that explain the U-Net: what each group of bands adds on a few tiles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.report import words
from l4s_ensemble.report.pictures import draw as pictures
from l4s_ensemble.report.pictures import gallery
from l4s_ensemble.report.pictures.draw import Picture
from l4s_ensemble.report.pictures.features import TWO_SIDED, ZOOM, coloured, css, rimmed
from l4s_ensemble.report.source import RunSource

FILE = "attribution_maps.npz"

REACH = 0.997
"""Share of the values of all groups of a tile that the colour scale holds."""

SMOOTH_PX = 1.2
"""Sigma of the blur that maps are shown with."""

TICKS = (-1.0, -0.25, 0.0, 0.25, 1.0)
"""Values told beside the scale, in its ends' size: evenly spaced on a scale of roots."""

KINDS = {
    "median": ("near the median F1", "the pixels it found"),
    "best": ("the best of the larger ones", "the pixels it found"),
    "false": ("most false pixels", "the pixels it called falsely"),
    "missed": ("most missed pixels", "the pixels it missed"),
}
"""Why a tile is shown, and whose mean logit is explained."""

_NOTE = (
    "The mean log-odds of the outlined pixels, shared out to all that the network saw of the tile "
    "(integrated gradients from a tile at its mean in every band, blurred by a pixel for the eye). "
    "Orange speaks for a landslide there, purple against. Maps of a tile have one scale, drawn "
    "finer near zero. Colour outside the outline is surroundings at work."
)


def build(source: RunSource, assets: Path, drawn: set[str]) -> dict[str, Any] | None:
    """Draw the explained tiles of the U-Net stage; None in a run without them.

    Parameters
    ----------
    assets : Path
        Gets ``tiles/attributed-<patch>-<name>``.
    drawn : set of str
        Names of pictures drawn; grows.

    Returns
    -------
    dict or None
        ``note``, ``scale`` (CSS gradient) and ``tiles``: each ``patch, told, sum`` (sentence),
        ``ticks`` (of the scale, thousandths of log-odds a pixel), ``first, groups`` (pictures:
        ``name, file, alt`` and for groups ``sum, inside``).
    """
    found = source.arrays("unet", FILE)
    rows = (source.summary("unet").get("attribution") or {}).get("tiles") or []
    shown = gallery.of_fit(source, "unet") if found is not None and rows else None
    if found is None or shown is None or "data/train" not in source:
        return None
    from l4s_ensemble.data.store import positions_of, sensor_of, units

    store = source.store("train")
    sensor = sensor_of(store)
    bands, is_true = pictures.colour_bands(sensor)
    label = "true colour" if is_true else "colour from " + ", ".join(bands)
    (assets / "tiles").mkdir(parents=True, exist_ok=True)
    tiles = []
    for n, row in enumerate(rows):
        patch, region = int(row["patch"]), found["region"][n].astype(bool)
        at = int(positions_of(store, [patch])[0])
        image = pictures.true_colour(units(store, [at])[0], sensor)
        mask = store["mask"][at].values == 1
        read = shown.maps["unet"](patch)

        def saved(picture: Picture, key: str, patch: int = patch) -> str:
            name = f"tiles/attributed-{patch}-{key}"
            pictures.save(picture, assets / name)
            drawn.add(name)
            return f"assets/{name}"

        first = [
            (label, "colour.webp", image.repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)),
            ("probability", "probability.webp", pictures.probability(read)),
            ("errors", "errors.png", pictures.errors(read >= shown.threshold, mask, image)),
        ]
        values = _smooth(found["by_group"][n].astype(np.float64))
        most = _most(values)
        told = {g["group"]: g for g in row["groups"]}
        groups = []
        for i in sorted(range(len(values)), key=lambda i: -float(np.abs(values[i]).sum())):
            name = str(found["groups"][i])
            # Roots: one scale for all maps of a tile, and small attributions are still seen.
            rooted = np.sign(values[i]) * np.sqrt(np.abs(values[i]) / most)
            picture = rimmed(coloured(rooted, (-1.0, 1.0), True), region)
            total, inside = told[name]["sum"], told[name]["inside"]
            groups.append(
                {
                    "name": name, "sum": words.sigfig(total), "inside": words.sigfig(inside),
                    "file": saved(picture, f"{i}.webp"),
                    "alt": f"Tile {patch}: what {name} adds, {words.signed(total)} in all",
                }
            )  # fmt: skip
        tiles.append(
            {
                "patch": patch, "told": _told(row), "sum": _sum(row), "groups": groups,
                "ticks": [words.sigfig(1000 * t * most, 2) for t in TICKS],
                "first": [
                    {"name": name, "file": saved(picture, key), "alt": f"Tile {patch}, {name}"}
                    for name, key, picture in first
                ],
            }
        )  # fmt: skip
    return {"note": _NOTE, "scale": css(TWO_SIDED), "tiles": tiles}


def _told(row: Mapping[str, Any]) -> str:
    why = KINDS.get(row["kind"], (row["kind"], ""))[0]
    return (
        f"{why}: F1 {words.score(row['f1'])}, {words.count(row['tp'])} px found, "
        f"{words.count(row['fn'])} missed, {words.count(row['fp'])} false"
    )


def _sum(row: Mapping[str, Any]) -> str:
    """How the logit comes about, as a sum."""
    what = KINDS.get(row["kind"], ("", "the pixels"))[1]
    parts = sorted(row["groups"], key=lambda g: -abs(g["sum"]))
    listed = ", ".join(f"{g['group']} {words.signed(g['sum'])}" for g in parts)
    return (
        f"Explained are {what} ({words.count(row['region_px'])} px). Their mean log-odds are "
        f"{words.signed(row['logit'])}: the sum starts at {words.signed(row['start'])}; {listed}."
    )


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Blur maps (group, y, x): gradients differ from pixel to pixel more than the eye can use."""
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(values, (0, SMOOTH_PX, SMOOTH_PX)))


def _most(values: NDArray[np.float64]) -> float:
    """End of a scale around zero."""
    most = float(np.quantile(np.abs(values), REACH))
    return most if most > 0 else 1.0
