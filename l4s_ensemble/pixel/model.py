"""The pixel classifiers of a run: one for each fold, the plan of their features, the sensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from l4s_ensemble.data.sensor import Sensor, require_sensor
from l4s_ensemble.errors import ModelError
from l4s_ensemble.features.registry import FEATURES_FILE, FeaturePlan, plan_from_file
from l4s_ensemble.pixel.boosters import Boosters, read_saved
from l4s_ensemble.run.files import write_json

MODEL_FILE = "model.json"
KIND = "pixel model"
VERSION = 3
"""Of the saved form: raised when an older reader would misread a newer model."""


@dataclass(frozen=True)
class PixelModel:
    """The classifiers of all folds, and what they were fitted on.

    `folder` holds ``model.json``, ``features.json`` and a folder for each fold, see `fold_folder`;
    another process that is given the model reads it from there.
    """

    folder: Path
    plan: FeaturePlan  # in the order of the columns
    sensor: Sensor  # of the tiles that were fitted on
    seed: int  # of the run; fold k was fitted with seed + k
    folds: tuple[Boosters, ...]

    @classmethod
    def write(cls, folder: Path, sensor: Sensor, seed: int, folds: int) -> PixelModel:
        """Write ``model.json`` beside the plan and the saved classifiers, and load them."""
        value = {"sensor": sensor, "seed": seed, "folds": folds}
        write_json(folder / MODEL_FILE, {"kind": KIND, "version": VERSION, **value})
        return cls.load(folder)

    @classmethod
    def load(cls, folder: Path) -> PixelModel:
        """Read a saved model.

        Raises
        ------
        ModelError
            If it is not the model of a run, of another version, damaged or incomplete.
        """
        path = folder / MODEL_FILE
        value = read_saved(path, KIND, VERSION)
        folds = tuple(Boosters.load(fold_folder(folder, k)) for k in range(value["folds"]))
        plan = plan_from_file(folder / FEATURES_FILE)
        for k, boosters in enumerate(folds):
            if boosters.names != plan.names:
                raise ModelError(
                    f"the features of fold {k} are not those of the plan",
                    where=fold_folder(folder, k),
                    found=f"{len(boosters.names)} features",
                    allowed=f"{len(plan.names)} features",
                    fix="run fit-all again",
                )
        return cls(folder, plan, Sensor.model_validate(value["sensor"]), int(value["seed"]), folds)

    def __reduce__(self) -> tuple[Callable[..., PixelModel], tuple[Any, ...]]:
        # Texts of many megabytes do not travel with each task; a process reads them once.
        return _loaded, (self.folder, (self.folder / MODEL_FILE).stat().st_mtime_ns)

    def require(self, features: Sequence[str], sensor: Sensor) -> None:
        """Refuse features or files other than those the model was fitted on.

        Raises
        ------
        ModelError
            If a feature is missing, new or in another place, or the bands, their scaling, the
            radiometry or the pixel size differ.
        """
        given, known = tuple(features), self.plan.names
        if given != known:
            lost, new = ([n for n in a if n not in b] for a, b in ((known, given), (given, known)))
            same = [a == b for a, b in zip(given, known, strict=False)]
            raise ModelError(
                "the features are not those of the model, in the same order",
                where=self.folder,
                found=f"{len(given)} features; missing {lost}, not known to it {new}; "
                f"first difference in column {[*same, False].index(False)}",
                allowed=f"{len(known)} features",
                fix="compute the features with the model's own features.json, or fit again",
            )
        require_sensor(sensor, self.sensor, where=self.folder)


def fold_folder(folder: Path, fold: int) -> Path:
    """Folder of a fold's classifier below that of the run's."""
    return folder / f"fold_{fold}"


@lru_cache(maxsize=2)
def _loaded(folder: Path, _changed_ns: int) -> PixelModel:
    return PixelModel.load(folder)
