"""Fixtures of the pixel room."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pixel_world import config_of, prepare, run_pixel, synthetic


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder before the pixel stage. Copy it; do not write into it."""
    return prepare(tmp_path_factory.mktemp("prepared"), config_of(), synthetic())


@pytest.fixture(scope="session")
def fitted(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run after the pixel stage. Read only."""
    run = tmp_path_factory.mktemp("fitted") / "run"
    shutil.copytree(prepared, run)
    run_pixel(run, config_of())
    return run
