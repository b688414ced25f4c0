from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from l4s_ensemble.features.definition import Feature, Words
from l4s_ensemble.features.summary import Places, describe
from l4s_ensemble.report.checks import run_checks
from l4s_ensemble.report.pages.features import features
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.run.files import read_json, write_json
from l4s_ensemble.scenes.folds import load_folds

NAMES = ("strong", "copy", "turns", "noise")


def enrich(run: Path, bad: bool) -> None:
    """Give a run what the features stage writes of two scenes; `bad` with faults."""
    rng = np.random.default_rng(5)
    n, out = 2000, run / "features"
    patch = rng.choice(load_folds(run / "scenes").fit_ids, n)
    reference = (np.arange(n) % 4 == 0).astype(np.uint8)
    place = np.arange(n) % 8 // 4
    values = rng.normal(size=(n, len(NAMES))).astype(np.float32)
    values[:, 0] += 2 * reference
    values[:, 1] = -2 * values[:, 0]
    values[:, 2] += np.where(place == 0, 3.5, -0.7 if bad else 3.5) * reference
    if bad:
        values[5, 3] = np.nan
    words = Words("a", "b", "c")
    plan = [Feature(n, "context", "1", ("B4",), "formula", "textbook", 4, words) for n in NAMES]
    places = Places("scene", ("scene 1", "scene 2"), place, (6, 6))
    weight = np.where(reference > 0, 1.0, 9.0)
    np.savez(out / "sample.npz", X=values, y=reference, patch=patch, weight=weight)
    summary = read_json(out / "summary.json")
    summary["features"] = describe(plan, values, reference, weight, places)
    summary["places"] = places.summary(reference)
    write_json(out / "summary.json", summary)


@pytest.fixture(scope="module", params=[False, True], ids=["good", "bad"])
def run(request, tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bool]:
    folder = tmp_path_factory.mktemp("features") / "run"
    for part in ("data", "scenes", "features"):
        shutil.copytree(tiny_run / part, folder / part)
    enrich(folder, request.param)
    return folder, request.param


def test_checks_find_what_is_not_finite_and_what_turns_round(run: tuple[Path, bool]) -> None:
    found = {c["key"]: c for c in run_checks(RunSource(run[0]))}
    levels = {n: found[n]["level"] for n in ("finite", "carry")}
    if run[1]:
        assert levels == {"finite": "issue", "carry": "tip"}
        assert "noise" in found["finite"]["explanation"]
        assert "turns" in found["carry"]["explanation"]
    else:
        assert set(levels.values()) == {"passed"}


def test_the_page_says_what_separates_here_and_elsewhere(run: tuple[Path, bool]) -> None:
    source = RunSource(run[0])
    made = features(source)
    found = {r["name"]: r for r in made["tables"]["features"]["rows"]}
    assert sorted(found) == sorted(NAMES)
    assert found["strong"]["side"] == "higher" and found["copy"]["side"] == "lower"
    assert found["strong"]["seen"] == pytest.approx(found["copy"]["seen"])
    assert {found["strong"]["copy_of"], found["copy"]["copy_of"]} & {"strong", "copy"}
    assert (found["turns"]["auc_worst"] < 0.5) == run[1]
    assert ("turns separates the other way" in made["lead"]) == run[1]
    shown = {f["label"].partition(",")[0] for f in made["figures"]["separability"]["data"]}
    assert len({"strong", "copy"} & shown) == 1
    (group,) = made["figures"]["carries"]["data"]["groups"]
    assert {text.partition("<br>")[0] for text in group["hover"]} == set(NAMES)


def test_a_run_without_places_has_a_page_too(tiny_run: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_run / "features", tmp_path / "features")
    summary = read_json(tmp_path / "features" / "summary.json")
    summary["places"]["rows"] = summary["places"]["rows"][:1]
    write_json(tmp_path / "features" / "summary.json", summary)
    made = features(RunSource(tmp_path))
    assert "carries" not in made["figures"] and "worst" not in made["lead"]
