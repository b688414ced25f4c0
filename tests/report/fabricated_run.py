"""A small run folder in the contract's forms: real stores and folds, made-up scores."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr
from scipy import ndimage

from l4s_ensemble.config import Config, build
from l4s_ensemble.data import store
from l4s_ensemble.data.bands import L4S_BANDS
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.metrics.tiles import TileHistograms, summarise
from l4s_ensemble.pixel.rule import ndvi_slope
from l4s_ensemble.predict import likeness
from l4s_ensemble.run.files import write_json
from l4s_ensemble.run.stage import StageContext
from l4s_ensemble.scenes import folds as scenes
from l4s_ensemble.scenes.stage import stage as make_scenes
from l4s_ensemble.stack import ledger

FEATURES = (
    ("ndvi", "indices", "1", "(B8 - B4) / (B8 + B4)"), ("ndwi", "indices", "1",
    "(B3 - B8) / (B3 + B8)"),
    ("slope_deg", "terrain", "degree", "slope"), ("dem_m", "terrain", "metre", "dem"),
    ("b4", "reflectance", "DN", "B4"), ("b8", "reflectance", "DN", "B8"),
    ("b11", "reflectance", "DN", "B11"), ("ndvi_mean9", "context", "1", "mean of ndvi, 9 px"),
    ("slope_mean21", "context", "degree", "mean of slope, 21 px"), ("noise", "context", "1", "?"),
)  # fmt: skip
MODELS = ("pixel", "unet", "mean", "stack")


def fabricate(
    folder: Path,
    *,
    train: tuple[int, int] = (1, 15),
    valid: tuple[int, int] = (2, 2),
    seed: int = 0,
    settings: dict[str, Any] | None = None,
    gain: float = 1.0,
) -> Path:
    """Write ``folder/data`` (official layout) and ``folder/run``; return the run folder."""
    rng = np.random.default_rng(seed)
    run = folder / "run"
    config = build(
        {
            "name": "fabricated",
            "data": {"root": str(folder / "data")},
            "scenes": {"folds": 3, "block_tiles": 2},
            **(settings or {}),
        }
    )
    grids = {"train": train, "valid": valid}
    _write_dataset(folder / "data", grids, rng)
    for split in grids:
        params = {"root": str(folder / "data"), "split": split, "sensor": config.data.sensor}
        _real_stage(run, f"data/{split}", config, store.stage, params)
    _real_stage(run, "scenes", config, make_scenes, {}, needs=("data/train",))
    tiles = store.open_store(run / "data/train")
    folds = scenes.load_folds(run / "scenes")
    ids = np.sort(folds.fit_ids)
    truth = tiles["mask"].sel(patch=ids).values
    fold, block = folds.of(ids, "fold"), folds.of(ids, "block")

    logits = {
        "pixel": _logits(truth, rng, 1.2 * gain, 2.0), "unet": _logits(truth, rng, 2.2 * gain, 5.0)
    }  # fmt: skip
    logits["stack"] = 0.4 * logits["pixel"] + 0.8 * logits["unet"]
    logits["mean"] = (logits["pixel"] + logits["unet"]) / 2
    histograms = {m: _histograms(ids, logits[m], truth) for m in MODELS}

    _features(run, config, tiles, folds, rng)
    for model in ("pixel", "unet"):
        out = run / model
        _write_array(out / "oof.zarr", "logit", logits[model], ids, fold)
        histograms[model].save(out / "tiles.npz")
        _base(run, config, model, histograms[model], fold, block, folds, rng)
    _stack(run, config, histograms, logits["stack"], ids, fold, block)
    _predict(run, config, "valid", rng, gain)
    write_json(run / "config.json", config.model_dump(mode="json"))
    return run


def manifest(run: Path, stage: str, config: Config, seconds: float = 12.3) -> None:
    write_json(
        run / stage / "manifest.json",
        {
            "stage": stage, "fingerprint": "0123456789abcdef", "digest": "0123456789abcdef",
            "ingredients": {}, "seed": config.seed, "config": config.model_dump(mode="json"),
            "versions": {"python": "3.11.9", "numpy": "2.1.0"}, "platform": "Linux x86_64, 2 cores",
            "git": None, "started": "2026-11-22T10:00:00+00:00", "seconds": seconds,
            "peak_memory_mb": 512.0,
        },
    )  # fmt: skip


def _real_stage(
    run: Path, name: str, config: Config, function: Any, params: Any, needs: tuple[str, ...] = ()
) -> None:
    out = run / name
    out.mkdir(parents=True)
    summary = function(StageContext(run, out, config, params, needs))
    write_json(out / "summary.json", summary)
    manifest(run, name, config, 2.5)


def _write_dataset(root: Path, grids: dict[str, tuple[int, int]], rng: np.random.Generator) -> None:
    lines = [("split", "patch", "scene", "row", "col")]
    for scene, (split, (rows, cols)) in enumerate(grids.items(), start=1):
        base = root / f"{split.capitalize()}Data"
        for kind in ("img", "mask"):
            (base / kind).mkdir(parents=True)
        for n in range(rows * cols):
            counts, mask = _tile(rng, empty=n % 5 == 4)
            stored = np.moveaxis(counts, 0, -1) / [b.divisor for b in L4S_BANDS]
            with h5py.File(base / "img" / f"image_{n + 1}.h5", "w") as file:
                file["img"] = stored
            with h5py.File(base / "mask" / f"mask_{n + 1}.h5", "w") as file:
                file["mask"] = mask
            lines.append((split, n + 1, scene, n // cols, n % cols))
    with (root / "scenes.csv").open("w", newline="") as file:
        csv.writer(file).writerows(lines)


def _tile(rng: np.random.Generator, empty: bool) -> tuple[np.ndarray, np.ndarray]:
    """One tile: forest on a hill, some bare streaks of landslide."""
    coarse = ndimage.zoom(rng.normal(size=(10, 10)), 14, order=3)[:128, :128]
    fine = rng.normal(size=(128, 128))
    slides = ndimage.gaussian_filter(rng.normal(size=(128, 128)), (9, 4))
    mask = (slides > np.quantile(slides, 0.96)) & (coarse > -0.5)
    mask = np.zeros_like(mask) if empty else mask
    counts = np.empty((14, 128, 128))
    for i, b in enumerate(L4S_BANDS):
        if b.name == "slope":
            counts[i] = np.clip(18 + 8 * coarse + 6 * mask + fine, 0, 60)
        elif b.name == "dem":
            counts[i] = 700 + 90 * coarse + 10 * np.arange(128) / 12
        else:
            bare = {"B8": -600, "B7": -500, "B4": 500, "B3": 350, "B2": 250}.get(b.name, 200)
            level = {"B8": 2800, "B7": 2500, "B4": 500, "B3": 650, "B2": 420}.get(b.name, 1500)
            counts[i] = level * (1 + 0.12 * coarse + 0.04 * fine) + bare * mask
    return np.round(np.clip(counts, 1, 60000)), mask.astype(np.uint8)


def _logits(truth: np.ndarray, rng: np.random.Generator, skill: float, size: float) -> np.ndarray:
    """Log-odds that know the truth, blurred and disturbed."""
    noise = np.stack([ndimage.gaussian_filter(rng.normal(size=t.shape), size) for t in truth])
    blurred = np.stack([ndimage.gaussian_filter(t.astype(float), 1.5) for t in truth])
    return (-5.0 + 1.8 * noise / noise.std() + skill * 4.2 * blurred).astype(np.float32)


def _histograms(ids: np.ndarray, logit: np.ndarray, truth: np.ndarray) -> TileHistograms:
    made = TileHistograms.empty(ids)
    for i in range(len(ids)):
        made.add(i, sigmoid(logit[i]), truth[i])
    return made


def _write_array(
    path: Path, name: str, values: np.ndarray, ids: np.ndarray, fold: Any = None
) -> None:
    dims = ("fold_model", "patch", "y", "x")[-values.ndim :]
    coords: dict[str, Any] = {"patch": ids}
    if fold is not None:
        coords["fold"] = ("patch", np.asarray(fold, np.int64))
    made = xr.Dataset({name: (dims, values)}, coords, {"seed": 0})
    made.to_zarr(path, mode="w", zarr_format=3, consolidated=False)


def _features(run: Path, config: Config, tiles: xr.Dataset, folds: Any, rng: Any) -> None:
    n = 3000
    y = (np.arange(n) % 5 == 0).astype(np.uint8)
    strength = np.linspace(2.0, 0.0, len(FEATURES))
    values = rng.normal(size=(n, len(FEATURES))) + strength * y[:, None]
    rows = [
        {
            "name": name, "group": group, "unit": unit, "formula": formula, "source": "textbook",
            "needs": ["B4"], "support_px": 4 * i, "auc": 0.5 + 0.2 * strength[i],
            "best_f1": 0.1 + 0.1 * strength[i],
            "mean_landslide": float(strength[i]), "mean_other": 0.0, "p01": -2.3, "p50": 0.1,
            "p99": 2.6,
        }
        for i, (name, group, unit, formula) in enumerate(FEATURES)
    ]  # fmt: skip
    out = run / "features"
    out.mkdir(parents=True)
    write_json(out / "features.json", {"features": rows, "version": 1})
    np.savez(
        out / "sample.npz", X=values.astype(np.float32), y=y, patch=rng.choice(folds.fit_ids, n),
        fold=np.zeros(n, np.int64), weight=np.ones(n),
    )  # fmt: skip
    summary = {
        "features": rows, "left_out": [{"name": "ndsi", "reason": "band B11 is missing"}],
        "sample": {"pixels": n, "positives": int(y.sum())}, "patches_per_s": 31.4,
    }  # fmt: skip
    write_json(out / "summary.json", summary)
    manifest(run, "features", config, 8.0)


def _base(
    run: Path, config: Config, model: str, tiles: TileHistograms, fold: Any, block: Any, folds: Any,
    rng: Any
) -> None:  # fmt: skip
    whole = summarise(tiles, block, resamples=200)
    pooled = tiles.pooled()
    rows = []
    for k in range(folds.n_folds):
        own = summarise(
            tiles.subset(fold == k), block[fold == k], threshold=whole["threshold"], resamples=100
        )
        rows.append(
            {
                "fold": k, "held_tiles": len(folds.held_ids(k)),
                "buffer_tiles": len(folds.buffer_ids(k)),
                "train_tiles": len(folds.train_ids(k)), "rows": 900, "positives": 180,
                "seconds_fit": 1.5,
                "seconds_score": 0.7, "seconds": 20.0, "f1": own["f1"],
                "precision": own["precision"],
                "recall": own["recall"],
                "epochs": [
                    {"epoch": e, "loss": 1.1 / (e + 1) + 0.1 * k, "lr": 1e-3 * (1 - e / 6),
                    "seconds": 3.0,
                     "patches_per_s": 20.0}
                    for e in range(6)
                ],
            }
        )  # fmt: skip
    summary = {
        "folds": rows, "oof": whole, "histogram": pooled.as_dict(),
        "reliability": pooled.reliability(),
        "seconds": 30.0,
    }  # fmt: skip
    if model == "pixel":
        summary["rule"] = ndvi_slope(
            run / "data/train/patches.zarr", folds, tiles.patch, tiles.counts(whole["threshold"]),
            resamples=100,
        )  # fmt: skip
        names = [f[0] for f in FEATURES]
        groups = {f[0]: f[1] for f in FEATURES}
        share = np.linspace(1, 0.02, len(names))
        values = rng.normal(size=(400, len(names))).astype(np.float32)
        push = (values * share).astype(np.float32)
        np.savez(
            run / model / "contributions.npz", values=values, contributions=push,
            names=np.array(names),
            expected=np.zeros(400, np.float32), y=np.zeros(400, np.uint8), patch=np.ones(400, int),
            fold=np.zeros(400, int),
        )  # fmt: skip
        summary |= {
            "features": names, "rows": {"pixels": 2700, "positives": 540}, "patches_per_s": 12.5,
            "contribution": [
                {"name": n, "group": groups[n], "mean_abs": float(m), "direction": 0.9}
                for n, m in zip(names, np.abs(push).mean(0), strict=True)
            ],
        }  # fmt: skip
    else:
        summary |= {
            "network": "unet", "parameters": 1_234_567, "precision": "float32",
            "channels_last": True,
            "device": "cpu", "bands": ["B2", "B3", "B4", "slope"],
        }  # fmt: skip
    write_json(run / model / "summary.json", summary)
    manifest(run, model, config, 31.0 if model == "pixel" else 75.5)


def _stack(
    run: Path, config: Config, tiles: dict[str, TileHistograms], logit: Any, ids: Any, fold: Any,
    block: Any
) -> None:  # fmt: skip
    out = run / "stack"
    _write_array(out / "oof.zarr", "probability", sigmoid(logit), ids, fold)
    for name, one in tiles.items():
        one.save(out / f"tiles_{name}.npz")
    tiles["stack"].save(out / "tiles.npz")
    rows = ledger.rows(tiles, block, resamples=200)
    last, pooled = rows[-1], tiles["stack"].pooled()
    names = ["logit_pixel", "logit_unet", "lower_logit", "mean9_logit_pixel", "mean9_logit_unet"]
    write_json(
        out / "summary.json",
        {
            "inputs": names, "coefficients": [{"name": n, "value": 0.9 - 0.4 * i} for i,
            n in enumerate(names)],
            "intercept": -3.2, "rows": 5000, "folds": [0, 1, 2], "ledger": rows,
            "gain": ledger.gain(tiles, rows, block, resamples=200), "threshold": last["threshold"],
            "plateau": [last["plateau_low"], last["plateau_high"]], "histogram": pooled.as_dict(),
            "reliability": pooled.reliability(),
            "agreement": {"both_right": 5200, "only_pixel": 640, "only_unet": 2100,
            "both_wrong": 1800},
        },
    )  # fmt: skip
    manifest(run, "stack", config, 4.2)


def _predict(run: Path, config: Config, split: str, rng: Any, gain: float) -> None:
    tiles = store.open_store(run / "data" / split)
    ids, truth = tiles["patch"].values, tiles["mask"].values
    base = run / "predict" / split
    params = {"data": f"data/{split}", "holdout": False, "split": split}
    needs = (f"data/{split}", "scenes")
    _real_stage(run, f"predict/{split}/likeness", config, likeness.stage, params, needs=needs)
    logits = {}
    for model, skill, size in (("pixel", 1.2, 2.0), ("unet", 2.2, 5.0)):
        both = np.stack([_logits(truth, rng, skill * gain, size) for _ in range(2)])
        logits[model] = both.mean(axis=0)
        _write_array(base / model / "logit.zarr", "logit", both, ids)
        write_json(base / model / "summary.json", {"patches": len(ids), "seconds": 1.0})
        manifest(run, f"predict/{split}/{model}", config, 3.0)
    logits["stack"] = 0.4 * logits["pixel"] + 0.8 * logits["unet"]
    logits["mean"] = (logits["pixel"] + logits["unet"]) / 2
    probability = sigmoid(logits["stack"])
    from l4s_ensemble.run.files import read_json

    fitted = read_json(run / "stack" / "summary.json")
    chosen = {r["model"]: r["threshold"] for r in fitted["ledger"]}
    called = probability >= fitted["threshold"]
    _write_array(base / "result" / "probability.zarr", "probability", probability, ids)
    write_json(
        base / "result" / "summary.json",
        {
            "split": split, "patches": len(ids), "threshold": fitted["threshold"],
            "predicted_pixels": int(called.sum()), "predicted_share": float(called.mean()),
            "landslide_patches": int(called.any(axis=(1, 2)).sum()), "fold_models": 2,
            "seconds": 0.8,
            "submission": {"path": "submission.zip", "files": len(ids), "sha256": "ab" * 32,
            "verified": True},
        },
    )  # fmt: skip
    manifest(run, f"predict/{split}/result", config, 1.1)
    scored = {m: _histograms(ids, logits[m], truth) for m in MODELS}
    block = np.arange(len(ids))
    rows = ledger.rows(scored, block, thresholds=chosen, resamples=200)
    for name, one in scored.items():
        (base / "scores").mkdir(parents=True, exist_ok=True)
        one.save(base / "scores" / f"tiles_{name}.npz")
    scored["stack"].save(base / "scores" / "tiles.npz")
    counts, pooled = scored["stack"].counts(chosen["stack"]), scored["stack"].pooled()
    write_json(
        base / "scores" / "summary.json",
        {
            "split": split, "patches": len(ids), "block_kind": "spatial", "ledger": rows,
            "gain": ledger.gain(scored, rows, block, resamples=200), "threshold": chosen["stack"],
            "histogram": pooled.as_dict(), "reliability": pooled.reliability(),
            "tiles": [
                {"patch": int(p), "tp": int(a), "fp": int(b), "fn": int(c), "tn": int(d)}
                for p, a, b, c, d in zip(ids, counts.tp, counts.fp, counts.fn, counts.tn,
                strict=True)
            ],
        },
    )  # fmt: skip
    manifest(run, f"predict/{split}/scores", config, 0.9)
