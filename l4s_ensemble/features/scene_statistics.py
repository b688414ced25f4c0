"""Statistics of a scene as a whole, which relative features read: quantiles of a few fields.

No label is read. A scene is measured once, over a sample of its tiles. Where the scene of a tile is
not known (valid and test tiles come without places), the tile's own statistics stand for it: then
a feature of scope ``scene`` says how a pixel ranks within its tile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.errors import DataError, ModelError

QUANTILES = 101
"""From the least to the greatest, in steps of one percent."""


def quantiles_of(values: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Give 0 %, 1 % … 100 % of some values by linear interpolation, ascending, shape (101,)."""
    ordered = np.sort(values, axis=None)
    # The same as numpy.quantile, from ordered values at no further cost.
    place = np.linspace(0, ordered.size - 1, QUANTILES)
    return np.interp(place, np.arange(ordered.size), ordered).astype(np.float32)


@dataclass(frozen=True, eq=False)
class SceneStatistics:
    """Quantiles of the fields of a scene. Can be pickled and written as JSON.

    Attributes
    ----------
    quantiles : mapping of str to float32 array, shape (101,)
        By the name of the field.
    tiles : int
        Tiles that were measured.
    """

    quantiles: Mapping[str, NDArray[np.float32]]
    tiles: int = 0

    def of(self, name: str) -> NDArray[np.float32]:
        """Quantiles of a field.

        Raises
        ------
        ModelError
            If it was not measured.
        """
        found = self.quantiles.get(name)
        if found is None:
            raise ModelError(
                "the statistics of the scene lack a field",
                found=name,
                allowed=", ".join(self.quantiles),
                fix="run the features stage again",
            )
        return found

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; see `from_dict`."""
        made = {n: [float(q) for q in found] for n, found in self.quantiles.items()}
        return {"tiles": self.tiles, "quantiles": made}

    @classmethod
    def from_dict(cls, value: Any, where: object = None) -> SceneStatistics:
        """Read back what `as_dict` gave.

        Parameters
        ----------
        where : object, optional
            File it comes from, for the message.

        Raises
        ------
        ModelError
            If something is missing, or a number is not what it must be.
        """
        try:
            tiles, quantiles = int(value["tiles"]), value["quantiles"].items()
            found = {str(name): np.array(q, np.float32) for name, q in quantiles}
            for name, q in found.items():
                if q.shape != (QUANTILES,) or not np.isfinite(q).all() or (np.diff(q) < 0).any():
                    raise ValueError(f"{name} has not {QUANTILES} ascending quantiles")
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise ModelError(
                "these are not the statistics of a scene",
                where=where,
                found=error,
                fix="run the features stage again",
            ) from None
        return cls(found, tiles)


def measure(samples: Sequence[Mapping[str, NDArray[np.float32]]]) -> SceneStatistics:
    """Measure a scene over samples of its tiles.

    Parameters
    ----------
    samples : sequence of dict
        One of `l4s_ensemble.features.tile_context.sample_tile` for each tile, all of one sensor.

    Raises
    ------
    DataError
        If there is no sample.
    """
    if not samples:
        raise DataError("no tile of the scene can be measured", fix="give at least one tile")
    found = {n: quantiles_of(np.concatenate([s[n] for s in samples])) for n in samples[0]}
    return SceneStatistics(found, len(samples))
