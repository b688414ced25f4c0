"""Other classifiers on the pixel classifier's own rows, weights and folds; used by ``pixel``.

Every rival is fitted on the same random part of the rows that the stage sampled (60,000 a fold, or
all there are) with the same weights, and scores the same random pixels of tiles of the held fold:
out of fold. F1 is pooled over these pixels, at the threshold that is best for the rival itself.
The interval and the gain of ours over a rival are a bootstrap over spatial blocks, paired.
All on one core; seconds are processor seconds, of all folds.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.config import PixelConfig
from l4s_ensemble.metrics.bootstrap import f1_gain_interval
from l4s_ensemble.metrics.tiles import TileHistograms, summarise
from l4s_ensemble.pixel.blocks import BLOCK_TILES
from l4s_ensemble.run.files import read_json

if TYPE_CHECKING:
    from benchmarks.pixel import Fitted

log = logging.getLogger("l4s_ensemble")

Floats = NDArray[Any]

OURS = "LightGBM, as the stage fits it"
ALL_ROWS = "the run's own model, all rows"
BINS = 1000
_STREAM = 5051


@dataclass(frozen=True)
class Size:
    """How much is fitted and scored."""

    rows: int
    tiles: int
    pixels: int
    trees: int


USUAL = Size(rows=60_000, tiles=320, pixels=1024, trees=10**6)
QUICK = Size(rows=3_000, tiles=18, pixels=512, trees=30)


@dataclass(frozen=True)
class Sample:
    """Rows to fit on, and pixels of whole tiles to score, with all features and plain bands."""

    x: Floats
    bands: Floats
    y: NDArray[np.uint8]
    weight: Floats
    patch: NDArray[np.int64]
    scored: NDArray[np.int64]
    scored_x: Floats
    scored_bands: Floats
    truth: NDArray[np.uint8]


@dataclass(frozen=True)
class Rival:
    """A classifier: whether it sees the plain bands only, how it is made."""

    name: str
    on_bands: bool
    make: Callable[[PixelConfig, int, int], Any]


def collect(fitted: Fitted, size: Size) -> Sample:
    """Read the stage's rows and compute the features of the pixels to score."""
    folder, source = fitted.run / "pixel", fitted.source
    with np.load(folder / "rows.npz", allow_pickle=False) as about:
        patch, pixel, y, weight = (about[n] for n in ("patch", "pixel", "y", "weight"))
    rng = np.random.default_rng([fitted.model.seed, _STREAM])
    # A fold trains on about two thirds of the rows: enough are taken for that.
    most = min(len(patch), 2 * size.rows)
    chosen = np.sort(rng.choice(len(patch), most, replace=False))
    patch, pixel, y, weight = patch[chosen], pixel[chosen], y[chosen], weight[chosen]
    x = np.load(folder / "rows.npy", mmap_mode="r")[chosen]
    ids = fitted.draw(size.tiles)
    side = fitted.masks(ids[:1]).shape[1:]
    pixels = min(size.pixels, side[0] * side[1])
    drawn = np.stack(
        [
            np.sort(
                np.random.default_rng([fitted.model.seed, _STREAM, int(i)]).choice(
                    side[0] * side[1], pixels, replace=False
                )
            )
            for i in ids
        ]
    )
    scored_x = np.empty((len(ids), pixels, x.shape[1]), np.float32)
    positions = source.positions(ids)
    for start in range(0, len(ids), BLOCK_TILES):
        cube = source.tiles(positions[start : start + BLOCK_TILES])
        for i, tile in enumerate(cube, start=start):
            scored_x[i] = tile.reshape(len(tile), -1)[:, drawn[i]].T
    truth = np.take_along_axis(fitted.masks(ids).reshape(len(ids), -1), drawn, 1)
    scored_bands = np.stack([_bands(fitted, int(i), d) for i, d in zip(ids, drawn, strict=True)])
    own = np.unique(patch)
    starts = np.searchsorted(patch, [*own, own[-1] + 1])
    parts = [
        _bands(fitted, int(i), pixel[a:b])
        for i, a, b in zip(own, starts[:-1], starts[1:], strict=True)
    ]
    return Sample(
        x, np.concatenate(parts), y, weight, patch, ids, scored_x, scored_bands, truth
    )  # fmt: skip


def _bands(fitted: Fitted, patch: int, pixel: NDArray[Any]) -> Floats:
    """Stored bands of some pixels of a tile, in units, (pixel, band)."""
    from l4s_ensemble.data.store import open_store, units

    image = units(open_store(fitted.source.store), fitted.source.positions([patch]))[0]
    found: Floats = image.reshape(len(image), -1)[:, pixel].T
    return found


def rivals() -> list[Rival]:
    """All of them; ours first."""
    return [
        Rival(OURS, False, _ours),
        Rival("HistGradientBoosting, same settings", False, _histogram),
        Rival("RandomForest, 100 trees", False, _forest),
        Rival("RandomForest, 100 trees, stored bands", True, _forest),
        Rival("logistic regression", False, _logistic),
    ]


class _Ours:
    """LightGBM with the stage's own parameters, in scikit-learn's manner."""

    def __init__(self, config: PixelConfig, seed: int) -> None:
        self.config, self.seed = config, seed

    def fit(self, x: Floats, y: Floats, sample_weight: Floats) -> _Ours:
        import lightgbm as lgb

        from l4s_ensemble.pixel.settings import parameters

        settings = parameters(self.config, self.seed, 1)
        data = lgb.Dataset(x, label=y, weight=sample_weight, params=settings)
        self.booster_ = lgb.train(settings, data, num_boost_round=self.config.trees)
        return self

    def predict_proba(self, x: Floats) -> Floats:
        p = np.asarray(self.booster_.predict(x, num_threads=1))
        return np.column_stack([1 - p, p])


def _ours(config: PixelConfig, trees: int, seed: int) -> Any:
    return _Ours(config.model_copy(update={"trees": min(config.trees, trees)}), seed)


def _histogram(config: PixelConfig, trees: int, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        max_iter=min(config.trees, trees), learning_rate=config.learning_rate,
        max_leaf_nodes=config.leaves, min_samples_leaf=config.min_child_samples,
        max_features=config.feature_fraction, l2_regularization=config.l2,
        max_bins=config.max_bin, early_stopping=False, random_state=seed,
    )  # fmt: skip


def _forest(_config: PixelConfig, trees: int, seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    # scikit-learn's own settings but for this: rows that stand for many pixels get no leaf alone.
    return RandomForestClassifier(
        n_estimators=min(100, trees), min_samples_leaf=5, n_jobs=1, random_state=seed
    )


def _logistic(_config: PixelConfig, _trees: int, _seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    class Scaled:
        def __init__(self) -> None:
            self.pipeline_ = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))

        def fit(self, x: Floats, y: Floats, sample_weight: Floats) -> Any:
            return self.pipeline_.fit(x, y, logisticregression__sample_weight=sample_weight)

        def predict_proba(self, x: Floats) -> Floats:
            found: Floats = self.pipeline_.predict_proba(x)
            return found

    return Scaled()


def compare(fitted: Fitted, size: Size) -> dict[str, Any]:
    """Fit and score every rival.

    Returns
    -------
    dict
        ``f1`` (of each by name), ``rivals`` (all that the table shows), ``rows``,
        ``scored_pixels``.
    """
    # Loaded first: a limit of threads holds for what is there when it is set.
    import lightgbm  # noqa: F401
    import sklearn.ensemble
    import sklearn.linear_model  # noqa: F401
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return _compared(fitted, size)


def _compared(fitted: Fitted, size: Size) -> dict[str, Any]:
    config = PixelConfig(**read_json(fitted.run / "config.json")["pixel"])
    sample = collect(fitted, size)
    fold = fitted.folds.of(sample.scored, "fold")
    block = fitted.folds.of(sample.scored, "block")
    held = sorted(set(fold[fold >= 0].tolist()))
    rows_of = {k: _rows(fitted, sample, k, size.rows) for k in held}
    found: dict[str, tuple[TileHistograms, float, float]] = {}
    for rival in rivals():
        found[rival.name] = _score(rival, config, fitted, sample, rows_of, size)
        log.info("%s: fitted in %.0f s", rival.name, found[rival.name][1])
    found[ALL_ROWS] = _score_run(fitted, sample, held)
    base = found[OURS][0]
    base_best = base.pooled().best().value
    table = []
    for name, (tiles, fit_s, score_s) in found.items():
        told = summarise(tiles, block, seed=fitted.model.seed)
        row = {
            "name": name, "f1": told["f1"], "low": told["f1_low"], "high": told["f1_high"],
            "threshold": told["threshold"], "average_precision": told["average_precision"],
            "fit_s": fit_s, "pixels_per_s": round(sample.truth.size / score_s),
            "gain_of_ours": None, "gain_low": None, "gain_high": None,
        }  # fmt: skip
        if name != OURS:
            gain = f1_gain_interval(base.counts(base_best), tiles.counts(told["threshold"]), block)
            row |= {"gain_of_ours": gain.value, "gain_low": gain.low, "gain_high": gain.high}
        table.append(row)
    return {
        "f1": {row["name"]: round(row["f1"], 4) for row in table},
        "rivals": table,
        "rows": {str(k): len(rows) for k, rows in rows_of.items()},
        "scored_pixels": sample.truth.size,
        "blocks": len(set(block.tolist())),
    }


def _rows(fitted: Fitted, sample: Sample, fold: int, most: int) -> NDArray[np.int64]:
    own = np.flatnonzero(np.isin(sample.patch, fitted.folds.train_ids(fold)))
    if len(own) <= most:
        return own
    rng = np.random.default_rng([fitted.model.seed, _STREAM, fold])
    return np.sort(rng.choice(own, most, replace=False))


def _score(
    rival: Rival,
    config: PixelConfig,
    fitted: Fitted,
    sample: Sample,
    rows_of: dict[int, NDArray[np.int64]],
    size: Size,
) -> tuple[TileHistograms, float, float]:
    """Give the out-of-fold histograms, and the seconds of fits and scores."""
    x, scored = (
        (sample.bands, sample.scored_bands) if rival.on_bands else (sample.x, sample.scored_x)
    )
    tiles = TileHistograms.empty(sample.scored, BINS)
    spent = [0.0, 0.0]
    for k, rows in rows_of.items():
        weight = sample.weight[rows]
        made = rival.make(config, size.trees, fitted.model.seed + k)
        start = time.process_time()
        made.fit(x[rows], sample.y[rows], sample_weight=weight / weight.mean())
        middle = time.process_time()
        at = np.flatnonzero(fitted.folds.of(sample.scored, "fold") == k)
        p = made.predict_proba(scored[at].reshape(-1, scored.shape[2]))[:, 1]
        spent[0] += middle - start
        spent[1] += time.process_time() - middle
        for i, own in zip(at, p.reshape(len(at), -1), strict=True):
            tiles.add(int(i), own, sample.truth[i])
    return tiles, spent[0], spent[1]


def _score_run(
    fitted: Fitted, sample: Sample, held: list[int]
) -> tuple[TileHistograms, float, float]:
    """Score with the boosters of the run, which were fitted on all sampled rows."""
    from l4s_ensemble.metrics.histogram import sigmoid

    tiles = TileHistograms.empty(sample.scored, BINS)
    fit_s = score_s = 0.0
    for k in held:
        fit_s += read_json(fitted.run / "pixel" / f"fold_{k}.json")["seconds_fit"]
        at = np.flatnonzero(fitted.folds.of(sample.scored, "fold") == k)
        x = sample.scored_x[at].reshape(-1, sample.scored_x.shape[2])
        start = time.process_time()
        raw = np.asarray(fitted.model.booster(k).predict(x, raw_score=True, num_threads=1))
        score_s += time.process_time() - start
        p = sigmoid(raw + fitted.model.logit_shift).reshape(len(at), -1)
        for i, own in zip(at, p, strict=True):
            tiles.add(int(i), own, sample.truth[i])
    return tiles, fit_s, score_s


def print_rivals(told: dict[str, Any]) -> None:
    """Show the table."""
    most = max(told["rows"].values(), default=0)
    print(
        f"At equal data: at most {most:,} rows a fold, {told['scored_pixels']:,} pixels scored "
        f"out of fold, {told['blocks']} blocks, one core\n"
    )
    print(
        "| classifier | F1 | 95 % interval | gain of ours | 95 % interval | fit, s | pixels/s |\n"
        "|---|--:|--:|--:|--:|--:|--:|"
    )
    for r in told["rivals"]:
        inside = "" if r["low"] is None else f"{r['low']:.3f}–{r['high']:.3f}"
        gain = "" if r["gain_of_ours"] is None else f"{r['gain_of_ours']:+.3f}"
        width = "" if r["gain_low"] is None else f"{r['gain_low']:+.3f} … {r['gain_high']:+.3f}"
        print(
            f"| {r['name']} | {r['f1']:.3f} | {inside} | {gain} | {width} "
            f"| {r['fit_s']:.1f} | {r['pixels_per_s']:,} |"
        )
    print(
        "\nEach at its own best threshold. The last line has the fitting seconds that the run "
        "noted, on the wall and with its number of threads."
    )
