"""Damaged HDF5 files: each is read or listed by name, and none hides the others."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from l4s_ensemble.data.check import check
from l4s_ensemble.data.patches import read_image, read_mask
from l4s_ensemble.data.sensor import Sensor, SensorBand
from l4s_ensemble.errors import DataError

EDGE = 16
SENSOR = Sensor(name="small", bands=(SensorBand(name="a"), SensorBand(name="b")), patch_pixels=EDGE)
SHAPE = (EDGE, EDGE, 2)
IMAGE = np.arange(np.prod(SHAPE), dtype=float).reshape(SHAPE)
MASK = np.eye(EDGE, dtype=np.uint8)
LAYOUTS: tuple[dict[str, object], ...] = (
    {},
    {"chunks": (EDGE, EDGE, 1), "compression": "gzip", "shuffle": True},
    {"chunks": (4, 4, 2), "fletcher32": True},
    {"chunks": (8, 8, 2), "compression": "lzf"},
    {"chunks": (8, 8, 2)},
)


def write(path: Path, key: str, values: np.ndarray, **more: object) -> None:
    with h5py.File(path, "w", libver="latest" if more.pop("latest", False) else "earliest") as file:
        file.create_dataset(key, data=values, **more)
        file[key].attrs["note"] = "from somewhere"


def damaged(whole: bytes, rng: np.random.Generator) -> bytes:
    """Overwrite bytes, cut the file short, swap two blocks, or zero one."""
    made = bytearray(whole)
    first, second, length = (int(n) for n in rng.integers(0, len(made), 3))
    length = 1 + length % 64
    kind = rng.integers(0, 5)
    if kind == 0:
        for where in rng.integers(0, len(made), rng.integers(1, 5)):
            made[where] = rng.integers(0, 256)
    elif kind == 1:  # the first bytes say what the others are
        for where in rng.integers(0, min(2600, len(made)), rng.integers(1, 5)):
            made[where] = rng.choice([0, 1, 2, 0x7F, 0x80, 0xFF])
    elif kind == 2:
        del made[first:]
    elif kind == 3:
        one, other = made[first : first + length], made[second : second + length]
        made[first : first + length], made[second : second + length] = other, one
    else:
        made[first : first + length] = bytes(length)
    return bytes(made)


@pytest.mark.parametrize(
    ("seed", "files"), [(0, 300), pytest.param(1, 5000, marks=pytest.mark.slow)]
)
def test_a_damaged_file_is_read_or_listed_and_hides_no_other(
    tmp_path: Path, seed: int, files: int
) -> None:
    rng = np.random.default_rng(seed)
    root = tmp_path / "TrainData"
    for name in ("img", "mask"):
        (root / name).mkdir(parents=True)
    wholes = []
    for n, more in enumerate([*LAYOUTS, *({**more, "latest": True} for more in LAYOUTS)]):
        write(tmp_path / f"{n}.h5", "img", IMAGE, **more)
        wholes.append((tmp_path / f"{n}.h5").read_bytes())
    write(tmp_path / "mask.h5", "mask", MASK, chunks=(8, 8), compression="gzip")
    mask = (tmp_path / "mask.h5").read_bytes()
    for patch in range(1, files + 1):
        sound = patch % 10 == 0
        image = wholes[patch % len(wholes)]
        (root / f"img/image_{patch}.h5").write_bytes(image if sound else damaged(image, rng))
        sound = sound or patch % 10 < 8
        (root / f"mask/mask_{patch}.h5").write_bytes(mask if sound else damaged(mask, rng))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # an overflow in a damaged value is no message to a user
        found = check(tmp_path, SENSOR)
    listed = {Path(f.where).name for f in found.faults if f.code in {"file", "mask", "nan"}}
    assert len(listed) > files // 4
    for patch in range(1, files + 1):
        for name, read in ((f"image_{patch}.h5", read_image), (f"mask_{patch}.h5", read_mask)):
            path = root / ("img" if name.startswith("i") else "mask") / name
            if name not in listed:
                assert read(path, SENSOR).size  # type: ignore[operator]
            else:
                assert patch % 10
    with pytest.raises(DataError):
        read_image(root / "img" / min(n for n in listed if n.startswith("image")), SENSOR)


def dataset(**more: object) -> Callable[[h5py.File], object]:
    return lambda file: file.create_dataset("img", **more)  # type: ignore[arg-type]


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout(SHAPE, float)
    layout[:] = h5py.VirtualSource("nowhere.h5", "img", SHAPE)
    file.create_virtual_dataset("img", layout, fillvalue=0)


def link(made: object) -> Callable[[h5py.File], object]:
    return lambda file: file.__setitem__("img", made)


WRONG: dict[str, Callable[[h5py.File], object]] = {
    "nothing": lambda file: None,
    "wrong key": lambda file: file.create_dataset("image", data=IMAGE),
    "group": lambda file: file.create_group("img"),
    "named type": link(np.dtype("f8")),
    "dangling soft link": link(h5py.SoftLink("/nowhere")),
    "soft link to itself": link(h5py.SoftLink("/img")),
    "dangling external link": link(h5py.ExternalLink("nowhere.h5", "img")),
    "virtual, its source lost": virtual,
    "values in a lost file": dataset(shape=SHAPE, dtype=float, external=[("lost", 0, 4096)]),
    "never written": dataset(shape=SHAPE, dtype=float),
    "half written": dataset(shape=SHAPE, dtype=float, chunks=(8, 8, 2)),
    "huge chunks": dataset(
        shape=SHAPE, maxshape=(None, EDGE, 2), dtype=float, chunks=(1 << 22, EDGE, 2)
    ),
    "huge": dataset(shape=(1 << 40, EDGE, 2), dtype=float, chunks=(8, 8, 2)),
    "no dimension": dataset(data=1.0),
    "no value": dataset(dtype=h5py.Empty(float).dtype, shape=None),
    "of no size": dataset(shape=(0, EDGE, 2), dtype=float),
    "transposed": dataset(data=np.moveaxis(IMAGE, -1, 0)),
    "text": dataset(shape=SHAPE, dtype=h5py.string_dtype()),
    "text of one length": dataset(data=np.full(SHAPE, b"12")),
    "objects": dataset(shape=SHAPE, dtype=h5py.vlen_dtype(np.int32)),
    "references": dataset(shape=SHAPE, dtype=h5py.ref_dtype),
    "compound": dataset(data=np.zeros(SHAPE, [("a", "f8"), ("b", "i4")])),
    "arrays": dataset(shape=SHAPE, dtype=np.dtype(("f8", (2,)))),
    "opaque": dataset(data=np.zeros(SHAPE, "V3")),
    "complex": dataset(data=IMAGE.astype(complex)),
    "boolean": dataset(data=IMAGE > 3),
    "dates": dataset(data=IMAGE.astype("M8[s]").astype(h5py.opaque_dtype("M8[s]"))),
    "not a number": dataset(data=np.where(IMAGE == 5, np.nan, IMAGE)),
    "too large a number": dataset(data=np.where(IMAGE == 5, 1e300, IMAGE)),
}
RIGHT = {
    "half precision": dataset(data=IMAGE.astype("f2")),
    "long double": dataset(data=IMAGE.astype(np.longdouble)),
    "big-endian": dataset(data=IMAGE.astype(">f8")),
    "whole numbers": dataset(data=IMAGE.astype("i8")),
    "growing": dataset(data=IMAGE, maxshape=(None, EDGE, 2), chunks=(8, 8, 2)),
}


def test_every_kind_of_wrong_file_is_listed_beside_the_right_ones(tmp_path: Path) -> None:
    kinds = {**WRONG, **RIGHT}
    (tmp_path / "img").mkdir()
    for patch, make in enumerate(kinds.values(), start=1):
        with h5py.File(tmp_path / f"img/image_{patch}.h5", "w") as file:
            make(file)
    (tmp_path / "img/image_900.h5").mkdir()
    (tmp_path / "img/image_901.h5").symlink_to("nowhere")
    (tmp_path / f"img/image_{'9' * 40}.h5").write_bytes(b"no id is that long")
    found = check(tmp_path, SENSOR)
    named = {int(Path(f.where).stem.split("_")[1]) for f in found.errors}
    listed = {name for n, name in enumerate(kinds, start=1) if n in named}
    assert listed == set(WRONG) and {900, 901} <= named
    assert [f.code for f in found.warnings if "9999" in f.where] == ["stray"]


def test_a_mask_of_damaged_booleans_is_listed(tmp_path: Path) -> None:
    write(tmp_path / "mask_1.h5", "mask", MASK.astype(bool))
    assert read_mask(tmp_path / "mask_1.h5", SENSOR).sum() == EDGE
    whole = (tmp_path / "mask_1.h5").read_bytes()
    where = whole.index(MASK.tobytes())
    (tmp_path / "mask_1.h5").write_bytes(whole[:where] + b"\7" + whole[where + 1 :])
    with pytest.raises(DataError):
        read_mask(tmp_path / "mask_1.h5", SENSOR)
