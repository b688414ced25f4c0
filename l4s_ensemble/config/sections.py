"""The settings of each stage, with defaults, ranges and what each is for."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Section(BaseModel):
    """Base of all sections: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Holdout(Section):
    """Tiles held out: they leave every fit, fold, statistic, search and threshold.

    Either ``ids``, or a window of one scene's grid (``columns`` and ``rows`` are inclusive).
    """

    ids: tuple[int, ...] = ()
    scene: int | None = None
    columns: tuple[int, int] | None = None
    rows: tuple[int, int] | None = None


class DataConfig(Section):
    """Where the patches are and what their files hold."""

    root: str | None = Field(None, description="folder in the official or Hugging Face layout")
    sensor: str = Field("l4s", description="built-in sensor (l4s, l4s-rgb) or a YAML file")
    holdout: Holdout | None = Field(None, description="training tiles held out for the last word")
    holdout_guard: bool = Field(
        True, description="the eight neighbours of holdout tiles fit nothing"
    )


class ScenesConfig(Section):
    """Scenes and spatial folds."""

    grid: Literal["auto", "official", "manifest", "pixels", "none"] = Field(
        "auto", description="where row and column of a tile come from"
    )
    by: Literal["blocks", "scenes"] = Field(
        "blocks", description="what a fold holds: blocks of tiles, or whole scenes (leave one out)"
    )
    folds: int = Field(
        5, ge=2, le=50, description="number of spatial folds; by scenes, the most there may be"
    )
    block_tiles: int = Field(6, ge=1, le=64, description="edge of a fold's block, in tiles")
    bootstrap_tiles: int = Field(3, ge=1, description="edge of a bootstrap block, in tiles")


class FeaturesConfig(Section):
    """Which per-pixel features are computed."""

    groups: tuple[str, ...] = Field((), description="groups of features; none named: all")
    exclude: tuple[str, ...] = Field((), description="names of single features to leave out")
    neighbours: bool = Field(
        True, description="read across the edge of a tile where its neighbour is known"
    )
    drop_neighbours: float = Field(
        0.3, ge=0, le=1, description="share of the training tiles fitted as if they stood alone"
    )
    sample_pixels: int = Field(
        150_000, ge=1000, description="pixels drawn for the statistics of the features"
    )


class PixelConfig(Section):
    """The LightGBM pixel classifier."""

    positives_max: int = Field(250_000, ge=100, description="most landslide pixels sampled")
    negatives_per_positive: float = Field(4.0, gt=0, description="negatives sampled per positive")
    boundary_share: float = Field(
        0.25, ge=0, le=1, description="share of the negatives drawn within 5 px of a landslide"
    )
    patch_power: float = Field(
        0.5, ge=0, le=1, description="a tile of n pixels gives n ** this rows: 1 all alike, 0 equal"
    )
    trees: int = Field(300, ge=1, description="of a booster")
    seeds: int = Field(1, ge=1, le=50, description="boosters of a fold; their mean logit counts")
    constraints: Literal["none", "physics"] = Field(
        "none", description="whether a logit may only move as physics expects of a feature"
    )
    views: Literal["auto", "one", "two"] = Field(
        "auto",
        description="two: mean of a booster ruled by physics and one that reads only what "
        "holds at any gain of the scene; auto: two where the sensor's radiometry is relative",
    )
    leaves: int = Field(63, ge=2)
    learning_rate: float = Field(0.06, gt=0, le=1)
    min_child_samples: int = Field(100, ge=1)
    feature_fraction: float = Field(0.5, gt=0, le=1)
    bagging_fraction: float = Field(0.8, gt=0, le=1)
    l2: float = Field(5.0, ge=0)
    max_bin: int = Field(255, ge=2, le=255)


class UNetConfig(Section):
    """The U-Net and how it is trained."""

    network: str = Field(
        "unet", description="unet (ours), baseline (the official one), or smp:<arch>/<encoder>"
    )
    weights: str | None = Field(
        None,
        description="first weights: name or file of a pretrained smp encoder, or file of the "
        "official network",
    )
    width: int = Field(16, ge=4, le=256, description="channels of the full-resolution stage")
    depth: int = Field(4, ge=2, le=6, description="resolution levels, the first one included")
    bands: tuple[str, ...] | None = Field(None, description="bands shown; all by default")
    standard: Literal["fit", "official"] = Field(
        "fit", description="mean and deviation: of the training tiles, or the published ones"
    )
    epochs: int = Field(16, ge=1)
    steps: int | None = Field(None, ge=1, description="optimiser steps of a fold, not epochs")
    batch: int = Field(16, ge=1)
    optimiser: Literal["adamw", "muon", "adam"] = "adamw"
    schedule: Literal["one_cycle", "constant"] = "one_cycle"
    lr: float = Field(2e-3, gt=0, description="peak of the schedule")
    weight_decay: float = Field(1e-2, ge=0)
    ema: float = Field(0.99, ge=0, lt=1, description="decay of the averaged weights, 0 = off")
    loss: str = Field(
        "bce+dice", description="sum of losses by name, such as bce+0.5*dice or bce+smp:LovaszLoss"
    )
    symmetries: bool = Field(
        False,
        description="train on turned and mirrored tiles, and average over the eight symmetries",
    )
    jitter_gain: float = Field(0.1, ge=0, description="sigma of the log-gain of a whole tile")
    jitter_band: float = Field(0.03, ge=0, description="sigma of the log-gain of each band")
    seeds: int = Field(1, ge=1, le=20, description="networks of a fold; their mean logit counts")
    compile: bool = Field(False, description="whether torch compiles the network")
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    grad_clip: float = Field(1.0, gt=0)


class StackConfig(Section):
    """The meta-learner on the logits of both models."""

    learner: str = Field(
        "auto",
        description="mean of both models' logits: plain, or weighted for the best F1; auto: "
        "weighted only where its cross-fitted F1 is shown to be better",
    )
    calibrate: Literal["auto", "none"] = Field(
        "auto", description="whether a rising map corrects probabilities, where shown to help"
    )
    adapt_threshold: bool = Field(
        False,
        description="where the scores of a place are unlike those of training, the "
        "threshold moves until the same share of pixels is predicted landslide",
    )
    postprocess: Literal["auto", "none"] = Field(
        "auto", description="whether small landslides are removed, where shown to help"
    )


class ReportConfig(Section):
    """What the HTML report shows; never retrains anything."""

    gallery_tiles: int = Field(3, ge=1)
    browser: bool = Field(True, description="whether the tiles of each split can be browsed")
    browser_tiles: int = Field(
        4000, ge=1, description="most tiles of a split in the browser, those most wrong first"
    )
    occlusion: bool = Field(
        True, description="whether a fit measures which bands the U-Net looks at"
    )
    title: str = "l4s-ensemble"


class Config(Section):
    """All settings of a run."""

    format: Literal[2] = Field(2, description="version of the settings and of a run's folder")
    name: str = "default"
    seed: int = Field(0, ge=0)
    data: DataConfig = DataConfig()
    scenes: ScenesConfig = ScenesConfig()
    features: FeaturesConfig = FeaturesConfig()
    pixel: PixelConfig = PixelConfig()
    unet: UNetConfig = UNetConfig()
    stack: StackConfig = StackConfig()
    report: ReportConfig = ReportConfig()

    @field_validator("name")
    @classmethod
    def _name_is_a_file_name(cls, value: str) -> str:
        if not value or any(c in value for c in "/\\:\0"):
            raise ValueError("must be usable as a file name")
        return value
