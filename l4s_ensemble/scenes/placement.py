"""Where the tiles of a set lie: scene, row and column, with a confidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.errors import DataError

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Placement:
    """Where tiles lie in their scenes.

    Attributes
    ----------
    ids : ndarray of int, shape (tile,)
        Patch ids, or positions where no ids were given.
    scene, row, col : ndarray of int, shape (tile,)
        Scene from 1, row and column from 0 within the scene; all -1 for a tile without a place.
    confidence : ndarray of float, shape (tile,)
        Chance that the tile lies right relative to its neighbours; 0 for a tile without a place.
    """

    ids: Ints
    scene: Ints
    row: Ints
    col: Ints
    confidence: NDArray[np.float64]

    @classmethod
    def known(cls, ids: Any, scene: Any, row: Any, col: Any) -> Placement:
        """Wrap places that are known otherwise (an official grid, a manifest).

        Raises
        ------
        DataError
            If two tiles claim one place.
        """
        ids, scene, row, col = (np.asarray(a, np.int64) for a in (ids, scene, row, col))
        made = cls(ids, scene, row, col, (scene >= 0).astype(np.float64))
        placed = np.flatnonzero(made.placed)
        places = np.column_stack([made.scene, made.row, made.col])[placed]
        _, first, count = np.unique(places, axis=0, return_index=True, return_counts=True)
        if (count > 1).any():
            taken = places[first[count > 1][0]]
            rivals = made.ids[placed[(places == taken).all(1)]].tolist()
            raise DataError(
                "two tiles claim one place", where=f"scene, row, column {taken.tolist()}",
                found=f"patches {rivals}", fix="correct the manifest, or let the seams decide",
            )  # fmt: skip
        return made

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def placed(self) -> NDArray[np.bool_]:
        """Which tiles have a place, shape (tile,)."""
        return np.asarray(self.scene >= 0)

    def cells(self) -> dict[tuple[int, int, int], int]:
        """Position of the tile at each (scene, row, column)."""
        where = np.flatnonzero(self.placed)
        keys = np.column_stack([self.scene, self.row, self.col])[where].tolist()
        return {(s, r, c): int(t) for (s, r, c), t in zip(keys, where, strict=True)}

    def pairs(self, axis: Literal["x", "y"]) -> NDArray[np.intp]:
        """Adjoining tiles as positions, shape (pair, 2): left and right, or upper and lower."""
        down, right = (0, 1) if axis == "x" else (1, 0)
        cells = self.cells()
        found = [(t, cells[s, r + down, c + right]) for (s, r, c), t in cells.items()
                 if (s, r + down, c + right) in cells]  # fmt: skip
        return np.array(found, np.intp).reshape(-1, 2)

    def summary(self) -> dict[str, Any]:
        """Numbers for ``data scenes --json``.

        Returns
        -------
        dict
            ``tiles``, ``placed``, ``confidence_min`` of the placed (None if there are none), and
            ``scenes``: for each ``scene``, ``tiles``, ``rows`` and ``cols`` (extent of what is
            there).
        """
        scenes = []
        for scene in np.unique(self.scene[self.placed]).tolist():
            here = self.scene == scene
            scenes.append(
                {
                    "scene": scene,
                    "tiles": int(here.sum()),
                    "rows": int(np.ptp(self.row[here])) + 1,
                    "cols": int(np.ptp(self.col[here])) + 1,
                }
            )
        placed = int(self.placed.sum())
        least = float(self.confidence[self.placed].min()) if placed else None
        return {"tiles": len(self), "placed": placed, "confidence_min": least, "scenes": scenes}
