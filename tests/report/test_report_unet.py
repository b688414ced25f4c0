from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l4s_ensemble.config import build
from l4s_ensemble.metrics.failures import failures
from l4s_ensemble.metrics.reliability import calibration
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.report import words
from l4s_ensemble.report.checks.all import run_checks
from l4s_ensemble.report.figures import makers as figures
from l4s_ensemble.report.pages.unet.page import unet
from l4s_ensemble.report.render import render_report
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.run.files import read_json, write_json
from l4s_ensemble.scenes.folds import load_folds

FEW = build({"report": {"gallery_tiles": 1}})
FIGURES = {
    "pr", "threshold", "reliability", "logits", "progress", "occlusion",
    "f1_where", "sizes", "failures",
}  # fmt: skip
KEYS = ("finite-loss", "settled-loss", "bands-unet")


def hidden(name: str, loss: float, *, whole: bool = False) -> dict[str, Any]:
    return {
        "group": name, "channels": ["B4"], "whole": whole, "f1": 0.6 - loss, "loss": loss,
        "low": loss - 0.02, "high": loss + 0.02,
    }  # fmt: skip


def network(number: int, epochs: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "number": number, "file": f"{number}", "finished": True, "seconds": 9.0,
        "epochs": [
            {**e, "loss": 0.5 + 0.5 / 4 ** e["epoch"], "validation_loss": 0.6, "gradient_norm": 1.0}
            for e in epochs
        ],
    }  # fmt: skip


def enrich(run: Path) -> None:
    """Give a run what the stages write for the page."""
    out, store = run / "unet", run / "data/train/patches.zarr"
    tiles = TileHistograms.load(out / "tiles.npz")
    folds = load_folds(run / "scenes")
    summary = read_json(out / "summary.json")
    threshold = summary["oof"]["threshold"]
    for fold in summary["folds"]:
        fold["networks"] = [network(n, fold["epochs"]) for n in range(2)]
        fold["seconds_score"] = 2.0
    summary |= {
        "networks": 6, "seeds": 2, "loss": "bce+dice", "skipped_steps": 1, "captured": "no stream",
        "calibration": calibration(tiles, folds.of(tiles.patch, "fold")),
        "failures": failures(store, out / "oof.zarr", threshold),
        "logits": {"edges": [-1.0, 0.0, 1.0, 2.0], "landslide": [1, 2, 3], "other": [9, 4, 0]},
    }  # fmt: skip
    write_json(out / "summary.json", summary)
    groups = [
        hidden("all spectral bands", 0.5, whole=True), hidden("visible", 0.2),
        hidden("slope", 0.05), {**hidden("dem", 0.001), "low": None, "high": None},
    ]  # fmt: skip
    put_occlusion(run, groups)


def put_occlusion(run: Path, groups: list[dict[str, Any]]) -> None:
    found = {
        "tiles": 12, "landslide_tiles": 9, "threshold": 0.3, "f1": 0.6, "blocks": 5,
        "groups": groups,
    }  # fmt: skip
    write_json(run / "explain/unet/summary.json", {"occlusion": found, "seconds": 3.0})


@pytest.fixture(scope="module")
def rich_run(whole_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("rich") / "run"
    for part in ("data", "scenes", "pixel", "unet", "stack"):
        shutil.copytree(whole_run / part, run / part)
    enrich(run)
    return run


@pytest.fixture(scope="module")
def rich_report(rich_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render_report(rich_run, tmp_path_factory.mktemp("report") / "out", FEW).parent


def changed(run: Path, folder: Path, **keys: Any) -> RunSource:
    """The U-Net's summary alone, with other values; None takes a key away."""
    new = folder / "run"
    shutil.copytree(run / "unet", new / "unet", ignore=shutil.ignore_patterns("*.zarr"))
    summary = {**read_json(new / "unet/summary.json"), **keys}
    write_json(new / "unet/summary.json", {k: v for k, v in summary.items() if v is not None})
    return RunSource(new)


def levels(source: RunSource) -> dict[str, str]:
    told = run_checks(source)
    assert all(c["explanation"].endswith(".") for c in told)
    return {c["key"]: c["level"] for c in told if c["key"] in KEYS}


def test_page_has_every_part(rich_report: Path) -> None:
    twin = read_json(rich_report / "unet.json")
    text = re.sub(r"\s+", " ", (rich_report / "unet.html").read_text(encoding="utf-8"))
    assert set(twin["figures"]) == FIGURES
    assert set(twin["tables"]) == {"folds", "calibration", "cost"}
    for one in twin["figures"].values():
        assert one["title"] in text.replace("&#39;", "'") and len(one["read"]) > 60
    for section in twin["sections"]:
        assert f'id="{section["id"]}"' in text
    assert twin["gallery"]["tiles"] and twin["missing"] == [] and "Not run yet" not in text
    assert "the mean of 2 seeds for each of 3 spatial folds" in twin["lead"]
    facts = {f["label"]: f["value"] for f in twin["facts"]}
    assert facts["steps captured as a CUDA graph"] == "no stream"
    assert facts["steps skipped: gradient not finite"] == 1


def test_every_axis_of_every_figure_is_named(rich_report: Path) -> None:
    twin = read_json(rich_report / "unet.json")
    for key, spec in twin["figures"].items():
        for plot in figures.plot(spec)["plots"]:
            named = [plot["layout"][a]["title"]["text"] for a in ("xaxis", "yaxis")]
            assert any(named), key
            assert named[0] or "category" in str(plot["layout"]["xaxis"]), key
        json.dumps(figures.plot(spec), allow_nan=False)


def test_progress_has_a_line_for_each_network(rich_report: Path) -> None:
    twin = read_json(rich_report / "unet.json")
    plots = figures.plot(twin["figures"]["progress"])["plots"]
    assert [p["label"] for p in plots] == [
        "loss", "validation loss", "learning rate", "gradient", "time",
    ]  # fmt: skip
    names = [line["name"] for line in plots[0]["data"]]
    assert names[:2] == ["fold 0", "fold 0, network 1"] and len(names) == 6
    first, second = plots[0]["data"][:2]
    assert first["line"]["color"] == second["line"]["color"]
    assert first["line"]["dash"] != second["line"]["dash"]
    assert first["x"] == list(range(1, 7))


def test_bars_of_occlusion_carry_their_intervals(rich_report: Path) -> None:
    twin = read_json(rich_report / "unet.json")
    bars = figures.plot(twin["figures"]["occlusion"])["plots"][0]["data"][0]
    assert bars["y"] == ["dem", "slope", "visible", "all spectral bands"]
    np.testing.assert_allclose(bars["error_x"]["array"], [0, 0.02, 0.02, 0.02])
    np.testing.assert_allclose(bars["error_x"]["arrayminus"], [0, 0.02, 0.02, 0.02])
    assert bars["customdata"][0][1] == "unknown"


def test_cost_adds_up(rich_report: Path) -> None:
    rows = {r["what"]: r for r in read_json(rich_report / "unet.json")["tables"]["cost"]["rows"]}
    # Three folds of two networks and six epochs of 3 s each.
    assert rows["training, all folds"]["value"] == words.seconds(108)
    assert "most memory on the GPU" not in rows


def test_checks_of_a_good_run_and_of_others(rich_run: Path, tmp_path: Path) -> None:
    told = levels(RunSource(rich_run))
    assert told == {"finite-loss": "passed", "settled-loss": "passed", "bands-unet": "tip"}
    worse = read_json(rich_run / "unet/summary.json")["folds"]
    for e in (e for fold in worse for n in fold["networks"] for e in n["epochs"]):
        e["loss"] = 1 - 0.1 * e["epoch"]
    worse[1]["networks"][1]["epochs"][2]["loss"] = None
    changed(rich_run, tmp_path, folds=worse)
    put_occlusion(tmp_path / "run", [hidden("visible", 0.2), hidden("slope", 0.05)])
    told = levels(RunSource(tmp_path / "run"))
    assert told == {"finite-loss": "issue", "settled-loss": "tip", "bands-unet": "passed"}


def test_runs_have_what_they_know_and_say_what_not(whole_run: Path) -> None:
    source = RunSource(whole_run)
    page = unet(source)
    assert set(page["figures"]) == {"pr", "threshold", "reliability", "progress"}
    assert set(page["tables"]) == {"folds", "cost"}
    assert [m["command"].split(" --run")[0] for m in page["missing"]] == [
        "l4s-ensemble fit unet", "l4s-ensemble fit stack",
    ]  # fmt: skip
    assert set(levels(source)) == {"finite-loss", "settled-loss"}
