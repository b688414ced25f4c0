"""Steps that clean a tile's probability or its mask: by name, with parameters, in an order.

===================== ==================== ====================================================
step                  works on             parameters
===================== ==================== ====================================================
``smooth``            probability          ``sigma_px``: Gaussian mean of the log-odds
``guided``            probability          ``radius_px``, ``epsilon``, ``guide`` ('self', 'image')
``hysteresis``        mask                 ``high``: a called object keeps its pixels only where
                                           its highest probability reaches that
``smallest``          mask                 ``pixels``: smaller called objects go; ``spared_at``:
                                           not those whose highest probability reaches that (1 or
                                           more: none is spared); ``spare_edge``: nor those that
                                           touch the tile's edge and may go on beyond it
``holes``             mask                 ``pixels``: up to that many are filled, if enclosed
===================== ==================== ====================================================

Objects are 8-connected, holes 4-connected. A hole or object cut by the tile's edge has an unknown
size: such a hole is never filled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.errors import ModelError

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]

ON_PROBABILITY: dict[str, frozenset[str]] = {
    "smooth": frozenset({"sigma_px"}),
    "guided": frozenset({"radius_px", "epsilon", "guide"}),
}
ON_MASK: dict[str, frozenset[str]] = {
    "hysteresis": frozenset({"high"}),
    "smallest": frozenset({"pixels", "spared_at", "spare_edge"}),
    "holes": frozenset({"pixels"}),
}

LIMIT = 12.0
"""Log-odds beyond are clipped, as the meta-learner's inputs are."""


@dataclass(frozen=True)
class Step:
    """One step: its name and its parameters, sorted by name."""

    name: str
    parameters: tuple[tuple[str, float | bool | str], ...] = ()

    @classmethod
    def of(cls, name: str, **parameters: float | bool | str) -> Step:
        """Make a step.

        Raises
        ------
        ModelError
            If there is no such step, or its parameters are others.
        """
        known = {**ON_PROBABILITY, **ON_MASK}
        if name not in known:
            raise ModelError("no step of that name", found=name, allowed=", ".join(known))
        if set(parameters) != known[name]:
            raise ModelError(
                f"the step {name} has other parameters", found=sorted(parameters),
                allowed=sorted(known[name]),
            )  # fmt: skip
        return cls(name, tuple(sorted(parameters.items())))

    @property
    def on_probability(self) -> bool:
        """Whether it changes the probability; otherwise the mask."""
        return self.name in ON_PROBABILITY

    def __getitem__(self, name: str) -> Any:
        return dict(self.parameters)[name]

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"name": self.name, **dict(self.parameters)}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Step:
        """Read back what `as_dict` gave."""
        return cls.of(str(value.get("name")), **{k: v for k, v in value.items() if k != "name"})


def filtered(probability: Float, steps: Iterable[Step], guide: NDArray[Any] | None = None) -> Float:
    """Apply the steps that change the probability of one tile, (y, x)."""
    out = np.asarray(probability, dtype=np.float32)
    for step in steps:
        if step.name == "smooth":
            out = smooth(out, float(step["sigma_px"]))
        elif step.name == "guided":
            by_image = step["guide"] == "image"
            if by_image and guide is None:
                raise ModelError(
                    "the guided filter wants the tile's image", where="postprocess",
                    fix="give the image, or fit the stack again without it",
                )  # fmt: skip
            image = np.asarray(guide) if by_image else out[..., np.newaxis]
            radius_px, epsilon = int(step["radius_px"]), float(step["epsilon"])
            out = guided(out, image, radius_px, epsilon, scaled=by_image)
    return out


def cleaned(called: Bool, probability: Float, steps: Iterable[Step]) -> Bool:
    """Apply the steps that change the mask of one tile, (y, x)."""
    out = np.asarray(called, dtype=bool)
    for step in steps:
        if step.name == "hysteresis":
            out = hysteresis(out, probability, float(step["high"]))
        elif step.name == "smallest":
            out = smallest(
                out, probability, int(step["pixels"]), spared_at=float(step["spared_at"]),
                spare_edge=bool(step["spare_edge"]),
            )  # fmt: skip
        elif step.name == "holes":
            out = holes(out, int(step["pixels"]))
    return out


def smooth(probability: Float, sigma_px: float) -> Float:
    """Gaussian mean of the log-odds; the border is reflected."""
    from scipy.ndimage import gaussian_filter
    from scipy.special import expit, logit

    z = np.clip(logit(np.asarray(probability, dtype=np.float32)), -LIMIT, LIMIT)
    return np.asarray(expit(gaussian_filter(z, sigma_px, mode="reflect", truncate=3)), np.float32)


def guided(
    probability: Float, guide: NDArray[Any], radius_px: int, epsilon: float, *, scaled: bool = False
) -> Float:
    """Guided filter (He, Sun and Tang 2013, IEEE TPAMI 35, doi:10.1109/TPAMI.2012.213).

    Within each window the answer is a linear function of the guide; windows are averaged.

    Parameters
    ----------
    probability : float array, shape (y, x)
    guide : array, shape (y, x) or (y, x, channel)
        An image, or the probability itself.
    radius_px : int
        Windows are ``2 r + 1`` wide; the border is reflected.
    epsilon : float
        Variance of the guide below which an edge is smoothed.
    scaled : bool
        Whether each channel of the guide is first given unit variance over the tile.
    """
    from scipy.ndimage import uniform_filter

    p = np.asarray(probability, dtype=np.float64)
    image = np.asarray(guide, dtype=np.float64)
    image = image[..., np.newaxis] if image.ndim == 2 else image
    if scaled:
        spread = image.std(axis=(0, 1))
        image = (image - image.mean(axis=(0, 1))) / np.where(spread > 1e-9, spread, 1.0)
    width = 2 * radius_px + 1

    def box(a: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(uniform_filter(a, width, mode="reflect"))

    channels = np.moveaxis(image, -1, 0)
    mean, mean_p = [box(a) for a in channels], box(p)
    shared = np.stack([box(a * p) - m * mean_p for a, m in zip(channels, mean, strict=True)])
    covariance = np.empty((len(channels), *shared.shape))
    for i, j in np.ndindex(covariance.shape[:2]):
        if i <= j:
            covariance[i, j] = box(channels[i] * channels[j]) - mean[i] * mean[j]
            covariance[j, i] = covariance[i, j]
        if i == j:
            covariance[i, i] += epsilon
    slope = _solved(covariance, shared)
    out = box(mean_p - (slope * np.stack(mean)).sum(axis=0))
    for a, s in zip(channels, slope, strict=True):
        out += a * box(s)
    return np.asarray(np.clip(out, 0, 1), dtype=np.float32)


def _solved(matrix: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solve a small system at every pixel: (c, c, y, x) against (c, y, x).

    Gauss's elimination without pivots, for covariances with a positive diagonal added: over whole
    planes it is ten times faster than a solver called per pixel.
    """
    a, b = matrix, right.copy()
    for i in range(len(b)):
        for k in range(i + 1, len(b)):
            factor = a[k, i] / a[i, i]
            a[k, i:] -= factor * a[i, i:]
            b[k] -= factor * b[i]
    for i in reversed(range(len(b))):
        b[i] = (b[i] - (a[i, i + 1 :] * b[i + 1 :]).sum(axis=0)) / a[i, i]
    return b


def hysteresis(called: Bool, probability: Float, high: float) -> Bool:
    """Keep called objects whose highest probability reaches `high`."""
    labels, peak, _, _ = objects(called, probability)
    return _kept(labels, peak >= np.float32(high))


def smallest(
    called: Bool, probability: Float, pixels: int, *, spared_at: float, spare_edge: bool
) -> Bool:
    """Remove called objects of fewer than `pixels` pixels; see the module for who is spared."""
    labels, peak, area, edge = objects(called, probability)
    keep = (area >= pixels) | (peak >= np.float32(spared_at))
    return _kept(labels, keep | edge if spare_edge else keep)


def holes(called: Bool, pixels: int) -> Bool:
    """Fill enclosed holes of up to `pixels` pixels."""
    from scipy.ndimage import label

    labels, n = label(~called)
    fill = np.bincount(labels.ravel(), minlength=n + 1) <= pixels
    fill[edge_labels(labels)] = False
    fill[0] = False
    return np.asarray(called | fill[labels])


def objects(
    called: Bool, probability: Float
) -> tuple[NDArray[np.int32], Float, NDArray[np.int64], Bool]:
    """8-connected objects of a tile.

    Returns
    -------
    labels : int32 array, shape (y, x)
        0 where nothing is called.
    peak : float32 array, shape (object,)
        Highest probability of object 1, 2 …
    area : int64 array, shape (object,)
    edge : bool array, shape (object,)
        Whether it touches the tile's edge.
    """
    from scipy.ndimage import label

    labels, n = label(called, structure=np.ones((3, 3)))
    peak = np.zeros(n + 1, np.float32)
    np.maximum.at(peak, labels[called], np.asarray(probability, np.float32)[called])
    area = np.bincount(labels.ravel(), minlength=n + 1)[1:]
    edge: Bool = np.zeros(n + 1, np.bool_)
    edge[edge_labels(labels)] = True
    return np.asarray(labels, np.int32), peak[1:], area.astype(np.int64), edge[1:]


def edge_labels(labels: NDArray[Any]) -> NDArray[Any]:
    """Labels on the rim of the tile, 0 among them."""
    rim = (labels[0], labels[-1], labels[:, 0], labels[:, -1])
    return np.unique(np.concatenate(rim))


def _kept(labels: NDArray[np.int32], keep: Bool) -> Bool:
    return np.asarray(np.append(False, keep)[labels])
