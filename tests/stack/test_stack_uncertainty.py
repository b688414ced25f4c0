"""Uncertainty maps: their formulas, their file, and which of them tells errors."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import entropy

sys.path.insert(0, str(Path(__file__).parents[1] / "metrics"))

from tiles_world import world, write_scores

from l4s_ensemble.errors import ModelError
from l4s_ensemble.metrics.error_auc import error_auc, error_histogram
from l4s_ensemble.stack.uncertainty import (
    COMBINED,
    PLAIN,
    REACH,
    SINGLE,
    SPREAD_PX,
    ErrorModel,
    Uncertainty,
    fit_errors,
    measures,
)
from l4s_ensemble.stack.uncertainty_choice import Sources, choose

T = 0.35


def tile(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    pixel, unet = rng.normal(-2, 3, (2, 24, 24))
    return expit((pixel + unet) / 2), pixel, unet


def test_measures_are_their_formulas() -> None:
    p, pixel, unet = tile()
    found = dict(zip(SINGLE, measures(p, pixel, unet, T), strict=True))
    near = 1 - np.abs(logit(p) - logit(T)) / REACH
    np.testing.assert_allclose(found[PLAIN], near, atol=1e-6)
    np.testing.assert_allclose(found["entropy"], entropy([p, 1 - p], base=2), atol=1e-6)
    np.testing.assert_allclose(found["expected_error"], np.where(p >= T, 1 - p, p), atol=1e-6)
    apart = np.abs(np.clip(pixel, -12, 12) - np.clip(unet, -12, 12))
    np.testing.assert_allclose(found["logit_gap"], apart / REACH, atol=1e-6)
    gap = np.abs(expit(pixel) - expit(unet))
    np.testing.assert_allclose(found["probability_gap"], gap, atol=1e-5)
    h = SPREAD_PX // 2
    window = p[10 - h : 11 + h, 7 - h : 8 + h]
    assert found["spread"][10, 7] == pytest.approx(2 * window.std(), abs=1e-5)


def test_measures_stay_between_0_and_1_at_extremes() -> None:
    wild = np.full((6, 6), 1e9)
    for p in (0.0, 1.0):
        found = measures(np.full((6, 6), p), wild, -wild, T)
        assert np.isfinite(found).all() and found.min() >= 0 and found.max() <= 1


def test_the_error_model_finds_what_it_was_given(rng: np.random.Generator) -> None:
    rows = np.concatenate(
        [measures(*tile(seed), T).reshape(len(SINGLE), -1).T for seed in range(20)]
    )
    odds = logit(np.clip(rows[:, SINGLE.index("expected_error")], 1e-6, 1))
    gap = rows[:, SINGLE.index("logit_gap")]
    wrong = rng.random(len(rows)) < expit(odds + 20 * gap - 2)
    told = fit_errors(rows, wrong)
    by_name = dict(zip(told.names, np.array(told.coefficient) / told.scale, strict=True))
    assert by_name["logit_gap"] == pytest.approx(20, rel=0.2)
    shown = told.map(rows.T.reshape(len(SINGLE), 40, -1))
    assert shown.mean() == pytest.approx(wrong.mean(), abs=0.002)
    with pytest.raises(ValueError, match="nothing to learn"):
        fit_errors(rows, np.zeros(len(rows), bool))


def test_the_choice_survives_json_and_refuses_another_version() -> None:
    model = ErrorModel(SINGLE, (0.1,) * 6, (2.0,) * 6, (1.0,) * 6, -0.5)
    for chosen in (Uncertainty("entropy", T), Uncertainty(COMBINED, T, model)):
        again = Uncertainty.from_dict(json.loads(json.dumps(chosen.as_dict())))
        assert again == chosen
        np.testing.assert_array_equal(again.map(*tile()), chosen.map(*tile()))
        assert again.map(*tile()).shape == (24, 24)
    whole = Uncertainty(COMBINED, T, model).as_dict()
    for damage, words in (
        ({"measure": "mood", "model": None}, "does not know"),
        ({"model": {**whole["model"], "names": ["a"]}}, "does not know"),
        ({"measure": COMBINED, "model": None}, "does not know"),
        ({"threshold": None}, "cannot be read"),
        ({"model": {"names": []}}, "cannot be read"),
    ):
        with pytest.raises(ModelError, match=words):
            Uncertainty.from_dict({**whole, **damage})


def sources(folder: Path, *, told_by: str) -> tuple[Sources, np.ndarray, list[np.ndarray]]:
    """Scores whose errors are told by the ``score``, by the ``gap`` of the models, or ``both``."""
    store, _, dataset, _ = world(folder)
    truth = dataset["mask"].values[:-1] == 1
    rng = np.random.default_rng(5)
    gap = np.abs(rng.normal(size=truth.shape))
    if told_by == "score":
        score = np.where(truth, 1.0, -1.0) + rng.normal(size=truth.shape)
    elif told_by == "gap":
        wrong = rng.random(truth.shape) < 0.15
        score = np.where(truth ^ wrong, 1.0, -1.0) * rng.uniform(0.1, 2, truth.shape)
        gap = np.where(wrong, 3.0, 0.3)
    else:
        sure = rng.uniform(0.05, 2, truth.shape)
        wrong = rng.random(truth.shape) < expit(3 * gap - 4 * sure - 1)
        score = np.where(truth ^ wrong, sure, -sure)
    ids = np.arange(1, len(truth) + 1)
    stacked = expit(2 * score)
    paths = [
        write_scores(folder / f"{name}.zarr", ids, values.astype(np.float32), name=kind)
        for name, values, kind in (
            ("pixel", 2 * score + gap, "logit"), ("unet", 2 * score - gap, "logit"),
            ("stack", stacked, "probability"),
        )
    ]  # fmt: skip
    arrays = [a.astype(np.float32) for a in (stacked, 2 * score + gap, 2 * score - gap)]
    return Sources(store, *paths, threshold=0.5), truth, arrays


@pytest.fixture(scope="module")
def by_both(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    given, truth, arrays = sources(tmp_path_factory.mktemp("both"), told_by="both")
    chosen, told = choose(given, np.arange(len(truth)) // 2, resamples=200)
    return {"truth": truth, "arrays": arrays, "chosen": chosen, "told": told}


def test_the_plain_distance_stays_where_nothing_beats_it(tmp_path: Path) -> None:
    given, truth, _ = sources(tmp_path, told_by="score")
    chosen, told = choose(given, np.arange(len(truth)) // 2, resamples=200)
    # At a threshold of a half, these three order pixels alike.
    area = {m["name"]: m["auc"]["all"] for m in told["measures"]}
    assert area[PLAIN] == pytest.approx(area["entropy"], abs=2e-3)
    assert chosen.measure in {PLAIN, "entropy", "expected_error"} and chosen.model is None
    assert area["logit_gap"] < 0.6 < area[PLAIN]


def test_the_best_single_measure_is_chosen(tmp_path: Path) -> None:
    given, truth, _ = sources(tmp_path, told_by="gap")
    chosen, told = choose(given, np.arange(len(truth)) // 2, resamples=200)
    row = {m["name"]: m for m in told["measures"]}
    assert row[PLAIN]["gain"] is None and row["logit_gap"]["gain"]["shown"]
    assert row["logit_gap"]["auc"]["all"] == 1
    # The combination can do no better than without a fault.
    assert told["measure"] == chosen.measure == "logit_gap" and chosen.model is None


def test_the_combination_is_chosen_where_it_takes_both(by_both: dict[str, Any]) -> None:
    told, chosen = by_both["told"], by_both["chosen"]
    row = {m["name"]: m["auc"]["all"] for m in told["measures"]}
    assert row[COMBINED] > max(row[name] for name in SINGLE) + 0.01
    assert told["measure"] == chosen.measure == COMBINED and chosen.model is not None
    weight = {c["name"]: c["value"] for c in told["coefficients"]}
    assert weight["logit_gap"] > 0.3
    json.dumps(told, allow_nan=False)
    wrong = (by_both["arrays"][0] >= 0.5) != by_both["truth"]
    maps = np.stack([chosen.map(*one) for one in zip(*by_both["arrays"], strict=True)])
    assert maps.mean() == pytest.approx(wrong.mean(), abs=0.02)


def test_the_areas_are_those_of_the_maps(by_both: dict[str, Any]) -> None:
    truth, (p, pixel, unet) = by_both["truth"], by_both["arrays"]
    called = p >= 0.5
    assert by_both["told"]["wrong"] == pytest.approx((called != truth).mean())
    maps = np.stack([measures(*one, 0.5) for one in zip(p, pixel, unet, strict=True)])
    for i, name in enumerate(SINGLE):
        wanted = float(error_auc(error_histogram(maps[:, i], truth, called)))
        (row,) = [m for m in by_both["told"]["measures"] if m["name"] == name]
        assert row["auc"]["all"] == pytest.approx(wanted, abs=1e-3)


def test_no_error_leaves_the_plain_distance(tmp_path: Path) -> None:
    given, truth, _ = sources(tmp_path, told_by="score")
    ids = np.arange(1, len(truth) + 1)
    perfect = np.where(truth, 0.9, 0.1).astype(np.float32)
    write_scores(tmp_path / "sure.zarr", ids, perfect, name="probability")
    chosen, told = choose(
        Sources(given.store, given.pixel, given.unet, tmp_path / "sure.zarr", 0.5),
        np.zeros(len(truth), int), resamples=20, jobs=2,
    )  # fmt: skip
    assert chosen.measure == PLAIN and told["coefficients"] is None and told["wrong"] == 0
    assert all(m["auc"]["all"] is None and m["gain"] is None for m in told["measures"])
    assert [m["name"] for m in told["measures"]] == list(SINGLE)
