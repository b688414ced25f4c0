"""A few tiles whose every value can be read: bands, logits, features, contributions.

The script of such a tile hands over a head and bytes, see `script`. Bands and logits are whole
numbers at every pixel; features and contributions come from ``tile_values.npz``, at every few
pixels and of the features that add most on the tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.metrics.counts import Counts
from l4s_ensemble.metrics.telling import most_called, telling_tiles
from l4s_ensemble.pixel.tile_values import TILE_VALUES_FILE, TILES_KEPT
from l4s_ensemble.report import words
from l4s_ensemble.report.browser.packing import call, deflated, predicted
from l4s_ensemble.report.browser.scored import ScoredTiles, Tile
from l4s_ensemble.report.pictures.features import unit as unit_of
from l4s_ensemble.report.source import RunSource

FEATURES = 48
"""Features shown of a tile: those that add most on it. The rest is shown as one sum."""

LOGIT_STEPS = 32
"""Steps of a unit of log-odds."""

MOST_UINT16 = 65535


@dataclass(frozen=True)
class TileValues:
    """What the pixel classifier's stages kept of a few tiles.

    Attributes
    ----------
    why : dict of int to str
        Tile id to why it was chosen.
    kept : dict of str to array, or None
        ``tile_values.npz``; None in a run that kept none.
    units : dict of str to str
        Feature to its unit.
    """

    why: dict[int, str]
    kept: dict[str, NDArray[Any]] | None
    units: dict[str, str]

    @classmethod
    def of(
        cls,
        source: RunSource,
        scored: ScoredTiles,
        patch: NDArray[np.int64],
        counts: Counts | None,
        called: NDArray[np.int64],
    ) -> TileValues:
        """Tiles that a stage kept, else tiles chosen here, for their bands and logits.

        Parameters
        ----------
        patch : int64 array, shape (tile,)
            Tiles of the page.
        counts : Counts or None
            Of each, where there is truth.
        called : int64 array, shape (tile,)
            Predicted pixels of each.
        """
        stage = "pixel" if scored.out_of_fold else f"predict/{scored.split}/reasons"
        kept = source.arrays(stage, TILE_VALUES_FILE)
        if kept is None or not len(kept["patch"]):
            some = telling_tiles(counts, TILES_KEPT) if counts else most_called(called, TILES_KEPT)
            return cls({int(patch[i]): why for i, why in some}, None, {})
        rows = source.summary("features").get("features", [])
        there = set(patch.tolist())
        why = {
            int(p): str(w) for p, w in zip(kept["patch"], kept["why"], strict=True) if p in there
        }
        return cls(why, kept, {r["name"]: unit_of(str(r.get("unit", ""))) for r in rows})

    def script(self, tile: Tile, counts: NDArray[Any], scored: ScoredTiles) -> str:
        """Write the script of one tile.

        Parameters
        ----------
        tile : Tile
        counts : array, shape (band, y, x)
            As the store holds them.

        Returns
        -------
        str
            ``L4S.values(patch, head, bytes)``. The head says ``why``, ``bands`` and ``logits``
            (name, unit, offset, scale), and where features were kept ``stride, fold, start,
            features`` (name, group, unit, low, high, size of contributions), ``rest`` (how many
            others, size of their sum). The bytes are, one after the other: each band and logit as
            `packing.predicted` writes it, the features, their contributions (int8 of -127 to 127,
            times the size), and those of the rest.
        """
        from l4s_ensemble.data.store import sensor_of

        sensor = sensor_of(scored.store)
        head: dict[str, Any] = {"why": self.why[tile.patch], "bands": [], "logits": []}
        parts: list[bytes | NDArray[np.uint8] | NDArray[np.int8]] = []
        relative = sensor.level == "relative"
        for band, plane in zip(sensor.bands, counts, strict=True):
            whole, offset, scale = _whole(plane)
            factor = band.count_to_unit
            unit = "relative" if relative and band.name in sensor.spectral else unit_of(band.unit)
            head["bands"].append(
                [band.name, unit, words.sigfig(offset * factor, 7), words.sigfig(scale * factor, 7)]
            )
            parts.append(predicted(whole))
        for name, logit in tile.logit.items():
            steps = np.rint(LOGIT_STEPS * np.clip(np.nan_to_num(logit), -99, 99))
            parts.append(predicted((steps + 100 * LOGIT_STEPS).astype(np.uint16)))
            head["logits"].append([name, "log-odds", -100, 1 / LOGIT_STEPS])
        if self.kept is not None:
            parts += self._features(tile.patch, head)
        return call("L4S.values", tile.patch, head, deflated(parts))

    def _features(
        self, patch: int, head: dict[str, Any]
    ) -> list[bytes | NDArray[np.uint8] | NDArray[np.int8]]:
        kept = self.kept
        if kept is None:
            return []
        n = int(np.flatnonzero(kept["patch"] == patch)[0])
        added = kept["added"][n].astype(np.float32)
        order = np.argsort(-np.abs(added).mean(axis=(1, 2)), kind="stable")
        shown, rest = order[:FEATURES], order[FEATURES:]
        steps, sizes = _signed(added[shown])
        left, left_size = _signed(added[rest].sum(axis=0, keepdims=True))
        head |= {
            "stride": int(kept["stride_px"]),
            "fold": int(kept["fold"][n]),
            "start": words.sigfig(float(kept["expected"][n])),
            "rest": [len(rest), words.sigfig(float(left_size[0]))],
            "features": [
                [
                    str(kept["names"][f]), str(kept["groups"][f]),
                    self.units.get(str(kept["names"][f]), ""),
                    words.sigfig(float(kept["low"][n, f]), 5),
                    words.sigfig(float(kept["high"][n, f]), 5), words.sigfig(float(size)),
                ]
                for f, size in zip(shown, sizes, strict=True)
            ],
        }  # fmt: skip
        return [kept["values"][n][shown], steps, left]


def _whole(plane: NDArray[Any]) -> tuple[NDArray[np.uint16], float, float]:
    """Band as whole numbers: offset + scale × number is the count."""
    if plane.dtype == np.uint16:
        return plane, 0.0, 1.0
    values = np.nan_to_num(plane.astype(np.float64))
    low, high = float(values.min()), float(values.max())
    scale = (high - low) / MOST_UINT16 if high > low else 1.0
    return np.rint((values - low) / scale).astype(np.uint16), low, scale


def _signed(values: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Round each layer (layer, y, x) to steps of its largest size / 127."""
    size = np.abs(values).max(axis=(1, 2))
    steps = np.rint(127 * values / np.where(size > 0, size, 1)[:, None, None])
    return steps.astype(np.int8), size
