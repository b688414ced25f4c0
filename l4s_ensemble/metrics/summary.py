"""Typed scores in the summaries of stages.

``low`` and ``high`` bound a 95 % interval, None where there are too few spatial blocks for one.
"""

from __future__ import annotations

from pydantic import model_validator

from l4s_ensemble.run.stage import SummaryModel


class Histogram(SummaryModel):
    """Pixels of both classes by bin of probability (`ScoreHistogram.as_dict`)."""

    positive: list[int]
    negative: list[int]

    @model_validator(mode="after")
    def _same_bins(self) -> Histogram:
        if len(self.positive) != len(self.negative):
            raise ValueError("both classes need the same bins")
        return self


class Reliability(SummaryModel):
    """Mean predicted probability, observed frequency and pixels, by bin of probability."""

    predicted: list[float | None]
    observed: list[float | None]
    pixels: list[int]


class PooledScores(SummaryModel):
    """Scores and counts of pooled pixels, with the interval of F1."""

    precision: float
    recall: float
    f1: float
    iou: float
    tp: int
    fp: int
    fn: int
    tn: int
    f1_low: float | None
    f1_high: float | None
    blocks: int


class TileScores(PooledScores):
    """Scores of tiles at one threshold (`l4s_ensemble.metrics.tiles.summarise`)."""

    threshold: float
    threshold_chosen_here: bool
    plateau_low: float
    plateau_high: float
    average_precision: float
    calibration_error: float
    f1_best: float
    threshold_best: float
    tiles: int


class MatchedObjects(SummaryModel):
    """Whole landslides: all and those with a match in the reference, all and those without a match
    among the predicted, ``found / reference`` and ``1 - false / predicted``.
    """

    reference: int
    found: int
    predicted: int
    false: int
    recall: float | None
    precision: float | None


class ObjectsOfSize(MatchedObjects):
    """Whole landslides of a size, pixels: each counts in the bin of its own, so there is no F1."""

    low_px: int
    high_px: int | None


class ObjectScores(MatchedObjects):
    """Scores of whole landslides (`l4s_ensemble.metrics.objects.summarise_objects`)."""

    iou_matched: float
    f1: float | None
    f1_low: float | None
    f1_high: float | None
    blocks: int
    by_size: list[ObjectsOfSize]


class Gain(SummaryModel):
    """Paired gain of a score; shown where its interval is above zero."""

    value: float
    low: float | None
    high: float | None
    blocks: int
    level: float
    shown: bool


class Risk(SummaryModel):
    """Scores where a person looks at the least certain share of pixels."""

    share: float
    f1_rest: float | None
    f1_helped: float | None
    errors_seen: float | None


class Uncertainty(SummaryModel):
    """How well uncertainty separates errors from correct pixels."""

    measure: str
    auc: dict[str, float | None]
    risk: list[Risk]


class FailureRow(SummaryModel):
    """Pixels of a bin at the threshold, and their scores; None: no bound, no denominator."""

    low: float | None
    high: float | None
    tp: int
    fp: int
    fn: int
    f1: float | None


class FailureKind(FailureRow):
    """The same with all pixels of the bin, those of landslides, precision and recall."""

    pixels: int
    landslide: int
    precision: float | None
    recall: float | None


class FailuresBy(SummaryModel):
    """Pixels by a value; `l4s_ensemble.metrics.failures.TITLES` names the keys."""

    key: str
    title: str
    unit: str
    rows: list[FailureKind]


class Failures(SummaryModel):
    """Errors by properties of the pixels (`l4s_ensemble.metrics.failures`).

    Attributes
    ----------
    threshold : float
        Of probability.
    pixel_m : float
        Edge of a pixel, metres.
    by : list of FailuresBy
        As far as the sensor has the bands: ``slope_deg``, ``dem_m``, ``brightness`` and
        ``tile_brightness`` (quintiles of pixels, and of tiles), ``tile_edge_px`` (0 = outermost).
    boundary : list of FailureRow
        By distance to the boundary of a reference landslide, from either side, pixels: found and
        missed ones are inside, false ones outside. A tile without a landslide has no boundary.
    """

    threshold: float
    pixel_m: float
    by: list[FailuresBy]
    boundary: list[FailureRow]
