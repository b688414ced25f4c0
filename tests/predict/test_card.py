"""The model card: every number is one of the run, and what was not measured is said to be."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from l4s_ensemble.predict.card import model_card, write_card
from l4s_ensemble.predict.card_words import data_licence, limits
from l4s_ensemble.run.files import read_json, write_json

ROW = {
    "f1": 0.6, "f1_low": 0.5, "f1_high": 0.7, "blocks": 9, "precision": 0.6, "recall": 0.6,
    "iou": 0.43, "average_precision": 0.6, "calibration_error": 0.01, "threshold": 0.4,
    "tiles": 12, "adapted_to": None,
}  # fmt: skip
DATA = {
    "split": "train", "sensor": "l4s", "radiometry": "absolute", "patches": 12, "masks": True,
    "landslide_patches": 7, "prevalence": 0.02, "degenerate": [], "synthetic": False,
}  # fmt: skip
SCENES = {
    "grid": "official", "by": "blocks", "folds": 2, "block_tiles": 3,
    "roles": {"fit": 10, "holdout": 2}, "scenes": [{"scene": 1, "tiles": 12, "prevalence": 0.02}],
}  # fmt: skip


def leave(
    run: Path, name: str, summary: dict[str, Any], inputs: tuple[str, ...] = (), digest: str = "1"
) -> None:
    """Leave what a finished stage leaves."""
    made_of = {n: read_json(run / n / "manifest.json")["digest"] for n in inputs}
    sensor = {"bands": [{"name": "B4"}, {"name": "B12"}], "pixel_m": 10.0, "patch_pixels": 128}
    write_json(run / name / "summary.json", summary)
    write_json(
        run / name / "manifest.json",
        {
            "stage": name,
            "digest": digest,
            "seed": 3,
            "seconds": 2.0,
            "started": "2026-01-01",
            "ingredients": {"inputs": made_of, "state": {"sensor": sensor}},
            "versions": {"l4s_ensemble": "9.9"},
            "git": None,
            "platform": "here",
            "config": {"name": "mine", "data": {"root": "/home/me/patches"}},
        },
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    comparison = [{"model": m, **ROW} for m in ("pixel", "unet", "mean", "stack")]
    leave(tmp_path, "data/train", DATA)
    leave(tmp_path, "scenes", SCENES, ("data/train",))
    leave(tmp_path, "unet", {}, ("data/train", "scenes"))
    leave(tmp_path, "stack", {"comparison": comparison, "threshold": 0.4}, ("unet",))
    leave(tmp_path, "data/valid", {**DATA, "split": "valid", "patches": 245})
    leave(
        tmp_path,
        "predict/valid/scores",
        {"comparison": [{**r, "f1": 0.55} for r in comparison], "block_kind": "tile"},
        ("data/valid", "stack"),
    )
    return tmp_path


def row(card: dict[str, Any], split: str) -> dict[str, Any]:
    return next(r for r in card["scores"] if r["split"] == split)


def test_scores_are_those_of_the_run_and_nothing_is_synthetic_for_the_rest(run):
    card = model_card(run)
    assert row(card, "train")["models"][3]["f1"] == 0.6
    valid = row(card, "valid")
    assert valid["measured"] and valid["models"][0]["f1"] == 0.55
    assert valid["not_comparable"] is None
    test = row(card, "test")
    assert not test["measured"] and test["note"] == "not measured" and "models" not in test
    assert (test["on"], test["kind"]) == ("test", "split")  # no tile of it was fitted on
    assert card["thresholds"]["stack"] == 0.4 and card["seed"] == 3
    assert card["protocol"]["tiles"] == {"fit": 10, "holdout": 2}


def test_scores_of_models_that_were_fitted_again_are_not_shown(run):
    leave(run, "unet", {}, ("data/train", "scenes"), digest="2")
    card = model_card(run)
    for split in ("train", "valid"):
        assert not row(card, split)["measured"] and "again" in row(card, split)["why"]
    assert "stack" in card["limits"][0] and "changed since" in card["limits"][0]


def test_the_card_says_what_the_models_do_not_know(run):
    told = " ".join(model_card(run)["limits"])
    assert "scene 1 (12 tiles)" in told and "place never seen" in told
    assert "B12" in told and "coarser" in told
    assert "resample single tiles" in told


def test_a_scene_that_was_set_aside_whole_is_not_one_of_the_fit():
    def told(**fitted: int) -> str:
        scenes = [
            {"scene": 1, "tiles": 12, "fitted_tiles": 10},
            {"scene": 2, "tiles": 5, **fitted},
        ]
        return " ".join(limits({}, {"scenes": scenes}, [], []))

    assert "Fitted on scene 1 (10 tiles). A" in told(fitted_tiles=0)
    assert "Held out whole: scene 2 (5 tiles)" in told(fitted_tiles=0)
    for words in (told(fitted_tiles=4), told()):  # an older run does not say how many
        assert "Held out whole" not in words and "and on tiles held out are" in words


def test_the_card_may_be_shown_to_others(run):
    write_card(run)
    assert "/home/me" not in (run / "model_card.json").read_text()
    card = read_json(run / "model_card.json")
    assert card["licence"]["code"]["name"] == "MIT"
    assert card["licence"]["data"]["name"] == "CC BY 4.0" and "cite" in card["licence"]["data"]
    assert data_licence({"synthetic": True, "sensor": "l4s"})["name"] == "none needed"
    assert data_licence({"sensor": "mine"})["name"] == "that of the patches"


def test_a_run_without_a_stack_has_no_card(tmp_path):
    leave(tmp_path, "data/train", DATA)
    assert write_card(tmp_path) is None and not (tmp_path / "model_card.json").exists()


def test_the_card_needs_no_heavy_import():
    import subprocess

    code = (
        "import sys, l4s_ensemble.predict.card; "
        "print([m for m in ('torch', 'lightgbm', 'sklearn', 'xarray') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
