"""Every page of a run's report: the modules of `l4s_ensemble.report.pages`.

A new page is a module there with a `PageKind` called ``PAGE``; nothing else names it.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from l4s_ensemble.report import pages
from l4s_ensemble.report.page import PageKind


def find() -> dict[str, PageKind]:
    """Kinds of pages by name, in the order of the report."""
    modules = (import_module(f"{pages.__name__}.{m.name}") for m in iter_modules(pages.__path__))
    found: list[PageKind] = [module.PAGE for module in modules]
    return {kind.name: kind for kind in sorted(found, key=lambda kind: kind.order)}


PAGES = find()


def kind_of(page: str) -> PageKind:
    """Kind of a page by its name."""
    return PAGES[page.partition("-")[0]]
