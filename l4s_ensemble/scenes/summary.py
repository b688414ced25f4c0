"""Summary of the stage ``scenes``."""

from __future__ import annotations

from typing import Literal

from l4s_ensemble.run.stage import SummaryModel
from l4s_ensemble.scenes.layout import GridName


class FoldRow(SummaryModel):
    """Tiles that a fold holds out, and those that its model trains on."""

    fold: int
    tiles: int
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


class ScenesSummary(SummaryModel):
    """Summary of the stage ``scenes``."""

    grid: GridName
    by: Literal["blocks", "scenes"]
    folds: int
    block_tiles: int
    roles: dict[str, int]
    per_fold: list[FoldRow]
    scenes: list[SceneRow]
    digest: str
