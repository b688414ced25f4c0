"""A small working place to damage, and what a user does in it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from l4s_ensemble import cli, config
from l4s_ensemble.data.build import build_store
from l4s_ensemble.data.patches import find_patches, write_mask
from l4s_ensemble.data.sensor import Sensor, SensorBand, load_sensor
from l4s_ensemble.data.store import open_store, units
from l4s_ensemble.run.files import read_json, write_json
from l4s_ensemble.run.stage import StageContext

EDGE = 16
SENSOR = Sensor(
    name="small",
    bands=(
        SensorBand(name="B4", stored_to_count=445.17289745),
        SensorBand(name="B8", stored_to_count=1941.32229668),
        SensorBand(name="dem", stored_to_count=772.83144788, unit="metre"),
    ),
    patch_pixels=EDGE,
)


@dataclass(frozen=True)
class Place:
    """A user's folder: patches, a sensor, a config, and pieces of a run."""

    root: Path

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def sensor(self) -> Path:
        return self.root / "sensor.yaml"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def store(self) -> Path:
        return self.run / "data/train/patches.zarr"

    def image(self, number: int) -> Path:
        return self.data / f"TrainData/img/image_{number}.h5"

    def mask(self, number: int) -> Path:
        return self.data / f"TrainData/mask/mask_{number}.h5"

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path


Damage = Callable[[Place], object]
Action = Callable[[Place], object]


@dataclass(frozen=True)
class Case:
    """One damage, what the user does then, and what the message names."""

    name: str
    damage: Damage
    action: Action
    says: tuple[str, ...]
    code: int = 1


def command(*words: str) -> Action:
    """The command line, in this process; ``{data}`` and such stand for parts of the place."""

    def act(place: Place) -> None:
        given = [
            w.format(data=place.data, sensor=place.sensor, run=place.run, root=place.root)
            for w in words
        ]
        old, sys.argv = sys.argv, ["l4s-ensemble", *given]
        try:
            cli.main()
        finally:
            sys.argv = old

    return act


CHECK_WORDS = ("data", "check", "--data", "{data}", "--sensor", "{sensor}", "--jobs", "1")
CHECK = command(*CHECK_WORDS, "--json")
CHECK_TABLE = command(*CHECK_WORDS)
FIT_WORDS = ("fit-all", "--data", "{data}", "--set", "data.sensor={sensor}", "--jobs", "1",
             "--run", "{root}/new")  # fmt: skip
FIT = command(*FIT_WORDS)


def fit(*words: str) -> Action:
    return command(*FIT_WORDS, *words)


def build(place: Place) -> None:
    """What the first stage of a fit does, without a process of its own."""
    files = find_patches(place.data, "train", SENSOR)
    build_store(files, SENSOR, place.root / "made/patches.zarr", root=place.data)


def scenes(*overrides: str) -> Action:
    """What the second stage does."""

    def act(place: Place) -> None:
        from l4s_ensemble.scenes.stage import stage

        values = read_json(place.run / "config.json")
        settings = config.build(values, overrides)
        stage(StageContext(place.run, place.root / "made", settings, {}, ("data/train",)))

    return act


def read_store(place: Place) -> None:
    dataset = open_store(place.store)
    units(dataset)
    dataset["mask"].values.sum()


def folds(place: Place) -> None:
    from l4s_ensemble.scenes.folds import load_folds

    load_folds(place.run / "scenes")


def stack_model(place: Place) -> None:
    from l4s_ensemble.stack.classifier import Stack

    Stack.load(place.run / "stack")


def pixel_model(place: Place) -> None:
    from l4s_ensemble.pixel.model import PixelModel

    PixelModel.load(place.run / "pixel")


def unet_model(place: Place) -> None:
    from l4s_ensemble.unet.model import UNetModel

    UNetModel.load(place.run / "unet")


def scores(place: Place) -> None:
    from l4s_ensemble.run.scores import open_scores

    open_scores(place.run / "pixel/oof.zarr")["logit"].values.sum()


def change(which: Callable[[Place], Path], edit: Callable[[Any], Any], key: str = "img") -> Damage:
    """Put other values into a patch file."""

    def damage(place: Place) -> None:
        path = which(place)
        with h5py.File(path, "r") as file:
            values = file[key][:]
        with h5py.File(path, "w") as file:
            file[key] = edit(values)

    return damage


def put(values: np.ndarray, value: float) -> np.ndarray:
    values = values.astype(float)
    values[2, 3, 1] = value
    return values


def cut(which: Callable[[Place], Path], size: int) -> Damage:
    return lambda p: which(p).write_bytes(which(p).read_bytes()[:size])


def overwrite(which: Callable[[Place], Path], content: str | bytes) -> Damage:
    return lambda p: which(p).write_bytes(content.encode() if isinstance(content, str) else content)


def edit_json(name: str, edit: Callable[[Any], Any]) -> Damage:
    """Change a JSON file of the run; `edit` gives the new value, or changes the old one."""

    def damage(place: Place) -> None:
        path = place.run / name
        value = json.loads(path.read_text())
        changed = edit(value)
        path.write_text(json.dumps(value if changed is None else changed))

    return damage


def compressed_and_spoilt(place: Place) -> None:
    """A file whose outer form is whole and whose compressed values are not."""
    path = place.image(4)
    with h5py.File(path, "r") as file:
        values = file["img"][:]
    with h5py.File(path, "w") as file:
        made = file.create_dataset("img", data=values, compression="gzip", chunks=values.shape)
        at = made.id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[at : at + 200] = b"\xff" * 200
    path.write_bytes(bytes(content))


def a_folder_instead(place: Place) -> None:
    place.image(4).unlink()
    place.image(4).mkdir()


def write_pixel_model(place: Place) -> None:
    """A pixel model of one fold whose booster is missing."""
    from l4s_ensemble.pixel import boosters, model

    folder = place.run / "pixel"
    about = {"kind": model.KIND, "version": model.VERSION, "sensor": SENSOR, "seed": 0}
    write_json(folder / "model.json", {**about, "folds": 1})
    write_json(
        folder / "fold_0/classifier.json",
        {
            "kind": boosters.KIND,
            "version": boosters.VERSION,
            "features": ["a"],
            "classes": [0, 1],
            "settings": {},
            "boosters": ["booster_0.txt"],
            "digest": "",
        },
    )


def write_unet_model(place: Place) -> None:
    """A U-Net's JSON whose weights end after eight bytes."""
    from l4s_ensemble.data.sensor import L4S
    from l4s_ensemble.unet.classifier import SavedClassifier
    from l4s_ensemble.unet.inputs.normalisation import Normalisation
    from l4s_ensemble.unet.model import SavedModel

    bands = L4S.band_names
    plain = Normalisation(bands=bands, channels=bands, mean=(0.0,) * 14, std=(1.0,) * 14)
    fold = SavedClassifier(
        settings=config.UNetConfig(),
        random_state=0,
        sensor=L4S,
        normalisation=plain,
        history=[],
        captured=[],
    )
    write_json(place.run / "unet/fold_0/model.json", fold)
    write_json(place.run / "unet/model.json", SavedModel(sensor=L4S, folds=1))
    place.write("run/unet/fold_0/network_0.safetensors", b"\x10" + bytes(7) + b"{")


def image4(place: Place) -> Path:
    return place.image(4)


def mask4(place: Place) -> Path:
    return place.mask(4)


def own(name: str) -> Callable[[Place], Path]:
    return lambda p: p.root / name


def use_sensor(place: Place) -> None:
    load_sensor(place.sensor)


def two_masks(place: Place, first: Any) -> Path:
    """A finished result, and a folder of the user's own in its way."""
    from l4s_ensemble.predict.submission import write_submission

    result = place.root / "result"
    for n in (1, 2):
        write_mask(result / f"masks/mask_{n}.h5", np.eye(EDGE, dtype=np.uint8))
    write_submission(result / "masks", result / "submission.zip")
    if isinstance(first, bytes):
        place.write("mine/mask_1.h5", first)
    elif first is not None:
        write_mask(place.root / "mine/mask_1.h5", first)
    return result


def copy_result(place: Place) -> None:
    from l4s_ensemble.predict.submission import copy_result as copy

    copy(place.root / "result", place.root / "mine")


def predict(*words: str) -> Action:
    return command("predict", "--run", "{run}", *words)
