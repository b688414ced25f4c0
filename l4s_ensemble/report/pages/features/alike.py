"""Features that say the same: the sample they are read from, their correlation, their families."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.report import curves
from l4s_ensemble.report.pages.features.tell import groups
from l4s_ensemble.report.pieces import figure
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import table

COPY = 0.999
"""Rank correlation, up or down, beyond which a feature repeats another."""

FAMILY = 0.9
"""Mean rank correlation, up or down, of a family that one feature may stand for."""

KIN = 0.6
"""The same for the families that are framed in the figure."""

MOST_DRAWN = 70
"""Features in the figure, so that their names can be read; each stands for its nearest kin."""

ROWS = 20_000
"""Rows that a correlation is computed from."""


@dataclass(frozen=True)
class FeatureSample:
    """The sampled rows of a run, if they fit its summary.

    Attributes
    ----------
    values : float32 array, shape (row, feature)
    truth : bool array, shape (row,)
    weight : float64 array, shape (row,)
    names : tuple of str
    """

    values: NDArray[np.float32]
    truth: NDArray[np.bool_]
    weight: NDArray[np.float64]
    names: tuple[str, ...]

    def column(self, name: str) -> NDArray[np.float32] | None:
        """Values of a feature, None if it is not there."""
        return self.values[:, self.names.index(name)] if name in self.names else None


def sample(source: RunSource) -> FeatureSample | None:
    """Read the sample once; None if it is not there or is of other features than the summary."""
    found: FeatureSample | None = source.once("feature sample", lambda: _sample(source))
    return found


def _sample(source: RunSource) -> FeatureSample | None:
    rows = source.summary("features").get("features", [])
    arrays = source.arrays("features", "sample.npz")
    if arrays is None or not rows or arrays["X"].shape[1] != len(rows):
        return None
    weight = arrays.get("weight", np.ones(len(arrays["X"])))
    return FeatureSample(
        arrays["X"], arrays["y"].astype(bool), weight, tuple(r["name"] for r in rows)
    )


def correlation(source: RunSource) -> NDArray[np.float64] | None:
    """Rank correlation of every pair of features, computed once."""
    found = sample(source)
    if found is None:
        return None

    def make() -> NDArray[np.float64]:
        step = max(1, len(found.values) // ROWS)
        finite = np.nan_to_num(found.values[::step], posinf=0.0, neginf=0.0)
        return curves.correlation(finite, ROWS)

    made: NDArray[np.float64] = source.once("feature correlation", make)
    return made


def copies(source: RunSource) -> list[tuple[str, str, float]]:
    """Pairs of features that repeat each other, with their rank correlation."""
    corr, found = correlation(source), sample(source)
    if corr is None or found is None:
        return []
    close = np.argwhere(np.triu(np.abs(corr) > COPY, k=1))
    return [(found.names[i], found.names[j], float(corr[i, j])) for i, j in close]


def tree(corr: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cluster features by mean linkage on ``1 − |ρ|``, leaves in their best order (scipy)."""
    from scipy.cluster.hierarchy import linkage, optimal_leaf_ordering
    from scipy.spatial.distance import squareform

    apart = np.clip(1 - np.abs(corr), 0, None)
    np.fill_diagonal(apart, 0)
    flat = squareform((apart + apart.T) / 2, checks=False)
    return np.asarray(optimal_leaf_ordering(linkage(flat, "average"), flat))


def families(
    corr: NDArray[np.float64], least: float = 0.0, most: int | None = None
) -> list[list[int]]:
    """Split features into families, in tree order.

    Parameters
    ----------
    corr : float array, shape (feature, feature)
    least : float
        Mean correlation of a family, up or down.
    most : int, optional
        Families to make at most, instead of `least`.
    """
    from scipy.cluster.hierarchy import fcluster, leaves_list

    if len(corr) < 2:
        return [[i] for i in range(len(corr))]
    made = tree(corr)
    if most is None:
        label = fcluster(made, 1 - least, "distance")
    else:
        label = fcluster(made, most, "maxclust")
    members: dict[int, list[int]] = {}
    for i in leaves_list(made):
        members.setdefault(int(label[i]), []).append(int(i))
    return list(members.values())


def parts(source: RunSource) -> tuple[dict[str, Any], dict[str, Any]]:
    """Figure of the clustered correlation and table of the families."""
    corr, found = correlation(source), sample(source)
    if corr is None or found is None or len(corr) < 2:
        return {}, {}
    rows = source.summary("features")["features"]
    strength = [abs((r.get("auc") or 0.5) - 0.5) for r in rows]
    close = families(corr, FAMILY)
    kin = (
        families(corr, most=MOST_DRAWN)
        if len(rows) > MOST_DRAWN
        else [[i] for i in range(len(rows))]
    )
    size = {_head(f, strength): len(f) for f in kin}
    drawn = list(size)
    framed = _frames(corr, drawn)
    order = [drawn[i] for f in framed for i in f]
    shown = corr[np.ix_(order, order)]
    only = ""
    if len(drawn) < len(rows):
        only = (
            f" Of {len(rows)} features {len(drawn)} are drawn, the strongest of their kin, with "
            "the number of others that each stands for."
        )
    names = [rows[i]["name"] + (f" +{size[i] - 1}" if size[i] > 1 else "") for i in order]
    figures = {
        "correlation": figure(
            "correlation", "Features that say the same stand together",
            "Rank correlation of every pair on the sampled pixels: orange, both rise together; "
            "blue, one falls as the other rises. Neighbours are alike, frames hold families of "
            f"mean |ρ| from {KIN}; the mark on the diagonal is the group." + only,
            {
                "names": names, "value": curves.plain(shown, 2),
                "group": [rows[i]["group"] for i in order], "groups": groups(source),
                "families": [len(f) for f in framed],
            },
        )
    }  # fmt: skip
    tables = {"families": _table(rows, corr, close, strength)} if len(close) < len(rows) else {}
    return figures, tables


def _head(family: Sequence[int], strength: Sequence[float]) -> int:
    """The feature that tells most."""
    return max(family, key=lambda i: strength[i])


def _frames(corr: NDArray[np.float64], drawn: Sequence[int]) -> list[list[int]]:
    """Families of the drawn features, as positions among them."""
    return families(corr[np.ix_(drawn, drawn)], KIN)


def _table(
    rows: Sequence[dict[str, Any]], corr: Any, close: list[list[int]], strength: Sequence[float]
) -> dict[str, Any]:
    made = []
    for family in close:
        if len(family) < 2:
            continue
        head = _head(family, strength)
        among = np.abs(corr[np.ix_(family, family)])
        auc = rows[head].get("auc")
        made.append(
            {
                "head": rows[head]["name"], "n": len(family), "auc": auc and max(auc, 1 - auc),
                "least": float(among.min()),
                "others": ", ".join(rows[i]["name"] for i in family if i != head),
            }
        )  # fmt: skip
    made.sort(key=lambda r: (-r["n"], r["head"]))
    return table(
        "Families: one feature could stand for each",
        [
            ("head", "strongest", "text"), ("n", "features", "count"), ("auc", "its AUC", "score"),
            ("least", "lowest |ρ|", "score"), ("others", "the others", "text"),
        ],
        made, sortable=True,
        note=f"Mean rank correlation within a family is at least {FAMILY}, up or down. Trees do "
        "not mind repeats; they cost time, and they share out importance.",
    )  # fmt: skip
