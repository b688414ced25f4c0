"""What newer stages write of a fabricated run's stack and its prediction of valid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from fabricated_run import MODELS

from l4s_ensemble.config import build
from l4s_ensemble.data import store
from l4s_ensemble.metrics.tiles import TileHistograms
from l4s_ensemble.run.files import read_json, write_json
from l4s_ensemble.run.scores import open_scores
from l4s_ensemble.scenes import folds as scenes
from l4s_ensemble.stack import ledger


def enrich_stack(run: Path) -> None:
    """Give a run's stack and its prediction of valid what their stages write by now.

    All but the tries of post-processing is what the real functions say of the run's arrays.
    """
    from l4s_ensemble.stack import evidence
    from l4s_ensemble.stack.agreement import agreement_where
    from l4s_ensemble.stack.choose import choose
    from l4s_ensemble.stack.decision.decide import Decision, decide

    config = build(read_json(run / "config.json"))
    out, options = run / "stack", {"resamples": 200, "seed": 0}
    summary = read_json(out / "summary.json")
    tiles = {m: TileHistograms.load(out / f"tiles_{m}.npz") for m in MODELS}
    patch, threshold = tiles["stack"].patch, summary["threshold"]
    folds = scenes.load_folds(run / "scenes")
    fold, scene = (folds.of(patch, name) for name in ("fold", "scene"))
    block = np.arange(len(patch))  # enough of them for intervals
    paths = evidence.Paths(
        run / "pixel/oof.zarr", run / "unet/oof.zarr", run / "data/train/patches.zarr"
    )
    truth = store.open_store(run / "data/train")["mask"].sel(patch=patch).values
    chosen = {r["model"]: r["threshold"] for r in summary["ledger"]}
    settings = config.stack.model_copy(update={"postprocess": "none"})
    _, decision = decide(
        _Probabilities(patch, open_scores(out / "oof.zarr")["probability"].values), truth, fold,
        block, settings, scene=scene,
    )  # fmt: skip
    decision["postprocess"] = {
        "asked": "auto", "f1": 0.6, "kept": [SMALLEST], "reason": None, "tried": [
            _tried("smooth", {"sigma_px": 1.0}, gain=-0.001),
            _tried("smallest", {k: v for k, v in SMALLEST.items() if k != "name"}, gain=0.004),
            _tried("holes", {"pixels": 8.0}, gain=0.0001),
        ],
    }  # fmt: skip
    objects = evidence.slides(paths, out / "oof.zarr", chosen, Decision(threshold), jobs=1)
    reduced = {"stack without unet": tiles["pixel"], "stack without pixel": tiles["unet"]}
    rows = ledger.rows(
        {**tiles, **reduced}, block, objects=objects,
        seconds=ledger.seconds_of(run, stack_s=4.0), **options,
    )  # fmt: skip
    summary |= {
        "learner": "logistic", "seconds": 4.0,
        "learners": choose(
            {"mean": tiles["mean"], "logistic": tiles["stack"]}, block,
            bases={name: tiles[name] for name in ledger.BASES},
            seconds={"mean": 1.0, "logistic": 2.0}, **options,
        ),
        "ledger": rows,
        "gain": ledger.gain(tiles, rows, block, objects=objects, **options),
        "marginal": ledger.marginal({**tiles, **reduced}, rows, block, **options),
        "decision": decision,
        "leaks": evidence.check_leaks(folds, paths, evidence.allowed_of(folds, patch)),
        "distance": evidence.distance(folds, tiles["stack"], threshold, block, **options),
        "uncertainty": evidence.doubt(
            paths, out / "oof.zarr", threshold, block, jobs=1, **options
        )[1],
        "agreement_where": agreement_where(
            paths.store, paths.pixel, paths.unet, (chosen["pixel"], chosen["unet"])
        ),
    }  # fmt: skip
    write_json(out / "summary.json", summary)
    _enrich_scores(run, "valid", chosen, options)


SMALLEST = {"name": "smallest", "pixels": 16.0, "spared_at": 0.8, "spare_edge": True}
"""A step that is kept."""


class _Probabilities:
    def __init__(self, patch: Any, values: Any) -> None:
        self.patch, self._values = patch, values

    def read(self, block: slice) -> Any:
        return self._values[block]


def _tried(step: str, best: dict[str, Any], gain: float) -> dict[str, Any]:
    return {
        "step": step, "on_top_of": [], "candidates": 6, "f1": 0.6 + gain, "gain": gain,
        "low": gain - 0.001, "high": gain + 0.001, "shown": gain > 0.001, "agree": gain > 0,
        "kept": gain > 0.001, "chosen": {"threshold": 0.4, **best}, "folds": [],
    }  # fmt: skip


def _enrich_scores(run: Path, split: str, chosen: dict[str, float], options: Any) -> None:
    from l4s_ensemble.metrics.error_auc import SUBSETS, error_auc, error_histogram, risk_coverage
    from l4s_ensemble.metrics.objects import ObjectCounts, objects_of
    from l4s_ensemble.predict import score

    folder = run / "predict" / split
    summary = read_json(folder / "scores/summary.json")
    tiles = {m: TileHistograms.load(folder / f"scores/tiles_{m}.npz") for m in MODELS}
    truth = store.open_store(run / "data" / split)["mask"].values == 1
    p = open_scores(folder / "result/probability.zarr")["probability"].values
    called = p >= chosen["stack"] + 0.02
    kinds = (truth & called, ~truth & called, truth & ~called, ~truth & ~called)
    masks = np.stack([k.sum(axis=(1, 2)) for k in kinds], axis=1).astype(np.int64)
    block = np.arange(len(p)) // 2
    objects = ObjectCounts.of_tiles([objects_of(t, c) for t, c in zip(truth, called, strict=True)])
    counted = dict.fromkeys(MODELS, objects)
    reduced = {"stack without unet": tiles["pixel"], "stack without pixel": tiles["unet"]}
    limits = {**chosen, **dict.fromkeys(reduced, 0.4)}
    rows = ledger.rows(
        {**tiles, **reduced}, block, thresholds=limits, objects=counted,
        seconds=ledger.seconds_of(run, predicted=f"predict/{split}"), **options,
    )  # fmt: skip
    doubt = error_histogram(1 - 2 * np.abs(p - 0.5), truth, called)
    summary |= {
        "ledger": rows,
        "gain": ledger.gain(tiles, rows, block, objects=counted, **options),
        "marginal": ledger.marginal({**tiles, **reduced}, rows, block, **options),
        "masks": score._as_handed_in(
            masks, tiles["stack"].counts(chosen["stack"]), block, objects, options
        ),
        "reliability_of": {m: tiles[m].pooled().reliability() for m in MODELS},
        "uncertainty": {
            "measure": "combined", "risk": risk_coverage(doubt),
            "auc": {s: score._number(error_auc(doubt, s)) for s in SUBSETS},
        },
        "distance": None,
    }  # fmt: skip
    write_json(folder / "scores/summary.json", summary)
    result = read_json(folder / "result/summary.json")
    moved = {"carried": chosen["stack"], "prior_here": 0.02, "kept_because": None}
    result |= {
        "learner": "logistic", "follow": "em", "steps": [SMALLEST], "uncertainty": "combined",
        "thresholds": [{"scene": 2, "threshold": chosen["stack"] + 0.02, "followed": moved}],
    }  # fmt: skip
    write_json(folder / "result/summary.json", result)
