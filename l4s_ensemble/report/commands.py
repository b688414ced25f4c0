"""Command lines that make the parts of a run again."""

from __future__ import annotations

import shlex

from l4s_ensemble.config import is_preset
from l4s_ensemble.predict.summary import ResultSummary
from l4s_ensemble.report.source import RunSource

CONFIG_FILE = "config.yaml"
"""Name of the settings beside the pages; the commands refer to it."""


def everything(source: RunSource, page: str = "index") -> list[str]:
    """Make the whole run and its report."""
    again = [predict(source, split) for split in source.predicted]
    return [fit(source, "fit-all"), *again, f"l4s-ensemble report{_run(source)}"]


def fit(source: RunSource, verb: str, *, run: bool = True) -> str:
    """Make a stage of the fit."""
    config = source.config
    data = source.data("train")
    root = config.data.root or (data.root if data else None)
    settings = config.name if is_preset(config) else CONFIG_FILE
    where = f" --data {shlex.quote(str(root))}" if root else ""
    words = f"l4s-ensemble {verb} --config {shlex.quote(settings)}{where}"
    return words + _run(source) if run else words


def predict(source: RunSource, split: str) -> str:
    """Make a prediction and, where there are any, its scores."""
    verb = "evaluate" if f"predict/{split}/scores" in source else "predict"
    plain = source.need(ResultSummary, split).places is None and split != "train"
    words = f"l4s-ensemble {verb} {split_words(source, split)}{_run(source)}"
    return words + " --no-adapt" * plain


def label(source: RunSource, split: str) -> str:
    """Make a page to label tiles of a split on."""
    return f"l4s-ensemble label {split_words(source, split)} --tiles 20{_run(source)}"


def split_words(source: RunSource, split: str) -> str:
    """Name a predicted split; tiles of another folder are named by that folder."""
    if f"predict/{split}/data" not in source:
        return f"--split {split}"
    data = source.data(split)
    root = data.root if data else None
    where = f" --data {shlex.quote(str(root))}" if root else ""
    return f"--split {split.partition('-')[0]}{where}"


def _run(source: RunSource) -> str:
    return f" --run {shlex.quote(str(source.run))}"
