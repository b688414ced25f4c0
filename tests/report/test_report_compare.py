"""Two runs compared: paired differences, settings that differ, and what may not be compared."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from test_report_pages import Page

from l4s_ensemble.errors import ConfigError, RunError
from l4s_ensemble.metrics.bootstrap import Interval, f1_gain_interval
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.report.compare import TRAIN, open_sides, paired, render_comparison, verdict
from l4s_ensemble.run.files import read_json
from l4s_ensemble.scenes.folds import load_folds


@pytest.fixture(scope="module")
def page(weaker_run: Path, tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render_comparison(weaker_run, tiny_run, tmp_path_factory.mktemp("compared") / "out")


@pytest.fixture(scope="module")
def told(page: Path) -> dict[str, Any]:
    found: dict[str, Any] = read_json(page.with_name("compare.json"))
    return found


def test_a_difference_is_paired_over_blocks(
    told: dict[str, Any], weaker_run: Path, tiny_run: Path, tmp_path: Path
) -> None:
    counts = []
    for run in (weaker_run, tiny_run):
        tiles = TileHistograms.load(run / "stack/tiles_unet.npz")
        comparison = read_json(run / "stack/summary.json")["comparison"]
        counts.append(
            tiles.counts(next(r["threshold"] for r in comparison if r["model"] == "unet"))
        )
    block = load_folds(tiny_run / "scenes").of(tiles.patch, "block")
    expected = f1_gain_interval(counts[1], counts[0], block)
    (row,) = (r for r in told["rows"] if (r["place"], r["model"]) == (TRAIN, "unet"))
    assert row["value"] == pytest.approx(expected.value) and expected.value > 0
    assert (row["low"], row["high"]) == (expected.low, expected.high)
    # Turned round, every sign turns.
    back = read_json(render_comparison(tiny_run, weaker_run, tmp_path).with_name("compare.json"))
    for one, other in zip(told["rows"], back["rows"], strict=True):
        assert one["value"] == pytest.approx(-other["value"])


def test_the_page_shows_scores_settings_and_tiles(
    page: Path, told: dict[str, Any], weaker_run: Path, tiny_run: Path
) -> None:
    found = Page(page)  # parses, so nothing broke out
    assert told["rows"][0]["place"] == "valid"  # a split before out-of-fold
    assert re.sub(r"\s+", " ", told["lead"]) in found.words
    settings = {r["setting"]: (r["a"], r["b"]) for r in told["tables"]["settings"]["rows"]}
    assert settings == {"unet.epochs": (1, 6)}
    wrong = []
    for run in (weaker_run, tiny_run):
        tiles = read_json(run / "predict/valid/scores/summary.json")["tiles"]
        wrong.append({t["patch"]: t["fp"] + t["fn"] for t in tiles})
    better = {p: wrong[0][p] - wrong[1][p] for p in wrong[0]}
    rows = told["tables"]["tiles-valid"]["rows"]
    assert {r["patch"]: r["fewer"] for r in rows} == {p: v for p, v in better.items() if v}
    sizes = [abs(r["fewer"]) for r in rows]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ((0.01, 0.002, 0.02), "gain shown"), ((0.01, -0.002, 0.02), "no gain shown"),
        ((-0.01, -0.02, -0.001), "loss shown"), ((0.0, 0.0, 0.0), "the same masks"),
        ((0.01, None, None), "no interval: 9 blocks of tiles are too few"),
    ],
)  # fmt: skip
def test_verdicts(ends: tuple[float, float | None, float | None], said: str) -> None:
    assert verdict(Interval(*ends, blocks=9)) == said


def test_tiles_with_other_content_or_masks_are_left_out(
    weaker_run: Path, tiny_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "changed"
    shutil.copytree(weaker_run, run)
    path = run / "scenes/patches.csv"
    text = path.read_text()
    folds = load_folds(run / "scenes")
    ids = folds.fit_ids
    path.write_text(text.replace(str(folds.of(ids[:1], "content_hash")[0]), "0" * 16))
    for name in ("pixel", "unet", "mean", "stack"):
        tiles = TileHistograms.load(run / f"stack/tiles_{name}.npz")
        tiles.positive[1] = 0  # another mask
        tiles.save(run / f"stack/tiles_{name}.npz")
    same, block, said = paired(*open_sides(run, tiny_run), TRAIN)
    assert same.tolist() == sorted(ids.tolist())[2:] and len(block) == len(same)
    assert f"{len(same)} tiles with the same image and mask" in said
    np.testing.assert_array_equal(block, load_folds(tiny_run / "scenes").of(same, "block"))


def test_other_tiles_and_other_splits_are_not_compared(
    weaker_run: Path, tiny_run: Path, tmp_path: Path
) -> None:
    strange = tmp_path / "strange"
    shutil.copytree(tiny_run, strange)
    hashes = zarr.open_group(strange / "data/valid/patches.zarr", mode="r+")["content_hash"]
    hashes[:] = np.roll(hashes[:], 1)
    rows = [r.split(",") for r in (strange / "scenes/patches.csv").read_text().splitlines()]
    at = rows[0].index("content_hash")
    moved = np.roll([r[at] for r in rows[1:]], 1)
    rows[1:] = [[*r[:at], h, *r[at + 1 :]] for r, h in zip(rows[1:], moved, strict=True)]
    (strange / "scenes/patches.csv").write_text("\n".join(map(",".join, rows)) + "\n")
    twin = read_json(
        render_comparison(weaker_run, strange, tmp_path / "out").with_name("compare.json")
    )
    assert all(r["value"] is None for r in twin["rows"])
    assert "no difference is computed" in twin["lead"]
    one, other = tmp_path / "one", tmp_path / "other"
    shutil.copytree(weaker_run, one)
    shutil.copytree(tiny_run, other)
    for name in ("pixel", "unet", "stack"):
        shutil.rmtree(one / name)
    shutil.rmtree(other / "predict")
    out = render_comparison(one, other, tmp_path / "none")
    assert "no scores of the same split" in Page(out).words


def test_mistakes_are_named(tiny_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the same run twice"):
        render_comparison(tiny_run, tiny_run / "../run", tmp_path)
    with pytest.raises(RunError, match="no such run folder"):
        render_comparison(tiny_run, tmp_path / "nowhere", tmp_path)
    bare = tmp_path / "bare"
    shutil.copytree(tiny_run / "data", bare / "data")
    with pytest.raises(RunError, match="no scores to compare"):
        render_comparison(tiny_run, bare, tmp_path)


def test_runs_of_one_name_are_told_apart(weaker_run: Path, tiny_run: Path) -> None:
    names = {s.name for s in open_sides(weaker_run, tiny_run)}
    assert len(names) == 2 and all(n.endswith("/run") for n in names)
