"""Read one patch and list every fault of its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.data.bands import BY_NAME
from l4s_ensemble.data.counts import content_hash, is_degenerate, restore_counts
from l4s_ensemble.data.patches import read_image, read_mask
from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.errors import DataError

OUT_OF_BOUNDS_SHARE = 0.01
"""A band with more values than this outside its physical bounds is in other units."""


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes
    ----------
    level : {'error', 'warning'}
        An error would stop a fit or make a score worthless; a warning is something to know.
    code : str
        Kind of fault: ``layout, pair, stray, double, places, file, nan, bounds, units, mask,
        degenerate, duplicate``.
    where : str
        File or folder.
    message : str
        What was found and what is allowed.
    """

    level: Literal["error", "warning"]
    code: str
    where: str
    message: str
    split: str = ""


@dataclass(frozen=True)
class PatchRecord:
    """Properties of a patch that are kept without its arrays."""

    faults: tuple[Fault, ...] = ()
    hash: str | None = None  # of the content; None where the image cannot be read
    values: int = 0  # of the image
    exact: int = 0  # those that are exact integers after restoring the counts
    degenerate: bool = False  # without terrain
    landslide_pixels: int | None = None  # None without a mask that can be read


def inspect(
    image: Path | None, mask: Path | None, sensor: Sensor, split: str = ""
) -> tuple[PatchRecord, NDArray[Any] | None, NDArray[np.uint8] | None]:
    """Read a patch and list the faults of its files.

    Parameters
    ----------
    image, mask : Path or None
        Files, as far as they are there.
    split : str
        Noted in the faults.

    Returns
    -------
    record : PatchRecord
    counts : uint16 or float32 array, shape (band, y, x), or None
        None where the image cannot be read.
    pixels : uint8 array, shape (y, x), or None
        1 = landslide; None where the mask cannot be read.
    """
    faults: list[Fault] = []
    pixels = restored = None
    try:
        pixels = None if mask is None else read_mask(mask, sensor)
    except DataError as error:
        code = "mask" if "other values" in error.what else "file"
        faults.append(Fault("error", code, str(mask), one_line(error), split))
    landslide_pixels = None if pixels is None else int(pixels.sum())
    try:
        restored = None if image is None else restore_counts(read_image(image, sensor), sensor)
    except DataError as error:
        faults.append(Fault("error", "file", str(image), one_line(error), split))
    if restored is None:
        return PatchRecord(tuple(faults), landslide_pixels=landslide_pixels), None, pixels
    counts, degenerate = restored.values, False
    found: list[tuple[Literal["error", "warning"], str, str]] = []
    if restored.not_finite:
        found.append(("error", "nan", f"{restored.not_finite} values are NaN or infinite"))
    else:
        found += [(level, "bounds", text) for level, text in _out_of_bounds(counts, sensor)]
        if not restored.is_exact:
            found.append(("warning", "units", _not_exact(restored.exact, counts, sensor)))
        if degenerate := is_degenerate(counts, sensor):
            text = "elevation is one value or slope is zero everywhere; left out of fitting"
            found.append(("warning", "degenerate", text))
    faults += [Fault(level, code, str(image), text, split) for level, code, text in found]
    record = PatchRecord(
        tuple(faults),
        content_hash(counts),
        counts.size,
        int(restored.exact.sum()),
        degenerate,
        landslide_pixels,
    )
    return record, counts, pixels


def _out_of_bounds(
    counts: NDArray[Any], sensor: Sensor
) -> list[tuple[Literal["error", "warning"], str]]:
    """Compare a patch, shape (band, y, x), with the physical bounds of the band table.

    Only bands of the table, in the table's unit, of an absolute sensor can be compared.
    """
    found: list[tuple[Literal["error", "warning"], str]] = []
    for values, band in zip(counts, sensor.bands, strict=True):
        known = BY_NAME.get(band.name)
        if known is None or known.unit != band.unit or sensor.radiometry != "absolute":
            continue
        scale = band.count_to_unit
        lowest, highest = float(values.min()) * scale, float(values.max()) * scale
        if lowest >= known.low and highest <= known.high:
            continue
        plain = values.astype(np.float64) * scale
        outside = int(np.count_nonzero((plain < known.low) | (plain > known.high)))
        if not outside:
            continue
        share = outside / plain.size
        text = (
            f"band {band.name}: {outside} values ({share:.2%}) outside {known.low:g} … "
            f"{known.high:g} {band.unit}, found {lowest:g} … {highest:g}"
        )
        if share <= OUT_OF_BOUNDS_SHARE:
            found.append(("warning", text))
            continue
        fix = "use files as released, or describe them in a sensor YAML"
        found.append(("error", f"{text}; the band is in other units than the sensor says: {fix}"))
    return found


def _not_exact(exact: NDArray[np.int64], counts: NDArray[Any], sensor: Sensor) -> str:
    shares = zip(sensor.band_names, exact / counts[0].size, strict=True)
    worst = ", ".join(f"{name} {share:.1%}" for name, share in shares if share < 1)
    return (
        f"values are not whole numbers after restoring units (exact share: {worst}); "
        f"not a released file of sensor {sensor.name}, kept as float32"
    )


def one_line(error: DataError) -> str:
    """Say an error in one line, without its place."""
    parts = [error.what]
    if error.found is not None:
        parts.append(f"found {error.found}")
    if error.allowed is not None:
        parts.append(f"allowed {error.allowed}")
    return "; ".join(parts)
