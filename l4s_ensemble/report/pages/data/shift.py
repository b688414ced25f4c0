"""How far the bands of splits, scenes and the holdout lie apart.

Splits are compared by the percentiles that the build kept. Scenes and the holdout have none: a
few pixels of some of their tiles are read from the store, by a seeded draw.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.report import words
from l4s_ensemble.report.pieces import figure
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import table

if TYPE_CHECKING:
    import xarray as xr

MOST_TILES = 150
"""Tiles of a scene that are read."""

PIXELS = 32
"""Pixels of each of them."""

MOST_SCENES = 12
"""Scenes compared, those with most tiles; with more nobody reads the figure."""

LEAST_TILES = 5
LARGE, MIDDLING = 1.0, 0.5
"""Standardised shifts that are flagged."""

MOST_ROWS = 12

Group = dict[str, Any]
Sample = NDArray[np.float32]


def groups(source: RunSource) -> list[Group]:
    """Quartiles of every band, by split, by scene of training, and of the holdout.

    Returns
    -------
    list of dict
        ``name``, ``kind`` (split, scene, holdout), ``tiles``, ``versus`` (what it is held
        against, None for the training split) and by band name ``p25, p50, p75`` and ``shift``:
        the difference of medians over the root mean square of the two interquartile ranges.
    """
    found: list[Group] = source.once("groups", lambda: _groups(source))
    return found


def _groups(source: RunSource) -> list[Group]:
    made = []
    base: dict[str, Any] = {}
    for split in source.splits:
        summary = source.summary(f"data/{split}")
        own = {b["name"]: {k: b[k] for k in ("p25", "p50", "p75")} for b in summary["bands"]}
        if split == "train":
            base = own
        made.append(_group(split, "split", int(summary["patches"]), own, base, "train"))
    if "scenes" not in source or "data/train" not in source:
        return made
    return made + _of_training(source)


def _of_training(source: RunSource) -> list[Group]:
    """Groups of the training split: its scenes against each other, the holdout against the rest."""
    from l4s_ensemble.data.store import positions_of, sensor_of
    from l4s_ensemble.scenes.folds import load_folds

    folds = load_folds(source["scenes"].folder)
    store = source.store("train")
    names = sensor_of(store).band_names
    at = positions_of(store, folds.patch)
    usable = (folds.role == "fit") | (folds.role == "guard")
    scenes = [int(s) for s in np.unique(folds.scene[usable]) if s >= 0]
    inside = {s: usable & (folds.scene == s) for s in scenes}
    enough = [s for s in scenes if inside[s].sum() >= LEAST_TILES]
    kept = sorted(sorted(enough, key=lambda s: -int(inside[s].sum()))[:MOST_SCENES])
    seed = source.config.seed
    sample = {s: _read(store, at[inside[s]], [seed, 41, s]) for s in kept}
    made = []
    if len(kept) > 1:
        for s in kept:
            others = np.concatenate([sample[o] for o in kept if o != s])
            made.append(
                _group(
                    f"scene {s}", "scene", int(inside[s].sum()), _quartiles(sample[s], names),
                    _quartiles(others, names), "other scenes",
                )
            )  # fmt: skip
    aside = folds.role == "holdout"
    if aside.sum() >= LEAST_TILES and usable.any():
        # Held against tiles drawn from all training tiles: a large scene counts for more.
        rest = _read(store, at[usable], [seed, 42, 0])
        held = _read(store, at[aside], [seed, 42, 1])
        made.append(
            _group(
                "holdout", "holdout", int(aside.sum()), _quartiles(held, names),
                _quartiles(rest, names), "tiles that are fitted",
            )
        )  # fmt: skip
    return made


def _read(store: xr.Dataset, positions: NDArray[np.int64], seed: list[int]) -> Sample:
    """Pixels in units, shape (pixel, band), of tiles drawn without repetition."""
    from l4s_ensemble.data.counts import to_units
    from l4s_ensemble.data.store import sensor_of, units

    rng = np.random.default_rng([abs(v) for v in seed])
    if len(positions) > MOST_TILES:
        positions = np.sort(rng.choice(positions, MOST_TILES, replace=False))
    sensor = sensor_of(store)
    image = store["image"]
    rows = []
    for n in positions:
        y, x = rng.integers(0, image.shape[2], PIXELS), rng.integers(0, image.shape[3], PIXELS)
        if sensor.level == "relative":  # its level is that of the whole tile
            rows.append(units(store, [int(n)])[0][:, y, x].T)
        else:
            counts = image[int(n)].values[:, y, x]
            rows.append(to_units(counts[np.newaxis, :, :, np.newaxis], sensor)[0, :, :, 0].T)
    return np.concatenate(rows)


def _quartiles(sample: Sample, names: tuple[str, ...]) -> dict[str, dict[str, float]]:
    levels = np.nanpercentile(sample, (25, 50, 75), axis=0)
    return {
        name: {"p25": float(a), "p50": float(b), "p75": float(c)}
        for name, a, b, c in zip(names, *levels, strict=True)
    }


def _group(
    name: str, kind: str, tiles: int, own: dict[str, Any], other: dict[str, Any], versus: str
) -> Group:
    bands = {}
    for band, q in own.items():
        shift = None if own is other or band not in other else standardised(q, other[band])
        against = other[band]["p50"] if shift is not None else None
        bands[band] = {**q, "p50_versus": against, "shift": shift}
    told = versus if any(b["shift"] is not None for b in bands.values()) else None
    return {"name": name, "kind": kind, "tiles": tiles, "versus": told, "bands": bands}


def standardised(one: dict[str, float], other: dict[str, float]) -> float | None:
    """Difference of medians over the pooled interquartile range; None if neither band varies."""
    spread = float(np.hypot(one["p75"] - one["p25"], other["p75"] - other["p25"]) / np.sqrt(2))
    step = one["p50"] - other["p50"]
    if spread <= 0:
        return 0.0 if step == 0 else None
    return step / spread


def largest(group: Group) -> tuple[str, float] | None:
    """Band of a group that has moved most, and by how much."""
    moved = [(n, b["shift"]) for n, b in group["bands"].items() if b["shift"] is not None]
    return max(moved, key=lambda m: abs(m[1])) if moved else None


def figures(source: RunSource) -> dict[str, Any]:
    """Ranges of every band, and the map of standardised shifts."""
    found = groups(source)
    if len(found) < 2:
        return {}
    units: dict[str, str] = {}
    for split in source.splits:
        units |= {b["name"]: b["unit"] for b in source.summary(f"data/{split}")["bands"]}
    ranges = [
        {
            "band": band, "unit": unit,
            "rows": [
                {"name": g["name"], "kind": g["kind"], **words.sigfig(g["bands"][band])}
                for g in found if band in g["bands"]
            ],
        }
        for band, unit in units.items()
    ]  # fmt: skip
    made = {
        "ranges": figure(
            "ranges", "Where the values of each band lie, by split and by scene",
            "The dot is the median, the line holds the middle half of the pixels. Where lines of "
            "one band hardly overlap, a model meets values it has seldom seen.",
            ranges,
        )
    }  # fmt: skip
    compared = [g for g in found if g["versus"]]
    if compared:
        made["shift"] = figure(
            "shift", "How far each band has moved, in interquartile ranges",
            "Every cell is a difference of medians over the pooled interquartile range: splits "
            "against train, a scene against the other scenes, the holdout against the fitted "
            "tiles. Orange is brighter or higher, blue darker or lower; beyond ±1 is flagged.",
            {
                "bands": list(units),
                "rows": [g["name"] for g in compared],
                "versus": [g["versus"] for g in compared],
                "value": [
                    [words.sigfig(g["bands"].get(b, {}).get("shift"), 3) for b in units]
                    for g in compared
                ],
            },
        )  # fmt: skip
    return made


def shift_table(source: RunSource) -> dict[str, Any] | None:
    """Table of the largest shifts, flagged."""
    rows = [
        {
            "group": g["name"], "versus": g["versus"], "tiles": g["tiles"], "band": name,
            "p50": b["p50"], "p50_versus": b["p50_versus"], "shift": b["shift"],
            "flag": flag(b["shift"]),
        }
        for g in groups(source) for name, b in g["bands"].items() if b["shift"] is not None
    ]  # fmt: skip
    if not rows:
        return None
    rows.sort(key=lambda r: -abs(r["shift"]))
    note = (
        "Shift is the difference of medians over the pooled interquartile range; large is beyond "
        f"{words.number(LARGE)}, middling beyond {words.number(MIDDLING)}."
    )
    if len(rows) > MOST_ROWS:
        note += f" The first {MOST_ROWS} of {len(rows)}; all are in the figure above."
    return table(
        "Largest shifts of a band",
        [
            ("group", "tiles of", "text"), ("versus", "against", "text"), ("band", "band", "text"),
            ("p50", "median", "number"), ("p50_versus", "median there", "number"),
            ("shift", "shift (IQR)", "signed"), ("flag", "flag", "text"),
            ("tiles", "tiles", "count"),
        ],
        rows[:MOST_ROWS], note=note, sortable=True,
    )  # fmt: skip


def flag(shift: float) -> str:
    """Word for a standardised shift."""
    size = abs(shift)
    return "large" if size > LARGE else "middling" if size > MIDDLING else ""
