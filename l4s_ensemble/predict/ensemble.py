"""The fitted models of a run as one object that predicts in memory."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from l4s_ensemble.data.sensor import Sensor, require_sensor
from l4s_ensemble.data.store import in_memory, sensor_of
from l4s_ensemble.errors import DataError, ModelError
from l4s_ensemble.features.scene_statistics import SceneStatistics
from l4s_ensemble.features.source import STATISTICS_FILE, FeatureSource, source_to_predict
from l4s_ensemble.metrics.histogram import bin_index
from l4s_ensemble.pixel.model import PixelModel
from l4s_ensemble.predict.patch_scores import (
    Kept,
    Maps,
    masks_of,
    scene_thresholds,
    score_block,
)
from l4s_ensemble.predict.place import LEAST_TILES, group_tiles, unet_of_groups
from l4s_ensemble.predict.raster import Raster
from l4s_ensemble.predict.raster_lazy import predict_lazily
from l4s_ensemble.predict.raster_scores import (
    measure_raster,
    sample_images,
    score_tiles,
    score_windows,
    tile_dissimilarity,
)
from l4s_ensemble.run.export import export_run, opened
from l4s_ensemble.run.files import read_json
from l4s_ensemble.run.progress import track
from l4s_ensemble.run.scores import ScoreArray
from l4s_ensemble.run.tasks import in_processes
from l4s_ensemble.scenes.applicability import Applicability, describe, load_applicability
from l4s_ensemble.scenes.neighbourhood import NEIGHBOURHOOD_FILE, load_neighbourhood
from l4s_ensemble.stack.classifier import Stack
from l4s_ensemble.stack.learners import BASE_MODELS
from l4s_ensemble.unet.model import UNetModel
from l4s_ensemble.unet.model import score_tiles as score_unet


class Ensemble:
    """Pixel classifier, U-Net and stack of a fitted run; `load` makes it.

    It predicts in memory and writes nothing; `l4s_ensemble.adapt_to_masks` adapts it to labelled
    tiles. Sent to another process it is loaded there again from its folder.

    Parameters
    ----------
    path : Path
        The run folder, or the exported file, that it was loaded from.
    folder : Path
        Where the models are: the run folder, or what the file was unpacked into.
    device : str
        Of the U-Net: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
    jobs : int
        Worker processes of the pixel classifier, and threads of the U-Net.

    Attributes
    ----------
    pixel : PixelModel
    unet : UNetModel
    stack : Stack
    applicability : Applicability or None
        The training tiles that the dissimilarity index compares with.
    sensor : Sensor

    Examples
    --------
    >>> ensemble = Ensemble.load("runs/demo")  # doctest: +SKIP
    >>> patches = open_patches("data", "valid")  # doctest: +SKIP
    >>> result = ensemble.predict(patches)  # doctest: +SKIP
    >>> result["probability"].sel(patch=1).plot()  # doctest: +SKIP
    """

    def __init__(self, path: Path, folder: Path, *, device: str = "auto", jobs: int = 1) -> None:
        self.path = path
        self.folder = folder
        self.device = device
        self.jobs = jobs
        self._statistics: bytes | None = None

    @classmethod
    def load(cls, path: str | Path, *, device: str = "auto", jobs: int = 1) -> Ensemble:
        """Load the models of a run folder, or of a file that `export` wrote.

        Raises
        ------
        RunError
            If there is no such run, or nothing has been fitted in it.
        ModelError
            If a model is damaged, of another version, or not of one fit with the others.
        """
        given = Path(path)
        ensemble = cls(given, opened(given), device=device, jobs=jobs)
        if len(ensemble.pixel.folds) != ensemble.n_folds:
            raise ModelError(
                "the base models have different numbers of folds",
                where=given,
                found=f"{len(ensemble.pixel.folds)} and {ensemble.n_folds}",
                fix="run fit-all again",
            )
        require_sensor(ensemble.sensor, ensemble.unet.sensor)
        ensemble.stack  # noqa: B018 - a damaged model is an error now, not at the first prediction
        ensemble.applicability  # noqa: B018
        return ensemble

    def __reduce__(self) -> tuple[Any, ...]:
        changed = (self.folder / "stack" / "model.json").stat().st_mtime_ns
        return _load, (self.path, self.device, self.jobs, changed, self._statistics)

    def adapted(self, images: NDArray[np.float32]) -> Ensemble:
        """Give the same models, with a U-Net that is adapted to the images of a place.

        It takes their batch statistics, see `UNetClassifier.adapt_statistics`. No label is read.

        Parameters
        ----------
        images : float32 array, shape (tile, band, y, x)
            In the sensor's units. With fewer than `LEAST_TILES`, or where the models were adapted
            to labels, nothing is adapted.
        """
        if len(images) < LEAST_TILES or self.knows_labels:
            return self
        made = self._with(self.unet.adapted(images))
        made._statistics = made.unet.statistics()
        return made

    def first_fold(self) -> Ensemble:
        """Give the models of one fold, not averaged over symmetries: for patches, less exact."""
        one = copy.copy(self.unet.folds[0]).set_params(symmetries=False)
        return self._with(UNetModel([one]))

    def _with(self, unet: UNetModel) -> Ensemble:
        """Give the same models with other U-Nets, and nothing loaded anew."""
        made = Ensemble(self.path, self.folder)
        vars(made).update(vars(self), unet=unet)
        return made

    def places_of(self, patches: xr.Dataset) -> NDArray[np.int64]:
        """Place of each patch that the U-Net is adapted to, see `group_tiles`; 0 for none."""
        if self.knows_labels:
            return np.zeros(patches.sizes["patch"], np.int64)
        return group_tiles(patches)

    @cached_property
    def knows_labels(self) -> bool:
        """Whether the models were adapted to labels: they are those of their place already."""
        path = self.folder / "adapt" / "summary.json"
        return path.is_file() and bool(read_json(path)["in_use"])

    @cached_property
    def pixel(self) -> PixelModel:
        """The pixel classifiers of all folds, and the plan of their features."""
        return PixelModel.load(self.folder / "pixel")

    @cached_property
    def unet(self) -> UNetModel:
        """The U-Nets of all folds."""
        return UNetModel.load(self.folder / "unet", device=self.device, n_jobs=self.jobs)

    @cached_property
    def stack(self) -> Stack:
        """Meta-learner, calibration and threshold."""
        return Stack.load(self.folder / "stack")

    @cached_property
    def applicability(self) -> Applicability | None:
        """Training tiles that the dissimilarity index compares with; None where a run has none."""
        return load_applicability(self.folder / "scenes")

    @property
    def n_folds(self) -> int:
        """Models of each kind."""
        return len(self.unet.folds)

    @property
    def sensor(self) -> Sensor:
        """Of the training tiles."""
        return self.pixel.sensor

    def predict(
        self,
        data: xr.Dataset,
        *,
        statistics: SceneStatistics | Mapping[int, SceneStatistics] | None = None,
        adapt: bool = True,
        logits: bool = False,
    ) -> xr.Dataset:
        """Predict landslides.

        Parameters
        ----------
        data : xarray.Dataset
            Patches: ``image (patch, band, y, x)``, as `l4s_ensemble.open_patches` gives it. With
            coordinates ``scene``, ``row`` and ``col`` along ``patch`` features read across the
            edges of a patch. Or a raster: ``image (band, y, x)`` in the sensor's units, and
            optionally ``valid (y, x)``: pixels that are observed. Pixels that are not finite are
            not valid either.
        statistics : SceneStatistics, or mapping of int to SceneStatistics, optional
            Of the scene of a raster, or of scenes by their number. Measured from `data` where not
            given and where places are known.
        adapt : bool
            Whether the U-Net takes batch statistics of the images, see `adapted`: of the patches of
            each scene, of all whose scene is not known, of a raster. Fewer than
            `l4s_ensemble.predict.place.LEAST_TILES` tiles change nothing.
        logits : bool
            Whether to give the logits of both base models too.

        Returns
        -------
        xarray.Dataset
            Over ``(patch, y, x)`` or ``(y, x)``: ``probability`` float32, calibrated; ``mask``
            uint8, 1 = landslide; ``uncertainty`` float32, 0 (certain) to 1 (at the threshold).
            ``dissimilarity``: index of each patch (of a raster, of each pixel's tile), above
            the attribute ``dissimilarity_limit`` outside the area of applicability. With `logits`
            ``logit_pixel`` and ``logit_unet``, with a first dimension ``fold_model``. Attribute
            ``threshold``. Of pixels that are not valid the mask is 0 and all else is NaN.
            A raster of dask chunks gives dask arrays, which are predicted when they are computed:
            without logits, and with the threshold of training.

        Raises
        ------
        DataError
            If the data are not as described.
        ModelError
            If they are of another sensor than the training data.
        """
        if "image" in data and data["image"].dims == ("band", "y", "x"):
            given = statistics if isinstance(statistics, SceneStatistics) else None
            return self._predict_raster(data, given, adapt, logits)
        if isinstance(statistics, SceneStatistics):
            raise DataError("statistics of patches are given by the number of their scene")
        return self._predict_patches(data, statistics, adapt, logits)

    def _predict_raster(
        self, data: xr.Dataset, statistics: SceneStatistics | None, adapt: bool, logits: bool
    ) -> xr.Dataset:
        """Predict a raster in memory; results of pixels beyond whole tiles are cut off."""
        if data["image"].chunks is not None and not logits:
            return predict_lazily(self, data, statistics, adapt)
        raster = Raster.of(data, self.sensor, self.pixel.plan.support_px)
        models = self.adapted(sample_images(raster)) if adapt else self
        scored = models.score_raster(raster, statistics or self.measure(raster))
        probability = scored["probability"].values
        bins = self.stack.reference_.bins
        counts = np.bincount(bin_index(probability[raster.valid], bins), minlength=bins)
        own = self.stack.scene_threshold(counts)
        scored["mask"] = (
            ("y", "x"),
            self.stack.predict(probability, None if own is None else own.threshold),
        )
        found = scored.isel({n: slice(data.sizes[n]) for n in ("y", "x")})
        along = {n: c for n, c in data.coords.items() if set(c.dims) <= {"y", "x"}}
        return (found if logits else found.drop_dims("fold_model")).assign_coords(along)

    def measure(self, raster: Raster) -> SceneStatistics | None:
        """Statistics of the scene of a raster; None where the models read none."""
        return measure_raster(raster, self.scene_fields) if self.scene_fields else None

    @cached_property
    def reach(self) -> int:
        """Pixels that features read beyond the edges of a tile."""
        path = self.pixel.folder / NEIGHBOURHOOD_FILE
        across = path.is_file() and load_neighbourhood(path).cross
        return self.pixel.plan.support_px if across else 0

    @property
    def scene_fields(self) -> tuple[str, ...]:
        """Fields whose statistics of a scene the models read."""
        known = (self.pixel.folder / STATISTICS_FILE).is_file()
        return self.pixel.plan.scene_fields if known else ()

    def score_raster(self, raster: Raster, statistics: SceneStatistics | None) -> xr.Dataset:
        """Score a raster of whole tiles.

        The scores of a pixel depend on the tile that it lies in, the tiles beside it and the
        statistics, and not on the raster that these are in.

        Parameters
        ----------
        raster : Raster
        statistics : SceneStatistics or None
            Of the scene, see `measure`.

        Returns
        -------
        xarray.Dataset
            ``probability``, ``uncertainty`` and ``dissimilarity`` ``(y, x)``, ``logit_pixel`` and
            ``logit_unet`` ``(fold_model, y, x)``; NaN in pixels that are not to be predicted.
            Attributes ``threshold`` and ``dissimilarity_limit``.
        """
        pixel = score_tiles(raster, self.pixel, statistics, reach=self.reach, jobs=self.jobs)
        unet = score_windows(raster, self.unet.folds)
        probability = self.stack.predict_proba(pixel, np.nan_to_num(unet), fold_axis=0)
        made = {
            "probability": probability,
            "uncertainty": self.stack.uncertainty(probability),
            "logit_pixel": pixel,
            "logit_unet": unet,
        }
        attrs = {"threshold": self.stack.threshold_}
        if self.applicability is not None:
            made["dissimilarity"] = tile_dissimilarity(raster, self.applicability)
            attrs["dissimilarity_limit"] = self.applicability.limit
        for array in made.values():
            array[..., ~raster.valid] = np.nan
        dims = ("fold_model", "y", "x")
        return xr.Dataset({n: (dims[-a.ndim :], a) for n, a in made.items()}, attrs=attrs)

    def _predict_patches(
        self,
        data: xr.Dataset,
        statistics: Mapping[int, SceneStatistics] | None,
        adapt: bool,
        logits: bool,
    ) -> xr.Dataset:
        patches = in_memory(data, None if "sensor" in data.attrs else self.sensor)
        patch = patches["patch"].values.astype(np.int64)
        size = (patches.sizes["y"], patches.sizes["x"])
        source = source_to_predict(
            patches,
            self.pixel.folder,
            None,
            np.arange(len(patch)),
            is_training_store=False,
            jobs=self.jobs,
            statistics=statistics,
        )
        maps = Maps.make(lambda _, **options: ScoreArray(patch, size, **options), self.n_folds)
        self.score(source, maps, self.places_of(patches) if adapt else None)
        every, scene = slice(None), patches["scene"].values
        probability = maps.probability.read(every)
        histograms = maps.histograms(scene, self.stack.reference_.bins)
        mask = masks_of(self.stack, probability, scene, scene_thresholds(self.stack, histograms))
        dims = ("patch", "y", "x")
        found = xr.Dataset(
            {
                "probability": (dims, probability),
                "mask": (dims, mask),
                "uncertainty": (dims, maps.uncertainty.read(every)),
            },
            coords={
                n: c for n, c in patches.coords.items() if c.dims in (("patch",), ("y",), ("x",))
            },
            attrs={"threshold": self.stack.threshold_},
        )
        if self.applicability is not None:
            described = describe(patches, self.sensor)[1]
            found["dissimilarity"] = "patch", self.applicability.index(described)
            found.attrs["dissimilarity_limit"] = self.applicability.limit
        if logits:
            for name in BASE_MODELS:
                found[f"logit_{name}"] = ("fold_model", *dims), getattr(maps, name).read(every)
        return found

    def score(
        self,
        source: FeatureSource,
        maps: Maps,
        place: NDArray[np.int64] | None = None,
        kept: Kept | None = None,
    ) -> None:
        """Score the patches that `maps` lack.

        Parameters
        ----------
        source : FeatureSource
            Of the patches, and of others that are their neighbours.
        maps : Maps
            Their patches are scored.
        place : int64 array, shape (patch,), optional
            Of each patch, see `group_tiles`: the U-Net is adapted to each. By default to none.
        kept : Kept, optional
            Where to keep what later stages need of the features.

        Raises
        ------
        ModelError
            If the patches are of another sensor than the training data.
        """
        patches = source.dataset()
        self.pixel.require(source.feature_plan().names, sensor_of(patches))
        positions = source.positions(maps.unet.patch)
        group = np.zeros(len(positions), np.int64) if place is None else place
        models = unet_of_groups(self.unet, patches, maps.unet.patch, group)
        score_unet(maps.unet, patches, positions, models, group)
        todo, fixed = maps.uncertainty.missing(), (source, self.pixel, self.stack)
        tasks = ((*fixed, maps.unet.patch[b], maps.unet.read(b), kept) for b in todo)
        parts = in_processes(score_block, tasks, self.jobs)
        found = track(parts, "pixel: scoring tiles", len(todo))
        for block, (logit, probability, features) in zip(todo, found, strict=True):
            if kept is not None:
                kept.write(features, int(maps.unet.patch[block][0]))
            maps.pixel.write(block, logit)
            maps.probability.write(block, probability)
            maps.uncertainty.write(block, self.stack.uncertainty(probability))

    def export(self, path: str | Path) -> Path:
        """Write one file that `load`, and the command line in place of a run, accept.

        Raises
        ------
        RunError
            If the file exists.
        """
        return export_run(self.folder, Path(path))


@lru_cache(maxsize=2)
def _load(
    path: Path, device: str, jobs: int, _changed_ns: int, statistics: bytes | None
) -> Ensemble:
    ensemble = Ensemble.load(path, device=device, jobs=jobs)
    if statistics is not None:
        ensemble.unet.take(statistics)
        ensemble._statistics = statistics
    return ensemble
