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


def predicted(values: NDArray[np.uint16]) -> bytes:
    """Write whole numbers so that they deflate well: how far a plane through neighbours misses.

    The neighbours are to the left, above, and above to the left; none counts as zero. A difference
    d is written as 2 d, or -2 d - 1 where it is negative, modulo 65,536: all low bytes, then all
    high bytes.

    Parameters
    ----------
    values : uint16 array, shape (y, x)
    """
    x = np.pad(values.astype(np.int64), ((1, 0), (1, 0)))
    # Where there is only one neighbour, it is the guess.
    guess = x[1:, :-1] + x[:-1, 1:] - x[:-1, :-1]
    wrapped = ((x[1:, 1:] - guess + 32768) % 65536) - 32768
    folded = np.where(wrapped >= 0, 2 * wrapped, -2 * wrapped - 1).astype("<u2")
    return (folded & 255).astype(np.uint8).tobytes() + (folded >> 8).astype(np.uint8).tobytes()


def deflated(parts: Sequence[bytes | NDArray[np.uint8] | NDArray[np.int8]]) -> str:
    """Deflate what is put one after the other (zlib's form), in base64."""
    whole = b"".join(p if isinstance(p, bytes) else p.tobytes() for p in parts)
    return base64.b64encode(zlib.compress(whole, LEVEL)).decode("ascii")


def call(function: str, *values: Any) -> str:
    """Write a script that hands values to a function of the page."""
    told = ",".join(
        json.dumps(v, separators=(",", ":"), allow_nan=False, ensure_ascii=False) for v in values
    )
    return f"{function}({told});\n"
