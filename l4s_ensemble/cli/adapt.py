"""Commands for a place that the models have not seen: label some tiles, adapt to them."""

from __future__ import annotations

import shlex
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

SceneOption = Annotated[
    Path | None,
    typer.Option("--scene", help="Folder that `map` wrote: tiles of its scene, not of a split."),
]


def adapt(
    labels: Annotated[
        Path,
        typer.Option(
            "--labels", help="A JSON file, a folder of masks; of a scene also a file of polygons."
        ),
    ],
    split: SplitOption = "valid",
    data: DataOption = None,
    scene: SceneOption = None,
    run: RunOption = RUN,
    out: Annotated[
        Path | None, typer.Option("--out", help="The adapted run; default: <run>-adapted.")
    ] = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Use the adapted models though no gain is shown.")
    ] = False,
    curve: Annotated[
        int, typer.Option("--curve", min=0, help="Draws of the learning curve; 0: no curve.")
    ] = 0,
    jobs: JobsOption = None,
    device: DeviceOption = "auto",
    quiet: QuietOption = False,
) -> None:
    """Adapt a run to a few labelled tiles of a new place. The run stays as it is."""
    opened = fitted_run(run, jobs, device, quiet)
    target = out or opened.folder.with_name(f"{opened.folder.name}-adapted")
    found = opened.adapt(
        labels, target, split=split, data=data, scene=scene, anyway=anyway, curve=curve
    )
    console.adaptation(found, target)


def label(
    split: SplitOption = "valid",
    data: DataOption = None,
    scene: SceneOption = None,
    run: RunOption = RUN,
    tiles: Annotated[int, typer.Option("--tiles", min=2, help="Tiles to label.")] = 20,
    out: Annotated[
        Path | None, typer.Option("--out", help="The page to write; default: <run>/label.html.")
    ] = None,
    jobs: JobsOption = None,
    device: DeviceOption = "auto",
    quiet: QuietOption = False,
) -> None:
    """Choose the tiles that would teach most, and write a page to label them on."""
    opened = fitted_run(run, jobs, device, quiet)
    page = out or opened.folder / "label.html"
    chosen = opened.label(page, tiles, split=split, data=data, scene=scene)
    console.table("to label", ["tile", "because"], [[str(c.patch), c.reason] for c in chosen])
    console.say(f"page    {page}: open it in a browser, label, save the labels, then")
    name = split if scene is None else scene.resolve().name
    words = ["l4s-ensemble", "adapt", "--labels", f"labels-{name}.json", "--run", opened.folder]
    words += ["--split", split] if scene is None else ["--scene", scene]
    words += [] if data is None else ["--data", data]
    console.say(f"        {shlex.join(map(str, words))}")
