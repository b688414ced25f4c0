"""From a run to the plain dicts that pages are rendered from, one a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from l4s_ensemble.adapt.summary import AdaptationSummary
from l4s_ensemble.report import checks
from l4s_ensemble.report.page import Page, PageKind, blank, split_of
from l4s_ensemble.report.registry import PAGES, kind_of
from l4s_ensemble.report.source import FITS, RunSource
from l4s_ensemble.report.table import Column, table

_STAGES: tuple[Column, ...] = (
    ("stage", "text"), ("started", "text"), ("seconds", "time", "seconds"),
    ("peak_memory_mb", "peak memory (MB)", "count"), ("git", "commit", "text"),
)  # fmt: skip


def summarise(source: RunSource) -> list[Page]:
    """Make all pages whose stages are there; the index comes first.

    Returns
    -------
    list of dict
        Each has ``page, file, title, question, run, lead, stats, picture, checks, sections,
        blocks, tables, figures, missing, foot``; what is drawn is added by the kind's ``draw``.
    """
    return [
        make_page(source, page, kind, behind)
        for kind in PAGES.values()
        for page, behind in kind.stages(source).items()
    ]


def make_page(
    source: RunSource, page: str, kind: PageKind | None = None, behind: Sequence[str] = ()
) -> Page:
    """Make one page, with what every page has."""
    own = kind or kind_of(page)
    found = checks.run_checks(source)
    made = own.make(source, page)
    adapted = source.get(AdaptationSummary)
    if adapted is not None and behind and set(behind) <= {"data/train", *FITS}:
        made["lead"] = f"Fitted by the run {adapted.base}, before its adaptation. {made['lead']}"
    return {
        **blank(),
        "page": page,
        "file": f"{page}.html",
        "title": own.title.format(split_of(page)),
        "question": own.question,
        "run": source.config.name,
        "report_title": source.config.report.title,
        "checks": found if page == "index" else [c for c in found if c["page"] == page],
        **made,
        "foot": _foot(source, behind, own.commands(source, page), own.settings),
    }


def _foot(
    source: RunSource, behind: Sequence[str], again: list[str], shown: Sequence[str]
) -> dict[str, Any]:
    """Settings (some sections, or all), versions, seed, times and the commands to make it again."""
    records = [source.stages[n] for n in behind if n in source]
    manifests = [r.manifest for r in records if r.manifest]
    latest = max(manifests, key=lambda m: str(m.get("started", "")), default={})
    values = source.config.model_dump(mode="json")
    rows = [
        {
            **r.manifest,
            "stage": r.name,
            "started": str(r.manifest.get("started") or "").replace("T", " ")[:19],
        }
        for r in records
    ]
    return {
        "stages": table("Stages behind this page", _STAGES, rows),
        "seconds": sum(r.seconds for r in records),
        "seed": source.config.seed,
        "versions": dict(latest.get("versions", {})),
        "platform": latest.get("platform"),
        "config": {k: values[k] for k in (("name", "seed", *shown) if shown else values)},
        "command": again,
    }
