"""Commands for a place that the models have not seen: adapt to labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from l4s_ensemble.cli import console
from l4s_ensemble.cli.options import (
    RUN,
    DataOption,
    DeviceOption,
    JobsOption,
    QuietOption,
    RunOption,
    SplitOption,
    fitted_run,
)


def adapt(
    labels: Annotated[
        Path, typer.Option("--labels", help="Labels of tiles: a JSON file, or a folder of masks.")
    ],
    split: SplitOption = "valid",
    data: DataOption = None,
    run: RunOption = RUN,
    out: Annotated[
        Path | None, typer.Option("--out", help="The adapted run; default: <run>-adapted.")
    ] = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Use the adapted models though no gain is shown.")
    ] = False,
    jobs: JobsOption = None,
    device: DeviceOption = "auto",
    quiet: QuietOption = False,
) -> None:
    """Adapt a run to a few labelled tiles of a new place. The run stays as it is."""
    opened = fitted_run(run, jobs, device, quiet)
    target = out or opened.folder.with_name(f"{opened.folder.name}-adapted")
    found = opened.adapt(labels, target, split=split, data=data, anyway=anyway)
    console.adaptation(found, target)
