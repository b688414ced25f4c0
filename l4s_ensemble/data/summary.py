"""Summary of the stages ``data/…``, with the statistics of a split's values.

Memory is flat: of each patch a few hundred pixels are kept, drawn by a seeded generator, never
the patch. Extremes and counts are exact; deviations and percentiles are those of the
pixels kept.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.metrics.objects import labelled
from l4s_ensemble.run.stage import SummaryModel

SAMPLE_PIXELS = 400_000
"""Pixels kept over all patches of a split, at most (and at least 64 of each patch)."""

SIZE_EDGES: tuple[int, ...] = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 16385)
"""Lower edges of the bins of landslide size, pixels; the last one closes the last bin."""

_PERCENTILES = (25, 50, 75)


class BandSummary(SummaryModel):
    """Values of one band in its unit: percentiles, extremes and standard deviation."""

    name: str
    unit: str
    p25: float
    p50: float
    p75: float
    min: float
    max: float
    std: float


class NdviSummary(SummaryModel):
    """Median NDVI on restored units, and what the stored values would have given."""

    restored: float
    as_stored: float


class SizeHistogram(SummaryModel):
    """Landslides by size: lower edges of the bins in pixels, and the upper one of the last."""

    edges: tuple[int, ...]
    counts: tuple[int, ...]


class StoreSummary(SummaryModel):
    """A split as its store holds it."""

    split: str
    sensor: str
    radiometry: str  # of the sensor: absolute or relative
    root: str
    patches: int
    masks: bool  # without them what needs them is None
    landslide_patches: int | None  # with at least one landslide pixel
    landslide_pixels: int | None
    prevalence: float | None  # share of landslide pixels
    degenerate: tuple[int, ...]  # ids without terrain
    inexact: tuple[str, ...]  # files that are not exact integers after restoring the counts
    exact_share: float  # of the values
    dtype: str  # of the images in the store: uint16 or float32
    bands: tuple[BandSummary, ...]
    ndvi: NdviSummary | None  # None without red and near infrared
    landslide_sizes_px: SizeHistogram | None


class DataSummary(StoreSummary):
    """A split, and where it comes from."""

    synthetic: bool
    digest: str  # hash of what the patches are, 16 hex digits


def pixels_per_patch(patches: int, pixels: int) -> int:
    """Pixels to keep of each patch."""
    return min(pixels, max(64, min(1024, SAMPLE_PIXELS // max(patches, 1))))


def sample_pixels(units: NDArray[np.float32], pixels: int, seed: int) -> NDArray[np.float32]:
    """Draw pixels of one patch, shape (band, y, x), without repetition: shape (band, pixels)."""
    flat = units.reshape(len(units), -1)
    chosen = np.random.default_rng([17, seed]).choice(flat.shape[1], pixels, replace=False)
    sampled: NDArray[np.float32] = flat[:, chosen]
    return sampled


def landslide_sizes(mask: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Count the landslides of one mask by size: areas that touch at a side or a corner."""
    _, sizes = labelled(mask > 0)
    return np.histogram(sizes, bins=SIZE_EDGES)[0].astype(np.int64)


def band_summaries(
    sensor: Sensor, kept: NDArray[np.float32], low: NDArray[np.float32], high: NDArray[np.float32]
) -> tuple[BandSummary, ...]:
    """Describe each band.

    Parameters
    ----------
    kept : float32 array, shape (band, pixels)
        Pixels kept of all patches, in units.
    low, high : float32 array, shape (band,)
        Extremes over all pixels.
    """
    points = np.percentile(kept, _PERCENTILES, axis=1).T
    return tuple(
        BandSummary(
            name=band.name,
            unit=band.unit,
            min=float(low[n]),
            max=float(high[n]),
            std=float(kept[n].std(dtype=np.float64)),
            **{f"p{p:02d}": float(v) for p, v in zip(_PERCENTILES, points[n], strict=True)},
        )
        for n, band in enumerate(sensor.bands)
    )


def ndvi_summary(sensor: Sensor, kept: NDArray[np.float32]) -> NdviSummary | None:
    """Compare NDVI on restored units with that on stored values.

    Parameters
    ----------
    kept : float32 array, shape (band, pixels)
        Pixels kept of all patches, in units.
    """
    names = sensor.band_names
    if "B4" not in names or "B8" not in names:
        return None
    plain = kept.astype(np.float64)
    # A relative tile's own factor cancels in the ratio.
    stored = plain * (1 / (sensor.stored_to_count * sensor.count_to_unit))[:, np.newaxis]
    medians = []
    for values in (plain, stored):
        red, near = (values[names.index(name)] for name in ("B4", "B8"))
        total = near + red
        ok = total != 0
        medians.append(float(np.median((near[ok] - red[ok]) / total[ok])) if ok.any() else 0.0)
    return NdviSummary(restored=medians[0], as_stored=medians[1])
