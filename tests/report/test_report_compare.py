"""Two runs compared: paired differences, what changed, and what may not be compared."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fabricated_run import fabricate
from test_report_pages import Page

from l4s_ensemble.errors import ConfigError, RunError
from l4s_ensemble.metrics.bootstrap import f1_gain_interval
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.report.compare import tiles as compare_tiles
from l4s_ensemble.report.compare.pairing import pair, verdict
from l4s_ensemble.report.compare.render import render_comparison
from l4s_ensemble.report.compare.sides import TRAIN, Side, names_of, open_sides
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.run.files import read_json, write_json
from l4s_ensemble.scenes.folds import load_folds


@pytest.fixture(scope="module")
def weaker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiles of `whole_run`, scored by models that know less; other settings of the U-Net."""
    return fabricate(tmp_path_factory.mktemp("weaker"), gain=0.7, settings={"unet": {"width": 24}})


@pytest.fixture(scope="module")
def page(weaker: Path, whole_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render_comparison(weaker, whole_run, tmp_path_factory.mktemp("compared") / "out")


@pytest.fixture(scope="module")
def told(page: Path) -> dict[str, Any]:
    found: dict[str, Any] = read_json(page.with_name("compare.json"))
    return found


def row(told: dict[str, Any], place: str, model: str) -> dict[str, Any]:
    return next(r for r in told["rows"] if (r["place"], r["model"]) == (place, model))


def test_a_difference_is_paired_over_blocks(
    told: dict[str, Any], weaker: Path, whole_run: Path
) -> None:
    counts = []
    for run in (weaker, whole_run):
        tiles = TileHistograms.load(run / "stack/tiles_unet.npz")
        threshold = next(
            r["threshold"]
            for r in read_json(run / "stack/summary.json")["ledger"]
            if r["model"] == "unet"
        )
        counts.append(tiles.counts(threshold))
    block = load_folds(whole_run / "scenes").of(tiles.patch, "block")
    expected = f1_gain_interval(counts[1], counts[0], block, resamples=200)
    found = row(told, TRAIN, "unet")["difference"]
    assert found["value"] == pytest.approx(expected.value) and expected.value > 0
    assert (found["low"], found["high"]) == (expected.low, expected.high)
    assert found["blocks"] == expected.blocks


def test_scores_and_differences_are_on_the_page(page: Path, told: dict[str, Any]) -> None:
    found = Page(page)  # parses, so nothing broke out
    assert told["headline"]["place"] == "valid"  # a split before out-of-fold
    assert told["headline"]["sentence"] in found.words
    assert "differences are paired tile by tile" in found.words
    assert "Settings that differ" in found.words and "unet.width" in found.words
    settings = {r["setting"]: (r["a"], r["b"]) for r in told["tables"]["settings"]["rows"]}
    assert settings["unet.width"] == ("24", "16")
    assert {"unet.width", "data.root"} == set(settings)
    shared = next(
        r
        for r in told["tables"]["data"]["rows"]
        if r["what"] == "train: tiles with the same content"
    )
    assert shared["a"] == shared["b"] == "15"
    for link in found.links:
        if not link.startswith(("data:", "#")):
            assert (page.parent / link.partition("#")[0]).exists(), link
    assert all(i.get("alt") for i in found.images)


def test_tiles_won_and_lost_are_counted(
    told: dict[str, Any], weaker: Path, whole_run: Path
) -> None:
    contest = told["contests"]["valid"]
    wrong = []
    for run in (weaker, whole_run):
        tiles = read_json(run / "predict/valid/scores/summary.json")["tiles"]
        wrong.append({t["patch"]: t["fp"] + t["fn"] for t in tiles})
    better = [wrong[0][p] - wrong[1][p] for p in contest["patch"]]
    assert contest["won"] == sum(v > 0 for v in better)
    assert contest["lost"] == sum(v < 0 for v in better)
    assert contest["won_px"] - contest["lost_px"] == sum(better)
    assert contest["won"] + contest["lost"] + contest["equal"] == 4
    first = told["tables"]["won_valid"]["rows"][0]
    assert first["better"] == max(better)
    pictured = told["contest"]["groups"][0]["tiles"][0]
    assert pictured["patch"] == first["patch"] and set(pictured["pictures"]) == {"colour", "A", "B"}


def test_turned_round_every_sign_turns(
    told: dict[str, Any], weaker: Path, whole_run: Path, tmp_path: Path
) -> None:
    other = read_json(render_comparison(whole_run, weaker, tmp_path).with_name("compare.json"))
    for one, back in zip(told["rows"], other["rows"], strict=True):
        assert one["difference"]["value"] == pytest.approx(-back["difference"]["value"])
    assert told["contests"][TRAIN]["won"] == other["contests"][TRAIN]["lost"]


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ((0.01, 0.002, 0.02), "gain shown"), ((0.01, -0.002, 0.02), "no gain shown"),
        ((-0.01, -0.02, -0.001), "loss shown"), ((0.0, 0.0, 0.0), "the same masks"),
        ((0.01, None, None), "too few blocks for an interval"),
    ],
)  # fmt: skip
def test_verdicts(ends: tuple[float, float | None, float | None], said: str) -> None:
    assert verdict(*ends) == said


def test_other_content_and_other_masks_are_left_out(
    weaker: Path, whole_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "changed"
    shutil.copytree(weaker, run)
    path = run / "scenes/patches.csv"
    text = path.read_text()
    folds = load_folds(run / "scenes")
    ids = folds.fit_ids
    path.write_text(text.replace(str(folds.of(ids[:1], "content_hash")[0]), "0" * 16))
    for name in ("pixel", "unet", "mean", "stack"):
        tiles = TileHistograms.load(run / f"stack/tiles_{name}.npz")
        tiles.positive[1] = 0  # another mask
        tiles.save(run / f"stack/tiles_{name}.npz")
    a, b = open_sides(run, whole_run)
    found = pair(a, b, TRAIN)
    assert found is not None and not found.whole
    assert (found.shared, found.other_content, found.other_truth) == (len(ids), 1, 1)
    assert found.ids.tolist() == sorted(ids.tolist())[2:]
    assert "1 hold another image and 1 another mask" in found.sentence("Here")


def test_other_tiles_are_not_compared(weaker: Path, tmp_path: Path) -> None:
    strange = fabricate(tmp_path / "strange", seed=5)
    twin = read_json(render_comparison(weaker, strange, tmp_path / "out").with_name("compare.json"))
    assert all(r["difference"] is None for r in twin["rows"])
    assert twin["contests"] == {}
    assert "no difference is reckoned" in twin["headline"]["sentence"]
    assert any("hold other data" in line for line in twin["lines"]["comparable"])


def test_nothing_in_common_is_said(weaker: Path, whole_run: Path, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    shutil.copytree(weaker, one)
    shutil.copytree(whole_run, other)
    for name in ("pixel", "unet", "stack"):
        shutil.rmtree(one / name)
    shutil.rmtree(other / "predict")
    out = render_comparison(one, other, tmp_path / "out")
    assert read_json(out.with_name("compare.json"))["headline"] is None
    assert "no scores of the same split" in Page(out).words


def test_links_lead_to_the_reports_that_exist(
    weaker: Path, whole_run: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "runs/first", tmp_path / "runs/second"
    shutil.copytree(weaker, first)
    shutil.copytree(whole_run, second)
    reports = tmp_path / "reports"
    command = f"l4s-ensemble report --run {first}"
    (reports / "first").mkdir(parents=True)
    (reports / "second").mkdir()
    for place in ("first", "second"):  # the second is a report of another run
        write_json(reports / place / "index.json", {"foot": {"command": [command]}})
        for name in ("index.html", "tiles-valid.html"):
            (reports / place / name).write_text("")
    out = render_comparison(first, second, reports / "both")
    twin = read_json(out.with_name("compare.json"))
    assert [s["report"] for s in twin["sides"]] == ["../first/index.html", None]
    links = [link for g in twin["contest"]["groups"] for t in g["tiles"] for link in t["links"]]
    assert links and {link["side"] for link in links} == {"A"}
    patch = twin["contest"]["groups"][0]["tiles"][0]["patch"]
    assert f'href="../first/tiles-valid.html#tile={patch}"' in out.read_text()


def test_mistakes_are_named(whole_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the same run twice") as same:
        render_comparison(whole_run, whole_run / "../run", tmp_path)
    assert same.value.exit_code == 2
    with pytest.raises(RunError, match="no such run folder") as missing:
        render_comparison(whole_run, tmp_path / "nowhere", tmp_path)
    assert missing.value.exit_code == 1
    bare = tmp_path / "bare"
    shutil.copytree(whole_run / "data", bare / "data")
    with pytest.raises(RunError, match="no scores to compare") as without:
        render_comparison(whole_run, bare, tmp_path)
    assert str(bare) in str(without.value) and without.value.exit_code == 1


def test_names_tell_folders_apart(tmp_path: Path) -> None:
    assert names_of(tmp_path / "a", tmp_path / "b") == ("a", "b")
    assert names_of(tmp_path / "x/run", tmp_path / "y/run") == ("x/run", "y/run")


def test_half_of_what_was_won(whole_run: Path, weaker: Path) -> None:
    a, b = (Side(x, x, RunSource(run)) for x, run in (("A", weaker), ("B", whole_run)))
    pairing = pair(a, b, TRAIN)
    assert pairing is not None
    contest = compare_tiles.contest(a, b, pairing, "pixel")
    assert contest is not None
    better = np.array(contest["errors_a"]) - np.array(contest["errors_b"])
    gains = np.sort(better[better > 0])[::-1]
    if len(gains):
        n = contest["half"]
        assert gains[:n].sum() >= gains.sum() / 2 > gains[: n - 1].sum()
