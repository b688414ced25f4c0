"""Search for settings of the boosters, on a quarter of the tiles, over the run's spatial folds.

A trial fits every fold as the pixel stage would, and scores the sampled pixels of the tiles that
the fold holds out; each pixel counts as many as it stands for, so that F1 is that of whole tiles.
The search is Optuna's tree-structured Parzen estimator (Bergstra et al. 2011). Every trial is
written to a journal when it ends: a killed search goes on with the trials that it would have made.

The best F1 is that of the tiles that chose the settings. It is optimistic, and so are scores of
the same folds with these settings; tiles set aside (``data.holdout``) decide.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.config import Config, PixelConfig
from l4s_ensemble.data.store import STORE
from l4s_ensemble.metrics.histogram import ScoreHistogram, bin_index, sigmoid
from l4s_ensemble.pixel.fit import FitJob, at_most, booster_text, fit_job
from l4s_ensemble.pixel.model import PixelModel
from l4s_ensemble.pixel.sampling import PixelPlan, plan_pixels
from l4s_ensemble.pixel.search import Search
from l4s_ensemble.run.execute import locked, package_version, read_manifest
from l4s_ensemble.run.files import read_json, write_json, write_text
from l4s_ensemble.run.fingerprint import digest
from l4s_ensemble.run.tasks import in_processes

if TYPE_CHECKING:
    from l4s_ensemble.scenes.folds import Folds

log = logging.getLogger("l4s_ensemble")

STAGES = ("data/train", "scenes", "features")
"""What a search reads of a run."""

OPTIMISTIC = (
    "these scores are optimistic: the same tiles chose the settings. Judge them on tiles set aside "
    "(data.holdout)"
)
TILES_LEAST = 4
"""Tiles of each fold, with and without a landslide, that are kept however small the share."""

_HEADS = {
    "learning_rate": "rate", "min_child_samples": "least", "feature_fraction": "columns",
    "bagging_fraction": "rows", "max_bin": "bins",
}  # fmt: skip
"""Short names for a table; the preset has the long ones."""

_SCORED_ROWS = 65_536
_BINS = 1000
_STREAM = 1706


def tune(
    run: Path,
    config: Config,
    *,
    trials: int,
    timeout_s: float | None = None,
    share: float = 0.25,
    prune: bool = False,
    out: Path | None = None,
    jobs: int = 1,
) -> dict[str, Any]:
    """Search until so many trials are finished, and write what was found.

    Writes ``tune/pixel.journal`` (Optuna's), ``tune/pixel.json`` (all trials) and a preset.

    Parameters
    ----------
    run : Path
        A run folder whose features are up to date.
    config : Config
        What the search does not vary; its own settings are the first trial.
    trials : int
        Finished trials in all, those of earlier processes included.
    timeout_s : float, optional
        No trial is begun later than this, but for the first.
    share : float
        Of the tiles, in (0, 1].
    prune : bool
        Give up a trial whose F1 over the folds so far is below the median of earlier trials.
    out : Path, optional
        The preset to write; ``tune/pixel.yaml`` without it.
    jobs : int

    Returns
    -------
    dict
        As in ``tune/pixel.json``: ``best``, ``own`` and ``trials`` (best first), ``tiles``,
        ``rows``, ``preset``, ``note``.

    Raises
    ------
    ConfigError
        If Optuna is not installed.
    DataError
        If the tiles do not allow a fit.
    RunError
        If another process works in the run folder.
    """
    folder = run / "tune"
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with locked(run):
        mark = _mark(run, config, share)
        job = _job(run, folder, config, share, mark, jobs)
        search = Search(folder / "pixel.journal", f"pixel-{mark}", config.pixel, config.seed)
        before = search.finished()
        if before:
            log.info("tune: going on after %d finished trials", before)
        while (done := search.finished()) < trials:
            if done and timeout_s is not None and time.monotonic() - started >= timeout_s:
                log.info("tune: time is up after %d trials", done)
                break
            clock = time.monotonic()
            value = search.step(lambda settings: _folds_of(job, settings, jobs), prune=prune)
            log.info(
                "tune: trial %d of %d, %s, %.0f s", done + 1, trials,
                "given up" if value is None else f"F1 {value:.4f}", time.monotonic() - clock,
            )  # fmt: skip
    found = search.ranked()
    preset = out if out is not None else folder / "pixel.yaml"
    told = {
        "study": search.name,
        "best": found[0],
        "own": next((t for t in found if t["own"]), None),
        "trials": found,
        "finished": search.finished(),
        "tiles": len(job.plan.tile),
        "rows": len(job.plan),
        "share": share,
        "note": OPTIMISTIC,
        "preset": str(preset),
        "seconds": time.monotonic() - started,
    }
    _write_preset(preset, config, told)
    write_json(folder / "pixel.json", told)
    return told


def table(told: Mapping[str, Any], most: int = 10) -> tuple[str, list[str], list[list[str]]]:
    """Title, head and rows of a table of the best trials, for people."""
    names = list(told["best"]["settings"])
    rows = [
        [
            f"{t['number']}{' (own)' if t['own'] else ''}", f"{t['f1']:.4f}",
            f"{t['average_precision']:.4f}", f"{t['seconds']:.0f}",
            *(f"{t['settings'][n]:g}" for n in names),
        ]
        for t in told["trials"][:most]
    ]  # fmt: skip
    title = (
        f"{told['finished']} finished trials on {told['rows']} pixels of {told['tiles']} tiles, "
        "out-of-fold"
    )
    return title, ["trial", "F1", "AP", "s", *(_HEADS.get(n, n) for n in names)], rows


def _mark(run: Path, config: Config, share: float) -> str:
    """Stand for all that a trial's score depends on, beside the settings that it tries."""
    return digest(
        {
            "inputs": {name: read_manifest(run / name)["digest"] for name in STAGES},
            "pixel": config.pixel.model_dump(mode="json"),
            "seed": config.seed,
            "share": share,
            "version": package_version(),
        }
    )


def _job(run: Path, folder: Path, config: Config, share: float, mark: str, jobs: int) -> FitJob:
    """Draw the tiles and compute the features of their rows, or find them from last time."""
    from l4s_ensemble.data.store import open_store, sensor_of
    from l4s_ensemble.features.build import plan_from_file
    from l4s_ensemble.pixel.blocks import write_sampled_rows
    from l4s_ensemble.pixel.train import feature_source, tiles_to_fit
    from l4s_ensemble.scenes.folds import load_folds

    dataset, folds = open_store(run / "data" / "train" / STORE), load_folds(run / "scenes")
    ids, masks = tiles_to_fit(dataset, folds)
    whole = plan_pixels(ids, masks, config.pixel, config.seed)
    plan = whole.within(kept_tiles(folds, share, config.seed))
    source = feature_source(run)
    features = plan_from_file(source.plan)
    rows, note = folder / "pixel_rows.npy", folder / "pixel_rows.json"
    if not (rows.is_file() and note.is_file() and read_json(note).get("mark") == mark):
        note.unlink(missing_ok=True)
        write_sampled_rows(rows, source.to_train(), plan, jobs)
        write_json(note, {"mark": mark})
    model = PixelModel(
        folder=folder,
        features=features.names,
        groups=tuple(f.group for f in features.features),
        sensor=sensor_of(dataset),
        folds=folds.n_folds,
        support_px=features.support_px,
        seed=config.seed,
    )
    return fit_job(folds, plan, rows, model, config.pixel, features)


def kept_tiles(folds: Folds, share: float, seed: int) -> NDArray[np.int64]:
    """Draw a share of the tiles of each fold, of those with and without a landslide alike."""
    rng = np.random.default_rng([seed, _STREAM])
    kept = []
    for k in range(folds.n_folds):
        held = np.sort(folds.held_ids(k))
        slides = folds.of(held, "landslide_pixels") > 0
        for pool in (held[slides], held[~slides]):
            n = max(round(share * len(pool)), min(TILES_LEAST, len(pool)))
            kept.append(rng.choice(pool, n, replace=False))
    return np.sort(np.concatenate(kept)).astype(np.int64)


def _folds_of(job: FitJob, settings: Mapping[str, Any], jobs: int) -> Any:
    """Fit and score fold after fold with these settings; yields each one's histogram."""
    config = PixelConfig.model_validate({**job.config.model_dump(), **settings})
    tried = replace(job, config=config)
    at_once = max(1, min(jobs, job.folds.n_folds, at_most(len(job.plan), len(job.model.features))))
    tasks = [(tried, k, max(1, jobs // at_once)) for k in range(job.folds.n_folds)]
    return in_processes(score_fold, tasks, at_once)


def score_fold(job: FitJob, k: int, threads: int = 1) -> ScoreHistogram:
    """Fit fold `k` and score the plan's rows in the tiles that it holds out."""
    import lightgbm as lgb

    text, _ = booster_text(job, k, threads)
    booster = lgb.Booster(model_str=text)
    at, y, pixels = held_rows(job.plan, job.folds.held_ids(k))
    values = np.load(job.rows, mmap_mode="r")
    out = ScoreHistogram.empty(_BINS)
    weight = np.zeros((2, _BINS))
    for i in range(0, len(at), _SCORED_ROWS):
        s = slice(i, i + _SCORED_ROWS)
        raw = booster.predict(
            values[at[s]], raw_score=True, num_threads=threads, validate_features=False
        )
        index = bin_index(sigmoid(np.asarray(raw)), _BINS)
        for kind in (0, 1):
            own = y[s] == kind
            weight[kind] += np.bincount(index[own], weights=pixels[s][own], minlength=_BINS)
    out.negative, out.positive = np.rint(weight).astype(np.int64)
    return out


def held_rows(
    plan: PixelPlan, ids: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.float64]]:
    """Positions, classes, and pixels stood for, of the rows in some tiles."""
    at = plan.rows_of(ids)
    return at, plan.landslide[at], plan.weights_of(plan.tile)[at]


def _write_preset(path: Path, config: Config, told: Mapping[str, Any]) -> None:
    import yaml

    best = told["best"]
    values = config.model_copy(
        update={
            "name": path.stem,
            "pixel": PixelConfig.model_validate({**config.pixel.model_dump(), **best["settings"]}),
            "data": config.data.model_copy(update={"root": None}),
        }
    ).model_dump(mode="json", exclude_defaults=True)
    head = (
        f"# Found by `l4s-ensemble tune pixel`: the best of {told['finished']} trials on "
        f"{told['tiles']} tiles,\n# F1 {best['f1']:.4f} out-of-fold there"
        + ("" if told["own"] is None else f" (before: {told['own']['f1']:.4f})")
        + ".\n# Optimistic: the same tiles chose it. Judge it on tiles set aside.\n"
    )
    write_text(path, head + yaml.safe_dump(values, sort_keys=False))
