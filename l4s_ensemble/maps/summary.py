"""What a map says of itself: ``summary.json``."""

from __future__ import annotations

from l4s_ensemble.run.stage import SummaryModel

SETTINGS, SUMMARY = "map.json", "summary.json"
"""Files of a map's folder: what was asked for, and `MapSummary`."""


class BandLevel(SummaryModel):
    """Medians of a band: as stored, as used, and of the median training tile."""

    band: str
    stored: float
    used: float
    training: float | None


class SizeClass(SummaryModel):
    """Landslides of a size in pixels, from (inclusive) to below; None: no limit."""

    from_px: int
    below_px: int | None
    landslides: int
    area_m2: float


class BareBefore(SummaryModel):
    """Landslides that were bare ground before the event.

    Attributes
    ----------
    signs : list of str
        What separates bare from covered ground.
    accuracy : float
        Balanced accuracy of separating mapped from unmapped pixels of the mapped scene by them.
    landslides : int
    area_m2 : float
    undetermined : int
        Landslides that were not seen before, or all if the accuracy does not do.
    left_out : bool
        Whether they are no part of the map.
    """

    signs: list[str]
    accuracy: float
    landslides: int
    area_m2: float
    undetermined: int
    left_out: bool


class MapSummary(SummaryModel):
    """A map of landslides.

    Attributes
    ----------
    scene, run : str
    digest : str
        Of everything that the map was made from.
    level : str or None
        L1C or L2A, where the product says it.
    observed : str or None
        When the scene was taken, ISO 8601, where the product says it.
    radiometry : str
        Where scale and offset come from.
    gain : float
        Factor of all reflectance; not 1 for a relative sensor only.
    bands : list of BandLevel
    before : BareBefore or None
    adapted : bool
        Whether the U-Net took batch statistics of the scene.
    crs : str
    bounds : list of float
        Left, bottom, right, top; metres.
    shape : list of int
        Height and width, pixels.
    pixel_m : float
    observed_km2 : float
        Area that was predicted.
    masked_share : float
        Share of the wanted area without data or under clouds, not predicted.
    threshold : float
        A pixel is landslide from this probability on.
    threshold_reason : str
    landslides : int
    area_m2 : float
    expected_m2, expected_mapped_m2 : float
        Sum of the probabilities of all pixels, and of those from the threshold on.
    by_size : list of SizeClass
    review : int
        Landslides that should be looked at.
    dissimilarity_limit, outside_share : float or None
        Limit of the area of applicability, and share of the predicted area beyond it.
    blocks, blocks_kept : int
        Of the map, and those that a run before had left.
    seconds, seconds_per_km2, peak_mb : float
        Of the last run; memory of the largest process here.
    """

    scene: str
    run: str
    digest: str
    level: str | None
    observed: str | None
    radiometry: str
    gain: float
    bands: list[BandLevel]
    before: BareBefore | None
    adapted: bool = False
    crs: str
    bounds: list[float]
    shape: list[int]
    pixel_m: float
    observed_km2: float
    masked_share: float
    threshold: float
    threshold_reason: str
    landslides: int
    area_m2: float
    expected_m2: float
    expected_mapped_m2: float
    by_size: list[SizeClass]
    review: int
    dissimilarity_limit: float | None
    outside_share: float | None
    blocks: int
    blocks_kept: int
    seconds: float
    seconds_per_km2: float
    peak_mb: float
