"""From a scene to a map: check, statistics, blocks, files."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.errors import ConfigError, DataError, RunError
from l4s_ensemble.features.scene_statistics import SceneStatistics, measure
from l4s_ensemble.features.source import MEASURED_TILES
from l4s_ensemble.maps.area import Area
from l4s_ensemble.maps.before import bare_before
from l4s_ensemble.maps.blocks import (
    BLOCK_TILES,
    blocks_of,
    map_block,
    sample_reflectance,
    sample_tiles,
)
from l4s_ensemble.maps.item import write_item
from l4s_ensemble.maps.landslides import describe_landslides
from l4s_ensemble.maps.opening import open_scene
from l4s_ensemble.maps.radiometry import TILES, check_level, typical
from l4s_ensemble.maps.reader import Reader
from l4s_ensemble.maps.result import MapResult
from l4s_ensemble.maps.scene import Scene
from l4s_ensemble.maps.summary import SETTINGS, SUMMARY, BandLevel, MapSummary
from l4s_ensemble.maps.write import write_landslides, write_rasters, write_styles
from l4s_ensemble.maps.written import Asked
from l4s_ensemble.predict.ensemble import Ensemble
from l4s_ensemble.predict.landslides_table import by_size
from l4s_ensemble.predict.raster import spaced
from l4s_ensemble.run.child import usage
from l4s_ensemble.run.files import digest_of, make_folder, read_json, write_json
from l4s_ensemble.run.progress import track
from l4s_ensemble.run.tasks import cluster_threads, in_processes

log = logging.getLogger("l4s_ensemble")

BLOCKS = "blocks"
SAMPLED_TILES = 8
"""Tiles of one task of the first pass."""

_UNCOVERED = 0.005  # share of observed pixels without elevation: a frayed edge of a model


def map_scene(
    scene: str | Path,
    run: str | Path,
    out: str | Path,
    *,
    dem: str | Path | None = None,
    mask: str | Path | None = None,
    before: str | Path | None = None,
    new_only: bool = False,
    bbox: tuple[float, float, float, float] | None = None,
    aoi: str | Path | None = None,
    bands: Sequence[str] | None = None,
    scale: float | None = None,
    offset: float | None = None,
    adapt: bool = True,
    block_tiles: int | None = None,
    jobs: int = 1,
    device: str = "auto",
) -> MapSummary:
    """Map the landslides of a scene.

    Writes the rasters of `write.RASTERS`, ``landslides.gpkg``, styles for QGIS, ``item.json`` and
    ``summary.json``. A killed call goes on where it was.

    Parameters
    ----------
    scene : str or Path
        See `l4s_ensemble.maps.opening.open_scene`.
    run : str or Path
        A fitted run, or its export.
    out : str or Path
        Folder of the map: a new one, or that of the same map.
    dem : str or Path, optional
        Elevation in metres, any CRS and pixel size.
    mask : str or Path, optional
        Raster that is not 0 where clouds hide the ground.
    before : str or Path, optional
        Scene from before the event: shows which landslides were bare already.
    new_only : bool
        Leave those out.
    bbox : tuple of float, optional
        West, south, east, north in degrees: map this part only.
    aoi : str or Path, optional
        Polygons of the area to map, any format of GDAL.
    bands : sequence of str, optional
        Names of the bands of a file that does not say them.
    scale, offset : float, optional
        ``value x scale + offset`` is reflectance x 10,000; by default what the metadata say.
    adapt : bool
        Whether the U-Net takes batch statistics of the scene, see `Ensemble.adapted`.
    block_tiles : int, optional
        Tiles of a block each way; the map does not depend on it.
    jobs : int
        Processes; a dask cluster, if there is one, is used instead, see `in_processes`.
    device : str
        Of the U-Net.

    Raises
    ------
    DataError
        If the scene is not what the run needs; the message says what to do.
    RunError
        If `out` holds something else.
    """
    started, folder = time.monotonic(), Path(out)
    ensemble = Ensemble.load(run, device=device)
    if new_only and before is None:
        raise ConfigError("what is new cannot be known", where="--new-only", fix="give --before")
    asked = Asked(
        scene=scene,
        sensor=ensemble.sensor,
        dem=dem,
        mask=mask,
        before=before,
        new_only=new_only,
        adapt=adapt,
        bbox=bbox,
        aoi=aoi,
        bands=bands,
        scale=scale,
        offset=offset,
    )
    reader, area = asked.open()
    earlier = None if before is None else open_scene(before, bands)
    about = {"scene": str(scene), "run": str(run)}
    about["digest"] = _digest(ensemble, reader, area, earlier, new_only, adapt)
    known = _known(folder, about["digest"])
    if (folder / SUMMARY).is_file():
        return MapSummary.model_validate(read_json(folder / SUMMARY))
    gain, levels = _level(ensemble, reader, scale is not None or offset is not None)
    reader = reader.with_gain(gain)
    size = block_tiles or known.get("block_tiles") or _block_tiles(reader, area, jobs)
    make_folder(folder / BLOCKS)
    write_json(folder / SETTINGS, {**about, "block_tiles": size, "asked": asked})
    statistics, images = scene_statistics(ensemble, reader, jobs)
    models = ensemble.adapted(images) if adapt else ensemble
    result, kept = _predict(models, reader, area, statistics, folder / BLOCKS, size, jobs)
    bare, share = bare_before(reader, earlier, result, new_only) if earlier else (None, None)
    rows, found = describe_landslides(ensemble, reader, area, result, statistics, share, jobs=jobs)
    write_rasters(ensemble, result, area.window, folder, about)
    write_landslides(folder / "landslides.gpkg", rows, found, reader.grid.crs)
    write_styles(folder)
    head = {
        **about,
        "level": reader.scene.level,
        "observed": reader.scene.observed,
        "radiometry": reader.scene.source,
        "gain": gain,
        "bands": levels,
        "before": bare,
        "adapted": models is not ensemble,
        "blocks": len(result.blocks),
        "blocks_kept": kept,
    }
    summary = _summarise(ensemble, result, area, rows, head, time.monotonic() - started)
    write_item(folder, summary, ensemble.folder)
    write_json(folder / SUMMARY, summary)
    shutil.rmtree(folder / BLOCKS)
    return summary


def _predict(
    ensemble: Ensemble,
    reader: Reader,
    area: Area,
    statistics: SceneStatistics | None,
    folder: Path,
    size: int,
    jobs: int,
) -> tuple[MapResult, int]:
    """Predict the blocks that are not there; gives the number of those that were too."""
    blocks = blocks_of(reader.grid, area.window, size)
    left = [b for b in blocks if not (folder / b.name).is_file()]
    # One block alone has all processes to itself.
    ensemble.jobs = jobs if len(left) == 1 else 1
    tasks = [(ensemble, reader, b, statistics, area, folder) for b in left]
    for _ in track(in_processes(map_block, tasks, jobs), "map: blocks", len(left)):
        pass
    result = MapResult(reader.grid, blocks, folder, ensemble.stack)
    if not result.tiles:
        raise _nothing_seen(reader)
    return result, len(blocks) - len(left)


def _nothing_seen(reader: Reader) -> DataError:
    return DataError(
        "no pixel of the area can be predicted",
        where=reader.scene.path,
        found="no data, clouds or no elevation everywhere",
        fix="check nodata and the cloud mask",
    )


def _tiles_of_scene(reader: Reader, most: int) -> list[tuple[int, int]]:
    """Tiles of all of the scene: neither gain nor statistics depend on the part that is mapped."""
    whole = blocks_of(reader.grid, reader.grid.pixels(reader.extent()), max(reader.grid.shape))
    return list(spaced([t for b in whole for t in b.tiles()], most))


def _level(ensemble: Ensemble, reader: Reader, given: bool) -> tuple[float, list[BandLevel]]:
    """Check the reflectance of a sample of the scene; see `check_level`."""
    sample = sample_reflectance(reader, _tiles_of_scene(reader, TILES))
    if not sample.size:
        raise _nothing_seen(reader)
    training = typical(ensemble.applicability, ensemble.sensor)
    gain, levels = check_level(reader, sample, training, given=given)
    for one in levels:
        known = "" if one.training is None else f", training {one.training:.0f}"
        log.info("map: %s median %.4g -> %.0f%s", one.band, one.stored, one.used, known)
    return gain, levels


def scene_statistics(
    ensemble: Ensemble, reader: Reader, jobs: int
) -> tuple[SceneStatistics | None, NDArray[np.float32]]:
    """Measure the scene: what the models read of it, and images of some of its tiles.

    See `Ensemble.scene_fields` and `Ensemble.adapted`.

    Raises
    ------
    DataError
        If elevation does not cover the scene.
    """
    some = _tiles_of_scene(reader, MEASURED_TILES)
    tasks = [
        (ensemble, reader, some[i : i + SAMPLED_TILES]) for i in range(0, len(some), SAMPLED_TILES)
    ]
    done = in_processes(sample_tiles, tasks, jobs)
    found = list(track(done, "map: statistics of the scene", len(tasks)))
    observed, bare = sum(f[2] for f in found), sum(f[3] for f in found)
    if bare > _UNCOVERED * observed:
        raise DataError(
            "the elevation does not cover the scene",
            where=reader.dem or reader.scene.path,
            found=f"{bare / observed:.0%} of the scene has none",
            fix="give a larger elevation model, or cut the scene to where it is known",
        )
    samples = [s for f in found for s in f[0]]
    statistics = measure(samples) if ensemble.scene_fields and samples else None
    return statistics, np.concatenate([f[1] for f in found])


def _block_tiles(reader: Reader, area: Area, jobs: int) -> int:
    """Size of blocks: large ones cost less; each worker should get some."""
    workers = cluster_threads() or jobs
    tiles = np.prod([(s.stop - s.start) / reader.grid.edge for s in area.window])
    return int(np.clip(np.ceil(np.sqrt(tiles / (3 * workers))), 4, BLOCK_TILES))


def _summarise(
    ensemble: Ensemble,
    result: MapResult,
    area: Area,
    rows: list[dict[str, Any]],
    head: dict[str, Any],
    seconds: float,
) -> MapSummary:
    grid, (y, x) = result.grid, area.window
    predicted = int(result.histogram.sum())
    wanted = outside = 0
    limit = None if ensemble.applicability is None else ensemble.applicability.limit
    for block in result.blocks:
        wanted += int(area.inside(grid, *block.pixels(grid.edge)).sum())
        if limit is not None:
            outside += int((result.part(block)["dissimilarity"] > limit).sum())
    km2 = predicted * grid.pixel_m**2 / 1e6
    first, last = grid.transform(y.start, x.start), grid.transform(y.stop, x.stop)
    whole, mapped = (n * grid.pixel_m**2 for n in result.expected)
    moved, pixels = result.moved, [r["pixels"] for r in rows]
    reason = "of training" if moved is None else moved.kept_because or "moved to fit this scene"
    return MapSummary(
        **head,
        crs=grid.crs,
        bounds=[first.c, last.f, last.c, first.f],
        shape=[y.stop - y.start, x.stop - x.start],
        pixel_m=grid.pixel_m,
        observed_km2=km2,
        masked_share=1 - predicted / wanted,
        threshold=result.threshold,
        threshold_reason=reason,
        landslides=len(rows),
        area_m2=float(sum(pixels)) * grid.pixel_m**2,
        expected_m2=whole,
        expected_mapped_m2=mapped,
        by_size=by_size(pixels, grid.pixel_m),
        review=sum(r["needs_review"] for r in rows),
        dissimilarity_limit=limit,
        outside_share=None if limit is None else outside / predicted,
        seconds=seconds,
        seconds_per_km2=seconds / km2,
        peak_mb=max(usage().get(k, 0.0) for k in ("peak_memory_mb", "peak_worker_memory_mb")),
    )


def _digest(
    ensemble: Ensemble,
    reader: Reader,
    area: Area,
    before: Scene | None,
    new_only: bool,
    adapt: bool,
) -> str:
    """Hash of everything that a map follows from."""
    models = sorted(
        path
        for name in ("pixel/fold_*/*", "unet/fold_*/*", "stack/model.json", "pixel/features.json")
        for path in ensemble.folder.glob(name)
    )
    files = {b.path for b in reader.scene.bands} | {m.path for m in reader.masks} | {reader.dem}
    files |= set() if before is None else {b.path for b in before.bands}
    paths = [Path(name) for name in sorted(f for f in files if f is not None)]
    changed = {str(p): (p.stat().st_mtime_ns, p.stat().st_size) for p in paths if p.exists()}
    text = json.dumps([digest_of(*models), repr((reader, area, before, new_only, adapt)), changed])
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _known(folder: Path, digest: str) -> dict[str, Any]:
    """Settings of the same map, where some of it is there.

    Raises
    ------
    RunError
        If the folder holds something else.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return {}
    fix = "name another folder with --out, or delete this one"
    if not (folder / SETTINGS).is_file():
        raise RunError("the folder is not empty and holds no map", where=folder, fix=fix)
    known: dict[str, Any] = read_json(folder / SETTINGS)
    if known.get("digest") != digest:
        raise RunError(
            "the folder holds another map",
            where=folder,
            found=f"a map of {known.get('scene')} by {known.get('run')}, or with other settings",
            fix=fix,
        )
    return known
