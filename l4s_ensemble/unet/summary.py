"""What the stages of the U-Net say of what they did."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Summary(BaseModel):
    """Base of all summaries: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class EpochSummary(Summary):
    """An epoch of a network.

    Attributes
    ----------
    epoch : int
        From 0.
    steps, skipped_steps : int
        Optimiser steps, and those among them whose gradient was not finite.
    seconds : float
        With the validation loss.
    patches_per_s : float
        Training tiles a second, without it.
    lr : float
        Learning rate of the last step.
    loss : float
        Mean over steps.
    gradient_norm : float, optional
        Mean over steps, before clipping; None if none was finite.
    validation_loss : float, optional
        Of a few held-out tiles; None without any.
    """

    epoch: int
    steps: int
    skipped_steps: int
    seconds: float
    patches_per_s: float
    lr: float
    loss: float
    gradient_norm: float | None
    validation_loss: float | None


class NetworkSummary(Summary):
    """A network of a fold.

    Attributes
    ----------
    fold, number : int
        Number of the fold, and of the network in it, from 0.
    seconds : float
        Of its training.
    captured : bool or str, optional
        Whether its steps were captured as a CUDA graph, or why not; None on a CPU.
    epochs : tuple of EpochSummary
    """

    fold: int
    number: int
    seconds: float
    captured: bool | str | None
    epochs: tuple[EpochSummary, ...]


class FoldSummary(Summary):
    """A fold.

    Attributes
    ----------
    fold : int
        From 0.
    train_tiles, held_tiles, buffer_tiles : int
        Tiles that its networks were trained on, that they score, and that neither may see.
    epochs : tuple of EpochSummary
        Of its first network.
    networks : tuple of NetworkSummary
    seconds_score, seconds : float
        Of the out-of-fold scores, and with the training.
    f1, precision, recall : float
        Of its held-out tiles, at the threshold of all folds.
    """

    fold: int
    train_tiles: int
    held_tiles: int
    buffer_tiles: int
    epochs: tuple[EpochSummary, ...]
    networks: tuple[NetworkSummary, ...]
    seconds_score: float
    seconds: float
    f1: float
    precision: float
    recall: float


class Logits(Summary):
    """Pixels of each class by out-of-fold logit.

    Attributes
    ----------
    edges : tuple of float
        Of the bins, of which the outer ones hold all beyond.
    landslide, other : tuple of int
        Pixels of each bin.
    """

    edges: tuple[float, ...]
    landslide: tuple[int, ...]
    other: tuple[int, ...]


class Adapted(Summary):
    """The split whose images gave batch statistics.

    Attributes
    ----------
    split : str
    tiles : int
        Tiles of it that could be used.
    row : str
        Name of the row of its scores.
    """

    split: str
    tiles: int
    row: str


class UNetSummary(Summary):
    """Fit of the U-Net.

    Attributes
    ----------
    network, loss, optimiser, schedule : str
        Settings.
    parameters : int
        Trained values of a network.
    networks, seeds : int
        Networks of all folds, and of one.
    seconds_per_epoch : float
        Mean over networks and epochs.
    skipped_steps : int
        Steps of all networks whose gradient was not finite.
    captured : bool or str, optional
        Whether steps were captured as a CUDA graph, or why one was not; None on a CPU.
    precision, device, hardware : str
        Type of the convolutions, device as asked for, and why.
    bytes_peak : int, optional
        Most memory of the GPU in use; None on a CPU.
    bands, channels : tuple of str
        Of the sensor, and those that are shown.
    adapted_to : str, optional
    adapt : Adapted, optional
    folds : tuple of FoldSummary
    oof, histogram, reliability, failures : dict
        Out-of-fold scores, see `l4s_ensemble.metrics.tiles.summarise`, `ScoreHistogram` and
        `l4s_ensemble.metrics.failures`.
    logits : Logits
    seconds : float
        Of the whole stage, without what a killed one had done.
    """

    network: str
    parameters: int
    networks: int
    seeds: int
    loss: str
    optimiser: str
    schedule: str
    seconds_per_epoch: float
    skipped_steps: int
    captured: bool | str | None
    precision: str
    device: str
    hardware: str
    bytes_peak: int | None
    bands: tuple[str, ...]
    channels: tuple[str, ...]
    adapted_to: str | None
    adapt: Adapted | None
    folds: tuple[FoldSummary, ...]
    oof: dict[str, Any]
    histogram: dict[str, Any]
    reliability: dict[str, Any]
    failures: dict[str, Any]
    logits: Logits
    seconds: float


class GroupLoss(Summary):
    """F1 that is lost when a group of bands is hidden.

    Attributes
    ----------
    group : str
    channels : tuple of str
    whole : bool
        Whether it holds other groups, as all spectral bands together do.
    f1, loss : float
        F1 without the group, and F1 with nothing hidden minus that.
    low, high : float, optional
        Paired interval of the loss; None where blocks are few.
    """

    group: str
    channels: tuple[str, ...]
    whole: bool
    f1: float
    loss: float
    low: float | None
    high: float | None


class Occlusion(Summary):
    """Worth of each group of bands on tiles that the networks did not see.

    A draw that favours landslides has a higher F1 than all tiles: only losses are to be compared.

    Attributes
    ----------
    tiles, landslide_tiles, blocks : int
        Drawn tiles, those with a landslide, and spatial blocks among them.
    threshold : float
        Of probability.
    f1 : float
        With nothing hidden.
    groups : tuple of GroupLoss
        The largest loss first.
    """

    tiles: int
    landslide_tiles: int
    threshold: float
    blocks: int
    f1: float
    groups: tuple[GroupLoss, ...]


class ExplainSummary(Summary):
    """What the networks look at.

    Attributes
    ----------
    occlusion : Occlusion
    seconds : float
    """

    occlusion: Occlusion
    seconds: float
