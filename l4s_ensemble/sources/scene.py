"""One synthetic scene: terrain, land cover, landslides and satellite signal, cut into tiles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.data.bands import L4S_BANDS, PATCH_PIXELS
from l4s_ensemble.errors import ConfigError
from l4s_ensemble.sources.climate import draw
from l4s_ensemble.sources.cover import make_cover
from l4s_ensemble.sources.fields import Floats
from l4s_ensemble.sources.landslides import make_landslides
from l4s_ensemble.sources.measured import load
from l4s_ensemble.sources.optics import look
from l4s_ensemble.sources.terrain import make_terrain


@dataclass(frozen=True)
class Scene:
    """A rectangular grid of adjoining tiles."""

    image: NDArray[np.uint16]  # (band, y, x): DN, degrees, metres, in the order of the band table
    mask: NDArray[np.uint8]  # (y, x): 1 where the map shows a landslide
    bare: Floats  # (y, x): share of ground bared by landslides, mapped or not

    def tile(self, row: int, col: int) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
        """Cut out one tile: image (band, 128, 128) and mask (128, 128), as views."""
        n = PATCH_PIXELS
        y, x = slice(row * n, (row + 1) * n), slice(col * n, (col + 1) * n)
        return self.image[:, y, x], self.mask[y, x]


def make_scene(rows: int, cols: int, seed: int | list[int] = 0) -> Scene:
    """Make a seeded scene of `rows` × `cols` tiles.

    Parameters
    ----------
    rows, cols : int
        At least 1 each; about 5 MB of memory are used for each tile.
    seed : int or list of int
        Same seed, same scene.

    Raises
    ------
    ConfigError
        If a size is below 1.
    """
    if rows < 1 or cols < 1:
        raise ConfigError("a scene needs tiles", found=(rows, cols), allowed="1 or more each")
    rng = np.random.default_rng(seed)
    climate, measured = draw(rng), load()
    ground = make_terrain((rows * PATCH_PIXELS, cols * PATCH_PIXELS), climate, rng)
    bare, mapped = make_landslides(ground, climate, measured.landslides, rng)
    cover = make_cover(ground, bare, climate, measured, rng)
    seen = {"slope": ground.slope_deg, "dem": ground.dem_m}
    seen |= {b: v.clip(1) for b, v in look(cover, ground, climate, measured, rng).items()}
    image = np.stack([np.clip(np.rint(seen[b.name]), 0, 65535) for b in L4S_BANDS])
    return Scene(image.astype(np.uint16), mapped, bare)
