"""The page that tiles are labelled on: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from l4s_ensemble.adapt.choose import Choice
from l4s_ensemble.adapt.labels import FORMAT, encode
from l4s_ensemble.data.store import sensor_of, units
from l4s_ensemble.report.browser.photos import layers_of, photographs
from l4s_ensemble.report.html import TEMPLATES, package_version
from l4s_ensemble.report.pictures.draw import Picture
from l4s_ensemble.run.files import write_text

SEGMENTS = {"small": 500, "large": 120}
"""Segments of a tile in each of two sizes."""


def write_labelling_page(
    path: Path,
    tiles: xr.Dataset,
    masks: NDArray[np.uint8],
    choices: Sequence[Choice],
    *,
    run: str,
    place: str,
    models: Mapping[str, str],
) -> Path:
    """Write the page; the present map is what each tile starts with.

    Parameters
    ----------
    path : Path
        File to write.
    tiles : xarray.Dataset
        The chosen ones, in their order, as `l4s_ensemble.data.store.open_store` gives them.
    masks : uint8 array, shape (tile, y, x)
        What is mapped, 1 = landslide.
    choices : sequence of Choice
    run, place : str
        Names of the run, and of the split or the scene.
    models : mapping of str to str
        Written into the labels, see `l4s_ensemble.adapt.labels.LabelFile`.
    """
    sensor, shown = sensor_of(tiles), []
    hashes = tiles["content_hash"].values.tolist()
    for choice, image, mask, content in zip(choices, units(tiles), masks, hashes, strict=True):
        pictures = photographs(image, sensor)
        shown.append(
            {
                "patch": choice.patch,
                "reason": choice.reason,
                "content": content,
                "pictures": [_png(p) for p in pictures],
                "segments": {k: _packed(_segments(pictures[0], n)) for k, n in SEGMENTS.items()},
                "mask": encode(mask),
            }
        )
    info = {
        "format": FORMAT,
        "version": package_version(),
        "run": run,
        "models": dict(models),
        "split": place,
        "size": [tiles.sizes["y"], tiles.sizes["x"]],
        "layers": [name for _, name, _ in layers_of(sensor)],
        "tiles": shown,
    }
    # In a script element nothing but "</" could end it.
    parts = {"DATA": json.dumps(info).replace("</", "<\\/"), "RUN": escape(f"{run}, {place}")}
    for name, file in (("STYLE", "style.css"), ("SCRIPT", "script.js")):
        parts[name] = (TEMPLATES / "labelling" / file).read_text("utf-8")
    page = (TEMPLATES / "labelling" / "page.html").read_text("utf-8")
    for name in ("RUN", "STYLE", "SCRIPT", "DATA"):
        page = page.replace(f"@@{name}@@", parts[name])
    write_text(path, page)
    return path


def _segments(picture: Picture, count: int) -> NDArray[np.uint16]:
    """Number of the segment of each pixel: pixels that are alike and lie together."""
    from skimage.segmentation import slic

    found: NDArray[Any] = slic(picture, n_segments=count, compactness=8, start_label=0, sigma=0.6)
    return found.astype("<u2")


def _packed(values: NDArray[np.uint16]) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")


def _png(picture: Picture) -> str:
    from PIL import Image

    out = BytesIO()
    Image.fromarray(picture).save(out, format="PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode("ascii")
