from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from fabricated_run import FEATURES
from PIL import Image

from l4s_ensemble.config import build
from l4s_ensemble.metrics.failures import failures
from l4s_ensemble.metrics.reliability import calibration
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.report.checks.all import run_checks
from l4s_ensemble.report.figures import makers as figures
from l4s_ensemble.report.pages.failures import area, between, up_to
from l4s_ensemble.report.pages.pixel.importance import colours
from l4s_ensemble.report.pages.pixel.page import pixel
from l4s_ensemble.report.pictures import pixel as pixel_maps
from l4s_ensemble.report.render import render_report
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.run.files import read_json, write_json
from l4s_ensemble.scenes.folds import load_folds

FEW = build({"report": {"gallery_tiles": 1}})
NAMES = [f[0] for f in FEATURES]
GROUP_OF = {f[0]: f[1] for f in FEATURES}
GROUPS = list(dict.fromkeys(GROUP_OF.values()))
NEW = ("calibration", "failures", "contribution", "slides")
FIGURES = {
    "pr", "threshold", "reliability", "contribution", "beeswarm",
    "failures", "f1_where", "sizes",
}  # fmt: skip


def enrich(run: Path) -> None:
    """Give a run what the pixel stage writes for the page."""
    out = run / "pixel"
    tiles = TileHistograms.load(out / "tiles.npz")
    folds = load_folds(run / "scenes")
    summary = read_json(out / "summary.json")
    threshold = summary["oof"]["threshold"]
    summary["calibration"] = calibration(tiles, folds.of(tiles.patch, "fold"))
    summary["failures"] = failures(run / "data/train/patches.zarr", out / "oof.zarr", threshold)
    summary["seconds_explain"] = 3.0
    summary["slides"] = [
        {"patch": int(p), "kind": "found", "pixels": 30, "area_m2": 3000.0,
         "box": [58, 62, x, x + 6], "true_share": 0.5, "probability": 0.7, "logit": 0.8,
         "expected": -3.0,
         "sentence": "bare soil +1.9, slope +0.8, but water −0.7",
         "words": [{"word": "bare soil", "log_odds": 1.9, "features": ["ndvi"]}], "features": []}
        for p in tiles.patch[:2] for x in (3, 120)
    ]  # fmt: skip
    write_json(out / "summary.json", summary)


@pytest.fixture(scope="module")
def rich_run(whole_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("rich") / "run"
    for part in ("data", "scenes", "features", "pixel"):
        shutil.copytree(whole_run / part, run / part)
    enrich(run)
    return run


@pytest.fixture(scope="module")
def rich_report(rich_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render_report(rich_run, tmp_path_factory.mktemp("report") / "out", FEW).parent


def changed(run: Path, folder: Path, **keys: Any) -> RunSource:
    """The same run, with other values in the pixel summary; None takes a key away."""
    new = folder / "run"
    shutil.copytree(run / "pixel", new / "pixel", ignore=shutil.ignore_patterns("*.zarr"))
    summary = {**read_json(new / "pixel/summary.json"), **keys}
    write_json(new / "pixel/summary.json", {k: v for k, v in summary.items() if v is not None})
    return RunSource(new)


def flat(report: Path) -> str:
    return re.sub(r"\s+", " ", (report / "pixel.html").read_text(encoding="utf-8"))


def test_page_has_every_part(rich_report: Path) -> None:
    twin, text = read_json(rich_report / "pixel.json"), flat(rich_report)
    assert set(twin["figures"]) == FIGURES
    assert set(twin["tables"]) == {"folds", "calibration"}
    for one in twin["figures"].values():
        assert one["title"] in text.replace("&#39;", "'") and len(one["read"]) > 60
    for section in twin["sections"]:
        assert f'id="{section["id"]}"' in text
    assert twin["gallery"]["tiles"] and twin["slides"]["rows"]
    assert "bare soil +1.9, slope +0.8, but water −0.7" in text


def test_every_axis_of_every_figure_is_named(rich_report: Path) -> None:
    twin = read_json(rich_report / "pixel.json")
    for key, spec in twin["figures"].items():
        for plot in figures.plot(spec)["plots"]:
            named = [plot["layout"][a]["title"]["text"] for a in ("xaxis", "yaxis")]
            assert any(named), key
            assert named[0] or "category" in str(plot["layout"]["xaxis"]), key
        json.dumps(figures.plot(spec), allow_nan=False)


def test_threshold_figure_marks_half_the_best(rich_report: Path) -> None:
    twin = read_json(rich_report / "pixel.json")
    data = twin["figures"]["threshold"]["data"]
    row = twin["tables"]["calibration"]["rows"][0]
    assert data["half"] == pytest.approx(row["half_f1"], rel=1e-3)
    marker = figures.plot(twin["figures"]["threshold"])["plots"][0]["data"][-1]
    assert marker["x"] == [data["half"]] and marker["marker"]["symbol"] == "diamond"
    names = [m["name"] for m in twin["figures"]["reliability"]["data"]]
    assert names == ["as scored", "after beta calibration", "after isotonic"]


def test_slides_have_pictures_and_links(rich_report: Path) -> None:
    twin, text = read_json(rich_report / "pixel.json"), flat(rich_report)
    assert len(twin["slides"]["rows"]) == 4
    for row in twin["slides"]["rows"]:
        with Image.open(rich_report / row["picture"]["file"]) as picture:
            assert picture.size[0] == picture.size[1] == row["picture"]["size"] >= 160
    for name in re.findall(r'src="(assets/tiles/[^"]+)"', text):
        assert (rich_report / name).is_file()

    class Alts(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert tag != "img" or dict(attrs)["alt"]

    Alts().feed(text)


def test_the_cut_lies_around_the_landslide() -> None:
    size = (128, 128)
    rows, columns = pixel_maps.cut_out([2, 5, 100, 125], size)
    assert rows.start == 0 and columns.stop == 128
    assert rows.stop - rows.start == columns.stop - columns.start == 40
    assert pixel_maps.cut_out([60, 63, 60, 63], size) == (slice(42, 82), slice(42, 82))
    assert pixel_maps.cut_out([0, 127, 0, 127], size) == (slice(0, 128), slice(0, 128))


def test_groups_have_the_colours_of_the_features_page(rich_run: Path, tmp_path: Path) -> None:
    source = RunSource(rich_run)
    from l4s_ensemble.report.pages.features import groups

    known = {g["name"]: g["colour"] for g in groups(source)}
    told = colours(source, [*GROUPS, "new"])
    assert {g: told[g] for g in GROUPS} == known and told["new"] not in known.values()
    twin = pixel(source)["figures"]
    assert twin["contribution"]["data"]["colours"] == known
    alone = pixel(changed(rich_run, tmp_path))["figures"]["contribution"]["data"]["colours"]
    assert set(alone) == set(GROUPS) and len(set(alone.values())) == len(GROUPS)


def test_bins_are_told_in_words() -> None:
    assert between(None, 5.0) == "< 5" and between(40.0, None) == "≥ 40"
    assert between(5.0, 10.0) == "5–10" and between(None, None) == "all"
    assert between(1.0, 2.0, whole=True) == "1" and between(4.0, 8.0, whole=True) == "4–7"
    assert between(-5.0, 10.0) == "−5 to 10"
    assert up_to(0.0, 1.0) == "≤ 1" and up_to(3.0, 5.0) == "3–5" and up_to(10, None) == "> 10"
    assert area(1, 9, 10.0) == "0.01–0.1" and area(1000, None, 10.0) == "≥ 10"


def found(source: RunSource) -> dict[str, tuple[str, str]]:
    told = run_checks(source)
    assert all(c["explanation"].endswith(".") for c in told)
    keys = ("chance", "corrected", "half", "group")
    return {
        c["key"].removesuffix("-pixel"): (c["level"], c["explanation"])
        for c in told
        if c["key"] in {f"{k}-pixel" for k in keys}
    }


def test_checks_of_a_run(rich_run: Path) -> None:
    told = found(RunSource(rich_run))
    assert told["chance"][0] == "passed"
    assert told["group"][0] == "passed"
    assert told["half"][0] in {"passed", "tip"} and told["corrected"][0] in {"passed", "tip"}


def test_checks_of_other_runs(rich_run: Path, tmp_path: Path) -> None:
    summary = read_json(rich_run / "pixel/summary.json")
    rows = summary["contribution"]
    alone = [
        {**r, "mean_abs": r["mean_abs"] if r["group"] == rows[0]["group"] else 0} for r in rows
    ]
    maps = summary["calibration"]["maps"]
    maps[0] |= {"log_loss": 0.1, "off_half": 0.01}
    maps[1] |= {"log_loss": 0.0995}
    maps[2] |= {"log_loss": 0.0999}
    told = found(
        changed(
            rich_run, tmp_path / "flat",
            contribution=alone,
            calibration={"maps": maps}, oof={**summary["oof"], "f1_low": 0.0},
        )
    )  # fmt: skip
    assert {k: v[0] for k, v in told.items()} == {
        "chance": "issue", "corrected": "passed", "half": "passed", "group": "tip",
    }  # fmt: skip
    maps[0] |= {"off_half": -0.2}
    maps[1] |= {"log_loss": 0.08}
    told = found(changed(rich_run, tmp_path / "worse", calibration={"maps": maps}))
    assert told["corrected"][0] == told["half"][0] == "tip"


def test_older_runs_have_what_they_know(whole_run: Path, tmp_path: Path) -> None:
    source = RunSource(whole_run)
    page = pixel(source)
    assert set(page["figures"]) == {
        "pr", "threshold", "reliability", "contribution", "beeswarm",
    }  # fmt: skip
    assert page["figures"]["threshold"]["kind"] == "threshold_half"
    assert set(page["tables"]) == {"folds"}
    assert set(found(source)) == {"chance", "half", "group"}
    assert pixel_maps.slides(source, tmp_path, set()) is None


@pytest.mark.parametrize("key", NEW)
def test_any_part_may_be_missing(rich_run: Path, tmp_path: Path, key: str) -> None:
    source = changed(rich_run, tmp_path, **{key: None})
    page = pixel(source)
    for spec in page["figures"].values():
        figures.plot(spec)
    found(source)
