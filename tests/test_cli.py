"""The true command line over synthetic HDF5 in the true layout, as its user runs it."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

import l4s_ensemble as l4s

SMALL = [
    "--set", "pixel.trees=20", "--set", "pixel.leaves=15", "--set", "unet.epochs=2",
    "--set", "unet.width=8", "--set", "scenes.folds=2", "--set", "scenes.block_tiles=3",
]  # fmt: skip


def command(*words: object, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run ``l4s-ensemble`` in a process of its own, in a folder of its own."""
    return subprocess.run(
        [sys.executable, "-m", "l4s_ensemble", *map(str, words)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        env={**{k: v for k, v in os.environ.items() if not k.startswith("L4S_")}, **env},
    )


@pytest.fixture(scope="module")
def place(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with patches and a fitted run where the command line looks for them."""
    folder = tmp_path_factory.mktemp("user")
    shutil.copytree(tiny_run.parent / "data", folder / "patches")
    shutil.copytree(tiny_run, folder / "runs/default")
    return folder


def test_help_answers_quickly_and_names_every_command(tmp_path):
    done = command("--help", cwd=tmp_path)
    assert done.returncode == 0
    for word in ("demo", "doctor", "features", "fit-all", "predict", "evaluate", "report", "data"):
        assert word in done.stdout


def test_help_imports_nothing_heavy(tmp_path):
    code = (
        "import sys; from l4s_ensemble import cli; "
        "print([m for m in ('torch','lightgbm','sklearn','xarray','scipy','plotly') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_fit_all_prints_the_comparison_and_skips_what_is_done(place):
    again = command("fit-all", cwd=place)
    assert again.returncode == 0, again.stderr
    for model in ("pixel", "unet", "mean", "stack"):
        assert re.search(rf"^\s*{model}\s+0\.\d+", again.stdout, re.M)
    assert "nothing: all was up to date" in again.stdout
    assert again.stderr.count("unchanged, skipped") == 7


def test_only_what_depends_on_a_setting_is_fitted_again(place):
    done = command("fit-all", "--set", "stack.calibrate=none", cwd=place)
    assert done.returncode == 0, done.stderr
    assert re.search(r"fitted stack$", done.stdout, re.M)
    assert "sections.stack.calibrate" in done.stderr


def test_features_says_what_tells_most(place):
    done = command("features", "--full", cwd=place)
    assert done.returncode == 0, done.stderr
    assert (place / "runs/default/features/full.zarr").is_dir()
    assert re.search(r"\d+ features", done.stdout) and "AUC" in done.stdout


def test_predict_writes_a_submission_in_the_official_form(place):
    done = command("predict", "--split", "valid", "--out", "masks", cwd=place)
    assert done.returncode == 0, done.stderr
    names = sorted(p.name for p in (place / "masks").iterdir())
    assert names == ["mask_1.h5", "mask_2.h5", "mask_3.h5", "mask_4.h5", "submission.zip"]
    with h5py.File(place / "masks/mask_3.h5") as file:
        mask = file["mask"][()]
    assert mask.shape == (128, 128) and mask.dtype == np.uint8 and set(np.unique(mask)) <= {0, 1}
    with zipfile.ZipFile(place / "masks/submission.zip") as zipped:
        assert len(zipped.namelist()) == 4
    assert "read back and verified" in done.stdout


def test_evaluate_scores_at_the_threshold_that_was_chosen_out_of_fold(place):
    done = command("evaluate", "--split", "valid", "--json", "--quiet", cwd=place)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    fitted = json.loads((place / "runs/default/stack/summary.json").read_text())
    assert told["threshold"] == fitted["threshold"]
    stack = next(row for row in told["comparison"] if row["model"] == "stack")
    masks = np.stack([_mask(place / "patches/ValidData/mask", n) for n in (1, 2, 3, 4)])
    folder = place / "runs/default/predict/valid/result/masks"
    found = np.stack([_mask(folder, n) for n in (1, 2, 3, 4)])
    assert stack["f1"] == pytest.approx(l4s.score(found, masks)["f1"])


def test_predicted_landslides_are_listed_and_the_card_tells_what_was_measured(place):
    done = command("predict", "--split", "valid", cwd=place)
    assert done.returncode == 0, done.stderr
    folder = place / "runs/default/predict/valid"
    told = json.loads((folder / "landslides/landslides.json").read_text())
    summary = json.loads((folder / "result/summary.json").read_text())
    assert sum(s["pixels"] for s in told["landslides"]) == summary["predicted_pixels"]
    assert sum(summary["histogram"]) == summary["patches"] * 128 * 128
    with (folder / "landslides/landslides.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [r["pixels"] for r in rows] == [str(s["pixels"]) for s in told["landslides"]]
    assert f"{len(rows)} landslides" in done.stdout
    card = json.loads((place / "runs/default/model_card.json").read_text())
    measured = {s["split"]: s["measured"] for s in card["scores"]}
    assert measured["train"] and not measured["test"]


def test_tiles_of_a_place_unlike_the_training_are_told_apart(place):
    """Twice the light and half of it is a place whose like no score was measured on."""
    done = command("predict", "--split", "valid", cwd=place)
    assert "every tile is like some of training" in done.stdout
    before = (place / "runs/default/predict/valid/result/submission.zip").read_bytes()
    shutil.copytree(place / "patches/ValidData", place / "elsewhere/ValidData")
    for n, factor in ((1, 2.0), (2, 0.5)):
        with h5py.File(place / f"elsewhere/ValidData/img/image_{n}.h5", "r+") as file:
            file["img"][..., :12] *= factor
    done = command("predict", "--split", "valid", "--data", "elsewhere", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "2 of 4 tiles are unlike all of training" in done.stdout
    assert (place / "runs/default/predict/valid/result/submission.zip").read_bytes() == before
    table = Path(re.search(r"^applicability +(.*/tiles.csv)", done.stdout, re.M)[1])
    with (place / table).open(newline="", encoding="utf-8") as file:
        rows = {int(r["patch"]): r["inside_applicability"] for r in csv.DictReader(file)}
    assert rows == {1: "0", 2: "0", 3: "1", 4: "1"}
    listed = (place / table).parent.parent / "landslides/landslides.csv"
    with listed.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            known = {rows[int(tile)] for tile in row["tiles"].split(";")} == {"1"}
            assert row["inside_applicability"] == str(known).lower()


def test_a_fast_prediction_stands_beside_the_full_one(place):
    run = place / "runs/default"
    full = (run / "predict/valid/scores/summary.json").read_bytes()
    done = command("evaluate", "--split", "valid", "--fast", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "fast        the models of one fold" in done.stdout
    assert json.loads((run / "fast/valid/result/summary.json").read_text())["fold_models"] == 1
    assert (run / "fast/valid/scores/summary.json").is_file()
    assert (run / "predict/valid/scores/summary.json").read_bytes() == full


def test_the_report_opens_offline(place):
    done = command("report", cwd=place)
    assert done.returncode == 0, done.stderr
    pages = sorted(p.name for p in (place / "reports/default").glob("*.html"))
    assert {"index.html", "data.html", "features.html", "pixel.html", "stack.html"} <= set(pages)
    for page in (place / "reports/default").glob("*.html"):
        assert not re.search(r"""(src|href)=["']https?:""", page.read_text())


def test_the_lines_of_the_readme_work_in_a_notebook(place, monkeypatch):
    monkeypatch.chdir(place)
    patches = l4s.open_patches("patches", "valid")
    features = l4s.features_of(patches.isel(patch=[0]))
    assert features.dims == ("patch", "feature", "y", "x") and np.isfinite(features.values).all()
    found = l4s.Ensemble.load("runs/default").predict(patches)
    assert l4s.score(found["mask"], patches["mask"])["f1"] >= 0
    assert found["probability"].shape == patches["mask"].shape


def test_the_check_is_kept_for_the_report_and_names_every_fault(place):
    (place / "patches/ValidData/mask/mask_2.h5").rename(place / "aside.h5")
    try:
        done = command("data", "check", "--data", "patches", "--run", "runs/default", cwd=place)
    finally:
        (place / "aside.h5").rename(place / "patches/ValidData/mask/mask_2.h5")
    assert done.returncode == 1 and "pair" in done.stdout
    kept = json.loads((place / "runs/default/data/check.json").read_text())
    errors = [f["code"] for f in kept["faults"] if f["level"] == "error"]
    assert errors == ["pair"]


def test_scenes_are_found_from_the_pixels(tmp_path):
    made = command("data", "synth", "made", "--train", 24, "--valid", 0, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    done = command("data", "scenes", "--data", "made", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["tiles"] == 24 and told["placed"] >= 22


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["fit-all", "--data", "nowhere"], 1, "nowhere"),
        (["data", "fetch", "l4s", "--url", "https://127.0.0.1:9/none"], 1, "cannot be reached"),
        (["report", "--compare", "nowhere"], 2, "requires 2 arguments"),
        (["no-such-command"], 2, "No such command"),
    ],
)
def test_a_users_mistake_ends_in_a_message(tmp_path, words, code, says):
    """In a process of its own; `test_damage` has the other mistakes."""
    done = command(*words, cwd=tmp_path)
    assert done.returncode == code, done.stdout + done.stderr
    assert says in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("runs/*/stack"))


def _mask(folder: Path, number: int) -> np.ndarray:
    with h5py.File(folder / f"mask_{number}.h5") as file:
        return np.asarray(file["mask"][()])
