"""Fold models on disk: safetensors weights that say what they are, and one ``model.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from l4s_ensemble.data.sensor import Sensor
from l4s_ensemble.errors import ModelError, RunError
from l4s_ensemble.run.files import atomic_path, read_json, write_json
from l4s_ensemble.unet.inputs.normalisation import Normalisation
from l4s_ensemble.unet.networks.network import build

MODEL_FILE = "model.json"
KIND = "l4s_ensemble U-Net"
VERSION = 3
"""Of the saved form: raised when an older reader would misread a newer model."""


@dataclass(frozen=True)
class FoldModel:
    """A network with the normalisation it was trained with, on the CPU, float32.

    Attributes
    ----------
    network : Module
        In evaluation mode.
    arguments : mapping
        ``name``, ``bands`` and settings: what `l4s_ensemble.unet.networks.network.build` wants.
    normalisation : Normalisation
    fold : int
    number : int
        Of the network in its fold, from 0: the networks of a fold differ by their seed.
    state : str
        Empty as it was trained; else what `l4s_ensemble.unet.adapt` made of it.
    """

    network: nn.Module
    arguments: Mapping[str, Any]
    normalisation: Normalisation
    fold: int
    number: int = 0
    state: str = ""

    @property
    def file(self) -> str:
        """Name of its file."""
        return fold_file(self.fold, self.number, self.state)

    def save(self, path: Path) -> None:
        """Write weights, arguments and normalisation into one safetensors file, atomically."""
        state = {k: v.detach().cpu().contiguous() for k, v in self.network.state_dict().items()}
        about = {
            "kind": KIND,
            "version": str(VERSION),
            "network": json.dumps(dict(self.arguments)),
            "normalisation": json.dumps(self.normalisation.as_dict()),
            "fold": str(self.fold),
            "number": str(self.number),
            "state": self.state,
        }
        written = _sorted_header(save(state, metadata=about))
        with atomic_path(path) as partial:
            partial.write_bytes(written)

    @classmethod
    def load(cls, path: Path) -> FoldModel:
        """Read a saved fold model.

        Raises
        ------
        ModelError
            If it is missing, damaged, of another kind or version, or does not fit its network.
        """
        try:
            with safe_open(path, framework="pt") as file:
                about = file.metadata() or {}
                state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise ModelError(
                "a fold of the U-Net cannot be read", where=path, found=error,
                fix="run fit-all again",
            ) from None  # fmt: skip
        _require_kind(about.get("kind"), int(about.get("version", -1)), path)
        arguments = json.loads(about["network"])
        network = build(**arguments)
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            raise ModelError(
                "the weights do not fit the network", where=path, found=error
            ) from None
        return cls(
            network.eval(),
            arguments,
            Normalisation.from_dict(json.loads(about["normalisation"])),
            int(about["fold"]),
            int(about["number"]),
            about.get("state", ""),
        )


@dataclass(frozen=True)
class UNetModel:
    """All folds of a trained U-Net.

    Attributes
    ----------
    folder : Path
        Holds ``model.json`` and the files that `fold_file` names.
    sensor : Sensor
        What the training files held.
    folds : tuple of tuple of FoldModel
        By fold, then by number: the mean logit of a fold's networks counts.
    seed : int
    adapted_to : str, optional
        Split whose images the networks were shown.
    target : tuple of tuple of FoldModel
        As `folds`, for that split; empty where it is scored with the same networks.
    """

    folder: Path
    sensor: Sensor
    folds: tuple[tuple[FoldModel, ...], ...]
    seed: int
    adapted_to: str | None = None
    target: tuple[tuple[FoldModel, ...], ...] = ()

    def folds_for(self, split: str | None) -> tuple[tuple[FoldModel, ...], ...]:
        """Networks that score a split of the folder the model was fitted on; None: another's."""
        return self.target if self.target and split == self.adapted_to else self.folds

    def save(self) -> None:
        """Write ``model.json`` (the folds' weights are there already), atomically."""
        write_json(
            self.folder / MODEL_FILE,
            {
                "kind": KIND,
                "version": VERSION,
                "sensor": self.sensor,
                "seed": self.seed,
                "folds": [{"files": [m.file for m in fold]} for fold in self.folds],
                "adapted_to": self.adapted_to,
                "target": [[m.file for m in fold] for fold in self.target],
            },
        )

    @classmethod
    def load(cls, folder: Path) -> UNetModel:
        """Read a saved model.

        Raises
        ------
        ModelError
            If it is not a U-Net, or of another version, or a part is missing.
        """
        path = folder / MODEL_FILE
        try:
            value: dict[str, Any] = read_json(path)
        except RunError as error:
            raise ModelError(
                "the U-Net cannot be read", where=path, found=error.what, fix="run fit-all again"
            ) from None
        _require_kind(value.get("kind"), int(value.get("version", -1)), path)

        def load(files: Sequence[Sequence[str]]) -> tuple[tuple[FoldModel, ...], ...]:
            return tuple(tuple(FoldModel.load(folder / n) for n in names) for names in files)

        return cls(
            folder,
            Sensor.model_validate(value["sensor"]),
            load([f["files"] for f in value["folds"]]),
            int(value["seed"]),
            value.get("adapted_to"),
            load(value.get("target", [])),
        )

    def require(self, sensor: Sensor) -> None:
        """Refuse files other than those the model was trained on.

        Raises
        ------
        ModelError
            If the bands, their scaling, the kind of level or the pixel size differ.
        """
        for fold in self.folds:
            fold[0].normalisation.require(sensor)
        for field in ("bands", "level", "pixel_m"):
            found, wanted = getattr(sensor, field), getattr(self.sensor, field)
            if found != wanted:
                raise ModelError(
                    f"the sensor is not the one the U-Net was trained on: {field} differs",
                    where=self.folder,
                    found=f"{sensor.name}: {_shown(found)}",
                    allowed=f"{self.sensor.name}: {_shown(wanted)}",
                    fix="predict files of the same sensor, or fit a model for this one",
                )


def fold_name(fold: int, number: int = 0) -> str:
    """How the files of a network are called: its fold, and its number where it is not the first."""
    return f"fold_{fold}" if number == 0 else f"fold_{fold}_seed_{number}"


def fold_file(fold: int, number: int = 0, state: str = "") -> str:
    """Name of the file of a network's weights."""
    return f"{fold_name(fold, number)}{state and '.' + state}.safetensors"


def _sorted_header(file: bytes) -> bytes:
    """A safetensors file with its metadata in order: safetensors writes them in any, by process.

    The format is a header of JSON, after its length in eight bytes, and the values. Equal networks
    are then equal files.
    """
    start = 8 + int.from_bytes(file[:8], "little")
    header = json.loads(file[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the values stay aligned
    return len(text).to_bytes(8, "little") + text + file[start:]


def _require_kind(kind: object, version: int, path: Path) -> None:
    if kind != KIND:
        raise ModelError("not a U-Net of this package", where=path, found=kind, allowed=KIND)
    if version != VERSION:
        raise ModelError(
            "the U-Net has another version", where=path, found=version, allowed=VERSION,
            fix="fit it again with this version of the package",
        )  # fmt: skip


def _shown(value: object) -> object:
    if isinstance(value, tuple):
        return ", ".join(f"{b.name} x {b.count_to_unit:g} {b.unit}" for b in value)
    return value
