from __future__ import annotations

from pathlib import Path

import pytest
from fabricated_run import fabricate

from l4s_ensemble.report.render import render_report


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with every stage; tests that change it copy it first."""
    return fabricate(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="session")
def whole_report(whole_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rendered report of `whole_run`: its folder."""
    return render_report(whole_run, tmp_path_factory.mktemp("report") / "out").parent
