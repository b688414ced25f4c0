"""Known scores on Landslide4Sense, and whether another score may stand beside them at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OFFICIAL_TILES = {"valid": 245, "test": 800}

RUNGS: tuple[dict[str, Any], ...] = (
    {"name": "Official baseline, U-Net", "on": "valid", "low": 0.5782, "high": 0.5782},
    {"name": "Official baseline, U-Net", "on": "test", "low": 0.5992, "high": 0.5992},
    {"name": "Single modern models", "on": "test", "low": 0.62, "high": 0.67},
    {"name": "Winner of the competition", "on": "test", "low": 0.7454, "high": 0.7454},
)
"""Published F1 of the landslide class, pooled over all pixels of the split."""


def why_not_comparable(split: str, kind: str, data: Mapping[str, Any], grid: str | None) -> str:
    """Say why a score may not be compared with the published ones; empty if it may.

    Parameters
    ----------
    split : str
        Where the score was measured.
    kind : {'out-of-fold', 'holdout', 'fitted', 'split'}
    data : mapping
        Summary of the data stage of the tiles.
    grid : str or None
        How the scenes were known: ``official``, ``manifest`` or ``none``.
    """
    reasons = []
    if data.get("made_up"):
        reasons.append("the data are made up")
    elif grid == "manifest":
        reasons.append("these tiles bring their own scene list, so they are not the release")
    if kind == "out-of-fold":
        reasons.append("it is out-of-fold on training tiles")
    elif kind == "holdout":
        reasons.append("it is on training tiles set aside")
    elif kind == "fitted":
        reasons.append("the models were fitted on these very tiles")
    elif split not in OFFICIAL_TILES:
        reasons.append(f"{split} is not an official split")
    elif data.get("patches") not in (None, OFFICIAL_TILES[split]):
        reasons.append(
            f"it is on {data['patches']} tiles and the official split has {OFFICIAL_TILES[split]}"
        )
    if data.get("sensor", "l4s") != "l4s":
        reasons.append(f"the files are of sensor {data['sensor']}, not the 14 released bands")
    return ", and ".join(reasons)
