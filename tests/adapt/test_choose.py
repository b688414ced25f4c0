"""Which tiles are worth a label."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from l4s_ensemble.adapt.choose import Candidates, choose


def world(rng: np.random.Generator, tiles: int = 60) -> Candidates:
    return Candidates(
        patch=np.arange(10, 10 + tiles),
        uncertain=rng.random(tiles) * 0.1,
        mapped=np.where(np.arange(tiles) % 2, 50, 0),
        dissimilarity=1 + rng.random(tiles) * 0.1,
        look=rng.normal(size=(tiles, 3)),
    )


def test_as_many_as_asked_for_once_each_and_the_same_again(rng: np.random.Generator) -> None:
    found = world(rng)
    chosen = choose(found, 20)
    patches = [c.patch for c in chosen]
    assert len(set(patches)) == 20 and set(patches) <= set(found.patch.tolist())
    assert chosen == choose(found, 20) and all(c.reason for c in chosen)
    assert patches[:5] == [c.patch for c in choose(found, 5)]
    assert len(choose(found, 500)) == 60
    mapped = sum(int(found.mapped[found.patch == p][0]) > 0 for p in patches)
    assert 14 <= mapped <= 16


def test_a_tile_unlike_all_others_is_chosen(rng: np.random.Generator) -> None:
    found = world(rng)
    look, far = found.look.copy(), found.dissimilarity.copy()
    look[17], far[17] = 30, 5
    assert found.patch[17] in [
        c.patch for c in choose(replace(found, look=look, dissimilarity=far), 3)
    ]


def test_of_two_equal_tiles_one_is_enough(rng: np.random.Generator) -> None:
    found = world(rng)
    look, uncertain, far = found.look.copy(), found.uncertain.copy(), found.dissimilarity.copy()
    look[1] = look[3] = 0
    uncertain[[1, 3]], far[[1, 3]] = 1.0, 9.0
    twins = replace(found, look=look, uncertain=uncertain, dissimilarity=far)
    chosen = [c.patch for c in choose(twins, 15)]
    assert len({int(found.patch[1]), int(found.patch[3])} & set(chosen)) == 1


def test_chosen_tiles_are_spread_wider_than_random_ones(rng: np.random.Generator) -> None:
    found = world(rng, 200)

    def gap(patches: list[int]) -> float:
        look = found.look[np.isin(found.patch, patches)]
        apart = np.linalg.norm(look[:, None] - look, axis=2)
        return float(np.median(apart[np.triu_indices(len(look), 1)]))

    random = [gap(rng.choice(found.patch, 12, replace=False).tolist()) for _ in range(20)]
    assert gap([c.patch for c in choose(found, 12)]) > np.median(random)
