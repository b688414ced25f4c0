"""What holds for every page: scores are rounded once, and every figure can be read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from l4s_ensemble.report.figures import plot
from l4s_ensemble.report.table import table, write
from l4s_ensemble.run.files import read_json

UNITLESS = re.compile(
    r"\b(F1|AUC|score|share|probability|precision|recall|gain|landslides|tiles|trees|epoch|log-odds|"
    r"loss|rate|per second|per epoch|moved by|weight|band|pixels|norm)\b"
)
"""Words of axes that count or are shares: all others name a unit in brackets."""


def test_a_score_is_rounded_once() -> None:
    """834 / 1462 is 0.57045…: by way of 0.5705 it would be 0.571."""
    f1 = 834 / 1462
    assert write(f1, "score") == "0.570"
    (row,) = table("t", [("f1", "F1", "score")], [{"f1": 0.5704996}])["rows"]
    assert write(row["f1"], "score") == "0.570"


@pytest.fixture(scope="module")
def figures(tiny_report: Path) -> list[tuple[str, dict[str, Any]]]:
    pages = [read_json(path) for path in sorted(tiny_report.glob("*.json"))]
    found = [(f"{p['page']}: {key}", f) for p in pages for key, f in p["figures"].items()]
    assert len({where.split(":")[0] for where, _ in found}) >= 6
    return found


def axes(made: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], list[Any]]]:
    """Axes that are seen: name, layout, and the values that lie on it."""
    for one in made["plots"]:
        assert one["data"]
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


def test_a_figure_says_what_it_shows_and_how_to_read_it(
    figures: list[tuple[str, dict[str, Any]]],
) -> None:
    for where, figure in figures:
        assert len(figure["title"].split()) >= 3, where
        assert figure["read"].endswith("."), where
        assert len(figure["read"].split()) >= 6, where


def test_every_figure_and_table_stands_in_a_section(tiny_report: Path) -> None:
    for path in tiny_report.glob("*.json"):
        page = read_json(path)
        named = {item for section in page["sections"] for item in section["items"]}
        assert set(page["figures"]) | set(page["tables"]) <= {*named, page["picture"]}, path.name
        assert set(page["blocks"]) <= {*named, page["picture"], "browser", "gallery"}, path.name


def test_axes_have_units(figures: list[tuple[str, dict[str, Any]]]) -> None:
    """An axis without a title holds names that speak for themselves."""
    for where, figure in figures:
        for key, axis, values in axes(plot(figure)):
            title = axis["title"]["text"]
            if not title:
                named = axis.get("ticktext") or [v for v in values if isinstance(v, str)]
                assert named or axis.get("showticklabels") is False, f"{where}, {key}: no title"
            elif not where.endswith(": separability"):  # the name of a feature
                told = "(" in title or UNITLESS.search(title)
                assert told, f"{where}, {key}: {title} has no unit"


def test_every_number_is_one_and_every_colour_is_in_the_style(
    figures: list[tuple[str, dict[str, Any]]], tiny_report: Path
) -> None:
    css = (tiny_report / "assets/report.css").read_text()
    for where, figure in figures:
        told = json.dumps(plot(figure), allow_nan=False)
        used = set(re.findall(r'"@([\w-]+)"', told))
        assert not [c for c in used if f"--{c}:" not in css], where
