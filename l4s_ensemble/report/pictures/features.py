"""The contact sheet: one tile, and what each telling feature makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.report import words
from l4s_ensemble.report.pages.features.tell import groups as told_groups
from l4s_ensemble.report.pages.features.tell import rows as told_rows
from l4s_ensemble.report.pictures import draw as pictures
from l4s_ensemble.report.pictures.draw import Picture
from l4s_ensemble.report.source import RunSource

FILE = "contact.npz"

SIGNED = 0.35
"""A range from −a to b is drawn around zero if the smaller of a, b is this share of the larger."""

ZOOM = 2
"""Each pixel becomes a square of this edge, so that the rim of a landslide hides little."""

RIM_LIGHT, RIM_DARK = (255, 255, 255), (0, 0, 0)
"""One of the two is seen on any colour."""

# Viridis (Smith, van der Walt, Firing; CC0): even steps of lightness, safe for colour blindness.
_EVEN = np.array(
    [
        (68, 1, 84), (71, 45, 123), (59, 82, 139), (44, 114, 142), (33, 145, 140),
        (40, 174, 128), (94, 201, 98), (173, 220, 48), (253, 231, 37),
    ],
    dtype=np.float64,
)  # fmt: skip

# PuOr of ColorBrewer (Brewer, Apache 2.0), turned: purple below zero, orange above it.
TWO_SIDED = np.array(
    [
        (84, 39, 136), (128, 115, 172), (178, 171, 210), (216, 218, 235), (247, 247, 247),
        (254, 224, 182), (253, 184, 99), (224, 130, 20), (179, 88, 6),
    ],
    dtype=np.float64,
)  # fmt: skip


def build(source: RunSource, assets: Path, drawn: set[str]) -> dict[str, Any] | None:
    """Draw the tile that the features stage kept; None in a run without it.

    Parameters
    ----------
    assets : Path
        Gets ``tiles/features-<patch>-<name>.webp``.
    drawn : set of str
        Names of pictures drawn; grows.

    Returns
    -------
    dict or None
        ``patch``, ``note``, ``first`` (colour and truth) and ``groups``: each ``name``,
        ``colour`` and ``pictures`` (name, told, file, alt, low, high, unit, signed).
    """
    found = source.arrays("features", FILE)
    if found is None or "data/train" not in source:
        return None
    patch, mask = int(found["patch"]), found["mask"] > 0
    known = {r["name"]: r for r in told_rows(source)}
    (assets / "tiles").mkdir(parents=True, exist_ok=True)
    groups: dict[str, list[dict[str, Any]]] = {}
    for i, name in enumerate(str(n) for n in found["names"]):
        if name not in known:
            continue
        row, low, high = known[name], float(found["low"][i]), float(found["high"][i])
        values = low + (high - low) * found["pictures"][i].astype(np.float64)
        ends, signed = limits(low, high)
        picture = rimmed(coloured(values, ends, signed), mask)
        auc = row["auc_seen"]
        groups.setdefault(row["group"], []).append(
            {
                "name": name, "unit": unit(row["unit"]), "low": words.sigfig(ends[0], 3),
                "high": words.sigfig(ends[1], 3), "signed": signed, "auc": words.sigfig(auc),
                "file": _written(picture, f"features-{patch}-{name}.webp", assets, drawn),
                "alt": f"{name} of tile {patch}, from {words.number(ends[0])} to "
                f"{words.number(ends[1])} {unit(row['unit'])}".rstrip(),
            }
        )  # fmt: skip
    shown = sum(len(p) for p in groups.values())
    colour = {g["name"]: g["colour"] for g in told_groups(source)}
    return {
        "patch": patch,
        "first": _first(source, patch, mask, assets, drawn),
        "groups": [
            {"name": g, "colour": colour[g], "pictures": p} for g, p in groups.items()
        ],
        "even": css(_EVEN), "two_sided": css(TWO_SIDED),
        "note": f"Tile {patch}: of the fitting tiles with landslides the one with the median "
        f"share of them, {words.share(float(mask.mean()))}. {words.plural(shown, 'feature')}: the "
        "strongest of every group, then the strongest of all. Lines are the rim of the true "
        "landslides: a feature that tells changes its colour there, and not elsewhere. Numbers "
        "are the ends of the colour scale: 2nd and 98th percentile of the tile.",
    }  # fmt: skip


def limits(low: float, high: float) -> tuple[tuple[float, float], bool]:
    """Ends of the colour scale, and whether it is drawn around zero."""
    if low < 0 < high and min(-low, high) >= SIGNED * max(-low, high):
        most = max(-low, high)
        return (-most, most), True
    return (low, high), False


def coloured(values: NDArray[np.float64], ends: tuple[float, float], signed: bool) -> Picture:
    """Paint values between two ends, shape (y, x) to (y, x, 3)."""
    scale = TWO_SIDED if signed else _EVEN
    low, high = ends
    part = (values - low) / (high - low) if high > low else np.full(values.shape, 0.5)
    place = np.clip(np.nan_to_num(part), 0, 1) * (len(scale) - 1)
    at = np.minimum(place.astype(int), len(scale) - 2)
    more = (place - at)[..., np.newaxis]
    return np.asarray(np.round(scale[at] * (1 - more) + scale[at + 1] * more), dtype=np.uint8)


def rimmed(picture: Picture, mask: NDArray[np.bool_]) -> Picture:
    """Enlarge a picture and draw the rim of the landslides: light outside, dark inside."""
    from scipy import ndimage

    large = picture.repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)
    inside = mask.repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)
    large[ndimage.binary_dilation(inside) & ~inside] = RIM_LIGHT
    large[inside & ~ndimage.binary_erosion(inside, border_value=1)] = RIM_DARK
    return large


def css(scale: NDArray[np.float64]) -> str:
    """Show a colour scale as a CSS gradient."""
    stops = ", ".join(f"rgb({r:.0f} {g:.0f} {b:.0f})" for r, g, b in scale)
    return f"linear-gradient(to right, {stops})"


def unit(name: str) -> str:
    """Name of a unit for people; nothing where there is none."""
    return {"1": "", "none": "", "degree": "°", "metre": "m"}.get(name, name)


def _first(
    source: RunSource, patch: int, mask: NDArray[np.bool_], assets: Path, drawn: set[str]
) -> list[dict[str, Any]]:
    """True colour with the rim, and truth."""
    from l4s_ensemble.data.store import positions_of, sensor_of, units

    store = source.store("train")
    sensor = sensor_of(store)
    image = units(store, [int(positions_of(store, [patch])[0])])[0]
    colour = pictures.true_colour(image, sensor)
    bands, is_true = pictures.colour_bands(sensor)
    label = "true colour" if is_true else "colour from " + ", ".join(bands)
    plain = colour.repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)
    truth = pictures.truth(mask.astype(np.uint8), colour)
    return [
        {
            "name": label, "alt": f"Tile {patch} in {label}",
            "file": _written(plain, f"features-{patch}-colour.webp", assets, drawn),
        },
        {
            "name": "truth", "alt": f"True landslides of tile {patch}",
            "file": _written(truth, f"features-{patch}-truth.png", assets, drawn),
        },
    ]  # fmt: skip


def _written(picture: Picture, name: str, assets: Path, drawn: set[str]) -> str:
    pictures.save(picture, assets / "tiles" / name)
    drawn.add(f"tiles/{name}")
    return f"assets/tiles/{name}"
