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
    edit_json,
    fit,
    folds,
    image4,
    mask4,
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


FILES = [
    Case("another format", overwrite(image4, "GIF89a"), CHECK, ("image_4.h5", "not a readable")),
    Case("another format, in a table", overwrite(image4, "GIF89a"), CHECK_TABLE,
         ("TrainData/img/image_4.h5",)),
    Case("another format, built", overwrite(image4, "GIF89a"), build, ("1 of 12", "image_4.h5")),
    Case("cut short", cut(image4, 3000), CHECK, ("image_4.h5", "3000 bytes")),
    Case("spoilt compression", compressed_and_spoilt, CHECK, ("image_4.h5", "damaged")),
    Case("no such dataset", lambda p: h5py.File(p.image(4), "w").close(), CHECK,
         ("no dataset 'img'", "an empty file")),
    Case("another dataset", lambda p: p.image(4).write_bytes(p.mask(4).read_bytes()), CHECK,
         ("no dataset 'img'", "found mask")),
    Case("a folder instead", a_folder_instead, CHECK, ("image_4.h5", "missing")),
    Case("a band too few", change(image4, lambda v: v[..., :2]), CHECK,
         ("(16, 16, 2)", "(16, 16, 3)")),
    Case("complex", change(image4, lambda v: v + 1j), CHECK, ("complex128", "a number")),
    Case("NaN", change(image4, lambda v: put(v, np.nan)), CHECK, ("1 values are NaN",)),
    Case("infinity, built", change(image4, lambda v: put(v, -np.inf)), build,
         ("image_4.h5", "1 values are NaN or inf")),
    *(Case(f"elevation in centimetres, {name}", change(image4, lambda v: v * [1, 1, 100]), act,
           ("band dem", "-500 … 9000", "other units", "as released"))
      for name, act in (("checked", CHECK), ("built", build))),
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
    Case("a file for a folder", lambda p: (shutil.rmtree(p.data), p.write("data", "x")), FIT,
         ("no such data folder", "--data")),
    Case("an empty folder", lambda p: (shutil.rmtree(p.data), p.data.mkdir()), CHECK,
         ("no split found", "an empty folder")),
    Case("no folder named", nothing, command("data", "check"), ("no data folder was named",), 2),
    Case("no folder named to fit", nothing, command("fit-all"), ("no data folder was named",), 2),
    Case("a split without patches", lambda p: [f.unlink() for f in
         p.data.glob("TrainData/*/*")], CHECK, ("layout", "no patch; allowed image_N.h5")),
    Case("other folders", lambda p: (p.data / "TrainData").rename(p.data / "training"), FIT,
         ("no split 'train'", "TrainData/img")),
    Case("only other files", lambda p: [f.rename(f.with_suffix(".hdf")) for f in
         (p.data / "TrainData/img").iterdir()], FIT, ("no patch", "image_N.h5")),
    Case("no masks", lambda p: shutil.rmtree(p.data / "TrainData/mask"), CHECK,
         ("no masks, so nothing can be fitted",)),
    Case("a mask missing", lambda p: p.mask(4).unlink(), FIT, ("no mask_4.h5", "1 of 12")),
    Case("an id twice", lambda p: shutil.copy(p.image(4), p.image(4).with_name("image_04.h5")), FIT,
         ("same id", "image_04.h5")),
    Case("synthetic patches in its place", nothing,
         command("data", "synth", "{data}", "--train", "1"), ("place/data", "is not empty")),
    Case("a copy in another split",
         lambda p: shutil.copy(p.image(4), p.data / "ValidData/img/image_1.h5"), CHECK,
         ("same content", "leak")),
]  # fmt: skip

PLACES = [
    Case("a column missing", overwrite(own("data/scenes.csv"), "split,patch\ntrain,1\n"), FIT,
         ("a column is missing", "scenes.csv")),
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
    Case("no file", nothing, FIT_MINE, ("no such config file", "mine.yaml"), 2),
    Case("not YAML", mine("unet: [1"), FIT_MINE, ("not YAML", "mine.yaml"), 2),
    Case("not text", mine(b"\xff\xfe\x00"), FIT_MINE, ("not YAML", "mine.yaml"), 2),
    Case("a list", mine("- 1\n"), FIT_MINE, ("mapping of sections", "list"), 2),
    Case("a key that is a number", mine("1: 2\n"), FIT_MINE, ("1: no such setting",), 2),
    Case("a word misspelt", mine("unet: {epoch: 3}\n"),
         FIT_MINE, ("unet.epoch: no such setting (did you mean epochs?)",), 2),
    Case("it holds itself", mine("unet: &a {width: *a}\n"), FIT_MINE, ("mine.yaml",), 2),
    *(Case(f"--set {text}", nothing, fit("--set", text), says, 2) for text, says in (
        ("unet=3", ("unet = 3",)), ("nothing.at.all=1", ("no such setting",)),
        ("scenes.folds=1", ("scenes.folds = 1", "greater than or equal to 2")),
        ("pixel.trees=many", ("pixel.trees = 'many'",)), ("unet.epochs", ("section.key=value",)),
        ("unet.epochs=[", ("not YAML", "unet.epochs")), ("name=a/b", ("name", "file name")),
    )),
    *(Case(" ".join(words), nothing, fit(*words), says, 2) for words, says in (
        (("--jobs", "0"), ("--jobs", "1")), (("--device", "tpu"), ("no such device", "cuda")),
    )),
    *(Case(" ".join(texts), nothing, scenes(*texts), says, code) for texts, says, code in (
        (("data.holdout={ids: [4, 77]}",), ("data.holdout", "77"), 2),
        (("data.holdout={}",), ("names no tile",), 2),
        (("data.holdout={scene: 9, columns: [0, 1]}",),
         ("no tile lies in data.holdout", "scene 1: columns 0-4"), 2),
        (("data.holdout={scene: 1}",), ("no tile left for fitting",), 1),
        (("scenes.folds=13",), ("too few tiles for 13 spatial folds", "scenes.folds"), 1),
        (("scenes.grid=none", "data.holdout={scene: 1, columns: [0, 1]}"),
         ("places of the tiles are not known",), 2),
    )),
]  # fmt: skip

SENSORS = [
    Case("no sensor", nothing, command("data", "check", "--data", "{data}", "--sensor", "l4"),
         ("no such sensor", "l4s, l4s-rgb"), 2),
    *(Case(name, overwrite(own("sensor.yaml"), text), use_sensor, ("sensor.yaml", says), 2)
      for name, text, says in (
        ("not YAML", "bands: [", "not usable"), ("empty", "", "not usable"),
        ("no bands", "name: x\n", "required"), ("not text", b"\xff\xfe\x00\x01", "not usable"),
        ("a band twice", "name: x\nbands: [{name: a}, {name: a}]\n", "names must be unique"),
        ("a divisor of zero", "name: x\nbands: [{name: a, stored_to_count: 0}]\n", "than 0"),
    )),
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
    Case("masks cut short", cut(lambda p: p.store / "mask/c/0/0/0", 50), read_store,
         ("damaged", "50 bytes")),
    Case("hashes spoilt", overwrite(lambda p: p.store / "content_hash/c/0", b"\x00\x01\x02"),
         read_store, ("damaged",)),
    *(Case(f"{what} is lost", lambda p, what=what: shutil.rmtree(p.store / what), read_store,
           ("damaged",))
      for what in ("image", "image/c", "mask/c", "patch", "patch/c", "content_hash/c")),
]  # fmt: skip

RUNS = [
    *(Case(f"no run, {word}", nothing, command(word, "--run", "{root}/none"), ("no run in this",))
      for word in ("predict", "evaluate", "report")),
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
    *(Case(f"predict {split}", nothing, predict("--split", split), says, code)
      for split, says, code in (
        ("tset", ("no such split", "valid"), 2), ("holdout", ("holds no tiles out",), 2),
        ("test", ("no split 'test'", "TestData"), 1),
    )),
    Case("the patches are gone", lambda p: shutil.rmtree(p.data), predict(),
         ("no such data folder",)),
    Case("no table of folds", lambda p: (p.run / "scenes/patches.csv").unlink(), folds,
         ("table of folds", "patches.csv")),
    Case("a table of other things", overwrite(lambda p: p.run / "scenes/patches.csv", "a,b\n1,2\n"),
         folds, ("table of folds",)),
    Case("a head that is a list", overwrite(lambda p: p.run / "scenes/folds.json", "[]"), folds,
         ("table of folds",)),
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
         edit_json("stack/model.json", lambda v: v["learner"].pop("weight_pixel") * 0 or None),
         stack_model, ("model.json", "learner", "damaged", "fit stack")),
    Case("no pixel model", nothing, pixel_model, ("pixel model cannot be read",)),
    Case("another model", lambda p: write_json(p.run / "pixel/model.json", {"kind": "cat"}),
         pixel_model, ("not a pixel model", "cat")),
    Case("no booster", write_pixel_model, pixel_model, ("fold_0", "booster_0.txt")),
    Case("another booster",
         lambda p: (write_pixel_model(p), p.write("run/pixel/fold_0/booster_0.txt", "tree\n")),
         pixel_model, ("fold_0", "boosters are not those")),
    Case("no U-Net", nothing, unet_model, ("U-Net cannot be read",)),
    Case("weights cut short", write_unet_model, unet_model, ("fold_0/network_0.safetensors",)),
]  # fmt: skip

GROUPS = {
    "files": FILES, "folders": FOLDERS, "places": PLACES, "configs": CONFIGS, "sensors": SENSORS,
    "stores": STORES, "runs": RUNS, "models": MODELS,
}  # fmt: skip
CASES = [(group, case) for group, cases in GROUPS.items() for case in cases]
