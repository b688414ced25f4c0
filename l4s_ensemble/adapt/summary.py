"""Summary of an adaptation: what was labelled, what changed, and whether it helped."""

from __future__ import annotations

from l4s_ensemble.run.stage import SummaryModel

UNKNOWN_PLACES = (
    "the places of these tiles are not known, each counts as a block, and tiles side by side may "
    "make the gain look surer than it is"
)


class TileRow(SummaryModel):
    """A labelled tile and the stack's F1 there; None without a landslide in mask and prediction.

    `reason` says why it was chosen, where that is known.
    """

    patch: int
    reason: str | None
    group: int
    landslide_pixels: int
    f1_before: float | None
    f1_after: float | None


class ModelChange(SummaryModel):
    """A model on the labelled tiles: by the run, and by models adapted without each tile's group.

    `low` and `high` are of the paired gain in F1; None with fewer than ten blocks.
    """

    model: str
    f1_before: float
    f1_after: float
    gain: float
    low: float | None
    high: float | None
    blocks: int
    average_precision_before: float
    average_precision_after: float
    threshold_before: float
    threshold_after: float


class CurvePoint(SummaryModel):
    """What so many labelled tiles bring.

    `average_precision` is the stack's, with the run's weight, one value for each draw: on labelled
    tiles of a group of which none was drawn, by models of one fold.
    """

    tiles: int
    average_precision: list[float]

    @property
    def mean(self) -> float:
        """Mean over the draws."""
        return sum(self.average_precision) / len(self.average_precision)


class AdaptationSummary(SummaryModel):
    """Summary of an adaptation.

    Attributes
    ----------
    base : str
        The run that was adapted; `base_digests` are of its fitted stages, `base_version` of this
        package when its stack was fitted.
    labels : str
        Where the labels came from.
    split, scene : str or None
        Whose tiles they are of: a split, or the scene of a map in this folder. Both None: tiles in
        memory.
    labels_digest : str
        Of ids and masks.
    block_kind : {'spatial', 'tile'}
        ``tile``: places are not known, each tile is a block, see `UNKNOWN_PLACES`.
    gain_of_groups : list of float
        Gain of the stack in F1 in each group, scored by models adapted without it.
    helps : bool
        Whether a gain of the stack is shown.
    reason : str
        Why it is or is not.
    curve : list of CurvePoint
        From no label to more of them; empty where it was not asked for.
    in_use : bool
        Whether the adapted models predict; the run's own do otherwise.
    """

    base: str
    base_digests: dict[str, str]
    base_version: str | None
    labels: str
    labels_digest: str
    split: str | None
    scene: str | None
    tiles: list[TileRow]
    models: list[ModelChange]
    block_kind: str
    gain_of_groups: list[float]
    weight_pixel_before: float
    weight_pixel_after: float
    helps: bool
    reason: str
    curve: list[CurvePoint]
    in_use: bool
    seconds: float
