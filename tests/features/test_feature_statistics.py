from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from l4s_ensemble.features.contact import EACH_GROUP, for_contact, median_tile, write_contact
from l4s_ensemble.features.recipe import Feature
from l4s_ensemble.features.statistics import elsewhere, stability_index, univariate
from l4s_ensemble.features.summary import (
    Places,
    compared,
    describe,
    places_of,
    write_split_sample,
)  # fmt: skip
from l4s_ensemble.scenes.folds import Folds


def sampled(rng: np.random.Generator, n: int = 2000):
    truth = (rng.random(n) < 0.3).astype(np.uint8)
    values = np.round(rng.normal(size=n) + 1.2 * truth, 1).astype(np.float32)
    weight = np.where(truth > 0, 0.5, 4.0)
    place = rng.integers(-1, 4, n)
    values[place == 2] *= -1  # there landslides lie on the other side
    return values, truth, weight, place


def best_f1(values, truth, weight, cut, above):
    called = values >= cut if above else values <= cut
    right = weight[called & (truth > 0)].sum()
    wrong, missed = weight[called & (truth == 0)].sum(), weight[~called & (truth > 0)].sum()
    return right, wrong, missed, 2 * right / (2 * right + wrong + missed)


def test_places_left_out_agree_with_a_slow_count(rng):
    values, truth, weight, place = sampled(rng)
    made = elsewhere(values, truth, weight, place, 4)
    total, read = np.zeros(3), {}
    for k in range(4):
        here, there = place == k, (place >= 0) & (place != k)
        own = univariate(values[here], truth[here], weight[here])
        rest = univariate(values[there], truth[there], weight[there])
        assert made.auc[k] == pytest.approx(own.auc)
        read[k] = own.auc if rest.auc >= 0.5 else 1 - own.auc
        tried = [
            (best_f1(values[there], truth[there], weight[there], cut, above)[3], -above, cut)
            for cut in np.unique(values[there])
            for above in (False, True)
        ]
        f1, side, cut = max(tried)
        assert f1 == pytest.approx(rest.best_f1)
        total += best_f1(values[here], truth[here], weight[here], cut, side == -1)[:3]
    assert made.lowest_in == 2 and made.auc_lowest == pytest.approx(min(read.values()))
    assert made.auc_lowest < 0.5
    assert made.auc_spread == pytest.approx(max(read.values()) - min(read.values()))
    # A cut of the others may fall between two values of a place: both counts are then the same.
    assert made.best_f1 == pytest.approx(2 * total[0] / (2 * total[0] + total[1] + total[2]))


def test_too_few_rows_or_places_say_nothing(rng):
    values, truth, weight, _ = sampled(rng, 400)
    alone = elsewhere(values, truth, weight, np.zeros(400, np.int64), 1)
    assert alone.auc[0] is not None and alone.auc_lowest is None and alone.best_f1 is None
    nowhere = elsewhere(values, truth, weight, np.full(400, -1), 2)
    assert nowhere.auc == (None, None)
    small = np.where(np.arange(400) < 30, 1, 0)
    assert elsewhere(values, truth, weight, small, 2).auc[1] is None


def test_stability_is_zero_for_the_same_and_grows_with_the_shift(rng):
    one = rng.normal(size=5000).astype(np.float32)
    weight = np.ones(5000)
    assert stability_index(one, weight, one, weight) == pytest.approx(0, abs=1e-12)
    steps = [stability_index(one + d, weight, one, weight) for d in (0.1, 0.5, 1, 3)]
    assert steps == sorted(steps) and steps[0] < 0.1 and steps[-1] > 2
    fresh = rng.normal(size=5000).astype(np.float32)
    assert stability_index(fresh, weight, one, weight) < 0.02


def test_stability_of_two_values_is_the_formula():
    reference = np.repeat(np.float32([0, 1]), [900, 100])
    values = np.repeat(np.float32([0, 1]), [500, 500])
    made = stability_index(values, np.ones(1000), reference, np.ones(1000))
    by_hand = (0.5 - 0.9) * np.log(0.5 / 0.9) + (0.5 - 0.1) * np.log(0.5 / 0.1)
    assert made == pytest.approx(by_hand, rel=0.02)
    # The same shares by weights instead of rows.
    few = np.float32([0, 1] * 500)
    weighed = stability_index(few, np.tile([0.5, 0.5], 500), few, np.tile([0.9, 0.1], 500))
    assert weighed == pytest.approx(by_hand, rel=0.02)
    constant = np.zeros(50, np.float32)
    assert stability_index(constant, np.ones(50), constant, np.ones(50)) == pytest.approx(0)
    assert stability_index(constant + 1, np.ones(50), constant, np.ones(50)) > 3


def test_medians_move_in_interquartile_ranges(rng):
    one = rng.normal(size=4000).astype(np.float32)
    made = compared(one + 1.35, np.ones(4000), one, np.ones(4000))
    assert made["shift"] == pytest.approx(1.0, abs=0.05)
    alone = compared(one, np.ones(4000), one[:0], np.ones(0))
    assert alone["psi"] is None and alone["shift"] is None
    flat = np.zeros(9, np.float32)
    assert compared(flat, np.ones(9), flat, np.ones(9))["shift"] == 0
    assert compared(flat + 1, np.ones(9), flat, np.ones(9))["shift"] is None


def folds_of(scene: list[int], landslide: list[int]) -> Folds:
    n = len(scene)
    return Folds(
        patch=np.arange(10, 10 + n), scene=np.array(scene, np.int32),
        row=np.zeros(n, np.int32), col=np.arange(n, dtype=np.int32),
        role=np.array(["fit"] * (n - 1) + ["holdout"]),
        fold=np.array([i % 2 for i in range(n - 1)] + [-1], np.int32),
        block=np.arange(n, dtype=np.int32), landslide_pixels=np.array(landslide),
        content_hash=np.array([str(i) for i in range(n)]), n_folds=2, grid="manifest",
        block_tiles=1,
    )  # fmt: skip


def test_places_are_scenes_or_else_folds():
    two = folds_of([1] * 6 + [2] * 6 + [3, 3], [5] * 14)
    patch = np.repeat(two.fit_ids, 60)
    found = places_of(two, patch)
    assert found.kind == "scene" and found.names == ("scene 1", "scene 2")
    assert found.tiles == (6, 6)
    assert (found.of_row[patch == two.fit_ids[-1]] == -1).all()  # a scene of one tile
    one = folds_of([1] * 14, [5] * 14)
    found = places_of(one, np.repeat(one.fit_ids, 60))
    assert found.kind == "fold" and found.names == ("fold 0", "fold 1")
    assert places_of(one, one.fit_ids[:1]).names == ()


def test_the_median_tile_is_a_fitting_tile_with_landslides():
    folds = folds_of([1] * 6, [0, 30, 10, 20, 0, 20])
    assert median_tile(folds) == 13
    assert median_tile(folds_of([1] * 3, [0, 0, 7])) is None


def feature(name: str, group: str) -> Feature:
    return Feature(name, group, "1", ("B4",), "B4", "textbook", 0)


def test_description_leaves_out_what_is_not_finite(rng):
    values = rng.normal(size=(900, 3)).astype(np.float32)
    values[:, 1] = 7
    values[::9, 2] = np.nan
    truth = (np.arange(900) % 3 == 0).astype(np.uint8)
    places = Places("scene", ("scene 1", "scene 2"), np.arange(900) % 2, (5, 5))
    plan = [feature(n, "indices") for n in "abc"]
    a, b, c = describe(plan, values, truth, np.ones(900), places)
    assert a["nonfinite"] == 0 and a["mode_share"] < 0.01 and a["group"] == "indices"
    assert {"auc", "p25", "p50", "p75", "shift", "psi"} <= set(a["places"][0])
    assert a["elsewhere"]["lowest_in"] in places.names
    assert b["lowest"] == b["highest"] == 7 and b["mode_share"] == 1
    assert c["nonfinite"] == 100 and np.isfinite([c["p01"], c["p99"], c["auc"]]).all()
    values[:, 0] = np.nan
    assert describe(plan, values, truth, np.ones(900), places)[0]["auc"] is None


def test_the_contact_sheet_has_every_group_and_no_copies(rng):
    values = rng.normal(size=(800, 12)).astype(np.float32)
    values[:, 1] = -values[:, 0]  # a copy of a stronger one
    values[:, 11] = 3
    groups = ["a"] * 8 + ["b"] * 3 + ["c"]
    told = [
        {"group": g, "auc": 0.5 + 0.4 / (i + 1), "lowest": 0.0, "highest": float(i < 11)}
        for i, g in enumerate(groups)
    ]
    chosen = for_contact(told, values, most=9)
    assert len(chosen) == 9 and 1 not in chosen and 11 not in chosen
    assert [groups[i] for i in chosen] == sorted(groups[i] for i in chosen)
    assert sum(groups[i] == "b" for i in chosen) == EACH_GROUP
    assert chosen[0] == 0


def test_pictures_keep_their_values(tmp_path: Path, rng):
    pictures = np.stack([rng.normal(size=(16, 16)) * 1e6, np.full((16, 16), 4.0)])
    mask = (pictures[0] > 0).astype(np.uint8)
    write_contact(tmp_path / "contact.npz", 7, ["a", "b"], pictures.astype(np.float32), mask)
    with np.load(tmp_path / "contact.npz", allow_pickle=False) as z:
        assert int(z["patch"]) == 7 and list(z["names"]) == ["a", "b"]
        assert z["pictures"].dtype == np.float16 and (z["pictures"][1] == 0.5).all()
        low, high = z["low"][0], z["high"][0]
        back = low + (high - low) * z["pictures"][0].astype(float)
        inside = (pictures[0] > low) & (pictures[0] < high)
        np.testing.assert_allclose(back[inside], pictures[0][inside], atol=2e-3 * (high - low))
        np.testing.assert_array_equal(z["mask"], mask)


def test_a_split_leaves_a_few_pixels(tmp_path: Path):
    def read(positions):
        at = positions.astype(np.float32)[:, None, None, None]
        return np.broadcast_to(at, (len(positions), 2, 16, 16)).copy()

    for name in ("one.npz", "two.npz"):
        write_split_sample(tmp_path / name, read, np.arange(200), ["a", "b"], seed=3)
    with np.load(tmp_path / "one.npz") as one, np.load(tmp_path / "two.npz") as two:
        assert one["X"].shape == (6000, 2) and len(np.unique(one["X"])) == 60
        np.testing.assert_array_equal(one["X"], two["X"])
    write_split_sample(tmp_path / "none.npz", read, np.arange(0), ["a", "b"], seed=3)
    assert np.load(tmp_path / "none.npz")["X"].shape == (0, 2)
