"""The search: it goes on after a kill as if nothing had been, and writes a preset that loads."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pixel_world import config_of

from l4s_ensemble import config as configuration
from l4s_ensemble.config import PixelConfig
from l4s_ensemble.errors import ConfigError
from l4s_ensemble.metrics.histogram import ScoreHistogram
from l4s_ensemble.pixel.search import SPACE, Search, require_optuna, space_around
from l4s_ensemble.pixel.tune import STAGES, kept_tiles, table, tune
from l4s_ensemble.run.files import write_json

pytest.importorskip("optuna")


class Killed(BaseException):
    """Ends a search as a signal does: nothing is told to the study."""


def scores(settings: Mapping[str, Any]) -> Iterator[ScoreHistogram]:
    """Folds that like a learning rate of 0.08 and few leaves."""
    rng = np.random.default_rng(0)
    good = 3 - abs(np.log(settings["learning_rate"] / 0.08)) - settings["leaves"] / 200
    for _ in range(2):
        y = rng.random(4000) < 0.2
        made = ScoreHistogram.empty()
        made.add(1 / (1 + np.exp(-(good * y + rng.normal(size=4000)))), y)
        yield made


def settings_of(search: Search) -> list[dict[str, Any]]:
    return [t["settings"] for t in sorted(search.ranked(), key=lambda t: t["number"])]


def test_a_killed_search_draws_what_it_would_have_drawn(tmp_path: Path) -> None:
    whole = Search(tmp_path / "a.journal", "s", PixelConfig(), 5)
    for _ in range(14):
        whole.step(scores)

    def dies(settings: Mapping[str, Any]) -> Iterator[ScoreHistogram]:
        yield next(scores(settings))
        raise Killed

    journal = tmp_path / "b.journal"
    first = Search(journal, "s", PixelConfig(), 5)
    for _ in range(12):
        first.step(scores)
    with pytest.raises(Killed):
        first.step(dies)
    # What a kill in the middle of writing leaves.
    with journal.open("ab") as file:
        file.write(b'{"op_code":4,"wor')
    journal.with_name("b.journal.lock").symlink_to(journal)
    again = Search(journal, "s", PixelConfig(), 5)
    assert again.finished() == 12
    for _ in range(2):
        again.step(scores)
    assert settings_of(again) == settings_of(whole)
    assert [t["f1"] for t in again.ranked()] == [t["f1"] for t in whole.ranked()]
    own = next(t for t in whole.ranked() if t["own"])
    assert own["number"] == 1
    assert own["settings"] == {name: getattr(PixelConfig(), name) for name in SPACE}
    assert len({t["settings"]["learning_rate"] for t in whole.ranked()}) > 10


def test_a_search_killed_in_its_first_trial_still_tries_its_own_settings(tmp_path: Path) -> None:
    def dies(_: Mapping[str, Any]) -> Iterator[ScoreHistogram]:
        raise Killed

    search = Search(tmp_path / "s.journal", "s", PixelConfig(), 0)
    with pytest.raises(Killed):
        search.step(dies)
    search = Search(tmp_path / "s.journal", "s", PixelConfig(), 0)
    search.step(scores)
    assert [t["own"] for t in search.ranked()] == [True]


def test_trials_that_fall_behind_are_given_up(tmp_path: Path) -> None:
    search = Search(tmp_path / "s.journal", "s", PixelConfig(), 1)
    told = [search.step(scores, prune=True) for _ in range(16)]
    assert None in told[5:] and None not in told[:5]
    assert search.finished() == 16
    assert len(search.ranked()) == 16 - told.count(None)


def test_the_space_holds_the_settings_of_the_config() -> None:
    space = space_around(PixelConfig(leaves=400, trees=20, l2=0))
    assert (space["leaves"].high, space["trees"].low, space["l2"].low) == (400, 20, 0.1)


def test_without_optuna_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"l4s_ensemble\[tune\]") as error:
        require_optuna()
    assert error.value.exit_code == 2


def test_tiles_are_kept_fold_by_fold(prepared: Path) -> None:
    from l4s_ensemble.scenes.folds import load_folds

    folds = load_folds(prepared / "scenes")
    kept = kept_tiles(folds, 0.01, 0)
    for k in range(folds.n_folds):
        held = folds.held_ids(k)
        slides = folds.of(held, "landslide_pixels") > 0
        for pool in (held[slides], held[~slides]):
            assert np.isin(pool, kept).sum() == min(4, len(pool))
    assert kept_tiles(folds, 1.0, 0).tolist() == sorted(folds.fit_ids.tolist())
    assert 6 not in kept  # set aside


def test_a_search_scores_whole_folds_out_of_fold(prepared: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(prepared, run)
    for stage in STAGES:  # as the executor leaves them
        write_json(
            run / stage / "manifest.json", {"fingerprint": "", "digest": "", "ingredients": {}}
        )
    settings = {"seeds": 2, "patch_power": 0.7}
    config = config_of(**settings, trees=60)
    first = tune(run, config, trials=1, share=0.9)
    told = tune(run, config, trials=2, share=0.9, out=tmp_path / "found.yaml")
    assert first["trials"][0] in told["trials"] and told["finished"] == 2
    assert told["best"]["f1"] > 0.8 and told["own"]["number"] == 1
    assert json.loads((run / "tune/pixel.json").read_text())["best"] == told["best"]
    title, head, rows = table(told)
    assert "2 finished trials" in title and len(rows) == 2 and len(rows[0]) == len(head)
    found = configuration.load(tmp_path / "found.yaml")
    assert found.name == "found" and found.data.holdout == config.data.holdout
    for name in settings:
        assert getattr(found.pixel, name) == settings[name]
    for name, value in told["best"]["settings"].items():
        assert getattr(found.pixel, name) == value
    # Other settings make another search in the same journal.
    assert tune(run, config_of(trees=5), trials=1)["finished"] == 1
    # Time that is up begins no trial.
    assert tune(run, config, trials=9, share=0.9, timeout_s=0)["finished"] == 2


def command(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith("L4S_")}
    return subprocess.run(
        [sys.executable, "-m", "l4s_ensemble", *map(str, words)],
        cwd=cwd, env=env, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip


def test_the_command_searches_goes_on_and_writes_a_preset(tiny_root: Path, tmp_path: Path) -> None:
    words = [
        "--data", tiny_root, "--jobs", 1, "--share", 1, "--set", "scenes.folds=2",
        "--set", "scenes.block_tiles=2", "--set", "features.groups=[reflectance]",
        "--set", "features.sample_pixels=2000", "--set", "pixel.positives_max=400",
    ]  # fmt: skip
    done = command("tune", "pixel", *words, "--trials", 2, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    more = command("tune", "pixel", "--share", 1, "--trials", 3, "--out", "b.yaml", cwd=tmp_path)
    assert more.returncode == 0, more.stderr
    assert "going on after 2 finished trials" in more.stderr
    assert "trial 3 of 3" in more.stderr and "trial 2 of 3" not in more.stderr
    assert "3 finished trials" in more.stdout and "optimistic" in more.stdout
    told = json.loads((tmp_path / "runs/default/tune/pixel.json").read_text())
    assert len(told["trials"]) == 3
    found = configuration.load(tmp_path / "b.yaml")
    assert found.scenes.folds == 2 and found.data.root is None
    assert found.pixel.leaves == told["best"]["settings"]["leaves"]
