"""What is known of a scene as a whole: usual values of the telling fields.

No label is read. A scene is measured over a sample of its tiles; where the scene is unknown, a tile
speaks for itself.
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

QUANTILES = 101
"""From the least to the greatest, in steps of one percent."""

STRIDE_PX = 8
"""Every 8th pixel in both directions: nearer ones tell little more."""


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

    def field(self, name: str) -> FieldFacts:
        """Usual values of a field; any name that the canvas knows."""
        found = self._fields.get(name)
        if found is None:
            values = self._canvas.value(name)
            made = FieldFacts(*_middle(values), lambda: _quantiles(values))
            found = self._fields[name] = made
        return found


@dataclass(frozen=True, eq=False)
class SceneFacts:
    """Facts of a scene, measured over many tiles. Can be pickled and written as JSON.

    Attributes
    ----------
    fields : mapping of str to FieldFacts
    tiles : int
        Tiles that were measured.
    """

    fields: Mapping[str, FieldFacts]
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
            return cls(fields, int(value["tiles"]))
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


def sample_tile(canvas: Canvas) -> dict[str, NDArray[np.float32]]:
    """Take every 8th pixel of a tile in both directions, for `measure`.

    Parameters
    ----------
    canvas : Canvas
        Its core is read.

    Returns
    -------
    dict of str to float32 array, shape (pixel,)
        Telling fields that the sensor has.
    """
    starts = (min(STRIDE_PX // 2, (n - 1) // 2) for n in (canvas.height, canvas.width))
    every = tuple(slice(start, None, STRIDE_PX) for start in starts)
    return {name: canvas.value(name)[every].ravel() for name in telling(canvas.sensor)}


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
        values = np.concatenate([sample[name] for sample in samples])
        fields[name] = FieldFacts(*_middle(values), _quantiles(values))
    return SceneFacts(fields, len(samples))


def _middle(values: NDArray[np.float32]) -> tuple[float, float]:
    """Median and robust spread."""
    median = fast_median(values)
    return float(median), 1.4826 * float(fast_median(np.abs(values - median)))


def _quantiles(values: NDArray[np.float32]) -> NDArray[np.float32]:
    ordered = np.sort(values, axis=None)
    # The quantile of numpy's default, "linear"; from the ordered values at no further cost.
    place = np.linspace(0, ordered.size - 1, QUANTILES)
    return np.interp(place, np.arange(ordered.size), ordered).astype(np.float32)
