"""The page of a comparison as one plain dict."""

from __future__ import annotations

import shlex
from typing import Any

from l4s_ensemble.report.compare import changes, scores, tiles
from l4s_ensemble.report.compare.pairing import Pairing, folds_alike, pair, title
from l4s_ensemble.report.compare.sides import TRAIN, Side
from l4s_ensemble.report.pieces import Page, bare, section


def compared(a: Side, b: Side) -> Page:
    """Say what changed from run A to run B, and whether that is a gain.

    Returns
    -------
    dict
        As other pages have it (``sections, figures, tables, lines``), with ``sides``,
        ``headline``, ``rows`` (every score of both), ``pairings`` and ``contests``.
    """
    common = [p for p in a.places if p in b.places]
    pairings = {place: pair(a, b, place) for place in common}
    found = scores.rows(a, b, pairings)
    head = scores.headline(a, b, found)
    contests = _contests(a, b, pairings, found)
    changed, unknown = changes.settings(a, b)
    data, unlike = changes.data(a, b)
    took = changes.stages(a, b)
    figures, tables = scores.figures(found), scores.tables(found)
    for contest in contests.values():
        figures |= tiles.figures(contest)
        tables |= tiles.tables(contest)
    tables |= {"data": data, "versions": changes.versions(a, b), "stages": took}
    lines = {"comparable": [*unlike, *_comparable(a, b, pairings)], "unknown": unknown}
    if changed["rows"]:
        tables["settings"] = changed
    else:
        lines["unknown"] = ["Every setting is the same in both.", *unknown]
    parts = []
    for place, contest in contests.items():
        maps = [k for k in figures if k.startswith(f"where_{place}_")]
        first = head is not None and head["place"] == place
        parts.append(
            section(
                f"tiles-{place}", f"Tiles won and lost: {title(place).lower()}",
                tiles.sentence(contest), *(["contest"] if first else []), f"errors_{place}", *maps,
                f"won_{place}", f"lost_{place}",
            )
        )  # fmt: skip
    return {
        **bare(),
        "page": "compare",
        "file": "compare.html",
        "template": "compare.html.jinja",
        "title": f"{a.name} and {b.name}",
        "run": f"{a.name} and {b.name}",
        "report_title": b.source.config.report.title,
        "lead": f"A is {a.name}, B is {b.name}; differences are B minus A.",
        "sides": [_side(s) for s in (a, b)],
        "headline": head,
        "rows": found,
        "pairings": {k: _paired(p) for k, p in pairings.items()},
        "contests": contests,
        "checks": [],
        "lines": lines,
        "figures": figures,
        "tables": tables,
        "sections": [
            section("comparable", "What can be compared", "", "comparable"),
            section("scores", "Scores", "", "differences", "scores", "more"),
            *parts,
            section("settings", "What changed in the settings", "", "settings", "unknown"),
            section("data", "What changed in the data", "", "data"),
            section("versions", "What changed in the software", "", "versions"),
            section("time", "Time and memory", "", "stages"),
        ],
        "foot": {
            "command": [
                f"l4s-ensemble report --compare {shlex.quote(str(a.source.run))} "
                f"{shlex.quote(str(b.source.run))}"
            ],
        },
    }  # fmt: skip


def _contests(
    a: Side, b: Side, pairings: dict[str, Pairing | None], found: list[dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Tiles won and lost at every place, with the last model that both have there."""
    out = {}
    for place, pairing in pairings.items():
        models = [r["model"] for r in found if r["place"] == place]
        if pairing is None or not models:
            continue
        contest = tiles.contest(a, b, pairing, models[-1])
        if contest is not None:
            out[place] = contest
    return out


def _comparable(a: Side, b: Side, pairings: dict[str, Pairing | None]) -> list[str]:
    """Sentences on what may be held against what."""
    said = []
    for place, pairing in pairings.items():
        if pairing is None:
            said.append(f"{title(place)}: a run keeps no counts of its tiles, so that nothing can "
                        "be paired.")  # fmt: skip
            continue
        said.append(pairing.sentence(title(place)))
        if len(pairing.ids) and not pairing.spatial:
            said.append(
                f"{title(place)}: nobody knows where these tiles lie. Each is a block of its own, "
                "and intervals are narrower than they should be."
            )
        if place == TRAIN and len(pairing.ids):
            alike = folds_alike(a, b, pairing.ids)
            if alike is False:
                said.append(
                    "The folds differ: tiles were held out together with other tiles, so that the "
                    "out-of-fold scores are of models that saw other data. Their difference is one "
                    "of folds as well."
                )
        kinds = {s.kind(place) for s in (a, b)}
        if kinds == {"split", "fitted"} or "fitted" in kinds:
            said.append(f"{title(place)}: a run was fitted on these tiles; its score is no score.")
    for one, other in ((a, b), (b, a)):
        only = [title(p) for p in one.places if p not in other.places]
        if only:
            said.append(f"Only {one.letter} has scores of: {', '.join(only)}.")
    if not pairings:
        said.append("The two runs have no scores of the same split.")
    return said


def _side(side: Side) -> dict[str, Any]:
    return {
        "letter": side.letter, "name": side.name, "run": str(side.source.run),
        "config": side.source.config.name, "report": None,
    }  # fmt: skip


def _paired(pairing: Pairing | None) -> dict[str, Any] | None:
    if pairing is None:
        return None
    return {
        "tiles": len(pairing.ids), "tiles_a": pairing.tiles[0], "tiles_b": pairing.tiles[1],
        "shared_ids": pairing.shared, "other_content": pairing.other_content,
        "other_truth": pairing.other_truth, "spatial_blocks": pairing.spatial,
    }  # fmt: skip
