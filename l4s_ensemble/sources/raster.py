"""A synthetic scene as a georeferenced raster: bands, no data in a corner, clouds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from l4s_ensemble.data.bands import L4S_BANDS, PIXEL_M
from l4s_ensemble.errors import DataError
from l4s_ensemble.run.files import atomic_path

CRS, LEFT, TOP = "EPSG:32754", 400_000.0, 6_000_000.0
"""Of the upper left corner; where it lies means nothing."""

CLOUDED, CLOUD_PX, CLOUD_DN = 0.03, 24, 7000.0
"""Share of the scene under clouds, their size, and how bright they are."""


def write_raster_scene(folder: Path, image: NDArray[np.uint16], seed: int = 0) -> tuple[Path, Path]:
    """Write a scene as a GeoTIFF in UTM, bands by description, and a mask of clouds.

    Parameters
    ----------
    folder : Path
        Gets ``scene.tif`` (14 bands, uint16) and ``clouds.tif``.
    image : uint16 array, shape (14, y, x)
        See `l4s_ensemble.sources.scene.Scene`.
    seed : int
        Of the clouds.

    Returns
    -------
    scene, clouds : Path

    Raises
    ------
    DataError
        If rasterio is not installed.
    """
    image = image.copy()
    names = [b.name for b in L4S_BANDS]
    spectral = np.array([b.unit == "DN" for b in L4S_BANDS])
    rng = np.random.default_rng([seed, 4])
    field = gaussian_filter(rng.normal(size=image.shape[1:]), CLOUD_PX, mode="wrap")
    thick = np.clip(2 * (field - np.quantile(field, 1 - CLOUDED)) / field.std(), 0, 1)
    clouds = thick > 0
    image[spectral] = image[spectral] * (1 - thick) + CLOUD_DN * thick
    # The swath ends aslant, as that of a satellite does.
    y, x = np.indices(image.shape[1:])
    image[:, 3 * x + y < image.shape[2] // 2] *= spectral[:, None] == 0
    return (
        _write(folder / "scene.tif", image, names),
        _write(folder / "clouds.tif", clouds[np.newaxis].astype(np.uint8), ["clouds"]),
    )


def _write(path: Path, image: NDArray[Any], names: list[str]) -> Path:
    try:
        import rasterio
    except ImportError:
        raise DataError(
            "a georeferenced scene needs rasterio", fix="pip install 'l4s_ensemble[geo]'"
        ) from None
    at = rasterio.Affine(PIXEL_M, 0, LEFT, 0, -PIXEL_M, TOP)
    profile = {"driver": "GTiff", "dtype": image.dtype.name, "count": len(image), "crs": CRS}
    profile |= {"height": image.shape[1], "width": image.shape[2], "transform": at}
    with (
        atomic_path(path) as partial,
        rasterio.open(partial, "w", **profile, tiled=True, compress="deflate") as file,
    ):
        file.write(image)
        file.descriptions = names
    return path
