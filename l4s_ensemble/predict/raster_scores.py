"""Scores of a raster, tile by tile: the same whatever part of the scene it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from l4s_ensemble.features.registry import all_fields, compute_window, reach_of
from l4s_ensemble.features.scene_statistics import SceneStatistics, measure
from l4s_ensemble.features.source import MEASURED_TILES
from l4s_ensemble.features.tile_context import TileContext, sample_tile
from l4s_ensemble.features.window import Alone
from l4s_ensemble.pixel.model import PixelModel
from l4s_ensemble.predict.raster import Blend, Place, Raster, halo_px, spaced
from l4s_ensemble.run.tasks import in_processes
from l4s_ensemble.scenes.applicability import Applicability, describe
from l4s_ensemble.unet.classifier import STATISTICS_TILES, UNetClassifier
from l4s_ensemble.unet.inputs.tileset import as_tiles
from l4s_ensemble.unet.predictor import CUDA_TILES, fits_cpu

Samples = dict[str, NDArray[np.float32]]


def sample_fields(
    raster: Raster, names: Sequence[str], places: Iterable[Place] | None = None
) -> list[Samples]:
    """Sample fields in tiles of a raster, for `features.scene_statistics.measure`.

    Parameters
    ----------
    raster : Raster
    names : sequence of str
        Fields, see `FeaturePlan.scene_fields`.
    places : iterable of tuple of int, optional
        Tiles; at most `MEASURED_TILES`, evenly spaced, by default.
    """
    fields, margin = all_fields(), reach_of(names)
    found = []
    for place in spaced(raster.tiles(), MEASURED_TILES) if places is None else places:
        window = Alone(raster.window(place, margin), raster.sensor, margin)
        context = TileContext(window, raster.sensor, margin, fields)
        found.append(sample_tile(context, names, raster.valid[raster.part(place)]))
    return found


def sample_images(raster: Raster, places: Iterable[Place] | None = None) -> NDArray[np.float32]:
    """Images of tiles of a raster at least half of which was observed, for `Ensemble.adapted`.

    Parameters
    ----------
    raster : Raster
    places : iterable of tuple of int, optional
        Tiles; at most `STATISTICS_TILES`, evenly spaced, by default.

    Returns
    -------
    float32 array, shape (tile, band, y, x)
    """
    asked = spaced(raster.tiles(), STATISTICS_TILES) if places is None else places
    seen = [place for place in asked if raster.valid[raster.part(place)].mean() >= 0.5]
    size = (len(seen), len(raster.sensor.bands), raster.edge, raster.edge)
    return np.array([raster.window(place, 0) for place in seen], np.float32).reshape(size)


def measure_raster(raster: Raster, names: Sequence[str]) -> SceneStatistics:
    """Measure the statistics of a scene over a raster; no label is read."""
    return measure(sample_fields(raster, names))


def score_tiles(
    raster: Raster,
    model: PixelModel,
    statistics: SceneStatistics | None,
    *,
    reach: int,
    jobs: int = 1,
) -> NDArray[np.float32]:
    """Logits of the pixel classifiers, float32 (fold_model, y, x); 0 in tiles of no valid pixel.

    Parameters
    ----------
    reach : int
        Pixels around a tile that features read; beyond them it is continued.
    """
    places = raster.tiles()
    out = np.zeros((len(model.folds), *raster.shape), np.float32)

    def tasks() -> Iterator[tuple[object, ...]]:
        for place in places:
            yield raster.window(place, reach), reach, model, statistics

    for place, logit in zip(places, in_processes(_score_tile, tasks(), jobs), strict=True):
        out[:, *raster.part(place)] = logit
    return out


def _score_tile(
    image: NDArray[np.float32], reach: int, model: PixelModel, statistics: SceneStatistics | None
) -> NDArray[np.float32]:
    window = Alone(image, model.sensor, reach)
    features = compute_window(window, model.sensor, model.plan, statistics)
    return np.stack([classifier.predict_logit_image(features) for classifier in model.folds])


def score_windows(raster: Raster, models: Sequence[UNetClassifier]) -> NDArray[np.float32]:
    """Logits of the U-Nets, float32 (fold_model, y, x), blended over windows that overlap.

    A window is a tile with its halo. NaN where no window lies.
    """
    predictors = [model.predictor() for model in models]
    halo, places, blend = halo_px(raster.sensor), raster.seen(), Blend(raster, len(models))
    size = raster.edge + 2 * halo
    # Batches of one size: a kernel that is chosen by the size rounds in its own way.
    cpu = predictors[0].hardware.device.type == "cpu"
    each = fits_cpu(size) if cpu else CUDA_TILES // 4
    for start in range(0, len(places), each):
        some = places[start : start + each]
        shown = [raster.window(place, halo) for place in some]
        shown += shown[-1:] * (each - len(some))
        tiles = as_tiles(np.stack(shown), sensor=raster.sensor, masks=False)
        logit = np.stack([predictor(tiles).cpu().numpy() for predictor in predictors])
        for i, place in enumerate(some):
            blend.add(place, logit[:, i])
    return blend.result()


def tile_dissimilarity(raster: Raster, known: Applicability) -> NDArray[np.float32]:
    """Dissimilarity index of each pixel's tile, float32 (y, x); NaN in tiles of no valid pixel."""
    out = np.full(raster.shape, np.nan, np.float32)
    places = raster.tiles()
    image = np.stack([raster.window(place, 0) for place in places])
    patches = xr.Dataset(
        {"image": (("patch", "band", "y", "x"), image)},
        coords={"band": list(raster.sensor.band_names)},
        attrs={"values": "unit"},
    )
    index = known.index(describe(patches, raster.sensor)[1])
    for place, value in zip(places, index, strict=True):
        out[raster.part(place)] = value
    return out
