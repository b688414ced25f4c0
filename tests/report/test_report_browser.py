"""The tile browser's data: what its scripts hold is what the run scored."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from test_report_pages import Page

from l4s_ensemble.config import build as settings
from l4s_ensemble.data.store import open_store
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.report.browser.packing import PREDICTED_BIT, REFERENCE_BIT
from l4s_ensemble.report.browser.photos import hillshade
from l4s_ensemble.report.browser.scored import of_prediction
from l4s_ensemble.report.render import render_report
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.run.files import read_json, write_json
from l4s_ensemble.run.scores import open_scores
from l4s_ensemble.stack.uncertainty import uncertainty


def handed(path: Path) -> list[Any]:
    """What a script hands to its function."""
    text = path.read_text(encoding="utf-8")
    return list(json.loads("[" + text[text.index("(") + 1 : text.rindex(")")] + "]"))


def browser(report: Path, page: str) -> dict[str, Any]:
    """What a page of tiles holds."""
    found: dict[str, Any] = read_json(report / f"{page}.json")["blocks"]["browser"]
    return found


def unpacked(text: str) -> np.ndarray:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8)


def test_a_tile_s_script_holds_what_was_scored(tiny_report: Path, tiny_run: Path) -> None:
    told = browser(tiny_report, "tiles-train")
    oof = {m: open_scores(tiny_run / m / "oof.zarr") for m in ("pixel", "unet", "stack")}
    mask = open_store(tiny_run / "data/train")["mask"]
    assert [m["key"] for m in told["models"]] == list(oof) and told["uncertainty"]
    assert told["tiles"]["patch"] == oof["stack"]["patch"].values.tolist()
    for n, patch in enumerate(told["tiles"]["patch"]):
        number, text = handed(tiny_report / told["folder"] / f"t{patch}.js")
        assert number == patch
        planes = unpacked(text).reshape(5, 128, 128)
        reference = mask.sel(patch=patch).values == 1
        final = oof["stack"]["probability"].sel(patch=patch).values
        for plane, model in zip(planes, oof, strict=False):
            one = oof[model].sel(patch=patch)
            p = final if model == "stack" else sigmoid(one["logit"].values)
            np.testing.assert_allclose(plane / 255, p, atol=0.51 / 255)
        predicted = final >= np.float32(told["threshold"])
        expected = uncertainty(final, told["threshold"])
        np.testing.assert_allclose(planes[3] / 255, expected, atol=0.51 / 255)
        np.testing.assert_array_equal(
            planes[4], REFERENCE_BIT * reference + PREDICTED_BIT * predicted
        )
        for key, count in (
            ("tp", predicted & reference),
            ("fp", predicted & ~reference),
            ("fn", ~predicted & reference),
            ("predicted", predicted),
        ):
            assert told["tiles"][key][n] == count.sum()


def test_thumbnails_stand_in_the_order_of_wrong_pixels(tiny_report: Path) -> None:
    told = browser(tiny_report, "tiles-train")
    t = told["tiles"]
    wrong = np.array(t["fp"]) + np.array(t["fn"])
    assert (np.diff(wrong[np.argsort(t["cell"])]) <= 0).all()
    for kind in ("colour", "errors"):
        for name in told["sheets"]["files"][kind]:
            assert (tiny_report / told["folder"] / name).is_file()


def test_other_pages_lead_to_tiles(tiny_report: Path) -> None:
    stack = read_json(tiny_report / "stack.json")["blocks"]["gallery"]["tiles"]
    assert stack and all(t["link"] == f"tiles-train.html#tile={t['patch']}" for t in stack)
    page = (tiny_report / "stack.html").read_text(encoding="utf-8")
    assert f'href="{stack[0]["link"]}"' in page
    valid = read_json(tiny_report / "prediction-valid.json")["blocks"]["gallery"]["tiles"]
    assert valid[0]["link"].startswith("tiles-valid.html#tile=")
    blocks = read_json(tiny_report / "data.json")["blocks"]
    for scene in blocks["scene"]["pictures"] + blocks["scenes"]["pictures"]:
        ids, page_of = np.array(scene["ids"]), np.array(scene["page"])
        assert len(ids) == scene["rows"] * scene["cols"] == len(page_of)
        there = browser(tiny_report, scene["pages"][0].removesuffix(".html"))["tiles"]["patch"]
        np.testing.assert_array_equal(page_of == 0, np.isin(ids, there))


def test_the_bar_has_one_entry_for_all_tiles(tiny_report: Path) -> None:
    text = (tiny_report / "tiles-valid.html").read_text(encoding="utf-8")
    bar = text[text.index('<nav aria-label="Pages">') :]
    bar = bar[: bar.index("</nav>")]
    assert bar.count("tiles-") == 1 and 'href="tiles-train.html" aria-current="page"' in bar
    assert 'aria-label="Splits"' in text


def test_settings_limit_and_switch_off(tiny_run: Path, tiny_report: Path, tmp_path: Path) -> None:
    """Those most wrong are kept."""
    few = {"gallery_tiles": 1, "browser_tiles": 4}
    out = render_report(tiny_run, tmp_path / "out", settings({"report": few})).parent
    t = browser(tiny_report, "tiles-train")["tiles"]
    wrong = np.array(t["fp"]) + np.array(t["fn"])
    most = sorted(np.array(t["patch"])[np.argsort(-wrong, kind="stable")[:4]].tolist())
    kept = browser(out, "tiles-train")
    assert kept["tiles"]["patch"] == most and kept["total"] == len(wrong) > 4
    assert "report.browser_tiles" in (out / "tiles-train.html").read_text()
    off = settings({"report": {"gallery_tiles": 1, "browser": False}})
    render_report(tiny_run, out, off)
    assert not list(out.glob("tiles-*")) and not list((out / "assets/browser").glob("tiles-*"))
    gallery = read_json(out / "stack.json")["blocks"]["gallery"]["tiles"]
    assert all(t.get("link") is None for t in gallery)


def test_a_prediction_s_masks_and_thresholds_are_its_own(run_copy: Path, tmp_path: Path) -> None:
    import h5py

    run = run_copy
    folder = run / "predict/valid/result"
    summary = read_json(folder / "summary.json")
    scene = int(open_store(run / "data/valid")["scene"].values[0])
    write_json(
        folder / "summary.json",
        {**summary, "thresholds": [{"scene": scene, "threshold": 0.9, "adapted": None}]},
    )
    shutil.rmtree(run / "predict/valid/scores")
    shutil.rmtree(folder / "masks")
    (folder / "masks").mkdir()
    with h5py.File(folder / "masks/mask_1.h5", "w") as file:
        file["mask"] = np.ones((128, 128), np.uint8)
    scored = of_prediction(RunSource(run), "valid")
    assert scored is not None and not scored.has_reference
    tiles = {t.patch: t for t in scored.tiles(np.arange(len(scored.patch)))}
    assert tiles[1].predicted.all() and tiles[1].reference is None
    np.testing.assert_array_equal(
        tiles[2].predicted, tiles[2].probability["stack"] >= np.float32(0.9)
    )
    out = render_report(run, tmp_path / "out", settings({"report": {"gallery_tiles": 1}})).parent
    told = browser(out, "tiles-valid")
    assert "tp" not in told["tiles"]
    bits = unpacked(handed(out / told["folder"] / "t1.js")[1])[-128 * 128 :]
    assert (bits == PREDICTED_BIT).all()


def test_light_comes_from_the_upper_left() -> None:
    y, x = np.mgrid[:40, :40].astype(np.float32)
    facing, turned = hillshade(4 * (x + y), None, 10.0), hillshade(-4 * (x + y), None, 10.0)
    assert facing[20, 20].mean() > turned[20, 20].mean() + 60
    steep = hillshade(np.zeros((40, 40), np.float32), np.full((40, 40), 45, np.float32), 10.0)
    flat = hillshade(np.zeros((40, 40), np.float32), np.zeros((40, 40), np.float32), 10.0)
    assert flat[20, 20].mean() > steep[20, 20].mean() + 60


def test_a_tile_costs_little(tiny_report: Path) -> None:
    folder = tiny_report / "assets/browser/tiles-train"
    for pattern, most in (("t*.js", 70_000), ("p*.webp", 50_000)):
        assert max(p.stat().st_size for p in folder.glob(pattern)) < most, pattern


@pytest.mark.slow
def test_a_folder_of_any_name_has_its_pages(tiny_run: Path, run_copy: Path, tmp_path: Path) -> None:
    """``predict --data`` and ``report``, as typed: no link of the report is dead."""
    data, out = tmp_path / "tiles #1 50%", tmp_path / "out"
    shutil.copytree(tiny_run.parent / "data" / "ValidData", data / "ValidData")
    for words in (
        ["predict", "--split", "valid", "--data", data],
        ["report", "--out", out],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "l4s_ensemble", *map(str, words), "--run", str(run_copy)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    (tiles,) = (p for p in out.glob("tiles-*.json") if "50" in p.name)
    folder = browser(out, tiles.stem)["folder"]
    links = {f"{folder}/index.js"}
    for path in out.glob("*.html"):
        links |= {link for link in Page(path).links if not link.startswith(("data:", "#"))}
    assert any("50" in link for link in links)
    dead = [link for link in links if not (out / unquote(urlsplit(link).path)).is_file()]
    assert not dead
