"""Two runs on one page: scores with paired intervals, settings that differ, tiles that changed."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.errors import ConfigError, RunError
from l4s_ensemble.metrics.bootstrap import Interval, f1_gain_interval
from l4s_ensemble.metrics.counts import Counts
from l4s_ensemble.predict.summary import ScoresSummary
from l4s_ensemble.report import html, words
from l4s_ensemble.report.headline import MODEL_NAMES, name_of
from l4s_ensemble.report.page import blank, lines, section
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import Column, table
from l4s_ensemble.run.files import write_json, write_text
from l4s_ensemble.stack.summary import ModelRow, StackSummary

TRAIN = "train"
"""Place of the out-of-fold scores; every other place is a predicted split."""

LISTED = 12
"""Tiles in a table of those that changed most."""

REPORTS = Path("reports")
"""Where reports stand unless `--out` says otherwise."""

_SCORES: tuple[Column, ...] = (
    ("where", "text"), ("name", "model", "text"), ("f1_a", "F1 of A", "score"),
    ("f1_b", "F1 of B", "score"), ("value", "B minus A", "gain"),
    ("span", "95 % interval", "text"), ("verdict", "text"),
)  # fmt: skip
_TILES: tuple[Column, ...] = (
    ("patch", "tile", "text"), ("reference", "landslide pixels", "count"),
    ("wrong_a", "wrong pixels of A", "count"), ("wrong_b", "wrong pixels of B", "count"),
    ("fewer", "fewer wrong in B", "count"),
)  # fmt: skip

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Side:
    """One of two runs; its name is that of the folder, with those above where both are alike."""

    name: str
    source: RunSource

    @property
    def places(self) -> list[str]:
        """Where this run has scores: splits first, which decide what may be claimed."""
        return [p for p in (*self.source.predicted, TRAIN) if self.rows(p)]

    def rows(self, place: str) -> dict[str, ModelRow]:
        """Row of scores of each model at a place."""
        stack, scores = self.source.get(StackSummary), self.source.get(ScoresSummary, place)
        found = stack if place == TRAIN else scores
        return {r.model: r for r in found.comparison} if found else {}

    def counts(self, place: str, model: str) -> dict[int, list[int]]:
        """Pixels of each tile by its id (TP, FP, FN, TN), at the threshold of the model's row.

        Of the stack on a split the submitted masks are counted.
        """
        if place != TRAIN and model == "stack":
            listed = self.source.need(ScoresSummary, place).tiles
            return {t.patch: [t.tp, t.fp, t.fn, t.tn] for t in listed}
        stage = "stack" if place == TRAIN else f"predict/{place}/scores"
        tiles = self.source.tiles(stage, f"tiles_{model}.npz")
        counts = tiles.counts(self.rows(place)[model].threshold).table()
        return dict(zip(tiles.patch.tolist(), counts.tolist(), strict=True))

    def aligned(self, place: str, model: str, ids: Ids) -> Counts:
        """Counts of some tiles, in the order of `ids`."""
        found = self.counts(place, model)
        return Counts(*np.array([found[i] for i in ids.tolist()], np.int64).T)

    def tiles(self, place: str) -> dict[int, tuple[str, int]]:
        """Content hash and bootstrap block of each tile by its id."""
        from l4s_ensemble.data.store import hashes_of
        from l4s_ensemble.predict.score import bootstrap_blocks

        stage, folds = self.source.data_stage(place), self.source.folds
        if stage == "data/train" and folds is not None:
            columns: Any = (folds.patch, folds.content_hash, folds.block)
        elif stage in self.source:
            store = self.source.store(place)
            by_id = hashes_of(store)
            block, _ = bootstrap_blocks(store, self.source.config.scenes.bootstrap_tiles)
            columns = (by_id.keys(), by_id.values(), block)
        else:
            return {}
        return {int(p): (str(h), int(b)) for p, h, b in zip(*columns, strict=True)}


def render_comparison(first: Path, second: Path, out: Path | None = None) -> Path:
    """Write ``compare.html`` and the same numbers as ``compare.json``.

    Parameters
    ----------
    first, second : Path
        Run folders, A and B.
    out : Path, optional
        Folder to write into; ``reports/compare-<A>-<B>`` without it.

    Raises
    ------
    ConfigError, RunError
        If both are the same folder; if one is missing, is damaged or has no scores.
    """
    a, b = open_sides(Path(first), Path(second))
    name = "compare-" + "-".join(s.name.replace("/", "-") for s in (a, b))
    folder = Path(out) if out is not None else REPORTS / name
    if folder.exists() and not folder.is_dir():
        fix = "name a folder with --out"
        raise RunError("the place of the comparison is a file", where=folder, fix=fix)
    page = compared(a, b)
    html.write_assets(folder / "assets", ("report.css", "report.js"))
    write_json(folder / "compare.json", page)
    template = html.environment().get_template("compare.html.jinja")
    write_text(folder / "compare.html", template.render(page=html.laid_out(page), nav=[], files={}))
    return folder / "compare.html"


def open_sides(first: Path, second: Path) -> tuple[Side, Side]:
    """Open the two runs of a comparison; for errors see `render_comparison`."""
    if first.resolve() == second.resolve():
        found, fix = f"{first} and {second}", "name two run folders"
        raise ConfigError("the same run twice", where="--compare", found=found, fix=fix)
    parts = first.resolve().parts, second.resolve().parts
    n = 1
    while parts[0][-n:] == parts[1][-n:]:
        n += 1
    a, b = (
        Side("/".join(part[-n:]), RunSource(path))
        for part, path in zip(parts, (first, second), strict=True)
    )
    for run in (side.source.run for side in (a, b) if not side.places):
        fix = f"run `l4s-ensemble fit-all --run {run}` first"
        raise RunError("this run has no scores to compare", where=run, fix=fix)
    return a, b


def compared(a: Side, b: Side) -> dict[str, Any]:
    """Make the page, as other pages have it, with ``sides`` and ``rows``."""
    places = [p for p in a.places if p in b.places]
    rows: list[dict[str, Any]] = []
    said: list[str] = []
    tables = {"settings": settings(a, b)}
    for place in places:
        ids, blocks, sentence = paired(a, b, place)
        said.append(sentence)
        models = [m for m in a.rows(place) if m in b.rows(place)]
        rows += [_row(a, b, place, model, ids, blocks) for model in models]
        if len(ids) and models:
            tables[f"tiles-{place}"] = changed(a, b, place, models[-1], ids)
    note = (
        "The interval is paired: both runs are scored on the same resampled blocks of neighbouring "
        "tiles. It does not hold the chance of training: another seed alone can move F1 by a point "
        "or two."
    )
    heading = "F1 of the landslide class in both runs, each at its own threshold"
    tables["scores"] = table(heading, _SCORES, rows, note=note)
    runs = [str(s.source.run) for s in (a, b)]
    return {
        **blank(),
        "page": "compare",
        "title": f"{a.name} and {b.name}",
        "question": f"A is {a.name}, B is {b.name}; differences are B minus A.",
        "run": f"{a.name} and {b.name}",
        "report_title": b.source.config.report.title,
        "lead": _sentence(rows),
        "runs": runs,
        "rows": rows,
        "blocks": {"paired": lines(said)},
        "tables": tables,
        "sections": [
            section("scores", "Scores", "", "scores", "paired"),
            section("settings", "Settings", "", "settings"),
            section("tiles", "Tiles that changed most", "", *(f"tiles-{p}" for p in places)),
        ],
        "foot": {"command": [shlex.join(["l4s-ensemble", "report", "--compare", *runs])]},
    }


def paired(a: Side, b: Side, place: str) -> tuple[Ids, NDArray[np.int64], str]:
    """Ids of the tiles that are the same in both runs, their blocks, and a sentence on them.

    The same means: the same id, the same content of the image, as many landslide pixels.
    """
    # Of any model: they were scored on the same tiles.
    kept = [s.counts(place, next(iter(s.rows(place)))) for s in (a, b)]
    known = a.tiles(place), b.tiles(place)
    one, other = (
        {i: (tp + fn, tiles[i][0]) for i, (tp, _, fn, _) in counts.items() if i in tiles}
        for counts, tiles in zip(kept, known, strict=True)
    )
    ids = np.array(sorted(i for i in one if other.get(i) == one[i]), np.int64)
    blocks = np.array([known[1][i][1] for i in ids.tolist()], np.int64)
    said = (
        f"{title(place)}: differences are of {words.plural(len(ids), 'tile')} with the same image "
        f"and mask in both runs (A scores {len(kept[0]):,}, B {len(kept[1]):,})."
    )
    return ids, blocks, said


def verdict(found: Interval) -> str:
    """Name a difference by its interval."""
    if found.low is None or found.high is None:
        return words.no_interval(found.blocks)
    if found.low == found.high == found.value == 0:
        return "the same masks"
    if found.is_above_zero:
        return "gain shown"
    return "loss shown" if found.high < 0 else "no gain shown"


def settings(a: Side, b: Side) -> dict[str, Any]:
    """Table of the settings that differ."""
    one, other = (
        {
            f"{name}.{key}" if key else name: value
            for name, part in s.source.config.model_dump(mode="json").items()
            for key, value in (part.items() if isinstance(part, dict) else [("", part)])
        }
        for s in (a, b)
    )
    rows = [{"setting": k, "a": v, "b": other[k]} for k, v in one.items() if v != other[k]]
    heading = "Settings that differ" if rows else "Every setting is the same in both runs"
    return table(heading, [("setting", "text"), ("a", "A", "text"), ("b", "B", "text")], rows)


def changed(a: Side, b: Side, place: str, model: str, ids: Ids) -> dict[str, Any]:
    """Table of the tiles whose number of wrong pixels differs most."""
    one, other = (s.aligned(place, model, ids) for s in (a, b))
    columns = {"patch": ids, "reference": one.tp + one.fn, "wrong_a": one.fp + one.fn}
    columns["wrong_b"] = other.fp + other.fn
    columns["fewer"] = fewer = columns["wrong_a"] - columns["wrong_b"]
    most = [i for i in np.argsort(-np.abs(fewer), kind="stable")[:LISTED] if fewer[i]]
    rows = [{key: int(values[i]) for key, values in columns.items()} for i in most]
    better, worse = words.plural(int((fewer > 0).sum()), "tile"), int((fewer < 0).sum())
    note = f"B has fewer wrong pixels on {better}, more on {worse:,}."
    return table(f"{title(place)}, {MODEL_NAMES[model]}", _TILES, rows, sortable=True, note=note)


def title(place: str) -> str:
    """Name of a place on the page."""
    return "Out-of-fold on training tiles" if place == TRAIN else place


def _row(a: Side, b: Side, place: str, model: str, ids: Ids, block: Ids) -> dict[str, Any]:
    one, other = (s.rows(place)[model] for s in (a, b))
    names = dict.fromkeys(name_of(model, r.adapted_to) for r in (one, other))
    row: dict[str, Any] = {
        "place": place,
        "where": title(place),
        "model": model,
        "name": " (A), ".join(names),
    }
    row |= {"f1_a": one.f1, "f1_b": other.f1, "value": None, "span": None}
    if not len(ids):
        return {**row, "verdict": "not the same tiles"}
    base, better = (s.aligned(place, model, ids) for s in (a, b))
    found = f1_gain_interval(better, base, block, seed=b.source.config.seed)
    row |= {"value": found.value, "low": found.low, "high": found.high}
    return {**row, "span": words.gain_interval(found), "verdict": verdict(found)}


def _sentence(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "The two runs have no scores of the same split."
    row = [r for r in rows if r["place"] == rows[0]["place"]][-1]
    f1 = " in A, ".join(words.score(row[key]) for key in ("f1_a", "f1_b"))
    said = f"{row['where']}: F1 of the {row['name']} is {f1} in B"
    if row["value"] is None:
        return f"{said}. The tiles are not the same: no difference is computed."
    span = f" ({row['span']})" if row["span"] else ""
    return f"{said}; the difference is {words.gain(row['value'])}{span}: {row['verdict']}."
