"""The saved pixel classifier: LightGBM text and one JSON that says what it is and wants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.errors import ModelError, RunError
from l4s_ensemble.run.files import read_json, write_json

if TYPE_CHECKING:
    from l4s_ensemble.pixel.trees import Trees

MODEL_FILE = "model.json"
FEATURES_FILE = "features.json"
KIND = "l4s_ensemble pixel classifier"
VERSION = 2
"""Of the saved form: raised when an older reader would misread a newer model."""


@dataclass(frozen=True)
class PixelModel:
    """The boosters of each fold, and what they were trained on.

    Attributes
    ----------
    folder : Path
        Holds ``model.json``, ``features.json`` and the boosters, see `booster_file`.
    features, groups : tuple of str
        Names in the order of the columns, and the group of each.
    sensor : Sensor
        What the training files held.
    folds : int
    support_px : int
        Largest reach of a feature, pixels.
    seed : int
    boosters : int
        Of a fold; the mean of their raw scores counts.
    """

    folder: Path
    features: tuple[str, ...]
    groups: tuple[str, ...]
    sensor: Sensor
    folds: int
    support_px: int
    seed: int
    boosters: int = 1

    def files(self, fold: int) -> list[str]:
        """Names of the files of a fold's boosters."""
        return [booster_file(fold, n) for n in range(self.boosters)]

    def save(self) -> None:
        """Write ``model.json`` (the boosters are there already), atomically."""
        write_json(
            self.folder / MODEL_FILE,
            {
                "kind": KIND,
                "version": VERSION,
                "features": self.features,
                "groups": self.groups,
                "sensor": self.sensor,
                "folds": self.folds,
                "support_px": self.support_px,
                "seed": self.seed,
                "boosters": [self.files(k) for k in range(self.folds)],
            },
        )

    @classmethod
    def load(cls, folder: Path) -> PixelModel:
        """Read a saved model.

        Raises
        ------
        ModelError
            If it is not a pixel model, or of another version, or a part is missing.
        """
        path = folder / MODEL_FILE
        try:
            value: dict[str, Any] = read_json(path)
        except RunError as error:
            raise ModelError(
                "the pixel model cannot be read", where=path, found=error.what,
                fix="run fit-all again",
            ) from None  # fmt: skip
        if value.get("kind") != KIND:
            raise ModelError("not a pixel model", where=path, found=value.get("kind"), allowed=KIND)
        if value.get("version") != VERSION:
            raise ModelError(
                "the pixel model has another version", where=path, found=value.get("version"),
                allowed=VERSION, fix="fit it again with this version of the package",
            )  # fmt: skip
        missing = [n for own in value["boosters"] for n in own if not (folder / n).is_file()]
        if missing:
            raise ModelError(
                "boosters of the pixel model are missing", where=folder,
                found=", ".join(missing), fix="run fit-all again",
            )  # fmt: skip
        return cls(
            folder=folder,
            features=tuple(value["features"]),
            groups=tuple(value["groups"]),
            sensor=Sensor.model_validate(value["sensor"]),
            folds=int(value["folds"]),
            support_px=int(value["support_px"]),
            seed=int(value["seed"]),
            boosters=len(value["boosters"][0]),
        )

    def require(self, features: Sequence[str], sensor: Sensor) -> None:
        """Refuse columns or files other than those the model was trained on.

        Raises
        ------
        ModelError
            If a feature is missing, new or in another place, or the bands, their scaling, the
            kind of level or the pixel size differ.
        """
        given = tuple(features)
        if given != self.features:
            missing = [n for n in self.features if n not in given]
            extra = [n for n in given if n not in self.features]
            at = next(
                (i for i, (a, b) in enumerate(zip(given, self.features, strict=False)) if a != b),
                min(len(given), len(self.features)),
            )
            raise ModelError(
                "the features are not those of the model, in the same order",
                where=self.folder,
                found=f"{len(given)} features; missing {missing}, not known to it {extra}; "
                f"first difference in column {at}",
                allowed=f"{len(self.features)} features",
                fix="compute the features with the model's own features.json, or fit again",
            )
        for field in ("bands", "level", "pixel_m"):
            found, wanted = getattr(sensor, field), getattr(self.sensor, field)
            if found != wanted:
                raise ModelError(
                    f"the sensor is not the model's: {field} differs", where=self.folder,
                    found=f"{sensor.name}: {_shown(found)}",
                    allowed=f"{self.sensor.name}: {_shown(wanted)}",
                    fix="predict files of the same sensor, or fit a model for this one",
                )  # fmt: skip

    def trees(self, fold: int) -> Trees:
        """Give the trees of a fold's boosters, read once per process.

        Raises
        ------
        ModelError
            If a text cannot be read or does not belong to this model.
        """
        paths = [self.folder / name for name in self.files(fold)]
        try:
            trees = _trees(tuple((path, path.stat().st_mtime_ns) for path in paths))
        except (KeyError, ValueError, IndexError) as error:
            raise ModelError(
                "a booster cannot be read", where=paths[0], found=error, fix="run fit-all again"
            ) from None
        if trees.names != self.features:
            raise ModelError(
                "a booster's columns are not those of its model.json", where=paths[0],
                found=f"{len(trees.names)} columns", allowed=f"{len(self.features)} columns",
                fix="run fit-all again",
            )  # fmt: skip
        return trees


def booster_file(fold: int, number: int = 0) -> str:
    """Name of the file of a fold's booster, LightGBM's text; several have a number."""
    return f"fold_{fold}.{number}.txt" if number else f"fold_{fold}.txt"


@lru_cache(maxsize=16)
def _trees(files: tuple[tuple[Path, int], ...]) -> Trees:
    from l4s_ensemble.pixel.trees import read_trees

    return read_trees([path.read_text(encoding="utf-8") for path, _ in files])


def _shown(value: object) -> object:
    return ", ".join(b.name for b in value) if isinstance(value, tuple) else value
