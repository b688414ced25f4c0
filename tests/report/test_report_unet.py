from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from l4s_ensemble.config import build
from l4s_ensemble.metrics.failures import failures
from l4s_ensemble.metrics.reliability import calibration
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.report import words
from l4s_ensemble.report.checks.all import run_checks
from l4s_ensemble.report.figures import makers as figures
from l4s_ensemble.report.pages.unet.page import unet
from l4s_ensemble.report.pictures import unet as unet_maps
from l4s_ensemble.report.render import render_report
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.run.files import read_json, write_json
from l4s_ensemble.scenes.folds import load_folds
from l4s_ensemble.stack.agreement import agreement_where

FEW = build({"report": {"gallery_tiles": 1}})
NEW = (
    "occlusion", "attribution", "receptive_field", "failures", "calibration", "logits", "memory",
    "seeds_alone", "seconds_explain",
)  # fmt: skip
FIGURES = {
    "pr", "threshold", "reliability", "correction", "logits", "progress", "occlusion", "field",
    "beside", "f1_where", "sizes", "rims", "failures",
}  # fmt: skip
KEYS = ("finite-loss", "settled-loss", "inner-unet", "seeds-unet", "bands-unet", "reach-unet")


def hidden(name: str, loss: float, *, whole: bool = False) -> dict[str, Any]:
    way = {"f1": 0.6 - loss, "loss": loss, "low": loss - 0.02, "high": loss + 0.02}
    return {"group": name, "channels": ["B4"], "whole": whole, "mean": way, "swap": way}


def network(number: int, epochs: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "number": number, "file": f"{number}", "finished": True, "best_epoch": 2, "seconds": 9.0,
        "epochs": [
            {**e, "loss": 0.5 + 0.5 / 4 ** e["epoch"], "inner_f1": 0.6, "seconds_batches": 0.5,
             "seconds_network": 2.0, "seconds_optimiser": 0.2, "seconds_watch": 0.3}
            for e in epochs
        ],
    }  # fmt: skip


def enrich(run: Path) -> None:
    """Give a run what the stages write for the page."""
    rng = np.random.default_rng(7)
    out, store = run / "unet", run / "data/train/patches.zarr"
    tiles = TileHistograms.load(out / "tiles.npz")
    folds = load_folds(run / "scenes")
    summary = read_json(out / "summary.json")
    threshold = summary["oof"]["threshold"]
    for fold in summary["folds"]:
        fold["networks"] = [network(n, fold["epochs"]) for n in range(2)]
        fold["inner"] = {"f1": fold["f1"] + 0.02, "threshold": 0.4}
        fold["seconds_score"] = 2.0
    summary |= {
        "networks": 6, "seeds": 2, "loss": "bce+dice", "checkpoint": "inner",
        "calibration": calibration(tiles, folds.of(tiles.patch, "fold")),
        "failures": failures(store, out / "oof.zarr", threshold),
        "occlusion": {
            "tiles": 12, "landslide_tiles": 9, "networks": 2, "threshold": threshold, "f1": 0.6,
            "blocks": 5, "groups": [
                hidden("all light together", 0.5, whole=True), hidden("visible", 0.2),
                hidden("slope", 0.05), hidden("elevation", 0.001),
            ],
        },
        "receptive_field": {
            "tiles": 8, "pixel_m": 10.0, "radius_50_px": 3.4, "radius_90_px": 9.0,
            "radius_px": list(range(20)), "share": np.linspace(0, 1, 20).tolist(), "reach_px": 63,
        },
        "logits": {"edges": [-1.0, 0.0, 1.0, 2.0], "landslide": [1, 2, 3], "other": [9, 4, 0]},
        "memory": {
            "networks": 6, "parameters": 1234, "bytes_networks": 6000, "bytes_tiles": 7e6,
            "bytes_peak": None,
        },
        "seeds_alone": {"tiles": 12, "f1": [0.6, 0.61], "together": 0.62},
        "seconds_explain": {"occlusion": 3.0, "failures": 1.0},
    }  # fmt: skip
    rows, region = [], np.zeros((2, 128, 128), bool)
    region[:, 20:40, 30:60] = True
    for n, kind in enumerate(("median", "false")):
        rows.append(
            {
                "patch": int(tiles.patch[n]), "kind": kind, "fold": 0, "f1": 0.5, "tp": 10, "fp": 5,
                "fn": 5, "region_px": 600, "start": -5.0, "logit": 2.0, "gap": 0.0,
                "groups": [{"group": "visible", "sum": 6.0, "inside": 0.7},
                           {"group": "slope", "sum": 1.0, "inside": None}],
            }
        )  # fmt: skip
    summary["attribution"] = {"steps": 32, "tiles": rows}
    write_json(out / "summary.json", summary)
    np.savez(
        out / unet_maps.FILE, patch=[r["patch"] for r in rows], groups=["visible", "slope"],
        by_group=rng.normal(size=(2, 2, 128, 128)).astype(np.float32), region=region,
    )  # fmt: skip
    stack = read_json(run / "stack/summary.json")
    stack["agreement_where"] = agreement_where(
        store, run / "pixel/oof.zarr", out / "oof.zarr", (0.3, 0.3)
    )
    write_json(run / "stack/summary.json", stack)


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
    assert set(twin["tables"]) == {"folds", "calibration", "beside_size", "beside_rim", "cost"}
    for one in twin["figures"].values():
        assert one["title"] in text.replace("&#39;", "'") and len(one["read"]) > 60
    for section in twin["sections"]:
        assert f'id="{section["id"]}"' in text
    assert twin["gallery"]["tiles"] and twin["missing"] == [] and "Not run yet" not in text
    assert "the mean of 2 seeds for each of 3 spatial folds" in twin["lead"]
    assert "starts at −5.00; visible +6.00, slope +1.00." in text


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
        "loss", "F1 of the inner block", "learning rate", "time", "speed",
    ]  # fmt: skip
    names = [line["name"] for line in plots[0]["data"]]
    assert names[:2] == ["fold 0", "fold 0, network 1"] and len(names) == 6
    first, second = plots[0]["data"][:2]
    assert first["line"]["color"] == second["line"]["color"]
    assert first["line"]["dash"] != second["line"]["dash"]
    assert first["x"] == list(range(1, 7))


def test_bars_of_occlusion_carry_their_intervals(rich_report: Path) -> None:
    twin = read_json(rich_report / "unet.json")
    plot = figures.plot(twin["figures"]["occlusion"])["plots"][0]
    assert len(plot["data"]) == 2
    for bars in plot["data"]:
        assert bars["y"][-1] == "all light together"
        np.testing.assert_allclose(bars["error_x"]["array"], 0.02)
        np.testing.assert_allclose(bars["error_x"]["arrayminus"], 0.02)
    row = {**hidden("slope", 0.1), "mean": {"f1": 0.5, "loss": 0.1, "low": None, "high": None}}
    data = {"rows": [{"name": "slope", "channels": "slope", **row}]}
    bars = figures.plot({"kind": "occlusion", "data": data})["plots"][0]["data"][1]
    assert bars["error_x"]["array"] == [0.0] and bars["customdata"][0][1] == "unknown"


def test_who_finds_what_adds_up(rich_report: Path, rich_run: Path) -> None:
    tables = read_json(rich_report / "unet.json")["tables"]
    counted = read_json(rich_run / "stack/summary.json")["agreement_where"]
    assert len(tables["beside_size"]["rows"]) == len(counted["size"])
    for name in ("beside_size", "beside_rim"):
        for row in tables[name]["rows"]:
            shares = [row[k] for k in ("only_unet", "only_pixel", "both_right", "both_wrong")]
            assert row["pixels"] == 0 or sum(shares) == pytest.approx(1, abs=1e-4)
    rows = tables["beside_rim"]["rows"]
    assert [r["bin"] for r in rows[5:7]] == ["≤ 1 inside", "≤ 1 outside"]
    assert rows[-1]["bin"] == "no landslide in the tile"
    whole = sum(r["pixels"] for r in tables["beside_size"]["rows"])
    assert sum(r["pixels"] for r in rows[:6]) == whole


def test_maps_are_files_with_words(rich_report: Path) -> None:
    maps = read_json(rich_report / "unet.json")["attribution"]
    assert len(maps["tiles"]) == 2
    for tile in maps["tiles"]:
        assert [p["name"] for p in tile["first"]] == ["true colour", "probability", "errors"]
        assert {p["name"] for p in tile["groups"]} == {"visible", "slope"}
        assert tile["ticks"][0] == -tile["ticks"][-1] and tile["ticks"][2] == 0
        for p in [*tile["first"], *tile["groups"]]:
            assert p["alt"] and (rich_report / p["file"]).is_file()
        with Image.open(rich_report / tile["groups"][0]["file"]) as picture:
            assert picture.size == (256, 256)


def test_cost_tells_parts_that_epochs_tell(rich_report: Path) -> None:
    rows = {r["what"]: r for r in read_json(rich_report / "unet.json")["tables"]["cost"]["rows"]}
    # Three folds of two networks and six epochs of 3 s each.
    assert rows["training, all folds"]["value"] == words.seconds(108)
    assert rows["of it: forward and backward passes"]["about"] == "66.7\u202f%"
    assert "most memory on the GPU" not in rows


def test_checks_of_a_good_run_and_of_others(rich_run: Path, tmp_path: Path) -> None:
    told = levels(RunSource(rich_run))
    assert told == {
        "finite-loss": "passed", "settled-loss": "passed", "inner-unet": "passed",
        "seeds-unet": "passed", "bands-unet": "tip", "reach-unet": "passed",
    }  # fmt: skip
    summary = read_json(rich_run / "unet/summary.json")
    worse = json.loads(json.dumps(summary["folds"]))
    for fold in worse:
        fold["inner"]["f1"] = fold["f1"] + 0.3
        for n in fold["networks"]:
            for e in n["epochs"]:
                e["loss"] = 1 - 0.1 * e["epoch"]
    worse[1]["networks"][1]["epochs"][2]["loss"] = None
    groups = [hidden("visible", 0.2), hidden("slope", 0.05)]
    told = levels(
        changed(
            rich_run, tmp_path, folds=worse, seeds_alone={"tiles": 9, "f1": [0.5, 0.6],
            "together": 0.6}, occlusion={**summary["occlusion"], "groups": groups},
            receptive_field={**summary["receptive_field"], "radius_90_px": 60.0},
        )
    )  # fmt: skip
    assert told == {
        "finite-loss": "issue", "settled-loss": "tip", "inner-unet": "tip", "seeds-unet": "tip",
        "bands-unet": "passed", "reach-unet": "tip",
    }  # fmt: skip


def test_older_runs_have_what_they_know_and_say_what_not(whole_run: Path, tmp_path: Path) -> None:
    source = RunSource(whole_run)
    page = unet(source)
    assert set(page["figures"]) == {"pr", "threshold", "reliability", "progress"}
    assert set(page["tables"]) == {"folds", "cost"}
    assert [m["command"].split(" --run")[0] for m in page["missing"]] == [
        "l4s-ensemble fit unet", "l4s-ensemble fit stack",
    ]  # fmt: skip
    assert "What each group of bands is worth" in page["missing"][0]["stage"]
    assert unet_maps.build(source, tmp_path, set()) is None
    assert set(levels(source)) == {"finite-loss", "settled-loss"}


@pytest.mark.parametrize("key", NEW)
def test_any_part_may_be_missing(rich_run: Path, tmp_path: Path, key: str) -> None:
    source = changed(rich_run, tmp_path, **{key: None})
    page = unet(source)
    for spec in page["figures"].values():
        figures.plot(spec)
    levels(source)
    assert unet_maps.build(source, tmp_path / "assets", set()) is None
