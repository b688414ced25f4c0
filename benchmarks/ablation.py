"""Which groups of features earn their place: group-out and group-in on real tiles.

    python -m benchmarks.ablation --rgb L4S_RGB_FOLDER --bands14 L4S_FOLDER [--work runs/ablation]

Four protocols, each fitted anew for every choice of features:

* ``out of fold``: true-colour fitting tiles, two of the four spatial folds. What the default set
  is chosen on.
* ``seen place``: fitted on all fitting tiles, scored on the holdout columns.
* ``unseen scene``: fitted on the fitting tiles of scene 1, scored on scene 2; its ``carried`` F1 is
  at the best threshold of the out-of-fold scores of scene 1.
* ``14 bands``: spatial folds over the tiles with all bands.

Every choice is fitted as the pixel classifier is. True colour, whose levels are relative: the mean
logit of two boosters, one on all features with the directions that physics expects, one free on
those in which the level of the scene cancels (see `l4s_ensemble.features.physics`). All bands: one
free booster. Every F1 is the pooled F1 at the best
threshold of its own scores, on a fixed random draw of pixels of each tile. Intervals and gains are
a paired bootstrap over spatial blocks. ``out``: everything but the group. ``in``: reflectance,
indices and the group, against those two alone. A gain is F1 with the group less F1 without it.
``top``: the most used features of the full model; ``set``: several groups left out together; the
gain of these two is their F1 less that of everything.

What has been fitted is kept in the work folder; a second run goes on where the first was stopped.
The last line is JSON; the table of all results is written to ``--out``.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.config import PixelConfig
from l4s_ensemble.features.registry import GROUPS, FeaturePlan
from l4s_ensemble.metrics.bootstrap import f1_gain_interval
from l4s_ensemble.metrics.counts import f1_pooled
from l4s_ensemble.metrics.tiles import TileHistograms, summarise
from l4s_ensemble.pipeline import open_run
from l4s_ensemble.run.files import read_json, write_json
from l4s_ensemble.run.log import start_logging

log = logging.getLogger("l4s_ensemble")

ALONE = ("reflectance", "indices")
"""What a pixel says by itself: the start of group-in."""

SCORED_PIXELS = 1024
TOP = (30, 45, 60, 80)
WITHOUT: dict[str, tuple[str, ...]] = {
    "no reflectance, light": ("reflectance", "light"),
    "no reflectance, indices, light": ("reflectance", "indices", "light"),
    "no reflectance, light, water": ("reflectance", "light", "water"),
    "no reflectance, light, water, terrain": ("reflectance", "light", "water", "terrain"),
    "no reflectance, light, morphology": ("reflectance", "light", "morphology"),
}
"""Several groups left out together, tried after each had been left out alone."""
SETTINGS = PixelConfig(
    positives_max=25_000, trees=120, leaves=31, max_bin=63, learning_rate=0.1, l2=30.0
)

NOTE = (
    "Boosters of 120 trees of 31 leaves, two for true colour; seed 0; 13,000 landslide rows and "
    "four times as many others; "
    "F1 at the best threshold of the scored pixels; paired bootstrap over spatial blocks."
)
PROTOCOLS = {
    "out of fold": "true colour, two of the four spatial folds of the fitting tiles",
    "seen place": "true colour, fitted on the fitting tiles, scored on columns 24-30 of scene 1",
    "unseen scene": "true colour, fitted on scene 1, scored on scene 2",
    "14 bands": "spatial folds over the pairs with all bands",
}


@dataclass(frozen=True)
class Part:
    """Tiles to fit on, and tiles to score with that fit."""

    fit: NDArray[np.int64]
    score: NDArray[np.int64]


class World:
    """One folder of tiles with all features of a sample of its pixels.

    Parameters
    ----------
    work : Path
        Run folder; gets the matrices too.
    preset : str
    overrides : sequence of str
    data : Path
    jobs : int
    """

    def __init__(
        self, work: Path, preset: str, overrides: Sequence[str], data: Path, jobs: int
    ) -> None:
        from l4s_ensemble.data.store import open_store, sensor_of
        from l4s_ensemble.features.build import plan_from_file
        from l4s_ensemble.pixel.sampling import plan_pixels
        from l4s_ensemble.scenes.folds import load_folds

        groups = f"features.groups=[{','.join(GROUPS)}]"
        run = open_run(work, source=preset, overrides=[groups, *overrides], data=data, jobs=jobs)
        run.fit(until=("features",))
        self.work, self.jobs, self.seed = work, jobs, run.config.seed
        self.folds = load_folds(work / "scenes")
        self.plan: FeaturePlan = plan_from_file(work / "features" / "features.json")
        dataset = open_store(work / "data" / "train" / "patches.zarr")
        self.relative = sensor_of(dataset).level == "relative"
        known = {int(p): i for i, p in enumerate(dataset["patch"].values)}
        fit, held = self.folds.fit_ids, self.folds.holdout_ids
        self.scored = np.sort(np.concatenate([fit, held]))

        def masks_of(ids: NDArray[np.int64]) -> NDArray[np.uint8]:
            found: NDArray[np.uint8] = (
                dataset["mask"].isel(patch=[known[int(i)] for i in ids]).values
            )
            return found

        self.rows = plan_pixels(fit, masks_of(fit), SETTINGS, self.seed)
        masks = masks_of(self.scored).reshape(len(self.scored), -1)
        self.drawn = np.stack(
            [
                np.sort(
                    np.random.default_rng([self.seed, 0xAB1A, int(i)]).choice(
                        masks.shape[1], SCORED_PIXELS, replace=False
                    )
                )
                for i in self.scored
            ]
        ).astype(np.int32)
        self.truth = np.take_along_axis(masks, self.drawn.astype(np.int64), 1)
        self.x_fit, self.x_score = self._matrices()

    def _matrices(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        from l4s_ensemble.features.source import FeatureSource
        from l4s_ensemble.pixel.blocks import write_sampled_rows
        from l4s_ensemble.pixel.sampling import PixelPlan
        from l4s_ensemble.run.files import digest_of

        mark = digest_of(self.work / "features" / "features.json")[:12]
        fit, score = (self.work / f"{name}-{mark}.npy" for name in ("fit", "score"))
        source = FeatureSource.beside(
            self.work / "features", self.work / "data" / "train" / "patches.zarr"
        )
        if not fit.is_file():
            write_sampled_rows(fit, source.to_train(), self.rows, self.jobs)
        if not score.is_file():
            n = self.drawn.size
            every = PixelPlan(
                np.repeat(self.scored, SCORED_PIXELS), self.drawn.ravel(),
                np.zeros(n, np.uint8), np.ones(n), self.scored,
                np.zeros((len(self.scored), 3), int),
            )  # fmt: skip
            write_sampled_rows(score, source, every, self.jobs)
        return np.load(fit, mmap_mode="r"), np.load(score, mmap_mode="r")

    def score(
        self, parts: Sequence[Part], names: Sequence[str]
    ) -> tuple[TileHistograms, dict[str, float]]:
        """Fit and score every part with some of the features.

        Returns
        -------
        tiles : TileHistograms
            Of all scored tiles of all parts.
        used : dict of str to float
            Share of the gain of each feature, mean over parts and views.
        """
        from l4s_ensemble.metrics.histogram import sigmoid

        place = {int(p): i for i, p in enumerate(self.scored)}
        tiles = TileHistograms.empty(np.concatenate([p.score for p in parts]), 1000)
        used = dict.fromkeys(names, 0.0)
        done = 0
        for part in parts:
            at = np.array([place[int(i)] for i in part.score])
            raw = self._views(part.fit, at, names, used)
            for p, truth in zip(sigmoid(raw).reshape(len(at), -1), self.truth[at], strict=True):
                tiles.add(done, p, truth)
                done += 1
        return tiles, {name: value / len(parts) for name, value in used.items()}

    def _views(
        self,
        fit: NDArray[np.int64],
        at: NDArray[np.intp],
        names: Sequence[str],
        used: dict[str, float],
    ) -> NDArray[np.float64]:
        """Mean logit of both views of the pixel classifier; adds to `used`."""
        import lightgbm as lgb

        from l4s_ensemble.pixel.settings import parameters

        chosen, weight = self.rows.rows_of(fit), self.rows.weights_of(fit)
        if self.relative:  # many tiles: half of the rows say the same
            chosen, weight = chosen[::2], weight[::2]
        lines = (at[:, None] * SCORED_PIXELS + np.arange(SCORED_PIXELS)).ravel()
        known = {f.name: f for f in self.plan.features}
        views = [list(names)]
        if self.relative:
            views += [kept for kept in [[n for n in names if known[n].relational]] if kept]
        raw = np.zeros(len(lines))
        for view, kept in enumerate(views):
            columns = [self.plan.names.index(n) for n in kept]
            settings = parameters(SETTINGS, self.seed + view, self.jobs)
            if view == 0 and self.relative:
                settings["monotone_constraints"] = [known[n].expected for n in kept]
            data = lgb.Dataset(
                self.x_fit[chosen][:, columns], label=self.rows.landslide[chosen],
                weight=weight / weight.mean(), params=settings,
            )  # fmt: skip
            booster = lgb.train(settings, data, num_boost_round=SETTINGS.trees)
            gain = booster.feature_importance("gain")
            for name, share in zip(kept, gain / max(gain.sum(), 1e-9), strict=True):
                used[name] += float(share) / len(views)
            raw += booster.predict(
                np.asarray(self.x_score[lines])[:, columns], raw_score=True, num_threads=self.jobs
            ) / len(views)
        return raw


def choices(
    plan: FeaturePlan, used: dict[str, float] | None
) -> Iterator[tuple[str, str, list[str]]]:
    """Give direction, group and names of every choice of features to fit."""
    present = [g for g in GROUPS if any(f.group == g for f in plan.features)]

    def names(groups: Sequence[str]) -> list[str]:
        return [f.name for f in plan.features if f.group in groups]

    yield "all", "", names(present)
    yield "alone", "", names(ALONE)
    for group in present:
        yield "out", group, names([g for g in present if g != group])
        if group not in ALONE:
            yield "in", group, names([*ALONE, group])
    tried: list[list[str]] = []
    for label, groups in WITHOUT.items():
        if set(groups) & set(present):
            left = names([g for g in present if g not in groups])
            if left not in tried and len(set(groups) & set(present)) > 1:
                tried.append(left)
                yield "set", label, left
    if used is not None:
        by_use = sorted(used, key=lambda n: -used[n])
        for n in TOP:
            if n < len(by_use):
                yield "top", str(n), [name for name in plan.names if name in set(by_use[:n])]


def protocols(world: World, name: str) -> dict[str, list[Part]]:
    """Parts of every protocol that a world serves."""
    folds = world.folds
    own = [Part(folds.train_ids(k), folds.held_ids(k)) for k in range(folds.n_folds)]
    if name == "14 bands":
        return {name: own}
    scene = folds.of(folds.fit_ids, "scene")
    return {
        "out of fold": own[:2],
        "seen place": [Part(folds.fit_ids, folds.holdout_ids)],
        "unseen scene": [Part(folds.fit_ids[scene == 1], folds.fit_ids[scene == 2])],
    }


def measure(world: World, name: str) -> list[dict[str, Any]]:
    """Fit every choice under every protocol of a world; what is known already is kept."""
    from l4s_ensemble.run.files import digest_of

    mark = digest_of(world.work / "features" / "features.json")[:12]
    rows: list[dict[str, Any]] = []
    used: dict[str, float] | None = None
    thresholds: dict[tuple[str, str], float] = {}
    for protocol, parts in protocols(world, name).items():
        kept: dict[tuple[str, str], TileHistograms] = {}
        pending = list(choices(world.plan, used))
        while pending:
            direction, group, names = pending.pop(0)
            stem = f"{mark}-{protocol}-{direction}-{group}".replace(" ", "_")
            path, note = world.work / f"{stem}.npz", world.work / f"{stem}.json"
            started = time.monotonic()
            if path.is_file() and note.is_file():
                tiles, use = TileHistograms.load(path), read_json(note)
            else:
                tiles, use = world.score(parts, names)
                tiles.save(path)
                write_json(note, use)
            kept[direction, group] = tiles
            if direction == "all" and used is None:
                used = use
                pending = [c for c in choices(world.plan, used) if c[0] != "all"]
            row = _row(world, protocol, direction, group, len(names), kept, thresholds)
            row["seconds"] = round(time.monotonic() - started, 1)
            log.info(
                "%s %s %s: F1 %.4f, gain %s", protocol, direction, group, row["f1"], row["gain"]
            )
            rows.append(row)
    return rows


def _row(
    world: World,
    protocol: str,
    direction: str,
    group: str,
    features: int,
    kept: dict[tuple[str, str], TileHistograms],
    thresholds: dict[tuple[str, str], float],
) -> dict[str, Any]:
    tiles = kept[direction, group]
    block = world.folds.of(tiles.patch, "block")
    told = summarise(tiles, block)
    row = {
        "protocol": protocol, "direction": direction, "group": group, "features": features,
        "f1": told["f1"], "low": told["f1_low"], "high": told["f1_high"],
        "average_precision": told["average_precision"], "blocks": told["blocks"],
        "tiles": told["tiles"], "gain": None, "gain_low": None, "gain_high": None,
    }  # fmt: skip
    against = {
        "set": ("all", ""),
        "out": ("all", ""),
        "in": ("alone", ""),
        "top": ("all", ""),
        "alone": ("all", ""),
    }
    if direction in against:
        base = kept[against[direction]]
        pair = [tiles.counts(told["threshold"]), base.counts(base.pooled().best().value)]
        gain = f1_gain_interval(*(pair[::-1] if direction == "out" else pair), block)
        row |= {"gain": gain.value, "gain_low": gain.low, "gain_high": gain.high}
    if protocol == "out of fold":
        scene = world.folds.of(tiles.patch, "scene")
        thresholds[direction, group] = tiles.subset(scene == 1).pooled().best().value
    elif (direction, group) in thresholds:
        row["carried"] = f1_pooled(tiles.counts(thresholds[direction, group]))
    return row


def _for_the_page(row: dict[str, Any]) -> dict[str, Any]:
    """Give a row as the features page reads it from a run's ``features/ablation.json``."""
    if row["direction"] in {"out", "in"}:
        return row
    label = {"all": "everything", "alone": " and ".join(ALONE), "top": f"{row['group']} most used"}
    return row | {"direction": "set", "group": label.get(row["direction"], row["group"])}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rgb", type=Path, help="true-colour training tiles")
    parser.add_argument("--bands14", type=Path, help="tiles with all bands")
    parser.add_argument("--work", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--out", type=Path, help="JSON file for the table")
    parser.add_argument("--jobs", type=int, default=2)
    words = parser.parse_args()
    start_logging(logging.INFO)
    rows: list[dict[str, Any]] = []
    if words.bands14 is not None:
        blocks = ["scenes.folds=8", "scenes.block_tiles=3"]
        world = World(words.work / "bands14", "default", blocks, words.bands14, words.jobs)
        rows += measure(world, "14 bands")
    if words.rgb is not None:
        world = World(words.work / "rgb", "l4s-rgb", [], words.rgb, words.jobs)
        rows += measure(world, "true colour")
    print("| protocol | choice | features | F1 | 95 % interval | gain | 95 % interval | carried |")
    print("|---|---|--:|--:|--:|--:|--:|--:|")
    for r in rows:
        gain = "" if r["gain"] is None else f"{r['gain']:+.4f}"
        width = "" if r["gain_low"] is None else f"{r['gain_low']:+.4f} … {r['gain_high']:+.4f}"
        carried = f"{r['carried']:.3f}" if "carried" in r else ""
        inside = "" if r["low"] is None else f"{r['low']:.3f}–{r['high']:.3f}"
        print(
            f"| {r['protocol']} | {r['direction']} {r['group']} | {r['features']} "
            f"| {r['f1']:.4f} | {inside} | {gain} | {width} | {carried} |"
        )
    if words.out is not None:
        told = [_for_the_page(r) for r in rows]
        write_json(words.out, {"note": NOTE, "protocols": PROTOCOLS, "rows": told})
    best = {r["protocol"]: round(r["f1"], 4) for r in rows if r["direction"] == "all"}
    print(json.dumps({"f1_all": best, "rows": len(rows)}))


if __name__ == "__main__":
    main()
