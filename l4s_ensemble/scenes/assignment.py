"""Give every training tile a role, a fold and a bootstrap block."""

from __future__ import annotations

import heapq
import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.config import Holdout, ScenesConfig
from l4s_ensemble.errors import ConfigError, DataError
from l4s_ensemble.scenes.folds import Folds
from l4s_ensemble.scenes.layout import Layout

log = logging.getLogger("l4s_ensemble")

FEWEST_TO_CUT = 6
"""Tiles along a scene that is cut in two: the tiles beside a cut train neither side's model."""

_TILES_WEIGHT = 0.2  # folds are balanced in landslide pixels first, then a little in tiles


def make_folds(
    layout: Layout,
    landslide_pixels: NDArray[np.int64],
    content_hash: NDArray[np.str_],
    degenerate: NDArray[np.bool_],
    config: ScenesConfig,
    *,
    holdout: Holdout | None = None,
    holdout_guard: bool = True,
    seed: int = 0,
) -> Folds:
    """Make spatial folds.

    Blocks of ``config.block_tiles`` x ``config.block_tiles`` tiles go, the one with most landslide
    pixels first, to the fold that has least so far. Tiles of equal content go to one fold. Blocks
    that are too few for the folds are made smaller, and the log says so.

    With ``config.by`` "scenes" every scene is a fold, so that each is scored by models that saw
    none of it. Of more scenes than ``config.folds`` the lightest are put together.

    Parameters
    ----------
    landslide_pixels, content_hash, degenerate : array, shape (patch,)
        In the order of ``layout.patch``.
    holdout : Holdout, optional
        Tiles held out.
    holdout_guard : bool
        Whether the eight neighbours of holdout tiles fit nothing.
    seed : int
        Decides between blocks that are equal.

    Raises
    ------
    ConfigError
        If the holdout names tiles that are not there.
    DataError
        If even single tiles cannot give every fold landslide pixels to hold and to train on, or
        whole scenes cannot.
    """
    role = _roles(layout, content_hash, degenerate, holdout, holdout_guard)
    fit = role == "fit"
    if not landslide_pixels[fit].any():
        counts = zip(*np.unique(role, return_counts=True), strict=True)
        raise DataError(
            "no tile left for fitting holds a landslide",
            found=", ".join(f"{n} {r}" for r, n in counts),
            fix="use a smaller data.holdout, or patches with landslides",
        )
    bootstrap = _windows(layout, config.bootstrap_tiles)

    def folds_of(fold: NDArray[np.int32], edge: int) -> Folds:
        return Folds(
            **vars(layout),
            role=role,
            fold=_join_copies(fold, content_hash, fit),
            block=bootstrap,
            landslide_pixels=landslide_pixels,
            content_hash=content_hash,
            n_folds=int(fold.max()) + 1 if config.by == "scenes" else config.folds,
            block_tiles=edge,
            by=config.by,
        )

    if config.by == "scenes":
        folds = folds_of(_whole_scenes(layout, landslide_pixels, fit, config.folds), 0)
        _require_landslides_in_scenes(folds)
        return folds
    for edge in range(config.block_tiles, 0, -1):
        block = _blocks(layout, fit, edge)
        fold = _balance(block, layout.scene, landslide_pixels, fit, config.folds, seed)
        folds = folds_of(fold, edge)
        short = _folds_without_landslides(folds)
        if not short:
            break
    if short:
        k, part = short[0]
        raise DataError(
            f"too few tiles for {config.folds} spatial folds",
            found=f"{int(fit.sum())} tiles to fit, {int((landslide_pixels[fit] > 0).sum())} with a "
            f"landslide; fold {k} has no landslide pixel {part}, even with single tiles as blocks",
            allowed="landslide pixels in every fold, and in its training part without the tiles "
            "beside",
            fix="set scenes.folds to a smaller number (at least 2), or add tiles",
        )
    if edge < config.block_tiles:
        words = "scenes: blocks of %d tiles are too few for %d folds; blocks of %d x %d are used"
        log.warning(words, config.block_tiles, config.folds, edge, edge)
    return folds


def _roles(
    layout: Layout,
    content_hash: NDArray[np.str_],
    degenerate: NDArray[np.bool_],
    holdout: Holdout | None,
    holdout_guard: bool,
) -> NDArray[np.str_]:
    held_out = _holdout_tiles(layout, holdout)
    guard = np.zeros_like(held_out)
    if held_out.any():
        if holdout_guard:
            guard = layout.touching(held_out)
        # A copy of a holdout or guard tile elsewhere would tell what must not be known.
        guard |= np.isin(content_hash, content_hash[held_out | guard])
    role = np.full(len(held_out), "fit", dtype="<U10")
    role[degenerate.astype(bool)] = "degenerate"
    role[guard] = "guard"
    role[held_out] = "holdout"
    return role


def _holdout_tiles(layout: Layout, holdout: Holdout | None) -> NDArray[np.bool_]:
    """Tiles that the setting ``data.holdout`` names."""
    chosen = np.zeros(len(layout.patch), bool)
    if holdout is None:
        return chosen
    missing = sorted(set(holdout.ids) - {int(i) for i in layout.patch})
    if missing:
        raise ConfigError(
            "data.holdout names patches that are not there",
            where="data.holdout.ids",
            found=", ".join(map(str, missing[:20])),
            allowed=f"{len(layout.patch)} ids from {layout.patch.min()} to {layout.patch.max()}",
        )
    chosen |= np.isin(layout.patch, holdout.ids)
    windowed = holdout.scene is not None or holdout.columns or holdout.rows
    if not windowed:
        if not chosen.any():
            raise ConfigError(
                "data.holdout names no tile",
                allowed="ids, or scene with columns or rows",
                fix="leave data.holdout out for no holdout",
            )
        return chosen
    if layout.grid == "none":
        raise ConfigError(
            "data.holdout names a scene, but the places of the tiles are not known",
            where="data.holdout",
            fix="give data.holdout.ids, or a scenes.csv in the data folder",
        )
    window = np.ones(len(layout.patch), bool)
    if holdout.scene is not None:
        window &= layout.scene == holdout.scene
    for limits, place in ((holdout.columns, layout.col), (holdout.rows, layout.row)):
        if limits is not None:
            window &= (place >= min(limits)) & (place <= max(limits))
    if not window.any():
        raise ConfigError(
            "no tile lies in data.holdout",
            where="data.holdout",
            found=holdout.model_dump(exclude_defaults=True),
            allowed=_extents(layout),
        )
    return chosen | window


def _extents(layout: Layout) -> str:
    parts = []
    for scene in np.unique(layout.scene[layout.scene >= 0]):
        inside = layout.scene == scene
        row, col = layout.row[inside], layout.col[inside]
        parts.append(
            f"scene {scene}: columns {col.min()}-{col.max()}, rows {row.min()}-{row.max()}"
        )
    more = f"; and {len(parts) - 20} scenes more" if len(parts) > 20 else ""
    return "; ".join(parts[:20]) + more


def _blocks(layout: Layout, fit: NDArray[np.bool_], edge: int) -> NDArray[np.int64]:
    """Block of each tile, -1 for tiles that do not fit; shape (patch,).

    The extent of a scene's tiles is cut evenly, so that no sliver of one column remains. A scene
    that would be one block is cut in two along its longer side, where `FEWEST_TO_CUT` tiles lie
    along it: blocks ask about another part of a known scene, and only ``scenes.by=scenes`` about
    one never seen. Where no place is known a block is a run of edge x edge ids.
    """
    block = np.full(len(layout), -1, np.int64)
    if layout.grid == "none":
        block[fit] = _runs(layout.patch[fit], edge)
        return block
    first = 0
    for scene in np.unique(layout.scene[fit]):
        inside = fit & (layout.scene == scene)
        places = (a[inside].astype(np.int64) for a in (layout.row, layout.col))
        row, col = (place - place.min() for place in places)
        high, wide = int(row.max()) + 1, int(col.max()) + 1
        rows, columns = (max(1, round(extent / edge)) for extent in (high, wide))
        if rows * columns == 1 and max(high, wide) >= FEWEST_TO_CUT:
            rows, columns = (2, 1) if high > wide else (1, 2)
        cell = row * rows // high * columns + col * columns // wide
        numbered = np.unique(cell, return_inverse=True)[1]
        block[inside] = first + numbered
        first += int(numbered.max()) + 1
    return block


def _balance(
    block: NDArray[np.int64],
    scene: NDArray[np.int32],
    landslide_pixels: NDArray[np.int64],
    fit: NDArray[np.bool_],
    folds: int,
    seed: int,
) -> NDArray[np.int32]:
    """Fold of each tile: the heaviest block first, to the fold that holds least so far.

    The last block of a scene does not go where all the others are.
    """
    blocks = int(block.max()) + 1
    of_scene = np.empty(blocks, np.int64)
    of_scene[block[fit]] = scene[fit]
    weight, _ = _weights(block[fit], landslide_pixels[fit])
    shuffled = np.random.default_rng([seed, 101]).permutation(blocks)
    order = shuffled[np.argsort(-weight[shuffled], kind="stable")]
    load = np.zeros(folds)
    chosen = np.full(blocks, -1, np.int32)
    for b in order:
        others = chosen[(of_scene == of_scene[b]) & (np.arange(blocks) != b)]
        whole = len(others) > 0 and others[0] >= 0 and (others == others[0]).all()
        barred = others[0] if whole else -1
        k = int(np.argmin(np.where(np.arange(folds) == barred, np.inf, load)))
        chosen[b] = k
        load[k] += weight[b]
    fold = np.full(len(block), -1, np.int32)
    fold[fit] = chosen[block[fit]]
    return fold


def _weights(
    group: NDArray[np.integer[Any]], landslide_pixels: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weight of each group of tiles in the balance, and its landslide pixels; shape (group,)."""
    pixels = np.bincount(group, weights=landslide_pixels).astype(np.float64)
    tiles = np.bincount(group)
    return pixels / max(pixels.sum(), 1) + _TILES_WEIGHT * tiles / tiles.sum(), pixels


def _whole_scenes(
    layout: Layout, landslide_pixels: NDArray[np.int64], fit: NDArray[np.bool_], most: int
) -> NDArray[np.int32]:
    """Fold of each tile: one a scene, in the order of scenes; the lightest share one.

    Scenes without landslides are the first to be put together with others.
    """
    scenes, position = np.unique(layout.scene[fit], return_inverse=True)
    if len(scenes) < 2:
        places = "the places of the tiles are not known" if layout.grid == "none" else "one scene"
        raise DataError(
            "one scene cannot be left out of one",
            where="scenes.by=scenes",
            found=f"{places}, {int(fit.sum())} tiles to fit",
            allowed="two scenes or more, with landslides in each fold",
            fix="set scenes.by=blocks",
        )
    if layout.grid == "pixels":
        log.warning(
            "scenes: parts that no seam joins count as scenes of their own, though they may lie "
            "in one place; scores of scenes left out may be too good"
        )
    weight, pixels = _weights(position, landslide_pixels[fit])
    # The first member's number settles ties.
    heap = [(bool(pixels[i] > 0), float(weight[i]), i, [i]) for i in range(len(scenes))]
    heapq.heapify(heap)
    while len(heap) > most:
        a, b = heapq.heappop(heap), heapq.heappop(heap)
        members = sorted(a[3] + b[3])
        heapq.heappush(heap, (a[0] or b[0], a[1] + b[1], members[0], members))
    if len(heap) < len(scenes):
        log.warning(
            "scenes: %d scenes are put together to %d folds; a fold of several scenes is held out "
            "as one",
            len(scenes),
            len(heap),
        )
    fold_of_scene = np.empty(len(scenes), np.int32)
    # In the order of scenes; folds of tiles that stand alone (below 0) follow.
    rank = np.where(scenes >= 0, scenes, np.iinfo(np.int32).max)
    for k, members in enumerate(sorted((m for *_, m in heap), key=lambda m: (rank[m].min(), m))):
        fold_of_scene[members] = k
    fold = np.full(len(fit), -1, np.int32)
    fold[fit] = fold_of_scene[position]
    return fold


def _require_landslides_in_scenes(folds: Folds) -> None:
    short = _folds_without_landslides(folds)
    if not short:
        return
    k, part = min(short, key=lambda s: s[1] != "to hold")
    scenes = np.unique(folds.scene[folds.fold == k])
    named = ", ".join(map(str, scenes[:10])) + (" …" if len(scenes) > 10 else "")
    fit = folds.role == "fit"
    enough = len(np.unique(folds.scene[fit & (folds.landslide_pixels > 0)]))
    fewer = f"set scenes.folds={enough}, then it shares a fold with another scene; or "
    raise DataError(
        "a scene without landslides cannot be a fold",
        where=f"scenes.by=scenes, scene {named}",
        found=f"no landslide pixel {part} in fold {k} of {folds.n_folds}",
        allowed="landslide pixels in every fold, and in its training part",
        fix=(fewer if 2 <= enough < folds.n_folds else "") + "set scenes.by=blocks",
    )


def _join_copies(
    fold: NDArray[np.int32], content_hash: NDArray[np.str_], fit: NDArray[np.bool_]
) -> NDArray[np.int32]:
    """Move tiles of equal content into the fold of the first of them."""
    joined = fold.copy()
    where = np.flatnonzero(fit)
    _, first, group = np.unique(content_hash[where], return_index=True, return_inverse=True)
    joined[where] = fold[where[first]][group]
    return joined


def _folds_without_landslides(folds: Folds) -> list[tuple[int, str]]:
    """Folds that hold no landslide pixel, or train on none."""
    short = []
    for k in range(folds.n_folds):
        for ids, part in ((folds.held_out_ids(k), "to hold"), (folds.train_ids(k), "to train on")):
            if not len(ids) or not folds.of(ids, "landslide_pixels").any():
                short.append((k, part))
    return short


def _windows(layout: Layout, edge: int) -> NDArray[np.int32]:
    """Bootstrap block of every tile: windows of edge x edge tiles, or runs of as many ids."""
    if layout.grid == "none":
        return _runs(layout.patch, edge).astype(np.int32)
    r, c = layout.row.astype(np.int64) // edge, layout.col.astype(np.int64) // edge
    key = (layout.scene.astype(np.int64) << 40) + (r << 20) + c
    return np.unique(key, return_inverse=True)[1].astype(np.int32)


def _runs(patch: NDArray[np.int64], edge: int) -> NDArray[np.int64]:
    """Runs of edge x edge ids."""
    rank = np.argsort(np.argsort(patch, kind="stable"), kind="stable")
    return np.asarray(rank // (edge * edge))
