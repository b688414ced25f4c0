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
from l4s_ensemble.adapt.decision import Scored
from l4s_ensemble.adapt.labels import MODELS, Labels, check_labels, digests_of
from l4s_ensemble.adapt.summary import AdaptationSummary, ModelChange, TileRow
from l4s_ensemble.data.sensor import require_sensor
from l4s_ensemble.data.store import STORE, in_memory, open_store, sensor_of
from l4s_ensemble.errors import DataError, RunError
from l4s_ensemble.features.source import FeatureSource, source_to_predict
from l4s_ensemble.metrics.bootstrap import f1_gain_interval
from l4s_ensemble.metrics.counts import Counts, f1_pooled
from l4s_ensemble.pixel.model import fold_folder
from l4s_ensemble.predict.card import write_card
from l4s_ensemble.predict.ensemble import Ensemble
from l4s_ensemble.predict.score import bootstrap_blocks
from l4s_ensemble.run.execute import read_manifest
from l4s_ensemble.run.files import read_json, write_json
from l4s_ensemble.stack.comparison import thresholds_of

FOLDER = "adapt"
"""Of the summary in an adapted run."""

BLOCK_TILES = 3
NO_LABEL = 255
_LEFT = ("predict", ".work", ".lock", FOLDER)
"""What an adapted run does not take over."""


def adapt_run(
    ensemble: Ensemble,
    labels: Labels,
    data: Path,
    result: Path,
    out: Path,
    *,
    split: str,
    anyway: bool = False,
    curve: int = 0,
) -> AdaptationSummary:
    """Adapt the models of a run and write the adapted run.

    Parameters
    ----------
    ensemble : Ensemble
        Of the run, which stays as it is.
    labels : Labels
    data, result : Path
        Folders of the stages of the place's patches, and of their prediction by the run.
    out : Path
        Folder of the adapted run; it must not exist. What does not change is linked.
    split : str
        Of the labelled tiles.
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
    check_labels(labels, open_store(data), split, digests_of(ensemble.folder))
    source = FeatureSource.beside(ensemble.folder / "pixel", data / STORE, result)
    return _adapt(ensemble, labels, source, out, split, anyway, curve)


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
    return _adapt(ensemble, labels, source, Path(out), None, anyway, curve)


def _adapt(
    ensemble: Ensemble,
    labels: Labels,
    source: FeatureSource,
    out: Path,
    split: str | None,
    anyway: bool,
    draws: int,
) -> AdaptationSummary:
    started, run = time.monotonic(), ensemble.folder
    if out.exists():
        raise RunError("the folder exists", where=out, fix="name another one with --out")
    labelled_tiles = source.dataset().isel(patch=source.positions(labels.patch))
    blocks, _ = bootstrap_blocks(labelled_tiles, BLOCK_TILES)
    groups_of(blocks, labels.mask)  # too few landslides are an error now
    labelled = LabelledTiles.read(
        source, labels.patch, labels.mask, seed=ensemble.pixel.seed, jobs=ensemble.jobs
    )
    adapted = adapt_ensemble(ensemble, labelled, blocks, thresholds_of(run / "stack"))
    counts = {m: (_counts(adapted.before, m), _counts(adapted.after, m)) for m in MODELS}
    models, (before, after) = _changes(adapted, counts, blocks), counts["stack"]
    groups = [adapted.group == k for k in range(int(adapted.group.max()) + 1)]
    gains = [f1_pooled(_some(after, g)) - f1_pooled(_some(before, g)) for g in groups]
    helps, reason = judge(models[-1], gains)
    summary = AdaptationSummary(
        base=str(ensemble.path),
        base_digests=digests_of(run),
        base_version=read_manifest(run / "stack").get("versions", {}).get("l4s_ensemble"),
        labels=labels.source,
        labels_digest=hashlib.sha256(labels.patch.tobytes() + labels.mask.tobytes()).hexdigest(),
        split=split,
        tiles=_rows(adapted, labels, counts),
        models=models,
        groups=len(gains),
        gain_of_groups=gains,
        weight_pixel_before=ensemble.stack.learner_.weight_pixel,
        weight_pixel_after=adapted.stack.learner_.weight_pixel,
        helps=helps,
        reason=reason,
        curve=learning_curve(ensemble, labelled, adapted.group, draws) if draws else [],
        in_use=helps or anyway,
        seconds=round(time.monotonic() - started, 1),
    )
    _write(run, out, adapted, summary)
    return summary


def judge(stack: ModelChange, gains: list[float]) -> tuple[bool, str]:
    """Say whether a gain of the stack is shown, and why.

    With an interval, where it is above zero. With fewer than ten spatial blocks there is none: then
    where at least two groups gain, and all of them but one at most.
    """
    scores = f"F1 {stack.f1_before:.3f} before, {stack.f1_after:.3f} after"
    if stack.low is not None:
        shown = stack.low > 0
        span = f"gain {stack.gain:+.3f} [{stack.low:+.3f}, {stack.high:+.3f}]"
        return shown, f"{scores}: {span}, {'shown' if shown else 'no gain shown'}"
    better = sum(g > 0 for g in gains)
    return better >= 2 and better >= len(gains) - 1, (
        f"{scores}: gains from {min(gains):+.3f} to {max(gains):+.3f}, {better} of {len(gains)} "
        f"groups gain; {stack.blocks} spatial blocks are too few for an interval"
    )


def _changes(
    adapted: Adapted, counts: Mapping[str, tuple[Counts, Counts]], blocks: NDArray[np.int64]
) -> list[ModelChange]:
    """Each model before and after."""
    models = []
    for m, (before, after) in counts.items():
        gain = f1_gain_interval(after, before, blocks)
        pooled = [s.tiles[m].pooled() for s in (adapted.before, adapted.after)]
        models.append(
            ModelChange(
                model=m,
                f1_before=f1_pooled(before),
                f1_after=f1_pooled(after),
                gain=gain.value,
                low=gain.low,
                high=gain.high,
                blocks=gain.blocks,
                average_precision_before=pooled[0].average_precision(),
                average_precision_after=pooled[1].average_precision(),
                threshold_before=float(adapted.before.thresholds[m][0]),
                threshold_after=adapted.decision.thresholds[m],
            )
        )
    return models


def _rows(
    adapted: Adapted, labels: Labels, counts: Mapping[str, tuple[Counts, Counts]]
) -> list[TileRow]:
    before, after = counts["stack"]

    def f1(counts: Counts, i: int) -> float | None:
        whole = int(2 * counts.tp[i] + counts.fp[i] + counts.fn[i])
        return 2 * int(counts.tp[i]) / whole if whole else None

    return [
        TileRow(
            patch=int(p),
            group=int(adapted.group[i]),
            landslide_pixels=int(labels.mask[i].sum()),
            f1_before=f1(before, i),
            f1_after=f1(after, i),
        )
        for i, p in enumerate(labels.patch)
    ]


def _write(run: Path, out: Path, adapted: Adapted, summary: AdaptationSummary) -> None:
    """Write the adapted run; it appears when it is whole."""
    partial = out.with_name(f".{out.name}-{os.getpid()}")
    try:
        shutil.copytree(run, partial, copy_function=_link, ignore=shutil.ignore_patterns(*_LEFT))
        (partial / FOLDER).mkdir()
        write_json(partial / FOLDER / "summary.json", summary)
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


def _counts(scored: Scored, model: str) -> Counts:
    """Counts of each tile at its own threshold."""
    tiles, thresholds = scored.tiles[model], scored.thresholds[model]
    each = [tiles.subset([i]).counts(float(t)) for i, t in enumerate(thresholds)]
    return Counts(*(np.concatenate(column) for column in zip(*map(_columns, each), strict=True)))


def _some(counts: Counts, at: NDArray[np.bool_]) -> Counts:
    return Counts(*(column[at] for column in _columns(counts)))


def _columns(counts: Counts) -> tuple[NDArray[np.int64], ...]:
    return counts.tp, counts.fp, counts.fn, counts.tn
