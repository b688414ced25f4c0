"""Walking blocks of 64 pixels down trees, compiled.

numba's loops over 64 bytes do not become single vector instructions. So the four operations in
which all time is spent are written as vectors for LLVM: comparing 64 bytes gives the bits of one
word, with AVX-512 in one instruction, without it in a few. They read and write plain memory and
check nothing: arrays must be contiguous and long enough.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped, unused-ignore]
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray

F = TypeVar("F", bound=Callable[..., Any])

LANES = 64
"""Pixels of a block, and bits of the word that says which of them are meant."""

EDGE = 8
BATCH = 16
"""Blocks that take turns at a tree: it is read from memory once for all of them."""

_LANES = np.uint64(LANES)
_ZERO, _ONE, _EDGE = np.uint64(0), np.uint64(1), np.uint64(EDGE)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)

# A node is a word. Of a split: the bits from 32 its right side (the left side is the next node),
# from 8 the feature, from 0 the threshold. Of a leaf: the highest bit, and from 32 its number.
LEAF = np.uint64(1 << 63)
AT_TARGET, AT_FEATURE = np.uint64(32), np.uint64(8)
_FEATURE_MOST = np.uint64((1 << 24) - 1)

_BIT, _BYTE, _WORD = ir.IntType(1), ir.IntType(8), ir.IntType(64)
_INDEX, _FLOAT, _DOUBLE = ir.IntType(32), ir.FloatType(), ir.DoubleType()


def _vector(kind: Any, lanes: int = LANES) -> Any:
    return ir.VectorType(kind, lanes)


def _everywhere(builder: Any, value: Any, kind: Any) -> Any:
    """Give a vector of one value."""
    unset = ir.Constant(_vector(kind), ir.Undefined)
    first = builder.insert_element(unset, value, ir.Constant(_INDEX, 0))
    return builder.shuffle_vector(first, unset, ir.Constant(_vector(_INDEX), [0] * LANES))


def _address(context: Any, builder: Any, kind: Any, array: Any, start: Any, vector: Any) -> Any:
    """Give the address of the vector that begins at an element of a flat array."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [start]), vector.as_pointer())


def _compiled(function: F) -> F:
    return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy")(function))


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def extremes(_typing: Any, value: Any) -> Any:
    """Least and largest of 64 finite float32: ``extremes(value) -> (float32, float32)``."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        start = ir.Constant(_WORD, 0)
        at = _address(context, builder, value, arguments[0], start, _vector(_FLOAT))
        every = builder.load(at, align=4)
        found = []
        for wanted in ("<", ">"):
            rest, lanes = every, LANES
            while lanes > 1:
                unset = ir.Constant(_vector(_FLOAT, lanes), ir.Undefined)
                half = lanes // 2
                a, b = (
                    builder.shuffle_vector(
                        rest, unset, ir.Constant(_vector(_INDEX, half), list(range(s, s + half)))
                    )
                    for s in (0, half)
                )
                rest, lanes = builder.select(builder.fcmp_ordered(wanted, a, b), a, b), half
            found.append(builder.extract_element(rest, ir.Constant(_INDEX, 0)))
        return context.make_tuple(builder, signature.return_type, found)

    pair = types.UniTuple(types.float32, 2)  # type: ignore[attr-defined, unused-ignore]
    return pair(value), codegen


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def count_below(
    _typing: Any,
    value: Any,
    thresholds: Any,
    first: Any,
    last: Any,
    least: Any,
    place: Any,
    start: Any,
) -> Any:
    """Set ``place[start + r] = least + (thresholds[first:last] < value[r]).sum()`` for 64 pixels r.

    ``value, thresholds`` float32; ``place, least`` uint8; ``first, last, start`` uint64.
    """

    def codegen(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        begin = ir.Constant(_WORD, 0)
        values = builder.load(
            _address(context, builder, value, arguments[0], begin, _vector(_FLOAT)), align=4
        )
        sums = cgutils.alloca_once(builder, _vector(_BYTE))
        builder.store(_everywhere(builder, arguments[4], _BYTE), sums)
        limits = context.make_array(thresholds)(context, builder, arguments[1]).data
        step = ir.Constant(_WORD, 1)
        with cgutils.for_range_slice(builder, arguments[2], arguments[3], step, _WORD) as (c, _):
            limit = _everywhere(builder, builder.load(builder.gep(limits, [c])), _FLOAT)
            # True is minus one.
            below = builder.sext(builder.fcmp_ordered("<", limit, values), _vector(_BYTE))
            builder.store(builder.sub(builder.load(sums), below), sums)
        out = _address(context, builder, place, arguments[5], arguments[6], _vector(_BYTE))
        builder.store(builder.load(sums), out, align=1)
        return context.get_dummy_value()

    wanted = types.void(
        value, thresholds, types.uint64, types.uint64, types.uint8, place, types.uint64
    )
    return wanted, codegen


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def above(_typing: Any, place: Any, start: Any, limit: Any) -> Any:
    """Bit r says whether ``place[start + r] > limit``: uint8 array, uint64, uint8 to uint64."""

    def codegen(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        at = _address(context, builder, place, arguments[0], arguments[1], _vector(_BYTE))
        limits = _everywhere(builder, arguments[2], _BYTE)
        bits = builder.icmp_unsigned(">", builder.load(at, align=1), limits)
        return builder.bitcast(bits, _WORD)

    return types.uint64(place, types.uint64, types.uint8), codegen


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def add_where(_typing: Any, total: Any, start: Any, bits: Any, value: Any) -> Any:
    """Add a value to ``total[start + r]`` where bit r is set.

    ``total, value`` float64; ``start, bits`` uint64. Zero is added elsewhere, which changes
    nothing: storing a part of a vector would be slower, for the next load of it would have to wait.
    """

    def codegen(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        at = _address(context, builder, total, arguments[0], arguments[1], _vector(_DOUBLE))
        chosen = builder.bitcast(arguments[2], _vector(_BIT))
        nothing = ir.Constant(_vector(_DOUBLE), [0.0] * LANES)
        more = builder.select(chosen, _everywhere(builder, arguments[3], _DOUBLE), nothing)
        builder.store(builder.fadd(builder.load(at, align=8), more), at, align=8)
        return context.get_dummy_value()

    return types.void(total, types.uint64, types.uint64, types.float64), codegen


@_compiled
def _search(
    thresholds: NDArray[np.float32], start: np.uint64, end: np.uint64, value: np.float32
) -> np.uint64:
    """Index of the first of ``thresholds[start:end]`` that is not below the value."""
    n = end - start
    while n > _ONE:
        half = n >> _ONE
        # Written so that the compiler needs no jump: which way it goes cannot be foretold.
        start += half if thresholds[start + half - _ONE] < value else _ZERO
        n -= half
    if n == _ONE and thresholds[start] < value:
        start += _ONE
    return start


@_compiled
def _place(
    image: NDArray[np.float32],
    trees: Any,
    y0: int,
    x0: int,
    value: NDArray[np.float32],
    place: NDArray[np.uint8],
    start: np.uint64,
    step: np.uint64,
) -> None:
    """Write the number of thresholds below each pixel, feature by feature.

    The block of feature f goes to ``place[start + f * step:]``.
    """
    thresholds, threshold_start = trees.thresholds, trees.threshold_start
    features, height, width = image.shape
    inside = y0 + EDGE <= height and x0 + EDGE <= width
    for f in range(np.uint64(features)):
        first, end = threshold_start[f], threshold_start[f + _ONE]
        if first == end:
            continue
        begin = first
        if inside:
            for y in range(_EDGE):
                for x in range(_EDGE):
                    value[y * _EDGE + x] = image[f, np.uint64(y0) + y, np.uint64(x0) + x]
        else:
            # Beyond the image the last row and column are repeated, and thrown away.
            for r in range(LANES):
                y, x = min(y0 + r // EDGE, height - 1), min(x0 + r % EDGE, width - 1)
                value[r] = image[f, y, x]
        least, most = extremes(value)
        first = _search(thresholds, first, end, least)
        last = _search(thresholds, first, end, most)
        # Comparing all pixels with every threshold between takes no jumps: faster than a search
        # for each.
        count_below(
            value, thresholds, first, last, np.uint8(first - begin), place, start + f * step
        )


@_compiled
def score(image: NDArray[np.float32], trees: Any) -> NDArray[np.float64]:
    """Sum the leaves of `BitTrees` for every pixel, tree by tree."""
    root, node, leaf, depth = trees.root, trees.node, trees.leaf, trees.depth
    features, height, width = image.shape
    out = np.empty((height, width))
    value = np.empty(LANES, np.float32)
    place = np.zeros(features * BATCH * LANES, np.uint8)
    total = np.empty(BATCH * LANES)
    # The right sides that wait while the left side is walked: node and pixels.
    waiting = np.empty(depth + 1, np.uint64)
    waiting_bits = np.empty(depth + 1, np.uint64)
    step = np.uint64(BATCH * LANES)
    across = (width + EDGE - 1) // EDGE
    blocks = across * ((height + EDGE - 1) // EDGE)
    for b0 in range(0, blocks, BATCH):
        many = min(BATCH, blocks - b0)
        for b in range(many):
            y0, x0 = (b0 + b) // across * EDGE, (b0 + b) % across * EDGE
            _place(image, trees, y0, x0, value, place, np.uint64(b * LANES), step)
        total[:] = 0.0
        for t in range(np.uint64(len(root))):
            for b in range(np.uint64(many)):
                start = b * _LANES
                at, here, left_open = root[t], _ALL, _ZERO
                while True:
                    word = node[at]
                    while word < LEAF:
                        row = (word >> AT_FEATURE & _FEATURE_MOST) * step + start
                        to_right = above(place, row, np.uint8(word)) & here
                        at += _ONE
                        if to_right == here:
                            at = word >> AT_TARGET
                        elif to_right != _ZERO:
                            waiting[left_open] = word >> AT_TARGET
                            waiting_bits[left_open] = to_right
                            left_open += _ONE
                            here ^= to_right
                        word = node[at]
                    add_where(total, start, here, leaf[(word ^ LEAF) >> AT_TARGET])
                    if left_open == _ZERO:
                        break
                    left_open -= _ONE
                    at, here = waiting[left_open], waiting_bits[left_open]
        for b in range(many):
            y0, x0 = (b0 + b) // across * EDGE, (b0 + b) % across * EDGE
            for r in range(LANES):
                y, x = y0 + r // EDGE, x0 + r % EDGE
                if y < height and x < width:
                    out[y, x] = total[b * LANES + r]
    return out
