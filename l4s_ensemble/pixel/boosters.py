"""Fitted boosters of a pixel classifier: all that a prediction needs of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4s_ensemble.errors import ModelError, RunError
from l4s_ensemble.pixel.trees import Trees, read_trees
from l4s_ensemble.run.files import digest_of, read_json, write_json, write_text

CLASSIFIER_FILE = "classifier.json"
KIND = "pixel classifier"
VERSION = 1
"""Of the saved form: raised when an older reader would misread a newer model."""


@dataclass(frozen=True)
class Boosters:
    """LightGBM's boosters as texts; the mean of their logits counts.

    LightGBM is not needed: `l4s_ensemble.pixel.bit_trees` predicts, bit for bit the same and
    faster.
    """

    names: tuple[str, ...]  # features in the order of the columns
    texts: tuple[str, ...]

    @property
    def trees(self) -> Trees:
        """The trees of all boosters; read once in a process."""
        return _trees_of(self.texts)

    def predict_logit_image(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Predict the log-odds of every pixel of an image, on one thread.

        Parameters
        ----------
        features : float32 array, shape (feature, y, x)

        Returns
        -------
        float32 array, shape (y, x)

        Raises
        ------
        ValueError
            If a value is not finite.
        """
        from l4s_ensemble.pixel.bit_trees import bit_trees  # numba takes long to import

        if not np.isfinite(features).all():
            raise ValueError("features hold NaN or infinity")
        return bit_trees(self.trees).score(features).astype(np.float32)

    def save(self, folder: Path, **about: Any) -> None:
        """Write one LightGBM text for each booster, then ``classifier.json``.

        Where the JSON stands, the model is complete; `about` goes into it.
        """
        paths = [folder / f"booster_{n}.txt" for n in range(len(self.texts))]
        for path, text in zip(paths, self.texts, strict=True):
            write_text(path, text)
        value = {"kind": KIND, "version": VERSION, "features": self.names, **about}
        value |= {"boosters": [path.name for path in paths], "digest": digest_of(*paths)}
        write_json(folder / CLASSIFIER_FILE, value)

    @classmethod
    def load(cls, folder: Path) -> Boosters:
        """Read what `save` wrote.

        Raises
        ------
        ModelError
            If it is not a pixel classifier, of another version, damaged or incomplete.
        """
        return load_with_json(folder)[0]


def load_with_json(folder: Path) -> tuple[Boosters, dict[str, Any]]:
    """Read boosters and what else ``classifier.json`` says; see `Boosters.load`."""
    path = folder / CLASSIFIER_FILE
    value = read_saved(path, KIND, VERSION)
    try:
        files = [folder / name for name in value["boosters"]]
        texts = tuple(file.read_text(encoding="utf-8") for file in files)
        if digest_of(*files) != value["digest"]:
            raise ValueError("the boosters are not those that were saved")
        return Boosters(tuple(value["features"]), texts), value
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise damaged(path, error) from None


def damaged(path: Path, error: Exception) -> ModelError:
    """Make the error of a saved pixel classifier that cannot be used."""
    found = f"{type(error).__name__}: {error}"
    return ModelError(
        "the pixel classifier is damaged", where=path, found=found, fix="run fit-all again"
    )


def read_saved(path: Path, kind: str, version: int) -> dict[str, Any]:
    """Read the JSON of a saved model.

    Raises
    ------
    ModelError
        If it is missing, damaged, of another kind or of another version.
    """
    try:
        value: dict[str, Any] = read_json(path)
        found = (value.get("kind"), value.get("version"))
    except (RunError, AttributeError) as error:
        raise ModelError(
            f"the {kind} cannot be read", where=path, found=error, fix="run fit-all again"
        ) from None
    if found != (kind, version):
        raise ModelError(
            f"not a {kind} of version {version}",
            where=path,
            found="{}, version {}".format(*found),
            fix="fit it again with this version of the package",
        )
    return value


@lru_cache(maxsize=16)
def _trees_of(texts: tuple[str, ...]) -> Trees:
    return read_trees(texts)
