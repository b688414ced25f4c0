"""Whether a score of a run may stand beside the published ones on Landslide4Sense."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OFFICIAL_TILES = {"valid": 245, "test": 800}


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
    if data.get("synthetic"):
        reasons.append("the data are synthetic")
    elif grid == "manifest":
        reasons.append("these tiles bring their own scene list, so they are not the release")
    if kind == "out-of-fold":
        reasons.append("it is out-of-fold on training tiles")
    elif kind == "holdout":
        reasons.append("it is on training tiles held out of every fit")
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
