"""Summary of the fit of a run's pixel classifiers, for the report.

Log-odds are relative to the ground, see `l4s_ensemble.pixel.shap`. Scores are pooled over pixels.
"""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict

from l4s_ensemble.metrics.summary import Failures, Histogram, Reliability, TileScores
from l4s_ensemble.run.stage import SummaryModel


class Strict(SummaryModel):
    """Base: values of other types are errors, too."""

    model_config = ConfigDict(strict=True)


class SampledRows(Strict):
    """Sampled pixels of all folds, and those of them that are landslide."""

    pixels: int
    positives: int


class FoldSummary(Strict):
    """Fit and scores of a fold; scores are those of its held-out tiles."""

    fold: int
    rows: int  # sampled pixels that it was fitted on
    positives: int  # of them landslide
    held_out_tiles: int
    buffer_tiles: int  # neighbours of the held-out tiles: it is not fitted on them
    f1: float  # at the threshold of all folds, as the next two
    precision: float
    recall: float


class FeatureContribution(Strict):
    """Contribution of a feature to the logits of held-out pixels."""

    name: str
    group: str
    mean_abs: float  # mean size, log-odds
    # Correlation of value and contribution: near 1 high values speak for a landslide, near -1 low
    # ones; None where the feature is constant or unused.
    direction: float | None


class Word(Strict):
    """A word for features of one topic."""

    word: str
    log_odds: float  # sum over the features
    features: list[str]  # the largest contribution first


class FeatureOfReason(Strict):
    """A feature of a landslide."""

    name: str
    group: str
    log_odds: float  # mean over the landslide's pixels
    value: float  # median over them
    typical: float  # median where there is no landslide


class Reason(Strict):
    """Explanation of the logit of a landslide: means over its explained pixels."""

    logit: float
    expected: float  # logit of the mean pixel of the ground: contributions are added to it
    sentence: str  # for example 'bare soil +1.9, slope +0.8, but water −0.7'
    words: list[Word]  # the largest size first, as the next
    features: list[FeatureOfReason]


class LandslideOutOfFold(Reason):
    """A landslide that is mapped out of fold; it lies in one tile."""

    kind: Literal["found", "false"]  # at least half of its pixels are landslide, or none is
    patch: int
    fold: int  # holds the tile out
    pixels: int
    area_m2: float
    true_share: float  # share of its pixels that are landslide
    box: list[int]  # first and last row, first and last column
    probability: float  # mean over its pixels


class RuleOfFold(Strict):
    """Thresholds of NDVI and slope that are best on a fold's training tiles."""

    fold: int
    ndvi_below: float
    slope_from_deg: float
    f1_train: float
    f1: float  # of the held-out tiles


class Rule(Strict):
    """Baseline of two thresholds: NDVI and slope."""

    lacks: list[str]  # bands that the sensor lacks; then the rest is empty
    folds: list[RuleOfFold]
    f1: float | None  # out of fold


class PixelSummary(Strict):
    """Fit of the pixel classifiers of a run, and their out-of-fold scores."""

    features: list[str]  # in the order of the columns
    rows: SampledRows
    folds: list[FoldSummary]
    oof: TileScores
    histogram: Histogram
    reliability: Reliability
    failures: Failures
    contribution: list[FeatureContribution]  # the largest first
    landslides: list[LandslideOutOfFold]  # the largest found ones, then the largest false ones
    rule: Rule
    seconds: float  # of the whole stage
