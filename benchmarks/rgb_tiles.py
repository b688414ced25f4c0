"""Turn the official training tiles into the true-colour tiles behind our real-tile numbers.

Each tile becomes ``floor(255 x stored / the tile's own maximum over the three bands)`` of its
stored bands B4, B3, B2: dataset ``img`` uint8 (y, x, 3). Masks are copied. Tiles without a
landslide are left out, as they are in the copy those numbers were measured on; ``--all`` keeps
them. Ids stay, so scenes and neighbours stay known. The last line is JSON.

Run ``python -m benchmarks.rgb_tiles DATA OUT [--all]`` with DATA the folder that holds
``TrainData/{img,mask}``, or TrainData itself; then
``l4s-ensemble fit-all --config l4s-rgb --data OUT``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.data.patches import (
    find_patches,
    read_image,
    read_mask,
    write_mask,
    write_patch,
)
from l4s_ensemble.data.sensor import L4S, load_sensor
from l4s_ensemble.errors import DataError, L4SError


def to_rgb(stored: NDArray[np.float64]) -> NDArray[np.uint8]:
    """8-bit true colour of one tile.

    Parameters
    ----------
    stored : float64 array, shape (y, x, band)
        As released, 14 bands.

    Returns
    -------
    uint8 array, shape (y, x, 3)
        Red, green, blue. A tile that is black stays black.
    """
    colours = [L4S.band_names.index(name) for name in ("B4", "B3", "B2")]
    rgb = stored[..., colours].astype(np.float64)
    brightest = rgb.max()
    if not brightest > 0:
        return np.zeros(rgb.shape, np.uint8)
    # In this order: 255 x stored first would give up to 0.4 % of a tile's values one less.
    return np.floor(rgb / brightest * 255).clip(0, 255).astype(np.uint8)


def convert(data: Path, out: Path, *, keep_empty: bool = False) -> dict[str, Any]:
    """Write the folder; nothing is there until it is whole.

    Raises
    ------
    DataError
        If `out` exists, or the tiles cannot be read, or have no masks.
    """
    if out.exists():
        raise DataError(
            "the folder is there already; nothing is overwritten",
            where=out,
            fix="name another folder, or move this one away",
        )
    files = find_patches(data, "train", L4S)
    if files[0].mask is None:
        raise DataError("the tiles have no masks", where=data, fix="give the training split")
    sensor = load_sensor("l4s-rgb")
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    written = empty = landslide_pixels = 0
    try:
        for file in files:
            mask = read_mask(file.mask, L4S)
            if not mask.any():
                empty += 1
                if not keep_empty:
                    continue
            rgb = to_rgb(read_image(file.image, L4S))
            folder = partial / "TrainData"
            write_patch(folder / "img" / f"image_{file.id}.h5", rgb, sensor)
            write_mask(folder / "mask" / f"mask_{file.id}.h5", mask)
            written += 1
            landslide_pixels += int(mask.sum())
        if not written:
            raise DataError("no tile holds a landslide", where=data, fix="add --all")
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return {
        "out": str(out),
        "read": len(files),
        "written": written,
        "without_landslide": empty,
        "landslide_share": round(landslide_pixels / (written * L4S.patch_pixels**2), 6),
    }


def main() -> None:
    """Convert the folder named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder that holds TrainData, or TrainData itself")
    parser.add_argument("out", type=Path, help="folder to make")
    parser.add_argument("--all", action="store_true", help="keep tiles without a landslide")
    asked = parser.parse_args()
    try:
        made = convert(asked.data, asked.out, keep_empty=asked.all)
    except L4SError as error:
        sys.exit(f"error: {error}")
    print(
        f"{made['read']} tiles read, {made['without_landslide']} of them without a landslide; "
        f"{made['written']} written, {made['landslide_share']:.2%} of their pixels landslide"
    )
    print(json.dumps(made))


if __name__ == "__main__":
    main()
