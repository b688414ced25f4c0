"""Steps that clean a mask, against scikit-image, and the search that keeps only what helps."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import label, uniform_filter
from skimage.filters import apply_hysteresis_threshold
from skimage.morphology import remove_small_holes, remove_small_objects

from l4s_ensemble.errors import ModelError
from l4s_ensemble.stack.decision import candidates, search
from l4s_ensemble.stack.decision.postprocess import (
    Step,
    cleaned,
    filtered,
    guided,
    holes,
    hysteresis,
    smallest,
    smooth,
)

EDGE = 48


def blotchy(rng: np.random.Generator, edge: int = EDGE) -> np.ndarray:
    """Probability with objects and holes of many sizes."""
    noise = uniform_filter(rng.normal(size=(edge, edge)), 3)
    return (1 / (1 + np.exp(-5 * noise))).astype(np.float32)


def removed_by_skimage(called: np.ndarray, pixels: int) -> np.ndarray:
    # scikit-image renamed the bound: objects of at most max_size, before of less than min_size.
    try:
        return remove_small_objects(called, max_size=pixels - 1, connectivity=2)
    except TypeError:
        return remove_small_objects(called, min_size=pixels, connectivity=2)


def filled_by_skimage(called: np.ndarray, pixels: int) -> np.ndarray:
    try:
        return remove_small_holes(called, max_size=pixels, connectivity=1)
    except TypeError:
        return remove_small_holes(called, area_threshold=pixels + 1, connectivity=1)


@pytest.mark.parametrize("pixels", [1, 4, 9, 30])
def test_small_objects_go_as_in_scikit_image(rng, pixels):
    p = blotchy(rng)
    found = smallest(p >= 0.6, p, pixels, spared_at=2.0, spare_edge=False)
    np.testing.assert_array_equal(found, removed_by_skimage(p >= 0.6, pixels))


@pytest.mark.parametrize("pixels", [1, 4, 9, 30])
def test_enclosed_holes_are_filled_as_in_scikit_image(rng, pixels):
    p = blotchy(rng)
    called = p >= 0.4
    # A rim of nothing joins what the edge cuts into one large piece, which is no hole there.
    around = filled_by_skimage(np.pad(called, 40), pixels)[40:-40, 40:-40]
    np.testing.assert_array_equal(holes(called, pixels), around)
    assert pixels < 9 or holes(called, pixels).sum() > called.sum()


@pytest.mark.parametrize("high", [0.65, 0.8])
def test_hysteresis_is_scikit_images_with_objects_joined_by_corners_too(rng, high):
    """scikit-image joins pixels by their edges only: what it keeps is kept here as well."""
    p = blotchy(rng)
    labels, n = label(p >= 0.5, structure=np.ones((3, 3)))
    strong = [i for i in range(1, n + 1) if p[labels == i].max() >= high]
    found = hysteresis(p >= np.float32(0.5), p, high)
    np.testing.assert_array_equal(found, np.isin(labels, strong))
    of_skimage = apply_hysteresis_threshold(p, 0.5, high)
    assert (found | ~of_skimage).all()
    # Without corners between called pixels the two are the same.
    p[1::3] = p[2::3] = 0
    found = hysteresis(p >= np.float32(0.5), p, high)
    np.testing.assert_array_equal(found, apply_hysteresis_threshold(p, 0.5, high))


def test_a_sure_object_and_one_at_the_edge_can_be_spared():
    p = np.zeros((12, 12), np.float32)
    p[3:5, 3:5] = 0.95
    p[8:10, 8:10] = 0.6
    p[0:2, 8:10] = 0.6
    called = p > 0
    sure = smallest(called, p, 5, spared_at=0.9, spare_edge=False)
    assert sure.sum() == 4
    assert sure[3, 3]
    edge = smallest(called, p, 5, spared_at=2.0, spare_edge=True)
    assert edge.sum() == 4
    assert edge[0, 8]
    np.testing.assert_array_equal(smallest(called, p, 4, spared_at=2, spare_edge=False), called)


def test_on_a_constant_guide_the_guided_filter_is_a_mean_of_means(rng):
    p = blotchy(rng)
    for guide in (np.ones((EDGE, EDGE)), np.full((EDGE, EDGE, 3), 7.0)):
        mean = uniform_filter(p.astype(float), 5, mode="reflect")
        wanted = uniform_filter(mean, 5, mode="reflect")
        np.testing.assert_allclose(guided(p, guide, 2, 0.1), wanted, atol=1e-6)


def test_the_guided_filter_keeps_what_is_linear_in_the_guide(rng):
    image = rng.random((EDGE, EDGE, 3))
    p = (image @ [0.2, 0.3, 0.4] + 0.05).astype(np.float32)
    np.testing.assert_allclose(guided(p, image, 3, 1e-9), p, atol=1e-4)
    np.testing.assert_allclose(guided(p, 100 * image, 3, 1e-9, scaled=True), p, atol=1e-4)
    noisy = np.clip(p + rng.normal(0, 0.1, p.shape), 0, 1).astype(np.float32)
    assert np.abs(guided(noisy, image, 3, 1e-3) - p).mean() < np.abs(noisy - p).mean() / 2


def test_one_channel_and_a_channel_twice_give_the_same(rng):
    """The solution by matrices against that by division; epsilon is shared by equal channels."""
    p, image = blotchy(rng), rng.random((EDGE, EDGE))
    twice = guided(p, np.stack([image, image], axis=-1), 2, 0.02)
    np.testing.assert_allclose(twice, guided(p, image, 2, 0.01), atol=1e-5)


def test_smoothing_keeps_a_level_and_turns_with_the_tile(rng):
    np.testing.assert_allclose(smooth(np.full((9, 9), 0.3, np.float32), 1.5), 0.3, atol=1e-6)
    p = blotchy(rng)
    np.testing.assert_allclose(smooth(np.rot90(p), 1.0), np.rot90(smooth(p, 1.0)), atol=1e-5)
    assert np.isfinite(smooth(np.array([[0, 1]], np.float32), 1.0)).all()


def test_steps_are_applied_in_their_order_and_read_back(rng):
    p = blotchy(rng)
    small = Step.of("smallest", pixels=9, spared_at=2.0, spare_edge=False)
    fill = Step.of("holes", pixels=9)
    called = p >= 0.55
    there = smallest(holes(called, 9), p, 9, spared_at=2.0, spare_edge=False)
    np.testing.assert_array_equal(cleaned(called, p, [fill, small]), there)
    back = holes(smallest(called, p, 9, spared_at=2.0, spare_edge=False), 9)
    np.testing.assert_array_equal(cleaned(called, p, [small, fill]), back)
    assert Step.from_dict(small.as_dict()) == small
    assert filtered(p, ()) is p


def test_a_step_that_is_none_is_named(rng):
    with pytest.raises(ModelError, match="no step of that name"):
        Step.of("erode")
    with pytest.raises(ModelError, match="other parameters"):
        Step.of("holes", area=3)
    image_step = Step.of("guided", radius_px=2, epsilon=0.1, guide="image")
    with pytest.raises(ModelError, match="image"):
        filtered(blotchy(rng), [image_step])


def test_counts_of_a_whole_grid_are_those_of_each_step_applied(rng):
    p = blotchy(rng)
    truth = uniform_filter(p, 5) > 0.55
    steps = candidates.mask_candidates()
    before = [Step.of("holes", pixels=4)]
    grid = {
        name: [s for s in steps if s.name == name] for name in ("hysteresis", "smallest", "holes")
    }
    found = candidates.scored(p, truth, 0.55, before, {"none": [None], **grid})
    base = cleaned(p >= np.float32(0.55), p, before)
    for name, members in {"none": [None], **grid}.items():
        for counts, step in zip(found[name], members, strict=True):
            mask = base if step is None else cleaned(base, p, [step])
            wanted = [(mask & truth).sum(), (mask & ~truth).sum(), (~mask & truth).sum()]
            assert counts.tolist() == wanted


class Made:
    """Sixteen tiles in four folds; landslides are large, and there may be specks of noise."""

    def __init__(self, rng: np.random.Generator, specks: int) -> None:
        self.truth = np.zeros((16, EDGE, EDGE), bool)
        p = np.empty(self.truth.shape, np.float32)
        for i in range(16):
            y, x = rng.integers(2, 20, 2)
            self.truth[i, y : y + 18, x : x + 16] = True
            p[i] = np.where(self.truth[i], 0.7, 0.1) + rng.normal(0, 0.05, (EDGE, EDGE))
            spot = rng.integers(0, EDGE, (specks, 2))
            p[i, spot[:, 0], spot[:, 1]] = rng.uniform(0.5, 0.8, specks)
        self.probability = np.clip(p, 0, 1)
        self.fold = np.repeat(np.arange(4), 4)

    def __len__(self) -> int:
        return len(self.truth)

    def read(self, block):
        return self.probability[block], self.truth[block], None


@pytest.fixture
def few(monkeypatch):
    """Sixteen blocks are enough: what is made up is clear."""
    monkeypatch.setattr(search, "FEWEST_BLOCKS", 16)


def searched(made: Made) -> search.Searched:
    group = np.arange(len(made))
    return search.search(
        made, group, made.fold, group, threshold=0.4, bins=200, resamples=200, seed=0
    )


def test_what_helps_is_kept_and_does_help(rng, few):
    made = Made(rng, specks=40)
    found = searched(made)
    assert found.steps
    kept = [row for row in found.told["tried"] if row["kept"]]
    assert len(kept) == len(found.steps)
    assert all(row["low"] > 0 and row["agree"] for row in kept)
    hit = total = 0
    for p, truth in zip(made.probability, made.truth, strict=True):
        q = filtered(p, [s for s in found.steps if s.on_probability])
        called = q >= np.float32(found.threshold)
        mask = cleaned(called, q, [s for s in found.steps if not s.on_probability])
        hit += 2 * (mask & truth).sum()
        total += mask.sum() + truth.sum()
    assert hit / total > found.told["f1"] + 0.02
    assert hit / total == pytest.approx(kept[-1]["f1"], abs=0.01)


def test_where_nothing_is_wrong_nothing_is_kept(rng, few):
    found = searched(Made(rng, specks=0))
    assert found.steps == ()
    assert found.threshold == 0.4
    assert {row["step"] for row in found.told["tried"]} == {
        "smooth", "guided", "hysteresis", "smallest", "holes",
    }  # fmt: skip
    assert not any(row["kept"] for row in found.told["tried"])


def test_a_fold_does_not_choose_for_itself(rng, few):
    """Fold 0 alone has specks: it is scored at what is best without it, which is no cleaning."""
    made = Made(rng, specks=0)
    dirty = Made(rng, specks=40)
    made.probability[:4], made.truth[:4] = dirty.probability[:4], dirty.truth[:4]
    rows = {row["step"]: row for row in searched(made).told["tried"]}
    row = rows["smallest"]
    assert row["folds"][0] != row["folds"][1]
    assert row["chosen"]["pixels"] >= row["folds"][0]["pixels"]


def test_one_fold_chooses_nothing(rng):
    made = Made(rng, specks=40)
    made.fold[:] = 0
    found = searched(made)
    assert found.steps == ()
    assert "one fold" in found.told["reason"]


def test_few_blocks_choose_nothing(rng):
    made = Made(rng, specks=40)
    group = np.arange(len(made))
    found = search.search(made, group, made.fold, group // 2, threshold=0.4, bins=200)
    assert found.steps == ()
    assert "too few" in found.told["reason"]
