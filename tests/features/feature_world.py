"""Made-up scenes for the tests of this room."""

from __future__ import annotations

import numpy as np
import pytest

from l4s_ensemble.config import FeaturesConfig
from l4s_ensemble.data.sensor import L4S, Sensor, load_sensor
from l4s_ensemble.features.build import compute
from l4s_ensemble.features.registry import GROUPS, FeaturePlan, select

RGB = load_sensor("l4s-rgb")


def plan_of(sensor: Sensor, *, scope: str | None = None) -> FeaturePlan:
    """Features of every group."""
    plan = select(sensor, FeaturesConfig(groups=GROUPS))
    if scope is None:
        return plan
    return plan.only([f.name for f in plan.features if f.scope == scope])


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


def light(sensor: Sensor, image: np.ndarray) -> dict[str, np.ndarray]:
    """Reflectance of each spectral band by name, float64."""
    scale = 1e-4 if sensor.level == "absolute" else 1e-3
    return {
        name: image[i].astype(float) * scale
        for i, name in enumerate(sensor.band_names)
        if name in sensor.spectral
    }


def same_within_a_scene(plan: FeaturePlan, sensor: Sensor, tile: int, rtol: float) -> None:
    """A patch from the middle of a scene gets what the scene as one array gives."""
    reach = plan.support_px
    whole = scene(3 * tile, 3 * tile, sensor)
    near = slice(tile - reach, 2 * tile + reach)
    patch = compute(whole[:, near, near], sensor, plan, pad=None, margin=reach)
    expected = compute(whole, sensor, plan)[:, tile : 2 * tile, tile : 2 * tile]
    for name, a, b in zip(plan.names, patch, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-6 * np.abs(b).max(), err_msg=name)


def reads_no_further(plan: FeaturePlan, sensor: Sensor, rel: float, tiny: float) -> None:
    """What lies beyond a feature's support does not change it."""
    size, middle = 2 * plan.support_px + 3, plan.support_px + 1
    near, far = scene(size, size, sensor, seed=1), scene(size, size, sensor, seed=2)
    base = compute(near, sensor, plan)[:, middle, middle]
    for support in sorted({f.support_px for f in plan.features}):
        mixed, kept = far.copy(), slice(middle - support, middle + support + 1)
        mixed[:, kept, kept] = near[:, kept, kept]
        again = compute(mixed, sensor, plan)[:, middle, middle]
        for feature, a, b in zip(plan.features, again, base, strict=True):
            if feature.support_px <= support:
                assert a == pytest.approx(b, rel=rel, abs=tiny), feature.name
