from __future__ import annotations

import numpy as np
import pytest
from feature_world import RGB, compute, light, plan_of, scene

from l4s_ensemble.data.sensor import L4S
from l4s_ensemble.features.indices import INDICES

PUBLISHED = {
    "ndvi": "NDVI", "ndre": "NDREI", "cire": "CIRE", "psri": "PSRI", "ndmi": "NDMI", "nmdi": "NMDI",
    "nbr": "NBR", "nbr2": "NBR2", "mndwi": "MNDWI", "bsi": "BI", "bright": "BITM", "ri": "RI",
    "ikaw": "IKAW", "gli": "GLI", "vari": "VARI",
}  # fmt: skip
"""Name here, name in spyndex."""

BY_HAND = {"tc_brightness", "tc_greenness"}
"""spyndex does not have these; their formulas are written out below."""

CLIPPED = {"cire": (-1, 20), "psri": (-1, 1), "vari": (-2, 2), "nmdi": (-2, 2)}
NEAR_ZERO = {
    "vari": lambda b: b["B3"] + b["B4"] - b["B2"],
    "nmdi": lambda b: b["B8"] + b["B11"] - b["B12"],
}
"""Denominators that cross zero: there rounding decides between the bounds."""

LETTERS = {
    "N": "B8", "R": "B4", "G": "B3", "B": "B2", "RE1": "B5", "RE2": "B6", "RE3": "B7",
    "S1": "B11", "S2": "B12",
}  # fmt: skip


def oracle(name: str, bands: dict[str, np.ndarray], **letters: str) -> np.ndarray:
    import spyndex

    names = LETTERS | letters
    params = {k: bands[v] for k, v in names.items() if v in bands} | {"g": 2.5, "L": 1.0}
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(spyndex.computeIndex(name, params))


@pytest.fixture(scope="module")
def full():
    image = scene(40, 40)
    plan = plan_of(L4S)
    return light(L4S, image), dict(zip(plan.names, compute(image, L4S, plan), strict=True))


@pytest.fixture(scope="module")
def colour():
    image = scene(40, 40, RGB)
    plan = plan_of(RGB)
    return light(RGB, image), dict(zip(plan.names, compute(image, RGB, plan), strict=True))


def test_every_index_has_an_oracle_or_a_formula_here():
    assert {i.name for i in INDICES} == set(PUBLISHED) | BY_HAND


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_index_is_the_published_one(name, full, colour):
    bands, made = full if name in full[1] else colour
    # CIRE: the plateau beyond the red edge, as Sentinel-2 uses it.
    expected = oracle(PUBLISHED[name], bands, **({"N": "B7"} if name == "cire" else {}))
    if name in CLIPPED:
        expected = np.clip(expected, *CLIPPED[name])
    tame = np.isfinite(expected)
    if name in NEAR_ZERO:
        tame &= np.abs(NEAR_ZERO[name](bands)) > 0.02
    assert tame.mean() > 0.5
    np.testing.assert_allclose(made[name][tame], expected[tame], rtol=3e-4, atol=3e-6)


def test_darkness_has_no_contrast():
    plan = plan_of(L4S).only([i.name for i in INDICES if not i.superseded_by])
    for name, values in zip(plan.names, compute(np.zeros((14, 3, 3)), L4S, plan), strict=True):
        np.testing.assert_allclose(values, -1 if name == "cire" else 0, atol=1e-6, err_msg=name)


def test_tasselled_cap_is_the_published_sum(full):
    bands, made = full
    six = ("B2", "B3", "B4", "B8", "B11", "B12")
    for name, weights in (
        ("tc_brightness", (0.3510, 0.3813, 0.3437, 0.7196, 0.2396, 0.1949)),
        ("tc_greenness", (-0.3599, -0.3533, -0.4734, 0.6633, 0.0087, -0.2856)),
    ):
        expected = sum(w * bands[b] for w, b in zip(weights, six, strict=True))
        np.testing.assert_allclose(made[name], expected, atol=1e-6)
