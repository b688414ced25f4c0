"""Maps as text that a page without a network can read: bytes, deflated, in base64."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVEL = 7

TRUTH_BIT, CALLED_BIT = 1, 2
"""Bits of the last plane of a tile."""


def in_steps(values: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Round values in 0 to 1 to 1/255."""
    return np.asarray(np.rint(255 * np.clip(np.nan_to_num(values), 0, 1)), np.uint8)


def flags(called: NDArray[np.bool_], truth: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
    """Plane of bits: truth and what was called."""
    plane = CALLED_BIT * called.astype(np.uint8)
    return plane if truth is None else plane | (TRUTH_BIT * truth.astype(np.uint8))


def deflated(parts: Sequence[NDArray[np.uint8]]) -> str:
    """Deflate what is put one after the other (zlib's form), in base64."""
    whole = b"".join(p.tobytes() for p in parts)
    return base64.b64encode(zlib.compress(whole, LEVEL)).decode("ascii")


def call(function: str, *values: Any) -> str:
    """Write a script that hands values to a function of the page."""
    told = ",".join(
        json.dumps(v, separators=(",", ":"), allow_nan=False, ensure_ascii=False) for v in values
    )
    return f"{function}({told});\n"
