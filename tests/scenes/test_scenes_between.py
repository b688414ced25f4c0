"""Tiles of different splits that adjoin are named, pair by pair."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from l4s_ensemble.data.patches import write_mask, write_patch
from l4s_ensemble.data.sensor import Sensor, SensorBand
from l4s_ensemble.scenes.between import adjoining_splits

EDGE = 48
SENSOR = Sensor(
    name="three",
    bands=tuple(SensorBand(name=n, stored_to_count=445.17) for n in ("B2", "B3", "B4")),
    patch_pixels=EDGE,
)


def scene(rng: np.random.Generator, rows: int, cols: int) -> np.ndarray:
    """Tiles (row, col, y, x, band) cut from one piece of ground."""
    shape = (rows * EDGE, cols * EDGE)
    common = sum(ndimage.gaussian_filter(rng.normal(size=shape), s) * s for s in (1, 3, 9))
    bands = [
        900 * np.exp(0.3 * common + 0.1 * ndimage.gaussian_filter(rng.normal(size=shape), 2))
        for _ in range(3)
    ]
    ground = np.rint(np.stack(bands, axis=-1)).clip(1, 60000)
    return ground.reshape(rows, EDGE, cols, EDGE, 3).swapaxes(1, 2)


def write(root: Path, split: str, tiles: list[np.ndarray]) -> None:
    for n, tile in enumerate(tiles, start=1):
        stored = tile / SENSOR.stored_to_count
        write_patch(root / split / "img" / f"image_{n}.h5", stored, SENSOR)
        write_mask(root / split / "mask" / f"mask_{n}.h5", np.eye(EDGE, dtype=np.uint8))


def test_each_pair_across_splits_is_named(tmp_path: Path, rng: np.random.Generator) -> None:
    ground = scene(rng, 5, 7)
    write(tmp_path, "TrainData", [ground[r, c] for r in range(5) for c in range(5)])
    write(tmp_path, "ValidData", [ground[r, c] for r in range(5) for c in (5, 6)])
    found = adjoining_splits(tmp_path, SENSOR)
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
        write(tmp_path, split, list(ground.reshape(-1, EDGE, EDGE, 3)))
    if damage is not None:
        (tmp_path / "ValidData/img/image_3.h5").write_bytes(damage)
    assert adjoining_splits(tmp_path, SENSOR) == []


def test_one_split_has_no_other(tmp_path: Path, rng: np.random.Generator) -> None:
    write(tmp_path, "TrainData", list(scene(rng, 2, 2).reshape(-1, EDGE, EDGE, 3)))
    assert adjoining_splits(tmp_path, SENSOR) == []
