"""Adapt a run to labels: a run folder of its own, with the adapted models where they help."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from l4s_ensemble.adapt.adaptation import Adapted, LabelledTiles, adapt_ensemble, groups_of
from l4s_ensemble.adapt.curve import learning_curve
from l4s_ensemble.adapt.labels import MODELS, Labels, digests_of
from l4s_ensemble.adapt.summary import UNKNOWN_PLACES, AdaptationSummary, ModelChange, TileRow
from l4s_ensemble.data.sensor import require_sensor
from l4s_ensemble.data.store import in_memory, sensor_of, units
from l4s_ensemble.errors import DataError, RunError
from l4s_ensemble.features.source import FeatureSource, source_to_predict
from l4s_ensemble.metrics.bootstrap import f1_gain_interval
from l4s_ensemble.metrics.counts import Counts, f1_pooled
from l4s_ensemble.pixel.model import fold_folder
from l4s_ensemble.predict.card import write_card
from l4s_ensemble.predict.ensemble import Ensemble
from l4s_ensemble.predict.place import unet_of_groups
from l4s_ensemble.predict.score import bootstrap_blocks
from l4s_ensemble.run.execute import read_manifest
from l4s_ensemble.run.files import read_json, write_json
from l4s_ensemble.stack.comparison import thresholds_of
from l4s_ensemble.unet.model import UNetModel

FOLDER, TILES = "adapt", "tiles.npz"
"""Of an adapted run: folder of its summary, and file of the labelled tiles in it."""

BLOCK_TILES = 3
NO_LABEL = 255
_LEFT = ("predict", ".work", ".lock", FOLDER)
"""What an adapted run does not take over."""


def adapt_run(
    ensemble: Ensemble,
    labels: Labels,
    source: FeatureSource,
    out: Path,
    *,
    split: str | None = None,
    scene: str | None = None,
    anyway: bool = False,
    curve: int = 0,
) -> AdaptationSummary:
    """Adapt the models of a run and write the adapted run.

    Parameters
    ----------
    ensemble : Ensemble
        Of the run, which stays as it is.
    labels : Labels
    source : FeatureSource
        Of the place: its tiles are labelled, or neighbours of those.
    out : Path
        Folder of the adapted run; it must not exist. What does not change is linked.
    split, scene : str, optional
        Of the labelled tiles: the split, or the folder of the map.
    anyway : bool
        Whether the adapted models are used though no gain is shown.
    curve : int
        Draws of the learning curve, each of which trains a U-Net for every point. 0: no curve.

    Raises
    ------
    DataError
        If a labelled tile is not in the place, or fewer than two have landslides.
    RunError
        If `out` exists.
    """
    started, run = time.monotonic(), ensemble.folder
    if out.exists():
        raise RunError("the folder exists", where=out, fix="name another one with --out")
    tiles = source.dataset().isel(patch=source.positions(labels.patch))
    blocks, kind = bootstrap_blocks(tiles, BLOCK_TILES)
    groups_of(blocks, labels.mask)  # too few landslides are an error now
    labelled = LabelledTiles.read(
        source, labels.patch, labels.mask, seed=ensemble.pixel.seed, jobs=ensemble.jobs
    )
    predicting = _predicting(ensemble, source, labels.patch)
    adapted = adapt_ensemble(ensemble, labelled, blocks, thresholds_of(run / "stack"), predicting)
    models = _changes(adapted, thresholds_of(run / "stack"), blocks)
    before, after = (scored.counts("stack").table() for scored in (adapted.before, adapted.after))
    groups = [adapted.group == k for k in range(int(adapted.group.max()) + 1)]
    gains = [_f1(after[g].sum(axis=0)) - _f1(before[g].sum(axis=0)) for g in groups]
    helps, reason = judge(models[-1], gains, spatial=kind == "spatial")
    rows = [
        TileRow(
            patch=p,
            reason=labels.reasons.get(p),
            group=int(adapted.group[i]),
            landslide_pixels=int(labels.mask[i].sum()),
            f1_before=_f1(before[i]) if before[i, :3].any() else None,
            f1_after=_f1(after[i]) if after[i, :3].any() else None,
        )
        for i, p in enumerate(labels.patch.tolist())
    ]
    summary = AdaptationSummary(
        base=str(ensemble.path),
        base_digests=digests_of(run),
        base_version=read_manifest(run / "stack").get("versions", {}).get("l4s_ensemble"),
        labels=labels.source,
        labels_digest=hashlib.sha256(labels.patch.tobytes() + labels.mask.tobytes()).hexdigest(),
        split=split,
        scene=scene,
        tiles=rows,
        models=models,
        block_kind=kind,
        gain_of_groups=gains,
        weight_pixel_before=ensemble.stack.learner_.weight_pixel,
        weight_pixel_after=adapted.stack.learner_.weight_pixel,
        helps=helps,
        reason=reason,
        curve=learning_curve(ensemble, labelled, adapted.group, curve) if curve else [],
        in_use=helps or anyway,
        seconds=round(time.monotonic() - started, 1),
    )
    _write(ensemble, out, adapted, summary, units(tiles))
    return summary


def adapt_to_masks(
    ensemble: Ensemble,
    tiles: xr.Dataset,
    masks: ArrayLike,
    out: str | Path,
    *,
    anyway: bool = False,
    curve: int = 0,
) -> AdaptationSummary:
    """Adapt an ensemble to labelled tiles in memory and write the adapted run.

    A function and no method of `Ensemble`: predicting needs nothing of the training.

    Parameters
    ----------
    ensemble : Ensemble
        It stays as it is.
    tiles : xarray.Dataset
        Patches as `Ensemble.predict` takes them. Tiles without a label help the features, as
        neighbours and in the statistics of their scene.
    masks : array_like of int, shape (patch, y, x)
        1 = landslide, 0 = none; 255 in all pixels of a tile without a label.
    out, anyway, curve
        As of `adapt_run`. `Ensemble.load(out)` is the adapted ensemble.

    Raises
    ------
    DataError
        If the data are not as described, or fewer than two tiles have landslides.
    RunError
        If `out` exists.

    Examples
    --------
    >>> ensemble = Ensemble.load("runs/demo")  # doctest: +SKIP
    >>> place = open_patches("place", "valid")  # doctest: +SKIP
    >>> summary = adapt_to_masks(ensemble, place, place["mask"], "runs/adapted")  # doctest: +SKIP
    >>> summary.helps  # doctest: +SKIP
    True
    >>> Ensemble.load("runs/adapted").predict(place)  # doctest: +SKIP
    """
    patches = in_memory(tiles, None if "sensor" in tiles.attrs else ensemble.sensor)
    require_sensor(sensor_of(patches), ensemble.sensor)
    given = np.asarray(masks)
    size = tuple(patches.sizes[d] for d in ("patch", "y", "x"))
    labelled = ~(given == NO_LABEL).all(axis=tuple(range(1, given.ndim)))
    if given.shape != size or not np.isin(given[labelled], (0, 1)).all():
        raise DataError(
            "these are not masks of the tiles",
            found=f"shape {given.shape}, values up to {given.max(initial=0)}",
            allowed=f"shape {size}; 0 and 1, or {NO_LABEL} in all pixels of a tile without a label",
        )
    source = source_to_predict(
        patches,
        ensemble.pixel.folder,
        None,
        np.arange(len(given)),
        is_training_store=False,
        jobs=ensemble.jobs,
    )
    patch = patches["patch"].values.astype(np.int64)[labelled]
    labels = Labels(patch, given[labelled].astype(np.uint8), "masks in memory")
    return adapt_run(ensemble, labels, source, Path(out), anyway=anyway, curve=curve)


def judge(stack: ModelChange, gains: list[float], *, spatial: bool = True) -> tuple[bool, str]:
    """Say whether a gain of the stack is shown, and why.

    With an interval, where it is above zero. With fewer than ten blocks there is none: then where
    at least two groups gain, and all of them but one at most. Where the places of the tiles are
    not known (not `spatial`), each is a block, and the words say so.
    """
    scores = f"F1 {stack.f1_before:.3f} before, {stack.f1_after:.3f} after"
    if stack.low is not None:
        shown = stack.low > 0
        span = f"gain {stack.gain:+.3f} [{stack.low:+.3f}, {stack.high:+.3f}]"
        said = f"{scores}: {span}, {'shown' if shown else 'no gain shown'}"
    else:
        better = sum(g > 0 for g in gains)
        shown = better >= 2 and better >= len(gains) - 1
        what = "spatial blocks" if spatial else "tiles"
        few = f"{stack.blocks} {what} are" if stack.blocks > 1 else "one spatial block is"
        said = (
            f"{scores}: gains from {min(gains):+.3f} to {max(gains):+.3f}, {better} of "
            f"{len(gains)} groups gain; {few} too few for an interval"
        )
    return shown, said if spatial else f"{said}; {UNKNOWN_PLACES}"


def _predicting(ensemble: Ensemble, source: FeatureSource, patch: NDArray[np.int64]) -> UNetModel:
    """The U-Nets as they predict the place: adapted to its images, where it is one place."""
    dataset = source.dataset()
    place = ensemble.places_of(dataset)
    own = np.unique(place[source.positions(patch)])
    if len(own) > 1:
        return ensemble.unet
    number = ((place > 0) & (place == own[0])).astype(np.int64)
    return unet_of_groups(ensemble.unet, dataset, dataset["patch"].values, number)[-1]


def _changes(
    adapted: Adapted, thresholds: Mapping[str, float], blocks: NDArray[np.int64]
) -> list[ModelChange]:
    """Each model before and after."""
    models = []
    for m in MODELS:
        before, after = adapted.before.counts(m), adapted.after.counts(m)
        gain = f1_gain_interval(after, before, blocks)
        models.append(
            ModelChange(
                model=m,
                f1_before=f1_pooled(before),
                f1_after=f1_pooled(after),
                gain=gain.value,
                low=gain.low,
                high=gain.high,
                blocks=gain.blocks,
                average_precision_before=adapted.before.average_precision(m),
                average_precision_after=adapted.after.average_precision(m),
                threshold_before=thresholds[m],
                threshold_after=adapted.decision.thresholds[m],
            )
        )
    return models


def _f1(counts: NDArray[np.int64]) -> float:
    """F1 of one row of `Counts.table`."""
    return f1_pooled(Counts(*counts))


def _write(
    ensemble: Ensemble,
    out: Path,
    adapted: Adapted,
    summary: AdaptationSummary,
    image: NDArray[np.float32],
) -> None:
    """Write the adapted run; it appears when it is whole."""
    partial = out.with_name(f".{out.name}-{os.getpid()}")
    skipped = shutil.ignore_patterns(*_LEFT)
    try:
        shutil.copytree(ensemble.folder, partial, copy_function=_link, ignore=skipped)
        (partial / FOLDER).mkdir()
        write_json(partial / FOLDER / "summary.json", summary)
        np.savez_compressed(
            partial / FOLDER / TILES,
            # For pictures: half of the memory is enough.
            image=image.astype(np.float16),
            sensor=np.array(ensemble.sensor.model_dump_json()),
            reference=adapted.after.reference,
            before=adapted.before.mask["stack"],
            after=adapted.after.mask["stack"],
        )
        if summary.in_use:
            _write_models(partial, adapted)
            _write_lineage(partial, summary)
        write_card(partial)
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_models(run: Path, adapted: Adapted) -> None:
    for k, (classifier, network) in enumerate(zip(adapted.pixel, adapted.unet, strict=True)):
        classifier.save(fold_folder(run / "pixel", k))
        network.save(run / "unet" / f"fold_{k}")
    adapted.stack.save(run / "stack")
    path = run / "stack" / "summary.json"
    summary = read_json(path)
    summary["threshold"] = adapted.decision.thresholds["stack"]
    for row in summary["comparison"]:
        row["threshold"] = adapted.decision.thresholds.get(row["model"], row["threshold"])
    write_json(path, summary)


def _write_lineage(run: Path, summary: AdaptationSummary) -> None:
    """Say in the manifests of the adapted stages what they were made of."""
    for name, base in summary.base_digests.items():
        path = run / name / "manifest.json"
        lineage = {
            "base": summary.base,
            "base_digest": base,
            "labels": summary.labels,
            "labels_digest": summary.labels_digest,
        }
        write_json(path, read_json(path) | {"adapted": lineage})


def _link(source: str, target: str) -> None:
    """Link a file; copy it where that cannot be done."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
