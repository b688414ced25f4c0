"""The U-Net as an estimator: arrays in, logits out, no run folder."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from l4s_ensemble.config import Section, UNetConfig, build
from l4s_ensemble.data.sensor import Sensor, load_sensor, require_sensor
from l4s_ensemble.errors import DataError, ModelError, RunError
from l4s_ensemble.estimator import Estimator
from l4s_ensemble.metrics.histogram import sigmoid
from l4s_ensemble.run.files import atomic_path, read_json, write_json
from l4s_ensemble.unet.hardware import Hardware, choose
from l4s_ensemble.unet.inputs.normalisation import Normalisation, plain_batches
from l4s_ensemble.unet.inputs.tileset import TileSet, as_tiles
from l4s_ensemble.unet.networks.network import build as build_network
from l4s_ensemble.unet.predictor import Predictor
from l4s_ensemble.unet.training.average import recalibrate
from l4s_ensemble.unet.training.engine import Epoch, Trainer

if TYPE_CHECKING:
    import xarray as xr

MODEL_FILE = "model.json"
KIND: Literal["l4s_ensemble U-Net"] = "l4s_ensemble U-Net"
VERSION: Literal[4] = 4
"""Of the saved form: raised when an older reader would misread a newer model."""

STATISTICS_TILES = 256
"""Most tiles that batch statistics of a place come from."""

SHARE = 1.0
"""Of the statistics of a place in those of its U-Net; the rest is the training's. From scene 1 to 2
F1 is .556 with 0, .592 with .5, .622 with 1; from 2 to 1 .245, .393, .410; out of fold .635, .637,
.638."""

SETTINGS = tuple(UNetConfig.model_fields)
"""Parameters of the estimator that are settings of the section ``unet``."""

Tiles: TypeAlias = "TileSet | xr.Dataset | NDArray[np.floating[Any]]"

LEARNED = ("normalisation", "sensor", "history", "captured")
"""Learned attributes that are saved as JSON, without their ``_``."""

log = logging.getLogger("l4s_ensemble")


class Saved(Section):
    """Kind and version of a saved model."""

    kind: Literal["l4s_ensemble U-Net"] = KIND
    version: Literal[4] = VERSION


class SavedClassifier(Saved):
    """A fitted `UNetClassifier` without its weights."""

    settings: UNetConfig
    random_state: int | tuple[int, int]
    sensor: Sensor
    normalisation: Normalisation
    history: list[list[Epoch]]
    captured: list[bool | str | None]


S = TypeVar("S", bound=Saved)


@dataclass(kw_only=True, eq=False, repr=False)
class UNetClassifier(Estimator):
    """U-Net that gives each pixel of a tile a probability of landslide.

    Tiles are a `TileSet`, an ``xarray.Dataset`` of ``open_patches``, or a float32 array (tile,
    band, y, x) in the units of the sensor's bands.

    Parameters
    ----------
    network, weights, width, ...
        The settings of `l4s_ensemble.config.UNetConfig`, which describes them.
    random_state : int or tuple of two int
        Seed of all draws, and a number such as that of a fold; an int s is (s, 0).
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
    n_jobs : int or None
        Threads on a CPU; -1 for all cores, None leaves torch as it is.
    sensor : str or Sensor
        Of arrays: a name, the path of a YAML file, or a sensor.

    Attributes
    ----------
    networks_ : tuple of Module
        `seeds` networks in evaluation mode; their mean logit counts.
    normalisation_, sensor_, n_bands_in_ : Normalisation, Sensor, int
        Of the training tiles.
    history_ : list of list of dict
        By network, then epoch; see `Trainer.epochs`.
    captured_ : list of (bool, str or None)
        By network: whether its steps were captured as a CUDA graph, or why not; None on a CPU.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> y = (rng.random((8, 32, 32)) < 0.1).astype(np.uint8)
    >>> X = rng.normal(1000, 100, (8, 14, 32, 32)).astype(np.float32)
    >>> X[:, 3] += 800.0 * y  # bare ground is bright in red, band B4
    >>> model = UNetClassifier(width=4, depth=2, epochs=30, batch=2, lr=0.02)
    >>> model = model.fit(X[:6], y[:6], validation=(X[6:], y[6:]))
    >>> float(model.predict_proba(X[6:])[y[6:] == 1].mean()) > 0.5
    True
    >>> bool(model.history_[0][-1]["validation_loss"] < model.history_[0][0]["validation_loss"])
    True
    >>> adapted = model.adapt_statistics(1.1 * X[6:])  # of another gain, without masks
    """

    network: str = "unet"
    weights: str | None = None
    width: int = 16
    depth: int = 4
    bands: Sequence[str] | None = None
    standard: Literal["fit", "official"] = "fit"
    epochs: int = 16
    steps: int | None = None
    batch: int = 16
    optimiser: Literal["adamw", "muon", "adam"] = "adamw"
    schedule: Literal["one_cycle", "constant"] = "one_cycle"
    lr: float = 2e-3
    weight_decay: float = 1e-2
    ema: float = 0.99
    loss: str = "bce+dice"
    symmetries: bool = False
    jitter_gain: float = 0.1
    jitter_band: float = 0.03
    seeds: int = 1
    compile: bool = False
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    grad_clip: float = 1.0
    random_state: int | tuple[int, int] = 0
    device: str = "auto"
    n_jobs: int | None = 1
    sensor: str | Sensor = "l4s"

    def fit(
        self,
        X: Tiles,
        y: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        validation: TileSet | xr.Dataset | tuple[Tiles, ArrayLike] | None = None,
        *,
        checkpoint: Path | None = None,
    ) -> Self:
        """Train the networks.

        Parameters
        ----------
        X : TileSet, xarray.Dataset or float32 array, shape (tile, band, y, x)
        y : uint8 array, shape (tile, y, x), optional
            Reference masks, 1 = landslide; by default those of `X`.
        groups : ignored
        validation : TileSet, xarray.Dataset or tuple of (X, y), optional
            Tiles with masks that are scored after every epoch and choose nothing.
        checkpoint : Path, optional
            Folder of the state after the last whole epoch of every network. A killed training goes
            on from it, to the same result.

        Raises
        ------
        ConfigError
            If the device cannot be had or the settings do not fit each other.
        DataError
            If there are no masks or no landslide.
        L4SError
            If losses or gradients are not finite.
        """
        config, hardware = self._config(), self._hardware()
        sensor = self.sensor if isinstance(self.sensor, Sensor) else load_sensor(self.sensor)
        tiles = as_tiles(X, y, sensor=sensor, masks=True)
        assert tiles.mask is not None
        require_landslide(tiles.mask.sum((1, 2)).cpu().numpy(), "X")
        tiles, held_out = tiles.to(hardware.device), None
        if validation is not None:
            pair = validation if isinstance(validation, tuple) else (validation, None)
            held_out = as_tiles(*pair, sensor=sensor, masks=True)
            require_sensor(held_out.sensor, tiles.sensor)
        key, networks, history, captured = self._key(), [], [], []
        for number in range(config.seeds):
            trainer = Trainer(tiles, config, key, hardware, number=number, validation=held_out)
            state = checkpoint and checkpoint / f"network_{number}.checkpoint.pt"
            networks.append(trainer.run(state))
            history.append(trainer.epochs)
            captured.append(trainer.captured)
        return self._learned(networks, trainer.normalisation, tiles.sensor, history, captured)

    def fine_tune(
        self,
        X: Tiles,
        y: ArrayLike | None = None,
        *,
        steps: int = 200,
        lr: float = 1e-3,
        batch: int = 8,
    ) -> Self:
        """Train all weights further on a few labelled tiles of another place.

        With AdamW and the settings of the training for all else; the tiles of the training are not
        shown again. Inputs are normalised as in the training.

        Parameters
        ----------
        X, y
            As of `fit`.
        steps : int
            Of each network.
        lr : float
            Peak of the schedule.
        batch : int

        Returns
        -------
        UNetClassifier
            Another one.

        Raises
        ------
        DataError
            If there are no masks or no landslide.
        ModelError
            If the tiles are of another sensor than those of the training.
        """
        self._require_fitted("networks_")
        tiles = as_tiles(X, y, sensor=self.sensor_, masks=True)
        require_sensor(tiles.sensor, self.sensor_)
        assert tiles.mask is not None
        require_landslide(tiles.mask.sum((1, 2)).cpu().numpy(), "X")
        changed = {"steps": steps, "lr": lr, "batch": batch, "optimiser": "adamw", "ema": 0.0}
        config, hardware = self._config().model_copy(update=changed), self._hardware()
        tuned, key = copy.copy(self), self._key()
        trainers = [
            Trainer(tiles, config, key, hardware, number=i, start=(network, self.normalisation_))
            for i, network in enumerate(self.networks_)
        ]
        tuned.networks_ = tuple(trainer.run() for trainer in trainers)
        return tuned

    def predict_logit(self, X: Tiles) -> NDArray[np.float32]:
        """Mean logit of the networks, float32 (tile, y, x).

        Raises
        ------
        ModelError
            If the tiles are of another sensor than those of the training.
        """
        return self.predictor()(self._known(X)).cpu().numpy()

    def predictor(self) -> Predictor:
        """What `predict_logit` applies to tiles; keep it to score many blocks of them."""
        self._require_fitted("networks_")
        return Predictor(
            self.networks_, self.normalisation_, self._hardware(), symmetries=self.symmetries
        )

    def predict_proba(self, X: Tiles) -> NDArray[np.float32]:
        """Probability of landslide, float32 (tile, y, x); see `predict_logit`."""
        return sigmoid(self.predict_logit(X))

    def adapt_statistics(self, X: Tiles, *, share: float = SHARE) -> Self:
        """Adapt to the images of a place; masks are never read.

        Mean and variance of batch norm are mixed with those of these tiles (Li et al. 2016,
        https://arxiv.org/abs/1603.04779; Schneider et al. 2020, https://arxiv.org/abs/2006.16971).
        Weights and normalisation stay.

        Parameters
        ----------
        X : TileSet, xarray.Dataset or float32 array, shape (tile, band, y, x)
            At most `STATISTICS_TILES` of them are shown to the networks, evenly spread.
        share : float
            Of the statistics of these tiles, 0 to 1.

        Returns
        -------
        UNetClassifier
            Another one, of the same weights; without batch norm as it was, with a warning.
        """
        hardware = self._hardware()
        tiles, adapted = self._known(X).to(hardware.device), copy.copy(self)
        shared = {id(p): p for network in self.networks_ for p in network.parameters()}
        adapted.networks_ = copy.deepcopy(self.networks_, shared)
        for network in adapted.networks_:
            hardware.place(network)
            inputs = plain_batches(
                tiles, self.normalisation_, most=STATISTICS_TILES, batch=self.batch
            )
            with hardware.autocast():
                if not recalibrate(network, inputs, share):
                    log.warning("unet: the network has no batch norm, so nothing is adapted")
        return adapted

    def save(self, folder: str | Path) -> None:
        """Write the weights as safetensors and all else as JSON, each file atomically."""
        self._require_fitted("networks_")
        folder = Path(folder)
        for number, network in enumerate(self.networks_):
            state = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
            with atomic_path(folder / f"network_{number}.safetensors") as partial:
                save_file(state, partial)
        learned = {name: getattr(self, f"{name}_") for name in LEARNED}
        saved = SavedClassifier(settings=self._config(), random_state=self.random_state, **learned)
        write_json(folder / MODEL_FILE, saved)

    @classmethod
    def load(cls, folder: str | Path, *, device: str = "auto", n_jobs: int | None = 1) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        ModelError
            If it is missing, damaged, or of another kind or version.
        """
        folder = Path(folder)
        saved, networks = read_saved(folder, SavedClassifier), []
        for number in range(saved.settings.seeds):
            path = folder / f"network_{number}.safetensors"
            network = build_network(saved.settings, saved.normalisation.channels, pretrained=False)
            try:
                network.load_state_dict(load_file(path))
            except (SafetensorError, OSError, RuntimeError) as error:
                raise _damaged(path, error) from None
            networks.append(network.eval())
        words: dict[str, Any] = {"sensor": saved.sensor, "device": device, "n_jobs": n_jobs}
        model = cls(**saved.settings.model_dump(), random_state=saved.random_state, **words)
        return model._learned(networks, **{name: getattr(saved, name) for name in LEARNED})

    def _learned(
        self,
        networks: Sequence[nn.Module],
        normalisation: Normalisation,
        sensor: Sensor,
        history: list[list[Epoch]],
        captured: list[bool | str | None],
    ) -> Self:
        self.networks_, self.normalisation_ = tuple(networks), normalisation
        self.sensor_, self.n_bands_in_ = sensor, len(sensor.bands)
        self.history_, self.captured_ = history, captured
        return self

    def _config(self) -> UNetConfig:
        return build({"unet": {name: getattr(self, name) for name in SETTINGS}}).unet

    def _key(self) -> tuple[int, int]:
        seed = self.random_state
        return (seed, 0) if isinstance(seed, int) else (seed[0], seed[1])

    def _hardware(self) -> Hardware:
        threads = self.n_jobs
        if threads is not None and threads < 0:
            from joblib import effective_n_jobs

            threads = effective_n_jobs(threads)
        return choose(self.device, self.precision, threads)

    def _known(self, X: Tiles) -> TileSet:
        """Tiles of the sensor of the training."""
        self._require_fitted("networks_")
        tiles = as_tiles(X, sensor=self.sensor_, masks=False)
        require_sensor(tiles.sensor, self.sensor_)
        return tiles


def require_landslide(pixels: NDArray[np.integer[Any]], where: str) -> None:
    """Refuse training tiles, by their landslide pixels, that there is nothing to learn from.

    Raises
    ------
    DataError
    """
    if not pixels.any():
        raise DataError(
            "there is no landslide to train on",
            where=where,
            found=f"{len(pixels)} training tiles",
            fix="add tiles with landslides; in a run, use fewer folds or smaller blocks "
            "(scenes.folds, scenes.block_tiles)",
        )


def read_saved(folder: Path, form: type[S]) -> S:
    """Read the JSON of a model.

    Raises
    ------
    ModelError
        If it is missing, damaged, or of another kind or version.
    """
    path = folder / MODEL_FILE
    try:
        return form.model_validate(read_json(path))
    except (RunError, ValidationError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> ModelError:
    return ModelError(
        "the U-Net cannot be read",
        where=path,
        found=error,
        allowed=f"{KIND}, version {VERSION}",
        fix="fit it again with this version of the package (l4s-ensemble fit-all)",
    )
