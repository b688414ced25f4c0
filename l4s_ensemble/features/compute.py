"""Features of patches, computed in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.config import FeaturesConfig
from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.errors import DataError
from l4s_ensemble.features.registry import FeaturePlan, all_fields, catalogue, select
from l4s_ensemble.features.scene_statistics import SceneStatistics
from l4s_ensemble.features.tile_context import TileContext
from l4s_ensemble.features.window import Alone, Window

if TYPE_CHECKING:
    import xarray as xr


def compute(
    image: NDArray[np.float32],
    sensor: Sensor,
    plan: FeaturePlan,
    pad: str | None = "odd",
    margin: int = 0,
    statistics: SceneStatistics | None = None,
) -> NDArray[np.float32]:
    """Compute the features of one patch.

    Parameters
    ----------
    image : float32 array, shape (band, y + 2 margin, x + 2 margin)
        In the sensor's units (see `l4s_ensemble.data.store.units`): the patch, and `margin`
        pixels of true neighbourhood on each side.
    plan : FeaturePlan
        From `select` or `plan_from_file`.
    pad : {'odd', None}
        Where `margin` is less than the plan's support: ``odd`` continues elevation by odd
        reflection, exact on a plane, and mirrors every other band (see `window.continue_band`);
        ``None`` makes that an error.
    margin : int
        Pixels of the image that are neighbourhood, on each side.
    statistics : SceneStatistics, optional
        Of the scene that the patch lies in, for features that are relative to it. Without them
        those of the patch itself stand in, so that blocks of one raster would not agree: measure
        the raster once and give its statistics.

    Returns
    -------
    float32 array, shape (feature, y, x)
        All finite. With `margin` of at least ``plan.support_px`` and the statistics of the scene
        every feature has, bit for bit, the value that the whole scene as one array would give.

    Raises
    ------
    DataError
        If the image does not fit the sensor or is not finite, or the margin is too small and
        `pad` is None.
    """
    image = _checked(image, sensor, margin)
    if margin < plan.support_px and pad != "odd":
        raise DataError(
            "the neighbourhood is narrower than the features reach",
            found=f"{margin} px",
            allowed=f"at least {plan.support_px} px",
            fix="give a wider margin, or pad='odd'",
        )
    return compute_window(Alone(image, sensor, margin), sensor, plan, statistics)


def compute_window(
    window: Window, sensor: Sensor, plan: FeaturePlan, statistics: SceneStatistics | None = None
) -> NDArray[np.float32]:
    """Compute the features of one patch that knows its neighbourhood; see `compute`.

    Parameters
    ----------
    window : Window
        Gives bands with as much of the neighbourhood as is asked for.

    Returns
    -------
    float32 array, shape (feature, y, x)
    """
    functions, fields = catalogue(), all_fields()
    out = np.empty((len(plan.features), *window.size), np.float32)
    context = TileContext(window, sensor, plan.support_px, fields, statistics)
    for target, feature in zip(out, plan.features, strict=True):
        target[...] = functions[feature.name].image(context)
    return out


def _checked(image: NDArray[np.float32], sensor: Sensor, margin: int) -> NDArray[np.float32]:
    image = np.asarray(image, dtype=np.float32)
    if image.ndim != 3 or len(image) != len(sensor.bands):
        raise DataError(
            "the image has not the bands of the sensor",
            where=f"sensor {sensor.name}",
            found=image.shape,
            allowed=f"(band={len(sensor.bands)}, y, x)",
            fix="give bands first, in the order of the sensor",
        )
    if margin < 0 or min(image.shape[1:]) <= 2 * margin:
        raise DataError(
            "no pixel is left within the margin",
            found=f"{image.shape[1:]} with margin {margin}",
            allowed=f"more than {2 * margin} rows and columns",
        )
    return image


def features_of(dataset: xr.Dataset, names: Sequence[str] | None = None) -> xr.DataArray:
    """Compute features of a dataset's patches, for a notebook. All in memory: take a few patches.

    Parameters
    ----------
    dataset : xarray.Dataset
        From ``open_patches`` or ``open_store``, or a selection of it.
    names : sequence of str, optional
        Features wanted, in this order; all that the sensor allows without it.

    Returns
    -------
    xarray.DataArray
        Dims ``(patch, feature, y, x)``, float32. Coordinates ``feature`` (name), ``group`` and
        ``unit`` along ``feature``, and those of the dataset along ``patch``. Attributes
        ``version``, ``sensor``, ``support_px``.

    Raises
    ------
    ConfigError
        If a name is not among the features of the sensor.

    Examples
    --------
    >>> ndvi = features_of(patches, ["ndvi", "slope_deg"])  # doctest: +SKIP
    """
    import xarray as xr

    from l4s_ensemble.data.store import sensor_of, units

    sensor = sensor_of(dataset)
    plan = select(sensor, FeaturesConfig())
    if names is not None:
        plan = plan.only(list(names))
    along = {
        name: coordinate
        for name, coordinate in dataset.coords.items()
        if coordinate.dims == ("patch",)
    }
    return xr.DataArray(
        np.stack([compute(image, sensor, plan) for image in units(dataset)]),
        dims=("patch", "feature", "y", "x"),
        coords={
            **along,
            "feature": list(plan.names),
            "group": ("feature", [f.group for f in plan.features]),
            "unit": ("feature", [f.unit for f in plan.features]),
        },
        name="features",
        attrs={"version": plan.version, "sensor": sensor.name, "support_px": plan.support_px},
    )
