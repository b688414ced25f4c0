"""Features of patches, and the stage that samples and describes them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.config import FeaturesConfig
from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.errors import DataError
from l4s_ensemble.features.canvas import Canvas
from l4s_ensemble.features.registry import (
    FeaturePlan,
    all_fields,
    catalogue,
    plan_from_dict,
    select,
)  # fmt: skip
from l4s_ensemble.features.summary import report_parts
from l4s_ensemble.features.window import Alone, Window
from l4s_ensemble.run.files import atomic_path, digest_of, read_json, write_json
from l4s_ensemble.run.stage import StageContext, Summary

if TYPE_CHECKING:
    import xarray as xr

    from l4s_ensemble.features.facts import Facts

FEATURES_FILE = "features.json"

REACHES_PX = (0, 9, 20, 40)
"""Features that reach no further than one of these share a canvas, and those that reach further."""


def compute(
    image: NDArray[np.float32],
    sensor: Sensor,
    plan: FeaturePlan,
    pad: str | None = "odd",
    margin: int = 0,
    facts: Facts | None = None,
) -> NDArray[np.float32]:
    """Compute the features of one patch.

    Parameters
    ----------
    image : float32 array, shape (band, y + 2 margin, x + 2 margin)
        In the sensor's units (see `l4s_ensemble.data.store.units`): the patch, and `margin`
        pixels of true surroundings on each side.
    sensor : Sensor
    plan : FeaturePlan
        From `select` or `plan_from_file`.
    pad : {'odd', None}
        Where `margin` is less than the plan's support: ``odd`` continues elevation by odd
        reflection, exact on a plane, and mirrors every other band (see `window.continued`);
        ``None`` makes that an error.
    margin : int
        Pixels of the image that are surroundings, on each side.
    facts : Facts, optional
        What is known of the whole scene, for features of scope ``scene``; measured on the patch
        itself without it.

    Returns
    -------
    float32 array, shape (feature, y, x)
        All finite. With `margin` of at least ``plan.support_px`` every feature of scope
        ``window`` has the value that the whole scene as one array would give. Features of scope
        ``tile`` depend on where the tile was cut.

    Raises
    ------
    DataError
        If the image does not fit the sensor or is not finite, or the margin is too small and
        `pad` is None.
    """
    image = _checked(image, sensor, margin)
    if margin < plan.support_px and pad != "odd":
        raise DataError(
            "the surroundings are narrower than the features reach", found=f"{margin} px",
            allowed=f"at least {plan.support_px} px", fix="give a wider margin, or pad='odd'",
        )  # fmt: skip
    return compute_window(Alone(image, sensor, margin), sensor, plan, facts)


def compute_window(
    window: Window,
    sensor: Sensor,
    plan: FeaturePlan,
    facts: Facts | None = None,
) -> NDArray[np.float32]:
    """Compute the features of one patch that knows its surroundings; see `compute`.

    The cost of a feature follows its own reach, not that of the widest one: features of like reach
    share a canvas, and a narrow canvas takes from the wider ones what they have made already.

    Parameters
    ----------
    window : Window
        Gives bands with as much of the surroundings as is asked for.

    Returns
    -------
    float32 array, shape (feature, y, x)
    """
    recipes, fields = catalogue(), all_fields()
    out = np.empty((len(plan.features), *window.size), np.float32)
    canvases: list[Canvas] = []
    for margin, positions in _by_reach(tuple(f.support_px for f in plan.features)):
        wider = canvases[-1] if canvases else None
        canvas = Canvas(window, sensor, margin, fields, facts, wider)
        canvases.append(canvas)
        for i in positions:
            out[i] = recipes[plan.features[i].name].image(canvas)
    for canvas in canvases:
        canvas.forget()
    return out


@lru_cache(maxsize=8)
def _by_reach(support_px: tuple[int, ...]) -> list[tuple[int, list[int]]]:
    """Margins of the canvases, widest first, and the positions of the features made on each."""
    bounds = np.searchsorted(REACHES_PX, support_px)
    made = []
    for bound in sorted(set(bounds.tolist()), reverse=True):
        positions = np.flatnonzero(bounds == bound).tolist()
        made.append((max(support_px[i] for i in positions), positions))
    return made


def _checked(image: NDArray[np.float32], sensor: Sensor, margin: int) -> NDArray[np.float32]:
    image = np.asarray(image, dtype=np.float32)
    if image.ndim != 3 or len(image) != len(sensor.bands):
        raise DataError(
            "the image has not the bands of the sensor", where=f"sensor {sensor.name}",
            found=image.shape, allowed=f"(band={len(sensor.bands)}, y, x)",
            fix="give bands first, in the order of the sensor",
        )  # fmt: skip
    if margin < 0 or min(image.shape[1:]) <= 2 * margin:
        raise DataError(
            "no pixel is left within the margin", found=f"{image.shape[1:]} with margin {margin}",
            allowed=f"more than {2 * margin} rows and columns",
        )  # fmt: skip
    return image


def compute_many(
    images: NDArray[np.float32],
    sensor: Sensor,
    plan: FeaturePlan,
    pad: str | None = "odd",
    margin: int = 0,
    facts: Facts | None = None,
) -> NDArray[np.float32]:
    """Compute the features of several patches; see `compute`.

    Parameters
    ----------
    images : float32 array, shape (patch, band, y + 2 margin, x + 2 margin)

    Returns
    -------
    float32 array, shape (patch, feature, y, x)
    """
    edge = 2 * margin
    shape = (len(images), len(plan.features), images.shape[2] - edge, images.shape[3] - edge)
    out = np.empty(shape, np.float32)
    for i, image in enumerate(images):
        out[i] = compute(image, sensor, plan, pad, margin, facts)
    return out


def plan_from_file(path: Path) -> FeaturePlan:
    """Read a plan of features from ``features.json``.

    Raises
    ------
    RunError
        If the file is missing or damaged.
    ModelError
        If it is no plan, or of another version.
    """
    return plan_from_dict(read_json(path), path)


def features_of(dataset: xr.Dataset, names: Sequence[str] | None = None) -> xr.DataArray:
    """Compute features of a dataset's patches, for a notebook. All in memory: take a few patches.

    Parameters
    ----------
    dataset : xarray.Dataset
        From ``open_patches`` or ``open_store``, or a selection of it.
    names : sequence of str, optional
        Features wanted, in this order; all that the sensor allows without it.

    Returns
    -------
    xarray.DataArray
        Dims ``(patch, feature, y, x)``, float32. Coordinates ``feature`` (name), ``group`` and
        ``unit`` along ``feature``, and those of the dataset along ``patch``. Attributes
        ``version``, ``sensor``, ``support_px``.

    Raises
    ------
    ConfigError
        If a name is not among the features of the sensor.

    Examples
    --------
    >>> ndvi = features_of(patches, ["ndvi", "slope_deg"])  # doctest: +SKIP
    """
    import xarray as xr

    from l4s_ensemble.data.store import sensor_of, units

    sensor = sensor_of(dataset)
    plan = select(sensor, FeaturesConfig())
    if names is not None:
        plan = plan.only(list(names))
    along = {
        name: coordinate
        for name, coordinate in dataset.coords.items()
        if coordinate.dims == ("patch",)
    }
    return xr.DataArray(
        compute_many(units(dataset), sensor, plan),
        dims=("patch", "feature", "y", "x"),
        coords={
            **along,
            "feature": list(plan.names),
            "group": ("feature", [f.group for f in plan.features]),
            "unit": ("feature", [f.unit for f in plan.features]),
        },
        name="features",
        attrs={"version": plan.version, "sensor": sensor.name, "support_px": plan.support_px},
    )


def stage(ctx: StageContext) -> Summary:
    """Choose the features, sample them on fitting tiles, and describe each one.

    Writes ``features.json`` (the plan), ``surroundings.npz`` (neighbours, see
    `l4s_ensemble.scenes.surroundings.Surroundings`), ``facts.json`` (facts of the scenes, where
    a feature reads them, from tiles to fit on) and ``sample.npz``: ``X`` float32 (row, feature),
    ``y`` uint8, ``patch`` int64, ``pixel`` int32, ``fold`` int64, ``weight`` float64 (pixels that a
    row stands for). For the report also ``contact.npz``, see `summary.write_contact`.

    Raises
    ------
    DataError
        If the training patches have no masks, or none is left to fit.
    ConfigError
        If no feature is left.
    """
    from l4s_ensemble.data.store import (
        STORE,
        landslide_pixels,
        open_store,
        positions_of,
        sensor_of,
    )  # fmt: skip
    from l4s_ensemble.features.sample import sample, share_out
    from l4s_ensemble.features.source import FACTS_FILE, FeatureSource, measure_facts, save_facts
    from l4s_ensemble.scenes.folds import load_folds
    from l4s_ensemble.scenes.surroundings import SURROUNDINGS_FILE, measure_surroundings

    settings = ctx.config.features
    store = ctx.input("data/train") / STORE
    dataset = open_store(store)
    folds = load_folds(ctx.input("scenes"))
    plan = select(sensor_of(dataset), settings)
    write_json(ctx.out / FEATURES_FILE, plan.as_dict())
    surroundings = measure_surroundings(
        dataset, folds, cross=settings.neighbours, drop_share=settings.drop_neighbours,
        seed=ctx.config.seed,
    )  # fmt: skip
    surroundings.save(ctx.out / SURROUNDINGS_FILE)
    (ctx.out / FACTS_FILE).unlink(missing_ok=True)
    source = FeatureSource.beside(ctx.out, store)

    positions = positions_of(dataset, folds.fit_ids)
    scenes = {}
    if any(feature.scope == "scene" for feature in plan.features):
        scenes = measure_facts(source, positions, ctx.jobs)
        save_facts(ctx.out / FACTS_FILE, scenes)
        source = FeatureSource.beside(ctx.out, store)
    size = dataset.sizes["y"] * dataset.sizes["x"]
    quota = share_out(
        landslide_pixels(dataset)[positions], size, settings.sample_pixels, ctx.config.seed
    )
    started = time.perf_counter()
    rows = sample(source, positions, quota, ctx.config.seed, ctx.jobs)
    seconds = time.perf_counter() - started

    weight = np.where(rows.truth > 0, quota.weight_landslide, quota.weight_other)
    with atomic_path(ctx.out / "sample.npz") as partial, partial.open("wb") as file:
        np.savez(
            file, X=rows.values, y=rows.truth, patch=rows.patch, pixel=rows.pixel,
            fold=folds.of(rows.patch, "fold").astype(np.int64), weight=weight,
            names=np.array(plan.names),
        )  # fmt: skip

    def tile(patch: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        at = int(positions_of(dataset, [patch])[0])
        return source.tiles([at])[0], dataset["mask"].isel(patch=at).values

    told = report_parts(ctx.out, plan.features, rows, weight, folds, tile)
    written = (FEATURES_FILE, SURROUNDINGS_FILE, FACTS_FILE)
    with_neighbours = sum(bool(surroundings.neighbours(int(t))) for t in positions)
    patches = int(np.count_nonzero(quota.landslide + quota.other))
    return {
        "digest": digest_of(*(p for n in written if (p := ctx.out / n).is_file())),
        "version": plan.version,
        "sensor": plan.sensor,
        "support_px": plan.support_px,
        **told,
        "left_out": [asdict(item) for item in plan.left_out],
        "sample": {"pixels": len(rows.truth), "positives": int(rows.truth.sum())},
        "patches": patches,
        "with_neighbours": with_neighbours,
        "scenes_measured": {str(n): facts.tiles for n, facts in scenes.items()},
        "seconds": round(seconds, 3),
        "patches_per_s": round(patches / seconds, 2) if seconds > 0 else None,
    }
