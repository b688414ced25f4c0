"""Join the two models: candidates cross-fitted over the same spatial folds, the simplest chosen.

Then the decision (threshold, post-processing) is chosen on the same out-of-fold probabilities, and
the stack is shown beside its parts.
"""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.data.store import open_store
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.run.files import read_json, write_json
from l4s_ensemble.run.progress import track
from l4s_ensemble.run.scores import ScoreFile
from l4s_ensemble.run.stage import StageContext, Summary
from l4s_ensemble.scenes.folds import Folds, load_folds
from l4s_ensemble.stack import evidence, ledger
from l4s_ensemble.stack.agreement import agreement_where, total
from l4s_ensemble.stack.choose import choose
from l4s_ensemble.stack.crossfit import SCORES, TILES, TOLD, cross_fit_apart
from l4s_ensemble.stack.decision.decide import Decision, decide
from l4s_ensemble.stack.evidence import Paths
from l4s_ensemble.stack.tiles import BLOCK_TILES, OutOfFold, guide_of, slices

log = logging.getLogger("l4s_ensemble")

WORK = "candidates"
"""Folder of the candidates while they are compared."""

DECISION, UNCERTAINTY = "decision.json", "uncertainty.json"


def stage(ctx: StageContext) -> Summary:
    """Fit the candidates, choose one, decide, and score it beside the bases.

    Writes the chosen learner (``model.json`` and what belongs to it), ``without_<part>/`` (a
    learner of the other base alone), ``decision.json``, ``uncertainty.json``, ``oof.zarr``
    (``probability (patch, y, x)``: final, as the threshold wants it; each tile scored by a
    learner that was fitted on other folds, none of whose tiles touches it), ``tiles_<model>.npz``
    for the rows of the ledger, ``tiles.npz`` (the stack's) and ``tiles_learner_<kind>.npz`` for
    each candidate.
    """
    started = time.monotonic()
    settings, seed = ctx.config.stack, ctx.config.seed
    paths = Paths(
        ctx.input("pixel") / "oof.zarr",
        ctx.input("unet") / "oof.zarr",
        ctx.input("data/train") / "patches.zarr",
    )
    source = OutOfFold(*paths.three)
    folds = load_folds(ctx.input("scenes"))
    block = folds.of(source.patch, "block")
    allowed = evidence.allowed_of(folds, source.patch)
    leaks = evidence.check_leaks(folds, paths, allowed)
    tiles = base_tiles(source, settings.bins)
    options: dict[str, Any] = {"resamples": settings.resamples, "seed": seed}

    # What a killed process left may be of other settings.
    work = ctx.out / WORK
    shutil.rmtree(work, ignore_errors=True)
    names: tuple[str, ...] = settings.candidates
    if settings.learner != "auto":
        names = (settings.learner,)
    fits: dict[str, Any] = {"allowed": allowed, "seed": seed, "jobs": ctx.jobs}
    told = {
        name: cross_fit_apart(name, paths.three, work / name, settings, **fits)
        for name in dict.fromkeys(names)
    }
    candidates = {name: TileHistograms.load(work / name / TILES) for name in told}
    learners = choose(
        candidates, block, bases={name: tiles[name] for name in ledger.BASES},
        seconds={name: one["seconds"] for name, one in told.items()}, **options,
    )  # fmt: skip
    chosen = next(str(row["name"]) for row in learners if row["chosen"])
    take(work / chosen, ctx.out)
    reduced = evidence.without_parts(paths, ctx.out, settings, **fits)
    shutil.rmtree(work)

    decision, decided = _decide(ctx, folds, source)
    decision, tiles["stack"] = finish(ctx.out / SCORES, source, decision, settings.bins)
    decision.save(ctx.out / DECISION)
    tiles |= reduced
    for name, scored in candidates.items():
        scored.save(ctx.out / f"tiles_learner_{name}.npz")
    for name, scored in tiles.items():
        scored.save(ctx.out / f"tiles_{name.replace(' ', '_')}.npz")
    tiles["stack"].save(ctx.out / "tiles.npz")

    adapted_to = read_json(ctx.input("unet") / "summary.json").get("adapted_to")
    plain = {name: scored.pooled().best().value for name, scored in tiles.items()}
    plain["stack"] = decision.threshold
    stacked = ctx.out / SCORES
    objects = evidence.slides(paths, stacked, plain, decision, jobs=ctx.jobs)
    uncertainty, doubt = evidence.doubt(
        paths, stacked, decision.threshold, block, jobs=ctx.jobs, **options
    )
    write_json(ctx.out / UNCERTAINTY, uncertainty.as_dict())
    where = agreement_where(
        paths.store, paths.pixel, paths.unet, (plain["pixel"], plain["unet"]), jobs=ctx.jobs
    )
    table = ledger.rows(
        tiles, block, adapted_to=adapted_to, objects=objects,
        seconds=ledger.seconds_of(ctx.run, stack_s=time.monotonic() - started), **options,
    )  # fmt: skip
    by_name = {row["model"]: row for row in table}
    gained = ledger.gain(tiles, table, block, objects=objects, **options)
    pooled = tiles["stack"].pooled()
    log.info(
        "stack: %s, F1 %.3f out-of-fold, %+.3f over %s",
        chosen, by_name["stack"]["f1"], gained["value"], gained["over"],
    )  # fmt: skip
    return {
        "learner": chosen,
        "learners": learners,
        **told[chosen],
        "folds": [int(k) for k in np.unique(source.fold)],
        "adapted_to": adapted_to,
        "ledger": table,
        "gain": gained,
        "marginal": ledger.marginal(tiles, table, block, **options),
        "threshold": decision.threshold,
        "plateau": [by_name["stack"]["plateau_low"], by_name["stack"]["plateau_high"]],
        "decision": decided,
        "histogram": pooled.as_dict(),
        "reliability": pooled.reliability(),
        "leaks": leaks,
        "distance": evidence.distance(
            folds, tiles["stack"], decision.threshold, block, **options
        ),
        "uncertainty": doubt,
        "agreement": total(where),
        "agreement_where": where,
    }  # fmt: skip


def base_tiles(source: OutOfFold, bins: int) -> dict[str, TileHistograms]:
    """Histograms of both bases and of the plain mean of their logits."""
    tiles = {name: TileHistograms.empty(source.patch, bins) for name in ("pixel", "unet", "mean")}
    blocks = -(-len(source.patch) // BLOCK_TILES)
    for block in track(source.blocks(), "stack: scoring both models", blocks):
        for n, (seen, mask) in enumerate(zip(block.seen, block.truth, strict=True)):
            pixel, unet = seen.logit_pixel, seen.logit_unet
            for name, logit in (("pixel", pixel), ("unet", unet), ("mean", (pixel + unet) / 2)):
                tiles[name].add(block.at.start + n, sigmoid(logit), mask)
    return tiles


def finish(
    path: Path, source: OutOfFold, decision: Decision, bins: int
) -> tuple[Decision, TileHistograms]:
    """Bring out-of-fold probabilities to what the threshold wants, in place, and count them.

    Returns
    -------
    Decision
        Its reference is made of final probabilities; its threshold is their best one, unless a
        step on the mask goes with another.
    TileHistograms
    """
    scores = ScoreFile(path, source.patch, source.size, name="probability", fold=source.fold)
    guide = guide_of(open_store(source.paths[2]), source.patch) if decision.wants_guide else None
    tiles = TileHistograms.empty(source.patch, bins)
    blocks = slices(len(source.patch))
    for at in track(blocks, "stack: deciding", len(blocks)):
        shown = None if guide is None else guide[at]
        final = np.stack(
            [
                decision.final(p, None if shown is None else shown[i])
                for i, p in enumerate(scores.read(at))
            ]
        )
        scores.write(at, final)
        truth = source.truth(at)
        for i, one in enumerate(final):
            tiles.add(at.start + i, one, truth[i])
    pooled = tiles.pooled()
    on_mask = any(not step.on_probability for step in decision.steps)
    threshold = decision.threshold if on_mask else pooled.best().value
    return replace(decision, reference=pooled, threshold=threshold), tiles


def take(folder: Path, out: Path) -> None:
    """Move a candidate's learner and scores to where they stay."""
    for path in folder.iterdir():
        if path.name in {TILES, TOLD}:
            continue
        target = out / path.name
        if target.is_dir():
            shutil.rmtree(target)
        path.replace(target)


def _decide(ctx: StageContext, folds: Folds, source: OutOfFold) -> tuple[Decision, dict[str, Any]]:
    patch = source.patch
    scores = ScoreFile(ctx.out / SCORES, patch, source.size, name="probability", fold=source.fold)
    of_tile: dict[str, NDArray[Any]] = {
        name: folds.of(patch, name) for name in ("fold", "block", "scene")
    }
    return decide(
        scores, _Truth(source), of_tile["fold"], of_tile["block"], ctx.config.stack,
        ctx.config.seed, scene=of_tile["scene"],
        guide=guide_of(open_store(source.paths[2]), patch),
    )  # fmt: skip


class _Truth:
    """Masks by slices of tiles."""

    def __init__(self, source: OutOfFold) -> None:
        self._source = source

    def __getitem__(self, block: slice) -> NDArray[np.bool_]:
        return self._source.truth(block)
