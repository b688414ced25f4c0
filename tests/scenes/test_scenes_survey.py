"""Layout of a folder of tiles, found from the pixels, and pictures of scenes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from l4s_ensemble.data.patches import write_mask, write_patch
from l4s_ensemble.data.sensor import Sensor, SensorBand, load_sensor
from l4s_ensemble.scenes.drawing import draw_scene, thumbnails
from l4s_ensemble.scenes.placement import Placement
from l4s_ensemble.scenes.survey import adjoining_splits, survey

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


def test_tiles_of_unknown_level_are_placed(root: Path) -> None:
    found = survey(root, "test", load_sensor("l4s-rgb"))
    assert found["placed"] == found["tiles"] == ROWS * COLUMNS
    first = found["places"][0]
    for place in found["places"]:
        row, col = divmod(place["patch"] - 1, COLUMNS)
        assert (place["row"] - first["row"], place["col"] - first["col"]) == (row, col)


def test_a_scene_shows_every_tile_in_its_place() -> None:
    images = np.full((7, 3, 16, 16), 100, np.uint16)
    images[2] = 1000
    where = Placement.known(
        np.arange(7), [1, 1, 1, 1, 2, 2, -1], [0, 0, 1, 2, 0, 0, -1], [0, 1, 0, 0, 0, 1, -1]
    )
    picture = draw_scene(thumbnails(images, (0, 1, 2), 20), where, 1)
    assert picture.shape == (60, 40, 3)
    assert (picture[20:40, :20] > 250).all()
    assert (picture > 250).sum() == 3 * 20 * 20


SIDE = 48
THREE = Sensor(
    name="three",
    bands=tuple(SensorBand(name=n, stored_to_count=445.17) for n in ("B2", "B3", "B4")),
    patch_pixels=SIDE,
)


def scene(rng: np.random.Generator, rows: int, cols: int) -> np.ndarray:
    """Tiles (row, col, y, x, band) cut from one piece of ground."""
    shape = (rows * SIDE, cols * SIDE)
    common = sum(ndimage.gaussian_filter(rng.normal(size=shape), s) * s for s in (1, 3, 9))
    bands = [
        900 * np.exp(0.3 * common + 0.1 * ndimage.gaussian_filter(rng.normal(size=shape), 2))
        for _ in range(3)
    ]
    ground = np.rint(np.stack(bands, axis=-1)).clip(1, 60000)
    return ground.reshape(rows, SIDE, cols, SIDE, 3).swapaxes(1, 2)


def write(root: Path, split: str, tiles: list[np.ndarray]) -> None:
    for n, tile in enumerate(tiles, start=1):
        stored = tile / THREE.stored_to_count
        write_patch(root / split / "img" / f"image_{n}.h5", stored, THREE)
        write_mask(root / split / "mask" / f"mask_{n}.h5", np.eye(SIDE, dtype=np.uint8))


def test_each_pair_across_splits_is_named(tmp_path: Path, rng: np.random.Generator) -> None:
    ground = scene(rng, 5, 7)
    write(tmp_path, "TrainData", [ground[r, c] for r in range(5) for c in range(5)])
    write(tmp_path, "ValidData", [ground[r, c] for r in range(5) for c in (5, 6)])
    found = adjoining_splits(tmp_path, THREE)
    told = {(Path(f.where).name, f.message.split(" (")[0]) for f in found}
    # Column 5 begins validation: valid 1, 3, 5 … lie right of train 5, 10, 15 …
    assert told == {
        (f"image_{2 * r + 1}.h5", f"lies right of image_{5 * r + 5}.h5 of split train")
        for r in range(5)
    }
    assert {(f.level, f.code, f.split) for f in found} == {("warning", "neighbour", "valid")}


@pytest.mark.parametrize("damage", [b"no", None])
def test_splits_of_other_places_are_clean_and_damage_does_not_stop_the_search(
    tmp_path: Path, rng: np.random.Generator, damage: bytes | None
) -> None:
    for split in ("TrainData", "ValidData"):
        ground = scene(rng, 4, 4)
        write(tmp_path, split, list(ground.reshape(-1, SIDE, SIDE, 3)))
    if damage is not None:
        (tmp_path / "ValidData/img/image_3.h5").write_bytes(damage)
    assert adjoining_splits(tmp_path, THREE) == []


def test_one_split_has_no_other(tmp_path: Path, rng: np.random.Generator) -> None:
    write(tmp_path, "TrainData", list(scene(rng, 2, 2).reshape(-1, SIDE, SIDE, 3)))
    assert adjoining_splits(tmp_path, THREE) == []
