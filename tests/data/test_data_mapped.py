"""Images in one plain file: views of it, still readable by any zarr reader, faults are named."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from l4s_ensemble.data.mapped import open_array
from l4s_ensemble.data.patches import find_patches
from l4s_ensemble.data.sensor import L4S
from l4s_ensemble.data.store import build_store, open_store, units
from l4s_ensemble.errors import RunError


@pytest.fixture
def store(tiny_root: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "patches.zarr"
    build_store(find_patches(tiny_root, "train", L4S), L4S, folder, root=tiny_root)
    return folder


def test_a_slice_of_patches_is_a_view_of_the_file_that_nobody_can_write(store: Path) -> None:
    image = open_store(store)["image"]
    part = image[3:5].values
    assert isinstance(part.base, np.memmap | np.ndarray) and not part.flags.owndata
    assert not part.flags.writeable
    assert units(open_store(store), slice(3, 5)).flags.writeable


def test_any_zarr_reader_sees_the_same(store: Path, rng: np.random.Generator) -> None:
    plain = xr.open_zarr(store, chunks=None, consolidated=False)
    np.testing.assert_array_equal(open_store(store)["mask"].values, plain["mask"].values)
    ours, plain = open_store(store)["image"], plain["image"]
    np.testing.assert_array_equal(ours.values, plain.values)
    picked = rng.permutation(12)[:5]
    for key in (
        {"patch": 4}, {"patch": picked}, {"patch": slice(9, 2, -2), "band": [13, 0]},
        {"band": 3, "y": slice(5, 90, 7), "x": rng.integers(0, 128, 6)},
        {"patch": xr.DataArray([1, 2], dims="p"), "band": xr.DataArray([0, 5], dims="p")},
    ):  # fmt: skip
        xr.testing.assert_equal(ours.isel(key), plain.isel(key))


def test_a_dataset_travels_as_a_path(store: Path) -> None:
    dataset = open_store(store)
    sent = pickle.dumps(dataset["image"].isel(patch=[2, 7]))
    assert len(sent) < 20_000
    np.testing.assert_array_equal(pickle.loads(sent), dataset["image"].values[[2, 7]])  # noqa: S301


def test_patches_written_anew_by_another_program_are_read_all_the_same(store: Path) -> None:
    array = zarr.open_array(store / "image", mode="r+")
    wanted = array[:]
    wanted[5] = 7
    array[5] = 7  # zarr writes the whole shard again
    np.testing.assert_array_equal(open_store(store)["image"].values, wanted)


@pytest.mark.filterwarnings("ignore:.*does not have a Zarr V3 specification")
def test_chunks_of_another_form_are_left_to_zarr(store: Path, tmp_path: Path) -> None:
    wanted = open_store(store)
    other = tmp_path / "other"
    wanted.to_zarr(other, consolidated=False)
    assert open_array(other, "image") is None and open_array(other, "mask") is None
    np.testing.assert_array_equal(open_store(other)["image"].values, wanted["image"].values)


@pytest.mark.parametrize("damage", ["short", "missing", "header"])
@pytest.mark.parametrize(("name", "shard"), [("image", "c/0/0/0/0"), ("mask", "c/0/0/0")])
def test_a_damaged_file_is_named_before_it_is_read(
    store: Path, name: str, shard: str, damage: str
) -> None:
    file = store / name / shard
    if damage == "short":
        file.write_bytes(file.read_bytes()[:1000])
    elif damage == "missing":
        shutil.rmtree(store / name / "c")
    else:
        (store / name / "zarr.json").write_text("{")
    with pytest.raises(RunError, match="the store is damaged"):
        open_store(store)
