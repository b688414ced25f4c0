"""The fast form of the trees gives LightGBM's own scores, bit by bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
from numpy.typing import NDArray

from l4s_ensemble.pixel.bit_trees import BitTrees, bit_trees
from l4s_ensemble.pixel.trees import read_trees


def fitted_to(x: NDArray[np.float32], y: NDArray[Any], path: Path, **params: Any) -> lgb.Booster:
    settings = {
        "objective": "binary",
        "num_leaves": 63,
        "min_data_in_leaf": 3,
        "verbosity": -1,
        "num_threads": 1,
        "seed": 1,
        "deterministic": True,
        "force_row_wise": True,
        **params,
    }
    booster = lgb.train(settings, lgb.Dataset(x, y), num_boost_round=25)
    path.write_text(booster.model_to_string())
    return booster


def of_file(*paths: Path) -> BitTrees:
    return bit_trees(read_trees([path.read_text() for path in paths]))


def by_lightgbm(booster: lgb.Booster, image: NDArray[np.float32]) -> NDArray[np.float64]:
    rows = np.moveaxis(image, 0, -1).reshape(-1, len(image))
    told = booster.predict(rows, raw_score=True, num_threads=1)
    return np.asarray(told).reshape(image.shape[1:])


@pytest.mark.parametrize("leaves", [2, 64, 300])
@pytest.mark.parametrize("shape", [(16, 24), (37, 141), (13, 5), (1, 1)])
def test_scores_are_those_of_lightgbm(
    leaves: int, shape: tuple[int, int], tmp_path: Path, rng: np.random.Generator
) -> None:
    # Whole numbers fall on thresholds, constants have none, one column is smooth in space.
    x = rng.normal(size=(4000, 5)).astype(np.float32)
    x[:, 1] = np.round(3 * x[:, 1])
    x[:, 2] = 0.5
    y = (x[:, 0] + 0.3 * x[:, 1] ** 2 + 0.5 * rng.normal(size=4000)) > 0.5
    booster = fitted_to(x, y, tmp_path / "b.txt", num_leaves=leaves)
    image = rng.normal(size=(5, *shape)).astype(np.float32)
    image[1] = np.round(3 * image[1])
    image[3] = np.linspace(-2, 2, image[3].size).reshape(shape)
    image[4] *= 100  # far outside of what was seen
    trees = of_file(tmp_path / "b.txt")
    np.testing.assert_array_equal(trees.score(image), by_lightgbm(booster, image))


def test_pixels_on_a_threshold_go_where_lightgbm_sends_them(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    x = rng.random((3000, 2)).astype(np.float32)
    booster = fitted_to(x, x[:, 0] > x[:, 1], tmp_path / "b.txt")
    trees = of_file(tmp_path / "b.txt")
    on = np.concatenate(
        [trees.thresholds, np.nextafter(trees.thresholds, 2), np.nextafter(trees.thresholds, -2)]
    )
    image = np.stack([on, on[::-1]])[:, None, :].astype(np.float32)
    np.testing.assert_array_equal(trees.score(image), by_lightgbm(booster, image))


def test_trees_without_a_split_are_constants(tmp_path: Path, rng: np.random.Generator) -> None:
    x = rng.normal(size=(100, 2)).astype(np.float32)
    y = np.arange(100) % 4 == 0
    booster = fitted_to(x, y, tmp_path / "b.txt", min_data_in_leaf=80)
    trees = of_file(tmp_path / "b.txt")
    image = rng.normal(size=(2, 8, 8)).astype(np.float32)
    np.testing.assert_array_equal(trees.score(image), by_lightgbm(booster, image))


def test_a_tree_of_many_depths_is_walked_to_its_end(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    # Every split cuts a little off one side: as deep as it has leaves, and noise goes everywhere.
    x = np.repeat(np.arange(100, dtype=np.float32), 20)[:, None]
    y = 1.5 ** x[:, 0]
    booster = fitted_to(
        x, y, tmp_path / "b.txt", objective="regression", min_data_in_leaf=1, num_leaves=90
    )
    trees = of_file(tmp_path / "b.txt")
    assert trees.depth > 20
    image = rng.permutation(x[:, 0]).reshape(1, 40, 50)
    np.testing.assert_array_equal(trees.score(image), by_lightgbm(booster, image))


def test_an_image_of_other_features_is_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    x = rng.normal(size=(500, 3)).astype(np.float32)
    fitted_to(x, x[:, 0] > 0, tmp_path / "b.txt")
    trees = of_file(tmp_path / "b.txt")
    with pytest.raises(ValueError, match=r"\(3, y, x\) is wanted"):
        trees.score(np.zeros((2, 8, 8), np.float32))
    # A view, and doubles: brought into the form that the compiled code reads.
    image = rng.normal(size=(9, 8, 3)).transpose(2, 0, 1)
    wanted = trees.score(np.ascontiguousarray(image, dtype=np.float32))
    np.testing.assert_array_equal(trees.score(image), wanted)


def test_damaged_trees_are_told_of(tmp_path: Path, rng: np.random.Generator) -> None:
    x = rng.normal(size=(500, 2)).astype(np.float32)
    fitted_to(x, x[:, 0] > 0, tmp_path / "b.txt", num_leaves=4)
    text = (tmp_path / "b.txt").read_text()
    for name, children in {"circle": "0 0 0", "cut": "-1 -2 -3"}.items():
        lines = [
            f"left_child={children}" if line.startswith("left_child=") else line
            for line in text.splitlines()
        ]
        (tmp_path / f"{name}.txt").write_text("\n".join(lines))
        with pytest.raises(ValueError, match="tree"):
            of_file(tmp_path / f"{name}.txt")


def test_trees_of_other_kinds_are_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    x = rng.normal(size=(4000, 3)).astype(np.float32)
    y = np.sin(5 * x[:, 0]) + rng.normal(size=4000) > 0
    fitted_to(x, y, tmp_path / "fine.txt", max_bin=1000)
    with pytest.raises(ValueError, match="max_bin"):
        of_file(tmp_path / "fine.txt")
    x[::5, 0] = np.nan
    fitted_to(x, y, tmp_path / "nan.txt")
    with pytest.raises(ValueError, match="plain comparisons"):
        of_file(tmp_path / "nan.txt")
