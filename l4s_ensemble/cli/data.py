"""Commands about patches: synthesise, check, place, download."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from l4s_ensemble.cli import console
from l4s_ensemble.cli.options import (
    DataOption,
    JobsOption,
    JsonOption,
    QuietOption,
    SensorOption,
    SplitOption,
    named,
    start,
)

data_app = typer.Typer(help="Make or check patches.", no_args_is_help=True)


@data_app.command("synth")
def data_synth(
    out: Annotated[Path, typer.Argument(help="Folder to make.")],
    train: Annotated[int, typer.Option(min=1, help="Training patches.")] = 96,
    valid: Annotated[int, typer.Option(min=0, help="Validation patches.")] = 24,
    test: Annotated[int, typer.Option(min=0, help="Test patches.")] = 0,
    seed: int = 0,
    jobs: JobsOption = None,
    quiet: QuietOption = False,
) -> None:
    """Make synthetic patches in the official layout: terrain, land cover, landslides."""
    from l4s_ensemble.pipeline import default_jobs
    from l4s_ensemble.sources.synth import make_dataset

    start(quiet)
    made = make_dataset(
        out, train=train, valid=valid, test=test, seed=seed, jobs=jobs or default_jobs()
    )
    console.say(json.dumps(made))


@data_app.command("check")
def data_check(
    data: DataOption = None,
    sensor: SensorOption = "l4s",
    jobs: JobsOption = None,
    run: Annotated[
        Path | None, typer.Option("--run", help="Keep the result for the report of this run.")
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """List every fault of a folder of patches at once; exit 1 if one would stop a fit."""
    from l4s_ensemble.data.check import check
    from l4s_ensemble.data.sensor import load_sensor
    from l4s_ensemble.pipeline import default_jobs

    start(quiet)
    root = named(data)
    found = check(root, load_sensor(sensor), jobs=jobs or default_jobs())
    if run is not None:
        from l4s_ensemble.run.files import write_json

        write_json(run / "data" / "check.json", found.as_dict())
    if as_json:
        console.say(json.dumps(found.as_dict()))
    else:
        console.check(found.as_dict())
    if not found.ok:
        raise typer.Exit(1)


@data_app.command("scenes")
def data_scenes(
    data: DataOption = None,
    split: SplitOption = "train",
    sensor: SensorOption = "l4s",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Find which patches adjoin, from their pixels."""
    from l4s_ensemble.data.sensor import load_sensor
    from l4s_ensemble.scenes.seams import survey

    start(quiet)
    found = survey(named(data), split, load_sensor(sensor))
    console.scenes(found)
    if as_json:
        console.say(json.dumps(found))


@data_app.command("fetch")
def data_fetch(
    out: Annotated[Path, typer.Argument(help="Folder that gets the release.")],
    source: Annotated[str, typer.Option(help="zenodo or hugging-face.")] = "zenodo",
    split: Annotated[
        list[str] | None, typer.Option("--split", help="train, valid, test; may be repeated.")
    ] = None,
    url: Annotated[str | None, typer.Option(help="Address of the record, for a mirror.")] = None,
    keep_archives: Annotated[bool, typer.Option("--keep-archives")] = False,
    quiet: QuietOption = False,
) -> None:
    """Download the public release (CC BY 4.0), resuming, checked, safely unpacked."""
    from l4s_ensemble.sources.fetch import fetch

    start(quiet)
    found = fetch(
        out,
        source=source,
        splits=split or ("train", "valid", "test"),
        url=url,
        keep_archives=keep_archives,
    )
    console.say(json.dumps(found))
    console.say(f"next: l4s-ensemble data check --data {out}")
