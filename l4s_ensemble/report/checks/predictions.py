"""Checks of a predicted split: does what was learnt carry over."""

from __future__ import annotations

from collections.abc import Iterator

from l4s_ensemble.report import words
from l4s_ensemble.report.checks.check import Check, Level
from l4s_ensemble.report.checks.models import scored_rows
from l4s_ensemble.report.pages import likeness
from l4s_ensemble.report.source import RunSource

THRESHOLD_COST = (0.01, 0.05)
"""F1 lost by the threshold on a split, against its best one: a tip, an issue."""

PREVALENCE_RATIO = ((0.33, 3.0), (0.1, 10.0))
"""Predicted share over the training share of landslide pixels: passed, tip."""

UNLIKE = (0.1, 0.5)
"""Share of the tiles unlike all of training: passed, tip."""

MEDIAN_SHIFT = 1.0
"""Shift of a band's median between splits, in interquartile ranges, that is worth a tip."""


def threshold_carries(source: RunSource) -> Iterator[Check]:
    """The threshold of the training tiles should be near the best one here."""
    for page, key, name, row, _ in scored_rows(source):
        if not page.startswith("prediction") or row.get("f1_best") is None:
            continue
        cost = row["f1_best"] - row["f1"]
        level: Level = "issue"
        title = "Threshold does not carry over"
        if cost <= THRESHOLD_COST[0]:
            level, title = "passed", "Threshold carries over"
        elif cost <= THRESHOLD_COST[1]:
            level, title = "tip", "Threshold does not quite carry over"
        yield Check(
            page, f"carries-{key}", level, f"{title} to {key}",
            f"At {words.score(row['threshold'])} {name} loses {words.score(cost)} of F1 against "
            f"the best threshold there, {words.score(row['threshold_best'])}, which nobody may "
            "choose.",
        )  # fmt: skip


def prevalence(source: RunSource) -> Iterator[Check]:
    """About as much should be predicted as there was in training."""
    base = source.summary("data/train").get("prevalence")
    for split in source.predicted:
        share = source.summary(f"predict/{split}/result").get("predicted_share")
        if share is None or not base:
            continue
        ratio = share / base
        level: Level = "issue"
        if PREVALENCE_RATIO[0][0] <= ratio <= PREVALENCE_RATIO[0][1]:
            level = "passed"
        elif PREVALENCE_RATIO[1][0] <= ratio <= PREVALENCE_RATIO[1][1]:
            level = "tip"
        yield Check(
            f"prediction-{split}", f"prevalence-{split}", level,
            f"Predicted area of {split} is {'plausible' if level == 'passed' else 'unusual'}",
            f"{words.share(share)} of the pixels are called landslide; in training "
            f"{words.share(base)} are."
            + ("" if level == "passed" else " A place unlike the training scenes does that: look "
            "at "
               "the gallery before you trust the masks."),
        )  # fmt: skip


def alike(source: RunSource) -> Iterator[Check]:
    """Bands should have about the same medians as in training."""
    train = {b["name"]: b for b in source.summary("data/train").get("bands", [])}
    for split in source.predicted:
        stage = source.data_stage(split)
        if stage == "data/train" or not train:
            continue
        far = []
        for band in source.summary(stage).get("bands", []):
            own = train.get(band["name"])
            if own is None:
                continue
            spread = max(own["p75"] - own["p25"], 1e-9)
            shift = (band["p50"] - own["p50"]) / spread
            if abs(shift) > MEDIAN_SHIFT:
                far.append(f"{band['name']} {words.gain(shift)}")
        yield Check(
            f"prediction-{split}", f"alike-{split}", "tip" if far else "passed",
            f"{split} is {'unlike' if far else 'like'} the training tiles",
            f"Medians shifted by more than {words.number(MEDIAN_SHIFT)} interquartile range: "
            f"{', '.join(far)}. "
            "Scores from training may not hold." if far else
            "No band's median has moved by more than one interquartile range.",
        )  # fmt: skip


def like_training(source: RunSource) -> Iterator[Check]:
    """Tiles should be like some that the run's scores were measured on."""
    for split in source.predicted:
        told = likeness.told(source, split)
        if not told:
            continue
        share = told["unlike"] / told["patches"]
        level: Level = "passed" if share <= UNLIKE[0] else "tip" if share <= UNLIKE[1] else "issue"
        few = "nearly all tiles" if told["unlike"] else "all tiles"
        title = {"passed": few, "tip": "not all tiles", "issue": "most tiles"}[level]
        yield Check(
            f"prediction-{split}", f"likeness-{split}", level,
            f"{title[0].upper()}{title[1:]} of {split} are "
            f"{'unlike any' if level == 'issue' else 'like some'} of training",
            likeness.sentence(told)
            + ("" if level == "passed" else " tiles.csv beside the prediction names them."),
        )  # fmt: skip


def submission(source: RunSource) -> Iterator[Check]:
    """The file to send must have been read back."""
    for split in source.predicted:
        told = source.summary(f"predict/{split}/result").get("submission")
        if not told:
            continue
        good = bool(told.get("verified"))
        yield Check(
            f"prediction-{split}", f"submission-{split}", "passed" if good else "issue",
            f"Submission of {split} {'reads back as written' if good else 'was not verified'}",
            f"{told['path']} holds {words.plural(int(told['files']), 'mask')}"
            + (", each read back and compared." if good else ". Predict again before you send it."),
        )  # fmt: skip
