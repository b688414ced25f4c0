"""Windows over the edges of tiles: real pixels where there are some, odd reflection elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from l4s_ensemble.errors import DataError
from l4s_ensemble.scenes.drawing import draw_mosaic
from l4s_ensemble.scenes.mosaic import Mosaic, window
from l4s_ensemble.scenes.placement import Placement

SIDE = 16
ROWS, COLS = 4, 5


def cut(scene: NDArray[Any]) -> NDArray[Any]:
    """Tiles (tile, band, y, x) in raster order of a scene (band, y, x)."""
    bands, height, width = scene.shape
    tiles = scene.reshape(bands, height // SIDE, SIDE, width // SIDE, SIDE)
    return tiles.transpose(1, 3, 0, 2, 4).reshape(-1, bands, SIDE, SIDE)


def place(rows: int, cols: int, keep: NDArray[Any] | None = None) -> Placement:
    row, col = np.divmod(np.arange(rows * cols), cols)
    kept = np.arange(rows * cols) if keep is None else np.asarray(keep)
    return Placement.known(kept + 1, np.ones(len(kept)), row[kept], col[kept])


@pytest.fixture
def scene(rng: np.random.Generator) -> NDArray[np.uint16]:
    return rng.integers(0, 4000, (3, ROWS * SIDE, COLS * SIDE)).astype(np.uint16)


def plane() -> NDArray[np.float32]:
    y, x = np.mgrid[: ROWS * SIDE, : COLS * SIDE]
    return np.stack([3.0 * y - 2 * x + 7, 0.5 * x + y]).astype(np.float32)


@pytest.mark.parametrize("margin", [0, 1, 7, 15])
def test_neighbours_are_the_real_pixels(scene: NDArray[Any], margin: int) -> None:
    image, valid = window(cut(scene), place(ROWS, COLS), 6, margin)
    top, left = SIDE - margin, SIDE - margin
    size = SIDE + 2 * margin
    assert valid.all()
    assert image.dtype == np.float32
    assert (image == scene[:, top : top + size, left : left + size]).all()


@pytest.mark.parametrize("placed", [True, False])
@pytest.mark.parametrize("margin", [0, 1, 7, 15])
def test_a_lone_tile_is_padded_as_numpy_pads_it(
    scene: NDArray[Any], placed: bool, margin: int
) -> None:
    images = cut(scene)[:1]
    where = (1, 0, 0) if placed else (-1, -1, -1)
    image, valid = window(images, Placement.known([1], *([w] for w in where)), 0, margin)
    pads = ((0, 0), (margin, margin), (margin, margin))
    wanted = np.pad(images[0].astype(np.float32), pads, mode="reflect", reflect_type="odd")
    np.testing.assert_allclose(image, wanted, atol=1e-2)
    inside = np.pad(np.ones((SIDE, SIDE), bool), margin)
    assert (valid == inside).all()


def test_one_side_missing_reflects_the_tile_and_its_neighbours(scene: NDArray[Any]) -> None:
    """Above row 0 nothing is known: rows are continued from tile and neighbours alike."""
    margin = 5
    image, valid = window(cut(scene), place(ROWS, COLS), 2, margin)
    known = scene[:, : SIDE + margin, 2 * SIDE - margin : 3 * SIDE + margin].astype(np.float32)
    wanted = np.pad(known, ((0, 0), (margin, 0), (0, 0)), mode="reflect", reflect_type="odd")
    np.testing.assert_allclose(image, wanted, atol=1e-2)
    assert valid[margin:].all()
    assert not valid[:margin].any()


def test_a_hole_is_continuous_with_both_sides() -> None:
    x = np.linspace(0, 3, COLS * SIDE)
    scene = np.broadcast_to(np.sin(x), (1, ROWS * SIDE, COLS * SIDE)).astype(np.float32)
    keep = np.delete(np.arange(ROWS * COLS), 7)
    image, valid = Mosaic(cut(scene)[keep], place(ROWS, COLS, keep)).window(
        1, 0, 0, ROWS * SIDE, COLS * SIDE
    )
    assert not valid[SIDE : 2 * SIDE, 2 * SIDE : 3 * SIDE].any()
    hole = image[0, SIDE : 2 * SIDE, 2 * SIDE - 1 : 3 * SIDE + 1]
    assert np.abs(np.diff(hole, axis=1)).max() < 0.08
    assert np.abs(image - scene).max() < 0.1


@settings(max_examples=40, deadline=None)
@given(
    keep=st.sets(st.integers(0, ROWS * COLS - 1), min_size=1),
    box=st.tuples(*(st.integers(*b) for b in ((-30, 70), (-30, 90), (1, 50), (1, 50)))),
)
def test_any_window_of_any_mosaic(keep: set[int], box: tuple[int, int, int, int]) -> None:
    """Valid pixels are the true ones; within a tile of them a plane is continued exactly."""
    top, left, height, width = box
    kept = np.array(sorted(keep))
    scene = plane()
    image, valid = Mosaic(cut(scene)[kept], place(ROWS, COLS, kept)).window(1, *box)
    assert image.shape == (2, height, width)
    y, x = np.mgrid[top : top + height, left : left + width]
    row, col = y // SIDE, x // SIDE
    there = np.isin(row * COLS + col, kept) & (row >= 0) & (row < ROWS) & (col >= 0) & (col < COLS)
    assert (valid == there).all()
    wanted = np.stack([3.0 * y - 2 * x + 7, 0.5 * x + y])
    assert (image[:, valid] == wanted[:, valid]).all()
    assert np.isfinite(image).all()
    known = np.zeros((ROWS + 20, COLS + 20), bool)
    known[kept // COLS + 10, kept % COLS + 10] = True
    beside = known.copy()
    for axis in (0, 1):
        for step in (-1, 1):
            beside |= np.roll(known, step, axis)
    near = beside[row + 10, col + 10]
    # The last line of a hole mirrors the same line as the one before it: 16 px have 15 beyond.
    inner = (y % SIDE > 0) & (y % SIDE < SIDE - 1) & (x % SIDE > 0) & (x % SIDE < SIDE - 1)
    check = near & (inner | valid)
    np.testing.assert_allclose(image[:, check], wanted[:, check], atol=0.02)


def test_gains_are_applied_before_tiles_meet(scene: NDArray[Any]) -> None:
    images = cut(scene)
    gain = np.linspace(0.5, 2, len(images))
    image, _ = window(images, place(ROWS, COLS), 6, 4, gain=gain)
    np.testing.assert_allclose(image[:, 4:-4, 4:-4], images[6] * gain[6], rtol=1e-6)
    np.testing.assert_allclose(image[:, 4:-4, :4], images[5][:, :, -4:] * gain[5], rtol=1e-6)
    by_band = np.ones((len(images), 3))
    by_band[:, 0] = gain
    image, _ = window(images, place(ROWS, COLS), 6, 0, gain=by_band)
    np.testing.assert_allclose(image[0], images[6, 0] * gain[6], rtol=1e-6)
    assert (image[1:] == images[6, 1:]).all()


def test_a_dataset_is_read_tile_by_tile(scene: NDArray[Any]) -> None:
    images = cut(scene)
    patches = xr.Dataset({"image": (("patch", "band", "y", "x"), images)})
    mosaic = Mosaic(patches, place(ROWS, COLS), cache_tiles=2)
    whole, valid = mosaic.window(1, 0, 0, ROWS * SIDE, COLS * SIDE)
    assert (whole == scene).all()
    assert valid.all()


def test_tiles_of_another_scene_are_no_neighbours(scene: NDArray[Any]) -> None:
    images = cut(scene)[:2]
    apart = Placement.known([1, 2], [1, 2], [0, 0], [0, 1])
    image, valid = window(images, apart, 0, 3)
    assert valid.sum() == SIDE * SIDE
    pads = ((0, 0), (3, 3), (3, 3))
    wanted = np.pad(images[0].astype(np.float32), pads, mode="reflect", reflect_type="odd")
    np.testing.assert_allclose(image, wanted, atol=1e-2)


def test_what_cannot_be_is_refused(scene: NDArray[Any]) -> None:
    images, known = cut(scene), place(ROWS, COLS)
    with pytest.raises(DataError, match="smaller than a tile"):
        window(images, known, 0, SIDE)
    with pytest.raises(DataError, match="not of these tiles"):
        Mosaic(images[:3], known)
    with pytest.raises(DataError, match="gains"):
        Mosaic(images, known, gain=[1.0, 2.0])
    with pytest.raises(DataError, match="no such scene"):
        Mosaic(images, known).window(4, 0, 0, 5, 5)
    with pytest.raises(DataError, match="empty"):
        Mosaic(images, known).window(1, 0, 0, 0, 5)
    with pytest.raises(DataError, match="no such patch"):
        known.positions([3, 99])
    assert known.positions([3, 1]).tolist() == [2, 0]


def test_the_picture_shows_every_tile_in_its_place(tmp_path: Path) -> None:
    images = np.full((7, 3, SIDE, SIDE), 100, np.uint16)
    images[2] = 1000
    where = Placement.known(
        np.arange(7), [1, 1, 1, 1, 2, 2, -1], [0, 0, 1, 2, 0, 0, -1], [0, 1, 0, 0, 0, 1, -1]
    )
    path = draw_mosaic(images, where, tmp_path / "mosaic.png", bands=(0, 1, 2), tile_px=20)
    picture = np.asarray(Image.open(path)).astype(int)
    bright = np.argwhere((picture > 250).all(2))
    assert len(bright) == 20 * 20
    assert np.ptp(bright, axis=0).tolist() == [19, 19]
    tinted = draw_mosaic(
        images, where, tmp_path / "tint.png", bands=(0, 1, 2), tile_px=20,
        log_gain=np.zeros(7), tint=np.tile([[255, 0, 0]], (7, 1)),
    )  # fmt: skip
    red = np.asarray(Image.open(tinted)).astype(int)
    assert (red[..., 0] - red[..., 1] > 90).sum() >= 7 * 400
    assert [p.name for p in tmp_path.iterdir() if p.suffix != ".png"] == []
    with pytest.raises(DataError, match="band"):
        draw_mosaic(images, where, tmp_path / "x.png")


def test_real_tiles_continue_over_their_seams(real_data: Path) -> None:
    """Pixels across a seam predict each other far better than odd reflection does."""
    import h5py

    images = []
    for i in (1, 2, 3, 4, 45):
        with h5py.File(real_data / "l4s-14band" / "TrainData" / "img" / f"image_{i}.h5") as file:
            images.append(file["img"][()].transpose(2, 0, 1))
    stack = np.stack(images).astype(np.float32)
    where = Placement.known([1, 2, 3, 4, 45], [1] * 5, [0, 0, 0, 0, 1], [0, 1, 2, 3, 3])
    image, valid = window(stack, where, 1, 32)
    assert valid[32:-32].all()
    assert not valid[:32].any()
    jump = np.abs(image[13, 32:-32, 31] - image[13, 32:-32, 32]).mean()
    inside = np.abs(np.diff(image[13, 32:-32, 64:96], axis=1)).mean()
    assert jump < 1.5 * inside
