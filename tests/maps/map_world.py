"""A small georeferenced scene, written in the forms that a map is made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from tiny_patches import tiny_patch

from l4s_ensemble.data.bands import L4S_BANDS

NAMES = [b.name for b in L4S_BANDS]
SPECTRAL = NAMES[:12]
CRS, LEFT, TOP = "EPSG:32654", 572880.0, 4735280.0
"""Of the scene's upper left corner: 720 m from that of a tile of the grid."""


def counts(rows: int = 2, columns: int = 3) -> np.ndarray:
    """Counts (14, 128 rows, 128 columns) of a scene, with landslides and an even terrain."""
    tiles = [[tiny_patch([9, 10 * r + c])[0] for c in range(columns)] for r in range(rows)]
    scene = np.block(tiles).astype(np.float32)
    y, x = np.mgrid[: scene.shape[1], : scene.shape[2]].astype(np.float32)
    scene[NAMES.index("dem")] = np.rint(900 + 3 * y + 60 * np.sin(x / 17) + 30 * np.sin(y / 9))
    return scene


def write_tif(
    path: Path, image: np.ndarray, names: list[str] | None = None, **profile: Any
) -> Path:
    """Write a GeoTIFF of bands (band, y, x)."""
    import rasterio
    from affine import Affine

    known = {
        "driver": "GTiff",
        "dtype": image.dtype.name,
        "count": len(image),
        "crs": CRS,
        "height": image.shape[1],
        "width": image.shape[2],
        "transform": Affine(10, 0, LEFT, 0, -10, TOP),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    scales = profile.pop("scales", None)
    offsets = profile.pop("offsets", None)
    with rasterio.open(path, "w", **known | profile) as file:
        file.write(image)
        if names is not None:
            file.descriptions = names
        if scales is not None:
            file.scales, file.offsets = scales, offsets
    return path


def write_scene(folder: Path, scene: np.ndarray | None = None) -> tuple[Path, Path]:
    """A GeoTIFF of the twelve spectral bands, and one of elevation that is larger."""
    scene = counts() if scene is None else scene
    dem = scene[NAMES.index("dem")]
    around = np.pad(dem, 200, mode="reflect", reflect_type="odd")
    from affine import Affine

    wide = {"transform": Affine(10, 0, LEFT - 2000, 0, -10, TOP + 2000)}
    return (
        write_tif(folder / "scene.tif", scene[:12].astype(np.uint16), SPECTRAL, nodata=0),
        write_tif(folder / "dem.tif", around[None].astype(np.float32), **wide),
    )


def write_safe(
    folder: Path, scene: np.ndarray, *, level: str = "L1C", offset: float = -1000.0
) -> Path:
    """A Sentinel-2 product in the true layout, without loss; `scene` is without offset."""
    root = folder / f"S2B_MSI{level}_20180910T012651_N0400_R074_T54TWN_20180910T041201.SAFE"
    images = root / "GRANULE" / "L1C_T54TWN_A007896_20180910T012653" / "IMG_DATA"
    kind = {
        "L1C": ("QUANTIFICATION_VALUE", "RADIO_ADD_OFFSET", "10000"),
        "L2A": ("BOA_QUANTIFICATION_VALUE", "BOA_ADD_OFFSET", "10000"),
    }[level]
    names = [*SPECTRAL[:8], "B8A", *SPECTRAL[8:]]
    lines = "".join(
        f'<{kind[1]} band_id="{i}">{offset:g}</{kind[1]}>' for i in range(13 if offset else 0)
    )
    root.mkdir(parents=True)
    (root / f"MTD_MSI{level}.xml").write_text(
        f'<n1:Level xmlns:n1="https://psd-14"><n1:General><{kind[0]} unit="none">{kind[2]}'
        f"</{kind[0]}>{lines}</n1:General></n1:Level>"
    )
    for name in names:
        if level == "L2A" and name == "B10":
            continue
        band = scene[NAMES.index("B8" if name == "B8A" else name)] - offset
        number = name.removeprefix("B").zfill(2)
        path = images / f"T54TWN_20180910T012651_B{number}.jp2"
        if level == "L2A":
            path = images / "R10m" / f"T54TWN_20180910T012651_B{number}_10m.jp2"
        _write_jp2(path, band.astype(np.uint16))
    return root


def _write_jp2(path: Path, band: np.ndarray) -> None:
    from rasterio.shutil import copy

    plain = write_tif(path.with_suffix(".tif"), band[None])
    copy(plain, path, driver="JP2OpenJPEG", QUALITY="100", REVERSIBLE="YES")
    plain.unlink()
    path.with_name(path.name + ".aux.xml").unlink(missing_ok=True)


def write_item(path: Path, scene: np.ndarray, *, applied: bool = False) -> Path:
    """A STAC item with an asset for each band, as Earth Search names them."""
    import json

    common = {
        "B1": "coastal",
        "B2": "blue",
        "B3": "green",
        "B4": "red",
        "B5": "rededge1",
        "B6": "rededge2",
        "B7": "rededge3",
        "B8": "nir",
        "B9": "nir09",
        "B10": "cirrus",
        "B11": "swir16",
        "B12": "swir22",
    }
    assets = {}
    for name, key in common.items():
        band = scene[NAMES.index(name)] + (0 if applied else 1000)
        write_tif(path.parent / f"{key}.tif", band[None].astype(np.uint16), nodata=0)
        assets[key] = {
            "href": f"./{key}.tif",
            "type": "image/tiff; application=geotiff; profile=cloud-optimized",
            "roles": ["data"],
            "eo:bands": [{"name": key, "common_name": key}],
            "raster:bands": [{"nodata": 0, "scale": 0.0001, "offset": -0.1}],
        }
    properties = {"earthsearch:boa_offset_applied": applied, "s2:product_type": "S2MSI1C"}
    item = {"type": "Feature", "id": "S2B_54TWN", "properties": properties, "assets": assets}
    path.write_text(json.dumps(item))
    return path
