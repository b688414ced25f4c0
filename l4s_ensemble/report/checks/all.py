"""Numbered checks of a run: passed, tip or issue, each with its explanation.

A tip is worth knowing; an issue means that a number of the report cannot be trusted or that
something is wrong with the data. A check whose input is not there is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

from l4s_ensemble.report.checks import data as checks_data
from l4s_ensemble.report.checks import features as checks_features
from l4s_ensemble.report.checks import models as checks_models
from l4s_ensemble.report.checks import pixel as checks_pixel
from l4s_ensemble.report.checks import predictions as checks_predictions
from l4s_ensemble.report.checks import stack as checks_stack
from l4s_ensemble.report.checks import unet as checks_unet  # fmt: skip
from l4s_ensemble.report.checks.check import Check
from l4s_ensemble.report.source import RunSource

CHECKS: tuple[Callable[[RunSource], Iterator[Check]], ...] = (
    checks_data.scanned,
    checks_data.units,
    checks_data.copied,
    checks_data.folds_leak,
    checks_data.trained_tiles,
    checks_data.degenerate,
    checks_data.splits_alike,
    checks_data.scenes_alike,
    checks_data.prevalence_alike,
    checks_features.finite,
    checks_features.carried,
    checks_models.beats_one_feature,
    checks_models.loss_fell,
    checks_unet.loss_finite,
    checks_unet.loss_settled,
    checks_models.fold_spread,
    checks_models.plateau,
    checks_models.calibration,
    checks_models.interval,
    checks_pixel.beats_chance,
    checks_pixel.beats_rule,
    checks_pixel.corrected,
    checks_pixel.half,
    checks_pixel.one_group,
    checks_unet.bands_needed,
    checks_models.gain,
    checks_stack.leak_free,
    checks_stack.learner_beats_bases,
    checks_stack.parts_add,
    checks_stack.calibrated,
    checks_stack.prevalence_moves,
    checks_stack.knows_errors,
    checks_stack.masks,
    checks_stack.keeps_word,
    checks_predictions.threshold_carries,
    checks_predictions.prevalence,
    checks_predictions.alike,
    checks_predictions.like_training,
    checks_predictions.submission,
)
"""In the order of their numbers."""


def run_checks(source: RunSource) -> list[dict[str, Any]]:
    """Make all checks that the run's stages allow, numbered, as plain dicts."""
    found = [check for function in CHECKS for check in function(source)]
    return [{"number": n, **asdict(check)} for n, check in enumerate(found, start=1)]
