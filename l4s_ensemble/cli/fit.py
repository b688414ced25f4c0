"""Commands that fit: all of it, one part, or a search for better settings of one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from l4s_ensemble.cli import console
from l4s_ensemble.cli.options import (
    RUN,
    ConfigOption,
    DataOption,
    DeviceOption,
    JobsOption,
    QuietOption,
    RunOption,
    SchedulerOption,
    SetOption,
    opened_run,
)

if TYPE_CHECKING:
    from l4s_ensemble.pipeline import Run

fit_app = typer.Typer(help="Fit one part, and all that it needs.", no_args_is_help=True)
tune_app = typer.Typer(help="Search for better settings of one part.", no_args_is_help=True)


def fit_all(
    config: ConfigOption = None,
    data: DataOption = None,
    run: RunOption = RUN,
    set_: SetOption = None,
    jobs: JobsOption = None,
    device: DeviceOption = "auto",
    scheduler: SchedulerOption = None,
    quiet: QuietOption = False,
) -> None:
    """Fit the pixel classifier, the U-Net and the stack. What is unchanged is skipped."""
    _fit(opened_run(run, config, set_, data, jobs, device, quiet), "stack")


@fit_app.command("pixel")
def fit_pixel(
    config: ConfigOption = None,
    data: DataOption = None,
    run: RunOption = RUN,
    set_: SetOption = None,
    jobs: JobsOption = None,
    scheduler: SchedulerOption = None,
    quiet: QuietOption = False,
) -> None:
    """Fit the LightGBM pixel classifier of every fold."""
    _fit(opened_run(run, config, set_, data, jobs, "auto", quiet), "pixel")


@fit_app.command("unet")
def fit_unet(
    config: ConfigOption = None,
    data: DataOption = None,
    run: RunOption = RUN,
    set_: SetOption = None,
    jobs: JobsOption = None,
    device: DeviceOption = "auto",
    scheduler: SchedulerOption = None,
    quiet: QuietOption = False,
) -> None:
    """Train the U-Net of every fold."""
    _fit(opened_run(run, config, set_, data, jobs, device, quiet), "unet")


@fit_app.command("stack")
def fit_stack(
    config: ConfigOption = None,
    data: DataOption = None,
    run: RunOption = RUN,
    set_: SetOption = None,
    jobs: JobsOption = None,
    device: DeviceOption = "auto",
    scheduler: SchedulerOption = None,
    quiet: QuietOption = False,
) -> None:
    """Fit the meta-learner and choose the threshold."""
    _fit(opened_run(run, config, set_, data, jobs, device, quiet), "stack")


@tune_app.command("pixel")
def tune_pixel(
    config: ConfigOption = None,
    data: DataOption = None,
    run: RunOption = RUN,
    set_: SetOption = None,
    trials: Annotated[
        int, typer.Option("--trials", min=1, help="Finished trials in all; a search goes on.")
    ] = 40,
    timeout: Annotated[
        float | None, typer.Option("--timeout", min=0, help="Begin no trial after S seconds.")
    ] = None,
    share: Annotated[
        float, typer.Option("--share", min=0.01, max=1, help="Share of the tiles that is used.")
    ] = 0.25,
    out: Annotated[
        Path | None, typer.Option("--out", help="Preset to write; default: tune/pixel.yaml.")
    ] = None,
    jobs: JobsOption = None,
    quiet: QuietOption = False,
) -> None:
    """Search for settings of the pixel classifier. The same command goes on where it was."""
    from l4s_ensemble.pixel.tune import OPTIMISTIC, require_optuna, tune

    require_optuna()
    opened = opened_run(run, config, set_, data, jobs, "auto", quiet)
    opened.fit(until=("pixel",))
    found = tune(
        opened.folder,
        opened.config,
        trials=trials,
        timeout_s=timeout,
        share=share,
        out=out,
        jobs=opened.jobs,
    )
    console.table(
        f"{len(found['trials'])} finished trials on {found['tiles']} tiles, out of fold",
        ["trial", "F1", *found["trials"][0]["settings"]],
        [
            [
                f"{t['number']}{' (own)' if t['own'] else ''}",
                f"{t['f1']:.4f}",
                *(f"{v:.3g}" for v in t["settings"].values()),
            ]
            for t in found["trials"][:10]
        ],
    )
    console.say(OPTIMISTIC)
    console.say(f"preset {found['preset']}")


def _fit(opened: Run, until: str) -> None:
    ran = opened.fit(until=(until,))
    if until == "stack":
        summary = opened.summary("stack")
        console.comparison("out-of-fold on the training tiles", summary)
    else:
        oof = opened.summary(until)["oof"]
        few = oof["f1_low"] is None  # blocks for an interval
        interval = "" if few else f" [{oof['f1_low']:.3f}, {oof['f1_high']:.3f}]"
        console.say(f"{until}: F1 {oof['f1']:.3f}{interval} out-of-fold")
    done = ", ".join(name for name, did in ran.items() if did) or "nothing: all was up to date"
    console.say(f"run    {opened.folder}\nfitted {done}")
