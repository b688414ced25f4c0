"""What a map was asked for, and its folder opened again to be shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, ValidationError

from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.errors import RunError
from l4s_ensemble.maps.area import Area, area_of
from l4s_ensemble.maps.opening import open_scene
from l4s_ensemble.maps.reader import Reader
from l4s_ensemble.maps.summary import SETTINGS, SUMMARY, MapSummary
from l4s_ensemble.run.files import read_json
from l4s_ensemble.run.stage import SummaryModel


def _absolute(path: object) -> str:
    """A path that another working directory understands; what is no local file stays as it is."""
    return str(Path(str(path)).absolute()) if Path(str(path)).exists() else str(path)


Place = Annotated[str, BeforeValidator(_absolute)]


class Asked(SummaryModel):
    """What a map is made of, in ``map.json``; see `l4s_ensemble.maps.scene_map.map_scene`."""

    scene: Place
    sensor: Sensor
    dem: Place | None
    mask: Place | None
    before: Place | None = None
    new_only: bool = False
    adapt: bool = True
    bbox: tuple[float, float, float, float] | None
    aoi: Place | None
    bands: tuple[str, ...] | None
    scale: float | None
    offset: float | None

    def open(self) -> tuple[Reader, Area]:
        """Open the scene on its grid, and find what of it is wanted."""
        scene = open_scene(self.scene, self.bands).scaled(self.scale, self.offset)
        reader = Reader.of(scene, self.sensor, self.dem, self.mask)
        return reader, area_of(reader, self.bbox, self.aoi)


@dataclass(frozen=True)
class WrittenMap:
    """A map on disk, and the scene that it was made from."""

    folder: Path
    asked: Asked
    summary: MapSummary
    reader: Reader
    area: Area


def open_map(folder: Path) -> WrittenMap:
    """Open the folder of a map.

    Raises
    ------
    RunError
        If it holds no finished map.
    DataError
        If its scene is no longer there.
    """
    if not (folder / SUMMARY).is_file():
        fix = "make one with `l4s-ensemble map SCENE --out FOLDER`"
        raise RunError("the folder holds no finished map", where=folder, fix=fix)
    try:
        summary = MapSummary.model_validate(read_json(folder / SUMMARY))
        asked = Asked.model_validate(read_json(folder / SETTINGS).get("asked"))
    except ValidationError as error:
        fix = "delete the folder and map the scene again"
        raise RunError(
            "the map is of another version", where=folder, found=error, fix=fix
        ) from None
    reader, area = asked.open()
    return WrittenMap(folder, asked, summary, reader.with_gain(summary.gain), area)
