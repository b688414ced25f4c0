"""From a run to the plain dicts that pages are rendered from, one a page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from l4s_ensemble.errors import L4SError, RunError
from l4s_ensemble.report import checks, headline, ladder, words
from l4s_ensemble.report.pages.registry import (
    PAGES,
    PageKind,
    all_commands,
    kind_of,
    split_of,
    split_words,
)
from l4s_ensemble.report.pages.stack import learners as stack_learners
from l4s_ensemble.report.pieces import Page, bare, section
from l4s_ensemble.report.source import FITS, RunSource, StageRecord
from l4s_ensemble.report.table import MAIN_SCORES, facts, score_row, table


def summarise(source: RunSource) -> list[Page]:
    """Make all pages whose stages are there; the index comes first.

    Returns
    -------
    list of dict
        Each has ``page, file, title, run, lead, headline, ladder, checks, sections, facts,
        tables, figures, foot``; galleries are added when their pictures are drawn.

    Raises
    ------
    RunError
        If a summary lacks what its stage promises, naming the file.
    """
    found = _guarded(source, lambda: checks.run_checks(source))
    pages = []
    behind = {k: v for kind in PAGES.values() for k, v in _stages(source, kind).items()}
    for page, names in behind.items():
        pages.append(_completed(source, page, names, make_page(source, page), found))
    index = _guarded(source, lambda: _index(source, pages))
    return [_completed(source, "index", list(source.stages), index, found), *pages]


def make_page(source: RunSource, page: str) -> Page:
    """Make what is particular to one page.

    Raises
    ------
    RunError
        If a summary lacks what its stage promises, naming the file.
    """
    made: Page = _guarded(source, lambda: kind_of(page).make(source, page))
    return made


def _stages(source: RunSource, kind: PageKind) -> dict[str, list[str]]:
    found: dict[str, list[str]] = _guarded(source, lambda: kind.stages(source))
    return found


def page_file(page: str) -> str:
    """File name of a page."""
    return f"{page}.html"


def _completed(
    source: RunSource, page: str, behind: Sequence[str], made: Page, found: list[dict[str, Any]]
) -> Page:
    """Add what every page has: title, headline, ladder, checks, foot."""
    head = _headline_of(source, page)
    return {
        "page": page,
        "file": page_file(page),
        "title": "Overview" if page == "index" else kind_of(page).title.format(split_of(page)),
        "run": source.config.name,
        "report_title": source.config.report.title,
        "headline": head,
        "ladder": ladder.place(head),
        "checks": found if page == "index" else [c for c in found if c["page"] == page],
        **bare(),
        **made,
        "foot": _foot(source, page, behind),
    }


def _headline_of(source: RunSource, page: str) -> dict[str, Any] | None:
    if page == "index":
        return headline.of_run(source)
    found: dict[str, Any] | None = kind_of(page).headline(source, page)
    return found


def _index(source: RunSource, pages: Sequence[Page]) -> Page:
    scores = headline.all_of_run(source)
    missing = _not_run(source)
    n_splits = ", ".join(
        f"{words.plural(int(source.summary(f'data/{s}')['patches']), 'tile')} of {s}"
        for s in source.splits
    )
    total = sum(r.seconds or 0.0 for r in source.stages.values())
    lead = f"Run {source.config.name}" + (f" on {n_splits}" if n_splits else "")
    told = (
        "Bars are shares of the time. F1 is out-of-fold for models, on the split for predictions."
    )
    sections = [
        section("pipeline", "How it was made", told, "pipeline"),
        section("tiles", "The worst tile and the best", "", "gallery"),
    ]
    tables: dict[str, Any] = {}
    if scores:
        tables["scores"] = table(
            "Every score of this run",
            [("model", "model", "text"), ("split", "split", "text"), ("kind", "kind", "text"),
            *MAIN_SCORES],
            [score_row(s) for s in scores],
            note="Rows on a split or the holdout decide what may be claimed; out-of-fold rows are "
            "optimistic where the threshold was chosen on them.",
        )  # fmt: skip
        sections.append(section("scores", "Scores", "", "scores"))
    return {
        "lead": lead + f"; all stages took {words.seconds(total)}.",
        "pipeline": pipeline(source),
        "story": ["pipeline", "tiles"],
        "missing": missing,
        "tables": tables,
        "facts": facts([("stages run", len(source.stages), "count"), ("time", total, "seconds")]),
        "sections": sections,
        "pages": [{"page": p["page"], "file": p["file"], "title": p["title"],
        "lead": p["lead"]} for p in pages],
    }  # fmt: skip


def pipeline(source: RunSource) -> list[dict[str, Any]]:
    """Boxes of the pipeline: name, place, seconds, score, page; also those that were not run."""
    total = sum(r.seconds or 0.0 for r in source.stages.values()) or 1.0

    def box(key: str, title: str, names: Sequence[str], page: str, told: str) -> dict[str, Any]:
        ran = [source[n] for n in names if n in source]
        spent = sum(r.seconds or 0.0 for r in ran) if ran else None
        head = _headline_of(source, page) if ran and page not in ("data", "features") else None
        return {
            "key": key, "title": title, "page": page_file(page) if ran else None,
            "ran": bool(ran), "seconds": words.sigfig(spent),
            "share": words.sigfig((spent or 0.0) / total), "told": told if ran else "not run",
            "f1": head["f1"] if head else None,
        }  # fmt: skip

    data = [f"data/{s}" for s in source.splits] or ["data/train"]
    n_tiles = sum(int(source.summary(d).get("patches", 0)) for d in data)
    grid = source.summary("scenes")
    n_folds = grid.get("folds") or source.config.scenes.folds
    learner = stack_learners.name_of(source.summary("stack").get("learner", "plain"))
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
        told = ""
        if names:
            told = words.plural(int(source.summary(f"predict/{split}/result")["patches"]), "tile")
        boxes.append(box("predict", f"Predict {split}", names, f"prediction-{split}", told))
    return boxes


def _not_run(source: RunSource) -> list[dict[str, str]]:
    """Stages without a page, and the command that runs them."""
    out = [
        {"stage": PAGES[name].title, "command": f"l4s-ensemble "
        f"{'features' if name == 'features' else 'fit ' + name}"}
        for name in FITS[1:]
        if name in PAGES and name not in source
    ]  # fmt: skip
    if not source.predicted:
        out.append({"stage": "Prediction", "command": "l4s-ensemble predict --split valid"})
    for split in source.predicted:
        data = source.summary(source.data_stage(split))
        if f"predict/{split}/scores" not in source and data.get("masks"):
            out.append(
                {
                    "stage": f"Scores of {split}",
                    "command": f"l4s-ensemble evaluate {split_words(source, split)}",
                }
            )
    return out


def _foot(source: RunSource, page: str, behind: Sequence[str]) -> dict[str, Any]:
    """Settings, versions, seed, times and the command to make this again."""
    records = [source[n] for n in behind if n in source]
    manifests = [r.manifest for r in records if r.manifest]
    latest = max(manifests, key=lambda m: str(m.get("started", "")), default={})
    return {
        "stages": table(
            "Stages behind this page",
            [
                ("stage", "stage", "text"), ("started", "started", "text"), ("seconds", "time",
                "seconds"),
                ("peak_memory_mb", "peak memory", "megabytes"), ("seed", "seed", "text"),
                ("git", "commit", "text"), ("fingerprint", "fingerprint", "text"),
            ],
            [_stage_row(r) for r in records],
        ),
        "seconds": words.sigfig(sum(r.seconds or 0.0 for r in records)),
        "seed": source.config.seed,
        "versions": dict(latest.get("versions", {})),
        "platform": latest.get("platform"),
        "config": _settings(source, page),
        "command": all_commands(source) if page == "index"
        else kind_of(page).commands(source, page),
    }  # fmt: skip


def _stage_row(record: StageRecord) -> dict[str, Any]:
    m = record.manifest
    started = str(m["started"]).replace("T", " ")[:19] if m.get("started") else None
    mark = str(m["fingerprint"])[:12] if m.get("fingerprint") else None
    return {**m, "stage": record.name, "started": started, "fingerprint": mark}


def _settings(source: RunSource, page: str) -> dict[str, Any]:
    """Sections of the settings that matter for a page; all on the index."""
    values = source.config.model_dump(mode="json")
    shown = () if page == "index" else kind_of(page).settings
    return {k: values[k] for k in ("name", "seed", *shown) if k in values} if shown else values


def _guarded(source: RunSource, make: Callable[[], Any]) -> Any:
    """Turn what a damaged summary leads to into an error that names the file."""
    try:
        return make()
    except L4SError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise RunError(
            "a summary does not hold what its stage promises", where=source.asked_last,
            found=f"{type(error).__name__}: {error}",
            fix="it was written by another version or edited: run that stage again",
        ) from error  # fmt: skip
