"""Summary of the stage ``scenes``."""

from __future__ import annotations

from typing import Literal

from l4s_ensemble.run.stage import SummaryModel
from l4s_ensemble.scenes.layout import GridName


class FoldRow(SummaryModel):
    """Tiles that a fold holds out, and those that its model trains on."""

    fold: int
    tiles: int
    landslide_pixels: int
    prevalence: float
    train_tiles: int
    buffer_tiles: int


class SceneRow(SummaryModel):
    """A scene and its extent in tiles; tiles without a place are scene -1."""

    scene: int
    tiles: int
    fitted_tiles: int
    rows: int | None
    cols: int | None
    prevalence: float


class SceneApplicability(SummaryModel):
    """Dissimilarity indices of the training tiles of a scene, and tiles beyond the limit."""

    scene: int
    tiles: int
    median: float
    beyond: int


class ApplicabilitySummary(SummaryModel):
    """Area of applicability: the largest index inside it, and the scenes."""

    limit: float
    scenes: list[SceneApplicability]


class ScenesSummary(SummaryModel):
    """Summary of the stage ``scenes``."""

    grid: GridName
    by: Literal["blocks", "scenes"]
    folds: int
    block_tiles: int
    block_tiles_asked: int
    roles: dict[str, int]
    copied_tiles: int
    per_fold: list[FoldRow]
    scenes: list[SceneRow]
    applicability: ApplicabilitySummary
    digest: str
