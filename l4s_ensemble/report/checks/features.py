"""Checks of the features."""

from __future__ import annotations

from collections.abc import Iterator

from l4s_ensemble.report import words
from l4s_ensemble.report.checks.check import Check, Level
from l4s_ensemble.report.pages.features import alerts as features_alerts
from l4s_ensemble.report.pages.features import alike as features_alike
from l4s_ensemble.report.pages.features import shift as features_shift
from l4s_ensemble.report.pages.features.slope import compared
from l4s_ensemble.report.pages.features.tell import kind_of_place, rows
from l4s_ensemble.report.source import RunSource

SLOPES_AGREE = (0.6, 0.3)
"""Correlation of slope given and recomputed: passed, tip. On released tiles it is .7 or more."""

NAMED = 4
"""Features named in an explanation; the table of alerts has all."""


def finite(source: RunSource) -> Iterator[Check]:
    """Every feature must be finite."""
    if features_alike.sample(source) is None:
        return
    bad = [name for name, _ in features_alerts.not_finite(source)]
    yield Check(
        "features", "features-finite", "issue" if bad else "passed",
        f"{words.plural(len(bad), 'feature')} not finite" if bad else "Every feature is finite",
        f"Sampled pixels without a value: {words.some(bad, NAMED)}. A model would take them for "
        "missing."
        if bad else "No sampled pixel has a feature without a value.",
    )  # fmt: skip


def varied(source: RunSource) -> Iterator[Check]:
    """A constant feature tells nothing."""
    if features_alike.sample(source) is None:
        return
    bad = [name for name, _ in features_alerts.constant(source)]
    yield Check(
        "features", "features-constant", "tip" if bad else "passed",
        f"{words.plural(len(bad), 'constant feature')}" if bad else "No feature is constant",
        f"Nearly all pixels have one value: {words.some(bad, NAMED)}. features.exclude leaves them "
        "out."
        if bad else "Every feature takes several values on the sampled pixels.",
    )  # fmt: skip


def distinct(source: RunSource) -> Iterator[Check]:
    """Features should not repeat each other."""
    if features_alike.sample(source) is None:
        return
    bad = [f"{a} and {b}" for a, b, _ in features_alike.copies(source)]
    yield Check(
        "features", "features-duplicates", "tip" if bad else "passed",
        f"{words.plural(len(bad), 'pair')} of features {'repeats' if len(bad) == 1 else 'repeat'} "
        "each other" if bad else "No feature repeats another",
        f"Rank correlation beyond ±{features_alike.COPY}: {words.some(bad, NAMED)}. They cost time "
        "twice and share out their importance." if bad
        else f"No pair has a rank correlation beyond ±{features_alike.COPY}.",
    )  # fmt: skip


def steady(source: RunSource) -> Iterator[Check]:
    """Features should have the same values in all places, and in the splits to predict."""
    found = [g for g in features_shift.groups(source) if g["kind"] != "fold" and g["features"]]
    for kind in dict.fromkeys(g["kind"] for g in found):
        some = [g for g in found if g["kind"] == kind]
        moved = {n for g in some for n, _, _ in features_shift.far(g)}
        a_little = {n for g in some for n, _, _ in features_shift.far(g, features_shift.SHIFTED)}
        total = max(len(g["features"]) for g in some)
        what = "train and the splits to predict" if kind == "split" else f"the {kind}s of training"
        worst = max(
            ((p, n, g) for g in some for n, p, _ in features_shift.far(g, 0.0)),
            key=lambda w: w[0], default=None,
        )  # fmt: skip
        told = (
            f" Most of all {worst[1]} in {worst[2]['name']} against {worst[2]['versus']}, index "
            f"{words.number(worst[0])}." if worst else ""
        )  # fmt: skip
        beyond = (
            f"{len(a_little)} of {total} have a stability index beyond {features_shift.SHIFTED}, "
            f"{len(moved)} beyond {words.number(features_shift.FAR)}."
        )
        yield Check(
            "features", f"features-shift-{kind}", "tip" if moved else "passed",
            f"{words.plural(len(moved), 'feature')} badly shifted between {what}" if moved
            else f"No feature is badly shifted between {what}",
            beyond + told
            + (" A model that cuts them by level will not fit there." if moved else ""),
        )  # fmt: skip


def carried(source: RunSource) -> Iterator[Check]:
    """What tells here should tell elsewhere."""
    kind = kind_of_place(source)
    if kind is None:
        return
    telling = [r for r in rows(source) if (r["auc_seen"] or 0) >= features_alerts.TELLING]
    if not telling:
        return
    bad = [r["name"] for r in features_alerts.turning(source)]
    holding = sum(r["holds"] == "yes" for r in telling)
    order = sum(r["holds"] == "order only" for r in telling)
    text = (
        f"Of {words.plural(len(telling), 'feature')} with an AUC from {features_alerts.TELLING}, "
        f"{holding} tell the same in every {kind}, {order} keep their order but not their level, "
        f"{len(bad)} turn round"
    )
    yield Check(
        "features", "features-carry", "tip" if bad else "passed",
        f"{words.plural(len(bad), 'telling feature')} "
        f"{'turns' if len(bad) == 1 else 'turn'} round in some {kind}" if bad
        else f"What tells in one {kind} tells in the others",
        f"{text}{': ' + words.some(bad, NAMED) if bad else ''}.",
    )  # fmt: skip


def slopes(source: RunSource) -> Iterator[Check]:
    """Slope recomputed from elevation must be that of the files, or units or places are wrong."""
    found = compared(source)
    if found is None:
        return
    rho = found["correlation"]
    level: Level = "issue"
    if rho >= SLOPES_AGREE[0]:
        level = "passed"
    elif rho >= SLOPES_AGREE[1]:
        level = "tip"
    title = {
        "passed": "Slope agrees with elevation", "tip": "Slope agrees with elevation only roughly",
        "issue": "Slope does not fit elevation",
    }[level]  # fmt: skip
    yield Check(
        "features", "features-slope", level, title,
        f"Slope recomputed from elevation correlates {words.score(rho)} with the slope of the "
        f"files, median difference {words.signed(found['difference'])}°."
        + ("" if level == "passed" else " Units, pixel size or alignment of the two are wrong."),
    )  # fmt: skip
