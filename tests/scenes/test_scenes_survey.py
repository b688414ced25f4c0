"""Layout of a folder of tiles, found from the pixels, and its picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from l4s_ensemble.data.patches import write_patch
from l4s_ensemble.data.sensor import load_sensor
from l4s_ensemble.errors import DataError
from l4s_ensemble.scenes.drawing import draw_mosaic
from l4s_ensemble.scenes.placement import Placement
from l4s_ensemble.scenes.survey import survey

ROWS, COLUMNS, EDGE = 3, 3, 128


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine adjoining true-colour tiles, each brought to its own maximum."""
    rng = np.random.default_rng(3)
    sensor = load_sensor("l4s-rgb")
    size = (ROWS * EDGE, COLUMNS * EDGE)
    field = np.stack([ndimage.gaussian_filter(rng.normal(size=size), 2) for _ in range(3)], -1)
    field += 0.7 * ndimage.gaussian_filter(rng.normal(size=size), 3)[..., None]
    ground = np.exp(field / field.std() * 0.25) * 400
    folder = tmp_path_factory.mktemp("rgb")
    for n in range(ROWS * COLUMNS):
        row, col = divmod(n, COLUMNS)
        tile = ground[row * EDGE : (row + 1) * EDGE, col * EDGE : (col + 1) * EDGE]
        path = folder / "TestData" / "img" / f"image_{n + 1}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_patch(path, np.floor(tile / tile.max() * 255).astype(np.uint8), sensor)
    return folder


def test_tiles_of_unknown_level_are_placed_and_drawn(root, tmp_path):
    found = survey(root, "test", load_sensor("l4s-rgb"), picture=tmp_path / "mosaic.png")
    assert found["placed"] == found["tiles"] == ROWS * COLUMNS
    assert (tmp_path / "mosaic.png").stat().st_size > 1000
    first = found["places"][0]
    for place in found["places"]:
        row, col = divmod(place["patch"] - 1, COLUMNS)
        assert (place["row"] - first["row"], place["col"] - first["col"]) == (row, col)


def test_the_picture_shows_every_tile_in_its_place(tmp_path: Path) -> None:
    images = np.full((7, 3, 16, 16), 100, np.uint16)
    images[2] = 1000
    where = Placement.known(
        np.arange(7), [1, 1, 1, 1, 2, 2, -1], [0, 0, 1, 2, 0, 0, -1], [0, 1, 0, 0, 0, 1, -1]
    )
    path = draw_mosaic(images, where, tmp_path / "mosaic.png", bands=(0, 1, 2), tile_px=20)
    picture = np.asarray(Image.open(path)).astype(int)
    bright = np.argwhere((picture > 250).all(2))
    assert len(bright) == 20 * 20
    assert np.ptp(bright, axis=0).tolist() == [19, 19]
    assert [p.name for p in tmp_path.iterdir() if p.suffix != ".png"] == []
    with pytest.raises(DataError, match="band"):
        draw_mosaic(images, where, tmp_path / "x.png")
