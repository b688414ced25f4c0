"""The official form, and that a user's folder loses nothing."""

from __future__ import annotations

import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from l4s_ensemble.errors import DataError
from l4s_ensemble.predict.submission import (
    copy_result,
    verify_submission,
    write_submission,
)


def masks_in(folder: Path, rng: np.random.Generator) -> dict[int, np.ndarray]:
    folder.mkdir(parents=True)
    made = {n: (rng.random((128, 128)) < 0.1).astype(np.uint8) for n in (1, 2, 10)}
    for n, mask in made.items():
        with h5py.File(folder / f"mask_{n}.h5", "w") as file:
            file["mask"] = mask
    return made


def result(tmp_path: Path, rng: np.random.Generator) -> tuple[Path, dict[int, np.ndarray]]:
    made = masks_in(tmp_path / "result" / "masks", rng)
    write_submission(tmp_path / "result" / "masks", tmp_path / "result" / "submission.zip")
    return tmp_path / "result", made


def test_a_submission_is_a_flat_zip_of_uint8_masks(tmp_path, rng):
    made = masks_in(tmp_path / "masks", rng)
    told = write_submission(tmp_path / "masks", tmp_path / "submission.zip")
    assert told["verified"] and told["files"] == 3
    with zipfile.ZipFile(tmp_path / "submission.zip") as zipped:
        assert zipped.namelist() == ["mask_1.h5", "mask_2.h5", "mask_10.h5"]
        zipped.extractall(tmp_path / "out")
    with h5py.File(tmp_path / "out" / "mask_10.h5") as file:
        assert list(file) == ["mask"] and file["mask"].dtype == np.uint8
        np.testing.assert_array_equal(file["mask"][()], made[10])


def test_the_same_masks_give_the_same_archive(tmp_path, rng):
    masks_in(tmp_path / "masks", rng)
    first = write_submission(tmp_path / "masks", tmp_path / "a.zip")
    assert write_submission(tmp_path / "masks", tmp_path / "b.zip")["sha256"] == first["sha256"]


def test_verification_finds_a_changed_pixel_and_a_missing_mask(tmp_path, rng):
    made = masks_in(tmp_path / "masks", rng)
    write_submission(tmp_path / "masks", tmp_path / "s.zip")
    made[2][5, 5] ^= 1
    with pytest.raises(DataError, match="reads back otherwise"):
        verify_submission(tmp_path / "s.zip", made)
    with pytest.raises(DataError, match="other files"):
        verify_submission(tmp_path / "s.zip", {**made, 11: made[1]})


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"mask": np.full((128, 128), 2, np.uint8)}, "official form"),
        ({"mask": np.zeros((64, 64), np.uint8)}, "not all of the same shape"),
        (
            {"mask": np.zeros((128, 128), np.uint8), "probability": np.zeros((128, 128))},
            "more than the mask",
        ),
    ],
)
def test_a_mask_in_another_form_is_refused_and_nothing_is_left(tmp_path, rng, content, says):
    masks_in(tmp_path / "masks", rng)
    with h5py.File(tmp_path / "masks" / "mask_2.h5", "w") as file:
        file.update(content)
    with pytest.raises(DataError, match=says):
        write_submission(tmp_path / "masks", tmp_path / "s.zip")
    assert not (tmp_path / "s.zip").exists()


def test_masks_are_copied_and_other_masks_are_never_overwritten(tmp_path, rng):
    source, made = result(tmp_path, rng)
    target = tmp_path / "mine"
    assert copy_result(source, target) == 3
    assert copy_result(source, target) == 3  # the same again is no fault
    other = np.ones((128, 128), np.uint8)
    with h5py.File(target / "mask_1.h5", "w") as file:
        file["mask"] = other
    with pytest.raises(DataError, match="already holds other masks"):
        copy_result(source, target)
    with h5py.File(target / "mask_1.h5") as file:
        np.testing.assert_array_equal(file["mask"][()], other)
    copy_result(source, target, force=True)
    with h5py.File(target / "mask_1.h5") as file:
        np.testing.assert_array_equal(file["mask"][()], made[1])


def test_a_folder_without_masks_or_with_another_name_is_refused(tmp_path, rng):
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="no mask to submit"):
        write_submission(tmp_path / "none", tmp_path / "s.zip")
    masks_in(tmp_path / "masks", rng)
    (tmp_path / "masks" / "mask_1.h5").rename(tmp_path / "masks" / "mask_01.h5")
    with pytest.raises(DataError, match="not the name of a mask"):
        write_submission(tmp_path / "masks", tmp_path / "s.zip")
    assert not (tmp_path / "s.zip").exists()


def test_a_damaged_or_missing_zip_is_named(tmp_path, rng):
    source, made = result(tmp_path, rng)
    whole = (source / "submission.zip").read_bytes()
    (source / "submission.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be read"):
        verify_submission(source / "submission.zip", made)
    (source / "submission.zip").unlink()
    with pytest.raises(DataError, match="cannot be read"):
        verify_submission(source / "submission.zip", made)


def test_masks_of_other_patches_do_not_mix_with_a_result(tmp_path, rng):
    source, _ = result(tmp_path, rng)
    target = tmp_path / "mine"
    target.mkdir()
    (target / "mask_77.h5").write_bytes((source / "masks" / "mask_1.h5").read_bytes())
    with pytest.raises(DataError, match="masks of other patches"):
        copy_result(source, target)
    assert sorted(p.name for p in target.iterdir()) == ["mask_77.h5"]
    assert copy_result(source, target, force=True) == 3 and (target / "mask_77.h5").is_file()
