from __future__ import annotations

import numpy as np
import pytest
from feature_world import RGB, light, plan_of, scene

from l4s_ensemble.data.sensor import L4S
from l4s_ensemble.features.compute import compute
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


def picture(**dn: float) -> np.ndarray:
    image = np.zeros((14, 3, 3), np.float32)
    for band, value in dn.items():
        image[L4S.band_names.index(band)] = value
    return image


def indices_of(image: np.ndarray) -> dict[str, np.ndarray]:
    plan = plan_of(L4S)
    plan = plan.only([f.name for f in plan.features if f.group == "indices"])
    return dict(zip(plan.names, compute(image, L4S, plan), strict=True))


def test_darkness_has_no_contrast():
    constants = {"cire": -1}
    for name, values in indices_of(picture()).items():
        np.testing.assert_allclose(values, constants.get(name, 0), atol=1e-6, err_msg=name)


def test_tasselled_cap_is_the_published_sum(full):
    bands, made = full
    six = ("B2", "B3", "B4", "B8", "B11", "B12")
    for name, weights in (
        ("tc_brightness", (0.3510, 0.3813, 0.3437, 0.7196, 0.2396, 0.1949)),
        ("tc_greenness", (-0.3599, -0.3533, -0.4734, 0.6633, 0.0087, -0.2856)),
    ):
        expected = sum(w * bands[b] for w, b in zip(weights, six, strict=True))
        np.testing.assert_allclose(made[name], expected, atol=1e-6)


def test_ground_reads_as_what_it_is():
    """Reflectance of vegetation, snow, a lake, red and grey ground, ×10,000."""
    ground = {
        "green": {"B2": 300, "B3": 600, "B4": 400, "B5": 900, "B8": 3600, "B11": 1500, "B12": 700},
        "snow": {"B2": 8000, "B3": 8200, "B4": 8000, "B8": 7500, "B11": 900, "B12": 700},
        "lake": {"B2": 700, "B3": 600, "B4": 300, "B8": 150, "B11": 60, "B12": 40},
        "red": {"B2": 700, "B3": 1100, "B4": 2200, "B8": 2600, "B11": 3200, "B12": 3000},
        "grey": {"B2": 1500, "B3": 1600, "B4": 1650, "B8": 1800, "B11": 2000, "B12": 1900},
    }  # fmt: skip
    made = {
        what: {name: values[0, 0] for name, values in indices_of(picture(**dn)).items()}
        for what, dn in ground.items()
    }
    assert made["green"]["ndvi"] == pytest.approx(0.8)
    assert made["green"]["bsi"] < 0 < made["red"]["bsi"]
    for wet in ("snow", "lake"):
        assert made[wet]["mndwi"] > 0.7 and made[wet]["ndvi"] < 0 and made[wet]["ndmi"] > 0.4
    for name in ("ri", "ikaw"):
        assert made["red"][name] > made["grey"][name] > 0
