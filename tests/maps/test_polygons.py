"""Polygons become masks of the grid of a raster."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l4s_ensemble.errors import ConfigError, DataError
from l4s_ensemble.maps.polygons import rasterise

UTM = "EPSG:32654"
GRID = (10.0, 0, 560_000, 0, -10.0, 4_730_000)
SHAPE = (40, 60)


@pytest.fixture
def geo() -> Any:
    for name in ("rasterio", "pyogrio"):
        pytest.importorskip(name, reason="the extra geo is not installed")
    return pytest.importorskip("shapely", reason="the extra geo is not installed")


def written(path: Path, shapes: Sequence[Any], crs: str | None = UTM, layer: str = "a") -> Path:
    import shapely
    from pyogrio.raw import write

    kinds = {s.geom_type for s in shapes}
    write(
        path,
        np.array(shapely.to_wkb(shapes), object),
        [],
        [],
        crs=crs,
        layer=layer,
        geometry_type=kinds.pop() if len(kinds) == 1 else "Unknown",
        append=path.exists(),
    )
    return path


def box(geo: Any, rows: slice, cols: slice) -> Any:
    """The outline of some pixels of the grid."""
    top, left = GRID[5], GRID[2]
    return geo.box(
        left + 10 * cols.start, top - 10 * rows.stop, left + 10 * cols.stop, top - 10 * rows.start
    )


def test_the_pixels_inside_are_landslide(geo: Any, tmp_path: Path) -> None:
    whole, hole = box(geo, slice(5, 20), slice(10, 30)), box(geo, slice(8, 12), slice(14, 20))
    over = box(geo, slice(35, 50), slice(55, 70))
    path = written(tmp_path / "a.gpkg", [whole - hole, over])
    wanted = np.zeros(SHAPE, np.uint8)
    wanted[5:20, 10:30] = 1
    wanted[8:12, 14:20] = 0
    wanted[35:, 55:] = 1
    np.testing.assert_array_equal(rasterise(path, GRID, SHAPE, UTM), wanted)


def test_polygons_of_another_reference_system_are_transformed(geo: Any, tmp_path: Path) -> None:
    from rasterio.warp import transform_geom

    inner = geo.box(560_102, 4_729_802, 560_298, 4_729_948)  # 2 m within pixels: warped back
    shape = geo.geometry.shape(transform_geom(UTM, "EPSG:4326", geo.geometry.mapping(inner)))
    path = written(tmp_path / "a.gpkg", [shape], "EPSG:4326")
    wanted = np.zeros(SHAPE, np.uint8)
    wanted[5:20, 10:30] = 1
    np.testing.assert_array_equal(rasterise(path, GRID, SHAPE, UTM), wanted)


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_what_is_no_polygon_is_refused_by_name(geo: Any, tmp_path: Path) -> None:
    shape = box(geo, slice(0, 3), slice(0, 3))
    for name, made, crs, says in (
        ("points", [geo.Point(560_010, 4_729_990)], UTM, "Point"),
        ("adrift", [shape], None, "reference system"),
        ("away", [geo.affinity.translate(shape, 9e4)], UTM, "no polygon covers the centre"),
    ):
        path = written(tmp_path / f"{name}.gpkg", made, crs)
        with pytest.raises(DataError, match=rf"(?s){says}|{name}\.gpkg") as error:
            rasterise(path, GRID, SHAPE, UTM)
        assert says in str(error.value) and f"{name}.gpkg" in str(error.value)
    two = written(tmp_path / "two.gpkg", [shape])
    written(two, [shape], layer="b")
    with pytest.raises(DataError, match=r"(?s)which layer.*a, b"):
        rasterise(two, GRID, SHAPE, UTM)
    assert rasterise(two, GRID, SHAPE, UTM, layer="b").sum() == 9
    with pytest.raises(DataError, match="cannot be read"):
        rasterise(two, GRID, SHAPE, UTM, layer="c")
    (tmp_path / "bad.gpkg").write_bytes(b"no database")
    with pytest.raises(DataError, match="cannot be read"):
        rasterise(tmp_path / "bad.gpkg", GRID, SHAPE, UTM)
    with pytest.raises(DataError, match="no such file"):
        rasterise(tmp_path / "none.gpkg", GRID, SHAPE, UTM)


def test_without_the_extra_the_way_to_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] in {"shapely", "rasterio", "pyogrio"}:
            raise ImportError(f"no module named {name}")
        return own(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"l4s_ensemble\[geo\]"):
        rasterise(tmp_path / "a.gpkg", GRID, SHAPE, UTM)
