"""Summary of the stage ``stack``."""

from __future__ import annotations

from pydantic import ConfigDict

from l4s_ensemble.metrics.summary import (
    Gain,
    Histogram,
    ObjectScores,
    Reliability,
    TileScores,
    Uncertainty,
)
from l4s_ensemble.run.stage import SummaryModel


class LearnerGain(SummaryModel):
    """Paired gain in F1 of one learner over another."""

    over: str
    value: float
    low: float | None
    high: float | None
    shown: bool


class LearnerRow(SummaryModel):
    """A scored learner or base model; see `l4s_ensemble.stack.learners.choose_learner`."""

    name: str
    f1: float
    behind: LearnerGain
    chosen: bool
    why: str


class ModelRow(TileScores):
    """A row of the model comparison; see `l4s_ensemble.stack.comparison.compare`."""

    model: str
    adapted_to: str | None
    objects: ObjectScores | None


class ModelGain(Gain):
    """Paired gain in F1 of the stack over another model, of pixels and of whole landslides."""

    over: str
    objects: Gain | None = None


class PartGain(ModelGain):
    """What a part adds: gain of the stack over the model that is left without it."""

    part: str


class Calibrated(SummaryModel):
    """Scores of probabilities, cross-fitted."""

    calibration_error: float
    log_loss: float
    reliability: Reliability


class CalibrationChoice(SummaryModel):
    """The chosen calibration, and scores without and with it."""

    chosen: str
    before: Calibrated
    after: Calibrated


class Removal(SummaryModel):
    """The smallest landslide that is kept, and the gain in F1 where one was looked for."""

    smallest_px: int
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    blocks: int | None = None
    reason: str | None


class Decision(SummaryModel):
    """How a mask is made of a probability."""

    calibration: CalibrationChoice
    adapt_threshold: bool
    postprocess: Removal


class Check(SummaryModel):
    """A check for leaks, of one fold or of all."""

    check: str
    fold: int | None
    passed: bool
    said: str


class Leaks(SummaryModel):
    """Checks for leaks: how many, how many hold, and each."""

    checked: int
    passed: int
    details: list[Check]


class Agreement(SummaryModel):
    """Pixels by which base model is right."""

    both_right: int
    only_pixel: int
    only_unet: int
    both_wrong: int


class AgreementOfSize(Agreement):
    """The same of reference landslides of a size, with their number."""

    low_px: int
    high_px: int | None
    landslides: int


class Baseline(SummaryModel):
    """A simple rule, chosen on training tiles see `stack.baselines`."""

    name: str
    rule: str
    f1: float
    f1_low: float | None
    f1_high: float | None
    precision: float
    recall: float


class StackSummary(SummaryModel):
    """Summary of the stage ``stack``."""

    model_config = ConfigDict(frozen=True, extra="ignore")  # earlier fits say more

    learner: str
    learners: list[LearnerRow]
    weight_pixel: float
    weight_pixel_of_fold: dict[int, float]
    folds: list[int]
    comparison: list[ModelRow]
    gain: ModelGain
    marginal: list[PartGain]
    threshold: float
    plateau: tuple[float, float]
    decision: Decision
    histogram: Histogram
    reliability: Reliability
    leaks: Leaks
    uncertainty: Uncertainty
    agreement: Agreement
    agreement_by_size: list[AgreementOfSize]
    baselines: tuple[Baseline, ...] = ()  # out of fold, on the tiles of the comparison
    seconds: float
