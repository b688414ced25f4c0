"""The band table of the released Landslide4Sense files.

Stored value = raw / divisor. Multiplying by the divisor restores exact integers: digital numbers
(reflectance x 10,000), degrees, metres. Checked on real tiles; every other module takes bands by
name from here, never by bare index.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Band:
    """One band of a patch."""

    name: str  # B1 … B12, slope or dem; there is no B8A
    divisor: float  # stored value x divisor = raw value
    unit: str  # of the raw value: DN (reflectance x 1e4), degree or metre
    native_m: float  # ground sampling of the source, metres; all bands are resampled to 10 m
    centre_nm: float | None  # centre wavelength of Sentinel-2A
    low: float  # physical bounds of the raw value
    high: float


_DN = ("DN", 0.0, 65535.0)


def _spectral(name: str, divisor: float, native_m: float, centre_nm: float) -> Band:
    unit, low, high = _DN
    return Band(name, divisor, unit, native_m, centre_nm, low, high)


L4S_BANDS: tuple[Band, ...] = (
    _spectral("B1", 1111.81236406, 60, 443),
    _spectral("B2", 824.63171476, 10, 492),
    _spectral("B3", 663.41636217, 10, 560),
    _spectral("B4", 445.17289745, 10, 665),
    _spectral("B5", 645.8582926, 20, 704),
    _spectral("B6", 1547.73508126, 20, 741),
    _spectral("B7", 1960.44401001, 20, 783),
    _spectral("B8", 1941.32229668, 10, 833),
    _spectral("B9", 674.07572865, 60, 945),
    _spectral("B10", 9.04787384, 60, 1374),
    _spectral("B11", 1113.98338755, 20, 1614),
    _spectral("B12", 519.90397929, 20, 2202),
    Band("slope", 20.29228266, "degree", 12.5, None, 0.0, 90.0),
    Band("dem", 772.83144788, "metre", 12.5, None, -500.0, 9000.0),
)

BY_NAME: dict[str, Band] = {band.name: band for band in L4S_BANDS}
TRUE_COLOUR: tuple[str, str, str] = ("B4", "B3", "B2")

PATCH_PIXELS = 128
"""Edge of a patch, pixels."""

PIXEL_M = 10.0
"""Edge of a pixel, metres."""
