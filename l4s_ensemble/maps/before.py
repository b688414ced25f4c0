"""Which mapped landslides were bare ground already before the event.

Bare ground is the known failure of every model. An image from before the event is warped to the
grid of the map and matched in level. What separates bare from covered ground is learnt in the image
of the map, from mapped and unmapped pixels, so that neither season nor sensor need to be known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.errors import DataError
from l4s_ensemble.maps.blocks import Block
from l4s_ensemble.maps.reader import Floats, Reader
from l4s_ensemble.maps.result import MapResult
from l4s_ensemble.maps.scene import Scene
from l4s_ensemble.maps.summary import BareBefore
from l4s_ensemble.pixel.landslides import sum_over
from l4s_ensemble.predict.raster import spaced

if TYPE_CHECKING:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

VISIBLE = ("B2", "B3", "B4")
BARE_SHARE = 0.5
"""A landslide of which this share was bare before is flagged."""

LEAST_ACCURACY = 0.7
"""Balanced accuracy of separating mapped from unmapped pixels below which nothing is flagged."""

_TILES = 200
_EVERY = 5  # unmapped pixels that are sampled


def bare_before(
    reader: Reader, before: Scene, result: MapResult, new_only: bool
) -> tuple[BareBefore, NDArray[np.float64]]:
    """Measure how much of each landslide was bare before the event.

    Parameters
    ----------
    reader : Reader
        Of the scene that was mapped.
    before : Scene
    result : MapResult
    new_only : bool
        Leave landslides that were bare out of `result`.

    Returns
    -------
    summary : BareBefore
    share : float64 array, shape (landslide,)
        Share of each that was bare; NaN where it was not seen, or cannot be determined.

    Raises
    ------
    DataError
        If the scenes lack visible bands, or `before` does not show the mapped area.
    """
    names = [n for n in (*VISIBLE, "B8") if reader.scene.band(n) and before.band(n)]
    if not set(VISIBLE) <= set(names):
        raise DataError(
            "what was bare before cannot be determined without visible bands",
            where=before.path,
            found=", ".join(b.name for b in before.bands),
            allowed=", ".join(VISIBLE),
        )
    now = _of_bands(reader, reader.scene, names)
    then = replace(_of_bands(reader, before, names), masks=before.masks)
    after, earlier, mapped = (
        np.concatenate(p, axis=-1) for p in zip(*_sample(now, then, result), strict=True)
    )
    if not mapped.size:
        raise DataError("the scene from before shows nothing of the map", where=before.path)
    gain, offset = _match(earlier[:, ~mapped], after[:, ~mapped])
    share, accuracy = np.full(len(result.outlines), np.nan), 0.5
    if mapped.any() and not mapped.all():
        classifier = _fitted(_features(after, names), mapped)
        right = classifier.predict(_features(after, names)) == mapped
        accuracy = float(right[mapped].mean() + right[~mapped].mean()) / 2

    def seen(i: int) -> Floats:
        return then.reflectance(*_window(result, i)) * gain[:, None, None] + offset[:, None, None]

    def known(i: int) -> NDArray[np.bool_]:
        return np.asarray(np.isfinite(seen(i)).all(axis=0))

    def bare(i: int) -> NDArray[np.bool_]:
        inside, image = known(i), seen(i)
        out = np.zeros(inside.shape, bool)
        if inside.any():
            out[inside] = classifier.predict(_features(image[:, inside], names))
        return out

    if accuracy >= LEAST_ACCURACY:
        pixels = sum_over(result.outlines, known)
        share = sum_over(result.outlines, bare) / np.where(pixels > 0, pixels, np.nan)
        share[pixels < BARE_SHARE * result.outlines.pixels] = np.nan
        share[result.kept :] = np.nan
    flagged = np.flatnonzero(share >= BARE_SHARE)
    if new_only:
        result.left_out.extend((flagged + 1).tolist())
    summary = BareBefore(
        signs=list(_signs(after[:, :1], names)),
        accuracy=accuracy,
        landslides=len(flagged),
        area_m2=float(result.outlines.pixels[flagged].sum()) * result.grid.pixel_m**2,
        undetermined=int(np.isnan(share[: result.kept]).sum()),
        left_out=new_only,
    )
    return summary, share


def _of_bands(reader: Reader, scene: Scene, names: list[str]) -> Reader:
    band = reader.sensor.bands[0].model_copy(update={"unit": "DN"})
    bands = tuple(band.model_copy(update={"name": n}) for n in names)
    return replace(reader, scene=scene, sensor=reader.sensor.model_copy(update={"bands": bands}))


def _window(result: MapResult, i: int) -> tuple[slice, slice]:
    _, r, c = result.tiles[i]
    return Block(r, c, r + 1, c + 1).pixels(result.grid.edge)


def _sample(
    now: Reader, then: Reader, result: MapResult
) -> Iterator[tuple[Floats, Floats, NDArray[np.bool_]]]:
    """Pixels that both show: reflectance after and before (band, pixel), and whether mapped."""
    with_landslides = [(i, 0) for i in result.outlines.with_objects()]
    every = [(i, 0) for i in range(len(result.tiles))]
    tiles = {i for i, _ in (*spaced(with_landslides, _TILES), *spaced(every, _TILES))}
    for i in sorted(tiles):
        after, earlier = (r.reflectance(*_window(result, i)) for r in (now, then))
        mapped = result.labels(i) > 0
        kept = np.isfinite(after).all(axis=0) & np.isfinite(earlier).all(axis=0)
        kept &= np.isfinite(result.raster("probability", result.tiles[i]))
        some = np.zeros_like(kept)
        some[::_EVERY, ::_EVERY] = True
        kept &= mapped | some
        yield after[:, kept], earlier[:, kept], mapped[kept]


def _match(image: Floats, target: Floats) -> tuple[Floats, Floats]:
    """Gain and offset of each band that bring the quartiles of an image to those of another."""
    low, high = np.quantile(image, (0.25, 0.75), axis=1)
    wanted_low, wanted_high = np.quantile(target, (0.25, 0.75), axis=1)
    gain = (wanted_high - wanted_low) / np.maximum(high - low, 1)
    return gain.astype(np.float32), (wanted_low - gain * low).astype(np.float32)


def _signs(image: Floats, names: list[str]) -> dict[str, Floats]:
    """Vegetation index where there is near infrared; greenness and brightness elsewhere."""
    band = dict(zip(names, np.maximum(image, 1), strict=True))
    if "B8" in band:
        return {"vegetation index": (band["B8"] - band["B4"]) / (band["B8"] + band["B4"])}
    total = band["B2"] + band["B3"] + band["B4"]
    green = (2 * band["B3"] - band["B2"] - band["B4"]) / total
    return {"greenness": green, "brightness": np.log(total)}


def _features(image: Floats, names: list[str]) -> Floats:
    return np.stack([*_signs(image, names).values()], axis=-1)


def _fitted(features: Floats, mapped: NDArray[np.bool_]) -> LinearDiscriminantAnalysis:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    return LinearDiscriminantAnalysis(priors=[0.5, 0.5]).fit(features, mapped)
