"""Find landslides in Sentinel-2 patches, say how sure the answer is, and why.

What a notebook imports; each name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from l4s_ensemble.adapt.run import adapt_to_masks
    from l4s_ensemble.config import load as load_config
    from l4s_ensemble.data.patches import open_patches
    from l4s_ensemble.errors import L4SError
    from l4s_ensemble.features.source import features_of
    from l4s_ensemble.maps.scene_map import map_scene
    from l4s_ensemble.metrics.counts import score
    from l4s_ensemble.pipeline import load_run, open_run
    from l4s_ensemble.pixel.classifier import PixelClassifier
    from l4s_ensemble.predict.ensemble import Ensemble
    from l4s_ensemble.stack.classifier import Stack
    from l4s_ensemble.unet.classifier import UNetClassifier

_WHERE = {
    "Ensemble": "l4s_ensemble.predict.ensemble:Ensemble",
    "L4SError": "l4s_ensemble.errors:L4SError",
    "PixelClassifier": "l4s_ensemble.pixel.classifier:PixelClassifier",
    "Stack": "l4s_ensemble.stack.classifier:Stack",
    "UNetClassifier": "l4s_ensemble.unet.classifier:UNetClassifier",
    "adapt_to_masks": "l4s_ensemble.adapt.run:adapt_to_masks",
    "features_of": "l4s_ensemble.features.source:features_of",
    "load_config": "l4s_ensemble.config:load",
    "load_run": "l4s_ensemble.pipeline:load_run",
    "map_scene": "l4s_ensemble.maps.scene_map:map_scene",
    "open_patches": "l4s_ensemble.data.patches:open_patches",
    "open_run": "l4s_ensemble.pipeline:open_run",
    "score": "l4s_ensemble.metrics.counts:score",
}

__all__ = [
    "Ensemble",
    "L4SError",
    "PixelClassifier",
    "Stack",
    "UNetClassifier",
    "adapt_to_masks",
    "features_of",
    "load_config",
    "load_run",
    "map_scene",
    "open_patches",
    "open_run",
    "score",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("l4s_ensemble")
    if name in _WHERE:
        module, _, attribute = _WHERE[name].partition(":")
        return getattr(importlib.import_module(module), attribute)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
