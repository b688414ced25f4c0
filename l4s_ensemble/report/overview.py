"""The index of a report: how the run was made, its scores, and what was not run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from l4s_ensemble.report import commands, headline, words
from l4s_ensemble.report.page import Page, section
from l4s_ensemble.report.pages.stack import name_of
from l4s_ensemble.report.registry import PAGES
from l4s_ensemble.report.source import FITS, RunSource
from l4s_ensemble.report.table import MAIN_SCORES, score_row, table


def index(source: RunSource, pages: Sequence[Page], heads: Mapping[str, Any]) -> Page:
    """Make the index.

    Parameters
    ----------
    pages : sequence of dict
        All other pages.
    heads : mapping
        Their headlines, by page.
    """
    scores = headline.all_of_run(source)
    n_splits = ", ".join(
        f"{words.plural(int(source.summary(f'data/{s}')['patches']), 'tile')} of {s}"
        for s in source.splits
    )
    total = sum(r.seconds for r in source.stages.values())
    lead = f"Run {source.config.name}" + (f" on {n_splits}" if n_splits else "")
    sentence = (
        "Bars are shares of the time. F1 is out-of-fold for models, on the split for predictions."
    )
    listed = table(
        "Every score of this run",
        [("model", "text"), ("split", "text"), ("kind", "text"), *MAIN_SCORES],
        [score_row(s) for s in scores],
        note="Rows on a split or the holdout decide what may be claimed; out-of-fold rows are "
        "optimistic where the threshold was chosen on them.",
    )
    return {
        "lead": lead + f"; all stages took {words.seconds(total)}.",
        "pipeline": pipeline(source, heads),
        "story": ["pipeline", "tiles"],
        "missing": _not_run(source),
        "tables": {"scores": listed} if scores else {},
        "sections": [
            section("pipeline", "How it was made", sentence, "pipeline"),
            section("tiles", "The worst tile and the best", "", "gallery"),
            section("scores", "Scores", "", "scores"),
        ],
        "pages": [{key: p[key] for key in ("page", "file", "title", "lead")} for p in pages],
    }


def pipeline(source: RunSource, heads: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Boxes of the pipeline: name, place, seconds, score, page; also those that were not run."""
    total = sum(r.seconds for r in source.stages.values()) or 1.0

    def box(key: str, title: str, names: Sequence[str], page: str, note: str) -> dict[str, Any]:
        ran = [source[n] for n in names if n in source]
        spent = sum(r.seconds for r in ran)
        head = heads.get(page)
        return {
            "key": key, "title": title, "page": f"{page}.html" if ran else None,
            "ran": bool(ran), "seconds": spent if ran else None, "share": spent / total,
            "note": note if ran else "not run", "f1": head["f1"] if ran and head else None,
        }  # fmt: skip

    data = [f"data/{s}" for s in source.splits] or ["data/train"]
    n_tiles = sum(int(source.summary(d).get("patches", 0)) for d in data)
    n_folds = source.summary("scenes").get("folds") or source.config.scenes.folds
    learner = name_of(source.summary("stack").get("learner", "plain"))
    n_features = len(source.summary("features").get("features", []))
    boxes = [
        box("data", "Data", data, "data", words.plural(n_tiles, "tile")),
        box("scenes", "Scenes", ["scenes"], "data", words.plural(int(n_folds), "fold")),
        box("features", "Features", ["features"], "features", f"{n_features} per pixel"),
        box("pixel", "Pixel classifier", ["pixel"], "pixel", "LightGBM"),
        box("unet", "U-Net", ["unet"], "unet", str(source.summary("unet").get("network", ""))),
        box("stack", "Stack", ["stack"], "stack", learner),
    ]
    for split in source.predicted or ["valid"]:
        names = [s for s in source.stages if s.startswith(f"predict/{split}/")]
        n = int(source.summary(f"predict/{split}/result")["patches"]) if names else 0
        page, note = f"prediction-{split}", words.plural(n, "tile")
        boxes.append(box("predict", f"Predict {split}", names, page, note))
    return boxes


def _not_run(source: RunSource) -> list[dict[str, str]]:
    """Stages without a page, and the command that runs them."""
    verbs = {"features": "features"}
    out = [
        {"stage": PAGES[name].title, "command": f"l4s-ensemble {verbs.get(name, f'fit {name}')}"}
        for name in FITS
        if name in PAGES and name not in source
    ]
    if not source.predicted:
        out.append({"stage": "Prediction", "command": "l4s-ensemble predict --split valid"})
    for split in source.predicted:
        masks = source.summary(source.data_stage(split)).get("masks")
        if masks and f"predict/{split}/scores" not in source:
            command = f"l4s-ensemble evaluate {commands.split_words(source, split)}"
            out.append({"stage": f"Scores of {split}", "command": command})
    return out
