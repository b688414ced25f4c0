"""Windows that reach into neighbours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from unet_world import SENSOR, SIZE, made_up

from l4s_ensemble.scenes.surroundings import Surroundings, measure_surroundings
from l4s_ensemble.unet.inputs import augment, windows
from l4s_ensemble.unet.inputs.normalisation import TileSet, load
from l4s_ensemble.unet.inputs.windows import Windows, cut

SIDE = 4  # tiles in a row of the scene


def tiles_of(ds: xr.Dataset, positions: object = None, **changes: object) -> TileSet:
    """Tiles with their neighbours."""
    around = replace(measure_surroundings(ds), **changes)  # type: ignore[arg-type]
    return load(ds, positions, surroundings=around)  # type: ignore[arg-type]


def mosaic_of(ds: xr.Dataset) -> np.ndarray:
    """Units of the whole scene, float32 (band, y, x)."""
    scale = SENSOR.count_to_unit.astype(np.float32)[:, None, None]
    grid = (ds["image"].values * scale).reshape(SIDE, SIDE, len(scale), SIZE, SIZE)
    return grid.transpose(2, 0, 3, 1, 4).reshape(len(scale), SIDE * SIZE, SIDE * SIZE)


def at(*positions: int) -> torch.Tensor:
    return torch.tensor(positions)


def wild(rng: np.random.Generator) -> TileSet:
    """Tiles with holes, gains of their own, and pixels that may not be learnt from."""
    tiles = tiles_of(made_up())
    assert tiles.around is not None
    around = tiles.around.clone()
    around[torch.from_numpy(rng.random(around.shape) < 0.3)] = -1
    around[:, 1, 1] = torch.arange(16)
    known = torch.from_numpy(rng.integers(0, 2, (16, SIZE, SIZE), np.uint8))
    own = torch.from_numpy(rng.uniform(0.5, 2, 16).astype(np.float32))
    return replace(tiles, around=around, known=known, own=own)


def same(a: Windows, b: Windows) -> bool:
    pairs = ((a.units, b.units), (a.mask, b.mask), (a.known, b.known))
    return all(x is not None and y is not None and torch.equal(x, y) for x, y in pairs)


def test_a_window_is_a_piece_of_the_mosaic(rng: np.random.Generator) -> None:
    ds = made_up()
    tiles, whole = tiles_of(ds), mosaic_of(ds)
    by_tile = ds["mask"].values.reshape(SIDE, SIDE, SIZE, SIZE)
    mask = by_tile.transpose(0, 2, 1, 3).reshape(SIDE * SIZE, SIDE * SIZE)
    inner = at(5, 6, 9, 10)
    for size in (SIZE, 20, 50, 3 * SIZE):
        offset = rng.integers(-SIZE, 2 * SIZE - size + 1, (4, 2))
        seen = cut(tiles, inner, size, offset_px=torch.from_numpy(offset))
        assert seen.mask is not None
        assert bool(seen.known.all())
        for i, tile in enumerate(inner.tolist()):
            y, x = offset[i] + SIZE * np.array(divmod(tile, SIDE))
            wanted = (
                whole[:, y : y + size, x : x + size] - tiles.centre[tile].numpy()[:, None, None]
            )
            np.testing.assert_allclose(seen.units[i], wanted, rtol=2e-6, atol=2e-3)
            np.testing.assert_array_equal(seen.mask[i], mask[y : y + size, x : x + size])


def test_by_default_a_window_is_about_its_tile() -> None:
    tiles = tiles_of(made_up())
    seen = cut(tiles, at(5, 0), SIZE + 12)
    middle = (..., slice(6, -6), slice(6, -6))
    assert torch.equal(seen.units[middle], tiles.units(at(5, 0)))
    assert same(cut(tiles, at(5, 0), SIZE + 12, offset_px=torch.full((2, 2), -6)), seen)


@pytest.mark.parametrize("size", [SIZE, 44])
def test_symmetries_turn_the_window(size: int, rng: np.random.Generator) -> None:
    tiles = wild(rng)
    index, number = torch.from_numpy(rng.integers(0, 16, 8)), torch.arange(8)
    straight, turned = cut(tiles, index, size), cut(tiles, index, size, symmetry=number)
    assert straight.mask is not None
    assert turned.mask is not None
    for k in range(8):
        for a, b in ((straight.units, turned.units), (straight.mask, turned.mask),
                     (straight.known, turned.known)):  # fmt: skip
            assert torch.equal(augment.apply_symmetry(a[k], k), b[k])


def test_all_ways_give_the_same_bits(rng: np.random.Generator) -> None:
    """Laid together and looked up, for any offset, symmetry and hole."""
    tiles, n = wild(rng), 30
    for size in (SIZE, 17, 60, 3 * SIZE):
        index, number = (torch.from_numpy(rng.integers(0, most, n)) for most in (16, 8))
        alone = torch.from_numpy(rng.random(n) < 0.3)
        offset = torch.from_numpy(rng.integers(-SIZE, 2 * SIZE - size + 1, (n, 2)))
        laid = cut(tiles, index, size, offset_px=offset, symmetry=number, alone=alone)
        around = windows._around(tiles, index, alone)
        assert same(windows.looked_up(tiles, index, size, offset, around, number), laid)
    here = torch.zeros((n, 2), dtype=torch.int64)
    whole = cut(tiles, index, SIZE, symmetry=number)
    around = windows._around(tiles, index, None)
    assert same(windows.looked_up(tiles, index, SIZE, here, around, number), whole)


@pytest.mark.parametrize("how", ["no neighbours", "alone"])
def test_without_neighbours_a_tile_is_mirrored(how: str) -> None:
    ds = made_up()
    tiles = load(ds) if how == "no neighbours" else tiles_of(ds)
    alone = None if how == "no neighbours" else torch.tensor([True, True])
    seen = cut(tiles, at(5, 9), SIZE + 40, alone=alone)
    pad = ((0, 0), (0, 0), (20, 20), (20, 20))
    wanted = np.pad(tiles.units(at(5, 9)).numpy(), pad, mode="symmetric")
    np.testing.assert_array_equal(seen.units, wanted)
    rim = seen.known.clone()
    rim[:, 20:-20, 20:-20] = 0
    assert int(rim.sum()) == 0
    assert int(seen.known.sum()) == 2 * SIZE**2


def test_a_missing_corner_mirrors_the_tile_beside_it() -> None:
    """There is no step at the seam to the tile above or below the hole."""
    ds = made_up()
    tiles = tiles_of(ds, np.delete(np.arange(16), 0))  # the corner of tile 5 is gone
    at_5 = int(np.flatnonzero(tiles.patch == 6)[0])
    seen = cut(tiles, at(at_5), SIZE + 20)
    units = seen.units[0].numpy()
    np.testing.assert_array_equal(units[:, :10, :10], units[:, :10, 10:20][..., ::-1])
    assert not seen.known[0, :10, :10].any()
    assert bool(seen.known[0, :10, 10:].all())
    assert bool(seen.known[0, 10:, :10].all())
    # Nor is there one where the tile above is gone and the one at the side is there.
    tiles = tiles_of(ds, np.delete(np.arange(16), [0, 1]))
    at_5 = int(np.flatnonzero(tiles.patch == 6)[0])
    units = cut(tiles, at(at_5), SIZE + 20).units[0].numpy()
    np.testing.assert_array_equal(units[:, :10, :10], units[:, 10:20, :10][:, ::-1])


def test_tiles_set_aside_are_not_shown_to_others() -> None:
    aside = np.zeros(16, bool)
    aside[[6, 10]] = True
    ds, other = made_up(), made_up()
    other["image"].values[aside] = 60000
    before, after = (tiles_of(d, aside=aside) for d in (ds, other))
    every = torch.arange(16)
    changed = [
        not torch.equal(a, b)
        for a, b in zip(
            cut(before, every, 2 * SIZE).units, cut(after, every, 2 * SIZE).units, strict=True
        )
    ]
    assert np.flatnonzero(changed).tolist() == [6, 10]
    # They see all: the window of 6 shows 5, which is fitted on, and 10, which is aside too.
    assert bool(cut(before, at(6), 3 * SIZE).known[0, :, :-SIZE].all())


def lit(rng: np.random.Generator) -> tuple[xr.Dataset, Surroundings]:
    """One smooth scene whose tiles were exposed differently."""
    y, x = np.mgrid[: SIDE * SIZE, : SIDE * SIZE]
    ground = 3000 + 1500 * np.sin(x / 40) * np.cos(y / 55)
    grid = ground.reshape(SIDE, SIZE, SIDE, SIZE).transpose(0, 2, 1, 3).reshape(16, SIZE, SIZE)
    ds = made_up()
    ds["image"].values[:, :3] = grid[:, None] * rng.uniform(0.6, 1.6, 16)[:, None, None, None]
    sensor = SENSOR.model_copy(update={"level": "relative"})
    ds = ds.assign_attrs(sensor=sensor.model_dump_json())
    return ds, measure_surroundings(ds)


def test_light_of_a_neighbour_is_expressed_at_the_level_of_the_tile(
    rng: np.random.Generator,
) -> None:
    ds, around = lit(rng)
    tiles = load(ds, surroundings=around)
    light = np.isin(SENSOR.band_names, SENSOR.spectral)
    for tile, other, step in ((5, 6, (0, 1)), (5, 0, (-1, -1)), (10, 14, (1, 0))):
        offset = torch.tensor([step]) * SIZE
        seen = cut(tiles, at(tile), SIZE, offset_px=offset).units[0].numpy()
        factor = SENSOR.count_to_unit.astype(np.float64)
        factor[light] *= around.light_factor(tile, other)
        wanted = ds["image"].values[other] * factor[:, None, None]
        np.testing.assert_allclose(seen[light], wanted[light], rtol=1e-4)
        relief = wanted[~light] - tiles.centre[tile].numpy()[~light][:, None, None]
        np.testing.assert_allclose(seen[~light], relief, atol=0.01)
    # The seam is gone: light steps over it no more than within a tile.
    row = cut(tiles, at(5), 2 * SIZE).units[0, 0].numpy()
    step = np.abs(np.diff(row, axis=1)).max(axis=0)
    assert step[SIZE // 2 - 1] < 2 * np.median(step)


def test_a_window_may_not_reach_further_than_the_neighbours() -> None:
    tiles = tiles_of(made_up())
    for size, offset in ((3 * SIZE + 2, None), (SIZE, torch.tensor([[0, SIZE + 1]])),
                         (8, torch.tensor([[-SIZE - 1, 0]]))):  # fmt: skip
        with pytest.raises(ValueError, match="beyond the eight neighbours"):
            cut(tiles, at(5), size, offset_px=offset)


def test_no_windows() -> None:
    tiles, none = tiles_of(made_up()), torch.empty(0, dtype=torch.int64)
    assert cut(tiles, none, SIZE).units.shape == (0, 4, SIZE, SIZE)
    assert cut(tiles, none, 50).units.shape == (0, 4, 50, 50)
