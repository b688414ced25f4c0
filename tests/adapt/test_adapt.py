"""Adaptation to labelled tiles, by the command."""

from __future__ import annotations

import html
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from l4s_ensemble.adapt import adaptation
from l4s_ensemble.adapt.adaptation import groups_of
from l4s_ensemble.adapt.run import adapt_to_masks, judge
from l4s_ensemble.adapt.summary import UNKNOWN_PLACES, AdaptationSummary, ModelChange
from l4s_ensemble.data.patches import open_patches
from l4s_ensemble.errors import DataError, RunError
from l4s_ensemble.predict.ensemble import Ensemble
from l4s_ensemble.report.render import render_report
from l4s_ensemble.run.files import read_json

SCRIPT = """
import sys
from l4s_ensemble.adapt import adaptation
from l4s_ensemble.cli.app import main
adaptation.STEPS = 6
sys.argv[0] = "l4s-ensemble"
main()
"""


def command(*words: object) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, words), "--jobs", "1"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def place(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tiny run beside the labels of the valid tiles, and their adapted run."""
    folder = tmp_path_factory.mktemp("adapt")
    shutil.copytree(tiny_run, folder / "run")
    valid = tiny_run.parent / "data/ValidData/mask"
    shutil.copytree(valid, folder / "labels")
    done = command(
        "adapt",
        "--labels",
        folder / "labels",
        "--run",
        folder / "run",
        "--out",
        folder / "new",
        "--anyway",
        "--curve",
        2,
    )
    assert done.returncode == 0, done.stderr
    (folder / "said").write_text(done.stdout)
    return folder


def test_the_run_stays_and_the_adapted_one_says_where_it_came_from(
    place: Path, tiny_run: Path
) -> None:
    for path in ("pixel/fold_0/booster_0.txt", "stack/model.json", "stack/summary.json"):
        assert (place / "run" / path).read_bytes() == (tiny_run / path).read_bytes()
        assert (place / "new" / path).read_bytes() != (tiny_run / path).read_bytes()
    summary = AdaptationSummary.model_validate(read_json(place / "new/adapt/summary.json"))
    assert summary.base == str(place / "run") and summary.in_use and summary.split == "valid"
    assert {r.patch for r in summary.tiles} == {1, 2, 3, 4}
    assert summary.reason in (place / "said").read_text()
    assert len(summary.gain_of_groups) >= 2 and summary.block_kind == "spatial"
    for name, digest in summary.base_digests.items():
        manifest = read_json(place / "new" / name / "manifest.json")
        assert manifest["adapted"]["base_digest"] == digest
        assert manifest["adapted"]["labels_digest"] == summary.labels_digest
        assert "adapted" not in read_json(place / "run" / name / "manifest.json")
    card = read_json(place / "new/model_card.json")
    assert card["adapted"]["base"] == summary.base and "4 labelled tiles" in card["limits"][0]
    assert read_json(place / "run/model_card.json").get("adapted") is None
    stack = summary.models[-1]
    assert stack.gain == pytest.approx(stack.f1_after - stack.f1_before)


def test_the_adapted_run_predicts_with_the_adapted_models(place: Path) -> None:
    done = command("predict", "--run", place / "new")
    assert done.returncode == 0, done.stderr
    found = read_json(place / "new/predict/valid/result/summary.json")
    summary = read_json(place / "new/adapt/summary.json")
    threshold = {m["model"]: m["threshold_after"] for m in summary["models"]}
    assert found["threshold"] == threshold["stack"]
    ensemble = Ensemble.load(place / "new")
    assert ensemble.stack.learner_.weight_pixel == summary["weight_pixel_after"]


def test_the_curve_has_a_point_for_each_number_of_tiles_and_draw(place: Path) -> None:
    summary = AdaptationSummary.model_validate(read_json(place / "new/adapt/summary.json"))
    assert [p.tiles for p in summary.curve] == [0, 3]
    assert all(len(p.average_precision) == 2 and 0 < p.mean <= 1 for p in summary.curve)


def test_an_exported_run_is_adapted_in_memory(
    place: Path, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adaptation, "STEPS", 6)
    ensemble = Ensemble.load(Ensemble.load(place / "run").export(tmp_path / "run.zip"))
    tiles = open_patches(tiny_run.parent / "data", "valid")
    masks = tiles["mask"].values
    found = adapt_to_masks(ensemble, tiles, masks, tmp_path / "new", anyway=True)
    by_command = AdaptationSummary.model_validate(read_json(place / "new/adapt/summary.json"))
    assert found.labels_digest == by_command.labels_digest and found.split is None
    adapted = Ensemble.load(tmp_path / "new")
    assert adapted.stack.learner_.weight_pixel == found.weight_pixel_after
    change = adapted.predict(tiles)["probability"] - ensemble.predict(tiles)["probability"]
    assert abs(change).max() > 0.01
    masks[0] = 255
    with pytest.raises(RunError, match="exists"):
        adapt_to_masks(ensemble, tiles, masks, tmp_path / "new")
    masks[1, 0, 0] = 3
    with pytest.raises(DataError, match="not masks"):
        adapt_to_masks(ensemble, tiles, masks, tmp_path / "other")


def test_labels_of_other_tiles_and_a_folder_in_the_way_lose_nothing(
    place: Path, tmp_path: Path
) -> None:
    labels = tmp_path / "labels"
    labels.mkdir()
    shutil.copyfile(place / "labels/mask_1.h5", labels / "mask_999.h5")
    words = ("adapt", "--run", place / "run", "--labels", labels)
    done = command(*words, "--out", tmp_path / "new")
    assert done.returncode == 1 and "999" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "new").exists()
    done = command(
        "adapt", "--run", place / "run", "--labels", place / "labels", "--out", place / "new"
    )
    assert done.returncode == 1 and "exists" in done.stderr
    assert (place / "new/adapt/summary.json").is_file()


def test_groups_hold_whole_blocks_and_landslides(rng: np.random.Generator) -> None:
    blocks = np.repeat(np.arange(9), 3)
    mask = np.zeros((27, 8, 8), np.uint8)
    mask[6:, :2] = 1
    group = groups_of(blocks, mask)
    assert group.max() == adaptation.GROUPS - 1
    for block in range(9):
        assert len(set(group[blocks == block])) == 1
    assert all(mask[group == k].any() for k in range(adaptation.GROUPS))
    assert sorted(groups_of(np.zeros(4, int), mask[-4:]).tolist()) == [0, 1, 2, 3]
    with pytest.raises(DataError, match="too few"):
        groups_of(np.arange(7), mask[:7])


def change(low: float | None, high: float | None) -> ModelChange:
    return ModelChange.model_validate(
        json.loads(
            json.dumps(
                {
                    "model": "stack",
                    "f1_before": 0.5,
                    "f1_after": 0.6,
                    "gain": 0.1,
                    "low": low,
                    "high": high,
                    "blocks": 4 if low is None else 12,
                    "average_precision_before": 0.5,
                    "average_precision_after": 0.6,
                    "threshold_before": 0.4,
                    "threshold_after": 0.5,
                }
            )
        )
    )


@pytest.mark.parametrize(
    ("low", "high", "gains", "helps"),
    [
        (0.01, 0.2, [0.1, 0.1], True),
        (-0.01, 0.2, [0.1, 0.1], False),
        (None, None, [0.1, 0.1, -0.1], True),
        (None, None, [0.1, -0.1, -0.1], False),
        (None, None, [0.1], False),
    ],
)
def test_a_gain_must_be_shown(
    low: float | None, high: float | None, gains: list[float], helps: bool
) -> None:
    found, reason = judge(change(low, high), gains)
    assert found is helps
    assert ("interval" in reason) == (low is None) and "0.600" in reason
    assert judge(change(low, high), gains, spatial=False) == (
        helps,
        f"{reason.replace('spatial blocks', 'tiles')}; {UNKNOWN_PLACES}",
    )


def test_the_report_has_a_page_of_the_adaptation(place: Path, tmp_path: Path) -> None:
    render_report(place / "new", tmp_path / "report")
    text = (tmp_path / "report/adaptation.html").read_text()
    summary = AdaptationSummary.model_validate(read_json(place / "new/adapt/summary.json"))
    assert summary.reason[1:] in html.unescape(text)
    for row in summary.tiles:
        for layer in ("colour.webp", "reference.png", "before.png", "after.png"):
            assert f"assets/tiles/adapt-{row.patch}-{layer}" in text
            assert (tmp_path / f"report/assets/tiles/adapt-{row.patch}-{layer}").is_file()
    assert "What more labels bring" in text
    assert f"Fitted by the run {place / 'run'}" in (tmp_path / "report/unet.html").read_text()
    assert "adaptation.html" in (tmp_path / "report/index.html").read_text()
