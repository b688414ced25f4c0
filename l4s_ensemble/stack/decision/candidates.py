"""The small grids of the search, and the counts of a whole grid on the mask from one labelling."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.stack.decision.postprocess import (
    Bool,
    Float,
    Step,
    cleaned,
    edge_labels,
    objects,
)  # fmt: skip

SIGMA_PX = (0.5, 1.0, 2.0)
RADIUS_PX = (1, 3)
RADIUS_IMAGE_PX = (1, 2, 3)
EPSILON_SELF = (0.003, 0.03)
EPSILON_IMAGE = (0.01, 0.03)
SMALLEST_PX = (4, 8, 16, 32, 64)
SPARED_AT = (2.0, 0.8, 0.6)
HIGH = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
HOLES_PX = (4, 8, 16, 32, 64, 128)

THRESHOLD_MOVES = (-1.0, -0.6, -0.3, 0.0, 0.3, 0.6)
"""In log-odds from the best threshold without the step. Hysteresis wants a low one."""


def probability_candidates(with_guide: bool) -> list[Step]:
    """Steps on the probability."""
    out = [Step.of("smooth", sigma_px=s) for s in SIGMA_PX]
    kinds = [("self", EPSILON_SELF), *([("image", EPSILON_IMAGE)] if with_guide else [])]
    for guide, epsilons in kinds:
        out += [
            Step.of("guided", radius_px=r, epsilon=e, guide=guide)
            for r in (RADIUS_PX if guide == "self" else RADIUS_IMAGE_PX)
            for e in epsilons
        ]
    return out


def mask_candidates(skip: Collection[str] = ()) -> list[Step]:
    """Steps on the mask, without those named."""
    out = [Step.of("hysteresis", high=h) for h in HIGH]
    out += [
        Step.of("smallest", pixels=n, spared_at=s, spare_edge=e)
        for n in SMALLEST_PX
        for s in SPARED_AT
        for e in (False, True)
    ]
    out += [Step.of("holes", pixels=n) for n in HOLES_PX]
    return [s for s in out if s.name not in skip]


def scored(
    probability: Float,
    truth: Bool,
    threshold: float,
    before: Sequence[Step],
    candidates: Mapping[str, Sequence[Step | None]],
) -> dict[str, NDArray[np.int64]]:
    """Counts of one tile after each candidate.

    Objects and holes are labelled once; each candidate then sums over those that it keeps or fills.

    Parameters
    ----------
    probability, truth : array, shape (y, x)
    threshold : float
    before : sequence of Step
        Applied to the mask first.
    candidates : mapping of name to steps
        ``none`` has the one candidate None.

    Returns
    -------
    dict of int64 array, shape (candidate, 3)
        True positive, false positive, false negative pixels.
    """
    called = cleaned(probability >= np.float32(threshold), probability, before)
    landslide = int(truth.sum())
    hit = int((called & truth).sum())
    out = {"none": _counts(np.array([hit]), np.array([int(called.sum()) - hit]), landslide)}
    labels, peak, area, edge = objects(called, probability)
    hits = np.bincount(labels[truth], minlength=len(area) + 1)[1:]
    for name in ("hysteresis", "smallest"):
        if name in candidates:
            keep = np.stack([_keeps(s, peak, area, edge) for s in candidates[name]])
            out[name] = _counts(keep @ hits, keep @ (area - hits), landslide)
    if "holes" in candidates:
        gained, wrong = _filled(called, truth, [s["pixels"] for s in candidates["holes"] if s])
        false = int(called.sum()) - hit
        out["holes"] = _counts(hit + gained, false + wrong, landslide)
    return out


def _keeps(
    step: Step | None, peak: Float, area: NDArray[np.int64], edge: Bool
) -> NDArray[np.int64]:
    if step is None:
        return np.ones(len(area), np.int64)
    if step.name == "hysteresis":
        return (peak >= np.float32(step["high"])).astype(np.int64)
    keep = (area >= step["pixels"]) | (peak >= np.float32(step["spared_at"]))
    return np.asarray(keep | edge if step["spare_edge"] else keep, np.int64)


def _filled(
    called: Bool, truth: Bool, sizes: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Landslide and other pixels that filling gains, by largest hole."""
    from scipy.ndimage import label

    labels, n = label(~called)
    area = np.bincount(labels.ravel(), minlength=n + 1)
    hits = np.bincount(labels[truth], minlength=n + 1)
    inner = np.ones(n + 1, bool)
    inner[edge_labels(labels)] = False
    inner[0] = False
    fill = (inner & (area <= np.array(sizes)[:, np.newaxis])).astype(np.int64)
    return fill @ hits, fill @ (area - hits)


def _counts(tp: NDArray[np.int64], fp: NDArray[np.int64], landslide: int) -> NDArray[np.int64]:
    return np.stack([tp, fp, landslide - tp], axis=-1).astype(np.int64)
