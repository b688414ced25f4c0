"""Description of the files of a sensor: bands, scaling, units, pixel size.

A sensor names the bands of a file in order, how a stored value becomes a count (an exact integer
that is kept losslessly) and how a count becomes a unit, and whether levels are absolute or
relative with an unknown factor per tile. ``l4s`` is built in, ``l4s-rgb`` is a YAML file beside
the presets, and the path of any other YAML describes another sensor.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from l4s_ensemble.config import Section, config_folder
from l4s_ensemble.data.bands import L4S_BANDS, PATCH_PIXELS, PIXEL_M
from l4s_ensemble.errors import ConfigError, ModelError


class SensorBand(Section):
    """One band of a sensor's files.

    ``stored x stored_to_count`` is an exact integer, the count; ``count x count_to_unit`` is in
    ``unit``.
    """

    name: str
    stored_to_count: float = Field(1.0, gt=0)
    count_to_unit: float = Field(1.0, gt=0)
    unit: str = "DN"


class Sensor(Section):
    """A description of patch files.

    Attributes
    ----------
    bands : tuple of SensorBand
        In the order of the file's last axis.
    radiometry : {'absolute', 'relative'}
        ``relative``: each tile's spectral bands carry one unknown common factor.
    image_key, mask_key : str
        HDF5 dataset names.
    grid : {'official', 'none'}
        ``official``: training ids are those of Landslide4Sense, so scene, row, column are known.
    """

    name: str
    bands: tuple[SensorBand, ...]
    radiometry: Literal["absolute", "relative"] = "absolute"
    pixel_m: float = Field(PIXEL_M, gt=0)
    patch_pixels: int = Field(PATCH_PIXELS, ge=8)
    image_key: str = "img"
    mask_key: str = "mask"
    grid: Literal["official", "none"] = "none"

    @model_validator(mode="after")
    def _names_are_unique(self) -> Sensor:
        names = self.band_names
        if len(set(names)) != len(names) or not names:
            raise ValueError("band names must be unique, and at least one")
        return self

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of the bands in file order."""
        return tuple(b.name for b in self.bands)

    @property
    def spectral(self) -> tuple[str, ...]:
        """Names of the bands that measure reflectance, in file order."""
        return tuple(b.name for b in self.bands if b.unit not in {"degree", "metre"})

    @property
    def stored_to_count(self) -> NDArray[np.float64]:
        """Factor of each band from stored values to counts, shape (band,)."""
        return np.array([b.stored_to_count for b in self.bands])

    @property
    def count_to_unit(self) -> NDArray[np.float32]:
        """Factor of each band from counts to units, shape (band,)."""
        return np.array([b.count_to_unit for b in self.bands], dtype=np.float32)


L4S = Sensor(
    name="l4s",
    bands=tuple(SensorBand(name=b.name, stored_to_count=b.divisor, unit=b.unit) for b in L4S_BANDS),
    grid="official",
)
"""The released 14-band Landslide4Sense files."""


def load_sensor(source: str | Path) -> Sensor:
    """Read a sensor: ``l4s``, the name of a YAML in ``configs/sensors``, or a YAML's path.

    Raises
    ------
    ConfigError
        If there is no such sensor or its description is not usable.
    """
    if str(source) == L4S.name:
        return L4S
    path = Path(source)
    named = config_folder() / "sensors" / f"{source}.yaml"
    if not path.is_file():
        path = named
    if not path.is_file():
        known = [L4S.name, *sorted(p.stem for p in named.parent.glob("*.yaml"))]
        raise ConfigError(
            "no such sensor",
            found=str(source),
            allowed=", ".join(known),
            fix="name one of these, or give the path of a YAML file that describes the sensor",
        )
    try:
        values: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Sensor.model_validate(values)
    except (yaml.YAMLError, ValidationError, UnicodeDecodeError) as error:
        raise ConfigError("the sensor description is not usable", where=path, found=error) from None


def require_sensor(sensor: Sensor, known: Sensor, *, where: object = None) -> None:
    """Refuse tiles of another sensor than that of a model's training tiles.

    Raises
    ------
    ModelError
        If the bands, their scaling, the radiometry or the pixel size differ.
    """
    for field in ("band_names", "bands", "radiometry", "pixel_m"):
        found, wanted = getattr(sensor, field), getattr(known, field)
        if found != wanted:
            raise ModelError(
                f"the sensor is not the model's: {field.replace('_', ' ')} differ",
                where=where,
                found=f"{sensor.name}: {_shown(found)}",
                allowed=f"{known.name}: {_shown(wanted)}",
                fix="predict files of the same sensor, or fit a model for this one",
            )


def _shown(value: object) -> object:
    if not isinstance(value, tuple):
        return value
    return ", ".join(
        v if isinstance(v, str) else f"{v.name} x {v.count_to_unit:g} {v.unit}" for v in value
    )
