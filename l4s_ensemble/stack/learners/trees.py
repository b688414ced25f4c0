"""A few small trees on the neighbourhood of both logits: LightGBM's text on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.config import StackConfig
from l4s_ensemble.errors import ModelError
from l4s_ensemble.run.files import digest_of, write_text
from l4s_ensemble.stack.inputs import Seen
from l4s_ensemble.stack.learners import neighbourhood
from l4s_ensemble.stack.learners.linear import require_both
from l4s_ensemble.stack.model import AGAIN, FILE, check_inputs, not_whole, read_model, write_model

if TYPE_CHECKING:
    import lightgbm

TEXT_FILE = "trees.txt"
LEARNING_RATE = 0.1
MIN_CHILD_SHARE = 0.001
"""Least share of the rows in a leaf: what fewer pixels say is noise."""

FEWEST_CHILD_ROWS = 20


@dataclass(frozen=True)
class TreesLearner:
    """Boosted trees. More of either logit at a pixel never lowers their answer there.

    Attributes
    ----------
    windows_px : tuple of int
        Edges of the neighbourhoods.
    terrain : tuple of str
        Which of `neighbourhood.TERRAIN` it reads.
    names : tuple of str
        Inputs, in order.
    text : str
        LightGBM's own.
    """

    windows_px: tuple[int, ...]
    terrain: tuple[str, ...]
    names: tuple[str, ...]
    text: str

    kind = "trees"

    def probability(self, seen: Seen) -> NDArray[np.float32]:
        """Probability of landslide of one tile, float32 (y, x).

        Raises
        ------
        ModelError
            If the tile lacks terrain that the trees were fitted on.
        """
        missing = set(self.terrain) - set(neighbourhood.terrain_of(seen))
        if missing:
            raise ModelError(
                "the meta-learner wants terrain that these tiles do not have",
                found="no " + ", ".join(sorted(missing)), allowed=", ".join(self.terrain),
                fix="predict tiles of the sensor it was fitted on",
            )  # fmt: skip
        layers = neighbourhood.compute(seen, self.windows_px, self.terrain)
        return self.probability_of(layers)

    def probability_of(self, layers: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probability from inputs (input, y, x) that are made already."""
        rows = np.ascontiguousarray(layers.reshape(len(layers), -1).T)
        found = self._booster.predict(rows)
        return np.asarray(found, dtype=np.float32).reshape(layers.shape[1:])

    def told(self) -> dict[str, Any]:
        """``inputs`` and ``importances``: each input's share of the gain, the largest first."""
        gain = self._booster.feature_importance("gain")
        share = gain / max(float(gain.sum()), 1e-12)
        rows = [{"name": n, "share": float(s)} for n, s in zip(self.names, share, strict=True)]
        return {
            "inputs": list(self.names),
            "importances": sorted(rows, key=lambda row: -float(row["share"])),
        }

    def save(self, folder: Path) -> None:
        """Write ``model.json`` and ``trees.txt``."""
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / TEXT_FILE, self.text)
        values = {"windows_px": self.windows_px, "terrain": self.terrain, "names": self.names}
        # LightGBM ends the process on a text that was cut short.
        write_model(folder, self.kind, {**values, "digest": digest_of(folder / TEXT_FILE)})

    @classmethod
    def load(cls, folder: Path) -> TreesLearner:
        """Read what `save` wrote.

        Raises
        ------
        ModelError
            If the files are of another form, not whole, or their inputs not those of this version.
        """
        path = folder / TEXT_FILE
        try:
            values = read_model(folder, cls.kind)
            digest = values.pop("digest", None)
            if digest_of(path) != digest:
                raise not_whole(path, "its content is not what model.json was written with")
            text = path.read_text(encoding="utf-8")
            model = cls(**values, text=text)
        except (TypeError, OSError, UnicodeDecodeError) as error:
            where = folder / FILE if isinstance(error, TypeError) else path
            raise not_whole(where, error) from None
        allowed = neighbourhood.names(model.windows_px, model.terrain)
        check_inputs(folder / FILE, model.names, allowed)
        check_inputs(path, _columns(text), allowed)
        return model

    @cached_property
    def _booster(self) -> lightgbm.Booster:
        import lightgbm

        try:
            return lightgbm.Booster(model_str=self.text)
        except lightgbm.basic.LightGBMError as error:
            raise ModelError(
                "the meta-learner's trees cannot be read", where=TEXT_FILE, found=error, fix=AGAIN
            ) from None


def rows_of(seen: Seen, settings: StackConfig) -> NDArray[np.float32]:
    """Inputs of one tile, float32 (input, y, x)."""
    return neighbourhood.compute(seen, settings.windows_px, neighbourhood.terrain_of(seen))


def fit(
    rows: NDArray[np.float32],
    labels: NDArray[np.bool_],
    settings: StackConfig,
    *,
    terrain: Sequence[str] = (),
    seed: int = 0,
    jobs: int = 1,
) -> TreesLearner:
    """Fit on drawn pixels.

    Parameters
    ----------
    rows : float32 array, shape (pixel, input)
        As `neighbourhood.compute` gives them.
    labels : bool array, shape (pixel,)
    terrain : sequence of str
        Which of `neighbourhood.TERRAIN` stand last in `rows`.

    Raises
    ------
    RunError
        If only one class was drawn.
    """
    import lightgbm

    require_both(labels)
    names = neighbourhood.names(settings.windows_px, terrain)
    parameters = {
        "objective": "binary",
        "num_leaves": settings.leaves,
        "learning_rate": LEARNING_RATE,
        "min_child_samples": max(FEWEST_CHILD_ROWS, round(MIN_CHILD_SHARE * len(rows))),
        "lambda_l2": settings.l2,
        "feature_fraction": 0.7,
        "monotone_constraints": [int(neighbourhood.rises(name)) for name in names],
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": jobs,
        "verbosity": -1,
    }
    data = lightgbm.Dataset(rows, labels.astype(np.uint8), feature_name=list(names))
    booster = lightgbm.train(parameters, data, num_boost_round=settings.trees)
    return TreesLearner(
        tuple(settings.windows_px), tuple(terrain), names, booster.model_to_string()
    )


def _columns(text: str) -> tuple[str, ...]:
    key = "feature_names="
    line = next((one for one in text.splitlines() if one.startswith(key)), key)
    return tuple(line.removeprefix(key).split())
