"""Fixtures that several rooms share."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real tiles; a test that wants it skips without it."""
    folder = os.environ.get("L4S_REAL_DATA", "")
    if not folder:
        pytest.skip("L4S_REAL_DATA is not set: no real tiles on this machine")
    if not Path(folder).is_dir():
        pytest.skip(f"L4S_REAL_DATA names no folder: {folder}")
    return Path(folder)
