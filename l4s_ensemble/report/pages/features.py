"""The features page: which separate landslides, which do so elsewhere, which are redundant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.features.summary import FeatureRow, FeaturesSummary
from l4s_ensemble.report import words
from l4s_ensemble.report.figures import plain
from l4s_ensemble.report.page import Page, figure, lines, of_fit, section, stat
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import Column, table

SEPARATES = 0.55
"""AUC, either way, from which a feature separates anything by itself."""

COPY = 0.95
"""Rank correlation from which a feature says the same as a stronger one."""

HISTOGRAMS = 6
NAMED = 5
"""Marks with a name in a figure: the strongest, and those that lose most."""

GROUP_COLOURS = ("fold0", "fold1", "fold2", "fold3", "fold4", "fold5", "fold6", "fold7")

_COLUMNS: tuple[Column, ...] = (
    ("name", "feature", "text"), ("group", "text"), ("seen", "AUC", "score"),
    ("auc_worst", "AUC, worst {}", "score"), ("worst_in", "worst in", "text"),
    ("best_f1", "best F1", "score"), ("side", "landslides are", "text"),
    ("mean_landslide", "mean, landslide", "number"), ("mean_other", "mean, other", "number"),
    ("unit", "text"), ("copy_of", "says the same as", "text"),
)  # fmt: skip


def seen(row: FeatureRow) -> float | None:
    """AUC over all fitting tiles from the better side, 0.5 to 1."""
    return None if row.auc is None else max(row.auc, 1 - row.auc)


def ranked(summary: FeaturesSummary) -> list[FeatureRow]:
    """Every feature, the strongest first."""
    return sorted(summary.features, key=lambda r: -(seen(r) or 0.5))


def strong(summary: FeaturesSummary) -> list[FeatureRow]:
    """Features that separate landslides by themselves."""
    return [r for r in ranked(summary) if (seen(r) or 0) >= SEPARATES]


def turning(summary: FeaturesSummary) -> list[FeatureRow]:
    """Those of them that separate from the other side in some place."""
    return [r for r in strong(summary) if r.auc_worst is not None and r.auc_worst < 0.5]


def kind_of_place(summary: FeaturesSummary) -> str | None:
    """``scene`` or ``fold``; None where places cannot be compared."""
    return summary.places.kind if len(summary.places.rows) > 1 else None


def group_colours(summary: FeaturesSummary | None) -> dict[str, str]:
    """Colour of each group of features, on all pages."""
    names = dict.fromkeys(r.group for r in summary.features) if summary else {}
    return {g: GROUP_COLOURS[i % len(GROUP_COLOURS)] for i, g in enumerate(names)}


def features(source: RunSource) -> Page:
    """Make the features page; parts that a run does not know are left out."""
    summary = source.need(FeaturesSummary)
    kind, drawn = kind_of_place(summary), _sample(source)
    copies = _copies(summary, drawn)
    figures = _figures(summary, kind, drawn)
    best = strong(summary)
    stats = [stat("features", len(summary.features), "count", f"{len(summary.left_out)} left out")]
    if best:
        of = f"{best[0].name} alone, F1 {words.score(best[0].best_f1)}"
        stats.append(stat("best AUC", seen(best[0]), "score", of))
    of = f"have an AUC from {SEPARATES} by themselves"
    stats.append(stat("separate landslides", len(best), "count", of))
    if kind is not None:
        of = f"of these separate the other way in some {kind}"
        stats.append(stat("turn round", len(turning(summary)), "count", of))
    of = f"rank correlation from {COPY} with a stronger one"
    stats.append(stat("redundant", len(copies), "count", of))
    return {
        "lead": _lead(summary, kind, len(copies)),
        "stats": stats,
        "picture": "carries" if "carries" in figures else "separability",
        "figures": figures,
        "blocks": {"left_out": lines(_left_out(summary))},
        "tables": {"features": _table(summary, kind, copies)},
        "sections": [
            section(
                "alone",
                "The strongest by themselves",
                "A model combines features, so a weak one may still help.",
                "carries",
                "separability",
            ),
            section("all", "Every feature", "", "features", folded=True),
            section("left-out", "Features left out", "", "left_out", folded=True),
        ],
    }


PAGE = of_fit(
    20,
    "features",
    "Features",
    "Which features separate landslides, which do so in another place, which are redundant?",
    features,
)


def _lead(summary: FeaturesSummary, kind: str | None, copies: int) -> str:
    best = strong(summary)
    if not best:
        return f"None of {words.plural(len(summary.features), 'feature')} separates landslides."
    named = words.some([r.name for r in best], 3)
    lead = f"{named} separate{'s' if len(best) == 1 else ''} landslides by themselves"
    bad = turning(summary)
    if kind is not None:
        lead += (
            f"; {words.some([r.name for r in bad], 3)} separate{'s' if len(bad) == 1 else ''} the "
            f"other way in some {kind}"
            if bad
            else f", and all of them in every {kind}"
        )
    return f"{lead}. {copies} say nearly the same as a stronger one."


def _sample(source: RunSource) -> tuple[NDArray[np.float32], NDArray[np.bool_]] | None:
    """Sampled values (row, feature) and reference (row,)."""
    found = source.arrays("features", "sample.npz")
    if found is None or not {"X", "y"} <= set(found):
        return None
    return np.nan_to_num(found["X"], posinf=0.0, neginf=0.0), found["y"] > 0


def _copies(summary: FeaturesSummary, drawn: Any) -> dict[str, str]:
    """Features that say nearly the same as a stronger one, and that one."""
    if drawn is None:
        return {}
    from scipy.stats import rankdata

    values = drawn[0][:: max(1, len(drawn[0]) // 4000)]
    with np.errstate(invalid="ignore", divide="ignore"):
        close = np.corrcoef(rankdata(values, axis=0), rowvar=False)
    close = np.abs(np.nan_to_num(np.atleast_2d(close)))
    position = {r.name: i for i, r in enumerate(summary.features)}
    kept: list[str] = []
    copies: dict[str, str] = {}
    for row in ranked(summary):
        same = [k for k in kept if close[position[row.name], position[k]] >= COPY]
        if same:
            copies[row.name] = same[0]
        else:
            kept.append(row.name)
    return copies


def _figures(summary: FeaturesSummary, kind: str | None, drawn: Any) -> dict[str, Any]:
    from l4s_ensemble.features.statistics import strong_and_distinct

    made: dict[str, Any] = {}
    if kind is not None:
        made["carries"] = figure(
            "scatter",
            f"AUC here and in the worst {kind}",
            f"One mark a feature. Across: its AUC over all fitting tiles. Up: that in the {kind} "
            f"where it is worst. On the diagonal it separates as well everywhere; below 0.5 "
            "landslides lie on the other side there.",
            _elsewhere(summary, kind),
        )
    if drawn is not None and summary.features:
        values, reference = drawn
        strength = [(seen(r) or 0.5) - 0.5 for r in summary.features]
        some = values[:: max(1, len(values) // 4000)]
        made["separability"] = figure(
            "lines",
            "The features that separate most, by class",
            "The less the two areas overlap, the more the feature separates by itself. Of features "
            "that say the same only one is shown.",
            [
                _classes(summary.features[i], values[:, i], reference)
                for i in strong_and_distinct(some, strength, HISTOGRAMS)
            ],
            few=True,
        )
    return made


def _elsewhere(summary: FeaturesSummary, kind: str) -> dict[str, Any]:
    """Panel of every feature's AUC over all tiles, and where it is worst."""
    points = [
        (r, float(here), float(r.auc_worst))
        for r in ranked(summary)
        if (here := seen(r)) is not None and r.auc_worst is not None
    ]
    by_loss = sorted(points, key=lambda p: p[2] - p[1])
    named: dict[str, tuple[float, float]] = {}
    for r, x, y in [*points[:1], *by_loss]:
        room = all(abs(x - u) > 0.25 or abs(y - v) > 0.05 for u, v in named.values())
        if room and len(named) < NAMED:  # a name over another says nothing
            named[r.name] = x, y
    drawn = []
    for group, colour in group_colours(summary).items():
        own = [p for p in points if p[0].group == group]
        if own:
            hover = [f"{r.name}<br>{x:.3f} over all, {y:.3f} in {r.worst_in}" for r, x, y in own]
            names = [r.name if r.name in named else "" for r, *_ in own]
            x, y = (words.sigfig([p[k] for p in own]) for k in (1, 2))
            look = {"name": group, "colour": colour, "hover": hover, "named": names}
            drawn.append({**look, "x": x, "y": y})
    floor = min([0.5, *(y for g in drawn for y in g["y"])]) - 0.03
    return {
        "axes": ("AUC over all fitting tiles", f"AUC in the worst {kind}"),
        "groups": drawn,
        "ranges": ([0.48, 1.02], [floor, 1]),
        "height": 400,
        "lines": [((0.5, 0.5), (1, 1)), ((0.5, 0.5), (1, 0.5))],
    }


def _classes(
    row: FeatureRow, values: NDArray[np.float32], reference: NDArray[np.bool_], bins: int = 48
) -> dict[str, Any]:
    """Panel of a feature's values in both classes, between the outer half percents."""
    exact = values.astype(np.float64)
    low, high = (float(v) for v in np.quantile(exact, [0.005, 0.995]))
    edges = np.linspace(low, high if high > low else low + 1.0, bins + 1)
    inside = np.clip(exact, edges[0], edges[-1])
    share = {
        name: plain(np.histogram(part, edges)[0] / max(1, len(part)))
        for name, part in (("other", inside[~reference]), ("landslide", inside[reference]))
    }
    unit = f" ({row.unit})" if row.unit not in {"", "1", "none"} else ""
    return {
        "label": f"{row.name}, AUC {words.score(seen(row))}",
        "x": [round((a + b) / 2, 6) for a, b in pairwise(edges.tolist())],
        "height": 200,
        "axes": (f"{row.name}{unit}", "share of class"),
        "series": [
            {"name": name, "y": y, "colour": name, "as": "area"} for name, y in share.items()
        ],
    }


def _table(summary: FeaturesSummary, kind: str | None, copies: dict[str, str]) -> dict[str, Any]:
    """Table of every feature."""
    elsewhere = () if kind is not None else ("auc_worst", "worst_in")
    columns = [(c[0], c[-2].format(kind), c[-1]) for c in _COLUMNS if c[0] not in elsewhere]
    rows: Sequence[dict[str, Any]] = [
        {
            **r.model_dump(),
            "seen": seen(r),
            "side": None if r.auc is None else "higher" if r.auc >= 0.5 else "lower",
            "unit": None if r.unit == "1" else r.unit,
            "copy_of": copies.get(r.name),
        }
        for r in ranked(summary)
    ]
    note = (
        "AUC: chance that a landslide pixel and another are put in the right order, 0.5 is a coin. "
        "Best F1: of one threshold on this feature, at the true share of landslides."
    )
    return table("Features, the strongest first", columns, rows, sortable=True, note=note)


def _left_out(summary: FeaturesSummary) -> list[str]:
    """Reasons why features were left out, each with their number and some names."""
    reasons = Counter(item.reason for item in summary.left_out)
    said = []
    for reason, n in reasons.most_common():
        names = [item.name for item in summary.left_out if item.reason == reason]
        said.append(f"{words.plural(n, 'feature')}: {reason} ({words.some(names, 4)}).")
    return said or ["None."]
