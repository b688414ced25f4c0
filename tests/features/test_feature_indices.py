from __future__ import annotations

import numpy as np
import pytest
from feature_world import RGB, light, plan_of, scene

from l4s_ensemble.data.sensor import L4S
from l4s_ensemble.features.build import compute
from l4s_ensemble.features.indices import INDICES

PUBLISHED = {
    "ndvi": "NDVI", "evi2": "EVI2", "msavi": "MSAVI", "gndvi": "GNDVI", "ndre": "NDREI",
    "nd705": "ND705", "ndci": "NDCI", "cire": "CIRE", "s2rep_nm": "S2REP", "psri": "PSRI",
    "ndmi": "NDMI", "nbr": "NBR", "nbr2": "NBR2", "mndwi": "MNDWI", "aweish": "AWEIsh",
    "bsi": "BI", "dbsi": "DBSI", "ndsoi": "NDSoI", "mbi": "MBI", "bai": "BaI", "bi": "BIXS",
    "bright": "BITM", "ri": "RI", "ikaw": "IKAW", "gli": "GLI", "vari": "VARI", "rgbvi": "RGBVI",
}  # fmt: skip
"""Name here, name in spyndex."""

CLIPPED = {"cire": (-1, 20), "s2rep_nm": (690, 760), "psri": (-1, 1), "vari": (-2, 2)}
WITHOUT_ORACLE = {"ferrous", "tc_brightness", "tc_greenness", "tc_wetness"}


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


def test_every_index_has_an_oracle_or_a_reason():
    assert {i.name for i in INDICES} == set(PUBLISHED) | WITHOUT_ORACLE


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_index_is_the_published_one(name, full, colour):
    import spyndex

    bands, made = full if name in full[1] else colour
    letters = {
        "N": "B8", "R": "B4", "G": "B3", "B": "B2", "RE1": "B5", "RE2": "B6", "RE3": "B7",
        "S1": "B11", "S2": "B12",
    }  # fmt: skip
    if name == "cire":
        letters["N"] = "B7"  # the plateau beyond the red edge, as Sentinel-2 uses it
    params = {k: bands[v] for k, v in letters.items() if v in bands} | {"g": 2.5, "L": 1.0}
    with np.errstate(divide="ignore"):
        expected = spyndex.computeIndex(PUBLISHED[name], params)
    if name in CLIPPED:
        expected = np.clip(expected, *CLIPPED[name])
    tame = np.ones(expected.shape, bool)
    if name == "vari":  # elsewhere rounding decides between the bounds
        tame = np.abs(bands["B3"] + bands["B4"] - bands["B2"]) > 0.02
    np.testing.assert_allclose(made[name][tame], expected[tame], rtol=2e-4, atol=2e-6)


def test_reflectance_is_dn_over_ten_thousand(full):
    bands, made = full
    for band, values in bands.items():
        np.testing.assert_allclose(made[f"refl_{band.lower()}"], values, rtol=1e-6)


def test_tasselled_cap_axes_are_orthonormal(full):
    bands, made = full
    names = ("tc_brightness", "tc_greenness", "tc_wetness")
    six = np.stack([bands[b].ravel() for b in ("B2", "B3", "B4", "B8", "B11", "B12")], axis=1)
    axes = np.stack(
        [np.linalg.lstsq(six, made[n].ravel().astype(float), rcond=None)[0] for n in names]
    )
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=2e-3)


def test_ferrous_is_swir_over_nir(full):
    bands, made = full
    np.testing.assert_allclose(
        made["ferrous"], np.clip(bands["B12"] / bands["B8"], 0, 5), rtol=1e-5
    )


def test_a_vegetated_pixel_reads_as_one():
    image = np.zeros((14, 4, 4), np.float32)
    for band, dn in {"B2": 300, "B3": 600, "B4": 400, "B8": 3600, "B11": 1500, "B12": 700}.items():
        image[L4S.band_names.index(band)] = dn
    plan = plan_of(L4S)
    made = dict(zip(plan.names, compute(image, L4S, plan)[:, 0, 0], strict=True))
    assert made["ndvi"] == pytest.approx(0.8)
    assert made["refl_b8"] == pytest.approx(0.36)
    assert made["bsi"] < 0 < made["gli"]
