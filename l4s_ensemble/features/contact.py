"""One tile with the pictures of its telling features, for the contact sheet of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.run.files import atomic_path

if TYPE_CHECKING:
    from l4s_ensemble.scenes.folds import Folds

CONTACT_FILE = "contact.npz"

CONTACT_PICTURES = 32
EACH_GROUP = 3
"""Pictures of every group on the contact sheet, before the rest goes to the strongest."""

COPIES = 0.95
"""Rank correlation beyond which only the stronger of two features is on the contact sheet."""


def median_tile(folds: Folds) -> int | None:
    """Patch of the fitting tile whose share of landslide is the median; None without landslides.

    Tiles without any landslide do not count. The tile says nothing of the holdout: it is a
    fitting tile.
    """
    fitting = np.isin(folds.patch, folds.fit_ids) & (folds.landslide_pixels > 0)
    found = np.flatnonzero(fitting)
    if not len(found):
        return None
    order = found[np.argsort(folds.landslide_pixels[found], kind="stable")]
    return int(folds.patch[order[(len(order) - 1) // 2]])


def for_contact(
    described: Sequence[Mapping[str, Any]],
    values: NDArray[np.float32],
    most: int = CONTACT_PICTURES,
) -> list[int]:
    """Positions of the features to show as pictures, in the order of their groups.

    First the `EACH_GROUP` strongest of every group, then the strongest of all, by AUC. Near
    copies of a stronger one are left out.

    Parameters
    ----------
    described : sequence of mapping
        From `describe`.
    values : float32 array, shape (row, feature)
        Some thousand rows are enough.
    most : int
    """
    ranks = np.argsort(np.argsort(values, axis=0, kind="stable"), axis=0, kind="stable")
    centred = ranks - (len(values) - 1) / 2
    close = np.abs(centred.T @ centred) / max(float((centred[:, :1] ** 2).sum()), 1.0)
    strength = [abs((d.get("auc") or 0.5) - 0.5) for d in described]
    order = sorted(range(len(described)), key=lambda i: -strength[i])
    varied = [i for i in order if described[i].get("highest") != described[i].get("lowest")]
    chosen: list[int] = []

    def take(candidates: Sequence[int], wanted: int) -> None:
        for i in candidates:
            if wanted <= 0:
                return
            if i not in chosen and all(close[i, j] < COPIES for j in chosen):
                chosen.append(i)
                wanted -= 1

    groups = list(dict.fromkeys(d["group"] for d in described))
    for group in groups:
        take([i for i in varied if described[i]["group"] == group], EACH_GROUP)
    take(varied, most - len(chosen))
    return sorted(chosen, key=lambda i: (groups.index(described[i]["group"]), -strength[i]))


def write_contact(
    path: Path,
    patch: int,
    names: Sequence[str],
    pictures: NDArray[np.float32],
    mask: NDArray[Any],
) -> None:
    """Write the pictures of one tile for the contact sheet.

    The file holds ``patch``, ``names``, ``pictures`` float16 (feature, y, x): 0 at ``low``, 1 at
    ``high`` (2nd and 98th percentile of this tile, in units) and clipped there, and ``mask``
    uint8 (y, x).

    Parameters
    ----------
    path : Path
    patch : int
    names : sequence of str
    pictures : float32 array, shape (feature, y, x)
    mask : uint8 array, shape (y, x)
    """
    flat = np.nan_to_num(pictures.astype(np.float64))
    low, high = np.percentile(flat, (2, 98), axis=(1, 2))
    # A picture of one value has no range: it is shown in the middle.
    width = np.where(high > low, high - low, np.inf)
    scaled = np.where(
        (high > low)[:, None, None], (flat - low[:, None, None]) / width[:, None, None], 0.5
    )
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.savez_compressed(
            file, patch=np.int64(patch), names=np.array(list(names)),
            pictures=np.clip(scaled, 0, 1).astype(np.float16), low=low, high=high,
            mask=np.asarray(mask, np.uint8),
        )  # fmt: skip
