"""Join the two models: candidates cross-fitted over the same spatial folds, the simplest chosen.

Then the decision (calibration, threshold, smallest landslide) is chosen on the same out-of-fold
probabilities, and the stack is shown beside its parts.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from l4s_ensemble.errors import RunError
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.run.files import read_json
from l4s_ensemble.run.progress import track
from l4s_ensemble.run.scores import ScoreFile
from l4s_ensemble.run.stage import StageContext, Summary
from l4s_ensemble.scenes.folds import load_folds
from l4s_ensemble.scenes.objects import count_objects
from l4s_ensemble.stack import evidence, ledger
from l4s_ensemble.stack.choose import choose
from l4s_ensemble.stack.crossfit import CrossFitted, cross_fit, draw, histograms
from l4s_ensemble.stack.decision import calibrate, smallest
from l4s_ensemble.stack.decision.calibrate import Calibration
from l4s_ensemble.stack.decision.decide import Decision
from l4s_ensemble.stack.model import KINDS
from l4s_ensemble.stack.tiles import BLOCK_TILES, OutOfFold

log = logging.getLogger("l4s_ensemble")

SCORES, DECISION = "oof.zarr", "decision.json"


def stage(ctx: StageContext) -> Summary:
    """Fit the candidates, choose one, decide, and score it beside the two models.

    Writes the chosen learner (``model.json``), ``decision.json``, ``oof.zarr``
    (``probability (patch, y, x)``: final, as the threshold wants it; each tile scored by a
    learner that was fitted on other folds, none of whose tiles touches it), ``tiles_<model>.npz``
    for the rows of the ledger, and ``tiles.npz`` (the stack's).
    """
    started = time.monotonic()
    settings, seed = ctx.config.stack, ctx.config.seed
    store = ctx.input("data/train") / "patches.zarr"
    pixel, unet = (ctx.input(name) / "oof.zarr" for name in ledger.BASES)
    paths = evidence.Paths(pixel, unet, ctx.out / SCORES, store)
    source = OutOfFold(paths.pixel, paths.unet, store)
    folds = load_folds(ctx.input("scenes"))
    fold, block = (folds.of(source.patch, name) for name in ("fold", "block"))
    allowed = evidence.allowed_of(folds, source.patch)
    leaks = evidence.check_leaks(folds, paths, allowed)
    options: dict[str, Any] = {"seed": seed}

    kinds = KINDS if settings.learner == "auto" else (settings.learner,)
    sample = draw(source, seed)
    fits = {kind: cross_fit(kind, source, sample, allowed) for kind in kinds}
    tiles = histograms(source, fits)
    candidates = {kind: tiles.pop(kind) for kind in kinds}
    learners = choose(candidates, block, bases={n: tiles[n] for n in ledger.BASES}, **options)
    chosen = next(str(row["name"]) for row in learners if row["chosen"])
    fits[chosen].final.save(ctx.out)

    if candidates[chosen].positive.sum() == 0:
        raise RunError(
            "there is no landslide to choose a threshold by", where="out-of-fold scores",
            fix="give tiles with landslides",
        )  # fmt: skip
    calibration, calibrated = calibrate.choose(candidates[chosen], fold, block, **options)
    if settings.calibrate == "none":
        calibration = Calibration()
        calibrated |= {"chosen": "none", "after": calibrated["before"]}
    tiles["stack"] = finish(paths.stack, source, fits[chosen], calibration)
    reference = tiles["stack"].pooled()
    decision = Decision(
        reference.best().value, settings.follow == "unlike", 0, calibration, reference
    )
    cleaned: dict[str, Any] = {"smallest_px": 0, "reason": "not asked for"}
    if settings.postprocess == "auto":
        pairs = evidence.masks(store, paths.stack, decision.threshold)
        least, cleaned = smallest.search(pairs, fold, block, **options)
        decision = replace(decision, smallest_px=least)
    decision.save(ctx.out / DECISION)
    for name, scored in tiles.items():
        scored.save(ctx.out / f"tiles_{name}.npz")
    tiles["stack"].save(ctx.out / "tiles.npz")

    thresholds = {name: scored.pooled().best().value for name, scored in tiles.items()}
    found = evidence.counted(paths, decision, thresholds, jobs=ctx.jobs)
    place = tuple(folds.of(source.patch, name) for name in ("scene", "row", "col"))
    objects = count_objects(found.tiles, place)
    adapted_to = read_json(ctx.input("unet") / "summary.json").get("adapted_to")
    table = ledger.rows(
        tiles, block, adapted_to=adapted_to, objects=objects,
        seconds=ledger.seconds_of(ctx.run, stack_s=time.monotonic() - started), **options,
    )  # fmt: skip
    by_name = {row["model"]: row for row in table}
    gained = ledger.gain(tiles, table, block, objects=objects, **options)
    log.info(
        "stack: %s, F1 %.3f out-of-fold, %+.3f over %s",
        chosen, by_name["stack"]["f1"], gained["value"], gained["over"],
    )  # fmt: skip
    return {
        "learner": chosen,
        "learners": learners,
        **fits[chosen].final.told(),
        "rows": 0 if chosen == "plain" else len(sample.truth),
        "folds": [int(k) for k in np.unique(source.fold)],
        "adapted_to": adapted_to,
        "ledger": table,
        "gain": gained,
        "marginal": ledger.marginal(tiles, table, block, objects=objects, **options),
        "threshold": decision.threshold,
        "plateau": [by_name["stack"]["plateau_low"], by_name["stack"]["plateau_high"]],
        "decision": {
            "calibration": calibrated,
            "follow": settings.follow,
            "postprocess": {"asked": settings.postprocess, **cleaned},
        },
        "histogram": reference.as_dict(),
        "reliability": reference.reliability(),
        "leaks": leaks,
        **found.told(place),
        "seconds": round(time.monotonic() - started, 2),
    }


def finish(
    path: Path,
    source: OutOfFold,
    fitted: CrossFitted,
    calibration: Calibration,
) -> TileHistograms:
    """Write final out-of-fold probabilities and count them.

    Each tile is scored by the learner of its fold and calibrated.
    """
    scores = ScoreFile(
        path, source.patch, source.size, name="probability", fold=source.fold,
        attrs={"learner": fitted.final.kind},
    )  # fmt: skip
    tiles = TileHistograms.empty(source.patch)
    blocks = -(-len(source.patch) // BLOCK_TILES)
    for block in track(source.blocks(), "stack: deciding", blocks):
        final = []
        for n, i in enumerate(range(block.at.start, block.at.stop)):
            learner = fitted.of_fold[int(source.fold[i])]
            final.append(calibration(learner.probability(block.pixel[n], block.unet[n])))
            tiles.add(i, final[-1], block.truth[n])
        scores.write(block.at, np.stack(final))
    return tiles
