"""The scripts beside the package: true-colour tiles, and the comparison of readers."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import h5py
import numpy as np
import pytest

from l4s_ensemble.data.check import check
from l4s_ensemble.data.patches import find_patches, read_image, read_mask
from l4s_ensemble.data.sensor import L4S, load_sensor
from l4s_ensemble.errors import DataError


def script(name: str) -> ModuleType:
    """Load a script of ``benchmarks``, from whatever folder the tests are run."""
    path = Path(__file__).parents[2] / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


rgb_tiles = script("rgb_tiles")


def test_true_colour_tiles_are_a_folder_of_the_l4s_rgb_sensor(tiny_root, tmp_path):
    out = tmp_path / "rgb"
    told = rgb_tiles.convert(tiny_root, out)
    assert told["written"] == told["read"] == 12 and told["without_landslide"] == 0
    assert check(out, load_sensor("l4s-rgb")).faults == []
    with h5py.File(out / "TrainData/img/image_7.h5") as file:
        made = file["img"][:]
    stored = read_image(tiny_root / "TrainData/img/image_7.h5", L4S)[..., [3, 2, 1]]
    assert made.dtype == np.uint8 and made.max() == 255
    np.testing.assert_array_equal(made, np.floor(stored / stored.max() * 255))
    assert rgb_tiles.convert(tiny_root / "TrainData", tmp_path / "again") == {
        **told, "out": str(tmp_path / "again"),
    }  # fmt: skip


def test_nothing_is_overwritten_and_nothing_half_made_is_left(tiny_root, tmp_path):
    (tmp_path / "mine").mkdir()
    with pytest.raises(DataError, match="nothing is overwritten"):
        rgb_tiles.convert(tiny_root, tmp_path / "mine")
    broken = tmp_path / "broken"
    for kind in ("img", "mask"):
        (broken / "TrainData" / kind).mkdir(parents=True)
        for n in (1, 2):
            name = f"{'image' if kind == 'img' else kind}_{n}.h5"
            source = (tiny_root / "TrainData" / kind / name).read_bytes()
            (broken / "TrainData" / kind / name).write_bytes(source[: 3000 if n == 2 else None])
    with pytest.raises(DataError, match="not a readable HDF5 file"):
        rgb_tiles.convert(broken, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["broken", "mine"]


def test_tiles_without_a_landslide_are_left_out_unless_wanted(real_data, tmp_path):
    part = rgb_tiles.convert(real_data / "l4s-14band", tmp_path / "part")
    whole = rgb_tiles.convert(real_data / "l4s-14band", tmp_path / "all", keep_empty=True)
    assert (part["written"], whole["written"], whole["without_landslide"]) == (15, 17, 2)


def test_real_tiles_come_out_pixel_by_pixel_as_in_the_published_copy(real_data, tmp_path):
    rgb_tiles.convert(real_data / "l4s-14band", tmp_path / "rgb")
    sensor = load_sensor("l4s-rgb")
    there = {f.id: f for f in find_patches(real_data / "l4s-rgb", "train", sensor)}
    compared = 0
    for made in find_patches(tmp_path / "rgb", "train", sensor):
        if made.id in there:
            theirs = there[made.id]
            np.testing.assert_array_equal(
                read_image(made.image, sensor), read_image(theirs.image, sensor)
            )
            np.testing.assert_array_equal(
                read_mask(made.mask, sensor), read_mask(theirs.mask, sensor)
            )
            compared += 1
    assert compared == 14


def test_the_reading_benchmark_ends_with_one_line_of_json(tiny_root, monkeypatch, capsys):
    data = script("data")
    words = ["data", "--data", str(tiny_root), "--patches", "16", "--repeats", "1"]
    monkeypatch.setattr(sys, "argv", words)
    data.main()
    lines = capsys.readouterr().out.splitlines()
    told = json.loads(lines[-1])
    assert told["patches"] == 16 and told["files"] == 12 and told["check_patches"] == 19
    assert told["read_ratio_vs_h5"] > 0
    assert sum(line.startswith("h5py loop") for line in lines) == 3
