"""Summaries of the U-Net stages; times are in seconds."""

from __future__ import annotations

from pydantic import ConfigDict

from l4s_ensemble.metrics.summary import Failures, Histogram, Reliability, TileScores
from l4s_ensemble.run.stage import SummaryModel


class EpochSummary(SummaryModel):
    """An epoch: training tiles a second, the last learning rate, means over its steps.

    The gradient's norm is that before clipping, None where none was finite; such steps are skipped.
    The validation loss is that of a few held-out tiles, None without any.
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


class NetworkSummary(SummaryModel):
    """A network of a fold: its number from 0, whether its steps were captured or why not."""

    fold: int
    number: int
    seconds: float
    captured: bool | str | None
    epochs: tuple[EpochSummary, ...]


class FoldSummary(SummaryModel):
    """A fold: its tiles, the epochs of its first network, and the scores of its held-out tiles.

    Buffer tiles are those that neither train nor are scored. The threshold is that of all folds.
    """

    fold: int
    train_tiles: int
    held_out_tiles: int
    buffer_tiles: int
    epochs: tuple[EpochSummary, ...]
    networks: tuple[NetworkSummary, ...]
    seconds_score: float
    seconds: float
    f1: float
    precision: float
    recall: float


class LogitCounts(SummaryModel):
    """Pixels of each class by out-of-fold logit; the outer bins hold all beyond."""

    edges: tuple[float, ...]
    landslide: tuple[int, ...]
    other: tuple[int, ...]


class UNetSummary(SummaryModel):
    """Fit of the U-Net.

    Attributes
    ----------
    parameters : int
        Trained values of a network.
    networks, seeds : int
        Networks of all folds, and of one.
    seconds_per_epoch, skipped_steps
        Mean and sum over all networks.
    captured : bool or str, optional
        Whether steps were captured as a CUDA graph, or why not; None on a CPU.
    bytes_peak : int, optional
        Most memory of the GPU in use; None on a CPU.
    bands, channels : tuple of str
        Of the sensor, and those that are shown.
    oof, histogram, reliability : TileScores, Histogram, Reliability
        Out-of-fold scores.
    failures : Failures
        Where it fails.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")  # earlier fits say more

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
    folds: tuple[FoldSummary, ...]
    oof: TileScores
    histogram: Histogram
    reliability: Reliability
    failures: Failures
    logits: LogitCounts
    seconds: float


class GroupLoss(SummaryModel):
    """F1 without a group of bands, F1 that is lost, and the paired interval of the loss.

    ``whole`` groups hold others. The interval is None where spatial blocks are few.
    """

    group: str
    channels: tuple[str, ...]
    whole: bool
    f1: float
    loss: float
    low: float | None
    high: float | None


class Occlusion(SummaryModel):
    """Worth of each group of bands on unseen tiles, the largest loss first.

    A draw that favours landslides has a higher F1 than all tiles: only losses are to be compared.
    """

    tiles: int
    landslide_tiles: int
    threshold: float
    blocks: int
    f1: float
    groups: tuple[GroupLoss, ...]


class ExplainSummary(SummaryModel):
    """Summary of the stage that hides bands."""

    occlusion: Occlusion
    seconds: float
