"""The index of a report: the verdict, the map, the score beside baselines, how it was made."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path
from typing import Any

from l4s_ensemble.features.summary import FeaturesSummary
from l4s_ensemble.metrics import published
from l4s_ensemble.predict.summary import ResultSummary, ScoresSummary
from l4s_ensemble.report import checks, commands, headline, words
from l4s_ensemble.report.headline import MODEL_NAMES, Score
from l4s_ensemble.report.page import Page, PageKind, section, stat
from l4s_ensemble.report.pages.prediction import area_sentence, map_of
from l4s_ensemble.report.pages.stack import name_of
from l4s_ensemble.report.parts import baselines
from l4s_ensemble.report.pictures import gallery
from l4s_ensemble.report.source import FITS, RunSource
from l4s_ensemble.report.table import SCORES, key_figures, score_row, table
from l4s_ensemble.scenes.summary import ScenesSummary
from l4s_ensemble.stack.summary import ModelRow, StackSummary
from l4s_ensemble.unet.summary import UNetSummary

AREA_OFF = 0.1
"""Relative error of the mapped area up to which it may be reported as it is."""

FEW_MATCHED = 0.5
"""Share of landslides that is matched, or F1 of them, below which the map is not for them."""


def overview(source: RunSource, page: str) -> Page:
    """Make the index."""
    score = headline.of_run(source)
    everything = [s for m in MODEL_NAMES for s in headline.everywhere(source, m)]
    listed = [
        {**score_row(s.row), "model": s.name, "on": s.short()}
        for s in sorted(everything, key=lambda s: s.kind == "out-of-fold")
    ]
    columns = [("on", "measured on", "text"), ("model", "text"), *SCORES]
    tables = {"scores": table("Every score of this run", columns, listed)} if listed else {}
    place = published.place(score.as_dict()) if score else None
    said = verdict(source, score)
    blocks = {"verdict": said, "made": _made(source)}
    if place:
        blocks["published"] = {"kind": "published", **place}
    return {
        "lead": _short(said) if score else "Nothing has been scored yet.",
        "headline": score.as_dict() if score else None,
        "stats": _stats(source, score),
        "picture": "map",
        "blocks": blocks,
        "missing": _not_run(source),
        "figures": {"baselines": baselines.drawn(source, score)} if score else {},
        "tables": tables,
        "sections": [
            section("verdict", "What it may be used for", "", "verdict"),
            section("baselines", "Beside simple rules", _measured(score), "baselines", "published"),
            section("tiles", "Tiles", "", "gallery"),
            section("scores", "Every score", "", "scores", folded=True),
            section("made", "How it was made", "", "made", folded=True),
        ],
    }


def _draw(source: RunSource, page: str, assets: Path, drawn: set[str]) -> dict[str, Any]:
    score = headline.of_run(source)
    if score is None:
        return {}
    if score.kind == "out-of-fold":
        return gallery.of_fit(source, score.model, assets, drawn)
    maps = map_of(source, f"prediction-{score.split}", assets, drawn)
    if "map" in maps:
        return {"map": maps["map"]}
    return gallery.of_prediction(source, f"prediction-{score.split}", assets, drawn)


PAGE = PageKind(
    order=0,
    name="index",
    title="Overview",
    question="May I use this map, for what, and why not?",
    stages=lambda source: {"index": list(source.stages)},
    make=overview,
    commands=commands.everything,
    draw=_draw,
)


def verdict(source: RunSource, score: Score | None) -> dict[str, Any]:
    """Say what the run's map may be used for, what not, and three reasons."""
    use: list[str] = []
    avoid: list[str] = []
    data = source.data(score.split) if score else None
    if score is None:
        avoid.append("Anything: nothing has been scored.")
    else:
        best = baselines.best_rule(baselines.rows(source, score))
        if best is None or score.row.f1 > best["value"]:
            of_100 = words.of_100(score.row.precision), words.of_100(score.row.recall)
            use.append(
                "Finding ground with landslides, with a look by a person: of 100 mapped pixels "
                f"{of_100[0]} are landslide, of 100 landslide pixels {of_100[1]} are mapped."
            )
        else:
            avoid.append(
                f"Anything that a simple rule does as well: {best['name']} has F1 "
                f"{words.score(best['value'])} on the same tiles."
            )
        for said in (_area(score), _outlines(score)):
            if said is not None:
                (use if said[1] else avoid).append(said[0])
        avoid += _small(source, score) + _elsewhere(source, score)
    if data is not None and data.synthetic:
        use.insert(0, "Trying the program: the patches are synthetic.")
        avoid.insert(0, "Any real place: no score of synthetic patches says anything about one.")
    avoid.append("Warnings or decisions without a look by someone who knows the ground.")
    found = checks.run_checks(source)
    order = {"issue": 0, "tip": 1}
    bad = sorted((c for c in found if c["level"] in order), key=lambda c: order[c["level"]])
    # The first sentence says what was measured; the checks below say all.
    why = [f"{c['title']}: {c['explanation'].partition('. ')[0].rstrip('.')}." for c in bad[:3]]
    return {"kind": "verdict", "use": use, "avoid": avoid, "why": why or ["Every check passed."]}


def _outlines(score: Score) -> tuple[str, bool] | None:
    """Say whether single landslides may be counted; None where they were not matched."""
    whole = score.row.objects if isinstance(score.row, ModelRow) else None
    if whole is None or not whole.reference:
        return None
    said = (
        f"Counting or outlining single landslides: {whole.found:,} of {whole.reference:,} are "
        f"matched by one of {whole.predicted:,} mapped ones (intersection over union of "
        f"{whole.iou_matched})."
    )
    return said, (whole.f1 or 0) >= FEW_MATCHED


def _area(score: Score) -> tuple[str, bool] | None:
    """Say whether the mapped area may be reported; None without landslides."""
    real, mapped = score.row.tp + score.row.fn, score.row.tp + score.row.fp
    if not real:
        return None
    off, is_good = mapped / real - 1, abs(mapped / real - 1) <= AREA_OFF
    what = "The mapped area" if is_good else "The area without correction"
    return f"{what}: {words.percent(off)} against the reference.", is_good


def _small(source: RunSource, score: Score) -> list[str]:
    """Sizes, from the smallest, that are mostly missed."""
    whole = score.row.objects if isinstance(score.row, ModelRow) else None
    bins = [b for b in whole.by_size if b.reference] if whole else []
    poor = list(takewhile(lambda b: (b.recall or 0) < FEW_MATCHED, bins))
    if not poor:
        return []
    found, reference = sum(b.found for b in poor), sum(b.reference for b in poor)
    largest = poor[-1].high_px
    sizes = "of any size"
    if largest is not None:
        sizes = f"below {words.area((largest + 1) * source.pixel_m() ** 2)}"
    return [f"Landslides {sizes}: {found:,} of {reference:,} are matched."]


def _elsewhere(source: RunSource, score: Score) -> list[str]:
    result = source.get(ResultSummary, score.split) if score.kind != "out-of-fold" else None
    inside = result.applicability if result else None
    if inside is not None and inside.outside:
        n = f"{inside.outside:,} of {words.plural(inside.patches, 'tile')} of {score.split}"
        return [
            f"Tiles outside the area of applicability: {n} are unlike anything that this model was "
            f"scored on. Label 20 of them ({commands.label(source, score.split)})."
        ]
    if score.kind != "split":
        return ["A place never seen: no split of other places was scored."]
    return []


def _stats(source: RunSource, score: Score | None) -> list[dict[str, Any]]:
    if score is None:
        return []
    r = score.row
    made = [stat("F1 of landslide", r.f1, "score", words.interval_of(r))]
    best = baselines.best_rule(baselines.rows(source, score))
    if best:
        made.append(stat("best simple rule", best["value"], "score", best["how"]))
    whole = r.objects if isinstance(r, ModelRow) else None
    if whole:
        of = f"of {whole.reference:,} in the reference, by {whole.predicted:,} mapped ones"
        made.append(stat("landslides matched", whole.found, "count", of))
    if score.kind != "out-of-fold":
        said = area_sentence(source, score.split)
        pixels, pixel = r.tp + r.fp, source.pixel_m(score.split) ** 2
        made.append(stat("mapped", pixels * pixel, "area", said.partition(", ")[2].rstrip(".")))
    return made


def _short(said: dict[str, Any]) -> str:
    """Say a verdict in a sentence: what stands before the colon of each line."""
    use, avoid = (
        [line.partition(":")[0].rstrip(".") for line in said[key]] for key in ("use", "avoid")
    )
    parts = [f"Usable for {_joined(use)}"] if use else []
    return "; ".join([*parts, f"not for {_joined(avoid)}"]).capitalize() + "."


def _joined(items: list[str]) -> str:
    lower = [item[:1].lower() + item[1:] for item in items]
    return ", ".join(lower[:-1]) + (", or " if len(lower) > 1 else "") + lower[-1]


def _measured(score: Score | None) -> str:
    if score is None:
        return ""
    why = score.not_comparable
    return score.sentence() + (f" Published scores are not shown: {why}." if why else "")


def _made(source: RunSource) -> dict[str, Any]:
    """What the run is made of; times stand in the foot of the page."""
    scenes, features = source.get(ScenesSummary), source.get(FeaturesSummary)
    unet, stack = source.get(UNetSummary), source.get(StackSummary)
    tiles = [f"{d.patches:,} {s}" for s in source.splits if (d := source.data(s))]
    return key_figures(
        [
            ("tiles", tiles, "text"),
            ("folds", scenes.folds if scenes else None, "count"),
            ("features of a pixel", len(features.features) if features else None, "count"),
            ("U-Net", unet.network if unet else None, "text"),
            ("meta-learner", name_of(stack.learner) if stack else None, "text"),
            ("predicted", source.predicted or None, "text"),
        ]
    )


def _not_run(source: RunSource) -> list[dict[str, str]]:
    """Stages without a page, and the command that runs them."""
    titles = {
        "features": "Features",
        "pixel": "Pixel classifier",
        "unet": "U-Net",
        "stack": "Stack",
    }
    out = [
        {"stage": titles[n], "command": f"l4s-ensemble {n if n == 'features' else f'fit {n}'}"}
        for n in FITS
        if n in titles and n not in source
    ]
    if not source.predicted:
        out.append({"stage": "Prediction", "command": "l4s-ensemble predict --split valid"})
    for split in source.predicted:
        data = source.data(split)
        if data and data.masks and source.get(ScoresSummary, split) is None:
            command = f"l4s-ensemble evaluate {commands.split_words(source, split)}"
            out.append({"stage": f"Scores of {split}", "command": command})
    return out
