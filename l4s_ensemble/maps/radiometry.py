"""Whether the reflectance of a scene can be what the run was fitted on.

A wrong offset or scale is silent: maps come out, and are wrong. So a few tiles are compared with
the training tiles before anything is predicted. What cannot be right is refused; explicit
``--scale`` or ``--offset`` are taken as they are given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.data.counts import NORMALISED_MEDIAN
from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.errors import DataError
from l4s_ensemble.maps.reader import Reader
from l4s_ensemble.maps.summary import BandLevel
from l4s_ensemble.scenes.applicability import Applicability

TILES = 64
"""Tiles of a scene that are looked at."""

EVERY_PX = 8
OFFSET = 1000.0
"""Offset of Sentinel-2 products since processing baseline 04.00, in DN."""

_NEGATIVE = 0.02  # share of pixels below zero that an honest offset does not make
_REFLECTANCE = 3.0  # no DN of a scene, but every reflectance from 0 to 1, is below
_BYTE = 255.0
_FACTOR = 6.0  # bands that differ more from training in the median are another quantity


def typical(known: Applicability | None, sensor: Sensor) -> dict[str, float]:
    """Median reflectance of the median training tile, by band; empty where not known."""
    if known is None or sensor.radiometry == "relative":
        return {}
    return {
        name: float(np.expm1(known.mean[known.names.index(f"{name} median")]))
        for name in sensor.spectral
        if f"{name} median" in known.names
    }


def check_level(
    reader: Reader,
    sample: NDArray[np.float32],
    training: Mapping[str, float],
    *,
    given: bool,
) -> tuple[float, list[BandLevel]]:
    """Compare a scene with the training tiles.

    Parameters
    ----------
    reader : Reader
        With a gain of 1.
    sample : float32 array, shape (band, pixel)
        Spectral bands of the sensor as read, before negative values are cut off.
    training : mapping of str to float
        See `typical`.
    given : bool
        Whether scale or offset were given by hand: then nothing is refused.

    Returns
    -------
    gain : float
        Factor of all reflectance; 1 for an absolute sensor.
    levels : list of BandLevel

    Raises
    ------
    DataError
        If scale or offset cannot be right.
    """
    sensor, bands = reader.sensor, reader.sensor.spectral
    files = [b for n in bands if (b := reader.scene.band(n)) is not None]
    median = np.median(sample, axis=1)
    gain = 1.0
    if sensor.radiometry == "relative":
        brightness = float(np.median(sample.mean(axis=0)))
        if brightness <= 0:
            raise DataError("the scene is black", where=reader.scene.path, found=brightness)
        gain = NORMALISED_MEDIAN / brightness
    levels = [
        BandLevel(
            band=b.name,
            stored=float((m - b.offset) / b.scale),
            used=float(m * gain),
            training=training.get(b.name),
        )
        for m, b in zip(median, files, strict=True)
    ]
    if not given:
        _refuse(reader, sample, median, training)
    return gain, levels


def _refuse(
    reader: Reader,
    sample: NDArray[np.float32],
    median: NDArray[np.float32],
    training: Mapping[str, float],
) -> None:
    """Refuse what cannot be reflectance x 10,000.

    Raises
    ------
    DataError
    """
    bands, source = reader.sensor.spectral, reader.scene.source
    shown = ", ".join(f"{n} {m:.4g}" for n, m in zip(bands, median, strict=True))

    def refused(
        what: str, fix: str, found: str = "", allowed: str = "reflectance x 10,000"
    ) -> None:
        found = f"{source}; medians {shown}{found}"
        raise DataError(what, where=reader.scene.path, found=found, allowed=allowed, fix=fix)

    negative = [n for n, v in zip(bands, sample, strict=True) if (v < 0).mean() > _NEGATIVE]
    if len(negative) >= 2:
        refused(
            "reflectance below zero: the offset seems to have been taken off before",
            "give --offset 0; or --offset as it is, if this is meant",
            f"; below zero in {', '.join(negative)}",
        )
    if reader.sensor.radiometry == "relative":
        return
    highest = float(np.quantile(sample, 0.999))
    if highest < _REFLECTANCE:
        fix = "give --scale 10000; or --scale 1, if this is meant"
        refused("these are reflectances from 0 to 1, or nothing", fix)
    if highest <= _BYTE and (sample == np.rint(sample)).all():
        fix = "use the bands of the product, not its preview"
        refused("these are 8-bit values of a picture", fix)
    known = np.array([training.get(n, np.nan) for n in bands])
    if not np.isfinite(known).any():
        return
    wanted = "training: " + ", ".join(f"{n} {v:.0f}" for n, v in training.items())
    off, less = _distance(median, known), _distance(median - OFFSET, known)
    if less < off and (np.quantile(sample, 0.001, axis=1) > 0.9 * OFFSET).all():
        refused(
            f"an offset of {OFFSET:g} seems to be in the values still",
            f"give --offset -{OFFSET:g}; or --offset 0, if they are right",
            "; no band has a dark pixel",
            wanted,
        )
    if off > np.log(_FACTOR):
        fix = "give --scale and --offset so that value x scale + offset is reflectance x 10,000"
        refused("the values are no reflectance x 10,000 of such a sensor", fix, "", wanted)


def _distance(median: NDArray[Any], known: NDArray[Any]) -> float:
    """Median over bands of the log ratio to training."""
    off = np.abs(np.log(np.maximum(median, 1)) - np.log(np.maximum(known, 1)))
    return float(np.nanmedian(off))
