"""Synthetic tiles for fixtures and scenes of the tests."""

from __future__ import annotations

import numpy as np

from l4s_ensemble.data.bands import L4S_BANDS


def tiny_patch(seed: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """One synthetic tile: counts uint16 (14, 128, 128) and mask uint8 (128, 128)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:128, :128].astype(float)
    dem = 900 + 4 * y + 60 * np.sin(x / 17 + rng.uniform(0, 6)) + 30 * np.sin(y / 9)
    gy, gx = np.gradient(dem, 10.0)
    slope = np.degrees(np.arctan(np.hypot(gx, gy)))
    mask = np.zeros((128, 128), np.uint8)
    for _ in range(2):
        cy, cx = rng.integers(20, 108, 2)
        mask |= (((y - cy) / 14) ** 2 + ((x - cx) / 6) ** 2 < 1).astype(np.uint8)
    slope = slope + 12 * mask
    plant = {"B1": 1000, "B2": 900, "B3": 850, "B4": 650, "B5": 1000, "B6": 2200, "B7": 2700}
    plant |= {"B8": 2800, "B9": 900, "B10": 12, "B11": 1700, "B12": 900}
    bare = {"B1": 1200, "B2": 1250, "B3": 1350, "B4": 1500, "B5": 1700, "B6": 1900, "B7": 2000}
    bare |= {"B8": 2050, "B9": 800, "B10": 13, "B11": 2300, "B12": 1800}
    counts = np.empty((14, 128, 128))
    for n, band in enumerate(L4S_BANDS):
        if band.name == "slope":
            counts[n] = slope
        elif band.name == "dem":
            counts[n] = dem
        else:
            clean = np.where(mask, bare[band.name], plant[band.name])
            counts[n] = clean * rng.lognormal(0, 0.08, clean.shape)
    return np.rint(counts).clip(0, 60000).astype(np.uint16), mask
