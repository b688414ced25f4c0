"""Finding, pairing, reading and writing patch files."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from l4s_ensemble.data.layout import list_split, splits_in
from l4s_ensemble.data.patches import (
    find_patches,
    open_patches,
    read_image,
    read_mask,
    write_mask,
    write_patch,
)
from l4s_ensemble.data.sensor import L4S, Sensor, SensorBand
from l4s_ensemble.errors import ConfigError, DataError

SMALL = Sensor(name="small", bands=(SensorBand(name="a"), SensorBand(name="b")), patch_pixels=8)


def small_files(root: Path, *names: str) -> None:
    for name in names:
        if "image" in name:
            write_patch(root / name, np.zeros((8, 8, 2)), SMALL)
        else:
            write_mask(root / name, np.eye(8, dtype=np.uint8))


@pytest.mark.parametrize(
    ("names", "split", "found"),
    [
        (  # the official layout, in numeric order
            [f"TrainData/{k}_{i}.h5" for k in ("img/image", "mask/mask") for i in (10, 2, 1)],
            "train",
            [(1, "mask_1.h5"), (2, "mask_2.h5"), (10, "mask_10.h5")],
        ),
        (["img/image_3.h5"], "test", [(3, None)]),  # a folder that holds img itself
        (["img/image_003.h5", "mask/mask_3.h5"], "train", [(3, "mask_3.h5")]),
    ],
)
def test_files_are_paired_by_number(tmp_path: Path, names, split, found) -> None:
    small_files(tmp_path, *names)
    files = find_patches(tmp_path, split, SMALL)
    assert [(f.id, f.mask and f.mask.name) for f in files] == found


def test_hugging_face_layout_and_its_stray_images_among_the_masks(tmp_path: Path) -> None:
    small_files(tmp_path, *(f"images/validation/image_{i}.h5" for i in (1, 2)))
    masks = tmp_path / "annotations/validation"
    small_files(masks, "mask_1.h5", "mask_2.h5", "image_7.h5")
    files = find_patches(tmp_path, "valid", SMALL)
    assert [(f.id, f.mask is not None) for f in files] == [(1, True), (2, True)]
    listing = list_split(tmp_path, "valid")
    assert listing is not None and listing.strays == [masks / "image_7.h5"]
    assert splits_in(tmp_path) == ["valid"]


def test_a_split_of_another_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="train, valid, test"):
        find_patches(tmp_path, "validation", SMALL)


def test_reading_gives_back_what_was_written(tmp_path: Path, rng: np.random.Generator) -> None:
    stored = rng.random((128, 128, 14))
    write_patch(tmp_path / "image_1.h5", stored, L4S)
    with h5py.File(tmp_path / "image_1.h5") as file:  # the official form
        assert list(file) == ["img"] and file["img"].dtype == np.float64
    back = read_image(tmp_path / "image_1.h5", L4S)
    assert back.dtype == np.float64
    np.testing.assert_array_equal(back, stored)
    mask = rng.integers(0, 2, (128, 128))
    write_mask(tmp_path / "mask_1.h5", mask)
    assert read_mask(tmp_path / "mask_1.h5", L4S).dtype == np.uint8
    np.testing.assert_array_equal(read_mask(tmp_path / "mask_1.h5", L4S), mask)


def test_writing_refuses_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\(8, 8, 2\)"):
        write_patch(tmp_path / "image_1.h5", np.zeros((2, 8, 8)), SMALL)
    with pytest.raises(DataError, match="not a mask"):
        write_mask(tmp_path / "mask_1.h5", np.full((8, 8), 2))
    assert not list(tmp_path.iterdir())


def test_open_patches_gives_units(tiny_root: Path) -> None:
    patches = open_patches(tiny_root, "train", ids=[3, 1])
    assert patches["image"].dims == ("patch", "band", "y", "x")
    assert patches["image"].dtype == np.float32
    assert patches["patch"].values.tolist() == [3, 1]
    dem = patches["image"].sel(patch=3, band="dem").values
    np.testing.assert_array_equal(dem, np.rint(dem))
    assert 700 < dem.min() < dem.max() < 1600
    assert set(np.unique(patches["mask"])) == {0, 1}
    assert "mask" not in open_patches(tiny_root, "test")
