from __future__ import annotations

import numpy as np
import pytest
from feature_world import RGB, light, plan_of, scene

from l4s_ensemble.data.sensor import L4S
from l4s_ensemble.errors import DataError
from l4s_ensemble.features.build import compute
from l4s_ensemble.features.indices import INDICES

PUBLISHED = {
    "ndvi": "NDVI", "evi2": "EVI2", "msavi": "MSAVI", "gndvi": "GNDVI", "ndre": "NDREI",
    "nd705": "ND705", "ndci": "NDCI", "cire": "CIRE", "s2rep_nm": "S2REP", "psri": "PSRI",
    "osavi": "OSAVI", "mtci": "MTCI", "mcari": "MCARI", "ndmi": "NDMI", "nmdi": "NMDI",
    "nbr": "NBR", "nbr2": "NBR2", "nbrswir": "NBRSWIR", "mirbi": "MIRBI", "mndwi": "MNDWI",
    "aweish": "AWEIsh", "andwi": "ANDWI", "ndsii": "NDSaII", "s3": "S3", "bsi": "BI",
    "dbsi": "DBSI", "ndsoi": "NDSoI", "mbi": "MBI", "bai": "BaI", "bi": "BIXS", "bright": "BITM",
    "ri": "RI", "ikaw": "IKAW", "gli": "GLI", "vari": "VARI", "rgbvi": "RGBVI",
}  # fmt: skip
"""Name here, name in spyndex."""

BY_HAND = {"ferrous_iron", "tc_brightness", "tc_greenness", "tc_wetness"}
"""spyndex does not have these; their formulas are written out below."""

CLIPPED = {
    "cire": (-1, 20), "s2rep_nm": (690, 760), "psri": (-1, 1), "vari": (-2, 2), "mtci": (-20, 20),
    "nmdi": (-2, 2),
}  # fmt: skip
NEAR_ZERO = {
    "vari": lambda b: b["B3"] + b["B4"] - b["B2"],
    "mtci": lambda b: b["B5"] - b["B4"],
    "s2rep_nm": lambda b: b["B6"] - b["B5"],
    "nmdi": lambda b: b["B8"] + b["B11"] - b["B12"],
}
"""Denominators that cross zero: there rounding decides between the bounds."""

SAME_ORDER = {
    "NDWI": "gndvi", "NDSI": "mndwi", "NDPonI": "mndwi", "NDBI": "ndmi", "MSI": "ndmi",
    "NDII": "ndmi", "NDTillI": "nbr2", "STI": "nbr2", "NSDSI1": "nbr2", "UI": "nbr",
    "NGRDI": "ri", "NDGlaI": "ri", "NDTI": "ri", "RGRI": "ri", "GCC": "gli", "CIG": "gndvi",
    "SR": "ndvi", "WI1": "ndsoi", "SR705": "nd705",
}  # fmt: skip
"""In spyndex, and left out because one of ours orders the pixels the same way or the other way."""

WIDEST = {  # beyond −2 … 2 for any reflectance that a file of uint16 can hold (6.5)
    "cire": (-1, 20), "s2rep_nm": (690, 760), "mtci": (-20, 20), "ferrous_iron": (0, 10),
    "mcari": (-160, 160), "mirbi": (-65, 70), "aweish": (-24, 24), "bai": (-7, 14), "bi": (0, 7),
    "bright": (0, 7), "tc_brightness": (0, 15), "tc_greenness": (-10, 5), "tc_wetness": (-9, 5),
    "msavi": (-4, 1), "evi2": (-1.1, 2.5),
}  # fmt: skip
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


def test_there_are_thirty_indices_for_the_fourteen_bands(full):
    assert sum(f.group == "indices" for f in plan_of(L4S).features) >= 30


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


@pytest.mark.parametrize(("other", "ours"), SAME_ORDER.items())
def test_an_index_left_out_orders_pixels_as_one_of_ours(other, ours, full):
    bands, made = full
    theirs = oracle(other, bands).ravel()
    order = np.argsort(made[ours].ravel())
    steps = np.diff(theirs[order])
    slack = 1e-5 * np.abs(theirs).max()  # equal but for rounding
    assert (steps >= -slack).all() or (steps <= slack).all()


def picture(**dn: float) -> np.ndarray:
    image = np.zeros((14, 3, 3), np.float32)
    for band, value in dn.items():
        image[L4S.band_names.index(band)] = value
    return image


def indices_of(image: np.ndarray) -> dict[str, np.ndarray]:
    plan = plan_of(L4S)
    plan = plan.only([f.name for f in plan.features if f.group == "indices"])
    return dict(zip(plan.names, compute(image, L4S, plan), strict=True))


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 2), (16, 16)])
@pytest.mark.parametrize("kind", ["random", "constant", "zero", "one band", "steps"])
def test_indices_are_bounded_whatever_the_counts(kind, size):
    rng = np.random.default_rng(size)
    image = {
        "random": lambda: rng.integers(0, 65_536, (14, *size)),
        "constant": lambda: np.full((14, *size), 1234),
        "zero": lambda: np.zeros((14, *size)),
        "one band": lambda: rng.integers(0, 2, (14, 1, 1)) * rng.integers(0, 65_536, (14, *size)),
        "steps": lambda: rng.choice([0, 1, 2, 65_535], (14, *size)),
    }[kind]()
    for name, values in indices_of(image.astype(np.float32)).items():
        low, high = WIDEST.get(name, (-2, 2))
        assert np.isfinite(values).all(), name
        assert low - 1e-4 <= values.min() and values.max() <= high + 1e-4, name


def test_darkness_has_no_contrast():
    constants = {"mbi": 0.5, "s2rep_nm": 705, "cire": -1, "nbrswir": -0.2, "mirbi": 2}
    for name, values in indices_of(picture()).items():
        np.testing.assert_allclose(values, constants.get(name, 0), atol=1e-6, err_msg=name)


def test_what_is_not_finite_is_refused():
    for wrong in (np.nan, np.inf):
        image = picture(B4=500, B8=3000)
        image[L4S.band_names.index("B11"), 1, 1] = wrong
        with pytest.raises(DataError, match="B11"):
            indices_of(image)


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


def test_tasselled_cap_is_the_published_sum(full):
    bands, made = full
    six = ("B2", "B3", "B4", "B8", "B11", "B12")
    for name, weights in (
        ("tc_brightness", (0.3510, 0.3813, 0.3437, 0.7196, 0.2396, 0.1949)),
        ("tc_greenness", (-0.3599, -0.3533, -0.4734, 0.6633, 0.0087, -0.2856)),
        ("tc_wetness", (0.2578, 0.2305, 0.0883, 0.1071, -0.7611, -0.5308)),
    ):
        expected = sum(w * bands[b] for w, b in zip(weights, six, strict=True))
        np.testing.assert_allclose(made[name], expected, atol=1e-6)


def test_ferrous_iron_is_two_ratios(full):
    bands, made = full
    one, two = (np.clip(bands[a] / bands[b], 0, 5) for a, b in (("B12", "B8"), ("B3", "B4")))
    np.testing.assert_allclose(made["ferrous_iron"], one + two, rtol=1e-5)


def test_a_vegetated_pixel_reads_as_one():
    dn = {"B2": 300, "B3": 600, "B4": 400, "B5": 900, "B6": 2500, "B8": 3600, "B11": 1500}
    made = {name: values[0, 0] for name, values in indices_of(picture(**dn, B12=700)).items()}
    assert made["ndvi"] == pytest.approx(0.8)
    assert made["mtci"] == pytest.approx(1600 / 500)
    assert made["bsi"] < 0 < made["gli"]
    assert made["andwi"] < 0 and made["ndsii"] < 0 and made["osavi"] > 0.5


def test_snow_and_water_read_as_such():
    snow = {"B2": 8000, "B3": 8200, "B4": 8000, "B8": 7500, "B11": 900, "B12": 700}
    lake = {"B2": 700, "B3": 600, "B4": 300, "B8": 150, "B11": 60, "B12": 40}
    for dn in (snow, lake):
        made = {name: values[0, 0] for name, values in indices_of(picture(**dn)).items()}
        assert made["mndwi"] > 0.7 and made["ndsii"] > 0.6 and made["s3"] > 0.2, dn
        assert made["ndvi"] < 0 and made["ndmi"] > 0.4 > made["bsi"], dn
    assert made["andwi"] > 0.7 and made["aweish"] > 0


def test_redness_follows_iron():
    red = {"B2": 700, "B3": 1100, "B4": 2200, "B8": 2600, "B11": 3200, "B12": 3000}
    grey = {"B2": 1500, "B3": 1600, "B4": 1650, "B8": 1800, "B11": 2000, "B12": 1900}
    one, other = indices_of(picture(**red)), indices_of(picture(**grey))
    assert (one["ri"] > other["ri"]).all() and (one["ikaw"] > other["ikaw"]).all()
