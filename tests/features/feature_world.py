"""Synthetic scenes for the tests of the features."""

from __future__ import annotations

import numpy as np

from l4s_ensemble.config import FeaturesConfig
from l4s_ensemble.data.sensor import L4S, Sensor, load_sensor
from l4s_ensemble.features.registry import FeaturePlan, all_fields, compute_window, select
from l4s_ensemble.features.scene_statistics import SceneStatistics, measure
from l4s_ensemble.features.tile_context import Field, TileContext, sample_tile
from l4s_ensemble.features.window import Alone

RGB = load_sensor("l4s-rgb")


def plan_of(sensor: Sensor) -> FeaturePlan:
    """Features of every group."""
    return select(sensor, FeaturesConfig())


def moving_plan(sensor: Sensor) -> FeaturePlan:
    """Features that do not depend on the tile that a pixel is computed in."""
    plan = plan_of(sensor)
    return plan.only([f.name for f in plan.features if not f.by_tile])


def window_plan(sensor: Sensor) -> FeaturePlan:
    """Features that read nothing but a window about the pixel."""
    plan = plan_of(sensor)
    return plan.only([f.name for f in plan.features if not f.scene_fields and not f.by_tile])


def compute(
    image: np.ndarray,
    sensor: Sensor,
    plan: FeaturePlan,
    margin: int = 0,
    statistics: SceneStatistics | None = None,
) -> np.ndarray:
    """Features of a patch with some pixels of true neighbourhood on each side."""
    window = Alone(image.astype(np.float32), sensor, margin)
    return compute_window(window, sensor, plan, statistics)


def context_of(
    image: np.ndarray,
    sensor: Sensor = L4S,
    margin: int = 0,
    statistics: SceneStatistics | None = None,
    fields: dict[str, Field] | None = None,
) -> TileContext:
    """A patch with some pixels of true neighbourhood on each side."""
    window = Alone(image, sensor, margin)
    return TileContext(window, sensor, margin, fields or all_fields(), statistics)


def statistics_of(image: np.ndarray, sensor: Sensor, plan: FeaturePlan) -> SceneStatistics:
    """Statistics of a scene given as one array."""
    return measure([sample_tile(context_of(image, sensor), plan.scene_fields)])


def scene(height: int, width: int, sensor: Sensor = L4S, seed: int = 0) -> np.ndarray:
    """Rough light over smooth hills, float32 (band, y, x) in units."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    hills = gaussian_filter(rng.normal(size=(height, width)), 6, mode="reflect")
    hills *= 150 / max(hills.std(), 1e-9)
    out = np.empty((len(sensor.bands), height, width), np.float32)
    for i, band in enumerate(sensor.bands):
        if band.unit == "metre":
            out[i] = np.rint(1500 + hills)
        elif band.unit == "degree":
            gy, gx = np.gradient(hills, sensor.pixel_m)
            out[i] = np.rint(np.degrees(np.arctan(np.hypot(gx, gy))))
        else:
            patchy = gaussian_filter(rng.normal(size=(height, width)), 2)
            fine = rng.normal(size=(height, width))
            out[i] = np.rint(1200 * np.exp(2 * patchy + 0.1 * fine))
    return out


def continued(image: np.ndarray, sensor: Sensor, width: int) -> np.ndarray:
    """A patch of which nothing but itself is known, with a margin."""
    alone = Alone(image, sensor)
    return np.stack([alone.band(i, width) for i in range(len(image))])


def light(sensor: Sensor, image: np.ndarray) -> dict[str, np.ndarray]:
    """Reflectance of each spectral band by name, float64."""
    scale = 1e-4 if sensor.radiometry == "absolute" else 1e-3
    return {
        name: image[i].astype(float) * scale
        for i, name in enumerate(sensor.band_names)
        if name in sensor.spectral
    }
