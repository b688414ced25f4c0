"""``--adapt`` on the true command line, over synthetic HDF5 in the true layout."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from test_cli import SMALL, command

from l4s_ensemble.cli import console
from l4s_ensemble.config import load
from l4s_ensemble.errors import ConfigError
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.run.stage import Stage
from l4s_ensemble.sources.synth import make_dataset
from l4s_ensemble.stack.comparison import MODELS, compare
from l4s_ensemble.stages import fit_stages

TINY = [
    *SMALL, "--set", "unet.epochs=1", "--set", "report.occlusion=false", "--set", "unet.width=4",
    "--set", "unet.depth=2",
]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with synthetic patches and a U-Net that was adapted to their valid split."""
    folder = tmp_path_factory.mktemp("user")
    make_dataset(folder / "patches", train=24, valid=2)
    words = ["--config", "demo", "--data", "patches", *TINY, "--adapt", "valid"]
    done = command("fit", "unet", *words, cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "told.txt").write_text(done.stdout)
    return folder


def test_the_run_says_that_its_scores_are_a_row_of_their_own(place):
    assert re.match(r"unet, adapted to valid: F1 0\.\d+", (place / "told.txt").read_text())
    folder = place / "runs/default/unet"
    made_of = json.loads((folder / "manifest.json").read_text())["ingredients"]
    assert made_of["params"] == {"adapt": "valid"} and "adapt/valid" in made_of["inputs"]
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["adapt"]["row"] == "adapted to valid" and summary["adapt"]["tiles"] == 2


def test_rows_of_a_comparison_that_the_unet_has_a_part_in_name_the_split(capsys):
    ids = np.arange(4)
    tiles = {name: TileHistograms.empty(ids, 100) for name in MODELS}
    rng = np.random.default_rng(0)
    for scored in tiles.values():
        for i in ids:
            scored.add(int(i), rng.random((8, 8)), rng.integers(0, 2, (8, 8)))
    console.comparison("", compare(tiles, ids, adapted_to="valid"))
    told = capsys.readouterr().out
    for name in ("pixel", "unet, adapted to valid", "stack, adapted to valid"):
        assert re.search(rf"^\s*{name}\s+0\.\d+", told, re.M)
    console.comparison("", compare(tiles, ids))
    assert "adapted" not in capsys.readouterr().out


def stages(root: Path, adapt: str | None = "valid") -> dict[str, Stage]:
    config = load("demo")
    return {s.name: s for s in fit_stages(config, root, adapt)}


def test_changed_images_mean_a_new_fit_and_changed_masks_do_not(place, tmp_path):
    root = shutil.copytree(place / "patches", tmp_path / "patches")
    before = stages(root)
    assert before["unet"].needs == ("data/train", "scenes", "adapt/valid")
    with h5py.File(root / "ValidData/mask/mask_1.h5", "r+") as file:
        file["mask"][...] = 1 - file["mask"][()]
    assert stages(root)["adapt/valid"] == before["adapt/valid"]
    with h5py.File(root / "ValidData/img/image_1.h5", "r+") as file:
        file["img"][0, 0, 0] += 1
    assert stages(root)["adapt/valid"] != before["adapt/valid"]
    assert "adapt/valid" not in stages(root, None) and not stages(root, None)["unet"].params


def test_the_store_that_is_adapted_to_holds_no_masks(place):
    store = place / "runs/default/adapt/valid/patches.zarr"
    assert (store / "image").is_dir() and not (store / "mask").exists()


@pytest.mark.parametrize(
    ("split", "says"), [("train", "no such split to adapt to"), ("holdout", "holds no tiles out")]
)
def test_what_cannot_be_adapted_to_is_refused(place, split, says):
    with pytest.raises(ConfigError, match=says):
        fit_stages(load("demo"), place / "patches", split)
