from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from l4s_ensemble.config import build
from l4s_ensemble.errors import RunError
from l4s_ensemble.features.contact import write_contact
from l4s_ensemble.features.recipe import Feature
from l4s_ensemble.features.summary import Places, describe, write_split_sample
from l4s_ensemble.report.checks.all import run_checks
from l4s_ensemble.report.pages.features import ablation as features_ablation
from l4s_ensemble.report.pages.features import alerts as features_alerts
from l4s_ensemble.report.pages.features import alike as features_alike
from l4s_ensemble.report.pages.features import shift as features_shift
from l4s_ensemble.report.pages.features.page import features
from l4s_ensemble.report.pages.features.tell import holds, rows
from l4s_ensemble.report.pictures.features import coloured, limits, rimmed
from l4s_ensemble.report.render import render_report
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.run.files import read_json, write_json
from l4s_ensemble.scenes.folds import load_folds

FEW = build({"report": {"gallery_tiles": 1}})
GOOD = ("ndvi", "indices"), ("bsi", "indices"), ("turn", "context"), ("level", "reflectance")
SLOPES = ("slope_deg", "terrain"), ("slope_dem_deg", "terrain")
ABLATION = {
    "note": "One run each.",
    "protocols": {"seen": "columns 24 to 30"},
    "rows": [
        {"protocol": "seen", "group": "all", "direction": "set", "f1": 0.64},
        {"protocol": "seen", "group": "texture", "direction": "out", "f1": 0.62, "low": 0.6,
         "high": 0.64, "gain": 0.02, "gain_low": 0.01, "gain_high": 0.03},
        {"protocol": "unseen", "group": "texture", "direction": "out", "f1": 0.2, "low": 0.1,
         "high": 0.3, "gain": 0.0, "gain_low": -0.01, "gain_high": 0.01},
        {"protocol": "unseen", "group": "relative", "direction": "out", "f1": 0.2, "low": 0.1,
         "high": 0.3, "gain": 0.1, "gain_low": 0.05, "gain_high": 0.2},
    ],
}  # fmt: skip


def enrich(run: Path, *, bad: bool = False) -> None:
    """Give a run what the features stage writes for the page; `bad` with every fault."""
    rng = np.random.default_rng(5)
    n, out = 4000, run / "features"
    folds = load_folds(run / "scenes")
    patch = rng.choice(folds.fit_ids, n)
    truth = (np.arange(n) % 4 == 0).astype(np.uint8)
    place = (patch > np.median(folds.fit_ids)).astype(np.int64)
    names = [*GOOD, *SLOPES, *((f"noise_{i}", "context") for i in range(30))]
    values = rng.normal(size=(n, len(names))).astype(np.float32)
    values[:, 0] += 2 * truth
    values[:, 1] += 1.5 * truth
    values[:, 2] += np.where(place == 0, 3.5, -0.7) * truth
    values[:, 3] += 2 * truth + (20 * place if bad else 0)
    values[:, 4] = np.abs(values[:, 4]) * 15
    values[:, 5] = (values[:, 5] if bad else values[:, 4] * 0.9) + rng.normal(size=n)
    if bad:
        values[:, 6] = 3
        values[5, 7] = np.nan
        values[:, 8] = -2 * values[:, 0]
    plan = [Feature(name, group, "1", ("B4",), "a formula", "textbook", 4) for name, group in names]
    places = Places("scene", ("scene 1", "scene 2"), place, (6, 6))
    weight = np.where(truth > 0, 1.0, 9.0)
    told = describe(plan, values, truth, weight, places)
    np.savez(
        out / "sample.npz", X=values, y=truth, patch=patch, fold=np.zeros(n, np.int64),
        weight=weight,
    )  # fmt: skip
    summary = read_json(out / "summary.json")
    summary["features"] = told
    summary["places"] = {
        "kind": "scene",
        "rows": [
            {"name": s, "tiles": 6, "pixels": 2000, "landslide_pixels": 500} for s in places.names
        ],
    }
    write_json(out / "summary.json", summary)
    if bad:
        return
    tile = rng.normal(size=(26, 128, 128)).astype(np.float32)
    tile[1] += 9
    mask = np.zeros((128, 128), np.uint8)
    mask[40:60, 50:90] = 1
    shown = [name for name, _ in names[:26]]
    write_contact(out / "contact.npz", int(folds.fit_ids[0]), shown, tile, mask)
    write_json(out / "ablation.json", ABLATION)

    def read(positions: Any) -> Any:
        made = rng.normal(size=(len(positions), len(names), 16, 16)).astype(np.float32)
        made[:, 3] += 30
        return made

    sample = run / "predict/valid/pixel/features_sample.npz"
    write_split_sample(sample, read, np.arange(8), [name for name, _ in names], 0)


@pytest.fixture(scope="module")
def rich_run(whole_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("rich") / "run"
    for part in ("data", "scenes", "features", "predict"):
        shutil.copytree(whole_run / part, run / part)
    enrich(run)
    return run


@pytest.fixture(scope="module")
def bad_run(whole_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("bad") / "run"
    for part in ("data", "scenes", "features"):
        shutil.copytree(whole_run / part, run / part)
    enrich(run, bad=True)
    return run


@pytest.fixture(scope="module")
def rich_report(rich_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render_report(rich_run, tmp_path_factory.mktemp("report") / "out", FEW).parent


def levels(run: Path) -> dict[str, str]:
    found = run_checks(RunSource(run))
    assert all(c["explanation"].endswith(".") for c in found)
    return {c["key"]: c["level"] for c in found if c["key"].startswith("features-")}


def test_checks_of_a_good_run(rich_run: Path) -> None:
    found = levels(rich_run)
    assert found == {
        "features-finite": "passed", "features-constant": "passed",
        "features-duplicates": "passed", "features-shift-scene": "passed",
        "features-shift-split": "tip", "features-carry": "tip", "features-slope": "passed",
    }  # fmt: skip


def test_checks_and_alerts_find_every_fault(bad_run: Path) -> None:
    found = levels(bad_run)
    assert found["features-finite"] == found["features-slope"] == "issue"
    for key in ("constant", "duplicates", "shift-scene", "carry"):
        assert found[f"features-{key}"] == "tip"
    told = {a["alert"]: a["features"] for a in features_alerts.alerts(RunSource(bad_run))}
    assert "noise_1 (1 px)" in told["not finite"]
    assert "noise_0" in told["constant"]
    assert "ndvi and noise_2" in told["duplicate"]
    assert "turn" in told["turns round"] and "level" in told["shifted"]


def test_strength_here_and_elsewhere(rich_run: Path) -> None:
    told = {r["name"]: r for r in rows(RunSource(rich_run))}
    assert told["ndvi"]["holds"] == "yes" and told["ndvi"]["side"] == "higher"
    assert told["turn"]["holds"] == "turns round" and told["turn"]["auc_unseen"] < 0.5
    assert told["noise_3"]["holds"] == "tells little"
    assert all(r["auc_seen"] >= 0.5 for r in told.values())


@pytest.mark.parametrize(
    ("here", "there", "f1", "f1_there", "word"),
    [
        (0.9, 0.9, 0.5, 0.48, "yes"),
        (0.9, 0.8, 0.5, 0.48, "weaker"),
        (0.9, 0.89, 0.5, 0.2, "order only"),
        (0.9, 0.4, 0.5, 0.2, "turns round"),
        (0.52, 0.5, 0.1, 0.1, "tells little"),
        (0.9, None, 0.5, None, None),
        (None, None, None, None, None),
    ],
)
def test_holds_in_a_word(here: Any, there: Any, f1: Any, f1_there: Any, word: Any) -> None:
    assert holds(here, there, f1, f1_there) == word


def test_splits_are_held_against_the_fitting_tiles(rich_run: Path) -> None:
    found = {g["name"]: g for g in features_shift.groups(RunSource(rich_run))}
    assert set(found) == {"scene 1", "scene 2", "valid"}
    assert found["valid"]["kind"] == "split" and found["valid"]["pixels"] == 800
    assert next(n for n, _, _ in features_shift.far(found["valid"])) == "level"


def test_families_stand_together() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 500))
    columns = [one, other, one + 0.1 * rng.normal(size=500), -other, rng.normal(size=500)]
    corr = np.corrcoef(np.stack(columns))
    found = [sorted(f) for f in features_alike.families(corr, 0.9)]
    assert sorted(found) == [[0, 2], [1, 3], [4]]
    assert features_alike.families(np.ones((1, 1)), 0.9) == [[0]]


def test_page_has_every_part(rich_run: Path, rich_report: Path) -> None:
    twin = read_json(rich_report / "features.json")
    assert {
        "carries", "cuts", "telling", "correlation", "feature_shift", "slopes", "ablation",
    } == set(twin["figures"])  # fmt: skip
    assert {"features", "alerts", "left_out", "ablation_rows"} <= set(twin["tables"])
    assert "worst" in twin["lead"]
    flat = re.sub(r"\s+", " ", (rich_report / "features.html").read_text(encoding="utf-8"))
    for figure in twin["figures"].values():
        assert figure["title"] in flat and len(figure["read"]) > 80
    for group in twin["tables"]["features"]["groups"]:
        assert f'data-group="{group["name"]}"' in flat
    corr = twin["figures"]["correlation"]["data"]
    assert len(corr["names"]) == len(corr["value"]) == sum(corr["families"]) == 36


def test_contact_sheet_has_its_pictures(rich_report: Path) -> None:
    sheet = read_json(rich_report / "features.json")["contact"]
    shown = [p for g in sheet["groups"] for p in g["pictures"]]
    assert len(shown) == 26 and len({p["file"] for p in shown}) == 26
    for p in [*shown, *sheet["first"]]:
        assert p["alt"] and (rich_report / p["file"]).is_file()
    with Image.open(rich_report / shown[0]["file"]) as picture:
        assert picture.size == (256, 256)
    ndvi, bsi = (next(p for p in shown if p["name"] == n) for n in ("ndvi", "bsi"))
    assert ndvi["signed"] and ndvi["low"] == -ndvi["high"]
    assert not bsi["signed"] and bsi["low"] > 5

    class Alts(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert tag != "img" or dict(attrs)["alt"]

    Alts().feed((rich_report / "features.html").read_text(encoding="utf-8"))


def test_colours_of_a_picture() -> None:
    assert limits(-1.0, 4.0) == ((-1.0, 4.0), False)
    assert limits(-3.0, 4.0) == ((-4.0, 4.0), True)
    zero = coloured(np.zeros((2, 2)), (-1.0, 1.0), True)
    assert (zero == 247).all()
    ramp = coloured(np.linspace(0, 1, 50)[None], (0.0, 1.0), False).astype(float)
    lightness = (ramp @ [0.2126, 0.7152, 0.0722])[0]
    assert (np.diff(lightness) > 0).all()
    flat = coloured(np.zeros((2, 2)), (0.0, 0.0), False)
    assert (flat == flat[0, 0]).all()
    mask = np.zeros((5, 5), bool)
    mask[2, 2] = True
    large = rimmed(np.full((5, 5, 3), 90, np.uint8), mask)
    assert large.shape == (10, 10, 3)
    assert (large[4, 3] == 255).all() and (large[4, 4] == 0).all() and (large[2, 2] == 90).all()


def test_ablation_says_what_helps_where(rich_run: Path, tmp_path: Path) -> None:
    text, figures, tables = features_ablation.parts(RunSource(rich_run))
    assert "In an unseen scene a gain is shown by relative." in text
    assert "Only in a seen place: texture." in text
    assert [p["label"] for p in figures["ablation"]["data"]] == [
        "columns 24 to 30", "an unseen scene",
    ]  # fmt: skip
    shown = [r["shown"] for r in tables["ablation_rows"]["rows"]]
    assert shown == [None, "yes", "no", "yes"]
    run = tmp_path / "run"
    shutil.copytree(rich_run / "features", run / "features")
    write_json(run / "features/ablation.json", ABLATION["rows"])  # a bare list will do
    assert features_ablation.parts(RunSource(run))[1]
    for wrong in ({"rows": [{"group": "x"}]}, {}, 3):
        write_json(run / "features/ablation.json", wrong)
        with pytest.raises(RunError, match="no ablation"):
            features_ablation.read(RunSource(run))


def test_older_runs_have_what_they_know(whole_run: Path, tmp_path: Path) -> None:
    source = RunSource(whole_run)
    page = features(source)
    assert "carries" not in page["figures"] and "feature_shift" not in page["figures"]
    assert "holds" not in [c["key"] for c in page["tables"]["features"]["columns"]]
    assert set(levels(whole_run)) == {
        "features-finite", "features-constant", "features-duplicates",
    }  # fmt: skip
    run = tmp_path / "run"
    shutil.copytree(whole_run / "features", run / "features")
    (run / "features/sample.npz").unlink()
    page = features(RunSource(run))
    assert page["figures"] == {} and page["tables"]["features"]["rows"]
    assert levels(run) == {}
