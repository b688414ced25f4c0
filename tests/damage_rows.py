"""The table of `test_damage`: what is damaged, what the user does, what the message names."""

from __future__ import annotations

import shutil

import h5py
import numpy as np
from damage_place import (
    CHECK,
    CHECK_TABLE,
    EDGE,
    FIT,
    SENSOR,
    Case,
    Damage,
    Place,
    a_folder_instead,
    build,
    change,
    command,
    compressed_and_spoilt,
    copy_result,
    cut,
    dataset_is_a_group,
    edit_json,
    fit,
    folds,
    image4,
    linked_to_nothing,
    mask4,
    no_masks_at_all,
    overwrite,
    own,
    pixel_model,
    predict,
    put,
    read_store,
    scenes,
    scores,
    stack_model,
    two_masks,
    unet_model,
    use_sensor,
    write_pixel_model,
    write_unet_model,
)

from l4s_ensemble.data.patches import open_patches
from l4s_ensemble.run.files import write_json

FIT_MINE = fit("--config", "mine.yaml")


def nothing(place: Place) -> None:
    """The damage is in what the user asks for."""


def mine(text: str | bytes) -> Damage:
    """A config of the user's own."""
    return lambda p: p.write("mine.yaml", text)


def places(lines: str) -> Damage:
    return overwrite(own("data/scenes.csv"), "split,patch,scene,row,col\n" + lines)


def sensor_file(text: str | bytes) -> Damage:
    return overwrite(own("sensor.yaml"), text)


FILES = [
    Case("another format", overwrite(image4, "GIF89a"), CHECK, ("image_4.h5", "not a readable")),
    Case("another format, in a table", overwrite(image4, "GIF89a"), CHECK_TABLE,
         ("TrainData/img/image_4.h5",)),
    Case("another format, built", overwrite(image4, "GIF89a"), build, ("1 of 12", "image_4.h5")),
    Case("an empty file", overwrite(image4, ""), CHECK, ("image_4.h5", "0 bytes")),
    Case("cut short", cut(image4, 3000), CHECK, ("image_4.h5", "3000 bytes")),
    Case("spoilt compression", compressed_and_spoilt, CHECK, ("image_4.h5", "damaged")),
    Case("no such dataset", lambda p: h5py.File(p.image(4), "w").close(), CHECK,
         ("no dataset 'img'", "an empty file")),
    Case("another dataset", lambda p: p.image(4).write_bytes(p.mask(4).read_bytes()), CHECK,
         ("no dataset 'img'", "found mask")),
    Case("dataset is a group", dataset_is_a_group, CHECK, ("image_4.h5", "no dataset 'img'")),
    Case("a link to nothing", linked_to_nothing, CHECK, ("image_4.h5", "missing")),
    Case("a folder instead", a_folder_instead, CHECK, ("image_4.h5", "missing")),
    Case("a band too few", change(image4, lambda v: v[..., :2]), CHECK,
         ("(16, 16, 2)", "(16, 16, 3)")),
    Case("bands first", change(image4, lambda v: np.moveaxis(v, -1, 0)), CHECK, ("(3, 16, 16)",)),
    Case("text", change(image4, lambda v: v.astype("S6")), CHECK, ("wrong dtype", "a number")),
    Case("complex", change(image4, lambda v: v + 1j), CHECK, ("complex128", "a number")),
    Case("NaN", change(image4, lambda v: put(v, np.nan)), CHECK, ("1 values are NaN",)),
    Case("NaN, built", change(image4, lambda v: put(v, np.nan)), build, ("image_4.h5", "1 values")),
    Case("infinity", change(image4, lambda v: put(v, -np.inf)), CHECK,
         ("1 values are NaN or inf",)),
    Case(
        "elevation in centimetres", change(image4, lambda v: v * [1, 1, 100]), CHECK,
        ("band dem", "-500 … 9000", "other units"),
    ),
    Case(
        "elevation in centimetres, built", change(image4, lambda v: v * [1, 1, 100]), build,
        ("band dem", "other units", "as released"),
    ),
    Case("mask of 255", change(mask4, lambda v: v * 255, "mask"), CHECK, ("mask_4.h5", "0, 255")),
    Case("mask below zero", change(mask4, lambda v: v * -1.0, "mask"), CHECK,
         ("mask_4.h5", "dtype")),
    Case("mask of another size", change(mask4, lambda v: v[:9], "mask"), CHECK, ("(9, 16)",)),
    Case("mask cut short", cut(mask4, 900), build, ("1 of 12", "mask_4.h5", "900 bytes")),
    Case("an id that is not there", nothing,
         lambda p: open_patches(p.data, "train", SENSOR, ids=[4, 99]),
         ("99", "12 ids from 1 to 12")),
]  # fmt: skip

FOLDERS = [
    Case("no folder", lambda p: shutil.rmtree(p.data), CHECK, ("no such data folder",)),
    Case("no folder to fit", lambda p: shutil.rmtree(p.data), FIT,
         ("no such data folder", "--data")),
    Case("a file for a folder", lambda p: (shutil.rmtree(p.data), p.write("data", "x")), FIT,
         ("no such data folder",)),
    Case("an empty folder", lambda p: (shutil.rmtree(p.data), p.data.mkdir()), CHECK,
         ("no split found", "an empty folder")),
    Case("no folder named", nothing, command("data", "check"), ("no data folder was named",), 2),
    Case("no folder named to fit", nothing, command("fit-all"), ("no data folder was named",), 2),
    Case("a split without patches", lambda p: [f.unlink() for f in
         p.data.glob("TrainData/*/*")], CHECK, ("layout", "no patch; allowed image_N.h5")),
    Case("other folders", lambda p: (p.data / "TrainData").rename(p.data / "training"), FIT,
         ("no split 'train'", "TrainData/img")),
    Case("a split that is not there", nothing,
         command("predict", "--split", "test", "--run", "{run}"), ("no split 'test'", "TestData")),
    Case("only other files", lambda p: [f.rename(f.with_suffix(".hdf")) for f in
         (p.data / "TrainData/img").iterdir()], FIT, ("no patch", "image_N.h5")),
    Case("no masks", no_masks_at_all, CHECK, ("no masks, so nothing can be fitted",)),
    Case("a mask missing", lambda p: p.mask(4).unlink(), FIT, ("no mask_4.h5", "1 of 12")),
    Case("an id twice", lambda p: shutil.copy(p.image(4), p.image(4).with_name("image_04.h5")), FIT,
         ("same id", "image_04.h5")),
    Case("made-up patches in its place", nothing,
         command("data", "synth", "{data}", "--train", "1"), ("place/data", "is not empty")),
    Case("a copy in another split",
         lambda p: shutil.copy(p.image(4), p.data / "ValidData/img/image_1.h5"), CHECK,
         ("same content", "leak")),
]  # fmt: skip

PLACES = [
    Case("a column missing", overwrite(own("data/scenes.csv"), "split,patch\ntrain,1\n"), FIT,
         ("a column is missing", "scenes.csv")),
    Case("no integer", places("train,1,a,0,0\n"), CHECK, ("not an integer", "line 2")),
    Case("a short line", places("train,1\n"), CHECK, ("not an integer", "line 2")),
    Case("a place twice", places("train,1,1,0,0\ntrain,2,1,0,0\n"), CHECK,
         ("named twice", "line 3")),
    Case("no text", overwrite(own("data/scenes.csv"), b"\xff\xfe\x00\x01" * 20), CHECK,
         ("scenes.csv", "not a readable table")),
    Case("too large a number", places("train,1,1,0,5000000000000\n"), CHECK,
         ("line 2", "too large")),
    Case("tiles left out", places("train,1,1,0,0\n"), CHECK, ("no place for patches 2, 3",)),
]  # fmt: skip

CONFIGS = [
    Case("no preset", nothing, fit("--config", "defualt"),
         ("no preset", "default, demo", "l4s-rgb"), 2),
    Case("no such section", nothing, fit("--set", "nothing.at.all=1"), ("no such setting",), 2),
    Case("too small", nothing, fit("--set", "unet.epochs=0"),
         ("unet.epochs = 0", "greater than or equal to 1"), 2),
    Case("no file", nothing, FIT_MINE, ("no such config file", "mine.yaml"), 2),
    Case("not YAML", mine("unet: [1"), FIT_MINE, ("not YAML", "mine.yaml"), 2),
    Case("not text", mine(b"\xff\xfe\x00"), FIT_MINE, ("not YAML", "mine.yaml"), 2),
    Case("a list", mine("- 1\n"), FIT_MINE, ("mapping of sections", "list"), 2),
    Case("a key that is a number", mine("1: 2\n"), FIT_MINE, ("1: no such setting",), 2),
    Case("a word misspelt", mine("unet: {epoch: 3}\n"),
         FIT_MINE, ("unet.epoch: no such setting (did you mean epochs?)",), 2),
    Case("a section that is a number", nothing, fit("--set", "unet=3"), ("unet = 3",), 2),
    Case("out of range", nothing, fit("--set", "scenes.folds=1"), ("scenes.folds = 1", "2"), 2),
    Case("not a number", nothing, fit("--set", "pixel.trees=many"), ("pixel.trees = 'many'",), 2),
    Case("NaN", nothing, fit("--set", "pixel.learning_rate=.nan"), ("pixel.learning_rate",), 2),
    Case("no value", nothing, fit("--set", "unet.epochs"), ("section.key=value",), 2),
    Case("no YAML value", nothing, fit("--set", "unet.epochs=["), ("not YAML", "unet.epochs"), 2),
    Case("a name with a slash", nothing, fit("--set", "name=a/b"), ("name", "file name"), 2),
    Case("it holds itself", mine("unet: &a {width: *a}\n"), FIT_MINE, ("mine.yaml",), 2),
    Case("no jobs", nothing, fit("--jobs", "0"), ("--jobs", "1"), 2),
    Case("no such device", nothing, fit("--device", "tpu"), ("no such device", "cuda"), 2),
    Case("no split to adapt to", nothing, fit("--adapt", "train"),
         ("no such split to adapt to",), 2),
    Case("holdout not there", nothing, scenes("data.holdout={ids: [4, 77]}"),
         ("data.holdout", "77"), 2),
    Case("holdout of nothing", nothing, scenes("data.holdout={}"), ("names no tile",), 2),
    Case("holdout of no scene", nothing, scenes("data.holdout={scene: 9, columns: [0, 1]}"),
         ("no tile lies in data.holdout", "scene 1: columns 0-4"), 2),
    Case("holdout of all", nothing, scenes("data.holdout={scene: 1}"),
         ("no tile left for fitting",)),
    Case("too many folds", nothing, scenes("scenes.folds=13"),
         ("too few tiles for 13 spatial folds", "scenes.folds")),
    Case("places not those of the release", nothing, scenes("scenes.grid=none",
         "data.holdout={scene: 1, columns: [0, 1]}"), ("places of the tiles are not known",), 2),
]  # fmt: skip

SENSORS = [
    Case("no sensor", nothing, command("data", "check", "--data", "{data}", "--sensor", "l4"),
         ("no such sensor", "l4s, l4s-rgb"), 2),
    Case("not YAML", sensor_file("bands: ["), CHECK, ("sensor.yaml", "not usable"), 2),
    Case("empty", sensor_file(""), CHECK, ("sensor.yaml", "not usable"), 2),
    Case("no bands", sensor_file("name: x\n"), CHECK, ("bands", "required"), 2),
    Case("a band twice", sensor_file("name: x\nbands: [{name: a}, {name: a}]\n"),
         use_sensor, ("band names must be unique",), 2),
    Case("a divisor of zero", sensor_file("name: x\nbands: [{name: a, stored_to_count: 0}]\n"),
         use_sensor, ("greater than 0",), 2),
    Case("not text", sensor_file(b"\xff\xfe\x00\x01"), CHECK, ("sensor.yaml",), 2),
    Case("the wrong sensor", nothing,
         command("data", "check", "--data", "{data}", "--sensor", "l4s", "--json"),
         ("(16, 16, 3)", "(128, 128, 14)")),
]  # fmt: skip

STORES = [
    Case("no store", lambda p: shutil.rmtree(p.store), read_store, ("no store", "data stage")),
    Case("its head is no JSON", overwrite(lambda p: p.store / "zarr.json", "{"), read_store,
         ("damaged", "patches.zarr")),
    Case("another version", edit_json("data/train/patches.zarr/zarr.json",
         lambda v: v["attributes"].update(format="l4s-ensemble patches 0")), read_store,
         ("another version", "patches 0", "patches 2")),
    Case("images cut short", cut(lambda p: p.store / "image/c/0/0/0/0", 5000), read_store,
         ("damaged", "5000 bytes")),
    Case("an image chunk missing", lambda p: (p.store / "image/c/0/0/0/0").unlink(), read_store,
         ("damaged",)),
    Case("a mask chunk missing", lambda p: (p.store / "mask/c/0/0/0").unlink(), read_store,
         ("damaged",)),
    Case("images missing", lambda p: shutil.rmtree(p.store / "image"), read_store, ("damaged",)),
    Case("masks cut short", cut(lambda p: p.store / "mask/c/0/0/0", 50), read_store,
         ("damaged", "50 bytes")),
    Case("ids missing", lambda p: shutil.rmtree(p.store / "patch"), read_store, ("damaged",)),
    Case("ids lost", lambda p: shutil.rmtree(p.store / "patch/c"), read_store, ("damaged", "ids")),
    Case("hashes spoilt", overwrite(lambda p: p.store / "content_hash/c/0", b"\x00\x01\x02"),
         read_store, ("damaged",)),
    Case("hashes lost", lambda p: shutil.rmtree(p.store / "content_hash/c"), read_store,
         ("damaged",)),
]  # fmt: skip

RUNS = [
    Case("no run", nothing, command("predict", "--run", "{root}/none"), ("no run in this",)),
    Case("no run, scored", nothing, command("evaluate", "--run", "{root}/none"),
         ("no run in this",)),
    Case("no run, reported", nothing, command("report", "--run", "{root}/none"),
         ("no run in this",)),
    Case("no run to compare", nothing, command("report", "--compare", "{root}/none", "."),
         ("no such run folder",)),
    Case("a run compared with itself", nothing, command("report", "--compare", ".", "."),
         ("the same run twice",), 2),
    Case("a file for a run", lambda p: p.write("file", "x"), fit("--run", "{root}/file"),
         ("not a folder", "place/file")),
    Case("settings are no JSON", overwrite(lambda p: p.run / "config.json", "{"), predict(),
         ("damaged", "config.json")),
    Case("settings are a list", overwrite(lambda p: p.run / "config.json", "[]"), predict(),
         ("config.json", "mapping")),
    Case("settings of another version", edit_json("config.json", lambda v: v.update(colour=3)),
         predict(), ("colour: no such setting", "config.json"), 2),
    Case("nothing fitted", lambda p: shutil.rmtree(p.run / "stack"), predict(),
         ("no fitted models", "fit-all")),
    Case("no such split", nothing, predict("--split", "tset"), ("no such split", "valid"), 2),
    Case("no holdout", nothing, predict("--split", "holdout"), ("sets no tiles aside",), 2),
    Case("the patches are gone", lambda p: shutil.rmtree(p.data), predict(),
         ("no such data folder",)),
    Case("no table of folds", lambda p: (p.run / "scenes/patches.csv").unlink(), folds,
         ("table of folds", "patches.csv")),
    Case("a table of other things", overwrite(lambda p: p.run / "scenes/patches.csv", "a,b\n1,2\n"),
         folds, ("table of folds",)),
    Case("a head that is a list", overwrite(lambda p: p.run / "scenes/folds.json", "[]"), folds,
         ("table of folds",)),
    Case("no head", lambda p: (p.run / "scenes/folds.json").unlink(), folds, ("folds.json",)),
    Case("a stage without manifest", lambda p: (p.run / "data/train/manifest.json").unlink(),
         scenes(), ("an earlier stage is missing", "data/train")),
    Case("no scores", nothing, scores, ("scores of the run", "oof.zarr")),
    Case("scores of nothing", lambda p: p.write("run/pixel/oof.zarr/zarr.json", "{}"), scores,
         ("scores of the run", "oof.zarr")),
    Case("other masks in the way", lambda p: two_masks(p, np.ones((EDGE, EDGE))), copy_result,
         ("already holds other masks", "mask_1.h5", "--force")),
    Case("another thing in the way", lambda p: two_masks(p, b"mine"), copy_result,
         ("a mask cannot be read", "mask_1.h5")),
    Case("a file for a folder", lambda p: (two_masks(p, None), p.write("mine", "x")), copy_result,
         ("not a folder",)),
]  # fmt: skip

MODELS = [
    Case("no meta-learner", lambda p: (p.run / "stack/model.json").unlink(), stack_model,
         ("model.json", "missing")),
    Case("a meta-learner of another version",
         edit_json("stack/model.json", lambda v: v.update(format=0)), stack_model,
         ("another version", "fit stack")),
    Case("a meta-learner that is a list", overwrite(lambda p: p.run / "stack/model.json", "[1]"),
         stack_model, ("model.json", "fit stack")),
    Case("a meta-learner in part",
         edit_json("stack/model.json", lambda v: v["learner"].pop("intercept") * 0 or None),
         stack_model, ("model.json", "learner", "damaged", "fit stack")),
    Case("no pixel model", nothing, pixel_model, ("pixel model cannot be read",)),
    Case("another model", lambda p: write_json(p.run / "pixel/model.json", {"kind": "cat"}),
         pixel_model, ("not a pixel model", "cat")),
    Case("no booster", write_pixel_model, pixel_model, ("boosters", "fold_0.txt")),
    Case("a booster that is none",
         lambda p: (write_pixel_model(p), p.write("run/pixel/fold_0.txt", "tree\nversion=v4\n")),
         pixel_model, ("booster", "fold_0.txt")),
    Case("no U-Net", nothing, unet_model, ("U-Net cannot be read",)),
    Case("weights cut short", write_unet_model, unet_model, ("fold", "fold_0.safetensors")),
]  # fmt: skip

GROUPS = {
    "files": FILES, "folders": FOLDERS, "places": PLACES, "configs": CONFIGS, "sensors": SENSORS,
    "stores": STORES, "runs": RUNS, "models": MODELS,
}  # fmt: skip
CASES = [(group, case) for group, cases in GROUPS.items() for case in cases]
