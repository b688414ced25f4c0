"""Summaries of the stages of a prediction: the result, the landslides in it, and the scores."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from l4s_ensemble.metrics.summary import (
    Histogram,
    ObjectScores,
    PooledScores,
    Reliability,
    Uncertainty,
)
from l4s_ensemble.run.stage import SummaryModel
from l4s_ensemble.stack.summary import Baseline, ModelGain, ModelRow, PartGain


class AdaptedThreshold(SummaryModel):
    """How the threshold of a scene came about; see `l4s_ensemble.stack.threshold`."""

    carried: float
    threshold: float
    prior_training: float
    prior_here: float
    distance: float
    kept_because: str | None


class ThresholdOfScene(SummaryModel):
    """Threshold in use in a scene, -1 where the scene is not known."""

    scene: int
    threshold: float
    adapted: AdaptedThreshold | None


class Difference(SummaryModel):
    """Median of the tiles in standard deviations of the training tiles."""

    what: str
    by: float


class Applicability(SummaryModel):
    """Dissimilarity indices of the tiles; 1 is the median of a held-out training tile.

    Attributes
    ----------
    limit : float
        The largest index inside the area of applicability.
    outside : int
        Tiles beyond it.
    edges, here, held_out : list of float
        Lower edges of bins, share of the tiles, and of the held-out training tiles.
    distance : dict of int to float
        By tile.
    differs : list of Difference
        Of the tiles outside, else of all; the largest first.
    """

    patches: int
    limit: float
    outside: int
    median: float
    edges: list[float]
    here: list[float]
    held_out: list[float]
    distance: dict[int, float]
    differs: list[Difference]

    def tiles_outside(self) -> set[int]:
        """Ids of the tiles beyond the limit."""
        return {patch for patch, far in self.distance.items() if far > self.limit}

    def of_tile(self, patch: int) -> dict[str, float]:
        """``dissimilarity`` of a tile and ``inside_applicability``: 1 within the limit, else 0."""
        far = self.distance[patch]
        return {"dissimilarity": far, "inside_applicability": int(far <= self.limit)}


class Submission(SummaryModel):
    """The zip of the masks, read back."""

    path: str
    files: int
    sha256: str
    verified: bool
    shape: tuple[int, int]


class ResultSummary(SummaryModel):
    """Masks of a split, and how they were made.

    ``histogram`` counts pixels by probability; ``applicability`` is None where the run has no
    reference of its own bands. ``adapted_to`` is the split where the U-Net took batch statistics of
    its images: of each of ``places`` (numbers of tiles) apart. They are None where it must not.
    """

    split: str
    patches: int
    learner: str
    threshold: float
    adapt_threshold: bool
    thresholds: list[ThresholdOfScene]
    smallest_px: int
    uncertainty: str
    predicted_pixels: int
    predicted_share: float
    landslide_patches: int
    fold_models: int
    adapted_to: str | None
    places: list[int] | None = None
    histogram: list[int]
    applicability: Applicability | None
    submission: Submission
    seconds: float


def _column(text: str) -> Any:
    return Field(description=text)


class Landslide(SummaryModel):
    """A row of ``landslides.csv``: its columns, in order, and what they mean."""

    id: int = _column("number of the landslide, the largest is 1")
    tiles: list[int] = _column("ids of the tiles it lies in, joined by ;")
    scene: int | None = _column("scene of these tiles, where their places are known")
    centre_in: Literal["scene", "tile"] = _column(
        "scene: rows and columns of the centre count from the scene's first tile; "
        "tile: from the corner of the tile"
    )
    centre_row_px: float = _column("row of the centre, pixels")
    centre_col_px: float = _column("column of the centre, pixels")
    pixels: int = _column("size, pixels")
    area_m2: float = _column("size, square metres, by the pixel size of the sensor")
    cut_by_edge: bool = _column(
        "whether it reaches a boundary beyond which nothing was predicted: it may go on"
    )
    mean_slope_deg: float | None = _column("mean slope, degrees")
    max_slope_deg: float | None = _column("largest slope, degrees")
    lowest_m: float | None = _column("lowest elevation, metres")
    highest_m: float | None = _column("highest elevation, metres")
    mean_probability: float = _column("mean probability of its pixels")
    peak_probability: float = _column("largest probability of its pixels")
    mean_uncertainty: float = _column(
        "mean uncertainty of its pixels, 0 sure; landslides.json names the measure"
    )
    share_predicted_pixel: float = _column(
        "share of its pixels that the pixel classifier alone predicts, at the threshold of its own"
    )
    share_predicted_unet: float = _column(
        "share of its pixels that the U-Net alone predicts, at its own threshold"
    )
    mean_probability_pixel: float = _column("mean probability by the pixel classifier alone")
    mean_probability_unet: float = _column("mean probability by the U-Net alone")
    true_share: float | None = _column("share of its pixels that are landslide, where masks exist")
    inside_applicability: bool | None = _column(
        "whether all its tiles are within the area of applicability"
    )
    reason: str | None = _column("what speaks for it and against it to the classifier, log-odds")
    feature_1: str | None = _column("feature with contribution 1 in size")
    feature_1_log_odds: float | None = _column("what it adds to the log-odds, mean over its pixels")
    feature_2: str | None = _column("feature with contribution 2 in size")
    feature_2_log_odds: float | None = _column("what it adds to the log-odds, mean over its pixels")
    feature_3: str | None = _column("feature with contribution 3 in size")
    feature_3_log_odds: float | None = _column("what it adds to the log-odds, mean over its pixels")


class LandslidesOfSize(SummaryModel):
    """Landslides of at least ``from_px`` and, where given, fewer than ``below_px`` pixels."""

    from_px: int
    below_px: int | None
    landslides: int
    area_m2: float


class LandslidesSummary(SummaryModel):
    """The predicted landslides; ``largest`` holds those that come first."""

    split: str
    landslides: int
    area_m2: float
    explained: int
    cut_by_edge: int
    over_seams: int
    uncertainty: str
    by_size: list[LandslidesOfSize]
    largest: list[Landslide]
    note: str
    seconds: float
    digest: str


class MaskScores(PooledScores):
    """Scores of the masks as they are handed in."""

    objects: ObjectScores


class PartScore(SummaryModel):
    """F1 of a model on some of the tiles."""

    value: float
    low: float | None
    high: float | None
    blocks: int
    level: float


class ScoresByApplicability(SummaryModel):
    """F1 of the models on the tiles inside the area of applicability (``like``), or outside."""

    like: bool
    tiles: int
    pixel: PartScore
    unet: PartScore
    mean: PartScore
    stack: PartScore


class TileCounts(SummaryModel):
    """Pixels of a tile's mask against its reference."""

    patch: int
    tp: int
    fp: int
    fn: int
    tn: int


class Missed(SummaryModel):
    """A reference landslide without a match."""

    patch: int  # tile that most of it lies in
    tiles: int
    pixels: int
    row: float  # centre of its part in that tile, pixels, as the next
    col: float
    mapped_share: float  # share of its pixels that are mapped as landslide


class ScoresSummary(SummaryModel):
    """Scores of a split with masks; the stack's are those of the masks as they are handed in."""

    split: str
    patches: int
    block_kind: Literal["spatial", "tile"]
    adapted_to: str | None
    comparison: list[ModelRow]
    gain: ModelGain
    marginal: list[PartGain]
    threshold: float
    masks: MaskScores
    histogram: Histogram
    reliability: Reliability
    uncertainty: Uncertainty
    applicability: list[ScoresByApplicability]
    tiles: list[TileCounts]
    baselines: list[Baseline]
    missed: list[Missed]
