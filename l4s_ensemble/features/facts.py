"""What is known of a scene as a whole: usual values of the telling fields, and where the light is.

No label is read. A scene is measured over a sample of its tiles; where the scene is unknown, a tile
speaks for itself.

The sun is found by least squares of log brightness on the surface normal, with an intercept for
each tile. To first order the three coefficients point towards the light, whatever share of it is
diffuse. Limits: land cover that follows the aspect (forest on the shady side) is taken for light.
Cover that follows the slope, and gentle terrain, leave the height of the sun hardly determined, so
it is bounded from below. Where slopes are a few degrees only, its azimuth is worth little too. It
is one direction for a whole scene, though a mosaic may have several. So it serves to compare slopes
with; it is no almanac.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.errors import DataError, ModelError
from l4s_ensemble.features.indices import INDICES
from l4s_ensemble.features.relative_kernels import fast_median

if TYPE_CHECKING:
    from l4s_ensemble.features.canvas import Canvas

TELLING: tuple[str, ...] = ("ndvi", "bsi", "bright", "ndmi", "slope", "ri", "gli", "ikaw")
"""Fields that facts are measured of, as far as the sensor has their bands; see `telling`."""

NORMALS = ("eastness", "northness", "normal_up")

QUANTILES = 101
"""From the least to the greatest, in steps of one percent."""

STRIDE_PX = 8
"""Every 8th pixel in both directions: nearer ones tell little more."""

STRAIGHT_UP = (0.0, 0.0, 1.0)

LOWEST_SUN_DEG = 30.0
"""Least elevation of the light. Steep slopes carry other cover than valleys, which on real tiles
pulls the estimate down to the horizon while its azimuth is right."""

_CLIPPED_SHARE = 0.01
_LEAST_PIXELS = 30
_LEAST_LIGHT = 1e-3
# A slope of 0.3 degree and a change of brightness of 0.1 %: less is rounding.
_LEAST_SPREAD_NORMAL = 5e-3
_LEAST_SPREAD_LOG = 1e-3
_LEAST_EIGENVALUE = 1e-5

Direction = tuple[float, float, float]
"""Unit vector (east, north, up); north is towards row 0."""


class FieldFacts:
    """Usual values of one field.

    Parameters
    ----------
    median : float
    spread : float
        1.4826 × median absolute deviation, the standard deviation of a normal distribution.
    quantiles : float32 array, shape (101,), or callable
        0 %, 1 % … 100 %, ascending. A callable makes them when they are asked for: a tile is
        sorted for ranks only.
    """

    def __init__(
        self,
        median: float,
        spread: float,
        quantiles: NDArray[np.float32] | Callable[[], NDArray[np.float32]],
    ) -> None:
        self.median = median
        self.spread = spread
        self._quantiles = quantiles

    @cached_property
    def quantiles(self) -> NDArray[np.float32]:
        """0 %, 1 % … 100 %, ascending, shape (101,)."""
        return self._quantiles() if callable(self._quantiles) else self._quantiles


class Facts(Protocol):
    """What the features of scope ``scene`` read."""

    def field(self, name: str) -> FieldFacts:
        """Usual values of a telling field."""
        ...

    @property
    def sun(self) -> Direction:
        """Unit vector towards the light; straight up where it cannot be told."""
        ...


def telling(sensor: Sensor) -> tuple[str, ...]:
    """Names of the fields in `TELLING` that a sensor has the bands for."""
    needs = {index.name: index.needs for index in INDICES} | {"slope": ("slope",)}
    return tuple(n for n in TELLING if set(needs[n]) <= set(sensor.band_names))


class TileFacts:
    """Facts of a tile that stands for its scene, measured when asked for.

    Parameters
    ----------
    canvas : Canvas
        Its core is measured, all pixels.
    """

    def __init__(self, canvas: Canvas) -> None:
        self._canvas = canvas
        self._fields: dict[str, FieldFacts] = {}
        self._sun: Direction | None = None

    def field(self, name: str) -> FieldFacts:
        """Usual values of a field; any name that the canvas knows."""
        found = self._fields.get(name)
        if found is None:
            values = self._canvas.value(name)
            made = FieldFacts(*_middle(values), lambda: _quantiles(values))
            found = self._fields[name] = made
        return found

    @property
    def sun(self) -> Direction:
        """Unit vector towards the light; straight up without elevation."""
        if self._sun is None:
            names = ("bright", *NORMALS)
            known = "dem" in self._canvas.sensor.band_names
            sample = {n: self._canvas.value(n).ravel() for n in names if known}
            self._sun = _sun([sample]) if known else STRAIGHT_UP
        return self._sun


@dataclass(frozen=True, eq=False)
class SceneFacts:
    """Facts of a scene, measured over many tiles. Can be pickled and written as JSON.

    Attributes
    ----------
    fields : mapping of str to FieldFacts
    sun : tuple of three floats
        Unit vector (east, north, up) towards the light. Straight up without elevation.
    tiles : int
        Tiles that were measured.
    """

    fields: Mapping[str, FieldFacts]
    sun: Direction = STRAIGHT_UP
    tiles: int = 0

    def field(self, name: str) -> FieldFacts:
        """Usual values of a telling field.

        Raises
        ------
        ModelError
            If it was not measured.
        """
        found = self.fields.get(name)
        if found is None:
            raise ModelError(
                "the facts of the scene lack a field", found=name,
                allowed=", ".join(self.fields), fix="run the features stage again",
            )  # fmt: skip
        return found

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; see `from_dict`."""
        return {
            "tiles": self.tiles,
            "sun": list(self.sun),
            "fields": {
                name: {
                    "median": facts.median,
                    "spread": facts.spread,
                    "quantiles": [float(q) for q in facts.quantiles],
                }
                for name, facts in self.fields.items()
            },
        }

    @classmethod
    def from_dict(cls, value: object, where: object = None) -> SceneFacts:
        """Read back what `as_dict` gave.

        Parameters
        ----------
        value : dict
        where : object, optional
            File it comes from, for the message.

        Raises
        ------
        ModelError
            If something is missing, or a number is not what it must be.
        """
        try:
            if not isinstance(value, dict):
                raise TypeError(f"a {type(value).__name__}, not a dict")
            fields = {str(n): _field_from_dict(n, f) for n, f in value["fields"].items()}
            sun = _direction([float(v) for v in value["sun"]])
            return cls(fields, sun, int(value["tiles"]))
        except KeyError as error:
            problem = f"no entry {error}"
        except (AttributeError, TypeError, ValueError, OverflowError) as error:
            problem = str(error)
        raise ModelError(
            "these are not the facts of a scene", where=where, found=problem,
            fix="run the features stage again",
        )  # fmt: skip


def _field_from_dict(name: str, value: Mapping[str, Any]) -> FieldFacts:
    median, spread = float(value["median"]), float(value["spread"])
    quantiles = np.asarray(value["quantiles"], dtype=np.float32)
    if quantiles.shape != (QUANTILES,):
        raise ValueError(f"{name} has {quantiles.size} quantiles, not {QUANTILES}")
    if not (np.isfinite(quantiles).all() and np.isfinite([median, spread]).all()):
        raise ValueError(f"{name} holds a value that is not finite")
    if spread < 0 or (np.diff(quantiles) < 0).any():
        raise ValueError(f"{name} has a negative spread or quantiles that do not ascend")
    return FieldFacts(median, spread, quantiles)


def _direction(sun: Sequence[float]) -> Direction:
    # `not` with <=: a NaN is refused too.
    if len(sun) != 3 or not abs(sum(v * v for v in sun) - 1) <= 1e-3:
        raise ValueError(f"the sun is no unit vector: {list(sun)}")
    return sun[0], sun[1], sun[2]


def sample_tile(canvas: Canvas) -> dict[str, NDArray[np.float32]]:
    """Take every 8th pixel of a tile in both directions, for `measure`.

    Parameters
    ----------
    canvas : Canvas
        Its core is read. With a margin of 7 px or more the normals are exact up to the rim.

    Returns
    -------
    dict of str to float32 array, shape (pixel,)
        Telling fields that the sensor has and, with elevation, `NORMALS`.
    """
    names = telling(canvas.sensor)
    if "dem" in canvas.sensor.band_names:
        names += NORMALS
    starts = (min(STRIDE_PX // 2, (n - 1) // 2) for n in (canvas.height, canvas.width))
    every = tuple(slice(start, None, STRIDE_PX) for start in starts)
    return {name: canvas.value(name)[every].ravel() for name in names}


def measure(samples: Sequence[Mapping[str, NDArray[np.float32]]]) -> SceneFacts:
    """Measure a scene over samples of its tiles.

    Parameters
    ----------
    samples : sequence of dict
        One of `sample_tile` for each tile, all of one sensor.

    Returns
    -------
    SceneFacts
        Brightness of a relative sensor is that relative to each tile, as its files have it.

    Raises
    ------
    DataError
        If there is no sample, or the samples do not hold the same fields.
    """
    if not samples:
        raise DataError("no tile of the scene can be measured", fix="give at least one tile")
    names = list(samples[0])
    if any(set(sample) != set(names) for sample in samples):
        raise DataError(
            "the tiles of a scene do not hold the same fields", allowed=", ".join(names),
            fix="sample all tiles with one sensor",
        )  # fmt: skip
    fields = {}
    for name in names:
        if name not in NORMALS:
            values = np.concatenate([sample[name] for sample in samples])
            fields[name] = FieldFacts(*_middle(values), _quantiles(values))
    known = {"bright", *NORMALS} <= set(names)
    return SceneFacts(fields, _sun(samples) if known else STRAIGHT_UP, len(samples))


def _middle(values: NDArray[np.float32]) -> tuple[float, float]:
    """Median and robust spread."""
    median = fast_median(values)
    return float(median), 1.4826 * float(fast_median(np.abs(values - median)))


def _quantiles(values: NDArray[np.float32]) -> NDArray[np.float32]:
    ordered = np.sort(values, axis=None)
    # The quantile of numpy's default, "linear"; from the ordered values at no further cost.
    place = np.linspace(0, ordered.size - 1, QUANTILES)
    return np.interp(place, np.arange(ordered.size), ordered).astype(np.float32)


def _sun(samples: Sequence[Mapping[str, NDArray[np.float32]]]) -> Direction:
    """Direction of the light by least squares; see the head of this file."""
    logs, normals = [], []
    for sample in samples:
        log = np.log(np.maximum(sample["bright"].astype(np.float64), _LEAST_LIGHT))
        normal = np.stack([sample[name] for name in NORMALS]).astype(np.float64)
        # Taking away each tile's own mean is the same as an intercept for each tile. So neither
        # the unknown level of a tile nor its land cover as a whole matters.
        log = np.clip(log, *np.quantile(log, (_CLIPPED_SHARE, 1 - _CLIPPED_SHARE)))
        logs.append(log - log.mean())
        normals.append(normal - normal.mean(axis=1, keepdims=True))
    y, x = np.concatenate(logs), np.concatenate(normals, axis=1)
    if y.size < _LEAST_PIXELS or y.std() < _LEAST_SPREAD_LOG:
        return STRAIGHT_UP
    moments = x @ x.T / y.size
    values, vectors = np.linalg.eigh(moments)
    if values[-1] < _LEAST_SPREAD_NORMAL**2:
        return STRAIGHT_UP
    # What the terrain does not vary in stays undetermined: zero.
    told = values > _LEAST_EIGENVALUE * values[-1]
    slopes = vectors[:, told] @ ((vectors[:, told].T @ (x @ y / y.size)) / values[told])
    return _raised(*(float(v) for v in slopes))


def _raised(east: float, north: float, up: float) -> Direction:
    """Unit vector of a direction, at least `LOWEST_SUN_DEG` above the horizon."""
    flat = float(np.hypot(east, north))
    elevation = max(float(np.arctan2(up, flat)), float(np.radians(LOWEST_SUN_DEG)))
    if flat < 1e-6:
        return STRAIGHT_UP
    along = float(np.cos(elevation)) / flat
    return east * along, north * along, float(np.sin(elevation))
