"""Settings: typed, frozen, from a preset or a file, with overrides.

A preset is a YAML file in ``configs/`` (in the wheel too) that states only what differs from the
defaults of the sections. ``load("l4s-rgb", ["unet.epochs=4"])`` reads the preset of that name from
any folder; ``load("my.yaml")`` reads a file.
"""

from __future__ import annotations

from l4s_ensemble.config.reading import (
    DEFAULT_PRESET,
    build,
    config_folder,
    is_preset,
    load,
    presets,
)
from l4s_ensemble.config.sections import (
    Config,
    DataConfig,
    FeaturesConfig,
    Holdout,
    PixelConfig,
    ReportConfig,
    ScenesConfig,
    Section,
    StackConfig,
    UNetConfig,
)

__all__ = [
    "DEFAULT_PRESET",
    "Config",
    "DataConfig",
    "FeaturesConfig",
    "Holdout",
    "PixelConfig",
    "ReportConfig",
    "ScenesConfig",
    "Section",
    "StackConfig",
    "UNetConfig",
    "build",
    "config_folder",
    "is_preset",
    "load",
    "presets",
]
