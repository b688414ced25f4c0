"""What several commands share: their options, and the run that they open."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from l4s_ensemble.errors import ConfigError
from l4s_ensemble.run.tasks import SCHEDULER

if TYPE_CHECKING:
    from l4s_ensemble.pipeline import Run

RUN = Path("runs/default")


ConfigOption = Annotated[
    str | None, typer.Option("--config", help="A preset's name, or a YAML file.")
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data", envvar="L4S_DATA", help="Folder in the official or Hugging Face layout."
    ),
]
RunOption = Annotated[
    Path, typer.Option("--run", envvar="L4S_RUN", help="The run folder, or an exported file.")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="section.key=value; may be repeated.")
]
JobsOption = Annotated[
    int | None, typer.Option("--jobs", min=1, help="Processes or threads; default: all cores.")
]
DeviceOption = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda, or several: cuda:0,cuda:1.")
]


def _use_scheduler(address: str | None) -> str | None:
    if address is not None:
        os.environ[SCHEDULER] = address
    return address


SchedulerOption = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        envvar=SCHEDULER,
        help="Dask scheduler, tcp://HOST:8786, on whose workers the work is done.",
        callback=_use_scheduler,
    ),
]
"""Its callback does all there is to do: stages inherit the environment."""
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Only warnings and results.")]
AdaptOption = Annotated[
    bool,
    typer.Option(
        "--adapt/--no-adapt",
        help="Whether the U-Net takes batch statistics of the images to predict.",
    ),
]
SplitOption = Annotated[str, typer.Option("--split", help="valid, test, train or holdout.")]
FastOption = Annotated[
    bool,
    typer.Option(
        "--fast", help="One fold's models, no averaging over symmetries: less exact, below fast/."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
SensorOption = Annotated[str, typer.Option("--sensor", help="l4s, l4s-rgb or a YAML file.")]


def start(quiet: bool) -> None:
    """Begin to log to standard error."""
    from l4s_ensemble.run.log import start_logging

    start_logging(logging.WARNING if quiet else logging.INFO)


def named(data: Path | None) -> Path:
    """Give the folder of the patches.

    Raises
    ------
    ConfigError
        If neither the option nor the environment names one.
    """
    if data is None:
        raise ConfigError("no data folder was named", fix="give --data DIR or set L4S_DATA")
    return data


def opened_run(
    run: Path,
    config: str | None,
    overrides: list[str] | None,
    data: Path | None,
    jobs: int | None,
    device: str,
    quiet: bool,
) -> Run:
    """Open a run folder to fit in, with the settings that the command names."""
    from l4s_ensemble.pipeline import open_run

    start(quiet)
    return open_run(
        run,
        source=config,
        overrides=overrides or (),
        data=data,
        jobs=jobs,
        device=named_device(device),
    )


def fitted_run(run: Path, jobs: int | None, device: str, quiet: bool) -> Run:
    """Open a run folder that was fitted."""
    from l4s_ensemble.pipeline import load_run

    start(quiet)
    return load_run(run, jobs=jobs, device=named_device(device))


def named_device(name: str) -> str:
    """Give the device's name back.

    Raises
    ------
    ConfigError
        If there is no such device, or one of several.
    """
    if name in {"auto", "cpu", "cuda"}:
        return name  # torch need not be asked
    from l4s_ensemble.unet.hardware import devices_of

    devices_of(name)
    return name
