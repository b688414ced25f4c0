"""Predicted landslides as rows: against numbers worked out by hand and by plain loops."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from l4s_ensemble.data.store import STORE
from l4s_ensemble.features.source import FeatureSource
from l4s_ensemble.pixel.landslides import (
    PIXELS,
    draw_pixels,
    explain_landslides,
    features_of_draws,
)
from l4s_ensemble.pixel.model import PixelModel
from l4s_ensemble.pixel.shap import Ground
from l4s_ensemble.predict.landslides import TileMaps, landslides_of
from l4s_ensemble.predict.landslides_table import (
    COLUMNS,
    LANDSLIDES_JSON,
    as_csv,
    by_size,
    why,
)
from l4s_ensemble.predict.patch_scores import Kept
from l4s_ensemble.predict.result import open_logits, open_masks
from l4s_ensemble.run.files import read_json
from l4s_ensemble.scenes.landslides import find_outlines

EDGE = 20
THRESHOLDS = {"pixel": 0.5, "unet": 0.3}


@pytest.fixture
def world(rng):
    """Two tiles side by side: one landslide over their seam, one small landslide in the second."""
    masks = np.zeros((2, EDGE, EDGE), np.uint8)
    masks[0, 5:9, 15:] = 1
    masks[1, 5:9, :3] = 1
    masks[1, 15, 10] = 1
    maps = [
        TileMaps(
            probability=rng.random((EDGE, EDGE)),
            pixel=rng.random((EDGE, EDGE)),
            unet=rng.random((EDGE, EDGE)),
            slope_deg=rng.uniform(0, 60, (EDGE, EDGE)),
            elevation_m=rng.uniform(500, 900, (EDGE, EDGE)),
            reference=(rng.random((EDGE, EDGE)) < 0.5).astype(np.uint8),
        )
        for _ in range(2)
    ]
    return masks, maps


def rows_of(masks, maps, place, pixel_m=10.0):
    outlines = find_outlines(lambda i: masks[i], len(masks), place)
    return landslides_of(outlines, lambda i: maps[i], [7, 8], place, THRESHOLDS, pixel_m=pixel_m)


def side_by_side():
    return np.array([2, 2]), np.array([3, 3]), np.array([4, 5])


def test_a_landslide_over_a_seam_is_one_row_and_its_numbers_are_those_of_its_pixels(world):
    masks, maps = world
    large, small = rows_of(masks, maps, side_by_side())
    inside = [m > 0 for m in masks]
    inside[1][15, 10] = False

    def of(name):
        return np.concatenate([getattr(m, name)[i] for m, i in zip(maps, inside, strict=True)])

    assert large["tiles"] == [7, 8] and large["scene"] == 2 and not large["cut_by_edge"]
    assert (large["pixels"], large["area_m2"]) == (32, 3200.0)
    assert large["centre_in"] == "scene"
    assert large["centre_row_px"] == pytest.approx(3 * EDGE + 6.5)
    assert large["centre_col_px"] == pytest.approx(4 * EDGE + 18.5)
    p = of("probability")
    assert large["mean_probability"] == pytest.approx(p.mean(), abs=1e-4)
    assert large["peak_probability"] == pytest.approx(p.max(), abs=1e-4)
    assert large["mean_uncertainty"] == pytest.approx((1 - abs(2 * p - 1)).mean(), abs=1e-4)
    assert large["share_predicted_pixel"] == pytest.approx((of("pixel") >= 0.5).mean(), abs=1e-4)
    assert large["share_predicted_unet"] == pytest.approx((of("unet") >= 0.3).mean(), abs=1e-4)
    assert large["mean_slope_deg"] == pytest.approx(of("slope_deg").mean(), abs=1e-2)
    assert large["max_slope_deg"] == pytest.approx(of("slope_deg").max(), abs=1e-2)
    assert large["lowest_m"] == pytest.approx(of("elevation_m").min(), abs=1e-2)
    assert large["highest_m"] == pytest.approx(of("elevation_m").max(), abs=1e-2)
    assert large["true_share"] == pytest.approx(of("reference").mean(), abs=1e-4)
    assert small["id"] == 2 and small["tiles"] == [8] and small["pixels"] == 1


def test_where_places_are_not_known_centres_are_in_the_tile(world):
    masks, maps = world
    rows = rows_of(masks, maps, tuple(np.full(2, -1) for _ in range(3)), pixel_m=30.0)
    assert [r["pixels"] for r in rows] == [20, 12, 1]
    assert rows[0]["area_m2"] == 20 * 900 and rows[0]["cut_by_edge"]
    assert rows[0]["scene"] is None and rows[0]["centre_in"] == "tile"
    assert (rows[1]["centre_row_px"], rows[1]["centre_col_px"]) == (6.5, 1.0)


def test_what_a_sensor_lacks_is_left_empty_and_a_given_uncertainty_counts(world):
    masks, maps = world
    bare = [
        TileMaps(m.probability, m.pixel, m.unet, uncertainty=np.full((EDGE, EDGE), 0.25))
        for m in maps
    ]
    large = rows_of(masks, bare, side_by_side())[0]
    assert large["mean_uncertainty"] == 0.25
    absent = ("mean_slope_deg", "max_slope_deg", "lowest_m", "highest_m", "true_share")
    assert all(large[key] is None for key in absent)


def test_the_csv_has_one_row_a_landslide_and_always_the_same_columns(world):
    rows = rows_of(*world, side_by_side())
    reason = {
        "sentence": "bare soil +1.9, but water −0.7",
        "features": [{"name": "ndvi", "log_odds": 1.23456}, {"name": "slope_deg", "log_odds": -2}],
    }
    rows[0].update(why(reason))
    rows[1].update(why(None))
    first, second = csv.DictReader(io.StringIO(as_csv(rows)))
    assert list(first) == list(second) == list(COLUMNS)
    assert first["tiles"] == "7;8" and first["cut_by_edge"] == "false"
    assert first["reason"] == reason["sentence"] and first["feature_1_log_odds"] == "1.2346"
    assert first["feature_3"] == "" and second["reason"] == "" and second["feature_1"] == ""
    assert set(rows[0]) <= set(COLUMNS)


def test_sizes_are_counted_once_each():
    rows = by_size([1, 9, 10, 99, 100, 5000], 10.0)
    assert [r["landslides"] for r in rows] == [2, 1, 1, 1, 0, 1]
    assert sum(r["area_m2"] for r in rows) == (1 + 9 + 10 + 99 + 100 + 5000) * 100
    assert rows[-1]["below_px"] is None


def test_reasons_add_up_to_what_the_classifier_said_of_pixels_whose_features_were_kept(tiny_run):
    folder, store = tiny_run / "predict/valid", tiny_run / "data/valid" / STORE
    model, seed = PixelModel.load(tiny_run / "pixel"), 0
    source = FeatureSource.beside(model.folder, store, folder / "result")
    kept, patch = Kept(folder / "result", seed).read(), np.arange(1, 5)
    masks = open_masks(folder / "result", patch)
    known = {int(n): kept["pixel"][kept["patch"] == n] for n in patch}
    for tile, number in zip(source.each(source.positions(patch)), patch, strict=True):
        rows = kept["values"][kept["patch"] == number]
        np.testing.assert_array_equal(rows, tile.reshape(len(tile), -1).T[known[number]])
    scene = source.dataset()
    place = tuple(scene[name].values for name in ("scene", "row", "col"))
    outlines = find_outlines(lambda i: masks[i], 4, place)
    numbers, logit = range(1, len(outlines) + 1), open_logits(folder / "result", "pixel")["logit"]
    drawn = draw_pixels(outlines, numbers, 2, patch, seed=seed, known=known)
    # Those that were kept are enough: drawn from all pixels, they are the same.
    np.testing.assert_array_equal(drawn, draw_pixels(outlines, numbers, 2, patch, seed=seed))
    values = features_of_draws(source, patch, drawn, 1)
    told = explain_landslides(model, Ground.load(model.folder), drawn, values)
    listed = read_json(folder / "landslides" / LANDSLIDES_JSON)
    assert list(told) == [row["id"] for row in listed["landslides"]] and len(told) > 1
    for row in listed["landslides"]:
        own = drawn[drawn[:, 0] == row["id"]]
        assert len(own) == max(2, min(row["pixels"], PIXELS)) and set(own[:, 3]) == {0, 1}
        said = logit.values.reshape(2, 4, -1)[own[:, 3], own[:, 1], own[:, 2]].mean()
        assert told[row["id"]]["logit"] == pytest.approx(said, abs=2e-3)
        # The pixel classifier does not explain what it would not map.
        alone = row["mean_probability_pixel"] < listed["thresholds"]["pixel"]
        assert row["reason"].startswith("found by") == alone == (not row["words"])
        assert alone or row["reason"] == told[row["id"]]["sentence"]
