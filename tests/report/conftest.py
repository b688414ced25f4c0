from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from l4s_ensemble.report.source import RunSource


@pytest.fixture
def run_copy(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of the run, to change."""
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


@pytest.fixture
def with_summary(tiny_run: Path) -> Callable[..., RunSource]:
    """Open the run with one summary changed in memory: ``with_summary(stage, change)``."""

    def opened(stage: str, change: Callable[[dict[str, Any]], Any]) -> RunSource:
        source = RunSource(tiny_run)
        summary = copy.deepcopy(dict(source.summary(stage)))
        change(summary)
        source.stages[stage] = replace(source.stages[stage], summary=summary)
        return source

    return opened
