"""What is known of a feature by its name: the expected direction, and whether levels cancel."""

from __future__ import annotations

import re

import numpy as np
import pytest
from feature_world import RGB, scene

from l4s_ensemble.config import FeaturesConfig
from l4s_ensemble.data.sensor import L4S
from l4s_ensemble.features.build import compute
from l4s_ensemble.features.physics import EXPECTED, expected_sign, is_relational
from l4s_ensemble.features.registry import GROUPS, all_fields, catalogue, select


@pytest.mark.parametrize(
    ("name", "sign"),
    [
        ("ndvi", -1), ("ndvi_mean_9", -1), ("ndvi_minus_mean_33", -1), ("ndvi_std_9", 0),
        ("ndvi_bothat_17", 1), ("ndvi_bothat_log2_px", 0), ("bright_tophat_9", 1),
        ("bright_tophat_narrow_9", 0), ("bsi_scene_rank", 1), ("bright_bothat_9", 0),
        ("slope_deg", 0), ("northness", 0), ("bright_coherence_4", 0),
    ],
)  # fmt: skip
def test_directions(name: str, sign: int) -> None:
    assert name in catalogue()
    assert expected_sign(name) == sign == catalogue()[name].feature.expected


def test_every_direction_is_of_something_that_exists() -> None:
    known = set(catalogue()) | set(all_fields())
    assert set(EXPECTED) <= known


@pytest.mark.parametrize("sensor", [L4S, RGB], ids=["l4s", "rgb"])
def test_opposite_bands_have_opposite_directions_in_the_data(sensor) -> None:  # type: ignore[no-untyped-def]
    """A patch made barer (redder, brighter, less green) moves features as expected, none against.

    The same tile with a bare square in its middle: inside it every feature with a direction
    moves that way.
    """
    image = scene(64, 64, sensor, seed=3)
    bare = image.copy()
    gains = {"B4": 3.0, "B3": 1.6, "B2": 1.5, "B8": 0.8, "B11": 1.9, "B12": 2.6, "B5": 1.8}
    for i, band in enumerate(sensor.band_names):
        bare[i, 24:40, 24:40] *= gains.get(band, 1.0)
    plan = select(sensor, FeaturesConfig(groups=GROUPS))
    # What compares a pixel with its near surroundings does not feel a square of 16 px inside.
    near = re.compile(r"_(dog_|minus_mean_9|(top|bot)hat_(5|9)$)")
    signed = [
        f.name for f in plan.features
        if f.expected and f.group != "object" and not near.search(f.name)
    ]  # fmt: skip
    assert len(signed) > 40
    plan = plan.only(signed)
    before, after = (compute(im, sensor, plan)[:, 30:34, 30:34] for im in (image, bare))
    for feature, b, a in zip(plan.features, before, after, strict=True):
        moved = float(np.median(a - b)) * feature.expected
        tolerance = 1e-4 + 0.02 * float(np.abs(b).max())
        assert moved >= -tolerance, (feature.name, moved)


def test_levels_cancel_where_it_is_said() -> None:
    """True colour, a scene paler by a common factor: z, rank and relative contrasts keep order."""
    plan = select(RGB, FeaturesConfig(groups=("texture", "morphology", "relative")))
    kept = [f for f in plan.features if is_relational(f.name, f.group)]
    assert len(kept) > 60
    assert all(not is_relational(n, "context") for n in ("ri", "ri_mean_9", "bright_max_5"))
