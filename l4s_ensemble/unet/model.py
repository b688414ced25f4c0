"""The U-Nets of a run: one estimator a fold, and what belongs to all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.run.files import write_json
from l4s_ensemble.unet.classifier import MODEL_FILE, Saved, UNetClassifier, read_saved


class SavedModel(Saved):
    """What ``model.json`` says of a run."""

    sensor: Sensor
    folds: int
    adapted_to: str | None


@dataclass(frozen=True)
class UNetModel:
    """All folds of a fitted U-Net.

    Attributes
    ----------
    folds : sequence of UNetClassifier
    adapted_to : str, optional
        Split whose images the networks were shown.
    target : sequence of UNetClassifier
        As `folds`, with the batch statistics of that split; empty without one.
    """

    folds: Sequence[UNetClassifier]
    adapted_to: str | None = None
    target: Sequence[UNetClassifier] = ()

    @property
    def sensor(self) -> Sensor:
        """Of the training tiles."""
        sensor: Sensor = self.folds[0].sensor_
        return sensor

    def folds_for(self, split: str | None) -> Sequence[UNetClassifier]:
        """Models that score a split of the folder that was fitted on; None: another folder's."""
        return self.target if self.target and split == self.adapted_to else self.folds

    def save(self, folder: Path) -> None:
        """Write the models into ``fold_<k>/`` and ``target_<k>/``, and ``model.json``."""
        for name, models in (("fold", self.folds), ("target", self.target)):
            for k, model in enumerate(models):
                model.save(folder / f"{name}_{k}")
        words = {"folds": len(self.folds), "adapted_to": self.adapted_to}
        write_json(folder / MODEL_FILE, SavedModel(sensor=self.sensor, **words))

    @classmethod
    def load(cls, folder: Path, *, device: str = "auto", n_jobs: int = 1) -> UNetModel:
        """Read what `save` wrote.

        Raises
        ------
        ModelError
            If it is not a U-Net, or of another version, or a part is missing or damaged.
        """
        saved = read_saved(folder, SavedModel)
        names = ("fold",) if saved.adapted_to is None else ("fold", "target")
        models = [
            [
                UNetClassifier.load(folder / f"{name}_{k}", device=device, n_jobs=n_jobs)
                for k in range(saved.folds)
            ]
            for name in names
        ]
        return cls(models[0], saved.adapted_to, *models[1:])
