"""The command that maps a scene."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from l4s_ensemble.cli import console
from l4s_ensemble.cli.options import (
    RUN,
    AdaptOption,
    DeviceOption,
    JobsOption,
    QuietOption,
    RunOption,
    SchedulerOption,
    named_device,
    start,
)

DEMO_TILES = 5, 7
"""Rows and columns of tiles of the demo's scene: 6 by 9 km."""


def map_(
    scene: Annotated[
        Path,
        typer.Argument(
            help="A GeoTIFF or VRT, a folder of bands, a Sentinel-2 .SAFE or its zip, a STAC item."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the map.")],
    dem: Annotated[Path | None, typer.Option("--dem", help="Elevation, metres.")] = None,
    mask: Annotated[Path | None, typer.Option("--mask", help="Clouds: all that is not 0.")] = None,
    before: Annotated[
        Path | None, typer.Option("--before", help="A scene from before the event.")
    ] = None,
    new_only: Annotated[
        bool, typer.Option("--new-only", help="Leave out what was bare before.")
    ] = False,
    bbox: Annotated[
        tuple[float, float, float, float] | None,
        typer.Option("--bbox", metavar="W S E N", help="Map this part only, degrees."),
    ] = None,
    aoi: Annotated[Path | None, typer.Option("--aoi", help="Polygons of the part to map.")] = None,
    bands: Annotated[
        str | None, typer.Option("--bands", help="Bands of a file in order, such as B2,B3,B4.")
    ] = None,
    scale: Annotated[
        float | None, typer.Option("--scale", help="value x scale + offset = reflectance x 10,000.")
    ] = None,
    offset: Annotated[float | None, typer.Option("--offset", help="See --scale.")] = None,
    run: RunOption = RUN,
    scheduler: SchedulerOption = None,
    adapt: AdaptOption = True,
    jobs: JobsOption = None,
    device: DeviceOption = "auto",
    quiet: QuietOption = False,
) -> None:
    """Map the landslides of a scene: GeoTIFFs and polygons for a GIS, and a page to look at."""
    from l4s_ensemble.maps.scene_map import map_scene
    from l4s_ensemble.pipeline import default_jobs
    from l4s_ensemble.report.map_page import write_map_page

    start(quiet)
    names = None if bands is None else [n.strip() for n in bands.split(",")]
    found = map_scene(
        scene,
        run,
        out,
        dem=dem,
        mask=mask,
        before=before,
        new_only=new_only,
        bbox=bbox,
        aoi=aoi,
        bands=names,
        scale=scale,
        offset=offset,
        adapt=adapt,
        jobs=jobs or default_jobs(),
        device=named_device(device),
    )
    console.map_summary(found, out)
    console.say(f"page   {write_map_page(out)}")


def demo_scene(out: Path, seed: int) -> tuple[Path, Path]:
    """Write the synthetic scene of the demo beside its run: GeoTIFFs of bands and of clouds."""
    from l4s_ensemble.sources.raster import write_raster_scene
    from l4s_ensemble.sources.scene import make_scene

    folder = out / "synthetic-scene"
    kept = folder / "scene.tif", folder / "clouds.tif"
    if all(p.is_file() for p in kept):
        return kept
    # Climate and light of the first training scene, another place.
    scene = make_scene(*DEMO_TILES, [seed, 0, 1])
    return write_raster_scene(folder, scene.image, seed)
