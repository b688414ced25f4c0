"""What the network costs: seconds by part of the work, memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from l4s_ensemble.report import words
from l4s_ensemble.report.pages.unet.progress import epochs_of
from l4s_ensemble.report.source import RunSource
from l4s_ensemble.report.table import table

_MB = 1024.0**2

_PARTS = {
    "batches": "making batches", "network": "forward and backward passes",
    "optimiser": "optimiser and averages", "watch": "watching the inner block",
}  # fmt: skip
"""Seconds that an epoch tells apart."""


def tables(source: RunSource) -> dict[str, Any]:
    """Table of costs, as far as the run knows them."""
    summary = source.summary("unet")
    rows = _whole(summary["folds"])
    explain = summary.get("seconds_explain") or {}
    if explain:
        dearest = max(explain, key=lambda k: explain[k])
        rows.append(
            ("explanation of this page", words.seconds(sum(explain.values())),
             f"most of it: {dearest.replace('_', ' ')}")
        )  # fmt: skip
    rows += _memory(summary.get("memory") or {})
    if not rows:
        return {}
    return {
        "cost": table(
            "Time and memory",
            [("what", "what", "text"), ("value", "takes", "text"), ("about", "that is", "text")],
            [dict(zip(("what", "value", "about"), r, strict=True)) for r in rows],
            note="Times of this run on its machine; scoring averages over symmetries if "
            "unet.tta is on.",
        )
    }


def _whole(folds: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """Training and scoring of all folds."""
    epochs = [e for f in folds for e in epochs_of(f)]
    train = sum(e["seconds"] for e in epochs)
    rows = []
    if train:
        shown = sum(e["seconds"] * e["patches_per_s"] for e in epochs)
        rows.append(
            ("training, all folds", words.seconds(train),
             f"{words.number(shown / train)} patches/s; {words.seconds(train / len(folds))} a fold")
        )  # fmt: skip
        rows += _parts(folds)
    scored = [f for f in folds if f.get("seconds_score")]
    if scored:
        seconds = sum(f["seconds_score"] for f in scored)
        tiles = sum(f["held_tiles"] for f in scored)
        rows.append(
            ("scoring tiles out of fold", words.seconds(seconds),
             f"{words.number(tiles / seconds)} tiles/s")
        )  # fmt: skip
    return rows


def _parts(folds: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """Parts of the training, as far as its epochs tell."""
    epochs = [e for f in folds for e in epochs_of(f)]
    whole = sum(e["seconds"] for e in epochs)
    rows = []
    for key, name in _PARTS.items():
        spent = sum(e.get(f"seconds_{key}") or 0.0 for e in epochs)
        if spent and whole:
            rows.append((f"of it: {name}", words.seconds(spent), words.share(spent / whole)))
    return rows


def _memory(memory: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    rows = []
    if memory.get("bytes_tiles") is not None:
        rows.append(("tiles in memory", words.megabytes(memory["bytes_tiles"] / _MB), "as counts"))
    if memory.get("bytes_networks") is not None:
        many = words.plural(int(memory["networks"]), "network")
        about = f"{many} of {words.count(memory['parameters'])} values"
        rows.append(("networks on disk", words.megabytes(memory["bytes_networks"] / _MB), about))
    if memory.get("bytes_peak") is not None:
        rows.append(("most memory on the GPU", words.megabytes(memory["bytes_peak"] / _MB), ""))
    return rows
