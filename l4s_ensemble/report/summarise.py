"""From a run to the plain dicts that pages are rendered from, one a page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from l4s_ensemble.errors import L4SError, RunError
from l4s_ensemble.metrics import published
from l4s_ensemble.report import checks, commands, headline, overview
from l4s_ensemble.report.page import Page, split_of
from l4s_ensemble.report.registry import PAGES, kind_of
from l4s_ensemble.report.source import RunSource, StageRecord
from l4s_ensemble.report.table import Column, table

_STAGES: tuple[Column, ...] = (
    ("stage", "text"), ("started", "text"), ("seconds", "time", "seconds"),
    ("peak_memory_mb", "peak memory", "megabytes"), ("seed", "text"), ("git", "commit", "text"),
    ("fingerprint", "text"),
)  # fmt: skip


def summarise(source: RunSource) -> list[Page]:
    """Make all pages whose stages are there; the index comes first.

    Returns
    -------
    list of dict
        Each has ``page, file, title, run, lead, headline, published, checks, sections, key_figures,
        tables, figures, foot``; what is drawn is added by `page.PageKind.draw`.

    Raises
    ------
    RunError
        If a summary lacks what its stage promises, naming the file.
    """
    made: list[Page] = _guarded(source, lambda: _all_pages(source))
    return made


def make_page(source: RunSource, page: str) -> Page:
    """Make what is particular to one page; for errors see `summarise`."""
    made: Page = _guarded(source, lambda: {**_bare(), **kind_of(page).make(source, page)})
    return made


def _all_pages(source: RunSource) -> list[Page]:
    found = checks.run_checks(source)
    pages = []
    for kind in PAGES.values():
        for page, behind in kind.stages(source).items():
            made = {
                **_bare(),
                "title": kind.title.format(split_of(page)),
                **make_page(source, page),
            }
            head = kind.headline(source, page)
            own = [c for c in found if c["page"] == page]
            again = kind.commands(source, page)
            pages.append(_completed(source, page, made, head, own, behind, again, kind.settings))
    heads = {p["page"]: p["headline"] for p in pages}
    index = {**_bare(), "title": "Overview", **overview.index(source, pages, heads)}
    stages, again = list(source.stages), commands.everything(source)
    head = headline.of_run(source)
    return [_completed(source, "index", index, head, found, stages, again, ()), *pages]


def _bare() -> Page:
    """What any page may have and none needs."""
    return {"key_figures": [], "tables": {}, "figures": {}, "missing": []}


def _completed(
    source: RunSource, page: str, made: Page, head: dict[str, Any] | None,
    found: list[dict[str, Any]], behind: Sequence[str], again: list[str], shown: Sequence[str],
) -> Page:  # fmt: skip
    """Add what every page has: name, headline, published scores, checks, and its foot."""
    return {
        "page": page,
        "file": f"{page}.html",
        "run": source.config.name,
        "report_title": source.config.report.title,
        "headline": head,
        "published": published.place(head),
        "checks": found,
        **made,
        "foot": _foot(source, behind, again, shown),
    }


def _foot(
    source: RunSource, behind: Sequence[str], again: list[str], shown: Sequence[str]
) -> dict[str, Any]:
    """Settings (some sections, or all), versions, seed, times and the commands to make it again."""
    records = [source[n] for n in behind if n in source]
    manifests = [r.manifest for r in records if r.manifest]
    latest = max(manifests, key=lambda m: str(m.get("started", "")), default={})
    values = source.config.model_dump(mode="json")
    return {
        "stages": table("Stages behind this page", _STAGES, [_stage_row(r) for r in records]),
        "seconds": sum(r.seconds for r in records),
        "seed": source.config.seed,
        "versions": dict(latest.get("versions", {})),
        "platform": latest.get("platform"),
        "config": {k: values[k] for k in (("name", "seed", *shown) if shown else values)},
        "command": again,
    }


def _stage_row(record: StageRecord) -> dict[str, Any]:
    m = record.manifest
    started = str(m["started"]).replace("T", " ")[:19] if m.get("started") else None
    mark = str(m["fingerprint"])[:12] if m.get("fingerprint") else None
    return {**m, "stage": record.name, "started": started, "fingerprint": mark}


def _guarded(source: RunSource, make: Callable[[], Any]) -> Any:
    """Turn what a damaged summary leads to into an error that names the file."""
    try:
        return make()
    except L4SError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise RunError(
            "a summary does not hold what its stage promises",
            where=source.asked_last,
            found=f"{type(error).__name__}: {error}",
            fix="it was written by another version or edited: run that stage again",
        ) from error
