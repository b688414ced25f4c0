"""Scores of the run: each model on each place it was scored, in numbers and in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

from l4s_ensemble.metrics.published import why_not_comparable
from l4s_ensemble.metrics.summary import TileScores
from l4s_ensemble.pixel.summary import PixelSummary
from l4s_ensemble.predict.summary import ScoresSummary
from l4s_ensemble.report import words
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.scenes.summary import ScenesSummary
from l4s_ensemble.stack.summary import ModelRow, StackSummary
from l4s_ensemble.unet.summary import UNetSummary

MODEL_NAMES = {
    "pixel": "pixel classifier",
    "unet": "U-Net",
    "mean": "mean of both",
    "stack": "stack",
}
"""Models of a comparison, as they are named on a page."""

Kind = Literal["out-of-fold", "holdout", "fitted", "split"]

_ORDER = ("test", "valid")
"""Splits whose score comes first: nothing was chosen on them, and others published theirs."""


class Compared(Protocol):
    """What the summaries of the stack and of a scored split share."""

    @property
    def comparison(self) -> list[ModelRow]:
        """Rows of the models."""


@dataclass(frozen=True)
class Score:
    """Scores of a model on the training tiles out of fold, or on a predicted split.

    Attributes
    ----------
    model, name : str
        Key of the model, and its name; one that used a split's images is another than one that
        did not.
    split : str
    kind : {'out-of-fold', 'holdout', 'fitted', 'split'}
    row : TileScores
    adapted_to : str or None
    not_comparable : str
        Why published scores may not stand beside it; empty where they may.
    """

    model: str
    name: str
    split: str
    kind: Kind
    row: TileScores
    adapted_to: str | None
    not_comparable: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values, the scores among them."""
        values = {k: v for k, v in asdict(self).items() if k not in {"row", "name"}}
        said = {"row": self.model, "model": self.name, "sentence": self.sentence()}
        return {**self.row.model_dump(mode="json"), **values, **said}

    def sentence(self) -> str:
        """Say the score, its interval, its errors and where it was measured."""
        r = self.row
        return (
            f"The {self.name} reaches F1 {words.score(r.f1)} ({words.interval_of(r)}): of 100 "
            f"mapped pixels {words.of_100(r.precision)} are landslide, of 100 landslide pixels "
            f"{words.of_100(r.recall)} are mapped. Measured {self.where()}."
        )

    def where(self) -> str:
        """Say on what it was measured, and where the threshold was chosen."""
        tiles = words.plural(self.row.tiles, "tile")
        seen = "which no fit has seen"
        if self.adapted_to == self.split:
            seen = "whose images, and no mask, the U-Net was adapted to"
        place = {
            "out-of-fold": f"out-of-fold on {tiles} of training",
            "fitted": f"on {tiles} of training that the models were fitted on",
            "holdout": f"on {tiles} of the {self.split}, {seen}",
            "split": f"on {tiles} of {self.split}, {seen}",
        }[self.kind]
        if self.row.threshold_chosen_here:
            return f"{place}; the threshold was chosen on these same scores"
        return f"{place}; the threshold was chosen out-of-fold"

    def short(self) -> str:
        """Name the place in a few words."""
        return {
            "out-of-fold": "training, out of fold",
            "fitted": "training tiles that were fitted on",
            "holdout": "holdout",
            "split": self.split,
        }[self.kind]


def out_of_fold(source: RunSource, model: str) -> Score | None:
    """Score of a fitted model on the training tiles, or None if it has none."""
    stack, pixel, unet = (source.get(k) for k in (StackSummary, PixelSummary, UNetSummary))
    if model in ("stack", "mean"):
        row = row_of(stack, model) if isinstance(stack, StackSummary) else None
        return None if row is None else _score(source, row, "train", "out-of-fold")
    found = pixel if model == "pixel" else unet
    if not isinstance(found, PixelSummary | UNetSummary):
        return None
    return _made(source, model, None, found.oof, "train", "out-of-fold")


def on_split(source: RunSource, split: str, model: str = "stack") -> Score | None:
    """Score of a model on a predicted split, or None if the split was not scored."""
    scores = source.get(ScoresSummary, split)
    row = row_of(scores, model) if scores else None
    return None if row is None else _score(source, row, split, kind_of(source, split))


def kind_of(source: RunSource, split: str) -> Kind:
    """``holdout``, ``fitted`` (the training tiles themselves) or ``split``."""
    if source.data_stage(split) != "data/train":
        return "split"
    return "holdout" if split == "holdout" else "fitted"


def everywhere(source: RunSource, model: str) -> list[Score]:
    """Every score of a model: out of fold, then on each split."""
    found = [out_of_fold(source, model), *(on_split(source, s, model) for s in source.predicted)]
    return [score for score in found if score is not None]


def of_run(source: RunSource) -> Score | None:
    """Score that stands for a run: official splits first, then the holdout, then out-of-fold."""
    scored = sorted(
        (s for s in source.predicted if kind_of(source, s) != "fitted"),
        key=lambda s: _ORDER.index(s) if s in _ORDER else len(_ORDER),
    )
    found = [on_split(source, split) for split in scored]
    found += [out_of_fold(source, model) for model in ("stack", "unet", "pixel")]
    return next((score for score in found if score is not None), None)


def row_of(summary: Compared, model: str) -> ModelRow | None:
    """Row of a model in a comparison; None where it has none."""
    return next((row for row in summary.comparison if row.model == model), None)


def stack_row(summary: Compared) -> ModelRow:
    """Row of the stack."""
    return next(row for row in summary.comparison if row.model == "stack")


def name_of(model: str, adapted_to: str | None) -> str:
    """Name of a model; one that used a split's images is another than one that did not."""
    name = MODEL_NAMES.get(model, model)
    return f"{name}, adapted to {adapted_to}" if adapted_to else name


def known(scores: Sequence[Score | None]) -> list[Score]:
    """Those that there are."""
    return [score for score in scores if score is not None]


def _score(source: RunSource, row: ModelRow, split: str, kind: Kind) -> Score:
    return _made(source, row.model, row.adapted_to, row, split, kind)


def _made(
    source: RunSource,
    model: str,
    adapted_to: str | None,
    row: TileScores,
    split: str,
    kind: Kind,
) -> Score:
    data, scenes = source.data(split), source.get(ScenesSummary)
    described = {} if data is None else data.model_dump(include={"synthetic", "patches", "sensor"})
    why = why_not_comparable(split, kind, described, scenes.grid if scenes else None)
    return Score(model, name_of(model, adapted_to), split, kind, row, adapted_to, why)
