"""Stages of a run and their context."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from l4s_ensemble.config import Config
from l4s_ensemble.errors import RunError

Summary = dict[str, Any]


class SummaryModel(BaseModel):
    """Base of summaries of stages and of their parts: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Stage:
    """One step of a run. It reads what earlier stages wrote, and writes one folder.

    `target` is imported only in the process that runs the stage. The function takes a
    `StageContext` and returns the summary.
    """

    name: str  # also its folder below the run folder, for example pixel or data/train
    target: str  # module:function
    needs: tuple[str, ...] = ()  # names of the stages whose folders it reads
    sections: tuple[str, ...] = ()  # of the settings that change its result
    params: Mapping[str, Any] = field(default_factory=dict)  # JSON values that change it, too
    state: Mapping[str, Any] = field(default_factory=dict)  # stands for outside input: a listing

    def function(self) -> Callable[[StageContext], Summary]:
        """Import and return the function behind `target`."""
        module, _, name = self.target.partition(":")
        found: Callable[[StageContext], Summary] = getattr(importlib.import_module(module), name)
        return found


@dataclass(frozen=True)
class StageContext:
    """Inputs of a stage's function.

    `out` becomes the stage's folder when the function returns. After a kill with the same inputs it
    may hold what the killed process had written: a stage that can resume looks there; one that
    cannot overwrites.
    """

    run: Path  # the run folder
    out: Path  # the folder to write into
    config: Config  # a stage may read only the sections it declares, and the seed
    params: Mapping[str, Any]
    needs: tuple[str, ...]
    jobs: int = 1  # processes or threads to use
    device: str = "auto"  # or cpu, cuda

    def input(self, stage: str) -> Path:
        """Folder of an earlier stage.

        Raises
        ------
        RunError
            If the stage was not declared in ``needs`` or has not been run.
        """
        if stage not in self.needs:
            raise RunError(f"stage {stage!r} is read but not declared", allowed=self.needs)
        folder = self.run / stage
        if not (folder / "manifest.json").is_file():
            raise RunError("an earlier stage is missing", where=folder, fix=f"run stage {stage}")
        return folder
