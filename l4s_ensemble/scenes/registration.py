"""How far the masks of a scene lie beside their image, and with what confidence.

Masks are drawn by people on other pictures, so those of a whole scene can be off by a pixel or
two. The shift is looked for twice: in the pixels alone (where does what sets landslides apart lie?)
and, where a run has them, in out-of-fold scores (where would moving the masks raise F1?). Both give
a curve over whole-pixel shifts, pooled over the scene's tiles; spatial blocks are resampled to see
whether its peak stays where it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.data.bands import BY_NAME
from l4s_ensemble.data.store import positions_of, sensor_of
from l4s_ensemble.run.files import read_json, write_json

if TYPE_CHECKING:
    from l4s_ensemble.scenes.folds import Folds

REACH_PX = 3
"""Largest shift looked at, pixels. A peak at this distance is no peak."""

CONFIDENT = 0.95
"""Confidence from which masks may be moved."""

FILE = "registration.json"

_HIGHPASS_PX = 9  # landslides are a few pixels wide; light and land cover change more slowly
_TILES = 160  # of a scene; five real ones show the shift already
_LEAST_TILES = 5
_LEAST_BLOCKS = 8
_RESAMPLES = 400
_SIDE = 2 * REACH_PX + 1
_STEPS = range(-REACH_PX, REACH_PX + 1)
_SHIFTS = [(dy, dx) for dy in _STEPS for dx in _STEPS]

Curve = NDArray[np.float64]


@dataclass(frozen=True)
class SceneShift:
    """Shift of one scene's masks.

    Attributes
    ----------
    scene : int
        -1 stands for all tiles of unknown place.
    dy, dx : int
        Rows down and columns to the right by which the masks have to move to lie on the image.
    dy_px, dx_px : float
        The same to a fraction of a pixel, from a parabola through the peak.
    confidence : float
        Share of resamples of spatial blocks in which the peak stays at (dy, dx); 0 where there is
        no peak within reach, or too few tiles.
    tiles : int
        Tiles that were looked at.
    source : {'pixels', 'scores'}
    curve : list of list of float, shape (7, 7), or None
        Value at each shift, rows dy = -3 … 3, columns dx = -3 … 3. ``pixels``: how much what sets
        landslides apart stands out inside the moved masks, in deviations. ``scores``: pooled F1.
    """

    scene: int
    dy: int
    dx: int
    dy_px: float
    dx_px: float
    confidence: float
    tiles: int
    source: Literal["pixels", "scores"]
    curve: list[list[float]] | None

    @property
    def is_sure(self) -> bool:
        """Whether the confidence is high enough to move masks."""
        return self.confidence >= CONFIDENT

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "sure": self.is_sure}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> SceneShift:
        """Read what `as_dict` gave."""
        return cls(**{k: v for k, v in value.items() if k != "sure"})


def estimate(
    dataset: xr.Dataset,
    folds: Folds,
    *,
    scores: xr.Dataset | None = None,
    threshold: float | None = None,
    seed: int = 0,
) -> list[SceneShift]:
    """Estimate the shift of the masks in every scene.

    Only tiles of role ``fit`` with a landslide are looked at, at most 160 a scene.

    Parameters
    ----------
    dataset : xarray.Dataset
        As `l4s_ensemble.data.store.open_store` gives it, with masks.
    folds : Folds
    scores : xarray.Dataset, optional
        Out-of-fold ``logit`` or ``probability (patch, y, x)``; without it the pixels are used.
    threshold : float, optional
        On the scores, from which a pixel is called landslide. Without it, the one that is best on
        these tiles as they lie.
    seed : int

    Returns
    -------
    list of SceneShift
        One a scene, in the order of their numbers.
    """
    return [
        _of_scene(dataset, folds, int(scene), scores, threshold, seed)
        for scene in np.unique(_scene(folds.scene))
    ]


def align(mask: ArrayLike, dy: int, dx: int) -> NDArray[np.uint8]:
    """Move masks down by `dy` rows and to the right by `dx` columns.

    Parameters
    ----------
    mask : array_like, shape (…, y, x)

    Returns
    -------
    uint8 array, shape (…, y, x)
        What comes in over the edge repeats the edge.
    """
    values = np.asarray(mask, dtype=np.uint8)
    height, width = values.shape[-2:]
    rows = np.clip(np.arange(height) - dy, 0, height - 1)
    columns = np.clip(np.arange(width) - dx, 0, width - 1)
    return values[..., rows[:, np.newaxis], columns]


def training_masks(
    dataset: xr.Dataset, folds: Folds, ids: ArrayLike, shifts: list[SceneShift] | None = None
) -> NDArray[np.uint8]:
    """Masks to train on; scores are always taken against the masks as they are.

    Parameters
    ----------
    ids : array_like of int, shape (tile,)
        Patch ids.
    shifts : list of SceneShift, optional
        From `load_shifts`, where ``data.align_masks`` is set. Scenes whose shift is not sure stay
        as they are.

    Returns
    -------
    uint8 array, shape (tile, y, x)
    """
    wanted = np.asarray(ids, dtype=np.int64).ravel()
    masks = np.array(dataset["mask"].isel(patch=positions_of(dataset, wanted)).values, np.uint8)
    scene = _scene(folds.of(wanted, "scene"))
    for shift in shifts or []:
        here = scene == shift.scene
        if shift.is_sure and (shift.dy or shift.dx) and here.any():
            masks[here] = align(masks[here], shift.dy, shift.dx)
    return masks


def save_shifts(folder: Path, shifts: list[SceneShift]) -> None:
    """Write ``registration.json``."""
    write_json(folder / FILE, [shift.as_dict() for shift in shifts])


def load_shifts(folder: Path) -> list[SceneShift]:
    """Read what the stage ``scenes`` estimated.

    Raises
    ------
    RunError
        If the file is missing or damaged.
    """
    return [SceneShift.from_dict(value) for value in read_json(Path(folder) / FILE)]


def _scene(scene: NDArray[np.int32]) -> NDArray[np.int32]:
    """Tiles of no known scene, each of which may be one of its own, are taken together."""
    return np.maximum(scene, -1)


def _of_scene(
    dataset: xr.Dataset,
    folds: Folds,
    scene: int,
    scores: xr.Dataset | None,
    threshold: float | None,
    seed: int,
) -> SceneShift:
    source: Literal["pixels", "scores"] = "pixels" if scores is None else "scores"
    usable = (folds.role == "fit") & (_scene(folds.scene) == scene) & (folds.landslide_pixels > 0)
    if scores is not None:
        usable &= np.isin(folds.patch, scores["patch"].values)
    ids = folds.patch[usable]
    if len(ids) > _TILES:
        rng = np.random.default_rng([seed, 31, scene & 0xFFFF])
        ids = np.sort(rng.choice(ids, _TILES, replace=False))
    masks = training_masks(dataset, folds, ids).astype(bool)
    # The pixels looked at must be the same for all shifts: those that stay inside the tile.
    inner = masks[:, REACH_PX:-REACH_PX, REACH_PX:-REACH_PX]
    ids, masks, inner = (a[inner.any(axis=(1, 2))] for a in (ids, masks, inner))
    if len(ids) < _LEAST_TILES:
        return SceneShift(scene, 0, 0, 0.0, 0.0, 0.0, len(ids), source, None)
    block = np.unique(folds.of(ids, "block"), return_inverse=True)[1]
    if block.max() + 1 < _LEAST_BLOCKS:
        block = np.arange(len(ids))
    if scores is None:
        curve_of = _pixel_curves(dataset, ids, masks, inner, block)
    else:
        curve_of = _f1_curves(scores, ids, inner, threshold)
    curve = curve_of(np.ones((1, len(ids))))[0]
    peak = int(curve.argmax())
    dy, dx = _SHIFTS[peak]
    at_rim = max(abs(dy), abs(dx)) == REACH_PX
    drawn = curve_of(_resample(block, seed)).argmax(axis=1)
    square = curve.reshape(_SIDE, _SIDE)
    sub_y, sub_x = (0.0, 0.0) if at_rim else _parabola(square, dy + REACH_PX, dx + REACH_PX)
    return SceneShift(
        scene, dy, dx, dy + sub_y, dx + sub_x,
        0.0 if at_rim else float((drawn == peak).mean()),
        len(ids), source, np.round(square, 5).tolist(),
    )  # fmt: skip


def _pixel_curves(
    dataset: xr.Dataset,
    ids: NDArray[np.int64],
    masks: NDArray[np.bool_],
    inner: NDArray[np.bool_],
    block: NDArray[np.int64],
) -> Callable[[NDArray[np.float64]], Curve]:
    """Mean contrast inside the moved masks, as a function of the weights of the tiles.

    The contrast is the linear combination of bands that sets landslides apart best (Fisher's
    discriminant), learned on the other half of the blocks: learned on its own tiles it would
    find a peak in noise.
    """
    bands = _bands(dataset)
    images = np.stack([_detail(dataset["image"].isel(patch=n).values[bands])
                       for n in positions_of(dataset, ids)])  # fmt: skip
    sums = np.empty((len(ids), len(_SHIFTS)))
    half = block % 2
    for h in (0, 1):
        weights = _discriminant(images[half != h], masks[half != h])
        for n in np.flatnonzero(half == h):
            contrast = np.tensordot(weights, images[n], 1)
            contrast /= max(float(contrast.std()), 1e-12)
            sums[n] = [contrast[_moved(s)][inner[n]].sum() for s in _SHIFTS]
    pixels = inner.sum(axis=(1, 2)).astype(np.float64)
    return lambda weight: (weight @ sums) / (weight @ pixels)[:, np.newaxis]


def _f1_curves(
    scores: xr.Dataset, ids: NDArray[np.int64], inner: NDArray[np.bool_], threshold: float | None
) -> Callable[[NDArray[np.float64]], Curve]:
    """Pooled F1 against the moved masks, as a function of the weights of the tiles."""
    name = "logit" if "logit" in scores else "probability"
    values = np.asarray(scores[name].isel(patch=positions_of(scores, ids)).values)
    still = values[(slice(None), *_moved((0, 0)))]
    if threshold is None:
        threshold = _best_threshold(still, inner)
    called = values >= threshold
    hits = np.empty((len(ids), len(_SHIFTS)))
    told = np.empty_like(hits)
    for k, shift in enumerate(_SHIFTS):
        moved = called[(slice(None), *_moved(shift))]
        told[:, k] = moved.sum(axis=(1, 2))
        hits[:, k] = (moved & inner).sum(axis=(1, 2))
    pixels = inner.sum(axis=(1, 2)).astype(np.float64)
    return lambda weight: 2 * (weight @ hits) / (weight @ (told + pixels[:, np.newaxis]))


def _bands(dataset: xr.Dataset) -> list[int]:
    """Positions of the bands with the sharpest view: those of 10 m where known, else all light."""
    sensor = sensor_of(dataset)
    sharp = [n for n in sensor.spectral if n in BY_NAME and BY_NAME[n].native_m <= 10]
    names = sharp or list(sensor.spectral) or list(sensor.band_names)
    return [sensor.band_names.index(name) for name in names]


def _detail(image: NDArray[Any]) -> NDArray[np.float32]:
    """Logarithm of each band less its local mean: free of the tile's level; shape (band, y, x)."""
    from scipy import ndimage

    values = image.astype(np.float32)
    level = np.median(values, axis=(1, 2), keepdims=True)
    level = np.where(level > 0, level, 1)
    logs = np.log(np.maximum(values / level, 0.01))
    window = (1, _HIGHPASS_PX, _HIGHPASS_PX)
    detail: NDArray[np.float32] = logs - ndimage.uniform_filter(logs, window, mode="reflect")
    return detail


def _discriminant(images: NDArray[np.float32], masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Weight of each band that sets landslide pixels apart."""
    pixels = np.moveaxis(images, 1, -1)
    inside, outside = pixels[masks].astype(np.float64), pixels[~masks][::31].astype(np.float64)
    within = np.atleast_2d(np.cov(inside, rowvar=False) + np.cov(outside, rowvar=False))
    ridge = 1e-3 * np.trace(within) / len(within) + 1e-12
    step = inside.mean(axis=0) - outside.mean(axis=0)
    return np.linalg.solve(within + ridge * np.eye(len(within)), step)


def _best_threshold(values: NDArray[Any], truth: NDArray[np.bool_]) -> float:
    candidates = np.unique(np.quantile(values[:, ::2, ::2], np.linspace(0.6, 0.995, 60)))
    f1 = [
        2 * np.count_nonzero((called := values >= c) & truth) / (called.sum() + truth.sum())
        for c in candidates
    ]
    return float(candidates[int(np.argmax(f1))])


def _moved(shift: tuple[int, int]) -> tuple[slice, slice]:
    """Where the inner pixels of a tile lie after a shift."""
    return (
        slice(REACH_PX + shift[0], shift[0] - REACH_PX or None),
        slice(REACH_PX + shift[1], shift[1] - REACH_PX or None),
    )


def _resample(block: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    """How often each tile is drawn when blocks are resampled, shape (resample, tile)."""
    blocks = int(block.max()) + 1
    rng = np.random.default_rng([seed, 32])
    times = rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=_RESAMPLES)
    drawn: NDArray[np.float64] = times[:, block].astype(np.float64)
    return drawn


def _parabola(curve: Curve, row: int, column: int) -> tuple[float, float]:
    """Distance from the highest value to the top of the parabola through it, by axis."""
    middle = curve[row, column]
    parts = []
    for before, after in (
        (curve[row - 1, column], curve[row + 1, column]),
        (curve[row, column - 1], curve[row, column + 1]),
    ):
        bend = before - 2 * middle + after
        parts.append(float(0.5 * (before - after) / bend) if bend < 0 else 0.0)
    return parts[0], parts[1]
