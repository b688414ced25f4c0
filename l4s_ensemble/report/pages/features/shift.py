"""How far features have moved between places, and between training and the splits to predict."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.report import words
from l4s_ensemble.report.pages.features.alike import sample
from l4s_ensemble.report.pieces import figure
from l4s_ensemble.report.source import RunSource

SHIFTED, FAR = 0.25, 1.0
"""Population stability index: shifted by custom (Siddiqi 2006), and hardly overlapping."""

MOST_FEATURES = 24
"""In the figure."""

SPLIT_SAMPLE = "features_sample.npz"

MOST_ROWS = 40_000
"""Rows of the training sample that a split is held against; the index then errs by 0.001."""

Group = dict[str, Any]


def groups(source: RunSource) -> list[Group]:
    """Stability of every feature, place by place and split by split.

    Returns
    -------
    list of dict
        ``name``, ``kind`` (scene, fold, split), ``versus``, ``pixels`` and ``features``: by name
        ``p25, p50, p75``, ``shift`` of the median in interquartile ranges and ``psi``.
    """
    found: list[Group] = source.once(
        "feature shift", lambda: [*_of_places(source), *_of_splits(source)]
    )
    return found


def _of_places(source: RunSource) -> list[Group]:
    summary = source.summary("features")
    places = summary.get("places") or {"kind": "", "rows": []}
    if len(places["rows"]) < 2:
        return []
    return [
        {
            "name": place["name"], "kind": places["kind"], "versus": f"other {places['kind']}s",
            "pixels": place["pixels"],
            "features": {
                r["name"]: r["places"][k] for r in summary["features"]
                if len(r.get("places", [])) > k and r["places"][k].get("psi") is not None
            },
        }
        for k, place in enumerate(places["rows"])
    ]  # fmt: skip


def _of_splits(source: RunSource) -> list[Group]:
    """Splits that the pixel classifier has predicted and left a sample of."""
    from l4s_ensemble.features.summary import compared

    own = sample(source)
    some = _some(len(own.weight)) if own is not None else None
    made = []
    for split in source.predicted if own is not None else []:
        other = source.arrays(f"predict/{split}/pixel", SPLIT_SAMPLE)
        if own is None or other is None or not len(other["X"]):
            continue
        names = [str(n) for n in other["names"]]
        told = {}
        for i, name in enumerate(names):
            reference = own.column(name)
            if reference is None:
                continue
            reference = reference[some]
            good, known = np.isfinite(other["X"][:, i]), np.isfinite(reference)
            if good.any() and known.any():
                column = other["X"][good, i]
                told[name] = compared(
                    column, np.ones(len(column)), reference[known], own.weight[some][known]
                )
        made.append(
            {
                "name": split, "kind": "split", "versus": "fitting tiles",
                "pixels": len(other["X"]), "features": told,
            }
        )  # fmt: skip
    return made


def _some(rows: int) -> NDArray[np.intp]:
    """Rows of the sample that are compared: each is sorted twice a feature."""
    return np.random.default_rng(0).permutation(rows)[:MOST_ROWS]


def far(group: Group, least: float = FAR) -> list[tuple[str, float, float | None]]:
    """Features of a group beyond an index, most moved first: name, index, shift of the median."""
    moved = [
        (name, float(f["psi"]), f["shift"])
        for name, f in group["features"].items()
        if f["psi"] is not None and f["psi"] > least
    ]
    return sorted(moved, key=lambda m: -m[1])


def figures(source: RunSource) -> dict[str, Any]:
    """Map of the features that have moved most."""
    found = [g for g in groups(source) if g["features"]]
    if not found:
        return {}
    most: dict[str, float] = {}
    for g in found:
        for name, f in g["features"].items():
            most[name] = max(most.get(name, 0.0), float(f["psi"] or 0.0))
    names = sorted(most, key=lambda n: -most[n])[:MOST_FEATURES]
    title = "How far each feature has moved"
    if len(most) > len(names):
        title = f"The {len(names)} of {len(most)} features that have moved most"
    kind = next((g["kind"] for g in found if g["kind"] != "split"), None)
    told = [f"a {kind} against the other {kind}s"] if kind else []
    told += ["a split against the fitting tiles"] if found[-1]["kind"] == "split" else []
    return {
        "feature_shift": figure(
            "feature_shift",
            title,
            f"The number is the population stability index, {', '.join(told)}: 0 is the same, "
            f"beyond {SHIFTED} shifted, beyond {words.number(FAR)} hardly overlapping. The colour "
            "is the shift of the median in interquartile ranges: orange, higher here; blue, "
            "lower. A cut learned on one side means something else on the other.",
            {
                "names": names, "columns": [g["name"] for g in found],
                "versus": [g["versus"] for g in found],
                "psi": [_row(found, n, "psi") for n in names],
                "shift": [_row(found, n, "shift") for n in names],
                "p50": [_row(found, n, "p50") for n in names],
            },
        )
    }  # fmt: skip


def _row(found: list[Group], name: str, key: str) -> list[Any]:
    return [words.sigfig(g["features"].get(name, {}).get(key), 3) for g in found]
