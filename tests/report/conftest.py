from __future__ import annotations

import json
import shutil
from collections.abc import Callable
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
        found = source.summaries[stage]
        values = found.model_dump(mode="json")
        change(values)
        source.summaries[stage] = type(found).model_validate_json(json.dumps(values))
        return source

    return opened
