"""Every figure of every page says what it shows, in which unit, and how to read it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fabricated_run import fabricate

from l4s_ensemble.report.figures.makers import plot
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.summarise import summarise

UNITLESS = re.compile(
    r"\b(F1|AUC|score|share|probability|precision|recall|gain|landslides|tiles|trees|epoch|log-odds|"
    r"loss|rate|per second|per epoch|moved by|weight|band|pixels)\b"
)
"""Words of axes that count or are shares: all others name a unit in brackets."""


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, dict[str, Any]]]:
    run = fabricate(tmp_path_factory.mktemp("figures"))
    return [
        (f"{page['page']}: {key}", figure)
        for page in summarise(RunSource(run))
        for key, figure in page["figures"].items()
    ]


def axes(made: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], list[Any]]]:
    """Axes that are seen: name, layout, and the values that lie on it."""
    for one in made["plots"]:
        for key, axis in one["layout"].items():
            if not re.fullmatch(r"[xy]axis\d*", key) or axis.get("visible") is False:
                continue
            letter, number = key[0], key[5:]
            values = [
                v
                for trace in one["data"]
                if trace.get(f"{letter}axis", letter) == f"{letter}{number}"
                for v in trace.get(letter) or []
            ]
            yield key, axis, values


def test_there_are_figures_on_all_pages(figures: list[tuple[str, dict[str, Any]]]) -> None:
    assert len({where.split(":")[0] for where, _ in figures}) >= 6


def test_a_title_and_a_sentence(figures: list[tuple[str, dict[str, Any]]]) -> None:
    for where, figure in figures:
        assert len(figure["title"].split()) >= 3, where
        assert figure["read"].endswith("."), where
        assert len(figure["read"].split()) >= 6, where


def test_axes_have_units(figures: list[tuple[str, dict[str, Any]]]) -> None:
    """An axis without a title holds names that speak for themselves."""
    for where, figure in figures:
        for key, axis, values in axes(plot(figure)):
            title = axis["title"]["text"]
            if not title:
                named = axis.get("ticktext") or [v for v in values if isinstance(v, str)]
                assert named or axis.get("showticklabels") is False, f"{where}, {key}: no title"
            elif figure["kind"] not in ("classes", "dependence"):  # the name of a feature
                told = "(" in title or UNITLESS.search(title)
                assert told, f"{where}, {key}: {title} has no unit"
