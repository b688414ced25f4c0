"""One scan lists every fault."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from l4s_ensemble.data.check import CheckReport, check
from l4s_ensemble.data.sensor import L4S, Sensor, SensorBand, load_sensor


def codes(report: CheckReport, level: str) -> set[tuple[str, str]]:
    return {(f.code, Path(f.where).name) for f in report.faults if f.level == level}


def change(path: Path, edit: Callable[[np.ndarray], np.ndarray], key: str = "img") -> None:
    with h5py.File(path, "r") as file:
        values = file[key][:]
    with h5py.File(path, "w") as file:
        file[key] = edit(values)


def put(values: np.ndarray, where: object, value: float) -> np.ndarray:
    values = values.copy()
    values[where] = value
    return values


def test_a_good_folder_has_no_fault(tiny_root: Path) -> None:
    report = check(tiny_root, L4S)
    assert report.ok and report.faults == []
    counts = {k: (v.images, v.masks) for k, v in report.splits.items()}
    assert counts == {"train": (12, 12), "valid": (4, 4), "test": (3, 0)}
    assert report.splits["train"].exact_share == 1.0
    assert report.splits["train"].landslide_patches == 12
    assert report.splits["test"].landslide_pixels is None
    assert json.loads(json.dumps(report.as_dict()))["ok"] is True


def test_every_fault_is_listed_in_one_scan(tiny_root: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(tiny_root, root)
    img, mask = root / "TrainData/img", root / "TrainData/mask"
    dem = L4S.band_names.index("dem")
    (mask / "mask_1.h5").unlink()
    (img / "image_2.h5").unlink()
    change(img / "image_3.h5", lambda v: put(v, (0, 0, 0), np.nan))
    change(img / "image_4.h5", lambda v: v[:, :, :13])
    (img / "image_5.h5").write_bytes((img / "image_5.h5").read_bytes()[:5000])
    change(img / "image_6.h5", lambda v: v * L4S.stored_to_count)
    change(img / "image_7.h5", lambda v: v + 1e-5)
    change(img / "image_8.h5", lambda v: put(v, (..., dem), v[0, 0, dem]))
    shutil.copy(img / "image_9.h5", img / "image_13.h5")
    shutil.copy(mask / "mask_9.h5", mask / "mask_13.h5")
    shutil.copy(img / "image_9.h5", root / "TestData/img/image_1.h5")
    change(mask / "mask_10.h5", lambda v: v * 255, "mask")
    with h5py.File(img / "image_11.h5", "w") as file:
        file["data"] = 1
    shutil.copy(img / "image_12.h5", img / "image_012.h5")
    change(root / "TestData/img/image_2.h5", lambda v: put(v, (0, 0, dem), 9100 / 772.83144788))
    (img / "notes.txt").write_text("x")
    report = check(root, L4S)
    assert codes(report, "error") == {
        ("pair", "image_1.h5"),
        ("nan", "image_3.h5"),
        ("file", "image_4.h5"),
        ("file", "image_5.h5"),
        ("bounds", "image_6.h5"),
        ("file", "image_11.h5"),
        ("duplicate", "image_1.h5"),
        ("mask", "mask_10.h5"),
        ("double", "image_12.h5"),
    }
    assert codes(report, "warning") == {
        ("pair", "mask_2.h5"),
        ("units", "image_6.h5"),
        ("units", "image_7.h5"),
        ("degenerate", "image_8.h5"),
        ("duplicate", "image_13.h5"),
        ("stray", "notes.txt"),
        ("bounds", "image_2.h5"),
    }
    assert not report.ok
    for part in ("(128, 128, 13)", "(128, 128, 14)"):
        assert any(part in f.message for f in report.faults if f.where.endswith("image_4.h5"))


def test_two_workers_find_what_one_does(tmp_path: Path, rng: np.random.Generator) -> None:
    sensor = Sensor(name="small", bands=(SensorBand(name="a"),), patch_pixels=8)
    (tmp_path / "img").mkdir()
    for patch in range(1, 101):
        with h5py.File(tmp_path / f"img/image_{patch}.h5", "w") as file:
            file["img"] = rng.integers(0, 9, (8, 8, 1)) + (0.5 if patch % 7 == 0 else 0)
    one, two = check(tmp_path, sensor, 1), check(tmp_path, sensor, 2)
    assert one.faults == two.faults and one.splits == two.splits
    assert list(one.splits) == ["test"]  # no masks: nothing to fit
    assert {f.code for f in one.faults} == {"units"} and len(one.faults) == 14


@pytest.mark.parametrize(("folder", "sensor"), [("l4s-14band", "l4s")])
def test_real_tiles_are_clean(real_data: Path, folder: str, sensor: str) -> None:
    report = check(real_data / folder, load_sensor(sensor))
    assert report.ok and report.faults == []
