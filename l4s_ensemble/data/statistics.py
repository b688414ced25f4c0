"""What the summary of a split says about its values, gathered in the pass that builds the store.

Memory is flat: of each patch a few hundred pixels are kept, drawn by a seeded generator, never
the patch. Extremes and counts are exact; means, deviations and percentiles are those of the
pixels kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.metrics.objects import labelled

SAMPLE_PIXELS = 400_000
"""Pixels kept over all patches of a split, at most (and at least 64 of each patch)."""

SIZE_EDGES: tuple[int, ...] = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 16385)
"""Lower edges of the bins of landslide size, pixels; the last one closes the last bin."""

_PERCENTILES = (1, 25, 50, 75, 99)


def pixels_per_patch(patches: int, pixels: int) -> int:
    """Pixels to keep of each patch."""
    return min(pixels, max(64, min(1024, SAMPLE_PIXELS // max(patches, 1))))


def sample_pixels(units: NDArray[np.float32], pixels: int, seed: int) -> NDArray[np.float32]:
    """Draw pixels of one patch, shape (band, y, x), without repetition: shape (band, pixels)."""
    flat = units.reshape(len(units), -1)
    chosen = np.random.default_rng([17, seed]).choice(flat.shape[1], pixels, replace=False)
    sampled: NDArray[np.float32] = flat[:, chosen]
    return sampled


def slide_sizes(mask: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Count the landslides of one mask by size: areas that touch at a side or a corner."""
    _, sizes = labelled(mask > 0)
    return np.histogram(sizes, bins=SIZE_EDGES)[0].astype(np.int64)


def band_rows(
    sensor: Sensor, kept: NDArray[np.float32], low: NDArray[np.float32], high: NDArray[np.float32]
) -> list[dict[str, Any]]:
    """One row a band: name, unit, percentiles, extremes, mean and deviation.

    Parameters
    ----------
    sensor : Sensor
    kept : float32 array, shape (band, pixels)
        Pixels kept of all patches, in units.
    low, high : float32 array, shape (band,)
        Extremes over all pixels.
    """
    points = np.percentile(kept, _PERCENTILES, axis=1)
    rows = []
    for n, band in enumerate(sensor.bands):
        row: dict[str, Any] = {"name": band.name, "unit": band.unit}
        for p, value in zip(_PERCENTILES, points[:, n], strict=True):
            row[f"p{p:02d}"] = float(value)
        row |= {
            "min": float(low[n]),
            "max": float(high[n]),
            "mean": float(kept[n].mean(dtype=np.float64)),
            "std": float(kept[n].std(dtype=np.float64)),
        }
        rows.append(row)
    return rows


def ndvi(sensor: Sensor, kept: NDArray[np.float32]) -> dict[str, float] | None:
    """Median NDVI on restored units, and what the stored values would have given.

    Parameters
    ----------
    sensor : Sensor
    kept : float32 array, shape (band, pixels)
        Pixels kept of all patches, in units.
    """
    names = sensor.band_names
    if "B4" not in names or "B8" not in names:
        return None
    plain = kept.astype(np.float64)
    red, near = names.index("B4"), names.index("B8")
    # A relative tile's own factor cancels in the ratio.
    unit_to_stored = 1 / (sensor.stored_to_count * sensor.count_to_unit)
    stored = plain * unit_to_stored[:, np.newaxis]
    return {
        "restored": _ndvi(plain[red], plain[near]),
        "as_stored": _ndvi(stored[red], stored[near]),
    }


def _ndvi(red: NDArray[np.float64], near: NDArray[np.float64]) -> float:
    total = near + red
    ok = total != 0
    return float(np.median((near[ok] - red[ok]) / total[ok])) if ok.any() else 0.0
