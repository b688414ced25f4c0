"""A table of choices: each one's F1 out of fold, and its paired gain over the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from l4s_ensemble.metrics.bootstrap import f1_gain_interval
from l4s_ensemble.metrics.tiles import TileHistograms, summarise


class Table:
    """Rows of choices over the same tiles; the first is what the others are held against.

    Parameters
    ----------
    block : int array, shape (tile,)
        Spatial block of each tile.
    seed : int
        Of the bootstrap.
    """

    def __init__(self, block: NDArray[Any], seed: int) -> None:
        self.block, self.seed = block, seed
        self.rows: list[dict[str, Any]] = []
        self._base: tuple[TileHistograms, float] | None = None

    def add(
        self,
        label: str,
        tiles: TileHistograms,
        told: Mapping[str, Any],
        threshold: float | None = None,
    ) -> dict[str, Any]:
        """Score one choice at a threshold; by default at the best one of its own scores.

        Parameters
        ----------
        label : str
        tiles : TileHistograms
        told : mapping
            What else the row says; ``seconds`` is shown.
        threshold : float, optional
            Chosen elsewhere.
        """
        own = summarise(tiles, self.block, threshold=threshold, seed=self.seed)
        row: dict[str, Any] = {
            "choice": label, "f1": own["f1"], "low": own["f1_low"], "high": own["f1_high"],
            "average_precision": own["average_precision"], "threshold": own["threshold"],
            "gain": None, "gain_low": None, "gain_high": None, **told,
        }  # fmt: skip
        if self._base is None:
            self._base = tiles, own["threshold"]
        else:
            gain = f1_gain_interval(
                tiles.counts(own["threshold"]), self._base[0].counts(self._base[1]), self.block
            )
            row |= {"gain": gain.value, "gain_low": gain.low, "gain_high": gain.high}
        self.rows.append(row)
        return row


def print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Show the table, in Markdown."""
    print("| choice | F1 | gain | 95 % interval | average precision | threshold | s |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for r in rows:
        gain = "" if r["gain"] is None else f"{r['gain']:+.4f}"
        width = "" if r["gain_low"] is None else f"{r['gain_low']:+.4f} to {r['gain_high']:+.4f}"
        print(
            f"| {r['choice']} | {r['f1']:.4f} | {gain} | {width} | {r['average_precision']:.4f} "
            f"| {r['threshold']:.3f} | {r['seconds']:.0f} |"
        )
