"""The lossless store: exact, the same whatever the number of workers, honest about other files."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_patches import context_of

from l4s_ensemble import config
from l4s_ensemble.data.build import build_store
from l4s_ensemble.data.counts import content_hash, restore_counts, to_units
from l4s_ensemble.data.patches import find_patches, open_patches, write_mask, write_patch
from l4s_ensemble.data.sensor import L4S, Sensor, SensorBand, load_sensor
from l4s_ensemble.data.stage import stage
from l4s_ensemble.data.store import (
    hashes_of,
    landslide_pixels,
    open_store,
    positions_of,
    sensor_of,
    units,
)
from l4s_ensemble.data.summary import StoreSummary, landslide_sizes
from l4s_ensemble.errors import DataError, RunError
from l4s_ensemble.run.files import write_json
from l4s_ensemble.run.tasks import in_processes

SMALL = Sensor(
    name="small",
    bands=(SensorBand(name="a", stored_to_count=445.17289745), SensorBand(name="b")),
    patch_pixels=16,
)


def write_small(root: Path, images: dict[int, np.ndarray], masks: bool = True) -> None:
    for patch, stored in images.items():
        write_patch(root / f"TrainData/img/image_{patch}.h5", stored, SMALL)
        if masks:
            write_mask(root / f"TrainData/mask/mask_{patch}.h5", np.eye(16, dtype=np.uint8))


def built(root: Path, sensor: Sensor = SMALL, jobs: int = 1) -> tuple[StoreSummary, xr.Dataset]:
    split = "train" if (root / "TrainData").is_dir() else "test"
    files = find_patches(root, split, sensor)
    summary = build_store(files, sensor, root / f"{jobs}/patches.zarr", jobs, split=split)
    return summary, open_store(root / f"{jobs}")


def summary_of(root: Path, out: Path, split: str = "train", sensor: str = "l4s") -> dict[str, Any]:
    """Run the stage of a split."""
    params = {"root": str(root), "split": split, "sensor": sensor}
    return stage(context_of(out.parent, out.name, config.load(), params=params))


def small_counts(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 4000, (16, 16, 2)).astype(float)


@settings(max_examples=50, deadline=None)
@given(
    band=st.integers(0, 13),
    counts=st.lists(st.integers(0, 65535), min_size=1, max_size=40),
    float32=st.booleans(),
)
def test_division_by_a_divisor_is_undone_exactly(
    band: int, counts: list[int], float32: bool
) -> None:
    divisor = L4S.bands[band]
    sensor = Sensor(name="one", bands=(divisor,), patch_pixels=8)
    true = np.array(counts, float)
    stored = (true / divisor.stored_to_count).reshape(1, -1, 1)
    if float32:
        stored = stored.astype(np.float32)
    restored = restore_counts(stored, sensor)
    assert restored.is_exact and restored.values.dtype == np.uint16
    np.testing.assert_array_equal(restored.values[0, 0], true)


def test_values_that_are_no_integers_are_told_apart(rng: np.random.Generator) -> None:
    stored = small_counts(rng)
    stored[..., 0] /= 445.17289745
    stored[:4, :, 0] += 1e-6  # a two-thousandth of a count
    restored = restore_counts(stored, SMALL)
    assert not restored.is_exact and restored.values.dtype == np.float32
    assert restored.exact.tolist() == [192, 256]


def test_the_store_holds_the_files_exactly(tiny_root: Path, tiny_dataset: xr.Dataset) -> None:
    assert tiny_dataset["image"].dtype == np.uint16
    assert tiny_dataset["patch"].values.tolist() == list(range(1, 13))
    assert tiny_dataset["band"].values.tolist() == list(L4S.band_names)
    assert sensor_of(tiny_dataset) == L4S
    for patch in (1, 7, 12):
        with h5py.File(tiny_root / f"TrainData/img/image_{patch}.h5") as file:
            stored = file["img"][:]
        with h5py.File(tiny_root / f"TrainData/mask/mask_{patch}.h5") as file:
            mask = file["mask"][:]
        one = tiny_dataset.sel(patch=patch)
        counts = np.moveaxis(one["image"].values, 0, -1)
        np.testing.assert_allclose(counts / L4S.stored_to_count, stored, rtol=4e-16, atol=0)
        np.testing.assert_array_equal(one["mask"].values, mask)
        assert landslide_pixels(tiny_dataset)[patch - 1] == mask.sum()


def test_units_are_counts_in_float32(tiny_root: Path, tiny_dataset: xr.Dataset) -> None:
    two = units(tiny_dataset, slice(2, 4))
    assert two.dtype == np.float32 and two.shape == (2, 14, 128, 128)
    np.testing.assert_array_equal(two, tiny_dataset["image"].values[2:4])
    np.testing.assert_array_equal(units(tiny_dataset, [3, 2]), two[::-1])
    patches = open_patches(tiny_root, "valid")  # in units already
    np.testing.assert_array_equal(units(patches), patches["image"].values)


def test_relative_tiles_come_to_one_level(rng: np.random.Generator) -> None:
    sensor = load_sensor("l4s-rgb")
    tile = rng.integers(20, 120, (1, 3, 128, 128)).astype(np.uint16)
    plain, doubled = to_units(tile, sensor), to_units(tile * 2, sensor)
    np.testing.assert_allclose(plain, doubled, rtol=1e-5)
    assert np.median(plain[0].mean(axis=0)) == pytest.approx(1000, rel=1e-5)
    ratio = (tile[0, 0] * 445.17289745) / (tile[0, 2] * 824.63171476)
    np.testing.assert_allclose(plain[0, 0] / plain[0, 2], ratio, rtol=1e-5)
    assert not to_units(np.zeros((1, 3, 8, 8), np.uint16), sensor).any()


def test_two_workers_build_what_one_does(tmp_path: Path, rng: np.random.Generator) -> None:
    images = {i: small_counts(rng) for i in range(1, 151)}
    for stored in images.values():
        stored[..., 0] /= 445.17289745
    write_small(tmp_path, images)
    (one, first), (two, second) = built(tmp_path), built(tmp_path, jobs=2)
    assert one == two
    xr.testing.assert_identical(first.load(), second.load())


def test_a_file_of_other_numbers_is_named_and_kept_as_float32(
    tmp_path: Path, rng: np.random.Generator, caplog: pytest.LogCaptureFixture
) -> None:
    images = {i: small_counts(rng) for i in (1, 2, 3)}
    images[1][..., 0] /= 445.17289745
    images[2][..., 1] += 0.3
    images[3][..., 0] /= 445.17289745
    images[3][0, 0, 1] = -12  # whole, and below zero
    write_small(tmp_path, images)
    with caplog.at_level(logging.WARNING, "l4s_ensemble"):
        summary, dataset = built(tmp_path)
    assert "image_2.h5" in caplog.text and "image_1.h5" not in caplog.text
    assert dataset["image"].values[2, 1, 0, 0] == -12
    assert [Path(p).name for p in summary.inexact] == ["image_2.h5"]
    assert summary.dtype == "float32" and 0.6 < summary.exact_share < 0.7
    np.testing.assert_allclose(dataset["image"].values[1, 1], images[2][..., 1], rtol=1e-6)
    # An exact patch keeps its hash, so a copy of it in another split is still known.
    exact = restore_counts(images[1], SMALL).values
    assert exact.dtype == np.uint16
    assert hashes_of(dataset)[1] == content_hash(exact)


def test_a_store_that_was_not_finished_is_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    write_small(tmp_path, {1: small_counts(rng) + 0.1, 2: small_counts(rng)})
    (tmp_path / "TrainData/img/image_2.h5").write_bytes(b"no")
    with pytest.raises(DataError, match="1 of 2"):
        built(tmp_path)
    with pytest.raises(RunError, match="another version"):
        open_store(tmp_path / "1")


def test_tiles_without_terrain_are_known(tmp_path: Path, tiny_root: Path) -> None:
    image = np.moveaxis(open_patches(tiny_root, "train", ids=[1])["image"].values[0], 0, -1)
    flat, level = image.astype(float), image.astype(float)
    flat[..., 13] = 800
    level[..., 12] = 0
    for patch, counts in enumerate((image, flat, level), start=1):
        write_patch(tmp_path / f"img/image_{patch}.h5", counts / L4S.stored_to_count, L4S)
    summary, dataset = built(tmp_path, L4S)
    assert summary.degenerate == (2, 3) and summary.masks is False
    assert dataset["degenerate"].values.tolist() == [False, True, True]
    with pytest.raises(DataError, match="no masks"):
        landslide_pixels(dataset)


def test_landslide_sizes_by_hand() -> None:
    mask = np.zeros((128, 128), np.uint8)
    mask[0, 0] = 1  # 1 px
    mask[10, 10:13] = 1  # 3 px
    mask[20, 20] = mask[21, 21] = 1  # 2 px that touch at a corner
    mask[40:60, 40:60] = 1  # 400 px
    assert landslide_sizes(mask).tolist() == [1, 2, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]


def test_the_stage_writes_a_summary_that_goes_into_json(tiny_root: Path, tmp_path: Path) -> None:
    summary = summary_of(tiny_root, tmp_path / "data.partial", "valid")
    write_json(tmp_path / "summary.json", summary)
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    assert summary["patches"] == summary["landslide_patches"] == 4
    assert summary["exact_share"] == 1.0 and summary["dtype"] == "uint16"
    assert 0.2 < summary["ndvi"]["restored"] < 0.8 and summary["ndvi"]["as_stored"] < 0.1
    assert [b["name"] for b in summary["bands"]] == list(L4S.band_names)
    for row in summary["bands"]:
        assert row["min"] <= row["p25"] <= row["p50"] <= row["p75"] <= row["max"]
        assert row["std"] > 0
    # What a killed process left is written over.
    assert summary_of(tiny_root, tmp_path / "data.partial", "valid") == summary


def test_the_digest_is_of_what_the_patches_are(tiny_root: Path, tmp_path: Path) -> None:
    def digest(root: Path, split: str = "valid") -> str:
        return str(summary_of(root, tmp_path / f"{root.name}-{split}", split)["digest"])

    first, elsewhere = digest(tiny_root), tmp_path / "elsewhere"
    shutil.copytree(tiny_root, elsewhere, copy_function=shutil.copyfile)  # another day and place
    assert digest(elsewhere) == first != digest(elsewhere, "train")
    path = elsewhere / "ValidData" / "mask" / "mask_2.h5"
    with h5py.File(path, "r+") as file:
        file["mask"][5, 7] = 1 - file["mask"][5, 7]
    assert digest(elsewhere) != first


def test_places_from_the_manifest(tmp_path: Path, rng: np.random.Generator) -> None:
    images = {i: small_counts(rng) for i in (1, 2)}
    write_small(tmp_path, images)
    table = tmp_path / "scenes.csv"
    table.write_text("split,patch,scene,row,col\ntrain,1,3,5,7\ntrain,2,3,5,8\nvalid,1,3,0,0\n")
    sensor = tmp_path / "small.yaml"
    sensor.write_text(SMALL.model_dump_json())
    summary_of(tmp_path, tmp_path / "out", sensor=str(sensor))
    dataset = open_store(tmp_path / "out")
    assert dataset["scene"].values.tolist() == [3, 3]
    assert list(zip(dataset["row"].values, dataset["col"].values, strict=True)) == [(5, 7), (5, 8)]


def test_unknown_things_are_refused(tiny_dataset: xr.Dataset) -> None:
    assert positions_of(tiny_dataset, [12, 1]).tolist() == [11, 0]
    with pytest.raises(DataError, match="77"):
        positions_of(tiny_dataset, [1, 77])
    with pytest.raises(DataError, match="which sensor"):
        sensor_of(xr.Dataset())


@pytest.mark.parametrize(("folder", "split"), [("l4s-14band", "train"), ("l4s-14band", "test")])
def test_real_tiles_are_exact(real_data: Path, tmp_path: Path, folder: str, split: str) -> None:
    files = find_patches(real_data / folder, split, L4S)
    summary = build_store(files, L4S, tmp_path / "patches.zarr", split=split)
    assert summary.exact_share == 1.0 and summary.inexact == ()
    assert summary.dtype == "uint16"
    assert summary.ndvi.restored > 0.55 and abs(summary.ndvi.as_stored) < 0.05


def _backing(dataset: xr.Dataset) -> list[str]:
    """Types that the values of a worker's dataset stand on, innermost last."""
    found, values = [], dataset["image"].values
    while values is not None:
        found.append(type(values).__name__)
        values = getattr(values, "base", None)
    return [*found, str(dataset["image"].values.sum())]


def test_images_are_views_of_the_file_here_and_in_workers(tiny_dataset: xr.Dataset) -> None:
    part = tiny_dataset["image"][3:5].values
    assert not part.flags.owndata and not part.flags.writeable
    assert units(tiny_dataset, slice(3, 5)).flags.writeable
    picked = tiny_dataset.isel(patch=slice(2, 7))
    for dataset, sent in zip(
        (tiny_dataset, picked), in_processes(_backing, [(tiny_dataset,), (picked,)], 2), strict=True
    ):
        assert "memmap" in sent and sent[-1] == str(dataset["image"].values.sum())


def test_any_zarr_reader_sees_the_same_and_may_write_it_in_another_form(
    _tiny_store: Path, tmp_path: Path
) -> None:
    ours = open_store(_tiny_store)
    plain = xr.open_zarr(_tiny_store, chunks=None, consolidated=False)
    picked = {"patch": [4, 1], "band": 3, "y": slice(5, 90, 7)}
    xr.testing.assert_equal(ours["image"].isel(picked), plain["image"].isel(picked))
    np.testing.assert_array_equal(ours["mask"].values, plain["mask"].values)
    plain.load().drop_encoding().to_zarr(tmp_path / "other", consolidated=False)
    again = open_store(tmp_path / "other")
    np.testing.assert_array_equal(again["image"].values, ours["image"].values)
