"""The features of one patch, written straight from the documentation of common libraries.

This is what the compiled features are held against in `benchmarks.features`: indices by spyndex,
slope, aspect and curvature by xarray-spatial, everything else by numpy and scipy.ndimage, one patch
at a time. It is meant to be good plain code. Windows are running sums and separable filters, never
`generic_filter`; whatever two features share is made once. It knows no neighbours: a patch goes on
as each library lets it.

A feature that these libraries have no function for, and that nobody would write in a line or two,
is not here; `PlainPatch.known` says which are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import spyndex
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.plain_terrain import Image, PlainTerrain

SPYNDEX = {
    "ndvi": "NDVI", "evi2": "EVI2", "msavi": "MSAVI", "gndvi": "GNDVI", "ndre": "NDREI",
    "nd705": "ND705", "ndci": "NDCI", "cire": "CIRE", "s2rep_nm": "S2REP", "psri": "PSRI",
    "osavi": "OSAVI", "mtci": "MTCI", "mcari": "MCARI", "ndmi": "NDMI", "nmdi": "NMDI",
    "nbr": "NBR", "nbr2": "NBR2", "nbrswir": "NBRSWIR", "mirbi": "MIRBI", "mndwi": "MNDWI",
    "aweish": "AWEIsh", "andwi": "ANDWI", "ndsii": "NDSaII", "s3": "S3", "bsi": "BI",
    "dbsi": "DBSI", "ndsoi": "NDSoI", "mbi": "MBI", "bai": "BaI", "bi": "BIXS", "bright": "BITM",
    "ri": "RI", "ikaw": "IKAW", "gli": "GLI", "vari": "VARI", "rgbvi": "RGBVI",
}  # fmt: skip
LETTERS = {
    "B2": "B", "B3": "G", "B4": "R", "B5": "RE1", "B6": "RE2", "B7": "RE3", "B8": "N",
    "B11": "S1", "B12": "S2",
}  # fmt: skip
TASSELLED = {
    "tc_brightness": (0.3510, 0.3813, 0.3437, 0.7196, 0.2396, 0.1949),
    "tc_greenness": (-0.3599, -0.3533, -0.4734, 0.6633, 0.0087, -0.2856),
    "tc_wetness": (0.2578, 0.2305, 0.0883, 0.1071, -0.7611, -0.5308),
}
CLIPPED = {
    "cire": (-1, 20), "s2rep_nm": (690, 760), "psri": (-1, 1), "vari": (-2, 2), "mtci": (-20, 20),
    "nmdi": (-2, 2),
}  # fmt: skip


def deviation(picture: Image, edge: int, mean: Image) -> Image:
    """Standard deviation in a square window, from two running means."""
    variance = ndimage.uniform_filter(picture**2, edge) - mean**2
    return np.sqrt(np.maximum(variance, 0))


class PlainPatch(PlainTerrain):
    """One 14-band patch and what is made of it.

    Parameters
    ----------
    patch : float32 array, shape (14, y, x)
        DN, degrees and metres.
    band_names : sequence of str
    """

    def __init__(self, patch: NDArray[np.float32], band_names: Sequence[str]) -> None:
        self.bands = {
            name: band if name in ("slope", "dem") else band * np.float32(1e-4)
            for name, band in zip(band_names, patch, strict=True)
        }
        self.memo: dict[Any, Any] = {}

    # Indices

    def indices(self, names: Sequence[str]) -> None:
        """Make many indices with one call, which costs spyndex a third of as many single ones."""
        params = {LETTERS[b]: self.bands[b] for b in LETTERS} | {"g": 2.5, "L": 1.0}
        if "cire" in names:  # with the plateau beyond the red edge as near infrared
            self.memo["cire"] = spyndex.computeIndex("CIRE", params | {"N": self.bands["B7"]})
        names = [n for n in names if n in SPYNDEX and n != "cire"]
        if names:
            made = spyndex.computeIndex([SPYNDEX[n] for n in names], params)
            self.memo.update(
                zip(names, np.reshape(made, (len(names), *made.shape[-2:])), strict=True)
            )
        for name in self.memo.keys() & CLIPPED.keys():
            self.memo[name] = np.clip(self.memo[name], *CLIPPED[name])

    def index(self, name: str) -> Image:
        """One index, within the bounds that its name has here."""
        return self.once(name, lambda: self._index(name))

    def _index(self, name: str) -> Image:
        b = self.bands
        if name in TASSELLED:
            six = ("B2", "B3", "B4", "B8", "B11", "B12")
            return sum(w * b[band] for w, band in zip(TASSELLED[name], six, strict=True))
        if name == "ferrous_iron":
            return np.clip(b["B12"] / b["B8"], 0, 5) + np.clip(b["B3"] / b["B4"], 0, 5)
        self.indices([name])
        return self.memo.pop(name)

    def picture(self, name: str) -> Image:
        """A field: a band of the terrain, or an index."""
        return self.bands[name] if name in self.bands else self.index(name)

    # Surroundings

    def mean(self, name: str, edge: int) -> Image:
        """Mean in a square window."""
        return self.once(
            ("mean", name, edge), lambda: ndimage.uniform_filter(self.picture(name), edge)
        )

    def deviation(self, name: str, edge: int) -> Image:
        """Standard deviation in a square window."""
        return self.once(
            ("deviation", name, edge),
            lambda: deviation(self.picture(name), edge, self.mean(name, edge)),
        )

    def smooth(self, name: str, sigma: float) -> Image:
        """Gaussian smoothing."""
        return self.once(
            ("smooth", name, sigma), lambda: ndimage.gaussian_filter(self.picture(name), sigma)
        )

    def slopes(self, name: str, sigma: float) -> tuple[Image, Image]:
        """Change of a smoothed picture per pixel: right, down."""
        return self.once(
            ("slopes", name, sigma),
            lambda: tuple(
                ndimage.correlate1d(self.smooth(name, sigma), [-0.5, 0, 0.5], axis=axis)
                for axis in (1, 0)
            ),
        )

    def gradient(self, name: str, sigma: float) -> Image:
        """Size of the gradient of a smoothed picture, per pixel."""
        return np.hypot(*self.slopes(name, sigma))

    def products(self, name: str, sigma: float) -> tuple[Image, Image, Image]:
        """Smoothed products of the gradient: sum and difference of the squares, twice the cross."""
        return self.once(("products", name, sigma), lambda: self._products(name, sigma))

    def _products(self, name: str, sigma: float) -> tuple[Image, Image, Image]:
        x, y = self.slopes(name, 1)
        products = (x * x + y * y, x * x - y * y, 2 * x * y)
        return tuple(ndimage.gaussian_filter(part, sigma) for part in products)

    def coherence(self, name: str, sigma: float) -> Image:
        """How much the structure around a pixel has one direction."""
        total, difference, cross = self.products(name, sigma)
        return np.hypot(difference, cross) / (total + 1e-10)

    def energy(self, name: str, sigma: float) -> Image:
        """Strength of the structure around a pixel."""
        return np.sqrt(self.products(name, sigma)[0])

    def downhill(self, name: str, sigma: float) -> Image:
        """Change of a smoothed picture per pixel downhill."""
        right, down = self.slopes(name, sigma)
        p, q, *_ = self.derivatives()
        return (down * q - right * p) / np.sqrt(p * p + q * q + 0.02**2)

    def along_slope(self, name: str, sigma: float) -> Image:
        """How much the structure runs down the slope."""
        x, y = self.slopes(name, 1)
        p, q, *_ = self.derivatives()
        size2 = p * p + q * q + 0.02**2
        across = -((x * x - y * y) * (p * p - q * q) + 2 * x * y * -2 * p * q) / size2
        total = self.products(name, sigma)[0]
        return ndimage.gaussian_filter(across, sigma) / (total + 1e-10)

    def roughness(self, name: str, edge: int) -> Image:
        """Mean absolute difference to the four neighbours in a window."""
        z = self.picture(name)
        around = ([0, -1, 1], [1, -1, 0])
        steps = sum(np.abs(ndimage.correlate1d(z, w, axis=a)) for w in around for a in (0, 1))
        return ndimage.uniform_filter(steps / 4, edge)

    # Against the patch

    def z(self, name: str) -> Image:
        """Robust z-score in the patch."""
        value = self.picture(name)
        middle = np.median(value)
        spread = 1.4826 * np.median(np.abs(value - middle))
        return np.clip((value - middle) / max(spread, 1e-6), -20, 20)

    def ring(self, name: str, inner: int, outer: int) -> Image:
        """Difference to the mean of a square ring."""
        n, m = inner**2, outer**2
        beyond = (m * self.mean(name, outer) - n * self.mean(name, inner)) / (m - n)
        return self.picture(name) - beyond

    def known(self, name: str) -> bool:
        """Whether a feature of this name is here."""
        return self._maker(name) is not None

    def feature(self, name: str) -> Image:
        """Make the feature of this name."""
        maker = self._maker(name)
        if maker is None:
            raise KeyError(name)
        return maker()

    def _maker(self, name: str) -> Callable[[], Image] | None:
        if name in SPYNDEX or name in TASSELLED or name == "ferrous_iron":
            return lambda: self.index(name)
        for pattern, make in PATTERNS:
            found = pattern.fullmatch(name)
            if found and (found.groupdict().get("field", "slope") in FIELDS):
                words = [int(g) if g.isdigit() else _number(g) for g in found.groups()]
                return lambda: make(self, *words)
        return None


def _number(word: str) -> str | float:
    try:
        return float(word)
    except ValueError:
        return word


FIELDS = {*SPYNDEX, "slope"}
_F, _N = r"(?P<field>[a-z0-9]+)", r"(\d+(?:\.\d+)?)"
PATTERNS: list[tuple[re.Pattern[str], Callable[..., Image]]] = [
    (re.compile(pattern), make)
    for pattern, make in (
        (r"refl_(b\d+)", lambda p, band: p.bands[band.upper()]),
        (r"slope_deg", lambda p: p.bands["slope"]),
        (r"slope_dem_deg", lambda p: p.slope()),
        (r"eastness", lambda p: p.normal()[0]),
        (r"northness", lambda p: p.normal()[1]),
        (r"curv_(profile|tangential|plan|mean)_per_km", lambda p, kind: p.curvature(kind)),
        (rf"tpi_{_N}_m", lambda p, edge: p.height() - ndimage.uniform_filter(p.height(), edge)),
        (rf"relief_{_N}_m", lambda p, edge: p.highest(edge) - p.lowest(edge)),
        (rf"ruggedness_{_N}", lambda p, edge: p.ruggedness(edge)),
        (rf"above_low_{_N}_m", lambda p, edge: p.height() - p.lowest(edge)),
        (rf"relative_height_{_N}", lambda p, edge: p.relative_height(edge)),
        (
            r"((?:flow_16_log|above_drainage_24|to_drainage_24|upslope_height_16)_m"
            r"|(?:upslope_slope_16|slope_to_drainage_24)_deg|wetness_16|stream_power_16)",
            lambda p, name: p.water(name),
        ),
        (r"sun_cosine", lambda p: p.cosine()),
        (r"sunward_horizon_30_deg", lambda p: p.sunward()),
        (r"sky_view_30", lambda p: p.sky_view()),
        (r"(b\d+)_without_sun", lambda p, band: p.without_sun(band.upper())),
        (rf"{_F}_without_sun", lambda p, name: p.without_sun(name)),
        (
            rf"{_F}_minus_aspect_{_N}",
            lambda p, name, edge: p.picture(name) - p.aspect_mean(name, edge),
        ),
        (rf"{_F}_mean_{_N}", lambda p, name, edge: p.mean(name, edge)),
        (rf"{_F}_std_{_N}", lambda p, name, edge: p.deviation(name, edge)),
        (rf"{_F}_minus_mean_{_N}", lambda p, name, edge: p.picture(name) - p.mean(name, edge)),
        (rf"{_F}_min_{_N}", lambda p, name, edge: ndimage.minimum_filter(p.picture(name), edge)),
        (rf"{_F}_max_{_N}", lambda p, name, edge: ndimage.maximum_filter(p.picture(name), edge)),
        (rf"{_F}_dog_{_N}", lambda p, name, s: p.smooth(name, s) - p.smooth(name, 2 * s)),
        (rf"{_F}_gradient_{_N}", lambda p, name, sigma: p.gradient(name, sigma)),
        (rf"{_F}_coherence_{_N}", lambda p, name, sigma: p.coherence(name, sigma)),
        (rf"{_F}_energy_{_N}", lambda p, name, sigma: p.energy(name, sigma)),
        (rf"{_F}_downhill_{_N}", lambda p, name, sigma: p.downhill(name, sigma)),
        (rf"{_F}_along_slope_{_N}", lambda p, name, sigma: p.along_slope(name, sigma)),
        (rf"{_F}_roughness_{_N}", lambda p, name, edge: p.roughness(name, edge)),
        (rf"{_F}_variation_{_N}", lambda p, name, e: p.deviation(name, e) / p.mean(name, e)),
        (
            rf"{_F}_fineness_{_N}_{_N}",
            lambda p, name, fine, wide: p.deviation(name, fine) / p.deviation(name, wide),
        ),
        (rf"{_F}_scene_z", lambda p, name: p.z(name)),
        (rf"{_F}_minus_ring_{_N}_{_N}", lambda p, name, a, b: p.ring(name, a, b)),
    )
]


def plain_features(
    patch: NDArray[np.float32], band_names: Sequence[str], names: Sequence[str]
) -> NDArray[np.float32]:
    """Make features of one patch, shape (feature, y, x)."""
    made = PlainPatch(patch, band_names)
    with np.errstate(divide="ignore", invalid="ignore"):
        made.indices(
            [name for name in SPYNDEX if any(word.split("_")[0] == name for word in names)]
        )
        return np.stack([made.feature(name) for name in names]).astype(np.float32, copy=False)
